//! The whole counter set of a box by name, so that a test can say what changed and nothing else did.
//!
//! Names: `received`, `passed` and the like for the books; `drop:REASON`; `limit:COUNTER` for what limits did; `IF.in4.pass` (`in6`, `out4`, …, `block`)
//! for interfaces, `IF.rx` and `IF.tx` for frames of those that are no cards; `rN.evals`, `rN.in`, `rN.out`, `rN.made`, `rN.gone` for rules by number (`default.…` for PF's
//! default rule, `slotN.…` for a rule that is no longer there). A sum over all workers.
//!
//! Not among them, because each check derives them from others: bytes, `transmitted`, `dropped`, `states`, `inserts`,
//! `removals`, and what workers hand each other ([`Tally::check`]).

use std::collections::BTreeMap;

use filter::{LimitCounter, Reason};
use worker::Counters;

/// Counters by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<String, i64>,
    /// Bytes of the counters that have them.
    bytes: BTreeMap<String, i64>,
    derived: Derived,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Derived {
    transmitted: i64,
    dropped: i64,
    states: i64,
    inserts: i64,
    removals: i64,
    handed_in: i64,
    handed_out: i64,
}

/// Name of a rule by its slot.
pub type RuleName<'a> = &'a dyn Fn(usize) -> String;

impl Tally {
    /// The sum over `workers`. `interfaces` are names by number.
    pub fn of<'a>(
        workers: impl Iterator<Item = &'a Counters>,
        interfaces: &[String],
        rule: RuleName<'_>,
    ) -> Tally {
        let mut tally = Tally::default();
        for counters in workers {
            tally.add_books(counters);
            tally.add_filter(&counters.filter, interfaces, rule);
            tally.add_links(counters, interfaces);
        }
        tally
    }

    fn add(&mut self, name: impl Into<String>, n: u64) {
        *self.counts.entry(name.into()).or_default() += n as i64;
    }

    fn add_traffic(&mut self, name: String, count: &filter::counters::Count) {
        *self.bytes.entry(name.clone()).or_default() += count.bytes.get() as i64;
        self.add(name, count.packets.get());
    }

    fn add_books(&mut self, c: &Counters) {
        for (name, counter) in [
            ("received", &c.received),
            ("generated", &c.generated),
            ("from_host", &c.from_host),
            ("passed", &c.passed),
            ("to_host", &c.to_host),
            ("consumed", &c.consumed),
            ("waiting", &c.waiting),
            ("kills_lost", &c.kills_lost),
            ("searches", &c.filter.searches),
        ] {
            self.add(name, counter.get());
        }
        let derived = &mut self.derived;
        for (sum, counter) in [
            (&mut derived.transmitted, &c.transmitted),
            (&mut derived.dropped, &c.dropped),
            (&mut derived.states, &c.states),
            (&mut derived.inserts, &c.filter.inserts),
            (&mut derived.removals, &c.filter.removals),
            (&mut derived.handed_in, &c.handed_in),
            (&mut derived.handed_out, &c.handed_out),
        ] {
            *sum += counter.get() as i64;
        }
    }

    fn add_filter(&mut self, c: &filter::Counters, interfaces: &[String], rule: RuleName<'_>) {
        for reason in Reason::ALL {
            let n = c.reasons[*reason as usize].get();
            self.add(format!("drop:{}", reason.name()), n);
        }
        for (name, counter) in LimitCounter::NAMES.iter().zip(&c.limits) {
            self.add(format!("limit:{}", name.replace(' ', "-")), counter.get());
        }
        for (slot, counters) in c.rules.iter().enumerate() {
            let name = rule(slot);
            let (made, states) = (counters.states_total.get(), counters.states.get());
            self.add(format!("{name}.evals"), counters.evaluations.get());
            self.add(format!("{name}.made"), made);
            self.add(format!("{name}.gone"), made.wrapping_sub(states));
            for (way, count) in ["in", "out"].into_iter().zip(&counters.traffic) {
                self.add_traffic(format!("{name}.{way}"), count);
            }
        }
        for (n, counters) in c.interfaces.iter().enumerate().take(interfaces.len() + 8) {
            let Some(interface) = interfaces.get(n) else {
                assert_untouched(counters);
                continue;
            };
            for (af, ways) in ["4", "6"].into_iter().zip(counters.iter()) {
                for (way, ends) in ["in", "out"].into_iter().zip(ways) {
                    for (end, count) in ["pass", "block"].into_iter().zip(ends) {
                        self.add_traffic(format!("{interface}.{way}{af}.{end}"), count);
                    }
                }
            }
        }
    }

    fn add_links(&mut self, c: &Counters, interfaces: &[String]) {
        for (name, ways) in interfaces.iter().zip(&c.links) {
            for (way, count) in ["rx", "tx"].into_iter().zip(ways.iter()) {
                self.add(format!("{name}.{way}"), count.packets.get());
            }
        }
    }

    /// A counter by name; 0 if there is none.
    pub fn get(&self, name: &str) -> i64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// What changed from `before` to `self`, by name.
    pub fn since(&self, before: &Tally) -> BTreeMap<String, i64> {
        let changed = |(name, n): (&String, &i64)| (name.clone(), n - before.get(name));
        let mut changes: BTreeMap<String, i64> = self.counts.iter().map(changed).collect();
        changes.retain(|_, n| *n != 0);
        changes
    }

    /// What must be true of counters at rest, whatever was sent; `queued` frames wait for cards.
    pub fn check(&self, queued: usize) -> Result<(), String> {
        let d = &self.derived;
        let sum = |prefix: &str, suffix: &str| -> i64 {
            let fits = |name: &String| name.starts_with(prefix) && name.ends_with(suffix);
            self.counts
                .iter()
                .filter(|(name, _)| fits(name))
                .map(|c| c.1)
                .sum()
        };
        let equal = [
            (
                "passed = transmitted + queued",
                self.get("passed"),
                d.transmitted + queued as i64,
            ),
            ("dropped = sum of reasons", d.dropped, sum("drop:", "")),
            (
                "inserts = states made by rules",
                d.inserts,
                sum("", ".made"),
            ),
            (
                "removals = states gone of rules",
                d.removals,
                sum("", ".gone"),
            ),
            (
                "states = inserts - removals",
                d.states,
                d.inserts - d.removals,
            ),
            ("handed in = handed out", d.handed_in, d.handed_out),
        ];
        match equal.iter().find(|(_, a, b)| a != b) {
            Some((what, a, b)) => Err(format!("{what}: {a} and {b}")),
            None => Ok(()),
        }
    }

    /// Bytes must have changed as packets did: with the packets of this step between `lens.0` and `lens.1` bytes long.
    pub fn check_bytes(&self, before: &Tally, lens: (usize, usize)) -> Result<(), String> {
        for (name, bytes) in &self.bytes {
            let bytes = bytes - before.bytes.get(name).copied().unwrap_or(0);
            let packets = self.get(name) - before.get(name);
            let bounds = packets * lens.0 as i64..=packets * lens.1 as i64;
            if !bounds.contains(&bytes) {
                return Err(format!(
                    "{name}: {packets} packets and {bytes} bytes, of packets of {} to {} bytes",
                    lens.0, lens.1
                ));
            }
        }
        Ok(())
    }
}

/// A place for an interface that does not exist counts nothing.
fn assert_untouched(counters: &filter::counters::InterfaceCounters) {
    for count in counters.iter().flatten().flatten() {
        assert_eq!(count.packets.get(), 0, "an interface that is not there");
    }
}

/// Reads `"received passed 2 drop:match"`: a name, then a number if it is not 1.
pub fn expected(text: &str) -> BTreeMap<String, i64> {
    let mut out = BTreeMap::new();
    let mut last: Option<String> = None;
    for word in text.split_whitespace() {
        match (word.parse::<i64>(), &last) {
            (Ok(n), Some(name)) => {
                out.insert(name.clone(), n);
            }
            (Ok(_), None) => panic!("a number without a name: {text:?}"),
            (Err(_), _) => {
                let before = out.insert(word.to_string(), 1);
                assert_eq!(before, None, "{word} twice in {text:?}");
                last = Some(word.to_string());
            }
        }
    }
    out
}

/// The same text from counts, for a failing test's message.
pub fn written(counts: &BTreeMap<String, i64>) -> String {
    let word = |(name, n): (&String, &i64)| {
        if *n == 1 {
            name.clone()
        } else {
            format!("{name} {n}")
        }
    };
    counts.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_read_and_written() {
        let counts = expected("received passed 2\n waiting -1");
        assert_eq!(written(&counts), "passed 2 received waiting -1");
    }
}
