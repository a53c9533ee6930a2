//! The real program against testpmd, for credibility outside: `ci/bench --testpmd`.
//!
//! A testpmd in a process of its own makes packets (`flowgen`: UDP, 60 bytes, so many flows in turn, on both ports) and
//! takes what comes back, over two `net_memif` ports. In the middle stands, by turns, a testpmd that exchanges station
//! addresses (`macswap`) and the static `fugu` as a bridge with a stateful filter of ten rules. Each has one core of its
//! own, as the generator has. What counts is the time that the busiest thread of the one in the middle has run, by the
//! packets that the generator has put into the rings meanwhile; that is the cost of a packet if the generator was never
//! short of packets, which is what *saturated* says. A packet is copied twice by memif, in and out, and the generator
//! shares the memory's speed, so the share of the filter is the difference of the two rows.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::spread::Spread;

/// How long one sample takes, after as long a time to warm up.
const SAMPLE: Duration = Duration::from_secs(2);
/// How long a program may take to start or to answer.
const PATIENCE: Duration = Duration::from_secs(30);
const RULES: &str = "set limit states 4000000
block all
pass on memif0 inet proto tcp to port 22
pass on memif1 inet proto tcp to port 22
block in quick inet from 192.168.0.0/16
block in quick inet from 172.16.0.0/12
pass inet proto tcp to 10.1.2.3 port 443
pass inet proto udp to 10.1.2.4 port 53
pass inet proto icmp
pass inet proto udp from 10.254.0.0/16
pass inet proto udp to 10.253.0.0/16
";

/// One line of the table.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    /// What stands in the middle.
    pub(crate) scenario: String,
    pub(crate) flows: usize,
    /// Cycles of the time stamp counter per packet received.
    pub(crate) cycles: Spread,
    /// Packets received, and packets that came back to the generator, per second that the thread ran.
    pub(crate) mpps: Spread,
    pub(crate) delivered_mpps: Spread,
    /// Against macswap of the same round.
    pub(crate) to_macswap: Spread,
    /// Packets were waiting in every sample.
    pub(crate) saturated: bool,
}

/// One sample.
#[derive(Clone, Copy)]
struct Sample {
    ns: f64,
    mpps: f64,
    delivered_mpps: f64,
    saturated: bool,
}

/// Who stands in the middle.
#[derive(Clone, Copy)]
enum Middle<'a> {
    Macswap,
    Fugu(&'a Path),
}

/// Every row, `runs` rounds of them in turn.
pub(crate) fn rows(fugu: &Path, runs: usize, tsc_ghz: f64) -> Result<Vec<Row>, String> {
    let cases = [
        ("testpmd macswap", Middle::Macswap, 1000),
        ("fugu, bridge with filter", Middle::Fugu(fugu), 1000),
        ("fugu, bridge with filter", Middle::Fugu(fugu), 100_000),
    ];
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); cases.len()];
    for round in 0..runs {
        for (case, (name, middle, flows)) in cases.iter().enumerate() {
            let now = sample(*middle, *flows)?;
            eprintln!(
                "bench: round {}: {name}, {flows} flows: {:.1} ns, {:.2} Mpps",
                round + 1,
                now.ns,
                now.mpps
            );
            samples[case].push(now);
        }
    }
    let row = |(case, (name, _, flows)): (usize, &(&str, Middle<'_>, usize))| {
        let column = |f: &dyn Fn(&Sample) -> f64| Spread::of(samples[case].iter().map(f));
        let both = samples[case].iter().zip(&samples[0]);
        Row {
            scenario: (*name).into(),
            flows: *flows,
            cycles: column(&|s| s.ns * tsc_ghz),
            mpps: column(&|s| s.mpps),
            delivered_mpps: column(&|s| s.delivered_mpps),
            to_macswap: Spread::of(both.map(|(now, macswap)| now.ns / macswap.ns)),
            saturated: samples[case].iter().all(|s| s.saturated),
        }
    };
    Ok(cases.iter().enumerate().map(row).collect())
}

pub(crate) fn print(rows: &[Row]) {
    for row in rows {
        println!(
            "over memif: {}, {} flows: {} cycles, {} Mpps, {} back, {} x macswap{}",
            row.scenario,
            row.flows,
            row.cycles.text(0),
            row.mpps.text(2),
            row.delivered_mpps.text(2),
            row.to_macswap.text(2),
            if row.saturated { "" } else { ", not saturated" }
        );
    }
}

pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    if !rows.is_empty() {
        text += "\n| over memif | flows | cycles | Mpps | came back | to macswap | saturated |\n|---|---|---|---|---|---|---|\n";
    }
    for row in rows {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            row.scenario,
            row.flows,
            row.cycles.text(0),
            row.mpps.text(2),
            row.delivered_mpps.text(2),
            row.to_macswap.text(2),
            row.saturated
        );
    }
    text
}

fn sample(middle: Middle<'_>, flows: usize) -> Result<Sample, String> {
    let scratch = Scratch::new()?;
    let mut generator = testpmd(
        &scratch,
        "generator",
        1,
        0,
        "server",
        &[
            "--forward-mode=flowgen".into(),
            format!("--flowgen-flows={flows}"),
            // Each port's frames are for the station behind the other.
            "--eth-peer=0,02:00:00:00:00:01".into(),
            "--eth-peer=1,02:00:00:00:00:00".into(),
        ],
    )?;
    generator.wait_for("testpmd>")?;
    let other = match middle {
        Middle::Macswap => {
            let mut other = testpmd(
                &scratch,
                "macswap",
                0,
                1,
                "client",
                &["--forward-mode=macswap".into()],
            )?;
            other.wait_for("testpmd>")?;
            other.say("start")?;
            other
        }
        Middle::Fugu(program) => {
            let mut other = bridge(&scratch, program)?;
            other.wait_for("forwarding: 2 ports")?;
            other
        }
    };
    generator.say("start")?;
    std::thread::sleep(SAMPLE);
    let (first, busy) = (generator.stats()?, other.threads()?);
    std::thread::sleep(SAMPLE);
    let (second, busier) = (generator.stats()?, other.threads()?);
    let ran = |(tid, ns): &(String, f64)| {
        let before = busy.iter().find(|b| b.0 == *tid).map_or(0.0, |b| b.1);
        ns - before
    };
    let ns = busier.iter().map(ran).fold(0.0, f64::max);
    let [received, sent, unsent] = [0, 1, 2].map(|n| (second[n] - first[n]) as f64);
    if sent < 1.0 || received < 1.0 {
        return Err(format!("no packets: {}", other.last()));
    }
    Ok(Sample {
        ns: ns / sent,
        mpps: sent / ns * 1000.0,
        delivered_mpps: received / ns * 1000.0,
        saturated: unsent > 0.0,
    })
}

/// A directory of our own, gone with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, String> {
        let path = std::env::temp_dir().join(format!("bench-memif.{}", std::process::id()));
        std::fs::create_dir_all(path.join("etc"))
            .map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Scratch(path))
    }

    fn memif(&self, n: usize, role: &str) -> String {
        let socket = self.0.join(format!("memif{n}"));
        let mac = format!("02:00:00:00:00:{n:02}");
        let socket = socket.display();
        format!(
            "net_memif{n},role={role},id={n},socket={socket},socket-abstract=no,rsize=10,mac={mac}"
        )
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It was ours; nobody misses it.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn testpmd(
    scratch: &Scratch,
    name: &str,
    core: usize,
    main: usize,
    role: &str,
    more: &[String],
) -> Result<Program, String> {
    // It writes to a file as if nobody read it before its end.
    let mut command = Command::new("stdbuf");
    command
        .args(["-oL", "dpdk-testpmd"])
        .args(["-l", "0,1", "--main-lcore", &main.to_string()])
        .args(["--no-pci", "--in-memory", "--no-telemetry", "-m", "192"])
        .args((0..2).map(|n| format!("--vdev={}", scratch.memif(n, role))))
        .args([
            "--",
            "-i",
            "--nb-cores=1",
            "--burst=64",
            "--total-num-mbufs=16384",
        ])
        .arg("--no-lsc-interrupt")
        .arg(format!("--coremask={:#x}", 1 << core))
        .args(more);
    Program::start(command, &scratch.0.join(name))
}

fn bridge(scratch: &Scratch, program: &Path) -> Result<Program, String> {
    let etc = scratch.0.join("etc");
    for (file, text) in [
        ("hostname.memif0", "up\n"),
        ("hostname.memif1", "up\n"),
        ("hostname.bridge0", "add memif0\nadd memif1\nup\n"),
        ("pf.conf", RULES),
    ] {
        std::fs::write(etc.join(file), text).map_err(|e| format!("{file}: {e}"))?;
    }
    let mut command = Command::new(program);
    command
        .args((0..2).flat_map(|n| ["--vdev".to_string(), scratch.memif(n, "client")]))
        .arg("--etc")
        .arg(etc)
        .args(["--cpus", "0"]);
    Program::start(command, &scratch.0.join("fugu"))
}

/// A program that runs; killed with this value.
struct Program {
    child: Child,
    input: ChildStdin,
    log: PathBuf,
}

impl Program {
    fn start(mut command: Command, log: &Path) -> Result<Program, String> {
        let named = command.get_program().to_string_lossy().into_owned();
        let failed = |e: std::io::Error| format!("{named}: {e}");
        let file = File::create(log).map_err(failed)?;
        let both = file.try_clone().map_err(failed)?;
        let spawned = command
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(both)
            .spawn();
        let mut child = spawned.map_err(failed)?;
        let input = child.stdin.take().ok_or("no input")?;
        Ok(Program {
            child,
            input,
            log: log.into(),
        })
    }

    fn said(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            // What can be read is enough.
            file.read_to_end(&mut bytes).ok();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last that it said.
    fn last(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    fn wait_for(&mut self, text: &str) -> Result<(), String> {
        self.wait_until(text, |said| said.contains(text))
    }

    fn wait_until(&mut self, what: &str, done: impl Fn(&str) -> bool) -> Result<(), String> {
        let started = Instant::now();
        while !done(&self.said()) {
            let ended = self.child.try_wait().map_err(|e| e.to_string())?;
            if ended.is_some() || started.elapsed() > PATIENCE {
                return Err(format!("no '{what}' from:\n{}", self.last()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn say(&mut self, line: &str) -> Result<(), String> {
        writeln!(self.input, "{line}").map_err(|e| e.to_string())
    }

    /// Of both ports of a testpmd: packets received, sent, and not sent for want of room.
    fn stats(&mut self) -> Result<[u64; 3], String> {
        let before = self.said().matches("RX-packets:").count();
        self.say("show fwd stats all")?;
        self.wait_until("RX-packets", |said| {
            said.matches("RX-packets:").count() >= before + 3
                && said.trim_end().ends_with("testpmd>")
        })?;
        let said = self.said();
        // The last block is the sum over all ports.
        let field = |name: &str| {
            let at = said.rfind(name)? + name.len();
            said[at..].split_whitespace().next()?.parse::<u64>().ok()
        };
        let fields = [
            field("RX-packets:"),
            field("TX-packets:"),
            field("TX-dropped:"),
        ];
        let [Some(rx), Some(tx), Some(dropped)] = fields else {
            return Err(format!("no figures in:\n{}", self.last()));
        };
        Ok([rx, tx, dropped])
    }

    /// Nanoseconds that each thread has run (/proc/PID/task/TID/schedstat).
    fn threads(&self) -> Result<Vec<(String, f64)>, String> {
        let path = format!("/proc/{}/task", self.child.id());
        let tasks = std::fs::read_dir(&path).map_err(|e| format!("{path}: {e}"))?;
        let time = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let ns = text.split_whitespace().next()?.parse().ok()?;
            Some((task.file_name().to_string_lossy().into_owned(), ns))
        };
        Ok(tasks.flatten().filter_map(time).collect())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
