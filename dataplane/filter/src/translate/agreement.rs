//! What the cores must agree on to translate as one: which keys are taken, whose turn it is in a pool, how many states
//! an address has.

use ruleset::{Direction, RuleSlot};
use state::{HashSeed, Key};
use sync::{Claims, Loads, Turns};

use super::mapping::Mappings;

/// Pools of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolUse {
    /// `nat-to`
    Nat,
    /// `rdr-to`
    Rdr,
    /// `route-to`, `reply-to`, `dup-to`
    Route,
}

const USES: usize = 3;
/// Places of the counts behind `least-states`.
const LOADS: usize = 1 << 16;

/// One for all cores.
pub struct Agreement {
    turns: Turns,
    loads: Loads,
    claims: Option<Claims>,
    mappings: Mappings,
    seed: HashSeed,
}

impl Default for Agreement {
    /// For one core and the default rule.
    fn default() -> Self {
        Agreement::new(1, 0, 1, 0)
    }
}

impl core::fmt::Debug for Agreement {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Agreement").finish_non_exhaustive()
    }
}

impl Agreement {
    /// For rules with counters in `rule_slots` places, and `states` states of all cores. A core that is alone has
    /// nobody to agree with.
    pub fn new(rule_slots: usize, states: usize, cores: usize, seed: u64) -> Self {
        Agreement {
            turns: Turns::new(rule_slots * USES),
            loads: Loads::new(LOADS),
            // Each state may claim both of its keys.
            claims: (cores > 1).then(|| Claims::new(states * 2)),
            mappings: Mappings::new(states, HashSeed(seed ^ 0x6d61_7070_696e_6773)),
            seed: HashSeed(seed),
        }
    }

    /// The next turn of a rule's pool.
    pub fn turn(&self, slot: RuleSlot, usage: PoolUse) -> u64 {
        self.turns.next(slot.0 as usize * USES + usage as usize)
    }

    /// Claims for the calling core the packets that pass an interface in `direction` with this key. False if another
    /// state of any core has them.
    pub fn claim(&self, direction: Direction, key: &Key) -> bool {
        let claims = self.claims.as_ref();
        claims.is_none_or(|c| c.claim(self.claim_of(direction, key)))
    }

    /// The state with this key is gone.
    pub fn release(&self, direction: Direction, key: &Key) {
        if let Some(claims) = &self.claims {
            claims.release(self.claim_of(direction, key));
        }
    }

    /// True if a core has claimed the key.
    pub fn is_claimed(&self, direction: Direction, key: &Key) -> bool {
        let claims = self.claims.as_ref();
        claims.is_some_and(|c| c.holds(self.claim_of(direction, key)))
    }

    fn claim_of(&self, direction: Direction, key: &Key) -> u64 {
        /// Tells the two directions apart.
        const OUT: u64 = 0x5555_5555_5555_5555;
        let hash = key.hash(self.seed);
        match direction {
            Direction::In => hash,
            Direction::Out => hash ^ OUT,
        }
    }

    /// Counts of states by address, for `least-states`.
    pub fn loads(&self) -> &Loads {
        &self.loads
    }

    /// Place of an address in [`Agreement::loads`].
    pub fn load_place(&self, addr: u128) -> u64 {
        let product =
            (addr as u64 ^ self.seed.0 ^ (addr >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product >> 32
    }

    /// Ends that are the same for all receivers.
    pub fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    /// Secret start value of hashes that all cores compute alike.
    pub fn seed(&self) -> HashSeed {
        self.seed
    }
}
