//! Warnings that pfctl does not give: the ruleset is right, but hardly what was meant. Only on request
//! ([`crate::Options::lint`]).

use std::collections::HashMap;

use crate::ast::ActionKind;
use crate::diag::Severity;
use crate::message::{Audience, Message, Messages};
use crate::optimize::matches_all_of;
use crate::policy::{Addr, Rule, Table};
use crate::print::{Style, print_rule};
use crate::source::Sources;

/// Rulesets longer than this are not searched for shadowed rules: the search looks at every pair.
const SHADOW_RULES_MAX: usize = 2000;

const TCP: u8 = 6;

/// All warnings about a ruleset and its anchors.
pub(crate) fn lint(
    rules: &[Rule],
    tables: &[Table],
    known: &crate::environment::Known<'_>,
    sources: &Sources,
    messages: &mut Messages,
) {
    shadowed(rules, known, sources, messages);
    stateless_tcp(rules, messages);
    labels_twice(rules, sources, messages);
    tables_never_filled(rules, tables, messages);
    for body in rules.iter().filter_map(|rule| rule.body.as_ref()) {
        lint(body, &[], known, sources, messages);
    }
}

fn warn(messages: &mut Messages, code: &'static str, rule: &Rule, text: String, hint: String) {
    let message = Message::error(code, rule.span, text).hint(Some(hint));
    messages.add(message.severity(Severity::Warning).to(Audience::Person));
}

/// Rules that no packet can reach, or whose verdict another one always replaces.
fn shadowed(
    rules: &[Rule],
    known: &crate::environment::Known<'_>,
    sources: &Sources,
    messages: &mut Messages,
) {
    if rules.len() > SHADOW_RULES_MAX {
        return;
    }
    for (n, rule) in rules.iter().enumerate() {
        if rule.action().is_none() {
            continue;
        }
        let before = rules[..n].iter().find(|r| r.quick && hides(r, rule));
        let verdict_only = rule.tag.is_none() && rule.log.is_none();
        let replaceable = !rule.quick && verdict_only && rule.action() != Some(ActionKind::Match);
        let after = rules[n + 1..]
            .iter()
            .find(|r| replaceable && hides(r, rule));
        let Some(other) = before.or(after) else {
            continue;
        };
        let place = format!(
            "{}:{}",
            sources.name(other.span.file),
            sources.line(other.span)
        );
        let text = match before {
            Some(_) => format!("no packet reaches this rule: {place} takes them all"),
            None => format!("this rule never decides: {place} matches all its packets later"),
        };
        let hint = print_rule(other, &Style::plain(known));
        warn(messages, "shadowed-rule", rule, text, hint);
    }
}

/// True if `other` decides on every packet that `rule` matches.
fn hides(other: &Rule, rule: &Rule) -> bool {
    let decides = matches!(other.action(), Some(ActionKind::Pass | ActionKind::Block));
    let always = other.probability.is_none()
        && other.max_pkt_rate.is_none()
        && !other.once
        && other.tagged.is_none()
        && other.state_limiter.is_none()
        && other.source_limiter.is_none();
    decides && always && matches_all_of(other, rule)
}

/// A stateless pass for TCP in one direction only: answers need a rule of their own.
fn stateless_tcp(rules: &[Rule], messages: &mut Messages) {
    for rule in rules {
        let stateless = rule.action() == Some(ActionKind::Pass) && !rule.keeps_state();
        if stateless && rule.proto == Some(TCP) && rule.direction.is_some() {
            let text = "TCP passes here without state: answers need a rule of their own".into();
            let hint = "leave out 'no state', or pass the other direction too".into();
            warn(messages, "stateless-tcp", rule, text, hint);
        }
    }
}

fn labels_twice(rules: &[Rule], sources: &Sources, messages: &mut Messages) {
    let mut seen: HashMap<&str, &Rule> = HashMap::new();
    for rule in rules {
        let Some(label) = &rule.label else {
            continue;
        };
        match seen.get(label.as_str()) {
            // The rules of one list share their label on purpose.
            Some(first) if first.span != rule.span => {
                let line = sources.line(first.span);
                let text = format!("label \"{label}\" is used twice");
                let hint = format!("first in line {line}; counters of a label are shown per rule");
                warn(messages, "label-twice", rule, text, hint);
            }
            Some(_) => {}
            None => {
                seen.insert(label, rule);
            }
        }
    }
}

/// A rule asks a table that is declared nowhere: it is empty until somebody adds to it by hand.
fn tables_never_filled(rules: &[Rule], tables: &[Table], messages: &mut Messages) {
    let overloads = |name: &str| {
        rules.iter().any(|rule| {
            let table = rule.state.overload.as_ref().map(|o| o.0.as_str());
            table == Some(name)
        })
    };
    let mut said: Vec<&str> = Vec::new();
    for rule in rules {
        for end in [&rule.src, &rule.dst] {
            let Addr::Table(name) = &end.addr else {
                continue;
            };
            let table = tables.iter().find(|t| t.name == *name);
            let empty = table.is_some_and(|t| t.entries.is_empty() && !t.persist);
            if empty && !overloads(name) && !said.contains(&name.as_str()) {
                said.push(name);
                let text = format!("nothing fills table <{name}>");
                let hint = format!("declare it: table <{name}> persist");
                warn(messages, "empty-table", rule, text, hint);
            }
        }
    }
}
