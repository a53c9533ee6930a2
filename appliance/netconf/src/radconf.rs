//! `rad.conf`: on which links the box tells hosts that it is their router. Grammar of rad.conf(5).
//!
//! Settings before the first `interface` are for all interfaces below; a block has its own. Read first: RFC 4861 section 4.2,
//! RFC 8106 (name servers), RFC 8781 (nat64).

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

use crate::feature::Feature;
use crate::source::{Line, Reporter, Source, Word, printable};
use crate::{AdvertPrefix, Named, RouterAdvert, names_of, near, prefix, small, source};

/// Blocks, and entries of one list.
const ENTRIES_MAX: usize = 64;

/// Router lifetime in seconds; more than RFC 4861 section 6.2.1 allows is refused.
const ROUTER_LIFETIME: RangeInclusive<u32> = 0..=9000;

/// First words of settings, for hints.
const WORDS: [&str; 15] = [
    "interface",
    "default",
    "hop",
    "managed",
    "other",
    "router",
    "reachable",
    "retrans",
    "source",
    "mtu",
    "dns",
    "nat64",
    "no",
    "auto",
    "prefix",
];

/// Reads the file.
pub(crate) fn read(source: &Source<'_>, adverts: &mut Vec<RouterAdvert>, reporter: &mut Reporter) {
    let lines = source.lines(reporter);
    let mut rad = Rad {
        tokens: tokens(&lines),
        lines: &lines,
        at: 0,
        reporter,
    };
    let mut defaults = RouterAdvert::new(Named::default());
    while let Some(token) = rad.peek() {
        if rad.phrase(&["interface"]) {
            if let Some(advert) = rad.interface(&defaults)
                && adverts.len() < ENTRIES_MAX
            {
                adverts.push(advert);
            }
        } else if rad.setting(&mut defaults).is_none() {
            rad.skip(token);
        }
    }
}

/// A word and the position of its line.
#[derive(Clone, Copy)]
struct Token<'a> {
    line: usize,
    word: Word<'a>,
}

/// Braces are words of their own wherever they stand; commas part words.
fn tokens<'a>(lines: &[Line<'a>]) -> Vec<Token<'a>> {
    let mut tokens = Vec::new();
    for (line, of) in lines.iter().enumerate() {
        for word in &of.words {
            let mut start = 0;
            for (at, c) in word.text.char_indices() {
                if matches!(c, '{' | '}' | ',') {
                    if start < at {
                        let word = word.part(start, at);
                        tokens.push(Token { line, word });
                    }
                    if c != ',' {
                        let word = word.part(at, at + 1);
                        tokens.push(Token { line, word });
                    }
                    start = at + 1;
                }
            }
            if start < word.text.len() {
                let word = word.part(start, word.text.len());
                tokens.push(Token { line, word });
            }
        }
    }
    tokens
}

struct Rad<'a, 'r> {
    tokens: Vec<Token<'a>>,
    lines: &'a [Line<'a>],
    at: usize,
    reporter: &'r mut Reporter,
}

impl<'a> Rad<'a, '_> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    /// Takes the words if all of them come next.
    fn phrase(&mut self, words: &[&str]) -> bool {
        let next = self.tokens.iter().skip(self.at).take(words.len());
        let same = next.map(|token| token.word.text).eq(words.iter().copied());
        self.at += if same { words.len() } else { 0 };
        same
    }

    /// The next word, or a message that something is missing.
    fn word(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        if token.is_none()
            && let Some(line) = self.lines.last()
        {
            let text = "the file ends where something is missing";
            line.error(self.reporter, line.end(), "missing-word", text);
        }
        token
    }

    fn error(&mut self, token: Token<'_>, code: &'static str, text: String, hint: Option<String>) {
        if let Some(line) = self.lines.get(token.line) {
            line.error(self.reporter, token.word, code, text).hint = hint;
        }
    }

    /// Leaves the rest of the line where something was wrong; at least one word.
    fn skip(&mut self, from: Token<'_>) {
        self.at += 1;
        while self.peek().is_some_and(|token| token.line == from.line) {
            self.at += 1;
        }
    }

    /// What stands in braces, if a brace comes next: `one` reads one entry.
    fn block(&mut self, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if !self.phrase(&["{"]) {
            return Some(());
        }
        loop {
            if self.phrase(&["}"]) {
                return Some(());
            }
            let Some(token) = self.peek() else {
                self.word();
                return None;
            };
            if one(self).is_none() {
                self.skip(token);
            }
        }
    }

    fn interface(&mut self, defaults: &RouterAdvert) -> Option<RouterAdvert> {
        let token = self.word()?;
        let line = &self.lines[token.line];
        line.needs(self.reporter, token.word, Feature::RouterAdvertisements);
        if !names_of::is_interface(token.word.text) {
            let name = printable(token.word.text);
            let text = format!("'{name}' is not the name of an interface");
            self.error(token, "bad-name", text, None);
            return None;
        }
        let mut advert = RouterAdvert {
            interface: Named {
                name: token.word.text.to_string(),
                origin: line.origin_of(token.word),
            },
            ..defaults.clone()
        };
        self.block(|rad| rad.setting(&mut advert))?;
        Some(advert)
    }

    /// `None` if it was wrong.
    fn setting(&mut self, to: &mut RouterAdvert) -> Option<()> {
        if self.phrase(&["default", "router"]) {
            to.default_router = self.yes()?;
        } else if self.phrase(&["hop", "limit"]) {
            to.hop_limit = self.number(0..=255)? as u8;
        } else if self.phrase(&["managed", "address", "configuration"]) {
            to.managed = self.yes()?;
        } else if self.phrase(&["other", "configuration"]) {
            to.other = self.yes()?;
        } else if self.phrase(&["router", "lifetime"]) {
            to.router_lifetime = self.number(ROUTER_LIFETIME)? as u16;
        } else if self.phrase(&["reachable", "time"]) {
            to.reachable_ms = self.number(0..=3_600_000)?;
        } else if self.phrase(&["retrans", "timer"]) {
            to.retrans_ms = self.number(0..=u32::MAX)?;
        } else if self.phrase(&["source", "link-layer", "address"]) {
            to.source_station = self.yes()?;
        } else if self.phrase(&["mtu"]) {
            to.mtu = Some(self.number(1280..=65_535)?);
        } else if self.phrase(&["dns"]) {
            self.block(|rad| rad.dns(to))?;
        } else if self.phrase(&["nat64", "prefix"]) {
            self.nat64(to)?;
        } else {
            return self.prefixes(to);
        }
        Some(())
    }

    fn prefixes(&mut self, to: &mut RouterAdvert) -> Option<()> {
        if self.phrase(&["no", "auto", "prefix"]) {
            to.auto_prefix = None;
        } else if self.phrase(&["auto", "prefix"]) {
            let mut auto = AdvertPrefix::new(Ipv6Addr::UNSPECIFIED, 64);
            self.block(|rad| rad.prefix_setting(&mut auto))?;
            to.auto_prefix = Some(auto);
        } else if self.phrase(&["prefix"]) {
            let (addr, bits) = self.prefix()?;
            let mut one = AdvertPrefix::new(addr, bits);
            self.block(|rad| rad.prefix_setting(&mut one))?;
            if to.prefixes.len() < ENTRIES_MAX {
                to.prefixes.push(one);
            }
        } else {
            let token = self.peek()?;
            let word = printable(token.word.text);
            let hint = near::hint(&word, WORDS);
            self.error(
                token,
                "unknown-word",
                format!("unknown word '{word}'"),
                hint,
            );
            return None;
        }
        Some(())
    }

    fn prefix_setting(&mut self, to: &mut AdvertPrefix) -> Option<()> {
        if self.phrase(&["autonomous", "address-configuration"]) {
            to.autonomous = self.yes()?;
        } else if self.phrase(&["on-link"]) {
            to.on_link = self.yes()?;
        } else if self.phrase(&["preferred", "lifetime"]) {
            to.preferred = self.number(0..=u32::MAX)?;
        } else if self.phrase(&["valid", "lifetime"]) {
            to.valid = self.number(0..=u32::MAX)?;
        } else {
            return self.unknown(&["autonomous", "on-link", "preferred", "valid"]);
        }
        Some(())
    }

    fn dns(&mut self, to: &mut RouterAdvert) -> Option<()> {
        if self.phrase(&["lifetime"]) {
            to.dns_lifetime = self.number(0..=u32::MAX)?;
        } else if self.phrase(&["nameserver"]) {
            let mut found = Vec::new();
            self.list(|rad| {
                found.push(rad.address()?);
                Some(())
            })?;
            to.dns_servers.extend(found);
            to.dns_servers.truncate(ENTRIES_MAX);
        } else if self.phrase(&["search"]) {
            let mut found = Vec::new();
            self.list(|rad| {
                found.push(rad.domain()?);
                Some(())
            })?;
            to.dns_search.extend(found);
            to.dns_search.truncate(ENTRIES_MAX);
        } else {
            return self.unknown(&["lifetime", "nameserver", "search"]);
        }
        Some(())
    }

    /// One, or several in braces.
    fn list(&mut self, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if self.peek().is_some_and(|token| token.word.text == "{") {
            self.block(one)
        } else {
            one(self)
        }
    }

    fn nat64(&mut self, to: &mut RouterAdvert) -> Option<()> {
        let (addr, bits) = self.prefix()?;
        let mut lifetime = to.router_lifetime;
        self.block(|rad| {
            if rad.phrase(&["lifetime"]) {
                lifetime = rad.number(0..=65_528)? as u16;
                return Some(());
            }
            rad.unknown(&["lifetime"])
        })?;
        if to.nat64.len() < ENTRIES_MAX {
            to.nat64.push((addr, bits, lifetime));
        }
        Some(())
    }

    fn unknown(&mut self, known: &[&'static str]) -> Option<()> {
        let token = self.peek()?;
        let word = printable(token.word.text);
        let hint = near::hint(&word, known.iter().copied());
        let hint = hint.or_else(|| Some(format!("known: {}", known.join(" "))));
        self.error(
            token,
            "unknown-word",
            format!("unknown word '{word}'"),
            hint,
        );
        None
    }

    fn yes(&mut self) -> Option<bool> {
        let token = self.word()?;
        match token.word.text {
            "yes" => Some(true),
            "no" => Some(false),
            other => {
                let text = format!("'{}' is not yes or no", printable(other));
                self.error(token, "bad-word", text, None);
                None
            }
        }
    }

    fn number(&mut self, range: RangeInclusive<u32>) -> Option<u32> {
        let token = self.word()?;
        let found = source::number(token.word.text).filter(|n| range.contains(n));
        if found.is_none() {
            let (word, low, high) = (printable(token.word.text), range.start(), range.end());
            let text = format!("'{word}' is not a number from {low} to {high}");
            self.error(token, "bad-number", text, None);
        }
        found
    }

    fn address(&mut self) -> Option<Ipv6Addr> {
        let token = self.word()?;
        let found = token.word.text.parse().ok();
        if found.is_none() {
            let text = format!("'{}' is not an IPv6 address", printable(token.word.text));
            self.error(token, "bad-address", text, None);
        }
        found
    }

    fn domain(&mut self) -> Option<String> {
        let token = self.word()?;
        if small::is_host_name(token.word.text) {
            return Some(token.word.text.to_string());
        }
        let text = format!("'{}' cannot be a domain", printable(token.word.text));
        self.error(token, "bad-name", text, None);
        None
    }

    /// `2001:db8::/64`; host bits are cut off.
    fn prefix(&mut self) -> Option<(Ipv6Addr, u8)> {
        let token = self.word()?;
        let cut = token.word.text.split_once('/');
        let found = cut.and_then(|(addr, bits)| {
            let addr: Ipv6Addr = addr.parse().ok()?;
            Some((addr, prefix::length(bits, 128)?))
        });
        let Some((addr, bits)) = found else {
            let text = format!("'{}' is not a prefix", printable(token.word.text));
            self.error(
                token,
                "bad-address",
                text,
                Some("2001:db8:1::/64".to_string()),
            );
            return None;
        };
        match prefix::network(addr.into(), bits) {
            std::net::IpAddr::V6(network) => Some((network, bits)),
            std::net::IpAddr::V4(_) => None,
        }
    }
}
