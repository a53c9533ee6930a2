//! A line in the language of ifconfig(8) while it is read: its words one after the other, and what is said about them.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use crate::feature::Feature;
use crate::source::{Line, Reporter, Word, printable};
use crate::{InterfaceConfig, Named, names_of};

/// Routing domains and tables are numbered from 0 (rdomain(4)).
pub(crate) const DOMAINS: RangeInclusive<u32> = 0..=255;

/// What a word of a kind gives: `None` if it is none of that kind, else whether the line can be read on.
pub(crate) type Special = Option<Option<()>>;

/// A line while it is read.
pub(crate) struct Reading<'l, 'r> {
    pub(crate) line: &'l Line<'l>,
    pub(crate) at: usize,
    pub(crate) interface: &'l mut InterfaceConfig,
    pub(crate) reporter: &'r mut Reporter,
}

impl<'l> Reading<'l, '_> {
    pub(crate) fn peek(&self) -> Option<Word<'l>> {
        self.line.words.get(self.at).copied()
    }

    pub(crate) fn next(&mut self) -> Option<Word<'l>> {
        let word = self.peek();
        self.at += usize::from(word.is_some());
        word
    }

    pub(crate) fn take(&mut self, text: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.text == text);
        self.at += usize::from(found);
        found
    }

    /// The argument of `what`, or a message that it is missing.
    pub(crate) fn argument(&mut self, what: &str) -> Option<Word<'l>> {
        if let Some(word) = self.next() {
            return Some(word);
        }
        let text = format!("'{what}' needs something after it");
        self.line
            .error(self.reporter, self.line.end(), "missing-word", text);
        None
    }

    pub(crate) fn error(
        &mut self,
        word: Word<'_>,
        code: &'static str,
        text: String,
        hint: Option<String>,
    ) {
        self.line.error(self.reporter, word, code, text).hint = hint;
    }

    pub(crate) fn notice(&mut self, word: Word<'_>, text: String) {
        self.line.notice(self.reporter, word, "no-effect", text);
    }

    pub(crate) fn needs(&mut self, word: Word<'_>, feature: Feature) {
        self.line.needs(self.reporter, word, feature);
    }

    /// The number after `what`, given to `set` if it is one in the range. What follows a wrong number is still read.
    pub(crate) fn number(
        &mut self,
        what: &str,
        range: RangeInclusive<u32>,
        set: impl FnOnce(&mut InterfaceConfig, u32),
    ) -> Option<()> {
        let word = self.argument(what)?;
        match crate::source::number(word.text).filter(|n| range.contains(n)) {
            Some(n) => set(self.interface, n),
            None => self.not_a_number(word, &range),
        }
        Some(())
    }

    pub(crate) fn not_a_number(&mut self, word: Word<'_>, range: &RangeInclusive<u32>) {
        let (low, high) = (range.start(), range.end());
        let text = format!(
            "'{}' is not a number from {low} to {high}",
            printable(word.text)
        );
        self.error(word, "bad-number", text, None);
    }

    /// The name of another interface after `what`.
    pub(crate) fn named(&mut self, what: &str) -> Option<Named> {
        let word = self.argument(what)?;
        if !names_of::is_interface(word.text) {
            let text = format!("'{}' is not the name of an interface", printable(word.text));
            self.error(word, "bad-name", text, None);
            return None;
        }
        Some(Named {
            name: word.text.to_string(),
            origin: self.line.origin_of(word),
        })
    }

    /// The station address after `what`.
    pub(crate) fn station(&mut self, what: &str) -> Option<[u8; 6]> {
        let word = self.argument(what)?;
        let found = names_of::station(word.text);
        if found.is_none() {
            let text = format!("'{}' is not a station address", printable(word.text));
            let hint = Some("written 00:11:22:33:44:55".to_string());
            self.error(word, "bad-address", text, hint);
        }
        found
    }

    /// The address after `what`.
    pub(crate) fn ip(&mut self, what: &str) -> Option<(IpAddr, Word<'l>)> {
        let word = self.argument(what)?;
        match word.text.parse() {
            Ok(addr) => Some((addr, word)),
            Err(_) => {
                let text = format!("'{}' is not an address", printable(word.text));
                self.error(word, "bad-address", text, None);
                None
            }
        }
    }

    /// The IPv4 address after `what`.
    pub(crate) fn ip4(&mut self, what: &str) -> Option<Ipv4Addr> {
        match self.ip(what)? {
            (IpAddr::V4(addr), _) => Some(addr),
            (IpAddr::V6(_), word) => {
                let text = format!("'{}' is not an IPv4 address", printable(word.text));
                self.error(word, "bad-address", text, None);
                None
            }
        }
    }
}
