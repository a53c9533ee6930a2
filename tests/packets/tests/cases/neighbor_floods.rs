//! A million addresses that nobody needs: what the box remembers is bounded, and every packet is counted. And thousands
//! that are needed all at once, when the box has just started.

use std::net::Ipv4Addr;

use std::collections::BTreeSet;

use packets::rig::{arp_frame, discovery};
use packets::{Packet, Rig, Spread, Topology, udp};
use wire::{arp, ether, icmp6, ipv6};

use crate::at;

/// Senders of one flood; three floods and the scan are a million.
const SENDERS: u32 = 250_000;
/// Frames between two looks at what left.
const BURST: u32 = 500;
/// Neighbors that a worker remembers at most.
const NEIGHBORS_MAX: usize = 16_384;
/// The host on the other link, which the box knows from the beginning.
const KNOWN: usize = 1;
/// That one, and those that only asked.
const ASKERS_MAX: usize = KNOWN + 4096;
/// Questions at once, and errors to those whose packets waited in vain.
const SAID_MAX: i64 = 4096 + 100;

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

/// Hosts behind a box that has just started.
const HOSTS: u32 = 2000;
/// Each answers within so many milliseconds.
const ANSWER_MS: u64 = 5;
/// Time after which a sender tries again: that of TCP's first SYN.
const AGAIN_MS: u64 = 1000;

/// Hosts that answer late, by hand: which packets they got, and what they are about to say.
#[derive(Default)]
struct Crowd {
    answers: Vec<(u64, arp::Repr)>,
    questions: usize,
    reached: BTreeSet<Ipv4Addr>,
    packets: usize,
}

impl Crowd {
    /// Looks at what left by their port.
    fn hear(&mut self, rig: &mut Rig) {
        while let Some(bytes) = rig.take("sim0") {
            let frame = ether::Frame::new_checked(&bytes[..]).unwrap();
            if frame.ethertype() != ether::EtherType::ARP {
                let packet = wire::ipv4::Packet::new_checked(frame.payload()).unwrap();
                let to = packet.dst();
                assert_eq!(frame.dst(), station(to.to_bits()), "{to}");
                self.reached.insert(to);
                self.packets += 1;
                continue;
            }
            let asked = arp::Repr::parse(&arp::Packet::new_checked(frame.payload()).unwrap());
            let asked = asked.unwrap();
            self.questions += 1;
            let late_ms = 1 + u64::from(asked.target_ip.to_bits()) % ANSWER_MS;
            let answer = arp::Repr {
                operation: arp::Operation::REPLY,
                sender_ether: station(asked.target_ip.to_bits()),
                sender_ip: asked.target_ip,
                target_ether: asked.sender_ether,
                target_ip: asked.sender_ip,
            };
            self.answers.push((rig.now_ms() + late_ms, answer));
        }
    }

    /// A millisecond goes by.
    fn live(&mut self, rig: &mut Rig) {
        rig.skip(1);
        self.hear(rig);
        let now_ms = rig.now_ms();
        let (due, later) = self.answers.iter().partition(|(at, _)| *at <= now_ms);
        self.answers = later;
        let due: Vec<(u64, arp::Repr)> = due;
        for (_, answer) in due {
            rig.send_frame("sim0", &arp_frame(&answer));
        }
        self.hear(rig);
    }
}

fn for_host(n: u32) -> Packet {
    udp("172.16.0.2:1", &at(&host4(n).to_string(), 1))
}

#[test]
fn thousands_of_hosts_that_all_get_packets_in_the_first_second_lose_none() {
    for spread in Spread::ALL {
        let mut rig = Rig::cold("pass no state", &wide(), spread);
        let mut crowd = Crowd::default();
        for n in 0..HOSTS {
            rig.send("sim1", &for_host(n));
            crowd.hear(&mut rig);
            if n % 2 == 1 {
                crowd.live(&mut rig);
            }
        }
        for _ in 0..2 * ANSWER_MS {
            crowd.live(&mut rig);
        }
        assert_eq!(crowd.reached.len(), HOSTS as usize, "{spread:?}");
        assert_eq!(crowd.packets, HOSTS as usize, "{spread:?}");
        rig.counted(
            "received 4000 consumed 2000 generated 2000 passed 4000 searches 4000
             sim1.in4.pass 2000 sim0.out4.pass 2000 r0.evals 4000 r0.in 2000 r0.out 2000",
        );
        rig.finish();
    }
}

#[test]
fn thousands_of_hosts_that_all_get_packets_at_once_are_all_reached_when_these_are_repeated() {
    for spread in Spread::ALL {
        let mut rig = Rig::cold("pass no state", &wide(), spread);
        let mut crowd = Crowd::default();
        let all: Vec<Packet> = (0..HOSTS).map(for_host).collect();
        for burst in all.chunks(32) {
            rig.send_burst("sim1", burst);
            crowd.hear(&mut rig);
        }
        // Everybody was asked for in the first millisecond, and each has answered some milliseconds later.
        assert_eq!(crowd.questions, HOSTS as usize, "{spread:?}");
        for _ in 0..2 * ANSWER_MS {
            crowd.live(&mut rig);
        }
        let first = crowd.packets as i64;
        if spread == Spread::ONE {
            // What a worker of this rig can hold.
            assert_eq!(first, 256);
        }
        let changes = rig.changes();
        let dropped = changes.get("drop:no-neighbor").copied().unwrap_or(0);
        assert_eq!(first + dropped, i64::from(HOSTS), "{spread:?}");
        rig.mark();
        for _ in 0..AGAIN_MS {
            crowd.live(&mut rig);
        }
        (crowd.packets, crowd.questions) = (0, 0);
        crowd.reached.clear();
        for burst in all.chunks(32) {
            rig.send_burst("sim1", burst);
            crowd.hear(&mut rig);
        }
        assert_eq!(crowd.reached.len(), HOSTS as usize, "{spread:?}");
        rig.counted(
            "received 2000 passed 2000 searches 4000 sim1.in4.pass 2000 sim0.out4.pass 2000
             r0.evals 4000 r0.in 2000 r0.out 2000",
        );
        rig.finish();
    }
}
