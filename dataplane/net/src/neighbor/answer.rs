//! Answers to others' questions about our addresses, and which discovery messages are valid.
//!
//! Read first: RFC 826; RFC 5227 2.1 and 3; RFC 4861 sections 7.1 and 7.2.4; RFC 6980 (no fragments).
//! Needs the interface table, not the cache: answering is not learning.

use core::fmt;
use core::net::Ipv6Addr;

use wire::{Malformed, arp, ether, icmp6, ipv6, proto};

use crate::interface::{InterfaceId, InterfaceTable};

/// The reply to an ARP request for an address of the interface it came in on, or one that is published there. Requests
/// for addresses of other interfaces are not answered, as on OpenBSD: the asker's link is not where they are.
pub fn answer_arp(
    interfaces: &InterfaceTable,
    interface: InterfaceId,
    message: &arp::Repr,
) -> Option<arp::Repr> {
    let interface = interfaces
        .get(interface)
        .filter(|i| i.up && !i.is_loopback())?;
    let link = if interface.owns(message.target_ip.into()) {
        interface.mac
    } else {
        let published = interfaces.listening();
        let link = published.publishes(interface.id, message.target_ip.into())?;
        link.unwrap_or(interface.mac)
    };
    let asked = message.operation == arp::Operation::REQUEST && message.sender_ether.is_unicast();
    // Somebody who claims the address announces, he does not ask; that is a conflict.
    if !asked || message.sender_ip == message.target_ip {
        return None;
    }
    Some(arp::Repr {
        operation: arp::Operation::REPLY,
        sender_ether: link,
        sender_ip: message.target_ip,
        target_ether: message.sender_ether,
        target_ip: message.sender_ip,
    })
}

/// A neighbor advertisement to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advert {
    /// Ethernet address to send it to.
    pub link: ether::Addr,
    /// Our address, source of the packet.
    pub src: Ipv6Addr,
    /// Destination of the packet.
    pub dst: Ipv6Addr,
    /// The message.
    pub message: icmp6::NeighborAdvert,
}

/// The advertisement that answers a valid solicitation for an address of the interface it came in on, or one that is
/// published there: that is said so that the owner's own word counts for more (RFC 4861 7.2.8).
/// `src` is the source of the packet, `from` that of the frame.
pub fn answer_ns(
    interfaces: &InterfaceTable,
    interface: InterfaceId,
    src: Ipv6Addr,
    from: ether::Addr,
    message: &icmp6::NeighborSolicit,
) -> Option<Advert> {
    let interface = interfaces
        .get(interface)
        .filter(|i| i.up && !i.is_loopback())?;
    let own = interface.owns(message.target.into());
    let target_link = match own {
        true => interface.mac,
        false => {
            let published = interfaces.listening();
            let link = published.publishes(interface.id, message.target.into())?;
            link.unwrap_or(interface.mac)
        }
    };
    if !from.is_unicast() {
        return None;
    }
    // Who has no address yet (duplicate address detection) is told through the all-nodes group.
    let nameless = src.is_unspecified();
    let (dst, link) = match nameless {
        true => (ipv6::ALL_NODES, ether::Addr::multicast6(ipv6::ALL_NODES)),
        false => (
            src,
            message
                .source_link
                .filter(|link| link.is_unicast())
                .unwrap_or(from),
        ),
    };
    Some(Advert {
        link,
        src: message.target,
        dst,
        message: icmp6::NeighborAdvert {
            target: message.target,
            target_link: Some(target_link),
            router: true,
            solicited: !nameless,
            override_: own,
        },
    })
}

/// A valid discovery message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery {
    /// Source of the packet.
    pub src: Ipv6Addr,
    /// Destination of the packet.
    pub dst: Ipv6Addr,
    /// What it says.
    pub message: DiscoveryMessage,
}

/// What a discovery message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscoveryMessage {
    /// A neighbor solicitation.
    Solicit(icmp6::NeighborSolicit),
    /// A neighbor advertisement.
    Advert(icmp6::NeighborAdvert),
    /// Router solicitation, router advertisement or redirect: we are a router and are configured, so
    /// there is nothing to do about them.
    Other,
}

/// Why a packet is no valid discovery message. Such packets are dropped silently (RFC 4861 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The packet is malformed.
    Malformed(Malformed),
    /// It is no discovery message at all.
    OtherMessage,
    /// It has a fragment header (RFC 6980 5).
    Fragment,
    /// It came over a router: the hop limit is not 255.
    HopLimit,
    /// The code is not 0.
    Code,
    /// The target is a group.
    Target,
    /// From the unspecified address, but with a link-layer address or not to a solicited-node group.
    Nameless,
    /// Marked as an answer, but sent to a group.
    SolicitedGroup,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Malformed(rule) => rule.text(),
            Refused::OtherMessage => "not a neighbor discovery message",
            Refused::Fragment => "fragmented (RFC 6980 5)",
            Refused::HopLimit => "hop limit is not 255 (RFC 4861 7.1)",
            Refused::Code => "code is not 0 (RFC 4861 7.1)",
            Refused::Target => "target is a group (RFC 4861 7.1)",
            Refused::Nameless => "source and options of an unspecified sender (RFC 4861 7.1.1)",
            Refused::SolicitedGroup => "solicited flag, but sent to a group (RFC 4861 7.1.2)",
        })
    }
}

impl core::error::Error for Refused {}

impl From<Malformed> for Refused {
    fn from(rule: Malformed) -> Refused {
        Refused::Malformed(rule)
    }
}

/// Checks an IPv6 packet for a valid discovery message (RFC 4861 7.1.1, 7.1.2).
pub fn receive_discovery(packet: &[u8]) -> Result<Discovery, Refused> {
    let walk = ipv6::walk(packet)?;
    let header = ipv6::Packet::new_checked(packet)?;
    if walk.next_header != proto::ICMP6 {
        return Err(Refused::OtherMessage);
    }
    let message = icmp6::Packet::new_checked(&packet[walk.offset..walk.end])?;
    if !message.is_neighbor_discovery() {
        return Err(Refused::OtherMessage);
    }
    if walk.fragment.is_some() {
        return Err(Refused::Fragment);
    }
    if header.hop_limit() != 255 {
        return Err(Refused::HopLimit);
    }
    if message.code() != 0 {
        return Err(Refused::Code);
    }
    let (src, dst) = (header.src(), header.dst());
    if !message.verify_checksum(src, dst) {
        return Err(Malformed::Icmp6Checksum.into());
    }
    let message = match icmp6::Repr::parse(&message)? {
        icmp6::Repr::NeighborSolicit(solicit) => {
            check_solicit(src, dst, &solicit)?;
            DiscoveryMessage::Solicit(solicit)
        }
        icmp6::Repr::NeighborAdvert(advert) => {
            check_advert(dst, &advert)?;
            DiscoveryMessage::Advert(advert)
        }
        _ => DiscoveryMessage::Other,
    };
    Ok(Discovery { src, dst, message })
}

fn check_solicit(
    src: Ipv6Addr,
    dst: Ipv6Addr,
    message: &icmp6::NeighborSolicit,
) -> Result<(), Refused> {
    if message.target.is_multicast() {
        return Err(Refused::Target);
    }
    let to_node = dst == ipv6::solicited_node(message.target);
    if src.is_unspecified() && (message.source_link.is_some() || !to_node) {
        return Err(Refused::Nameless);
    }
    Ok(())
}

fn check_advert(dst: Ipv6Addr, message: &icmp6::NeighborAdvert) -> Result<(), Refused> {
    if message.target.is_multicast() {
        return Err(Refused::Target);
    }
    if message.solicited && dst.is_multicast() {
        return Err(Refused::SolicitedGroup);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::tests::interface;
    use core::net::Ipv4Addr;
    use icmp6::{NeighborAdvert, NeighborSolicit};

    const PEER: ether::Addr = ether::Addr([2, 0, 0, 0, 0, 9]);

    fn interfaces() -> InterfaceTable {
        let mut down = interface(2, "em2", &["198.51.100.1/24"]);
        down.up = false;
        InterfaceTable::build(vec![
            interface(0, "em0", &["192.0.2.1/24", "2001:db8::1/64"]),
            interface(1, "em1", &["10.0.0.1/8"]),
            down,
        ])
        .unwrap()
    }

    fn request(sender: [u8; 4], target: [u8; 4]) -> arp::Repr {
        arp::Repr {
            operation: arp::Operation::REQUEST,
            sender_ether: PEER,
            sender_ip: sender.into(),
            target_ether: ether::Addr::ZERO,
            target_ip: target.into(),
        }
    }

    #[test]
    fn arp_is_answered_for_the_interface_it_came_in_on() {
        let answer = |on, message| answer_arp(&interfaces(), InterfaceId(on), &message);
        let reply = answer(0, request([192, 0, 2, 7], [192, 0, 2, 1])).unwrap();
        let expected = arp::Repr {
            operation: arp::Operation::REPLY,
            sender_ether: ether::Addr([0x52, 0x54, 0, 0, 0, 0]),
            sender_ip: Ipv4Addr::new(192, 0, 2, 1),
            target_ether: PEER,
            target_ip: Ipv4Addr::new(192, 0, 2, 7),
        };
        assert_eq!(reply, expected);
        // A probe asks without an address (RFC 5227).
        assert!(answer(0, request([0; 4], [192, 0, 2, 1])).is_some());
        assert_eq!(answer(1, request([192, 0, 2, 7], [192, 0, 2, 1])), None);
        assert_eq!(answer(0, request([192, 0, 2, 7], [192, 0, 2, 2])), None);
        assert_eq!(answer(0, request([192, 0, 2, 1], [192, 0, 2, 1])), None);
        assert_eq!(
            answer(2, request([198, 51, 100, 7], [198, 51, 100, 1])),
            None
        );
        assert_eq!(answer(9, request([192, 0, 2, 7], [192, 0, 2, 1])), None);
        let mut group = request([192, 0, 2, 7], [192, 0, 2, 1]);
        group.sender_ether = ether::Addr::BROADCAST;
        assert_eq!(answer(0, group), None);
        assert_eq!(answer(0, expected), None); // a reply
    }

    #[test]
    fn solicitations_are_answered_for_the_interface_they_came_in_on() {
        let target: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let src: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let other = ether::Addr([2, 0, 0, 0, 0, 8]);
        let answer = |on, src, target, source_link| {
            let message = NeighborSolicit {
                target,
                source_link,
            };
            answer_ns(&interfaces(), InterfaceId(on), src, PEER, &message)
        };
        let advert = answer(0, src, target, Some(other)).unwrap();
        assert_eq!((advert.link, advert.src, advert.dst), (other, target, src));
        let mac = ether::Addr([0x52, 0x54, 0, 0, 0, 0]);
        let expected = NeighborAdvert {
            target,
            target_link: Some(mac),
            router: true,
            solicited: true,
            override_: true,
        };
        assert_eq!(advert.message, expected);
        assert_eq!(answer(0, src, target, None).unwrap().link, PEER);
        // The link-local address that came with inet6 is ours too.
        assert!(answer(0, src, mac.link_local(), None).is_some());
        // Duplicate address detection.
        let advert = answer(0, Ipv6Addr::UNSPECIFIED, target, None).unwrap();
        assert_eq!(
            (advert.dst, advert.message.solicited),
            (ipv6::ALL_NODES, false)
        );
        assert_eq!(advert.link.to_string(), "33:33:00:00:00:01");
        assert_eq!(answer(1, src, target, None), None);
        assert_eq!(answer(0, src, src, None), None);
    }

    /// A discovery message as an IPv6 packet, with a right checksum.
    fn packet(src: &str, dst: &str, hop_limit: u8, code: u8, message: &icmp6::Repr) -> Vec<u8> {
        let header = ipv6::Repr {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            next_header: proto::ICMP6,
            hop_limit,
            traffic_class: 0,
            flow_label: 0,
            payload_len: message.buffer_len() as u16,
        };
        let mut bytes = vec![0; header.buffer_len() + message.buffer_len()];
        header.emit(&mut ipv6::Packet::new_unchecked(&mut bytes[..]));
        let mut body = icmp6::Packet::new_unchecked(&mut bytes[40..]);
        message.emit(&mut body);
        body.set_kind(body.kind(), code);
        body.fill_checksum(header.src, header.dst);
        bytes
    }

    #[test]
    fn valid_and_invalid_messages() {
        let ns = |target: &str, source_link| {
            icmp6::Repr::NeighborSolicit(NeighborSolicit {
                target: target.parse().unwrap(),
                source_link,
            })
        };
        let na = |target: &str, solicited| {
            icmp6::Repr::NeighborAdvert(NeighborAdvert {
                target: target.parse().unwrap(),
                target_link: Some(PEER),
                router: false,
                solicited,
                override_: true,
            })
        };
        let group = "ff02::1:ff00:1";
        let receive = |src, dst, hop_limit, code, message| {
            receive_discovery(&packet(src, dst, hop_limit, code, &message)).map(|d| d.message)
        };
        let good = receive("fd00::7", group, 255, 0, ns("fd00::1", Some(PEER)));
        assert!(matches!(good, Ok(DiscoveryMessage::Solicit(_))));
        assert!(receive("::", group, 255, 0, ns("fd00::1", None)).is_ok());
        let good = receive("fd00::7", "fd00::1", 255, 0, na("fd00::7", true));
        assert!(matches!(good, Ok(DiscoveryMessage::Advert(_))));
        assert!(receive("fd00::7", "ff02::1", 255, 0, na("fd00::7", false)).is_ok());
        let rs = icmp6::Repr::RouterSolicit { source_link: None };
        assert_eq!(
            receive("fd00::7", "ff02::2", 255, 0, rs),
            Ok(DiscoveryMessage::Other)
        );

        for (src, dst, hop_limit, code, message, refused) in [
            (
                "fd00::7",
                group,
                254,
                0,
                ns("fd00::1", None),
                Refused::HopLimit,
            ),
            ("fd00::7", group, 255, 1, ns("fd00::1", None), Refused::Code),
            (
                "fd00::7",
                group,
                255,
                0,
                ns("ff02::1", None),
                Refused::Target,
            ),
            (
                "::",
                group,
                255,
                0,
                ns("fd00::1", Some(PEER)),
                Refused::Nameless,
            ),
            (
                "::",
                "fd00::1",
                255,
                0,
                ns("fd00::1", None),
                Refused::Nameless,
            ),
            (
                "fd00::7",
                "ff02::1",
                255,
                0,
                na("fd00::7", true),
                Refused::SolicitedGroup,
            ),
            (
                "fd00::7",
                "fd00::1",
                255,
                0,
                na("ff02::7", false),
                Refused::Target,
            ),
        ] {
            assert_eq!(
                receive(src, dst, hop_limit, code, message),
                Err(refused),
                "{message:?}"
            );
        }
        let echo = icmp6::Repr::EchoRequest {
            ident: 1,
            seq: 1,
            data: &[],
        };
        assert_eq!(
            receive("fd00::7", "fd00::1", 255, 0, echo),
            Err(Refused::OtherMessage)
        );

        let mut bad_sum = packet("fd00::7", group, 255, 0, &ns("fd00::1", None));
        bad_sum[50] ^= 1;
        let refused = Refused::Malformed(Malformed::Icmp6Checksum);
        assert_eq!(receive_discovery(&bad_sum), Err(refused));
        for len in 0..bad_sum.len() {
            assert!(receive_discovery(&bad_sum[..len]).is_err());
        }
    }
}
