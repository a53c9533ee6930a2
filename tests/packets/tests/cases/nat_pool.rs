//! Pools: which address a connection gets.

use std::collections::BTreeMap;

use packets::{Rig, Spread, Topology, everywhere, udp};

use crate::nat_to::given;
use crate::{A, B, at};

fn host_of(end: &str) -> String {
    end.rsplit_once(':').expect("a port").0.to_string()
}

/// Addresses that `count` connections get.
fn chosen(rig: &mut Rig, from: &str, count: u16) -> Vec<String> {
    let one = |port: u16| {
        let inside = at(from, port);
        let there = udp(&inside, &at(B, 53));
        rig.send("sim0", &there);
        let outside = given(rig, &inside);
        rig.expect("sim1", &there.hop().sent_from(&outside));
        host_of(&outside)
    };
    (1000..1000 + count).map(one).collect()
}

fn counts(all: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for one in all {
        *counts.entry(one.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn round_robin_takes_turns_over_all_workers() {
    let policy = "match out on sim1 inet nat-to { 203.0.113.1, 203.0.113.2, 203.0.113.3 }\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let all = chosen(rig, A, 9);
        let expect = [1, 2, 3, 1, 2, 3, 1, 2, 3].map(|n| format!("203.0.113.{n}"));
        assert_eq!(all, expect);
    });
}

#[test]
fn weights_are_kept() {
    let policy =
        "match out on sim1 inet nat-to { 203.0.113.1 weight 30, 203.0.113.2 weight 10 }\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let all = chosen(rig, A, 16);
        assert_eq!(counts(&all)["203.0.113.1"], 12);
        assert_eq!(counts(&all)["203.0.113.2"], 4);
    });
}

#[test]
fn random_uses_every_address_of_the_block() {
    let policy = "match out on sim1 inet nat-to 203.0.113.0/30 random\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        assert_eq!(counts(&chosen(rig, A, 100)).len(), 4);
    });
}

#[test]
fn a_source_hash_gives_a_sender_the_same_address_whichever_worker_asks() {
    let policy = "match out on sim1 inet nat-to 203.0.113.0/24 source-hash secret\npass";
    let all = std::cell::RefCell::new(Vec::new());
    everywhere(policy, &Topology::usual(), |rig| {
        all.borrow_mut().extend(chosen(rig, A, 10));
    });
    assert_eq!(counts(&all.borrow()).len(), 1);
}

#[test]
fn least_states_fills_up_evenly() {
    let policy = "table <outer> { 203.0.113.1, 203.0.113.2, 203.0.113.3 }\n\
                  match out on sim1 inet nat-to <outer> least-states\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let all = chosen(rig, A, 12);
        assert!(counts(&all).values().all(|n| *n == 4), "{all:?}");
    });
}

/// fbsd:nat.sh empty_table_source_hash, empty_table_random
#[test]
fn empty_table_source_hash() {
    empty_table("source-hash");
}

/// fbsd:nat.sh empty_table_random
#[test]
fn empty_table_random() {
    empty_table("random");
}

fn empty_table(kind: &str) {
    let policy = format!("table <none>\nmatch out on sim1 inet nat-to <none> {kind}\npass");
    everywhere(&policy, &Topology::usual(), |rig| {
        rig.mark();
        rig.send("sim0", &udp(&at(A, 1), &at(B, 53)));
        rig.expect_nothing_more();
        assert_eq!(rig.changes().get("drop:translate"), Some(&1));
    });
}

#[test]
fn another_address_is_tried_when_the_ports_of_one_are_taken() {
    let policy = "match out on sim1 inet proto udp nat-to { 203.0.113.1, 203.0.113.2 } port 50001:50002\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        let all = chosen(rig, A, 4);
        assert_eq!(counts(&all).len(), 2);
        rig.mark();
        rig.send("sim0", &udp(&at(A, 1), &at(B, 53)));
        rig.expect_nothing_more();
        assert_eq!(rig.changes().get("drop:translate"), Some(&1));
    });
}

/// The address that a connection from `host` gets.
fn stuck(rig: &mut Rig, host: &str, port: u16) -> String {
    let from = at(host, port);
    rig.send("sim0", &udp(&from, &at(B, 53)));
    rig.ignore_rest();
    host_of(&given(rig, &from))
}

#[test]
fn a_sticky_source_keeps_its_address_as_long_as_it_has_states() {
    let policy = "set timeout udp.first 20\nset timeout src.track 10\n\
        match out on sim1 inet nat-to { 203.0.113.16, 203.0.113.17, 203.0.113.18 } round-robin sticky-address\npass";
    for spread in Spread::ALL {
        let mut rig = Rig::with(policy, &Topology::usual(), spread);
        let first = stuck(&mut rig, A, 1000);
        for port in 1001..1012 {
            assert_eq!(stuck(&mut rig, A, port), first, "another connection");
        }
        let other = stuck(&mut rig, "192.0.2.77", 1000);
        assert_ne!(other, first, "another source takes the next address");
        // Its states are gone, but not yet what is remembered of it.
        rig.advance(25_000);
        assert_eq!(stuck(&mut rig, A, 2000), first);
        rig.advance(60_000);
        let later = stuck(&mut rig, A, 3000);
        assert_ne!(later, first, "forgotten: the round goes on");
        rig.ignore_rest();
    }
}

#[test]
fn bits_of_a_network_that_are_the_host_s_count_for_nothing() {
    for policy in [
        "match out on sim1 inet nat-to 203.0.113.9/29 bitmask\npass",
        "nat on sim1 inet from any to any -> 203.0.113.9/29 bitmask\npass",
    ] {
        everywhere(policy, &Topology::usual(), |rig| {
            for (from, to) in [(A, "203.0.113.10"), ("192.0.2.7", "203.0.113.15")] {
                assert_eq!(chosen(rig, from, 2), [to, to], "{policy}");
            }
        });
    }
}

#[test]
fn a_pool_of_an_anchor_s_own_table_is_that_table() {
    let policy = "table <t> { 203.0.113.1 }\npass\nanchor a {\n table <t> { 203.0.113.9 }\n\
                  match out on sim1 inet nat-to <t> round-robin\n}\npass";
    everywhere(policy, &Topology::usual(), |rig| {
        assert_eq!(chosen(rig, A, 2), ["203.0.113.9", "203.0.113.9"]);
    });
}
