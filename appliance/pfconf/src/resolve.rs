//! Names to numbers: hosts, interfaces, ports, protocols, users. Read first: pf.conf(5), "GRAMMAR" and the text on
//! `:network` and its like. The only names known are those of the environment.

use std::net::IpAddr;

use ruleset::{Af, PortOp, PortRange, TableEntry};

use crate::ast::{self, HostKind, NameOrNumber};
use crate::build::Builder;
use crate::environment::{EnvAddress, EnvInterface, Known};
use crate::message::{Audience, Message};
use crate::parse::c_number;
use crate::policy::{Addr, Dynamic, Host, IdRange, Modifiers};
use crate::source::Span;

/// The error has been said.
#[derive(Debug)]
pub(crate) struct Reported;

pub(crate) type Resolved<T> = Result<T, Reported>;

/// `user unknown`, `group unknown`.
pub(crate) const ID_UNKNOWN: u32 = u32::MAX;

/// Most hosts that one rule or table may name after resolution.
pub(crate) const HOSTS_MAX: usize = 4_000_000;

impl Builder<'_> {
    /// Reports an error of meaning: placed at the end of the statement for pfctl, at `span` for a person.
    pub(crate) fn fail(
        &mut self,
        span: Span,
        code: &'static str,
        text: impl Into<String>,
    ) -> Reported {
        self.fail_hint(span, code, text, None)
    }

    pub(crate) fn fail_hint(
        &mut self,
        span: Span,
        code: &'static str,
        text: impl Into<String>,
        hint: Option<String>,
    ) -> Reported {
        let message = Message::error(code, span, text).hint(hint);
        self.messages.add(message.pfctl_line(self.line));
        Reported
    }

    /// Two lines of pfctl, the first without a place; one message for a person.
    fn fail_host(&mut self, span: Span, bare: String, hint: Option<String>) -> Reported {
        let message = Message::error("host", span, bare.clone());
        self.messages
            .add(message.clone().bare().to(Audience::Pfctl));
        self.messages.add(message.hint(hint).to(Audience::Person));
        let text = "could not parse host specification";
        let echo = Message::error("host", span, text).to(Audience::Pfctl);
        self.messages.add(echo.pfctl_line(self.line));
        Reported
    }

    pub(crate) fn hosts(&mut self, hosts: &[ast::Host]) -> Resolved<Vec<Host>> {
        let mut all = Vec::new();
        for host in hosts {
            let found = self.host(host)?;
            all.extend(found);
            let most = self.bounds.addresses;
            if all.len() > most {
                let text = format!("more than {most} addresses");
                return Err(self.fail(host.span, "host-limit", text));
            }
        }
        Ok(all)
    }

    /// The hosts of a rule. The bare name of an interface that learns its addresses is read as if it stood in parentheses:
    /// pfctl refuses it before the first lease, and after it keeps addresses that may be somebody else's tomorrow. A box that
    /// starts without a person needs its rules in force, and an empty list would let pass for good what is blocked by name.
    pub(crate) fn rule_hosts(&mut self, hosts: &[ast::Host]) -> Resolved<Vec<Host>> {
        let read: Vec<ast::Host> = hosts.iter().map(|h| self.following(h)).collect();
        self.hosts(&read)
    }

    pub(crate) fn following(&mut self, host: &ast::Host) -> ast::Host {
        let HostKind::Name { text, bits } = &host.kind else {
            return host.clone();
        };
        if !self.learns(split_modifiers(text).0) {
            return host.clone();
        }
        let said =
            format!("the addresses of {text} are learned: read as ({text}), which follows them");
        let message = Message::error("learned-address", host.span, said);
        let message = message.hint(Some(format!("write ({text})")));
        let warning = message.severity(crate::diag::Severity::Warning);
        self.messages.add(warning.to(Audience::Person));
        ast::Host {
            kind: HostKind::Dynamic {
                text: text.clone(),
                bits: *bits,
            },
            ..host.clone()
        }
    }

    /// An interface that learns its addresses, or a group with one in it; `egress` has nobody in it before the first lease.
    pub(crate) fn learns(&self, name: &str) -> bool {
        let learning = &self.known.env.learning;
        let is_learning = |name: &str| learning.iter().any(|n| n == name);
        let members = self.known.members(name).unwrap_or_default();
        is_learning(name)
            || members.iter().any(|i| is_learning(&i.name))
            || name == "egress" && members.is_empty() && !learning.is_empty()
    }

    /// All addresses that one host item stands for; at least one.
    pub(crate) fn host(&mut self, host: &ast::Host) -> Resolved<Vec<Host>> {
        let one = |addr| {
            vec![Host {
                addr,
                ..Host::default()
            }]
        };
        let mut found = match &host.kind {
            HostKind::Name { text, bits } => self.named_host(text, *bits, host.span)?,
            HostKind::Range { from, to } => one(self.range(from, to, host.span)?),
            HostKind::Dynamic { text, bits } => one(self.dynamic(text, *bits, host.span)?),
            HostKind::Table(name) => one(Addr::Table(name.clone())),
            HostKind::NoRoute => one(Addr::NoRoute),
            HostKind::UrpfFailed => one(Addr::UrpfFailed),
            HostKind::RouteLabel(label) => one(Addr::RouteLabel(label.clone())),
            HostKind::Via { interface, gateway } => self.via(interface, gateway.as_deref())?,
        };
        for h in &mut found {
            h.not = host.not;
            h.weight = host.weight;
            h.span = host.span;
        }
        Ok(found)
    }

    fn via(&mut self, interface: &str, gateway: Option<&ast::Host>) -> Resolved<Vec<Host>> {
        let mut found = match gateway {
            Some(gateway) => self.host(gateway)?,
            None => vec![Host::default()],
        };
        for h in &mut found {
            h.via = Some(interface.into());
        }
        Ok(found)
    }

    /// An interface, an address, or a host name, in this order.
    fn named_host(&mut self, text: &str, bits: Option<i64>, span: Span) -> Resolved<Vec<Host>> {
        let written = match bits {
            Some(bits) => format!("{text}/{bits}"),
            None => text.to_string(),
        };
        if let Some(wrong) = bits.filter(|b| !(0..=128).contains(b)) {
            let size = if wrong < 0 { "small" } else { "large" };
            let bare = format!("netmask is too {size}: /{wrong}");
            return Err(self.fail_host(span, bare, None));
        }
        let bits = bits.and_then(|b| u8::try_from(b).ok());
        if let Some(found) = self.interface_host(text, bits, span)? {
            return Ok(found);
        }
        if let Some(found) = literal(text, bits) {
            return Ok(vec![found]);
        }
        if let Some(found) = self.host_name(text, bits) {
            return Ok(found);
        }
        Err(self.no_address(&written, span))
    }

    fn no_address(&mut self, text: &str, span: Span) -> Reported {
        let base = text.split(['/', ':']).next().unwrap_or(text);
        let hint = if self.known.interface(base).is_some() {
            Some(format!("interface {base} has no such address"))
        } else {
            let mut names = self.known.interface_names();
            let mut hosts: Vec<&str> = self.known.env.hosts.keys().map(String::as_str).collect();
            hosts.sort_unstable();
            names.extend(hosts);
            self.messages
                .near(base, names)
                .map(|n| format!("did you mean '{n}'?"))
        };
        self.fail_host(span, format!("no IP address found for {text}"), hint)
    }

    /// None if the text does not name an interface or a group.
    fn interface_host(
        &mut self,
        text: &str,
        bits: Option<u8>,
        span: Span,
    ) -> Resolved<Option<Vec<Host>>> {
        let (name, mods) = split_modifiers(text);
        let Some(members) = self.known.members(name) else {
            return Ok(None);
        };
        let mods = match mods {
            Ok(mods) => mods,
            Err(what) => return Err(self.fail_host(span, what.to_string(), None)),
        };
        if bits.is_some() && (mods.network || mods.broadcast) {
            let text = "network or broadcast lookup, but extra netmask given";
            return Err(self.fail_host(span, text.into(), None));
        }
        let found = addresses_of(&members, mods, bits);
        Ok((!found.is_empty()).then_some(found))
    }

    fn host_name(&self, text: &str, bits: Option<u8>) -> Option<Vec<Host>> {
        let (name, no_alias) = match text.strip_suffix(":0") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let addresses = self.known.env.hosts.get(name)?;
        let mut found: Vec<Host> = Vec::new();
        for address in addresses {
            let host = plain(*address, bits);
            if no_alias && found.iter().any(|f| f.af() == host.af()) {
                continue;
            }
            found.push(host);
        }
        (!found.is_empty()).then_some(found)
    }

    fn range(&mut self, from: &str, to: &str, span: Span) -> Resolved<Addr> {
        let low = self.named_host(from, None, span)?;
        let high = self.named_host(to, None, span)?;
        match (single(&low), single(&high)) {
            (Some((af, low)), Some((af2, high))) if af == af2 && low <= high => {
                Ok(Addr::Range { af, low, high })
            }
            _ => {
                let hint = Some("a range has two addresses of one family, the lower first".into());
                Err(self.fail_hint(span, "range", "invalid address range", hint))
            }
        }
    }

    fn dynamic(&mut self, text: &str, bits: Option<i64>, span: Span) -> Resolved<Addr> {
        if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let text = format!("invalid interface name '{text}'");
            return Err(self.fail(span, "interface-name", text));
        }
        let (name, mods) = split_modifiers(text);
        if name.contains(':') {
            let text = format!("interface {name} has bad modifier");
            return Err(self.fail(span, "interface-modifier", text));
        }
        let mods = match mods {
            Ok(mods) => mods,
            Err(what) => return Err(self.fail(span, "interface-modifier", what)),
        };
        if name.is_empty() || name.len() > 15 {
            return Err(self.fail(span, "interface-name", "interface name too long"));
        }
        self.mention_interface(name, span);
        Ok(Addr::Dynamic(Dynamic {
            name: name.into(),
            mods,
            bits: bits.map_or(128, |b| b.clamp(0, 128) as u8),
        }))
    }

    /// PF accepts any name after `on`: the interface may come later. A slip of the pen is worth a word.
    pub(crate) fn mention_interface(&mut self, name: &str, span: Span) {
        if self.known.env.interfaces.is_empty()
            || self.known.members(name).is_some()
            || self.known.env.kifs.iter().any(|k| k.0 == name)
        {
            return;
        }
        let names = self.known.interface_names();
        // Another number of the same driver is no slip of the pen.
        let class = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let slip = |near: &&str| name[..class(name)] != near[..class(near)];
        let near = self.messages.near(name, names.iter().copied());
        let hint = match near.filter(slip) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("known here: {}", names.join(" ")),
        };
        let text = format!("unknown interface or group '{name}'");
        let message = Message::error("unknown-interface", span, text).hint(Some(hint));
        let warning = message.severity(crate::diag::Severity::Warning);
        self.messages.add(warning.to(Audience::Person));
    }

    pub(crate) fn ports(&mut self, ports: &[ast::Port]) -> Resolved<Vec<PortRange>> {
        ports.iter().map(|p| self.port(p)).collect()
    }

    fn port(&mut self, port: &ast::Port) -> Resolved<PortRange> {
        let a = self.service(&port.a, port.span)?;
        let b = match &port.b {
            Some(b) => self.service(b, port.span)?,
            None => 0,
        };
        let op = match port.op {
            PortOp::Range if a == b => PortOp::Eq,
            op => op,
        };
        let reversed = match op {
            PortOp::Range | PortOp::Outside => a > b,
            PortOp::Inside => a >= b,
            _ => false,
        };
        if reversed {
            let text = "invalid port range";
            return Err(self.fail(port.span, "port-range", text));
        }
        let b = if op == PortOp::Eq { 0 } else { b };
        Ok(PortRange { op, a, b })
    }

    /// A port number or the name of a service.
    pub(crate) fn service(&mut self, text: &str, span: Span) -> Resolved<u16> {
        let number = text.strip_prefix('-').map_or_else(
            || c_number(text),
            |digits| c_number(digits).map(u64::wrapping_neg),
        );
        if let Some(number) = number {
            return u16::try_from(number).map_err(|_| {
                let text = format!("illegal port value {number}");
                let hint = Some("0 to 65535 are possible".into());
                self.fail_hint(span, "port", text, hint)
            });
        }
        if let Some(port) = self.known.service(text) {
            return Ok(port);
        }
        let near = self.messages.near(text, self.known.service_names());
        let hint = near.map(|n| format!("did you mean '{n}'?"));
        Err(self.fail_hint(span, "port", format!("unknown port {text}"), hint))
    }

    pub(crate) fn protocols(&mut self, protos: &[ast::Proto]) -> Resolved<Vec<u8>> {
        protos.iter().map(|p| self.protocol(p)).collect()
    }

    fn protocol(&mut self, proto: &ast::Proto) -> Resolved<u8> {
        match &proto.value {
            NameOrNumber::Number(n) => Ok(*n as u8),
            NameOrNumber::Name(name) => match self.known.protocol(name) {
                Some(0) => Err(self.fail(proto.span, "proto", "proto 0 cannot be used")),
                Some(n) => Ok(n),
                None => {
                    let names = self.known.env.protocols.iter();
                    let near = self.messages.near(name, names.map(|p| p.0.as_str()));
                    let hint = near.map(|n| format!("did you mean '{n}'?"));
                    let text = format!("unknown protocol {name}");
                    Err(self.fail_hint(proto.span, "proto", text, hint))
                }
            },
        }
    }

    pub(crate) fn ids(&mut self, ids: &[ast::Id], user: bool) -> Resolved<Vec<IdRange>> {
        ids.iter().map(|id| self.id(id, user)).collect()
    }

    fn id(&mut self, id: &ast::Id, user: bool) -> Resolved<IdRange> {
        let a = self.id_number(&id.a, user, id.span)?;
        let b = match &id.b {
            Some(b) => self.id_number(b, user, id.span)?,
            None => a,
        };
        Ok(IdRange { op: id.op, a, b })
    }

    fn id_number(&mut self, id: &NameOrNumber, user: bool, span: Span) -> Resolved<u32> {
        let name = match id {
            NameOrNumber::Number(n) => return Ok(*n as u32),
            NameOrNumber::Name(name) if name == "unknown" => return Ok(ID_UNKNOWN),
            NameOrNumber::Name(name) => name,
        };
        let (found, what) = match user {
            true => (self.known.user(name), "user"),
            false => (self.known.group(name), "group"),
        };
        found.ok_or_else(|| self.fail(span, "id", format!("unknown {what} {name}")))
    }
}

/// Takes the modifiers off an interface's name. The name keeps a suffix that is no modifier.
fn split_modifiers(text: &str) -> (&str, Result<Modifiers, &'static str>) {
    let mut name = text;
    let mut mods = Modifiers::default();
    while let Some((rest, word)) = name.rsplit_once(':') {
        match word {
            "network" => mods.network = true,
            "broadcast" => mods.broadcast = true,
            "peer" => mods.peer = true,
            "0" => mods.no_alias = true,
            _ => break,
        }
        name = rest;
    }
    let kinds = [mods.network, mods.broadcast, mods.peer];
    if kinds.into_iter().filter(|k| *k).count() > 1 {
        return (name, Err("illegal combination of interface modifiers"));
    }
    (name, Ok(mods))
}

/// The addresses that `name:modifier/bits` stands for. Kernels list the addresses of a loopback in the order IPv6,
/// IPv4, because IPv6 comes up with the interface.
fn addresses_of(members: &[&EnvInterface], mods: Modifiers, bits: Option<u8>) -> Vec<Host> {
    let mut found = Vec::new();
    for interface in members {
        let mut addresses: Vec<&EnvAddress> = interface.addresses.iter().collect();
        if interface.loopback {
            addresses.sort_by_key(|a| a.address.is_ipv4());
        }
        let (mut v4, mut v6) = (false, false);
        for address in addresses {
            let Some(host) = interface_address(interface, address, mods, bits) else {
                continue;
            };
            // `:0` takes the first of each family; link-local addresses do not count.
            let taken = match address.address {
                IpAddr::V4(_) => std::mem::replace(&mut v4, true),
                IpAddr::V6(_) if host.scope.is_some() => v6,
                IpAddr::V6(_) => std::mem::replace(&mut v6, true),
            };
            if !(mods.no_alias && taken) {
                found.push(host);
            }
        }
    }
    found
}

fn interface_address(
    interface: &EnvInterface,
    address: &EnvAddress,
    mods: Modifiers,
    bits: Option<u8>,
) -> Option<Host> {
    let local = is_link_local(address.address);
    if mods.network && local {
        return None;
    }
    let ip = if mods.broadcast {
        address.broadcast?
    } else if mods.peer {
        address.peer?
    } else {
        address.address
    };
    let bits = match mods.network {
        true => Some(address.prefix_len),
        false => bits,
    };
    let mut host = plain(ip, bits);
    host.scope = local.then(|| interface.name.clone());
    Some(host)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80)
}

/// An address with the bits beyond the prefix cleared.
fn plain(address: IpAddr, bits: Option<u8>) -> Host {
    let (af, addr, all) = match address {
        IpAddr::V4(v4) => (Af::Inet, u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (Af::Inet6, u128::from(v6), 128),
    };
    let bits = bits.unwrap_or(all);
    let addr = addr & ruleset::table::prefix_mask(af, bits.min(all));
    Host {
        addr: Addr::Masked { af, addr, bits },
        ..Host::default()
    }
}

/// An address in digits: IPv4, also short with a prefix (`10/8`), or IPv6, also with a zone (`fe80::1%em0`).
pub(crate) fn literal(text: &str, bits: Option<u8>) -> Option<Host> {
    if let Some((address, zone)) = text.split_once('%') {
        let mut host = plain(IpAddr::V6(address.parse().ok()?), bits);
        host.scope = Some(zone.into());
        return Some(host);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(plain(address, bits));
    }
    bits?;
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for (n, octet) in octets.iter_mut().enumerate() {
        match parts.next() {
            Some(part) if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) => {
                *octet = part.parse().ok()?;
            }
            None if n > 0 => break,
            _ => return None,
        }
    }
    match parts.next() {
        None => Some(plain(IpAddr::from(octets), bits)),
        Some(_) => None,
    }
}

/// The addresses that `(name:modifier)/bits` has in this environment, of one family if the rule has one.
pub(crate) fn dynamic_entries(
    dynamic: &Dynamic,
    known: &Known<'_>,
    af: Option<Af>,
) -> Vec<TableEntry> {
    let members = known.members(&dynamic.name).unwrap_or_default();
    let bits = Some(dynamic.bits).filter(|b| *b < 128);
    let found = addresses_of(&members, dynamic.mods, bits);
    let entry = |host: &Host| match host.addr {
        Addr::Masked { af, addr, bits } => Some(TableEntry::new(af, addr, bits, false)),
        _ => None,
    };
    let entries = found.iter().filter_map(entry);
    entries.filter(|e| af.is_none_or(|af| e.af == af)).collect()
}

/// Family and address of a single host.
fn single(hosts: &[Host]) -> Option<(Af, u128)> {
    match hosts {
        [
            Host {
                addr: Addr::Masked { af, addr, bits },
                ..
            },
        ] if *bits == af.bits() => Some((*af, *addr)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str, bits: Option<u8>) -> Option<(u128, u8)> {
        match literal(text, bits)?.addr {
            Addr::Masked { addr, bits, .. } => Some((addr, bits)),
            _ => None,
        }
    }

    #[test]
    fn short_networks_and_prefixes_are_understood() {
        for (text, bits, expect) in [
            ("10", Some(8), Some((0x0a00_0000, 8))),
            ("10.1", Some(8), Some((0x0a00_0000, 8))),
            ("172.16", Some(12), Some((0xac10_0000, 12))),
            ("10.1.2.3", None, Some((0x0a01_0203, 32))),
            ("10.1", None, None),
            ("10.256", Some(8), None),
            ("1.2.3.4.5", Some(8), None),
            ("", Some(8), None),
            ("::1", None, Some((1, 128))),
            ("fe80::1%em0", Some(10), Some((0xfe80 << 112, 10))),
        ] {
            assert_eq!(addr(text, bits), expect, "{text}");
        }
    }

    #[test]
    fn modifiers_come_off_the_end_of_a_name() {
        let (name, mods) = split_modifiers("em0:network:0");
        assert_eq!(name, "em0");
        assert!(mods.is_ok_and(|m| m.network && m.no_alias));
        assert_eq!(split_modifiers("2001:db8::1").0, "2001:db8::1");
        assert!(split_modifiers("em0:network:peer").1.is_err());
    }
}
