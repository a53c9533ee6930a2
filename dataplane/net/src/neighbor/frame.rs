//! Questions and answers as whole Ethernet frames, written into a byte slice.
//!
//! Every builder returns the length of the frame, or `None` where the slice is shorter than
//! [`FRAME_LEN_MAX`] or the interface has no address to ask with. Frames are untagged; short ones
//! are padded with zeros to the Ethernet minimum, because not every device does.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::{arp, ether, icmp6, ipv6, proto};

use super::answer::Advert;
use crate::interface::Interface;

/// Least length of an Ethernet frame in bytes, without the check sequence (IEEE 802.3 4A.4.2).
const FRAME_LEN_MIN: usize = 60;

/// Length in bytes of the longest frame built here: a solicitation or advertisement with its option.
pub const FRAME_LEN_MAX: usize = ether::HEADER_LEN + ipv6::HEADER_LEN + 32;

/// Every discovery message is sent with this hop limit, so that receivers can tell it came over no
/// router (RFC 4861 7.1).
const HOP_LIMIT: u8 = 255;

/// Writes the Ethernet header, has `body` written after it, and pads.
fn frame(
    buf: &mut [u8],
    header: &ether::Repr,
    body_len: usize,
    body: impl FnOnce(&mut [u8]),
) -> Option<usize> {
    let len = (ether::HEADER_LEN + body_len).max(FRAME_LEN_MIN);
    let buf = buf.get_mut(..FRAME_LEN_MAX)?.get_mut(..len)?;
    header.emit(&mut ether::Frame::new_unchecked(&mut *buf));
    let (used, padding) = buf[ether::HEADER_LEN..].split_at_mut(body_len);
    body(used);
    padding.fill(0);
    Some(len)
}

fn arp_frame(buf: &mut [u8], dst: ether::Addr, message: &arp::Repr) -> Option<usize> {
    let header = ether::Repr {
        dst,
        src: message.sender_ether,
        ethertype: ether::EtherType::ARP,
    };
    frame(buf, &header, message.buffer_len(), |body| {
        message.emit(&mut arp::Packet::new_unchecked(body));
    })
}

/// An ARP reply, from its sender to its target.
pub fn build_arp(buf: &mut [u8], message: &arp::Repr) -> Option<usize> {
    arp_frame(buf, message.target_ether, message)
}

/// The question who has `target`: to everybody, or to the neighbor `to` to see whether it is still
/// there.
pub fn build_arp_request(
    buf: &mut [u8],
    interface: &Interface,
    target: Ipv4Addr,
    to: Option<ether::Addr>,
) -> Option<usize> {
    let message = arp::Repr {
        operation: arp::Operation::REQUEST,
        sender_ether: interface.mac,
        sender_ip: interface.source4(target)?,
        target_ether: to.unwrap_or(ether::Addr::ZERO),
        target_ip: target,
    };
    arp_frame(buf, to.unwrap_or(ether::Addr::BROADCAST), &message)
}

/// The announcement that `addr` is here (RFC 5227 3: a request for the own address).
pub fn build_gratuitous_arp(buf: &mut [u8], mac: ether::Addr, addr: Ipv4Addr) -> Option<usize> {
    let message = arp::Repr {
        operation: arp::Operation::REQUEST,
        sender_ether: mac,
        sender_ip: addr,
        target_ether: ether::Addr::ZERO,
        target_ip: addr,
    };
    arp_frame(buf, ether::Addr::BROADCAST, &message)
}

/// The question whether anybody has the address that we are about to use (RFC 5227 2.1.1: no sender's address, so that
/// nobody learns from it).
pub fn build_arp_probe(buf: &mut [u8], mac: ether::Addr, target: Ipv4Addr) -> Option<usize> {
    let message = arp::Repr {
        operation: arp::Operation::REQUEST,
        sender_ether: mac,
        sender_ip: Ipv4Addr::UNSPECIFIED,
        target_ether: ether::Addr::ZERO,
        target_ip: target,
    };
    arp_frame(buf, ether::Addr::BROADCAST, &message)
}

/// A discovery message in its IPv6 packet and frame.
fn discovery_frame(
    buf: &mut [u8],
    link: (ether::Addr, ether::Addr),
    ip: (Ipv6Addr, Ipv6Addr),
    message: &icmp6::Repr<'_>,
) -> Option<usize> {
    let header = ether::Repr {
        dst: link.1,
        src: link.0,
        ethertype: ether::EtherType::IPV6,
    };
    let packet = ipv6::Repr {
        src: ip.0,
        dst: ip.1,
        next_header: proto::ICMP6,
        hop_limit: HOP_LIMIT,
        traffic_class: 0,
        flow_label: 0,
        payload_len: message.buffer_len() as u16,
    };
    let len = packet.buffer_len() + message.buffer_len();
    frame(buf, &header, len, |body| {
        packet.emit(&mut ipv6::Packet::new_unchecked(&mut *body));
        let mut body = icmp6::Packet::new_unchecked(&mut body[packet.buffer_len()..]);
        message.emit(&mut body);
        body.fill_checksum(packet.src, packet.dst);
    })
}

/// The question who has `target`: to its solicited-node group, or to the neighbor `to` to see whether
/// it is still there.
pub fn build_ns(
    buf: &mut [u8],
    interface: &Interface,
    target: Ipv6Addr,
    to: Option<ether::Addr>,
) -> Option<usize> {
    let src = interface.source6(target)?;
    let group = ipv6::solicited_node(target);
    let (link, dst) = match to {
        Some(link) => (link, target),
        None => (ether::Addr::multicast6(group), group),
    };
    let message = icmp6::Repr::NeighborSolicit(icmp6::NeighborSolicit {
        target,
        source_link: Some(interface.mac),
    });
    discovery_frame(buf, (interface.mac, link), (src, dst), &message)
}

/// The question whether anybody has the address that we are about to use (duplicate address detection,
/// RFC 4862 5.4.2).
pub fn build_ns_probe(buf: &mut [u8], mac: ether::Addr, target: Ipv6Addr) -> Option<usize> {
    let group = ipv6::solicited_node(target);
    let message = icmp6::Repr::NeighborSolicit(icmp6::NeighborSolicit {
        target,
        source_link: None,
    });
    let link = (mac, ether::Addr::multicast6(group));
    discovery_frame(buf, link, (Ipv6Addr::UNSPECIFIED, group), &message)
}

/// The first half of the addresses that questions by a port of a lagg come from: link-local, and ours to know by.
pub const PROBE_PREFIX: [u16; 6] = [0xfe80, 0, 0, 0, 0x4675, 0x6775];

/// The question who has `target`, from a station and an address of its own.
pub fn build_ns_from(
    buf: &mut [u8],
    (mac, src): (ether::Addr, Ipv6Addr),
    target: Ipv6Addr,
) -> Option<usize> {
    let group = ipv6::solicited_node(target);
    let message = icmp6::Repr::NeighborSolicit(icmp6::NeighborSolicit {
        target,
        source_link: Some(mac),
    });
    let link = (mac, ether::Addr::multicast6(group));
    discovery_frame(buf, link, (src, group), &message)
}

/// An answer to a solicitation.
pub fn build_na(buf: &mut [u8], mac: ether::Addr, advert: &Advert) -> Option<usize> {
    let message = icmp6::Repr::NeighborAdvert(advert.message);
    discovery_frame(buf, (mac, advert.link), (advert.src, advert.dst), &message)
}

/// The announcement that `addr` is here (RFC 4861 7.2.6).
pub fn build_unsolicited_na(buf: &mut [u8], mac: ether::Addr, addr: Ipv6Addr) -> Option<usize> {
    let advert = Advert {
        link: ether::Addr::multicast6(ipv6::ALL_NODES),
        src: addr,
        dst: ipv6::ALL_NODES,
        message: icmp6::NeighborAdvert {
            target: addr,
            target_link: Some(mac),
            router: true,
            solicited: false,
            override_: true,
        },
    };
    build_na(buf, mac, &advert)
}

/// The question that [`super::Action::Request`] (`to` none) or [`super::Action::Probe`] (`to` its address)
/// wants asked.
pub fn build_question(
    buf: &mut [u8],
    interface: &Interface,
    ip: IpAddr,
    to: Option<ether::Addr>,
) -> Option<usize> {
    match ip {
        IpAddr::V4(ip) => build_arp_request(buf, interface, ip, to),
        IpAddr::V6(ip) => build_ns(buf, interface, ip, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::tests::interface;
    use crate::neighbor::{DiscoveryMessage, receive_discovery};

    const PEER: ether::Addr = ether::Addr([2, 0, 0, 0, 0, 9]);

    fn printed(build: impl FnOnce(&mut [u8]) -> Option<usize>) -> String {
        let mut buf = [0xaa; FRAME_LEN_MAX];
        let len = build(&mut buf).unwrap();
        assert!(len >= 60);
        if buf[12..14] == [0x86, 0xdd] {
            assert!(receive_discovery(&buf[14..len]).is_ok());
        } else {
            assert!(buf[42..len].iter().all(|&byte| byte == 0));
        }
        format!("{:#}", wire::print::Frame(&buf[..len]))
    }

    #[test]
    fn frames_print_as_tcpdump_would() {
        let em0 = interface(0, "em0", &["192.0.2.1/24", "2001:db8::1/64", "fe80::1/64"]);
        let own = em0.mac;
        let v4 = Ipv4Addr::new(192, 0, 2, 7);
        let v6: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let peer: Ipv6Addr = "fe80::7".parse().unwrap();
        let announced: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let (us, all) = ("52:54:00:00:00:00", "ff:ff:ff:ff:ff:ff");
        for (text, expected) in [
            (
                printed(|b| build_question(b, &em0, v4.into(), None)),
                format!("{us} {all} 0806 60: arp who-has 192.0.2.7 tell 192.0.2.1"),
            ),
            (
                printed(|b| build_question(b, &em0, v4.into(), Some(PEER))),
                format!("{us} {PEER} 0806 60: arp who-has 192.0.2.7 tell 192.0.2.1"),
            ),
            (
                printed(|b| build_gratuitous_arp(b, own, v4)),
                format!("{us} {all} 0806 60: arp who-has 192.0.2.7 tell 192.0.2.7"),
            ),
            (
                printed(|b| build_question(b, &em0, v6.into(), None)),
                format!(
                    "{us} 33:33:ff:00:00:07 86dd 86: 2001:db8::1 > ff02::1:ff00:7: \
                     icmp6: neighbor sol: who has 2001:db8::7"
                ),
            ),
            (
                printed(|b| build_question(b, &em0, peer.into(), Some(PEER))),
                format!(
                    "{us} {PEER} 86dd 86: fe80::1 > fe80::7: icmp6: neighbor sol: who has fe80::7"
                ),
            ),
            (
                printed(|b| build_ns_probe(b, own, v6)),
                format!(
                    "{us} 33:33:ff:00:00:07 86dd 78: :: > ff02::1:ff00:7: \
                     icmp6: neighbor sol: who has 2001:db8::7"
                ),
            ),
            (
                printed(|b| build_unsolicited_na(b, own, announced)),
                format!(
                    "{us} 33:33:00:00:00:01 86dd 86: 2001:db8::1 > ff02::1: \
                     icmp6: neighbor adv: tgt is 2001:db8::1 at {us}"
                ),
            ),
        ] {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_solicitation_carries_our_address() {
        let em0 = interface(0, "em0", &["2001:db8::1/64"]);
        let mut buf = [0; FRAME_LEN_MAX];
        let len = build_ns(&mut buf, &em0, "2001:db8::7".parse().unwrap(), None).unwrap();
        let discovery = receive_discovery(&buf[14..len]).unwrap();
        let DiscoveryMessage::Solicit(message) = discovery.message else {
            panic!("{discovery:?}");
        };
        assert_eq!(message.source_link, Some(em0.mac));
    }

    #[test]
    fn no_room_or_no_address_gives_nothing() {
        let em0 = interface(0, "em0", &["192.0.2.1/24"]);
        let v4 = Ipv4Addr::new(192, 0, 2, 7);
        let mut buf = [0; FRAME_LEN_MAX];
        assert_eq!(
            build_arp_request(&mut buf[..FRAME_LEN_MAX - 1], &em0, v4, None),
            None
        );
        assert_eq!(build_ns(&mut buf, &em0, Ipv6Addr::LOCALHOST, None), None);
        let bare = interface(0, "em0", &[]);
        assert_eq!(build_arp_request(&mut buf, &bare, v4, None), None);
    }
}
