//! A signed upload and key files: nothing that was not signed by our key verifies.

#![no_main]

use bundle::signature::{PublicKey, SecretKey, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let ours = SecretKey::generate([1; 32], *b"fuzzfuzz").public("");
    assert!(verify(data, std::slice::from_ref(&ours)).is_err());
    if let Ok(key) = PublicKey::parse(data) {
        assert_eq!(PublicKey::parse(key.to_file().as_bytes()), Ok(key));
    }
    // Without a passphrase: deriving keys is slow on purpose.
    std::hint::black_box(SecretKey::parse(data, None).is_ok());
});
