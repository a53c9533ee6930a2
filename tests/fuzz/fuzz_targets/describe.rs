#![no_main]
//! Fuzz target: see `targets/describe.rs`.

#[path = "../targets/describe.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    target::run(data);
});
