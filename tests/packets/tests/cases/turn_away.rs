//! What rules block ends in front of the long way, and nobody can tell: two boxes, in one of which what rules block goes the
//! long way, get the same floods, with conversations among them; what leaves them, what they count, on tables too, and what
//! their states say must be the same, under random rules.

use net::LaggProtocol::LoadBalance;
use packets::{Packet, Rig, Spread, Topology, echo, raw, tcp, udp};
use simnic::rng::Rng;

use crate::express::Pair;
use crate::express_links::{lagg, plain_lagg, vlans};
use crate::{A, B, FAR};

/// Bursts of one flood.
const STEPS: usize = 60;
/// Most packets of a burst.
const BURST: u64 = 40;

/// The last line of one box, and of the other: no packet has this protocol, but rules with dice are not asked early.
const LAST: [&str; 2] = ["pass out proto 253", "pass out proto 253 probability 50%"];

/// Tables of every policy; `IN` and `OUT` are names of interfaces.
const TABLES: &str =
    "table <bad> counters { 10.1.0.0/16 !10.1.1.0/24 203.0.113.0/28 2001:db8:1::bad }
table <good> { 192.0.2.0/24 203.0.113.9 2001:db8:1::/64 }
table <ugly> { 10.2.0.0/15 !10.3.1.0/24 198.51.100.77 2001:db8:1::77 }
";

/// Lines of policies: nearly all that may stand beside a rule that blocks.
const LINES: &[&str] = &[
    "block in quick on IN from <bad>",
    "block in quick on OUT from <bad> to any",
    "block drop in quick from ! <good>",
    "block in quick from <ugly>",
    "block in quick to <ugly>",
    "block in quick on IN inet from <ugly>",
    "block in quick on OUT from <good>",
    "block in quick proto tcp from <ugly>",
    "pass in proto tcp keep state (max-src-conn-rate 2/5, overload <ugly>)",
    "block in from any to <bad>",
    "block in on IN proto tcp from <bad> to any port 80",
    "block in quick proto udp to port 1000:2000",
    "block in quick proto tcp flags SA/SA",
    "block in proto tcp from 10.0.0.0/8",
    "block in quick from 10.2.0.0/16 to 198.51.100.2",
    "block in quick inet6 proto udp",
    "block return in proto tcp to port 22",
    "block return in quick proto udp to port 53",
    "block in log quick from 10.3.0.0/16",
    "block in quick tos 0x10",
    "block in quick from no-route",
    "block in quick from urpf-failed",
    "block in quick from any to self",
    "block in quick tagged T",
    "block in",
    "block",
    "block out proto udp from 192.0.2.2",
    "pass in proto tcp to port 80",
    "pass in proto udp to port 53 no state",
    "pass in quick proto tcp from <good> to port 443",
    "pass in on IN proto { tcp udp } from 192.0.2.2",
    "pass in proto tcp from <good> flags any",
    "pass in inet6",
    "pass in proto tcp to port 25 synproxy state",
    "pass in proto tcp to port 8080 keep state (max 3)",
    "pass in proto tcp keep state (max-src-conn-rate 1/5, overload <bad> flush)",
    "pass in quick from 192.0.2.9 tag T",
    "match in from 192.0.2.2 tag T",
    "match in all scrub (no-df max-mss 1400)",
    "match on IN scrub (min-ttl 70)",
    "match in proto tcp set tos 0x10",
    "match in from 10.0.0.0/8 set prio 2",
    "match in max-pkt-size 60",
    "match in log proto udp to port 80",
    "match in proto udp to port 53 set prio 5",
    // Identifiers of echo requests are chosen by dice, which are not thrown for who is turned away.
    "match out on OUT inet proto { tcp udp } nat-to 198.51.100.1 static-port",
    "match in on IN inet to 198.51.100.77 rdr-to 198.51.100.2",
    "anchor in proto tcp {\n block quick proto tcp to port 443\n pass\n }",
    "anchor in on OUT {\n block in from <bad>\n block in quick to 192.0.2.2\n }",
];

/// Lines of which there may be many, so that rules fill several blocks of the index.
fn service(rng: &mut Rng) -> String {
    let action = ["block in", "block in quick", "pass in", "pass in quick"];
    let port = 1 + rng.below(70);
    format!(
        "{} proto {} from 10.{}.0.0/16 to any port {port}",
        action[rng.below(4) as usize],
        ["tcp", "udp"][rng.below(2) as usize],
        rng.below(4)
    )
}

fn policy(rng: &mut Rng, names: [&str; 2]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let few = [2, 5, 12][rng.below(3) as usize];
    for _ in 0..1 + rng.below(few) {
        lines.push(LINES[rng.below(LINES.len() as u64) as usize].into());
    }
    if rng.below(3) == 0 {
        let many = [8, 85][rng.below(2) as usize];
        lines.extend((0..many).map(|_| service(rng)));
    }
    // In any order.
    for n in (1..lines.len()).rev() {
        lines.swap(n, rng.below(n as u64 + 1) as usize);
    }
    let [first, last] = [["pass", "block in\npass out"], ["", "pass out"]];
    let (first, last) = (first[rng.below(2) as usize], last[rng.below(2) as usize]);
    let text = format!("{TABLES}{first}\n{}\n{last}\n", lines.join("\n"));
    let text = text.replace("OUT", names[1]).replace("IN", names[0]);
    // `in` and `out` in capitals nowhere else.
    debug_assert!(!text.contains("IN ") && !text.contains("OUT "));
    text
}

fn one_of<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.below(of.len() as u64) as usize]
}

/// Source and destination of a packet that comes in from the inside.
fn addresses(rng: &mut Rng) -> (String, String) {
    if rng.below(5) == 0 {
        let src = one_of(rng, &["::2", "::bad", "::77"]);
        let dst = one_of(rng, &["2::2", "ffff::9", "1::1"]);
        return (format!("[2001:db8:1{src}]"), format!("[2001:db8:{dst}]"));
    }
    let src = match rng.below(3) {
        0 => A.into(),
        1 => one_of(rng, &["192.0.2.9", FAR, "203.0.113.200"]).into(),
        _ => format!("10.{}.{}.{}", rng.below(4), rng.below(3), rng.below(4)),
    };
    let dst = one_of(rng, &[B, FAR, "198.51.100.77", "192.0.2.1", "10.1.2.3"]);
    (src, dst.into())
}

/// A packet of a flood, of a conversation, or one that is broken.
fn packet(rng: &mut Rng) -> (usize, Packet) {
    let (src, dst) = addresses(rng);
    let port = |rng: &mut Rng| match rng.below(4) {
        0 => 1 + rng.below(2000),
        1 => 1 + rng.below(70),
        _ => [22, 25, 53, 67, 68, 80, 443, 8080][rng.below(8) as usize],
    };
    let (from, to) = (port(rng), port(rng));
    let side = rng.below(2) as usize;
    let (src, dst) = if side == 0 { (src, dst) } else { (dst, src) };
    let ends = (format!("{src}:{from}"), format!("{dst}:{to}"));
    let bare = |text: &str| text.trim_matches(['[', ']']).to_string();
    let packet = match rng.below(40) {
        0..20 => {
            let flags = ["S", "S", "S", "S", "SA", "A", "FA", "R", "PA"];
            tcp(&ends.0, &ends.1, one_of(rng, &flags)).seq(1000)
        }
        // What no conversation has.
        20 => tcp(&ends.0, &ends.1, one_of(rng, &["SF", "F", "P", "SR"])),
        21..36 => udp(&ends.0, &ends.1).data(rng.below(3) as usize * 50),
        36 => raw(&bare(&src), &bare(&dst), 17, &[1, 2, 3, 4]),
        37 => raw(&bare(&src), &bare(&dst), 47, &[0; 30]),
        _ => echo(&bare(&src), &bare(&dst), 7, rng.below(3) as u16),
    };
    let packet = match rng.below(30) {
        0 => packet.ttl(1),
        1 => packet.tos(0x10),
        _ => packet,
    };
    (side, packet)
}

fn agree_on_counts(boxes: &Pair, what: &str) {
    let [early, late] = &boxes.0;
    let differ = early.tally().since(&late.tally());
    assert!(differ.is_empty(), "{differ:?} more after {what}");
    assert_eq!(early.tally(), late.tally(), "{what}");
    let [ours, theirs] = [states(early), states(late)];
    let mut both = ours.iter().zip(&theirs);
    if let Some((ours, theirs)) = both.find(|(a, b)| a != b) {
        panic!("{ours}\nnot {theirs}\nafter {what}");
    }
    assert_eq!(ours.len(), theirs.len(), "{what}");
}

/// States without their order and the places where they lie: the long way takes packets sixteen at a time, and which sixteen
/// these are depends on what is turned away.
fn states(rig: &Rig) -> Vec<String> {
    let of = |mut st: state::State| {
        let fresh = state::State::default();
        (st.flow, st.egress, st.pair) = (fresh.flow, fresh.egress, fresh.pair);
        (st.id, st.timer_next, st.timer_prev) = (fresh.id, fresh.timer_next, fresh.timer_prev);
        st.timer_slot = fresh.timer_slot;
        format!("{st:?}")
    };
    let mut all: Vec<String> = rig.states().into_iter().map(of).collect();
    all.sort();
    all
}

/// A flood under random rules. Says how many packets were blocked in front of the long way.
fn flood(topology: &Topology, names: [&str; 2], spread: Spread, seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let policy = policy(&mut rng, names);
    let policies = LAST.map(|last| format!("{policy}{last}\n"));
    let mut boxes = Pair(
        policies
            .each_ref()
            .map(|policy| Rig::with(policy, topology, spread)),
    );
    let cards: Vec<String> = (topology.ports.iter())
        .filter(|port| matches!(port.made, packets::Made::Card))
        .map(|port| port.name.clone())
        .collect();
    let mut last: Option<(usize, Packet)> = None;
    for step in 0..STEPS {
        let what = format!("step {step} of seed {seed}, {spread:?}, under\n{policy}");
        let burst = 1 + rng.below(BURST);
        for _ in 0..burst {
            let (side, packet) = match (&last, rng.below(6)) {
                // The same ends again, or the other way, in the same burst perhaps.
                (Some((side, packet)), 0) => (*side, packet.clone()),
                // An answer by the way that the question has come finds the state of its way out, or does not, depending
                // on which packets go the long way together.
                (Some((side, packet)), 1) if burst <= 16 && rng.below(2) == 0 => {
                    (*side, packet.answer())
                }
                (Some((side, packet)), 1) => (1 - *side, packet.answer()),
                (Some((side, packet)), 2) if packet.bytes()[0] >> 4 == 4 => {
                    (*side, packet.clone().options(&[148, 4, 0, 0]))
                }
                _ => {
                    let fresh = packet(&mut rng);
                    last = Some(fresh.clone());
                    fresh
                }
            };
            boxes.each(|rig| rig.arrive(names[side], &packet));
        }
        boxes.each(Rig::run);
        for card in &cards {
            boxes.agree(card, &what);
        }
        boxes.agree_on_host(&what);
        agree_on_counts(&boxes, &what);
        for table in ["bad", "good", "ugly"] {
            let [with, without] = boxes.0.each_ref().map(|rig| rig.table_counted(table));
            assert_eq!(with, without, "{table} after {what}");
        }
        for prefix in ["10.1.0.0/16", "10.1.1.0/24", "203.0.113.0/28"] {
            let counted = |rig: &Rig| rig.prefix_counted("bad", prefix);
            let [with, without] = boxes.0.each_ref().map(counted);
            assert_eq!(with, without, "{prefix} after {what}");
        }
        match rng.below(20) {
            0 => {
                let both = boxes.0.iter_mut().zip(&policies);
                both.for_each(|(rig, policy)| rig.reload(policy));
            }
            1 => boxes.each(|rig| {
                rig.kill(filter::Kill::default());
            }),
            2..5 => {
                let ms = rng.below(9000);
                boxes.each(|rig| rig.advance(ms));
            }
            _ => {}
        }
    }
    boxes.each(Rig::ignore_rest);
    assert_eq!(boxes.0[1].turned_away(), 0);
    boxes.0[0].turned_away()
}

#[test]
fn nobody_can_tell_that_a_packet_was_turned_away() {
    let topology = Topology::usual();
    let seeds: u64 = std::env::var("FUGU_FLOODS").map_or(60, |n| n.parse().expect("a number"));
    let away = (0..seeds).map(|seed| flood(&topology, ["sim0", "sim1"], Spread::ONE, seed));
    let away: Vec<u64> = away.collect();
    println!("turned away under each policy: {away:?}");
    assert!(away.iter().filter(|n| **n > 100).count() > away.len() / 4);
}

#[test]
fn nor_with_several_workers() {
    for (n, spread) in Spread::ALL.into_iter().enumerate().skip(1) {
        let seeds = (n as u64 * 100)..(n as u64 * 100 + 5);
        let away = seeds.map(|seed| flood(&Topology::usual(), ["sim0", "sim1"], spread, seed));
        println!("{spread:?}: {} turned away", away.sum::<u64>());
    }
}

#[test]
fn nor_on_vlans_and_laggs() {
    for (n, scene) in [vlans(), lagg(LoadBalance), plain_lagg()]
        .iter()
        .enumerate()
    {
        let seeds = (n as u64 * 100 + 1000)..(n as u64 * 100 + 1006);
        let names = ["in0", "out0"];
        let away = seeds.map(|seed| flood(&scene.topology, names, Spread::ONE, seed));
        let away: u64 = away.sum();
        println!("{away} turned away");
        assert!(away > 100);
    }
}

/// Lists that block before all else count what each of them has looked up and ended, in short rulesets and in long ones.
#[test]
fn lists_in_a_row_count_as_if_each_packet_was_asked_alone() {
    let lists = "table <a> { 10.0.0.0/9 !10.1.0.0/16 2001:db8:7::/48 }\n\
        table <b> { 10.1.0.0/16 198.51.100.3 }\ntable <c> const { 203.0.113.0/24 }\n\
        pass\nmatch in all scrub (no-df)\nblock in quick from <a>\nmatch set prio 3\nmatch on sim0 set tos 8\n\
        block in quick on sim0 to <b>\nblock in quick inet from <c>\n";
    let filler: String = (1..20)
        .map(|n| format!("block in quick proto tcp to port {n}\n"))
        .collect();
    for rules in ["", &filler] {
        let policies = LAST.map(|last| format!("{lists}{rules}{last}\n"));
        let topology = Topology::usual();
        let boxes = policies
            .each_ref()
            .map(|policy| Rig::with(policy, &topology, Spread::ONE));
        let mut boxes = Pair(boxes);
        let burst: Vec<Packet> = (0..200)
            .map(|n: usize| {
                let src = match n % 10 {
                    0..4 => format!("10.2.{n}.1:1"),
                    4..6 => format!("10.1.{n}.1:2"),
                    6..8 => format!("203.0.113.{n}:3"),
                    8 => format!("[2001:db8:7::{n}]:4"),
                    _ => format!("192.0.2.7:{n}"),
                };
                let dst = match (n % 10, n % 3) {
                    (8, _) => "[2001:db8:2::2]:53",
                    (_, 0) => "198.51.100.3:53",
                    _ => "198.51.100.2:53",
                };
                udp(&src, dst).data(n)
            })
            .collect();
        for packets in burst.chunks(50) {
            for packet in packets {
                boxes.each(|rig| rig.arrive("sim0", packet));
            }
            boxes.each(Rig::run);
            agree_on_counts(&boxes, rules);
        }
        for table in ["a", "b", "c"] {
            let [with, without] = boxes.0.each_ref().map(|rig| rig.table_counted(table));
            assert_eq!(with, without, "{table}");
        }
        assert_eq!(boxes.0[1].turned_away(), 0);
        // By the first 80 and 20, then 33 and 27; some look as if they belonged to what came before them in the burst.
        let away = boxes.0[0].turned_away();
        assert!((150..=160).contains(&away), "{away}");
        boxes.each(Rig::ignore_rest);
    }
}

/// The first packet of a connection is in the same burst as the next ones, which only its state lets pass, and as a flood.
#[test]
fn what_a_packet_of_the_same_burst_lets_pass_is_not_turned_away() {
    let policy = "block\npass in proto tcp to port 80\npass out";
    let mut rig = Rig::new(policy, &Topology::usual());
    let flood = |n: u64| tcp(&format!("10.0.0.{n}:1"), &format!("{B}:22"), "S");
    // The first flood shows that it pays to ask.
    rig.send_burst("sim0", &(1..30).map(flood).collect::<Vec<_>>());
    assert_eq!(rig.turned_away(), 29);
    let (a, b) = (format!("{A}:1000"), format!("{B}:80"));
    let syn = tcp(&a, &b, "S").seq(1000);
    let again = tcp(&a, &b, "S").seq(1000);
    let stray = tcp(&a, &b, "A").seq(1001).ack(1);
    rig.ignore_rest();
    rig.mark();
    rig.send_burst(
        "sim0",
        &[flood(31), syn.clone(), flood(32), again.clone(), stray],
    );
    rig.expect("sim1", &syn.hop());
    rig.expect("sim1", &again.hop());
    assert_eq!(rig.turned_away(), 31);
    rig.ignore_rest();
    // Without a state before it, it is.
    let stray = tcp(&format!("{A}:1001"), &b, "A").seq(1001).ack(1);
    // Most of the last burst were asked in vain.
    rig.send("sim0", &stray);
    rig.send("sim0", &stray);
    assert_eq!(rig.turned_away(), 32);
    rig.ignore_rest();
}
