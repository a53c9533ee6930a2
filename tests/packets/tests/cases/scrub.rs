//! What rules do to headers: `scrub (…)`, `set tos`, `set prio`, and the scrub rules of the old dialect.

use packets::{Packet, Topology, everywhere, tcp, udp};

use crate::{A, A6, B, B6, Family, at, both};

fn usual() -> Topology {
    Topology::usual()
}

fn syn(f: Family, mss: u16) -> Packet {
    tcp(&at(f.a, 1000), &at(f.b, 80), "S").mss(mss)
}

#[test]
fn max_mss_lowers_the_option_of_syns_both_ways() {
    both("match scrub (max-mss 1300)\npass", &usual(), |rig, f| {
        let opening = syn(f, 1400);
        rig.send("sim0", &opening);
        rig.expect("sim1", &opening.hop().mss(1300));
        let answer = opening.answer().with_flags("SA").ack(1001).seq(5).mss(1460);
        rig.send("sim1", &answer);
        rig.expect("sim0", &answer.hop().mss(1300));
        // A smaller one stays.
        let small = tcp(&at(f.a, 1001), &at(f.b, 80), "S").mss(1200);
        rig.send("sim0", &small);
        rig.expect("sim1", &small.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn max_mss_finds_an_option_that_is_not_aligned() {
    for policy in [
        "match scrub (max-mss 1300)\npass",
        "scrub max-mss 1300\npass",
    ] {
        both(policy, &usual(), |rig, f| {
            let opening =
                syn(f, 1400).tcp_options(&[1, 2, 4, 1400u16.to_be_bytes()[0], 0x78, 1, 1, 0]);
            let lowered = syn(f, 1400).tcp_options(&[1, 2, 4, 0x05, 0x14, 1, 1, 0]);
            rig.send("sim0", &opening);
            rig.expect("sim1", &lowered.hop());
            rig.expect_nothing_more();
        });
    }
}

#[test]
fn scrub_of_a_pass_rule_is_kept_in_its_state() {
    both(
        "pass in scrub (min-ttl 40)\npass out",
        &usual(),
        |rig, f| {
            let question = udp(&at(f.a, 1000), &at(f.b, 53)).ttl(3);
            for _ in 0..2 {
                rig.send("sim0", &question);
                rig.expect("sim1", &question.clone().ttl(39));
            }
            // On its way back the answer passes the same interface; TTL is raised after the hop.
            let answer = question.answer().ttl(9);
            rig.send("sim1", &answer);
            rig.expect("sim0", &answer.clone().ttl(40));
            rig.expect_nothing_more();
        },
    );
}

#[test]
fn without_a_state_only_the_deciding_rule_counts() {
    both(
        "match in scrub (min-ttl 40)\npass in no state scrub (max-mss 1000)\npass out no state",
        &usual(),
        |rig, f| {
            let question = udp(&at(f.a, 1000), &at(f.b, 53)).ttl(9);
            rig.send("sim0", &question);
            rig.expect("sim1", &question.hop());
            let opening = syn(f, 1400).ttl(9);
            rig.send("sim0", &opening);
            rig.expect("sim1", &opening.hop().mss(1000));
            rig.expect_nothing_more();
        },
    );
}

#[test]
fn later_rules_replace_values_and_add_flags() {
    everywhere(
        "match in scrub (no-df min-ttl 10)\nmatch in scrub (min-ttl 20)\npass",
        &usual(),
        |rig| {
            let question = udp(&at(A, 1000), &at(B, 53)).df();
            rig.send("sim0", &question.clone().ttl(3));
            rig.expect("sim1", &udp(&at(A, 1000), &at(B, 53)).ttl(19));
            rig.expect_nothing_more();
        },
    );
}

#[test]
fn what_no_df_frees_can_be_cut() {
    let narrow = Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&[A])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[B])
        .mtu("sim1", 600);
    everywhere("pass scrub (no-df)", &narrow, |rig| {
        rig.send("sim0", &udp(&at(A, 1000), &at(B, 53)).data(1000).df());
        for piece in udp(&at(A, 1000), &at(B, 53)).data(1000).pieces(576) {
            rig.expect("sim1", &piece.hop());
        }
        rig.expect_nothing_more();
    });
}

#[test]
fn random_id_gives_whole_packets_another_identification() {
    everywhere("pass in scrub (random-id)\npass out", &usual(), |rig| {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            rig.send("sim0", &udp(&at(A, 1000), &at(B, 53)));
            let frame = rig.take("sim1").expect("passed");
            let ip = wire::ipv4::Packet::new_checked(&frame[14..]).unwrap();
            assert!(ip.verify_checksum());
            seen.insert(ip.ident());
        }
        assert!(seen.len() > 15, "{seen:?}");
        // All pieces of a datagram get the same one.
        for piece in udp(&at(A, 1000), &at(B, 53)).data(3000).pieces(1400) {
            rig.send("sim0", &piece);
        }
        let idents: Vec<[u8; 2]> = std::iter::from_fn(|| rig.take("sim1"))
            .map(|f| [f[18], f[19]])
            .collect();
        assert_eq!(idents.len(), 3);
        assert!(idents.iter().all(|id| *id == idents[0]));
    });
}

#[test]
fn set_tos_keeps_the_congestion_bits_and_is_seen_by_later_interfaces() {
    both(
        "block\npass in set tos ef\npass out tos ef",
        &usual(),
        |rig, f| {
            let question = udp(&at(f.a, 1000), &at(f.b, 53)).tos(0x13);
            for _ in 0..2 {
                rig.send("sim0", &question);
                rig.expect("sim1", &question.hop().tos(0xbb));
            }
            rig.expect_nothing_more();
        },
    );
}

#[test]
fn every_piece_of_a_datagram_is_scrubbed() {
    both(
        "pass in set tos af11 scrub (min-ttl 50)\npass out",
        &usual(),
        |rig, f| {
            let question = udp(&at(f.a, 1000), &at(f.b, 53)).data(4000);
            for piece in question.clone().ttl(5).pieces(1400) {
                rig.send("sim0", &piece);
            }
            for piece in question.ttl(49).tos(0x28).pieces(1400) {
                rig.expect("sim1", &piece);
            }
            rig.expect_nothing_more();
        },
    );
}

#[test]
fn rules_ask_for_the_priority_that_others_set() {
    both(
        "block\npass in proto udp set prio 6\npass in proto tcp set prio (2, 5)\npass out prio 6\npass out proto tcp prio 2",
        &usual(),
        |rig, f| {
            let question = udp(&at(f.a, 1000), &at(f.b, 53));
            rig.send("sim0", &question);
            rig.expect("sim1", &question.hop());
            let opening = syn(f, 1400);
            rig.send("sim0", &opening);
            rig.expect("sim1", &opening.hop());
            rig.expect_nothing_more();
        },
    );
    // Nobody set one: it is 3.
    both("block\npass in\npass out prio 3", &usual(), |rig, f| {
        let question = udp(&at(f.a, 1000), &at(f.b, 53));
        rig.send("sim0", &question);
        rig.expect("sim1", &question.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn the_priority_of_a_tag_is_asked_for() {
    for (code, prio) in [(0, 1), (1, 0), (5, 5)] {
        let policy = format!("block\npass in prio {prio}\npass out");
        everywhere(&policy, &usual(), |rig| {
            let question = udp(&at(A, 1000), &at(B, 53));
            let (src, dst) = (rig.station("sim0", A.parse().unwrap()), rig.mac("sim0"));
            let mut frame = question.frame(src, dst);
            frame.splice(12..12, [0x81, 0x00, code << 5, 0]);
            rig.send_frame("sim0", &frame);
            rig.expect("sim1", &question.hop());
            rig.expect_nothing_more();
        });
    }
}

#[test]
fn of_old_scrub_rules_the_first_match_counts() {
    let policy = "no scrub in proto udp\nscrub in on sim0 max-mss 1300 min-ttl 30\nscrub in max-mss 1200\npass";
    both(policy, &usual(), |rig, f| {
        let opening = syn(f, 1400).ttl(5);
        rig.send("sim0", &opening);
        rig.expect("sim1", &opening.clone().ttl(29).mss(1300));
        let answer = opening.answer().with_flags("SA").ack(1001).seq(5).mss(1460);
        rig.send("sim1", &answer);
        rig.expect("sim0", &answer.hop().mss(1200));
        let question = udp(&at(f.a, 1000), &at(f.b, 53)).ttl(5);
        rig.send("sim0", &question);
        rig.expect("sim1", &question.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn old_scrub_rules_override_set_reassemble() {
    let pieces = |a: &str, b: &str| udp(&at(a, 1000), &at(b, 53)).data(2000).pieces(1024);
    // Where no rule matches, nothing is joined; and where it says so.
    for policy in [
        "scrub in on sim1\nblock\npass in fragment\npass out",
        "scrub in fragment no reassemble\nblock\npass in fragment\npass out",
        "no scrub in\nscrub\nblock\npass in fragment\npass out",
    ] {
        both(policy, &usual(), |rig, f| {
            for piece in pieces(f.a, f.b) {
                rig.send("sim0", &piece);
                rig.expect("sim1", &piece.hop());
            }
            rig.expect_nothing_more();
        });
    }
    for policy in [
        "set reassemble no\nscrub in\nblock\npass in proto udp to port 53\npass out",
        "scrub in all fragment reassemble\nblock\npass in proto udp to port 53\npass out",
        "scrub in all fragment crop\nblock\npass in proto udp to port 53\npass out",
    ] {
        both(policy, &usual(), |rig, f| {
            for piece in pieces(f.a, f.b) {
                rig.send("sim0", &piece);
            }
            for piece in pieces(f.a, f.b) {
                rig.expect("sim1", &piece.hop());
            }
            rig.expect_nothing_more();
        });
    }
}

#[test]
fn old_scrub_rules_say_what_becomes_of_df_fragments() {
    let question = || udp(&at(A, 1000), &at(B, 53)).data(2000);
    everywhere("scrub in\npass", &usual(), |rig| {
        for piece in question().df().pieces(1024) {
            rig.send("sim0", &piece);
        }
        rig.counted("received 2 drop:fragment 2");
    });
    everywhere("scrub in no-df\npass", &usual(), |rig| {
        for piece in question().df().pieces(1024) {
            rig.send("sim0", &piece);
        }
        for piece in question().pieces(1024) {
            rig.expect("sim1", &piece.hop());
        }
        rig.expect_nothing_more();
    });
}

#[test]
fn ipv6_has_no_df_and_no_identification_to_change() {
    everywhere("match scrub (no-df random-id)\npass", &usual(), |rig| {
        let question = udp(&at(A6, 1000), &at(B6, 53));
        rig.send("sim0", &question);
        rig.expect("sim1", &question.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn scrub_rules_of_anchors_are_asked_where_the_anchor_stands_if_it_matches() {
    let policy = "scrub-anchor \"one\" in on sim0 from 192.0.2.2\n\
                  scrub in on sim0 min-ttl 20\n\
                  scrub-anchor \"two/*\" in on sim0\n\
                  pass\n\
                  anchor \"one\" {\n\
                  no scrub in proto udp to port 9\n\
                  scrub in proto udp to port 10 min-ttl 30\n\
                  scrub-anchor \"deep\"\nanchor \"deep\" {\n scrub in proto udp to port 11 min-ttl 40\n }\n\
                  }\n\
                  anchor \"two\" {\n anchor \"later\" {\n scrub in min-ttl 50\n }\n }";
    let host = "192.0.2.3";
    let topology = Topology::usual();
    everywhere(policy, &topology, |rig| {
        for (from, port, ttl) in [
            (A, 9, 5),
            (A, 10, 30),
            (A, 11, 40),
            (A, 12, 20),
            (host, 9, 20),
            (host, 10, 20),
        ] {
            let there = udp(&at(from, 1000), &at(B, port));
            rig.send("sim0", &there.clone().ttl(5));
            rig.expect("sim1", &there.ttl(ttl - 1));
        }
        rig.expect_nothing_more();
    });
}
