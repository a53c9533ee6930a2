//! Connections that translation takes to ends which another worker would own: that must not be seen from outside.

use packets::packet::{Error, error};
use packets::{Packet, Rig, Topology, echo, everywhere, tcp, udp};

use crate::{A, B, at};

/// Client ports: enough that each worker owns some of the connections, before and after translation.
const PORTS: std::ops::Range<u16> = 1000..1012;

/// `first` passes to the server inside; `second`, which would have the same ends there, does not, and the answer is
/// that of the first.
fn only_the_first(rig: &mut Rig, first: (&Packet, &str), second: (&Packet, &str)) {
    let (packet, counted) = first;
    let inner = packet.clone().sent_to(&at(A, 53));
    rig.exchange("sim1", packet, &[("sim0", inner.hop())], counted);
    rig.exchange("sim1", second.0, &[], second.1);
    let back = packet.answer().hop();
    rig.exchange(
        "sim0",
        &inner.answer(),
        &[("sim1", back)],
        "received passed searches r0.out r2.in sim0.in4.pass sim1.out4.pass",
    );
}

/// Questions to two addresses are answered by one server.
const TWO_IN_ONE: &str = "pass in on sim1 inet proto udp from any to 198.51.100.0/24 port 53 rdr-to 192.0.2.2\n\
                          pass in on sim1 inet proto udp to 192.0.2.2 port 53\n\
                          pass out on sim0 inet proto udp";
const REDIRECTED: &str = "passed r0.evals 2 r0.in r0.made r1.evals 2 r2.evals 2 r2.made r2.out received searches 2 sim0.out4.pass sim1.in4.pass";
const REDIRECTED_REFUSED: &str =
    "drop:state-insert r0.evals r0.in r1.evals r2.evals received searches sim1.in4.block";
const DIRECT: &str = "passed r0.evals 2 r1.evals 2 r1.in r1.made r2.evals 2 r2.made r2.out received searches 2 sim0.out4.pass sim1.in4.pass";
const DIRECT_REFUSED: &str =
    "drop:state-insert r0.evals r1.evals r1.in r2.evals received searches sim1.in4.block";

#[test]
fn of_two_connections_that_redirection_makes_one_the_second_is_refused() {
    everywhere(TWO_IN_ONE, &Topology::usual(), |rig| {
        for port in PORTS {
            let one = udp(&at(B, port), "198.51.100.1:53");
            let other = udp(&at(B, port), "198.51.100.9:53");
            only_the_first(rig, (&one, REDIRECTED), (&other, REDIRECTED_REFUSED));
        }
    });
}

#[test]
fn a_connection_that_goes_where_a_redirected_one_goes_is_refused() {
    everywhere(TWO_IN_ONE, &Topology::usual(), |rig| {
        for port in PORTS {
            let redirected = udp(&at(B, port), "198.51.100.1:53");
            let direct = udp(&at(B, port), &at(A, 53));
            only_the_first(rig, (&redirected, REDIRECTED), (&direct, DIRECT_REFUSED));
        }
    });
}

#[test]
fn a_connection_that_is_redirected_to_where_another_goes_is_refused() {
    everywhere(TWO_IN_ONE, &Topology::usual(), |rig| {
        for port in PORTS {
            let redirected = udp(&at(B, port), "198.51.100.1:53");
            let direct = udp(&at(B, port), &at(A, 53));
            rig.exchange("sim1", &direct, &[("sim0", direct.hop())], DIRECT);
            rig.exchange("sim1", &redirected, &[], REDIRECTED_REFUSED);
            let back = direct.answer();
            rig.exchange(
                "sim0",
                &back,
                &[("sim1", back.hop())],
                "passed r1.out r2.in received searches sim0.in4.pass sim1.out4.pass",
            );
        }
    });
}

#[test]
fn when_the_first_is_gone_the_second_passes() {
    everywhere(TWO_IN_ONE, &Topology::usual(), |rig| {
        for port in PORTS {
            for addr in ["198.51.100.1", "198.51.100.9", A] {
                let there = udp(&at(B, port), &at(addr, 53));
                rig.send("sim1", &there);
                rig.expect("sim0", &there.clone().sent_to(&at(A, 53)).hop());
                rig.advance(120_000);
                assert!(rig.states().is_empty());
                rig.ignore_rest();
            }
        }
    });
}

#[test]
fn a_redirected_connection_that_is_over_makes_room_for_the_next() {
    let policy =
        "pass in on sim1 inet proto tcp to 198.51.100.1 rdr-to 192.0.2.2\npass out on sim0";
    everywhere(policy, &Topology::usual(), |rig| {
        for port in PORTS {
            let there = tcp(&at(B, port), "198.51.100.1:80", "S");
            let inner = there.clone().sent_to(&at(A, 80));
            let refusal = inner.answer().with_flags("RA").ack(1);
            let made = "passed r0.evals 2 r0.in r0.made r1.evals 2 r1.made r1.out received searches 2 sim0.out4.pass sim1.in4.pass";
            let again = "passed r0.evals 2 r0.gone r0.in r0.made r1.evals 2 r1.gone r1.made r1.out received searches 2 sim0.out4.pass sim1.in4.pass";
            for counted in [made, again] {
                rig.exchange("sim1", &there, &[("sim0", inner.hop())], counted);
                let told = there.answer().with_flags("RA").ack(1).hop();
                rig.exchange(
                    "sim0",
                    &refusal,
                    &[("sim1", told)],
                    "passed r0.out r1.in received searches sim0.in4.pass sim1.out4.pass",
                );
            }
        }
    });
}

#[test]
fn an_answer_without_a_state_where_it_comes_in_leaves_by_that_of_the_translation() {
    let policies = [
        (
            "pass in on sim1 inet to 198.51.100.9 rdr-to 192.0.2.2\npass out on sim1",
            "default.in passed r0.evals r0.out r1.evals received searches 2 sim0.in4.pass sim1.out4.pass",
        ),
        (
            "pass on sim1 inet from 192.0.2.2 to any binat-to 198.51.100.9",
            "default.in passed r0.evals r1.evals r1.out received searches 2 sim0.in4.pass sim1.out4.pass",
        ),
    ];
    for (policy, counted) in policies {
        everywhere(policy, &Topology::usual(), |rig| {
            for port in PORTS {
                let packets = [
                    udp(&at(B, port), "198.51.100.9:53"),
                    tcp(&at(B, port), "198.51.100.9:80", "S"),
                    echo(B, "198.51.100.9", port, 1),
                ];
                for there in packets {
                    let inner = there.clone().to(A);
                    rig.send("sim1", &there);
                    rig.expect("sim0", &inner.hop());
                    rig.mark();
                    let back = inner.answer();
                    let seen = there.answer().hop();
                    rig.exchange("sim0", &back, &[("sim1", seen)], counted);
                    let told = error("192.0.2.77", &inner.hop(), Error::Unreachable(3, 1));
                    let seen = error("198.51.100.9", &there.hop(), Error::Unreachable(3, 1)).hop();
                    rig.exchange("sim0", &told, &[("sim1", seen)], counted);
                }
            }
        });
    }
}
