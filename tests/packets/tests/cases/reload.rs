//! A new configuration under traffic: states stay and are not judged again; what is new is judged by the new rules.

use packets::{Packet, Rig, Spread, Topology, everywhere, tcp, udp};

use crate::{A, B, at, both};

fn usual() -> Topology {
    Topology::usual()
}

#[test]
fn states_survive_rules_that_would_not_make_them_again() {
    both("pass", &usual(), |rig, f| {
        let old = udp(&at(f.a, 1000), &at(f.b, 53));
        rig.send("sim0", &old);
        rig.expect("sim1", &old.hop());
        rig.reload("block");
        rig.mark();
        // The state goes on counting on the rule that made it, which is gone.
        for _ in 0..2 {
            rig.exchange(
                "sim0",
                &old,
                &[("sim1", old.hop())],
                &f.counted(
                    "received passed searches sim0.in#.pass sim1.out#.pass slot1.in slot1.out",
                ),
            );
            let back = old.answer();
            rig.exchange(
                "sim1",
                &back,
                &[("sim0", back.hop())],
                &f.counted(
                    "received passed searches sim1.in#.pass sim0.out#.pass slot1.in slot1.out",
                ),
            );
        }
        let new = udp(&at(f.a, 1001), &at(f.b, 53));
        rig.exchange(
            "sim0",
            &new,
            &[],
            &f.counted("received drop:match searches sim0.in#.block r0.evals r0.in"),
        );
    });
}

#[test]
fn counters_of_equal_rules_survive_wherever_they_move() {
    everywhere("pass proto udp\nblock proto tcp", &usual(), |rig| {
        let packet = udp(&at(A, 1), &at(B, 1));
        rig.send("sim0", &packet);
        rig.expect("sim1", &packet.hop());
        let before = rig.tally().get("r0.in");
        rig.reload("block proto tcp\nblock proto icmp\npass proto udp");
        assert_eq!(rig.tally().get("r2.in"), before);
        rig.mark();
        rig.exchange(
            "sim0",
            &packet,
            &[("sim1", packet.hop())],
            "received passed searches sim0.in4.pass sim1.out4.pass r2.in r2.out",
        );
    });
}

/// One of many TCP connections that move data.
struct Flow {
    there: Packet,
    back: Packet,
    sent: [u32; 2],
}

impl Flow {
    fn open(rig: &mut Rig, port: u16) -> Flow {
        let (a, b) = (at(A, port), at(B, 80));
        let mut flow = Flow {
            there: tcp(&a, &b, "A").seq(1000).ack(5000),
            back: tcp(&b, &a, "A").seq(5000).ack(1000),
            sent: [1001, 5001],
        };
        let syn = tcp(&a, &b, "S").seq(1000);
        let syn_ack = tcp(&b, &a, "SA").seq(5000).ack(1001);
        for (port, packet) in [("sim0", syn), ("sim1", syn_ack)] {
            rig.send(port, &packet);
            rig.ignore_rest();
        }
        flow.exchange(rig);
        flow
    }

    /// Data one way and the other.
    fn exchange(&mut self, rig: &mut Rig) {
        const DATA: u32 = 100;
        let [a, b] = self.sent;
        let there = self.there.clone().seq(a).ack(b).data(DATA as usize);
        rig.send("sim0", &there);
        rig.expect("sim1", &there.hop());
        let back = self.back.clone().seq(b).ack(a + DATA).data(DATA as usize);
        rig.send("sim1", &back);
        rig.expect("sim0", &back.hop());
        self.sent = [a + DATA, b + DATA];
    }
}

#[test]
fn a_hundred_reloads_break_no_connection_and_judge_none_again() {
    // Every other policy would refuse all of them.
    let policies = [
        "pass",
        "block return",
        "set skip on sim2\nblock in\npass out on sim1",
    ];
    let topology = usual().interface("sim2", &["10.9.0.1/24"]);
    everywhere("pass", &topology, |rig| {
        let mut flows: Vec<Flow> = (0..40).map(|n| Flow::open(rig, 2000 + n)).collect();
        let ids = |rig: &Rig| {
            let mut ids: Vec<u64> = rig.states().iter().map(|st| st.id).collect();
            ids.sort_unstable();
            ids
        };
        let before = ids(rig);
        assert_eq!(before.len(), 80);
        for round in 0..100 {
            // Adopted between two packets of a flow, not at a quiet moment.
            rig.publish_policy(policies[(round + 1) % policies.len()]);
            let count = flows.len();
            for n in 0..8 {
                flows[(round * 8 + n) % count].exchange(rig);
            }
        }
        assert_eq!(ids(rig), before, "the same states, none new");
        let evaluated = rig.changes();
        let evals = |name: &&String| name.ends_with(".evals");
        let total: i64 = evaluated
            .keys()
            .filter(evals)
            .map(|name| evaluated[name])
            .sum();
        assert_eq!(total, 80, "one evaluation per state that was ever made");
    });
}

#[test]
fn of_two_generations_published_at_once_the_last_one_counts() {
    everywhere("pass", &usual(), |rig| {
        rig.publish_policy("pass");
        rig.publish_policy("block");
        rig.mark();
        rig.exchange(
            "sim0",
            &udp(&at(A, 1), &at(B, 1)),
            &[],
            "received drop:match searches sim0.in4.block r0.evals r0.in",
        );
    });
}

#[test]
fn a_packet_on_its_way_between_workers_meets_the_policy_of_the_one_that_decides() {
    let spread = Spread {
        workers: 2,
        rss: false,
        order: 0,
    };
    let mut rig = Rig::with("pass", &usual(), spread);
    for port in 0..16 {
        rig.reload("pass no state");
        rig.arrive("sim0", &udp(&at(A, port), &at(B, 9)));
        rig.turn_only(0);
        let handed = rig.changes().get("handed").copied();
        rig.publish_policy("block");
        rig.run();
        // Decided by worker 0 before, or by worker 1 after: one of both, and the books balance.
        let passed = rig.take("sim1").is_some();
        rig.expect_nothing_more();
        assert_eq!(handed, None);
        let blocked = rig.changes().contains_key("drop:match");
        assert!(passed != blocked, "port {port}");
        rig.mark();
    }
}

#[test]
fn new_routes_and_neighbors_take_effect_on_old_connections() {
    let topology = usual()
        .host(&["198.51.100.253"])
        .behind(&["203.0.113.0/24"]);
    everywhere("pass", &topology, |rig| {
        let packet = udp(&at(A, 1), "203.0.113.9:1");
        rig.send("sim0", &packet);
        rig.expect_via("sim1", "198.51.100.254".parse().unwrap(), &packet.hop());
        rig.rewire(
            |t| {
                let net = net::Prefix::containing("203.0.113.0".parse().unwrap(), 24);
                t.routes
                    .push((net, Some("198.51.100.253".parse().unwrap())));
            },
            "pass",
        );
        rig.send("sim0", &packet);
        rig.expect_via("sim1", "198.51.100.253".parse().unwrap(), &packet.hop());
    });
}

#[test]
fn timeouts_of_a_rule_that_is_gone_still_hold_for_its_states() {
    everywhere(
        "pass proto udp keep state (udp.first 300)",
        &usual(),
        |rig| {
            let packet = udp(&at(A, 1), &at(B, 1));
            rig.send("sim0", &packet);
            rig.ignore_rest();
            rig.reload("block");
            rig.advance(200_000);
            assert_eq!(rig.states().len(), 2);
            rig.advance(110_000);
            assert_eq!(rig.states().len(), 0);
        },
    );
}

/// All packets go the long way then, the first of them through cold caches.
#[test]
fn the_turn_that_adopts_takes_few_packets_and_those_after_it_more() {
    let mut rig = Rig::new("pass", &usual());
    for port in 0..200 {
        rig.arrive("sim0", &udp(&at(A, 1000 + port), &at(B, 53)));
    }
    rig.publish_policy("pass proto udp");
    let mut taken = Vec::new();
    let mut before = rig.tally().get("received");
    for _ in 0..6 {
        rig.one_turn(0, 0);
        let now = rig.tally().get("received");
        taken.push(now - before);
        before = now;
    }
    assert_eq!(taken, [8, 16, 32, 64, 64, 16]);
    rig.ignore_rest();
    rig.finish();
}
