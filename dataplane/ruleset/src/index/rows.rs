//! Sets of rules as bits, and how a field of a packet names one. A field divides its values (addresses, ports) into
//! *classes* whose values satisfy the same rules; a class has a *row*: the rules that its values satisfy. Rules that do
//! not ask for the field are left out of the rows and kept once, in the field's *wide* set.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Rules per block: the bits of a word.
pub(super) const BLOCK: usize = 64;

/// A set of rules, one bit each, with a summary: bit n says that word n is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
    summary: Vec<u64>,
}

impl Bits {
    pub(super) fn new(rules: usize) -> Self {
        let blocks = rules.div_ceil(BLOCK);
        Bits {
            words: alloc::vec![0; blocks],
            summary: alloc::vec![0; blocks.div_ceil(BLOCK)],
        }
    }

    pub(super) fn insert(&mut self, rule: usize) {
        let block = rule / BLOCK;
        self.words[block] |= 1 << (rule % BLOCK);
        self.summary[block / BLOCK] |= 1 << (block % BLOCK);
    }

    #[inline]
    pub(super) fn word(&self, block: usize) -> u64 {
        self.words.get(block).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn summary(&self, n: usize) -> u64 {
        self.summary.get(n).copied().unwrap_or(0)
    }

    /// Words of the summary.
    pub(super) fn summaries(&self) -> usize {
        self.summary.len()
    }
}

/// One word of a row that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) block: u32,
    pub(super) word: u64,
}

/// A row that is being read in ascending order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reader<'i> {
    rest: &'i [Entry],
}

impl<'i> Reader<'i> {
    pub(super) fn new(row: &'i [Entry]) -> Self {
        Reader { rest: row }
    }

    /// Which of the 64 blocks from `n * 64` are not empty. The row must not have been read beyond them.
    #[inline]
    pub(super) fn summary(&self, n: usize) -> u64 {
        self.rest
            .iter()
            .take_while(|e| e.block as usize / BLOCK <= n)
            .filter(|e| e.block as usize / BLOCK == n)
            .fold(0, |sum, e| sum | 1 << (e.block as usize % BLOCK))
    }

    /// The word of a block. Blocks must be asked for in ascending order.
    #[inline]
    pub(super) fn word(&mut self, block: usize) -> u64 {
        while let Some((first, rest)) = self.rest.split_first() {
            match (first.block as usize).cmp(&block) {
                core::cmp::Ordering::Less => self.rest = rest,
                core::cmp::Ordering::Equal => return first.word,
                core::cmp::Ordering::Greater => return 0,
            }
        }
        0
    }
}

/// An interval of values, both ends included, and a rule that it satisfies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<V> {
    pub(super) low: V,
    pub(super) high: V,
    pub(super) rule: u32,
}

/// Values a field can have: addresses and ports.
pub(super) trait Value: Copy + Ord {
    const MIN: Self;
    /// The value after this one, if it is not the last.
    fn next(self) -> Option<Self>;
    /// The upper sixteen bits, by which look-ups jump; 0 for types that do not jump.
    fn top(self) -> usize;
    /// Whether look-ups jump.
    const JUMPS: bool;
}

impl Value for u32 {
    const MIN: u32 = 0;
    const JUMPS: bool = true;
    fn next(self) -> Option<u32> {
        self.checked_add(1)
    }
    #[inline]
    fn top(self) -> usize {
        (self >> 16) as usize
    }
}

impl Value for u128 {
    const MIN: u128 = 0;
    const JUMPS: bool = false;
    fn next(self) -> Option<u128> {
        self.checked_add(1)
    }
    fn top(self) -> usize {
        0
    }
}

impl Value for u16 {
    const MIN: u16 = 0;
    const JUMPS: bool = true;
    fn next(self) -> Option<u16> {
        self.checked_add(1)
    }
    #[inline]
    fn top(self) -> usize {
        self as usize
    }
}

/// Most pairs of class and rule that one field may have. Wider rules are treated as if they did not ask for the field
/// until it fits; they are looked at more often, and nothing else changes.
pub(super) const PAIRS_MAX: usize = 1 << 20;

/// Fewer classes than this are searched without a jump.
const JUMP_MIN: usize = 64;

/// Which row a value has.
#[derive(Clone, Debug)]
pub(super) struct Classes<V> {
    /// First value of each class, ascending.
    starts: Vec<V>,
    /// Row of each class.
    rows: Vec<u32>,
    /// Where the rows begin in `entries`, and where the last one ends.
    offsets: Vec<u32>,
    entries: Vec<Entry>,
    /// For each value of the upper sixteen bits: classes that begin below it.
    jump: Vec<u32>,
}

impl<V: Value> Classes<V> {
    /// Classes of the values that the spans tell apart; and the rules that did not fit, which the caller must treat
    /// as wide.
    pub(super) fn build(mut spans: Vec<Span<V>>) -> (Self, Vec<u32>) {
        let too_wide = drop_widest(&mut spans);
        let starts = boundaries(&spans);
        let mut classes = Classes {
            rows: Vec::with_capacity(starts.len()),
            offsets: alloc::vec![0],
            entries: Vec::new(),
            jump: Vec::new(),
            starts,
        };
        classes.fill(&spans);
        classes.make_jump();
        (classes, too_wide)
    }

    /// The row of a value.
    #[inline]
    pub(super) fn row(&self, value: V) -> &[Entry] {
        let class = self.class(value);
        let row = self.rows.get(class).copied().unwrap_or(0) as usize;
        let (from, to) = (self.offsets[row] as usize, self.offsets[row + 1] as usize);
        &self.entries[from..to]
    }

    #[inline]
    fn class(&self, value: V) -> usize {
        let (low, high) = match self.jump.get(value.top()..value.top() + 2) {
            Some(&[low, high]) => (low as usize, high as usize),
            _ => (0, self.starts.len()),
        };
        // The class that begins before this part may reach into it.
        (low + self.starts[low..high].partition_point(|start| *start <= value)).saturating_sub(1)
    }

    /// Sweeps over the values: at each boundary rules come and go.
    fn fill(&mut self, spans: &[Span<V>]) {
        let mut coming: Vec<(V, u32)> = spans.iter().map(|s| (s.low, s.rule)).collect();
        let mut going: Vec<(V, u32)> = spans
            .iter()
            .filter_map(|s| Some((s.high.next()?, s.rule)))
            .collect();
        coming.sort_unstable();
        going.sort_unstable();
        let (mut coming, mut going) = (coming.into_iter().peekable(), going.into_iter().peekable());
        let mut active: BTreeMap<u32, u64> = BTreeMap::new();
        let mut known: BTreeMap<u64, u32> = BTreeMap::new();
        for start in self.starts.clone() {
            while let Some((_, rule)) = going.next_if(|(at, _)| *at <= start) {
                remove(&mut active, rule);
            }
            while let Some((_, rule)) = coming.next_if(|(at, _)| *at <= start) {
                *active.entry(rule / BLOCK as u32).or_default() |= 1 << (rule % BLOCK as u32);
            }
            let row = self.intern(&active, &mut known);
            self.rows.push(row);
        }
    }

    /// The row with these entries; equal rows are kept once if their hashes do not collide.
    fn intern(&mut self, active: &BTreeMap<u32, u64>, known: &mut BTreeMap<u64, u32>) -> u32 {
        let row = active.iter().map(|(&block, &word)| Entry { block, word });
        let hash = row.clone().fold(0xcbf2_9ce4_8422_2325u64, |h, e| {
            let h = (h ^ u64::from(e.block)).wrapping_mul(0x0000_0100_0000_01b3);
            (h ^ e.word)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
        });
        if let Some(&nr) = known.get(&hash) {
            let (from, to) = (self.offsets[nr as usize], self.offsets[nr as usize + 1]);
            let same = &self.entries[from as usize..to as usize];
            if same.iter().copied().eq(row.clone()) {
                return nr;
            }
        }
        self.entries.extend(row);
        self.offsets.push(self.entries.len() as u32);
        let nr = self.offsets.len() as u32 - 2;
        known.insert(hash, nr);
        nr
    }

    fn make_jump(&mut self) {
        if !V::JUMPS || self.starts.len() < JUMP_MIN {
            return;
        }
        let mut jump = alloc::vec![0u32; (1 << 16) + 1];
        for start in &self.starts {
            jump[start.top() + 1] += 1;
        }
        for n in 1..jump.len() {
            jump[n] += jump[n - 1];
        }
        self.jump = jump;
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.starts.len() * size_of::<V>()
            + (self.rows.len() + self.offsets.len() + self.jump.len()) * 4
            + self.entries.len() * size_of::<Entry>()
    }
}

fn remove(active: &mut BTreeMap<u32, u64>, rule: u32) {
    let block = rule / BLOCK as u32;
    if let Some(word) = active.get_mut(&block) {
        *word &= !(1 << (rule % BLOCK as u32));
        if *word == 0 {
            active.remove(&block);
        }
    }
}

/// First values of all classes.
fn boundaries<V: Value>(spans: &[Span<V>]) -> Vec<V> {
    let mut starts: Vec<V> = core::iter::once(V::MIN)
        .chain(spans.iter().map(|s| s.low))
        .chain(spans.iter().filter_map(|s| s.high.next()))
        .collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// Takes out the rules that cover most classes until the rest fits in [`PAIRS_MAX`]; returns them.
fn drop_widest<V: Value>(spans: &mut Vec<Span<V>>) -> Vec<u32> {
    let starts = boundaries(spans);
    let place = |value: V| starts.partition_point(|start| *start <= value);
    let width = |s: &Span<V>| place(s.high) - place(s.low) + 1;
    let mut widths: Vec<(usize, u32)> = spans.iter().map(|s| (width(s), s.rule)).collect();
    let mut total: usize = widths.iter().map(|w| w.0).sum();
    if total <= PAIRS_MAX {
        return Vec::new();
    }
    widths.sort_unstable();
    let mut dropped = Vec::new();
    while total > PAIRS_MAX {
        let Some((width, rule)) = widths.pop() else {
            break;
        };
        total -= width;
        dropped.push(rule);
    }
    dropped.sort_unstable();
    dropped.dedup();
    spans.retain(|s| dropped.binary_search(&s.rule).is_err());
    dropped
}
