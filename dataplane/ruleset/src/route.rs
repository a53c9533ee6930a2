//! `route-to`, `reply-to` and `dup-to`: a rule chooses the next hop of a connection's packets.
//!
//! Read first: pf.conf(5), "ROUTING".

use alloc::vec::Vec;

use net::KifId;

use crate::pool::{Block, Pool};

/// Which packets of a connection take the way that a rule chose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RouteKind {
    /// `route-to`: those in the direction of the packet that made the state.
    RouteTo,
    /// `reply-to`: those in the other direction.
    ReplyTo,
    /// `dup-to`: copies of those in the direction of the first; the packets themselves go their way.
    DupTo,
}

/// The route option of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteOption {
    /// Which packets.
    pub kind: RouteKind,
    /// Next hops to choose from.
    pub pool: Pool,
    /// Interfaces that were named with a next hop, as in the old `(em0 192.0.2.1)`. The others are found by routing to
    /// the next hop.
    pub via: Vec<(Block, KifId)>,
    /// A next hop of the other family will do, too: `af-to`, `prefer-ipv6-nexthop` (RFC 8950 has the idea).
    pub any_family: bool,
    /// `prefer-ipv6-nexthop`: next hops of IPv6 come first.
    pub prefers_inet6: bool,
}

impl RouteOption {
    /// The interface that was named with this next hop.
    pub fn via(&self, next_hop: u128) -> Option<KifId> {
        let mut named = self.via.iter();
        let found = named.find(|(block, _)| block.low <= next_hop && next_hop <= block.high);
        found.map(|(_, kif)| *kif)
    }
}
