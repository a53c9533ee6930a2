//! Which core owns a connection: a symmetric hash over the ends as they are on the wire, so that both directions
//! name the same core.
//!
//! It is the Toeplitz hash with the key 0x6d5a repeated, which cards compute as well (Woo and Park, "Scalable TCP
//! Session Monitoring with Symmetric Receive-side Scaling", 2012). With a key of period 16 bits the hash depends
//! only on the exclusive-or of all 16-bit words of its input, which makes it cheap in software.

use state::{Ends, Key};

use crate::describe::{Kind, PROTO_TCP, PROTO_UDP, PacketDesc};

const KEY: u16 = 0x6d5a;

/// Entries of the table from hash to queue that DPDK fills round robin.
const RETA_SIZE: u32 = 128;

/// Symmetric Toeplitz hash of a packet's ends; ports count for TCP and UDP only, as in cards.
pub fn hash(pd: &PacketDesc) -> u32 {
    let mut word = fold_addr(pd.src) ^ fold_addr(pd.dst);
    if matches!(pd.kind, Kind::Tcp | Kind::Udp) {
        word ^= pd.ports.0 ^ pd.ports.1;
    }
    let half = u32::from(toeplitz16(word));
    half << 16 | half
}

/// The hash of packets that have this key on the wire.
pub fn hash_key(key: &Key) -> u32 {
    let (zero, one) = (key.end(0), key.end(1));
    let mut word = fold_addr(zero.0) ^ fold_addr(one.0);
    if matches!(key.proto(), PROTO_TCP | PROTO_UDP) {
        word ^= zero.1 ^ one.1;
    }
    let half = u32::from(toeplitz16(word));
    half << 16 | half
}

/// The hash of packets that have these ends: what [`hash`] says of them.
#[inline]
pub fn hash_ends(ends: &Ends) -> u32 {
    let [a, b, c] = ends.more;
    // Words as they lie in memory: the exclusive-or of all 16-bit words is the same in either byte order, exchanged.
    let x = ends.addrs ^ (a ^ b) ^ c;
    let x = (x >> 32) as u32 ^ x as u32 ^ ends.rest as u32;
    let half = u32::from(toeplitz16(((x >> 16) as u16 ^ x as u16).to_be()));
    half << 16 | half
}

/// The core (0 to `cores` - 1) that owns connections with this hash.
#[inline]
pub fn core_of(hash: u32, cores: u16) -> u16 {
    ((hash % RETA_SIZE) % u32::from(cores.max(1))) as u16
}

fn fold_addr(addr: u128) -> u16 {
    let x = (addr >> 64) as u64 ^ addr as u64;
    let x = (x >> 32) as u32 ^ x as u32;
    (x >> 16) as u16 ^ x as u16
}

/// Toeplitz over one 16-bit word with the periodic key: bit n from the top contributes the key rotated by n, so the lower
/// byte what it would as the upper one, rotated by 8.
fn toeplitz16(word: u16) -> u16 {
    let of = |byte: u16| OF_UPPER[usize::from(byte)];
    of(word >> 8) ^ of(word & 0xff).rotate_left(8)
}

/// What the upper byte of a word contributes.
static OF_UPPER: [u16; 256] = {
    let mut of = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut n = 0;
        while n < 8 {
            if byte >> (7 - n) & 1 == 1 {
                of[byte] ^= KEY.rotate_left(n);
            }
            n += 1;
        }
        byte += 1;
    }
    of
};

#[cfg(test)]
mod tests {
    use super::*;
    use ruleset::{Af, Direction};

    /// The definition, bit by bit over the whole input (Microsoft, "RSS hashing functions").
    fn toeplitz(input: &[u8]) -> u32 {
        let key_bit = |n: usize| u32::from(KEY >> (15 - n % 16) & 1);
        let mut sum = 0;
        for (n, byte) in input.iter().enumerate() {
            for bit in 0..8 {
                if byte >> (7 - bit) & 1 == 1 {
                    let window = (0..32).fold(0, |w, k| w << 1 | key_bit(n * 8 + bit + k));
                    sum ^= window;
                }
            }
        }
        sum
    }

    #[test]
    fn it_is_the_toeplitz_hash_that_cards_compute_and_it_is_symmetric() {
        let mut seed = 0x5eed_1234_5678_9abcu64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..1000 {
            let (src, dst, ports) = (next() as u32, next() as u32, next() as u32);
            let mut pd = PacketDesc {
                src: u128::from(src),
                dst: u128::from(dst),
                ports: (ports as u16, (ports >> 16) as u16),
                kind: Kind::Tcp,
                ..PacketDesc::default()
            };
            let mut input = Vec::new();
            input.extend(src.to_be_bytes());
            input.extend(dst.to_be_bytes());
            input.extend(pd.ports.0.to_be_bytes());
            input.extend(pd.ports.1.to_be_bytes());
            assert_eq!(hash(&pd), toeplitz(&input));
            let ends = ((pd.src, pd.ports.0), (pd.dst, pd.ports.1));
            for direction in [Direction::In, Direction::Out] {
                let key = Key::new(direction, Af::Inet, PROTO_TCP, ends.0, ends.1);
                assert_eq!(hash_key(&key), hash(&pd));
            }
            let there = hash(&pd);
            (pd.src, pd.dst, pd.ports) = (pd.dst, pd.src, (pd.ports.1, pd.ports.0));
            assert_eq!(hash(&pd), there);
        }
    }

    #[test]
    fn ends_as_they_lie_in_a_header_name_the_same_core() {
        let mut seed = 0x5eed_9876_5432_1abcu64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..1000 {
            for proto in [PROTO_TCP, PROTO_UDP] {
                let v4 = Ends::inet(next(), next() as u32, proto, next() as u16);
                let v6 = [next(), next(), next(), next()];
                let v6 = Ends::inet6(v6, next() as u32, proto, next() as u16);
                for ends in [v4, v6] {
                    assert_eq!(hash_ends(&ends), hash_key(&ends.key(0)), "{ends:?}");
                }
            }
        }
    }

    #[test]
    fn one_core_owns_everything_and_all_cores_own_something() {
        assert_eq!(core_of(0xffff_ffff, 1), 0);
        let owners: std::collections::BTreeSet<u16> = (0..128).map(|h| core_of(h, 4)).collect();
        assert_eq!(owners.len(), 4);
    }
}
