//! The small files of an etc tree: `hostname.IF`, `mygate`, `myname`, `hosts`, `resolv.conf`, `services`, `protocols` and
//! `fugu.conf`. File names and bytes in, one [`NetConfig`] and all diagnostics out.
//!
//! Has no side effect and knows no network card: whether `em0` exists is for the caller to say. Anything it does not
//! understand is an error; nothing is silently left out. Read first: hostname.if(5), mygate(5), route(8),
//! `docs/etc-tree.md`.

#![forbid(unsafe_code)]

mod check;
pub mod environment;
mod fuguconf;
mod interface;
pub mod names;
pub mod near;
mod prefix;
mod route;
mod small;
mod source;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

pub use fuguconf::{DEFAULT_API_PORT, FuguConf};
pub use names::{Protocols, Services};
pub use pfconf::diag::{Diagnostic, Severity, has_errors};
pub use prefix::contains;

use source::{Reporter, Source};

/// Where something was configured.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Origin {
    /// File in the etc tree: `hostname.em0`.
    pub file: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: u32,
}

/// Everything the small files say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NetConfig {
    /// From `myname`; `fugu` without one.
    pub hostname: String,
    /// One for each `hostname.*` file, in the order of their names.
    pub interfaces: Vec<InterfaceConfig>,
    /// From `mygate`: at most one of each family.
    pub gateways: Vec<Gateway>,
    /// From `!route add` lines, in the order of files and lines.
    pub routes: Vec<StaticRoute>,
    /// From `hosts`, for names in pf.conf. Names in lower case.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// From `resolv.conf`.
    pub nameservers: Vec<IpAddr>,
    /// Built-in services, with those of the tree in front.
    pub services: Services,
    /// Built-in protocols, with those of the tree in front.
    pub protocols: Protocols,
    /// `fugu.conf`.
    pub fugu: FuguConf,
}

/// One interface, from its `hostname.IF` file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InterfaceConfig {
    /// What follows `hostname.`: `em0`, or the station address where the file is bound to one.
    pub name: String,
    /// From `hostname.00:11:22:33:44:55`: the file is for the card with this address, whatever its name.
    pub lladdr: Option<[u8; 6]>,
    /// In the order of the file.
    pub addresses: Vec<InterfaceAddress>,
    /// False only after `down`.
    pub up: bool,
    /// Largest IP packet, if the file sets it.
    pub mtu: Option<u16>,
    /// `group` words; the implicit groups are not among them, see [`NetConfig::groups_of`].
    pub groups: Vec<String>,
    /// `description`.
    pub description: Option<String>,
    /// `inet6 eui64`: have a link-local address even without another one of IPv6.
    pub link_local: bool,
    /// The file.
    pub origin: Origin,
}

/// An address of an interface and the network around it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceAddress {
    /// The address itself, not the network's.
    pub addr: IpAddr,
    /// Bits of the network, at most 32 or 128.
    pub prefix_len: u8,
    /// Only if it is given and not `NONE`; else it is computed from the prefix.
    pub broadcast: Option<Ipv4Addr>,
    /// `alias`: not the address that `(em0:0)` of pf.conf means.
    pub alias: bool,
    /// Its line.
    pub origin: Origin,
}

/// A default gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gateway {
    /// Its address.
    pub addr: IpAddr,
    /// The interface after `%`, which a link-local address needs: `fe80::1%em0`.
    pub interface: Option<String>,
    /// Its line.
    pub origin: Origin,
}

/// A route from a `!route add` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticRoute {
    /// Network, host bits zero.
    pub dest: IpAddr,
    /// Bits of it; 0 for `default`.
    pub prefix_len: u8,
    /// Next hop, of the same family.
    pub gateway: IpAddr,
    /// The interface after `%`, which a link-local gateway needs.
    pub interface: Option<String>,
    /// Its line.
    pub origin: Origin,
}

/// Classes of interfaces that are made by configuration; each is a group of its members (ifconfig(8), "create").
const CLONED: [&str; 10] = [
    "aggr", "bridge", "carp", "gif", "gre", "lo", "pflog", "pfsync", "trunk", "vlan",
];

impl NetConfig {
    /// The interface of that name.
    pub fn interface(&self, name: &str) -> Option<&InterfaceConfig> {
        self.interfaces.iter().find(|i| i.name == name)
    }

    /// All groups of an interface: its class if it is cloned (`vlan` for `vlan5`), those of its file, and `egress` if a
    /// default route leads through it, as on OpenBSD. Cards have no group of their driver's name. `name` is the interface's own, which for a file bound to a station address is known
    /// only on the machine.
    pub fn groups_of(&self, name: &str, interface: &InterfaceConfig) -> Vec<String> {
        let class = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let mut groups = Vec::new();
        if CLONED.contains(&class) {
            groups.push(class.to_string());
        }
        if self.is_egress(name, interface) {
            groups.push("egress".to_string());
        }
        groups.extend(interface.groups.iter().cloned());
        groups.dedup();
        groups
    }

    fn is_egress(&self, name: &str, interface: &InterfaceConfig) -> bool {
        let through = |gateway: IpAddr, scope: Option<&str>| match scope {
            Some(scope) => scope == name,
            None => interface
                .addresses
                .iter()
                .any(|a| contains(a.addr, a.prefix_len, gateway)),
        };
        let mygate = self
            .gateways
            .iter()
            .any(|g| through(g.addr, g.interface.as_deref()));
        let route = self
            .routes
            .iter()
            .filter(|r| r.prefix_len == 0)
            .any(|r| through(r.gateway, r.interface.as_deref()));
        mygate || route
    }
}

/// Files that this crate reads, besides `hostname.*`.
const KNOWN: [&str; 7] = [
    "myname",
    "mygate",
    "hosts",
    "resolv.conf",
    "services",
    "protocols",
    "fugu.conf",
];

/// Files that others read: the rules, and what rules name.
const KNOWN_ELSEWHERE: [&str; 2] = ["pf.conf", "pf.os"];

/// Reads an etc tree: contents by path in it. Files it does not know are left to others. If one of the diagnostics is an
/// error, the configuration is not to be used; it then holds what could be understood.
pub fn parse(files: &BTreeMap<String, Vec<u8>>) -> (NetConfig, Vec<Diagnostic>) {
    let mut reporter = Reporter::default();
    let mut config = NetConfig {
        hostname: "fugu".to_string(),
        services: Services::built_in(),
        protocols: Protocols::built_in(),
        ..NetConfig::default()
    };
    for (name, bytes) in files {
        if let Some(interface) = name.strip_prefix("hostname.") {
            interface::read(interface, name, bytes, &mut config, &mut reporter);
        } else if KNOWN.contains(&name.as_str()) {
            read_known(name, bytes, &mut config, &mut reporter);
        } else {
            check::unread_file(name, &mut reporter);
        }
    }
    check::whole(files, &config, &mut reporter);
    (config, reporter.into_diagnostics())
}

fn read_known(name: &str, bytes: &[u8], config: &mut NetConfig, reporter: &mut Reporter) {
    let Some(source) = Source::new(name, bytes, reporter) else {
        return;
    };
    match name {
        "myname" => small::myname(&source, config, reporter),
        "mygate" => small::mygate(&source, config, reporter),
        "hosts" => small::hosts(&source, config, reporter),
        "resolv.conf" => small::resolv_conf(&source, config, reporter),
        "services" => config.services.read(&source, reporter),
        "protocols" => config.protocols.read(&source, reporter),
        _ => fuguconf::read(&source, &mut config.fugu, reporter),
    }
}

#[cfg(test)]
mod tests;
