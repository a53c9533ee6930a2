//! Names of interfaces: which are names at all, and what kind of interface a name stands for.

use crate::kind::{Bridge, Gif, Kind, Lagg, LaggProtocol, TPID_SVLAN, Vlan};

/// IFNAMSIZ without its zero byte.
pub(crate) const LIMIT: usize = 15;

/// Highest number of a VLAN (802.1Q table 9-2: 4095 is reserved).
pub(crate) const VID_MAX: u32 = 4094;

/// Interfaces without a card behind them that Fugu does not make.
const OTHERS: [&str; 26] = [
    "carp", "egre", "enc", "eoip", "epair", "etherip", "faith", "gre", "ipsec", "mpe", "nvgre",
    "pair", "pflog", "pflow", "pfsync", "ppp", "pppoe", "sec", "stf", "tap", "tpmr", "tun", "veb",
    "vether", "vport", "vxlan",
];

/// Letters and digits, the first a letter, perhaps with the number of a VLAN after a dot.
pub(crate) fn is_interface(name: &str) -> bool {
    let (base, tag) = match name.split_once('.') {
        Some((base, tag)) => (base, Some(tag)),
        None => (name, None),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let letter = base.starts_with(|c: char| c.is_ascii_alphabetic());
    letter && base.bytes().all(plain) && tag.is_none_or(is_tag) && name.len() <= LIMIT
}

/// A driver and a number, `em0`, as files and `(em0)` in rules take them for an interface.
pub(crate) fn has_number(name: &str) -> bool {
    name.ends_with(|c: char| c.is_ascii_digit())
}

/// Whether a card can be called so. `Err` says why not.
pub(crate) fn for_card(name: &str) -> Result<(), String> {
    let shown = crate::source::printable(name);
    if !is_interface(name) || is_made(name) || kind(name) != Ok(Kind::Ethernet) {
        return Err(format!("a card cannot be called '{shown}'"));
    }
    if !has_number(name) {
        return Err(format!(
            "'{shown}' needs a number at its end: without one it is the name of a group"
        ));
    }
    Ok(())
}

fn is_tag(text: &str) -> bool {
    tag(text).is_some()
}

fn tag(text: &str) -> Option<u16> {
    let number = crate::source::number(text)?;
    (1..=VID_MAX).contains(&number).then_some(number as u16)
}

/// Driver part of a name: `vlan` of `vlan5`.
pub(crate) fn driver(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// `em0.22`: the parent and the number of the VLAN.
pub(crate) fn dotted(name: &str) -> Option<(&str, u16)> {
    let (parent, text) = name.split_once('.')?;
    Some((parent, tag(text)?))
}

/// What an interface of this name is, as yet without settings. `Err` for a kind that Fugu does not know how to make.
pub(crate) fn kind(name: &str) -> Result<Kind, &str> {
    let driver = driver(name);
    let lagg = |protocol| {
        Kind::Lagg(Lagg {
            protocol,
            ..Lagg::default()
        })
    };
    Ok(match driver {
        "lo" => Kind::Loopback,
        "vlan" => Kind::Vlan(Vlan::default()),
        "svlan" => Kind::Vlan(Vlan {
            tpid: TPID_SVLAN,
            ..Vlan::default()
        }),
        "lagg" => lagg(LaggProtocol::Failover),
        "trunk" => lagg(LaggProtocol::RoundRobin),
        "aggr" => lagg(LaggProtocol::Lacp),
        "bridge" => Kind::Bridge(Bridge::default()),
        "gif" => Kind::Gif(Gif::default()),
        _ if OTHERS.contains(&driver) || driver == "wg" => return Err(driver),
        _ => Kind::Ethernet,
    })
}

/// Whether an interface of this name is made by a file, not found as a card.
pub(crate) fn is_made(name: &str) -> bool {
    name.contains('.') || !matches!(kind(name), Ok(Kind::Ethernet | Kind::Loopback))
}

/// What people call the kind.
pub(crate) fn called(kind: &Kind) -> &'static str {
    match kind {
        Kind::Ethernet => "a card",
        Kind::Loopback => "a loopback interface",
        Kind::Vlan(_) => "a VLAN",
        Kind::Lagg(_) => "a lagg",
        Kind::Bridge(_) => "a bridge",
        Kind::Gif(_) => "a tunnel",
    }
}

/// A station address, `00:11:22:33:44:55`.
pub fn station(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next()?;
        let plain = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
        *octet = u8::from_str_radix(part, 16).ok().filter(|_| plain)?;
    }
    parts.next().is_none().then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn station_addresses_are_told_from_names() {
        assert_eq!(
            station("00:11:22:aa:BB:ff"),
            Some([0, 0x11, 0x22, 0xaa, 0xbb, 0xff])
        );
        assert_eq!(station("0:1:2:3:4:5"), Some([0, 1, 2, 3, 4, 5]));
        for text in [
            "em0",
            "00:11:22:33:44",
            "00:11:22:33:44:55:66",
            "00:11:22:33:44:+5",
            "::::::",
        ] {
            assert_eq!(station(text), None, "{text}");
        }
    }

    #[test]
    fn cards_have_names_that_rules_take_for_interfaces() {
        for name in ["em0", "wan0", "dmz12"] {
            assert_eq!(for_card(name), Ok(()), "{name}");
        }
        for name in ["wan", "vlan3", "lagg0", "lo0", "em0.5", "carp0", "0em", ""] {
            assert!(for_card(name).is_err(), "{name}");
        }
    }

    #[test]
    fn names_are_told_from_other_words() {
        for name in ["em0", "em0.22", "dmz", "lagg0", "em0.4094"] {
            assert!(is_interface(name), "{name}");
        }
        for name in [
            "",
            "0em",
            "em0.0",
            "em0.4095",
            "em0.bak",
            "em0.1.2",
            "em-0",
            "averyverylongname0",
        ] {
            assert!(!is_interface(name), "{name}");
        }
    }
}
