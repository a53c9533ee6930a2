//! What a TCP segment does to its state, and the state to the segment: tracking, the numbers of modulated connections,
//! and answers to segments that do not fit.
//!
//! Read first: pf.conf(5) "STATEFUL FILTERING", `modulate state`; RFC 5961.

use ruleset::{Direction, KeepState, Rule, Timeout};
use state::track::stamps::Around;
use state::track::tcp::{self, ACK, RST, SYN, TcpState};
use state::{Peer, Segment, State, StateFlags, StateIdx, TcpVerdict};

use crate::answer::{Answers, answer_to};
use crate::describe::{PROTO_TCP, PacketDesc};
use crate::reason::Reason;
use crate::{Core, Passage, Secrets, Shared, seq, stamps, synproxy};

/// The sender's side, then the other.
#[inline]
pub(crate) fn sides(peer: &mut [Peer; 2], forward: bool) -> (&mut Peer, &mut Peer) {
    let [first, second] = peer;
    if forward {
        (first, second)
    } else {
        (second, first)
    }
}

/// TCP, and nothing has answered the SYN of the side that began.
#[inline]
pub(crate) fn is_half_open(st: &State) -> bool {
    st.wire.proto() == PROTO_TCP && tcp::is_half_open(&st.peer[0])
}

/// A new state: counts it as half open, and shifts the numbers of its first segment if its rule says so. True if the
/// box answers in place of the server, and the segment ends here.
pub(crate) fn begin(
    core: &mut Core<'_>,
    idx: StateIdx,
    frame: &mut [u8],
    pd: &mut PacketDesc,
    passage: &Passage<'_>,
    rule: &Rule,
) -> bool {
    let Some(st) = core.states.get_mut(idx) else {
        return false;
    };
    // A connection that was picked up in the middle has numbers that both sides know already.
    let is_first = pd.segment.flags & (SYN | ACK) == SYN;
    let is_proxied =
        rule.keep_state == KeepState::Synproxy && is_first && passage.direction == Direction::In;
    if is_proxied {
        let mss = synproxy::mss_of(pd, frame);
        synproxy::begin(st, mss, core.secrets, core.answers);
        return true;
    }
    if is_half_open(st) {
        core.shared.half_open.add(1);
    }
    let is_scrubbed = stamps::is_asked(st.actions.flags);
    if rule.keep_state == KeepState::Modulate && is_first {
        let initial = core.secrets.initial(pd, core.now_ms);
        st.peer[0].seq_diff = initial.wrapping_sub(pd.segment.seq).max(1);
        shift(st, true, frame, pd);
    }
    // Where there is no room they are not followed, and the connection goes on as others do.
    if is_scrubbed && core.states.follow_stamps(idx) {
        let peer = core
            .states
            .get(idx)
            .map_or_else(Default::default, |st| st.peer);
        // The first packet of a connection is never refused: nothing is known that it could contradict.
        test_stamps(core, idx, true, &peer, frame, pd).ok();
    }
    false
}

/// Follows a segment of a state whose timestamps are followed, too. A segment with a bad one teaches nothing.
pub(crate) fn track_scrubbed(
    core: &mut Core<'_>,
    idx: StateIdx,
    forward: bool,
    frame: &mut [u8],
    pd: &mut PacketDesc,
) -> Result<(TcpVerdict, Timeout), Reason> {
    let Some(st) = core.states.get_mut(idx) else {
        return Err(Reason::BadState);
    };
    let before = st.peer;
    let found = track(core.secrets, core.shared, st, forward, &pd.segment);
    if !matches!(found.0, TcpVerdict::Pass | TcpVerdict::PassLoose) {
        return Ok(found);
    }
    if let Err(reason) = test_stamps(core, idx, forward, &before, frame, pd) {
        let Some(st) = core.states.get_mut(idx) else {
            return Err(reason);
        };
        let after = core::mem::replace(&mut st.peer, before);
        if tcp::is_half_open(&before[0]) && !tcp::is_half_open(&after[0]) {
            core.shared.half_open.add(1);
        }
        return Err(reason);
    }
    Ok(found)
}

fn test_stamps(
    core: &mut Core<'_>,
    idx: StateIdx,
    forward: bool,
    before: &[Peer; 2],
    frame: &mut [u8],
    pd: &mut PacketDesc,
) -> Result<(), Reason> {
    let Some((st, [first, second])) = core.states.get_with_stamps(idx) else {
        return Ok(());
    };
    let own = st.flags.contains(StateFlags::OWN_TIMEOUTS);
    let timeouts = if own {
        core.ruleset.timeouts_of(st.rule)
    } else {
        &core.ruleset.timeouts
    };
    let around = Around {
        now: state::ticks::ticks(core.now_ms),
        created: st.created,
        leeway_s: timeouts.get(Timeout::TcpTsDiff),
        established: before
            .iter()
            .all(|p| p.state >= TcpState::Established as u8),
    };
    let pair = if forward {
        (first, second)
    } else {
        (second, first)
    };
    stamps::test(pair, frame, pd, &around, core.secrets)
}

/// Follows a segment, with the windows or without (`sloppy`).
#[inline]
pub(crate) fn track(
    secrets: &mut Secrets,
    shared: &Shared,
    st: &mut State,
    forward: bool,
    segment: &Segment,
) -> (TcpVerdict, Timeout) {
    let sloppy = st.flags.contains(StateFlags::SLOPPY);
    let was_half_open = tcp::is_half_open(&st.peer[0]);
    let (src, dst) = sides(&mut st.peer, forward);
    if dst.seq_diff != 0 && src.seq_diff == 0 && src.seq_lo == 0 {
        // The first segment of the other side: from now on its numbers are shifted, too.
        src.seq_diff = secrets.nonzero();
    }
    let found = if sloppy {
        tcp::track_sloppy(src, dst, segment)
    } else {
        tcp::track(src, dst, segment)
    };
    if was_half_open && !tcp::is_half_open(&st.peer[0]) {
        shared.half_open.give_back(1);
    }
    found
}

/// Shifts the numbers of a segment that passed, in the packet and in its description: what comes next sees them as
/// they will be on the wire.
#[inline]
pub(crate) fn shift(st: &State, forward: bool, frame: &mut [u8], pd: &mut PacketDesc) {
    let [first, second] = st.peer.map(|p| p.seq_diff);
    if first | second == 0 {
        return;
    }
    let (src, dst) = if forward {
        (first, second)
    } else {
        (second, first)
    };
    seq::shift(pd.l4(frame), src, dst);
    pd.segment.seq = pd.segment.seq.wrapping_add(src);
    if pd.segment.flags & ACK != 0 {
        pd.segment.ack = pd.segment.ack.wrapping_sub(dst);
    }
}

/// Answers a segment that does not fit, in the name of the side that it was for: an acknowledgement asks whether the
/// sender has forgotten the connection, a reset ends an old one during the handshake of a new one.
pub(crate) fn answer(
    answers: &mut Answers,
    st: &State,
    forward: bool,
    pd: &PacketDesc,
    verdict: TcpVerdict,
) {
    let (src, dst) = (
        &st.peer[usize::from(!forward)],
        &st.peer[usize::from(forward)],
    );
    let answer = match verdict {
        TcpVerdict::Challenge => {
            answer_to(pd, ACK, dst.seq_lo.wrapping_add(dst.seq_diff), src.seq_lo)
        }
        _ => answer_to(pd, RST, pd.segment.ack, 0),
    };
    // There is room: a packet that is refused brings nothing else about.
    answers.push(answer).ok();
}
