//! Headers read, written and refused; the short walk against the long one.

use super::*;

#[test]
fn the_short_walk_says_what_the_long_one_says() {
    let mut seed = 0x77aa_1234_5678_9abcu64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    };
    let mut plain_ones = 0;
    for round in 0..40_000 {
        let mut bytes: [u8; 64] = core::array::from_fn(|_| next());
        (bytes[0], bytes[2]) = (if round % 4 == 0 { bytes[0] } else { 0x45 }, 0);
        bytes[3] &= 0x3f;
        if round % 2 == 0 {
            (bytes[6], bytes[7]) = (bytes[6] & 0x40, 0);
        }
        let len = usize::from(next()) % 65;
        if let Some(walk) = plain(&bytes[..len]) {
            plain_ones += 1;
            assert_eq!(walk_slowly(&bytes[..len]), Ok(walk), "{bytes:?}");
        }
    }
    assert!(plain_ones > 500, "{plain_ones}");
}
use proptest::prelude::*;

/// Header with `options`, then `payload`, checksum right, two bytes of padding after the end.
fn packet(options: &[u8], protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let header_len = HEADER_LEN + options.len();
    let total = (header_len + payload.len()) as u16;
    let mut bytes = vec![0x40 | (header_len / 4) as u8, 0];
    bytes.extend(total.to_be_bytes());
    bytes.extend([0x12, 0x34]);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7]);
    bytes.extend(options);
    bytes.extend(payload);
    bytes.extend([0xee, 0xee]);
    Packet::new_unchecked(&mut bytes[..]).fill_checksum();
    bytes
}

#[test]
fn reads_a_header() {
    let bytes = packet(&[1, 1, 1, 0], proto::UDP, 0x6002, &[7; 16]);
    let packet = Packet::new_checked(&bytes[..]).unwrap();
    assert_eq!(packet.header_len(), 24);
    assert_eq!(packet.total_len(), 40);
    assert_eq!(packet.payload(), [7; 16]);
    assert_eq!(packet.ident(), 0x1234);
    assert!(packet.dont_fragment() && packet.more_fragments() && packet.is_fragment());
    assert_eq!(packet.fragment_offset(), 16);
    assert_eq!((packet.ttl(), packet.protocol()), (64, 17));
    assert_eq!(packet.src(), Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(packet.dst(), Ipv4Addr::new(198, 51, 100, 7));
    assert!(packet.verify_checksum());
}

#[test]
fn broken_rules_are_named() {
    let good = packet(&[], proto::UDP, 0, &[0; 8]);
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Packet::new_checked(bytes).map(|_| ())
    };
    assert_eq!(broken(&|_| ()), Ok(()));
    assert_eq!(broken(&|b| b.truncate(28)), Ok(()));
    assert_eq!(broken(&|b| b.truncate(27)), Err(Malformed::Ip4TotalLength));
    assert_eq!(broken(&|b| b.truncate(19)), Err(Malformed::Ip4Short));
    assert_eq!(broken(&|b| b[0] = 0x65), Err(Malformed::Ip4Version));
    assert_eq!(broken(&|b| b[0] = 0x44), Err(Malformed::Ip4HeaderLength));
    assert_eq!(broken(&|b| b[0] = 0x4f), Err(Malformed::Ip4HeaderLength));
    assert_eq!(broken(&|b| b[3] = 19), Err(Malformed::Ip4TotalLength));
    assert_eq!(broken(&|b| b[3] = 20), Ok(()));
    assert_eq!(broken(&|b| b[2] = 1), Err(Malformed::Ip4TotalLength));
}

#[test]
fn wrong_checksum_is_found_by_parse() {
    let mut bytes = packet(&[], proto::UDP, 0, &[]);
    assert!(Repr::parse(&Packet::new_checked(&bytes[..]).unwrap()).is_ok());
    bytes[8] -= 1;
    let packet = Packet::new_checked(&bytes[..]).unwrap();
    assert_eq!(Repr::parse(&packet), Err(Malformed::Ip4Checksum));
}

#[test]
fn options_are_walked() {
    let walked = |options: &[u8]| walk(&packet(options, proto::UDP, 0, &[0; 8]));
    let plain = walked(&[]).unwrap();
    assert_eq!((plain.protocol, plain.offset, plain.end), (17, 20, 28));
    assert!(!plain.has_options && !plain.has_other_options && !plain.router_alert);

    let alert = walked(&[148, 4, 0, 0]).unwrap();
    assert!(alert.has_options && alert.router_alert && !alert.has_other_options);
    let both = walked(&[148, 4, 0, 0, 1, 7, 3, 4]).unwrap();
    assert!(both.router_alert && both.has_other_options);
    let padding = walked(&[1, 1, 1, 0]).unwrap();
    assert!(padding.has_options && padding.has_other_options && !padding.router_alert);
    // After the end of the list nothing is looked at.
    assert!(
        !walked(&[148, 4, 0, 0, 0, 7, 1, 1])
            .unwrap()
            .has_other_options
    );

    assert_eq!(walked(&[7, 1, 0, 0]), Err(Malformed::Ip4Option));
    assert_eq!(walked(&[7, 5, 0, 0]), Err(Malformed::Ip4Option));
    assert_eq!(walked(&[1, 1, 1, 7]), Err(Malformed::Ip4Option));
}

#[test]
fn fragments_are_told_apart() {
    let walked = |word, len| walk(&packet(&[], proto::UDP, word, &vec![0; len]));
    let first = walked(0x2000, 16).unwrap();
    assert!(first.is_fragment && !first.is_later_fragment);
    let last = walked(0x0002, 13).unwrap();
    assert!(last.is_fragment && last.is_later_fragment);
    assert!(!walked(0x4000, 13).unwrap().is_fragment);
    assert!(walked(0x4001, 8).unwrap().is_later_fragment);
    for (word, len) in [(0x2000, 13), (0x2000, 0), (0x1fff, 8)] {
        assert_eq!(
            walked(word, len),
            Err(Malformed::Ip4Fragment),
            "{word:04x} {len}"
        );
    }
    assert!(walked(0x1fff, 7).is_ok()); // ends at byte 65535 exactly
}

#[test]
fn authentication_headers_are_skipped_up_to_a_limit() {
    // 12 bytes each: length field 1 means 3 words.
    let chain = |n: usize, tail: &[u8]| {
        let mut payload = Vec::new();
        for i in 0..n {
            let next = if i + 1 == n { proto::TCP } else { proto::AH };
            payload.extend([next, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        payload.extend(tail);
        payload
    };
    let walked = |word, payload: &[u8]| walk(&packet(&[], proto::AH, word, payload));
    let one = walked(0, &chain(1, &[0; 20])).unwrap();
    assert_eq!((one.protocol, one.offset, one.has_auth), (6, 32, true));
    assert!(walked(0, &chain(CHAIN_MAX - 1, &[])).is_ok());
    assert_eq!(
        walked(0, &chain(CHAIN_MAX + 1, &[])),
        Err(Malformed::Ip4HeaderChain)
    );
    assert_eq!(walked(0, &chain(1, &[])[..11]), Err(Malformed::Ip4ExtShort));
    assert_eq!(walked(0, &[6]), Err(Malformed::Ip4ExtShort));
    let short = walked(0x2000, &chain(1, &[])[..8]).unwrap();
    assert_eq!((short.protocol, short.offset), (proto::AH, 20));
}

#[test]
fn replaced_addresses_keep_the_checksum_right() {
    let mut bytes = packet(&[], proto::UDP, 0, &[0; 8]);
    let mut packet = Packet::new_checked(&mut bytes[..]).unwrap();
    packet.replace_src(Ipv4Addr::new(10, 0, 0, 1));
    packet.replace_dst(Ipv4Addr::new(255, 255, 255, 254));
    assert!(packet.verify_checksum());
    assert_eq!(packet.src(), Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(packet.dst(), Ipv4Addr::new(255, 255, 255, 254));
}

proptest! {
    #[test]
    fn emit_then_parse_is_identity(
        src: u32, dst: u32, protocol: u8, ttl: u8, tos: u8, ident: u16,
        flags: (bool, bool), offset in 0u16..0x2000, payload_len in 0u16..1480,
    ) {
        let repr = Repr {
            src: src.into(), dst: dst.into(), protocol, ttl, tos, ident,
            dont_fragment: flags.0, more_fragments: flags.1,
            fragment_offset: offset << 3, payload_len,
        };
        let mut bytes = vec![0xaa; repr.buffer_len() + usize::from(payload_len)];
        repr.emit(&mut Packet::new_unchecked(&mut bytes[..]));
        prop_assert_eq!(Repr::parse(&Packet::new_checked(&bytes[..]).unwrap()), Ok(repr));
    }

    #[test]
    fn walk_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), ihl in 5u8..16) {
        if let Some(first) = bytes.first_mut() { *first = 0x40 | ihl; }
        if bytes.len() > 3 { bytes[2] = 0; }
        if let Ok(walk) = walk(&bytes) {
            prop_assert!(walk.offset <= walk.end && walk.end <= bytes.len());
        }
    }
}
