//! Our own router advertisements on one interface.
//!
//! Read first: RFC 4861 6.2.4 to 6.2.6 and 10 (constants); rad(8). What is said comes from the caller; this machine
//! knows when.

use std::net::Ipv6Addr;

use wire::ipv6;

use crate::Outgoing;
use crate::router::{Advertisement, build_advertisement};

/// The first advertisements come at most this far apart (MAX_INITIAL_RTR_ADVERT_INTERVAL).
const INITIAL_MS: u64 = 16_000;
/// So many of them (MAX_INITIAL_RTR_ADVERTISEMENTS).
const INITIAL: u8 = 3;
/// Least time between two advertisements to everybody (MIN_DELAY_BETWEEN_RAS).
const BETWEEN_MS: u64 = 3_000;
/// An answer waits at most so long, so that many answers become one (MAX_RA_DELAY_TIME).
const ANSWER_MS: u64 = 500;

/// Where the advertiser is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Silent: the link is down, or it was told to cease.
    Silent,
    /// Has begun; so many advertisements so far.
    Beginning(u8),
    /// Speaks now and then.
    Speaking,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The link came up, or what is said has changed.
    Up,
    /// The link went down.
    Down,
    /// What was due is due.
    Timer,
    /// Somebody asks for a router.
    Asked,
    /// We are no router any more: say so.
    Cease,
}

/// Advertises on one interface.
#[derive(Debug, Clone)]
pub struct Advertiser {
    said: Advertisement,
    src: Ipv6Addr,
    /// Between two advertisements, in milliseconds: at least and at most.
    interval_ms: (u64, u64),
    state: State,
    due_ms: u64,
    last_ms: Option<u64>,
}

impl Advertiser {
    /// An advertiser that is silent. `src` is a link-local address of the interface, which hosts will send to;
    /// `interval_s` are the least and the largest time between two advertisements.
    pub fn new(src: Ipv6Addr, said: Advertisement, interval_s: (u32, u32)) -> Advertiser {
        let ms = |s: u32| 1000 * u64::from(s);
        Advertiser {
            said,
            src,
            interval_ms: (ms(interval_s.0), ms(interval_s.1).max(1)),
            state: State::Silent,
            due_ms: u64::MAX,
            last_ms: None,
        }
    }

    /// What it says, to see whether something has changed.
    pub fn said(&self) -> &Advertisement {
        &self.said
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// When [`Event::Timer`] is due, by the caller's clock.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// One step.
    pub fn on(&mut self, now_ms: u64, random: u32, event: Event) -> Option<Outgoing> {
        match (self.state, event) {
            (_, Event::Up) => self.become_(State::Beginning(0), self.earliest(now_ms)),
            (_, Event::Down) => self.become_(State::Silent, u64::MAX),
            (State::Silent, _) => None,
            (_, Event::Cease) => {
                self.become_(State::Silent, u64::MAX);
                Some(self.farewell())
            }
            (_, Event::Asked) => {
                let soon = now_ms + u64::from(random) % ANSWER_MS;
                self.due_ms = self.due_ms.min(soon.max(self.earliest(now_ms)));
                None
            }
            (_, Event::Timer) if now_ms < self.due_ms => None,
            (State::Beginning(sent), Event::Timer) if sent + 1 < INITIAL => {
                let wait = self.interval(random).min(INITIAL_MS);
                self.speak(now_ms, State::Beginning(sent + 1), wait)
            }
            (_, Event::Timer) => {
                let wait = self.interval(random);
                self.speak(now_ms, State::Speaking, wait)
            }
        }
    }

    fn become_(&mut self, state: State, due_ms: u64) -> Option<Outgoing> {
        (self.state, self.due_ms) = (state, due_ms);
        None
    }

    fn earliest(&self, now_ms: u64) -> u64 {
        self.last_ms
            .map_or(now_ms, |last| now_ms.max(last + BETWEEN_MS))
    }

    fn interval(&self, random: u32) -> u64 {
        let (least, most) = self.interval_ms;
        least + u64::from(random) % (most.saturating_sub(least) + 1)
    }

    fn speak(&mut self, now_ms: u64, state: State, wait_ms: u64) -> Option<Outgoing> {
        self.last_ms = Some(now_ms);
        self.become_(state, now_ms + wait_ms.max(BETWEEN_MS));
        Some(build_advertisement(self.src, ipv6::ALL_NODES, &self.said))
    }

    /// We are no default router any more (RFC 4861 6.2.5).
    fn farewell(&self) -> Outgoing {
        let said = Advertisement {
            lifetime_s: 0,
            ..self.said.clone()
        };
        build_advertisement(self.src, ipv6::ALL_NODES, &said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{Heard, RouterMessage, parse};

    fn advertiser() -> Advertiser {
        let said = Advertisement {
            lifetime_s: 1800,
            ..Advertisement::default()
        };
        Advertiser::new("fe80::1".parse().unwrap(), said, (200, 600))
    }

    fn lifetime(sent: &Outgoing) -> u16 {
        match parse(&sent.bytes) {
            Some(Heard {
                message: RouterMessage::Advertise(said),
                ..
            }) => said.lifetime_s,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn speaks_often_at_first_then_now_and_then() {
        let mut advertiser = advertiser();
        assert_eq!(advertiser.on(0, 0, Event::Up), None);
        let mut times = vec![];
        for _ in 0..5 {
            let now = advertiser.due_ms();
            let sent = advertiser.on(now, 100_000, Event::Timer).expect("due");
            assert_eq!(lifetime(&sent), 1800);
            times.push(now);
        }
        assert_eq!(times, [0, 16_000, 32_000, 332_000, 632_000]);
        assert_eq!(advertiser.on(632_001, 0, Event::Timer), None, "not due");
    }

    #[test]
    fn a_question_is_answered_soon_but_not_every_one() {
        let mut advertiser = advertiser();
        advertiser.on(0, 0, Event::Up);
        for _ in 0..4 {
            let now = advertiser.due_ms();
            advertiser.on(now, 100_000, Event::Timer);
        }
        assert_eq!(advertiser.on(400_000, 250, Event::Asked), None);
        assert_eq!(advertiser.due_ms(), 400_250);
        assert!(advertiser.on(400_250, 0, Event::Timer).is_some());
        advertiser.on(400_300, 1, Event::Asked);
        assert_eq!(advertiser.due_ms(), 403_250, "three seconds after the last");
    }

    #[test]
    fn the_end_is_told_once() {
        let mut advertiser = advertiser();
        advertiser.on(0, 0, Event::Up);
        let sent = advertiser.on(10, 0, Event::Cease).expect("said");
        assert_eq!(lifetime(&sent), 0);
        assert_eq!(advertiser.on(20, 0, Event::Cease), None);
        assert_eq!(
            (advertiser.state(), advertiser.due_ms()),
            (State::Silent, u64::MAX)
        );
        assert_eq!(advertiser.on(30, 0, Event::Asked), None);
        assert_eq!(advertiser.due_ms(), u64::MAX);
    }
}
