//! Rulesets of the three shapes that packet classifiers are usually compared on, and headers that hit them.
//!
//! Read first: Taylor and Turner, "ClassBench: a packet classification benchmark" (INFOCOM 2005), for what tells access
//! lists (ACL), firewalls (FW) and lists of a host's own filter (IPC) apart. The shares here are set by hand after what is
//! said there of real lists; none of its parameter files is used.

use ruleset::table::prefix_mask;
use ruleset::{
    Action, AddrSpec, Af, BlockReply, Direction, Endpoint, Facts, PortOp, PortRange, Rule,
};
use simnic::rng::Rng;

/// A shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Anybody to some servers and networks; destinations nest, sources are wide.
    Acl,
    /// Both ends often open, ranges of ports, many rules that cover many packets.
    Fw,
    /// Pairs of hosts and networks that may talk to each other.
    Ipc,
}

/// What has a name in the tables.
pub(crate) const SHAPES: [(&str, Shape); 3] =
    [("ACL", Shape::Acl), ("FW", Shape::Fw), ("IPC", Shape::Ipc)];

/// Ports that lists open most.
const SERVICES: [u16; 16] = [
    80, 443, 22, 25, 53, 110, 123, 143, 161, 389, 445, 993, 1433, 3306, 3389, 8080,
];

/// In a thousand: how often a field is asked for, and how.
struct Shares {
    src_any: u64,
    dst_any: u64,
    /// Of the prefixes, those of a single host.
    host: u64,
    src_port: u64,
    /// A single destination port; a range of them; the rest ask for none.
    dst_port: u64,
    dst_range: u64,
}

impl Shape {
    fn shares(self) -> Shares {
        let of = |src_any, dst_any, host, src_port, dst_port, dst_range| Shares {
            src_any,
            dst_any,
            host,
            src_port,
            dst_port,
            dst_range,
        };
        match self {
            Shape::Acl => of(550, 30, 500, 0, 750, 80),
            Shape::Fw => of(350, 350, 300, 150, 500, 250),
            Shape::Ipc => of(100, 100, 450, 80, 450, 100),
        }
    }

    /// So many rules; the first blocks everything, and the last match decides.
    pub(crate) fn rules(self, count: usize, rng: &mut Rng) -> Vec<Rule> {
        let shares = self.shares();
        let rule = |rng: &mut Rng| self.rule(&shares, rng);
        let block = Rule::new(Action::Block(BlockReply::Drop));
        let rest = (1..count).map(|_| rule(rng));
        core::iter::once(block).chain(rest).collect()
    }

    fn rule(self, shares: &Shares, rng: &mut Rng) -> Rule {
        let action = match rng.below(4) {
            0 => Action::Block(BlockReply::Drop),
            _ => Action::Pass,
        };
        let mut rule = Rule::new(action);
        rule.direction = Some(Direction::In);
        rule.af = Some(Af::Inet);
        rule.proto = [Some(6), Some(6), Some(6), Some(17), Some(17), None][rng.below(6) as usize];
        rule.src = end(rng, shares.src_any, shares.host, 0x2000_0000);
        rule.dst = end(rng, shares.dst_any, shares.host, 0x0a00_0000);
        if rule.proto.is_some() {
            if rng.below(1000) < shares.src_port {
                rule.src.port = Some(range(1024, u16::MAX));
            }
            let dice = rng.below(1000);
            let low = 1024 + rng.below(30_000) as u16;
            rule.dst.port = match dice {
                _ if dice < shares.dst_port => Some(single(rng)),
                _ if dice < shares.dst_port + shares.dst_range => {
                    Some(range(low, low + rng.below(2000) as u16))
                }
                _ => None,
            };
        }
        rule
    }
}

fn single(rng: &mut Rng) -> PortRange {
    let a = match rng.below(10) {
        0..7 => SERVICES[rng.below(16) as usize],
        _ => 1024 + rng.below(20_000) as u16,
    };
    PortRange {
        op: PortOp::Eq,
        a,
        b: 0,
    }
}

fn range(a: u16, b: u16) -> PortRange {
    PortRange {
        op: PortOp::Range,
        a,
        b,
    }
}

/// Hosts and networks of 64 sites, so that prefixes nest.
fn end(rng: &mut Rng, any: u64, host: u64, base: u32) -> Endpoint {
    if rng.below(1000) < any {
        return Endpoint::default();
    }
    let bits = match rng.below(1000) {
        dice if dice < host => 32,
        _ => [16, 20, 22, 24, 24, 24, 26, 28, 30][rng.below(9) as usize],
    };
    let addr = base | (rng.below(64) as u32) << 16 | rng.below(1 << 16) as u32;
    let mask = prefix_mask(Af::Inet, bits);
    Endpoint {
        addr: AddrSpec::Masked {
            af: Af::Inet,
            addr: u128::from(addr) & mask,
            mask,
        },
        ..Endpoint::default()
    }
}

/// Packets, each of them inside of some rule.
pub(crate) fn packets(rules: &[Rule], count: usize, rng: &mut Rng) -> Vec<Facts> {
    let of = |rng: &mut Rng| packet(&rules[rng.below(rules.len() as u64) as usize], rng);
    (0..count).map(|_| of(rng)).collect()
}

fn packet(rule: &Rule, rng: &mut Rng) -> Facts {
    let addr = |rng: &mut Rng, end: &Endpoint| match end.addr {
        AddrSpec::Masked { addr, mask, .. } => {
            addr | u128::from(rng.next_u64() as u32) & !mask & 0xffff_ffff
        }
        _ => u128::from(rng.next_u64() as u32),
    };
    let port = |rng: &mut Rng, end: &Endpoint| match end.port {
        Some(PortRange {
            op: PortOp::Range,
            a,
            b,
        }) => a + rng.below(u64::from(b - a) + 1) as u16,
        Some(PortRange { a, .. }) => a,
        None => 1024 + rng.below(60_000) as u16,
    };
    Facts {
        src: addr(rng, &rule.src),
        dst: addr(rng, &rule.dst),
        proto: rule.proto.unwrap_or(6),
        src_port: port(rng, &rule.src),
        dst_port: port(rng, &rule.dst),
        tcp_flags: 2,
        ..Facts::default()
    }
}
