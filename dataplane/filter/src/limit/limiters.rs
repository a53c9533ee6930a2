//! State limiters and source limiters: limits that several rules share by name, and whose counts survive a reload under
//! their number.
//!
//! Read first: pf.conf(5) of OpenBSD 7.8, "State Limiters", "Source Limiters".

use alloc::boxed::Box;

use ruleset::{Af, RuleSlot, Ruleset, SourceLimiter, StateLimiter, TableEntry};
use sync::Locked;

use crate::Core;
use crate::limit::Shared;
use crate::limit::nodes::{Bounds, Bucket, NodeKey, NodeKind, Refusal, TokenRate};

/// Ids are 1 to 255.
const IDS: usize = 256;

/// What a limiter has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LimiterCounts {
    /// States now; 0 for source limiters, whose sources know.
    pub in_use: u32,
    /// States let through.
    pub admitted: u64,
    /// Refused: as many states as there may be.
    pub hard_limited: u64,
    /// Refused: too many in too short a time.
    pub rate_limited: u64,
    /// Refused: as many sources as there may be.
    pub address_limited: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Limiter {
    counts: LimiterCounts,
    bucket: Bucket,
}

/// What a state limiter lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lack {
    /// As many states as there may be.
    States,
    /// Too soon.
    Rate,
}

/// All limiters by id.
#[derive(Debug)]
pub struct Limiters {
    state: Box<[Locked<Limiter>]>,
    source: Box<[Locked<LimiterCounts>]>,
}

impl Default for Limiters {
    fn default() -> Self {
        Limiters::new()
    }
}

fn token_rate(rate: ruleset::PerSeconds) -> TokenRate {
    TokenRate {
        limit: rate.limit,
        seconds: rate.seconds,
    }
}

impl Limiters {
    /// Nothing counted.
    pub fn new() -> Self {
        Limiters {
            state: (0..IDS).map(|_| Locked::default()).collect(),
            source: (0..IDS).map(|_| Locked::default()).collect(),
        }
    }

    /// Others that begin with what these have counted.
    #[must_use]
    pub fn copied(&self) -> Self {
        Limiters {
            state: self
                .state
                .iter()
                .map(|l| Locked::new(l.with(|l| *l)))
                .collect(),
            source: self
                .source
                .iter()
                .map(|c| Locked::new(c.with(|c| *c)))
                .collect(),
        }
    }

    /// What a state limiter has counted.
    pub fn of_state(&self, id: u8) -> LimiterCounts {
        self.state[usize::from(id)].with(|l| l.counts)
    }

    /// What a source limiter has counted.
    pub fn of_source(&self, id: u8) -> LimiterCounts {
        self.source[usize::from(id)].with(|c| *c)
    }

    /// What keeps a state limiter from letting another state be made now; none if nothing does.
    pub(crate) fn has_state(&self, limiter: &StateLimiter, now_us: u64) -> Option<Lack> {
        self.state[usize::from(limiter.id)].with(|l| lack(&mut l.clone(), limiter, now_us))
    }

    pub(crate) fn take_state(&self, limiter: &StateLimiter, now_us: u64) -> bool {
        self.state[usize::from(limiter.id)].with(|l| {
            if lack(l, limiter, now_us).is_some() {
                return false;
            }
            l.counts.in_use += 1;
            l.counts.admitted += 1;
            true
        })
    }

    pub(crate) fn release_state(&self, id: u8) {
        self.state[usize::from(id)].with(|l| l.counts.in_use = l.counts.in_use.saturating_sub(1));
    }

    pub(crate) fn count_state_refusal(&self, id: u8, lack: Lack) {
        self.state[usize::from(id)].with(|l| match lack {
            Lack::States => l.counts.hard_limited += 1,
            Lack::Rate => l.counts.rate_limited += 1,
        });
    }

    pub(crate) fn count_source_admission(&self, id: u8) {
        self.source[usize::from(id)].with(|c| c.admitted += 1);
    }

    pub(crate) fn count_source_refusal(&self, id: u8, refusal: Refusal) {
        self.source[usize::from(id)].with(|c| match refusal {
            Refusal::States => c.hard_limited += 1,
            Refusal::Rate => c.rate_limited += 1,
            Refusal::Nodes | Refusal::Total | Refusal::Full => c.address_limited += 1,
        });
    }
}

/// Takes a token if nothing is lacking.
fn lack(l: &mut Limiter, limiter: &StateLimiter, now_us: u64) -> Option<Lack> {
    if l.counts.in_use >= limiter.limit {
        return Some(Lack::States);
    }
    match limiter.rate {
        Some(rate) if !l.bucket.take(token_rate(rate), now_us) => Some(Lack::Rate),
        _ => None,
    }
}

/// What a source of a limiter may grow to. Its entries do not count as source nodes of `set limit`.
pub(crate) fn bounds(limiter: &SourceLimiter) -> Bounds {
    Bounds {
        nodes: limiter.entries,
        states: limiter.limit,
        rate: limiter.rate.map(token_rate),
        total: u32::MAX,
    }
}

/// The source that an address belongs to.
pub(crate) fn key(limiter: &SourceLimiter, af: Af, addr: u128) -> NodeKey {
    NodeKey {
        slot: RuleSlot(limiter.id.into()),
        kind: NodeKind::Limiter,
        af,
        addr: limiter.source(af, addr),
    }
}

/// The source's prefix as an element of a table.
fn entry(limiter: &SourceLimiter, key: &NodeKey) -> TableEntry {
    TableEntry::new(key.af, key.addr, limiter.prefix_len(key.af), false)
}

/// A source has one state more: with enough of them it goes into the limiter's table.
pub(crate) fn many_states(core: &Core<'_>, limiter: &SourceLimiter, key: &NodeKey, states: u32) {
    if let Some(table) = limiter.table.filter(|t| states >= t.above) {
        super::add_to_table(core, table.table, &entry(limiter, key));
    }
}

/// A source has one state less: with few enough it leaves the limiter's table.
pub(crate) fn fewer_states(
    shared: &Shared,
    ruleset: &Ruleset,
    key: &NodeKey,
    states: u32,
    now_ms: u64,
) {
    let limiter = u8::try_from(key.slot.0).ok();
    let Some(limiter) = limiter.and_then(|id| ruleset.source_limiter(id)) else {
        return;
    };
    let Some(used) = limiter.table else { return };
    let below = used.below.is_some_and(|below| states < below);
    if let Some(table) = ruleset.table(used.table).filter(|_| below) {
        // What the overlay does not say, the contents may.
        let most = shared.edits.capacity();
        table.edit(&entry(limiter, key), false, now_ms / 1000, most);
    }
}
