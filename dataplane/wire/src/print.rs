//! Packets as a line of text, the way OpenBSD's tcpdump(8) prints them.
//!
//! Prints whatever it is given and never panics: bytes that break a rule are printed with the rule's
//! name in brackets. Used by logs, `tcpdump -i pflog0` on the console, traces and failing tests.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ether::EtherType;
use crate::tcp::TcpOption;
use crate::{Malformed, arp, ether, icmp, icmp6, ipv4, ipv6, proto, tcp, udp, vlan};

/// An Ethernet frame. `{:#}` prints the link-layer header too, as `tcpdump -e` does.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a>(pub &'a [u8]);

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frame = match ether::Frame::new_checked(self.0) {
            Ok(frame) => frame,
            Err(rule) => return broken(f, rule),
        };
        if f.alternate() {
            let ethertype = frame.ethertype().0;
            write!(
                f,
                "{} {} {ethertype:04x} {}: ",
                frame.src(),
                frame.dst(),
                self.0.len()
            )?;
        }
        payload(f, frame.ethertype(), frame.payload(), 0)
    }
}

/// An IPv4 or IPv6 packet, told apart by its version field.
#[derive(Debug, Clone, Copy)]
pub struct Ip<'a>(pub &'a [u8]);

impl fmt::Display for Ip<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first().map(|b| b >> 4) {
            Some(4) => ip4(f, self.0),
            Some(6) => ip6(f, self.0),
            Some(version) => write!(f, "[ip version {version}]"),
            None => f.write_str("[empty]"),
        }
    }
}

/// Most VLAN tags printed one inside the other.
const TAGS_MAX: usize = 4;

fn broken(f: &mut fmt::Formatter<'_>, rule: Malformed) -> fmt::Result {
    write!(f, "[bad: {rule}]")
}

fn payload(
    f: &mut fmt::Formatter<'_>,
    ethertype: EtherType,
    bytes: &[u8],
    tags: usize,
) -> fmt::Result {
    match ethertype {
        EtherType::IPV4 => ip4(f, bytes),
        EtherType::IPV6 => ip6(f, bytes),
        EtherType::ARP => arp(f, bytes),
        EtherType::VLAN | EtherType::QINQ if tags < TAGS_MAX => tag(f, bytes, tags),
        EtherType(value) => write!(f, "ethertype {value:04x} {}", bytes.len()),
    }
}

fn tag(f: &mut fmt::Formatter<'_>, bytes: &[u8], tags: usize) -> fmt::Result {
    match vlan::Packet::new_checked(bytes) {
        Ok(packet) => {
            write!(
                f,
                "802.1Q vid {} pri {} ",
                packet.vlan_id(),
                packet.priority()
            )?;
            payload(f, packet.ethertype(), packet.payload(), tags + 1)
        }
        Err(rule) => broken(f, rule),
    }
}

fn arp(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let packet = match arp::Packet::new_checked(bytes) {
        Ok(packet) => packet,
        Err(rule) => {
            f.write_str("arp ")?;
            return broken(f, rule);
        }
    };
    match packet.operation() {
        arp::Operation::REQUEST => {
            write!(
                f,
                "arp who-has {} tell {}",
                packet.target_ip(),
                packet.sender_ip()
            )
        }
        arp::Operation::REPLY => {
            write!(
                f,
                "arp reply {} is-at {}",
                packet.sender_ip(),
                packet.sender_ether()
            )
        }
        arp::Operation(other) => write!(f, "arp operation {other}"),
    }
}

fn ip4(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let packet = match ipv4::Packet::new_checked(bytes) {
        Ok(packet) => packet,
        Err(rule) => {
            f.write_str("ip ")?;
            return broken(f, rule);
        }
    };
    let pair = Pair {
        src: packet.src().into(),
        dst: packet.dst().into(),
    };
    match ipv4::walk(bytes) {
        Ok(walk) if walk.is_later_fragment => write!(f, "{pair}: frag")?,
        Ok(walk) => transport(f, pair, walk.protocol, &bytes[walk.offset..walk.end])?,
        Err(rule) => {
            write!(f, "{pair}: ")?;
            broken(f, rule)?;
        }
    }
    ip4_tail(f, &packet)
}

/// What tcpdump puts in parentheses and brackets after the payload.
fn ip4_tail(f: &mut fmt::Formatter<'_>, packet: &ipv4::Packet<&[u8]>) -> fmt::Result {
    if packet.dont_fragment() {
        f.write_str(" (DF)")?;
    }
    if packet.is_fragment() {
        let more = if packet.more_fragments() { "+" } else { "" };
        let (ident, offset) = (packet.ident(), packet.fragment_offset());
        write!(
            f,
            " (frag {ident}:{}@{offset}{more})",
            packet.payload().len()
        )?;
    }
    if packet.tos() != 0 {
        write!(f, " [tos {:#x}]", packet.tos())?;
    }
    if packet.ttl() <= 1 {
        write!(f, " [ttl {}]", packet.ttl())?;
    }
    if !packet.verify_checksum() {
        f.write_str(" [bad ip cksum]")?;
    }
    Ok(())
}

fn ip6(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let packet = match ipv6::Packet::new_checked(bytes) {
        Ok(packet) => packet,
        Err(rule) => {
            f.write_str("ip6 ")?;
            return broken(f, rule);
        }
    };
    let pair = Pair {
        src: packet.src().into(),
        dst: packet.dst().into(),
    };
    match ipv6::walk(bytes) {
        Ok(walk) if walk.next_header == proto::FRAGMENT => write!(f, "{pair}: frag")?,
        Ok(walk) => transport(f, pair, walk.next_header, &bytes[walk.offset..walk.end])?,
        Err(rule) => {
            write!(f, "{pair}: ")?;
            broken(f, rule)?;
        }
    }
    if let Ok(Some(frag)) = ipv6::walk(bytes).map(|walk| walk.fragment) {
        let more = if frag.more { "+" } else { "" };
        write!(f, " (frag {:#x}@{}{more})", frag.ident, frag.offset)?;
    }
    if packet.traffic_class() != 0 {
        write!(f, " [class {:#x}]", packet.traffic_class())?;
    }
    if packet.hop_limit() <= 1 {
        write!(f, " [hlim {}]", packet.hop_limit())?;
    }
    Ok(())
}

/// Source and destination, with or without ports.
#[derive(Clone, Copy)]
struct Pair {
    src: IpAddr,
    dst: IpAddr,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", self.src, self.dst)
    }
}

impl Pair {
    fn with_ports(self, f: &mut fmt::Formatter<'_>, src_port: u16, dst_port: u16) -> fmt::Result {
        write!(f, "{}.{src_port} > {}.{dst_port}: ", self.src, self.dst)
    }
}

fn transport(f: &mut fmt::Formatter<'_>, pair: Pair, protocol: u8, bytes: &[u8]) -> fmt::Result {
    match (protocol, pair.src, pair.dst) {
        (proto::TCP, ..) => segment(f, pair, bytes),
        (proto::UDP, ..) => datagram(f, pair, bytes),
        (proto::ICMP, ..) => {
            write!(f, "{pair}: icmp: ")?;
            message4(f, bytes)
        }
        (proto::ICMP6, IpAddr::V6(src), IpAddr::V6(dst)) => {
            write!(f, "{pair}: icmp6: ")?;
            message6(f, src, dst, bytes)
        }
        (protocol, ..) => write!(f, "{pair}: {} {}", Protocol(protocol), bytes.len()),
    }
}

/// A protocol's name, or its number.
struct Protocol(u8);

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            proto::IGMP => "igmp",
            proto::IPIP => "ipip",
            proto::IPV6 => "ip6",
            proto::GRE => "gre",
            proto::ESP => "esp",
            proto::AH => "ah",
            proto::NO_NEXT => "no next header",
            proto::CARP => "carp",
            proto::SCTP => "sctp",
            proto::PFSYNC => "pfsync",
            other => return write!(f, "ip-proto-{other}"),
        })
    }
}

fn datagram(f: &mut fmt::Formatter<'_>, pair: Pair, bytes: &[u8]) -> fmt::Result {
    let Ok((src_port, dst_port)) = udp::ports(bytes) else {
        write!(f, "{pair}: udp ")?;
        return broken(f, Malformed::UdpShort);
    };
    pair.with_ports(f, src_port, dst_port)?;
    match udp::Packet::new_checked(bytes) {
        Ok(packet) => {
            write!(f, "udp {}", packet.payload().len())?;
            sum(f, packet.verify_checksum(pair.src, pair.dst), "udp")
        }
        Err(rule) => {
            f.write_str("udp ")?;
            broken(f, rule)
        }
    }
}

fn sum(f: &mut fmt::Formatter<'_>, right: bool, name: &str) -> fmt::Result {
    if right {
        return Ok(());
    }
    write!(f, " [bad {name} cksum]")
}

fn segment(f: &mut fmt::Formatter<'_>, pair: Pair, bytes: &[u8]) -> fmt::Result {
    let packet = match tcp::Packet::new_checked(bytes) {
        Ok(packet) => packet,
        Err(rule) => {
            if let Ok(start) = tcp::start(bytes) {
                pair.with_ports(f, start.src_port, start.dst_port)?;
            } else {
                write!(f, "{pair}: tcp ")?;
            }
            return broken(f, rule);
        }
    };
    pair.with_ports(f, packet.src_port(), packet.dst_port())?;
    write!(f, "{}", Flags(packet.flags()))?;
    let (seq, len) = (packet.seq(), packet.payload().len());
    if len > 0 || packet.flags() & (tcp::SYN | tcp::FIN | tcp::RST) != 0 {
        write!(f, " {seq}:{}({len})", seq.wrapping_add(len as u32))?;
    }
    if packet.flags() & tcp::ACK != 0 {
        write!(f, " ack {}", packet.ack())?;
    }
    write!(f, " win {}", packet.window())?;
    if packet.flags() & tcp::URG != 0 {
        write!(f, " urg {}", packet.urgent())?;
    }
    sum(f, packet.verify_checksum(pair.src, pair.dst), "tcp")?;
    options(f, packet.options())
}

/// TCP flags in tcpdump's letters; `.` where neither SYN, FIN, RST nor PSH is set.
#[derive(Debug, Clone, Copy)]
pub struct Flags(pub u8);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [
            (tcp::SYN, "S"),
            (tcp::FIN, "F"),
            (tcp::RST, "R"),
            (tcp::PSH, "P"),
            (tcp::CWR, "W"),
            (tcp::ECE, "E"),
        ];
        if letters.iter().all(|&(flag, _)| self.0 & flag == 0) {
            return f.write_str(".");
        }
        for (_, letter) in letters.iter().filter(|&&(flag, _)| self.0 & flag != 0) {
            f.write_str(letter)?;
        }
        Ok(())
    }
}

fn options(f: &mut fmt::Formatter<'_>, options: tcp::Options<'_>) -> fmt::Result {
    for (n, item) in options.clone().enumerate() {
        f.write_str(if n == 0 { " <" } else { "," })?;
        match item {
            Ok(TcpOption::Nop) => f.write_str("nop")?,
            Ok(TcpOption::Mss(mss)) => write!(f, "mss {mss}")?,
            Ok(TcpOption::WindowScale(shift)) => write!(f, "wscale {shift}")?,
            Ok(TcpOption::SackPermitted) => f.write_str("sackOK")?,
            Ok(TcpOption::Sack(blocks)) => write!(f, "sack {}", blocks.len() / 8)?,
            Ok(TcpOption::Timestamps { value, echo }) => write!(f, "timestamp {value} {echo}")?,
            Ok(TcpOption::Other { kind, .. }) => write!(f, "opt-{kind}")?,
            Err(_) => f.write_str("[bad opt]")?,
        }
    }
    match options.count() {
        0 => Ok(()),
        _ => f.write_str(">"),
    }
}

fn message4(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let packet = match icmp::Packet::new_checked(bytes) {
        Ok(packet) => packet,
        Err(rule) => return broken(f, rule),
    };
    let quote = Quote4(packet.payload());
    match (packet.kind(), packet.code()) {
        (icmp::kind::ECHO_REQUEST, _) => {
            echo(f, "request", packet.echo_ident(), packet.echo_seq())?
        }
        (icmp::kind::ECHO_REPLY, _) => echo(f, "reply", packet.echo_ident(), packet.echo_seq())?,
        (icmp::kind::UNREACHABLE, icmp::code::FRAGMENTATION_NEEDED) => {
            write!(
                f,
                "{quote} unreachable - need to frag (mtu {})",
                packet.mtu()
            )?;
        }
        (icmp::kind::UNREACHABLE, code) => write!(f, "{quote} {}", unreachable4(code))?,
        (icmp::kind::REDIRECT, _) => {
            write!(
                f,
                "redirect {quote} to {}",
                Ipv4Addr::from_octets(packet.rest())
            )?;
        }
        (icmp::kind::TIME_EXCEEDED, 0) => f.write_str("time exceeded in-transit")?,
        (icmp::kind::TIME_EXCEEDED, _) => f.write_str("ip reassembly time exceeded")?,
        (icmp::kind::PARAM_PROBLEM, _) => {
            write!(f, "parameter problem - octet {}", packet.pointer())?;
        }
        (kind, code) => write!(f, "type-#{kind} code-#{code}")?,
    }
    sum(f, packet.verify_checksum(), "icmp")
}

fn echo(f: &mut fmt::Formatter<'_>, what: &str, ident: u16, seq: u16) -> fmt::Result {
    write!(f, "echo {what} (id:{ident:04x} seq:{seq})")
}

fn unreachable4(code: u8) -> &'static str {
    match code {
        icmp::code::NET_UNREACHABLE => "net unreachable",
        icmp::code::HOST_UNREACHABLE => "unreachable",
        icmp::code::PROTO_UNREACHABLE => "protocol unreachable",
        icmp::code::PORT_UNREACHABLE => "port unreachable",
        icmp::code::SOURCE_ROUTE_FAILED => "unreachable - source route failed",
        icmp::code::NET_PROHIBITED => "net unreachable - admin prohibited",
        icmp::code::HOST_PROHIBITED => "unreachable - admin prohibited",
        icmp::code::ADMIN_PROHIBITED => "unreachable - admin prohibited filter",
        _ => "unreachable - other code",
    }
}

/// The quoted packet in an ICMP error, as its destination and port. Quotations are cut, so the total
/// length is not checked.
struct Quote4<'a>(&'a [u8]);

impl fmt::Display for Quote4<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(dst) = self.0.get(16..20) else {
            return f.write_str("[short quote]");
        };
        write!(f, "{}.{}.{}.{}", dst[0], dst[1], dst[2], dst[3])?;
        let header_len = usize::from(self.0[0] & 0x0f) * 4;
        quoted_port(f, self.0[9], self.0.get(header_len..).unwrap_or(&[]))
    }
}

fn quoted_port(f: &mut fmt::Formatter<'_>, protocol: u8, bytes: &[u8]) -> fmt::Result {
    match (protocol, udp::ports(bytes)) {
        (proto::UDP, Ok((_, port))) => write!(f, " udp port {port}"),
        (proto::TCP, Ok((_, port))) => write!(f, " tcp port {port}"),
        _ => Ok(()),
    }
}

/// The quoted packet in an ICMPv6 error.
struct Quote6<'a>(&'a [u8]);

impl fmt::Display for Quote6<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dst: Option<[u8; 16]> = self.0.get(24..40).and_then(|dst| dst.try_into().ok());
        let Some(dst) = dst else {
            return f.write_str("[short quote]");
        };
        write!(f, "{}", Ipv6Addr::from_octets(dst))?;
        quoted_port(f, self.0[6], &self.0[40..])
    }
}

fn message6(f: &mut fmt::Formatter<'_>, src: Ipv6Addr, dst: Ipv6Addr, bytes: &[u8]) -> fmt::Result {
    let packet = match icmp6::Packet::new_checked(bytes) {
        Ok(packet) => packet,
        Err(rule) => return broken(f, rule),
    };
    match icmp6::Repr::parse(&packet) {
        Ok(repr) => meaning6(f, &repr)?,
        Err(rule) => broken(f, rule)?,
    }
    sum(f, packet.verify_checksum(src, dst), "icmp6")
}

fn meaning6(f: &mut fmt::Formatter<'_>, repr: &icmp6::Repr<'_>) -> fmt::Result {
    match *repr {
        icmp6::Repr::Unreachable { code, quote } => {
            write!(f, "{} {}", Quote6(quote), unreachable6(code))
        }
        icmp6::Repr::PacketTooBig { mtu, .. } => write!(f, "too big {mtu}"),
        icmp6::Repr::TimeExceeded { code: 0, .. } => f.write_str("time exceeded in-transit"),
        icmp6::Repr::TimeExceeded { .. } => f.write_str("ip6 reassembly time exceeded"),
        icmp6::Repr::ParamProblem { pointer, .. } => {
            write!(f, "parameter problem - octet {pointer}")
        }
        icmp6::Repr::EchoRequest { ident, seq, .. } => echo(f, "request", ident, seq),
        icmp6::Repr::EchoReply { ident, seq, .. } => echo(f, "reply", ident, seq),
        icmp6::Repr::RouterSolicit { .. } => f.write_str("router solicitation"),
        icmp6::Repr::RouterAdvert { lifetime_s, .. } => {
            write!(f, "router advertisement (lifetime {lifetime_s})")
        }
        icmp6::Repr::NeighborSolicit(ns) => {
            write!(f, "neighbor sol: who has {}", ns.target)
        }
        icmp6::Repr::NeighborAdvert(na) => {
            write!(f, "neighbor adv: tgt is {}", na.target)?;
            match na.target_link {
                Some(link) => write!(f, " at {link}"),
                None => Ok(()),
            }
        }
        icmp6::Repr::Other { kind, code, .. } => match kind {
            icmp6::kind::MLD_QUERY => f.write_str("multicast listener query"),
            icmp6::kind::MLD_REPORT => f.write_str("multicast listener report"),
            icmp6::kind::MLD_DONE => f.write_str("multicast listener done"),
            icmp6::kind::REDIRECT => f.write_str("redirect"),
            icmp6::kind::MLD2_REPORT => f.write_str("multicast listener report v2"),
            _ => write!(f, "type-#{kind} code-#{code}"),
        },
    }
}

fn unreachable6(code: u8) -> &'static str {
    match code {
        icmp6::code::NO_ROUTE => "unreachable route",
        icmp6::code::ADMIN_PROHIBITED => "unreachable prohibited",
        icmp6::code::BEYOND_SCOPE => "beyond scope",
        icmp6::code::ADDR_UNREACHABLE => "unreachable address",
        icmp6::code::PORT_UNREACHABLE => "unreachable port",
        icmp6::code::REJECT_ROUTE => "reject route",
        _ => "unreachable - other code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(ethertype: u16, parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1];
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(parts.concat());
        bytes
    }

    fn ip4_header(protocol: u8, payload_len: usize) -> Vec<u8> {
        let repr = ipv4::Repr {
            src: [192, 0, 2, 1].into(),
            dst: [198, 51, 100, 2].into(),
            protocol,
            ttl: 64,
            tos: 0,
            ident: 7,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: payload_len as u16,
        };
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut ipv4::Packet::new_unchecked(&mut bytes[..]));
        bytes
    }

    #[test]
    fn tcp_syn() {
        let repr = tcp::Repr {
            src_port: 4000,
            dst_port: 80,
            seq: 5,
            flags: tcp::SYN,
            window: 16384,
            mss: Some(1460),
            sack_permitted: true,
            ..tcp::Repr::default()
        };
        let mut segment = vec![0; repr.buffer_len()];
        let mut packet = tcp::Packet::new_unchecked(&mut segment[..]);
        repr.emit(&mut packet);
        packet.fill_checksum([192, 0, 2, 1].into(), [198, 51, 100, 2].into());
        let mut bytes = frame(0x0800, &[&ip4_header(proto::TCP, segment.len()), &segment]);
        let text =
            "192.0.2.1.4000 > 198.51.100.2.80: S 5:5(0) win 16384 <mss 1460,sackOK,nop,nop> (DF)";
        assert_eq!(Frame(&bytes).to_string(), text);
        assert_eq!(
            format!("{:#}", Frame(&bytes)),
            format!("52:54:00:00:00:01 52:54:00:00:00:02 0800 62: {text}")
        );
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(Frame(&bytes).to_string().contains("[bad tcp cksum]"));
    }

    #[test]
    fn arp_in_a_vlan() {
        let request = arp::Repr {
            operation: arp::Operation::REQUEST,
            sender_ether: ether::Addr([2, 0, 0, 0, 0, 1]),
            sender_ip: [192, 0, 2, 1].into(),
            target_ether: ether::Addr::ZERO,
            target_ip: [192, 0, 2, 2].into(),
        };
        let mut bytes = [0; arp::PACKET_LEN];
        request.emit(&mut arp::Packet::new_unchecked(&mut bytes[..]));
        let bytes = frame(0x8100, &[&[0, 42, 8, 6], &bytes]);
        assert_eq!(
            Frame(&bytes).to_string(),
            "802.1Q vid 42 pri 0 arp who-has 192.0.2.2 tell 192.0.2.1"
        );
    }

    #[test]
    fn unreachable_names_the_quoted_port() {
        let mut quote = ip4_header(proto::UDP, 8);
        quote.extend([0, 53, 0x30, 0x39, 0, 8, 0, 0]);
        let repr = icmp::Repr::Unreachable {
            code: icmp::code::PORT_UNREACHABLE,
            mtu: 0,
            quote: &quote,
        };
        let mut message = vec![0; repr.buffer_len()];
        repr.emit(&mut icmp::Packet::new_unchecked(&mut message[..]));
        let bytes = [ip4_header(proto::ICMP, message.len()), message].concat();
        assert_eq!(
            Ip(&bytes).to_string(),
            "192.0.2.1 > 198.51.100.2: icmp: 198.51.100.2 udp port 12345 port unreachable (DF)"
        );
    }

    #[test]
    fn broken_rules_are_printed() {
        assert_eq!(
            Frame(&[0; 5]).to_string(),
            "[bad: Ethernet header shorter than 14 bytes (IEEE 802.3 3.1.1)]"
        );
        let bytes = frame(0x0800, &[&[0x45; 10]]);
        assert!(
            Frame(&bytes)
                .to_string()
                .starts_with("ip [bad: IPv4 header shorter")
        );
        assert_eq!(Ip(&[]).to_string(), "[empty]");
        assert_eq!(Ip(&[0x50]).to_string(), "[ip version 5]");
    }

    /// Bytes that look like a packet up to the chosen layer, then anything.
    fn likely_frame() -> impl Strategy<Value = Vec<u8>> {
        let ethertype =
            prop::sample::select(vec![0x0800u16, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x1234]);
        let protocol = prop::sample::select(vec![0u8, 1, 2, 6, 17, 43, 44, 51, 58, 59, 60]);
        let rest = proptest::collection::vec(any::<u8>(), 0..200);
        (ethertype, protocol, rest, any::<bool>()).prop_map(
            |(ethertype, protocol, mut rest, tagged)| {
                let len = rest.len() as u16;
                if ethertype == 0x0800 && rest.len() >= 20 {
                    rest[0] = 0x45;
                    rest[2..4].copy_from_slice(&len.to_be_bytes());
                    rest[6] &= 0x40;
                    rest[7] = 0;
                    rest[9] = protocol;
                }
                if ethertype == 0x86dd && rest.len() >= 40 {
                    rest[0] = 0x60;
                    rest[4..6].copy_from_slice(&(len - 40).to_be_bytes());
                    rest[6] = protocol;
                }
                if tagged {
                    let [a, b] = ethertype.to_be_bytes();
                    return frame(0x8100, &[&[0, 1, a, b], &rest]);
                }
                frame(ethertype, &[&rest])
            },
        )
    }

    proptest! {
        #[test]
        fn never_panics_on_likely_frames(bytes in likely_frame()) {
            let text = format!("{:#}", Frame(&bytes));
            prop_assert!(!text.is_empty());
        }

        #[test]
        fn never_panics_on_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!Frame(&bytes).to_string().is_empty());
            prop_assert!(!Ip(&bytes).to_string().is_empty());
        }
    }
}
