//! TCP: states and windows as PF tracks them. Both sides' sequence space is followed without being either side.
//!
//! For a segment of `src` to pass, in the words of van Rooij's paper:
//!
//! 1. its last octet of data lies inside the window that `dst` offered:        `end <= src.seq_hi`
//! 2. it is not older than one window of `dst`:                        `seq >= src.seq_lo - dst.window`
//! 3. it does not acknowledge much beyond what `dst` sent, nor
//!    much before it:                                                  `-66035 <= dst.seq_lo - ack <= 66035 << scale`
//! 4. a reset names exactly the next octet, or one beside it; one that lies in the window passes only if it
//!    acknowledges exactly what `dst` has sent (against blind resets).
//!
//! A looser test applies while PF has not heard the other side, or after both sides have closed.
//!
//! With `modulate state` and `synproxy state` a side's numbers are shifted on their way to the other by
//! [`Peer::seq_diff`]. Everything here is kept in each side's own numbers; acknowledgements come in shifted.
//!
//! Read first: RFC 9293 3.3-3.4, RFC 7323 2.3, RFC 5961.

use ruleset::Timeout;

use crate::record::Peer;
use crate::track::{Segment, TcpVerdict};

/// FIN flag.
pub const FIN: u8 = 0x01;
/// SYN flag.
pub const SYN: u8 = 0x02;
/// RST flag.
pub const RST: u8 = 0x04;
/// ACK flag.
pub const ACK: u8 = 0x10;

/// How far an acknowledgement may be off: the largest unscaled window and one full segment.
const ACK_SKEW_MAX: u32 = 0xffff + 1500;

/// State of one side. Numbers are those of BSD, which pfsync carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum TcpState {
    /// Nothing seen.
    Closed = 0,
    /// Unused by the tracker; keeps BSD's numbers.
    Listen = 1,
    /// Has sent SYN.
    SynSent = 2,
    /// Unused by the tracker.
    SynReceived = 3,
    /// Its SYN was acknowledged.
    Established = 4,
    /// Unused by the tracker.
    CloseWait = 5,
    /// Unused by the tracker.
    FinWait1 = 6,
    /// Has sent FIN.
    Closing = 7,
    /// Unused by the tracker.
    LastAck = 8,
    /// Its FIN was acknowledged.
    FinWait2 = 9,
    /// Reset.
    TimeWait = 10,
    /// `synproxy`: the box shakes hands with the side that began.
    ProxySource = 11,
    /// `synproxy`: the box shakes hands with the side that was addressed.
    ProxyDestination = 12,
}

const SYN_SENT: u8 = TcpState::SynSent as u8;
const ESTABLISHED: u8 = TcpState::Established as u8;
const CLOSING: u8 = TcpState::Closing as u8;
const FIN_WAIT_2: u8 = TcpState::FinWait2 as u8;
const TIME_WAIT: u8 = TcpState::TimeWait as u8;

/// The word that `pfctl -ss` prints for a side's state.
pub fn state_name(state: u8) -> &'static str {
    match state {
        0 => "CLOSED",
        1 => "LISTEN",
        2 => "SYN_SENT",
        3 => "SYN_RCVD",
        4 => "ESTABLISHED",
        5 => "CLOSE_WAIT",
        6 => "FIN_WAIT_1",
        7 => "CLOSING",
        8 => "LAST_ACK",
        9 => "FIN_WAIT_2",
        10 => "TIME_WAIT",
        11 => "PROXY:SRC",
        12 => "PROXY:DST",
        _ => "?",
    }
}

/// `a >= b` in sequence space.
#[inline]
fn geq(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

/// `a > b` in sequence space.
#[inline]
fn gt(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

/// The peers of a state made by `first`: who began, and who was addressed.
pub fn begin(first: &Segment) -> [Peer; 2] {
    let mut src = Peer {
        seq_lo: first.seq,
        seq_hi: first.seq.wrapping_add(first.payload).wrapping_add(1),
        win_max: first.window.max(1),
        state: SYN_SENT,
        ..Peer::default()
    };
    if first.flags & SYN != 0 {
        src.seq_hi = src.seq_hi.wrapping_add(1);
        if let Some(shift) = first.wscale {
            // The window of a SYN is never scaled (RFC 7323 2.2); windows are kept unscaled by the shift.
            src.win_max = in_units(src.win_max.into(), shift);
            src.wscale = shift | Peer::WSCALE_KNOWN;
        }
    }
    if first.flags & FIN != 0 {
        src.seq_hi = src.seq_hi.wrapping_add(1);
    }
    let dst = Peer {
        seq_hi: 1,
        win_max: 1,
        state: TcpState::Closed as u8,
        ..Peer::default()
    };
    [src, dst]
}

/// Shifts that apply to the windows of `src` and `dst`: none unless both offered scaling, and none on SYN.
#[inline]
fn shifts(src: &Peer, dst: &Peer, flags: u8) -> (u8, u8) {
    if src.wscale & dst.wscale & Peer::WSCALE_KNOWN != 0 && flags & SYN == 0 {
        (
            src.wscale & Peer::WSCALE_MASK,
            dst.wscale & Peer::WSCALE_MASK,
        )
    } else {
        (0, 0)
    }
}

/// A SYN that meets a state: a new connection if both sides have closed; if both are established it is either old or
/// forged, and a challenge tells an honest sender how to say that it has forgotten the connection (RFC 5961 4.2).
#[inline]
fn test_syn(src: &Peer, dst: &Peer, flags: u8) -> Option<TcpVerdict> {
    if flags & (SYN | ACK) != SYN {
        return None;
    }
    match src.state.min(dst.state) {
        FIN_WAIT_2.. => Some(TcpVerdict::Reuse),
        ESTABLISHED.. => Some(TcpVerdict::Challenge),
        _ => None,
    }
}

/// Tracks a segment from `src` to `dst`. When it passes the peers and the returned timeout are updated; a segment
/// that is refused teaches nothing: the peers are as before (but see `BadStateReset`).
#[inline]
pub fn track(src: &mut Peer, dst: &mut Peer, segment: &Segment) -> (TcpVerdict, Timeout) {
    if let Some(verdict) = test_syn(src, dst, segment.flags) {
        return (verdict, timeout_for(src, dst));
    }
    if src.seq_lo == 0 {
        return judge_first(src, dst, segment);
    }
    let judged = judge(
        src,
        dst,
        segment,
        extent(segment),
        shifts(src, dst, segment.flags),
    );
    match judged.0 {
        TcpVerdict::BadState if answers_anew(src, dst, segment) => judge_anew(src, dst, segment),
        _ => judged,
    }
}

/// The tests for the first segment that is seen from this side.
fn judge_first(src: &mut Peer, dst: &mut Peer, segment: &Segment) -> (TcpVerdict, Timeout) {
    let before = (*src, *dst);
    let mut extent = extent(segment);
    let shifts = shifts(src, dst, segment.flags);
    let shifts = first_of_side(src, dst, segment, &mut extent, shifts);
    let (verdict, timeout) = judge(src, dst, segment, extent, shifts);
    if !matches!(verdict, TcpVerdict::Pass | TcpVerdict::PassLoose) {
        (*src, *dst) = before;
    }
    (verdict, timeout)
}

/// A segment that only carries data and acknowledges: ACK and neither SYN, FIN nor RST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plain {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window as in the header.
    pub window: u16,
    /// Payload bytes.
    pub payload: u32,
}

/// As [`track`], for a plain segment of a connection that is established on both sides, with numbers that are not
/// shifted: nearly all segments there are. True if it passes, and the peers are updated; nothing else about the
/// connection changes then. False leaves everything as it was, for [`track`] to judge.
#[inline(always)]
pub fn track_plain(src: &mut Peer, dst: &mut Peer, segment: &Plain) -> bool {
    debug_assert_eq!((src.state, dst.state), (ESTABLISHED, ESTABLISHED));
    if src.seq_lo == 0 || dst.seq_lo == 0 {
        return false;
    }
    let (sws, dws) = shifts(src, dst, ACK);
    let window = u32::from(segment.window);
    let scaled = window << sws;
    // No data: sequence restrictions do not matter (keep-alives send an old number).
    let seq = if segment.payload == 0 {
        src.seq_lo
    } else {
        segment.seq
    };
    let end = seq.wrapping_add(segment.payload);
    let skew = dst.seq_lo.wrapping_sub(segment.ack) as i32;
    let first = distance(src.seq_lo, seq);
    let in_window = first + i64::from(segment.payload) <= distance(src.seq_lo, src.seq_hi)
        && first >= -(i64::from(dst.win_max) << dws)
        && skew >= -(ACK_SKEW_MAX as i32)
        && skew <= (ACK_SKEW_MAX << sws) as i32;
    if in_window {
        slide(src, window, end);
        slide_limit(dst, segment.ack, scaled);
    }
    in_window
}

/// A SYN+ACK with another number than the one before, while the side that began has acknowledged neither. A server that
/// answers by cookies while it has many half-open connections, and has room when the SYN comes again, answers so; the
/// first of its answers was lost behind us, since the other side would not have repeated its SYN. PF refuses the
/// second, and the connection does not come about. A stranger must guess one number of all, where he may be off by
/// [`ACK_SKEW_MAX`] to be taken for the first answer.
#[cold]
fn answers_anew(src: &Peer, dst: &Peer, segment: &Segment) -> bool {
    let is_answer = segment.flags & (SYN | ACK | RST | FIN) == SYN | ACK;
    let beyond = effective_ack(dst, segment).wrapping_sub(dst.seq_lo);
    is_answer && src.state == SYN_SENT && dst.state == ESTABLISHED && beyond <= 1
}

/// The tests for an answer in whose light the one before says nothing.
#[cold]
fn judge_anew(src: &mut Peer, dst: &mut Peer, segment: &Segment) -> (TcpVerdict, Timeout) {
    let before = (*src, *dst);
    (src.seq_lo, src.seq_hi, src.win_max, src.wscale) = (0, 1, 1, 0);
    if segment.wscale.is_some() && dst.wscale & Peer::WSCALE_WAIVED != 0 {
        let shift = dst.wscale & Peer::WSCALE_MASK;
        dst.win_max = in_units(dst.win_max.into(), shift);
        dst.wscale = shift | Peer::WSCALE_KNOWN;
    }
    let (verdict, timeout) = judge_first(src, dst, segment);
    if verdict != TcpVerdict::Pass {
        (*src, *dst) = before;
    }
    (verdict, timeout)
}

/// A window in units of `1 << shift` bytes, rounded up.
fn in_units(window: u32, shift: u8) -> u16 {
    ((window + (1 << shift) - 1) >> shift).min(0xffff) as u16
}

/// What a segment covers and offers.
#[derive(Clone, Copy)]
struct Extent {
    /// Behind its last number, FIN included.
    end: u32,
    /// Behind its last number, FIN not included: a FIN may lie one beyond the window.
    data_end: u32,
    /// Window, unscaled.
    window: u32,
}

#[inline]
fn extent(segment: &Segment) -> Extent {
    let syn = u32::from(segment.flags & SYN != 0);
    let fin = u32::from(segment.flags & FIN != 0);
    let data_end = segment.seq.wrapping_add(segment.payload).wrapping_add(syn);
    Extent {
        end: data_end.wrapping_add(fin),
        data_end,
        window: u32::from(segment.window),
    }
}

/// How far `to` lies ahead of `from` in sequence space; negative if it lies behind.
#[inline]
fn distance(from: u32, to: u32) -> i64 {
    i64::from(to.wrapping_sub(from) as i32)
}

/// The tests, and what follows from them.
#[inline]
fn judge(
    src: &mut Peer,
    dst: &mut Peer,
    segment: &Segment,
    extent: Extent,
    (sws, dws): (u8, u8),
) -> (TcpVerdict, Timeout) {
    let Extent {
        mut end,
        mut data_end,
        window,
    } = extent;
    let ack = effective_ack(dst, segment);
    let mut seq = segment.seq;
    if seq == end {
        // No data: sequence restrictions do not matter (keep-alives send an old number).
        seq = src.seq_lo;
        (end, data_end) = (seq, seq);
    }
    let skew = dst.seq_lo.wrapping_sub(ack) as i32;
    let scaled = window << sws;
    let oldest = src.seq_lo.wrapping_sub(u32::from(dst.win_max) << dws);
    let acknowledges_sense = skew >= -(ACK_SKEW_MAX as i32) && skew <= (ACK_SKEW_MAX << sws) as i32;

    // Both bounds are measured from one number: two comparisons around the circle would let pass what lies on its far
    // side whenever the window is closed.
    let first = distance(src.seq_lo, seq);
    let last = first + i64::from(data_end.wrapping_sub(seq));
    let in_window = last <= distance(src.seq_lo, src.seq_hi)
        && first >= -(i64::from(dst.win_max) << dws)
        && acknowledges_sense
        && (segment.flags & RST == 0 || reset_fits(src, segment, skew, oldest));
    if in_window {
        slide(src, window, end);
        slide_limit(dst, ack, scaled);
        advance_states(src, dst, segment.flags);
        return (TcpVerdict::Pass, timeout_for(src, dst));
    }
    if fits_loosely(src, dst, segment, data_end, acknowledges_sense) {
        slide(src, window, end);
        if acknowledges_sense {
            slide_limit(dst, ack, scaled);
        }
        if segment.flags & FIN != 0 && src.state < CLOSING {
            src.state = CLOSING;
        }
        if segment.flags & RST != 0 {
            (src.state, dst.state) = (TIME_WAIT, TIME_WAIT);
        }
        return (TcpVerdict::PassLoose, timeout_for(src, dst));
    }
    if src.state == SYN_SENT && dst.state == SYN_SENT {
        // A half-open connection of old answers our SYN: let its end go away and the handshake start afresh.
        (src.seq_lo, src.seq_hi, src.win_max) = (0, 1, 1);
        let verdict = if segment.flags & RST == 0 {
            TcpVerdict::BadStateReset
        } else {
            TcpVerdict::BadState
        };
        return (verdict, timeout_for(src, dst));
    }
    (TcpVerdict::BadState, timeout_for(src, dst))
}

/// First segment that is seen from this side: learn its sequence space and its scaling.
fn first_of_side(
    src: &mut Peer,
    dst: &mut Peer,
    segment: &Segment,
    extent: &mut Extent,
    (mut sws, mut dws): (u8, u8),
) -> (u8, u8) {
    if segment.flags & SYN != 0 && dst.wscale & Peer::WSCALE_KNOWN != 0 {
        if let Some(shift) = segment.wscale {
            src.wscale = shift | Peer::WSCALE_KNOWN;
            sws = shift;
            extent.window = in_units(extent.window, sws).into();
            dws = dst.wscale & Peer::WSCALE_MASK;
        } else {
            // The other side asked for scaling and this one does not know it: windows are plain after all.
            let plain = u32::from(dst.win_max) << (dst.wscale & Peer::WSCALE_MASK);
            dst.win_max = plain.min(0xffff) as u16;
            dst.wscale = dst.wscale & Peer::WSCALE_MASK | Peer::WSCALE_WAIVED;
        }
    }
    src.seq_lo = segment.seq;
    src.state = src.state.max(SYN_SENT);
    let reach = extent
        .end
        .wrapping_add((u32::from(dst.win_max) << dws).max(1));
    if src.seq_hi == 1 || geq(reach, src.seq_hi) {
        src.seq_hi = reach;
    }
    src.win_max = src.win_max.max(extent.window.min(0xffff) as u16);
    (sws, dws)
}

/// The acknowledgement number to judge by; what cannot be meant is taken as "what `dst` has sent".
#[inline]
fn effective_ack(dst: &Peer, segment: &Segment) -> u32 {
    let ack = segment.ack.wrapping_sub(dst.seq_diff);
    let broken_reset = segment.ack == 0 && segment.flags & (ACK | RST) == ACK | RST;
    if segment.flags & ACK == 0 || broken_reset || dst.state < SYN_SENT {
        dst.seq_lo
    } else {
        ack
    }
}

/// Rule 4: a reset must name the next expected octet, or one beside it; a late one, sent before what has passed by
/// now, must acknowledge exactly what the other side has sent.
fn reset_fits(src: &Peer, segment: &Segment, skew: i32, oldest: u32) -> bool {
    let beside = segment.seq.wrapping_sub(src.seq_lo).wrapping_add(1) <= 2;
    let late = geq(segment.seq, oldest) && geq(src.seq_lo.wrapping_add(1), segment.seq);
    beside || (late && skew == 0 && segment.flags & ACK != 0)
}

/// The looser test, for a side whose peer was not heard yet, and for the time after a close: beside the window by
/// no more than the fudge. A segment without data must have one number that makes sense; OpenBSD asks for none here,
/// and would let a blind reset end a connection that is closed in one direction.
fn fits_loosely(
    src: &Peer,
    dst: &Peer,
    segment: &Segment,
    data_end: u32,
    acknowledges_sense: bool,
) -> bool {
    let heard = dst.state >= SYN_SENT;
    if heard && dst.state < FIN_WAIT_2 && src.state < FIN_WAIT_2 {
        return false;
    }
    let empty = segment.payload == 0 && segment.flags & (SYN | FIN) == 0;
    if empty && heard && acknowledges_sense && segment.flags & RST == 0 {
        return true;
    }
    let end = if empty { segment.seq } else { data_end };
    let fudge = i64::from(ACK_SKEW_MAX);
    let first = distance(src.seq_lo, segment.seq);
    let last = first + i64::from(end.wrapping_sub(segment.seq));
    last <= distance(src.seq_lo, src.seq_hi) + fudge && first >= -fudge
}

/// Follows what `src` has sent, and its window.
#[inline]
fn slide(src: &mut Peer, window: u32, end: u32) {
    src.win_max = src.win_max.max(window.min(0xffff) as u16);
    if gt(end, src.seq_lo) {
        src.seq_lo = end;
    }
}

/// Follows what `dst` may send. Nothing can be said of a side that was not heard: its numbers may lie anywhere.
/// (OpenBSD sets a limit near 0 then, which for half of all initial numbers never moves again and lets everything
/// pass.)
#[inline]
fn slide_limit(dst: &mut Peer, ack: u32, scaled: u32) {
    if dst.seq_lo != 0 && geq(ack.wrapping_add(scaled), dst.seq_hi) {
        dst.seq_hi = ack.wrapping_add(scaled.max(1));
    }
}

#[inline]
fn advance_states(src: &mut Peer, dst: &mut Peer, flags: u8) {
    if flags & SYN != 0 && src.state < SYN_SENT {
        src.state = SYN_SENT;
    }
    if flags & FIN != 0 && src.state < CLOSING {
        src.state = CLOSING;
    }
    if flags & ACK != 0 {
        match dst.state {
            SYN_SENT => dst.state = ESTABLISHED,
            CLOSING => dst.state = FIN_WAIT_2,
            _ => {}
        }
    }
    if flags & RST != 0 {
        (src.state, dst.state) = (TIME_WAIT, TIME_WAIT);
    }
}

/// Both sides have closed: a new connection between the same ends may take the place of this one.
pub fn is_over(peer: &[Peer; 2]) -> bool {
    peer.iter().all(|p| p.state >= FIN_WAIT_2)
}

/// The side that began is known, and nothing has answered its SYN: what `half-open` counts.
#[inline]
pub fn is_half_open(first: &Peer) -> bool {
    (TcpState::Listen as u8..ESTABLISHED).contains(&first.state)
}

/// A segment of `src`, in its own numbers, that an ICMP error quotes was sent within the last window (RFC 5927 4.1).
pub fn quoted_in_window(src: &Peer, dst: &Peer, seq: u32) -> bool {
    let (_, dws) = shifts(src, dst, 0);
    let oldest = src.seq_lo.wrapping_sub(u32::from(dst.win_max) << dws);
    geq(src.seq_hi, seq) && geq(seq, oldest)
}

/// Which timeout applies to a connection in these states.
#[inline]
pub fn timeout_for(src: &Peer, dst: &Peer) -> Timeout {
    let (low, high) = (src.state.min(dst.state), src.state.max(dst.state));
    if low >= FIN_WAIT_2 {
        Timeout::TcpClosed
    } else if low >= CLOSING {
        Timeout::TcpFinWait
    } else if low < ESTABLISHED {
        Timeout::TcpOpening
    } else if high >= CLOSING {
        Timeout::TcpClosing
    } else {
        Timeout::TcpEstablished
    }
}

/// Tracks a segment without windows (`sloppy`): states follow the flags alone.
pub fn track_sloppy(src: &mut Peer, dst: &mut Peer, segment: &Segment) -> (TcpVerdict, Timeout) {
    let flags = segment.flags;
    if let Some(verdict) = test_syn(src, dst, flags) {
        return (verdict, timeout_for(src, dst));
    }
    if flags & SYN != 0 && src.state < SYN_SENT {
        src.state = SYN_SENT;
    }
    if flags & FIN != 0 && src.state < CLOSING {
        src.state = CLOSING;
    }
    if flags & ACK != 0 {
        match dst.state {
            SYN_SENT => dst.state = ESTABLISHED,
            CLOSING => dst.state = FIN_WAIT_2,
            // Only one direction may pass here: one acknowledgement proves the handshake for both.
            0 if src.state == SYN_SENT => (src.state, dst.state) = (ESTABLISHED, ESTABLISHED),
            // Likewise its close: the answer to the FIN goes another way.
            ESTABLISHED if src.state == CLOSING && dst.seq_lo == 0 => dst.state = CLOSING,
            _ => {}
        }
    }
    if flags & RST != 0 {
        (src.state, dst.state) = (TIME_WAIT, TIME_WAIT);
    }
    (TcpVerdict::Pass, timeout_for(src, dst))
}

#[cfg(test)]
mod tests;
