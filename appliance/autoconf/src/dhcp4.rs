//! The DHCPv4 client of one interface: a lease, and how it is got, kept and lost.
//!
//! Read first: RFC 2131 sections 3.1, 3.2, 4.4 and figure 5. Differences, all as OpenBSD's dhcpleased(8) has them: the
//! first offer is taken; there is no random wait before the first question (one box, not a lecture hall after a power
//! cut); a link that comes up again makes the client ask for the address it had, which it goes on using meanwhile.
//!
//! What is broadcast goes out below the rules and answers come in below them; only the renewal, which is an ordinary
//! datagram to the server, asks the rules, and makes the state by which nothing else gets in.

mod message;

use std::net::Ipv4Addr;

use net::Prefix;
use wire::ether;

pub use message::{CLIENT_PORT, Kind, Message, SERVER_PORT, parse};
use message::{Request, build};

use crate::Outgoing;

/// First wait for an answer, in milliseconds; doubled each time (RFC 2131 4.1).
const ASK_MS: u64 = 4_000;
/// Longest wait for an answer.
const ASK_MS_MAX: u64 = 64_000;
/// Spread of waits: one second to either side.
const SPREAD_MS: u64 = 2_000;
/// Requests for an offered address before the search begins anew (RFC 2131 3.1.5: about a minute).
const REQUESTS_MAX: u8 = 4;
/// Requests for the address that we had before the search begins anew.
const REBOOTS_MAX: u8 = 3;
/// Wait after an address that somebody else has (RFC 2131 3.1.5).
const DECLINED_MS: u64 = 10_000;
/// Longest time that a check for other users of an address takes.
const CHECK_MS_MAX: u64 = 10_000;
/// Least time between two renewals (RFC 2131 4.4.5).
const RENEW_MS_MIN: u64 = 60_000;
/// Shortest lease that is taken as it is; a shorter one would have the box do nothing else.
const LEASE_S_MIN: u32 = 4;
/// A lease without end.
const INFINITE: u32 = u32::MAX;

/// An address with all that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Our address.
    pub addr: Ipv4Addr,
    /// Bits of the network on the link.
    pub prefix_len: u8,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// The default router.
    pub gateway: Option<Ipv4Addr>,
    /// Other routes (RFC 3442); if there are any, they take the place of `gateway`.
    pub routes: Vec<(Prefix, Ipv4Addr)>,
    /// Name servers.
    pub nameservers: Vec<Ipv4Addr>,
    /// When it is to be renewed, by the caller's clock.
    pub renew_ms: u64,
    /// When any server is to be asked.
    pub rebind_ms: u64,
    /// When it is over; none if it never is.
    pub expires_ms: Option<u64>,
}

impl Lease {
    /// Whether what the box is configured with is the same: times do not count.
    pub fn is_same(&self, other: &Lease) -> bool {
        let times = Lease {
            renew_ms: self.renew_ms,
            rebind_ms: self.rebind_ms,
            expires_ms: self.expires_ms,
            server: self.server,
            ..other.clone()
        };
        *self == times
    }
}

/// Where the client is. `xid` numbers the conversation, `asked` counts its questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The link is down, or nobody wants a lease.
    Stopped,
    /// Waits before it begins again.
    Waiting,
    /// Looks for servers.
    Selecting {
        /// Conversation.
        xid: u32,
        /// Questions so far.
        asked: u8,
    },
    /// Has asked for an offered address.
    Requesting {
        /// What was offered.
        offer: Lease,
        /// Conversation.
        xid: u32,
        /// Questions so far.
        asked: u8,
    },
    /// The address is ours if nobody on the link has it.
    Checking(Lease),
    /// In use.
    Bound(Lease),
    /// In use; its server is asked to prolong it.
    Renewing(Lease, u32),
    /// In use; any server is asked to prolong it.
    Rebinding(Lease, u32),
    /// In use; the link was away, and the server is asked whether the address is right here.
    Rebooting {
        /// What we had.
        lease: Lease,
        /// Conversation.
        xid: u32,
        /// Questions so far.
        asked: u8,
    },
}

impl State {
    /// The lease whose address may be used now.
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            State::Bound(lease)
            | State::Renewing(lease, _)
            | State::Rebinding(lease, _)
            | State::Rebooting { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// One word for people.
    pub fn name(&self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Waiting => "waiting",
            State::Selecting { .. } => "selecting",
            State::Requesting { .. } => "requesting",
            State::Checking(_) => "checking",
            State::Bound(_) => "bound",
            State::Renewing(..) => "renewing",
            State::Rebinding(..) => "rebinding",
            State::Rebooting { .. } => "rebooting",
        }
    }

    fn xid(&self) -> Option<u32> {
        match self {
            State::Selecting { xid, .. }
            | State::Requesting { xid, .. }
            | State::Rebooting { xid, .. }
            | State::Renewing(_, xid)
            | State::Rebinding(_, xid) => Some(*xid),
            _ => None,
        }
    }
}

/// What happens to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The link came up, or a lease is wanted from now on.
    Up,
    /// The link went down. A lease that we have stays.
    Down,
    /// What was due is due.
    Timer,
    /// A message for us.
    Heard(&'a Message),
    /// Nobody else has the address that is being checked.
    Unique,
    /// Somebody else has our address.
    Conflict,
}

/// What a caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(Outgoing),
    /// Find out whether somebody else on the link has this address; then comes `Unique` or `Conflict`.
    Check(Ipv4Addr),
}

/// The client of one interface.
#[derive(Debug, Clone)]
pub struct Client {
    mac: ether::Addr,
    hostname: String,
    state: State,
    /// When the next timer event is due.
    due_ms: u64,
    /// When this search began.
    began_ms: u64,
    /// The last address that we had: asked for again.
    wanted: Option<Ipv4Addr>,
}

impl Client {
    /// A client that is stopped.
    pub fn new(mac: ether::Addr, hostname: &str) -> Client {
        Client {
            mac,
            hostname: hostname.to_string(),
            state: State::Stopped,
            due_ms: u64::MAX,
            began_ms: 0,
            wanted: None,
        }
    }

    /// The interface's station address.
    pub fn mac(&self) -> ether::Addr {
        self.mac
    }

    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The lease whose address may be used now.
    pub fn lease(&self) -> Option<&Lease> {
        self.state.lease()
    }

    /// When [`Event::Timer`] is due, by the caller's clock.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// One step.
    pub fn on(&mut self, now_ms: u64, random: u32, event: &Event<'_>) -> Vec<Action> {
        let actions = self.step(now_ms, random, event);
        if let Some(end) = self.lease().and_then(|lease| lease.expires_ms) {
            self.due_ms = self.due_ms.min(end);
        }
        actions
    }

    fn step(&mut self, now_ms: u64, random: u32, event: &Event<'_>) -> Vec<Action> {
        let state = std::mem::replace(&mut self.state, State::Stopped);
        if let Some(lease) = state.lease()
            && lease.expires_ms.is_some_and(|end| now_ms >= end)
        {
            return self.search(now_ms, random);
        }
        match (state, event) {
            (state, Event::Up) => match state.lease().cloned() {
                Some(lease) => self.reboot(now_ms, random, lease, 0),
                None => self.search(now_ms, random),
            },
            (state, Event::Down) => match state.lease().cloned() {
                Some(lease) => self.rest(lease),
                None => self.stop(),
            },
            (State::Stopped, _) => self.stop(),
            (State::Waiting, Event::Timer) => self.search(now_ms, random),
            // Whoever should have checked did not.
            (State::Checking(_), Event::Timer) => self.search(now_ms, random),
            (State::Selecting { xid, asked }, Event::Timer) => {
                self.discover(now_ms, random, xid, asked)
            }
            (State::Requesting { offer, xid, asked }, Event::Timer) if asked < REQUESTS_MAX => {
                self.request(now_ms, random, offer, xid, asked)
            }
            (State::Requesting { .. }, Event::Timer) => self.search(now_ms, random),
            (State::Rebooting { lease, asked, .. }, Event::Timer) if asked < REBOOTS_MAX => {
                self.reboot(now_ms, random, lease, asked)
            }
            // Nobody says no: it stays ours to its end (RFC 2131 3.2.4).
            (State::Rebooting { lease, .. }, Event::Timer) => self.rest(lease),
            (State::Bound(lease), Event::Timer) => self.renew(now_ms, random, lease),
            (State::Renewing(lease, xid), Event::Timer) if now_ms < lease.rebind_ms => {
                self.renew_again(now_ms, lease, xid)
            }
            (State::Renewing(lease, xid) | State::Rebinding(lease, xid), Event::Timer) => {
                self.rebind(now_ms, lease, xid)
            }
            (State::Checking(lease), Event::Unique) => self.rest(lease),
            (State::Checking(lease), Event::Conflict) => self.decline(now_ms, random, &lease),
            (state, Event::Conflict) => match state.lease().cloned() {
                Some(lease) => self.decline(now_ms, random, &lease),
                None => self.stay(state),
            },
            (state, Event::Heard(message)) => self.hear(now_ms, random, state, message),
            (state, Event::Unique) => self.stay(state),
        }
    }

    fn stay(&mut self, state: State) -> Vec<Action> {
        self.state = state;
        Vec::new()
    }

    fn stop(&mut self) -> Vec<Action> {
        self.due_ms = u64::MAX;
        self.stay(State::Stopped)
    }

    fn wait(&mut self, now_ms: u64, wait_ms: u64) -> Vec<Action> {
        self.due_ms = now_ms + wait_ms;
        self.stay(State::Waiting)
    }

    /// In use until it is to be renewed.
    fn rest(&mut self, lease: Lease) -> Vec<Action> {
        self.due_ms = lease.renew_ms;
        self.wanted = Some(lease.addr);
        self.stay(State::Bound(lease))
    }

    fn search(&mut self, now_ms: u64, random: u32) -> Vec<Action> {
        self.began_ms = now_ms;
        self.discover(now_ms, random, random, 0)
    }

    fn discover(&mut self, now_ms: u64, random: u32, xid: u32, asked: u8) -> Vec<Action> {
        self.due_ms = now_ms + backoff_ms(asked, random);
        let asked = asked.saturating_add(1);
        self.state = State::Selecting { xid, asked };
        let wanted = self.wanted;
        self.send(now_ms, xid, Kind::Discover, |r| r.requested = wanted)
    }

    fn request(
        &mut self,
        now_ms: u64,
        random: u32,
        offer: Lease,
        xid: u32,
        asked: u8,
    ) -> Vec<Action> {
        self.due_ms = now_ms + backoff_ms(asked, random);
        let (addr, server) = (offer.addr, offer.server);
        let asked = asked + 1;
        self.state = State::Requesting { offer, xid, asked };
        self.send(now_ms, xid, Kind::Request, |r| {
            (r.requested, r.server) = (Some(addr), Some(server));
        })
    }

    fn reboot(&mut self, now_ms: u64, random: u32, lease: Lease, asked: u8) -> Vec<Action> {
        self.began_ms = now_ms;
        self.due_ms = now_ms + backoff_ms(asked, random);
        let addr = lease.addr;
        let (xid, asked) = (random, asked + 1);
        self.state = State::Rebooting { lease, xid, asked };
        self.send(now_ms, xid, Kind::Request, |r| r.requested = Some(addr))
    }

    fn renew(&mut self, now_ms: u64, random: u32, lease: Lease) -> Vec<Action> {
        if lease.expires_ms.is_none() {
            self.due_ms = u64::MAX;
            return self.stay(State::Bound(lease));
        }
        self.began_ms = now_ms;
        self.renew_again(now_ms, lease, random)
    }

    fn renew_again(&mut self, now_ms: u64, lease: Lease, xid: u32) -> Vec<Action> {
        self.due_ms = halfway(now_ms, lease.rebind_ms);
        let (addr, server) = (lease.addr, lease.server);
        self.state = State::Renewing(lease, xid);
        self.send(now_ms, xid, Kind::Request, |r| {
            (r.client, r.to) = (addr, Some(server));
        })
    }

    fn rebind(&mut self, now_ms: u64, lease: Lease, xid: u32) -> Vec<Action> {
        let end = lease.expires_ms.unwrap_or(u64::MAX);
        self.due_ms = halfway(now_ms, end);
        let addr = lease.addr;
        self.state = State::Rebinding(lease, xid);
        self.send(now_ms, xid, Kind::Request, |r| r.client = addr)
    }

    fn decline(&mut self, now_ms: u64, random: u32, lease: &Lease) -> Vec<Action> {
        self.wanted = None;
        let (addr, server) = (lease.addr, lease.server);
        let actions = self.send(now_ms, random, Kind::Decline, |r| {
            (r.requested, r.server) = (Some(addr), Some(server));
        });
        self.wait(now_ms, DECLINED_MS);
        actions
    }

    /// A message counts if it is an answer to the question that was put last.
    fn hear(&mut self, now_ms: u64, random: u32, state: State, message: &Message) -> Vec<Action> {
        if message.client != self.mac || state.xid() != Some(message.xid) {
            return self.stay(state);
        }
        let lease = || lease_of(message, now_ms);
        match (&state, message.kind) {
            (State::Selecting { xid, .. }, Kind::Offer) => match lease() {
                Some(offer) => self.request(now_ms, random, offer, *xid, 0),
                None => self.stay(state),
            },
            (State::Selecting { .. }, _) => self.stay(state),
            (State::Requesting { offer, .. }, Kind::Nak)
                if message.server != Some(offer.server) =>
            {
                self.stay(state)
            }
            (_, Kind::Nak) => {
                self.wanted = None;
                self.search(now_ms, random)
            }
            (State::Requesting { offer, .. }, Kind::Ack) => {
                let theirs = |l: &Lease| l.addr == offer.addr && l.server == offer.server;
                match lease().filter(theirs) {
                    Some(lease) => self.check(now_ms, lease),
                    None => self.stay(state),
                }
            }
            (_, Kind::Ack) => {
                let ours = state.lease().map(|l| l.addr);
                match lease().filter(|l| Some(l.addr) == ours) {
                    Some(lease) => self.rest(lease),
                    None => self.stay(state),
                }
            }
            _ => self.stay(state),
        }
    }

    fn check(&mut self, now_ms: u64, lease: Lease) -> Vec<Action> {
        let addr = lease.addr;
        self.due_ms = now_ms + CHECK_MS_MAX;
        self.state = State::Checking(lease);
        vec![Action::Check(addr)]
    }

    fn send(
        &self,
        now_ms: u64,
        xid: u32,
        kind: Kind,
        fill: impl FnOnce(&mut Request<'_>),
    ) -> Vec<Action> {
        let mut request = Request {
            kind,
            xid,
            secs: u16::try_from((now_ms - self.began_ms.min(now_ms)) / 1000).unwrap_or(u16::MAX),
            mac: self.mac,
            client: Ipv4Addr::UNSPECIFIED,
            requested: None,
            server: None,
            hostname: &self.hostname,
            to: None,
        };
        fill(&mut request);
        vec![Action::Send(build(&request))]
    }
}

/// 4, 8, 16, 32, 64 seconds, each with a second of chance to either side (RFC 2131 4.1).
fn backoff_ms(asked: u8, random: u32) -> u64 {
    let wait = (ASK_MS << asked.min(8)).min(ASK_MS_MAX);
    wait - SPREAD_MS / 2 + u64::from(random) % SPREAD_MS
}

/// Half of what remains, but not too often (RFC 2131 4.4.5).
fn halfway(now_ms: u64, end_ms: u64) -> u64 {
    let half = end_ms.saturating_sub(now_ms) / 2;
    now_ms.saturating_add(half.max(RENEW_MS_MIN)).min(end_ms)
}

/// The lease of an offer or acknowledgement; none if it lacks what it must have or says what cannot be.
fn lease_of(message: &Message, now_ms: u64) -> Option<Lease> {
    let server = message.server?;
    let seconds = message.lease_s.filter(|s| *s > 0)?.max(LEASE_S_MIN);
    let prefix_len = match message.mask {
        Some(mask) => prefix_len(mask)?,
        None => class_len(message.your),
    };
    let network = net::IfAddr {
        addr: message.your.into(),
        prefix_len,
    };
    let one_host = |a: &Ipv4Addr| {
        !(a.is_unspecified() || a.is_multicast() || a.is_loopback() || a.octets()[0] >= 240)
    };
    if !one_host(&message.your) || network.broadcast() == Some(message.your) || prefix_len == 0 {
        return None;
    }
    let (mut renew_s, mut rebind_s) = (
        message.renew_s.unwrap_or(seconds / 2),
        message
            .rebind_s
            .unwrap_or((u64::from(seconds) * 7 / 8) as u32),
    );
    if renew_s == 0 || renew_s > rebind_s || rebind_s > seconds {
        (renew_s, rebind_s) = (seconds / 2, (u64::from(seconds) * 7 / 8) as u32);
    }
    let after = |s: u32| now_ms + 1000 * u64::from(s);
    let usable = |a: &Ipv4Addr| one_host(a) && *a != message.your;
    Some(Lease {
        addr: message.your,
        prefix_len,
        server,
        gateway: message.routers.iter().copied().find(usable),
        routes: message
            .routes
            .iter()
            .copied()
            .filter(|(_, gateway)| gateway.is_unspecified() || usable(gateway))
            .collect(),
        nameservers: message
            .nameservers
            .iter()
            .copied()
            .filter(one_host)
            .collect(),
        renew_ms: after(renew_s),
        rebind_ms: after(rebind_s),
        expires_ms: (seconds != INFINITE).then(|| after(seconds)),
    })
}

/// Bits of a netmask without holes.
fn prefix_len(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then_some(ones as u8)
}

/// What a network had before there were netmasks; for servers that send none.
fn class_len(addr: Ipv4Addr) -> u8 {
    match addr.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

#[cfg(test)]
mod tests;
