//! Packets that a rule sends another way than the routing table would (`route-to`, `reply-to`), or a copy of them
//! (`dup-to`).
//!
//! On the way in such a packet is sent on at once, wherever it is addressed to, and the rules of the interface that it
//! leaves by are asked. On the way out it is screened again on the other interface, as pf_route() of OpenBSD does.

use filter::{Reason, route};
use net::InterfaceId;
use net::icmp_error::ErrorKind;
use nic::{Nic, PacketBuf};
use ruleset::{Af, Direction, RouteKind};
use state::{NextHop, StateFlags, StateIdx};

use crate::batch::{Hop, Origin};
use crate::forward::{addr_of, hop_to};
use crate::turn::Worker;
use crate::verdict::Egress;

/// How often rules may send one packet on to another interface (OpenBSD: pf_route()).
pub(crate) const DETOURS_MAX: usize = 3;

/// Ways that are remembered.
const WAYS: usize = 16;

/// A routing table, and the next hop that a rule chose for packets in it.
type Wanted = (u8, NextHop);

/// The ways to the next hops that rules chose last, as long as nothing has changed. The cache of a state is of no use
/// here: the way that it remembers is that of the packets which come in by it, and those that go out may have another.
#[derive(Default)]
pub(crate) struct Ways([Option<(u32, Wanted, Egress)>; WAYS]);

impl Ways {
    fn place(wanted: &Wanted) -> usize {
        let (_, addr) = wanted.1.addr();
        (addr as usize ^ usize::from(wanted.0)) % WAYS
    }

    #[inline]
    fn get(&self, wanted: &Wanted, stamp: u32) -> Option<Egress> {
        let (stamped, of, egress) = self.0[Self::place(wanted)]?;
        (stamped == stamp && of == *wanted).then_some(egress)
    }

    fn set(&mut self, wanted: Wanted, stamp: u32, egress: Egress) {
        self.0[Self::place(&wanted)] = Some((stamp, wanted, egress));
    }
}

impl<N: Nic> Worker<N> {
    /// A packet of the state `idx` was let in on `interface`: sends it the way that the state's rule chose, if it chose
    /// one.
    #[inline]
    pub(crate) fn detour_in(
        &mut self,
        n: usize,
        interface: InterfaceId,
        idx: StateIdx,
        now_ms: u64,
    ) {
        let Some(chosen) = self.chosen(n, idx, Direction::In) else {
            return;
        };
        let is_copy = chosen.kind() == RouteKind::DupTo;
        match self.hop_of(n, chosen, now_ms) {
            Some(hop) if is_copy => {
                if self.batch.items[n].pd.ttl > 1 {
                    self.send_copy(n, hop, true);
                }
            }
            Some(hop) => self.go_on(n, interface, hop, now_ms),
            // Nobody hears of a copy that was not sent.
            None if is_copy => {}
            None => {
                self.send_error(n, interface, ErrorKind::HostUnreachable, now_ms);
                self.batch.items[n].drop_for(Reason::NoRoute);
            }
        }
    }

    /// A packet of the state `idx` was let out: the other way that it has to go, if there is one.
    #[inline]
    pub(crate) fn detour_out(&mut self, n: usize, idx: StateIdx, now_ms: u64) -> Option<Hop> {
        let chosen = self.chosen(n, idx, Direction::Out)?;
        let is_copy = chosen.kind() == RouteKind::DupTo;
        let hop = self.hop_of(n, chosen, now_ms);
        match hop {
            Some(hop) if is_copy => {
                self.send_copy(n, hop, false);
                None
            }
            None if !is_copy => {
                self.batch.items[n].drop_for(Reason::NoRoute);
                None
            }
            hop => hop,
        }
    }

    #[inline]
    fn chosen(&self, n: usize, idx: StateIdx, direction: Direction) -> Option<NextHop> {
        let st = self.states.get(idx)?;
        let item = &self.batch.items[n];
        // It has the other family already.
        let came_as = match (item.changed_family, item.pd.af) {
            (true, Af::Inet) | (false, Af::Inet6) => Af::Inet6,
            (true, Af::Inet6) | (false, Af::Inet) => Af::Inet,
        };
        // Of packets that change their family only errors of the box itself pass the rules on the way out, and they go
        // back to where packets of their family come from.
        let goes_back =
            st.flags.contains(StateFlags::CHANGES_FAMILY) && direction == Direction::Out;
        route::next_hop(st, st.is_forward(direction, came_as) != goes_back)
    }

    /// The way to a chosen next hop.
    #[inline]
    fn hop_of(&mut self, n: usize, chosen: NextHop, now_ms: u64) -> Option<Hop> {
        let wanted = (self.batch.items[n].pd.rtable, chosen);
        if let Some(egress) = self.ways.get(&wanted, self.egress_stamp) {
            return Some(Hop::Known(egress));
        }
        let hop = self.find_hop(n, chosen, now_ms)?;
        if let Hop::Known(egress) = hop {
            self.ways.set(wanted, self.egress_stamp, egress);
        }
        Some(hop)
    }

    /// By the interface that the rule named, or by the route to the next hop itself.
    fn find_hop(&mut self, n: usize, chosen: NextHop, now_ms: u64) -> Option<Hop> {
        let (af, addr) = chosen.addr();
        let next_hop = addr_of(af, addr);
        let pd = &self.batch.items[n].pd;
        let interface = match chosen.interface() {
            Some(n) => InterfaceId(n),
            None => hop_to(&self.config, pd.rtable, pd.src, next_hop).ok()?.0,
        };
        // A packet of one domain does not leave by an interface of another.
        let is_fit = |i: &&net::Interface| i.up && i.rdomain == pd.rdomain;
        self.config.interfaces.get(interface).filter(is_fit)?;
        Some(self.resolve(interface, next_hop, now_ms))
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
        self.generate(copy, Origin::Answer, hop);
    }
}
