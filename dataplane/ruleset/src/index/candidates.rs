//! The rules that are in all sets that a packet's fields name. Most packets have a few, in as many blocks: these blocks are
//! found once and kept. If there are too many, one of each group is kept, and the group's next one is found when it has
//! been read.

use super::Index;
use super::places::GROUPS_MAX;
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

    /// The first block from `block` on, and before `end`, that has a candidate.
    fn first(&self, block: u32, end: u32) -> Option<Head> {
        let mut from = block as usize;
        while from < end as usize {
            let mut chunk = self.chunk(from / BLOCK);
            chunk.blocks &= u64::MAX << (from % BLOCK);
            let base = from / BLOCK * BLOCK;
            while chunk.blocks != 0 {
                let block = base + chunk.blocks.trailing_zeros() as usize;
                if block >= end as usize {
                    return None;
                }
                chunk.blocks &= chunk.blocks - 1;
                let word = self.word(&chunk, block);
                if word != 0 {
                    return Some(Head {
                        word,
                        block: block as u32,
                        end,
                    });
                }
            }
            from = base + BLOCK;
        }
        None
    }
}

/// A block with candidates.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Those that have not been given out.
    word: u64,
    block: u32,
    /// Before this block there may be more.
    end: u32,
}

/// Rules that a packet may match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates<'i> {
    fields: Option<Fields<'i>>,
    heads: heapless::Vec<Head, GROUPS_MAX>,
    /// `heads` has all of them.
    all: bool,
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
        if !self.all {
            self.heads.clear();
            for (block, end) in index.places.groups() {
                // There are as many places as groups.
                let _fits = fields.first(block, end).map(|head| self.heads.push(head));
            }
        }
        true
    }

    /// True if which rule decides can be told from [`Self::next_quick`] and [`Self::last_plain`] alone.
    #[inline]
    pub(crate) fn are_simple(&self, index: &Index) -> bool {
        let lasts = |head: &Head| head.word & index.places.kinds(head.block).lasting != 0;
        self.all && !self.heads.iter().any(lasts)
    }

    /// The first candidate with `quick` that has not been given out.
    #[inline]
    pub(crate) fn next_quick(&mut self, index: &Index) -> Option<u32> {
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
    pub(crate) fn last_plain(&mut self, index: &Index) -> Option<u32> {
        let mut last = None;
        for (n, head) in self.heads.iter().enumerate() {
            let word = head.word & index.places.kinds(head.block).plain;
            if word != 0 {
                let bit = BLOCK as u32 - 1 - word.leading_zeros();
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

    /// The first candidate that is not below `from`. `from` may only grow.
    #[inline]
    pub(crate) fn next(&mut self, index: &Index, from: u32) -> Option<u32> {
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
                match fields.first(from_block, head.end) {
                    Some(more) => *head = more,
                    None => drop(self.heads.swap_remove(n)),
                }
            }
            if rule >= from {
                return Some(rule);
            }
        }
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
