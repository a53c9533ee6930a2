//! `pass in` on a second uplink without `reply-to`: the answers leave by the default route, from the wrong address for that
//! provider, and are lost.
//!
//! An uplink is an interface with a way to the rest of the world: a default route leads through it (`mygate`, or
//! `!route add default` in a `hostname.IF` file), or some rule sends packets to a gateway in its network with `route-to`
//! or `reply-to`. The first default route of a family is the one that answers take; an uplink that is not on it needs
//! `reply-to`. Sources that are routed back through the interface anyway (its own networks and static routes) need none.

use std::collections::HashSet;
use std::net::IpAddr;

use ruleset::{Af, Direction};

use super::Lint;
use crate::ast::{ActionKind, RouteKind};
use crate::environment::{EnvInterface, EnvRoute, Known};
use crate::policy::{Addr, End, IfItemKind, Rule, Table};

/// A second way out.
struct Uplink<'a> {
    interface: &'a EnvInterface,
    af: Af,
    gateway: IpAddr,
    /// Name of the interface that the default route of the family leads through.
    default: &'a str,
}

pub(super) fn lint(lint: &mut Lint<'_, '_>, rules: &[Rule], tables: &[Table]) {
    let known = lint.known;
    let uplinks = uplinks(known, rules);
    if !uplinks.is_empty() {
        ruleset(lint, &uplinks, rules, tables);
    }
}

fn ruleset(lint: &mut Lint<'_, '_>, uplinks: &[Uplink<'_>], rules: &[Rule], tables: &[Table]) {
    let mut said = HashSet::new();
    for rule in rules {
        if let Some(body) = &rule.body {
            ruleset(lint, uplinks, body, tables);
        }
        let lost = |u: &&Uplink<'_>| answers_get_lost(lint.known, u, rule, tables);
        let Some(uplink) = uplinks.iter().find(lost).filter(|_| said.insert(rule.span)) else {
            continue;
        };
        let (name, default) = (&uplink.interface.name, uplink.default);
        let text = format!(
            "connections come in on {name}, but their answers leave by {default}, where the default route is"
        );
        let hint = format!("add: reply-to {}", uplink.gateway);
        lint.warn("no-reply-to", rule.span, text, hint);
    }
}

fn answers_get_lost(known: &Known<'_>, uplink: &Uplink<'_>, rule: &Rule, tables: &[Table]) -> bool {
    let lets_in = rule.action() == Some(ActionKind::Pass)
        && rule.direction == Some(Direction::In)
        && rule.keeps_state()
        && rule.route.is_none();
    let Some((IfItemKind::Name(name), false)) = &rule.on else {
        return false;
    };
    let members = known.members(name).unwrap_or_default();
    let here = members.iter().any(|m| m.name == uplink.interface.name);
    lets_in
        && here
        && rule.af.is_none_or(|af| af == uplink.af)
        && !comes_from_here(known, uplink, &rule.src, tables)
}

/// True if everything that the source may be is routed back through the uplink.
fn comes_from_here(known: &Known<'_>, uplink: &Uplink<'_>, src: &End, tables: &[Table]) -> bool {
    if src.not {
        return false;
    }
    let back = |addr: &Addr| routed_back(known, uplink, addr);
    match &src.addr {
        Addr::Table(name) => {
            let table = tables.iter().find(|t| t.name == *name);
            let entries = table.map(|t| t.entries.as_slice()).unwrap_or_default();
            !entries.is_empty() && entries.iter().all(|e| e.not || back(&e.addr))
        }
        Addr::Dynamic(dynamic) => {
            let members = known.members(&dynamic.name).unwrap_or_default();
            members.iter().all(|m| m.name == uplink.interface.name)
        }
        addr => back(addr),
    }
}

fn routed_back(known: &Known<'_>, uplink: &Uplink<'_>, addr: &Addr) -> bool {
    let (af, low, high) = match *addr {
        Addr::Masked { af, addr, bits } => (af, addr, last(af, addr, bits)),
        Addr::Range { af, low, high } => (af, low, high),
        _ => return false,
    };
    let inside = |net: IpAddr, bits: u8| {
        let (of, net) = number(net);
        let first = net & ruleset::table::prefix_mask(of, bits);
        of == af && bits > 0 && first <= low && high <= last(of, net, bits)
    };
    let interface = uplink.interface;
    let networks = interface.addresses.iter();
    let mut networks = networks.map(|a| (a.address, a.prefix_len));
    let routes = known.env.routes.iter();
    let mut routes = routes.filter(|r| through(known, r).is_some_and(|i| i.name == interface.name));
    networks.any(|(net, bits)| inside(net, bits)) || routes.any(|r| inside(r.dest, r.prefix_len))
}

fn last(af: Af, addr: u128, bits: u8) -> u128 {
    let all = ruleset::table::prefix_mask(af, af.bits());
    addr | (all & !ruleset::table::prefix_mask(af, bits))
}

fn number(addr: IpAddr) -> (Af, u128) {
    match addr {
        IpAddr::V4(a) => (Af::Inet, a.to_bits().into()),
        IpAddr::V6(a) => (Af::Inet6, a.to_bits()),
    }
}

/// The interface that a route leads through.
fn through<'a>(known: &Known<'a>, route: &EnvRoute) -> Option<&'a EnvInterface> {
    match &route.interface {
        Some(name) => known.interface(name),
        None => behind(known, route.gateway),
    }
}

/// The interface in whose network an address is.
fn behind<'a>(known: &Known<'a>, gateway: IpAddr) -> Option<&'a EnvInterface> {
    let (af, addr) = number(gateway);
    known.env.interfaces.iter().find(|interface| {
        interface.addresses.iter().any(|a| {
            let (of, net) = number(a.address);
            let mask = ruleset::table::prefix_mask(of, a.prefix_len);
            of == af && net != addr && net & mask == addr & mask
        })
    })
}

fn uplinks<'a>(known: &Known<'a>, rules: &[Rule]) -> Vec<Uplink<'a>> {
    let mut gateways: Vec<(IpAddr, Option<&EnvInterface>)> = known
        .env
        .routes
        .iter()
        .filter(|r| r.prefix_len == 0)
        .map(|r| (r.gateway, through(known, r)))
        .collect();
    let mut named = Vec::new();
    gateways_of_rules(rules, &mut named);
    gateways.extend(named.into_iter().map(|g| (g, behind(known, g))));
    let mut out: Vec<Uplink<'a>> = Vec::new();
    for af in [Af::Inet, Af::Inet6] {
        let of_family = |r: &&EnvRoute| r.prefix_len == 0 && number(r.gateway).0 == af;
        let first = known.env.routes.iter().find(of_family);
        let Some(default) = first.and_then(|r| through(known, r)) else {
            continue;
        };
        for (gateway, interface) in &gateways {
            let Some(interface) = interface.filter(|_| number(*gateway).0 == af) else {
                continue;
            };
            let seen = out
                .iter()
                .any(|u| u.af == af && u.interface.name == interface.name);
            if interface.name != default.name && !seen {
                out.push(Uplink {
                    interface,
                    af,
                    gateway: *gateway,
                    default: &default.name,
                });
            }
        }
    }
    out
}

/// Addresses after `route-to` and `reply-to`.
fn gateways_of_rules(rules: &[Rule], out: &mut Vec<IpAddr>) {
    for rule in rules {
        if let Some((RouteKind::Route | RouteKind::Reply, pool)) = &rule.route {
            out.extend(pool.hosts.iter().filter_map(|h| match h.addr {
                Addr::Masked {
                    af: Af::Inet, addr, ..
                } => Some(IpAddr::V4((addr as u32).into())),
                Addr::Masked {
                    af: Af::Inet6,
                    addr,
                    ..
                } => Some(IpAddr::V6(addr.into())),
                _ => None,
            }));
        }
        gateways_of_rules(rule.body.as_deref().unwrap_or_default(), out);
    }
}
