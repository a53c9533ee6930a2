//! Counters of one worker. It writes, others read; nothing here is ever reset.

use alloc::boxed::Box;

use ruleset::{Af, Direction, RuleSlot};
use sync::{CacheLine, Counter};

use crate::reason::Reason;
use crate::tables::Tables;

pub use net::interface::INTERFACES_MAX;

/// Packets and bytes.
#[derive(Default, Debug)]
pub struct Count {
    /// Packets.
    pub packets: Counter,
    /// Bytes of IP packets.
    pub bytes: Counter,
}

impl Count {
    /// One packet of `bytes`.
    #[inline(always)]
    pub fn one(&self, bytes: u64) {
        self.some(1, bytes);
    }

    /// So many packets, of `bytes` together.
    #[inline(always)]
    pub fn some(&self, packets: u64, bytes: u64) {
        self.packets.add(packets);
        self.bytes.add(bytes);
    }
}

/// What `pfctl -vsr` shows of a rule. One cache line.
#[derive(Default, Debug)]
#[repr(align(64))]
pub struct RuleCounters {
    /// Times the rule was looked at.
    pub evaluations: Counter,
    /// In, then out.
    pub traffic: [Count; 2],
    /// States it has now.
    pub states: Counter,
    /// States it has made.
    pub states_total: Counter,
}

/// What `pfctl -vvsI` shows of an interface: \[inet, inet6\] × \[in, out\] × \[pass, block\].
pub type InterfaceCounters = [[[Count; 2]; 2]; 2];

/// What a limit did: PF's limit counters, with their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum LimitCounter {
    /// A rule had `max` states.
    States,
    /// A source had `max-src-states` states.
    SrcStates,
    /// A rule had `max-src-nodes` sources, or there were as many as `set limit src-nodes` says.
    SrcNodes,
    /// A source had more than `max-src-conn` connections.
    SrcConn,
    /// A source's connections came more often than `max-src-conn-rate`.
    SrcConnRate,
    /// A source was put into an overload table.
    OverloadTable,
    /// The states of a source were flushed.
    OverloadFlush,
    /// Syncookies were turned on.
    SynFloods,
    /// Syncookies sent.
    SyncookiesSent,
    /// Syncookies that came back valid.
    SyncookiesValid,
}

impl LimitCounter {
    /// Names as `pfctl -vsi` prints them, in the order of their numbers.
    pub const NAMES: [&'static str; 10] = [
        "max states per rule",
        "max-src-states",
        "max-src-nodes",
        "max-src-conn",
        "max-src-conn-rate",
        "overload table insertion",
        "overload flush states",
        "synfloods detected",
        "syncookies sent",
        "syncookies validated",
    ];
}

/// Why a rule could not put an address into a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum LostEdit {
    /// There are as many entries as `set limit table-entries` says.
    Limit,
    /// Too many edits wait to become part of the tables.
    Pending,
    /// The table is `const`.
    Const,
}

impl LostEdit {
    /// Words for people and metrics, in the order of their numbers.
    pub const NAMES: [&'static str; 3] = ["limit", "pending", "const"];
}

/// Everything the filter of one worker counts.
#[derive(Debug)]
pub struct Counters {
    /// By slot. Slot 0 is the default rule.
    pub rules: Box<[RuleCounters]>,
    /// By interface number.
    pub interfaces: Box<[CacheLine<InterfaceCounters>]>,
    /// Drops by reason.
    pub reasons: [Counter; Reason::COUNT],
    /// What limits did, by [`LimitCounter`].
    pub limits: [Counter; LimitCounter::NAMES.len()],
    /// What tables count.
    pub tables: Tables,
    /// Edits of tables that were lost, by [`LostEdit`].
    pub lost_edits: [Counter; LostEdit::NAMES.len()],
    /// State table look-ups.
    pub searches: Counter,
    /// States made.
    pub inserts: Counter,
    /// States removed.
    pub removals: Counter,
}

impl Counters {
    /// Zeros, with places for `rule_slots` rules (at least the default rule).
    pub fn new(rule_slots: usize) -> Self {
        Counters {
            rules: (0..rule_slots.max(1))
                .map(|_| RuleCounters::default())
                .collect(),
            interfaces: (0..INTERFACES_MAX)
                .map(|_| CacheLine(InterfaceCounters::default()))
                .collect(),
            reasons: [const { Counter::new() }; Reason::COUNT],
            limits: [const { Counter::new() }; LimitCounter::NAMES.len()],
            tables: Tables::default(),
            lost_edits: [const { Counter::new() }; LostEdit::NAMES.len()],
            searches: Counter::new(),
            inserts: Counter::new(),
            removals: Counter::new(),
        }
    }

    /// Counters of a rule. A slot beyond the end counts on the default rule; the control core gives out none such.
    #[inline(always)]
    pub fn rule(&self, slot: RuleSlot) -> &RuleCounters {
        self.rules.get(slot.0 as usize).unwrap_or(&self.rules[0])
    }

    /// Counts a packet on an interface.
    #[inline(always)]
    pub fn interface(
        &self,
        id: net::InterfaceId,
        af: Af,
        direction: Direction,
        passed: bool,
        bytes: u64,
    ) {
        self.traffic(id, af, direction, passed).one(bytes);
    }

    /// What an interface counts of a family, in a direction, passed or blocked.
    #[inline(always)]
    pub fn traffic(
        &self,
        id: net::InterfaceId,
        af: Af,
        direction: Direction,
        passed: bool,
    ) -> &Count {
        let n = usize::from(id.0).min(INTERFACES_MAX - 1);
        &self.interfaces[n][af.index()][direction.index()][usize::from(!passed)]
    }

    /// Counts what a limit did.
    pub fn limit(&self, counter: LimitCounter, n: u64) {
        self.limits[counter as usize].add(n);
    }

    /// Counts a drop.
    #[inline]
    pub fn drop_for(&self, reason: Reason) {
        self.drops_for(reason, 1);
    }

    /// Counts so many drops.
    #[inline]
    pub fn drops_for(&self, reason: Reason, n: u64) {
        self.reasons[reason as usize].add(n);
    }
}
