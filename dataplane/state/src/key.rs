//! The key of a state: who talks with whom, independent of which of the two sent the packet at hand.
//!
//! PF orders the two ends by the *direction of the packet through the interface*: end 0 is the source of an
//! incoming packet and the destination of an outgoing one. A packet and its answer through the same interface
//! therefore have the same key, while the same packet leaving by another interface has the mirrored one. The routing
//! domain of the packet is part of the key.

use ruleset::{Af, Direction};

use crate::flow::ends::{hash4, hash6, rest};

/// Two ends, a protocol and a family. 40 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Key {
    /// Addresses as (high, low) halves, host order, IPv4 in the low 32 bits of the low half.
    addr: [[u64; 2]; 2],
    /// Ports, host order. ICMP echo: the identifier at the asking end, the request type at the other.
    port: [u16; 2],
    /// IP protocol.
    proto: u8,
    /// 4 or 6.
    version: u8,
    /// Routing domain in which the addresses are meant: two domains may have the same ones.
    rdomain: u8,
    spare: u8,
}

const _: () = assert!(size_of::<Key>() == 40);

/// Secret start value of the table's hash, so that nobody outside can choose keys that collide.
#[derive(Clone, Copy)]
pub struct HashSeed(pub u64);

impl Key {
    /// Key of a packet that passes an interface in `direction`.
    #[inline]
    pub fn new(
        direction: Direction,
        af: Af,
        proto: u8,
        src: (u128, u16),
        dst: (u128, u16),
    ) -> Self {
        let (zero, one) = match direction {
            Direction::In => (src, dst),
            Direction::Out => (dst, src),
        };
        Key {
            addr: [halves(zero.0), halves(one.0)],
            port: [zero.1, one.1],
            proto,
            version: match af {
                Af::Inet => 4,
                Af::Inet6 => 6,
            },
            rdomain: 0,
            spare: 0,
        }
    }

    /// The same in a routing domain.
    #[inline]
    pub fn within(self, rdomain: u8) -> Self {
        Key { rdomain, ..self }
    }

    /// Routing domain.
    #[inline]
    pub fn rdomain(&self) -> u8 {
        self.rdomain
    }

    /// Address and port of an end (0 or 1).
    #[inline]
    pub fn end(&self, n: usize) -> (u128, u16) {
        let [high, low] = self.addr[n & 1];
        (u128::from(high) << 64 | u128::from(low), self.port[n & 1])
    }

    /// The key of the same conversation on the far side of the firewall.
    #[inline]
    pub fn mirrored(&self) -> Self {
        Key {
            addr: [self.addr[1], self.addr[0]],
            port: [self.port[1], self.port[0]],
            ..*self
        }
    }

    /// The same for both directions of a conversation: the lower end first.
    #[inline]
    pub fn either_way(&self) -> Self {
        match (self.addr[1], self.port[1]) < (self.addr[0], self.port[0]) {
            true => self.mirrored(),
            false => *self,
        }
    }

    /// Sums (RFC 1071) of the addresses and of the ports.
    pub fn sums(&self) -> (u32, u32) {
        const EVEN: u64 = 0x0000_ffff_0000_ffff;
        let [[a, b], [c, d]] = self.addr;
        // Two sums in one word; eight words of 16 bits in each do not fill 32.
        let pairs = |half: u64| (half & EVEN) + (half >> 16 & EVEN);
        let sums = match self.version {
            4 => pairs(b) + pairs(d),
            _ => pairs(a) + pairs(b) + pairs(c) + pairs(d),
        };
        let addrs = (sums >> 32) as u32 + sums as u32;
        (addrs, u32::from(self.port[0]) + u32::from(self.port[1]))
    }

    /// IP protocol.
    pub fn proto(&self) -> u8 {
        self.proto
    }

    /// Address family.
    pub fn af(&self) -> Af {
        if self.version == 4 {
            Af::Inet
        } else {
            Af::Inet6
        }
    }

    /// Ports of end 0 and end 1 as they lie in a header.
    #[inline(always)]
    pub(crate) fn ports_on_wire(&self) -> u32 {
        let [[a, b], [c, d]] = self.port.map(u16::to_be_bytes);
        u32::from_ne_bytes([a, b, c, d])
    }

    /// IPv4 addresses of end 0 and end 1 as they lie in a header.
    #[inline(always)]
    pub(crate) fn inet_on_wire(&self) -> u64 {
        let [[a, b, c, d], [e, f, g, h]] = self.addr.map(|[_, low]| (low as u32).to_be_bytes());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    /// IPv6 addresses likewise.
    #[inline(always)]
    pub(crate) fn inet6_on_wire(&self) -> [u64; 4] {
        let [[a, b], [c, d]] = self.addr;
        [a, b, c, d].map(u64::to_be)
    }

    /// Keyed hash for the table: that of the ends of a packet that comes in, so that who has it from there need not make a key.
    /// Not for choosing the owner core.
    #[inline]
    pub fn hash(&self, seed: HashSeed) -> u64 {
        let rest = rest(self.version, self.ports_on_wire(), self.proto, 0);
        let ends = match self.version {
            4 => hash4(self.inet_on_wire(), rest, seed),
            _ => hash6(self.inet6_on_wire(), rest, seed),
        };
        hash_within(ends, self.rdomain)
    }
}

/// Hash of a key in a routing domain, by that of its ends.
#[inline(always)]
pub(crate) fn hash_within(ends: u64, rdomain: u8) -> u64 {
    match rdomain {
        0 => ends,
        _ => ends ^ u64::from(rdomain).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

#[inline]
fn halves(addr: u128) -> [u64; 2] {
    [(addr >> 64) as u64, addr as u64]
}

#[inline]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_and_its_answer_through_one_interface_have_one_key() {
        let (a, b) = ((0x0a00_0001, 1024), (0xc0a8_0001, 80));
        let there = Key::new(Direction::In, Af::Inet, 6, a, b);
        let back = Key::new(Direction::Out, Af::Inet, 6, b, a);
        assert_eq!(there, back);
        let forwarded = Key::new(Direction::Out, Af::Inet, 6, a, b);
        assert_ne!(there, forwarded);
        assert_eq!(there.either_way(), forwarded.either_way());
        assert_eq!(there.mirrored(), forwarded);
        assert_eq!((there.end(0), there.end(1)), (a, b));
    }

    #[test]
    fn the_hash_depends_on_every_part_and_on_the_seed() {
        let base = || Key::new(Direction::In, Af::Inet6, 6, (1, 2), (3, 4));
        let seed = HashSeed(0x1234_5678_9abc_def0);
        let h = base().hash(seed);
        for other in [
            Key::new(Direction::In, Af::Inet6, 17, (1, 2), (3, 4)),
            Key::new(Direction::In, Af::Inet6, 6, (1 << 100, 2), (3, 4)),
            Key::new(Direction::In, Af::Inet6, 6, (1, 2), (3 << 64, 4)),
            Key::new(Direction::In, Af::Inet6, 6, (1, 5), (3, 4)),
            Key::new(Direction::In, Af::Inet6, 6, (1, 2), (3, 5)),
            base().mirrored(),
            base().within(1),
        ] {
            assert_ne!(h, other.hash(seed), "{other:?}");
        }
        assert_ne!(h, base().hash(HashSeed(1)));
    }
}
