//! The rules that are in all sets that a packet's fields name. Most packets have a few, in as many blocks: these blocks are
//! found once and kept. If there are too many, one of each group is kept, and the group's next one is found when it has
//! been read.

use super::Index;
use super::places::{GROUPS_MAX, Kinds, Places};
use super::rows::{BLOCK, Bits, Part, Reader};
use crate::facts::Facts;

/// What the fields of a packet say.
#[derive(Clone, Debug)]
pub(super) struct Fields<'i> {
    pub(super) way: &'i Bits,
    /// Rules that name the interface itself, beside those in `way`.
    pub(super) own_name: Reader<'i>,
    pub(super) protocol: &'i Bits,
    /// Of source, destination, source port, destination port: rules that do not ask for it, and those that do and like
    /// the packet's.
    pub(super) ends: [(&'i Bits, Reader<'i>); 4],
}

/// What fields say of 64 blocks.
struct Chunk {
    /// Blocks that may have a candidate.
    blocks: u64,
    own_name: Part,
    ends: [Part; 4],
}

impl Fields<'_> {
    #[inline]
    fn chunk(&self, n: usize) -> Chunk {
        let own_name = self.own_name.part(n);
        let ends = core::array::from_fn(|end: usize| self.ends[end].1.part(n));
        let mut blocks = (self.way.summary(n) | own_name.blocks()) & self.protocol.summary(n);
        for ((wide, _), part) in self.ends.iter().zip(&ends) {
            blocks &= wide.summary(n) | part.blocks();
        }
        Chunk {
            blocks,
            own_name,
            ends,
        }
    }

    #[inline]
    fn word(&self, chunk: &Chunk, block: usize) -> u64 {
        let bit = (block % BLOCK) as u32;
        let way = self.way.word(block) | self.own_name.word_in(&chunk.own_name, bit);
        let mut word = way & self.protocol.word(block);
        for ((wide, reader), part) in self.ends.iter().zip(&chunk.ends) {
            word &= wide.word(block) | reader.word_in(part, bit);
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
                let bit = BLOCK as u32 - 1 - chunk.blocks.leading_zeros();
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

/// A block with candidates.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Those that have not been given out.
    word: u64,
    block: u32,
    /// Before this block there may be more; going back, from this block on.
    end: u32,
}

/// Rules that a packet may match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates<'i> {
    fields: Option<Fields<'i>>,
    heads: heapless::Vec<Head, GROUPS_MAX>,
    /// `heads` has all of them.
    all: bool,
    /// If not: `heads` has the next ones of each group.
    in_groups: bool,
}

impl<'i> Candidates<'i> {
    /// Turns to a packet. False if it passes an interface that the index does not know.
    #[inline]
    pub(crate) fn turn_to(&mut self, index: &'i Index, facts: &Facts) -> bool {
        self.fields = index.fields(facts);
        self.heads.clear();
        let Some(fields) = &self.fields else {
            return false;
        };
        self.all = gather(fields, &mut self.heads);
        self.in_groups = false;
        true
    }

    /// True if which rule decides can be told from the candidates with `quick` and the last one without: none does
    /// anything else.
    #[inline]
    pub(crate) fn are_simple(&self, index: &Index) -> bool {
        if !self.all {
            return self.are_many_simple(index);
        }
        let lasts = |head: &Head| head.word & index.places.kinds(head.block).lasting != 0;
        !self.heads.iter().any(lasts)
    }

    fn are_many_simple(&self, index: &Index) -> bool {
        let places = &index.places;
        let everywhere = (0, (places.count() / BLOCK) as u32);
        let lasting = |fields: &Fields<'_>| fields.first(places, everywhere, |kinds| kinds.lasting);
        self.fields.as_ref().and_then(lasting).is_none()
    }

    /// Of candidates that are simple, the one that decides: the first with `quick` that matches, else the last that does.
    #[inline]
    pub(crate) fn decide(
        &mut self,
        index: &Index,
        mut matches: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        if !self.all {
            return self.decide_by_groups(&index.places, &mut matches);
        }
        while let Some(rule) = self.next_quick(index) {
            if matches(rule) {
                return Some(rule);
            }
        }
        while let Some(rule) = self.last_plain(index) {
            if matches(rule) {
                return Some(rule);
            }
        }
        None
    }

    /// The first candidate with `quick` that has not been given out.
    #[inline]
    fn next_quick(&mut self, index: &Index) -> Option<u32> {
        let mut first = (u32::MAX, 0, 0);
        for (n, head) in self.heads.iter().enumerate() {
            let word = head.word & index.places.kinds(head.block).quick;
            if word != 0 {
                let bit = word.trailing_zeros();
                first = first.min((index.places.rule(head.block, bit), n, bit));
            }
        }
        self.take(first)
    }

    /// The last candidate that has not been given out, of those that only pass or block.
    #[inline]
    fn last_plain(&mut self, index: &Index) -> Option<u32> {
        let mut last = None;
        for (n, head) in self.heads.iter().enumerate() {
            let word = head.word & index.places.kinds(head.block).plain;
            if word != 0 {
                let bit = last_bit(word);
                last = last.max(Some((index.places.rule(head.block, bit), n, bit)));
            }
        }
        self.take(last?)
    }

    #[inline]
    fn take(&mut self, (rule, n, bit): (u32, usize, u32)) -> Option<u32> {
        let head = self.heads.get_mut(n).filter(|_| rule != u32::MAX)?;
        head.word &= !(1 << bit);
        Some(rule)
    }

    /// The same where there are too many candidates to keep: each group is gone through from its first, or from its last.
    #[inline(never)]
    fn decide_by_groups(
        &mut self,
        places: &Places,
        matches: &mut impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let fields = self.fields.as_ref()?;
        let heads = &mut self.heads;
        let quick = |kinds: Kinds| kinds.quick;
        fill(heads, places, |range| fields.first(places, range, quick));
        let ahead = |head: &Head| places.rule(head.block, head.word.trailing_zeros());
        while let Some((rule, n)) = heads.iter().map(ahead).zip(0..).min() {
            if matches(rule) {
                return Some(rule);
            }
            let head = &mut heads[n];
            head.word &= head.word - 1;
            if head.word == 0 {
                let range = (head.block + 1, head.end);
                replace(heads, n, fields.first(places, range, quick));
            }
        }
        let plain = |kinds: Kinds| kinds.plain;
        fill(heads, places, |range| fields.last(places, range, plain));
        let behind = |head: &Head| places.rule(head.block, last_bit(head.word));
        while let Some((rule, n)) = heads.iter().map(behind).zip(0..).max() {
            if matches(rule) {
                return Some(rule);
            }
            let head = &mut heads[n];
            head.word &= !(1 << last_bit(head.word));
            if head.word == 0 {
                let range = (head.end, head.block);
                replace(heads, n, fields.last(places, range, plain));
            }
        }
        None
    }

    /// The first candidate that is not below `from`. `from` may only grow.
    #[inline]
    pub(crate) fn next(&mut self, index: &Index, from: u32) -> Option<u32> {
        if !self.all && !self.in_groups {
            self.in_groups = true;
            let (places, fields) = (&index.places, self.fields.as_ref()?);
            let heads = &mut self.heads;
            fill(heads, places, |range| fields.first(places, range, of_any));
        }
        loop {
            let mut first = (u32::MAX, 0);
            for (n, head) in self.heads.iter().enumerate() {
                let rule = index.places.rule(head.block, head.word.trailing_zeros());
                first = first.min((rule, n));
            }
            let (rule, n) = first;
            let head = self.heads.get_mut(n)?;
            if rule >= from {
                head.word &= head.word - 1;
            } else {
                // An anchor with many rules may have been left out.
                let below = index
                    .places
                    .block(head.block)
                    .partition_point(|rule| *rule < from);
                head.word &= u64::MAX.unbounded_shl(below as u32);
            }
            if head.word == 0 {
                let from_block = index.places.block_from(head.block + 1, head.end, from);
                let fields = self.fields.as_ref()?;
                let more = fields.first(&index.places, (from_block, head.end), of_any);
                replace(&mut self.heads, n, more);
            }
            if rule >= from {
                return Some(rule);
            }
        }
    }
}

/// Rules of all kinds.
#[inline]
fn of_any(_: Kinds) -> u64 {
    u64::MAX
}

#[inline]
fn last_bit(word: u64) -> u32 {
    BLOCK as u32 - 1 - word.leading_zeros()
}

/// A head for each group that `find` finds one in.
#[inline]
fn fill(
    heads: &mut heapless::Vec<Head, GROUPS_MAX>,
    places: &Places,
    find: impl Fn((u32, u32)) -> Option<Head>,
) {
    heads.clear();
    for group in places.groups() {
        // There are as many places as groups.
        let _fits = find(group).map(|head| heads.push(head));
    }
}

/// The next head of a group, or none if that was its last.
#[inline]
fn replace(heads: &mut heapless::Vec<Head, GROUPS_MAX>, n: usize, next: Option<Head>) {
    match next {
        Some(next) => heads[n] = next,
        None => drop(heads.swap_remove(n)),
    }
}

/// All blocks that have candidates; false if there are more than fit.
#[inline]
fn gather(fields: &Fields<'_>, heads: &mut heapless::Vec<Head, GROUPS_MAX>) -> bool {
    for n in 0..fields.way.summaries() {
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
