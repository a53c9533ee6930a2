//! The source of a translated packet: an address, and a port that makes the new ends unique. With several cores a port
//! is preferred for which answers come to this core by themselves.
//!
//! Read first: pf_get_sport() of OpenBSD; RFC 6056 on random ports.

use ruleset::{Direction, Pool, Rule};

use super::{ADDRESSES_MAX, ECHO, ECHO6, Ends, PoolUse, address};
use crate::Core;
use crate::describe::{PROTO_ICMP, PROTO_ICMP6, PROTO_TCP, PROTO_UDP};
use crate::owner;
use crate::reason::Reason;

/// Most keys looked up for one packet before it is given up.
const TRIES_MAX: u32 = 4096;

/// Ports that services are known to use although they lie where ports are chosen (OpenBSD: net.inet.tcp.baddynamic,
/// net.inet.udp.baddynamic).
const BAD_TCP: &[u16] = &[587, 749, 750, 751, 853, 871, 2049];
const BAD_UDP: &[u16] = &[623, 664, 749, 750, 751, 2049, 3784, 3785, 7784];

/// What to choose from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Choice {
    /// It stays.
    Keep,
    /// It stays, and need not be unique: one conversation per pair of addresses.
    KeepAnyhow,
    /// One of these, both included.
    Range(u16, u16),
}

/// Source after `nat-to`.
pub(super) fn source(
    core: &mut Core<'_>,
    direction: Direction,
    rule: &Rule,
    pool: &Pool,
    ends: &Ends,
) -> Result<(u128, u16), Reason> {
    let choice = choice(pool, ends);
    let addresses = pool.choices(core.ruleset, ends.af, ADDRESSES_MAX);
    let mut search = Search {
        direction,
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
        (PROTO_ICMP, ECHO, _) | (PROTO_ICMP6, ECHO6, _) => Choice::Range(1, u16::MAX),
        (PROTO_ICMP | PROTO_ICMP6, ..) => Choice::KeepAnyhow,
        (PROTO_TCP | PROTO_UDP, _, (0, 0)) => Choice::Keep,
        (PROTO_TCP | PROTO_UDP, _, (a, b)) => Choice::Range(a.min(b), a.max(b)),
        _ => Choice::Keep,
    }
}

/// A search for a port.
struct Search {
    direction: Direction,
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
                let start = start(core, low, high);
                let home = core.workers > 1 && matches!(ends.proto, PROTO_TCP | PROTO_UDP);
                // First those whose answers come to this core.
                home.then(|| self.scan(core, (low, high, start), addr, ends, true))
                    .flatten()
                    .or_else(|| self.scan(core, (low, high, start), addr, ends, false))
            }
        }
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

    fn key(&self, addr: u128, port: u16, ends: &Ends) -> state::Key {
        let ends = Ends {
            src: (addr, port),
            ..*ends
        };
        ends.key(self.direction)
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
        let key = self.key(addr, port, ends);
        // Answers to what goes out come in, and the other way round.
        let answers = self.direction.opposite();
        core.states.find_way(answers, &key).is_none()
            && !(self.direction == Direction::Out && core.shared.agreement.is_claimed(&key))
    }
}

fn start(core: &mut Core<'_>, low: u16, high: u16) -> u16 {
    let count = u32::from(high - low) + 1;
    low + ((u64::from(core.roll()) * u64::from(count)) >> 32) as u16
}

fn is_bad(proto: u8, port: u16) -> bool {
    match proto {
        PROTO_TCP => BAD_TCP.contains(&port),
        PROTO_UDP => BAD_UDP.contains(&port),
        _ => false,
    }
}
