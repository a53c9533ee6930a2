//! TCP segments without data that the box makes by itself: answers of the filter, and both handshakes of a
//! connection that it proxies. Writes IP packets, not frames.
//!
//! Read first: RFC 9293 3.1; pf.conf(5), `synproxy state`.

use core::net::IpAddr;

use wire::{ipv4, ipv6, proto, tcp};

use crate::reset::TTL_DEFAULT;

/// Bytes of the longest packet written here: IPv6, and the option for the segment size.
pub const SEGMENT_LEN_MAX: usize = ipv6::HEADER_LEN + tcp::HEADER_LEN + 4;

/// A segment to make. Source and destination are of one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Source address and port.
    pub src: (IpAddr, u16),
    /// Destination address and port.
    pub dst: (IpAddr, u16),
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags, as in [`wire::tcp`].
    pub flags: u8,
    /// Window, as in the header.
    pub window: u16,
    /// Option for the largest segment, bytes; 0 leaves it out.
    pub mss: u16,
    /// Time to live or hop limit; 0 means [`TTL_DEFAULT`].
    pub ttl: u8,
}

/// Writes the segment and returns the length of the packet. `None` where `out` is shorter than
/// [`SEGMENT_LEN_MAX`], or the families differ.
pub fn build(out: &mut [u8], segment: &Segment) -> Option<usize> {
    let repr = tcp::Repr {
        src_port: segment.src.1,
        dst_port: segment.dst.1,
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        window: segment.window,
        mss: (segment.mss != 0).then_some(segment.mss),
        ..tcp::Repr::default()
    };
    let payload = repr.buffer_len();
    let header = emit_header(out.get_mut(..SEGMENT_LEN_MAX)?, segment, payload as u16)?;
    let out = out.get_mut(header..header + payload)?;
    let mut packet = tcp::Packet::new_unchecked(out);
    repr.emit(&mut packet);
    packet.fill_checksum(segment.src.0, segment.dst.0);
    Some(header + payload)
}

/// Writes the IP header and returns its length.
fn emit_header(out: &mut [u8], segment: &Segment, payload_len: u16) -> Option<usize> {
    let ttl = if segment.ttl == 0 {
        TTL_DEFAULT
    } else {
        segment.ttl
    };
    match (segment.src.0, segment.dst.0) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let header = ipv4::Repr {
                src,
                dst,
                protocol: proto::TCP,
                ttl,
                tos: 0,
                ident: 0, // never fragmented, so it need not be unique (RFC 6864 4.1)
                dont_fragment: true,
                more_fragments: false,
                fragment_offset: 0,
                payload_len,
            };
            let room = out.get_mut(..ipv4::HEADER_LEN + usize::from(payload_len))?;
            header.emit(&mut ipv4::Packet::new_unchecked(room));
            Some(ipv4::HEADER_LEN)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = ipv6::Repr {
                src,
                dst,
                next_header: proto::TCP,
                hop_limit: ttl,
                traffic_class: 0,
                flow_label: 0,
                payload_len,
            };
            let room = out.get_mut(..ipv6::HEADER_LEN + usize::from(payload_len))?;
            header.emit(&mut ipv6::Packet::new_unchecked(room));
            Some(ipv6::HEADER_LEN)
        }
        _ => None,
    }
}

/// The segment size that fits a link of `mtu` bytes, not below what everybody takes (RFC 9293 3.7.1: 536, less
/// options), and not above `offered`; never so small that a connection crawls.
pub fn mss_for(offered: u16, mtu: u16, is_inet6: bool) -> u16 {
    /// As in BSD.
    const DEFAULT: u16 = 512;
    const SMALLEST: u16 = 64;
    let headers = if is_inet6 {
        ipv6::HEADER_LEN
    } else {
        ipv4::HEADER_LEN
    } + tcp::HEADER_LEN;
    mtu.saturating_sub(headers as u16)
        .max(DEFAULT)
        .min(offered)
        .max(SMALLEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(src: &str, dst: &str, mss: u16) -> Segment {
        Segment {
            src: (src.parse().unwrap(), 80),
            dst: (dst.parse().unwrap(), 4000),
            seq: 7,
            ack: 8,
            flags: tcp::SYN | tcp::ACK,
            window: 0,
            mss,
            ttl: 0,
        }
    }

    #[test]
    fn what_is_written_reads_back_with_right_checksums() {
        for (src, dst) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            for mss in [0, 1460] {
                let made = segment(src, dst, mss);
                let mut out = [0xaa; SEGMENT_LEN_MAX];
                let len = build(&mut out, &made).unwrap();
                let header = if made.src.0.is_ipv4() { 20 } else { 40 };
                let packet = tcp::Packet::new_checked(&out[header..len]).unwrap();
                assert!(
                    packet.verify_checksum(made.src.0, made.dst.0),
                    "{src} {mss}"
                );
                let repr = tcp::Repr::parse(&packet).unwrap();
                assert_eq!((repr.seq, repr.ack, repr.flags), (7, 8, 0x12));
                assert_eq!(repr.mss, (mss != 0).then_some(mss));
                if header == 20 {
                    let ip = ipv4::Packet::new_checked(&out[..len]).unwrap();
                    assert!(ip.verify_checksum());
                    assert_eq!(ip.ttl(), TTL_DEFAULT);
                }
            }
        }
    }

    #[test]
    fn mixed_families_and_a_short_buffer_make_nothing() {
        let mut out = [0; SEGMENT_LEN_MAX];
        assert_eq!(build(&mut out, &segment("192.0.2.1", "::1", 0)), None);
        let whole = segment("192.0.2.1", "192.0.2.2", 0);
        assert_eq!(build(&mut out[..SEGMENT_LEN_MAX - 1], &whole), None);
    }

    #[test]
    fn the_segment_size_follows_offer_and_link_within_bounds() {
        for (offered, mtu, is_inet6, expect) in [
            (1460, 1500, false, 1460),
            (8960, 1500, false, 1460),
            (1460, 1500, true, 1440),
            (1400, 1500, false, 1400),
            (1460, 300, false, 512),
            (20, 1500, false, 64),
        ] {
            assert_eq!(mss_for(offered, mtu, is_inet6), expect, "{offered} {mtu}");
        }
    }
}
