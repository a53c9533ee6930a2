//! `trace`: live packets that match a filter are told step by step by the workers, and put together here. Bounded in
//! packets and time, whoever asks.

use std::collections::BTreeMap;

use explain::{Explanation, Observed};
use worker::{Mail, StepRecord, Told, Watched};

use crate::control::Control;
use crate::why::bits_of;

/// Most packets of one trace.
pub(crate) const PACKETS_MAX: u32 = 1000;
/// Longest trace, in seconds.
pub(crate) const SECONDS_MAX: u32 = 3600;
/// Packets whose end has not been heard, at most.
const PENDING_MAX: usize = 4096;

/// A trace under way.
pub(crate) struct Trace {
    until_ms: u64,
    left: u32,
    /// Steps by worker and packet.
    pending: BTreeMap<(usize, u32), Vec<StepRecord>>,
}

impl Control {
    pub(crate) fn begin_trace(
        &mut self,
        filter: &str,
        count: u32,
        seconds: u32,
    ) -> Result<(), String> {
        let count = count.clamp(1, PACKETS_MAX);
        let watched = Watched {
            left: count,
            ..self.watched(filter)?
        };
        self.end_trace();
        self.fleet.drain_steps(|_, _| ());
        let told = self.fleet.tell_all(&Mail::Watch(watched));
        if let Err(silence) = told {
            self.fleet.tell_all(&Mail::Watch(Watched::default())).ok();
            return Err(format!("trace: {silence}: its packets would be missing"));
        }
        self.trace = Some(Trace {
            until_ms: self.clock.now_ms() + u64::from(seconds.clamp(1, SECONDS_MAX)) * 1000,
            left: count,
            pending: BTreeMap::new(),
        });
        Ok(())
    }

    pub(crate) fn end_trace(&mut self) {
        if self.trace.take().is_some() {
            // Who is not told ends by itself, with its last packet.
            self.fleet.tell_all(&Mail::Watch(Watched::default())).ok();
        }
    }

    /// Packets whose way has ended.
    pub(crate) fn traced(&mut self) -> Option<Vec<Explanation>> {
        let mut trace = self.trace.take()?;
        let mut ended = Vec::new();
        self.fleet.drain_steps(|worker, step| {
            let key = (worker, step.packet);
            let is_end = matches!(step.what, Told::Ends(_));
            trace.pending.entry(key).or_default().push(step);
            if is_end {
                ended.extend(trace.pending.remove(&key));
            }
            while trace.pending.len() > PENDING_MAX {
                trace.pending.pop_first();
            }
        });
        ended.truncate(trace.left as usize);
        trace.left -= ended.len() as u32;
        let told = ended.into_iter().map(|steps| self.told(steps)).collect();
        let over = trace.left == 0 || self.clock.now_ms() >= trace.until_ms;
        self.trace = Some(trace);
        if over {
            self.end_trace();
        }
        Some(told)
    }

    fn told(&self, steps: Vec<StepRecord>) -> Explanation {
        let rule = |nr| self.rule_name(nr);
        let on = explain::Box {
            config: self.fleet.current().clone(),
            states: &[],
            shared: &self.shared,
            rule: &rule,
            now_ms: 0,
        };
        let observed = Observed {
            steps,
            drops: Vec::new(),
        };
        explain::tell(&observed, &on)
    }

    /// `on em0 tcp host 10.0.0.1 port 80`; nothing is every packet.
    fn watched(&self, filter: &str) -> Result<Watched, String> {
        let mut watched = Watched::default();
        let mut words = filter.split_ascii_whitespace();
        while let Some(word) = words.next() {
            let mut value = || {
                let next = words.next();
                next.ok_or_else(|| format!("trace: '{word}': a word is missing after it"))
            };
            match word {
                "and" | "proto" | "in" => {}
                "on" => {
                    let name = value()?;
                    let found = self.fleet.current().interfaces.by_name(name);
                    let found = found.ok_or_else(|| format!("trace: no interface '{name}'"))?;
                    watched.interface = Some(found.id);
                }
                "inet" | "ip" => watched.af = Some(ruleset::Af::Inet),
                "inet6" | "ip6" => watched.af = Some(ruleset::Af::Inet6),
                "tcp" => watched.proto = Some(6),
                "udp" => watched.proto = Some(17),
                "icmp" => watched.proto = Some(1),
                "icmp6" => watched.proto = Some(58),
                "host" => watched.host = Some(network(value()?)?),
                "src" | "from" => watched.src = Some(network(value()?)?),
                "dst" | "to" => watched.dst = Some(network(value()?)?),
                "port" => watched.port = Some(port(value()?)?),
                "sport" => watched.src_port = Some(port(value()?)?),
                "dport" => watched.dst_port = Some(port(value()?)?),
                other => {
                    let known = "on, inet, inet6, tcp, udp, icmp, icmp6, host, src, dst, port, sport, dport";
                    return Err(format!(
                        "trace: '{other}' is not understood; there is {known}"
                    ));
                }
            }
        }
        Ok(watched)
    }
}

/// `10.0.0.0/8` as address and mask.
fn network(word: &str) -> Result<(u128, u128), String> {
    let wrong = || format!("trace: '{word}' is no address or network");
    let (addr, len) = match word.split_once('/') {
        Some((addr, len)) => (addr, Some(len.parse::<u8>().map_err(|_| wrong())?)),
        None => (word, None),
    };
    let addr: std::net::IpAddr = addr.parse().map_err(|_| wrong())?;
    let af = if addr.is_ipv4() {
        ruleset::Af::Inet
    } else {
        ruleset::Af::Inet6
    };
    let mask = ruleset::table::prefix_mask(af, len.unwrap_or(af.bits()).min(af.bits()));
    Ok((bits_of(addr) & mask, mask))
}

fn port(word: &str) -> Result<u16, String> {
    word.parse()
        .map_err(|_| format!("trace: '{word}' is no port"))
}
