//! `scrub` rules of the old dialect: a ruleset of their own, of which the first match counts.

/// `crop` and `drop-ovl` have meant `reassemble` since FreeBSD 10.
pub(super) fn rule(rule: ruleset::Rule, no: bool, fragment: &str) -> ruleset::ScrubRule {
    ruleset::ScrubRule {
        rule,
        no,
        reassemble: fragment != "no reassemble",
    }
}
