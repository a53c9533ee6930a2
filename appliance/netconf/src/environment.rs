//! What a tree tells the compiler of `pf.conf`: names, interfaces and files. Used by the appliance, which adds what it knows of
//! its cards, and by the workstation tool, which knows the files only; so both compile alike.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use net::KifId;
use pfconf::diag::{Diagnostic, Severity};
use pfconf::{EnvAddress, EnvInterface, EnvRoute, Environment, Files};

use crate::{InterfaceConfig, Kind, NetConfig};

/// Main file of the rules.
pub const PF_CONF: &str = "pf.conf";

/// The loopback interface that every machine has.
pub const LOOPBACK: &str = "lo0";

/// Where rulesets written for OpenBSD say their files are.
const ETC: &str = "/etc/";

/// Files of the tree under the names that rules give them.
pub struct Tree<'a>(pub &'a BTreeMap<String, Vec<u8>>);

impl Files for Tree<'_> {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let inside = name.strip_prefix(ETC).unwrap_or(name);
        self.0.get(inside).cloned()
    }
}

/// The message about a tree without rules.
pub fn no_rules() -> Diagnostic {
    Diagnostic {
        hint: Some("a box that passes everything says so: pass".into()),
        ..Diagnostic::whole_file("no-rules", PF_CONF, "there is no pf.conf in the bundle")
    }
}

/// The warning that nobody can reach the management API. `names` are the interfaces for management, none for all; `place` is the
/// file and line of the rule that blocks it, if there is one.
pub fn locked_out(names: &[&str], port: u16, place: Option<(&str, u32)>) -> Diagnostic {
    let on = match names {
        [] => "any interface".to_string(),
        names => names.join(" or "),
    };
    let text = match place {
        Some(_) => format!(
            "this rule locks you out: nobody reaches the management API, tcp port {port} on {on}"
        ),
        None => format!("nobody can reach the management API: no address on {on}"),
    };
    let (file, line) = place.unwrap_or((PF_CONF, 0));
    let hint = format!(
        "pass in on {} proto tcp to self port {port}",
        names.first().unwrap_or(&"em0")
    );
    Diagnostic {
        severity: Severity::Warning,
        line,
        hint: place.map(|_| hint),
        ..Diagnostic::whole_file("lockout", file, text)
    }
}

/// Names of services, protocols and hosts, and routes; no interface yet.
pub fn names(conf: &NetConfig) -> Environment {
    let services = conf.services.entries();
    let protocols = conf.protocols.entries();
    Environment {
        services: services
            .map(|(name, transport, port)| (name.to_string(), transport, port))
            .collect(),
        protocols: protocols
            .map(|(name, number)| (name.to_string(), number))
            .collect(),
        hosts: conf.hosts.clone().into_iter().collect(),
        routes: routes(conf),
        learning: conf
            .interfaces
            .iter()
            .filter(|i| i.dhcp || i.slaac.is_some())
            .map(|i| i.name.clone())
            .collect(),
        rtables: Some(rtables(conf)),
        ..Environment::default()
    }
}

/// Routing tables that there are: the first, those of routing domains, and those that routes were added to.
fn rtables(conf: &NetConfig) -> Vec<u8> {
    let domains = conf.interfaces.iter().map(|i| i.rdomain);
    let tables = conf.routes.iter().map(|r| r.table);
    let all = std::iter::once(0).chain(domains).chain(tables);
    let mut all: Vec<u8> = all.filter_map(|n| u8::try_from(n).ok()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The gateways of `mygate`, then the routes of `hostname.*`.
fn routes(conf: &NetConfig) -> Vec<EnvRoute> {
    let gateways = conf.gateways.iter().map(|g| EnvRoute {
        dest: match g.addr {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        },
        prefix_len: 0,
        gateway: g.addr,
        interface: g.interface.clone(),
    });
    // A route without a gateway is nobody's uplink.
    let routes = conf.routes.iter().filter_map(|r| {
        Some(EnvRoute {
            dest: r.dest,
            prefix_len: r.prefix_len,
            gateway: r.hop.gateway()?,
            interface: r.hop.interface().map(str::to_string),
        })
    });
    gateways.chain(routes).collect()
}

/// An interface as its file has it.
pub fn interface(conf: &NetConfig, file: &InterfaceConfig, kif: KifId) -> EnvInterface {
    EnvInterface {
        name: file.name.clone(),
        kif,
        groups: conf.groups_of(&file.name, file),
        addresses: file
            .addresses
            .iter()
            .map(|a| EnvAddress {
                peer: a.dest,
                ..EnvAddress::new(a.addr, a.prefix_len)
            })
            .collect(),
        loopback: file.kind == Kind::Loopback,
    }
}

/// [`LOOPBACK`], which no file needs to name.
pub fn loopback(kif: KifId) -> EnvInterface {
    EnvInterface {
        name: LOOPBACK.into(),
        kif,
        groups: vec!["lo".into()],
        addresses: vec![
            EnvAddress::new(Ipv4Addr::LOCALHOST.into(), 8),
            EnvAddress::new(Ipv6Addr::LOCALHOST.into(), 128),
        ],
        loopback: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_under_the_names_that_rules_give_them() {
        let files = BTreeMap::from([("tables/bad".to_string(), b"10.0.0.1\n".to_vec())]);
        for (name, found) in [
            ("/etc/tables/bad", true),
            ("tables/bad", true),
            ("/etc/bad", false),
            ("/var/tables/bad", false),
        ] {
            assert_eq!(Tree(&files).read(name).is_some(), found, "{name}");
        }
    }

    #[test]
    fn an_interface_brings_its_groups_and_addresses() {
        let files = BTreeMap::from([
            (
                "hostname.em0".to_string(),
                b"inet 192.0.2.1/24\ngroup wan\n".to_vec(),
            ),
            ("mygate".to_string(), b"192.0.2.254\n".to_vec()),
            ("hosts".to_string(), b"10.0.0.9 www\n".to_vec()),
        ]);
        let (conf, _) = crate::parse(&files);
        let em0 = interface(&conf, &conf.interfaces[0], KifId(3));
        assert_eq!(
            (em0.kif, em0.groups.join(" ")),
            (KifId(3), "egress wan".to_string())
        );
        assert_eq!(em0.addresses.len(), 1);
        assert!(!em0.loopback && loopback(KifId(0)).loopback);
        let names = names(&conf);
        assert_eq!(names.hosts["www"].len(), 1);
        assert!(
            names
                .services
                .iter()
                .any(|(name, _, port)| name == "ssh" && *port == 22)
        );
    }
}
