//! State limiters and source limiters: rules share them by name, over all workers.

use packets::{Packet, Rig, Topology, everywhere, tcp};

use crate::{A, B, at};

fn syn(src: &str, port: u16) -> Packet {
    tcp(&at(src, port), &at(B, 80), "S").seq(1000)
}

fn passes(rig: &mut Rig, packet: &Packet) -> bool {
    rig.send("sim0", packet);
    rig.take("sim1").is_some()
}

#[test]
fn a_state_limiter_is_exact_over_its_rules_and_all_workers() {
    let policy = "state limiter web id 7 limit 4\nblock
                  pass in on sim0 proto tcp from 192.0.2.2 state limiter web
                  pass in on sim0 proto tcp from 192.0.2.3 state limiter web (block)\npass out on sim1";
    everywhere(policy, &Topology::usual(), |rig| {
        for port in 1..3 {
            assert!(passes(rig, &syn(A, port)) && passes(rig, &syn("192.0.2.3", port)));
        }
        rig.mark();
        for port in 10..20 {
            rig.exchange(
                "sim0",
                &syn(A, port),
                &[],
                "received drop:state-limit searches sim0.in4.block r0.evals r1.evals",
            );
        }
        let counts = rig.shared().limiters.of_state(7);
        assert_eq!(
            (counts.in_use, counts.admitted, counts.hard_limited),
            (4, 4, 10)
        );
        // The counts belong to the id: they survive a load.
        rig.reload(policy);
        assert!(!passes(rig, &syn(A, 30)));
        rig.kill(filter::Kill::default());
        assert_eq!(rig.shared().limiters.of_state(7).in_use, 0);
        assert!(passes(rig, &syn(A, 30)));
    });
}

/// freebsd: limiters state_rate
#[test]
fn a_state_limiter_of_one_in_five_seconds_refuses_and_then_allows_again() {
    let policy = "state limiter slow id 1 limit 100 rate 1/5\nblock
                  pass in on sim0 proto tcp state limiter slow (no-match)\npass out on sim1";
    everywhere(policy, &Topology::usual(), |rig| {
        assert!(passes(rig, &syn(A, 1)));
        rig.mark();
        // No match: the first rule blocks.
        rig.exchange(
            "sim0",
            &syn(A, 2),
            &[],
            "received drop:match searches sim0.in4.block r0.evals r1.evals r2.evals r0.in",
        );
        assert_eq!(rig.shared().limiters.of_state(1).rate_limited, 1);
        rig.advance(5_000);
        assert!(passes(rig, &syn(A, 2)) && !passes(rig, &syn(A, 3)));
    });
}

/// freebsd: limiters source_basic
#[test]
fn a_source_limiter_refuses_a_second_state_of_a_source_and_its_entry_can_be_killed() {
    let policy = "source limiter users id 3 entries 2 limit 1\nblock
                  pass in on sim0 proto tcp source limiter users\npass out on sim1";
    everywhere(policy, &Topology::usual(), |rig| {
        assert!(passes(rig, &syn(A, 1)));
        rig.mark();
        rig.exchange(
            "sim0",
            &syn(A, 2),
            &[],
            "received drop:src-limit searches sim0.in4.block r0.evals r1.evals",
        );
        assert!(passes(rig, &syn("192.0.2.3", 1)), "another source");
        assert!(!passes(rig, &syn("192.0.2.4", 1)), "there are two entries");
        let counts = rig.shared().limiters.of_source(3);
        assert_eq!(
            (counts.admitted, counts.hard_limited, counts.address_limited),
            (2, 1, 1)
        );
        assert_eq!(
            rig.shared()
                .sources
                .kill(|node| node.states > 0 && node.key.addr & 0xff == 2),
            1
        );
        assert!(passes(rig, &syn(A, 2)));
        assert_eq!(rig.shared().sources.of_limiter(3), 2);
    });
}

#[test]
fn sources_are_networks_where_the_limiter_says_so_and_many_states_put_them_into_its_table() {
    let policy = "table <busy>
                  source limiter nets id 4 entries 10 limit 5 inet mask 24 table <busy> above 3 below 2
                  pass in on sim0 proto tcp source limiter nets\npass out on sim1";
    everywhere(policy, &Topology::usual(), |rig| {
        assert!(passes(rig, &syn(A, 1)) && passes(rig, &syn("192.0.2.3", 1)));
        assert!(!rig.in_table("busy", A));
        assert!(passes(rig, &syn("192.0.2.4", 1)));
        assert!(rig.in_table("busy", A) && rig.in_table("busy", "192.0.2.200"));
        assert!(!rig.in_table("busy", "192.0.3.1"));
        let ids: Vec<u64> = rig
            .states()
            .iter()
            .filter(|st| st.direction == ruleset::Direction::In)
            .map(|st| st.id)
            .collect();
        let kill = |rig: &mut Rig, id| {
            rig.kill(filter::Kill {
                id: Some(id),
                ..Default::default()
            })
        };
        assert_eq!(kill(rig, ids[0]), 1);
        assert!(rig.in_table("busy", A), "two states are not below two");
        assert_eq!(kill(rig, ids[1]), 1);
        assert!(!rig.in_table("busy", A));
    });
}
