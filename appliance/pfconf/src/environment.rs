//! What a ruleset may refer to and the file does not say: interfaces with their addresses, and the names of
//! services, protocols, hosts, users and groups. Comes in as an argument, so that a ruleset can be checked for
//! another machine than the one that checks.

use std::collections::HashMap;
use std::net::IpAddr;

use net::KifId;

use crate::services;

/// An address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EnvAddress {
    /// The address.
    pub address: IpAddr,
    /// Bits of the network.
    pub prefix_len: u8,
    /// Broadcast address, IPv4 only.
    pub broadcast: Option<IpAddr>,
    /// Other end of a point-to-point link.
    pub peer: Option<IpAddr>,
}

impl EnvAddress {
    /// An address on a broadcast link: the broadcast address is the last of the network.
    pub fn new(address: IpAddr, prefix_len: u8) -> Self {
        let broadcast = match address {
            IpAddr::V4(v4) if prefix_len < 31 => {
                let host = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
                Some(IpAddr::V4((u32::from(v4) | host).into()))
            }
            _ => None,
        };
        EnvAddress {
            address,
            prefix_len,
            broadcast,
            peer: None,
        }
    }
}

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnvInterface {
    /// Name, as in `em0`.
    pub name: String,
    /// Number of the name.
    pub kif: KifId,
    /// Groups it belongs to, `all` not among them.
    pub groups: Vec<String>,
    /// Addresses in the order of configuration.
    pub addresses: Vec<EnvAddress>,
    /// True for `lo0` and its like.
    pub loopback: bool,
}

/// A static route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnvRoute {
    /// Network.
    pub dest: IpAddr,
    /// Bits of it; 0 for a default route.
    pub prefix_len: u8,
    /// Next hop, of the same family.
    pub gateway: IpAddr,
    /// Interface, where the gateway alone does not say.
    pub interface: Option<String>,
}

/// Everything outside the file that a ruleset may refer to.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Interfaces.
    pub interfaces: Vec<EnvInterface>,
    /// Names of interfaces whose addresses are learned, by DHCP or from routers: they come and go after the rules were
    /// loaded.
    pub learning: Vec<String>,
    /// Static routes. Of several default routes of a family the first is in force. Warnings are made of them, nothing else.
    pub routes: Vec<EnvRoute>,
    /// Routing tables that exist, if that is known: rules may name no others.
    pub rtables: Option<Vec<u8>>,
    /// Names of groups that have a number already. Other names get the next free one.
    pub kifs: Vec<(String, KifId)>,
    /// Services: name, IP protocol (6 or 17), port.
    pub services: Vec<(String, u8, u16)>,
    /// Protocols: name and number. Of several names of a number the first is printed.
    pub protocols: Vec<(String, u8)>,
    /// Addresses of host names. No other name is ever looked up.
    pub hosts: HashMap<String, Vec<IpAddr>>,
    /// Users: name and number.
    pub users: Vec<(String, u32)>,
    /// Groups of users: name and number.
    pub groups: Vec<(String, u32)>,
    /// The tree is one of FreeBSD: rules are printed in its form, and where the systems differ its meaning counts.
    pub freebsd: bool,
}

/// Protocols that a ruleset can name without any table.
const PROTOCOLS: &[(&str, u8)] = &[
    ("ip", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", 6),
    ("udp", 17),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("icmp6", 58),
    ("ospf", 89),
    ("pim", 103),
    ("carp", 112),
    ("pfsync", 240),
];

/// Services that a ruleset can name without any table: name, port; TCP and UDP alike.
const SERVICES: &[(&str, u16)] = &[
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("www", 80),
    ("pop3", 110),
    ("auth", 113),
    ("ntp", 123),
    ("imap", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("https", 443),
    ("syslog", 514),
];

impl Environment {
    /// No interfaces, and the few names that most rulesets use; enough for tests.
    pub fn minimal() -> Self {
        let both =
            |(name, port): &(&str, u16)| [6, 17].map(|proto| (name.to_string(), proto, *port));
        Environment {
            services: SERVICES.iter().flat_map(both).collect(),
            protocols: PROTOCOLS.iter().map(|p| (p.0.into(), p.1)).collect(),
            ..Environment::default()
        }
    }
}

/// The environment with its names indexed.
pub(crate) struct Known<'a> {
    pub(crate) env: &'a Environment,
    services: HashMap<&'a str, u16>,
    protocols: HashMap<&'a str, u8>,
    protocol_names: HashMap<u8, &'a str>,
    interfaces: HashMap<&'a str, usize>,
    /// Members of each group, in the order of interfaces.
    groups: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Known<'a> {
    pub(crate) fn new(env: &'a Environment) -> Self {
        let mut services = HashMap::new();
        // The TCP service counts where both exist.
        for wanted in [6, 17] {
            for (name, proto, port) in &env.services {
                if *proto == wanted {
                    services.entry(name.as_str()).or_insert(*port);
                }
            }
        }
        let mut protocols = HashMap::new();
        let mut protocol_names = HashMap::new();
        for (name, number) in &env.protocols {
            protocols.entry(name.as_str()).or_insert(*number);
            protocol_names.entry(*number).or_insert(name.as_str());
        }
        let mut interfaces = HashMap::new();
        let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
        for (n, interface) in env.interfaces.iter().enumerate() {
            interfaces.entry(interface.name.as_str()).or_insert(n);
            for group in &interface.groups {
                groups.entry(group.as_str()).or_default().push(n);
            }
        }
        Known {
            env,
            services,
            protocols,
            protocol_names,
            interfaces,
            groups,
        }
    }

    /// Port of a service: TCP first, then UDP.
    pub(crate) fn service(&self, name: &str) -> Option<u16> {
        let listed = self.services.get(name).copied();
        let more = || services::port(name).filter(|_| self.env.freebsd);
        listed.or_else(more)
    }

    /// The name of a port, of TCP for protocol 6 and else of UDP, as pfctl asks.
    pub(crate) fn service_name(&self, port: u16, proto: Option<u8>) -> Option<&'a str> {
        let wanted = if proto == Some(6) { 6 } else { 17 };
        // What is printed in FreeBSD's form has FreeBSD's names, whoever wrote the list of the tree.
        if self.env.freebsd && services::lists(port) {
            return services::name(port, wanted);
        }
        let mut all = self.env.services.iter();
        let listed = all.find(|s| s.1 == wanted && s.2 == port);
        listed.map(|s| s.0.as_str())
    }

    pub(crate) fn service_names(&self) -> impl Iterator<Item = &str> {
        self.env.services.iter().map(|s| s.0.as_str())
    }

    pub(crate) fn protocol(&self, name: &str) -> Option<u8> {
        self.protocols.get(name).copied()
    }

    pub(crate) fn protocol_name(&self, number: u8) -> Option<&'a str> {
        self.protocol_names.get(&number).copied()
    }

    pub(crate) fn user(&self, name: &str) -> Option<u32> {
        self.env.users.iter().find(|u| u.0 == name).map(|u| u.1)
    }

    pub(crate) fn group(&self, name: &str) -> Option<u32> {
        self.env.groups.iter().find(|g| g.0 == name).map(|g| g.1)
    }

    pub(crate) fn interface(&self, name: &str) -> Option<&'a EnvInterface> {
        let index = self.interfaces.get(name)?;
        self.env.interfaces.get(*index)
    }

    /// The interfaces that a name stands for: itself, the members of a group, or all for `self`. None if there is
    /// no such name.
    pub(crate) fn members(&self, name: &str) -> Option<Vec<&'a EnvInterface>> {
        let all = &self.env.interfaces;
        if name == "self" || name == "all" {
            return Some(all.iter().collect());
        }
        if let Some(one) = self.interface(name) {
            return Some(vec![one]);
        }
        let members = self.groups.get(name)?;
        Some(members.iter().filter_map(|n| all.get(*n)).collect())
    }

    /// All names that may stand after `on`.
    pub(crate) fn interface_names(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self
            .env
            .interfaces
            .iter()
            .map(|i| i.name.as_str())
            .collect();
        let groups = self.env.interfaces.iter().flat_map(|i| &i.groups);
        names.extend(groups.map(String::as_str));
        names.extend(self.env.kifs.iter().map(|k| k.0.as_str()));
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broadcast_address_is_the_last_of_the_network() {
        let a = EnvAddress::new("10.1.2.3".parse().unwrap(), 24);
        assert_eq!(a.broadcast, Some("10.1.2.255".parse().unwrap()));
        let p2p = EnvAddress::new("10.1.2.3".parse().unwrap(), 32);
        assert_eq!(p2p.broadcast, None);
    }

    #[test]
    fn the_first_name_of_a_protocol_is_the_one_printed() {
        let env = Environment::minimal();
        let known = Known::new(&env);
        assert_eq!(known.protocol("icmp6"), Some(58));
        assert_eq!(known.protocol_name(58), Some("ipv6-icmp"));
        assert_eq!(known.service("www"), Some(80));
    }
}
