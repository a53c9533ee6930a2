//! Neighbors that are set, and those that the box answers for: arp(8) and ndp(8) in `!` lines, `static_arp_pairs` and
//! `static_ndp_pairs` of `rc.conf`, and commands that are typed.

use std::net::IpAddr;

use crate::source::{Line, Reporter, Word, printable};
use crate::{NetConfig, Origin, names_of};

/// Most of a tree.
const NEIGHBORS_MAX: usize = 4096;

/// Options without a meaning here.
const IGNORED: [&str; 2] = ["-n", "-F"];

/// A neighbor that is set: `arp -s`, `ndp -s`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticNeighbor {
    /// Its address.
    pub addr: IpAddr,
    /// Its station; none for that of the interface that is asked (`auto`, only with `pub`).
    pub station: Option<[u8; 6]>,
    /// `pub`, `proxy`: the box answers for it, and does not take it for a neighbor.
    pub published: bool,
    /// Whose file says so; else the interface whose network has the address.
    pub interface: Option<String>,
    /// Its line.
    pub origin: Origin,
}

/// Whether a command is one of ours; `v4` then says for which family.
pub(crate) fn family(command: &str) -> Option<bool> {
    match command {
        "arp" | "/usr/sbin/arp" => Some(true),
        "ndp" | "/usr/sbin/ndp" => Some(false),
        _ => None,
    }
}

/// `arp -s ADDR STATION [permanent] [pub]` or `ndp -s ADDR STATION [proxy]`: the words after the command.
pub(crate) fn set(
    line: &Line<'_>,
    words: &[Word<'_>],
    v4: bool,
    interface: Option<&str>,
    reporter: &mut Reporter,
) -> Option<StaticNeighbor> {
    let mut words = words;
    while let [first, more @ ..] = words
        && IGNORED.contains(&first.text)
    {
        words = more;
    }
    let [option, more @ ..] = words else {
        missing(line, v4, reporter);
        return None;
    };
    // FreeBSD's -S replaces an entry; here one line says all there is to say.
    if !matches!(option.text, "-s" | "-S") {
        let text = format!("'{}' sets no neighbor", printable(option.text));
        line.error(reporter, *option, "unknown-word", text).hint = Some(usage(v4).into());
        return None;
    }
    pair(line, more, v4, interface, reporter)
}

/// `ADDR STATION` and flags.
pub(crate) fn pair(
    line: &Line<'_>,
    words: &[Word<'_>],
    v4: bool,
    interface: Option<&str>,
    reporter: &mut Reporter,
) -> Option<StaticNeighbor> {
    let [addr_word, station_word, flags @ ..] = words else {
        missing(line, v4, reporter);
        return None;
    };
    let addr = address(line, *addr_word, v4, reporter)?;
    let mut published = false;
    for flag in flags {
        match flag.text {
            "pub" | "proxy" | "proxy_only" => published = true,
            "permanent" => {}
            other => {
                let text = format!("'{}' is not understood", printable(other));
                line.error(reporter, *flag, "unknown-word", text).hint = Some(usage(v4).into());
                return None;
            }
        }
    }
    let station = match station_word.text {
        "auto" if published => None,
        text => match names_of::station(text).filter(is_one_station) {
            Some(station) => Some(station),
            None => {
                let text = format!("'{}' is not the address of one station", printable(text));
                line.error(reporter, *station_word, "bad-address", text)
                    .hint = Some("written 00:11:22:33:44:55".into());
                return None;
            }
        },
    };
    Some(StaticNeighbor {
        addr,
        station,
        published,
        interface: interface.map(str::to_string),
        origin: line.origin_of(*addr_word),
    })
}

fn is_one_station(station: &[u8; 6]) -> bool {
    station[0] & 1 == 0 && *station != [0; 6]
}

/// An address that a neighbor can have.
pub(crate) fn address(
    line: &Line<'_>,
    word: Word<'_>,
    v4: bool,
    reporter: &mut Reporter,
) -> Option<IpAddr> {
    let text = word.text.split('%').next().unwrap_or_default();
    let addr: Option<IpAddr> = text.parse().ok();
    let fits = |a: &IpAddr| {
        let odd = a.is_unspecified() || a.is_multicast() || a.is_loopback();
        a.is_ipv4() == v4 && !odd && !matches!(a, IpAddr::V4(a) if a.is_broadcast())
    };
    let found = addr.filter(fits);
    if found.is_none() {
        let family = if v4 { "IPv4" } else { "IPv6" };
        let text = format!(
            "'{}' is not the {family} address of a neighbor",
            printable(word.text)
        );
        line.error(reporter, word, "bad-address", text);
    }
    found
}

fn usage(v4: bool) -> &'static str {
    match v4 {
        true => "arp -s ADDRESS STATION [pub]",
        false => "ndp -s ADDRESS STATION [proxy]",
    }
}

fn missing(line: &Line<'_>, v4: bool, reporter: &mut Reporter) {
    let text = "address and station are missing";
    line.error(reporter, line.end(), "missing-word", text).hint = Some(usage(v4).into());
}

/// Adds one. The same address may be set and answered for, not twice the same.
pub(crate) fn add(
    line: &Line<'_>,
    word: Word<'_>,
    fresh: StaticNeighbor,
    config: &mut NetConfig,
    reporter: &mut Reporter,
) {
    let same = |n: &&StaticNeighbor| {
        (n.addr, n.published, &n.interface) == (fresh.addr, fresh.published, &fresh.interface)
    };
    let problem = if let Some(first) = config.neighbors.iter().find(same) {
        let Origin { file, line: number } = &first.origin;
        format!("{} is set already, see {file}:{number}", fresh.addr)
    } else if config.neighbors.len() >= NEIGHBORS_MAX {
        format!("more than {NEIGHBORS_MAX} neighbors")
    } else {
        config.neighbors.push(fresh);
        return;
    };
    line.error(reporter, word, "duplicate-neighbor", problem);
}

/// A command that is typed: `arp -s …` puts one in the place of what there is, `arp -d ADDR` takes it away.
pub(crate) fn typed(line: &Line<'_>, v4: bool, config: &mut NetConfig, reporter: &mut Reporter) {
    let words = &line.words[1..];
    if let [option, word, ..] = words
        && option.text == "-d"
    {
        let Some(addr) = address(line, *word, v4, reporter) else {
            return;
        };
        let before = config.neighbors.len();
        config.neighbors.retain(|n| n.addr != addr);
        if config.neighbors.len() == before {
            let text = format!("no file and no command has set {addr}");
            line.error(reporter, *word, "no-such-neighbor", text);
        }
        return;
    }
    if let Some(fresh) = set(line, words, v4, None, reporter) {
        let same = |n: &StaticNeighbor| (n.addr, n.published) == (fresh.addr, fresh.published);
        config.neighbors.retain(|n| !same(n));
        add(line, line.words[0], fresh, config, reporter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{ip, tree};

    fn parsed(em0: &str, more: &[(&str, &str)], typed: &[&str]) -> (NetConfig, Vec<String>) {
        let text = format!("inet 192.0.2.1/24\ninet6 2001:db8::1 64\n{em0}");
        let mut files = vec![("hostname.em0", text.as_str())];
        files.extend(more);
        let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
        let (config, said) = crate::parse_changed(&tree(&files), &typed);
        (config, said.iter().map(ToString::to_string).collect())
    }

    fn short(config: &NetConfig) -> Vec<(IpAddr, Option<u8>, bool, Option<&str>)> {
        let all = config.neighbors.iter();
        all.map(|n| {
            let last = n.station.map(|s| s[5]);
            (n.addr, last, n.published, n.interface.as_deref())
        })
        .collect()
    }

    #[test]
    fn neighbors_are_set_and_answered_for() {
        let (config, said) = parsed(
            "!arp -s 192.0.2.9 00:11:22:33:44:09\n!arp -s 192.0.2.50 auto pub\n\
             ! /usr/sbin/arp -n -s 192.0.2.51 0:11:22:33:44:51 permanent pub\n\
             !ndp -s 2001:db8::9 00:11:22:33:44:0a\n!ndp -s 2001:db8::50 00:11:22:33:44:0b proxy\n",
            &[],
            &[],
        );
        assert_eq!(said, Vec::<String>::new());
        let em0 = Some("em0");
        assert_eq!(
            short(&config),
            [
                (ip("192.0.2.9"), Some(9), false, em0),
                (ip("192.0.2.50"), None, true, em0),
                (ip("192.0.2.51"), Some(0x51), true, em0),
                (ip("2001:db8::9"), Some(10), false, em0),
                (ip("2001:db8::50"), Some(11), true, em0),
            ]
        );
    }

    #[test]
    fn wrong_lines_say_what_is_wrong() {
        for (line, want) in [
            ("!arp -a", "'-a' sets no neighbor"),
            ("!arp -s 192.0.2.9", "address and station are missing"),
            ("!arp", "address and station are missing"),
            (
                "!arp -s 2001:db8::9 0:1:2:3:4:5",
                "'2001:db8::9' is not the IPv4 address of a neighbor",
            ),
            (
                "!ndp -s 192.0.2.9 0:1:2:3:4:5",
                "'192.0.2.9' is not the IPv6 address of a neighbor",
            ),
            (
                "!arp -s host 0:1:2:3:4:5",
                "'host' is not the IPv4 address of a neighbor",
            ),
            (
                "!arp -s 192.0.2.9 auto",
                "'auto' is not the address of one station",
            ),
            (
                "!arp -s 192.0.2.9 ff:ff:ff:ff:ff:ff",
                "'ff:ff:ff:ff:ff:ff' is not the address of one station",
            ),
            (
                "!arp -s 192.0.2.9 0:1:2:3:4:5 temp",
                "'temp' is not understood",
            ),
            (
                "!arp -s 192.0.2.9 0:1:2:3:4:5\n!arp -s 192.0.2.9 0:1:2:3:4:6",
                "192.0.2.9 is set already, see hostname.em0:3",
            ),
        ] {
            let (_, said) = parsed(&format!("{line}\n"), &[], &[]);
            assert_eq!(said.len(), 1, "{line}: {said:?}");
            assert!(
                said[0].ends_with(&format!("error: {want}")),
                "{line}: {said:?}"
            );
        }
    }

    #[test]
    fn what_is_typed_takes_the_place_of_what_is_there() {
        let file = "!arp -s 192.0.2.9 00:11:22:33:44:09\n";
        let (config, said) = parsed(
            file,
            &[],
            &[
                "arp -s 192.0.2.9 00:11:22:33:44:0a",
                "ndp -s 2001:db8::7 auto proxy",
            ],
        );
        assert_eq!(said, Vec::<String>::new());
        assert_eq!(
            short(&config),
            [
                (ip("192.0.2.9"), Some(10), false, None),
                (ip("2001:db8::7"), None, true, None),
            ]
        );
        let (config, said) = parsed(file, &[], &["arp -d 192.0.2.9"]);
        assert_eq!((config.neighbors.len(), said.len()), (0, 0));
        let (_, said) = parsed(file, &[], &["arp -d 192.0.2.8"]);
        assert_eq!(
            said,
            ["typed:1:8: error: no file and no command has set 192.0.2.8"]
        );
    }

    #[test]
    fn the_pairs_of_freebsd() {
        let rc = "ifconfig_em1=\"inet 10.0.0.1/24\"\nstatic_arp_pairs=\"gw spare\"\n\
                  static_arp_gw=\"10.0.0.9 00:11:22:33:44:09\"\nstatic_arp_spare=\"10.0.0.50 auto pub\"\n\
                  static_ndp_pairs=\"six\"\nstatic_ndp_six=\"2001:db8::9 00:11:22:33:44:0a\"\n";
        let (config, said) = parsed("", &[("rc.conf", rc)], &[]);
        assert_eq!(said, Vec::<String>::new());
        assert_eq!(
            short(&config),
            [
                (ip("10.0.0.9"), Some(9), false, None),
                (ip("10.0.0.50"), None, true, None),
                (ip("2001:db8::9"), Some(10), false, None),
            ]
        );
        let (_, said) = parsed("", &[("rc.conf", "static_arp_pairs=\"gw\"\n")], &[]);
        assert!(said[0].contains("static_arp_gw"), "{said:?}");
    }

    #[test]
    fn an_address_in_no_network_is_worth_a_word() {
        let (_, said) = parsed("", &[], &["arp -s 198.51.100.9 0:1:2:3:4:5"]);
        assert_eq!(
            said,
            ["typed:1: warning: no interface has a network with 198.51.100.9: it has no effect"]
        );
    }
}
