//! What only shows when all files are read: addresses that collide, gateways nobody reaches, names that nothing bears.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pfconf::diag::{Diagnostic, Severity};

use crate::prefix::{contains, network};
use crate::source::{Reporter, at};
use crate::{
    InterfaceAddress, InterfaceConfig, KNOWN, KNOWN_ELSEWHERE, NetConfig, Origin, layers, near,
};

/// RFC 8200 section 5.
const IPV6_MTU_MIN: u16 = 1280;

/// Pairs of addresses are compared up to this many addresses; no machine has as many.
const COMPARED_LIMIT: usize = 1024;

/// A file that nothing of this crate reads: perhaps its name is misspelled.
pub(crate) fn unread_file(name: &str, reporter: &mut Reporter) {
    if KNOWN_ELSEWHERE.contains(&name) || name.contains('/') {
        return;
    }
    if let Some(hint) = near::hint(name, KNOWN.into_iter().chain(KNOWN_ELSEWHERE)) {
        let text = "nothing reads a file of this name".to_string();
        reporter
            .whole_file(Severity::Warning, "unread-file", name, text)
            .hint = Some(hint);
    } else if name.starts_with("hostname") || misspelled_interface(name) {
        let text = "nothing reads a file of this name".to_string();
        reporter
            .whole_file(Severity::Warning, "unread-file", name, text)
            .hint = Some("interfaces are configured in hostname.IF, like hostname.em0".into());
    }
}

/// `hostnam.em0` and the like.
fn misspelled_interface(name: &str) -> bool {
    let first = name.split_once('.').map(|(first, _)| first);
    first.is_some_and(|first| near::nearest(first, ["hostname"]).is_some())
}

/// Everything across files.
pub(crate) fn whole(
    files: &BTreeMap<String, Vec<u8>>,
    config: &NetConfig,
    reporter: &mut Reporter,
) {
    let any = files.keys().any(|name| name.starts_with("hostname."));
    if !any && config.interfaces.is_empty() {
        let text = "no hostname.IF file: no interface gets an address".to_string();
        reporter.whole_file(Severity::Warning, "no-interfaces", "etc", text);
    }
    addresses(config, reporter);
    for interface in &config.interfaces {
        mtu(interface, reporter);
    }
    layers::whole(config, reporter);
    adverts(config, reporter);
    neighbors(config, reporter);
    // An interface whose file is wrong has not all of its networks: what follows from that is no message of its own.
    if !reporter.has_errors() {
        next_hops(config, reporter);
    }
    defaults(config, reporter);
    management(config, reporter);
}

/// A neighbor that no interface is named for must be in a network of one.
fn neighbors(config: &NetConfig, reporter: &mut Reporter) {
    for neighbor in config.neighbors.iter().filter(|n| n.interface.is_none()) {
        let mut networks = config.interfaces.iter().flat_map(|i| &i.addresses);
        let learns = config
            .interfaces
            .iter()
            .any(|i| i.dhcp || i.slaac.is_some());
        if !learns && !networks.any(|a| a.is_on_link(neighbor.addr)) {
            let text = format!(
                "no interface has a network with {}: it has no effect",
                neighbor.addr
            );
            let severity = Severity::Warning;
            reporter.push(at(&neighbor.origin, severity, "no-such-network", text));
        }
    }
}

/// The same address on two interfaces is an error, networks that overlap deserve a look.
fn addresses(config: &NetConfig, reporter: &mut Reporter) {
    let all: Vec<(&InterfaceConfig, &InterfaceAddress)> = config
        .interfaces
        .iter()
        .flat_map(|i| i.addresses.iter().map(move |a| (i, a)))
        .take(COMPARED_LIMIT)
        .collect();
    for (index, (interface, one)) in all.iter().enumerate() {
        let earlier = all[..index]
            .iter()
            .filter(|(i, _)| i.name != interface.name && i.rdomain == interface.rdomain);
        for (other, two) in earlier {
            if let Some(diagnostic) = collide(one, two, &other.name) {
                reporter.push(diagnostic);
                break;
            }
        }
    }
}

fn collide(one: &InterfaceAddress, two: &InterfaceAddress, other: &str) -> Option<Diagnostic> {
    let origin = &one.origin;
    if one.addr == two.addr && !is_link_local(one.addr) {
        let text = format!(
            "{} is on {other} too, see {}:{}",
            one.addr, two.origin.file, two.origin.line
        );
        return Some(at(origin, Severity::Error, "duplicate-address", text));
    }
    let bits = one.prefix_len.min(two.prefix_len);
    if is_link_local(one.addr) || !contains(one.addr, bits, two.addr) {
        return None;
    }
    let text = format!(
        "{}/{} overlaps {}/{} of {other}, see {}:{}",
        network(one.addr, one.prefix_len),
        one.prefix_len,
        network(two.addr, two.prefix_len),
        two.prefix_len,
        two.origin.file,
        two.origin.line
    );
    Some(at(origin, Severity::Warning, "overlapping-networks", text))
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(a) if a.is_unicast_link_local())
}

fn mtu(interface: &InterfaceConfig, reporter: &mut Reporter) {
    let has_inet6 = interface.link_local || interface.addresses.iter().any(|a| a.addr.is_ipv6());
    if let Some(mtu) = interface.mtu.filter(|mtu| has_inet6 && *mtu < IPV6_MTU_MIN) {
        let text = format!("mtu {mtu} is too small for IPv6, which needs {IPV6_MTU_MIN}");
        reporter.push(at(&interface.origin, Severity::Error, "bad-mtu", text));
    }
}

/// A next hop must be in a network of some interface, or name one.
fn next_hops(config: &NetConfig, reporter: &mut Reporter) {
    let gateways = config
        .gateways
        .iter()
        .map(|g| (Some(g.addr), g.interface.as_deref(), &g.origin));
    let routes = config
        .routes
        .iter()
        .map(|r| (r.hop.gateway(), r.hop.interface(), &r.origin));
    for (addr, interface, origin) in gateways.chain(routes) {
        match interface {
            Some(name) if is_unknown(config, name) => {
                let text = format!("no interface '{name}' is configured");
                let mut diagnostic = at(origin, Severity::Error, "unknown-interface", text);
                diagnostic.hint = Some(known_interfaces(config));
                reporter.push(diagnostic);
            }
            Some(_) => {}
            None => {
                if let Some(addr) = addr {
                    reachable(config, addr, origin, reporter);
                }
            }
        }
    }
}

fn reachable(config: &NetConfig, addr: IpAddr, origin: &Origin, reporter: &mut Reporter) {
    let mut all = config.interfaces.iter().flat_map(|i| i.addresses.iter());
    let (text, code) = if all.clone().any(|a| a.addr == addr) {
        (
            format!("the gateway {addr} is this machine itself"),
            "own-gateway",
        )
    } else if config.asks_for_addresses() {
        // It may be in a network that the box will be told of.
        return;
    } else if !all.any(|a| a.is_on_link(addr)) {
        (
            format!("the gateway {addr} is in no network of an interface"),
            "unreachable-gateway",
        )
    } else {
        return;
    };
    reporter.push(at(origin, Severity::Warning, code, text));
}

/// A router says something of a link once, and has an address there.
fn adverts(config: &NetConfig, reporter: &mut Reporter) {
    for (n, advert) in config.adverts.iter().enumerate() {
        let (name, origin) = (&advert.interface.name, &advert.interface.origin);
        let same = |other: &&crate::RouterAdvert| other.interface.name == *name;
        if let Some(first) = config.adverts[..n].iter().find(same) {
            let first = &first.interface.origin;
            let text = format!(
                "{name} is told of already, see {}:{}",
                first.file, first.line
            );
            reporter.push(at(origin, Severity::Error, "duplicate-interface", text));
        }
        let inet6 = |i: &InterfaceConfig| {
            i.link_local || i.addresses.iter().any(|address| address.addr.is_ipv6())
        };
        match config.interface(name) {
            None if is_unknown(config, name) => {
                let text = format!("no interface '{name}' is configured");
                let mut error = at(origin, Severity::Error, "unknown-interface", text);
                error.hint = Some(known_interfaces(config));
                reporter.push(error);
            }
            Some(interface) if !inet6(interface) && !reporter.has_errors() => {
                let text = format!("{name} has no address of IPv6");
                reporter.push(at(origin, Severity::Warning, "no-address", text));
            }
            _ => {}
        }
    }
}

/// Two default routes of one family.
fn defaults(config: &NetConfig, reporter: &mut Reporter) {
    for route in config
        .routes
        .iter()
        .filter(|r| r.prefix_len == 0 && r.table == 0)
    {
        let first = config
            .gateways
            .iter()
            .find(|g| g.addr.is_ipv4() == route.dest.is_ipv4());
        if let Some(first) = first {
            let text = format!(
                "there is a default route already, see {}:{}",
                first.origin.file, first.origin.line
            );
            reporter.push(at(
                &route.origin,
                Severity::Warning,
                "duplicate-gateway",
                text,
            ));
        }
    }
}

/// Names after `management =` should be of interfaces or groups; the box may know more than the bundle, so only a warning.
fn management(config: &NetConfig, reporter: &mut Reporter) {
    for name in &config.fugu.management {
        let is_group = config
            .interfaces
            .iter()
            .any(|i| config.groups_of(&i.name, i).contains(name));
        if !is_group && is_unknown(config, name) {
            let text = format!("management: no interface '{name}' is configured");
            let mut diagnostic = Diagnostic::whole_file("unknown-interface", "fugu.conf", text);
            diagnostic.severity = Severity::Warning;
            diagnostic.hint = Some(known_interfaces(config));
            reporter.push(diagnostic);
        }
    }
}

/// Only if no file is bound to a station address: such a file may well be for that name.
fn is_unknown(config: &NetConfig, name: &str) -> bool {
    config.interface(name).is_none() && config.interfaces.iter().all(|i| i.has_name())
}

fn known_interfaces(config: &NetConfig) -> String {
    let names: Vec<&str> = config.interfaces.iter().map(|i| i.name.as_str()).collect();
    if names.is_empty() {
        "there is no hostname.IF file at all".to_string()
    } else {
        format!("known here: {}", names.join(" "))
    }
}
