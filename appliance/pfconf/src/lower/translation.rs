//! `nat`, `rdr` and `binat` of the old syntax. They stand before all filter rules: `binat` first, then, by direction,
//! `nat` or `rdr`; the first that matches counts (pf.conf(5) of FreeBSD, TRANSLATION).

use ruleset::{Action, Direction, KeepState};

use super::Lowering;
use super::anchor::Flat;
use crate::ast::{AnchorKind, PoolKind, TranslationKind};
use crate::policy::{End, Host, Pool, Rule, RuleKind};

/// In the order in which they are asked.
const KINDS: [(TranslationKind, AnchorKind); 3] = [
    (TranslationKind::Binat, AnchorKind::Binat),
    (TranslationKind::Nat, AnchorKind::Nat),
    (TranslationKind::Rdr, AnchorKind::Rdr),
];

impl Lowering<'_> {
    /// Direction and state of a translation; that of `binat` is made for the way out.
    pub(super) fn old_translation(
        &mut self,
        rule: &Rule,
        kind: TranslationKind,
        lowered: &mut ruleset::Rule,
    ) {
        lowered.keep_state = KeepState::Keep;
        lowered.direction = Some(match kind {
            TranslationKind::Nat | TranslationKind::Binat => Direction::Out,
            TranslationKind::Rdr => Direction::In,
        });
        if let (TranslationKind::Binat, Some(pool)) = (kind, &rule.nat) {
            let pool = one_to_one(pool.hosts.clone());
            lowered.nat = Some(self.pool(&pool, rule.af).into());
        }
    }

    /// The way in of a `binat` rule: what is sent to the outer addresses is for the inner ones.
    pub(super) fn binat_inward(&mut self, rule: &Rule, out: &ruleset::Rule) -> ruleset::Rule {
        let mut inward = out.clone();
        inward.direction = Some(Direction::In);
        inward.src = out.dst;
        inward.nat = None;
        let outer = rule.nat.as_ref().and_then(|pool| pool.hosts.first());
        let outer = outer.map(|host| host.addr.clone()).unwrap_or_default();
        let end = End {
            addr: outer,
            ..End::default()
        };
        inward.dst = match rule.nat {
            Some(_) => self.endpoint(&end, rule),
            // `no binat` stops both ways, by the inner addresses.
            None => out.src,
        };
        if rule.nat.is_some() {
            let inner = Host {
                addr: rule.src.addr.clone(),
                span: rule.span,
                ..Host::default()
            };
            let pool = one_to_one(vec![inner]);
            inward.rdr = Some(self.pool(&pool, rule.af).into());
        }
        inward
    }
}

/// Host bits and ports stay.
fn one_to_one(hosts: Vec<Host>) -> Pool {
    Pool {
        hosts,
        table: None,
        kind: PoolKind::None,
        key: None,
        sticky: false,
        static_port: true,
        ports: (0, 0),
        map_e: None,
        endpoint_independent: false,
    }
}

impl Flat<'_, '_> {
    /// Puts all translations in front of what follows.
    pub(super) fn put_translations(&mut self) {
        for (kind, anchor) in KINDS {
            self.put_kind("", 0, None, kind, anchor);
        }
        let first_filter_rule = self.rules.len() as u32;
        for rule in &mut self.rules {
            if let Action::Translate { end, .. } = &mut rule.action {
                *end = first_filter_rule;
            }
        }
    }

    /// Puts the translations of one kind that stand in an anchor, and those of the anchors that it calls.
    fn put_kind(
        &mut self,
        path: &str,
        depth: usize,
        caller: Option<ruleset::RuleNr>,
        kind: TranslationKind,
        anchor: AnchorKind,
    ) {
        for (n, rule) in self.body(path) {
            match &rule.kind {
                RuleKind::Translation { kind: of, .. } if *of == kind => {
                    self.place(n, rule, caller);
                    if kind == TranslationKind::Binat {
                        self.place_inward(n, rule, caller);
                    }
                }
                RuleKind::Anchor { kind: of, call, .. } if *of == anchor => {
                    let Some(at) = self.place(n, rule, caller) else {
                        return;
                    };
                    if depth < ruleset::ANCHOR_DEPTH_MAX {
                        for path in self.called(call) {
                            self.put_kind(&path, depth + 1, Some(at), kind, anchor);
                        }
                    }
                    self.close_anchor(at);
                }
                _ => {}
            }
        }
    }
}
