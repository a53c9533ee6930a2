//! Address prefixes: a network address and how many of its bits count.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// A network: the host bits of the address are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Prefix {
    /// The IPv4 default route, `0.0.0.0/0`.
    pub const DEFAULT4: Prefix = Prefix {
        addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        len: 0,
    };

    /// The IPv6 default route, `::/0`.
    pub const DEFAULT6: Prefix = Prefix {
        addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        len: 0,
    };

    /// The network that contains `addr`; a length beyond the address's bits counts as all of them.
    pub fn containing(addr: IpAddr, len: u8) -> Prefix {
        match addr {
            IpAddr::V4(addr) => {
                let len = len.min(32);
                let bits = addr.to_bits() & u32::MAX.unbounded_shl(32 - u32::from(len));
                Prefix {
                    addr: Ipv4Addr::from_bits(bits).into(),
                    len,
                }
            }
            IpAddr::V6(addr) => {
                let len = len.min(128);
                let bits = addr.to_bits() & u128::MAX.unbounded_shl(128 - u32::from(len));
                Prefix {
                    addr: Ipv6Addr::from_bits(bits).into(),
                    len,
                }
            }
        }
    }

    /// The prefix of one address.
    pub fn host(addr: IpAddr) -> Prefix {
        Prefix::containing(addr, 128)
    }

    /// The network address.
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// How many bits of the address count.
    pub const fn prefix_len(&self) -> u8 {
        self.len
    }

    /// Whether this is one address.
    pub const fn is_host(&self) -> bool {
        match self.addr {
            IpAddr::V4(_) => self.len == 32,
            IpAddr::V6(_) => self.len == 128,
        }
    }

    /// Whether `addr` is in the network.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.addr.is_ipv4() == addr.is_ipv4() && Prefix::containing(addr, self.len) == *self
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixSyntax;

impl fmt::Display for PrefixSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address, or an address and a prefix length with the host bits zero")
    }
}

impl core::error::Error for PrefixSyntax {}

impl FromStr for Prefix {
    type Err = PrefixSyntax;

    /// An address, or an address, a slash and a length; host bits must be zero.
    fn from_str(text: &str) -> Result<Prefix, PrefixSyntax> {
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| PrefixSyntax)?;
        let host = Prefix::host(addr);
        let Some(len) = len else { return Ok(host) };
        let len = len.parse::<u8>().map_err(|_| PrefixSyntax)?;
        let prefix = Prefix::containing(addr, len);
        if prefix.len != len || prefix.addr != addr {
            return Err(PrefixSyntax);
        }
        Ok(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn contains_exactly_its_network() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("10.0.0.1/32", "10.0.0.1", "10.0.0.2"),
            ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("::/0", "ff02::1", "0.0.0.0"),
            ("::1/128", "::1", "::2"),
        ] {
            assert!(
                prefix(network).contains(inside.parse().unwrap()),
                "{network}"
            );
            assert!(
                !prefix(network).contains(outside.parse().unwrap()),
                "{network}"
            );
            assert_eq!(prefix(network).to_string(), network);
        }
        assert_eq!(prefix("192.0.2.1").to_string(), "192.0.2.1/32");
        assert!(prefix("::1").is_host() && !prefix("10.0.0.0/31").is_host());
    }

    #[test]
    fn texts_that_are_no_prefixes() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/24",
            "::1/64",
            "::/129",
            "10/8",
            "::/",
            "::/-1",
            "::/999",
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(PrefixSyntax), "{text}");
        }
    }
}
