//! Which packets are logged, by which rule, and what the record says.

use packets::{Rig, Topology, everywhere, tcp, udp};
use worker::LogRecord;

use crate::{A, B, at};

/// `action dir interface anchor rule.subrule toN`, as far as each says something.
fn shown(record: &LogRecord) -> String {
    let h = &record.header;
    let name = |at: usize| {
        let bytes: Vec<u8> = h[at..at + 16]
            .iter()
            .copied()
            .take_while(|b| *b != 0)
            .collect();
        String::from_utf8(bytes).unwrap()
    };
    let number = |at: usize| match i32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]) {
        -1 => "-".to_string(),
        n => n.to_string(),
    };
    let action = match h[2] {
        0 => "pass",
        1 => "block",
        12 => "match",
        other => panic!("action {other}"),
    };
    let reason = match h[3] {
        0 => String::new(),
        n => format!(" reason {n}"),
    };
    let direction = ["", "in", "out"][usize::from(h[60])];
    let to = match record.to {
        0 => String::new(),
        n => format!(" to {n}"),
    };
    let anchor = name(20);
    let anchor = if anchor.is_empty() {
        anchor
    } else {
        anchor + "."
    };
    format!(
        "{action} {direction} {} {}{anchor}{}{reason}{to}",
        name(4),
        if number(40) == "-" {
            String::new()
        } else {
            format!("{}.", number(36))
        },
        if number(40) == "-" {
            number(36)
        } else {
            number(40)
        },
    )
}

/// What a datagram from A to B and its answer make the box log.
fn log_of(policy: &str) -> Vec<String> {
    let mut rig = Rig::new(policy, &Topology::usual());
    let there = udp(&at(A, 1000), &at(B, 53));
    rig.logged();
    rig.send("sim0", &there);
    rig.send("sim1", &there.answer());
    rig.ignore_rest();
    let records = rig.logged();
    let logged: Vec<String> = records.iter().map(shown).collect();
    for record in &records {
        assert_eq!(record.header[0], 100);
        assert_eq!(
            usize::from(record.kept),
            there.len(),
            "all of a short packet"
        );
        assert_eq!(usize::from(record.len), there.len());
        let sent = if record.header[60..62] == [1, 0] && record.header[4..8] == *b"sim0" {
            Some(there.bytes())
        } else {
            None
        };
        if let Some(sent) = sent {
            assert_eq!(record.bytes[..there.len()], sent[..], "as it came in");
        }
    }
    rig.finish();
    logged
}

#[test]
fn what_is_logged() {
    for (name, policy, expected) in [
        ("nothing without log", "pass", &[][..]),
        (
            "log: the packet that makes a state, on each interface",
            "pass log",
            &["pass in sim0 0", "pass out sim1 0"],
        ),
        (
            "log all: every packet of the state",
            "pass log (all)",
            &[
                "pass in sim0 0",
                "pass out sim1 0",
                "pass in sim1 0",
                "pass out sim0 0",
            ],
        ),
        (
            "without a state every packet is logged",
            "pass log no state",
            &[
                "pass in sim0 0",
                "pass out sim1 0",
                "pass in sim1 0",
                "pass out sim0 0",
            ],
        ),
        ("block log", "block in log on sim0", &["block in sim0 0"]),
        (
            "only the rule that decides logs",
            "block log\npass\npass out",
            &[],
        ),
        (
            "a match rule logs where it stands, also if another decides",
            "match in log on sim0\npass",
            &["match in sim0 0"],
        ),
        (
            "matches: every later rule that matches is logged",
            "match in log (matches) on sim0\nblock proto tcp\nblock in on sim0\npass",
            &["match in sim0 0", "block in sim0 2", "pass in sim0 3"],
        ),
        (
            "rule numbers in an anchor: outer, anchor, inner",
            "block\nanchor foo {\n block\n pass log\n}\npass in on sim1",
            &["pass in sim0 1.foo.1", "pass out sim1 1.foo.1"],
        ),
        (
            "log to another interface",
            "pass in log (to pflog3) on sim0\npass out",
            &["pass in sim0 0 to 3"],
        ),
        (
            "all of a match rule: its packets as well, by its own number",
            "match out log (all) on sim1\npass",
            &["match out sim1 0", "match in sim1 0"],
        ),
    ] {
        assert_eq!(log_of(policy), expected, "{name}");
    }
}

/// Destination that a record's header tells, and whether it says that this is not what stands in the packet.
fn destination(record: &LogRecord) -> (String, bool) {
    let h = &record.header;
    let addr = std::net::Ipv4Addr::new(h[80], h[81], h[82], h[83]);
    let port = u16::from_be_bytes([h[98], h[99]]);
    (format!("{addr}:{port}"), h[61] == 1)
}

#[test]
fn a_redirection_logs_what_was_asked_for_and_the_filter_rule_what_became_of_it() {
    let asked = "198.51.100.1:80";
    let server = "192.0.2.2:8080";
    let rdr = "on sim1 inet proto tcp to 198.51.100.1 port 80 -> 192.0.2.2 port 8080";
    let both = [("match in sim1 0", asked), ("pass in sim1 0", server)];
    for (policy, expected) in [
        (format!("rdr log {rdr}\npass in log\npass out"), &both[..]),
        (format!("rdr pass log {rdr}\npass out"), &both[..1]),
        (format!("rdr {rdr}\npass in log\npass out"), &both[1..]),
        // A match rule logs what it made of the packet, as OpenBSD has it.
        (
            "match in log on sim1 inet proto tcp to 198.51.100.1 port 80 rdr-to 192.0.2.2 port 8080\n\
             pass in log\npass out"
                .into(),
            &[("match in sim1 0", server), ("pass in sim1 1", server)][..],
        ),
    ] {
        let mut rig = Rig::new(&policy, &Topology::usual());
        let there = tcp(&at(B, 4000), asked, "S");
        rig.logged();
        rig.send("sim1", &there);
        rig.expect("sim0", &there.clone().sent_to(server).hop());
        let records = rig.logged();
        let told: Vec<_> = records.iter().map(|r| (shown(r), destination(r))).collect();
        let wanted = expected.iter().map(|(rule, to)| {
            let rewritten = *to == server;
            (rule.to_string(), (to.to_string(), rewritten))
        });
        assert_eq!(told, wanted.collect::<Vec<_>>(), "{policy}");
        for record in &records {
            assert_eq!(record.bytes[..there.len()], there.bytes()[..], "as it came in");
        }
        rig.finish();
    }
}

#[test]
fn what_a_state_refuses_is_not_logged_even_with_log_all() {
    let mut rig = Rig::new("pass log (all)", &Topology::usual());
    let there = |flags| tcp(&at(A, 1000), &at(B, 80), flags).seq(1001).ack(2001);
    rig.send("sim0", &there("S").seq(1000));
    rig.send(
        "sim1",
        &there("S").answer().with_flags("SA").seq(2000).ack(1001),
    );
    rig.send("sim0", &there("A"));
    rig.ignore_rest();
    rig.mark();
    rig.logged();
    rig.send("sim0", &there("A").seq(900_000_000).data(10));
    assert_eq!(rig.changes()["drop:state-mismatch"], 1);
    assert!(rig.logged().is_empty());
}

#[test]
fn options_that_no_rule_allows_are_logged_whatever_the_rule_says() {
    let mut rig = Rig::new("pass", &Topology::usual());
    rig.logged();
    // Record route, three bytes and padding.
    rig.send(
        "sim0",
        &udp(&at(A, 1000), &at(B, 53)).options(&[7, 3, 4, 0]),
    );
    rig.ignore_rest();
    let logged: Vec<String> = rig.logged().iter().map(shown).collect();
    assert_eq!(logged, ["block in sim0 0 reason 8"]);
}

#[test]
fn a_log_that_nobody_reads_costs_records_and_says_how_many() {
    let mut rig = Rig::new("block in log", &Topology::usual());
    let before = rig.log_counters();
    rig.logged();
    let room = worker::mail::LOG_RING as u64;
    for n in 0..room + 10 {
        rig.send("sim0", &udp(&at(A, 1000 + n as u16), &at(B, 53)));
    }
    assert_eq!(rig.changes()["drop:match"] as u64, room + 10);
    let now = rig.log_counters();
    assert_eq!((now.0 - before.0, now.1 - before.1), (room, 10));
    assert_eq!(rig.logged().len() as u64, room);
}

/// behaviours: fbsd counters.sh match_pass_state
#[test]
fn match_rules_and_anchors_count_the_packets_of_states_that_they_applied_to() {
    let policy = "match in on sim0\nmatch proto udp\nanchor a {\n pass\n}";
    everywhere(policy, &Topology::usual(), |rig| {
        let there = udp(&at(A, 1000), &at(B, 53));
        rig.send("sim0", &there);
        rig.expect("sim1", &there.hop());
        rig.mark();
        let back = there.answer();
        rig.exchange(
            "sim1",
            &back,
            &[("sim0", back.hop())],
            "received passed searches sim1.in4.pass sim0.out4.pass
             r0.out r1.in r1.out r2.in r2.out r3.in r3.out",
        );
        rig.exchange(
            "sim0",
            &there,
            &[("sim1", there.hop())],
            "received passed searches sim0.in4.pass sim1.out4.pass
             r0.in r1.in r1.out r2.in r2.out r3.in r3.out",
        );
    });
}

#[test]
fn log_user_names_root_where_a_socket_of_the_box_is_at_the_near_end() {
    for (rules, expect) in [
        ("pass log (user)", [true, false, false]),
        ("pass log", [false, false, false]),
    ] {
        let mut rig = Rig::new(rules, &Topology::usual());
        rig.logged();
        rig.host_sends(&udp("198.51.100.1:9", &at(B, 53)));
        rig.send("sim0", &udp(&at(A, 1000), &at(B, 53)));
        rig.ignore_rest();
        let users: Vec<bool> = rig
            .logged()
            .iter()
            .map(|record| record.header[44..48] == [0; 4])
            .collect();
        assert_eq!(users, expect, "{rules}");
        rig.finish();
    }
}
