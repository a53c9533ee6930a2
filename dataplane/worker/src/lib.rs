//! The per-core loop that ties the dataplane together. The top of the story.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;
