//! `fugu.conf`: what no file of OpenBSD says. Lines `key = value`.

use crate::feature::Feature;
use crate::laggconf::{self, LaggLine};
use crate::source::{Line, Reporter, Source, Word, printable};
use crate::{InterfaceConfig, near};

/// Port of the management API where `api-port` is not set.
pub const DEFAULT_API_PORT: u16 = 80;

/// Interfaces that `management` may list.
const MANAGEMENT_LIMIT: usize = 64;

/// The settings; `None` where the file says nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FuguConf {
    /// `management`: names of interfaces (or groups) where the API may be reached. Empty: not set.
    pub management: Vec<String>,
    /// `idle-backoff-us`: longest sleep of an idle worker, in microseconds; 0 never sleeps.
    pub idle_backoff_us: Option<u32>,
    /// `idle-after-ms`: time without packets after which a worker begins to sleep, in milliseconds.
    pub idle_after_ms: Option<u32>,
    /// `workers`: number of packet workers.
    pub workers: Option<u16>,
    /// `api-port`: TCP port of the API, else [`DEFAULT_API_PORT`].
    pub api_port: Option<u16>,
    /// `route-tables`: tables of routes, the first among them.
    pub route_tables: Option<u16>,
    /// Lines `IF WORD …`, which go to the interface.
    pub(crate) lagg_lines: Vec<LaggLine>,
}

const KEYS: [&str; 6] = [
    "management",
    "idle-backoff-us",
    "idle-after-ms",
    "workers",
    "api-port",
    "route-tables",
];

impl FuguConf {
    /// Gives the lines about laggs to their interfaces.
    pub(crate) fn apply(&self, interfaces: &mut [InterfaceConfig], reporter: &mut Reporter) {
        for line in &self.lagg_lines {
            line.apply(interfaces, reporter);
        }
    }
}

/// Reads the file.
pub(crate) fn read(source: &Source<'_>, conf: &mut FuguConf, reporter: &mut Reporter) {
    let mut seen: Vec<(&str, u32)> = Vec::new();
    for line in source.lines(reporter) {
        if let Some(read) = laggconf::line(&line, reporter) {
            conf.lagg_lines.extend(read);
            continue;
        }
        let tokens = tokens(&line);
        let Some((key, values)) = key_and_values(&line, &tokens, reporter) else {
            continue;
        };
        let known = KEYS.into_iter().find(|name| *name == key.text);
        let Some(name) = known else {
            let text = format!("unknown key '{}'", printable(key.text));
            line.error(reporter, key, "unknown-key", text).hint =
                near::hint(key.text, KEYS).or_else(|| Some(format!("known: {}", KEYS.join(" "))));
            continue;
        };
        if let Some((_, first)) = seen.iter().find(|(earlier, _)| *earlier == name) {
            let text = format!("'{name}' is set twice; the first is in line {first}");
            line.error(reporter, key, "duplicate-key", text);
            continue;
        }
        seen.push((name, line.number));
        set(conf, name, &line, values, reporter);
    }
}

fn set(
    conf: &mut FuguConf,
    key: &str,
    line: &Line<'_>,
    values: &[Word<'_>],
    reporter: &mut Reporter,
) {
    match key {
        "management" => management(conf, line, values, reporter),
        "idle-backoff-us" => {
            conf.idle_backoff_us = number(line, values, 0, 1_000_000, reporter);
        }
        "idle-after-ms" => conf.idle_after_ms = number(line, values, 0, 3_600_000, reporter),
        "route-tables" => {
            conf.route_tables = number(line, values, 1, 256, reporter).map(|n| n as u16);
            if let Some(word) = values.first() {
                line.needs(reporter, *word, Feature::RouteTable);
            }
        }
        "workers" => conf.workers = number(line, values, 1, 128, reporter).map(|n| n as u16),
        _ => conf.api_port = number(line, values, 1, 65_535, reporter).map(|n| n as u16),
    }
}

/// Words with `=` as a word of its own and commas gone.
fn tokens<'a>(line: &Line<'a>) -> Vec<Word<'a>> {
    let mut tokens = Vec::new();
    for word in &line.words {
        let mut start = 0;
        let mut cut = |from: usize, to: usize| {
            if from < to {
                tokens.push(word.part(from, to));
            }
        };
        for (at, c) in word.text.char_indices() {
            if matches!(c, '=' | ',') {
                cut(start, at);
                if c == '=' {
                    cut(at, at + 1);
                }
                start = at + 1;
            }
        }
        cut(start, word.text.len());
    }
    tokens
}

fn key_and_values<'t, 'a>(
    line: &Line<'a>,
    tokens: &'t [Word<'a>],
    reporter: &mut Reporter,
) -> Option<(Word<'a>, &'t [Word<'a>])> {
    match tokens {
        [key, equals, values @ ..] if equals.text == "=" && key.text != "=" => {
            if values.is_empty() {
                let text = format!("no value for '{}'", printable(key.text));
                line.error(reporter, line.end(), "missing-word", text);
                return None;
            }
            Some((*key, values))
        }
        _ => {
            line.error(
                reporter,
                line.whole(),
                "not-a-setting",
                "not of the form 'key = value'",
            );
            None
        }
    }
}

fn management(conf: &mut FuguConf, line: &Line<'_>, values: &[Word<'_>], reporter: &mut Reporter) {
    for value in values {
        let plain = value
            .text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || value.text.len() > 15 || conf.management.len() >= MANAGEMENT_LIMIT {
            let text = format!(
                "'{}' is not the name of an interface",
                printable(value.text)
            );
            line.error(reporter, *value, "bad-name", text);
        } else if !conf.management.iter().any(|name| name == value.text) {
            conf.management.push(value.text.to_string());
        }
    }
}

fn number(
    line: &Line<'_>,
    values: &[Word<'_>],
    low: u32,
    high: u32,
    reporter: &mut Reporter,
) -> Option<u32> {
    if let Some(extra) = values.get(1) {
        let text = format!("'{}' is one word too many", printable(extra.text));
        line.error(reporter, *extra, "extra-word", text);
        return None;
    }
    line.number_of(*values.first()?, low..=high, reporter)
}
