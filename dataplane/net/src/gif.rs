//! Tunnels of IP in IP: the header around a packet, and what comes of the two headers at the other end.
//!
//! Read first: RFC 2003 (IPv4 in IPv4), RFC 4213 (IPv6 in IPv4), RFC 2473 (both in IPv6), RFC 6040 (congestion marks), and
//! gif(4); RFC 1191 and RFC 8201 (what a path carries). Knows bytes and addresses; which interface a tunnel is, and what rules say to its packets, is the worker's.

use core::net::IpAddr;

use wire::{ipv4, ipv6, proto};

/// Longest header put around a packet, in bytes.
pub const OUTER_MAX: usize = ipv6::HEADER_LEN;
/// Time to live of outer packets if nothing is said, as gif(4) has it.
pub const TTL_DEFAULT: u8 = 64;
/// Least and default MTU of a tunnel: every IPv6 link carries it (RFC 8200 5).
pub const MTU_DEFAULT: u16 = 1280;

/// How long it is believed what a path carries, in milliseconds (RFC 1191 6.3, RFC 8201 5.3).
pub const PATH_LIFE_MS: u64 = 600_000;
/// What is believed of a path at least: less is told by few and by forgers. An outer packet that is larger may be cut.
const PATH_MIN: (u16, u16) = (576, MTU_DEFAULT);

/// Bits of the traffic class that carry congestion marks (RFC 3168 5).
const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT1: u8 = 0b01;
const ECT0: u8 = 0b10;
const CE: u8 = 0b11;

/// The ends of a tunnel, of one family, and how its outer headers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// Our end.
    pub local: IpAddr,
    /// The other end.
    pub remote: IpAddr,
    /// Time to live of outer packets; none takes the inner packet's.
    pub ttl: Option<u8>,
    /// Routers on the way must not fragment outer IPv4 packets.
    pub dont_fragment: bool,
}

/// The header to be put in front of a packet.
pub type Outer = heapless::Vec<u8, OUTER_MAX>;

impl Tunnel {
    /// Bytes that the tunnel adds to a packet.
    pub fn overhead(&self) -> usize {
        match self.remote {
            IpAddr::V4(_) => ipv4::HEADER_LEN,
            IpAddr::V6(_) => ipv6::HEADER_LEN,
        }
    }

    /// Whether an outer packet belongs to this tunnel: it comes from the other end to ours.
    #[inline]
    pub fn is_for(&self, src: IpAddr, dst: IpAddr) -> bool {
        (self.remote, self.local) == (src, dst)
    }

    /// What is believed of the path of outer packets when somebody on it says `mtu`.
    pub fn believed(&self, mtu: u16) -> u16 {
        match self.remote {
            IpAddr::V4(_) => mtu.max(PATH_MIN.0),
            IpAddr::V6(_) => mtu.max(PATH_MIN.1),
        }
    }

    /// The largest packet inside outer ones of `path` bytes. Senders of IPv6 need not go below what every link carries: such
    /// outer packets are cut (RFC 2473 7.1, RFC 4213 3.2.2).
    pub fn room(&self, path: u16, is_ipv6: bool) -> u16 {
        let room = path.saturating_sub(self.overhead() as u16);
        match is_ipv6 {
            true => room.max(MTU_DEFAULT),
            false => room,
        }
    }

    /// The header around `inner`, an IP packet without anything behind it. `ident` is the identification of an IPv4 header.
    /// None if the two headers do not fit one packet, or `inner` is no IP packet.
    pub fn outer(&self, inner: &[u8], ident: u16) -> Option<Outer> {
        let (protocol, class, ttl) = inner_fields(inner)?;
        let ttl = self.ttl.unwrap_or(ttl);
        let mut header = Outer::new();
        header.resize(self.overhead(), 0).ok()?;
        match (self.local, self.remote) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let payload_len = u16::try_from(inner.len()).ok()?;
                payload_len.checked_add(ipv4::HEADER_LEN as u16)?;
                let repr = ipv4::Repr {
                    src,
                    dst,
                    protocol,
                    ttl,
                    tos: class,
                    ident,
                    dont_fragment: self.dont_fragment,
                    more_fragments: false,
                    fragment_offset: 0,
                    payload_len,
                };
                repr.emit(&mut ipv4::Packet::new_unchecked(&mut header[..]));
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let repr = ipv6::Repr {
                    src,
                    dst,
                    next_header: protocol,
                    hop_limit: ttl,
                    traffic_class: class,
                    flow_label: 0,
                    payload_len: u16::try_from(inner.len()).ok()?,
                };
                repr.emit(&mut ipv6::Packet::new_unchecked(&mut header[..]));
            }
            _ => return None,
        }
        Some(header)
    }
}

/// Protocol number of an inner packet, its traffic class and its time to live.
fn inner_fields(inner: &[u8]) -> Option<(u8, u8, u8)> {
    match inner.first()? >> 4 {
        4 => {
            let packet = ipv4::Packet::new_checked(inner).ok()?;
            Some((proto::IPIP, packet.tos(), packet.ttl()))
        }
        6 => {
            let packet = ipv6::Packet::new_checked(inner).ok()?;
            Some((proto::IPV6, packet.traffic_class(), packet.hop_limit()))
        }
        _ => None,
    }
}

/// Whether `protocol` of an outer header is what these inner bytes say they are.
pub fn is_inner(protocol: u8, inner: &[u8]) -> bool {
    let version = inner.first().map(|byte| byte >> 4);
    matches!(
        (protocol, version),
        (proto::IPIP, Some(4)) | (proto::IPV6, Some(6))
    )
}

/// A mark of congestion on the outer header that the inner packet cannot carry: it must be dropped (RFC 6040 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Congested;

/// Carries the congestion mark of an outer traffic class over to an inner packet that was checked.
pub fn carry_mark(outer_class: u8, inner: &mut [u8]) -> Result<(), Congested> {
    let Some((_, class, _)) = inner_fields(inner) else {
        return Ok(());
    };
    let mark = match (class & ECN, outer_class & ECN) {
        (NOT_ECT, CE) => return Err(Congested),
        (ECT0 | ECT1, CE) => CE,
        (ECT0, ECT1) => ECT1,
        (unchanged, _) => unchanged,
    };
    if mark != class & ECN {
        set_class(inner, class & !ECN | mark);
    }
    Ok(())
}

fn set_class(packet: &mut [u8], class: u8) {
    if packet[0] >> 4 == 4 {
        return ipv4::Packet::new_unchecked(packet).replace_tos(class);
    }
    let mut packet = ipv6::Packet::new_unchecked(packet);
    let label = packet.flow_label();
    packet.set_class_and_label(class, label);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn tunnel(local: &str, remote: &str) -> Tunnel {
        Tunnel {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            ttl: Some(TTL_DEFAULT),
            dont_fragment: false,
        }
    }

    fn v4(tos: u8) -> Vec<u8> {
        let repr = ipv4::Repr {
            src: [10, 0, 0, 1].into(),
            dst: [10, 0, 0, 2].into(),
            protocol: proto::UDP,
            ttl: 9,
            tos,
            ident: 1,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: 4,
        };
        let mut bytes = vec![0; 24];
        repr.emit(&mut ipv4::Packet::new_unchecked(&mut bytes[..]));
        bytes
    }

    fn v6(class: u8) -> Vec<u8> {
        let repr = ipv6::Repr {
            src: "2001:db8::1".parse().unwrap(),
            dst: "2001:db8::2".parse().unwrap(),
            next_header: proto::UDP,
            hop_limit: 9,
            traffic_class: class,
            flow_label: 0xabcde,
            payload_len: 4,
        };
        let mut bytes = vec![0; 44];
        repr.emit(&mut ipv6::Packet::new_unchecked(&mut bytes[..]));
        bytes
    }

    fn class_of(packet: &[u8]) -> u8 {
        inner_fields(packet).unwrap().1
    }

    #[test]
    fn every_family_goes_through_every_family() {
        let (over4, over6) = (
            tunnel("192.0.2.1", "192.0.2.2"),
            tunnel("2001:db8:f::1", "2001:db8:f::2"),
        );
        for (inner, protocol) in [(v4(0xb8), proto::IPIP), (v6(0xb8), proto::IPV6)] {
            let outer = over4.outer(&inner, 7).unwrap();
            let bytes = [&outer, &inner[..]].concat();
            let packet = ipv4::Packet::new_checked(&bytes[..]).unwrap();
            let read = ipv4::Repr::parse(&packet).unwrap();
            let expected = ipv4::Repr {
                src: [192, 0, 2, 1].into(),
                dst: [192, 0, 2, 2].into(),
                protocol,
                ttl: TTL_DEFAULT,
                tos: 0xb8,
                ident: 7,
                dont_fragment: false,
                more_fragments: false,
                fragment_offset: 0,
                payload_len: inner.len() as u16,
            };
            assert_eq!(read, expected);
            assert_eq!(packet.payload(), inner);
            assert!(is_inner(protocol, packet.payload()));

            let outer = over6.outer(&inner, 7).unwrap();
            let bytes = [&outer, &inner[..]].concat();
            let packet = ipv6::Packet::new_checked(&bytes[..]).unwrap();
            let read = ipv6::Repr::parse(&packet).unwrap();
            assert_eq!((read.next_header, read.hop_limit), (protocol, TTL_DEFAULT));
            assert_eq!(read.traffic_class, 0xb8);
            assert_eq!(packet.payload(), inner);
        }
    }

    #[test]
    fn the_inner_time_to_live_is_taken_if_asked_for() {
        let copy = Tunnel {
            ttl: None,
            dont_fragment: true,
            ..tunnel("192.0.2.1", "192.0.2.2")
        };
        let outer = copy.outer(&v6(0), 0).unwrap();
        assert_eq!(outer[8], 9);
        assert_eq!(outer[6] & 0x40, 0x40, "don't fragment");
    }

    #[test]
    fn a_path_leaves_room_for_what_every_link_carries() {
        let (over4, over6) = (
            tunnel("192.0.2.1", "192.0.2.2"),
            tunnel("2001:db8:f::1", "2001:db8:f::2"),
        );
        // Said, believed; room for IPv4, for IPv6.
        for (tunnel, said, expected) in [
            (over4, 1400, (1400, 1380, 1380)),
            (over4, 1290, (1290, 1270, 1280)),
            (over4, 0, (576, 556, 1280)),
            (over6, 1400, (1400, 1360, 1360)),
            (over6, 68, (1280, 1240, 1280)),
        ] {
            let path = tunnel.believed(said);
            let got = (path, tunnel.room(path, false), tunnel.room(path, true));
            assert_eq!(got, expected, "{said}");
        }
    }

    #[test]
    fn what_is_no_packet_or_too_long_gets_no_header() {
        let over4 = tunnel("192.0.2.1", "192.0.2.2");
        assert_eq!(over4.outer(&[], 0), None);
        assert_eq!(over4.outer(&[0x50; 40], 0), None);
        let mut long = v4(0);
        long.resize(65_530, 0);
        long[2..4].copy_from_slice(&65_530u16.to_be_bytes());
        assert_eq!(over4.outer(&long, 0), None);
        assert!(!is_inner(proto::IPIP, &v6(0)));
        assert!(!is_inner(proto::IPV6, &[]));
    }

    /// The table of RFC 6040 figure 4; `None` is dropped.
    #[test]
    fn marks_of_congestion_are_carried_as_rfc_6040_says() {
        let table = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT0, [Some(ECT0), Some(ECT0), Some(ECT1), Some(CE)]),
            (ECT1, [Some(ECT1), Some(ECT1), Some(ECT1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, row) in table {
            for (outer, expected) in [NOT_ECT, ECT0, ECT1, CE].into_iter().zip(row) {
                for mut packet in [v4(0xb8 | inner), v6(0xb8 | inner)] {
                    let carried = carry_mark(0x20 | outer, &mut packet);
                    assert_eq!(carried.is_ok(), expected.is_some(), "{inner} {outer}");
                    let class = 0xb8 | expected.unwrap_or(inner);
                    assert_eq!(class_of(&packet), class, "{inner} {outer}");
                    if packet[0] >> 4 == 4 {
                        assert!(ipv4::Packet::new_unchecked(&packet[..]).verify_checksum());
                    }
                }
            }
        }
    }
}
