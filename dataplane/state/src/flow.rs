//! Flows: what lies in front of the states, so that one look-up gives a packet of an established connection all that
//! it needs. The two states of a connection stay the truth; while a flow is *awake* it holds what has happened since
//! they were written last (windows, counts, time), and [`StateTable`] brings the states up to date before anybody reads
//! or changes them ([`StateTable::settle`]).
//!
//! A flow is three cache lines: one for each direction, and one that both share. Only packets that change nothing but
//! windows, counts and time are served from here; everything else is the business of the states, and puts the flow to
//! sleep until a packet of that kind has come through. Knows nothing of interfaces, ports and rules but numbers.
//!
//! [`StateTable`]: crate::StateTable
//! [`StateTable::settle`]: crate::StateTable::settle

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bitflags::bitflags;
use ruleset::{Af, Direction, RuleSlot, Timeout};
use wire::checksum;

use crate::index::Index;
use crate::key::HashSeed;
use crate::record::{Peer, State, StateFlags, StateIdx};
use crate::track::tcp::{self, Plain, TcpState};
use crate::track::traffic;

pub(crate) mod ends;

use ends::ends;
pub use ends::{Ends, FlowRef};

/// TCP.
const PROTO_TCP: u8 = 6;
/// UDP.
const PROTO_UDP: u8 = 17;
/// What taking one off the time to live does to the sum over an IPv4 header.
const TTL_DELTA: u16 = checksum::delta(0x0200, 0x0100);
/// Packets that may pass before the states must be written: their counts fit the words that they are kept in.
const CREDIT: u32 = u32::MAX;
/// Rules beside those of its states that packets of a flow may count on.
pub const BESIDE_MAX: usize = 2;
/// States with any of these have packets that ask for more than a flow knows.
const TOO_MUCH: StateFlags = StateFlags::LOG_ALL
    .union(StateFlags::ON_TABLES)
    .union(StateFlags::ROUTED)
    .union(StateFlags::HOLDS)
    .union(StateFlags::PKT_RATE)
    .union(StateFlags::SCRUBBED)
    .union(StateFlags::RTABLE)
    .union(StateFlags::CHANGES_FAMILY);

/// What a state has to do with a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum InFlow {
    /// It is part of none.
    #[default]
    No,
    /// Its flow sleeps: the state is up to date.
    Asleep,
    /// Its flow knows better than the state.
    Awake,
}

bitflags! {
    /// What a direction of a flow is like.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct WayFlags: u8 {
        /// Packets get other ends.
        const TRANSLATED = 1;
        /// TCP windows are followed.
        const WINDOWS = 2;
        /// Packets count on more rules than those of their states.
        const BESIDE = 4;
        /// The first of these counts them going out, else coming in.
        const FIRST_OUT = 8;
        /// Likewise the second.
        const SECOND_OUT = 16;
        /// Packets pass as if the box were not there: their time to live stays.
        const BRIDGED = 32;
    }
}

/// One direction of a flow. One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Way {
    /// As of [`Ends`].
    addrs: u64,
    rest: u64,
    /// IPv6: as of [`Ends`]. IPv4: addresses that its packets get, then ports, then what the changes of the header do to its
    /// checksum, the time to live included, and to that of TCP or UDP.
    more: [u64; 3],
    /// Counters of the rules of the state that such a packet meets coming in, and of the one that it meets going out.
    pub rules: [RuleSlot; 2],
    /// Counters of rules beside these two; the default rule stands for none.
    pub beside: [RuleSlot; BESIDE_MAX],
    /// For which configuration this holds; 0 never does.
    stamp: u32,
    /// How packets leave: a number of the worker's.
    pub exit: u16,
    /// Likewise, where one way out is several: see [`Onwards::lot`].
    pub lot: u8,
    /// What else.
    pub flags: WayFlags,
}

impl Way {
    /// Source and destination that packets get (IPv4), as they will lie in the header.
    #[inline(always)]
    pub fn addrs(&self) -> u64 {
        self.more[0]
    }

    /// Ports that packets get (IPv4), likewise.
    #[inline(always)]
    pub fn ports(&self) -> u32 {
        self.more[1] as u32
    }

    /// What all changes do to the checksum of the IPv4 header.
    #[inline(always)]
    pub fn delta_ip(&self) -> u16 {
        (self.more[1] >> 32) as u16
    }

    /// What they do to that of TCP or UDP (IPv4).
    #[inline(always)]
    pub fn delta_l4(&self) -> u16 {
        (self.more[1] >> 48) as u16
    }

    #[inline(always)]
    fn is_of(&self, ends: &Ends) -> bool {
        (self.addrs, self.rest) == (ends.addrs, ends.rest)
            && (ends.is_inet() || self.more == ends.more)
    }

    fn hash(&self, seed: HashSeed) -> u64 {
        let ends = Ends {
            addrs: self.addrs,
            rest: self.rest,
            more: self.more,
        };
        ends.hash(seed)
    }
}

/// What both directions share. One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Both {
    /// The side that began, then the other.
    peer: [Peer; 2],
    /// Bytes since the states were written, there and back.
    bytes: [u64; 2],
    /// Packets likewise.
    packets: [u32; 2],
    /// When the last packet came, ticks.
    last_seen: u32,
    /// Packets that may still pass; 0 while the flow sleeps.
    credit: u32,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Flow {
    ways: [Way; 2],
    both: Both,
}

const _: () = assert!(size_of::<Way>() == 64);
const _: () = assert!(size_of::<Both>() == 64);
const _: () = assert!(size_of::<Flow>() == 192);

const NO_WAY: Way = Way {
    addrs: 0,
    rest: 0,
    more: [0; 3],
    rules: [RuleSlot::DEFAULT_RULE; 2],
    beside: [RuleSlot::DEFAULT_RULE; BESIDE_MAX],
    stamp: 0,
    exit: 0,
    lot: 0,
    flags: WayFlags::empty(),
};

const NO_PEER: Peer = Peer {
    seq_lo: 0,
    seq_hi: 0,
    win_max: 0,
    wscale: 0,
    state: 0,
    seq_diff: 0,
};

const NO_FLOW: Flow = Flow {
    ways: [NO_WAY; 2],
    both: Both {
        peer: [NO_PEER; 2],
        bytes: [0; 2],
        packets: [0; 2],
        last_seen: 0,
        credit: 0,
    },
};

/// How packets of one direction go on, as the worker knows it.
#[derive(Clone, Debug)]
pub struct Onwards {
    /// The interface that they come in by.
    pub interface: u16,
    /// How they leave.
    pub exit: u16,
    /// What the worker chooses by, for each packet, where the way out is several: the same for all packets of the connection.
    pub lot: u8,
    /// They are bridged, and lose nothing of their time to live.
    pub is_bridged: bool,
    /// For which configuration and neighbors this holds.
    pub stamp: u32,
    /// Rules beside those of the states, and when they count.
    pub beside: heapless::Vec<(Direction, RuleSlot), BESIDE_MAX>,
}

/// What a flow has counted since its states were written last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    peer: [Peer; 2],
    bytes: [u64; 2],
    packets: [u32; 2],
    last_seen: u32,
}

impl Since {
    /// Brings a state of the flow up to date.
    pub(crate) fn add_to(&self, st: &mut State) {
        if self.packets == [0; 2] {
            return;
        }
        st.last_seen = self.last_seen;
        for n in 0..2 {
            st.packets[n] += u64::from(self.packets[n]);
            st.bytes[n] += self.bytes[n];
        }
        if has_windows(st) {
            st.peer = self.peer;
        }
    }
}

/// Flows of one core.
pub struct FlowTable {
    slab: Box<[Flow]>,
    /// By flow: its states, first the one that was made by a packet that came in.
    states: Box<[[StateIdx; 2]]>,
    free: Vec<u32>,
    index: Index,
    seed: HashSeed,
}

impl FlowTable {
    /// A table for the connections that `states` states make.
    pub(crate) fn new(states: usize, seed: HashSeed) -> Self {
        let flows = states / 2;
        FlowTable {
            slab: vec![NO_FLOW; flows].into_boxed_slice(),
            states: vec![[StateIdx::NONE; 2]; flows].into_boxed_slice(),
            free: (0..flows as u32).rev().collect(),
            index: Index::new(states),
            // That of the states: a hash is made once, for both.
            seed,
        }
    }

    /// Bytes that a table for `states` states takes.
    pub(crate) const fn bytes(states: usize) -> usize {
        let per_flow = size_of::<Flow>() + size_of::<[StateIdx; 2]>() + size_of::<u32>();
        states / 2 * per_flow + Index::bytes(states)
    }

    /// Flows that exist.
    pub fn len(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// True without flows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Secret of the hash.
    #[inline(always)]
    pub fn seed(&self) -> HashSeed {
        self.seed
    }

    /// First step of a staged look-up: asks for the line of the index.
    #[inline(always)]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Second step: which flow it probably is, or [`FlowRef::NONE`].
    #[inline(always)]
    pub fn guess(&self, hash: u64) -> FlowRef {
        self.index.guess(hash).map_or(FlowRef::NONE, FlowRef)
    }

    /// Third step: asks for the flow's two lines.
    #[inline(always)]
    pub fn prefetch_entry(&self, guess: FlowRef) {
        if let Some(flow) = self.slab.get(guess.flow()) {
            sync::prefetch(&flow.ways[guess.way()]);
            sync::prefetch(&flow.both);
        }
    }

    /// Last step: the flow with these ends, if there is one, trying `guess` first.
    #[inline(always)]
    pub fn confirm(&mut self, guess: FlowRef, ends: &Ends, hash: u64) -> Option<Entry<'_>> {
        let flow = self.slab.get(guess.flow())?;
        let at = match flow.ways[guess.way()].is_of(ends) {
            true => guess,
            false => self.find(ends, hash),
        };
        let Flow { ways, both } = self.slab.get_mut(at.flow())?;
        Some(Entry {
            way: &ways[at.way()],
            both,
            at,
        })
    }

    #[cold]
    #[inline(never)]
    fn find(&self, ends: &Ends, hash: u64) -> FlowRef {
        let is_it = |entry: u32| {
            let flow = self.slab.get(FlowRef(entry).flow());
            flow.is_some_and(|flow| flow.ways[FlowRef(entry).way()].is_of(ends))
        };
        self.index.find(hash, is_it).map_or(FlowRef::NONE, FlowRef)
    }

    /// The flow's way that packets take which come in by the state `st`.
    pub(crate) fn is_current(&self, flow: u32, st: &State, onwards: &Onwards) -> bool {
        let way = self.slab[flow as usize].ways[way_of(st)];
        let interface = (way.rest >> 48) as u16;
        let is_bridged = way.flags.contains(WayFlags::BRIDGED);
        (way.stamp, way.exit, way.lot) == (onwards.stamp, onwards.exit, onwards.lot)
            && (interface, is_bridged) == (onwards.interface, onwards.is_bridged)
    }

    /// Asks for a flow whole, and for what says which states it has.
    pub(crate) fn prefetch(&self, flow: u32) {
        if let Some(flow) = self.slab.get(flow as usize) {
            for way in &flow.ways {
                sync::prefetch(way);
            }
            sync::prefetch(&flow.both);
        }
        self.prefetch_states(flow);
    }

    /// Asks for what says which states a flow has.
    pub(crate) fn prefetch_states(&self, flow: u32) {
        if let Some(states) = self.states.get(flow as usize) {
            sync::prefetch(states);
        }
    }

    /// Asks for the lines of the index in which a flow stands that is in the cache.
    pub(crate) fn prefetch_index(&self, flow: u32) {
        let ways = self.slab.get(flow as usize).map(|flow| &flow.ways);
        for way in ways.into_iter().flatten().filter(|way| way.rest != 0) {
            self.index.prefetch(way.hash(self.seed));
        }
    }

    /// A new flow of two states, asleep; none if there is no room.
    pub(crate) fn begin(&mut self, states: [StateIdx; 2]) -> Option<u32> {
        let flow = self.free.pop()?;
        self.slab[flow as usize] = NO_FLOW;
        self.states[flow as usize] = states;
        Some(flow)
    }

    /// The states of a flow.
    pub(crate) fn states(&self, flow: u32) -> [StateIdx; 2] {
        self.states[flow as usize]
    }

    /// Wakes a flow: from now on it knows better than its states. Packets that come in by `st` go out by `out`. False if
    /// its packets cannot be found; then it sleeps on.
    pub(crate) fn wake(&mut self, flow: u32, st: &State, out: &State, onwards: &Onwards) -> bool {
        let n = way_of(st);
        let way = Way::of(st, out, onwards);
        let Flow { ways, both } = &mut self.slab[flow as usize];
        if ways[n].rest == 0 {
            let hash = way.hash(self.seed);
            if !self.index.insert(hash, flow << 1 | n as u32) {
                return false;
            }
        }
        ways[n] = way;
        // What was true of the other way may have changed, while the states had the say.
        if !(fits(out, 1 - n) && fits(st, 1 - n)) {
            ways[1 - n].stamp = 0;
        }
        *both = Both {
            peer: st.peer,
            credit: CREDIT,
            ..NO_FLOW.both
        };
        true
    }

    /// What has to be told the states of a flow. It stays awake if it was.
    pub(crate) fn since(&mut self, flow: u32) -> Since {
        let both = &mut self.slab[flow as usize].both;
        let since = both.since();
        (both.bytes, both.packets) = ([0; 2], [0; 2]);
        since
    }

    /// The same, without taking it.
    pub(crate) fn peek(&self, flow: u32) -> Since {
        self.slab[flow as usize].both.since()
    }

    /// Puts a flow to sleep, whose states are up to date.
    pub(crate) fn lull(&mut self, flow: u32) {
        self.slab[flow as usize].both.credit = 0;
    }

    /// Forgets a flow.
    pub(crate) fn end(&mut self, flow: u32) {
        for (n, way) in self.slab[flow as usize].ways.iter().enumerate() {
            if way.rest != 0 {
                let removed = self.index.remove(way.hash(self.seed), flow << 1 | n as u32);
                debug_assert!(removed, "a way with ends is in the index");
            }
        }
        self.slab[flow as usize] = NO_FLOW;
        self.free.push(flow);
    }
}

/// A flow and one of its ways, for one packet.
pub struct Entry<'t> {
    /// How the packet goes on.
    pub way: &'t Way,
    both: &'t mut Both,
    at: FlowRef,
}

impl Entry<'_> {
    /// Whether the flow has the say, by the configuration and the neighbors that this stamp stands for.
    #[inline(always)]
    pub fn is_open(&self, stamp: u32) -> bool {
        self.way.stamp == stamp && self.both.credit != 0
    }

    /// Whether a plain segment passes; then the windows have followed it. If not nothing has changed, and its states must
    /// judge it.
    #[inline(always)]
    pub fn track(&mut self, segment: &Plain) -> bool {
        if !self.way.flags.contains(WayFlags::WINDOWS) {
            return true;
        }
        let [first, second] = &mut self.both.peer;
        let (src, dst) = match self.at.way() {
            0 => (first, second),
            _ => (second, first),
        };
        tcp::track_plain(src, dst, segment)
    }

    /// A packet of so many bytes passes, in tick `now`.
    #[inline(always)]
    pub fn count(&mut self, bytes: u16, now: u32) {
        let n = self.at.way();
        self.both.credit -= 1;
        self.both.packets[n] += 1;
        self.both.bytes[n] += u64::from(bytes);
        self.both.last_seen = now;
    }

    /// A packet came that only the states can judge: the flow serves no other until they have. Its number, for
    /// [`StateTable::put_to_sleep`].
    ///
    /// [`StateTable::put_to_sleep`]: crate::StateTable::put_to_sleep
    #[inline]
    pub fn refuse(&mut self) -> u32 {
        self.both.credit = 0;
        self.at.number()
    }
}

impl Both {
    fn since(&self) -> Since {
        Since {
            peer: self.peer,
            bytes: self.bytes,
            packets: self.packets,
            last_seen: self.last_seen,
        }
    }
}

impl Way {
    /// The way of packets that come in by the state `st` and go out by `out`.
    fn of(st: &State, out: &State, onwards: &Onwards) -> Way {
        let mut deltas = (0, 0);
        let mut translate = |addrs, ports| {
            deltas.0 = checksum::join(deltas.0, addrs);
            deltas.1 = checksum::join(deltas.1, checksum::join(addrs, ports));
        };
        if st.flags.contains(StateFlags::TRANSLATED) {
            translate(st.delta_addrs, st.delta_ports);
        }
        if out.flags.contains(StateFlags::TRANSLATED) {
            translate(!out.delta_addrs, !out.delta_ports);
        }
        let mut flags = WayFlags::empty();
        flags.set(WayFlags::WINDOWS, has_windows(st));
        flags.set(WayFlags::TRANSLATED, is_translated(st, out));
        flags.set(WayFlags::BRIDGED, onwards.is_bridged);
        let mut beside = NO_WAY.beside;
        let outs = [WayFlags::FIRST_OUT, WayFlags::SECOND_OUT];
        for ((place, out), (direction, slot)) in beside.iter_mut().zip(outs).zip(&onwards.beside) {
            *place = *slot;
            flags |= WayFlags::BESIDE;
            flags.set(out, *direction == Direction::Out);
        }
        let came = ends(&st.wire, onwards.interface);
        let more = match came.is_inet() {
            false => came.more,
            true => {
                let becomes = ends(&out.wire.mirrored(), 0);
                let ports = becomes.rest & 0xffff_ffff;
                let delta_ip = match onwards.is_bridged {
                    true => deltas.0,
                    false => checksum::join(deltas.0, TTL_DELTA),
                };
                let deltas = u64::from(delta_ip) << 32 | u64::from(deltas.1) << 48;
                [becomes.addrs, ports | deltas, 0]
            }
        };
        Way {
            addrs: came.addrs,
            rest: came.rest,
            more,
            rules: [st.rule, out.rule],
            beside,
            stamp: onwards.stamp,
            exit: onwards.exit,
            lot: onwards.lot,
            flags,
        }
    }
}

/// Which way of a flow packets take that come in by this state: 0 is that of the packet that began.
fn way_of(st: &State) -> usize {
    usize::from(st.direction == Direction::Out)
}

/// Whether the windows of its peers move.
fn has_windows(st: &State) -> bool {
    st.wire.proto() == PROTO_TCP && !st.flags.contains(StateFlags::SLOPPY)
}

fn is_translated(st: &State, out: &State) -> bool {
    (st.flags | out.flags).contains(StateFlags::TRANSLATED)
}

/// Whether packets that come in by `st` and go out by `out` can be served by a flow.
pub(crate) fn suits(st: &State, out: &State) -> bool {
    let n = way_of(st);
    let windows_agree = has_windows(st) == has_windows(out)
        && (!has_windows(st) || (st.peer == out.peer && st.peer.iter().all(|p| p.seq_lo != 0)));
    st.direction != out.direction
        && (st.wire.af() == Af::Inet || !is_translated(st, out))
        && st.stack == out.stack.mirrored()
        // A packet that gets another destination on its way out is routed anew.
        && out.wire.end(0).0 == out.stack.end(0).0
        && st.wire.rdomain() == st.stack.rdomain()
        && out.wire.rdomain() == out.stack.rdomain()
        && fits(st, n)
        && fits(out, n)
        && windows_agree
}

/// Whether packets of way `n` change nothing of this state but windows, counts and time.
fn fits(st: &State, n: usize) -> bool {
    let is_plain = !st.flags.intersects(TOO_MUCH)
        && st.stamps == State::NO_STAMPS
        && st.peer.iter().all(|p| p.seq_diff == 0);
    is_plain
        && match st.wire.proto() {
            PROTO_TCP => {
                let is_open = |p: &Peer| p.state == TcpState::Established as u8;
                st.timeout == Timeout::TcpEstablished && st.peer.iter().all(is_open)
            }
            PROTO_UDP => {
                let (mut src, mut dst) = (st.peer[n], st.peer[1 - n]);
                let timeout = traffic(&mut src, &mut dst, Timeout::UdpSingle, Timeout::UdpMultiple);
                (src, dst, timeout) == (st.peer[n], st.peer[1 - n], st.timeout)
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests;
