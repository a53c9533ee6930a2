//! Owns Linux hosts: network namespaces made for a test, and the programs running in them.
//!
//! Read first: ip-netns(8). The namespace's name begins with `fugu-` and the maker's process number, so that a later run
//! can remove what a killed one left ([`sweep`]).

use crate::scratch::unique;
use crate::{Context, Failure, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PREFIX: &str = "fugu-";

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Standard output, then standard error.
    pub text: String,
    /// Exit status; None: killed by a signal.
    pub status: Option<i32>,
}

impl Output {
    /// True if it ended with status 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.status == Some(0)
    }
}

/// A host: its own interfaces, routes and sockets. Its interface towards the machine is called `eth0`.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// `ip` commands that made it what it is, to be repeated when its interface comes back after a power cut.
    setup: RefCell<Vec<Vec<String>>>,
}

impl Namespace {
    /// Makes one; `label` is for people.
    ///
    /// # Errors
    /// Without root.
    pub fn new(label: &str) -> Result<Self> {
        let name = format!("{}-{label}", unique(PREFIX));
        ip(&["netns", "add", &name])?;
        let host = Self {
            name,
            setup: RefCell::default(),
        };
        ip(&["-n", &host.name, "link", "set", "lo", "up"])?;
        // Tests say which addresses there are, and need not wait for duplicate address detection.
        for setting in ["accept_dad=0", "accept_ra=0", "router_solicitations=0"] {
            let output = host.run(&[
                "sysctl",
                "-q",
                "-w",
                &format!("net.ipv6.conf.default.{setting}"),
            ])?;
            if !output.ok() {
                return Err(Failure(format!("sysctl {setting}: {}", output.text)));
            }
        }
        Ok(host)
    }

    /// Its name for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives `eth0` an address with a prefix length.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn address(&self, address: &str) -> Result<()> {
        self.ip(&["address", "add", address, "dev", "eth0"])
    }

    /// Routes `destination` (or `default`) by `gateway`.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn route(&self, destination: &str, gateway: &str) -> Result<()> {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        self.ip(&[family, "route", "add", destination, "via", gateway])
    }

    /// Runs an `ip` command here, and again whenever the interface comes back.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn ip(&self, words: &[&str]) -> Result<()> {
        self.ip_once(words)?;
        self.setup
            .borrow_mut()
            .push(words.iter().map(ToString::to_string).collect());
        Ok(())
    }

    fn ip_once(&self, words: &[&str]) -> Result<()> {
        ip(&[&["-n", &self.name], words].concat())
    }

    /// Takes a network device from our own namespace and makes it `eth0`.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn adopt(&self, device: &str) -> Result<()> {
        ip(&["link", "set", device, "netns", &self.name])?;
        self.ip_once(&["link", "set", device, "name", "eth0", "up"])?;
        for words in self.setup.borrow().iter() {
            self.ip_once(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Connects two hosts by a cable, a pair of virtual interfaces: `name` here, `eth0` there. The network cards of `there`
    /// leave no checksum and no segmentation to others: what stands between may be a program that sees raw frames.
    ///
    /// # Errors
    /// What `ip` or `ethtool` says.
    pub fn connect(&self, name: &str, there: &Namespace) -> Result<()> {
        self.connect_as(name, there, "eth0")
    }

    /// As [`Namespace::connect`], with a name of its own there.
    ///
    /// # Errors
    /// What `ip` or `ethtool` says.
    pub fn connect_as(&self, name: &str, there: &Namespace, name_there: &str) -> Result<()> {
        let (here, peer) = (self.name.as_str(), there.name.as_str());
        ip(&[
            "link", "add", name, "netns", here, "type", "veth", "peer", "name", name_there,
            "netns", peer,
        ])?;
        there.must(&format!(
            "ethtool -K {name_there} tx off rx off tso off gso off gro off"
        ))?;
        self.ip_once(&["link", "set", name, "up"])?;
        there.ip_once(&["link", "set", name_there, "up"])
    }

    /// Runs a program, its words divided by spaces, that must end well; what it said.
    ///
    /// # Errors
    /// When it did not.
    pub fn must(&self, line: &str) -> Result<String> {
        let output = self.run(&line.split_whitespace().collect::<Vec<_>>())?;
        match output.ok() {
            true => Ok(output.text),
            false => Err(Failure(format!("{line}: {}", output.text))),
        }
    }

    /// Does `work` as if this process were on this host: sockets made in it belong to the host, and may be taken away.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or of `work`.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = std::fs::File::open(format!("/run/netns/{}", self.name)).context(&self.name)?;
        std::thread::scope(|scope| {
            let there = scope.spawn(move || {
                // Of this thread only, which ends below.
                let network = LinkNameSpaceType::Network;
                move_into_link_name_space(file.as_fd(), Some(network)).context("setns")?;
                work()
            });
            let panicked = |_| Failure("a thread on a host panicked".into());
            there.join().map_err(panicked)?
        })
    }

    /// A command that will run here.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it cannot be started; its own failure is in the output.
    pub fn run(&self, words: &[&str]) -> Result<Output> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| Failure("no program".into()))?;
        let output = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context(program)?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Output {
            text: String::from_utf8_lossy(&text).into_owned(),
            status: output.status.code(),
        })
    }

    /// Starts a program that goes on until the value is dropped; its standard input and output are pipes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, words: &[&str]) -> Result<Running> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| Failure("no program".into()))?;
        let child = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context(program)?;
        Ok(Running { child, lines: None })
    }

    /// Waits until something listens on a TCP port here.
    ///
    /// # Errors
    /// After `patience`.
    pub fn wait_for_port(&self, port: u16, patience: Duration) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < patience {
            if self
                .run(&["ss", "-Hltn", &format!("sport = :{port}")])?
                .text
                .contains("LISTEN")
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Failure(format!(
            "nothing listens on port {port} of {}",
            self.name
        )))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(failure) = ip(&["netns", "delete", &self.name]) {
            eprintln!("{}: {failure}", self.name);
        }
    }
}

/// A program in a namespace, killed when the value goes away.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Lines of its standard output, read by a thread of their own so that waiting can end.
    lines: Option<Receiver<String>>,
}

impl Running {
    /// The process: `ip netns exec` replaces itself by the program.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// When it has ended.
    pub fn write_line(&mut self, line: &str) -> Result<()> {
        let input = self
            .child
            .stdin
            .as_mut()
            .ok_or_else(|| Failure("no input".into()))?;
        input
            .write_all(format!("{line}\n").as_bytes())
            .context("write")?;
        input.flush().context("write")
    }
}

impl Running {
    /// The next line of its standard output.
    ///
    /// # Errors
    /// When none comes within `patience`, or it has ended.
    pub fn read_line(&mut self, patience: Duration) -> Result<String> {
        if let Some(output) = self.child.stdout.take() {
            let (sender, receiver) = channel();
            self.lines = Some(receiver);
            std::thread::spawn(move || {
                let lines = BufReader::new(output)
                    .lines()
                    .map_while(std::result::Result::ok);
                // Nobody listens any more: the value is gone, and so will be the program.
                lines
                    .map(|line| sender.send(line))
                    .take_while(std::result::Result::is_ok)
                    .for_each(drop);
            });
        }
        let lines = self
            .lines
            .as_ref()
            .ok_or_else(|| Failure("no output".into()))?;
        lines.recv_timeout(patience).context("waiting for a line")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Removes namespaces of runs that no longer exist.
///
/// # Errors
/// When `ip` cannot be run.
pub fn sweep() -> Result<()> {
    let listing = Command::new("ip")
        .args(["netns", "list"])
        .output()
        .context("ip netns list")?;
    for line in String::from_utf8_lossy(&listing.stdout).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let Some(maker) = rest
            .split('-')
            .next()
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        else {
            continue;
        };
        if !std::path::Path::new(&format!("/proc/{maker}")).exists() {
            ip(&["netns", "delete", name])?;
        }
    }
    Ok(())
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("ip")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure(format!(
        "ip {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn sockets_made_inside_belong_to_the_host_and_a_cable_connects_two() -> Result<()> {
        let one = match Namespace::new("one") {
            Ok(host) => host,
            Err(failure) => {
                println!("skipped: no network namespaces (not root?): {failure}");
                return Ok(());
            }
        };
        let two = Namespace::new("two")?;
        one.connect("cable0", &two)?;
        one.ip(&["address", "add", "192.0.2.1/24", "dev", "cable0"])?;
        two.address("192.0.2.2/24")?;
        let listener = one.inside(|| TcpListener::bind("192.0.2.1:7").context("bind"))?;
        let mut stream = two.inside(|| TcpStream::connect("192.0.2.1:7").context("connect"))?;
        let (mut accepted, from) = listener.accept()?;
        assert_eq!(from.ip().to_string(), "192.0.2.2");
        accepted.write_all(b"!")?;
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        assert!(
            TcpListener::bind("192.0.2.1:7").is_err(),
            "this process stays where it was"
        );
        Ok(())
    }
}
