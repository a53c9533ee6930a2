//! Addresses as a person types them for the management interface, and what can be wrong with them.

use std::net::IpAddr;

/// `192.0.2.1/24` or `2001:db8::1/64`: an address a host can have, with the length of its network's prefix.
pub(crate) fn with_prefix(text: &str) -> Result<(IpAddr, u8), String> {
    let Some((addr, len)) = text.split_once('/') else {
        return Err(format!(
            "'{text}': the prefix length is missing, as in 192.0.2.1/24"
        ));
    };
    let addr = host(addr)?;
    let bits = if addr.is_ipv4() { 32 } else { 128 };
    let len = match len.parse::<u8>() {
        Ok(len) if (1..=bits).contains(&len) => len,
        _ => {
            return Err(format!(
                "'{len}' in '{text}': a prefix length is a number from 1 to {bits}"
            ));
        }
    };
    if let IpAddr::V4(a) = addr {
        let host_bits = if len < 31 { u32::MAX >> len } else { 0 };
        let part = a.to_bits() & host_bits;
        if host_bits != 0 && part == 0 {
            return Err(format!("'{text}' is the network, not a host in it"));
        }
        if host_bits != 0 && part == host_bits {
            return Err(format!("'{text}' is the broadcast address of the network"));
        }
    }
    Ok((addr, len))
}

/// An address a host can have.
pub(crate) fn host(text: &str) -> Result<IpAddr, String> {
    let addr: IpAddr = text
        .parse()
        .map_err(|_| format!("'{text}' is not an IP address"))?;
    let special = match addr {
        IpAddr::V4(a) => a.octets()[0] == 0 || a.octets()[0] >= 240,
        IpAddr::V6(a) => a.to_ipv4_mapped().is_some(),
    };
    if special || addr.is_unspecified() || addr.is_loopback() || addr.is_multicast() {
        return Err(format!("'{text}' is not an address a host can have"));
    }
    Ok(addr)
}

/// A gateway that a host with this address can reach.
pub(crate) fn gateway(text: &str, addr: IpAddr, len: u8) -> Result<IpAddr, String> {
    let gateway = host(text)?;
    if gateway.is_ipv4() != addr.is_ipv4() {
        return Err(format!("'{text}' is not of the same family as {addr}"));
    }
    if gateway == addr {
        return Err(format!("'{text}' is the address of this box itself"));
    }
    let len = u32::from(len);
    let reachable = match (gateway, addr) {
        (IpAddr::V4(g), IpAddr::V4(a)) => (g.to_bits() ^ a.to_bits()).leading_zeros() >= len,
        (IpAddr::V6(g), IpAddr::V6(a)) => {
            g.is_unicast_link_local() || (g.to_bits() ^ a.to_bits()).leading_zeros() >= len
        }
        _ => false,
    };
    if !reachable {
        return Err(format!("'{text}' is not in the network of {addr}/{len}"));
    }
    Ok(gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_address() {
        for (text, says) in [
            (
                "192.0.2.1",
                "'192.0.2.1': the prefix length is missing, as in 192.0.2.1/24",
            ),
            ("192.0.2.300/24", "'192.0.2.300' is not an IP address"),
            (
                "192.0.2.1/33",
                "'33' in '192.0.2.1/33': a prefix length is a number from 1 to 32",
            ),
            (
                "2001:db8::1/0",
                "'0' in '2001:db8::1/0': a prefix length is a number from 1 to 128",
            ),
            (
                "192.0.2.0/24",
                "'192.0.2.0/24' is the network, not a host in it",
            ),
            (
                "192.0.2.255/24",
                "'192.0.2.255/24' is the broadcast address of the network",
            ),
            (
                "127.0.0.1/8",
                "'127.0.0.1' is not an address a host can have",
            ),
            (
                "224.0.0.1/24",
                "'224.0.0.1' is not an address a host can have",
            ),
            ("::/64", "'::' is not an address a host can have"),
        ] {
            assert_eq!(with_prefix(text), Err(says.to_string()));
        }
        for text in [
            "192.0.2.1/24",
            "192.0.2.0/31",
            "192.0.2.255/32",
            "10.0.1.0/16",
            "2001:db8::/64",
        ] {
            assert!(with_prefix(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_gateway() {
        let v4 = ("192.0.2.1".parse().unwrap(), 24);
        let v6 = ("2001:db8::1".parse().unwrap(), 64);
        for (text, (addr, len), says) in [
            (
                "192.0.3.1",
                v4,
                "'192.0.3.1' is not in the network of 192.0.2.1/24",
            ),
            (
                "192.0.2.1",
                v4,
                "'192.0.2.1' is the address of this box itself",
            ),
            (
                "2001:db8::2",
                v4,
                "'2001:db8::2' is not of the same family as 192.0.2.1",
            ),
            (
                "2001:db9::2",
                v6,
                "'2001:db9::2' is not in the network of 2001:db8::1/64",
            ),
            ("gw", v4, "'gw' is not an IP address"),
        ] {
            assert_eq!(gateway(text, addr, len), Err(says.to_string()));
        }
        assert!(gateway("192.0.2.254", v4.0, v4.1).is_ok());
        assert!(gateway("fe80::1", v6.0, v6.1).is_ok());
    }
}
