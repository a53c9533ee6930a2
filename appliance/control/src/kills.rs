//! Killing states and source nodes, as people name them (pfctl -k, -K, -F), and showing source nodes and limiters.

use filter::Kill;
use filter::kill::Side;
use filter::limit::nodes::{NodeKind, NodeView};
use ruleset::{Af, Direction};

use crate::api::{KillView, Killing, LimiterView, NotKilled, SourceView};
use crate::control::Control;
use crate::fleet::ASK_MS_MAX;
use crate::tables::parse_entry;
use crate::views::ip;

/// A host or network; `0.0.0.0/0` and `::/0` are anybody of their family.
fn side(text: &str) -> Result<Side, String> {
    let entry = parse_entry(text).map_err(|error| format!("{error}; names are not looked up"))?;
    Ok(Side {
        af: Some(entry.af),
        addr: entry.addr,
        mask: ruleset::table::prefix_mask(entry.af, entry.prefix_len),
        port: None,
    })
}

/// `10.0.0.1:80`, `2001:db8::1[80]`, or without a port.
fn end(text: &str) -> Result<Side, String> {
    let (addr, port) = match text.strip_suffix(']').and_then(|t| t.split_once('[')) {
        Some((addr, port)) => (addr, Some(port)),
        None => match text.split_once(':').filter(|(_, rest)| !rest.contains(':')) {
            Some((addr, port)) => (addr, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map(|p| p.parse().map_err(|_| format!("'{text}': '{p}' is no port")));
    Ok(Side {
        port: port.transpose()?,
        ..side(addr)?
    })
}

/// `tcp 10.0.0.1:80 <- 192.0.2.9:51000`, as the first words of a line of `pfctl -ss` after the interface.
fn by_key(text: &str) -> Result<Kill, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let &[proto, first, arrow, second] = words.as_slice() else {
        return Err(format!(
            "'{text}' is no key of a state; write 'tcp 10.0.0.1:80 <- 192.0.2.9:51000'"
        ));
    };
    let proto = match proto {
        "tcp" => 6,
        "udp" => 17,
        "icmp" => 1,
        "ipv6-icmp" | "icmp6" => 58,
        other => other
            .parse()
            .map_err(|_| format!("'{other}' is no protocol"))?,
    };
    let (direction, src, dst) = match arrow {
        "<-" => (Direction::In, second, first),
        "->" => (Direction::Out, first, second),
        other => return Err(format!("'{other}': <- or -> is expected")),
    };
    Ok(Kill {
        proto: Some(proto),
        direction: Some(direction),
        src: Some(end(src)?),
        dst: Some(end(dst)?),
        ..Kill::default()
    })
}

/// A kill as it would be typed.
fn in_words(which: &Killing, on: Option<&str>) -> String {
    let on = on.map_or(String::new(), |on| format!("-i {on} "));
    let which = match which {
        Killing::All => "-F states".into(),
        Killing::Hosts { from, to: None } => format!("-k {from}"),
        Killing::Hosts { from, to: Some(to) } => format!("-k {from} -k {to}"),
        Killing::Label(label) => format!("-k label -k {label}"),
        Killing::Id(id) => format!("-k id -k {id:016x}"),
        Killing::Key(key) => format!("-k key -k '{key}'"),
    };
    on + &which
}

impl Control {
    /// What a person names, as what workers look for.
    fn kills(&self, which: &Killing) -> Result<Vec<Kill>, String> {
        let one = |kill| Ok(vec![kill]);
        match which {
            Killing::All => one(Kill::default()),
            Killing::Hosts { from, to } => one(Kill {
                src: Some(side(from)?),
                dst: to.as_deref().map(side).transpose()?,
                ..Kill::default()
            }),
            Killing::Label(label) => {
                let labelled = self.shown.slots.iter().zip(&self.shown.rules);
                let labelled = labelled.filter(|(_, r)| r.label.as_ref() == Some(label));
                let kill = |slot: &ruleset::RuleSlot| Kill {
                    rule: Some(*slot),
                    ..Kill::default()
                };
                let kills: Vec<Kill> = labelled.map(|(slot, _)| kill(slot)).collect();
                match kills.is_empty() {
                    true => Err(format!("no rule has the label '{label}'")),
                    false => Ok(kills),
                }
            }
            Killing::Id(id) => one(Kill {
                id: Some(*id),
                ..Kill::default()
            }),
            Killing::Key(text) => one(by_key(text)?),
        }
    }

    /// Narrows kills down to what is bound to an interface.
    fn bind(&self, kills: &mut [Kill], on: &str) -> Result<(), String> {
        // pfctl(8): what floats is on the interface `all`.
        if on == "all" {
            kills.iter_mut().for_each(|kill| kill.floating = true);
            return Ok(());
        }
        let interface = self.fleet.current().interfaces.by_name(on);
        let interface = interface.ok_or_else(|| format!("there is no interface '{on}'"))?;
        let kif = Some(interface.kifs.own());
        kills.iter_mut().for_each(|kill| kill.kif = kif);
        Ok(())
    }

    /// Begins to kill, and waits a moment: small tables are done by then.
    pub(crate) fn kill(
        &mut self,
        which: &Killing,
        on: Option<&str>,
    ) -> Result<KillView, NotKilled> {
        let mut kills = self.kills(which)?;
        if let Some(on) = on {
            self.bind(&mut kills, on)?;
        }
        let deadline = self.clock.now_ms() + ASK_MS_MAX;
        let what = in_words(which, on);
        let number = self.fleet.begin_kill(what, kills, self.clock.now_ms())?;
        loop {
            let now_ms = self.clock.now_ms();
            self.tend_kills();
            let Some(view) = self.fleet.follow_kill(number, now_ms) else {
                // More are remembered than can end here.
                return Err(NotKilled::Busy);
            };
            if view.done || now_ms >= deadline {
                return Ok(view);
            }
            self.clock.pause();
        }
    }

    /// Looks after kills that are under way, and logs the end of those that nobody follows.
    pub(crate) fn tend_kills(&mut self) {
        for view in self.fleet.tend_kills(self.clock.now_ms()) {
            let KillView {
                kill,
                what,
                killed,
                seconds,
                ..
            } = view;
            log::info!("kill {kill} (pfctl {what}) is done: killed {killed} states in {seconds} s");
        }
    }

    /// Kills nodes of sources in `from` whose redirection, if `to` is given, goes there.
    pub(crate) fn kill_nodes(
        &mut self,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<u64, String> {
        let from = from.map(side).transpose()?;
        let to = to.map(side).transpose()?;
        let inside =
            |side: &Side, af: Af, addr: u128| side.af == Some(af) && addr & side.mask == side.addr;
        let covers = |node: &NodeView| {
            from.is_none_or(|s| inside(&s, node.key.af, node.key.addr))
                && to.is_none_or(|s| node.redirect.is_some_and(|r| inside(&s, r.af, r.addr)))
        };
        Ok(self.shared.sources.kill(covers))
    }

    pub(crate) fn source_views(&self) -> Vec<SourceView> {
        let now_s = (self.clock.now_ms() / 1000) as u32;
        let mut nodes = self.shared.sources.list();
        nodes.sort_by_key(|n| (n.key.af, n.key.addr, n.key.slot, n.key.kind));
        nodes.iter().map(|n| self.source_view(n, now_s)).collect()
    }

    fn source_view(&self, node: &NodeView, now_s: u32) -> SourceView {
        let limiter = node.key.kind == NodeKind::Limiter;
        let slot = self.shown.slots.iter().position(|s| *s == node.key.slot);
        let rule = self.ruleset().rule_of(node.key.slot).filter(|_| !limiter);
        let rate = rule.and_then(|r| r.state.source.as_ref()?.conn_rate);
        let seconds = rate.map_or(0, |r| r.seconds);
        SourceView {
            addr: ip(node.key.af, node.key.addr),
            kind: match node.key.kind {
                NodeKind::Track => "",
                NodeKind::Nat => "nat-to",
                NodeKind::Rdr => "rdr-to",
                NodeKind::Route => "route-to",
                NodeKind::Limiter => "limiter",
            },
            redirect: node.redirect.map(|r| ip(r.af, r.addr)),
            limiter: limiter.then_some(node.key.slot.0 as u8),
            states: node.states,
            connections: node.conns,
            rate: node.rate.at(now_s, seconds.max(1)) as f64 / sync::rate::PARTS as f64,
            rate_seconds: seconds,
            age_s: now_s.saturating_sub(node.created_s),
            expires_s: node.expires_s.saturating_sub(now_s),
            packets: node.packets.iter().sum(),
            bytes: node.bytes.iter().sum(),
            rule: slot.filter(|_| !limiter).map(|n| self.shown.rules[n].nr),
        }
    }

    pub(crate) fn limiter_views(&self) -> Vec<LimiterView> {
        let ruleset = self.ruleset();
        let limiters = &self.shared.limiters;
        let view = |source: bool, name: &str, id: u8, limit: u32| {
            let counts = if source {
                limiters.of_source(id)
            } else {
                limiters.of_state(id)
            };
            LimiterView {
                kind: if source { "source" } else { "state" },
                name: name.into(),
                id,
                limit,
                in_use: counts.in_use,
                sources: if source {
                    self.shared.sources.of_limiter(id)
                } else {
                    0
                },
                admitted: counts.admitted,
                hard_limited: counts.hard_limited,
                rate_limited: counts.rate_limited,
                address_limited: counts.address_limited,
            }
        };
        let state = ruleset.state_limiters.iter();
        let state = state.map(|l| view(false, &l.name, l.id, l.limit));
        let source = ruleset.source_limiters.iter();
        state
            .chain(source.map(|l| view(true, &l.name, l.id, l.limit)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_key_is_read_as_a_line_of_states_shows_it() {
        let kill = by_key("tcp 10.0.0.1:80 <- 192.0.2.9:51000").unwrap();
        assert_eq!((kill.proto, kill.direction), (Some(6), Some(Direction::In)));
        let (src, dst) = (kill.src.unwrap(), kill.dst.unwrap());
        assert_eq!((src.addr, src.port), (0xc000_0209, Some(51000)));
        assert_eq!((dst.addr, dst.port), (0x0a00_0001, Some(80)));
        let kill = by_key("udp 2001:db8::1[53] -> 2001:db8::2[9]").unwrap();
        assert_eq!(kill.src.unwrap().port, Some(53));
        assert_eq!(
            ip(Af::Inet6, kill.dst.unwrap().addr),
            "2001:db8::2".parse::<IpAddr>().unwrap()
        );
        for wrong in [
            "tcp",
            "tcp 10.0.0.1:80 = 10.0.0.2:1",
            "x 1.1.1.1 -> 2.2.2.2",
            "tcp h -> 1.1.1.1",
        ] {
            assert!(by_key(wrong).is_err(), "{wrong}");
        }
    }
}
