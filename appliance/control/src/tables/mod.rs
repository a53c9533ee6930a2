//! Tables that change while they are in use: edits of people and rules, brought together with the contents.
//!
//! What rules and sources add lies in an overlay that all workers read. Here it is made part of the contents (*folded*)
//! before anybody edits, before a load of the rules, and when it fills up: new contents are published as a part of the
//! same generation, and once every worker has them the overlay forgets what it said.
//!
//! Read first: pfctl(8), -T; ARCHITECTURE.md, "Limits over all cores".

mod accounts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use filter::LostEdit;
use ruleset::{
    AddrSpec, Af, Pool, Rule, Ruleset, Table, TableEntry, TableFlags, TableId, TableSlot,
};
use sync::{OverlayEntry, OverlayKey};

use crate::api::{TableEdit, TableEdited, TableView};
use crate::control::Control;
pub(crate) use accounts::Accounts;
#[cfg(test)]
pub(crate) use accounts::key_of;

/// Longest wait for workers to take over new contents, in milliseconds.
const ADOPT_MS_MAX: u64 = 200;
/// Share of the overlay that may be full before it is folded, in eighths: the rest is for what comes until then.
const EIGHTHS_MAX: usize = 1;

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
        if self.shared.edits.is_empty() {
            return edits;
        }
        self.shared.edits.for_each(|e| edits.push(e));
        edits.retain(|e| !self.folded.contains(e));
        edits
    }

    /// A table as it is at this moment, with these edits.
    fn table_now(&self, table: &Table, edits: &[OverlayEntry]) -> Vec<TableEntry> {
        let mut all = elements(table);
        apply(&mut all, of_table(edits, table));
        let mut list: Vec<TableEntry> = all.into_values().collect();
        list.sort_by_key(|e| (e.af, e.addr, e.prefix_len));
        list
    }

    /// Tables as `-sT` shows them: without their elements.
    pub(crate) fn summaries(&self) -> Vec<TableView> {
        let edits = self.edits();
        let tables = shown(self.ruleset());
        tables.map(|(id, t)| self.summary(id, t, &edits)).collect()
    }

    /// Tables with their elements.
    pub(crate) fn table_views(&self) -> Vec<TableView> {
        let edits = self.edits();
        let tables = shown(self.ruleset());
        tables.map(|(id, t)| self.whole(id, t, &edits)).collect()
    }

    /// One table with its elements.
    pub(crate) fn table_view(&self, name: &str) -> Option<TableView> {
        let (id, table) = shown(self.ruleset()).find(|(_, t)| t.name == name)?;
        Some(self.whole(id, table, &self.edits()))
    }

    fn whole(&self, id: TableId, table: &Table, edits: &[OverlayEntry]) -> TableView {
        let now_s = self.clock.now_ms() / 1000;
        let entries = self.table_now(table, edits);
        let since = |e| now_s.saturating_sub(self.accounts.of(&table.name, e));
        let counts = |e| self.accounts.counts(table, e, &self.fleet);
        TableView {
            ages_s: entries.iter().map(since).collect(),
            counts: entries.iter().map(counts).collect(),
            entries: entries.iter().map(crate::views::table_entry).collect(),
            ..self.summary(id, table, edits)
        }
    }

    fn summary(&self, id: TableId, table: &Table, edits: &[OverlayEntry]) -> TableView {
        let now_s = self.clock.now_ms() / 1000;
        let addresses = match of_table(edits, table).next() {
            Some(_) => self.table_now(table, edits).len(),
            None => table.entries().len(),
        };
        let (rules, anchors) = references(self.ruleset(), id);
        let mut stats = self.accounts.stats(table, &self.fleet, now_s);
        (stats.addresses, stats.rules, stats.anchors) = (addresses as u64, rules, anchors);
        TableView {
            name: table.name.clone(),
            flags: letters(table.flags, rules > 0, anchors > 0),
            entries: Vec::new(),
            ages_s: Vec::new(),
            counts: Vec::new(),
            stats,
        }
    }

    /// Now and then: the overlay is folded before it fills up, and at once where a pool must know of an edit: pools look
    /// at contents alone.
    pub(crate) fn tend_tables(&mut self) {
        self.forget_folded();
        self.tell_of_lost_edits();
        let waiting = self.shared.edits.len();
        if waiting == 0 {
            return;
        }
        let pools = || {
            let slots = pool_tables(self.ruleset());
            self.edits().iter().any(|e| slots.contains(&e.key.table))
        };
        if waiting > self.shared.edits.capacity() / 8 * EIGHTHS_MAX || pools() {
            self.fold(|_| ());
        }
    }

    /// Says once for each reason that rules could not put an address into a table; metrics count on.
    fn tell_of_lost_edits(&mut self) {
        let told = [LostEdit::Limit, LostEdit::Pending, LostEdit::Const].into_iter();
        for kind in told
            .filter(|kind| !self.lost_edits_told[*kind as usize])
            .collect::<Vec<_>>()
        {
            if self.fleet.sum(|c| &c.filter.lost_edits[kind as usize]) == 0 {
                continue;
            }
            self.lost_edits_told[kind as usize] = true;
            let why = match kind {
                LostEdit::Limit => "there are as many entries as set limit table-entries says",
                LostEdit::Pending => "too many came at once",
                LostEdit::Const => "the table is const",
            };
            log::warn!(
                "a rule could not put an address into a table: {why} (said once, counted in the metrics)"
            );
        }
    }

    /// Everything that the overlay says becomes part of the contents.
    pub(crate) fn fold_tables(&mut self) {
        if !self.shared.edits.is_empty() {
            self.fold(|_| ());
        }
    }

    /// Tables of a policy that is about to be published: those that were there keep what they have counted.
    pub(crate) fn account_for_tables(&mut self, ruleset: &Ruleset) {
        let now_s = self.clock.now_ms() / 1000;
        let fleet = &self.fleet;
        let before = &fleet.current().ruleset.tables;
        for (_, table) in shown(ruleset) {
            match before.iter().find(|old| old.name == table.name) {
                Some(old) => self.accounts.reload(old, table, fleet, now_s),
                None => self.accounts.open(table, fleet, now_s),
            }
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
            for edit in of_table() {
                let entry = entry_of(&edit.key);
                if edit.present {
                    self.accounts.came(&table.name, &entry, edit.since_s);
                } else {
                    self.accounts.left(table, &entry, &self.fleet);
                }
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
        if *edit == TableEdit::Kill && self.kill_table(name) {
            return Ok(edited);
        }
        if created || edited.added + edited.deleted + edited.changed > 0 {
            let gone = before.iter().filter(|(k, e)| after.get(k) != Some(e));
            let gone: Vec<TableEntry> = gone.map(|(_, e)| *e).collect();
            self.put_table(name, after, created)?;
            // Workers know by now: nothing counts on what has left any more.
            let fleet = &self.fleet;
            let tables = &fleet.current().ruleset.tables;
            if let Some(table) = tables.iter().find(|t| t.name == name) {
                gone.iter()
                    .for_each(|e| self.accounts.left(table, e, fleet));
            }
        }
        Ok(edited)
    }

    /// Takes a table away that no rule names. False if one does, or if rules name tables behind it, whose numbers would
    /// change: it comes and goes with the rules.
    fn kill_table(&mut self, name: &str) -> bool {
        let ruleset = self.ruleset();
        let Some(at) = ruleset.tables.iter().position(|t| t.name == name) else {
            return false;
        };
        let ids = (at..ruleset.tables.len()).map(|n| TableId(n as u16));
        let limiters = ruleset.source_limiters.iter();
        let limited: Vec<TableId> = limiters.filter_map(|l| Some(l.table?.table)).collect();
        if ids
            .into_iter()
            .any(|id| references(ruleset, id).0 > 0 || limited.contains(&id))
        {
            return false;
        }
        self.fold(|tables| drop(tables.remove(at)));
        true
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
                    if old.get(&key) != Some(e) {
                        self.accounts.came(name, e, now_s);
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
            TableEdit::Flush | TableEdit::Kill => {
                let asked = all.len();
                all.clear();
                Ok(asked)
            }
            TableEdit::Expire(seconds) => {
                let asked = all.len();
                let since = &self.accounts;
                all.retain(|_, e| now_s.saturating_sub(since.of(name, e)) <= *seconds);
                Ok(asked)
            }
            TableEdit::Zero(list) => self.zero(name, &parse_all(list)?, all, now_s),
            TableEdit::Test(_) => Ok(0),
        }
    }

    /// Counters of a table, or of some of its addresses, begin anew; how many addresses were asked about.
    fn zero(
        &mut self,
        name: &str,
        list: &[TableEntry],
        all: &Elements,
        now_s: u64,
    ) -> Result<usize, String> {
        let fleet = &self.fleet;
        let tables = &fleet.current().ruleset.tables;
        let Some(table) = tables.iter().find(|t| t.name == name) else {
            return Err(format!("'{name}': Table does not exist."));
        };
        if list.is_empty() {
            let entries = all.values().copied();
            self.accounts.clear_all(table, entries, fleet, now_s);
            return Ok(all.len());
        }
        for e in list {
            if all.get(&(e.af, e.prefix_len, e.addr)) != Some(e) {
                return Err(format!(
                    "{} is not in <{name}>",
                    crate::views::table_entry(e)
                ));
            }
            self.accounts.clear(table, e, fleet, now_s);
        }
        Ok(list.len())
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
            let (running, edits) = (&self.ruleset().tables, &self.shared.edits);
            let one = std::slice::from_ref(&new);
            if !slots.number(one, running, |slot| edits.concerns(slot)) {
                return Err("there are no more places for tables".into());
            }
            new.attach(slots.of(name), self.shared.edits.clone());
            self.table_slots = slots;
            let now_s = self.clock.now_ms() / 1000;
            self.accounts.open(&new, &self.fleet, now_s);
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

/// Edits of one table.
fn of_table<'a>(
    edits: &'a [OverlayEntry],
    table: &Table,
) -> impl Iterator<Item = &'a OverlayEntry> {
    let slot = table.slot;
    edits
        .iter()
        .filter(move |e| slot != TableSlot::NONE && e.key.table == slot.0)
}

/// Tables that somebody has named, with their ids.
fn shown(ruleset: &Ruleset) -> impl Iterator<Item = (TableId, &Table)> {
    let tables = (0..).map(TableId).zip(&ruleset.tables);
    tables.filter(|(_, table)| !table.flags.contains(TableFlags::INTERNAL))
}

/// Pools of a rule.
fn pools(rule: &Rule) -> impl Iterator<Item = &Pool> {
    let translation = [&rule.nat, &rule.rdr].into_iter().flatten();
    let route = rule.route.iter().map(|r| &r.pool);
    translation.map(AsRef::as_ref).chain(route)
}

/// Slots of tables that pools choose from.
fn pool_tables(ruleset: &Ruleset) -> BTreeSet<u16> {
    let pools = ruleset.rules.iter().flat_map(pools);
    let tables = pools.filter_map(|pool| ruleset.table(pool.table?));
    tables.map(|table| table.slot.0).collect()
}

/// How many rules name a table, and in how many anchors they stand.
fn references(ruleset: &Ruleset, id: TableId) -> (u32, u32) {
    let named = |rule: &&Rule| {
        let ends = [&rule.src, &rule.dst].map(|end| end.addr == AddrSpec::Table(id));
        let overload = rule.state.source.as_ref().and_then(|s| s.overload);
        ends != [false; 2]
            || pools(rule).any(|pool| pool.table == Some(id))
            || overload.is_some_and(|o| o.table == id)
    };
    let rules = ruleset.rules.iter().filter(named);
    // An anchor that is called twice has its rules twice.
    let places: BTreeSet<(u16, u32)> = rules.map(|r| (r.anchor.0, r.nr)).collect();
    let anchors: BTreeSet<u16> = places.iter().map(|p| p.0).filter(|a| *a != 0).collect();
    (places.len() as u32, anchors.len() as u32)
}

/// pfctl's letters: const, persist, active, inactive, referenced, in anchors, counters.
fn letters(flags: TableFlags, referenced: bool, in_anchors: bool) -> String {
    [
        (flags.contains(TableFlags::CONST), 'c'),
        (flags.contains(TableFlags::PERSIST), 'p'),
        (true, 'a'),
        (false, 'i'),
        (referenced, 'r'),
        (in_anchors, 'h'),
        (flags.contains(TableFlags::COUNTERS), 'C'),
    ]
    .map(|(set, letter)| if set { letter } else { '-' })
    .iter()
    .collect()
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
