//! The walk through the rules: which rule comes next for the packet as it is *now*. Whoever walks applies what a
//! rule does before asking for the next one, so that later rules see the tag and the translated addresses, as in PF.
//! The walk knows `quick`, and enters and leaves anchors.
//!
//! Read first: pf.conf(5), "PACKET FILTERING", "ANCHORS".

use crate::Ruleset;
use crate::facts::Facts;
use crate::linear::{Routes, matches};
use crate::rule::{Action, Rule, RuleNr};

/// How deep anchors may stand in anchors (OpenBSD: PF_ANCHOR_STACK_MAX).
pub const ANCHOR_DEPTH_MAX: usize = 64;

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
    cursor: u32,
    finished: bool,
    frames: heapless::Vec<Frame, ANCHOR_DEPTH_MAX>,
    /// The anchor that the last pass or block rule stood in.
    decided_in: Option<u32>,
}

impl<'r> Walk<'r> {
    /// Before the first rule.
    pub fn new(ruleset: &'r Ruleset) -> Self {
        Walk {
            ruleset,
            cursor: 0,
            finished: false,
            frames: heapless::Vec::new(),
            decided_in: None,
        }
    }

    /// The next rule that matches `facts`; never an anchor itself. `evaluated` hears of every rule that was looked at.
    pub fn next(
        &mut self,
        facts: &Facts,
        routes: &impl Routes,
        mut evaluated: impl FnMut(&Rule),
    ) -> Option<(RuleNr, &'r Rule)> {
        loop {
            self.leave_anchors();
            if self.finished {
                return None;
            }
            let nr = self.cursor;
            let rule = self.ruleset.rules.get(nr as usize)?;
            self.cursor = nr + 1;
            evaluated(rule);
            let matched = matches(self.ruleset, rule, facts, routes);
            match rule.action {
                Action::Anchor { end } => self.enter(nr, end, matched),
                _ if !matched => {}
                Action::Pass | Action::Block(_) => {
                    self.decided_in = self.anchor().map(|a| a.0);
                    self.finished = rule.quick;
                    return Some((RuleNr(nr), rule));
                }
                Action::Match => {
                    self.finished = rule.quick;
                    return Some((RuleNr(nr), rule));
                }
            }
        }
    }

    /// The anchor that the walk is in.
    pub fn anchor(&self) -> Option<RuleNr> {
        self.frames.last().map(|f| RuleNr(f.anchor))
    }

    /// How deep the walk is in anchors.
    pub fn depth(&self) -> usize {
        self.frames.len()
    }

    fn enter(&mut self, anchor: u32, end: u32, matched: bool) {
        // The compiler has refused deeper nesting.
        if !matched || self.frames.push(Frame { anchor, end }).is_err() {
            self.cursor = end;
        }
    }

    /// Behind the last rule of an anchor: a quick anchor ends the walk if one of its own rules decided.
    fn leave_anchors(&mut self) {
        while let Some(frame) = self.frames.last().filter(|f| f.end <= self.cursor) {
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
    use crate::facts::{Af, Direction, Fragment};
    use crate::rule::{BlockReply, TagId};

    struct NoRoutes;
    impl Routes for NoRoutes {
        fn has_route(&self, _: Af, _: u128) -> bool {
            false
        }
        fn reverse_path_ok(&self, _: Af, _: u128) -> bool {
            false
        }
    }

    fn facts(proto: u8) -> Facts {
        Facts {
            direction: Direction::In,
            on: net::KifSet::EMPTY,
            loopback: false,
            received_on: None,
            af: Af::Inet,
            src: 1,
            dst: 2,
            proto,
            src_port: 0,
            dst_port: 0,
            tcp_flags: 0,
            icmp_type: 0,
            icmp_code: 0,
            tos: 0,
            fragment: Fragment::No,
            unsolicited_reply: false,
            tag: TagId(0),
            dice: 0,
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
        while let Some((nr, _)) = walk.next(&facts(6), &NoRoutes, |_| {}) {
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
