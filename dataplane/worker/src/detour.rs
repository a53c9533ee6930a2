//! Packets that a rule sends another way than the routing table would (`route-to`, `reply-to`), or a copy of them
//! (`dup-to`).
//!
//! On the way in such a packet is sent on at once, wherever it is addressed to, and the rules of the interface that it
//! leaves by are asked. On the way out it is screened again on the other interface, as pf_route() of OpenBSD does.

use filter::{Reason, route};
use net::InterfaceId;
use net::icmp_error::ErrorKind;
use nic::{Nic, PacketBuf};
use ruleset::{Direction, RouteKind};
use state::{NextHop, StateIdx};

use crate::batch::{Hop, Origin};
use crate::forward::{addr_of, hop_to};
use crate::turn::Worker;

/// How often rules may send one packet on to another interface (OpenBSD: pf_route()).
pub(crate) const DETOURS_MAX: usize = 3;

impl<N: Nic> Worker<N> {
    /// A packet of the state `idx` was let in on `interface`: takes the way that the state's rule chose, if it chose
    /// one. True if the packet needs no routing any more.
    #[inline]
    pub(crate) fn detour_in(
        &mut self,
        n: usize,
        interface: InterfaceId,
        idx: StateIdx,
        now_ms: u64,
    ) -> bool {
        let Some(chosen) = self.chosen(idx, Direction::In) else {
            return false;
        };
        let Some(hop) = self.hop_of(chosen, now_ms) else {
            return self.no_way(n, interface, chosen, now_ms);
        };
        if chosen.kind() == RouteKind::DupTo {
            if self.batch.items[n].pd.ttl > 1 {
                self.send_copy(n, hop, true);
            }
            return false;
        }
        self.go_on(n, interface, hop, now_ms);
        true
    }

    /// A packet of the state `idx` was let out: the other way that it has to go, if there is one.
    #[inline]
    pub(crate) fn detour_out(&mut self, n: usize, idx: StateIdx, now_ms: u64) -> Option<Hop> {
        let chosen = self.chosen(idx, Direction::Out)?;
        let Some(hop) = self.hop_of(chosen, now_ms) else {
            if chosen.kind() != RouteKind::DupTo {
                self.batch.items[n].drop_for(Reason::NoRoute);
            }
            return None;
        };
        if chosen.kind() == RouteKind::DupTo {
            // A copy is not copied again.
            if self.batch.items[n].origin != Origin::Answer {
                self.send_copy(n, hop, false);
            }
            return None;
        }
        Some(hop)
    }

    #[inline]
    fn chosen(&self, idx: StateIdx, direction: Direction) -> Option<NextHop> {
        route::next_hop(self.states.get(idx)?, direction)
    }

    /// The way to a chosen next hop: by the interface that the rule named, or by the route to the next hop itself.
    fn hop_of(&mut self, chosen: NextHop, now_ms: u64) -> Option<Hop> {
        let (af, addr) = chosen.addr();
        let next_hop = addr_of(af, addr);
        let interface = match chosen.interface() {
            Some(n) => InterfaceId(n),
            None => hop_to(&self.config, af, addr, next_hop).ok()?.0,
        };
        self.config.interfaces.get(interface).filter(|i| i.up)?;
        Some(self.resolve(interface, next_hop, now_ms))
    }

    /// The next hop cannot be reached: tells the sender, except of a copy.
    fn no_way(&mut self, n: usize, interface: InterfaceId, chosen: NextHop, now_ms: u64) -> bool {
        if chosen.kind() == RouteKind::DupTo {
            return false;
        }
        self.send_error(n, interface, ErrorKind::HostUnreachable, now_ms);
        self.batch.items[n].drop_for(Reason::NoRoute);
        true
    }

    /// Sends a copy of packet `n`. What is copied has been let through; the copy passes unasked.
    fn send_copy(&mut self, n: usize, hop: Hop, forwarded: bool) {
        let pd = &self.batch.items[n].pd;
        let (af, at, len) = (pd.af, usize::from(pd.ip_at), usize::from(pd.ip_len));
        let Some(mut copy) = self.make(len, |_| Some(len)) else {
            return;
        };
        let packet = &self.batch.bufs[n].bytes()[at..at + len];
        copy.bytes_mut().copy_from_slice(packet);
        if forwarded {
            crate::forward::decrement_ttl(af, copy.bytes_mut());
        }
        self.generate(copy, Origin::Answer, Some(hop));
    }
}
