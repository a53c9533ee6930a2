//! The express over VLANs, laggs and bridges: two boxes, one without it, get the same frames while ports fail, stations move
//! and the spanning tree blocks; what leaves each card, what they count and what their states say must be the same.

use net::LaggProtocol::{self, Failover, Lacp, LoadBalance, RoundRobin};
use net::Tpid;
use packets::{Packet, Rig, Spread, Topology, udp};
use simnic::rng::Rng;
use wire::ether::Addr;

use crate::express::{Talk, ends, states};
use crate::{A, A6, B, B6};

/// Steps of one random conversation.
const STEPS: usize = 120;
/// Connections at a time.
const TALKS: usize = 5;
/// Stations of the two sides.
const STATIONS: [Addr; 2] = [Addr([2, 0xaa, 0, 0, 0, 1]), Addr([2, 0xaa, 0, 0, 0, 2])];

/// One side of the box: cards that its frames may come in by, and their tags.
#[derive(Clone)]
struct Side {
    cards: Vec<&'static str>,
    tags: Vec<(Tpid, u16)>,
    /// The interface whose station frames are for; none is the other side's station.
    via: Option<&'static str>,
}

/// What may happen in between, to both boxes alike.
type Event = Box<dyn Fn(&mut Rig)>;

pub(crate) struct Scene {
    pub(crate) topology: Topology,
    sides: [Side; 2],
    /// Happens now and then.
    event: fn(&mut Rng) -> Event,
}

fn nothing(_: &mut Rng) -> Event {
    Box::new(|_| {})
}

/// `in0` and `out0` on whatever carries them, with the addresses of [`crate`].
fn with_hosts(topology: Topology, make: impl Fn(Topology, &str, &[&str]) -> Topology) -> Topology {
    let inner = make(topology, "in0", &["192.0.2.1/24", "2001:db8:1::1/64"]);
    let inner = inner.host(&[A, A6]);
    let both = make(inner, "out0", &["198.51.100.1/24", "2001:db8:2::1/64"]);
    both.host(&[B, B6])
}

/// A VLAN inside, a customer's VLAN within a provider's outside.
pub(crate) fn vlans() -> Scene {
    let cards = Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &[])
        .tagged("svlan7", "sim1", Tpid::Service, 7, &[]);
    let topology = with_hosts(cards, |t, name, addrs| match name {
        "in0" => t.vlan(name, "sim0", 22, addrs),
        _ => t.vlan(name, "svlan7", 22, addrs),
    });
    let vlan = (Tpid::Customer, 22);
    Scene {
        topology,
        sides: [
            side(&["sim0"], &[vlan], "in0"),
            side(&["sim1"], &[(Tpid::Service, 7), vlan], "out0"),
        ],
        event: nothing,
    }
}

/// A tag says nothing but a priority inside, and frames have none outside.
pub(crate) fn priority_tags() -> Scene {
    let topology = with_hosts(Topology::new(), |t, name, addrs| t.interface(name, addrs));
    Scene {
        topology,
        sides: [
            side(&["in0"], &[(Tpid::Customer, 0)], "in0"),
            side(&["out0"], &[], "out0"),
        ],
        event: nothing,
    }
}

/// Two VLANs of one lagg of three cards.
pub(crate) fn lagg(protocol: LaggProtocol) -> Scene {
    let cards = ["sim0", "sim1", "sim2"];
    let on = Topology::new();
    let on = cards.iter().fold(on, |on, card| on.interface(card, &[]));
    let on = on.lagg("lagg0", protocol, &cards, &[]);
    let topology = with_hosts(on, |t, name, addrs| {
        t.vlan(name, "lagg0", if name == "in0" { 10 } else { 20 }, addrs)
    });
    Scene {
        topology,
        sides: [
            side(&cards, &[(Tpid::Customer, 10)], "in0"),
            side(&cards, &[(Tpid::Customer, 20)], "out0"),
        ],
        event: |rng| {
            let (send, hear) = (rng.below(8) as u32, rng.below(8) as u32);
            // Answers of neighbors come in by the first.
            Box::new(move |rig| rig.masks("lagg0").set(send, hear | 1))
        },
    }
}

/// Inside a lagg without tags, outside a card.
pub(crate) fn plain_lagg() -> Scene {
    let on = Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &[]);
    let topology = with_hosts(on, |t, name, addrs| match name {
        "in0" => t.lagg(name, Lacp, &["sim0", "sim1"], addrs),
        _ => t.interface(name, addrs),
    });
    Scene {
        topology,
        sides: [
            side(&["sim0", "sim1"], &[], "in0"),
            side(&["out0"], &[], "out0"),
        ],
        event: |rng| {
            let masks = rng.below(4) as u32;
            Box::new(move |rig| rig.masks("in0").set(masks, masks | 1))
        },
    }
}

/// A bridge of four cards, two for each station to move between.
fn bridge(change: fn(&mut net::bridge::Bridge)) -> Scene {
    let cards = ["sim0", "sim1", "sim2", "sim3"];
    let on = Topology::new();
    let on = cards.iter().fold(on, |on, card| on.interface(card, &[]));
    let side = |cards: &[&'static str]| Side {
        cards: cards.to_vec(),
        tags: Vec::new(),
        via: None,
    };
    Scene {
        topology: on.bridge("bridge0", &cards, &[]).bridged(change),
        sides: [side(&["sim0", "sim2"]), side(&["sim1", "sim3"])],
        event: |rng| {
            let (learning, forwarding, epoch) = (rng.below(16), rng.below(16), rng.below(3) as u16);
            let place = rng.below(4) as usize;
            match rng.below(4) {
                0 => Box::new(move |rig| rig.bridge_ports("bridge0").set_epoch(place, epoch)),
                1 => Box::new(move |rig| rig.bridge_ports("bridge0").set(learning, forwarding)),
                _ => Box::new(|rig| rig.bridge_ports("bridge0").set(15, 15)),
            }
        },
    }
}

fn side(cards: &[&'static str], tags: &[(Tpid, u16)], via: &'static str) -> Side {
    Side {
        cards: cards.to_vec(),
        tags: tags.to_vec(),
        via: Some(via),
    }
}

/// A frame without its tags.
fn bare(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    while matches!(frame.get(12..14), Some([0x81, 0] | [0x88, 0xa8])) {
        frame.drain(12..16);
    }
    frame
}

impl Side {
    /// A packet of this side as it is on the wire; priorities are as they come.
    fn frame(&self, rig: &Rig, n: usize, packet: &Packet, priority: u8) -> Vec<u8> {
        let dst = self.via.map_or(STATIONS[1 - n], |via| rig.mac(via));
        let mut frame = packet.frame(STATIONS[n], dst);
        for (tpid, vid) in self.tags.iter().rev() {
            let [t0, t1] = tpid.ethertype().0.to_be_bytes();
            let [c0, c1] = (*vid | u16::from(priority) << 12).to_be_bytes();
            frame.splice(12..12, [t0, t1, c0, c1]);
        }
        frame
    }
}

/// Both boxes, of which the second has no express.
fn boxes(scene: &Scene, policy: &str, spread: Spread) -> [Rig; 2] {
    let without = scene.topology.clone().without_express();
    [&scene.topology, &without].map(|topology| Rig::with(policy, topology, spread))
}

/// All that left by a card, tags and all. Of one connection the order is kept.
fn left(rig: &mut Rig, card: &str) -> Vec<Vec<u8>> {
    let mut frames = rig.wire(card);
    frames.sort_by_key(|frame| ends(&bare(frame)).map(|(ends, _)| ends));
    frames
}

fn agree(pair: &mut [Rig; 2], card: &str, what: &str) -> Vec<Vec<u8>> {
    let [with, without] = pair.each_mut().map(|rig| left(rig, card));
    if let Some(n) = (0..with.len().max(without.len())).find(|n| with.get(*n) != without.get(*n)) {
        let shown = |frames: &[Vec<u8>]| {
            frames
                .get(n)
                .map(|f| (f.len(), f[..f.len().min(60)].to_vec()))
        };
        let (a, b) = (shown(&with), shown(&without));
        panic!("{card} after {what}: frame {n}: {a:02x?}, without express {b:02x?}");
    }
    with
}

fn agree_on_counts(pair: &[Rig; 2], what: &str) {
    let [with, without] = pair;
    assert_eq!(with.tally(), without.tally(), "{what}");
    let differ = states(with)
        .into_iter()
        .zip(states(without))
        .find(|(a, b)| a != b);
    if let Some((a, b)) = differ {
        let fields = a.split(", ").zip(b.split(", ")).filter(|(a, b)| a != b);
        panic!("{what}: {:?} in {a}", fields.collect::<Vec<_>>());
    }
    assert_eq!(states(with), states(without), "{what}");
}

/// A random conversation, with bursts of at most so many packets. Says how many were served.
fn converse(scene: &Scene, policy: &str, spread: Spread, seed: u64, most: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let mut pair = boxes(scene, policy, spread);
    let all: Vec<&str> = (scene.topology.ports.iter().enumerate())
        .filter(|(_, port)| matches!(port.made, packets::Made::Card))
        .map(|(_, port)| port.name.as_str())
        .collect();
    let shared = scene.sides[0].cards == scene.sides[1].cards;
    let mut at = [0; 2];
    let mut talks: Vec<Talk> = Vec::new();
    for step in 0..STEPS {
        let what = format!("step {step} of seed {seed} under {policy:?}, {spread:?}");
        if talks.len() < TALKS || rng.below(50) == 0 {
            talks.truncate(TALKS - 1);
            talks.push(Talk::new(&mut rng, step as u64));
        }
        let fresh = talks.iter().position(|talk| talk.far.is_none());
        let burst = match fresh {
            Some(_) => 1,
            None => 1 + rng.below(most),
        };
        let start = rng.below(talks.len() as u64) as usize;
        for nth in 0..burst {
            // Where both directions come in by one card, who is first there is nobody's business: one packet of each.
            let n = match fresh {
                Some(n) => n,
                None if shared && nth as usize == talks.len() => break,
                None if shared => (start + nth as usize) % talks.len(),
                None => rng.below(talks.len() as u64) as usize,
            };
            let (from, packet) = talks[n].next(&mut rng);
            let n = usize::from(from == "sim1");
            let side = &scene.sides[n];
            if rng.below(25) == 0 {
                at[n] = rng.below(side.cards.len() as u64) as usize;
            }
            let priority = rng.below(16) as u8;
            for rig in &mut pair {
                let frame = side.frame(rig, n, &packet, priority);
                assert!(rig.port(side.cards[at[n]]).inject(&frame), "{what}");
            }
        }
        pair.iter_mut().for_each(Rig::run);
        for card in &all {
            for frame in agree(&mut pair, card, &what) {
                let Some((ends, next)) = ends(&bare(&frame)) else {
                    continue;
                };
                let is_for = |n: usize| frame[..6] == STATIONS[n].0;
                let is_far = |talk: &Talk| talk.far.is_none() || talk.far.as_ref() == Some(&ends);
                if let Some(talk) = talks.iter_mut().find(|t| is_for(1) && is_far(t)) {
                    talk.far = Some(ends.clone());
                    talk.expects[1] = next;
                }
                let back = [ends[1].clone(), ends[0].clone()];
                if let Some(talk) = talks.iter_mut().find(|t| is_for(0) && t.near == back) {
                    talk.expects[0] = next;
                }
            }
        }
        agree_on_counts(&pair, &what);
        match rng.below(40) {
            0 => pair.iter_mut().for_each(|rig| rig.reload(policy)),
            1..4 => {
                let ms = rng.below(3000);
                pair.iter_mut().for_each(|rig| rig.advance(ms));
            }
            4..9 => {
                let event = (scene.event)(&mut rng);
                pair.iter_mut().for_each(event);
            }
            _ => {}
        }
    }
    pair.iter_mut().for_each(Rig::ignore_rest);
    pair.iter().map(Rig::served).max().unwrap_or(0)
}

/// The scene under several policies and seeds, and with several workers.
fn nobody_can_tell(scene: &Scene, most: u64) {
    let policies = [
        "pass",
        "set state-policy if-bound\npass",
        "match out inet nat-to 203.0.113.7 static-port\npass",
        "pass set prio 6",
    ];
    let mut served = 0;
    for (n, policy) in policies.into_iter().enumerate() {
        for seed in 0..2 {
            served += converse(scene, policy, Spread::ONE, 10 * n as u64 + seed, most);
        }
    }
    println!("{served} packets served");
    assert!(served > 200, "{served} packets served");
    for (n, spread) in Spread::ALL.into_iter().enumerate().skip(1) {
        converse(scene, policies[0], spread, 100 + n as u64, most);
    }
}

#[test]
fn on_vlans_nobody_can_tell_that_a_packet_took_the_express() {
    nobody_can_tell(&vlans(), 20);
    nobody_can_tell(&priority_tags(), 20);
}

#[test]
fn nor_on_laggs() {
    for protocol in [Failover, LoadBalance, Lacp] {
        nobody_can_tell(&lagg(protocol), 20);
    }
    nobody_can_tell(&plain_lagg(), 20);
    // One after the other: of several the order may differ.
    nobody_can_tell(&lagg(RoundRobin), 1);
}

#[test]
fn nor_on_bridges() {
    nobody_can_tell(&bridge(|_| {}), 20);
    nobody_can_tell(&bridge(|b| b.members[0].learn = false), 20);
    nobody_can_tell(&bridge(|b| b.timeout_s = 2), 20);
    nobody_can_tell(
        &bridge(|b| b.statics = vec![(STATIONS[1], b.members[1].id)]),
        20,
    );
}

/// How many of ten packets in a row are served.
fn served(rig: &mut Rig, card: &str, frame: &[u8]) -> u64 {
    let before = rig.served();
    for _ in 0..10 {
        rig.send_frame(card, frame);
    }
    rig.served() - before
}

#[test]
fn a_failover_is_no_reason_to_go_the_long_way() {
    let scene = lagg(Failover);
    let mut rig = Rig::new("pass", &scene.topology);
    let packet = udp(&format!("{A}:1000"), &format!("{B}:53"));
    let frame = scene.sides[0].frame(&rig, 0, &packet, 0);
    // The first one waits for its next hop.
    assert_eq!(served(&mut rig, "sim0", &frame), 8);
    rig.wire("sim0");
    rig.masks("lagg0").set(0b10, 0b10);
    assert_eq!(served(&mut rig, "sim1", &frame), 10);
    assert_eq!((rig.wire("sim0").len(), rig.wire("sim1").len()), (0, 10));
    // Nobody hears the others.
    assert_eq!(served(&mut rig, "sim2", &frame), 0);
    assert_eq!(rig.wire("sim1").len(), 0);
    rig.ignore_rest();
}

#[test]
fn a_station_that_moves_takes_its_connections_with_it() {
    let scene = bridge(|_| {});
    let mut rig = Rig::new("pass", &scene.topology);
    let packet = udp(&format!("{A}:1000"), &format!("{B}:53"));
    let back = udp(&format!("{B}:53"), &format!("{A}:1000"));
    let there = scene.sides[0].frame(&rig, 0, &packet, 0);
    let back = scene.sides[1].frame(&rig, 1, &back, 0);
    rig.send_frame("sim0", &there);
    rig.send_frame("sim1", &back);
    rig.ignore_rest();
    assert_eq!(served(&mut rig, "sim0", &there), 9);
    assert_eq!(rig.wire("sim1").len(), 10);
    // Something that is no connection is heard of it elsewhere.
    let moved = udp(&format!("{B}:7"), &format!("{A}:7"));
    let moved = scene.sides[1].frame(&rig, 1, &moved, 0);
    rig.send_frame("sim3", &moved);
    rig.ignore_rest();
    assert_eq!(served(&mut rig, "sim0", &there), 9);
    assert_eq!((rig.wire("sim1").len(), rig.wire("sim3").len()), (0, 10));
    // The spanning tree blocks it there.
    rig.bridge_ports("bridge0").set(0b1111, 0b0111);
    assert_eq!(served(&mut rig, "sim0", &there), 0);
    assert_eq!((rig.wire("sim1").len(), rig.wire("sim3").len()), (0, 0));
    rig.ignore_rest();
}
