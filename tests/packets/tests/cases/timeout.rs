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
