//! `route-to`, `reply-to`, `dup-to`: two uplinks, the default route by the first, rules that use the second.

use packets::packet::{Error, error};
use packets::{Rig, Topology, echo, everywhere, tcp, udp};

use crate::{A, A6, FAR, FAR6, at};

/// Next hops on the second uplink.
const GW2: &str = "203.0.113.254";
const GW2_6: &str = "2001:db8:3::fe";

/// The usual one, with a second uplink `sim2` and its router, behind which everything lies as well.
fn uplinks() -> Topology {
    Topology::usual()
        .interface("sim2", &["203.0.113.1/24", "2001:db8:3::1/64"])
        .group("outside")
        .host(&[GW2, GW2_6])
        .behind(&["0.0.0.0/0", "::/0"])
        .host(&["203.0.113.253", "2001:db8:3::fd"])
        .behind(&["0.0.0.0/0", "::/0"])
}

/// Hosts beyond both uplinks that are on neither's network.
const BEYOND: &str = "100.64.0.9";

fn via(rig: &mut Rig, port: &str, next_hop: &str, packet: &packets::Packet) {
    let next_hop = next_hop.parse().expect("an address");
    rig.expect_via(port, next_hop, packet);
}

#[test]
fn route_to_sends_a_connection_by_another_uplink_than_the_routing_table() {
    for (policy, a, far, gw, digit) in [
        ("inet proto tcp from any to any", A, BEYOND, GW2, "4"),
        ("inet6 proto tcp from any to any", A6, FAR6, GW2_6, "6"),
    ] {
        let policy = format!(
            "block\npass in on sim0 {policy} route-to {gw}\npass out on sim2\npass out on sim1"
        );
        everywhere(&policy, &uplinks(), |rig| {
            let syn = tcp(&at(a, 40000), &at(far, 80), "S");
            rig.send("sim0", &syn);
            via(rig, "sim2", gw, &syn.hop());
            rig.counted(
                &"received passed searches 2 sim0.in#.pass sim2.out#.pass
                  r0.evals 2 r1.evals 2 r1.in r1.made r2.evals 2 r2.out r2.made r3.evals 2"
                    .replace('#', digit),
            );
            let back = syn.answer();
            rig.send("sim2", &back);
            rig.expect("sim0", &back.hop());
            rig.counted(
                &"received passed searches 1 sim2.in#.pass sim0.out#.pass r1.out r2.in"
                    .replace('#', digit),
            );
        });
    }
}

#[test]
fn reply_to_answers_by_the_uplink_that_the_question_came_by() {
    let policy = format!("pass\npass in on sim2 inet reply-to {GW2}");
    everywhere(&policy, &uplinks(), |rig| {
        let question = udp(&at(BEYOND, 5353), &at(A, 53));
        rig.send("sim2", &question);
        rig.expect("sim0", &question.hop());
        rig.mark();
        let answer = question.answer();
        rig.send("sim0", &answer);
        via(rig, "sim2", GW2, &answer.hop());
        rig.expect_nothing_more();
        // Another question by the first uplink is answered there.
        let question = udp(&at(BEYOND, 5354), &at(A, 53));
        rig.send("sim1", &question);
        rig.expect("sim0", &question.hop());
        let answer = question.answer();
        rig.send("sim0", &answer);
        via(rig, "sim1", "198.51.100.254", &answer.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn reply_to_holds_for_the_boxs_own_answers() {
    let policy = format!("pass\npass in on sim2 inet reply-to {GW2}");
    let mut rig = Rig::new(&policy, &uplinks());
    let question = udp(&at(BEYOND, 5353), "203.0.113.1:53");
    rig.send("sim2", &question);
    rig.expect_host(&question);
    let answer = question.answer();
    rig.host_sends(&answer);
    via(&mut rig, "sim2", GW2, &answer);
    rig.expect_nothing_more();
    rig.finish();
}

#[test]
fn route_to_on_the_way_out_moves_a_connection_to_the_other_uplink() {
    let policy = format!("pass\npass out on sim1 inet proto udp to port 53 route-to {GW2}");
    everywhere(&policy, &uplinks(), |rig| {
        let question = udp(&at(A, 5353), &at(BEYOND, 53));
        for _ in 0..2 {
            rig.send("sim0", &question);
            via(rig, "sim2", GW2, &question.hop());
            rig.expect_nothing_more();
        }
        let answer = question.answer();
        rig.send("sim2", &answer);
        rig.expect("sim0", &answer.hop());
        let other = udp(&at(A, 5353), &at(BEYOND, 54));
        rig.send("sim0", &other);
        rig.expect("sim1", &other.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn what_is_sent_out_by_another_interface_must_pass_its_rules() {
    let policy = format!(
        "pass\npass in on sim0 inet route-to {GW2}\nblock out on sim2 proto udp to port 53"
    );
    everywhere(&policy, &uplinks(), |rig| {
        rig.send("sim0", &udp(&at(A, 5353), &at(BEYOND, 53)));
        rig.expect_nothing_more();
        let allowed = udp(&at(A, 5353), &at(BEYOND, 54));
        rig.send("sim0", &allowed);
        via(rig, "sim2", GW2, &allowed.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn dup_to_sends_a_copy_and_the_packet_goes_its_way() {
    let policy = format!("pass\npass in on sim0 inet dup-to {GW2}");
    everywhere(&policy, &uplinks(), |rig| {
        let packet = udp(&at(A, 1), &at(BEYOND, 2)).data(100);
        rig.send("sim0", &packet);
        rig.expect("sim1", &packet.hop());
        via(rig, "sim2", GW2, &packet.hop());
        rig.counted(
            "received generated passed 2 searches 2 sim0.in4.pass sim1.out4.pass
             r0.evals 2 r1.evals 2 r1.in r1.made r0.out r0.made",
        );
        // Answers are not copied.
        let answer = packet.answer();
        rig.send("sim1", &answer);
        rig.expect("sim0", &answer.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn several_next_hops_take_turns_connection_by_connection() {
    let policy =
        format!("pass\npass in on sim0 inet route-to {{ {GW2} 203.0.113.253 }} round-robin");
    let mut rig = Rig::new(&policy, &uplinks());
    let mut seen = Vec::new();
    for port in 1..=6 {
        let packet = udp(&at(A, port), &at(BEYOND, 2));
        for _ in 0..2 {
            rig.send("sim0", &packet);
            let frame = rig.take("sim2").expect("sent by the second uplink");
            seen.push(frame[..6].to_vec());
        }
        rig.expect_nothing_more();
    }
    for pair in seen.chunks(2) {
        assert_eq!(pair[0], pair[1], "one connection, one next hop");
    }
    assert_ne!(seen[0], seen[2], "the next connection takes the next one");
    assert_eq!(seen[0], seen[4]);
    rig.finish();
}

#[test]
fn the_old_form_names_the_interface_with_the_next_hop() {
    let policy =
        format!("pass\npass in on sim0 route-to (sim2 {GW2}) inet proto udp all keep state");
    everywhere(&policy, &uplinks(), |rig| {
        let packet = udp(&at(A, 1), &at(BEYOND, 2));
        rig.send("sim0", &packet);
        via(rig, "sim2", GW2, &packet.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn route_to_takes_what_is_addressed_to_the_box_itself() {
    let policy = format!("pass\npass in on sim0 inet proto udp route-to {GW2}");
    everywhere(&policy, &uplinks(), |rig| {
        let packet = udp(&at(A, 1), "192.0.2.1:53");
        rig.send("sim0", &packet);
        via(rig, "sim2", GW2, &packet.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn a_next_hop_without_a_route_is_told_to_the_sender() {
    let topology = Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&[A])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&["198.51.100.2"]);
    everywhere(
        "pass\npass in on sim0 inet route-to 10.9.9.9",
        &topology,
        |rig| {
            let packet = udp(&at(A, 1), "198.51.100.2:2");
            rig.send("sim0", &packet);
            let told = error("192.0.2.1", &packet, Error::Unreachable(1, 0)).as_box_error(&packet);
            rig.expect("sim0", &told);
            rig.expect_nothing_more();
        },
    );
}

#[test]
fn each_hop_of_a_traceroute_by_a_chosen_uplink_is_told() {
    let policy = format!("pass\npass in on sim0 inet route-to {GW2}");
    everywhere(&policy, &uplinks(), |rig| {
        for probe in [
            udp(&at(A, 40000), &at(BEYOND, 33434)),
            echo(A, BEYOND, 7, 1),
        ] {
            let first = probe.clone().ttl(1);
            rig.send("sim0", &first);
            let told = error("192.0.2.1", &first, Error::TimeExceeded).as_box_error(&first);
            rig.expect("sim0", &told);
            let second = probe.clone().ttl(2);
            rig.send("sim0", &second);
            via(rig, "sim2", GW2, &second.hop());
            let told = error(GW2, &second.hop(), Error::TimeExceeded);
            rig.send("sim2", &told);
            rig.expect("sim0", &told.hop());
            rig.expect_nothing_more();
        }
    });
}

#[test]
fn an_error_about_an_answer_takes_the_way_of_the_question() {
    // A connection that came by the second uplink; its server's host sends an error back.
    let policy = format!("pass\npass in on sim2 inet reply-to {GW2}");
    everywhere(&policy, &uplinks(), |rig| {
        let question = udp(&at(BEYOND, 5353), &at(A, 53));
        rig.send("sim2", &question);
        rig.expect("sim0", &question.hop());
        let refused = error(A, &question.hop(), Error::Unreachable(3, 4));
        rig.send("sim0", &refused);
        via(rig, "sim2", GW2, &refused.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn route_to_and_nat_of_the_other_uplink_go_together() {
    let policy = format!(
        "match out on sim2 inet from 192.0.2.0/24 nat-to (sim2)\npass\npass in on sim0 inet route-to {GW2}"
    );
    everywhere(&policy, &uplinks(), |rig| {
        let packet = echo(A, BEYOND, 7, 1);
        rig.send("sim0", &packet);
        let frame = rig.take("sim2").expect("sent by the second uplink");
        let source = &frame[14 + 12..14 + 16];
        assert_eq!(source, [203, 0, 113, 1]);
        rig.expect_nothing_more();
    });
}

#[test]
fn a_state_of_a_chosen_way_follows_a_moved_neighbor() {
    // What is cached is the way to the next hop, not the choice: FAR is on no link here.
    let policy = format!("pass\npass in on sim0 inet route-to {GW2}");
    let mut rig = Rig::new(&policy, &uplinks());
    let packet = udp(&at(A, 1), &at(FAR, 2));
    rig.send("sim0", &packet);
    via(&mut rig, "sim2", GW2, &packet.hop());
    rig.advance(5_000);
    rig.send("sim0", &packet);
    via(&mut rig, "sim2", GW2, &packet.hop());
    rig.expect_nothing_more();
    rig.finish();
}

#[test]
fn user_and_group_tell_the_boxs_own_traffic_from_what_it_forwards() {
    for (policy, own, forwarded) in [
        ("block\npass proto udp user 0", true, false),
        ("block\npass proto udp user = 0 group = 0", true, false),
        ("block\npass proto udp user unknown", false, true),
        ("block\npass proto udp user 1000", false, false),
        ("block\npass proto udp user != 1000", true, true),
    ] {
        let mut rig = Rig::new(policy, &Topology::usual());
        let through = udp(&at(A, 1), "198.51.100.2:2");
        rig.send("sim0", &through);
        if forwarded {
            rig.expect("sim1", &through.hop());
        }
        rig.expect_nothing_more();
        let question = udp(&at(A, 1), "192.0.2.1:53");
        rig.send("sim0", &question);
        if own {
            rig.expect_host(&question);
        }
        let ours = udp("192.0.2.1:99", &at(A, 7));
        rig.host_sends(&ours);
        if own {
            rig.expect("sim0", &ours);
        }
        rig.expect_nothing_more();
        rig.finish();
    }
}
