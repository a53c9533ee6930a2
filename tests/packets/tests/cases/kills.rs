//! Kills take their share of each turn, however many there are and however few states a large table has.

use filter::Kill;
use packets::{Rig, Spread, Topology, udp};
use worker::{Mail, Report};

use crate::{A, B, at};

/// Most states that kills take out in one turn.
const SHARE: usize = 32;
/// Most turns that an answer about states takes.
const ANSWER: usize = 128;

/// A box with one state of the way in for each source port from 3000 on.
fn box_with(states: u16) -> Rig {
    let policy = "pass in on sim0\npass out on sim1 no state";
    let mut rig = Rig::new(policy, &Topology::usual());
    for port in 0..states {
        rig.send("sim0", &udp(&at(A, 3000 + port), &at(B, 53)));
    }
    rig.ignore_rest();
    rig.mark();
    rig
}

/// Kills what has been asked for, turn by turn; how many turns that took, and what was reported.
fn killed(rig: &mut Rig) -> (usize, Vec<u64>) {
    let (mut turns, mut told) = (0, Vec::new());
    let mut before = rig.states().len();
    while rig.one_turn(0, 0) {
        turns += 1;
        let after = rig.states().len();
        assert!(before - after <= SHARE, "{before} to {after} in one turn");
        before = after;
        told.extend(rig.reports().into_iter().filter_map(|report| match report {
            Report::Killed(report) => (report.left == 0).then_some(report.killed),
            _ => None,
        }));
    }
    (turns, told)
}

#[test]
fn many_kills_wait_their_turn_and_each_is_told_its_own_number() {
    let mut rig = box_with(200);
    let ids: Vec<u64> = rig.states().iter().map(|st| st.id).collect();
    // More than are at work at once, and twice each: what comes later finds nothing left.
    for id in ids.iter().take(30).flat_map(|id| [id, id]) {
        rig.kill_later(Kill {
            id: Some(*id),
            ..Kill::default()
        });
    }
    let (_, mut told) = killed(&mut rig);
    told.sort_unstable();
    assert_eq!(told, [[0; 30], [1; 30]].concat());
    assert_eq!(rig.states().len(), 170);
    rig.counted("r0.gone 30");

    // One look round the table serves all of them: the last is done as soon as a single one would be.
    rig.kill_later(Kill::default());
    let (alone, told) = killed(&mut rig);
    assert_eq!(told, [170]);
    for _ in 0..4 {
        rig.kill_later(Kill::default());
    }
    let (together, told) = killed(&mut rig);
    assert_eq!(told, [0; 4]);
    assert!(together <= alone + 4, "{together} turns and not {alone}");
    rig.counted("r0.gone 170");
}

/// A question for the only state of a large table was answered after the whole table.
#[test]
fn an_answer_ends_after_so_many_places_however_few_states_there_are() {
    let policy = "pass in on sim0\npass out on sim1 no state";
    let mut rig = Rig::sized(policy, &Topology::usual(), Spread::ONE, 40_000);
    rig.send("sim0", &udp(&at(A, 3000), &at(B, 53)));
    rig.ignore_rest();
    rig.mark();
    let (mut from, mut questions, mut told) = (0, 0, 0);
    loop {
        questions += 1;
        rig.ask(Mail::ListStates { from, count: 256 });
        let mut turns = 0;
        let next = loop {
            rig.one_turn(0, 0);
            turns += 1;
            let reports = rig.reports();
            told += reports
                .iter()
                .filter(|r| matches!(r, Report::State(_)))
                .count();
            match reports.last() {
                Some(Report::StatesEnd { next }) => break *next,
                _ => assert!(turns < ANSWER, "no end after {turns} turns"),
            }
        };
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!((told, rig.states().len()), (1, 1));
    let places = rig.states_capacity();
    assert_eq!(questions, places.div_ceil(ANSWER * 128), "{places} places");
}

#[test]
fn a_packet_finds_no_state_that_a_kill_has_not_come_to_yet() {
    let mut rig = box_with(200);
    rig.kill_later(Kill::default());
    assert!(rig.one_turn(0, 0));
    assert_eq!(rig.states().len(), 200 - SHARE);
    rig.mark();
    // Its connection begins anew, and lives on.
    let packet = udp(&at(A, 3199), &at(B, 53));
    rig.exchange(
        "sim0",
        &packet,
        &[("sim1", packet.hop())],
        "received passed searches 2 sim0.in4.pass sim1.out4.pass r0.evals 2 r0.in r0.made r0.gone 168
         r1.evals 2 r1.out",
    );
    assert_eq!(rig.states().len(), 1);
    assert_eq!(killed(&mut rig), (0, vec![]));
}
