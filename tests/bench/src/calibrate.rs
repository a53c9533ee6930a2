//! The core's speed at this moment, and the clock that everything here is measured with.

use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;

/// Nanoseconds that this thread has run. Time in which somebody else had the core is not the packet's.
pub(crate) fn thread_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Core cycles per nanosecond, by a chain of steps of which each waits for the one before. A step is an exclusive or and an
/// addition, one cycle each on every x86-64 core of the last decades; a chain of additions alone the compiler would
/// fold into a multiplication, and of a rotation it makes an instruction that takes more cycles on some cores.
pub(crate) fn core_ghz() -> f64 {
    const STEPS: u64 = 2_000_000;
    (STEPS * CYCLES_PER_STEP) as f64 / spin(STEPS)
}

const CYCLES_PER_STEP: u64 = 2;

/// Steps of the chain that take about so many microseconds at this speed.
#[allow(dead_code, reason = "the compiler's bench has no use for it")]
pub(crate) fn steps_of(us: f64, ghz: f64) -> u64 {
    (us * 1000.0 * ghz) as u64 / CYCLES_PER_STEP
}

/// Nanoseconds that so many steps of the chain take, which touches no memory: what they take beyond their cycles, the
/// machine has taken.
pub(crate) fn spin(steps: u64) -> f64 {
    let addend = black_box(1u64);
    let started = thread_ns();
    let mut sum = 0u64;
    for _ in 0..steps / 8 {
        // Eight to an iteration, so that the loop's own branch hides behind them.
        for _ in 0..8 {
            sum = (sum ^ addend).wrapping_add(addend);
        }
    }
    black_box(sum);
    thread_ns() - started
}
