//! Numbers that states carry and that must therefore mean the same in every generation: names after `on` ([`KifId`]) and
//! tags ([`TagId`]). A name keeps its number until the box restarts.

use std::collections::HashMap;

use ruleset::{KifId, Ruleset, Table, TableFlags, TableSlot, TagId};

/// Numbers of interface and group names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kifs {
    names: Vec<String>,
}

/// There are as many names as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

impl Kifs {
    /// The number of a name; a new one if it has none yet.
    pub(crate) fn number(&mut self, name: &str) -> Result<KifId, Full> {
        if let Some(known) = self.find(name) {
            return Ok(known);
        }
        if self.names.len() >= net::KIF_MAX {
            return Err(Full);
        }
        self.names.push(name.to_string());
        Ok(KifId(self.names.len() as u16 - 1))
    }

    /// The number of a name, if it has one.
    pub(crate) fn find(&self, name: &str) -> Option<KifId> {
        let at = self.names.iter().position(|known| known == name)?;
        Some(KifId(at as u16))
    }

    /// Takes over names that the compiler numbered: the place in the list is the number, an empty name is none.
    pub(crate) fn adopt(&mut self, names: &[String]) -> Result<(), Full> {
        if names.len() > net::KIF_MAX {
            return Err(Full);
        }
        let known = self.names.len().min(names.len());
        debug_assert_eq!(self.names[..known], names[..known]);
        self.names.extend(names[known..].iter().cloned());
        Ok(())
    }

    /// All names with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, KifId)> {
        let numbered = self.names.iter().enumerate();
        let named = numbered.filter(|(_, name)| !name.is_empty());
        named.map(|(n, name)| (name.as_str(), KifId(n as u16)))
    }

    /// The name of a number.
    pub(crate) fn name(&self, kif: KifId) -> Option<&str> {
        self.names.get(usize::from(kif.0)).map(String::as_str)
    }
}

/// Slots of tables: where their edits and counters live. Only tables that something may change have one.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableSlots {
    names: Vec<String>,
}

impl TableSlots {
    /// Gives every table that may change a slot; false if there are no more.
    pub(crate) fn number(&mut self, tables: &[Table]) -> bool {
        let changing = |t: &&Table| !t.flags.contains(TableFlags::CONST);
        for table in tables.iter().filter(changing) {
            if !self.names.contains(&table.name) {
                self.names.push(table.name.clone());
            }
        }
        self.names.len() <= filter::limit::TABLE_SLOTS
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
    fn number(&mut self, name: &str) -> Result<TagId, Full> {
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
        for rule in &mut ruleset.rules {
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
        for n in 0..net::KIF_MAX {
            assert_eq!(kifs.number(&format!("em{n}")), Ok(KifId(n as u16)));
        }
        assert_eq!(kifs.number("em7"), Ok(KifId(7)));
        assert_eq!(kifs.number("one-too-many"), Err(Full));
        assert_eq!(kifs.find("one-too-many"), None);
        assert_eq!(kifs.name(KifId(3)), Some("em3"));
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
