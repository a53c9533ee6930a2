//! What to do about a message, where the place that found the mistake had no hint or only a general one. Goes by the text of
//! the message, which is mostly pfctl's and therefore does not change. Read aloud at three in the morning, a hint must say
//! what to type.

use ruleset::Limits;

use crate::near::nearest;
use crate::words::OPTIONS;

/// Words that belong into `scrub ( … )`.
const SCRUB: [&str; 4] = ["max-mss", "min-ttl", "no-df", "random-id"];

/// The better of the hint that came with a message and what is known here.
pub(crate) fn of(text: &str, hint: Option<&str>) -> Option<String> {
    let better = match hint {
        None => plain(text),
        Some(hint) => general(text, hint),
    };
    better.or_else(|| hint.map(str::to_string))
}

/// What stands between the quotes of `syntax error at 'word'`.
fn word(text: &str) -> Option<&str> {
    text.strip_prefix("syntax error at '")?.strip_suffix('\'')
}

/// A hint that only says what was expected may be beaten.
fn general(text: &str, hint: &str) -> Option<String> {
    let word = word(text)?;
    match hint {
        "expected a statement" if word == "}" => Some("no '{' is open here".into()),
        "expected a statement" if OPTIONS.contains(&word) => Some(format!("write: set {word} ...")),
        "expected the name of a limit" => {
            let near = nearest(word, Limits::NAMES).map(|n| format!("did you mean '{n}'?"));
            near.or_else(|| Some(format!("known: {}", Limits::NAMES.join(" "))))
        }
        "no option of a rule begins like this" if SCRUB.contains(&word) => {
            Some(format!("write: scrub ({word} ...)"))
        }
        "no option of a rule begins like this" if word == "keep-state" => {
            Some("write: keep state".into())
        }
        _ => None,
    }
}

/// Hints for messages that came without one.
fn plain(text: &str) -> Option<String> {
    let fixed = match text {
        "syntax error at ','" => "several of a kind stand in braces: { a, b }",
        "port only applies to tcp/udp" => "add: proto tcp, proto udp or proto { tcp udp }",
        "user/group only applies to tcp/udp" => "add: proto tcp, proto udp or proto { tcp udp }",
        "os only applies to tcp" | "return-rst can only be applied to TCP rules" => {
            "add: proto tcp"
        }
        "icmp-type/code only applies to icmp" => {
            "add: proto icmp (inet), or proto icmp6 and icmp6-type (inet6)"
        }
        "must indicate address family with icmp-type/code" => "add inet or inet6",
        "keep state is great, but only for pass rules" => {
            "leave it out: what is blocked has no state"
        }
        "flags only apply to tcp" => "leave them out, or write: proto tcp",
        "reached end of file while parsing quoted string" => "the closing quote is missing",
        "invalid port range" => "the lower port comes first",
        _ => return by_beginning(text),
    };
    Some(fixed.into())
}

fn by_beginning(text: &str) -> Option<String> {
    if text.starts_with("macro '") && text.ends_with("' not defined") {
        return Some("a macro is defined in a line above its use: NAME = \"value\"".into());
    }
    if let Some(name) = text.strip_prefix("no IP address found for ") {
        return no_address(name);
    }
    if text.ends_with(": No such file or directory") || text.starts_with("failed to include file ")
    {
        return Some("in an etc tree, /etc/x is the file x beside pf.conf".into());
    }
    if text.starts_with("unknown user ") || text.starts_with("unknown group ") {
        return Some("give the number".into());
    }
    if text.starts_with("netmask ") && text.ends_with("invalid for IPv4 address") {
        return Some("0 to 32 bits are possible".into());
    }
    None
}

fn no_address(name: &str) -> Option<String> {
    let numbers = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let hint = match (numbers, name.contains(':'), name.contains('.')) {
        (true, _, _) => "an IPv4 address has four numbers of 0 to 255",
        (_, true, _) => "not an IPv6 address, and no interface has this name",
        (_, _, true) => "names are looked up in the file hosts of the tree, never by DNS",
        _ => return None,
    };
    Some(hint.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_says_what_to_type() {
        for (text, hint, want) in [
            (
                "syntax error at '}'",
                Some("expected a statement"),
                Some("no '{' is open here"),
            ),
            (
                "syntax error at 'skip'",
                Some("expected a statement"),
                Some("write: set skip ..."),
            ),
            (
                "syntax error at 'x'",
                Some("expected a statement"),
                Some("expected a statement"),
            ),
            (
                "syntax error at 'state'",
                Some("expected the name of a limit"),
                Some("did you mean 'states'?"),
            ),
            (
                "no IP address found for 10.0.0.300",
                None,
                Some("an IPv4 address has four numbers of 0 to 255"),
            ),
            ("no IP address found for mail", None, None),
            (
                "no IP address found for em7",
                Some("did you mean 'em0'?"),
                Some("did you mean 'em0'?"),
            ),
            ("something else", None, None),
        ] {
            assert_eq!(of(text, hint).as_deref(), want, "{text}");
        }
    }
}
