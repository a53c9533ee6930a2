//! The slots on a disk that loses power: at every byte, with and without a write cache that reorders.

use super::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;

const SECTOR: usize = 512;

/// What is on a disk: the sectors that are not zero.
type Image = BTreeMap<usize, [u8; SECTOR]>;

fn put(image: &mut Image, at: usize, bytes: &[u8]) {
    for (nr, byte) in bytes.iter().enumerate() {
        image.entry((at + nr) / SECTOR).or_insert([0; SECTOR])[(at + nr) % SECTOR] = *byte;
    }
}

fn get(image: &Image, at: usize) -> u8 {
    image
        .get(&(at / SECTOR))
        .map_or(0, |sector| sector[at % SECTOR])
}

/// A disk with a volatile write cache, and a fuse that burns after so many written bytes and flushes.
struct Disk {
    durable: RefCell<Image>,
    /// Written since the last flush, in order: offset and bytes, never across a sector boundary.
    cached: RefCell<Vec<(usize, Vec<u8>)>>,
    fuse: Cell<usize>,
}

impl Disk {
    fn new(content: Image, fuse: usize) -> Self {
        Self {
            durable: RefCell::new(content),
            cached: RefCell::default(),
            fuse: Cell::new(fuse),
        }
    }

    fn fresh() -> Self {
        Self::new(Image::new(), usize::MAX)
    }

    /// What is on the disk after the cut. `keep` says which of the cached pieces made it, by number.
    fn after_cut(self, mut keep: impl FnMut(usize) -> bool) -> Image {
        let mut content = self.durable.into_inner();
        for (nr, (at, bytes)) in self.cached.into_inner().into_iter().enumerate() {
            if keep(nr) {
                put(&mut content, at, &bytes);
            }
        }
        content
    }

    fn power_is_gone() -> io::Error {
        io::Error::other("the power is gone")
    }
}

impl Storage for Disk {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        assert!(
            self.cached.borrow().is_empty(),
            "slots are read only when everything is flushed"
        );
        let image = self.durable.borrow();
        into.iter_mut()
            .enumerate()
            .for_each(|(nr, byte)| *byte = get(&image, offset as usize + nr));
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = bytes.len().min(self.fuse.get());
        let mut at = offset as usize;
        let mut rest = &bytes[..written];
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
            self.cached.borrow_mut().push((at, piece.to_vec()));
            at += piece.len();
            rest = more;
        }
        self.fuse.set(self.fuse.get() - written);
        if written < bytes.len() {
            Err(Self::power_is_gone())
        } else {
            Ok(())
        }
    }

    fn flush(&self) -> io::Result<()> {
        // The cut may come before anything of the flush is done, or right after all of it: one unit of the fuse.
        let left = self
            .fuse
            .get()
            .checked_sub(1)
            .ok_or_else(Self::power_is_gone)?;
        self.fuse.set(left);
        for (at, bytes) in self.cached.borrow_mut().drain(..) {
            put(&mut self.durable.borrow_mut(), at, &bytes);
        }
        Ok(())
    }
}

fn body(seed: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|nr| (nr as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

/// A disk image on which `bodies` were stored one after the other.
fn disk_with(bodies: &[&[u8]]) -> Image {
    let mut slots = Slots::new(Disk::fresh());
    for body in bodies {
        slots.store(body).unwrap();
    }
    slots.storage.after_cut(|_| false)
}

fn newest(content: Image) -> Option<Vec<u8>> {
    Slots::new(Disk::new(content, usize::MAX))
        .load_newest()
        .map(|(_, body)| body)
}

/// xorshift64: which cached pieces reach the disk.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Stores `new` on `before` with the power cut after each possible byte; calls `check` with what is left.
fn cut_everywhere(before: &Image, new: &[u8], mut check: impl FnMut(usize, Image, bool)) {
    let units = new.len() + HEADER_BYTES + 2;
    for fuse in 0..=units {
        // Nothing of the cache, all of it, and three random parts of it.
        for choice in 0..5_u64 {
            let mut slots = Slots::new(Disk::new(before.clone(), fuse));
            let stored = slots.store(new).is_ok();
            assert_eq!(stored, fuse == units, "the fuse covers the whole store");
            let mut state = (fuse as u64) << 8 | choice;
            let left = slots.storage.after_cut(|_| match choice {
                0 => false,
                1 => true,
                _ => random(&mut state) & 1 == 1,
            });
            check(fuse, left, stored);
        }
    }
}

fn old_or_new(before: &Image, old: &[u8], new: &[u8]) {
    cut_everywhere(before, new, |fuse, left, stored| {
        let found = newest(left).unwrap_or_else(|| panic!("cut after {fuse}: neither old nor new"));
        assert!(
            found == new || (found == old && !stored),
            "cut after {fuse}: a third thing"
        );
    });
}

#[test]
fn a_cut_at_any_byte_leaves_the_old_or_the_new_bundle() {
    // The old one in slot A with B empty, and the old one in slot B with a longer or shorter elder in A.
    let (old, new) = (body(1, 90), body(2, 70));
    old_or_new(&disk_with(&[&old]), &old, &new);
    old_or_new(&disk_with(&[&body(3, 100), &old]), &old, &new);
    old_or_new(&disk_with(&[&body(3, 30), &old]), &old, &new);
}

#[test]
fn a_cut_in_a_body_of_several_sectors_leaves_the_old_or_the_new_bundle() {
    // Every byte of three sectors would take minutes; the cuts around each boundary are the ones that differ.
    let (old, new) = (body(1, 1500), body(2, 1300));
    let before = disk_with(&[&body(3, 1400), &old]);
    let units = new.len() + HEADER_BYTES + 2;
    let near =
        |fuse: usize| fuse % SECTOR <= 2 || fuse % SECTOR >= SECTOR - 2 || fuse + 40 >= units;
    for fuse in (0..=units).filter(|fuse| near(*fuse)) {
        for mask in 0..8_usize {
            let mut slots = Slots::new(Disk::new(before.clone(), fuse));
            let stored = slots.store(&new).is_ok();
            let left = slots.storage.after_cut(|nr| mask >> nr & 1 == 1);
            let found = newest(left).expect("neither");
            assert!(
                found == new || (found == old && !stored),
                "cut after {fuse}, mask {mask}"
            );
        }
    }
}

#[test]
fn the_first_store_is_there_or_not() {
    let new = body(2, 50);
    cut_everywhere(&disk_with(&[]), &new, |fuse, left, stored| {
        match newest(left) {
            None => assert!(!stored, "cut after {fuse}"),
            Some(found) => assert_eq!(found, new, "cut after {fuse}"),
        }
    });
}

#[test]
fn a_second_cut_in_the_retry_leaves_old_or_new() {
    let (old, new) = (body(1, 20), body(2, 20));
    let mut images = Vec::new();
    cut_everywhere(&disk_with(&[&body(3, 9), &old]), &new, |_, left, stored| {
        if !stored && !images.contains(&left) {
            images.push(left);
        }
    });
    assert!(images.len() > 20, "{}", images.len());
    for image in &images {
        let found = newest(image.clone()).expect("neither");
        old_or_new(image, &found, &new);
    }
}

#[test]
fn without_the_flush_between_body_and_header_the_disk_here_would_notice() {
    // The other tests can fail: a header on the disk before its body is found out by the checksum.
    let old = body(1, 600);
    let mut content = disk_with(&[&old]);
    let at = BUNDLE.at[1] as usize;
    put(&mut content, at, &header(2, &body(2, 600)));
    assert_eq!(newest(content), Some(old));
}

#[test]
fn the_newest_whole_slot_wins_and_a_broken_one_falls_back() {
    let (one, two, three) = (body(1, 10), body(2, 20), body(3, 30));
    let good = disk_with(&[&one, &two, &three]);
    let slots = Slots::new(Disk::new(good.clone(), usize::MAX));
    assert_eq!(slots.load_newest(), Some((3, three)));
    // Three went to A over one. Any damaged bit of its header or body brings back two.
    let a = BUNDLE.at[0] as usize;
    let b = a + BODY_OFFSET as usize;
    for at in (a..a + HEADER_BYTES).chain(b..b + 30) {
        let mut broken = good.clone();
        put(&mut broken, at, &[get(&good, at) ^ 0x10]);
        assert_eq!(newest(broken), Some(two.clone()), "byte {at:#x}");
    }
}

#[test]
fn lengths_at_the_limit_and_one_more() {
    let mut slots = Slots::new(Disk::fresh());
    let longest = body(5, BUNDLE_BYTES_MAX);
    slots.store(&longest).unwrap();
    slots.store(&longest).unwrap();
    assert_eq!(slots.load_newest(), Some((2, longest)));
    assert!(matches!(
        slots.store(&vec![0; BUNDLE_BYTES_MAX + 1]),
        Err(SlotError::TooLong { .. })
    ));
    slots.store(&[]).unwrap();
    assert_eq!(slots.load_newest(), Some((3, vec![])));
    slots.store_settings(&vec![7; SETTINGS_BYTES_MAX]).unwrap();
    assert!(matches!(
        slots.store_settings(&vec![7; SETTINGS_BYTES_MAX + 1]),
        Err(SlotError::TooLong { .. })
    ));
}

#[test]
fn settings_and_bundles_do_not_touch_each_other() {
    let mut slots = Slots::new(Disk::fresh());
    for nr in 0..3 {
        slots.store(&body(nr, BUNDLE_BYTES_MAX)).unwrap();
        slots
            .store_settings(&body(nr + 100, SETTINGS_BYTES_MAX))
            .unwrap();
    }
    assert_eq!(slots.load_newest().unwrap().1, body(2, BUNDLE_BYTES_MAX));
    assert_eq!(
        slots.load_settings().unwrap().1,
        body(102, SETTINGS_BYTES_MAX)
    );
    let ends = [SETTINGS, BUNDLE].map(|record| record.at.map(|at| (at, at + record.slot_bytes)));
    let mut ranges: Vec<(u64, u64)> = ends.concat();
    ranges.push((
        crate::epitaph::OFFSET,
        crate::epitaph::OFFSET + crate::epitaph::BYTES as u64,
    ));
    ranges.sort_unstable();
    assert!(
        ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "{ranges:x?}"
    );
    assert!(ranges.iter().all(|range| range.1 <= PARTITION_BYTES));
}

#[test]
fn a_partition_of_noise_or_of_lies_is_empty() {
    let mut state = 99;
    let mut noise = Image::new();
    for at in (0..PARTITION_BYTES as usize).step_by(8) {
        put(&mut noise, at, &random(&mut state).to_le_bytes());
    }
    assert_eq!(newest(noise), None);
    // A header that claims more than a slot is not believed.
    let mut liar = disk_with(&[]);
    let mut head = header(1, &[]);
    head[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    put(&mut liar, BUNDLE.at[0] as usize, &head);
    assert_eq!(newest(liar), None);
}
