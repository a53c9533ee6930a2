//! Owns a Linux machine beside Fugu: for what the kernel under the tests may not have (bonding, tunnels, a bridge).
//!
//! Its kernel is Debian's, kept by `ci/setup` in the cache and never installed; its file system is made here of this machine's
//! `ip`, `bridge`, `ping` and `curl` and of a static busybox. A shell that is process 1 runs what [`Peer::run`] sends over the
//! second serial line and answers with what was printed and the exit status. Ports: first the cables to another machine
//! ([`crate::Options::cables`]), then taps with a host each; inside they are `eth0`, `eth1`, … in this order.
//!
//! Read first: qemu(1) (`-netdev stream`), the kernel's `Documentation/networking/bonding.rst`.

use crate::qmp::Qmp;
use crate::scratch::{Scratch, unique};
use crate::vm::{Process, accept, cable, listen, machine, tap_netdev};
use crate::{Context, Failure, Namespace, Output, Result};
use image::cpio::Archive;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// From power on to the first command, and the longest that a command may take: an emulated machine on a busy one.
const PATIENCE: Duration = Duration::from_secs(120);
const MEMORY_MIB: u32 = 256;
const BUSYBOX: &str = "/bin/busybox";
/// Of this machine, with their libraries; busybox has others of these names that can do less, and its shell prefers them.
const PROGRAMS: [&str; 5] = ["sh", "ip", "bridge", "ping", "curl"];
const DIRECTORIES: [&str; 12] = [
    "bin", "dev", "etc", "lib", "lib64", "modules", "proc", "run", "sbin", "sys", "tmp", "usr",
];
/// Of its cards. Bonding leaves ports without a known speed and full duplex out of LACP.
const SPEED: &str = "speed=1000,duplex=full";
/// Process 1. A command is one line: a number, and words for a shell.
const INIT: &str = r#"#!/bin/sh
/bin/busybox --install -s /sbin
export PATH=/bin:/sbin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
while read -r module; do
  # Without an interface of its own: the test makes it.
  case $module in bonding.ko) insmod /modules/$module max_bonds=0 ;; *) insmod /modules/$module ;; esac
done </modules/order
for what in default all; do
  echo 0 >/proc/sys/net/ipv6/conf/$what/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/$what/accept_ra
done
echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
ip link set lo up
for card in /sys/class/net/eth*; do ip link set "${card##*/}" up; done
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
echo ready >&3
while read -r number command <&3; do
  sh -c "$command" >/tmp/said 2>&1 </dev/null; status=$?
  { cat /tmp/said; echo; echo "@$number $status"; } >&3
done
poweroff -f
"#;

/// Why there can be no peer here, as a sentence; None: there can.
#[must_use]
pub fn missing() -> Option<String> {
    let there = kernel_files().is_some_and(|files| files.join("vmlinuz").exists());
    if !there {
        return Some("no kernel for a Linux peer in the cache: run ci/setup with a network".into());
    }
    if !Path::new(BUSYBOX).exists() {
        return Some(format!("no {BUSYBOX}: run ci/setup"));
    }
    hosts::missing_program(&PROGRAMS).map(|name| format!("no {name}: run ci/setup"))
}

/// Prints why a test with a peer is skipped and tells the caller to return.
#[must_use]
pub fn skip() -> bool {
    let why = crate::missing().or_else(missing);
    if let Some(why) = &why {
        println!("skipped: {why}");
    }
    why.is_some()
}

/// Where `ci/setup` keeps kernel and modules.
fn kernel_files() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("FUGU_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache/fugu")));
    cache.map(|cache| cache.join("peer-kernel"))
}

/// A running Linux machine.
#[derive(Debug)]
pub struct Peer {
    // Order matters: the process ends before its hosts and its files go.
    _process: Process,
    qmp: Qmp,
    line: BufReader<UnixStream>,
    asked: u32,
    hosts: Vec<Namespace>,
    cables: Vec<PathBuf>,
    scratch: Scratch,
}

impl Peer {
    /// Switches it on with so many cables and so many hosts, and waits until it takes commands.
    ///
    /// # Errors
    /// When QEMU or hosts are not to be had, or the machine does not come up: with the last lines of its console.
    pub fn boot(cables: usize, hosts: usize) -> Result<Self> {
        let scratch = Scratch::new()?;
        let host = |nr: usize| Namespace::new(&format!("beyond{nr}"));
        let hosts = (0..hosts).map(host).collect::<Result<Vec<_>>>()?;
        let cables: Vec<PathBuf> = (0..cables)
            .map(|nr| scratch.join(&format!("cable{nr}")))
            .collect();
        let line = listen(&scratch.join("line"))?;
        let control = listen(&scratch.join("control"))?;
        let taps: Vec<String> = hosts.iter().map(|_| unique("fp")).collect();
        let mut process = Process(
            command(&scratch, &cables, &taps)?
                .spawn()
                .context("cannot run QEMU")?,
        );
        let line = accept(&line, &mut process)?;
        line.set_read_timeout(Some(PATIENCE)).context("peer")?;
        let mut qmp = Qmp::new(accept(&control, &mut process)?)?;
        // Answered only when all devices are there, so the taps can be moved.
        qmp.ask("query-status", json!({}))?;
        for (host, tap) in hosts.iter().zip(&taps) {
            host.adopt(tap)?;
        }
        qmp.ask("cont", json!({}))?;
        let mut peer = Self {
            _process: process,
            qmp,
            line: BufReader::new(line),
            asked: 0,
            hosts,
            cables,
            scratch,
        };
        peer.until(|line| line == "ready")?;
        Ok(peer)
    }

    /// The other machine's end of cable `nr`, for [`crate::Options::cables`].
    ///
    /// # Panics
    /// If there is no such cable.
    #[must_use]
    pub fn cable(&self, nr: usize) -> PathBuf {
        self.cables[nr].clone()
    }

    /// The host at the port after the cables and `nr` others.
    ///
    /// # Panics
    /// If there is no such host.
    #[must_use]
    pub fn host(&self, nr: usize) -> &Namespace {
        &self.hosts[nr]
    }

    /// Runs a line of shell to its end; what goes on in the background must print elsewhere.
    ///
    /// # Errors
    /// When the machine does not answer; the command's own failure is in the output.
    pub fn run(&mut self, command: &str) -> Result<Output> {
        assert!(!command.contains('\n'), "one line: {command}");
        self.asked += 1;
        let asked = self.asked;
        writeln!(self.line.get_mut(), "{asked} {command}").context("peer")?;
        let end = format!("@{asked} ");
        let (text, last) = self.until(|line| line.starts_with(&end))?;
        Ok(Output {
            text: text.trim_end().to_owned(),
            status: last[end.len()..].parse().ok(),
        })
    }

    /// Runs a line of shell that must succeed; what it printed.
    ///
    /// # Errors
    /// When it fails, with what it printed.
    pub fn must(&mut self, command: &str) -> Result<String> {
        let output = self.run(command)?;
        if output.ok() {
            return Ok(output.text);
        }
        Err(Failure(format!("peer: {command}: {output:?}")))
    }

    /// Runs several lines that must all succeed.
    ///
    /// # Errors
    /// Of the first that fails.
    pub fn setup(&mut self, lines: &str) -> Result<()> {
        let mut lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.try_for_each(|line| self.must(line).map(|_| ()))
    }

    /// Pulls or plugs this end of the cable at port `nr`: the other end does not see it.
    ///
    /// # Errors
    /// QEMU's.
    pub fn set_link(&mut self, nr: usize, up: bool) -> Result<()> {
        self.qmp
            .ask("set_link", json!({ "name": format!("nic{nr}"), "up": up }))
            .map(|_| ())
    }

    /// Reads lines until one is the last; what came before it, and it.
    fn until(&mut self, is_last: impl Fn(&str) -> bool) -> Result<(String, String)> {
        let mut text = String::new();
        loop {
            let mut line = Vec::new();
            let read = self.line.read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                let console = std::fs::read(self.scratch.join("console.log")).unwrap_or_default();
                let console = String::from_utf8_lossy(&console);
                let lines: Vec<&str> = console.lines().rev().take(30).collect();
                let last: Vec<&str> = lines.into_iter().rev().collect();
                return Err(Failure(format!(
                    "the peer does not answer ({read:?}); its console:\n{}",
                    last.join("\n")
                )));
            }
            let line = String::from_utf8_lossy(&line);
            if is_last(line.trim_end()) {
                return Ok((text, line.trim_end().to_owned()));
            }
            text.push_str(&line);
        }
    }
}

fn command(scratch: &Scratch, cables: &[PathBuf], taps: &[String]) -> Result<Command> {
    let files = kernel_files().ok_or_else(|| Failure("neither FUGU_CACHE nor HOME".into()))?;
    let initramfs = scratch.join("initramfs");
    std::fs::write(&initramfs, file_system(&files)?).context(initramfs.display())?;
    let mut qemu = machine(MEMORY_MIB, 1);
    let console = format!("file:{}", scratch.join("console.log").display());
    let socket = |name: &str| format!("socket,id={name},path={}", scratch.join(name).display());
    qemu.args(["-serial", &console, "-chardev", &socket("line")]);
    qemu.args(["-serial", "chardev:line", "-chardev", &socket("control")]);
    qemu.args(["-mon", "chardev=control,mode=control"]);
    qemu.arg("-kernel").arg(files.join("vmlinuz"));
    qemu.arg("-initrd").arg(initramfs);
    qemu.args(["-append", "console=ttyS0 panic=1 net.ifnames=0"]);
    let cables = cables.iter().enumerate();
    let cabled = cables.map(|(nr, socket)| cable(nr, socket, "on"));
    let count = cabled.len();
    let tapped = taps.iter().enumerate();
    let tapped = tapped.map(|(nr, tap)| tap_netdev(count + nr, tap));
    for (nr, netdev) in cabled.chain(tapped).enumerate() {
        let device = format!(
            "virtio-net-pci,id=nic{nr},netdev=net{nr},mac=52:54:00:01:00:{:02x},romfile=,{SPEED}",
            nr + 1
        );
        qemu.args(["-netdev", &netdev, "-device", &device]);
    }
    qemu.stdin(Stdio::null());
    Ok(qemu)
}

/// Everything the machine has, as an initramfs.
fn file_system(kernel: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    let mut made = BTreeSet::new();
    for name in DIRECTORIES {
        directory(&mut archive, &mut made, Path::new(name));
    }
    // The kernel opens it for process 1 before anything is mounted.
    archive.character_device("dev/console", 5, 1);
    archive.file("init", 0o755, INIT.as_bytes());
    archive.file("bin/busybox", 0o755, &read(Path::new(BUSYBOX))?);
    let order = read(&kernel.join("order"))?;
    archive.file("modules/order", 0o644, &order);
    for name in String::from_utf8_lossy(&order).lines() {
        let content = read(&kernel.join(name))?;
        archive.file(&format!("modules/{name}"), 0o644, &content);
    }
    let mut libraries = BTreeSet::new();
    for name in PROGRAMS {
        let path = find(name)?;
        archive.file(&format!("bin/{name}"), 0o755, &read(&path)?);
        libraries.extend(needed(&path)?);
    }
    for library in libraries {
        let name = library.strip_prefix("/").unwrap_or(&library);
        if let Some(parent) = name.parent() {
            directory(&mut archive, &mut made, parent);
        }
        archive.file(&name.display().to_string(), 0o755, &read(&library)?);
    }
    Ok(archive.finish())
}

/// Adds a directory and those above it, once.
fn directory(archive: &mut Archive, made: &mut BTreeSet<PathBuf>, path: &Path) {
    let mut above: Vec<&Path> = path
        .ancestors()
        .filter(|part| *part != Path::new(""))
        .collect();
    above.reverse();
    for part in above {
        if made.insert(part.to_path_buf()) {
            archive.directory(&part.display().to_string());
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).context(path.display())
}

/// Where a program of this machine is.
fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|dir| dir.join(name));
    places
        .find(|path| path.exists())
        .ok_or_else(|| Failure(format!("no {name}: run ci/setup")))
}

/// The libraries a program needs, its loader among them: ldd(1) prints "name => path (address)" and "path (address)".
fn needed(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(words.map(PathBuf::from).collect())
}
