//! Connections whose packets reach another core than the one that owns them, because translation changed the ends that
//! name the core. The owner writes an *alias* to that core before the first packet leaves; that core hands over all
//! packets between the two ends, whichever way they go: as in a box with one core, a packet may belong to such a
//! connection only where it leaves, or where it comes in. Aliases end with the state.
//!
//! Letters have rings of their own, read before packets are steered: whoever can have an answer has the alias.

use alloc::boxed::Box;
use alloc::vec;

use filter::owner;
use filter::translate::Agreement;
use nic::Nic;
use state::{Key, State, StateFlags, StateIdx};

use crate::turn::Worker;

/// Aliases waiting on the way from one worker to another.
pub(crate) const ALIAS_RING: usize = 1024;
/// States that are gone whose aliases are withdrawn in one turn: as many as one turn's sweep may purge.
const FAREWELLS_MAX: usize = 2 * nic::BURST_MAX;
/// Letters read together: the places of all of them are asked for first.
const LETTERS: usize = 32;

/// A letter about a connection that the writer owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AliasLetter {
    /// Names the connection.
    hash: u64,
    /// The writer.
    owner: u16,
    /// It begins; otherwise it has ended.
    begins: bool,
}

/// Letters about one connection by one owner: its states may have the same ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Alias {
    /// 0 is free.
    hash: u64,
    owner: u16,
    /// States of the owner that have written it.
    states: u32,
}

const FREE: Alias = Alias {
    hash: 0,
    owner: 0,
    states: 0,
};

/// An alias as it lies in the table. As words, because the system gives zeros that cost no memory until used, and a box
/// that translates nothing has no aliases.
type Words = [u64; 2];

impl Alias {
    fn of([hash, rest]: Words) -> Self {
        Alias {
            hash,
            owner: (rest >> 32) as u16,
            states: rest as u32,
        }
    }

    fn words(self) -> Words {
        let rest = u64::from(self.owner) << 32 | u64::from(self.states);
        [self.hash, rest]
    }
}

/// Who owns what would otherwise be this worker's: a fixed hash table, probed line by line.
pub(crate) struct Aliases {
    places: Box<[Words]>,
    used: usize,
}

impl Aliases {
    /// For `most` aliases. There are as many only if one worker owns all connections, so the table may be three quarters full
    /// then.
    pub(crate) fn new(most: usize) -> Self {
        let places = if most == 0 {
            0
        } else {
            (most + most.div_ceil(3)).next_power_of_two()
        };
        Aliases {
            places: vec![FREE.words(); places].into_boxed_slice(),
            used: 0,
        }
    }

    fn start(&self, hash: u64) -> usize {
        (hash >> 16) as usize & (self.places.len() - 1)
    }

    /// Asks for the line in which a hash has its first place.
    fn prefetch(&self, hash: u64) {
        if !self.places.is_empty() {
            sync::prefetch(&self.places[self.start(hash)]);
        }
    }

    /// Where `is_it` says yes to one with this hash, or where it would go.
    fn place(&self, hash: u64, is_it: impl Fn(&Alias) -> bool) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let (start, mask) = (self.start(hash), self.places.len() - 1);
        let mut probes = (0..self.places.len()).map(|n| (start + n) & mask);
        probes.find(|n| {
            let place = Alias::of(self.places[*n]);
            place.hash == FREE.hash || (place.hash == hash && is_it(&place))
        })
    }

    pub(crate) fn is_in_use(&self) -> bool {
        self.used != 0
    }

    pub(crate) fn owner(&self, hash: u64) -> Option<u16> {
        if self.used == 0 {
            return None;
        }
        let found = Alias::of(self.places[self.place(hash, |_| true)?]);
        (found.hash == hash).then_some(found.owner)
    }

    fn take(&mut self, letter: &AliasLetter) {
        // Between two that differ in a half only, two cores may own one each.
        let Some(n) = self.place(letter.hash, |place| place.owner == letter.owner) else {
            return;
        };
        let before = Alias::of(self.places[n]).states;
        let of = |states| Alias {
            hash: letter.hash,
            owner: letter.owner,
            states,
        };
        match (letter.begins, before) {
            (true, _) => {
                self.places[n] = of(before + 1).words();
                self.used += usize::from(before == 0);
            }
            (false, 0) => {}
            (false, 1) => self.remove(n),
            (false, _) => self.places[n] = of(before - 1).words(),
        }
    }

    /// Frees a place; later ones of the same probe move up.
    fn remove(&mut self, mut hole: usize) {
        let mask = self.places.len() - 1;
        let mut n = hole;
        loop {
            n = (n + 1) & mask;
            let hash = Alias::of(self.places[n]).hash;
            if hash == FREE.hash {
                break;
            }
            let home = self.start(hash);
            let reaches = (n.wrapping_sub(home) & mask) >= (n.wrapping_sub(hole) & mask);
            if reaches {
                self.places[hole] = self.places[n];
                hole = n;
            }
        }
        self.places[hole] = FREE.words();
        self.used -= 1;
    }
}

/// Names all packets between the ends of a key, whichever way they go. Never 0.
fn name_of(agreement: &Agreement, key: &Key) -> u64 {
    key.either_way().hash(agreement.seed()).max(1)
}

/// The keys of a state whose packets may reach different workers.
fn keys_of(st: &State) -> [Option<(Key, StateFlags)>; 2] {
    let stack = (st.stack != st.wire).then_some((st.stack, StateFlags::ALIASED_STACK));
    [Some((st.wire, StateFlags::ALIASED_WIRE)), stack]
}

impl<N: Nic> Worker<N> {
    /// The worker that packets with this key reach by themselves.
    fn reached(&self, key: &Key) -> u16 {
        owner::core_of(owner::hash_key(key), self.workers)
    }

    /// A state was made: tells the workers that its packets reach. False, and nothing is told, if one cannot be told.
    pub(crate) fn announce(&mut self, idx: StateIdx) -> bool {
        let Some(st) = self.states.get(idx) else {
            return true;
        };
        if self.workers == 1 || !st.flags.contains(StateFlags::KNOWN_ELSEWHERE) {
            return true;
        }
        for (key, flag) in keys_of(st).into_iter().flatten() {
            let to = self.reached(&key);
            if to == self.id {
                continue;
            }
            if !self.write_alias(to, &key, true) {
                return false;
            }
            self.strangers += 1;
            if let Some(st) = self.states.get_mut(idx) {
                st.flags |= flag;
            }
        }
        true
    }

    fn write_alias(&mut self, to: u16, key: &Key, begins: bool) -> bool {
        let letter = AliasLetter {
            hash: name_of(&self.shared.agreement, key),
            owner: self.id,
            begins,
        };
        let written = &mut self.aliases_written[usize::from(to)];
        if begins && *written >= self.aliases_per_worker {
            return false;
        }
        let ring = self.ends.alias_out.get_mut(usize::from(to));
        let sent = ring
            .and_then(Option::as_mut)
            .is_some_and(|ring| ring.push(letter).is_ok());
        if sent && begins {
            *written += 1;
        } else if sent {
            *written -= 1;
        }
        sent
    }

    /// Takes in what other workers wrote.
    pub(crate) fn hear_aliases(&mut self) {
        for ring in &mut self.ends.alias_in {
            // All of them: a packet may be next that belongs to the last.
            while !ring.is_empty() {
                let mut letters = heapless::Vec::<AliasLetter, LETTERS>::new();
                while !letters.is_full()
                    && let Some(letter) = ring.pop()
                {
                    self.aliases.prefetch(letter.hash);
                    letters.push(letter).ok();
                }
                letters.iter().for_each(|letter| self.aliases.take(letter));
            }
        }
    }

    /// The owner of a connection whose packets reach this worker, if that is another one.
    pub(crate) fn alias(&self, key: &Key) -> Option<u16> {
        if self.aliases.used == 0 {
            return None;
        }
        let owner = self.aliases.owner(name_of(&self.shared.agreement, key))?;
        (!self.states.has_ends(key)).then_some(owner)
    }

    /// Asks the cache for what [`Worker::alias`] reads of a key.
    pub(crate) fn prefetch_alias(&self, key: &Key) {
        if self.aliases.is_in_use() {
            self.aliases.prefetch(name_of(&self.shared.agreement, key));
        }
        for key in [*key, key.mirrored()] {
            self.states.prefetch_bucket(self.states.hash(&key));
        }
    }

    /// States that are gone: other workers hear of it. What finds no room waits for the next turn.
    pub(crate) fn say_farewells(&mut self) -> bool {
        for _ in 0..FAREWELLS_MAX {
            let Some(gone) = self.states.departed() else {
                return false;
            };
            let gone = *gone;
            if !self.withdraw_aliases(&gone) {
                return true;
            }
            filter::translate::retract(&self.shared.agreement, &gone);
            self.states.forget_departed();
        }
        true
    }

    fn withdraw_aliases(&mut self, gone: &State) -> bool {
        for (key, flag) in keys_of(gone).into_iter().flatten() {
            if !gone.flags.contains(flag) {
                continue;
            }
            if !self.write_alias(self.reached(&key), &key, false) {
                return false;
            }
            self.strangers -= 1;
            self.states.departed_told(flag);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_agree_with_a_map() {
        let mut seed = 0x5eed_0001_2345_6789u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut aliases = Aliases::new(64);
        let mut model: std::collections::BTreeMap<(u64, u16), u32> = Default::default();
        for step in 0..50_000 {
            // Few starting places, so that probes run into each other and around the end.
            let hash = (next() % 100) | (120 + next() % 12) << 16;
            let letter = AliasLetter {
                hash,
                owner: (next() % 3) as u16,
                begins: next() % 2 == 0,
            };
            let name = (hash, letter.owner);
            let count = model.get(&name).copied().unwrap_or(0);
            if letter.begins && model.len() < 64 {
                aliases.take(&letter);
                model.insert(name, count + 1);
            } else if !letter.begins {
                aliases.take(&letter);
                if count > 1 {
                    model.insert(name, count - 1);
                } else {
                    model.remove(&name);
                }
            }
            assert_eq!(aliases.used, model.len(), "step {step}");
            let owners: Vec<u16> = (0..3)
                .filter(|owner| model.contains_key(&(hash, *owner)))
                .collect();
            match aliases.owner(hash) {
                Some(owner) => assert!(owners.contains(&owner), "step {step}"),
                None => assert!(owners.is_empty(), "step {step}"),
            }
        }
        assert!(!model.is_empty());
        assert!(model.keys().all(|(hash, _)| aliases.owner(*hash).is_some()));
    }
}
