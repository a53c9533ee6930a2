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
            let [src, dst] = [false, true].map(|of_dst| self.inet_addr(of_dst));
            (u128::from(src), u128::from(dst))
        } else {
            let [a, b, c] = self.more.map(u64::from_be);
            let addr = |high, low| u128::from(high) << 64 | u128::from(low);
            (addr(u64::from_be(self.addrs), a), addr(b, c))
        };
        [(src, ports.0), (dst, ports.1)]
    }

    /// Of IPv4: an address, host order, of the source or of the destination.
    #[inline(always)]
    pub fn inet_addr(&self, of_dst: bool) -> u32 {
        let [a, b, c, d, e, f, g, h] = self.addrs.to_ne_bytes();
        u32::from_be_bytes(match of_dst {
            false => [a, b, c, d],
            true => [e, f, g, h],
        })
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
        match self.is_inet() {
            true => hash4(self.addrs, self.rest, seed),
            false => {
                let [a, b, c] = self.more;
                hash6([self.addrs, a, b, c], self.rest, seed)
            }
        }
    }
}

/// Keyed hash of the addresses and the rest of IPv4 packets as in [`Ends`], without the interface.
#[inline(always)]
pub(crate) fn hash4(addrs: u64, rest: u64, seed: HashSeed) -> u64 {
    let rest = rest << 16;
    let h = fold(addrs ^ seed.0, rest ^ 0x9e37_79b9_7f4a_7c15);
    fold(h ^ rest, seed.0 ^ 0x8ebc_6af0_9c88_c6e3)
}

/// The same of IPv6 packets.
#[inline(always)]
pub(crate) fn hash6(addrs: [u64; 4], rest: u64, seed: HashSeed) -> u64 {
    let rest = rest << 16;
    let [addrs, a, b, c] = addrs;
    let h = fold(addrs ^ seed.0, rest ^ 0x9e37_79b9_7f4a_7c15);
    let h = fold(h ^ a, b ^ 0xe703_7ed1_a0b4_28db) ^ c;
    fold(h ^ rest, seed.0 ^ 0x8ebc_6af0_9c88_c6e3)
}

#[inline(always)]
pub(crate) fn rest(version: u8, ports: u32, proto: u8, interface: u16) -> u64 {
    u64::from(ports)
        | u64::from(proto) << 32
        | u64::from(version) << 40
        | u64::from(interface) << 48
}

/// The bit in which 4 and 6 differ.
#[inline(always)]
fn is_inet(rest: u64) -> bool {
    rest >> 41 & 1 == 0
}

/// What a packet with this key, end 0 first, is looked up by.
pub(super) fn ends(key: &Key, interface: u16) -> Ends {
    let (ports, proto) = (key.ports_on_wire(), key.proto());
    match key.af() {
        Af::Inet => Ends::inet(key.inet_on_wire(), ports, proto, interface),
        Af::Inet6 => Ends::inet6(key.inet6_on_wire(), ports, proto, interface),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::hash_within;

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
                let seed = HashSeed(0x1234_5678_9abc_def0);
                assert_eq!(hash_within(of.hash(seed), 3), key.hash(seed));
                let back = Key::new(Direction::In, af, proto, dst, src);
                assert_eq!(of.mixed(), ends(&back, 4).mixed());
                let other = Key::new(Direction::In, af, proto, src, (dst.0, dst.1 ^ 1));
                assert_ne!(of.mixed(), ends(&other, 9).mixed());
            }
        }
    }
}
