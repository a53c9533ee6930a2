//! ICMP errors about translated packets: they reach the one who sent the packet, and quote it as it was sent.

use packets::packet::{Error, error};
use packets::{Topology, echo, everywhere, tcp, udp};

use crate::nat_to::{given, round_trip};
use crate::{Family, INET, INET6, at};

fn nat(f: &Family) -> String {
    let family = if f.digit == "4" { "inet" } else { "inet6" };
    format!("match out on sim1 {family} nat-to {}\npass", f.box1)
}

fn rdr(f: &Family) -> String {
    let family = if f.digit == "4" { "inet" } else { "inet6" };
    format!(
        "match in on sim1 {family} proto {{ tcp udp }} to {} port 80 rdr-to {} port 8000\npass",
        f.box1, f.a
    )
}

#[test]
fn errors_from_outside_reach_the_translated_sender() {
    for f in [INET, INET6] {
        everywhere(&nat(&f), &Topology::usual(), |rig| {
            for n in 1..12 {
                let inside = at(f.a, 1000 + n);
                for there in [
                    udp(&inside, &at(f.far, 33434)).data(40),
                    tcp(&inside, &at(f.far, 80 + n), "S"),
                    echo(f.a, f.far, 1000 + n, n),
                ] {
                    rig.send("sim0", &there);
                    let all = crate::nat_to::all_given(rig, &inside);
                    let frame = rig.take("sim1").expect("a packet");
                    let outside = all
                        .iter()
                        .find(|o| {
                            let want = there.hop().sent_from(o).bytes();
                            frame.ends_with(&want)
                        })
                        .expect("one of the translations");
                    for what in [Error::TimeExceeded, Error::Unreachable(1, 3)] {
                        let told = error(f.router, &there.hop().sent_from(outside), what);
                        rig.send("sim1", &told);
                        rig.expect("sim0", &error(f.router, &there.hop(), what).hop());
                    }
                }
            }
        });
    }
}

#[test]
fn errors_from_inside_hide_the_server_behind_the_redirection() {
    for f in [INET, INET6] {
        everywhere(&rdr(&f), &Topology::usual(), |rig| {
            for n in 1..12 {
                let there = udp(&at(f.b, 1000 + n), &at(f.box1, 80));
                rig.send("sim1", &there);
                let inner = there.clone().sent_to(&at(f.a, 8000));
                rig.expect("sim0", &inner.hop());
                let told = error(f.a, &inner.hop(), Error::Unreachable(3, 4));
                rig.send("sim0", &told);
                let expected = error(f.box1, &there.hop(), Error::Unreachable(3, 4)).hop();
                rig.expect("sim1", &expected);
            }
        });
    }
}

#[test]
fn errors_of_the_box_quote_what_the_sender_sent() {
    for f in [INET, INET6] {
        everywhere(&nat(&f), &Topology::usual(), |rig| {
            for n in 1..6 {
                let there = udp(&at(f.a, 1000 + n), &at(f.far, 33434)).ttl(1);
                rig.send("sim0", &there);
                let told = error(f.box0, &there, Error::TimeExceeded).as_box_error(&there);
                rig.expect("sim0", &told);
            }
        });
        // Behind a redirection nobody sees that it is one.
        everywhere(&rdr(&f), &Topology::usual(), |rig| {
            for n in 1..6 {
                let there = udp(&at(f.b, 1000 + n), &at(f.box1, 80)).ttl(1);
                rig.send("sim1", &there);
                let told = error(f.box1, &there, Error::TimeExceeded).as_box_error(&there);
                rig.expect("sim1", &told);
            }
        });
    }
}

#[test]
fn path_mtu_discovery_works_through_translation() {
    for f in [INET, INET6] {
        let narrow = Topology::usual().mtu("sim1", 1300);
        everywhere(&nat(&f), &narrow, |rig| {
            let inside = at(f.a, 1000);
            let outside = round_trip(rig, &inside, &udp(&inside, &at(f.far, 53)));
            // Too large for our own link: the box says so, about the packet that the sender knows.
            let large = udp(&inside, &at(f.far, 53)).data(1400).df();
            rig.send("sim0", &large);
            let told = error(f.box0, &large.hop(), Error::TooBig(1300)).as_box_error(&large);
            rig.expect("sim0", &told);
            // Too large for somebody else's.
            let fits = udp(&inside, &at(f.far, 53)).data(1240).df();
            rig.send("sim0", &fits);
            rig.expect("sim1", &fits.hop().sent_from(&outside));
            let told = error(
                f.router,
                &fits.hop().sent_from(&outside),
                Error::TooBig(1280),
            );
            rig.send("sim1", &told);
            rig.expect(
                "sim0",
                &error(f.router, &fits.hop(), Error::TooBig(1280)).hop(),
            );
        });
    }
}

/// fbsd:nat66.py test_npt_icmp
#[test]
fn test_npt_icmp() {
    let topology = Topology::usual().mtu("sim1", 1500).mtu("sim0", 9000);
    let policy = "match on sim1 inet6 from 2001:db8:1::/64 binat-to 2001:db8:ff::/64\npass";
    let f = INET6;
    everywhere(policy, &topology, |rig| {
        let fits = echo(f.a, f.far, 7, 1).data(1452);
        rig.send("sim0", &fits);
        let outside = given(rig, &at(f.a, 7));
        assert!(outside.starts_with("[2001:db8:ff::2]:"), "{outside}");
        rig.expect("sim1", &fits.hop().sent_from(&outside));
        let back = fits.answer();
        rig.send("sim1", &back.clone().sent_to(&outside));
        rig.expect("sim0", &back.hop());
        let large = echo(f.a, f.far, 7, 2).data(1453);
        rig.send("sim0", &large);
        let told = error(f.box0, &large.hop(), Error::TooBig(1500)).as_box_error(&large);
        rig.expect("sim0", &told);
    });
}
