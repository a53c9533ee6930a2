//! The whole compiler with everything on: all warnings, the optimizer, files of anchors. What it makes of a text
//! obeys the bounds, and the optimized ruleset decides on packets as the one written does.

use pfconf::{Bounds, Compiled, Files, Optimization, Options, compile, diag};

use super::pfconf_target::environment;
use super::verdicts::{Random, packet, translated, verdict};

/// Small, so that the fuzzer finds the ways beyond them.
const BOUNDS: Bounds = Bounds {
    rules: 3000,
    addresses: 3000,
};

/// Packets for each ruleset.
const PACKETS: usize = 24;

/// Files that the text may name.
struct Tree;

impl Files for Tree {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        match name {
            "t" => Some(b"10.0.0.1 !10.0.0.2/31\n2001:db8::/32 # net\n".to_vec()),
            "a" => Some(b"block in\nanchor y {\npass out\n}\nload anchor z from \"t\"\n".to_vec()),
            "i" => Some(b"pass in on em0\ninclude \"i\"\n".to_vec()),
            _ => None,
        }
    }
}

fn compiled(data: &[u8], optimization: Optimization) -> Compiled {
    let options = Options {
        bounds: BOUNDS,
        optimization,
        lint: true,
        ..Options::default()
    };
    compile("pf.conf", data, &Tree, &environment(), &options)
}

/// Compiles `data` twice and compares.
pub(crate) fn run(data: &[u8]) {
    let basic = compiled(data, Optimization::Basic);
    let errors = diag::has_errors(&basic.diagnostics);
    assert_eq!(basic.ruleset.is_none(), errors);
    for d in &basic.diagnostics {
        assert!(!d.text.is_empty() && d.line > 0 && d.column > 0 && d.length > 0);
        assert!(!d.excerpt().is_empty() || d.source.is_empty());
    }
    let written = compiled(data, Optimization::None);
    assert_eq!(written.ruleset.is_none(), errors);
    let (Some(fewer), Some(all)) = (&basic.ruleset, &written.ruleset) else {
        return;
    };
    assert!(fewer.rules.len() <= all.rules.len() && all.rules.len() <= BOUNDS.rules);
    let seed = data.iter().fold(7u64, |sum, b| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*b))
    });
    let mut random = Random::new(seed);
    for _ in 0..PACKETS {
        let facts = packet(&mut random, all);
        let there = translated(&facts, &written, &basic);
        assert_eq!(verdict(all, &facts), verdict(fewer, &there), "{facts:?}");
    }
}
