//! Is anybody alive behind a port? Neighbors are asked by ARP or neighbor solicitation, each on every port; a port is
//! silent when none of them has answered for so many questions. A machine without cards and clocks: answers and time come
//! in, questions and verdicts come out.
//!
//! The questions of a port carry an address of that port alone: with the address of the lagg, a question by a standby would
//! lead the switches to believe that the lagg is there.
//!
//! Read first: RFC 5227 2.1.1 (a question without a sender's address teaches nobody anything).

use alloc::vec::Vec;
use core::net::IpAddr;

/// Whom to ask, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Who.
    pub addr: IpAddr,
    /// Milliseconds between questions.
    pub interval_ms: u64,
    /// Questions without an answer after which it counts as out of reach.
    pub misses: u8,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask this target by this port.
    Ask {
        /// Place of the port in the lagg.
        port: u8,
        /// Who.
        target: IpAddr,
    },
    /// Somebody answers behind a port, or nobody does any more.
    Life {
        /// Place of the port in the lagg.
        port: u8,
        /// An answer came.
        answers: bool,
    },
}

/// One target behind one port.
#[derive(Debug, Clone, Copy)]
struct Asked {
    next_ms: u64,
    /// Questions since the last answer.
    unanswered: u8,
}

/// All targets behind all ports of a lagg.
#[derive(Debug, Clone)]
pub struct Prober {
    targets: Vec<Target>,
    /// By port, then by target.
    asked: Vec<Vec<Asked>>,
    /// By port: somebody answers, as told last.
    alive: Vec<bool>,
}

impl Prober {
    /// Asks these targets behind `ports` ports from `now_ms` on.
    pub fn new(targets: Vec<Target>, ports: usize, now_ms: u64) -> Self {
        let fresh = Asked {
            next_ms: now_ms,
            unanswered: 0,
        };
        Prober {
            asked: alloc::vec![alloc::vec![fresh; targets.len()]; ports],
            alive: alloc::vec![true; ports],
            targets,
        }
    }

    /// When to poll next, milliseconds since start.
    pub fn due_ms(&self) -> Option<u64> {
        self.asked.iter().flatten().map(|a| a.next_ms).min()
    }

    /// An answer of `from` came by a port.
    pub fn on_answer(&mut self, port: u8, from: IpAddr) -> Option<Action> {
        let asked = self.asked.get_mut(usize::from(port))?;
        let at = self.targets.iter().position(|t| t.addr == from)?;
        asked[at].unanswered = 0;
        self.judge(port)
    }

    /// The link of a port came or went: what was known of the other side is forgotten.
    pub fn on_link(&mut self, port: u8, now_ms: u64) {
        let n = usize::from(port);
        if let (Some(asked), Some(alive)) = (self.asked.get_mut(n), self.alive.get_mut(n)) {
            *alive = true;
            for one in asked {
                *one = Asked {
                    next_ms: now_ms,
                    unanswered: 0,
                };
            }
        }
    }

    /// What is to be done now; again until there is nothing.
    pub fn poll(&mut self, now_ms: u64) -> Option<Action> {
        for port in 0..self.asked.len() as u8 {
            if let Some(verdict) = self.judge(port) {
                return Some(verdict);
            }
        }
        for (port, asked) in (0..).zip(&mut self.asked) {
            for (one, target) in asked.iter_mut().zip(&self.targets) {
                if one.next_ms <= now_ms {
                    one.next_ms = now_ms + target.interval_ms.max(1);
                    one.unanswered = one.unanswered.saturating_add(1);
                    let target = target.addr;
                    return Some(Action::Ask { port, target });
                }
            }
        }
        None
    }

    /// Says it if a port has become silent, or alive again.
    fn judge(&mut self, port: u8) -> Option<Action> {
        let n = usize::from(port);
        let mut all = self.asked.get(n)?.iter().zip(&self.targets);
        // The question just asked may still be answered.
        let answers = all.any(|(one, target)| one.unanswered <= target.misses);
        let told = self.alive.get_mut(n)?;
        if *told == answers || self.targets.is_empty() {
            return None;
        }
        *told = answers;
        Some(Action::Life { port, answers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(addr: &str) -> Target {
        Target {
            addr: addr.parse().unwrap(),
            interval_ms: 100,
            misses: 2,
        }
    }

    fn all(prober: &mut Prober, now_ms: u64) -> Vec<Action> {
        core::iter::from_fn(|| prober.poll(now_ms)).collect()
    }

    fn ask(port: u8, target: &str) -> Action {
        Action::Ask {
            port,
            target: target.parse().unwrap(),
        }
    }

    #[test]
    fn a_port_without_answers_is_silent_until_one_comes() {
        let a = "192.0.2.1";
        let mut prober = Prober::new(vec![target(a)], 2, 0);
        assert_eq!(all(&mut prober, 0), [ask(0, a), ask(1, a)]);
        assert_eq!(all(&mut prober, 99), []);
        assert_eq!(prober.due_ms(), Some(100));
        for now_ms in [100, 200] {
            assert_eq!(prober.on_answer(1, a.parse().unwrap()), None);
            let said = all(&mut prober, now_ms);
            match now_ms {
                100 => assert_eq!(said, [ask(0, a), ask(1, a)]),
                // Two questions were not answered, and there is no time left for the second.
                _ => assert_eq!(
                    said,
                    [
                        ask(0, a),
                        Action::Life {
                            port: 0,
                            answers: false
                        },
                        ask(1, a)
                    ]
                ),
            }
        }
        let back = prober.on_answer(0, a.parse().unwrap());
        assert_eq!(
            back,
            Some(Action::Life {
                port: 0,
                answers: true
            })
        );
        assert_eq!(prober.on_answer(0, "192.0.2.9".parse().unwrap()), None);
    }

    #[test]
    fn one_of_several_targets_is_enough() {
        let (a, b) = ("192.0.2.1", "2001:db8::1");
        let mut prober = Prober::new(vec![target(a), target(b)], 1, 0);
        for now_ms in (0..1000).step_by(100) {
            assert_eq!(all(&mut prober, now_ms), [ask(0, a), ask(0, b)]);
            assert_eq!(prober.on_answer(0, b.parse().unwrap()), None);
        }
    }

    #[test]
    fn a_link_that_changed_begins_anew() {
        let a = "192.0.2.1";
        let mut prober = Prober::new(vec![target(a)], 1, 0);
        let silent = (0..4).any(|n| all(&mut prober, n * 100).len() == 2);
        assert!(silent);
        prober.on_link(0, 400);
        assert_eq!(all(&mut prober, 400), [ask(0, a)]);
    }
}
