//! Warnings that pfctl does not give: the ruleset is right, but hardly what was meant. Only on request
//! ([`crate::Options::lint`]). Each warning must be sure of itself: what only looks odd is left alone.

mod shadow;
mod uplink;

use std::collections::{HashMap, HashSet};

use ruleset::Direction;

use crate::ast::{ActionKind, KeepKind};
use crate::diag::Severity;
use crate::environment::Known;
use crate::message::{Audience, Message, Messages};
use crate::policy::{Addr, Pool, Rule, Table};
use crate::print::{Style, print_rule};
use crate::relate::{covers, disjoint};
use crate::source::{Sources, Span};

const TCP: u8 = 6;

/// What warnings are made from.
struct Lint<'a, 'k> {
    known: &'a Known<'k>,
    sources: &'a Sources,
    messages: &'a mut Messages,
}

/// All warnings about a ruleset and its anchors.
pub(crate) fn lint(
    rules: &[Rule],
    tables: &[Table],
    known: &Known<'_>,
    sources: &Sources,
    messages: &mut Messages,
) {
    let mut lint = Lint {
        known,
        sources,
        messages,
    };
    lint.ruleset(rules);
    lint.tables_never_filled(rules, tables);
    uplink::lint(&mut lint, rules, tables);
}

impl Lint<'_, '_> {
    fn ruleset(&mut self, rules: &[Rule]) {
        shadow::lint(self, rules);
        self.stateless_tcp(rules);
        self.labels_twice(rules);
        for body in rules.iter().filter_map(|rule| rule.body.as_ref()) {
            self.ruleset(body);
        }
    }

    fn warn(&mut self, code: &'static str, span: Span, text: String, hint: String) {
        let message = Message::error(code, span, text).hint(Some(hint));
        let message = message.severity(Severity::Warning);
        self.messages.add(message.to(Audience::Person));
    }

    /// `pf.conf:7`
    fn place(&self, span: Span) -> String {
        format!(
            "{}:{}",
            self.sources.name(span.file),
            self.sources.line(span)
        )
    }

    fn text(&self, rule: &Rule) -> String {
        print_rule(rule, &Style::plain(self.known))
    }

    /// A stateless pass for TCP whose answers no rule lets back.
    fn stateless_tcp(&mut self, rules: &[Rule]) {
        let mut said = HashSet::new();
        for rule in rules {
            let stateless = rule.action() == Some(ActionKind::Pass) && !rule.keeps_state();
            if !stateless || rule.proto.is_some_and(|p| p != TCP) || rule.fragment {
                continue;
            }
            let answers = answers_of(rule);
            let blocked = rules.iter().any(|other| {
                other.action() == Some(ActionKind::Block) && !disjoint(other, &answers, self.known)
            });
            let passed = rules.iter().any(|other| {
                other.action() == Some(ActionKind::Pass) && covers(other, &answers, self.known)
            });
            if blocked && !passed && said.insert(rule.span) {
                let text = "TCP passes here without state, and no rule passes the answers";
                let hint = format!("leave out 'no state', or add: {}", self.text(&answers));
                self.warn("stateless-tcp", rule.span, text.into(), hint);
            }
        }
    }

    fn labels_twice(&mut self, rules: &[Rule]) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        let mut said = HashSet::new();
        for rule in rules {
            let Some(label) = &rule.label else {
                continue;
            };
            let first = *seen.entry(label).or_insert(rule.span);
            // The rules of one list share their label on purpose.
            if first != rule.span && said.insert(rule.span) {
                let place = self.place(first);
                let text = format!("label \"{label}\" is used twice, first in {place}");
                let hint = "whoever adds up counters by label adds up both rules".into();
                self.warn("label-twice", rule.span, text, hint);
            }
        }
    }

    /// A rule asks a table that is declared nowhere or can never hold anything.
    fn tables_never_filled(&mut self, rules: &[Rule], tables: &[Table]) {
        let mut used = Vec::new();
        let mut filled = HashSet::new();
        collect(rules, &mut used, &mut filled);
        let by_name: HashMap<&str, &Table> = tables.iter().map(|t| (t.name.as_str(), t)).collect();
        let mut said = HashSet::new();
        for (name, span) in used {
            let Some(table) = by_name.get(name.as_str()) else {
                continue;
            };
            let by_hand = table.persist && !table.constant;
            let empty = table.keeps_contents && !by_hand && !filled.contains(&name);
            if empty && said.insert(name.clone()) {
                let text = format!("nothing ever fills table <{name}>");
                let others = tables.iter().filter(|t| !t.entries.is_empty() || t.persist);
                let near = self.messages.near(&name, others.map(|t| t.name.as_str()));
                let hint = match near {
                    Some(near) => format!("did you mean <{near}>?"),
                    None => format!("if it is filled by hand, say so: table <{name}> persist"),
                };
                self.warn("empty-table", span, text, hint);
            }
        }
    }
}

/// The rule that would pass the answers to what a rule passes.
fn answers_of(rule: &Rule) -> Rule {
    Rule {
        direction: rule.direction.map(|d| match d {
            Direction::In => Direction::Out,
            Direction::Out => Direction::In,
        }),
        on: rule.on.clone(),
        af: rule.af,
        proto: Some(TCP),
        src: rule.dst.clone(),
        dst: rule.src.clone(),
        keep: KeepKind::No,
        ..Rule::new(rule.kind.clone(), rule.span)
    }
}

/// Tables that rules ask, with the first rule, and tables that rules fill.
fn collect(rules: &[Rule], used: &mut Vec<(String, Span)>, filled: &mut HashSet<String>) {
    for rule in rules {
        let route = rule.route.as_ref().map(|(_, pool)| &**pool);
        let pools: [Option<&Pool>; 3] = [rule.nat.as_deref(), rule.rdr.as_deref(), route];
        let targets = pools.into_iter().flatten().flat_map(|pool| &pool.hosts);
        let ends = [&rule.src.addr, &rule.dst.addr];
        for addr in ends.into_iter().chain(targets.map(|host| &host.addr)) {
            if let Addr::Table(name) = addr {
                used.push((name.clone(), rule.span));
            }
        }
        filled.extend(rule.state.overload.as_ref().map(|o| o.0.clone()));
        collect(rule.body.as_deref().unwrap_or_default(), used, filled);
    }
}
