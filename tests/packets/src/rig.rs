//! The rig: a box with its workers on simulated ports, and time, which passes when a test says so. What goes over the wires
//! is in `wires`, the control core and the local host in `inside`, counters in `books`, failures in `record`.

mod books;
mod frames;
mod inside;
mod record;
mod wires;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use filter::Shared;
use net::{InterfaceId, InterfaceTable, RouteTables};
use ruleset::Ruleset;
use simnic::rng::Rng;
use simnic::{SimBuf, SimNic, SimPool, SimPort, SimPortConfig, Steering};
use sync::{BridgePorts, Masks, OverlayEdit};
use wire::ether;
use worker::{Config, ControlEnds, Worker, WorkerPort, WorkerSetup};

use self::record::Recorded;
use crate::packet;
use crate::policy::{self, Slots};
use crate::tally::Tally;
use crate::topology::{Made, Topology};

pub use self::frames::{arp_frame, discovery};

/// Rounds of turns after which a box that still finds work is in a loop. A kill goes round a table of ten million states in
/// 40,000.
const ROUNDS_MAX: usize = 100_000;
/// Turns between two looks at the clock while time passes; real boxes take thousands.
const TURNS_PER_STEP: usize = 64;
/// Frames kept for the record of a failing test.
const RECORD_MAX: usize = 4096;
/// Places for rule counters.
const RULE_SLOTS: usize = 128;
/// Pieces of datagrams per worker.
const FRAGMENTS: usize = 512;
/// States per worker.
const STATES: usize = 4096;

/// How a box spreads its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spread {
    /// Workers.
    pub workers: u16,
    /// The cards have a flow hash and a receive queue per worker; otherwise all frames arrive at the first worker.
    pub rss: bool,
    /// Order in which workers take turns: 0 is by number, others are seeds.
    pub order: u64,
}

impl Spread {
    /// One worker.
    pub const ONE: Spread = Spread {
        workers: 1,
        rss: true,
        order: 0,
    };

    /// What every conversation must come out the same under.
    pub const ALL: [Spread; 5] = [
        Spread::ONE,
        Spread {
            workers: 2,
            rss: true,
            order: 0,
        },
        Spread {
            workers: 2,
            rss: false,
            order: 7,
        },
        Spread {
            workers: 4,
            rss: true,
            order: 99,
        },
        Spread {
            workers: 4,
            rss: false,
            order: 0,
        },
    ];
}

/// A turn of a worker, in which nothing may be allocated or freed: the guard ends the program if it is.
fn guarded<T>(turn: impl FnOnce() -> T) -> T {
    static LOUD: std::sync::Once = std::sync::Once::new();
    // A panic allocates, and must be allowed to say what it has to say.
    LOUD.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            assert_no_alloc::permit_alloc(|| hook(panic));
        }));
    });
    assert_no_alloc::assert_no_alloc(turn)
}

/// Runs a conversation under every [`Spread`]: outcomes and summed counters must not depend on it.
pub fn everywhere(policy: &str, topology: &Topology, conversation: impl Fn(&mut Rig)) {
    for spread in Spread::ALL {
        let mut rig = Rig::with(policy, topology, spread);
        conversation(&mut rig);
        rig.finish();
    }
}

/// A box under test and its surroundings.
pub struct Rig {
    spread: Spread,
    topology: Topology,
    published: Vec<Arc<Config>>,
    workers: Vec<Worker<SimNic>>,
    control: Vec<ControlEnds<SimBuf>>,
    ports: Vec<SimPort>,
    macs: Vec<[u8; 6]>,
    pool: SimPool,
    shared: Arc<Shared>,
    slots: Slots,
    generation: u32,
    now_ms: u64,
    order: Rng,
    /// Frames that left, by port, not yet expected.
    left: Vec<VecDeque<Vec<u8>>>,
    /// Frames that left, by card, as they were on the wire.
    wires: Vec<Vec<Vec<u8>>>,
    /// Frames of link protocols that came to the control core.
    control_frames: Vec<(String, Vec<u8>)>,
    /// Packets for the local host, not yet expected.
    to_host: VecDeque<Vec<u8>>,
    /// A packet for the local host of which more follows.
    for_host: Vec<u8>,
    before: Tally,
    /// Shortest and longest IP packet on the wires since the last check.
    lens: (usize, usize),
    record: VecDeque<Recorded>,
    host_reads: bool,
    finished: bool,
}

impl Rig {
    /// A box of one worker with this pf.conf, whose neighbors are known already.
    pub fn new(policy: &str, topology: &Topology) -> Rig {
        Rig::with(policy, topology, Spread::ONE)
    }

    /// As [`Rig::new`], spread over workers.
    pub fn with(policy: &str, topology: &Topology, spread: Spread) -> Rig {
        Rig::unconfigured(topology, spread).introduced(policy)
    }

    /// Knows its neighbors and has a policy.
    fn introduced(mut self, policy: &str) -> Rig {
        self.publish(Ruleset::default());
        self.run();
        self.introduce_neighbors();
        self.reload(policy);
        // Until a turn takes whole bursts again.
        for worker in 0..self.workers.len() {
            for _ in 0..4 {
                self.one_turn(worker, 0);
            }
        }
        self.before = self.tally();
        self
    }

    /// As [`Rig::with`], with room for so many states on each worker.
    pub fn sized(policy: &str, topology: &Topology, spread: Spread, states: usize) -> Rig {
        Rig::made(topology, spread, states).introduced(policy)
    }

    /// As [`Rig::new`], with no neighbor known.
    pub fn cold(policy: &str, topology: &Topology, spread: Spread) -> Rig {
        let mut rig = Rig::unconfigured(topology, spread);
        rig.reload(policy);
        rig.before = rig.tally();
        rig
    }

    /// A box that has no configuration yet.
    pub fn unconfigured(topology: &Topology, spread: Spread) -> Rig {
        Rig::made(topology, spread, STATES)
    }

    fn made(topology: &Topology, spread: Spread, states: usize) -> Rig {
        let pool = SimPool::new(topology.buffers);
        let workers = usize::from(spread.workers);
        let (ends, control) = worker::connect::<SimNic>(workers, RULE_SLOTS);
        let ports: Vec<SimPort> = (0..topology.ports.len() as u16)
            .map(|n| sim_port(n, spread, topology.tx_depth, &pool))
            .collect();
        let mut queues: Vec<_> = ports
            .iter()
            .map(|p| {
                let queues = p.queues().expect("asked for once");
                (queues.rx.into_iter(), queues.tx.into_iter())
            })
            .collect();
        let shared = Shared::new(RULE_SLOTS, states * workers, workers, 0x5eed);
        let shared = Arc::new(shared);
        let mut make = |(id, ends)| {
            let ports = queues.iter_mut().map(|(rx, tx)| WorkerPort {
                rx: rx.next(),
                tx: tx.next(),
            });
            Worker::new(WorkerSetup {
                id,
                workers: spread.workers,
                ends,
                ports: ports.collect(),
                pool: pool.clone(),
                states_capacity: states,
                shared: shared.clone(),
                fragments_capacity: FRAGMENTS,
                hash_seed: 0x5eed ^ u64::from(id),
                dice_seed: 0xd1ce,
                secret: [0x5ec7e7, u64::from(id)],
                express: topology.express,
                now_ms: 0,
            })
        };
        let workers = (0..).zip(ends).map(&mut make).collect();
        let macs = ports.iter().map(|p| p.info().mac).collect();
        let mut topology = topology.clone();
        topology.renew_masks();
        let mut rig = Rig {
            spread,
            topology,
            published: Vec::new(),
            workers,
            control,
            left: ports.iter().map(|_| VecDeque::new()).collect(),
            wires: ports.iter().map(|_| Vec::new()).collect(),
            control_frames: Vec::new(),
            ports,
            macs,
            pool,
            shared,
            slots: Slots::default(),
            generation: 0,
            now_ms: 0,
            order: Rng::new(spread.order),
            to_host: VecDeque::new(),
            for_host: Vec::new(),
            before: Tally::default(),
            lens: (usize::MAX, 0),
            record: VecDeque::new(),
            host_reads: true,
            finished: false,
        };
        rig.before = rig.tally();
        rig
    }

    /// The box sends something to every host, from every worker: all neighbors are asked for and known.
    fn introduce_neighbors(&mut self) {
        /// Ports tried, so that each worker owns one of the conversations.
        const PORTS: std::ops::Range<u16> = 9000..9032;
        let (interfaces, _) = self.tables();
        for host in self.topology.hosts.clone() {
            for addr in host.addrs.iter().filter(|_| host.answers) {
                let interface = interfaces.get(InterfaceId(host.port as u16));
                let interface = interface.expect("an interface");
                // Hosts behind a bridge need not know the box, nor the box them.
                let Some(own) = interface.source(*addr) else {
                    continue;
                };
                let rtable = interface.rdomain;
                for port in PORTS {
                    let end = |ip: IpAddr, port| std::net::SocketAddr::new(ip, port).to_string();
                    let question = packet::udp(&end(own, 9), &end(*addr, port));
                    self.host_sends_in(rtable, &question);
                }
            }
        }
        self.ignore_rest();
    }

    fn tables(&self) -> (InterfaceTable, RouteTables) {
        self.topology.tables(&self.macs)
    }

    /// Publishes a pf.conf as a new generation and lets every worker adopt it. Equal rules keep their counters.
    pub fn reload(&mut self, policy: &str) {
        self.publish_policy(policy);
        self.run();
    }

    /// Publishes a pf.conf without letting anybody adopt it yet.
    pub fn publish_policy(&mut self, policy: &str) {
        let mut ruleset = policy::compile(policy, &self.topology);
        self.slots.assign(&mut ruleset);
        let load = self.generation + 1;
        self.slots.settle(&mut ruleset, load, &self.shared.edits);
        self.publish(ruleset);
    }

    /// Changes interfaces, routes or hosts, and publishes with the policy `policy`.
    pub fn rewire(&mut self, change: impl FnOnce(&mut Topology), policy: &str) {
        change(&mut self.topology);
        self.reload(policy);
    }

    /// Publishes a ruleset as a new generation without letting anybody adopt it.
    pub fn publish(&mut self, ruleset: Ruleset) {
        let (interfaces, routes) = self.tables();
        self.generation += 1;
        let config = Arc::new(Config::new(self.generation, ruleset, interfaces, routes));
        for control in &self.control {
            control.config.publish(config.clone());
        }
        // As the control core does: workers never hold the last reference.
        self.published.push(config);
    }

    /// Lets time pass, with turns on the way.
    pub fn advance(&mut self, ms: u64) {
        let step = (ms / 240).clamp(100, 30_000);
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms = (self.now_ms + step).min(end);
            // Timers of neighbors are found in rounds of this many turns.
            for _ in 0..TURNS_PER_STEP {
                self.run();
            }
        }
    }

    /// Lets time pass at once, with turns at its end only.
    pub fn skip(&mut self, ms: u64) {
        self.now_ms += ms;
        self.run();
    }

    /// Milliseconds since the box was made.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Whether the local host takes what is for it.
    pub fn host_reads(&mut self, reads: bool) {
        self.host_reads = reads;
    }

    /// Turns until nobody finds work. After each the books must balance.
    pub fn run(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut work = false;
            let count = self.workers.len();
            let first = if self.spread.order == 0 {
                0
            } else {
                self.order.below(count as u64) as usize
            };
            for n in 0..count {
                let n = (first + n) % count;
                work |= guarded(|| self.workers[n].turn(self.now_ms));
                let (input, output) = self.control[n].counters.books();
                self.check(input == output, || {
                    format!("books of worker {n}: {input} came in, {output} went out")
                });
            }
            work |= self.collect();
            if !work {
                return;
            }
        }
        self.fail("the box finds work for ever");
    }

    /// The masks of a lagg: what the control core would write.
    pub fn masks(&self, lagg: &str) -> Arc<Masks> {
        match &self.topology.ports[self.topology.port_of(lagg)].made {
            Made::Lagg(_, _, masks) => masks.0.clone(),
            _ => self.fail(&format!("{lagg} is no lagg")),
        }
    }

    /// The states of a bridge's ports: what the control core would write.
    pub fn bridge_ports(&self, bridge: &str) -> Arc<BridgePorts> {
        match &self.topology.ports[self.topology.port_of(bridge)].made {
            Made::Bridge(bridge) => bridge.ports.0.clone(),
            _ => self.fail(&format!("{bridge} is no bridge")),
        }
    }

    /// Station address of the box's port.
    pub fn mac(&self, port: &str) -> ether::Addr {
        let card = self.topology.bottom(self.topology.port_of(port)).0;
        ether::Addr(self.macs[card])
    }

    /// Station address of the host on the link of `port` that has `addr` or is the way to it.
    pub fn station(&self, port: &str, addr: IpAddr) -> ether::Addr {
        let station = self
            .topology
            .station(self.topology.port_of(port), addr)
            .map(|h| h.mac);
        station.unwrap_or_else(|| self.fail(&format!("no host on {port} for {addr}")))
    }

    /// The simulated port under an interface.
    pub fn port(&self, name: &str) -> &SimPort {
        &self.ports[self.topology.port_of(name)]
    }

    /// One worker takes turns until it finds no work; the others sleep, and nobody reads what leaves.
    pub fn turn_only(&mut self, worker: usize) {
        for _ in 0..ROUNDS_MAX {
            if !guarded(|| self.workers[worker].turn(self.now_ms)) {
                return;
            }
        }
        self.fail("the box finds work for ever");
    }

    /// So many milliseconds later, one worker takes one turn. True if it found work.
    pub fn one_turn(&mut self, worker: usize, later_ms: u64) -> bool {
        self.now_ms += later_ms;
        guarded(|| self.workers[worker].turn(self.now_ms))
    }

    /// The configuration published last.
    pub fn config(&self) -> Arc<Config> {
        self.published.last().cloned().unwrap_or_default()
    }

    /// What all workers share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Adds a prefix to a table, or takes it out, as a rule does it.
    pub fn edit_table(&mut self, table: &str, prefix: &str, present: bool) -> OverlayEdit {
        self.slots.edit(table, prefix, present, self.now_ms / 1000)
    }

    /// What the box must be like in the end. Dropping a rig does this as well.
    pub fn finish(&mut self) {
        self.expect_nothing_more();
        self.check_at_rest(&self.tally());
        self.finished = true;
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !self.finished && !std::thread::panicking() {
            self.finish();
        }
    }
}

fn sim_port(n: u16, spread: Spread, tx_depth: usize, pool: &SimPool) -> SimPort {
    let config = SimPortConfig {
        tx_depth,
        rx_queues: spread.workers,
        tx_queues: spread.workers,
        // Jumbo frames can arrive whatever the interface's MTU is: what may leave is the box's decision.
        mtu: 2000,
        steering: if spread.rss {
            Steering::Toeplitz
        } else {
            Steering::None
        },
        ..SimPortConfig::new(n)
    };
    SimPort::new(config, pool)
}
