//! The SLAAC client of one interface: asks for routers, and makes addresses and a default route of what they say.
//!
//! Read first: RFC 4861 6.3.4, 6.3.7; RFC 4862 5.5; RFC 7559 (asking on); RFC 4191 (preference); RFC 8106 (name
//! servers). Addresses have the interface identifier that follows from the station address (RFC 4291 appendix A):
//! whoever names a firewall in his rules wants to know its address. slaacd(8) makes temporary ones besides; a firewall
//! has nobody to hide.

use std::net::{IpAddr, Ipv6Addr};

use net::{IfAddr, Prefix};
use wire::ether;

use crate::Outgoing;
use crate::router::{Advertisement, INFINITE, Preference, PrefixInfo, build_solicit};

/// First wait for an answer, in milliseconds (RTR_SOLICITATION_INTERVAL); doubled each time.
const ASK_MS: u64 = 4_000;
/// Longest wait for an answer (RFC 7559 2: MRT).
const ASK_MS_MAX: u64 = 3_600_000;
/// Prefixes of which addresses are made, at most; more are not heard.
pub const ADDRESSES_MAX: usize = 8;
/// Default routers that are remembered, at most.
pub const ROUTERS_MAX: usize = 8;
/// Name servers that are remembered, at most.
pub const NAMESERVERS_MAX: usize = 4;
/// A shorter lifetime is not believed if a longer one was told before (RFC 4862 5.5.3 e).
const TWO_HOURS_MS: u64 = 2 * 3_600_000;
/// Length of an interface identifier.
const IDENTIFIER_BITS: u8 = 64;
/// Least MTU of a link with IPv6.
const MTU_MIN: u32 = 1280;

/// Where the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The link is down, or nobody wants addresses.
    Stopped,
    /// Asks for routers; so many questions so far.
    Soliciting(u8),
    /// A router has spoken.
    Settled,
}

/// What happens to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The link came up, or addresses are wanted from now on.
    Up,
    /// The link went down. What was learned stays.
    Down,
    /// What was due is due.
    Timer,
    /// An advertisement of the router with this address.
    Heard(Ipv6Addr, &'a Advertisement),
    /// Nobody else has this address.
    Unique(Ipv6Addr),
    /// Somebody else has this address.
    Conflict(Ipv6Addr),
}

/// What a caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(Outgoing),
    /// Find out whether somebody else on the link has this address; then comes `Unique` or `Conflict`.
    Check(Ipv6Addr),
}

/// Whether an address may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Checking,
    Ours,
    /// Somebody else has it: not tried again while its prefix lasts.
    Taken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    addr: Ipv6Addr,
    on_link: bool,
    valid_ms: u64,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Router {
    addr: Ipv6Addr,
    preference: Preference,
    until_ms: u64,
}

/// What was learned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Learned {
    /// Addresses that may be used.
    pub addrs: Vec<IfAddr>,
    /// The default router: a link-local address.
    pub gateway: Option<Ipv6Addr>,
    /// Largest packet of the link, if a router says so.
    pub mtu: Option<u16>,
    /// Name servers.
    pub nameservers: Vec<Ipv6Addr>,
}

/// The client of one interface.
#[derive(Debug, Clone)]
pub struct Client {
    mac: ether::Addr,
    /// The link-local address that questions are asked from.
    src: Ipv6Addr,
    state: State,
    ask_ms: u64,
    addresses: Vec<Address>,
    routers: Vec<Router>,
    nameservers: Vec<(Ipv6Addr, u64)>,
    mtu: Option<u16>,
}

impl Client {
    /// A client that is stopped. `src` is the interface's link-local address.
    pub fn new(mac: ether::Addr, src: Ipv6Addr) -> Client {
        Client {
            mac,
            src,
            state: State::Stopped,
            ask_ms: u64::MAX,
            addresses: Vec::new(),
            routers: Vec::new(),
            nameservers: Vec::new(),
            mtu: None,
        }
    }

    /// The interface's station address.
    pub fn mac(&self) -> ether::Addr {
        self.mac
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// What it has learned and may be used.
    pub fn learned(&self) -> Learned {
        let ours = self
            .addresses
            .iter()
            .filter(|a| a.standing == Standing::Ours);
        let addrs = ours.map(|a| IfAddr {
            addr: a.addr.into(),
            prefix_len: if a.on_link {
                128 - IDENTIFIER_BITS
            } else {
                128
            },
        });
        Learned {
            addrs: addrs.collect(),
            gateway: self.gateway(),
            mtu: self.mtu,
            nameservers: self.nameservers.iter().map(|(addr, _)| *addr).collect(),
        }
    }

    /// The one that wants most to be it; among equals the one that was heard first.
    fn gateway(&self) -> Option<Ipv6Addr> {
        let best = self.routers.iter().map(|r| r.preference).max()?;
        let mut best = self.routers.iter().filter(|r| r.preference == best);
        best.next().map(|r| r.addr)
    }

    /// When [`Event::Timer`] is due, by the caller's clock.
    pub fn due_ms(&self) -> u64 {
        let addresses = self.addresses.iter().map(|a| a.valid_ms);
        let routers = self.routers.iter().map(|r| r.until_ms);
        let nameservers = self.nameservers.iter().map(|(_, until)| *until);
        let lives = addresses.chain(routers).chain(nameservers).min();
        lives.unwrap_or(u64::MAX).min(self.ask_ms)
    }

    /// One step.
    pub fn on(&mut self, now_ms: u64, random: u32, event: &Event<'_>) -> Vec<Action> {
        self.expire(now_ms);
        match (self.state, event) {
            (_, Event::Up) => self.ask(now_ms, random, 0),
            (_, Event::Down) => self.become_(State::Stopped, u64::MAX),
            (State::Stopped, _) => Vec::new(),
            (State::Soliciting(asked), Event::Timer) if now_ms >= self.ask_ms => {
                self.ask(now_ms, random, asked)
            }
            // The last router has gone without a word: ask for others.
            (State::Settled, Event::Timer) if self.routers.is_empty() => {
                self.ask(now_ms, random, 0)
            }
            (_, Event::Timer) => Vec::new(),
            (_, Event::Heard(from, said)) => self.hear(now_ms, *from, said),
            (_, Event::Unique(addr)) => self.judge(*addr, Standing::Ours),
            (_, Event::Conflict(addr)) => self.judge(*addr, Standing::Taken),
        }
    }

    fn become_(&mut self, state: State, ask_ms: u64) -> Vec<Action> {
        (self.state, self.ask_ms) = (state, ask_ms);
        Vec::new()
    }

    fn ask(&mut self, now_ms: u64, random: u32, asked: u8) -> Vec<Action> {
        let wait = (ASK_MS << asked.min(16)).min(ASK_MS_MAX);
        // A tenth to either side (RFC 7559 2).
        let wait = wait - wait / 10 + u64::from(random) % (wait / 5);
        self.become_(State::Soliciting(asked.saturating_add(1)), now_ms + wait);
        vec![Action::Send(build_solicit(self.mac, self.src))]
    }

    fn expire(&mut self, now_ms: u64) {
        self.addresses.retain(|a| a.valid_ms > now_ms);
        self.routers.retain(|r| r.until_ms > now_ms);
        self.nameservers.retain(|(_, until)| *until > now_ms);
    }

    fn judge(&mut self, addr: Ipv6Addr, standing: Standing) -> Vec<Action> {
        for a in self.addresses.iter_mut().filter(|a| a.addr == addr) {
            a.standing = standing;
        }
        Vec::new()
    }

    fn hear(&mut self, now_ms: u64, from: Ipv6Addr, said: &Advertisement) -> Vec<Action> {
        self.hear_router(now_ms, from, said);
        self.hear_nameservers(now_ms, said);
        if let Some(mtu) = said.mtu.filter(|mtu| *mtu >= MTU_MIN) {
            self.mtu = u16::try_from(mtu).ok();
        }
        // Who is no default router does not end the search for one (RFC 7559 2.1).
        if !self.routers.is_empty() {
            self.become_(State::Settled, u64::MAX);
        }
        let mut actions = Vec::new();
        for prefix in &said.prefixes {
            actions.extend(self.hear_prefix(now_ms, prefix).map(Action::Check));
        }
        actions
    }

    fn hear_router(&mut self, now_ms: u64, addr: Ipv6Addr, said: &Advertisement) {
        let router = Router {
            addr,
            preference: said.preference,
            until_ms: now_ms + 1000 * u64::from(said.lifetime_s),
        };
        match self.routers.iter().position(|r| r.addr == addr) {
            Some(n) if said.lifetime_s == 0 => {
                self.routers.remove(n);
            }
            Some(n) => self.routers[n] = router,
            None if said.lifetime_s > 0 && self.routers.len() < ROUTERS_MAX => {
                self.routers.push(router);
            }
            None => {}
        }
    }

    fn hear_nameservers(&mut self, now_ms: u64, said: &Advertisement) {
        for &(addr, seconds) in &said.nameservers {
            self.nameservers.retain(|(known, _)| *known != addr);
            if seconds > 0 && self.nameservers.len() < NAMESERVERS_MAX {
                self.nameservers.push((addr, end(now_ms, seconds)));
            }
        }
    }

    /// The address to be checked, if the prefix is new (RFC 4862 5.5.3).
    fn hear_prefix(&mut self, now_ms: u64, prefix: &PrefixInfo) -> Option<Ipv6Addr> {
        let is_good = prefix.autonomous
            && prefix.preferred_s <= prefix.valid_s
            && prefix.len == 128 - IDENTIFIER_BITS
            && !prefix.prefix.is_unicast_link_local()
            && !prefix.prefix.is_multicast()
            && !prefix.prefix.is_unspecified();
        if !is_good {
            return None;
        }
        let addr = self.address_in(prefix.prefix);
        let valid_ms = end(now_ms, prefix.valid_s);
        if let Some(known) = self.addresses.iter_mut().find(|a| a.addr == addr) {
            known.on_link = prefix.on_link;
            let remaining = known.valid_ms.saturating_sub(now_ms);
            let told = valid_ms.saturating_sub(now_ms);
            known.valid_ms = if told > TWO_HOURS_MS || told > remaining {
                valid_ms
            } else if remaining <= TWO_HOURS_MS {
                known.valid_ms
            } else {
                now_ms + TWO_HOURS_MS
            };
            return None;
        }
        if prefix.valid_s == 0 || self.addresses.len() >= ADDRESSES_MAX {
            return None;
        }
        self.addresses.push(Address {
            addr,
            on_link: prefix.on_link,
            valid_ms,
            standing: Standing::Checking,
        });
        Some(addr)
    }

    fn address_in(&self, prefix: Ipv6Addr) -> Ipv6Addr {
        let identifier = self.mac.link_local().to_bits() & u128::from(u64::MAX);
        let network = match Prefix::containing(prefix.into(), 128 - IDENTIFIER_BITS).addr() {
            IpAddr::V6(network) => network.to_bits(),
            IpAddr::V4(_) => 0,
        };
        Ipv6Addr::from_bits(network | identifier)
    }
}

fn end(now_ms: u64, seconds: u32) -> u64 {
    match seconds {
        INFINITE => u64::MAX,
        _ => now_ms + 1000 * u64::from(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: ether::Addr = ether::Addr([0x52, 0x54, 0, 0, 0, 1]);
    const ROUTER: &str = "fe80::1";

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn prefix(text: &str, valid_s: u32) -> PrefixInfo {
        PrefixInfo {
            prefix: ip(text),
            len: 64,
            on_link: true,
            autonomous: true,
            valid_s,
            preferred_s: valid_s / 2,
        }
    }

    fn said(lifetime_s: u16, prefixes: Vec<PrefixInfo>) -> Advertisement {
        Advertisement {
            lifetime_s,
            prefixes,
            ..Advertisement::default()
        }
    }

    fn hear(client: &mut Client, now_ms: u64, from: &str, said: &Advertisement) -> Vec<Action> {
        client.on(now_ms, 0, &Event::Heard(ip(from), said))
    }

    /// A client that was up at 0.
    fn client() -> Client {
        let mut client = Client::new(MAC, MAC.link_local());
        assert!(matches!(client.on(0, 0, &Event::Up)[..], [Action::Send(_)]));
        client
    }

    #[test]
    fn asks_ever_more_rarely_until_a_router_speaks() {
        let mut client = client();
        let mut times = vec![];
        for _ in 0..12 {
            let now = client.due_ms();
            times.push(now);
            assert!(matches!(
                client.on(now, 0, &Event::Timer)[..],
                [Action::Send(_)]
            ));
        }
        assert_eq!(times[..3], [3_600, 3_600 + 7_200, 3_600 + 7_200 + 14_400]);
        assert_eq!(times[11] - times[10], 3_240_000, "an hour less a tenth");
        let now = client.due_ms() - 1;
        hear(&mut client, now, ROUTER, &said(0, vec![]));
        assert!(
            matches!(client.state(), State::Soliciting(_)),
            "no default router"
        );
        hear(&mut client, now, ROUTER, &said(1800, vec![]));
        assert_eq!(
            (client.state(), client.due_ms()),
            (State::Settled, now + 1_800_000)
        );
    }

    #[test]
    fn an_address_is_checked_used_and_ends() {
        let mut client = client();
        let addr = ip("2001:db8:7::5054:ff:fe00:1");
        let advert = said(1800, vec![prefix("2001:db8:7::", 600)]);
        assert_eq!(
            hear(&mut client, 100, ROUTER, &advert),
            [Action::Check(addr)]
        );
        assert!(
            client.learned().addrs.is_empty(),
            "not before it was checked"
        );
        assert!(client.on(1100, 0, &Event::Unique(addr)).is_empty());
        let learned = client.learned();
        assert_eq!(
            (learned.addrs.len(), learned.addrs[0].addr),
            (1, addr.into())
        );
        assert_eq!(
            (learned.addrs[0].prefix_len, learned.gateway),
            (64, Some(ip(ROUTER)))
        );
        assert!(
            hear(&mut client, 300_000, ROUTER, &advert).is_empty(),
            "prolonged"
        );
        assert_eq!(client.due_ms(), 900_000);
        client.on(900_000, 0, &Event::Timer);
        assert!(client.learned().addrs.is_empty());
        assert_eq!(client.learned().gateway, Some(ip(ROUTER)));
        let asked = client.on(2_100_000, 0, &Event::Timer);
        assert!(
            matches!(asked[..], [Action::Send(_)]),
            "the router has gone: ask for others"
        );
        assert_eq!(client.learned(), Learned::default());
    }

    #[test]
    fn an_address_that_somebody_has_is_not_used() {
        let mut client = client();
        let advert = said(1800, vec![prefix("2001:db8:7::", 600)]);
        let checks = hear(&mut client, 0, ROUTER, &advert);
        let [Action::Check(addr)] = checks[..] else {
            panic!("{checks:?}")
        };
        client.on(10, 0, &Event::Conflict(addr));
        assert!(
            hear(&mut client, 20, ROUTER, &advert).is_empty(),
            "not asked again"
        );
        assert!(client.learned().addrs.is_empty());
    }

    #[test]
    fn lifetimes_cannot_be_cut_short_by_a_stranger() {
        let mut client = client();
        let long = said(1800, vec![prefix("2001:db8:7::", 86_400)]);
        hear(&mut client, 0, ROUTER, &long);
        client.on(1, 0, &Event::Unique(ip("2001:db8:7::5054:ff:fe00:1")));
        // 86400 → 1: two hours remain. Again: nothing changes. Longer than what remains: believed.
        let valid = |client: &Client| client.addresses[0].valid_ms;
        hear(
            &mut client,
            0,
            ROUTER,
            &said(1800, vec![prefix("2001:db8:7::", 1)]),
        );
        assert_eq!(valid(&client), TWO_HOURS_MS);
        hear(
            &mut client,
            1000,
            ROUTER,
            &said(1800, vec![prefix("2001:db8:7::", 1)]),
        );
        assert_eq!(valid(&client), TWO_HOURS_MS);
        hear(
            &mut client,
            1000,
            ROUTER,
            &said(1800, vec![prefix("2001:db8:7::", 7201)]),
        );
        assert_eq!(valid(&client), 1000 + 7_201_000);
    }

    #[test]
    fn the_router_that_wants_most_is_the_default() {
        let mut client = client();
        let with = |preference| Advertisement {
            preference,
            ..said(100, vec![])
        };
        hear(&mut client, 0, "fe80::1", &with(Preference::Medium));
        hear(&mut client, 0, "fe80::2", &with(Preference::Medium));
        assert_eq!(client.learned().gateway, Some(ip("fe80::1")));
        hear(&mut client, 0, "fe80::3", &with(Preference::High));
        hear(&mut client, 0, "fe80::4", &with(Preference::Low));
        assert_eq!(client.learned().gateway, Some(ip("fe80::3")));
        hear(&mut client, 0, "fe80::3", &said(0, vec![]));
        hear(&mut client, 0, "fe80::1", &said(0, vec![]));
        assert_eq!(client.learned().gateway, Some(ip("fe80::2")));
    }

    #[test]
    fn a_flood_of_routers_and_prefixes_is_bounded() {
        let mut client = client();
        for n in 0..1000u16 {
            let network = Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 0).to_string();
            let mut advert = said(1800, vec![prefix(&network, 600)]);
            advert.nameservers = vec![(Ipv6Addr::new(0xfd00, n, 0, 0, 0, 0, 0, 1), 600)];
            let from = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n).to_string();
            hear(&mut client, u64::from(n), &from, &advert);
        }
        let sizes = (
            client.addresses.len(),
            client.routers.len(),
            client.nameservers.len(),
        );
        assert_eq!(sizes, (ADDRESSES_MAX, ROUTERS_MAX, NAMESERVERS_MAX));
    }

    #[test]
    fn prefixes_that_cannot_be_are_left_alone() {
        let mut client = client();
        let with = |change: fn(&mut PrefixInfo)| {
            let mut p = prefix("2001:db8:7::", 600);
            change(&mut p);
            said(1800, vec![p])
        };
        for advert in [
            with(|p| p.autonomous = false),
            with(|p| p.len = 48),
            with(|p| p.preferred_s = 601),
            with(|p| p.valid_s = 0),
            with(|p| p.prefix = ip("fe80::")),
            with(|p| p.prefix = ip("ff02::")),
        ] {
            assert!(
                hear(&mut client, 0, ROUTER, &advert).is_empty(),
                "{advert:?}"
            );
        }
        let off_link = with(|p| p.on_link = false);
        let checks = hear(&mut client, 0, ROUTER, &off_link);
        let [Action::Check(addr)] = checks[..] else {
            panic!("{checks:?}")
        };
        client.on(0, 0, &Event::Unique(addr));
        assert_eq!(
            client.learned().addrs[0].prefix_len,
            128,
            "its neighbors are behind a router"
        );
    }
}
