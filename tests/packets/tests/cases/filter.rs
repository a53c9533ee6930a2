//! pass, block and match over forwarded packets.

use packets::packet::{Error, error, icmp_message};
use packets::{Packet, Rig, Topology, echo, everywhere, raw, tcp, udp};

use crate::{A, A6, B, B6, FAR, Family, INET, INET6, at, both};

/// First packet of a connection that rule 0 passes both ways.
const FIRST: &str =
    "received passed searches 2 sim0.in#.pass sim1.out#.pass r0.evals 2 r0.in r0.out r0.made 2";
/// Any later packet from the inside.
const THERE: &str = "received passed searches sim0.in#.pass sim1.out#.pass r0.in r0.out";
/// Any later packet from the outside.
const BACK: &str = "received passed searches sim1.in#.pass sim0.out#.pass r0.in r0.out";

fn usual() -> Topology {
    Topology::usual()
}

#[test]
fn without_rules_everything_passes_and_no_state_is_made() {
    both("", &usual(), |rig, f| {
        for to in [f.b, f.far] {
            let there = udp(&at(f.a, 1000), &at(to, 53));
            let counted =
                "received passed searches 2 sim0.in#.pass sim1.out#.pass default.in default.out";
            rig.exchange(
                "sim0",
                &there,
                &[("sim1", there.hop())],
                &f.counted(counted),
            );
            let back = there.answer();
            let counted =
                "received passed searches 2 sim1.in#.pass sim0.out#.pass default.in default.out";
            rig.exchange("sim1", &back, &[("sim0", back.hop())], &f.counted(counted));
        }
        assert!(rig.states().is_empty());
    });
}

#[test]
fn pass_makes_a_state_on_each_interface_and_answers_follow_it() {
    both("pass", &usual(), |rig, f| {
        let there = udp(&at(f.a, 1000), &at(f.b, 53));
        rig.exchange("sim0", &there, &[("sim1", there.hop())], &f.counted(FIRST));
        for _ in 0..2 {
            let back = there.answer();
            rig.exchange("sim1", &back, &[("sim0", back.hop())], &f.counted(BACK));
            rig.exchange("sim0", &there, &[("sim1", there.hop())], &f.counted(THERE));
        }
        let states = rig.states();
        assert_eq!(states.len(), 2);
        for st in &states {
            assert_eq!(st.packets, [3, 2]);
            assert_eq!(st.bytes, [3 * there.len() as u64, 2 * there.len() as u64]);
            assert!(
                st.pair.some().is_some(),
                "tied to the other interface's state"
            );
        }
    });
}

#[test]
fn an_established_connection_needs_no_rule_any_more() {
    both(
        "block\npass in on sim0\npass out on sim1",
        &usual(),
        |rig, f| {
            let there = udp(&at(f.a, 1000), &at(f.b, 53));
            rig.exchange(
                "sim0",
                &there,
                &[("sim1", there.hop())],
                &f.counted(
                    "received passed searches 2 sim0.in#.pass sim1.out#.pass
                 r0.evals 2 r1.evals 2 r2.evals 2 r1.in r1.made r2.out r2.made",
                ),
            );
            let back = there.answer();
            rig.exchange(
                "sim1",
                &back,
                &[("sim0", back.hop())],
                &f.counted("received passed searches sim1.in#.pass sim0.out#.pass r2.in r1.out"),
            );
            // Nobody outside may begin.
            let begin = udp(&at(f.b, 53), &at(f.a, 1001));
            rig.exchange(
                "sim1",
                &begin,
                &[],
                &f.counted(
                    "received drop:match searches sim1.in#.block r0.evals r1.evals r2.evals r0.in",
                ),
            );
        },
    );
}

#[test]
fn block_drop_answers_nothing() {
    both("block drop", &usual(), |rig, f| {
        for packet in [
            udp(&at(f.a, 1000), &at(f.b, 53)),
            tcp(&at(f.a, 1000), &at(f.b, 80), "S"),
            echo(f.a, f.b, 7, 1),
            raw(f.a, f.b, 47, b"tunnel"),
        ] {
            rig.exchange(
                "sim0",
                &packet,
                &[],
                &f.counted("received drop:match searches sim0.in#.block r0.evals r0.in"),
            );
        }
    });
}

/// What is counted when a packet that came in by `sim0` is blocked by rule 0 and answered.
const BLOCKED_ANSWERED: &str =
    "received drop:match generated passed searches sim0.in#.block r0.evals r0.in";

#[test]
fn block_return_resets_tcp_from_the_address_that_was_asked() {
    both("block return", &usual(), |rig, f| {
        let (src, dst) = (at(f.a, 1000), at(f.b, 80));
        // (segment, sequence and acknowledgement of the reset)
        for (packet, seq, ack) in [
            (tcp(&src, &dst, "S").seq(77), 0, 78),
            (tcp(&src, &dst, "SA").seq(77).ack(5), 5, 78),
            (tcp(&src, &dst, "A").seq(77).ack(5).data(10), 5, 87),
            (tcp(&src, &dst, "FA").seq(77).ack(5), 5, 78),
        ] {
            let reset = reset(&dst, &src).seq(seq).ack(ack);
            rig.exchange(
                "sim0",
                &packet,
                &[("sim0", reset)],
                &f.counted(BLOCKED_ANSWERED),
            );
        }
    });
}

/// A reset as the box makes it.
fn reset(src: &str, dst: &str) -> Packet {
    tcp(src, dst, "RA").window(0).ident(0).df()
}

#[test]
fn block_return_sends_port_unreachable_for_everything_but_tcp() {
    both("block return", &usual(), |rig, f| {
        for packet in [
            udp(&at(f.a, 1000), &at(f.b, 53)),
            echo(f.a, f.b, 7, 1),
            raw(f.a, f.b, 47, b"tunnel"),
            // A reset must not be answered with a reset.
            tcp(&at(f.a, 1000), &at(f.b, 80), "R"),
        ] {
            let answer = error(f.box0, &packet, Error::Unreachable(3, 4)).as_box_error(&packet);
            rig.exchange(
                "sim0",
                &packet,
                &[("sim0", answer)],
                &f.counted(BLOCKED_ANSWERED),
            );
        }
        // Nor an error with an error.
        let about = udp(&at(f.b, 53), &at(f.a, 1000));
        let packet = error(f.b, &about, Error::Unreachable(1, 3))
            .from(f.a)
            .to(f.b);
        rig.send("sim0", &packet);
        rig.expect_nothing_more();
    });
}

#[test]
fn block_return_out_answers_by_the_way_the_packet_came() {
    both("pass in\nblock return out on sim1", &usual(), |rig, f| {
        let packet = udp(&at(f.a, 1000), &at(f.b, 53));
        let answer = error(f.box0, &packet.hop(), Error::Unreachable(3, 4)).as_box_error(&packet);
        rig.exchange(
            "sim0",
            &packet,
            &[("sim0", answer)],
            &f.counted(
                "received drop:match generated passed searches 2 sim0.in#.pass sim1.out#.block
                 r0.evals 2 r1.evals 2 r0.in r0.made r1.out",
            ),
        );
    });
}

#[test]
fn return_rst_and_return_icmp_answer_as_the_rule_says() {
    let policy = "block return-rst (ttl 9) proto tcp to port 1
                  block return-icmp (net-unr, admin-unr) proto { tcp, udp } to port 2";
    let rules = "r0.evals r1.evals r2.evals";
    both(policy, &usual(), |rig, f| {
        let counted = |by: &str| {
            f.counted(&format!(
                "received drop:match generated passed searches sim0.in#.block {rules} {by}.in"
            ))
        };
        let (src, to) = (at(f.a, 1000), |port| at(f.b, port));
        let syn = tcp(&src, &to(1), "S").seq(5);
        let answer = reset(&to(1), &src).seq(0).ack(6).ttl(9);
        rig.exchange("sim0", &syn, &[("sim0", answer)], &counted("r0"));
        for (packet, by) in [(tcp(&src, &to(2), "S"), "r1"), (udp(&src, &to(2)), "r2")] {
            let answer = error(f.box0, &packet, Error::Unreachable(0, 1)).as_box_error(&packet);
            rig.exchange("sim0", &packet, &[("sim0", answer)], &counted(by));
        }
    });
}

/// Sends packets by `sim0` and says which passed.
fn passing(rig: &mut Rig, packets: impl IntoIterator<Item = Packet>) -> Vec<bool> {
    packets
        .into_iter()
        .map(|packet| {
            rig.mark();
            rig.send("sim0", &packet);
            let passed = rig.take("sim1").is_some();
            rig.expect_nothing_more();
            let dropped = rig.changes().get("drop:match").copied().unwrap_or(0);
            assert_eq!(
                dropped == 0,
                passed,
                "{packet:?}: dropped for the rules or passed"
            );
            passed
        })
        .collect()
}

/// Asserts that under `policy` exactly those packets pass that should.
fn pass_table(policy: &str, rows: &[(&str, Packet, bool)]) {
    everywhere(policy, &usual(), |rig| {
        let got = passing(rig, rows.iter().map(|r| r.1.clone()));
        for (row, got) in rows.iter().zip(got) {
            assert_eq!(got, row.2, "{policy}\n{}", row.0);
        }
    });
}

#[test]
fn the_last_match_wins_and_quick_ends_the_walk() {
    let policy = "block
                  pass proto udp
                  block proto udp to port 53
                  pass quick proto udp to port 67
                  block proto udp to port 67";
    both(policy, &usual(), |rig, f| {
        let udp_to = |port| udp(&at(f.a, 1000), &at(f.b, port));
        // (port, walks, the rule that decides)
        let in_only = "received drop:match searches sim0.in#.block";
        let walk = "r0.evals r1.evals r2.evals r3.evals r4.evals";
        rig.exchange(
            "sim0",
            &udp_to(53),
            &[],
            &f.counted(&format!("{in_only} {walk} r2.in")),
        );
        let passed = "received passed searches 2 sim0.in#.pass sim1.out#.pass";
        let walks = "r0.evals 2 r1.evals 2 r2.evals 2 r3.evals 2";
        rig.exchange(
            "sim0",
            &udp_to(54),
            &[("sim1", udp_to(54).hop())],
            &f.counted(&format!(
                "{passed} {walks} r4.evals 2 r1.in r1.out r1.made 2"
            )),
        );
        rig.exchange(
            "sim0",
            &udp_to(67),
            &[("sim1", udp_to(67).hop())],
            &f.counted(&format!("{passed} {walks} r3.in r3.out r3.made 2")),
        );
    });
}

#[test]
fn match_rules_count_and_decide_nothing() {
    let policy =
        "match proto udp\nblock in\nmatch proto udp to port 53\npass in proto udp to port 53";
    both(policy, &usual(), |rig, f| {
        let blocked = udp(&at(f.a, 1000), &at(f.b, 54));
        let walk = "r0.evals r1.evals r2.evals r3.evals";
        rig.exchange(
            "sim0",
            &blocked,
            &[],
            &f.counted(&format!(
                "received drop:match searches sim0.in#.block {walk} r0.in r1.in"
            )),
        );
        let passed = udp(&at(f.a, 1000), &at(f.b, 53));
        rig.exchange(
            "sim0",
            &passed,
            &[("sim1", passed.hop())],
            // On the way out no rule decides: the default rule passes.
            &f.counted(
                "received passed searches 2 sim0.in#.pass sim1.out#.pass
                 r0.evals 2 r1.evals 2 r2.evals 2 r3.evals 2
                 r0.in r2.in r3.in r3.made r0.out r2.out default.out",
            ),
        );
    });
}

#[test]
fn two_equal_rules_around_a_match_are_both_evaluated() {
    // FreeBSD pass_block "duplicate_rules": the second pass must see the tag.
    let policy = "block\npass in\nmatch in tag seen\npass in\npass out tagged seen";
    pass_table(
        policy,
        &[(
            "tagged between the two",
            udp("192.0.2.2:1", "198.51.100.2:1"),
            true,
        )],
    );
}

#[test]
fn addresses_ports_and_protocols_select() {
    let policy = "table <good> const { 198.51.100.0/24, !198.51.100.7, 203.0.113.9, 2001:db8:2::/64 }
                  block
                  pass out
                  pass in inet proto tcp from 192.0.2.2 to <good> port { 80, 1000:1009, 2000 >< 2010 }
                  pass in inet proto udp from ! 192.0.2.2 to any port != 53
                  pass in inet6 proto { tcp, udp } to <good> port >= 1024
                  pass in proto icmp
                  pass in inet proto 47 to 198.51.100.1 - 198.51.100.3";
    let syn = |to: &str, port| tcp("192.0.2.2:5", &at(to, port), "S");
    let datagram = |from: &str, to: &str, port| udp(&at(from, 5), &at(to, port));
    pass_table(
        policy,
        &[
            ("port in the list", syn(B, 80), true),
            ("not in the list", syn(B, 81), false),
            ("first of a range", syn(B, 1000), true),
            ("last of a range", syn(B, 1009), true),
            ("behind a range", syn(B, 1010), false),
            ("end of an open range", syn(B, 2000), false),
            ("inside an open range", syn(B, 2009), true),
            ("negated in the table", syn("198.51.100.7", 80), false),
            ("single address in the table", syn(FAR, 80), true),
            ("not in the table", syn("203.0.113.10", 80), false),
            ("negated source", datagram(A, B, 80), false),
            ("another source", datagram("192.0.2.3", B, 80), true),
            ("negated port", datagram("192.0.2.3", B, 53), false),
            ("IPv6, high port", datagram(A6, B6, 1024), true),
            ("IPv6, low port", datagram(A6, B6, 1023), false),
            (
                "IPv6, not in the table",
                datagram(A6, "2001:db8:3::2", 1024),
                false,
            ),
            ("echo", echo(A, B, 1, 1), true),
            ("IPv6 echo is no icmp", echo(A6, B6, 1, 1), false),
            ("GRE to the range", raw(A, B, 47, b"x"), true),
            (
                "GRE beyond the range",
                raw(A, "198.51.100.4", 47, b"x"),
                false,
            ),
        ]
        .map(|(name, packet, passes)| (name, packet, passes)),
    );
}

#[test]
fn a_pass_rule_for_tcp_takes_only_beginnings_unless_told() {
    let seg = |flags, port| tcp("192.0.2.2:5", &at(B, port), flags);
    pass_table(
        "block\npass\nblock proto tcp to port 2\npass proto tcp to port 2 flags any\nblock proto tcp to port 3\npass proto tcp to port 3 flags FA/FA",
        &[
            ("SYN", seg("S", 1), true),
            ("SYN with ECN", seg("SEC", 10), true),
            ("SYN and ACK", seg("SA", 11), false),
            ("ACK in mid-stream", seg("A", 12), false),
            ("RST", seg("R", 13), false),
            ("any flags", seg("A", 2), true),
            ("flags, not all", seg("A", 3), false),
            ("flags, all", seg("FA", 3), true),
        ],
    );
}

#[test]
fn icmp_types_and_tos_select() {
    pass_table(
        "block\npass inet proto icmp icmp-type echoreq\npass inet proto icmp icmp-type { unreach code 4, timereq }
         pass inet6 proto icmp6 icmp6-type echoreq\npass proto udp tos 0x10",
        &[
            ("echo", echo(A, B, 1, 1), true),
            ("IPv6 echo", echo(A6, B6, 1, 1), true),
            ("timestamp", icmp_message(A, B, 13, 0, [0, 1, 0, 1], &[0; 12]), true),
            ("address mask", icmp_message(A, B, 17, 0, [0, 1, 0, 1], &[0; 4]), false),
            ("TOS", udp("192.0.2.2:1", "198.51.100.2:1").tos(0x10), true),
            ("TOS, with congestion bits", udp("192.0.2.2:2", "198.51.100.2:1").tos(0x13), true),
            ("another TOS", udp("192.0.2.2:3", "198.51.100.2:1").tos(0x20), false),
            ("traffic class", udp(&at(A6, 1), &at(B6, 1)).tos(0x10), true),
        ],
    );
}

#[test]
fn interfaces_groups_and_where_a_packet_came_from_select() {
    let to_b = |port| udp("192.0.2.2:1", &at(B, port));
    pass_table(
        "block
         pass in on inside proto udp to port 1
         pass in on ! outside proto udp to port 2
         pass in on sim1 proto udp to port 3
         pass in proto udp to port { 4, 5, 6 }
         pass out on sim1 proto udp to port { 1, 2, 3, 4 } received-on inside
         pass out on sim1 proto udp to port 5 received-on sim1
         pass out on outside proto udp to port 6 ! received-on outside",
        &[
            ("group", to_b(1), true),
            ("not another group", to_b(2), true),
            ("another interface", to_b(3), false),
            ("received on a group", to_b(4), true),
            ("received elsewhere", to_b(5), false),
            ("not received there", to_b(6), true),
        ],
    );
}

#[test]
fn a_tag_of_the_way_in_is_seen_on_the_way_out_and_by_later_packets() {
    let policy = "block\npass in proto udp to port 1 tag web\npass in proto udp to port 2\npass out tagged web";
    both(policy, &usual(), |rig, f| {
        let tagged = udp(&at(f.a, 1000), &at(f.b, 1));
        let walk = "r0.evals 2 r1.evals 2 r2.evals 2 r3.evals 2";
        rig.exchange(
            "sim0",
            &tagged,
            &[("sim1", tagged.hop())],
            &f.counted(&format!(
                "received passed searches 2 sim0.in#.pass sim1.out#.pass {walk} r1.in r1.made r3.out r3.made"
            )),
        );
        let untagged = udp(&at(f.a, 1000), &at(f.b, 2));
        rig.exchange(
            "sim0",
            &untagged,
            &[],
            &f.counted(&format!(
                "received drop:match searches 2 sim0.in#.pass sim1.out#.block {walk} r2.in r2.made r0.out"
            )),
        );
        assert_eq!(rig.states().iter().filter(|st| st.tag.0 != 0).count(), 2);
    });
}

#[test]
fn urpf_failed_and_no_route_ask_the_routes() {
    let topology = usual().route("203.0.113.128/25", "reject");
    let policy = "block in quick from urpf-failed\nblock in quick to no-route\npass";
    everywhere(policy, &topology, |rig| {
        let good = udp("192.0.2.2:1", "198.51.100.2:1");
        rig.exchange(
            "sim0",
            &good,
            &[("sim1", good.hop())],
            "received passed searches 2 sim0.in4.pass sim1.out4.pass
             r0.evals 2 r1.evals 2 r2.evals 2 r2.in r2.out r2.made 2",
        );
        // Its route points at the other interface.
        let spoofed = udp("203.0.113.9:1", "198.51.100.2:1");
        let frame = spoofed.frame(rig.station("sim0", A.parse().unwrap()), rig.mac("sim0"));
        rig.send_frame("sim0", &frame);
        rig.counted("received drop:match searches sim0.in4.block r0.evals r0.in");
    });
}

#[test]
fn probability_of_nothing_and_all_is_certain() {
    pass_table(
        "block\npass proto udp to port 1 probability 100%\npass proto udp to port 2",
        &[
            ("always", udp("192.0.2.2:1", "198.51.100.2:1"), true),
            ("no probability", udp("192.0.2.2:1", "198.51.100.2:2"), true),
        ],
    );
}

#[test]
fn log_changes_nothing_for_the_packet() {
    both("pass log (all)", &usual(), |rig, f| {
        let there = udp(&at(f.a, 1000), &at(f.b, 53));
        rig.exchange("sim0", &there, &[("sim1", there.hop())], &f.counted(FIRST));
        rig.exchange("sim0", &there, &[("sim1", there.hop())], &f.counted(THERE));
    });
}

#[test]
fn set_skip_takes_an_interface_out_of_the_filter_whole() {
    both(
        "set skip on sim0\nblock out on sim1 proto udp to port 9\npass in on sim1",
        &usual(),
        |rig, f| {
            // In on sim0: no rule, no state, no interface counter. Out on sim1: rules.
            let there = udp(&at(f.a, 1000), &at(f.b, 53));
            rig.exchange(
                "sim0",
                &there,
                &[("sim1", there.hop())],
                &f.counted(
                    "received passed searches 2 sim1.out#.pass r0.evals r1.evals default.out",
                ),
            );
            let blocked = udp(&at(f.a, 1000), &at(f.b, 9));
            rig.exchange(
                "sim0",
                &blocked,
                &[],
                &f.counted(
                    "received drop:match searches 2 sim1.out#.block r0.evals r1.evals r0.out",
                ),
            );
        },
    );
    // By group, as `set skip on lo` is written.
    everywhere("set skip on inside\nblock in", &usual(), |rig| {
        let there = udp("192.0.2.2:1", "198.51.100.2:1");
        rig.exchange(
            "sim0",
            &there,
            &[("sim1", there.hop())],
            "received passed searches 2 sim1.out4.pass r0.evals default.out",
        );
    });
}

#[test]
fn no_state_asks_the_rules_for_every_packet() {
    both("pass no state", &usual(), |rig, f| {
        let there = udp(&at(f.a, 1000), &at(f.b, 53));
        for _ in 0..2 {
            rig.exchange(
                "sim0",
                &there,
                &[("sim1", there.hop())],
                &f.counted("received passed searches 2 sim0.in#.pass sim1.out#.pass r0.evals 2 r0.in r0.out"),
            );
        }
        assert!(rig.states().is_empty());
    });
}

#[test]
fn icmp_passes_one_family_only() {
    // FreeBSD pass_block: "block in" stops echo, "pass in proto icmp" lets it through, and must not admit ICMPv6.
    for (policy, four, six) in [
        ("block in", false, false),
        ("block in\npass in proto icmp", true, false),
        ("block in\npass in inet6 proto icmp6", false, true),
    ] {
        pass_table(
            policy,
            &[
                ("IPv4", echo(A, B, 1, 1), four),
                ("IPv6", echo(A6, B6, 1, 1), six),
            ],
        );
    }
}

#[test]
fn every_family_has_its_own_interface_counters() {
    everywhere("pass", &usual(), |rig| {
        for f in [INET, INET6] {
            let f: Family = f;
            let there = echo(f.a, f.b, 7, 1);
            rig.exchange("sim0", &there, &[("sim1", there.hop())], &f.counted(FIRST));
            let back = there.answer();
            rig.exchange("sim1", &back, &[("sim0", back.hop())], &f.counted(BACK));
        }
    });
}
