// Seeded random packets for the short fuzz runs of normal tests: frames that are right, then broken in
// a few places, because bytes that are random from the start never get past the first check.

use wire::{arp, ether, icmp, icmp6, ipv4, ipv6, proto, tcp, udp};

/// xorshift64*: the sequence of a seed is the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A frame, right except for up to four changed bytes and perhaps a wrong length.
pub(crate) fn frame(random: &mut Random) -> Vec<u8> {
    let (ethertype, packet) = match random.below(9) {
        0 => (ether::EtherType::ARP, arp_packet(random)),
        1..5 => (ether::EtherType::IPV4, ip4_packet(random)),
        _ => (ether::EtherType::IPV6, ip6_packet(random)),
    };
    let header = ether::Repr {
        dst: ether::Addr([2, 0, 0, 0, 0, 2]),
        src: ether::Addr([2, 0, 0, 0, 0, 1]),
        ethertype,
    };
    let mut bytes = vec![0; header.buffer_len()];
    header.emit(&mut ether::Frame::new_unchecked(&mut bytes[..]));
    if random.below(8) == 0 {
        bytes[12..].copy_from_slice(&ether::EtherType::VLAN.0.to_be_bytes());
        bytes.extend([0, 42]);
        bytes.extend(ethertype.0.to_be_bytes());
    }
    bytes.extend(packet);
    for _ in 0..random.below(5) {
        let at = random.below(bytes.len());
        bytes[at] = random.next() as u8;
    }
    match random.below(6) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 => bytes.extend([0; 9]),
        _ => {}
    }
    bytes
}

fn arp_packet(random: &mut Random) -> Vec<u8> {
    let repr = arp::Repr {
        operation: arp::Operation(1 + random.below(2) as u16),
        sender_ether: ether::Addr([2, 0, 0, 0, 0, 1]),
        sender_ip: [192, 0, 2, 1].into(),
        target_ether: ether::Addr::ZERO,
        target_ip: [192, 0, 2, 2].into(),
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut arp::Packet::new_unchecked(&mut bytes[..]));
    bytes
}

fn ip4_packet(random: &mut Random) -> Vec<u8> {
    let (src, dst) = ([192, 0, 2, 1].into(), [198, 51, 100, 2].into());
    let (protocol, body) = transport(random, proto::ICMP, src, dst);
    let fragment = random.below(10) == 0;
    let repr = ipv4::Repr {
        src: [192, 0, 2, 1].into(),
        dst: [198, 51, 100, 2].into(),
        protocol,
        ttl: random.next() as u8,
        tos: 0,
        ident: 7,
        dont_fragment: random.below(2) == 0,
        more_fragments: fragment && random.below(2) == 0,
        fragment_offset: if fragment {
            (random.below(3) * 8) as u16
        } else {
            0
        },
        payload_len: body.len() as u16,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut ipv4::Packet::new_unchecked(&mut bytes[..]));
    if random.below(8) == 0 {
        options4(&mut bytes, random);
    }
    bytes.extend(body);
    bytes
}

/// Makes the header longer by a router alert, a record route or padding.
fn options4(bytes: &mut Vec<u8>, random: &mut Random) {
    let options: &[u8] = [
        &[148, 4, 0, 0][..],
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[1, 1, 1, 0],
    ][random.below(3)];
    bytes.extend(options);
    let mut packet = ipv4::Packet::new_unchecked(&mut bytes[..]);
    packet.set_header_len(20 + options.len());
    packet.set_total_len(packet.total_len() + options.len() as u16);
    packet.fill_checksum();
}

fn ip6_packet(random: &mut Random) -> Vec<u8> {
    let src: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    let dst: std::net::Ipv6Addr = "2001:db8::2".parse().unwrap();
    let (protocol, body) = transport(random, proto::ICMP6, src.into(), dst.into());
    // Extension headers from the last to the first.
    let (mut next, mut chain) = (protocol, body);
    for _ in 0..random.below(4) {
        let kind = [0, 43, 44, 51, 60][random.below(5)];
        let mut header = vec![
            next,
            0,
            [0, 1, 2, 5][random.below(4)],
            random.below(6) as u8,
        ];
        header.extend(random.bytes(4));
        if kind == 51 {
            header[1] = 0;
        }
        header.extend(chain);
        (next, chain) = (kind, header);
    }
    let repr = ipv6::Repr {
        src,
        dst,
        next_header: next,
        hop_limit: [255, 64, 1][random.below(3)],
        traffic_class: 0,
        flow_label: 0,
        payload_len: chain.len() as u16,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut ipv6::Packet::new_unchecked(&mut bytes[..]));
    bytes.extend(chain);
    bytes
}

fn transport(
    random: &mut Random,
    icmp: u8,
    src: std::net::IpAddr,
    dst: std::net::IpAddr,
) -> (u8, Vec<u8>) {
    let payload_len = random.below(80);
    let payload = random.bytes(payload_len);
    match random.below(4) {
        0 => (proto::UDP, datagram(&payload, src, dst)),
        1 => (icmp, message(random, icmp, &payload, src, dst)),
        _ => (proto::TCP, segment(random, &payload, src, dst)),
    }
}

fn datagram(payload: &[u8], src: std::net::IpAddr, dst: std::net::IpAddr) -> Vec<u8> {
    let repr = udp::Repr {
        src_port: 53,
        dst_port: 4000,
        payload_len: payload.len() as u16,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    bytes.extend(payload);
    let mut packet = udp::Packet::new_unchecked(&mut bytes[..]);
    repr.emit(&mut packet);
    packet.fill_checksum(src, dst);
    bytes
}

fn segment(
    random: &mut Random,
    payload: &[u8],
    src: std::net::IpAddr,
    dst: std::net::IpAddr,
) -> Vec<u8> {
    let repr = tcp::Repr {
        src_port: 4000,
        dst_port: 80,
        seq: random.next() as u32,
        ack: random.next() as u32,
        flags: random.next() as u8,
        window: 512,
        urgent: 0,
        mss: (random.below(2) == 0).then_some(1460),
        window_scale: (random.below(2) == 0).then_some(7),
        sack_permitted: random.below(2) == 0,
        timestamps: (random.below(2) == 0).then_some((1, 2)),
    };
    let mut bytes = vec![0; repr.buffer_len()];
    bytes.extend(payload);
    let mut packet = tcp::Packet::new_unchecked(&mut bytes[..]);
    repr.emit(&mut packet);
    packet.fill_checksum(src, dst);
    bytes
}

fn message(
    random: &mut Random,
    protocol: u8,
    payload: &[u8],
    src: std::net::IpAddr,
    dst: std::net::IpAddr,
) -> Vec<u8> {
    let kinds4 = [0, 3, 5, 8, 11, 12, 13];
    let kinds6 = [1, 2, 3, 4, 128, 129, 133, 134, 135, 136, 137];
    let code = [0, 0, 0, 4][random.below(4)];
    match (protocol, src, dst) {
        (proto::ICMP6, std::net::IpAddr::V6(src), std::net::IpAddr::V6(dst)) => {
            let kind = kinds6[random.below(kinds6.len())];
            let repr = icmp6::Repr::Other {
                kind,
                code,
                rest: [0, 0, 5, 0],
                data: payload,
            };
            let mut bytes = vec![0; repr.buffer_len()];
            let mut packet = icmp6::Packet::new_unchecked(&mut bytes[..]);
            repr.emit(&mut packet);
            packet.fill_checksum(src, dst);
            bytes
        }
        _ => {
            let kind = kinds4[random.below(kinds4.len())];
            let repr = icmp::Repr::Other {
                kind,
                code,
                rest: [0, 0, 5, 0],
                data: payload,
            };
            let mut bytes = vec![0; repr.buffer_len()];
            repr.emit(&mut icmp::Packet::new_unchecked(&mut bytes[..]));
            bytes
        }
    }
}
