//! What rules, tables, options and states let through, seen from outside: cases that no other file is about.

use packets::packet::{Error, error, icmp_message};
use packets::{Packet, Rig, Topology, echo, everywhere, raw, tcp, udp};

use crate::{A, A6, B, B6, Family, at, both};

fn usual() -> Topology {
    Topology::usual()
}

/// Sends a packet from the inside; true if it came out on the other side as it is after one hop.
fn goes_through(rig: &mut Rig, packet: &Packet) -> bool {
    rig.mark();
    rig.send("sim0", packet);
    let through = rig.changes().contains_key("passed");
    if through {
        rig.expect("sim1", &packet.hop());
    }
    rig.expect_nothing_more();
    through
}

#[test]
fn a_list_of_many_addresses_matches_each_of_them_and_no_other() {
    let v4 = |n: u32| format!("203.0.113.{n}");
    let v6 = |n: u32| format!("2001:db8:ffff::{n:x}");
    let list: Vec<String> = (1..=60).flat_map(|n| [v4(n), v6(n)]).collect();
    for optimization in ["none", "basic"] {
        let policy = format!(
            "set ruleset-optimization {optimization}\nblock\npass out\npass in proto udp to {{ {} }}",
            list.join(" ")
        );
        everywhere(&policy, &usual(), |rig| {
            for n in [1, 2, 30, 59, 60, 61, 200] {
                let passes = n <= 60;
                assert_eq!(
                    goes_through(rig, &udp(&at(A, 1), &at(&v4(n), 9))),
                    passes,
                    "{n}"
                );
                assert_eq!(
                    goes_through(rig, &udp(&at(A6, 1), &at(&v6(n), 9))),
                    passes,
                    "{n}"
                );
            }
        });
    }
}

#[test]
fn a_table_of_networks_in_networks_with_negations_hits_by_the_longest() {
    let table = "203.0.113.0/24 !203.0.113.64/26 203.0.113.80/28 !203.0.113.85 203.0.113.87 !203.0.113.255 \
        9.0.0.0/8 !9.9.0.0/16 9.9.9.0/24 !9.9.9.9 8.8.8.8 !7.0.0.0/8 7.7.7.0/30 0.0.0.0/5 \
        2001:db8:ffff::/48 !2001:db8:ffff:1::/64 2001:db8:ffff:1::7 !2001:db8:ffff:2::/63 2001:db8:ffff:3::/64 \
        2001:db8:fffe::1 !2001:db8:fffe::/64 2620::/16 !2620:fe::/32 2620:fe::fe";
    let hits = "203.0.113.1 203.0.113.63 203.0.113.80 203.0.113.84 203.0.113.86 203.0.113.87 203.0.113.128 203.0.113.254 \
        9.1.1.1 9.9.9.8 9.10.0.1 8.8.8.8 7.7.7.1 7.7.7.3 1.2.3.4 \
        2001:db8:ffff::9 2001:db8:ffff:1::7 2001:db8:ffff:3::1 2001:db8:ffff:ffff::1 2001:db8:fffe::1 2620:1::1 2620:fe::fe";
    let misses = "203.0.113.64 203.0.113.79 203.0.113.85 203.0.113.96 203.0.113.255 9.9.1.1 9.9.9.9 8.8.8.9 7.7.7.4 7.0.0.1 \
        11.0.0.1 2001:db8:ffff:1::8 2001:db8:ffff:2::1 2001:db8:fffe::2 2001:db8:fffd::1 2620:fe::1";
    let policy = format!("table <t> const {{ {table} }}\nblock\npass out\npass in to <t>");
    everywhere(&policy, &usual(), |rig| {
        for (list, want) in [(hits, true), (misses, false)] {
            for to in list.split_whitespace() {
                let from = if to.contains(':') { A6 } else { A };
                assert_eq!(
                    goes_through(rig, &udp(&at(from, 1), &at(to, 9))),
                    want,
                    "{to}"
                );
            }
        }
    });
}

/// A hop-by-hop header with this option area, which makes a multiple of eight with the first two bytes.
fn hop_by_hop(packet: Packet, options: &[u8]) -> Packet {
    assert!((options.len() + 2).is_multiple_of(8));
    let mut bytes = vec![((options.len() + 2) / 8 - 1) as u8];
    bytes.extend(options);
    packet.extension(0, &bytes)
}

#[test]
fn hop_by_hop_options_pass_only_where_a_rule_allows_options() {
    // One padding option after the other, up to eight; padding of the greatest length; a router alert.
    let mut longest = vec![1, 255];
    longest.resize(2 + 255 + 5, 0);
    let rows: [(&str, Vec<u8>, bool); 6] = [
        ("padding by single bytes", vec![0; 6], true),
        ("padding as one option", vec![1, 4, 0, 0, 0, 0], true),
        ("the longest padding", longest, true),
        ("a router alert", vec![5, 2, 0, 0, 1, 0], true),
        (
            "an option longer than the header",
            vec![1, 200, 0, 0, 0, 0],
            false,
        ),
        ("a jumbogram", vec![0xc2, 4, 0, 1, 0, 0], false),
    ];
    for (policy, allowed) in [("pass", false), ("pass allow-opts", true)] {
        everywhere(policy, &usual(), |rig| {
            for (n, (name, options, sound)) in rows.iter().enumerate() {
                let packet = hop_by_hop(echo(A6, B6, n as u16, 1), options);
                assert_eq!(
                    goes_through(rig, &packet),
                    allowed && *sound,
                    "{name}, {policy}"
                );
            }
        });
    }
}

#[test]
fn group_membership_with_broken_options_is_refused_even_where_options_are_allowed() {
    let igmp = raw(A, "224.0.0.22", 2, &[0x16, 0, 9, 0xfd, 224, 0, 0, 251]).ttl(1);
    let mld = icmp_message("fe80::aa", "ff02::16", 143, 0, [0; 4], &[0; 20]).ttl(1);
    let rows = [
        (
            "a length of nothing",
            igmp.clone().options(&[0x94, 0, 0, 0]),
        ),
        (
            "a length beyond the header",
            igmp.clone().options(&[0x94, 40, 0, 0]),
        ),
        (
            "an alert behind the end",
            mld.clone().extension(0, &[0, 5, 9, 0, 0, 1, 0]),
        ),
        (
            "padding beyond the header",
            mld.extension(0, &[0, 1, 40, 0, 0, 0, 0]),
        ),
    ];
    for policy in ["pass", "pass allow-opts"] {
        everywhere(policy, &usual(), |rig| {
            for (name, packet) in &rows {
                rig.mark();
                rig.send("sim0", packet);
                rig.expect_nothing_more();
                let changes = rig.changes();
                let dropped: Vec<&String> =
                    changes.keys().filter(|n| n.starts_with("drop:")).collect();
                // A sound one is dropped for its destination, which nobody forwards.
                assert!(
                    dropped.len() == 1 && dropped[0] != "drop:multicast",
                    "{name}, {policy}: {changes:?}"
                );
            }
        });
    }
}

/// From the inside?, flags, sequence and acknowledgement number, bytes of data.
type Step = (bool, &'static str, u32, u32, usize);

fn segment(f: Family, (there, flags, seq, ack, len): Step) -> Packet {
    let (inside, outside) = (at(f.a, 1000), at(f.b, 80));
    let (from, to) = if there {
        (&inside, &outside)
    } else {
        (&outside, &inside)
    };
    tcp(from, to, flags).seq(seq).ack(ack).data(len)
}

fn step(rig: &mut Rig, f: Family, one: Step, name: &str) {
    let packet = segment(f, one);
    let (from, to) = if one.0 {
        ("sim0", "sim1")
    } else {
        ("sim1", "sim0")
    };
    rig.mark();
    rig.send(from, &packet);
    assert!(rig.changes().contains_key("passed"), "{name}: {one:?}");
    rig.expect(to, &packet.hop());
    rig.expect_nothing_more();
}

#[test]
fn what_is_sent_again_passes_in_every_state_of_a_connection() {
    const SYN: Step = (true, "S", 1000, 0, 0);
    const SYN_ACK: Step = (false, "SA", 5000, 1001, 0);
    const ACK: Step = (true, "A", 1001, 5001, 0);
    let rows: [(&str, &[Step]); 7] = [
        ("synsent", &[SYN]),
        ("synreceived", &[SYN, SYN_ACK]),
        ("synfin", &[SYN, SYN_ACK, (true, "FA", 1001, 5001, 0)]),
        (
            "established",
            &[SYN, SYN_ACK, ACK, (true, "PA", 1001, 5001, 100)],
        ),
        (
            "finwait",
            &[
                SYN,
                SYN_ACK,
                ACK,
                (true, "FA", 1001, 5001, 0),
                (false, "A", 5001, 1002, 0),
            ],
        ),
        (
            "closing",
            &[
                SYN,
                SYN_ACK,
                ACK,
                (true, "FA", 1001, 5001, 0),
                (false, "FA", 5001, 1001, 0),
            ],
        ),
        (
            "lastack",
            &[
                SYN,
                SYN_ACK,
                ACK,
                (false, "FA", 5001, 1001, 0),
                (true, "A", 1001, 5002, 0),
                (true, "FA", 1001, 5002, 0),
            ],
        ),
    ];
    for (name, steps) in rows {
        both(
            "block\npass in on sim0\npass out on sim1",
            &usual(),
            |rig, f| {
                for one in steps {
                    step(rig, f, *one, name);
                }
                // Lost on the way, every one of them: they come again, seconds later, and once more.
                for _ in 0..2 {
                    rig.advance(3000);
                    step(rig, f, *steps.last().unwrap(), name);
                }
            },
        );
    }
}

#[test]
fn the_sender_learns_the_size_of_the_path_whatever_it_sends() {
    // Sizes below the least of IPv6 are passed on too: RFC 6946 has made them harmless.
    both(
        "block\npass in on sim0\npass out on sim1",
        &usual(),
        |rig, f| {
            let datagram = udp(&at(f.a, 1000), &at(f.far, 53)).data(1400);
            let segment = tcp(&at(f.a, 1000), &at(f.far, 80), "S").seq(1000);
            let question = echo(f.a, f.far, 7, 1).data(1400);
            for about in [datagram, segment, question] {
                rig.send("sim0", &about);
                rig.ignore_rest();
                for mtu in [1300, 1000] {
                    let said = error(f.router, &about.hop(), Error::TooBig(mtu));
                    rig.send("sim1", &said);
                    rig.expect("sim0", &said.hop());
                    rig.expect_nothing_more();
                }
            }
            // About what nobody sent, nothing is said.
            let never = udp(&at(f.a, 1001), &at(f.far, 53)).data(1400);
            rig.send("sim1", &error(f.router, &never, Error::TooBig(1300)));
            rig.expect_nothing_more();
        },
    );
}

/// The question arrives at the target and its answer at the asker, in one piece or several.
fn answered(rig: &mut Rig, question: &Packet, own: bool) {
    let answer = question.answer();
    for piece in question.pieces(1440) {
        rig.send("sim0", &sent(&piece, question));
    }
    if own {
        rig.expect_host(question);
        for piece in answer.pieces(1440) {
            rig.host_sends(&sent(&piece, &answer));
        }
    } else {
        for piece in question.pieces(1440) {
            rig.expect("sim1", &sent(&piece, question).hop());
        }
        for piece in answer.pieces(1440) {
            rig.send("sim1", &sent(&piece, &answer));
        }
    }
    for piece in answer.pieces(1440) {
        let piece = sent(&piece, &answer);
        rig.expect("sim0", &if own { piece } else { piece.hop() });
    }
    rig.expect_nothing_more();
}

/// A whole that fits is sent whole.
fn sent(piece: &Packet, whole: &Packet) -> Packet {
    if whole.len() <= 1500 {
        whole.clone()
    } else {
        piece.clone()
    }
}

#[test]
fn the_box_its_router_and_hosts_behind_answer_small_and_large_questions() {
    both("block\npass in on sim0\npass out", &usual(), |rig, f| {
        let targets = [
            (f.box0, true),
            (f.box1, true),
            (f.b, false),
            (f.router, false),
            (f.far, false),
        ];
        for (n, (to, own)) in targets.into_iter().enumerate() {
            for len in [48, 5000] {
                let ident = (n * 2 + usize::from(len > 1500)) as u16;
                answered(rig, &echo(f.a, to, ident, 1).data(len).ident(ident), own);
                let datagram = udp(&at(f.a, 2000 + ident), &at(to, 7)).data(len);
                answered(rig, &datagram.ident(100 + ident), own);
            }
            let segment = tcp(&at(f.a, 3000), &at(to, 7), "S").seq(1000);
            answered(rig, &segment, own);
        }
    });
}

#[test]
fn an_interface_of_a_skipped_group_passes_what_other_interfaces_block() {
    both("set skip on inside\nblock in", &usual(), |rig, f| {
        assert!(goes_through(rig, &udp(&at(f.a, 1), &at(f.b, 9))));
        rig.mark();
        rig.send("sim1", &udp(&at(f.b, 2), &at(f.a, 9)));
        rig.expect_nothing_more();
        assert_eq!(rig.changes()["drop:match"], 1);
    });
}

#[test]
fn echo_needs_a_rule_of_its_own_family_and_protocol() {
    // Nothing blocked, all blocked, ICMP allowed.
    for (policy, four, six) in [
        ("", true, true),
        ("block in", false, false),
        ("block in\npass in proto icmp", true, false),
        ("block in\npass in proto icmp6", false, true),
        ("block in\npass in inet", true, false),
    ] {
        everywhere(policy, &usual(), |rig| {
            assert_eq!(goes_through(rig, &echo(A, B, 1, 1)), four, "{policy}");
            assert_eq!(goes_through(rig, &echo(A6, B6, 1, 1)), six, "{policy}");
        });
    }
}

#[test]
fn the_marks_of_syncookies_are_right_for_small_and_for_large_limits() {
    // Each request makes two states that are half open; the first request beyond the mark is answered with a cookie.
    for (limit, start, end, states) in [
        (4, 25, 5, 2),
        (10, 20, 10, 4),
        (100, 30, 10, 32),
        (4_000_000_000_u32, 2, 1, 80),
    ] {
        let policy = format!(
            "set limit states {limit}\nset syncookies adaptive (start {start}%, end {end}%)\npass"
        );
        both(&policy, &usual(), |rig, f| {
            for port in 0..40 {
                rig.send(
                    "sim0",
                    &tcp(&at(f.a, 2000 + port), &at(f.b, 80), "S").seq(1),
                );
            }
            assert_eq!(rig.states().len(), states, "{limit}");
            rig.ignore_rest();
        });
    }
}
