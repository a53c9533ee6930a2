//! What the filter says of a packet beside its verdict: which rules log it, and, for a packet that is being watched,
//! every step. The packet path writes here in passing; `worker` carries it to the control core.

use ruleset::{Af, Facts, Log, RuleNr, RuleSlot};
use state::{StateFlags, StateIdx};

use crate::describe::PacketDesc;
use crate::reason::Reason;
use crate::test_state::StateTest;
use crate::{Core, Passage};

/// Log records that one packet can make on one interface; further ones are counted as lost.
pub const LOGGED_MAX: usize = 8;
/// Steps kept of one packet on one interface; a walk through more matching rules is told in part.
pub const STEPS_MAX: usize = 64;

/// A rule wants the packet logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Logged {
    /// The rule; none for PF's default rule, or one that is gone.
    pub rule: Option<RuleNr>,
    /// Why.
    pub reason: Reason,
    /// Number of the pflog interface.
    pub to: u8,
    /// The packet as rules have translated it so far.
    pub seen: Seen,
    /// The rule asks for the user (`log (user)`), and a socket of the box is at the near end.
    pub own: bool,
}

/// Both ends of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Family.
    pub af: Af,
    /// Source address, host order, and port.
    pub src: (u128, u16),
    /// Destination likewise.
    pub dst: (u128, u16),
}

impl Seen {
    /// The ends that rules see.
    pub fn of(facts: &Facts) -> Self {
        Seen {
            af: facts.af,
            src: (facts.src, facts.src_port),
            dst: (facts.dst, facts.dst_port),
        }
    }

    /// The ends in the headers.
    pub fn in_header(pd: &PacketDesc) -> Self {
        Seen {
            af: pd.af,
            src: (pd.src, pd.ports.0),
            dst: (pd.dst, pd.ports.1),
        }
    }
}

/// One step of the filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A state has the packet's key; it was made by the rule of this slot.
    StateFound {
        /// Where that rule counts.
        slot: RuleSlot,
    },
    /// The state does not want the packet, for this reason.
    StateRefuses(Reason),
    /// The packet belongs to the state.
    StatePasses,
    /// No state: the rules are asked.
    AsksRules,
    /// A rule matched.
    Matched(RuleNr),
    /// The packet looks different to the rules from here on.
    Translated(Seen),
    /// The last matching rule decides; none is the default rule.
    Decided(Option<RuleNr>),
    /// A state was made.
    MadeState,
}

/// Notes about the packet at hand.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Rules that log it, first first.
    pub logged: heapless::Vec<Logged, LOGGED_MAX>,
    /// Log records beyond the limit.
    pub unlogged: u32,
    /// Steps are kept.
    pub watching: bool,
    /// Its steps, if it is watched.
    pub steps: heapless::Vec<Step, STEPS_MAX>,
}

impl Notes {
    /// Begins with another packet.
    pub fn begin(&mut self, watching: bool) {
        self.logged.clear();
        self.unlogged = 0;
        self.steps.clear();
        self.watching = watching;
    }

    /// True if there is nothing to carry on.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.logged.is_empty() && self.steps.is_empty()
    }

    /// Keeps a step of a watched packet.
    #[inline]
    pub fn step(&mut self, step: Step) {
        if self.watching {
            // Full: told in part.
            let _told = self.steps.push(step);
        }
    }

    /// Keeps a log record.
    pub fn log(&mut self, logged: Logged) {
        self.unlogged += u32::from(self.logged.push(logged).is_err());
    }
}

/// After a packet was tested against the state with its key: it counts on the rules beside the state's own, and is
/// logged by those that log all (pf.conf(5), "log (all)"). What a state refuses is not logged, as in PF.
#[inline]
pub fn note_state_test(
    core: &mut Core<'_>,
    idx: StateIdx,
    pd: &PacketDesc,
    passage: &Passage<'_>,
    tested: StateTest,
) {
    let Some((flags, slot)) = core.states.get(idx).map(|st| (st.flags, st.rule)) else {
        return;
    };
    if core.notes.watching {
        core.notes.step(Step::StateFound { slot });
        match tested {
            StateTest::Pass => core.notes.step(Step::StatePasses),
            StateTest::Drop(reason) => core.notes.step(Step::StateRefuses(reason)),
            _ => {}
        }
    }
    if tested != StateTest::Pass {
        return;
    }
    if flags.contains(StateFlags::BESIDE) {
        let bytes = u64::from(pd.ip_len);
        core.beside
            .count(idx, core.counters, passage.direction, bytes);
    }
    if flags.contains(StateFlags::LOG_ALL) {
        let beside = flags.contains(StateFlags::BESIDE).then_some(idx);
        log_all(core, beside, slot, pd);
    }
}

#[cold]
fn log_all(core: &mut Core<'_>, beside: Option<StateIdx>, own: RuleSlot, pd: &PacketDesc) {
    let beside = beside.into_iter().flat_map(|idx| core.beside.of(idx));
    let slots = core::iter::once(own).chain(beside);
    for nr in slots.filter_map(|slot| core.ruleset.rule_in(slot)) {
        let Some(rule) = core.ruleset.rules.get(nr.0 as usize) else {
            continue;
        };
        if rule.actions.log.contains(Log::ALL) {
            core.notes.log(Logged {
                rule: Some(nr),
                reason: Reason::Match,
                to: rule.log_to,
                seen: Seen::in_header(pd),
                own: false,
            });
        }
    }
}
