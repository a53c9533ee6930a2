//! Rules beside the one that made a state: match rules that applied to its first packet, and the anchor rule that led
//! to it. Every packet of the state counts on them, too (pf.conf(5), "match"). A table of its own next to the states,
//! read only for states that have any.

use alloc::boxed::Box;
use alloc::vec;

use ruleset::{Direction, RuleMatch, RuleSlot, Ruleset};
use state::StateIdx;

use crate::Counters;

/// Rules beside its own that a state counts on; further ones apply, uncounted.
pub const BESIDE_MAX: usize = 8;

/// Slots of rules by state.
#[derive(Debug)]
pub struct Beside {
    /// As words, because the system gives zeros that cost no memory until used; 0 is the default rule, which ends a list.
    slots: Box<[[u32; BESIDE_MAX]]>,
}

impl Beside {
    /// Room for as many states as the table has places.
    pub fn new(states: usize) -> Self {
        Beside {
            slots: vec![[RuleSlot::DEFAULT_RULE.0; BESIDE_MAX]; states].into_boxed_slice(),
        }
    }

    /// A state was made by what `found` says. True if it has rules beside its own; otherwise what lies here is that of an
    /// earlier state, and nobody is to look at it.
    #[inline]
    pub fn set(&mut self, idx: StateIdx, ruleset: &Ruleset, found: &RuleMatch) -> bool {
        (found.anchor.is_some() || !found.matched.is_empty()) && self.keep(idx, ruleset, found)
    }

    fn keep(&mut self, idx: StateIdx, ruleset: &Ruleset, found: &RuleMatch) -> bool {
        let Some(place) = self.slots.get_mut(idx.0 as usize) else {
            return false;
        };
        let rules = found.matched.iter().chain(&found.anchor);
        let slots = rules.filter_map(|nr| Some(ruleset.rules.get(nr.0 as usize)?.slot));
        let mut slots = slots.filter(|slot| *slot != RuleSlot::DEFAULT_RULE);
        let Some(first) = slots.next() else {
            return false;
        };
        let mut slots = [first].into_iter().chain(slots).map(|slot| slot.0);
        *place = core::array::from_fn(|_| slots.next().unwrap_or_default());
        true
    }

    /// The rules beside the own one of a state that is flagged to have any (`StateFlags::BESIDE`).
    pub fn of(&self, idx: StateIdx) -> impl Iterator<Item = RuleSlot> + '_ {
        let slots = self.slots.get(idx.0 as usize).into_iter().flatten();
        slots
            .map(|slot| RuleSlot(*slot))
            .take_while(|slot| *slot != RuleSlot::DEFAULT_RULE)
    }

    /// A packet of the state counts.
    pub fn count(&self, idx: StateIdx, counters: &Counters, direction: Direction, bytes: u64) {
        for slot in self.of(idx) {
            counters.rule(slot).traffic[direction.index()].one(bytes);
        }
    }
}
