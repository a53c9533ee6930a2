//! Kills states that a person or an overload wants gone: a little of the table in every turn, and at once where a packet
//! finds one of them meanwhile.
//!
//! One look round the table serves all kills at work: each begins where the look is and is done when it has come round.
//! Kills for which there is no room wait where they come from, the rings of the control core and of other workers. Only an
//! overload of this worker cannot wait there; what is beyond [`WAITING_MAX`] of these is counted as lost, and the next
//! connection of that source asks again. What a person orders comes before all that waits, and holds no other mail up: the
//! control core has no more than [`KILLS_AT_WORK`] with a worker. It is told now and then how far they are, and that they
//! are done for certain, if need be when its ring has room again.

use filter::Kill;
use nic::Nic;
use state::{State, StateIdx};

use crate::mail::{KILLS_AT_WORK, KillReport, Report};
use crate::turn::Worker;

/// Kills at work at the same time: a packet of the long way asks all of them.
const JOBS_MAX: usize = 32;
/// Kills of this worker's packets that wait until one of those is done.
const WAITING_MAX: usize = 256;
/// Most places of the state table looked at per turn.
const PLACES_PER_TURN: usize = 256;
/// States asked about by kills per turn, each kill's question counted: the more kills, the fewer places.
const QUESTIONS_PER_TURN: usize = 1024;
/// States killed per turn: each is in no cache.
const KILLED_PER_TURN: usize = 32;
/// Between two reports of how far orders are, in milliseconds.
const PROGRESS_MS: u64 = 100;
/// Kills that wait for room in the rings to other workers.
pub(crate) const OUTBOX_MAX: usize = 64;

/// A kill at work, or waiting for it.
#[derive(Clone, Copy, Debug)]
struct Job {
    kill: Kill,
    /// Places that are still to be looked at.
    left: usize,
    /// States made later are not meant.
    last_id: u64,
    killed: u64,
    /// Its number, if the control core waits for it.
    order: Option<u64>,
}

impl Job {
    fn covers(&self, st: &State) -> bool {
        self.left > 0 && st.id <= self.last_id && self.kill.covers(st)
    }

    /// What the control core hears of it.
    fn report(&self, places: usize) -> Option<KillReport> {
        Some(KillReport {
            order: self.order?,
            killed: self.killed,
            left: self.left as u32,
            places: places as u32,
        })
    }
}

/// Kills of one worker.
#[derive(Debug, Default)]
pub(crate) struct KillJobs {
    /// The oldest first, for all of which one look round the table serves.
    jobs: heapless::Vec<Job, JOBS_MAX>,
    /// Next place that it looks at.
    next: usize,
    waiting: heapless::Deque<Job, WAITING_MAX>,
    /// Orders that wait to be at work.
    orders: heapless::Deque<Job, KILLS_AT_WORK>,
    /// Ends of orders that the control core has not been told of.
    ended: heapless::Deque<KillReport, KILLS_AT_WORK>,
    /// When it was told last how far they are.
    told_ms: u64,
    outbox: heapless::Deque<(u16, Kill), OUTBOX_MAX>,
}

impl KillJobs {
    /// True if nothing is at work: the question of every packet.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// A kill that can wait elsewhere may begin. Those that cannot go first.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty() && !self.jobs.is_full()
    }

    /// The control core may send one more: others wait in its ring.
    pub(crate) fn takes_orders(&self) -> bool {
        let at_work = self.jobs.iter().filter(|job| job.order.is_some()).count();
        at_work + self.orders.len() + self.ended.len() < KILLS_AT_WORK
    }

    /// Begins a kill, or lets it wait. False if there is no room for it.
    fn begin(&mut self, job: Job) -> bool {
        if let Some(same) = self.same(&job.kill).filter(|_| job.order.is_none()) {
            *same = job;
            return true;
        }
        match (job.order, self.jobs.is_full()) {
            (Some(_), true) => self.orders.push_back(job).is_ok(),
            (None, _) if !self.has_room() => self.waiting.push_back(job).is_ok(),
            _ => self.jobs.push(job).is_ok(),
        }
    }

    /// The same kill, for nobody who waits for its number, at work or waiting: it serves for both.
    fn same(&mut self, kill: &Kill) -> Option<&mut Job> {
        let all = self.jobs.iter_mut().chain(&mut self.waiting);
        all.into_iter()
            .find(|job| job.order.is_none() && job.kill == *kill)
    }

    /// Ends kills that are done; those that wait begin.
    fn close(&mut self, places: usize) {
        let ended = self.jobs.iter().filter(|job| job.left == 0);
        for report in ended.filter_map(|job| job.report(places)) {
            // There is room: see `takes_orders`.
            self.ended.push_back(report).ok();
        }
        self.jobs.retain(|job| job.left > 0);
        while !self.jobs.is_full()
            && let Some(job) = self.orders.pop_front().or_else(|| self.waiting.pop_front())
        {
            // There is room.
            self.jobs.push(job).ok();
        }
    }

    /// Tells which orders are done, which waits where `tell` has no room; and now and then how far the others are, which
    /// does not wait.
    fn report(&mut self, now_ms: u64, places: usize, mut tell: impl FnMut(KillReport) -> bool) {
        while let Some(report) = self.ended.front()
            && tell(*report)
        {
            self.ended.pop_front();
        }
        if now_ms < self.told_ms + PROGRESS_MS {
            return;
        }
        self.told_ms = now_ms;
        let waiting = self.orders.iter();
        for report in self
            .jobs
            .iter()
            .chain(waiting)
            .filter_map(|j| j.report(places))
        {
            if !tell(report) {
                return;
            }
        }
    }

    /// Places of a turn.
    fn places(&self) -> usize {
        (QUESTIONS_PER_TURN / self.jobs.len().max(1)).min(PLACES_PER_TURN)
    }
}

impl<N: Nic> Worker<N> {
    /// Kills on all cores.
    pub(crate) fn kill_everywhere(&mut self, kill: Kill) {
        self.begin_kill(kill, None);
        for worker in 0..self.workers {
            if worker != self.id && self.kill_jobs.outbox.push_back((worker, kill)).is_err() {
                self.counters.letters_lost.add(1);
            }
        }
        self.send_kills();
    }

    /// Begins to kill on this core, or will when there is room.
    pub(crate) fn begin_kill(&mut self, kill: Kill, order: Option<u64>) {
        let job = Job {
            kill,
            left: self.states.capacity(),
            last_id: self.states.last_id(),
            killed: 0,
            order,
        };
        if !self.kill_jobs.begin(job) {
            self.counters.kills_lost.add(1);
        }
    }

    /// Begins what other workers want killed.
    pub(crate) fn hear_kills(&mut self) {
        for n in 0..self.ends.kills_in.len() {
            while self.kill_jobs.has_room()
                && let Some(kill) = self.ends.kills_in[n].pop()
            {
                self.begin_kill(kill, None);
            }
        }
    }

    /// Goes on with kills. True if there was anything to do.
    pub(crate) fn go_on_killing(&mut self, now_ms: u64) -> bool {
        if !self.kill_jobs.outbox.is_empty() {
            self.send_kills();
        }
        let busy = !self.kill_jobs.is_empty();
        if busy {
            self.kill_some(now_ms);
            self.kill_jobs.close(self.states.capacity());
        }
        if busy || !self.kill_jobs.ended.is_empty() {
            let reports = &mut self.ends.reports;
            let tell = |report| reports.push(Report::Killed(report)).is_ok();
            self.kill_jobs.report(now_ms, self.states.capacity(), tell);
        }
        busy
    }

    fn send_kills(&mut self) {
        while let Some((worker, kill)) = self.kill_jobs.outbox.front().copied() {
            let ring = self.ends.kills_out.get_mut(usize::from(worker));
            let sent = ring
                .and_then(Option::as_mut)
                .is_none_or(|ring| ring.push(kill).is_ok());
            if !sent {
                return;
            }
            self.kill_jobs.outbox.pop_front();
        }
    }

    /// Looks at some places for all kills, until enough states are found. They are in no cache: what goes with them is
    /// asked for together.
    fn kill_some(&mut self, now_ms: u64) {
        let jobs = &mut self.kill_jobs;
        let from = jobs.next;
        let mut to = (from + jobs.places()).min(self.states.capacity());
        let mut doomed: heapless::Vec<StateIdx, KILLED_PER_TURN> = heapless::Vec::new();
        for (idx, st) in self.states.peek_in(from..to) {
            let Some(job) = jobs.jobs.iter_mut().find(|job| job.covers(st)) else {
                continue;
            };
            job.killed += 1;
            // There is room: the last one ends the loop.
            doomed.push(idx).ok();
            if doomed.is_full() {
                to = idx.0 as usize + 1;
                break;
            }
        }
        for job in &mut jobs.jobs {
            job.left = job.left.saturating_sub(to - from);
        }
        jobs.next = if to < self.states.capacity() { to } else { 0 };
        self.states.prefetch_removals(&doomed);
        for idx in doomed {
            self.kill_state(idx, now_ms);
        }
    }

    /// True if the state is to be killed and is not looked at yet; then it is gone now.
    #[cold]
    pub(crate) fn kill_if_doomed(&mut self, idx: StateIdx, now_ms: u64) -> bool {
        let Some(st) = self.states.get(idx) else {
            return false;
        };
        let jobs = &mut self.kill_jobs.jobs;
        let Some(job) = jobs.iter_mut().find(|job| job.covers(st)) else {
            return false;
        };
        job.killed += 1;
        self.kill_state(idx, now_ms);
        true
    }

    fn kill_state(&mut self, idx: StateIdx, now_ms: u64) {
        if let Some(gone) = self.states.remove(idx) {
            filter::count_removal(
                &self.counters.filter,
                &self.shared,
                &self.config.ruleset,
                now_ms,
                &gone,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn job(id: usize, order: Option<u64>) -> Job {
        let kill = Kill {
            id: Some(id as u64),
            ..Kill::default()
        };
        Job {
            kill,
            left: 1000,
            last_id: id as u64,
            killed: 0,
            order,
        }
    }

    #[test]
    fn an_overload_waits_for_room_and_is_refused_when_too_many_wait() {
        let mut jobs = KillJobs::default();
        for n in 0..JOBS_MAX + WAITING_MAX {
            assert_eq!(jobs.has_room(), n < JOBS_MAX, "{n}");
            assert!(jobs.begin(job(n, None)), "{n}");
        }
        assert!(!jobs.begin(job(9999, None)));
        // One that is at work or waits already begins anew in its place.
        for n in [0, JOBS_MAX - 1, JOBS_MAX, JOBS_MAX + WAITING_MAX - 1] {
            let kill = job(n, None).kill;
            jobs.same(&kill).unwrap().left = 1;
            assert!(jobs.begin(job(n, None)), "{n}");
            assert_eq!(jobs.same(&kill).unwrap().left, 1000, "{n}");
        }
        // Those that wait come before what waits elsewhere.
        jobs.jobs[3].left = 0;
        jobs.close(1000);
        assert!(jobs.jobs.is_full() && !jobs.has_room());
        assert_eq!(jobs.jobs.last().unwrap().kill.id, Some(JOBS_MAX as u64));
        assert_eq!(jobs.waiting.len(), WAITING_MAX - 1);
        assert!(jobs.ended.is_empty(), "nobody asked");
    }

    #[test]
    fn what_a_person_orders_comes_before_all_that_waits_and_holds_no_mail_up() {
        let mut jobs = KillJobs::default();
        for n in 0..JOBS_MAX + WAITING_MAX {
            assert!(jobs.begin(job(n, None)), "{n}");
        }
        for n in 0..KILLS_AT_WORK {
            assert!(jobs.takes_orders(), "{n}");
            assert!(jobs.begin(job(0, Some(n as u64))), "{n}");
        }
        assert!(!jobs.takes_orders());
        jobs.jobs[0].left = 0;
        jobs.close(1000);
        assert_eq!(jobs.jobs.last().unwrap().order, Some(0));
        assert!(!jobs.takes_orders());
    }

    #[test]
    fn the_end_of_an_order_is_told_though_the_ring_was_full_and_progress_is_told_now_and_then() {
        let mut jobs = KillJobs::default();
        for order in 0..3 {
            jobs.begin(job(1, Some(order)));
            jobs.jobs[order as usize].killed = 10 * order;
        }
        jobs.jobs[1].left = 0;
        jobs.close(2000);
        jobs.report(100, 2000, |_| false);
        let mut told = Vec::new();
        for now_ms in [100, 150, 199, 200, 250] {
            jobs.report(now_ms, 2000, |report| {
                told.push((now_ms, report.order, report.killed, report.left));
                report.places == 2000
            });
        }
        let want = [(100, 1, 10, 0), (200, 0, 0, 1000), (200, 2, 20, 1000)];
        assert_eq!(told, want);
        assert!(jobs.takes_orders() && jobs.ended.is_empty());
    }

    #[test]
    fn the_more_kills_the_fewer_places_a_turn_looks_at() {
        let mut jobs = KillJobs::default();
        for n in 0..JOBS_MAX {
            jobs.begin(job(n, None));
            let questions = jobs.places() * jobs.jobs.len();
            assert!(jobs.places() <= PLACES_PER_TURN && questions <= QUESTIONS_PER_TURN);
            assert!(questions >= QUESTIONS_PER_TURN / 2 || jobs.places() == PLACES_PER_TURN);
        }
    }
}
