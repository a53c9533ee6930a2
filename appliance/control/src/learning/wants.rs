//! What the files want learned and told, by the names that the interfaces have on this machine.

use std::net::IpAddr;

use autoconf::router::{Advertisement, Preference, PrefixInfo};
use net::{Fixed, Interface, InterfaceTable, Published};
use netconf::{AdvertPrefix, NetConfig, RouterAdvert, StaticNeighbor};

/// Least and largest time between two advertisements, in seconds (rad(8)).
pub(crate) const INTERVAL_S: (u32, u32) = (200, 600);

/// From whom something is learned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Teacher {
    Dhcp,
    Routers,
}

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// Interfaces with a DHCP client.
    pub(crate) dhcp: Vec<String>,
    /// Interfaces with a SLAAC client.
    pub(crate) slaac: Vec<String>,
    /// Neighbors that are set and answered for, with the interface of the machine where one is named.
    pub(crate) neighbors: Vec<StaticNeighbor>,
    /// `rad.conf`.
    pub(crate) adverts: Vec<RouterAdvert>,
    /// Name of the box, told to DHCP servers.
    pub(crate) hostname: String,
}

impl Wants {
    /// From the files. `names` are the interfaces of the machine, each with its file if there is one.
    pub(crate) fn new<'a>(
        conf: &NetConfig,
        names: impl Iterator<Item = (&'a str, &'a netconf::InterfaceConfig)>,
    ) -> Wants {
        let mut wants = Wants {
            adverts: conf.adverts.clone(),
            neighbors: conf.neighbors.clone(),
            hostname: conf.hostname.clone(),
            ..Wants::default()
        };
        for (name, file) in names {
            let of_file = |n: &&mut StaticNeighbor| n.interface.as_deref() == Some(&file.name);
            for neighbor in wants.neighbors.iter_mut().filter(of_file) {
                neighbor.interface = Some(name.into());
            }
            if file.dhcp {
                wants.dhcp.push(name.into());
            }
            if file.slaac.is_some() {
                wants.slaac.push(name.into());
            }
        }
        wants
    }

    /// The neighbors that workers are to know without asking, and those that they answer for.
    pub(crate) fn fixed(&self, interfaces: &InterfaceTable) -> (Vec<Fixed>, Vec<Published>) {
        let (mut fixed, mut published) = (Vec::new(), Vec::new());
        for neighbor in &self.neighbors {
            let addr = neighbor.addr;
            let on = match &neighbor.interface {
                Some(name) => interfaces.by_name(name),
                None => interfaces
                    .iter()
                    .find(|i| !i.is_loopback() && i.on_link(addr)),
            };
            let Some(interface) = on.filter(|i| !i.owns(addr)).map(|i| i.id) else {
                continue;
            };
            let link = neighbor.station.map(wire::ether::Addr);
            match link {
                _ if neighbor.published => published.push(Published {
                    interface,
                    addr,
                    link,
                }),
                Some(link) => fixed.push(Fixed {
                    interface,
                    addr,
                    link,
                }),
                None => {}
            }
        }
        (fixed, published)
    }

    pub(crate) fn teaches(&self, name: &str, teacher: Teacher) -> bool {
        let names = match teacher {
            Teacher::Dhcp => &self.dhcp,
            Teacher::Routers => &self.slaac,
        };
        names.iter().any(|n| n == name)
    }

    /// Whether the interface needs a link-local address: router discovery is said from one.
    pub(crate) fn speaks_inet6(&self, name: &str) -> bool {
        let advertises = self.adverts.iter().any(|a| a.interface.name == name);
        advertises || self.slaac.iter().any(|n| n == name)
    }

    /// What is advertised on an interface, in its own name or that of a group.
    pub(crate) fn said_on(&self, interface: &Interface) -> Option<Advertisement> {
        let is_for = |a: &&RouterAdvert| {
            let name = a.interface.name.as_str();
            interface.name == name || interface.groups.iter().any(|g| g == name)
        };
        self.adverts.iter().find(is_for).map(|a| said(a, interface))
    }
}

fn said(conf: &RouterAdvert, interface: &Interface) -> Advertisement {
    let mut prefixes: Vec<PrefixInfo> = Vec::new();
    let own = conf.auto_prefix.iter().flat_map(|settings| {
        let networks = interface.addrs.iter().map(net::IfAddr::network);
        networks.filter_map(move |network| match network.addr() {
            IpAddr::V6(prefix) if !prefix.is_unicast_link_local() && !network.is_host() => {
                Some(AdvertPrefix {
                    prefix,
                    prefix_len: network.prefix_len(),
                    ..*settings
                })
            }
            _ => None,
        })
    });
    // What is said of a prefix by name counts before what is said of all.
    for p in conf.prefixes.iter().copied().chain(own) {
        if !prefixes
            .iter()
            .any(|q| (q.prefix, q.len) == (p.prefix, p.prefix_len))
        {
            prefixes.push(PrefixInfo {
                prefix: p.prefix,
                len: p.prefix_len,
                on_link: p.on_link,
                autonomous: p.autonomous,
                valid_s: p.valid,
                preferred_s: p.preferred,
            });
        }
    }
    let nameservers = conf.dns_servers.iter().map(|a| (*a, conf.dns_lifetime));
    Advertisement {
        hop_limit: conf.hop_limit,
        managed: conf.managed,
        other: conf.other,
        preference: Preference::Medium,
        lifetime_s: if conf.default_router {
            conf.router_lifetime
        } else {
            0
        },
        reachable_ms: conf.reachable_ms,
        retransmit_ms: conf.retrans_ms,
        source_link: conf.source_station.then_some(interface.mac),
        mtu: conf.mtu,
        prefixes,
        nameservers: nameservers.collect(),
        search: conf.dns_search.clone(),
        search_s: conf.dns_lifetime,
    }
}
