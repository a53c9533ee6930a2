//! From files to a `.tgz`, the same bytes every time: sorted, no times, no owners, no names of the machine.

use std::collections::BTreeMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use tar::{Builder, EntryType, Header};

use crate::Limits;
use crate::path;
use crate::refused::{Refused, Why};

/// gzip, deflate, no flags, no time, best compression, Unix.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];

/// Packs files by their path in the etc tree. The entries are named `etc/...`, so that unpacking by hand is tidy.
///
/// Refuses names that [`crate::Bundle::open`] would refuse; sizes are checked there.
pub fn pack(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, Refused> {
    let limits = Limits::default();
    for name in files.keys() {
        match path::normalize(format!("etc/{name}").as_bytes(), &limits) {
            Ok(Some(same)) if same == *name => {}
            Ok(_) => return Err(Refused::entry(name.as_bytes(), Why::OddName)),
            Err(why) => return Err(Refused::entry(name.as_bytes(), why)),
        }
    }
    let failed = |_| Refused {
        entry: None,
        why: Why::Damaged("cannot be packed"),
    };
    compress(&archive(files).map_err(failed)?).map_err(failed)
}

fn archive(files: &BTreeMap<String, Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(contents.len() as u64);
        builder.append_data(&mut header, format!("etc/{name}"), contents.as_slice())?;
    }
    builder.into_inner()
}

pub(crate) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(GZIP_HEADER.to_vec(), Compression::best());
    encoder.write_all(plain)?;
    let mut bytes = encoder.finish()?;
    bytes.extend_from_slice(&crc32fast::hash(plain).to_le_bytes());
    // RFC 1952: the length modulo 2^32.
    bytes.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bundle;

    fn sample() -> BTreeMap<String, Vec<u8>> {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        [
            ("pf.conf", "pass\n"),
            ("hostname.em0", "up\n"),
            ("empty", ""),
            (&long, "x"),
        ]
        .into_iter()
        .map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()))
        .collect()
    }

    #[test]
    fn what_is_packed_opens_as_the_same_files() {
        let files = sample();
        let bytes = pack(&files).unwrap();
        assert_eq!(
            Bundle::open(&bytes, &Limits::default()).unwrap().files,
            files
        );
    }

    #[test]
    fn packing_twice_gives_the_same_bytes() {
        assert_eq!(pack(&sample()).unwrap(), pack(&sample()).unwrap());
    }

    #[test]
    fn names_that_would_not_open_are_not_packed() {
        for name in ["../x", "/x", "a//b", "", "a/"] {
            let files = BTreeMap::from([(name.to_string(), Vec::new())]);
            assert!(pack(&files).is_err(), "{name:?}");
        }
    }
}
