//! Translation in the old syntax: rulesets of their own, asked before the filter rules; the first match counts.

use packets::{Rig, Topology, everywhere, tcp, udp};

use crate::nat_to::{given, round_trip};
use crate::{A, B, FAR, at};

fn redirected(rig: &mut Rig, asked: &str, server: &str) {
    let there = tcp(&at(B, 4000), asked, "S");
    rig.send("sim1", &there);
    let inner = there.clone().sent_to(server);
    rig.expect("sim0", &inner.hop());
    rig.send("sim0", &inner.answer());
    rig.expect("sim1", &there.answer().hop());
}

#[test]
fn the_first_match_counts_and_no_nat_stops() {
    let policy = "no nat on sim1 inet from any to 203.0.113.9\n\
                  nat on sim1 inet from 192.0.2.0/24 to any -> 198.51.100.7\n\
                  nat on sim1 inet from 192.0.2.0/24 to any -> 198.51.100.8\n\
                  pass";
    everywhere(policy, &Topology::usual(), |rig| {
        let inside = at(A, 5);
        let outside = round_trip(rig, &inside, &udp(&inside, &at(B, 53)));
        assert!(outside.starts_with("198.51.100.7:"), "{outside}");
        let plain = udp(&inside, &at(FAR, 53));
        rig.send("sim0", &plain);
        rig.expect("sim1", &plain.hop());
    });
}

#[test]
fn filter_rules_see_translated_addresses_and_pass_asks_none() {
    let rules = |pass| {
        format!(
            "rdr {pass} on sim1 inet proto tcp from any to 198.51.100.1 port 80 -> 192.0.2.2 port 8080\n\
             block in\npass out"
        )
    };
    everywhere(&rules("pass"), &Topology::usual(), |rig| {
        redirected(rig, "198.51.100.1:80", "192.0.2.2:8080");
    });
    everywhere(&rules(""), &Topology::usual(), |rig| {
        rig.send("sim1", &tcp(&at(B, 4000), "198.51.100.1:80", "S"));
        rig.expect_nothing_more();
    });
    let seen = format!(
        "{}\npass in inet proto tcp to 192.0.2.2 port 8080",
        rules("")
    );
    everywhere(&seen, &Topology::usual(), |rig| {
        redirected(rig, "198.51.100.1:80", "192.0.2.2:8080");
    });
}

#[test]
fn binat_comes_before_nat_on_the_way_out_and_behind_rdr_on_the_way_in() {
    let policy = "nat on sim1 inet from any to any -> 198.51.100.7\n\
                  rdr on sim1 inet proto tcp from any to 198.51.100.9 port 80 -> 192.0.2.2 port 8080\n\
                  binat on sim1 inet from 192.0.2.2 to any -> 198.51.100.9\n\
                  pass";
    everywhere(policy, &Topology::usual(), |rig| {
        let inside = at(A, 5);
        let outside = round_trip(rig, &inside, &udp(&inside, &at(B, 53)));
        assert_eq!(outside, "198.51.100.9:5");
        redirected(rig, "198.51.100.9:80", "192.0.2.2:8080");
        redirected(rig, "198.51.100.9:81", "192.0.2.2:81");
    });
}

#[test]
fn translation_makes_a_state_whatever_passes() {
    for pass in ["pass no state", "pass in no state"] {
        let policy = format!("nat on sim1 inet from any to any -> 198.51.100.7\n{pass}");
        everywhere(&policy, &Topology::usual(), |rig| {
            let inside = at(A, 5);
            let there = udp(&inside, &at(B, 53));
            rig.send("sim0", &there);
            let outside = given(rig, &inside);
            rig.expect("sim1", &there.hop().sent_from(&outside));
            rig.send("sim1", &there.answer().sent_to(&outside));
            rig.expect("sim0", &there.answer().hop());
        });
    }
}

#[test]
fn anchors_run_only_translations_of_their_kind() {
    let policy = "nat-anchor \"one\"\nrdr-anchor \"one\"\n\
                  nat on sim1 inet from any to any -> 198.51.100.8\n\
                  anchor \"one\" {\n\
                  nat on sim1 inet from any to 203.0.113.9 -> 198.51.100.7\n\
                  rdr pass on sim1 inet proto tcp from any to 198.51.100.1 port 80 -> 192.0.2.2\n\
                  pass\n}";
    everywhere(policy, &Topology::usual(), |rig| {
        for (server, outer) in [(FAR, "198.51.100.7:"), (B, "198.51.100.8:")] {
            let inside = at(A, if server == B { 5 } else { 6 });
            let outside = round_trip(rig, &inside, &udp(&inside, &at(server, 53)));
            assert!(outside.starts_with(outer), "{outside}");
        }
        redirected(rig, "198.51.100.1:80", "192.0.2.2:80");
    });
}
