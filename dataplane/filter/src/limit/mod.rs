//! Limits that span cores, and are exact over all of them: states of a rule, source nodes, limiters, packet rates,
//! `once`. What is shared lies in [`Shared`]; a worker touches it when it makes or removes a state, when a handshake
//! completes, and for packets of rules with `max-pkt-rate`, which ask for it.
//!
//! Read first: pf.conf(5), "Stateful Tracking Options"; ARCHITECTURE.md, "Limits over all cores".

pub mod limiters;
pub mod nodes;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::Cell;

use net::fdb::{Roll, STATIONS_MAX};
use ruleset::{
    Af, Direction, Facts, Flush, KeepState, LimiterUse, Overload, Routes, Rule, RuleSlot, Ruleset,
    TableEntry, TableFlags, TableId, Timeout,
};
use state::{Hold, HoldFlags, Removed, State, StateFlags, StateIdx, TcpState};
use sync::{CacheLine, Gauge, Once, Overlay, OverlayEdit, Rate};

use crate::Core;
use crate::counters::{Counters, LimitCounter, LostEdit};
use crate::describe::{Kind, PacketDesc};
use crate::kill::Kill;
use crate::reason::Reason;
use crate::translate::Agreement;
use limiters::Limiters;
use nodes::{Bounds, Gone, NodeKey, NodeKind, NodeRef, Redirect, Refusal, SourceNodes};

/// Edits of tables between two folds by the control core, which makes them when a part of this is used: as many as
/// tens of thousands of sources a second may bring.
pub const EDITS: usize = 65_536;
/// Tables that can be edited: slots for them.
pub const TABLE_SLOTS: usize = 4096;
/// Source nodes where nobody says otherwise: more than twice PF's default limit.
pub const SOURCE_NODES: usize = 24_576;

/// What all cores share of one rule.
#[derive(Debug, Default)]
pub struct RuleShare {
    /// States, if the rule has `max` or adaptive timeouts of its own.
    pub states: Gauge,
    /// Packets, if the rule has `max-pkt-rate`.
    pub packets: Rate,
    /// Whether a rule with `once` has had its packet.
    pub once: Once,
}

/// What all cores share.
///
/// Only creation, removal and the handshakes of states touch it.
#[derive(Debug)]
pub struct Shared {
    /// States. What is written by any core lies apart from what all of them read.
    pub states: CacheLine<Gauge>,
    /// TCP states whose first side has had no answer to its SYN.
    pub half_open: CacheLine<Gauge>,
    /// Pieces of datagrams that wait for others.
    pub fragments: CacheLine<Gauge>,
    /// Packets that wait for their time (`set delay`).
    pub delayed: CacheLine<Gauge>,
    /// What the cores agree on to translate.
    pub agreement: Agreement,
    rules: Box<[CacheLine<RuleShare>]>,
    /// Source nodes.
    pub sources: SourceNodes,
    /// State limiters and source limiters.
    pub limiters: Limiters,
    /// Edits of tables.
    pub edits: Arc<Overlay>,
    /// Stations that bridges know.
    pub stations: Arc<Roll>,
}

impl core::fmt::Debug for SourceNodes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SourceNodes({})", self.len())
    }
}

/// For a box of few rules and one core, as tests have it.
impl Default for Shared {
    fn default() -> Self {
        Shared::new(128, 256, 1, 0x5eed)
    }
}

impl Shared {
    /// For `cores` cores with rule counters in `rule_slots` places and `states` states in all. `seed` is secret.
    pub fn new(rule_slots: usize, states: usize, cores: usize, seed: u64) -> Self {
        let source_nodes = SOURCE_NODES.min(states);
        Shared {
            states: CacheLine::default(),
            half_open: CacheLine::default(),
            fragments: CacheLine::default(),
            delayed: CacheLine::default(),
            agreement: Agreement::new(rule_slots, states, cores, seed),
            rules: (0..rule_slots.max(1))
                .map(|_| CacheLine(RuleShare::default()))
                .collect(),
            sources: SourceNodes::new(source_nodes, rule_slots, cores, seed),
            limiters: Limiters::new(),
            edits: Arc::new(Overlay::new(EDITS, TABLE_SLOTS, seed ^ 0x5bd1_e995)),
            stations: Arc::new(Roll::new(STATIONS_MAX, seed)),
        }
    }

    /// The same counts once more, for a packet that is only tried out: whatever it takes, nobody misses.
    #[must_use]
    pub fn copied(&self) -> Self {
        let rule = |share: &CacheLine<RuleShare>| {
            CacheLine(RuleShare {
                states: share.0.states.copied(),
                packets: share.0.packets.copied(),
                once: share.0.once.copied(),
            })
        };
        Shared {
            states: CacheLine(self.states.copied()),
            half_open: CacheLine(self.half_open.copied()),
            fragments: CacheLine(self.fragments.copied()),
            delayed: CacheLine(self.delayed.copied()),
            rules: self.rules.iter().map(rule).collect(),
            sources: self.sources.copied(),
            limiters: self.limiters.copied(),
            ..Shared::new(self.rules.len(), 1, 1, 1)
        }
    }

    /// What is shared of the rule in a slot.
    #[inline]
    pub fn rule(&self, slot: RuleSlot) -> &RuleShare {
        &self.rules.get(slot.0 as usize).unwrap_or(&self.rules[0]).0
    }
}

/// What the limits of rules say while the rules are walked: asked last of each rule that has any.
pub(crate) struct Admission<'a, R> {
    routes: &'a R,
    shared: &'a Shared,
    ruleset: &'a Ruleset,
    counters: &'a Counters,
    now_ms: u64,
    refused: Cell<Option<Reason>>,
}

impl<'a, R: Routes> Admission<'a, R> {
    pub(crate) fn new(core: &Core<'a>, routes: &'a R) -> Self {
        Admission {
            routes,
            shared: core.shared,
            ruleset: core.ruleset,
            counters: core.counters,
            now_ms: core.now_ms,
            refused: Cell::new(None),
        }
    }

    /// Set once a limiter with `block` is at its limit: the walk ends there.
    pub(crate) fn refused(&self) -> Option<Reason> {
        self.refused.get()
    }

    /// A limiter is at its limit: the rule does not match, or the packet ends here.
    fn at_limit(&self, used: LimiterUse, reason: Reason) -> bool {
        if !used.no_match {
            self.refused.set(Some(reason));
        }
        // "Matches", so that the walk gives the rule back and the loop sees the refusal.
        !used.no_match
    }

    fn below_pkt_rate(&self, rule: &Rule) -> bool {
        rule.limits.max_pkt_rate.is_none_or(|rate| {
            let packets = &self.shared.rule(rule.slot).packets;
            !packets.add((self.now_ms / 1000) as u32, rate.limit, rate.seconds)
        })
    }
}

impl<R: Routes> Routes for Admission<'_, R> {
    fn has_route(&self, rtable: u8, af: Af, addr: u128) -> bool {
        self.routes.has_route(rtable, af, addr)
    }

    fn reverse_path_ok(&self, rtable: u8, af: Af, src: u128) -> bool {
        self.routes.reverse_path_ok(rtable, af, src)
    }

    fn has_label(&self, rtable: u8, af: Af, addr: u128, label: u16) -> bool {
        self.routes.has_label(rtable, af, addr, label)
    }

    fn rdomain_of(&self, rtable: u8) -> u8 {
        self.routes.rdomain_of(rtable)
    }

    fn is_ours(&self, rdomain: u8, af: Af, addr: u128) -> bool {
        self.routes.is_ours(rdomain, af, addr)
    }

    fn looked_up(&self, table: TableId, found: bool) {
        if let Some(table) = self.ruleset.table(table) {
            self.counters.tables.looked_up(table.slot, found);
        }
    }

    fn admits(&self, rule: &Rule, facts: &Facts) -> bool {
        let limits = &rule.limits;
        if limits.once != 0 && self.shared.rule(rule.slot).once.is_claimed(limits.once) {
            return false;
        }
        if rule.keep_state != KeepState::No {
            let now_us = self.now_ms * 1000;
            let state_limiter = limits.state_limiter.and_then(|used| {
                let limiter = self.ruleset.state_limiter(used.id)?;
                Some((used, self.shared.limiters.has_state(limiter, now_us)?))
            });
            if let Some((used, full)) = state_limiter {
                self.shared.limiters.count_state_refusal(used.id, full);
                return self.at_limit(used, Reason::StateLimit);
            }
            let source_limiter = limits.source_limiter.and_then(|used| {
                let limiter = self.ruleset.source_limiter(used.id)?;
                let bounds = limiters::bounds(limiter);
                let key = limiters::key(limiter, facts.af, facts.src);
                let refusal = self.shared.sources.may_take(&key, &bounds, now_us).err()?;
                Some((used, refusal))
            });
            if let Some((used, refusal)) = source_limiter {
                self.shared.limiters.count_source_refusal(used.id, refusal);
                return self.at_limit(used, Reason::SrcLimit);
            }
        }
        self.below_pkt_rate(rule)
    }
}

/// The rule has decided: if it may do so once, it has now. False if another core was faster.
pub(crate) fn claim_once(core: &Core<'_>, rule: &Rule) -> bool {
    rule.limits.once == 0 || core.shared.rule(rule.slot).once.claim(rule.limits.once)
}

/// Why a state cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoState {
    /// The packet is dropped.
    Drop(Reason),
    /// Another core was faster to take the last of something: the rules must be asked again.
    Again,
}

/// Takes everything that a state of `rule` counts on, or nothing.
#[inline]
pub(crate) fn take(core: &Core<'_>, rule: &Rule, pd: &PacketDesc) -> Result<Hold, NoState> {
    let options = &rule.state;
    let counts = options.max > 0 || !options.timeouts.is_empty() || options.source.is_some();
    if !counts && rule.limits.is_empty() {
        return Ok(Hold::default());
    }
    take_limited(core, rule, pd)
}

fn take_limited(core: &Core<'_>, rule: &Rule, pd: &PacketDesc) -> Result<Hold, NoState> {
    let mut hold = Hold::default();
    match take_all(core, rule, pd, &mut hold) {
        Ok(()) => Ok(hold),
        Err(why) => {
            give_back(core, rule.slot, &hold);
            Err(why)
        }
    }
}

fn take_all(core: &Core<'_>, rule: &Rule, pd: &PacketDesc, hold: &mut Hold) -> Result<(), NoState> {
    let shared = core.shared;
    let now_us = core.now_ms * 1000;
    if rule.state.max > 0 {
        if !shared
            .rule(rule.slot)
            .states
            .try_take(1, rule.state.max.into())
        {
            core.counters.limit(LimitCounter::States, 1);
            return Err(NoState::Drop(Reason::StateLimit));
        }
        hold.flags |= HoldFlags::MAX;
    } else if scales_by_itself(rule) && shared.rule(rule.slot).states.try_take(1, u64::MAX) {
        hold.flags |= HoldFlags::MAX;
    }
    if let Some(track) = &rule.state.source {
        let bounds = Bounds {
            nodes: track.max_nodes,
            states: track.max_states,
            rate: None,
            total: core.ruleset.limits.src_nodes,
        };
        let key = NodeKey {
            slot: rule.slot,
            kind: NodeKind::Track,
            af: pd.af,
            addr: pd.src,
        };
        let taken = shared.sources.take(&key, &bounds, None, now_us);
        let taken = taken.map_err(|refusal| refused(core, refusal))?;
        hold.nodes[NodeKind::Track as usize] = taken.node.word();
    }
    take_limiters(core, rule, pd, hold)
}

/// True if the states of the rule live shorter the more of them there are: then all cores count them together.
pub(crate) fn scales_by_itself(rule: &Rule) -> bool {
    let mut own = rule.state.timeouts.iter();
    own.any(|(class, value)| *class == Timeout::AdaptiveStart && *value != 0)
}

fn take_limiters(
    core: &Core<'_>,
    rule: &Rule,
    pd: &PacketDesc,
    hold: &mut Hold,
) -> Result<(), NoState> {
    let (limiters, now_us) = (&core.shared.limiters, core.now_ms * 1000);
    let of_rule = rule.limits.state_limiter;
    if let Some(limiter) = of_rule.and_then(|used| core.ruleset.state_limiter(used.id)) {
        if !limiters.take_state(limiter, now_us) {
            return Err(NoState::Again);
        }
        hold.state_limiter = limiter.id;
    }
    let of_rule = rule.limits.source_limiter;
    if let Some(limiter) = of_rule.and_then(|used| core.ruleset.source_limiter(used.id)) {
        let key = limiters::key(limiter, pd.af, pd.src);
        let bounds = limiters::bounds(limiter);
        let taken = core.shared.sources.take(&key, &bounds, None, now_us);
        let taken = taken.map_err(|_| NoState::Again)?;
        hold.nodes[NodeKind::Limiter as usize] = taken.node.word();
        limiters.count_source_admission(limiter.id);
        limiters::many_states(core, limiter, &key, taken.states);
    }
    Ok(())
}

fn refused(core: &Core<'_>, refusal: Refusal) -> NoState {
    let (counter, reason) = match refusal {
        Refusal::States | Refusal::Rate => (LimitCounter::SrcStates, Reason::SrcLimit),
        Refusal::Nodes | Refusal::Total => (LimitCounter::SrcNodes, Reason::SrcLimit),
        Refusal::Full => (LimitCounter::SrcNodes, Reason::Memory),
    };
    core.counters.limit(counter, 1);
    NoState::Drop(reason)
}

/// The state was not made after all.
pub(crate) fn give_back(core: &Core<'_>, slot: RuleSlot, hold: &Hold) {
    let shared = core.shared;
    if hold.flags.contains(HoldFlags::MAX) {
        shared.rule(slot).states.give_back(1);
    }
    for node in hold.nodes.iter().filter_map(|w| NodeRef::from_word(*w)) {
        shared.sources.give_back(node);
    }
    if hold.state_limiter != 0 {
        shared.limiters.release_state(hold.state_limiter);
    }
    shared.agreement.mappings().release(hold.mapping);
}

/// The node of a source for a pool with `sticky-address`, with one more state on it: `chosen` is remembered if the node
/// is new. Put the node into the state's [`Hold`], or give it back with [`SourceNodes::give_back`].
pub fn take_sticky(core: &Core<'_>, key: &NodeKey, chosen: Redirect) -> Result<NodeRef, Reason> {
    let bounds = Bounds {
        total: core.ruleset.limits.src_nodes,
        ..Bounds::default()
    };
    let taken = core
        .shared
        .sources
        .take(key, &bounds, Some(chosen), core.now_ms * 1000);
    taken
        .map(|taken| taken.node)
        .map_err(|refusal| match refused(core, refusal) {
            NoState::Drop(reason) => reason,
            NoState::Again => Reason::Memory,
        })
}

/// A state is gone: so is what it counted on.
pub fn release(shared: &Shared, ruleset: &Ruleset, now_ms: u64, gone: &Removed) {
    let (st, hold) = (&gone.state, &gone.hold);
    if !st.flags.contains(StateFlags::HOLDS) {
        return;
    }
    if hold.flags.contains(HoldFlags::MAX) {
        shared.rule(st.rule).states.give_back(1);
    }
    if hold.state_limiter != 0 {
        shared.limiters.release_state(hold.state_limiter);
    }
    shared.agreement.mappings().release(hold.mapping);
    for (kind, word) in hold.nodes.iter().enumerate() {
        let Some(node) = NodeRef::from_word(*word) else {
            continue;
        };
        let track = kind == NodeKind::Track as usize;
        let gone = Gone {
            connected: track && hold.flags.contains(HoldFlags::CONNECTED),
            keep_s: keep_s(ruleset, st.rule, kind),
            now_s: (now_ms / 1000) as u32,
        };
        let (key, left) = shared.sources.release(node, &gone);
        if kind == NodeKind::Limiter as usize {
            limiters::fewer_states(shared, ruleset, &key, left, now_ms);
        }
    }
}

/// What a state counts on, for one that was copied without it: as far as its rule and its source say.
pub fn hold_of(shared: &Shared, ruleset: &Ruleset, st: &State) -> Hold {
    let mut hold = Hold::default();
    let rule = ruleset.rule_in(st.rule);
    let rule = rule.and_then(|nr| ruleset.rules.get(nr.0 as usize));
    let Some(rule) = rule.filter(|_| st.flags.contains(StateFlags::HOLDS)) else {
        return hold;
    };
    if rule.state.max > 0 || scales_by_itself(rule) {
        hold.flags |= HoldFlags::MAX;
    }
    // The packet that made it, before translation.
    let (key, src) = match st.direction {
        Direction::In => (&st.wire, st.wire.end(0)),
        Direction::Out => (&st.stack, st.stack.end(1)),
    };
    if rule.state.source.is_some() {
        let node = shared.sources.find(&NodeKey {
            slot: rule.slot,
            kind: NodeKind::Track,
            af: key.af(),
            addr: src.0,
        });
        hold.nodes[NodeKind::Track as usize] = node.map_or(0, NodeRef::word);
    }
    hold
}

/// How long a node without states is kept: `src.track` of its rule; what a limiter must remember for its rate.
fn keep_s(ruleset: &Ruleset, slot: RuleSlot, kind: usize) -> u32 {
    if kind == NodeKind::Limiter as usize {
        let longest = ruleset.source_limiters.iter().filter_map(|l| l.rate);
        return longest.map(|r| r.seconds).max().unwrap_or(0);
    }
    ruleset.timeouts_of(slot).get(Timeout::SrcTrack)
}

/// A packet of a state counts on the source nodes that the state holds.
pub(crate) fn count_sources(core: &Core<'_>, idx: StateIdx, direction: Direction, bytes: u64) {
    let holds = |st: &State| st.flags.contains(StateFlags::HOLDS);
    if !core.states.get(idx).is_some_and(holds) {
        return;
    }
    let nodes = core.states.hold(idx).nodes;
    let (of_pools, sources) = (&nodes[..NodeKind::Limiter as usize], &core.shared.sources);
    for node in of_pools.iter().filter_map(|w| NodeRef::from_word(*w)) {
        sources.count(node, core.worker, direction, bytes);
    }
}

/// A packet of a state whose rule has `max-pkt-rate`: true if there are too many, and the rules must be asked.
pub(crate) fn over_pkt_rate(
    ruleset: &Ruleset,
    shared: &Shared,
    now_ms: u64,
    slot: RuleSlot,
) -> bool {
    let rate = ruleset.rule_of(slot).and_then(|r| r.limits.max_pkt_rate);
    rate.is_some_and(|rate| {
        let packets = &shared.rule(slot).packets;
        packets.add((now_ms / 1000) as u32, rate.limit, rate.seconds)
    })
}

/// Asked after each segment of a tracked source: when the handshake is complete, counts the connection. True if the
/// source has too many; then the state must go (PF: pf_src_connlimit()).
pub(crate) fn too_many_connections(core: &mut Core<'_>, idx: StateIdx, kind: Kind) -> bool {
    let Some(st) = core.states.get(idx).filter(|_| kind == Kind::Tcp) else {
        return false;
    };
    const ESTABLISHED: u8 = TcpState::Established as u8;
    if st.peer[0].state != ESTABLISHED || st.peer[1].state != ESTABLISHED {
        return false;
    }
    count_connection(core, idx)
}

/// Counts the connection of a state that was established just now, once. True if its source has too many: it has been put
/// into the overload table, and the caller removes the state.
pub fn count_connection(core: &mut Core<'_>, idx: StateIdx) -> bool {
    let mut hold = core.states.hold(idx);
    let node = NodeRef::from_word(hold.nodes[NodeKind::Track as usize]);
    let Some(node) = node.filter(|_| !hold.flags.contains(HoldFlags::CONNECTED)) else {
        return false;
    };
    hold.flags |= HoldFlags::CONNECTED;
    core.states.set_hold(idx, &hold);
    let Some(st) = core.states.get(idx) else {
        return false;
    };
    let (slot, direction, wire) = (st.rule, st.direction, st.wire);
    let ruleset = core.ruleset;
    let Some(track) = ruleset.rule_of(slot).and_then(|r| r.state.source.as_ref()) else {
        return false;
    };
    let period_s = track.conn_rate.map_or(1, |r| r.seconds);
    let now_s = (core.now_ms / 1000) as u32;
    let connected = core.shared.sources.connect(node, period_s, now_s);
    let too_many = track.max_conn > 0 && connected.conns > track.max_conn;
    let too_often = track
        .conn_rate
        .is_some_and(|rate| connected.rate.exceeds(rate.limit));
    core.counters.limit(LimitCounter::SrcConn, too_many.into());
    core.counters
        .limit(LimitCounter::SrcConnRate, too_often.into());
    if !too_many && !too_often {
        return false;
    }
    if let Some(overload) = track.overload {
        let end = direction.index();
        let source = (wire.af(), wire.end(end).0);
        let from = Kill {
            rule: (overload.flush == Flush::Rule).then_some(slot),
            end: Some((end as u8, source.0, source.1)),
            ..Kill::default()
        };
        overload_source(core, &overload, source, from);
    }
    true
}

fn overload_source(core: &mut Core<'_>, overload: &Overload, source: (Af, u128), from: Kill) {
    core.counters.limit(LimitCounter::OverloadTable, 1);
    let entry = TableEntry::new(source.0, source.1, source.0.bits(), false);
    add_to_table(core, overload.table, &entry);
    if overload.flush != Flush::No {
        core.counters.limit(LimitCounter::OverloadFlush, 1);
        // A full list is a flood of its own; the next connection of the source tries again.
        core.kills.push(from).ok();
    }
}

/// Puts a prefix into a table, for all cores, as long as `set limit table-entries` allows. What cannot be put there is
/// counted: [`LostEdit`].
pub(crate) fn add_to_table(core: &Core<'_>, table: TableId, entry: &TableEntry) {
    let Some(table) = core.ruleset.table(table) else {
        return;
    };
    let entries: usize = core.ruleset.tables.iter().map(|t| t.entries().len()).sum();
    let most = (core.ruleset.limits.table_entries as usize).saturating_sub(entries);
    if table.edit(entry, true, core.now_ms / 1000, most) != OverlayEdit::Full {
        return;
    }
    let lost = if table.flags.contains(TableFlags::CONST) {
        LostEdit::Const
    } else if core.shared.edits.len() >= most {
        LostEdit::Limit
    } else {
        LostEdit::Pending
    };
    core.counters.lost_edits[lost as usize].add(1);
}
