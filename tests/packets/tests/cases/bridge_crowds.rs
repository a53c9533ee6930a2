//! Bridges among very many stations: what is remembered is bounded over all workers, what it takes to find that out is
//! bounded too, and every frame is counted. With as many stations as `FUGU_STATIONS` says, 20,000 if it says nothing:
//! `FUGU_STATIONS=1000000 cargo test --release -p packets bridge_crowds`.
//!
//! Nothing is allocated in any turn: the rig ends the program if something is.

use std::net::Ipv4Addr;

use net::InterfaceId;
use packets::rig::arp_frame;
use packets::{Packet, Rig, Spread, Topology, udp};
use wire::arp;
use wire::ether::Addr;

use crate::bridge_packets::{A, B, between, three, two};

/// Frames between two looks at what left.
const BURST: u32 = 500;
/// `maxaddr`
const LIMIT: u32 = 1000;
/// The bridge of three members.
const BRIDGE: InterfaceId = InterfaceId(3);
/// Seconds that stations are remembered.
const TIMEOUT_MS: u64 = 240_000;
/// Milliseconds with turns in which the whole table has been looked at: 32 places at a time, twice as many as there can be
/// stations, and those once more that become empty.
const SWEEP_MS: usize = net::fdb::STATIONS_MAX * 3 / 32;

/// One worker, and several with and without a flow hash of the cards.
const SPREADS: [Spread; 3] = [Spread::ALL[0], Spread::ALL[3], Spread::ALL[4]];

fn stations() -> u32 {
    let wanted = std::env::var("FUGU_STATIONS").ok();
    wanted.map_or(20_000, |n| n.parse().expect("FUGU_STATIONS: a number"))
}

fn station(n: u32) -> Addr {
    let [a, b, c, d] = n.to_be_bytes();
    Addr([2, 1, a, b, c, d])
}

/// Of station `n` to B, from an address of its own, so that cards spread them.
fn packet(n: u32) -> Packet {
    let from = Ipv4Addr::from_bits(0x0a00_0000 + n);
    udp(&format!("{from}:7"), "192.0.2.3:7")
}

/// Each station sends a packet to B, who is known.
fn crowd(rig: &mut Rig, count: u32) {
    for n in 0..count {
        rig.send_frame("sim0", &between(&packet(n), station(n), B));
        if n % BURST == 0 {
            rig.ignore_rest();
        }
    }
    rig.ignore_rest();
}

/// A frame of B's to a station: by one member if the bridge knows where it is, by both others if not.
fn is_known(rig: &mut Rig, n: u32) -> bool {
    rig.send_frame(
        "sim1",
        &between(&udp("192.0.2.3:9", "192.0.2.9:9"), B, station(n)),
    );
    let known = rig.take("sim2").is_none();
    assert!(rig.take("sim0").is_some());
    rig.expect_nothing_more();
    known
}

#[test]
fn a_crowd_of_stations_takes_no_more_than_the_limit_over_all_workers() {
    let count = stations();
    let topology = three().bridged(|b| b.max_addr = LIMIT);
    for spread in SPREADS {
        let mut rig = Rig::with("pass no state", &topology, spread);
        rig.send_frame("sim1", &between(&udp("192.0.2.3:9", "192.0.2.9:9"), B, A));
        rig.ignore_rest();
        rig.mark();
        crowd(&mut rig, count);
        rig.counted(&format!(
            "received {count} passed {count} searches {two} sim0.in4.pass {count} sim1.out4.pass {count}
             r0.evals {two} r0.in {count} r0.out {count}",
            two = 2 * count
        ));
        // B is one of them; the first ones are known, and nobody else.
        let roll = rig.shared().stations.clone();
        assert_eq!(roll.count(BRIDGE), LIMIT);
        assert!(is_known(&mut rig, 0) && is_known(&mut rig, LIMIT - 2));
        assert!(!is_known(&mut rig, LIMIT - 1) && !is_known(&mut rig, count - 1));
        // Strangers of a full bridge are not searched for on the roll, but once a second and worker.
        let workers = u64::from(spread.workers);
        let asked = roll.asked();
        println!("{count} stations, {spread:?}: the roll was asked {asked} times");
        assert!(asked <= u64::from(LIMIT) * workers + 2 * workers, "{asked}");

        // They say nothing for a while; then others have their places.
        rig.advance(TIMEOUT_MS);
        for _ in 0..SWEEP_MS {
            rig.skip(1);
        }
        assert_eq!(roll.count(BRIDGE), 0);
        assert!(!is_known(&mut rig, 0));
        rig.send_frame("sim0", &between(&packet(count), station(count), B));
        rig.ignore_rest();
        assert!(is_known(&mut rig, count));
        assert_eq!(roll.count(BRIDGE), 2);
        rig.finish();
    }
}

/// "Who has 192.0.2.1?", from an address of the station's own.
fn question(n: u32) -> Vec<u8> {
    arp_frame(&arp::Repr {
        operation: arp::Operation::REQUEST,
        sender_ether: station(n),
        sender_ip: Ipv4Addr::from_bits(0xc000_0300 + n),
        target_ether: Addr::ZERO,
        target_ip: Ipv4Addr::new(192, 0, 2, 1),
    })
}

#[test]
fn a_crowd_that_asks_for_the_box_on_a_bridge_is_answered_and_remembered_within_limits() {
    let count = stations();
    let topology = Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &["192.0.2.1/8"])
        .bridge("bridge0", &["sim0", "sim1"], &[])
        .bridged(|b| b.max_addr = LIMIT);
    let mut rig = Rig::with("block", &topology, Spread::ONE);
    rig.mark();
    for n in 0..count {
        rig.send_frame("sim0", &question(n));
        if n % BURST == 0 {
            rig.ignore_rest();
        }
    }
    rig.ignore_rest();
    // Each goes on to the other member, and is answered; answers to stations that the bridge does not know go to both.
    let unknown = count - LIMIT;
    rig.counted(&format!(
        "received {count} passed {} generated {}",
        2 * count + unknown,
        count + unknown
    ));
    assert_eq!(rig.shared().stations.count(InterfaceId(2)), LIMIT);
    assert!(rig.neighbors() <= 4096, "{}", rig.neighbors());
}

#[test]
fn a_station_that_is_everywhere_at_once_is_somewhere() {
    // A loop, or somebody who wants to be taken for another.
    for spread in SPREADS {
        let mut rig = Rig::with("pass no state", &two(), spread);
        rig.mark();
        for n in 0..2000 {
            let member = if n % 2 == 0 { "sim0" } else { "sim1" };
            rig.send_frame(member, &between(&packet(n), A, Addr::BROADCAST));
        }
        rig.ignore_rest();
        rig.counted(
            "received 2000 passed 2000 searches 4000 sim0.in4.pass 1000 sim1.in4.pass 1000 sim0.out4.pass 1000
             sim1.out4.pass 1000 r0.evals 4000 r0.in 2000 r0.out 2000",
        );
        assert_eq!(rig.shared().stations.count(InterfaceId(2)), 1);
        rig.finish();
    }
}
