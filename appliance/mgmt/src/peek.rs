//! A first look at an IP packet before smoltcp sees it: addresses, protocol, and whether it opens a connection.
//! Packets here have passed the dataplane's checks, but tests and bugs deliver anything, so every length is checked.
//!
//! Read first: RFC 791 section 3.1, RFC 8200 section 3, RFC 9293 section 3.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket};

/// What is known of a packet after the look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Peek<'a> {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: IpProtocol,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// True for any but an unfragmented packet: the transport header may be missing.
    pub(crate) fragment: bool,
    pub(crate) payload: &'a [u8],
}

/// The look; `None` if this is no IP packet of a sound length.
pub(crate) fn peek(packet: &[u8]) -> Option<Peek<'_>> {
    match packet.first()? >> 4 {
        4 => peek_v4(packet),
        6 => peek_v6(packet),
        _ => None,
    }
}

fn peek_v4(packet: &[u8]) -> Option<Peek<'_>> {
    let ip = Ipv4Packet::new_checked(packet).ok()?;
    Some(Peek {
        src: ip.src_addr().into(),
        dst: ip.dst_addr().into(),
        protocol: ip.next_header(),
        ttl: ip.hop_limit(),
        fragment: ip.more_frags() || ip.frag_offset() != 0,
        payload: ip.payload(),
    })
}

/// Extension headers are not followed: nothing that this host serves is sent with them.
fn peek_v6(packet: &[u8]) -> Option<Peek<'_>> {
    let ip = Ipv6Packet::new_checked(packet).ok()?;
    Some(Peek {
        src: ip.src_addr().into(),
        dst: ip.dst_addr().into(),
        protocol: ip.next_header(),
        ttl: ip.hop_limit(),
        fragment: ip.next_header() == IpProtocol::Ipv6Frag,
        payload: ip.payload(),
    })
}

impl<'a> Peek<'a> {
    /// The TCP header, if there is a whole one.
    pub(crate) fn tcp(&self) -> Option<TcpPacket<&'a [u8]>> {
        (self.protocol == IpProtocol::Tcp && !self.fragment)
            .then(|| TcpPacket::new_checked(self.payload).ok())
            .flatten()
    }
}

/// True if a packet may carry `addr` as its source (RFC 1122 section 3.2.1.3, RFC 4291 section 2.7). smoltcp asserts
/// some of this, and an assertion that a stranger can trip would restart the management part.
pub(crate) fn may_be_source(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(a) => {
            !(a.is_unspecified()
                || a.is_loopback()
                || a.is_multicast()
                || a.octets()[0] >= 240
                || a == Ipv4Addr::BROADCAST)
        }
        IpAddr::V6(a) => {
            !(a.is_unspecified() || a.is_multicast() || a == Ipv6Addr::LOCALHOST)
                && a.to_ipv4_mapped().is_none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_no_packet() {
        for bytes in [
            &b""[..],
            b"\x45",
            b"\x60\0\0\0",
            b"\x00\x01\x02\x03",
            &[0x45; 19],
            &[0x4f; 40],
            &[0xff; 60],
        ] {
            assert_eq!(peek(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn sources_that_must_not_be() {
        for bad in [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "ff02::1",
            "::ffff:1.2.3.4",
        ] {
            assert!(!may_be_source(bad.parse().unwrap()), "{bad}");
        }
        for good in ["192.0.2.1", "10.0.0.255", "2001:db8::1", "fe80::1"] {
            assert!(may_be_source(good.parse().unwrap()), "{good}");
        }
    }
}
