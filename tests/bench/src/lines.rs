//! Cache lines that cores share: none may be written where established connections are served. Each write would fetch the
//! line from another core, and a core that only reads it would wait as well.
//!
//! This program runs itself in valgrind's `lackey`, which tells of each load and store where it went. Workers serve
//! packets of established connections on threads of their own, with devices of their own, one after the other, and say
//! when they begin and end by stores to *marks*. Who waits for its turn only reads two words that nobody writes meanwhile,
//! since all that happens between two marks is taken for the doing of one worker. A line that one of them has written and another
//! has touched is shared. The same with one counter more that all of them write shows that the check would find such a line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::policy::Purpose;
use crate::threads::{Size, on_threads};

/// What each worker serves.
const SIZE: Size = Size {
    flows: 128,
    frames: 512,
};
const LINE: u64 = 64;
/// Most workers.
const WORKERS_MAX: usize = 4;

/// A word on a line of its own.
#[repr(align(128))]
struct Mark(AtomicU64);

/// One that each worker writes when it begins, and one for the end.
static MARKS: [Mark; WORKERS_MAX + 1] = [const { Mark(AtomicU64::new(0)) }; WORKERS_MAX + 1];
/// How many workers are ready, and whose turn it is.
static READY: Mark = Mark(AtomicU64::new(0));
static TURN: Mark = Mark(AtomicU64::new(0));
/// What no worker should write.
static COMMON: Mark = Mark(AtomicU64::new(0));

fn purposes() -> [(&'static str, Purpose); 2] {
    [("filter", Purpose::Filter), ("nat", Purpose::Nat)]
}

/// What is traced.
#[derive(Clone, Copy, Debug)]
struct Case {
    purpose: usize,
    workers: usize,
    /// With a line that all write.
    common: bool,
}

impl Case {
    fn text(self) -> String {
        format!("{}|{}|{}", self.purpose, self.workers, self.common)
    }

    fn parse(text: &str) -> Option<Case> {
        let mut parts = text.split('|');
        let case = Case {
            purpose: parts.next()?.parse().ok()?,
            workers: parts.next()?.parse().ok()?,
            common: parts.next()?.parse().ok()?,
        };
        (case.purpose < purposes().len() && (1..=WORKERS_MAX).contains(&case.workers))
            .then_some(case)
    }
}

/// What runs in valgrind.
pub(crate) fn traced(text: &str) -> Result<(), String> {
    let case = Case::parse(text).ok_or(format!("no case '{text}'"))?;
    let marks: Vec<String> = MARKS.iter().map(|m| format!("{:x}", address(m))).collect();
    say(&format!("MARKS {}\n", marks.join(" ")))?;
    let (_, purpose) = purposes()[case.purpose];
    let served = on_threads(purpose, case.workers, SIZE, |mut core, barrier| {
        // States, then flows.
        for _ in 0..2 {
            core.load();
            core.drain();
        }
        barrier.wait();
        core.settle();
        // The first packet of each next hop goes the long way once more.
        core.load();
        core.drain();
        let loaded = core.load() as u64;
        let before = core.counters.served.get();
        let (id, workers) = (core.id as u64, case.workers as u64);
        READY.0.fetch_add(1, Ordering::SeqCst);
        wait(workers, id);
        MARKS[core.id].0.store(1, Ordering::SeqCst);
        core.drain();
        if case.common {
            COMMON.0.fetch_add(1, Ordering::Relaxed);
        }
        MARKS[WORKERS_MAX].0.store(1, Ordering::SeqCst);
        TURN.0.store(id + 1, Ordering::SeqCst);
        // Whose turn is over frees nothing before the last one's is.
        wait(workers, workers);
        (core.counters.served.get() - before, loaded)
    });
    let (served, loaded) = served.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    say(&format!("SERVED {served} {loaded}\n"))
}

/// Waits until so many workers are ready, and for a turn or one after it. Touches those two words alone: what it is told is in
/// registers.
#[inline(never)]
fn wait(workers: u64, turn: u64) {
    while READY.0.load(Ordering::SeqCst) < workers || TURN.0.load(Ordering::SeqCst) < turn {
        std::hint::spin_loop();
    }
}

/// In one piece, or the trace comes in between.
fn say(line: &str) -> Result<(), String> {
    let written = std::io::stderr().write_all(line.as_bytes());
    written.map_err(|e| e.to_string())
}

fn address(mark: &Mark) -> usize {
    std::ptr::from_ref(mark).addr()
}

/// What the trace says.
#[derive(Default)]
struct Trace {
    marks: Vec<u64>,
    served: u64,
    loaded: u64,
    /// The worker between whose marks we are.
    now: Option<usize>,
    /// By line: which workers have touched it, and which have written it, as bits.
    touched: BTreeMap<u64, (u8, u8)>,
    /// What was neither.
    told: String,
}

impl Trace {
    fn line(&mut self, line: &str) {
        match line.as_bytes() {
            [b'I', ..] => {}
            [b' ', what @ (b'L' | b'S' | b'M'), b' ', ..] => self.access(*what != b'L', &line[3..]),
            _ => self.word(line),
        }
    }

    fn word(&mut self, line: &str) {
        if let Some(marks) = line.strip_prefix("MARKS ") {
            let marks = marks.split(' ').map(|m| u64::from_str_radix(m, 16));
            self.marks = marks.filter_map(Result::ok).collect();
        } else if let Some(served) = line.strip_prefix("SERVED ") {
            let mut numbers = served.split(' ').filter_map(|n| n.parse().ok());
            self.served = numbers.next().unwrap_or(0);
            self.loaded = numbers.next().unwrap_or(0);
        } else if !line.starts_with("==") && self.told.len() < 1000 {
            self.told += line;
        }
    }

    fn access(&mut self, writes: bool, at: &str) {
        let Some((at, size)) = at.trim().split_once(',') else {
            return;
        };
        let at = u64::from_str_radix(at, 16).unwrap_or(0);
        let size: u64 = size.parse().unwrap_or(1);
        if writes && let Some(mark) = self.marks.iter().position(|m| *m == at) {
            self.now = (mark < WORKERS_MAX).then_some(mark);
            return;
        }
        let Some(worker) = self.now else { return };
        for line in at / LINE..=(at + size.max(1) - 1) / LINE {
            let (touched, written) = self.touched.entry(line).or_default();
            *touched |= 1 << worker;
            *written |= u8::from(writes) << worker;
        }
    }

    /// Lines that one worker has written and another has touched.
    fn shared(&self) -> BTreeSet<u64> {
        let is_shared = |(touched, written): &(u8, u8)| *written != 0 && touched.count_ones() > 1;
        let shared = self.touched.iter().filter(|(_, line)| is_shared(line));
        shared.map(|(line, _)| line * LINE).collect()
    }

    fn written(&self) -> usize {
        self.touched.values().filter(|(_, w)| *w != 0).count()
    }
}

fn trace(case: Case) -> Result<Trace, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut child = Command::new("valgrind")
        .args(["--tool=lackey", "--trace-mem=yes", "--log-fd=2"])
        .arg(program)
        .args(["--traced", &case.text()])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("valgrind: {e}"))?;
    let mut trace = Trace::default();
    let mut told = BufReader::with_capacity(1 << 20, child.stderr.take().ok_or("no pipe")?);
    let mut line = String::new();
    while told.read_line(&mut line).map_err(|e| e.to_string())? > 0 {
        trace.line(line.trim_end());
        line.clear();
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if !status.success() || trace.served == 0 || trace.served != trace.loaded {
        return Err(format!(
            "{case:?}: {status}, {} of {} packets served by flows: {}",
            trace.served, trace.loaded, trace.told
        ));
    }
    Ok(trace)
}

/// True if no line is shared, and if one is found where there should be one.
pub(crate) fn check() -> Result<bool, String> {
    let mut right = true;
    for (purpose, workers, common) in [(0, 2, false), (1, 4, false), (0, 2, true)] {
        let trace = trace(Case {
            purpose,
            workers,
            common,
        })?;
        let shared = trace.shared();
        let expected = usize::from(common);
        println!(
            "{}, {workers} workers{}: {} packets, {} lines written, {} of them touched by another worker",
            purposes()[purpose].0,
            if common { ", all write a line" } else { "" },
            trace.served,
            trace.written(),
            shared.len()
        );
        if shared.len() != expected {
            println!("  {expected} expected: {shared:x?}");
            right = false;
        }
    }
    Ok(right)
}
