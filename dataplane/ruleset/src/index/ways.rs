//! The rules that may match on an interface in a direction. Thousands of interfaces fit: those of the same groups share
//! a row, and what rules say of one by its own name is kept beside it, in proportion to how many rules name it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use net::{KifId, KifSet};

use super::IndexedInterface;
use super::places::Places;
use super::rows::{BLOCK, Bits, EMPTY_ROW, Reader, Rows};
use crate::facts::Direction;
use crate::rule::{IfMatch, Rule};

/// No interface has this number.
const NONE: u16 = u16::MAX;

/// What interfaces have in common that rules cannot tell apart but by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    loopback: bool,
    rdomain: u8,
    /// Groups that rules ask for.
    groups: KifSet,
}

/// Rules by interface and direction.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    /// By class and direction: `2 * class + direction`.
    pub(super) rows: Vec<Bits>,
    /// Class of an interface by the number of its name.
    class_of: Vec<u16>,
    /// The row of rules with an interface's own name, by that and the direction: `2 * n + direction`.
    own: Vec<u32>,
    own_rows: Rows,
}

impl Ways {
    pub(super) fn build(rules: &[Rule], interfaces: &[IndexedInterface], places: &Places) -> Self {
        let asked = groups_asked(rules);
        let mut ways = Ways {
            rows: Vec::new(),
            class_of: Vec::new(),
            own: Vec::new(),
            own_rows: Rows::new(),
        };
        let mut classes: BTreeMap<Class, u16> = BTreeMap::new();
        for interface in interfaces {
            let class = Class {
                loopback: interface.loopback,
                rdomain: interface.rdomain,
                groups: interface.names.groups_among(&asked),
            };
            let next = classes.len() as u16;
            let number = *classes.entry(class).or_insert(next);
            if number == next && ways.rows.len() <= usize::from(next) * 2 {
                for direction in [Direction::In, Direction::Out] {
                    ways.rows.push(row(rules, &class, direction, places));
                }
            }
            let at = usize::from(interface.kif.0);
            if ways.class_of.len() <= at {
                ways.class_of.resize(at + 1, NONE);
            }
            ways.class_of[at] = number;
        }
        ways.add_own_names(rules, places);
        ways
    }

    /// Rules that an interface has with others, and those with its own name; none if the interface is unknown.
    #[inline]
    pub(super) fn of(&self, kif: KifId, direction: Direction) -> Option<(&Bits, Reader<'_>)> {
        let class = *self.class_of.get(usize::from(kif.0))?;
        let row = self.rows.get(usize::from(class) * 2 + direction.index())?;
        let own = self.own.get(own_key(kif, direction)).copied();
        Some((row, self.own_rows.read(own.unwrap_or(EMPTY_ROW))))
    }

    fn add_own_names(&mut self, rules: &[Rule], places: &Places) {
        let mut named: Vec<(usize, u32)> = Vec::new();
        for (nr, rule) in rules.iter().enumerate() {
            if let Some(IfMatch::Kif { kif, negate: false }) = rule.on
                && kif.group_number().is_none()
            {
                let ways = [Direction::In, Direction::Out].into_iter();
                let wanted = ways.filter(|way| rule.direction.is_none_or(|d| d == *way));
                named.extend(wanted.map(|way| (own_key(kif, way), places.of(nr))));
            }
        }
        named.sort_unstable();
        for list in named.chunk_by(|a, b| a.0 == b.0) {
            let mut words: Vec<(u32, u64)> = Vec::new();
            for (_, place) in list {
                let (block, bit) = (*place / BLOCK as u32, 1 << (place % BLOCK as u32));
                match words.last_mut() {
                    Some(last) if last.0 == block => last.1 |= bit,
                    _ => words.push((block, bit)),
                }
            }
            let row = self.own_rows.push(words.into_iter());
            self.own.resize(list[0].0, EMPTY_ROW);
            self.own.push(row);
        }
    }

    /// Bytes on the heap beside the rows.
    pub(super) fn bytes(&self) -> usize {
        self.class_of.len() * 2 + self.own.len() * 4 + self.own_rows.bytes()
    }
}

#[inline]
fn own_key(kif: KifId, direction: Direction) -> usize {
    usize::from(kif.0) * 2 + direction.index()
}

/// Groups that rules ask for: others make no difference.
fn groups_asked(rules: &[Rule]) -> KifSet {
    let mut asked = KifSet::EMPTY;
    for rule in rules {
        if let Some(IfMatch::Kif { kif, .. }) = rule.on
            && kif.group_number().is_some()
        {
            asked.insert(kif);
        }
    }
    asked
}

fn row(rules: &[Rule], class: &Class, direction: Direction, places: &Places) -> Bits {
    let mut bits = Bits::new(places.count());
    for (nr, rule) in rules.iter().enumerate() {
        if rule.direction.is_none_or(|d| d == direction) && may_be_on(rule.on, class) {
            bits.insert(places.of(nr) as usize);
        }
    }
    bits
}

/// Whether a rule may match on some interface of the class, for another reason than that it has its name.
fn may_be_on(on: Option<IfMatch>, class: &Class) -> bool {
    match on {
        None => true,
        Some(IfMatch::Any) => !class.loopback,
        // Which of them has that name is left to the full test.
        Some(IfMatch::Kif { kif, negate }) if kif.group_number().is_none() => negate,
        Some(IfMatch::Kif { kif, negate }) => class.groups.contains(kif) != negate,
        Some(IfMatch::Rdomain { rdomain, negate }) => (class.rdomain == rdomain) != negate,
    }
}
