//! Targets of translation and routing: hosts, tables and interfaces become blocks of addresses. `(if)` stands for the
//! addresses of this moment; the control core compiles again when they change.

use ruleset::{Af, Block, PoolKind, PortSet};

use super::Lowering;
use crate::ast;
use crate::policy::{Addr, Host, Pool};

/// fe80::/10: never the source of what leaves its link (RFC 4291 2.5.6).
const LINK_LOCAL: (u128, u128) = (0xfe80 << 112, 0xffc0 << 112);

impl Lowering<'_> {
    /// A pool of addresses of this family; of both if the rule has none.
    pub(super) fn pool(&mut self, pool: &Pool, af: Option<Af>) -> ruleset::Pool {
        let mut blocks: Vec<Block> = Vec::new();
        let mut table = None;
        for host in &pool.hosts {
            match &host.addr {
                Addr::Table(name) => table = self.table_id(name),
                _ => blocks.extend(self.blocks(host, af)),
            }
        }
        scale_weights(&mut blocks);
        let kind = match (pool.kind, blocks.as_slice()) {
            // A network for a network: binat-to, and whoever names one without saying how.
            (ast::PoolKind::None, [one]) if one.low != one.high => PoolKind::Bitmask,
            (given, _) => kind(given),
        };
        // Those that there are not have been refused.
        let port_set = pool
            .map_e
            .and_then(|(offset, length, id)| PortSet::new(offset, length, id));
        ruleset::Pool {
            blocks,
            table,
            kind,
            key: pool.key.unwrap_or_default(),
            sticky: pool.sticky,
            ports: pool.ports,
            endpoint_independent: pool.endpoint_independent,
            port_set,
        }
    }

    pub(super) fn blocks(&self, host: &Host, wanted: Option<Af>) -> Vec<Block> {
        let mut blocks = match &host.addr {
            Addr::Masked { af, addr, bits } => vec![Block::prefix(*af, *addr, *bits)],
            Addr::Range { af, low, high } => vec![Block {
                af: *af,
                low: *low,
                high: *high,
                weight: 1,
            }],
            Addr::Dynamic(dynamic) => crate::resolve::dynamic_entries(dynamic, self.known, wanted)
                .iter()
                .filter(|e| e.af == Af::Inet || e.addr & LINK_LOCAL.1 != LINK_LOCAL.0)
                .map(|e| Block::prefix(e.af, e.addr, e.prefix_len))
                .collect(),
            _ => Vec::new(),
        };
        blocks.retain(|b| wanted.is_none_or(|af| af == b.af));
        for block in &mut blocks {
            block.weight = host.weight.max(1);
        }
        blocks
    }
}

fn kind(kind: ast::PoolKind) -> PoolKind {
    match kind {
        ast::PoolKind::None => PoolKind::First,
        ast::PoolKind::Bitmask => PoolKind::Bitmask,
        ast::PoolKind::Random => PoolKind::Random,
        ast::PoolKind::SourceHash => PoolKind::SourceHash,
        ast::PoolKind::RoundRobin => PoolKind::RoundRobin,
        ast::PoolKind::LeastStates => PoolKind::LeastStates,
    }
}

/// Weights without a common divisor, and none above what the dataplane counts to.
fn scale_weights(blocks: &mut [Block]) {
    let gcd = |mut a: u16, mut b: u16| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let common = blocks.iter().fold(0, |all, b| gcd(all, b.weight)).max(1);
    let most = blocks.iter().map(|b| b.weight / common).max().unwrap_or(1);
    let scale = most.div_ceil(ruleset::pool::WEIGHT_MAX).max(1);
    for block in blocks {
        block.weight = (block.weight / common / scale).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_reduced_and_bounded() {
        for (given, expect) in [
            ([1, 1, 1], [1, 1, 1]),
            ([10, 20, 30], [1, 2, 3]),
            ([1, 512, 65535], [1, 2, 255]),
        ] {
            let mut blocks = given.map(|weight| Block {
                weight,
                ..Block::prefix(Af::Inet, 0, 32)
            });
            scale_weights(&mut blocks);
            assert_eq!(blocks.map(|b| b.weight), expect);
        }
    }
}
