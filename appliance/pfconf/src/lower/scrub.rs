//! `scrub` rules of the old dialect: a ruleset of their own, of which the first match counts, with anchors of their own.

use ruleset::{ANCHOR_DEPTH_MAX, ScrubRule};

use super::anchor::Flat;
use crate::ast::AnchorKind;
use crate::policy::{Rule, RuleKind};

/// `crop` and `drop-ovl` have meant `reassemble` since FreeBSD 10.
fn scrub_rule(rule: ruleset::Rule, n: usize, no: bool, fragment: &str) -> ScrubRule {
    ScrubRule {
        rule,
        number: n as u32,
        no,
        reassemble: fragment != "no reassemble",
        anchor_end: None,
    }
}

impl Flat<'_, '_> {
    /// Puts the scrub rules that stand in an anchor, and those of the scrub anchors that it calls.
    pub(super) fn put_scrub(&mut self, path: &str, depth: usize) {
        for (n, rule) in self.body(path) {
            let Some(scrub) = self.scrub_of(n, rule) else {
                continue;
            };
            if !self.has_room(rule) {
                return;
            }
            let at = self.scrub.len();
            self.scrub.push(scrub);
            if let RuleKind::Anchor { call, .. } = &rule.kind {
                // Anchors that call each other in a circle end somewhere.
                if depth < ANCHOR_DEPTH_MAX {
                    for path in self.called(call) {
                        self.put_scrub(&path, depth + 1);
                    }
                }
                self.scrub[at].anchor_end = Some(self.scrub.len() as u32);
            }
        }
    }

    fn scrub_of(&self, n: usize, rule: &Rule) -> Option<ScrubRule> {
        match &rule.kind {
            RuleKind::Scrub { no, fragment } => Some(scrub_rule(self.lowered(n), n, *no, fragment)),
            RuleKind::Anchor {
                kind: AnchorKind::Scrub,
                ..
            } => Some(scrub_rule(self.lowered(n), n, false, "reassemble")),
            _ => None,
        }
    }
}
