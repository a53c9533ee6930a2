//! Owns a machine whose configuration the test writes itself. Port 2 is for management; the other ports are the test's.
//!
//! It may not know what the files say.

use crate::office::{MANAGEMENT_URL, TOKEN, seed};
use crate::scratch::Scratch;
use crate::{Context, Failure, Namespace, NicModel, Options, Output, Result, Running, Vm};
use hosts::one_line;
use std::time::{Duration, Instant};

/// The port that the box is managed by.
pub const MANAGEMENT: usize = 2;
/// Generous: two cores may be shared with a compiler.
const BOOT: Duration = Duration::from_secs(120);
const ANSWER: Duration = Duration::from_secs(20);

/// A file of an etc tree: its name and its text.
pub type File<'a> = (&'a str, &'a str);

/// A machine that can be managed.
#[derive(Debug)]
pub struct Lab {
    /// The machine.
    pub vm: Vm,
}

impl Lab {
    /// A machine with that many ports of one model.
    #[must_use]
    pub fn options(ports: usize, model: NicModel) -> Options {
        Options {
            nics: vec![model; ports],
            seed: Some(seed(model.interface())),
            ..Options::default()
        }
    }

    /// Switches a new machine on and waits until it can be managed.
    ///
    /// # Errors
    /// When it does not come that far.
    pub fn open(options: &Options) -> Result<Self> {
        let mut vm = Vm::boot(options)?;
        vm.host(MANAGEMENT).address("172.16.0.2/24")?;
        vm.expect("forwarding nothing", BOOT)?;
        Ok(Self { vm })
    }

    /// Cuts the power, rebuilds the machine as `change` says, and switches it on with the same disk and hosts. Gives
    /// what it printed until it forwarded.
    ///
    /// # Errors
    /// When it does not come that far.
    pub fn rebuilt(self, change: impl FnOnce(&mut Options)) -> Result<(Self, String)> {
        let mut vm = self.vm.rebuilt(change)?;
        let said = vm.expect("forwarding:", BOOT)?;
        Ok((Self { vm }, said))
    }

    /// Pushes files; how it ended and what `fuguctl` said.
    ///
    /// # Errors
    /// When it cannot be run; a refusal is in the output.
    pub fn push(&self, files: &[File<'_>]) -> Result<Output> {
        let tree = tree(files)?;
        let path = tree.path().display().to_string();
        let words = ["push", MANAGEMENT_URL, &path];
        hosts::fuguctl(self.vm.host(MANAGEMENT), &words, Some(TOKEN))
    }

    /// Pushes files that must be accepted; what `fuguctl` said.
    ///
    /// # Errors
    /// When they are not.
    pub fn accept(&self, files: &[File<'_>]) -> Result<String> {
        let output = self.push(files)?;
        match output.ok() {
            true => Ok(one_line(&output.text)),
            false => Err(Failure(format!("push: {}", output.text))),
        }
    }

    /// Begins to push files and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_push(&self, files: &[File<'_>]) -> Result<Push> {
        let tree = tree(files)?;
        let (path, program) = (tree.path().display().to_string(), hosts::fuguctl_path());
        let (token, program) = (format!("FUGU_TOKEN={TOKEN}"), program.display().to_string());
        let words = ["env", &token, &program, "push", MANAGEMENT_URL, &path];
        Ok(Push {
            running: self.vm.host(MANAGEMENT).spawn(&words)?,
            _tree: tree,
        })
    }

    /// Types a command at the serial console; what is printed.
    ///
    /// # Errors
    /// As [`crate::Console::ask`].
    pub fn ask(&mut self, command: &str) -> Result<String> {
        self.vm.console().ask(command, ANSWER)
    }

    /// What the box counts for machines: the lines of `name`.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn metrics(&self, name: &str) -> Result<Vec<String>> {
        let url = format!("{MANAGEMENT_URL}/metrics");
        let token = format!("Authorization: Bearer {TOKEN}");
        let words = ["curl", "-sS", "-m", "20", "-H", &token, &url];
        let said = self.host(MANAGEMENT).run(&words)?.text;
        let lines = said.lines().filter(|line| line.starts_with(name));
        Ok(lines.map(Into::into).collect())
    }

    /// Why packets were dropped so far, and how many: what is not zero.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn drops(&self) -> Result<String> {
        let lines = self.metrics("fugu_pf_drops_total")?;
        let some = lines.into_iter().filter(|line| !line.ends_with(" 0"));
        Ok(some.collect::<Vec<_>>().join(", "))
    }

    /// The host at port `nr`.
    ///
    /// # Panics
    /// If there is no such port.
    #[must_use]
    pub fn host(&self, nr: usize) -> &Namespace {
        self.vm.host(nr)
    }
}

fn tree(files: &[File<'_>]) -> Result<Scratch> {
    let tree = Scratch::new()?;
    for (name, text) in files {
        std::fs::write(tree.join(name), text).context(name)?;
    }
    Ok(tree)
}

/// Files on their way to the box; given up when the value goes away.
#[derive(Debug)]
pub struct Push {
    running: Running,
    _tree: Scratch,
}

impl Push {
    /// Waits until the box has accepted them.
    ///
    /// # Errors
    /// After `patience`, or when it refuses them.
    pub fn accepted(&mut self, patience: Duration) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < patience {
            match self.running.child().try_wait().context("fuguctl")? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(Failure(format!("push: {status}"))),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        Err(Failure(format!("push: no answer within {patience:?}")))
    }
}

/// Pings `to`, once a fifth of a second; every ping must be answered. The last line of what ping said.
///
/// # Errors
/// When an answer is missing.
pub fn ping(from: &Namespace, to: &str, words: &[&str]) -> Result<String> {
    let usual = ["ping", "-c3", "-i0.2", "-W5", to];
    let said = from.run(&[&usual, words].concat())?.text;
    if said.contains(" 0% packet loss") {
        return Ok(hosts::last_line(&said));
    }
    let words = words.join(" ");
    Err(Failure(format!("ping {to} {words}: {}", one_line(&said))))
}
