//! The core's speed at this moment.

use std::hint::black_box;
use std::time::Instant;

/// Core cycles per nanosecond, by a chain of steps of which each waits for the one before. A step is a rotation and an
/// addition, one cycle each on every x86-64 core of the last decades; a chain of additions alone the compiler would
/// fold into a multiplication.
pub(crate) fn core_ghz() -> f64 {
    const STEPS: u64 = 2_000_000;
    const CYCLES_PER_STEP: u64 = 2;
    let addend = black_box(1u64);
    let started = Instant::now();
    let mut sum = 0u64;
    for _ in 0..STEPS / 8 {
        // Eight to an iteration, so that the loop's own branch hides behind them.
        for _ in 0..8 {
            sum = sum.rotate_left(1).wrapping_add(addend);
        }
    }
    black_box(sum);
    (STEPS * CYCLES_PER_STEP) as f64 / started.elapsed().as_nanos() as f64
}
