//! ICMPv6 messages and neighbor discovery.
//!
//! Read first: RFC 4443; RFC 4861 section 4 (messages and options), 6.1 and 7.1 (what makes them
//! valid). Hop limit 255 and address rules need the IPv6 header and are checked by who holds it.

use core::net::Ipv6Addr;

use crate::ether::Addr;
use crate::view::{array, be16, be32};
use crate::{Malformed, checksum, proto};

/// Length of the header in bytes, the type-specific word included.
pub const HEADER_LEN: usize = 8;

/// Message types (IANA "ICMPv6 Parameters").
pub mod kind {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAM_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Multicast listener query (RFC 2710).
    pub const MLD_QUERY: u8 = 130;
    /// Multicast listener report (RFC 2710).
    pub const MLD_REPORT: u8 = 131;
    /// Multicast listener done (RFC 2710).
    pub const MLD_DONE: u8 = 132;
    /// Router solicitation.
    pub const ROUTER_SOLICIT: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERT: u8 = 134;
    /// Neighbor solicitation.
    pub const NEIGHBOR_SOLICIT: u8 = 135;
    /// Neighbor advertisement.
    pub const NEIGHBOR_ADVERT: u8 = 136;
    /// Redirect.
    pub const REDIRECT: u8 = 137;
    /// Multicast listener report, version 2 (RFC 3810).
    pub const MLD2_REPORT: u8 = 143;
}

/// Codes of destination unreachable, time exceeded and parameter problem.
pub mod code {
    /// Unreachable: no route.
    pub const NO_ROUTE: u8 = 0;
    /// Unreachable: administratively prohibited.
    pub const ADMIN_PROHIBITED: u8 = 1;
    /// Unreachable: beyond scope of source address.
    pub const BEYOND_SCOPE: u8 = 2;
    /// Unreachable: the host does not answer on its link.
    pub const ADDR_UNREACHABLE: u8 = 3;
    /// Unreachable: nobody listens on the port.
    pub const PORT_UNREACHABLE: u8 = 4;
    /// Unreachable: reject route.
    pub const REJECT_ROUTE: u8 = 6;
    /// Time exceeded: hop limit ran out in transit.
    pub const HOP_LIMIT_EXCEEDED: u8 = 0;
    /// Time exceeded: reassembly timed out.
    pub const REASSEMBLY_TIMEOUT: u8 = 1;
    /// Parameter problem: erroneous header field.
    pub const ERRONEOUS_FIELD: u8 = 0;
    /// Parameter problem: unrecognized next header.
    pub const UNKNOWN_NEXT_HEADER: u8 = 1;
    /// Parameter problem: unrecognized option.
    pub const UNKNOWN_OPTION: u8 = 2;
}

mod field {
    use crate::view::Field;
    pub(super) const TYPE: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: Field = 2..4;
    pub(super) const REST: Field = 4..8;
    pub(super) const ECHO_IDENT: Field = 4..6;
    pub(super) const ECHO_SEQ: Field = 6..8;
    pub(super) const RA_LIFETIME: Field = 6..8;
    pub(super) const TARGET: Field = 8..24;
}

/// Router bit in the first byte of a neighbor advertisement's word.
const NA_ROUTER: u8 = 0x80;
const NA_SOLICITED: u8 = 0x40;
const NA_OVERRIDE: u8 = 0x20;

/// Least length in bytes of a message of the type: up to its options or quoted packet.
const fn fixed_len(kind: u8) -> usize {
    match kind {
        kind::ROUTER_ADVERT => 16,
        kind::NEIGHBOR_SOLICIT | kind::NEIGHBOR_ADVERT => 24,
        kind::MLD_QUERY | kind::MLD_REPORT | kind::MLD_DONE => 24,
        kind::REDIRECT => 40,
        _ => HEADER_LEN,
    }
}

fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < HEADER_LEN || bytes.len() < fixed_len(bytes[field::TYPE]) {
        return Err(Malformed::Icmp6Short);
    }
    Ok(())
}

view! {
    /// A view of an ICMPv6 message. It ends where the IP packet says; give it exactly those bytes.
    ///
    /// ```text
    ///  0      1      2          4                                                     8
    /// | type | code | checksum | echo: ident, seq · 2: MTU · 4: pointer · NA: R S O  | data or quoted packet …
    /// |                                                                              | NS, NA: target 16 | options …
    /// ```
    Packet, check
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Message type, see [`kind`].
    #[inline]
    pub fn kind(&self) -> u8 {
        self.buffer.as_ref()[field::TYPE]
    }

    /// Code within the type, see [`code`].
    #[inline]
    pub fn code(&self) -> u8 {
        self.buffer.as_ref()[field::CODE]
    }

    /// The checksum as it is in the packet.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// The type-specific word.
    #[inline]
    pub fn rest(&self) -> [u8; 4] {
        array(self.buffer.as_ref(), field::REST)
    }

    /// Identifier; meaningful in echo messages.
    #[inline]
    pub fn echo_ident(&self) -> u16 {
        be16(self.buffer.as_ref(), field::ECHO_IDENT)
    }

    /// Sequence number; meaningful in echo messages.
    #[inline]
    pub fn echo_seq(&self) -> u16 {
        be16(self.buffer.as_ref(), field::ECHO_SEQ)
    }

    /// MTU of the next hop in bytes; meaningful in packet too big.
    #[inline]
    pub fn mtu(&self) -> u32 {
        be32(self.buffer.as_ref(), field::REST)
    }

    /// Offset of the byte in error; meaningful in parameter problem.
    #[inline]
    pub fn pointer(&self) -> u32 {
        be32(self.buffer.as_ref(), field::REST)
    }

    /// Whether the message is an error and [`Packet::payload`] therefore a quoted packet
    /// (RFC 4443 2.1: types below 128).
    #[inline]
    pub fn is_error(&self) -> bool {
        is_error(self.kind())
    }

    /// Whether the message is router, neighbor or redirect discovery.
    #[inline]
    pub fn is_neighbor_discovery(&self) -> bool {
        (kind::ROUTER_SOLICIT..=kind::REDIRECT).contains(&self.kind())
    }

    /// The 16 bytes after the header where they are there: target of a neighbor solicitation,
    /// advertisement or redirect, group of a listener message.
    #[inline]
    pub fn target(&self) -> Option<Ipv6Addr> {
        let bytes: [u8; 16] = self.buffer.as_ref().get(field::TARGET)?.try_into().ok()?;
        Some(Ipv6Addr::from_octets(bytes))
    }

    /// The neighbor discovery options; empty for other messages.
    #[inline]
    pub fn nd_options(&self) -> NdOptions<'_> {
        let rest = match self.is_neighbor_discovery() {
            true => &self.buffer.as_ref()[fixed_len(self.kind())..],
            false => &[],
        };
        NdOptions { rest }
    }

    /// What follows the first 8 bytes.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..]
    }

    /// Whether the checksum is right.
    pub fn verify_checksum(&self, src: Ipv6Addr, dst: Ipv6Addr) -> bool {
        self.sum(src, dst) == 0
    }

    fn sum(&self, src: Ipv6Addr, dst: Ipv6Addr) -> u16 {
        let bytes = self.buffer.as_ref();
        let pseudo = checksum::pseudo6(src, dst, proto::ICMP6, bytes.len() as u32);
        !checksum::fold(pseudo + checksum::sum(bytes))
    }
}

/// Whether a message type is an error (RFC 4443 2.1).
#[inline]
pub const fn is_error(kind: u8) -> bool {
    kind < 128
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets type and code. Voids the promise of `new_checked`: types differ in their least length.
    #[inline]
    pub fn set_kind(&mut self, kind: u8, code: u8) {
        let bytes = self.buffer.as_mut();
        bytes[field::TYPE] = kind;
        bytes[field::CODE] = code;
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, sum: u16) {
        self.buffer.as_mut()[field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }

    /// Sets the type-specific word.
    #[inline]
    pub fn set_rest(&mut self, rest: [u8; 4]) {
        self.buffer.as_mut()[field::REST].copy_from_slice(&rest);
    }

    /// Sets the identifier. The checksum is left to the caller.
    #[inline]
    pub fn set_echo_ident(&mut self, ident: u16) {
        self.buffer.as_mut()[field::ECHO_IDENT].copy_from_slice(&ident.to_be_bytes());
    }

    /// What follows the first 8 bytes, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN..]
    }

    /// Computes the checksum over pseudo header and message.
    pub fn fill_checksum(&mut self, src: Ipv6Addr, dst: Ipv6Addr) {
        self.set_checksum(0);
        let sum = self.sum(src, dst);
        self.set_checksum(sum);
    }
}

/// Types of neighbor discovery options (RFC 4861 4.6).
pub mod option {
    /// Source link-layer address.
    pub const SOURCE_LINK: u8 = 1;
    /// Target link-layer address.
    pub const TARGET_LINK: u8 = 2;
    /// Prefix information.
    pub const PREFIX: u8 = 3;
    /// Redirected header.
    pub const REDIRECTED: u8 = 4;
    /// MTU.
    pub const MTU: u8 = 5;
}

/// One neighbor discovery option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NdOption<'a> {
    /// Option type, see [`option`].
    pub kind: u8,
    /// Bytes after the type and length bytes.
    pub data: &'a [u8],
}

impl NdOption<'_> {
    /// The Ethernet address in a link-layer address option.
    pub fn link(&self) -> Option<Addr> {
        Some(Addr(self.data.try_into().ok()?))
    }
}

/// Iterates over neighbor discovery options; ends after the first broken one.
#[derive(Debug, Clone)]
pub struct NdOptions<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for NdOptions<'a> {
    type Item = Result<NdOption<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.rest.first()?;
        let len = self.rest.get(1).map_or(0, |&len| usize::from(len) * 8);
        if len == 0 || len > self.rest.len() {
            self.rest = &[];
            return Some(Err(Malformed::NdOption));
        }
        let (this, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(Ok(NdOption {
            kind,
            data: &this[2..],
        }))
    }
}

/// The first link-layer address option of `kind`; all options are checked, because one broken option
/// makes the whole message invalid (RFC 4861 7.1.1).
fn find_link(options: NdOptions<'_>, kind: u8) -> Result<Option<Addr>, Malformed> {
    let mut found = None;
    for option in options {
        let option = option?;
        if option.kind == kind && found.is_none() {
            found = option.link();
        }
    }
    Ok(found)
}

/// The meaning of a neighbor solicitation (RFC 4861 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborSolicit {
    /// Address that is asked for.
    pub target: Ipv6Addr,
    /// Link-layer address of the sender; absent in duplicate address detection.
    pub source_link: Option<Addr>,
}

/// The meaning of a neighbor advertisement (RFC 4861 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborAdvert {
    /// Address that the advertisement is about.
    pub target: Ipv6Addr,
    /// Link-layer address of the target.
    pub target_link: Option<Addr>,
    /// Whether the sender is a router.
    pub router: bool,
    /// Whether this answers a solicitation.
    pub solicited: bool,
    /// Whether this replaces a cached link-layer address.
    pub override_: bool,
}

/// The meaning of an ICMPv6 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repr<'a> {
    /// Destination unreachable.
    Unreachable {
        /// Which kind, see [`code`].
        code: u8,
        /// The packet that did not get through, or its beginning.
        quote: &'a [u8],
    },
    /// Packet too big.
    PacketTooBig {
        /// MTU of the next hop in bytes.
        mtu: u32,
        /// The packet that did not fit, or its beginning.
        quote: &'a [u8],
    },
    /// Time exceeded.
    TimeExceeded {
        /// In transit (0) or in reassembly (1).
        code: u8,
        /// The packet that ran out of time, or its beginning.
        quote: &'a [u8],
    },
    /// Parameter problem.
    ParamProblem {
        /// Which kind, see [`code`].
        code: u8,
        /// Offset of the byte in error.
        pointer: u32,
        /// The packet in error, or its beginning.
        quote: &'a [u8],
    },
    /// Echo request.
    EchoRequest {
        /// Identifier.
        ident: u16,
        /// Sequence number.
        seq: u16,
        /// Data to be echoed.
        data: &'a [u8],
    },
    /// Echo reply.
    EchoReply {
        /// Identifier.
        ident: u16,
        /// Sequence number.
        seq: u16,
        /// Data echoed.
        data: &'a [u8],
    },
    /// Router solicitation.
    RouterSolicit {
        /// Link-layer address of the sender.
        source_link: Option<Addr>,
    },
    /// Router advertisement; prefixes and other options are read through
    /// [`Packet::nd_options`].
    RouterAdvert {
        /// Hop limit hosts should use, 0 for unspecified.
        hop_limit: u8,
        /// The managed and other-configuration flags and their neighbors, as they are.
        flags: u8,
        /// Lifetime as default router, in seconds.
        lifetime_s: u16,
        /// Time a neighbor counts as reachable, in milliseconds, 0 for unspecified.
        reachable_ms: u32,
        /// Time between solicitations, in milliseconds, 0 for unspecified.
        retrans_ms: u32,
        /// Link-layer address of the sender.
        source_link: Option<Addr>,
    },
    /// Neighbor solicitation.
    NeighborSolicit(NeighborSolicit),
    /// Neighbor advertisement.
    NeighborAdvert(NeighborAdvert),
    /// Anything else, kept as it is.
    Other {
        /// Message type.
        kind: u8,
        /// Code within the type.
        code: u8,
        /// The type-specific word.
        rest: [u8; 4],
        /// What follows the first 8 bytes.
        data: &'a [u8],
    },
}

impl<'a> Repr<'a> {
    /// Reads a message. The checksum is not verified: the addresses are not known here.
    pub fn parse<T: AsRef<[u8]> + ?Sized>(packet: &'a Packet<&'a T>) -> Result<Self, Malformed> {
        packet.check()?;
        let (kind, code, data) = (packet.kind(), packet.code(), packet.payload());
        let (ident, seq) = (packet.echo_ident(), packet.echo_seq());
        Ok(match kind {
            kind::UNREACHABLE => Repr::Unreachable { code, quote: data },
            kind::PACKET_TOO_BIG => Repr::PacketTooBig {
                mtu: packet.mtu(),
                quote: data,
            },
            kind::TIME_EXCEEDED => Repr::TimeExceeded { code, quote: data },
            kind::PARAM_PROBLEM => Repr::ParamProblem {
                code,
                pointer: packet.pointer(),
                quote: data,
            },
            kind::ECHO_REQUEST if code == 0 => Repr::EchoRequest { ident, seq, data },
            kind::ECHO_REPLY if code == 0 => Repr::EchoReply { ident, seq, data },
            kind::ROUTER_SOLICIT..=kind::NEIGHBOR_ADVERT if code == 0 => discovery(packet)?,
            _ => Repr::Other {
                kind,
                code,
                rest: packet.rest(),
                data,
            },
        })
    }

    /// Length of the whole message in bytes.
    pub fn buffer_len(&self) -> usize {
        let link = |link: Option<Addr>| if link.is_some() { LINK_OPTION_LEN } else { 0 };
        match self {
            Repr::Unreachable { quote, .. }
            | Repr::PacketTooBig { quote, .. }
            | Repr::TimeExceeded { quote, .. }
            | Repr::ParamProblem { quote, .. } => HEADER_LEN + quote.len(),
            Repr::EchoRequest { data, .. }
            | Repr::EchoReply { data, .. }
            | Repr::Other { data, .. } => HEADER_LEN + data.len(),
            Repr::RouterSolicit { source_link } => HEADER_LEN + link(*source_link),
            Repr::RouterAdvert { source_link, .. } => 16 + link(*source_link),
            Repr::NeighborSolicit(ns) => 24 + link(ns.source_link),
            Repr::NeighborAdvert(na) => 24 + link(na.target_link),
        }
    }

    /// Writes the whole message without a checksum: call [`Packet::fill_checksum`] afterwards, on a
    /// buffer of exactly [`Repr::buffer_len`] bytes.
    ///
    /// # Panics
    /// When the buffer is shorter than [`Repr::buffer_len`].
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        let (kind, code, rest) = self.head();
        packet.set_kind(kind, code);
        packet.set_checksum(0);
        packet.set_rest(rest);
        self.emit_body(packet.payload_mut());
    }

    /// Type, code and type-specific word.
    fn head(&self) -> (u8, u8, [u8; 4]) {
        let pair = |a: u16, b: u16| {
            let ([a, b], [c, d]) = (a.to_be_bytes(), b.to_be_bytes());
            [a, b, c, d]
        };
        match *self {
            Repr::Unreachable { code, .. } => (kind::UNREACHABLE, code, [0; 4]),
            Repr::PacketTooBig { mtu, .. } => (kind::PACKET_TOO_BIG, 0, mtu.to_be_bytes()),
            Repr::TimeExceeded { code, .. } => (kind::TIME_EXCEEDED, code, [0; 4]),
            Repr::ParamProblem { code, pointer, .. } => {
                (kind::PARAM_PROBLEM, code, pointer.to_be_bytes())
            }
            Repr::EchoRequest { ident, seq, .. } => (kind::ECHO_REQUEST, 0, pair(ident, seq)),
            Repr::EchoReply { ident, seq, .. } => (kind::ECHO_REPLY, 0, pair(ident, seq)),
            Repr::RouterSolicit { .. } => (kind::ROUTER_SOLICIT, 0, [0; 4]),
            Repr::RouterAdvert {
                hop_limit,
                flags,
                lifetime_s,
                ..
            } => {
                let [a, b] = lifetime_s.to_be_bytes();
                (kind::ROUTER_ADVERT, 0, [hop_limit, flags, a, b])
            }
            Repr::NeighborSolicit(_) => (kind::NEIGHBOR_SOLICIT, 0, [0; 4]),
            Repr::NeighborAdvert(na) => (kind::NEIGHBOR_ADVERT, 0, [na.flags(), 0, 0, 0]),
            Repr::Other {
                kind, code, rest, ..
            } => (kind, code, rest),
        }
    }

    fn emit_body(&self, body: &mut [u8]) {
        match *self {
            Repr::Unreachable { quote: data, .. }
            | Repr::PacketTooBig { quote: data, .. }
            | Repr::TimeExceeded { quote: data, .. }
            | Repr::ParamProblem { quote: data, .. }
            | Repr::EchoRequest { data, .. }
            | Repr::EchoReply { data, .. }
            | Repr::Other { data, .. } => body[..data.len()].copy_from_slice(data),
            Repr::RouterSolicit { source_link } => {
                emit_link(body, option::SOURCE_LINK, source_link);
            }
            Repr::RouterAdvert {
                reachable_ms,
                retrans_ms,
                source_link,
                ..
            } => {
                body[0..4].copy_from_slice(&reachable_ms.to_be_bytes());
                body[4..8].copy_from_slice(&retrans_ms.to_be_bytes());
                emit_link(&mut body[8..], option::SOURCE_LINK, source_link);
            }
            Repr::NeighborSolicit(ns) => {
                body[..16].copy_from_slice(&ns.target.octets());
                emit_link(&mut body[16..], option::SOURCE_LINK, ns.source_link);
            }
            Repr::NeighborAdvert(na) => {
                body[..16].copy_from_slice(&na.target.octets());
                emit_link(&mut body[16..], option::TARGET_LINK, na.target_link);
            }
        }
    }
}

impl NeighborAdvert {
    fn flags(&self) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        bit(self.router, NA_ROUTER)
            | bit(self.solicited, NA_SOLICITED)
            | bit(self.override_, NA_OVERRIDE)
    }
}

/// Length in bytes of a link-layer address option for Ethernet (RFC 2464 6).
const LINK_OPTION_LEN: usize = 8;

fn emit_link(bytes: &mut [u8], kind: u8, link: Option<Addr>) {
    if let Some(Addr(link)) = link {
        bytes[0] = kind;
        bytes[1] = 1;
        bytes[2..LINK_OPTION_LEN].copy_from_slice(&link);
    }
}

/// Reads the messages of RFC 4861 that a [`Repr`] variant exists for. The view is checked, so the
/// fixed parts are there.
fn discovery<'a, T: AsRef<[u8]> + ?Sized>(
    packet: &'a Packet<&'a T>,
) -> Result<Repr<'a>, Malformed> {
    let options = packet.nd_options();
    let target = || packet.target().ok_or(Malformed::Icmp6Short);
    let [first, second, ..] = packet.rest();
    Ok(match packet.kind() {
        kind::ROUTER_SOLICIT => Repr::RouterSolicit {
            source_link: find_link(options, option::SOURCE_LINK)?,
        },
        kind::ROUTER_ADVERT => Repr::RouterAdvert {
            hop_limit: first,
            flags: second,
            lifetime_s: be16(packet.as_bytes(), field::RA_LIFETIME),
            reachable_ms: be32(packet.as_bytes(), 8..12),
            retrans_ms: be32(packet.as_bytes(), 12..16),
            source_link: find_link(options, option::SOURCE_LINK)?,
        },
        kind::NEIGHBOR_SOLICIT => Repr::NeighborSolicit(NeighborSolicit {
            target: target()?,
            source_link: find_link(options, option::SOURCE_LINK)?,
        }),
        _ => Repr::NeighborAdvert(NeighborAdvert {
            target: target()?,
            target_link: find_link(options, option::TARGET_LINK)?,
            router: first & NA_ROUTER != 0,
            solicited: first & NA_SOLICITED != 0,
            override_: first & NA_OVERRIDE != 0,
        }),
    })
}

#[cfg(test)]
mod tests;
