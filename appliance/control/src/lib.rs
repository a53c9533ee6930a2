//! The control core: transactions, the running configuration, statistics. The only part that talks to workers.
//!
//! [`Control`] is called by the program's loop and by whoever holds its [`api::Api`]; it has no thread, no clock and no
//! file of its own ([`machine`], [`store`] bring them). Read [`control`] first, then `transaction`.

#![forbid(unsafe_code)]

mod anchors;
pub mod api;
mod bridges;
pub mod builtin;
mod carriers;
mod changes;
pub mod control;
pub mod deputy;
pub mod domains;
#[cfg(feature = "fake")]
pub mod fake;
pub mod fleet;
mod killing;
mod kills;
mod lacp;
mod lagg;
mod layers;
mod layout;
mod learning;
pub mod listed;
pub mod log_ring;
pub mod machine;
mod metrics;
mod numbers;
pub mod offline;
pub mod pflog;
mod policy;
pub mod settings;
pub mod slots;
pub mod store;
mod switches;
mod tables;
#[cfg(test)]
mod tests;
pub mod token;
mod trace;
mod transaction;
mod trees;
mod views;
mod why;

pub use control::{Control, Event, Setup, Wish};
pub use fleet::WorkerLink;
pub use learning::ToSend;
