//! Counters of one worker beyond those of the filter. The books balance in every turn:
//! `received + generated + from_host + handed_in = passed + to_host + consumed + handed_out + dropped + waiting`.

use alloc::boxed::Box;

use filter::Reason;
use filter::counters::Count;
use net::InterfaceId;
use net::interface::INTERFACES_MAX;
use ruleset::Direction;
use sync::{CacheLine, Counter};

/// Everything one worker counts. It writes, the control core reads. On lines of its own, and on pairs of them, which some
/// caches fetch together: the counters of several workers are made one after the other.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    /// Rules, interfaces, reasons.
    pub filter: filter::Counters,
    /// Frames, in and out, of interfaces that are no ports, by number: ports are counted by their cards.
    pub links: Box<[CacheLine<[Count; 2]>]>,
    /// Frames taken from the cards.
    pub received: Counter,
    /// Of these, packets of established connections that were served by flows.
    pub served: Counter,
    /// Of these, packets that rules have blocked in front of the long way.
    pub turned_away: Counter,
    /// Packets that this worker made: ICMP errors, resets, ARP, neighbor discovery.
    pub generated: Counter,
    /// Packets of the local host.
    pub from_host: Counter,
    /// Packets from other workers.
    pub handed_in: Counter,
    /// Frames given to the cards, or queued for them.
    pub passed: Counter,
    /// Packets given to the local host.
    pub to_host: Counter,
    /// Packets used up: ARP, neighbor discovery.
    pub consumed: Counter,
    /// Packets given to other workers.
    pub handed_out: Counter,
    /// Packets dropped; the reasons are in `filter`.
    pub dropped: Counter,
    /// Packets waiting now: for a neighbor, or made in this turn to go out in the next.
    pub waiting: Counter,
    /// Frames that the cards took.
    pub transmitted: Counter,
    /// Letters to other workers that found no room.
    pub letters_lost: Counter,
    /// Kills that an overload asked for while too many waited; the source's next connection asks again.
    pub kills_lost: Counter,
    /// Turns.
    pub turns: Counter,
    /// Turns that found work.
    pub busy_turns: Counter,
    /// 1 while the worker sleeps for want of packets.
    pub idle: Counter,
    /// Packets given to the log, once for each rule that logged them.
    pub logged: Counter,
    /// Log records lost because the control core did not keep up, or one packet made too many.
    pub log_lost: Counter,
    /// Generation the worker runs on.
    pub generation: Counter,
    /// States in this worker's table.
    pub states: Counter,
}

impl Counters {
    /// Zeros.
    pub fn new(rule_slots: usize) -> Self {
        Counters {
            filter: filter::Counters::new(rule_slots),
            links: (0..INTERFACES_MAX).map(|_| Default::default()).collect(),
            received: Counter::new(),
            served: Counter::new(),
            turned_away: Counter::new(),
            generated: Counter::new(),
            from_host: Counter::new(),
            handed_in: Counter::new(),
            passed: Counter::new(),
            to_host: Counter::new(),
            consumed: Counter::new(),
            handed_out: Counter::new(),
            dropped: Counter::new(),
            waiting: Counter::new(),
            transmitted: Counter::new(),
            letters_lost: Counter::new(),
            kills_lost: Counter::new(),
            turns: Counter::new(),
            busy_turns: Counter::new(),
            idle: Counter::new(),
            logged: Counter::new(),
            log_lost: Counter::new(),
            generation: Counter::new(),
            states: Counter::new(),
        }
    }

    /// Counts a frame of `bytes` on an interface that is no port.
    #[inline]
    pub(crate) fn link(&self, id: InterfaceId, direction: Direction, bytes: usize) {
        if let Some(ways) = self.links.get(usize::from(id.0)) {
            ways[direction.index()].one(bytes as u64);
        }
    }

    /// Counts frames likewise, of so many bytes together.
    #[inline]
    pub(crate) fn frames(&self, id: InterfaceId, direction: Direction, frames: u64, bytes: u64) {
        if let Some(ways) = self.links.get(usize::from(id.0)) {
            ways[direction.index()].some(frames, bytes);
        }
    }

    /// Counts a packet that ends here.
    pub(crate) fn drop_for(&self, reason: Reason) {
        self.filter.drop_for(reason);
        self.dropped.add(1);
    }

    /// (what came in, what went out or is still here): equal between turns.
    pub fn books(&self) -> (u64, u64) {
        let input = [
            &self.received,
            &self.generated,
            &self.from_host,
            &self.handed_in,
        ];
        let output = [
            &self.passed,
            &self.to_host,
            &self.consumed,
            &self.handed_out,
            &self.dropped,
            &self.waiting,
        ];
        let sum = |all: &[&Counter]| all.iter().map(|c| c.get()).sum();
        (sum(&input), sum(&output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_on_lines_of_its_own<T>(block: &[T]) -> bool {
        block.as_ptr().addr().is_multiple_of(64) && size_of_val(block).is_multiple_of(64)
    }

    /// Two workers never write the same line when they count, whatever lies beside their counters.
    #[test]
    fn what_a_worker_counts_lies_on_lines_of_its_own() {
        for slots in [1, 2, 3, 100] {
            let counters = alloc::sync::Arc::new(Counters::new(slots));
            assert!(is_on_lines_of_its_own(core::slice::from_ref(&*counters)));
            assert!(is_on_lines_of_its_own(&counters.links));
            assert!(is_on_lines_of_its_own(&counters.filter.rules));
            assert!(is_on_lines_of_its_own(&counters.filter.interfaces));
        }
    }
}
