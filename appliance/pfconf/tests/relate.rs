//! What is said about rules is true of packets: rulesets that the comparison calls the same decide alike, and a rule that is
//! called shadowed decides nothing. Random rulesets are asked about random packets. `FUGU_SEED` repeats a run, `FUGU_ROUNDS`
//! makes a long one.

mod random_rules;

use net::KifSet;
use pfconf::diff::{Side, compare};
use pfconf::{Compiled, Environment, NoFiles, Optimization, Options, compile};
use random_rules::verdicts::{Random, packet, translated, verdict};
use random_rules::{TABLES, build, environment, number, text};

/// Rulesets of a short run.
const ROUNDS: usize = 300;

/// Packets that each ruleset is asked about.
const PACKETS: usize = 200;

/// A card answers to its own name and to that of its group, as on every machine.
fn of_a_card(names: &KifSet, compiled: &Compiled) -> KifSet {
    let number = |name: &str| {
        let known = compiled.kif_names.iter().find(|(k, _)| k == name);
        known.map(|(_, kif)| *kif)
    };
    let second = number("em1").filter(|kif| names.contains(*kif));
    let mut out = KifSet::EMPTY;
    for kif in [second.or(number("em0")), number("g")]
        .into_iter()
        .flatten()
    {
        out.insert(kif);
    }
    out
}

fn same_verdicts(random: &mut Random, a: &Compiled, b: &Compiled, what: &dyn Fn() -> String) {
    let (x, y) = (a.ruleset.as_ref().unwrap(), b.ruleset.as_ref().unwrap());
    for _ in 0..PACKETS {
        let mut facts = packet(random, x);
        facts.on = of_a_card(&facts.on, a);
        facts.received_on = facts.received_on.map(|names| of_a_card(&names, a));
        let there = translated(&facts, a, b);
        assert_eq!(
            verdict(x, &facts),
            verdict(y, &there),
            "{facts:?}\n{}",
            what()
        );
    }
}

/// Swaps some neighbors, doubles or drops nothing: only the order differs.
fn reordered(random: &mut Random, text: &str) -> String {
    let rules = text.strip_prefix(TABLES).unwrap();
    let mut lines: Vec<&str> = rules.lines().collect();
    for _ in 0..1 + random.below(3) {
        let at = random.below(lines.len().saturating_sub(1));
        if at + 1 < lines.len() {
            lines.swap(at, at + 1);
        }
    }
    let rules: String = lines.iter().map(|l| format!("{l}\n")).collect();
    format!("{TABLES}{rules}")
}

#[test]
fn rulesets_that_are_called_the_same_decide_alike() {
    let seed = number("FUGU_SEED", 0x0dd5_eed5);
    let rounds = number("FUGU_ROUNDS", ROUNDS as u64);
    println!("seed {seed}");
    let env = environment();
    let mut random = Random::new(seed);
    let (mut same, mut different) = (0, 0);
    for round in 0..rounds {
        let a = text(&mut random, &env);
        let b = reordered(&mut random, &a);
        if a == b {
            continue;
        }
        let side = |text: &'static str| Side {
            name: "r",
            text: text.as_bytes(),
            files: &NoFiles,
            env: Box::leak(Box::new(environment())),
        };
        let leak = |text: &str| -> &'static str { Box::leak(text.to_string().into_boxed_str()) };
        let found = compare(side(leak(&a)), side(leak(&b))).unwrap();
        if !found.is_empty() {
            different += 1;
            continue;
        }
        same += 1;
        let compiled = [&a, &b].map(|text| build(text, &env, Optimization::None));
        let what = || format!("round {round} of seed {seed}:\n{a}---\n{b}");
        same_verdicts(&mut random, &compiled[0], &compiled[1], &what);
    }
    println!("{same} pairs called the same, {different} different");
    assert!(
        same * 10 > rounds && different * 10 > rounds,
        "{same} and {different}"
    );
}

/// Both tags exist in every ruleset, whichever rule is left out.
const TAGS: &str = "match proto 99 tag A\nmatch proto 99 tag B\n";

/// Lines of the rules that never decide.
fn shadowed(text: &str, env: &Environment) -> Vec<u32> {
    let options = Options {
        lint: true,
        ..Options::default()
    };
    let compiled = compile("r", text.as_bytes(), &NoFiles, env, &options);
    let said = compiled.diagnostics.iter();
    // Of a list, some rules may still decide.
    let whole =
        said.filter(|d| d.code == "shadowed-rule" && !d.text.contains("that this line makes"));
    whole.map(|d| d.line).collect()
}

#[test]
fn a_rule_that_is_called_shadowed_decides_nothing() {
    let seed = number("FUGU_SEED", 0x5ead_0e5d);
    let rounds = number("FUGU_ROUNDS", ROUNDS as u64);
    println!("seed {seed}");
    let env = environment();
    let mut random = Random::new(seed);
    let mut found = 0;
    for round in 0..rounds {
        let a = text(&mut random, &env) + TAGS;
        let last = a.lines().count() - TAGS.lines().count();
        for line in shadowed(&a, &env) {
            if line as usize > last {
                continue;
            }
            found += 1;
            let without: String = a
                .lines()
                .enumerate()
                .filter(|(n, _)| *n as u32 + 1 != line)
                .map(|(_, l)| format!("{l}\n"))
                .collect();
            let compiled = [&a, &without].map(|text| build(text, &env, Optimization::None));
            let what = || format!("line {line}, round {round} of seed {seed}:\n{a}");
            same_verdicts(&mut random, &compiled[0], &compiled[1], &what);
        }
    }
    println!("{found} rules without a say");
    assert!(found > rounds, "only {found} rules");
}
