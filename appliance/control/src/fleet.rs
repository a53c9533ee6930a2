//! The workers as the control core sees them: it publishes to them, asks them, and adds up what they count.

use std::sync::Arc;

use net::fdb::Station;
use net::{InterfaceId, neighbor};
use ruleset::{RuleSlot, TableSlot};
use state::State;
use sync::{Consumer, Counter, Producer, Publisher};
use worker::{Config, Counters, LogRecord, Mail, Report, StepRecord};

use crate::api::{Count, KillView, NotKilled};
use crate::killing::Kills;
use crate::listed::{Listed, silence};
use crate::machine::Clock;
use crate::slots::Totals;

/// Longest time in which a worker that is awake answers a question, in milliseconds: forwarding does not wait for it, but the
/// console does.
pub const ASK_MS_MAX: u64 = 200;
/// Longest time that a list of states may take, in milliseconds, while workers go on answering.
pub const LIST_MS_MAX: u64 = 1000;
/// A worker that has not turned for so many milliseconds stands still. One that sleeps wakes up every second at least.
pub const STALL_MS: u64 = 3000;
/// States asked for at once: a quarter of the ring of answers.
const PORTION: u32 = 256;

/// The control core's ends for one worker, without those for packets.
pub struct WorkerLink {
    /// Publishes configurations.
    pub config: Publisher<Config>,
    /// Asks.
    pub mail: Producer<Mail>,
    /// Hears.
    pub reports: Consumer<Report>,
    /// Logged packets.
    pub log: Consumer<LogRecord>,
    /// Steps of watched packets.
    pub steps: Consumer<StepRecord>,
    /// What the worker counts.
    pub counters: Arc<Counters>,
    /// CPU it is pinned to.
    pub cpu: u16,
}

/// What a table has counted, over all workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableTotals {
    /// Look-ups of rules: not in the table, in it.
    pub lookups: [u64; 2],
    /// In, then out, by [`filter::tables::TableOp`].
    pub traffic: [[Count; 4]; 2],
}

impl TableTotals {
    /// What was counted since `base`.
    pub fn since(&self, base: &TableTotals) -> TableTotals {
        let mut totals = *self;
        for (sum, base) in totals.lookups.iter_mut().zip(base.lookups) {
            *sum = sum.wrapping_sub(base);
        }
        let traffic = totals.traffic.iter_mut().flatten();
        for (sum, base) in traffic.zip(base.traffic.iter().flatten()) {
            sum.packets = sum.packets.wrapping_sub(base.packets);
            sum.bytes = sum.bytes.wrapping_sub(base.bytes);
        }
        totals
    }
}

/// All workers.
pub struct Fleet {
    workers: Vec<WorkerLink>,
    /// The running configuration.
    current: Arc<Config>,
    /// Earlier ones that a worker may still hold.
    retired: Vec<Arc<Config>>,
    /// For each worker, answers that were not waited for.
    owed: Vec<u32>,
    /// Turns and busy turns at the last question for the load.
    load_base: Vec<(u64, u64)>,
    /// What people want killed.
    kills: Kills,
    /// For each worker, its turns and when they were found to have moved, in milliseconds. None before the first look.
    pulses: Vec<Option<(u64, u64)>>,
    /// Longest nap of a worker that has nothing to do, in milliseconds: only then does it read its mail.
    nap_ms: u64,
}

impl Fleet {
    /// Workers that have not been given a configuration yet.
    pub fn new(workers: Vec<WorkerLink>) -> Self {
        Fleet {
            owed: vec![0; workers.len()],
            load_base: vec![(0, 0); workers.len()],
            kills: Kills::new(workers.len()),
            pulses: vec![None; workers.len()],
            nap_ms: 0,
            workers,
            current: Arc::new(Config::default()),
            retired: Vec::new(),
        }
    }

    /// Each worker.
    pub fn workers(&self) -> &[WorkerLink] {
        &self.workers
    }

    /// What is published.
    pub fn current(&self) -> &Arc<Config> {
        &self.current
    }

    /// Makes `config` the running one. Cannot fail: everything was checked and allocated before.
    pub fn publish(&mut self, config: Arc<Config>) {
        for worker in &self.workers {
            worker.config.publish(config.clone());
        }
        self.retired
            .push(std::mem::replace(&mut self.current, config));
    }

    /// Frees configurations that no worker holds any more. Workers never free one: see `sync::published`.
    pub fn bury(&mut self) {
        self.retired.retain(|config| Arc::strong_count(config) > 1);
    }

    /// Configurations that wait for a worker to let go.
    pub fn unburied(&self) -> usize {
        self.retired.len()
    }

    /// True while a worker has not taken over what was published last.
    pub fn is_pending(&self) -> bool {
        self.workers.iter().any(|w| w.config.is_pending())
    }

    /// The oldest generation that a worker runs on.
    pub fn adopted(&self) -> u32 {
        let generations = self
            .workers
            .iter()
            .map(|w| w.counters.generation.get() as u32);
        generations.min().unwrap_or(0)
    }

    /// A counter summed over workers.
    pub fn sum(&self, of: impl Fn(&Counters) -> &Counter) -> u64 {
        let values = self.workers.iter().map(|w| of(&w.counters).get());
        values.fold(0, u64::wrapping_add)
    }

    fn count(&self, of: impl Fn(&Counters) -> &filter::counters::Count) -> Count {
        Count {
            packets: self.sum(|c| &of(c).packets),
            bytes: self.sum(|c| &of(c).bytes),
        }
    }

    /// States that hang on a rule's slot.
    pub fn states_on(&self, slot: RuleSlot) -> u64 {
        self.sum(|c| &c.filter.rule(slot).states)
    }

    /// What a rule's slot has counted since start.
    pub fn totals(&self, slot: RuleSlot) -> Totals {
        Totals {
            evaluations: self.sum(|c| &c.filter.rule(slot).evaluations),
            traffic: [0, 1].map(|n| self.count(|c| &c.filter.rule(slot).traffic[n])),
            states_total: self.sum(|c| &c.filter.rule(slot).states_total),
        }
    }

    /// What a table has counted since start.
    pub fn table(&self, slot: TableSlot) -> TableTotals {
        let mut totals = TableTotals::default();
        let workers = self.workers.iter();
        for counters in workers.filter_map(|w| w.counters.filter.tables.of(slot)) {
            for (sum, counter) in totals.lookups.iter_mut().zip(&counters.lookups) {
                *sum = sum.wrapping_add(counter.get());
            }
            let counts = counters.traffic.iter().flatten();
            for (sum, count) in totals.traffic.iter_mut().flatten().zip(counts) {
                sum.packets = sum.packets.wrapping_add(count.packets.get());
                sum.bytes = sum.bytes.wrapping_add(count.bytes.get());
            }
        }
        totals
    }

    /// Counters of an interface: \[inet, inet6\] × \[in, out\] × \[pass, block\].
    pub fn interface(&self, number: u16) -> [[[Count; 2]; 2]; 2] {
        let n = usize::from(number).min(filter::INTERFACES_MAX - 1);
        [0, 1].map(|af| {
            [0, 1].map(|way| {
                [0, 1].map(|verdict| self.count(|c| &c.filter.interfaces[n][af][way][verdict]))
            })
        })
    }

    /// Frames in and out of an interface that is no port.
    pub fn link(&self, number: u16) -> [Count; 2] {
        let n = usize::from(number).min(filter::INTERFACES_MAX - 1);
        [0, 1].map(|way| self.count(|c| &c.links[n][way]))
    }

    /// Share of each worker's turns that found work since the last call, 0 to 1.
    pub fn load(&mut self) -> Vec<f64> {
        let now = |w: &WorkerLink| (w.counters.turns.get(), w.counters.busy_turns.get());
        let share = |(now, base): ((u64, u64), &mut (u64, u64))| {
            let (turns, busy) = (now.0.wrapping_sub(base.0), now.1.wrapping_sub(base.1));
            *base = now;
            if turns == 0 {
                0.0
            } else {
                busy as f64 / turns as f64
            }
        };
        self.workers
            .iter()
            .map(now)
            .zip(&mut self.load_base)
            .map(share)
            .collect()
    }

    /// How long workers may sleep that have nothing to do, in microseconds: so much longer they may take to answer.
    pub fn allow_naps(&mut self, us: u32) {
        self.nap_ms = u64::from(us).div_ceil(1000);
    }

    fn ask_ms(&self) -> u64 {
        ASK_MS_MAX + self.nap_ms
    }

    /// At most `limit` states, each with its worker, a portion of every worker in turn.
    pub fn states(&mut self, limit: usize, clock: &dyn Clock) -> Listed<(u16, State)> {
        let mut found: Vec<(u16, State)> = Vec::new();
        let over = clock.now_ms() + LIST_MS_MAX;
        let mut silent = Vec::new();
        let mut next: Vec<Option<u32>> = vec![Some(0); self.workers.len()];
        while found.len() < limit && next.iter().any(Option::is_some) {
            if clock.now_ms() >= over {
                let lack = format!(
                    "{} states in {LIST_MS_MAX} ms, and there are more",
                    found.len()
                );
                return self.lacking(found, silent, Some(lack));
            }
            for (n, place) in next.iter_mut().enumerate() {
                let Some(from) = *place else { continue };
                let room = u32::try_from(limit - found.len()).unwrap_or(PORTION);
                if room == 0 {
                    break;
                }
                let count = PORTION.min(room);
                let mail = Mail::ListStates { from, count };
                let told = self.tell(n, mail, clock, |report| match report {
                    Report::State(st) => Some((n as u16, st)),
                    _ => None,
                });
                found.extend(told.entries);
                *place = told.next;
                silent.extend(told.is_cut.then_some(n as u16));
            }
        }
        self.lacking(found, silent, None)
    }

    /// A list without what those have to tell who do not answer.
    fn lacking<T>(&self, entries: Vec<T>, silent: Vec<u16>, late: Option<String>) -> Listed<T> {
        let silence = silence(&silent);
        let parts: Vec<String> = silence.into_iter().chain(late).collect();
        Listed {
            entries,
            lack: (!parts.is_empty()).then(|| parts.join("; ")),
        }
    }

    /// What every worker tells of something short.
    fn hear_all<T>(
        &mut self,
        mail: Mail,
        clock: &dyn Clock,
        take: impl Fn(Report) -> Option<T>,
    ) -> Listed<T> {
        let (mut found, mut silent) = (Vec::new(), Vec::new());
        for n in 0..self.workers.len() {
            let told = self.tell(n, mail, clock, &take);
            found.extend(told.entries);
            silent.extend(told.is_cut.then_some(n as u16));
        }
        self.lacking(found, silent, None)
    }

    /// What one worker tells. Each has the whole time, whoever has not answered before it; who stands still for certain is
    /// not asked.
    fn tell<T>(
        &mut self,
        n: usize,
        mail: Mail,
        clock: &dyn Clock,
        take: impl Fn(Report) -> Option<T>,
    ) -> Told<T> {
        let now_ms = clock.now_ms();
        if self.stands_still(n, now_ms) {
            return Told::default();
        }
        let deadline = now_ms + self.ask_ms();
        self.asked(n, deadline, clock).tell(mail, take)
    }

    /// What every worker knows of its neighbors.
    pub fn neighbors(&mut self, clock: &dyn Clock) -> Listed<neighbor::Neighbor> {
        self.hear_all(Mail::ListNeighbors, clock, |report| match report {
            Report::Neighbor(entry) => Some(entry),
            _ => None,
        })
    }

    /// Where every worker knows stations behind bridges to be.
    pub fn stations(&mut self, clock: &dyn Clock) -> Listed<(InterfaceId, Station)> {
        self.hear_all(Mail::ListStations, clock, |report| match report {
            Report::Station(bridge, station) => Some((bridge, station)),
            _ => None,
        })
    }

    /// Takes what workers have logged.
    pub fn drain_log(&mut self, mut take: impl FnMut(LogRecord)) {
        for worker in &mut self.workers {
            // As many as the ring holds: a worker that logs faster does not keep us here.
            for _ in 0..worker::mail::LOG_RING {
                let Some(record) = worker.log.pop() else {
                    break;
                };
                take(record);
            }
        }
    }

    /// Sends every worker a letter that has no answer. Who has too many letters already does not get it, and is told of.
    pub fn tell_all(&mut self, mail: &Mail) -> Result<(), String> {
        let sent = self.workers.iter_mut().map(|w| w.mail.push(*mail).is_ok());
        let unsent = (0..).zip(sent).filter_map(|(n, sent)| (!sent).then_some(n));
        match silence(&unsent.collect::<Vec<u16>>()) {
            None => Ok(()),
            Some(silence) => Err(silence),
        }
    }

    /// Takes the steps that workers have told: each with the number of its worker.
    pub fn drain_steps(&mut self, mut take: impl FnMut(usize, StepRecord)) {
        for (n, worker) in self.workers.iter_mut().enumerate() {
            while let Some(step) = worker.steps.pop() {
                take(n, step);
            }
        }
    }

    /// Begins to kill states on every worker, all of `kills` as one; by what number it can be asked for.
    pub fn begin_kill(
        &mut self,
        what: String,
        kills: Vec<filter::Kill>,
        now_ms: u64,
    ) -> Result<u32, NotKilled> {
        let number = self.kills.begin(what, kills, now_ms)?;
        for (n, worker) in self.workers.iter_mut().enumerate() {
            self.kills.post(n, &mut worker.mail);
        }
        Ok(number)
    }

    /// Looks after kills that are under way: hears how far workers are, and sends what had no room. Tells those that are
    /// done and that nobody has asked for of late.
    pub fn tend_kills(&mut self, now_ms: u64) -> Vec<KillView> {
        if self.kills.is_empty() {
            return Vec::new();
        }
        for n in 0..self.workers.len() {
            // As many as the ring holds: more can wait.
            for _ in 0..worker::mail::REPORT_RING {
                let Some(report) = self.workers[n].reports.pop() else {
                    break;
                };
                // Nobody asks: what is no report of a kill comes too late.
                sorted(n, report, &mut self.kills, &mut self.owed[n]);
            }
            self.kills.post(n, &mut self.workers[n].mail);
        }
        self.kills.close(now_ms)
    }

    /// How far a kill is, for somebody who will ask again.
    pub fn follow_kill(&mut self, number: u32, now_ms: u64) -> Option<KillView> {
        let stalled = self.stalled(now_ms);
        self.kills.follow(number, now_ms, &stalled)
    }

    /// All kills that are under way or remembered, the oldest first.
    pub fn kills(&self, now_ms: u64) -> Vec<KillView> {
        self.kills.views(now_ms, &self.stalled(now_ms))
    }

    /// Looks whether workers turn. Called some times a second.
    pub fn feel_pulses(&mut self, now_ms: u64) {
        for (worker, pulse) in self.workers.iter().zip(&mut self.pulses) {
            let turns = worker.counters.turns.get();
            if pulse.is_none_or(|(before, _)| before != turns) {
                *pulse = Some((turns, now_ms));
            }
        }
    }

    /// Workers that stand still, by number.
    pub fn stalled(&self, now_ms: u64) -> Vec<u16> {
        let all =
            (0..self.workers.len() as u16).filter(|n| self.stands_still(usize::from(*n), now_ms));
        all.collect()
    }

    fn stands_still(&self, n: usize, now_ms: u64) -> bool {
        self.pulses[n].is_some_and(|(turns, moved_ms)| {
            turns == self.workers[n].counters.turns.get() && now_ms >= moved_ms + STALL_MS
        })
    }

    fn asked<'a>(&'a mut self, n: usize, deadline: u64, clock: &'a dyn Clock) -> Asked<'a> {
        Asked {
            number: n,
            worker: &mut self.workers[n],
            owed: &mut self.owed[n],
            kills: &mut self.kills,
            deadline,
            clock,
        }
    }
}

/// Keeps the books of what a worker reports: what is said of kills is told there, and the end of an answer is noted. Gives
/// back what belongs to the question put last.
fn sorted(n: usize, report: Report, kills: &mut Kills, owed: &mut u32) -> Option<Report> {
    if let Report::Killed(report) = report {
        kills.hear(n, report);
        return None;
    }
    let is_end = matches!(
        report,
        Report::StatesEnd { .. } | Report::NeighborsEnd | Report::StationsEnd
    );
    let is_last = *owed == 1;
    *owed = owed.saturating_sub(is_end.into());
    is_last.then_some(report)
}

/// Answers of one worker to one question.
struct Told<T> {
    entries: Vec<T>,
    /// Where to go on, if there is more.
    next: Option<u32>,
    /// It did not come to the end.
    is_cut: bool,
}

impl<T> Default for Told<T> {
    /// Nothing yet.
    fn default() -> Self {
        Told {
            entries: Vec::new(),
            next: None,
            is_cut: true,
        }
    }
}

/// A worker while it is asked.
struct Asked<'a> {
    number: usize,
    worker: &'a mut WorkerLink,
    /// Ends of answers that nobody waited for: what comes before them belongs to earlier questions.
    owed: &'a mut u32,
    /// Told what is said of them meanwhile.
    kills: &'a mut Kills,
    deadline: u64,
    clock: &'a dyn Clock,
}

impl Asked<'_> {
    /// Puts a question; false if the worker has too many already.
    fn ask(&mut self, mail: Mail) -> bool {
        let asked = self.worker.mail.push(mail).is_ok();
        *self.owed += u32::from(asked);
        asked
    }

    /// The next report that belongs to the question put last; none when the time is over.
    fn hear(&mut self) -> Option<Report> {
        loop {
            match self.worker.reports.pop() {
                Some(report) => {
                    let ours = sorted(self.number, report, self.kills, self.owed);
                    if ours.is_some() {
                        return ours;
                    }
                }
                None if self.clock.now_ms() >= self.deadline => return None,
                None => self.clock.pause(),
            }
        }
    }

    /// Puts a question and hears the answer.
    fn tell<T>(mut self, mail: Mail, take: impl Fn(Report) -> Option<T>) -> Told<T> {
        let mut told = Told::default();
        if !self.ask(mail) {
            return told;
        }
        while let Some(report) = self.hear() {
            match report {
                Report::StatesEnd { next } => {
                    (told.next, told.is_cut) = (next, false);
                    break;
                }
                Report::NeighborsEnd | Report::StationsEnd => {
                    told.is_cut = false;
                    break;
                }
                report => told.entries.extend(take(report)),
            }
        }
        told
    }
}
