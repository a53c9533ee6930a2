//! The compiled, immutable policy: what `pf.conf` means once names are numbers. Built by `pfconf::lower`, read
//! by `filter`. Nothing here changes after construction; counters and states live elsewhere.
//!
//! Read first: pf.conf(5) of OpenBSD. [`linear`] walks the rules as PF does and *is* the meaning; every faster
//! evaluator is tested against it.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod actions;
pub mod early;
pub mod ether;
pub mod facts;
pub mod foresee;
pub mod gate;
pub mod index;
pub mod limiter;
pub mod limits;
pub mod linear;
pub mod matches;
pub mod os;
pub mod owner;
pub mod pool;
pub mod ports;
pub mod route;
pub mod rule;
pub mod table;
pub mod targets;
pub mod walk;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sync::Overlay;

pub use actions::{ActionFlags, Actions, Log};
pub use early::{Early, is_quiet_match};
pub use ether::EtherRule;
pub use facts::{Af, Direction, Facts, Fragment};
pub use foresee::{LargeTable, Sought};
pub use gate::{GATES_MAX, Gate, Gates};
pub use index::{INDEX_MIN_RULES, Index, IndexedInterface};
pub use limiter::{
    Flush, LimiterTable, LimiterUse, Overload, PerSeconds, RuleLimits, SourceLimiter, SourceTrack,
    StateLimiter,
};
pub use limits::{Limits, SynCookies, Timeout, Timeouts};
pub use linear::{MATCH_RULES_MAX, MatchedRules, RuleMatch, evaluate};
pub use matches::{EveryRoute, Routes};
pub use net::{KifId, KifSet};
pub use os::{Fingerprints, OsMatch};
pub use owner::{IdRange, Owner};
pub use pool::{Block, Draw, Pool, PoolKind, PortSet};
pub use ports::{PortOp, PortRange};
pub use route::{RouteKind, RouteOption};
pub use rule::{
    Action, AddrSpec, AnchorId, BlockReply, Endpoint, IcmpMatch, IfMatch, KeepState, Rule, RuleNr,
    RuleSlot, StateOptions, TagId, TagMatch, TcpFlagsMatch,
};
pub use table::{Table, TableEntry, TableFlags, TableId, TableSlot};
pub use targets::Targets;
pub use walk::{ANCHOR_DEPTH_MAX, Walk};

/// One immutable policy. Rules are in evaluation order, lists expanded, `antispoof` and friends already rules.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    /// Rules in evaluation order; a rule's number is its index.
    pub rules: Vec<Rule>,
    /// Finds the rules that a packet may match; without it they are walked one by one.
    pub index: Option<Index>,
    /// Large tables that rules ask on the way in.
    pub large: Vec<LargeTable>,
    /// Some rule logs.
    pub logs: bool,
    /// What may be asked before the turn of a packet has come.
    pub early: Early,
    /// Rules that end packets by a look into a table.
    pub gates: Gates,
    /// By number of a rule: it is plain. See [`Rule::is_plain`].
    pub plain: Vec<bool>,
    /// Addresses that translation gives.
    pub targets: Targets,
    /// Numbers of rules by slot, sorted: states know slots. See [`Ruleset::rule_in`].
    pub by_slot: Vec<(RuleSlot, RuleNr)>,
    /// Paths of anchors, `outer/inner`; an anchor's number is its index, and the first is the main ruleset, "".
    pub anchors: Vec<String>,
    /// Tables; a table's id is its index.
    pub tables: Vec<Table>,
    /// Tag names; a tag's id is its index plus one (0 means: no tag).
    pub tags: Vec<String>,
    /// Labels of routes that rules ask for.
    pub route_labels: Vec<String>,
    /// Names of interfaces that are not filtered at all (`set skip on`).
    pub skip: Vec<KifId>,
    /// `set timeout`, `set optimization`.
    pub timeouts: Timeouts,
    /// Timeouts of rules that have their own, sorted by slot; also those of rules that are gone but have states.
    pub rule_timeouts: Vec<(RuleSlot, Timeouts)>,
    /// `set limit`.
    pub limits: Limits,
    /// Signatures of operating systems, if rules ask for any.
    pub fingerprints: Fingerprints,
    /// `set syncookies`.
    pub syncookies: SynCookies,
    /// `state limiter`
    pub state_limiters: Vec<StateLimiter>,
    /// `source limiter`
    pub source_limiters: Vec<SourceLimiter>,
    /// `set reassemble`: join IPv4 and IPv6 fragments before filtering.
    pub reassemble: bool,
    /// `set reassemble yes no-df`, which may also follow `no`: IPv4 fragments with "don't fragment" lose that bit instead
    /// of being dropped.
    pub reassemble_no_df: bool,
    /// `scrub` rules of the old dialect, of which the first match counts. Where there are any, they and not
    /// `reassemble` say what becomes of fragments.
    pub scrub: Vec<ScrubRule>,
    /// Rules for Ethernet frames.
    pub ether: Vec<EtherRule>,
}

/// A `scrub` rule of the old dialect.
#[derive(Clone, Debug)]
pub struct ScrubRule {
    /// What it matches, and what it does to packets.
    pub rule: Rule,
    /// Place among all rules of the text, for who gives it its slot.
    pub number: u32,
    /// `no scrub`: packets stay as they are.
    pub no: bool,
    /// Fragments are joined; not with `fragment no reassemble`.
    pub reassemble: bool,
    /// `scrub-anchor`: number of the first rule after those of the anchor, which are asked only if this one matches.
    pub anchor_end: Option<u32>,
}

impl Ruleset {
    /// Finds out what can be known of the rules beforehand, and builds the index for these interfaces, if there are enough
    /// rules to be worth it. Slots have been given by now.
    pub fn build_index(&mut self, interfaces: &[IndexedInterface]) {
        self.large = foresee::large_tables(self);
        self.logs = self.rules.iter().any(|r| !r.actions.log.is_empty());
        self.plain = self.rules.iter().map(Rule::is_plain).collect();
        self.early = Early::of(self);
        self.targets = Targets::of(&self.rules);
        let numbers = (0..).map(RuleNr);
        let slots = self.rules.iter().map(|rule| rule.slot);
        self.by_slot = slots.zip(numbers).collect();
        self.by_slot.sort();
        let has_index = self.rules.len() >= INDEX_MIN_RULES;
        self.gates = Gates::of(self, interfaces, has_index);
        self.index = has_index.then(|| Index::build(&self.rules, interfaces));
    }

    /// What decides about a packet, none if no rule matches, as a walk to the decision finds it; `evaluated` hears where each
    /// rule counts that was looked at. None if something else may come of it than to pass or to be blocked: then the walk must be
    /// asked, from the beginning.
    #[inline]
    pub fn decision(
        &self,
        facts: &Facts,
        routes: &impl Routes,
        mut evaluated: impl FnMut(RuleSlot),
    ) -> Option<Option<&Rule>> {
        let index = self.index.as_ref()?;
        let nr = index.decision(facts, |nr| {
            let rest = index.rest(nr);
            evaluated(rest.slot);
            rest.matches(nr, self, facts, routes)
        })?;
        Some(nr.and_then(|nr| self.rules.get(nr as usize)))
    }

    /// There is room for no more states than this: `set limit states` may ask for more, or for no limit at all.
    pub fn fit_states(&mut self, capacity: u32) {
        let asked = self.limits.states;
        self.limits.states = asked.min(capacity);
        self.syncookies = self.syncookies.scaled(asked, self.limits.states);
    }

    /// Whether an interface that answers to these names is not filtered at all.
    pub fn skips(&self, names: &KifSet) -> bool {
        self.skip.iter().any(|kif| names.contains(*kif))
    }

    /// The rules of all kinds.
    pub fn rules_of_all_kinds(&mut self) -> impl Iterator<Item = &mut Rule> {
        let scrub = self.scrub.iter_mut().map(|s| &mut s.rule);
        let ether = self.ether.iter_mut().map(|e| &mut e.rule);
        self.rules.iter_mut().chain(scrub).chain(ether)
    }

    /// Rules that are not in [`Ruleset::rules`], with their places among all rules of the text.
    pub fn rules_beside(&mut self) -> impl Iterator<Item = (u32, &mut Rule)> {
        let scrub = self.scrub.iter_mut().map(|s| (s.number, &mut s.rule));
        let ether = self.ether.iter_mut().map(|e| (e.number, &mut e.rule));
        scrub.chain(ether)
    }

    /// Timeouts of the rule in this slot: its own, or those of the ruleset.
    pub fn timeouts_of(&self, slot: RuleSlot) -> &Timeouts {
        match self.rule_timeouts.binary_search_by_key(&slot, |(s, _)| *s) {
            Ok(n) => &self.rule_timeouts[n].1,
            Err(_) => &self.timeouts,
        }
    }

    /// The rule that counts in this slot: the first copy of it. None if the rule is gone, or for the default rule.
    pub fn rule_in(&self, slot: RuleSlot) -> Option<RuleNr> {
        if slot == RuleSlot::DEFAULT_RULE {
            return None;
        }
        let at = self.by_slot.partition_point(|(s, _)| *s < slot);
        let found = self.by_slot.get(at).filter(|(s, _)| *s == slot);
        found.map(|(_, nr)| *nr)
    }

    /// Path of an anchor; empty for the main ruleset.
    pub fn anchor_path(&self, id: AnchorId) -> &str {
        self.anchors
            .get(usize::from(id.0))
            .map_or("", String::as_str)
    }

    /// Puts the ruleset into the world of those that ran before: edits and counters of its tables, and the
    /// number of this load for rules with `once`. `table_slot` gives a name its slot.
    pub fn settle_in(
        &mut self,
        load: u32,
        edits: &Arc<Overlay>,
        mut table_slot: impl FnMut(&str) -> TableSlot,
    ) {
        for rule in self.rules.iter_mut().filter(|r| r.limits.once != 0) {
            rule.limits.once = load;
        }
        let named = |t: &&mut Table| !t.flags.contains(TableFlags::INTERNAL);
        for table in self.tables.iter_mut().filter(named) {
            table.attach(table_slot(&table.name), edits.clone());
        }
    }

    /// What the rule in this slot says; none if it is gone.
    pub fn rule_of(&self, slot: RuleSlot) -> Option<&Rule> {
        self.rules.get(self.rule_in(slot)?.0 as usize)
    }

    /// The state limiter with this id.
    pub fn state_limiter(&self, id: u8) -> Option<&StateLimiter> {
        self.state_limiters.iter().find(|l| l.id == id)
    }

    /// The source limiter with this id.
    pub fn source_limiter(&self, id: u8) -> Option<&SourceLimiter> {
        self.source_limiters.iter().find(|l| l.id == id)
    }

    /// The table with this id, if the id belongs to this ruleset.
    #[inline]
    pub fn table(&self, id: TableId) -> Option<&Table> {
        self.tables.get(usize::from(id.0))
    }
}
