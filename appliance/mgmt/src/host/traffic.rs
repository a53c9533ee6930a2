//! Packets between the dataplane and smoltcp: what is answered here, what smoltcp is given, and whose sequence numbers are
//! moved on the way because their connection began with a cookie.

use std::net::IpAddr;

use super::echo::{echo_reply, echo_request, large_echo_reply};
use super::{LocalHost, Phase, instant};
use crate::peek::{Peek, peek};
use crate::syn::{self, Ends, Move};

/// Rounds of smoltcp's egress in one poll; each lets every socket send one segment.
const EGRESS_ROUNDS_MAX: usize = 64;

/// What is done with a packet before smoltcp sees it.
enum Step {
    /// Smoltcp shall have it.
    Give,
    /// It was seen to, or is not wanted.
    Done,
}

/// Packets in and out.
impl LocalHost {
    /// Takes one delivered packet; false if there is none or no room for answers.
    pub(super) fn take_one_in(&mut self) -> bool {
        if self.queues.is_full() {
            return false;
        }
        let Some(packet) = self.queues.rx.pop_front() else {
            return false;
        };
        // Delivered packets were sound when they were queued.
        let Some(seen) = peek(&packet) else {
            return true;
        };
        let step = match syn::ends_of(&seen) {
            Some(ends) if ends.local.1 == self.config.port => self.on_segment(&seen, ends),
            _ => self.on_other(&seen),
        };
        if let Step::Give = step {
            self.give(packet);
        }
        true
    }

    /// Everything but TCP to our port: answers to our pings are kept, the rest is smoltcp's.
    fn on_other(&mut self, seen: &Peek<'_>) -> Step {
        if let Some(pieces) = large_echo_reply(seen, self.config.mtu) {
            // All or none: a part of them is of no use.
            if self.queues.room() >= pieces.len() {
                pieces.into_iter().for_each(|piece| {
                    self.queues.push_tx(piece);
                });
            }
            return Step::Done;
        }
        match echo_reply(seen) {
            Some(reply) if self.ping.answered(reply, self.now) => Step::Done,
            _ => Step::Give,
        }
    }

    fn on_segment(&mut self, seen: &Peek<'_>, ends: Ends) -> Step {
        let place = self.place_of(&ends);
        match (place, opens_connection(seen)) {
            // A second SYN: smoltcp repeats its answer by its own clock. Given to it, another listener would take it.
            (Some(i), true) if self.slots[i].phase != Phase::Closing => Step::Done,
            (Some(i), true) => {
                self.listen(i);
                self.on_syn(seen)
            }
            (None, true) => self.on_syn(seen),
            (Some(_), false) => Step::Give,
            (None, false) => {
                self.on_stray(seen, ends);
                Step::Give
            }
        }
    }

    /// A new connection: a place while there are plenty, a cookie while most of them are half-open.
    fn on_syn(&mut self, seen: &Peek<'_>) -> Step {
        let half_open = self
            .slots
            .iter()
            .filter(|s| s.phase == Phase::HalfOpen)
            .count();
        if half_open < self.slots.len() / 2 {
            self.ensure_listener();
            return Step::Give;
        }
        if let Some(opening) = syn::opening_of(seen) {
            let cookie = self.cookies.make(&opening, self.now);
            let window = self.config.receive_buffer.min(usize::from(u16::MAX)) as u16;
            let answer = syn::syn_ack(&opening, cookie, window, self.config.mtu);
            self.counters.cookies_sent += u64::from(self.queues.push_tx(answer));
        }
        Step::Done
    }

    /// A segment of no connection we know. If it proves that its SYN got a cookie, smoltcp is shown that SYN, and the
    /// segment then belongs to a connection.
    fn on_stray(&mut self, seen: &Peek<'_>, ends: Ends) {
        let Some((seq, ack)) = syn::proof_of(seen) else {
            return;
        };
        let Some(opening) = self.cookies.check(ends, seq, ack, self.now) else {
            return;
        };
        self.ensure_listener();
        self.give(syn::syn(&opening));
        let first_new = self.queues.tx.len();
        self.egress();
        let Some(i) = self.place_of(&ends) else {
            return;
        };
        if let Some(isn) = self.take_syn_ack(first_new, &ends) {
            let cookie = ack.wrapping_sub(1);
            self.slots[i].offset = Some(cookie.wrapping_sub(isn));
            self.counters.cookies_valid += 1;
        } else {
            // No room for smoltcp's answer just now: the peer will repeat itself.
            self.listen(i);
        }
    }

    /// Takes smoltcp's SYN and ACK out of the way out, because the peer has had its answer, and tells its number.
    fn take_syn_ack(&mut self, from: usize, ends: &Ends) -> Option<u32> {
        let is_it = |packet: &Vec<u8>| -> Option<u32> {
            let seen = peek(packet)?;
            let tcp = seen.tcp()?;
            let matches = tcp.syn() && (seen.dst, tcp.dst_port()) == ends.remote;
            matches.then(|| tcp.seq_number().0 as u32)
        };
        let new = self.queues.tx.iter().enumerate().skip(from);
        let (at, isn) = new.filter_map(|(at, p)| Some((at, is_it(p)?))).next()?;
        self.queues.tx.remove(at);
        self.renumbered = self.renumbered.saturating_sub(1);
        Some(isn)
    }

    /// Gives smoltcp one packet.
    fn give(&mut self, mut packet: Vec<u8>) {
        if let Some((ends, offset)) = self.offset_of(&packet) {
            renumber_in(&mut packet, ends, offset);
        }
        self.queues.rx.push_front(packet);
        self.iface
            .poll_ingress_single(instant(self.now), &mut self.queues, &mut self.sockets);
        self.renumber_out();
        self.note_phases();
    }

    pub(super) fn egress(&mut self) -> bool {
        let result = self
            .iface
            .poll_egress(instant(self.now), &mut self.queues, &mut self.sockets);
        self.renumber_out();
        result != smoltcp::iface::PollResult::None
    }

    pub(super) fn send_segments(&mut self) {
        for _ in 0..EGRESS_ROUNDS_MAX {
            if !self.egress() {
                break;
            }
        }
    }

    /// The offset of the connection a packet for smoltcp belongs to.
    fn offset_of(&mut self, packet: &[u8]) -> Option<(Ends, u32)> {
        if self.slots.iter().all(|s| s.offset.is_none()) {
            return None;
        }
        let ends = syn::ends_of(&peek(packet)?)?;
        let i = self.place_of(&ends)?;
        Some((ends, self.slots[i].offset?))
    }

    /// Sees to the sequence numbers of what smoltcp has sent since the last time.
    fn renumber_out(&mut self) {
        if self.slots.iter().any(|s| s.offset.is_some()) {
            for at in self.renumbered..self.queues.tx.len() {
                self.renumber_out_at(at);
            }
        }
        self.renumbered = self.queues.tx.len();
    }

    fn renumber_out_at(&mut self, at: usize) {
        let Some(ends) = self.queues.tx.get(at).and_then(|p| {
            let sent = syn::ends_of(&peek(p)?)?;
            Some(Ends {
                remote: sent.local,
                local: sent.remote,
            })
        }) else {
            return;
        };
        let offset = self.place_of(&ends).and_then(|i| self.slots[i].offset);
        if let (Some(offset), Some(packet)) = (offset, self.queues.tx.get_mut(at)) {
            syn::renumber(packet, (ends.local.0, ends.remote.0), Move::Seq, offset);
        }
    }

    pub(super) fn send_pings(&mut self) {
        let Some(request) = self.ping.due(self.now) else {
            return;
        };
        // No address of the family: nothing is sent and the request times out.
        if let Some(source) = self.source_for(request.to)
            && let Some(packet) = echo_request(source, request)
        {
            self.queues.push_tx(packet);
        }
    }

    /// Our address to talk to `to` from: the one whose network holds it (longest prefix first), else the first of the
    /// family that is not link-local.
    fn source_for(&self, to: IpAddr) -> Option<IpAddr> {
        let family = || {
            self.addresses
                .iter()
                .filter(|(a, _)| a.is_ipv4() == to.is_ipv4())
        };
        let near = family()
            .filter(|(a, len)| in_network(to, *a, *len))
            .max_by_key(|(_, len)| *len);
        let far =
            || family().find(|(a, _)| !matches!(a, IpAddr::V6(a) if a.is_unicast_link_local()));
        near.or_else(far).map(|(a, _)| *a)
    }
}

/// True if the packet asks for a new connection.
fn opens_connection(seen: &Peek<'_>) -> bool {
    seen.tcp().is_some_and(|t| t.syn() && !t.ack() && !t.rst())
}

fn renumber_in(packet: &mut [u8], ends: Ends, offset: u32) {
    let addrs = (ends.remote.0, ends.local.0);
    syn::renumber(packet, addrs, Move::Ack, offset.wrapping_neg());
}

fn in_network(addr: IpAddr, network: IpAddr, prefix_len: u8) -> bool {
    let len = u32::from(prefix_len);
    match (addr, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            (a.to_bits() ^ n.to_bits()).leading_zeros() >= len.min(32)
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            (a.to_bits() ^ n.to_bits()).leading_zeros() >= len.min(128)
        }
        _ => false,
    }
}
