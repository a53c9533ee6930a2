//! Bridges below PF: where frames go, what is learned, and what the bridge itself lets through.

use net::bridge::{ArpRule, MacRule};
use net::{InterfaceId, fdb};
use packets::{Rig, Topology, everywhere, udp};
use wire::ether::{Addr, EtherType};
use wire::{arp, bpdu, ether};

use crate::bridge_packets::{A, B, C, between, three, two};

/// A frame of a type that nobody knows.
fn strange(src: Addr, dst: Addr) -> Vec<u8> {
    let mut frame = vec![0x5a; 60];
    let header = ether::Repr {
        dst,
        src,
        ethertype: EtherType(0x88b5),
    };
    header.emit(&mut ether::Frame::new_unchecked(&mut frame[..]));
    frame
}

/// "Who has 192.0.2.3?"
fn question(src: Addr) -> Vec<u8> {
    let mut frame = strange(src, Addr::BROADCAST);
    frame[12..14].copy_from_slice(&EtherType::ARP.0.to_be_bytes());
    let question = arp::Repr {
        operation: arp::Operation::REQUEST,
        sender_ether: src,
        sender_ip: "192.0.2.2".parse().unwrap(),
        target_ether: Addr::ZERO,
        target_ip: "192.0.2.3".parse().unwrap(),
    };
    question.emit(&mut arp::Packet::new_unchecked(&mut frame[14..]));
    frame
}

/// The frame goes to these members and to nobody else.
fn goes(rig: &mut Rig, from: &str, frame: &[u8], to: &[&str], counted: &str) {
    rig.send_frame(from, frame);
    for port in to {
        rig.expect_frame(port, frame);
    }
    rig.counted(counted);
}

#[test]
fn frames_for_unknown_stations_and_groups_go_to_all_and_for_known_ones_to_one() {
    everywhere("block", &three(), |rig| {
        goes(
            rig,
            "sim0",
            &question(A),
            &["sim1", "sim2"],
            "received passed 2 generated",
        );
        goes(
            rig,
            "sim1",
            &strange(B, C),
            &["sim0", "sim2"],
            "received passed 2 generated",
        );
        goes(rig, "sim2", &strange(C, A), &["sim0"], "received passed");
        goes(rig, "sim0", &strange(A, B), &["sim1"], "received passed");
        // The station is on the same side.
        goes(rig, "sim1", &strange(C, B), &[], "received drop:same-side");
        // By that it has moved.
        goes(rig, "sim0", &strange(A, C), &["sim1"], "received passed");
    });
}

#[test]
fn a_silent_station_is_forgotten_after_its_time() {
    everywhere("block", &three(), |rig| {
        goes(
            rig,
            "sim1",
            &strange(B, A),
            &["sim0", "sim2"],
            "received passed 2 generated",
        );
        goes(rig, "sim0", &strange(A, B), &["sim1"], "received passed");
        rig.advance(239_000);
        goes(rig, "sim0", &strange(A, B), &["sim1"], "received passed");
        rig.advance(1000);
        goes(
            rig,
            "sim0",
            &strange(A, B),
            &["sim1", "sim2"],
            "received passed 2 generated",
        );
        // Others renew what they know while it speaks.
        goes(rig, "sim1", &strange(B, A), &["sim0"], "received passed");
        rig.advance(200_000);
        goes(rig, "sim1", &strange(B, A), &["sim0"], "received passed");
        rig.advance(200_000);
        goes(rig, "sim0", &strange(A, B), &["sim1"], "received passed");
    });
}

#[test]
fn only_ip_and_arp_pass_members_that_block_the_rest() {
    let topology = three().bridged(|b| b.members[1].block_non_ip = true);
    everywhere("block", &topology, |rig| {
        goes(
            rig,
            "sim0",
            &question(A),
            &["sim1", "sim2"],
            "received passed 2 generated",
        );
        goes(
            rig,
            "sim0",
            &strange(A, Addr::BROADCAST),
            &["sim2"],
            "received passed",
        );
        goes(
            rig,
            "sim1",
            &strange(B, Addr::BROADCAST),
            &[],
            "received drop:non-ip",
        );
    });
}

#[test]
fn protected_members_do_not_hear_each_other() {
    let topology = three().bridged(|b| {
        b.members[0].protected = 0b110;
        b.members[1].protected = 0b010;
        b.members[2].protected = 0b001;
    });
    everywhere("pass", &topology, |rig| {
        goes(rig, "sim0", &strange(A, B), &["sim2"], "received passed");
        goes(rig, "sim1", &strange(B, A), &[], "received drop:no-member");
        let packet = between(&udp("192.0.2.3:1", "192.0.2.2:1"), B, A);
        goes(
            rig,
            "sim1",
            &packet,
            &[],
            "received drop:no-member searches sim1.in4.pass r0.evals r0.in r0.made",
        );
    });
}

#[test]
fn members_without_learn_and_discover() {
    let topology = three().bridged(|b| {
        b.members[1].learn = false;
        b.members[2].discover = false;
    });
    everywhere("block", &topology, |rig| {
        goes(rig, "sim1", &strange(B, A), &["sim0"], "received passed");
        goes(rig, "sim0", &strange(A, B), &["sim1"], "received passed");
        goes(
            rig,
            "sim1",
            &strange(B, Addr::BROADCAST),
            &["sim0", "sim2"],
            "received passed 2 generated",
        );
        goes(
            rig,
            "sim2",
            &strange(C, B),
            &["sim0", "sim1"],
            "received passed 2 generated",
        );
        goes(rig, "sim0", &strange(A, C), &["sim2"], "received passed");
    });
}

#[test]
fn stations_that_are_fixed_do_not_move_and_are_not_forgotten() {
    let topology = three().bridged(|b| b.statics.push((B, InterfaceId(1))));
    everywhere("block", &topology, |rig| {
        goes(rig, "sim0", &strange(A, B), &["sim1"], "received passed");
        rig.advance(300_000);
        goes(
            rig,
            "sim2",
            &strange(B, A),
            &["sim0", "sim1"],
            "received passed 2 generated",
        );
        goes(rig, "sim0", &strange(A, B), &["sim1"], "received passed");
    });
}

#[test]
fn a_span_hears_everything_and_says_nothing() {
    let topology = three()
        .interface("sim4", &[])
        .bridged(|b| b.spans.push(InterfaceId(4)));
    everywhere("block", &topology, |rig| {
        goes(
            rig,
            "sim1",
            &strange(B, C),
            &["sim0", "sim2", "sim4"],
            "received passed 3 generated 2",
        );
        goes(
            rig,
            "sim0",
            &strange(A, B),
            &["sim1", "sim4"],
            "received passed 2 generated",
        );
        let blocked = between(&udp("192.0.2.2:1", "192.0.2.3:1"), A, B);
        goes(
            rig,
            "sim0",
            &blocked,
            &["sim4"],
            "received passed generated drop:match searches sim0.in4.block r0.evals r0.in",
        );
        goes(rig, "sim4", &strange(A, B), &[], "received drop:span");
    });
}

#[test]
fn rules_of_the_bridge_decide_by_station_and_arp() {
    let rule = MacRule {
        block: true,
        inbound: true,
        outbound: false,
        member: InterfaceId(0),
        src: Some(A),
        dst: None,
        tag: 0,
        arp: None,
    };
    let arp = ArpRule {
        request: Some(true),
        target_ip: Some("192.0.2.3".parse().unwrap()),
        ..ArpRule::default()
    };
    let topology = three().bridged(|b| {
        b.rules = vec![
            MacRule {
                block: false,
                dst: Some(B),
                ..rule
            },
            rule,
            MacRule {
                inbound: false,
                outbound: true,
                member: InterfaceId(1),
                src: None,
                arp: Some(arp),
                ..rule
            },
            MacRule {
                inbound: false,
                outbound: true,
                member: InterfaceId(2),
                src: Some(B),
                ..rule
            },
        ];
    });
    everywhere("block", &topology, |rig| {
        goes(
            rig,
            "sim0",
            &strange(A, C),
            &[],
            "received drop:bridge-rule",
        );
        goes(
            rig,
            "sim0",
            &strange(A, B),
            &["sim1", "sim2"],
            "received passed 2 generated",
        );
        goes(rig, "sim2", &question(C), &["sim0"], "received passed");
        goes(
            rig,
            "sim1",
            &strange(B, C),
            &[],
            "received drop:bridge-rule",
        );
        goes(
            rig,
            "sim1",
            &strange(B, Addr::BROADCAST),
            &["sim0"],
            "received passed",
        );
    });
}

#[test]
fn the_spanning_tree_says_who_learns_and_who_forwards() {
    everywhere("block", &three(), |rig| {
        let ports = rig.bridge_ports("bridge0");
        ports.set(0b011, 0b001);
        goes(rig, "sim2", &strange(C, A), &[], "received drop:discarding");
        goes(rig, "sim1", &strange(B, A), &[], "received drop:discarding");
        goes(rig, "sim0", &strange(A, C), &[], "received drop:no-member");
        ports.set(0b111, 0b111);
        // It was learned before its member forwarded.
        goes(rig, "sim0", &strange(A, B), &["sim1"], "received passed");
        goes(
            rig,
            "sim0",
            &strange(A, C),
            &["sim1", "sim2"],
            "received passed 2 generated",
        );
        ports.set_epoch(1, 1);
        goes(
            rig,
            "sim0",
            &strange(A, B),
            &["sim1", "sim2"],
            "received passed 2 generated",
        );
        goes(rig, "sim1", &strange(B, A), &["sim0"], "received passed");
        goes(rig, "sim0", &strange(A, B), &["sim1"], "received passed");
    });
}

#[test]
fn frames_between_neighbors_on_a_link_are_not_forwarded() {
    let group = |last| {
        let mut addr = bpdu::GROUP;
        addr.0[5] = last;
        addr
    };
    everywhere("block", &two(), |rig| {
        for last in 1..16 {
            goes(
                rig,
                "sim0",
                &strange(A, group(last)),
                &[],
                "received drop:link-local",
            );
        }
        goes(
            rig,
            "sim0",
            &strange(A, group(16)),
            &["sim1"],
            "received passed",
        );
        // This bridge has no tree: the messages of others find their loops through it.
        let mut message = vec![0; 60];
        let len = bpdu::Bpdu::Tcn.emit_frame(A, &mut message);
        message.truncate(len.max(60));
        goes(rig, "sim0", &message, &["sim1"], "received passed");
    });
    let speaks = two().bridged(|b| b.members[0].stp = true);
    everywhere("block", &speaks, |rig| {
        let mut message = vec![0; 60];
        bpdu::Bpdu::Tcn.emit_frame(A, &mut message);
        goes(rig, "sim0", &message, &[], "received to_host");
        assert_eq!(
            rig.control_frames(),
            [("sim0".to_string(), message.clone())]
        );
        // A member that takes no part in it neither tells nor hears.
        goes(rig, "sim1", &message, &[], "received drop:link-local");
        rig.control_sends(worker::FrameEnd::Interface(InterfaceId(0)), &message);
        rig.expect_frame("sim0", &message);
        rig.counted("from_host passed");
    });
}

#[test]
fn the_spanning_tree_speaks_on_vlans_too() {
    let topology = Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &[])
        .vlan("vlan5", "sim0", 5, &[])
        .bridge("bridge0", &["vlan5", "sim1"], &[])
        .bridged(|b| b.members[0].stp = true);
    everywhere("block", &topology, |rig| {
        let mut message = vec![0; 60];
        bpdu::Bpdu::Tcn.emit_frame(A, &mut message);
        goes(rig, "vlan5", &message, &[], "received to_host vlan5.rx");
        let heard = [("vlan5".to_string(), message.clone())];
        assert_eq!(rig.control_frames(), heard, "without its tag");
        // Without a tag it is of another tree, on a port that is part of none.
        rig.send_frame("sim0", &message);
        rig.counted("received drop:ethernet");
        rig.control_sends(worker::FrameEnd::Interface(InterfaceId(2)), &message);
        rig.expect_frame("vlan5", &message);
        rig.counted("from_host passed vlan5.tx");
    });
}

#[test]
fn what_the_box_said_itself_comes_from_a_loop() {
    everywhere("block", &two(), |rig| {
        let own = rig.mac("sim1");
        goes(
            rig,
            "sim0",
            &strange(own, B),
            &[],
            "received drop:own-station",
        );
    });
}

#[test]
fn tagged_frames_pass_as_they_are_unless_a_vlan_is_configured() {
    let topology = two().vlan("vlan5", "sim0", 5, &["10.5.0.1/24"]);
    everywhere("block", &topology, |rig| {
        let mut tagged = between(&udp("192.0.2.2:1", "192.0.2.3:1"), A, B);
        tagged.splice(12..12, [0x81, 0, 0, 7]);
        goes(rig, "sim0", &tagged, &["sim1"], "received passed");
        let other = tagged.clone();
        tagged[15] = 5;
        rig.send_frame("sim0", &tagged);
        rig.counted("received drop:other-host");
        goes(rig, "sim0", &other, &["sim1"], "received passed");
    });
}

#[test]
fn published_addresses_are_answered_for_on_the_member_that_they_are_published_on() {
    let published = net::Published {
        interface: InterfaceId(0),
        addr: "192.0.2.3".parse().unwrap(),
        link: None,
    };
    let topology = two().listening(net::Listening::default().publishing(vec![published]));
    everywhere("block", &topology, |rig| {
        let asked = question(A);
        rig.send_frame("sim0", &asked);
        let answer = rig.take("sim0").expect("an answer");
        let own = rig.mac("sim0");
        assert_eq!((&answer[..6], &answer[6..12]), (&A.0[..], &own.0[..]));
        assert_eq!(
            (&answer[22..28], &answer[28..32]),
            (&own.0[..], &[192, 0, 2, 3][..])
        );
        // Whoever has the address on the other side hears it all the same.
        rig.expect_frame("sim1", &asked);
        rig.counted("received generated passed 2");
    });
}

#[test]
fn a_vlan_may_be_a_member() {
    let topology = Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &[])
        .vlan("vlan5", "sim0", 5, &[])
        .bridge("bridge0", &["vlan5", "sim1"], &[]);
    everywhere("pass", &topology, |rig| {
        goes(
            rig,
            "vlan5",
            &strange(A, B),
            &["sim1"],
            "received passed vlan5.rx",
        );
        // The simulated host takes the tag off.
        goes(
            rig,
            "sim1",
            &strange(B, A),
            &["vlan5"],
            "received passed vlan5.tx",
        );
        let packet = between(&udp("192.0.2.2:1", "192.0.2.3:1"), A, B);
        goes(
            rig,
            "vlan5",
            &packet,
            &["sim1"],
            "received passed searches 2 vlan5.rx vlan5.in4.pass sim1.out4.pass r0.evals 2 r0.in r0.out r0.made 2",
        );
    });
}

#[test]
fn stations_are_bounded_by_the_limit_of_the_bridge() {
    everywhere("block", &three(), |rig| {
        let station = |n: u32| {
            let [_, b, c, d] = n.to_be_bytes();
            Addr([2, 9, 9, b, c, d])
        };
        for n in 0..2000 {
            rig.send_frame("sim1", &strange(station(n), Addr::BROADCAST));
        }
        rig.ignore_rest();
        rig.mark();
        // The first ones are known, and later ones go to everybody.
        let known = fdb::MAX_ADDR_DEFAULT;
        goes(
            rig,
            "sim0",
            &strange(A, station(known - 1)),
            &["sim1"],
            "received passed",
        );
        goes(
            rig,
            "sim0",
            &strange(A, station(known)),
            &["sim1", "sim2"],
            "received passed 2 generated",
        );
    });
}

#[test]
fn a_packet_that_ends_within_its_header_is_dropped() {
    everywhere("pass", &two(), |rig| {
        let frame = between(&udp("192.0.2.2:1", "192.0.2.3:1"), A, B);
        rig.send_frame("sim0", &frame[..30]);
        rig.counted("received drop:short");
    });
}
