//! What forwards: interfaces, local addresses, routes, neighbors, ICMP errors. Sans-io: time comes in as an
//! argument, actions go out as values.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod kif;

pub use kif::{InterfaceId, KIF_MAX, KifId, KifSet};
