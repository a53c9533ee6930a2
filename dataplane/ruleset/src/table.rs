//! Tables: sets of prefixes with negation, matched by longest prefix (pf.conf(5), TABLES).
//!
//! The contents are immutable and shared by all generations that have them. What rules add and take out while they
//! run lies in an overlay that all cores read without a lock ([`sync::Overlay`]); the control core makes new contents
//! of both now and then.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bitflags::bitflags;
use net::trie::{self, Item, Trie};
use sync::{Overlay, OverlayEdit, OverlayKey};

use crate::facts::Af;

/// Number of a table in its ruleset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TableId(pub u16);

/// One element of a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableEntry {
    /// Family.
    pub af: Af,
    /// Bits that count.
    pub prefix_len: u8,
    /// Address, host order, IPv4 in the low 32 bits; bits beyond the prefix are zero.
    pub addr: u128,
    /// With `!`: an address whose longest prefix is this one is not in the table.
    pub negate: bool,
}

impl TableEntry {
    /// An element; clears the bits beyond the prefix.
    pub fn new(af: Af, addr: u128, prefix_len: u8, negate: bool) -> Self {
        let prefix_len = prefix_len.min(af.bits());
        TableEntry {
            af,
            prefix_len,
            addr: addr & prefix_mask(af, prefix_len),
            negate,
        }
    }
}

/// Mask of a prefix length, in the low bits of the family's width.
pub fn prefix_mask(af: Af, prefix_len: u8) -> u128 {
    let (bits, all) = match af {
        Af::Inet => (32, u128::from(u32::MAX)),
        Af::Inet6 => (128, u128::MAX),
    };
    match bits - u32::from(prefix_len).min(bits) {
        128 => 0,
        host => (all >> host) << host,
    }
}

/// Where a table's edits and counters live. The same table keeps its slot from one generation to the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableSlot(pub u16);

impl TableSlot {
    /// A table that nothing edits or counts.
    pub const NONE: TableSlot = TableSlot(u16::MAX);
}

bitflags! {
    /// What else a table is.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct TableFlags: u8 {
        /// `const`: only a load of the rules changes it.
        const CONST = 1;
        /// `persist`: stays without a rule that names it.
        const PERSIST = 2;
        /// `counters`: counts for each address.
        const COUNTERS = 4;
        /// Keeps its contents over a load: neither a list nor a file was given.
        const KEEPS = 8;
        /// Stands for `(interface)` in a rule: nobody has written it, nothing edits or counts it.
        const INTERNAL = 16;
    }
}

/// Elements, and how to find the one that covers an address.
#[derive(Debug, Default)]
struct Contents {
    entries: Vec<TableEntry>,
    /// One group per family and prefix length in use, longest first: (family, length, range of `entries`).
    groups: Vec<(Af, u8, core::ops::Range<u32>)>,
    /// Values are places in `entries`, and [`NEGATED`].
    v4: Trie,
    /// Likewise.
    v6: Trie,
}

/// In the value of a trie: the element carries `!`. Who asks no more than whether an address is in the table need not
/// look at the element, which is one wait for memory less.
const NEGATED: u32 = 1 << 31;

/// Contents from so many elements on are not expected to be in the cache.
pub(crate) const LARGE: usize = 1 << 14;

/// A named set of prefixes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Table {
    /// Name without the angle brackets; `name@anchor` in an anchor.
    pub name: String,
    /// Where its edits and counters live.
    pub slot: TableSlot,
    /// What else it is.
    pub flags: TableFlags,
    contents: Arc<Contents>,
    edits: Option<Arc<Overlay>>,
}

impl Default for Table {
    fn default() -> Self {
        Table::new("", [])
    }
}

impl Table {
    /// Builds a table. Of equal prefixes the first one given counts, as in PF.
    pub fn new(name: &str, elements: impl IntoIterator<Item = TableEntry>) -> Self {
        Table {
            name: name.into(),
            slot: TableSlot::NONE,
            flags: TableFlags::empty(),
            contents: Arc::new(Contents::new(elements.into_iter().collect())),
            edits: None,
        }
    }

    /// The same table with the contents of another.
    #[must_use]
    pub fn with_contents_of(self, other: &Table) -> Self {
        Table {
            contents: other.contents.clone(),
            ..self
        }
    }

    /// True if both have the very same contents, not only equal ones.
    pub fn has_contents_of(&self, other: &Table) -> bool {
        Arc::ptr_eq(&self.contents, &other.contents)
    }

    /// The same table with other elements.
    #[must_use]
    pub fn with_elements(self, elements: impl IntoIterator<Item = TableEntry>) -> Self {
        Table {
            contents: Arc::new(Contents::new(elements.into_iter().collect())),
            ..self
        }
    }

    /// Gives it its place among the counters of all tables, and, unless it is `const`, among the edits.
    pub fn attach(&mut self, slot: TableSlot, edits: Arc<Overlay>) {
        self.slot = slot;
        self.edits = Some(edits).filter(|_| !self.flags.contains(TableFlags::CONST));
    }

    /// Elements, longest prefixes first; without edits.
    pub fn entries(&self) -> &[TableEntry] {
        &self.contents.entries
    }

    /// The element with the longest prefix that covers `addr`; without edits.
    #[inline]
    pub fn find(&self, af: Af, addr: u128) -> Option<&TableEntry> {
        let value = self.contents.value(af, addr)?;
        self.contents.entries.get((value & !NEGATED) as usize)
    }

    /// True if looking up an address in it is likely to wait for memory.
    pub fn is_large(&self) -> bool {
        self.contents.entries.len() >= LARGE
    }

    /// Which of these IPv4 addresses are in the table: bit n says it of the one with number n. Of at most 64, more are not
    /// looked up.
    #[inline]
    pub fn members4(&self, addrs: impl Iterator<Item = (u8, u32)>) -> u64 {
        self.members(&self.contents.v4, Af::Inet, addrs)
    }

    /// The same of IPv6 addresses.
    #[inline]
    pub fn members6(&self, addrs: impl Iterator<Item = (u8, u128)>) -> u64 {
        self.members(&self.contents.v6, Af::Inet6, addrs)
    }

    #[inline]
    fn members<K: trie::Key + Into<u128>>(
        &self,
        contents: &Trie,
        af: Af,
        addrs: impl Iterator<Item = (u8, K)>,
    ) -> u64 {
        let mut members = 0;
        if self.is_edited() {
            for (n, addr) in addrs.take(trie::TOGETHER_MAX) {
                members |= u64::from(self.contains(af, addr.into())) << n;
            }
        } else {
            contents.lookup_together(addrs, |n, value| {
                members |= u64::from(value.is_some_and(|value| value & NEGATED == 0)) << n;
            });
        }
        members
    }

    #[inline]
    fn is_edited(&self) -> bool {
        let edits = self.edits.as_ref();
        edits.is_some_and(|edits| edits.concerns(self.slot.0))
    }

    /// Asks the cache for what looking up these addresses will read.
    pub fn warm4(&self, addrs: &[u32]) {
        self.contents.v4.warm(addrs);
    }

    /// The same for IPv6.
    pub fn warm6(&self, addrs: &[u128]) {
        self.contents.v6.warm(addrs);
    }

    /// True if `addr` is in the table: its longest prefix is there and carries no `!`.
    #[inline]
    pub fn contains(&self, af: Af, addr: u128) -> bool {
        if !self.is_edited() {
            let value = self.contents.value(af, addr);
            return value.is_some_and(|value| value & NEGATED == 0);
        }
        self.covering(af, addr).is_some_and(|e| !e.negate)
    }

    /// The element with the longest prefix that covers `addr`, edits included.
    #[inline]
    pub fn covering(&self, af: Af, addr: u128) -> Option<TableEntry> {
        let found = self.find(af, addr).copied();
        match &self.edits {
            None => found,
            Some(edits) => self.edited(edits, af, addr, found),
        }
    }

    /// The longest of what the contents and the edits say; what was taken out makes room for the next shorter one.
    #[inline]
    fn edited(
        &self,
        edits: &Overlay,
        af: Af,
        addr: u128,
        mut found: Option<TableEntry>,
    ) -> Option<TableEntry> {
        let mask = |len| prefix_mask(af, len);
        let mut below = u8::MAX;
        while let Some((len, present)) = edits.find(self.slot.0, af == Af::Inet6, addr, below, mask)
        {
            if found.is_some_and(|e| e.prefix_len > len) {
                break;
            }
            if present {
                return Some(TableEntry::new(af, addr, len, false));
            }
            if found.is_some_and(|e| e.prefix_len == len) {
                found = self.contents.find_below(af, addr, len).copied();
            }
            below = len;
        }
        found
    }

    /// Adds a prefix, or takes one out, for all cores at once; at most `most` edits of all tables together.
    pub fn edit(&self, entry: &TableEntry, present: bool, now_s: u64, most: usize) -> OverlayEdit {
        let Some(edits) = &self.edits else {
            return OverlayEdit::Full;
        };
        let key = OverlayKey {
            table: self.slot.0,
            v6: entry.af == Af::Inet6,
            prefix_len: entry.prefix_len,
            addr: entry.addr,
        };
        let in_contents = self.contents.has(entry);
        if in_contents == present && edits.get(&key).is_none() {
            return OverlayEdit::Already;
        }
        edits.set_within(&key, present, now_s, most)
    }

    /// True if this very prefix is in the table, edits included, with `!` or without.
    pub fn has_prefix(&self, key: &OverlayKey) -> bool {
        let edited = self.edits.as_ref().and_then(|edits| edits.get(key));
        edited.unwrap_or_else(|| {
            let af = if key.v6 { Af::Inet6 } else { Af::Inet };
            self.contents
                .element(af, key.prefix_len, key.addr)
                .is_some()
        })
    }
}

impl Contents {
    fn new(mut entries: Vec<TableEntry>) -> Self {
        // Stable: of equal prefixes the first given stays first and survives `dedup`.
        entries.sort_by_key(|e| (e.af, core::cmp::Reverse(e.prefix_len), e.addr));
        entries.dedup_by_key(|e| (e.af, e.prefix_len, e.addr));
        entries.shrink_to_fit();
        let mut groups: Vec<(Af, u8, core::ops::Range<u32>)> = Vec::new();
        for (n, e) in entries.iter().enumerate() {
            let n = n as u32;
            match groups.last_mut() {
                Some((af, len, range)) if *af == e.af && *len == e.prefix_len => range.end = n + 1,
                _ => groups.push((e.af, e.prefix_len, n..n + 1)),
            }
        }
        let of = |af: Af| {
            let numbered = entries.iter().enumerate();
            numbered.filter(move |(_, e)| e.af == af)
        };
        let value = |n: usize, e: &TableEntry| n as u32 | if e.negate { NEGATED } else { 0 };
        let item4 = |(n, e): (usize, &TableEntry)| Item {
            key: e.addr as u32,
            len: e.prefix_len,
            value: value(n, e),
        };
        let item6 = |(n, e): (usize, &TableEntry)| Item {
            key: e.addr,
            len: e.prefix_len,
            value: value(n, e),
        };
        Contents {
            v4: Trie::build(of(Af::Inet).map(item4).collect()),
            v6: Trie::build(of(Af::Inet6).map(item6).collect()),
            groups,
            entries,
        }
    }

    #[inline]
    fn value(&self, af: Af, addr: u128) -> Option<u32> {
        match af {
            Af::Inet => self.v4.lookup(addr as u32),
            Af::Inet6 => self.v6.lookup(addr),
        }
    }

    /// The element with the longest prefix shorter than `below` that covers `addr`: one search per length in use.
    fn find_below(&self, af: Af, addr: u128, below: u8) -> Option<&TableEntry> {
        let mut groups = self.groups.iter().filter(|g| g.0 == af && g.1 < below);
        groups.find_map(|(_, len, range)| self.in_group(range, addr & prefix_mask(af, *len)))
    }

    fn in_group(&self, range: &core::ops::Range<u32>, addr: u128) -> Option<&TableEntry> {
        let group = &self.entries[range.start as usize..range.end as usize];
        let at = group.binary_search_by_key(&addr, |e| e.addr).ok()?;
        Some(&group[at])
    }

    /// True if this very prefix is there without `!`.
    fn has(&self, entry: &TableEntry) -> bool {
        let known = self.element(entry.af, entry.prefix_len, entry.addr);
        known.is_some_and(|e| !e.negate)
    }

    fn element(&self, af: Af, prefix_len: u8, addr: u128) -> Option<&TableEntry> {
        let mut groups = self.groups.iter();
        let group = groups.find(|g| g.0 == af && g.1 == prefix_len)?;
        self.in_group(&group.2, addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(a: u8, b: u8, c: u8, d: u8) -> u128 {
        u128::from(u32::from_be_bytes([a, b, c, d]))
    }

    #[test]
    fn the_longest_prefix_decides_and_negation_takes_out() {
        let t = Table::new(
            "t",
            [
                TableEntry::new(Af::Inet, v4(10, 0, 0, 0), 8, false),
                TableEntry::new(Af::Inet, v4(10, 1, 0, 0), 16, true),
                TableEntry::new(Af::Inet, v4(10, 1, 2, 99), 24, false),
                TableEntry::new(Af::Inet6, 0x2001_0db8 << 96, 32, false),
            ],
        );
        let cases = [
            (v4(10, 9, 9, 9), true),
            (v4(10, 1, 9, 9), false),
            (v4(10, 1, 2, 3), true),
            (v4(11, 0, 0, 1), false),
        ];
        for (addr, inside) in cases {
            assert_eq!(t.contains(Af::Inet, addr), inside, "{addr:x}");
        }
        let numbered = (7..).zip(cases.map(|(addr, _)| addr as u32));
        assert_eq!(t.members4(numbered), 0b0101 << 7);
        let of_v6 = [0x2001_0db9 << 96, 0x2001_0db8 << 96 | 1, 0];
        assert_eq!(t.members6((0..).zip(of_v6)), 0b010);
        assert!(t.contains(Af::Inet6, 0x2001_0db8 << 96 | 1));
        assert!(!t.contains(Af::Inet6, 0x2001_0db9 << 96));
        assert!(!t.contains(Af::Inet6, v4(10, 9, 9, 9)));
    }

    #[test]
    fn a_zero_prefix_covers_its_family_only() {
        let t = Table::new("all", [TableEntry::new(Af::Inet6, 7, 0, false)]);
        assert!(t.contains(Af::Inet6, u128::MAX));
        assert!(!t.contains(Af::Inet, 1));
    }

    #[test]
    fn find_agrees_with_a_scan_of_all_elements() {
        let mut seed = 0x1234_5678_9abc_def1u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for round in 0..50 {
            let elements: Vec<TableEntry> = (0..next() % 60)
                .map(|_| {
                    let bits = (next() % 33) as u8;
                    TableEntry::new(
                        Af::Inet,
                        u128::from(next() as u32 & 0x0f0f_000f),
                        bits,
                        next() % 3 == 0,
                    )
                })
                .collect();
            let table = Table::new("r", elements.iter().copied());
            for _ in 0..200 {
                let addr = u128::from(next() as u32 & 0x0f0f_000f);
                let slow = elements
                    .iter()
                    .filter(|e| addr & prefix_mask(Af::Inet, e.prefix_len) == e.addr)
                    // `max_by_key` takes the last of equals; the first given must win.
                    .rev()
                    .max_by_key(|e| e.prefix_len);
                assert_eq!(
                    table.find(Af::Inet, addr),
                    slow,
                    "round {round} addr {addr:x}"
                );
            }
        }
    }

    #[test]
    fn edits_win_over_contents_and_what_is_taken_out_uncovers_shorter_prefixes() {
        let mut t = Table::new(
            "t",
            [
                TableEntry::new(Af::Inet, v4(10, 0, 0, 0), 8, false),
                TableEntry::new(Af::Inet, v4(10, 1, 0, 0), 16, true),
                TableEntry::new(Af::Inet, v4(10, 2, 2, 2), 32, false),
            ],
        );
        let overlay = Arc::new(Overlay::new(16, 4, 1));
        t.attach(TableSlot(3), overlay.clone());
        let host = |a, b, c, d| TableEntry::new(Af::Inet, v4(a, b, c, d), 32, false);
        let inside = |t: &Table, a, b, c, d| t.contains(Af::Inet, v4(a, b, c, d));
        assert!(!inside(&t, 10, 1, 9, 9));
        assert_eq!(t.edit(&host(10, 1, 9, 9), true, 1, 99), OverlayEdit::Done);
        assert_eq!(
            t.edit(&host(10, 1, 9, 9), true, 1, 99),
            OverlayEdit::Already
        );
        assert!(inside(&t, 10, 1, 9, 9) && !inside(&t, 10, 1, 9, 8));
        // In the contents already.
        assert_eq!(
            t.edit(&host(10, 2, 2, 2), true, 1, 99),
            OverlayEdit::Already
        );
        let net = TableEntry::new(Af::Inet, v4(10, 0, 0, 0), 8, false);
        assert_eq!(t.edit(&net, false, 1, 99), OverlayEdit::Done);
        assert!(!inside(&t, 10, 9, 9, 9) && inside(&t, 10, 2, 2, 2));
        assert_eq!(t.edit(&host(10, 2, 2, 2), false, 1, 99), OverlayEdit::Done);
        assert!(!inside(&t, 10, 2, 2, 2), "nothing shorter is left either");
        assert_eq!(t.edit(&net, true, 1, 99), OverlayEdit::Done);
        assert!(inside(&t, 10, 2, 2, 2));
        let some = [v4(10, 9, 9, 9), v4(10, 2, 2, 2), v4(10, 1, 9, 9)];
        let some = || (0..).zip(some.map(|addr| addr as u32));
        assert_eq!(t.members4(some()), 0b111);
        assert_eq!(t.edit(&net, false, 1, 99), OverlayEdit::Done);
        assert_eq!(t.members4(some()), 0b100);
        assert_eq!(t.edit(&net, true, 1, 99), OverlayEdit::Done);
        assert_eq!(t.edit(&host(1, 2, 3, 4), true, 1, 3), OverlayEdit::Full);
        assert_eq!(overlay.len(), 3);
    }
}
