//! Owns the seam to a disk: bytes at an offset, and a flush that means it.
//!
//! Two implementations: [`Partition`], and the one in the tests of `slots` that loses power.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A range of a disk.
pub trait Storage {
    /// Fills `into` from `offset` (bytes).
    ///
    /// # Errors
    /// The device's, and reading past its end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes `bytes` at `offset`. They may be anywhere between here and the disk until [`Storage::flush`].
    ///
    /// # Errors
    /// The device's.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything written before is on the disk for good.
    ///
    /// # Errors
    /// The device's.
    fn flush(&self) -> io::Result<()>;
}

/// A partition, or a file that stands for one.
#[derive(Debug)]
pub struct Partition {
    file: File,
}

impl Partition {
    /// Opens a block device or file for reading and writing.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: OpenOptions::new().read(true).write(true).open(path)?,
        })
    }

    /// Another handle to the same partition (for the epitaph).
    ///
    /// # Errors
    /// As dup(2).
    pub fn again(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
        })
    }
}

impl Storage for Partition {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn flush(&self) -> io::Result<()> {
        // On a block device this writes the page cache back and sends the disk a cache flush.
        self.file.sync_data()
    }
}
