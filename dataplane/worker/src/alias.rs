//! Connections whose answers reach another core than the one that owns them, because translation changed the ends that
//! name the core. The owner writes an *alias* to that core before the first packet leaves; that core hands the packets
//! over. Aliases end with the state.
//!
//! Letters have rings of their own, read before packets are steered: whoever can have an answer has the alias.

use alloc::boxed::Box;
use alloc::vec;

use filter::owner;
use filter::translate::Agreement;
use nic::Nic;
use ruleset::Direction;
use state::{Key, State, StateFlags, StateIdx};

use crate::forward::addr_of;
use crate::turn::Worker;

/// Aliases waiting on the way from one worker to another.
pub(crate) const ALIAS_RING: usize = 1024;
/// States that are gone whose aliases are withdrawn in one turn.
const FAREWELLS_MAX: usize = 256;

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

/// Who owns what would otherwise be this worker's: a fixed hash table, probed line by line.
pub(crate) struct Aliases {
    /// Hash (0: free) and owner.
    places: Box<[(u64, u16)]>,
    used: usize,
}

impl Aliases {
    /// For `most` aliases.
    pub(crate) fn new(most: usize) -> Self {
        let places = if most == 0 {
            0
        } else {
            (most * 2).next_power_of_two()
        };
        Aliases {
            places: vec![(0, 0); places].into_boxed_slice(),
            used: 0,
        }
    }

    fn start(&self, hash: u64) -> usize {
        (hash >> 16) as usize & (self.places.len() - 1)
    }

    /// Where it is, or where it would go.
    fn place(&self, hash: u64) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let (start, mask) = (self.start(hash), self.places.len() - 1);
        let mut probes = (0..self.places.len()).map(|n| (start + n) & mask);
        probes.find(|n| matches!(self.places[*n].0, 0) || self.places[*n].0 == hash)
    }

    pub(crate) fn owner(&self, hash: u64) -> Option<u16> {
        if self.used == 0 {
            return None;
        }
        let (found, owner) = self.places[self.place(hash)?];
        (found == hash).then_some(owner)
    }

    fn take(&mut self, letter: &AliasLetter) {
        let Some(n) = self.place(letter.hash) else {
            return;
        };
        let is_here = self.places[n].0 == letter.hash;
        match (letter.begins, is_here) {
            (true, _) => {
                self.used += usize::from(!is_here);
                self.places[n] = (letter.hash, letter.owner);
            }
            // An alias that another owner has taken over is that owner's to end.
            (false, true) if self.places[n].1 == letter.owner => self.remove(n),
            (false, _) => {}
        }
    }

    /// Frees a place; later ones of the same probe move up.
    fn remove(&mut self, mut hole: usize) {
        let mask = self.places.len() - 1;
        let mut n = hole;
        loop {
            n = (n + 1) & mask;
            if self.places[n].0 == 0 {
                break;
            }
            let home = self.start(self.places[n].0);
            let reaches = (n.wrapping_sub(home) & mask) >= (n.wrapping_sub(hole) & mask);
            if reaches {
                self.places[hole] = self.places[n];
                hole = n;
            }
        }
        self.places[hole] = (0, 0);
        self.used -= 1;
    }
}

/// Names a connection by the key of its packets that pass in `direction`. Never 0.
fn name_of(agreement: &Agreement, direction: Direction, key: &Key) -> u64 {
    /// Tells the two directions apart.
    const OUT: u64 = 0x5555_5555_5555_5555;
    let hash = key.hash(agreement.seed());
    let hash = match direction {
        Direction::In => hash,
        Direction::Out => hash ^ OUT,
    };
    hash.max(1)
}

/// Which way packets go that have the key of the box's side.
fn stack_way(both_come_in: bool) -> Direction {
    match both_come_in {
        true => Direction::In,
        false => Direction::Out,
    }
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
        let (wire, stack) = (st.wire, st.stack);
        let both_come_in = st.flags.contains(StateFlags::CHANGES_FAMILY);
        let local = st.direction == Direction::In
            && !both_come_in
            && self
                .config
                .interfaces
                .local(stack.rdomain(), addr_of(stack.af(), stack.end(1).0))
                .is_some();
        let told = [
            (Direction::In, wire, StateFlags::ALIASED_WIRE),
            // Answers of the box itself, or those in the other family.
            (stack_way(both_come_in), stack, StateFlags::ALIASED_STACK),
        ];
        for (direction, key, flag) in told {
            if flag == StateFlags::ALIASED_STACK && !local && !both_come_in {
                continue;
            }
            let to = self.reached(&key);
            if to == self.id {
                continue;
            }
            if !self.write_alias(to, direction, &key, true) {
                return false;
            }
            self.strangers += 1;
            if let Some(st) = self.states.get_mut(idx) {
                st.flags |= flag;
            }
        }
        true
    }

    fn write_alias(&mut self, to: u16, direction: Direction, key: &Key, begins: bool) -> bool {
        let letter = AliasLetter {
            hash: name_of(&self.shared.agreement, direction, key),
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
            while let Some(letter) = ring.pop() {
                self.aliases.take(&letter);
            }
        }
    }

    /// The owner of a connection whose packets reach this worker, if that is another one.
    pub(crate) fn alias(&self, direction: Direction, key: &Key) -> Option<u16> {
        if self.aliases.used == 0 {
            return None;
        }
        self.aliases
            .owner(name_of(&self.shared.agreement, direction, key))
    }

    /// States that are gone: other workers hear of it. What finds no room waits for the next turn.
    pub(crate) fn say_farewells(&mut self) -> bool {
        for _ in 0..FAREWELLS_MAX {
            let Some(gone) = self.states.departed() else {
                return false;
            };
            let gone = gone.clone();
            if !self.withdraw_aliases(&gone) {
                return true;
            }
            filter::translate::retract(&self.shared.agreement, &gone);
            self.states.forget_departed();
        }
        true
    }

    fn withdraw_aliases(&mut self, gone: &State) -> bool {
        let both_come_in = gone.flags.contains(StateFlags::CHANGES_FAMILY);
        let told = [
            (StateFlags::ALIASED_WIRE, Direction::In, gone.wire),
            (
                StateFlags::ALIASED_STACK,
                stack_way(both_come_in),
                gone.stack,
            ),
        ];
        for (flag, direction, key) in told {
            if !gone.flags.contains(flag) {
                continue;
            }
            if !self.write_alias(self.reached(&key), direction, &key, false) {
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
        let mut model = std::collections::BTreeMap::new();
        for step in 0..50_000 {
            // Few starting places, so that probes run into each other and around the end.
            let hash = (next() % 100) | (120 + next() % 12) << 16;
            let letter = AliasLetter {
                hash,
                owner: (next() % 3) as u16,
                begins: next() % 2 == 0,
            };
            if letter.begins && model.len() < 64 {
                aliases.take(&letter);
                model.insert(hash, letter.owner);
            } else if !letter.begins {
                aliases.take(&letter);
                if model.get(&hash) == Some(&letter.owner) {
                    model.remove(&hash);
                }
            }
            assert_eq!(aliases.used, model.len(), "step {step}");
            assert_eq!(
                aliases.owner(hash),
                model.get(&hash).copied(),
                "step {step}"
            );
        }
        for (hash, owner) in model {
            assert_eq!(aliases.owner(hash), Some(owner));
        }
    }
}
