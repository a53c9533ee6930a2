//! Numbers of the protocols above IPv4 and of the headers in an IPv6 chain.
//!
//! Source: IANA "Assigned Internet Protocol Numbers". Only those that the packet path names; the
//! full list of names belongs to the configuration.

/// IPv6 hop-by-hop options (RFC 8200 4.3).
pub const HOP_BY_HOP: u8 = 0;
/// ICMP (RFC 792).
pub const ICMP: u8 = 1;
/// IGMP (RFC 3376).
pub const IGMP: u8 = 2;
/// IPv4 in IP (RFC 2003).
pub const IPIP: u8 = 4;
/// TCP (RFC 9293).
pub const TCP: u8 = 6;
/// UDP (RFC 768).
pub const UDP: u8 = 17;
/// IPv6 in IP (RFC 4213).
pub const IPV6: u8 = 41;
/// IPv6 routing header (RFC 8200 4.4).
pub const ROUTING: u8 = 43;
/// IPv6 fragment header (RFC 8200 4.5).
pub const FRAGMENT: u8 = 44;
/// Generic routing encapsulation (RFC 2784).
pub const GRE: u8 = 47;
/// IPsec encapsulating security payload (RFC 4303).
pub const ESP: u8 = 50;
/// IPsec authentication header (RFC 4302).
pub const AH: u8 = 51;
/// ICMPv6 (RFC 4443).
pub const ICMP6: u8 = 58;
/// IPv6 no next header (RFC 8200 4.7).
pub const NO_NEXT: u8 = 59;
/// IPv6 destination options (RFC 8200 4.6).
pub const DEST_OPTIONS: u8 = 60;
/// CARP, which shares the number with VRRP (RFC 9568).
pub const CARP: u8 = 112;
/// SCTP (RFC 9260).
pub const SCTP: u8 = 132;
/// pfsync, OpenBSD's state synchronization.
pub const PFSYNC: u8 = 240;
