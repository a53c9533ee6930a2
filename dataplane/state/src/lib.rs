//! Connection states: keys, peers, TCP windows, the per-core table and its timeouts.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;
