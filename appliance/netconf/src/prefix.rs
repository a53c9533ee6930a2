//! Addresses with prefixes: masks, networks, and how people write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// True if `addr` is in the network around `network`. Different families never are.
pub fn contains(network: IpAddr, prefix_len: u8, addr: IpAddr) -> bool {
    match (network, addr) {
        (IpAddr::V4(n), IpAddr::V4(a)) => (n.to_bits() ^ a.to_bits()) & mask4(prefix_len) == 0,
        (IpAddr::V6(n), IpAddr::V6(a)) => (n.to_bits() ^ a.to_bits()) & mask6(prefix_len) == 0,
        _ => false,
    }
}

/// The network an address is in: host bits zero.
pub(crate) fn network(addr: IpAddr, prefix_len: u8) -> IpAddr {
    match addr {
        IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() & mask4(prefix_len)).into(),
        IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() & mask6(prefix_len)).into(),
    }
}

/// The last address of an IPv4 network.
pub(crate) fn last4(addr: Ipv4Addr, prefix_len: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(addr.to_bits() | !mask4(prefix_len))
}

/// Bits of an address of this family.
pub(crate) fn width(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn mask4(prefix_len: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix_len.min(32)))
        .unwrap_or(0)
}

fn mask6(prefix_len: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(prefix_len.min(128)))
        .unwrap_or(0)
}

/// A netmask as hostname.if(5) takes it: `255.255.255.0`, `0xffffff00` or `24`.
pub(crate) fn netmask(text: &str) -> Option<u8> {
    let bits = if let Some(hex) = text.strip_prefix("0x") {
        u32::from_str_radix(hex, 16).ok()?
    } else if let Ok(dotted) = text.parse::<Ipv4Addr>() {
        dotted.to_bits()
    } else {
        return length(text, 32);
    };
    let ones = bits.leading_ones();
    (bits.checked_shl(ones).unwrap_or(0) == 0).then_some(ones as u8)
}

/// A prefix length of at most `most` bits, in plain digits.
pub(crate) fn length(text: &str, most: u8) -> Option<u8> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| plain && *n <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_read_in_all_three_forms() {
        for (text, want) in [
            ("255.255.255.0", Some(24)),
            ("0xffffff00", Some(24)),
            ("24", Some(24)),
            ("0.0.0.0", Some(0)),
            ("255.255.255.255", Some(32)),
            ("0xffffffff", Some(32)),
            ("255.0.255.0", None),
            ("0.255.255.255", None),
            ("33", None),
            ("+8", None),
            ("0x", None),
            ("", None),
        ] {
            assert_eq!(netmask(text), want, "{text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses_only() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (network, bits, addr, want) in [
            ("10.0.0.1", 24, "10.0.0.254", true),
            ("10.0.0.1", 24, "10.0.1.1", false),
            ("10.0.0.1", 0, "192.0.2.1", true),
            ("10.0.0.1", 32, "10.0.0.1", true),
            ("2001:db8::1", 64, "2001:db8::ffff", true),
            ("2001:db8::1", 64, "2001:db8:0:1::1", false),
            ("2001:db8::1", 0, "::", true),
            ("::", 0, "10.0.0.1", false),
        ] {
            assert_eq!(
                contains(ip(network), bits, ip(addr)),
                want,
                "{network} {addr}"
            );
        }
        assert_eq!(network(ip("10.1.2.3"), 16), ip("10.1.0.0"));
        assert_eq!(
            last4("10.1.2.3".parse().unwrap(), 22).to_string(),
            "10.1.3.255"
        );
    }
}
