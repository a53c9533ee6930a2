//! Kills states that a person or an overload wants gone: a little of the table in every turn, and at once where a packet
//! finds one of them meanwhile.
//!
//! One look round the table serves all kills at work: each begins where the look is and is done when it has come round.
//! Kills for which there is no room wait where they come from, the rings of the control core and of other workers. Only an
//! overload of this worker cannot wait there; what is beyond [`WAITING_MAX`] of these is counted as lost, and the next
//! connection of that source asks again.

use filter::Kill;
use nic::Nic;
use state::{State, StateIdx};

use crate::mail::Report;
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
    /// The control core waits for the number.
    asked: bool,
}

impl Job {
    fn covers(&self, st: &State) -> bool {
        self.left > 0 && st.id <= self.last_id && self.kill.covers(st)
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

    /// Begins a kill, or lets it wait. False if there is no room for it.
    fn begin(&mut self, job: Job) -> bool {
        if let Some(same) = self.same(&job.kill).filter(|_| !job.asked) {
            *same = job;
            return true;
        }
        match self.has_room() {
            true => self.jobs.push(job).is_ok(),
            false => self.waiting.push_back(job).is_ok(),
        }
    }

    /// The same kill, for nobody who waits for its number, at work or waiting: it serves for both.
    fn same(&mut self, kill: &Kill) -> Option<&mut Job> {
        let all = self.jobs.iter_mut().chain(&mut self.waiting);
        all.into_iter().find(|job| !job.asked && job.kill == *kill)
    }

    /// Ends kills that are done, if whoever waits for the number can be told; those that wait begin.
    fn close(&mut self, mut tell: impl FnMut(u64) -> bool) {
        self.jobs
            .retain(|job| job.left > 0 || (job.asked && !tell(job.killed)));
        if self.jobs.is_full() {
            // A person gets no number rather than others getting stuck.
            self.jobs.retain(|job| job.left > 0);
        }
        while !self.jobs.is_full()
            && let Some(job) = self.waiting.pop_front()
        {
            // There is room.
            self.jobs.push(job).ok();
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
        self.begin_kill(kill, false);
        for worker in 0..self.workers {
            if worker != self.id && self.kill_jobs.outbox.push_back((worker, kill)).is_err() {
                self.counters.letters_lost.add(1);
            }
        }
        self.send_kills();
    }

    /// Begins to kill on this core, or will when there is room.
    pub(crate) fn begin_kill(&mut self, kill: Kill, asked: bool) {
        let job = Job {
            kill,
            left: self.states.capacity(),
            last_id: self.states.last_id(),
            killed: 0,
            asked,
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
                self.begin_kill(kill, false);
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
            self.close_jobs();
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

    /// Tells the numbers of kills that are done. Where the ring of reports is full they are told later.
    fn close_jobs(&mut self) {
        let reports = &mut self.ends.reports;
        self.kill_jobs
            .close(|killed| reports.push(Report::Killed(killed)).is_ok());
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
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn job(id: usize, asked: bool) -> Job {
        let kill = Kill {
            id: Some(id as u64),
            ..Kill::default()
        };
        Job {
            kill,
            left: 1000,
            last_id: id as u64,
            killed: 0,
            asked,
        }
    }

    #[test]
    fn an_overload_waits_for_room_and_is_refused_when_too_many_wait() {
        let mut jobs = KillJobs::default();
        for n in 0..JOBS_MAX + WAITING_MAX {
            assert_eq!(jobs.has_room(), n < JOBS_MAX, "{n}");
            assert!(jobs.begin(job(n, false)), "{n}");
        }
        assert!(!jobs.begin(job(9999, false)));
        // One that is at work or waits already begins anew in its place.
        for n in [0, JOBS_MAX - 1, JOBS_MAX, JOBS_MAX + WAITING_MAX - 1] {
            let kill = job(n, false).kill;
            jobs.same(&kill).unwrap().left = 1;
            assert!(jobs.begin(job(n, false)), "{n}");
            assert_eq!(jobs.same(&kill).unwrap().left, 1000, "{n}");
        }
        // Those that wait come before what waits elsewhere.
        jobs.jobs[3].left = 0;
        jobs.close(|_| panic!("nobody asked"));
        assert!(jobs.jobs.is_full() && !jobs.has_room());
        assert_eq!(jobs.jobs.last().unwrap().kill.id, Some(JOBS_MAX as u64));
        assert_eq!(jobs.waiting.len(), WAITING_MAX - 1);
    }

    #[test]
    fn who_asks_gets_a_number_of_his_own_unless_he_stands_in_the_way() {
        let mut jobs = KillJobs::default();
        for killed in 0..2 {
            jobs.begin(job(1, true));
            jobs.jobs[killed].killed = killed as u64;
            jobs.jobs[killed].left = 0;
        }
        jobs.close(|_| false);
        assert_eq!(jobs.jobs.len(), 2, "kept for later");
        let mut told = Vec::new();
        jobs.close(|killed| {
            told.push(killed);
            true
        });
        assert_eq!((told, jobs.is_empty()), (vec![0, 1], true));

        jobs.begin(job(0, true));
        jobs.jobs[0].left = 0;
        for n in 1..JOBS_MAX {
            jobs.begin(job(n, false));
        }
        jobs.close(|_| false);
        assert!(jobs.has_room());
    }

    #[test]
    fn the_more_kills_the_fewer_places_a_turn_looks_at() {
        let mut jobs = KillJobs::default();
        for n in 0..JOBS_MAX {
            jobs.begin(job(n, false));
            let questions = jobs.places() * jobs.jobs.len();
            assert!(jobs.places() <= PLACES_PER_TURN && questions <= QUESTIONS_PER_TURN);
            assert!(questions >= QUESTIONS_PER_TURN / 2 || jobs.places() == PLACES_PER_TURN);
        }
    }
}
