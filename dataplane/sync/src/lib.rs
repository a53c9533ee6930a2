//! What crosses cores: published configuration, single-producer rings, counters. The only atomics.
#![cfg_attr(not(test), no_std)]

extern crate alloc;
