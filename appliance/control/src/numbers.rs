//! Numbers that states carry and that must therefore mean the same in every generation: names after `on` ([`KifId`]) and
//! tags ([`TagId`]). A name keeps its number until the box restarts; slots of tables alone are used again.

use std::collections::{HashMap, HashSet};
use std::fmt;

use ruleset::{KifId, Ruleset, Table, TableFlags, TableSlot, TagId};

/// Numbers of interface and group names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kifs {
    interfaces: Names,
    groups: Names,
}

/// Names by number, and numbers by name.
#[derive(Clone, Debug, Default)]
struct Names {
    names: Vec<String>,
    numbers: HashMap<String, u16>,
}

impl Names {
    fn number(&mut self, name: &str, max: usize) -> Result<u16, Full> {
        if let Some(known) = self.numbers.get(name) {
            return Ok(*known);
        }
        if self.names.len() >= max {
            return Err(Full);
        }
        let number = self.names.len() as u16;
        self.names.push(name.to_string());
        self.numbers.insert(name.to_string(), number);
        Ok(number)
    }
}

/// There are as many names as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (names, groups) = (net::NAMES_MAX, net::GROUPS_MAX);
        write!(
            f,
            "more than {names} names of interfaces or {groups} of groups since start"
        )
    }
}

impl Kifs {
    /// The number of an interface, which is that of its name.
    pub(crate) fn interface(&mut self, name: &str) -> Result<KifId, Full> {
        self.interfaces.number(name, net::NAMES_MAX).map(KifId)
    }

    /// The number of a group.
    pub(crate) fn group(&mut self, name: &str) -> Result<KifId, Full> {
        self.groups.number(name, net::GROUPS_MAX).map(KifId::group)
    }

    /// The number of a name, if it has one.
    pub(crate) fn find(&self, name: &str) -> Option<KifId> {
        let interface = self.interfaces.numbers.get(name).copied().map(KifId);
        let group = || self.groups.numbers.get(name).copied().map(KifId::group);
        interface.or_else(group)
    }

    /// Takes over names that the compiler numbered.
    pub(crate) fn adopt(&mut self, names: &[(String, KifId)]) -> Result<(), Full> {
        for (name, kif) in names {
            let number = match kif.group_number() {
                None => self.interface(name)?,
                Some(_) => self.group(name)?,
            };
            debug_assert_eq!(number, *kif, "{name}");
        }
        Ok(())
    }

    /// All names with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, KifId)> {
        let interfaces = self.interfaces.names.iter().zip((0..).map(KifId));
        let groups = self.groups.names.iter().zip((0..).map(KifId::group));
        interfaces
            .chain(groups)
            .map(|(name, kif)| (name.as_str(), kif))
    }

    /// The name of a number.
    pub(crate) fn name(&self, kif: KifId) -> Option<&str> {
        let (names, n) = match kif.group_number() {
            None => (&self.interfaces, kif.0),
            Some(n) => (&self.groups, n),
        };
        names.names.get(usize::from(n)).map(String::as_str)
    }
}

/// Slots of tables: where their edits and counters live. Tables that stand for interfaces have none. A name keeps its slot
/// when its table goes, and loses it only when there is no other left for a new name.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableSlots {
    names: Vec<String>,
}

impl TableSlots {
    /// Gives every table that somebody has named a slot; false if there are no more. Slots of the tables that are `running`,
    /// and those that `has_edits` knows of, are not given to others.
    pub(crate) fn number(
        &mut self,
        tables: &[Table],
        running: &[Table],
        has_edits: impl Fn(u16) -> bool,
    ) -> bool {
        let named = |t: &&Table| !t.flags.contains(TableFlags::INTERNAL);
        let known: HashSet<String> = self.names.iter().cloned().collect();
        let named_here = tables.iter().filter(named).map(|t| &t.name);
        let mut new = named_here.filter(|name| !known.contains(*name)).cloned();
        let room = filter::limit::TABLE_SLOTS.saturating_sub(self.names.len());
        self.names.extend(new.by_ref().take(room));
        let wanted: HashSet<&String> = tables.iter().chain(running).map(|t| &t.name).collect();
        let slots = self.names.iter_mut().enumerate();
        let mut idle = slots.filter(|(n, name)| !wanted.contains(*name) && !has_edits(*n as u16));
        for name in new {
            let Some((_, old)) = idle.next() else {
                return false;
            };
            *old = name;
        }
        true
    }

    /// The slot of a table.
    pub(crate) fn of(&self, name: &str) -> TableSlot {
        let at = self.names.iter().position(|known| known == name);
        at.map_or(TableSlot::NONE, |n| TableSlot(n as u16))
    }
}

/// Numbers of tags, from 1.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tags {
    names: Vec<String>,
    by_name: HashMap<String, TagId>,
}

impl Tags {
    /// The number of a tag.
    pub(crate) fn number(&mut self, name: &str) -> Result<TagId, Full> {
        if let Some(known) = self.by_name.get(name) {
            return Ok(*known);
        }
        let number = u16::try_from(self.names.len() + 1).map_err(|_| Full)?;
        self.names.push(name.to_string());
        self.by_name.insert(name.to_string(), TagId(number));
        Ok(TagId(number))
    }

    /// Gives the tags of a fresh ruleset the numbers they have here.
    pub(crate) fn renumber(&mut self, ruleset: &mut Ruleset) -> Result<(), Full> {
        let mut numbers = vec![TagId(0)];
        for name in &ruleset.tags {
            numbers.push(self.number(name)?);
        }
        let number = |tag: TagId| numbers.get(usize::from(tag.0)).copied().unwrap_or(tag);
        for rule in ruleset.rules_of_all_kinds() {
            rule.tag = number(rule.tag);
            if let Some(tagged) = &mut rule.tagged {
                tagged.tag = number(tagged.tag);
            }
        }
        ruleset.tags = self.names.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruleset::{Action, Rule, rule::TagMatch};

    #[test]
    fn names_keep_their_numbers_up_to_the_limit() {
        let mut kifs = Kifs::default();
        for n in 0..net::NAMES_MAX {
            assert_eq!(kifs.interface(&format!("em{n}")), Ok(KifId(n as u16)));
        }
        assert_eq!(kifs.interface("em7"), Ok(KifId(7)));
        assert_eq!(kifs.interface("one-too-many1"), Err(Full));
        assert_eq!(kifs.find("one-too-many1"), None);
        assert_eq!(kifs.name(KifId(3)), Some("em3"));
    }

    #[test]
    fn groups_are_numbered_apart() {
        let mut kifs = Kifs::default();
        for n in 0..net::GROUPS_MAX {
            assert_eq!(
                kifs.group(&format!("group{n}x")),
                Ok(KifId::group(n as u16))
            );
        }
        assert_eq!(kifs.group("one-too-many"), Err(Full));
        assert_eq!(kifs.interface("em0"), Ok(KifId(0)));
        assert_eq!(kifs.name(KifId::group(3)), Some("group3x"));
        assert_eq!(kifs.iter().count(), net::GROUPS_MAX + 1);
    }

    #[test]
    fn slots_of_tables_that_are_gone_are_given_to_new_ones_when_there_are_no_others() {
        let most = filter::limit::TABLE_SLOTS;
        let table = |n: usize| Table::new(&format!("t{n}"), []);
        let all: Vec<Table> = (0..most).map(table).collect();
        let mut slots = TableSlots::default();
        assert!(slots.number(&all, &[], |_| false));
        // A table comes that was there before: it has its slot still.
        assert!(slots.number(&[table(7)], &[table(9)], |_| false));
        assert_eq!(slots.of("t7"), TableSlot(7));
        // A new one does not get that of one that is in force, nor one with edits that workers may look at.
        let running = [table(0), table(3)];
        assert!(slots.number(&[table(most), table(2)], &running, |n| n == 1));
        assert_eq!(slots.of(&format!("t{most}")), TableSlot(4));
        assert_eq!(slots.of("t4"), TableSlot::NONE);
        for kept in [0, 1, 2, 3, 5] {
            assert_eq!(slots.of(&format!("t{kept}")), TableSlot(kept as u16));
        }
        assert!(!slots.number(&[table(most + 1)], &[], |_| true));
    }

    fn tagging(tags: &[&str]) -> Ruleset {
        let mut rule = Rule::new(Action::Match);
        rule.tag = TagId(1);
        rule.tagged = Some(TagMatch {
            tag: TagId(2),
            negate: false,
        });
        Ruleset {
            rules: vec![Rule::new(Action::Pass), rule],
            tags: tags.iter().map(ToString::to_string).collect(),
            ..Ruleset::default()
        }
    }

    #[test]
    fn a_tag_means_the_same_in_the_next_generation() {
        let mut tags = Tags::default();
        let mut first = tagging(&["LAN", "DMZ"]);
        tags.renumber(&mut first).unwrap();
        let mut second = tagging(&["VPN", "LAN"]);
        tags.renumber(&mut second).unwrap();
        assert_eq!(second.rules[0].tag, TagId(0), "no tag stays no tag");
        assert_eq!(second.rules[1].tag, TagId(3));
        assert_eq!(second.rules[1].tagged.unwrap().tag, first.rules[1].tag);
        assert_eq!(second.tags, ["LAN", "DMZ", "VPN"]);
    }
}
