//! How long a state lives without traffic: its class, the timeouts of its rule, and how full the table is.
//!
//! Read first: pf.conf(5), `set timeout`, `adaptive.start`.

use ruleset::{Ruleset, Timeout};
use state::{State, StateFlags};

/// Seconds after which a state in its present class expires. `total` states are in use over all cores, `of_rule` by
/// the state's rule: where one of them nears its end, lives grow shorter in proportion.
pub fn lifetime_s(ruleset: &Ruleset, st: &State, total: u64, of_rule: impl Fn() -> u64) -> u32 {
    let is_own = st.flags.contains(StateFlags::OWN_TIMEOUTS);
    let general = &ruleset.timeouts;
    let timeouts = if is_own {
        ruleset.timeouts_of(st.rule)
    } else {
        general
    };
    let timeout = timeouts.get(st.timeout);
    let bounds =
        |t: &ruleset::Timeouts| (t.get(Timeout::AdaptiveStart), t.get(Timeout::AdaptiveEnd));
    // A rule that scales by its own states does not scale by those of all.
    match bounds(timeouts) {
        (start, end) if is_own && start != 0 => scaled(timeout, (start, end), of_rule()),
        _ => scaled(timeout, bounds(general), total),
    }
}

/// The same of a state whose rule says nothing of timeouts, in a class.
#[inline]
pub(crate) fn general_s(ruleset: &Ruleset, class: Timeout, total: u64) -> u32 {
    let general = &ruleset.timeouts;
    let bounds = (
        general.get(Timeout::AdaptiveStart),
        general.get(Timeout::AdaptiveEnd),
    );
    scaled(general.get(class), bounds, total)
}

/// A timeout among so many states: whole up to `start`, nothing from `end` on. No `end`, or one that is not behind
/// `start`, scales nothing.
fn scaled(timeout: u32, (start, end): (u32, u32), states: u64) -> u32 {
    let (first, last) = (u64::from(start), u64::from(end));
    if last == 0 || states <= first || first >= last {
        return timeout;
    }
    let left = last.saturating_sub(states);
    // Less than the timeout, so it fits.
    (u64::from(timeout) * left / (last - first)) as u32
}

/// True if lives may be shorter now than they were when the states were made: then the table must be searched.
pub fn is_scaling(ruleset: &Ruleset, total: u64) -> bool {
    let start = |t: &ruleset::Timeouts| t.get(Timeout::AdaptiveStart);
    let end = ruleset.timeouts.get(Timeout::AdaptiveEnd);
    let general = end != 0 && total > u64::from(start(&ruleset.timeouts));
    general || ruleset.rule_timeouts.iter().any(|(_, t)| start(t) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruleset::{RuleSlot, Timeouts};

    #[test]
    fn between_start_and_end_timeouts_shrink_in_proportion() {
        for (bounds, states, expect) in [
            ((60_000, 120_000), 60_000, 900),
            ((60_000, 120_000), 60_001, 899),
            ((60_000, 120_000), 90_000, 450),
            ((60_000, 120_000), 100_000, 300),
            ((60_000, 120_000), 119_999, 0),
            ((60_000, 120_000), 120_000, 0),
            ((60_000, 120_000), 500_000, 0),
            ((0, 0), 1_000_000, 900),
            ((0, 100), 50, 450),
            ((100, 100), 500, 900),
            ((200, 100), 500, 900),
            ((0, u32::MAX), u64::MAX, 0),
        ] {
            assert_eq!(scaled(900, bounds, states), expect, "{bounds:?} {states}");
        }
    }

    #[test]
    fn a_rule_with_bounds_of_its_own_scales_by_its_own_states_alone() {
        let general = Timeouts::default();
        let own = general.for_rule(&[
            (Timeout::UdpMultiple, 100),
            (Timeout::AdaptiveStart, 10),
            (Timeout::AdaptiveEnd, 20),
        ]);
        let plain = general.for_rule(&[(Timeout::UdpMultiple, 200)]);
        let ruleset = Ruleset {
            rule_timeouts: vec![(RuleSlot(1), own), (RuleSlot(2), plain)],
            ..Ruleset::default()
        };
        let life = |rule, flags, total, of_rule| {
            let st = State {
                rule: RuleSlot(rule),
                flags,
                timeout: Timeout::UdpMultiple,
                ..State::default()
            };
            lifetime_s(&ruleset, &st, total, || of_rule)
        };
        let own = StateFlags::OWN_TIMEOUTS;
        assert_eq!(life(1, own, 0, 5), 100);
        assert_eq!(life(1, own, 0, 15), 50);
        assert_eq!(life(1, own, 119_000, 15), 50);
        assert_eq!(life(2, own, 90_000, 0), 100);
        assert_eq!(life(3, StateFlags::empty(), 90_000, 0), 30);
        assert_eq!(life(3, StateFlags::empty(), 10, 0), 60);
    }
}
