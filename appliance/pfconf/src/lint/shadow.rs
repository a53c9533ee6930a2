//! Rules that never decide anything, because an earlier `quick` rule takes all their packets or a later rule overrules them.

use super::Lint;
use crate::ast::ActionKind;
use crate::policy::{Addr, Rule, RuleKind};
use crate::relate::{covers, disjoint, is_fickle};

/// Rulesets longer than this are not searched: the search looks at every pair.
const RULES_MAX: usize = 3000;

/// Why a rule never decides.
enum Hidden<'r> {
    /// This `quick` rule stands before it.
    Before(&'r Rule),
    /// This rule stands behind it.
    After(&'r Rule),
}

pub(super) fn lint(lint: &mut Lint<'_, '_>, rules: &[Rule]) {
    if rules.len() > RULES_MAX {
        return;
    }
    // A list gives several rules, one after the other; they are spoken of together.
    let mut start = 0;
    for statement in rules.chunk_by(|a, b| a.span == b.span) {
        let numbers = start..start + statement.len();
        start = numbers.end;
        let found = numbers.filter_map(|n| Some((&rules[n], hidden(lint, rules, n)?)));
        let found: Vec<(&Rule, Hidden<'_>)> = found.collect();
        if let Some((first, why)) = found.first() {
            tell(lint, statement.len(), found.len(), first, why);
        }
    }
}

fn tell(lint: &mut Lint<'_, '_>, all: usize, hidden: usize, rule: &Rule, why: &Hidden<'_>) {
    let (Hidden::Before(other) | Hidden::After(other)) = why;
    let place = lint.place(other.span);
    let what = match rule.kind {
        RuleKind::Anchor { .. } => "anchor",
        _ => "rule",
    };
    let text = match (why, all == hidden) {
        (Hidden::Before(_), true) => {
            format!("no packet reaches this {what}: {place} takes them all")
        }
        (Hidden::After(_), true) => {
            format!("this {what} never decides: {place} matches all its packets later")
        }
        (Hidden::Before(_), false) => {
            format!(
                "no packet reaches {hidden} of the {all} rules that this line makes: {place} takes them all"
            )
        }
        (Hidden::After(_), false) => {
            format!(
                "{hidden} of the {all} rules that this line makes never decide: {place} matches all their packets later"
            )
        }
    };
    let hint = match all == hidden {
        true => lint.text(other),
        false => format!("'{}' is hidden by '{}'", lint.text(rule), lint.text(other)),
    };
    lint.warn("shadowed-rule", rule.span, text, hint);
}

fn hidden<'r>(lint: &Lint<'_, '_>, rules: &'r [Rule], n: usize) -> Option<Hidden<'r>> {
    let rule = &rules[n];
    let hides = |other: &Rule| decides(other) && covers(other, rule, lint.known);
    let is_rule = rule.action().is_some();
    if !is_rule && !matches!(rule.kind, RuleKind::Anchor { .. }) {
        return None;
    }
    // From the rule outwards; what rewrites packets in between makes addresses mean something else.
    let mut rewritten = false;
    for other in rules[..n].iter().rev() {
        rewritten |= rewrites(other);
        if other.quick && hides(other) && (!rewritten || open(other)) {
            return Some(Hidden::Before(other));
        }
    }
    // A rule that marks or logs on the way did something, even if another one decides.
    let only_decides = rule.tag.is_none() && rule.log.is_none() && !rule.quick;
    if !is_rule || !only_decides || rule.action() == Some(ActionKind::Match) {
        return None;
    }
    let mut rewritten = false;
    for other in &rules[n + 1..] {
        if hides(other) && (!rewritten || open(other)) {
            return Some(Hidden::After(other));
        }
        if ends_undecided(other) && !disjoint(other, rule, lint.known) {
            return None;
        }
        rewritten |= rewrites(other);
    }
    None
}

/// True if the rule passes or blocks whatever it matches.
fn decides(rule: &Rule) -> bool {
    matches!(rule.action(), Some(ActionKind::Pass | ActionKind::Block)) && !is_fickle(rule)
}

/// A `match quick` ends the walk and leaves the decision with an earlier rule.
fn ends_undecided(rule: &Rule) -> bool {
    let inside = rule.body.as_deref().unwrap_or_default();
    (rule.quick && rule.action() == Some(ActionKind::Match)) || inside.iter().any(ends_undecided)
}

/// True if packets may look different behind the rule.
fn rewrites(rule: &Rule) -> bool {
    let itself = rule.nat.is_some() || rule.rdr.is_some() || rule.naf.is_some();
    let inside = rule.body.as_deref().unwrap_or_default();
    (itself && rule.action() == Some(ActionKind::Match)) || inside.iter().any(rewrites)
}

/// True if the rule asks nothing that a rewrite changes.
fn open(rule: &Rule) -> bool {
    let any = |end: &crate::policy::End| end.addr == Addr::Any && !end.not && end.port.is_none();
    any(&rule.src) && any(&rule.dst) && rule.af.is_none()
}
