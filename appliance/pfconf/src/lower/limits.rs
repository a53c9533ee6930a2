//! Limits of rules: source tracking, limiters, packet rates, `once`.

use ruleset::{
    Flush, LimiterTable, LimiterUse, Overload, PerSeconds, RuleLimits, SourceLimiter, SourceTrack,
};

use super::Lowering;
use crate::ast::{self, LimiterRef};
use crate::limiters::Limiters;
use crate::policy::{Rule, StateOpts};

fn per_seconds((limit, seconds): (u32, u32)) -> PerSeconds {
    PerSeconds { limit, seconds }
}

/// At the limit a packet is dropped unless the rule says `no-match`.
fn limiter_use(used: &ast::LimiterUse) -> Option<LimiterUse> {
    let LimiterRef::Id(id) = used.name else {
        // The check has made ids of all names.
        return None;
    };
    Some(LimiterUse {
        id: u8::try_from(id).ok()?,
        no_match: used.no_match.unwrap_or(false),
    })
}

/// `once` gets its number from whoever loads the rules.
pub(super) fn rule_limits(rule: &Rule) -> RuleLimits {
    RuleLimits {
        once: rule.once.into(),
        max_pkt_rate: rule.max_pkt_rate.map(per_seconds),
        state_limiter: rule.state_limiter.as_ref().and_then(limiter_use),
        source_limiter: rule.source_limiter.as_ref().and_then(limiter_use),
    }
}

impl Lowering<'_> {
    /// Source tracking of a rule; the node is the rule's, also with `global` (PF keeps one for each rule, too).
    pub(super) fn source_track(&self, state: &StateOpts) -> Option<SourceTrack> {
        let limits = [
            state.max_src_states,
            state.max_src_conn,
            state.max_src_nodes,
        ];
        let tracked = state.source_track.is_some()
            || limits.iter().any(|n| *n > 0)
            || state.max_src_conn_rate.is_some();
        tracked.then(|| SourceTrack {
            max_nodes: state.max_src_nodes,
            max_states: state.max_src_states,
            max_conn: state.max_src_conn,
            conn_rate: state.max_src_conn_rate.map(per_seconds),
            overload: self.overload(state),
        })
    }

    fn overload(&self, state: &StateOpts) -> Option<Overload> {
        let (table, flush, global) = state.overload.as_ref()?;
        Some(Overload {
            table: *self.table_ids.get(table)?,
            flush: match (flush, global) {
                (_, true) => Flush::Global,
                (true, false) => Flush::Rule,
                (false, false) => Flush::No,
            },
        })
    }

    pub(super) fn source_limiters(&self, limiters: &Limiters) -> Vec<SourceLimiter> {
        let lowered = limiters.sources.iter().map(|(limiter, table)| {
            let table = table.as_ref().and_then(|(name, above, below)| {
                Some(LimiterTable {
                    table: *self.table_ids.get(name)?,
                    above: *above,
                    below: *below,
                })
            });
            SourceLimiter {
                table,
                ..limiter.clone()
            }
        });
        lowered.collect()
    }
}
