//! Timeouts: classes, presets, rules with their own, and lives that shrink as the table fills.

use packets::{Rig, Topology, tcp, udp};

use crate::{A, B, at, everywhere};

/// States left.
fn left(rig: &Rig) -> usize {
    rig.states().len()
}

/// So many UDP conversations, each with one state.
fn talk(rig: &mut Rig, count: u16) {
    for port in 0..count {
        rig.send("sim0", &udp(&at(A, 3000 + port), &at(B, 53)));
    }
    rig.ignore_rest();
    rig.mark();
}

/// The policy of these tests: states of the way in only.
fn policy(options: &str) -> String {
    format!("{options}\npass in on sim0\npass out on sim1 no state")
}

#[test]
fn optimization_sets_the_timeouts_of_tcp() {
    for (name, first_s) in [
        ("normal", 120),
        ("satellite", 180),
        ("high-latency", 180),
        ("conservative", 3600),
        ("aggressive", 30),
    ] {
        let policy = policy(&format!("set optimization {name}"));
        let mut rig = Rig::new(&policy, &Topology::usual());
        rig.send("sim0", &tcp(&at(A, 1000), &at(B, 80), "S"));
        rig.ignore_rest();
        rig.advance((first_s - 1) * 1000);
        assert_eq!(left(&rig), 1, "{name}");
        rig.advance(4000);
        assert_eq!(left(&rig), 0, "{name}");
        rig.mark();
    }
}

#[test]
fn lives_shrink_in_proportion_between_adaptive_start_and_end() {
    let policy =
        policy("set timeout { udp.first 100, adaptive.start 10, adaptive.end 30, interval 1 }");
    everywhere(&policy, &Topology::usual(), |rig| {
        // Half way: half a life, although the first were made when there was a whole one to have.
        talk(rig, 20);
        rig.advance(46_000);
        assert_eq!(left(rig), 20);
        rig.advance(8_000);
        assert!(left(rig) < 20, "{}", left(rig));
        // At the start again, the rest live on.
        assert!(left(rig) >= 10, "{}", left(rig));
        rig.advance(60_000);
        assert_eq!(left(rig), 0);
        rig.mark();
    });
}

#[test]
fn at_adaptive_end_all_states_expire_at_once() {
    let policy =
        policy("set timeout { udp.first 100, adaptive.start 5, adaptive.end 10, interval 1 }");
    everywhere(&policy, &Topology::usual(), |rig| {
        talk(rig, 9);
        assert_eq!(left(rig), 9);
        talk(rig, 20);
        rig.advance(3_000);
        assert!(left(rig) < 10, "{}", left(rig));
        rig.mark();
    });
}

#[test]
fn a_rule_may_scale_by_its_own_states() {
    let policy = "set timeout { udp.first 100, interval 1 }\n\
         pass in on sim0\n\
         pass in on sim0 proto udp to port 53 keep state (adaptive.start 4, adaptive.end 12)\n\
         pass out on sim1 no state";
    // Over all workers: each alone has too few of them to begin.
    everywhere(policy, &Topology::usual(), |rig| {
        talk(rig, 8);
        rig.send("sim0", &udp(&at(A, 3000), &at(B, 54)));
        rig.ignore_rest();
        rig.advance(46_000);
        assert_eq!(left(rig), 9);
        rig.advance(8_000);
        assert!((5..9).contains(&left(rig)), "{}", left(rig));
        rig.mark();
    });
}

/// Takes turns until there are no states; says how many were left after each.
fn emptied(rig: &mut Rig) -> Vec<usize> {
    let mut after = Vec::new();
    while left(rig) > 0 {
        assert!(after.len() < 1000, "{after:?}");
        rig.one_turn(0, 0);
        after.push(left(rig));
    }
    after
}

/// Packets wait for a turn to end: a table that empties itself, or is emptied, does so a little in each.
#[test]
fn a_turn_takes_no_more_states_out_than_its_share() {
    let policy = policy("set timeout udp.first 5");
    let mut rig = Rig::new(&policy, &Topology::usual());
    talk(&mut rig, 200);
    // Nothing is due.
    rig.one_turn(0, 1000);
    assert_eq!(left(&rig), 200);
    rig.one_turn(0, 30_000);
    assert_eq!(left(&rig), 184);
    let after = emptied(&mut rig);
    assert_eq!(after[..4], [168, 152, 136, 120]);
    assert_eq!(after.len(), 12);
    rig.mark();

    // For as many as were made since, up to a limit, which the next turns owe.
    talk(&mut rig, 200);
    rig.one_turn(0, 30_000);
    assert_eq!(left(&rig), 200 - 56);
    assert_eq!(emptied(&mut rig), [88, 32, 0]);
    rig.mark();

    talk(&mut rig, 200);
    rig.kill_later(filter::Kill::default());
    assert_eq!(emptied(&mut rig), [168, 136, 104, 72, 40, 8, 0]);
    rig.run();
    rig.mark();
}

/// While lives shrink the table is searched, too.
#[test]
fn a_search_for_shorter_lives_takes_no_more_states_out_than_its_share() {
    let with = |adaptive: &str| policy(&format!("set timeout {{ udp.first 100{adaptive} }}"));
    let mut rig = Rig::new(&with(""), &Topology::usual());
    talk(&mut rig, 200);
    rig.advance(50_000);
    assert_eq!(left(&rig), 200);
    // All of them have outlived what is left to them now.
    rig.reload(&with(", adaptive.start 10, adaptive.end 210, interval 1"));
    for _ in 0..3 {
        let before = left(&rig);
        rig.one_turn(0, 100);
        assert_eq!(before - left(&rig), 16);
    }
    rig.mark();
}
