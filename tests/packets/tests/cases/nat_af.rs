//! `af-to`: IPv6 hosts talk to IPv4 ones, and the other way round.

use packets::packet::{Error, error};
use packets::{Packet, Rig, Topology, echo, everywhere, tcp, udp};
use state::{State, StateFlags};

use crate::{A, A6, B, FAR, at};

/// The outside host and one far away, under the well-known prefix.
const B64: &str = "64:ff9b::c633:6402";
const FAR64: &str = "64:ff9b::cb00:7109";
const BOX4: &str = "198.51.100.1";

const TO_INET: &str = "pass in on sim0 inet6 from any to 64:ff9b::/96 af-to inet from 198.51.100.1";
const TO_INET6: &str = "pass in on sim0 inet af-to inet6 from 2001:db8:2::1 to 2001:db8:ffff::/96";

/// The end that the connection from `inside` has in the other family.
fn given(rig: &Rig, inside: &str) -> String {
    let of = |st: &State| {
        let changes = st.flags.contains(StateFlags::CHANGES_FAMILY);
        let source = crate::nat_to::text(st.wire.af(), st.wire.end(0));
        (changes && source == inside).then(|| crate::nat_to::text(st.stack.af(), st.stack.end(1)))
    };
    let all: Vec<String> = rig.states().iter().filter_map(of).collect();
    assert_eq!(all.len(), 1, "translations of {inside}: {all:?}");
    all.into_iter().next().expect("one")
}

/// As the box writes IPv4 headers of packets that came in IPv6.
fn four(packet: Packet) -> Packet {
    packet.ident(0).df()
}

#[test]
fn an_ipv6_host_talks_to_an_ipv4_one() {
    everywhere(TO_INET, &Topology::usual(), |rig| {
        for n in 1..12 {
            let inside = at(A6, 1000 + n);
            let there = udp(&inside, &at(B64, 53))
                .data(100 + usize::from(n))
                .tos(0x48);
            rig.send("sim0", &there);
            let outside = given(rig, &inside);
            assert!(outside.starts_with("198.51.100.1:"), "{outside}");
            let inner = udp(&outside, &at(B, 53))
                .data(100 + usize::from(n))
                .tos(0x48);
            rig.expect("sim1", &four(inner.clone()).hop());
            rig.send("sim1", &inner.answer());
            rig.expect("sim0", &there.answer().hop());
        }
    });
}

#[test]
fn tcp_and_echo_change_their_family_with_right_checksums() {
    everywhere(TO_INET, &Topology::usual(), |rig| {
        let inside = at(A6, 4000);
        let syn = tcp(&inside, &at(FAR64, 80), "S").seq(7).wscale(3);
        rig.send("sim0", &syn);
        let outside = given(rig, &inside);
        let inner = |flags| tcp(&outside, &at(FAR, 80), flags).seq(7).wscale(3);
        rig.expect("sim1", &four(inner("S")).hop());
        let back = tcp(&at(FAR, 80), &outside, "SA").seq(900).ack(8);
        rig.send("sim1", &back);
        let expected = tcp(&at(FAR64, 80), &inside, "SA").seq(900).ack(8);
        rig.expect("sim0", &expected.hop());
        for n in 1..8 {
            let ask = echo(A6, B64, 70 + n, n);
            rig.send("sim0", &ask);
            let outside = given(rig, &at(A6, 70 + n));
            let ident: u16 = outside.rsplit(':').next().unwrap().parse().unwrap();
            let inner = echo(BOX4, B, ident, n);
            rig.expect("sim1", &four(inner.clone()).hop());
            rig.send("sim1", &inner.answer());
            rig.expect("sim0", &ask.answer().hop());
        }
    });
}

#[test]
fn an_ipv4_host_talks_to_an_ipv6_one() {
    let policy = TO_INET6;
    everywhere(policy, &Topology::usual(), |rig| {
        for n in 1..10 {
            let inside = at(A, 1000 + n);
            let there = udp(&inside, &at(FAR, 53)).data(64);
            rig.send("sim0", &there);
            let outside = given(rig, &inside);
            let server = "[2001:db8:ffff::cb00:7109]:53";
            let inner = udp(&outside, server).data(64);
            rig.expect("sim1", &inner.hop());
            rig.send("sim1", &inner.answer());
            rig.expect("sim0", &four(there.answer()).hop());
        }
    });
}

/// fbsd:nat64.py test_udp_port_closed
#[test]
fn test_udp_port_closed() {
    everywhere(TO_INET, &Topology::usual(), |rig| {
        for n in 1..8 {
            let inside = at(A6, 1000 + n);
            let there = udp(&inside, &at(B64, 9));
            rig.send("sim0", &there);
            let outside = given(rig, &inside);
            let inner = four(udp(&outside, &at(B, 9))).hop();
            rig.expect("sim1", &inner);
            rig.send("sim1", &error(B, &inner, Error::Unreachable(3, 4)));
            rig.expect(
                "sim0",
                &error(B64, &there.hop(), Error::Unreachable(3, 4)).hop(),
            );
        }
    });
}

/// fbsd:nat64.py test_udp_checksum
#[test]
fn test_udp_checksum() {
    everywhere(TO_INET6, &Topology::usual(), |rig| {
        let inside = at(A, 1000);
        let mut bytes = udp(&inside, &at(FAR, 53)).data(33).bytes();
        bytes[26..28].copy_from_slice(&[0, 0]);
        let (host, own) = (rig.station("sim0", A.parse().unwrap()), rig.mac("sim0"));
        let mut frame = [own.0, host.0].concat();
        frame.extend([8, 0]);
        frame.extend(bytes);
        rig.send_frame("sim0", &frame);
        let outside = given(rig, &inside);
        let inner = udp(&outside, "[2001:db8:ffff::cb00:7109]:53").data(33);
        rig.expect("sim1", &inner.hop());
    });
}

#[test]
fn errors_of_the_box_come_in_the_family_of_the_sender() {
    let narrow = Topology::usual().mtu("sim1", 1300);
    everywhere(TO_INET, &narrow, |rig| {
        let late = udp(&at(A6, 5), &at(B64, 53)).ttl(1);
        rig.send("sim0", &late);
        let told = error("2001:db8:1::1", &late, Error::TimeExceeded).as_box_error(&late);
        rig.expect("sim0", &told);
        let large = udp(&at(A6, 6), &at(B64, 53)).data(1280);
        rig.send("sim0", &large);
        let told = error("2001:db8:1::1", &large, Error::TooBig(1320)).as_box_error(&large);
        rig.expect("sim0", &told);
    });
}

#[test]
fn routers_on_the_way_show_and_tell_their_mtu() {
    everywhere(TO_INET, &Topology::usual(), |rig| {
        let inside = at(A6, 5);
        let there = udp(&inside, &at(FAR64, 33434)).data(1400);
        rig.send("sim0", &there);
        let outside = given(rig, &inside);
        let inner = four(udp(&outside, &at(FAR, 33434)).data(1400)).hop();
        rig.expect("sim1", &inner);
        for (what, expected) in [
            (Error::TimeExceeded, Error::TimeExceeded),
            (Error::TooBig(1400), Error::TooBig(1420)),
        ] {
            rig.send("sim1", &error("198.51.100.254", &inner, what));
            let frame = rig.take("sim0").expect("an error");
            // The quotation of IPv4 is shorter: compare what is there.
            let whole = error("64:ff9b::c633:64fe", &there.hop(), expected)
                .hop()
                .bytes();
            assert_eq!(frame[14 + 8..14 + 40], whole[8..40], "addresses");
            assert_eq!(frame[54..56], whole[40..42], "type and code");
            assert_eq!(frame[58..62], whole[44..48], "MTU");
            assert_eq!(frame[62..118], whole[48..104], "quotation");
        }
    });
}

/// fbsd:nat64.sh fragmentation_in
#[test]
fn fragmentation_in() {
    let policy = format!("set reassemble yes\n{TO_INET}\npass out");
    everywhere(&policy, &Topology::usual(), |rig| {
        for (n, len) in [(1, 1280), (2, 2000), (3, 10000)] {
            let ask = echo(A6, B64, 70 + n, n).data(len);
            for piece in pieces6(&ask) {
                rig.send("sim0", &piece);
            }
            let outside = given(rig, &at(A6, 70 + n));
            let ident: u16 = outside.rsplit(':').next().unwrap().parse().unwrap();
            let mut got = Vec::new();
            while let Some(frame) = rig.take("sim1") {
                let offset = usize::from(u16::from_be_bytes([frame[20], frame[21]]) & 0x1fff) * 8;
                got.resize(got.len().max(offset + frame.len() - 34), 0);
                got[offset..offset + frame.len() - 34].copy_from_slice(&frame[34..]);
            }
            let inner = echo(BOX4, B, ident, n).data(len);
            assert_eq!(got, inner.bytes()[20..], "{len}");
        }
    });
}

/// A datagram as a host with an MTU of 1500 sends it.
fn pieces6(packet: &Packet) -> Vec<Packet> {
    if packet.len() <= 1500 {
        return vec![packet.clone()];
    }
    packet.pieces(1448)
}

#[test]
fn what_has_nothing_alike_is_dropped() {
    everywhere(TO_INET, &Topology::usual(), |rig| {
        rig.mark();
        let node_information = packets::packet::icmp_message(A6, B64, 139, 0, [0; 4], b"name");
        rig.send("sim0", &node_information);
        rig.expect_nothing_more();
        assert_eq!(rig.changes().get("drop:translate"), Some(&1));
    });
}

/// fbsd:nat64.sh table_round_robin
#[test]
fn table_round_robin() {
    let policy = "table <outer> { 198.51.100.7, 198.51.100.8, 198.51.100.9 }\n\
                  pass in on sim0 inet6 from any to 64:ff9b::/96 af-to inet from <outer> round-robin";
    everywhere(policy, &Topology::usual(), |rig| {
        let mut seen = std::collections::BTreeSet::new();
        for n in 1..7 {
            let inside = at(A6, 1000 + n);
            rig.send("sim0", &udp(&inside, &at(B64, 53)));
            let outside = given(rig, &inside);
            rig.expect("sim1", &four(udp(&outside, &at(B, 53))).hop());
            seen.insert(outside.split(':').next().unwrap().to_string());
        }
        assert_eq!(seen.len(), 3);
    });
}

/// Connections of the inside host, and the addresses that they get.
fn sources(policy: &str, wanted: &[&str]) {
    everywhere(policy, &Topology::usual(), |rig| {
        let mut seen = std::collections::BTreeSet::new();
        for n in 1..40 {
            let inside = at(A6, 1000 + n);
            rig.send("sim0", &udp(&inside, &at(B64, 53)));
            let outside = given(rig, &inside);
            rig.expect("sim1", &four(udp(&outside, &at(B, 53))).hop());
            seen.insert(outside.split(':').next().unwrap().to_string());
        }
        assert!(seen.iter().eq(wanted), "{seen:?}");
    });
}

/// fbsd:nat64.sh table_range
#[test]
fn table_range() {
    let policy = "table <outer> { 198.51.100.8/31 }\n\
                  pass in on sim0 inet6 from any to 64:ff9b::/96 af-to inet from <outer> round-robin";
    sources(policy, &["198.51.100.8", "198.51.100.9"]);
}

/// fbsd:nat64.sh table_random
#[test]
fn table_random() {
    let policy = "table <outer> { 198.51.100.7, 198.51.100.9 }\n\
                  pass in on sim0 inet6 from any to 64:ff9b::/96 af-to inet from <outer> random";
    sources(policy, &["198.51.100.7", "198.51.100.9"]);
}

/// fbsd:nat64.sh gateway6
#[test]
fn gateway6() {
    let topology = Topology::new()
        .interface("sim0", &["192.0.2.1/24", "2001:db8:1::1/64"])
        .host(&[A6])
        .behind(&["2001:db8:9::/64"])
        .route("2001:db8:9::/64", A6)
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[B]);
    everywhere(TO_INET, &topology, |rig| {
        let inside = at("2001:db8:9::5", 77);
        let there = tcp(&inside, &at(B64, 80), "S");
        rig.send("sim0", &there);
        let outside = given(rig, &inside);
        let inner = tcp(&outside, &at(B, 80), "S");
        rig.expect("sim1", &four(inner.clone()).hop());
        rig.send("sim1", &inner.answer().with_flags("SA").ack(1001));
        let back = there.answer().with_flags("SA").ack(1001);
        rig.expect("sim0", &back.hop());
    });
}

/// fbsd:nat64.sh scrub_min_ttl
#[test]
fn scrub_min_ttl() {
    let policy = format!("match in on sim0 scrub (min-ttl 50)\n{TO_INET}");
    everywhere(&policy, &Topology::usual(), |rig| {
        let inside = at(A6, 77);
        rig.send("sim0", &udp(&inside, &at(B64, 53)).ttl(5));
        let outside = given(rig, &inside);
        rig.expect("sim1", &four(udp(&outside, &at(B, 53))).ttl(49));
    });
}
