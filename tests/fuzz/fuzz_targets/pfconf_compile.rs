//! See `targets/pfconf_compile.rs`.

#![no_main]

#[allow(dead_code)]
#[path = "../targets/pfconf.rs"]
mod pfconf_target;
#[path = "../targets/pfconf_compile.rs"]
mod target;
#[path = "../targets/verdicts.rs"]
mod verdicts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
