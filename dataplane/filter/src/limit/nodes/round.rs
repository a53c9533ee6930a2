//! The round in which one worker looks at all source nodes again and again, and drops those whose time is over: a few in each
//! turn, so that no turn is long however many there are and however many go at once.

use super::SourceNodes;

/// How long a round takes, in milliseconds, if there are turns enough.
const ROUND_MS: u64 = 1000;
/// Most places that are looked at in a turn. They lie side by side.
const PLACES_MAX: usize = 128;
/// Most nodes that are dropped in a turn: each is a few waits for memory.
const DROPS_MAX: usize = 8;

/// Where the round stands.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// The place that comes next.
    at: usize,
    /// Places that should have been looked at by now.
    owed: usize,
    /// Millisecond up to which they are counted.
    until_ms: u64,
}

impl Round {
    /// Before the first place.
    pub fn new(now_ms: u64) -> Self {
        Round {
            at: 0,
            owed: 0,
            until_ms: now_ms,
        }
    }

    /// Places are left that should have been looked at.
    #[inline]
    pub fn owes(&self) -> bool {
        self.owed > 0
    }

    /// One turn.
    #[inline]
    pub fn go_on(&mut self, sources: &SourceNodes, now_ms: u64) {
        if sources.is_empty() {
            *self = Round::new(now_ms);
            return;
        }
        self.take_turn(sources, now_ms);
    }

    #[inline(never)]
    fn take_turn(&mut self, sources: &SourceNodes, now_ms: u64) {
        let places = sources.places();
        let elapsed = now_ms.saturating_sub(self.until_ms).min(ROUND_MS);
        let more = (places as u64 * elapsed).div_ceil(ROUND_MS) as usize;
        self.until_ms = now_ms.max(self.until_ms);
        self.owed = (self.owed + more).min(places);
        let (mut left, mut drops) = (self.owed.min(PLACES_MAX), DROPS_MAX);
        // A shard at a time.
        while left > 0 && drops > 0 {
            let now_s = (now_ms / 1000) as u32;
            let (looked_at, dropped) = sources.sweep(self.at, (left, drops), now_s);
            self.at = (self.at + looked_at) % places;
            self.owed -= looked_at;
            left -= looked_at;
            drops -= dropped;
        }
    }
}
