//! Header views and representations of the formats Fugu speaks, checksums, and which rule a
//! malformed header broke.
//!
//! Owns: bytes on the wire, and nothing else. Knows no state, no interface, no policy, no clock.
//!
//! Each format is one module of the same shape:
//!
//! - a **view** ([`ipv4::Packet`], [`ether::Frame`], …) over any `AsRef<[u8]>`, with private field
//!   ranges, getters, and setters where the bytes are `AsMut<[u8]>`;
//! - a **representation** (`Repr`): what the header means, with `parse`, `emit` and `buffer_len`.
//!
//! The contract: `new_checked` says which rule the bytes break ([`Malformed`]), and **after it
//! returned `Ok`, no getter panics**. Setters of length fields (IPv4 `set_header_len`,
//! `set_total_len`, IPv6 `set_payload_len`, TCP `set_header_len`, UDP `set_len`) void that promise
//! until the view is checked again. `new_unchecked` makes no promise; it is for `emit` into a fresh
//! buffer of `buffer_len()` bytes.
//!
//! A representation keeps what its doc says and may drop the rest (unknown options). Packets that
//! are forwarded are therefore edited through views, never parsed and emitted again.
//!
//! Checksums are not verified by `new_checked`: devices often have done so already. Each view with a
//! checksum has `verify_checksum` and `fill_checksum`. Ports and all other numbers are host order.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

#[macro_use]
mod view;

pub mod arp;
pub mod bpdu;
pub mod checksum;
pub mod ether;
pub mod icmp;
pub mod icmp6;
pub mod ipv4;
pub mod ipv6;
mod malformed;
pub mod print;
pub mod proto;
pub mod slow;
pub mod tcp;
pub mod udp;
pub mod vlan;

pub use malformed::Malformed;
