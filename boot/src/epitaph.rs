//! Owns the last words: why the box restarted itself, kept across the restart and told once.
//!
//! It may not know who dies. Written when everything else may be broken, so it allocates little, takes no lock it cannot
//! get at once, and restarts the machine whatever happens.
//!
//! Layout, little-endian, 4 KiB at offset 0x1000 of the configuration partition:
//!
//! ```text
//! 0 "FUGULAST"   8 version u32   12 length u32   16 time u64 (seconds since 1970)   24 CRC-32 of (0..24, text) u32
//! 28 text (UTF-8)
//! ```

use crate::power;
use crate::slots::Slots;
use crate::storage::{Partition, Storage};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where it lies in the configuration partition, in bytes.
pub(crate) const OFFSET: u64 = 0x1000;
/// How long it may be, header and text.
pub(crate) const BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"FUGULAST";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 28;
const TEXT_BYTES_MAX: usize = BYTES - HEADER_BYTES;

/// The partition [`write`] uses, since nobody can hand it one in a panic.
static GRAVE: Mutex<Option<Partition>> = Mutex::new(None);

/// Reads the last epitaph, clears it, and prepares [`write`].
pub(crate) fn take_from(slots: Option<&Slots<Partition>>) -> (Option<String>, String) {
    let Some(slots) = slots else {
        return (None, String::new());
    };
    match slots.storage().again() {
        Ok(partition) => {
            *GRAVE
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(partition)
        }
        Err(error) => return (None, format!("a later failure cannot be kept: {error}")),
    }
    match take(slots.storage()) {
        Ok(None) => (None, String::new()),
        Ok(Some(text)) => (Some(text.clone()), format!("the last run ended: {text}")),
        Err(error) => (None, format!("cannot be read: {error}")),
    }
}

/// Reads an epitaph and clears it.
fn take(storage: &impl Storage) -> std::io::Result<Option<String>> {
    let mut bytes = vec![0; BYTES];
    storage.read_at(OFFSET, &mut bytes)?;
    let text = decode(&bytes);
    if text.is_some() {
        storage.write_at(OFFSET, &[0; HEADER_BYTES])?;
        storage.flush()?;
    }
    Ok(text)
}

/// Keeps `reason` for the next boot and restarts the machine at once.
///
/// As a plain process (not process 1) it says so on standard error and aborts.
pub fn write(reason: &str) -> ! {
    eprintln!("\r\nfugu: {reason}\r");
    if let Err(why) = keep(reason) {
        eprintln!("fugu: this cannot be kept for the next boot: {why}\r");
    }
    if std::process::id() == 1 {
        power::reboot();
    }
    std::process::abort()
}

fn keep(reason: &str) -> Result<(), String> {
    // The thread that dies may be the one that holds it, or a second one may be dying: never wait.
    let grave = GRAVE
        .try_lock()
        .map_err(|_| "another thread is writing its own")?;
    let Some(partition) = grave.as_ref() else {
        return Err("no configuration partition".into());
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    partition
        .write_at(OFFSET, &encode(reason, now))
        .and_then(|()| partition.flush())
        .map_err(|error| error.to_string())
}

/// Installs a panic hook that prints every panic, and for the threads `fatal` names (by their name; the first
/// thread is `main`) writes the epitaph and restarts. A panic elsewhere is the supervisor's to handle.
pub fn install_panic_hook(fatal: fn(thread: &str) -> bool) {
    std::panic::set_hook(Box::new(move |panic| {
        let current = std::thread::current();
        let name = current.name().unwrap_or("unnamed");
        let reason = format!("thread {name}: {panic}").replace('\n', " ");
        if fatal(name) {
            write(&reason);
        }
        eprintln!("\r\nfugu: {reason}\r");
    }));
}

fn encode(reason: &str, time: u64) -> Vec<u8> {
    let mut end = reason.len().min(TEXT_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let text = &reason.as_bytes()[..end];
    let mut out = Vec::with_capacity(HEADER_BYTES + end);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(end as u32).to_le_bytes());
    out.extend_from_slice(&time.to_le_bytes());
    out.extend_from_slice(&checksum(&out, text).to_le_bytes());
    out.extend_from_slice(text);
    out
}

fn decode(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let head = bytes.get(..24)?;
    if head[..8] != *MAGIC || word(8)? != VERSION {
        return None;
    }
    let length = word(12)? as usize;
    let text = bytes.get(HEADER_BYTES..)?.get(..length)?;
    if checksum(head, text) != word(24)? {
        return None;
    }
    let time = u64::from(word(16)?) | u64::from(word(20)?) << 32;
    Some(format!(
        "{} (at {time} s since 1970)",
        String::from_utf8_lossy(text)
    ))
}

fn checksum(head: &[u8], text: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(text);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that stands for the partition, removed at the end.
    struct TemporaryPartition(std::path::PathBuf, Partition);

    impl TemporaryPartition {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("fugu-{name}-{}", std::process::id()));
            std::fs::write(&path, vec![0; 0x3000]).unwrap();
            let partition = Partition::open(&path).unwrap();
            Self(path, partition)
        }
    }

    impl Drop for TemporaryPartition {
        fn drop(&mut self) {
            drop(std::fs::remove_file(&self.0));
        }
    }

    #[test]
    fn an_epitaph_is_told_once() {
        let partition = TemporaryPartition::new("epitaph");
        assert_eq!(take(&partition.1).unwrap(), None);
        partition
            .1
            .write_at(OFFSET, &encode("worker 1: out of mbufs", 1_800_000_000))
            .unwrap();
        assert_eq!(
            take(&partition.1).unwrap().unwrap(),
            "worker 1: out of mbufs (at 1800000000 s since 1970)"
        );
        assert_eq!(take(&partition.1).unwrap(), None);
    }

    #[test]
    fn any_damaged_byte_is_noticed() {
        let good = encode("reason", 7);
        assert!(decode(&good).is_some());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad), None, "byte {at}");
            assert_eq!(decode(&good[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let long = "ä".repeat(BYTES);
        let bytes = encode(&long, 0);
        assert!(bytes.len() <= BYTES);
        assert!(decode(&bytes).unwrap().starts_with("ää"));
        assert!(!decode(&bytes).unwrap().contains('\u{fffd}'));
    }
}
