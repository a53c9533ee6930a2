//! `myname`, `mygate`, `hosts` and `resolv.conf`.

use std::net::IpAddr;

use crate::source::{Line, Reporter, Source, Word, printable};
use crate::{Gateway, NetConfig, near, route};

/// RFC 1123 section 2.1.
const HOST_NAME_LIMIT: usize = 253;

/// One word: the name of the box.
pub(crate) fn myname(source: &Source<'_>, config: &mut NetConfig, reporter: &mut Reporter) {
    let lines = source.lines(reporter);
    let Some((first, more)) = lines.split_first() else {
        return;
    };
    hostname(first, config, reporter);
    for line in more {
        line.error(reporter, line.whole(), "extra-word", "one name is enough");
    }
}

/// One word, the name of the box.
pub(crate) fn hostname(line: &Line<'_>, config: &mut NetConfig, reporter: &mut Reporter) {
    let word = line.words[0];
    if is_host_name(word.text) {
        config.hostname = word.text.to_string();
    } else {
        let text = format!("'{}' cannot be a host name", printable(word.text));
        line.error(reporter, word, "bad-name", text);
    }
    extra(line, 1, reporter);
}

/// One default gateway per family, each on its own line.
pub(crate) fn mygate(source: &Source<'_>, config: &mut NetConfig, reporter: &mut Reporter) {
    for line in source.lines(reporter) {
        let word = line.words[0];
        extra(&line, 1, reporter);
        let Some((addr, interface)) = route::gateway(&line, word, "", reporter) else {
            continue;
        };
        let origin = line.origin();
        let found = Gateway {
            addr,
            interface,
            origin,
        };
        gateway(&line, word, found, config, reporter);
    }
}

/// Adds a default gateway, if it is the first of its family.
pub(crate) fn gateway(
    line: &Line<'_>,
    word: Word<'_>,
    found: Gateway,
    config: &mut NetConfig,
    reporter: &mut Reporter,
) {
    let same = |g: &&Gateway| g.addr.is_ipv4() == found.addr.is_ipv4();
    let Some(first) = config.gateways.iter().find(same) else {
        config.gateways.push(found);
        return;
    };
    let family = if found.addr.is_ipv4() { "IPv4" } else { "IPv6" };
    let place = match &first.origin {
        origin if origin.file == line.file => format!("line {}", origin.line),
        origin => format!("{}:{}", origin.file, origin.line),
    };
    let text = format!("a second {family} gateway; the first is in {place}");
    line.error(reporter, word, "duplicate-gateway", text);
}

/// `ADDRESS NAME [NAME ...]`
pub(crate) fn hosts(source: &Source<'_>, config: &mut NetConfig, reporter: &mut Reporter) {
    for line in source.lines(reporter) {
        let (word, names) = (line.words[0], &line.words[1..]);
        // `fe80::1%lo0 localhost` is in many files and of no use in rules.
        if word.text.contains('%') {
            let text = "an address with an interface is left out";
            line.notice(reporter, word, "no-effect", text);
            continue;
        }
        let Ok(addr) = word.text.parse::<IpAddr>() else {
            let text = format!("'{}' is not an address", printable(word.text));
            line.error(reporter, word, "bad-address", text);
            continue;
        };
        if names.is_empty() {
            let text = format!("no name after {addr}");
            line.error(reporter, line.end(), "missing-word", text);
        }
        for name in names {
            host(&line, *name, addr, config, reporter);
        }
    }
}

fn host(
    line: &Line<'_>,
    name: Word<'_>,
    addr: IpAddr,
    config: &mut NetConfig,
    reporter: &mut Reporter,
) {
    if !is_host_name(name.text) {
        let text = format!("'{}' cannot be a host name", printable(name.text));
        line.error(reporter, name, "bad-name", text);
        return;
    }
    let addresses = config
        .hosts
        .entry(name.text.to_ascii_lowercase())
        .or_default();
    if !addresses.contains(&addr) {
        addresses.push(addr);
    }
}

/// `nameserver ADDRESS`; the resolver's other words are accepted and not used.
pub(crate) fn resolv_conf(source: &Source<'_>, config: &mut NetConfig, reporter: &mut Reporter) {
    const UNUSED: [&str; 6] = [
        "domain", "search", "lookup", "options", "family", "sortlist",
    ];
    for line in source.lines(reporter) {
        let word = line.words[0];
        if word.text == "nameserver" {
            nameserver(&line, config, reporter);
        } else if !UNUSED.contains(&word.text) && !word.text.starts_with(';') {
            let text = format!("unknown word '{}'", printable(word.text));
            line.warning(reporter, word, "unknown-word", text).hint =
                near::hint(word.text, UNUSED.into_iter().chain(["nameserver"]));
        }
    }
}

fn nameserver(line: &Line<'_>, config: &mut NetConfig, reporter: &mut Reporter) {
    extra(line, 2, reporter);
    let word = line.words.get(1).copied().unwrap_or(line.end());
    match word.text.parse::<IpAddr>() {
        Ok(addr) if config.nameservers.contains(&addr) => {}
        Ok(addr) => config.nameservers.push(addr),
        Err(_) => {
            let text = format!("'{}' is not an address", printable(word.text));
            line.error(reporter, word, "bad-address", text);
        }
    }
}

/// Complains about words after the first `wanted` ones.
fn extra(line: &Line<'_>, wanted: usize, reporter: &mut Reporter) {
    if let Some(word) = line.words.get(wanted) {
        let text = format!("'{}' is one word too many", printable(word.text));
        line.error(reporter, *word, "extra-word", text);
    }
}

/// Letters, digits, hyphens and (as people do) underscores in labels of at most 63.
pub(crate) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= HOST_NAME_LIMIT && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_told_from_other_words() {
        for good in [
            "a",
            "fw1",
            "fw-1.example.org",
            "example.org.",
            "_dmarc.x",
            "1.2.3.x",
        ] {
            assert!(is_host_name(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "b\u{fc}ro",
            long.as_str(),
        ] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
