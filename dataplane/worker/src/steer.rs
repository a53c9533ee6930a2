//! Names the core that owns a packet's connection and sends the packet there.

use filter::owner;
use filter::{Kind, PacketDesc};
use nic::{Nic, PacketBuf};

use crate::batch::Origin;
use crate::turn::Worker;
use crate::verdict::Verdict;

impl<N: Nic> Worker<N> {
    /// Packets of other cores' connections get their verdict here. With one worker there is nothing to do.
    pub(crate) fn steer(&mut self) {
        if self.workers == 1 {
            return;
        }
        for n in 0..self.batch.len() {
            let item = &self.batch.items[n];
            // Answers have no state; everything else of one connection must meet on one core.
            let stays = matches!(item.origin, Origin::Answer | Origin::Proxy);
            if !item.is_open() || stays || item.egress.is_some() {
                continue;
            }
            let hash = owner_hash(self.batch.bufs[n].bytes(), &item.pd);
            let worker = owner::core_of(hash, self.workers);
            if worker != self.id {
                self.batch.items[n].verdict = Some(Verdict::Handoff { worker });
            }
        }
    }
}

/// An ICMP error belongs to the connection of the packet that it quotes.
fn owner_hash(frame: &[u8], pd: &PacketDesc) -> u32 {
    if pd.kind == Kind::IcmpError
        && let Ok(quoted) = filter::describe::describe_quoted(frame, pd)
    {
        return owner::hash(&quoted.pd);
    }
    owner::hash(pd)
}
