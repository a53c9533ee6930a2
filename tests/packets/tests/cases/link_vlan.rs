//! VLANs and QinQ: which interface a tagged frame is for, and the tags that frames leave with.

use std::net::IpAddr;

use net::Tpid;
use packets::{Packet, Rig, Topology, everywhere, udp};

/// `sim0` with the untagged network 192.0.2.0/24 and VLANs 22 and 4094 on it; `sim1` with a provider's VLAN 7 and in it
/// a customer's VLAN 22.
fn topology() -> Topology {
    Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&["192.0.2.2"])
        .interface("sim1", &[])
        .vlan("vlan22", "sim0", 22, &["10.22.0.1/24", "2001:db8:22::1/64"])
        .group("inside")
        .host(&["10.22.0.2", "2001:db8:22::2"])
        .vlan("vlan4094", "sim0", 4094, &["10.94.0.1/24"])
        .host(&["10.94.0.2"])
        .tagged("svlan7", "sim1", Tpid::Service, 7, &["10.7.0.1/24"])
        .host(&["10.7.0.2"])
        .vlan("vlan7", "svlan7", 22, &["10.8.0.1/24", "2001:db8:8::1/64"])
        .group("outside")
        .host(&["10.8.0.2", "2001:db8:8::2"])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The tags of a frame, as type and control information.
fn tags(frame: &[u8]) -> Vec<(u16, u16)> {
    let be = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let mut found = Vec::new();
    let mut at = 12;
    while matches!(be(at), 0x8100 | 0x88a8) {
        found.push((be(at), be(at + 2)));
        at += 4;
    }
    found
}

#[test]
fn a_packet_goes_from_one_vlan_to_another_and_back() {
    everywhere("pass", &topology(), |rig| {
        let (there, back) = (
            udp("10.22.0.2:1000", "10.8.0.2:53"),
            udp("10.8.0.2:53", "10.22.0.2:1000"),
        );
        rig.exchange(
            "vlan22",
            &there,
            &[("vlan7", there.hop())],
            "received passed searches 2 vlan22.in4.pass vlan7.out4.pass vlan22.rx vlan7.tx
             r0.evals 2 r0.in r0.out r0.made 2",
        );
        rig.exchange(
            "vlan7",
            &back,
            &[("vlan22", back.hop())],
            "received passed searches vlan7.in4.pass vlan22.out4.pass vlan7.rx vlan22.tx
             r0.in r0.out",
        );
    });
}

#[test]
fn frames_leave_with_all_tags_of_their_layers() {
    everywhere("pass", &topology(), |rig| {
        for (to, wire, want) in [
            ("10.94.0.2", "sim0", vec![(0x8100, 4094)]),
            ("10.7.0.2", "sim1", vec![(0x88a8, 7)]),
            ("10.8.0.2", "sim1", vec![(0x88a8, 7), (0x8100, 22)]),
            ("192.0.2.2", "sim0", vec![]),
        ] {
            rig.wire(wire);
            rig.send("vlan22", &udp("10.22.0.2:1000", &format!("{to}:53")));
            let frames = rig.wire(wire);
            assert_eq!(frames.len(), 1, "{to}");
            assert_eq!(tags(&frames[0]), want, "{to}");
            rig.ignore_rest();
        }
    });
}

#[test]
fn ipv6_neighbors_and_packets_are_tagged_too() {
    let mut rig = Rig::cold("pass", &topology(), packets::Spread::ONE);
    let there = udp("[2001:db8:22::2]:1000", "[2001:db8:8::2]:53");
    rig.send("vlan22", &there);
    let question = rig.wire("sim1");
    assert_eq!(
        tags(&question[0]),
        [(0x88a8, 3 << 13 | 7), (0x8100, 3 << 13 | 22)]
    );
    rig.expect("vlan7", &there.hop());
    rig.finish();
}

#[test]
fn arp_is_asked_and_answered_within_the_vlan() {
    let mut rig = Rig::cold("pass", &topology(), packets::Spread::ONE);
    let there = udp("10.22.0.2:1000", "10.94.0.2:53");
    rig.send("vlan22", &there);
    rig.expect("vlan4094", &there.hop());
    let wire = rig.wire("sim0");
    assert_eq!(wire.len(), 2, "a question and the packet");
    // What is below the rules has the priority that nobody set.
    assert_eq!(tags(&wire[0]), [(0x8100, 3 << 13 | 4094)]);
    assert_eq!(tags(&wire[1]), [(0x8100, 4094)]);
    rig.finish();
}

#[test]
fn rules_know_vlans_by_name_and_group() {
    let policy =
        "block\npass in on vlan22\npass out on vlan7\nblock out on outside proto udp to port 9";
    everywhere(policy, &topology(), |rig| {
        let passes = udp("10.22.0.2:1000", "10.8.0.2:53");
        rig.send("vlan22", &passes);
        rig.expect("vlan7", &passes.hop());
        rig.send("vlan22", &udp("10.22.0.2:1000", "10.8.0.2:9"));
        rig.send("vlan4094", &udp("10.94.0.2:1000", "10.8.0.2:53"));
        rig.send("vlan22", &udp("10.22.0.2:1000", "10.94.0.2:53"));
        rig.expect_nothing_more();
    });
}

#[test]
fn the_priority_of_a_frame_is_in_its_tag() {
    for (policy, code) in [
        // As the frame came in.
        ("pass", 0),
        ("pass set prio 3", 3),
        ("pass set prio 6", 6),
        // Background (1) is below best effort (0), and the codes on the wire are the other way round.
        ("pass set prio 0", 1),
        ("pass set prio 1", 0),
        ("pass set prio (2, 7)", 2),
    ] {
        everywhere(policy, &topology(), |rig| {
            rig.wire("sim1");
            let packet = udp("10.22.0.2:1000", "10.8.0.2:53");
            // The second is of an established connection.
            for _ in 0..2 {
                rig.send("vlan22", &packet);
                rig.expect("vlan7", &packet.hop());
            }
            let want = vec![(0x88a8, code << 13 | 7), (0x8100, code << 13 | 22)];
            assert!(rig.wire("sim1").iter().all(|f| tags(f) == want), "{policy}");
        });
    }
}

#[test]
fn the_priority_of_a_tag_is_that_of_the_packet() {
    let policy = "block\npass in prio 5\npass in prio 0\npass out";
    everywhere(policy, &topology(), |rig| {
        for (code, passes) in [(5, true), (1, true), (0, false), (3, false)] {
            let packet = udp("10.22.0.2:1000", "192.0.2.2:53");
            let mut frame = packet.frame(rig.station("vlan22", ip("10.22.0.2")), rig.mac("sim0"));
            frame.splice(12..12, [0x81, 0, code << 5, 22]);
            rig.send_frame("sim0", &frame);
            if passes {
                rig.expect("sim0", &packet.hop());
            }
            rig.expect_nothing_more();
            // What passed has made a state.
            rig.kill(filter::Kill::default());
        }
    });
}

fn tagged(packet: &Packet, rig: &Rig, tags: &[[u8; 4]]) -> Vec<u8> {
    let mut frame = packet.frame(rig.station("sim0", ip("192.0.2.2")), rig.mac("sim0"));
    frame.splice(12..12, tags.concat());
    frame
}

#[test]
fn frames_of_no_vlan_are_dropped_and_counted() {
    everywhere("pass", &topology(), |rig| {
        let packet = udp("192.0.2.2:1000", "10.8.0.2:53");
        for (what, tags, reason) in [
            ("another VLAN", vec![[0x81, 0, 0, 23]], "unknown-vlan"),
            ("another type", vec![[0x88, 0xa8, 0, 22]], "unknown-vlan"),
            (
                "a tag in a VLAN",
                vec![[0x81, 0, 0, 22], [0x81, 0, 0, 22]],
                "unknown-vlan",
            ),
            ("four tags", vec![[0x81, 0, 0, 0]; 4], "unknown-vlan"),
        ] {
            let frame = tagged(&packet, rig, &tags);
            rig.send_frame("sim0", &frame);
            let counted = rig.changes();
            assert_eq!(counted.get(&format!("drop:{reason}")), Some(&1), "{what}");
            rig.mark();
        }
        let frame = tagged(&packet, rig, &[]);
        rig.send_frame("sim0", &frame[..14]);
        let mut cut = tagged(&packet, rig, &[[0x81, 0, 0, 22]]);
        cut.truncate(17);
        rig.send_frame("sim0", &cut);
        rig.ignore_rest();
    });
}

#[test]
fn a_vlan_that_is_down_or_whose_parent_is_takes_nothing() {
    let mut rig = Rig::new("pass", &topology());
    let packet = udp("10.22.0.2:1000", "10.94.0.2:53");
    rig.rewire(|t| t.ports[2].up = false, "pass");
    rig.mark();
    rig.send("vlan22", &packet);
    rig.counted("received drop:interface-down");
    rig.rewire(|t| (t.ports[2].up, t.ports[0].up) = (true, false), "pass");
    rig.mark();
    rig.send("vlan22", &packet);
    rig.counted("received drop:interface-down");
    rig.finish();
}

#[test]
fn a_connection_survives_when_other_vlans_come_and_go() {
    everywhere("pass", &topology(), |rig| {
        let there = udp("10.22.0.2:1000", "10.8.0.2:53");
        rig.send("vlan22", &there);
        rig.expect("vlan7", &there.hop());
        rig.rewire(
            |t| *t = t.clone().vlan("vlan100", "sim0", 100, &["10.100.0.1/24"]),
            "pass",
        );
        rig.mark();
        rig.send("vlan22", &there);
        rig.expect("vlan7", &there.hop());
        assert!(!rig.changes().contains_key("r0.made"));
    });
}

#[test]
fn a_datagram_in_pieces_crosses_vlans() {
    everywhere("pass", &topology(), |rig| {
        let pieces = udp("10.22.0.2:1000", "10.8.0.2:53").data(3000).pieces(1480);
        for piece in &pieces {
            rig.send("vlan22", piece);
        }
        let mut left = 0;
        while let Some(frame) = rig.take("vlan7") {
            left += usize::from(frame[12..14] == [8, 0]);
        }
        assert_eq!(left, pieces.len());
        let wire = rig.wire("sim1");
        assert!(wire.iter().all(|f| tags(f).len() == 2));
        rig.expect_nothing_more();
    });
}
