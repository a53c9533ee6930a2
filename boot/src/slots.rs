//! Owns what survives a power cut: the accepted bundle and the box's own settings, each kept twice.
//!
//! It may not know what the bytes mean. One *record* has two slots, A and B. A new body goes to the slot that does not
//! hold the newest good one: body, flush, header, flush. The header carries a sequence number and the checksum of header
//! and body, so after a cut at any byte either the old or the new body is found, never neither (the test below
//! cuts at every byte). No file system, nothing to check or repair at boot.
//!
//! Configuration partition (8 MiB; offsets in bytes, all little-endian):
//!
//! ```text
//! 0x000000  reserved
//! 0x001000  epitaph (4 KiB)
//! 0x010000  settings A (64 KiB)     0x020000  settings B
//! 0x100000  bundle A (3.5 MiB)      0x480000  bundle B
//!
//! slot:  0 "FUGUSLOT"   8 version u32   12 length u32   16 sequence u64   24 CRC-32 of (0..24, body) u32
//!        4096 body
//! ```

use crate::storage::Storage;
use std::fmt;

const MAGIC: &[u8; 8] = b"FUGUSLOT";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 28;
/// The body begins on a page and physical sector of its own: writing it never touches the header's.
const BODY_OFFSET: u64 = 4096;

/// Where a record's two slots are and how long each is.
#[derive(Clone, Copy)]
struct Record {
    name: &'static str,
    at: [u64; 2],
    slot_bytes: u64,
}

const SETTINGS: Record = Record {
    name: "settings",
    at: [0x1_0000, 0x2_0000],
    slot_bytes: 0x1_0000,
};
const BUNDLE: Record = Record {
    name: "bundle",
    at: [0x10_0000, 0x48_0000],
    slot_bytes: 0x38_0000,
};

/// Longest bundle that can be kept, in bytes.
pub const BUNDLE_BYTES_MAX: usize = (BUNDLE.slot_bytes - BODY_OFFSET) as usize;
/// Longest settings that can be kept, in bytes.
pub const SETTINGS_BYTES_MAX: usize = (SETTINGS.slot_bytes - BODY_OFFSET) as usize;
/// Bytes the configuration partition must have.
pub const PARTITION_BYTES: u64 = 8 << 20;

/// Why something could not be kept. What was kept before is still there.
#[derive(Debug)]
pub enum SlotError {
    /// The body is longer than a slot.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// What fits.
        max: usize,
    },
    /// The disk said no.
    Disk(std::io::Error),
}

impl fmt::Display for SlotError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { length, max } => {
                write!(out, "{length} bytes do not fit a slot of {max}")
            }
            Self::Disk(error) => write!(out, "configuration partition: {error}"),
        }
    }
}

impl std::error::Error for SlotError {}

impl From<std::io::Error> for SlotError {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

/// The configuration partition as its two records.
#[derive(Debug)]
pub struct Slots<S> {
    storage: S,
}

impl<S: Storage> Slots<S> {
    /// Takes a configuration partition; an empty one is as good as any.
    pub fn new(storage: S) -> Self {
        Self { storage }
    }

    /// The newest bundle that is whole, and its sequence number.
    pub fn load_newest(&self) -> Option<(u64, Vec<u8>)> {
        self.newest(BUNDLE)
    }

    /// Keeps a bundle; on return it is on the disk. Gives its sequence number.
    ///
    /// # Errors
    /// Too long, or the disk's. The bundle kept before is untouched.
    pub fn store(&mut self, bundle: &[u8]) -> Result<u64, SlotError> {
        self.keep(BUNDLE, bundle)
    }

    /// The settings kept last, and their sequence number.
    pub fn load_settings(&self) -> Option<(u64, Vec<u8>)> {
        self.newest(SETTINGS)
    }

    /// Keeps settings; on return they are on the disk. Gives their sequence number.
    ///
    /// # Errors
    /// Too long, or the disk's. The settings kept before are untouched.
    pub fn store_settings(&mut self, settings: &[u8]) -> Result<u64, SlotError> {
        self.keep(SETTINGS, settings)
    }

    /// The partition itself.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    fn newest(&self, record: Record) -> Option<(u64, Vec<u8>)> {
        let slots = record.at.map(|at| self.read_slot(record, at));
        slots
            .into_iter()
            .flatten()
            .max_by_key(|(sequence, _)| *sequence)
    }

    fn keep(&mut self, record: Record, body: &[u8]) -> Result<u64, SlotError> {
        let max = (record.slot_bytes - BODY_OFFSET) as usize;
        if body.len() > max {
            return Err(SlotError::TooLong {
                length: body.len(),
                max,
            });
        }
        let sequences = record
            .at
            .map(|at| self.read_slot(record, at).map(|(sequence, _)| sequence));
        // None (broken or empty) is less than any sequence: that slot is overwritten first.
        let target = if sequences[0] <= sequences[1] {
            record.at[0]
        } else {
            record.at[1]
        };
        let sequence = sequences.into_iter().flatten().max().unwrap_or(0) + 1;
        self.storage.write_at(target + BODY_OFFSET, body)?;
        self.storage.flush()?;
        self.storage.write_at(target, &header(sequence, body))?;
        self.storage.flush()?;
        Ok(sequence)
    }

    /// The slot's sequence and body, if it is whole.
    fn read_slot(&self, record: Record, at: u64) -> Option<(u64, Vec<u8>)> {
        match self.try_slot(record, at) {
            Ok(slot) => slot,
            Err(error) => {
                log::warn!("{} slot at {at:#x}: {error}", record.name);
                None
            }
        }
    }

    fn try_slot(&self, record: Record, at: u64) -> std::io::Result<Option<(u64, Vec<u8>)>> {
        let mut head = [0; HEADER_BYTES];
        self.storage.read_at(at, &mut head)?;
        let word = |from: usize| {
            u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]])
        };
        let length = word(12);
        if head[..8] != *MAGIC
            || word(8) != VERSION
            || u64::from(length) > record.slot_bytes - BODY_OFFSET
        {
            return Ok(None);
        }
        let mut body = vec![0; length as usize];
        self.storage.read_at(at + BODY_OFFSET, &mut body)?;
        let sequence = u64::from(word(16)) | u64::from(word(20)) << 32;
        Ok((header(sequence, &body) == head).then_some((sequence, body)))
    }
}

fn header(sequence: u64, body: &[u8]) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    // The caller has compared the length with the slot's, which is far below 4 GiB.
    out[12..16].copy_from_slice(&(body.len() as u32).to_le_bytes());
    out[16..24].copy_from_slice(&sequence.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&out[..24]);
    crc.update(body);
    out[24..].copy_from_slice(&crc.finalize().to_le_bytes());
    out
}

#[cfg(test)]
mod tests;
