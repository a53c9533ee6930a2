//! The source of a translated packet: an address, and a port that makes the new ends unique. With several cores a port
//! is preferred for which answers come to this core by themselves.
//!
//! Read first: pf_get_sport() of OpenBSD; RFC 6056 on random ports.

use ruleset::{Af, Direction, Pool, PortSet, Rule};
use state::Key;

use super::mapping::Source;
use super::{ADDRESSES_MAX, ECHO, ECHO6, Ends, PoolUse, address};
use crate::Core;
use crate::describe::{PROTO_ICMP, PROTO_ICMP6, PROTO_TCP, PROTO_UDP, PacketDesc};
use crate::owner;
use crate::reason::Reason;

/// Most keys looked up for one packet before it is given up.
const TRIES_MAX: u32 = 4096;

/// Ports that are tried ahead of the rules until one is found whose answers come to this core.
const AHEAD_MAX: usize = 64;

/// Ports that services are known to use although they lie where ports are chosen (OpenBSD: net.inet.tcp.baddynamic,
/// net.inet.udp.baddynamic).
const BAD_TCP: &[u16] = &[587, 749, 750, 751, 853, 871, 2049];
const BAD_UDP: &[u16] = &[623, 664, 749, 750, 751, 2049, 3784, 3785, 7784];

/// An address and its ports that the last translated packet drew from.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    addr: u128,
    low: u16,
    high: u16,
}

/// Ports drawn ahead of the rules. A port is random, so nobody has asked the cache for the line of the index that says
/// whether it is free. Most packets of a burst draw from the same range; each one's port can be drawn beforehand, and all
/// those lines asked for together. A guess that the rules do not follow costs time and nothing else.
#[derive(Debug, Default)]
pub struct PortsAhead {
    last: Option<Drawn>,
    /// What was drawn for the packet at hand.
    pub port: Option<u16>,
}

impl PortsAhead {
    /// Whether packets have been translated at all.
    #[inline]
    pub fn are_drawn(&self) -> bool {
        self.last.is_some()
    }

    /// The packet at hand is done with. If nobody wanted its port, none are drawn until a packet is translated again.
    #[inline]
    pub fn end(&mut self) {
        if self.port.take().is_some() {
            self.last = None;
        }
    }

    /// A port for a packet that is about to leave, and the key that it would have on the wire.
    pub fn draw(
        &self,
        pd: &PacketDesc,
        dice: u32,
        (core, cores): (u16, u16),
    ) -> Option<(u16, Key)> {
        let Drawn { addr, low, high } = self.last?;
        if pd.af != Af::Inet || !matches!(pd.proto, PROTO_TCP | PROTO_UDP) {
            return None;
        }
        let key = |port| {
            let key = Key::new(
                Direction::Out,
                pd.af,
                pd.proto,
                (addr, port),
                pd.key_in.end(1),
            );
            key.within(pd.rdomain)
        };
        let first = within(dice, low, high);
        let is_home = |port: &u16| owner::core_of(owner::hash_key(&key(*port)), cores) == core;
        let home = (first..=high)
            .take(AHEAD_MAX)
            .find(|port| cores == 1 || is_home(port));
        let port = home.unwrap_or(first);
        Some((port, key(port)))
    }
}

/// What to choose from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Choice {
    /// It stays.
    Keep,
    /// It stays, and need not be unique: one conversation per pair of addresses.
    KeepAnyhow,
    /// One of these, both included.
    Range(u16, u16),
    /// One of a set.
    Set(PortSet),
}

/// Source after `nat-to`.
pub(super) fn source(
    core: &mut Core<'_>,
    direction: Direction,
    rule: &Rule,
    pool: &Pool,
    ends: &mut Ends,
) -> Result<(), Reason> {
    let is_mapped = pool.endpoint_independent && ends.proto == PROTO_UDP;
    let source = is_mapped.then(|| Source::new(rule, ends));
    let known = source.and_then(|source| core.shared.agreement.mappings().get(&source));
    let chosen = match known {
        Some(known) => known,
        None => choose(core, direction, rule, pool, ends, source)?,
    };
    ends.src = chosen;
    ends.mapped = source.map(|source| (source, chosen));
    Ok(())
}

/// An address of the pool, and a port of it that is free.
fn choose(
    core: &mut Core<'_>,
    direction: Direction,
    rule: &Rule,
    pool: &Pool,
    ends: &Ends,
    mapped: Option<Source>,
) -> Result<(u128, u16), Reason> {
    let choice = choice(pool, ends);
    let addresses = pool.choices(core.ruleset, ends.af, ADDRESSES_MAX);
    let mut search = Search {
        direction,
        mapped,
        tries_left: TRIES_MAX,
    };
    for attempt in 0..addresses.max(1) {
        let addr = address(core, rule, PoolUse::Nat, pool, ends, attempt)?;
        if let Some(port) = search.port(core, choice, addr, ends) {
            return Ok((addr, port));
        }
    }
    Err(Reason::Translate)
}

fn choice(pool: &Pool, ends: &Ends) -> Choice {
    match (ends.proto, ends.dst.1, pool.ports) {
        (PROTO_ICMP, ECHO, _) | (PROTO_ICMP6, ECHO6, _) => {
            // Identifiers are shared out like ports (RFC 7597 8.2).
            pool.port_set
                .map_or(Choice::Range(1, u16::MAX), Choice::Set)
        }
        (PROTO_ICMP | PROTO_ICMP6, ..) => Choice::KeepAnyhow,
        (PROTO_TCP | PROTO_UDP, _, (0, 0)) => Choice::Keep,
        (PROTO_TCP | PROTO_UDP, _, (a, b)) => {
            let range = Choice::Range(a.min(b), a.max(b));
            pool.port_set.map_or(range, Choice::Set)
        }
        _ => Choice::Keep,
    }
}

/// A search for a port.
struct Search {
    direction: Direction,
    /// Who is to have the end, whoever the receiver is.
    mapped: Option<Source>,
    tries_left: u32,
}

impl Search {
    fn port(
        &mut self,
        core: &mut Core<'_>,
        choice: Choice,
        addr: u128,
        ends: &Ends,
    ) -> Option<u16> {
        match choice {
            Choice::KeepAnyhow => Some(ends.src.1),
            Choice::Keep => {
                let port = ends.src.1;
                self.is_free(core, addr, port, ends).then_some(port)
            }
            Choice::Range(low, high) => {
                if self.direction == Direction::Out && low < high {
                    core.ahead.last = Some(Drawn { addr, low, high });
                }
                let drawn = core.ahead.port.take();
                let drawn = drawn.filter(|port| (low..=high).contains(port));
                let range = (low, high, drawn.unwrap_or_else(|| start(core, low, high)));
                self.home_first(core, ends, |search, core, home| {
                    search.scan(core, range, addr, ends, home)
                })
            }
            Choice::Set(set) => {
                let first = start(core, 0, set.ranges() - 1);
                self.home_first(core, ends, |search, core, home| {
                    search.scan_set(core, (set, first), addr, ends, home)
                })
            }
        }
    }

    /// First those whose answers come to this core.
    fn home_first(
        &mut self,
        core: &mut Core<'_>,
        ends: &Ends,
        mut scan: impl FnMut(&mut Self, &mut Core<'_>, bool) -> Option<u16>,
    ) -> Option<u16> {
        let home = core.workers > 1 && matches!(ends.proto, PROTO_TCP | PROTO_UDP);
        home.then(|| scan(self, core, true))
            .flatten()
            .or_else(|| scan(self, core, false))
    }

    /// The ranges of a set, from a random one on, and around.
    fn scan_set(
        &mut self,
        core: &mut Core<'_>,
        (set, first): (PortSet, u16),
        addr: u128,
        ends: &Ends,
        home: bool,
    ) -> Option<u16> {
        let ranges = set.ranges();
        (0..ranges).find_map(|n| {
            let place = (u32::from(first) + u32::from(n)) % u32::from(ranges);
            let (low, high) = set.range(place as u16);
            let range = (low, high, start(core, low, high));
            self.scan(core, range, addr, ends, home)
        })
    }

    /// From a random start up to the end, then down to the beginning.
    fn scan(
        &mut self,
        core: &Core<'_>,
        (low, high, start): (u16, u16, u16),
        addr: u128,
        ends: &Ends,
        home: bool,
    ) -> Option<u16> {
        for port in (start..=high).chain((low..start).rev()) {
            let wanted = !home || self.is_home(core, addr, port, ends);
            if !wanted || (low != high && is_bad(ends.proto, port)) {
                continue;
            }
            if self.is_free(core, addr, port, ends) {
                return Some(port);
            }
            if self.tries_left == 0 {
                return None;
            }
        }
        None
    }

    fn key(&self, addr: u128, port: u16, ends: &Ends) -> Key {
        let key = Key::new(self.direction, ends.af, ends.proto, (addr, port), ends.dst);
        key.within(ends.rdomain)
    }

    fn is_home(&self, core: &Core<'_>, addr: u128, port: u16, ends: &Ends) -> bool {
        let key = self.key(addr, port, ends);
        owner::core_of(owner::hash_key(&key), core.workers) == core.worker
    }

    /// No state of this core has the key, and no other core has claimed it.
    fn is_free(&mut self, core: &Core<'_>, addr: u128, port: u16, ends: &Ends) -> bool {
        let Some(left) = self.tries_left.checked_sub(1) else {
            return false;
        };
        self.tries_left = left;
        let mappings = core.shared.agreement.mappings();
        if self
            .mapped
            .is_some_and(|source| mappings.is_taken(&source, (addr, port)))
        {
            return false;
        }
        let key = self.key(addr, port, ends);
        // Answers to what goes out come in, and the other way round.
        let answers = self.direction.opposite();
        !core.states.has_way(answers, &key) && !core.shared.agreement.is_claimed(answers, &key)
    }
}

fn start(core: &mut Core<'_>, low: u16, high: u16) -> u16 {
    within(core.roll(), low, high)
}

/// A place from `low` to `high`, by a number that is uniform over all of u32.
fn within(dice: u32, low: u16, high: u16) -> u16 {
    let count = u32::from(high - low) + 1;
    low + ((u64::from(dice) * u64::from(count)) >> 32) as u16
}

fn is_bad(proto: u8, port: u16) -> bool {
    match proto {
        PROTO_TCP => BAD_TCP.contains(&port),
        PROTO_UDP => BAD_UDP.contains(&port),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_drawn_ahead_are_of_the_range_and_at_home_and_given_up_if_nobody_wants_them() {
        let pd = PacketDesc {
            proto: PROTO_UDP,
            key_in: Key::new(Direction::In, Af::Inet, PROTO_UDP, (1, 2), (3, 4)),
            ..PacketDesc::default()
        };
        let (addr, low, high) = (0xc000_0201, 50_001, 65_535);
        let mut ahead = PortsAhead::default();
        assert_eq!(ahead.draw(&pd, 0, (0, 1)), None, "nothing was translated");
        ahead.last = Some(Drawn { addr, low, high });
        for (core, dice) in (0..4).flat_map(|core| [0, 0x1234_5678, 0x8765_4321].map(|d| (core, d)))
        {
            let (port, key) = ahead.draw(&pd, dice, (core, 4)).expect("UDP over IPv4");
            assert!((low..=high).contains(&port), "{port}");
            assert_eq!(key.end(1), (addr, port));
            assert_eq!(key.end(0), (3, 4));
            assert_eq!(owner::core_of(owner::hash_key(&key), 4), core, "{port}");
        }
        let (alone, _) = ahead.draw(&pd, u32::MAX, (0, 1)).expect("UDP over IPv4");
        assert_eq!(alone, high);
        ahead.port = None;
        ahead.end();
        assert!(ahead.are_drawn());
        ahead.port = Some(alone);
        ahead.end();
        assert!(!ahead.are_drawn());
    }
}
