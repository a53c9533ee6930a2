//! The pool of connections: who gets a place, who loses it, and what the server does with those who have one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use smoltcp::socket::tcp;

use super::{LocalHost, Phase, Rank};
use crate::syn::Ends;

/// The pool.
impl LocalHost {
    pub(super) fn socket(&mut self, i: usize) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.slots[i].handle)
    }

    /// The place of the connection between `ends`.
    pub(super) fn place_of(&mut self, ends: &Ends) -> Option<usize> {
        (0..self.slots.len()).find(|i| {
            let socket = self.socket(*i);
            let is = |end: Option<smoltcp::wire::IpEndpoint>, (addr, port): (IpAddr, u16)| {
                end.is_some_and(|e| IpAddr::from(e.addr) == addr && e.port == port)
            };
            is(socket.remote_endpoint(), ends.remote) && is(socket.local_endpoint(), ends.local)
        })
    }

    pub(super) fn ensure_listener(&mut self) {
        if !self.slots.iter().any(|s| s.phase == Phase::Listening) {
            self.make_room();
        }
    }

    /// Makes a place wait for the next peer; what was there is forgotten, without a packet.
    pub(super) fn listen(&mut self, i: usize) {
        let port = self.config.port;
        let socket = self.socket(i);
        socket.abort();
        // Fails for port 0 only, and then nobody can connect, which is what port 0 means.
        if socket.listen(port).is_err() {
            log::debug!("management: port {port} cannot be listened on");
        }
        let now = self.now;
        let slot = &mut self.slots[i];
        slot.serial += self.config.connections as u64;
        slot.rank = Rank::Expendable;
        slot.offset = None;
        slot.phase = Phase::Listening;
        slot.since = now;
    }

    /// Follows the sockets' states.
    pub(super) fn note_phases(&mut self) {
        for i in 0..self.slots.len() {
            let phase = match self.socket(i).state() {
                tcp::State::Listen => Phase::Listening,
                tcp::State::SynReceived | tcp::State::SynSent => Phase::HalfOpen,
                tcp::State::Established | tcp::State::CloseWait => Phase::Open,
                _ => Phase::Closing,
            };
            let slot = &mut self.slots[i];
            if slot.phase != phase {
                self.counters.accepted += u64::from(phase == Phase::Open);
                slot.phase = phase;
                slot.since = self.now;
            }
        }
    }

    /// Ends what took too long and reuses what is over.
    pub(super) fn tend_slots(&mut self) {
        self.note_phases();
        for i in 0..self.slots.len() {
            let late = self
                .phase_limit(self.slots[i].phase)
                .is_some_and(|limit| self.now >= self.slots[i].since + limit);
            let over = {
                let socket = self.socket(i);
                socket.state() == tcp::State::Closed && socket.remote_endpoint().is_none()
            };
            if late && self.slots[i].phase == Phase::HalfOpen {
                self.counters.half_open_ended += 1;
            }
            if late || over {
                self.listen(i);
            }
        }
    }

    pub(super) fn phase_limit(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::HalfOpen => Some(self.config.half_open),
            Phase::Closing => Some(self.config.closing),
            Phase::Listening | Phase::Open => None,
        }
    }

    /// Ends the least deserving connection: one that is closing, else the oldest half-open, else the oldest expendable
    /// one of the peer that holds the most. If all the rest are to be kept, the newcomer is refused.
    fn make_room(&mut self) {
        let oldest = |phase| {
            let slots = self.slots.iter().enumerate();
            slots
                .filter(|(_, s)| s.phase == phase)
                .min_by_key(|(_, s)| s.since)
                .map(|(i, _)| i)
        };
        if let Some(i) = oldest(Phase::Closing) {
            self.listen(i);
        } else if let Some(i) = oldest(Phase::HalfOpen) {
            self.counters.half_open_ended += 1;
            self.listen(i);
        } else if let Some(i) = self.most_expendable() {
            self.counters.evicted += 1;
            self.socket(i).abort();
            // Sends the reset, so that the peer knows.
            self.egress();
            self.listen(i);
        }
    }

    fn most_expendable(&mut self) -> Option<usize> {
        let peers: Vec<Option<IpAddr>> = (0..self.slots.len())
            .map(|i| self.remote(i).map(|r| r.0))
            .collect();
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for peer in peers.iter().flatten() {
            *held.entry(*peer).or_default() += 1;
        }
        let holds = |i: usize| {
            peers[i]
                .and_then(|peer| held.get(&peer).copied())
                .unwrap_or(0)
        };
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, s)| s.phase == Phase::Open && s.rank == Rank::Expendable)
            .max_by_key(|(i, s)| (holds(*i), std::cmp::Reverse(s.since)))
            .map(|(i, _)| i)
    }
}

/// What the server does with the places of the pool, by index below [`LocalHost::places`].
impl LocalHost {
    /// Number of places.
    pub fn places(&self) -> usize {
        self.slots.len()
    }

    /// Where the connection at place `i` is in its life.
    pub fn phase(&self, i: usize) -> Phase {
        self.slots[i].phase
    }

    /// Tells one connection at place `i` from the next.
    pub fn serial(&self, i: usize) -> u64 {
        self.slots[i].serial
    }

    /// The peer's address and port.
    pub fn remote(&mut self, i: usize) -> Option<(IpAddr, u16)> {
        let end = self.socket(i).remote_endpoint()?;
        Some((end.addr.into(), end.port))
    }

    /// How much the connection deserves to stay.
    pub fn set_rank(&mut self, i: usize, rank: Rank) {
        self.slots[i].rank = rank;
    }

    /// Offers received bytes to `take`, which says how many it took. False if there were none.
    pub fn receive(&mut self, i: usize, take: impl FnOnce(&[u8]) -> usize) -> bool {
        let socket = self.socket(i);
        if !socket.can_recv() {
            return false;
        }
        // Cannot fail after `can_recv`.
        socket
            .recv(|bytes| {
                let n = take(bytes).min(bytes.len());
                (n, n > 0)
            })
            .unwrap_or(false)
    }

    /// Sends what fits and returns its length.
    pub fn send(&mut self, i: usize, bytes: &[u8]) -> usize {
        self.socket(i).send_slice(bytes).unwrap_or(0)
    }

    /// True if the peer will send nothing more and everything it sent was taken.
    pub fn peer_is_done(&mut self, i: usize) -> bool {
        let socket = self.socket(i);
        !socket.may_recv()
    }

    /// True while bytes wait to be sent or acknowledged.
    pub fn has_unsent(&mut self, i: usize) -> bool {
        self.socket(i).send_queue() > 0
    }

    /// Ends our side after what was sent.
    pub fn close(&mut self, i: usize) {
        self.socket(i).close();
        self.note_phases();
    }

    /// Ends the connection with a reset.
    pub fn abort(&mut self, i: usize) {
        self.socket(i).abort();
        self.note_phases();
    }
}
