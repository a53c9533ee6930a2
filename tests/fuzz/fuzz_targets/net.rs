#![no_main]
//! Fuzz target: see `targets/net.rs`.

#[path = "../targets/net.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    target::run(data);
});
