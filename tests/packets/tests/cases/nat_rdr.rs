//! Destination translation, alone and together with source translation.

use packets::{Packet, Rig, Topology, echo, everywhere, tcp, udp};

use crate::nat_to::given;
use crate::{A, A6, B, B6, INET, INET6, at};

/// A packet from outside to the box goes to the inner server, and its answer comes from the box.
fn redirected(rig: &mut Rig, there: &Packet, server: &str) {
    rig.send("sim1", there);
    let inner = there.clone().sent_to(server);
    rig.expect("sim0", &inner.hop());
    rig.send("sim0", &inner.answer());
    rig.expect("sim1", &there.answer().hop());
}

/// fbsd:rdr.sh basic
#[test]
fn basic() {
    let policy = "block\npass in on sim1 inet proto tcp to 198.51.100.1 port 80 rdr-to 192.0.2.2 port 8000\n\
                  pass out on sim0 inet proto tcp to 192.0.2.2 port 8000";
    everywhere(policy, &Topology::usual(), |rig| {
        for port in 1000..1020 {
            redirected(
                rig,
                &tcp(&at(B, port), "198.51.100.1:80", "S").wscale(2),
                &at(A, 8000),
            );
        }
    });
}

/// fbsd:rdr.sh tcp_v6
#[test]
fn tcp_v6() {
    let policy = "pass in on sim1 inet6 proto tcp to 2001:db8:2::1 port 80 rdr-to 2001:db8:1::2 port 8000\npass out";
    everywhere(policy, &Topology::usual(), |rig| {
        for port in 1000..1020 {
            redirected(
                rig,
                &tcp(&at(B6, port), "[2001:db8:2::1]:80", "S").data(0),
                &at(A6, 8000),
            );
        }
    });
}

#[test]
fn ports_are_mapped_as_ranges() {
    let policy = "pass in on sim1 inet proto udp to any port 2000:2010 rdr-to 192.0.2.2 port 4000:*\npass out";
    everywhere(policy, &Topology::usual(), |rig| {
        for n in [0, 3, 10] {
            redirected(
                rig,
                &udp(&at(B, 77), &at("198.51.100.1", 2000 + n)),
                &at(A, 4000 + n),
            );
        }
    });
}

#[test]
fn only_the_address_changes_without_a_port() {
    let policy = "match in on sim1 to 198.51.100.1 rdr-to 192.0.2.2\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        redirected(rig, &udp(&at(B, 77), "198.51.100.1:53"), &at(A, 53));
        redirected(rig, &echo(B, "198.51.100.1", 7, 1), &at(A, 7));
    });
}

#[test]
fn what_is_redirected_to_the_box_reaches_the_host_and_answers_as_who_was_asked() {
    for f in [INET, INET6] {
        let family = if f.digit == "4" { "inet" } else { "inet6" };
        let policy = format!(
            "pass in on sim1 {family} proto udp to {} port 53 rdr-to {} port 5353",
            f.far, f.box0
        );
        everywhere(&policy, &Topology::usual(), |rig| {
            for port in 100..116 {
                let there = udp(&at(f.b, port), &at(f.far, 53));
                rig.send("sim1", &there);
                let inner = there.clone().sent_to(&at(f.box0, 5353));
                rig.expect_host(&inner);
                rig.host_sends(&inner.answer());
                rig.expect("sim1", &there.answer());
            }
        });
    }
}

#[test]
fn source_and_destination_are_translated_on_one_way() {
    // The server on the same link as the client answers to the box, which is why this works at all.
    let topology = Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&["192.0.2.2"])
        .host(&["192.0.2.3"])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[B]);
    let policy = "match in on sim0 inet proto tcp to 198.51.100.1 port 80 rdr-to 192.0.2.3\n\
                  match out on sim0 inet proto tcp from 192.0.2.2 to 192.0.2.3 nat-to (sim0)\npass";
    everywhere(policy, &topology, |rig| {
        for port in 4000..4020 {
            let there = tcp(&at(A, port), "198.51.100.1:80", "S");
            rig.send("sim0", &there);
            let outside = given(rig, &at(A, port));
            let inner = there.clone().sent_from(&outside).sent_to("192.0.2.3:80");
            rig.expect("sim0", &inner.hop());
            rig.send("sim0", &inner.answer());
            rig.expect("sim0", &there.answer().hop());
        }
    });
}

#[test]
fn binat_works_from_either_side() {
    let policy = "match on sim1 inet from 192.0.2.2 binat-to 198.51.100.9\npass";
    let answers = Topology::usual();
    everywhere(policy, &answers, |rig| {
        for port in 1..12 {
            let there = udp(&at(A, port), &at(B, 53));
            rig.send("sim0", &there);
            rig.expect("sim1", &there.hop().sent_from(&at("198.51.100.9", port)));
            let back = there.answer();
            rig.send("sim1", &back.clone().sent_to(&at("198.51.100.9", port)));
            rig.expect("sim0", &back.hop());
            redirected(
                rig,
                &udp(&at(B, 5000 + port), "198.51.100.9:80"),
                &at(A, 80),
            );
        }
    });
}

#[test]
fn networks_are_translated_host_by_host() {
    let policy = "match on sim1 inet from 192.0.2.0/24 binat-to 203.0.113.0/24\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let there = echo(A, B, 3, 1);
        rig.send("sim0", &there);
        let outside = given(rig, &at(A, 3));
        assert!(outside.starts_with("203.0.113.2:"), "{outside}");
        rig.expect("sim1", &there.hop().sent_from(&outside));
    });
}
