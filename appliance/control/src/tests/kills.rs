//! Kills that take longer than anybody waits, with workers that are played by hand.

use worker::KILLS_AT_WORK;

use super::*;
use crate::api::{KillView, Killing, NotKilled};
use crate::fleet::{ASK_MS_MAX, Fleet, STALL_MS};
use crate::killing::{ENDED_MAX, KILLS_MAX};

/// The worker's ends of what matters here.
pub(super) struct Hand {
    pub(super) mail: Consumer<Mail>,
    pub(super) reports: Producer<Report>,
    pub(super) counters: Arc<Counters>,
}

impl Hand {
    /// Numbers of the kills that have come.
    fn orders(&mut self) -> Vec<u64> {
        let mail = std::iter::from_fn(|| self.mail.pop());
        let order = |mail| match mail {
            Mail::Kill(_, order) => order,
            other => panic!("{other:?}"),
        };
        mail.map(order).collect()
    }

    fn tells(&mut self, order: u64, killed: u64, left: u32) {
        let report = KillReport {
            order,
            killed,
            left,
            places: 1000,
        };
        self.reports.push(Report::Killed(report)).unwrap();
    }
}

pub(super) fn fleet(workers: u16) -> (Fleet, Vec<Hand>) {
    let mut hands = Vec::new();
    let link = |cpu| {
        let (mail_tx, mail) = ring(64);
        let (reports, report_rx) = ring(1024);
        let counters = Arc::new(Counters::new(1));
        hands.push(Hand {
            mail,
            reports,
            counters: counters.clone(),
        });
        WorkerLink {
            config: published().0,
            mail: mail_tx,
            reports: report_rx,
            log: ring(2).1,
            steps: ring(2).1,
            counters,
            cpu,
        }
    };
    let links = (0..workers).map(link).collect();
    (Fleet::new(links), hands)
}

fn all() -> Vec<filter::Kill> {
    vec![filter::Kill::default()]
}

fn begin(fleet: &mut Fleet, now_ms: u64) -> Result<u32, NotKilled> {
    fleet.begin_kill("-F states".into(), all(), now_ms)
}

fn told(view: &KillView) -> (u64, bool, u8, u64) {
    (view.killed, view.done, view.percent, view.seconds)
}

#[test]
fn a_kill_that_takes_long_says_how_far_it_is_and_goes_on() {
    let (mut fleet, mut hands) = fleet(2);
    let number = begin(&mut fleet, 1000).unwrap();
    let orders: Vec<u64> = hands.iter_mut().flat_map(Hand::orders).collect();
    assert_eq!(orders.len(), 2);
    // When it is, what a worker tells (worker, killed, places left), and what is said then.
    for (now_ms, tells, want) in [
        (1200, None, (0, false, 0, 0)),
        (6000, Some((0, 300, 400)), (300, false, 30, 5)),
        (7000, Some((0, 500, 0)), (500, false, 50, 6)),
        (8000, Some((1, 41, 999)), (541, false, 50, 7)),
        (60_000, Some((1, 41, 1)), (541, false, 99, 59)),
        (61_000, Some((1, 42, 0)), (542, true, 100, 60)),
        (99_000, None, (542, true, 100, 60)),
    ] {
        if let Some((worker, killed, left)) = tells {
            let order: u64 = orders[worker];
            hands[worker].tells(order, killed, left);
        }
        fleet.tend_kills(now_ms);
        let view = fleet.follow_kill(number, now_ms).unwrap();
        assert_eq!(told(&view), want, "{now_ms}");
    }
}

#[test]
fn what_is_told_while_something_else_is_asked_is_not_lost() {
    let (mut fleet, mut hands) = fleet(1);
    let number = begin(&mut fleet, 0).unwrap();
    let order = hands[0].orders()[0];
    hands[0].tells(order, 7, 500);
    for id in [1, 2] {
        let st = State {
            id,
            ..State::default()
        };
        hands[0].reports.push(Report::State(st)).unwrap();
    }
    hands[0].tells(order, 9, 0);
    let end = Report::StatesEnd { next: None };
    hands[0].reports.push(end).unwrap();
    let clock = FakeClock {
        workers: Workers::default(),
        now_ms: Cell::new(0),
        answers: false,
    };
    assert_eq!(fleet.states(10, &clock).all().map(|list| list.len()), Ok(2));
    fleet.tend_kills(1);
    assert_eq!(
        told(&fleet.follow_kill(number, 1).unwrap()),
        (9, true, 100, 0)
    );
}

#[test]
fn a_worker_has_no_more_letters_than_it_has_room_for_and_the_rest_follows() {
    let (mut fleet, mut hands) = fleet(1);
    let many = vec![filter::Kill::default(); 40];
    let number = fleet.begin_kill("-k label -k web".into(), many, 0).unwrap();
    begin(&mut fleet, 0).unwrap();
    let (mut sent, mut looked) = (0, 0);
    while looked < 41 {
        let orders = hands[0].orders();
        sent += orders.len();
        assert!(sent - looked <= KILLS_AT_WORK && !orders.is_empty());
        looked += orders.len();
        orders
            .into_iter()
            .for_each(|order| hands[0].tells(order, 1, 0));
        fleet.tend_kills(1);
    }
    assert_eq!(
        told(&fleet.follow_kill(number, 1).unwrap()),
        (40, true, 100, 0)
    );
    assert!(fleet.kills(1).iter().all(|view| view.done));
}

#[test]
fn a_full_ring_of_letters_delays_a_kill_and_does_not_lose_it() {
    let (mut fleet, mut hands) = fleet(1);
    let forget = Mail::Forget(InterfaceId(1), "192.0.2.1".parse().unwrap());
    for _ in 0..64 {
        assert_eq!(fleet.tell_all(&forget), Ok(()));
    }
    let silence = Err("worker 0 does not answer".to_string());
    assert_eq!(fleet.tell_all(&forget), silence);
    let number = begin(&mut fleet, 0).unwrap();
    fleet.tend_kills(1);
    assert_eq!(std::iter::from_fn(|| hands[0].mail.pop()).count(), 64);
    fleet.tend_kills(2);
    let order = hands[0].orders()[0];
    hands[0].tells(order, 5, 0);
    fleet.tend_kills(3);
    assert_eq!(
        told(&fleet.follow_kill(number, 3).unwrap()),
        (5, true, 100, 0)
    );
}

#[test]
fn a_worker_that_stands_still_is_named_until_it_goes_on() {
    let (mut fleet, mut hands) = fleet(3);
    fleet.feel_pulses(0);
    let number = begin(&mut fleet, 0).unwrap();
    let orders: Vec<u64> = hands.iter_mut().flat_map(Hand::orders).collect();
    hands[0].tells(orders[0], 10, 0);
    let look = |fleet: &mut Fleet, now_ms: u64| {
        fleet.tend_kills(now_ms);
        let view = fleet.follow_kill(number, now_ms).unwrap();
        (view.stalled, view.killed, view.done)
    };
    // The second one turns, the others do not; the first one is done and owes nothing.
    hands[1].counters.turns.add(1);
    fleet.feel_pulses(STALL_MS - 1);
    assert_eq!(look(&mut fleet, STALL_MS - 1), (vec![], 10, false));
    assert_eq!(look(&mut fleet, STALL_MS), (vec![2], 10, false));
    hands[1].tells(orders[1], 1, 0);
    hands[2].counters.turns.add(1);
    assert_eq!(look(&mut fleet, STALL_MS + 1), (vec![], 11, false));
    hands[2].tells(orders[2], 1, 0);
    assert_eq!(look(&mut fleet, STALL_MS + 2), (vec![], 12, true));
}

#[test]
fn there_is_a_limit_to_kills_under_way_and_to_those_remembered() {
    let (mut fleet, mut hands) = fleet(1);
    for _ in 0..KILLS_MAX {
        begin(&mut fleet, 0).unwrap();
    }
    assert_eq!(begin(&mut fleet, 0), Err(NotKilled::Busy));
    for round in 0..3 {
        for order in hands[0].orders() {
            hands[0].tells(order, 1, 0);
        }
        // Nobody has asked for a while: all of them are told.
        assert_eq!(fleet.tend_kills(10_000).len(), KILLS_MAX, "{round}");
        assert_eq!(fleet.kills(10_000).len(), ENDED_MAX);
        for _ in 0..KILLS_MAX {
            begin(&mut fleet, 0).unwrap();
        }
    }
    assert_eq!(fleet.kills(10_000).len(), KILLS_MAX + ENDED_MAX);
    assert_eq!(fleet.follow_kill(1, 10_000), None);
}

/// The box said "killed 0 states" here, after five seconds in which it did nothing else.
#[test]
fn nobody_is_told_that_nothing_was_killed_while_workers_are_still_at_it() {
    let mut b = Rig::new();
    b.turn();
    for worker in b.workers.lock().unwrap().iter_mut() {
        worker.states = vec![State::default(); 5];
        worker.slow = true;
    }
    let view = b.control.kill_states(&Killing::All, None).unwrap();
    assert_eq!(told(&view), (2, false, 50, 0), "one of each worker");
    assert_eq!(b.control.clock.now_ms(), 5000 + ASK_MS_MAX);
    for worker in b.workers.lock().unwrap().iter_mut() {
        worker.slow = false;
    }
    b.turn();
    let view = b.control.kill_progress(view.kill).unwrap();
    assert_eq!(told(&view), (10, true, 100, 0));
}
