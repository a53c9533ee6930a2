//! The per-core loop that ties the dataplane together. [`turn`] is the top of the story: read it first, each line of
//! it is a verb and each verb a file.
//!
//! A worker owns everything it changes: its states, its neighbors, its queues. Other cores send mail ([`mail`]). It
//! never blocks, never allocates after it was made, and never frees a configuration. It knows cards only through the
//! traits of `nic` and time only as an argument.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod alias;
mod batch;
mod bridge;
pub mod config;
pub mod counters;
mod delay;
mod detour;
mod ether;
mod exit;
mod family;
mod flow;
mod forward;
mod gates;
mod generate;
mod gif;
mod hand_over;
mod kills;
mod lane;
mod links;
mod list;
pub mod log;
pub mod mail;
mod neighbors;
mod path;
mod reassemble;
mod receive;
mod refragment;
mod remember;
mod screen;
mod steer;
mod sum;
mod translate;
mod transmit;
pub mod turn;
mod turn_away;
pub mod verdict;
pub mod watch;

pub use alias::AliasLetter;
pub use config::Config;
pub use counters::Counters;
pub use log::{LOG_SNAPLEN, LogRecord};
pub use mail::{
    Carried, ControlEnds, Ends, FrameEnd, Handoff, KILLS_AT_WORK, KillReport, Lane, Mail, Question,
    Report, connect,
};
pub use reassemble::Train;
pub use turn::{Worker, WorkerPort, WorkerSetup};
pub use verdict::{Egress, Verdict};
pub use watch::{About, StepRecord, Told, Watched};
