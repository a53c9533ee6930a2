//! As many VLANs as a link can have: each is an interface of its own, and its packets are counted there and nowhere else.

use std::net::Ipv4Addr;

use packets::rig::arp_frame;
use packets::{Rig, Spread, Topology, udp};
use wire::arp;
use wire::ether::Addr;

/// Of the 4,094 that there can be.
const VLANS: u16 = 4000;
/// VLANs after which a second passes: a box asks for no more than so many neighbors in one.
const SECOND: u16 = 900;
/// A host on the third card.
const FAR: &str = "198.51.100.2";

/// The VLAN's network, of which the box is 1 and a host is 2.
fn address(vid: u16, last: u8) -> Ipv4Addr {
    let [high, low] = vid.to_be_bytes();
    Ipv4Addr::new(10, high, low, last)
}

fn station(vid: u16) -> Addr {
    let [high, low] = vid.to_be_bytes();
    Addr([2, 0xee, 0, 0, high, low])
}

/// Half of them are on one card, half on the other.
fn parent(vid: u16) -> &'static str {
    if vid.is_multiple_of(2) {
        "sim0"
    } else {
        "sim1"
    }
}

fn topology() -> Topology {
    let cards = Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &[])
        .interface("sim2", &["198.51.100.1/24"])
        .host(&[FAR]);
    (1..=VLANS).fold(cards, |topology, vid| {
        let own = format!("{}/24", address(vid, 1));
        topology.vlan(&format!("vlan{vid}"), parent(vid), vid, &[&own])
    })
}

/// The box asks who the host is, by the VLAN and nowhere else, and is told.
fn answer(rig: &mut Rig, name: &str, vid: u16) {
    let asked = rig.take(name).expect("a question");
    assert_eq!(asked[38..42], address(vid, 2).octets());
    let mut reply = arp_frame(&arp::Repr {
        operation: arp::Operation::REPLY,
        sender_ether: station(vid),
        sender_ip: address(vid, 2),
        target_ether: rig.mac(parent(vid)),
        target_ip: address(vid, 1),
    });
    let own = rig.mac(parent(vid));
    reply[..6].copy_from_slice(&own.0);
    rig.send_frame(name, &reply);
}

#[test]
fn four_thousand_vlans_each_pass_a_packet_and_its_answer() {
    let topology = topology();
    for spread in [Spread::ALL[0], Spread::ALL[3]] {
        let mut rig = Rig::with("pass no state", &topology, spread);
        rig.mark();
        for vid in 1..=VLANS {
            let name = format!("vlan{vid}");
            let host = format!("{}:7", address(vid, 2));
            let there = udp(&host, &format!("{FAR}:7"));
            let own = rig.mac(parent(vid));
            rig.send_frame(&name, &there.frame(station(vid), own));
            rig.expect("sim2", &there.hop());
            let back = udp(&format!("{FAR}:7"), &host);
            rig.send("sim2", &back);
            answer(&mut rig, &name, vid);
            rig.expect_frame(&name, &back.hop().frame(own, station(vid)));
            rig.expect_nothing_more();
            if vid % SECOND == 0 {
                rig.advance(1000);
            }
        }
        let each = (1..=VLANS).map(|vid| {
            format!("vlan{vid}.rx 2 vlan{vid}.tx 2 vlan{vid}.in4.pass vlan{vid}.out4.pass ")
        });
        let n = i64::from(VLANS);
        rig.counted(&format!(
            "received {} consumed {n} generated {n} passed {} searches {} sim2.in4.pass {n} sim2.out4.pass {n}
             r0.evals {} r0.in {} r0.out {} {}",
            3 * n,
            3 * n,
            4 * n,
            4 * n,
            2 * n,
            2 * n,
            each.collect::<String>()
        ));
        // Frames of a VLAN that nobody has configured.
        let stray = udp(&format!("{}:7", address(7, 2)), &format!("{FAR}:7"));
        let own = rig.mac("sim0");
        let mut frame = stray.frame(station(7), own);
        frame.splice(12..12, [0x81, 0, 0x0f, 0xfe]);
        rig.send_frame("sim0", &frame);
        rig.counted("received drop:unknown-vlan");
        rig.finish();
    }
}
