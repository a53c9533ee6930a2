//! Owns what a seed disk looks like: a plain tar archive whose first member is called `FUGU-SEED`.
//!
//! `tar cf seed.img FUGU-SEED etc` and give `seed.img` to the machine as a second disk, or write it to a USB stick or
//! into a partition. The text of `FUGU-SEED` is `fugu.*` arguments as on the kernel command line ([`crate::cmdline`]),
//! separated by white space, with `#` comments; the rest is the caller's. Only plain tar: it can be recognized in its first
//! 512 bytes, carries no file system, and padding at its end does no harm. (A FAT volume labelled FUGU-SEED may come later.)
//!
//! Read first: tar(5), "ustar".

use std::io::{self, Read};

/// Name of the first member.
pub const NAME: &str = "FUGU-SEED";
/// Longest archive that is read, in bytes: a bundle, and some.
pub const BYTES_MAX: usize = 4 << 20;
const BLOCK: usize = 512;
const ARGUMENTS_BYTES_MAX: usize = 64 * 1024;

/// Reads a seed archive from the start of a disk. None: this is not a seed disk.
///
/// # Errors
/// The disk's.
pub fn read(disk: &mut dyn Read) -> io::Result<Option<Vec<u8>>> {
    let mut archive = vec![0; BLOCK];
    if !fill(disk, &mut archive)? || !is_seed(&archive) {
        return Ok(None);
    }
    disk.take((BYTES_MAX - BLOCK) as u64)
        .read_to_end(&mut archive)?;
    Ok(Some(archive))
}

/// Reads exactly that much; false if there is less.
fn fill(disk: &mut dyn Read, into: &mut [u8]) -> io::Result<bool> {
    match disk.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_seed(block: &[u8]) -> bool {
    let name = block[..100]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    &block[257..262] == b"ustar" && (name == NAME.as_bytes() || name == b"./FUGU-SEED")
}

/// The `fugu.*` arguments in the first member, comments removed.
#[must_use]
pub fn arguments(archive: &[u8]) -> String {
    let digits = archive.get(124..136).unwrap_or_default();
    let digits = String::from_utf8_lossy(digits);
    let length = usize::from_str_radix(digits.trim_matches([' ', '\0']), 8).unwrap_or(0);
    let text = archive.get(BLOCK..).unwrap_or_default();
    let text = &text[..length.min(text.len()).min(ARGUMENTS_BYTES_MAX)];
    let text = String::from_utf8_lossy(text);
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, text: &str) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..136].copy_from_slice(format!("{:011o}\0", text.len()).as_bytes());
        block[257..263].copy_from_slice(b"ustar\0");
        block.extend_from_slice(text.as_bytes());
        block.resize(block.len().next_multiple_of(BLOCK), 0);
        block
    }

    #[test]
    fn a_seed_is_known_by_its_first_member() {
        let seed = member(
            "FUGU-SEED",
            "fugu.token=t # comment\n# fugu.safe\nfugu.gw=192.0.2.1\n",
        );
        let read_back = read(&mut &seed[..]).unwrap().unwrap();
        assert_eq!(read_back, seed);
        let words: Vec<String> = arguments(&read_back)
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        assert_eq!(words, ["fugu.token=t", "fugu.gw=192.0.2.1"]);
    }

    #[test]
    fn other_disks_are_left_alone() {
        let others = [
            member("etc/pf.conf", "pass"),
            vec![],
            vec![0; 511],
            vec![0x55; 4096],
            b"FUGU-SEED".repeat(600),
        ];
        for other in others {
            assert_eq!(read(&mut &other[..]).unwrap(), None);
        }
    }

    #[test]
    fn a_length_that_lies_reads_no_further_than_the_archive() {
        let mut seed = member("FUGU-SEED", "fugu.safe");
        seed[124..135].copy_from_slice(b"77777777777");
        assert_eq!(arguments(&seed).trim_matches('\0'), "fugu.safe");
        seed[124..135].copy_from_slice(b"-1-1-1-1-1-");
        assert_eq!(arguments(&seed), "");
        assert_eq!(arguments(&[]), "");
    }

    #[test]
    fn a_disk_larger_than_the_limit_is_cut() {
        let mut disk = member("FUGU-SEED", "");
        disk.resize(BYTES_MAX + 1, 1);
        assert_eq!(read(&mut &disk[..]).unwrap().unwrap().len(), BYTES_MAX);
    }
}
