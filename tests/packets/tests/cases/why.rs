//! `why` predicts the dataplane: what it says of a packet is what then happens to it.

use explain::{Explanation, RuleName};
use packets::{Rig, Topology};
use ruleset::RuleNr;
use simnic::rng::Rng;

/// Packets of the short run; `FUGU_WHY_PACKETS` says otherwise.
const PACKETS: usize = 3_000;
/// Packets sent to one ruleset.
const PER_RULESET: usize = 100;

const HOSTS: [&str; 4] = ["192.0.2.2", "198.51.100.2", "203.0.113.9", "10.9.9.9"];
const PORTS: [u16; 4] = [22, 53, 80, 445];

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize]
}

/// A rule of a kind that reads no chance.
fn rule(rng: &mut Rng, depth: usize) -> String {
    let action = pick(rng, &["pass", "pass", "block", "block return", "match"]);
    let anchor = depth < 2 && rng.below(8) == 0;
    let mut text = String::from(if anchor { "anchor" } else { action });
    text += pick(rng, &["", "", " in", " out"]);
    if rng.below(6) == 0 && (anchor || action != "match") {
        text += " quick";
    }
    text += pick(rng, &["", "", "", " on sim0", " on sim1", " on ! sim0"]);
    let proto = pick(rng, &["", " proto tcp", " proto udp", " proto icmp"]);
    text += " inet";
    text += proto;
    if rng.below(3) == 0 {
        text += &format!(" from {}", pick(rng, &HOSTS));
    } else if rng.below(5) == 0 {
        text += " from <t>";
    } else {
        text += " from any";
    }
    text += &match rng.below(3) {
        0 => format!(" to {}", pick(rng, &HOSTS)),
        _ => " to any".into(),
    };
    if matches!(proto, " proto tcp" | " proto udp") && rng.below(2) == 0 {
        text += &format!(" port {}", pick(rng, &PORTS));
    }
    if anchor {
        let rules = 1 + rng.below(3);
        let body: String = (0..rules).map(|_| rule(rng, depth + 1)).collect();
        return format!("{text} {{\n{body}}}\n");
    }
    if rng.below(6) == 0 {
        text += pick(rng, &[" tagged A", " ! tagged A"]);
    }
    if rng.below(6) == 0 {
        text += " tag A";
    }
    if action == "pass" && rng.below(4) == 0 {
        text += " no state";
    }
    text + "\n"
}

fn policy(rng: &mut Rng) -> String {
    let rules = 1 + rng.below(12);
    let rules: String = (0..rules).map(|_| rule(rng, 0)).collect();
    format!("table <t> {{ 192.0.2.0/24 ! 192.0.2.2 203.0.113.9 }}\n{rules}")
}

/// A packet in words.
fn packet(rng: &mut Rng) -> String {
    let port = if rng.below(2) == 0 { "sim0" } else { "sim1" };
    let (a, b) = (pick(rng, &HOSTS), pick(rng, &HOSTS));
    let (p, q) = (pick(rng, &PORTS), pick(rng, &PORTS));
    let ttl = if rng.below(20) == 0 { " ttl 1" } else { "" };
    match rng.below(4) {
        0 => format!("in on {port} icmp {a} > {b}{ttl}"),
        1 => format!("in on {port} udp {a}:{p} > {b}:{q}{ttl}"),
        _ => {
            let flags = pick(rng, &["S", "S", "S", "A", "SA", "R", "FA"]);
            format!("in on {port} tcp {a}:{p} > {b}:{q} flags {flags}{ttl}")
        }
    }
}

fn ask(rig: &Rig, words: &str) -> Explanation {
    let name = |nr: RuleNr| RuleName {
        text: format!("rule {}", nr.0),
        origin: String::new(),
    };
    let states = rig.states();
    let on = explain::Box {
        config: rig.config(),
        states: &states,
        rule: &name,
        now_ms: rig.now_ms(),
    };
    explain::describe(words, &on).expect("a packet")
}

/// Sends the packet and says what happened: what left where, reasons of drops, and rules that counted evaluations'
/// outcome, as the explanation tells them.
fn send(rig: &mut Rig, words: &str) -> (Vec<String>, Vec<String>) {
    let described = explain::words::parse(words).unwrap();
    let arrival = explain::packet::arrival(&described, &rig.config()).unwrap();
    let explain::Arrival::Wire { port, frame } = arrival else {
        panic!("it comes in");
    };
    rig.mark();
    rig.send_frame(["sim0", "sim1"][usize::from(port)], &frame);
    let changes = rig.changes();
    // The error that a packet brings about may be dropped as well, for a reason of its own.
    let dropped = changes.keys().filter_map(|name| name.strip_prefix("drop:"));
    let mut verdicts: Vec<String> = dropped.map(Into::into).collect();
    if verdicts.is_empty() {
        let to_host = changes.contains_key("to_host");
        verdicts.push(if to_host { "local" } else { "pass" }.into());
    }
    let rules = changes.keys().filter_map(|name| {
        let (rule, what) = name.split_once('.')?;
        matches!(what, "in" | "out").then(|| format!("{rule} {what}"))
    });
    let rules = rules.filter(|name| name.starts_with('r')).collect();
    rig.ignore_rest();
    (verdicts, rules)
}

#[test]
fn what_why_says_is_what_happens() {
    let count = std::env::var("FUGU_WHY_PACKETS").ok();
    let count = count.and_then(|n| n.parse().ok()).unwrap_or(PACKETS);
    let seed = std::env::var("FUGU_SEED").ok();
    let seed = seed.and_then(|n| n.parse().ok()).unwrap_or(20_261_122);
    let mut rng = Rng::new(seed);
    let (mut asked, mut passed) = (0, 0);
    while asked < count {
        let policy = policy(&mut rng);
        let mut rig = Rig::new(&policy, &Topology::usual());
        for _ in 0..PER_RULESET.min(count - asked) {
            let words = packet(&mut rng);
            let told = ask(&rig, &words);
            let (verdicts, rules) = send(&mut rig, &words);
            let context = || format!("seed {seed}\n{policy}\n{words}\n{}", told.text());
            let said = told.reason.unwrap_or(told.verdict);
            assert!(
                verdicts.iter().any(|v| v == said),
                "{verdicts:?}\n{}",
                context()
            );
            for decision in &told.decisions {
                let Some(rule) = decision.rule else { continue };
                let counted = format!("r{rule} {}", decision.direction);
                assert!(
                    rules.contains(&counted),
                    "{counted} of {rules:?}\n{}",
                    context()
                );
            }
            asked += 1;
            passed += usize::from(verdicts[0] == "pass");
        }
        rig.finish();
    }
    assert!(
        passed > count / 20,
        "{passed} of {asked} passed: too few to mean anything"
    );
}

#[test]
fn a_connection_that_is_over_makes_room_for_the_next_in_what_why_says_too() {
    let mut rig = Rig::new("pass", &Topology::usual());
    let syn = "in on sim0 tcp 192.0.2.2:1000 > 198.51.100.2:80 flags S";
    send(&mut rig, syn);
    send(
        &mut rig,
        "in on sim1 tcp 198.51.100.2:80 > 192.0.2.2:1000 flags RA",
    );
    let told = ask(&rig, syn);
    let (verdicts, _) = send(&mut rig, syn);
    assert_eq!(
        verdicts,
        [told.reason.unwrap_or(told.verdict)],
        "{}",
        told.text()
    );
    rig.finish();
}
