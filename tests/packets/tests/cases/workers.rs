//! Several workers are one box: what comes out, and what is counted in all, does not depend on how many there are.

use std::collections::BTreeMap;

use packets::packet::{Error, error};
use packets::{Packet, Rig, Spread, Topology, echo, tcp, udp};
use simnic::rng::Rng;

use crate::{A, B, INET, INET6, at};

#[test]
fn packets_of_one_connection_meet_on_one_worker() {
    for spread in Spread::ALL {
        let mut rig = Rig::with("pass", &Topology::usual(), spread);
        let before = rig.handed_over();
        for f in [INET, INET6] {
            for port in 0..50 {
                let there = udp(&at(f.a, 1000 + port), &at(f.b, 53));
                let back = there.answer();
                rig.send("sim0", &there);
                rig.expect("sim1", &there.hop());
                rig.send("sim1", &back);
                rig.expect("sim0", &back.hop());
            }
        }
        assert_eq!(rig.states().len(), 200, "{spread:?}");
        let handed = rig.handed_over() - before;
        if spread.rss || spread.workers == 1 {
            assert_eq!(handed, 0, "cards spread as workers own: {spread:?}");
        } else {
            assert!(handed > 50, "{handed} handed over: {spread:?}");
        }
    }
}

#[test]
fn flows_serve_established_connections_wherever_their_packets_arrive() {
    let policy = "match in on sim1 to 198.51.100.9 rdr-to 192.0.2.2\npass";
    for spread in Spread::ALL {
        let mut rig = Rig::with(policy, &Topology::usual(), spread);
        let before = rig.handed_over();
        let ports = 1000..1040;
        let there = |port| udp(&at(B, port), "198.51.100.9:53");
        let inner = |port| udp(&at(B, port), &at(A, 53));
        for round in 0..8 {
            let served = rig.served();
            for port in ports.clone() {
                rig.send("sim1", &there(port));
                rig.expect("sim0", &inner(port).hop());
                rig.send("sim0", &inner(port).answer());
                rig.expect("sim1", &there(port).answer().hop());
            }
            // Each end must have spoken twice, and one more packet each way wakes the flow.
            let all = 2 * ports.len() as u64;
            if round >= 4 {
                assert_eq!(rig.served() - served, all, "round {round}, {spread:?}");
            }
        }
        let handed = rig.handed_over() - before;
        let some = spread.workers > 1;
        assert_eq!(handed > 0, some, "{handed} handed over: {spread:?}");
    }
}

#[test]
fn errors_find_the_worker_of_the_connection_that_they_are_about() {
    for spread in Spread::ALL {
        let mut rig = Rig::with(
            "block\npass in on sim0\npass out on sim1",
            &Topology::usual(),
            spread,
        );
        for f in [INET, INET6] {
            for port in 0..30 {
                let there = udp(&at(f.a, 1000 + port), &at(f.far, 53));
                rig.send("sim0", &there);
                rig.expect("sim1", &there.hop());
                let told = error(f.router, &there.hop(), Error::Unreachable(1, 3));
                rig.send("sim1", &told);
                rig.expect("sim0", &told.hop());
            }
        }
    }
}

/// A random packet of a small world, so that conversations meet again. By which port it arrives comes first.
fn random_packet(rng: &mut Rng) -> (&'static str, Packet) {
    let f = [INET, INET6][rng.below(2) as usize];
    let outside = [f.b, f.far][rng.below(2) as usize];
    let (port, src, dst) = if rng.chance(0.6) {
        ("sim0", f.a, outside)
    } else {
        ("sim1", outside, f.a)
    };
    let low = |rng: &mut Rng| 1 + rng.below(6) as u16;
    let (a, b) = (low(rng), low(rng));
    let flags = ["S", "SA", "A", "FA", "R", "RA"][rng.below(6) as usize];
    let packet = match rng.below(4) {
        0 => udp(&at(src, a), &at(dst, b)),
        1 => echo(src, dst, a, b),
        2 => {
            let about = udp(&at(dst, a), &at(src, b));
            error(src, &about, Error::Unreachable(1, 3)).to(dst)
        }
        _ => tcp(&at(src, a), &at(dst, b), flags)
            .seq(rng.below(3) as u32 * 1000)
            .ack(rng.below(3) as u32 * 1000),
    };
    (port, packet)
}

/// What came out by port, in order, and what was counted.
type Outcome = (
    BTreeMap<&'static str, Vec<Vec<u8>>>,
    BTreeMap<String, i64>,
    usize,
);

fn outcome(policy: &str, seed: u64, spread: Spread) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut rig = Rig::with(policy, &Topology::usual(), spread);
    let mut out: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for _ in 0..400 {
        let (port, packet) = random_packet(&mut rng);
        rig.send(port, &packet);
        for port in ["sim0", "sim1"] {
            while let Some(frame) = rig.take(port) {
                out.entry(port).or_default().push(frame);
            }
        }
    }
    let states = rig.states().len();
    (out, rig.changes(), states)
}

#[test]
fn random_conversations_come_out_the_same_however_they_are_spread() {
    let policies = [
        "pass",
        "block\npass in on sim0\npass out on sim1\npass inet proto icmp",
        "block\npass out\npass in on sim0 proto tcp to port < 4 tag low\nblock out on sim1 to ! 198.51.100.2 tagged low",
    ];
    for (n, policy) in policies.into_iter().enumerate() {
        for seed in 1..12 {
            let seed = seed * 1000 + n as u64;
            let alone = outcome(policy, seed, Spread::ONE);
            assert!(!alone.0.is_empty());
            for spread in &Spread::ALL[1..] {
                assert_eq!(
                    outcome(policy, seed, *spread),
                    alone,
                    "seed {seed}, {spread:?}, {policy}"
                );
            }
        }
    }
}
