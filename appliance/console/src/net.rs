//! `ifconfig`, `route [-T N] show`, `netstat`, `arp -a`, `ndp -a`: interfaces, routes and neighbors in OpenBSD's columns.
//!
//! Read first: ifconfig(8), netstat(1), arp(8), ndp(8).

use std::net::{IpAddr, Ipv4Addr};

use control::api::{Api, InterfaceView, MadeOf, NeighborView, RouteView, StationView};

use crate::duration::span;
use crate::json::{self, without_json};
use crate::listing;
use crate::words::did_you_mean;
use crate::{bridge, layers, netchange};

/// `ifconfig [-a | IF | GROUP]`
pub(crate) fn ifconfig(words: &[String], api: &mut dyn Api) -> Result<String, String> {
    let (words, json) = without_json(words);
    match words[..] {
        ["-g", ref rest @ ..] => return netchange::group(rest, api),
        [_, _, ..] => {
            let of_bridge = bridge::command(&words, json, api);
            return of_bridge.unwrap_or_else(|| netchange::change("ifconfig", &words, api));
        }
        _ => {}
    }
    let all = api.interfaces();
    let mut interfaces = all.clone();
    match words[..] {
        [name] if !matches!(name, "-a" | "-A") => {
            let is_it = |i: &InterfaceView| i.name == name || i.groups.iter().any(|g| g == name);
            if !interfaces.iter().any(is_it) {
                let hint = did_you_mean(name, interfaces.iter().map(|i| i.name.as_str()));
                return Err(format!("ifconfig: '{name}': no such interface{hint}"));
            }
            interfaces.retain(is_it);
        }
        _ => {}
    }
    if json {
        return Ok(json::text(&interfaces));
    }
    // As on OpenBSD the stations are left out of the list of all.
    let is_bridge = |i: &InterfaceView| matches!(i.made, MadeOf::Bridge(_));
    let stations = match words[..] {
        [] | ["-a"] => None,
        _ if !interfaces.iter().any(is_bridge) => None,
        _ => Some(api.stations()),
    };
    let known = stations.as_ref().map(|listed| listed.entries.as_slice());
    let shown = interfaces.iter().map(|i| interface(i, &all, known));
    let note = stations
        .as_ref()
        .map(|listed| listing::note("ifconfig", listed));
    Ok(shown.collect::<String>() + &note.unwrap_or_default())
}

fn interface(i: &InterfaceView, all: &[InterfaceView], stations: Option<&[StationView]>) -> String {
    let running = i.up && i.link;
    let loops = i.made == MadeOf::Loopback;
    let is_bridge = matches!(i.made, MadeOf::Bridge(_));
    let tunnel = matches!(i.made, MadeOf::Gif { .. });
    let link = !loops && !is_bridge && !tunnel;
    // net/if.h of OpenBSD: UP, BROADCAST, LOOPBACK, POINTOPOINT, RUNNING, SIMPLEX, MULTICAST.
    let flags = [
        (i.up, 0x1, "UP"),
        (link, 0x2, "BROADCAST"),
        (loops, 0x8, "LOOPBACK"),
        (tunnel, 0x10, "POINTOPOINT"),
        (running, 0x40, "RUNNING"),
        (link, 0x800, "SIMPLEX"),
        (!is_bridge, 0x8000, "MULTICAST"),
    ];
    let set = || flags.iter().filter(|(on, ..)| *on);
    let bits: u32 = set().map(|(_, bit, _)| bit).sum();
    let names: Vec<&str> = set().map(|(.., name)| *name).collect();
    let rdomain = match i.rdomain {
        0 => String::new(),
        rdomain => format!(" rdomain {rdomain}"),
    };
    let mut out = format!(
        "{}: flags={bits:x}<{}>{rdomain} mtu {}\n",
        i.name,
        names.join(","),
        i.mtu
    );
    let mut line = |text: String| out += &format!("\t{text}\n");
    if link {
        line(format!("lladdr {}", i.lladdr));
    }
    if !i.description.is_empty() {
        line(format!("description: {}", i.description));
    }
    line(match is_bridge {
        true => format!("index {} llprio 3", i.index),
        false => format!("index {} priority 0 llprio 3", i.index),
    });
    if !i.device.is_empty() {
        line(format!("device: {} {}", i.device, i.driver));
    }
    layers::lines(i, all).into_iter().for_each(&mut line);
    if !i.groups.is_empty() {
        line(format!("groups: {}", i.groups.join(" ")));
    }
    if link {
        line(format!("media: Ethernet autoselect{}", media(i)));
        let status = if i.link { "active" } else { "no carrier" };
        line(format!("status: {status}"));
    }
    if let MadeOf::Bridge(made) = &i.made {
        bridge::lines(made).into_iter().for_each(&mut line);
        if let Some(stations) = stations {
            let list = bridge::addresses(i, stations);
            list.into_iter().for_each(&mut line);
        }
    }
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
        ["get", word] | ["get", "-inet" | "-inet6", word] => {
            return netchange::route_get(word, rtable, api);
        }
        [
            verb @ ("add" | "delete" | "del" | "change" | "flush"),
            ref rest @ ..,
        ] => {
            let table = rtable.to_string();
            let mut words = vec![verb];
            if rtable != 0 {
                words.extend(["-T", &table]);
            }
            words.extend(rest);
            return netchange::change("route", &words, api);
        }
        [word, ..] => {
            return Err(format!(
                "route: '{word}' is not understood{}",
                did_you_mean(word, ["show", "get", "add", "delete", "change", "flush"])
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
                r.priority,
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

/// `netstat -i | -r`
pub(crate) fn netstat(words: &[String], api: &mut dyn Api) -> Result<String, String> {
    let (words, json) = without_json(words);
    let (words, rtable) = without_table("netstat", &words)?;
    let mut what = None;
    for word in &words {
        match *word {
            "-i" | "-in" | "-ni" => what = Some('i'),
            "-r" | "-rn" | "-nr" => what = Some('r'),
            "-s" => what = Some('s'),
            "-n" => {}
            word => {
                return Err(format!(
                    "netstat: '{word}' is not understood; netstat -i, -r or -s"
                ));
            }
        }
    }
    match what {
        Some('i') if json => Ok(json::text(&api.interfaces())),
        Some('i') => Ok(counters(&api.interfaces())),
        Some('s') => Ok(statistics(json, api)),
        Some(_) => {
            let which = Which {
                rtable,
                ..Which::default()
            };
            Ok(routes(&which, json, api))
        }
        None => Err(
            "netstat: an option is missing; -i for interfaces, -r for routes, -s for statistics"
                .into(),
        ),
    }
}

/// `netstat -s`: what was counted since the start, as far as it is not nothing.
fn statistics(json: bool, api: &mut dyn Api) -> String {
    let samples = api.metrics();
    if json {
        return json::text(&samples);
    }
    let mut out = String::new();
    let mut title = "";
    for sample in samples.iter().filter(|s| s.value != 0.0) {
        let Some(family) = sample.name.strip_prefix("fugu_") else {
            continue;
        };
        let head = family.split('_').next().unwrap_or(family);
        if head != title {
            title = head;
            out += &format!("{title}:\n");
        }
        let labels = sample.labels.iter().map(|(_, value)| value.as_str());
        let labels: Vec<&str> = labels.collect();
        let what = family[head.len()..]
            .trim_start_matches('_')
            .replace('_', " ");
        let text = format!("{what} {}", labels.join(" "));
        out += &format!("\t{} {}\n", sample.value, text.trim());
    }
    out
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
    match words[..] {
        ["-d", word] => return netchange::forget(command, word, api),
        ["-s" | "-S", ..] => return netchange::change(command, &words, api),
        _ => {}
    }
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
    list.entries
        .retain(|n| n.addr.is_ipv4() == v4 && only.is_none_or(|a| a == n.addr));
    if let (Some(addr), true) = (only, list.entries.is_empty()) {
        return Err(match list.note() {
            None => format!("{command}: {addr} -- no entry"),
            Some(note) => format!("{command}: {addr} -- no entry, but {note}"),
        });
    }
    let header = if json {
        String::new()
    } else if v4 {
        arp_row("Host", "Ethernet Address", "Netif", "Expire", "Flags")
    } else {
        ndp_header()
    };
    let row = |n: &NeighborView| if v4 { arp(n) } else { ndp(n) };
    Ok(header + &listing::text(command, &list, json, row))
}

fn arp_row(host: &str, lladdr: &str, netif: &str, expire: &str, flags: &str) -> String {
    format!("{host:<36} {lladdr:<17} {netif:>6} {expire:<10}{flags:>5}\n")
}

fn arp(n: &NeighborView) -> String {
    arp_row(
        &n.addr.to_string(),
        lladdr(n),
        &n.interface,
        &expiry(n),
        flags(n),
    )
}

/// `l` is one of our own, `p` one that we answer for.
fn flags(n: &NeighborView) -> &'static str {
    match n.state.as_str() {
        "permanent" => "l",
        _ if n.published => "p",
        _ => "",
    }
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
        "permanent" | "static" => "R".to_string(),
        "incomplete" => "N".to_string(),
        other => other.chars().take(1).flat_map(char::to_uppercase).collect(),
    };
    ndp_row(&host, lladdr(n), &n.interface, &expiry(n), &state, flags(n))
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

#[cfg(test)]
mod tests;
