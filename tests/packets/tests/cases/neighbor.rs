//! ARP and neighbor discovery, and what waits for them.

use std::net::{Ipv4Addr, Ipv6Addr};

use packets::packet::{Error, error};
use packets::rig::{arp_frame, discovery};
use packets::{Packet, Rig, Spread, Topology, everywhere, tcp, udp};
use wire::{arp, ether, icmp6, ipv6};

use crate::{A, A6, B, B6, INET, INET6, at};

fn usual() -> Topology {
    Topology::usual()
}

/// The usual topology whose hosts answer nothing by themselves.
fn mute() -> Topology {
    let mut topology = usual();
    topology.hosts.iter_mut().for_each(|h| h.answers = false);
    topology
}

fn ip4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn ip6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn question(sender: ether::Addr, sender_ip: &str, target_ip: &str) -> arp::Repr {
    arp::Repr {
        operation: arp::Operation::REQUEST,
        sender_ether: sender,
        sender_ip: ip4(sender_ip),
        target_ether: ether::Addr([0; 6]),
        target_ip: ip4(target_ip),
    }
}

fn reply(question: &arp::Repr, mac: ether::Addr) -> arp::Repr {
    arp::Repr {
        operation: arp::Operation::REPLY,
        sender_ether: mac,
        sender_ip: question.target_ip,
        target_ether: question.sender_ether,
        target_ip: question.sender_ip,
    }
}

/// An ARP frame of the box: padded to the least length of Ethernet.
fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(60, 0);
    frame
}

/// A solicitation as the box sends it to everybody.
fn solicitation(mac: ether::Addr, own: &str, target: &str) -> Vec<u8> {
    let group = ipv6::solicited_node(ip6(target));
    let message = icmp6::Repr::NeighborSolicit(icmp6::NeighborSolicit {
        target: ip6(target),
        source_link: Some(mac),
    });
    discovery(
        (mac, ip6(own)),
        (ether::Addr::multicast6(group), group),
        &message,
    )
}

fn advert(host: ether::Addr, addr: &str, mac: ether::Addr, own: &str) -> Vec<u8> {
    let message = icmp6::Repr::NeighborAdvert(icmp6::NeighborAdvert {
        target: ip6(addr),
        target_link: Some(host),
        router: false,
        solicited: true,
        override_: true,
    });
    discovery((host, ip6(addr)), (mac, ip6(own)), &message)
}

#[test]
fn the_first_packet_waits_for_arp_and_leaves_when_it_is_answered() {
    let mut rig = Rig::cold("pass", &mute(), Spread::ONE);
    let (mac, host) = (rig.mac("sim1"), rig.station("sim1", B.parse().unwrap()));
    let first = udp(&at(A, 1), &at(B, 1));
    let second = udp(&at(A, 1), &at(B, 1)).data(9);
    let asked = question(mac, "198.51.100.1", B);
    rig.send("sim0", &first);
    rig.expect_frame("sim1", &padded(arp_frame(&asked)));
    rig.counted(
        "received generated passed waiting searches 2 sim0.in4.pass sim1.out4.pass
         r0.evals 2 r0.in r0.out r0.made 2",
    );
    // Another one waits with it; nobody is asked twice within the second.
    rig.send("sim0", &second);
    rig.counted("received waiting searches sim0.in4.pass sim1.out4.pass r0.in r0.out");
    rig.send_frame("sim1", &arp_frame(&reply(&asked, host)));
    rig.expect("sim1", &first.hop());
    rig.expect("sim1", &second.hop());
    rig.counted("received consumed passed 2 waiting -2");
}

#[test]
fn the_first_packet_waits_for_neighbor_discovery_and_leaves_when_it_is_answered() {
    let mut rig = Rig::cold("pass", &mute(), Spread::ONE);
    let (mac, host) = (rig.mac("sim1"), rig.station("sim1", B6.parse().unwrap()));
    let first = udp(&at(A6, 1), &at(B6, 1));
    rig.send("sim0", &first);
    rig.expect_frame("sim1", &solicitation(mac, "2001:db8:2::1", B6));
    // The solicitation is ICMPv6 and goes by the rules: it makes a state.
    rig.counted(
        "received generated passed waiting searches 3 sim0.in6.pass sim1.out6.pass 2
         r0.evals 3 r0.in r0.out 2 r0.made 3",
    );
    rig.send_frame("sim1", &advert(host, B6, mac, "2001:db8:2::1"));
    rig.expect("sim1", &first.hop());
    rig.counted("received consumed passed waiting -1 searches sim1.in6.pass r0.in");
}

/// Many clients of a server behind the box, which has forgotten who they are: their answers come before it is known where
/// to. What is too much is lost, and what a server then says instead must pass.
#[test]
fn answers_to_a_host_that_is_not_known_yet_wait_and_those_that_are_lost_come_anew() {
    const CLIENTS: u32 = 130;
    const LOST: u32 = CLIENTS - net::neighbor::HELD_PER_NEIGHBOR_MAX as u32;
    let mut topology = usual();
    let port = topology.port_of("sim0");
    let inside = topology.hosts.iter_mut().filter(|h| h.port == port);
    inside.for_each(|h| h.answers = false);
    let mut rig = Rig::cold("pass", &topology, Spread::ONE);
    let (mac, host) = (rig.mac("sim0"), rig.station("sim0", A.parse().unwrap()));
    let ends = |n: u32| (at(A, 1000 + n as u16), at(B, 80));
    let there = |n, flags| tcp(&ends(n).0, &ends(n).1, flags).seq(1000);
    let back = |n, number| tcp(&ends(n).1, &ends(n).0, "SA").seq(number).ack(1001);
    for n in 0..CLIENTS {
        rig.send("sim0", &there(n, "S"));
        rig.expect("sim1", &there(n, "S").hop());
    }
    rig.mark();
    for n in 0..CLIENTS {
        rig.send("sim1", &back(n, 5000 + n));
    }
    let asked = question(mac, "192.0.2.1", A);
    rig.expect_frame("sim0", &padded(arp_frame(&asked)));
    rig.counted(
        "received 130 generated passed waiting 128 drop:no-neighbor 2 searches 130
         sim1.in4.pass 130 sim0.out4.pass 130 r0.in 130 r0.out 130",
    );
    rig.send_frame("sim0", &arp_frame(&reply(&asked, host)));
    for n in LOST..CLIENTS {
        rig.expect("sim0", &back(n, 5000 + n).hop());
    }
    rig.counted("received consumed passed 128 waiting -128");
    // The server had answered those by a cookie, and has room now.
    for n in 0..LOST {
        let syn = there(n, "S");
        let there = "received passed searches sim0.in4.pass sim1.out4.pass r0.in r0.out";
        rig.exchange("sim0", &syn, &[("sim1", syn.hop())], there);
        let answer = back(n, 0x9000_0000);
        let counted = "received passed searches sim1.in4.pass sim0.out4.pass r0.in r0.out";
        rig.exchange("sim1", &answer, &[("sim0", answer.hop())], counted);
        let ack = tcp(&ends(n).0, &ends(n).1, "A").seq(1001).ack(0x9000_0001);
        rig.exchange("sim0", &ack, &[("sim1", ack.hop())], there);
    }
}

#[test]
fn every_worker_gets_to_know_a_neighbor_that_the_rules_let_only_answer() {
    // An advertisement comes in by the state of the solicitation alone.
    let policy = "block\npass in on sim0\npass out on sim1";
    for spread in Spread::ALL {
        let mut rig = Rig::cold(policy, &usual(), spread);
        for f in [INET, INET6] {
            for port in 0..30 {
                let packet = udp(&at(f.a, 1000 + port), &at(f.b, 53));
                rig.send("sim0", &packet);
                rig.expect("sim1", &packet.hop());
            }
        }
    }
}

#[test]
fn a_neighbor_in_use_is_asked_now_and_then_whether_it_is_there_by_rules_that_let_only_answers_in() {
    let policy = "block\npass in on sim0\npass out on sim1";
    for spread in Spread::ALL {
        for f in [INET, INET6] {
            let mut rig = Rig::cold(policy, &usual(), spread);
            let packet = udp(&at(f.a, 1000), &at(f.b, 53));
            for _ in 0..60 {
                rig.send("sim0", &packet);
                rig.expect("sim1", &packet.hop());
                rig.advance(2000);
            }
            // Every 35 seconds of two minutes, and once to begin with.
            let asked = rig.changes().get("generated").copied().unwrap_or(0);
            assert!((3..=12).contains(&asked), "{asked} questions, {spread:?}");
            rig.ignore_rest();
        }
    }
}

#[test]
fn a_neighbor_that_only_asked_is_known_to_every_worker() {
    // The rules do not let us ask on sim0; only the worker that heard the host's question knows it.
    let policy = "block\npass in on sim0\npass out on sim1";
    for spread in Spread::ALL {
        let mut rig = Rig::cold(policy, &usual(), spread);
        let host = rig.station("sim0", A6.parse().unwrap());
        rig.send_frame("sim0", &solicitation(host, A6, "2001:db8:1::1"));
        rig.ignore_rest();
        for port in 0..30 {
            let packet = udp(&at(A6, 1000 + port), &at(B6, 53));
            rig.send("sim0", &packet);
            rig.expect("sim1", &packet.hop());
            let back = packet.answer();
            rig.send("sim1", &back);
            rig.expect("sim0", &back.hop());
            rig.ignore_rest();
        }
    }
}

#[test]
fn arp_is_below_the_rules_and_neighbor_discovery_is_not() {
    let mut rig = Rig::cold("block", &usual(), Spread::ONE);
    let (mac, host) = (rig.mac("sim0"), rig.station("sim0", A.parse().unwrap()));
    let asked = question(host, A, "192.0.2.1");
    rig.send_frame("sim0", &arp_frame(&asked));
    rig.expect_frame("sim0", &padded(arp_frame(&reply(&asked, mac))));
    rig.counted("received consumed generated passed");
    rig.send_frame("sim0", &solicitation(host, A6, "2001:db8:1::1"));
    rig.counted("received drop:match searches sim0.in6.block r0.evals r0.in");
}

#[test]
fn neighbor_discovery_passes_by_the_rules_that_name_it() {
    let policy = "block\npass inet6 proto icmp6 icmp6-type { neighbrsol, neighbradv }";
    let mut rig = Rig::cold(policy, &usual(), Spread::ONE);
    let (mac, host) = (rig.mac("sim0"), rig.station("sim0", A6.parse().unwrap()));
    rig.send_frame("sim0", &solicitation(host, A6, "2001:db8:1::1"));
    let message = icmp6::Repr::NeighborAdvert(icmp6::NeighborAdvert {
        target: ip6("2001:db8:1::1"),
        target_link: Some(mac),
        router: true,
        solicited: true,
        override_: true,
    });
    let answer = discovery((mac, ip6("2001:db8:1::1")), (host, ip6(A6)), &message);
    rig.expect_frame("sim0", &answer);
    // The advertisement goes out by the state that the solicitation made.
    rig.counted(
        "received consumed generated passed searches 2 sim0.in6.pass sim0.out6.pass
         r0.evals r1.evals r2.evals r1.in r1.made r1.out",
    );
}

#[test]
fn questions_for_others_are_not_answered() {
    everywhere("pass", &usual(), |rig| {
        let host = rig.station("sim0", A.parse().unwrap());
        for target in ["192.0.2.77", "198.51.100.2", "192.0.2.255"] {
            rig.send_frame("sim0", &arp_frame(&question(host, A, target)));
            rig.counted("received consumed");
        }
        // Ours, but on the other link.
        rig.send_frame("sim0", &arp_frame(&question(host, A, "198.51.100.1")));
        rig.counted("received consumed");
    });
}

#[test]
fn arp_that_makes_no_sense_is_dropped() {
    everywhere("pass", &usual(), |rig| {
        let host = rig.station("sim0", A.parse().unwrap());
        let mut frame = arp_frame(&question(host, A, "192.0.2.1"));
        frame[15] = 6; // hardware type
        rig.send_frame("sim0", &frame);
        rig.counted("received drop:arp");
        frame.truncate(30);
        rig.send_frame("sim0", &frame);
        rig.counted("received drop:arp");
    });
}

#[test]
fn who_has_no_answer_in_three_seconds_is_unreachable() {
    for f in [INET, INET6] {
        let mut rig = Rig::cold("pass", &mute(), Spread::ONE);
        let packet = udp(&at(f.a, 1), &at(f.b, 1));
        rig.send("sim0", &packet);
        for _ in 0..3 {
            assert!(rig.take("sim1").is_some(), "a question");
            rig.expect_nothing_more();
            rig.advance(1100);
        }
        // Of the error we cannot know where to send it either: its own receiver is asked for.
        assert!(rig.take("sim0").is_some(), "a question");
        rig.advance(200);
        let changes = rig.changes();
        assert_eq!(changes.get("drop:no-neighbor"), Some(&1), "{changes:?}");
        rig.mark();
        let asker = rig.station("sim0", f.a.parse().unwrap());
        if f.digit == "4" {
            let asked = question(rig.mac("sim0"), f.box0, f.a);
            rig.send_frame("sim0", &arp_frame(&reply(&asked, asker)));
        } else {
            rig.send_frame("sim0", &advert(asker, f.a, rig.mac("sim0"), f.box0));
        }
        let told = error(f.box0, &packet.hop(), Error::Unreachable(1, 3)).as_box_error(&packet);
        rig.expect("sim0", &told);
        assert_eq!(rig.changes().get("waiting"), Some(&-1));
        rig.ignore_rest();
    }
}

#[test]
fn more_than_128_waiting_for_one_neighbor_push_out_the_oldest() {
    let mut rig = Rig::cold("pass no state", &mute(), Spread::ONE);
    let packets: Vec<Packet> = (0..130).map(|n| udp(&at(A, 1), &at(B, n))).collect();
    rig.send_burst("sim0", &packets);
    let asked = question(rig.mac("sim1"), "198.51.100.1", B);
    rig.expect_frame("sim1", &padded(arp_frame(&asked)));
    rig.counted(
        "received 130 generated passed waiting 128 drop:no-neighbor 2 searches 260
         sim0.in4.pass 130 sim1.out4.pass 130 r0.evals 260 r0.in 130 r0.out 130",
    );
    let host = rig.station("sim1", B.parse().unwrap());
    rig.send_frame("sim1", &arp_frame(&reply(&asked, host)));
    for packet in &packets[2..] {
        rig.expect("sim1", &packet.hop());
    }
    rig.counted("received consumed passed 128 waiting -128");
}

#[test]
fn an_announcement_moves_traffic_to_the_new_station() {
    everywhere("pass", &usual(), |rig| {
        let packet = udp(&at(A, 1), &at(B, 1));
        rig.send("sim0", &packet);
        rig.expect("sim1", &packet.hop());
        // A gratuitous ARP: the sender is also the target (RFC 5227 3).
        let new = ether::Addr([0x02, 0xbb, 0, 0, 0, 1]);
        rig.send_frame("sim1", &arp_frame(&question(new, B, B)));
        rig.send("sim0", &packet);
        let frame = packet.hop().frame(rig.mac("sim1"), new);
        rig.expect_frame("sim1", &frame);
        rig.ignore_rest();
    });
}

#[test]
fn neighbors_found_by_one_worker_serve_them_all() {
    for spread in Spread::ALL {
        let mut rig = Rig::cold("pass", &usual(), spread);
        for port in 0..64 {
            for f in [INET, INET6] {
                let packet = udp(&at(f.a, 1), &at(f.b, 1000 + port));
                rig.send("sim0", &packet);
                rig.expect("sim1", &packet.hop());
                let back = packet.answer();
                rig.send("sim1", &back);
                rig.expect("sim0", &back.hop());
            }
        }
        rig.expect_nothing_more();
        assert_eq!(rig.changes().get("waiting"), None);
    }
}

#[test]
fn a_neighbor_in_use_is_asked_whether_it_is_still_there() {
    everywhere("pass", &usual(), |rig| {
        let packet = udp(&at(A, 1), &at(B, 1));
        // In use for two minutes: probes go to the station itself, and no packet waits or is lost.
        for _ in 0..120 {
            rig.advance(1000);
            rig.send("sim0", &packet);
            rig.expect("sim1", &packet.hop());
        }
        rig.expect_nothing_more();
        let changes = rig.changes();
        assert!(changes["generated"] > 0, "{changes:?}");
        assert!(
            !changes.keys().any(|name| name.starts_with("drop:")),
            "{changes:?}"
        );
    });
}

#[test]
fn discovery_from_beyond_the_link_is_dropped() {
    everywhere("pass", &usual(), |rig| {
        let host = rig.station("sim0", A6.parse().unwrap());
        let mut frame = solicitation(host, A6, "2001:db8:1::1");
        frame[14 + 7] = 254; // hop limit (RFC 4861 7.1.1)
        rig.send_frame("sim0", &frame);
        rig.counted("received drop:normalize");
    });
}
