//! Process 1: mounts, huge pages, device binding, configuration slots, watchdog, epitaph.
//!
//! Owns the straight list of steps from "the kernel started us" to "DPDK can start" ([`start`]), and what
//! must survive a power cut ([`slots`], [`epitaph`]). It may not know what a bundle or a setting means: those are
//! bytes to it. It calls nobody; the composition root calls it when it is process 1.
//!
//! Read first: proc(5), sysfs(5), the kernel's `admin-guide/mm/hugetlbpage.rst`, `driver-api/vfio.rst`,
//! `watchdog/watchdog-api.rst`. The disk is laid out by `image/src/disk.rs`.
//!
//! This crate was allowed `unsafe` and turned out not to need it.

#![forbid(unsafe_code)]

pub mod cmdline;
mod disks;
pub mod epitaph;
mod memory;
mod mounts;
pub mod nics;
pub mod power;
pub mod seed;
pub mod slots;
pub mod storage;
mod terminal;
pub mod watchdog;

use cmdline::CommandLine;
use nics::NicReport;
use slots::Slots;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use storage::Partition;
use watchdog::Watchdog;

/// What process 1 found and prepared; all the composition root needs to go on.
pub struct Machine {
    /// `fugu.*` arguments of the kernel command line and of the seed disk.
    pub cmdline: CommandLine,
    /// Terminals a person may sit at, best first: serial lines that exist, then the screen. Standard input and output are
    /// one of them.
    pub terminals: Vec<PathBuf>,
    /// The configuration partition, if there is one. Without it nothing can be kept.
    pub slots: Option<Slots<Partition>>,
    /// Every PCI network function and what became of it, in PCI order.
    pub nics: Vec<NicReport>,
    /// Memory the kernel manages, in bytes.
    pub memory_bytes: u64,
    /// Huge pages of 2 MiB that were reserved.
    pub hugepages: u64,
    /// Steps in order, with the time each took.
    pub steps: Vec<(&'static str, Duration)>,
    /// The seed disk's archive (plain tar), if there was one.
    pub seed: Option<Vec<u8>>,
    /// Why the last run ended, if it left a note; reported once.
    pub epitaph: Option<String>,
    /// The opened watchdog: whoever takes it must kick it.
    pub watchdog: Option<Watchdog>,
}

/// A step without which nothing after it makes sense.
#[derive(Debug)]
pub struct BootError {
    /// Name of the step, as printed.
    pub step: &'static str,
    /// What happened, in words.
    pub text: String,
}

impl fmt::Display for BootError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "boot: {}: {}", self.step, self.text)
    }
}

impl std::error::Error for BootError {}

/// Takes the machine from the kernel's hands to "DPDK can start". Call it once, as process 1.
///
/// `console` is standard output, which a step may move to another terminal. Each step prints one line on it. A step that the machine can live without reports and goes on.
///
/// # Errors
/// Only when a file system cannot be mounted or huge pages cannot be had.
pub fn start(console: &mut dyn Write) -> Result<Machine, BootError> {
    let mut steps = Steps {
        console,
        done: Vec::new(),
    };
    steps.run("mounts", mounts::mount_all)?;
    let mut cmdline = steps.run("command line", cmdline::read)?;
    let terminals = steps.run("console", || Ok(terminal::settle(&cmdline.consoles)))?;
    let slots = steps.run("configuration partition", || {
        Ok(disks::configuration(cmdline.slot.is_some()))
    })?;
    let epitaph = steps.run("epitaph", || Ok(epitaph::take_from(slots.as_ref())))?;
    let seed = steps.run("seed disk", || Ok(disks::seed(&mut cmdline)))?;
    let watchdog = steps.run("watchdog", || Ok(watchdog::open()))?;
    let nics = steps.run("network ports", || Ok(nics::bind_all()))?;
    let memory = steps.run("huge pages", || memory::reserve(cmdline.memory_mib))?;
    for problem in &cmdline.problems {
        steps.say(format_args!("boot: {problem}"));
    }
    Ok(Machine {
        cmdline,
        terminals,
        slots,
        nics,
        memory_bytes: memory.bytes,
        hugepages: memory.pages,
        steps: steps.done,
        seed,
        epitaph,
        watchdog,
    })
}

/// What a step gives: its value, and what to say about it on the console (nothing: no line).
type Outcome<T> = Result<(T, String), String>;

struct Steps<'a> {
    console: &'a mut dyn Write,
    done: Vec<(&'static str, Duration)>,
}

impl Steps<'_> {
    fn run<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Outcome<T>,
    ) -> Result<T, BootError> {
        let started = Instant::now();
        let outcome = work();
        let took = started.elapsed();
        self.done.push((name, took));
        match outcome {
            Ok((value, remark)) => {
                for line in remark.lines() {
                    self.say(format_args!(
                        "boot: {name}: {line} ({} ms)",
                        took.as_millis()
                    ));
                }
                Ok(value)
            }
            Err(text) => Err(BootError { step: name, text }),
        }
    }

    /// A console that cannot be written to must not keep the box from forwarding.
    fn say(&mut self, line: fmt::Arguments<'_>) {
        drop(writeln!(self.console, "{line}\r").and_then(|()| self.console.flush()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_prints_its_remarks_and_a_failed_one_names_itself() {
        let mut console = Vec::new();
        let mut steps = Steps {
            console: &mut console,
            done: Vec::new(),
        };
        assert_eq!(
            steps.run("first", || Ok((7, "one\ntwo".into()))).unwrap(),
            7
        );
        steps.run("silent", || Ok(((), String::new()))).unwrap();
        let error = steps
            .run::<()>("third", || Err("no memory".into()))
            .unwrap_err();
        assert_eq!(error.to_string(), "boot: third: no memory");
        let names: Vec<&str> = steps.done.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["first", "silent", "third"]);
        let said = String::from_utf8(console).unwrap();
        assert!(
            said.contains("boot: first: one (") && said.contains("boot: first: two ("),
            "{said}"
        );
        assert!(!said.contains("silent"));
    }
}
