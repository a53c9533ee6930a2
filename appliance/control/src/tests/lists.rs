//! Lists of what workers know, when some of them do not tell: what is missing is said, and nothing is taken for empty.

use worker::Watched;

use super::kills::fleet;
use super::*;
use crate::api::Question;
use crate::fleet::{ASK_MS_MAX, LIST_MS_MAX, STALL_MS};

fn clock() -> FakeClock {
    FakeClock {
        workers: Workers::default(),
        now_ms: Cell::new(0),
        answers: false,
    }
}

/// A box whose second worker does not read its mail any more.
fn half() -> Rig {
    let b = Rig::new();
    b.turn();
    for (n, worker) in b.workers.lock().unwrap().iter_mut().enumerate() {
        worker.states = vec![State::default(); 3];
        worker.dead = n == 1;
    }
    b
}

/// Each of these said nothing, 0, or that all was well.
#[test]
fn a_worker_that_does_not_answer_is_named_by_all_that_ask_it() {
    let mut b = half();
    let lack = Some("worker 1 does not answer".to_string());
    let states = b.control.states(100);
    assert_eq!((states.entries.len(), &states.lack), (3, &lack));
    assert_eq!(b.control.neighbors().lack, lack);
    assert_eq!(b.control.stations().lack, lack);
    let said = "the list is not complete: worker 1 does not answer";
    let addr = "192.0.2.77".parse().unwrap();
    assert_eq!(b.control.forget_neighbor(addr), Err(said.into()));
    b.push(&[
        EM0,
        ("hostname.em1", "up\n"),
        ("hostname.bridge0", "add em1\nup\n"),
        PASS[1],
    ])
    .unwrap();
    let station = Some("02:00:00:00:00:07");
    assert_eq!(
        b.control.forget_stations("bridge0", station),
        Err(said.into())
    );
    let question = Question::Words("in on em0 udp 192.0.2.9:5 > 192.0.2.1:53".into());
    let note = b.control.why(&question).unwrap().note.unwrap();
    assert!(
        note.starts_with("not all states are known") && note.ends_with("worker 1 does not answer")
    );
}

#[test]
fn who_cannot_be_told_is_named_too() {
    let mut b = half();
    let watched = Mail::Watch(Watched::default());
    while b.control.fleet.tell_all(&watched).is_ok() {
        b.turn();
    }
    let silence = "worker 1 does not answer";
    let trace = b.control.trace_start("", 1, 1).unwrap_err();
    assert_eq!(
        trace,
        format!("trace: {silence}: its packets would be missing")
    );
    assert!(b.control.trace_poll().is_none(), "no trace runs");
    b.push(&[
        EM0,
        ("hostname.em1", "up\n"),
        ("hostname.bridge0", "add em1\nup\n"),
        PASS[1],
    ])
    .unwrap();
    assert_eq!(
        b.control.forget_stations("bridge0", None),
        Err(silence.into())
    );
}

#[test]
fn a_worker_that_stands_still_is_shown_and_not_waited_for() {
    let mut b = half();
    let standing = |b: &mut Rig| {
        let workers = b.control.status().workers;
        workers.iter().map(|w| w.stalled).collect::<Vec<bool>>()
    };
    b.control.on_event(crate::Event::Tick);
    assert_eq!(standing(&mut b), [false, false]);
    for _ in 0..STALL_MS {
        b.control.clock.pause();
    }
    assert_eq!(standing(&mut b), [false, true]);
    let before = b.control.clock.now_ms();
    let lack = Some("worker 1 does not answer".to_string());
    assert_eq!(b.control.neighbors().lack, lack);
    assert!(b.control.clock.now_ms() < before + ASK_MS_MAX);
    b.workers.lock().unwrap()[1].dead = false;
    b.turn();
    assert_eq!(standing(&mut b), [false, false]);
    assert_eq!(b.control.states(100).all().map(|list| list.len()), Ok(6));
}

#[test]
fn each_worker_has_the_whole_time_to_answer_and_sleepers_have_more() {
    let (mut fleet, mut hands) = fleet(2);
    hands[1].reports.push(Report::NeighborsEnd).unwrap();
    let time = clock();
    let lack = fleet.neighbors(&time).lack;
    assert_eq!(lack, Some("worker 0 does not answer".into()));
    assert_eq!(time.now_ms(), ASK_MS_MAX);
    fleet.allow_naps(1_000_000);
    let lack = fleet.neighbors(&time).lack;
    assert_eq!(lack, Some("workers 0 and 1 do not answer".into()));
    assert_eq!(time.now_ms(), ASK_MS_MAX * 3 + 2000);
}

/// Asked without end, a large table kept the console busy; cut off, it looked whole.
#[test]
fn a_list_that_takes_too_long_says_how_much_of_it_there_is() {
    let mut b = Rig::new();
    b.turn();
    for worker in b.workers.lock().unwrap().iter_mut() {
        worker.states = vec![State::default(); 200_000];
    }
    let before = b.control.clock.now_ms();
    let listed = b.control.states(300_000);
    // Each answer takes a millisecond here.
    assert_eq!(b.control.clock.now_ms(), before + LIST_MS_MAX);
    let found = listed.entries.len();
    let lack = format!("{found} states in {LIST_MS_MAX} ms, and there are more");
    assert!((200_000..300_000).contains(&found), "{found}");
    assert_eq!(listed.lack, Some(lack));
}
