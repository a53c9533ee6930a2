//! What routers do: time to live, packet sizes, routes, addresses that may not travel, frames that are not for us.

use packets::packet::{self, Error, error};
use packets::{Packet, Rig, Topology, echo, everywhere, raw, tcp, udp};
use wire::ether::EtherType;

use crate::{A, A6, B, B6, FAR, at, both};

fn usual() -> Topology {
    Topology::usual()
}

/// Passed in and made a state, dropped by the router itself with an error, which passes out by the state of the packet
/// that it quotes.
fn refused(reason: &str) -> String {
    format!(
        "received drop:{reason} generated passed searches 2 sim0.in#.pass sim0.out#.pass
         r0.evals r0.in r0.made r0.out"
    )
}

#[test]
fn each_hop_of_a_traceroute_is_told_and_the_last_one_gets_through() {
    both("pass", &usual(), |rig, f| {
        for probe in [
            udp(&at(f.a, 40000), &at(f.far, 33434)),
            echo(f.a, f.far, 7, 1),
            tcp(&at(f.a, 40000), &at(f.far, 80), "S"),
        ] {
            let first = probe.clone().ttl(1);
            let told = error(f.box0, &first, Error::TimeExceeded).as_box_error(&first);
            rig.exchange(
                "sim0",
                &first,
                &[("sim0", told)],
                &f.counted(&refused("ttl")),
            );
            let second = probe.clone().ttl(2);
            rig.exchange(
                "sim0",
                &second,
                &[("sim1", second.hop())],
                &f.counted(
                    "received passed searches 2 sim0.in#.pass sim1.out#.pass r0.evals r0.in r0.out r0.made",
                ),
            );
            // The next router's answer comes back by the states of the probe.
            let told = error(f.router, &second.hop(), Error::TimeExceeded);
            rig.exchange(
                "sim1",
                &told,
                &[("sim0", told.hop())],
                &f.counted("received passed searches 2 sim1.in#.pass sim0.out#.pass r0.in r0.out"),
            );
        }
    });
}

#[test]
fn a_ttl_of_zero_is_refused_like_one() {
    both("pass", &usual(), |rig, f| {
        let packet = udp(&at(f.a, 1), &at(f.b, 1)).ttl(0);
        let told = error(f.box0, &packet, Error::TimeExceeded).as_box_error(&packet);
        rig.exchange(
            "sim0",
            &packet,
            &[("sim0", told)],
            &f.counted(&refused("ttl")),
        );
    });
}

#[test]
fn what_does_not_fit_the_next_link_is_refused_with_its_mtu() {
    let topology = usual().mtu("sim1", 1400);
    both("pass", &topology, |rig, f| {
        let headers = if f.digit == "4" { 28 } else { 48 };
        let fits = udp(&at(f.a, 1), &at(f.b, 1)).df().data(1400 - headers);
        rig.send("sim0", &fits);
        rig.expect("sim1", &fits.hop());
        rig.mark();
        let large = udp(&at(f.a, 1), &at(f.b, 1)).df().data(1401 - headers);
        // The states exist; the packet is counted out on sim1 before its size is found out.
        let told = error(f.box0, &large.hop(), Error::TooBig(1400)).as_box_error(&large);
        rig.exchange(
            "sim0",
            &large,
            &[("sim0", told)],
            &f.counted(
                "received drop:mtu generated passed searches 2 sim0.in#.pass sim1.out#.pass sim0.out#.pass
                 r0.in r0.out 2",
            ),
        );
    });
}

#[test]
fn what_may_be_cut_is_cut_to_the_next_links_mtu() {
    let topology = usual().mtu("sim1", 1300);
    everywhere("pass", &topology, |rig| {
        let large = udp("192.0.2.2:1", "198.51.100.2:1").data(1472);
        let pieces: Vec<(&str, Packet)> = large
            .hop()
            .pieces(1280)
            .into_iter()
            .map(|p| ("sim1", p))
            .collect();
        assert_eq!(pieces.len(), 2);
        rig.exchange(
            "sim0",
            &large,
            &pieces,
            "received consumed generated 2 passed 2 searches 2 sim0.in4.pass sim1.out4.pass
             r0.evals 2 r0.in r0.out r0.made 2",
        );
    });
}

#[test]
fn the_longest_matching_route_is_taken() {
    let topology = usual()
        .interface("sim2", &["10.9.0.1/24", "2001:db8:9::1/64"])
        .host(&["10.9.0.2", "2001:db8:9::2"])
        .behind(&["203.0.113.8/30", "2001:db8:ffff::8/125"])
        .route("203.0.113.8/30", "10.9.0.2")
        .route("2001:db8:ffff::8/125", "2001:db8:9::2");
    both("", &topology, |rig, f| {
        let near = if f.digit == "4" {
            "203.0.113.9"
        } else {
            "2001:db8:ffff::9"
        };
        let other = if f.digit == "4" {
            "203.0.113.12"
        } else {
            "2001:db8:ffff::19"
        };
        for (to, port) in [(near, "sim2"), (other, "sim1")] {
            let there = udp(&at(f.a, 1), &at(to, 1));
            let counted = format!(
                "received passed searches 2 sim0.in#.pass {port}.out#.pass default.in default.out"
            );
            rig.exchange("sim0", &there, &[(port, there.hop())], &f.counted(&counted));
        }
    });
}

#[test]
fn without_a_route_the_sender_is_told() {
    let topology = Topology::new()
        .interface("sim0", &["192.0.2.1/24", "2001:db8:1::1/64"])
        .host(&["192.0.2.2", "2001:db8:1::2"])
        .route("198.51.100.0/24", "reject")
        .route("2001:db8:2::/64", "reject")
        .route("203.0.113.0/24", "blackhole")
        .route("2001:db8:ffff::/48", "blackhole");
    let nowhere = |f: &crate::Family| {
        if f.digit == "4" {
            "8.8.8.8"
        } else {
            "2001:4860::8"
        }
    };
    both("pass", &topology, |rig, f| {
        for to in [nowhere(&f), f.b] {
            let packet = udp(&at(f.a, 1), &at(to, 1));
            let told = error(f.box0, &packet, Error::Unreachable(1, 3)).as_box_error(&packet);
            rig.exchange(
                "sim0",
                &packet,
                &[("sim0", told)],
                &f.counted(&refused("no-route")),
            );
        }
        // A black hole is silent.
        rig.exchange(
            "sim0",
            &udp(&at(f.a, 1), &at(f.far, 1)),
            &[],
            &f.counted("received drop:no-route searches sim0.in#.pass r0.evals r0.in r0.made"),
        );
    });
}

#[test]
fn addresses_that_may_not_travel_are_dropped_in_silence() {
    let passed_in = "received searches sim0.in#.pass default.in";
    everywhere("", &usual(), |rig| {
        for (what, src, dst, reason) in [
            ("loopback source", "127.0.0.1", B, "martian"),
            ("this network as source", "0.0.0.0", B, "martian"),
            ("multicast source", "224.0.0.5", B, "martian"),
            ("reserved source", "240.0.0.1", B, "martian"),
            ("broadcast source", "255.255.255.255", B, "martian"),
            ("our own address as source", "198.51.100.1", B, "martian"),
            ("link-local source", "169.254.1.1", B, "martian"),
            ("loopback destination", A, "127.0.0.1", "martian"),
            ("reserved destination", A, "240.0.0.1", "martian"),
            ("multicast destination", A, "224.0.0.5", "multicast"),
            ("administered group", A, "239.1.2.3", "multicast"),
        ] {
            let packet = udp(&at(src, 1), &at(dst, 1));
            eprintln!("{what}");
            let counted = format!("{passed_in} drop:{reason}").replace('#', "4");
            rig.exchange("sim0", &packet, &[], &counted);
        }
        for (what, src, dst, reason) in [
            ("loopback source", "::1", B6, "martian"),
            ("unspecified source", "::", B6, "martian"),
            ("multicast source", "ff02::1", B6, "martian"),
            ("IPv4-mapped source", "::ffff:192.0.2.9", B6, "martian"),
            ("IPv4-compatible source", "::192.0.2.9", B6, "martian"),
            ("our own address as source", "2001:db8:2::1", B6, "martian"),
            ("link-local source", "fe80::7", B6, "martian"),
            ("loopback destination", A6, "::1", "martian"),
            ("link-local destination", A6, "fe80::7", "no-route"),
            ("group", A6, "ff02::5", "multicast"),
            ("group of wide scope", A6, "ff0e::5", "multicast"),
        ] {
            let packet = udp(&at(src, 1), &at(dst, 1));
            eprintln!("{what}");
            let counted = format!("{passed_in} drop:{reason}").replace('#', "6");
            rig.exchange("sim0", &packet, &[], &counted);
        }
    });
}

/// A frame is dropped for `reason` before any rule is asked.
fn refuses(rig: &mut Rig, what: &str, frame: &[u8], reason: &str) {
    rig.mark();
    rig.send_frame("sim0", frame);
    rig.expect_nothing_more();
    let changes = packets::tally::written(&rig.changes());
    assert_eq!(changes, format!("drop:{reason} received"), "{what}");
}

#[test]
fn frames_that_are_not_for_us_or_not_ip_are_dropped_before_the_rules() {
    everywhere("block return", &usual(), |rig| {
        let host = rig.station("sim0", A.parse().unwrap());
        let own = rig.mac("sim0");
        let ip = udp("192.0.2.2:1", "198.51.100.2:1").bytes();
        let ip_frame = |dst| packet::frame(host, dst, EtherType::IPV4, &ip);
        let other = rig.station("sim1", B.parse().unwrap());
        let mut tagged = packet::frame(host, own, EtherType::VLAN, &[0, 7, 8, 0]);
        tagged.extend(&ip);
        let mut cut_tag = packet::frame(host, own, EtherType::VLAN, &[0, 7]);
        cut_tag.truncate(16);
        for (what, frame, reason) in [
            ("another station's", ip_frame(other), "other-host"),
            (
                "a protocol nobody speaks",
                packet::frame(host, own, EtherType(0x88cc), &ip),
                "ethernet",
            ),
            ("shorter than a header", own.0.to_vec(), "ethernet"),
            ("a VLAN nobody configured", tagged, "unknown-vlan"),
            ("a cut tag", cut_tag, "unknown-vlan"),
            (
                "no IP header",
                packet::frame(host, own, EtherType::IPV4, &[]),
                "short",
            ),
            (
                "cut IP header",
                packet::frame(host, own, EtherType::IPV4, &ip[..19]),
                "short",
            ),
            (
                "cut IPv6 header",
                packet::frame(host, own, EtherType::IPV6, &[0x60; 39]),
                "short",
            ),
            (
                "IPv6 called IPv4",
                packet::frame(host, own, EtherType::IPV4, &[0x60; 60]),
                "normalize",
            ),
        ] {
            refuses(rig, what, &frame, reason);
        }
    });
}

#[test]
fn a_priority_tag_is_no_vlan_and_padding_is_no_packet() {
    everywhere("pass", &usual(), |rig| {
        let there = udp("192.0.2.2:1", "198.51.100.2:1");
        let host = rig.station("sim0", A.parse().unwrap());
        let own = rig.mac("sim0");
        // IEEE 802.1Q 6.9.1: VLAN 0 says only a priority.
        let mut payload = vec![0x60, 0, 8, 0];
        payload.extend(there.bytes());
        payload.extend([0xee; 20]);
        rig.send_frame("sim0", &packet::frame(host, own, EtherType::VLAN, &payload));
        rig.expect("sim1", &there.hop());
        rig.counted(
            "received passed searches 2 sim0.in4.pass sim1.out4.pass r0.evals 2 r0.in r0.out r0.made 2",
        );
        let mut padded = there.frame(host, own);
        padded.extend([0xee; 13]);
        rig.send_frame("sim0", &padded);
        rig.expect("sim1", &there.hop());
        rig.counted("received passed searches sim0.in4.pass sim1.out4.pass r0.in r0.out");
    });
}

#[test]
fn headers_that_break_their_rules_are_dropped_before_the_rules() {
    let spoiled = |packet: &Packet, at: usize, byte: u8| {
        let mut bytes = packet.bytes();
        bytes[at] = byte;
        bytes
    };
    everywhere("block return", &usual(), |rig| {
        let (host, own) = (rig.station("sim0", A.parse().unwrap()), rig.mac("sim0"));
        let four = udp("192.0.2.2:1", "198.51.100.2:1");
        let six = udp(&at(A6, 1), &at(B6, 1));
        let syn = tcp("192.0.2.2:1", "198.51.100.2:1", "S");
        for (what, af, bytes, reason) in [
            (
                "IPv4 header checksum",
                4,
                spoiled(&four, 10, 0),
                "proto-cksum",
            ),
            ("header length 16", 4, spoiled(&four, 0, 0x44), "normalize"),
            (
                "longer than the frame",
                4,
                spoiled(&four, 3, 0xff),
                "normalize",
            ),
            (
                "UDP shorter than its header",
                4,
                spoiled(&four, 25, 7),
                "normalize",
            ),
            (
                "UDP longer than the packet",
                4,
                spoiled(&four, 25, 60),
                "normalize",
            ),
            (
                "TCP offset within the header",
                4,
                spoiled(&syn, 32, 0x40),
                "normalize",
            ),
            (
                "TCP offset beyond the packet",
                4,
                spoiled(&syn, 32, 0xf0),
                "normalize",
            ),
            ("SYN and FIN", 4, spoiled(&syn, 33, 0x03), "normalize"),
            ("no flag", 4, spoiled(&syn, 33, 0x00), "normalize"),
            (
                "ICMPv6 in IPv4",
                4,
                raw(A, B, 58, &[128, 0, 0, 0, 0, 1, 0, 1]).bytes(),
                "normalize",
            ),
            (
                "ICMP in IPv6",
                6,
                raw(A6, B6, 1, &[8, 0, 0, 0, 0, 1, 0, 1]).bytes(),
                "normalize",
            ),
            ("cut UDP header", 4, raw(A, B, 17, &[0; 7]).bytes(), "short"),
            (
                "cut TCP header",
                6,
                raw(A6, B6, 6, &[0; 19]).bytes(),
                "short",
            ),
            (
                "IPv6 longer than the frame",
                6,
                spoiled(&six, 5, 0xff),
                "normalize",
            ),
        ] {
            let ethertype = if af == 4 {
                EtherType::IPV4
            } else {
                EtherType::IPV6
            };
            refuses(
                rig,
                what,
                &packet::frame(host, own, ethertype, &bytes),
                reason,
            );
        }
    });
}

#[test]
fn an_interface_that_is_down_takes_and_sends_nothing() {
    let there = udp("192.0.2.2:1", "198.51.100.2:1");
    let policy = "pass";
    everywhere(policy, &usual(), |rig| {
        rig.send("sim0", &there);
        rig.expect("sim1", &there.hop());
        rig.rewire(|t| t.ports[0].up = false, policy);
        rig.mark();
        rig.exchange("sim0", &there, &[], "received drop:interface-down");
        // The other way: no route leads over it any more; the default route leads back to where it came from.
        rig.rewire(|t| (t.ports[0].up, t.ports[1].up) = (true, false), policy);
        rig.mark();
        let told = error("192.0.2.1", &there, Error::Unreachable(1, 3)).as_box_error(&there);
        rig.exchange(
            "sim0",
            &there,
            &[("sim0", told)],
            "received drop:no-route generated passed searches 2 sim0.in4.pass sim0.out4.pass r0.in r0.out",
        );
        rig.rewire(|t| t.ports[1].up = true, policy);
        rig.mark();
        rig.exchange(
            "sim0",
            &there,
            &[("sim1", there.hop())],
            "received passed searches sim0.in4.pass sim1.out4.pass r0.in r0.out",
        );
    });
}

#[test]
fn before_the_first_configuration_nothing_passes() {
    let topology = usual();
    let mut rig = packets::Rig::unconfigured(&topology, packets::Spread::ONE);
    for packet in [
        udp("192.0.2.2:1", "198.51.100.2:1"),
        echo(A, "192.0.2.1", 1, 1),
        echo(A, FAR, 1, 1),
    ] {
        rig.exchange("sim0", &packet, &[], "received drop:interface-down");
    }
}
