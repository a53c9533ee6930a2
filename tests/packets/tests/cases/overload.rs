//! Everything has a limit, and what goes beyond it is dropped with its own reason.

use filter::Reason;
use packets::{Packet, Rig, Spread, Topology, udp};

use crate::{A, B, at};

fn burst(src: &str, dst: &str) -> Vec<Packet> {
    (0..64).map(|n| udp(&at(src, n), &at(dst, 9))).collect()
}

#[test]
fn frames_that_the_card_does_not_take_are_dropped_when_the_queue_is_full() {
    let topology = Topology::usual()
        .interface("sim2", &["10.9.0.1/24"])
        .host(&["10.9.0.2"])
        .cards_of(8);
    let mut rig = Rig::new("", &topology);
    for n in 0..64 {
        rig.arrive("sim0", &burst(A, B)[n]);
        rig.arrive("sim2", &burst("10.9.0.2", B)[n]);
    }
    rig.run();
    rig.ignore_rest();
    // 64 wait in the queue of the port; the card takes eight, and eight more.
    rig.counted(
        "received 128 passed 72 drop:tx-full 56 searches 256 sim0.in4.pass 64 sim2.in4.pass 64
         sim1.out4.pass 128 default.in 128 default.out 128",
    );
}

#[test]
fn answers_are_limited_per_second_and_by_the_queue_of_own_packets() {
    let mut rig = Rig::new("block return", &Topology::usual());
    for n in 0..64 {
        rig.arrive("sim0", &burst(A, B)[n]);
        rig.arrive("sim1", &burst(B, A)[n]);
    }
    rig.run();
    rig.ignore_rest();
    rig.counted(
        "received 128 drop:match 128 generated 100 passed 64 drop:congestion 36 searches 128
         sim0.in4.block 64 sim1.in4.block 64 r0.evals 128 r0.in 128",
    );
    // The second after there are answers again.
    rig.advance(1000);
    rig.mark();
    rig.send("sim0", &burst(A, B)[0]);
    assert!(rig.take("sim0").is_some());
}

#[test]
fn a_worker_that_does_not_keep_up_costs_drops_at_the_handing_one() {
    let spread = Spread {
        workers: 2,
        rss: false,
        order: 0,
    };
    let mut rig = Rig::with("", &Topology::usual(), spread);
    let room = worker::mail::HANDOFF_RING;
    let foreign = (0..)
        .map(|port| udp(&at(A, port), &at(B, 9)))
        .find(|p| {
            rig.mark();
            let before = rig.handed_over();
            rig.send("sim0", p);
            rig.expect("sim1", &p.hop());
            rig.handed_over() > before
        })
        .expect("some port belongs to the other worker");
    rig.mark();
    for _ in 0..(room / 64 + 2) {
        for _ in 0..64 {
            rig.arrive("sim0", &foreign);
        }
        rig.turn_only(0);
    }
    rig.run();
    rig.ignore_rest();
    let sent = (room / 64 + 2) * 64;
    rig.counted(&format!(
        "received {sent} passed {room} drop:handoff-full {} searches {} sim0.in4.pass {room}
         sim1.out4.pass {room} default.in {room} default.out {room}",
        sent - room,
        room * 2
    ));
}

#[test]
fn a_packet_without_room_for_its_frame_is_dropped() {
    let mut rig = Rig::new("", &Topology::usual());
    let packet = udp("198.51.100.1:1", &at(B, 1)).data(300);
    rig.host_sends_from(&packet, 120);
    rig.counted("from_host drop:no-buffer searches sim1.out4.pass default.out");
}

#[test]
fn an_answer_for_which_there_is_no_buffer_is_counted() {
    let mut rig = Rig::new("block return", &Topology::usual().buffers(8));
    for n in 0..8 {
        rig.arrive("sim0", &burst(A, B)[n]);
    }
    rig.run();
    // All eight buffers hold packets when the answers are to be made.
    rig.counted(
        "received 8 drop:match 8 generated 8 drop:no-buffer 8 searches 8 sim0.in4.block 8
         r0.evals 8 r0.in 8",
    );
    rig.send("sim0", &burst(A, B)[0]);
    assert!(rig.take("sim0").is_some(), "there are buffers again");
}

#[test]
fn pieces_for_which_there_is_no_buffer_are_counted() {
    let topology = Topology::new()
        .interface("sim0", &["192.0.2.1/24"])
        .host(&[A])
        .interface("sim1", &["198.51.100.1/24"])
        .host(&[B])
        .mtu("sim1", 600)
        .buffers(3);
    let mut rig = Rig::new("", &topology);
    let large = udp(&at(A, 1), &at(B, 1)).data(1472);
    rig.send("sim0", &large);
    for piece in &large.hop().pieces(576)[..2] {
        rig.expect("sim1", piece);
    }
    rig.counted(
        "received consumed generated 3 passed 2 drop:no-buffer searches 2 sim0.in4.pass sim1.out4.pass
         default.in default.out",
    );
}

/// Reasons that nothing in the dataplane gives yet, and why.
const NOT_YET: &[(Reason, &str)] = &[
    (
        Reason::BadOffset,
        "header positions are checked as normalize and short",
    ),
    (Reason::BadTimestamp, "TCP timestamps are not followed yet"),
    (Reason::SynProxy, "synproxy comes later"),
    (Reason::Translate, "translation comes later"),
    (
        Reason::Loop,
        "every packet gets a way or a reason before; kept for defense",
    ),
    (
        Reason::Oversize,
        "only cards that chain buffers; counted by the driver",
    ),
];

#[test]
fn every_reason_has_a_case() {
    let cases = [
        include_str!("bridge_frames.rs"),
        include_str!("filter.rs"),
        include_str!("forward.rs"),
        include_str!("fragment.rs"),
        include_str!("limits_sources.rs"),
        include_str!("link_lagg.rs"),
        include_str!("local.rs"),
        include_str!("neighbor.rs"),
        include_str!("overload.rs"),
        include_str!("reload.rs"),
        include_str!("state.rs"),
    ];
    let table = include_str!("forward.rs");
    for reason in Reason::ALL {
        let (counted, quoted) = (
            format!("drop:{}", reason.name()),
            format!("\"{}\"", reason.name()),
        );
        let shown = cases.iter().any(|c| c.contains(&counted)) || table.contains(&quoted);
        let later = NOT_YET.iter().any(|(r, _)| r == reason);
        assert!(
            shown != later,
            "{}: a case or an excuse, not both",
            reason.name()
        );
    }
}
