//! `ping` from the box: when the next echo request is due, which answer belongs to which, what never came. Packets are
//! built and recognized in [`crate::host`]; smoltcp's ICMP socket is not used because it hides the TTL of answers.
//!
//! Read first: RFC 792 "Echo or Echo Reply Message", RFC 4443 section 4.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::api::{PingReply, Pinger};

/// Between two requests.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// An answer later than this does not count.
pub const WAIT_MAX: Duration = Duration::from_secs(2);
/// Answers kept for a console that does not fetch them.
const REPLIES_MAX: usize = 1024;

/// The control core's hold on the local host's `ping`. Cheap to clone; all clones are the same ping.
#[derive(Clone, Default)]
pub struct PingHandle(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    /// Tells the answers to this ping from those to the one before.
    ident: u16,
    has_v4: bool,
    has_v6: bool,
    run: Option<Run>,
}

struct Run {
    to: IpAddr,
    left: u16,
    seq: u16,
    /// When the next request goes out; at once at first.
    next_at: Option<Duration>,
    waiting: VecDeque<(u16, Duration)>,
    replies: Vec<PingReply>,
}

/// An echo request to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) to: IpAddr,
    pub(crate) ident: u16,
    pub(crate) seq: u16,
}

/// An echo reply that came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    pub(crate) from: IpAddr,
    pub(crate) ident: u16,
    pub(crate) seq: u16,
    pub(crate) bytes: usize,
    pub(crate) ttl: u8,
}

impl Pinger for PingHandle {
    fn start(&mut self, to: IpAddr, count: u16) -> Result<(), String> {
        let mut shared = self.lock();
        if shared.run.is_some() {
            return Err("another ping is running".into());
        }
        if to.is_unspecified() || to.is_multicast() {
            return Err(format!("{to} is not the address of one host"));
        }
        let (has, family) = match to {
            IpAddr::V4(_) => (shared.has_v4, "IPv4"),
            IpAddr::V6(_) => (shared.has_v6, "IPv6"),
        };
        if !has {
            return Err(format!(
                "this box has no {family} address to ping {to} from"
            ));
        }
        shared.ident = shared.ident.wrapping_add(1);
        shared.run = Some(Run {
            to,
            left: count,
            seq: 0,
            next_at: None,
            waiting: VecDeque::new(),
            replies: Vec::new(),
        });
        Ok(())
    }

    fn poll(&mut self) -> Option<Vec<PingReply>> {
        let mut shared = self.lock();
        let run = shared.run.as_mut()?;
        let replies = std::mem::take(&mut run.replies);
        if replies.is_empty() && run.left == 0 && run.waiting.is_empty() {
            shared.run = None;
            return None;
        }
        Some(replies)
    }

    fn stop(&mut self) {
        self.lock().run = None;
    }
}

impl PingHandle {
    pub(crate) fn new(ident: u16) -> Self {
        PingHandle(Arc::new(Mutex::new(Shared {
            ident,
            ..Shared::default()
        })))
    }

    /// A panic elsewhere while the lock was held leaves nothing half done that matters here.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_families(&self, has_v4: bool, has_v6: bool) {
        let mut shared = self.lock();
        (shared.has_v4, shared.has_v6) = (has_v4, has_v6);
    }

    /// The request that is due, if one is; gives up on answers that are too late.
    pub(crate) fn due(&self, now: Duration) -> Option<Request> {
        let mut shared = self.lock();
        let ident = shared.ident;
        let run = shared.run.as_mut()?;
        run.give_up(now);
        if run.left == 0 || run.next_at.is_some_and(|at| at > now) {
            return None;
        }
        let seq = run.seq;
        run.seq = run.seq.wrapping_add(1);
        run.left -= 1;
        run.next_at = Some(now + INTERVAL);
        run.waiting.push_back((seq, now));
        Some(Request {
            to: run.to,
            ident,
            seq,
        })
    }

    /// Takes an answer; false if it belongs to no request of ours.
    pub(crate) fn answered(&self, reply: Reply, now: Duration) -> bool {
        let mut shared = self.lock();
        let ident = shared.ident;
        let Some(run) = shared.run.as_mut() else {
            return false;
        };
        if reply.ident != ident || reply.from != run.to {
            return false;
        }
        let Some(i) = run.waiting.iter().position(|(seq, _)| *seq == reply.seq) else {
            return false;
        };
        let rtt = run
            .waiting
            .remove(i)
            .map_or(Duration::ZERO, |(_, sent)| now.saturating_sub(sent));
        run.keep(PingReply::Answer {
            bytes: reply.bytes,
            seq: reply.seq,
            ttl: reply.ttl,
            rtt,
        });
        true
    }

    /// When [`PingHandle::due`] has something to do.
    pub(crate) fn poll_at(&self) -> Option<Duration> {
        let shared = self.lock();
        let run = shared.run.as_ref()?;
        let next = (run.left > 0).then(|| run.next_at.unwrap_or_default());
        let late = run.waiting.front().map(|(_, sent)| *sent + WAIT_MAX);
        next.into_iter().chain(late).min()
    }
}

impl Run {
    fn give_up(&mut self, now: Duration) {
        while let Some((seq, sent)) = self.waiting.front().copied() {
            if now < sent + WAIT_MAX {
                break;
            }
            self.waiting.pop_front();
            self.keep(PingReply::Timeout { seq });
        }
    }

    fn keep(&mut self, reply: PingReply) {
        if self.replies.len() < REPLIES_MAX {
            self.replies.push(reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(count: u16) -> PingHandle {
        let mut ping = PingHandle::new(7);
        ping.set_families(true, false);
        ping.start("192.0.2.1".parse().unwrap(), count).unwrap();
        ping
    }

    fn reply_to(request: Request) -> Reply {
        Reply {
            from: request.to,
            ident: request.ident,
            seq: request.seq,
            bytes: 64,
            ttl: 255,
        }
    }

    #[test]
    fn one_request_a_second_and_the_round_trip_of_each() {
        let mut ping = started(2);
        let t = Duration::from_millis;
        let first = ping.due(t(10)).unwrap();
        assert_eq!(ping.due(t(900)), None);
        assert!(ping.answered(reply_to(first), t(13)));
        assert!(
            !ping.answered(reply_to(first), t(14)),
            "a duplicate counts once"
        );
        let second = ping.due(t(1010)).unwrap();
        assert_eq!((first.seq, second.seq), (0, 1));
        assert_eq!(ping.due(t(2500)), None, "two were asked for");
        let rtt = t(3);
        assert_eq!(
            ping.poll().unwrap(),
            [PingReply::Answer {
                bytes: 64,
                seq: 0,
                ttl: 255,
                rtt
            }]
        );
        assert_eq!(ping.poll(), Some(vec![]), "the second may still come");
        assert_eq!(ping.due(t(3010)), None);
        assert_eq!(ping.poll(), Some(vec![PingReply::Timeout { seq: 1 }]));
        assert_eq!(ping.poll(), None);
        assert!(ping.start("192.0.2.1".parse().unwrap(), 1).is_ok());
    }

    #[test]
    fn answers_of_others_are_not_ours() {
        let ping = started(1);
        let request = ping.due(Duration::ZERO).unwrap();
        let good = reply_to(request);
        for wrong in [
            Reply {
                ident: good.ident + 1,
                ..good
            },
            Reply {
                seq: good.seq + 1,
                ..good
            },
            Reply {
                from: "192.0.2.9".parse().unwrap(),
                ..good
            },
        ] {
            assert!(!ping.answered(wrong, Duration::ZERO), "{wrong:?}");
        }
    }

    #[test]
    fn impossible_targets_are_named() {
        let mut ping = PingHandle::new(0);
        ping.set_families(true, false);
        for (to, says) in [
            (
                "2001:db8::1",
                "this box has no IPv6 address to ping 2001:db8::1 from",
            ),
            ("224.0.0.1", "224.0.0.1 is not the address of one host"),
        ] {
            assert_eq!(ping.start(to.parse().unwrap(), 1), Err(says.to_string()));
        }
    }
}
