//! The cache under test: conversations with named limits, and two hosts on a lossy link.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::{arp, ether, icmp6};

use super::*;
use crate::interface::tests::interface;
use crate::interface::{Interface, InterfaceId, InterfaceTable};

const EM0: InterfaceId = InterfaceId(0);
const PEER: ether::Addr = ether::Addr([2, 0, 0, 0, 0, 9]);
const OTHER: ether::Addr = ether::Addr([2, 0, 0, 0, 0, 8]);

type Cache = NeighborCache<u32>;

fn em0() -> Interface {
    interface(0, "em0", &["10.0.0.1/8", "fd00::1/64", "fe80::1/64"])
}

fn cache() -> Cache {
    NeighborCache::new(Limits::default(), 7, 0)
}

fn small(neighbors: u16, incomplete: u16, unsolicited: u16) -> Cache {
    let limits = Limits {
        neighbors,
        incomplete,
        unsolicited,
        ..Limits::default()
    };
    NeighborCache::new(limits, 7, 0)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn reply(sender: &str, link: ether::Addr) -> arp::Repr {
    arp::Repr {
        operation: arp::Operation::REPLY,
        sender_ether: link,
        sender_ip: sender.parse().unwrap(),
        target_ether: em0().mac,
        target_ip: Ipv4Addr::new(10, 0, 0, 1),
    }
}

fn request(sender: &str, link: ether::Addr, target: &str) -> arp::Repr {
    arp::Repr {
        operation: arp::Operation::REQUEST,
        target_ether: ether::Addr::ZERO,
        target_ip: target.parse().unwrap(),
        ..reply(sender, link)
    }
}

/// Everything to be done now, as text.
fn actions(cache: &mut Cache, now_ms: u64) -> Vec<String> {
    let text = |action| match action {
        Action::Request { ip, .. } => format!("who has {ip}"),
        Action::Probe { ip, link, .. } => format!("{link} still {ip}"),
        Action::Release {
            ip, link, packets, ..
        } => format!("{ip} at {link} gets {packets:?}"),
        Action::Failed { ip, packets, .. } => format!("{ip} failed {packets:?}"),
        Action::Share(update) => format!(
            "share {} at {}{}",
            update.ip,
            update.link,
            if update.confirmed { " confirmed" } else { "" }
        ),
    };
    // Long enough for a whole round over the default number of entries.
    let mut idle = 0;
    let mut all = Vec::new();
    while idle < 270 {
        match cache.poll(now_ms) {
            Some(action) => all.push(text(action)),
            None => idle += 1,
        }
    }
    all
}

fn state(cache: &Cache, ip: IpAddr) -> Option<State> {
    cache.iter().find(|n| n.ip == ip).map(|n| n.state)
}

/// A cache that knows `10.0.0.9` at [`PEER`], confirmed at time 0.
fn knowing() -> Cache {
    let mut cache = cache();
    assert_eq!(cache.resolve(0, EM0, ip("10.0.0.9")), Resolution::Pending);
    actions(&mut cache, 0);
    assert_eq!(
        cache.on_arp(0, &em0(), &reply("10.0.0.9", PEER)),
        Heard::Learned
    );
    assert_eq!(
        actions(&mut cache, 0),
        [format!("share 10.0.0.9 at {PEER} confirmed")]
    );
    cache
}

#[test]
fn asks_once_a_second_and_gives_up_after_three() {
    let mut cache = cache();
    let peer = ip("10.0.0.9");
    assert_eq!(cache.resolve(0, EM0, peer), Resolution::Pending);
    assert_eq!(cache.hold(EM0, peer, 1), None);
    for now_ms in [0, 1000, 2000] {
        assert_eq!(
            actions(&mut cache, now_ms),
            ["who has 10.0.0.9"],
            "{now_ms}"
        );
        assert_eq!(cache.resolve(now_ms + 10, EM0, peer), Resolution::Pending);
        assert_eq!(cache.hold(EM0, peer, now_ms as u32), None);
        assert!(actions(&mut cache, now_ms + 900).is_empty()); // a round is 100 ms
    }
    assert_eq!(
        actions(&mut cache, 3000),
        ["10.0.0.9 failed [1, 0, 1000, 2000]"]
    );
    assert_eq!(state(&cache, peer), None);
    assert_eq!(cache.held(), 0);
}

/// Numbers of the packets in the lines of `actions` that say `what`, in their order.
fn packets_of(lines: &[String], what: &str) -> Vec<u32> {
    let lists = lines
        .iter()
        .filter_map(|line| line.split_once(&format!(" {what} [")));
    lists
        .flat_map(|(_, list)| list.trim_end_matches(']').split(", "))
        .map(|number| number.parse().unwrap())
        .collect()
}

#[test]
fn what_was_held_is_released_in_order() {
    let mut cache = cache();
    let peer = ip("10.0.0.9");
    let most = HELD_PER_NEIGHBOR_MAX as u32;
    cache.resolve(0, EM0, peer);
    for n in 0..most {
        assert_eq!(cache.hold(EM0, peer, n), None);
    }
    assert_eq!(cache.hold(EM0, peer, most), Some(0)); // the oldest goes
    assert_eq!(cache.hold(EM0, peer, most + 1), Some(1));
    actions(&mut cache, 0);
    assert_eq!(
        cache.on_arp(5, &em0(), &reply("10.0.0.9", PEER)),
        Heard::Learned
    );
    let done = actions(&mut cache, 5);
    assert_eq!(done[0], format!("share 10.0.0.9 at {PEER} confirmed"));
    let released = packets_of(&done, "gets");
    assert_eq!(released, (2..most + 2).collect::<Vec<_>>());
    assert_eq!(cache.held(), 0);
    assert_eq!(cache.resolve(6, EM0, peer), Resolution::Known(PEER));
    assert_eq!(cache.hold(EM0, ip("10.9.9.9"), 3), Some(3)); // nothing is pending
}

#[test]
fn the_oldest_of_all_goes_when_all_places_are_taken() {
    let mut cache = cache();
    let most = usize::from(Limits::default().held);
    let peer = |n: usize| IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + n as u32));
    for n in 0..most {
        cache.resolve(0, EM0, peer(n / 4));
        assert_eq!(cache.hold(EM0, peer(n / 4), n as u32), None);
    }
    assert_eq!(cache.held(), most);
    cache.resolve(0, EM0, ip("10.9.9.9"));
    assert_eq!(cache.hold(EM0, ip("10.9.9.9"), 999), Some(0));
    assert_eq!(cache.hold(EM0, ip("10.9.9.9"), 998), Some(1));
    assert_eq!(cache.held(), most);
    let done: Vec<String> = [0, 1000, 2000, 3000]
        .into_iter()
        .flat_map(|now_ms| actions(&mut cache, now_ms))
        .collect();
    assert_eq!((packets_of(&done, "failed").len(), cache.held()), (most, 0));
}

#[test]
fn all_that_waited_for_a_silent_neighbor_fails_and_so_does_what_gives_way() {
    let most = HELD_PER_NEIGHBOR_MAX as u32;
    let filled = || {
        let mut cache = small(8, 1, 1);
        cache.resolve(0, EM0, ip("10.0.0.9"));
        for n in 0..most {
            assert_eq!(cache.hold(EM0, ip("10.0.0.9"), n), None);
        }
        cache
    };
    let mut silent = filled();
    for now_ms in [0, 1000, 2000] {
        assert_eq!(actions(&mut silent, now_ms), ["who has 10.0.0.9"]);
    }
    let mut given_way = filled();
    assert_eq!(
        given_way.resolve(3000, EM0, ip("10.0.0.8")),
        Resolution::Pending
    );
    for (mut cache, peers) in [(silent, 0), (given_way, 1)] {
        let done = actions(&mut cache, 3000);
        let failed = packets_of(&done, "failed");
        assert_eq!(failed, (0..most).collect::<Vec<_>>());
        assert_eq!((cache.held(), cache.iter().count()), (0, peers));
    }
}

/// Hosts of a /20, all wanted at once by a box that knows none of them.
#[test]
fn every_host_of_a_large_network_is_asked_for_at_once() {
    const HOSTS: u32 = 4094;
    let mut cache = cache();
    let peer = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + n));
    for n in 0..HOSTS {
        assert_eq!(cache.resolve(0, EM0, peer(n)), Resolution::Pending, "{n}");
    }
    let asked = actions(&mut cache, 0);
    assert_eq!(asked.len(), HOSTS as usize);
    for n in 0..HOSTS {
        let told = reply(&peer(n).to_string(), PEER);
        assert_eq!(cache.on_arp(1, &em0(), &told), Heard::Learned);
    }
    for n in 0..HOSTS {
        let found = cache.resolve(1, EM0, peer(n));
        assert_eq!(found, Resolution::Known(PEER), "{n}");
    }
}

#[test]
fn a_neighbor_in_use_is_probed_when_it_gets_stale() {
    let mut cache = knowing();
    let peer = ip("10.0.0.9");
    assert!(actions(&mut cache, 29_900).is_empty());
    let generation = cache.generation();
    assert!(actions(&mut cache, 30_000).is_empty());
    assert_eq!(state(&cache, peer), Some(State::Stale));
    assert_ne!(cache.generation(), generation); // so users ask again
    assert_eq!(cache.resolve(40_000, EM0, peer), Resolution::Known(PEER));
    assert_eq!(state(&cache, peer), Some(State::Delay));
    let probe = [format!("{PEER} still 10.0.0.9")];
    assert_eq!(actions(&mut cache, 45_000), probe);
    assert_eq!(actions(&mut cache, 46_000), probe);
    assert_eq!(
        cache.on_arp(46_100, &em0(), &reply("10.0.0.9", PEER)),
        Heard::Learned
    );
    assert_eq!(state(&cache, peer), Some(State::Reachable));
}

#[test]
fn a_dead_neighbor_is_forgotten_after_three_probes() {
    let mut cache = knowing();
    let peer = ip("10.0.0.9");
    actions(&mut cache, 30_000);
    cache.resolve(30_000, EM0, peer);
    for now_ms in [35_000, 36_000, 37_000] {
        assert_eq!(
            actions(&mut cache, now_ms),
            [format!("{PEER} still 10.0.0.9")]
        );
        assert_eq!(cache.resolve(now_ms, EM0, peer), Resolution::Known(PEER));
    }
    assert!(actions(&mut cache, 38_000).is_empty());
    assert_eq!(cache.resolve(38_000, EM0, peer), Resolution::Pending);
}

#[test]
fn an_unused_neighbor_is_forgotten_in_the_end() {
    let mut cache = knowing();
    actions(&mut cache, 30_000);
    actions(&mut cache, 30_000 + STALE_MS - 1);
    assert_eq!(state(&cache, ip("10.0.0.9")), Some(State::Stale));
    assert!(actions(&mut cache, 30_000 + STALE_MS + 99).is_empty());
    assert_eq!(state(&cache, ip("10.0.0.9")), None);
}

#[test]
fn an_upper_layer_may_confirm() {
    let mut cache = knowing();
    actions(&mut cache, 30_000);
    cache.resolve(30_000, EM0, ip("10.0.0.9"));
    cache.confirm(31_000, EM0, ip("10.0.0.9"));
    assert_eq!(state(&cache, ip("10.0.0.9")), Some(State::Reachable));
    cache.confirm(31_000, EM0, ip("10.0.0.10"));
    cache.resolve(31_000, EM0, ip("10.0.0.10"));
    cache.confirm(31_000, EM0, ip("10.0.0.10"));
    assert_eq!(state(&cache, ip("10.0.0.10")), Some(State::Incomplete));
}

#[test]
fn a_reply_nobody_asked_for_makes_no_entry() {
    let mut cache = cache();
    assert_eq!(
        cache.on_arp(0, &em0(), &reply("10.0.0.9", PEER)),
        Heard::Ignored
    );
    assert_eq!(cache.iter().count(), 0);
    // But another worker may have asked.
    assert_eq!(
        actions(&mut cache, 0),
        [format!("share 10.0.0.9 at {PEER} confirmed")]
    );
    let announcement = request("10.0.0.9", PEER, "10.0.0.9");
    assert_eq!(cache.on_arp(0, &em0(), &announcement), Heard::Ignored);
    assert!(actions(&mut cache, 0).is_empty());
}

#[test]
fn an_answer_that_another_worker_waits_for_is_passed_on_by_one_that_knows_it() {
    let mut knowing = knowing();
    let mut waiting = cache();
    let peer = ip("10.0.0.9");
    assert_eq!(waiting.resolve(0, EM0, peer), Resolution::Pending);
    assert_eq!(waiting.hold(EM0, peer, 1), None);
    assert_eq!(actions(&mut waiting, 0), ["who has 10.0.0.9"]);
    // Cards without a hash for ARP hand all answers to one worker.
    assert_eq!(
        knowing.on_arp(1, &em0(), &reply("10.0.0.9", PEER)),
        Heard::Ignored
    );
    assert_eq!(
        actions(&mut knowing, 1),
        [format!("share 10.0.0.9 at {PEER} confirmed")]
    );
    let update = Update {
        interface: EM0,
        ip: peer,
        link: PEER,
        confirmed: true,
    };
    waiting.learn(1, &update);
    assert_eq!(
        actions(&mut waiting, 1),
        [format!("10.0.0.9 at {PEER} gets [1]")]
    );
}

#[test]
fn an_announcement_changes_what_is_known_and_must_prove_itself() {
    let mut cache = knowing();
    let peer = ip("10.0.0.9");
    let generation = cache.generation();
    let announcement = request("10.0.0.9", OTHER, "10.0.0.9");
    assert_eq!(cache.on_arp(10, &em0(), &announcement), Heard::Learned);
    assert_ne!(cache.generation(), generation);
    assert_eq!(state(&cache, peer), Some(State::Stale));
    assert_eq!(cache.resolve(11, EM0, peer), Resolution::Known(OTHER));
    assert_eq!(state(&cache, peer), Some(State::Delay));
    assert_eq!(
        actions(&mut cache, 11),
        [format!("share 10.0.0.9 at {OTHER}")]
    );
    // The same again is nothing new.
    assert_eq!(cache.on_arp(12, &em0(), &announcement), Heard::Ignored);
}

#[test]
fn who_asks_for_us_is_remembered_within_limits() {
    let mut cache = small(8, 8, 2);
    let ask =
        |cache: &mut Cache, sender| cache.on_arp(0, &em0(), &request(sender, PEER, "10.0.0.1"));
    assert_eq!(ask(&mut cache, "192.0.2.1"), Heard::Ignored); // not on the link
    assert_eq!(ask(&mut cache, "10.0.0.2"), Heard::Learned);
    assert_eq!(ask(&mut cache, "10.0.0.3"), Heard::Learned);
    assert_eq!(ask(&mut cache, "10.0.0.4"), Heard::Ignored); // one over the limit
    assert_eq!(state(&cache, ip("10.0.0.2")), Some(State::Stale));
    // Once we use it, it counts no more.
    assert_eq!(
        cache.resolve(0, EM0, ip("10.0.0.2")),
        Resolution::Known(PEER)
    );
    assert_eq!(ask(&mut cache, "10.0.0.4"), Heard::Learned);
    // Others' questions to others teach nothing.
    let other = request("10.0.0.7", PEER, "10.0.0.8");
    assert_eq!(cache.on_arp(0, &em0(), &other), Heard::Ignored);
}

#[test]
fn broken_senders_are_ignored_and_conflicts_reported() {
    let mut cache = cache();
    let own = em0().mac;
    for (sender, link, heard) in [
        ("0.0.0.0", PEER, Heard::Ignored),
        ("127.0.0.1", PEER, Heard::Ignored),
        ("224.0.0.9", PEER, Heard::Ignored),
        ("10.0.0.9", ether::Addr::BROADCAST, Heard::Ignored),
        ("10.0.0.9", ether::Addr::ZERO, Heard::Ignored),
        ("10.0.0.1", own, Heard::Ignored),
        (
            "10.0.0.1",
            PEER,
            Heard::Conflict {
                ip: ip("10.0.0.1"),
                link: PEER,
            },
        ),
    ] {
        let message = request(sender, link, "10.0.0.1");
        assert_eq!(cache.on_arp(0, &em0(), &message), heard, "{sender} {link}");
    }
    assert_eq!(cache.iter().count(), 0);
}

#[test]
fn a_scan_gives_up_the_oldest_question_and_says_so() {
    let mut cache = small(8, 2, 2);
    for (now_ms, peer) in [(0, "10.0.0.2"), (1, "10.0.0.3")] {
        assert_eq!(cache.resolve(now_ms, EM0, ip(peer)), Resolution::Pending);
    }
    assert_eq!(cache.hold(EM0, ip("10.0.0.2"), 5), None);
    assert_eq!(cache.resolve(2, EM0, ip("10.0.0.4")), Resolution::Pending);
    let expected = [
        "10.0.0.2 failed [5]",
        "who has 10.0.0.3",
        "who has 10.0.0.4",
    ];
    let mut found = actions(&mut cache, 2);
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(cache.iter().count(), 2);
}

#[test]
fn a_full_cache_gives_up_stale_entries_only() {
    let mut cache = small(2, 2, 2);
    for peer in ["10.0.0.2", "10.0.0.3"] {
        cache.resolve(0, EM0, ip(peer));
        cache.on_arp(0, &em0(), &reply(peer, PEER));
    }
    actions(&mut cache, 0);
    assert_eq!(cache.resolve(0, EM0, ip("10.0.0.4")), Resolution::Full);
    let moved = request("10.0.0.2", OTHER, "10.0.0.2");
    cache.on_arp(0, &em0(), &moved); // stale now
    assert_eq!(cache.resolve(0, EM0, ip("10.0.0.4")), Resolution::Pending);
    assert_eq!(state(&cache, ip("10.0.0.2")), None);
    assert_eq!(state(&cache, ip("10.0.0.3")), Some(State::Reachable));
}

#[test]
fn questions_per_second_are_limited() {
    let mut cache = cache();
    for n in 0..5600u32 {
        cache.resolve(0, EM0, Ipv4Addr::from_bits(0x0a01_0000 + n).into());
    }
    assert_eq!(actions(&mut cache, 0).len(), 4096);
    assert_eq!(actions(&mut cache, 500).len(), 500);
    // The others, of which some have to wait: those that were asked for first are due again.
    assert_eq!(actions(&mut cache, 1000).len(), 500);
}

#[test]
fn learning_by_mail_changes_entries_and_makes_none() {
    let mut cache = cache();
    let peer = ip("10.0.0.9");
    let update = Update {
        interface: EM0,
        ip: peer,
        link: PEER,
        confirmed: true,
    };
    cache.learn(0, &update);
    assert_eq!(cache.iter().count(), 0);
    cache.resolve(0, EM0, peer);
    cache.hold(EM0, peer, 4);
    cache.learn(0, &update);
    assert_eq!(cache.resolve(0, EM0, peer), Resolution::Known(PEER));
    // Released, and not shared again.
    assert_eq!(
        actions(&mut cache, 0),
        [format!("10.0.0.9 at {PEER} gets [4]")]
    );
}

#[test]
fn forgetting() {
    let mut cache = knowing();
    cache.resolve(0, InterfaceId(1), ip("10.0.0.9"));
    cache.hold(InterfaceId(1), ip("10.0.0.9"), 6);
    actions(&mut cache, 0);
    cache.forget(10, InterfaceId(1));
    assert_eq!(actions(&mut cache, 10), ["10.0.0.9 failed [6]"]);
    assert!(cache.forget_one(20, EM0, ip("10.0.0.9")));
    assert!(!cache.forget_one(20, EM0, ip("10.0.0.8")));
    actions(&mut cache, 20);
    assert_eq!(cache.iter().count(), 0);
}

#[test]
fn advertisements_follow_rfc_4861() {
    let target: Ipv6Addr = "fd00::9".parse().unwrap();
    let peer = IpAddr::from(target);
    let advert = |link: Option<ether::Addr>, solicited, override_| icmp6::NeighborAdvert {
        target,
        target_link: link,
        router: false,
        solicited,
        override_,
    };
    // Before anything is known (state incomplete).
    for (message, expected) in [
        (advert(Some(PEER), true, false), State::Reachable),
        (advert(Some(PEER), false, false), State::Stale),
        (advert(None, true, true), State::Incomplete),
    ] {
        let mut cache = cache();
        cache.resolve(0, EM0, peer);
        cache.on_neighbor_advert(0, &em0(), &message);
        assert_eq!(state(&cache, peer), Some(expected), "{message:?}");
    }
    // Known at PEER and reachable: (message, state, address).
    for (message, expected, link) in [
        (advert(Some(OTHER), true, false), State::Stale, PEER),
        (advert(Some(OTHER), true, true), State::Reachable, OTHER),
        (advert(Some(OTHER), false, true), State::Stale, OTHER),
        (advert(Some(PEER), false, true), State::Reachable, PEER),
        (advert(None, true, false), State::Reachable, PEER),
        (advert(None, false, true), State::Reachable, PEER),
    ] {
        let mut cache = cache();
        cache.resolve(0, EM0, peer);
        cache.on_neighbor_advert(0, &em0(), &advert(Some(PEER), true, true));
        cache.on_neighbor_advert(0, &em0(), &message);
        let entry = cache.iter().next().unwrap();
        assert_eq!(
            (entry.state, entry.link),
            (expected, Some(link)),
            "{message:?}"
        );
    }
    // Without an entry nothing is made; our own address is a conflict.
    let mut cache = cache();
    cache.on_neighbor_advert(0, &em0(), &advert(Some(PEER), true, true));
    assert_eq!(cache.iter().count(), 0);
    let ours = icmp6::NeighborAdvert {
        target: "fd00::1".parse().unwrap(),
        ..advert(Some(PEER), false, true)
    };
    let conflict = Heard::Conflict {
        ip: ip("fd00::1"),
        link: PEER,
    };
    assert_eq!(cache.on_neighbor_advert(0, &em0(), &ours), conflict);
}

/// xorshift64*: the sequence of a seed is the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// One end of the link.
struct Host {
    interfaces: InterfaceTable,
    cache: NeighborCache<u32>,
    sent: Vec<u32>,
    failed: Vec<u32>,
}

impl Host {
    fn new(last: u8) -> Host {
        let mut interface = interface(0, "em0", &[]);
        interface.mac = ether::Addr([2, 0, 0, 0, 0, last]);
        for (addr, prefix_len) in [
            (format!("10.0.0.{last}"), 24),
            (format!("fd00::{last}"), 64),
        ] {
            let addr = addr.parse().unwrap();
            interface
                .addrs
                .push(crate::interface::IfAddr { addr, prefix_len });
        }
        Host {
            interfaces: InterfaceTable::build(vec![interface]).unwrap(),
            cache: NeighborCache::new(Limits::default(), last.into(), 0),
            sent: Vec::new(),
            failed: Vec::new(),
        }
    }

    fn em0(&self) -> &Interface {
        self.interfaces.get(EM0).unwrap()
    }

    /// Wants to send packet `id` to `ip`.
    fn send(&mut self, now_ms: u64, ip: IpAddr, id: u32) {
        match self.cache.resolve(now_ms, EM0, ip) {
            Resolution::Known(_) => self.sent.push(id),
            Resolution::Pending => self.failed.extend(self.cache.hold(EM0, ip, id)),
            Resolution::Full => self.failed.push(id),
        }
    }

    /// A frame arrives; returns the answer.
    fn receive(&mut self, now_ms: u64, bytes: &[u8]) -> Option<Vec<u8>> {
        let frame = ether::Frame::new_checked(bytes).unwrap();
        let interface = self.interfaces.get(EM0).unwrap();
        let mut buf = [0; FRAME_LEN_MAX];
        let len = match frame.ethertype() {
            ether::EtherType::ARP => {
                let packet = arp::Packet::new_checked(frame.payload()).unwrap();
                let message = arp::Repr::parse(&packet).unwrap();
                self.cache.on_arp(now_ms, interface, &message);
                build_arp(&mut buf, &answer_arp(&self.interfaces, EM0, &message)?)
            }
            _ => {
                let discovery = receive_discovery(frame.payload()).unwrap();
                match discovery.message {
                    DiscoveryMessage::Solicit(message) => {
                        let src = discovery.src;
                        self.cache
                            .on_neighbor_solicit(now_ms, interface, src, &message);
                        let from = frame.src();
                        let advert = answer_ns(&self.interfaces, EM0, src, from, &message)?;
                        build_na(&mut buf, interface.mac, &advert)
                    }
                    DiscoveryMessage::Advert(message) => {
                        self.cache.on_neighbor_advert(now_ms, interface, &message);
                        None
                    }
                    DiscoveryMessage::Other => panic!("nobody sends those"),
                }
            }
        };
        Some(buf[..len?].to_vec())
    }

    /// Frames to be sent now.
    fn poll(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(action) = self.cache.poll(now_ms) {
            let (ip, to) = match action {
                Action::Request { ip, .. } => (ip, None),
                Action::Probe { ip, link, .. } => (ip, Some(link)),
                Action::Release { packets, .. } => {
                    self.sent.extend(packets);
                    continue;
                }
                Action::Failed { packets, .. } => {
                    self.failed.extend(packets);
                    continue;
                }
                Action::Share(_) => continue,
            };
            let mut buf = [0; FRAME_LEN_MAX];
            let len = build_question(&mut buf, self.em0(), ip, to).unwrap();
            frames.push(buf[..len].to_vec());
        }
        frames
    }
}

/// Two hosts talk for a minute over a link that loses `loss_percent` of the frames. Every packet is
/// sent or failed exactly once. Returns how many failed.
fn talk(seed: u64, loss_percent: u64) -> usize {
    let mut random = Random(seed);
    let mut hosts = [Host::new(1), Host::new(2)];
    let mut id = 0;
    for now_ms in (0..80_000).step_by(10) {
        for n in 0..2 {
            let last = 2 - n;
            if now_ms < 60_000 && random.below(10) == 0 {
                let peer = match random.below(2) {
                    0 => ip(&format!("10.0.0.{last}")),
                    _ => ip(&format!("fd00::{last}")),
                };
                id += 1;
                hosts[n].send(now_ms, peer, id);
            }
            for frame in hosts[n].poll(now_ms) {
                if random.below(100) < loss_percent {
                    continue;
                }
                let answer = hosts[1 - n].receive(now_ms, &frame);
                if let Some(answer) = answer.filter(|_| random.below(100) >= loss_percent) {
                    hosts[n].receive(now_ms, &answer);
                }
            }
        }
    }
    let mut all: Vec<u32> = hosts
        .iter()
        .flat_map(|h| h.sent.iter().chain(&h.failed))
        .copied()
        .collect();
    all.sort_unstable();
    assert_eq!(all, (1..=id).collect::<Vec<_>>(), "seed {seed}");
    assert!(hosts.iter().all(|h| h.cache.held() == 0), "seed {seed}");
    hosts.iter().map(|h| h.failed.len()).sum()
}

#[test]
fn two_hosts_on_a_lossy_link() {
    for seed in 1..=20 {
        assert_eq!(talk(seed, 0), 0, "seed {seed}");
        talk(seed, 30);
        assert!(talk(seed, 100) > 0, "seed {seed}");
    }
}
