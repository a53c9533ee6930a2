//! Messages read back as they were written, and those that are refused.

use super::*;
use proptest::prelude::*;

fn emitted(repr: &Repr) -> Vec<u8> {
    let mut bytes = vec![0xaa; repr.buffer_len()];
    repr.emit(&mut Packet::new_unchecked(&mut bytes[..]));
    bytes
}

#[test]
fn reads_a_neighbor_solicitation() {
    let mut bytes = vec![135, 0, 0, 0, 0, 0, 0, 0];
    let target: Ipv6Addr = "fe80::1".parse().unwrap();
    bytes.extend(target.octets());
    bytes.extend([1, 1, 0x52, 0x54, 0, 0, 0, 1]);
    let packet = Packet::new_checked(&bytes[..]).unwrap();
    let repr = Repr::NeighborSolicit(NeighborSolicit {
        target,
        source_link: Some(Addr([0x52, 0x54, 0, 0, 0, 1])),
    });
    assert_eq!(Repr::parse(&packet), Ok(repr));
    assert_eq!(emitted(&repr), bytes);
    assert_eq!(packet.target(), Some(target));
}

#[test]
fn least_length_depends_on_the_type() {
    let check = |kind: u8, len: usize| {
        let mut bytes = vec![0; len];
        bytes[0] = kind;
        Packet::new_checked(bytes).map(|_| ())
    };
    let cases = [
        (1, 8),
        (128, 8),
        (130, 24),
        (133, 8),
        (134, 16),
        (135, 24),
        (136, 24),
        (137, 40),
        (200, 8),
    ];
    for (kind, least) in cases {
        assert_eq!(check(kind, least), Ok(()), "{kind}");
        assert_eq!(check(kind, least - 1), Err(Malformed::Icmp6Short), "{kind}");
    }
    assert_eq!(
        Packet::new_checked([]).map(|_| ()),
        Err(Malformed::Icmp6Short)
    );
}

#[test]
fn one_broken_option_voids_the_message() {
    for options in [
        &[1u8, 0, 0, 0, 0, 0, 0, 0][..],
        &[1, 2, 0, 0, 0, 0, 0, 0],
        &[14, 1, 0, 0, 0, 0, 0, 0, 1],
    ] {
        let mut bytes = vec![0; 24];
        bytes[0] = kind::NEIGHBOR_ADVERT;
        bytes.extend(options);
        let packet = Packet::new_checked(&bytes[..]).unwrap();
        assert_eq!(
            Repr::parse(&packet),
            Err(Malformed::NdOption),
            "{options:?}"
        );
    }
}

#[test]
fn checksum_covers_the_addresses() {
    let repr = Repr::EchoRequest {
        ident: 1,
        seq: 2,
        data: b"fugu",
    };
    let mut bytes = emitted(&repr);
    let (a, b): (Ipv6Addr, Ipv6Addr) = ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap());
    Packet::new_unchecked(&mut bytes[..]).fill_checksum(a, b);
    let packet = Packet::new_checked(&bytes[..]).unwrap();
    assert!(packet.verify_checksum(a, b));
    assert!(!packet.verify_checksum(a, "fe80::3".parse().unwrap()));
}

proptest! {
    #[test]
    fn parse_then_emit_is_identity(
        kind in prop::sample::select(vec![1u8, 2, 3, 4, 128, 129, 131, 133, 134, 135, 136, 137, 143, 200]),
        code in 0u8..2, rest: [u8; 4],
        mut data in proptest::collection::vec(any::<u8>(), 0..64), link: Option<[u8; 6]>,
    ) {
        // Discovery messages get a well-formed option after their fixed part, or none.
        let fixed = fixed_len(kind) - HEADER_LEN;
        if (133..=137).contains(&kind) || data.len() < fixed {
            data.resize(fixed, 7);
            if let Some([a, b, c, d, e, f]) = link {
                data.extend([if kind < 136 { 1 } else { 2 }, 1, a, b, c, d, e, f]);
            }
        }
        let bytes = emitted(&Repr::Other { kind, code, rest, data: &data });
        let packet = Packet::new_checked(&bytes[..]).unwrap();
        let repr = Repr::parse(&packet).unwrap();
        prop_assert_eq!(repr.buffer_len(), bytes.len());
        let again = emitted(&repr);
        let packet = Packet::new_checked(&again[..]).unwrap();
        prop_assert_eq!(Repr::parse(&packet), Ok(repr));
    }

    #[test]
    fn arbitrary_bytes_never_panic(kind in 0u8..150, mut bytes in proptest::collection::vec(any::<u8>(), 1..80)) {
        bytes[0] = kind;
        if let Ok(packet) = Packet::new_checked(&bytes[..])
            && let Ok(repr) = Repr::parse(&packet)
        {
            prop_assert!(repr.buffer_len() <= bytes.len());
        }
    }
}
