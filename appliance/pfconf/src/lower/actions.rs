//! What a rule does to packets beside letting them through: `scrub (…)`, `set …`, `rtable`, `log`.

use ruleset::{ActionFlags, Actions, Log};

use crate::ast::LogSpec;
use crate::policy::Rule;

/// Queues are numbered by whoever enforces them.
pub(super) fn actions(rule: &Rule) -> Actions {
    let scrub = &rule.scrub;
    let flags = [
        (scrub.no_df, ActionFlags::NO_DF),
        (scrub.random_id, ActionFlags::RANDOM_ID),
        (scrub.reassemble_tcp, ActionFlags::REASSEMBLE_TCP),
        (rule.set_tos.is_some(), ActionFlags::SET_TOS),
        (rule.set_prio.is_some(), ActionFlags::SET_PRIO),
    ];
    let prio = rule.set_prio.unwrap_or_default();
    Actions {
        rtable: rule.rtable.map_or(0, |rtable| rtable as u16 + 1),
        max_mss: scrub.max_mss,
        delay_ms: rule.delay.unwrap_or_default(),
        max_pkt_size: rule.max_pkt_size.unwrap_or_default(),
        min_ttl: scrub.min_ttl,
        tos: rule.set_tos.unwrap_or_default(),
        prio: [prio.0, prio.1],
        flags: flags
            .into_iter()
            .filter(|(given, _)| *given)
            .fold(ActionFlags::empty(), |all, (_, flag)| all | flag),
        log: rule.log.as_ref().map(log).unwrap_or_default(),
        ..Actions::default()
    }
}

fn log(log: &LogSpec) -> Log {
    let mut bits = Log::ON;
    bits.set(Log::ALL, log.all);
    bits.set(Log::MATCHES, log.matches);
    bits.set(Log::USER, log.user);
    bits
}
