//! What rules say of packets beside letting them through: `set delay`, `max-pkt-size`, and that errors get what the
//! packets get that they are about.

use packets::packet::{Error, error};
use packets::{Packet, Rig, Topology, echo, everywhere, udp};

use crate::{A, B, Family, at, both};

fn usual() -> Topology {
    Topology::usual()
}

fn question(f: Family, n: u16) -> Packet {
    udp(&at(f.a, 1000 + n), &at(f.b, 53))
}

#[test]
fn set_delay_holds_packets_where_they_leave() {
    both("pass in\npass out set delay 300", &usual(), |rig, f| {
        let there = question(f, 0);
        rig.send("sim0", &there);
        rig.expect_nothing_more();
        rig.counted(&f.counted(
            "received waiting searches 2 sim0.in#.pass sim1.out#.pass r0.evals 2 r1.evals 2 r0.in r0.made r1.out r1.made",
        ));
        rig.advance(200);
        rig.expect_nothing_more();
        rig.advance(100);
        rig.expect("sim1", &there.hop());
        // The answer passes the same two states. It leaves by the interface whose state says nothing.
        rig.send("sim1", &there.answer());
        rig.expect("sim0", &there.answer().hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn the_last_interface_decides_about_the_delay_and_skipped_ones_leave_it() {
    both("pass in set delay 300\npass out", &usual(), |rig, f| {
        rig.send("sim0", &question(f, 0));
        rig.expect("sim1", &question(f, 0).hop());
    });
    both(
        "set skip on sim1\npass in set delay 300",
        &usual(),
        |rig, f| {
            rig.send("sim0", &question(f, 0));
            rig.expect_nothing_more();
            rig.advance(300);
            rig.expect("sim1", &question(f, 0).hop());
        },
    );
}

#[test]
fn delayed_packets_leave_in_the_order_of_their_time() {
    let policy = "pass in\npass out proto udp to port 53 set delay 300\n\
                  pass out proto udp to port 54 set delay 100\npass out proto udp to port 55";
    everywhere(policy, &usual(), |rig| {
        let to = |port| udp(&at(A, 1000), &at(B, port));
        for port in [53, 54, 55] {
            rig.send("sim0", &to(port));
        }
        rig.expect("sim1", &to(55).hop());
        rig.expect_nothing_more();
        rig.advance(100);
        rig.expect("sim1", &to(54).hop());
        rig.advance(200);
        rig.expect("sim1", &to(53).hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn more_delayed_packets_than_the_limit_are_dropped_and_counted() {
    let policy = "set limit pktdelay-pkts 3\npass in\npass out set delay 300";
    everywhere(policy, &usual(), |rig| {
        let to = |n: u16| udp(&at(A, 1000 + n), &at(B, 53));
        for n in 0..3 {
            rig.send("sim0", &to(n));
        }
        rig.mark();
        rig.send("sim0", &to(3));
        let changes = rig.changes();
        assert_eq!(changes.get("drop:memory"), Some(&1), "{changes:?}");
        assert_eq!(changes.get("waiting"), None, "{changes:?}");
        rig.advance(300);
        assert_eq!(std::iter::from_fn(|| rig.take("sim1")).count(), 3);
        // There is room again.
        rig.send("sim0", &to(4));
        rig.advance(300);
        rig.expect("sim1", &to(4).hop());
        rig.expect_nothing_more();
        assert_eq!(rig.shared().delayed.get(), 0);
    });
}

#[test]
fn pieces_and_what_waits_for_a_neighbor_are_delayed_as_well() {
    let policy = "pass in\npass out set delay 300";
    both(policy, &usual(), |rig, f| {
        let large = question(f, 0).data(3000);
        for piece in large.pieces(1400) {
            rig.send("sim0", &piece);
        }
        rig.expect_nothing_more();
        rig.advance(300);
        let sent = std::iter::from_fn(|| rig.take("sim1")).count();
        assert_eq!(sent, 3);
    });
    let mut rig = Rig::cold(policy, &usual(), packets::Spread::ONE);
    rig.send("sim0", &udp(&at(A, 1), &at(B, 53)));
    // The neighbor is asked for at once, and answers.
    rig.advance(200);
    rig.expect_nothing_more();
    rig.advance(300);
    rig.expect("sim1", &udp(&at(A, 1), &at(B, 53)).hop());
    rig.ignore_rest();
}

#[test]
fn max_pkt_size_counts_the_ip_header_and_holds_for_whole_connections() {
    for (policy, of_answers) in [
        ("pass max-pkt-size 128", true),
        ("match in on sim0 max-pkt-size 128\npass", true),
        (
            "pass in on sim0 max-pkt-size 128 no state\npass out\npass in on sim1",
            false,
        ),
    ] {
        everywhere(policy, &usual(), |rig| {
            let sized = |len| echo(A, B, 7, 1).data(len);
            let fits = sized(100);
            assert_eq!(fits.len(), 128);
            rig.send("sim0", &fits);
            rig.expect("sim1", &fits.hop());
            rig.mark();
            rig.send("sim0", &sized(101));
            rig.expect_nothing_more();
            assert_eq!(rig.changes().get("drop:normalize"), Some(&1), "{policy}");
            // Of what leaves by sim0 the state says the same.
            rig.send("sim1", &sized(101).answer());
            match of_answers {
                true => rig.expect_nothing_more(),
                false => rig.expect("sim0", &sized(101).answer().hop()),
            }
        });
    }
}

#[test]
fn max_pkt_size_looks_at_whole_datagrams() {
    both("pass max-pkt-size 2000", &usual(), |rig, f| {
        for piece in question(f, 0).data(1900).pieces(1400) {
            rig.send("sim0", &piece);
        }
        assert_eq!(std::iter::from_fn(|| rig.take("sim1")).count(), 2);
        rig.mark();
        for piece in question(f, 1).data(2100).pieces(1400) {
            rig.send("sim0", &piece);
        }
        rig.expect_nothing_more();
        assert_eq!(rig.changes().get("drop:normalize"), Some(&1));
    });
}

#[test]
fn errors_get_what_the_packets_get_that_they_are_about() {
    let policy = "pass in on sim0 set tos ef tag Q\npass out on sim1 set tos cs1\n\
                  block in on sim1\nblock out on sim0";
    both(policy, &usual(), |rig, f| {
        let there = question(f, 0);
        rig.send("sim0", &there);
        rig.expect("sim1", &there.hop().tos(0x20));
        let unreachable = error(f.b, &there.hop().tos(0x20), Error::Unreachable(3, 4));
        rig.send("sim1", &unreachable);
        // Both states want a mark of their own; the last is that of the inside.
        rig.expect("sim0", &unreachable.hop().tos(0xb8));
        rig.expect_nothing_more();
    });
}

#[test]
fn errors_with_options_need_allow_opts_of_the_state_they_belong_to() {
    for (allow, passes) in [("", false), ("allow-opts", true)] {
        let policy = format!("pass in {allow}\npass out {allow}");
        everywhere(&policy, &usual(), |rig| {
            let there = udp(&at(A, 1000), &at(B, 53));
            rig.send("sim0", &there);
            rig.expect("sim1", &there.hop());
            let unreachable = error(B, &there.hop(), Error::Unreachable(3, 4));
            // Record route, empty, and no more.
            let unreachable = unreachable.options(&[7, 3, 4, 0]);
            rig.mark();
            rig.send("sim1", &unreachable);
            match passes {
                true => rig.expect("sim0", &unreachable.hop()),
                false => {
                    rig.expect_nothing_more();
                    assert_eq!(rig.changes().get("drop:ip-option"), Some(&1));
                }
            }
        });
    }
}
