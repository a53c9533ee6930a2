//! The time that states know: ticks of 10 ms since start, which wrap after 497 days.

/// Ticks of `last_seen` per second.
pub const TICKS_PER_S: u32 = 100;

/// `last_seen` for a time in milliseconds since start.
#[inline]
pub fn ticks(now_ms: u64) -> u32 {
    (now_ms / 10) as u32
}
