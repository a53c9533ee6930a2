//! Names of services and IP protocols, as services(5) and protocols(5) have them. A built-in table with OpenBSD's names, and
//! the bundle's own files in front of it: the appliance has no other source, and other systems disagree about `www`.

use std::collections::BTreeMap;

use crate::near;
use crate::source::{Line, Reporter, Source, Word, printable};

const SERVICES: &str = include_str!("../data/services");
const PROTOCOLS: &str = include_str!("../data/protocols");

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Transports that services(5) may name, with their IP protocol numbers.
const TRANSPORTS: [(&str, u8); 4] = [("tcp", TCP), ("udp", UDP), ("dccp", 33), ("sctp", 132)];

/// Names of ports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Services {
    by_name: BTreeMap<(String, u8), u16>,
    by_port: BTreeMap<(u16, u8), String>,
}

impl Services {
    /// OpenBSD's names.
    pub fn built_in() -> Self {
        let mut services = Services::default();
        let source = Source::built_in("services", SERVICES);
        services.read(&source, &mut Reporter::default());
        services
    }

    /// The port of a name for one transport, given as IP protocol number (6 is TCP, 17 UDP).
    pub fn port_for(&self, name: &str, transport: u8) -> Option<u16> {
        self.by_name.get(&(name.to_string(), transport)).copied()
    }

    /// The port of a name as pfctl looks it up: TCP first, then UDP.
    pub fn port(&self, name: &str) -> Option<u16> {
        self.port_for(name, TCP)
            .or_else(|| self.port_for(name, UDP))
    }

    /// The name of a port, for printing.
    pub fn name(&self, port: u16, transport: u8) -> Option<&str> {
        self.by_port.get(&(port, transport)).map(String::as_str)
    }

    /// All names, for hints.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|(name, _)| name.as_str())
    }

    /// All of it: name, transport (IP protocol number), port. Names that are printed come before their aliases.
    pub fn entries(&self) -> impl Iterator<Item = (&str, u8, u16)> {
        let official = self
            .by_port
            .iter()
            .map(|((port, transport), name)| (name.as_str(), *transport, *port));
        let all = self
            .by_name
            .iter()
            .map(|((name, transport), port)| (name.as_str(), *transport, *port));
        let alias =
            |(name, transport, port): &(&str, u8, u16)| self.name(*port, *transport) != Some(*name);
        official
            .filter(|(name, transport, port)| self.port_for(name, *transport) == Some(*port))
            .chain(all.filter(alias))
    }

    /// Lines `NAME PORT/TRANSPORT [ALIAS ...]`; they replace what was there.
    pub(crate) fn read(&mut self, source: &Source<'_>, reporter: &mut Reporter) {
        for line in source.lines(reporter) {
            let Some((port, transport)) = port_and_transport(&line, reporter) else {
                continue;
            };
            let name = line.words[0].text;
            self.by_port.insert((port, transport), name.to_string());
            let aliases = line.words[2..].iter().map(|word| word.text);
            for name in aliases.chain([name]) {
                self.by_name.insert((name.to_string(), transport), port);
            }
        }
    }
}

fn port_and_transport(line: &Line<'_>, reporter: &mut Reporter) -> Option<(u16, u8)> {
    let word = second(line, "PORT/TRANSPORT, like 80/tcp", reporter)?;
    let Some((port, transport)) = word.text.split_once('/') else {
        let text = format!("'{}' is not a port and a transport", printable(word.text));
        line.error(reporter, word, "bad-service", text).hint =
            Some(format!("write {}/tcp or /udp", printable(word.text)));
        return None;
    };
    let Some(number) = decimal(port).filter(|n| *n != 0) else {
        let text = format!("'{}' is not a port from 1 to 65535", printable(port));
        line.error(reporter, word.part(0, port.len()), "bad-port", text);
        return None;
    };
    let known = TRANSPORTS.iter().find(|(name, _)| *name == transport);
    if known.is_none() {
        let text = format!("unknown transport '{}'", printable(transport));
        let place = word.part(port.len() + 1, word.text.len());
        line.error(reporter, place, "unknown-transport", text).hint =
            near::hint(transport, TRANSPORTS.map(|(name, _)| name));
    }
    known.map(|(_, protocol)| (number, *protocol))
}

/// Names of IP protocols.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Protocols {
    by_name: BTreeMap<String, u8>,
    by_number: BTreeMap<u8, String>,
}

impl Protocols {
    /// OpenBSD's names.
    pub fn built_in() -> Self {
        let mut protocols = Protocols::default();
        let source = Source::built_in("protocols", PROTOCOLS);
        protocols.read(&source, &mut Reporter::default());
        protocols
    }

    /// The number of a protocol.
    pub fn number(&self, name: &str) -> Option<u8> {
        self.by_name.get(name).copied()
    }

    /// The name of a protocol, for printing.
    pub fn name(&self, number: u8) -> Option<&str> {
        self.by_number.get(&number).map(String::as_str)
    }

    /// All names, for hints.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// All of it: name and number. Names that are printed come before their aliases.
    pub fn entries(&self) -> impl Iterator<Item = (&str, u8)> {
        let official = self.by_number.iter().map(|(n, name)| (name.as_str(), *n));
        let all = self.by_name.iter().map(|(name, n)| (name.as_str(), *n));
        official
            .filter(|(name, n)| self.number(name) == Some(*n))
            .chain(all.filter(|(name, n)| self.name(*n) != Some(*name)))
    }

    /// Lines `NAME NUMBER [ALIAS ...]`; they replace what was there.
    pub(crate) fn read(&mut self, source: &Source<'_>, reporter: &mut Reporter) {
        for line in source.lines(reporter) {
            let Some(word) = second(&line, "NUMBER", reporter) else {
                continue;
            };
            let Some(number) = decimal(word.text).and_then(|n| u8::try_from(n).ok()) else {
                let text = format!("'{}' is not a number from 0 to 255", printable(word.text));
                line.error(reporter, word, "bad-protocol", text);
                continue;
            };
            let name = line.words[0].text;
            self.by_number.insert(number, name.to_string());
            let aliases = line.words[2..].iter().map(|word| word.text);
            for name in aliases.chain([name]) {
                self.by_name.insert(name.to_string(), number);
            }
        }
    }
}

fn second<'a>(line: &Line<'a>, what: &str, reporter: &mut Reporter) -> Option<Word<'a>> {
    let word = line.words.get(1).copied();
    if word.is_none() {
        let text = format!("the name must be followed by {what}");
        line.error(reporter, line.end(), "missing-word", text);
    }
    word
}

fn decimal(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_tables_are_read_without_a_complaint() {
        let mut reporter = Reporter::default();
        Services::default().read(&Source::built_in("services", SERVICES), &mut reporter);
        Protocols::default().read(&Source::built_in("protocols", PROTOCOLS), &mut reporter);
        assert_eq!(reporter.into_diagnostics(), []);
    }

    #[test]
    fn no_name_of_the_built_in_tables_is_there_twice() {
        for (file, text) in [("services", SERVICES), ("protocols", PROTOCOLS)] {
            let mut seen = std::collections::BTreeSet::new();
            for line in Source::built_in(file, text).lines(&mut Reporter::default()) {
                let transport = line.words[1].text.split_once('/').map_or("", |(_, t)| t);
                for (at, word) in line.words.iter().enumerate() {
                    if at != 1 {
                        assert!(seen.insert((word.text, transport)), "{}", word.text);
                    }
                }
            }
        }
    }

    #[test]
    fn entries_are_complete_and_printed_names_come_first() {
        let services = Services::built_in();
        let all: Vec<_> = services.entries().collect();
        assert_eq!(all.len(), services.by_name.len());
        let at = |entry| all.iter().position(|e| *e == entry).unwrap();
        assert!(at(("www", TCP, 80)) < at(("http", TCP, 80)));
        assert!(
            all.iter()
                .all(|(n, t, p)| services.port_for(n, *t) == Some(*p))
        );
        let mut protocols = Protocols::built_in();
        let text = "mine 1\nicmp 254\n";
        protocols.read(
            &Source::built_in("protocols", text),
            &mut Reporter::default(),
        );
        let all: Vec<_> = protocols.entries().collect();
        assert_eq!(all.len(), protocols.by_name.len());
        assert!(all.iter().all(|(n, p)| protocols.number(n) == Some(*p)));
        assert_eq!(all.iter().find(|(_, p)| *p == 1), Some(&("mine", 1)));
    }

    #[test]
    fn names_are_those_an_openbsd_administrator_expects() {
        let services = Services::built_in();
        for (name, port) in [
            ("www", 80),
            ("http", 80),
            ("https", 443),
            ("ssh", 22),
            ("domain", 53),
            ("smtp", 25),
            ("submission", 587),
            ("imaps", 993),
            ("spamd", 8025),
            ("spamd-cfg", 8026),
            ("ntp", 123),
            ("isakmp", 500),
            ("ipsec-nat-t", 4500),
            ("route", 520),
            ("bootps", 67),
            ("ircd", 6667),
            ("auth", 113),
        ] {
            assert_eq!(services.port(name), Some(port), "{name}");
        }
        assert_eq!(services.port_for("spamd-sync", UDP), Some(8025));
        assert_eq!(services.port_for("syslog", TCP), None);
        assert_eq!(services.name(80, TCP), Some("www"));
        assert_eq!(services.name(514, UDP), Some("syslog"));
        assert_eq!(services.name(514, TCP), Some("shell"));
        let protocols = Protocols::built_in();
        for (name, number) in [
            ("icmp", 1),
            ("igmp", 2),
            ("ipencap", 4),
            ("tcp", 6),
            ("udp", 17),
            ("ipv6", 41),
            ("gre", 47),
            ("esp", 50),
            ("ah", 51),
            ("ipv6-icmp", 58),
            ("icmp6", 58),
            ("ospf", 89),
            ("pim", 103),
            ("carp", 112),
            ("sctp", 132),
            ("pfsync", 240),
        ] {
            assert_eq!(protocols.number(name), Some(number), "{name}");
        }
        assert_eq!(protocols.name(58), Some("ipv6-icmp"));
        assert_eq!(protocols.name(166), None);
    }
}
