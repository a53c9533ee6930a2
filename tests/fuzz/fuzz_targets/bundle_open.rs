//! An upload, and the archive inside one: whatever opens obeys the limits.

#![no_main]

use bundle::{Bundle, Limits};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    compressed: 1 << 20,
    unpacked: 1 << 20,
    entries: 32,
    file: 1 << 16,
    path: 64,
    depth: 4,
};

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&stored(data));
});

fn check(bytes: &[u8]) {
    let Ok(bundle) = Bundle::open(bytes, &LIMITS) else {
        return;
    };
    assert!(bundle.files.len() <= LIMITS.entries);
    for (name, contents) in &bundle.files {
        assert!(name.len() <= LIMITS.path && contents.len() as u64 <= LIMITS.file);
        assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")));
    }
}

/// gzip without compression, so that the fuzzer reaches the tar reader.
fn stored(plain: &[u8]) -> Vec<u8> {
    let plain = &plain[..plain.len().min(usize::from(u16::MAX))];
    let length = plain.len() as u16;
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&(!length).to_le_bytes());
    bytes.extend_from_slice(plain);
    bytes.extend_from_slice(&crc32(plain).to_le_bytes());
    bytes.extend_from_slice(&u32::from(length).to_le_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
