//! smoltcp's wire layer as an oracle: where both accept bytes, they read the same from them; where only one
//! does, the difference is a named one. On seeded random frames, and on captures of real ones.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use smoltcp::wire::{
    ArpPacket, ArpRepr, EthernetFrame, Icmpv4Packet, Icmpv6Packet, Ipv4Packet, Ipv6Packet,
    TcpOption as Theirs, TcpPacket, UdpPacket,
};
use wire::tcp::TcpOption;
use wire::{Malformed, arp, ether, icmp, icmp6, ipv4, ipv6, proto, tcp, udp, vlan};

#[path = "../../../tests/fuzz/targets/random.rs"]
mod random;

/// How often each layer was compared: a test that compares nothing is none.
#[derive(Default, Debug)]
struct Compared {
    frames: usize,
    arp: usize,
    ip4: usize,
    ip6: usize,
    tcp: usize,
    udp: usize,
    icmp: usize,
}

fn frame(bytes: &[u8], n: &mut Compared) {
    let (ours, theirs) = (
        ether::Frame::new_checked(bytes),
        EthernetFrame::new_checked(bytes),
    );
    assert_eq!(ours.is_ok(), theirs.is_ok());
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
        return;
    };
    n.frames += 1;
    assert_eq!(ours.dst().0, theirs.dst_addr().0);
    assert_eq!(ours.src().0, theirs.src_addr().0);
    assert_eq!(ours.ethertype().0, u16::from(theirs.ethertype()));
    assert_eq!(ours.payload(), theirs.payload());
    let (mut ethertype, mut payload) = (ours.ethertype(), ours.payload());
    while let ether::EtherType::VLAN | ether::EtherType::QINQ = ethertype {
        let Some(rest) = payload.get(vlan::HEADER_LEN..) else {
            return;
        };
        ethertype = vlan::Packet::new_checked(payload).unwrap().ethertype();
        payload = rest;
    }
    match ethertype {
        ether::EtherType::ARP => arp_packet(payload, n),
        ether::EtherType::IPV4 => ip4_packet(payload, n),
        ether::EtherType::IPV6 => ip6_packet(payload, n),
        _ => {}
    }
}

fn arp_packet(bytes: &[u8], n: &mut Compared) {
    // Theirs takes any format in `new_checked` and refuses others in `parse`.
    let theirs = ArpPacket::new_checked(bytes)
        .ok()
        .and_then(|p| ArpRepr::parse(&p).ok());
    let ours = arp::Packet::new_checked(bytes).and_then(|p| arp::Repr::parse(&p));
    assert_eq!(ours.is_ok(), theirs.is_some(), "{bytes:02x?}");
    if let (
        Ok(ours),
        Some(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_hardware_addr,
            target_protocol_addr,
        }),
    ) = (ours, theirs)
    {
        n.arp += 1;
        assert_eq!(ours.operation.0, u16::from(operation));
        assert_eq!(ours.sender_ether.0, source_hardware_addr.0);
        assert_eq!(ours.sender_ip, source_protocol_addr);
        assert_eq!(ours.target_ether.0, target_hardware_addr.0);
        assert_eq!(ours.target_ip, target_protocol_addr);
    }
}

fn ip4_packet(bytes: &[u8], n: &mut Compared) {
    let (ours, theirs) = (
        ipv4::Packet::new_checked(bytes),
        Ipv4Packet::new_checked(bytes),
    );
    if ours == Err(Malformed::Ip4Version) {
        return; // theirs looks at the version in `parse` only
    }
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{bytes:02x?}");
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
        return;
    };
    n.ip4 += 1;
    assert_eq!(ours.header_len(), usize::from(theirs.header_len()));
    assert_eq!(ours.total_len(), theirs.total_len());
    assert_eq!(ours.ident(), theirs.ident());
    assert_eq!(ours.dont_fragment(), theirs.dont_frag());
    assert_eq!(ours.more_fragments(), theirs.more_frags());
    assert_eq!(ours.fragment_offset(), theirs.frag_offset());
    assert_eq!(ours.tos(), theirs.dscp() << 2 | theirs.ecn());
    assert_eq!(
        (ours.ttl(), ours.checksum()),
        (theirs.hop_limit(), theirs.checksum())
    );
    assert_eq!(ours.protocol(), u8::from(theirs.next_header()));
    assert_eq!(
        (ours.src(), ours.dst()),
        (theirs.src_addr(), theirs.dst_addr())
    );
    assert_eq!(ours.payload(), theirs.payload());
    assert_eq!(
        ours.verify_checksum(),
        theirs.verify_checksum(),
        "{bytes:02x?}"
    );
    if !ours.is_fragment() {
        let (src, dst) = (ours.src().into(), ours.dst().into());
        transport(ours.protocol(), src, dst, ours.payload(), n);
    }
}

fn ip6_packet(bytes: &[u8], n: &mut Compared) {
    let (ours, theirs) = (
        ipv6::Packet::new_checked(bytes),
        Ipv6Packet::new_checked(bytes),
    );
    if ours == Err(Malformed::Ip6Version) {
        return; // theirs looks at the version in `parse` only
    }
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{bytes:02x?}");
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
        return;
    };
    n.ip6 += 1;
    assert_eq!(ours.traffic_class(), theirs.traffic_class());
    assert_eq!(ours.flow_label(), theirs.flow_label());
    assert_eq!(ours.payload_len(), theirs.payload_len());
    assert_eq!(ours.hop_limit(), theirs.hop_limit());
    assert_eq!(ours.next_header(), u8::from(theirs.next_header()));
    assert_eq!(
        (ours.src(), ours.dst()),
        (theirs.src_addr(), theirs.dst_addr())
    );
    assert_eq!(ours.payload(), theirs.payload());
    if let Ok(walk) = ipv6::walk(bytes)
        && !walk.is_fragment()
    {
        let (src, dst) = (ours.src().into(), ours.dst().into());
        transport(walk.next_header, src, dst, &bytes[walk.offset..walk.end], n);
    }
}

fn transport(protocol: u8, src: IpAddr, dst: IpAddr, bytes: &[u8], n: &mut Compared) {
    match (protocol, src, dst) {
        (proto::TCP, ..) => segment(src, dst, bytes, n),
        (proto::UDP, ..) => datagram(src, dst, bytes, n),
        (proto::ICMP, ..) => message4(bytes, n),
        (proto::ICMP6, IpAddr::V6(src), IpAddr::V6(dst)) => {
            let ours = icmp6::Packet::new_checked(bytes);
            // Theirs wants 4 bytes where it knows no more of the type.
            let (Ok(ours), Ok(theirs)) = (ours, Icmpv6Packet::new_checked(bytes)) else {
                return;
            };
            n.icmp += 1;
            assert_eq!(
                (ours.kind(), ours.code()),
                (u8::from(theirs.msg_type()), theirs.msg_code())
            );
            assert_eq!(
                ours.verify_checksum(src, dst),
                theirs.verify_checksum(&src, &dst)
            );
        }
        _ => {}
    }
}

fn segment(src: IpAddr, dst: IpAddr, bytes: &[u8], n: &mut Compared) {
    let (ours, theirs) = (
        tcp::Packet::new_checked(bytes),
        TcpPacket::new_checked(bytes),
    );
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{bytes:02x?}");
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
        return;
    };
    n.tcp += 1;
    assert_eq!(
        (ours.src_port(), ours.dst_port()),
        (theirs.src_port(), theirs.dst_port())
    );
    assert_eq!(ours.seq(), theirs.seq_number().0 as u32);
    assert_eq!(ours.ack(), theirs.ack_number().0 as u32);
    assert_eq!(ours.header_len(), usize::from(theirs.header_len()));
    let flags = [
        theirs.fin(),
        theirs.syn(),
        theirs.rst(),
        theirs.psh(),
        theirs.ack(),
        theirs.urg(),
    ];
    for (bit, flag) in flags.into_iter().enumerate() {
        assert_eq!(ours.flags() >> bit & 1 == 1, flag, "flag {bit}");
    }
    assert_eq!(
        (ours.window(), ours.urgent()),
        (theirs.window_len(), theirs.urgent_at())
    );
    assert_eq!(ours.seq_len() as usize, theirs.segment_len());
    assert_eq!(ours.payload(), theirs.payload());
    assert_eq!(
        ours.verify_checksum(src, dst),
        theirs.verify_checksum(&src.into(), &dst.into())
    );
    options(ours.option_bytes());
}

fn options(bytes: &[u8]) {
    let mut rest = bytes;
    for option in tcp::Options::new(bytes) {
        let theirs = Theirs::parse(rest);
        let (Ok(option), Ok((after, theirs))) = (option, theirs) else {
            // Ours refuses timestamps of a wrong length and options of length below 2; so does theirs all
            // but the first.
            let timestamps = bytes.contains(&8);
            assert!(
                option.is_err() && (theirs.is_err() || timestamps),
                "{bytes:02x?}"
            );
            return;
        };
        rest = after;
        match (option, theirs) {
            (TcpOption::Nop, Theirs::NoOperation) => {}
            (TcpOption::Mss(a), Theirs::MaxSegmentSize(b)) => assert_eq!(a, b),
            (TcpOption::WindowScale(a), Theirs::WindowScale(b)) => assert_eq!(a, b),
            (TcpOption::SackPermitted, Theirs::SackPermitted) => {}
            (TcpOption::Sack(_), Theirs::SackRange(_)) => {}
            (TcpOption::Timestamps { value, echo }, Theirs::TimeStamp { tsval, tsecr }) => {
                assert_eq!((value, echo), (tsval, tsecr));
            }
            (TcpOption::Other { kind, data }, Theirs::Unknown { kind: k, data: d }) => {
                assert_eq!((kind, data), (k, d));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn datagram(src: IpAddr, dst: IpAddr, bytes: &[u8], n: &mut Compared) {
    let (ours, theirs) = (
        udp::Packet::new_checked(bytes),
        UdpPacket::new_checked(bytes),
    );
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{bytes:02x?}");
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
        return;
    };
    n.udp += 1;
    assert_eq!(
        (ours.src_port(), ours.dst_port()),
        (theirs.src_port(), theirs.dst_port())
    );
    assert_eq!(
        (ours.len(), ours.checksum()),
        (theirs.len(), theirs.checksum())
    );
    assert_eq!(ours.payload(), theirs.payload());
    if ours.checksum() != 0 {
        let right = theirs.verify_checksum(&src.into(), &dst.into());
        assert_eq!(ours.verify_checksum(src, dst), right, "{bytes:02x?}");
    }
}

fn message4(bytes: &[u8], n: &mut Compared) {
    let (ours, theirs) = (
        icmp::Packet::new_checked(bytes),
        Icmpv4Packet::new_checked(bytes),
    );
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{bytes:02x?}");
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
        return;
    };
    n.icmp += 1;
    assert_eq!(
        (ours.kind(), ours.code()),
        (u8::from(theirs.msg_type()), theirs.msg_code())
    );
    assert_eq!(
        (ours.echo_ident(), ours.echo_seq()),
        (theirs.echo_ident(), theirs.echo_seq_no())
    );
    assert_eq!(
        ours.verify_checksum(),
        theirs.verify_checksum(),
        "{bytes:02x?}"
    );
}

#[test]
fn agrees_on_random_frames() {
    let mut n = Compared::default();
    for seed in 1..=20_000 {
        let bytes = random::frame(&mut random::Random(seed));
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| frame(&bytes, &mut n)));
        assert!(run.is_ok(), "seed {seed}: {bytes:02x?}");
    }
    println!("{n:?}");
    assert!(n.arp > 500 && n.ip4 > 2000 && n.ip6 > 2000, "{n:?}");
    assert!(n.tcp > 1000 && n.udp > 500 && n.icmp > 500, "{n:?}");
}

/// The captures beside the repository, or beside what `FUGU_SHARED` names.
fn captures() -> Option<Vec<PathBuf>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("FUGU_SHARED").map_or(beside, PathBuf::from);
    let mut files = Vec::new();
    for directory in std::fs::read_dir(shared.join("pcaps")).ok()?.flatten() {
        let entries = std::fs::read_dir(directory.path());
        files.extend(
            entries
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path()),
        );
    }
    files.sort();
    Some(files)
}

#[test]
fn agrees_on_captures() {
    let Some(files) = captures() else {
        println!("skipped: no ../shared");
        return;
    };
    let mut n = Compared::default();
    for file in files {
        let bytes = simnic::capture::load(&file).unwrap();
        let Ok(reader) = simnic::capture::Reader::new(&bytes) else {
            continue;
        };
        for packet in reader.map_while(Result::ok) {
            let Some(bytes) = packet.ethernet() else {
                continue;
            };
            let run =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| frame(&bytes, &mut n)));
            assert!(run.is_ok(), "{}: {bytes:02x?}", file.display());
            assert!(!format!("{:#}", wire::print::Frame(&bytes)).is_empty());
        }
    }
    println!("{n:?}");
    assert!(
        n.frames > 1000 && n.tcp > 100 && n.udp > 100 && n.icmp > 50,
        "{n:?}"
    );
}
