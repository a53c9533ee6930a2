//! Fragments as others test them: each test is named after a behavior that PF and the stacks around it show. "Reply"
//! there means here that the datagram arrives whole; "no reply" that nothing leaves.

use packets::{Packet, Rig, Spread, Topology, echo, everywhere, raw, udp};

use crate::{A, A6, B, B6, Family, INET, INET6, at, both};

const POLICY: &str = "block\npass in proto { icmp icmp6 udp } allow-opts\npass out allow-opts";

fn usual() -> Topology {
    Topology::usual()
}

/// The part of a packet that is cut to pieces.
fn transport(packet: &Packet) -> Vec<u8> {
    let header = if packet.src.is_ipv4() { 20 } else { 40 };
    packet.bytes()[header..].to_vec()
}

/// Pieces of `packet` by place: from, to (none is the end), more follow.
fn cut(packet: &Packet, places: &[(usize, usize, bool)]) -> Vec<Packet> {
    let bytes = transport(packet);
    let piece = |(from, to, more): &(usize, usize, bool)| {
        packet.piece(*from, &bytes[*from..(*to).min(bytes.len())], *more)
    };
    places.iter().map(piece).collect()
}

/// What left by `port`, joined.
fn arrived(rig: &mut Rig, port: &str) -> Vec<u8> {
    let mut joined = Vec::new();
    while let Some(frame) = rig.take(port) {
        let ip = &frame[14..];
        let (offset, data) = match ip[0] >> 4 {
            4 => {
                let packet = wire::ipv4::Packet::new_checked(ip).unwrap();
                assert!(packet.verify_checksum());
                (packet.fragment_offset(), packet.payload().to_vec())
            }
            _ => {
                let walk = wire::ipv6::walk(ip).unwrap();
                let fragment = walk.fragment.expect("a piece");
                let data = &ip[fragment.header_offset + 8..walk.end];
                (fragment.offset, data.to_vec())
            }
        };
        assert_eq!(usize::from(offset), joined.len(), "in order, without holes");
        joined.extend(data);
    }
    joined
}

/// Sends pieces, and says what arrived; nothing may be left behind after the timeout.
fn after(rig: &mut Rig, pieces: &[Packet]) -> Vec<u8> {
    for piece in pieces {
        rig.send("sim0", piece);
    }
    let joined = arrived(rig, "sim1");
    rig.expect_nothing_more();
    rig.advance(70_000);
    assert_eq!(rig.changes().get("waiting"), None, "nothing waits for ever");
    joined
}

fn ping(f: Family, len: usize) -> Packet {
    echo(f.a, f.b, 7, 1).data(len)
}

/// In IPv4 (`v4`) and IPv6 (`v6`): whether the datagram arrives.
fn reply(v4: bool, v6: bool, len: usize, places: &[(usize, usize, bool)]) {
    let old = format!("scrub in fragment reassemble\n{POLICY}");
    for (family, replies) in [(INET, v4), (INET6, v6)] {
        for policy in [POLICY, &old] {
            everywhere(policy, &usual(), |rig| {
                let whole = ping(family, len);
                let got = after(rig, &cut(&whole, places));
                let expected = if replies {
                    transport(&whole)
                } else {
                    Vec::new()
                };
                assert_eq!(got, expected, "{}", family.a);
            });
        }
    }
}

const END: usize = usize::MAX;

#[test]
fn frag_two_clean_fragments() {
    reply(true, true, 1000, &[(0, 512, true), (512, END, false)]);
}

#[test]
fn fragping_5000_bytes() {
    both(POLICY, &usual(), |rig, f| {
        let whole = ping(f, 5000);
        assert_eq!(after(rig, &whole.pieces(1400)), transport(&whole));
    });
}

#[test]
fn maxlen_largest_possible_ping_in_random_order() {
    for (f, len) in [(INET, 65_535 - 28), (INET6, 65_535 - 8)] {
        everywhere(POLICY, &usual(), |rig| {
            let whole = ping(f, len);
            let mut pieces = whole.pieces(1448);
            // A fixed shuffle.
            let mut x = 0x5eed_u64;
            for n in (1..pieces.len()).rev() {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                pieces.swap(n, (x % (n as u64 + 1)) as usize);
            }
            assert_eq!(after(rig, &pieces), transport(&whole));
        });
    }
}

#[test]
fn maxpacket0_a_piece_past_the_maximum_is_thrown_away() {
    both(POLICY, &usual(), |rig, f| {
        let whole = ping(f, 1000);
        let mut pieces = cut(&whole, &[(0, 512, true), (512, END, false)]);
        pieces.insert(1, whole.piece(65_528, &[0; 16], false));
        assert_eq!(after(rig, &pieces), transport(&whole));
    });
}

#[test]
fn mf0long_a_second_end_reaches_further() {
    for (f, replies) in [(INET, true), (INET6, false)] {
        everywhere(POLICY, &usual(), |rig| {
            let whole = ping(f, 504);
            let mut pieces = cut(&whole, &[(256, END, false), (0, 256, true)]);
            pieces.insert(1, whole.piece(256, &[9; 320], false));
            let expected = if replies {
                transport(&whole)
            } else {
                Vec::new()
            };
            assert_eq!(after(rig, &pieces), expected);
        });
    }
}

#[test]
fn mf0short_an_end_before_data_that_is_known() {
    reply(
        true,
        false,
        504,
        &[
            (0, 256, true),
            (256, 384, true),
            (256, 320, false),
            (384, END, false),
        ],
    );
}

#[test]
fn mf0atomic_an_atomic_fragment_is_no_part_of_the_queue() {
    everywhere(POLICY, &usual(), |rig| {
        let whole = ping(INET6, 504);
        let pieces = cut(&whole, &[(0, 256, true), (256, END, false)]);
        rig.send("sim0", &pieces[0]);
        let other = ping(INET6, 100);
        let atomic = other.piece(0, &transport(&other), false);
        rig.send("sim0", &atomic);
        rig.expect("sim1", &atomic.hop());
        rig.send("sim0", &pieces[1]);
        assert_eq!(arrived(rig, "sim1"), transport(&whole));
    });
}

#[test]
fn opt_fragments_with_an_ip_option() {
    // Record route, which is not copied into later pieces; and a router alert, which is.
    for (option, later) in [
        (&[7u8, 7, 4, 0, 0, 0, 0, 0][..], 20),
        (&[148, 4, 0, 0][..], 24),
    ] {
        everywhere(POLICY, &usual(), |rig| {
            let whole = ping(INET, 3000).options(option);
            let bytes = transport(&ping(INET, 3000));
            let pieces = [(0, 1400, true), (1400, 2800, true), (2800, 3008, false)]
                .map(|(from, to, more)| whole.piece(from, &bytes[from..to], more));
            for piece in &pieces {
                rig.send("sim0", piece);
            }
            let headers: Vec<usize> = std::iter::from_fn(|| rig.take("sim1"))
                .map(|f| usize::from(f[14] & 15) * 4)
                .collect();
            assert_eq!(headers, [20 + option.len(), later, later]);
        });
        everywhere("pass", &usual(), |rig| {
            for piece in ping(INET, 3000).options(option).pieces(1400) {
                rig.send("sim0", &piece);
            }
            rig.expect_nothing_more();
            assert_eq!(rig.changes()["drop:ip-option"], 1);
        });
    }
}

#[test]
fn opt_a_destination_option_split_over_fragments() {
    everywhere(POLICY, &usual(), |rig| {
        let mut bytes = vec![58, 5, 1, 44];
        bytes.resize(48, 0);
        bytes.extend(transport(&ping(INET6, 800)));
        let whole = raw(A6, B6, 60, &bytes);
        let pieces = cut(&whole, &[(0, 24, true), (24, 400, true), (400, END, false)]);
        assert_eq!(after(rig, &pieces), bytes);
        // The rules saw the echo behind the options.
        assert_eq!(rig.states().len(), 0, "both have expired");
        assert_eq!(rig.changes()["r2.made"], 1);
    });
}

#[test]
fn overhead_the_head_of_a_fragment_overlaps() {
    // The second one; the first one; wholly the first one.
    reply(
        true,
        false,
        504,
        &[(0, 256, true), (384, END, false), (128, 384, true)],
    );
    reply(true, false, 504, &[(0, 256, true), (128, END, false)]);
    reply(
        true,
        false,
        504,
        &[(0, 256, true), (128, 256, true), (256, END, false)],
    );
}

#[test]
fn overtail_the_tail_of_a_fragment_overlaps() {
    reply(
        true,
        false,
        504,
        &[(256, END, false), (128, 264, true), (0, 256, true)],
    );
    reply(
        true,
        false,
        504,
        &[(128, 384, true), (0, 256, true), (384, END, false)],
    );
    reply(
        true,
        false,
        504,
        &[
            (0, 128, true),
            (128, 256, true),
            (0, 256, true),
            (256, END, false),
        ],
    );
}

#[test]
fn cutnew_cutold_dropnew_dropold_in_ipv6() {
    for places in [
        [(0, 264, true), (256, END, false)],
        [(256, END, false), (0, 264, true)],
    ] {
        reply(true, false, 504, &places);
    }
    reply(
        true,
        false,
        504,
        &[(0, 400, true), (256, 384, true), (384, END, false)],
    );
    reply(
        true,
        false,
        504,
        &[(256, 384, true), (0, 400, true), (400, END, false)],
    );
}

#[test]
fn overreplace_at_the_index_boundary() {
    // Places beside 4096 bytes, where lists of pieces are divided in PF.
    reply(
        true,
        false,
        8000,
        &[
            (4096, 5496, true),
            (4080, 5496, true),
            (0, 1400, true),
            (1400, 2800, true),
            (2800, 4080, true),
            (5496, 6896, true),
            (6896, END, false),
        ],
    );
}

#[test]
fn overlimit_a_piece_too_many_at_the_index_boundary() {
    let mut places: Vec<(usize, usize, bool)> = (0..64)
        .map(|n| (4104 + n * 8, 4112 + n * 8, true))
        .collect();
    places.push((4088, 4108 / 8 * 8, true));
    reply(false, false, 8000, &places);
}

#[test]
fn queuelimit_64_fragments_and_no_more() {
    for (count, replies) in [(64, true), (65, false)] {
        let places: Vec<(usize, usize, bool)> = (0..count)
            .map(|n| (n * 8, n * 8 + 8, n + 1 < count))
            .collect();
        reply(replies, replies, count * 8 - 8, &places);
    }
}

#[test]
fn too_many_fragments_of_a_narrow_link() {
    both(
        "block\npass in proto { icmp icmp6 }\npass out",
        &usual(),
        |rig, f| {
            for (len, replies) in [(800, true), (20_000, false)] {
                let whole = ping(f, len).ident(len as u16);
                for piece in whole.pieces(176) {
                    rig.send("sim0", &piece);
                }
                let got = (0..).map_while(|_| rig.take("sim1")).count();
                assert_eq!(got > 0, replies, "{len}");
            }
        },
    );
    both("scrub fragment reassemble\npass", &usual(), |rig, f| {
        for piece in ping(f, 800).pieces(176) {
            rig.send("sim0", &piece);
        }
        assert!((0..).map_while(|_| rig.take("sim1")).count() > 0);
        for piece in ping(f, 20_000).ident(5).pieces(176) {
            rig.send("sim0", &piece);
        }
        rig.expect_nothing_more();
    });
}

#[test]
fn padding_behind_each_fragment_is_ignored() {
    both(POLICY, &usual(), |rig, f| {
        let whole = ping(f, 60);
        for piece in cut(&whole, &[(0, 8, true), (8, 16, true), (16, END, false)]) {
            let src = rig.station("sim0", f.a.parse().unwrap());
            let mut frame = piece.frame(src, rig.mac("sim0"));
            frame.resize(frame.len().max(60) + 9, 0xee);
            rig.send_frame("sim0", &frame);
        }
        let frame = rig.take("sim1").expect("passed");
        let header = if f.digit == "4" { 34 } else { 54 + 8 };
        // Small pieces are gathered into the head: the IPv6 one keeps its fragment header only if others follow.
        assert!(
            frame.ends_with(&transport(&whole)[transport(&whole).len() - 8..]),
            "{header}"
        );
        rig.expect_nothing_more();
    });
}

#[test]
fn udpheader_cut_directly_behind_the_header() {
    both(POLICY, &usual(), |rig, f| {
        let whole = udp(&at(f.a, 1000), &at(f.b, 53)).data(2000);
        let pieces = cut(&whole, &[(0, 8, true), (8, 1200, true), (1200, END, false)]);
        assert_eq!(after(rig, &pieces), transport(&whole));
    });
}

#[test]
fn udpatomic_udp_in_one_atomic_fragment() {
    everywhere(POLICY, &usual(), |rig| {
        let whole = udp(&at(A6, 1000), &at(B6, 53));
        let atomic = whole.piece(0, &transport(&whole), false);
        rig.send("sim0", &atomic);
        rig.expect("sim1", &atomic.hop());
        rig.expect_nothing_more();
    });
}

#[test]
fn doubleatomic_two_fragment_headers_in_a_row() {
    everywhere(POLICY, &usual(), |rig| {
        let header = [0, 0, 0, 0, 0, 0, 7];
        let whole = ping(INET6, 100)
            .extension(44, &header)
            .extension(44, &header);
        rig.send("sim0", &whole);
        rig.counted("received drop:fragment");
    });
}

#[test]
fn ext2long_longer_headers_in_the_second_fragment() {
    everywhere(POLICY, &usual(), |rig| {
        let whole = ping(INET6, 1000);
        let bytes = transport(&whole);
        let mut option = vec![2, 1, 20];
        option.resize(23, 0);
        let long = whole.clone().extension(60, &option);
        let pieces = [
            whole.piece(0, &bytes[..512], true),
            long.piece(512, &bytes[512..], false),
        ];
        assert_eq!(after(rig, &pieces), bytes);
    });
}

#[test]
fn oversize_and_unfragsize_are_dropped() {
    everywhere(POLICY, &usual(), |rig| {
        let whole = ping(INET6, 1000);
        rig.send("sim0", &whole.piece(65_528, &[0; 16], false));
        rig.counted("received drop:fragment");
        // The pieces fit, with the headers in front of them they do not.
        let mut option = vec![2, 1, 20];
        option.resize(23, 0);
        let long = ping(INET6, 65_535 - 8).extension(60, &option);
        for piece in ping(INET6, 65_535 - 8).pieces(1400) {
            let bytes = transport(&piece);
            let word = u16::from_be_bytes([bytes[2], bytes[3]]);
            let piece = long.piece(usize::from(word & !7), &bytes[8..], word & 1 == 1);
            rig.send("sim0", &piece);
        }
        rig.expect_nothing_more();
        assert_eq!(rig.changes()["drop:short"], 1);
    });
}

#[test]
fn zerosecond_an_empty_fragment_of_another_protocol() {
    everywhere(POLICY, &usual(), |rig| {
        let whole = ping(INET6, 1000);
        let mut pieces = cut(&whole, &[(0, 512, true), (512, END, false)]);
        let empty = raw(A6, B6, 17, &[]).piece(512, &[], true);
        pieces.insert(1, empty);
        let last = raw(A6, B6, 17, &[]).piece(512, &[], false);
        pieces.insert(1, last);
        assert_eq!(after(rig, &pieces), transport(&whole));
    });
}

#[test]
fn timeout_75_seconds_against_60() {
    both(POLICY, &usual(), |rig, f| {
        let pieces = cut(&ping(f, 1000), &[(0, 512, true), (512, END, false)]);
        rig.send("sim0", &pieces[0]);
        rig.advance(75_000);
        rig.send("sim0", &pieces[1]);
        rig.expect_nothing_more();
        rig.advance(75_000);
        assert_eq!(rig.changes()["drop:fragment"], 2);
    });
}

#[test]
fn mtu_diff_pieces_of_a_narrow_link_leave_whole_on_a_wide_one() {
    let wide = Topology::usual().mtu("sim1", 1900);
    for policy in ["pass", "scrub fragment reassemble\npass"] {
        let mut rig = Rig::with(policy, &wide, Spread::ONE);
        let whole = udp(&at(A, 1000), &at(B, 53)).data(1800);
        for piece in whole.pieces(1400) {
            rig.send("sim0", &piece);
        }
        rig.expect("sim1", &whole.hop());
        rig.expect_nothing_more();
    }
}

#[test]
fn ping_mtu_1300_is_reported() {
    let narrow = Topology::usual().mtu("sim1", 1300);
    everywhere("pass", &narrow, |rig| {
        rig.send("sim0", &ping(INET, 1280).df());
        let frame = rig.take("sim0").expect("fragmentation needed");
        assert_eq!(
            (frame[34], frame[35], &frame[40..42]),
            (3, 4, &1300u16.to_be_bytes()[..])
        );
        rig.send("sim0", &ping(INET6, 1280));
        let frame = rig.take("sim0").expect("packet too big");
        assert_eq!((frame[54], &frame[58..62]), (2, &1300u32.to_be_bytes()[..]));
        rig.expect_nothing_more();
    });
}

#[test]
fn pieces_are_translated_with_their_head() {
    let nat = "match out on sim1 inet nat-to 198.51.100.1\npass";
    everywhere(nat, &usual(), |rig| {
        let question = udp(&at(A, 1000), &at(B, 53)).data(4000);
        for piece in question.pieces(1400) {
            rig.send("sim0", &piece);
        }
        let frames: Vec<Vec<u8>> = std::iter::from_fn(|| rig.take("sim1")).collect();
        assert_eq!(frames.len(), 3);
        for frame in &frames {
            let ip = wire::ipv4::Packet::new_checked(&frame[14..]).unwrap();
            assert!(ip.verify_checksum());
            assert_eq!(ip.src().to_string(), "198.51.100.1");
        }
        let mut joined = Vec::new();
        frames
            .iter()
            .for_each(|f| joined.extend_from_slice(&f[34..]));
        let port = u16::from_be_bytes([joined[0], joined[1]]);
        let own = udp(&at("198.51.100.1", port), &at(B, 53)).data(4000);
        assert_eq!(joined, transport(&own), "with the right checksum over all");
        // The answer comes in pieces, too, wherever its ports lead.
        let answer = own.answer();
        for piece in answer.pieces(1400) {
            rig.send("sim1", &piece);
        }
        let back = udp(&at(B, 53), &at(A, 1000)).data(4000);
        for piece in back.pieces(1400) {
            rig.expect("sim0", &piece.hop());
        }
        rig.expect_nothing_more();
    });
}
