//! The PF story of one packet on one interface: describe it ([`describe`]), find its state and test it
//! ([`test_state`]), or test the rules and create a state ([`test_rule`]); if it is blocked, decide what its sender
//! hears ([`respond`]). Every refusal has a [`Reason`].
//!
//! The filter knows addresses, rules and states of one core. It knows neither network cards nor routes nor other
//! cores: `worker` calls it with what it needs.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod answer;
pub mod beside;
pub mod counters;
pub mod describe;
pub mod kill;
pub mod lifetime;
pub mod limit;
pub mod notes;
mod os;
pub mod owner;
pub mod pflog;
pub mod reason;
pub mod reassemble;
pub mod respond;
pub mod rewrite;
pub mod route;
pub mod scrub;
pub mod secret;
pub mod seq;
mod stamps;
pub mod syncookies;
pub mod synproxy;
pub mod tables;
mod tcp;
pub mod test_rule;
pub mod test_state;
pub mod translate;

pub use answer::{Answer, Answers};
pub use beside::Beside;
pub use counters::{Counters, INTERFACES_MAX, LimitCounter, LostEdit};
pub use describe::{Kind, PacketDesc};
pub use kill::{Kill, Kills};
pub use limit::Shared;
pub use notes::{Logged, Notes, Step};
pub use reason::Reason;
pub use reassemble::Reassembler;
pub use respond::Response;
pub use secret::Secrets;
pub use syncookies::Cookies;

use ruleset::{Direction, KifId, KifSet, Ruleset};
use state::{Removed, State, StateTable, Vacancy};

use translate::PortsAhead;

/// What the filter of one core works on.
pub struct Core<'a> {
    /// The running policy.
    pub ruleset: &'a Ruleset,
    /// Its generation.
    pub generation: u32,
    /// Counters of this core.
    pub counters: &'a Counters,
    /// States of this core.
    pub states: &'a mut StateTable,
    /// What all cores count together.
    pub shared: &'a Shared,
    /// States that are to be killed because of this packet, on all cores.
    pub kills: &'a mut Kills,
    /// Milliseconds since start.
    pub now_ms: u64,
    /// State of the generator behind `probability`; never 0.
    pub dice: &'a mut u64,
    /// Numbers that nobody can guess.
    pub secrets: &'a mut Secrets,
    /// Segments to make, which the packet at hand brought about.
    pub answers: &'a mut Answers,
    /// Rules that states count on beside their own.
    pub beside: &'a mut Beside,
    /// What is told of the packet.
    pub notes: &'a mut Notes,
    /// Cookies of this core (`set syncookies`).
    pub cookies: &'a mut Cookies,
    /// Number of this core, from 0.
    pub worker: u16,
    /// How many cores there are.
    pub workers: u16,
    /// Where there is room for a state of the packet at hand as it is, if that was found out when it was looked for.
    pub room: Option<Vacancy>,
    /// Source ports that were drawn beforehand.
    pub ahead: &'a mut PortsAhead,
}

/// Where and which way a packet passes.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// In or out.
    pub direction: Direction,
    /// Names that the interface answers to.
    pub on: &'a KifSet,
    /// The interface's own name.
    pub kif: KifId,
    /// It is a loopback.
    pub loopback: bool,
    /// Its routing domain.
    pub rdomain: u8,
    /// Names of the interface that a forwarded packet came in on.
    pub received_on: Option<&'a KifSet>,
}

impl Core<'_> {
    /// A number for `probability`: xorshift, which needs no secrecy here.
    pub fn roll(&mut self) -> u32 {
        roll(self.dice)
    }

    /// Counts off the state that was removed last.
    pub fn removed(&mut self, gone: &Removed) {
        count_removal(self.counters, self.shared, self.ruleset, self.now_ms, gone);
        translate::retract_departed(self, gone);
    }
}

/// A number by a generator whose state is never 0: xorshift, which is no secret.
#[inline]
pub fn roll(dice: &mut u64) -> u32 {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    (*dice >> 32) as u32
}

/// Seconds after which a state in its present class expires.
pub fn timeout_s(ruleset: &Ruleset, shared: &Shared, st: &State) -> u32 {
    // Of a rule that scales by its own states all cores count these together.
    let of_rule = || shared.rule(st.rule).states.get();
    lifetime::lifetime_s(ruleset, st, shared.states.get(), of_rule)
}

/// Counts a removed state off.
pub fn count_removal(
    counters: &Counters,
    shared: &Shared,
    ruleset: &Ruleset,
    now_ms: u64,
    gone: &Removed,
) {
    counters.removals.add(1);
    counters.rule(gone.rule).states.sub(1);
    shared.states.give_back(1);
    if tcp::is_half_open(gone) {
        shared.half_open.give_back(1);
    }
    limit::release(shared, ruleset, now_ms, gone);
}
