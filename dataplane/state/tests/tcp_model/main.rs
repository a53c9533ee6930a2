//! Random TCP conversations through the tracker and through an independent model of PF's rules ([`model`]).
//!
//! Two simple hosts ([`host`]) talk over a network that loses, doubles and reorders; the firewall in the middle is
//! the tracker. Strangers send segments with random numbers, spoilers change segments of the hosts by a little. After
//! each segment tracker and model must agree in their verdict and in all they know. And whatever happens: a
//! conversation that no stranger got into comes to its end with all its data, unless something overtook the SYN+ACK: PF
//! reads the scale of a side's windows in the first segment that it hears from it, and nowhere else.
//!
//! `FUGU_TCP_STEPS` sets how many segments are judged (the default suits `ci/test`), `FUGU_TCP_SEED` where to begin.

mod host;
mod model;
mod random;

use host::Host;
use model::Model;
use random::Random;
use state::track::tcp::{ACK, FIN, RST, SYN, begin, track};
use state::{Peer, Segment, TcpVerdict};

/// Segments judged when nothing else is said.
const STEPS: u64 = 300_000;
/// Segments under way; more are lost.
const UNDER_WAY_MAX: usize = 64;
/// Rounds after which a conversation counts as broken.
const ROUNDS_MAX: u32 = 60_000;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |v| v.parse().expect(name))
}

/// What the network does.
#[derive(Clone, Copy, Debug)]
struct Weather {
    /// Percent lost, on each side of the firewall.
    loss: u64,
    /// Percent doubled.
    doubled: u64,
    /// How far a segment may be overtaken.
    reorder: u64,
    /// Percent of rounds in which a stranger sends a segment with random numbers.
    strangers: u64,
    /// Percent of segments that arrive a second time, changed by a little.
    spoilers: u64,
}

const FAIR: Weather = Weather {
    loss: 0,
    doubled: 0,
    reorder: 0,
    strangers: 0,
    spoilers: 0,
};

/// The firewall: tracker and model side by side.
struct Firewall {
    known: Option<([Peer; 2], Model)>,
    /// `flags any`: a segment other than SYN makes a state.
    any: bool,
    judged: u64,
}

impl Firewall {
    fn hears(&mut self, from: usize, segment: &Segment) -> TcpVerdict {
        self.judged += 1;
        let Some((peers, model)) = &mut self.known else {
            let first = segment.flags & (SYN | ACK) == SYN;
            if from == 0 && (first || (self.any && segment.flags & RST == 0)) {
                self.known = Some((begin(segment), Model::begin(segment)));
                return TcpVerdict::Pass;
            }
            return TcpVerdict::BadState;
        };
        let before = *peers;
        let [a, b] = peers;
        let (src, dst) = if from == 0 { (a, b) } else { (b, a) };
        let (verdict, _) = track(src, dst, segment);
        let modeled = model.hears(from, segment);
        assert_eq!(
            verdict, modeled,
            "{from} {segment:?}\n{before:#?}\n{model:#?}"
        );
        assert_eq!(model.peers(), *peers, "{from} {segment:?}\n{before:#?}");
        verdict
    }
}

/// A segment under way, before or behind the firewall.
struct UnderWay {
    from: usize,
    screened: bool,
    segment: Segment,
}

struct World {
    random: Random,
    weather: Weather,
    hosts: [Host; 2],
    firewall: Firewall,
    network: Vec<UnderWay>,
    /// A segment that no host has sent got through.
    intruded: bool,
    refused: u64,
}

impl World {
    fn new(seed: u64, weather: Weather) -> World {
        let mut random = Random::new(seed);
        let mut hosts = [Host::new(&mut random, true), Host::new(&mut random, false)];
        let [a, b] = &mut hosts;
        a.suit(b);
        b.suit(a);
        World {
            random,
            weather,
            hosts,
            firewall: Firewall {
                known: None,
                any: false,
                judged: 0,
            },
            network: Vec::new(),
            intruded: false,
            refused: 0,
        }
    }

    /// One thing happens. Then: whether all is said.
    fn round(&mut self) -> bool {
        if self.random.percent(self.weather.strangers) {
            self.stranger();
        }
        match self.random.below(5) {
            0 | 1 => self.host_acts(),
            _ => self.deliver(),
        }
        self.network.is_empty() && self.hosts.iter().all(Host::is_done)
    }

    fn host_acts(&mut self) {
        let from = self.random.below(2) as usize;
        if let Some(segment) = self.hosts[from].acts(&mut self.random) {
            self.post(from, false, segment);
        }
    }

    fn post(&mut self, from: usize, screened: bool, segment: Segment) {
        if self.random.percent(self.weather.loss) || self.network.len() >= UNDER_WAY_MAX {
            return;
        }
        let copies = 1 + usize::from(self.random.percent(self.weather.doubled));
        for _ in 0..copies {
            self.network.push(UnderWay {
                from,
                screened,
                segment,
            });
        }
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let reach = (self.weather.reorder + 1).min(self.network.len() as u64);
        let n = self.random.below(reach) as usize;
        let UnderWay {
            from,
            screened,
            segment,
        } = self.network.remove(n);
        if screened {
            return self.hosts[1 - from].hears(&segment);
        }
        if self.random.percent(self.weather.spoilers) {
            let spoiled = self.spoil(segment);
            self.intrude(from, &spoiled);
        }
        let mut verdict = self.firewall.hears(from, &segment);
        if verdict == TcpVerdict::Reuse {
            // An old SYN that comes late, after the close, makes a new state, as a true one would.
            self.firewall.known = None;
            verdict = self.firewall.hears(from, &segment);
        }
        match verdict {
            TcpVerdict::Pass | TcpVerdict::PassLoose => self.post(from, true, segment),
            _ => self.refused += 1,
        }
    }

    /// A blind stranger: everything is a guess, with a taste for the numbers that matter.
    fn stranger(&mut self) {
        const FLAGS: [u8; 8] = [
            SYN,
            SYN | ACK,
            ACK,
            ACK,
            RST,
            RST | ACK,
            FIN | ACK,
            FIN | SYN,
        ];
        let from = self.random.below(2) as usize;
        let segment = Segment {
            seq: self.random.number() as u32,
            ack: self.random.number() as u32,
            window: self.random.number() as u16,
            flags: FLAGS[self.random.below(8) as usize],
            wscale: self.random.percent(20).then(|| self.random.below(15) as u8),
            payload: self.random.below(1460) as u32,
        };
        self.intrude(from, &segment);
    }

    /// Who knows the connection changes a segment by as much as the rules look at.
    fn spoil(&mut self, mut segment: Segment) -> Segment {
        const STRIDES: [u64; 6] = [3, 1500, 65_535, 70_000, 140_000, 1 << 24];
        let off = |random: &mut Random| {
            let stride = STRIDES[random.below(6) as usize];
            (random.below(2 * stride) as u32).wrapping_sub(stride as u32)
        };
        match self.random.below(6) {
            0 => segment.seq = segment.seq.wrapping_add(off(&mut self.random)),
            1 => segment.ack = segment.ack.wrapping_add(off(&mut self.random)),
            2 => segment.window = self.random.number() as u16,
            3 => segment.flags |= RST,
            4 => {
                segment.flags = RST | ACK;
                segment.seq = segment.seq.wrapping_add(off(&mut self.random));
            }
            _ => segment.payload = self.random.below(3000) as u32,
        }
        segment
    }

    fn intrude(&mut self, from: usize, segment: &Segment) {
        if self.firewall.known.is_none() {
            return;
        }
        match self.firewall.hears(from, segment) {
            TcpVerdict::Pass | TcpVerdict::PassLoose => self.intruded = true,
            _ => {}
        }
    }

    /// Runs until all is said; judges whether that had to come about.
    fn run(&mut self, name: &str) {
        for _ in 0..ROUNDS_MAX {
            if self.round() {
                return;
            }
        }
        assert!(
            self.intruded || self.units_are_unknown(),
            "{name}: broken: {:#?} {:#?}",
            self.hosts,
            self.firewall.known
        );
    }
}

impl World {
    /// Both hosts scale their windows, and the firewall has not heard it of one of them.
    fn units_are_unknown(&self) -> bool {
        let knows = |(peers, _): &([Peer; 2], Model)| {
            peers.iter().all(|p| p.wscale & Peer::WSCALE_KNOWN != 0)
        };
        self.hosts.iter().all(Host::scales) && !self.firewall.known.as_ref().is_some_and(knows)
    }
}

fn weather(random: &mut Random) -> Weather {
    Weather {
        loss: random.below(4) * 5,
        doubled: random.below(3) * 10,
        reorder: random.below(4) * random.below(10),
        strangers: random.below(3) * 30,
        spoilers: random.below(3) * 20,
    }
}

#[test]
fn tracker_and_model_agree_on_random_conversations_and_honest_ones_come_to_their_end() {
    let steps = from_environment("FUGU_TCP_STEPS", STEPS);
    let first = from_environment("FUGU_TCP_SEED", 1);
    let mut judged = 0;
    for seed in first.. {
        let weather = weather(&mut Random::new(seed ^ 0x77ea_7e57));
        let name = format!("FUGU_TCP_SEED={seed} {weather:?}");
        let mut world = World::new(seed, weather);
        world.run(&name);
        judged += world.firewall.judged;
        if judged >= steps {
            return;
        }
    }
}

#[test]
fn what_overtakes_the_syn_ack_leaves_the_scale_of_its_side_unknown() {
    let syn = Segment {
        seq: 1000,
        window: 65_535,
        flags: SYN,
        wscale: Some(7),
        ..Segment::default()
    };
    let answer = Segment {
        seq: 5000,
        ack: 1001,
        flags: SYN | ACK,
        wscale: Some(5),
        ..syn
    };
    let overtaking = Segment {
        seq: 5001,
        flags: ACK,
        wscale: None,
        ..answer
    };
    for (first, known) in [(answer, true), (overtaking, false)] {
        let mut firewall = Firewall {
            known: None,
            any: false,
            judged: 0,
        };
        for (from, segment) in [(0, syn), (1, first), (1, answer)] {
            assert_eq!(firewall.hears(from, &segment), TcpVerdict::Pass);
        }
        let (peers, _) = firewall.known.expect("a connection");
        assert_eq!(peers[1].wscale & Peer::WSCALE_KNOWN != 0, known);
    }
}

/// As servers do that answer by cookies while they are flooded, and no more when the SYN comes again. Their first answer
/// may say nothing of scales.
#[test]
fn a_server_that_answers_afresh_is_heard_when_its_first_answer_was_lost() {
    for seed in 0..500 {
        let mut world = World::new(seed, FAIR);
        let syn = world.hosts[0].acts(&mut world.random).expect("a SYN");
        let mut flooded = Host::new(&mut world.random, false);
        flooded.hears(&syn);
        let lost = flooded.acts(&mut world.random).expect("an answer");
        for (from, segment) in [(0, &syn), (1, &lost), (0, &syn)] {
            let verdict = world.firewall.hears(from, segment);
            assert_eq!(verdict, TcpVerdict::Pass, "seed {seed}");
        }
        world.hosts[1].hears(&syn);
        world.run(&format!("seed {seed}"));
        assert!(world.hosts.iter().all(Host::is_done), "seed {seed}");
        assert_eq!(world.refused, 0, "seed {seed}");
    }
}

#[test]
fn without_loss_and_strangers_nothing_is_ever_refused() {
    for seed in 0..200 {
        let mut world = World::new(seed, FAIR);
        world.run(&format!("seed {seed}"));
        assert_eq!(world.refused, 0, "seed {seed}");
    }
}

#[test]
fn a_blind_stranger_gets_into_an_open_connection_as_seldom_as_the_windows_are_small() {
    let (mut guesses, mut intruded) = (0, 0);
    for seed in 0..100 {
        let mut world = World::new(seed, FAIR);
        while !world.round() {
            // During the handshake one side's numbers are not known, after the close nothing is at stake.
            if !world.hosts.iter().all(Host::is_between) {
                continue;
            }
            for _ in 0..20 {
                world.stranger();
                guesses += 1;
            }
            intruded += u64::from(world.intruded);
            world.intruded = false;
        }
    }
    // An acknowledgement within two fudges, and numbers within the window where there are any.
    assert!(guesses > 100_000, "{guesses}");
    assert!(intruded * 10_000 < guesses, "{intruded} of {guesses}");
}

#[test]
fn a_connection_picked_up_in_the_middle_goes_on_to_its_end() {
    for seed in 0..200 {
        let mut world = World::new(seed, FAIR);
        world.firewall.any = true;
        // Without the handshake nobody can know in which units the windows are.
        world.hosts.iter_mut().for_each(Host::forgo_scaling);
        for round in 0..ROUNDS_MAX {
            // The firewall forgets, once the handshake is over and before the close.
            if round == 150 && world.hosts.iter().all(Host::is_open) {
                world.firewall.known = None;
            }
            if world.round() {
                break;
            }
        }
        assert!(
            world.hosts.iter().all(Host::is_done),
            "seed {seed}: {:#?}",
            world.hosts
        );
    }
}

#[test]
fn a_host_that_has_forgotten_its_connection_gets_a_new_one_by_way_of_a_challenge() {
    for seed in 0..100 {
        let mut world = World::new(seed, FAIR);
        while !world.hosts.iter().all(Host::is_open) {
            world.round();
        }
        world.network.clear();
        let reborn = Host::new(&mut world.random, true);
        let syn = reborn.syn();
        assert_eq!(world.firewall.hears(0, &syn), TcpVerdict::Challenge);
        let (peers, _) = world.firewall.known.as_ref().expect("a connection");
        // The challenge acknowledges what the side has sent; its answer names that number.
        let reset = Segment {
            seq: peers[0].seq_lo,
            flags: RST,
            ..Segment::default()
        };
        assert_eq!(
            world.firewall.hears(0, &reset),
            TcpVerdict::Pass,
            "seed {seed}"
        );
        assert_eq!(
            world.firewall.hears(0, &syn),
            TcpVerdict::Reuse,
            "seed {seed}"
        );
    }
}
