//! Kills of states that are under way. A worker looks through its whole table, which takes seconds with ten million states,
//! and nobody stands still for that: each kill has a number, workers report how far they are, whoever asks is told what
//! was killed so far, and what it came to is kept for a while.
//!
//! A worker is sent no more letters than it has room for ([`KILLS_AT_WORK`]); what a kill still has to send waits here (a
//! label may stand for many rules), the oldest kill first. Knows no clock; read first: `worker::kills`.

use std::collections::VecDeque;
use std::fmt;

use filter::Kill;
use serde::Serialize;
use sync::Producer;
use worker::{KILLS_AT_WORK, KillReport, Mail};

/// Kills under way at the same time.
pub(crate) const KILLS_MAX: usize = 16;
/// Kills that are over and remembered.
pub(crate) const ENDED_MAX: usize = 16;
/// Who has asked within this time, in milliseconds, hears of the end by asking again.
const WATCHED_MS: u64 = 1000;

/// A kill: how far it is, or what it came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KillView {
    /// Its number, by which it can be asked for.
    pub kill: u32,
    /// What was asked for, in the words of pfctl(8): `-k 10.0.0.1`.
    pub what: String,
    /// States killed; so far, if it is not done.
    pub killed: u64,
    /// All workers have been through their tables: nothing more will be killed.
    pub done: bool,
    /// Part of the state tables that was looked at, 0 to 100.
    pub percent: u8,
    /// Seconds since it began; until it was done, if it is.
    pub seconds: u64,
    /// Workers that stand still, by number: their states live until they go on.
    pub stalled: Vec<u16>,
}

/// Why no kill was begun.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotKilled {
    /// What was asked for cannot be.
    Wrong(String),
    /// As many are under way as there may be.
    Busy,
}

impl fmt::Display for NotKilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotKilled::Wrong(text) => f.write_str(text),
            NotKilled::Busy => write!(
                f,
                "{KILLS_MAX} kills are under way already, nothing was killed; pfctl -s kills shows them"
            ),
        }
    }
}

impl From<String> for NotKilled {
    fn from(text: String) -> Self {
        NotKilled::Wrong(text)
    }
}

/// All kills of people, under way and over.
#[derive(Default)]
pub(crate) struct Kills {
    /// The oldest first.
    orders: Vec<Order>,
    /// The oldest first.
    ended: VecDeque<KillView>,
    /// Number of the last one.
    last: u32,
    /// For each worker, letters that it has and has not told the end of.
    posted: Vec<usize>,
}

/// What a person has asked for.
struct Order {
    number: u32,
    what: String,
    kills: Vec<Kill>,
    began_ms: u64,
    /// When somebody wanted to know last.
    asked_ms: u64,
    shares: Vec<Share>,
}

/// One worker's part of an order.
#[derive(Clone, Default)]
struct Share {
    /// Kills that it was sent, and those that it is done with.
    sent: usize,
    done: usize,
    /// States killed by those.
    killed: u64,
    /// What it has told of the others.
    under_way: Vec<KillReport>,
}

impl Kills {
    pub(crate) fn new(workers: usize) -> Self {
        Kills {
            posted: vec![0; workers],
            ..Kills::default()
        }
    }

    /// Nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Takes an order. Its number.
    pub(crate) fn begin(
        &mut self,
        what: String,
        kills: Vec<Kill>,
        now_ms: u64,
    ) -> Result<u32, NotKilled> {
        if self.orders.len() >= KILLS_MAX {
            return Err(NotKilled::Busy);
        }
        self.last = self.last.wrapping_add(1);
        self.orders.push(Order {
            number: self.last,
            what,
            kills,
            began_ms: now_ms,
            asked_ms: now_ms,
            shares: vec![Share::default(); self.posted.len()],
        });
        Ok(self.last)
    }

    /// Sends a worker what it has room for.
    pub(crate) fn post(&mut self, worker: usize, mail: &mut Producer<Mail>) {
        for order in &mut self.orders {
            let number = u64::from(order.number) << 32;
            let share = &mut order.shares[worker];
            while self.posted[worker] < KILLS_AT_WORK
                && let Some(kill) = order.kills.get(share.sent)
            {
                let letter = Mail::Kill(*kill, number | share.sent as u64);
                if mail.push(letter).is_err() {
                    return;
                }
                share.sent += 1;
                self.posted[worker] += 1;
            }
        }
    }

    /// Takes what a worker reports.
    pub(crate) fn hear(&mut self, worker: usize, report: KillReport) {
        let is_its = |order: &&mut Order| u64::from(order.number) == report.order >> 32;
        let Some(order) = self.orders.iter_mut().find(is_its) else {
            return;
        };
        let share = &mut order.shares[worker];
        share.under_way.retain(|r| r.order != report.order);
        if report.left > 0 {
            return share.under_way.push(report);
        }
        share.done += 1;
        share.killed += report.killed;
        self.posted[worker] = self.posted[worker].saturating_sub(1);
    }

    /// Puts what is done aside. Those whose end nobody waits for are told.
    pub(crate) fn close(&mut self, now_ms: u64) -> Vec<KillView> {
        let (over, under_way) = std::mem::take(&mut self.orders)
            .into_iter()
            .partition(Order::is_done);
        self.orders = under_way;
        let mut unwatched = Vec::new();
        for order in over {
            let view = order.view(now_ms, &[]);
            if now_ms > order.asked_ms + WATCHED_MS {
                unwatched.push(view.clone());
            }
            if self.ended.len() == ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back(view);
        }
        unwatched
    }

    /// How far a kill is, for somebody who will ask again. None if it was forgotten, or never was.
    pub(crate) fn follow(&mut self, number: u32, now_ms: u64, stalled: &[u16]) -> Option<KillView> {
        let mut orders = self.orders.iter_mut();
        if let Some(order) = orders.find(|o| o.number == number) {
            order.asked_ms = now_ms;
            return Some(order.view(now_ms, stalled));
        }
        self.ended.iter().find(|v| v.kill == number).cloned()
    }

    /// All that are known, the oldest first.
    pub(crate) fn views(&self, now_ms: u64, stalled: &[u16]) -> Vec<KillView> {
        let under_way = self.orders.iter().map(|o| o.view(now_ms, stalled));
        self.ended.iter().cloned().chain(under_way).collect()
    }
}

impl Order {
    fn is_done(&self) -> bool {
        let all = self.kills.len();
        self.shares.iter().all(|share| share.done == all)
    }

    fn view(&self, now_ms: u64, stalled: &[u16]) -> KillView {
        let owes = |n: &u16| {
            let share = self.shares.get(usize::from(*n));
            share.is_some_and(|s| s.done < self.kills.len())
        };
        KillView {
            kill: self.number,
            what: self.what.clone(),
            killed: self.shares.iter().map(Share::killed).sum(),
            done: self.is_done(),
            percent: self.percent(),
            seconds: now_ms.saturating_sub(self.began_ms) / 1000,
            stalled: stalled.iter().copied().filter(owes).collect(),
        }
    }

    fn percent(&self) -> u8 {
        if self.is_done() {
            return 100;
        }
        let looked: f64 = self.shares.iter().map(Share::looked).sum();
        let all = (self.kills.len() * self.shares.len()).max(1);
        (looked * 100.0 / all as f64).min(99.0) as u8
    }
}

impl Share {
    fn killed(&self) -> u64 {
        self.killed + self.under_way.iter().map(|r| r.killed).sum::<u64>()
    }

    /// Looks round the whole table, in parts.
    fn looked(&self) -> f64 {
        let part = |r: &KillReport| 1.0 - f64::from(r.left) / f64::from(r.places.max(1));
        self.done as f64 + self.under_way.iter().map(part).sum::<f64>()
    }
}
