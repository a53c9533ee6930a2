//! PF's rules for TCP, written down a second time and differently: numbers never wrap, what is not known is `None`,
//! and each rule is a sentence.
//!
//! Read first: pf.conf(5) "STATEFUL FILTERING"; RFC 9293 3.4, RFC 7323 2, RFC 5961 3-4.

use state::track::tcp::{ACK, FIN, RST, SYN};
use state::{Peer, Segment, TcpVerdict};

/// How far beside the window a segment of an unclear connection may lie, and an acknowledgement beside what was sent.
const FUDGE: i64 = 65_535 + 1500;
/// Where numbers begin, far enough from 0.
const EPOCH: i64 = 1 << 40;

#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
enum Phase {
    Unheard = 0,
    SynSent = 2,
    Established = 4,
    Closing = 7,
    FinAcked = 9,
    Reset = 10,
}

/// One side of the connection.
#[derive(Clone, Copy, Debug)]
struct End {
    phase: Phase,
    /// The number it will use next.
    next: Option<i64>,
    /// The first number it may not use.
    limit: Option<i64>,
    /// The largest window it has offered, in its own unit.
    window: i64,
    /// It speaks of windows in units of two to the power of this.
    scale: Option<u8>,
    /// It would have, but the other does not.
    waived: Option<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    ends: [End; 2],
}

/// The number that looks like `wire` and lies nearest to `near`.
fn unwrap(wire: u32, near: i64) -> i64 {
    near + i64::from(wire.wrapping_sub(near as u32) as i32)
}

fn has(segment: &Segment, flag: u8) -> bool {
    segment.flags & flag != 0
}

fn in_units(window: u16, scale: u8) -> i64 {
    let unit = 1i64 << scale;
    (i64::from(window) + unit - 1) / unit
}

impl Model {
    /// A connection of which `first` is the first segment heard.
    pub(crate) fn begin(first: &Segment) -> Model {
        let begin = EPOCH + i64::from(first.seq);
        let scale = first.wscale.filter(|_| has(first, SYN));
        let length =
            i64::from(first.payload) + i64::from(has(first, SYN)) + i64::from(has(first, FIN));
        Model {
            ends: [
                End {
                    phase: Phase::SynSent,
                    next: Some(begin).filter(|n| *n as u32 != 0),
                    limit: Some(begin + length + 1),
                    window: in_units(first.window.max(1), scale.unwrap_or(0)),
                    scale,
                    waived: None,
                },
                End {
                    phase: Phase::Unheard,
                    next: None,
                    limit: None,
                    window: 1,
                    scale: None,
                    waived: None,
                },
            ],
        }
    }

    /// What the tracker should know now.
    pub(crate) fn peers(&self) -> [Peer; 2] {
        self.ends.map(|end| Peer {
            seq_lo: end.next.unwrap_or(0) as u32,
            seq_hi: end.limit.unwrap_or(1) as u32,
            win_max: end.window as u16,
            wscale: match (end.scale, end.waived) {
                (Some(scale), _) => scale | Peer::WSCALE_KNOWN,
                (None, Some(scale)) => scale | Peer::WSCALE_WAIVED,
                (None, None) => 0,
            },
            state: end.phase as u8,
            seq_diff: 0,
        })
    }

    /// A segment from side `from`.
    pub(crate) fn hears(&mut self, from: usize, segment: &Segment) -> TcpVerdict {
        let (mut me, mut other) = (self.ends[from], self.ends[1 - from]);
        if has(segment, SYN) && !has(segment, ACK) {
            if me.phase >= Phase::FinAcked && other.phase >= Phase::FinAcked {
                return TcpVerdict::Reuse;
            }
            if me.phase >= Phase::Established && other.phase >= Phase::Established {
                return TcpVerdict::Challenge;
            }
        }
        let mut scene = Scene::set(me, other, segment);
        let mut verdict = scene.judge(segment);
        if verdict == TcpVerdict::BadState && answers_anew(&me, &other, segment) {
            // As if the first answer had never come.
            (me.next, me.limit, me.window, me.scale) = (None, None, 1, None);
            if let (Some(_), Some(scale)) = (segment.wscale, other.waived) {
                other.window = in_units(other.window as u16, scale);
                (other.scale, other.waived) = (Some(scale), None);
            }
            scene = Scene::set(me, other, segment);
            verdict = scene.judge(segment);
        }
        let passed = matches!(verdict, TcpVerdict::Pass | TcpVerdict::PassLoose);
        if passed {
            (self.ends[from], self.ends[1 - from]) = (scene.me, scene.other);
        } else if me.next.is_some() && scene.is_handshake() {
            // Both have sent SYN and do not understand each other: begin again with this side.
            (self.ends[from].next, self.ends[from].limit) = (None, None);
            self.ends[from].window = 1;
        }
        for end in &mut self.ends {
            // The tracker takes the number 0 for "unheard".
            end.next = end.next.filter(|n| *n as u32 != 0);
        }
        verdict
    }
}

/// A SYN+ACK that acknowledges the SYN and nothing else, from a side that answered before and was not acknowledged.
fn answers_anew(me: &End, other: &End, segment: &Segment) -> bool {
    let is_answer = segment.flags & (SYN | ACK | FIN | RST) == SYN | ACK;
    let unfinished = me.phase == Phase::SynSent && other.phase == Phase::Established;
    // The number of the SYN, or the one behind it if it was repeated.
    let known = other.next.unwrap_or(EPOCH);
    let ack = unwrap(segment.ack, known);
    is_answer && unfinished && (ack == known || ack == known + 1)
}

/// One segment in the light of what both sides are known to be.
struct Scene {
    me: End,
    other: End,
    first: i64,
    /// Numbers of data and SYN.
    length: i64,
    /// Behind the data, and behind a FIN.
    data_end: i64,
    end: i64,
    window: i64,
    /// Units of the two windows for this segment.
    units: (u8, u8),
    /// What it acknowledges, if that can be taken seriously.
    ack: Option<i64>,
}

impl Scene {
    fn set(mut me: End, mut other: End, segment: &Segment) -> Scene {
        let near = me.next.unwrap_or(EPOCH + i64::from(segment.seq));
        let first = unwrap(segment.seq, near);
        let length = i64::from(segment.payload) + i64::from(has(segment, SYN));
        let data_end = first + length;
        let end = data_end + i64::from(has(segment, FIN));
        let mut units = match (me.scale, other.scale, has(segment, SYN)) {
            (Some(mine), Some(theirs), false) => (mine, theirs),
            _ => (0, 0),
        };
        let mut window = i64::from(segment.window);
        if me.next.is_none() {
            if let (true, Some(theirs)) = (has(segment, SYN), other.scale) {
                match segment.wscale {
                    Some(mine) => {
                        me.scale = Some(mine);
                        window = in_units(segment.window, mine);
                        units = (mine, theirs);
                    }
                    None => {
                        other.window = (other.window << theirs).min(65_535);
                        (other.scale, other.waived) = (None, Some(theirs));
                    }
                }
            }
            me.next = Some(first);
            me.phase = if me.phase < Phase::SynSent {
                Phase::SynSent
            } else {
                me.phase
            };
            let reach = end + (other.window << units.1).max(1);
            if me
                .limit
                .is_none_or(|limit| reach >= unwrap(limit as u32, reach))
            {
                me.limit = Some(reach);
            }
            me.window = me.window.max(window);
        }
        let meaningless = segment.ack == 0 && has(segment, RST);
        let serious = has(segment, ACK) && !meaningless && other.phase >= Phase::SynSent;
        // A side that must be heard again has forgotten its numbers; the tracker measures from 0 then.
        let ack = serious.then(|| unwrap(segment.ack, other.next.unwrap_or(EPOCH)));
        Scene {
            me,
            other,
            first,
            length,
            data_end,
            end,
            window,
            units,
            ack,
        }
    }

    fn is_handshake(&self) -> bool {
        self.me.phase == Phase::SynSent && self.other.phase == Phase::SynSent
    }

    fn judge(&mut self, segment: &Segment) -> TcpVerdict {
        let next = self.me.next.expect("set");
        let limit = unwrap(self.me.limit.map_or(1, |l| l as u32), next);
        let named = self.first;
        if self.first == self.end {
            // Nothing in it: its place does not matter.
            (self.first, self.data_end, self.end) = (next, next, next);
        }
        let oldest = next - (self.other.window << self.units.1);
        let beyond = self
            .ack
            .map_or(0, |ack| ack - self.other.next.unwrap_or(EPOCH));
        let acknowledges_sense = (-(FUDGE << self.units.0)..=FUDGE).contains(&beyond);
        let reset_fits = {
            let exact = (next - 1..=next + 1).contains(&named);
            let late = (oldest..=next + 1).contains(&named);
            !has(segment, RST) || exact || (late && has(segment, ACK) && beyond == 0)
        };
        if self.data_end <= limit && self.first >= oldest && acknowledges_sense && reset_fits {
            self.learn(true);
            self.step(segment, true);
            return TcpVerdict::Pass;
        }
        let unclear = self.other.phase < Phase::SynSent
            || self.other.phase >= Phase::FinAcked
            || self.me.phase >= Phase::FinAcked;
        let nearby = named >= next - FUDGE && named + (self.length) <= limit + FUDGE;
        let idle = self.length == 0 && !has(segment, FIN) && !has(segment, RST);
        let heard = self.other.phase >= Phase::SynSent;
        if unclear && (nearby || (idle && heard && acknowledges_sense)) {
            self.learn(acknowledges_sense);
            self.step(segment, false);
            return TcpVerdict::PassLoose;
        }
        if self.is_handshake() && !has(segment, RST) {
            TcpVerdict::BadStateReset
        } else {
            TcpVerdict::BadState
        }
    }

    fn learn(&mut self, acknowledges_sense: bool) {
        self.me.window = self.me.window.max(self.window);
        self.me.next = self.me.next.max(Some(self.end));
        if let Some(theirs) = self.other.next.filter(|_| acknowledges_sense) {
            let offered = self.window << self.units.0;
            let from = self.ack.unwrap_or(theirs);
            let limit = unwrap(self.other.limit.map_or(1, |l| l as u32), theirs);
            if from + offered >= limit {
                self.other.limit = Some(from + offered.max(1));
            }
        }
    }

    fn step(&mut self, segment: &Segment, strict: bool) {
        if has(segment, FIN) && self.me.phase < Phase::Closing {
            self.me.phase = Phase::Closing;
        }
        if strict && has(segment, SYN) && self.me.phase < Phase::SynSent {
            self.me.phase = Phase::SynSent;
        }
        if strict && has(segment, ACK) {
            self.other.phase = match self.other.phase {
                Phase::SynSent => Phase::Established,
                Phase::Closing => Phase::FinAcked,
                phase => phase,
            };
        }
        if has(segment, RST) {
            (self.me.phase, self.other.phase) = (Phase::Reset, Phase::Reset);
        }
    }
}
