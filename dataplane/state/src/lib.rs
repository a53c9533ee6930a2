//! Connection states: keys, peers, TCP windows, the per-core table and its timeouts.
//!
//! A forwarded connection has two states, one for the interface it came in on and one for the interface it left
//! by, as in PF; they are linked as a pair. One core owns a table; nothing here is shared. This crate knows
//! neither rules nor packets: `filter` describes a packet as a [`Key`] and a [`Segment`] and decides what a
//! verdict of the tracker means.
//!
//! Read first: pf.conf(5) "STATEFUL FILTERING"; G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter".

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod flow;
pub mod index;
pub mod key;
pub mod record;
pub mod table;
pub mod ticks;
pub mod track;
pub mod wheel;

pub use flow::{Ends, FlowRef, FlowTable, InFlow, Onwards, Way, WayFlags};
pub use key::{HashSeed, Key};
pub use record::{Hold, HoldFlags, NextHop, Peer, Removed, State, StateFlags, StateIdx};
pub use table::{InsertError, StateTable, Vacancy};
pub use track::{Segment, TcpVerdict, tcp::TcpState};
