//! FreeBSD's rules for Ethernet frames, below the others.

use packets::{Rig, Spread, Topology, everywhere, udp};

use crate::{A, B, at, both};

/// Station of the host on the inside; those of the box and of the host on the outside.
const MAC_A: &str = "02:aa:00:00:00:01";
const MAC_BOX: &str = "02:51:4d:00:00:00";
const MAC_B: &str = "02:aa:00:00:00:02";

/// What becomes of a datagram from the inside, in both families, with one worker and with more.
fn judged(name: &str, rules: &str, passes: bool) {
    let rules = rules.replace("AAA", MAC_A).replace("BBB", MAC_B);
    let policy = format!("{}\npass\n", rules.replace("BOX", MAC_BOX));
    both(&policy, &Topology::usual(), |rig, f| {
        let there = udp(&at(f.a, 1000), &at(f.b, 53));
        rig.send("sim0", &there);
        match rig.take("sim1") {
            Some(frame) => assert!(passes && frame[14..] == there.hop().bytes(), "{name}"),
            None => assert!(
                !passes && rig.changes().get("drop:match") == Some(&1),
                "{name}"
            ),
        }
        rig.expect_nothing_more();
        rig.check_books();
    });
}

#[test]
fn frames_are_blocked_by_station_type_and_interface() {
    for (name, rules, passes) in [
        (
            "nothing matches",
            "ether block in from 02:aa:00:00:00:77",
            true,
        ),
        ("from", "ether block in from AAA", false),
        ("not from", "ether block in from ! AAA", true),
        (
            "from a list",
            "ether block in from { 02:aa:00:00:00:77 AAA }",
            false,
        ),
        (
            "from a prefix",
            "ether block in from 02:aa:00:00:00:00/40",
            false,
        ),
        (
            "masked",
            "ether block in from 02:00:00:00:00:01&ff:00:00:00:00:ff",
            false,
        ),
        ("to the box", "ether block in to BOX", false),
        ("to a host, out", "ether block out to BBB", false),
        ("to a host, in", "ether block in to BBB", true),
        ("from the box, in", "ether block in from BOX", true),
        ("on the interface", "ether block in on sim0", false),
        ("on another one", "ether block in on sim1", true),
        (
            "the last match wins",
            "ether block in\nether pass in from AAA",
            true,
        ),
        (
            "quick",
            "ether block in quick from AAA\nether pass in",
            false,
        ),
        (
            "match decides nothing",
            "ether block in\nether match in tag x",
            false,
        ),
        ("type", "ether block in proto { 0x0800 0x86dd }", false),
        ("another type", "ether block in proto arp", true),
        ("skip", "set skip on sim0\nether block in", true),
    ] {
        judged(name, rules, passes);
    }
}

#[test]
fn what_arp_may_not_say_nobody_hears() {
    for (rules, asks) in [
        ("ether block out proto arp", false),
        ("ether block out proto 0x1234", true),
    ] {
        let policy = format!("{rules}\npass");
        let mut rig = Rig::cold(&policy, &Topology::usual(), Spread::ONE);
        rig.send("sim0", &udp(&at(A, 1000), &at(B, 53)));
        assert_eq!(rig.take("sim1").is_some(), asks, "{rules}");
        rig.ignore_rest();
        rig.finish();
    }
}

#[test]
fn frames_are_blocked_by_the_addresses_of_their_packets() {
    for (name, rules, passes) in [
        (
            "from",
            "ether block in l3 from { 192.0.2.2 2001:db8:1::2 }",
            false,
        ),
        (
            "from another",
            "ether block in l3 from { 192.0.2.3 2001:db8:1::3 }",
            true,
        ),
        (
            "from a network",
            "ether block in l3 from { 192.0.2.0/24 2001:db8:1::/64 }",
            false,
        ),
        (
            "to",
            "ether block in l3 to { 198.51.100.2 2001:db8:2::2 }",
            false,
        ),
        (
            "to, out",
            "ether block out l3 to { 198.51.100.2 2001:db8:2::2 }",
            false,
        ),
        (
            "a table",
            "table <t> { 192.0.2.0/24 2001:db8:1::/64 }\nether block in l3 from <t>",
            false,
        ),
        (
            "with a station",
            "ether block in from BBB l3 from { 192.0.2.2 2001:db8:1::2 }",
            true,
        ),
    ] {
        judged(name, rules, passes);
    }
}

#[test]
fn rules_for_frames_stand_in_anchors() {
    for (name, rules, passes) in [
        (
            "entered",
            "ether anchor \"a\" in on sim0 {\n ether block from AAA\n}",
            false,
        ),
        (
            "not entered",
            "ether anchor \"a\" in on sim1 {\n ether block from AAA\n}",
            true,
        ),
        (
            "what comes behind",
            "ether anchor \"a\" {\n ether block in\n}\nether pass in",
            true,
        ),
        (
            "quick",
            "ether anchor \"a\" quick {\n ether block in\n}\nether pass in",
            false,
        ),
        (
            "in another",
            "ether anchor \"a\" {\n ether anchor \"b\" {\n ether block in from AAA\n}\n}",
            false,
        ),
        (
            "without a name",
            "ether anchor in {\n ether block\n}",
            false,
        ),
        (
            "called by wildcard",
            "ether anchor \"a/*\"\nanchor \"a\" {\nanchor \"b\" {\n ether block in\n}\n}",
            false,
        ),
    ] {
        judged(name, rules, passes);
    }
}

#[test]
fn a_tag_of_a_frame_is_seen_by_the_other_rules_and_by_those_for_frames_that_leave() {
    let tagged = "ether pass in from AAA tag KNOWN\nblock in\npass out\npass in tagged KNOWN";
    let other = "ether pass in from BBB tag KNOWN\nblock in\npass out\npass in tagged KNOWN";
    let leaves = "ether pass in tag KNOWN\nether block out\nether pass out tagged KNOWN";
    for (name, rules, passes) in [
        ("its tag", tagged, true),
        ("no tag", other, false),
        ("out", leaves, true),
    ] {
        // The last rule of `judged` passes everything: these decide before it.
        let rules = rules.replace("block in", "block in quick ! tagged KNOWN");
        judged(name, &rules, passes);
    }
}

#[test]
fn clients_are_let_in_one_by_one() {
    let policy = "ether block in on sim0\nether pass in on sim0 proto arp\n\
                  ether pass in on sim0 from 02:aa:00:00:00:01 l3 to 198.51.100.2\n\
                  ether pass in on sim0 l3 to 203.0.113.9\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let allowed = [(A, B), ("192.0.2.3", crate::FAR), (A, crate::FAR)];
        for (from, to) in allowed {
            let there = udp(&at(from, 1000), &at(to, 53));
            rig.send("sim0", &there);
            rig.expect("sim1", &there.hop());
        }
        rig.send("sim0", &udp(&at(A, 1000), &at("198.51.100.3", 53)));
        rig.expect_nothing_more();
    });
}

#[test]
fn rules_for_frames_count_what_they_decide() {
    let policy = "ether block in on sim0 from 02:aa:00:00:00:01\nether pass out\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        rig.send("sim0", &udp(&at(A, 1000), &at(B, 53)));
        rig.counted("received drop:match e0.evals e1.evals e0.in");
    });
}
