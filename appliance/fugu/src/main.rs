//! fugu: see the library of this crate.

#![forbid(unsafe_code)]

fn main() {}
