//! Rules of the old dialect: `nat`, `rdr`, `binat`, `scrub`.

use crate::ast::{EtherStmt, ScrubStmt, Stmt, Translation, TranslationKind};
use crate::build::Builder;
use crate::expand::{Lists, Targets, each};
use crate::policy::{Ether, Rule, RuleKind};
use crate::resolve::Resolved;
use crate::source::Span;

impl Builder<'_> {
    pub(crate) fn translation(&mut self, stmt: &Translation, span: Span) -> Resolved<()> {
        let kind = RuleKind::Translation {
            kind: stmt.kind,
            no: stmt.no,
            pass: stmt.pass,
        };
        let mut base = Rule::new(kind, span);
        let mut lists = self.head(&mut base, &stmt.head)?;
        base.tag = stmt.tag.as_ref().map(|t| t.text.clone());
        base.tagged = stmt.tagged.as_ref().map(|t| (t.0.text.clone(), t.1));
        base.rtable = stmt.rtable.map(|r| r.n as u32);
        self.check_target(stmt, span)?;
        if let Some(target) = &stmt.target {
            let target = Some(self.target(target)?);
            lists.targets = match stmt.kind {
                TranslationKind::Rdr => Targets {
                    rdr: target,
                    ..Targets::default()
                },
                _ => Targets {
                    nat: target,
                    ..Targets::default()
                },
            };
        }
        if stmt.kind == TranslationKind::Binat {
            self.check_binat_lists(&lists, span)?;
        }
        self.choose_family(&mut base, &lists);
        self.old_translation = true;
        let rules = self.expand(&base, &lists);
        self.old_translation = false;
        self.append(rules?);
        Ok(())
    }

    fn check_target(&mut self, stmt: &Translation, span: Span) -> Resolved<()> {
        if stmt.no && stmt.target.is_some() {
            let text = match stmt.kind {
                TranslationKind::Binat => "'no binat' rule does not need '->'",
                _ => "translation rule with 'no' does not need '->'",
            };
            return Err(self.fail(span, "translation", text));
        }
        if !stmt.no && stmt.target.is_none() {
            let text = match stmt.kind {
                TranslationKind::Binat => "'binat' rule requires '-> address'",
                _ => "translation rule requires '-> address'",
            };
            return Err(self.fail(span, "translation", text));
        }
        Ok(())
    }

    fn check_binat_lists(&mut self, lists: &Lists, span: Span) -> Resolved<()> {
        if lists.src_port.is_empty() && lists.dst_port.is_empty() {
            return Ok(());
        }
        let text = "port is not supported by binat rules";
        Err(self.fail(span, "translation", text))
    }

    /// FreeBSD's rules for Ethernet frames: lists in the order interface, protocol, source, destination.
    pub(crate) fn ether_rule(&mut self, stmt: &EtherStmt, whole: &Stmt) -> Resolved<()> {
        let (span, line) = (whole.span, whole.line);
        let anchor = stmt.anchor.as_ref();
        let call = anchor.map(|a| self.anchor_call(a.name.as_ref().map(|n| n.text.as_str())));
        let body = anchor.and_then(|a| a.body.as_ref());
        let body = match (&call, body) {
            (Some(call), Some(body)) => Some(self.anchor_body(&call.path, body)),
            _ => None,
        };
        self.line = line;
        let ether = Ether {
            action: stmt.action,
            anchor: anchor.map(|a| a.name.as_ref().map(|n| n.text.clone())),
            call,
            bridge_to: stmt.bridge_to.clone(),
            proto: None,
            src: None,
            dst: None,
        };
        let mut base = Rule::new(RuleKind::Ether(ether.clone()), span);
        let lists = self.head(&mut base, &stmt.head)?;
        base.body = body;
        self.labels(&mut base, &stmt.opts)?;
        base.dummynet = stmt.opts.dummynet.map(|d| d.0);
        base.tag = stmt.opts.tag.as_ref().map(|t| t.text.clone());
        base.tagged = stmt.opts.tagged.as_ref().map(|t| (t.0.text.clone(), t.1));
        base.queue = stmt
            .opts
            .queue
            .as_ref()
            .map(|q| (q.name.text.clone(), None));
        self.choose_family(&mut base, &lists);
        // The interface is the outermost loop.
        for on in each(&lists.on) {
            let lists = Lists {
                on: on.into_iter().cloned().collect(),
                src: lists.src.clone(),
                dst: lists.dst.clone(),
                ..Lists::default()
            };
            self.ether_rules(&base, &ether, &lists, stmt)?;
        }
        Ok(())
    }

    /// The rules of one interface: protocol, source and destination, and the addresses behind `l3`.
    fn ether_rules(
        &mut self,
        base: &Rule,
        ether: &Ether,
        lists: &Lists,
        stmt: &EtherStmt,
    ) -> Resolved<()> {
        let span = base.span;
        let rules = self.expand(base, lists)?;
        for proto in each(&stmt.protocols) {
            for src in each(&stmt.from) {
                for dst in each(&stmt.to) {
                    for rule in &rules {
                        let mut rule = rule.clone();
                        rule.kind = RuleKind::Ether(Ether {
                            proto: proto.copied(),
                            src: src.copied(),
                            dst: dst.copied(),
                            ..ether.clone()
                        });
                        self.check_rule_limit(1, span)?;
                        self.append(vec![rule]);
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn scrub_rule(&mut self, stmt: &ScrubStmt, span: Span) -> Resolved<()> {
        let kind = RuleKind::Scrub {
            no: stmt.no,
            fragment: stmt.fragment.unwrap_or("reassemble"),
        };
        let mut base = Rule::new(kind, span);
        let lists = self.head(&mut base, &stmt.head)?;
        base.scrub = stmt.opts.clone();
        base.set_tos = stmt.set_tos;
        base.rtable = stmt.rtable.map(|r| r.n as u32);
        base.tag = stmt.tag.as_ref().map(|t| t.text.clone());
        base.tagged = stmt.tagged.as_ref().map(|t| (t.0.text.clone(), t.1));
        self.choose_family(&mut base, &lists);
        let rules = self.expand(&base, &lists)?;
        self.append(rules);
        Ok(())
    }
}
