//! Limits of rules on sources and rates, and the limiters that rules share.
//!
//! Read first: pf.conf(5), "Stateful Tracking Options", "State Limiters", "Source Limiters".

use alloc::string::String;

use crate::facts::Af;
use crate::table::{TableId, prefix_mask};

/// So many per so many seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PerSeconds {
    /// How many.
    pub limit: u32,
    /// Seconds, above 0.
    pub seconds: u32,
}

/// Which states go when a source is put into an overload table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Flush {
    /// Only the one at hand.
    #[default]
    No,
    /// `flush`: the source's states of the same rule.
    Rule,
    /// `flush global`: all states of the source.
    Global,
}

/// `overload <t> flush global`
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Overload {
    /// Where the source is put.
    pub table: TableId,
    /// What else happens.
    pub flush: Flush,
}

/// Limits for each source of a rule. 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SourceTrack {
    /// `max-src-nodes`: sources.
    pub max_nodes: u32,
    /// `max-src-states`: states of a source.
    pub max_states: u32,
    /// `max-src-conn`: completed TCP handshakes of a source.
    pub max_conn: u32,
    /// `max-src-conn-rate`: how often they come.
    pub conn_rate: Option<PerSeconds>,
    /// What happens to a source beyond one of the last two.
    pub overload: Option<Overload>,
}

/// A limiter in a rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LimiterUse {
    /// Which.
    pub id: u8,
    /// At the limit: true lets later rules decide, false drops the packet.
    pub no_match: bool,
}

/// Why a rule may stop matching.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RuleLimits {
    /// `once`: 0 without; else the number of the load of the rules it came with, so that it may match once after each.
    pub once: u32,
    /// `max-pkt-rate`
    pub max_pkt_rate: Option<PerSeconds>,
    /// `state limiter`
    pub state_limiter: Option<LimiterUse>,
    /// `source limiter`
    pub source_limiter: Option<LimiterUse>,
}

impl RuleLimits {
    /// True if the rule always matches what it matches.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.once == 0
            && self.max_pkt_rate.is_none()
            && self.state_limiter.is_none()
            && self.source_limiter.is_none()
    }
}

/// `state limiter`: states over all rules that name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateLimiter {
    /// Name.
    pub name: String,
    /// Number, from 1: what it counts survives a reload under this.
    pub id: u8,
    /// States.
    pub limit: u32,
    /// How often one may be made.
    pub rate: Option<PerSeconds>,
}

/// `table <t> above n below m` of a source limiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimiterTable {
    /// Where sources are put.
    pub table: TableId,
    /// With so many states.
    pub above: u32,
    /// And taken out again with fewer than so many; none: never.
    pub below: Option<u32>,
}

/// `source limiter`: states of each source over all rules that name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceLimiter {
    /// Name.
    pub name: String,
    /// Number, from 1.
    pub id: u8,
    /// Sources it tracks.
    pub entries: u32,
    /// States of a source.
    pub limit: u32,
    /// How often a source may make one.
    pub rate: Option<PerSeconds>,
    /// Bits of IPv4 addresses that make a source.
    pub mask4: u8,
    /// Bits of IPv6 addresses that make a source.
    pub mask6: u8,
    /// Table of the sources with many states.
    pub table: Option<LimiterTable>,
}

impl SourceLimiter {
    /// Bits that make a source.
    pub fn prefix_len(&self, af: Af) -> u8 {
        match af {
            Af::Inet => self.mask4,
            Af::Inet6 => self.mask6,
        }
    }

    /// The source that an address belongs to.
    pub fn source(&self, af: Af, addr: u128) -> u128 {
        addr & prefix_mask(af, self.prefix_len(af))
    }
}
