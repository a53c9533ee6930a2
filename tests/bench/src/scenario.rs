//! What is measured: the list of scenarios, and one of them made ready and run.

use simnic::replay::Replay;
use simnic::rng::Rng;

use crate::allocations;
use crate::calibrate::{core_ghz, thread_ns};
use crate::device::Device;
use crate::frame::{ACK, Packet, SYN, Segment};
use crate::policy::{Policy, Purpose, SERVICES_END, table_entry};
use crate::rig::{Plan, RigOn};
use crate::world::World;

/// Initial sequence numbers of both ends in every connection.
const ISS: [u32; 2] = [1000, 5000];
/// Slabs of packets in one run.
const SLABS: usize = 4;
/// Prefixes of the large table.
const ENTRIES: usize = 1_000_000;

/// Kind of packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    /// The device alone, without a worker.
    DeviceOnly,
    /// No packets at all: each turn counts as one. There are states of UDP flows.
    Empty,
    /// Established UDP flows, packets of clients.
    Udp,
    /// Established TCP connections, acknowledgements of clients, windows tracked.
    Tcp,
    /// The same, every other packet from the server.
    TcpBothWays,
    /// First packets of new UDP flows: both states are made.
    NewUdp,
    /// No packets: the states of UDP flows expire, each counts as one.
    Expiry,
    /// UDP packets from addresses of the table, which are blocked.
    Listed,
    /// SYNs from random addresses to ports that no rule opens.
    SynFlood,
}

/// One line of the table to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) world: World,
    pub(crate) load: Load,
    pub(crate) flows: usize,
    pub(crate) policy: Policy,
}

/// One measured run.
pub(crate) struct Sample {
    pub(crate) ns_per_packet: f64,
    /// What the device alone took per packet in the same second.
    pub(crate) device_ns: f64,
    pub(crate) core_ghz: f64,
    pub(crate) packets: u64,
    pub(crate) allocations: u64,
}

/// A scenario ready to be measured, on the replay device.
pub(crate) type Prepared = PreparedOn<Replay>;

/// The same on any device.
pub(crate) struct PreparedOn<D: Device> {
    scenario: Scenario,
    pub(crate) rig: RigOn<D>,
    frames: usize,
    rng: Rng,
    /// First flow number that was never used.
    fresh: u32,
}

/// All scenarios; `quick` leaves out the large tables.
pub(crate) fn all(quick: bool) -> Vec<Scenario> {
    let sizes: &[usize] = if quick {
        &[1_000, 100_000]
    } else {
        &[1_000, 100_000, 1_000_000]
    };
    let policy = |purpose, rules| Policy {
        purpose,
        rules,
        entries: if purpose == Purpose::Table {
            ENTRIES
        } else {
            0
        },
    };
    let line = |name, world, load, flows, policy| Scenario {
        name,
        world,
        load,
        flows,
        policy,
    };
    let filter = policy(Purpose::Filter, 10);
    let (filter6, nat) = (policy(Purpose::Filter6, 10), policy(Purpose::Nat, 10));
    let mut list = vec![
        line("device only", World::Routed, Load::DeviceOnly, 1, filter),
        line("empty turn", World::Routed, Load::Empty, 1000, filter),
    ];
    let established = [
        ("filter, udp", World::Routed, Load::Udp, filter),
        ("filter, tcp", World::Routed, Load::Tcp, filter),
        (
            "filter, tcp both ways",
            World::Routed,
            Load::TcpBothWays,
            filter,
        ),
        ("filter, ipv6 udp", World::Routed, Load::Udp, filter6),
        ("filter, ipv6 tcp", World::Routed, Load::Tcp, filter6),
        ("nat, udp", World::Routed, Load::Udp, nat),
        ("nat, tcp", World::Routed, Load::Tcp, nat),
        ("bridge with filter, udp", World::Bridged, Load::Udp, filter),
        ("lagg and vlan, udp", World::LaggVlan, Load::Udp, filter),
    ];
    for (name, world, load, policy) in established {
        list.extend(
            sizes
                .iter()
                .map(|&flows| line(name, world, load, flows, policy)),
        );
    }
    for rules in [10, 1000, 10_000] {
        let filter = policy(Purpose::Filter, rules);
        list.push(line(
            "new flow, udp",
            World::Routed,
            Load::NewUdp,
            0,
            filter,
        ));
    }
    let nat = policy(Purpose::Nat, 10);
    list.push(line(
        "new flow, nat udp",
        World::Routed,
        Load::NewUdp,
        0,
        nat,
    ));
    for (name, policy) in [("a state expires", filter), ("a state expires, nat", nat)] {
        list.push(line(name, World::Routed, Load::Expiry, 100_000, policy));
    }
    let table = policy(Purpose::Table, 10);
    list.push(line(
        "blocked by table",
        World::Routed,
        Load::Listed,
        0,
        table,
    ));
    for rules in [10, 10_000] {
        let filter = policy(Purpose::Filter, rules);
        list.push(line(
            "blocked syn flood",
            World::Routed,
            Load::SynFlood,
            0,
            filter,
        ));
    }
    list
}

/// The scenario that the budget calls so, with the flows that it asks for.
pub(crate) fn find(name: &str) -> Option<Scenario> {
    let mut parts = name.split('|');
    let (scenario, flows, rules) = (parts.next()?, parts.next()?, parts.next()?);
    let (flows, rules): (usize, usize) = (flows.parse().ok()?, rules.parse().ok()?);
    let mut all = all(true).into_iter();
    let mut found = all.find(|s| s.name == scenario && s.policy.rules == rules)?;
    found.flows = flows;
    // A large table takes minutes to be compiled where every instruction is simulated.
    found.policy.entries = found.policy.entries.min(100_000);
    Some(found)
}

/// Ends of flow `n`: a client of 10.2/15 and on, a server outside, ports mixed.
pub(crate) fn packet(v6: bool, n: u32, tcp: Option<Segment>) -> Packet {
    let mix = n.wrapping_mul(2_654_435_761);
    // Multiplication by an odd number: different flows have different clients.
    let client = u128::from(n & 0x00ff_ffff);
    let server = u128::from(mix >> 15 & 0x0001_ffff);
    let (clients, servers) = match v6 {
        true => (0x2001_0db8_000a << 80, 0x2001_0db8_ffff << 80),
        false => (0x0a00_0000, 0xc612_0000),
    };
    let service = if tcp.is_some() { 443 } else { 53 };
    Packet {
        v6,
        src: clients | client,
        dst: servers | server,
        ports: (1024 + (mix & 0x7fff) as u16, service),
        tcp,
    }
}

const OPENS: Segment = Segment(SYN, ISS[0], 0);
const ACCEPTS: Segment = Segment(SYN | ACK, ISS[1], ISS[0] + 1);
const GOES_ON: Segment = Segment(ACK, ISS[0] + 1, ISS[1] + 1);
const ANSWERS: Segment = Segment(ACK, ISS[1] + 1, ISS[0] + 1);

impl Scenario {
    /// Bytes of a frame, without frame check sequence.
    pub(crate) fn bytes(&self) -> usize {
        let packet = match self.load {
            Load::Tcp | Load::TcpBothWays | Load::SynFlood => {
                packet(self.is_v6(), 0, Some(GOES_ON))
            }
            _ => packet(self.is_v6(), 0, None),
        };
        packet.write(&self.world.link(0), &mut [0; 128])
    }

    fn is_v6(&self) -> bool {
        self.policy.purpose == Purpose::Filter6
    }

    /// The side from which packets come.
    fn side(&self) -> usize {
        usize::from(matches!(self.load, Load::Listed | Load::SynFlood))
    }

    fn plan(&self, frames: usize) -> Plan {
        let states = match self.load {
            Load::DeviceOnly | Load::Listed | Load::SynFlood => 1024,
            Load::NewUdp => 2 * (SLABS + 1) * frames,
            // Tables that are quite full are another story.
            _ => self.flows * 4 + 1024,
        };
        Plan {
            world: self.world,
            policy: self.policy,
            states,
            workers: 1,
            rss: true,
        }
    }

    /// Makes the rig, on a slab of so many frames, and all states.
    pub(crate) fn prepare(self, frames: usize) -> Prepared {
        self.prepare_on(frames)
    }

    /// The same on any device.
    pub(crate) fn prepare_on<D: Device>(self, frames: usize) -> PreparedOn<D> {
        let mut prepared = PreparedOn {
            scenario: self,
            rig: RigOn::new(self.plan(frames), frames),
            frames,
            rng: Rng::new(42),
            fresh: 0,
        };
        let v6 = self.is_v6();
        match self.load {
            // The second packet is what makes a connection one that is served by its flow entry.
            Load::Udp | Load::Empty => {
                prepared.each_flow(0, |n| packet(v6, n, None));
                prepared.each_flow(0, |n| packet(v6, n, None));
            }
            Load::Tcp | Load::TcpBothWays => {
                prepared.each_flow(0, |n| packet(v6, n, Some(OPENS)));
                prepared.each_answer(ACCEPTS);
                prepared.each_flow(0, |n| packet(v6, n, Some(GOES_ON)));
                prepared.each_answer(ANSWERS);
                prepared.each_flow(0, |n| packet(v6, n, Some(GOES_ON)));
            }
            Load::DeviceOnly | Load::NewUdp | Load::Expiry | Load::Listed | Load::SynFlood => {}
        }
        prepared
    }
}

/// What a counter of instructions looks at: the worker's turns and the device, not the generator.
#[inline(never)]
fn counted<D: Device>(rig: &mut RigOn<D>, load: Load, frames: usize) {
    match load {
        Load::DeviceOnly => rig.reflect(),
        Load::Empty => rig.idle(frames),
        Load::Expiry => expire(rig),
        _ => rig.drain(),
    }
}

/// Lets the states of UDP flows expire, and no others of theirs.
fn expire<D: Device>(rig: &mut RigOn<D>) {
    rig.now_ms += 61_000;
    while rig.states() > 0 {
        rig.turn();
    }
}

impl<D: Device> PreparedOn<D> {
    fn each_flow(&mut self, side: usize, make: impl Fn(u32) -> Packet) {
        let flows = self.scenario.flows;
        let mut next = 0;
        while next < flows {
            let count = self.frames.min(flows - next).next_multiple_of(2);
            let loaded = self.rig.load(side, count, |n| make((next + n) as u32));
            assert!(loaded > 0, "frames are lost");
            next += loaded;
            self.rig.drain();
        }
    }

    /// A segment from the other end of every flow.
    fn each_answer(&mut self, segment: Segment) {
        let answers = self.answers(segment);
        let mut rest = &answers[..];
        while !rest.is_empty() {
            let count = rest.len().min(self.frames).next_multiple_of(2);
            let loaded = self.rig.load(1, count, |n| rest[n.min(rest.len() - 1)]);
            rest = &rest[loaded.min(rest.len())..];
            self.rig.drain();
        }
    }

    /// What the other ends of all flows send. With translation only the states know where to.
    fn answers(&self, segment: Segment) -> Vec<Packet> {
        let scenario = &self.scenario;
        if scenario.policy.purpose != Purpose::Nat {
            let answer = |n| packet(scenario.is_v6(), n, Some(segment)).reversed();
            return (0..scenario.flows as u32).map(answer).collect();
        }
        translated_answers(&self.rig, Some(segment))
    }

    /// One run: several slabs of packets in random flow order; only the worker's turns are timed.
    pub(crate) fn sample(&mut self) -> Sample {
        let load = self.scenario.load;
        let (mut busy_ns, mut device_ns, mut ghz) = (0.0, 0.0, 0.0);
        let (mut packets, mut device_packets, mut made) = (0, 0, 0);
        if load == Load::NewUdp {
            self.start_afresh();
        }
        for _ in 0..SLABS {
            device_packets += self
                .rig
                .load_mirror(self.frames, |n| packet(false, n as u32, None));
            let started = thread_ns();
            self.rig.reflect();
            device_ns += thread_ns() - started;
            packets += self.load_slab();
            ghz += core_ghz();
            let (before, started) = (allocations::count(), thread_ns());
            counted(&mut self.rig, load, self.frames);
            busy_ns += thread_ns() - started;
            made += allocations::count() - before;
            ghz += core_ghz();
        }
        self.check();
        Sample {
            ns_per_packet: busy_ns / packets as f64,
            device_ns: device_ns / device_packets as f64,
            core_ghz: ghz / (2 * SLABS) as f64,
            packets: packets as u64,
            allocations: made,
        }
    }

    /// One slab to warm up, and one through [`counted`]; says how many packets that were.
    pub(crate) fn count(&mut self) -> usize {
        self.load_slab();
        match self.scenario.load {
            Load::DeviceOnly => self.rig.reflect(),
            _ => self.rig.drain(),
        }
        let count = self.load_slab();
        counted(&mut self.rig, self.scenario.load, self.frames);
        self.check();
        count
    }

    /// Loads packets of the scenario; says how many.
    pub(crate) fn load_slab(&mut self) -> usize {
        let (scenario, frames) = (self.scenario, self.frames);
        if scenario.load == Load::Expiry {
            // Neighbors have gone stale while the states expired.
            self.rig.introduce();
            self.each_flow(0, |n| packet(false, n, None));
            self.each_flow(0, |n| packet(false, n, None));
            return self.rig.states();
        }
        let (flows, v6) = (scenario.flows as u64, scenario.is_v6());
        let (rng, fresh) = (&mut self.rng, &mut self.fresh);
        let mut segment = |segment| packet(v6, rng.below(flows) as u32, segment);
        match scenario.load {
            Load::Empty | Load::Expiry => frames,
            Load::DeviceOnly => self.rig.load_mirror(frames, |n| packet(v6, n as u32, None)),
            Load::Udp => self.rig.load(0, frames, |_| segment(None)),
            Load::Tcp => self.rig.load(0, frames, |_| segment(Some(GOES_ON))),
            Load::TcpBothWays => {
                let half = frames / 2;
                self.rig.load(0, half, |_| segment(Some(GOES_ON)))
                    + self
                        .rig
                        .load(1, half, |_| segment(Some(ANSWERS)).reversed())
            }
            Load::NewUdp => self.rig.load(0, frames, |_| {
                *fresh += 1;
                packet(v6, *fresh, None)
            }),
            Load::Listed | Load::SynFlood => {
                let side = scenario.side();
                self.rig.load(side, frames, |_| unwanted(&scenario, rng))
            }
        }
    }

    /// Lets all states expire.
    fn start_afresh(&mut self) {
        self.rig.now_ms += 200_000;
        while self.rig.states() > 0 {
            self.rig.turn();
        }
        // Neighbors have gone stale meanwhile: warm them with packets that are not measured.
        self.rig.introduce();
    }

    /// The figures mean what they say: everything went where it should.
    fn check(&self) {
        let counters = &self.rig.control[0].counters;
        let (input, output) = counters.books();
        assert_eq!(input, output);
        let dropped = counters.dropped.get();
        let reasons = &counters.filter.reasons;
        match self.scenario.load {
            Load::Listed | Load::SynFlood => {
                assert_eq!((dropped, self.rig.states()), (reasons[0].get(), 0));
            }
            _ => assert_eq!(dropped, 0, "{reasons:?}"),
        }
        let ended = dropped + counters.passed.get() + counters.consumed.get();
        assert_eq!(ended, counters.received.get() + counters.generated.get());
        assert!(
            counters.consumed.get() < 100 + counters.turns.get(),
            "packets for the box"
        );
    }
}

/// A packet from outside that the rules block.
fn unwanted(scenario: &Scenario, rng: &mut Rng) -> Packet {
    let server = 0x0a01_0000 | u128::from(rng.below(0x1_0000) as u16);
    let high = SERVICES_END + rng.below(40_000) as u16;
    let flood = scenario.load == Load::SynFlood;
    let src = match flood {
        // Unicast, and none of those that rules or routes know.
        true => 0x1000_0000 + rng.below(0x5000_0000) as u32,
        false => table_entry(rng.below(scenario.policy.entries as u64) as usize),
    };
    Packet {
        v6: false,
        src: src.into(),
        dst: server,
        ports: (1024 + rng.below(60_000) as u16, high),
        tcp: flood.then_some(OPENS),
    }
}

/// What servers answer to clients whose sources were translated: the states of the outer interface know.
pub(crate) fn translated_answers<D: Device>(rig: &RigOn<D>, tcp: Option<Segment>) -> Vec<Packet> {
    let states = rig.workers.iter().flat_map(|w| w.states().iter_from(0));
    let outer = states.filter(|(_, st)| st.direction == ruleset::Direction::Out);
    // For packets that leave, end 0 is where they go.
    let answer = |(_, st): (_, std::borrow::Cow<state::State>)| {
        let (server, ours) = (st.wire.end(0), st.wire.end(1));
        Packet {
            v6: false,
            src: server.0,
            dst: ours.0,
            ports: (server.1, ours.1),
            tcp,
        }
    };
    outer.map(answer).collect()
}
