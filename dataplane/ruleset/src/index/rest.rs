//! What is left to be asked of a rule that is a candidate: the fields' sets are exact where rules ask for an interval of
//! addresses or ports, a protocol, a family, an interface or a direction, and most rules ask for nothing else. One short
//! word per rule says so, and what a TCP rule always asks for, its flags, stands in it: the rule itself is read when it has
//! matched.

use alloc::vec::Vec;

use bitflags::bitflags;

use crate::Ruleset;
use crate::facts::{Facts, Fragment};
use crate::matches::{Routes, dst_matches, matches, src_matches};
use crate::owner::Owner;
use crate::rule::{IfMatch, KeepState, Rule, RuleSlot, TcpFlagsMatch};

const PROTO_TCP: u8 = 6;

bitflags! {
    /// Questions.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    struct Asks: u8 {
        /// For the source, in a way that is no interval.
        const SRC = 1;
        /// For the destination likewise.
        const DST = 2;
        /// TCP packets for their flags.
        const FLAGS = 4;
        /// Keeps state, so it lets no unsolicited answer through.
        const KEEPS = 8;
        /// For what few rules ask for: all is asked again.
        const MORE = 16;
    }
}

/// What is left of a rule, and where it counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rest {
    pub(crate) slot: RuleSlot,
    asks: Asks,
    flags: TcpFlagsMatch,
}

const _: () = assert!(size_of::<Rest>() == 8);

impl Rest {
    fn of(rule: &Rule) -> Self {
        let mut asks = Asks::empty();
        asks.set(Asks::FLAGS, rule.flags.mask != 0);
        asks.set(Asks::KEEPS, rule.keep_state != KeepState::No);
        asks.set(Asks::MORE, asks_more(rule));
        Rest {
            slot: rule.slot,
            asks,
            flags: rule.flags,
        }
    }

    pub(super) fn ask_src(&mut self) {
        self.asks |= Asks::SRC;
    }

    pub(super) fn ask_dst(&mut self) {
        self.asks |= Asks::DST;
    }

    /// True if the rule, a candidate for this very packet, matches.
    #[inline(always)]
    pub(crate) fn matches(
        self,
        nr: u32,
        ruleset: &Ruleset,
        facts: &Facts,
        routes: &impl Routes,
    ) -> bool {
        let asks_rule = Asks::SRC | Asks::DST | Asks::MORE;
        if self.asks.intersects(asks_rule) && !self.ask_rule(nr, ruleset, facts, routes) {
            return false;
        }
        self.flags_match(facts) && !(facts.unsolicited_reply && self.asks.contains(Asks::KEEPS))
    }

    #[inline]
    fn flags_match(self, facts: &Facts) -> bool {
        if !self.asks.contains(Asks::FLAGS) || facts.proto != PROTO_TCP {
            return true;
        }
        facts.fragment == Fragment::No && facts.tcp_flags & self.flags.mask == self.flags.set
    }

    fn ask_rule(self, nr: u32, ruleset: &Ruleset, facts: &Facts, routes: &impl Routes) -> bool {
        let Some(rule) = ruleset.rules.get(nr as usize) else {
            return false;
        };
        if self.asks.contains(Asks::MORE) {
            return matches(ruleset, rule, facts, routes);
        }
        (!self.asks.contains(Asks::SRC) || src_matches(ruleset, rule, facts, routes))
            && (!self.asks.contains(Asks::DST) || dst_matches(ruleset, rule, facts, routes))
    }
}

/// It asks for something that neither a field of the index nor another question covers.
pub(crate) fn asks_more(rule: &Rule) -> bool {
    // All interfaces but one: the index has them in one set, the one included.
    let but_one =
        |on| matches!(on, IfMatch::Kif { kif, negate: true } if kif.group_number().is_none());
    rule.on.is_some_and(but_one)
        || rule.received_on.is_some()
        || rule.icmp.is_some()
        || rule.owner != Owner::Anybody
        || rule.tos.is_some()
        || rule.prio.is_some()
        || rule.fragment == Fragment::Yes
        || rule.os.is_some()
        || rule.probability.is_some()
        || rule.tagged.is_some()
        || !rule.limits.is_empty()
}

pub(super) fn rests(rules: &[Rule]) -> Vec<Rest> {
    rules.iter().map(Rest::of).collect()
}
