//! Numbers that nobody outside can guess: initial sequence numbers and cookies. SipHash-2-4 under a key that was
//! given from outside, over a counter or over what the number is for.
//!
//! Read first: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012; RFC 6528.

use crate::describe::PacketDesc;

/// A key of 128 bits.
pub type Key = [u64; 2];

/// SipHash-2-4 of `words`, each of which stands for its eight little-endian bytes.
pub fn siphash(key: Key, words: &[u64]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let last = (words.len() as u64 * 8) << 56;
    for word in words.iter().copied().chain([last]) {
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// Who talks to whom, as words for [`siphash`].
pub fn ends_of(pd: &PacketDesc) -> [u64; 5] {
    let ports = u64::from(pd.ports.0) << 16 | u64::from(pd.ports.1);
    [
        (pd.src >> 64) as u64,
        pd.src as u64,
        (pd.dst >> 64) as u64,
        pd.dst as u64,
        ports,
    ]
}

/// The source of such numbers of one core.
#[derive(Clone, Debug)]
pub struct Secrets {
    key: Key,
    count: u64,
}

impl Secrets {
    /// From a key that is random and known to nobody else.
    pub fn new(key: Key) -> Self {
        Secrets { key, count: 0 }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.count += 1;
        siphash(self.key, &[self.count])
    }

    /// The next number that is not 0.
    pub fn nonzero(&mut self) -> u32 {
        loop {
            let number = self.number() as u32;
            if number != 0 {
                return number;
            }
        }
    }

    /// A fresh key.
    pub fn key(&mut self) -> Key {
        [self.number(), self.number()]
    }

    /// An initial sequence number for the source of `pd`: it grows with time, so that a connection that follows
    /// another between the same ends begins behind it (RFC 6528 3).
    pub fn initial(&self, pd: &PacketDesc, now_ms: u64) -> u32 {
        /// The clock of RFC 9293 3.4.1 ticks every four microseconds.
        const TICKS_PER_MS: u32 = 250;
        let clock = (now_ms as u32).wrapping_mul(TICKS_PER_MS);
        (siphash(self.key, &ends_of(pd)) as u32).wrapping_add(clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_siphash_as_published() {
        // The key and the first sixteen bytes of the message of the paper's appendix A, from its reference vectors.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        for (words, expect) in [
            (&[][..], 0x726f_db47_dd0e_0e31),
            (&[0x0706_0504_0302_0100], 0x93f5_f579_9a93_2462),
            (
                &[0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908],
                0x3f2a_cc7f_57c2_9bdb,
            ),
        ] {
            assert_eq!(siphash(key, words), expect, "{words:x?}");
        }
    }

    #[test]
    fn numbers_differ_and_initial_ones_grow_with_time() {
        let mut secrets = Secrets::new([1, 2]);
        assert_ne!(secrets.number(), secrets.number());
        let pd = PacketDesc::default();
        let first = secrets.initial(&pd, 1000);
        assert_eq!(secrets.initial(&pd, 1001).wrapping_sub(first), 250);
    }
}
