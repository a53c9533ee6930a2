//! How the rules' business ends most often: one rule alone has decided, it lets the packet pass, and all that comes of it
//! is a state with the ends that the packet has. What [`super::pass`] does step by step is done here at once, and the state
//! is written where it will lie. Must never do anything else: `tests/packets` holds both against PF's truth.

use ruleset::{Rule, RuleNr};
use state::{InsertError, Key, State, StateFlags, StateIdx, Vacancy};

use super::{RuleTest, begin, is_stateless, make_room, reason_of};
use crate::describe::{Kind, PacketDesc};
use crate::reason::Reason;
use crate::{Core, Passage, lifetime, tcp, translate};

/// Whether nothing but a state comes of it that rule `nr`, which nobody has matched before, lets the packet pass.
#[inline]
pub(super) fn suits(core: &Core<'_>, pd: &PacketDesc, passage: &Passage<'_>, nr: RuleNr) -> bool {
    let plain = &core.ruleset.plain;
    plain.get(nr.0 as usize).is_some_and(|plain| *plain)
        && !is_stateless(pd.kind)
        && !pd.options
        && !core.notes.watching
        // It may have to be claimed.
        && !translate::is_shared_as_it_is(core, pd, passage.direction)
}

/// Makes the state, and counts.
pub(super) fn pass(
    core: &mut Core<'_>,
    frame: &mut [u8],
    pd: &mut PacketDesc,
    passage: &Passage<'_>,
    rule: &Rule,
) -> RuleTest {
    let counters = core.counters.rule(rule.slot);
    counters.traffic[passage.direction.index()].one(u64::from(pd.ip_len));
    let limit = u64::from(core.ruleset.limits.states);
    if !core.shared.states.try_take(1, limit) {
        return RuleTest::Drop(Reason::Memory);
    }
    match make(core, pd, passage, rule) {
        Ok(idx) => {
            core.counters.inserts.add(1);
            counters.states.add(1);
            counters.states_total.add(1);
            if pd.kind == Kind::Tcp {
                let is_proxied = tcp::begin(core, idx, frame, pd, passage, rule);
                debug_assert!(!is_proxied);
            }
            RuleTest::Plain(idx)
        }
        Err(error) => {
            core.shared.states.give_back(1);
            RuleTest::Drop(reason_of(error))
        }
    }
}

#[inline]
fn make(
    core: &mut Core<'_>,
    pd: &PacketDesc,
    passage: &Passage<'_>,
    rule: &Rule,
) -> Result<StateIdx, InsertError> {
    let wire = pd.key(passage.direction);
    let room = match core.room.take() {
        Some(room) => room,
        None => room_for(core, &wire)?,
    };
    let (peer, timeout) = begin(pd);
    let life_s = lifetime::general_s(core.ruleset, timeout, core.shared.states.get());
    let now = state::ticks::ticks(core.now_ms);
    let flags = match rule.state.if_bound {
        true => StateFlags::IF_BOUND,
        false => StateFlags::empty(),
    };
    let generation = core.generation;
    core.states.insert_new(room, life_s, || State {
        wire,
        stack: wire,
        direction: passage.direction,
        kif: passage.kif,
        rule: rule.slot,
        flags,
        timeout,
        tag: pd.tag,
        peer,
        packets: [1, 0],
        bytes: [u64::from(pd.ip_len), 0],
        last_seen: now,
        created: now,
        generation,
        ..State::default()
    })
}

/// Room for a state with this key; one that is over makes room.
#[inline(never)]
fn room_for(core: &mut Core<'_>, key: &Key) -> Result<Vacancy, InsertError> {
    match core.states.vacancy_for(key) {
        Ok(room) => Ok(room),
        Err(idx) => {
            make_room(core, idx)?;
            core.states
                .vacancy_for(key)
                .map_err(|_| InsertError::Exists)
        }
    }
}
