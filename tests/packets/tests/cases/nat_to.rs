//! Source translation: what goes out has another sender, what answers finds back.

use packets::{Packet, Rig, Spread, Topology, echo, everywhere, raw, tcp, udp};
use state::{State, StateFlags};

use crate::{A, A6, B, B6, FAR, FAR6, Family, INET, INET6, at, both};

/// The end that a connection from `inside` has on the wire outside; panics unless there is exactly one.
pub(crate) fn given(rig: &Rig, inside: &str) -> String {
    let all = all_given(rig, inside);
    assert_eq!(all.len(), 1, "translations of {inside}: {all:?}");
    all.into_iter().next().expect("one")
}

/// All of them.
pub(crate) fn all_given(rig: &Rig, inside: &str) -> Vec<String> {
    let of = |st: &State| {
        let source = text(st.stack.af(), st.stack.end(1));
        let translated = st.flags.contains(StateFlags::TRANSLATED);
        let out = st.direction == ruleset::Direction::Out;
        (translated && out && source == inside).then(|| text(st.wire.af(), st.wire.end(1)))
    };
    rig.states().iter().filter_map(of).collect()
}

pub(crate) fn text(af: ruleset::Af, (addr, port): (u128, u16)) -> String {
    let addr: std::net::IpAddr = match af {
        ruleset::Af::Inet => std::net::Ipv4Addr::from_bits(addr as u32).into(),
        ruleset::Af::Inet6 => std::net::Ipv6Addr::from_bits(addr).into(),
    };
    at(&addr.to_string(), port)
}

/// A packet from inside and its answer, both ways through source translation. What the sender is called outside.
pub(crate) fn round_trip(rig: &mut Rig, inside: &str, there: &Packet) -> String {
    let back = there.answer();
    rig.send("sim0", there);
    let outside = given(rig, inside);
    rig.expect("sim1", &there.hop().sent_from(&outside));
    rig.send("sim1", &back.clone().sent_to(&outside));
    rig.expect("sim0", &back.hop());
    outside
}

fn policy(f: &Family) -> String {
    format!(
        "match out on sim1 {} nat-to {}\npass",
        if f.digit == "4" { "inet" } else { "inet6" },
        f.box1
    )
}

/// nat_pass_out
#[test]
fn nat_pass_out() {
    for f in [INET, INET6] {
        let family = if f.digit == "4" { "inet" } else { "inet6" };
        let policy = format!(
            "block\npass in on sim0\npass out on sim1 {family} from {} nat-to {}",
            f.a, f.box1
        );
        everywhere(&policy, &Topology::usual(), |rig| {
            for port in 1..20 {
                let inside = at(f.a, port);
                let outside = round_trip(rig, &inside, &udp(&inside, &at(f.b, 53)));
                assert!(
                    outside.starts_with(&at(f.box1, 0)[..f.box1.len()]),
                    "{outside}"
                );
                let port: u16 = outside.rsplit(':').next().unwrap().parse().unwrap();
                assert!(port >= 50001, "{port}");
            }
        });
    }
}

#[test]
fn every_protocol_is_translated_with_right_checksums() {
    for f in [INET, INET6] {
        everywhere(&policy(&f), &Topology::usual(), |rig| {
            let inside = at(f.a, 1000);
            round_trip(rig, &inside, &udp(&inside, &at(f.far, 53)).data(1001));
            let inside = at(f.a, 1001);
            round_trip(rig, &inside, &tcp(&inside, &at(f.far, 80), "S").wscale(7));
            round_trip(rig, &at(f.a, 77), &echo(f.a, f.far, 77, 1));
            let there = raw(f.a, f.far, 99, b"something");
            rig.send("sim0", &there);
            rig.expect("sim1", &there.hop().from(f.box1));
            let back = there.answer();
            rig.send("sim1", &back.clone().to(f.box1));
            rig.expect("sim0", &back.hop());
        });
    }
}

#[test]
fn a_tcp_connection_keeps_its_port_to_the_end() {
    for f in [INET, INET6] {
        everywhere(&policy(&f), &Topology::usual(), |rig| {
            let (inside, server) = (at(f.a, 4000), at(f.far, 443));
            let syn = tcp(&inside, &server, "S").seq(100).wscale(3);
            rig.send("sim0", &syn);
            let outside = given(rig, &inside);
            rig.expect("sim1", &syn.hop().sent_from(&outside));
            let there = |flags, seq, ack| tcp(&inside, &server, flags).seq(seq).ack(ack);
            let back = |flags, seq, ack| tcp(&server, &inside, flags).seq(seq).ack(ack);
            for (from_inside, packet) in [
                (false, back("SA", 900, 101).wscale(5)),
                (true, there("A", 101, 901)),
                (true, there("PA", 101, 901).data(700)),
                (false, back("A", 901, 801).data(1200)),
                (true, there("FA", 801, 2101)),
                (false, back("FA", 2101, 802)),
                (true, there("A", 802, 2102)),
            ] {
                if from_inside {
                    rig.send("sim0", &packet);
                    rig.expect("sim1", &packet.hop().sent_from(&outside));
                } else {
                    rig.send("sim1", &packet.clone().sent_to(&outside));
                    rig.expect("sim0", &packet.hop());
                }
            }
        });
    }
}

/// TestICMP_NAT.test_id_conflict
#[test]
fn test_id_conflict() {
    let topology = Topology::new()
        .interface("sim0", &["192.0.2.1/24", "2001:db8:1::1/64"])
        .group("inside")
        .host(&["192.0.2.2", "2001:db8:1::2"])
        .host(&["192.0.2.3", "2001:db8:1::3"])
        .interface("sim1", &["198.51.100.1/24", "2001:db8:2::1/64"])
        .group("outside")
        .host(&[B, B6]);
    for (f, other) in [(INET, "192.0.2.3"), (INET6, "2001:db8:1::3")] {
        everywhere(&policy(&f), &topology, |rig| {
            let (one, two) = (echo(f.a, f.b, 42, 1), echo(other, f.b, 42, 1));
            rig.send("sim0", &one);
            let first = given(rig, &at(f.a, 42));
            rig.expect("sim1", &one.hop().sent_from(&first));
            rig.send("sim0", &two);
            let second = given(rig, &at(other, 42));
            rig.expect("sim1", &two.hop().sent_from(&second));
            assert_ne!(first, second);
            for (asked, outside) in [(&two, &second), (&one, &first)] {
                let back = asked.answer();
                rig.send("sim1", &back.clone().sent_to(outside));
                rig.expect("sim0", &back.hop());
            }
        });
    }
}

/// exhaust
#[test]
fn exhaust() {
    let policy = "match out on sim1 inet proto tcp nat-to 198.51.100.1 port 50001:50002\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let syn = |port| tcp(&at(A, port), &at(B, 80), "S");
        for port in [1, 2] {
            rig.send("sim0", &syn(port));
            let outside = given(rig, &at(A, port));
            rig.expect("sim1", &syn(port).hop().sent_from(&outside));
        }
        rig.mark();
        rig.send("sim0", &syn(3));
        rig.expect_nothing_more();
        assert_eq!(rig.changes().get("drop:translate"), Some(&1));
        // Another destination has all ports of its own (T12).
        let elsewhere = tcp(&at(A, 3), &at(FAR, 80), "S");
        rig.send("sim0", &elsewhere);
        let outside = given(rig, &at(A, 3));
        rig.expect("sim1", &elsewhere.hop().sent_from(&outside));
    });
}

#[test]
fn a_static_port_stays_and_is_given_once() {
    let topology = Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&["192.0.2.2"])
        .host(&["192.0.2.3"])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[B]);
    let policy = "match out on sim1 inet nat-to 198.51.100.1 static-port\npass";
    everywhere(policy, &topology, |rig| {
        let inside = at(A, 3074);
        let outside = round_trip(rig, &inside, &udp(&inside, &at(B, 3074)));
        assert_eq!(outside, "198.51.100.1:3074");
        rig.mark();
        rig.send("sim0", &udp("192.0.2.3:3074", &at(B, 3074)));
        rig.expect_nothing_more();
        assert_eq!(rig.changes().get("drop:translate"), Some(&1));
    });
}

#[test]
fn a_port_is_free_again_when_its_state_is_gone() {
    let policy = "set timeout udp.single 5\nset timeout udp.first 5\nset timeout udp.multiple 5\n\
                  match out on sim1 inet proto udp nat-to 198.51.100.1 port 50005\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        for round in 0..3 {
            let inside = at(A, 1000 + round);
            let outside = round_trip(rig, &inside, &udp(&inside, &at(B, 53)));
            assert_eq!(outside, "198.51.100.1:50005");
            rig.advance(10_000);
            assert_eq!(rig.states().len(), 0);
        }
    });
}

#[test]
fn later_rules_see_what_earlier_ones_translated() {
    // The translated address decides, and the second translation takes the place of the first (T11).
    let policy = "block\npass in on sim0\n\
                  match out on sim1 inet proto udp from 192.0.2.2 nat-to 198.51.100.7 port 60000\n\
                  match out on sim1 inet proto udp from 198.51.100.7 port 60000 nat-to 198.51.100.8\n\
                  pass out on sim1 inet from 198.51.100.8";
    everywhere(policy, &Topology::usual(), |rig| {
        let inside = at(A, 5);
        let outside = round_trip(rig, &inside, &udp(&inside, &at(B, 53)));
        assert!(outside.starts_with("198.51.100.8:"), "{outside}");
    });
    let policy = "block\npass in on sim0\n\
                  match out on sim1 inet from 192.0.2.2 nat-to 198.51.100.7\n\
                  pass out on sim1 inet from 192.0.2.2";
    everywhere(policy, &Topology::usual(), |rig| {
        rig.send("sim0", &udp(&at(A, 5), &at(B, 53)));
        rig.expect_nothing_more();
    });
}

#[test]
fn without_a_state_nothing_is_translated() {
    let policy = "match out on sim1 inet nat-to 198.51.100.7\npass no state";
    everywhere(policy, &Topology::usual(), |rig| {
        let there = udp(&at(A, 5), &at(B, 53));
        rig.send("sim0", &there);
        rig.expect("sim1", &there.hop());
    });
}

#[test]
fn a_reload_leaves_translations_as_they_are() {
    for f in [INET, INET6] {
        everywhere(&policy(&f), &Topology::usual(), |rig| {
            let (inside, server) = (at(f.a, 4000), at(f.far, 53));
            let there = udp(&inside, &server);
            let outside = round_trip(rig, &inside, &there);
            rig.reload("pass");
            rig.send("sim0", &there);
            rig.expect("sim1", &there.hop().sent_from(&outside));
            let back = there.answer();
            rig.send("sim1", &back.clone().sent_to(&outside));
            rig.expect("sim0", &back.hop());
        });
    }
}

#[test]
fn the_address_of_the_interface_is_that_of_the_moment() {
    let policy = "match out on sim1 inet nat-to (sim1)\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let first = at(A, 1);
        assert!(round_trip(rig, &first, &udp(&first, &at(B, 53))).starts_with("198.51.100.1:"));
        rig.rewire(
            |t| t.ports[1].addrs[0].addr = "198.51.100.77".parse().unwrap(),
            policy,
        );
        let second = at(A, 2);
        assert!(round_trip(rig, &second, &udp(&second, &at(B, 53))).starts_with("198.51.100.77:"));
    });
}

/// nat6_nolinklocal
#[test]
fn nat6_nolinklocal() {
    let mut topology = Topology::usual();
    topology.ports[1].addrs.insert(
        0,
        net::interface::IfAddr {
            addr: "fe80::1".parse().unwrap(),
            prefix_len: 64,
        },
    );
    let policy = "match out on sim1 inet6 nat-to (sim1)\npass";
    everywhere(policy, &topology, |rig| {
        for port in 1..8 {
            let inside = at(A6, port);
            let outside = round_trip(rig, &inside, &udp(&inside, &at(FAR6, 53)));
            assert!(outside.starts_with("[2001:db8:2::1]:"), "{outside}");
        }
    });
}

#[test]
fn many_connections_to_one_server_have_ports_of_their_own() {
    for spread in Spread::ALL {
        let mut rig = Rig::with(&policy(&INET), &Topology::usual(), spread);
        let mut seen = std::collections::BTreeSet::new();
        for port in 1000..1400 {
            let there = tcp(&at(A, port), &at(B, 80), "S");
            rig.send("sim0", &there);
            let outside = given(&rig, &at(A, port));
            rig.expect("sim1", &there.hop().sent_from(&outside));
            assert!(seen.insert(outside), "{spread:?}");
        }
        if spread.rss {
            assert_eq!(
                rig.handed_over(),
                handed_over_at_start(spread),
                "{spread:?}"
            );
        }
    }
}

/// Introducing the neighbors may hand packets over; translation that keeps its core adds none.
fn handed_over_at_start(spread: Spread) -> u64 {
    Rig::with(&policy(&INET), &Topology::usual(), spread).handed_over()
}

#[test]
fn both_families_at_once() {
    both(
        "match out on sim1 inet nat-to (sim1)\nmatch out on sim1 inet6 nat-to (sim1)\npass",
        &Topology::usual(),
        |rig, f| {
            let inside = at(f.a, 9);
            round_trip(rig, &inside, &udp(&inside, &at(f.far, 53)));
        },
    );
}
