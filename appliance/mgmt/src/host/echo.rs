//! Echo requests and replies as whole packets.
//!
//! Read first: RFC 792 "Echo or Echo Reply Message", RFC 4443 section 4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv4Repr, Icmpv6Message, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    IpRepr, Ipv4Packet, Ipv6Packet,
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

/// What follows an IP header in a piece: at most so many bytes of a packet of `mtu`.
fn step(mtu: usize, headers: usize) -> usize {
    (mtu.saturating_sub(headers) / 8 * 8).max(8)
}

/// The reply to an echo request that is larger than `mtu`, in pieces; `None` if it is none with a right checksum. Smoltcp
/// answers smaller ones; for these its buffers are too small.
pub(super) fn large_echo_reply(seen: &Peek<'_>, mtu: usize) -> Option<Vec<Vec<u8>>> {
    const MESSAGE: usize = 8;
    if seen.fragment || seen.payload.len() + IP6_HEADER <= mtu || seen.payload.len() < MESSAGE {
        return None;
    }
    let mut message = seen.payload.to_vec();
    // Identifier and sequence number tell the requests of a host apart, and so the pieces of the replies.
    let ident = [message[4] ^ message[6], message[5] ^ message[7]];
    match (seen.protocol, seen.src, seen.dst) {
        (IpProtocol::Icmp, IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut icmp = Icmpv4Packet::new_checked(&mut message[..]).ok()?;
            if icmp.msg_type() != Icmpv4Message::EchoRequest || !icmp.verify_checksum() {
                return None;
            }
            icmp.set_msg_type(Icmpv4Message::EchoReply);
            icmp.fill_checksum();
            Some(pieces4(dst, src, u16::from_be_bytes(ident), &message, mtu))
        }
        (IpProtocol::Icmpv6, IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut icmp = Icmpv6Packet::new_checked(&mut message[..]).ok()?;
            if icmp.msg_type() != Icmpv6Message::EchoRequest || !icmp.verify_checksum(&src, &dst) {
                return None;
            }
            icmp.set_msg_type(Icmpv6Message::EchoReply);
            icmp.fill_checksum(&dst, &src);
            Some(pieces6(dst, src, ident, &message, mtu))
        }
        _ => None,
    }
}

const IP4_HEADER: usize = 20;
const IP6_HEADER: usize = 40;
/// Bytes of a fragment header (RFC 8200 4.5).
const FRAGMENT_HEADER: usize = 8;
/// As smoltcp gives its packets.
const HOPS: u8 = 64;

fn pieces4(src: Ipv4Addr, dst: Ipv4Addr, ident: u16, message: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let step = step(mtu, IP4_HEADER);
    let piece = |(n, data): (usize, &[u8])| {
        let mut bytes = vec![0; IP4_HEADER];
        bytes.extend_from_slice(data);
        let mut ip = Ipv4Packet::new_unchecked(&mut bytes[..]);
        ip.set_version(4);
        ip.set_header_len(IP4_HEADER as u8);
        ip.set_total_len((IP4_HEADER + data.len()) as u16);
        ip.set_ident(ident);
        ip.set_more_frags((n + 1) * step < message.len());
        ip.set_frag_offset((n * step) as u16);
        ip.set_hop_limit(HOPS);
        ip.set_next_header(IpProtocol::Icmp);
        ip.set_src_addr(src);
        ip.set_dst_addr(dst);
        ip.fill_checksum();
        bytes
    };
    message.chunks(step).enumerate().map(piece).collect()
}

fn pieces6(
    src: Ipv6Addr,
    dst: Ipv6Addr,
    ident: [u8; 2],
    message: &[u8],
    mtu: usize,
) -> Vec<Vec<u8>> {
    let step = step(mtu, IP6_HEADER + FRAGMENT_HEADER);
    let piece = |(n, data): (usize, &[u8])| {
        let mut bytes = vec![0; IP6_HEADER];
        let word = (n * step) as u16 | u16::from((n + 1) * step < message.len());
        bytes.extend_from_slice(&[IpProtocol::Icmpv6.into(), 0]);
        bytes.extend_from_slice(&word.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, ident[0], ident[1]]);
        bytes.extend_from_slice(data);
        let mut ip = Ipv6Packet::new_unchecked(&mut bytes[..]);
        ip.set_version(6);
        ip.set_payload_len((FRAGMENT_HEADER + data.len()) as u16);
        ip.set_next_header(IpProtocol::Ipv6Frag);
        ip.set_hop_limit(HOPS);
        ip.set_src_addr(src);
        ip.set_dst_addr(dst);
        bytes
    };
    message.chunks(step).enumerate().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(from: &str, to: &str, len: usize) -> Vec<u8> {
        let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let asked = Request {
            to,
            ident: 7,
            seq: 9,
        };
        let small = echo_request(from, asked).unwrap();
        let header = if from.is_ipv4() {
            IP4_HEADER
        } else {
            IP6_HEADER
        };
        let mut packet = small[..header + 8].to_vec();
        packet.extend((0..len).map(|n| n as u8));
        match (from, to) {
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                Ipv6Packet::new_unchecked(&mut packet[..]).set_payload_len((8 + len) as u16);
                Icmpv6Packet::new_unchecked(&mut packet[header..]).fill_checksum(&src, &dst);
            }
            _ => {
                let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
                ip.set_total_len((28 + len) as u16);
                ip.fill_checksum();
                Icmpv4Packet::new_unchecked(&mut packet[header..]).fill_checksum();
            }
        }
        packet
    }

    #[test]
    fn large_requests_are_answered_in_pieces_that_make_the_reply() {
        for (from, to, headers) in [
            ("192.0.2.2", "192.0.2.1", IP4_HEADER),
            ("2001:db8::2", "2001:db8::1", IP6_HEADER + FRAGMENT_HEADER),
        ] {
            let packet = request(from, to, 20_000);
            let seen = crate::peek::peek(&packet).unwrap();
            let pieces = large_echo_reply(&seen, 1500).unwrap();
            assert_eq!(pieces.len(), 20_008usize.div_ceil(step(1500, headers)));
            assert!(pieces.iter().all(|p| p.len() <= 1500));
            let joined: Vec<u8> = pieces.iter().flat_map(|p| p[headers..].to_vec()).collect();
            let mut expected = packet[packet.len() - 20_008..].to_vec();
            expected[0] = if headers == IP4_HEADER { 0 } else { 129 };
            // One bit of the type has moved into the checksum.
            expected[2..4].copy_from_slice(&joined[2..4]);
            assert_eq!(joined, expected);
            match seen.src {
                IpAddr::V4(_) => assert!(Icmpv4Packet::new_unchecked(&joined).verify_checksum()),
                IpAddr::V6(_) => {
                    let addr = |text: &str| text.parse().unwrap();
                    let message = Icmpv6Packet::new_unchecked(&joined);
                    assert!(message.verify_checksum(&addr(to), &addr(from)));
                }
            }
            // Spoiled ones are not answered, and small ones are not ours to answer.
            let mut spoiled = packet.clone();
            *spoiled.last_mut().unwrap() ^= 1;
            assert_eq!(
                large_echo_reply(&crate::peek::peek(&spoiled).unwrap(), 1500),
                None
            );
            let small = request(from, to, 1000);
            assert_eq!(
                large_echo_reply(&crate::peek::peek(&small).unwrap(), 1500),
                None
            );
        }
    }
}
