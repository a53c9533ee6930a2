//! `ifconfig IF WORDS`, `ifconfig -g GROUP`, `route add`, `arp -s`, `arp -d`, `netstart`: changes of the network that live until the next
//! apply. The control core reads the words as it reads files; here they are only handed over.
//!
//! Read first: ifconfig(8), route(8), arp(8), netstart(8).

use std::net::IpAddr;

use control::api::{Api, Proof, Refused, RouteView};
use netconf::TYPED;

use crate::words::did_you_mean;

/// Highest step of `carpdemote` (ifconfig(8)).
const DEMOTE_MAX: i16 = 128;

/// Has the network changed by one more command; warnings are the answer.
pub(crate) fn change(command: &str, words: &[&str], api: &mut dyn Api) -> Result<String, String> {
    let line = std::iter::once(command.to_string()).chain(words.iter().map(|w| quoted(w)));
    let line: Vec<String> = line.collect();
    handed_over(command, &line.join(" "), api)
}

/// `netstart`: what was typed is taken back.
pub(crate) fn netstart(words: &[String], api: &mut dyn Api) -> Result<String, String> {
    if let Some(word) = words.first() {
        return Err(format!(
            "netstart: '{word}': all interfaces are started at once"
        ));
    }
    handed_over("netstart", "", api)
}

fn handed_over(command: &str, line: &str, api: &mut dyn Api) -> Result<String, String> {
    match api.change_network(line, &Proof::Console) {
        Ok(applied) => Ok(applied.warnings.iter().map(|d| format!("{d}\n")).collect()),
        Err(Refused::Invalid(list)) => {
            // The words were typed just now: a place in them is worth less than a short answer.
            let wrong = list
                .iter()
                .filter(|d| d.severity == pfconf::diag::Severity::Error);
            let said: Vec<String> = wrong
                .map(|d| match (&d.hint, d.file == TYPED) {
                    (Some(hint), true) => format!("{command}: {}; {hint}", d.text),
                    (None, true) => format!("{command}: {}", d.text),
                    _ => format!("{command}: {d}"),
                })
                .collect();
            Err(said.join("\n"))
        }
        Err(
            Refused::Unauthorized(text)
            | Refused::Replayed(text)
            | Refused::TooLarge(text)
            | Refused::Failed(text),
        ) => Err(format!("{command}: {text}")),
    }
}

/// A word as it was typed: quotes hold blanks together.
fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '#');
    if plain {
        word.to_string()
    } else {
        format!("\"{word}\"")
    }
}

/// `ifconfig -g GROUP [[-]carpdemote [N]]`
pub(crate) fn group(words: &[&str], api: &mut dyn Api) -> Result<String, String> {
    let (group, by) = match words {
        [] => return Err("ifconfig: -g needs the name of a group".into()),
        [group] => (group, 0),
        [group, word @ ("carpdemote" | "-carpdemote")] => {
            (group, if word.starts_with('-') { -1 } else { 1 })
        }
        [group, word @ ("carpdemote" | "-carpdemote"), number] => {
            let step = number.parse().ok().filter(|n| (0..=DEMOTE_MAX).contains(n));
            let Some(step) = step else {
                return Err(format!(
                    "ifconfig: '{number}' is not a number from 0 to {DEMOTE_MAX}"
                ));
            };
            (group, if word.starts_with('-') { -step } else { step })
        }
        [_, word, ..] => {
            let hint = did_you_mean(word, ["carpdemote", "-carpdemote"]);
            return Err(format!("ifconfig: '{word}' is not understood{hint}"));
        }
    };
    let count = api
        .demote_group(group, by)
        .map_err(|text| format!("ifconfig: {text}"))?;
    match words.len() {
        1 => Ok(format!("{group}: carp demote count {count}\n")),
        _ => Ok(String::new()),
    }
}

/// `arp -d ADDRESS`, `ndp -d ADDRESS`
pub(crate) fn forget(command: &str, word: &str, api: &mut dyn Api) -> Result<String, String> {
    let addr: IpAddr = word
        .split('%')
        .next()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("{command}: -d: '{word}' is not an address"))?;
    let known = api.neighbors();
    if known
        .entries
        .iter()
        .any(|n| n.addr == addr && n.state == "static")
    {
        let said = change(command, &["-d", &addr.to_string()], api)?;
        return Ok(format!("{addr} deleted\n{said}"));
    }
    let forgotten = api.forget_neighbor(addr);
    match forgotten.map_err(|text| format!("{command}: {addr} is not deleted: {text}"))? {
        0 => Err(format!("{command}: {addr} -- no entry")),
        _ => Ok(format!("{addr} deleted\n")),
    }
}

/// `route get ADDRESS`
pub(crate) fn route_get(word: &str, rtable: u8, api: &mut dyn Api) -> Result<String, String> {
    let addr: IpAddr = match word {
        "default" => IpAddr::from([0, 0, 0, 0]),
        word => word
            .parse()
            .map_err(|_| format!("route: get: '{word}' is not an address"))?,
    };
    let fits = |r: &&RouteView| {
        r.rtable == rtable && r.active && netconf::contains(r.dest, r.prefix_len, addr)
    };
    let routes = api.routes();
    let Some(route) = routes.iter().filter(fits).max_by_key(|r| r.prefix_len) else {
        return Err(format!("route: {addr}: not in table"));
    };
    let mask = netmask(route);
    let mut out = format!("   route to: {addr}\ndestination: {}\n", shown(route));
    out += &format!("       mask: {mask}\n");
    if let Some(gateway) = route.gateway {
        out += &format!("    gateway: {gateway}\n");
    }
    out += &format!("  interface: {}\n", route.interface);
    let source = api
        .interfaces()
        .into_iter()
        .find(|i| i.name == route.interface);
    let source = source.and_then(|i| {
        let family = i
            .addresses
            .into_iter()
            .filter(|(a, _)| a.is_ipv4() == addr.is_ipv4());
        family.map(|(a, _)| a).next()
    });
    if let Some(source) = source {
        out += &format!(" if address: {source}\n");
    }
    if let Some(label) = &route.label {
        out += &format!("      label: {label}\n");
    }
    out += &format!("      flags: <{}>\n", flags(&route.flags));
    Ok(out)
}

fn shown(route: &RouteView) -> String {
    match route.prefix_len {
        0 => "default".into(),
        _ => route.dest.to_string(),
    }
}

fn netmask(route: &RouteView) -> IpAddr {
    let len = u32::from(route.prefix_len);
    match route.dest {
        IpAddr::V4(_) => {
            let bits = u32::MAX.checked_shl(32u32.saturating_sub(len)).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(bits).into()
        }
        IpAddr::V6(_) => {
            let bits = u128::MAX
                .checked_shl(128u32.saturating_sub(len))
                .unwrap_or(0);
            std::net::Ipv6Addr::from_bits(bits).into()
        }
    }
}

/// The words for the letters of netstat(1).
fn flags(letters: &str) -> String {
    let words = letters.chars().filter_map(|letter| match letter {
        'U' => Some("UP"),
        'G' => Some("GATEWAY"),
        'H' => Some("HOST"),
        'R' => Some("REJECT"),
        'B' => Some("BLACKHOLE"),
        'S' => Some("STATIC"),
        'C' => Some("CLONING"),
        'P' => Some("MPATH"),
        'n' => Some("CONNECTED"),
        'l' => Some("LOCAL"),
        _ => None,
    });
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::fake::Fake;

    #[test]
    fn commands_are_handed_over_with_their_quotes() {
        let mut api = Fake::default();
        change(
            "ifconfig",
            &["vio0", "description", "to the office"],
            &mut api,
        )
        .unwrap();
        change("route", &["add", "default", "192.0.2.254"], &mut api).unwrap();
        assert_eq!(
            api.status.network_changes,
            [
                "ifconfig vio0 description \"to the office\"",
                "route add default 192.0.2.254"
            ]
        );
        netstart(&[], &mut api).unwrap();
        assert!(api.status.network_changes.is_empty());
        assert!(netstart(&["vio0".into()], &mut api).is_err());
    }

    #[test]
    fn groups_are_demoted_and_promoted() {
        let api = &mut Fake::default();
        for (words, want) in [
            (&["egress", "carpdemote", "128"][..], Ok("")),
            (&["egress"][..], Ok("egress: carp demote count 128\n")),
            (&["egress", "-carpdemote"][..], Ok("")),
            (&["egress", "-carpdemote", "27"][..], Ok("")),
            (&["egress"][..], Ok("egress: carp demote count 100\n")),
            (
                &["egress", "carpdemote", "129"][..],
                Err("ifconfig: '129' is not a number from 0 to 128"),
            ),
            (
                &["egress", "carpdemot"][..],
                Err("ifconfig: 'carpdemot' is not understood; did you mean 'carpdemote'?"),
            ),
            (
                &["lan"][..],
                Err("ifconfig: no interface is in the group 'lan'"),
            ),
            (&[][..], Err("ifconfig: -g needs the name of a group")),
        ] {
            let got = group(words, api);
            assert_eq!(got.as_deref().map_err(String::as_str), want, "{words:?}");
        }
    }

    #[test]
    fn neighbors_are_forgotten() {
        let api = &mut Fake::default();
        assert_eq!(
            forget("arp", "192.0.2.254", api).unwrap(),
            "192.0.2.254 deleted\n"
        );
        assert_eq!(
            forget("arp", "192.0.2.77", api),
            Err("arp: 192.0.2.77 -- no entry".into())
        );
        assert_eq!(
            forget("arp", "x", api),
            Err("arp: -d: 'x' is not an address".into())
        );
        // One that is set goes by a change of the configuration.
        api.neighbors[0].state = "static".into();
        let addr = api.neighbors[0].addr.to_string();
        forget("arp", &addr, api).unwrap();
        assert_eq!(api.status.network_changes, [format!("arp -d {addr}")]);
    }

    #[test]
    fn the_way_to_an_address_is_told() {
        let api = &mut Fake::default();
        let out = route_get("203.0.113.9", 0, api).unwrap();
        assert!(out.starts_with("   route to: 203.0.113.9\ndestination: default\n       mask: 0.0.0.0\n    gateway: 192.0.2.254\n  interface: vio0\n if address: 192.0.2.1\n"), "{out}");
        assert!(route_get("x", 0, api).is_err());
    }
}
