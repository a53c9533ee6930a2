//! `ifconfig`, `route [-T N] show`, `netstat`, `arp -a`, `ndp -a`: interfaces, routes and neighbors in OpenBSD's columns.
//!
//! Read first: ifconfig(8), netstat(1), arp(8), ndp(8).

use std::net::{IpAddr, Ipv4Addr};

use control::api::{Api, InterfaceView, NeighborView, RouteView};

use crate::json;
use crate::words::did_you_mean;

/// Words without `--json`, and whether it was there.
pub(crate) fn without_json(words: &[String]) -> (Vec<&str>, bool) {
    let rest: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|w| *w != "--json")
        .collect();
    let json = rest.len() < words.len();
    (rest, json)
}

/// `ifconfig [-a | IF | GROUP]`
pub(crate) fn ifconfig(words: &[String], api: &mut dyn Api) -> Result<String, String> {
    let (words, json) = without_json(words);
    let mut interfaces = api.interfaces();
    match words[..] {
        [] | ["-a" | "-A"] => {}
        [name] => {
            let is_it = |i: &InterfaceView| i.name == name || i.groups.iter().any(|g| g == name);
            if !interfaces.iter().any(is_it) {
                let hint = did_you_mean(name, interfaces.iter().map(|i| i.name.as_str()));
                return Err(format!("ifconfig: '{name}': no such interface{hint}"));
            }
            interfaces.retain(is_it);
        }
        [_, extra, ..] => {
            return Err(format!(
                "ifconfig: '{extra}': interfaces are changed with a bundle (hostname.IF), not here"
            ));
        }
    }
    if json {
        return Ok(json::text(&interfaces));
    }
    Ok(interfaces.iter().map(interface).collect())
}

fn interface(i: &InterfaceView) -> String {
    let running = i.up && i.link;
    // net/if.h of OpenBSD: UP, BROADCAST, RUNNING, SIMPLEX, MULTICAST.
    let flags = [
        (i.up, 0x1, "UP"),
        (true, 0x2, "BROADCAST"),
        (running, 0x40, "RUNNING"),
        (true, 0x800, "SIMPLEX"),
        (true, 0x8000, "MULTICAST"),
    ];
    let set = || flags.iter().filter(|(on, ..)| *on);
    let bits: u32 = set().map(|(_, bit, _)| bit).sum();
    let names: Vec<&str> = set().map(|(.., name)| *name).collect();
    let mut out = format!(
        "{}: flags={bits:x}<{}> mtu {}\n",
        i.name,
        names.join(","),
        i.mtu
    );
    let mut line = |text: String| out += &format!("\t{text}\n");
    line(format!("lladdr {}", i.lladdr));
    if !i.description.is_empty() {
        line(format!("description: {}", i.description));
    }
    line(format!("index {} priority 0 llprio 3", i.index));
    if !i.device.is_empty() {
        line(format!("device: {} {}", i.device, i.driver));
    }
    if !i.groups.is_empty() {
        line(format!("groups: {}", i.groups.join(" ")));
    }
    line(format!("media: Ethernet autoselect{}", media(i)));
    line(format!(
        "status: {}",
        if i.link { "active" } else { "no carrier" }
    ));
    for (addr, len) in &i.addresses {
        line(address(*addr, *len, i));
    }
    out
}

fn media(i: &InterfaceView) -> String {
    let speed = match i.speed_mbps {
        0 => return String::new(),
        _ if !i.link => return String::new(),
        100 => "100baseTX".to_string(),
        n @ (10 | 1000 | 2500 | 5000) => format!("{n}baseT"),
        n => format!("{}Gbase", n / 1000),
    };
    format!(" ({speed} full-duplex)")
}

fn address(addr: IpAddr, len: u8, i: &InterfaceView) -> String {
    match addr {
        IpAddr::V4(a) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(len.min(32)))
                .unwrap_or(0);
            let broadcast = match len {
                0..=30 => format!(" broadcast {}", Ipv4Addr::from_bits(a.to_bits() | !mask)),
                _ => String::new(),
            };
            format!("inet {a} netmask 0x{mask:08x}{broadcast}")
        }
        IpAddr::V6(a) if a.is_unicast_link_local() => {
            format!(
                "inet6 {a}%{} prefixlen {len} scopeid 0x{:x}",
                i.name, i.index
            )
        }
        IpAddr::V6(a) => format!("inet6 {a} prefixlen {len}"),
    }
}

/// Which routes are shown.
#[derive(Default)]
struct Which {
    /// True: IPv4. None: both.
    family: Option<bool>,
    /// The routing table.
    rtable: u8,
    /// Only routes with this label.
    label: Option<String>,
}

/// Takes `-T N` out of the words, wherever it stands.
fn without_table<'a>(what: &str, words: &[&'a str]) -> Result<(Vec<&'a str>, u8), String> {
    let Some(at) = words.iter().position(|word| *word == "-T") else {
        return Ok((words.to_vec(), 0));
    };
    let number = words
        .get(at + 1)
        .ok_or(format!("{what}: -T needs a number after it"))?;
    let rtable = number.parse().map_err(|_| {
        format!("{what}: -T: '{number}' is not the number of a routing table, 0 to 255")
    })?;
    let rest = [&words[..at], &words[at + 2..]].concat();
    Ok((rest, rtable))
}

/// `route [-T N] show [-inet | -inet6] [-label NAME]`
pub(crate) fn route(words: &[String], api: &mut dyn Api) -> Result<String, String> {
    let (words, json) = without_json(words);
    let (mut words, rtable) = without_table("route", &words)?;
    words.retain(|word| *word != "-n");
    let mut which = Which {
        rtable,
        ..Which::default()
    };
    let mut rest = match words[..] {
        [] => return Err("route: a word is missing; route show [-inet | -inet6]".into()),
        ["show", ref rest @ ..] => rest,
        ["add" | "delete" | "change" | "flush", ..] => {
            return Err(format!(
                "route: '{}': routes are changed with a bundle (mygate, hostname.IF), not here",
                words[0]
            ));
        }
        [word, ..] => {
            return Err(format!(
                "route: '{word}' is not understood{}",
                did_you_mean(word, ["show"])
            ));
        }
    };
    while let [word, more @ ..] = rest {
        rest = more;
        match *word {
            "-inet" => which.family = Some(true),
            "-inet6" => which.family = Some(false),
            "-label" => {
                let (label, more) = rest
                    .split_first()
                    .ok_or("route: show: -label needs a name after it")?;
                (which.label, rest) = (Some(label.to_string()), more);
            }
            word => {
                let hint = did_you_mean(word, ["-inet", "-inet6", "-label"]);
                return Err(format!("route: show: '{word}' is not understood{hint}"));
            }
        }
    }
    Ok(routes(&which, json, api))
}

fn routes(which: &Which, json: bool, api: &mut dyn Api) -> String {
    let family = which.family;
    let mut list = api.routes();
    list.retain(|r| {
        r.rtable == which.rtable
            && family.is_none_or(|v4| r.dest.is_ipv4() == v4)
            && (which.label.is_none() || which.label == r.label)
    });
    if json {
        return json::text(&list);
    }
    let interfaces = api.interfaces();
    let mut out = String::from("Routing tables\n");
    for (v4, title, dest_width, gate_width) in
        [(true, "Internet", 18, 18), (false, "Internet6", 34, 30)]
    {
        if family.is_some_and(|f| f != v4) {
            continue;
        }
        out += &format!("\n{title}:\n");
        out += &format!(
            "{:<dest_width$} {:<gate_width$} {:<6} {:>5} {:>8} {:>5}  {:>4} Iface\n",
            "Destination", "Gateway", "Flags", "Refs", "Use", "Mtu", "Prio"
        );
        for r in list.iter().filter(|r| r.dest.is_ipv4() == v4) {
            out += &format!(
                "{:<dest_width$} {:<gate_width$} {:<6} {:>5} {:>8} {:>5}  {:>4} {}\n",
                network(r.dest, r.prefix_len),
                gateway(r, &interfaces),
                r.flags,
                "-",
                "-",
                "-",
                priority(r),
                r.interface
            );
        }
    }
    out
}

/// As netstat abbreviates them: `default`, `192.0.2/24`, a host without its length.
fn network(addr: IpAddr, len: u8) -> String {
    match addr {
        _ if len == 0 => "default".into(),
        IpAddr::V4(a) if len == 32 => a.to_string(),
        IpAddr::V6(a) if len == 128 => a.to_string(),
        IpAddr::V6(a) => format!("{a}/{len}"),
        IpAddr::V4(a) => {
            let octets = a.octets();
            let shown = usize::from(len.div_ceil(8)).max(1);
            let shown: Vec<String> = octets[..shown].iter().map(u8::to_string).collect();
            format!("{}/{len}", shown.join("."))
        }
    }
}

fn gateway(r: &RouteView, interfaces: &[InterfaceView]) -> String {
    match r.gateway {
        Some(gateway) => gateway.to_string(),
        None => {
            let index = interfaces
                .iter()
                .find(|i| i.name == r.interface)
                .map_or(0, |i| i.index);
            format!("link#{index}")
        }
    }
}

/// OpenBSD's priorities: local 1, connected 4, static 8.
fn priority(r: &RouteView) -> u8 {
    if r.flags.contains('l') {
        1
    } else if r.flags.contains('C') || r.gateway.is_none() {
        4
    } else {
        8
    }
}

/// `netstat -i | -r`
pub(crate) fn netstat(words: &[String], api: &mut dyn Api) -> Result<String, String> {
    let (words, json) = without_json(words);
    let (words, rtable) = without_table("netstat", &words)?;
    let mut what = None;
    for word in &words {
        match *word {
            "-i" | "-in" | "-ni" => what = Some('i'),
            "-r" | "-rn" | "-nr" => what = Some('r'),
            "-n" => {}
            word => {
                return Err(format!(
                    "netstat: '{word}' is not understood; netstat -i or netstat -r"
                ));
            }
        }
    }
    match what {
        Some('i') if json => Ok(json::text(&api.interfaces())),
        Some('i') => Ok(counters(&api.interfaces())),
        Some(_) => {
            let which = Which {
                rtable,
                ..Which::default()
            };
            Ok(routes(&which, json, api))
        }
        None => Err("netstat: an option is missing; -i for interfaces, -r for routes".into()),
    }
}

fn counters(interfaces: &[InterfaceView]) -> String {
    let row = |name: &str, mtu: &str, net: &str, addr: &str, n: [String; 5]| {
        let [ipkts, ifail, opkts, ofail, colls] = n;
        format!(
            "{name:<7} {mtu:<5} {net:<11} {addr:<17} {ipkts:>8} {ifail:>5} {opkts:>8} {ofail:>5} {colls:>5}\n"
        )
    };
    let titles = ["Ipkts", "Ifail", "Opkts", "Ofail", "Colls"].map(String::from);
    let mut out = row("Name", "Mtu", "Network", "Address", titles);
    for i in interfaces {
        let numbers = [
            i.hw_in.packets,
            i.hw_missed + i.hw_errors,
            i.hw_out.packets,
            0,
            0,
        ]
        .map(|n| n.to_string());
        let name = if i.up {
            i.name.clone()
        } else {
            format!("{}*", i.name)
        };
        let mtu = i.mtu.to_string();
        out += &row(&name, &mtu, "<Link>", &i.lladdr, numbers.clone());
        for (addr, len) in &i.addresses {
            out += &row(
                &name,
                &mtu,
                &network(masked(*addr, *len), *len),
                &addr.to_string(),
                numbers.clone(),
            );
        }
    }
    out
}

fn masked(addr: IpAddr, len: u8) -> IpAddr {
    match addr {
        IpAddr::V4(a) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(len.min(32)))
                .unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(len.min(128)))
                .unwrap_or(0);
            std::net::Ipv6Addr::from_bits(a.to_bits() & mask).into()
        }
    }
}

/// `arp -a` and `ndp -a`, and either with an address.
pub(crate) fn neighbors(
    command: &str,
    v4: bool,
    words: &[String],
    api: &mut dyn Api,
) -> Result<String, String> {
    let (words, json) = without_json(words);
    let only: Option<IpAddr> = match words[..] {
        ["-a" | "-an" | "-na"] | ["-n", "-a"] | ["-a", "-n"] => None,
        [] => return Err(format!("{command}: an option is missing; {command} -a")),
        [word] => match word.parse() {
            Ok(addr) => Some(addr),
            Err(_) => return Err(format!("{command}: '{word}' is neither -a nor an address")),
        },
        [_, extra, ..] => return Err(format!("{command}: '{extra}' is too much")),
    };
    let mut list = api.neighbors();
    list.retain(|n| n.addr.is_ipv4() == v4 && only.is_none_or(|a| a == n.addr));
    if let (Some(addr), true) = (only, list.is_empty()) {
        return Err(format!("{command}: {addr} -- no entry"));
    }
    if json {
        return Ok(json::text(&list));
    }
    let header = if v4 {
        arp_row("Host", "Ethernet Address", "Netif", "Expire", "Flags")
    } else {
        ndp_header()
    };
    Ok(header
        + &list
            .iter()
            .map(|n| if v4 { arp(n) } else { ndp(n) })
            .collect::<String>())
}

fn arp_row(host: &str, lladdr: &str, netif: &str, expire: &str, flags: &str) -> String {
    format!("{host:<36} {lladdr:<17} {netif:>6} {expire:<10}{flags:>5}\n")
}

fn arp(n: &NeighborView) -> String {
    let flags = if n.expires_s.is_none() { "l" } else { "" };
    arp_row(
        &n.addr.to_string(),
        lladdr(n),
        &n.interface,
        &expiry(n),
        flags,
    )
}

fn ndp_header() -> String {
    ndp_row(
        "Neighbor",
        "Linklayer Address",
        "Netif",
        "Expire",
        "S",
        "Flags",
    )
}

fn ndp_row(
    host: &str,
    lladdr: &str,
    netif: &str,
    expire: &str,
    state: &str,
    flags: &str,
) -> String {
    format!("{host:<36} {lladdr:<17} {netif:>6} {expire:<9} {state} {flags:>5}\n")
}

fn ndp(n: &NeighborView) -> String {
    let host = match n.addr {
        IpAddr::V6(a) if a.is_unicast_link_local() => format!("{a}%{}", n.interface),
        addr => addr.to_string(),
    };
    let state = match n.state.as_str() {
        "permanent" => "R".to_string(),
        "incomplete" => "N".to_string(),
        other => other.chars().take(1).flat_map(char::to_uppercase).collect(),
    };
    let flags = if n.expires_s.is_none() { "l" } else { "" };
    ndp_row(&host, lladdr(n), &n.interface, &expiry(n), &state, flags)
}

fn lladdr(n: &NeighborView) -> &str {
    n.lladdr.as_deref().unwrap_or("(incomplete)")
}

fn expiry(n: &NeighborView) -> String {
    match n.expires_s {
        None => "permanent".into(),
        Some(0) => "expired".into(),
        Some(s) => span(s),
    }
}

/// `1d2h3m`, at most three units.
pub(crate) fn span(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, unit) in units {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    parts.truncate(3);
    if parts.is_empty() {
        "0s".into()
    } else {
        parts.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::fake::Fake;

    fn words(line: &str) -> Vec<String> {
        crate::words::split(line)
    }

    #[test]
    fn ifconfig_as_openbsd_prints_it() {
        let mut api = Fake::default();
        api.interfaces[0].description = "uplink".into();
        api.interfaces[0]
            .addresses
            .push(("fe80::1".parse().unwrap(), 64));
        api.interfaces[1].link = false;
        let out = ifconfig(&[], &mut api).unwrap();
        let expected = "\
vio0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tlladdr 52:54:00:00:00:01
\tdescription: uplink
\tindex 1 priority 0 llprio 3
\tdevice: 0000:00:03.0 net_virtio
\tgroups: egress
\tmedia: Ethernet autoselect (1000baseT full-duplex)
\tstatus: active
\tinet 192.0.2.1 netmask 0xffffff00 broadcast 192.0.2.255
\tinet6 2001:db8::1 prefixlen 64
\tinet6 fe80::1%vio0 prefixlen 64 scopeid 0x1
vio1: flags=8803<UP,BROADCAST,SIMPLEX,MULTICAST> mtu 1500
\tlladdr 52:54:00:00:00:02
\tindex 2 priority 0 llprio 3
\tdevice: 0000:00:04.0 net_virtio
\tmedia: Ethernet autoselect
\tstatus: no carrier
";
        assert_eq!(out, expected, "\n{out}");
        assert!(
            ifconfig(&words("vio1"), &mut api)
                .unwrap()
                .starts_with("vio1: ")
        );
        assert!(
            ifconfig(&words("egress"), &mut api)
                .unwrap()
                .starts_with("vio0: ")
        );
        api.interfaces[0].up = false;
        assert!(
            ifconfig(&words("vio0"), &mut api)
                .unwrap()
                .starts_with("vio0: flags=8802<BROADCAST,SIMPLEX,MULTICAST> mtu")
        );
    }

    #[test]
    fn routes_of_both_families_and_of_one() {
        let mut api = Fake::default();
        let out = route(&words("show"), &mut api).unwrap();
        let expected = "\
Routing tables

Internet:
Destination        Gateway            Flags   Refs      Use   Mtu  Prio Iface
default            192.0.2.254        UGS        -        -     -     8 vio0
192.0.2/24         link#1             UCn        -        -     -     4 vio0

Internet6:
Destination                        Gateway                        Flags   Refs      Use   Mtu  Prio Iface
2001:db8::/64                      link#1                         UCn        -        -     -     4 vio0
";
        assert_eq!(out, expected, "\n{out}");
        assert!(
            !route(&words("show -inet"), &mut api)
                .unwrap()
                .contains("Internet6")
        );
        assert!(
            !route(&words("show -inet6"), &mut api)
                .unwrap()
                .contains("default")
        );
        assert_eq!(netstat(&words("-rn"), &mut api).unwrap(), expected);
        assert_eq!(route(&words("-T 0 -n show"), &mut api).unwrap(), expected);
        assert_eq!(netstat(&words("-rn -T 0"), &mut api).unwrap(), expected);
        api.routes[0].rtable = 4;
        api.routes[1].label = Some("lab".into());
        for (asked, default, network) in [
            ("show", false, true),
            ("-T 4 show", true, false),
            ("show -T 4 -inet", true, false),
            ("show -label lab", false, true),
            ("show -label other", false, false),
            ("-T 9 show", false, false),
        ] {
            let out = route(&words(asked), &mut api).unwrap();
            let shown = (out.contains("default"), out.contains("192.0.2/24"));
            assert_eq!(shown, (default, network), "{asked}\n{out}");
        }
        for (asked, says) in [
            ("-T", "route: -T needs a number after it"),
            (
                "-T 256 show",
                "route: -T: '256' is not the number of a routing table, 0 to 255",
            ),
            ("show -label", "route: show: -label needs a name after it"),
        ] {
            assert_eq!(route(&words(asked), &mut api).unwrap_err(), says);
        }
    }

    #[test]
    fn networks_are_abbreviated_as_netstat_does() {
        for (addr, len, shown) in [
            ("0.0.0.0", 0, "default"),
            ("10.0.0.0", 8, "10/8"),
            ("172.16.0.0", 12, "172.16/12"),
            ("192.0.2.128", 25, "192.0.2.128/25"),
            ("192.0.2.1", 32, "192.0.2.1"),
            ("::", 0, "default"),
            ("2001:db8::", 32, "2001:db8::/32"),
        ] {
            assert_eq!(network(addr.parse().unwrap(), len), shown);
        }
    }

    #[test]
    fn interface_counters() {
        let mut api = Fake::default();
        api.interfaces[1].up = false;
        api.interfaces[1].hw_missed = 3;
        api.interfaces[1].hw_errors = 2;
        let out = netstat(&words("-i"), &mut api).unwrap();
        let expected = "\
Name    Mtu   Network     Address              Ipkts Ifail    Opkts Ofail Colls
vio0    1500  <Link>      52:54:00:00:00:01      100     0       50     0     0
vio0    1500  192.0.2/24  192.0.2.1              100     0       50     0     0
vio0    1500  2001:db8::/64 2001:db8::1            100     0       50     0     0
vio1*   1500  <Link>      52:54:00:00:00:02      100     5       50     0     0
";
        assert_eq!(out, expected, "\n{out}");
    }

    #[test]
    fn neighbors_of_each_family() {
        let mut api = Fake::default();
        let out = neighbors("arp", true, &words("-a"), &mut api).unwrap();
        let expected = "\
Host                                 Ethernet Address   Netif Expire    Flags
192.0.2.254                          52:54:00:00:00:fe   vio0 19m30s         
192.0.2.9                            (incomplete)        vio0 2s             
";
        assert_eq!(out, expected, "\n{out}");
        let out = neighbors("ndp", false, &words("-an"), &mut api).unwrap();
        let expected = "\
Neighbor                             Linklayer Address  Netif Expire    S Flags
2001:db8::1                          52:54:00:00:00:01   vio0 permanent R     l
";
        assert_eq!(out, expected, "\n{out}");
        let out = neighbors("arp", true, &words("192.0.2.9"), &mut api).unwrap();
        assert_eq!(out.lines().count(), 2);
    }

    #[test]
    fn everything_has_json() {
        let api = &mut Fake::default();
        for out in [
            ifconfig(&words("vio0 --json"), api),
            route(&words("show -inet --json"), api),
            netstat(&words("-i --json"), api),
            neighbors("arp", true, &words("-a --json"), api),
        ] {
            let out = out.unwrap();
            assert!(
                serde_json::from_str::<serde_json::Value>(&out).is_ok(),
                "{out}"
            );
        }
    }

    #[test]
    fn errors_name_the_word_that_is_wrong() {
        let api = &mut Fake::default();
        for (got, says) in [
            (
                ifconfig(&words("vio"), api),
                "ifconfig: 'vio': no such interface; did you mean 'vio0'?",
            ),
            (
                ifconfig(&words("vio0 up"), api),
                "ifconfig: 'up': interfaces are changed with a bundle (hostname.IF), not here",
            ),
            (
                route(&words(""), api),
                "route: a word is missing; route show [-inet | -inet6]",
            ),
            (
                route(&words("shwo"), api),
                "route: 'shwo' is not understood; did you mean 'show'?",
            ),
            (
                route(&words("show -inet4"), api),
                "route: show: '-inet4' is not understood; did you mean '-inet'?",
            ),
            (
                route(&words("add default x"), api),
                "route: 'add': routes are changed with a bundle (mygate, hostname.IF), not here",
            ),
            (
                netstat(&words("-x"), api),
                "netstat: '-x' is not understood; netstat -i or netstat -r",
            ),
            (
                netstat(&words(""), api),
                "netstat: an option is missing; -i for interfaces, -r for routes",
            ),
            (
                neighbors("arp", true, &words("-x"), api),
                "arp: '-x' is neither -a nor an address",
            ),
            (
                neighbors("arp", true, &words("192.0.2.77"), api),
                "arp: 192.0.2.77 -- no entry",
            ),
        ] {
            assert_eq!(got, Err(says.to_string()));
        }
    }

    #[test]
    fn spans_of_time() {
        for (seconds, shown) in [
            (0, "0s"),
            (59, "59s"),
            (1170, "19m30s"),
            (3600, "1h"),
            (93_784, "1d2h3m"),
        ] {
            assert_eq!(span(seconds), shown);
        }
    }
}
