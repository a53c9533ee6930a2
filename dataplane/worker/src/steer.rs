//! Names the core that owns a packet's connection and sends the packet there.

use filter::owner;
use filter::{Kind, PacketDesc};
use nic::{Nic, PacketBuf};
use ruleset::Direction;
use state::Key;

use crate::batch::Origin;
use crate::turn::Worker;
use crate::verdict::Verdict;

impl<N: Nic> Worker<N> {
    /// Packets of other cores' connections get their verdict here. With one worker there is nothing to do.
    pub(crate) fn steer(&mut self) {
        if self.workers == 1 {
            return;
        }
        self.hear_aliases();
        for n in 0..self.batch.len() {
            let item = &self.batch.items[n];
            // Answers have no state; everything else of one connection must meet on one core.
            let stays = matches!(item.origin, Origin::Answer | Origin::Proxy);
            if !item.is_open() || stays || item.egress.is_some() {
                continue;
            }
            let worker = self.owner(n);
            if worker != self.id {
                self.batch.items[n].verdict = Some(Verdict::Handoff { worker });
            }
        }
    }

    /// The worker that owns a packet's connection: the one that the hash of its ends names, unless translation has made
    /// it another's.
    fn owner(&self, n: usize) -> u16 {
        let item = &self.batch.items[n];
        let direction = match item.origin {
            Origin::Wire(_) => Direction::In,
            Origin::Own | Origin::Proxy | Origin::Answer | Origin::Bridged(_) => Direction::Out,
        };
        let (hash, key) = owner_key(self.batch.bufs[n].bytes(), &item.pd, direction);
        let reached = owner::core_of(hash, self.workers);
        match key {
            Some(key) => self.owner_of(reached, &key, direction),
            None => reached,
        }
    }

    /// The same of a packet that has this key; `reached` is whom the hash names.
    pub(crate) fn owner_of(&self, reached: u16, key: &Key, direction: Direction) -> u16 {
        if reached == self.id {
            return self.alias(key).unwrap_or(reached);
        }
        // What the box says about a packet is said where that packet was.
        let may_be_here = self.strangers > 0 || direction == Direction::Out;
        if may_be_here && self.states.has_ends(key) {
            return self.id;
        }
        reached
    }
}

/// Hash that names the owner, and the key by which the owner finds the state. An ICMP error belongs to the connection
/// of the packet that it quotes, which went the other way.
fn owner_key(frame: &[u8], pd: &PacketDesc, direction: Direction) -> (u32, Option<Key>) {
    if pd.kind == Kind::IcmpError
        && let Ok(quoted) = filter::describe::describe_quoted(frame, pd)
    {
        let key = quoted.pd.key(direction.opposite());
        return (owner::hash(&quoted.pd), Some(key));
    }
    let key = pd.may_have_state().then(|| pd.key(direction));
    (owner::hash(pd), key)
}
