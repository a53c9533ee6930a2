//! A packet without a state: ask the rules, and create a state if the deciding rule says so.

use ruleset::matches::is_own;
use ruleset::{
    Action, Actions, AddrSpec, BlockReply, Facts, KeepState, Log, Owner, Routes, Rule, RuleMatch,
    RuleNr, RuleSlot, TagId, Timeout, Walk,
};
use state::track::tcp as tracker;
use state::track::{TRAFFIC_NONE, TRAFFIC_SINGLE};
use state::{InsertError, Peer, State, StateFlags, StateIdx};

mod blocked;
mod plain;

use crate::describe::{Kind, PROTO_TCP, PROTO_UDP, PacketDesc};
use crate::limit::{self, Admission, NoState};
use crate::notes::{Logged, Notes, Seen, Step};
use crate::reason::Reason;
use crate::translate::{self, Ends};
use crate::{Core, Passage, os, tables, tcp, timeout_s};
pub use blocked::{count_gates, is_blocked};

/// What the rules say of the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleTest {
    /// Let it through.
    Pass {
        /// The state it made, if any.
        state: Option<StateIdx>,
        /// Its tag from now on.
        tag: TagId,
        /// What is done to it.
        actions: Actions,
    },
    /// A rule blocked it.
    Block(BlockReply),
    /// It was let through by a rule, and yet cannot pass.
    Drop(Reason),
    /// Let it through by a plain rule alone, which has made this state, and nothing is done to it: the same as
    /// [`RuleTest::Pass`] with the tag that it has and no actions.
    Plain(StateIdx),
    /// It has made a state, and ends here: the box shakes hands in its place.
    Proxied(StateIdx),
}

/// Times that the rules are asked for one packet when other cores take what limits had promised.
const ATTEMPTS: usize = 4;

/// Walks the rules for a packet, counts, and creates a state.
///
/// Each rule that matches takes effect before the next one is looked at, as in pf_match_rule() of OpenBSD: later
/// rules see the tag and the addresses that earlier ones gave.
pub fn test_rule(
    core: &mut Core<'_>,
    frame: &mut [u8],
    pd: &mut PacketDesc,
    passage: &Passage<'_>,
    routes: &impl Routes,
) -> RuleTest {
    for _ in 0..ATTEMPTS {
        if let Some(tested) = ask_rules(core, frame, pd, passage, routes) {
            return tested;
        }
    }
    RuleTest::Drop(Reason::StateLimit)
}

/// One walk; none if another core took the last of something that a rule's limits had promised.
fn ask_rules(
    core: &mut Core<'_>,
    frame: &mut [u8],
    pd: &mut PacketDesc,
    passage: &Passage<'_>,
    routes: &impl Routes,
) -> Option<RuleTest> {
    let mut facts = facts(pd, passage, core.roll());
    let asked = Admission::new(core, routes);
    facts.os = os::signature(&core.ruleset.fingerprints, frame, pd);
    let (ruleset, counters) = (core.ruleset, core.counters);
    // Who watches wants to see every rule that matched.
    let mut walk = Walk::new(ruleset).to_decision(!core.notes.watching);
    let evaluated = |slot| counters.rule(slot).evaluations.add(1);
    let mut next = walk.next(&facts, &asked, evaluated);
    if let Some((nr, rule)) = next
        && walk.is_over()
    {
        if plain::suits(core, pd, passage, nr) {
            return Some(plain::pass(core, frame, pd, passage, rule));
        }
        if let Action::Block(reply) = rule.action
            && only_blocks(core, rule)
        {
            return Some(block(core, pd, passage, rule, reply));
        }
    }
    let mut found = RuleMatch::new(facts.tag);
    let mut ends = Ends::of(pd);
    let as_it_came = (pd.af, pd.src, pd.dst);
    while let Some((nr, rule)) = next {
        if let Some(reason) = asked.refused() {
            return Some(RuleTest::Drop(reason));
        }
        core.notes.step(Step::Matched(nr));
        let logs_matches = found.log_matches;
        note_redirection(core.notes, nr, rule, &facts, routes);
        found.add(nr, rule, &walk);
        facts.tag = found.tag;
        enter_table(&found.actions, routes, &mut facts, &mut ends);
        let at_once = matches!(
            rule.action,
            Action::Match | Action::Translate { pass: false, .. }
        );
        if at_once && rule.translates() {
            if rule.action != Action::Match {
                ends.by_old_rule = Some(nr);
            }
            if let Err(reason) = translate::by_rule(core, pd, passage, rule, &mut ends) {
                return Some(RuleTest::Drop(reason));
            }
            ends.show(&mut facts);
            core.notes.step(Step::Translated(Seen::of(&facts)));
        }
        note_match(core.notes, nr, rule, logs_matches, &facts, routes);
        next = walk.next(&facts, &asked, evaluated);
    }
    core.notes.step(Step::Decided(found.rule));
    count_matched(core, &found, pd, passage);
    let decided = found.settle(ruleset);
    let Some(rule) = decided else {
        let old = ends
            .by_old_rule
            .and_then(|nr| ruleset.rules.get(nr.0 as usize));
        return match old {
            // Translation in the old syntax makes a state, whatever lets the packet through.
            Some(rule) => pass(core, frame, pd, passage, rule, &found, &ends),
            None => Some(default_rule(core, pd, passage, &found)),
        };
    };
    if !limit::claim_once(core, rule) {
        return None;
    }
    enter_table(&found.actions, routes, &mut facts, &mut ends);
    let bytes = u64::from(pd.ip_len);
    counters.rule(rule.slot).traffic[passage.direction.index()].one(bytes);
    let tested = match rule.action {
        Action::Block(reply) => {
            note_decision(core.notes, rule, &found, &facts, routes);
            RuleTest::Block(reply)
        }
        _ => match translate::by_rule(core, pd, passage, rule, &mut ends) {
            Ok(()) => {
                if rule.translates() {
                    ends.show(&mut facts);
                    core.notes.step(Step::Translated(Seen::of(&facts)));
                }
                note_decision(core.notes, rule, &found, &facts, routes);
                pass(core, frame, pd, passage, rule, &found, &ends)?
            }
            Err(reason) => RuleTest::Drop(reason),
        },
    };
    let packet = (passage.direction, bytes);
    tables::count_first(core, as_it_came, packet, (rule, &found), &tested);
    Some(tested)
}

/// A rule blocks, nobody has matched before, and there is nothing to tell of it: it does not log, and may match as often
/// as it likes.
#[inline]
fn only_blocks(core: &Core<'_>, rule: &Rule) -> bool {
    rule.actions.log.is_empty() && rule.limits.is_empty() && !core.notes.watching
}

/// The end of a packet that a rule blocks which [`only_blocks`].
#[inline]
fn block(
    core: &Core<'_>,
    pd: &PacketDesc,
    passage: &Passage<'_>,
    rule: &Rule,
    reply: BlockReply,
) -> RuleTest {
    let bytes = u64::from(pd.ip_len);
    core.counters.rule(rule.slot).traffic[passage.direction.index()].one(bytes);
    let (on, ends) = ((core.ruleset, core.counters), (pd.af, pd.src, pd.dst));
    tables::count_blocked(on, rule, ends, (passage.direction, bytes));
    RuleTest::Block(reply)
}

/// What `rtable` says counts for the rules after it, and for the ends that translation looks for.
#[inline]
fn enter_table(actions: &Actions, routes: &impl Routes, facts: &mut Facts, ends: &mut Ends) {
    if let Some(rtable) = actions.table() {
        facts.rtable = rtable;
        ends.rdomain = routes.rdomain_of(rtable);
    }
}

/// PF's default rule: pass, no state; options are not allowed.
fn default_rule(
    core: &mut Core<'_>,
    pd: &PacketDesc,
    passage: &Passage<'_>,
    found: &RuleMatch,
) -> RuleTest {
    let bytes = u64::from(pd.ip_len);
    core.counters.rule(RuleSlot::DEFAULT_RULE).traffic[passage.direction.index()].one(bytes);
    if pd.options {
        note_forced(core, None, pd, passage);
        return RuleTest::Drop(Reason::IpOption);
    }
    stateless(&Actions::default(), found)
}

/// A rule matched. `match log` logs at once; after `log (matches)` every rule does.
fn note_match(
    notes: &mut Notes,
    nr: RuleNr,
    rule: &Rule,
    logs_matches: bool,
    facts: &Facts,
    routes: &impl Routes,
) {
    let log = rule.actions.log;
    let own = rule.action == Action::Match && log.contains(Log::ON);
    let traced = logs_matches && !log.contains(Log::MATCHES);
    if own || traced {
        notes.log(logged(nr, rule, facts, routes));
    }
}

/// A translation rule of the old syntax logs what it was asked about: filter rules log after it what became of that.
fn note_redirection(
    notes: &mut Notes,
    nr: RuleNr,
    rule: &Rule,
    facts: &Facts,
    routes: &impl Routes,
) {
    if is_redirection(rule) && rule.actions.log.contains(Log::ON) {
        notes.log(logged(nr, rule, facts, routes));
    }
}

fn is_redirection(rule: &Rule) -> bool {
    matches!(rule.action, Action::Translate { .. })
}

/// The rule that decides logs in the end, when the packet is as it goes on.
fn note_decision(
    notes: &mut Notes,
    rule: &Rule,
    found: &RuleMatch,
    facts: &Facts,
    routes: &impl Routes,
) {
    if let Some(nr) = found.rule
        && rule.actions.log.contains(Log::ON)
        && !is_redirection(rule)
    {
        notes.log(logged(nr, rule, facts, routes));
    }
}

fn logged(nr: RuleNr, rule: &Rule, facts: &Facts, routes: &impl Routes) -> Logged {
    let has_socket = matches!(facts.proto, PROTO_TCP | PROTO_UDP);
    let asks_user = rule.actions.log.contains(Log::USER) && has_socket;
    Logged {
        rule: Some(nr),
        reason: Reason::Match,
        to: rule.log_to,
        seen: Seen::of(facts),
        own: asks_user && is_own(facts, routes),
    }
}

/// Options that no rule allowed are logged whatever the rule says, as in PF.
fn note_forced(core: &mut Core<'_>, rule: Option<RuleNr>, pd: &PacketDesc, passage: &Passage<'_>) {
    let seen = Seen::of(&facts(pd, passage, 0));
    core.notes.log(Logged {
        rule,
        reason: Reason::IpOption,
        to: 0,
        seen,
        own: false,
    });
}

fn count_matched(core: &Core<'_>, found: &RuleMatch, pd: &PacketDesc, passage: &Passage<'_>) {
    for nr in found.matched.iter().chain(&found.anchor) {
        if let Some(rule) = core.ruleset.rules.get(nr.0 as usize) {
            let counters = core.counters.rule(rule.slot);
            counters.traffic[passage.direction.index()].one(u64::from(pd.ip_len));
        }
    }
}

/// What a rule may ask of a packet on an interface.
pub fn facts(pd: &PacketDesc, passage: &Passage<'_>, dice: u32) -> Facts {
    Facts {
        direction: passage.direction,
        on: *passage.on,
        kif: passage.kif,
        loopback: passage.loopback,
        rdomain: passage.rdomain,
        // What rules of the way in have chosen has had its effect (pf_test_rule() of OpenBSD).
        rtable: pd.rdomain,
        received_on: passage.received_on.copied(),
        af: pd.af,
        src: pd.src,
        dst: pd.dst,
        proto: pd.proto,
        src_port: pd.ports.0,
        dst_port: pd.ports.1,
        tcp_flags: pd.segment.flags,
        icmp_type: pd.icmp.0,
        icmp_code: pd.icmp.1,
        tos: pd.tos,
        priority: pd.priority,
        fragment: pd.fragment(),
        unsolicited_reply: pd.kind == Kind::IcmpReply,
        tag: pd.tag,
        os: None,
        dice,
    }
}

fn pass(
    core: &mut Core<'_>,
    frame: &mut [u8],
    pd: &mut PacketDesc,
    passage: &Passage<'_>,
    rule: &Rule,
    found: &RuleMatch,
    ends: &Ends,
) -> Option<RuleTest> {
    if pd.options && !rule.allow_opts {
        note_forced(core, found.rule, pd, passage);
        return Some(RuleTest::Drop(Reason::IpOption));
    }
    let keeps = rule.keep_state != KeepState::No || ends.by_old_rule.is_some();
    if !keeps || is_stateless(pd.kind) {
        return Some(stateless(&rule.actions, found));
    }
    match create(core, pd, passage, rule, found, ends) {
        Ok(idx) => {
            core.notes.step(Step::MadeState);
            if core.beside.set(idx, core.ruleset, found)
                && let Some(st) = core.states.get_mut(idx)
            {
                st.flags |= StateFlags::BESIDE;
            }
            if pd.kind == Kind::Tcp && tcp::begin(core, idx, frame, pd, passage, rule) {
                return Some(RuleTest::Proxied(idx));
            }
            Some(RuleTest::Pass {
                state: Some(idx),
                tag: found.tag,
                actions: found.actions,
            })
        }
        Err(NoState::Drop(reason)) => Some(RuleTest::Drop(reason)),
        Err(NoState::Again) => None,
    }
}

/// Packets of this kind make no states.
#[inline]
fn is_stateless(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Fragment | Kind::IcmpError | Kind::NeighborAdvert
    )
}

/// What earlier rules have set reaches a packet only by way of a state; without one only the deciding rule counts, but
/// for tag, routing table and log (pf_test() of OpenBSD).
fn stateless(own: &Actions, found: &RuleMatch) -> RuleTest {
    RuleTest::Pass {
        state: None,
        tag: found.tag,
        actions: Actions {
            rtable: found.actions.rtable,
            log: found.actions.log,
            ..*own
        },
    }
}

/// Creates the state of a packet, or changes nothing.
fn create(
    core: &mut Core<'_>,
    pd: &PacketDesc,
    passage: &Passage<'_>,
    rule: &Rule,
    found: &RuleMatch,
    ends: &Ends,
) -> Result<StateIdx, NoState> {
    let counters = core.counters.rule(rule.slot);
    let mut hold = limit::take(core, rule, pd)?;
    if !core
        .shared
        .states
        .try_take(1, u64::from(core.ruleset.limits.states))
    {
        limit::give_back(core, rule.slot, &hold);
        return Err(NoState::Drop(Reason::Memory));
    }
    let mut st = new_state(core, pd, passage, rule, found);
    if tables::counts(core.ruleset, rule, found) {
        st.flags |= StateFlags::ON_TABLES;
    }
    translate::mark(core, pd, ends, &mut st);
    let chosen = crate::route::choose(core, rule, pd, &mut st, &mut hold)
        .and_then(|()| translate::sticky::keep(core, ends, &mut hold))
        .map_err(NoState::Drop)
        .and_then(|()| translate::mapping::keep(core, ends, &mut hold));
    if let Err(none) = chosen {
        core.shared.states.give_back(1);
        limit::give_back(core, rule.slot, &hold);
        return Err(none);
    }
    let timeout = timeout_s(core.ruleset, core.shared, &st);
    match insert(core, &st, timeout) {
        Ok(idx) => {
            if !hold.is_empty() {
                core.states.set_hold(idx, &hold);
            }
            core.counters.inserts.add(1);
            counters.states.add(1);
            counters.states_total.add(1);
            Ok(idx)
        }
        Err(error) => {
            core.shared.states.give_back(1);
            limit::give_back(core, rule.slot, &hold);
            Err(NoState::Drop(reason_of(error)))
        }
    }
}

fn reason_of(error: InsertError) -> Reason {
    match error {
        InsertError::Exists => Reason::StateInsert,
        InsertError::Full | InsertError::NoPlace => Reason::Memory,
    }
}

/// Inserts; a TCP state of the same ends that is over makes room. What other cores must know of it they know then.
fn insert(core: &mut Core<'_>, st: &State, timeout_s: u32) -> Result<StateIdx, InsertError> {
    let room = match core.states.vacancy(st) {
        Ok(room) => room,
        Err(idx) => {
            make_room(core, idx)?;
            core.states.vacancy(st).map_err(|_| InsertError::Exists)?
        }
    };
    if !translate::publish(core, st) {
        return Err(InsertError::Exists);
    }
    let inserted = core.states.insert_at(room, st, timeout_s);
    if inserted.is_err() {
        translate::retract(&core.shared.agreement, st);
    }
    inserted
}

/// Removes a state that leaves no room for another, if it is over.
#[cold]
fn make_room(core: &mut Core<'_>, idx: StateIdx) -> Result<(), InsertError> {
    let is_over = |old: &State| old.wire.proto() == 6 && tracker::is_over(&old.peer);
    if !core.states.get(idx).is_some_and(is_over) {
        return Err(InsertError::Exists);
    }
    if let Some(gone) = core.states.remove(idx) {
        core.removed(&gone);
    }
    Ok(())
}

fn new_state(
    core: &Core<'_>,
    pd: &PacketDesc,
    passage: &Passage<'_>,
    rule: &Rule,
    found: &RuleMatch,
) -> State {
    let (peer, timeout) = begin(pd);
    let wire = pd.key(passage.direction);
    let now = state::ticks::ticks(core.now_ms);
    let mut st = State {
        wire,
        stack: wire,
        direction: passage.direction,
        kif: passage.kif,
        rule: rule.slot,
        flags: flags(rule, &found.actions),
        timeout,
        tag: found.tag,
        actions: found.actions,
        peer,
        last_seen: now,
        created: now,
        generation: core.generation,
        ..State::default()
    };
    st.packets[0] = 1;
    st.bytes[0] = u64::from(pd.ip_len);
    st
}

/// What is known of both sides after the first packet, and how long they may be silent.
#[inline]
fn begin(pd: &PacketDesc) -> ([Peer; 2], Timeout) {
    match pd.kind {
        Kind::Tcp => (tracker::begin(&pd.segment), Timeout::TcpFirst),
        Kind::Udp => (begin_traffic(), Timeout::UdpFirst),
        Kind::IcmpRequest | Kind::IcmpReply => ([Peer::default(); 2], Timeout::IcmpFirst),
        _ => (begin_traffic(), Timeout::OtherFirst),
    }
}

fn begin_traffic() -> [Peer; 2] {
    let side = |state| Peer {
        state,
        ..Peer::default()
    };
    [side(TRAFFIC_SINGLE), side(TRAFFIC_NONE)]
}

fn flags(rule: &Rule, actions: &Actions) -> StateFlags {
    let bit = |set: bool, flag: StateFlags| match set {
        true => flag,
        false => StateFlags::empty(),
    };
    let options = &rule.state;
    bit(options.if_bound, StateFlags::IF_BOUND)
        | bit(options.sloppy, StateFlags::SLOPPY)
        | bit(options.no_sync, StateFlags::NO_SYNC)
        | bit(options.pflow, StateFlags::PFLOW)
        | bit(rule.allow_opts, StateFlags::ALLOW_OPTS)
        | bit(actions.log.contains(Log::ALL), StateFlags::LOG_ALL)
        | bit(!options.timeouts.is_empty(), StateFlags::OWN_TIMEOUTS)
        | bit(rule.limits.max_pkt_rate.is_some(), StateFlags::PKT_RATE)
        | bit(actions.concern_packets(), StateFlags::SCRUBBED)
        | bit(actions.table().is_some(), StateFlags::RTABLE)
}

/// True if the ruleset asks for routes or sockets anywhere; otherwise [`ruleset::EveryRoute`] will do.
pub fn needs_routes(rules: &[Rule]) -> bool {
    let asks = |addr: AddrSpec| {
        matches!(
            addr,
            AddrSpec::NoRoute | AddrSpec::UrpfFailed | AddrSpec::RouteLabel(_)
        )
    };
    let asks_owner = |r: &Rule| {
        let tells_user = r.actions.log.contains(Log::USER);
        r.owner != Owner::Anybody || r.actions.table().is_some() || tells_user
    };
    rules
        .iter()
        .any(|r| asks(r.src.addr) || asks(r.dst.addr) || asks_owner(r))
}
