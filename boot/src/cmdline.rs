//! Owns the `fugu.*` arguments of the kernel command line and of the seed disk.
//!
//! It may not know what an interface is or whether a key is good; it hands over words and addresses. Words that
//! are not ours belong to the kernel and are ignored; a `fugu.` word that is wrong is a problem to report, not an
//! error: a box that cannot be reached because of a typing error is worse.
//!
//! | argument | meaning |
//! |---|---|
//! | `fugu.mgmt=IF:ADDRESS/PREFIX` | management address, such as `vio0:192.0.2.10/24`; may be given twice (IPv4, IPv6) |
//! | `fugu.gw=ADDRESS` | default gateway for management; may be given twice |
//! | `fugu.token=WORD` | bearer token that uploads must carry |
//! | `fugu.key=KEY` | signify public key (the base64 line) whose bundles are accepted; may be repeated |
//! | `fugu.safe` | ignore the stored bundle: management only, default rules |
//! | `fugu.memory=MIB` | memory for huge pages, in MiB |
//! | `fugu.console=NAME` | console device(s), such as `ttyS1`, comma-separated |
//! | `fugu.slot=a\|b`, `fugu.trial` | set by the boot loader: the system slot, and "this start is a trial" |

use crate::Outcome;
use std::net::IpAddr;

/// Most arguments of one kind that are kept; more are a problem.
const REPEAT_MAX: usize = 16;

/// A management address and the interface that gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Management {
    /// Interface name as in a configuration, such as `vio0`.
    pub interface: String,
    /// Its address.
    pub address: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
}

/// Everything that was said with `fugu.*`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `fugu.mgmt=`
    pub management: Vec<Management>,
    /// `fugu.gw=`
    pub gateways: Vec<IpAddr>,
    /// `fugu.token=`
    pub token: Option<String>,
    /// `fugu.key=`
    pub keys: Vec<String>,
    /// `fugu.safe`
    pub safe: bool,
    /// `fugu.memory=`, in MiB.
    pub memory_mib: Option<u64>,
    /// `fugu.console=`
    pub consoles: Vec<String>,
    /// `fugu.slot=`: the system slot we were started from, `a` or `b`. None: not started from our disk.
    pub slot: Option<char>,
    /// `fugu.trial`: an upgraded system's first start.
    pub trial: bool,
    /// Words that were not understood, each as a sentence for the console.
    pub problems: Vec<String>,
}

/// Reads `/proc/cmdline`.
pub(crate) fn read() -> Outcome<CommandLine> {
    match std::fs::read("/proc/cmdline") {
        Ok(bytes) => Ok((
            CommandLine::parse(&String::from_utf8_lossy(&bytes)),
            String::new(),
        )),
        Err(error) => Ok((CommandLine::default(), format!("/proc/cmdline: {error}"))),
    }
}

impl CommandLine {
    /// Takes the arguments in `text`, which are separated by white space.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut line = Self::default();
        line.add(text);
        line
    }

    /// Adds arguments from another source. Single values given before win.
    pub fn add(&mut self, text: &str) {
        for word in text.split_whitespace() {
            // The kernel takes quotes around a word with blanks; none of ours has blanks, so they only surround.
            let word = word.trim_matches('"');
            let Some(argument) = word.strip_prefix("fugu.") else {
                continue;
            };
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            if let Err(why) = self.take(name, value) {
                self.problems.push(format!("fugu.{name}: {why}"));
            }
        }
        self.problems.truncate(REPEAT_MAX);
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "mgmt" => push(&mut self.management, management(value)?),
            "gw" => push(&mut self.gateways, address(value)?),
            "key" => push(&mut self.keys, word(value)?),
            "console" => value
                .split(',')
                .try_for_each(|one| push(&mut self.consoles, word(one)?)),
            "token" => set(&mut self.token, word(value)?),
            "memory" => set(&mut self.memory_mib, number(value)?),
            "slot" => set(&mut self.slot, slot(value)?),
            "safe" => flag(&mut self.safe, value),
            "trial" => flag(&mut self.trial, value),
            _ => Err("no such argument".into()),
        }
    }
}

fn push<T>(list: &mut Vec<T>, value: T) -> Result<(), String> {
    if list.len() == REPEAT_MAX {
        return Err(format!("given more than {REPEAT_MAX} times"));
    }
    list.push(value);
    Ok(())
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<(), String> {
    place.get_or_insert(value);
    Ok(())
}

fn flag(place: &mut bool, value: &str) -> Result<(), String> {
    match value {
        "" | "1" | "yes" => *place = true,
        "0" | "no" => {}
        _ => return Err(format!("{value} is neither yes nor no")),
    }
    Ok(())
}

fn word(value: &str) -> Result<String, String> {
    if value.is_empty() {
        Err("a value is missing".into())
    } else {
        Ok(value.to_owned())
    }
}

fn number(value: &str) -> Result<u64, String> {
    value
        .parse()
        .map_err(|_| format!("{value} is not a number"))
}

fn slot(value: &str) -> Result<char, String> {
    match value {
        "a" => Ok('a'),
        "b" => Ok('b'),
        _ => Err(format!("{value} is neither a nor b")),
    }
}

fn address(value: &str) -> Result<IpAddr, String> {
    value
        .parse()
        .map_err(|_| format!("{value} is not an IP address"))
}

fn management(value: &str) -> Result<Management, String> {
    let (interface, rest) = value
        .split_once(':')
        .ok_or("wants IF:ADDRESS/PREFIX, such as vio0:192.0.2.10/24")?;
    let (host, prefix) = rest
        .split_once('/')
        .ok_or_else(|| format!("{rest} has no /PREFIX"))?;
    let host = address(host)?;
    let longest = if host.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.parse().ok().filter(|bits| *bits <= longest);
    let prefix = prefix
        .ok_or_else(|| format!("the prefix length of {rest} is not within 0 to {longest}"))?;
    Ok(Management {
        interface: word(interface)?,
        address: host,
        prefix,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_among_the_kernels_own() {
        let line = CommandLine::parse(
            "BOOT_IMAGE=(hd0,gpt3)/kernel console=ttyS0,115200n8 fugu.slot=a fugu.mgmt=vio2:192.0.2.1/24 \
             fugu.mgmt=vio2:2001:db8::1/64 fugu.gw=192.0.2.254 fugu.token=secret fugu.key=RWQabc= \
             fugu.memory=128 fugu.console=ttyS0,tty0 fugu.safe\n",
        );
        assert_eq!(line.problems, Vec::<String>::new());
        assert_eq!(line.management.len(), 2);
        assert_eq!(line.management[0].interface, "vio2");
        assert_eq!(
            line.management[1].address,
            "2001:db8::1".parse::<IpAddr>().unwrap()
        );
        assert_eq!(line.management[1].prefix, 64);
        assert_eq!(line.gateways, ["192.0.2.254".parse::<IpAddr>().unwrap()]);
        assert_eq!(line.token.as_deref(), Some("secret"));
        assert_eq!(line.keys, ["RWQabc="]);
        assert_eq!(
            (line.memory_mib, line.slot, line.safe, line.trial),
            (Some(128), Some('a'), true, false)
        );
        assert_eq!(line.consoles, ["ttyS0", "tty0"]);
    }

    #[test]
    fn mistakes_are_told_and_the_rest_still_counts() {
        let cases = [
            (
                "fugu.mgmt=192.0.2.1/24",
                "fugu.mgmt: wants IF:ADDRESS/PREFIX",
            ),
            ("fugu.mgmt=vio0:192.0.2.1", "has no /PREFIX"),
            ("fugu.mgmt=vio0:192.0.2.1/33", "0 to 32"),
            ("fugu.mgmt=vio0:2001:db8::1/129", "0 to 128"),
            ("fugu.mgmt=:192.0.2.1/24", "a value is missing"),
            ("fugu.gw=nowhere", "nowhere is not an IP address"),
            ("fugu.memory=-1", "-1 is not a number"),
            ("fugu.slot=c", "neither a nor b"),
            ("fugu.safe=perhaps", "neither yes nor no"),
            ("fugu.token", "a value is missing"),
            ("fugu.colour=red", "fugu.colour: no such argument"),
        ];
        for (text, wanted) in cases {
            let line = CommandLine::parse(&format!("{text} fugu.token=t"));
            assert_eq!(line.problems.len(), 1, "{text}");
            assert!(
                line.problems[0].contains(wanted),
                "{text}: {}",
                line.problems[0]
            );
            assert_eq!(line.token.as_deref(), Some("t"), "{text}");
        }
    }

    #[test]
    fn the_command_line_wins_over_the_seed_and_lists_are_bounded() {
        let mut line = CommandLine::parse("fugu.token=first fugu.safe=no");
        line.add("fugu.token=second fugu.key=K");
        assert_eq!(
            (line.token.as_deref(), line.keys.len(), line.safe),
            (Some("first"), 1, false)
        );
        line.add(&"fugu.key=K ".repeat(1000));
        assert_eq!(line.keys.len(), REPEAT_MAX);
        assert_eq!(line.problems.len(), REPEAT_MAX);
    }
}
