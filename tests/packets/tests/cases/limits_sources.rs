//! Limits of rules over all workers: `max`, source tracking, overload tables, `once`, `max-pkt-rate`, `probability`.

use filter::Kill;
use filter::kill::Side;
use packets::{Packet, Rig, Topology, everywhere, tcp, udp};
use ruleset::Af;

use crate::{A, B, FAR, Family, at, both};

/// A SYN from a port of the inside.
fn syn(src: &str, port: u16, dst: &str) -> Packet {
    tcp(&at(src, port), &at(dst, 80), "S").seq(1000)
}

/// One handshake up to its second packet.
fn half_open(rig: &mut Rig, src: &str, port: u16, dst: &str) {
    let there = syn(src, port, dst);
    rig.send("sim0", &there);
    rig.expect("sim1", &there.hop());
    let back = tcp(&at(dst, 80), &at(src, port), "SA").seq(5000).ack(1001);
    rig.send("sim1", &back);
    rig.expect("sim0", &back.hop());
}

/// The third packet of a handshake.
fn third(src: &str, port: u16, dst: &str) -> Packet {
    tcp(&at(src, port), &at(dst, 80), "A").seq(1001).ack(5001)
}

fn connect(rig: &mut Rig, src: &str, port: u16, dst: &str) {
    half_open(rig, src, port, dst);
    rig.send("sim0", &third(src, port, dst));
    rig.expect("sim1", &third(src, port, dst).hop());
}

/// Sends a SYN; true if it came out on the other side.
fn passes(rig: &mut Rig, packet: &Packet) -> bool {
    rig.send("sim0", packet);
    match rig.take("sim1") {
        Some(frame) => {
            let expected = packet
                .hop()
                .frame(rig.mac("sim1"), rig.station("sim1", packet.dst));
            assert_eq!(frame, expected);
            true
        }
        None => false,
    }
}

fn host(addr: &str) -> Side {
    let addr: std::net::Ipv4Addr = addr.parse().unwrap();
    Side {
        af: Some(Af::Inet),
        addr: u128::from(addr.to_bits()),
        mask: u128::from(u32::MAX),
        port: None,
    }
}

/// freebsd: max_states
#[test]
fn a_rule_has_as_many_states_as_max_says_over_all_workers() {
    let policy = "pass in on sim0 proto tcp keep state (max 3)\npass out on sim1 keep state";
    both(policy, &Topology::usual(), |rig, f: Family| {
        for port in 0..3 {
            let packet = syn(f.a, 1000 + port, f.b);
            rig.exchange(
                "sim0",
                &packet,
                &[("sim1", packet.hop())],
                &f.counted(
                    "received passed searches 2 sim0.in#.pass sim1.out#.pass r0.evals 2 r0.in r0.made
                     r1.evals 2 r1.out r1.made",
                ),
            );
        }
        for port in 0..8 {
            rig.exchange(
                "sim0",
                &syn(f.a, 2000 + port, f.b),
                &[],
                &f.counted(
                    "received drop:state-limit limit:max-states-per-rule searches sim0.in#.block
                     r0.evals r1.evals r0.in",
                ),
            );
        }
        // One goes, another may come.
        let first = rig
            .states()
            .iter()
            .find(|st| st.direction == ruleset::Direction::In)
            .map(|st| st.id);
        assert_eq!(
            rig.kill(Kill {
                id: first,
                ..Kill::default()
            }),
            1
        );
        assert!(passes(rig, &syn(f.a, 3000, f.b)));
        assert!(!passes(rig, &syn(f.a, 3001, f.b)));
    });
}

#[test]
fn a_source_has_as_many_states_as_max_src_states_says() {
    let policy = "pass in on sim0 keep state (max-src-states 2)\npass out on sim1 keep state";
    everywhere(policy, &Topology::usual(), |rig| {
        assert!(passes(rig, &syn(A, 1, B)) && passes(rig, &udp(&at(A, 2), &at(FAR, 2))));
        rig.mark();
        for port in 3..9 {
            rig.exchange(
                "sim0",
                &syn(A, port, B),
                &[],
                "received drop:src-limit limit:max-src-states searches sim0.in4.block r0.evals
                 r1.evals r0.in",
            );
        }
        assert!(passes(rig, &syn("192.0.2.3", 1, B)), "another source");
        assert_eq!(rig.shared().sources.len(), 2);
    });
}

#[test]
fn a_rule_has_as_many_sources_as_max_src_nodes_says() {
    let policy = "pass in on sim0 keep state (max-src-nodes 2)\npass out on sim1 keep state";
    everywhere(policy, &Topology::usual(), |rig| {
        for port in 1..9 {
            assert!(passes(rig, &syn(A, port, B)) && passes(rig, &syn("192.0.2.3", port, B)));
        }
        rig.mark();
        rig.exchange(
            "sim0",
            &syn("192.0.2.4", 1, B),
            &[],
            "received drop:src-limit limit:max-src-nodes searches sim0.in4.block r0.evals r1.evals
             r0.in",
        );
        // The last state of a source takes its node with it.
        let gone = rig.kill(Kill {
            src: Some(host(A)),
            ..Kill::default()
        });
        assert_eq!(gone, 16, "two states for each connection");
        assert!(passes(rig, &syn("192.0.2.4", 1, B)));
    });
}

#[test]
fn there_are_as_many_source_nodes_as_the_limit_says_and_nothing_else_suffers() {
    let policy = "set limit src-nodes 3\npass in on sim0 proto tcp keep state (source-track rule)
                  pass in on sim0 proto udp\npass out on sim1 keep state";
    everywhere(policy, &Topology::usual(), |rig| {
        for n in 2..5 {
            assert!(passes(rig, &syn(&format!("192.0.2.{n}"), 1, B)));
        }
        rig.mark();
        rig.exchange(
            "sim0",
            &syn("192.0.2.9", 1, B),
            &[],
            "received drop:src-limit limit:max-src-nodes searches sim0.in4.block r0.evals r1.evals
             r2.evals r0.in",
        );
        assert!(passes(rig, &udp("192.0.2.9:1", &at(B, 1))));
        assert!(passes(rig, &syn("192.0.2.3", 2, B)), "known sources go on");
        assert_eq!(rig.shared().sources.len(), 3);
    });
}

#[test]
fn a_source_with_too_many_completed_handshakes_is_put_into_the_table_and_the_last_one_goes() {
    let policy = "table <bad> persist\nblock in quick on sim0 from <bad>
                  pass in on sim0 proto tcp keep state (max-src-conn 2, overload <bad>)
                  pass out on sim1 keep state";
    everywhere(policy, &Topology::usual(), |rig| {
        // Half-open ones do not count.
        for port in 50..60 {
            half_open(rig, A, port, B);
        }
        connect(rig, A, 1, B);
        connect(rig, A, 2, B);
        half_open(rig, A, 3, B);
        assert!(!rig.in_table("bad", A));
        rig.mark();
        rig.exchange(
            "sim0",
            &third(A, 3, B),
            &[],
            "received drop:src-limit limit:max-src-conn limit:overload-table-insertion searches
             sim0.in4.block r1.in r1.gone",
        );
        assert!(rig.in_table("bad", A) && !rig.in_table("bad", "192.0.2.3"));
        // At once, on every worker.
        for port in 100..110 {
            rig.exchange(
                "sim0",
                &syn(A, port, B),
                &[],
                "received drop:match searches sim0.in4.block r0.evals r0.in",
            );
        }
        // Without flush what there was goes on.
        let data = third(A, 1, B);
        assert!(passes(rig, &data));
        assert!(passes(rig, &syn("192.0.2.3", 1, B)));
    });
}

#[test]
fn connections_that_come_too_often_overload_and_the_rate_decays() {
    let policy =
        "table <bad>\npass in on sim0 proto tcp keep state (max-src-conn-rate 3/10, overload <bad>)
                  pass out on sim1 keep state";
    everywhere(policy, &Topology::usual(), |rig| {
        for port in 1..=3 {
            connect(rig, A, port, B);
        }
        rig.advance(20_000);
        for port in 4..=6 {
            connect(rig, A, port, B);
        }
        assert!(!rig.in_table("bad", A));
        half_open(rig, A, 7, B);
        rig.mark();
        rig.exchange(
            "sim0",
            &third(A, 7, B),
            &[],
            "received drop:src-limit limit:max-src-conn-rate limit:overload-table-insertion searches
             sim0.in4.block r0.in r0.gone",
        );
        assert!(rig.in_table("bad", A));
    });
}

/// States by direction: (in, out).
fn states_of(rig: &Rig, port: u16) -> (usize, usize) {
    let with = |direction| {
        let all = rig.states();
        let has = |st: &&state::State| st.wire.end(0).1 == port || st.wire.end(1).1 == port;
        all.iter()
            .filter(|st| st.direction == direction)
            .filter(has)
            .count()
    };
    (with(ruleset::Direction::In), with(ruleset::Direction::Out))
}

#[test]
fn flush_kills_the_states_of_the_rule_and_flush_global_all_of_the_source_on_every_worker() {
    for (flush, others) in [("flush", 1), ("flush global", 0)] {
        let policy = format!(
            "table <bad>\npass in on sim0 proto udp
             pass in on sim0 proto tcp keep state (max-src-conn 1, overload <bad> {flush})
             pass out on sim1 keep state"
        );
        everywhere(&policy, &Topology::usual(), |rig| {
            for port in 900..916 {
                assert!(passes(rig, &udp(&at(A, port), &at(B, 53))));
            }
            assert!(passes(rig, &syn("192.0.2.3", 77, B)));
            connect(rig, A, 1, B);
            for port in 2..20 {
                half_open(rig, A, port, B);
            }
            rig.send("sim0", &third(A, 2, B));
            rig.mark();
            // The ways out survive, as in PF.
            for port in 1..20 {
                assert_eq!(states_of(rig, port), (0, 1), "port {port}, {flush}");
            }
            for port in 900..916 {
                assert_eq!(states_of(rig, port), (others, 1), "port {port}, {flush}");
            }
            assert_eq!(states_of(rig, 77), (1, 1));
            assert_eq!(rig.shared().sources.len(), 1, "the other source's");
        });
    }
}

#[test]
fn a_node_stays_for_src_track_after_its_last_state() {
    let policy = "pass in on sim0 proto udp keep state (max-src-nodes 1, src.track 30, udp.first 2)
                  pass out on sim1 keep state (udp.first 2)";
    everywhere(policy, &Topology::usual(), |rig| {
        assert!(passes(rig, &udp(&at(A, 1), &at(B, 1))));
        rig.advance(10_000);
        assert_eq!((rig.states().len(), rig.shared().sources.len()), (0, 1));
        assert!(
            !passes(rig, &udp("192.0.2.3:1", &at(B, 1))),
            "the place is kept"
        );
        rig.advance(35_000);
        assert_eq!(rig.shared().sources.len(), 0);
        assert!(passes(rig, &udp("192.0.2.3:1", &at(B, 1))));
    });
}

#[test]
fn killed_source_nodes_begin_anew() {
    let policy = "pass in on sim0 keep state (max-src-states 1)\npass out on sim1 keep state";
    everywhere(policy, &Topology::usual(), |rig| {
        assert!(passes(rig, &syn(A, 1, B)) && !passes(rig, &syn(A, 2, B)));
        assert_eq!(rig.shared().sources.kill(|_| true), 1);
        assert!(passes(rig, &syn(A, 2, B)) && !passes(rig, &syn(A, 3, B)));
        // The old state gives back to its old node only.
        rig.kill(Kill {
            src: Some(Side {
                port: Some(1),
                ..host(A)
            }),
            ..Kill::default()
        });
        assert!(!passes(rig, &syn(A, 3, B)));
        rig.kill(Kill::default());
        assert_eq!(rig.shared().sources.len(), 0);
    });
}

#[test]
fn a_rule_with_once_matches_once_over_all_workers() {
    let policy = "block\npass in on sim0 proto tcp no state once\npass out on sim1";
    everywhere(policy, &Topology::usual(), |rig| {
        let passed: usize = (0..20)
            .filter(|port| passes(rig, &syn(A, 1 + port, B)))
            .count();
        assert_eq!(passed, 1);
        rig.mark();
        rig.exchange(
            "sim0",
            &syn(A, 99, B),
            &[],
            "received drop:match searches sim0.in4.block r0.evals r1.evals r2.evals r0.in",
        );
        // A load of the rules brings it back.
        rig.reload(policy);
        assert!(passes(rig, &syn(A, 1, B)) && !passes(rig, &syn(A, 2, B)));
    });
}

#[test]
fn packets_beyond_max_pkt_rate_fall_back_to_the_other_rules() {
    let policy = "block\npass in on sim0 proto udp max-pkt-rate 5/10\npass out on sim1";
    everywhere(policy, &Topology::usual(), |rig| {
        let packet = udp(&at(A, 1), &at(B, 1));
        let passed: usize = (0..8).filter(|_| passes(rig, &packet)).count();
        // The packets of the state count, too; what is beyond is blocked by the first rule.
        assert_eq!(passed, 5);
        rig.mark();
        rig.exchange(
            "sim0",
            &packet,
            &[],
            "received drop:match searches sim0.in4.block r0.evals r1.evals r2.evals r0.in",
        );
        // What comes back is not counted.
        let back = packet.answer();
        rig.send("sim1", &back);
        rig.expect("sim0", &back.hop());
        rig.advance(20_000);
        assert!(passes(rig, &packet));
    });
}

#[test]
fn a_probability_matches_about_as_often_as_it_says() {
    let policy =
        "block\npass in on sim0 proto udp probability 25% no state\npass out on sim1 no state";
    everywhere(policy, &Topology::usual(), |rig| {
        let packet = |n: u16| udp(&at(A, 1000 + n), &at(B, 1));
        let passed: usize = (0..800).filter(|n| passes(rig, &packet(*n))).count();
        assert!((120..280).contains(&passed), "{passed} of 800");
        rig.mark();
    });
}

/// Connections of two sources, each with a state on the way in and one on the way out.
fn two_sources(rig: &mut Rig, f: Family) -> [std::net::IpAddr; 2] {
    let other = if f.a.contains(':') {
        "2001:db8:1::77"
    } else {
        "192.0.2.77"
    };
    for port in 1..5 {
        assert!(passes(rig, &syn(f.a, port, f.b)) && passes(rig, &syn(other, port, f.b)));
    }
    rig.mark();
    [f.a, other].map(|addr| addr.parse().expect("an address"))
}

/// freebsd: killstate v4, v6
#[test]
fn states_are_killed_by_their_source_on_every_worker() {
    both("pass", &Topology::usual(), |rig, f: Family| {
        let [first, _] = two_sources(rig, f);
        let (af, addr) = match first {
            std::net::IpAddr::V4(a) => (Af::Inet, u128::from(a.to_bits())),
            std::net::IpAddr::V6(a) => (Af::Inet6, a.to_bits()),
        };
        let side = Side {
            af: Some(af),
            addr,
            mask: ruleset::table::prefix_mask(af, af.bits()),
            port: None,
        };
        let kill = Kill {
            src: Some(side),
            ..Kill::default()
        };
        assert_eq!(rig.kill(kill), 8);
        assert_eq!((rig.kill(kill), rig.states().len()), (0, 8));
        rig.counted("r0.gone 8");
    });
}

/// freebsd: killstate interface, id
#[test]
fn states_are_killed_by_their_interface_or_their_number() {
    both(
        "pass in\npass out keep state (if-bound)",
        &Topology::usual(),
        |rig, f: Family| {
            two_sources(rig, f);
            let id = rig.states()[0].id;
            let by_number = Kill {
                id: Some(id),
                ..Kill::default()
            };
            assert_eq!(rig.kill(by_number), 1);
            assert!(rig.states().iter().all(|st| st.id != id));
            let kif = Some(ruleset::KifId(1));
            let by_interface = Kill {
                kif,
                ..Kill::default()
            };
            let there = rig.states().iter().filter(|st| Some(st.kif) == kif).count();
            assert!((7..=8).contains(&there), "{there} on sim1");
            let elsewhere = Kill {
                kif: Some(ruleset::KifId(0)),
                ..Kill::default()
            };
            assert_eq!(rig.kill(elsewhere), 0, "what floats is on no interface");
            assert_eq!(rig.kill(by_interface), there as u64);
            let floating = Kill {
                floating: true,
                ..Kill::default()
            };
            assert_eq!(rig.kill(floating), 15 - there as u64);
            assert_eq!(rig.states().len(), 0);
            rig.counted("r0.gone 8 r1.gone 8");
        },
    );
}
