//! What `fuguctl pfctl --etc DIR` knows of the machine that the rules are for. Reads the small files as the appliance does, but
//! takes a file for any kind of interface, and leaves out what it does not understand: `fuguctl check` is the one to complain.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use netconf::{InterfaceAddress, InterfaceConfig, Kind, Origin};
use pfconf::Environment;

use crate::{Failure, files, policy};

/// Files that say something about names and interfaces, besides `hostname.*`.
const NAMES: [&str; 7] = [
    "hosts",
    "services",
    "protocols",
    "mygate",
    "passwd",
    "group",
    "rc.conf",
];

/// Most interfaces of a directory.
const INTERFACES_MAX: usize = 10_000;

/// The environment that a directory describes; without one the built-in names and `lo0`.
pub(crate) fn environment(etc: Option<&Path>) -> Result<Environment, Failure> {
    let files = etc.map_or_else(|| Ok(BTreeMap::new()), read)?;
    let (conf, _complaints) = netconf::parse(&files);
    let mut interfaces: Vec<InterfaceConfig> = Vec::new();
    for (name, bytes) in &files {
        let Some(name) = name.strip_prefix("hostname.") else {
            continue;
        };
        // The appliance gives lo0 its usual addresses itself, and its reading leaves them out.
        let stands = |i: &&InterfaceConfig| i.lladdr.is_none() && i.kind != Kind::Loopback;
        let strict = conf.interface(name).filter(stands).cloned();
        interfaces.push(strict.unwrap_or_else(|| interface(name, bytes)));
    }
    let mut environment = policy::environment_of(&conf, &interfaces);
    environment.users = ids(files.get("passwd"));
    environment.groups = ids(files.get("group"));
    environment.freebsd = is_freebsd(&files, &environment.users);
    Ok(environment)
}

/// Number of `nobody` in OpenBSD; all other systems have another.
const NOBODY_OF_OPENBSD: u32 = 32767;

/// The network of FreeBSD is in `rc.conf`, that of OpenBSD in `hostname.*`. A tree with neither, or with names for
/// tests only, tells by the number of `nobody`.
fn is_freebsd(files: &BTreeMap<String, Vec<u8>>, users: &[(String, u32)]) -> bool {
    let nobody = users.iter().find(|user| user.0 == "nobody");
    files.contains_key("rc.conf") || nobody.is_some_and(|user| user.1 != NOBODY_OF_OPENBSD)
}

fn read(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let trouble = |error| Failure::Trouble(format!("{}: {error}", dir.display()));
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            continue;
        };
        let wanted = name.starts_with("hostname.") || NAMES.contains(&name);
        if wanted && entry.path().is_file() && found.len() < INTERFACES_MAX {
            found.insert(name.to_string(), files::read(&entry.path())?);
        }
    }
    Ok(found)
}

/// `inet [alias] ADDRESS[/BITS] [MASK]`, `inet6 …`, and `group NAME` anywhere.
fn interface(name: &str, bytes: &[u8]) -> InterfaceConfig {
    let mut found = InterfaceConfig {
        name: name.to_string(),
        kind: kind(name),
        up: true,
        ..InterfaceConfig::default()
    };
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or(line);
        let words: Vec<&str> = line.split_whitespace().collect();
        let start = words.first().copied().unwrap_or_default();
        if start == "inet" || start == "inet6" {
            found.addresses.extend(address(&words[1..]));
        }
        for pair in words.windows(2).filter(|pair| pair[0] == "group") {
            found.groups.push(pair[1].to_string());
        }
    }
    found
}

/// Only which interfaces are loopback matters to rules.
fn kind(name: &str) -> Kind {
    let number = name.strip_prefix("lo").unwrap_or_default();
    if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
        Kind::Loopback
    } else {
        Kind::Ethernet
    }
}

fn address(words: &[&str]) -> Option<InterfaceAddress> {
    let alias = words.first() == Some(&"alias");
    let words = &words[usize::from(alias)..];
    let first = words.first()?;
    let (text, bits) = match first.split_once('/') {
        Some((text, bits)) => (text, bits.parse().ok()),
        None => (*first, words.get(1).and_then(|mask| mask_bits(mask))),
    };
    let addr: IpAddr = text.split('%').next()?.parse().ok()?;
    let whole = if addr.is_ipv4() { 32 } else { 128 };
    let prefix_len = bits.unwrap_or(if addr.is_ipv4() { 32 } else { 64 });
    (prefix_len <= whole).then(|| InterfaceAddress {
        addr,
        prefix_len,
        broadcast: None,
        dest: None,
        alias,
        origin: Origin::default(),
    })
}

/// `255.255.255.0`, `0xffffff00` or `24`.
fn mask_bits(text: &str) -> Option<u8> {
    let mask = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse::<Ipv4Addr>().ok().map(u32::from),
    };
    match mask {
        Some(mask) => Some(mask.leading_ones() as u8),
        None => text.parse().ok(),
    }
}

/// Names and numbers of passwd(5) and group(5).
fn ids(file: Option<&Vec<u8>>) -> Vec<(String, u32)> {
    let text = file.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let entry = |line: &str| {
        let mut parts = line.split(':');
        let name = parts.next()?.to_string();
        Some((name, parts.nth(1)?.parse().ok()?))
    };
    text.unwrap_or_default().lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form_of_their_mask() {
        for (line, want) in [
            ("10.0.0.1 255.255.255.0", Some(24)),
            ("10.0.0.1 0xffff0000", Some(16)),
            ("10.0.0.1/8", Some(8)),
            ("alias 10.0.0.1/8", Some(8)),
            ("10.0.0.1", Some(32)),
            ("10.0.0.1/33", None),
            ("fe80::1%em0 64", Some(64)),
            ("2001:db8::1", Some(64)),
            ("autoconf", None),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(address(&words).map(|a| a.prefix_len), want, "{line}");
        }
    }

    #[test]
    fn users_have_numbers() {
        let file = b"root:*:0:0::/root:/bin/sh\n# no user\nbad:*:x:1\n".to_vec();
        assert_eq!(ids(Some(&file)), [("root".to_string(), 0)]);
    }
}
