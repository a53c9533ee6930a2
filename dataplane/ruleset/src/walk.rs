//! The walk through the rules: which rule comes next for the packet as it is *now*. Whoever walks applies what a
//! rule does before asking for the next one, so that later rules see the tag and the translated addresses, as in PF.
//! The walk knows `quick`, and enters and leaves anchors.
//!
//! Who only wants to know what decides ([`Walk::to_decision`]) gets, where there is an index, the rules that have an effect
//! of their own, and of those between them that only pass or block the last that matches, or the first with `quick`.
//!
//! Read first: pf.conf(5), "PACKET FILTERING", "ANCHORS".

use crate::Ruleset;
use crate::actions::Log;
use crate::facts::{Af, Facts};
use crate::index::{Candidates, Index, NO_PARENT};
use crate::matches::{Routes, matches};
use crate::rule::{Action, Rule, RuleNr, RuleSlot, TagId};

/// How deep anchors may stand in anchors (OpenBSD: PF_ANCHOR_STACK_MAX).
pub const ANCHOR_DEPTH_MAX: usize = 64;

/// Family, addresses and ports of a packet.
type Ends = (Af, u128, u128, u16, u16);

/// An anchor whose rules are being walked.
#[derive(Clone, Copy, Debug)]
struct Frame {
    anchor: u32,
    /// First rule after the body.
    end: u32,
}

/// A place in a ruleset.
#[derive(Clone, Debug)]
pub struct Walk<'r> {
    ruleset: &'r Ruleset,
    /// From the index, for the packet whose ends these are.
    candidates: Candidates<'r>,
    turned_to: Option<Ends>,
    /// Rules that match and have no effect may be left out.
    to_decision: bool,
    /// With `to_decision`: between this rule and the cursor, those that only pass or block have not been looked at.
    stretch: u32,
    /// It has matched, and comes next.
    pending: Option<u32>,
    cursor: u32,
    finished: bool,
    frames: heapless::Vec<Frame, ANCHOR_DEPTH_MAX>,
    /// The anchor that the last pass or block rule stood in.
    decided_in: Option<u32>,
}

impl<'r> Walk<'r> {
    /// Before the first rule.
    #[inline]
    pub fn new(ruleset: &'r Ruleset) -> Self {
        Walk {
            ruleset,
            candidates: Candidates::default(),
            turned_to: None,
            to_decision: false,
            stretch: 0,
            pending: None,
            cursor: 0,
            finished: false,
            frames: heapless::Vec::new(),
            decided_in: None,
        }
    }

    /// Leaves out what matches and has no effect, since a later rule decides.
    #[must_use]
    #[inline]
    pub fn to_decision(mut self, to_decision: bool) -> Self {
        self.to_decision = to_decision && self.ruleset.index.is_some();
        self
    }

    /// The next rule that matches `facts`; never an anchor itself. `evaluated` hears where every rule counts that was
    /// looked at.
    #[inline]
    pub fn next(
        &mut self,
        facts: &Facts,
        routes: &impl Routes,
        mut evaluated: impl FnMut(RuleSlot),
    ) -> Option<(RuleNr, &'r Rule)> {
        if self.finished {
            return None;
        }
        let mut found = None;
        if let Some(nr) = self.pending.take() {
            found = self.take_effect(nr);
        }
        while found.is_none() && !self.finished {
            found = match (&self.ruleset.index, self.to_decision) {
                (Some(index), true) => self.step_to_decision(index, facts, routes, &mut evaluated),
                _ => self.step(facts, routes, &mut evaluated),
            };
        }
        found
    }

    /// Tests the next rule; gives it if it comes next.
    fn step(
        &mut self,
        facts: &Facts,
        routes: &impl Routes,
        evaluated: &mut impl FnMut(RuleSlot),
    ) -> Option<(RuleNr, &'r Rule)> {
        let Some(nr) = self.next_to_test(facts) else {
            self.finished = true;
            return None;
        };
        self.cursor = nr + 1;
        if self.is_match(nr, facts, routes, evaluated) {
            return self.take_effect(nr);
        }
        if let Some(Action::Anchor { end }) = self.rule(nr).map(|rule| rule.action) {
            self.cursor = end;
        }
        None
    }

    /// The same where only what decides is wanted. Rules that pass or block and do nothing else are passed over until a rule
    /// comes that may change what they see; of these the last that matches decides so far.
    #[inline]
    fn step_to_decision(
        &mut self,
        index: &'r Index,
        facts: &Facts,
        routes: &impl Routes,
        evaluated: &mut impl FnMut(RuleSlot),
    ) -> Option<(RuleNr, &'r Rule)> {
        if !self.turn_to(index, facts) {
            self.to_decision = false;
            return None;
        }
        let Some(nr) = self.next_stop(index) else {
            let was_finished = self.finished;
            self.finished = true;
            return match was_finished {
                true => None,
                false => self.last_plain(index, u32::MAX, facts, routes, evaluated),
            };
        };
        self.cursor = nr + 1;
        if !self.is_match(nr, facts, routes, evaluated) {
            return None;
        }
        if self.rule(nr).is_some_and(|rule| self.ends_stretch(rule)) {
            let plain = self.last_plain(index, nr, facts, routes, evaluated);
            if plain.is_some() {
                self.pending = Some(nr);
                return plain;
            }
        }
        self.take_effect(nr)
    }

    /// A rule that has matched, and that does not decide instead of the plain ones before it: true if those after it may see
    /// another packet, or another walk.
    fn ends_stretch(&self, rule: &Rule) -> bool {
        match rule.action {
            Action::Pass | Action::Block(_) => false,
            // No plain rule stands in an anchor.
            Action::Anchor { .. } => self.frames.is_empty(),
            Action::Translate { .. } => true,
            Action::Match => {
                let changes_packet = rule.tag != TagId::default()
                    || rule.translates()
                    || rule.actions.table().is_some();
                changes_packet || rule.quick || rule.actions.log.contains(Log::MATCHES)
            }
        }
    }

    /// Of the rules before `to` that were passed over, the last that matches.
    #[inline]
    fn last_plain(
        &mut self,
        index: &'r Index,
        to: u32,
        facts: &Facts,
        routes: &impl Routes,
        evaluated: &mut impl FnMut(RuleSlot),
    ) -> Option<(RuleNr, &'r Rule)> {
        let (ruleset, range) = (self.ruleset, (self.stretch, to));
        self.stretch = to;
        let nr = self.candidates.last_plain(index, range, |nr| {
            let rest = index.rest(nr);
            evaluated(rest.slot);
            rest.matches(nr, ruleset, facts, routes)
        })?;
        self.decided_in = None;
        Some((RuleNr(nr), self.rule(nr)?))
    }

    #[inline]
    fn rule(&self, nr: u32) -> Option<&'r Rule> {
        self.ruleset.rules.get(nr as usize)
    }

    #[inline]
    fn is_match(
        &self,
        nr: u32,
        facts: &Facts,
        routes: &impl Routes,
        evaluated: &mut impl FnMut(RuleSlot),
    ) -> bool {
        if let (Some(index), Some(_)) = (&self.ruleset.index, &self.turned_to) {
            let rest = index.rest(nr);
            evaluated(rest.slot);
            return rest.matches(nr, self.ruleset, facts, routes);
        }
        self.rule(nr).is_some_and(|rule| {
            evaluated(rule.slot);
            matches(self.ruleset, rule, facts, routes)
        })
    }

    /// A rule has matched: says where the walk goes on, and gives the rule unless it is an anchor.
    #[inline]
    fn take_effect(&mut self, nr: u32) -> Option<(RuleNr, &'r Rule)> {
        let rule = self.rule(nr)?;
        match rule.action {
            Action::Anchor { end } => {
                self.enter(nr, end);
                return None;
            }
            Action::Pass | Action::Block(_) => {
                self.decided_in = self.anchor().map(|a| a.0);
                self.stretch = nr + 1;
                self.finished = rule.quick;
            }
            Action::Match => self.finished = rule.quick,
            Action::Translate { end, pass } => {
                (self.cursor, self.stretch) = (end, end);
                self.finished = pass;
            }
        }
        if rule.actions.log.contains(Log::MATCHES) {
            // From here on every rule that matches has an effect.
            self.to_decision = false;
        }
        Some((RuleNr(nr), rule))
    }

    /// The next rule that is worth a test: with an index the next candidate, without one the next rule.
    fn next_to_test(&mut self, facts: &Facts) -> Option<u32> {
        loop {
            let next = match &self.ruleset.index {
                Some(index) => self.next_candidate(index, facts),
                None => Some(self.cursor),
            };
            if let Some(nr) = self.in_reach(next) {
                return nr;
            }
        }
    }

    /// The next rule that may not be passed over.
    #[inline]
    fn next_stop(&mut self, index: &'r Index) -> Option<u32> {
        loop {
            let next = self.candidates.next_stop(index, self.cursor);
            if let Some(nr) = self.in_reach(next) {
                return nr;
            }
        }
    }

    /// Goes on to a rule, or to the end: leaves anchors on the way. None if the rule stands in an anchor that was not
    /// entered: then the cursor is behind it.
    #[inline]
    fn in_reach(&mut self, next: Option<u32>) -> Option<Option<u32>> {
        let rules = self.ruleset.rules.len() as u32;
        let nr = next.unwrap_or(rules).max(self.cursor);
        self.leave_anchors(nr);
        if self.finished || nr >= rules {
            return Some(None);
        }
        match self.not_entered(nr) {
            Some(end) => {
                self.cursor = end;
                None
            }
            None => Some(Some(nr)),
        }
    }

    fn next_candidate(&mut self, index: &'r Index, facts: &Facts) -> Option<u32> {
        if !self.turn_to(index, facts) {
            return Some(self.cursor);
        }
        self.candidates.next(index, self.cursor)
    }

    /// Asks the index about the packet, unless it has told already. False if the index does not know the interface.
    #[inline]
    fn turn_to(&mut self, index: &'r Index, facts: &Facts) -> bool {
        let ends = (
            facts.af,
            facts.src,
            facts.dst,
            facts.src_port,
            facts.dst_port,
        );
        // Translation gives the packet other ends.
        if self.turned_to == Some(ends) {
            return true;
        }
        let known = self.candidates.turn_to(index, facts);
        self.turned_to = known.then_some(ends);
        known
    }

    /// If the rule stands in an anchor that was not entered: the first rule after that anchor.
    fn not_entered(&self, nr: u32) -> Option<u32> {
        let index = self.ruleset.index.as_ref()?;
        let inside = self.frames.last().map_or(NO_PARENT, |f| f.anchor);
        let mut parent = index.parent(nr);
        let mut end = None;
        while parent != inside && parent != NO_PARENT {
            if let Some(Action::Anchor { end: after }) =
                self.ruleset.rules.get(parent as usize).map(|r| r.action)
            {
                end = Some(after);
            }
            parent = index.parent(parent);
        }
        end
    }

    /// No other rule will be given, and the last one stands in no anchor.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.finished && self.frames.is_empty()
    }

    /// The anchor that the walk is in.
    pub fn anchor(&self) -> Option<RuleNr> {
        self.frames.last().map(|f| RuleNr(f.anchor))
    }

    fn enter(&mut self, anchor: u32, end: u32) {
        // The compiler has refused deeper nesting.
        if self.frames.push(Frame { anchor, end }).is_err() {
            self.cursor = end;
        }
    }

    /// Before rule `nr`: anchors that end before it are left. A quick anchor ends the walk if one of its own rules
    /// decided.
    fn leave_anchors(&mut self, nr: u32) {
        while let Some(frame) = self.frames.last().filter(|f| f.end <= nr) {
            let anchor = frame.anchor;
            let quick = self
                .ruleset
                .rules
                .get(anchor as usize)
                .is_some_and(|rule| rule.quick);
            self.finished |= quick && self.decided_in == Some(anchor);
            self.frames.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::matches::EveryRoute;
    use crate::rule::BlockReply;

    fn facts(proto: u8) -> Facts {
        Facts {
            src: 1,
            dst: 2,
            proto,
            ..Facts::default()
        }
    }

    /// Numbers of the rules that come, for packets of protocol 6.
    fn walk(rules: &[Rule]) -> Vec<u32> {
        let ruleset = Ruleset {
            rules: rules.to_vec(),
            ..Ruleset::default()
        };
        let mut walk = Walk::new(&ruleset);
        let mut seen = Vec::new();
        while let Some((nr, _)) = walk.next(&facts(6), &EveryRoute, |_| {}) {
            seen.push(nr.0);
        }
        seen
    }

    fn rule(action: Action, quick: bool, proto: Option<u8>) -> Rule {
        Rule {
            quick,
            proto,
            ..Rule::new(action)
        }
    }

    #[test]
    fn anchors_are_entered_only_if_they_match_and_quick_in_them_ends_the_walk() {
        let block = |quick, proto| rule(Action::Block(BlockReply::Drop), quick, proto);
        let pass = |quick| rule(Action::Pass, quick, None);
        let anchor = |end, quick, proto| rule(Action::Anchor { end }, quick, proto);
        for (name, rules, seen) in [
            (
                "entered",
                [
                    anchor(3, false, None),
                    pass(false),
                    block(false, None),
                    pass(false),
                ],
                &[1, 2, 3][..],
            ),
            (
                "left out",
                [
                    anchor(3, false, Some(17)),
                    pass(false),
                    block(false, None),
                    pass(false),
                ],
                &[3],
            ),
            (
                "quick rule inside",
                [
                    anchor(3, false, None),
                    pass(true),
                    block(false, None),
                    pass(false),
                ],
                &[1],
            ),
            (
                "quick anchor with a match",
                [
                    anchor(3, true, None),
                    pass(false),
                    block(false, Some(17)),
                    pass(false),
                ],
                &[1],
            ),
            (
                "quick anchor without a match",
                [
                    pass(false),
                    anchor(3, true, None),
                    block(false, Some(17)),
                    pass(false),
                ],
                &[0, 3],
            ),
            (
                "quick anchor, decided in an anchor inside it",
                [
                    anchor(3, true, None),
                    anchor(3, false, None),
                    pass(false),
                    pass(false),
                ],
                &[2, 3],
            ),
            (
                "empty anchor at the end",
                [pass(false), pass(false), pass(false), anchor(4, true, None)],
                &[0, 1, 2],
            ),
        ] {
            assert_eq!(walk(&rules), seen, "{name}");
        }
    }
}
