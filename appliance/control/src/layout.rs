//! From `hostname.*`, `mygate` and the ports that are there to interfaces, routes and names. What the files name and the
//! machine lacks is a warning: a bundle must still load when a card has died.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use net::{
    Domain, IfAddr, Interface, InterfaceId, InterfaceTable, KifSet, Kind, Prefix, RouteTable,
    RouteTables, StaticRoute, Target,
};
use netconf::environment::LOOPBACK;
use netconf::{InterfaceConfig, NetConfig, NextHop, Origin};
use pfconf::diag::{Diagnostic, Severity};

use crate::bridges::{self, Bridges, TreeWords};
use crate::layers::{Layers, station_of};
use crate::learning::{Learned, Wants};
use crate::machine::PortFacts;
use crate::numbers::{Full, Kifs, Tags};

/// Group that every interface is in.
pub(crate) const ALL: &str = "all";
/// Its MTU, as on OpenBSD.
const LOOPBACK_MTU: u16 = 32_768;

/// Interfaces and routes of one configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// Interfaces: one per port, `lo0`, and what stands on these.
    pub(crate) interfaces: InterfaceTable,
    /// Routes.
    pub(crate) routes: RouteTables,
    /// What is to be learned and told.
    pub(crate) wants: Wants,
    /// Ports whose MTU must be set: (port, bytes).
    pub(crate) mtus: Vec<(u16, u16)>,
    /// Spanning trees of bridges.
    pub(crate) trees: Vec<TreeWords>,
}

/// Lays a network configuration out on the ports there are. Names get their numbers from `kifs`.
pub(crate) fn lay_out(
    conf: &NetConfig,
    ports: &[PortFacts],
    learned: &Learned,
    kifs: &mut Kifs,
    tags: &mut Tags,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Layout> {
    let mut built = Vec::new();
    let mut mtus = Vec::new();
    let mut used = Vec::new();
    for (n, (port, name)) in ports.iter().zip(names(conf, ports)).enumerate() {
        let found = config_of(conf, port, diagnostics);
        used.extend(found.map(|c| c.name.clone()));
        let mtu = mtu_of(port, found, diagnostics);
        mtus.push((n as u16, mtu));
        let mac = wire::ether::Addr(port.mac);
        let mac = found.map_or(mac, |file| station_of(file, mac));
        let kind = Kind::Ethernet { port: n as u16 };
        built.push(described(conf, &name, kind, mac, mtu, found));
    }
    built.extend(loopbacks(conf, &mut used));
    let stacked = Layers {
        conf,
        built: &mut built,
        mtus: &mut mtus,
        kifs,
        diagnostics,
        used: &mut used,
    }
    .build();
    let bridged = Bridges {
        conf,
        built: &mut built,
        kifs,
        tags,
        diagnostics,
        used: &mut used,
    }
    .build();
    let missing = conf.interfaces.iter().filter(|c| !used.contains(&c.name));
    diagnostics.extend(missing.map(|file| missing_interface(file, ports)));
    let wants = wants(conf, ports, &built);
    learned.lay_on(&mut built, &wants);
    let stacked = stacked.and(bridged);
    if stacked.and_then(|()| number_names(&mut built, kifs)) == Err(Full) {
        let text = Full.to_string();
        diagnostics.push(Diagnostic::whole_file("too-many-names", "hostname", text));
        return None;
    }
    let interfaces = match InterfaceTable::build(built) {
        Ok(table) => table,
        Err(error) => {
            let text = error.to_string();
            diagnostics.push(Diagnostic::whole_file("bad-interfaces", "hostname", text));
            return None;
        }
    };
    let routes = routes(conf, &interfaces, learned, &wants, diagnostics);
    Some(Layout {
        trees: bridges::trees(conf, &interfaces),
        interfaces,
        routes,
        wants,
        mtus,
    })
}

pub(crate) fn at(origin: &Origin, code: &'static str, text: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        line: origin.line,
        ..Diagnostic::whole_file(code, &origin.file, text)
    }
}

fn missing_interface(file: &InterfaceConfig, ports: &[PortFacts]) -> Diagnostic {
    let what = match file.lladdr {
        Some(lladdr) => format!("card with the address {}", wire::ether::Addr(lladdr)),
        None => format!("interface '{}'", file.card.as_ref().unwrap_or(&file.name)),
    };
    let text = format!("this machine has no {what}; the file has no effect");
    let known = |port: &PortFacts| match file.lladdr {
        Some(_) => format!("{} {}", port.name, wire::ether::Addr(port.mac)),
        None => port.name.clone(),
    };
    let known: Vec<String> = ports.iter().map(known).collect();
    let mut warning = at(&file.origin, "missing-interface", text);
    warning.hint = Some(format!("there are: {}", known.join(" ")));
    warning
}

/// The file for a port: bound by station address first, by the driver's name otherwise.
fn config_of<'a>(
    conf: &'a NetConfig,
    port: &PortFacts,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<&'a InterfaceConfig> {
    let mut files = conf.interfaces.iter();
    let by_address = files.find(|c| c.lladdr == Some(port.mac));
    let mut files = conf.interfaces.iter().filter(|c| c.lladdr.is_none());
    let by_name = files.find(|c| *c.card.as_ref().unwrap_or(&c.name) == port.name);
    if let (Some(one), Some(two)) = (by_address, by_name) {
        let text = format!("{} is configured by {} already", port.name, one.origin.file);
        diagnostics.push(at(&two.origin, "configured-twice", text));
    }
    by_address.or(by_name)
}

/// What the cards are called: as their files say, or as their drivers do. A card whose driver's name was given to another
/// one gets the next number that is free.
fn names(conf: &NetConfig, ports: &[PortFacts]) -> Vec<String> {
    let given = |port| {
        let file = config_of(conf, port, &mut Vec::new()).filter(|file| file.is_renamed());
        file.map(|file| file.name.clone())
    };
    let mut names: Vec<Option<String>> = ports.iter().map(given).collect();
    for (at, port) in ports.iter().enumerate() {
        if names[at].is_none() {
            let free = |name: &String| !names.contains(&Some(name.clone()));
            let others = |name: &String| ports.iter().all(|other| other.name != *name);
            let driver = port.name.trim_end_matches(|c: char| c.is_ascii_digit());
            let next = || (0..=ports.len()).map(|n| format!("{driver}{n}"));
            let own = Some(port.name.clone()).filter(free);
            let name = own.or_else(|| next().find(|name| free(name) && others(name)));
            names[at] = name.or_else(|| Some(port.name.clone()));
        }
    }
    names.into_iter().flatten().collect()
}

/// What is to be learned and told, by the names that interfaces have here.
fn wants(conf: &NetConfig, ports: &[PortFacts], built: &[Interface]) -> Wants {
    let file_of = |interface: &Interface| {
        let port = interface.port().and_then(|n| ports.get(usize::from(n)));
        let by_port = port.and_then(|port| config_of(conf, port, &mut Vec::new()));
        by_port.or_else(|| conf.interface(&interface.name))
    };
    let files = built
        .iter()
        .filter_map(|i| Some((i.name.as_str(), file_of(i)?)));
    Wants::new(conf, files)
}

fn mtu_of(
    port: &PortFacts,
    conf: Option<&InterfaceConfig>,
    diagnostics: &mut Vec<Diagnostic>,
) -> u16 {
    let Some((conf, wanted)) = conf.and_then(|c| Some((c, c.mtu?))) else {
        return port.mtu;
    };
    if wanted <= port.mtu_max {
        return wanted;
    }
    let text = format!(
        "mtu {wanted} is more than {} of {}",
        port.mtu_max, port.name
    );
    let mut error = at(&conf.origin, "bad-mtu", text);
    error.severity = Severity::Error;
    diagnostics.push(error);
    port.mtu
}

/// An interface, as its file describes it.
pub(crate) fn described(
    conf: &NetConfig,
    name: &str,
    kind: Kind,
    mac: wire::ether::Addr,
    mtu: u16,
    found: Option<&InterfaceConfig>,
) -> Interface {
    let addresses = found.map(|c| c.addresses.as_slice()).unwrap_or_default();
    let addrs = addresses.iter().map(|a| IfAddr {
        addr: a.addr,
        prefix_len: a.prefix_len,
    });
    let mut built = Interface {
        id: InterfaceId::default(),
        name: name_of(name),
        kind,
        mac,
        mtu,
        up: found.is_some_and(|c| c.up),
        rdomain: found.map_or(0, |c| rtable(c.rdomain)),
        kifs: KifSet::EMPTY,
        addrs: addrs.collect(),
        groups: found.map(|c| conf.groups_of(name, c)).unwrap_or_default(),
        description: found
            .and_then(|c| c.description.clone())
            .unwrap_or_default(),
    };
    if found.is_some_and(|c| c.link_local) && !built.inet6() {
        built.addrs.push(IfAddr {
            addr: mac.link_local().into(),
            prefix_len: 64,
        });
    }
    built
}

/// `lo0`, which every box has, and those that files make. Addresses there are the box's whatever becomes of its links.
fn loopbacks(conf: &NetConfig, used: &mut Vec<String>) -> Vec<Interface> {
    let mut all = vec![loopback()];
    let files = conf.interfaces.iter();
    for file in files.filter(|file| file.kind == netconf::Kind::Loopback) {
        used.push(file.name.clone());
        let (mac, mtu) = (wire::ether::Addr::ZERO, file.mtu.unwrap_or(LOOPBACK_MTU));
        let mut made = described(conf, &file.name, Kind::Loopback, mac, mtu, Some(file));
        // Nobody is on the link.
        made.addrs
            .retain(|a| !matches!(a.addr, IpAddr::V6(a) if a.is_unicast_link_local()));
        if file.name == LOOPBACK {
            made.addrs.splice(0..0, all[0].addrs.drain(..));
            all[0] = made;
        } else {
            all.push(made);
        }
    }
    all
}

fn loopback() -> Interface {
    let addr = |addr: std::net::IpAddr, prefix_len| IfAddr { addr, prefix_len };
    Interface {
        id: InterfaceId::default(),
        name: name_of(LOOPBACK),
        kind: Kind::Loopback,
        mac: wire::ether::Addr([0; 6]),
        mtu: LOOPBACK_MTU,
        up: true,
        rdomain: 0,
        kifs: KifSet::EMPTY,
        addrs: vec![
            addr(std::net::Ipv4Addr::LOCALHOST.into(), 8),
            addr(std::net::Ipv6Addr::LOCALHOST.into(), 128),
        ],
        groups: vec!["lo".into()],
        description: String::new(),
    }
}

/// Names come from a driver's table and a number, so they fit; a longer one is cut rather than refused.
pub(crate) fn name_of(name: &str) -> net::Name {
    let mut out = net::Name::new();
    for c in name.chars() {
        if out.push(c).is_err() {
            break;
        }
    }
    out
}

/// An interface has the number of its name: what is kept by number from one configuration to the next means the same.
fn number_names(interfaces: &mut [Interface], kifs: &mut Kifs) -> Result<(), Full> {
    for interface in interfaces {
        let own = kifs.interface(&interface.name)?;
        interface.id = InterfaceId(own.0);
        interface.kifs.insert(own);
        let groups = interface.groups.iter().map(String::as_str);
        for name in groups.chain([ALL]) {
            interface.kifs.insert(kifs.group(name)?);
        }
    }
    Ok(())
}

/// Routes that the machine cannot have are left out with a warning, as a failing `route add` would be on BSD.
fn routes(
    conf: &NetConfig,
    interfaces: &InterfaceTable,
    learned: &Learned,
    wants: &Wants,
    diagnostics: &mut Vec<Diagnostic>,
) -> RouteTables {
    let mut labels = Vec::new();
    let priorities = interface_priorities(conf, interfaces);
    let priority = |id: InterfaceId| priorities.get(&id).copied().unwrap_or(0);
    let mut wanted = wanted_routes(conf, interfaces, &mut labels);
    let learned = learned.routes(interfaces, wants);
    wanted.extend(learned.map(|(route, interface)| Wanted {
        rtable: interface.rdomain,
        route,
        origin: Origin {
            file: format!("hostname.{}", interface.name),
            line: 0,
        },
    }));
    let domains: BTreeSet<u8> = interfaces.iter().map(|i| i.rdomain).collect();
    for wanted in &mut wanted {
        let rdomain = Some(wanted.rtable).filter(|n| domains.contains(n));
        // What says its priority means it.
        let usual = [net::route::PRIORITY_STATIC, net::route::PRIORITY_LEARNED];
        if usual.contains(&wanted.route.priority)
            && let Some(id) = interface_of(interfaces, rdomain.unwrap_or(0), &wanted.route)
        {
            wanted.route.priority = wanted.route.priority.saturating_add(priority(id));
        }
    }
    let numbers: BTreeSet<u8> = wanted.iter().map(|w| w.rtable).collect();
    let tables = numbers.union(&domains).map(|rtable| {
        // A table that is no domain's belongs to the first, as on OpenBSD.
        let domain = Domain {
            rtable: *rtable,
            rdomain: if domains.contains(rtable) { *rtable } else { 0 },
        };
        let of_table = wanted.iter().filter(|w| w.rtable == *rtable).cloned();
        let table = route_table(interfaces, domain, of_table.collect(), diagnostics);
        (domain, table)
    });
    let tables: Vec<(Domain, RouteTable)> = tables.collect();
    let of_interfaces = interface_labels(conf, interfaces, &mut labels);
    let label = |id: InterfaceId| of_interfaces.get(&id).copied().unwrap_or(0);
    let tables = tables.into_iter();
    let tables = tables.map(|(domain, table)| {
        let table = table.label_networks(label).with_priorities(priority);
        (domain, table)
    });
    RouteTables::new(tables.collect(), labels)
}

/// The file of an interface. What stands on a card has its station address, and not its file.
fn file_of<'a>(conf: &'a NetConfig, interface: &Interface) -> Option<&'a InterfaceConfig> {
    let mac = Some(interface.mac.0);
    let of_card = |c: &&InterfaceConfig| c.lladdr == mac && interface.port().is_some();
    let named = conf.interface(&interface.name);
    named.or_else(|| conf.interfaces.iter().find(of_card))
}

/// By interface the number of the label that its networks have.
fn interface_labels(
    conf: &NetConfig,
    interfaces: &InterfaceTable,
    labels: &mut Vec<String>,
) -> BTreeMap<InterfaceId, u16> {
    let of = |interface: &Interface| {
        let label = file_of(conf, interface)?.route_label.as_deref()?;
        Some((interface.id, label_number(Some(label), labels)))
    };
    interfaces.iter().filter_map(of).collect()
}

/// By interface how much worse routes over it are than others.
fn interface_priorities(
    conf: &NetConfig,
    interfaces: &InterfaceTable,
) -> BTreeMap<InterfaceId, u8> {
    let of = |interface: &Interface| Some((interface.id, file_of(conf, interface)?.priority?));
    interfaces.iter().filter_map(of).collect()
}

/// The interface that packets by a route leave by.
fn interface_of(
    interfaces: &InterfaceTable,
    rdomain: u8,
    route: &StaticRoute,
) -> Option<InterfaceId> {
    match route.target {
        Target::Gateway(_, Some(id)) | Target::Neighbor(_, id) | Target::Link(id) => Some(id),
        Target::Gateway(addr, None) => {
            let all = interfaces.iter().filter(|i| i.rdomain == rdomain);
            let networks = all.flat_map(|i| i.addrs.iter().map(move |a| (i, a)));
            let reached = networks.filter(|(_, a)| a.on_link(addr));
            let best = reached.max_by_key(|(i, a)| (i.up, a.prefix_len));
            best.map(|(i, _)| i.id)
        }
        Target::Blackhole | Target::Reject => None,
    }
}

fn route_table(
    interfaces: &InterfaceTable,
    domain: Domain,
    mut wanted: Vec<Wanted>,
    diagnostics: &mut Vec<Diagnostic>,
) -> RouteTable {
    // Each round takes out at least one route.
    loop {
        let statics: Vec<StaticRoute> = wanted.iter().map(|wanted| wanted.route).collect();
        let errors = match RouteTable::build_of(interfaces, domain, &statics) {
            Ok(table) => return table,
            Err(errors) => errors,
        };
        let mut bad: Vec<usize> = errors.iter().map(|e| e.position).collect();
        for error in &errors {
            if let Some(wanted) = wanted.get(error.position) {
                let text = format!("not in force: {error}");
                diagnostics.push(at(&wanted.origin, "no-such-route", text));
            }
        }
        bad.sort_unstable();
        bad.dedup();
        let before = wanted.len();
        for position in bad.into_iter().rev().filter(|p| *p < before) {
            wanted.remove(position);
        }
        if wanted.len() == before {
            return RouteTable::default();
        }
    }
}

/// A route that a file asks for.
#[derive(Clone)]
struct Wanted {
    rtable: u8,
    route: StaticRoute,
    origin: Origin,
}

/// The parser has refused larger numbers.
pub(crate) fn rtable(number: u16) -> u8 {
    u8::try_from(number).unwrap_or(net::RTABLE_MAX)
}

/// The number of a label, from 1; a new one gets the next.
fn label_number(label: Option<&str>, labels: &mut Vec<String>) -> u16 {
    let Some(label) = label else {
        return 0;
    };
    let known = labels.iter().position(|l| l == label);
    let place = known.unwrap_or_else(|| {
        labels.push(label.to_string());
        labels.len() - 1
    });
    u16::try_from(place + 1).unwrap_or(u16::MAX)
}

fn wanted_routes(
    conf: &NetConfig,
    interfaces: &InterfaceTable,
    labels: &mut Vec<String>,
) -> Vec<Wanted> {
    // A name that is no interface of this machine becomes a number that none has, which is then reported.
    let number = |name: &Option<String>| {
        let name = name.as_ref()?;
        Some(
            interfaces
                .by_name(name)
                .map_or(InterfaceId(u16::MAX), |i| i.id),
        )
    };
    let far_ends: Vec<(IpAddr, &Interface, &Origin)> = far_ends(conf, interfaces).collect();
    // The other end of a link is a neighbor, whatever network it is in.
    let to_gateway = |addr: IpAddr, on: Option<InterfaceId>| {
        let far = far_ends.iter().find(|(end, ..)| *end == addr);
        match far.filter(|_| on.is_none()) {
            Some((_, interface, _)) => Target::Neighbor(addr, interface.id),
            None => Target::Gateway(addr, on),
        }
    };
    let far = far_ends.iter().map(|(addr, interface, origin)| Wanted {
        rtable: interface.rdomain,
        route: StaticRoute::new(Prefix::host(*addr), Target::Link(interface.id)),
        origin: (*origin).clone(),
    });
    let gateways = conf.gateways.iter().map(|g| {
        let prefix = if g.addr.is_ipv4() {
            Prefix::DEFAULT4
        } else {
            Prefix::DEFAULT6
        };
        let target = to_gateway(g.addr, number(&g.interface));
        Wanted {
            rtable: 0,
            route: StaticRoute::new(prefix, target),
            origin: g.origin.clone(),
        }
    });
    let routes = conf.routes.iter().map(|r| {
        let target = match &r.hop {
            NextHop::Gateway { addr, interface } => to_gateway(*addr, number(interface)),
            NextHop::Blackhole => Target::Blackhole,
            NextHop::Reject => Target::Reject,
            NextHop::Interface(name) => {
                let found = interfaces.by_name(name);
                Target::Link(found.map_or(InterfaceId(u16::MAX), |i| i.id))
            }
        };
        let route = StaticRoute {
            prefix: Prefix::containing(r.dest, r.prefix_len),
            target,
            priority: r.priority,
            multipath: r.multipath,
            label: label_number(r.label.as_deref(), labels),
        };
        Wanted {
            rtable: rtable(r.table),
            route,
            origin: r.origin.clone(),
        }
    });
    far.chain(gateways).chain(routes).collect()
}

/// The other ends of point-to-point links (`dest`), each with its interface.
fn far_ends<'a>(
    conf: &'a NetConfig,
    interfaces: &'a InterfaceTable,
) -> impl Iterator<Item = (IpAddr, &'a Interface, &'a Origin)> {
    let of = |file: &'a InterfaceConfig| {
        let interface = interfaces.by_name(&file.name)?;
        let ends = file.addresses.iter();
        Some(ends.filter_map(move |a| Some((a.dest?, interface, &a.origin))))
    };
    conf.interfaces.iter().filter_map(of).flatten()
}

#[cfg(test)]
pub(crate) mod tests;
