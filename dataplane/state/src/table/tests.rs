use super::*;
use crate::ticks::ticks;
use ruleset::{Af, Direction, Timeout};

fn key(n: u32) -> Key {
    Key::new(Direction::In, Af::Inet, 17, (u128::from(n), 1), (7, 53))
}

fn state(n: u32, now_ms: u64) -> State {
    State {
        wire: key(n),
        stack: key(n),
        last_seen: ticks(now_ms),
        timeout: Timeout::UdpFirst,
        ..State::default()
    }
}

fn table(capacity: usize) -> StateTable {
    StateTable::new(capacity, HashSeed(42), 0, 0)
}

#[test]
fn what_was_inserted_is_found_until_it_is_removed() {
    let mut t = table(1000);
    let idx: Vec<StateIdx> = (0..1000)
        .map(|n| t.insert(&state(n, 0), 60).unwrap())
        .collect();
    assert_eq!(t.insert(&state(5, 0), 60), Err(InsertError::Exists));
    assert_eq!(t.insert(&state(5000, 0), 60), Err(InsertError::Full));
    for n in 0..1000 {
        let h = t.hash(&key(n));
        assert_eq!(t.find(&key(n), h), Some(idx[n as usize]));
        assert_eq!(t.confirm(t.guess(h), &key(n), h), Some(idx[n as usize]));
    }
    for (n, idx) in idx.into_iter().enumerate() {
        assert_eq!(t.remove(idx).unwrap().wire, key(n as u32));
        assert!(t.remove(idx).is_none());
    }
    assert!(t.is_empty());
    assert!(t.insert(&state(5000, 0), 60).is_ok());
}

#[test]
fn a_removed_state_leaves_its_pair_unlinked() {
    let mut t = table(8);
    let (a, b) = (
        t.insert(&state(1, 0), 60).unwrap(),
        t.insert(&state(2, 0), 60).unwrap(),
    );
    t.link(a, b);
    assert_eq!(t.get(a).unwrap().pair, b);
    t.remove(a);
    assert_eq!(t.get(b).unwrap().pair, StateIdx::NONE);
}

#[test]
fn a_translated_state_is_found_by_either_key_and_only_its_way() {
    let mut t = table(8);
    let (wire, stack) = (key(1), key(2));
    let translated = State {
        wire,
        stack,
        ..state(1, 0)
    };
    let idx = t.insert(&translated, 60).unwrap();
    assert_eq!(t.find_way(Direction::In, &wire), Some(idx));
    assert_eq!(t.find_way(Direction::Out, &stack), Some(idx));
    assert_eq!(t.find_way(Direction::In, &stack), None);
    assert_eq!(t.find_way(Direction::Out, &wire), None);
    // Either key alone stands in the way of a state that wants it for the same packets.
    assert_eq!(t.insert(&state(1, 0), 60), Err(InsertError::Exists));
    assert_eq!(t.insert(&state(2, 0), 60), Err(InsertError::Exists));
    let crossed = State {
        wire: stack,
        stack: wire,
        ..translated
    };
    let crossed = t.insert(&crossed, 60).unwrap();
    t.remove(idx);
    t.remove(crossed);
    assert!(t.is_empty() && t.insert(&state(1, 0), 60).is_ok());
}

#[test]
fn the_ends_of_a_state_are_known_on_both_sides_and_from_both() {
    let mut t = table(8);
    let translated = State {
        wire: key(1),
        stack: key(2),
        ..state(1, 0)
    };
    let idx = t.insert(&translated, 60).unwrap();
    for known in [key(1), key(2)] {
        assert!(t.has_ends(&known) && t.has_ends(&known.mirrored()));
    }
    assert!(!t.has_ends(&key(3)));
    t.remove(idx);
    assert!(!t.has_ends(&key(1)));
}

#[test]
fn a_departed_state_keeps_its_place_until_others_have_heard() {
    let mut t = table(2);
    for n in 0..2 {
        let known = State {
            flags: StateFlags::KNOWN_ELSEWHERE,
            ..state(n, 0)
        };
        let idx = t.insert(&known, 60).unwrap();
        t.remove(idx);
    }
    assert_eq!(t.insert(&state(5, 0), 60), Err(InsertError::Full));
    assert_eq!(t.departed().map(|st| st.wire), Some(key(1)));
    t.forget_departed();
    assert!(t.insert(&state(5, 0), 60).is_ok());
    t.forget_departed();
    assert!(t.departed().is_none());
}

#[test]
fn what_a_state_counts_on_goes_with_it_and_not_to_the_next() {
    let mut t = table(8);
    let idx = t.insert(&state(1, 0), 60).unwrap();
    let hold = Hold {
        nodes: [1, 2, 3, 4, 5],
        flags: HoldFlags::CONNECTED,
        state_limiter: 255,
        mapping: 77,
    };
    t.set_hold(idx, &hold);
    assert_eq!(t.hold(idx), hold);
    assert_eq!(t.remove(idx).unwrap().hold, hold);
    let next = t.insert(&state(2, 0), 60).unwrap();
    assert_eq!((next, t.hold(next)), (idx, Hold::default()));
}

/// What `sizing` of the program relies on. Tables of a power of two take more, where it is only just not the one below.
#[test]
fn a_state_takes_no_more_than_the_program_counts_for_it() {
    const STATE_BYTES: usize = 456;
    let table = |states: usize| StateTable::bytes(states);
    let bytes = table(10_000_000);
    assert!(bytes <= 10_000_000 * STATE_BYTES, "{bytes}");
    assert!(bytes > 10_000_000 * size_of::<State>());
    // Two workers, each with room for a quarter more than its share.
    let of_two = 2 * table(6_250_000);
    assert!(of_two <= 12_500_000 * STATE_BYTES, "{of_two}");
}

fn run_until(t: &mut StateTable, from_ms: u64, to_ms: u64, timeout_s: u32) -> Vec<(u64, Key)> {
    let mut gone = Vec::new();
    for now in (from_ms..=to_ms).step_by(250) {
        t.sweep(now, 1000, |_| timeout_s, |st| gone.push((now, st.wire)));
    }
    gone
}

#[test]
fn a_state_expires_within_two_seconds_after_its_timeout_and_never_before() {
    for timeout in [0, 1, 10, 255, 256, 257, 900, 86_400] {
        let mut t = table(8);
        t.insert(&state(1, 0), timeout).unwrap();
        let end = u64::from(timeout) * 1000 + 3000;
        let gone = run_until(&mut t, 0, end, timeout);
        assert_eq!(gone.len(), 1, "timeout {timeout}");
        let late = gone[0].0 - u64::from(timeout) * 1000;
        assert!(late <= 2000, "timeout {timeout}: {late} ms late");
    }
}

#[test]
fn traffic_keeps_a_state_alive_without_touching_the_wheel() {
    let mut t = table(8);
    let idx = t.insert(&state(1, 0), 10).unwrap();
    for now in (0..60_000).step_by(500) {
        t.get_mut(idx).unwrap().last_seen = ticks(now);
        t.sweep(now, 10, |_| 10, |_| panic!("purged at {now}"));
    }
    let gone = run_until(&mut t, 60_000, 80_000, 10);
    assert_eq!(gone.len(), 1);
    assert!((69_500..=71_500).contains(&gone[0].0), "{}", gone[0].0);
}

#[test]
fn a_shorter_timeout_takes_effect_when_requeued() {
    let mut t = table(8);
    let idx = t.insert(&state(1, 0), 86_400).unwrap();
    t.requeue(idx, 5);
    assert_eq!(run_until(&mut t, 0, 8000, 5).len(), 1);
}

#[test]
fn places_for_timestamps_are_given_back_with_their_states() {
    let mut t = table(16);
    for n in 0..100 {
        let idx = t.insert(&state(n, 0), 60).unwrap();
        assert!(t.follow_stamps(idx), "{n}");
        assert!(!t.follow_stamps(idx), "{n}");
        assert!(t.get_with_stamps(idx).is_some());
        t.remove(idx);
        assert!(t.get_with_stamps(idx).is_none());
    }
    // One state in eight, and no more.
    let all: Vec<_> = (0..3)
        .map(|n| t.insert(&state(n, 0), 60).unwrap())
        .collect();
    assert_eq!(
        all.iter().map(|i| t.follow_stamps(*i)).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert!(t.get_with_stamps(all[2]).is_none());
}

#[test]
fn a_scan_finds_what_expires_sooner_than_it_was_hung_up_for() {
    let mut t = table(10);
    for n in 0..10 {
        t.insert(&state(n, 0), 86_400).unwrap();
    }
    let mut gone = 0;
    assert_eq!(t.scan(4_999, 10, 10, |_| 5, |_| gone += 1), 10);
    assert_eq!(gone, 0);
    // Three at a time, round and round.
    for expect in [3, 6, 9, 10, 10] {
        assert_eq!(t.scan(5_000, 3, 10, |_| 5, |_| gone += 1), 3);
        assert_eq!(gone, expect);
    }
    assert!(t.is_empty());
}

#[test]
fn a_scan_ends_when_it_has_purged_enough_and_goes_on_there() {
    let mut t = table(10);
    for n in 0..10 {
        t.insert(&state(n, 0), 86_400).unwrap();
    }
    let mut gone = Vec::new();
    for expect in [4, 8, 10, 10] {
        t.scan(5_000, 10, 4, |_| 5, |st| gone.push(st.id));
        assert_eq!(gone.len(), expect);
    }
    assert_eq!(t.scan(5_000, 10, 0, |_| 5, |_| panic!("none left")), 0);
    gone.sort_unstable();
    gone.dedup();
    assert_eq!(gone.len(), 10, "each once");
}

#[test]
fn a_table_of_translated_connections_takes_as_many_as_it_has_places_for() {
    // As many as the index holds when it is as full as it gets.
    let capacity = 3 << 15;
    let mut t = table(capacity);
    for n in 0..capacity as u32 {
        let stack = if n.is_multiple_of(2) { n } else { n | 1 << 31 };
        let st = State {
            stack: key(stack),
            ..state(n, 0)
        };
        assert!(t.insert(&st, 60).is_ok(), "{n} of {capacity}");
    }
    assert_eq!(t.insert(&state(1 << 30, 0), 60), Err(InsertError::Full));
}

/// The order in memory, and what happens to states that are found and not looked at yet.
#[test]
fn a_state_found_to_be_due_may_go_or_live_on_before_it_is_looked_at() {
    let mut t = table(64);
    let idx: Vec<StateIdx> = (0..64)
        .map(|n| t.insert(&state(n, 0), 5).unwrap())
        .collect();
    // Half of them are looked at, and others are found meanwhile.
    let mut gone = 0;
    t.sweep(7_000, 32, |_| 5, |_| gone += 1);
    let left: Vec<StateIdx> = idx.into_iter().filter(|i| t.get(*i).is_some()).collect();
    assert_eq!((gone, left.len()), (32, 32));
    // Of the rest some go, some of whose places are taken at once, and some get more time.
    for (n, idx) in left.iter().enumerate() {
        match n % 4 {
            0 => drop(t.remove(*idx)),
            1 => {
                t.remove(*idx);
                t.insert(&state(1000 + n as u32, 7_000), 60).unwrap();
            }
            2 => {
                t.get_mut(*idx).unwrap().last_seen = ticks(7_000);
                t.requeue(*idx, 60);
            }
            _ => {}
        }
    }
    let mut gone = 0;
    let timeout = |st: &State| if st.last_seen > 0 { 60 } else { 5 };
    while t.has_due(8_000) {
        t.sweep(8_000, 16, timeout, |st| {
            assert_eq!(st.last_seen, 0);
            gone += 1;
        });
    }
    assert_eq!((gone, t.len()), (8, 16));
    assert_eq!(run_until(&mut t, 8_000, 80_000, 60).len(), 16);
    assert!(t.is_empty());
}

/// Two states of a connection each, all of them looked at once.
#[test]
fn a_sweep_in_chunks_looks_at_each_state_once() {
    let mut t = table(100);
    let idx: Vec<StateIdx> = (0..100)
        .map(|n| t.insert(&state(n, 0), 5).unwrap())
        .collect();
    for pair in idx.chunks(2) {
        t.link(pair[0], pair[1]);
    }
    let seen = core::cell::RefCell::new(Vec::new());
    let timeout = |st: &State| {
        seen.borrow_mut().push(st.id);
        if st.id.is_multiple_of(3) { 50 } else { 5 }
    };
    let mut gone = 0;
    // Before, at, and after the size of a chunk.
    for budget in [1, 15, 16, 17, 40, 100] {
        let looked_at = t.sweep(7_000, budget, timeout, |_| gone += 1);
        assert!(looked_at <= budget);
    }
    assert!(!t.has_due(7_000));
    let mut seen = seen.into_inner();
    assert_eq!(seen.len(), 100);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), gone, t.len()), (100, 67, 33));
    assert_eq!(run_until(&mut t, 7_000, 60_000, 50).len(), 33);
}

#[test]
fn a_sweep_keeps_its_budget_and_loses_nothing() {
    let mut t = table(10_000);
    for n in 0..10_000 {
        t.insert(&state(n, 0), 300).unwrap();
    }
    let mut purged = 0;
    let mut now = 0;
    while !t.is_empty() {
        now += 100;
        let mut in_this_turn = 0;
        let looked_at = t.sweep(now, 64, |_| 300, |_| in_this_turn += 1);
        assert!(looked_at <= 64 && in_this_turn <= 64);
        purged += in_this_turn;
        assert!(now < 400_000, "{} left", t.len());
    }
    assert_eq!(purged, 10_000);
}

#[test]
fn random_operations_agree_with_a_map() {
    let mut seed = 0xfeed_beef_1234_5678u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut t = table(500);
    let mut model = std::collections::HashMap::new();
    let mut now = 0;
    for step in 0..100_000u32 {
        let n = (next() % 800) as u32;
        match next() % 4 {
            0 | 1 => match t.insert(&state(n, now), (next() % 400) as u32) {
                Ok(idx) => assert!(model.insert(n, idx).is_none(), "step {step}"),
                Err(InsertError::Exists) => assert!(model.contains_key(&n)),
                Err(e) => assert_eq!((e, model.len()), (InsertError::Full, 500)),
            },
            2 => {
                let idx = t.find(&key(n), t.hash(&key(n)));
                assert_eq!(idx, model.remove(&n), "step {step}");
                if let Some(idx) = idx {
                    t.remove(idx);
                }
            }
            _ => {
                now += next() % 500;
                t.sweep(
                    now,
                    8,
                    |_| 100,
                    |st| {
                        model.remove(&(st.wire.end(0).0 as u32));
                    },
                );
            }
        }
        assert_eq!(t.len(), model.len(), "step {step}");
    }
}
