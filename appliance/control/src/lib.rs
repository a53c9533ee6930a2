//! The control core: transactions, the running configuration, statistics. The only part that talks to workers.

#![forbid(unsafe_code)]

pub mod api;
#[cfg(feature = "fake")]
pub mod fake;
