//! Pools: where `nat-to`, `rdr-to` and `route-to` take their addresses from, and how the next one is chosen. Immutable:
//! where a round-robin stands, and how many states an address has, come in as arguments.
//!
//! Read first: pf.conf(5), "POOL OPTIONS"; SipHash (Aumasson and Bernstein, 2012) for `source-hash`.

use alloc::vec::Vec;

use crate::Ruleset;
use crate::facts::Af;
use crate::table::{TableId, prefix_mask};

/// Most addresses of a `least-states` pool that are compared.
pub const LEAST_STATES_MAX: u32 = 1024;
/// Largest weight after reduction; larger ones are scaled down to it.
pub const WEIGHT_MAX: u16 = 256;

/// Addresses in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Family.
    pub af: Af,
    /// Lowest, host order, IPv4 in the low 32 bits.
    pub low: u128,
    /// Highest, included.
    pub high: u128,
    /// `weight`; 1 if none was given.
    pub weight: u16,
}

impl Block {
    /// The addresses of a prefix.
    pub fn prefix(af: Af, addr: u128, prefix_len: u8) -> Self {
        let mask = prefix_mask(af, prefix_len);
        let all = prefix_mask(af, af.bits());
        Block {
            af,
            low: addr & mask,
            high: (addr & mask) | (all & !mask),
            weight: 1,
        }
    }

    /// How many addresses; all of IPv6 counts one less.
    fn size(&self) -> u128 {
        (self.high - self.low).saturating_add(1)
    }
}

/// How an address is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PoolKind {
    /// The first address.
    #[default]
    First,
    /// `bitmask`: the network of the pool, the host bits of the address that is replaced.
    Bitmask,
    /// `random`
    Random,
    /// `source-hash`
    SourceHash,
    /// `round-robin`
    RoundRobin,
    /// `least-states`
    LeastStates,
}

/// The right side of a translation or a route.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pool {
    /// Addresses, in the order of the text; not used if there is a table.
    pub blocks: Vec<Block>,
    /// `<table>`
    pub table: Option<TableId>,
    /// How an address is chosen.
    pub kind: PoolKind,
    /// Key of `source-hash`.
    pub key: [u32; 4],
    /// `sticky-address`
    pub sticky: bool,
    /// Ports. Source translation: the range to choose from, (0, 0) keeps the port. Destination translation: (0, 0)
    /// keeps it, (p, 0) is `port p`, (p, q) maps a range onto p to q.
    pub ports: (u16, u16),
    /// `endpoint-independent`: a UDP port inside is one port outside, whoever it speaks to.
    pub endpoint_independent: bool,
    /// `map-e-portset`: the ports to choose from, in place of the range.
    pub port_set: Option<PortSet>,
}

/// The ports of one of the hosts that share an address: those that have its number behind the first bits, which are not
/// all zero (RFC 7597 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortSet {
    offset: u8,
    length: u8,
    id: u16,
}

impl PortSet {
    /// The set `id`, a number of `length` bits behind `offset` bits. None if that is more than a port has, or there is no
    /// such number.
    pub fn new(offset: u8, length: u8, id: u16) -> Option<Self> {
        let fits = (1..=15).contains(&offset) && offset + length <= 16;
        let exists = u32::from(id) < 1u32.checked_shl(length.into()).unwrap_or(0);
        (fits && exists).then_some(PortSet { offset, length, id })
    }

    /// How many ranges of ports it has.
    pub fn ranges(&self) -> u16 {
        (1 << self.offset) - 1
    }

    /// Lowest and highest port of a range, from 0.
    pub fn range(&self, n: u16) -> (u16, u16) {
        let rest = 16 - self.offset - self.length;
        let first = (u32::from(n) + 1) << (16 - self.offset) | u32::from(self.id) << rest;
        (first as u16, (first | ((1 << rest) - 1)) as u16)
    }
}

/// What a choice depends on beside the pool.
pub struct Draw<'a> {
    /// Address of the sender: what `source-hash` hashes.
    pub source: u128,
    /// The address that is replaced: whose host bits `bitmask` keeps.
    pub replaced: u128,
    /// A random number.
    pub dice: u128,
    /// Where the round-robin stands.
    pub turn: u64,
    /// Choices made before for the same packet, for want of a port: the next addresses are tried.
    pub attempt: u32,
    /// States that an address has now.
    pub states_of: &'a dyn Fn(u128) -> u64,
}

impl Pool {
    /// How many blocks of a family there are.
    pub fn block_count(&self, ruleset: &Ruleset, af: Af) -> usize {
        self.blocks_of(ruleset, af).count()
    }

    fn blocks_of<'a>(&'a self, ruleset: &'a Ruleset, af: Af) -> impl Iterator<Item = Block> + 'a {
        let table = self.table.and_then(|id| ruleset.table(id));
        let entries = table.map(|t| t.entries()).unwrap_or_default();
        let listed = self.blocks.iter().filter(move |_| self.table.is_none());
        entries
            .iter()
            .filter(|e| !e.negate)
            .map(|e| Block::prefix(e.af, e.addr, e.prefix_len))
            .chain(listed.copied())
            .filter(move |b| b.af == af)
    }

    /// How many addresses there are to try, at most `most`.
    pub fn choices(&self, ruleset: &Ruleset, af: Af, most: u32) -> u32 {
        match self.kind {
            PoolKind::Random | PoolKind::RoundRobin | PoolKind::LeastStates => {
                let sizes = self.blocks_of(ruleset, af).map(|b| b.size());
                let total = sizes.fold(0u128, u128::saturating_add);
                u32::try_from(total).unwrap_or(u32::MAX).min(most)
            }
            _ => 1,
        }
    }

    /// An address of the family; none if the pool has none.
    pub fn choose(&self, ruleset: &Ruleset, af: Af, draw: &Draw<'_>) -> Option<u128> {
        match self.kind {
            PoolKind::First => self.nth_block(ruleset, af, 0).map(|b| b.low),
            PoolKind::Bitmask => {
                let block = self.nth_block(ruleset, af, 0)?;
                Some(block.low | (draw.replaced & (block.high ^ block.low)))
            }
            PoolKind::Random => self.random(ruleset, af, draw),
            PoolKind::SourceHash => self.source_hash(ruleset, af, draw.source),
            PoolKind::RoundRobin => self.round_robin(ruleset, af, draw),
            PoolKind::LeastStates => self.least_states(ruleset, af, draw),
        }
    }

    fn nth_block(&self, ruleset: &Ruleset, af: Af, n: u128) -> Option<Block> {
        self.blocks_of(ruleset, af).nth(usize::try_from(n).ok()?)
    }

    /// Any block, then any address of it; for further attempts the next ones.
    fn random(&self, ruleset: &Ruleset, af: Af, draw: &Draw<'_>) -> Option<u128> {
        let count = self.block_count(ruleset, af) as u128;
        let block = self.nth_block(ruleset, af, (draw.dice >> 96).checked_rem(count)?)?;
        let within = draw.dice % block.size() + u128::from(draw.attempt);
        if draw.attempt == 0 || within < block.size() || count == 1 {
            return Some(block.low + within % block.size());
        }
        self.in_order(ruleset, af, u128::from(draw.attempt))
    }

    /// The same source always gets the same address, as long as pool and key are the same.
    fn source_hash(&self, ruleset: &Ruleset, af: Af, source: u128) -> Option<u128> {
        let bytes = source.to_be_bytes();
        let bytes = match af {
            Af::Inet => &bytes[12..],
            Af::Inet6 => &bytes[..],
        };
        let hash = siphash(self.key, bytes);
        let count = self.block_count(ruleset, af) as u128;
        let block = self.nth_block(ruleset, af, u128::from(hash).checked_rem(count)?)?;
        let (low, high) = (u128::from(hash as u32), u128::from(hash >> 32));
        let spread = match af {
            Af::Inet => low ^ high,
            Af::Inet6 => {
                (high << 96) | (low << 64) | ((!high & 0xffff_ffff) << 32) | (!low & 0xffff_ffff)
            }
        };
        Some(block.low + spread % block.size())
    }

    /// Addresses in turn; those of weight n come n times as often.
    fn round_robin(&self, ruleset: &Ruleset, af: Af, draw: &Draw<'_>) -> Option<u128> {
        let turn = u128::from(draw.turn);
        if self.blocks.iter().all(|b| b.weight <= 1) || self.table.is_some() {
            return self.in_order(ruleset, af, turn);
        }
        let heaviest = self.blocks_of(ruleset, af).map(|b| b.weight).max()?;
        let round = self
            .blocks_of(ruleset, af)
            .map(|b| b.size() * u128::from(b.weight.max(1)));
        let mut left = turn % round.sum::<u128>();
        // The heavy ones first; in each pass one more step of weight takes part.
        for level in (1..=heaviest).rev() {
            for block in self
                .blocks_of(ruleset, af)
                .filter(|b| b.weight.max(1) >= level)
            {
                if left < block.size() {
                    return Some(block.low + left);
                }
                left -= block.size();
            }
        }
        None
    }

    /// Address number `n` of all, beginning again after the last.
    fn in_order(&self, ruleset: &Ruleset, af: Af, n: u128) -> Option<u128> {
        let sizes = self.blocks_of(ruleset, af).map(|b| b.size());
        let total = sizes.fold(0u128, u128::saturating_add);
        let mut left = n.checked_rem(total)?;
        self.blocks_of(ruleset, af).find_map(|block| {
            let here = left < block.size();
            let found = here.then(|| block.low + left);
            left = left.saturating_sub(block.size());
            found
        })
    }

    /// The address with the fewest states for its weight; of equals the one whose turn it is.
    fn least_states(&self, ruleset: &Ruleset, af: Af, draw: &Draw<'_>) -> Option<u128> {
        let total = self.choices(ruleset, af, LEAST_STATES_MAX);
        let weight_of = |addr: u128| {
            let mut blocks = self.blocks_of(ruleset, af);
            let block = blocks.find(|b| b.low <= addr && addr <= b.high);
            u128::from(block.map_or(1, |b| b.weight.max(1)))
        };
        let load = |n: u32| {
            let start = draw.turn + u64::from(draw.attempt);
            let nth = (start + u64::from(n)) % u64::from(total.max(1));
            let addr = self.in_order(ruleset, af, u128::from(nth))?;
            // Scaled, so that the division by the weight does not make small numbers equal.
            let states = u128::from((draw.states_of)(addr)) << 32;
            Some((states / weight_of(addr), n, addr))
        };
        let best = (0..total).filter_map(load).min_by_key(|l| (l.0, l.1));
        best.map(|l| l.2)
    }
}

/// SipHash-2-4, 128-bit key as four words in the order of the key's text.
pub fn siphash(key: [u32; 4], bytes: &[u8]) -> u64 {
    let half = |a: u32, b: u32| u64::from(a) | u64::from(b) << 32;
    let (k0, k1) = (half(key[0], key[1]), half(key[2], key[3]));
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        absorb(&mut v, u64::from_le_bytes(word));
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    last[7] = bytes.len() as u8;
    absorb(&mut v, u64::from_le_bytes(last));
    v[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::table::{Table, TableEntry};

    const NET: u128 = 0xc000_0200;

    fn draw(turn: u64) -> Draw<'static> {
        Draw {
            source: 0x0a00_0001,
            replaced: 0x0a00_0005,
            dice: u128::from(turn).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
            turn,
            attempt: 0,
            states_of: &|_| 0,
        }
    }

    fn pool(kind: PoolKind, blocks: Vec<Block>) -> Pool {
        Pool {
            blocks,
            kind,
            key: [1, 2, 3, 4],
            ..Pool::default()
        }
    }

    fn addresses(pool: &Pool, turns: u64) -> Vec<u128> {
        let ruleset = Ruleset::default();
        let one = |n| pool.choose(&ruleset, Af::Inet, &draw(n)).unwrap();
        (0..turns).map(one).collect()
    }

    fn host(addr: u128, weight: u16) -> Block {
        Block {
            weight,
            ..Block::prefix(Af::Inet, addr, 32)
        }
    }

    /// The vector of the paper's appendix A: key 00..0f, message 00..0e.
    #[test]
    fn siphash_is_that_of_the_paper() {
        let bytes: Vec<u8> = (0..15).collect();
        let key = [0x0302_0100, 0x0706_0504, 0x0b0a_0908, 0x0f0e_0d0c];
        assert_eq!(siphash(key, &bytes), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn each_kind_chooses_as_the_manual_says() {
        let net = || vec![Block::prefix(Af::Inet, NET, 30)];
        assert_eq!(addresses(&pool(PoolKind::First, net()), 2), [NET, NET]);
        assert_eq!(addresses(&pool(PoolKind::Bitmask, net()), 1), [NET | 1]);
        let turns = addresses(&pool(PoolKind::RoundRobin, net()), 6);
        assert_eq!(turns, [NET, NET + 1, NET + 2, NET + 3, NET, NET + 1]);
        let random = addresses(&pool(PoolKind::Random, net()), 64);
        assert!((0..4).all(|n| random.contains(&(NET + n))), "{random:x?}");
        let hashed = addresses(&pool(PoolKind::SourceHash, net()), 64);
        assert!(hashed.iter().all(|a| *a == hashed[0] && *a & !3 == NET));
    }

    #[test]
    fn weights_are_kept_and_the_heavy_come_first() {
        let weighted = pool(
            PoolKind::RoundRobin,
            vec![host(1, 1), host(2, 3), host(3, 2)],
        );
        assert_eq!(addresses(&weighted, 7), [2, 2, 3, 1, 2, 3, 2]);
    }

    #[test]
    fn least_states_takes_the_idlest_for_its_weight() {
        let least = pool(
            PoolKind::LeastStates,
            vec![host(1, 1), host(2, 4), host(3, 1)],
        );
        let ruleset = Ruleset::default();
        for (states, expect) in [
            ([0, 0, 0], 1),
            ([1, 3, 1], 2),
            ([1, 4, 0], 3),
            ([1, 5, 9], 1),
        ] {
            let states_of = |addr: u128| states[addr as usize - 1];
            let draw = Draw {
                states_of: &states_of,
                ..draw(0)
            };
            assert_eq!(least.choose(&ruleset, Af::Inet, &draw), Some(expect));
        }
    }

    #[test]
    fn pools_without_an_address_of_the_family_choose_none() {
        let ruleset = Ruleset {
            tables: vec![Table::new(
                "empty",
                [TableEntry::new(Af::Inet, 1, 32, true)],
            )],
            ..Ruleset::default()
        };
        for kind in [
            PoolKind::First,
            PoolKind::Bitmask,
            PoolKind::Random,
            PoolKind::SourceHash,
            PoolKind::RoundRobin,
            PoolKind::LeastStates,
        ] {
            let mut empty = pool(kind, vec![host(1, 1)]);
            assert_eq!(
                empty.choose(&ruleset, Af::Inet6, &draw(3)),
                None,
                "{kind:?}"
            );
            empty.table = Some(TableId(0));
            assert_eq!(empty.choose(&ruleset, Af::Inet, &draw(3)), None, "{kind:?}");
        }
    }

    #[test]
    fn a_table_is_walked_over_all_its_addresses() {
        let entries = [
            TableEntry::new(Af::Inet, NET, 31, false),
            TableEntry::new(Af::Inet, 9, 32, false),
        ];
        let ruleset = Ruleset {
            tables: vec![Table::new("t", entries)],
            ..Ruleset::default()
        };
        let mut turning = pool(PoolKind::RoundRobin, Vec::new());
        turning.table = Some(TableId(0));
        let got: Vec<u128> = (0..4)
            .filter_map(|n| turning.choose(&ruleset, Af::Inet, &draw(n)))
            .collect();
        assert_eq!(got, [9, NET, NET + 1, 9]);
        assert_eq!(turning.choices(&ruleset, Af::Inet, 64), 3);
    }

    #[test]
    fn a_port_set_has_the_ports_of_the_rfc() {
        // RFC 7597 appendix B: offset 6, 8 bits of PSID, 0x34.
        let set = PortSet::new(6, 8, 0x34).unwrap();
        assert_eq!(set.ranges(), 63);
        let ranges = [0, 1, 62].map(|n| set.range(n));
        assert_eq!(ranges, [(1232, 1235), (2256, 2259), (64720, 64723)]);
        // Every port but those of the first block is in one set exactly.
        let mut seen = alloc::vec![0u8; 65536];
        for id in 0..16 {
            let set = PortSet::new(3, 4, id).unwrap();
            for n in 0..set.ranges() {
                let (low, high) = set.range(n);
                (low..=high).for_each(|port| seen[usize::from(port)] += 1);
            }
        }
        assert!(seen[..8192].iter().all(|n| *n == 0) && seen[8192..].iter().all(|n| *n == 1));
        for (offset, length, id) in [(0, 8, 1), (16, 0, 0), (9, 8, 1), (6, 8, 256)] {
            assert_eq!(PortSet::new(offset, length, id), None);
        }
    }
}
