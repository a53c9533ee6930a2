//! Words of bridges: ifconfig(8) of OpenBSD, brconfig(8) before it, and FreeBSD's if_bridge(4).

use crate::feature::Feature;
use crate::kind::{ArpMatch, Bridge, BridgeMember, MacRule, StaticStation, StpProtocol};
use crate::reading::{Reading, Special};
use crate::source::{Word, printable};
use crate::{InterfaceConfig, Kind, Named};

pub(crate) const WORDS: [&str; 51] = [
    "add",
    "addm",
    "del",
    "deletem",
    "addspan",
    "span",
    "delspan",
    "-span",
    "learn",
    "-learn",
    "discover",
    "-discover",
    "blocknonip",
    "-blocknonip",
    "stp",
    "-stp",
    "edge",
    "-edge",
    "autoedge",
    "-autoedge",
    "ptp",
    "-ptp",
    "autoptp",
    "-autoptp",
    "ifcost",
    "-ifcost",
    "ifpathcost",
    "ifpriority",
    "ifmaxaddr",
    "protected",
    "-protected",
    "private",
    "-private",
    "sticky",
    "-sticky",
    "static",
    "deladdr",
    "maxaddr",
    "timeout",
    "proto",
    "protocol",
    "spanpriority",
    "hellotime",
    "fwddelay",
    "maxage",
    "holdcnt",
    "rule",
    "link0",
    "-link0",
    "link1",
    "-link1",
];

/// Highest protected domain (bridge(4)).
const DOMAIN_MAX: u32 = 31;

/// Most members and span ports of a bridge.
const PORTS_MAX: usize = 256;

/// Most rules and static addresses of a bridge.
const ENTRIES_MAX: usize = 4096;

/// Largest table of learned addresses.
const ADDRESSES_MAX: u32 = 1 << 20;

/// Longest tag of pf.conf (PF_TAG_NAME_SIZE without its zero).
const TAG_MAX: usize = 63;

impl<'l> Reading<'l, '_> {
    fn bridge(&mut self) -> Option<&mut Bridge> {
        match &mut self.interface.kind {
            Kind::Bridge(bridge) => Some(bridge),
            _ => None,
        }
    }

    pub(crate) fn bridge_word(&mut self, word: Word<'l>) -> Special {
        let found = self.ports_word(word);
        let found = found.or_else(|| self.member_flag(word));
        let found = found.or_else(|| self.member_number(word));
        found.or_else(|| self.whole_bridge(word))
    }

    /// Who is in it.
    fn ports_word(&mut self, word: Word<'l>) -> Special {
        Some(match word.text {
            "add" | "addm" => self.add_member(word.text),
            "del" | "deletem" => {
                let named = self.named(word.text);
                named.map(|named| {
                    if let Some(bridge) = self.bridge() {
                        bridge.members.retain(|m| m.port.name != named.name);
                    }
                })
            }
            "addspan" | "span" => self.add_span(word),
            "delspan" | "-span" => {
                let named = self.named(word.text);
                named.map(|named| {
                    if let Some(bridge) = self.bridge() {
                        bridge.spans.retain(|span| span.name != named.name);
                    }
                })
            }
            "static" => self.static_station(word),
            "deladdr" => {
                let station = self.station("deladdr");
                station.map(|station| {
                    if let Some(bridge) = self.bridge() {
                        bridge.statics.retain(|s| s.station != station);
                    }
                })
            }
            "rule" => self.rule(word),
            _ => return None,
        })
    }

    fn add_member(&mut self, what: &str) -> Option<()> {
        let at = self.peek();
        let named = self.named(what)?;
        let name = named.name.clone();
        let bridge = self.bridge()?;
        let span = bridge.spans.iter().any(|span| span.name == name);
        let problem = if bridge.members.iter().any(|m| m.port.name == name) || span {
            format!("{name} is in it already")
        } else if bridge.members.len() >= PORTS_MAX {
            format!("more than {PORTS_MAX} members")
        } else {
            bridge.members.push(BridgeMember::new(named));
            return Some(());
        };
        self.error(
            at.unwrap_or(self.line.end()),
            "duplicate-port",
            problem,
            None,
        );
        Some(())
    }

    fn add_span(&mut self, word: Word<'l>) -> Option<()> {
        self.needs(word, Feature::BridgeSpan);
        let at = self.peek();
        let named = self.named(word.text)?;
        let name = named.name.clone();
        let bridge = self.bridge()?;
        let member = bridge.members.iter().any(|m| m.port.name == name);
        let span = bridge.spans.iter().any(|span| span.name == name);
        if !member && !span && bridge.spans.len() < PORTS_MAX {
            bridge.spans.push(named);
            return Some(());
        }
        let text = format!("{name} is in it already");
        self.error(at.unwrap_or(word), "duplicate-port", text, None);
        Some(())
    }

    /// The member that is named next, for `change`. It must be one already, as for ifconfig(8).
    fn member(&mut self, what: &str, change: impl FnOnce(&mut BridgeMember)) -> Option<()> {
        let at = self.peek().unwrap_or(self.line.end());
        let named = self.named(what)?;
        self.change_member(&named, at, change);
        Some(())
    }

    fn change_member(
        &mut self,
        named: &Named,
        at: Word<'l>,
        change: impl FnOnce(&mut BridgeMember),
    ) {
        let members = self.bridge().map(|bridge| &mut bridge.members);
        let found = members.and_then(|m| m.iter_mut().find(|m| m.port.name == named.name));
        match found {
            Some(member) => change(member),
            None => {
                let text = format!("{} is not a member yet", named.name);
                let hint = format!("'add {}' must stand before", named.name);
                self.error(at, "no-member", text, Some(hint));
            }
        }
    }

    /// Words that turn something on or off for one member.
    fn member_flag(&mut self, word: Word<'l>) -> Special {
        let on = !word.text.starts_with('-');
        let what = word.text;
        Some(match what.trim_start_matches('-') {
            "learn" => self.member(what, |m| m.learn = on),
            "discover" => self.member(what, |m| m.discover = on),
            "blocknonip" => self.member(what, |m| m.block_non_ip = on),
            "stp" => {
                if on {
                    self.needs(word, Feature::BridgeStp);
                }
                self.member(what, |m| m.stp = on)
            }
            "edge" => self.member(what, |m| m.edge = Some(on)),
            "autoedge" => self.member(what, |m| m.edge = if on { None } else { Some(false) }),
            "ptp" => self.member(what, |m| m.point_to_point = Some(on)),
            "autoptp" => self.member(what, |m| {
                m.point_to_point = if on { None } else { Some(false) };
            }),
            "private" => {
                self.needs(word, Feature::BridgeProtected);
                self.member(what, |m| m.protected = m.protected & !1 | u32::from(on))
            }
            "sticky" => {
                self.needs(word, Feature::BridgeSticky);
                self.member(what, |m| m.sticky = on)
            }
            "protected" => self.protected(word, on),
            _ => return None,
        })
    }

    /// `protected IF 1,2,3`
    fn protected(&mut self, word: Word<'l>, on: bool) -> Option<()> {
        if !on {
            return self.member("-protected", |m| m.protected = 0);
        }
        self.needs(word, Feature::BridgeProtected);
        let at = self.peek().unwrap_or(self.line.end());
        let named = self.named("protected")?;
        let ids = self.argument("protected")?;
        let mut domains = 0;
        for part in ids.text.split(',') {
            match crate::source::number(part).filter(|n| (1..=DOMAIN_MAX).contains(n)) {
                Some(n) => domains |= 1 << n,
                None => {
                    let text = format!(
                        "'{}' is not a list of protected domains",
                        printable(ids.text)
                    );
                    let hint = format!("numbers from 1 to {DOMAIN_MAX} with commas");
                    self.error(ids, "bad-number", text, Some(hint));
                    return Some(());
                }
            }
        }
        self.change_member(&named, at, |m| m.protected = domains);
        Some(())
    }

    /// Words that give a member a number.
    fn member_number(&mut self, word: Word<'l>) -> Special {
        type Set = fn(&mut BridgeMember, u32);
        let (range, set): (_, Set) = match word.text {
            "ifcost" | "ifpathcost" => (1..=200_000_000, |m, n| m.cost = Some(n)),
            "ifpriority" => (0..=240, |m, n| m.priority = n as u8),
            "ifmaxaddr" => (0..=ADDRESSES_MAX, |m, n| {
                m.max_addr = Some(n).filter(|n| *n > 0);
            }),
            "-ifcost" => return Some(self.member("-ifcost", |m| m.cost = None)),
            _ => return None,
        };
        if word.text == "ifmaxaddr" {
            self.needs(word, Feature::BridgeSticky);
        }
        let at = self.peek().unwrap_or(self.line.end());
        Some(self.named(word.text).and_then(|named| {
            let value = self.argument(word.text)?;
            match crate::source::number(value.text).filter(|n| range.contains(n)) {
                Some(n) => self.change_member(&named, at, |m| set(m, n)),
                None => self.not_a_number(value, &range),
            }
            Some(())
        }))
    }

    /// Settings of the bridge as a whole. Ranges of the spanning tree: 802.1D-2004 table 17-1.
    fn whole_bridge(&mut self, word: Word<'l>) -> Special {
        type Set = fn(&mut Bridge, u32);
        let (range, set): (_, Set) = match word.text {
            "maxaddr" => (1..=ADDRESSES_MAX, |b, n| b.max_addr = n),
            "timeout" => (0..=u32::MAX, |b, n| b.timeout = n),
            "spanpriority" | "priority" => (0..=61_440, |b, n| b.stp.priority = n as u16),
            "hellotime" => (1..=2, |b, n| b.stp.hello = n as u8),
            "fwddelay" => (4..=30, |b, n| b.stp.forward_delay = n as u8),
            "maxage" => (6..=40, |b, n| b.stp.max_age = n as u8),
            "holdcnt" => (1..=10, |b, n| b.stp.hold_count = n as u8),
            _ => return self.bridge_flag(word),
        };
        Some(self.number(word.text, range, |i: &mut InterfaceConfig, n| {
            if let Kind::Bridge(bridge) = &mut i.kind {
                set(bridge, n);
            }
        }))
    }

    fn bridge_flag(&mut self, word: Word<'l>) -> Special {
        let on = !word.text.starts_with('-');
        match word.text.trim_start_matches('-') {
            "link0" => self.bridge()?.link0 = on,
            "link1" => self.bridge()?.link1 = on,
            "proto" | "protocol" if on => return Some(self.stp_protocol(word)),
            // What is learned is not in files.
            "flush" if on => {}
            "flushall" if on => self.bridge()?.statics.clear(),
            _ => return None,
        }
        Some(Some(()))
    }

    fn stp_protocol(&mut self, word: Word<'l>) -> Option<()> {
        let at = self.argument(word.text)?;
        let protocol = match at.text {
            "stp" => StpProtocol::Stp,
            "rstp" => StpProtocol::Rstp,
            _ => {
                let text = format!("'{}' is not a spanning tree protocol", printable(at.text));
                self.error(at, "bad-word", text, Some("stp or rstp".to_string()));
                return Some(());
            }
        };
        self.bridge()?.stp.protocol = protocol;
        Some(())
    }

    /// `static IF ADDR`
    fn static_station(&mut self, word: Word<'l>) -> Option<()> {
        self.needs(word, Feature::BridgeStatic);
        let at = self.peek().unwrap_or(word);
        let port = self.named("static")?;
        let station = self.station("static")?;
        let mut member = false;
        self.change_member(&port, at, |_| member = true);
        let bridge = self.bridge()?;
        if member && bridge.statics.len() < ENTRIES_MAX {
            bridge.statics.push(StaticStation { port, station });
        }
        Some(())
    }

    /// `rule {block|pass} [in|out|in/out] on IF [src ADDR] [dst ADDR] [arp …] [tag NAME]`
    fn rule(&mut self, word: Word<'l>) -> Option<()> {
        self.needs(word, Feature::BridgeRule);
        let action = self.argument("rule")?;
        let block = match action.text {
            "block" => true,
            "pass" => false,
            _ => return self.bad_rule(action, "block or pass"),
        };
        let mut rule = MacRule {
            block,
            inbound: true,
            outbound: true,
            port: Named::default(),
            src: None,
            dst: None,
            tag: None,
            arp: None,
        };
        if self.take("in") {
            rule.outbound = false;
        } else if self.take("out") {
            rule.inbound = false;
        } else {
            self.take("in/out");
        }
        let on = self.argument("rule")?;
        if on.text != "on" {
            return self.bad_rule(on, "on IF");
        }
        let at = self.peek().unwrap_or(on);
        rule.port = self.named("on")?;
        let mut member = false;
        self.change_member(&rule.port, at, |_| member = true);
        self.rule_matches(&mut rule)?;
        let bridge = self.bridge()?;
        if bridge.rules.len() < ENTRIES_MAX {
            bridge.rules.push(rule);
        }
        Some(())
    }

    fn rule_matches(&mut self, rule: &mut MacRule) -> Option<()> {
        loop {
            if self.take("src") {
                rule.src = Some(self.station("src")?);
            } else if self.take("dst") {
                rule.dst = Some(self.station("dst")?);
            } else if self.take("tag") {
                let tag = self.argument("tag")?;
                if tag.text.len() > TAG_MAX {
                    let text = format!("a tag has at most {TAG_MAX} characters");
                    self.error(tag, "bad-name", text, None);
                }
                rule.tag = Some(printable(tag.text));
            } else if self.take("arp") {
                rule.arp = Some(self.arp(false)?);
            } else if self.take("rarp") {
                rule.arp = Some(self.arp(true)?);
            } else {
                return Some(());
            }
        }
    }

    fn arp(&mut self, reverse: bool) -> Option<ArpMatch> {
        let mut arp = ArpMatch {
            reverse,
            ..ArpMatch::default()
        };
        loop {
            if self.take("request") {
                arp.request = Some(true);
            } else if self.take("reply") {
                arp.request = Some(false);
            } else if self.take("sha") {
                arp.sha = Some(self.station("sha")?);
            } else if self.take("tha") {
                arp.tha = Some(self.station("tha")?);
            } else if self.take("spa") {
                arp.spa = Some(self.ip4("spa")?);
            } else if self.take("tpa") {
                arp.tpa = Some(self.ip4("tpa")?);
            } else {
                return Some(arp);
            }
        }
    }

    fn bad_rule(&mut self, word: Word<'l>, wanted: &str) -> Option<()> {
        let text = format!("'{}' where '{wanted}' was to be", printable(word.text));
        let hint = "rule {block|pass} [in|out] on IF [src ADDR] [dst ADDR] [tag NAME]";
        self.error(word, "bad-word", text, Some(hint.to_string()));
        None
    }
}
