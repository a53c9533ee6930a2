//! What rules do to the packets and states that they let through, beside letting them through. Every matching rule
//! adds its part; the sum is what happens (pf.conf(5), "match").

use bitflags::bitflags;

bitflags! {
    /// `log` and its options.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Log: u8 {
        /// `log`
        const ON = 1;
        /// `log (all)`
        const ALL = 2;
        /// `log (matches)`
        const MATCHES = 4;
        /// `log (user)`
        const USER = 8;
    }
}

bitflags! {
    /// Actions without a value.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct ActionFlags: u8 {
        /// `scrub (no-df)`
        const NO_DF = 1;
        /// `scrub (random-id)`
        const RANDOM_ID = 2;
        /// `scrub (reassemble tcp)`
        const REASSEMBLE_TCP = 4;
        /// `set tos`: [`Actions::tos`] is given.
        const SET_TOS = 8;
        /// `set prio`: [`Actions::prio`] is given.
        const SET_PRIO = 16;
    }
}

/// Actions of a rule, or the sum of those of several.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Actions {
    /// Routing table for the way onwards (`rtable`), plus one; 0 leaves the packet in its own.
    pub rtable: u16,
    /// Queue (`set queue`) for bulk; 0 is none.
    pub queue: u16,
    /// Queue for short packets and low delay; 0 is none.
    pub priority_queue: u16,
    /// Largest TCP segment announced (`scrub (max-mss n)`), bytes; 0 leaves it.
    pub max_mss: u16,
    /// Delay (`set delay`), milliseconds; 0 is none.
    pub delay_ms: u16,
    /// Largest IP packet that passes, its header included (`max-pkt-size`), bytes; 0 is no limit.
    pub max_pkt_size: u16,
    /// Smallest time to live (`scrub (min-ttl n)`); 0 leaves it.
    pub min_ttl: u8,
    /// Traffic class byte (`set tos`).
    pub tos: u8,
    /// Priorities (`set prio (a, b)`): of bulk, and of short packets and low delay.
    pub prio: [u8; 2],
    /// Actions without a value.
    pub flags: ActionFlags,
    /// Which packets are logged.
    pub log: Log,
}

const _: () = assert!(size_of::<Actions>() == 18);

impl Actions {
    /// True if packets stay as they are.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // All at once: the comparison of two values asks for one field after the other.
        let [prio, low_delay] = self.prio;
        let words = self.rtable
            | self.queue
            | self.priority_queue
            | self.max_mss
            | self.delay_ms
            | self.max_pkt_size;
        let bytes = self.min_ttl | self.tos | prio | low_delay;
        words | u16::from(bytes | self.flags.bits() | self.log.bits()) == 0
    }

    /// The routing table for the way onwards, if one is chosen.
    #[inline]
    pub fn table(&self) -> Option<u8> {
        self.rtable.checked_sub(1).map(|rtable| rtable as u8)
    }

    /// True if packets must be looked at: headers or priority change, or they are delayed or stopped for their size.
    pub fn concern_packets(&self) -> bool {
        let values = self.max_mss | self.delay_ms | self.max_pkt_size;
        values | u16::from(self.min_ttl | self.flags.bits()) != 0
    }

    /// Adds what a later rule says: its values replace earlier ones, its flags add up.
    #[inline]
    pub fn add(&mut self, later: &Actions) {
        if !later.is_empty() {
            self.add_some(later);
        }
    }

    fn add_some(&mut self, later: &Actions) {
        fn replace<T: Copy + PartialEq + Default>(value: &mut T, later: T) {
            if later != T::default() {
                *value = later;
            }
        }
        replace(&mut self.rtable, later.rtable);
        if later.queue != 0 {
            (self.queue, self.priority_queue) = (later.queue, later.priority_queue);
        }
        replace(&mut self.max_mss, later.max_mss);
        replace(&mut self.delay_ms, later.delay_ms);
        replace(&mut self.max_pkt_size, later.max_pkt_size);
        replace(&mut self.min_ttl, later.min_ttl);
        if later.flags.contains(ActionFlags::SET_TOS) {
            self.tos = later.tos;
        }
        if later.flags.contains(ActionFlags::SET_PRIO) {
            self.prio = later.prio;
        }
        self.flags |= later.flags;
        self.log |= later.log;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_values_replace_earlier_ones_and_flags_add_up() {
        let mut sum = Actions {
            max_mss: 1400,
            min_ttl: 3,
            flags: ActionFlags::NO_DF,
            queue: 4,
            priority_queue: 5,
            ..Actions::default()
        };
        sum.add(&Actions {
            max_mss: 1300,
            queue: 6,
            // `set tos 0` is a value, too.
            flags: ActionFlags::SET_TOS,
            log: Log::ALL,
            ..Actions::default()
        });
        let expected = Actions {
            max_mss: 1300,
            min_ttl: 3,
            flags: ActionFlags::NO_DF | ActionFlags::SET_TOS,
            queue: 6,
            priority_queue: 0,
            log: Log::ALL,
            ..Actions::default()
        };
        assert_eq!(sum, expected);
        sum.add(&Actions::default());
        assert_eq!(sum, expected);
    }
}
