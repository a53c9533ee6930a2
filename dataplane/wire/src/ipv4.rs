//! IPv4 headers, their options, and the way through to the transport header.
//!
//! Read first: RFC 791 section 3.1, RFC 1122 section 3.2.1, RFC 2474 (the TOS byte today), RFC 6864
//! (identification), RFC 4302 section 2 (the authentication header). May not know about reassembly:
//! it only says what is a fragment.

use core::net::Ipv4Addr;

use crate::view::{array, be16, be32};
use crate::{Malformed, checksum, proto};

/// Length in bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// Most authentication headers [`walk`] follows; PF's own limit on header chains.
pub const CHAIN_MAX: usize = 20;

mod field {
    use crate::view::Field;
    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const TOS: usize = 1;
    pub(super) const TOTAL_LEN: Field = 2..4;
    pub(super) const IDENT: Field = 4..6;
    pub(super) const FRAGMENT: Field = 6..8;
    pub(super) const TTL: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const CHECKSUM: Field = 10..12;
    pub(super) const SRC: Field = 12..16;
    pub(super) const DST: Field = 16..20;
}

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < HEADER_LEN {
        return Err(Malformed::Ip4Short);
    }
    if bytes[field::VERSION_IHL] >> 4 != 4 {
        return Err(Malformed::Ip4Version);
    }
    let header_len = usize::from(bytes[field::VERSION_IHL] & 0x0f) * 4;
    if header_len < HEADER_LEN || header_len > bytes.len() {
        return Err(Malformed::Ip4HeaderLength);
    }
    let total_len = usize::from(be16(bytes, field::TOTAL_LEN));
    if total_len < header_len || total_len > bytes.len() {
        return Err(Malformed::Ip4TotalLength);
    }
    Ok(())
}

view! {
    /// A view of an IPv4 packet. The buffer may be longer than the packet: short Ethernet frames are
    /// padded, and the total length says where the packet ends.
    ///
    /// ```text
    ///  0           1     2              4       6                   8     9       10         12    16    20
    /// | 4 | IHL   | TOS | total length | ident | 0 DF MF offset/8  | TTL | proto | checksum | src | dst | options
    /// ```
    Packet, check
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Length of header and options in bytes, 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.buffer.as_ref()[field::VERSION_IHL] & 0x0f) * 4
    }

    /// The TOS byte: differentiated services and congestion notification bits.
    #[inline]
    pub fn tos(&self) -> u8 {
        self.buffer.as_ref()[field::TOS]
    }

    /// Length of header and payload in bytes.
    #[inline]
    pub fn total_len(&self) -> u16 {
        be16(self.buffer.as_ref(), field::TOTAL_LEN)
    }

    /// Identification, which the fragments of one packet share.
    #[inline]
    pub fn ident(&self) -> u16 {
        be16(self.buffer.as_ref(), field::IDENT)
    }

    fn fragment_word(&self) -> u16 {
        be16(self.buffer.as_ref(), field::FRAGMENT)
    }

    /// Whether routers may not fragment the packet.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragment_word() & DONT_FRAGMENT != 0
    }

    /// Whether fragments with higher offsets follow.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        self.fragment_word() & MORE_FRAGMENTS != 0
    }

    /// Offset of this fragment's payload in bytes, 0 to 65528.
    #[inline]
    pub fn fragment_offset(&self) -> u16 {
        (self.fragment_word() & OFFSET_MASK) << 3
    }

    /// Whether this is a part of a packet, the first part included.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment_word() & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Time to live in hops.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.buffer.as_ref()[field::TTL]
    }

    /// Protocol of the payload, see [`crate::proto`].
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.buffer.as_ref()[field::PROTOCOL]
    }

    /// The header checksum as it is in the packet.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(array(self.buffer.as_ref(), field::SRC))
    }

    /// Destination address.
    #[inline]
    pub fn dst(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(array(self.buffer.as_ref(), field::DST))
    }

    /// The bytes of the options, empty in nearly every packet.
    #[inline]
    pub fn option_bytes(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..self.header_len()]
    }

    /// The options one by one.
    #[inline]
    pub fn options(&self) -> Options<'_> {
        Options {
            rest: self.option_bytes(),
        }
    }

    /// The payload, without Ethernet padding.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[self.header_len()..usize::from(self.total_len())]
    }

    /// Whether the header checksum is right.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        checksum::data(&self.buffer.as_ref()[..self.header_len()]) == 0
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets version 4 and the header length in bytes, a multiple of 4 from 20 to 60. Voids the
    /// promise of `new_checked`.
    #[inline]
    pub fn set_header_len(&mut self, len: usize) {
        self.buffer.as_mut()[field::VERSION_IHL] = 0x40 | ((len / 4) as u8 & 0x0f);
    }

    /// Sets the TOS byte.
    #[inline]
    pub fn set_tos(&mut self, tos: u8) {
        self.buffer.as_mut()[field::TOS] = tos;
    }

    /// Sets the length of header and payload in bytes. Voids the promise of `new_checked`.
    #[inline]
    pub fn set_total_len(&mut self, len: u16) {
        self.buffer.as_mut()[field::TOTAL_LEN].copy_from_slice(&len.to_be_bytes());
    }

    /// Sets the identification.
    #[inline]
    pub fn set_ident(&mut self, ident: u16) {
        self.buffer.as_mut()[field::IDENT].copy_from_slice(&ident.to_be_bytes());
    }

    /// Sets the fragmentation word; `offset` is in bytes, a multiple of 8.
    #[inline]
    pub fn set_fragment(&mut self, dont_fragment: bool, more_fragments: bool, offset: u16) {
        let word = u16::from(dont_fragment) << 14 | u16::from(more_fragments) << 13 | offset >> 3;
        self.buffer.as_mut()[field::FRAGMENT].copy_from_slice(&word.to_be_bytes());
    }

    /// Clears "don't fragment" and corrects the checksum by the difference.
    pub fn clear_dont_fragment(&mut self) {
        let word = self.fragment_word() & !DONT_FRAGMENT;
        self.replace_word(field::FRAGMENT, word);
    }

    /// Sets the type of service byte and corrects the checksum by the difference.
    pub fn replace_tos(&mut self, tos: u8) {
        let first = self.buffer.as_ref()[0];
        self.replace_word(0..2, u16::from_be_bytes([first, tos]));
    }

    /// Sets the identification and corrects the checksum by the difference.
    pub fn replace_ident(&mut self, ident: u16) {
        self.replace_word(field::IDENT, ident);
    }

    /// Sets the time to live and corrects the checksum by the difference.
    pub fn replace_ttl(&mut self, ttl: u8) {
        let protocol = self.protocol();
        self.replace_word(8..10, u16::from_be_bytes([ttl, protocol]));
    }

    fn replace_word(&mut self, at: crate::view::Field, word: u16) {
        let old = be16(self.buffer.as_ref(), at.clone());
        self.buffer.as_mut()[at].copy_from_slice(&word.to_be_bytes());
        self.set_checksum(checksum::adjust(self.checksum(), old, word));
    }

    /// Sets the time to live in hops.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        self.buffer.as_mut()[field::TTL] = ttl;
    }

    /// Sets the protocol of the payload.
    #[inline]
    pub fn set_protocol(&mut self, protocol: u8) {
        self.buffer.as_mut()[field::PROTOCOL] = protocol;
    }

    /// Sets the header checksum.
    #[inline]
    pub fn set_checksum(&mut self, sum: u16) {
        self.buffer.as_mut()[field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }

    /// Sets the source address. The checksum is left to the caller.
    #[inline]
    pub fn set_src(&mut self, addr: Ipv4Addr) {
        self.buffer.as_mut()[field::SRC].copy_from_slice(&addr.octets());
    }

    /// Sets the destination address. The checksum is left to the caller.
    #[inline]
    pub fn set_dst(&mut self, addr: Ipv4Addr) {
        self.buffer.as_mut()[field::DST].copy_from_slice(&addr.octets());
    }

    /// Computes the header checksum anew.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let len = self.header_len();
        let sum = checksum::data(&self.buffer.as_ref()[..len]);
        self.set_checksum(sum);
    }

    /// The payload for writing, without Ethernet padding.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.header_len(), usize::from(self.total_len()));
        &mut self.buffer.as_mut()[start..end]
    }
}

/// One IPv4 option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip4Option<'a> {
    /// Type byte: copied flag, class and number, see [`option`].
    pub kind: u8,
    /// Bytes after the type and length bytes.
    pub data: &'a [u8],
}

/// Type bytes of IPv4 options.
pub mod option {
    /// End of the list.
    pub const END: u8 = 0;
    /// Padding of one byte.
    pub const NOP: u8 = 1;
    /// Record route.
    pub const RECORD_ROUTE: u8 = 7;
    /// Timestamp.
    pub const TIMESTAMP: u8 = 68;
    /// Loose source route.
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    /// Strict source route.
    pub const STRICT_SOURCE_ROUTE: u8 = 137;
    /// Router alert (RFC 2113).
    pub const ROUTER_ALERT: u8 = 148;
}

/// Iterates over options, without padding; ends after the first broken one.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<Ip4Option<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [option::NOP, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let &[kind, ref after @ ..] = self.rest else {
            return None;
        };
        if kind == option::END {
            self.rest = &[];
            return None;
        }
        let len = after.first().map_or(0, |&len| usize::from(len));
        if len < 2 || len > self.rest.len() {
            self.rest = &[];
            return Some(Err(Malformed::Ip4Option));
        }
        let (this, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(Ok(Ip4Option {
            kind,
            data: &this[2..],
        }))
    }
}

/// Where the transport header of an IPv4 packet is, and what was passed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// Protocol of the header at `offset`.
    pub protocol: u8,
    /// Offset of that header from the first byte of the IPv4 header.
    pub offset: usize,
    /// End of the packet, as an offset from the first byte of the IPv4 header.
    pub end: usize,
    /// Whether this is any fragment, the first included.
    pub is_fragment: bool,
    /// Whether this is a fragment with an offset above 0: no transport header at `offset`.
    pub is_later_fragment: bool,
    /// Whether the header is longer than 20 bytes, even by padding only.
    pub has_options: bool,
    /// Whether a router alert is among the options.
    pub router_alert: bool,
    /// Whether there are options other than router alert; padding alone counts (it is fishy).
    pub has_other_options: bool,
    /// Whether an authentication header was skipped.
    pub has_auth: bool,
}

/// Checks an IPv4 packet and walks over options and authentication headers to the transport header.
/// `bytes` begins with the IPv4 header and may be longer than the packet.
///
/// A first fragment that ends within the chain stops the walk there: `protocol` is then
/// [`proto::AH`].
#[inline]
pub fn walk(bytes: &[u8]) -> Result<Walk, Malformed> {
    match plain(bytes) {
        Some(walk) => Ok(walk),
        None => walk_slowly(bytes),
    }
}

/// The walk over a packet without options, fragments and authentication headers: nearly all packets there are.
#[inline]
fn plain(bytes: &[u8]) -> Option<Walk> {
    let header: &[u8; HEADER_LEN] = bytes.first_chunk()?;
    let end = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment = u16::from_be_bytes([header[6], header[7]]) & (MORE_FRAGMENTS | OFFSET_MASK);
    let protocol = header[field::PROTOCOL];
    let is_plain = header[field::VERSION_IHL] == 0x45 && fragment == 0 && protocol != proto::AH;
    (is_plain && (HEADER_LEN..=bytes.len()).contains(&end)).then_some(Walk {
        protocol,
        offset: HEADER_LEN,
        end,
        is_fragment: false,
        is_later_fragment: false,
        has_options: false,
        router_alert: false,
        has_other_options: false,
        has_auth: false,
    })
}

fn walk_slowly(bytes: &[u8]) -> Result<Walk, Malformed> {
    let packet = Packet::new_checked(bytes)?;
    let mut walk = Walk {
        protocol: packet.protocol(),
        offset: packet.header_len(),
        end: usize::from(packet.total_len()),
        is_fragment: packet.is_fragment(),
        is_later_fragment: packet.fragment_offset() != 0,
        has_options: packet.header_len() > HEADER_LEN,
        router_alert: false,
        has_other_options: false,
        has_auth: false,
    };
    if walk.has_options {
        note_options(&packet, &mut walk)?;
    }
    if walk.is_fragment {
        check_fragment(&packet)?;
    }
    if !walk.is_later_fragment && walk.protocol == proto::AH {
        skip_auth(&bytes[..walk.end], &mut walk)?;
    }
    Ok(walk)
}

fn note_options(packet: &Packet<&[u8]>, walk: &mut Walk) -> Result<(), Malformed> {
    for item in packet.options() {
        match item?.kind {
            option::ROUTER_ALERT => walk.router_alert = true,
            _ => walk.has_other_options = true,
        }
    }
    walk.has_other_options |= !walk.router_alert;
    Ok(())
}

/// A packet cannot end beyond 65535 bytes (the "ping of death"). All but the last fragment carry a multiple of 8
/// bytes. Fragments that forbid fragmentation exist (RFC 6864 4.2): what is done about them is the caller's.
fn check_fragment(packet: &Packet<&[u8]>) -> Result<(), Malformed> {
    let payload = usize::from(packet.total_len()) - packet.header_len();
    let end = usize::from(packet.fragment_offset()) + payload;
    let ragged = packet.more_fragments() && !payload.is_multiple_of(8);
    let empty = packet.more_fragments() && payload == 0;
    if ragged || empty || end > 65535 {
        return Err(Malformed::Ip4Fragment);
    }
    Ok(())
}

fn skip_auth(bytes: &[u8], walk: &mut Walk) -> Result<(), Malformed> {
    for _ in 0..CHAIN_MAX {
        if walk.protocol != proto::AH {
            return Ok(());
        }
        // Next header and length in 4-byte words minus 2 (RFC 4302 2.2).
        let header = bytes.get(walk.offset..).and_then(|rest| rest.get(..2));
        let Some(&[next, len]) = header else {
            return short_chain(walk);
        };
        let offset = walk.offset + (usize::from(len) + 2) * 4;
        if offset > bytes.len() {
            return short_chain(walk);
        }
        walk.has_auth = true;
        walk.protocol = next;
        walk.offset = offset;
    }
    Err(Malformed::Ip4HeaderChain)
}

/// Fragments may be short; whole packets may not.
fn short_chain(walk: &Walk) -> Result<(), Malformed> {
    if walk.is_fragment {
        return Ok(());
    }
    Err(Malformed::Ip4ExtShort)
}

/// The meaning of an IPv4 header. Options are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Protocol of the payload, see [`crate::proto`].
    pub protocol: u8,
    /// Time to live in hops.
    pub ttl: u8,
    /// The TOS byte.
    pub tos: u8,
    /// Identification.
    pub ident: u16,
    /// Whether routers may not fragment the packet.
    pub dont_fragment: bool,
    /// Whether fragments with higher offsets follow.
    pub more_fragments: bool,
    /// Offset of this fragment's payload in bytes, a multiple of 8.
    pub fragment_offset: u16,
    /// Length of the payload in bytes, at most 65515.
    pub payload_len: u16,
}

impl Repr {
    /// Reads a header and verifies its checksum.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Repr, Malformed> {
        packet.check()?;
        if !packet.verify_checksum() {
            return Err(Malformed::Ip4Checksum);
        }
        Ok(Repr {
            src: packet.src(),
            dst: packet.dst(),
            protocol: packet.protocol(),
            ttl: packet.ttl(),
            tos: packet.tos(),
            ident: packet.ident(),
            dont_fragment: packet.dont_fragment(),
            more_fragments: packet.more_fragments(),
            fragment_offset: packet.fragment_offset(),
            payload_len: packet.total_len() - packet.header_len() as u16,
        })
    }

    /// Length of the header in bytes; the payload comes after.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header with its checksum.
    ///
    /// # Panics
    /// When the buffer is shorter than [`Repr::buffer_len`].
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        packet.set_header_len(HEADER_LEN);
        packet.set_tos(self.tos);
        packet.set_total_len(self.payload_len.saturating_add(HEADER_LEN as u16));
        packet.set_ident(self.ident);
        packet.set_fragment(
            self.dont_fragment,
            self.more_fragments,
            self.fragment_offset,
        );
        packet.set_ttl(self.ttl);
        packet.set_protocol(self.protocol);
        packet.set_src(self.src);
        packet.set_dst(self.dst);
        packet.fill_checksum();
    }
}

/// Replaces the 32-bit address at `field` and keeps the header checksum right.
fn replace_addr<T: AsRef<[u8]> + AsMut<[u8]>>(
    packet: &mut Packet<T>,
    field: crate::view::Field,
    addr: Ipv4Addr,
) {
    let old = be32(packet.buffer.as_ref(), field.clone());
    let sum = checksum::adjust32(packet.checksum(), old, addr.to_bits());
    packet.buffer.as_mut()[field].copy_from_slice(&addr.octets());
    packet.set_checksum(sum);
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Replaces the source address and updates the header checksum. The transport checksum, which
    /// covers the address too, is left to the caller.
    #[inline]
    pub fn replace_src(&mut self, addr: Ipv4Addr) {
        replace_addr(self, field::SRC, addr);
    }

    /// Replaces the destination address and updates the header checksum.
    #[inline]
    pub fn replace_dst(&mut self, addr: Ipv4Addr) {
        replace_addr(self, field::DST, addr);
    }
}

#[cfg(test)]
mod tests;
