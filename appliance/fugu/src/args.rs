//! The command line of a workstation run, and what it has in common with a boot: [`Options`].

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use control::settings::{Management, Settings};

/// What a run needs to know before it touches anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Virtual devices for DPDK, e.g. `net_af_packet0,iface=veth0`.
    pub vdevs: Vec<String>,
    /// Where the first configuration comes from.
    pub first: First,
    /// Directory for what must survive a restart; nothing survives without one.
    pub state_dir: Option<PathBuf>,
    /// Memory for packet buffers, in MiB.
    pub memory_mib: u32,
    /// Use ordinary pages.
    pub no_huge: bool,
    /// CPUs of the packet workers; all but the first if empty.
    pub cpus: Vec<usize>,
    /// Given for this run.
    pub given: Given,
    /// Port of the API where no bundle names one.
    pub api_port: u16,
    /// Where the console is.
    pub console: ConsoleAt,
    /// Places for rule counters.
    pub rule_slots: usize,
}

/// Management as the command line, the kernel's arguments or a seed disk give it. A token is in the clear here, and
/// hashed as soon as there is a random source.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Given {
    /// Addresses, gateways, keys.
    pub settings: Settings,
    /// Bearer token.
    pub token: Option<String>,
}

/// Secrets stay out of logs.
impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Given({:?}, token: {})",
            self.settings,
            self.token.is_some()
        )
    }
}

/// Where the first configuration comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum First {
    /// What was accepted last, if there is any.
    Stored,
    /// A directory.
    Etc(PathBuf),
    /// A bundle.
    Bundle(PathBuf),
    /// Nothing: management only.
    Safe,
}

/// Where the console is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConsoleAt {
    /// Nowhere: messages go to standard error.
    None,
    /// Standard input and output.
    Stdio,
    /// A socket for one client at a time.
    Unix(PathBuf),
    /// Terminal devices.
    Devices(Vec<PathBuf>),
}

/// What the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// Run.
    Run(Box<Options>),
    /// Print this and end.
    Say(String),
}

/// The manual.
pub const HELP: &str = "\
fugu - a firewall, run here as a plain process

usage: fugu --vdev DEVICE [--vdev DEVICE ...] [options]

Ports
  --vdev DEVICE        a DPDK virtual device, such as net_af_packet0,iface=veth0.
                       Interfaces are called as on BSD, in this order: ap0, ap1, ...
Configuration
  --etc DIR            use this etc tree (pf.conf, hostname.ap0, ...)
  --bundle FILE        use this bundle
  --safe               management only, whatever is stored
                       Without one of these: what is stored in --state-dir.
  --state-dir DIR      keep the accepted bundle and the settings there
Management
  --mgmt IF:ADDR/LEN   management address while no bundle runs; may be repeated
  --gw ADDR            its gateway; may be repeated
  --token-file FILE    bearer token for uploads, the first line of FILE
  --trust KEY.pub      accept bundles that this signify key signed; may be repeated
  --api-port N         TCP port of the API where fugu.conf names none (80)
  --console WHERE      stdio, unix:PATH, or none (none)
Machine
  --memory MIB         memory for packet buffers (128)
  --no-huge            use ordinary pages
  --cpus N,N           CPUs of the packet workers (all but the first)

SIGINT and SIGTERM end it. Exit status: 0 after that, 64 for a wrong command line,
69 if it could not start, 70 if a worker died.
";

const MEMORY_MIB: u32 = 128;
/// Port of the API.
const API_PORT: u16 = 80;

impl Default for Options {
    fn default() -> Self {
        Options {
            vdevs: Vec::new(),
            first: First::Stored,
            state_dir: None,
            memory_mib: MEMORY_MIB,
            no_huge: false,
            cpus: Vec::new(),
            given: Given::default(),
            api_port: API_PORT,
            console: ConsoleAt::None,
            rule_slots: control::slots::RULE_SLOTS_DEFAULT,
        }
    }
}

/// Reads the words of a command line, the program's name left out.
pub fn parse(words: &[String]) -> Result<Parsed, String> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (word.as_str(), None),
        };
        match name {
            "-h" | "--help" => return Ok(Parsed::Say(HELP.into())),
            "--version" => return Ok(Parsed::Say(format!("fugu {}\n", crate::VERSION))),
            "--no-huge" => options.no_huge = true,
            "--safe" => options.first = First::Safe,
            _ => {
                let value = || attached.or_else(|| words.next().map(String::as_str));
                options
                    .take(name, value)
                    .map_err(|why| format!("{name}: {why}"))?;
            }
        }
    }
    if options.vdevs.is_empty() {
        return Err("at least one --vdev is needed".into());
    }
    Ok(Parsed::Run(Box::new(options)))
}

impl Options {
    fn take<'a>(
        &mut self,
        name: &str,
        value: impl FnOnce() -> Option<&'a str>,
    ) -> Result<(), String> {
        const NAMES: [&str; 13] = [
            "--vdev",
            "--etc",
            "--bundle",
            "--state-dir",
            "--memory",
            "--cpus",
            "--mgmt",
            "--gw",
            "--token-file",
            "--trust",
            "--api-port",
            "--console",
            "--rule-slots",
        ];
        if !NAMES.contains(&name) {
            return Err("no such option".into());
        }
        let value = value().ok_or("a value is missing")?;
        match name {
            "--vdev" => self.vdevs.push(value.into()),
            "--etc" => self.first = First::Etc(value.into()),
            "--bundle" => self.first = First::Bundle(value.into()),
            "--state-dir" => self.state_dir = Some(value.into()),
            "--memory" => self.memory_mib = number(value)?,
            "--rule-slots" => self.rule_slots = number(value)?,
            "--cpus" => self.cpus = value.split(',').map(number).collect::<Result<_, _>>()?,
            "--mgmt" => {
                let m = management(value)?;
                self.given.settings.management.push(m);
            }
            "--gw" => self.given.settings.gateways.push(address(value)?),
            "--token-file" => self.given.token = Some(first_line(Path::new(value))?),
            "--trust" => {
                let text = read(Path::new(value))?;
                self.given.settings.trust(control::settings::key(&text)?)?;
            }
            "--api-port" => self.api_port = number(value)?,
            _ => self.console = console(value)?,
        }
        Ok(())
    }
}

fn console(value: &str) -> Result<ConsoleAt, String> {
    match value.split_once(':') {
        None if value == "stdio" => Ok(ConsoleAt::Stdio),
        None if value == "none" => Ok(ConsoleAt::None),
        Some(("unix", path)) if !path.is_empty() => Ok(ConsoleAt::Unix(path.into())),
        _ => Err(format!("'{value}' is none of stdio, unix:PATH, none")),
    }
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("'{value}' is not a number that fits"))
}

fn address(value: &str) -> Result<IpAddr, String> {
    value
        .parse()
        .map_err(|_| format!("'{value}' is not an IP address"))
}

/// `IF:ADDR/LEN`
fn management(value: &str) -> Result<Management, String> {
    let wrong = || format!("'{value}' is not IF:ADDRESS/PREFIX, such as ap0:192.0.2.10/24");
    let (interface, network) = value.split_once(':').ok_or_else(wrong)?;
    let (addr, len) = network.rsplit_once('/').ok_or_else(wrong)?;
    let addr = address(addr)?;
    let prefix_len: u8 = len.parse().map_err(|_| wrong())?;
    let longest = if addr.is_ipv4() { 32 } else { 128 };
    if interface.is_empty() || prefix_len > longest {
        return Err(wrong());
    }
    Ok(Management {
        interface: interface.into(),
        addr,
        prefix_len,
    })
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn first_line(path: &Path) -> Result<String, String> {
    let text = read(path)?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(format!("{}: there is no token in it", path.display()));
    }
    Ok(line.into())
}

/// What a boot found out, in the words of a command line.
impl From<&boot::Machine> for Options {
    fn from(machine: &boot::Machine) -> Self {
        let line = &machine.cmdline;
        let mut given = Given {
            token: line.token.clone(),
            ..Given::default()
        };
        given.settings.gateways.clone_from(&line.gateways);
        let addresses = line.management.iter().map(|m| Management {
            interface: m.interface.clone(),
            addr: m.address,
            prefix_len: m.prefix,
        });
        given.settings.management = addresses.collect();
        for key in &line.keys {
            let trusted = control::settings::key(key).and_then(|key| given.settings.trust(key));
            if let Err(why) = trusted {
                log::warn!("fugu.key: {why}");
            }
        }
        let device = |name: &String| Path::new("/dev").join(name);
        let consoles: Vec<PathBuf> = line.consoles.iter().map(device).collect();
        Options {
            first: if line.safe {
                First::Safe
            } else {
                First::Stored
            },
            // The reserved pages; two MiB each.
            memory_mib: u32::try_from(machine.hugepages * 2).unwrap_or(u32::MAX),
            given,
            console: ConsoleAt::Devices(if consoles.is_empty() {
                vec!["/dev/console".into()]
            } else {
                consoles
            }),
            ..Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
        match parse(&words)? {
            Parsed::Run(options) => Ok(*options),
            Parsed::Say(text) => Err(text),
        }
    }

    #[test]
    fn a_whole_command_line_is_understood() {
        let o = parsed(
            "--vdev net_af_packet0,iface=a --vdev=net_af_packet1,iface=b --etc /e --memory 64 --no-huge --cpus 0,1 \
             --mgmt ap0:192.0.2.10/24 --mgmt ap0:2001:db8::1/64 --gw 192.0.2.1 --api-port 8080 --console unix:/tmp/c \
             --state-dir /s",
        )
        .unwrap();
        assert_eq!(
            o.vdevs,
            ["net_af_packet0,iface=a", "net_af_packet1,iface=b"]
        );
        assert_eq!(o.first, First::Etc("/e".into()));
        assert_eq!(
            (o.memory_mib, o.no_huge, o.cpus.as_slice()),
            (64, true, &[0, 1][..])
        );
        assert_eq!(
            o.given.settings.management[1].addr,
            "2001:db8::1".parse::<IpAddr>().unwrap()
        );
        assert_eq!(o.console, ConsoleAt::Unix("/tmp/c".into()));
        assert_eq!((o.api_port, o.state_dir), (8080, Some("/s".into())));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, wanted) in [
            ("", "--vdev is needed"),
            ("--vdev", "--vdev: a value is missing"),
            ("--colour red", "--colour: no such option"),
            ("--vdev x --cpus 0,a", "--cpus: 'a' is not a number"),
            (
                "--vdev x --mgmt ap0",
                "--mgmt: 'ap0' is not IF:ADDRESS/PREFIX",
            ),
            ("--vdev x --mgmt ap0:1.2.3.4/33", "is not IF:ADDRESS/PREFIX"),
            ("--vdev x --console tty", "none of stdio"),
            (
                "--vdev x --token-file /nonexistent",
                "--token-file: /nonexistent:",
            ),
            ("--help", "usage: fugu"),
        ] {
            let why = parsed(line).unwrap_err();
            assert!(why.contains(wanted), "{line}: {why}");
        }
    }
}
