//! Laggs of the control core: what a link that comes and goes does to masks, frames and what a person sees.

use net::Kind;
use worker::FrameEnd;

use super::*;
use crate::api::MadeOf;
use crate::control::Event;

const UP: LinkState = LinkState::Up {
    speed_mbps: 1000,
    full_duplex: true,
};
const PF: (&str, &str) = ("pf.conf", "pass\n");
const CARDS: [(&str, &str); 2] = [("hostname.em0", "up\n"), ("hostname.em1", "up\n")];
const TRUNK: (&str, &str) = (
    "hostname.trunk0",
    "trunkproto failover trunkport em1 trunkport em0\n",
);
const VLAN: (&str, &str) = (
    "hostname.vlan22",
    "vnetid 22 parent trunk0\ninet 10.0.0.1/24\ninet6 2001:db8::1 64\n",
);

fn boxed() -> Rig {
    let mut b = Rig::new();
    b.push(&[CARDS[0], CARDS[1], TRUNK, VLAN, PF]).unwrap();
    b
}

fn masks(b: &Rig) -> (u32, u32) {
    let config = b.control.fleet.current();
    let trunk = config.interfaces.by_name("trunk0").unwrap();
    let Kind::Lagg(lagg) = &trunk.kind else {
        panic!("{trunk:?}")
    };
    (lagg.masks.0.send(), lagg.masks.0.receive())
}

fn link(b: &mut Rig, port: u16, state: LinkState) {
    b.control.on_event(Event::Link { port, state });
}

fn frames(b: &mut Rig) -> Vec<(FrameEnd, Vec<u8>)> {
    std::iter::from_fn(|| b.control.next_frame()).collect()
}

#[test]
fn a_switchover_changes_masks_and_announces_addresses_and_nothing_else() {
    let mut b = boxed();
    assert_eq!(masks(&b), (0, 0));
    link(&mut b, 0, UP);
    assert_eq!(masks(&b), (0b10, 0b10));
    link(&mut b, 1, UP);
    assert_eq!(masks(&b), (0b01, 0b01));
    frames(&mut b);
    let generation = b.control.generation();
    link(&mut b, 1, LinkState::Down);
    assert_eq!(masks(&b), (0b10, 0b10));
    assert_eq!(b.control.generation(), generation);
    let vlan = b
        .control
        .fleet
        .current()
        .interfaces
        .by_name("vlan22")
        .unwrap()
        .id;
    let sent = frames(&mut b);
    // The address of each family, and the link-local one that came with it.
    assert_eq!(sent.len(), 3);
    assert!(
        sent.iter()
            .all(|(end, _)| *end == FrameEnd::Interface(vlan))
    );
    // Of the master, em1: asks for itself.
    assert_eq!(
        sent[0].1[..14],
        [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6]
    );
    assert_eq!(sent[0].1[28..32], sent[0].1[38..42]);
}

#[test]
fn a_deputy_switches_while_the_control_core_is_busy_and_is_overruled_when_it_is_back() {
    let mut b = boxed();
    link(&mut b, 0, UP);
    link(&mut b, 1, UP);
    b.control.tend_laggs();
    frames(&mut b);
    let deputy = b.control.deputy();
    let now_ms = b.control.clock.now_ms();
    let em1_is_down = |port| port != 1;
    assert!(!deputy.stand_in(now_ms, em1_is_down), "it is there");
    assert!(deputy.stand_in(now_ms + 10, em1_is_down));
    assert_eq!(masks(&b), (0b10, 0b10));
    // The control core hears of it: the same ports, and now the neighbors are told.
    link(&mut b, 1, LinkState::Down);
    b.control.tend_laggs();
    assert_eq!(masks(&b), (0b10, 0b10));
    assert_eq!(frames(&mut b).len(), 3);
    // The cable was in again before it could hear of anything.
    link(&mut b, 1, UP);
    assert_eq!(masks(&b), (0b01, 0b01));
    let now_ms = b.control.clock.now_ms();
    assert!(deputy.stand_in(now_ms + 10, em1_is_down));
    assert_eq!(masks(&b), (0b10, 0b10));
    b.control.tend_laggs();
    assert_eq!(masks(&b), (0b01, 0b01));
}

#[test]
fn a_new_configuration_does_not_touch_the_choice() {
    let mut b = boxed();
    link(&mut b, 0, UP);
    let more = ("hostname.vlan23", "vnetid 23 parent trunk0\n");
    b.push(&[CARDS[0], CARDS[1], TRUNK, VLAN, more, PF])
        .unwrap();
    assert_eq!(masks(&b), (0b10, 0b10));
    // Another order of ports is another lagg: its links are asked for anew.
    let turned = (
        "hostname.trunk0",
        "trunkproto failover trunkport em0 trunkport em1\n",
    );
    b.push(&[CARDS[0], CARDS[1], turned, VLAN, PF]).unwrap();
    assert_eq!(masks(&b), (0, 0));
}

#[test]
fn what_a_person_sees_of_layers() {
    let mut b = boxed();
    link(&mut b, 0, UP);
    let all = b.control.interfaces();
    let of = |name: &str| all.iter().find(|i| i.name == name).unwrap();
    let MadeOf::Lagg {
        protocol, ports, ..
    } = &of("trunk0").made
    else {
        panic!("{:?}", of("trunk0"))
    };
    let shown: Vec<_> = ports
        .iter()
        .map(|p| (p.name.as_str(), p.ready, p.sends, p.heard))
        .collect();
    assert_eq!(protocol, "failover");
    assert_eq!(
        shown,
        [("em1", false, false, false), ("em0", true, true, true)]
    );
    assert!(of("trunk0").link && of("vlan22").link);
    assert_eq!(of("vlan22").lladdr, "02:00:00:00:00:01");
    link(&mut b, 0, LinkState::Down);
    let vlan = b
        .control
        .interfaces()
        .into_iter()
        .find(|i| i.name == "vlan22");
    assert!(!vlan.unwrap().link);
}

#[test]
fn a_port_that_is_up_and_dead_is_found_out_by_asking() {
    let probe = (
        "fugu.conf",
        "trunk0 probe 10.0.0.254 interval 100ms misses 2\n",
    );
    let mut b = Rig::new();
    b.push(&[CARDS[0], CARDS[1], TRUNK, VLAN, probe, PF])
        .unwrap();
    link(&mut b, 0, UP);
    link(&mut b, 1, UP);
    frames(&mut b);
    let mut by_em1 = 0;
    for _ in 0..10 {
        for _ in 0..100 {
            b.control.clock.pause();
        }
        b.control.tend_laggs();
        for (end, question) in frames(&mut b) {
            match end {
                // em0 has a neighbor that answers.
                FrameEnd::Port(0) => {
                    let mut answer = question.clone();
                    assert_eq!(question[12..18], [0x81, 0, 0xe0, 22, 8, 6]);
                    answer[25] = 2;
                    let (sender, target) = (question[32..36].to_vec(), question[42..46].to_vec());
                    answer[32..36].copy_from_slice(&target);
                    answer[42..46].copy_from_slice(&sender);
                    b.control.hear_frame(0, None, &answer);
                }
                FrameEnd::Port(1) => by_em1 += 1,
                _ => {}
            }
        }
    }
    assert!(by_em1 > 2, "{by_em1}");
    assert_eq!(masks(&b), (0b10, 0b10));
}

const LACP: (&str, &str) = (
    "hostname.trunk0",
    "trunkproto lacp trunkport em0 trunkport em1 lacptimeout fast\n",
);

/// A tenth of a second.
fn wait(b: &Rig) {
    (0..100).for_each(|_| b.control.clock.pause());
}

/// The other side of both cables: what it is sent it hears, what it says is heard.
fn talk(b: &mut Rig, other: &mut net::lacp::Lacp, seconds: u64) {
    for _ in 0..seconds * 10 {
        wait(b);
        let now_ms = b.control.clock.now_ms();
        b.control.tend_laggs();
        for (end, frame) in frames(b) {
            let (FrameEnd::Port(port), Ok(wire::slow::Slow::Lacp(pdu))) =
                (end, wire::slow::Slow::parse(&frame[14..]))
            else {
                continue;
            };
            other.on_pdu(usize::from(port), &pdu, now_ms);
        }
        let mut said = Vec::new();
        other.tick(now_ms, |port, pdu| said.push((port as u16, pdu)));
        for (port, pdu) in said {
            let mut frame = vec![0; 14];
            frame[12..].copy_from_slice(&[0x88, 0x09]);
            frame.extend(pdu.bytes());
            b.control.hear_frame(port, None, &frame);
        }
    }
}

#[test]
fn a_lagg_with_lacp_uses_the_ports_that_both_sides_agree_on() {
    let mut b = Rig::new();
    b.push(&[CARDS[0], CARDS[1], LACP, VLAN, PF]).unwrap();
    let mut other = net::lacp::Lacp::new(
        net::lacp::Settings {
            system_priority: 1,
            system: wire::ether::Addr([2, 0, 0, 0, 0, 0x99]),
            key: 5,
            mode: net::lacp::Mode::Passive,
            rate: net::lacp::Rate::Fast,
            min_links: 0,
        },
        2,
    );
    let now_ms = b.control.clock.now_ms();
    for port in 0..2 {
        link(&mut b, port, UP);
        other.on_link(usize::from(port), true, now_ms);
    }
    assert_eq!(masks(&b), (0, 0), "nothing was agreed on yet");
    talk(&mut b, &mut other, 5);
    assert_eq!(masks(&b), (0b11, 0b11));
    assert_eq!(other.ports().distributing, 0b11);
    // A new configuration with the same lagg does not interrupt the conversation.
    b.push(&[CARDS[0], CARDS[1], LACP, PF]).unwrap();
    assert_eq!(masks(&b), (0b11, 0b11));
    // While the control core is busy somebody else sees that a link has gone.
    let now_ms = b.control.clock.now_ms();
    assert!(b.control.deputy().stand_in(now_ms + 10, |port| port != 0));
    assert_eq!(masks(&b), (0b10, 0b11));
    link(&mut b, 0, LinkState::Down);
    assert_eq!(masks(&b), (0b10, 0b10), "at once, and the other goes on");
    // Silence on the other takes three seconds.
    for _ in 0..40 {
        wait(&b);
        b.control.tend_laggs();
    }
    assert_eq!(masks(&b), (0, 0));
}
