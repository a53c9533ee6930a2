//! The PF story: describe a packet, find its state, test it, test the rules, create states, answer blocked packets.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;
