//! Which counters belong to which rule, over generations. A rule is known by its text and by how many equal rules stand
//! before it; while it is known it keeps its slot, so its counters and states survive a reload. The slot of a rule
//! that is gone is given to another only when every worker has adopted a policy without it and no state hangs on it.

use std::collections::HashMap;

use ruleset::{RuleSlot, Timeouts};

use crate::api::Count;

/// Slots in all: a cache line per worker each.
pub const RULE_SLOTS_DEFAULT: usize = 16_384;

/// What a slot has counted, over all workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Times the rule was looked at.
    pub evaluations: u64,
    /// In, then out.
    pub traffic: [Count; 2],
    /// States made.
    pub states_total: u64,
}

impl Totals {
    /// What was counted since `base`.
    pub fn since(&self, base: &Totals) -> Totals {
        let count = |n: usize| Count {
            packets: self.traffic[n]
                .packets
                .wrapping_sub(base.traffic[n].packets),
            bytes: self.traffic[n].bytes.wrapping_sub(base.traffic[n].bytes),
        };
        Totals {
            evaluations: self.evaluations.wrapping_sub(base.evaluations),
            traffic: [count(0), count(1)],
            states_total: self.states_total.wrapping_sub(base.states_total),
        }
    }
}

/// What names a rule: its text, and its number among equal texts.
type RuleKey = (String, u32);

#[derive(Clone, Debug, Default)]
struct Entry {
    /// The rule that has or had the slot; none if it was never used.
    key: Option<RuleKey>,
    /// The first generation without the rule; none while it is in the running policy.
    retired: Option<u32>,
    /// What had been counted when the present rule got the slot.
    base: Totals,
    /// Timeouts of the rule, if it has its own.
    timeouts: Option<Timeouts>,
}

/// All slots.
#[derive(Clone, Debug)]
pub struct RuleSlots {
    entries: Vec<Entry>,
    by_key: HashMap<RuleKey, usize>,
}

/// Slots for the rules of a policy, not yet in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// For each rule.
    pub slots: Vec<RuleSlot>,
    keys: Vec<RuleKey>,
}

/// What must be known of a slot before it may be given away.
pub struct Usage {
    /// States that hang on it now, over all workers.
    pub states: u64,
    /// What it has counted.
    pub totals: Totals,
}

impl RuleSlots {
    /// `capacity` slots; the first belongs to the default rule for ever.
    pub fn new(capacity: usize) -> Self {
        RuleSlots {
            entries: vec![Entry::default(); capacity.max(1)],
            by_key: HashMap::new(),
        }
    }

    /// Finds a slot for every rule, or says how many rules there are slots for. Changes nothing. `adopted` is the oldest
    /// generation that a worker still runs on; `states` says how many states hang on a slot.
    pub fn plan<'a>(
        &self,
        texts: impl IntoIterator<Item = &'a str>,
        adopted: u32,
        states: impl Fn(RuleSlot) -> u64,
    ) -> Result<Plan, usize> {
        let keys = keys_of(texts);
        let kept: Vec<Option<usize>> = keys
            .iter()
            .map(|key| self.by_key.get(key).copied())
            .collect();
        let mut taken = vec![false; self.entries.len()];
        for n in kept.iter().flatten() {
            taken[*n] = true;
        }
        // Unused ones first: what a gone rule has counted stays findable as long as there is room.
        let is_free = |n: &usize, used: bool| {
            let entry = &self.entries[*n];
            !taken[*n]
                && entry.key.is_some() == used
                && entry.retired.is_none_or(|generation| generation <= adopted)
                && (!used || entry.retired.is_some() && states(RuleSlot(*n as u32)) == 0)
        };
        let all = || 1..self.entries.len();
        let mut free = all()
            .filter(|n| is_free(n, false))
            .chain(all().filter(|n| is_free(n, true)));
        let mut slots = Vec::with_capacity(keys.len());
        for slot in kept {
            match slot.or_else(|| free.next()) {
                Some(n) => slots.push(RuleSlot(n as u32)),
                None => return Err(self.entries.len() - 1),
            }
        }
        Ok(Plan { slots, keys })
    }

    /// Puts a plan in force with `generation`; what has slots and is not in the plan retires.
    pub fn commit(
        &mut self,
        plan: &Plan,
        timeouts: &[(RuleSlot, Timeouts)],
        generation: u32,
        totals: impl Fn(RuleSlot) -> Totals,
    ) {
        for entry in self.entries.iter_mut().filter(|e| e.key.is_some()) {
            entry.retired.get_or_insert(generation);
        }
        for (slot, key) in plan.slots.iter().zip(&plan.keys) {
            let n = slot.0 as usize;
            if self.entries[n].key.as_ref() != Some(key) {
                if let Some(old) = self.entries[n].key.replace(key.clone()) {
                    self.by_key.remove(&old);
                }
                self.by_key.insert(key.clone(), n);
                self.entries[n].base = totals(*slot);
            }
            self.entries[n].retired = None;
            let own = timeouts.binary_search_by_key(slot, |(s, _)| *s);
            self.entries[n].timeouts = own.ok().map(|at| timeouts[at].1);
        }
    }

    /// What the slot had counted when its rule got it.
    pub fn base(&self, slot: RuleSlot) -> Totals {
        self.entries
            .get(slot.0 as usize)
            .map(|e| e.base)
            .unwrap_or_default()
    }

    /// Timeouts of rules that are not in `plan` but may have states: they must be carried on.
    pub fn timeouts_beyond(
        &self,
        plan: &Plan,
        states: impl Fn(RuleSlot) -> u64,
    ) -> Vec<(RuleSlot, Timeouts)> {
        let planned: std::collections::HashSet<u32> = plan.slots.iter().map(|s| s.0).collect();
        let gone = self.entries.iter().enumerate().filter_map(|(n, entry)| {
            let slot = RuleSlot(n as u32);
            let timeouts = entry.timeouts?;
            // A rule that is in force until now may make a state this very moment.
            let may_have_states = entry.retired.is_none() || states(slot) > 0;
            (!planned.contains(&slot.0) && may_have_states).then_some((slot, timeouts))
        });
        gone.collect()
    }
}

fn keys_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<RuleKey> {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let number = |text: &'a str| {
        let n = seen.entry(text).or_insert(0);
        *n += 1;
        (text.to_string(), *n - 1)
    };
    texts.into_iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruleset::Timeout;

    fn no_states(_: RuleSlot) -> u64 {
        0
    }

    fn apply(slots: &mut RuleSlots, texts: &[&str], generation: u32) -> Vec<u32> {
        let plan = slots
            .plan(texts.iter().copied(), generation - 1, no_states)
            .unwrap();
        slots.commit(&plan, &[], generation, |_| Totals::default());
        plan.slots.iter().map(|s| s.0).collect()
    }

    #[test]
    fn a_rule_keeps_its_slot_wherever_it_moves() {
        let mut slots = RuleSlots::new(10);
        assert_eq!(apply(&mut slots, &["a", "b", "c"], 1), [1, 2, 3]);
        assert_eq!(apply(&mut slots, &["c", "x", "a"], 2), [3, 4, 1]);
        // Back again: "b" was gone, but nobody needed its slot.
        assert_eq!(apply(&mut slots, &["a", "b", "c"], 3), [1, 2, 3]);
    }

    #[test]
    fn equal_rules_are_told_apart_by_their_order() {
        let mut slots = RuleSlots::new(10);
        assert_eq!(apply(&mut slots, &["a", "a", "b"], 1), [1, 2, 3]);
        assert_eq!(apply(&mut slots, &["b", "a", "a", "a"], 2), [3, 1, 2, 4]);
    }

    #[test]
    fn a_slot_with_states_or_in_use_by_a_slow_worker_is_not_given_away() {
        let mut slots = RuleSlots::new(3);
        apply(&mut slots, &["a", "b"], 1);
        apply(&mut slots, &["a"], 2);
        let plan = |adopted, states: u64| slots.plan(["a", "c"], adopted, |_| states);
        assert_eq!(plan(1, 0), Err(2), "a worker still runs generation 1");
        assert_eq!(plan(2, 1), Err(2), "a state hangs on it");
        assert_eq!(plan(2, 0).unwrap().slots, [RuleSlot(1), RuleSlot(2)]);
        assert!(
            slots.plan(["a", "b"], 1, |_| 1).is_ok(),
            "the rule itself may come back"
        );
    }

    #[test]
    fn a_new_rule_in_an_old_slot_begins_at_zero() {
        let mut slots = RuleSlots::new(2);
        let counted = Totals {
            evaluations: 7,
            ..Totals::default()
        };
        apply(&mut slots, &["a"], 1);
        apply(&mut slots, &[], 2);
        let plan = slots.plan(["b"], 2, no_states).unwrap();
        slots.commit(&plan, &[], 3, |_| counted);
        assert_eq!(counted.since(&slots.base(RuleSlot(1))), Totals::default());
        // The rule stays: so does its base.
        let plan = slots.plan(["b"], 3, no_states).unwrap();
        slots.commit(&plan, &[], 4, |_| Totals {
            evaluations: 9,
            ..Totals::default()
        });
        assert_eq!(slots.base(RuleSlot(1)).evaluations, 7);
    }

    #[test]
    fn timeouts_of_gone_rules_are_carried_while_they_have_states() {
        let mut slots = RuleSlots::new(5);
        let mut own = Timeouts::default();
        own.set(Timeout::UdpSingle, 5);
        let plan = slots.plan(["a", "b"], 0, no_states).unwrap();
        slots.commit(&plan, &[(RuleSlot(1), own)], 1, |_| Totals::default());
        let next = slots.plan(["b"], 1, no_states).unwrap();
        assert_eq!(
            slots.timeouts_beyond(&next, no_states),
            [(RuleSlot(1), own)]
        );
        slots.commit(&next, &[], 2, |_| Totals::default());
        assert_eq!(slots.timeouts_beyond(&next, no_states), []);
        assert_eq!(slots.timeouts_beyond(&next, |_| 1), [(RuleSlot(1), own)]);
    }

    #[test]
    fn more_rules_than_slots_are_refused_and_change_nothing() {
        let slots = RuleSlots::new(4);
        assert!(slots.plan(["a", "b", "c"], 0, no_states).is_ok());
        assert_eq!(slots.plan(["a", "b", "c", "d"], 0, no_states), Err(3));
    }
}
