//! A TCP host, as simple as one can be that is honest: go-back-N, in-order receive, windows with scaling, probes of a
//! closed window, keep-alives.
//!
//! Read first: RFC 9293 3.8, 3.10; RFC 7323 2.

use state::Segment;
use state::track::tcp::{ACK, FIN, SYN};

use crate::random::Random;

/// Largest segment.
const MSS: u64 = 1460;

/// One end. Numbers count from its own initial one: SYN is 0, data begins at 1, FIN comes behind.
#[derive(Debug)]
pub(crate) struct Host {
    active: bool,
    initial: u32,
    scale: Option<u8>,
    /// Bytes to send.
    total: u64,
    /// Not yet acknowledged, next to send, most ever sent.
    una: u64,
    nxt: u64,
    sent_max: u64,
    /// First number that the peer's window does not hold.
    limit: u64,
    peer: Option<Peer>,
    /// Room for what the program has not read.
    buffer: u64,
    unread: u64,
    /// Right edge offered so far.
    edge: u64,
    must_answer: bool,
}

#[derive(Debug)]
struct Peer {
    initial: u32,
    /// Next number wanted.
    next: u64,
    finished: bool,
    /// Scaling was agreed: the peer's shift.
    scale: Option<u8>,
}

impl Host {
    /// A host with random habits; `active` ones open the connection.
    pub(crate) fn new(random: &mut Random, active: bool) -> Host {
        let near_wrap = random.percent(30);
        let initial = if near_wrap {
            0u32.wrapping_sub(random.below(100_000) as u32)
        } else {
            random.number() as u32
        };
        let scale = random.percent(70).then(|| random.below(9) as u8);
        let most = if scale.is_some() { 200_000 } else { 65_535 };
        Host {
            active,
            initial,
            scale,
            total: if random.percent(20) {
                0
            } else {
                random.below(60_000)
            },
            una: 0,
            nxt: 0,
            sent_max: 0,
            limit: 1,
            peer: None,
            // At least one unit of the window.
            buffer: (1 << scale.unwrap_or(0)) + random.below(most - 1024),
            unread: 0,
            edge: 0,
            must_answer: false,
        }
    }

    /// Speaks of windows in units that it has to agree on.
    pub(crate) fn scales(&self) -> bool {
        self.scale.is_some()
    }

    /// Before the handshake: knows nothing of window scaling.
    pub(crate) fn forgo_scaling(&mut self) {
        self.scale = None;
        self.buffer = self.buffer.min(65_535);
    }

    /// Before the handshake: has no more to send than goes through the other's buffer in good time.
    pub(crate) fn suit(&mut self, other: &Host) {
        self.total = self.total.min(other.buffer * 40);
    }

    fn fin(&self) -> u64 {
        self.total + 1
    }

    /// Handshake done.
    pub(crate) fn is_open(&self) -> bool {
        self.una > 0 && self.peer.is_some()
    }

    /// Handshake done, close not begun.
    pub(crate) fn is_between(&self) -> bool {
        self.is_open() && self.sent_max <= self.fin()
    }

    /// Everything sent, acknowledged and heard.
    pub(crate) fn is_done(&self) -> bool {
        let heard_all = self.peer.as_ref().is_some_and(|p| p.finished);
        heard_all && self.una > self.fin() && !self.must_answer
    }

    /// The SYN of an active host.
    pub(crate) fn syn(&self) -> Segment {
        Segment {
            seq: self.initial,
            ack: 0,
            window: self.buffer.min(65_535) as u16,
            flags: SYN,
            wscale: self.scale,
            payload: 0,
        }
    }

    /// Does something if there is anything to do.
    pub(crate) fn acts(&mut self, random: &mut Random) -> Option<Segment> {
        if random.percent(50) {
            self.unread -= random.below(self.unread + 1);
        }
        if self.peer.is_none() {
            return self.active.then(|| {
                (self.nxt, self.sent_max) = (1, 1);
                self.syn()
            });
        }
        if random.percent(5) {
            // The clock has run out: again from the first that is not acknowledged.
            self.nxt = self.una;
        }
        if self.nxt == 0 {
            return Some(self.answer_syn());
        }
        if random.percent(2) && self.una == self.nxt && self.una > 0 {
            return Some(self.segment(self.nxt - 1, 0, 0));
        }
        self.sends(random).or_else(|| self.acknowledges())
    }

    fn answer_syn(&mut self) -> Segment {
        self.nxt = 1;
        self.sent_max = self.sent_max.max(1);
        self.must_answer = false;
        let flags = if self.active { SYN } else { SYN | ACK };
        let mut segment = self.segment(0, 0, flags);
        let agreed = self.active || self.peer.as_ref().is_some_and(|p| p.scale.is_some());
        segment.wscale = self.scale.filter(|_| agreed);
        segment.window = self.buffer.min(65_535) as u16;
        segment
    }

    fn sends(&mut self, random: &mut Random) -> Option<Segment> {
        if self.una == 0 {
            // Nothing goes before the handshake is over.
            return None;
        }
        let left = self.fin().saturating_sub(self.nxt);
        let closed = self.limit <= self.nxt && left > 0 && self.nxt == self.una;
        let room = self
            .limit
            .saturating_sub(self.nxt)
            .max(u64::from(closed && random.percent(10)));
        let len = left.min(room).min(1 + random.below(MSS));
        if len > 0 {
            let segment = self.segment(self.nxt, len, 0);
            self.advance(len);
            return Some(segment);
        }
        // The FIN needs no room, and comes when its program thinks so.
        let finishes = self.nxt == self.fin() && random.percent(20);
        finishes.then(|| {
            let segment = self.segment(self.nxt, 0, FIN);
            self.advance(1);
            segment
        })
    }

    fn advance(&mut self, len: u64) {
        self.nxt += len;
        self.sent_max = self.sent_max.max(self.nxt);
    }

    fn acknowledges(&mut self) -> Option<Segment> {
        self.must_answer.then(|| self.segment(self.nxt, 0, 0))
    }

    /// A segment with an acknowledgement.
    fn segment(&mut self, at: u64, len: u64, flags: u8) -> Segment {
        self.must_answer = false;
        let peer = self.peer.as_ref().expect("heard");
        let shift = peer.scale.and(self.scale).unwrap_or(0);
        let room = (self.buffer - self.unread).max(self.edge.saturating_sub(peer.next));
        let window = (room >> shift).min(65_535);
        self.edge = self.edge.max(peer.next + (window << shift));
        Segment {
            seq: self.initial.wrapping_add(at as u32),
            ack: peer.initial.wrapping_add(peer.next as u32),
            window: window as u16,
            flags: flags | if flags == SYN { 0 } else { ACK },
            wscale: None,
            payload: len as u32,
        }
    }

    /// A segment arrives.
    pub(crate) fn hears(&mut self, segment: &Segment) {
        if segment.flags & SYN != 0 {
            return self.hears_syn(segment);
        }
        let Some(peer) = &self.peer else { return };
        let shift = self.scale.and(peer.scale).unwrap_or(0);
        let begin = peer.next as i64
            + i64::from(
                segment
                    .seq
                    .wrapping_sub(peer.initial.wrapping_add(peer.next as u32))
                    as i32,
            );
        self.hears_ack(segment, u64::from(segment.window) << shift);
        self.hears_data(segment, begin);
    }

    fn hears_syn(&mut self, segment: &Segment) {
        if self.peer.is_some() {
            self.must_answer = true;
            return;
        }
        if self.active && segment.flags & ACK == 0 {
            return;
        }
        self.peer = Some(Peer {
            initial: segment.seq,
            next: 1,
            finished: false,
            scale: segment.wscale.filter(|_| self.scale.is_some()),
        });
        self.edge = 1 + self.buffer.min(65_535);
        if segment.flags & ACK != 0 {
            self.must_answer = true;
            self.hears_ack(segment, u64::from(segment.window));
        } else {
            self.limit = 1 + u64::from(segment.window);
        }
    }

    fn hears_ack(&mut self, segment: &Segment, window: u64) {
        if segment.flags & ACK == 0 {
            return;
        }
        let ahead = segment
            .ack
            .wrapping_sub(self.initial.wrapping_add(self.una as u32));
        let acknowledged = self.una + u64::from(ahead);
        if ahead as i32 >= 0 && acknowledged <= self.sent_max {
            self.una = acknowledged;
            self.nxt = self.nxt.max(acknowledged);
            self.limit = self.limit.max(acknowledged + window);
        }
    }

    fn hears_data(&mut self, segment: &Segment, begin: i64) {
        let peer = self.peer.as_mut().expect("heard");
        let end = begin + i64::from(segment.payload);
        let next = peer.next as i64;
        if segment.payload > 0 || segment.flags & FIN != 0 || begin != next {
            self.must_answer = true;
        }
        if begin > next || peer.finished {
            return;
        }
        let room = (self.buffer - self.unread) as i64;
        let taken = (end - next).clamp(0, room);
        self.unread += taken as u64;
        peer.next += taken as u64;
        if segment.flags & FIN != 0 && peer.next as i64 == end {
            peer.next += 1;
            peer.finished = true;
        }
    }
}
