//! What forwards: interfaces, local addresses, routes, neighbors, ICMP errors. Sans-io: time comes in as an
//! argument, actions go out as values.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod bridge;
pub mod domain;
pub mod failover;
pub mod fdb;
pub mod gif;
pub mod icmp_error;
pub mod interface;
pub mod kif;
pub mod lacp;
pub mod lagg;
pub mod link;
pub mod listen;
pub mod neighbor;
pub mod prefix;
pub mod probe;
pub mod reset;
pub mod route;
pub mod segment;
pub mod stp;
pub mod tables;
pub mod trie;
pub mod ttl;

pub use domain::Domain;
pub use interface::{Destination, IfAddr, Interface, InterfaceError, InterfaceTable, Name};
pub use kif::{GROUPS_MAX, InterfaceId, KifId, KifSet, NAMES_MAX};
pub use link::{Gif, Kind, Lagg, LaggProtocol, Links, Tpid, Vlan};
pub use listen::{Fixed, Listening, Published};
pub use prefix::Prefix;
pub use route::{Route, RouteError, RouteKind, RouteTable, StaticRoute, Target};
pub use tables::{RTABLE_MAX, RouteTables};
