//! The small files of an etc tree: `hostname.IF`, `mygate`, `myname`, `hosts`, `resolv.conf`, `services`, `protocols`,
//! `rad.conf`, `rc.conf`, `sysctl.conf` and `fugu.conf`. File names and bytes in, one [`NetConfig`] and all diagnostics out.
//!
//! Has no side effect and knows no network card: whether `em0` exists is for the caller to say. Anything it does not
//! understand is an error; nothing is silently left out. Read first: hostname.if(5), mygate(5), route(8),
//! `docs/etc-tree.md`.

#![forbid(unsafe_code)]

mod address;
mod bridge;
mod changes;
mod check;
pub mod environment;
pub mod feature;
mod fuguconf;
mod interface;
mod kind;
mod laggconf;
mod layered;
mod layers;
pub mod names;
mod names_of;
pub mod near;
mod neighbors;
mod prefix;
mod radconf;
mod rcconf;
mod reading;
mod route;
mod shell;
mod small;
mod source;
mod sysctl;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use changes::TYPED;
pub use feature::Feature;
pub use fuguconf::{DEFAULT_API_PORT, FuguConf};
pub use kind::{
    ArpMatch, Bridge, BridgeMember, Gif, Kind, Lacp, Lagg, LaggHash, LaggProtocol, MacRule, Named,
    Probe, StaticStation, Stp, StpProtocol, TPID_SVLAN, TPID_VLAN, Tunnel, Vlan,
};
pub use names::{Protocols, Services};
pub use names_of::station;
pub use neighbors::StaticNeighbor;
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
    /// One for each `hostname.*` file, in the order of their names, then those of `rc.conf`.
    pub interfaces: Vec<InterfaceConfig>,
    /// From `mygate`: at most one of each family.
    pub gateways: Vec<Gateway>,
    /// From `!route add` lines and `rc.conf`, in the order of files and lines.
    pub routes: Vec<StaticRoute>,
    /// From `!arp -s` and `!ndp -s` lines and `rc.conf`.
    pub neighbors: Vec<StaticNeighbor>,
    /// From `rad.conf`: on which interfaces hosts are told of us.
    pub adverts: Vec<RouterAdvert>,
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

/// One interface, from its `hostname.IF` file or `rc.conf`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InterfaceConfig {
    /// What follows `hostname.`: `em0`, or the station address where the file is bound to one.
    pub name: String,
    /// What it is, and of what it is made.
    pub kind: Kind,
    /// From `hostname.00:11:22:33:44:55`: the file is for the card with this address, whatever its name.
    pub lladdr: Option<[u8; 6]>,
    /// From the word `name`, or `ifconfig_IF_name` of `rc.conf`: what the driver calls the card, where `name` is another.
    pub card: Option<String>,
    /// The word `lladdr`: its station address is to be another than the card's.
    pub station: Option<Station>,
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
    /// `inet autoconf`, `dhcp`: ask for an address of IPv4, by DHCP.
    pub dhcp: bool,
    /// `inet6 autoconf`: make addresses from what routers say.
    pub slaac: Option<Slaac>,
    /// `rdomain`: the table of routes of what comes in here.
    pub rdomain: u16,
    /// `priority`: of the routes to its networks, lower wins.
    pub priority: Option<u8>,
    /// `rtlabel`: label of the routes to its networks.
    pub route_label: Option<String>,
    /// The file.
    pub origin: Origin,
}

impl InterfaceConfig {
    /// The file calls the card otherwise than its driver does.
    pub fn is_renamed(&self) -> bool {
        self.card.is_some() || self.lladdr.is_some() && self.has_name()
    }

    /// What the interface is called is known without the machine. It is not for a file that is bound to a station address
    /// and says no `name`.
    pub fn has_name(&self) -> bool {
        self.lladdr.is_none() || names_of::station(&self.name).is_none()
    }
}

/// The station address that an interface is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Station {
    /// This one.
    Given([u8; 6]),
    /// `lladdr random`: one made up, of the kind for private use.
    Random,
}

/// Stateless address autoconfiguration (RFC 4862).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slaac {
    /// `temporary`: addresses that change, besides (RFC 8981).
    pub temporary: bool,
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
    /// `dest`, or the second address of a tunnel: the other end of a point-to-point link, of the same family.
    pub dest: Option<IpAddr>,
    /// `alias`: not the address that `(em0:0)` of pf.conf means.
    pub alias: bool,
    /// Its line.
    pub origin: Origin,
}

impl InterfaceAddress {
    /// Whether `addr` is a neighbor by this address: in its network, or the other end.
    pub fn is_on_link(&self, addr: IpAddr) -> bool {
        contains(self.addr, self.prefix_len, addr) || self.dest == Some(addr)
    }
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

/// A route from a `!route add` line or `rc.conf`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticRoute {
    /// Network, host bits zero.
    pub dest: IpAddr,
    /// Bits of it; 0 for `default`.
    pub prefix_len: u8,
    /// Where it leads.
    pub hop: NextHop,
    /// `-T`: the table it is in.
    pub table: u16,
    /// `-priority`: lower wins; 8 if nothing is said, as on OpenBSD.
    pub priority: u8,
    /// `-mpath`: one of several to the same network.
    pub multipath: bool,
    /// `-label`.
    pub label: Option<String>,
    /// `-mtu`: largest packet on the path.
    pub mtu: Option<u16>,
    /// Its line.
    pub origin: Origin,
}

/// Priority of a static route if its line says none (route(8)).
pub const PRIORITY_STATIC: u8 = 8;

/// Where a route leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NextHop {
    /// To a neighbor of the destination's family.
    Gateway {
        /// Its address.
        addr: IpAddr,
        /// The interface after `%`, which a link-local gateway needs, or after `-ifp`.
        interface: Option<String>,
    },
    /// `-iface`: to whoever is behind this interface.
    Interface(String),
    /// Nowhere, silently.
    Blackhole,
    /// Nowhere, and the sender is told.
    Reject,
}

impl NextHop {
    /// The gateway, if it leads to one.
    pub fn gateway(&self) -> Option<IpAddr> {
        match self {
            NextHop::Gateway { addr, .. } => Some(*addr),
            _ => None,
        }
    }

    /// The interface, if the route names one.
    pub fn interface(&self) -> Option<&str> {
        match self {
            NextHop::Gateway { interface, .. } => interface.as_deref(),
            NextHop::Interface(name) => Some(name),
            NextHop::Blackhole | NextHop::Reject => None,
        }
    }
}

/// `interface` of `rad.conf`: what routers say of a link (RFC 4861 section 4.2). Times in seconds where nothing else is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouterAdvert {
    /// On which interface.
    pub interface: Named,
    /// `default router`: whether hosts may send us what is for elsewhere.
    pub default_router: bool,
    /// `hop limit`; 0 leaves it to the host.
    pub hop_limit: u8,
    /// `managed address configuration`: addresses come by DHCPv6.
    pub managed: bool,
    /// `other configuration`: other settings come by DHCPv6.
    pub other: bool,
    /// `router lifetime`.
    pub router_lifetime: u16,
    /// `reachable time`, in milliseconds; 0 leaves it to the host.
    pub reachable_ms: u32,
    /// `retrans timer`, in milliseconds; 0 leaves it to the host.
    pub retrans_ms: u32,
    /// `source link-layer address`: tell our station address.
    pub source_station: bool,
    /// `mtu`.
    pub mtu: Option<u32>,
    /// `auto prefix`: the networks of the interface's own addresses, with these settings.
    pub auto_prefix: Option<AdvertPrefix>,
    /// `prefix`: others.
    pub prefixes: Vec<AdvertPrefix>,
    /// `nameserver`.
    pub dns_servers: Vec<Ipv6Addr>,
    /// `search`.
    pub dns_search: Vec<String>,
    /// `lifetime` of `dns`.
    pub dns_lifetime: u32,
    /// `nat64 prefix`: (prefix, bits, lifetime).
    pub nat64: Vec<(Ipv6Addr, u8, u16)>,
}

/// A prefix that a router announces (RFC 4861 section 4.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdvertPrefix {
    /// Network, host bits zero; unspecified for `auto prefix`.
    pub prefix: Ipv6Addr,
    /// Bits of it.
    pub prefix_len: u8,
    /// `on-link`.
    pub on_link: bool,
    /// `autonomous address-configuration`.
    pub autonomous: bool,
    /// `preferred lifetime`.
    pub preferred: u32,
    /// `valid lifetime`.
    pub valid: u32,
}

impl AdvertPrefix {
    /// With the settings of rad.conf(5) if nothing is said.
    pub fn new(prefix: Ipv6Addr, prefix_len: u8) -> Self {
        AdvertPrefix {
            prefix,
            prefix_len,
            on_link: true,
            autonomous: true,
            preferred: 2700,
            valid: 5400,
        }
    }
}

impl RouterAdvert {
    /// With the settings of rad.conf(5) if nothing is said.
    pub fn new(interface: Named) -> Self {
        RouterAdvert {
            interface,
            default_router: true,
            hop_limit: 0,
            managed: false,
            other: false,
            router_lifetime: 1800,
            reachable_ms: 0,
            retrans_ms: 0,
            source_station: true,
            mtu: None,
            auto_prefix: Some(AdvertPrefix::new(Ipv6Addr::UNSPECIFIED, 64)),
            prefixes: Vec::new(),
            dns_servers: Vec::new(),
            dns_search: Vec::new(),
            dns_lifetime: 900,
            nat64: Vec::new(),
        }
    }
}

/// Classes of interfaces that are made by configuration; each is a group of its members (ifconfig(8), "create").
const CLONED: [&str; 12] = [
    "aggr", "bridge", "carp", "gif", "gre", "lagg", "lo", "pflog", "pfsync", "svlan", "trunk",
    "vlan",
];

impl NetConfig {
    /// Whether some interface gets addresses from elsewhere.
    pub(crate) fn asks_for_addresses(&self) -> bool {
        let mut interfaces = self.interfaces.iter();
        interfaces.any(|i| i.dhcp || i.slaac.is_some())
    }

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
            None => interface.addresses.iter().any(|a| a.is_on_link(gateway)),
        };
        let mygate = self
            .gateways
            .iter()
            .any(|g| through(g.addr, g.interface.as_deref()));
        let route = self
            .routes
            .iter()
            .filter(|r| r.prefix_len == 0)
            .any(|r| match &r.hop {
                NextHop::Gateway { addr, interface } => through(*addr, interface.as_deref()),
                NextHop::Interface(scope) => scope == name,
                NextHop::Blackhole | NextHop::Reject => false,
            });
        mygate || route
    }
}

/// Files that this crate reads, besides `hostname.*`.
const KNOWN: [&str; 11] = [
    "rad.conf",
    "rc.conf",
    "rc.conf.local",
    "myname",
    "mygate",
    "hosts",
    "resolv.conf",
    "services",
    "protocols",
    "sysctl.conf",
    "fugu.conf",
];

/// Files of variables; the second one overrides the first.
const RC_CONF: [&str; 2] = ["rc.conf", "rc.conf.local"];

/// Files that others read: the rules, and what rules name.
const KNOWN_ELSEWHERE: [&str; 2] = ["pf.conf", "pf.os"];

/// Reads an etc tree: contents by path in it. Files it does not know are left to others. If one of the diagnostics is an
/// error, the configuration is not to be used; it then holds what could be understood.
pub fn parse(files: &BTreeMap<String, Vec<u8>>) -> (NetConfig, Vec<Diagnostic>) {
    parse_changed(files, &[])
}

/// The same, and then carries out commands that were typed, `ifconfig …` and `route …`: messages about them name the file
/// [`TYPED`] and the number of the command as line.
pub fn parse_changed(
    files: &BTreeMap<String, Vec<u8>>,
    commands: &[String],
) -> (NetConfig, Vec<Diagnostic>) {
    parse_with(files, commands, Reporter::default())
}

fn parse_with(
    files: &BTreeMap<String, Vec<u8>>,
    commands: &[String],
    mut reporter: Reporter,
) -> (NetConfig, Vec<Diagnostic>) {
    let mut config = NetConfig {
        hostname: "fugu".to_string(),
        services: Services::built_in(),
        protocols: Protocols::built_in(),
        ..NetConfig::default()
    };
    let mut knobs = sysctl::Knobs::default();
    for (name, bytes) in files {
        let suffix = name.strip_prefix("hostname.");
        if let Some(interface) = suffix.or(name.strip_prefix("bridgename.")) {
            interface::read(interface, name, bytes, &mut config, &mut reporter);
        } else if RC_CONF.contains(&name.as_str()) {
            // Read together, below.
        } else if name == "sysctl.conf" {
            if let Some(source) = Source::new(name, bytes, &mut reporter) {
                knobs = sysctl::read(&source, &mut reporter);
            }
        } else if KNOWN.contains(&name.as_str()) {
            read_known(name, bytes, &mut config, &mut reporter);
        } else {
            check::unread_file(name, &mut reporter);
        }
    }
    rcconf::read(files, &mut config, &mut reporter);
    changes::apply(commands, &mut config, &mut reporter);
    knobs.apply(&mut config);
    config.fugu.apply(&mut config.interfaces, &mut reporter);
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
        "rad.conf" => radconf::read(&source, &mut config.adverts, reporter),
        _ => fuguconf::read(&source, &mut config.fugu, reporter),
    }
}

#[cfg(test)]
mod layered_tests;
#[cfg(test)]
mod manual_tests;
#[cfg(test)]
mod radconf_tests;
#[cfg(test)]
mod rcconf_tests;
#[cfg(test)]
mod tests;
