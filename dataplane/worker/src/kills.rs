//! Kills states that a person or an overload wants gone: a little of the table in every turn, and at once where a packet
//! finds one of them meanwhile.

use filter::Kill;
use nic::Nic;
use state::{State, StateIdx};

use crate::mail::Report;
use crate::turn::Worker;

/// Kills at work at the same time; with more the oldest is finished on the spot.
const JOBS_MAX: usize = 8;
/// Places of the state table looked at per turn.
const PLACES_PER_TURN: usize = 256;
/// States killed per turn: each is in no cache.
const KILLED_PER_TURN: u64 = 32;
/// Kills that wait for room in the rings to other workers.
pub(crate) const OUTBOX_MAX: usize = 64;

/// A kill at work.
#[derive(Clone, Copy, Debug)]
struct Job {
    kill: Kill,
    /// Next place to look at.
    next: usize,
    /// States made later are not meant.
    last_id: u64,
    killed: u64,
    /// The control core waits for the number.
    asked: bool,
    /// All places were looked at; only the report is left.
    done: bool,
}

impl Job {
    fn covers(&self, st: &State) -> bool {
        st.id <= self.last_id && self.kill.covers(st)
    }
}

/// Kills at work in one worker.
#[derive(Debug, Default)]
pub(crate) struct KillJobs {
    jobs: heapless::Deque<Job, JOBS_MAX>,
    outbox: heapless::Deque<(u16, Kill), OUTBOX_MAX>,
}

impl KillJobs {
    /// True if nothing is at work: the question of every packet.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

impl<N: Nic> Worker<N> {
    /// Kills on all cores.
    pub(crate) fn kill_everywhere(&mut self, kill: Kill, now_ms: u64) {
        self.begin_kill(kill, false, now_ms);
        for worker in 0..self.workers {
            if worker != self.id && self.kill_jobs.outbox.push_back((worker, kill)).is_err() {
                self.counters.letters_lost.add(1);
            }
        }
        self.send_kills();
    }

    /// Begins to kill on this core.
    pub(crate) fn begin_kill(&mut self, kill: Kill, asked: bool, now_ms: u64) {
        if self.kill_jobs.jobs.is_full() {
            self.finish_oldest(now_ms);
        }
        let job = Job {
            kill,
            next: 0,
            last_id: self.states.last_id(),
            killed: 0,
            asked,
            done: false,
        };
        // There is room: the oldest has gone, if there was none.
        self.kill_jobs.jobs.push_back(job).ok();
    }

    fn finish_oldest(&mut self, now_ms: u64) {
        let jobs = self.kill_jobs.jobs.len();
        while self.kill_jobs.jobs.len() == jobs {
            if self.kill_jobs.jobs.front().is_some_and(|job| job.done) {
                // The report ring is full; a person gets no number rather than a worker getting stuck.
                self.kill_jobs.jobs.pop_front();
                return;
            }
            self.kill_some(self.states.capacity(), u64::MAX, now_ms);
        }
    }

    /// Begins what other workers want killed.
    pub(crate) fn hear_kills(&mut self, now_ms: u64) {
        for n in 0..self.ends.kills_in.len() {
            while let Some(kill) = self.ends.kills_in[n].pop() {
                self.begin_kill(kill, false, now_ms);
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
            self.kill_some(PLACES_PER_TURN, KILLED_PER_TURN, now_ms);
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

    /// Looks at some places for the oldest kill, until it has killed `most`.
    fn kill_some(&mut self, places: usize, most: u64, now_ms: u64) {
        let Some(mut job) = self.kill_jobs.jobs.front().copied() else {
            return;
        };
        let end = (job.next + places).min(self.states.capacity());
        let enough = job.killed.saturating_add(most);
        while job.next < end && job.killed < enough {
            let next = self.states.peek_from(job.next).next();
            let Some((idx, st)) = next.filter(|(idx, _)| (idx.0 as usize) < end) else {
                job.next = end;
                break;
            };
            job.next = idx.0 as usize + 1;
            if job.covers(st) {
                job.killed += 1;
                self.kill_state(idx, now_ms);
            }
        }
        job.done = job.next >= self.states.capacity();
        let reported =
            job.done && (!job.asked || self.ends.reports.push(Report::Killed(job.killed)).is_ok());
        if reported {
            self.kill_jobs.jobs.pop_front();
        } else if let Some(front) = self.kill_jobs.jobs.front_mut() {
            *front = job;
        }
    }

    /// True if the state is to be killed and is not looked at yet; then it is gone now.
    #[cold]
    pub(crate) fn kill_if_doomed(&mut self, idx: StateIdx, now_ms: u64) -> bool {
        let Some(st) = self.states.get(idx) else {
            return false;
        };
        let Some(job) = self.kill_jobs.jobs.iter_mut().find(|job| job.covers(st)) else {
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
