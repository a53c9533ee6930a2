//! `sticky-address`: as long as a source has states of a rule, it keeps the address that was chosen for it. The choice
//! lies in a source node that all cores share.
//!
//! Read first: pf.conf(5), "sticky-address".

use ruleset::{Af, Rule, RuleSlot};
use state::Hold;

use super::{Ends, PoolUse};
use crate::Core;
use crate::limit::nodes::{NodeKey, NodeKind, Redirect};
use crate::limit::take_sticky;
use crate::reason::Reason;

/// A source and the rule whose choice it keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stuck {
    slot: RuleSlot,
    af: Af,
    source: u128,
}

impl Stuck {
    /// The sender of a packet with these ends, under `rule`.
    pub(crate) fn new(rule: &Rule, ends: &Ends) -> Self {
        Stuck {
            slot: rule.slot,
            af: ends.af,
            source: ends.src.0,
        }
    }

    fn key(&self, usage: PoolUse) -> NodeKey {
        NodeKey {
            slot: self.slot,
            kind: match usage {
                PoolUse::Nat => NodeKind::Nat,
                PoolUse::Rdr => NodeKind::Rdr,
                PoolUse::Route => NodeKind::Route,
            },
            af: self.af,
            addr: self.source,
        }
    }

    /// What was chosen before.
    pub(crate) fn known(&self, core: &Core<'_>, usage: PoolUse) -> Option<u128> {
        let now_s = (core.now_ms / 1000) as u32;
        let redirect = core.shared.sources.redirect(&self.key(usage), now_s)?;
        (redirect.af == self.af).then_some(redirect.addr)
    }

    /// One more state that keeps the choice.
    pub(crate) fn keep(
        &self,
        core: &Core<'_>,
        usage: PoolUse,
        chosen: u128,
        hold: &mut Hold,
    ) -> Result<(), Reason> {
        let redirect = Redirect {
            af: self.af,
            addr: chosen,
            port: 0,
        };
        let key = self.key(usage);
        let node = take_sticky(core, &key, redirect)?;
        hold.nodes[key.kind as usize] = node.word();
        Ok(())
    }
}

/// Keeps what the rules chose for these ends.
#[inline]
pub(crate) fn keep(core: &Core<'_>, ends: &Ends, hold: &mut Hold) -> Result<(), Reason> {
    let [source, destination] = ends.sticky;
    if let Some(stuck) = source {
        stuck.keep(core, PoolUse::Nat, ends.src.0, hold)?;
    }
    if let Some(stuck) = destination {
        stuck.keep(core, PoolUse::Rdr, ends.dst.0, hold)?;
    }
    Ok(())
}
