//! Conversations as rows: who sends, flags, sequence and acknowledgement relative to the initial numbers, payload,
//! window; then what the tracker says and the states afterwards.

use super::*;
use TcpVerdict::{BadState, BadStateReset, Pass, PassLoose, Reuse};

const ISS: [u32; 2] = [0xffff_ff00, 5_000_000];

struct Row(usize, u8, u32, u32, u32, u16, TcpVerdict, [&'static str; 2]);

fn segment(row: &Row) -> Segment {
    let (from, to) = (row.0, 1 - row.0);
    Segment {
        seq: ISS[from].wrapping_add(row.2),
        ack: if row.1 & ACK != 0 {
            ISS[to].wrapping_add(row.3)
        } else {
            0
        },
        window: row.5,
        flags: row.1,
        wscale: None,
        payload: row.4,
    }
}

fn check(name: &str, rows: &[Row]) {
    let mut peers = begin(&segment(&rows[0]));
    for (n, row) in rows.iter().enumerate().skip(1) {
        let [a, b] = &mut peers;
        let (src, dst) = if row.0 == 0 { (a, b) } else { (b, a) };
        let (verdict, _) = track(src, dst, &segment(row));
        let states = peers.map(|p| state_name(p.state));
        assert_eq!((verdict, states), (row.6, row.7), "{name}, row {n}");
    }
}

const SA: u8 = SYN | ACK;
const FA: u8 = FIN | ACK;

#[test]
fn a_whole_connection_from_handshake_to_close() {
    check(
        "plain",
        &[
            Row(0, SYN, 0, 0, 0, 65535, Pass, ["", ""]),
            Row(1, SA, 0, 1, 0, 65535, Pass, ["ESTABLISHED", "SYN_SENT"]),
            Row(0, ACK, 1, 1, 0, 65535, Pass, ["ESTABLISHED", "ESTABLISHED"]),
            Row(
                0,
                ACK,
                1,
                1,
                1000,
                65535,
                Pass,
                ["ESTABLISHED", "ESTABLISHED"],
            ),
            Row(
                1,
                ACK,
                1,
                1001,
                1400,
                65535,
                Pass,
                ["ESTABLISHED", "ESTABLISHED"],
            ),
            Row(
                0,
                FA,
                1001,
                1401,
                0,
                65535,
                Pass,
                ["CLOSING", "ESTABLISHED"],
            ),
            Row(
                1,
                ACK,
                1401,
                1002,
                0,
                65535,
                Pass,
                ["FIN_WAIT_2", "ESTABLISHED"],
            ),
            Row(1, FA, 1401, 1002, 0, 65535, Pass, ["FIN_WAIT_2", "CLOSING"]),
            Row(
                0,
                ACK,
                1002,
                1402,
                0,
                65535,
                Pass,
                ["FIN_WAIT_2", "FIN_WAIT_2"],
            ),
            Row(
                0,
                SYN,
                9_000_000,
                0,
                0,
                65535,
                Reuse,
                ["FIN_WAIT_2", "FIN_WAIT_2"],
            ),
        ],
    );
}

/// A server that answers by cookies while it is flooded, and later has room.
#[test]
fn another_answer_is_taken_until_one_is_acknowledged() {
    let half = ["ESTABLISHED", "SYN_SENT"];
    let up = ["ESTABLISHED", "ESTABLISHED"];
    const OTHER: u32 = 0x9000_0000;
    check(
        "lost",
        &[
            Row(0, SYN, 0, 0, 0, 1000, Pass, ["", ""]),
            Row(1, SA, 0, 1, 0, 1000, Pass, half),
            // It must acknowledge the SYN, and nothing but it; and be an answer.
            Row(1, SA, OTHER, 3, 0, 1000, BadState, half),
            Row(1, SA, OTHER, 0xffff_ffff, 0, 1000, BadState, half),
            Row(1, SA | RST, OTHER, 1, 0, 1000, BadState, half),
            Row(1, SA | FIN, OTHER, 1, 0, 1000, BadState, half),
            Row(1, SYN, OTHER, 0, 0, 1000, BadState, half),
            Row(1, ACK, OTHER, 1, 10, 1000, BadState, half),
            Row(0, SYN, 0, 0, 0, 1000, Pass, half),
            Row(1, SA, OTHER, 1, 0, 1000, Pass, half),
            // The first one is over now, and the second fits as it would have.
            Row(0, ACK, 1, 1, 0, 1000, BadState, half),
            Row(1, SA, OTHER, 1, 0, 1000, Pass, half),
            Row(0, ACK, 1, OTHER + 1, 0, 1000, Pass, up),
            Row(1, SA, 0, 1, 0, 1000, BadState, up),
            Row(1, ACK, OTHER + 1, 1, 1000, 1000, Pass, up),
            Row(1, ACK, OTHER + 1001, 1, 1, 1000, BadState, up),
        ],
    );
}

#[test]
fn segments_outside_the_window_are_dropped_and_change_nothing() {
    let up = ["ESTABLISHED", "ESTABLISHED"];
    check(
        "windows",
        &[
            Row(0, SYN, 0, 0, 0, 1000, Pass, ["", ""]),
            Row(1, SA, 0, 1, 0, 1000, Pass, ["ESTABLISHED", "SYN_SENT"]),
            Row(0, ACK, 1, 1, 0, 1000, Pass, up),
            // One octet beyond the offered window.
            Row(0, ACK, 1, 1, 1001, 1000, BadState, up),
            Row(0, ACK, 1, 1, 1000, 1000, Pass, up),
            // A retransmission within one window passes, an older one does not.
            Row(0, ACK, 1, 1, 1000, 1000, Pass, up),
            Row(0, ACK, 0u32.wrapping_sub(1500), 1, 10, 1000, BadState, up),
            // Acknowledges far more than was sent.
            Row(0, ACK, 1001, 200_000, 0, 1000, BadState, up),
            Row(1, ACK, 1, 1001, 0, 1000, Pass, up),
        ],
    );
}

#[test]
fn after_both_sides_closed_stray_segments_pass_loosely() {
    let over = ["FIN_WAIT_2", "FIN_WAIT_2"];
    check(
        "stray",
        &[
            Row(0, SYN, 0, 0, 0, 1000, Pass, ["", ""]),
            Row(1, SA, 0, 1, 0, 1000, Pass, ["ESTABLISHED", "SYN_SENT"]),
            Row(0, FA, 1, 1, 0, 1000, Pass, ["CLOSING", "ESTABLISHED"]),
            Row(1, FA, 1, 2, 0, 1000, Pass, ["FIN_WAIT_2", "CLOSING"]),
            Row(0, ACK, 2, 2, 0, 1000, Pass, over),
            Row(0, ACK, 3000, 2, 10, 1000, PassLoose, over),
            Row(0, ACK, 3000 + 80_000, 2, 10, 1000, BadState, over),
        ],
    );
}

#[test]
fn a_reset_must_name_the_next_octet() {
    let up = ["ESTABLISHED", "ESTABLISHED"];
    let handshake = || {
        vec![
            Row(0, SYN, 0, 0, 0, 65535, Pass, ["", ""]),
            Row(1, SA, 0, 1, 0, 65535, Pass, ["ESTABLISHED", "SYN_SENT"]),
            Row(0, ACK, 1, 1, 0, 65535, Pass, up),
        ]
    };
    for (offset, verdict, states) in [
        (1u32, Pass, ["TIME_WAIT", "TIME_WAIT"]),
        (0, Pass, ["TIME_WAIT", "TIME_WAIT"]),
        (2, Pass, ["TIME_WAIT", "TIME_WAIT"]),
        (3, BadState, up),
        (u32::MAX, BadState, up),
        (5000, BadState, up),
    ] {
        let mut rows = handshake();
        rows.push(Row(1, RST, offset, 0, 0, 0, verdict, states));
        check("reset", &rows);
    }
}

#[test]
fn a_late_reset_that_acknowledges_exactly_what_was_sent_ends_the_connection() {
    // Data is lost behind the firewall; the receiver's reset names the number before the gap.
    let up = ["ESTABLISHED", "ESTABLISHED"];
    let over = ["TIME_WAIT", "TIME_WAIT"];
    for (flags, seq, ack, verdict, states) in [
        (RST | ACK, 1u32, 1, Pass, over),
        (RST | ACK, 1, 2, BadState, up),
        (RST, 1, 0, BadState, up),
        (RST | ACK, 1003, 1, BadState, up),
        (RST | ACK, 0u32.wrapping_sub(70_000), 1, BadState, up),
    ] {
        check(
            "late reset",
            &[
                Row(0, SYN, 0, 0, 0, 65535, Pass, ["", ""]),
                Row(1, SA, 0, 1, 0, 65535, Pass, ["ESTABLISHED", "SYN_SENT"]),
                Row(0, ACK, 1, 1, 0, 65535, Pass, up),
                Row(0, ACK, 1, 1, 1000, 65535, Pass, up),
                Row(0, flags, seq, ack, 0, 0, verdict, states),
            ],
        );
    }
}

#[test]
fn a_syn_for_an_established_connection_is_challenged() {
    let up = ["ESTABLISHED", "ESTABLISHED"];
    for side in [0, 1] {
        check(
            "reborn",
            &[
                Row(0, SYN, 0, 0, 0, 65535, Pass, ["", ""]),
                Row(1, SA, 0, 1, 0, 65535, Pass, ["ESTABLISHED", "SYN_SENT"]),
                Row(0, ACK, 1, 1, 0, 65535, Pass, up),
                Row(side, SYN, 700_000, 0, 0, 65535, TcpVerdict::Challenge, up),
                Row(0, ACK, 1, 1, 10, 65535, Pass, up),
            ],
        );
    }
}

#[test]
fn in_a_connection_closed_in_one_direction_a_blind_reset_does_not_pass() {
    let half = ["FIN_WAIT_2", "ESTABLISHED"];
    let opened = || {
        vec![
            Row(0, SYN, 0, 0, 0, 65535, Pass, ["", ""]),
            Row(1, SA, 0, 1, 0, 65535, Pass, ["ESTABLISHED", "SYN_SENT"]),
            Row(0, FA, 1, 1, 0, 65535, Pass, ["CLOSING", "ESTABLISHED"]),
            Row(1, ACK, 1, 2, 0, 65535, Pass, half),
        ]
    };
    for (flags, seq, ack, verdict, states) in [
        (RST, 500_000, 0, BadState, half),
        (RST | ACK, 500_000, 900_000, BadState, half),
        (ACK, 500_000, 900_000, BadState, half),
        // One sensible number is enough for a segment without data that is no reset.
        (ACK, 500_000, 2, Pass, half),
        (ACK, 1, 900_000, PassLoose, half),
        (RST, 1, 0, Pass, ["TIME_WAIT", "TIME_WAIT"]),
        (RST, 60_000, 0, PassLoose, ["TIME_WAIT", "TIME_WAIT"]),
    ] {
        let mut rows = opened();
        rows.push(Row(1, flags, seq, ack, 0, 0, verdict, states));
        check("half closed", &rows);
    }
}

#[test]
fn a_retransmitted_syn_sets_no_limit_for_the_side_that_was_not_heard() {
    // The server's number lies in the half of the circle that is "before" a small one.
    let syn = Segment {
        seq: 7,
        window: 65_535,
        flags: SYN,
        ..Segment::default()
    };
    let [mut a, mut b] = begin(&syn);
    assert_eq!(track(&mut a, &mut b, &syn).0, Pass);
    let answer = Segment {
        seq: 0xc000_0000,
        ack: 8,
        window: 1000,
        flags: SA,
        ..Segment::default()
    };
    assert_eq!(track(&mut b, &mut a, &answer).0, Pass);
    assert_eq!(b.seq_hi, 0xc000_0001 + 65_535);
}

#[test]
fn a_segment_on_the_far_side_of_the_circle_does_not_pass_a_closed_window() {
    let up = TcpState::Established as u8;
    let before = Peer {
        seq_lo: 4_294_950_791,
        seq_hi: 4_294_916_903,
        win_max: 65_535,
        state: up,
        ..Peer::default()
    };
    let mut src = before;
    let mut dst = Peer {
        seq_lo: 105_958,
        seq_hi: 171_493,
        win_max: 2435,
        state: up,
        ..Peer::default()
    };
    let segment = Segment {
        seq: 2_147_460_178,
        ack: 105_958,
        window: 30_823,
        flags: ACK,
        payload: 865,
        ..Segment::default()
    };
    assert_eq!(track(&mut src, &mut dst, &segment).0, BadState);
    assert_eq!(src, before);
}

#[test]
fn a_refused_segment_of_a_side_not_yet_heard_teaches_nothing() {
    let syn = Segment {
        seq: 7,
        window: 1000,
        flags: SYN,
        wscale: Some(7),
        ..Segment::default()
    };
    let [mut a, mut b] = begin(&syn);
    let before = [a, b];
    let forged = Segment {
        seq: 77,
        ack: 90_000_000,
        flags: SA,
        ..Segment::default()
    };
    assert_eq!(track(&mut b, &mut a, &forged).0, BadStateReset);
    assert_eq!([a, b], before);
}

#[test]
fn sloppy_tracking_follows_a_close_of_which_it_sees_one_direction() {
    let [mut a, mut b] = begin(&Segment {
        flags: SYN,
        seq: 1,
        ..Segment::default()
    });
    for (flags, states) in [
        (ACK, ["ESTABLISHED", "ESTABLISHED"]),
        (FA, ["CLOSING", "CLOSING"]),
        (ACK, ["CLOSING", "FIN_WAIT_2"]),
    ] {
        let segment = Segment {
            flags,
            ..Segment::default()
        };
        assert_eq!(track_sloppy(&mut a, &mut b, &segment).0, Pass);
        assert_eq!([a, b].map(|p| state_name(p.state)), states, "{flags:#x}");
    }
}

#[test]
fn a_refused_connection_ends_at_once() {
    check(
        "refused",
        &[
            Row(0, SYN, 0, 0, 0, 65535, Pass, ["", ""]),
            Row(
                1,
                RST | ACK,
                0u32.wrapping_sub(ISS[1]),
                1,
                0,
                0,
                Pass,
                ["TIME_WAIT", "TIME_WAIT"],
            ),
        ],
    );
}

#[test]
fn an_old_half_open_connection_gets_a_reset_during_the_handshake() {
    check(
        "half open",
        &[
            Row(0, SYN, 0, 0, 0, 65535, Pass, ["", ""]),
            Row(1, SYN, 0, 0, 0, 65535, Pass, ["SYN_SENT", "SYN_SENT"]),
            Row(
                1,
                SA,
                900_000,
                70_000_000,
                0,
                65535,
                BadStateReset,
                ["SYN_SENT", "SYN_SENT"],
            ),
        ],
    );
}

#[test]
fn a_connection_picked_up_in_the_middle_passes_loosely() {
    // "pass flags any": the first segment seen is data.
    check(
        "pick up",
        &[
            Row(0, ACK, 500, 900, 100, 500, Pass, ["", ""]),
            Row(
                1,
                ACK,
                900,
                600,
                1400,
                500,
                Pass,
                ["ESTABLISHED", "SYN_SENT"],
            ),
            Row(
                0,
                ACK,
                600,
                2300,
                0,
                500,
                Pass,
                ["ESTABLISHED", "ESTABLISHED"],
            ),
        ],
    );
}

#[test]
fn scaled_windows_are_honored_only_if_both_sides_offer_scaling() {
    let syn = Segment {
        seq: 100,
        window: 1000,
        flags: SYN,
        wscale: Some(7),
        ..Segment::default()
    };
    for (answer, limit) in [(Some(3), 8000u32), (None, 1000)] {
        let [mut a, mut b] = begin(&syn);
        let syn_ack = Segment {
            seq: 900,
            ack: 101,
            window: 1000,
            flags: SA,
            wscale: answer,
            payload: 0,
        };
        assert_eq!(track(&mut b, &mut a, &syn_ack).0, Pass);
        let ack = Segment {
            seq: 101,
            ack: 901,
            window: 1000,
            flags: ACK,
            ..Segment::default()
        };
        assert_eq!(track(&mut a, &mut b, &ack).0, Pass);
        // B offers 1000, scaled by its own shift from now on.
        let offer = Segment {
            seq: 901,
            ack: 101,
            window: 1000,
            flags: ACK,
            ..Segment::default()
        };
        assert_eq!(track(&mut b, &mut a, &offer).0, Pass);
        let mut data = Segment {
            payload: limit + 1,
            ..ack
        };
        assert_eq!(track(&mut a, &mut b, &data).0, BadState, "{answer:?}");
        data.payload = limit;
        assert_eq!(track(&mut a, &mut b, &data).0, Pass, "{answer:?}");
    }
}

#[test]
fn timeouts_follow_the_states() {
    let peer = |state: TcpState| Peer {
        state: state as u8,
        ..Peer::default()
    };
    use TcpState::*;
    for (a, b, timeout) in [
        (SynSent, Closed, Timeout::TcpOpening),
        (Established, SynSent, Timeout::TcpOpening),
        (Established, Established, Timeout::TcpEstablished),
        (Closing, Established, Timeout::TcpClosing),
        (FinWait2, Established, Timeout::TcpClosing),
        (Closing, FinWait2, Timeout::TcpFinWait),
        (FinWait2, FinWait2, Timeout::TcpClosed),
        (TimeWait, TimeWait, Timeout::TcpClosed),
    ] {
        assert_eq!(timeout_for(&peer(a), &peer(b)), timeout, "{a:?} {b:?}");
        assert_eq!(timeout_for(&peer(b), &peer(a)), timeout, "{b:?} {a:?}");
    }
}

#[test]
fn sloppy_tracking_needs_one_direction_only() {
    let [mut a, mut b] = begin(&Segment {
        flags: SYN,
        seq: 1,
        ..Segment::default()
    });
    let far = Segment {
        flags: ACK,
        seq: 123_456_789,
        ack: 99,
        ..Segment::default()
    };
    assert_eq!(
        track_sloppy(&mut a, &mut b, &far),
        (Pass, Timeout::TcpEstablished)
    );
}
