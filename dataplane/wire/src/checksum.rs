//! The Internet checksum: computing it, and updating it when a word changes.
//!
//! Read first: RFC 1071 (the sum and why it may be taken in any word size and order) and RFC 1624
//! (equation 3, the update that never turns a right checksum wrong).
//!
//! *Sum* here means a partial one's-complement sum in 32 bits, big-endian words, not inverted:
//! add sums with `+` (up to 65536 of them cannot overflow), then [`fold`] and invert once.
//! *Delta* means the folded difference that a rewrite makes, computed once and applied to every
//! packet of a flow with [`apply`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Sums bytes as big-endian 16-bit words; an odd last byte counts as if a zero followed.
/// The result is at most `0xffff`.
#[inline]
pub fn sum(data: &[u8]) -> u32 {
    // RFC 1071 2: the sum does not depend on byte order or word size, so take native 32-bit words
    // and put the bytes in order once at the end. A packet cannot overflow 64 bits.
    let mut total: u64 = 0;
    let mut chunks = data.chunks_exact(4);
    for c in &mut chunks {
        total += u64::from(u32::from_ne_bytes([c[0], c[1], c[2], c[3]]));
    }
    let mut last = [0u8; 4];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_ne_bytes(last));

    total = (total & 0xffff_ffff) + (total >> 32);
    total = (total & 0xffff_ffff) + (total >> 32);
    let folded = fold((total & 0xffff) as u32 + (total >> 16) as u32);
    u32::from(u16::from_be_bytes(folded.to_ne_bytes()))
}

/// Folds a sum into 16 bits with end-around carry. Not inverted.
#[inline]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// The checksum of a block of bytes: folded and inverted. Over bytes that include a right checksum
/// field the result is 0.
#[inline]
pub fn data(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The sum of an address.
#[inline]
pub fn addr4(addr: Ipv4Addr) -> u32 {
    let bits = addr.to_bits();
    (bits >> 16) + (bits & 0xffff)
}

/// The sum of an address.
#[inline]
pub fn addr6(addr: Ipv6Addr) -> u32 {
    addr.segments().iter().map(|&word| u32::from(word)).sum()
}

/// The sum of an address of either family.
#[inline]
pub fn addr(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(a) => addr4(a),
        IpAddr::V6(a) => addr6(a),
    }
}

/// The sum of the IPv4 pseudo header (RFC 9293 3.1, RFC 768); `len` is the length in bytes of
/// transport header and payload.
#[inline]
pub fn pseudo4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: u16) -> u32 {
    addr4(src) + addr4(dst) + u32::from(protocol) + u32::from(len)
}

/// The sum of the IPv6 pseudo header (RFC 8200 8.1); `len` is the length in bytes of the upper-layer
/// header and payload, `next_header` the protocol above the extension headers.
#[inline]
pub fn pseudo6(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8, len: u32) -> u32 {
    addr6(src) + addr6(dst) + u32::from(next_header) + (len >> 16) + (len & 0xffff)
}

/// The pseudo header sum of either family. Source and destination are of the same family in every
/// packet; were they not, the sum would only be wrong.
#[inline]
pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> u32 {
    let len = len as u32;
    addr(src) + addr(dst) + u32::from(protocol) + (len >> 16) + (len & 0xffff)
}

/// The checksum after one 16-bit word under it changed (RFC 1624 equation 3). The word must begin at
/// an even offset of the summed bytes.
#[inline]
pub const fn adjust(old_sum: u16, old_word: u16, new_word: u16) -> u16 {
    apply(old_sum, delta(old_word as u32, new_word as u32))
}

/// [`adjust`] for a 32-bit field (an IPv4 address, a sequence number).
#[inline]
pub const fn adjust32(old_sum: u16, old: u32, new: u32) -> u16 {
    apply(old_sum, delta32(old, new))
}

/// [`adjust`] for an IPv4 address.
#[inline]
pub fn adjust_addr4(old_sum: u16, old: Ipv4Addr, new: Ipv4Addr) -> u16 {
    apply(old_sum, delta(addr4(old), addr4(new)))
}

/// [`adjust`] for a 128-bit IPv6 address.
#[inline]
pub fn adjust_addr6(old_sum: u16, old: Ipv6Addr, new: Ipv6Addr) -> u16 {
    apply(old_sum, delta(addr6(old), addr6(new)))
}

/// [`adjust`] for an address that changes, perhaps to the other family (`af-to`).
#[inline]
pub fn adjust_addr(old_sum: u16, old: IpAddr, new: IpAddr) -> u16 {
    apply(old_sum, delta(addr(old), addr(new)))
}

/// [`adjust`] for a 16-bit word at any offset: at an odd one its bytes weigh the other way round.
#[inline]
pub const fn adjust_at(old_sum: u16, offset: usize, old_word: u16, new_word: u16) -> u16 {
    if offset.is_multiple_of(2) {
        adjust(old_sum, old_word, new_word)
    } else {
        adjust(old_sum, old_word.swap_bytes(), new_word.swap_bytes())
    }
}

/// The delta of replacing a part that sums to `old` by one that sums to `new`.
#[inline]
pub const fn delta(old: u32, new: u32) -> u16 {
    fold((!fold(old)) as u32 + fold(new) as u32)
}

/// The delta of replacing one 32-bit field.
#[inline]
pub const fn delta32(old: u32, new: u32) -> u16 {
    delta((old >> 16) + (old & 0xffff), (new >> 16) + (new & 0xffff))
}

/// Two deltas as one.
#[inline]
pub const fn join(a: u16, b: u16) -> u16 {
    fold(a as u32 + b as u32)
}

/// Applies a delta to a checksum.
#[inline]
pub const fn apply(old_sum: u16, delta: u16) -> u16 {
    !fold((!old_sum) as u32 + delta as u32)
}

/// Applies a delta to a UDP checksum: 0 means "none" and stays (RFC 768); a result of 0 is sent as
/// `0xffff`, which is the same number in one's complement.
#[inline]
pub const fn apply_udp(old_sum: u16, delta: u16) -> u16 {
    match old_sum {
        0 => 0,
        old_sum => udp_zero(apply(old_sum, delta)),
    }
}

/// The UDP zero rule for a computed checksum: 0 is sent as `0xffff` (RFC 768).
#[inline]
pub const fn udp_zero(sum: u16) -> u16 {
    if sum == 0 { 0xffff } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 as written: 16-bit words, one by one.
    fn plain(data: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in data.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            total += u32::from(u16::from_be_bytes([pair[0], low]));
            total = (total >> 16) + (total & 0xffff);
        }
        total as u16
    }

    #[test]
    fn example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes), 0xddf2);
        assert_eq!(data(&bytes), !0xddf2);
    }

    #[test]
    fn corner_cases() {
        assert_eq!(sum(&[]), 0);
        assert_eq!(data(&[]), 0xffff);
        assert_eq!(data(&[0xff; 4096]), 0);
        assert_eq!(sum(&[0x12]), 0x1200);
        // The example of RFC 1624 4: equation 2 of RFC 1141 gets this one wrong.
        assert_eq!(adjust(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn udp_without_checksum_stays_without() {
        assert_eq!(apply_udp(0, 0x1234), 0);
        assert_eq!(apply_udp(0xdd2f, delta(0x5555, 0x3285)), 0xffff);
    }

    proptest! {
        #[test]
        fn sum_is_the_plain_sum(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(sum(&bytes), u32::from(plain(&bytes)));
        }

        #[test]
        fn sums_add_up(
            a in proptest::collection::vec(any::<u8>(), 0..50),
            b in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let a = &a[..a.len() & !1];
            let whole = [a, &b].concat();
            prop_assert_eq!(fold(sum(a) + sum(&b)), plain(&whole));
        }

        #[test]
        fn update_equals_recomputation(
            mut bytes in proptest::collection::vec(any::<u8>(), 4..80),
            at: prop::sample::Index,
            new: u16,
        ) {
            bytes[0] = 0x45; // as in any real header: never all zero, where 0 and 0xffff differ
            let at = 2 + at.index(bytes.len() - 3);
            let before = data(&bytes);
            let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(adjust_at(before, at, old, new), data(&bytes));
        }

        #[test]
        fn updates_of_wide_fields_equal_recomputation(
            old4: u32, new4: u32, old6: u128, new6: u128, tail in proptest::collection::vec(any::<u8>(), 1..40),
        ) {
            let with4 = |bits: u32| data(&[&[0x45, 0], &bits.to_be_bytes()[..], &tail].concat());
            let with6 = |bits: u128| data(&[&[0x45, 0], &bits.to_be_bytes()[..], &tail].concat());
            let (a4, b4) = (Ipv4Addr::from_bits(old4), Ipv4Addr::from_bits(new4));
            let (a6, b6) = (Ipv6Addr::from_bits(old6), Ipv6Addr::from_bits(new6));
            prop_assert_eq!(adjust32(with4(old4), old4, new4), with4(new4));
            prop_assert_eq!(adjust_addr4(with4(old4), a4, b4), with4(new4));
            prop_assert_eq!(adjust_addr6(with6(old6), a6, b6), with6(new6));
            // Across families, as af-to does to the pseudo header.
            prop_assert_eq!(adjust_addr(with4(old4), a4.into(), b6.into()), with6(new6));
            prop_assert_eq!(adjust_addr(with6(old6), a6.into(), b4.into()), with4(new4));
        }

        #[test]
        fn deltas_join(old_a: u32, new_a: u32, old_b: u32, new_b: u32, start in 0u16..0xffff) {
            let one = delta32(old_a, new_a);
            let two = delta32(old_b, new_b);
            prop_assert_eq!(apply(apply(start, one), two), apply(start, join(one, two)));
        }
    }
}
