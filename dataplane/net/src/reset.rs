//! The TCP reset that `block return` and `block return-rst` send.
//!
//! Read first: RFC 9293 section 3.10.7.1; pf.conf(5), `return-rst`. The numbers are those PF sends:
//! RST and ACK always, the sequence number that the segment acknowledges, and an acknowledgement of
//! all that the segment takes. Writes IP packets, not frames.

use core::net::IpAddr;

use wire::{ipv4, ipv6, proto, tcp};

use crate::icmp_error::{one_host4, one_host6};

/// TTL or hop limit of a reset when the rule gives none.
pub const TTL_DEFAULT: u8 = 64;

/// Bytes of the longest packet written here.
pub const RESET_LEN_MAX: usize = ipv6::HEADER_LEN + tcp::HEADER_LEN;

/// Writes the reset that answers the TCP segment in the IPv4 packet `offending` and returns the length of
/// the packet written. `ttl` 0 means [`TTL_DEFAULT`].
///
/// `None` for a segment that is itself a reset, has a wrong checksum (a forger's probe should not learn
/// that a firewall answers where the host would not), is a fragment, malformed, or from an address that is
/// not one host's; and where `out` is shorter than [`RESET_LEN_MAX`].
pub fn build4(out: &mut [u8], offending: &[u8], ttl: u8) -> Option<usize> {
    let packet = ipv4::Packet::new_checked(offending).ok()?;
    let walk = ipv4::walk(offending).ok()?;
    if walk.protocol != proto::TCP || walk.is_fragment || !one_host4(packet.src()) {
        return None;
    }
    if packet.dst().is_multicast() || packet.dst().is_broadcast() {
        return None;
    }
    let (src, dst) = (packet.dst(), packet.src());
    let answer = answer(&offending[walk.offset..walk.end], dst.into(), src.into())?;
    let header = ipv4::Repr {
        src,
        dst,
        protocol: proto::TCP,
        ttl: ttl_or_default(ttl),
        tos: 0,
        ident: 0, // never fragmented, so it need not be unique (RFC 6864 4.1)
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: tcp::HEADER_LEN as u16,
    };
    let out = out.get_mut(..ipv4::HEADER_LEN + tcp::HEADER_LEN)?;
    header.emit(&mut ipv4::Packet::new_unchecked(&mut *out));
    emit(
        &mut out[ipv4::HEADER_LEN..],
        &answer,
        src.into(),
        dst.into(),
    );
    Some(out.len())
}

/// Writes the reset that answers the TCP segment in the IPv6 packet `offending`; see [`build4`].
pub fn build6(out: &mut [u8], offending: &[u8], hop_limit: u8) -> Option<usize> {
    let packet = ipv6::Packet::new_checked(offending).ok()?;
    let walk = ipv6::walk(offending).ok()?;
    if walk.next_header != proto::TCP || walk.is_fragment() || !one_host6(packet.src()) {
        return None;
    }
    if packet.dst().is_multicast() {
        return None;
    }
    let (src, dst) = (packet.dst(), packet.src());
    let answer = answer(&offending[walk.offset..walk.end], dst.into(), src.into())?;
    let header = ipv6::Repr {
        src,
        dst,
        next_header: proto::TCP,
        hop_limit: ttl_or_default(hop_limit),
        traffic_class: 0,
        flow_label: 0,
        payload_len: tcp::HEADER_LEN as u16,
    };
    let out = out.get_mut(..ipv6::HEADER_LEN + tcp::HEADER_LEN)?;
    header.emit(&mut ipv6::Packet::new_unchecked(&mut *out));
    emit(
        &mut out[ipv6::HEADER_LEN..],
        &answer,
        src.into(),
        dst.into(),
    );
    Some(out.len())
}

fn ttl_or_default(ttl: u8) -> u8 {
    match ttl {
        0 => TTL_DEFAULT,
        ttl => ttl,
    }
}

/// The reset for a segment from `peer` to `own`.
fn answer(segment: &[u8], peer: IpAddr, own: IpAddr) -> Option<tcp::Repr> {
    let segment = tcp::Packet::new_checked(segment).ok()?;
    if segment.flags() & tcp::RST != 0 || !segment.verify_checksum(peer, own) {
        return None;
    }
    Some(tcp::Repr {
        src_port: segment.dst_port(),
        dst_port: segment.src_port(),
        seq: segment.ack(),
        ack: segment.seq().wrapping_add(segment.seq_len()),
        flags: tcp::RST | tcp::ACK,
        ..tcp::Repr::default()
    })
}

fn emit(out: &mut [u8], answer: &tcp::Repr, src: IpAddr, dst: IpAddr) {
    let mut segment = tcp::Packet::new_unchecked(out);
    answer.emit(&mut segment);
    segment.fill_checksum(src, dst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::icmp_error::tests::{packet4, packet6};

    fn segment(flags: u8, payload: &[u8], src: &str, dst: &str) -> Vec<u8> {
        let repr = tcp::Repr {
            src_port: 4000,
            dst_port: 80,
            seq: u32::MAX,
            ack: 77,
            flags,
            mss: Some(1460),
            ..tcp::Repr::default()
        };
        let mut bytes = vec![0; repr.buffer_len()];
        bytes.extend(payload);
        let mut packet = tcp::Packet::new_unchecked(&mut bytes[..]);
        repr.emit(&mut packet);
        packet.fill_checksum(src.parse().unwrap(), dst.parse().unwrap());
        bytes
    }

    fn offending4(flags: u8, payload: &[u8]) -> Vec<u8> {
        let segment = segment(flags, payload, "10.0.0.1", "10.0.0.2");
        packet4("10.0.0.1", "10.0.0.2", proto::TCP, &segment)
    }

    fn reset4(offending: &[u8]) -> Option<Vec<u8>> {
        let mut out = [0xaa; RESET_LEN_MAX];
        build4(&mut out, offending, 0).map(|len| out[..len].to_vec())
    }

    #[test]
    fn numbers_are_those_of_pf() {
        for (flags, payload, ack) in [
            (tcp::SYN, &[][..], 0u32), // u32::MAX + 1: wraps
            (tcp::ACK, &[], u32::MAX),
            (tcp::ACK | tcp::PSH, &[1, 2, 3], 2),
            (tcp::FIN | tcp::ACK, &[1], 1),
            (tcp::SYN | tcp::ACK, &[], 0),
        ] {
            let bytes = reset4(&offending4(flags, payload)).unwrap();
            let packet = ipv4::Packet::new_checked(&bytes[..]).unwrap();
            let header = ipv4::Repr::parse(&packet).unwrap();
            assert_eq!(
                (header.src, header.dst),
                ([10, 0, 0, 2].into(), [10, 0, 0, 1].into())
            );
            assert_eq!(header.ttl, TTL_DEFAULT);
            let segment = tcp::Packet::new_checked(packet.payload()).unwrap();
            assert!(segment.verify_checksum(header.src.into(), header.dst.into()));
            let repr = tcp::Repr::parse(&segment).unwrap();
            assert_eq!((repr.src_port, repr.dst_port), (80, 4000));
            assert_eq!((repr.seq, repr.ack), (77, ack), "{flags:02x}");
            assert_eq!(repr.flags, tcp::RST | tcp::ACK);
        }
    }

    #[test]
    fn over_ipv6_with_a_hop_limit_of_the_rule() {
        let segment = segment(tcp::SYN, &[], "fd00::1", "fd00::2");
        let offending = packet6("fd00::1", "fd00::2", proto::TCP, &segment);
        let mut out = [0xaa; RESET_LEN_MAX];
        assert_eq!(build6(&mut out, &offending, 9), Some(60));
        let packet = ipv6::Packet::new_checked(&out[..]).unwrap();
        assert_eq!(packet.dst().to_string(), "fd00::1");
        assert_eq!(packet.hop_limit(), 9);
        let answer = tcp::Packet::new_checked(packet.payload()).unwrap();
        assert!(answer.verify_checksum(packet.src().into(), packet.dst().into()));
        assert_eq!((answer.seq(), answer.ack()), (77, 0));
        assert_eq!(build6(&mut out[..59], &offending, 9), None);
        assert_eq!(build4(&mut out, &offending, 9), None);
    }

    #[test]
    fn silence() {
        let good = offending4(tcp::SYN, &[]);
        assert!(reset4(&good).is_some());
        assert_eq!(reset4(&offending4(tcp::RST, &[])), None);
        let mut bad_sum = good.clone();
        bad_sum[36] ^= 1;
        assert_eq!(reset4(&bad_sum), None);
        let mut fragment = good.clone();
        ipv4::Packet::new_unchecked(&mut fragment[..]).set_fragment(false, true, 0);
        assert_eq!(reset4(&fragment), None);
        assert_eq!(
            reset4(&packet4("10.0.0.1", "10.0.0.2", proto::UDP, &[0; 20])),
            None
        );
        let group = segment(tcp::SYN, &[], "10.0.0.1", "224.0.0.1");
        assert_eq!(
            reset4(&packet4("10.0.0.1", "224.0.0.1", proto::TCP, &group)),
            None
        );
        let from_group = segment(tcp::SYN, &[], "224.0.0.1", "10.0.0.1");
        assert_eq!(
            reset4(&packet4("224.0.0.1", "10.0.0.1", proto::TCP, &from_group)),
            None
        );
        assert_eq!(build4(&mut [0; 39], &good, 0), None);
        for len in 0..44 {
            assert_eq!(reset4(&good[..len]), None, "{len}");
        }
    }
}
