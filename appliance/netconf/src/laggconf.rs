//! Lines of `fugu.conf` about laggs, `IF WORD …`: what neither trunk(4) nor lagg(4) can be told. A link can be up and dead, so a port
//! can be asked whether it reaches a neighbor; and whether traffic goes back to the master is a matter of taste.

use std::net::IpAddr;

use pfconf::diag::Severity;

use crate::feature::Feature;
use crate::source::{Line, Reporter, Word, printable};
use crate::{InterfaceConfig, Kind, Lagg, Origin, Probe, names_of, near, source};

const WORDS: [&str; 5] = ["probe", "failback", "hold-time", "min-links", "receive"];

/// Questions per lagg.
const PROBES_MAX: usize = 8;

/// Milliseconds between questions.
const INTERVAL: std::ops::RangeInclusive<u32> = 10..=60_000;

/// Milliseconds a link must have been up.
const HOLD: std::ops::RangeInclusive<u32> = 0..=3_600_000;

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LaggLine {
    interface: String,
    setting: Setting,
    origin: Origin,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Setting {
    Probe(Probe),
    Failback(bool),
    Hold(u32),
    MinLinks(u16),
    ReceiveAll(bool),
}

impl LaggLine {
    pub(crate) fn apply(&self, interfaces: &mut [InterfaceConfig], reporter: &mut Reporter) {
        let found = interfaces.iter_mut().find(|i| i.name == self.interface);
        match found.map(|i| &mut i.kind) {
            Some(Kind::Lagg(lagg)) => self.setting.apply(lagg),
            Some(other) => {
                let is = names_of::called(other);
                self.say(format!("{} is {is}, not a lagg", self.interface), reporter);
            }
            None => self.say(
                format!("no interface '{}' is configured", self.interface),
                reporter,
            ),
        }
    }

    fn say(&self, text: String, reporter: &mut Reporter) {
        let code = "unknown-interface";
        reporter.push(source::at(&self.origin, Severity::Error, code, text));
    }
}

impl Setting {
    fn apply(&self, lagg: &mut Lagg) {
        match self {
            Setting::Probe(probe) if lagg.probes.len() < PROBES_MAX => {
                lagg.probes.push(probe.clone());
            }
            Setting::Probe(_) => {}
            Setting::Failback(yes) => lagg.failback = *yes,
            Setting::Hold(ms) => lagg.hold_ms = *ms,
            Setting::MinLinks(n) => lagg.min_links = *n,
            Setting::ReceiveAll(all) => lagg.receive_all = *all,
        }
    }
}

/// Reads a line that begins with an interface; `None` if it does not. `Some(None)` if it was wrong.
pub(crate) fn line(line: &Line<'_>, reporter: &mut Reporter) -> Option<Option<LaggLine>> {
    let (name, word) = (line.words[0].text, line.words.get(1)?);
    if !names_of::is_interface(name) || !names_of::has_number(name) || word.text.starts_with('=') {
        return None;
    }
    let mut words = line.words[2..].iter().copied();
    let setting = setting(line, *word, &mut words, reporter);
    if let (Some(_), Some(extra)) = (&setting, words.next()) {
        let text = format!("'{}' is one word too many", printable(extra.text));
        line.error(reporter, extra, "extra-word", text);
    }
    Some(setting.map(|setting| LaggLine {
        interface: name.to_string(),
        setting,
        origin: line.origin(),
    }))
}

fn setting<'l>(
    line: &Line<'l>,
    word: Word<'_>,
    words: &mut impl Iterator<Item = Word<'l>>,
    reporter: &mut Reporter,
) -> Option<Setting> {
    let feature = match word.text {
        "probe" => Feature::LaggProbe,
        _ => Feature::LaggPolicy,
    };
    if WORDS.contains(&word.text) {
        line.needs(reporter, word, feature);
    }
    match word.text {
        "probe" => probe(line, words, reporter).map(Setting::Probe),
        "failback" => one_of(line, words.next(), ["yes", "no"], reporter).map(Setting::Failback),
        "receive" => {
            one_of(line, words.next(), ["all", "active"], reporter).map(Setting::ReceiveAll)
        }
        "hold-time" => duration(line, words.next(), &HOLD, reporter).map(Setting::Hold),
        "min-links" => {
            let word = words.next().unwrap_or(line.end());
            let found = line.number_of(word, 1..=32, reporter);
            found.map(|n| Setting::MinLinks(n as u16))
        }
        _ => {
            let text = format!("unknown word '{}'", printable(word.text));
            line.error(reporter, word, "unknown-word", text).hint = near::hint(word.text, WORDS)
                .or_else(|| Some(format!("known: {}", WORDS.join(" "))));
            None
        }
    }
}

/// `probe ADDR [interval T] [misses N]`
fn probe<'l>(
    line: &Line<'l>,
    words: &mut impl Iterator<Item = Word<'l>>,
    reporter: &mut Reporter,
) -> Option<Probe> {
    let word = words.next().unwrap_or(line.end());
    let Ok(target) = word.text.parse::<IpAddr>() else {
        let text = format!("'{}' is not an address", printable(word.text));
        line.error(reporter, word, "bad-address", text);
        return None;
    };
    let mut probe = Probe {
        target,
        interval_ms: 1000,
        misses: 3,
        origin: line.origin(),
    };
    while let Some(word) = words.next() {
        match word.text {
            "interval" => probe.interval_ms = duration(line, words.next(), &INTERVAL, reporter)?,
            "misses" => {
                let word = words.next().unwrap_or(line.end());
                probe.misses = line.number_of(word, 1..=100, reporter)? as u8;
            }
            _ => {
                let text = format!("unknown word '{}'", printable(word.text));
                line.error(reporter, word, "unknown-word", text).hint =
                    near::hint(word.text, ["interval", "misses"]);
                return None;
            }
        }
    }
    Some(probe)
}

/// True for the first of two words.
fn one_of(
    line: &Line<'_>,
    word: Option<Word<'_>>,
    words: [&str; 2],
    reporter: &mut Reporter,
) -> Option<bool> {
    let word = word.unwrap_or(line.end());
    if words.contains(&word.text) {
        return Some(word.text == words[0]);
    }
    let text = format!(
        "'{}' is not {} or {}",
        printable(word.text),
        words[0],
        words[1]
    );
    line.error(reporter, word, "bad-word", text);
    None
}

/// Milliseconds: `500ms`, `2s`, or seconds without a unit.
fn duration(
    line: &Line<'_>,
    word: Option<Word<'_>>,
    range: &std::ops::RangeInclusive<u32>,
    reporter: &mut Reporter,
) -> Option<u32> {
    let word = word.unwrap_or(line.end());
    let ms = match word.text.strip_suffix("ms") {
        Some(ms) => source::number(ms),
        None => source::number(word.text.strip_suffix('s').unwrap_or(word.text))
            .and_then(|seconds| seconds.checked_mul(1000)),
    };
    let ms = ms.filter(|ms| range.contains(ms));
    if ms.is_none() {
        let text = format!(
            "'{}' is not a time from {}ms to {}ms",
            printable(word.text),
            range.start(),
            range.end()
        );
        line.error(reporter, word, "bad-time", text).hint = Some("500ms or 2s".into());
    }
    ms
}
