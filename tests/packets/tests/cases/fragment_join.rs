//! Pieces of datagrams are joined before the rules are asked (`set reassemble yes`), and leave as pieces again.

use packets::packet::{Error, error};
use packets::{Packet, Rig, Spread, Topology, echo, everywhere, udp};

use crate::{A, A6, B, B6, Family, INET6, at, both};

const POLICY: &str = "block\npass in proto udp to port 53\npass in proto { icmp icmp6 }\npass out";

fn usual() -> Topology {
    Topology::usual()
}

fn question(f: Family, len: usize) -> Packet {
    udp(&at(f.a, 1000), &at(f.b, 53)).data(len)
}

/// The counters of `n` pieces that come as one packet and leave as `m`.
fn joined(f: Family, n: usize, m: usize) -> String {
    let consumed = counted("consumed", n as i64 - 1);
    let generated = counted("generated", m as i64 - 1);
    f.counted(&format!(
        "received {n} passed {m} {consumed} {generated} sim0.in#.pass sim1.out#.pass"
    ))
}

fn counted(name: &str, n: i64) -> String {
    if n == 0 {
        String::new()
    } else {
        format!("{name} {n}")
    }
}

#[test]
fn rules_with_ports_match_the_whole_and_make_a_state() {
    both(
        "block\npass in proto udp to port 53\npass out",
        &usual(),
        |rig, f| {
            let pieces = question(f, 2000).pieces(1024);
            for piece in &pieces {
                rig.send("sim0", piece);
            }
            for piece in &pieces {
                rig.expect("sim1", &piece.hop());
            }
            rig.counted(
                &(joined(f, 2, 2)
                    + " searches 2 r0.evals 2 r1.evals 2 r2.evals 2 r1.in r1.made r2.out r2.made"),
            );
            // The answer, in pieces too, finds the state.
            let answer = question(f, 3000).answer();
            for piece in answer.pieces(1400) {
                rig.send("sim1", &piece);
            }
            for piece in answer.pieces(1400) {
                rig.expect("sim0", &piece.hop());
            }
            rig.expect_nothing_more();
            assert_eq!(rig.changes()["passed"], 3);
            assert_eq!(rig.states().len(), 2);
        },
    );
}

#[test]
fn pieces_in_all_six_orders_leave_in_order() {
    both(POLICY, &usual(), |rig, f| {
        let orders = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        for (n, order) in orders.into_iter().enumerate() {
            let pieces = echo(f.a, f.b, 7, n as u16)
                .data(3000)
                .ident(100 + n as u16)
                .pieces(1400);
            for n in order {
                rig.send("sim0", &pieces[n]);
            }
            for piece in &pieces {
                rig.expect("sim1", &piece.hop());
            }
            rig.expect_nothing_more();
        }
    });
}

#[test]
fn a_blocked_datagram_is_one_packet_for_the_counters_and_gets_one_answer() {
    both("block return", &usual(), |rig, f| {
        let pieces = question(f, 2000).pieces(1024);
        for piece in pieces.iter().rev() {
            rig.send("sim0", piece);
        }
        assert!(rig.take("sim0").is_some(), "port unreachable");
        rig.counted(&f.counted(
            "received 2 consumed drop:match generated passed searches sim0.in#.block r0.evals r0.in",
        ));
    });
}

#[test]
fn what_is_missing_for_too_long_is_dropped() {
    both(POLICY, &usual(), |rig, f| {
        let pieces = question(f, 2000).pieces(1024);
        rig.send("sim0", &pieces[0]);
        rig.counted("received waiting");
        rig.advance(59_000);
        rig.counted("");
        rig.advance(16_000);
        rig.counted("drop:fragment waiting -1");
        rig.send("sim0", &pieces[1]);
        rig.counted("received waiting");
        rig.advance(75_000);
        rig.counted("drop:fragment waiting -1");
    });
    both(
        &format!("set timeout frag 5\n{POLICY}"),
        &usual(),
        |rig, f| {
            rig.send("sim0", &question(f, 2000).pieces(1024)[0]);
            rig.advance(5000);
            rig.counted("received drop:fragment");
        },
    );
}

#[test]
fn a_flood_of_first_pieces_costs_the_oldest() {
    both(
        &format!("set limit frags 100\n{POLICY}"),
        &usual(),
        |rig, f| {
            for n in 0..400 {
                rig.send("sim0", &question(f, 2000).ident(n).pieces(1024)[0]);
            }
            let changes = rig.changes();
            assert_eq!(changes["waiting"] + changes["drop:memory"], 400);
            assert!(changes["waiting"] <= 100 && changes["waiting"] > 85);
            // The youngest is still there.
            rig.send("sim0", &question(f, 2000).ident(399).pieces(1024)[1]);
            assert_eq!(rig.changes()["passed"], 2);
            rig.ignore_rest();
        },
    );
}

#[test]
fn an_ipv4_datagram_that_fits_the_next_link_leaves_whole() {
    everywhere(POLICY, &usual(), |rig| {
        let whole = udp(&at(A, 1000), &at(B, 53)).data(800);
        for piece in whole.pieces(176) {
            rig.send("sim0", &piece);
        }
        rig.expect("sim1", &whole.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn an_ipv6_datagram_never_leaves_whole() {
    everywhere(POLICY, &usual(), |rig| {
        let whole = udp(&at(A6, 1000), &at(B6, 53)).data(800);
        for piece in whole.pieces(400) {
            rig.send("sim0", &piece);
        }
        for piece in whole.pieces(400) {
            rig.expect("sim1", &piece.hop());
        }
        rig.expect_nothing_more();
    });
}

fn narrow(mtu: u16) -> Topology {
    Topology::usual().mtu("sim1", mtu)
}

#[test]
fn ipv4_pieces_are_cut_further_for_a_smaller_link() {
    let narrow = Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&[A])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[B])
        .mtu("sim1", 600);
    everywhere(POLICY, &narrow, |rig| {
        let whole = echo(A, B, 1, 1).data(3000);
        for piece in whole.pieces(1480) {
            rig.send("sim0", &piece);
        }
        let mut got = Vec::new();
        while let Some(frame) = rig.take("sim1") {
            assert!(frame.len() <= 614);
            got.push(frame);
        }
        let sent = whole.hop();
        let bytes = sent.bytes();
        let mut joined = vec![0; bytes.len() - 20];
        for frame in &got {
            let ip = wire::ipv4::Packet::new_checked(&frame[14..]).unwrap();
            assert!(ip.verify_checksum());
            let at = usize::from(ip.fragment_offset());
            joined[at..at + ip.payload().len()].copy_from_slice(ip.payload());
            assert_eq!(ip.more_fragments(), at + ip.payload().len() < joined.len());
        }
        assert_eq!(joined, bytes[20..]);
        rig.ignore_rest();
    });
}

#[test]
fn an_ipv6_train_too_large_for_the_next_link_is_answered_with_its_mtu() {
    everywhere(POLICY, &narrow(1300), |rig| {
        let pieces = echo(A6, B6, 1, 1).data(3000).pieces(1440);
        for piece in &pieces {
            rig.send("sim0", piece);
        }
        let frame = rig.take("sim0").expect("packet too big");
        assert_eq!((frame[54], &frame[58..62]), (2, &1300u32.to_be_bytes()[..]));
        rig.expect_nothing_more();
        assert_eq!(rig.changes()["drop:mtu"], 1);
        // Pieces of that size pass.
        let pieces = echo(A6, B6, 1, 2).data(3000).ident(9).pieces(1240);
        for piece in &pieces {
            rig.send("sim0", piece);
        }
        for piece in &pieces {
            rig.expect("sim1", &piece.hop());
        }
        rig.ignore_rest();
    });
}

#[test]
fn headers_cut_to_tiny_pieces_are_gathered() {
    both(POLICY, &usual(), |rig, f| {
        let whole = question(f, 3000);
        let bytes = whole.bytes();
        let header = if f.digit == "4" { 20 } else { 40 };
        let transport = &bytes[header..];
        // Cut behind the ports and the checksum of UDP.
        rig.send("sim0", &whole.piece(0, &transport[..8], true));
        rig.send("sim0", &whole.piece(8, &transport[8..1200], true));
        rig.send("sim0", &whole.piece(1200, &transport[1200..2400], true));
        rig.send("sim0", &whole.piece(2400, &transport[2400..], false));
        let mut joined = Vec::new();
        while let Some(frame) = rig.take("sim1") {
            let at = 14 + header + if header == 40 { 8 } else { 0 };
            joined.extend_from_slice(&frame[at..]);
        }
        assert_eq!(joined, transport);
        assert_eq!(rig.states().len(), 2);
    });
}

#[test]
fn the_local_host_gets_datagrams_whole() {
    both("pass", &usual(), |rig, f| {
        let whole = echo(f.a, f.box0, 3, 4).data(5000);
        for piece in whole.pieces(1400) {
            rig.send("sim0", &piece);
        }
        rig.expect_host(&whole);
        rig.expect_nothing_more();
        assert_eq!(rig.changes()["to_host"], 1);
        // And its answer comes in pieces, which are one packet for the rules.
        let answer = whole.answer();
        for piece in answer.pieces(1400) {
            rig.host_sends(&piece);
        }
        for piece in answer.pieces(1400) {
            rig.expect("sim0", &piece);
        }
        rig.expect_nothing_more();
    });
}

#[test]
fn a_train_waits_for_its_neighbor_as_one() {
    for family in [crate::INET, INET6] {
        let mut rig = Rig::cold("pass", &usual(), Spread::ONE);
        let pieces = question(family, 20_000).pieces(1400);
        for piece in &pieces {
            rig.send("sim0", piece);
        }
        for piece in &pieces {
            rig.expect("sim1", &piece.hop());
        }
        rig.ignore_rest();
    }
    // A neighbor that does not answer costs one packet, and no buffer.
    let mute = Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&[A])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[B])
        .mute();
    let mut rig = Rig::cold("pass", &mute, Spread::ONE);
    for piece in udp(&at(A, 1000), &at(B, 53)).data(9000).pieces(1400) {
        rig.send("sim0", &piece);
    }
    rig.advance(30_000);
    assert_eq!(rig.changes()["drop:no-neighbor"], 1);
    rig.ignore_rest();
}

#[test]
fn errors_about_a_datagram_quote_its_head() {
    everywhere("pass", &usual(), |rig| {
        let whole = question(crate::INET, 2000).ttl(1);
        for piece in whole.pieces(1024) {
            rig.send("sim0", &piece);
        }
        let frame = rig.take("sim0").expect("time exceeded");
        assert_eq!((frame[34], frame[35]), (11, 0));
        // Ports are where a sender looks for them.
        assert_eq!(&frame[42 + 20..42 + 24], &[0x03, 0xe8, 0, 53]);
        // And no word of fragments.
        assert_eq!(&frame[42 + 6..42 + 8], &[0, 0]);
        rig.expect_nothing_more();
    });
}

#[test]
fn errors_that_quote_a_joined_datagram_find_its_state() {
    both(POLICY, &usual(), |rig, f| {
        let pieces = question(f, 2000).pieces(1024);
        for piece in &pieces {
            rig.send("sim0", piece);
        }
        rig.ignore_rest();
        rig.mark();
        let unreachable = error(f.b, &question(f, 500), Error::Unreachable(3, 4));
        rig.send("sim1", &unreachable);
        rig.expect("sim0", &unreachable.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn fragments_that_forbid_fragmentation_need_no_df() {
    for reassemble in ["yes", "no"] {
        let policy = format!("set reassemble {reassemble}\npass");
        everywhere(&policy, &usual(), |rig| {
            for piece in udp(&at(A, 1000), &at(B, 53)).data(2000).df().pieces(1024) {
                rig.send("sim0", &piece);
            }
            rig.counted("received 2 drop:fragment 2");
        });
        everywhere(
            &format!("set reassemble {reassemble} no-df\npass"),
            &usual(),
            |rig| {
                let pieces = udp(&at(A, 1000), &at(B, 53)).data(2000);
                for piece in pieces.clone().df().pieces(1024) {
                    rig.send("sim0", &piece);
                }
                for piece in pieces.pieces(1024) {
                    rig.expect("sim1", &piece.hop());
                }
                rig.expect_nothing_more();
            },
        );
    }
}

#[test]
fn an_interface_that_is_skipped_joins_nothing() {
    everywhere("set skip on sim0\nblock\npass out", &usual(), |rig| {
        let pieces = udp(&at(A, 1000), &at(B, 53)).data(2000).pieces(1024);
        rig.send("sim0", &pieces[1]);
        rig.expect("sim1", &pieces[1].hop());
        rig.expect_nothing_more();
    });
}
