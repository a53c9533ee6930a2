//! Tables: sets of prefixes with negation, matched by longest prefix (pf.conf(5), TABLES). Immutable here.

use alloc::string::String;
use alloc::vec::Vec;

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

/// A named set of prefixes.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Name without the angle brackets.
    pub name: String,
    entries: Vec<TableEntry>,
    /// One group per family and prefix length in use, longest first: (family, length, range of `entries`).
    groups: Vec<(Af, u8, core::ops::Range<u32>)>,
}

impl Table {
    /// Builds a table. Of equal prefixes the first one given counts, as in PF.
    pub fn new(name: &str, elements: impl IntoIterator<Item = TableEntry>) -> Self {
        let mut entries: Vec<TableEntry> = elements.into_iter().collect();
        // Stable: of equal prefixes the first given stays first and survives `dedup`.
        entries.sort_by_key(|e| (e.af, core::cmp::Reverse(e.prefix_len), e.addr));
        entries.dedup_by_key(|e| (e.af, e.prefix_len, e.addr));
        let mut groups: Vec<(Af, u8, core::ops::Range<u32>)> = Vec::new();
        for (n, e) in entries.iter().enumerate() {
            let n = n as u32;
            match groups.last_mut() {
                Some((af, len, range)) if *af == e.af && *len == e.prefix_len => range.end = n + 1,
                _ => groups.push((e.af, e.prefix_len, n..n + 1)),
            }
        }
        Table {
            name: name.into(),
            entries,
            groups,
        }
    }

    /// Elements, longest prefixes first.
    pub fn entries(&self) -> &[TableEntry] {
        &self.entries
    }

    /// The element with the longest prefix that covers `addr`.
    pub fn find(&self, af: Af, addr: u128) -> Option<&TableEntry> {
        self.groups
            .iter()
            .filter(|g| g.0 == af)
            .find_map(|(_, len, range)| {
                let group = &self.entries[range.start as usize..range.end as usize];
                let wanted = addr & prefix_mask(af, *len);
                group
                    .binary_search_by_key(&wanted, |e| e.addr)
                    .ok()
                    .map(|n| &group[n])
            })
    }

    /// True if `addr` is in the table: its longest prefix is there and carries no `!`.
    pub fn contains(&self, af: Af, addr: u128) -> bool {
        self.find(af, addr).is_some_and(|e| !e.negate)
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
        for (addr, inside) in [
            (v4(10, 9, 9, 9), true),
            (v4(10, 1, 9, 9), false),
            (v4(10, 1, 2, 3), true),
            (v4(11, 0, 0, 1), false),
        ] {
            assert_eq!(t.contains(Af::Inet, addr), inside, "{addr:x}");
        }
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
}
