//! A million addresses that nobody needs: what the box remembers is bounded, and every packet is counted.

use std::net::Ipv4Addr;

use packets::rig::{arp_frame, discovery};
use packets::{Rig, Spread, Topology, udp};
use wire::{arp, ether, icmp6, ipv6};

use crate::at;

/// Senders of one flood; three floods and the scan are a million.
const SENDERS: u32 = 250_000;
/// Frames between two looks at what left.
const BURST: u32 = 500;
/// Neighbors that a worker remembers at most.
const NEIGHBORS_MAX: usize = 4096;
/// The host on the other link, which the box knows from the beginning.
const KNOWN: usize = 1;
/// That one, and those that only asked.
const ASKERS_MAX: usize = KNOWN + 1024;
/// Questions in a second, and errors to those whose packets waited in vain.
const SAID_MAX: i64 = 1000 + 100;

/// One link with room for sixteen million hosts.
fn wide() -> Topology {
    Topology::new()
        .interface("sim0", &["10.0.0.1/8", "2001:db8:1::1/64"])
        .interface("sim1", &["172.16.0.1/12", "2001:db8:2::1/64"])
        .host(&["172.16.0.2"])
}

fn station(n: u32) -> ether::Addr {
    let [a, b, c, d] = n.to_be_bytes();
    ether::Addr([2, 1, a, b, c, d])
}

fn host4(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a10_0000 + n)
}

fn host6(n: u32) -> std::net::Ipv6Addr {
    let network: std::net::Ipv6Addr = "2001:db8:1::".parse().unwrap();
    std::net::Ipv6Addr::from_bits(network.to_bits() + 0x1_0000 + u128::from(n))
}

/// Sends a frame for each of all senders, and forgets what left.
fn flood(rig: &mut Rig, frame: impl Fn(u32) -> Vec<u8>) {
    for n in 0..SENDERS {
        rig.send_frame("sim0", &frame(n));
        if n % BURST == 0 {
            rig.ignore_rest();
        }
    }
    rig.ignore_rest();
}

#[test]
fn who_asks_by_arp_is_answered_and_remembered_within_limits() {
    let mut rig = Rig::with("block", &wide(), Spread::ONE);
    rig.mark();
    flood(&mut rig, |n| {
        arp_frame(&arp::Repr {
            operation: arp::Operation::REQUEST,
            sender_ether: station(n),
            sender_ip: host4(n),
            target_ether: ether::Addr::ZERO,
            target_ip: Ipv4Addr::new(10, 0, 0, 1),
        })
    });
    rig.counted("received 250000 consumed 250000 generated 250000 passed 250000");
    assert!(rig.neighbors() <= ASKERS_MAX, "{}", rig.neighbors());
}

#[test]
fn announcements_that_nobody_needs_are_not_remembered() {
    let mut rig = Rig::with("block", &wide(), Spread::ONE);
    rig.mark();
    flood(&mut rig, |n| {
        arp_frame(&arp::Repr {
            operation: arp::Operation::REQUEST,
            sender_ether: station(n),
            sender_ip: host4(n),
            target_ether: ether::Addr::ZERO,
            target_ip: host4(n),
        })
    });
    rig.counted("received 250000 consumed 250000");
    assert_eq!(rig.neighbors(), KNOWN);
}

#[test]
fn who_asks_by_discovery_is_answered_and_remembered_within_limits() {
    let mut rig = Rig::with("pass no state", &wide(), Spread::ONE);
    rig.mark();
    let ours: std::net::Ipv6Addr = "2001:db8:1::1".parse().unwrap();
    let group = ipv6::solicited_node(ours);
    flood(&mut rig, |n| {
        let message = icmp6::Repr::NeighborSolicit(icmp6::NeighborSolicit {
            target: ours,
            source_link: Some(station(n)),
        });
        let to = (ether::Addr::multicast6(group), group);
        discovery((station(n), host6(n)), to, &message)
    });
    rig.counted(
        "received 250000 consumed 250000 generated 250000 passed 250000 searches 500000
         sim0.in6.pass 250000 sim0.out6.pass 250000 r0.evals 500000 r0.in 250000 r0.out 250000",
    );
    assert!(rig.neighbors() <= ASKERS_MAX, "{}", rig.neighbors());
}

#[test]
fn a_scan_of_a_link_asks_no_more_than_it_may_and_holds_no_more_than_it_can() {
    let mut rig = Rig::with("pass no state", &wide(), Spread::ONE);
    rig.mark();
    for n in 0..SENDERS {
        let to = host4(n).to_string();
        rig.send("sim1", &udp("172.16.0.2:1", &at(&to, 1)));
        if n % BURST == 0 {
            rig.ignore_rest();
        }
    }
    rig.ignore_rest();
    let changes = rig.changes();
    let of = |name: &str| changes.get(name).copied().unwrap_or(0);
    // No time has passed: a second's worth of questions, and what is held.
    assert_eq!(
        (of("received"), of("waiting")),
        (250_000, 256),
        "{changes:?}"
    );
    assert!(
        of("generated") <= SAID_MAX && of("passed") == of("generated"),
        "{changes:?}"
    );
    assert_eq!(of("drop:no-neighbor"), 250_000 - 256, "{changes:?}");
    assert!(rig.neighbors() <= NEIGHBORS_MAX, "{}", rig.neighbors());
}
