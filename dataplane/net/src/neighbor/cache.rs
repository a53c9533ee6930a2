//! The neighbors one worker knows, and the packets that wait for them. What is heard of them is in `hear`.
//!
//! Owner: one worker. Other workers' caches learn by [`Update`]s that the caller mails. Every length is
//! limited: entries, unanswered entries, entries made by others' traffic, packets held, questions per
//! second, actions waiting. Nothing is allocated after [`NeighborCache::new`].

mod hear;

use alloc::vec::Vec;
use core::net::IpAddr;

use heapless::Deque;
use wire::ether;

use super::held::{Pool, Queue};
use super::index::Index;
use super::machine::{ASK_MAX, Ask, Event, Next, State, step};
use crate::icmp_error::TokenBucket;
use crate::interface::InterfaceId;

/// Most packets held for one neighbor. RFC 4861 7.2.2 asks for at least one. But a server behind us that comes back gets
/// what a hundred clients say in the millisecond that its answer takes, and whoever answers a hundred of them gets no
/// second chance: a segment that is dropped here was tracked before, and a SYN+ACK is repeated after a second.
pub const HELD_PER_NEIGHBOR_MAX: usize = 128;

/// Packets that come with one action.
const HELD_PER_ACTION: usize = 8;

/// Some packets of one neighbor, oldest first.
pub type Held<P> = heapless::Vec<P, HELD_PER_ACTION>;

/// Actions waiting to be polled; more wait in their entries.
const READY_MAX: usize = 64;

/// Entries waiting to be looked at in the next poll; more are found by the round.
const URGENT_MAX: usize = 256;

/// Time between rounds over all entries, in milliseconds: how late a timer may be.
const ROUND_MS: u64 = 100;

/// Entries a poll looks at in its round before it returns.
const ROUND_STEP: usize = 64;

/// Entries looked at to find one to give up when there is no room.
const EVICT_STEP: usize = 64;

/// Questions to everybody per second. A scan of a network behind us must not become a broadcast storm.
const QUESTIONS_PER_S: u32 = 1000;

/// Questions to everybody at once: all hosts of a /20, which were there before us when we start.
const QUESTIONS_AT_ONCE: u32 = 4096;

/// Answers to questions that another worker may have asked, passed on per second.
const FOREIGN_PER_S: u32 = 1000;

/// The same at once: as many as are asked.
const FOREIGN_AT_ONCE: u32 = QUESTIONS_AT_ONCE;

/// How many entries there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries in all, at most 65534.
    pub neighbors: u16,
    /// Entries that were asked for and not answered.
    pub incomplete: u16,
    /// Entries made because somebody asked us.
    pub unsolicited: u16,
    /// Packets held in all. Each is a buffer of the pool that receives packets too.
    pub held: u16,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            neighbors: 16_384,
            incomplete: 8192,
            unsolicited: 4096,
            held: 256,
        }
    }
}

/// What is known about where to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Send to this address.
    Known(ether::Addr),
    /// Asked for: [`NeighborCache::hold`] the packet, or drop it.
    Pending,
    /// There is no room for another neighbor: drop the packet.
    Full,
}

/// What the caller has to do. Get them by [`NeighborCache::poll`].
#[derive(Debug, PartialEq, Eq)]
pub enum Action<P> {
    /// Ask everybody on the link ([`super::build_question`] with no address).
    Request {
        /// Where.
        interface: InterfaceId,
        /// For whom.
        ip: IpAddr,
    },
    /// Ask the neighbor itself whether it is still there ([`super::build_question`] with its address).
    Probe {
        /// Where.
        interface: InterfaceId,
        /// Whom.
        ip: IpAddr,
        /// At which address.
        link: ether::Addr,
    },
    /// The neighbor is known now: send what was held for it. Where that is more, another action follows at once.
    Release {
        /// Where.
        interface: InterfaceId,
        /// To whom.
        ip: IpAddr,
        /// To which address.
        link: ether::Addr,
        /// The packets, oldest first.
        packets: Held<P>,
    },
    /// The neighbor does not answer, or gave way to another: free the packets, and tell their sources
    /// (host unreachable). Where there are more, other actions follow.
    Failed {
        /// Where.
        interface: InterfaceId,
        /// Who.
        ip: IpAddr,
        /// The packets, oldest first.
        packets: Held<P>,
    },
    /// Mail this to the other workers' caches, which [`NeighborCache::learn`] it.
    Share(Update),
}

/// Something learned that other workers may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// Where.
    pub interface: InterfaceId,
    /// Who.
    pub ip: IpAddr,
    /// At which address.
    pub link: ether::Addr,
    /// Whether it answered a question of ours.
    pub confirmed: bool,
}

/// What a message from the link meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// An entry was made, changed or confirmed.
    Learned,
    /// Nothing to learn.
    Ignored,
    /// Another station uses an address of ours: worth a line in the log.
    Conflict {
        /// The address.
        ip: IpAddr,
        /// The other station.
        link: ether::Addr,
    },
}

/// An entry as `arp -a` and `ndp -a` show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbor {
    /// Where.
    pub interface: InterfaceId,
    /// Who.
    pub ip: IpAddr,
    /// At which address; none while incomplete.
    pub link: Option<ether::Addr>,
    /// What is known.
    pub state: State,
    /// Whether it said that it is a router.
    pub router: bool,
    /// When its state changes by itself, in milliseconds of the caller's clock.
    pub due_ms: u64,
}

#[derive(Debug)]
struct Entry {
    interface: InterfaceId,
    ip: IpAddr,
    link: ether::Addr,
    hash: u32,
    state: State,
    asked: u8,
    router: bool,
    /// Made because somebody asked us, and never used by us.
    unsolicited: bool,
    due_ms: u64,
    /// What waits for it.
    held: Queue,
}

/// The cache. `P` is a packet that waits, an owned buffer.
#[derive(Debug)]
pub struct NeighborCache<P> {
    limits: Limits,
    seed: u64,
    entries: Vec<Option<Entry>>,
    /// All entries have been below this so far: the lowest free one is taken first.
    used: usize,
    free: Vec<u16>,
    index: Index,
    incomplete: u16,
    unsolicited: u16,
    held: Pool<P>,
    ready: Deque<Action<P>, READY_MAX>,
    urgent: Deque<u16, URGENT_MAX>,
    round: Round,
    /// Where the search for an entry to give up goes on.
    hand: usize,
    questions: TokenBucket,
    foreign: TokenBucket,
    generation: u32,
}

/// A walk over all entries, some at a time.
#[derive(Debug)]
struct Round {
    next: usize,
    begins_ms: u64,
    /// Somebody behind `next` could not be remembered as urgent.
    again: bool,
}

impl<P> NeighborCache<P> {
    /// An empty cache. `seed` is random: it keeps strangers from choosing addresses that collide.
    pub fn new(limits: Limits, seed: u64, now_ms: u64) -> NeighborCache<P> {
        let limits = Limits {
            neighbors: limits.neighbors.min(u16::MAX - 1),
            ..limits
        };
        let capacity = usize::from(limits.neighbors);
        NeighborCache {
            limits,
            seed,
            entries: core::iter::repeat_with(|| None).take(capacity).collect(),
            used: 0,
            free: (0..limits.neighbors).rev().collect(),
            index: Index::new(capacity),
            incomplete: 0,
            unsolicited: 0,
            held: Pool::new(limits.held),
            ready: Deque::new(),
            urgent: Deque::new(),
            round: Round {
                next: 0,
                begins_ms: now_ms,
                again: false,
            },
            hand: 0,
            questions: TokenBucket::new(QUESTIONS_PER_S, QUESTIONS_AT_ONCE, now_ms),
            foreign: TokenBucket::new(FOREIGN_PER_S, FOREIGN_AT_ONCE, now_ms),
            generation: 0,
        }
    }

    /// Where to send a packet for the neighbor `ip`, which is on the link of `interface`. Not for
    /// groups and broadcast addresses: theirs are computed.
    #[inline]
    pub fn resolve(&mut self, now_ms: u64, interface: InterfaceId, ip: IpAddr) -> Resolution {
        let hash = self.hash(interface, ip);
        let Some(slot) = self.find(hash, interface, ip) else {
            return self.ask_for(now_ms, hash, interface, ip);
        };
        self.happen(slot, Event::Use, now_ms);
        match &mut self.entries[usize::from(slot)] {
            Some(entry) if entry.state != State::Incomplete => {
                self.unsolicited -= u16::from(core::mem::take(&mut entry.unsolicited));
                Resolution::Known(entry.link)
            }
            _ => Resolution::Pending,
        }
    }

    fn ask_for(
        &mut self,
        now_ms: u64,
        hash: u32,
        interface: InterfaceId,
        ip: IpAddr,
    ) -> Resolution {
        let room = self.incomplete < self.limits.incomplete || self.evict(State::Incomplete);
        let room = room && (!self.free.is_empty() || self.evict(State::Stale));
        if !room {
            return Resolution::Full;
        }
        let entry = Entry {
            interface,
            ip,
            link: ether::Addr::ZERO,
            hash,
            state: State::Incomplete,
            asked: 0,
            router: false,
            unsolicited: false,
            due_ms: now_ms,
            held: Queue::EMPTY,
        };
        match self.insert(entry) {
            true => Resolution::Pending,
            false => Resolution::Full,
        }
    }

    /// Holds a packet until its neighbor, for which [`NeighborCache::resolve`] said `Pending`, is
    /// known. Returns a packet that is to be freed and counted: the oldest one of the neighbor, or of
    /// all, where there is no more room; or this one, where nothing is pending.
    pub fn hold(&mut self, interface: InterfaceId, ip: IpAddr, packet: P) -> Option<P> {
        let hash = self.hash(interface, ip);
        let Some(slot) = self.find(hash, interface, ip) else {
            return Some(packet);
        };
        let Some(entry) = &self.entries[usize::from(slot)] else {
            return Some(packet);
        };
        let gives_way = if entry.held.len() >= HELD_PER_NEIGHBOR_MAX {
            Some(slot)
        } else if self.held.is_full() {
            self.held.slot_of_oldest()
        } else {
            None
        };
        let dropped = gives_way.and_then(|slot| self.take_held(slot));
        let Some(entry) = &mut self.entries[usize::from(slot)] else {
            return Some(packet);
        };
        if let Err(packet) = self.held.push(&mut entry.held, slot, packet) {
            return Some(packet); // only if there is room for none at all
        }
        if entry.state != State::Incomplete {
            self.urge(slot); // known by now: send it in the next poll
        }
        dropped
    }

    /// Takes the oldest packet that is held for an entry.
    fn take_held(&mut self, slot: u16) -> Option<P> {
        let entry = self.entries[usize::from(slot)].as_mut()?;
        self.held.pop(&mut entry.held)
    }

    /// Takes the oldest packets that are held for an entry, as many as go with one action.
    fn release(&mut self, slot: u16) -> Held<P> {
        core::iter::from_fn(|| self.take_held(slot))
            .take(HELD_PER_ACTION)
            .collect()
    }

    /// More is held for an entry than went with an action: the next poll goes on there.
    fn go_on_with(&mut self, slot: u16) {
        let entry = self.entries[usize::from(slot)].as_ref();
        if entry.is_some_and(|entry| !entry.held.is_empty())
            && self.urgent.push_front(slot).is_err()
        {
            self.go_round_again();
        }
    }

    /// An upper layer saw the neighbor make progress, such as a TCP acknowledgement of new data
    /// (RFC 4861 7.3.1).
    pub fn confirm(&mut self, now_ms: u64, interface: InterfaceId, ip: IpAddr) {
        let hash = self.hash(interface, ip);
        let Some(slot) = self.find(hash, interface, ip) else {
            return;
        };
        let known = self.entries[usize::from(slot)].as_ref();
        if known.is_some_and(|entry| entry.state != State::Incomplete) {
            self.happen(slot, Event::Confirmed, now_ms);
        }
    }

    /// Forgets all neighbors of an interface, because it went down or its addresses changed. Packets
    /// held come out of `poll` as failed.
    pub fn forget(&mut self, now_ms: u64, interface: InterfaceId) {
        for slot in 0..self.limits.neighbors {
            let entry = self.entries[usize::from(slot)].as_ref();
            if entry.is_some_and(|entry| entry.interface == interface) {
                self.give_up(slot, now_ms);
            }
        }
    }

    /// The address of a neighbor, if it is known. Does not count as use.
    pub fn known(&self, interface: InterfaceId, ip: IpAddr) -> Option<ether::Addr> {
        let slot = self.find(self.hash(interface, ip), interface, ip)?;
        let entry = self.entries[usize::from(slot)].as_ref()?;
        (entry.state != State::Incomplete).then_some(entry.link)
    }

    /// Forgets one neighbor (`arp -d`, `ndp -d`). Returns whether it was there.
    pub fn forget_one(&mut self, now_ms: u64, interface: InterfaceId, ip: IpAddr) -> bool {
        let hash = self.hash(interface, ip);
        match self.find(hash, interface, ip) {
            Some(slot) => {
                self.give_up(slot, now_ms);
                true
            }
            None => false,
        }
    }

    /// Makes an entry fail at its next timer event, which is now: so there is one way to end.
    fn give_up(&mut self, slot: u16, now_ms: u64) {
        if let Some(entry) = &mut self.entries[usize::from(slot)] {
            if entry.state != State::Incomplete {
                entry.state = State::Incomplete;
                self.incomplete += 1;
                self.generation = self.generation.wrapping_add(1);
            }
            (entry.asked, entry.due_ms) = (ASK_MAX, now_ms);
            self.urge(slot);
        }
    }

    /// What is to be done now. Call until it returns `None`, once per turn; a call does a bounded
    /// amount of work.
    pub fn poll(&mut self, now_ms: u64) -> Option<Action<P>> {
        if let Some(action) = self.ready.pop_front() {
            return Some(action);
        }
        while let Some(slot) = self.urgent.pop_front() {
            if let Some(action) = self.look_at(slot, now_ms) {
                return Some(action);
            }
        }
        self.go_round(now_ms)
    }

    /// When `poll` next has something to do, in milliseconds of the caller's clock, to within
    /// the time of a round.
    pub fn poll_at(&self) -> u64 {
        match self.ready.is_empty() && self.urgent.is_empty() {
            true => self.round.begins_ms,
            false => 0,
        }
    }

    fn go_round(&mut self, now_ms: u64) -> Option<Action<P>> {
        if now_ms < self.round.begins_ms {
            return None;
        }
        for _ in 0..ROUND_STEP {
            if self.round.next >= self.used {
                let pause_ms = if self.round.again { 0 } else { ROUND_MS };
                self.round = Round {
                    next: 0,
                    begins_ms: now_ms + pause_ms,
                    again: false,
                };
                return None;
            }
            let slot = self.round.next as u16;
            self.round.next += 1;
            if let Some(action) = self.look_at(slot, now_ms) {
                return Some(action);
            }
        }
        None
    }

    /// What is to be done about one entry, if it is still there.
    fn look_at(&mut self, slot: u16, now_ms: u64) -> Option<Action<P>> {
        let entry = self.entries[usize::from(slot)].as_ref()?;
        let (interface, ip, link) = (entry.interface, entry.ip, entry.link);
        if entry.state != State::Incomplete && !entry.held.is_empty() {
            let packets = self.release(slot);
            self.go_on_with(slot);
            return Some(Action::Release {
                interface,
                ip,
                link,
                packets,
            });
        }
        if entry.due_ms > now_ms {
            return None;
        }
        let asks = entry.state == State::Incomplete && entry.asked < ASK_MAX;
        if asks && !self.questions.allow(now_ms) {
            return None; // the next round asks
        }
        self.happen(slot, Event::Timer, now_ms)
    }

    /// Lets an event happen to an entry and says what is to be done about it.
    fn happen(&mut self, slot: u16, event: Event, now_ms: u64) -> Option<Action<P>> {
        let entry = self.entries[usize::from(slot)].as_mut()?;
        match step(entry.state, entry.asked, event) {
            Next::Stay => None,
            Next::Become {
                state,
                asked,
                due_in_ms,
                ask,
            } => {
                let before = core::mem::replace(&mut entry.state, state);
                entry.asked = asked;
                entry.due_ms = now_ms + due_in_ms;
                let (interface, ip, link) = (entry.interface, entry.ip, entry.link);
                let was_incomplete = before == State::Incomplete;
                self.incomplete -= u16::from(was_incomplete && state != State::Incomplete);
                if before == State::Reachable && state == State::Stale {
                    // Who remembers the address asks again, which is a use: so it gets probed.
                    self.generation = self.generation.wrapping_add(1);
                }
                ask.map(|ask| match ask {
                    Ask::Everybody => Action::Request { interface, ip },
                    Ask::Known => Action::Probe {
                        interface,
                        ip,
                        link,
                    },
                })
            }
            Next::Remove => self.remove(slot),
        }
    }

    /// Removes an entry; what was held for it failed. If more was held than goes with an action, it is still there: what
    /// made it go makes it go again.
    fn remove(&mut self, slot: u16) -> Option<Action<P>> {
        let packets = self.release(slot);
        if let Some(entry) = self.entries[usize::from(slot)]
            .as_ref()
            .filter(|entry| !entry.held.is_empty())
        {
            let (interface, ip) = (entry.interface, entry.ip);
            self.go_on_with(slot);
            return Some(Action::Failed {
                interface,
                ip,
                packets,
            });
        }
        let entry = self.entries[usize::from(slot)].take()?;
        self.index.remove(entry.hash, slot);
        self.free.push(slot);
        self.incomplete -= u16::from(entry.state == State::Incomplete);
        self.unsolicited -= u16::from(entry.unsolicited);
        self.generation = self.generation.wrapping_add(1);
        let (interface, ip) = (entry.interface, entry.ip);
        let asked = entry.state == State::Incomplete;
        (asked || !packets.is_empty()).then_some(Action::Failed {
            interface,
            ip,
            packets,
        })
    }

    fn insert(&mut self, entry: Entry) -> bool {
        let Some(slot) = self.free.pop() else {
            return false;
        };
        self.incomplete += u16::from(entry.state == State::Incomplete);
        self.unsolicited += u16::from(entry.unsolicited);
        self.index.insert(entry.hash, slot);
        self.used = self.used.max(usize::from(slot) + 1);
        self.entries[usize::from(slot)] = Some(entry);
        self.urge(slot);
        true
    }

    /// Gives up the entry in `state` that is due first among the next few, whatever it hoped for. False
    /// where there is none, or no room to say so.
    fn evict(&mut self, state: State) -> bool {
        let len = self.used;
        let candidates = (0..EVICT_STEP.min(len)).map(|n| (self.hand + n) % len);
        let in_state = |&slot: &usize| {
            self.entries[slot]
                .as_ref()
                .is_some_and(|e| e.state == state)
        };
        let due = |&slot: &usize| self.entries[slot].as_ref().map(|e| e.due_ms);
        let victim = candidates.filter(in_state).min_by_key(due);
        self.hand = (self.hand + EVICT_STEP) % len.max(1);
        let Some((victim, entry)) = victim.and_then(|n| Some((n, self.entries[n].as_ref()?)))
        else {
            return false;
        };
        let needed = entry.held.len().div_ceil(HELD_PER_ACTION).max(1);
        if READY_MAX - self.ready.len() < needed {
            return false;
        }
        while self.entries[victim].is_some() {
            if let Some(failed) = self.remove(victim as u16) {
                let pushed = self.ready.push_back(failed).is_ok();
                debug_assert!(pushed, "there was room");
            }
        }
        true
    }

    /// Has the next poll look at the entry; where too many wait already, the round finds it.
    fn urge(&mut self, slot: u16) {
        if !self.urgent.is_full() {
            let pushed = self.urgent.push_back(slot).is_ok();
            debug_assert!(pushed);
        } else {
            self.go_round_again();
        }
    }

    /// Has a round begin at once, and another after it if one is under way: it may have passed by.
    fn go_round_again(&mut self) {
        self.round.again = self.round.next > 0;
        self.round.begins_ms = 0;
    }

    /// All entries, for `arp -a` and `ndp -a`.
    pub fn iter(&self) -> impl Iterator<Item = Neighbor> + '_ {
        self.entries.iter().flatten().map(|entry| Neighbor {
            interface: entry.interface,
            ip: entry.ip,
            link: (entry.state != State::Incomplete).then_some(entry.link),
            state: entry.state,
            router: entry.router,
            due_ms: entry.due_ms,
        })
    }

    /// Changes whenever an address that `resolve` told may no longer hold or should be asked for
    /// again. Who remembers addresses compares this first.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Packets held now.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    #[inline]
    fn find(&self, hash: u32, interface: InterfaceId, ip: IpAddr) -> Option<u16> {
        self.index.find(hash, |slot| {
            let entry = self.entries[usize::from(slot)].as_ref();
            entry.is_some_and(|entry| entry.ip == ip && entry.interface == interface)
        })
    }

    #[inline]
    fn hash(&self, interface: InterfaceId, ip: IpAddr) -> u32 {
        let (high, low) = match ip {
            IpAddr::V4(ip) => (0, u64::from(ip.to_bits())),
            IpAddr::V6(ip) => ((ip.to_bits() >> 64) as u64, ip.to_bits() as u64),
        };
        let mut h = self.seed ^ u64::from(interface.0);
        for word in [high, low] {
            h = (h ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            h ^= h >> 29;
        }
        (h.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32
    }
}
