//! Header views and representations of the formats Fugu speaks, checksums, and which rule a malformed header broke.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;
