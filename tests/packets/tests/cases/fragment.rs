//! Pieces of datagrams where they are not put together (`set reassemble no`): rules see them one by one.

use packets::packet::{Error, error};
use packets::{Packet, Topology, everywhere, udp};

use crate::{A, A6, B, B6, at, both};

fn usual() -> Topology {
    Topology::usual()
}

fn pieces_of(a: &str, b: &str) -> Vec<Packet> {
    udp(&at(a, 1000), &at(b, 53)).data(2000).pieces(1024)
}

#[test]
fn pieces_pass_by_rules_that_do_not_look_into_them_and_make_no_state() {
    both(
        "set reassemble no\nblock\npass proto udp",
        &usual(),
        |rig, f| {
            for piece in pieces_of(f.a, f.b) {
                rig.exchange(
                    "sim0",
                    &piece,
                    &[("sim1", piece.hop())],
                    &f.counted(
                        "received passed sim0.in#.pass sim1.out#.pass
                     r0.evals 2 r1.evals 2 r1.in r1.out",
                    ),
                );
            }
            assert!(rig.states().is_empty());
        },
    );
}

#[test]
fn rules_with_ports_match_no_piece_not_even_the_first() {
    both(
        "set reassemble no\nblock return\npass proto udp to port 53",
        &usual(),
        |rig, f| {
            for piece in pieces_of(f.a, f.b) {
                // And no piece is answered.
                rig.exchange(
                    "sim0",
                    &piece,
                    &[],
                    &f.counted("received drop:match sim0.in#.block r0.evals r1.evals r0.in"),
                );
            }
        },
    );
}

#[test]
fn a_rule_for_fragments_matches_pieces_alone() {
    both(
        "set reassemble no\npass\nblock fragment",
        &usual(),
        |rig, f| {
            let whole = udp(&at(f.a, 1000), &at(f.b, 53));
            rig.exchange(
                "sim0",
                &whole,
                &[("sim1", whole.hop())],
                &f.counted(
                    "received passed searches 2 sim0.in#.pass sim1.out#.pass
                 r0.evals 2 r1.evals 2 r0.in r0.out r0.made 2",
                ),
            );
            for piece in pieces_of(f.a, f.b) {
                rig.exchange(
                    "sim0",
                    &piece,
                    &[],
                    &f.counted("received drop:match sim0.in#.block r0.evals r1.evals r1.in"),
                );
            }
        },
    );
}

#[test]
fn an_ipv6_packet_with_an_atomic_fragment_header_is_whole() {
    // RFC 6946.
    everywhere("block\npass proto udp to port 53", &usual(), |rig| {
        let packet = udp(&at(A6, 1000), &at(B6, 53)).extension(44, &[0, 0, 0, 0, 0, 0, 7]);
        rig.exchange(
            "sim0",
            &packet,
            &[("sim1", packet.hop())],
            "received passed searches 2 sim0.in6.pass sim1.out6.pass
             r0.evals 2 r1.evals 2 r1.in r1.out r1.made 2",
        );
    });
}

#[test]
fn pieces_that_cannot_be_part_of_a_datagram_are_dropped_before_the_rules() {
    both("pass", &usual(), |rig, f| {
        let packet = udp(&at(f.a, 1000), &at(f.b, 53));
        for (what, piece) in [
            (
                "ends past 65535 bytes",
                packet.piece(65_528, &[0; 64], false),
            ),
            (
                "not the last and no multiple of 8",
                packet.piece(0, &[0; 13], true),
            ),
        ] {
            rig.mark();
            rig.send("sim0", &piece);
            rig.expect_nothing_more();
            assert_eq!(
                packets::tally::written(&rig.changes()),
                "drop:fragment received",
                "{what}"
            );
        }
    });
}

#[test]
fn a_piece_is_cut_further_where_the_next_link_is_smaller() {
    let topology = Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&[A])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[B])
        .mtu("sim1", 600);
    everywhere("set reassemble no\npass", &topology, |rig| {
        let whole = udp(&at(A, 1000), &at(B, 53)).data(2000);
        for (n, piece) in whole.pieces(1024).into_iter().enumerate() {
            rig.send("sim0", &piece);
            let sent: Vec<Vec<u8>> = std::iter::from_fn(|| rig.take("sim1")).collect();
            let expected: Vec<Packet> = whole.pieces(576).into_iter().map(|p| p.hop()).collect();
            // 1024 = 576 + 448: the second cut begins where the first piece ended.
            assert_eq!(sent.len(), 2, "piece {n}");
            if n == 0 {
                let first =
                    expected[0].frame(rig.mac("sim1"), rig.station("sim1", B.parse().unwrap()));
                assert_eq!(sent[0], first);
            }
            let offsets: Vec<u16> = sent
                .iter()
                .map(|f| u16::from_be_bytes([f[20], f[21]]))
                .collect();
            let wanted = [[0x2000, 0x2000 | 72], [0x2000 | 128, 200]];
            assert_eq!(offsets, wanted[n], "flags and offsets of piece {n}");
        }
    });
}

#[test]
fn errors_are_sent_about_first_pieces_only() {
    everywhere("set reassemble no\npass", &usual(), |rig| {
        let pieces = pieces_of(A, B);
        let first = pieces[0].clone().ttl(1);
        rig.send("sim0", &first);
        rig.expect(
            "sim0",
            &error("192.0.2.1", &first, Error::TimeExceeded).as_box_error(&first),
        );
        rig.send("sim0", &pieces[1].clone().ttl(1));
        rig.expect_nothing_more();
        assert_eq!(rig.changes()["drop:ttl"], 2);
    });
}
