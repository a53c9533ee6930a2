//! `synproxy state`: the box shakes hands with the client, and only when that is done with the server. Then it
//! introduces them to each other, and from there on shifts their numbers ([`crate::seq`]).
//!
//! Read first: pf.conf(5), `synproxy state`; RFC 9293 3.5.

use net::segment::Segment as Made;
use ruleset::TagId;
use state::track::tcp::{ACK, FIN, RST, SYN, TcpState};
use state::{Key, Peer, Segment, State, StateIdx};

use crate::answer::{Answer, Answers, ip_addr};
use crate::describe::PacketDesc;
use crate::{Core, Secrets, limit};

/// Segment size to assume of a client that names none.
const MSS_DEFAULT: u16 = 512;

/// Where the two handshakes stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// With the client: it has been answered, and has to acknowledge that.
    Client,
    /// With the server: it has been asked.
    Server,
}

/// What came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    /// The client asks again.
    ClientSyn,
    /// The client acknowledges the box's answer.
    ClientAck,
    /// The server agrees.
    ServerSynAck,
    /// Anything else.
    Stray,
}

/// The state is still being proxied.
#[inline]
pub(crate) fn is_proxying(st: &State) -> bool {
    st.peer[0].state >= TcpState::ProxySource as u8
}

fn stage(st: &State) -> Stage {
    if st.peer[0].state == TcpState::ProxySource as u8 {
        Stage::Client
    } else {
        Stage::Server
    }
}

/// A new state for the SYN of a client: the box answers in the server's place. The window is closed, so that the client
/// sends nothing before there is somebody to hear it.
pub(crate) fn begin(
    st: &mut State,
    mss: Option<u16>,
    secrets: &mut Secrets,
    answers: &mut Answers,
) {
    st.mss = mss.unwrap_or(MSS_DEFAULT);
    st.peer[0].state = TcpState::ProxySource as u8;
    st.peer[0].seq_hi = secrets.nonzero();
    answers.push(answer_client(st)).ok();
}

/// A state whose client has acknowledged a cookie: its handshake is done. `cookie` was the box's number, `seq` the
/// client's first.
pub(crate) fn begin_with_cookie(st: &mut State, seq: u32, cookie: u32, mss: u16) {
    st.mss = mss;
    let [client, server] = &mut st.peer;
    (client.seq_lo, client.seq_hi, client.seq_diff) = (seq, cookie, 0);
    server.seq_hi = cookie;
    client.state = TcpState::ProxyDestination as u8;
}

/// A segment of a connection that is being proxied. It never passes: what has to be said to either side goes into
/// `answers`. True if the client has completed its handshake with it.
pub(crate) fn test(
    st: &mut State,
    forward: bool,
    segment: &Segment,
    secrets: &mut Secrets,
    answers: &mut Answers,
) -> bool {
    let before = stage(st);
    match (before, event(st, forward, segment)) {
        (Stage::Client, Event::ClientSyn) => {
            answers.push(answer_client(st)).ok();
        }
        (_, Event::ClientAck) => {
            st.peer[0].state = TcpState::ProxyDestination as u8;
            st.peer[0].win_max = segment.window.max(1);
            if st.peer[1].seq_hi == 1 {
                st.peer[1].seq_hi = secrets.nonzero();
            }
            answers.push(ask_server(st)).ok();
        }
        (Stage::Server, Event::ServerSynAck) => introduce(st, segment, answers),
        _ => {}
    }
    before == Stage::Client && is_proxying(st) && stage(st) == Stage::Server
}

/// The client of a state has completed its handshake: that counts for `max-src-conn` (pf.conf(5)). True if it has too
/// many connections now; the state is gone then, and nobody is told.
pub(crate) fn has_too_many(core: &mut Core<'_>, idx: StateIdx) -> bool {
    if !limit::count_connection(core, idx) {
        return false;
    }
    core.answers.clear();
    if let Some(gone) = core.states.remove(idx) {
        core.removed(&gone);
    }
    true
}

fn event(st: &State, forward: bool, segment: &Segment) -> Event {
    let [client, server] = &st.peer;
    let flags = segment.flags;
    if !forward {
        let agrees = flags & (SYN | ACK) == SYN | ACK
            && server.seq_hi != 1
            && segment.ack == server.seq_hi.wrapping_add(1);
        return if agrees {
            Event::ServerSynAck
        } else {
            Event::Stray
        };
    }
    if flags & SYN != 0 {
        let same = segment.seq == client.seq_lo;
        return if same { Event::ClientSyn } else { Event::Stray };
    }
    let acknowledges = segment.ack == client.seq_hi.wrapping_add(1)
        && segment.seq == client.seq_lo.wrapping_add(1);
    // Later, data and even a FIN may come with it; nobody takes them yet, and the client will send them again.
    let plain = match stage(st) {
        Stage::Client => flags & (ACK | RST | FIN) == ACK,
        Stage::Server => flags & (ACK | RST) == ACK,
    };
    if acknowledges && plain {
        Event::ClientAck
    } else {
        Event::Stray
    }
}

/// Both have agreed: each gets its acknowledgement with the other's window, and numbers are shifted from now on.
/// Nobody was offered window scaling, so there is none.
fn introduce(st: &mut State, segment: &Segment, answers: &mut Answers) {
    st.peer[1].win_max = segment.window.max(1);
    st.peer[1].seq_lo = segment.seq;
    let [client, server] = st.peer;
    let to_server = Answer {
        segment: Made {
            seq: segment.ack,
            ack: segment.seq.wrapping_add(1),
            flags: ACK,
            window: client.win_max,
            ..towards_server(&st.stack)
        },
        is_asked: true,
        tag: st.tag,
        rtable: st.rtable_onwards(),
    };
    let to_client = Answer {
        segment: Made {
            seq: client.seq_hi.wrapping_add(1),
            ack: client.seq_lo.wrapping_add(1),
            flags: ACK,
            window: server.win_max,
            ..towards_client(&st.wire)
        },
        is_asked: false,
        tag: TagId::default(),
        rtable: st.wire.rdomain(),
    };
    for answer in [to_server, to_client] {
        // There is room for two.
        answers.push(answer).ok();
    }
    let up = |peer: Peer, other: Peer, own: u32, seen_as: u32| Peer {
        seq_hi: peer
            .seq_lo
            .wrapping_add(u32::from(other.win_max))
            .wrapping_add(1),
        seq_diff: seen_as.wrapping_sub(own),
        wscale: 0,
        state: TcpState::Established as u8,
        ..peer
    };
    st.peer = [
        up(client, server, client.seq_lo, server.seq_hi),
        up(server, client, server.seq_lo, client.seq_hi),
    ];
}

/// What a client hears whose state goes before the server has answered.
pub fn farewell(st: &State) -> Option<Answer> {
    if st.peer[0].state != TcpState::ProxyDestination as u8 {
        return None;
    }
    let client = &st.peer[0];
    Some(Answer {
        segment: Made {
            seq: client.seq_hi.wrapping_add(1),
            ack: client.seq_lo.wrapping_add(1),
            flags: RST | ACK,
            ..towards_client(&st.wire)
        },
        is_asked: false,
        tag: TagId::default(),
        rtable: st.wire.rdomain(),
    })
}

fn answer_client(st: &State) -> Answer {
    let client = &st.peer[0];
    Answer {
        segment: Made {
            seq: client.seq_hi,
            ack: client.seq_lo.wrapping_add(1),
            flags: SYN | ACK,
            mss: st.mss,
            ..towards_client(&st.wire)
        },
        is_asked: false,
        tag: TagId::default(),
        rtable: st.wire.rdomain(),
    }
}

fn ask_server(st: &State) -> Answer {
    Answer {
        segment: Made {
            seq: st.peer[1].seq_hi,
            flags: SYN,
            mss: st.mss,
            ..towards_server(&st.stack)
        },
        is_asked: true,
        tag: st.tag,
        rtable: st.rtable_onwards(),
    }
}

/// From the client to the server, as the server knows them: the state's direction is in, so end 0 is the client.
fn towards_server(stack: &Key) -> Made {
    between(stack, 0, 1)
}

/// From the server to the client, as the client knows them.
fn towards_client(wire: &Key) -> Made {
    between(wire, 1, 0)
}

fn between(key: &Key, from: usize, to: usize) -> Made {
    let end = |n| {
        let (addr, port) = key.end(n);
        (ip_addr(key.af(), addr), port)
    };
    Made {
        src: end(from),
        dst: end(to),
        seq: 0,
        ack: 0,
        flags: 0,
        window: 0,
        mss: 0,
        ttl: 0,
    }
}

/// Segment size option of a SYN.
pub(crate) fn mss_of(pd: &PacketDesc, frame: &mut [u8]) -> Option<u16> {
    let tcp = wire::tcp::Packet::new_checked(&*pd.l4(frame)).ok()?;
    tcp.options().flatten().find_map(|option| match option {
        wire::tcp::TcpOption::Mss(mss) => Some(mss),
        _ => None,
    })
}
