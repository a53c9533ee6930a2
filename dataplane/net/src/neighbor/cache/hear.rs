//! What a cache learns from messages of the link and from letters of other workers' caches. Read first: RFC 826, RFC 4861 7.2.

use core::net::{IpAddr, Ipv6Addr};

use wire::{arp, ether, icmp6};

use super::{Action, Entry, Heard, NeighborCache, Update};
use crate::icmp_error::one_host4;
use crate::interface::{Interface, InterfaceId};
use crate::neighbor::held::Queue;
use crate::neighbor::machine::{Event, STALE_MS, State};

impl<P> NeighborCache<P> {
    /// An ARP message came in on `interface`.
    pub fn on_arp(&mut self, now_ms: u64, interface: &Interface, message: &arp::Repr) -> Heard {
        let (ip, link) = (IpAddr::from(message.sender_ip), message.sender_ether);
        if !link.is_unicast() || !one_host4(message.sender_ip) {
            return Heard::Ignored; // probes (RFC 5227) have no sender address
        }
        if interface.owns(ip) {
            return conflict(interface, ip, link);
        }
        let to_us = interface.owns(message.target_ip.into());
        let answer = to_us && message.operation == arp::Operation::REPLY;
        let hash = self.hash(interface.id, ip);
        match self.find(hash, interface.id, ip) {
            Some(slot) => {
                let state = self.entries[usize::from(slot)].as_ref().map(|e| e.state);
                let asked = matches!(state, Some(State::Incomplete | State::Probe));
                let heard = self.heard(slot, now_ms, link, asked && answer);
                if answer && heard == Heard::Ignored {
                    // Nothing new here, but we did not ask: another worker may be waiting for it.
                    return self.foreign(now_ms, interface.id, ip, link);
                }
                heard
            }
            None if answer => self.foreign(now_ms, interface.id, ip, link),
            None if to_us && message.operation == arp::Operation::REQUEST => {
                self.learn_unsolicited(now_ms, hash, interface, ip, link)
            }
            None => Heard::Ignored,
        }
    }

    /// A valid neighbor solicitation from `src` came in on `interface` (RFC 4861 7.2.3).
    pub fn on_neighbor_solicit(
        &mut self,
        now_ms: u64,
        interface: &Interface,
        src: Ipv6Addr,
        message: &icmp6::NeighborSolicit,
    ) -> Heard {
        let Some(link) = message.source_link.filter(|link| link.is_unicast()) else {
            return Heard::Ignored; // duplicate address detection, or nothing to learn
        };
        let ip = IpAddr::from(src);
        if interface.owns(ip) {
            return conflict(interface, ip, link);
        }
        let hash = self.hash(interface.id, ip);
        match self.find(hash, interface.id, ip) {
            Some(slot) => self.heard(slot, now_ms, link, false),
            None if interface.owns(message.target.into()) => {
                self.learn_unsolicited(now_ms, hash, interface, ip, link)
            }
            None => Heard::Ignored,
        }
    }

    /// A valid neighbor advertisement came in on `interface` (RFC 4861 7.2.5).
    pub fn on_neighbor_advert(
        &mut self,
        now_ms: u64,
        interface: &Interface,
        message: &icmp6::NeighborAdvert,
    ) -> Heard {
        let ip = IpAddr::from(message.target);
        let link = message.target_link.filter(|link| link.is_unicast());
        if interface.owns(ip) {
            return link.map_or(Heard::Ignored, |link| conflict(interface, ip, link));
        }
        let hash = self.hash(interface.id, ip);
        match (self.find(hash, interface.id, ip), link) {
            (Some(slot), link) => self.advertised(slot, now_ms, link, message),
            (None, Some(link)) if message.solicited => self.foreign(now_ms, interface.id, ip, link),
            (None, _) => Heard::Ignored,
        }
    }

    fn advertised(
        &mut self,
        slot: u16,
        now_ms: u64,
        link: Option<ether::Addr>,
        message: &icmp6::NeighborAdvert,
    ) -> Heard {
        let Some(entry) = &mut self.entries[usize::from(slot)] else {
            return Heard::Ignored;
        };
        let known = (entry.state != State::Incomplete).then_some(entry.link);
        let Some(link) = link.or(known) else {
            return Heard::Ignored; // still nowhere to send
        };
        entry.router = message.router;
        let differs = known.is_some_and(|known| known != link);
        if differs && !message.override_ {
            // Somebody doubts what we know: keep it, but ask before long.
            if entry.state == State::Reachable {
                (entry.state, entry.due_ms) = (State::Stale, now_ms + STALE_MS);
                self.generation = self.generation.wrapping_add(1);
            }
            return Heard::Ignored;
        }
        self.heard(slot, now_ms, link, message.solicited)
    }

    /// A neighbor's address was heard, or confirmed by an answer.
    fn heard(&mut self, slot: u16, now_ms: u64, link: ether::Addr, confirmed: bool) -> Heard {
        let Some(entry) = &mut self.entries[usize::from(slot)] else {
            return Heard::Ignored;
        };
        let new = entry.link != link;
        let event = match (confirmed, new) {
            (true, _) => Event::Confirmed,
            (false, true) => Event::HeardNew,
            (false, false) => Event::HeardSame,
        };
        let changed = new && entry.state != State::Incomplete;
        entry.link = link;
        let (interface, ip) = (entry.interface, entry.ip);
        if changed {
            self.generation = self.generation.wrapping_add(1);
        }
        let waits = !entry.held.is_empty();
        self.happen(slot, event, now_ms);
        if waits {
            self.urge(slot);
        }
        if event == Event::HeardSame {
            return Heard::Ignored;
        }
        self.share(Update {
            interface,
            ip,
            link,
            confirmed,
        });
        Heard::Learned
    }

    /// An answer to a question that this worker did not ask: perhaps another one did.
    fn foreign(
        &mut self,
        now_ms: u64,
        interface: InterfaceId,
        ip: IpAddr,
        link: ether::Addr,
    ) -> Heard {
        if self.foreign.allow(now_ms) {
            self.share(Update {
                interface,
                ip,
                link,
                confirmed: true,
            });
        }
        Heard::Ignored
    }

    /// Best effort: who misses an update asks again.
    fn share(&mut self, update: Update) {
        if !self.ready.is_full() {
            let pushed = self.ready.push_back(Action::Share(update)).is_ok();
            debug_assert!(pushed);
        }
    }

    /// Whoever asks for us will soon be sent to: remember it, within limits and only if it is on the
    /// link.
    fn learn_unsolicited(
        &mut self,
        now_ms: u64,
        hash: u32,
        interface: &Interface,
        ip: IpAddr,
        link: ether::Addr,
    ) -> Heard {
        let full = self.free.is_empty() || self.unsolicited >= self.limits.unsolicited;
        if full || !interface.on_link(ip) {
            return Heard::Ignored;
        }
        let inserted = self.insert(Entry {
            interface: interface.id,
            ip,
            link,
            hash,
            state: State::Stale,
            asked: 0,
            router: false,
            unsolicited: true,
            due_ms: now_ms + STALE_MS,
            held: Queue::EMPTY,
        });
        match inserted {
            true => Heard::Learned,
            false => Heard::Ignored,
        }
    }

    /// Another worker learned something. Entries are changed, never made.
    pub fn learn(&mut self, now_ms: u64, update: &Update) {
        let hash = self.hash(update.interface, update.ip);
        let Some(slot) = self.find(hash, update.interface, update.ip) else {
            return;
        };
        let shared = self.ready.len();
        self.heard(slot, now_ms, update.link, update.confirmed);
        // What came by mail does not go out by mail.
        if self.ready.len() > shared {
            let own = self.ready.pop_back();
            debug_assert!(matches!(own, Some(Action::Share(_))));
        }
    }
}

/// An address of ours in somebody's mouth: our own message came back, or there are two of us.
fn conflict(interface: &Interface, ip: IpAddr, link: ether::Addr) -> Heard {
    match link == interface.mac {
        true => Heard::Ignored,
        false => Heard::Conflict { ip, link },
    }
}
