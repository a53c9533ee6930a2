//! `hostname.IF`: addresses, then options as ifconfig(8) takes them, or a `!route add` line. Grammar of hostname.if(5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::prefix;
use crate::source::{Line, Reporter, Source, Word, printable};
use crate::{InterfaceAddress, InterfaceConfig, NetConfig, Origin, near, route};
use pfconf::diag::Severity;

/// IFNAMSIZ without its zero byte.
const NAME_LIMIT: usize = 15;

/// Smallest that IPv4 allows (RFC 791), and what the cards' jumbo frames carry.
const MTU: std::ops::RangeInclusive<u16> = 68..=9216;

/// Interfaces without a card behind them.
const PSEUDO: [&str; 30] = [
    "aggr", "bridge", "carp", "egre", "enc", "eoip", "epair", "etherip", "gif", "gre", "lagg",
    "lo", "mpe", "nvgre", "pair", "pflog", "pflow", "pfsync", "ppp", "pppoe", "sec", "svlan",
    "tap", "tpmr", "trunk", "tun", "veb", "vether", "vlan", "vport",
];

/// Words that stand alone or take one argument and mean nothing to DPDK: noted and left out.
const IGNORED: [(&str, usize); 13] = [
    ("media", 1),
    ("mediaopt", 1),
    ("-mediaopt", 1),
    ("mode", 1),
    ("instance", 1),
    ("debug", 0),
    ("-debug", 0),
    ("wol", 0),
    ("-wol", 0),
    ("tso", 0),
    ("-tso", 0),
    ("lro", 0),
    ("-lro", 0),
];

/// Words of hostname.if(5) and ifconfig(8) that Fugu does not do yet.
const NOT_YET: [&str; 37] = [
    "autoconf",
    "autoconfprivacy",
    "temporary",
    "soii",
    "-soii",
    "dhcp",
    "rtsol",
    "dest",
    "lladdr",
    "metric",
    "priority",
    "rdomain",
    "rtable",
    "parent",
    "vlandev",
    "vnetid",
    "vlan",
    "vlanprio",
    "txprio",
    "rxprio",
    "trunkport",
    "trunkproto",
    "laggport",
    "laggproto",
    "carpdev",
    "carpnodes",
    "vhid",
    "pass",
    "advbase",
    "advskew",
    "pair",
    "add",
    "addm",
    "nwid",
    "wpakey",
    "join",
    "eui64",
];

const KNOWN: [&str; 13] = [
    "inet",
    "inet6",
    "alias",
    "up",
    "down",
    "mtu",
    "description",
    "-description",
    "group",
    "-group",
    "-inet6",
    "media",
    "!route",
];

/// Reads `hostname.{suffix}` and adds the interface.
pub(crate) fn read(
    suffix: &str,
    file: &str,
    bytes: &[u8],
    config: &mut NetConfig,
    reporter: &mut Reporter,
) {
    let Some(mut interface) = named(suffix, file, reporter) else {
        return;
    };
    let Some(source) = Source::new(file, bytes, reporter) else {
        return;
    };
    for line in source.lines(reporter) {
        if line.words[0].text.starts_with('!') {
            config
                .routes
                .extend(route::command(&line, suffix, reporter));
        } else {
            let mut reading = Reading {
                line: &line,
                at: 0,
                interface: &mut interface,
                reporter,
            };
            // What was wrong has been reported; the next line is a new chance.
            let _understood = reading.line();
        }
    }
    config.interfaces.push(interface);
}

/// An interface as yet without anything, if the file's name is good for one.
fn named(suffix: &str, file: &str, reporter: &mut Reporter) -> Option<InterfaceConfig> {
    let mut interface = InterfaceConfig {
        name: suffix.to_string(),
        up: true,
        origin: Origin {
            file: file.to_string(),
            line: 0,
        },
        ..InterfaceConfig::default()
    };
    if let Some(lladdr) = lladdr(suffix) {
        interface.name = suffix.to_ascii_lowercase();
        interface.lladdr = Some(lladdr);
        return Some(interface);
    }
    let driver = suffix.trim_end_matches(|c: char| c.is_ascii_digit());
    let letters = !driver.is_empty() && driver.bytes().all(|b| b.is_ascii_alphabetic());
    if !letters || driver.len() == suffix.len() || suffix.len() > NAME_LIMIT {
        let text = format!(
            "not read: '{}' is not the name of an interface",
            printable(suffix)
        );
        reporter
            .whole_file(Severity::Warning, "odd-interface-name", file, text)
            .hint = Some(
            "names are a driver and a number, em0, or a station address, 00:11:22:33:44:55".into(),
        );
        return None;
    }
    if PSEUDO.contains(&driver) || driver == "wg" {
        let text = format!("interfaces of the kind '{driver}' are not supported yet");
        reporter.whole_file(Severity::Error, "not-supported-yet", file, text);
        return None;
    }
    Some(interface)
}

/// `00:11:22:33:44:55`
fn lladdr(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next()?;
        let plain = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
        *octet = u8::from_str_radix(part, 16).ok().filter(|_| plain)?;
    }
    parts.next().is_none().then_some(octets)
}

/// A line of the file while it is read.
struct Reading<'l, 'r> {
    line: &'l Line<'l>,
    at: usize,
    interface: &'l mut InterfaceConfig,
    reporter: &'r mut Reporter,
}

impl<'l> Reading<'l, '_> {
    fn peek(&self) -> Option<Word<'l>> {
        self.line.words.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Word<'l>> {
        let word = self.peek();
        self.at += usize::from(word.is_some());
        word
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.text == text);
        self.at += usize::from(found);
        found
    }

    /// The argument of `what`, or a message that it is missing.
    fn argument(&mut self, what: &str) -> Option<Word<'l>> {
        if let Some(word) = self.next() {
            return Some(word);
        }
        let text = format!("'{what}' needs something after it");
        self.line
            .error(self.reporter, self.line.end(), "missing-word", text);
        None
    }

    fn error(&mut self, word: Word<'_>, code: &'static str, text: String, hint: Option<String>) {
        self.line.error(self.reporter, word, code, text).hint = hint;
    }

    /// `None` once something is not understood: what follows it cannot be either.
    fn line(&mut self) -> Option<()> {
        if self.take("inet") {
            self.inet()?;
        } else if self.take("inet6") {
            self.inet6()?;
        }
        while let Some(word) = self.next() {
            self.option(word)?;
        }
        Some(())
    }

    fn option(&mut self, word: Word<'l>) -> Option<()> {
        match word.text {
            "up" => self.interface.up = true,
            "down" => self.interface.up = false,
            "mtu" => self.mtu()?,
            "description" | "descr" => {
                let text = self.argument(word.text)?;
                self.interface.description = Some(printable(text.text));
            }
            "-description" | "-descr" => self.interface.description = None,
            "group" => self.group()?,
            "-group" => {
                let name = self.argument("-group")?;
                self.interface.groups.retain(|group| group != name.text);
            }
            // No IPv6 unless it is asked for: nothing to do.
            "-inet6" => {}
            other => return self.other(other, word),
        }
        Some(())
    }

    fn other(&mut self, text: &str, word: Word<'l>) -> Option<()> {
        if let Some((_, arguments)) = IGNORED.iter().find(|(name, _)| *name == text) {
            for _ in 0..*arguments {
                self.argument(text)?;
            }
            let message = format!("'{text}' has no effect here");
            self.line.notice(self.reporter, word, "no-effect", message);
            return Some(());
        }
        if NOT_YET.contains(&text) {
            self.line.not_yet(self.reporter, word);
            return None;
        }
        let hint = if text == "inet" || text == "inet6" {
            Some(format!("'{text}' must begin a line"))
        } else {
            near::hint(text, KNOWN)
        };
        let message = format!("unknown word '{}'", printable(text));
        self.error(word, "unknown-word", message, hint);
        None
    }

    fn mtu(&mut self) -> Option<()> {
        let word = self.argument("mtu")?;
        match word.text.parse() {
            Ok(mtu) if MTU.contains(&mtu) => self.interface.mtu = Some(mtu),
            _ => {
                let text = format!(
                    "'{}' is not a size between {} and {}",
                    printable(word.text),
                    MTU.start(),
                    MTU.end()
                );
                self.error(word, "bad-mtu", text, None);
            }
        }
        Some(())
    }

    fn group(&mut self) -> Option<()> {
        let word = self.argument("group")?;
        let name = word.text;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let ends_in_digit = name.ends_with(|c: char| c.is_ascii_digit());
        if name.is_empty() || !plain || ends_in_digit || name.len() > NAME_LIMIT {
            let text = format!("'{}' cannot be the name of a group", printable(name));
            let hint = "up to 15 letters, digits and underscores, the last one not a digit";
            self.error(word, "bad-group", text, Some(hint.to_string()));
        } else if !self.interface.groups.iter().any(|g| g == name) {
            self.interface.groups.push(name.to_string());
        }
        Some(())
    }

    /// After `inet`: `[alias] ADDR[/n] [NETMASK] [BROADCAST|NONE]`.
    fn inet(&mut self) -> Option<()> {
        let alias = self.take("alias");
        let word = self.address_word("inet")?;
        let (text, bits) = cut(word.text);
        let Ok(addr) = text.parse::<Ipv4Addr>() else {
            let hint = text
                .parse::<Ipv6Addr>()
                .is_ok()
                .then(|| "write inet6 for an IPv6 address".to_string());
            return self.not_an_address(word, "IPv4", hint);
        };
        let prefix_len = match bits {
            Some(_) => self.bits_of(word, 32)?,
            None => self.netmask(addr)?,
        };
        let broadcast = self.broadcast()?;
        if addr.is_unspecified()
            || addr.is_multicast()
            || addr.is_loopback()
            || addr.is_broadcast()
            || prefix_len == 0
        {
            return self.unfit(word);
        }
        self.edge_of_network(word, addr, prefix_len);
        self.broadcast_fits(addr, prefix_len, broadcast);
        self.add(
            word,
            addr.into(),
            prefix_len,
            broadcast.map(|(addr, _)| addr),
            alias,
        )
    }

    /// After `inet6`: `[alias] ADDR[/n] [PREFIXLEN]`, or `eui64` alone.
    fn inet6(&mut self) -> Option<()> {
        if self.take("eui64") {
            self.interface.link_local = true;
            return Some(());
        }
        let alias = self.take("alias");
        let word = self.address_word("inet6")?;
        let (text, bits) = cut(word.text);
        let scope = format!("%{}", self.interface.name);
        let Ok(addr) = text
            .strip_suffix(&scope)
            .unwrap_or(text)
            .parse::<Ipv6Addr>()
        else {
            let hint = text
                .parse::<Ipv4Addr>()
                .is_ok()
                .then(|| "write inet for an IPv4 address".to_string());
            return self.not_an_address(word, "IPv6", hint);
        };
        let prefix_len = match bits {
            Some(_) => self.bits_of(word, 128)?,
            None => self.prefix_length()?,
        };
        if addr.is_unspecified()
            || addr.is_multicast()
            || addr.is_loopback()
            || addr.to_ipv4_mapped().is_some()
            || prefix_len == 0
        {
            return self.unfit(word);
        }
        self.add(word, addr.into(), prefix_len, None, alias)
    }

    fn address_word(&mut self, family: &str) -> Option<Word<'l>> {
        let word = self.argument(family)?;
        if word.text == "autoconf" {
            self.line.not_yet(self.reporter, word);
            return None;
        }
        Some(word)
    }

    fn not_an_address(&mut self, word: Word<'l>, family: &str, hint: Option<String>) -> Option<()> {
        let text = format!("'{}' is not an {family} address", printable(word.text));
        self.error(word, "bad-address", text, hint);
        None
    }

    fn unfit(&mut self, word: Word<'l>) -> Option<()> {
        let text = format!(
            "'{}' cannot be the address of an interface",
            printable(word.text)
        );
        self.error(word, "bad-address", text, None);
        Some(())
    }

    /// The `/n` of an address.
    fn bits_of(&mut self, word: Word<'l>, most: u8) -> Option<u8> {
        let at = word.text.find('/').map_or(0, |slash| slash + 1);
        self.length(word.part(at, word.text.len()), most)
    }

    fn length(&mut self, word: Word<'l>, most: u8) -> Option<u8> {
        let length = prefix::length(word.text, most);
        if length.is_none() {
            let text = format!(
                "'{}' is not a prefix length from 1 to {most}",
                printable(word.text)
            );
            self.error(word, "bad-prefix-length", text, None);
        }
        length
    }

    fn netmask(&mut self, addr: Ipv4Addr) -> Option<u8> {
        self.take("netmask");
        let Some(word) = self.peek() else {
            return self.no_netmask(self.line.end(), addr);
        };
        if let Some(bits) = prefix::netmask(word.text) {
            self.at += 1;
            return Some(bits);
        }
        if word.text.starts_with(|c: char| c.is_ascii_digit()) {
            let text = format!("'{}' is not a netmask", printable(word.text));
            let hint = "255.255.255.0, 0xffffff00 or 24".to_string();
            self.error(word, "bad-netmask", text, Some(hint));
            return None;
        }
        self.no_netmask(word, addr)
    }

    fn no_netmask(&mut self, word: Word<'l>, addr: Ipv4Addr) -> Option<u8> {
        let text = format!("no netmask after {addr}");
        let hint = format!("write 'inet {addr} 255.255.255.0' or 'inet {addr}/24'");
        self.error(word, "missing-netmask", text, Some(hint));
        None
    }

    /// OpenBSD takes 64 if nothing is said.
    fn prefix_length(&mut self) -> Option<u8> {
        self.take("prefixlen");
        match self.peek() {
            Some(word) if word.text.starts_with(|c: char| c.is_ascii_digit()) => {
                self.at += 1;
                self.length(word, 128)
            }
            _ => Some(64),
        }
    }

    fn broadcast(&mut self) -> Option<Option<(Ipv4Addr, Word<'l>)>> {
        let named = self.take("broadcast");
        let Some(word) = self.peek() else {
            return if named {
                self.argument("broadcast").map(|_| None)
            } else {
                Some(None)
            };
        };
        if word.text == "NONE" {
            self.at += 1;
            return Some(None);
        }
        match word.text.parse::<Ipv4Addr>() {
            Ok(addr) => {
                self.at += 1;
                Some(Some((addr, word)))
            }
            Err(_) if named || word.text.starts_with(|c: char| c.is_ascii_digit()) => {
                let text = format!("'{}' is not a broadcast address", printable(word.text));
                self.error(word, "bad-address", text, None);
                None
            }
            Err(_) => Some(None),
        }
    }

    fn broadcast_fits(
        &mut self,
        addr: Ipv4Addr,
        prefix_len: u8,
        broadcast: Option<(Ipv4Addr, Word<'l>)>,
    ) {
        let Some((given, word)) = broadcast else {
            return;
        };
        let last = prefix::last4(addr, prefix_len);
        if given != last {
            let text = format!("the broadcast address of {addr}/{prefix_len} is {last}");
            self.line
                .warning(self.reporter, word, "odd-broadcast", text);
        }
    }

    /// The first and the last address of a network are not for hosts (but see RFC 3021 for /31).
    fn edge_of_network(&mut self, word: Word<'l>, addr: Ipv4Addr, prefix_len: u8) {
        if prefix_len >= 31 {
            return;
        }
        let what = if prefix::network(addr.into(), prefix_len) == IpAddr::V4(addr) {
            "network's own"
        } else if prefix::last4(addr, prefix_len) == addr {
            "broadcast"
        } else {
            return;
        };
        let text = format!("{addr} is the {what} address of its /{prefix_len}");
        self.line.warning(self.reporter, word, "odd-address", text);
    }

    fn add(
        &mut self,
        word: Word<'l>,
        addr: IpAddr,
        prefix_len: u8,
        broadcast: Option<Ipv4Addr>,
        alias: bool,
    ) -> Option<()> {
        if self.interface.addresses.iter().any(|a| a.addr == addr) {
            let text = format!("{addr} is in this file twice");
            self.error(word, "duplicate-address", text, None);
        } else {
            self.interface.addresses.push(InterfaceAddress {
                addr,
                prefix_len,
                broadcast,
                dest: None,
                alias,
                origin: self.line.origin(),
            });
        }
        Some(())
    }
}

/// `ADDR/n` in its two halves.
fn cut(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((addr, bits)) => (addr, Some(bits)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn station_addresses_are_told_from_names() {
        assert_eq!(
            lladdr("00:11:22:aa:BB:ff"),
            Some([0, 0x11, 0x22, 0xaa, 0xbb, 0xff])
        );
        assert_eq!(lladdr("0:1:2:3:4:5"), Some([0, 1, 2, 3, 4, 5]));
        for text in [
            "em0",
            "00:11:22:33:44",
            "00:11:22:33:44:55:66",
            "00:11:22:33:44:+5",
            "::::::",
        ] {
            assert_eq!(lladdr(text), None, "{text}");
        }
    }
}
