//! What is measured.

use ruleset::{
    Action, AddrSpec, Af, BlockReply, Endpoint, KeepState, PortOp, PortRange, Rule, RuleSlot,
    Ruleset, TcpFlagsMatch,
};
use simnic::rng::Rng;

use crate::calibrate::{core_ghz, thread_ns};
use crate::rig::{FRAMES, Packet, Rig};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Initial sequence numbers of both ends in every connection.
const ISS: [u32; 2] = [1000, 5000];

/// Kind of packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    /// The device alone, without a worker.
    DeviceOnly,
    /// No packets at all: each turn counts as one. There are states of UDP flows.
    Empty,
    /// Established UDP flows.
    Udp,
    /// Established TCP connections, windows tracked.
    Tcp,
    /// First packets of new UDP flows: both states are made.
    NewUdp,
    /// UDP packets that the last rule blocks.
    Blocked,
}

/// One line of the table to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) load: Load,
    pub(crate) flows: usize,
    pub(crate) rules: usize,
}

/// One measured run.
pub(crate) struct Sample {
    pub(crate) ns_per_packet: f64,
    pub(crate) core_ghz: f64,
    pub(crate) packets: u64,
}

/// A scenario ready to be measured.
pub(crate) struct Prepared {
    scenario: Scenario,
    rig: Rig,
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
    let without_rules = |name, load, flows| Scenario {
        name,
        load,
        flows,
        rules: 0,
    };
    let mut list = vec![
        without_rules("device only", Load::DeviceOnly, 1),
        without_rules("empty turn", Load::Empty, 1000),
    ];
    for (name, load) in [
        ("udp established", Load::Udp),
        ("tcp established", Load::Tcp),
    ] {
        for &flows in sizes {
            list.push(Scenario {
                name,
                load,
                flows,
                rules: 10,
            });
        }
    }
    for rules in [10, 1000] {
        list.push(Scenario {
            name: "udp new flow, both states",
            load: Load::NewUdp,
            flows: 1_000_000,
            rules,
        });
        list.push(Scenario {
            name: "udp blocked",
            load: Load::Blocked,
            flows: 1_000_000,
            rules,
        });
    }
    list
}

/// `count` - 1 rules that do not match, as a real ruleset has them before the one that does.
fn rules(count: usize, last: Rule) -> Ruleset {
    let mut rules: Vec<Rule> = (1..count)
        .map(|n| Rule {
            af: Some(Af::Inet),
            proto: Some(if n % 2 == 0 { 6 } else { 17 }),
            dst: Endpoint {
                addr: AddrSpec::Masked {
                    af: Af::Inet,
                    addr: 0xc0a8_0000 + n as u128,
                    mask: 0xffff_ffff,
                },
                negate: false,
                port: Some(PortRange {
                    op: PortOp::Eq,
                    a: n as u16,
                    b: 0,
                }),
            },
            keep_state: KeepState::Keep,
            ..Rule::new(Action::Pass)
        })
        .collect();
    rules.push(last);
    for (n, rule) in rules.iter_mut().enumerate() {
        rule.slot = RuleSlot(n as u32 + 1);
    }
    let mut ruleset = Ruleset {
        rules,
        ..Ruleset::default()
    };
    ruleset.limits.states = 100_000_000;
    ruleset
}

/// Ends of flow `n`: a client of 10/8, a server of 198.18/15, ports mixed.
fn packet(n: u32, tcp: Option<(u8, u32, u32)>) -> Packet {
    let mix = n.wrapping_mul(2_654_435_761);
    Packet {
        src: 0x0a00_0000 | (n & 0x00ff_ffff),
        dst: 0xc612_0000 | (mix >> 15 & 0x0001_ffff),
        ports: (1024 + (mix & 0x7fff) as u16, 53),
        tcp,
    }
}

fn reversed(p: Packet) -> Packet {
    Packet {
        src: p.dst,
        dst: p.src,
        ports: (p.ports.1, p.ports.0),
        ..p
    }
}

impl Scenario {
    /// Makes the rig and all states.
    pub(crate) fn prepare(self) -> Prepared {
        let pass = Rule {
            keep_state: KeepState::Keep,
            flags: TcpFlagsMatch {
                set: SYN,
                mask: SYN | ACK,
            },
            ..Rule::new(Action::Pass)
        };
        let last = match self.load {
            Load::Blocked => Rule::new(Action::Block(BlockReply::Drop)),
            _ => pass,
        };
        let states = match self.load {
            Load::DeviceOnly | Load::Blocked => 1024,
            Load::NewUdp => 2 * 8 * FRAMES,
            _ => self.flows * 2 + 1024,
        };
        let mut prepared = Prepared {
            scenario: self,
            rig: Rig::new(rules(self.rules.max(1), last), states),
            rng: Rng::new(42),
            fresh: 0,
        };
        match self.load {
            Load::Udp | Load::Empty => prepared.each_flow(0, |n| packet(n, None)),
            Load::Tcp => {
                prepared.each_flow(0, |n| packet(n, Some((SYN, ISS[0], 0))));
                prepared.each_flow(1, |n| {
                    reversed(packet(n, Some((SYN | ACK, ISS[1], ISS[0] + 1))))
                });
                prepared.each_flow(0, |n| packet(n, Some((ACK, ISS[0] + 1, ISS[1] + 1))));
            }
            Load::DeviceOnly | Load::NewUdp | Load::Blocked => {}
        }
        prepared
    }
}

/// What a counter of instructions looks at: the worker's turns and the device, not the generator.
#[inline(never)]
fn counted(rig: &mut Rig, load: Load) {
    match load {
        Load::DeviceOnly => rig.reflect(),
        Load::Empty => rig.idle(FRAMES),
        _ => {
            rig.drain();
        }
    }
}

impl Prepared {
    fn each_flow(&mut self, port: usize, make: impl Fn(u32) -> Packet) {
        let flows = self.scenario.flows;
        let mut next = 0;
        while next < flows {
            let loaded = self
                .rig
                .load(port, FRAMES.min(flows - next), |n| make((next + n) as u32));
            assert!(loaded > 0, "frames are lost");
            next += loaded;
            self.rig.drain();
        }
    }

    /// One run: several slabs of packets in random flow order; only the worker's turns are timed.
    pub(crate) fn sample(&mut self) -> Sample {
        let slabs = 8;
        let (mut busy_ns, mut packets, mut ghz) = (0.0, 0u64, 0.0);
        if self.scenario.load == Load::NewUdp {
            self.start_afresh();
        }
        for _ in 0..slabs {
            let count = self.load_slab();
            ghz += core_ghz();
            let started = thread_ns();
            counted(&mut self.rig, self.scenario.load);
            busy_ns += thread_ns() - started;
            ghz += core_ghz();
            packets += count as u64;
        }
        self.check();
        Sample {
            ns_per_packet: busy_ns / packets as f64,
            core_ghz: ghz / f64::from(2 * slabs),
            packets,
        }
    }

    /// One slab to warm up, and one through [`counted`]; says how many packets that were.
    pub(crate) fn count(&mut self) -> usize {
        if self.scenario.load == Load::NewUdp {
            self.start_afresh();
        }
        self.load_slab();
        self.rig.drain();
        let count = self.load_slab();
        counted(&mut self.rig, self.scenario.load);
        self.check();
        count
    }

    fn load_slab(&mut self) -> usize {
        let flows = self.scenario.flows as u64;
        let load = self.scenario.load;
        if load == Load::Empty {
            return FRAMES;
        }
        let (rng, fresh) = (&mut self.rng, &mut self.fresh);
        self.rig.load(0, FRAMES, |_| match load {
            Load::NewUdp => {
                *fresh += 1;
                packet(*fresh, None)
            }
            Load::Tcp => packet(rng.below(flows) as u32, Some((ACK, ISS[0] + 1, ISS[1] + 1))),
            _ => packet(rng.below(flows) as u32, None),
        })
    }

    /// Lets all states expire.
    fn start_afresh(&mut self) {
        self.rig.now_ms += 200_000;
        while !self.rig.worker.states().is_empty() {
            self.rig.worker.turn(self.rig.now_ms);
        }
        // Neighbors have gone stale meanwhile: warm them with packets that are not measured.
        self.rig.introduce();
    }

    /// The figures mean what they say: everything went where it should.
    fn check(&self) {
        let counters = &self.rig.control.counters;
        let (input, output) = counters.books();
        assert_eq!(input, output);
        let dropped = counters.dropped.get();
        match self.scenario.load {
            Load::Blocked => assert_eq!(dropped, counters.filter.reasons[0].get()),
            Load::DeviceOnly => {}
            _ => assert_eq!(dropped, 0, "{:?}", counters.filter.reasons),
        }
    }
}
