//! What a packet is looked up by among flows, and how a flow is named.

use ruleset::{Af, Direction};

use crate::key::{HashSeed, Key, fold};

/// Number of a flow and one of its ways: twice the flow, plus the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowRef(pub u32);

impl FlowRef {
    /// No flow.
    pub const NONE: FlowRef = FlowRef(u32::MAX);

    /// The flow.
    #[inline]
    pub fn number(self) -> u32 {
        self.0 >> 1
    }

    #[inline]
    pub(super) fn flow(self) -> usize {
        self.number() as usize
    }

    #[inline]
    pub(super) fn way(self) -> usize {
        (self.0 & 1) as usize
    }
}

/// What a packet is looked up by: words of its header as they lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ends {
    /// IPv4: source and destination, 4 bytes each. IPv6: the first half of the source.
    pub addrs: u64,
    /// Both ports, protocol, family, and the interface that the packet came in by.
    pub rest: u64,
    /// What follows of IPv6 addresses.
    pub more: [u64; 3],
}

impl Ends {
    /// No packet's.
    pub const NONE: Ends = Ends {
        addrs: 0,
        rest: 0,
        more: [0; 3],
    };

    /// Those of an IPv4 packet: addresses and ports as in the header.
    #[inline(always)]
    pub fn inet(addrs: u64, ports: u32, proto: u8, interface: u16) -> Self {
        Ends {
            addrs,
            rest: rest(4, ports, proto, interface),
            more: [0; 3],
        }
    }

    /// Those of an IPv6 packet.
    #[inline(always)]
    pub fn inet6(addrs: [u64; 4], ports: u32, proto: u8, interface: u16) -> Self {
        let [addrs, a, b, c] = addrs;
        Ends {
            addrs,
            rest: rest(6, ports, proto, interface),
            more: [a, b, c],
        }
    }

    /// Whether they are of IPv4.
    #[inline(always)]
    pub fn is_inet(&self) -> bool {
        is_inet(self.rest)
    }

    /// The interface that the packet came in by, and in the lowest byte the version of IP.
    #[inline(always)]
    pub fn interface_and_family(&self) -> u32 {
        (self.rest >> 40) as u32
    }

    /// IP protocol.
    #[inline(always)]
    pub fn proto(&self) -> u8 {
        (self.rest >> 32) as u8
    }

    /// Number of the interface that the packet came in by.
    #[inline(always)]
    pub fn interface(&self) -> u16 {
        (self.rest >> 48) as u16
    }

    /// Family.
    #[inline(always)]
    pub fn af(&self) -> Af {
        match self.is_inet() {
            true => Af::Inet,
            false => Af::Inet6,
        }
    }

    /// Ports of source and destination.
    #[inline(always)]
    pub fn ports(&self) -> (u16, u16) {
        let [a, b, c, d] = (self.rest as u32).to_ne_bytes();
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }

    /// Address and port of source and destination, as in [`Key::new`].
    #[inline(always)]
    pub fn both(&self) -> [(u128, u16); 2] {
        let ports = self.ports();
        let (src, dst) = if self.is_inet() {
            let [a, b, c, d, e, f, g, h] = self.addrs.to_ne_bytes();
            (
                u128::from(u32::from_be_bytes([a, b, c, d])),
                u128::from(u32::from_be_bytes([e, f, g, h])),
            )
        } else {
            let [a, b, c] = self.more.map(u64::from_be);
            let addr = |high, low| u128::from(high) << 64 | u128::from(low);
            (addr(u64::from_be(self.addrs), a), addr(b, c))
        };
        [(src, ports.0), (dst, ports.1)]
    }

    /// The key of a packet that comes in with these in a routing domain.
    #[inline(always)]
    pub fn key(&self, rdomain: u8) -> Key {
        let [src, dst] = self.both();
        Key::new(Direction::In, self.af(), self.proto(), src, dst).within(rdomain)
    }

    /// A number that a packet and one the other way share. Others may have it too.
    #[inline(always)]
    pub fn mixed(&self) -> u64 {
        let ports = self.rest as u32;
        let ports = u64::from(ports ^ ports.rotate_left(16));
        let addrs = match self.is_inet() {
            true => self.addrs ^ self.addrs.rotate_left(32),
            false => {
                let [a, b, c] = self.more;
                (self.addrs ^ b) ^ (a ^ c).rotate_left(17)
            }
        };
        (addrs ^ ports.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Hash for the index. The interface is no part of it: a connection may move.
    #[inline(always)]
    pub fn hash(&self, seed: HashSeed) -> u64 {
        let rest = self.rest << 16;
        let mut h = fold(self.addrs ^ seed.0, rest ^ 0x9e37_79b9_7f4a_7c15);
        if !self.is_inet() {
            let [a, b, c] = self.more;
            h = fold(h ^ a, b ^ 0xe703_7ed1_a0b4_28db) ^ c;
        }
        fold(h ^ rest, seed.0 ^ 0x8ebc_6af0_9c88_c6e3)
    }
}

#[inline(always)]
fn rest(version: u64, ports: u32, proto: u8, interface: u16) -> u64 {
    u64::from(ports) | u64::from(proto) << 32 | version << 40 | u64::from(interface) << 48
}

/// The bit in which 4 and 6 differ.
#[inline(always)]
fn is_inet(rest: u64) -> bool {
    rest >> 41 & 1 == 0
}

/// What a packet with this key, end 0 first, is looked up by.
pub(super) fn ends(key: &Key, interface: u16) -> Ends {
    let (zero, one) = (key.end(0), key.end(1));
    let ([a, b], [c, d]) = (zero.1.to_be_bytes(), one.1.to_be_bytes());
    let ports = u32::from_ne_bytes([a, b, c, d]);
    match key.af() {
        Af::Inet => {
            let [a, b, c, d] = (zero.0 as u32).to_be_bytes();
            let [e, f, g, h] = (one.0 as u32).to_be_bytes();
            let addrs = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
            Ends::inet(addrs, ports, key.proto(), interface)
        }
        Af::Inet6 => {
            let halves = [zero.0 >> 64, zero.0, one.0 >> 64, one.0];
            let addrs = halves.map(|half| (half as u64).to_be());
            Ends::inet6(addrs, ports, key.proto(), interface)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_say_the_key_that_they_were_made_of() {
        let v6 = |n: u128| 0x2001_0db8_0000_1111_2222_3333_4444_0000_u128 | n;
        let v4 = [(0xc000_0202_u128, 1024), (0xc633_6402, 53)];
        for (af, [src, dst]) in [
            (Af::Inet, v4),
            (Af::Inet6, [(v6(1), 7), (v6(2) << 1, 0x8001)]),
        ] {
            for proto in [6, 17] {
                let key = Key::new(Direction::In, af, proto, src, dst).within(3);
                let of = ends(&key, 9);
                assert_eq!((of.key(3), of.af(), of.interface()), (key, af, 9));
                assert_eq!(of.both(), [src, dst]);
                let back = Key::new(Direction::In, af, proto, dst, src);
                assert_eq!(of.mixed(), ends(&back, 4).mixed());
                let other = Key::new(Direction::In, af, proto, src, (dst.0, dst.1 ^ 1));
                assert_ne!(of.mixed(), ends(&other, 9).mixed());
            }
        }
    }
}
