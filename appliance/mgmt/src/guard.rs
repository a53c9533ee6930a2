//! Who guessed wrong too often: failures per source address within a window, and for how long it is refused then.
//! Bounded, so that a flood from many addresses costs memory for `SOURCES_MAX` of them and no more.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Wrong proofs within [`WINDOW`] before a source is refused. A person mistypes a few times; a script does not stop.
pub(crate) const FAILURES_MAX: u32 = 10;
/// Failures are counted over this time.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// A source is refused for this long.
pub(crate) const REFUSE_FOR: Duration = Duration::from_secs(60);
/// Sources remembered; beyond that the one heard longest ago is forgotten.
pub(crate) const SOURCES_MAX: usize = 256;

/// Failures by source.
#[derive(Default)]
pub(crate) struct Guard {
    sources: HashMap<IpAddr, Record>,
}

#[derive(Clone, Copy)]
struct Record {
    failures: u32,
    window_began: Duration,
    last: Duration,
    refused_until: Option<Duration>,
}

/// What became of a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Counted.
    Counted,
    /// This one was too many: refused from now on.
    RefusedFromNow,
}

impl Guard {
    /// Seconds that `source` is still refused for, if it is.
    pub(crate) fn refused(&self, source: IpAddr, now: Duration) -> Option<u64> {
        let until = self.sources.get(&prefix(source))?.refused_until?;
        (until > now).then(|| (until - now).as_secs().max(1))
    }

    /// Notes a wrong proof.
    pub(crate) fn fail(&mut self, source: IpAddr, now: Duration) -> Verdict {
        let key = prefix(source);
        self.make_room(key);
        let fresh = Record {
            failures: 0,
            window_began: now,
            last: now,
            refused_until: None,
        };
        let record = self.sources.entry(key).or_insert(fresh);
        if now.saturating_sub(record.window_began) > WINDOW {
            *record = fresh;
        }
        record.failures += 1;
        record.last = now;
        if record.failures < FAILURES_MAX {
            return Verdict::Counted;
        }
        record.failures = 0;
        record.window_began = now;
        record.refused_until = Some(now + REFUSE_FOR);
        Verdict::RefusedFromNow
    }

    fn make_room(&mut self, key: IpAddr) {
        if self.sources.len() < SOURCES_MAX || self.sources.contains_key(&key) {
            return;
        }
        let oldest = self.sources.iter().min_by_key(|(_, r)| r.last);
        if let Some(key) = oldest.map(|(k, _)| *k) {
            self.sources.remove(&key);
        }
    }
}

/// IPv6 hosts choose their own low 64 bits, so they are counted by network.
fn prefix(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() & !0 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::from_secs(1000);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_tenth_failure_refuses_the_source_for_a_minute_and_nobody_else() {
        let mut guard = Guard::default();
        for _ in 1..FAILURES_MAX {
            assert_eq!(guard.fail(ip("192.0.2.1"), T0), Verdict::Counted);
            assert_eq!(guard.refused(ip("192.0.2.1"), T0), None);
        }
        assert_eq!(guard.fail(ip("192.0.2.1"), T0), Verdict::RefusedFromNow);
        assert_eq!(guard.refused(ip("192.0.2.1"), T0), Some(60));
        assert_eq!(guard.refused(ip("192.0.2.2"), T0), None);
        assert_eq!(guard.refused(ip("192.0.2.1"), T0 + REFUSE_FOR), None);
    }

    #[test]
    fn failures_far_apart_are_forgiven() {
        let mut guard = Guard::default();
        for i in 0..100 {
            let now = T0 + (WINDOW / 5) * i;
            assert_eq!(guard.fail(ip("192.0.2.1"), now), Verdict::Counted, "{i}");
        }
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let mut guard = Guard::default();
        for i in 0..FAILURES_MAX {
            guard.fail(ip(&format!("2001:db8::{i:x}")), T0);
        }
        assert!(guard.refused(ip("2001:db8::ffff"), T0).is_some());
        assert!(guard.refused(ip("2001:db8:0:1::1"), T0).is_none());
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut guard = Guard::default();
        for i in 0..SOURCES_MAX as u32 + 10 {
            let source = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 + i));
            guard.fail(source, T0 + Duration::from_millis(i.into()));
        }
        assert_eq!(guard.sources.len(), SOURCES_MAX);
        assert!(!guard.sources.contains_key(&ip("10.0.0.9")));
        assert!(guard.sources.contains_key(&ip("10.0.0.10")));
    }
}
