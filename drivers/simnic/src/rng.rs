//! A small random number generator for simulations and tests: fast, seeded, the same on every machine.
//!
//! Not for anything that must not be guessed. Read first: S. Vigna, "An experimental exploration of
//! Marsaglia's xorshift generators, scrambled" (2016).

/// xorshift64*: 64 bits of state.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Equal seeds give equal sequences; nearby seeds give unrelated ones.
    pub fn new(seed: u64) -> Rng {
        // The generator must not start at zero, and small seeds must not look alike: mix first.
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Rng((z ^ (z >> 31)).max(1))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`; 0 if `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The upper half of a 128-bit product is uniform enough for limits far below 2^64.
        ((u128::from(self.next_u64()) * u128::from(limit)) >> 64) as u64
    }

    /// True with probability `p` (0 never, 1 always).
    pub fn chance(&mut self, p: f64) -> bool {
        // 53 bits: what a double holds exactly.
        let unit = (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        unit < p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_sequences() {
        let take = |seed| {
            let mut rng = Rng::new(seed);
            [rng.next_u64(), rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        assert_ne!(take(0), [0; 3]);
    }

    #[test]
    fn chances_come_out() {
        let mut rng = Rng::new(1);
        let hits = (0..10_000).filter(|_| rng.chance(0.3)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!(!(0..1_000).any(|_| rng.chance(0.0)));
        assert!((0..1_000).all(|_| rng.chance(1.0)));
    }

    #[test]
    fn numbers_stay_below_their_limit_and_reach_it() {
        let mut rng = Rng::new(2);
        let mut seen = [false; 10];
        (0..1_000).for_each(|_| seen[rng.below(10) as usize] = true);
        assert_eq!(seen, [true; 10]);
        assert_eq!(rng.below(0), 0);
    }
}
