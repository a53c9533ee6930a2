//! Whether rules may be asked about a packet before those that have come before it are done, and again afterwards.

use crate::Ruleset;
use crate::rule::{Action, AddrSpec, BlockReply, Endpoint, Rule, TagId};

/// What is known of a ruleset for who asks early.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Early {
    /// It can be asked: the answer depends on no dice and on no more of a packet than [`crate::Facts`] without `os`, and
    /// some rule may block without a word.
    pub may_ask: bool,
    /// A packet changes what becomes of one that comes later and has other ends: it is translated, or puts addresses into tables.
    pub reaches_others: bool,
}

impl Early {
    /// That of a ruleset whose rules are complete.
    pub(crate) fn of(ruleset: &Ruleset) -> Self {
        let rules = || ruleset.rules.iter();
        let has_dice = rules().any(|rule| rule.probability.is_some());
        let fills_table = ruleset.source_limiters.iter().any(|l| l.table.is_some());
        Early {
            may_ask: rules().any(is_silent) && !has_dice && ruleset.fingerprints.is_empty(),
            reaches_others: fills_table || rules().any(reaches_others),
        }
    }
}

/// Nothing comes of a `match` rule for packets that a later rule blocks, but that it counts them: the rules after it see what
/// those before it saw, nobody reads of it, and it may match as often as it likes.
pub fn is_quiet_match(rule: &Rule) -> bool {
    let is_table = |end: &Endpoint| matches!(end.addr, AddrSpec::Table(_));
    let changes = rule.tag != TagId::default() || rule.translates() || rule.new_family.is_some();
    rule.action == Action::Match
        && !rule.quick
        && !changes
        && rule.actions.table().is_none()
        && rule.actions.log.is_empty()
        && rule.limits.is_empty()
        && !is_table(&rule.src)
        && !is_table(&rule.dst)
}

/// Its sender hears nothing, and nobody reads of it.
pub(crate) fn is_silent(rule: &Rule) -> bool {
    rule.action == Action::Block(BlockReply::Drop) && rule.actions.log.is_empty()
}

fn reaches_others(rule: &Rule) -> bool {
    let overload = rule.state.source.and_then(|source| source.overload);
    let translates = rule.translates() || rule.new_family.is_some();
    translates || overload.is_some() || matches!(rule.action, Action::Translate { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_and_loud_rules_are_not_asked_early() {
        let block = || Rule::new(Action::Block(BlockReply::Drop));
        let with = |rules: &[Rule]| {
            Early::of(&Ruleset {
                rules: rules.to_vec(),
                ..Ruleset::default()
            })
        };
        let asked = |rules: &[Rule]| with(rules).may_ask;
        assert!(asked(&[block()]));
        assert!(!asked(&[]));
        assert!(!asked(&[Rule::new(Action::Block(BlockReply::Return))]));
        let dice = Rule {
            probability: Some(7),
            ..Rule::new(Action::Pass)
        };
        assert!(!asked(&[block(), dice]));
        assert!(!with(&[block()]).reaches_others);
        let old = Rule::new(Action::Translate {
            end: 1,
            pass: false,
        });
        assert!(with(&[old, block()]).reaches_others);
    }
}
