//! Bridges, links that come and go, one clock, one seed: at the end there is a tree, and it reaches everybody.

use std::collections::BTreeMap;

use wire::bpdu::{Bpdu, BridgeId, PortRole as Sender};
use wire::ether::Addr;

use super::*;

/// Networks tried.
const SEEDS: u64 = 200;
/// Milliseconds on a link.
const DELAY_MS: u64 = 1;
/// A tree that stands for so long is final: longer than any timer.
const STEADY_MS: u64 = 60_000;

struct Link {
    ends: [(usize, usize); 2],
    up: bool,
}

struct World {
    seed: u64,
    now_ms: u64,
    bridges: Vec<SpanningTree>,
    links: Vec<Link>,
    /// Arrival time and order to link, end, message.
    travelling: BTreeMap<(u64, u64), (usize, usize, Bpdu)>,
    order: u64,
    sent: u64,
    /// When the forwarding links last changed, and how often they had a loop.
    changed_ms: u64,
    active: Vec<bool>,
    loops: u64,
    /// The network was cut into more parts than it had: bridges may tell each other of a root that is gone until what
    /// they say is too old, and agree on ways to it.
    was_cut: bool,
}

fn id(n: usize) -> BridgeId {
    BridgeId {
        priority: BRIDGE_PRIORITY,
        addr: Addr([2, 0, 0, 0, 0, n as u8]),
    }
}

impl World {
    fn new(seed: u64, protocols: &[Protocol], ends: &[(usize, usize)]) -> World {
        let mut degrees = vec![0; protocols.len()];
        let mut place = |bridge: usize| {
            degrees[bridge] += 1;
            (bridge, degrees[bridge] - 1)
        };
        let links: Vec<Link> = ends
            .iter()
            .map(|&(a, b)| Link {
                ends: [place(a), place(b)],
                up: false,
            })
            .collect();
        let bridge = |(n, protocol): (usize, &Protocol)| {
            let settings = Settings {
                protocol: *protocol,
                ..Settings::new(id(n))
            };
            // Each has a clock of its own.
            let phase_ms = (seed >> n & 7) * 100;
            SpanningTree::new(
                settings,
                &vec![PortSettings::default(); degrees[n]],
                phase_ms,
            )
        };
        let mut world = World {
            seed,
            now_ms: 1000,
            bridges: protocols.iter().enumerate().map(bridge).collect(),
            active: vec![false; links.len()],
            links,
            travelling: BTreeMap::new(),
            order: 0,
            sent: 0,
            changed_ms: 0,
            loops: 0,
            was_cut: false,
        };
        for link in 0..world.links.len() {
            world.set_link(link, true);
        }
        world
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    fn set_link(&mut self, n: usize, up: bool) {
        let parts = self.parts();
        self.links[n].up = up;
        self.was_cut |= self.parts() > parts;
        self.travelling.retain(|_, (link, ..)| *link != n);
        let event = match up {
            true => Event::LinkUp {
                cost: 20_000,
                point_to_point: true,
            },
            false => Event::LinkDown,
        };
        for (bridge, port) in self.links[n].ends {
            self.bridges[bridge].handle(self.now_ms, port, event);
            self.collect(bridge);
        }
        self.look();
    }

    fn collect(&mut self, bridge: usize) {
        while let Some((port, bpdu)) = self.bridges[bridge].poll_transmit() {
            let found = self.links.iter().enumerate().find_map(|(n, link)| {
                let end = link.ends.iter().position(|e| *e == (bridge, port))?;
                Some((n, end, link.up))
            });
            if let Some((link, end, true)) = found {
                self.order += 1;
                self.sent += 1;
                let key = (self.now_ms + DELAY_MS, self.order);
                self.travelling.insert(key, (link, 1 - end, bpdu));
            }
        }
    }

    /// Goes on to what comes next, and not beyond `until_ms`.
    fn step(&mut self, until_ms: u64) {
        let timer = self.bridges.iter().map(SpanningTree::poll_at_ms).min();
        let arrival = self.travelling.first_key_value().map(|(key, _)| key.0);
        let next = timer.into_iter().chain(arrival).min().unwrap_or(until_ms);
        self.now_ms = next.min(until_ms).max(self.now_ms);
        while let Some(entry) = self.travelling.first_entry()
            && entry.key().0 <= self.now_ms
        {
            let (link, end, bpdu) = entry.remove();
            let (bridge, port) = self.links[link].ends[end];
            self.bridges[bridge].handle(self.now_ms, port, Event::Heard(bpdu));
            self.collect(bridge);
            self.look();
        }
        for n in 0..self.bridges.len() {
            self.bridges[n].poll(self.now_ms);
            self.collect(n);
        }
        self.look();
    }

    fn run(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.step(until_ms);
        }
    }

    /// Which links carry frames now.
    fn look(&mut self) {
        let forwards = |&(bridge, port): &(usize, usize)| {
            self.bridges[bridge].state(port) == PortState::Forwarding
        };
        let carries = |link: &Link| link.up && link.ends.iter().all(forwards);
        let active: Vec<bool> = self.links.iter().map(carries).collect();
        if active != self.active {
            self.changed_ms = self.now_ms;
            self.active = active;
            self.loops += u64::from(self.components(&self.active).1 > 0);
        }
    }

    /// How many parts the network has over all links that are up.
    fn parts(&self) -> usize {
        let up: Vec<bool> = self.links.iter().map(|l| l.up).collect();
        self.components(&up).0
    }

    /// How many parts the network has over the links chosen, and how many links are too many for trees.
    fn components(&self, chosen: &[bool]) -> (usize, usize) {
        let mut part: Vec<usize> = (0..self.bridges.len()).collect();
        let (mut parts, mut extra) = (part.len(), 0);
        for (link, _) in self.links.iter().zip(chosen).filter(|(_, c)| **c) {
            let [a, b] = link.ends.map(|(bridge, _)| part[bridge]);
            match a == b {
                true => extra += 1,
                false => {
                    parts -= 1;
                    part.iter_mut().filter(|p| **p == b).for_each(|p| *p = a);
                }
            }
        }
        (parts, extra)
    }

    /// Waits until nothing changes; says how long the last change took after `since_ms`.
    fn converge(&mut self, since_ms: u64) -> u64 {
        while self.now_ms < self.changed_ms.max(since_ms) + STEADY_MS {
            self.step(self.now_ms + STEADY_MS);
        }
        let found = self.components(&self.active);
        assert_eq!(found, (self.parts(), 0), "parts, links too many");
        self.changed_ms.saturating_sub(since_ms)
    }
}

/// A connected graph with some more links than a tree needs, and sometimes a link from a bridge to itself.
fn random_graph(seed: u64, bridges: usize) -> Vec<(usize, usize)> {
    let mut seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 8) as usize % below
    };
    let mut ends: Vec<(usize, usize)> = (1..bridges).map(|n| (n, random(n))).collect();
    for _ in 0..bridges {
        ends.push((random(bridges), random(bridges)));
    }
    ends
}

/// Flaps at random, then rest. Gives the time to the final tree.
fn survive(seed: u64, protocols: &[Protocol], flaps: usize) -> (u64, World) {
    let mut world = World::new(
        seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1,
        protocols,
        &random_graph(seed, protocols.len()),
    );
    for _ in 0..flaps {
        let pause_ms = match world.random(3) {
            0 => world.random(20),
            1 => world.random(3000),
            _ => world.random(60_000),
        };
        world.run(pause_ms);
        let link = world.random(world.links.len() as u64) as usize;
        let up = !world.links[link].up;
        world.set_link(link, up);
    }
    let since_ms = world.now_ms;
    println!(
        "seed {seed}: {} bridges, {} links",
        protocols.len(),
        world.links.len()
    );
    (world.converge(since_ms), world)
}

#[test]
fn bridges_of_rstp_end_in_a_tree_within_seconds() {
    let mut worst_ms = 0;
    let (mut all_ms, mut whole) = (Vec::new(), 0);
    for seed in 1..=SEEDS {
        let protocols = vec![Protocol::Rstp; 2 + seed as usize % 9];
        let (took_ms, world) = survive(seed, &protocols, 4 + seed as usize % 17);
        assert!(
            world.was_cut || world.loops == 0,
            "seed {seed}: a loop on the way"
        );
        whole += u32::from(!world.was_cut);
        worst_ms = worst_ms.max(took_ms);
        all_ms.push(took_ms);
    }
    all_ms.sort();
    println!(
        "converged: median {} ms, worst {worst_ms} ms",
        all_ms[SEEDS as usize / 2]
    );
    assert!(
        whole > SEEDS as u32 / 10,
        "networks that were never cut: {whole}"
    );
    // A network that is cut apart must first forget its root: hello times, and a second of age for each bridge.
    assert!(worst_ms < 40_000, "{worst_ms}");
}

#[test]
fn bridges_of_both_protocols_end_in_a_tree() {
    for seed in 100..=140 {
        let protocol = |n: u64| match (seed >> (n % 5)) & 1 {
            0 => Protocol::Stp,
            _ => Protocol::Rstp,
        };
        let protocols: Vec<Protocol> = (0..2 + seed % 7).map(protocol).collect();
        survive(seed, &protocols, 12);
    }
}

#[test]
fn a_ring_of_three_changes_over_in_milliseconds() {
    let ring = [(0, 1), (1, 2), (2, 0)];
    let mut world = World::new(5, &[Protocol::Rstp; 3], &ring);
    let first_ms = world.converge(1000);
    println!("ring of three: {first_ms} ms to the first tree");
    assert_eq!(world.bridges[0].root_port(), None);
    assert_eq!(world.active, [true, false, true]);
    assert_eq!(world.bridges[2].role(0), PortRole::Alternate);
    let epochs: Vec<u16> = (0..2).map(|p| world.bridges[1].epoch(p)).collect();
    let since_ms = world.now_ms;
    world.set_link(0, false);
    let took_ms = world.converge(since_ms);
    println!("ring of three: {took_ms} ms after a link was lost");
    assert_eq!(world.active, [false, true, true]);
    assert!(took_ms < 100, "{took_ms}");
    let after: Vec<u16> = (0..2).map(|p| world.bridges[1].epoch(p)).collect();
    assert_ne!(epochs, after, "where stations were is forgotten");
    let since_ms = world.now_ms;
    world.set_link(0, true);
    let took_ms = world.converge(since_ms);
    assert_eq!(world.active, [true, false, true]);
    assert!(took_ms < 4000, "{took_ms}");
    assert_eq!(world.loops, 0);
}

#[test]
fn a_neighbor_with_stp_is_spoken_to_in_stp() {
    let protocols = [Protocol::Stp, Protocol::Rstp];
    let mut world = World::new(3, &protocols, &[(0, 1), (0, 1)]);
    let took_ms = world.converge(1000);
    assert!(!world.bridges[1].speaks_rapid(0));
    // Two forwarding delays, and the seconds in which they agree who is the root.
    assert!((28_000..40_000).contains(&took_ms), "{took_ms}");
    // The neighbor is replaced by one that speaks RSTP.
    for link in 0..2 {
        world.set_link(link, false);
    }
    world.bridges[0] = SpanningTree::new(
        Settings::new(id(0)),
        &[PortSettings::default(); 2],
        world.now_ms,
    );
    world.run(5000);
    for link in 0..2 {
        world.set_link(link, true);
    }
    let since_ms = world.now_ms;
    let took_ms = world.converge(since_ms);
    assert!(world.bridges[1].speaks_rapid(0));
    assert!(took_ms < 4000, "{took_ms}");
}

#[test]
fn a_port_with_hosts_only_forwards_after_a_few_seconds_or_at_once() {
    for (settings, soonest_ms, latest_ms) in [
        (PortSettings::default(), 2000, 5000),
        (
            PortSettings {
                edge: true,
                ..PortSettings::default()
            },
            0,
            0,
        ),
        (
            PortSettings {
                auto_edge: false,
                ..PortSettings::default()
            },
            // Max age, and a hello time (17.29.1).
            20_000,
            24_000,
        ),
    ] {
        let mut tree = SpanningTree::new(Settings::new(id(1)), &[settings], 0);
        let up = Event::LinkUp {
            cost: 20_000,
            point_to_point: true,
        };
        tree.handle(0, 0, up);
        let mut now_ms = 0;
        while tree.state(0) != PortState::Forwarding {
            now_ms += 100;
            tree.poll(now_ms);
            assert!(now_ms < 60_000, "{settings:?}");
        }
        let range = soonest_ms..=latest_ms;
        assert!(range.contains(&now_ms), "{settings:?}: {now_ms}");
        assert_eq!(tree.topology_changes(), u64::from(!settings.auto_edge));
    }
}

#[test]
fn the_root_dies_silently() {
    let mut world = World::new(9, &[Protocol::Rstp; 3], &[(0, 1), (1, 2), (2, 0)]);
    world.converge(1000);
    // Its frames are lost from now on, and the others' to it; the links stay up.
    let since_ms = world.now_ms;
    world.bridges[0] = SpanningTree::new(
        Settings::new(id(0)),
        &[PortSettings::default(); 2],
        u64::MAX / 2,
    );
    for link in [0, 2] {
        world.links[link].up = false;
    }
    while world.bridges[2].root() != id(1) {
        world.step(since_ms + 60_000);
        assert!(world.now_ms < since_ms + 60_000);
    }
    let took_ms = world.now_ms - since_ms;
    println!("a silent root is forgotten after {took_ms} ms");
    assert!((3000..=15_000).contains(&took_ms), "{took_ms}");
}

#[test]
fn no_port_talks_more_than_it_may() {
    let mut tree = SpanningTree::new(Settings::new(id(2)), &[PortSettings::default(); 2], 0);
    let up = Event::LinkUp {
        cost: 20_000,
        point_to_point: true,
    };
    for n in 0..2 {
        tree.handle(0, n, up);
    }
    let mut worst = id(1);
    let mut sent = 0;
    for n in 0..1000 {
        // A neighbor that cannot make up its mind about the root.
        worst.priority = 0x1000 + n;
        let message = wire::bpdu::Message {
            flags: wire::bpdu::Flags {
                role: Sender::Designated,
                proposal: true,
                ..Default::default()
            },
            root: worst,
            cost: 0,
            bridge: worst,
            port: 0x8001,
            message_age: 0,
            max_age: 20 << 8,
            hello: 2 << 8,
            forward_delay: 15 << 8,
        };
        tree.handle(0, 0, Event::Heard(Bpdu::Rapid(message)));
        while tree.poll_transmit().is_some() {
            sent += 1;
        }
    }
    assert!(sent <= 12, "{sent} messages of two ports in a second");
}

#[test]
fn time_may_jump() {
    let mut tree = SpanningTree::new(Settings::new(id(2)), &[PortSettings::default(); 2], 0);
    tree.poll(u64::MAX / 2);
    assert!(tree.poll_at_ms() > u64::MAX / 2);
    tree.handle(0, 7, Event::LinkDown);
    assert_eq!(tree.state(7), PortState::Discarding);
}
