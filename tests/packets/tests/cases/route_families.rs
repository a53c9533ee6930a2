//! Next hops and families: `route-to` and `reply-to` with `af-to`, and next hops of the other family.

use packets::packet::{Error, error};
use packets::{Packet, Rig, Topology, everywhere, tcp, udp};
use state::{State, StateFlags};

use crate::{A, A6, at};

const GW2: &str = "203.0.113.254";
const GW2_6: &str = "2001:db8:3::fe";
/// Beyond both uplinks, in IPv4 and under the well-known prefix.
const BEYOND: &str = "100.64.0.9";
const BEYOND64: &str = "64:ff9b::6440:9";

/// Two uplinks; the default routes go by the first.
fn uplinks() -> Topology {
    Topology::usual()
        .interface("sim2", &["203.0.113.1/24", "2001:db8:3::1/64"])
        .host(&[GW2, GW2_6])
        .behind(&["0.0.0.0/0", "::/0"])
}

fn via(rig: &mut Rig, port: &str, next_hop: &str, packet: &Packet) {
    rig.expect_via(port, next_hop.parse().expect("an address"), packet);
}

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
fn af_to_and_route_to() {
    let policy = format!(
        "block\npass in on sim0 route-to (sim2 {GW2}) inet6 from any to 64:ff9b::/96 af-to inet from 203.0.113.1"
    );
    everywhere(&policy, &uplinks(), |rig| {
        for n in 1..8 {
            let inside = at(A6, 1000 + n);
            let there = udp(&inside, &at(BEYOND64, 53));
            for _ in 0..2 {
                rig.send("sim0", &there);
                let inner = udp(&given(rig, &inside), &at(BEYOND, 53));
                via(rig, "sim2", GW2, &four(inner.clone()).hop());
                rig.send("sim2", &inner.answer());
                rig.expect("sim0", &there.answer().hop());
                rig.expect_nothing_more();
            }
        }
    });
}

#[test]
fn af_to_and_reply_to() {
    // IPv6 clients beyond the second uplink reach a server of IPv4; the default route goes by the first.
    let client = "2001:db8:9::9";
    let server = "64:ff9b::c000:202";
    let policy = format!(
        "block\npass in on sim2 reply-to (sim2 {GW2_6}) inet6 proto tcp from any to 64:ff9b::/96 af-to inet from 192.0.2.1"
    );
    everywhere(&policy, &uplinks(), |rig| {
        for n in 1..8 {
            let outside = at(client, 1000 + n);
            let syn = tcp(&outside, &at(server, 80), "S");
            rig.send("sim2", &syn);
            let source = given(rig, &outside);
            let inner = four(tcp(&source, &at(A, 80), "S")).hop();
            rig.expect("sim0", &inner);
            let back = tcp(&at(A, 80), &source, "SA").seq(77).ack(1001);
            rig.send("sim0", &back);
            let expected = tcp(&at(server, 80), &outside, "SA").seq(77).ack(1001);
            via(rig, "sim2", GW2_6, &expected.hop());
            rig.expect_nothing_more();
        }
    });
}

#[test]
fn errors_about_such_packets_find_their_way() {
    let policy = format!(
        "block\npass in on sim0 route-to (sim2 {GW2}) inet6 from any to 64:ff9b::/96 af-to inet from 203.0.113.1"
    );
    everywhere(&policy, &uplinks(), |rig| {
        let there = udp(&at(A6, 1000), &at(BEYOND64, 53));
        rig.send("sim0", &there);
        let inner = four(udp(&given(rig, &at(A6, 1000)), &at(BEYOND, 53))).hop();
        via(rig, "sim2", GW2, &inner);
        rig.send("sim2", &error(GW2, &inner, Error::TimeExceeded));
        assert!(rig.take("sim0").is_some());
        rig.expect_nothing_more();
        // What ends at the box is told in the family of the sender.
        let last = there.clone().ttl(1);
        rig.send("sim0", &last);
        let told = error("2001:db8:1::1", &last, Error::TimeExceeded).as_box_error(&last);
        rig.expect("sim0", &told);
        rig.expect_nothing_more();
    });
}

/// fbsd:nat64.sh v6_gateway
#[test]
fn v6_gateway() {
    let policy = format!(
        "block\npass in on sim0 route-to (sim2 {GW2_6}) inet6 from any to 64:ff9b::/96 af-to inet from 203.0.113.1"
    );
    everywhere(&policy, &uplinks(), |rig| {
        let inside = at(A6, 1000);
        let there = udp(&inside, &at(BEYOND64, 53));
        rig.send("sim0", &there);
        let inner = udp(&given(rig, &inside), &at(BEYOND, 53));
        via(rig, "sim2", GW2_6, &four(inner.clone()).hop());
        rig.send("sim2", &inner.answer());
        rig.expect("sim0", &there.answer().hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn a_next_hop_of_ipv6_is_preferred() {
    // A router that has only an address of IPv6 on this link.
    let topology = Topology::usual()
        .interface("sim2", &["203.0.113.1/24", "2001:db8:3::1/64"])
        .host(&[GW2_6])
        .behind(&["0.0.0.0/0", "::/0"]);
    for rule in [
        format!("pass in on sim0 route-to (sim2 {GW2_6}) prefer-ipv6-nexthop inet"),
        format!("pass in on sim0 inet route-to {GW2_6} prefer-ipv6-nexthop"),
        format!(
            "pass in on sim0 route-to {{ (sim2 {GW2}), (sim2 {GW2_6}) }} prefer-ipv6-nexthop inet"
        ),
    ] {
        let policy = format!("pass\n{rule}");
        everywhere(&policy, &topology, |rig| {
            let packet = udp(&at(A, 1), &at(BEYOND, 2));
            for _ in 0..2 {
                rig.send("sim0", &packet);
                via(rig, "sim2", GW2_6, &packet.hop());
                rig.expect_nothing_more();
            }
            let back = packet.answer();
            rig.send("sim2", &back);
            rig.expect("sim0", &back.hop());
            rig.expect_nothing_more();
        });
    }
}
