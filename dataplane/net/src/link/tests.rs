//! Layers compiled and looked up: frames come in by ports and tags, and leave with them; what does not fit is refused.

use super::*;
use crate::InterfaceTable;
use crate::interface::tests::interface;

fn of(id: u16, name: &str, kind: Kind) -> Interface {
    Interface {
        kind,
        ..interface(id, name, &[])
    }
}

fn vlan(id: u16, parent: u16, tpid: Tpid, vid: u16) -> Interface {
    let vlan = Vlan {
        parent: InterfaceId(parent),
        tpid,
        vid,
        prio: None,
    };
    of(id, &format!("vlan{id}"), Kind::Vlan(vlan))
}

fn lagg(id: u16, members: &[u16]) -> Interface {
    let members = members.iter().copied().map(InterfaceId).collect();
    let lagg = Lagg::new(LaggProtocol::Failover, members);
    of(id, &format!("lagg{id}"), Kind::Lagg(lagg))
}

fn em(id: u16) -> Interface {
    interface(id, &format!("em{id}"), &[])
}

#[test]
fn a_vlan_is_found_by_its_tag_and_leaves_by_its_parents_port() {
    let table = InterfaceTable::build(vec![
        em(0),
        vlan(1, 0, Tpid::Customer, 22),
        vlan(2, 0, Tpid::Service, 22),
        vlan(3, 2, Tpid::Customer, 7),
    ])
    .unwrap();
    let links = table.links();
    let id = InterfaceId;
    assert_eq!(links.receiver(0).unwrap().interface, id(0));
    assert_eq!(links.child(id(0), Tpid::Customer, 22), Some(id(1)));
    assert_eq!(links.child(id(0), Tpid::Service, 22), Some(id(2)));
    assert_eq!(links.child(id(2), Tpid::Customer, 7), Some(id(3)));
    assert_eq!(links.child(id(0), Tpid::Customer, 7), None);
    assert_eq!(links.base(id(3)), id(0));
    let way = links.way(id(3)).unwrap();
    assert_eq!((way.out, way.plain_port()), (Out::Port(0), None));
    let written: Vec<_> = way.tags().iter().map(|t| t.bytes(5)).collect();
    assert_eq!(written, [[0x88, 0xa8, 0xa0, 22], [0x81, 0, 0xa0, 7]]);
    assert_eq!(links.way(id(0)).unwrap().plain_port(), Some(0));
}

#[test]
fn frames_of_a_members_port_are_the_laggs() {
    let table = InterfaceTable::build(vec![
        em(0),
        em(1),
        lagg(2, &[1, 0]),
        vlan(3, 2, Tpid::Customer, 22),
    ])
    .unwrap();
    let links = table.links();
    for (port, place) in [(0, 1), (1, 0)] {
        let receiver = links.receiver(port).unwrap();
        assert_eq!(receiver.interface, InterfaceId(2));
        assert_eq!(receiver.lagg, Some((0, place)));
    }
    assert_eq!(links.lagg(0).unwrap().ports, [1, 0]);
    assert_eq!(links.way(InterfaceId(3)).unwrap().out, Out::Lagg(0));
    assert_eq!(links.base(InterfaceId(3)), InterfaceId(2));
}

#[test]
fn what_is_down_carries_nothing() {
    let down = |mut i: Interface| {
        i.up = false;
        i
    };
    let table = InterfaceTable::build(vec![down(em(0)), vlan(1, 0, Tpid::Customer, 22)]).unwrap();
    assert_eq!(table.links().receiver(0), None);
    assert_eq!(table.links().way(InterfaceId(1)).unwrap().out, Out::Nowhere);
}

#[test]
fn the_priority_of_a_tag_is_that_of_the_packet_or_a_fixed_one() {
    let tag = |prio| Tag {
        tpid: Tpid::Customer,
        vid: 0xabc,
        prio,
    };
    for (fixed, packet, code) in [(None, 0, 1), (None, 1, 0), (None, 3, 3), (Some(0), 7, 1)] {
        let bytes = tag(fixed).bytes(packet);
        assert_eq!(
            bytes,
            [0x81, 0, code << 5 | 0x0a, 0xbc],
            "{fixed:?} {packet}"
        );
    }
}

#[test]
fn layers_that_cannot_stand_are_refused() {
    let mut large = vlan(1, 0, Tpid::Customer, 22);
    large.mtu = 1501;
    let cases = [
        (
            vec![em(0), vlan(1, 0, Tpid::Customer, 0)],
            "needs a vnetid from 1 to 4094",
        ),
        (
            vec![em(0), vlan(1, 0, Tpid::Customer, 4095)],
            "needs a vnetid from 1 to 4094",
        ),
        (
            vec![em(0), vlan(1, 9, Tpid::Customer, 2)],
            "has a parent that does not exist",
        ),
        (
            vec![interface(0, "lo0", &[]), vlan(1, 0, Tpid::Customer, 2)],
            "has a parent that carries no tags",
        ),
        (
            vec![
                em(0),
                vlan(1, 0, Tpid::Customer, 2),
                vlan(2, 0, Tpid::Customer, 2),
            ],
            "has the vnetid of another on the same parent",
        ),
        (vec![em(0), large], "has a larger mtu than its parent"),
        (
            vec![vlan(1, 1, Tpid::Customer, 2)],
            "would have more than two tags",
        ),
        (
            vec![em(0), lagg(1, &[0]), vlan(2, 0, Tpid::Customer, 2)],
            "has a port of a lagg as its parent: take the lagg",
        ),
        (
            vec![em(0), lagg(1, &[0]), lagg(2, &[0])],
            "has a port that another has, or twice",
        ),
        (vec![lagg(1, &[0])], "has a port that does not exist"),
        (
            vec![em(0), lagg(1, &[0]), lagg(2, &[1])],
            "has a port that is not Ethernet",
        ),
    ];
    for (interfaces, want) in cases {
        match InterfaceTable::build(interfaces) {
            Err(InterfaceError::Link(_, said)) => assert_eq!(said, want),
            other => panic!("{want}: {other:?}"),
        }
    }
}

#[test]
fn four_thousand_vlans_cost_bounded_memory() {
    let mut interfaces = vec![em(0)];
    interfaces.extend((1..=4000).map(|n| vlan(n, 0, Tpid::Customer, n)));
    let table = InterfaceTable::build(interfaces).unwrap();
    let links = table.links();
    assert_eq!(links.children.places(), 8192);
    for n in 1..=4000 {
        let found = links.child(InterfaceId(0), Tpid::Customer, n);
        assert_eq!(found, Some(InterfaceId(n)));
    }
    assert_eq!(links.child(InterfaceId(0), Tpid::Customer, 4001), None);
    assert!(size_of::<Way>() <= 28);
}

#[test]
fn tags_are_written_behind_the_addresses() {
    let tag = |vid| Tag {
        vid,
        ..Tag::default()
    };
    let mut frame: Vec<u8> = (0..28).collect();
    write_tags(&mut frame, &[tag(1), tag(2)], 3);
    let mut want: Vec<u8> = (8..20).collect();
    want.extend([0x81, 0, 0x60, 1, 0x81, 0, 0x60, 2]);
    want.extend(20..28);
    assert_eq!(frame, want);
}
