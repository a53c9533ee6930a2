//! Spanning trees whose members are more than a card: links of what carries them, and messages that came by them.

use net::InterfaceId;
use wire::bpdu::{Bpdu, BridgeId, Flags, Message, PortRole};
use wire::ether::Addr;
use worker::FrameEnd;

use super::*;
use crate::control::Event;

const PF: (&str, &str) = ("pf.conf", "pass\n");
const CARDS: [(&str, &str); 2] = [("hostname.em0", "up\n"), ("hostname.em1", "up\n")];

fn link(b: &mut Rig, port: u16, is_up: bool) {
    let state = match is_up {
        true => LinkState::Up {
            speed_mbps: 1000,
            full_duplex: true,
        },
        false => LinkState::Down,
    };
    b.control.on_event(Event::Link { port, state });
}

fn id(b: &Rig, name: &str) -> InterfaceId {
    let interfaces = &b.control.fleet.current().interfaces;
    interfaces.by_name(name).unwrap().id
}

/// Who speaks now, by name.
fn speakers(b: &mut Rig) -> Vec<String> {
    let ends: Vec<_> = std::iter::from_fn(|| b.control.trees.next_frame()).collect();
    let interfaces = &b.control.fleet.current().interfaces;
    let mut names: Vec<String> = ends
        .iter()
        .filter_map(|(end, _)| match end {
            FrameEnd::Interface(id) => Some(interfaces.get(*id)?.name.to_string()),
            FrameEnd::Port(_) => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A bridge with the best priority there is says that it is the root.
fn superior() -> Vec<u8> {
    let root = BridgeId {
        priority: 0,
        addr: Addr([2, 0, 0, 0, 0, 1]),
    };
    let message = Message {
        flags: Flags {
            role: PortRole::Designated,
            learning: true,
            forwarding: true,
            ..Flags::default()
        },
        root,
        cost: 0,
        bridge: root,
        port: 0x8001,
        message_age: 0,
        max_age: 20 * 256,
        hello: 2 * 256,
        forward_delay: 15 * 256,
    };
    let mut frame = vec![0; 60];
    Bpdu::Rapid(message).emit_frame(root.addr, &mut frame);
    frame
}

/// Members of the bridge that forward, by place.
fn forwarding(b: &Rig) -> u64 {
    let config = b.control.fleet.current();
    config
        .interfaces
        .bridges()
        .get(0)
        .unwrap()
        .ports
        .forwarding()
}

fn boxed(more: (&str, &str), bridge: &str) -> Rig {
    let mut b = Rig::new();
    let bridge = ("hostname.bridge0", bridge);
    b.push(&[CARDS[0], CARDS[1], more, bridge, PF]).unwrap();
    b
}

#[test]
fn a_vlan_has_the_link_of_its_card_and_messages_of_its_own() {
    let vlan = ("hostname.vlan5", "vnetid 5 parent em0\nup\n");
    let mut b = boxed(vlan, "add vlan5 add em1\nstp vlan5 stp em1\nup\n");
    assert!(speakers(&mut b).is_empty(), "no link yet");
    link(&mut b, 0, true);
    assert_eq!(speakers(&mut b), ["vlan5"]);
    link(&mut b, 1, true);
    assert!(speakers(&mut b).contains(&"em1".to_owned()));
    // What comes without the tag is of another tree.
    let frame = superior();
    b.control.hear_frame(0, None, &frame);
    assert_eq!(forwarding(&b), 0);
    let vlan = id(&b, "vlan5");
    b.control.hear_frame(0, Some(vlan), &frame);
    assert_eq!(forwarding(&b), 0b01, "a root port forwards at once");
    link(&mut b, 0, false);
    assert_eq!(forwarding(&b) & 0b01, 0);
}

#[test]
fn a_lagg_has_a_link_while_one_of_its_ports_has() {
    let lagg = (
        "hostname.trunk0",
        "trunkproto failover trunkport em1 trunkport em0\nup\n",
    );
    let mut b = boxed(lagg, "add trunk0\nstp trunk0\nup\n");
    assert!(speakers(&mut b).is_empty());
    link(&mut b, 0, true);
    assert_eq!(speakers(&mut b), ["trunk0"]);
    let (trunk, frame) = (id(&b, "trunk0"), superior());
    b.control.hear_frame(0, Some(trunk), &frame);
    assert_eq!(forwarding(&b), 1);
    link(&mut b, 1, true);
    link(&mut b, 0, false);
    assert_eq!(forwarding(&b), 1, "the other port carries it");
    link(&mut b, 1, false);
    assert_eq!(forwarding(&b), 0);
}
