//! Several equally good routes.

use std::collections::BTreeMap;

use packets::{Topology, everywhere, udp};

use crate::{A, at};

/// Two routers on the outside, and both lead everywhere.
fn two_ways() -> Topology {
    Topology::usual()
        .host(&["198.51.100.253"])
        .behind(&["0.0.0.0/0"])
        .way("198.51.100.254")
        .way("198.51.100.253")
}

#[test]
fn hosts_are_spread_over_the_ways_and_keep_theirs() {
    everywhere("pass", &two_ways(), |rig| {
        let mut ways: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for n in 1..=60 {
            let far = format!("203.0.113.{n}");
            let mut taken = Vec::new();
            for port in 0..3 {
                rig.send("sim0", &udp(&at(A, 1000 + port), &at(&far, 53)));
                let frame = rig.take("sim1").expect("forwarded");
                taken.push(frame[..6].to_vec());
                // Longer than a way is remembered.
                rig.advance(1100);
            }
            assert!(
                taken.iter().all(|way| *way == taken[0]),
                "{far} changed its way"
            );
            *ways.entry(taken.remove(0)).or_default() += 1;
        }
        rig.ignore_rest();
        assert_eq!(ways.len(), 2, "{ways:?}");
        assert!(ways.values().all(|n| *n > 15), "{ways:?}");
    });
}

#[test]
fn when_a_way_goes_the_others_stay_where_they_were() {
    everywhere("pass", &two_ways(), |rig| {
        let way_of = |rig: &mut packets::Rig, n: u32| {
            rig.send(
                "sim0",
                &udp(&at(A, 1000), &at(&format!("203.0.113.{n}"), 53)),
            );
            rig.take("sim1").expect("forwarded")[..6].to_vec()
        };
        let gone = rig
            .station("sim1", "198.51.100.253".parse().unwrap())
            .0
            .to_vec();
        let before: Vec<Vec<u8>> = (1..=40).map(|n| way_of(rig, n)).collect();
        rig.rewire(|t| t.ways.truncate(1), "pass");
        let mut moved = 0;
        for (n, way) in (1..=40).zip(before) {
            let now = way_of(rig, n);
            assert_ne!(now, gone, "{n}");
            assert!(way == gone || way == now, "{n} moved without need");
            moved += u32::from(way == gone);
        }
        assert!(moved > 5, "{moved}");
        rig.ignore_rest();
    });
}
