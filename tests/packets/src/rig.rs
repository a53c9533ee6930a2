//! The rig: a box with its workers on simulated ports, hosts around it, and a record of everything on the wires.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use filter::tables::TableCounters;
use filter::{Kill, Shared};
use net::{InterfaceId, InterfaceTable, RouteTables, Tpid};
use nic::{BufferPool, PacketBuf};
use ruleset::Ruleset;
use simnic::rng::Rng;
use simnic::{SimBuf, SimNic, SimPool, SimPort, SimPortConfig, Steering};
use state::State;
use sync::{BridgePorts, Masks, OverlayEdit, OverlayKey};
use wire::ether::{self, EtherType};
use wire::{arp, icmp6, ipv6, print};
use worker::{
    Carried, Config, ControlEnds, FrameEnd, Lane, LogRecord, Mail, Report, Worker, WorkerPort,
    WorkerSetup,
};

use crate::packet::{self, Packet};
use crate::policy::{self, Slots};
use crate::tally::{self, Tally};
use crate::topology::{Made, Topology};

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

/// A frame on a wire, as the record has it.
struct Recorded {
    now_ms: u64,
    port: usize,
    leaving: bool,
    frame: Vec<u8>,
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

    /// Takes what left the box; hosts answer. True if they did.
    fn collect(&mut self) -> bool {
        let mut answered = false;
        for port in 0..self.ports.len() {
            while let Some(frame) = self.ports[port].take() {
                self.note(port, true, &frame);
                if self.wires[port].len() == RECORD_MAX {
                    self.wires[port].clear();
                }
                self.wires[port].push(frame.clone());
                let (on, frame) = self.untagged(port, frame);
                match self.host_answer(on, &frame) {
                    Some(answer) => {
                        let answer = self.tagged(on, &answer).1;
                        self.note(port, false, &answer);
                        answered |= self.ports[port].inject(&answer);
                    }
                    None => self.left[on].push_back(frame),
                }
            }
        }
        for control in self.control.iter_mut().filter(|_| self.host_reads) {
            while let Some(carried) = control.to_host.pop() {
                let Carried { buf, more, .. } = carried;
                if let Some(FrameEnd::Port(port)) = carried.frame {
                    let on = carried.received_on.map(|on| usize::from(on.0));
                    let on = on.filter(|on| self.topology.is_vlan(*on));
                    let on = on.unwrap_or(usize::from(port));
                    let name = self.topology.ports[on].name.clone();
                    self.control_frames.push((name, buf.bytes().to_vec()));
                    continue;
                }
                self.for_host.extend_from_slice(buf.bytes());
                if !more {
                    let packet = std::mem::take(&mut self.for_host);
                    self.lens = widened(self.lens, packet.len());
                    self.to_host.push_back(packet);
                }
            }
        }
        answered
    }

    /// The interface that a frame belongs to which left by a card, and the frame without tags.
    fn untagged(&self, card: usize, mut frame: Vec<u8>) -> (usize, Vec<u8>) {
        let mut on = self.topology.master(card);
        while let Some([t0, t1, c0, c1]) = frame.get(12..16).and_then(<[u8]>::first_chunk).copied()
        {
            let tpid = Tpid::of(EtherType(u16::from_be_bytes([t0, t1])));
            let vid = u16::from_be_bytes([c0, c1]) & 0x0fff;
            let Some(child) = tpid.and_then(|tpid| self.topology.child(on, tpid, vid)) else {
                break;
            };
            frame.drain(12..16);
            on = child;
        }
        (on, frame)
    }

    /// The card that a frame of an interface comes in by, and the frame with tags.
    fn tagged(&self, on: usize, frame: &[u8]) -> (usize, Vec<u8>) {
        let (card, tags) = self.topology.bottom(on);
        let mut frame = frame.to_vec();
        for (tpid, vid) in tags.into_iter().rev() {
            let [t0, t1] = tpid.ethertype().0.to_be_bytes();
            let [c0, c1] = vid.to_be_bytes();
            frame.splice(12..12, [t0, t1, c0, c1]);
        }
        (card, frame)
    }

    /// The frames that left by a card since the last call, as they were on the wire.
    pub fn wire(&mut self, port: &str) -> Vec<Vec<u8>> {
        let n = self.topology.port_of(port);
        std::mem::take(&mut self.wires[n])
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

    /// Frames of link protocols that the control core got, with their ports or VLANs, since the last call.
    pub fn control_frames(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.control_frames)
    }

    /// The control core sends a frame of a link protocol, by a card or by an interface.
    pub fn control_sends(&mut self, end: FrameEnd, frame: &[u8]) {
        let mut buf = self.pool.clone().allocate().expect("a buffer");
        buf.append(frame.len()).expect("room");
        buf.bytes_mut().copy_from_slice(frame);
        let carried = Carried {
            buf,
            received_on: None,
            rtable: 0,
            more: false,
            frame: Some(end),
            lane: Lane::Routed,
        };
        assert!(self.control[0].from_host.push(carried).is_ok());
        self.run();
    }

    fn note(&mut self, port: usize, leaving: bool, frame: &[u8]) {
        let plain = without_tags(frame);
        if let Some(len) = ip_len(&plain) {
            self.lens = widened(self.lens, len);
            // Counters count what pieces are joined to.
            self.lens.1 = self.lens.1.max(len + piece_offset(&plain));
        }
        if self.record.len() == RECORD_MAX {
            self.record.pop_front();
        }
        self.record.push_back(Recorded {
            now_ms: self.now_ms,
            port,
            leaving,
            frame: frame.to_vec(),
        });
    }

    /// What a host on the link answers to a question for one of its addresses.
    fn host_answer(&self, port: usize, frame: &[u8]) -> Option<Vec<u8>> {
        let view = ether::Frame::new_checked(frame).ok()?;
        match view.ethertype() {
            EtherType::ARP => {
                let packet = arp::Packet::new_checked(view.payload()).ok()?;
                let question = arp::Repr::parse(&packet).ok()?;
                let asked = question.operation == arp::Operation::REQUEST;
                let host = self.host_with(port, question.target_ip.into())?;
                asked.then(|| arp_reply(host.mac, question.target_ip, &question))
            }
            EtherType::IPV6 => {
                let (src, target) = solicitation(view.payload())?;
                let host = self.host_with(port, target.into())?;
                Some(advert(host.mac, target, view.src(), src))
            }
            _ => None,
        }
    }

    fn host_with(&self, port: usize, addr: IpAddr) -> Option<&crate::topology::Host> {
        let on_link = |h: &&crate::topology::Host| h.port == port && h.addrs.contains(&addr);
        self.topology
            .hosts
            .iter()
            .find(on_link)
            .filter(|h| h.answers)
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

    /// A frame arrives; the box runs until it has nothing more to do.
    pub fn send_frame(&mut self, port: &str, frame: &[u8]) {
        let (n, frame) = self.tagged(self.topology.port_of(port), frame);
        self.note(n, false, &frame);
        let taken = self.ports[n].inject(&frame);
        self.check(taken, || format!("{port} refused a frame"));
        self.run();
    }

    /// A frame arrives that the card may refuse, for its length; says whether it took it. The box runs.
    pub fn offer_frame(&mut self, port: &str, frame: &[u8]) -> bool {
        let n = self.topology.port_of(port);
        self.note(n, false, frame);
        let taken = self.ports[n].inject(frame);
        self.run();
        taken
    }

    /// A packet arrives, addressed to the box, from the host that has or leads to its source; if there is none, from
    /// the first host of the link.
    pub fn send(&mut self, port: &str, packet: &Packet) {
        let frame = self.framed(port, packet);
        self.send_frame(port, &frame);
    }

    /// A packet as a host on the link of `port` frames it.
    fn framed(&self, port: &str, packet: &Packet) -> Vec<u8> {
        let n = self.topology.port_of(port);
        let first = || self.topology.hosts.iter().find(|h| h.port == n);
        let host = self.topology.station(n, packet.src).or_else(first);
        packet.frame(host.expect("a host on the link").mac, self.mac(port))
    }

    /// As many packets arrive at once, in one burst.
    pub fn send_burst(&mut self, port: &str, packets: &[Packet]) {
        for packet in packets {
            self.arrive(port, packet);
        }
        self.run();
    }

    /// A packet arrives, and nobody takes a turn yet.
    pub fn arrive(&mut self, port: &str, packet: &Packet) {
        let frame = self.framed(port, packet);
        let (n, frame) = self.tagged(self.topology.port_of(port), &frame);
        self.note(n, false, &frame);
        let taken = self.ports[n].inject(&frame);
        self.check(taken, || format!("{port} refused a frame"));
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

    /// The local host sends a packet.
    pub fn host_sends(&mut self, packet: &Packet) {
        self.host_sends_from(packet, 0);
    }

    /// The local host sends a packet in a routing table.
    pub fn host_sends_in(&mut self, rtable: u8, packet: &Packet) {
        self.give_host_packet(packet, rtable, 0);
    }

    /// As [`Rig::host_sends`], with `missing` bytes less room in front of the packet than usual.
    pub fn host_sends_from(&mut self, packet: &Packet, missing: usize) {
        self.give_host_packet(packet, 0, missing);
    }

    /// How many neighbors the first worker remembers.
    pub fn neighbors(&mut self) -> usize {
        let asked = self.control[0].mail.push(Mail::ListNeighbors);
        assert!(asked.is_ok());
        let mut found = 0;
        for _ in 0..ROUNDS_MAX {
            guarded(|| self.workers[0].turn(self.now_ms));
            while let Some(report) = self.control[0].reports.pop() {
                match report {
                    Report::Neighbor(_) => found += 1,
                    Report::NeighborsEnd => return found,
                    _ => {}
                }
            }
        }
        self.fail("the list of neighbors does not end")
    }

    /// The control core sends bytes by a lane.
    pub fn control_sends_by(&mut self, lane: Lane, bytes: &[u8]) {
        self.give_bytes(bytes, 0, 0, lane);
    }

    fn give_host_packet(&mut self, packet: &Packet, rtable: u8, missing: usize) {
        self.give_bytes(&packet.bytes(), rtable, missing, Lane::Routed);
    }

    fn give_bytes(&mut self, bytes: &[u8], rtable: u8, missing: usize, lane: Lane) {
        self.lens = widened(self.lens, bytes.len());
        let mut buf = self.pool.clone().allocate().expect("a buffer");
        buf.prepend(missing).expect("room in front");
        buf.append(bytes.len() - missing).expect("room");
        buf.bytes_mut().copy_from_slice(bytes);
        let carried = Carried {
            buf,
            received_on: None,
            rtable,
            more: false,
            frame: None,
            lane,
        };
        assert!(self.control[0].from_host.push(carried).is_ok());
        self.run();
    }

    /// Exactly this frame leaves next by `port`.
    pub fn expect_frame(&mut self, port: &str, frame: &[u8]) {
        let n = self.topology.port_of(port);
        let got = self.left[n].pop_front();
        self.check(got.as_deref() == Some(frame), || {
            let text = got.as_deref().map(shown).unwrap_or("nothing".into());
            format!("{port}: expected\n  {}\ngot\n  {text}", shown(frame))
        });
    }

    /// Exactly this packet leaves next by `port`, to the host that has or leads to its destination.
    pub fn expect(&mut self, port: &str, packet: &Packet) {
        self.expect_via(port, packet.dst, packet);
    }

    /// Exactly this packet leaves next by `port`, to the station of `next_hop`.
    pub fn expect_via(&mut self, port: &str, next_hop: IpAddr, packet: &Packet) {
        let frame = packet.frame(self.mac(port), self.station(port, next_hop));
        self.expect_frame(port, &frame);
    }

    /// The next frame that left by `port`, whatever it is.
    pub fn take(&mut self, port: &str) -> Option<Vec<u8>> {
        let n = self.topology.port_of(port);
        self.left[n].pop_front()
    }

    /// Exactly this packet is next for the local host.
    pub fn expect_host(&mut self, packet: &Packet) {
        let (got, bytes) = (self.to_host.pop_front(), packet.bytes());
        self.check(got.as_ref() == Some(&bytes), || {
            let text = got.as_deref().map_or("nothing".into(), shown_ip);
            format!(
                "local host: expected\n  {}\ngot\n  {text}",
                shown_ip(&bytes)
            )
        });
    }

    /// What comes next for the control core or the local host, as it is.
    pub fn take_host(&mut self) -> Option<Vec<u8>> {
        self.to_host.pop_front()
    }

    /// Forgets what left and was not expected.
    pub fn ignore_rest(&mut self) {
        self.left.iter_mut().for_each(VecDeque::clear);
        self.wires.iter_mut().for_each(Vec::clear);
        self.to_host.clear();
    }

    /// Nothing left the box beyond what was expected.
    pub fn expect_nothing_more(&mut self) {
        let rest = self.left.iter().enumerate().find(|(_, q)| !q.is_empty());
        if let Some((port, frames)) = rest {
            let name = &self.topology.ports[port].name;
            self.fail(&format!("{name} also sent\n  {}", shown(&frames[0])));
        }
        if let Some(packet) = self.to_host.front() {
            self.fail(&format!("the local host also got\n  {}", shown_ip(packet)));
        }
    }

    /// Nothing more leaves, and since the last call exactly these counters changed, by so much. See [`tally`].
    pub fn counted(&mut self, expected: &str) {
        self.expect_nothing_more();
        let now = self.tally();
        let changes = now.since(&self.before);
        let wanted = tally::expected(expected);
        self.check(changes == wanted, || {
            let differs = |(name, n): (&String, &i64)| {
                let other = wanted.get(name).copied().unwrap_or(0);
                (other != *n).then(|| format!("  {name}: expected {other}, counted {n}\n"))
            };
            let missing = wanted
                .iter()
                .filter(|(name, _)| !changes.contains_key(*name))
                .map(|(name, n)| format!("  {name}: expected {n}, counted 0\n"));
            let lines: String = changes.iter().filter_map(differs).chain(missing).collect();
            format!("counters:\n{lines}")
        });
        let bytes = now.check_bytes(&self.before, self.lens);
        self.check(bytes.is_ok(), || bytes.clone().unwrap_err());
        self.check_at_rest(&now);
        self.mark();
    }

    /// Forgets what changed so far.
    pub fn mark(&mut self) {
        self.before = self.tally();
        self.lens = (usize::MAX, 0);
    }

    /// Changes since the last mark, by name.
    pub fn changes(&self) -> std::collections::BTreeMap<String, i64> {
        self.tally().since(&self.before)
    }

    /// What must be true whenever the box has nothing to do, whatever came before.
    pub fn check_books(&self) {
        self.check_at_rest(&self.tally());
    }

    fn check_at_rest(&self, now: &Tally) {
        let queued = self.workers.iter().map(Worker::queued).sum();
        let rest = now.check(queued);
        self.check(rest.is_ok(), || rest.clone().unwrap_err());
        let states: usize = self.workers.iter().map(|w| w.states().len()).sum();
        let total = self.shared.states.get();
        self.check(states as u64 == total, || {
            format!("{states} states in tables, {total} on the shared count")
        });
        let is_half_open =
            |st: &State| st.wire.proto() == 6 && state::track::tcp::is_half_open(&st.peer[0]);
        let of = |w: &Worker<SimNic>| {
            let states = w.states().iter_from(0).map(|(_, st)| st);
            states.filter(|st| is_half_open(st)).count() as u64
        };
        let half_open: u64 = self.workers.iter().map(of).sum();
        let total = self.shared.half_open.get();
        self.check(half_open == total, || {
            format!("{half_open} half-open states in tables, {total} on the shared count")
        });
        let waiting = now.get("waiting") as usize;
        let in_use = self.pool.in_use();
        self.check(in_use == waiting + queued, || {
            format!("{in_use} buffers in use, {waiting} waiting, {queued} queued: a leak")
        });
    }

    /// All counters now.
    pub fn tally(&self) -> Tally {
        let names: Vec<String> = self.topology.ports.iter().map(|p| p.name.clone()).collect();
        Tally::of(self.control.iter().map(|c| &*c.counters), &names, &|slot| {
            self.slots.name(slot)
        })
    }

    /// Packets that flows have served.
    pub fn served(&self) -> u64 {
        self.control.iter().map(|c| c.counters.served.get()).sum()
    }

    /// Packets that were blocked in front of the long way.
    pub fn turned_away(&self) -> u64 {
        let of = |c: &ControlEnds<SimBuf>| c.counters.turned_away.get();
        self.control.iter().map(of).sum()
    }

    /// One exchange: a packet arrives at `from`, `out` leaves and nothing else, and `counted` is what changes.
    pub fn exchange(&mut self, from: &str, packet: &Packet, out: &[(&str, Packet)], counted: &str) {
        self.send(from, packet);
        for (port, packet) in out {
            self.expect(port, packet);
        }
        self.counted(counted);
    }

    /// All states of all workers.
    pub fn states(&self) -> Vec<State> {
        let of = |w: &Worker<SimNic>| -> Vec<State> {
            let states = w.states().iter_from(0);
            states.map(|(_, st)| st.into_owned()).collect()
        };
        self.workers.iter().flat_map(of).collect()
    }

    /// The configuration published last.
    pub fn config(&self) -> Arc<Config> {
        self.published.last().cloned().unwrap_or_default()
    }

    /// What was logged since the last call, worker by worker.
    pub fn logged(&mut self) -> Vec<LogRecord> {
        let mut records = Vec::new();
        for control in &mut self.control {
            while let Some(record) = control.log.pop() {
                records.push(record);
            }
        }
        records
    }

    /// Log records written, and lost.
    pub fn log_counters(&self) -> (u64, u64) {
        let sum = |of: fn(&worker::Counters) -> &sync::Counter| {
            self.control.iter().map(|c| of(&c.counters).get()).sum()
        };
        (sum(|c| &c.logged), sum(|c| &c.log_lost))
    }

    /// What all workers share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Has states killed on every worker, in turns to come.
    pub fn kill_later(&mut self, kill: Kill) {
        for control in &mut self.control {
            assert!(control.mail.push(Mail::Kill(kill, 0)).is_ok());
        }
    }

    /// What workers have reported since the last call.
    pub fn reports(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        for control in &mut self.control {
            while let Some(report) = control.reports.pop() {
                reports.push(report);
            }
        }
        reports
    }

    /// Kills states on every worker, as a person asks for it. How many.
    pub fn kill(&mut self, kill: Kill) -> u64 {
        self.kill_later(kill);
        self.run();
        let killed = self.reports().into_iter().map(|report| match report {
            Report::Killed(report) if report.left == 0 => report.killed,
            _ => 0,
        });
        killed.sum()
    }

    /// True if an address is in a table of the policy that runs.
    pub fn in_table(&self, table: &str, addr: &str) -> bool {
        self.slots
            .contains(table, addr.parse().expect("an address"))
    }

    /// What a table has counted over all workers: `no 1 yes 2` look-ups of rules, then packets and bytes like
    /// `in.pass 3:120`, those that are not 0.
    pub fn table_counted(&self, table: &str) -> String {
        let slot = self.slots.table_slot(table);
        let of = |c: &ControlEnds<SimBuf>, f: &dyn Fn(&TableCounters) -> u64| {
            f(c.counters.filter.tables.of(slot).expect("a slot"))
        };
        let sum = |f: &dyn Fn(&TableCounters) -> u64| self.control.iter().map(|c| of(c, f)).sum();
        let [no, yes]: [u64; 2] = [0, 1].map(|n| sum(&|c| c.lookups[n].get()));
        let mut said = format!("no {no} yes {yes}");
        for (way, name) in ["in", "out"].iter().enumerate() {
            for (op, action) in ["block", "match", "pass", "xpass"].iter().enumerate() {
                let packets: u64 = sum(&|c| c.traffic[way][op].packets.get());
                let bytes: u64 = sum(&|c| c.traffic[way][op].bytes.get());
                if packets > 0 {
                    said += &format!(" {name}.{action} {packets}:{bytes}");
                }
            }
        }
        said
    }

    /// What a prefix of a table with `counters` has counted, likewise; `none` if it has no counters.
    pub fn prefix_counted(&self, table: &str, prefix: &str) -> String {
        let (addr, len) = prefix.split_once('/').expect("address/bits");
        let addr: IpAddr = addr.parse().expect("an address");
        let key = OverlayKey {
            table: self.slots.table_slot(table).0,
            v6: addr.is_ipv6(),
            prefix_len: len.parse().expect("bits"),
            addr: match addr {
                IpAddr::V4(a) => a.to_bits().into(),
                IpAddr::V6(a) => a.to_bits(),
            },
        };
        let tallies = self
            .control
            .iter()
            .map(|c| &c.counters.filter.tables.prefixes);
        let found: Vec<_> = tallies.filter_map(|t| t.get(&key)).collect();
        if found.is_empty() {
            return "none".into();
        }
        let sum = |n: usize| found.iter().map(|t| t.counters[n]).sum::<u64>();
        let names = [
            "in.block",
            "in.match",
            "in.pass",
            "out.block",
            "out.match",
            "out.pass",
        ];
        let said = names.iter().enumerate().filter(|(n, _)| sum(n * 2) > 0);
        let said: Vec<String> = said
            .map(|(n, name)| format!("{name} {}:{}", sum(n * 2), sum(n * 2 + 1)))
            .collect();
        said.join(" ")
    }

    /// Adds a prefix to a table, or takes it out, as a rule does it.
    pub fn edit_table(&mut self, table: &str, prefix: &str, present: bool) -> OverlayEdit {
        self.slots.edit(table, prefix, present, self.now_ms / 1000)
    }

    /// How many packets workers have handed each other.
    pub fn handed_over(&self) -> u64 {
        self.control
            .iter()
            .map(|c| c.counters.handed_out.get())
            .sum()
    }

    /// What the box must be like in the end. Dropping a rig does this as well.
    pub fn finish(&mut self) {
        self.expect_nothing_more();
        self.check_at_rest(&self.tally());
        self.finished = true;
    }

    /// Panics unless `ok`, after writing the record where a person can open it.
    #[track_caller]
    fn check(&self, ok: bool, message: impl FnOnce() -> String) {
        if !ok {
            self.fail(&message());
        }
    }

    #[track_caller]
    fn fail(&self, message: &str) -> ! {
        let place = match self.write_record() {
            Ok(path) => format!("frames: {}", path.display()),
            Err(error) => format!("frames could not be written: {error}"),
        };
        let last: String = self
            .record
            .iter()
            .rev()
            .take(6)
            .rev()
            .map(|r| {
                let way = if r.leaving { ">" } else { "<" };
                let name = &self.topology.ports[r.port].name;
                format!("  {:>6} ms {name} {way} {}\n", r.now_ms, shown(&r.frame))
            })
            .collect();
        let changes = tally::written(&self.changes());
        panic!(
            "{message}\nchanges: {changes}\nunder {:?}, {place}\nlast frames:\n{last}",
            self.spread
        );
    }

    /// Writes all frames of the rig into a capture under the temporary directory.
    fn write_record(&self) -> std::io::Result<PathBuf> {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("rig").replace("::", "-");
        let path = std::env::temp_dir().join(format!("fugu-packets-{name}.pcap"));
        let file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        let mut out = simnic::capture::Writer::new(file)?;
        for (n, recorded) in self.record.iter().enumerate() {
            // A microsecond apart, so that viewers keep the order.
            out.write(
                recorded.now_ms * 1_000_000 + n as u64 * 1000,
                &recorded.frame,
            )?;
        }
        out.into_inner().into_inner()?;
        Ok(path)
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

fn widened((low, high): (usize, usize), len: usize) -> (usize, usize) {
    (low.min(len), high.max(len))
}

/// The frame without its tags, whatever they are.
fn without_tags(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    while matches!(frame.get(12..14), Some([0x81, 0] | [0x88, 0xa8])) && frame.len() >= 18 {
        frame.drain(12..16);
    }
    frame
}

/// Length of the IP packet in a frame.
fn ip_len(frame: &[u8]) -> Option<usize> {
    let view = ether::Frame::new_checked(frame).ok()?;
    let be = |at: usize| -> Option<usize> {
        let bytes = view.payload().get(at..at + 2)?;
        Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    };
    match view.ethertype() {
        EtherType::IPV4 => be(2),
        EtherType::IPV6 => Some(be(4)? + 40),
        _ => None,
    }
}

/// Where a piece belongs in its datagram, bytes.
fn piece_offset(frame: &[u8]) -> usize {
    let Ok(view) = ether::Frame::new_checked(frame) else {
        return 0;
    };
    let ip = view.payload();
    match view.ethertype() {
        EtherType::IPV4 => wire::ipv4::Packet::new_checked(ip).map_or(0, |p| p.fragment_offset()),
        EtherType::IPV6 => ipv6::walk(ip)
            .ok()
            .and_then(|walk| walk.fragment)
            .map_or(0, |f| f.offset),
        _ => 0,
    }
    .into()
}

fn shown(frame: &[u8]) -> String {
    format!("{:#}\n    {}", print::Frame(frame), hex(frame))
}

fn shown_ip(packet: &[u8]) -> String {
    format!("{}\n    {}", print::Ip(packet), hex(packet))
}

fn hex(bytes: &[u8]) -> String {
    let text: String = bytes.iter().take(120).map(|b| format!("{b:02x}")).collect();
    let rest = if bytes.len() > 120 { "…" } else { "" };
    text + rest
}

/// Source and target of a neighbor solicitation.
fn solicitation(packet: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let ip = ipv6::Packet::new_checked(packet).ok()?;
    let message = icmp6::Packet::new_checked(ip.payload()).ok()?;
    let is_solicitation = ip.next_header() == 58 && message.kind() == 135;
    is_solicitation.then_some((ip.src(), message.target()?))
}

/// A host's answer to an ARP question.
fn arp_reply(mac: ether::Addr, addr: Ipv4Addr, question: &arp::Repr) -> Vec<u8> {
    arp_frame(&arp::Repr {
        operation: arp::Operation::REPLY,
        sender_ether: mac,
        sender_ip: addr,
        target_ether: question.sender_ether,
        target_ip: question.sender_ip,
    })
}

/// An ARP frame, to its target or, as a request, to everybody.
pub fn arp_frame(message: &arp::Repr) -> Vec<u8> {
    let dst = if message.operation == arp::Operation::REQUEST {
        ether::Addr::BROADCAST
    } else {
        message.target_ether
    };
    let mut bytes = vec![0; arp::PACKET_LEN];
    message.emit(&mut arp::Packet::new_unchecked(&mut bytes[..]));
    packet::frame(message.sender_ether, dst, EtherType::ARP, &bytes)
}

/// A frame with a discovery message, hop limit 255.
pub fn discovery(
    src: (ether::Addr, Ipv6Addr),
    dst: (ether::Addr, Ipv6Addr),
    message: &icmp6::Repr<'_>,
) -> Vec<u8> {
    let mut body = vec![0; message.buffer_len()];
    let mut view = icmp6::Packet::new_unchecked(&mut body[..]);
    message.emit(&mut view);
    view.fill_checksum(src.1, dst.1);
    let header = ipv6::Repr {
        src: src.1,
        dst: dst.1,
        next_header: 58,
        hop_limit: 255,
        traffic_class: 0,
        flow_label: 0,
        payload_len: body.len() as u16,
    };
    let mut bytes = vec![0; 40];
    header.emit(&mut ipv6::Packet::new_unchecked(&mut bytes[..]));
    bytes.extend(body);
    packet::frame(src.0, dst.0, EtherType::IPV6, &bytes)
}

/// A host's answer to a neighbor solicitation.
fn advert(mac: ether::Addr, addr: Ipv6Addr, to: ether::Addr, dst: Ipv6Addr) -> Vec<u8> {
    let message = icmp6::Repr::NeighborAdvert(icmp6::NeighborAdvert {
        target: addr,
        target_link: Some(mac),
        router: false,
        solicited: true,
        override_: true,
    });
    discovery((mac, addr), (to, dst), &message)
}
