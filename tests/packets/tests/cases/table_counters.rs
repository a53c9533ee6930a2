//! What tables count, over all workers: look-ups, packets of rules that name them, and packets of each prefix of a table
//! with `counters`; what pools make of tables that are edited while they are in use.

use packets::{Rig, Topology, echo, echo_reply, everywhere, tcp, udp};

use crate::{A, B, Family, at, both};

/// A connection from the inside, with data and an orderly end: four packets there, three back, 100 bytes of data.
fn connection(rig: &mut Rig, f: Family, port: u16) {
    let (a, b) = (at(f.a, port), at(f.b, 80));
    let there = |flags: &str| tcp(&a, &b, flags);
    let back = |flags: &str| tcp(&b, &a, flags);
    for (from, to, packet) in [
        ("sim0", "sim1", there("S").seq(1000)),
        ("sim1", "sim0", back("SA").seq(5000).ack(1001)),
        ("sim0", "sim1", there("A").seq(1001).ack(5001)),
        ("sim0", "sim1", there("PA").seq(1001).ack(5001).data(100)),
        ("sim1", "sim0", back("FA").seq(5001).ack(1101)),
        ("sim0", "sim1", there("FA").seq(1101).ack(5002)),
        ("sim1", "sim0", back("A").seq(5002).ack(1102)),
    ] {
        rig.send(from, &packet);
        rig.expect(to, &packet.hop());
    }
}

/// Bytes of `packets` TCP packets of a family without options, and so many bytes of data.
fn bytes(f: Family, packets: usize, data: usize) -> usize {
    let header = tcp(&at(f.a, 1), &at(f.b, 1), "A").len();
    packets * header + data
}

/// freebsd: counters match_pass_state
#[test]
fn a_whole_connection_counts_on_rules_tables_states_and_sources() {
    let policy = "table <near> counters { 192.0.2.0/24 2001:db8:1::/48 }
                  table <plain> { 192.0.2.0/24 2001:db8:1::/48 }
                  block
                  match in on sim0 from <near>
                  pass in on sim0 proto tcp from <plain> keep state (source-track rule)
                  pass out on sim1 proto tcp from any to ! <plain>";
    both(policy, &Topology::usual(), |rig, f| {
        connection(rig, f, 1000);
        let (to, from) = (bytes(f, 4, 100), bytes(f, 3, 0));
        rig.counted(&format!(
            "received 7 passed 7 searches 8 r0.evals 2 r1.evals 2 r1.in 4 r1.out 3 r2.evals 2 r2.in 4 r2.out 3
             r2.made r3.evals 2 r3.out 4 r3.in 3 r3.made
             sim0.in{n}.pass 4 sim1.out{n}.pass 4 sim1.in{n}.pass 3 sim0.out{n}.pass 3",
            n = if f.a.contains(':') { 6 } else { 4 }
        ));
        assert_eq!(
            rig.table_counted("near"),
            format!("no 0 yes 1 in.match 4:{to} out.match 3:{from}")
        );
        // Of the rule for the way out, the destination is not in it: that is what the rule asks for.
        assert_eq!(
            rig.table_counted("plain"),
            format!(
                "no 1 yes 1 in.pass 7:{} out.pass 7:{}",
                to + from,
                to + from
            )
        );
        let net = if f.a.contains(':') {
            "2001:db8:1::/48"
        } else {
            "192.0.2.0/24"
        };
        assert_eq!(
            rig.prefix_counted("near", net),
            format!("in.match 4:{to} out.match 3:{from}")
        );
        assert_eq!(rig.prefix_counted("plain", net), "none", "no `counters`");
        let states = rig.states();
        let counted = |st: &state::State| (st.packets, st.bytes);
        let (to, from) = (to as u64, from as u64);
        assert!(states.iter().all(|st| counted(st) == ([4, 3], [to, from])));
        let node = rig.shared().sources.list();
        assert_eq!(node.len(), 1);
        assert_eq!((node[0].packets, node[0].bytes), ([4, 3], [to, from]));
    });
}

/// freebsd: table v4_counters, v6_counters
#[test]
fn each_prefix_of_a_table_with_counters_counts_for_itself() {
    let policy = "table <t> counters { 192.0.2.2 !192.0.2.3 192.0.2.0/24
                                       2001:db8:1::2 !2001:db8:1::3 2001:db8:1::/48 }
                  block
                  pass in on sim0 from <t>
                  pass out on sim1 from any to ! <t> no state
                  pass in on sim1 to <t> no state";
    both(policy, &Topology::usual(), |rig, f| {
        let v6 = f.a.contains(':');
        let (stranger, neighbor, [host, not, net]) = if v6 {
            (
                "2001:db8:1::3",
                "2001:db8:1::4",
                ["2001:db8:1::2/128", "2001:db8:1::3/128", "2001:db8:1::/48"],
            )
        } else {
            (
                "192.0.2.3",
                "192.0.2.4",
                ["192.0.2.2/32", "192.0.2.3/32", "192.0.2.0/24"],
            )
        };
        let len = echo(f.a, f.b, 7, 0).len();
        for (from, times) in [(f.a, 3), (neighbor, 2)] {
            for n in 0..times {
                let ask = echo(from, f.b, 7, n);
                rig.send("sim0", &ask);
                rig.expect("sim1", &ask.hop());
                if from == neighbor {
                    continue;
                }
                let tell = echo_reply(f.b, from, 7, n);
                rig.send("sim1", &tell);
                rig.expect("sim0", &tell.hop());
            }
        }
        rig.send("sim0", &echo(stranger, f.b, 7, 0));
        rig.expect_nothing_more();
        rig.mark();
        // In on sim0 and out there by the state; answers in on sim1 by the rule that names the destination; out on sim1
        // by the rule whose destination is in no table.
        assert_eq!(
            rig.prefix_counted("t", host),
            format!("in.pass 6:{} out.pass 3:{}", 6 * len, 3 * len)
        );
        assert_eq!(
            rig.prefix_counted("t", net),
            format!("in.pass 2:{}", 2 * len)
        );
        assert_eq!(rig.prefix_counted("t", not), "none");
        assert_eq!(
            rig.table_counted("t"),
            // Look-ups: two states begun and the stranger; five to the outside; three answers.
            format!("no 6 yes 5 in.pass 8:{} out.pass 8:{}", 8 * len, 8 * len)
        );
    });
}

#[test]
fn blocked_packets_count_on_the_prefix_that_blocked_them() {
    let policy = "table <bad> counters { 192.0.2.0/24 }
                  pass no state
                  block in quick on sim0 from <bad>";
    everywhere(policy, &Topology::usual(), |rig| {
        let packet = udp(&at(A, 5), &at(B, 6)).data(50);
        (0..3).for_each(|_| rig.send("sim0", &packet));
        rig.expect_nothing_more();
        rig.mark();
        let counted = format!("in.block 3:{}", 3 * packet.len());
        assert_eq!(rig.prefix_counted("bad", "192.0.2.0/24"), counted);
        assert_eq!(rig.table_counted("bad"), format!("no 0 yes 3 {counted}"));
    });
}

/// pfctl(8): XPass are packets of states whose address is in the table no more.
#[test]
fn packets_of_an_address_that_has_left_the_table_count_apart() {
    let policy = "table <t> counters { 192.0.2.2 }\nblock\npass in on sim0 from <t>\npass out on sim1 no state";
    everywhere(policy, &Topology::usual(), |rig| {
        let packet = udp(&at(A, 5), &at(B, 6));
        let len = packet.len();
        let pass = |rig: &mut Rig| {
            rig.send("sim0", &packet);
            rig.expect("sim1", &packet.hop());
        };
        pass(rig);
        pass(rig);
        rig.edit_table("t", "192.0.2.2/32", false);
        pass(rig);
        assert_eq!(
            rig.table_counted("t"),
            format!("no 0 yes 1 in.pass 2:{} in.xpass 1:{len}", 2 * len)
        );
        rig.edit_table("t", "192.0.2.0/24", true);
        pass(rig);
        assert_eq!(
            rig.prefix_counted("t", "192.0.2.0/24"),
            format!("in.pass 1:{len}")
        );
        assert_eq!(
            rig.prefix_counted("t", "192.0.2.2/32"),
            format!("in.pass 2:{}", 2 * len)
        );
        rig.mark();
    });
}

/// A table without `counters` is not asked again for each packet (pf.conf(5), XPass of tables): what its rule let pass
/// stays Pass when the address has left it.
#[test]
fn a_table_without_counters_does_not_notice_that_an_address_has_left() {
    let policy =
        "table <t> { 192.0.2.2 }\nblock\npass in on sim0 from <t>\npass out on sim1 no state";
    everywhere(policy, &Topology::usual(), |rig| {
        let packet = udp(&at(A, 5), &at(B, 6));
        let pass = |rig: &mut Rig| {
            rig.send("sim0", &packet);
            rig.expect("sim1", &packet.hop());
        };
        pass(rig);
        rig.edit_table("t", "192.0.2.2/32", false);
        pass(rig);
        let bytes = 2 * packet.len();
        assert_eq!(
            rig.table_counted("t"),
            format!("no 0 yes 1 in.pass 2:{bytes}")
        );
        assert_eq!(rig.prefix_counted("t", "192.0.2.2/32"), "none");
        // Whoever comes now is asked about, and blocked.
        rig.send("sim0", &udp(&at(A, 7), &at(B, 6)));
        rig.expect_nothing_more();
        assert_eq!(
            rig.table_counted("t"),
            format!("no 1 yes 1 in.pass 2:{bytes}")
        );
        rig.mark();
    });
}

/// freebsd: table precreate
#[test]
fn a_table_made_without_counters_counts_once_it_is_loaded_with_them() {
    let policy = |flags: &str| {
        format!(
            "table <t> persist{flags}\nblock\npass in on sim0 from <t> no state\npass out on sim1 no state"
        )
    };
    everywhere(&policy(""), &Topology::usual(), |rig| {
        let packet = udp(&at(A, 5), &at(B, 6));
        rig.edit_table("t", "192.0.2.2/32", true);
        let pass = |rig: &mut Rig| {
            rig.send("sim0", &packet);
            rig.expect("sim1", &packet.hop());
            rig.prefix_counted("t", "192.0.2.2/32")
        };
        assert_eq!(pass(rig), "none");
        rig.reload(&policy(" counters"));
        assert_eq!(pass(rig), format!("in.pass 1:{}", packet.len()));
        rig.mark();
    });
}
