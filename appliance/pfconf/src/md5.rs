//! MD5 (RFC 1321), for `source-hash` keys that are words: PF takes their MD5. Nothing here is a secret.

/// Per-round rotations.
const ROTATIONS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// The digest as four words in the order in which it is written down.
pub(crate) fn md5(text: &[u8]) -> [u32; 4] {
    let mut padded = text.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((text.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        compress(&mut state, block);
    }
    state.map(u32::swap_bytes)
}

fn compress(state: &mut [u32; 4], block: &[u8]) {
    let mut words = [0u32; 16];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    let [mut a, mut b, mut c, mut d] = *state;
    for i in 0..64 {
        let (f, g) = match i / 16 {
            0 => (b & c | !b & d, i),
            1 => (d & b | !d & c, (5 * i + 1) % 16),
            2 => (b ^ c ^ d, (3 * i + 5) % 16),
            _ => (c ^ (b | !d), 7 * i % 16),
        };
        // The constants are the fractions of sines (RFC 1321, 3.4).
        let k = (((i as f64 + 1.0).sin().abs()) * 4_294_967_296.0) as u32;
        let sum = a.wrapping_add(f).wrapping_add(k).wrapping_add(words[g]);
        a = d;
        d = c;
        c = b;
        b = b.wrapping_add(sum.rotate_left(ROTATIONS[i / 16][i % 4]));
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_of_rfc_1321_come_out() {
        for (text, digest) in [
            ("", [0xd41d_8cd9, 0x8f00_b204, 0xe980_0998, 0xecf8_427e]),
            ("abc", [0x9001_5098, 0x3cd2_4fb0, 0xd696_3f7d, 0x28e1_7f72]),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                [0xd174_ab98, 0xd277_d9f5, 0xa561_1c2c, 0x9f41_9d9f],
            ),
        ] {
            assert_eq!(md5(text.as_bytes()), digest, "{text}");
        }
    }
}
