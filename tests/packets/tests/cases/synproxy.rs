//! `synproxy state` and `set syncookies`: handshakes in place of hosts.

use packets::{Packet, Rig, Topology, tcp};
use wire::tcp as header;

use crate::tcp::{Ends, ISS_A, ISS_B, took};
use crate::{Family, at, both};

const SA: u8 = header::SYN | header::ACK;

fn usual() -> Topology {
    Topology::usual()
}

/// Segment size that fits 1500 bytes.
fn mss_of(f: Family) -> u16 {
    if f.digit == "4" { 1460 } else { 1440 }
}

fn syn(e: &Ends) -> Packet {
    e.there("S", ISS_A, 0).mss(8960).wscale(7)
}

/// The client's SYN is answered by the box; gives the number that it chose.
fn greeted(rig: &mut Rig, f: Family, e: &Ends) -> u32 {
    rig.send("sim0", &syn(e));
    let answer = took(rig, "sim0");
    assert_eq!(
        (answer.flags, answer.ack, answer.window),
        (SA, ISS_A + 1, 0)
    );
    assert_eq!(answer.mss, Some(mss_of(f)));
    assert_eq!((answer.window_scale, answer.sack_permitted), (None, false));
    rig.expect_nothing_more();
    answer.seq
}

/// The client acknowledges, and the server is asked; gives the number that the box chose.
fn asked(rig: &mut Rig, f: Family, e: &Ends, number: u32) -> u32 {
    rig.send(
        "sim0",
        &e.there("A", ISS_A + 1, number.wrapping_add(1)).window(3000),
    );
    let syn = took(rig, "sim1");
    assert_eq!((syn.flags, syn.ack, syn.window), (header::SYN, 0, 0));
    assert_eq!((syn.mss, syn.window_scale), (Some(mss_of(f)), None));
    rig.expect_nothing_more();
    syn.seq
}

/// The server agrees; both hear of each other.
fn introduced(rig: &mut Rig, e: &Ends, number: u32, chosen: u32) {
    let agreed = e
        .back("SA", ISS_B, chosen.wrapping_add(1))
        .window(500)
        .mss(1460);
    rig.send("sim1", &agreed);
    let to_server = took(rig, "sim1");
    assert_eq!(
        (
            to_server.flags,
            to_server.seq,
            to_server.ack,
            to_server.window
        ),
        (header::ACK, chosen.wrapping_add(1), ISS_B + 1, 3000)
    );
    let to_client = took(rig, "sim0");
    assert_eq!(
        (
            to_client.flags,
            to_client.seq,
            to_client.ack,
            to_client.window
        ),
        (header::ACK, number.wrapping_add(1), ISS_A + 1, 500)
    );
    rig.expect_nothing_more();
}

/// Data goes both ways, each side in its own numbers.
fn talking(rig: &mut Rig, e: &Ends, number: u32, chosen: u32) {
    let data = e.there("PA", ISS_A + 1, number.wrapping_add(1)).data(100);
    rig.send("sim0", &data);
    let got = took(rig, "sim1");
    assert_eq!((got.seq, got.ack), (chosen.wrapping_add(1), ISS_B + 1));
    let answer = e.back("PA", ISS_B + 1, chosen.wrapping_add(101)).data(400);
    rig.send("sim1", &answer);
    let got = took(rig, "sim0");
    assert_eq!((got.seq, got.ack), (number.wrapping_add(1), ISS_A + 101));
    rig.expect_nothing_more();
}

const PROXY: &str = "pass in on sim0 proto tcp synproxy state\npass out on sim1";

#[test]
fn synproxy_state_on_a_forwarded_tcp_connection() {
    both(PROXY, &usual(), |rig, f| {
        let e = Ends::of(f, 1000);
        let number = greeted(rig, f, &e);
        let chosen = asked(rig, f, &e, number);
        introduced(rig, &e, number, chosen);
        talking(rig, &e, number, chosen);
        // Two states, both established.
        let states = rig.states();
        assert_eq!(states.len(), 2);
        assert!(
            states.iter().all(|st| st.peer.iter().all(|p| p.state == 4)),
            "{states:#?}"
        );
        // It closes like any other.
        rig.send(
            "sim0",
            &e.there("RA", ISS_A + 101, number.wrapping_add(401)),
        );
        assert_eq!(took(rig, "sim1").seq, chosen.wrapping_add(101));
        rig.mark();
    });
}

#[test]
fn synproxy_repeats_what_was_lost_and_keeps_its_numbers() {
    both(PROXY, &usual(), |rig, f| {
        let e = Ends::of(f, 1000);
        let number = greeted(rig, f, &e);
        assert_eq!(greeted(rig, f, &e), number);
        let chosen = asked(rig, f, &e, number);
        assert_eq!(asked(rig, f, &e, number), chosen);
        // Data that comes before the server has answered asks the server again, and goes no further.
        let early = e
            .there("PA", ISS_A + 1, number.wrapping_add(1))
            .window(3000)
            .data(10);
        rig.send("sim0", &early);
        assert_eq!(took(rig, "sim1").seq, chosen);
        introduced(rig, &e, number, chosen);
        talking(rig, &e, number, chosen);
        rig.mark();
    });
}

#[test]
fn synproxy_hears_nothing_that_does_not_belong_to_the_handshake() {
    let dropped = "received searches drop:synproxy sim0.in#.block";
    both(PROXY, &usual(), |rig, f| {
        let e = Ends::of(f, 1000);
        let number = greeted(rig, f, &e);
        rig.mark();
        for stray in [
            e.there("A", ISS_A + 1, number),
            e.there("A", ISS_A + 2, number.wrapping_add(1)),
            e.there("RA", ISS_A + 1, number.wrapping_add(1)),
            e.there("FA", ISS_A + 1, number.wrapping_add(1)),
            e.there("S", ISS_A + 7, 0),
        ] {
            rig.exchange("sim0", &stray, &[], &f.counted(dropped));
        }
        let chosen = asked(rig, f, &e, number);
        rig.mark();
        // A wrong answer of the server.
        rig.send("sim1", &e.back("SA", ISS_B, chosen.wrapping_add(9)));
        rig.expect_nothing_more();
        // One that is far off belongs to an old connection, which is reset; nothing goes to the client.
        rig.send("sim1", &e.back("SA", ISS_B, chosen.wrapping_add(900_000)));
        rig.ignore_rest();
        introduced(rig, &e, number, chosen);
        rig.mark();
    });
}

#[test]
fn a_client_that_waits_in_vain_for_the_server_is_told() {
    both(
        &format!("set timeout tcp.first 10\n{PROXY}"),
        &usual(),
        |rig, f| {
            let e = Ends::of(f, 1000);
            let number = greeted(rig, f, &e);
            asked(rig, f, &e, number);
            rig.advance(13_000);
            let reset = took(rig, "sim0");
            assert_eq!(
                (reset.flags, reset.seq, reset.ack),
                (header::RST | header::ACK, number.wrapping_add(1), ISS_A + 1)
            );
            assert_eq!(rig.states().len(), 0);
            rig.expect_nothing_more();
            rig.mark();
        },
    );
}

#[test]
fn synproxy_on_the_way_out_is_keep_state() {
    both("pass out on sim1 synproxy state", &usual(), |rig, f| {
        let e = Ends::of(f, 1000);
        rig.send("sim0", &syn(&e));
        rig.expect("sim1", &syn(&e).hop());
        rig.expect_nothing_more();
        rig.mark();
    });
}

#[test]
fn the_server_is_asked_with_the_tag_of_the_state() {
    let policy =
        "block\npass in on sim0 proto tcp synproxy state tag web\npass out on sim1 tagged web";
    both(policy, &usual(), |rig, f| {
        let e = Ends::of(f, 1000);
        let number = greeted(rig, f, &e);
        let chosen = asked(rig, f, &e, number);
        introduced(rig, &e, number, chosen);
        rig.mark();
    });
}

#[test]
fn forward_syncookies_let_a_forwarded_connection_through() {
    both("set syncookies always\npass", &usual(), |rig, f| {
        let e = Ends::of(f, 1000);
        let cookie = greeted(rig, f, &e);
        // Nothing is kept of a SYN.
        assert_eq!(rig.states().len(), 0);
        let counted = "received generated passed drop:synproxy searches sim0.in#.block \
             limit:syncookies-sent";
        rig.counted(&f.counted(counted));
        let chosen = asked(rig, f, &e, cookie);
        introduced(rig, &e, cookie, chosen);
        talking(rig, &e, cookie, chosen);
        rig.mark();
    });
}

#[test]
fn with_syncookies_a_blocked_port_answers_and_then_the_rules_speak() {
    both(
        "set syncookies always\nblock return\npass proto udp",
        &usual(),
        |rig, f| {
            let e = Ends::of(f, 1000);
            let cookie = greeted(rig, f, &e);
            let ack = e.there("A", ISS_A + 1, cookie.wrapping_add(1));
            rig.send("sim0", &ack);
            let reset = took(rig, "sim0");
            assert_eq!(reset.flags, header::RST | header::ACK);
            rig.expect_nothing_more();
            assert_eq!(rig.states().len(), 0);
            // The cookie is used up: the same again is an ordinary segment without a state.
            rig.send("sim0", &ack);
            rig.ignore_rest();
            rig.mark();
        },
    );
}

#[test]
fn an_acknowledgement_of_a_number_that_was_not_given_out_opens_nothing() {
    both(
        "set syncookies always\nblock\npass flags S/SA",
        &usual(),
        |rig, f| {
            let e = Ends::of(f, 1000);
            let cookie = greeted(rig, f, &e);
            rig.mark();
            for off in [0u32, 2, 0x100, 0x8000_0001] {
                rig.send("sim0", &e.there("A", ISS_A + 1, cookie.wrapping_add(off)));
                rig.expect_nothing_more();
            }
            assert_eq!(rig.states().len(), 0);
            rig.mark();
        },
    );
}

#[test]
fn a_flood_of_connection_requests_does_not_fill_the_state_table() {
    let policy = "set limit states 100\nset syncookies adaptive (start 30%, end 10%)\npass";
    both(policy, &usual(), |rig, f| {
        for port in 2000..2200 {
            rig.send("sim0", &syn(&Ends::of(f, port)));
        }
        // Two states for each request until more than 30 are half open.
        assert_eq!(rig.states().len(), 32);
        rig.ignore_rest();
        // Whoever is there gets through, all the same.
        let e = Ends::of(f, 1000);
        let cookie = greeted(rig, f, &e);
        let chosen = asked(rig, f, &e, cookie);
        introduced(rig, &e, cookie, chosen);
        talking(rig, &e, cookie, chosen);
        // When the half-open states are gone and the keys have ended, all is as before.
        rig.advance(200_000);
        rig.ignore_rest();
        rig.mark();
        let late = Ends::of(f, 3000);
        rig.send("sim0", &syn(&late));
        rig.expect("sim1", &syn(&late).hop());
        rig.expect_nothing_more();
        rig.mark();
    });
}

#[test]
fn max_src_conn_counts_clients_that_completed_their_handshake_with_the_box() {
    let proxied = "pass in on sim0 proto tcp synproxy state (max-src-conn 1)\npass out on sim1";
    let cookies = "set syncookies always\npass in on sim0 proto tcp keep state (max-src-conn 1)\n\
         pass out on sim1";
    for policy in [proxied, cookies] {
        both(policy, &usual(), |rig, f| {
            let first = Ends::of(f, 1000);
            let number = greeted(rig, f, &first);
            let chosen = asked(rig, f, &first, number);
            introduced(rig, &first, number, chosen);
            rig.mark();
            let second = Ends::of(f, 1001);
            let number = greeted(rig, f, &second);
            rig.send(
                "sim0",
                &second.there("A", ISS_A + 1, number.wrapping_add(1)),
            );
            rig.expect_nothing_more();
            assert_eq!(rig.changes().get("drop:src-limit"), Some(&1), "{policy}");
            assert_eq!(rig.states().len(), 2, "{policy}");
            rig.mark();
        });
    }
}

#[test]
fn synproxy_before_a_redirection_asks_the_inner_server() {
    for f in [crate::INET, crate::INET6] {
        let policy = format!(
            "pass in on sim1 proto tcp to {} port 80 rdr-to {} port 8080 synproxy state\npass out on sim0",
            f.box1, f.a
        );
        crate::everywhere(&policy, &usual(), |rig| {
            let client = tcp(&at(f.b, 1000), &at(f.box1, 80), "S").seq(ISS_A);
            rig.send("sim1", &client);
            let answer = took(rig, "sim1");
            assert_eq!((answer.flags, answer.src_port), (SA, 80));
            let ack = |flags: &str, more: u32| {
                let number = answer.seq.wrapping_add(1);
                let packet = client.clone().with_flags(flags).seq(ISS_A + 1);
                packet.ack(number.wrapping_add(more))
            };
            rig.send("sim1", &ack("A", 0));
            let asked = took(rig, "sim0");
            assert_eq!((asked.flags, asked.dst_port), (header::SYN, 8080));
            let server = tcp(&at(f.a, 8080), &at(f.b, 1000), "SA").seq(ISS_B);
            let first = asked.seq.wrapping_add(1);
            rig.send("sim0", &server.clone().ack(first));
            let to_server = took(rig, "sim0");
            assert_eq!((to_server.dst_port, to_server.seq), (8080, first));
            let to_client = took(rig, "sim1");
            assert_eq!((to_client.src_port, to_client.ack), (80, ISS_A + 1));
            rig.send("sim1", &ack("PA", 0).data(10));
            let data = took(rig, "sim0");
            assert_eq!(
                (data.dst_port, data.seq, data.ack),
                (8080, first, ISS_B + 1)
            );
            rig.send(
                "sim0",
                &server
                    .clone()
                    .with_flags("A")
                    .seq(ISS_B + 1)
                    .ack(first + 10),
            );
            let back = took(rig, "sim1");
            assert_eq!((back.src_port, back.ack), (80, ISS_A + 11));
            rig.expect_nothing_more();
            rig.mark();
        });
    }
}

#[test]
fn synproxy_and_translation_on_the_way_out_go_together() {
    for f in [crate::INET, crate::INET6] {
        let policy = format!(
            "pass in on sim0 proto tcp synproxy state\npass out on sim1 nat-to {}",
            f.box1
        );
        crate::everywhere(&policy, &usual(), |rig| {
            let e = Ends::of(f, 1000);
            let number = greeted(rig, f, &e);
            rig.send("sim0", &e.there("A", ISS_A + 1, number.wrapping_add(1)));
            let asked = took(rig, "sim1");
            let back = tcp(&at(f.b, 80), &at(f.box1, asked.src_port), "SA").seq(ISS_B);
            let first = asked.seq.wrapping_add(1);
            rig.send("sim1", &back.clone().ack(first));
            let to_server = took(rig, "sim1");
            assert_eq!((to_server.src_port, to_server.seq), (asked.src_port, first));
            assert_eq!(took(rig, "sim0").seq, number.wrapping_add(1));
            rig.send(
                "sim0",
                &e.there("PA", ISS_A + 1, number.wrapping_add(1)).data(5),
            );
            let data = took(rig, "sim1");
            assert_eq!(
                (data.src_port, data.seq, data.ack),
                (asked.src_port, first, ISS_B + 1)
            );
            rig.expect_nothing_more();
            rig.mark();
        });
    }
}
