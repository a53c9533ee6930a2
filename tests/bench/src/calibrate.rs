//! The core's speed at this moment.

use std::hint::black_box;
use std::time::Instant;

/// Core cycles per nanosecond, by a chain of additions of which each waits for the one before: one cycle each on every
/// x86-64 core of the last decades.
pub(crate) fn core_ghz() -> f64 {
    const STEPS: u64 = 4_000_000;
    let step = black_box(1u64);
    let started = Instant::now();
    let mut sum = 0u64;
    for _ in 0..STEPS / 8 {
        // Eight to an iteration, so that the loop's own branch hides behind them.
        for _ in 0..8 {
            sum = black_box_add(sum, step);
        }
    }
    black_box(sum);
    STEPS as f64 / started.elapsed().as_nanos() as f64
}

/// A multiply-free dependent step the compiler cannot fold: rotate depends on the sum before.
#[inline(always)]
fn black_box_add(sum: u64, step: u64) -> u64 {
    // A plain add of an opaque value folds into a multiplication; a rotation between the additions keeps the chain. Two
    // one is one cycle, depends on its input, and does not fold over iterations with the addition between.
    sum.rotate_left(1).wrapping_add(step)
}
