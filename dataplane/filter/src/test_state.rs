//! A packet that has a state: does it fit, and what does it change.

use ruleset::{Direction, Timeout};
use state::track;
use state::{Peer, State, StateFlags, StateIdx, TcpVerdict};

use crate::describe::{Kind, PacketDesc};
use crate::limit;
use crate::reason::Reason;
use crate::{Core, Passage, seq, synproxy, tables, tcp, timeout_s};

/// What the state says of the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateTest {
    /// It belongs to the connection.
    Pass,
    /// It does not fit.
    Drop(Reason),
    /// No state applies: ask the rules.
    Miss,
}

/// Tests a packet against the state `idx`, whose key is the packet's, and updates it.
#[inline]
pub fn test_state(
    core: &mut Core<'_>,
    idx: StateIdx,
    frame: &mut [u8],
    pd: &mut PacketDesc,
    passage: &Passage<'_>,
) -> StateTest {
    let Some(st) = core.states.get_mut(idx) else {
        return StateTest::Miss;
    };
    if st.flags.contains(StateFlags::IF_BOUND) && !passage.on.contains(st.kif) {
        return StateTest::Miss;
    }
    if pd.options && !st.flags.contains(StateFlags::ALLOW_OPTS) {
        return StateTest::Drop(Reason::IpOption);
    }
    let forward = st.is_forward(passage.direction, pd.af);
    if pd.kind == Kind::Tcp && synproxy::is_proxying(st) {
        let greeted = synproxy::test(st, forward, &pd.segment, core.secrets, core.answers);
        if greeted && synproxy::has_too_many(core, idx) {
            return StateTest::Drop(Reason::SrcLimit);
        }
        return StateTest::Drop(Reason::SynProxy);
    }
    let (tracked, slot) = (st.flags.contains(StateFlags::HOLDS), st.rule);
    if forward
        && st.flags.contains(StateFlags::PKT_RATE)
        && limit::over_pkt_rate(core.ruleset, core.shared, core.now_ms, slot)
    {
        return StateTest::Miss;
    }
    let found = match pd.kind {
        Kind::Tcp if st.stamps != State::NO_STAMPS => {
            tcp::track_scrubbed(core, idx, forward, frame, pd)
        }
        Kind::Tcp => Ok(tcp::track(
            core.secrets,
            core.shared,
            st,
            forward,
            &pd.segment,
        )),
        _ => {
            let (src, dst) = tcp::sides(&mut st.peer, forward);
            Ok((TcpVerdict::Pass, track_other(pd.kind, src, dst)))
        }
    };
    let (verdict, timeout) = match found {
        Ok(found) => found,
        Err(reason) => return StateTest::Drop(reason),
    };
    let Some(st) = core.states.get_mut(idx) else {
        return StateTest::Miss;
    };
    match verdict {
        TcpVerdict::Pass | TcpVerdict::PassLoose => {}
        TcpVerdict::BadState => return StateTest::Drop(Reason::BadState),
        TcpVerdict::BadStateReset | TcpVerdict::Challenge => {
            tcp::answer(core.answers, st, forward, pd, verdict);
            return StateTest::Drop(Reason::BadState);
        }
        TcpVerdict::Reuse => {
            remove_with_pair(core, idx);
            return StateTest::Miss;
        }
    }
    let bytes = u64::from(pd.ip_len);
    let way = usize::from(!forward);
    st.packets[way] += 1;
    st.bytes[way] += bytes;
    if pd.kind == Kind::Tcp {
        tcp::shift(st, forward, frame, pd);
    }
    let rule = core.counters.rule(st.rule);
    rule.traffic[passage.direction.index()].one(bytes);
    let on_tables = st.flags.contains(StateFlags::ON_TABLES);
    if verdict == TcpVerdict::Pass {
        st.last_seen = state::ticks::ticks(core.now_ms);
        if st.timeout != timeout {
            change_timeout(core, idx, timeout);
        }
    }
    if tracked && limit::too_many_connections(core, idx, pd.kind) {
        if let Some(gone) = core.states.remove(idx) {
            core.removed(&gone);
        }
        return StateTest::Drop(Reason::SrcLimit);
    }
    if tracked {
        limit::count_sources(core, idx, passage.direction, bytes);
    }
    if on_tables {
        tables::count_state(core, idx, passage.direction, bytes);
    }
    StateTest::Pass
}

fn track_other(kind: Kind, src: &mut Peer, dst: &mut Peer) -> Timeout {
    match kind {
        Kind::Udp => track::traffic(src, dst, Timeout::UdpSingle, Timeout::UdpMultiple),
        Kind::IcmpRequest | Kind::IcmpReply | Kind::NeighborAdvert => Timeout::IcmpError,
        _ => track::traffic(src, dst, Timeout::OtherSingle, Timeout::OtherMultiple),
    }
}

/// The state enters another timeout class. Only a shorter one needs to move in the wheel: a longer one is noticed
/// when the old time has come.
fn change_timeout(core: &mut Core<'_>, idx: StateIdx, timeout: Timeout) {
    let Some(st) = core.states.get_mut(idx) else {
        return;
    };
    let life = |st: &State| timeout_s(core.ruleset, core.shared, st);
    let before = life(st);
    st.timeout = timeout;
    let after = life(st);
    if after < before {
        core.states.requeue(idx, after);
    }
}

#[inline]
fn count(core: &mut Core<'_>, idx: StateIdx, pd: &PacketDesc, direction: Direction, forward: bool) {
    let Some(st) = core.states.get_mut(idx) else {
        return;
    };
    let bytes = u64::from(pd.ip_len);
    let way = usize::from(!forward);
    st.packets[way] += 1;
    st.bytes[way] += bytes;
    core.counters.rule(st.rule).traffic[direction.index()].one(bytes);
    limit::count_sources(core, idx, direction, bytes);
    tables::count_state(core, idx, direction, bytes);
}

/// Both states of a connection go together: a new SYN makes both anew.
fn remove_with_pair(core: &mut Core<'_>, idx: StateIdx) {
    let pair = core.states.get(idx).map_or(StateIdx::NONE, |st| st.pair);
    for idx in [idx, pair] {
        if let Some(gone) = idx.some().and_then(|idx| core.states.remove(idx)) {
            core.removed(&gone);
        }
    }
}

/// What an ICMP error is about.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The state of the packet that it quotes.
    pub state: StateIdx,
    /// That packet.
    pub quoted: PacketDesc,
}

/// Tests an ICMP error against the state of the packet that it quotes. `Miss` if there is none.
pub fn test_icmp_error(
    core: &mut Core<'_>,
    frame: &mut [u8],
    pd: &PacketDesc,
    passage: &Passage<'_>,
) -> (StateTest, Option<About>) {
    let Ok(quoted) = crate::describe::describe_quoted(frame, pd) else {
        return (StateTest::Miss, None);
    };
    let mut about = None;
    let tested = test_quoted(core, frame, pd, &quoted.pd, passage, &mut about);
    (tested, about)
}

fn test_quoted(
    core: &mut Core<'_>,
    frame: &mut [u8],
    pd: &PacketDesc,
    quoted: &PacketDesc,
    passage: &Passage<'_>,
    about: &mut Option<About>,
) -> StateTest {
    // RFC 5927 4: an error comes from the path of the packet it quotes, so it goes the other way.
    if quoted.src != pd.dst {
        return StateTest::Drop(Reason::BadState);
    }
    let direction = passage.direction.opposite();
    let key = quoted.key(direction);
    core.counters.searches.add(1);
    // What comes in belongs to what is on the wire, what goes out to what is on our side.
    let Some(idx) = core.states.find_way(passage.direction, &key) else {
        return StateTest::Miss;
    };
    let Some(st) = core.states.get(idx) else {
        return StateTest::Miss;
    };
    if st.flags.contains(StateFlags::IF_BOUND) && !passage.on.contains(st.kif) {
        return StateTest::Miss;
    }
    if pd.options && !st.flags.contains(StateFlags::ALLOW_OPTS) {
        return StateTest::Drop(Reason::IpOption);
    }
    let forward = match st.flags.contains(StateFlags::CHANGES_FAMILY) {
        // What it quotes went out as the other side sees it, unless the box itself speaks to the sender.
        true => (quoted.af == st.wire.af()) == (passage.direction == Direction::Out),
        false => direction == st.direction,
    };
    let (src, dst) = if forward {
        (&st.peer[0], &st.peer[1])
    } else {
        (&st.peer[1], &st.peer[0])
    };
    // The quotation has the number as it left here; the state has it as it came.
    let diff = src.seq_diff.wrapping_neg();
    let number = quoted.segment.seq.wrapping_add(diff);
    let strict = quoted.kind == Kind::Tcp && !st.flags.contains(StateFlags::SLOPPY);
    if strict && !track::tcp::quoted_in_window(src, dst, number) {
        return StateTest::Drop(Reason::BadState);
    }
    if quoted.kind == Kind::Tcp && diff != 0 {
        /// Bytes of an ICMP or ICMPv6 error before its quotation.
        const ERROR_HEADER: usize = 8;
        seq::shift_quoted(pd.l4(frame), ERROR_HEADER + usize::from(quoted.l4_at), diff);
    }
    *about = Some(About {
        state: idx,
        quoted: *quoted,
    });
    // The error goes against the packet it quotes.
    count(core, idx, pd, passage.direction, !forward);
    StateTest::Pass
}
