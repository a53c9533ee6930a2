//! Everything to everywhere: the same questions by every way through the box, plain, translated, redirected, routed by a rule.
//! Small and large ones are answered, and each hop of a traceroute is told.

use packets::packet::{Error, error};
use packets::{Packet, Rig, Topology, echo, everywhere, tcp, udp};

use crate::nat_to::all_given;
use crate::{Family, INET, INET6, at};

/// An address that nobody has, in the network of the outside; questions to it are redirected.
const NOBODY: [&str; 2] = ["203.0.113.99", "2001:db8:ffff::99"];
/// The next hop on the second uplink.
const SECOND: [&str; 2] = ["198.18.0.254", "2001:db8:3::fe"];

/// The usual one, with a second uplink.
fn uplinks() -> Topology {
    Topology::usual()
        .interface("sim2", &["198.18.0.1/24", "2001:db8:3::1/64"])
        .host(&SECOND)
        .behind(&["0.0.0.0/0", "::/0"])
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Plain,
    Translated,
    Redirected,
    Both,
    Routed,
}

const WAYS: [Way; 5] = [
    Way::Plain,
    Way::Translated,
    Way::Redirected,
    Way::Both,
    Way::Routed,
];

impl Way {
    fn policy(self, f: Family) -> String {
        let (family, v6) = match f.digit {
            "4" => ("inet", 0),
            _ => ("inet6", 1),
        };
        let translate = format!(
            "match out on sim1 {family} from {} nat-to {}\n",
            f.a, f.box1
        );
        let redirect = format!(
            "match in on sim0 {family} to {} rdr-to {}\n",
            NOBODY[v6], f.b
        );
        let rules = match self {
            Way::Plain => String::new(),
            Way::Translated => translate,
            Way::Redirected => redirect,
            Way::Both => translate + &redirect,
            Way::Routed => {
                let to = format!("pass in on sim0 {family} route-to {}\n", SECOND[v6]);
                return format!("block\n{to}pass out");
            }
        };
        format!("block\n{rules}pass in on sim0\npass out")
    }

    /// Who is asked.
    fn target(self, f: Family) -> &'static str {
        let v6 = usize::from(f.digit == "6");
        match self {
            Way::Redirected | Way::Both => NOBODY[v6],
            _ => f.far,
        }
    }

    /// The port that questions leave by, and the next hop there.
    fn out(self, f: Family) -> (&'static str, &'static str) {
        let v6 = usize::from(f.digit == "6");
        match self {
            Way::Routed => ("sim2", SECOND[v6]),
            Way::Redirected | Way::Both => ("sim1", f.b),
            _ => ("sim1", f.router),
        }
    }

    /// Who an error seems to come from: behind a redirection everything bears the address that was asked, as in PF.
    fn told_by(self, f: Family, sender: &'static str) -> &'static str {
        match self {
            Way::Redirected | Way::Both => self.target(f),
            _ => sender,
        }
    }

    /// The question as it is outside, before the hop.
    fn outside(self, rig: &Rig, f: Family, question: &Packet, inside: &str) -> Packet {
        let mut packet = question.clone();
        if matches!(self, Way::Redirected | Way::Both) {
            packet = packet.to(f.b);
        }
        if matches!(self, Way::Translated | Way::Both) {
            let given = all_given(rig, inside);
            assert_eq!(given.len(), 1, "{self:?} {inside}");
            packet = packet.sent_from(&given[0]);
        }
        packet
    }
}

/// As it is sent over Ethernet.
fn on_the_link(packet: &Packet) -> Vec<Packet> {
    match packet.len() {
        0..=1500 => vec![packet.clone()],
        _ => packet.pieces(1440),
    }
}

fn send(rig: &mut Rig, port: &str, packet: &Packet) {
    for one in on_the_link(packet) {
        rig.send(port, &one);
    }
}

/// The question goes out, its answer comes back, and so do errors about it.
fn asked(rig: &mut Rig, way: Way, f: Family, question: &Packet, inside: &str) {
    let (port, next_hop) = way.out(f);
    let next_hop = next_hop.parse().unwrap();
    send(rig, "sim0", question);
    let outside = way.outside(rig, f, question, inside);
    for one in on_the_link(&outside) {
        rig.expect_via(port, next_hop, &one.hop());
    }
    let answer = question.answer();
    send(rig, port, &outside.answer());
    for one in on_the_link(&answer) {
        rig.expect("sim0", &one.hop());
    }
    // A traceroute: the box itself, then a router behind it.
    if question.len() <= 1500 {
        let tired = question.clone().ttl(1);
        rig.send("sim0", &tired);
        let told = error(way.told_by(f, f.box0), &tired, Error::TimeExceeded);
        rig.expect("sim0", &told.as_box_error(&tired));
        let router = way.out(f).1;
        rig.send(port, &error(router, &outside.hop(), Error::TimeExceeded));
        let told = error(way.told_by(f, router), &question.hop(), Error::TimeExceeded);
        rig.expect("sim0", &told.hop());
    }
    rig.expect_nothing_more();
}

#[test]
fn every_question_is_answered_by_every_way_and_each_hop_is_told() {
    for way in WAYS {
        for f in [INET, INET6] {
            everywhere(&way.policy(f), &uplinks(), |rig| {
                let to = way.target(f);
                for (n, len) in [(1u16, 48), (2, 1400), (3, 5000)] {
                    let (port, ident) = (1000 + n, 2000 + n);
                    let inside = at(f.a, port);
                    let datagram = udp(&inside, &at(to, 7)).data(len).ident(n);
                    asked(rig, way, f, &datagram, &inside);
                    let question = echo(f.a, to, ident, n).data(len).ident(100 + n);
                    asked(rig, way, f, &question, &at(f.a, ident));
                }
                let inside = at(f.a, 3000);
                asked(
                    rig,
                    way,
                    f,
                    &tcp(&inside, &at(to, 80), "S").seq(1000),
                    &inside,
                );
            });
        }
    }
}

#[test]
fn what_came_by_the_second_uplink_is_answered_there_small_and_large() {
    for (f, v6) in [(INET, 0), (INET6, 1)] {
        let family = ["inet", "inet6"][v6];
        let policy = format!(
            "block\npass in on sim2 {family} reply-to {}\npass out on sim0",
            SECOND[v6]
        );
        everywhere(&policy, &uplinks(), |rig| {
            for (n, len) in [(1u16, 48), (2, 5000)] {
                for question in [
                    udp(&at(f.far, 1000 + n), &at(f.a, 7)).data(len).ident(n),
                    echo(f.far, f.a, n, 1).data(len).ident(100 + n),
                ] {
                    send(rig, "sim2", &question);
                    for one in on_the_link(&question) {
                        rig.expect("sim0", &one.hop());
                    }
                    let answer = question.answer();
                    send(rig, "sim0", &answer);
                    for one in on_the_link(&answer) {
                        rig.expect_via("sim2", SECOND[v6].parse().unwrap(), &one.hop());
                    }
                    rig.expect_nothing_more();
                }
            }
        });
    }
}

#[test]
fn rules_send_each_source_by_its_own_uplink() {
    let topology = uplinks();
    for (f, v6) in [(INET, 0), (INET6, 1)] {
        let other = ["192.0.2.77", "2001:db8:1::77"][v6];
        let policy = format!("pass\npass in on sim0 from {other} route-to {}", SECOND[v6]);
        everywhere(&policy, &topology, |rig| {
            for (source, port, next_hop) in [(f.a, "sim1", f.router), (other, "sim2", SECOND[v6])] {
                for n in 0..10 {
                    let question = udp(&at(source, 1000 + n), &at(f.far, 7));
                    rig.send("sim0", &question);
                    rig.expect_via(port, next_hop.parse().unwrap(), &question.hop());
                }
            }
            rig.expect_nothing_more();
        });
    }
}

#[test]
fn a_translated_prefix_that_a_rule_routes_learns_the_size_of_its_link() {
    let topology = uplinks().mtu("sim0", 9000);
    let inside = "2001:db8:1::/64";
    let policy = format!(
        "match on sim2 inet6 from {inside} binat-to 2001:db8:ff::/64\npass\npass in on sim0 inet6 route-to {}",
        SECOND[1]
    );
    let f = INET6;
    everywhere(&policy, &topology, |rig| {
        let next_hop = SECOND[1].parse().unwrap();
        // 1452 bytes and their header fill a packet of 1500.
        let fits = echo(f.a, f.far, 7, 1).data(1452);
        rig.send("sim0", &fits);
        let given = all_given(rig, &at(f.a, 7));
        assert!(
            given.len() == 1 && given[0].starts_with("[2001:db8:ff::2]:"),
            "{given:?}"
        );
        rig.expect_via("sim2", next_hop, &fits.hop().sent_from(&given[0]));
        let answer = fits.answer();
        rig.send("sim2", &answer.clone().sent_to(&given[0]));
        rig.expect("sim0", &answer.hop());
        let large = echo(f.a, f.far, 7, 2).data(1453);
        rig.send("sim0", &large);
        let told = error(f.box0, &large.hop(), Error::TooBig(1500));
        rig.expect("sim0", &told.as_box_error(&large));
        rig.expect_nothing_more();
    });
}
