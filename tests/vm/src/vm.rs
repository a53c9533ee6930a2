//! Owns one virtual machine: its QEMU process, its disk, its serial line, and the hosts at its ports.
//!
//! KVM is used only where the processor has it (`vmx` or `svm` in /proc/cpuinfo): `/dev/kvm` alone proves nothing.

use crate::console::Console;
use crate::qmp::Qmp;
use crate::scratch::{Scratch, unique};
use crate::{Context, Failure, Namespace, Result, image};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long QEMU may take to open its devices.
const START_PATIENCE: Duration = Duration::from_secs(20);
const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const OVMF_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// What starts the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, GRUB from the MBR.
    Bios,
    /// OVMF, GRUB from the EFI system partition.
    Uefi,
    /// QEMU loads kernel and initramfs itself, with these kernel arguments added. The disk is there as well.
    Direct(String),
}

/// What the machine's network ports look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NicModel {
    /// virtio-net over PCI.
    Virtio,
    /// Intel 82540EM.
    E1000,
    /// Intel 82574L.
    E1000e,
    /// VMware's.
    Vmxnet3,
}

impl NicModel {
    /// Name of QEMU's device.
    #[must_use]
    pub fn device(self) -> &'static str {
        match self {
            Self::Virtio => "virtio-net-pci",
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Vmxnet3 => "vmxnet3",
        }
    }
}

/// The machine to build.
#[derive(Debug, Clone)]
pub struct Options {
    /// How it starts.
    pub firmware: Firmware,
    /// Its ports; each gets a host.
    pub nics: Vec<NicModel>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub cpus: u32,
    /// Content of a second disk (a seed archive), if any.
    pub seed: Option<Vec<u8>>,
    /// Ports with a cable to another machine, which listens at this socket, instead of to their host.
    pub cables: BTreeMap<usize, PathBuf>,
    /// The ports in the order in which they are plugged in; one that is not named is not there. None: all, as numbered.
    pub plugged: Option<Vec<usize>>,
    /// Ports with another station address than 52:54:00:00:00:01 for the first one, and so on.
    pub stations: BTreeMap<usize, String>,
    /// Each port is in a slot of its own that lets it be taken out while the machine runs.
    pub removable: bool,
}

impl Options {
    fn plugged(&self) -> Vec<usize> {
        let all = || (0..self.nics.len()).collect();
        self.plugged.clone().unwrap_or_else(all)
    }

    fn station(&self, nr: usize) -> String {
        let usual = || format!("52:54:00:00:00:{:02x}", nr + 1);
        self.stations.get(&nr).cloned().unwrap_or_else(usual)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            firmware: Firmware::Bios,
            nics: vec![NicModel::Virtio; 3],
            memory_mib: 256,
            cpus: 2,
            seed: None,
            cables: BTreeMap::new(),
            plugged: None,
            stations: BTreeMap::new(),
            removable: false,
        }
    }
}

/// A machine's disk, which outlives its power.
#[derive(Debug)]
pub struct Disk {
    scratch: Scratch,
}

impl Disk {
    /// A copy of the built image.
    ///
    /// # Errors
    /// When there is no image or no room.
    pub fn fresh() -> Result<Self> {
        let disk = Self {
            scratch: Scratch::new()?,
        };
        let from = image()?;
        std::fs::copy(&from, disk.path()).context(from.display())?;
        Ok(disk)
    }

    /// The file QEMU uses.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.scratch.join("disk.img")
    }
}

/// A running machine with its hosts.
#[derive(Debug)]
pub struct Vm {
    // Order matters: the process ends before its hosts and its files go.
    process: Process,
    console: Console,
    qmp: Qmp,
    hosts: Vec<Namespace>,
    disk: Disk,
    options: Options,
    powered: Instant,
}

/// The QEMU process, ended with this value.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Vm {
    /// Switches on a machine with a fresh disk.
    ///
    /// # Errors
    /// When QEMU, taps or namespaces are not to be had.
    pub fn boot(options: &Options) -> Result<Self> {
        let host = |nr: usize| Namespace::new(&format!("host{nr}"));
        let hosts = (0..options.nics.len()).map(host).collect::<Result<_>>()?;
        Self::start(options.clone(), Disk::fresh()?, hosts)
    }

    /// Cuts the power, now: also while something else is going on with the machine.
    ///
    /// # Errors
    /// When the process cannot be killed.
    pub fn cut(&self) -> Result<()> {
        let own = self.process.0.id().to_string();
        let status = Command::new("kill")
            .args(["-KILL", &own])
            .status()
            .context("kill")?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure(format!("kill: {status}")))
        }
    }

    /// Cuts the power, now, and switches the machine on again with the same disk and hosts.
    ///
    /// # Errors
    /// As [`Vm::boot`].
    pub fn power_cycle(self) -> Result<Self> {
        self.rebuilt(|_| ())
    }

    /// The same, with what `change` does to the machine while it is off. There must be as many ports as before.
    ///
    /// # Errors
    /// As [`Vm::boot`].
    pub fn rebuilt(self, change: impl FnOnce(&mut Options)) -> Result<Self> {
        let Self {
            process,
            console,
            qmp,
            hosts,
            disk,
            mut options,
            ..
        } = self;
        change(&mut options);
        drop(process);
        drop((console, qmp));
        Self::start(options, disk, hosts)
    }

    fn start(options: Options, disk: Disk, hosts: Vec<Namespace>) -> Result<Self> {
        let serial = listen(&disk.scratch.join("serial"))?;
        let control = listen(&disk.scratch.join("control"))?;
        let taps: Vec<String> = hosts.iter().map(|_| unique("fg")).collect();
        let mut process = Process(
            command(&options, &disk, &taps)?
                .spawn()
                .context("cannot run QEMU")?,
        );
        let serial = accept(&serial, &mut process)?;
        let mut qmp = Qmp::new(accept(&control, &mut process)?)?;
        // Answered only when all devices are there, so the taps can be moved.
        qmp.ask("query-status", json!({}))?;
        for nr in options.plugged() {
            if !options.cables.contains_key(&nr) {
                hosts[nr].adopt(&taps[nr])?;
            }
        }
        let console = Console::new(serial, &disk.scratch.join("console.log"))?;
        qmp.ask("cont", json!({}))?;
        Ok(Self {
            process,
            console,
            qmp,
            hosts,
            disk,
            options,
            powered: Instant::now(),
        })
    }

    /// Waits for text on the serial console; see [`Console::expect`].
    ///
    /// # Errors
    /// When it does not come.
    pub fn expect(&mut self, wanted: &str, patience: Duration) -> Result<String> {
        self.console.expect(wanted, patience)
    }

    /// Types a line at the serial console.
    ///
    /// # Errors
    /// When the machine has gone.
    pub fn type_line(&mut self, text: &str) -> Result<()> {
        self.console.type_line(text)
    }

    /// The serial console.
    pub fn console(&mut self) -> &mut Console {
        &mut self.console
    }

    /// The host at port `nr`, in the order of [`Options::nics`].
    ///
    /// # Panics
    /// If there is no such port.
    #[must_use]
    pub fn host(&self, nr: usize) -> &Namespace {
        &self.hosts[nr]
    }

    /// Pulls or plugs the cable of port `nr`.
    ///
    /// # Errors
    /// QEMU's.
    pub fn set_link(&mut self, nr: usize, up: bool) -> Result<()> {
        self.qmp
            .ask("set_link", json!({ "name": format!("nic{nr}"), "up": up }))
            .map(|_| ())
    }

    /// Asks the machine to let go of the card at port `nr`, as somebody does who presses the button at its slot.
    ///
    /// # Errors
    /// QEMU's: when the card is not in a slot for that, is asked for already, or has gone.
    pub fn ask_for_card(&mut self, nr: usize) -> Result<()> {
        let arguments = json!({ "id": format!("nic{nr}") });
        self.qmp.ask("device_del", arguments).map(|_| ())
    }

    /// Presses the power button.
    ///
    /// # Errors
    /// QEMU's.
    pub fn press_power_button(&mut self) -> Result<()> {
        self.qmp.ask("system_powerdown", json!({})).map(|_| ())
    }

    /// True once the machine has switched itself off.
    ///
    /// # Errors
    /// The system's.
    pub fn is_off(&mut self) -> Result<bool> {
        Ok(self.process.0.try_wait().context("QEMU")?.is_some())
    }

    /// Waits for the machine to switch itself off.
    ///
    /// # Errors
    /// After `patience`.
    pub fn wait_off(&mut self, patience: Duration) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < patience {
            if self.is_off()? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Failure(format!("still on after {patience:?}")))
    }

    /// Time since the machine was switched on.
    #[must_use]
    pub fn since_power_on(&self) -> Duration {
        self.powered.elapsed()
    }

    /// Processor time the whole machine has used, host side: shows whether an idle appliance is idle.
    ///
    /// # Errors
    /// When the process has gone.
    pub fn processor_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id()))
            .context("QEMU")?;
        // After the name in parentheses: user and system time are fields 14 and 15, in ticks of 10 ms.
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// The file with everything the serial line carried.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.disk.scratch.join("console.log")
    }
}

pub(crate) fn listen(path: &Path) -> Result<UnixListener> {
    // A socket of the machine's last run.
    std::fs::remove_file(path).ok();
    let listener = UnixListener::bind(path).context(path.display())?;
    listener.set_nonblocking(true).context(path.display())?;
    Ok(listener)
}

pub(crate) fn accept(listener: &UnixListener, process: &mut Process) -> Result<UnixStream> {
    let started = Instant::now();
    while started.elapsed() < START_PATIENCE {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).context("QEMU")?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = process.0.try_wait().context("QEMU")? {
            return Err(Failure(format!(
                "QEMU ended: {status} (see its message above)"
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Failure("QEMU does not connect".into()))
}

/// QEMU with processors and memory, and nothing else yet.
pub(crate) fn machine(memory_mib: u32, cpus: u32) -> Command {
    // Should this program be killed, QEMU goes with it.
    let mut qemu = Command::new("setpriv");
    qemu.args([
        "--pdeathsig",
        "KILL",
        "qemu-system-x86_64",
        "-S",
        "-nodefaults",
        "-display",
        "none",
    ]);
    qemu.args([
        "-machine",
        "q35",
        "-m",
        &memory_mib.to_string(),
        "-smp",
        &cpus.to_string(),
    ]);
    if has_kvm() {
        qemu.args(["-accel", "kvm", "-cpu", "host"]);
    } else {
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max"]);
    }
    qemu
}

/// A port at a tap.
pub(crate) fn tap_netdev(nr: usize, tap: &str) -> String {
    format!("tap,id=net{nr},ifname={tap},script=no,downscript=no")
}

/// A port at a cable to another machine: one end is the server, the other not. Nothing is lost in it.
pub(crate) fn cable(nr: usize, socket: &Path, server: &str) -> String {
    format!(
        "stream,id=net{nr},server={server},addr.type=unix,addr.path={}",
        socket.display()
    )
}

fn command(options: &Options, disk: &Disk, taps: &[String]) -> Result<Command> {
    let mut qemu = machine(options.memory_mib, options.cpus);
    let socket = |name: &str| {
        format!(
            "socket,id={name},path={}",
            disk.scratch.join(name).display()
        )
    };
    qemu.args(["-chardev", &socket("serial"), "-serial", "chardev:serial"]);
    qemu.args([
        "-chardev",
        &socket("control"),
        "-mon",
        "chardev=control,mode=control",
    ]);
    // A kernel given directly takes the first place for itself.
    let order = if matches!(options.firmware, Firmware::Direct(_)) {
        ""
    } else {
        ",bootindex=0"
    };
    qemu.args([
        "-drive",
        &drive(&disk.path(), "disk"),
        "-device",
        &format!("virtio-blk-pci,drive=disk{order}"),
    ]);
    if let Some(seed) = &options.seed {
        let path = disk.scratch.join("seed.img");
        let mut content = seed.clone();
        content.resize(content.len().next_multiple_of(512).max(64 * 1024), 0);
        std::fs::write(&path, content).context(path.display())?;
        qemu.args([
            "-drive",
            &drive(&path, "seed"),
            "-device",
            "virtio-blk-pci,drive=seed",
        ]);
    }
    for nr in options.plugged() {
        let netdev = match options.cables.get(&nr) {
            Some(socket) => cable(nr, socket, "off"),
            None => tap_netdev(nr, &taps[nr]),
        };
        qemu.args(["-netdev", &netdev]);
        let mut slot = String::new();
        if options.removable {
            let port = format!("pcie-root-port,id=slot{nr},chassis={nr}");
            qemu.args(["-device", &port]);
            slot = format!(",bus=slot{nr}");
        }
        // No boot ROM: it would try to boot from the network first.
        let device = format!(
            "{},id=nic{nr},netdev=net{nr},mac={},romfile={slot}",
            options.nics[nr].device(),
            options.station(nr)
        );
        qemu.args(["-device", &device]);
    }
    firmware(&mut qemu, options, disk)?;
    qemu.stdin(Stdio::null());
    Ok(qemu)
}

fn firmware(qemu: &mut Command, options: &Options, disk: &Disk) -> Result<()> {
    match &options.firmware {
        Firmware::Bios => {}
        Firmware::Uefi => {
            let variables = disk.scratch.join("variables.fd");
            if !variables.exists() {
                std::fs::copy(OVMF_VARIABLES, &variables).context(OVMF_VARIABLES)?;
            }
            qemu.args([
                "-drive",
                &format!("if=pflash,format=raw,readonly=on,file={OVMF_CODE}"),
            ]);
            qemu.args([
                "-drive",
                &format!("if=pflash,format=raw,file={}", variables.display()),
            ]);
        }
        Firmware::Direct(arguments) => {
            let base = image()?.with_extension("");
            let part = |suffix: &str| format!("{}-{suffix}", base.display());
            let line = format!("console=ttyS0,115200n8 loglevel=4 panic=5 {arguments}");
            qemu.args([
                "-kernel",
                &part("kernel"),
                "-initrd",
                &part("initrd"),
                "-append",
                &line,
            ]);
        }
    }
    Ok(())
}

/// A raw file in the host's page cache: what the guest wrote survives the death of QEMU, what only the guest cached does not.
fn drive(path: &Path, name: &str) -> String {
    format!("if=none,id={name},format=raw,file={}", path.display())
}

fn has_kvm() -> bool {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let able = processor
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm");
    able && std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}
