//! Two systems and the links between them, with a clock of their own.

use super::*;
use std::collections::VecDeque;
use std::vec::Vec;

/// Time between two looks.
const TICK_MS: u64 = 50;
/// How long a PDU is on the wire.
const WIRE_MS: u64 = 10;

fn settings(system: u8, mode: Mode, rate: Rate) -> Settings {
    Settings {
        system_priority: PRIORITY_DEFAULT,
        system: Addr([2, 0, 0, 0, 0, system]),
        key: u16::from(system),
        mode,
        rate,
        min_links: 0,
    }
}

/// A system and its port.
type End = (usize, usize);

/// Systems, cables between their ports, and what is on the way.
struct Net {
    now_ms: u64,
    systems: Vec<Lacp>,
    cables: Vec<(End, End, bool)>,
    wire: VecDeque<(u64, End, Lacpdu)>,
    sent: usize,
    /// One PDU of this many is lost; 0 loses none.
    loss: u64,
    random: u64,
}

impl Net {
    fn new(systems: Vec<Lacp>, cables: &[(End, End)]) -> Net {
        Net {
            now_ms: 1_000,
            systems,
            cables: cables.iter().map(|(a, b)| (*a, *b, false)).collect(),
            wire: VecDeque::new(),
            sent: 0,
            loss: 0,
            random: 1,
        }
    }

    /// Two systems with `n` cables.
    fn pair(a: Settings, b: Settings, n: usize) -> Net {
        let cables: Vec<(End, End)> = (0..n).map(|p| ((0, p), (1, p))).collect();
        let mut net = Net::new(vec![Lacp::new(a, n), Lacp::new(b, n)], &cables);
        (0..n).for_each(|cable| net.plug(cable, true));
        net
    }

    fn plug(&mut self, cable: usize, up: bool) {
        let (a, b, is_up) = &mut self.cables[cable];
        *is_up = up;
        for (system, port) in [*a, *b] {
            self.systems[system].on_link(port, up, self.now_ms);
        }
        self.wire.retain(|(_, to, _)| *to != *a && *to != *b);
    }

    fn chance(&mut self, of: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        of > 0 && self.random.is_multiple_of(of)
    }

    fn other_end(&self, end: End) -> Option<End> {
        let up = self.cables.iter().filter(|(_, _, up)| *up);
        let mut ends = up.flat_map(|(a, b, _)| [(*a, *b), (*b, *a)]);
        ends.find(|(from, _)| *from == end).map(|(_, to)| to)
    }

    fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += TICK_MS;
            while self.wire.front().is_some_and(|(at, ..)| *at <= self.now_ms) {
                let (_, (system, port), pdu) = self.wire.pop_front().unwrap();
                self.systems[system].on_pdu(port, &pdu, self.now_ms);
            }
            for system in 0..self.systems.len() {
                let mut out = Vec::new();
                self.systems[system].tick(self.now_ms, |port, pdu| out.push((port, pdu)));
                for (port, pdu) in out {
                    self.sent += 1;
                    let lost = self.chance(self.loss);
                    if let Some(to) = self.other_end((system, port)).filter(|_| !lost) {
                        self.wire.push_back((self.now_ms + WIRE_MS, to, pdu));
                    }
                }
            }
        }
    }

    fn distributing(&self) -> Vec<u8> {
        self.systems
            .iter()
            .map(|s| s.ports().distributing)
            .collect()
    }
}

const ACTIVE: Mode = Mode::Active;
const PASSIVE: Mode = Mode::Passive;

#[test]
fn one_side_that_speaks_is_enough_and_two_that_do_not_stay_silent() {
    for (a, b, rate, expected) in [
        (ACTIVE, ACTIVE, Rate::Fast, 0b11),
        (ACTIVE, PASSIVE, Rate::Fast, 0b11),
        (PASSIVE, ACTIVE, Rate::Slow, 0b11),
        (PASSIVE, PASSIVE, Rate::Fast, 0),
    ] {
        let mut net = Net::pair(settings(1, a, rate), settings(2, b, rate), 2);
        net.run(6_000);
        assert_eq!(net.distributing(), [expected; 2], "{a:?} {b:?}");
        assert_eq!(net.systems[0].ports().collecting, expected);
    }
}

#[test]
fn a_port_without_a_partner_sends_nothing() {
    let mut alone = Lacp::new(settings(1, ACTIVE, Rate::Fast), 1);
    alone.on_link(0, true, 0);
    let mut sent = 0;
    for now_ms in (0..20_000).step_by(50) {
        alone.tick(now_ms, |_, _| sent += 1);
        assert_eq!(alone.ports(), Ports::default());
    }
    assert_eq!(alone.port(0).unwrap().2, Receive::Defaulted);
    // Three in the first three seconds, while the partner is given its chance; then one in 30 seconds.
    assert!((3..=5).contains(&sent), "{sent}");
}

#[test]
fn our_own_pdus_come_back_and_are_no_partner() {
    let mut looped = Lacp::new(settings(1, ACTIVE, Rate::Fast), 2);
    looped.on_link(0, true, 0);
    looped.on_link(1, true, 0);
    for now_ms in (0..10_000).step_by(50) {
        let mut out = Vec::new();
        looped.tick(now_ms, |port, pdu| out.push((port, pdu)));
        for (port, pdu) in out {
            looped.on_pdu(1 - port, &pdu, now_ms);
        }
        assert_eq!(looped.ports(), Ports::default());
    }
}

#[test]
fn a_silent_partner_is_given_up_after_the_timeout() {
    for (rate, within_ms) in [(Rate::Fast, 3_000 + 100), (Rate::Slow, 90_000 + 100)] {
        let mut net = Net::pair(settings(1, ACTIVE, rate), settings(2, ACTIVE, rate), 1);
        net.run(10_000);
        assert_eq!(net.distributing(), [1; 2]);
        // The link stays up and nothing comes through.
        net.loss = 1;
        net.run(within_ms);
        assert_eq!(net.distributing(), [0; 2], "{rate:?}");
    }
}

#[test]
fn a_partner_is_heard_at_the_rate_that_was_asked_for() {
    let mut net = Net::pair(
        settings(1, ACTIVE, Rate::Fast),
        settings(2, ACTIVE, Rate::Slow),
        1,
    );
    net.run(10_000);
    net.sent = 0;
    net.run(60_000);
    // The second speaks every second because the first wants it; the first every 30.
    assert!((60..=64).contains(&net.sent), "{}", net.sent);
}

#[test]
fn nobody_is_told_more_often_than_three_times_a_second() {
    let mut lacp = Lacp::new(settings(1, ACTIVE, Rate::Fast), 1);
    lacp.on_link(0, true, 0);
    let stranger = |port| Lacpdu {
        actor: Info {
            system: Addr([2, 0, 0, 0, 0, 9]),
            port,
            state: PortState::ACTIVITY | PortState::AGGREGATION,
            ..Info::default()
        },
        ..Lacpdu::default()
    };
    let mut sent = 0;
    for now_ms in 0..10_000 {
        lacp.on_pdu(0, &stranger(now_ms as u16), now_ms);
        lacp.tick(now_ms, |_, _| sent += 1);
    }
    assert_eq!(sent, 30);
}

#[test]
fn ports_to_two_partners_do_not_work_together_and_the_first_partner_is_kept() {
    let systems = vec![
        Lacp::new(settings(1, ACTIVE, Rate::Fast), 3),
        Lacp::new(settings(2, ACTIVE, Rate::Fast), 1),
        Lacp::new(settings(3, ACTIVE, Rate::Fast), 2),
    ];
    let cables = [((0, 0), (1, 0)), ((0, 1), (2, 0)), ((0, 2), (2, 1))];
    let mut net = Net::new(systems, &cables);
    net.plug(0, true);
    net.run(6_000);
    assert_eq!(net.distributing(), [0b001, 1, 0]);
    net.plug(1, true);
    net.plug(2, true);
    net.run(6_000);
    assert_eq!(net.distributing(), [0b001, 1, 0], "the partner is kept");
    net.plug(0, false);
    net.run(4_000);
    assert_eq!(net.distributing(), [0b110, 0, 0b11], "the other takes over");
    net.plug(0, true);
    net.run(10_000);
    assert_eq!(net.distributing(), [0b110, 0, 0b11], "and is kept again");
}

#[test]
fn with_too_few_links_none_sends() {
    let few = Settings {
        min_links: 2,
        ..settings(1, ACTIVE, Rate::Fast)
    };
    let mut net = Net::pair(few, settings(2, ACTIVE, Rate::Fast), 2);
    net.run(6_000);
    assert_eq!(net.distributing(), [0b11, 0b11]);
    net.plug(0, false);
    net.run(100);
    assert_eq!(net.distributing()[0], 0);
}

#[test]
fn a_pulled_link_is_out_at_once_and_the_other_stays() {
    let mut net = Net::pair(
        settings(1, ACTIVE, Rate::Slow),
        settings(2, ACTIVE, Rate::Slow),
        2,
    );
    net.run(6_000);
    for round in 0..100 {
        let pulled = round % 2;
        net.plug(pulled, false);
        let left = 0b11 & !(1 << pulled);
        for _ in 0..20 {
            net.run(TICK_MS);
            assert_eq!(net.distributing(), [left; 2], "round {round}");
        }
        net.plug(pulled, true);
        for _ in 0..80 {
            net.run(TICK_MS);
            let now = net.distributing();
            assert!(
                now.iter().all(|ports| ports & left == left),
                "round {round}"
            );
        }
        assert_eq!(net.distributing(), [0b11; 2], "round {round}");
    }
}

/// Whatever happened before: when cables stay as they are, both sides send by exactly those that are plugged.
#[test]
fn after_any_storm_all_links_that_are_up_work() {
    let seed = 0x1acb_0000_5eed_u64;
    for round in 0..60 {
        let mut net = Net::pair(
            settings(1, ACTIVE, Rate::Fast),
            settings(2, if round % 2 == 0 { ACTIVE } else { PASSIVE }, Rate::Fast),
            4,
        );
        net.random = seed + round;
        let mut up = [true; 4];
        for _ in 0..200 {
            let cable = (net.random % 4) as usize;
            up[cable] = net.chance(2);
            net.plug(cable, up[cable]);
            net.loss = 2 + net.random % 5;
            let ms = TICK_MS * (1 + net.random % 40);
            net.run(ms);
        }
        net.loss = 0;
        net.run(12_000);
        let expected = (0..4).fold(0, |set, n| set | u8::from(up[n]) << n);
        assert_eq!(
            net.distributing(),
            [expected; 2],
            "seed {seed:#x} round {round}"
        );
    }
}
