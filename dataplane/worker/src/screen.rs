//! The two screenings of the packet path, `filter_in` and `filter_out`: the same code with a direction. Calls the
//! filter, keeps the two states of a connection together, and answers what was blocked.

use filter::notes::{Step, note_state_test};
use filter::scrub::scrub;
use filter::test_rule::{RuleTest, test_rule};
use filter::test_state::{About, StateTest, test_icmp_error, test_state};
use filter::{Core, Kind, PacketDesc, Passage, Reason, Response, syncookies};
use net::{Interface, InterfaceId};
use nic::{Nic, PacketBuf};
use ruleset::{Actions, Af, Direction, EveryRoute, KifId, KifSet, Routes, SynCookies, TagId};
use state::{State, StateFlags, StateIdx, Vacancy};

use crate::batch::{Item, Origin};
use crate::config::Config;
use crate::detour::DETOURS_MAX;
use crate::forward::{addr_of, route};
use crate::turn::Worker;
use crate::watch::Told;

/// The state of a packet on an interface, or, if there is none, perhaps where there is room for one.
type Sought = Result<StateIdx, Option<Vacancy>>;

/// What the filter said of one packet on one interface.
pub(crate) struct Screened {
    outcome: Result<(), Reason>,
    /// The interface.
    pub(crate) on: InterfaceId,
    pub(crate) state: Option<StateIdx>,
    /// An ICMP error: what it is about.
    about: Option<About>,
    /// The state was made just now.
    made: bool,
    tag: TagId,
    /// What is done to the packet.
    pub(crate) actions: Actions,
    response: Response,
}

impl<N: Nic> Worker<N> {
    /// Screens what came in.
    pub(crate) fn filter_in(&mut self, now_ms: u64) {
        for n in 0..self.batch.len() {
            let item = &self.batch.items[n];
            if let (true, Origin::Wire(interface)) = (item.is_open(), item.origin) {
                let sought = item.state.ok_or(None);
                let found = self.screen(n, interface, Direction::In, sought, now_ms);
                if let Some(idx) = found.filter(|_| self.batch.items[n].is_open()) {
                    self.detour_in(n, interface, idx, now_ms);
                }
            }
        }
        self.forget_lost_states();
    }

    /// A packet of this burst may have replaced a connection that was over, and a new state may lie where the old one
    /// lay: what earlier packets remember is looked at again. Rare, and nothing to do without a state that is gone.
    #[inline]
    fn forget_lost_states(&mut self) {
        if self.made_state && self.states.removals() != self.removals {
            self.look_at_states_again();
        }
    }

    #[cold]
    fn look_at_states_again(&mut self) {
        let states = &self.states;
        for item in &mut self.batch.items {
            let key = &item.pd.key_in;
            let is_its_own = |idx: &StateIdx| {
                let of = |st: &State| {
                    let far = st.stack.mirrored() == *key || st.wire.mirrored() == *key;
                    st.stack == *key || (st.flags.contains(StateFlags::CHANGES_FAMILY) && far)
                };
                states.get(*idx).is_some_and(of)
            };
            item.state = item.state.filter(is_its_own);
        }
    }

    /// Screens what is about to leave. The box's own packets come here first; answers of the filter pass unasked.
    pub(crate) fn filter_out(&mut self, now_ms: u64) {
        if self.ahead.are_drawn() {
            self.draw_ports();
        }
        for n in 0..self.batch.len() {
            let item = &self.batch.items[n];
            if item.origin != Origin::Answer && !item.changed_family {
                self.ahead.port = item.drawn;
                self.let_out(n, now_ms);
                self.ahead.end();
            }
        }
    }

    /// Draws a source port for every packet that has just begun a connection, and asks the cache for the line of the index
    /// that will say whether it is free.
    fn draw_ports(&mut self) {
        let new = |item: &&mut Item| item.is_open() && item.hash_out != 0;
        for item in self.batch.items.iter_mut().filter(new) {
            let dice = filter::roll(&mut self.dice);
            let drawn = self.ahead.draw(&item.pd, dice, (self.id, self.workers));
            item.drawn = drawn.map(|(port, key)| {
                self.states.prefetch_bucket(self.states.hash(&key));
                port
            });
        }
    }

    /// Screens packet `n` on the interface that it is about to leave by, and again where a rule sends it on to another.
    #[inline]
    fn let_out(&mut self, n: usize, now_ms: u64) {
        for _ in 0..=DETOURS_MAX {
            let item = &self.batch.items[n];
            let Some(hop) = item.egress.filter(|_| item.is_open()) else {
                return;
            };
            let sought = self.state_out(n);
            let found = self.screen(n, hop.interface(), Direction::Out, sought, now_ms);
            let Some(idx) = found.filter(|_| self.batch.items[n].is_open()) else {
                return;
            };
            let Some(other) = self.detour_out(n, idx, now_ms) else {
                return;
            };
            self.batch.items[n].egress = Some(other);
            if other.interface() == hop.interface() {
                return;
            }
        }
        self.batch.items[n].drop_for(Reason::NoRoute);
    }

    /// The state for the way out: the pair of the state of the way in, if it is that; otherwise by look-up.
    #[inline]
    fn state_out(&mut self, n: usize) -> Sought {
        let item = &self.batch.items[n];
        if !item.pd.may_have_state() {
            return Err(None);
        }
        let key = item.pd.key(Direction::Out);
        let pair = item
            .state
            .and_then(|idx| self.states.get(idx))
            .and_then(|st| st.pair.some());
        if let Some(idx) = pair
            && self.states.get(idx).is_some_and(|st| st.stack == key)
        {
            return Ok(idx);
        }
        self.counters.filter.searches.add(1);
        let hash = match item.hash_out {
            0 => self.states.hash(&key),
            known => known,
        };
        debug_assert_eq!(hash, self.states.hash(&key));
        self.states.seek(Direction::Out, &key, hash)
    }

    /// The state of packet `n`: an earlier packet of this burst may have made or replaced it since the look-up.
    #[inline]
    fn state_now(&mut self, n: usize, direction: Direction, sought: Sought) -> Sought {
        let item = &self.batch.items[n];
        // That of the way out was looked for just now.
        let is_new = !self.made_state || direction == Direction::Out;
        let is_there = sought.is_ok() && self.states.removals() == self.removals;
        if is_new || is_there || !item.pd.may_have_state() {
            return sought;
        }
        self.states.seek(Direction::In, &item.pd.key_in, item.hash)
    }

    /// Asks the filter about packet `n` and does what it says. Gives the state that the packet belongs to, or, of an
    /// error, that of the packet which it quotes.
    fn screen(
        &mut self,
        n: usize,
        interface: InterfaceId,
        direction: Direction,
        mut sought: Sought,
        now_ms: u64,
    ) -> Option<StateIdx> {
        if let Ok(idx) = sought
            && !self.kill_jobs.is_empty()
            && self.kill_if_doomed(idx, now_ms)
        {
            sought = Err(None);
        }
        let (state, room) = match self.state_now(n, direction, sought) {
            Ok(idx) => (Some(idx), None),
            Err(room) => (None, room),
        };
        let config = &*self.config;
        let Some(on) = config.interfaces.get(interface).filter(|i| i.up) else {
            self.batch.items[n].drop_for(Reason::InterfaceDown);
            return None;
        };
        let watching = self.batch.items[n].watched != 0;
        if config.skips(interface) {
            if watching {
                self.tell(n, Told::Screened(interface, direction), now_ms);
                self.tell(n, Told::Skipped, now_ms);
            }
            // Nothing is done to it here: neither what a state says.
            if direction == Direction::In {
                self.batch.items[n].state = None;
            }
            return None;
        }
        self.notes.begin(watching);
        let item = &self.batch.items[n];
        let received_on = item.received_on().filter(|_| direction == Direction::Out);
        let received_on = received_on
            .and_then(|id| config.interfaces.get(id))
            .map(|i| &i.kifs);
        let passage = passage(on, direction, received_on);
        let mut core = Core {
            ruleset: &config.ruleset,
            generation: config.generation,
            counters: &self.counters.filter,
            states: &mut self.states,
            shared: &self.shared,
            kills: &mut self.kills,
            now_ms,
            dice: &mut self.dice,
            secrets: &mut self.secrets,
            answers: &mut self.answers,
            beside: &mut self.beside,
            notes: &mut self.notes,
            cookies: &mut self.cookies,
            worker: self.id,
            workers: self.workers,
            room,
            ahead: &mut self.ahead,
        };
        let routes = RoutesFrom { config, on: on.id };
        let (af, bytes) = (item.pd.af, u64::from(item.pd.ip_len));
        let frame = self.batch.bufs[n].bytes_mut();
        let pd = &mut self.batch.items[n].pd;
        if config.ruleset.logs || pd.options {
            self.before.keep(frame, pd);
        }
        let normalized = old_scrub(&core, pd, &passage);
        let mut screened = match ask(&mut core, frame, pd, &passage, &routes, state) {
            Asked::Plain(idx) if normalized.is_none() => {
                self.pass_plainly(n, interface, direction, idx);
                return Some(idx);
            }
            Asked::Plain(idx) => settle(pd, RuleTest::Plain(idx)),
            Asked::Told(screened) => screened,
        };
        screened.on = interface;
        if let Some(mut actions) = normalized {
            actions.add(&screened.actions);
            screened.actions = actions;
        }
        screened.check_size(bytes);
        let passed = screened.outcome.is_ok();
        if passed {
            // The last interface counts, also if nothing is said there.
            pd.delay_ms = screened.actions.delay_ms;
        }
        if passed && screened.actions.concern_packets() {
            scrub(frame, pd, &screened.actions, core.roll());
        }
        let counters = &self.counters.filter;
        counters.interface(interface, af, direction, passed, bytes);
        self.made_state |= screened.made;
        if watching {
            self.tell(n, Told::Screened(interface, direction), now_ms);
            self.tell_steps(n, now_ms);
            self.tell(n, Told::Answered(screened.response), now_ms);
        }
        if !self.notes.logged.is_empty() {
            self.send_log(interface, direction, bytes as u16, now_ms);
        }
        match screened.outcome {
            _ if !self.is_known(&screened, now_ms) => {
                self.batch.items[n].drop_for(Reason::HandoffFull)
            }
            Ok(()) => self.let_through(n, direction, &screened, now_ms),
            Err(reason) => self.batch.items[n].drop_for(reason),
        }
        self.answer(n, screened.response, interface, now_ms);
        self.send_answers();
        while let Some(kill) = self.kills.pop() {
            self.kill_everywhere(kill);
        }
        screened.state.or(screened.about.map(|about| about.state))
    }

    /// A plain rule has made the state `idx` of packet `n`, and nothing else comes of that: no change, no answer, no record,
    /// and nobody watches.
    #[inline]
    fn pass_plainly(
        &mut self,
        n: usize,
        interface: InterfaceId,
        direction: Direction,
        idx: StateIdx,
    ) {
        self.made_state = true;
        let item = &mut self.batch.items[n];
        item.pd.delay_ms = 0;
        let (af, bytes) = (item.pd.af, u64::from(item.pd.ip_len));
        let counters = &self.counters.filter;
        counters.interface(interface, af, direction, true, bytes);
        match direction {
            Direction::In => {
                item.state = Some(idx);
                self.expect_out(n);
            }
            Direction::Out => self.tie(n, idx),
        }
    }

    /// Packet `n` has no state on its way out yet: it will be looked for there.
    #[inline]
    fn expect_out(&mut self, n: usize) {
        let item = &mut self.batch.items[n];
        item.hash_out = self.states.hash(&item.pd.key(Direction::Out));
        self.states.prefetch_bucket(item.hash_out);
    }

    /// A state that was made is known to the workers that must know it. If one of them cannot be told it is taken back.
    fn is_known(&mut self, screened: &Screened, now_ms: u64) -> bool {
        let Some(idx) = screened.state.filter(|_| screened.made) else {
            return true;
        };
        if self.announce(idx) {
            return true;
        }
        if let Some(gone) = self.states.remove(idx) {
            let counters = &self.counters.filter;
            let ruleset = &self.config.ruleset;
            filter::count_removal(counters, &self.shared, ruleset, now_ms, &gone);
        }
        false
    }

    /// What is done to a packet that the filter lets through.
    #[inline]
    fn let_through(&mut self, n: usize, direction: Direction, screened: &Screened, now_ms: u64) {
        self.keep_together(n, direction, screened);
        match (screened.state, &screened.about) {
            (Some(idx), _) => self.translate(n, direction, idx, now_ms),
            (None, Some(about)) => self.translate_error(n, direction, about, now_ms),
            (None, None) => {}
        }
        self.choose_table(n, direction, screened, now_ms);
        if screened.made && direction == Direction::In {
            self.expect_out(n);
        }
    }

    /// Remembers the state of the way in and the tag; ties the states of both ways together.
    fn keep_together(&mut self, n: usize, direction: Direction, screened: &Screened) {
        let item = &mut self.batch.items[n];
        item.pd.tag = screened.tag;
        match (direction, screened.state) {
            (Direction::In, found) => item.state = found,
            (Direction::Out, Some(idx)) => self.tie(n, idx),
            (Direction::Out, None) => {}
        }
    }

    /// The state of packet `n` on its way in and this one on its way out are of one connection.
    #[inline]
    fn tie(&mut self, n: usize, out: StateIdx) {
        let item = &self.batch.items[n];
        if let Some(idx) = item.state.filter(|idx| *idx != out)
            && let Some(st) = self.states.get(idx)
            && st.pair != out
            && st.stack == item.pd.key_in
        {
            self.states.link(idx, out);
        }
    }
}

/// What the `scrub` rules of the old dialect want done to it.
#[inline]
fn old_scrub(core: &Core<'_>, pd: &PacketDesc, passage: &Passage<'_>) -> Option<Actions> {
    if core.ruleset.scrub.is_empty() {
        return None;
    }
    let counters = core.counters;
    let found = filter::scrub::old_rule(core.ruleset, pd, passage, |rule| {
        counters.rule(rule.slot).evaluations.add(1);
    })?;
    let traffic = &counters.rule(found.rule.slot).traffic;
    traffic[passage.direction.index()].one(u64::from(pd.ip_len));
    Some(found.rule.actions)
}

/// What came of asking state and rules.
enum Asked {
    /// See [`RuleTest::Plain`].
    Plain(StateIdx),
    /// Anything else, or that.
    Told(Screened),
}

/// State first, then rules.
#[inline]
fn ask(
    core: &mut Core<'_>,
    frame: &mut [u8],
    pd: &mut PacketDesc,
    passage: &Passage<'_>,
    routes: &RoutesFrom<'_>,
    state: Option<StateIdx>,
) -> Asked {
    if pd.kind == Kind::Tcp
        && passage.direction == Direction::In
        && let Some(screened) = ask_cookies(core, frame, pd, passage, routes, state)
    {
        return Asked::Told(screened);
    }
    if pd.kind == Kind::IcmpError {
        return Asked::Told(ask_of_error(core, frame, pd, passage, routes));
    }
    let Some(idx) = state else {
        return match ask_rules(core, frame, pd, passage, routes) {
            RuleTest::Plain(idx) => Asked::Plain(idx),
            tested => Asked::Told(settle(pd, tested)),
        };
    };
    let tested = test_state(core, idx, frame, pd, passage);
    note_state_test(core, idx, pd, passage, tested);
    Asked::Told(match tested {
        StateTest::Pass => pass_of(core, pd, idx, state),
        StateTest::Drop(reason) => Screened::refuse(reason, Response::None),
        StateTest::Miss => {
            let tested = ask_rules(core, frame, pd, passage, routes);
            settle(pd, tested)
        }
    })
}

/// An ICMP error: to it is done what is done to the packets it is about.
#[cold]
fn ask_of_error(
    core: &mut Core<'_>,
    frame: &mut [u8],
    pd: &mut PacketDesc,
    passage: &Passage<'_>,
    routes: &RoutesFrom<'_>,
) -> Screened {
    let (tested, about) = test_icmp_error(core, frame, pd, passage);
    let of = about.as_ref().map(|about| about.state);
    if let Some(idx) = of {
        note_state_test(core, idx, pd, passage, tested);
    }
    match (tested, of) {
        (StateTest::Pass, Some(idx)) => Screened {
            about,
            ..pass_of(core, pd, idx, None)
        },
        (StateTest::Pass, None) => Screened::pass(None, pd.tag, Actions::default()),
        (StateTest::Drop(reason), _) => Screened::refuse(reason, Response::None),
        (StateTest::Miss, _) => {
            let tested = ask_rules(core, frame, pd, passage, routes);
            settle(pd, tested)
        }
    }
}

/// The state `of` lets the packet pass.
#[inline]
fn pass_of(core: &Core<'_>, pd: &PacketDesc, of: StateIdx, state: Option<StateIdx>) -> Screened {
    let st = core.states.get(of);
    let tag = st.map_or(pd.tag, |st| st.tag);
    let scrubbed = st.filter(|st| st.flags.contains(StateFlags::SCRUBBED));
    let actions = scrubbed.map_or(Actions::default(), |st| st.actions);
    Screened::pass(state, tag, actions)
}

/// `set syncookies`, before states and rules: connection requests, and what may bring a cookie back.
#[inline]
fn ask_cookies(
    core: &mut Core<'_>,
    frame: &mut [u8],
    pd: &PacketDesc,
    passage: &Passage<'_>,
    routes: &RoutesFrom<'_>,
    state: Option<StateIdx>,
) -> Option<Screened> {
    if core.ruleset.syncookies == SynCookies::Never && core.cookies.is_idle() {
        return None;
    }
    if syncookies::greet(core, frame, pd) {
        return Some(Screened::refuse(Reason::SynProxy, Response::None));
    }
    // The SYN was never kept: there are no bytes of it.
    let tested = syncookies::welcome(core, pd, state, |core, syn| {
        ask_rules(core, &mut [], syn, passage, routes)
    });
    tested.map(|tested| settle(pd, tested))
}

#[inline]
fn ask_rules(
    core: &mut Core<'_>,
    frame: &mut [u8],
    pd: &mut PacketDesc,
    passage: &Passage<'_>,
    routes: &RoutesFrom<'_>,
) -> RuleTest {
    core.notes.step(Step::AsksRules);
    if routes.config.asks_routes {
        test_rule(core, frame, pd, passage, routes)
    } else {
        test_rule(core, frame, pd, passage, &EveryRoute)
    }
}

#[inline]
fn settle(pd: &PacketDesc, tested: RuleTest) -> Screened {
    match tested {
        RuleTest::Pass {
            state,
            tag,
            actions,
        } => Screened {
            made: state.is_some(),
            ..Screened::pass(state, tag, actions)
        },
        RuleTest::Plain(idx) => Screened {
            made: true,
            ..Screened::pass(Some(idx), pd.tag, Actions::default())
        },
        RuleTest::Block(reply) => {
            Screened::refuse(Reason::Match, filter::respond::response(reply, pd))
        }
        RuleTest::Drop(reason) => Screened::refuse(reason, Response::None),
        RuleTest::Proxied(idx) => Screened {
            made: true,
            state: Some(idx),
            ..Screened::refuse(Reason::SynProxy, Response::None)
        },
    }
}

impl Screened {
    #[inline]
    fn pass(state: Option<StateIdx>, tag: TagId, actions: Actions) -> Self {
        Screened {
            outcome: Ok(()),
            on: InterfaceId::default(),
            state,
            about: None,
            made: false,
            tag,
            actions,
            response: Response::None,
        }
    }

    /// `max-pkt-size`: what was let through stops here if it is larger. Its state stays, as on FreeBSD.
    fn check_size(&mut self, bytes: u64) {
        let max = u64::from(self.actions.max_pkt_size);
        if self.outcome.is_ok() && max != 0 && bytes > max {
            self.outcome = Err(Reason::Normalize);
        }
    }

    #[inline]
    fn refuse(reason: Reason, response: Response) -> Self {
        Screened {
            outcome: Err(reason),
            on: InterfaceId::default(),
            state: None,
            about: None,
            made: false,
            tag: TagId::default(),
            actions: Actions::default(),
            response,
        }
    }
}

pub(crate) fn passage<'a>(
    on: &'a Interface,
    direction: Direction,
    received_on: Option<&'a KifSet>,
) -> Passage<'a> {
    Passage {
        direction,
        on: &on.kifs,
        kif: KifId(on.id.0),
        loopback: on.is_loopback(),
        rdomain: on.rdomain,
        received_on,
    }
}

/// What rules with `no-route`, `urpf-failed`, `route`, `rtable`, `user` and `group` ask.
struct RoutesFrom<'a> {
    config: &'a Config,
    on: InterfaceId,
}

impl Routes for RoutesFrom<'_> {
    fn has_route(&self, rtable: u8, af: Af, addr: u128) -> bool {
        route(self.config, rtable, af, addr).is_some()
    }

    fn reverse_path_ok(&self, rtable: u8, af: Af, src: u128) -> bool {
        let leads_back = |r: &net::Route| r.interface == self.on;
        let table = self.config.routes.get(rtable);
        route(self.config, rtable, af, src)
            .zip(table)
            .is_some_and(|(r, table)| table.ways(r).iter().any(leads_back))
    }

    fn has_label(&self, rtable: u8, af: Af, addr: u128, label: u16) -> bool {
        let wanted = self.config.route_labels.get(usize::from(label));
        let Some(Some(wanted)) = wanted else {
            return false;
        };
        route(self.config, rtable, af, addr).is_some_and(|r| r.label == *wanted)
    }

    fn rdomain_of(&self, rtable: u8) -> u8 {
        self.config.routes.rdomain_of(rtable)
    }

    fn is_ours(&self, rdomain: u8, af: Af, addr: u128) -> bool {
        let addr = addr_of(af, addr);
        self.config.interfaces.local(rdomain, addr).is_some()
    }
}
