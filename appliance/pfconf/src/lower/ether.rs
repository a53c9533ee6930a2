//! FreeBSD's rules for Ethernet frames: a ruleset of their own, with anchors of their own.

use ruleset::ether::{EtherRule, Station};
use ruleset::{ANCHOR_DEPTH_MAX, Action};

use super::Lowering;
use super::anchor::Flat;
use crate::ast::Mac;
use crate::message::{Audience, Message};
use crate::policy::{Ether, Rule, RuleKind};

impl Lowering<'_> {
    /// What the box does not do with frames.
    pub(super) fn refuse_bridge_to(&mut self, rule: &Rule) {
        let RuleKind::Ether(Ether {
            bridge_to: Some(to),
            ..
        }) = &rule.kind
        else {
            return;
        };
        let span = rule.span;
        if self.refused.insert((span.file.0, span.start, "bridge-to")) {
            let text = format!("bridge-to {to}: frames are not sent on by rules");
            let hint = "a bridge sends frames on, and 'pass … route-to' the packets in them";
            let message = Message::error("bridge-to", span, text).hint(Some(hint.into()));
            self.messages.add(message.to(Audience::Person));
        }
    }
}

impl Flat<'_, '_> {
    /// Puts the ether rules that stand in an anchor, and those of the ether anchors that it calls.
    pub(super) fn put_ether(&mut self, path: &str, depth: usize) {
        for (n, rule) in self.body(path) {
            let RuleKind::Ether(ether) = &rule.kind else {
                continue;
            };
            if !self.has_room(rule) {
                return;
            }
            let at = self.ether.len();
            self.ether.push(EtherRule {
                rule: self.lowered(n),
                number: n as u32,
                ethertype: ether.proto,
                src: ether.src.map(station),
                dst: ether.dst.map(station),
            });
            if let Some(call) = &ether.call {
                // Anchors that call each other in a circle end somewhere.
                if depth < ANCHOR_DEPTH_MAX {
                    for path in self.called(call) {
                        self.put_ether(&path, depth + 1);
                    }
                }
                self.ether[at].rule.action = Action::Anchor {
                    end: self.ether.len() as u32,
                };
            }
        }
    }
}

fn station(mac: Mac) -> Station {
    Station {
        addr: mac.bytes,
        mask: mac.mask,
        negate: mac.not,
    }
}
