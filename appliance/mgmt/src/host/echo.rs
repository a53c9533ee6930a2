//! Echo requests and replies as whole packets.
//!
//! Read first: RFC 792 "Echo or Echo Reply Message", RFC 4443 section 4.

use std::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet,
};

use crate::peek::Peek;
use crate::ping::{Reply, Request};

/// Data in an echo request, as OpenBSD's ping sends.
const PING_DATA_LEN: usize = 56;

/// An echo request as a whole IP packet; `None` if the families differ.
pub(super) fn echo_request(source: IpAddr, request: Request) -> Option<Vec<u8>> {
    let data: Vec<u8> = (0..PING_DATA_LEN as u8).collect();
    let caps = ChecksumCapabilities::default();
    let (ident, seq_no, data) = (request.ident, request.seq, &data[..]);
    match (source, request.to) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let icmp = Icmpv4Repr::EchoRequest {
                ident,
                seq_no,
                data,
            };
            let ip = IpRepr::new(
                src.into(),
                dst.into(),
                IpProtocol::Icmp,
                icmp.buffer_len(),
                255,
            );
            let mut packet = vec![0; ip.buffer_len()];
            ip.emit(&mut packet, &caps);
            let header = Ipv4Packet::new_unchecked(&packet[..]).header_len();
            icmp.emit(
                &mut Icmpv4Packet::new_unchecked(&mut packet[usize::from(header)..]),
                &caps,
            );
            Some(packet)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let icmp = Icmpv6Repr::EchoRequest {
                ident,
                seq_no,
                data,
            };
            let ip = IpRepr::new(
                src.into(),
                dst.into(),
                IpProtocol::Icmpv6,
                icmp.buffer_len(),
                255,
            );
            let mut packet = vec![0; ip.buffer_len()];
            ip.emit(&mut packet, &caps);
            let header = Ipv6Packet::new_unchecked(&packet[..]).header_len();
            let mut body = Icmpv6Packet::new_unchecked(&mut packet[header..]);
            icmp.emit(&src, &dst, &mut body, &caps);
            Some(packet)
        }
        _ => None,
    }
}

/// The echo reply in a packet, if it is one with a right checksum.
pub(super) fn echo_reply(seen: &Peek<'_>) -> Option<Reply> {
    let caps = ChecksumCapabilities::default();
    let (ident, seq) = match (seen.protocol, seen.src, seen.dst) {
        (IpProtocol::Icmp, ..) if !seen.fragment => {
            let packet = Icmpv4Packet::new_checked(seen.payload).ok()?;
            match Icmpv4Repr::parse(&packet, &caps).ok()? {
                Icmpv4Repr::EchoReply { ident, seq_no, .. } => (ident, seq_no),
                _ => return None,
            }
        }
        (IpProtocol::Icmpv6, IpAddr::V6(src), IpAddr::V6(dst)) => {
            let packet = Icmpv6Packet::new_checked(seen.payload).ok()?;
            match Icmpv6Repr::parse(&src, &dst, &packet, &caps).ok()? {
                Icmpv6Repr::EchoReply { ident, seq_no, .. } => (ident, seq_no),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Reply {
        from: seen.src,
        ident,
        seq,
        bytes: seen.payload.len(),
        ttl: seen.ttl,
    })
}
