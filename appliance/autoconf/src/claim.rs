//! One address of one interface: is anybody else using it? And then: it is here.
//!
//! Read first: RFC 5227 sections 2.1 to 2.4 (IPv4), RFC 4862 5.4 (IPv6), RFC 4861 7.2.6 (unsolicited advertisements).
//!
//! A learned address is *tentative*: it is not used until nobody has answered for it. A configured address is used at
//! once, as on OpenBSD, where IPv4 addresses are announced and not probed; it is probed all the same, because a conflict
//! that nobody hears of is the worst of all. A firewall that waits for its own address after a power cut would be worse.
//! The waits for IPv4 are shorter than RFC 5227 has them: its seven seconds are meant for links with a spanning tree
//! that is still thinking, and whoever gave us the address has looked already (RFC 2131 4.4.1).

use std::net::IpAddr;

use net::neighbor::{
    FRAME_LEN_MAX, build_arp_probe, build_gratuitous_arp, build_ns_probe, build_unsolicited_na,
};
use wire::ether;

use crate::{Outgoing, Way};

/// Questions about an IPv4 address (PROBE_NUM).
const PROBES4: u8 = 3;
/// Between them, in milliseconds, with as much again of chance.
const PROBE4_MS: u64 = 200;
/// After the last of them (ANNOUNCE_WAIT).
const WAIT4_MS: u64 = 400;
/// Questions about an IPv6 address (DupAddrDetectTransmits).
const PROBES6: u8 = 1;
/// After it (RetransTimer).
const WAIT6_MS: u64 = 1_000;
/// Announcements (ANNOUNCE_NUM).
const ANNOUNCEMENTS: u8 = 2;
/// Between them (ANNOUNCE_INTERVAL).
const ANNOUNCE_MS: u64 = 2_000;
/// Least time between two defenses (DEFEND_INTERVAL).
const DEFEND_MS: u64 = 10_000;

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Asking; so many questions so far.
    Probing(u8),
    /// Ours; telling everybody, so many times so far.
    Announcing(u8),
    /// Ours.
    Held,
    /// Somebody else has it.
    Lost,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// What was due is due.
    Timer,
    /// The station uses the address, or asks for it as we do.
    Conflict(ether::Addr),
    /// The link came up: whoever is on it now may not know us.
    LinkUp,
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(Outgoing),
    /// Nobody else has it: a tentative address may be used now.
    Unique,
    /// Somebody else has a tentative address: it must not be used.
    Lost(ether::Addr),
    /// Somebody else uses an address of ours: say so. It was defended.
    Quarrel(ether::Addr),
}

/// The claim to one address.
#[derive(Debug, Clone)]
pub struct Claim {
    addr: IpAddr,
    mac: ether::Addr,
    tentative: bool,
    state: State,
    due_ms: u64,
    defended_ms: Option<u64>,
}

impl Claim {
    /// A claim that begins now. `tentative` if the address is not used yet.
    pub fn new(addr: IpAddr, mac: ether::Addr, tentative: bool, now_ms: u64) -> Claim {
        Claim {
            addr,
            mac,
            tentative,
            state: State::Probing(0),
            due_ms: now_ms,
            defended_ms: None,
        }
    }

    /// The address.
    pub fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Whether it is not used yet.
    pub fn is_tentative(&self) -> bool {
        self.tentative
    }

    /// What is known.
    pub fn state(&self) -> State {
        self.state
    }

    /// When [`Event::Timer`] is due, by the caller's clock.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// One step.
    pub fn on(&mut self, now_ms: u64, random: u32, event: Event) -> Vec<Action> {
        let probes = if self.addr.is_ipv4() {
            PROBES4
        } else {
            PROBES6
        };
        match (self.state, event) {
            (State::Probing(sent), Event::Timer) if sent < probes => {
                self.probe(now_ms, random, sent)
            }
            (State::Probing(_), Event::Timer) => {
                let was_tentative = std::mem::replace(&mut self.tentative, false);
                let mut actions = self.announce(now_ms, 0);
                if was_tentative {
                    // Used first, announced then.
                    actions.insert(0, Action::Unique);
                }
                actions
            }
            (State::Announcing(sent), Event::Timer) => self.announce(now_ms, sent),
            (state @ (State::Held | State::Lost), Event::Timer) => self.become_(state, u64::MAX),
            (_, Event::Conflict(link)) if self.tentative => {
                self.become_(State::Lost, u64::MAX);
                vec![Action::Lost(link)]
            }
            (State::Lost, Event::Conflict(_)) => Vec::new(),
            (_, Event::Conflict(link)) => self.defend(now_ms, link),
            (State::Probing(_), Event::LinkUp) => self.begin(now_ms, State::Probing(0)),
            (State::Lost, Event::LinkUp) => Vec::new(),
            (_, Event::LinkUp) if self.tentative => self.begin(now_ms, State::Probing(0)),
            (_, Event::LinkUp) => self.begin(now_ms, State::Announcing(0)),
        }
    }

    fn become_(&mut self, state: State, due_ms: u64) -> Vec<Action> {
        (self.state, self.due_ms) = (state, due_ms);
        Vec::new()
    }

    fn begin(&mut self, now_ms: u64, state: State) -> Vec<Action> {
        self.become_(state, now_ms)
    }

    fn probe(&mut self, now_ms: u64, random: u32, sent: u8) -> Vec<Action> {
        let wait = match self.addr {
            IpAddr::V6(_) => WAIT6_MS,
            IpAddr::V4(_) if sent + 1 == PROBES4 => WAIT4_MS,
            IpAddr::V4(_) => PROBE4_MS + u64::from(random) % PROBE4_MS,
        };
        self.become_(State::Probing(sent + 1), now_ms + wait);
        self.question().into_iter().collect()
    }

    fn announce(&mut self, now_ms: u64, sent: u8) -> Vec<Action> {
        if sent + 1 < ANNOUNCEMENTS {
            self.become_(State::Announcing(sent + 1), now_ms + ANNOUNCE_MS);
        } else {
            self.become_(State::Held, u64::MAX);
        }
        self.announcement().into_iter().collect()
    }

    /// Tells everybody once that it is ours, and goes on (RFC 5227 2.4 b): a box whose peers name its address cannot
    /// give it up.
    fn defend(&mut self, now_ms: u64, link: ether::Addr) -> Vec<Action> {
        if self.defended_ms.is_some_and(|at| now_ms < at + DEFEND_MS) {
            return Vec::new();
        }
        self.defended_ms = Some(now_ms);
        let mut actions = vec![Action::Quarrel(link)];
        actions.extend(self.announcement());
        actions
    }

    fn question(&self) -> Option<Action> {
        let mut buf = [0; FRAME_LEN_MAX];
        match self.addr {
            IpAddr::V4(addr) => {
                let len = build_arp_probe(&mut buf, self.mac, addr)?;
                Some(frame(&buf[..len]))
            }
            IpAddr::V6(addr) => {
                let len = build_ns_probe(&mut buf, self.mac, addr)?;
                packet(&buf[..len])
            }
        }
    }

    fn announcement(&self) -> Option<Action> {
        let mut buf = [0; FRAME_LEN_MAX];
        match self.addr {
            IpAddr::V4(addr) => {
                let len = build_gratuitous_arp(&mut buf, self.mac, addr)?;
                Some(frame(&buf[..len]))
            }
            IpAddr::V6(addr) => {
                let len = build_unsolicited_na(&mut buf, self.mac, addr)?;
                packet(&buf[..len])
            }
        }
    }
}

fn frame(bytes: &[u8]) -> Action {
    Action::Send(Outgoing {
        way: Way::Frame,
        bytes: bytes.to_vec(),
    })
}

/// The IP packet of a frame. Discovery asks the rules, as everything of IPv6.
fn packet(bytes: &[u8]) -> Option<Action> {
    let frame = ether::Frame::new_checked(bytes).ok()?;
    Some(Action::Send(Outgoing {
        way: Way::Link(frame.dst()),
        bytes: frame.payload().to_vec(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: ether::Addr = ether::Addr([2, 0, 0, 0, 0, 1]);
    const OTHER: ether::Addr = ether::Addr([2, 0, 0, 0, 0, 9]);

    fn claim(addr: &str, tentative: bool) -> Claim {
        Claim::new(addr.parse().unwrap(), MAC, tentative, 1000)
    }

    fn words(actions: &[Action]) -> Vec<&'static str> {
        let word = |a: &Action| match a {
            Action::Send(Outgoing { bytes, .. }) if bytes[0] >> 4 == 6 => {
                if bytes[40] == 135 {
                    "ask"
                } else {
                    "tell"
                }
            }
            // The sender's address of a probe is zero.
            Action::Send(Outgoing { bytes, .. }) if bytes[28..32] == [0; 4] => "ask",
            Action::Send(_) => "tell",
            Action::Unique => "unique",
            Action::Lost(_) => "lost",
            Action::Quarrel(_) => "quarrel",
        };
        actions.iter().map(word).collect()
    }

    /// Runs the timers dry: what was done, and when it began and ended.
    fn run(claim: &mut Claim) -> (Vec<&'static str>, u64) {
        let (mut done, mut now) = (Vec::new(), 1000);
        while claim.due_ms() != u64::MAX {
            now = claim.due_ms();
            done.extend(words(&claim.on(now, 50, Event::Timer)));
        }
        (done, now)
    }

    #[test]
    fn asked_about_used_and_announced() {
        let v4 = ["ask", "ask", "ask", "unique", "tell", "tell"];
        assert_eq!(
            run(&mut claim("192.0.2.7", true)),
            (v4.to_vec(), 1000 + 250 + 250 + 400 + 2000)
        );
        let v6 = ["ask", "unique", "tell", "tell"];
        assert_eq!(
            run(&mut claim("2001:db8::7", true)),
            (v6.to_vec(), 1000 + 1000 + 2000)
        );
        let configured = ["ask", "ask", "ask", "tell", "tell"];
        assert_eq!(run(&mut claim("192.0.2.7", false)).0, configured);
    }

    #[test]
    fn a_tentative_address_is_lost_to_whoever_has_it() {
        for addr in ["192.0.2.7", "2001:db8::7"] {
            let mut claim = claim(addr, true);
            claim.on(1000, 0, Event::Timer);
            let said = claim.on(1010, 0, Event::Conflict(OTHER));
            assert_eq!(said, [Action::Lost(OTHER)]);
            assert_eq!((claim.state(), claim.due_ms()), (State::Lost, u64::MAX));
            assert_eq!(
                claim.on(1020, 0, Event::Conflict(OTHER)),
                [Action::Lost(OTHER)]
            );
            assert!(claim.on(1030, 0, Event::LinkUp).is_empty());
        }
    }

    #[test]
    fn an_address_in_use_is_defended_now_and_then() {
        let mut claim = claim("192.0.2.7", false);
        run(&mut claim);
        for (at, expected) in [
            (20_000, vec!["quarrel", "tell"]),
            (20_001, vec![]),
            (29_999, vec![]),
            (30_000, vec!["quarrel", "tell"]),
        ] {
            assert_eq!(
                words(&claim.on(at, 0, Event::Conflict(OTHER))),
                expected,
                "{at}"
            );
        }
        assert_eq!(claim.state(), State::Held);
    }

    #[test]
    fn a_link_that_comes_up_is_told() {
        let mut claim = claim("2001:db8::7", false);
        run(&mut claim);
        assert!(claim.on(50_000, 0, Event::LinkUp).is_empty());
        assert_eq!(claim.due_ms(), 50_000);
        assert_eq!(words(&claim.on(50_000, 0, Event::Timer)), ["tell"]);
        assert_eq!(words(&claim.on(52_000, 0, Event::Timer)), ["tell"]);
        assert_eq!(claim.state(), State::Held);
    }
}
