//! Which ports of a lagg may send and are heard, for all protocols but LACP: a machine without cards and clocks. Links,
//! signs of life and time come in; two masks and what is worth a word come out.
//!
//! Read first: trunk(4), lagg(4). What these leave open is decided here: a link that comes back may have to prove itself for
//! a while (`hold`), the primary need not take over again (`failback`), and a port whose link is up can be dead, which
//! somebody finds out by asking its neighbors. A rule stands above all of these: a port with a link is better than none, so
//! what only a hold or silence speaks against is used when nothing else is there.

use crate::link::{LAGG_PORTS_MAX, LaggProtocol};

/// How a lagg chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What it does with its ports.
    pub protocol: LaggProtocol,
    /// Failover: frames of ports that do not send are taken, too.
    pub receive_all: bool,
    /// With fewer ports than this, none is used.
    pub min_links: u16,
    /// Failover: an earlier port takes over again when it comes back.
    pub failback: bool,
    /// How long a link must have been up again before its port is used, milliseconds.
    pub hold_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            protocol: LaggProtocol::Failover,
            receive_all: false,
            min_links: 1,
            failback: true,
            hold_ms: 0,
        }
    }
}

/// What a port is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its link is down.
    Down,
    /// Its link came back and must stay until then.
    Held {
        /// Milliseconds since start.
        until_ms: u64,
    },
    /// Ready.
    Up,
    /// Its link is up, but nobody answers behind it.
    Silent,
}

/// What a machine is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The link of a port, as the driver says.
    Link {
        /// Place of the port in the lagg.
        port: u8,
        /// Carrier.
        up: bool,
    },
    /// Somebody answers behind a port, or nobody does any more.
    Life {
        /// Place of the port in the lagg.
        port: u8,
        /// An answer came.
        answers: bool,
    },
    /// Time has passed.
    Tick,
}

/// What is worth a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A port cannot be used any more.
    Lost(u8),
    /// A port is ready.
    Ready(u8),
    /// Frames leave by another port: from, to.
    Switched(Option<u8>, Option<u8>),
}

/// Notices of one event: two for each port at most.
pub type Notices = heapless::Vec<Notice, { 2 * LAGG_PORTS_MAX }>;

/// Who may send and who is heard, by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Choice {
    /// May send.
    pub send: u32,
    /// Are heard.
    pub receive: u32,
}

/// The ports of one lagg.
#[derive(Debug, Clone)]
pub struct Failover {
    rules: Rules,
    ports: heapless::Vec<State, LAGG_PORTS_MAX>,
    active: Option<u8>,
    choice: Choice,
}

impl Failover {
    /// A lagg whose links are as said; at most [`LAGG_PORTS_MAX`]. Links that are up at first need not prove themselves.
    pub fn new(rules: Rules, links: &[bool]) -> Self {
        let state = |up: &bool| if *up { State::Up } else { State::Down };
        let mut made = Failover {
            rules,
            ports: links.iter().take(LAGG_PORTS_MAX).map(state).collect(),
            active: None,
            choice: Choice::default(),
        };
        made.choose(&mut Notices::new());
        made
    }

    /// Who may send and who is heard now.
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// States of the ports by place.
    pub fn ports(&self) -> &[State] {
        &self.ports
    }

    /// The port that failover has chosen.
    pub fn active(&self) -> Option<u8> {
        self.active
    }

    /// When to tick next, milliseconds since start.
    pub fn due_ms(&self) -> Option<u64> {
        let until = self.ports.iter().filter_map(|state| match state {
            State::Held { until_ms } => Some(*until_ms),
            _ => None,
        });
        until.min()
    }

    /// Something happened.
    pub fn on(&mut self, now_ms: u64, event: Event) -> Notices {
        let mut notices = Notices::new();
        match event {
            Event::Link { port, up } => {
                self.change(port, &mut notices, |state, rules| match (state, up) {
                    (_, false) => State::Down,
                    (State::Down, true) if rules.hold_ms > 0 => State::Held {
                        until_ms: now_ms + rules.hold_ms,
                    },
                    (State::Down, true) => State::Up,
                    (state, true) => state,
                })
            }
            Event::Life { port, answers } => {
                self.change(port, &mut notices, |state, _| match (state, answers) {
                    (State::Silent, true) => State::Up,
                    (State::Up, false) => State::Silent,
                    (state, _) => state,
                })
            }
            Event::Tick => {
                for port in 0..self.ports.len() as u8 {
                    self.change(port, &mut notices, |state, _| match state {
                        State::Held { until_ms } if until_ms <= now_ms => State::Up,
                        state => state,
                    });
                }
            }
        }
        self.choose(&mut notices);
        notices
    }

    fn change(
        &mut self,
        port: u8,
        notices: &mut Notices,
        next: impl FnOnce(State, &Rules) -> State,
    ) {
        let Some(state) = self.ports.get_mut(usize::from(port)) else {
            return;
        };
        let before = core::mem::replace(state, next(*state, &self.rules));
        let notice = match (before == State::Up, *state == State::Up) {
            (false, true) => Notice::Ready(port),
            (true, false) => Notice::Lost(port),
            _ => return,
        };
        // There is room for two of each port.
        notices.push(notice).ok();
    }

    /// The best ports there are: ready ones, else those that have a link at least.
    pub fn usable(&self) -> u32 {
        let mask = |fits: fn(&State) -> bool| {
            let places = self.ports.iter().enumerate().filter(|(_, s)| fits(s));
            places.fold(0u32, |mask, (n, _)| mask | 1 << n)
        };
        match mask(|s| *s == State::Up) {
            0 => mask(|s| *s != State::Down),
            ready => ready,
        }
    }

    fn choose(&mut self, notices: &mut Notices) {
        let mut usable = self.usable();
        if usable.count_ones() < u32::from(self.rules.min_links) {
            usable = 0;
        }
        let stays = |active: &u8| !self.rules.failback && usable >> active & 1 == 1;
        let first = (usable != 0).then(|| usable.trailing_zeros() as u8);
        let active = self.active.filter(stays).or(first);
        let one = active.map_or(0, |n| 1 << n);
        let before = core::mem::replace(&mut self.active, active);
        self.choice = match self.rules.protocol {
            LaggProtocol::None => Choice::default(),
            LaggProtocol::Failover => Choice {
                send: one,
                receive: if self.rules.receive_all { usable } else { one },
            },
            _ => Choice {
                send: usable,
                receive: usable,
            },
        };
        if before != active && self.rules.protocol == LaggProtocol::Failover {
            notices.push(Notice::Switched(before, active)).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Notice::{Lost, Ready, Switched};

    fn link(port: u8, up: bool) -> Event {
        Event::Link { port, up }
    }

    /// Steps: time, event, then (send, receive) and notices.
    type Step<'a> = (u64, Event, (u32, u32), &'a [Notice]);

    fn run(rules: Rules, links: &[bool], steps: &[Step<'_>]) {
        let mut lagg = Failover::new(rules, links);
        for (n, (now_ms, event, (send, receive), said)) in steps.iter().enumerate() {
            let notices = lagg.on(*now_ms, *event);
            let want = Choice {
                send: *send,
                receive: *receive,
            };
            assert_eq!(lagg.choice(), want, "step {n}: {event:?}");
            assert_eq!(&notices[..], *said, "step {n}: {event:?}");
        }
    }

    #[test]
    fn the_first_port_with_a_link_is_used_and_takes_over_again() {
        run(
            Rules::default(),
            &[true, true],
            &[
                (0, Event::Tick, (1, 1), &[]),
                (
                    1,
                    link(0, false),
                    (2, 2),
                    &[Lost(0), Switched(Some(0), Some(1))],
                ),
                (1, link(0, false), (2, 2), &[]),
                (
                    2,
                    link(0, true),
                    (1, 1),
                    &[Ready(0), Switched(Some(1), Some(0))],
                ),
                (3, link(1, false), (1, 1), &[Lost(1)]),
                (
                    4,
                    link(0, false),
                    (0, 0),
                    &[Lost(0), Switched(Some(0), None)],
                ),
                (
                    5,
                    link(1, true),
                    (2, 2),
                    &[Ready(1), Switched(None, Some(1))],
                ),
            ],
        );
    }

    #[test]
    fn without_failback_the_standby_stays() {
        let rules = Rules {
            failback: false,
            ..Rules::default()
        };
        run(
            rules,
            &[true, true],
            &[
                (
                    1,
                    link(0, false),
                    (2, 2),
                    &[Lost(0), Switched(Some(0), Some(1))],
                ),
                (2, link(0, true), (2, 2), &[Ready(0)]),
                (
                    3,
                    link(1, false),
                    (1, 1),
                    &[Lost(1), Switched(Some(1), Some(0))],
                ),
            ],
        );
    }

    #[test]
    fn a_link_that_came_back_proves_itself_unless_it_is_the_only_one() {
        let rules = Rules {
            hold_ms: 100,
            ..Rules::default()
        };
        run(
            rules,
            &[true, true],
            &[
                (
                    1,
                    link(0, false),
                    (2, 2),
                    &[Lost(0), Switched(Some(0), Some(1))],
                ),
                (10, link(0, true), (2, 2), &[]),
                (109, Event::Tick, (2, 2), &[]),
                (
                    110,
                    Event::Tick,
                    (1, 1),
                    &[Ready(0), Switched(Some(1), Some(0))],
                ),
                (
                    120,
                    link(0, false),
                    (2, 2),
                    &[Lost(0), Switched(Some(0), Some(1))],
                ),
                (130, link(0, true), (2, 2), &[]),
                // Not ready, and better than nothing.
                (
                    140,
                    link(1, false),
                    (1, 1),
                    &[Lost(1), Switched(Some(1), Some(0))],
                ),
            ],
        );
    }

    #[test]
    fn a_port_that_is_up_and_dead_is_left_but_not_all_of_them() {
        let life = |port, answers| Event::Life { port, answers };
        run(
            Rules::default(),
            &[true, true],
            &[
                (
                    1,
                    life(0, false),
                    (2, 2),
                    &[Lost(0), Switched(Some(0), Some(1))],
                ),
                // Nobody answers at all: perhaps it is the one who is asked.
                (
                    2,
                    life(1, false),
                    (1, 1),
                    &[Lost(1), Switched(Some(1), Some(0))],
                ),
                (
                    3,
                    life(1, true),
                    (2, 2),
                    &[Ready(1), Switched(Some(0), Some(1))],
                ),
                (
                    4,
                    life(0, true),
                    (1, 1),
                    &[Ready(0), Switched(Some(1), Some(0))],
                ),
                // A dead standby is told, too.
                (5, life(1, false), (1, 1), &[Lost(1)]),
            ],
        );
    }

    #[test]
    fn other_protocols_use_all_ports() {
        let rules = Rules {
            protocol: LaggProtocol::LoadBalance,
            min_links: 2,
            ..Rules::default()
        };
        run(
            rules,
            &[true, true, false],
            &[
                (0, Event::Tick, (0b011, 0b011), &[]),
                (1, link(2, true), (0b111, 0b111), &[Ready(2)]),
                (2, link(0, false), (0b110, 0b110), &[Lost(0)]),
                (3, link(1, false), (0, 0), &[Lost(1)]),
            ],
        );
    }

    #[test]
    fn receive_all_hears_standbys() {
        let rules = Rules {
            receive_all: true,
            ..Rules::default()
        };
        run(
            rules,
            &[true, true],
            &[
                (0, Event::Tick, (1, 3), &[]),
                (
                    1,
                    link(0, false),
                    (2, 2),
                    &[Lost(0), Switched(Some(0), Some(1))],
                ),
            ],
        );
    }

    /// Whatever happens in whatever order: some port sends as long as some link is up.
    #[test]
    fn a_port_with_a_link_is_better_than_none() {
        let seed = 0x5eed_1a66;
        println!("seed {seed:#x}");
        let mut dice: u64 = seed;
        for hold_ms in [0, 50] {
            let rules = Rules {
                hold_ms,
                ..Rules::default()
            };
            let mut links = [true, true, true];
            let mut lagg = Failover::new(rules, &links);
            for now_ms in 0..20_000 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let port = (dice >> 33) % 3;
                let yes = dice >> 40 & 1 == 1;
                let event = match dice >> 41 & 3 {
                    0 | 1 => {
                        links[port as usize] = yes;
                        link(port as u8, yes)
                    }
                    2 => Event::Life {
                        port: port as u8,
                        answers: yes,
                    },
                    _ => Event::Tick,
                };
                lagg.on(now_ms, event);
                let Choice { send, receive } = lagg.choice();
                assert_eq!(send.count_ones(), u32::from(links.contains(&true)));
                assert_eq!(send, receive);
                let up = links[send.trailing_zeros() as usize % 3];
                assert!(send == 0 || up, "{links:?} {send:b}");
            }
        }
    }
}
