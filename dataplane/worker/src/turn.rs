//! One turn of the loop: the packet path on one screen.

use alloc::sync::Arc;
use alloc::vec::Vec;

use filter::limit::nodes::Round;
use filter::reassemble::TrainId;
use filter::translate::PortsAhead;
use filter::{
    Answer, Answers, Beside, Cookies, Kills, Notes, Reason, Reassembler, Secrets, Shared,
};
use net::fdb::{Fdb, STATIONS_MAX};
use net::icmp_error::TokenBucket;
use net::neighbor::{Limits, NeighborCache};
use nic::{BURST_MAX, Nic, PacketBuf};
use ruleset::Timeout;
use sched::PortQueue;
use state::{HashSeed, Removed, State, StateTable};

use crate::alias::Aliases;
use crate::batch::Batch;
use crate::config::Config;
use crate::counters::Counters;
use crate::delay::DelayLine;
use crate::detour::Ways;
use crate::flow::Express;
use crate::forward::Hops;
use crate::generate::Generated;
use crate::gif::{TUNNEL_ROUNDS, Tunnels};
use crate::kills::KillJobs;
use crate::list::Listing;
use crate::log::Before;
use crate::mail::Ends;
use crate::neighbors::Parked;
use crate::receive::Source;
use crate::watch::Watched;

/// Messages of router discovery and about claimed addresses that the control core is told of, per second and at once.
const REPORTS_PER_S: u32 = 50;
/// States looked at per turn by the sweep, beside as many as were made meanwhile: whatever comes, expiry keeps pace.
const SWEEP_BUDGET: usize = 16;
/// Most states looked at per turn. What a turn makes beyond that the next ones owe.
const SWEEP_MAX: usize = 56;
/// Most packets of a queue in the turn that adopts a configuration. All go the long way then, and the first of them find
/// neither rules nor the program in any cache. Twice as many in each of the next turns, until it is a whole burst.
const ADOPTING_BURST: usize = 8;
/// Most packets that wait for neighbors: the answers of a few servers to all their clients, before the first of these is
/// known. At least so many wait where memory is short.
const HELD_MAX: usize = 2048;
const HELD_MIN: usize = 256;
/// Most places of the state table searched per turn.
const SCAN_BUDGET: usize = 256;
/// States that a search may purge when the sweep has used up its budget.
const SCAN_LEAST: usize = 4;

/// The queues of one port that belong to this worker.
pub struct WorkerPort<N: Nic> {
    /// Receive queue, if this worker has one on this port.
    pub rx: Option<N::Rx>,
    /// Transmit queue.
    pub tx: Option<N::Tx>,
}

/// What a worker is made from.
pub struct WorkerSetup<N: Nic> {
    /// Number of this worker, from 0.
    pub id: u16,
    /// How many workers there are.
    pub workers: u16,
    /// Its ends of all rings.
    pub ends: Ends<N::Buf>,
    /// Queues by port number.
    pub ports: Vec<WorkerPort<N>>,
    /// Source of fresh buffers.
    pub pool: N::Pool,
    /// States this worker can hold.
    pub states_capacity: usize,
    /// What all workers count together.
    pub shared: Arc<Shared>,
    /// Pieces of datagrams this worker can hold, as many packets that `set delay` keeps, and a quarter of it that wait for
    /// neighbors; each is a buffer of the pool.
    pub fragments_capacity: usize,
    /// Secret start value of the state table's hash.
    pub hash_seed: u64,
    /// Start value of the dice for `probability`.
    pub dice_seed: u64,
    /// Secret key behind sequence numbers and cookies that the box chooses.
    pub secret: filter::secret::Key,
    /// Packets of established connections are served by flows, in front of states and rules. Without it nothing is
    /// different but the time it takes.
    pub express: bool,
    /// Milliseconds since start.
    pub now_ms: u64,
}

/// The owner of one core.
pub struct Worker<N: Nic> {
    pub(crate) id: u16,
    pub(crate) workers: u16,
    pub(crate) ends: Ends<N::Buf>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ports: Vec<PortOf<N>>,
    pub(crate) pool: N::Pool,
    pub(crate) config: Arc<Config>,
    /// What `config` was at first: nobody else would hold it, and a worker frees no memory.
    _beginning: Arc<Config>,
    pub(crate) states: StateTable,
    pub(crate) express: Express,
    pub(crate) shared: Arc<Shared>,
    /// Kills that the packet at hand asks for.
    pub(crate) kills: Kills,
    pub(crate) kill_jobs: KillJobs,
    /// The time of this turn.
    pub(crate) now_ms: u64,
    /// How far source nodes were looked at.
    sources: Round,
    /// Where stations are behind bridges.
    pub(crate) stations: Fdb,
    pub(crate) fragments: Reassembler<N::Buf>,
    pub(crate) delayed: DelayLine<N::Buf>,
    /// By ring from another worker: pieces that have come, whose head has not.
    pub(crate) coming: Vec<Option<TrainId>>,
    pub(crate) neighbors: NeighborCache<Parked<N::Buf>>,
    pub(crate) neighbor_generation: u32,
    pub(crate) error_rate: TokenBucket,
    /// Of what the control core is told beside packets for the box.
    pub(crate) report_rate: TokenBucket,
    pub(crate) batch: Batch<N::Buf>,
    pub(crate) generated: heapless::Deque<Generated<N::Buf>, 64>,
    pub(crate) tunnels: Tunnels<N::Buf>,
    pub(crate) listing: Option<Listing>,
    pub(crate) beside: Beside,
    pub(crate) notes: Notes,
    pub(crate) before: Before,
    pub(crate) watched: Watched,
    pub(crate) watched_so_far: u32,
    pub(crate) dice: u64,
    /// Counts frames of laggs.
    pub(crate) round_robin: u32,
    pub(crate) secrets: Secrets,
    /// Segments that the packet at hand brought about; empty between packets.
    pub(crate) answers: Answers,
    pub(crate) cookies: Cookies,
    pub(crate) ahead: PortsAhead,
    /// When the table was last searched for states that expire earlier than they would have.
    scanned_ms: u64,
    /// Places of it that are still to be searched.
    scan_owed: usize,
    /// Number of the state made last when the sweep looked at some.
    swept_at_id: u64,
    /// States made for which none was looked at.
    sweep_owed: usize,
    /// Most packets of a queue in this turn.
    pub(crate) burst: usize,
    /// Stamp of egress caches: moves on with every configuration, every change of a neighbor, and every second, so
    /// that a neighbor in use is noticed as used.
    pub(crate) egress_stamp: u32,
    stamped_s: u64,
    /// Stamp of flows' ways: moves on with every configuration. Of neighbors the exits know.
    pub(crate) flow_stamp: u32,
    /// Next hops whose stations are known.
    pub(crate) hops: Hops,
    /// Ways to next hops that rules chose.
    pub(crate) ways: Ways,
    /// A state was made since the look-ups of this burst were done.
    pub(crate) made_state: bool,
    /// States that had been removed when they were done.
    pub(crate) removals: u64,
    /// Connections of other workers whose packets reach this one.
    pub(crate) aliases: Aliases,
    /// Connections of this worker whose packets reach others.
    pub(crate) strangers: usize,
    /// Aliases that each other worker has from this one, and how many it may have.
    pub(crate) aliases_written: Vec<usize>,
    pub(crate) aliases_per_worker: usize,
}

/// A port as the worker uses it.
pub(crate) struct PortOf<N: Nic> {
    pub(crate) rx: Option<N::Rx>,
    pub(crate) tx: Option<N::Tx>,
    pub(crate) queue: PortQueue<N::Buf>,
}

/// What the neighbor cache of a worker may remember that has so many buffers for pieces of datagrams.
fn neighbor_limits(fragments_capacity: usize) -> Limits {
    let held = (fragments_capacity / 4).clamp(HELD_MIN, HELD_MAX);
    Limits {
        held: held as u16,
        ..Limits::default()
    }
}

impl<N: Nic> Worker<N> {
    /// A worker that passes nothing until a configuration is published.
    pub fn new(setup: WorkerSetup<N>) -> Self {
        let id_base = u64::from(setup.id) << 48;
        let beginning = Arc::new(Config::default());
        let others = usize::from(setup.workers.max(1)) - 1;
        let aliases = if others > 0 { setup.states_capacity } else { 0 };
        let port = |p: WorkerPort<N>| PortOf {
            rx: p.rx,
            tx: p.tx,
            queue: PortQueue::default(),
        };
        let coming = setup.ends.from_workers.iter().map(|_| None).collect();
        Worker {
            id: setup.id,
            workers: setup.workers.max(1),
            counters: setup.ends.counters.clone(),
            ends: setup.ends,
            ports: setup.ports.into_iter().map(port).collect(),
            pool: setup.pool,
            config: beginning.clone(),
            _beginning: beginning,
            states: StateTable::new(
                setup.states_capacity,
                HashSeed(setup.hash_seed),
                id_base,
                setup.now_ms,
            ),
            express: Express::new(setup.express),
            stations: Fdb::new(STATIONS_MAX, setup.hash_seed, setup.shared.stations.clone()),
            shared: setup.shared,
            kills: Kills::new(),
            kill_jobs: KillJobs::default(),
            now_ms: setup.now_ms,
            sources: Round::new(setup.now_ms),
            fragments: Reassembler::new(
                setup.fragments_capacity,
                setup.hash_seed,
                PacketBuf::bytes,
            ),
            delayed: DelayLine::new(setup.fragments_capacity),
            coming,
            neighbors: NeighborCache::new(
                neighbor_limits(setup.fragments_capacity),
                setup.hash_seed,
                setup.now_ms,
            ),
            neighbor_generation: 0,
            error_rate: TokenBucket::new(
                TokenBucket::ERRORS_PER_S,
                TokenBucket::ERRORS_PER_S,
                setup.now_ms,
            ),
            report_rate: TokenBucket::new(REPORTS_PER_S, REPORTS_PER_S, setup.now_ms),
            batch: Batch::new(),
            generated: heapless::Deque::new(),
            tunnels: Tunnels::new(setup.dice_seed as u16),
            listing: None,
            beside: Beside::new(setup.states_capacity),
            notes: Notes::default(),
            before: Before::new(),
            watched: Watched::default(),
            watched_so_far: 0,
            dice: setup.dice_seed | 1,
            round_robin: 0,
            secrets: Secrets::new(setup.secret),
            answers: Answers::new(),
            cookies: Cookies::default(),
            ahead: PortsAhead::default(),
            scanned_ms: setup.now_ms,
            scan_owed: 0,
            swept_at_id: id_base,
            sweep_owed: 0,
            burst: BURST_MAX,
            egress_stamp: 1,
            stamped_s: 0,
            flow_stamp: 1,
            hops: Hops::default(),
            ways: Ways::default(),
            made_state: false,
            removals: 0,
            aliases: Aliases::new(aliases),
            strangers: 0,
            aliases_written: (0..=others).map(|_| 0).collect(),
            aliases_per_worker: aliases / others.max(1),
        }
    }

    /// One turn: everything that waits is taken in bursts through all stages. True if there was any work.
    pub fn turn(&mut self, now_ms: u64) -> bool {
        let later = now_ms != self.now_ms;
        self.now_ms = now_ms;
        self.adopt(now_ms, later);
        let mut work = self.take_mail(now_ms);
        work |= self.go_on_killing(now_ms);
        for port in 0..self.ports.len() {
            if self.receive_port(port) != 0 {
                work = true;
                self.express(port, now_ms);
                self.take_rest(port, now_ms);
            }
        }
        work |= self.take_in(Source::Generated, now_ms);
        work |= self.take_in(Source::Host, now_ms);
        work |= self.take_handed(now_ms);
        work |= self.take_in(Source::Whole, now_ms);
        for _ in 0..TUNNEL_ROUNDS {
            if !self.take_in(Source::Tunnels, now_ms) {
                break;
            }
            work = true;
        }
        self.neighbor_timers(now_ms);
        if later {
            self.expire_fragments(now_ms);
            self.sweep_stations();
        }
        work |= self.release_delayed(now_ms);
        work |= self.transmit();
        // An idle worker turns some thousand times in a millisecond, and nothing has grown older.
        if later || self.has_old_states(now_ms) {
            self.sweep(now_ms);
            work |= self.has_old_states(now_ms);
        }
        // One worker does it for all.
        if self.id == 0 && (later || self.sources.owes()) {
            self.sources.go_on(&self.shared.sources, now_ms);
            work |= self.sources.owes();
        }
        work |= self.say_farewells();
        // What was made at the end of this turn goes out in the next, which must not be slept away.
        let made = self.tunnels.len() + self.generated.len();
        work |= made != 0 || self.fragments.whole() > 0;
        self.close_books(work, made);
        work
    }

    /// A burst from elsewhere than a card. True if there was any.
    #[inline(always)]
    fn take_in(&mut self, source: Source, now_ms: u64) -> bool {
        let any = self.receive(source) != 0;
        if any {
            self.go_the_long_way(false, now_ms);
        }
        any
    }

    /// What flows have left of a burst from a card.
    #[inline]
    fn take_rest(&mut self, port: usize, now_ms: u64) {
        if self.batch.bufs.is_empty() {
            return;
        }
        let mut rest = core::mem::take(&mut self.batch.bufs).into_iter();
        while self.unpack(port, &mut rest) {
            self.go_the_long_way(true, now_ms);
        }
    }

    /// The long way, which is the meaning, of the packets in the batch.
    #[inline(never)]
    pub(crate) fn go_the_long_way(&mut self, from_card: bool, now_ms: u64) {
        self.describe(from_card, now_ms);
        if self.watched.left > 0 {
            self.watch(now_ms);
        }
        self.steer();
        self.gather();
        self.look_up();
        self.filter_in(now_ms);
        self.forward(now_ms);
        self.filter_out(now_ms);
        self.remember();
        self.dispatch(now_ms);
    }

    /// Adopts a published configuration between bursts, so that no burst sees two policies. `later`: the clock has moved on.
    #[inline]
    fn adopt(&mut self, now_ms: u64, later: bool) {
        self.burst = (2 * self.burst).min(BURST_MAX);
        if let Some(config) = self.ends.config.take() {
            // Not the last reference: the control core keeps one until ours is gone.
            self.config = config;
            self.counters
                .generation
                .set(u64::from(self.config.generation));
            self.burst = ADOPTING_BURST;
            self.forget_egress();
            self.forget_flows();
        }
        if later && self.stamped_s != now_ms / 1000 {
            self.stamped_s = now_ms / 1000;
            self.forget_egress();
        }
    }

    /// All cached ways out are stale from now on.
    pub(crate) fn forget_egress(&mut self) {
        self.egress_stamp = self.egress_stamp.wrapping_add(1).max(1);
    }

    /// All ways of flows are stale from now on.
    pub(crate) fn forget_flows(&mut self) {
        self.flow_stamp = self.flow_stamp.wrapping_add(1).max(1);
    }

    /// States are known, or may be found, whose time is over.
    #[inline]
    fn has_old_states(&self, now_ms: u64) -> bool {
        self.states.has_due(now_ms) || self.scan_owed > 0
    }

    /// Looks at states whose time has come; while lives grow shorter, also at those whose time may have come since.
    fn sweep(&mut self, now_ms: u64) {
        let budget = self.sweep_budget();
        self.owe_scan(now_ms);
        let (config, counters, shared) = (&self.config, &self.counters.filter, &self.shared);
        let ruleset = &config.ruleset;
        let life = |st: &State| filter::timeout_s(ruleset, shared, st);
        let mut farewells: heapless::Vec<Answer, SWEEP_MAX> = heapless::Vec::new();
        let mut purged = |st: &Removed| {
            filter::count_removal(counters, shared, ruleset, now_ms, st);
            // More than there is room for end without a word.
            if let Some(answer) = filter::synproxy::farewell(st) {
                farewells.push(answer).ok();
            }
        };
        let looked_at = self.states.sweep(now_ms, budget, life, &mut purged);
        self.sweep_owed = match looked_at < budget {
            true => 0,
            false => self.sweep_owed.saturating_sub(looked_at),
        };
        if self.scan_owed > 0 {
            let places = self.scan_owed.min(SCAN_BUDGET);
            let most = (budget - looked_at.min(budget)).max(SCAN_LEAST);
            let searched = self.states.scan(now_ms, places, most, life, &mut purged);
            self.scan_owed -= searched.min(self.scan_owed);
        }
        let half_open = || shared.half_open.get();
        self.cookies
            .tick(ruleset.syncookies, half_open, now_ms, &mut self.secrets);
        while let Some(answer) = farewells.pop() {
            self.send_segment(&answer);
        }
    }

    /// How many states this turn may look at.
    fn sweep_budget(&mut self) -> usize {
        let made = self.states.last_id().wrapping_sub(self.swept_at_id) as usize;
        self.swept_at_id = self.states.last_id();
        self.sweep_owed = (self.sweep_owed + made).min(self.states.capacity());
        (self.sweep_owed + SWEEP_BUDGET).min(SWEEP_MAX)
    }

    /// While lives grow shorter, all of the table is searched in each interval (`set timeout interval`).
    fn owe_scan(&mut self, now_ms: u64) {
        let elapsed = now_ms - self.scanned_ms.min(now_ms);
        self.scanned_ms = now_ms;
        let ruleset = &self.config.ruleset;
        if !filter::lifetime::is_scaling(ruleset, self.shared.states.get()) {
            self.scan_owed = 0;
            return;
        }
        let interval_ms = 1000 * u64::from(ruleset.timeouts.get(Timeout::Interval).max(1));
        let elapsed = elapsed.min(interval_ms);
        let capacity = self.states.capacity();
        let places = capacity as u64 * elapsed / interval_ms + u64::from(elapsed > 0);
        self.scan_owed = (self.scan_owed + places as usize).min(capacity);
    }

    /// Ends the turn, in which so many packets were made for the next: counters that are gauges, and the proof that no packet was lost sight of.
    fn close_books(&mut self, work: bool, made: usize) {
        let counters = &self.counters;
        counters.turns.add(1);
        counters.busy_turns.add(u64::from(work));
        counters.states.set(self.states.len() as u64);
        let held = self.neighbors.held() + self.fragments.waiting() + self.delayed.len();
        let waiting = held + made;
        counters.waiting.set(waiting as u64);
        debug_assert_eq!(
            counters.books().0,
            counters.books().1,
            "a packet was lost sight of"
        );
    }

    /// Counts a packet that ends here.
    pub(crate) fn count_drop(&self, reason: Reason) {
        self.counters.drop_for(reason);
    }

    /// Frees a packet that ends here and counts it.
    pub(crate) fn discard(&self, buf: N::Buf, reason: Reason) {
        drop(buf);
        self.count_drop(reason);
    }

    /// Packets and states of this worker, for tests: states in its table.
    pub fn states(&self) -> &StateTable {
        &self.states
    }

    /// Frames that wait for a card.
    pub fn queued(&self) -> usize {
        self.ports.iter().map(|p| p.queue.len()).sum()
    }
}
