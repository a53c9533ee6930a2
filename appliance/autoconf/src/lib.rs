//! Addresses that are learned from a link, and those that are told to it: the DHCPv4 client, the SLAAC client, router
//! advertisements, and who else has an address that we are about to use.
//!
//! Machines only: each has a state, an event, and one function between them. Time (milliseconds of the caller's clock)
//! and chance come in as arguments, packets go out as bytes with the [`Way`] they are to take. Knows no interface table,
//! no rules and no configuration; `control` feeds it and makes interfaces of what it learns. What comes from the link is
//! hostile: every list has a named limit.
//!
//! | module | owns | read first |
//! |---|---|---|
//! | `dhcp4` | the DHCPv4 client | RFC 2131, RFC 2132, RFC 3442; dhcpleased(8) |
//! | `router` | router advertisements and solicitations on the wire | RFC 4861 4.1, 4.2; RFC 4191; RFC 8106 |
//! | `slaac` | addresses and default routers from advertisements | RFC 4862, RFC 7559; slaacd(8) |
//! | `advertise` | our own advertisements | RFC 4861 6.2; rad(8) |
//! | `claim` | duplicate detection and announcements | RFC 5227, RFC 4862 5.4 |

#![forbid(unsafe_code)]

pub mod advertise;
pub mod claim;
pub mod dhcp4;
pub mod router;
pub mod slaac;

use wire::ether;

/// Which way a packet goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// An IP packet below the rules, to this station, as dhcpleased(8) sends by bpf(4).
    Below(ether::Addr),
    /// An IP packet to this station, with the rules asked, as a raw socket of slaacd(8) and rad(8) has it.
    Link(ether::Addr),
    /// An IP packet that the routes lead, with the rules asked.
    Routed,
    /// A whole Ethernet frame, which is no IP: ARP.
    Frame,
}

/// A packet to be sent on the interface of the machine that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// How.
    pub way: Way,
    /// An IP packet, or the frame.
    pub bytes: Vec<u8>,
}
