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

/// Of 64 blocks those in which a row has a word that is not zero, and where these words are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    blocks: u64,
    /// Place of the first of the words.
    first: u32,
    /// Which 64 blocks: from `nr * 64`.
    nr: u16,
    /// Parts of the row after this one.
    after: u16,
}

/// Rows: sets of rules with few words that are not zero. They are named by the place of their first part.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    parts: Vec<Part>,
    words: Vec<u64>,
}

/// The row without rules.
pub(super) const EMPTY_ROW: u32 = 0;

impl Rows {
    pub(super) fn new() -> Self {
        Rows {
            parts: alloc::vec![Part::default()],
            words: Vec::new(),
        }
    }

    /// Adds a row of words in ascending order of their blocks.
    pub(super) fn push(&mut self, row: impl Iterator<Item = (u32, u64)>) -> u32 {
        let name = self.parts.len();
        for (block, word) in row {
            let nr = (block as usize / BLOCK) as u16;
            if self.parts[name..].last().is_none_or(|part| part.nr != nr) {
                self.parts.push(Part {
                    blocks: 0,
                    first: self.words.len() as u32,
                    nr,
                    after: 0,
                });
            }
            if let Some(part) = self.parts.last_mut() {
                part.blocks |= 1 << (block as usize % BLOCK);
            }
            self.words.push(word);
        }
        let parts = self.parts.len() - name;
        if parts == 0 {
            return EMPTY_ROW;
        }
        for (n, part) in self.parts[name..].iter_mut().enumerate() {
            part.after = (parts - 1 - n) as u16;
        }
        name as u32
    }

    /// True if the row has these words.
    fn is(&self, row: u32, words: impl Iterator<Item = (u32, u64)>) -> bool {
        let reader = self.read(row);
        let of_part = |part: &Part| {
            let part = *part;
            let blocks = (0..BLOCK as u32).filter(move |n| part.blocks >> n & 1 == 1);
            blocks.map(move |n| {
                (
                    u32::from(part.nr) * BLOCK as u32 + n,
                    reader.word_in(&part, n),
                )
            })
        };
        reader.parts.iter().flat_map(of_part).eq(words)
    }

    #[inline]
    pub(super) fn read(&self, row: u32) -> Reader<'_> {
        let from = row as usize;
        let after = self.parts.get(from).map_or(0, |part| part.after);
        Reader {
            parts: self
                .parts
                .get(from..=from + usize::from(after))
                .unwrap_or_default(),
            words: &self.words,
        }
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.parts.len() * size_of::<Part>() + self.words.len() * 8
    }
}

/// A row, to be read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reader<'i> {
    parts: &'i [Part],
    words: &'i [u64],
}

impl Reader<'_> {
    /// The part of the 64 blocks from `n * 64`.
    #[inline]
    pub(super) fn part(&self, n: usize) -> Part {
        match self.parts {
            [] => Part::default(),
            // Nearly always: a ruleset has up to 4,096 rules, or a value is asked for by few.
            [one] if usize::from(one.nr) == n => *one,
            parts => *parts
                .iter()
                .find(|part| usize::from(part.nr) == n)
                .unwrap_or(&Part::default()),
        }
    }

    /// The word of block `bit` of a part of this row.
    #[inline]
    pub(super) fn word_in(&self, part: &Part, bit: u32) -> u64 {
        let mask = 1u64 << bit;
        if part.blocks & mask == 0 {
            return 0;
        }
        let before = (part.blocks & (mask - 1)).count_ones();
        self.words
            .get((part.first + before) as usize)
            .copied()
            .unwrap_or(0)
    }
}

impl Part {
    /// Blocks that are not empty.
    #[inline]
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
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
    /// Whether the upper sixteen bits are all there is, so that a jump leads to the row itself.
    const IS_SHORT: bool;
}

impl Value for u32 {
    const MIN: u32 = 0;
    const JUMPS: bool = true;
    const IS_SHORT: bool = false;
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
    const IS_SHORT: bool = false;
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
    const IS_SHORT: bool = true;
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
    /// First value of each class, ascending, and its row.
    classes: Vec<(V, u32)>,
    rows: Rows,
    /// For each value of the upper sixteen bits: classes that begin below it; for short values their row.
    jump: Vec<u32>,
}

impl<V: Value> Classes<V> {
    /// Classes of the values that the spans tell apart; and the rules that did not fit, which the caller must treat
    /// as wide.
    pub(super) fn build(mut spans: Vec<Span<V>>) -> (Self, Vec<u32>) {
        let too_wide = drop_widest(&mut spans);
        let starts = boundaries(&spans);
        let mut classes = Classes {
            classes: Vec::with_capacity(starts.len()),
            rows: Rows::new(),
            jump: Vec::new(),
        };
        classes.fill(&spans, starts);
        classes.make_jump();
        (classes, too_wide)
    }

    /// The row of a value.
    #[inline]
    pub(super) fn row(&self, value: V) -> Reader<'_> {
        if self.rows.parts.len() == 1 {
            // No rule asks for the field.
            return Reader::default();
        }
        if V::IS_SHORT
            && let Some(&row) = self.jump.get(value.top())
        {
            return self.rows.read(row);
        }
        let (low, high) = match self.jump.get(value.top()..value.top() + 2) {
            Some(&[low, high]) if !V::IS_SHORT => (low as usize, high as usize),
            _ => (0, self.classes.len()),
        };
        let part = self.classes.get(low..high).unwrap_or_default();
        // The class that begins before this part may reach into it.
        let class = (low + part.partition_point(|(start, _)| *start <= value)).wrapping_sub(1);
        let row = self.classes.get(class).map_or(EMPTY_ROW, |(_, row)| *row);
        self.rows.read(row)
    }

    /// First value of each class, and which of the first 64 rules its values satisfy.
    pub(super) fn words(&self) -> impl Iterator<Item = (V, u64)> {
        let first = |row: u32| {
            let reader = self.rows.read(row);
            reader.word_in(&reader.part(0), 0)
        };
        self.classes
            .iter()
            .map(move |(start, row)| (*start, first(*row)))
    }

    /// Sweeps over the values: at each boundary rules come and go.
    fn fill(&mut self, spans: &[Span<V>], starts: Vec<V>) {
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
        for start in starts {
            while let Some((_, rule)) = going.next_if(|(at, _)| *at <= start) {
                remove(&mut active, rule);
            }
            while let Some((_, rule)) = coming.next_if(|(at, _)| *at <= start) {
                *active.entry(rule / BLOCK as u32).or_default() |= 1 << (rule % BLOCK as u32);
            }
            let row = self.intern(&active, &mut known);
            self.classes.push((start, row));
        }
    }

    /// The row with these entries; equal rows are kept once if their hashes do not collide.
    fn intern(&mut self, active: &BTreeMap<u32, u64>, known: &mut BTreeMap<u64, u32>) -> u32 {
        let row = active.iter().map(|(&block, &word)| (block, word));
        let hash = row
            .clone()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, (block, word)| {
                let h = (h ^ u64::from(block)).wrapping_mul(0x0000_0100_0000_01b3);
                (h ^ word)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(29)
            });
        if let Some(&name) = known.get(&hash)
            && self.rows.is(name, row.clone())
        {
            return name;
        }
        let name = self.rows.push(row);
        known.insert(hash, name);
        name
    }

    fn make_jump(&mut self) {
        if !V::JUMPS || self.classes.len() < JUMP_MIN {
            return;
        }
        if V::IS_SHORT {
            self.jump = self.rows_by_value();
            return;
        }
        let mut jump = alloc::vec![0u32; (1 << 16) + 1];
        for (start, _) in &self.classes {
            jump[start.top() + 1] += 1;
        }
        for n in 1..jump.len() {
            jump[n] += jump[n - 1];
        }
        self.jump = jump;
    }

    fn rows_by_value(&self) -> Vec<u32> {
        let ends = self.classes.iter().skip(1).map(|(start, _)| start.top());
        let ends = ends.chain([1 << 16]);
        let runs = self.classes.iter().zip(ends);
        let run =
            |((start, row), end): (&(V, u32), usize)| core::iter::repeat_n(*row, end - start.top());
        runs.flat_map(run).collect()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.classes.len() * size_of::<(V, u32)>() + self.jump.len() * 4 + self.rows.bytes()
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
