//! IPv6 headers and the chain of extension headers.
//!
//! Read first: RFC 8200 sections 3, 4 and 8.1; RFC 5095 (routing type 0); RFC 6946 (atomic
//! fragments); RFC 2711 (router alert); RFC 2675 (jumbograms); RFC 4302 section 2 (authentication
//! header). May not know about reassembly: it only says where the fragment header is.

use core::net::Ipv6Addr;

use crate::view::{array, be16, be32};
use crate::{Malformed, proto};

/// Length of the fixed header in bytes.
pub const HEADER_LEN: usize = 40;

/// Length of the fragment header in bytes.
pub const FRAGMENT_HEADER_LEN: usize = 8;

/// Most extension headers [`walk`] follows, as in PF. Real packets have at most three.
pub const CHAIN_MAX: usize = 20;

/// All nodes on the link (RFC 4291 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// All routers on the link (RFC 4291 2.7.1).
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The solicited-node group of an address: `ff02::1:ff` and its last 24 bits (RFC 4291 2.7.1).
pub const fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let [.., g, h] = addr.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | g & 0xff, h)
}

mod field {
    use crate::view::Field;
    pub(super) const WORD: Field = 0..4;
    pub(super) const PAYLOAD_LEN: Field = 4..6;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SRC: Field = 8..24;
    pub(super) const DST: Field = 24..40;
}

fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < HEADER_LEN {
        return Err(Malformed::Ip6Short);
    }
    if bytes[0] >> 4 != 6 {
        return Err(Malformed::Ip6Version);
    }
    if HEADER_LEN + usize::from(be16(bytes, field::PAYLOAD_LEN)) > bytes.len() {
        return Err(Malformed::Ip6PayloadLength);
    }
    Ok(())
}

view! {
    /// A view of an IPv6 packet. The buffer may be longer than the packet.
    ///
    /// ```text
    ///  0                                 4             6             7           8     24    40
    /// | 6 | traffic class | flow label  | payload len | next header | hop limit | src | dst | extensions …
    /// ```
    Packet, check
}

impl<T: AsRef<[u8]>> Packet<T> {
    fn word(&self) -> u32 {
        be32(self.buffer.as_ref(), field::WORD)
    }

    /// Traffic class: differentiated services and congestion notification bits.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.word() >> 20) as u8
    }

    /// Flow label, 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        self.word() & 0x000f_ffff
    }

    /// Length in bytes of everything after the fixed header.
    #[inline]
    pub fn payload_len(&self) -> u16 {
        be16(self.buffer.as_ref(), field::PAYLOAD_LEN)
    }

    /// Type of the first header after the fixed one, see [`crate::proto`].
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.buffer.as_ref()[field::NEXT_HEADER]
    }

    /// Hops left.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.buffer.as_ref()[field::HOP_LIMIT]
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(array(self.buffer.as_ref(), field::SRC))
    }

    /// Destination address.
    #[inline]
    pub fn dst(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(array(self.buffer.as_ref(), field::DST))
    }

    /// Everything after the fixed header, extension headers included, without Ethernet padding.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..HEADER_LEN + usize::from(self.payload_len())]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets version 6, traffic class and flow label (20 bits; higher bits are cut).
    #[inline]
    pub fn set_class_and_label(&mut self, traffic_class: u8, flow_label: u32) {
        let word = 6 << 28 | u32::from(traffic_class) << 20 | flow_label & 0x000f_ffff;
        self.buffer.as_mut()[field::WORD].copy_from_slice(&word.to_be_bytes());
    }

    /// Sets the length in bytes of everything after the fixed header. Voids the promise of
    /// `new_checked`.
    #[inline]
    pub fn set_payload_len(&mut self, len: u16) {
        self.buffer.as_mut()[field::PAYLOAD_LEN].copy_from_slice(&len.to_be_bytes());
    }

    /// Sets the type of the first header after the fixed one.
    #[inline]
    pub fn set_next_header(&mut self, next_header: u8) {
        self.buffer.as_mut()[field::NEXT_HEADER] = next_header;
    }

    /// Sets the hops left.
    #[inline]
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.buffer.as_mut()[field::HOP_LIMIT] = hop_limit;
    }

    /// Sets the source address. Transport checksums are left to the caller.
    #[inline]
    pub fn set_src(&mut self, addr: Ipv6Addr) {
        self.buffer.as_mut()[field::SRC].copy_from_slice(&addr.octets());
    }

    /// Sets the destination address. Transport checksums are left to the caller.
    #[inline]
    pub fn set_dst(&mut self, addr: Ipv6Addr) {
        self.buffer.as_mut()[field::DST].copy_from_slice(&addr.octets());
    }

    /// Everything after the fixed header, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let end = HEADER_LEN + usize::from(self.payload_len());
        &mut self.buffer.as_mut()[HEADER_LEN..end]
    }
}

/// What a fragment header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Offset of the fragment header from the first byte of the IPv6 header.
    pub header_offset: usize,
    /// Offset of the byte before it that names it: reassembly writes `next_header` there.
    pub named_at: usize,
    /// Type of the header the fragmented part of the whole packet begins with.
    pub next_header: u8,
    /// Offset in bytes of this fragment within the fragmentable part, a multiple of 8.
    pub offset: u16,
    /// Whether fragments with higher offsets follow.
    pub more: bool,
    /// Identification, which the fragments of one packet share.
    pub ident: u32,
}

impl Fragment {
    /// A packet that carries a fragment header though it is whole (RFC 6946). Such packets are never
    /// reassembled.
    pub const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// Where the transport header of an IPv6 packet is, and what was passed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtWalk {
    /// Type of the header at `offset`: the transport protocol; [`proto::FRAGMENT`] where the walk had
    /// to stop at a fragment header (any later fragment, or a first fragment that ends before its
    /// transport header); [`proto::NO_NEXT`] where there is none.
    pub next_header: u8,
    /// Offset of that header from the first byte of the IPv6 header.
    pub offset: usize,
    /// End of the packet, as an offset from the first byte of the IPv6 header.
    pub end: usize,
    /// Offset of the byte that names the type of the header at `offset`. Translation between
    /// families and reassembly rewrite it.
    pub next_header_at: usize,
    /// The fragment header, if there is one (atomic fragments included).
    pub fragment: Option<Fragment>,
    /// Whether there are hop-by-hop options.
    pub has_hop_by_hop: bool,
    /// Whether a router alert is among the hop-by-hop options.
    pub router_alert: bool,
    /// Whether hop-by-hop options other than router alert and padding are present.
    pub has_other_hop_options: bool,
    /// Whether there are destination options.
    pub has_dest_opts: bool,
    /// Type of the routing header, if there is one.
    pub routing_type: Option<u8>,
    /// Whether an authentication header was skipped.
    pub has_auth: bool,
    /// Extension headers passed.
    pub count: u8,
}

impl ExtWalk {
    /// Whether this is a fragment of a larger packet; atomic fragments are not.
    pub fn is_fragment(&self) -> bool {
        self.fragment.is_some_and(|f| !f.is_atomic())
    }

    /// Whether this is a fragment with an offset above 0: no transport header at `offset`.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|f| f.offset != 0)
    }

    /// Whether the packet has what PF calls options, which pass only with `allow-opts`: routing
    /// header, destination options, or hop-by-hop options other than a router alert. A hop-by-hop
    /// header of padding only counts.
    pub fn has_options(&self) -> bool {
        self.has_dest_opts
            || self.routing_type.is_some()
            || self.has_other_hop_options
            || (self.has_hop_by_hop && !self.router_alert)
    }
}

/// Checks an IPv6 packet and walks its extension headers to the transport header. `bytes` begins with
/// the IPv6 header and may be longer than the packet.
///
/// Refused: more than [`CHAIN_MAX`] headers, hop-by-hop options anywhere but first, a second fragment
/// or routing header, routing type 0, jumbograms, headers beyond the end of a whole packet.
pub fn walk(bytes: &[u8]) -> Result<ExtWalk, Malformed> {
    let packet = Packet::new_checked(bytes)?;
    let end = HEADER_LEN + usize::from(packet.payload_len());
    let mut walk = ExtWalk {
        next_header: packet.next_header(),
        offset: HEADER_LEN,
        end,
        next_header_at: field::NEXT_HEADER,
        fragment: None,
        has_hop_by_hop: false,
        router_alert: false,
        has_other_hop_options: false,
        has_dest_opts: false,
        routing_type: None,
        has_auth: false,
        count: 0,
    };
    let bytes = &bytes[..end];
    while let Step::Next = step(bytes, &mut walk)? {
        walk.count += 1;
        if usize::from(walk.count) > CHAIN_MAX {
            return Err(Malformed::Ip6ExtChain);
        }
    }
    Ok(walk)
}

/// What one step of the walk decided.
enum Step {
    Next,
    Done,
}

fn step(bytes: &[u8], walk: &mut ExtWalk) -> Result<Step, Malformed> {
    match walk.next_header {
        proto::FRAGMENT => fragment(bytes, walk),
        proto::HOP_BY_HOP | proto::ROUTING | proto::DEST_OPTIONS | proto::AH => {
            extension(bytes, walk)
        }
        _ => Ok(Step::Done),
    }
}

/// Hop-by-hop, routing, destination options, authentication: next header, length, the rest.
fn extension(bytes: &[u8], walk: &mut ExtWalk) -> Result<Step, Malformed> {
    let rest = &bytes[walk.offset..];
    let Some(&[next, len]) = rest.get(..2) else {
        return short(walk);
    };
    let len = match walk.next_header {
        proto::AH => (usize::from(len) + 2) * 4,
        _ => (usize::from(len) + 1) * 8,
    };
    let Some(header) = rest.get(..len) else {
        return short(walk);
    };
    match walk.next_header {
        proto::HOP_BY_HOP => hop_by_hop(header, walk)?,
        proto::ROUTING => routing(header, walk)?,
        proto::DEST_OPTIONS => walk.has_dest_opts = true,
        _ => walk.has_auth = true,
    }
    walk.next_header_at = walk.offset;
    walk.next_header = next;
    walk.offset += len;
    Ok(Step::Next)
}

/// A first fragment may end within the chain: then the walk goes back to the fragment header. A whole
/// packet may not.
fn short(walk: &mut ExtWalk) -> Result<Step, Malformed> {
    let Some(fragment) = walk.fragment.filter(|f| !f.is_atomic()) else {
        return Err(Malformed::Ip6ExtShort);
    };
    walk.next_header = proto::FRAGMENT;
    walk.offset = fragment.header_offset;
    walk.next_header_at = fragment.named_at;
    Ok(Step::Done)
}

fn fragment(bytes: &[u8], walk: &mut ExtWalk) -> Result<Step, Malformed> {
    if walk.fragment.is_some() {
        return Err(Malformed::Ip6Fragment);
    }
    let rest = &bytes[walk.offset..];
    let Some(header) = rest.get(..FRAGMENT_HEADER_LEN) else {
        return Err(Malformed::Ip6ExtShort);
    };
    let word = be16(header, 2..4);
    let fragment = Fragment {
        header_offset: walk.offset,
        named_at: walk.next_header_at,
        next_header: header[0],
        offset: word & 0xfff8,
        more: word & 1 != 0,
        ident: be32(header, 4..8),
    };
    check_fragment(&fragment, rest.len() - FRAGMENT_HEADER_LEN)?;
    walk.fragment = Some(fragment);
    if fragment.offset != 0 {
        return Ok(Step::Done);
    }
    walk.next_header_at = walk.offset;
    walk.next_header = fragment.next_header;
    walk.offset += FRAGMENT_HEADER_LEN;
    Ok(Step::Next)
}

/// RFC 8200 4.5: all but the last fragment carry a multiple of 8 bytes, and none ends beyond 65535.
fn check_fragment(fragment: &Fragment, len: usize) -> Result<(), Malformed> {
    let ragged = fragment.more && (len == 0 || !len.is_multiple_of(8));
    if ragged || usize::from(fragment.offset) + len > 65535 {
        return Err(Malformed::Ip6Fragment);
    }
    Ok(())
}

fn routing(header: &[u8], walk: &mut ExtWalk) -> Result<(), Malformed> {
    if walk.routing_type.is_some() {
        return Err(Malformed::Ip6ExtRepeated);
    }
    walk.routing_type = Some(header[2]);
    if header[2] == 0 {
        return Err(Malformed::Ip6RoutingType0);
    }
    Ok(())
}

/// Types of hop-by-hop options (RFC 8200 4.2, RFC 2711, RFC 2675).
mod option {
    pub(super) const PAD1: u8 = 0;
    pub(super) const PADN: u8 = 1;
    pub(super) const ROUTER_ALERT: u8 = 5;
    pub(super) const JUMBO: u8 = 0xc2;
}

fn hop_by_hop(header: &[u8], walk: &mut ExtWalk) -> Result<(), Malformed> {
    if walk.count != 0 {
        return Err(Malformed::Ip6ExtOrder);
    }
    walk.has_hop_by_hop = true;
    let mut rest = &header[2..];
    while let &[kind, ref after @ ..] = rest {
        if kind == option::PAD1 {
            rest = after;
            continue;
        }
        let len = after
            .first()
            .map_or(usize::MAX, |&len| usize::from(len) + 2);
        rest = rest.get(len..).ok_or(Malformed::Ip6Option)?;
        match kind {
            option::PADN => {}
            option::ROUTER_ALERT => walk.router_alert = true,
            option::JUMBO => return Err(Malformed::Ip6Jumbo),
            _ => walk.has_other_hop_options = true,
        }
    }
    Ok(())
}

/// The meaning of the fixed header. Extension headers are part of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// Type of the first header after the fixed one.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Length in bytes of everything after the fixed header.
    pub payload_len: u16,
}

impl Repr {
    /// Reads the fixed header.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Repr, Malformed> {
        packet.check()?;
        Ok(Repr {
            src: packet.src(),
            dst: packet.dst(),
            next_header: packet.next_header(),
            hop_limit: packet.hop_limit(),
            traffic_class: packet.traffic_class(),
            flow_label: packet.flow_label(),
            payload_len: packet.payload_len(),
        })
    }

    /// Length of the header in bytes; the payload comes after.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the fixed header.
    ///
    /// # Panics
    /// When the buffer is shorter than [`Repr::buffer_len`].
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        packet.set_class_and_label(self.traffic_class, self.flow_label);
        packet.set_payload_len(self.payload_len);
        packet.set_next_header(self.next_header);
        packet.set_hop_limit(self.hop_limit);
        packet.set_src(self.src);
        packet.set_dst(self.dst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let repr = Repr {
            src: "2001:db8::1".parse().unwrap(),
            dst: "2001:db8::2".parse().unwrap(),
            next_header,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
            payload_len: payload.len() as u16,
        };
        let mut bytes = vec![0; HEADER_LEN];
        repr.emit(&mut Packet::new_unchecked(&mut bytes[..]));
        bytes.extend(payload);
        bytes.extend([0xee, 0xee]); // padding of the frame
        bytes
    }

    fn walked(next_header: u8, parts: &[&[u8]]) -> Result<ExtWalk, Malformed> {
        walk(&packet(next_header, &parts.concat()))
    }

    const UDP_HEADER: &[u8] = &[0, 1, 0, 2, 0, 8, 0, 0];

    /// An extension header of 8 bytes: options `padn` of 4 bytes.
    fn ext(next: u8) -> [u8; 8] {
        [next, 0, 1, 4, 0, 0, 0, 0]
    }

    fn frag(next: u8, word: u16) -> [u8; 8] {
        let [a, b] = word.to_be_bytes();
        [next, 0, a, b, 0, 0, 0, 7]
    }

    #[test]
    fn solicited_node_keeps_24_bits() {
        let group = solicited_node("2001:db8::1234:5678".parse().unwrap());
        assert_eq!(group.to_string(), "ff02::1:ff34:5678");
    }

    #[test]
    fn broken_rules_are_named() {
        let good = packet(proto::UDP, UDP_HEADER);
        let broken = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            Packet::new_checked(bytes).map(|_| ())
        };
        assert_eq!(broken(&|_| ()), Ok(()));
        assert_eq!(broken(&|b| b.truncate(48)), Ok(()));
        assert_eq!(
            broken(&|b| b.truncate(47)),
            Err(Malformed::Ip6PayloadLength)
        );
        assert_eq!(broken(&|b| b.truncate(39)), Err(Malformed::Ip6Short));
        assert_eq!(broken(&|b| b[0] = 0x45), Err(Malformed::Ip6Version));
    }

    #[test]
    fn plain_packet() {
        let walk = walked(proto::UDP, &[UDP_HEADER]).unwrap();
        assert_eq!((walk.next_header, walk.offset, walk.end), (17, 40, 48));
        assert_eq!((walk.next_header_at, walk.count), (6, 0));
        assert!(!walk.has_options() && !walk.is_fragment());
    }

    #[test]
    fn chain_of_each_kind() {
        let ah = [proto::FRAGMENT, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let routing = [proto::AH, 0, 2, 0, 0, 0, 0, 0];
        let parts: &[&[u8]] = &[
            &ext(proto::ROUTING),
            &routing,
            &ah,
            &frag(proto::DEST_OPTIONS, 1),
            &ext(proto::UDP),
            UDP_HEADER,
        ];
        let walk = walked(proto::HOP_BY_HOP, parts).unwrap();
        assert_eq!((walk.next_header, walk.offset, walk.count), (17, 84, 5));
        assert_eq!(walk.next_header_at, 76);
        assert!(walk.has_hop_by_hop && walk.has_dest_opts && walk.has_auth && walk.has_options());
        assert_eq!(walk.routing_type, Some(2));
        let fragment = walk.fragment.unwrap();
        assert_eq!((fragment.header_offset, fragment.named_at), (68, 56));
        assert_eq!(
            (fragment.ident, fragment.offset, fragment.more),
            (7, 0, true)
        );
        assert!(walk.is_fragment() && !walk.is_later_fragment());
    }

    #[test]
    fn fragments() {
        let later = walked(proto::FRAGMENT, &[&frag(proto::UDP, 8), &[0; 5]]).unwrap();
        assert_eq!((later.next_header, later.offset), (proto::FRAGMENT, 40));
        assert!(later.is_later_fragment());
        let atomic = walked(proto::FRAGMENT, &[&frag(proto::UDP, 0), UDP_HEADER]).unwrap();
        assert_eq!((atomic.next_header, atomic.offset), (17, 48));
        assert!(!atomic.is_fragment() && atomic.fragment.unwrap().is_atomic());

        // First fragment that ends inside the destination options: stop at the fragment header.
        let first = [
            &frag(proto::DEST_OPTIONS, 1)[..],
            &[17, 4, 1, 4, 0, 0, 0, 0],
        ];
        let first = walked(proto::FRAGMENT, &first).unwrap();
        assert_eq!((first.next_header, first.offset), (proto::FRAGMENT, 40));
        assert_eq!(first.next_header_at, 6); // found by fuzzing: it pointed past `offset`

        let refused = |parts: &[&[u8]]| walked(proto::FRAGMENT, parts);
        assert_eq!(
            refused(&[&frag(17, 1), &[0; 9]]),
            Err(Malformed::Ip6Fragment)
        );
        assert_eq!(refused(&[&frag(17, 1)]), Err(Malformed::Ip6Fragment));
        assert_eq!(
            refused(&[&frag(17, 0xfff8), &[0; 8]]),
            Err(Malformed::Ip6Fragment)
        );
        assert_eq!(refused(&[&frag(17, 1)[..7]]), Err(Malformed::Ip6ExtShort));
        assert_eq!(
            refused(&[&frag(proto::FRAGMENT, 0), &frag(17, 0)]),
            Err(Malformed::Ip6Fragment)
        );
    }

    #[test]
    fn chains_that_are_refused() {
        let routing = |next, kind| [next, 0, kind, 0, 0, 0, 0, 0];
        let cases: &[(u8, &[&[u8]], Malformed)] = &[
            (
                proto::ROUTING,
                &[&routing(17, 0)],
                Malformed::Ip6RoutingType0,
            ),
            (
                proto::ROUTING,
                &[&routing(proto::ROUTING, 2), &routing(17, 2)],
                Malformed::Ip6ExtRepeated,
            ),
            (
                proto::DEST_OPTIONS,
                &[&ext(proto::HOP_BY_HOP), &ext(17)],
                Malformed::Ip6ExtOrder,
            ),
            (proto::DEST_OPTIONS, &[&[17]], Malformed::Ip6ExtShort),
            (
                proto::DEST_OPTIONS,
                &[&[17, 1, 1, 4, 0, 0, 0, 0]],
                Malformed::Ip6ExtShort,
            ),
            (
                proto::HOP_BY_HOP,
                &[&[17, 0, 1, 5, 0, 0, 0, 0]],
                Malformed::Ip6Option,
            ),
            (
                proto::HOP_BY_HOP,
                &[&[17, 0, 0, 0, 0, 0, 0, 9]],
                Malformed::Ip6Option,
            ),
            (
                proto::HOP_BY_HOP,
                &[&[17, 0, 0xc2, 4, 0, 1, 0, 0]],
                Malformed::Ip6Jumbo,
            ),
        ];
        for (first, parts, rule) in cases {
            assert_eq!(walked(*first, parts), Err(*rule), "{parts:x?}");
        }
    }

    #[test]
    fn chain_length_is_limited() {
        let chain = |n: usize| {
            let mut payload = vec![ext(proto::DEST_OPTIONS); n - 1].concat();
            payload.extend(ext(proto::UDP));
            walked(proto::DEST_OPTIONS, &[&payload])
        };
        assert_eq!(chain(CHAIN_MAX).unwrap().next_header, proto::UDP);
        assert_eq!(chain(CHAIN_MAX + 1), Err(Malformed::Ip6ExtChain));
    }

    #[test]
    fn options_as_pf_counts_them() {
        let hop = |options: [u8; 6]| {
            let [a, b, c, d, e, f] = options;
            walked(proto::HOP_BY_HOP, &[&[17, 0, a, b, c, d, e, f], UDP_HEADER]).unwrap()
        };
        let alert = hop([5, 2, 0, 0, 1, 0]);
        assert!(alert.router_alert && !alert.has_options());
        assert!(hop([1, 4, 0, 0, 0, 0]).has_options()); // only padding
        assert!(hop([5, 2, 0, 0, 0x1e, 0]).has_options());
    }

    proptest! {
        #[test]
        fn emit_then_parse_is_identity(
            src: u128, dst: u128, next_header: u8, hop_limit: u8, traffic_class: u8,
            flow_label in 0u32..0x10_0000, payload_len in 0u16..1400,
        ) {
            let repr = Repr {
                src: src.into(), dst: dst.into(), next_header, hop_limit, traffic_class,
                flow_label, payload_len,
            };
            let mut bytes = vec![0xaa; repr.buffer_len() + usize::from(payload_len)];
            repr.emit(&mut Packet::new_unchecked(&mut bytes[..]));
            prop_assert_eq!(Repr::parse(&Packet::new_checked(&bytes[..]).unwrap()), Ok(repr));
        }

        /// Bytes from a small set, so that chains of extension headers really come about.
        #[test]
        fn walk_stays_inside(
            first in prop::sample::select(vec![0u8, 43, 44, 51, 60, 17]),
            bytes in proptest::collection::vec(
                prop::sample::select(vec![0u8, 0, 1, 2, 5, 43, 44, 51, 60, 17, 0xc2, 255]), 0..200),
        ) {
            let packet = packet(first, &bytes);
            if let Ok(walk) = walk(&packet) {
                prop_assert!(walk.offset <= walk.end && walk.end == HEADER_LEN + bytes.len());
                prop_assert_eq!(packet[walk.next_header_at], walk.next_header);
            }
        }
    }
}
