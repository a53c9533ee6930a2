//! `rtable`, `on rdomain`, `from route "label"`: several routing tables, and routing domains with addresses of their
//! own.

use packets::packet::{Error, error};
use packets::{Topology, echo, everywhere, tcp, udp};

use crate::nat_to::given;
use crate::{A, at};

/// Beyond every uplink.
const FAR: &str = "100.64.0.9";
const GW1: &str = "198.51.100.254";
const GW2: &str = "203.0.113.254";

/// One domain, the default route by `sim1`, that of table 1 by `sim2`.
fn two_tables() -> Topology {
    Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&[A])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[GW1])
        .behind(&["0.0.0.0/0"])
        .interface("sim2", &["203.0.113.1/24"])
        .host(&[GW2])
        .behind(&["0.0.0.0/0"])
        .route("0.0.0.0/0", GW1)
        .route_in(1, "0.0.0.0/0", GW2)
}

/// Two customers with the same addresses: `sim0` and `sim1` are in domain 0, `sim2` and `sim3` in domain 4.
fn two_domains() -> Topology {
    Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&[A])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[GW1])
        .behind(&["0.0.0.0/0"])
        .route("0.0.0.0/0", GW1)
        .interface("sim2", &["192.0.2.1/24"])
        .rdomain(4)
        .host(&[A])
        .interface("sim3", &["198.51.100.1/24"])
        .rdomain(4)
        .host(&[GW1])
        .behind(&["0.0.0.0/0"])
        .route_in(4, "0.0.0.0/0", GW1)
}

#[test]
fn a_rule_sends_a_connection_by_another_table() {
    for rule in [
        "pass in on sim0 proto udp to port 53 rtable 1",
        "match in on sim0 proto udp to port 53 rtable 1",
        "pass in on sim0 proto udp to port 53 no state rtable 1",
        "match in on sim0 proto udp to port 53 rtable 1\npass in on sim0 no state",
    ] {
        let policy = format!("pass\n{rule}");
        everywhere(&policy, &two_tables(), |rig| {
            for _ in 0..2 {
                let chosen = udp(&at(A, 1), &at(FAR, 53));
                rig.send("sim0", &chosen);
                rig.expect("sim2", &chosen.hop());
                let other = udp(&at(A, 1), &at(FAR, 54));
                rig.send("sim0", &other);
                rig.expect("sim1", &other.hop());
                rig.expect_nothing_more();
            }
        });
    }
}

#[test]
fn answers_come_back_by_the_table_of_the_interface() {
    everywhere("pass\npass in on sim0 rtable 1", &two_tables(), |rig| {
        let syn = tcp(&at(A, 40000), &at(FAR, 80), "S");
        rig.exchange(
            "sim0",
            &syn,
            &[("sim2", syn.hop())],
            "received passed searches 2 sim0.in4.pass sim2.out4.pass
             r0.evals 2 r1.evals 2 r1.in r1.made r0.out r0.made",
        );
        let back = syn.answer();
        rig.exchange(
            "sim2",
            &back,
            &[("sim0", back.hop())],
            "received passed searches sim2.in4.pass sim0.out4.pass r0.in r1.out",
        );
    });
}

#[test]
fn a_table_has_only_the_routes_that_were_added_to_it() {
    let policy = "pass\npass in on sim0 rtable 1";
    let topology = two_tables().host(&["203.0.113.7"]);
    everywhere(policy, &topology, |rig| {
        // The network of sim1 is connected, but not in this table.
        let packet = udp(&at(A, 1), &at(GW1, 2));
        rig.send("sim0", &packet);
        rig.expect_via("sim2", GW2.parse().unwrap(), &packet.hop());
        // The box's own addresses are those of the domain, whatever table.
        let own = udp(&at(A, 1), "198.51.100.1:2");
        rig.send("sim0", &own);
        rig.expect_host(&own);
        rig.expect_nothing_more();
    });
}

#[test]
fn on_the_way_out_another_table_of_the_domain_comes_too_late() {
    everywhere("pass\nmatch out on sim1 rtable 1", &two_tables(), |rig| {
        let packet = udp(&at(A, 1), &at(FAR, 2));
        rig.send("sim0", &packet);
        rig.expect("sim1", &packet.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn where_a_table_has_no_route_the_sender_is_told() {
    let topology = two_tables().route_in(2, "10.0.0.0/8", GW2);
    everywhere("pass\npass in on sim0 rtable 2", &topology, |rig| {
        let packet = udp(&at(A, 1), &at(FAR, 2));
        rig.send("sim0", &packet);
        let told = error("192.0.2.1", &packet, Error::Unreachable(1, 0)).as_box_error(&packet);
        rig.expect("sim0", &told);
        rig.expect_nothing_more();
    });
}

#[test]
fn routes_are_asked_for_in_the_table_that_rules_have_chosen() {
    let topology = two_tables().route_in(2, "10.0.0.0/8", GW2);
    // No route to the sender in table 2; in table 0 there is one.
    for (rules, passes) in [
        ("block in from no-route", true),
        ("match in rtable 2\nblock in from no-route", false),
        ("match in rtable 1\nblock in from no-route", true),
        ("match in rtable 1\nblock in from urpf-failed", false),
        ("block in from urpf-failed", true),
    ] {
        let policy = format!("pass\n{rules}");
        everywhere(&policy, &topology, |rig| {
            let packet = udp(&at(A, 1), "192.0.2.1:2");
            rig.send("sim0", &packet);
            if passes {
                rig.expect_host(&packet);
            }
            rig.expect_nothing_more();
        });
    }
}

#[test]
fn route_to_asks_the_table_of_the_packet_for_the_way_to_the_next_hop() {
    // Table 1 knows a way to 10.0.0.9, table 0 another.
    let topology = two_tables()
        .route("10.0.0.9/32", GW1)
        .route_in(1, "10.0.0.9/32", GW2);
    let policy = "pass\npass in on sim0 proto udp to port 53 route-to 10.0.0.9 rtable 1
                  pass in on sim0 proto udp to port 54 route-to 10.0.0.9";
    everywhere(policy, &topology, |rig| {
        // On the link of the interface that was found the next hop itself is asked for, and nobody answers.
        for (port, out) in [(53, "sim2"), (54, "sim1")] {
            rig.send("sim0", &udp(&at(A, 1), &at(FAR, port)));
            let frame = rig.take(out).expect("a question for the next hop");
            assert_eq!(&frame[38..42], &[10, 0, 0, 9], "port {port}");
            rig.expect_nothing_more();
        }
    });
}

#[test]
fn labels_of_routes_are_matched() {
    let topology = two_tables()
        .labeled("10.1.0.0/16", GW2, "partners")
        .labeled("10.2.0.0/16", GW2, "others");
    for (rule, to, passes) in [
        ("pass to route \"partners\"", "10.1.2.3", true),
        ("pass to route \"partners\"", "10.2.2.3", false),
        ("pass to route \"partners\"", FAR, false),
        ("pass to ! route \"partners\"", FAR, true),
        (
            "pass to { route \"partners\", route \"others\" }",
            "10.2.2.3",
            true,
        ),
        ("pass to route \"nobody\"", FAR, false),
        // The label is that of the table in which is looked.
        (
            "match in rtable 1\npass to route \"partners\"",
            "10.1.2.3",
            false,
        ),
    ] {
        let policy = format!("block\npass out\n{rule}");
        everywhere(&policy, &topology, |rig| {
            let packet = udp(&at(A, 1), &at(to, 2));
            rig.send("sim0", &packet);
            if passes {
                let out = if to == FAR { "sim1" } else { "sim2" };
                rig.expect(out, &packet.hop());
            }
            rig.expect_nothing_more();
        });
    }
    let policy = "block\npass out\npass in from route \"partners\"";
    everywhere(policy, &topology, |rig| {
        let packet = udp("10.1.2.3:1", &at(A, 2));
        rig.send("sim2", &packet);
        rig.expect("sim0", &packet.hop());
        rig.send("sim1", &udp("10.3.2.3:1", &at(A, 2)));
        rig.expect_nothing_more();
    });
}

#[test]
fn customers_with_the_same_addresses_do_not_see_each_other() {
    everywhere("pass", &two_domains(), |rig| {
        let syn = tcp(&at(A, 40000), &at(FAR, 80), "S");
        for (inside, outside) in [("sim0", "sim1"), ("sim2", "sim3")] {
            rig.send(inside, &syn);
            rig.expect(outside, &syn.hop());
            rig.expect_nothing_more();
        }
        assert_eq!(rig.states().len(), 4);
        let back = syn.answer();
        for (inside, outside) in [("sim0", "sim1"), ("sim2", "sim3")] {
            rig.send(outside, &back);
            rig.expect(inside, &back.hop());
            rig.expect_nothing_more();
        }
    });
}

#[test]
fn a_state_lets_nothing_through_in_another_domain() {
    let policy = "block\npass out\npass in on sim0 proto udp\nblock out on sim2";
    everywhere(policy, &two_domains(), |rig| {
        let question = udp(&at(A, 1), &at(FAR, 53));
        rig.send("sim0", &question);
        rig.expect("sim1", &question.hop());
        rig.send("sim3", &question.answer());
        rig.expect_nothing_more();
        rig.send("sim1", &question.answer());
        rig.expect("sim0", &question.answer().hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn rules_are_for_the_interfaces_of_a_domain() {
    for (rule, zero, four) in [
        ("pass in on rdomain 4", false, true),
        ("pass in on rdomain 0", true, false),
        ("pass in on ! rdomain 4", true, false),
    ] {
        let policy = format!("block in\npass out\n{rule}");
        everywhere(&policy, &two_domains(), |rig| {
            let packet = echo(A, FAR, 7, 1);
            for (inside, outside, passes) in [("sim0", "sim1", zero), ("sim2", "sim3", four)] {
                rig.send(inside, &packet);
                if passes {
                    rig.expect(outside, &packet.hop());
                }
                rig.expect_nothing_more();
            }
        });
    }
}

#[test]
fn the_box_is_itself_in_every_domain() {
    let topology = two_domains()
        .interface("sim4", &["203.0.113.1/24"])
        .host(&[GW2]);
    everywhere("pass", &topology, |rig| {
        let question = udp(&at(A, 1), "198.51.100.1:53");
        rig.send("sim2", &question);
        rig.expect_host(&question);
        let answer = question.answer();
        rig.host_sends_in(4, &answer);
        rig.expect("sim2", &answer);
        // What is ours in domain 0 is somewhere else for domain 4.
        let other = udp(&at(A, 1), "203.0.113.1:53");
        rig.send("sim2", &other);
        rig.expect("sim3", &other.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn errors_stay_in_the_domain() {
    everywhere("pass", &two_domains(), |rig| {
        let packet = udp(&at(A, 1), &at(FAR, 33434)).ttl(1);
        rig.send("sim2", &packet);
        let told = error("192.0.2.1", &packet, Error::TimeExceeded).as_box_error(&packet);
        rig.expect("sim2", &told);
        let second = udp(&at(A, 1), &at(FAR, 33434)).ttl(2);
        rig.send("sim2", &second);
        rig.expect("sim3", &second.hop());
        let told = error(GW1, &second.hop(), Error::TimeExceeded);
        rig.send("sim3", &told);
        rig.expect("sim2", &told.hop());
        // The same error in the other domain is about nothing.
        rig.send("sim1", &told);
        rig.expect("sim0", &told.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn pieces_of_datagrams_are_joined_within_a_domain() {
    everywhere("pass", &two_domains(), |rig| {
        let whole = udp(&at(A, 1), &at(FAR, 2)).data(1600);
        let pieces = whole.pieces(800);
        rig.send("sim0", &pieces[0]);
        rig.send("sim2", &pieces[1]);
        rig.expect_nothing_more();
        rig.send("sim2", &pieces[0]);
        for piece in &pieces[1..] {
            rig.send("sim0", piece);
        }
        for piece in &pieces[2..] {
            rig.send("sim2", piece);
        }
        for out in ["sim1", "sim3"] {
            for _ in &pieces {
                assert!(rig.take(out).is_some(), "{out}");
            }
        }
        rig.expect_nothing_more();
    });
}

#[test]
fn a_rule_takes_a_connection_to_another_domain_and_translation_brings_it_back() {
    // Domain 4 has no way out but the box: what leaves by sim2 is moved to domain 0 and sent on, as rdomain(4) has it.
    let topology = Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .rdomain(4)
        .host(&[A])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[GW1])
        .behind(&["0.0.0.0/0"])
        .route("0.0.0.0/0", GW1)
        .interface("sim2", &["10.9.9.1/24"])
        .rdomain(4)
        .host(&["10.9.9.2"])
        .route_in(4, "0.0.0.0/0", "10.9.9.2");
    let policy = "pass\nmatch out on sim2 inet from 192.0.2.0/24 nat-to 198.51.100.1 rtable 0";
    everywhere(policy, &topology, |rig| {
        let inside = at(A, 40000);
        let syn = tcp(&inside, &at(FAR, 80), "S");
        rig.send("sim0", &syn);
        let outside = given(rig, &inside);
        assert!(outside.starts_with("198.51.100.1:"), "{outside}");
        rig.expect("sim1", &syn.hop().sent_from(&outside));
        rig.expect_nothing_more();
        let back = syn.answer().with_flags("SA").seq(5000).ack(1001);
        rig.send("sim1", &back.clone().sent_to(&outside));
        rig.expect("sim0", &back.hop());
        let ack = syn.clone().with_flags("A").seq(1001).ack(5001);
        rig.send("sim0", &ack);
        rig.expect("sim1", &ack.hop().sent_from(&outside));
        // A router beyond speaks of it.
        let told = error(GW1, &ack.hop().sent_from(&outside), Error::TimeExceeded);
        rig.send("sim1", &told);
        rig.expect("sim0", &error(GW1, &ack.hop(), Error::TimeExceeded).hop());
        rig.expect_nothing_more();
    });
}
