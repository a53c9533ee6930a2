//! What was learned, and how it is laid on top of what the files say.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use autoconf::{dhcp4, slaac};
use net::route::PRIORITY_LEARNED;
use net::{IfAddr, Interface, InterfaceTable, Prefix, StaticRoute, Target};

use super::wants::{Teacher, Wants};

/// What one source has said of one interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    teacher: Teacher,
    addrs: Vec<IfAddr>,
    /// Network and gateway; none if the network is on the link.
    routes: Vec<(Prefix, Option<IpAddr>)>,
    nameservers: Vec<IpAddr>,
    mtu: Option<u16>,
}

impl Source {
    pub(crate) fn of_lease(lease: &dhcp4::Lease) -> Source {
        let mut routes: Vec<(Prefix, Option<IpAddr>)> = Vec::new();
        for (prefix, gateway) in &lease.routes {
            let gateway = Some(IpAddr::V4(*gateway)).filter(|g| !g.is_unspecified());
            routes.push((*prefix, gateway));
        }
        if lease.routes.is_empty() {
            routes.extend(lease.gateway.map(|g| (Prefix::DEFAULT4, Some(g.into()))));
        }
        Source {
            teacher: Teacher::Dhcp,
            addrs: vec![IfAddr {
                addr: lease.addr.into(),
                prefix_len: lease.prefix_len,
            }],
            routes,
            nameservers: lease.nameservers.iter().map(|a| IpAddr::V4(*a)).collect(),
            mtu: None,
        }
    }

    pub(crate) fn of_routers(learned: &slaac::Learned) -> Source {
        let gateway = learned.gateway.map(IpAddr::V6);
        Source {
            teacher: Teacher::Routers,
            addrs: learned.addrs.clone(),
            routes: gateway
                .map(|g| (Prefix::DEFAULT6, Some(g)))
                .into_iter()
                .collect(),
            nameservers: learned.nameservers.iter().map(|a| IpAddr::V6(*a)).collect(),
            mtu: learned.mtu,
        }
    }

    fn is_empty(&self) -> bool {
        self.addrs.is_empty() && self.routes.is_empty() && self.nameservers.is_empty()
    }

    fn is_default(&self) -> bool {
        self.routes
            .iter()
            .any(|(prefix, _)| prefix.prefix_len() == 0)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.teacher {
            Teacher::Dhcp => "lease",
            Teacher::Routers => "autoconfiguration",
        })?;
        for a in &self.addrs {
            write!(f, " {}/{}", a.addr, a.prefix_len)?;
        }
        for (prefix, gateway) in &self.routes {
            match gateway {
                Some(gateway) if prefix.prefix_len() == 0 => write!(f, " gateway {gateway}")?,
                Some(gateway) => write!(f, " route {prefix} {gateway}")?,
                None => write!(f, " route {prefix}")?,
            }
        }
        for addr in &self.nameservers {
            write!(f, " nameserver {addr}")?;
        }
        Ok(())
    }
}

/// All that was learned, by the names of interfaces.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Learned(BTreeMap<String, Vec<Source>>);

impl Learned {
    pub(crate) fn add(&mut self, name: &str, source: Source) {
        if !source.is_empty() {
            self.0.entry(name.into()).or_default().push(source);
        }
    }

    fn sources(&self) -> impl Iterator<Item = (&String, &Source)> {
        self.0
            .iter()
            .flat_map(|(name, sources)| sources.iter().map(move |s| (name, s)))
    }

    /// What is here and not in `other`.
    pub(crate) fn not_in<'a>(
        &'a self,
        other: &'a Learned,
    ) -> impl Iterator<Item = (&'a String, &'a Source)> {
        self.sources()
            .filter(|(name, source)| !other.sources().any(|o| o == (*name, *source)))
    }

    /// Name servers: those of the files first.
    pub(crate) fn nameservers(&self, configured: &[IpAddr]) -> Vec<IpAddr> {
        let mut all = configured.to_vec();
        for addr in self.sources().flat_map(|(_, s)| &s.nameservers) {
            if !all.contains(addr) {
                all.push(*addr);
            }
        }
        all
    }

    /// What is wanted on an interface that is up: a lease is of no use any more once the file does not ask for one.
    fn wanted<'a>(&'a self, name: &'a str, wants: &'a Wants) -> impl Iterator<Item = &'a Source> {
        let sources = self.0.get(name).into_iter().flatten();
        sources.filter(move |s| wants.teaches(name, s.teacher))
    }

    /// Gives interfaces the addresses that were learned on them, and the group of those that a default route leads
    /// through. An address that another interface has is left out: no server may take the box apart.
    pub(crate) fn lay_on(&self, interfaces: &mut [Interface], wants: &Wants) {
        for n in 0..interfaces.len() {
            let name = interfaces[n].name.to_string();
            if !interfaces[n].up {
                continue;
            }
            let needs_link_local = wants.speaks_inet6(&name);
            if needs_link_local && interfaces[n].link_local().is_none() {
                interfaces[n].addrs.push(IfAddr {
                    addr: interfaces[n].mac.link_local().into(),
                    prefix_len: 64,
                });
            }
            for source in self.wanted(&name, wants) {
                for a in &source.addrs {
                    let rdomain = interfaces[n].rdomain;
                    let owns = |i: &Interface| i.rdomain == rdomain && i.owns(a.addr);
                    if interfaces.iter().any(owns) {
                        log::warn!("{name}: {} is left out: the box has it already", a.addr);
                    } else {
                        interfaces[n].addrs.push(*a);
                    }
                }
                let interface = &mut interfaces[n];
                interface.mtu = interface.mtu.min(source.mtu.unwrap_or(u16::MAX));
                let egress = "egress";
                if source.is_default() && !interface.groups.iter().any(|g| g == egress) {
                    interface.groups.push(egress.into());
                }
            }
        }
    }

    /// The routes that were learned, each with the interface it was learned on.
    pub(crate) fn routes<'a>(
        &'a self,
        interfaces: &'a InterfaceTable,
        wants: &'a Wants,
    ) -> impl Iterator<Item = (StaticRoute, &'a Interface)> {
        let up = interfaces.iter().filter(|i| i.up);
        up.flat_map(move |i| {
            let routes = self.wanted(&i.name, wants).flat_map(|s| &s.routes);
            routes.map(move |(prefix, gateway)| {
                let target = match gateway {
                    Some(gateway) => Target::Neighbor(*gateway, i.id),
                    None => Target::Link(i.id),
                };
                let route = StaticRoute {
                    priority: PRIORITY_LEARNED,
                    ..StaticRoute::new(*prefix, target)
                };
                (route, i)
            })
        })
    }
}
