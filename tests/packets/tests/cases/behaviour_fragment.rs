//! Pieces that overlap, lie, or come in odd shapes: what the other side of the box gets to see. Sent to a box that joins
//! datagrams. Offsets are bytes; a datagram has 64 of them, and what must not arrive is filled with rubbish.

use packets::{Packet, Rig, Topology, echo, everywhere, raw};

use crate::{A, A6, B, B6, Family, INET, INET6, both};

/// Lets pieces with options and headers pass, too.
const POLICY: &str = "block\npass in proto { icmp icmp6 } allow-opts\npass out allow-opts";

/// Bytes of the datagram without its header.
const LEN: usize = 64;

fn usual() -> Topology {
    Topology::usual()
}

/// The question, whose checksum tells whether it arrived unharmed.
fn question(f: Family) -> Packet {
    echo(f.a, f.b, 7, 1).data(LEN - 8)
}

fn header_len(f: Family) -> usize {
    if f.digit == "4" { 20 } else { 40 }
}

/// What is behind the header.
fn inside(whole: &Packet, f: Family) -> Vec<u8> {
    whole.bytes()[header_len(f)..].to_vec()
}

/// Offset, length, whether others follow, and where rubbish stands in it: first and last byte of the datagram.
type Part = (usize, usize, bool, (usize, usize));

/// No rubbish.
const CLEAN: (usize, usize) = (0, 0);

fn part(whole: &Packet, f: Family, (at, len, more, rubbish): Part) -> Packet {
    let bytes = inside(whole, f);
    let byte = |n: usize| match (rubbish.0..rubbish.1).contains(&n) {
        true => 0xee,
        false => bytes.get(n).copied().unwrap_or(0xee),
    };
    let data: Vec<u8> = (at..at + len).map(byte).collect();
    whole.piece(at, &data, more)
}

/// Everything behind the headers of the pieces that leave by `sim1`, in their order.
fn arrived(rig: &mut Rig, f: Family) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(frame) = rig.take("sim1") {
        let ip = &frame[14..];
        let at = match f.digit {
            "4" => usize::from(ip[0] & 15) * 4,
            _ => 40 + if ip[6] == 44 { 8 } else { 0 },
        };
        let end = match f.digit {
            "4" => usize::from(u16::from_be_bytes([ip[2], ip[3]])),
            _ => 40 + usize::from(u16::from_be_bytes([ip[4], ip[5]])),
        };
        all.extend_from_slice(&ip[at..end]);
    }
    all
}

/// Sends the parts; the whole arrives, or nothing.
fn answered(f: Family, parts: &[Part], expected: bool, name: &str) {
    everywhere(POLICY, &usual(), |rig| {
        let whole = question(f);
        for one in parts {
            rig.send("sim0", &part(&whole, f, *one));
        }
        let want = if expected {
            inside(&whole, f)
        } else {
            Vec::new()
        };
        assert_eq!(arrived(rig, f), want, "{name} {}", f.digit);
        // What waits for the rest costs nothing but its time.
        rig.advance(61_000);
        assert!(arrived(rig, f).is_empty(), "{name}");
    });
}

#[test]
fn overlaps_of_ipv4_are_cut_and_cost_ipv6_the_datagram() {
    let rows: [(&str, &[Part]); 7] = [
        (
            "overhead: the head of a piece lies over the second",
            &[
                (0, 16, true, CLEAN),
                (16, 24, true, CLEAN),
                (32, 32, false, (32, 40)),
            ],
        ),
        (
            "overhead0: the head of a piece lies over the first",
            &[(0, 24, true, CLEAN), (16, 48, false, (16, 24))],
        ),
        (
            "overhead1: a piece lies wholly over the first",
            &[
                (0, 32, true, CLEAN),
                (8, 16, true, (8, 24)),
                (32, 32, false, CLEAN),
            ],
        ),
        (
            "overtail: the tail of a piece lies over the second",
            &[(32, 32, false, (32, 40)), (0, 40, true, CLEAN)],
        ),
        (
            "overreplace: a piece takes the place of one inside it",
            &[
                (16, 8, true, (16, 24)),
                (8, 24, true, CLEAN),
                (0, 8, true, CLEAN),
                (32, 32, false, CLEAN),
            ],
        ),
        (
            "mf0long: a second end reaches further",
            &[
                (32, 32, false, CLEAN),
                (32, 48, false, (32, 80)),
                (0, 32, true, CLEAN),
            ],
        ),
        (
            "mf0short: an end stands before what is known",
            &[
                (0, 16, true, CLEAN),
                (32, 16, true, CLEAN),
                (16, 16, false, (16, 32)),
                (16, 16, true, CLEAN),
                (48, 16, false, CLEAN),
            ],
        ),
    ];
    for (name, parts) in rows {
        answered(INET, parts, true, name);
        answered(INET6, parts, false, name);
    }
}

#[test]
fn the_tail_of_a_piece_over_another_costs_ipv6_the_datagram() {
    for (name, parts) in [
        (
            "overtail",
            &[
                (0, 16, true, CLEAN),
                (32, 32, false, CLEAN),
                (16, 24, true, CLEAN),
            ][..],
        ),
        (
            "overtail0",
            &[
                (16, 16, true, CLEAN),
                (0, 24, true, CLEAN),
                (32, 32, false, CLEAN),
            ],
        ),
        (
            "overtail1",
            &[
                (0, 16, true, CLEAN),
                (0, 32, true, CLEAN),
                (32, 32, false, CLEAN),
            ],
        ),
    ] {
        answered(INET6, parts, false, name);
    }
}

#[test]
fn a_piece_that_would_end_past_the_largest_packet_is_thrown_away_alone() {
    for f in [INET, INET6] {
        let parts = [
            (65_528, 64, true, CLEAN),
            (0, 32, true, CLEAN),
            (32, 32, false, CLEAN),
        ];
        answered(f, &parts, true, "maxpacket0");
    }
}

#[test]
fn two_clean_pieces_arrive_with_padding_behind_each_frame_or_without() {
    both(POLICY, &usual(), |rig, f| {
        for padding in [0, 6, 200] {
            let whole = question(f).ident(500 + padding);
            for one in [(0, 32, true, CLEAN), (32, 32, false, CLEAN)] {
                let piece = part(&whole, f, one);
                let from = rig.station("sim0", f.a.parse().unwrap());
                let mut frame = piece.frame(from, rig.mac("sim0"));
                frame.extend(vec![0xaa; usize::from(padding)]);
                rig.send_frame("sim0", &frame);
            }
            assert_eq!(arrived(rig, f), inside(&whole, f), "{padding}");
        }
    });
}

#[test]
fn pieces_of_ipv4_may_carry_options_where_the_rule_allows_them() {
    // No-operations and an end of list.
    let options = [1, 1, 1, 0];
    for (policy, passes) in [(POLICY, true), ("pass", false)] {
        everywhere(policy, &usual(), |rig| {
            let whole = question(INET).options(&options);
            let bytes = inside(&question(INET), INET);
            for (at, more) in [(0, true), (32, false)] {
                rig.send("sim0", &whole.piece(at, &bytes[at..at + 32], more));
            }
            assert_eq!(!arrived(rig, INET).is_empty(), passes, "{policy}");
            rig.ignore_rest();
        });
    }
}

/// A shuffle that is the same in every run.
fn shuffled<T>(mut items: Vec<T>) -> Vec<T> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for n in (1..items.len()).rev() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        items.swap(n, (seed % (n as u64 + 1)) as usize);
    }
    items
}

#[test]
fn the_largest_datagram_arrives_in_whatever_order_its_pieces_come() {
    for (f, len) in [(INET, 65_515 - 8), (INET6, 65_535 - 8)] {
        everywhere(POLICY, &usual(), |rig| {
            let whole = echo(f.a, f.b, 7, 1).data(len);
            for piece in shuffled(whole.pieces(1440)) {
                rig.send("sim0", &piece);
            }
            let (got, want) = (arrived(rig, f), inside(&whole, f));
            assert!(got == want, "{} of {} bytes", got.len(), want.len());
            rig.ignore_rest();
        });
    }
}

#[test]
fn eight_hundred_bytes_in_many_pieces_pass_and_twenty_thousand_do_not() {
    // 64 pieces are the most that one datagram may have.
    both(POLICY, &usual(), |rig, f| {
        for (n, (len, step, passes)) in [
            (800, 200, true),
            (20_000, 200, false),
            (64 * 8 - 8, 8, true),
            (65 * 8 - 8, 8, false),
        ]
        .into_iter()
        .enumerate()
        {
            let whole = echo(f.a, f.b, 7, n as u16).data(len).ident(900 + n as u16);
            for piece in whole.pieces(step) {
                rig.send("sim0", &piece);
            }
            assert_eq!(
                arrived(rig, f) == inside(&whole, f),
                passes,
                "{len} by {step}"
            );
            rig.ignore_rest();
            rig.advance(61_000);
        }
    });
}

#[test]
fn a_piece_at_the_limit_may_be_replaced_and_none_may_be_added() {
    // Sixty-three pieces wait when one comes that covers the last of them, then the end; or one more than there may be.
    for (name, cover, passes) in [("replaced", true, true), ("one too many", false, false)] {
        everywhere(POLICY, &usual(), |rig| {
            let whole = echo(A, B, 7, 1).data(66 * 8 - 8);
            let bytes = inside(&whole, INET);
            let send = |rig: &mut Rig, at: usize, len: usize, spoil: bool| {
                let mut data = bytes[at * 8..(at + len) * 8].to_vec();
                if spoil {
                    data.fill(0xee);
                }
                rig.send("sim0", &whole.piece(at * 8, &data, at + len < 66));
            };
            for n in 1..=62 {
                send(rig, n, 1, n == 62 && cover);
            }
            if cover {
                // Over 62 and what follows, from 61 on: what it shares with 61 is cut off it.
                send(rig, 61, 3, false);
            } else {
                send(rig, 63, 1, false);
                send(rig, 64, 1, false);
            }
            send(
                rig,
                if cover { 64 } else { 65 },
                if cover { 2 } else { 1 },
                false,
            );
            send(rig, 0, 1, false);
            assert_eq!(arrived(rig, INET) == bytes, passes, "{name}");
            rig.ignore_rest();
            rig.advance(61_000);
        });
    }
}

#[test]
fn an_atomic_piece_amid_pieces_of_its_number_is_a_packet_of_its_own() {
    everywhere(POLICY, &usual(), |rig| {
        let whole = question(INET6);
        rig.send("sim0", &part(&whole, INET6, (0, 32, true, CLEAN)));
        let atomic = part(&whole, INET6, (0, LEN, false, CLEAN));
        rig.send("sim0", &atomic);
        rig.expect("sim1", &atomic.hop());
        rig.expect_nothing_more();
        rig.send("sim0", &part(&whole, INET6, (32, 32, false, CLEAN)));
        assert_eq!(arrived(rig, INET6), inside(&whole, INET6));
    });
}

#[test]
fn two_fragment_headers_in_a_row_are_no_packet() {
    everywhere(POLICY, &usual(), |rig| {
        let header = [0, 0, 0, 0, 0, 0, 7];
        let twice = question(INET6)
            .extension(44, &header)
            .extension(44, &header);
        rig.send("sim0", &twice);
        rig.expect_nothing_more();
        let changes = rig.changes();
        let drops: i64 = changes
            .iter()
            .filter(|(n, _)| n.starts_with("drop:"))
            .map(|(_, v)| v)
            .sum();
        assert_eq!(drops, 1, "{changes:?}");
    });
}

/// Destination options of that many bytes of padding, without the first two bytes.
fn destination_options(len: usize) -> Vec<u8> {
    let mut bytes = vec![(len / 8 - 1) as u8, 1, (len - 4) as u8];
    bytes.resize(len - 1, 0);
    bytes
}

#[test]
fn the_headers_of_the_first_piece_count_however_long_those_of_others_are() {
    everywhere(POLICY, &usual(), |rig| {
        let bytes = inside(&question(INET6), INET6);
        let first = question(INET6).extension(60, &destination_options(8));
        let second = question(INET6).extension(60, &destination_options(64));
        rig.send("sim0", &first.piece(0, &bytes[..32], true));
        rig.send("sim0", &second.piece(32, &bytes[32..], false));
        let mut got = 0;
        while let Some(frame) = rig.take("sim1") {
            // IPv6, eight bytes of options, the fragment header.
            assert_eq!((frame[14 + 6], frame[14 + 40], frame[14 + 41]), (60, 44, 0));
            got += frame.len() - 14 - 40 - 8 - 8;
        }
        assert_eq!(got, LEN);
    });
}

#[test]
fn a_header_that_is_cut_between_two_pieces_is_read_when_they_are_joined() {
    // Destination options of 64 bytes, cut in the middle, then the echo.
    let mut bytes = vec![58];
    bytes.extend(destination_options(64));
    bytes.extend(inside(&question(INET6), INET6));
    for (policy, passes) in [(POLICY, true), ("pass", false)] {
        everywhere(policy, &usual(), |rig| {
            let whole = raw(A6, B6, 60, &bytes);
            for piece in whole.pieces(32) {
                rig.send("sim0", &piece);
            }
            let want = if passes { bytes.clone() } else { Vec::new() };
            assert_eq!(arrived(rig, INET6), want, "{policy}");
            rig.ignore_rest();
        });
    }
}

#[test]
fn a_routing_header_of_type_0_is_refused_in_the_open_and_behind_pieces() {
    // Segments left, or none.
    for left in [0, 1] {
        let mut rest = vec![2, 0, left, 0, 0, 0, 0];
        rest.extend([0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        everywhere(POLICY, &usual(), |rig| {
            rig.send("sim0", &question(INET6).extension(43, &rest));
            let mut bytes = vec![58];
            bytes.extend(&rest);
            bytes.extend(inside(&question(INET6), INET6));
            // Behind a fragment header, and cut so that the second piece holds most of it.
            let whole = raw(A6, B6, 43, &bytes);
            for piece in whole.pieces(48) {
                rig.send("sim0", &piece);
            }
            for piece in whole.ident(77).pieces(8) {
                rig.send("sim0", &piece);
            }
            assert!(arrived(rig, INET6).is_empty(), "{left} left");
            assert!(!rig.changes().contains_key("passed"));
            rig.ignore_rest();
            rig.advance(61_000);
        });
    }
}

#[test]
fn an_empty_piece_does_no_harm() {
    everywhere(POLICY, &usual(), |rig| {
        let whole = question(INET6);
        rig.send("sim0", &part(&whole, INET6, (0, 32, true, CLEAN)));
        // It names UDP, which the first piece did not.
        rig.send("sim0", &raw(A6, B6, 17, &[]).piece(32, &[], true));
        rig.send("sim0", &part(&whole, INET6, (32, 32, false, CLEAN)));
        assert_eq!(arrived(rig, INET6), inside(&whole, INET6));
        rig.ignore_rest();
    });
}
