//! What forwards: interfaces, local addresses, routes, neighbors, ICMP errors.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;
