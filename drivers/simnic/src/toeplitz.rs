//! The flow hash of network cards, over addresses and ports.
//!
//! With the repeating key both directions of a connection get the same value, which is what names the
//! owner of a connection. Knows just enough of Ethernet, 802.1Q, IPv4, IPv6, TCP and UDP to find the fields
//! a card would find. Read first: Microsoft, "RSS Hashing Types" and "Verifying the RSS Hash
//! Calculation"; S. Woo and K. Park, "Scalable TCP Session Monitoring with Symmetric Receive-side
//! Scaling" (2012), for the key.

/// Key length in bytes: 36 bytes of IPv6 addresses and ports, and four more.
pub const KEY_LEN: usize = 40;

/// The key under which source and destination may be exchanged.
pub const SYMMETRIC_KEY: [u8; KEY_LEN] = {
    let mut key = [0x6d; KEY_LEN];
    let mut at = 1;
    while at < KEY_LEN {
        key[at] = 0x5a;
        at += 2;
    }
    key
};

/// Most bytes a card hashes: two IPv6 addresses and two ports.
const INPUT_MAX: usize = 36;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

/// Most stacked VLAN tags a card looks through.
const TAGS_MAX: usize = 2;

/// The hash of `input` (at most 36 bytes; more is ignored) under `key`.
pub fn hash(key: &[u8; KEY_LEN], input: &[u8]) -> u32 {
    let mut hash = 0;
    for (at, byte) in input.iter().take(INPUT_MAX).enumerate() {
        // The 40 key bits that the eight bits of this byte slide over.
        let window = key[at..at + 5]
            .iter()
            .fold(0u64, |bits, &k| bits << 8 | u64::from(k));
        for bit in 0..8 {
            if byte & (0x80 >> bit) != 0 {
                hash ^= (window >> (8 - bit)) as u32;
            }
        }
    }
    hash
}

/// The symmetric hash a card computes for a frame; none if it is not IP. Ports count for TCP and UDP
/// packets that are not fragments.
pub fn hash_frame(frame: &[u8]) -> Option<u32> {
    let (ethertype, packet) = strip_ethernet(frame)?;
    let input = match ethertype {
        ETHERTYPE_IPV4 => ipv4_fields(packet)?,
        ETHERTYPE_IPV6 => ipv6_fields(packet)?,
        _ => return None,
    };
    Some(hash(&SYMMETRIC_KEY, &input))
}

type Fields = heapless::Vec<u8, INPUT_MAX>;

fn strip_ethernet(frame: &[u8]) -> Option<(u16, &[u8])> {
    let mut rest = frame.get(12..)?;
    for _ in 0..=TAGS_MAX {
        let (ethertype, after) = rest.split_first_chunk::<2>()?;
        match u16::from_be_bytes(*ethertype) {
            ETHERTYPE_VLAN | ETHERTYPE_QINQ => rest = after.get(2..)?,
            ethertype => return Some((ethertype, after)),
        }
    }
    None
}

fn ipv4_fields(packet: &[u8]) -> Option<Fields> {
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    let addresses = packet.get(12..20)?;
    // More-fragments flag and offset.
    let fragment = packet[6] & 0x3f != 0 || packet[7] != 0;
    let ports = if fragment {
        None
    } else {
        ports(packet[9], packet.get(header_len..)?)
    };
    join(addresses, ports)
}

fn ipv6_fields(packet: &[u8]) -> Option<Fields> {
    let addresses = packet.get(8..40)?;
    // Like most cards, look no further than the first next-header.
    join(addresses, ports(packet[6], &packet[40..]))
}

fn ports(protocol: u8, payload: &[u8]) -> Option<&[u8]> {
    matches!(protocol, 6 | 17)
        .then(|| payload.get(..4))
        .flatten()
}

fn join(addresses: &[u8], ports: Option<&[u8]>) -> Option<Fields> {
    let mut fields = Fields::from_slice(addresses).ok()?;
    fields.extend_from_slice(ports.unwrap_or_default()).ok()?;
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and values of Microsoft's verification suite.
    const MICROSOFT_KEY: [u8; KEY_LEN] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    #[test]
    fn agrees_with_the_verification_suite() {
        for (src, sport, dst, dport, addresses, all) in [
            (
                [66, 9, 149, 187],
                2794u16,
                [161, 142, 100, 80],
                1766u16,
                0x323e_8fc2,
                0x51cc_c178,
            ),
            (
                [199, 92, 111, 2],
                14230,
                [65, 69, 140, 83],
                4739,
                0xd718_262a,
                0xc626_b0ea,
            ),
            (
                [24, 19, 198, 95],
                12898,
                [12, 22, 207, 184],
                38024,
                0xd2d0_a5de,
                0x5c2b_394a,
            ),
        ] {
            let mut input = [src, dst].concat();
            assert_eq!(hash(&MICROSOFT_KEY, &input), addresses);
            input.extend(sport.to_be_bytes());
            input.extend(dport.to_be_bytes());
            assert_eq!(hash(&MICROSOFT_KEY, &input), all);
        }
    }

    fn ipv4(src: u8, dst: u8, protocol: u8, fragment: [u8; 2], ports: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 28, 0, 0]);
        frame.extend(fragment);
        frame.extend([64, protocol, 0, 0, 10, 0, 0, src, 10, 0, 0, dst]);
        frame.extend(ports);
        frame.extend([0, 8, 0, 0]);
        frame
    }

    #[test]
    fn both_directions_hash_alike() {
        let there = hash_frame(&ipv4(1, 2, 17, [0, 0], [0, 53, 4, 5])).unwrap();
        let back = hash_frame(&ipv4(2, 1, 17, [0, 0], [4, 5, 0, 53])).unwrap();
        assert_eq!(there, back);
        assert_ne!(
            there,
            hash_frame(&ipv4(1, 2, 17, [0, 0], [0, 53, 4, 6])).unwrap()
        );
    }

    #[test]
    fn ports_count_for_whole_tcp_and_udp_packets_only() {
        let differs = |protocol, fragment| {
            hash_frame(&ipv4(1, 2, protocol, fragment, [0, 1, 0, 2]))
                != hash_frame(&ipv4(1, 2, protocol, fragment, [0, 1, 0, 3]))
        };
        assert!(differs(6, [0, 0]));
        assert!(differs(17, [0x40, 0]), "don't-fragment is no fragment");
        assert!(!differs(1, [0, 0]));
        assert!(!differs(17, [0x20, 0]), "first fragment");
        assert!(!differs(17, [0, 1]), "later fragment");
    }

    #[test]
    fn tags_are_looked_through_and_junk_has_no_hash() {
        let plain = ipv4(1, 2, 6, [0, 0], [1, 2, 3, 4]);
        let mut tagged = plain[..12].to_vec();
        tagged.extend([0x81, 0, 0, 7]);
        tagged.extend(&plain[12..]);
        assert_eq!(hash_frame(&tagged), hash_frame(&plain));
        for len in 0..plain.len() {
            // Cut anywhere: a value or none, never a panic.
            assert!(len >= 34 || hash_frame(&plain[..len]).is_none());
        }
        assert_eq!(hash_frame(&[0xff; 64]), None);
    }
}
