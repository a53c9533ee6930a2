//! `bench-classify RUNS`: designs of a packet classifier, compared on rulesets of three shapes, as a table. Every design
//! must find the same rule for every packet.

#![forbid(unsafe_code)]

mod calibrate;
mod classify {
    pub(crate) mod designs;
    pub(crate) mod shapes;
}
mod spread;

use classify::designs::{BitVectors, Design, Indexed, Linear, TupleSpace};
use classify::shapes::{SHAPES, packets};
use simnic::rng::Rng;

use calibrate::{core_ghz, thread_ns};
use spread::Spread;

/// Headers of one run; more than the branch predictor learns by heart.
const PACKETS: usize = 16_384;

/// Builds a design.
type Make<'a> = &'a dyn Fn() -> Box<dyn Design>;

fn main() {
    let runs: usize = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(5);
    println!("| shape | rules | design | build ms | KiB | core cycles per packet |");
    println!("|---|---|---|---|---|---|");
    for (name, shape) in SHAPES {
        for count in [100, 1000, 10_000] {
            let mut rng = Rng::new(count as u64);
            let rules = shape.rules(count, &mut rng);
            let packets = packets(&rules, PACKETS, &mut rng);
            let head = format!("| {name} | {count} |");
            // Walking ten thousand rules takes its time.
            let few = &packets[..PACKETS.min(4_000_000 / count)];
            let meant = row(&head, "linear", few, runs, || Linear::new(&rules));
            let designs: [(&str, Make<'_>); 4] = [
                ("bit vectors", &|| Box::new(BitVectors::new(&rules))),
                ("tuple space", &|| Box::new(TupleSpace::new(&rules))),
                ("index, all matches", &|| {
                    Box::new(Indexed::new(&rules, false))
                }),
                ("index", &|| Box::new(Indexed::new(&rules, true))),
            ];
            for (design, make) in designs {
                let found = row(&head, design, &packets, runs, make);
                assert_eq!(found[..few.len()], meant, "{name} {count} {design}");
            }
        }
    }
}

impl Design for Box<dyn Design> {
    fn decide(&self, facts: &ruleset::Facts) -> Option<u32> {
        (**self).decide(facts)
    }
    fn bytes(&self) -> usize {
        (**self).bytes()
    }
}

/// Builds, measures and prints one design; gives what it has found.
fn row<D: Design>(
    head: &str,
    name: &str,
    packets: &[ruleset::Facts],
    runs: usize,
    make: impl Fn() -> D,
) -> Vec<Option<u32>> {
    let started = thread_ns();
    let design = make();
    let built_ms = (thread_ns() - started) / 1e6;
    let found = packets.iter().map(|facts| design.decide(facts)).collect();
    let sample = |_| {
        let ghz = core_ghz();
        let started = thread_ns();
        for facts in packets {
            std::hint::black_box(design.decide(std::hint::black_box(facts)));
        }
        (thread_ns() - started) / packets.len() as f64 * ghz
    };
    let cycles = Spread::of((0..runs).map(sample));
    println!(
        "{head} {name} | {built_ms:.1} | {} | {} |",
        design.bytes() / 1024,
        cycles.text(0)
    );
    found
}
