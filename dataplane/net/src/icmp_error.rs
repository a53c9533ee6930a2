//! ICMP and ICMPv6 errors about a packet we refuse, and when to keep silent.
//!
//! Read first: RFC 1122 section 3.2.2 and RFC 1812 sections 4.3.2.3 to 4.3.2.8; RFC 4443 section 2.4.
//! Writes IP packets, not frames. Whether the offending frame was a link-layer broadcast, and whether an
//! address is a directed broadcast, is known to the caller, who does not ask then.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::{icmp, icmp6, ipv4, ipv6, proto};

/// Longest ICMP error in bytes, IPv4 header included (RFC 1812 4.3.2.3).
pub const ERROR4_LEN_MAX: usize = 576;

/// Longest ICMPv6 error in bytes, IPv6 header included: the least MTU (RFC 4443 2.4 c).
pub const ERROR6_LEN_MAX: usize = 1280;

/// A buffer of this many bytes holds any error.
pub const ERROR_LEN_MAX: usize = ERROR6_LEN_MAX;

/// TTL and hop limit of errors: as far as they may have to go.
const TTL: u8 = 255;

/// Precedence "internetwork control" (RFC 1812 4.3.2.5).
const TOS: u8 = 0xc0;

/// What went wrong. Each has a type and code in both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No route, or a reject route.
    NetUnreachable,
    /// The neighbor does not answer.
    HostUnreachable,
    /// Nobody listens; also what `block return` says.
    PortUnreachable,
    /// Prohibited by policy.
    AdminProhibited,
    /// Too large for the next link, whose MTU in bytes this is. For IPv6 "packet too big".
    FragmentationNeeded {
        /// MTU of the next link in bytes.
        mtu: u16,
    },
    /// TTL or hop limit ran out.
    TimeExceeded,
    /// Fragments did not come in time.
    ReassemblyTimeExceeded,
    /// A header field is wrong.
    ParamProblem {
        /// Offset of the field from the start of the packet.
        pointer: u16,
    },
    /// Type and code as a rule says (`return-icmp`), in the family of the offending packet.
    Raw {
        /// Message type.
        kind: u8,
        /// Code within the type.
        code: u8,
    },
}

/// Writes the error about `offending` (an IP packet, perhaps with padding after its end) into `out` and
/// returns the length of the IP packet written. `src` is an address of the interface that
/// `offending` came in on.
///
/// `None` where the rules demand silence (see [`may_answer`]), where `src` is of the other family, or
/// where `out` is too short ([`ERROR_LEN_MAX`] bytes always suffice).
pub fn build(out: &mut [u8], src: IpAddr, offending: &[u8], kind: ErrorKind) -> Option<usize> {
    if !may_answer(offending, kind) {
        return None;
    }
    match src {
        IpAddr::V4(src) => build4(out, src, offending, kind),
        IpAddr::V6(src) => build6(out, src, offending, kind),
    }
}

fn build4(out: &mut [u8], src: Ipv4Addr, offending: &[u8], kind: ErrorKind) -> Option<usize> {
    let packet = ipv4::Packet::new_checked(offending).ok()?;
    let quote = &offending[..usize::from(packet.total_len())];
    let quote = &quote[..quote
        .len()
        .min(ERROR4_LEN_MAX - ipv4::HEADER_LEN - icmp::HEADER_LEN)];
    let message = message4(kind, quote);
    let header = ipv4::Repr {
        src,
        dst: packet.src(),
        protocol: proto::ICMP,
        ttl: TTL,
        tos: TOS,
        // The packet may be fragmented on its way, so it needs an identification that does not
        // repeat soon; the one it answers has that property for its source.
        ident: packet.ident(),
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: message.buffer_len() as u16,
    };
    let len = header.buffer_len() + message.buffer_len();
    let out = out.get_mut(..len)?;
    header.emit(&mut ipv4::Packet::new_unchecked(&mut *out));
    message.emit(&mut icmp::Packet::new_unchecked(
        &mut out[header.buffer_len()..],
    ));
    Some(len)
}

fn message4(kind: ErrorKind, quote: &[u8]) -> icmp::Repr<'_> {
    use icmp::code;
    let unreachable = |code, mtu| icmp::Repr::Unreachable { code, mtu, quote };
    match kind {
        ErrorKind::NetUnreachable => unreachable(code::NET_UNREACHABLE, 0),
        ErrorKind::HostUnreachable => unreachable(code::HOST_UNREACHABLE, 0),
        ErrorKind::PortUnreachable => unreachable(code::PORT_UNREACHABLE, 0),
        ErrorKind::AdminProhibited => unreachable(code::ADMIN_PROHIBITED, 0),
        ErrorKind::FragmentationNeeded { mtu } => unreachable(code::FRAGMENTATION_NEEDED, mtu),
        ErrorKind::TimeExceeded => icmp::Repr::TimeExceeded {
            code: code::TTL_EXCEEDED,
            quote,
        },
        ErrorKind::ReassemblyTimeExceeded => icmp::Repr::TimeExceeded {
            code: code::REASSEMBLY_TIMEOUT,
            quote,
        },
        ErrorKind::ParamProblem { pointer } => icmp::Repr::ParamProblem {
            code: 0,
            pointer: pointer as u8, // an IPv4 header has at most 60 bytes
            quote,
        },
        ErrorKind::Raw { kind, code } => icmp::Repr::Other {
            kind,
            code,
            rest: [0; 4],
            data: quote,
        },
    }
}

fn build6(out: &mut [u8], src: Ipv6Addr, offending: &[u8], kind: ErrorKind) -> Option<usize> {
    let packet = ipv6::Packet::new_checked(offending).ok()?;
    let quote = &offending[..ipv6::HEADER_LEN + usize::from(packet.payload_len())];
    let quote = &quote[..quote
        .len()
        .min(ERROR6_LEN_MAX - ipv6::HEADER_LEN - icmp6::HEADER_LEN)];
    let message = message6(kind, quote);
    let header = ipv6::Repr {
        src,
        dst: packet.src(),
        next_header: proto::ICMP6,
        hop_limit: TTL,
        traffic_class: 0,
        flow_label: 0,
        payload_len: message.buffer_len() as u16,
    };
    let len = header.buffer_len() + message.buffer_len();
    let out = out.get_mut(..len)?;
    header.emit(&mut ipv6::Packet::new_unchecked(&mut *out));
    let mut body = icmp6::Packet::new_unchecked(&mut out[header.buffer_len()..]);
    message.emit(&mut body);
    body.fill_checksum(header.src, header.dst);
    Some(len)
}

fn message6(kind: ErrorKind, quote: &[u8]) -> icmp6::Repr<'_> {
    use icmp6::code;
    let unreachable = |code| icmp6::Repr::Unreachable { code, quote };
    match kind {
        ErrorKind::NetUnreachable => unreachable(code::NO_ROUTE),
        ErrorKind::HostUnreachable => unreachable(code::ADDR_UNREACHABLE),
        ErrorKind::PortUnreachable => unreachable(code::PORT_UNREACHABLE),
        ErrorKind::AdminProhibited => unreachable(code::ADMIN_PROHIBITED),
        ErrorKind::FragmentationNeeded { mtu } => icmp6::Repr::PacketTooBig {
            mtu: mtu.into(),
            quote,
        },
        ErrorKind::TimeExceeded => icmp6::Repr::TimeExceeded {
            code: code::HOP_LIMIT_EXCEEDED,
            quote,
        },
        ErrorKind::ReassemblyTimeExceeded => icmp6::Repr::TimeExceeded {
            code: code::REASSEMBLY_TIMEOUT,
            quote,
        },
        ErrorKind::ParamProblem { pointer } => icmp6::Repr::ParamProblem {
            code: code::ERRONEOUS_FIELD,
            pointer: pointer.into(),
            quote,
        },
        ErrorKind::Raw { kind, code } => icmp6::Repr::Other {
            kind,
            code,
            rest: [0; 4],
            data: quote,
        },
    }
}

/// Whether an error of this kind may be sent about the packet. Not about malformed packets, ICMP
/// errors, later fragments, packets to a group or broadcast address, or from an address that is not one
/// host's; IPv6 "packet too big" is also sent for groups and fragments (RFC 4443 2.4 e.3).
pub fn may_answer(offending: &[u8], kind: ErrorKind) -> bool {
    match offending.first().map(|first| first >> 4) {
        Some(4) => may_answer4(offending).unwrap_or(false),
        Some(6) => may_answer6(offending, kind).unwrap_or(false),
        _ => false,
    }
}

fn may_answer4(offending: &[u8]) -> Option<bool> {
    let packet = ipv4::Packet::new_checked(offending).ok()?;
    let walk = ipv4::walk(offending).ok()?;
    let to_one = !packet.dst().is_multicast() && !packet.dst().is_broadcast();
    if walk.is_later_fragment || !to_one || !one_host4(packet.src()) {
        return Some(false);
    }
    // An ICMP header that is cut off might be an error.
    let message = &offending[walk.offset..walk.end];
    let error =
        walk.protocol == proto::ICMP && message.first().is_none_or(|&kind| icmp::is_error(kind));
    Some(!error)
}

fn may_answer6(offending: &[u8], kind: ErrorKind) -> Option<bool> {
    let packet = ipv6::Packet::new_checked(offending).ok()?;
    let walk = ipv6::walk(offending).ok()?;
    if !one_host6(packet.src()) {
        return Some(false);
    }
    let too_big = matches!(kind, ErrorKind::FragmentationNeeded { .. });
    if walk.next_header == proto::FRAGMENT {
        // What the fragment is of cannot be seen; that it was ICMPv6 can.
        let icmp6 = walk.fragment.is_none_or(|f| f.next_header == proto::ICMP6);
        return Some(too_big && !icmp6);
    }
    if packet.dst().is_multicast() && !too_big {
        return Some(false);
    }
    let message = &offending[walk.offset..walk.end];
    let refused = |&kind: &u8| icmp6::is_error(kind) || kind == icmp6::kind::REDIRECT;
    Some(walk.next_header != proto::ICMP6 || !message.first().is_none_or(refused))
}

/// Whether the source of a packet is one host that an answer can be sent to (RFC 1122 3.2.2,
/// 3.2.1.3).
pub(crate) fn one_host4(addr: Ipv4Addr) -> bool {
    !matches!(addr.octets()[0], 0 | 127 | 224..=255)
}

/// Whether the source of a packet is one host that an answer can be sent to.
pub(crate) fn one_host6(addr: Ipv6Addr) -> bool {
    !addr.is_multicast() && !addr.is_unspecified() && !addr.is_loopback()
}

/// Limits how often something may happen: a bucket of tokens that fills with time.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate_per_s: u32,
    burst: u32,
    /// Thousandths of a token.
    millitokens: u64,
    last_ms: u64,
}

impl TokenBucket {
    /// Errors per second that OpenBSD allows (`net.inet.icmp.errppslimit`).
    pub const ERRORS_PER_S: u32 = 100;

    /// A full bucket of `burst` tokens that gets `rate_per_s` tokens per second.
    pub const fn new(rate_per_s: u32, burst: u32, now_ms: u64) -> TokenBucket {
        TokenBucket {
            rate_per_s,
            burst,
            millitokens: burst as u64 * 1000,
            last_ms: now_ms,
        }
    }

    /// Takes a token if there is one.
    pub fn allow(&mut self, now_ms: u64) -> bool {
        let elapsed_ms = now_ms.saturating_sub(self.last_ms);
        self.last_ms = self.last_ms.max(now_ms);
        let gained = elapsed_ms.saturating_mul(self.rate_per_s.into());
        let full = u64::from(self.burst) * 1000;
        self.millitokens = self.millitokens.saturating_add(gained).min(full);
        if self.millitokens < 1000 {
            return false;
        }
        self.millitokens -= 1000;
        true
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An IPv4 packet with two bytes of padding after its end.
    pub(crate) fn packet4(src: &str, dst: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let repr = ipv4::Repr {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            protocol,
            ttl: 1,
            tos: 0,
            ident: 0x1234,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: payload.len() as u16,
        };
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut ipv4::Packet::new_unchecked(&mut bytes[..]));
        bytes.extend(payload);
        bytes.extend([0xee, 0xee]);
        bytes
    }

    /// An IPv6 packet with two bytes of padding after its end.
    pub(crate) fn packet6(src: &str, dst: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
        let repr = ipv6::Repr {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            next_header,
            hop_limit: 1,
            traffic_class: 0,
            flow_label: 0,
            payload_len: payload.len() as u16,
        };
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut ipv6::Packet::new_unchecked(&mut bytes[..]));
        bytes.extend(payload);
        bytes.extend([0xee, 0xee]);
        bytes
    }

    const UDP: [u8; 8] = [0x12, 0x34, 0, 53, 0, 8, 0, 0];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn error4(offending: &[u8], kind: ErrorKind) -> Option<Vec<u8>> {
        let mut out = vec![0xaa; ERROR_LEN_MAX];
        let len = build(&mut out, ip("192.0.2.254"), offending, kind)?;
        out.truncate(len);
        Some(out)
    }

    fn error6(offending: &[u8], kind: ErrorKind) -> Option<Vec<u8>> {
        let mut out = vec![0xaa; ERROR_LEN_MAX];
        let len = build(&mut out, ip("2001:db8::fe"), offending, kind)?;
        out.truncate(len);
        Some(out)
    }

    #[test]
    fn an_ipv4_error_goes_back_and_quotes_the_packet() {
        let offending = packet4("192.0.2.1", "198.51.100.2", 17, &UDP);
        let bytes = error4(&offending, ErrorKind::TimeExceeded).unwrap();
        let packet = ipv4::Packet::new_checked(&bytes[..]).unwrap();
        let repr = ipv4::Repr::parse(&packet).unwrap();
        assert_eq!(
            (repr.src, repr.dst),
            ([192, 0, 2, 254].into(), [192, 0, 2, 1].into())
        );
        assert_eq!((repr.protocol, repr.ttl, repr.tos), (1, 255, 0xc0));
        let message = icmp::Packet::new_checked(packet.payload()).unwrap();
        let expected = icmp::Repr::TimeExceeded {
            code: 0,
            quote: &offending[..28],
        };
        assert_eq!(icmp::Repr::parse(&message), Ok(expected));
    }

    #[test]
    fn an_ipv6_error_goes_back_and_quotes_the_packet() {
        let offending = packet6("2001:db8::1", "2001:db8:1::2", 17, &UDP);
        let bytes = error6(&offending, ErrorKind::FragmentationNeeded { mtu: 1280 }).unwrap();
        let packet = ipv6::Packet::new_checked(&bytes[..]).unwrap();
        assert_eq!(IpAddr::from(packet.dst()), ip("2001:db8::1"));
        assert_eq!(packet.hop_limit(), 255);
        let message = icmp6::Packet::new_checked(packet.payload()).unwrap();
        assert!(message.verify_checksum(packet.src(), packet.dst()));
        let expected = icmp6::Repr::PacketTooBig {
            mtu: 1280,
            quote: &offending[..48],
        };
        assert_eq!(icmp6::Repr::parse(&message), Ok(expected));
    }

    #[test]
    fn types_and_codes() {
        for (kind, v4, v6) in [
            (ErrorKind::NetUnreachable, (3, 0), (1, 0)),
            (ErrorKind::HostUnreachable, (3, 1), (1, 3)),
            (ErrorKind::PortUnreachable, (3, 3), (1, 4)),
            (ErrorKind::AdminProhibited, (3, 13), (1, 1)),
            (ErrorKind::FragmentationNeeded { mtu: 1400 }, (3, 4), (2, 0)),
            (ErrorKind::TimeExceeded, (11, 0), (3, 0)),
            (ErrorKind::ReassemblyTimeExceeded, (11, 1), (3, 1)),
            (ErrorKind::ParamProblem { pointer: 9 }, (12, 0), (4, 0)),
            (ErrorKind::Raw { kind: 3, code: 10 }, (3, 10), (3, 10)),
        ] {
            let bytes = error4(&packet4("10.0.0.1", "10.0.0.2", 17, &UDP), kind).unwrap();
            assert_eq!((bytes[20], bytes[21]), v4, "{kind:?}");
            assert_eq!(wire::checksum::data(&bytes[20..]), 0, "{kind:?}");
            let bytes = error6(&packet6("fd00::1", "fd00::2", 17, &UDP), kind).unwrap();
            assert_eq!((bytes[40], bytes[41]), v6, "{kind:?}");
        }
        let mtu = ErrorKind::FragmentationNeeded { mtu: 1400 };
        let bytes = error4(&packet4("10.0.0.1", "10.0.0.2", 17, &UDP), mtu).unwrap();
        assert_eq!(bytes[24..28], [0, 0, 0x05, 0x78]);
    }

    #[test]
    fn quotations_are_cut_at_the_limits() {
        let kind = ErrorKind::TimeExceeded;
        for (payload, v4, v6) in [
            (8, 56, 96),
            (528, 576, 616),
            (529, 576, 617),
            (1192, 576, 1280),
            (1193, 576, 1280),
            (1440, 576, 1280),
        ] {
            let payload = vec![7; payload];
            let bytes = error4(&packet4("10.0.0.1", "10.0.0.2", 99, &payload), kind).unwrap();
            assert_eq!(bytes.len(), v4);
            let bytes = error6(&packet6("fd00::1", "fd00::2", 99, &payload), kind).unwrap();
            assert_eq!(bytes.len(), v6);
        }
    }

    #[test]
    fn silence_where_the_rules_demand_it() {
        let kind = ErrorKind::PortUnreachable;
        let icmp = |kind: u8| [kind, 0, 0, 0, 0, 0, 0, 0];
        let quiet4 = |src, dst, protocol, payload: &[u8]| {
            assert_eq!(
                error4(&packet4(src, dst, protocol, payload), kind),
                None,
                "{src} {dst}"
            );
        };
        for kind in [3, 4, 5, 11, 12] {
            quiet4("10.0.0.1", "10.0.0.2", 1, &icmp(kind));
        }
        quiet4("10.0.0.1", "10.0.0.2", 1, &[]);
        quiet4("10.0.0.1", "224.0.0.1", 17, &UDP);
        quiet4("10.0.0.1", "255.255.255.255", 17, &UDP);
        for src in [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            quiet4(src, "10.0.0.2", 17, &UDP);
        }
        assert!(error4(&packet4("10.0.0.1", "10.0.0.2", 1, &icmp(8)), kind).is_some());

        let quiet6 = |src, dst, protocol, payload: &[u8]| {
            assert_eq!(
                error6(&packet6(src, dst, protocol, payload), kind),
                None,
                "{src} {dst}"
            );
        };
        for kind in [1, 2, 3, 4, 100, 127, 137] {
            quiet6("fd00::1", "fd00::2", 58, &icmp(kind));
        }
        for src in ["::", "::1", "ff02::1"] {
            quiet6(src, "fd00::2", 17, &UDP);
        }
        quiet6("fd00::1", "ff0e::1", 17, &UDP);
        assert!(error6(&packet6("fd00::1", "fd00::2", 58, &icmp(128)), kind).is_some());
        let too_big = ErrorKind::FragmentationNeeded { mtu: 1280 };
        assert!(error6(&packet6("fd00::1", "ff0e::1", 17, &UDP), too_big).is_some());
    }

    #[test]
    fn fragments() {
        let mut first = packet4("10.0.0.1", "10.0.0.2", 17, &UDP);
        let mut packet = ipv4::Packet::new_unchecked(&mut first[..]);
        packet.set_fragment(false, true, 0);
        assert!(error4(&first, ErrorKind::TimeExceeded).is_some());
        ipv4::Packet::new_unchecked(&mut first[..]).set_fragment(false, true, 8);
        assert_eq!(error4(&first, ErrorKind::TimeExceeded), None);

        let later = |next| [next, 0, 0, 9, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8];
        let too_big = ErrorKind::FragmentationNeeded { mtu: 1280 };
        let udp = packet6("fd00::1", "fd00::2", 44, &later(17));
        assert!(error6(&udp, too_big).is_some());
        assert_eq!(error6(&udp, ErrorKind::TimeExceeded), None);
        assert_eq!(
            error6(&packet6("fd00::1", "fd00::2", 44, &later(58)), too_big),
            None
        );
    }

    #[test]
    fn broken_input_and_short_output_give_nothing() {
        let offending = packet4("10.0.0.1", "10.0.0.2", 17, &UDP);
        let mut out = [0; ERROR_LEN_MAX];
        for len in 0..28 {
            assert_eq!(
                build(
                    &mut out,
                    ip("10.0.0.9"),
                    &offending[..len],
                    ErrorKind::TimeExceeded
                ),
                None
            );
        }
        assert_eq!(
            build(&mut out, ip("fd00::9"), &offending, ErrorKind::TimeExceeded),
            None
        );
        assert_eq!(
            build(
                &mut out[..55],
                ip("10.0.0.9"),
                &offending,
                ErrorKind::TimeExceeded
            ),
            None
        );
        assert_eq!(
            build(
                &mut out[..56],
                ip("10.0.0.9"),
                &offending,
                ErrorKind::TimeExceeded
            ),
            Some(56)
        );
    }

    #[test]
    fn a_bucket_allows_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(100, 5, 1000);
        let mut taken = |now_ms| (0..50).filter(|_| bucket.allow(now_ms)).count();
        assert_eq!(taken(1000), 5);
        assert_eq!(taken(1009), 0);
        assert_eq!(taken(1010), 1);
        assert_eq!(taken(1005), 0); // time does not go back
        assert_eq!(taken(1020), 1);
        assert_eq!(taken(90_000), 5);
        assert_eq!(taken(u64::MAX), 5);
    }
}
