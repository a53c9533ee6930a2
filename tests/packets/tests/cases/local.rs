//! Packets for the box and from it: the local host sits behind the rules like any other.

use packets::packet::{Error, error};
use packets::{Rig, Spread, Topology, echo, everywhere, tcp, udp};

use crate::{A, at, both};

fn usual() -> Topology {
    Topology::usual()
}

#[test]
fn what_is_for_the_box_reaches_the_local_host_and_its_answer_follows_the_state() {
    both("pass in\nblock out", &usual(), |rig, f| {
        // By either of its addresses.
        for own in [f.box0, f.box1] {
            for ask in [
                echo(f.a, own, 7, 1),
                udp(&at(f.a, 1000), &at(own, 53)),
                tcp(&at(f.a, 1000), &at(own, 443), "S"),
            ] {
                rig.send("sim0", &ask);
                rig.expect_host(&ask);
                rig.counted(&f.counted(
                    "received to_host searches sim0.in#.pass r0.evals r1.evals r0.in r0.made",
                ));
                let answer = match ask.len() {
                    40 | 60 => tcp(&at(own, 443), &at(f.a, 1000), "SA").seq(5).ack(1001),
                    _ => ask.answer(),
                };
                rig.host_sends(&answer);
                rig.expect("sim0", &answer);
                rig.counted(&f.counted("from_host passed searches sim0.out#.pass r0.out"));
            }
        }
    });
}

#[test]
fn what_the_rules_block_the_local_host_never_sees() {
    both("block in", &usual(), |rig, f| {
        rig.exchange(
            "sim0",
            &tcp(&at(f.a, 1000), &at(f.box0, 443), "S"),
            &[],
            &f.counted("received drop:match searches sim0.in#.block r0.evals r0.in"),
        );
    });
}

#[test]
fn the_local_host_begins_conversations_under_the_rules() {
    both(
        "block\npass out proto udp to port 53",
        &usual(),
        |rig, f| {
            let ask = udp(&at(f.box1, 1000), &at(f.far, 53));
            rig.host_sends(&ask);
            rig.expect("sim1", &ask);
            rig.counted(&f.counted(
                "from_host passed searches sim1.out#.pass r0.evals r1.evals r1.out r1.made",
            ));
            let answer = ask.answer();
            rig.send("sim1", &answer);
            rig.expect_host(&answer);
            rig.counted(&f.counted("received to_host searches sim1.in#.pass r1.in"));
            rig.host_sends(&udp(&at(f.box1, 1000), &at(f.far, 54)));
            rig.counted(
                &f.counted(
                    "from_host drop:match searches sim1.out#.block r0.evals r1.evals r0.out",
                ),
            );
        },
    );
}

#[test]
fn a_blocked_packet_of_the_local_host_is_answered_too() {
    both("block return out", &usual(), |rig, f| {
        let ask = udp(&at(f.box1, 1000), &at(f.far, 53));
        rig.host_sends(&ask);
        rig.expect_host(&error(f.box1, &ask, Error::Unreachable(3, 4)).as_box_error(&ask));
        rig.counted(&f.counted(
            "from_host drop:match generated to_host searches sim1.out#.block r0.evals r0.out",
        ));
    });
}

#[test]
fn broadcasts_and_groups_we_are_in_are_for_the_local_host() {
    everywhere("", &usual(), |rig| {
        for to in ["192.0.2.255", "255.255.255.255", "224.0.0.1"] {
            let packet = udp(&at(A, 68), &at(to, 67));
            rig.send("sim0", &packet);
            rig.expect_host(&packet);
            rig.counted("received to_host searches sim0.in4.pass default.in");
        }
        // Another link's broadcast address is nobody's: not forwarded either (RFC 2644).
        let packet = udp(&at(A, 68), "198.51.100.255:67");
        rig.send("sim0", &packet);
        assert!(rig.take("sim1").is_none());
        rig.ignore_rest();
    });
}

#[test]
fn the_local_host_reaches_itself_and_hears_of_missing_routes_by_silence() {
    let topology = Topology::new()
        .interface("sim0", &["192.0.2.1/24", "2001:db8:1::1/64"])
        .host(&["192.0.2.2", "2001:db8:1::2"]);
    both("block", &topology, |rig, f| {
        let to_self = udp(&at(f.box0, 1), &at(f.box0, 2));
        rig.host_sends(&to_self);
        rig.expect_host(&to_self);
        rig.counted("from_host to_host");
        rig.host_sends(&udp(&at(f.box0, 1), &at(f.far, 2)));
        rig.counted("from_host drop:no-route");
    });
}

#[test]
fn a_local_host_that_does_not_read_costs_counted_drops_and_nothing_else() {
    let mut rig = Rig::with("pass", &usual(), Spread::ONE);
    rig.host_reads(false);
    let ask = echo(A, "192.0.2.1", 7, 1);
    let burst = vec![ask.clone(); 600];
    rig.send_burst("sim0", &burst);
    let room = worker::mail::HOST_RING as i64;
    rig.host_reads(true);
    rig.run();
    for _ in 0..room {
        rig.expect_host(&ask);
    }
    rig.counted(&format!(
        "received 600 to_host {room} drop:host-full {} searches 600 sim0.in4.pass 600
         r0.evals r0.in 600 r0.made",
        600 - room
    ));
}
