//! Which ports translation chooses: the same for all receivers (`endpoint-independent`), those of a set
//! (`map-e-portset`).

use packets::{Rig, Topology, echo, everywhere, tcp, udp};

use crate::nat_to::{all_given, given};
use crate::{A, A6, B, B6, FAR, FAR6, at};

/// The one end outside of an end inside, of all its connections.
fn mapped(rig: &Rig, inside: &str) -> String {
    let mut all = all_given(rig, inside);
    all.dedup();
    assert_eq!(all.len(), 1, "ends of {inside}: {all:?}");
    all.remove(0)
}

#[test]
fn one_port_outside_for_all_receivers() {
    for (rule, a, far, b) in [
        (
            "match out on sim1 inet nat-to 198.51.100.1 endpoint-independent\npass",
            A,
            FAR,
            B,
        ),
        (
            "match out on sim1 inet nat-to { 198.51.100.1 203.0.113.7 } random endpoint-independent\npass",
            A,
            FAR,
            B,
        ),
        (
            "match out on sim1 inet6 nat-to 2001:db8:2::1 endpoint-independent\npass",
            A6,
            FAR6,
            B6,
        ),
        (
            "nat on sim1 inet from any to any -> 198.51.100.1 endpoint-independent\npass",
            A,
            FAR,
            B,
        ),
    ] {
        everywhere(rule, &Topology::usual(), |rig| {
            let mut outside = Vec::new();
            for port in 5000..5006 {
                let inside = at(a, port);
                // Receivers enough for every worker to own some of the connections.
                for to in [at(b, 53), at(far, 53), at(far, 54), at(far, 55), at(b, 56)] {
                    let packet = udp(&inside, &to);
                    rig.send("sim0", &packet);
                    let end = mapped(rig, &inside);
                    rig.expect("sim1", &packet.hop().sent_from(&end));
                    let back = packet.answer();
                    rig.send("sim1", &back.clone().sent_to(&end));
                    rig.expect("sim0", &back.hop());
                    rig.expect_nothing_more();
                }
                outside.push(mapped(rig, &inside));
            }
            outside.sort();
            outside.dedup();
            assert_eq!(outside.len(), 6, "each has its own");
        });
    }
}

#[test]
fn tcp_has_its_ports_as_ever() {
    let policy = "match out on sim1 inet nat-to 198.51.100.1 endpoint-independent\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let inside = at(A, 5000);
        for port in 80..90 {
            rig.send("sim0", &tcp(&inside, &at(B, port), "S"));
            assert!(rig.take("sim1").is_some());
        }
        let mut all = all_given(rig, &inside);
        all.sort();
        all.dedup();
        assert!(all.len() > 1, "{all:?}");
    });
}

#[test]
fn who_may_answer_the_states_say() {
    let policy =
        "match out on sim1 inet nat-to 198.51.100.1 endpoint-independent\npass\nblock in on sim1";
    everywhere(policy, &Topology::usual(), |rig| {
        let inside = at(A, 5000);
        let packet = udp(&inside, &at(B, 53));
        rig.send("sim0", &packet);
        let end = given(rig, &inside);
        rig.expect("sim1", &packet.hop().sent_from(&end));
        rig.send("sim1", &udp(&at(B, 54), &inside).sent_to(&end));
        rig.send("sim1", &udp(&at(FAR, 53), &inside).sent_to(&end));
        rig.expect_nothing_more();
    });
}

#[test]
fn a_mapping_lives_as_long_as_a_state_uses_it() {
    let policy =
        "match out on sim1 inet nat-to 198.51.100.1 port 50001:50001 endpoint-independent\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let end = at("198.51.100.1", 50001);
        let first = [udp(&at(A, 1), &at(B, 53)), udp(&at(A, 1), &at(FAR, 53))];
        for packet in &first {
            rig.send("sim0", packet);
            rig.expect("sim1", &packet.hop().sent_from(&end));
        }
        // The port is somebody's, whomever the next one speaks to.
        let second = udp(&at(A, 2), &at(FAR, 99));
        rig.mark();
        rig.send("sim0", &second);
        rig.expect_nothing_more();
        assert_eq!(rig.changes().get("drop:translate"), Some(&1));
        // One of its states goes on.
        rig.advance(25_000);
        rig.send("sim0", &first[1]);
        rig.expect("sim1", &first[1].hop().sent_from(&end));
        rig.advance(25_000);
        rig.send("sim0", &second);
        rig.expect_nothing_more();
        rig.advance(65_000);
        rig.send("sim0", &second);
        rig.expect("sim1", &second.hop().sent_from(&end));
        rig.expect_nothing_more();
    });
}

#[test]
fn static_ports_are_mapped_too() {
    let policy = "match out on sim1 inet nat-to { 198.51.100.1 203.0.113.7 } round-robin static-port endpoint-independent\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let inside = at(A, 5000);
        for to in [at(B, 53), at(FAR, 53), at(FAR, 54), at(FAR, 55)] {
            let packet = udp(&inside, &to);
            rig.send("sim0", &packet);
            let end = mapped(rig, &inside);
            assert!(end.ends_with(":5000"), "{end}");
            rig.expect("sim1", &packet.hop().sent_from(&end));
        }
        // Another host with this port gets another address; a third one nothing.
        let second = udp(&at("192.0.2.77", 5000), &at(B, 53));
        rig.send("sim0", &second);
        let end = given(rig, &at("192.0.2.77", 5000));
        assert_ne!(end, mapped(rig, &inside));
        rig.expect("sim1", &second.hop().sent_from(&end));
        rig.send("sim0", &udp(&at("192.0.2.78", 5000), &at(FAR, 56)));
        rig.expect_nothing_more();
    });
}

#[test]
fn ports_of_a_set_are_chosen() {
    for policy in [
        "match out on sim1 inet nat-to 198.51.100.1 map-e-portset 6/8/0x34\npass",
        "nat on sim1 inet from any to any -> 198.51.100.1 map-e-portset 6/8/0x34\npass",
    ] {
        everywhere(policy, &Topology::usual(), |rig| {
            let mut ranges = std::collections::BTreeSet::new();
            for n in 0..40 {
                let inside = at(A, 5000 + n);
                for packet in [udp(&inside, &at(B, 53)), tcp(&inside, &at(B, 53), "S")] {
                    rig.send("sim0", &packet);
                    assert!(rig.take("sim1").is_some());
                }
                for end in all_given(rig, &inside) {
                    let port: u16 = end.rsplit(':').next().unwrap().parse().unwrap();
                    assert_eq!((port >> 2) & 0xff, 0x34, "{end}");
                    assert!(port >> 10 != 0, "{end}");
                    ranges.insert(port >> 10);
                }
            }
            assert!(ranges.len() > 10, "{ranges:?}");
            // Identifiers of echo requests are shared out likewise.
            let question = echo(A, B, 7, 1);
            rig.send("sim0", &question);
            let frame = rig.take("sim1").expect("a question");
            let ident = u16::from_be_bytes([frame[38], frame[39]]);
            assert_eq!((ident >> 2) & 0xff, 0x34, "{ident}");
        });
    }
}

#[test]
fn a_set_may_be_exhausted() {
    // Seven ranges of one port.
    let policy = "match out on sim1 inet nat-to 198.51.100.1 map-e-portset 3/13/5\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        for n in 0..7 {
            rig.send("sim0", &udp(&at(A, 5000 + n), &at(B, 53)));
            assert!(rig.take("sim1").is_some(), "{n}");
        }
        rig.mark();
        rig.send("sim0", &udp(&at(A, 6000), &at(B, 53)));
        rig.expect_nothing_more();
        assert_eq!(rig.changes().get("drop:translate"), Some(&1));
        // To another receiver they are free.
        rig.send("sim0", &udp(&at(A, 6000), &at(FAR, 53)));
        assert!(rig.take("sim1").is_some());
    });
}
