//! Would these rules let anybody reach the management API? Asked of every bundle before it is accepted; the answer is
//! a warning, because a box that is managed by its console alone is a legitimate wish.

use std::net::IpAddr;

use net::{Interface, RouteTable};
use ruleset::{Action, Af, Direction, Facts, Fragment, Routes, evaluate};
use worker::Config;

const PROTO_TCP: u8 = 6;
const SYN: u8 = 2;
/// Sources tried, per address; a box that lets in only the 257th prefix of its rules gets a warning in error.
const SOURCES_MAX: usize = 256;
/// A client's port.
const EPHEMERAL: u16 = 50_000;

/// The route table as rules ask it.
pub(crate) struct RoutesOf<'a>(pub &'a RouteTable);

impl Routes for RoutesOf<'_> {
    fn has_route(&self, af: Af, addr: u128) -> bool {
        self.0.lookup(ip(af, addr)).is_some()
    }
    fn reverse_path_ok(&self, _: Af, _: u128) -> bool {
        true
    }
}

fn ip(af: Af, addr: u128) -> IpAddr {
    match af {
        Af::Inet => std::net::Ipv4Addr::from_bits(addr as u32).into(),
        Af::Inet6 => std::net::Ipv6Addr::from_bits(addr).into(),
    }
}

/// Address as rules see it.
pub(crate) fn bits(addr: IpAddr) -> (Af, u128) {
    match addr {
        IpAddr::V4(a) => (Af::Inet, a.to_bits().into()),
        IpAddr::V6(a) => (Af::Inet6, a.to_bits()),
    }
}

/// True if a connection from somewhere to the API on one of the interfaces would pass. `wanted` says which interfaces
/// are for management.
pub(crate) fn is_reachable(
    config: &Config,
    api_port: u16,
    wanted: impl Fn(&Interface) -> bool,
) -> bool {
    let candidates = config
        .interfaces
        .iter()
        .filter(|i| i.up && !i.loopback && wanted(i));
    candidates
        .flat_map(|i| i.addrs.iter().map(move |a| (i, a.addr)))
        .any(|(interface, addr)| {
            let sources = sources(config, interface, addr);
            sources
                .into_iter()
                .any(|from| passes(config, interface, from, addr, api_port))
        })
}

/// Who might connect: everybody that a rule names, a neighbor, and somebody far away.
fn sources(config: &Config, interface: &Interface, to: IpAddr) -> Vec<u128> {
    let (af, _) = bits(to);
    let mut out = Vec::new();
    let near = interface
        .addrs
        .iter()
        .filter(|a| a.addr.is_ipv4() == to.is_ipv4());
    out.extend(near.map(|a| bits(a.addr).1 ^ 1));
    let far: IpAddr = match af {
        Af::Inet => std::net::Ipv4Addr::new(9, 9, 9, 9).into(),
        Af::Inet6 => std::net::Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe).into(),
    };
    out.push(bits(far).1);
    for rule in &config.ruleset.rules {
        if out.len() >= SOURCES_MAX {
            break;
        }
        match rule.src.addr {
            ruleset::AddrSpec::Masked { af: of, addr, mask } if of == af => {
                out.push(addr | (!mask & 1))
            }
            ruleset::AddrSpec::Range { af: of, low, .. } if of == af => out.push(low),
            ruleset::AddrSpec::Table(id) => {
                let entries = config
                    .ruleset
                    .table(id)
                    .map(|t| t.entries())
                    .unwrap_or_default();
                out.extend(
                    entries
                        .iter()
                        .filter(|e| e.af == af && !e.negate)
                        .map(|e| e.addr),
                );
            }
            _ => {}
        }
    }
    out.truncate(SOURCES_MAX);
    out
}

fn passes(config: &Config, interface: &Interface, src: u128, to: IpAddr, api_port: u16) -> bool {
    let (af, dst) = bits(to);
    let names = |skip: &ruleset::KifSet| {
        (0..net::KIF_MAX as u16).any(|n| {
            let kif = net::KifId(n);
            skip.contains(kif) && interface.kifs.contains(kif)
        })
    };
    if names(&config.ruleset.skip) {
        return true;
    }
    let facts = Facts {
        direction: Direction::In,
        on: interface.kifs,
        kif: net::KifId(interface.id.0),
        loopback: false,
        received_on: Some(interface.kifs),
        af,
        src,
        dst,
        proto: PROTO_TCP,
        src_port: EPHEMERAL,
        dst_port: api_port,
        tcp_flags: SYN,
        icmp_type: 0,
        icmp_code: 0,
        tos: 0,
        fragment: Fragment::No,
        unsolicited_reply: false,
        tag: ruleset::TagId::default(),
        dice: 0,
    };
    let found = evaluate(&config.ruleset, &facts, &RoutesOf(&config.routes), |_| ());
    let rule = found
        .rule
        .and_then(|nr| config.ruleset.rules.get(nr.0 as usize));
    rule.is_none_or(|rule| rule.action == Action::Pass)
}
