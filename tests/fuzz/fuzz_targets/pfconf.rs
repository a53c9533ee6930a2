//! See `targets/pfconf.rs`.

#![no_main]

#[path = "../targets/pfconf.rs"]
mod pfconf_target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| pfconf_target::run(data));
