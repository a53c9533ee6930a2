//! The rules that are in all sets that a packet's fields name. Most packets have a few, in as many blocks: these blocks are
//! found once and kept. If there are too many, one of each group is kept, and the group's next one is found when it has
//! been read.

use super::Index;
use super::places::{GROUPS_MAX, Kinds, Places};
use super::rows::{BLOCK, Bits, Part, Reader};
use crate::facts::Facts;

/// What one field of a packet says: rules that do not ask for it, and those that do and like the packet's.
#[derive(Clone, Debug)]
pub(super) struct Field<'i> {
    pub(super) wide: &'i Bits,
    pub(super) own: Reader<'i>,
}

/// Fields: interface with direction, protocol with family, two addresses, two ports. Those come first that leave out most
/// rules: once there are none the others are not asked.
const FIELDS: usize = 6;

/// What the fields of a packet say.
#[derive(Clone, Debug)]
pub(super) struct Fields<'i>(pub(super) [Field<'i>; FIELDS]);

/// What fields say of 64 blocks.
struct Chunk {
    /// Blocks that may have a candidate.
    blocks: u64,
    own: [Part; FIELDS],
}

impl Fields<'_> {
    #[inline]
    fn chunk(&self, n: usize) -> Chunk {
        let mut chunk = Chunk {
            blocks: u64::MAX,
            own: [Part::default(); FIELDS],
        };
        for (field, own) in self.0.iter().zip(&mut chunk.own) {
            *own = field.own.part(n);
            chunk.blocks &= field.wide.summary(n) | own.blocks();
        }
        chunk
    }

    #[inline]
    fn word(&self, chunk: &Chunk, block: usize) -> u64 {
        let bit = (block % BLOCK) as u32;
        let mut word = u64::MAX;
        for (field, own) in self.0.iter().zip(&chunk.own) {
            word &= field.wide.word(block) | field.own.word_in(own, bit);
            if word == 0 {
                break;
            }
        }
        word
    }

    /// The first block from `block` on, and before `end`, that has a candidate of a kind.
    #[inline]
    fn first(&self, places: &Places, (block, end): (u32, u32), kind: impl Kind) -> Option<Head> {
        let mut from = block as usize;
        while from < end as usize {
            let n = from / BLOCK;
            let mut chunk = self.chunk(n);
            chunk.blocks &= u64::MAX << (from % BLOCK) & kind(places.kind_summary(n));
            while chunk.blocks != 0 {
                let block = (n * BLOCK) as u32 + chunk.blocks.trailing_zeros();
                if block >= end {
                    return None;
                }
                chunk.blocks &= chunk.blocks - 1;
                let word = self.word(&chunk, block as usize) & kind(places.kinds(block));
                if word != 0 {
                    return Some(Head { word, block, end });
                }
            }
            from = (n + 1) * BLOCK;
        }
        None
    }

    /// The last block from `start` on, and before `end`, that has a candidate of a kind; before it there may be more.
    #[inline]
    fn last(&self, places: &Places, (start, end): (u32, u32), kind: impl Kind) -> Option<Head> {
        let mut to = end as usize;
        while to > start as usize {
            let n = (to - 1) / BLOCK;
            let mut chunk = self.chunk(n);
            chunk.blocks &= u64::MAX >> (BLOCK - 1 - (to - 1) % BLOCK);
            chunk.blocks &= kind(places.kind_summary(n));
            while chunk.blocks != 0 {
                let bit = last_bit(chunk.blocks);
                let block = (n * BLOCK) as u32 + bit;
                if block < start {
                    return None;
                }
                chunk.blocks &= !(1 << bit);
                let word = self.word(&chunk, block as usize) & kind(places.kinds(block));
                if word != 0 {
                    let end = start;
                    return Some(Head { word, block, end });
                }
            }
            to = n * BLOCK;
        }
        None
    }
}

/// Which rules of a block, or which blocks of 64, are looked at.
trait Kind: Fn(Kinds) -> u64 + Copy {}
impl<F: Fn(Kinds) -> u64 + Copy> Kind for F {}

/// Rules of all kinds.
#[inline]
fn of_any(_: Kinds) -> u64 {
    u64::MAX
}

/// Rules that a walk to the decision must not leave out.
#[inline]
fn stops(kinds: Kinds) -> u64 {
    kinds.lasting | kinds.quick
}

#[inline]
fn plain(kinds: Kinds) -> u64 {
    kinds.plain
}

/// A block with candidates.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Those that have not been given out.
    word: u64,
    block: u32,
    /// Before this block there may be more; going back, from this block on.
    end: u32,
}

type Heads = heapless::Vec<Head, GROUPS_MAX>;

/// What [`Candidates`] keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Kept {
    /// Nothing yet.
    #[default]
    Nothing,
    /// All blocks that have candidates.
    All,
    /// Of each group the next block with candidates of any kind.
    Groups,
    /// Of each group the next block with candidates that [`stops`] names.
    Stops,
}

/// Rules that a packet may match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates<'i> {
    /// None while all are kept.
    fields: Option<Fields<'i>>,
    heads: Heads,
    kept: Kept,
}

impl<'i> Candidates<'i> {
    /// Turns to a packet. False if it passes an interface that the index does not know.
    #[inline]
    pub(crate) fn turn_to(&mut self, index: &'i Index, facts: &Facts) -> bool {
        let Some(single) = &index.single else {
            return self.turn_to_many(index, facts);
        };
        let word = single.word(&index.protocol_row, facts);
        self.kept = Kept::All;
        self.heads.clear();
        if let Some(word) = word.filter(|word| *word != 0) {
            let (block, end) = (0, 1);
            // There is room for one.
            let _fits = self.heads.push(Head { word, block, end });
        }
        word.is_some()
    }

    #[inline]
    fn turn_to_many(&mut self, index: &'i Index, facts: &Facts) -> bool {
        self.heads.clear();
        let Some(way) = index.ways.of(facts.kif, facts.direction) else {
            return false;
        };
        let fields = index.fields(way, facts);
        // They are long: they are only put down if they are needed again.
        if gather(&fields, &mut self.heads) {
            (self.kept, self.fields) = (Kept::All, None);
        } else {
            (self.kept, self.fields) = (Kept::Nothing, Some(fields));
        }
        true
    }

    /// See [`Index::decision`].
    pub(super) fn decision(
        mut self,
        index: &'i Index,
        facts: &Facts,
        mut matches: impl FnMut(u32) -> bool,
    ) -> Option<Option<u32>> {
        let known = self.turn_to_many(index, facts);
        if !known || self.kept != Kept::All {
            return None;
        }
        let mut quick = [0; GROUPS_MAX];
        let mut lasting = 0;
        for (head, quick) in self.heads.iter().zip(&mut quick) {
            let kinds = index.places.kinds(head.block);
            lasting |= kinds.lasting & head.word;
            *quick = kinds.quick & head.word;
        }
        if lasting != 0 {
            return None;
        }
        while quick != [0; GROUPS_MAX] {
            let heads = self.heads.iter().zip(&quick).enumerate();
            let named = heads.filter(|(_, (_, word))| **word != 0);
            let rules = named.map(|(n, (head, word))| {
                let bit = word.trailing_zeros();
                (index.places.rule(head.block, bit), n)
            });
            let (rule, n) = rules.min()?;
            if matches(rule) {
                return Some(Some(rule));
            }
            quick[n] &= quick[n] - 1;
        }
        Some(self.last_plain(index, (0, u32::MAX), matches))
    }

    /// The first candidate that is not below `from`. `from` may only grow.
    pub(crate) fn next(&mut self, index: &Index, from: u32) -> Option<u32> {
        if !matches!(self.kept, Kept::All | Kept::Groups) {
            self.keep(index, from, Kept::Groups, of_any);
        }
        self.next_of(index, from, of_any)
    }

    /// The same of those candidates that have an effect even if a later one decides, or that decide at once.
    #[inline]
    pub(crate) fn next_stop(&mut self, index: &Index, from: u32) -> Option<u32> {
        if !matches!(self.kept, Kept::All | Kept::Stops) {
            self.keep(index, from, Kept::Stops, stops);
        }
        self.next_of(index, from, stops)
    }

    /// Rare: few packets have more candidates than are kept at once.
    #[inline(never)]
    fn keep(&mut self, index: &Index, from: u32, kept: Kept, kind: impl Kind) {
        self.kept = kept;
        let places = &index.places;
        if let Some(fields) = &self.fields {
            self.heads = groups(places, |(start, end)| {
                let start = places.block_from(start, end, from);
                fields.first(places, (start, end), kind)
            });
        }
    }

    #[inline]
    fn next_of(&mut self, index: &Index, from: u32, kind: impl Kind) -> Option<u32> {
        let places = &index.places;
        loop {
            let mut first: Option<(u32, usize, u32)> = None;
            for (n, head) in self.heads.iter().enumerate() {
                let word = head.word & kind(places.kinds(head.block));
                if word != 0 {
                    let bit = word.trailing_zeros();
                    let rule = places.rule(head.block, bit);
                    if first.is_none_or(|(before, ..)| rule < before) {
                        first = Some((rule, n, bit));
                    }
                }
            }
            let (rule, n, bit) = first?;
            let head = self.heads.get_mut(n)?;
            if rule >= from {
                head.word &= !(1 << bit);
            } else {
                // An anchor with many rules may have been left out. Rules of other kinds may still be asked for.
                head.word &= !(below(places, head.block, from) & kind(places.kinds(head.block)));
            }
            if self.kept != Kept::All && head.word == 0 {
                self.go_on(places, n, from, kind);
            }
            if rule >= from {
                return Some(rule);
            }
        }
    }

    /// The next head of a group of which one has been read.
    #[inline(never)]
    fn go_on(&mut self, places: &Places, n: usize, from: u32, kind: impl Kind) {
        if let (Some(fields), Some(head)) = (&self.fields, self.heads.get(n)) {
            let from_block = places.block_from(head.block + 1, head.end, from);
            let more = fields.first(places, (from_block, head.end), kind);
            replace(&mut self.heads, n, more);
        }
    }

    /// Of the candidates from `from` on and before `to` that only pass or block, the last that matches.
    #[inline]
    pub(crate) fn last_plain(
        &self,
        index: &Index,
        (from, to): (u32, u32),
        mut matches: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let places = &index.places;
        if self.kept != Kept::All {
            return self.last_plain_of_groups(places, (from, to), &mut matches);
        }
        let mut words = [0; GROUPS_MAX];
        for (head, word) in self.heads.iter().zip(&mut words) {
            *word = head.word & places.kinds(head.block).plain;
            if from > 0 {
                *word &= !below(places, head.block, from);
            }
            if to < u32::MAX {
                *word &= below(places, head.block, to);
            }
        }
        loop {
            let mut last = None;
            for (n, (head, word)) in self.heads.iter().zip(&words).enumerate() {
                if *word != 0 {
                    let bit = last_bit(*word);
                    last = last.max(Some((places.rule(head.block, bit), n, bit)));
                }
            }
            let (rule, n, bit) = last?;
            if matches(rule) {
                return Some(rule);
            }
            words[n] &= !(1 << bit);
        }
    }

    /// The same where there are too many candidates to keep: each group is gone through from its last.
    #[inline(never)]
    fn last_plain_of_groups(
        &self,
        places: &Places,
        (from, to): (u32, u32),
        matches: &mut impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let fields = self.fields.as_ref()?;
        // The last block that has rules before `to` may have some that come after.
        let mut heads = groups(places, |(start, end)| {
            let to_block = places.block_from(start, end, to).saturating_add(1).min(end);
            let from_block = places.block_from(start, end, from);
            let mut head = fields.last(places, (from_block, to_block), plain)?;
            while head.word & below(places, head.block, to) == 0 {
                head = fields.last(places, (from_block, head.block), plain)?;
            }
            head.word &= below(places, head.block, to);
            Some(head)
        });
        let behind = |head: &Head| places.rule(head.block, last_bit(head.word));
        while let Some((rule, n)) = heads.iter().map(behind).zip(0..).max() {
            if rule < from {
                return None;
            }
            if matches(rule) {
                return Some(rule);
            }
            let head = heads.get_mut(n)?;
            head.word &= !(1 << last_bit(head.word));
            if head.word == 0 {
                let range = (head.end, head.block);
                replace(&mut heads, n, fields.last(places, range, plain));
            }
        }
        None
    }
}

#[inline]
fn last_bit(word: u64) -> u32 {
    BLOCK as u32 - 1 - word.leading_zeros()
}

/// Those rules of a block that come before `rule`.
#[inline]
fn below(places: &Places, block: u32, rule: u32) -> u64 {
    let before = places.block(block).partition_point(|other| *other < rule);
    !u64::MAX.unbounded_shl(before as u32)
}

/// A head for each group that `find` finds one in.
#[inline]
fn groups(places: &Places, find: impl Fn((u32, u32)) -> Option<Head>) -> Heads {
    let mut heads = Heads::new();
    for group in places.groups() {
        // There are as many places as groups.
        let _fits = find(group).map(|head| heads.push(head));
    }
    heads
}

/// The next head of a group, or none if that was its last.
#[inline]
fn replace(heads: &mut Heads, n: usize, next: Option<Head>) {
    match next {
        Some(next) => heads[n] = next,
        None => drop(heads.swap_remove(n)),
    }
}

/// All blocks that have candidates; false if there are more than fit.
#[inline]
fn gather(fields: &Fields<'_>, heads: &mut Heads) -> bool {
    for n in 0..fields.0[0].wide.summaries() {
        let mut chunk = fields.chunk(n);
        while chunk.blocks != 0 {
            let block = n * BLOCK + chunk.blocks.trailing_zeros() as usize;
            chunk.blocks &= chunk.blocks - 1;
            let word = fields.word(&chunk, block);
            let head = Head {
                word,
                block: block as u32,
                end: block as u32 + 1,
            };
            if word != 0 && heads.push(head).is_err() {
                return false;
            }
        }
    }
    true
}
