//! Where each rule stands in the sets of the index: not in its order in the ruleset, but beside those that ask for the same
//! fields. A rule that does not ask for a field is in all rows of it, so in an order that mixes rules nearly every block
//! has some rule that each field lets pass, and their summaries say nothing. Sorted, the rows of a selective field leave
//! out all blocks but a few. Within such a group rules keep their order.
//!
//! Read first: Baboescu and Varghese, "Scalable packet classification" (SIGCOMM 2001), 5.2, on rearranging rules.

use alloc::vec::Vec;

use super::rows::BLOCK;
use super::{Asked, interval};
use crate::actions::Log;
use crate::rule::{Action, AddrSpec, Rule, TagId};

/// Groups: by whether source, destination and destination port are asked for.
pub(super) const GROUPS_MAX: usize = 8;

/// No rule is in this place.
const HOLE: u32 = u32::MAX;

/// What the rules of a block are to a walk that wants nothing but the rule that decides.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kinds {
    /// Rules that do something even if a later one decides, or that others depend on.
    pub(super) lasting: u64,
    /// The others with `quick`: the first of them that matches decides.
    pub(super) quick: u64,
    /// The others that pass or block: else the last of them that matches decides.
    pub(super) plain: u64,
}

impl Kinds {
    /// Bit n: block n of these has such rules.
    fn summary(blocks: &[Kinds]) -> Kinds {
        let of = |kind: fn(&Kinds) -> u64| {
            let bits = blocks.iter().enumerate();
            bits.fold(0, |all, (n, kinds)| all | u64::from(kind(kinds) != 0) << n)
        };
        Kinds {
            lasting: of(|kinds| kinds.lasting),
            quick: of(|kinds| kinds.quick),
            plain: of(|kinds| kinds.plain),
        }
    }
}

/// Places of all rules.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// By rule.
    of: Vec<u32>,
    /// By place, a multiple of [`BLOCK`].
    rules: Vec<u32>,
    /// First block of each group, ascending, and where the last one ends.
    bounds: Vec<u32>,
    /// By block.
    kinds: Vec<Kinds>,
    /// For each 64 blocks, those that have such rules.
    kind_summaries: Vec<Kinds>,
}

impl Places {
    pub(super) fn of_rules(rules: &[Rule]) -> Self {
        let mut places = Places {
            of: alloc::vec![0; rules.len()],
            rules: Vec::new(),
            bounds: alloc::vec![0],
            kinds: Vec::new(),
            kind_summaries: Vec::new(),
        };
        if rules.len() <= BLOCK {
            places.add_group(0..rules.len());
        } else {
            let groups: Vec<usize> = rules.iter().map(group).collect();
            for group in 0..GROUPS_MAX {
                places.add_group((0..rules.len()).filter(|nr| groups[*nr] == group));
            }
        }
        places.kinds = alloc::vec![Kinds::default(); places.rules.len() / BLOCK];
        let mut anchors_end = 0;
        for (nr, rule) in rules.iter().enumerate() {
            let in_anchor = nr < anchors_end;
            if let Action::Anchor { end } = rule.action {
                anchors_end = anchors_end.max(end as usize);
            }
            let place = places.of[nr] as usize;
            let kinds = &mut places.kinds[place / BLOCK];
            let kind = match kind(rule, nr, in_anchor) {
                Kind::Nothing => continue,
                Kind::Lasting => &mut kinds.lasting,
                Kind::Quick => &mut kinds.quick,
                Kind::Plain => &mut kinds.plain,
            };
            *kind |= 1 << (place % BLOCK);
        }
        places.kind_summaries = places.kinds.chunks(BLOCK).map(Kinds::summary).collect();
        places
    }

    /// Rules of one group, in ascending order. A group begins with a block.
    fn add_group(&mut self, rules: impl Iterator<Item = usize>) {
        let before = self.rules.len();
        for nr in rules {
            self.of[nr] = self.rules.len() as u32;
            self.rules.push(nr as u32);
        }
        if self.rules.len() > before {
            let whole = self.rules.len().next_multiple_of(BLOCK);
            self.rules.resize(whole, HOLE);
            self.bounds.push((whole / BLOCK) as u32);
        }
    }

    /// The place of a rule.
    #[inline]
    pub(super) fn of(&self, rule: usize) -> u32 {
        self.of[rule]
    }

    /// Places in all, some of them empty.
    pub(super) fn count(&self) -> usize {
        self.rules.len()
    }

    /// The rule that stands in a place.
    #[inline]
    pub(super) fn rule(&self, block: u32, bit: u32) -> u32 {
        let place = block as usize * BLOCK + bit as usize;
        self.rules.get(place).copied().unwrap_or(HOLE)
    }

    /// The rules of a block, in ascending order; holes come last.
    #[inline]
    pub(super) fn block(&self, block: u32) -> &[u32] {
        let from = block as usize * BLOCK;
        self.rules.get(from..from + BLOCK).unwrap_or_default()
    }

    /// First block from `block` on, and before `end`, that has a rule from `rule` on.
    pub(super) fn block_from(&self, block: u32, end: u32, rule: u32) -> u32 {
        let last = |block: u32| self.rule(block, BLOCK as u32 - 1);
        let (mut low, mut high) = (block, end);
        while low < high {
            let middle = low.midpoint(high);
            if last(middle) < rule {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// First block and end of each group.
    pub(super) fn groups(&self) -> impl Iterator<Item = (u32, u32)> {
        self.bounds.windows(2).map(|pair| (pair[0], pair[1]))
    }

    #[inline]
    pub(super) fn kinds(&self, block: u32) -> Kinds {
        self.kinds.get(block as usize).copied().unwrap_or_default()
    }

    /// Which of the 64 blocks from `n * 64` have rules of each kind.
    #[inline]
    pub(super) fn kind_summary(&self, n: usize) -> Kinds {
        self.kind_summaries.get(n).copied().unwrap_or_default()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        (self.of.len() + self.rules.len() + self.bounds.len()) * 4
            + (self.kinds.len() + self.kind_summaries.len()) * size_of::<Kinds>()
    }
}

/// Which fields a rule asks for.
fn group(rule: &Rule) -> usize {
    let asks = |end| !matches!(interval(end), Asked::Nothing);
    let asked = [asks(&rule.src), asks(&rule.dst), rule.dst.port.is_some()];
    asked
        .iter()
        .fold(0, |bits, asked| bits << 1 | usize::from(*asked))
}

/// What a rule is to such a walk: as [`Kinds`], or nothing at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Nothing,
    Lasting,
    Quick,
    Plain,
}

/// The kind of rule `nr`.
pub(crate) fn kind(rule: &Rule, nr: usize, in_anchor: bool) -> Kind {
    match rule.action {
        // It has no rules.
        Action::Anchor { end } if end as usize <= nr + 1 && !in_anchor => {
            if lasts(rule) || looks_up(rule) {
                Kind::Lasting
            } else {
                Kind::Nothing
            }
        }
        Action::Pass | Action::Block(_) if !in_anchor && !lasts(rule) => {
            if rule.quick {
                Kind::Quick
            } else if looks_up(rule) {
                Kind::Lasting
            } else {
                Kind::Plain
            }
        }
        _ => Kind::Lasting,
    }
}

/// It does something to packets that match, whatever decides about them.
fn lasts(rule: &Rule) -> bool {
    rule.tag != TagId::default()
        || rule.actions.log.contains(Log::MATCHES)
        || !rule.limits.is_empty()
}

/// Tables count how often they are asked. A rule with `quick` that is left out would not have been reached.
fn looks_up(rule: &Rule) -> bool {
    let is_table = |addr| matches!(addr, AddrSpec::Table(_));
    is_table(rule.src.addr) || is_table(rule.dst.addr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Af;

    fn host(addr: u128) -> AddrSpec {
        AddrSpec::Masked {
            af: Af::Inet,
            addr,
            mask: u128::from(u32::MAX),
        }
    }

    /// Every third rule asks for a source, the others for nothing.
    fn mixed(count: u32) -> Vec<Rule> {
        let rule = |n: u32| {
            let mut rule = Rule::new(Action::Pass);
            if n.is_multiple_of(3) {
                rule.src.addr = host(n.into());
            }
            rule
        };
        (0..count).map(rule).collect()
    }

    #[test]
    fn rules_that_ask_for_the_same_stand_together_in_order() {
        let places = Places::of_rules(&mixed(300));
        let groups: Vec<(u32, u32)> = places.groups().collect();
        // Of 200 and of 100 rules.
        assert_eq!(groups, [(0, 4), (4, 6)]);
        for (n, (from, to)) in groups.into_iter().enumerate() {
            let blocks = (from..to).flat_map(|block| places.block(block).iter().copied());
            let rules: Vec<u32> = blocks.filter(|rule| *rule != HOLE).collect();
            assert!(
                rules.is_sorted() && rules.iter().all(|rule| rule.is_multiple_of(3) == (n == 1))
            );
        }
        for rule in 0..300 {
            let place = places.of(rule);
            assert_eq!(places.rule(place / 64, place % 64), rule as u32);
        }
        // The second block of the first group ends with its 128th rule, 191.
        assert_eq!(
            (places.block_from(0, 4, 191), places.block_from(0, 4, 192)),
            (1, 2)
        );
        assert_eq!(places.block_from(0, 4, HOLE), 3);
        assert_eq!(places.block_from(0, 3, 299), 3);
    }

    #[test]
    fn few_rules_stay_as_they_are() {
        let places = Places::of_rules(&mixed(64));
        assert_eq!(places.groups().collect::<Vec<_>>(), [(0, 1)]);
        assert!((0..64).all(|rule| places.of(rule) == rule as u32));
    }

    #[test]
    fn what_has_an_effect_even_if_another_rule_decides_is_told_apart() {
        let pass = || Rule::new(Action::Pass);
        let quick = |rule| Rule {
            quick: true,
            ..rule
        };
        let table = || {
            let mut rule = pass();
            rule.src.addr = AddrSpec::Table(crate::TableId(0));
            rule
        };
        let rules = [
            pass(),
            quick(pass()),
            Rule::new(Action::Match),
            Rule {
                tag: TagId(1),
                ..pass()
            },
            table(),
            quick(table()),
            Rule::new(Action::Anchor { end: 8 }),
            pass(),
            Rule::new(Action::Anchor { end: 9 }),
        ];
        let kinds = Places::of_rules(&rules).kinds(0);
        assert_eq!(
            (kinds.plain, kinds.quick, kinds.lasting),
            (0b1, 0b10_0010, 0b1101_1100)
        );
    }
}
