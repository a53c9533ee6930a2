//! Owns one `fugu` process: its start, what it writes, what it costs, its end.

use crate::{Context, Failure, Namespace, Result, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

/// Lines of the log that are shown in the end.
const LAST_WORDS: usize = 30;
/// Of utime and stime in /proc/PID/stat: sysconf(_SC_CLK_TCK), 100 on every Linux there is.
const TICK: Duration = Duration::from_millis(10);

/// Where it is: built by `ci/build`, or what `FUGU` names.
#[must_use]
pub(crate) fn path() -> PathBuf {
    let named = std::env::var_os("FUGU").map(PathBuf::from);
    named.unwrap_or_else(|| hosts::repository().join("target/x86_64-unknown-linux-gnu/image/fugu"))
}

/// The running program; killed with this value.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it in a namespace; what it writes goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(namespace: &Namespace, arguments: &[String], log: &Path) -> Result<Self> {
        let file = File::create(log).context(log.display())?;
        let mut command = namespace.command(&path().display().to_string());
        command.args(arguments).stdin(Stdio::piped());
        let both = file.try_clone().context("log")?;
        let child = command.stdout(file).stderr(both).spawn().context("fugu")?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Waits until it has written `text`; all that it wrote.
    ///
    /// # Errors
    /// When it does not, or ends first.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        until(format!("\"{text}\" of fugu"), || {
            let said = self.said();
            if said.contains(text) {
                return Ok(Some(said));
            }
            match self.child.try_wait().context("wait")? {
                Some(status) => Err(Failure(format!("fugu ended, {status}:\n{said}"))),
                None => Ok(None),
            }
        })
    }

    /// What it has written.
    #[must_use]
    pub fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Processor time it has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn processor_time(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        // After the name, which may have spaces in it; utime and stime are fields 14 and 15 of proc(5).
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = |n: usize| fields.split_whitespace().nth(n - 3)?.parse::<u32>().ok();
        let sum = ticks(14).zip(ticks(15)).map(|(user, system)| user + system);
        sum.map(|ticks| TICK * ticks)
            .ok_or_else(|| Failure(format!("/proc stat: {stat}")))
    }

    /// Memory it has, in KiB (resident set).
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| Failure(format!("/proc status: {status}")))
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).context(path)
    }

    /// True if it runs.
    ///
    /// # Errors
    /// The system's.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("wait")?.is_none())
    }

    /// Asks it to end, with SIGTERM; its exit status.
    ///
    /// # Errors
    /// When it does not end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure("no process".into()))?;
        kill_process(pid, Signal::TERM).context("kill")?;
        until("the end of fugu", || self.child.try_wait().context("wait"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        // Also after a test that ended with an error; cargo shows it only if that is so, or if it is asked to.
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        let from = lines.len().saturating_sub(LAST_WORDS);
        println!("fugu's last words:\n  | {}", lines[from..].join("\n  | "));
    }
}
