// What the fuzz target `wire` does with its bytes, and the normal tests do with seeded random ones.
//
// The bytes are taken as a frame and as the beginning of each format. Checked: nothing panics; after
// `new_checked` every getter may be called; what a representation says survives `emit` and `parse`.

use std::hint::black_box;
use std::net::IpAddr;

use wire::{arp, ether, icmp, icmp6, ipv4, ipv6, print, tcp, udp, vlan};

/// Runs everything over the bytes.
pub(crate) fn run(data: &[u8]) {
    black_box(format!("{:#}", print::Frame(data)));
    black_box(print::Ip(data).to_string());
    frame(data);
    ip(data);
    transport(data);
    if data.len() > 14 {
        ip(&data[14..]);
    }
}

fn frame(data: &[u8]) {
    if let Ok(frame) = ether::Frame::new_checked(data) {
        let repr = ether::Repr::parse(&frame).unwrap();
        let mut out = vec![0; repr.buffer_len()];
        repr.emit(&mut ether::Frame::new_unchecked(&mut out[..]));
        assert_eq!(out, data[..out.len()]);
        black_box(frame.payload());
    }
    if let Ok(tag) = vlan::Packet::new_checked(data) {
        let repr = vlan::Repr::parse(&tag).unwrap();
        let mut out = vec![0; repr.buffer_len()];
        repr.emit(&mut vlan::Packet::new_unchecked(&mut out[..]));
        assert_eq!(out, data[..out.len()]);
        black_box(tag.payload());
    }
    if let Ok(packet) = arp::Packet::new_checked(data) {
        let repr = arp::Repr::parse(&packet).unwrap();
        let mut out = vec![0; repr.buffer_len()];
        repr.emit(&mut arp::Packet::new_unchecked(&mut out[..]));
        assert_eq!(out, data[..out.len()]);
    }
}

fn ip(data: &[u8]) {
    if let Ok(packet) = ipv4::Packet::new_checked(data) {
        black_box((
            packet.src(),
            packet.dst(),
            packet.checksum(),
            packet.payload(),
        ));
        assert!(packet.options().count() <= 40);
        if let Ok(repr) = ipv4::Repr::parse(&packet) {
            let mut out = vec![0; repr.buffer_len() + usize::from(repr.payload_len)];
            repr.emit(&mut ipv4::Packet::new_unchecked(&mut out[..]));
            let again = ipv4::Packet::new_checked(&out[..]).unwrap();
            assert_eq!(ipv4::Repr::parse(&again), Ok(repr));
        }
    }
    if let Ok(walk) = ipv4::walk(data) {
        assert!(walk.offset <= walk.end && walk.end <= data.len());
        transport(&data[walk.offset..walk.end]);
    }
    if let Ok(packet) = ipv6::Packet::new_checked(data) {
        let repr = ipv6::Repr::parse(&packet).unwrap();
        let mut out = vec![0; repr.buffer_len()];
        repr.emit(&mut ipv6::Packet::new_unchecked(&mut out[..]));
        assert_eq!(out, data[..out.len()]);
        black_box(packet.payload());
    }
    if let Ok(walk) = ipv6::walk(data) {
        assert!(walk.offset <= walk.end && walk.end <= data.len());
        assert!(walk.next_header_at < walk.offset);
        assert!(usize::from(walk.count) <= ipv6::CHAIN_MAX);
        black_box((walk.is_fragment(), walk.has_options()));
        transport(&data[walk.offset..walk.end]);
    }
}

fn transport(data: &[u8]) {
    let src: IpAddr = [192, 0, 2, 1].into();
    black_box((tcp::start(data).is_ok(), udp::ports(data).is_ok()));
    if let Ok(packet) = tcp::Packet::new_checked(data) {
        black_box((
            packet.payload(),
            packet.seq_len(),
            packet.verify_checksum(src, src),
        ));
        black_box(tcp::check_flags(packet.flags()).is_ok());
        if let Ok(repr) = tcp::Repr::parse(&packet) {
            // Options may come twice; once emitted they are there once.
            let mut out = vec![0; repr.buffer_len()];
            repr.emit(&mut tcp::Packet::new_unchecked(&mut out[..]));
            let again = tcp::Packet::new_checked(&out[..]).unwrap();
            assert_eq!(tcp::Repr::parse(&again), Ok(repr));
        }
        let mut copy = data.to_vec();
        let mut packet = tcp::Packet::new_checked(&mut copy[..]).unwrap();
        packet.fill_checksum(src, src);
        packet.clamp_mss(536);
        assert!(packet.verify_checksum(src, src));
    }
    if let Ok(packet) = udp::Packet::new_checked(data) {
        black_box((packet.payload(), packet.verify_checksum(src, src)));
        let repr = udp::Repr::parse(&packet).unwrap();
        assert_eq!(usize::from(repr.payload_len), packet.payload().len());
    }
    if let Ok(packet) = icmp::Packet::new_checked(data) {
        black_box((
            packet.echo_ident(),
            packet.mtu(),
            packet.pointer(),
            packet.is_error(),
        ));
        if let Ok(repr) = icmp::Repr::parse(&packet) {
            let mut out = vec![0; repr.buffer_len()];
            repr.emit(&mut icmp::Packet::new_unchecked(&mut out[..]));
            assert_eq!(
                icmp::Repr::parse(&icmp::Packet::new_checked(&out[..]).unwrap()),
                Ok(repr)
            );
        }
    }
    if let Ok(packet) = icmp6::Packet::new_checked(data) {
        black_box((
            packet.target(),
            packet.mtu(),
            packet.pointer(),
            packet.echo_seq(),
        ));
        assert!(packet.nd_options().count() <= data.len() / 8 + 1);
        if let Ok(repr) = icmp6::Repr::parse(&packet) {
            let mut out = vec![0; repr.buffer_len()];
            repr.emit(&mut icmp6::Packet::new_unchecked(&mut out[..]));
            assert_eq!(
                icmp6::Repr::parse(&icmp6::Packet::new_checked(&out[..]).unwrap()),
                Ok(repr)
            );
        }
    }
}
