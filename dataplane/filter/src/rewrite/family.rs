//! Packets that change their address family (`af-to`): headers, ICMP messages and the checksums that cover them.
//!
//! Read first: RFC 7915 4 and 5 (IP/ICMP translation); pf_translate_af() and pf_translate_icmp_af() of OpenBSD.

use core::net::{Ipv4Addr, Ipv6Addr};

use ruleset::Af;
use state::Key;
use wire::checksum;

use super::{patch, write_ports};
use crate::describe::{Kind, PROTO_ICMP, PROTO_ICMP6, PacketDesc};
use crate::reason::Reason;

/// Bytes of an IP header without options.
pub fn header_len(af: Af) -> usize {
    match af {
        Af::Inet => 20,
        Af::Inet6 => 40,
    }
}

/// Bytes of an ICMP error before its quotation.
const ERROR_HEADER: usize = 8;
/// Longest translated error: no path is narrower in IPv6, and IPv4 quotes less.
pub const ERROR_LEN_MAX: usize = 1280;
/// IPv4 hosts need to take no more (RFC 1812 4.3.2.3).
const ERROR4_LEN_MAX: usize = 576;

/// What an IP header says beside addresses.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// Traffic class.
    pub tos: u8,
    /// Time to live, hop limit.
    pub ttl: u8,
    /// Protocol above.
    pub proto: u8,
    /// Bytes above the header.
    pub payload: usize,
    /// IPv4: the packet may be cut into pieces, which have this identification.
    pub ident: Option<u16>,
}

/// Protocol number in the other family.
pub fn other_proto(proto: u8) -> u8 {
    match proto {
        PROTO_ICMP => PROTO_ICMP6,
        PROTO_ICMP6 => PROTO_ICMP,
        other => other,
    }
}

/// Writes a header with the ends of `key`, from end 0 to end 1.
pub fn write_header(out: &mut [u8], key: &Key, fields: &Fields) {
    let (src, dst) = (key.end(0).0, key.end(1).0);
    let proto = fields.proto;
    match key.af() {
        Af::Inet => {
            let Some(header) = out.first_chunk_mut::<20>() else {
                return;
            };
            *header = [0; 20];
            header[0] = 0x45;
            let mut ip = wire::ipv4::Packet::new_unchecked(&mut header[..]);
            ip.set_tos(fields.tos);
            ip.set_total_len((20 + fields.payload) as u16);
            ip.set_ident(fields.ident.unwrap_or(0));
            ip.set_fragment(fields.ident.is_none(), false, 0);
            ip.set_ttl(fields.ttl);
            ip.set_protocol(proto);
            ip.set_src(Ipv4Addr::from_bits(src as u32));
            ip.set_dst(Ipv4Addr::from_bits(dst as u32));
            ip.fill_checksum();
        }
        Af::Inet6 => {
            let Some(header) = out.first_chunk_mut::<40>() else {
                return;
            };
            *header = [0; 40];
            let mut ip = wire::ipv6::Packet::new_unchecked(&mut header[..]);
            ip.set_class_and_label(fields.tos, 0);
            ip.set_payload_len(fields.payload as u16);
            ip.set_next_header(proto);
            ip.set_hop_limit(fields.ttl);
            ip.set_src(Ipv6Addr::from_bits(src));
            ip.set_dst(Ipv6Addr::from_bits(dst));
        }
    }
}

/// Sum of the pseudo header of ICMP: IPv4 has none.
fn icmp_pseudo(key: &Key, len: usize) -> u32 {
    match key.af() {
        Af::Inet => 0,
        Af::Inet6 => key.sums().0 + len as u32 + u32::from(PROTO_ICMP6),
    }
}

/// Translates a transport header for new ends. `len` is the length of the whole transport packet, of which `l4` may be
/// the beginning. A UDP checksum that IPv4 left out is computed if all is there.
pub fn transport(
    l4: &mut [u8],
    kind: Kind,
    old: &Key,
    new: &Key,
    len: usize,
) -> Result<(), Reason> {
    let delta = checksum::join(
        checksum::delta(old.sums().0, new.sums().0),
        checksum::delta(old.sums().1, new.sums().1),
    );
    match kind {
        Kind::Tcp => {
            write_ports(l4, new);
            patch(l4, 16, |sum| checksum::apply(sum, delta));
        }
        Kind::Udp => {
            write_ports(l4, new);
            let missing = new.af() == Af::Inet6 && l4.get(6..8) == Some(&[0, 0]);
            if missing && l4.len() != len {
                return Err(Reason::Translate);
            }
            if missing {
                let sum = new.sums().0 + len as u32 + u32::from(new.proto()) + checksum::sum(l4);
                patch(l4, 6, |_| checksum::udp_zero(!checksum::fold(sum)));
            } else {
                patch(l4, 6, |sum| checksum::apply_udp(sum, delta));
            }
        }
        Kind::IcmpRequest | Kind::IcmpReply => echo(l4, kind, old, new, len)?,
        _ => {}
    }
    Ok(())
}

/// Echo requests and replies; nothing else that asks or answers is translated (RFC 7915 4.2).
fn echo(l4: &mut [u8], kind: Kind, old: &Key, new: &Key, len: usize) -> Result<(), Reason> {
    let asking = usize::from(kind == Kind::IcmpReply);
    let new_type = match (l4.first(), new.af()) {
        (Some(8), Af::Inet6) => 128,
        (Some(0), Af::Inet6) => 129,
        (Some(128), Af::Inet) => 8,
        (Some(129), Af::Inet) => 0,
        _ => return Err(Reason::Translate),
    };
    let before = checksum::sum(l4.get(..8).unwrap_or_default()) + icmp_pseudo(old, len);
    let sum = l4.get(2..4).map_or(0, |s| u16::from_be_bytes([s[0], s[1]]));
    l4[0] = new_type;
    patch(l4, 4, |_| new.end(asking).1);
    let after = checksum::sum(l4.get(..8).unwrap_or_default()) + icmp_pseudo(new, len);
    let delta = checksum::delta(before, after);
    patch(l4, 2, |_| checksum::apply(sum, delta));
    Ok(())
}

/// Type, code and the word behind the checksum of a translated error; none if there is nothing alike.
fn error_words(af: Af, icmp: (u8, u8), word: u32) -> Option<(u8, u8, u32)> {
    match af {
        Af::Inet => error_words6(icmp, word),
        Af::Inet6 => error_words4(icmp, word),
    }
}

/// RFC 7915 4.2.
fn error_words6(icmp: (u8, u8), word: u32) -> Option<(u8, u8, u32)> {
    const POINTERS: [u8; 20] = [
        0, 1, 4, 4, 255, 255, 255, 255, 7, 6, 255, 255, 8, 8, 8, 8, 24, 24, 24, 24,
    ];
    Some(match icmp {
        (3, 0 | 1 | 5..=8 | 11 | 12) => (1, 0, 0),
        (3, 2) => (4, 1, 6),
        (3, 3) => (1, 4, 0),
        (3, 4) => (2, 0, ((word & 0xffff) + 20).max(1280)),
        (3, 9 | 10 | 13 | 15) => (1, 1, 0),
        (11, code) => (3, code, 0),
        (12, 0 | 2) => {
            let pointer = *POINTERS.get((word >> 24) as usize)?;
            (4, 0, u32::from(Some(pointer).filter(|p| *p != 255)?))
        }
        _ => return None,
    })
}

/// RFC 7915 5.2.
fn error_words4(icmp: (u8, u8), word: u32) -> Option<(u8, u8, u32)> {
    Some(match icmp {
        (1, 0 | 2 | 3) => (3, 1, 0),
        (1, 1) => (3, 10, 0),
        (1, 4) => (3, 3, 0),
        (2, _) => (3, 4, word.saturating_sub(20).min(0xffff)),
        (3, code) => (11, code, 0),
        (4, 0) => {
            let pointer: u32 = match word {
                0 | 1 => word,
                4 | 5 => 2,
                6 => 9,
                7 => 8,
                8..=23 => 12,
                24..=39 => 16,
                _ => return None,
            };
            (12, 0, pointer << 24)
        }
        (4, 1) => (3, 2, 0),
        _ => return None,
    })
}

/// Translates an ICMP error with what it quotes into `out`: a whole packet from `outer` end 0 to end 1, quoting one with
/// the ends of `quote`. Says how long it is; none if there is nothing alike in the other family.
pub fn error_packet(
    out: &mut [u8; ERROR_LEN_MAX],
    frame: &[u8],
    pd: &PacketDesc,
    quoted: &PacketDesc,
    outer: &Key,
    quote: &Key,
) -> Option<usize> {
    let end = (usize::from(pd.ip_at) + usize::from(pd.ip_len)).min(frame.len());
    let l4 = frame.get(usize::from(pd.l4_at)..end)?;
    let (header, quotation) = l4.split_at_checked(ERROR_HEADER)?;
    let word = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let (new_type, code, word) = error_words(pd.af, pd.icmp, word)?;
    let inner = quotation.get(usize::from(quoted.l4_at)..)?;
    let (outer_len, inner_len) = (header_len(outer.af()), header_len(quote.af()));
    let inner_at = outer_len + ERROR_HEADER + inner_len;
    let most = match outer.af() {
        Af::Inet => ERROR4_LEN_MAX,
        Af::Inet6 => ERROR_LEN_MAX,
    };
    let copied = inner.len().min(most - inner_at);
    let len = inner_at + copied;
    out[inner_at..len].copy_from_slice(&inner[..copied]);
    let whole = quoted_payload(quotation, quoted);
    transport(
        &mut out[inner_at..len],
        quoted.kind,
        &quoted.key_in,
        quote,
        whole,
    )
    .ok()?;
    let (tos, ttl) = quoted_marks(quotation, quoted.af);
    let fields = Fields {
        tos,
        ttl,
        proto: quote.proto(),
        payload: whole,
        ident: None,
    };
    write_header(&mut out[outer_len + ERROR_HEADER..], quote, &fields);
    let message = &mut out[outer_len..len];
    message[..2].copy_from_slice(&[new_type, code]);
    message[2..4].copy_from_slice(&[0, 0]);
    message[4..8].copy_from_slice(&word.to_be_bytes());
    let sum = checksum::sum(message) + icmp_pseudo(outer, len - outer_len);
    message[2..4].copy_from_slice(&(!checksum::fold(sum)).to_be_bytes());
    let fields = Fields {
        tos: pd.tos,
        ttl: pd.ttl,
        proto: other_proto(pd.proto),
        payload: len - outer_len,
        ident: None,
    };
    write_header(out, outer, &fields);
    Some(len)
}

/// Traffic class and time to live of a quoted packet.
fn quoted_marks(quotation: &[u8], af: Af) -> (u8, u8) {
    match (af, quotation) {
        (Af::Inet, [_, tos, _, _, _, _, _, _, ttl, ..]) => (*tos, *ttl),
        (Af::Inet6, [a, b, _, _, _, _, _, ttl, ..]) => (a << 4 | b >> 4, *ttl),
        _ => (0, 0),
    }
}

/// Bytes above the header of a quoted packet, as it was sent.
fn quoted_payload(quotation: &[u8], quoted: &PacketDesc) -> usize {
    let word = |at: usize| {
        let bytes = quotation.get(at..at + 2).unwrap_or(&[0, 0]);
        usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let l4_at = usize::from(quoted.l4_at);
    match quoted.af {
        Af::Inet => word(2).saturating_sub(l4_at),
        Af::Inet6 => (word(4) + 40).saturating_sub(l4_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_map_as_the_rfc_says_and_back() {
        for (af, icmp, word, expect) in [
            (Af::Inet, (3, 3), 0, Some((1, 4, 0))),
            (Af::Inet, (3, 4), 1480, Some((2, 0, 1500))),
            (Af::Inet, (3, 4), 576, Some((2, 0, 1280))),
            (Af::Inet, (3, 2), 0, Some((4, 1, 6))),
            (Af::Inet, (11, 0), 0, Some((3, 0, 0))),
            (Af::Inet, (12, 0), 9 << 24, Some((4, 0, 6))),
            (Af::Inet, (12, 0), 5 << 24, None),
            (Af::Inet, (5, 0), 0, None),
            (Af::Inet6, (1, 4), 0, Some((3, 3, 0))),
            (Af::Inet6, (1, 0), 0, Some((3, 1, 0))),
            (Af::Inet6, (2, 0), 1280, Some((3, 4, 1260))),
            (Af::Inet6, (3, 1), 0, Some((11, 1, 0))),
            (Af::Inet6, (4, 0), 6, Some((12, 0, 9 << 24))),
            (Af::Inet6, (4, 2), 0, None),
        ] {
            assert_eq!(error_words(af, icmp, word), expect, "{af:?} {icmp:?}");
        }
    }
}
