//! `nat`, `rdr` and `binat` of the old syntax. They stand before all filter rules: on the way out `binat`, then `nat`; on
//! the way in `rdr`, then `binat`. The first that matches counts (pf.conf(5) of FreeBSD, TRANSLATION;
//! pf_get_translation()).

use ruleset::{Action, Direction, KeepState};

use super::Lowering;
use super::anchor::Flat;
use crate::ast::{AnchorKind, PoolKind, TranslationKind};
use crate::policy::{End, Host, Pool, Rule, RuleKind};

/// One of the lists that are asked one after the other.
#[derive(Clone, Copy)]
struct Part {
    kind: TranslationKind,
    anchor: AnchorKind,
    /// The way in of `binat`; its way out is another part.
    inward: bool,
}

const fn part(kind: TranslationKind, anchor: AnchorKind, inward: bool) -> Part {
    Part {
        kind,
        anchor,
        inward,
    }
}

/// In the order in which they are asked.
const PARTS: [Part; 4] = [
    part(TranslationKind::Binat, AnchorKind::Binat, false),
    part(TranslationKind::Nat, AnchorKind::Nat, false),
    part(TranslationKind::Rdr, AnchorKind::Rdr, false),
    part(TranslationKind::Binat, AnchorKind::Binat, true),
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
        for part in PARTS {
            self.put_part("", 0, None, part);
        }
        let first_filter_rule = self.rules.len() as u32;
        for rule in &mut self.rules {
            if let Action::Translate { end, .. } = &mut rule.action {
                *end = first_filter_rule;
            }
        }
    }

    /// Puts the translations of one kind that stand in an anchor, and those of the anchors that it calls.
    fn put_part(&mut self, path: &str, depth: usize, caller: Option<ruleset::RuleNr>, part: Part) {
        for (n, rule) in self.body(path) {
            match &rule.kind {
                RuleKind::Translation { kind, .. } if *kind == part.kind => match part.inward {
                    true => self.place_inward(n, rule, caller),
                    false => {
                        self.place(n, rule, caller);
                    }
                },
                RuleKind::Anchor { kind, call, .. } if *kind == part.anchor => {
                    let Some(at) = self.place(n, rule, caller) else {
                        return;
                    };
                    if depth < ruleset::ANCHOR_DEPTH_MAX {
                        for path in self.called(call) {
                            self.put_part(&path, depth + 1, Some(at), part);
                        }
                    }
                    self.close_anchor(at);
                }
                _ => {}
            }
        }
    }
}
