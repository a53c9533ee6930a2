//! The share of packets that reach a core which does not own their connection and are handed to another, by what the
//! rules do to them. The workers take turns on this thread, so the share is exact, and the cost is that of the work
//! without what two cores make each other wait.

use serde::{Deserialize, Serialize};

use crate::calibrate::{core_ghz, thread_ns};
use crate::frame::Packet;
use crate::policy::{PUBLISHED, Policy, Purpose};
use crate::rig::{FRAMES, Plan, Rig};
use crate::scenario::{packet, translated_answers};
use crate::spread::Spread;
use crate::world::World;

/// Flows of each mix.
const FLOWS: usize = 20_000;
/// Rounds of questions and answers before anything counts: a connection of UDP is established when both ends have spoken
/// twice, and the packet after that wakes its flow.
const WARM_UP: usize = 3;
/// Rounds that count.
const ROUNDS: usize = 7;

/// One line of the table.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) workers: usize,
    pub(crate) flows: usize,
    pub(crate) packets: u64,
    /// Of the packets received, percent.
    pub(crate) handed_over: f64,
    /// Of an established connection: core cycles per packet, all workers together, of all rounds.
    pub(crate) cycles: Spread,
    pub(crate) lost: u64,
}

/// What is measured: name, what rules do, whether the card spreads packets.
const MIXES: [(&str, Purpose, bool); 4] = [
    ("filter", Purpose::Filter, true),
    ("nat", Purpose::Nat, true),
    ("rdr", Purpose::Rdr, true),
    ("filter, no rss", Purpose::Filter, false),
];

/// Every mix with so many workers.
pub(crate) fn rows(workers: usize) -> impl Iterator<Item = Row> {
    MIXES.into_iter().map(move |mix| row(mix, workers))
}

fn row((name, purpose, rss): (&str, Purpose, bool), workers: usize) -> Row {
    let plan = Plan {
        world: World::Routed,
        policy: Policy {
            purpose,
            rules: 20,
            entries: 0,
        },
        states: 2 * FLOWS + 1024,
        workers,
        rss,
    };
    let mut rig = Rig::new(plan, FRAMES);
    let asks = |n: usize| match purpose {
        Purpose::Rdr => from_outside(n as u32),
        _ => packet(false, n as u32, None),
    };
    let (asking, answering) = if purpose == Purpose::Rdr {
        (1, 0)
    } else {
        (0, 1)
    };
    rig.load(asking, FLOWS, asks);
    rig.drain();
    let answers: Vec<Packet> = match purpose {
        Purpose::Nat => translated_answers(&rig, None),
        Purpose::Rdr => (0..FLOWS).map(|n| from_server(asks(n))).collect(),
        _ => (0..FLOWS).map(|n| asks(n).reversed()).collect(),
    };
    let counts = |rig: &Rig| {
        let received = rig.count(|c| c.received.get());
        (
            received,
            rig.count(|c| c.handed_out.get()),
            rig.count(|c| c.dropped.get()),
        )
    };
    let round = |rig: &mut Rig| {
        rig.load(asking, FLOWS, asks);
        rig.load(answering, answers.len(), |n| answers[n]);
        let ghz = core_ghz();
        let started = thread_ns();
        rig.drain();
        (thread_ns() - started) * ghz
    };
    for _ in 0..WARM_UP {
        round(&mut rig);
    }
    let before = counts(&rig);
    let cycles: Vec<f64> = (0..ROUNDS).map(|_| round(&mut rig)).collect();
    let after = counts(&rig);
    let packets = after.0 - before.0;
    let each = packets as f64 / ROUNDS as f64;
    Row {
        scenario: name.into(),
        workers,
        flows: FLOWS,
        packets,
        handed_over: 100.0 * (after.1 - before.1) as f64 / packets as f64,
        cycles: Spread::of(cycles.into_iter().map(|cycles| cycles / each)),
        lost: after.2 - before.2,
    }
}

/// A client outside asks the published server.
fn from_outside(n: u32) -> Packet {
    Packet {
        src: 0xc633_0000 | u128::from(n as u16),
        dst: PUBLISHED.into(),
        ..packet(false, n, None)
    }
}

/// The server that the rules send it to answers.
fn from_server(asked: Packet) -> Packet {
    Packet {
        dst: crate::policy::SERVER.into(),
        ..asked
    }
    .reversed()
}
