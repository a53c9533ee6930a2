//! `why`: the running policy and the states that might matter, handed to `explain`.

use std::net::IpAddr;

use explain::{Explanation, RuleName};
use ruleset::RuleNr;
use state::State;

use crate::api::Question;
use crate::control::Control;
use crate::listed::Listed;

/// States looked at for a packet's own: more would take longer than a person waits.
const STATES_MAX: usize = 100_000;
/// States kept for it.
const STATES_KEPT: usize = 4_096;

impl Control {
    pub(crate) fn explain(&mut self, question: &Question) -> Result<Explanation, String> {
        let Listed {
            entries: states,
            lack,
        } = self.states_about(question)?;
        let now_ms = self.clock.now_ms();
        let rule = |nr| self.rule_name(nr);
        let on = explain::Box {
            config: self.fleet.current().clone(),
            states: &states,
            shared: &self.shared,
            rule: &rule,
            now_ms,
        };
        let mut told = match question {
            Question::Words(text) => explain::describe(text, &on),
            Question::Frame { interface, frame } => explain::capture(interface, frame, &on),
        }?;
        told.note = lack.map(|lack| {
            format!(
                "not all states are known, so this may be a packet of one that is there: {lack}"
            )
        });
        Ok(told)
    }

    /// States that have an address of the packet.
    fn states_about(&mut self, question: &Question) -> Result<Listed<State>, String> {
        let addrs: Option<[IpAddr; 2]> = match question {
            Question::Words(text) => {
                let described = explain::words::parse(text)?;
                Some([described.src.0, described.dst.0])
            }
            Question::Frame { .. } => None,
        };
        let bits = addrs.map(|addrs| addrs.map(bits_of));
        let is_about = |st: &State| {
            let ends = [st.wire, st.stack].map(|key| [key.end(0).0, key.end(1).0]);
            bits.is_none_or(|bits| ends.iter().flatten().any(|addr| bits.contains(addr)))
        };
        let found = self.fleet.states(STATES_MAX, self.clock.as_ref());
        let (looked, total) = (found.entries.len(), self.shared.states.get());
        let mut about = found.with(|found| {
            let found = found.into_iter().map(|(_, st)| st).filter(is_about);
            found.take(STATES_KEPT).collect()
        });
        if looked >= STATES_MAX && total > looked as u64 {
            about.lack = Some(format!("{looked} of {total} were looked at"));
        }
        Ok(about)
    }

    /// How people call a rule of the running policy.
    pub(crate) fn rule_name(&self, nr: RuleNr) -> RuleName {
        let n = self.shown.numbers.get(nr.0 as usize);
        let text = n.and_then(|n| self.shown.rules.get(*n as usize));
        text.map_or_else(RuleName::default, |text| RuleName {
            text: text.text.clone(),
            origin: text.origin.clone(),
        })
    }
}

pub(crate) fn bits_of(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}
