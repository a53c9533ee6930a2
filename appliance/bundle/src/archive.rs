//! From the bytes of an upload to the files of an etc tree. Refuses whatever could surprise: links, devices, names that
//! leave the tree, anything past a limit. The first such thing ends the reading; nothing of the bundle is kept then.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use sha2::{Digest, Sha256};
use tar::{Archive, Entry, EntryType, PaxExtensions};

use crate::Limits;
use crate::gzip::{self, Inflate};
use crate::path;
use crate::refused::{Refused, Why};

/// Bytes of one extended header (pax, GNU long name). A long path needs a few hundred.
const EXTENDED_HEADER_LIMIT: u64 = 8 << 10;

/// How much is reserved for a file before its bytes have arrived.
const FIRST_RESERVATION: u64 = 64 << 10;

/// An accepted archive: the files of an etc tree by their path in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle {
    /// Contents by path, without `./` and `etc/`: `pf.conf`, `tables/bad`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// SHA-256 of the upload exactly as received, signature included.
    pub digest: [u8; 32],
}

impl Bundle {
    /// Unpacks `bytes`, a `.tgz` with or without a signature. Does not check the signature: see
    /// [`crate::signature::verify`], which goes first.
    pub fn open(bytes: &[u8], limits: &Limits) -> Result<Bundle, Refused> {
        if bytes.len() > limits.compressed {
            return Err(Refused::whole(Why::UploadTooLarge {
                limit: limits.compressed,
            }));
        }
        let member = gzip::split(bytes).map_err(|text| Refused::whole(Why::Damaged(text)))?;
        let mut inflate = Inflate::new(member.body, limits.unpacked);
        let read = Reading::new(limits).entries(&mut inflate);
        let files = first_cause(&inflate, limits, read)?;
        let drained = drain(&mut inflate);
        first_cause(&inflate, limits, drained)?;
        inflate
            .check_trailer()
            .map_err(|fault| Refused::whole(Why::of(fault, limits)))?;
        if files.is_empty() {
            return Err(Refused::whole(Why::Empty));
        }
        Ok(Bundle {
            files,
            digest: digest_of(bytes),
        })
    }
}

/// SHA-256 of an upload, the name of a bundle in logs and answers.
pub fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A fault of the compressed data is the cause of whatever the tar reader says about it.
fn first_cause<T>(
    inflate: &Inflate<'_>,
    limits: &Limits,
    outcome: Result<T, Refused>,
) -> Result<T, Refused> {
    match inflate.fault() {
        Some(fault) => Err(Refused::whole(Why::of(fault, limits))),
        None => outcome,
    }
}

/// Reads on after the archive's end mark, which zeros may follow and nothing else.
fn drain(inflate: &mut Inflate<'_>) -> Result<(), Refused> {
    if inflate.ended() {
        return Err(Refused::whole(Why::Damaged(
            "the archive has no end mark: it is cut short",
        )));
    }
    let mut buffer = [0u8; 8192];
    loop {
        match inflate.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) if buffer[..n].iter().all(|b| *b == 0) => {}
            _ => {
                return Err(Refused::whole(Why::Damaged(
                    "more data follows the end of the archive",
                )));
            }
        }
    }
}

/// The archive while it is read.
struct Reading<'l> {
    limits: &'l Limits,
    files: BTreeMap<String, Vec<u8>>,
    directories: BTreeSet<String>,
    entries: usize,
    /// Path for the next entry, from an extended header.
    long_name: Option<Vec<u8>>,
}

impl<'l> Reading<'l> {
    fn new(limits: &'l Limits) -> Self {
        Reading {
            limits,
            files: BTreeMap::new(),
            directories: BTreeSet::new(),
            entries: 0,
            long_name: None,
        }
    }

    fn entries(mut self, inflate: &mut Inflate<'_>) -> Result<BTreeMap<String, Vec<u8>>, Refused> {
        let mut archive = Archive::new(inflate);
        // Raw: extended headers come to us, so that their size is bounded too.
        let entries = archive.entries().map_err(not_tar)?.raw(true);
        for entry in entries {
            self.entry(entry.map_err(not_tar)?)?;
        }
        self.check_parents()?;
        Ok(self.files)
    }

    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), Refused> {
        self.entries += 1;
        // An extended header belongs to its file, so twice the limit bounds them all.
        if self.entries > self.limits.entries.saturating_mul(2) {
            return Err(self.too_many());
        }
        match entry.header().entry_type() {
            EntryType::GNULongName => {
                let mut name = extended(&mut entry)?;
                while name.last() == Some(&0) {
                    name.pop();
                }
                self.long_name = Some(name);
                Ok(())
            }
            EntryType::XHeader => {
                let records = extended(&mut entry)?;
                if let Some(path) = pax_path(&records)? {
                    self.long_name = Some(path);
                }
                Ok(())
            }
            EntryType::XGlobalHeader => match pax_path(&extended(&mut entry)?)? {
                Some(_) => Err(Refused::whole(Why::OddHeader)),
                None => Ok(()),
            },
            kind => {
                let raw = self
                    .long_name
                    .take()
                    .unwrap_or_else(|| entry.path_bytes().into_owned());
                self.file_or_directory(&raw, kind, &mut entry)
                    .map_err(|why| Refused::entry(&raw, why))
            }
        }
    }

    fn too_many(&self) -> Refused {
        Refused::whole(Why::TooManyEntries {
            limit: self.limits.entries,
        })
    }

    fn file_or_directory<R: Read>(
        &mut self,
        raw: &[u8],
        kind: EntryType,
        entry: &mut Entry<'_, R>,
    ) -> Result<(), Why> {
        let path = path::normalize(raw, self.limits)?;
        let named_directory = raw.ends_with(b"/");
        match (kind, path) {
            (EntryType::Directory, None) => Ok(()),
            (EntryType::Directory, Some(path)) => {
                self.directories.insert(path);
                self.check_count()
            }
            (EntryType::Regular, Some(path)) if !named_directory => self.file(path, entry),
            (EntryType::Regular, _) => Err(Why::OddName),
            (other, _) => Err(Why::Kind(kind_name(other))),
        }
    }

    fn file<R: Read>(&mut self, path: String, entry: &mut Entry<'_, R>) -> Result<(), Why> {
        let size = entry.header().size().map_err(|_| Why::OddHeader)?;
        if size > self.limits.file {
            return Err(Why::FileTooLarge {
                size,
                limit: self.limits.file,
            });
        }
        if self.files.contains_key(&path) {
            return Err(Why::Duplicate);
        }
        let mut contents = Vec::with_capacity(size.min(FIRST_RESERVATION) as usize);
        entry
            .take(size)
            .read_to_end(&mut contents)
            .map_err(|_| Why::CutShort)?;
        if contents.len() as u64 != size {
            return Err(Why::CutShort);
        }
        self.files.insert(path, contents);
        self.check_count()
    }

    fn check_count(&self) -> Result<(), Why> {
        let limit = self.limits.entries;
        if self.files.len() + self.directories.len() > limit {
            return Err(Why::TooManyEntries { limit });
        }
        Ok(())
    }

    /// No path may be both a file and a directory.
    fn check_parents(&self) -> Result<(), Refused> {
        for path in self.files.keys() {
            let twice = path::parents(path).find(|above| self.files.contains_key(*above));
            if let Some(above) = twice {
                return Err(Refused::entry(above.as_bytes(), Why::Duplicate));
            }
            if self.directories.contains(path) {
                return Err(Refused::entry(path.as_bytes(), Why::Duplicate));
            }
        }
        Ok(())
    }
}

fn not_tar(_: std::io::Error) -> Refused {
    Refused::whole(Why::Damaged("not a tar archive, or a damaged one"))
}

fn extended<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, Refused> {
    let odd = || Refused::whole(Why::OddHeader);
    let size = entry.header().size().map_err(|_| odd())?;
    if size > EXTENDED_HEADER_LIMIT {
        return Err(odd());
    }
    let mut contents = Vec::new();
    entry
        .take(size)
        .read_to_end(&mut contents)
        .map_err(|_| odd())?;
    Ok(contents)
}

/// The `path` record of a pax header. A `size` record would let the header and the archive disagree: refused.
fn pax_path(records: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
    let odd = || Refused::whole(Why::OddHeader);
    let mut path = None;
    for record in PaxExtensions::new(records) {
        let record = record.map_err(|_| odd())?;
        match record.key_bytes() {
            b"path" => path = Some(record.value_bytes().to_vec()),
            b"size" | b"linkpath" => return Err(odd()),
            key if key.starts_with(b"GNU.sparse") => return Err(odd()),
            _ => {}
        }
    }
    Ok(path)
}

fn kind_name(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link | EntryType::GNULongLink => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a fifo",
        EntryType::GNUSparse => "a sparse file",
        _ => "an unknown kind of entry",
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
