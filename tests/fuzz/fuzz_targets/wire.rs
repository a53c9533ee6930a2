#![no_main]
//! Fuzz target: see `targets/wire.rs`.

#[path = "../targets/wire.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
