//! `endpoint-independent`: one end of a host inside is one end outside, whomever it speaks to, as long as any state uses
//! the mapping. Shared by all cores. Who may answer is another matter: the states say that, as for any translation.
//!
//! Read first: RFC 4787 4.1 (REQ-1); pf.conf(5), "POOL OPTIONS".

use alloc::boxed::Box;

use ruleset::{Af, Rule, RuleSlot};
use state::{HashSeed, Hold, Key};
use sync::{CacheLine, Claims, Locked};

use super::Ends;
use crate::Core;
use crate::limit::NoState;
use crate::reason::Reason;

/// Most mappings of a box; fewer if it can have fewer states.
pub const MAPPINGS_MAX: usize = 1 << 18;
/// Parts that cores lock apart from each other.
const SHARDS: usize = 16;
/// No place.
const NONE: u32 = u32::MAX;

/// An end inside, and the rule that maps it. Protocol is UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    slot: RuleSlot,
    af: Af,
    rdomain: u8,
    addr: u128,
    port: u16,
}

impl Source {
    /// The sender of a packet with these ends, under `rule`.
    pub(super) fn new(rule: &Rule, ends: &Ends) -> Self {
        Source {
            slot: rule.slot,
            af: ends.af,
            rdomain: ends.rdomain,
            addr: ends.src.0,
            port: ends.src.1,
        }
    }

    fn hash(&self, seed: HashSeed) -> u64 {
        let rule = u128::from(self.slot.0);
        key(self.af, self.rdomain, (self.addr, self.port), (rule, 0)).hash(seed)
    }

    /// Names the end outside that is somebody's.
    fn outside(&self, end: (u128, u16), seed: HashSeed) -> u64 {
        key(self.af, self.rdomain, end, (0, 0)).hash(seed)
    }
}

/// Keys serve for their hash.
fn key(af: Af, rdomain: u8, a: (u128, u16), b: (u128, u16)) -> Key {
    Key::new(ruleset::Direction::In, af, 0, a, b).within(rdomain)
}

#[derive(Clone, Copy)]
struct Mapping {
    source: Source,
    outside: (u128, u16),
    /// States that use it; 0 is free.
    states: u32,
    /// Next of the same hash, or next free one.
    next: u32,
}

const FREE: Mapping = Mapping {
    source: Source {
        slot: RuleSlot(0),
        af: Af::Inet,
        rdomain: 0,
        addr: 0,
        port: 0,
    },
    outside: (0, 0),
    states: 0,
    next: NONE,
};

struct Shard {
    heads: Box<[u32]>,
    places: Box<[Mapping]>,
    free: u32,
}

impl Shard {
    fn new(count: usize) -> Self {
        let count = count.max(1);
        let next = |n: usize| if n + 1 < count { n as u32 + 1 } else { NONE };
        Shard {
            heads: (0..count.next_power_of_two()).map(|_| NONE).collect(),
            places: (0..count)
                .map(|n| Mapping {
                    next: next(n),
                    ..FREE
                })
                .collect(),
            free: 0,
        }
    }

    fn head(&self, hash: u64) -> usize {
        hash as usize & (self.heads.len() - 1)
    }

    fn find(&self, hash: u64, source: &Source) -> Option<u32> {
        let mut place = self.heads[self.head(hash)];
        while let Some(mapping) = self.places.get(place as usize) {
            if mapping.source == *source {
                return Some(place);
            }
            place = mapping.next;
        }
        None
    }

    fn insert(&mut self, hash: u64, source: Source, outside: (u128, u16)) -> Option<u32> {
        let (place, head) = (self.free, self.head(hash));
        let mapping = self.places.get_mut(place as usize)?;
        self.free = mapping.next;
        *mapping = Mapping {
            source,
            outside,
            states: 1,
            next: self.heads[head],
        };
        self.heads[head] = place;
        Some(place)
    }

    fn remove(&mut self, hash: u64, place: u32) {
        let head = self.head(hash);
        let next = self.places[place as usize].next;
        if self.heads[head] == place {
            self.heads[head] = next;
        } else {
            let mut before = self.heads[head];
            while let Some(mapping) = self.places.get_mut(before as usize) {
                if mapping.next == place {
                    mapping.next = next;
                    break;
                }
                before = mapping.next;
            }
        }
        self.places[place as usize] = Mapping {
            next: self.free,
            ..FREE
        };
        self.free = place;
    }
}

/// Why a mapping was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Another core has mapped the source, or somebody else to that end, since it was chosen; or there is no room to
    /// remember that the end is taken.
    Taken,
    /// There are as many as there may be.
    Full,
}

/// The mappings of all cores.
pub struct Mappings {
    shards: Box<[CacheLine<Locked<Shard>>]>,
    /// Ends outside that are somebody's.
    outside: Claims,
    seed: HashSeed,
}

impl Mappings {
    /// Room for `count` mappings, at most [`MAPPINGS_MAX`].
    pub fn new(count: usize, seed: HashSeed) -> Self {
        let count = count.min(MAPPINGS_MAX);
        // Hashes are not fair: a quarter more than the share.
        let each = count / SHARDS * 5 / 4 + 4;
        Mappings {
            shards: (0..SHARDS)
                .map(|_| CacheLine(Locked::new(Shard::new(each))))
                .collect(),
            outside: Claims::new(count),
            seed,
        }
    }

    fn shard(&self, hash: u64) -> (usize, &Locked<Shard>) {
        let n = (hash >> 48) as usize % SHARDS;
        (n, &self.shards[n].0)
    }

    /// The end outside that a source has.
    pub fn get(&self, source: &Source) -> Option<(u128, u16)> {
        let hash = source.hash(self.seed);
        self.shard(hash).1.with(|shard| {
            let place = shard.find(hash, source)?;
            Some(shard.places[place as usize].outside)
        })
    }

    /// True if nobody may be mapped to this end any more.
    pub fn is_taken(&self, source: &Source, outside: (u128, u16)) -> bool {
        self.outside.holds(source.outside(outside, self.seed))
    }

    /// One more state that uses the mapping of `source` to `outside`, which is made if there is none. Gives its number,
    /// for [`Mappings::release`]; never 0.
    pub fn take(&self, source: &Source, outside: (u128, u16)) -> Result<u32, Refused> {
        let hash = source.hash(self.seed);
        let (n, shard) = self.shard(hash);
        let place = shard.with(|shard| {
            if let Some(place) = shard.find(hash, source) {
                let mapping = &mut shard.places[place as usize];
                if mapping.outside != outside {
                    return Err(Refused::Taken);
                }
                mapping.states += 1;
                return Ok(place);
            }
            let name = source.outside(outside, self.seed);
            if !self.outside.claim(name) {
                return Err(Refused::Taken);
            }
            let made = shard.insert(hash, *source, outside);
            if made.is_none() {
                self.outside.release(name);
            }
            made.ok_or(Refused::Full)
        })?;
        Ok(place * SHARDS as u32 + n as u32 + 1)
    }

    /// A state less that uses a mapping; the last one takes it along.
    pub fn release(&self, number: u32) {
        let Some(number) = number.checked_sub(1) else {
            return;
        };
        let place = number / SHARDS as u32;
        let shard = &self.shards[number as usize % SHARDS].0;
        shard.with(|shard| {
            let Some(mapping) = shard.places.get_mut(place as usize) else {
                return;
            };
            mapping.states = mapping.states.saturating_sub(1);
            if mapping.states == 0 {
                let Mapping {
                    source, outside, ..
                } = *mapping;
                self.outside.release(source.outside(outside, self.seed));
                shard.remove(source.hash(self.seed), place);
            }
        });
    }
}

/// Keeps the mapping that was chosen for these ends.
#[inline]
pub(crate) fn keep(core: &Core<'_>, ends: &Ends, hold: &mut Hold) -> Result<(), NoState> {
    match &ends.mapped {
        None => Ok(()),
        Some((source, outside)) => keep_one(core, source, outside, hold),
    }
}

fn keep_one(
    core: &Core<'_>,
    source: &Source,
    outside: &(u128, u16),
    hold: &mut Hold,
) -> Result<(), NoState> {
    let mappings = core.shared.agreement.mappings();
    hold.mapping = mappings
        .take(source, *outside)
        .map_err(|refused| match refused {
            Refused::Taken => NoState::Again,
            Refused::Full => NoState::Drop(Reason::Memory),
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn source(n: u16) -> Source {
        Source {
            port: n,
            ..FREE.source
        }
    }

    #[test]
    fn a_mapping_lives_as_long_as_states_use_it() {
        let mappings = Mappings::new(64, HashSeed(7));
        let outside = (9, 50_001);
        assert_eq!(mappings.get(&source(1)), None);
        let one = mappings.take(&source(1), outside).unwrap();
        let two = mappings.take(&source(1), outside).unwrap();
        assert_eq!((one, mappings.get(&source(1))), (two, Some(outside)));
        // Nobody else has this end, and the source no other.
        assert!(mappings.is_taken(&source(2), outside));
        assert_eq!(mappings.take(&source(2), outside), Err(Refused::Taken));
        assert_eq!(mappings.take(&source(1), (9, 2)), Err(Refused::Taken));
        mappings.release(one);
        assert_eq!(mappings.get(&source(1)), Some(outside));
        mappings.release(two);
        assert_eq!(mappings.get(&source(1)), None);
        assert!(mappings.take(&source(2), outside).is_ok());
    }

    #[test]
    fn mappings_agree_with_a_map() {
        let mut seed = 0x5eed_0042_1234_5678u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mappings = Mappings::new(256, HashSeed(0x77));
        let mut model: BTreeMap<u16, ((u128, u16), Vec<u32>)> = BTreeMap::new();
        for step in 0..20_000 {
            let n = (next() % 60) as u16;
            if next() % 2 == 0 {
                let wanted = (5, (next() % 80) as u16);
                let wanted = model.get(&n).map_or(wanted, |known| known.0);
                let others = model.iter().any(|(m, (end, _))| *m != n && *end == wanted);
                let taken = mappings.take(&source(n), wanted);
                assert_eq!(taken.is_err(), others, "step {step}");
                if let Ok(number) = taken {
                    let known = model.entry(n).or_insert((wanted, Vec::new()));
                    known.1.push(number);
                }
            } else if let Some((_, numbers)) = model.get_mut(&n) {
                mappings.release(numbers.pop().unwrap());
                if numbers.is_empty() {
                    model.remove(&n);
                }
            }
            let expected = model.get(&n).map(|known| known.0);
            assert_eq!(mappings.get(&source(n)), expected, "step {step}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
        let mappings = Mappings::new(16, HashSeed(1));
        let mut taken = Vec::new();
        let full = (0..u16::MAX).find(|n| {
            let made = mappings.take(&source(*n), (1, *n));
            taken.extend(made);
            made.is_err()
        });
        let full = full.expect("a limit");
        assert_eq!(mappings.get(&source(full)), None);
        for number in taken {
            mappings.release(number);
        }
        assert!((0..full).all(|n| mappings.get(&source(n)).is_none()));
    }
}
