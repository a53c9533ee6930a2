//! Routes: where a packet for an address goes.
//!
//! Read first: RFC 1812 section 5.2.4 (next hop by longest match), route(8). Built whole from the
//! interface table and the static routes on the control core, immutable, published with them.
//! Knows no neighbors: whether a gateway answers is another matter.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::domain::Domain;
use crate::interface::{Interface, InterfaceId, InterfaceTable, Name};
pub use crate::prefix::{Prefix, PrefixSyntax};
use crate::trie::{Item, Trie};

/// Most routes of a table. A full Internet table has a fifth of a million IPv6 and a million IPv4
/// prefixes; at about 5 bytes each they fit, but there is no routing protocol here to bring them.
pub const ROUTES_MAX: usize = 1 << 20;

/// Most ways that share one prefix.
pub const WAYS_MAX: usize = 16;

/// Priority of a static route if nothing else is said (OpenBSD: RTP_STATIC). Lower is better.
pub const PRIORITY_STATIC: u8 = 8;

/// Priority of a route that was learned from a link (OpenBSD: RTP_DEFAULT): what the administrator wrote is better.
pub const PRIORITY_LEARNED: u8 = 56;

/// What a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// The network of an interface's address: destinations are neighbors.
    Connected,
    /// Configured: destinations are behind the gateway.
    Static,
    /// An address of ours: packets go to the local host.
    Local,
    /// Packets are dropped silently.
    Blackhole,
    /// Packets are dropped and the sender gets an ICMP error.
    Reject,
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Destinations it is for.
    pub prefix: Prefix,
    /// The neighbor to send to; none where the destination itself is the neighbor.
    pub gateway: Option<IpAddr>,
    /// The interface to send from. Meaningless for `Blackhole` and `Reject`.
    pub interface: InterfaceId,
    /// What it is.
    pub kind: RouteKind,
    /// Number of its label among those of the tables, from 1; 0 is none.
    pub label: u16,
    /// Of several routes for one prefix the one with the lowest is used. 1 for our own addresses, 4 for connected
    /// networks.
    pub priority: u8,
    /// How many routes, from this one on, share its prefix and are equally good; 1 for a route alone. Only the first of
    /// them says so, the others say 1.
    pub ways: u8,
    /// Its interface is configured up, so that it may be used.
    pub up: bool,
    /// The link of its interface is there, as far as anybody has said. A route without is used if there is no other for its
    /// prefix.
    pub link: bool,
    /// Whether it takes part in lookups. A route over an interface that is down does not, nor does
    /// a static route for a network that is connected.
    pub active: bool,
}

/// Where a static route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To a neighbor. A link-local gateway needs the interface (`fe80::1%em0`); others may name it.
    Gateway(IpAddr, Option<InterfaceId>),
    /// To a neighbor on the link of this interface, in whatever network it is: whoever gave us the address said so.
    Neighbor(IpAddr, InterfaceId),
    /// To whoever is on the link of the interface: destinations are neighbors.
    Link(InterfaceId),
    /// Nowhere, silently.
    Blackhole,
    /// Nowhere, with an ICMP error.
    Reject,
}

/// A route as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticRoute {
    /// Destinations it is for.
    pub prefix: Prefix,
    /// Where it leads.
    pub target: Target,
    /// Number of its label among those of the tables, from 1; 0 is none.
    pub label: u16,
    /// Of several routes for one prefix the one with the lowest is used.
    pub priority: u8,
    /// It may share its prefix and priority with others that are marked so: each connection keeps to one of them.
    pub multipath: bool,
}

impl StaticRoute {
    /// The only route for its prefix, with the usual priority.
    pub const fn new(prefix: Prefix, target: Target) -> StaticRoute {
        StaticRoute {
            prefix,
            target,
            priority: PRIORITY_STATIC,
            multipath: false,
            label: 0,
        }
    }
}

/// What is wrong with a static route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteError {
    /// Position in the list given to [`RouteTable::build`].
    pub position: usize,
    /// The route's prefix.
    pub prefix: Prefix,
    /// What is wrong.
    pub problem: RouteProblem,
}

/// What can be wrong with a static route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteProblem {
    /// The gateway is in no network of any interface, or not of the one named.
    UnreachableGateway(IpAddr),
    /// The gateway is an address of ours on this interface.
    OwnGateway(IpAddr, Name),
    /// The gateway is link-local and no interface is named.
    NeedsInterface(IpAddr),
    /// The named interface does not exist.
    NoInterface,
    /// Destination and gateway are of different families.
    MixedFamilies(IpAddr),
    /// The gateway is not the address of one host.
    BadGateway(IpAddr),
    /// An earlier static route is for the same prefix with the same priority, and not both are marked multipath.
    Duplicate,
    /// More than [`WAYS_MAX`] equally good routes.
    TooManyWays,
    /// More than [`ROUTES_MAX`] routes.
    TooMany,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route to {}: ", self.prefix)?;
        match &self.problem {
            RouteProblem::UnreachableGateway(gateway) => {
                write!(f, "gateway {gateway} is in no network of an interface")
            }
            RouteProblem::OwnGateway(gateway, name) => {
                write!(f, "gateway {gateway} is an address of {name} itself")
            }
            RouteProblem::NeedsInterface(gateway) => {
                write!(
                    f,
                    "link-local gateway {gateway} needs an interface, as in {gateway}%em0"
                )
            }
            RouteProblem::NoInterface => f.write_str("no such interface"),
            RouteProblem::MixedFamilies(gateway) => {
                write!(f, "gateway {gateway} is of the other address family")
            }
            RouteProblem::BadGateway(gateway) => {
                write!(f, "gateway {gateway} is not the address of one host")
            }
            RouteProblem::Duplicate => f.write_str("there is another route to it"),
            RouteProblem::TooManyWays => write!(f, "more than {WAYS_MAX} equally good routes"),
            RouteProblem::TooMany => write!(f, "more than {ROUTES_MAX} routes"),
        }
    }
}

impl core::error::Error for RouteError {}

/// All routes, and the longest match among those that are active.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    trie4: Trie,
    trie6: Trie,
}

impl RouteTable {
    /// Makes routes of the addresses of `interfaces` and of `statics`, or says everything that is
    /// wrong with the static ones.
    pub fn build(
        interfaces: &InterfaceTable,
        statics: &[StaticRoute],
    ) -> Result<RouteTable, Vec<RouteError>> {
        RouteTable::build_of(interfaces, Domain::MAIN, statics)
    }

    /// The same for any table of any routing domain.
    pub fn build_of(
        interfaces: &InterfaceTable,
        domain: Domain,
        statics: &[StaticRoute],
    ) -> Result<RouteTable, Vec<RouteError>> {
        let mut routes = match domain.is_own_table() {
            true => interface_routes(interfaces, domain.rdomain),
            false => Vec::new(),
        };
        let mut errors = Vec::new();
        let mut seen = Vec::with_capacity(statics.len());
        for (position, route) in statics.iter().enumerate() {
            seen.push((route.prefix, route.priority, position));
            match static_route(interfaces, domain.rdomain, route) {
                Ok(route) => routes.push(route),
                Err(problem) => errors.push(RouteError {
                    position,
                    prefix: route.prefix,
                    problem,
                }),
            }
        }
        errors.extend(duplicates(seen, statics));
        if routes.len() > ROUTES_MAX {
            let (position, prefix) = (statics.len() - 1, statics[statics.len() - 1].prefix);
            errors.push(RouteError {
                position,
                prefix,
                problem: RouteProblem::TooMany,
            });
        }
        if !errors.is_empty() {
            errors.sort_by_key(|error| error.position);
            return Err(errors);
        }
        Ok(RouteTable::index(routes))
    }

    /// Gives the routes to an interface's own networks and addresses the label that `of` says (`rtlabel` of
    /// ifconfig(8)); 0 is none.
    pub fn label_networks(mut self, of: impl Fn(InterfaceId) -> u16) -> RouteTable {
        let is_own = |r: &&mut Route| matches!(r.kind, RouteKind::Connected | RouteKind::Local);
        for route in self.routes.iter_mut().filter(is_own) {
            route.label = of(route.interface);
        }
        self
    }

    /// Makes the routes to an interface's own networks worse by what `of` says (`priority` of ifconfig(8)).
    pub fn with_priorities(mut self, of: impl Fn(InterfaceId) -> u8) -> RouteTable {
        let connected = |r: &&mut Route| r.kind == RouteKind::Connected;
        for route in self.routes.iter_mut().filter(connected) {
            route.priority = priority(route.kind).saturating_add(of(route.interface));
        }
        RouteTable::index(self.routes)
    }

    /// Whether some prefix has several routes that may be used: only there does it matter which links are there.
    pub fn has_choices(&self) -> bool {
        let choice = |pair: &[Route]| pair[0].prefix == pair[1].prefix && pair[0].up && pair[1].up;
        self.routes.windows(2).any(choice)
    }

    /// The same routes where only the links of these interfaces are there: of several routes for one prefix those go before
    /// the others, whatever their priority, as routes follow the state of links on OpenBSD. A prefix without any such route
    /// keeps the one that it has: its packets must not take a way that is meant for others. Our own addresses and routes
    /// that lead nowhere need no link. To be called on the table as it was built.
    pub fn with_links(&self, is_there: impl Fn(InterfaceId) -> bool) -> RouteTable {
        let mut routes = self.routes.clone();
        for route in &mut routes {
            route.link = !route.needs_link() || is_there(route.interface);
        }
        RouteTable::index(routes)
    }

    /// Sorts by prefix and, for equal prefixes, by link and priority; the best ones that may be used are looked up.
    fn index(mut routes: Vec<Route>) -> RouteTable {
        routes.sort_by_key(|r| {
            let prefix = (r.prefix.addr(), r.prefix.prefix_len());
            (prefix, !r.up, !r.link, r.priority)
        });
        for route in &mut routes {
            (route.active, route.ways) = (route.up, 1);
        }
        let mut first = 0;
        for n in 1..routes.len() {
            let (best, this) = (routes[first], routes[n]);
            if best.prefix != this.prefix {
                first = n;
            } else if best.is_as_good_as(&this) {
                // Statics that are as good as one another have been checked; of all others the first is used.
                match (best.kind, this.kind) {
                    (RouteKind::Static, RouteKind::Static) => routes[first].ways += 1,
                    _ => routes[n].active = false,
                }
            } else {
                routes[n].active = false;
            }
        }
        let (mut items4, mut items6) = (Vec::new(), Vec::new());
        let mut skip = 0;
        for (value, route) in routes.iter().enumerate().filter(|(_, r)| r.active) {
            // The others of several ways are found by the first.
            if skip > 0 {
                skip -= 1;
                continue;
            }
            skip = route.ways - 1;
            let (len, value) = (route.prefix.prefix_len(), value as u32);
            match route.prefix.addr() {
                IpAddr::V4(addr) => items4.push(Item {
                    key: addr.to_bits(),
                    len,
                    value,
                }),
                IpAddr::V6(addr) => items6.push(Item {
                    key: addr.to_bits(),
                    len,
                    value,
                }),
            }
        }
        RouteTable {
            routes,
            trie4: Trie::build(items4),
            trie6: Trie::build(items6),
        }
    }

    /// The route for an IPv4 destination: the longest prefix.
    #[inline]
    pub fn lookup4(&self, dst: Ipv4Addr) -> Option<&Route> {
        self.routes.get(self.trie4.lookup(dst.to_bits())? as usize)
    }

    /// The route for an IPv6 destination: the longest prefix. Link-local destinations have none:
    /// who sends to one names the interface.
    #[inline]
    pub fn lookup6(&self, dst: Ipv6Addr) -> Option<&Route> {
        self.routes.get(self.trie6.lookup(dst.to_bits())? as usize)
    }

    /// The route for a destination of either family.
    #[inline]
    pub fn lookup(&self, dst: IpAddr) -> Option<&Route> {
        match dst {
            IpAddr::V4(dst) => self.lookup4(dst),
            IpAddr::V6(dst) => self.lookup6(dst),
        }
    }

    /// The way of `route` for a flow: always the same one for the same `flow`, which is any number that all packets of it
    /// share. When a way goes or comes, only the flows that were on it, or are on it now, move.
    #[inline]
    pub fn way<'a>(&'a self, route: &'a Route, flow: impl FnOnce() -> u32) -> &'a Route {
        if route.ways <= 1 {
            return route;
        }
        let flow = flow();
        let score = |way: &&Route| mix(flow ^ way.identity());
        self.ways(route).iter().max_by_key(score).unwrap_or(route)
    }

    /// All ways of a route that was looked up.
    pub fn ways(&self, route: &Route) -> &[Route] {
        let same = |r: &Route| {
            (r.prefix.addr(), r.prefix.prefix_len())
                < (route.prefix.addr(), route.prefix.prefix_len())
        };
        let first = self.routes.partition_point(same);
        let rest = self.routes.get(first..).unwrap_or_default();
        let ways = rest.first().map_or(0, |first| usize::from(first.ways));
        rest.get(..ways).unwrap_or_default()
    }

    /// All routes, active or not, sorted by prefix, IPv4 first.
    pub fn iter(&self) -> core::slice::Iter<'_, Route> {
        self.routes.iter()
    }
}

impl<'a> IntoIterator for &'a RouteTable {
    type Item = &'a Route;
    type IntoIter = core::slice::Iter<'a, Route>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Route {
    /// Whether packets by it leave by a link.
    pub fn needs_link(&self) -> bool {
        matches!(self.kind, RouteKind::Connected | RouteKind::Static)
    }

    fn is_as_good_as(&self, other: &Route) -> bool {
        let rank = |r: &Route| (r.active, r.link, r.priority);
        self.active && rank(self) == rank(other)
    }

    /// A number for where it leads: the same in every table.
    fn identity(&self) -> u32 {
        let gateway = match self.gateway {
            Some(IpAddr::V4(addr)) => addr.to_bits(),
            Some(IpAddr::V6(addr)) => {
                let bits = addr.to_bits();
                (bits ^ bits >> 32 ^ bits >> 64 ^ bits >> 96) as u32
            }
            None => 0,
        };
        mix(gateway ^ u32::from(self.interface.0) << 16)
    }
}

/// Spreads a number over all bits (the finalizer of MurmurHash3).
fn mix(mut n: u32) -> u32 {
    n ^= n >> 16;
    n = n.wrapping_mul(0x85eb_ca6b);
    n ^= n >> 13;
    n = n.wrapping_mul(0xc2b2_ae35);
    n ^ n >> 16
}

/// Priorities of the box's own routes, as OpenBSD has them (RTP_LOCAL, RTP_CONNECTED).
fn priority(kind: RouteKind) -> u8 {
    match kind {
        RouteKind::Local => 1,
        RouteKind::Connected => 4,
        RouteKind::Static | RouteKind::Blackhole | RouteKind::Reject => PRIORITY_STATIC,
    }
}

/// Local and connected routes. Link-local prefixes get none: the same prefix is on every link.
fn interface_routes(interfaces: &InterfaceTable, rdomain: u8) -> Vec<Route> {
    let mut routes = Vec::new();
    for interface in interfaces.iter().filter(|i| i.rdomain == rdomain) {
        for a in &interface.addrs {
            if matches!(a.addr, IpAddr::V6(addr) if addr.is_unicast_link_local()) {
                continue;
            }
            let mut add = |prefix, kind| {
                routes.push(Route {
                    prefix,
                    gateway: None,
                    interface: interface.id,
                    kind,
                    label: 0,
                    priority: priority(kind),
                    ways: 1,
                    up: interface.up,
                    link: true,
                    active: interface.up,
                });
            };
            add(Prefix::host(a.addr), RouteKind::Local);
            if !a.network().is_host() {
                add(a.network(), RouteKind::Connected);
            }
        }
    }
    routes
}

fn static_route(
    interfaces: &InterfaceTable,
    rdomain: u8,
    route: &StaticRoute,
) -> Result<Route, RouteProblem> {
    let (gateway, interface, kind, active) = match route.target {
        Target::Gateway(gateway, named) => {
            let interface = gateway_interface(interfaces, rdomain, route.prefix, gateway, named)?;
            (Some(gateway), interface.id, RouteKind::Static, interface.up)
        }
        Target::Neighbor(gateway, id) => {
            let interface = interfaces.get(id).ok_or(RouteProblem::NoInterface)?;
            check_gateway(route.prefix, gateway)?;
            if let Some(owner) = owner(interfaces, rdomain, gateway, None) {
                return Err(RouteProblem::OwnGateway(gateway, owner.name.clone()));
            }
            (Some(gateway), interface.id, RouteKind::Static, interface.up)
        }
        Target::Link(id) => {
            let interface = interfaces.get(id).ok_or(RouteProblem::NoInterface)?;
            (None, interface.id, RouteKind::Static, interface.up)
        }
        Target::Blackhole => (None, InterfaceId::default(), RouteKind::Blackhole, true),
        Target::Reject => (None, InterfaceId::default(), RouteKind::Reject, true),
    };
    Ok(Route {
        prefix: route.prefix,
        gateway,
        interface,
        kind,
        label: route.label,
        priority: route.priority,
        ways: 1,
        up: active,
        link: true,
        active,
    })
}

/// The interface on whose link the gateway is. Interfaces that are down count too: bringing one down
/// must not make the configuration invalid.
fn gateway_interface(
    interfaces: &InterfaceTable,
    rdomain: u8,
    prefix: Prefix,
    gateway: IpAddr,
    named: Option<InterfaceId>,
) -> Result<&Interface, RouteProblem> {
    check_gateway(prefix, gateway)?;
    let named = match named {
        Some(id) => {
            let named = interfaces.get(id).filter(|i| i.rdomain == rdomain);
            Some(named.ok_or(RouteProblem::NoInterface)?)
        }
        None => None,
    };
    let scoped = matches!(gateway, IpAddr::V6(addr) if addr.is_unicast_link_local());
    if let Some(owner) = owner(interfaces, rdomain, gateway, named.filter(|_| scoped)) {
        return Err(RouteProblem::OwnGateway(gateway, owner.name.clone()));
    }
    match (scoped, named) {
        (true, None) => Err(RouteProblem::NeedsInterface(gateway)),
        (true, Some(interface)) => Ok(interface),
        (false, named) => on_link(interfaces, rdomain, gateway, named)
            .ok_or(RouteProblem::UnreachableGateway(gateway)),
    }
}

fn check_gateway(prefix: Prefix, gateway: IpAddr) -> Result<(), RouteProblem> {
    if prefix.addr().is_ipv4() != gateway.is_ipv4() {
        return Err(RouteProblem::MixedFamilies(gateway));
    }
    if gateway.is_unspecified() || gateway.is_multicast() || gateway.is_loopback() {
        return Err(RouteProblem::BadGateway(gateway));
    }
    Ok(())
}

/// Who has the gateway's address: any interface, or for link-local addresses the one named.
fn owner<'a>(
    interfaces: &'a InterfaceTable,
    rdomain: u8,
    gateway: IpAddr,
    scope: Option<&'a Interface>,
) -> Option<&'a Interface> {
    match scope {
        Some(interface) => Some(interface).filter(|i| i.owns(gateway)),
        None => interfaces
            .iter()
            .filter(|i| i.rdomain == rdomain)
            .find(|i| {
                matches!(gateway, IpAddr::V4(_)) && i.owns(gateway)
                    || interfaces.local(rdomain, gateway) == Some(i.id)
            }),
    }
}

/// The interface with the longest network that contains the gateway; up before down.
fn on_link<'a>(
    interfaces: &'a InterfaceTable,
    rdomain: u8,
    gateway: IpAddr,
    named: Option<&Interface>,
) -> Option<&'a Interface> {
    interfaces
        .iter()
        .filter(|i| {
            i.rdomain == rdomain && !i.is_loopback() && named.is_none_or(|named| named.id == i.id)
        })
        .flat_map(|i| i.addrs.iter().map(move |a| (i, a)))
        .filter(|(_, a)| a.on_link(gateway))
        .max_by_key(|(i, a)| (i.up, a.prefix_len))
        .map(|(i, _)| i)
}

/// Errors for all but the first of the routes that are for the same prefix with the same priority, unless they share it.
fn duplicates(
    mut seen: Vec<(Prefix, u8, usize)>,
    statics: &[StaticRoute],
) -> impl Iterator<Item = RouteError> {
    seen.sort_unstable();
    let mut first = 0;
    (1..seen.len()).filter_map(move |n| {
        let (prefix, priority, position) = seen[n];
        if (seen[first].0, seen[first].1) != (prefix, priority) {
            first = n;
            return None;
        }
        let (before, this) = (&statics[seen[first].2], &statics[position]);
        let again = seen[first..n]
            .iter()
            .any(|(.., p)| statics[*p].target == this.target);
        let problem = match before.multipath && this.multipath && !again {
            true if n - first < WAYS_MAX => return None,
            true => RouteProblem::TooManyWays,
            false => RouteProblem::Duplicate,
        };
        Some(RouteError {
            position,
            prefix,
            problem,
        })
    })
}

#[cfg(test)]
mod tests;
