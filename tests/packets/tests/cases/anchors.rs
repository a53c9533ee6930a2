//! Anchors: which rules are looked at, in which order, and what `quick` ends.

use packets::{Rig, Topology, everywhere, udp};

use crate::{A, B, at};

/// True if a datagram from the inside comes out on the other side.
fn passes(policy: &str) -> bool {
    let mut rig = Rig::new(policy, &Topology::usual());
    rig.send("sim0", &udp(&at(A, 1000), &at(B, 53)));
    let left = rig.take("sim1").is_some();
    rig.finish();
    left
}

#[test]
fn verdicts_of_rules_in_anchors() {
    for (name, policy, expected) in [
        (
            "absolute: a pass quick in an anchor called by its absolute path wins over a later block",
            "anchor outer {\n anchor inner {\n pass quick\n }\n }\nanchor two {\n anchor \"/outer/inner\"\n }\nblock",
            true,
        ),
        (
            "list: the last anchor wins without quick",
            "anchor a {\n pass\n}\nanchor b {\n block\n}",
            false,
        ),
        (
            "loop: anchors that call each other by absolute paths end",
            "pass\nanchor a {\n anchor \"/b\"\n}\nanchor b {\n anchor \"/a\"\n}",
            false,
        ),
        (
            "loop-relative: the same by relative paths",
            "pass\nanchor a {\n anchor \"../b\"\n}\nanchor b {\n anchor \"../a\"\n}",
            false,
        ),
        (
            "a loop that nothing enters does nothing",
            "pass\nanchor a proto tcp {\n anchor \"/b\"\n}\nanchor b proto tcp {\n anchor \"/a\"\n}",
            true,
        ),
        (
            "nesting: an inner pass, then an outer block in the same anchor",
            "anchor outer {\n anchor inner {\n pass\n }\n block\n}",
            false,
        ),
        (
            "wildcard: the anchors below are asked in the order of their names",
            "block\nanchor x proto tcp {\n anchor b {\n pass\n }\n anchor a {\n block\n }\n}\nanchor \"x/*\"",
            true,
        ),
        (
            "wildcard: deeper levels are not asked",
            "block\nanchor x proto tcp {\n anchor b {\n anchor c proto tcp {\n pass\n }\n }\n}\nanchor \"x/*\"",
            false,
        ),
        (
            "wildcard: nor the anchor itself",
            "block\nanchor x proto tcp {\n pass\n}\nanchor \"x/*\"",
            false,
        ),
        (
            "the criteria of an anchor hold for its rules",
            "block\nanchor proto tcp {\n pass\n}",
            false,
        ),
        (
            "a quick anchor in which a rule decides ends the evaluation",
            "anchor quick {\n pass\n}\nblock",
            true,
        ),
        (
            "a quick anchor in which no rule decides does not",
            "anchor quick {\n match tag X\n}\nblock",
            false,
        ),
        (
            "a quick anchor does not end with what an anchor in it decided",
            "anchor quick {\n anchor {\n pass\n }\n}\nblock",
            false,
        ),
        (
            "tables: an anchor's own comes before the main one of the same name",
            "table <t> { 10.9.9.9 }\nblock\nanchor a {\n table <t> { 192.0.2.2 }\n pass from <t>\n pass out\n}",
            true,
        ),
        (
            "tables: the main one where the anchor has none, and none of an anchor in between",
            "table <t> { 192.0.2.2 }\nblock\nanchor a {\n table <t> { 10.9.9.9 }\n anchor b {\n pass from <t>\n }\n}",
            true,
        ),
        (
            "a tag set in an anchor is seen behind it",
            "anchor {\n match tag X\n}\nblock\npass tagged X",
            true,
        ),
    ] {
        assert_eq!(passes(policy), expected, "{name}");
    }
}

#[test]
fn a_rule_of_an_anchor_that_is_called_twice_counts_in_one_place() {
    let policy = "block\nanchor a on { sim0 sim1 } {\n pass\n}";
    everywhere(policy, &Topology::usual(), |rig| {
        let there = udp(&at(A, 1000), &at(B, 53));
        // r1 and r3 are the two anchor rules; r2 and r4 are the same rule, and count as r2.
        rig.exchange(
            "sim0",
            &there,
            &[("sim1", there.hop())],
            "received passed searches 2 sim0.in4.pass sim1.out4.pass r0.evals 2 r1.evals 2 r3.evals 2
             r2.evals 2 r2.in r2.out r2.made 2 r1.in r3.out",
        );
    });
}

#[test]
fn a_reload_that_changes_an_anchor_leaves_states_and_counters_of_other_rules() {
    let policy = |inner: &str| format!("pass out\nanchor a {{\n pass in\n{inner}}}");
    everywhere(&policy(""), &Topology::usual(), |rig| {
        let there = udp(&at(A, 1000), &at(B, 53));
        rig.send("sim0", &there);
        rig.expect("sim1", &there.hop());
        rig.mark();
        rig.reload(&policy(" block in quick\n"));
        let back = there.answer();
        rig.exchange(
            "sim1",
            &back,
            &[("sim0", back.hop())],
            "received passed searches sim1.in4.pass sim0.out4.pass r0.in r1.out r2.out",
        );
        rig.send("sim0", &udp(&at(A, 1001), &at(B, 53)));
        rig.counted(
            "received searches sim0.in4.block drop:match r0.evals r1.evals r1.in r2.evals r3.evals r3.in",
        );
    });
}
