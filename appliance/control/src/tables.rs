//! Tables that change while they are in use: edits of people and rules, brought together with the contents.
//!
//! What rules and sources add lies in an overlay that all workers read. Here it is made part of the contents (*folded*)
//! before anybody edits, before a load of the rules, and when it fills up: new contents are published as a part of the
//! same generation, and once every worker has them the overlay forgets what it said.
//!
//! Read first: pfctl(8), -T; ARCHITECTURE.md, "Limits over all cores".

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ruleset::{Af, Table, TableEntry, TableFlags, TableSlot};
use sync::{OverlayEntry, OverlayKey};

use crate::api::{TableEdit, TableEdited};
use crate::control::Control;

/// Longest wait for workers to take over new contents, in milliseconds.
const ADOPT_MS_MAX: u64 = 200;

/// When an address came into its table, by table and address: seconds since start. What is not here came with the rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Since(HashMap<(String, TableEntry), u64>);

impl Since {
    /// When the address came.
    pub(crate) fn of(&self, table: &str, entry: &TableEntry) -> u64 {
        let key = (table.to_string(), *entry);
        self.0.get(&key).copied().unwrap_or(0)
    }
}

/// The elements of a table by prefix: one prefix, one element.
type Elements = BTreeMap<(Af, u8, u128), TableEntry>;

fn elements(table: &Table) -> Elements {
    let keyed = table.entries().iter();
    keyed.map(|e| ((e.af, e.prefix_len, e.addr), *e)).collect()
}

fn entry_of(key: &OverlayKey) -> TableEntry {
    let af = if key.v6 { Af::Inet6 } else { Af::Inet };
    TableEntry::new(af, key.addr, key.prefix_len, false)
}

/// `10.0.0.1`, `10.0.0.0/8`, `!10.1.0.0/16`, as pfctl takes them.
pub(crate) fn parse_entry(text: &str) -> Result<TableEntry, String> {
    let (bare, negate) = match text.strip_prefix('!') {
        Some(bare) => (bare.trim_start(), true),
        None => (text, false),
    };
    let (addr, bits) = match bare.split_once('/') {
        Some((addr, bits)) => (addr, Some(bits)),
        None => (bare, None),
    };
    let wrong = || format!("'{text}' is neither an address nor a network");
    let (af, value) = match addr.parse().map_err(|_| wrong())? {
        IpAddr::V4(a) => (Af::Inet, u128::from(a.to_bits())),
        IpAddr::V6(a) => (Af::Inet6, a.to_bits()),
    };
    let len = match bits {
        Some(bits) => bits.parse().ok().filter(|n| *n <= af.bits()),
        None => Some(af.bits()),
    };
    Ok(TableEntry::new(af, value, len.ok_or_else(wrong)?, negate))
}

fn parse_all(list: &[String]) -> Result<Vec<TableEntry>, String> {
    list.iter().map(|text| parse_entry(text)).collect()
}

impl Control {
    /// What the overlay says now, without what is in the contents already.
    fn edits(&self) -> Vec<OverlayEntry> {
        let mut edits = Vec::new();
        self.shared.edits.for_each(|e| edits.push(e));
        edits.retain(|e| !self.folded.contains(e));
        edits
    }

    /// A table as it is at this moment.
    pub(crate) fn table_now(&self, table: &Table) -> Vec<TableEntry> {
        let mut all = elements(table);
        let edits = self.edits();
        apply(
            &mut all,
            edits.iter().filter(|e| e.key.table == table.slot.0),
        );
        let mut list: Vec<TableEntry> = all.into_values().collect();
        list.sort_by_key(|e| (e.af, e.addr, e.prefix_len));
        list
    }

    /// Now and then: the overlay is folded when it is half full.
    pub(crate) fn tend_tables(&mut self) {
        self.forget_folded();
        if self.shared.edits.len() > self.shared.edits.capacity() / 2 {
            self.fold(|_| ());
        }
    }

    /// Everything that the overlay says becomes part of the contents.
    pub(crate) fn fold_tables(&mut self) {
        if !self.shared.edits.is_empty() {
            self.fold(|_| ());
        }
    }

    /// Publishes the tables with their edits, changed by `change`, as a part of the running generation.
    fn fold(&mut self, change: impl FnOnce(&mut Vec<Table>)) {
        let edits = self.edits();
        let mut config = (**self.fleet.current()).clone();
        for table in &mut config.ruleset.tables {
            let of_table = || edits.iter().filter(|e| e.key.table == table.slot.0);
            if table.slot == TableSlot::NONE || of_table().next().is_none() {
                continue;
            }
            for edit in of_table().filter(|e| e.present) {
                let key = (table.name.clone(), entry_of(&edit.key));
                self.since.0.insert(key, edit.since_s);
            }
            let mut all = elements(table);
            apply(&mut all, of_table());
            *table = table.clone().with_elements(all.into_values());
        }
        change(&mut config.ruleset.tables);
        self.fleet.publish(Arc::new(config));
        self.folded.extend(edits);
        let deadline = self.clock.now_ms() + ADOPT_MS_MAX;
        while self.fleet.is_pending() && self.clock.now_ms() < deadline {
            self.clock.pause();
        }
        self.forget_folded();
    }

    /// Once every worker has the contents, the overlay need not say the same.
    fn forget_folded(&mut self) {
        if !self.folded.is_empty() && !self.fleet.is_pending() {
            for entry in std::mem::take(&mut self.folded) {
                self.shared.edits.forget(&entry);
            }
        }
    }

    /// `pfctl -t TABLE -T …`
    pub(crate) fn change_table(
        &mut self,
        name: &str,
        edit: &TableEdit,
    ) -> Result<TableEdited, String> {
        if let TableEdit::Test(list) = edit {
            return self.test_table(name, list);
        }
        self.fold_tables();
        let known = self.ruleset().tables.iter().find(|t| t.name == name);
        let before = match (known, edit) {
            (Some(table), _) if table.flags.contains(TableFlags::CONST) => {
                return Err(format!(
                    "<{name}> is const: only a load of the rules changes it"
                ));
            }
            (Some(table), _) => Some(elements(table)),
            (None, TableEdit::Add(_) | TableEdit::Replace(_)) => None,
            (None, _) => return Err(format!("'{name}': Table does not exist.")),
        };
        let created = before.is_none();
        let mut after = before.clone().unwrap_or_default();
        let now_s = self.clock.now_ms() / 1000;
        let asked = self.edit_elements(name, edit, &mut after, now_s)?;
        let before = before.unwrap_or_default();
        let edited = TableEdited {
            asked,
            added: after.keys().filter(|k| !before.contains_key(k)).count(),
            deleted: before.keys().filter(|k| !after.contains_key(k)).count(),
            changed: after
                .iter()
                .filter(|(k, e)| before.get(k).is_some_and(|b| b.negate != e.negate))
                .count(),
            created,
            matches: Vec::new(),
        };
        self.check_entries(edited.added)?;
        if created || edited.added + edited.deleted + edited.changed > 0 {
            self.put_table(name, after, created)?;
        }
        Ok(edited)
    }

    /// Changes the elements; how many were asked about.
    fn edit_elements(
        &mut self,
        name: &str,
        edit: &TableEdit,
        all: &mut Elements,
        now_s: u64,
    ) -> Result<usize, String> {
        match edit {
            TableEdit::Add(list) | TableEdit::Replace(list) => {
                let entries = parse_all(list)?;
                let old = std::mem::take(all);
                if matches!(edit, TableEdit::Add(_)) {
                    all.clone_from(&old);
                }
                for e in &entries {
                    let key = (e.af, e.prefix_len, e.addr);
                    if !old.contains_key(&key) {
                        self.since.0.insert((name.into(), *e), now_s);
                    }
                    all.insert(key, *e);
                }
                Ok(entries.len())
            }
            TableEdit::Delete(list) => {
                let entries = parse_all(list)?;
                for e in &entries {
                    all.remove(&(e.af, e.prefix_len, e.addr));
                }
                Ok(entries.len())
            }
            TableEdit::Flush => {
                let asked = all.len();
                all.clear();
                Ok(asked)
            }
            TableEdit::Expire(seconds) => {
                let asked = all.len();
                let since = &self.since;
                all.retain(|_, e| now_s.saturating_sub(since.of(name, e)) <= *seconds);
                Ok(asked)
            }
            TableEdit::Zero => {
                for e in all.values() {
                    self.since.0.insert((name.into(), *e), now_s);
                }
                Ok(all.len())
            }
            TableEdit::Test(_) => Ok(0),
        }
    }

    fn check_entries(&self, added: usize) -> Result<(), String> {
        let ruleset = self.ruleset();
        let used: usize = ruleset.tables.iter().map(|t| t.entries().len()).sum();
        let limit = ruleset.limits.table_entries as usize;
        if used + added > limit {
            return Err(format!(
                "{} table-entries, but the limit is {limit} (set limit table-entries)",
                used + added
            ));
        }
        Ok(())
    }

    fn put_table(&mut self, name: &str, all: Elements, created: bool) -> Result<(), String> {
        let mut new = Table::new(name, all.into_values());
        if created {
            let limit = self.ruleset().limits.tables as usize;
            if self.ruleset().tables.len() >= limit {
                return Err(format!("there are {limit} tables (set limit tables)"));
            }
            new.flags = TableFlags::PERSIST | TableFlags::KEEPS;
            let mut slots = self.table_slots.clone();
            if !slots.number(std::slice::from_ref(&new)) {
                return Err("there are no more places for tables until the next start".into());
            }
            new.attach(slots.of(name), self.shared.edits.clone());
            self.table_slots = slots;
        }
        self.fold(|tables| match tables.iter_mut().find(|t| t.name == name) {
            Some(table) => *table = table.clone().with_contents_of(&new),
            None => tables.push(new),
        });
        Ok(())
    }

    fn test_table(&self, name: &str, list: &[String]) -> Result<TableEdited, String> {
        let table = self.ruleset().tables.iter().find(|t| t.name == name);
        let table = table.ok_or_else(|| format!("'{name}': Table does not exist."))?;
        let entries = parse_all(list)?;
        let matches = entries.iter().map(|e| {
            let found = table.covering(e.af, e.addr).filter(|found| !found.negate);
            found.as_ref().map(crate::views::table_entry)
        });
        Ok(TableEdited {
            asked: list.len(),
            matches: matches.collect(),
            ..TableEdited::default()
        })
    }
}

fn apply<'a>(all: &mut Elements, edits: impl Iterator<Item = &'a OverlayEntry>) {
    for edit in edits {
        let entry = entry_of(&edit.key);
        let key = (entry.af, entry.prefix_len, entry.addr);
        if edit.present {
            all.insert(key, entry);
        } else {
            all.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_as_pfctl_takes_them_or_refused_by_name() {
        let v4 = |a: u32, len, not| TableEntry::new(Af::Inet, a.into(), len, not);
        assert_eq!(parse_entry("10.0.0.1"), Ok(v4(0x0a00_0001, 32, false)));
        assert_eq!(parse_entry("!10.1.2.3/16"), Ok(v4(0x0a01_0000, 16, true)));
        let v6 = TableEntry::new(Af::Inet6, 0x2001_0db8 << 96, 32, false);
        assert_eq!(parse_entry("2001:db8::/32"), Ok(v6));
        for wrong in ["", "10.0.0.1/33", "10.0.0", "::1/129", "host", "10.0.0.1/x"] {
            assert!(parse_entry(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
