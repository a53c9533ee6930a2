//! `-o basic` changes no verdict: random rulesets, plain and optimized, are asked about random packets. `FUGU_SEED`
//! repeats a run; `FUGU_ROUNDS` makes a long one.

mod random_rules;

use pfconf::Optimization;
use random_rules::verdicts::{Random, packet, translated, verdict};
use random_rules::{build, environment, number, text};

/// Rulesets of a short run.
const ROUNDS: usize = 400;

/// Packets that each ruleset is asked about.
const PACKETS: usize = 300;

/// Heads of anchors whose rules follow in braces.
const ANCHORS: &[&str] = &[
    "anchor",
    "anchor in",
    "anchor quick",
    "anchor on em0",
    "anchor out on ! em1 proto tcp",
    "anchor inet from 10.0.0.0/30",
    "anchor quick proto udp to port 80",
    "anchor tagged A",
];

/// Most anchors in one another.
const DEPTH: usize = 2;

/// The same rules, runs of them in anchors.
fn in_anchors(random: &mut Random, text: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0);
    for line in text.lines() {
        let table = line.starts_with("table");
        match random.below(20) {
            0 if depth < DEPTH && !table => {
                out += &format!("{} {{\n", random.pick(ANCHORS));
                depth += 1;
            }
            1 if depth > 0 => {
                out += "}\n";
                depth -= 1;
            }
            _ => {}
        }
        out += &format!("{line}\n");
    }
    out + &"}\n".repeat(depth)
}

#[test]
fn an_optimized_ruleset_decides_as_the_one_written() {
    let seed = number("FUGU_SEED", 0x1357_9bdf_0246_8ace);
    let rounds = number("FUGU_ROUNDS", ROUNDS as u64);
    println!("seed {seed}");
    let env = environment();
    let mut random = Random::new(seed);
    let (mut dropped, mut decided) = (0, 0);
    for round in 0..rounds {
        let text = text(&mut random, &env);
        let text = in_anchors(&mut random, &text);
        let written = build(&text, &env, Optimization::None);
        let basic = build(&text, &env, Optimization::Basic);
        let all = written.ruleset.as_ref().unwrap();
        let fewer = basic.ruleset.as_ref().unwrap();
        dropped += all.rules.len() - fewer.rules.len();
        for _ in 0..PACKETS {
            let facts = packet(&mut random, all);
            let there = translated(&facts, &written, &basic);
            let (a, b) = (verdict(all, &facts), verdict(fewer, &there));
            decided += usize::from(!a.starts_with("None"));
            assert_eq!(a, b, "round {round} of seed {seed}: {facts:?}\n{text}");
        }
    }
    println!("{rounds} rulesets, {dropped} rules saved, {decided} packets decided by a rule");
    assert!(
        dropped as u64 * 4 > rounds,
        "only {dropped} rules were saved"
    );
    assert!(
        decided as u64 > rounds * PACKETS as u64 / 3,
        "only {decided} packets met a rule"
    );
}
