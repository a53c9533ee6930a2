//! Frames as the rig makes and reads them: answers of hosts, frames for tests to send, and how a person is shown one.
//! Knows `wire`, and nothing of the rig.

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::ether::{self, EtherType};
use wire::{arp, icmp6, ipv6, print};

use crate::packet;

/// An ARP frame, to its target or, as a request, to everybody.
pub fn arp_frame(message: &arp::Repr) -> Vec<u8> {
    let dst = if message.operation == arp::Operation::REQUEST {
        ether::Addr::BROADCAST
    } else {
        message.target_ether
    };
    let mut bytes = vec![0; arp::PACKET_LEN];
    message.emit(&mut arp::Packet::new_unchecked(&mut bytes[..]));
    packet::frame(message.sender_ether, dst, EtherType::ARP, &bytes)
}

/// A frame with a discovery message, hop limit 255.
pub fn discovery(
    src: (ether::Addr, Ipv6Addr),
    dst: (ether::Addr, Ipv6Addr),
    message: &icmp6::Repr<'_>,
) -> Vec<u8> {
    let mut body = vec![0; message.buffer_len()];
    let mut view = icmp6::Packet::new_unchecked(&mut body[..]);
    message.emit(&mut view);
    view.fill_checksum(src.1, dst.1);
    let header = ipv6::Repr {
        src: src.1,
        dst: dst.1,
        next_header: 58,
        hop_limit: 255,
        traffic_class: 0,
        flow_label: 0,
        payload_len: body.len() as u16,
    };
    let mut bytes = vec![0; 40];
    header.emit(&mut ipv6::Packet::new_unchecked(&mut bytes[..]));
    bytes.extend(body);
    packet::frame(src.0, dst.0, EtherType::IPV6, &bytes)
}

/// The frame without its tags, whatever they are.
pub(super) fn without_tags(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    while matches!(frame.get(12..14), Some([0x81, 0] | [0x88, 0xa8])) && frame.len() >= 18 {
        frame.drain(12..16);
    }
    frame
}

/// Length of the IP packet in a frame.
pub(super) fn ip_len(frame: &[u8]) -> Option<usize> {
    let view = ether::Frame::new_checked(frame).ok()?;
    let be = |at: usize| -> Option<usize> {
        let bytes = view.payload().get(at..at + 2)?;
        Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    };
    match view.ethertype() {
        EtherType::IPV4 => be(2),
        EtherType::IPV6 => Some(be(4)? + 40),
        _ => None,
    }
}

/// Where a piece belongs in its datagram, bytes.
pub(super) fn piece_offset(frame: &[u8]) -> usize {
    let Ok(view) = ether::Frame::new_checked(frame) else {
        return 0;
    };
    let ip = view.payload();
    match view.ethertype() {
        EtherType::IPV4 => wire::ipv4::Packet::new_checked(ip).map_or(0, |p| p.fragment_offset()),
        EtherType::IPV6 => ipv6::walk(ip)
            .ok()
            .and_then(|walk| walk.fragment)
            .map_or(0, |f| f.offset),
        _ => 0,
    }
    .into()
}

/// Source and target of a neighbor solicitation.
pub(super) fn solicitation(packet: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let ip = ipv6::Packet::new_checked(packet).ok()?;
    let message = icmp6::Packet::new_checked(ip.payload()).ok()?;
    let is_solicitation = ip.next_header() == 58 && message.kind() == 135;
    is_solicitation.then_some((ip.src(), message.target()?))
}

/// A host's answer to an ARP question.
pub(super) fn arp_reply(mac: ether::Addr, addr: Ipv4Addr, question: &arp::Repr) -> Vec<u8> {
    arp_frame(&arp::Repr {
        operation: arp::Operation::REPLY,
        sender_ether: mac,
        sender_ip: addr,
        target_ether: question.sender_ether,
        target_ip: question.sender_ip,
    })
}

/// A host's answer to a neighbor solicitation.
pub(super) fn advert(mac: ether::Addr, addr: Ipv6Addr, to: ether::Addr, dst: Ipv6Addr) -> Vec<u8> {
    let message = icmp6::Repr::NeighborAdvert(icmp6::NeighborAdvert {
        target: addr,
        target_link: Some(mac),
        router: false,
        solicited: true,
        override_: true,
    });
    discovery((mac, addr), (to, dst), &message)
}

pub(super) fn shown(frame: &[u8]) -> String {
    format!("{:#}\n    {}", print::Frame(frame), hex(frame))
}

pub(super) fn shown_ip(packet: &[u8]) -> String {
    format!("{}\n    {}", print::Ip(packet), hex(packet))
}

fn hex(bytes: &[u8]) -> String {
    let text: String = bytes.iter().take(120).map(|b| format!("{b:02x}")).collect();
    let rest = if bytes.len() > 120 { "…" } else { "" };
    text + rest
}
