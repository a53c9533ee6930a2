//! The threads of the packet workers: each is pinned, turns its worker, and sleeps when nothing arrives.
//!
//! Idle: after `idle-after-ms` without work the worker sleeps `idle-backoff-us` between two turns. The first packet after
//! that waits for one such sleep at most; then the worker is awake again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use control::deputy::Deputy;
use control::machine::{Clock, Ports};
use dpdk::{DpdkNic, Eal, lcore};
use sync::Counter;
use worker::{Counters, Worker, WorkerSetup};

use crate::clock::SystemClock;
use crate::nics::Nics;

/// Time without work after which a worker sleeps, in milliseconds.
pub(crate) const IDLE_AFTER_MS: u32 = 1000;
/// Longest sleep of an idle worker, in microseconds. Each costs some 15 µs of CPU, so this is 5 % of one core; and with
/// it the first packet is answered in well under a millisecond.
pub(crate) const IDLE_BACKOFF_US: u32 = 300;
/// Turns without work before the CPU is offered to others.
const EMPTY_TURNS: u32 = 64;
/// Exit status when a worker has died on a workstation.
const EXIT_SOFTWARE: i32 = 70;
/// The kernel may wake a sleeping thread later than asked by this much: its default of 50 µs would be a quarter of the sleep.
const TIMER_SLACK_NS: u64 = 1000;

/// What the control thread tells all workers. It writes, they read.
#[derive(Debug)]
pub(crate) struct Orders {
    /// Not 0: end.
    pub(crate) stop: Counter,
    /// See [`IDLE_AFTER_MS`].
    pub(crate) idle_after_ms: Counter,
    /// See [`IDLE_BACKOFF_US`]; 0 never sleeps.
    pub(crate) idle_backoff_us: Counter,
}

impl Default for Orders {
    fn default() -> Self {
        let orders = Orders {
            stop: Counter::new(),
            idle_after_ms: Counter::new(),
            idle_backoff_us: Counter::new(),
        };
        orders.set_idle(None, None);
        orders
    }
}

impl Orders {
    /// Sets idle behavior; defaults where nothing is said.
    pub(crate) fn set_idle(&self, after_ms: Option<u32>, backoff_us: Option<u32>) {
        self.idle_after_ms
            .set(after_ms.unwrap_or(IDLE_AFTER_MS).into());
        self.idle_backoff_us
            .set(backoff_us.unwrap_or(IDLE_BACKOFF_US).into());
    }
}

/// What a worker's thread is started with.
pub(crate) struct Job {
    /// For its registration.
    pub(crate) eal: Eal,
    /// What to make the worker from.
    pub(crate) setup: WorkerSetup<DpdkNic>,
    /// CPU to pin to.
    pub(crate) cpu: usize,
    /// Other threads need this CPU too.
    pub(crate) shares_cpu: bool,
    /// The same clock for everybody.
    pub(crate) clock: SystemClock,
    /// From the control thread.
    pub(crate) orders: Arc<Orders>,
    /// To be woken when the local host has got a packet.
    pub(crate) control: Thread,
}

/// Starts a worker's thread.
pub(crate) fn start(job: Job) -> std::io::Result<JoinHandle<()>> {
    let id = job.setup.id;
    let name = format!("worker {id}");
    std::thread::Builder::new().name(name).spawn(move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(job))) {
            died(&format!(
                "worker {id}: {}",
                crate::supervise::panic_text(panic.as_ref())
            ));
        }
    })
}

/// Starts the thread that looks after laggs while the control core is busy.
pub(crate) fn start_deputy(
    deputy: Deputy,
    nics: Nics,
    clock: SystemClock,
    orders: Arc<Orders>,
) -> std::io::Result<JoinHandle<()>> {
    /// Between two looks while there is a lagg.
    const LOOK: Duration = Duration::from_millis(2);
    /// Between two questions whether there is one.
    const ASK: Duration = Duration::from_millis(100);
    std::thread::Builder::new()
        .name("deputy".into())
        .spawn(move || {
            while orders.stop.get() == 0 {
                let needed = deputy.is_needed();
                if needed {
                    deputy.stand_in(clock.now_ms(), |port| nics.link(port).is_up());
                }
                std::thread::sleep(if needed { LOOK } else { ASK });
            }
        })
}

/// Never go on with a broken state table.
fn died(reason: &str) -> ! {
    if std::process::id() == 1 {
        boot::epitaph::write(reason);
    }
    eprintln!("fugu: {reason}");
    std::process::exit(EXIT_SOFTWARE)
}

fn work(job: Job) {
    if let Err(error) = lcore::pin(job.cpu) {
        log::warn!("worker {}: {error}", job.setup.id);
    }
    // Fails on old kernels only, and costs fifty microseconds then.
    rustix::thread::set_current_timer_slack(core::num::NonZeroU64::new(TIMER_SLACK_NS)).ok();
    let registration = lcore::Registration::new(job.eal);
    if let Err(error) = &registration {
        log::warn!("worker {}: {error}", job.setup.id);
    }
    let counters = job.setup.ends.counters.clone();
    let mut worker = Worker::new(job.setup);
    let mut rest = Rest::new(job.clock.now_ms(), job.shares_cpu);
    while job.orders.stop.get() == 0 {
        let before = counters.to_host.get();
        let now_ms = job.clock.now_ms();
        let found_work = worker.turn(now_ms);
        if counters.to_host.get() != before {
            job.control.unpark();
        }
        rest.after_turn(found_work, now_ms, &job.orders, &counters);
    }
}

/// When to rest, and how.
struct Rest {
    last_work_ms: u64,
    empty_turns: u32,
    shares_cpu: bool,
}

impl Rest {
    fn new(now_ms: u64, shares_cpu: bool) -> Self {
        Rest {
            last_work_ms: now_ms,
            empty_turns: 0,
            shares_cpu,
        }
    }

    fn after_turn(&mut self, found_work: bool, now_ms: u64, orders: &Orders, counters: &Counters) {
        if found_work {
            if self.empty_turns > 0 && counters.idle.get() != 0 {
                counters.idle.set(0);
            }
            self.empty_turns = 0;
            self.last_work_ms = now_ms;
            return;
        }
        self.empty_turns = self.empty_turns.saturating_add(1);
        let backoff_us = orders.idle_backoff_us.get();
        if backoff_us > 0 && now_ms.saturating_sub(self.last_work_ms) >= orders.idle_after_ms.get()
        {
            counters.idle.set(1);
            std::thread::sleep(Duration::from_micros(backoff_us));
        } else if self.empty_turns > EMPTY_TURNS && self.shares_cpu {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}
