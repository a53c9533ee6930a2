//! The hash index of a table: buckets of one cache line, tags before keys.
//!
//! A bucket holds seven entries. When its home bucket is full an entry goes to another, and the home bucket counts how
//! many of its own live elsewhere, so that a look-up that misses usually stops after one line. Which others there are
//! depends on the entry's tag: if they were the next ones, full buckets would make their neighbors full, and eight in a
//! row refuse an entry when less than two thirds of all places are in use.

use alloc::boxed::Box;
use alloc::vec;

/// Entries of a bucket.
const PLACES: usize = 7;
/// Buckets that an entry may live in.
const REACH: usize = 8;

/// One cache line: tags (bits of the hash, never 0 for an entry in use), then the numbers of what is found.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; PLACES + 1],
    entries: [u32; PLACES],
    /// Entries whose home is here and that live in another bucket.
    strayed: u32,
    spare: [u32; 4],
}

const _: () = assert!(size_of::<Bucket>() == 64);

const EMPTY: Bucket = Bucket {
    tags: [0; PLACES + 1],
    entries: [0; PLACES],
    strayed: 0,
    spare: [0; 4],
};

impl Bucket {
    /// Adds an entry if there is a place.
    #[inline(always)]
    fn put(&mut self, tag: u16, entry: u32) -> bool {
        let free = tag_hits(self, 0);
        if free == 0 {
            return false;
        }
        let place = place_of(free);
        self.tags[place] = tag;
        self.entries[place] = entry;
        true
    }

    /// Removes an entry if it is here.
    #[inline(always)]
    fn take(&mut self, tag: u16, entry: u32) -> bool {
        let is_it = |n: &usize| self.tags[*n] == tag && self.entries[*n] == entry;
        let place = (0..PLACES).find(is_it);
        if let Some(place) = place {
            self.tags[place] = 0;
        }
        place.is_some()
    }
}

/// Where a hash leads.
#[derive(Clone, Copy, Debug)]
struct Home {
    bucket: usize,
    tag: u16,
}

impl Home {
    /// The bucket that comes after so many others. A tag is odd and there is a power of two of buckets, so that all are
    /// different.
    #[inline]
    fn after(&self, step: usize, buckets: usize) -> usize {
        (self.bucket + step * usize::from(self.tag)) & (buckets - 1)
    }
}

/// The index. Fixed size.
pub struct Index {
    buckets: Box<[Bucket]>,
}

impl Index {
    /// An index for `entries` entries, at most half full.
    pub fn new(entries: usize) -> Self {
        Index {
            buckets: vec![EMPTY; buckets_for(entries)].into_boxed_slice(),
        }
    }

    /// Bytes of an index for `entries` entries.
    pub const fn bytes(entries: usize) -> usize {
        buckets_for(entries) * size_of::<Bucket>()
    }

    #[inline]
    fn home(&self, hash: u64) -> Home {
        Home {
            bucket: hash as usize & (self.buckets.len() - 1),
            tag: (hash >> 48) as u16 | 1,
        }
    }

    /// Asks the cache for the home bucket of `hash`.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        sync::prefetch(&self.buckets[self.home(hash).bucket]);
    }

    /// The first entry of the home bucket whose tag fits: right in all but one of some thousands of cases.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<u32> {
        let home = self.home(hash);
        let bucket = &self.buckets[home.bucket];
        let hits = tag_hits(bucket, home.tag);
        (hits != 0).then(|| bucket.entries[place_of(hits)])
    }

    /// The entry for which `is_it` says yes among those whose tag fits.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let home = self.home(hash);
        let bucket = &self.buckets[home.bucket];
        let found = find_in(bucket, home.tag, &mut is_it);
        if found.is_some() || bucket.strayed == 0 {
            return found;
        }
        self.find_strayed(home, is_it)
    }

    /// The same among those that have found no place at home.
    #[cold]
    fn find_strayed(&self, home: Home, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        (1..REACH).find_map(|step| {
            let bucket = &self.buckets[home.after(step, self.buckets.len())];
            find_in(bucket, home.tag, &mut is_it)
        })
    }

    /// Nothing with this hash is here: no tag fits at home, and nothing of it lives elsewhere. If not, something may be.
    #[inline]
    pub fn is_clear(&self, hash: u64) -> bool {
        let home = self.home(hash);
        let bucket = &self.buckets[home.bucket];
        tag_hits(bucket, home.tag) == 0 && bucket.strayed == 0
    }

    /// Adds an entry; false if no place is in reach.
    #[inline]
    pub fn insert(&mut self, hash: u64, entry: u32) -> bool {
        let home = self.home(hash);
        self.buckets[home.bucket].put(home.tag, entry) || self.insert_astray(home, entry)
    }

    /// Adds an entry that finds no place at home.
    #[cold]
    fn insert_astray(&mut self, home: Home, entry: u32) -> bool {
        let count = self.buckets.len();
        let mut steps = 1..REACH;
        let found = steps.any(|step| {
            let bucket = &mut self.buckets[home.after(step, count)];
            bucket.put(home.tag, entry)
        });
        self.buckets[home.bucket].strayed += u32::from(found);
        found
    }

    /// Removes an entry; false if it was not there.
    pub fn remove(&mut self, hash: u64, entry: u32) -> bool {
        let home = self.home(hash);
        self.buckets[home.bucket].take(home.tag, entry) || self.remove_strayed(home, entry)
    }

    /// Removes an entry that does not live at home.
    #[cold]
    fn remove_strayed(&mut self, home: Home, entry: u32) -> bool {
        let count = self.buckets.len();
        let mut steps = 1..REACH;
        let found = steps.any(|step| {
            let bucket = &mut self.buckets[home.after(step, count)];
            bucket.take(home.tag, entry)
        });
        self.buckets[home.bucket].strayed -= u32::from(found);
        found
    }
}

const fn buckets_for(entries: usize) -> usize {
    let buckets = (entries * 2).div_ceil(PLACES).next_power_of_two();
    if buckets < REACH { REACH } else { buckets }
}

/// The entry of a bucket for which `is_it` says yes among those with this tag.
#[inline(always)]
fn find_in(bucket: &Bucket, tag: u16, is_it: &mut impl FnMut(u32) -> bool) -> Option<u32> {
    let mut hits = tag_hits(bucket, tag);
    while hits != 0 {
        let entry = bucket.entries[place_of(hits)];
        if is_it(entry) {
            return Some(entry);
        }
        hits &= hits - 1;
    }
    None
}

/// The places whose tag is `tag`, for [`place_of`]; beyond the first of them perhaps one too many. Four tags at a time in
/// one word: a lane that is zero borrows from its highest bit.
#[inline(always)]
fn tag_hits(bucket: &Bucket, tag: u16) -> u64 {
    const ONES: u64 = 0x0001_0001_0001_0001;
    let [a, b, c, d, e, f, g, h] = bucket.tags.map(u64::from);
    let zeros = |word: u64| {
        let word = word ^ (ONES * u64::from(tag));
        word.wrapping_sub(ONES) & !word
    };
    let first = zeros(a | b << 16 | c << 32 | d << 48);
    let second = zeros(e | f << 16 | g << 32 | h << 48);
    // The last tag belongs to no place.
    (first & ONES << 15) >> 15 | (second & ONES << 15 & u64::MAX >> 16) >> 14
}

/// The first place of some.
#[inline(always)]
fn place_of(hits: u64) -> usize {
    let bit = hits.trailing_zeros() as usize;
    (bit / 16 + bit % 16 * 4) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_share_a_bucket_stray_and_come_home() {
        let mut index = Index::new(100);
        // Same bucket for all: only the tag differs.
        let hash = |n: u64| n << 49;
        for n in 0..30 {
            assert!(index.insert(hash(n), n as u32));
        }
        for n in 0..30 {
            assert_eq!(index.find(hash(n), |_| true), Some(n as u32));
        }
        for n in (0..30).rev() {
            assert!(index.remove(hash(n), n as u32));
            assert!(!index.remove(hash(n), n as u32));
        }
        assert_eq!(index.buckets[0].strayed, 0);
        assert!(index.buckets.iter().all(|b| b.tags.iter().all(|t| *t == 0)));
    }

    #[test]
    fn a_full_reach_refuses_and_changes_nothing() {
        let mut index = Index::new(1);
        let places = REACH * PLACES;
        for n in 0..places {
            assert!(index.insert(0, n as u32));
        }
        assert!(!index.insert(0, 999));
        assert_eq!(index.find(0, |entry| entry == 999), None);
        let mut seen = 0;
        index.find(0, |_| {
            seen += 1;
            false
        });
        assert_eq!(seen, places);
    }
}
