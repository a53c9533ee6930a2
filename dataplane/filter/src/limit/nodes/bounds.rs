//! What a source may grow to: states, connections, how often, and what it hears when that is too much.

use sync::Decay;

use super::key::NodeRef;

/// A token bucket: so many per so many seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenRate {
    /// Events.
    pub limit: u32,
    /// Seconds.
    pub seconds: u32,
}

/// When the bucket was empty, in microseconds since start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    pub(super) empty_us: u64,
    pub(super) used: bool,
}

impl Bucket {
    /// Takes a token if there is one: changes the bucket only then. A fresh bucket is full.
    pub fn take(&mut self, rate: TokenRate, now_us: u64) -> bool {
        let period = u64::from(rate.seconds) * 1_000_000;
        let token = period / u64::from(rate.limit.max(1));
        let full = now_us + 1_000_000_000_000 - period;
        let empty = if self.used {
            self.empty_us.max(full)
        } else {
            full
        };
        if now_us + 1_000_000_000_000 - empty < token {
            return false;
        }
        *self = Bucket {
            empty_us: empty + token,
            used: true,
        };
        true
    }

    /// True if a token could be taken.
    pub fn has(mut self, rate: TokenRate, now_us: u64) -> bool {
        self.take(rate, now_us)
    }
}

/// What a node may grow to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// Nodes of the rule or limiter; 0 is no limit.
    pub nodes: u32,
    /// States of the node; 0 is no limit.
    pub states: u32,
    /// New states of the node over time.
    pub rate: Option<TokenRate>,
    /// Nodes in all (`set limit src-nodes`).
    pub total: u32,
}

/// Why a source may not have another state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The source has as many states as it may.
    States,
    /// Too many new states in too short a time.
    Rate,
    /// The rule or limiter has as many sources as it may.
    Nodes,
    /// There are as many nodes as there may be.
    Total,
    /// The table is full.
    Full,
}

/// A state more for a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Its node.
    pub node: NodeRef,
    /// States of the node, this one included.
    pub states: u32,
    /// The node was made for it.
    pub new: bool,
}

/// A completed handshake more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connected {
    /// Connections now.
    pub conns: u32,
    /// How often connections come.
    pub rate: Decay,
}
