//! What crosses cores, and nothing else does: rings with one producer and one consumer ([`ring`]), a published
//! value ([`published`]), counters with one writer ([`counter`], [`tally`]), limits that creation of a state touches
//! ([`gauge`], [`rate`], [`locked`]), edits of tables ([`overlay`]), agreements about translation ([`claims`]), which ports of a group are used ([`masks`]),
//! what a path carries ([`path_mtu`]). The only
//! atomics of the dataplane live here; so does the prefetch hint ([`cache`]).
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p sync --release loom` explores the interleavings of rings and published
//! values with the model checker.

#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

pub mod bridge_ports;
pub mod cache;
pub mod claims;
pub mod counter;
pub mod gauge;
pub mod locked;
pub mod masks;
pub mod overlay;
pub mod path_mtu;
mod primitive;
pub mod published;
pub mod rate;
pub mod ring;
pub mod tally;

pub use bridge_ports::BridgePorts;
pub use cache::{CacheLine, prefetch};
pub use claims::{Claims, Loads, Turns};
pub use counter::Counter;
pub use gauge::Gauge;
pub use locked::Locked;
pub use masks::Masks;
pub use overlay::{Overlay, OverlayEdit, OverlayEntry, OverlayKey};
pub use path_mtu::PathMtu;
pub use published::{Publisher, Subscriber, published};
pub use rate::{Decay, Once, Rate};
pub use ring::{Consumer, Producer, ring};
pub use tally::{TALLY_COUNTERS, Tallied, Tally};
