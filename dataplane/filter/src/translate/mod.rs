//! What `nat-to` and `rdr-to` make of a packet's ends while the rules are walked: an address from the pool, a port that
//! nobody uses. Nothing is written into the packet here; `rewrite` does that once there is a state.
//!
//! Read first: pf.conf(5), "TRANSLATION", "POOL OPTIONS"; pf_get_transaddr() and pf_get_sport() of OpenBSD.

mod agreement;
mod family;
pub mod mapping;
mod ports;
pub(crate) mod sticky;

use ruleset::{Af, Direction, Draw, Facts, Pool, PoolKind, Rule, RuleNr};
use state::{Key, State, StateFlags};

use crate::describe::{Kind, PROTO_ICMP, PROTO_ICMP6, PacketDesc};
use crate::owner;
use crate::reason::Reason;
use crate::{Core, Passage};

pub use agreement::{Agreement, PoolUse};
pub use ports::PortsAhead;

/// Most addresses of a pool that are tried for one packet because the ports of others are taken.
const ADDRESSES_MAX: u32 = 64;
/// Types of echo requests, which alone have identifiers that may be changed.
const ECHO: u16 = 8;
const ECHO6: u16 = 128;

/// The ends of a packet as the rules that matched so far have left them. Port: that of TCP and UDP; ICMP: the
/// identifier at the asking end, the type at the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// Family.
    pub af: Af,
    /// Protocol.
    pub proto: u8,
    /// Sender.
    pub src: (u128, u16),
    /// Receiver.
    pub dst: (u128, u16),
    /// Routing domain.
    pub rdomain: u8,
    /// Source, destination: it was chosen for having the fewest states.
    pub by_load: [bool; 2],
    /// Source, destination: whose choice it is, if the pool is sticky.
    pub sticky: [Option<sticky::Stuck>; 2],
    /// The mapping of the source, if it is to be the same for all receivers.
    pub mapped: Option<(mapping::Source, (u128, u16))>,
    /// A rule of the old syntax has changed them: there must be a state.
    pub by_old_rule: Option<RuleNr>,
}

impl Ends {
    /// As they are in the packet.
    pub fn of(pd: &PacketDesc) -> Self {
        Ends {
            af: pd.af,
            proto: pd.proto,
            src: pd.key_in.end(0),
            dst: pd.key_in.end(1),
            rdomain: pd.rdomain,
            by_load: [false; 2],
            sticky: [None; 2],
            mapped: None,
            by_old_rule: None,
        }
    }

    /// Key of a packet with these ends that passes an interface in `direction`.
    pub fn key(&self, direction: Direction) -> Key {
        Key::new(direction, self.af, self.proto, self.src, self.dst).within(self.rdomain)
    }

    /// Lets later rules see them.
    pub fn show(&self, facts: &mut Facts) {
        (facts.af, facts.src, facts.dst) = (self.af, self.src.0, self.dst.0);
        if matches!(
            self.proto,
            crate::describe::PROTO_TCP | crate::describe::PROTO_UDP
        ) {
            (facts.src_port, facts.dst_port) = (self.src.1, self.dst.1);
        }
    }
}

/// Whether packets of this kind are translated: those that make states. Neighbor discovery stays on its link.
fn is_translatable(pd: &PacketDesc) -> bool {
    let has_state = matches!(
        pd.kind,
        Kind::Tcp | Kind::Udp | Kind::IcmpRequest | Kind::Other
    );
    has_state && !pd.is_neighbor_discovery
}

/// Applies a rule's translation to `ends`: source, then destination. If that cannot be done the packet is
/// to be dropped.
#[inline]
pub fn by_rule(
    core: &mut Core<'_>,
    pd: &PacketDesc,
    passage: &Passage<'_>,
    rule: &Rule,
    ends: &mut Ends,
) -> Result<(), Reason> {
    let wanted = rule.translates() || rule.new_family.is_some();
    if !wanted || !is_translatable(pd) {
        return Ok(());
    }
    translate(core, pd, passage, rule, ends)
}

fn translate(
    core: &mut Core<'_>,
    pd: &PacketDesc,
    passage: &Passage<'_>,
    rule: &Rule,
    ends: &mut Ends,
) -> Result<(), Reason> {
    if let Some(naf) = rule.new_family {
        *ends = family::ends(core, pd, rule, naf, ends)?;
        return Ok(());
    }
    if let Some(pool) = &rule.nat {
        let stuck = pool.sticky.then(|| sticky::Stuck::new(rule, ends));
        ports::source(core, passage.direction, rule, pool, ends)?;
        ends.by_load[0] = pool.kind == PoolKind::LeastStates;
        ends.sticky[0] = stuck;
    }
    if let Some(pool) = &rule.rdr {
        let stuck = pool.sticky.then(|| sticky::Stuck::new(rule, ends));
        ends.dst = destination(core, rule, pool, ends)?;
        ends.by_load[1] = pool.kind == PoolKind::LeastStates;
        ends.sticky[1] = stuck;
    }
    Ok(())
}

/// Writes into a new state what the rules made of its ends, and whether other cores must know of it.
#[inline]
pub fn mark(core: &Core<'_>, pd: &PacketDesc, ends: &Ends, st: &mut State) {
    let (src, dst) = (pd.key_in.end(0), pd.key_in.end(1));
    if (ends.af, ends.src, ends.dst, ends.rdomain) != (pd.af, src, dst, pd.rdomain) {
        change_ends(pd, ends, st);
    }
    if core.workers > 1 || ends.by_load != [false; 2] {
        mark_published(core, pd, ends, st);
    }
}

fn change_ends(pd: &PacketDesc, ends: &Ends, st: &mut State) {
    let changed = ends.key(st.direction);
    match st.direction {
        _ if ends.af != pd.af => {
            (st.wire, st.stack) = family::keys(&st.wire, ends);
            st.flags |= StateFlags::CHANGES_FAMILY;
        }
        Direction::In => st.stack = changed,
        Direction::Out => st.wire = changed,
    }
    if st.wire != st.stack {
        st.flags |= StateFlags::TRANSLATED;
        st.set_deltas();
    }
}

fn mark_published(core: &Core<'_>, pd: &PacketDesc, ends: &Ends, st: &mut State) {
    st.flags.set(StateFlags::LOADS_SOURCE, ends.by_load[0]);
    st.flags.set(StateFlags::LOADS_DESTINATION, ends.by_load[1]);
    if core.workers > 1 && !pd.is_neighbor_discovery {
        let (wire, stack) = (is_shared(core, &st.wire), is_shared(core, &st.stack));
        st.flags.set(StateFlags::CLAIMS_WIRE, wire);
        st.flags.set(StateFlags::CLAIMS_STACK, stack);
    }
    let known = st.flags.intersects(PUBLISHED);
    st.flags.set(StateFlags::KNOWN_ELSEWHERE, known);
}

/// Whether other cores must know of a state that keeps the ends of the packet which makes it.
#[inline]
pub(crate) fn is_shared_as_it_is(core: &Core<'_>, pd: &PacketDesc, direction: Direction) -> bool {
    core.workers > 1 && !pd.is_neighbor_discovery && is_shared(core, &pd.key(direction))
}

/// What other cores are told of a state beside its aliases.
const PUBLISHED: StateFlags = StateFlags::CLAIMS_WIRE
    .union(StateFlags::CLAIMS_STACK)
    .union(StateFlags::LOADS_SOURCE)
    .union(StateFlags::LOADS_DESTINATION);

/// Another core might make a state with this key as well: packets with it reach another core, or would, had translation
/// not given them one of these ends.
fn is_shared(core: &Core<'_>, key: &Key) -> bool {
    let ruleset = core.ruleset;
    let is_target = |n: usize| {
        let (af, (addr, _)) = (key.af(), key.end(n));
        ruleset.targets.contains(&ruleset.tables, af, addr)
    };
    owner::core_of(owner::hash_key(key), core.workers) != core.worker
        || is_target(0)
        || is_target(1)
}

/// Lets the other cores know of a state that is about to be. False, and they know nothing, if one of them has a key of
/// it.
#[inline]
pub fn publish(core: &Core<'_>, st: &State) -> bool {
    !st.flags.intersects(PUBLISHED) || publish_claims(core, st)
}

fn publish_claims(core: &Core<'_>, st: &State) -> bool {
    let agreement = &core.shared.agreement;
    for (n, (direction, key)) in claims(st).enumerate() {
        if !agreement.claim(direction, key) {
            let before = claims(st).take(n);
            before.for_each(|(direction, key)| agreement.release(direction, key));
            return false;
        }
    }
    for place in load_places(agreement, st) {
        agreement.loads().add(place);
    }
    true
}

/// Takes back what [`publish`] has told: the state is gone.
pub fn retract(agreement: &Agreement, st: &State) {
    for (direction, key) in claims(st) {
        agreement.release(direction, key);
    }
    for place in load_places(agreement, st) {
        agreement.loads().sub(place);
    }
}

/// As [`retract`], for the state that has departed last: the packet at hand may be about to take its place.
pub(crate) fn retract_departed(core: &mut Core<'_>, gone: &State) {
    if gone.flags.intersects(PUBLISHED) {
        retract(&core.shared.agreement, gone);
        core.states.departed_told(PUBLISHED);
    }
}

/// The packets that no other state of any core may have: those that come in with the key on the wire, and those that go
/// out with the other. If the two differ in family, packets of both go either way.
fn claims(st: &State) -> impl Iterator<Item = (Direction, &Key)> {
    let both = st.flags.contains(StateFlags::CHANGES_FAMILY);
    let (wire, stack) = (StateFlags::CLAIMS_WIRE, StateFlags::CLAIMS_STACK);
    let all = [
        (true, wire, Direction::In, &st.wire),
        (true, stack, Direction::Out, &st.stack),
        (both, stack, Direction::In, &st.stack),
        (both, wire, Direction::Out, &st.wire),
    ];
    let claimed = move |(applies, flag, ..): &(bool, StateFlags, Direction, &Key)| {
        *applies && st.flags.contains(*flag)
    };
    let claimed = all.into_iter().filter(claimed);
    claimed.map(|(_, _, direction, key)| (direction, key))
}

/// The chosen addresses of a state whose pool counts states.
fn load_places(agreement: &Agreement, st: &State) -> impl Iterator<Item = u64> {
    let (key, source) = match st.direction {
        Direction::In => (&st.stack, 0),
        Direction::Out => (&st.wire, 1),
    };
    let chosen = |flag: StateFlags, end: usize| {
        let counts = st.flags.contains(flag);
        counts.then(|| agreement.load_place(key.end(end).0))
    };
    let source_place = chosen(StateFlags::LOADS_SOURCE, source);
    let destination_place = chosen(StateFlags::LOADS_DESTINATION, 1 - source);
    source_place.into_iter().chain(destination_place)
}

/// An address of the pool for a packet with these ends.
pub(crate) fn address(
    core: &mut Core<'_>,
    rule: &Rule,
    usage: PoolUse,
    pool: &Pool,
    ends: &Ends,
    attempt: u32,
) -> Result<u128, Reason> {
    if pool.sticky
        && let Some(known) = sticky::Stuck::new(rule, ends).known(core, usage)
    {
        return Ok(known);
    }
    let agreement = &core.shared.agreement;
    let dice = match pool.kind {
        PoolKind::Random => (0..4).fold(0, |dice, _| dice << 32 | u128::from(core.roll())),
        _ => 0,
    };
    let replaced = match usage {
        PoolUse::Nat => ends.src.0,
        PoolUse::Rdr | PoolUse::Route => ends.dst.0,
    };
    let draw = Draw {
        source: ends.src.0,
        replaced,
        dice,
        turn: match pool.kind {
            PoolKind::RoundRobin | PoolKind::LeastStates => agreement.turn(rule.slot, usage),
            _ => 0,
        },
        attempt,
        states_of: &|addr| agreement.loads().get(agreement.load_place(addr)),
    };
    pool.choose(core.ruleset, ends.af, &draw)
        .ok_or(Reason::Translate)
}

/// Destination after `rdr-to`: an address of the pool, and the port that the rule's range is mapped onto.
fn destination(
    core: &mut Core<'_>,
    rule: &Rule,
    pool: &Pool,
    ends: &Ends,
) -> Result<(u128, u16), Reason> {
    let addr = address(core, rule, PoolUse::Rdr, pool, ends, 0)?;
    let old = ends.dst.1;
    let port = match (ends.proto, pool.ports) {
        (PROTO_ICMP | PROTO_ICMP6, _) | (_, (0, 0)) => old,
        (_, (port, 0)) => port,
        (_, (low, high)) => mapped(old, rule.dst.port.map_or(0, |p| p.a), low, high),
    };
    Ok((addr, port))
}

/// `port low:high`, as pf_get_transaddr() counts: from the first port of the rule, around at the end of the range.
fn mapped(port: u16, rule_low: u16, low: u16, high: u16) -> u16 {
    let length = i32::from(high) - i32::from(low) + 1;
    let step = (i32::from(port) - i32::from(rule_low)).rem_euclid(length.max(1));
    let new = i32::from(low) + step;
    (if new > 65535 { new - 65535 } else { new }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_mapped_port_by_port_and_around() {
        for (port, rule_low, low, high, expect) in [
            (2000, 2000, 4000, 4010, 4000),
            (2005, 2000, 4000, 4010, 4005),
            (2011, 2000, 4000, 4010, 4000),
            (80, 80, 8080, 8080, 8080),
            (65535, 1, 65000, 65535, 65142),
        ] {
            assert_eq!(mapped(port, rule_low, low, high), expect, "{port}");
        }
    }
}
