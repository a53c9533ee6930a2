//! Source nodes, alone: limits, lifetimes, rates; and random operations against a map.

use ruleset::Af;

use super::*;

const S: u64 = 1_000_000;

fn key(slot: u32, addr: u128) -> NodeKey {
    NodeKey {
        slot: RuleSlot(slot),
        kind: NodeKind::Track,
        af: Af::Inet,
        addr,
    }
}

fn sources() -> SourceNodes {
    SourceNodes::new(1000, 4, 2, 42)
}

fn bounds(nodes: u32, states: u32) -> Bounds {
    Bounds {
        nodes,
        states,
        rate: None,
        total: 1000,
    }
}

fn gone(keep_s: u32, now_s: u32) -> Gone {
    Gone {
        keep_s,
        now_s,
        ..Gone::default()
    }
}

#[test]
fn a_copy_counts_on_from_there_and_the_original_does_not() {
    let (s, b) = (sources(), bounds(0, 2));
    let first = s.take(&key(1, 7), &b, None, 0).unwrap();
    assert_eq!(s.find(&key(1, 7)), Some(first.node));
    let copy = s.copied();
    assert_eq!((copy.len(), copy.of_rule(RuleSlot(1))), (1, 1));
    assert_eq!(copy.take(&key(1, 7), &b, None, 0).unwrap().states, 2);
    assert_eq!(copy.take(&key(1, 7), &b, None, 0), Err(Refusal::States));
    assert_eq!(s.may_take(&key(1, 7), &b, 0), Ok(()));
}

#[test]
fn a_source_has_as_many_states_as_it_may_and_its_node_goes_with_the_last() {
    let s = sources();
    let b = bounds(0, 2);
    let first = s.take(&key(1, 7), &b, None, 0).unwrap();
    assert!(first.new);
    assert_eq!(s.take(&key(1, 7), &b, None, 0).unwrap().node, first.node);
    assert_eq!(s.take(&key(1, 7), &b, None, 0), Err(Refusal::States));
    assert_eq!(s.may_take(&key(1, 7), &b, 0), Err(Refusal::States));
    assert!(s.take(&key(2, 7), &b, None, 0).unwrap().new, "another rule");
    assert_eq!((s.len(), s.of_rule(RuleSlot(1))), (2, 1));
    s.release(first.node, &gone(0, 1));
    assert_eq!(s.len(), 2);
    assert_eq!(s.release(first.node, &gone(0, 1)).1, 0);
    assert_eq!((s.len(), s.of_rule(RuleSlot(1))), (1, 0));
}

#[test]
fn a_refused_state_leaves_no_node_behind() {
    let s = sources();
    let taken = s.take(&key(1, 7), &bounds(1, 0), None, 0).unwrap();
    assert_eq!(
        s.take(&key(1, 8), &bounds(1, 0), None, 0),
        Err(Refusal::Nodes)
    );
    s.give_back(taken.node);
    assert!(s.is_empty());
    assert!(s.take(&key(1, 8), &bounds(1, 0), None, 0).is_ok());
    let none_left = Bounds {
        total: 1,
        ..bounds(0, 0)
    };
    assert_eq!(s.take(&key(2, 9), &none_left, None, 0), Err(Refusal::Total));
    assert_eq!(s.of_rule(RuleSlot(2)), 0);
}

/// More turns at a second than all places take; says how many nodes went in each.
fn round(s: &SourceNodes, now_s: u64) -> Vec<u64> {
    // The time of a round has gone by before.
    let mut round = Round::new(now_s * 1000 - 1000);
    let mut gone = Vec::new();
    while gone.len() < s.places() {
        let before = s.len();
        round.go_on(s, now_s * 1000);
        gone.push(before - s.len());
    }
    gone
}

#[test]
fn however_many_nodes_go_at_once_few_go_in_a_turn() {
    let s = sources();
    let b = bounds(0, 0);
    for n in 0..900 {
        let taken = s.take(&key(1, n), &b, None, 0).unwrap();
        s.release(taken.node, &gone(10, 5));
    }
    assert_eq!(round(&s, 14).iter().sum::<u64>(), 0);
    let gone = round(&s, 15);
    assert!(s.is_empty() && gone.iter().all(|gone| *gone <= 8));
    // Eight in each turn, but for those in which there were fewer among the places looked at.
    let turns = gone.iter().rposition(|gone| *gone > 0).unwrap();
    assert!((900 / 8..900 / 8 + 20).contains(&turns), "{turns}");
}

#[test]
fn a_kept_node_remembers_until_its_time_is_over() {
    let s = sources();
    let to = Redirect {
        af: Af::Inet,
        addr: 99,
        port: 0,
    };
    let b = bounds(0, 0);
    let taken = s.take(&key(1, 7), &b, Some(to), 0).unwrap();
    s.release(taken.node, &gone(10, 5));
    assert_eq!(s.redirect(&key(1, 7), 14), Some(to));
    // Over its time, though nobody has swept.
    assert_eq!(s.redirect(&key(1, 7), 15), None);
    assert!(!s.take(&key(1, 7), &b, None, 14 * S).unwrap().new);
    s.release(taken.node, &gone(10, 20));
    round(&s, 29);
    assert_eq!(s.len(), 1);
    // Its time is over but nobody has swept yet.
    let again = s.take(&key(1, 7), &b, None, 30 * S).unwrap();
    assert!(again.new);
    s.release(again.node, &gone(10, 31));
    round(&s, 41);
    assert!(s.is_empty() && s.list().is_empty());
}

#[test]
fn packets_of_all_cores_count_and_a_node_made_anew_begins_at_none() {
    let s = sources();
    let b = bounds(0, 0);
    let first = s.take(&key(1, 7), &b, None, 0).unwrap().node;
    s.count(first, 0, Direction::In, 100);
    s.count(first, 1, Direction::In, 20);
    s.count(first, 1, Direction::Out, 3);
    s.count(first, 2, Direction::Out, 4000);
    let counted = |s: &SourceNodes| (s.list()[0].packets, s.list()[0].bytes);
    assert_eq!(counted(&s), ([2, 1], [120, 3]), "there is no third core");
    s.release(first, &gone(0, 0));
    let again = s.take(&key(1, 7), &b, None, 0).unwrap().node;
    assert_eq!((again, counted(&s)), (first, ([0, 0], [0, 0])));
}

#[test]
fn a_killed_source_begins_anew_while_its_states_live_on() {
    let s = sources();
    let b = bounds(0, 1);
    let old = s.take(&key(1, 7), &b, None, 0).unwrap();
    assert_eq!(s.kill(|v| v.key.addr == 7), 1);
    assert_eq!(s.kill(|_| true), 0);
    assert_eq!((s.len(), s.of_rule(RuleSlot(1))), (0, 0));
    let new = s.take(&key(1, 7), &b, None, 0).unwrap();
    assert!(new.new && new.node != old.node);
    s.release(old.node, &gone(0, 0));
    assert_eq!(s.len(), 1);
    s.release(new.node, &gone(0, 0));
    assert!(s.is_empty());
}

#[test]
fn connections_are_counted_apart_and_by_rate() {
    let s = sources();
    let taken = s.take(&key(1, 7), &bounds(0, 0), None, 0).unwrap();
    let rates: Vec<bool> = (0..3)
        .map(|_| s.connect(taken.node, 5, 100).rate.exceeds(2))
        .collect();
    assert_eq!(rates, [false, false, true]);
    assert_eq!(s.connect(taken.node, 5, 200).conns, 4);
    s.release(
        taken.node,
        &Gone {
            connected: true,
            keep_s: 9,
            ..Gone::default()
        },
    );
    assert_eq!(s.list()[0].conns, 3);
}

#[test]
fn a_bucket_gives_its_fill_at_once_and_then_one_by_one() {
    let rate = TokenRate {
        limit: 2,
        seconds: 10,
    };
    let mut bucket = Bucket::default();
    let mut at = |s: u64| bucket.take(rate, s * S);
    assert_eq!(
        [at(1), at(1), at(1), at(5), at(6), at(6)],
        [true, true, false, false, true, false]
    );
    assert_eq!(
        [at(100), at(100), at(100)],
        [true, true, false],
        "never more than full"
    );
    assert!(Bucket::default().has(rate, 0));
}

#[test]
fn random_operations_agree_with_a_map() {
    let mut seed = 0x5eed_4444_1234_5678u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let s = sources();
    let mut states: Vec<(NodeKey, NodeRef)> = Vec::new();
    let b = bounds(20, 3);
    for step in 0..50_000 {
        let k = key(1 + (next() % 3) as u32, u128::from(next() % 30));
        let of = |states: &[(NodeKey, NodeRef)], k: &NodeKey| {
            states.iter().filter(|(known, _)| known == k).count()
        };
        if next() % 2 == 0 {
            let nodes: std::collections::HashSet<u128> = states
                .iter()
                .filter(|(known, _)| known.slot == k.slot)
                .map(|(known, _)| known.addr)
                .collect();
            let expected = match of(&states, &k) {
                0 if nodes.len() == 20 => Err(Refusal::Nodes),
                3 => Err(Refusal::States),
                _ => Ok(()),
            };
            let taken = s.take(&k, &b, None, 0);
            assert_eq!(taken.map(|_| ()), expected, "step {step}");
            if let Ok(taken) = taken {
                states.push((k, taken.node));
            }
        } else if !states.is_empty() {
            let (k, node) = states.swap_remove(next() as usize % states.len());
            let left = of(&states, &k) as u32;
            assert_eq!(s.release(node, &gone(0, 0)), (k, left), "step {step}");
        }
    }
}

#[test]
fn limits_are_exact_over_threads() {
    let s = alloc::sync::Arc::new(sources());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let s = s.clone();
            std::thread::spawn(move || {
                (0..5000)
                    .filter(|_| s.take(&key(1, 7), &bounds(0, 777), None, 0).is_ok())
                    .count()
            })
        })
        .collect();
    let made: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert_eq!((made, s.len()), (777, 1));
}
