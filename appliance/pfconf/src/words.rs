//! The reserved words of pf.conf, and the search for the word that was probably meant.

use crate::message::Messages;

/// Words that come after `set`.
pub(crate) const OPTIONS: &[&str] = &[
    "block-policy",
    "debug",
    "fail-policy",
    "fingerprints",
    "hostid",
    "keepcounters",
    "limit",
    "loginterface",
    "optimization",
    "reassemble",
    "require-order",
    "ruleset-optimization",
    "skip",
    "state-defaults",
    "state-policy",
    "syncookies",
    "timeout",
];

/// Reserved words of OpenBSD's grammar; a bare one is never taken as a name. Sorted, for the search.
pub(crate) const RESERVED: &[&str] = &[
    "af-to",
    "all",
    "allow-opts",
    "anchor",
    "antispoof",
    "any",
    "bandwidth",
    "binat-to",
    "bitmask",
    "block",
    "block-policy",
    "burst",
    "code",
    "debug",
    "default",
    "delay",
    "divert-packet",
    "divert-reply",
    "divert-to",
    "drop",
    "dup-to",
    "file",
    "fingerprints",
    "flags",
    "floating",
    "flows",
    "flush",
    "for",
    "fragment",
    "from",
    "global",
    "group",
    "hostid",
    "icmp-type",
    "icmp6-type",
    "if-bound",
    "in",
    "include",
    "inet",
    "inet6",
    "keep",
    "label",
    "least-states",
    "limit",
    "load",
    "log",
    "loginterface",
    "match",
    "matches",
    "max",
    "max-mss",
    "max-pkt-rate",
    "max-src-conn",
    "max-src-conn-rate",
    "max-src-nodes",
    "max-src-states",
    "min",
    "min-ttl",
    "modulate",
    "nat-to",
    "no",
    "no-df",
    "no-route",
    "no-sync",
    "on",
    "once",
    "optimization",
    "os",
    "out",
    "parent",
    "pass",
    "pflow",
    "port",
    "prio",
    "probability",
    "proto",
    "qlimit",
    "quantum",
    "queue",
    "quick",
    "random",
    "random-id",
    "rdomain",
    "rdr-to",
    "reassemble",
    "received-on",
    "reply-to",
    "return",
    "return-icmp",
    "return-icmp6",
    "return-rst",
    "round-robin",
    "route",
    "route-to",
    "rtable",
    "rule",
    "ruleset-optimization",
    "scrub",
    "set",
    "skip",
    "sloppy",
    "source-hash",
    "source-track",
    "state",
    "state-defaults",
    "state-policy",
    "static-port",
    "sticky-address",
    "syncookies",
    "synproxy",
    "table",
    "tag",
    "tagged",
    "timeout",
    "to",
    "tos",
    "ttl",
    "urpf-failed",
    "user",
    "weight",
];

/// True for a word that a bare name may not be.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word).is_ok()
}

/// Longest word for which a near miss is searched.
const NEAR_LEN_MAX: usize = 32;

/// The candidate that differs least from `word`, if it differs so little that a slip is likely.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > NEAR_LEN_MAX {
        return None;
    }
    let allowed = match word.chars().count() {
        0 | 1 => return None,
        2..=3 => 1,
        4..=7 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .filter(|c| *c != word && c.len() <= NEAR_LEN_MAX)
        // Each surplus byte of a word of ASCII is an edit; the search need not look closer.
        .filter(|c| !c.is_ascii() || !word.is_ascii() || c.len().abs_diff(word.len()) <= allowed)
        .map(|c| (distance(word, c), c))
        .filter(|(d, c)| *d <= allowed && *d < c.chars().count())
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// A hint that names the nearest reserved word.
pub(crate) fn near_keyword(word: &str, messages: &Messages) -> Option<String> {
    messages
        .near(word, RESERVED.iter().copied())
        .map(|k| format!("did you mean '{k}'?"))
}

/// Insertions, deletions, substitutions and swaps of neighbors (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_sorted_so_that_the_search_finds_each() {
        assert!(RESERVED.windows(2).all(|w| w[0] < w[1]));
        assert!(RESERVED.iter().all(|w| is_reserved(w)));
        assert!(!is_reserved("em0"));
    }

    #[test]
    fn slips_of_one_or_two_letters_are_recognized() {
        for (typed, meant) in [
            ("pas", Some("pass")),
            ("blcok", Some("block")),
            ("quik", Some("quick")),
            ("antispof", Some("antispoof")),
            ("xyzzy", None),
            ("q", None),
        ] {
            assert_eq!(nearest(typed, RESERVED.iter().copied()), meant, "{typed}");
        }
    }
}
