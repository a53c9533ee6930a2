//! ARP and neighbor discovery on the wire: hears, answers, asks; keeps packets until their next hop is known. What is
//! known is `net::neighbor`'s; this file carries it out.
//!
//! ARP frames are below PF and pass unasked. Neighbor discovery is ICMPv6 and goes through the rules both ways, as on
//! OpenBSD: a ruleset that blocks everything must pass it.

use core::net::IpAddr;

use filter::scrub::PRIORITY_DEFAULT;
use filter::{PacketDesc, Reason, owner};
use net::InterfaceId;
use net::icmp_error::{self, ERROR_LEN_MAX, ErrorKind};
use net::neighbor::{
    self, Action, Advert, Discovery, DiscoveryMessage, FRAME_LEN_MAX, Heard, Update, answer_arp,
    answer_ns, build_arp, build_na, build_question, receive_discovery,
};
use nic::{Nic, PacketBuf};
use ruleset::{Af, TagId};
use wire::{arp, ether};

use crate::batch::{Hop, Marks, Origin};
use crate::forward::addr_of;
use crate::mail::{Handoff, Question};
use crate::reassemble::Train;
use crate::receive::interface_of;
use crate::transmit::frame_ip;
use crate::turn::Worker;
use crate::verdict::{Egress, Verdict};

/// Bytes of an Ethernet header.
const ETHERNET: usize = wire::ether::HEADER_LEN;
/// Actions of the neighbor cache carried out per turn; more wait for the next.
const ACTIONS_PER_TURN: usize = 64;

/// A packet that waits: it has room for its Ethernet header in front and ends with its IP packet.
#[derive(Debug)]
pub(crate) struct Parked<B> {
    pub(crate) buf: B,
    pub(crate) af: Af,
    pub(crate) marks: Marks,
    pub(crate) received_on: Option<InterfaceId>,
    /// What hangs on it.
    pub(crate) train: Option<Train>,
}

impl<N: Nic> Worker<N> {
    /// An ARP frame: learn, and answer if it asks for us.
    pub(crate) fn hear_arp(&mut self, n: usize, at: usize, now_ms: u64) {
        let interface = interface_of(&self.batch.items[n]);
        self.hear_arp_on(n, interface, at, now_ms);
    }

    /// The same, for the interface that it is meant for.
    pub(crate) fn hear_arp_on(&mut self, n: usize, interface: InterfaceId, at: usize, now_ms: u64) {
        let frame = self.batch.bufs[n].bytes();
        let parsed = arp::Packet::new_checked(frame.get(at..).unwrap_or_default())
            .and_then(|p| arp::Repr::parse(&p));
        let Ok(message) = parsed else {
            return self.batch.items[n].drop_for(Reason::Arp);
        };
        let Some(on) = self.config.interfaces.get(interface) else {
            return self.batch.items[n].drop_for(Reason::InterfaceDown);
        };
        let heard = self.neighbors.on_arp(now_ms, on, &message);
        if let Some(answer) = answer_arp(&self.config.interfaces, interface, &message) {
            self.send_frame(interface, |out| build_arp(out, &answer));
        }
        if matches!(heard, Heard::Conflict { .. }) || self.claims(interface, &message) {
            self.report(n, at, arp::PACKET_LEN, now_ms);
        }
    }

    /// Somebody has an address that is about to be ours, or asks for it as we do (RFC 5227 2.1.1).
    fn claims(&self, interface: InterfaceId, message: &arp::Repr) -> bool {
        let listening = self.config.interfaces.listening();
        let has = listening.claims(interface, message.sender_ip.into());
        let asks = message.sender_ip.is_unspecified()
            && listening.claims(interface, message.target_ip.into());
        has || asks
    }

    /// Has the control core told of a message that was heard, within limits: nobody must be able to fill the ring of the
    /// local host with claims.
    fn report(&mut self, n: usize, at: usize, len: usize, now_ms: u64) {
        if self.report_rate.allow(now_ms) {
            let item = &mut self.batch.items[n];
            (item.pd.ip_at, item.pd.ip_len) = (at as u16, len as u16);
            item.verdict = Some(Verdict::Host);
        }
    }

    /// A neighbor discovery packet that the rules let in: learn, and answer if it asks for us.
    pub(crate) fn hear_neighbor_discovery(
        &mut self,
        n: usize,
        interface: InterfaceId,
        now_ms: u64,
    ) {
        let item = &self.batch.items[n];
        let frame = self.batch.bufs[n].bytes();
        let from = ether::Frame::new_checked(frame).map_or(ether::Addr::ZERO, |f| f.src());
        let packet = frame.get(usize::from(item.pd.ip_at)..).unwrap_or_default();
        let Ok(Discovery { src, message, .. }) = receive_discovery(packet) else {
            return;
        };
        let Some(on) = self.config.interfaces.get(interface) else {
            return;
        };
        match message {
            DiscoveryMessage::Solicit(solicit) => {
                let (mac, target) = (on.mac, IpAddr::from(solicit.target));
                let listening = self.config.interfaces.listening();
                let wants_ours = listening.claims(interface, target) || on.owns(target);
                let wants_ours = wants_ours && src.is_unspecified() && from != mac;
                let heard = self
                    .neighbors
                    .on_neighbor_solicit(now_ms, on, src, &solicit);
                let answer = answer_ns(&self.config.interfaces, interface, src, from, &solicit);
                if let Some(advert) = answer {
                    self.send_advert(interface, mac, &advert);
                }
                if wants_ours || matches!(heard, Heard::Conflict { .. }) {
                    self.report_discovery(n, now_ms);
                }
            }
            DiscoveryMessage::Advert(advert) => {
                let heard = self.neighbors.on_neighbor_advert(now_ms, on, &advert);
                let listening = self.config.interfaces.listening();
                let is_claimed = listening.claims(interface, advert.target.into());
                if is_claimed || matches!(heard, Heard::Conflict { .. }) {
                    self.report_discovery(n, now_ms);
                }
            }
            // Solicitations and advertisements of routers; redirects are not followed.
            DiscoveryMessage::Other => {
                if self.config.interfaces.listening().for_routers(interface) {
                    self.report_discovery(n, now_ms);
                }
            }
        }
    }

    fn report_discovery(&mut self, n: usize, now_ms: u64) {
        let pd = &self.batch.items[n].pd;
        let (at, len) = (usize::from(pd.ip_at), usize::from(pd.ip_len));
        self.report(n, at, len, now_ms);
    }

    fn send_advert(&mut self, interface: InterfaceId, mac: ether::Addr, advert: &Advert) {
        let egress = Egress::routed(interface, advert.link);
        self.generate_discovery(egress, |out| build_na(out, mac, advert));
    }

    /// Keeps a packet until its next hop is known.
    pub(crate) fn park(
        &mut self,
        mut buf: N::Buf,
        n: usize,
        interface: InterfaceId,
        next_hop: IpAddr,
    ) {
        let item = &self.batch.items[n];
        if let Err(reason) = frame_ip(&mut buf, &item.pd) {
            return self.discard(buf, reason);
        }
        let parked = Parked {
            buf,
            af: item.pd.af,
            marks: Marks::of(&item.pd),
            received_on: item.received_on(),
            train: None,
        };
        self.hold(interface, next_hop, parked);
    }

    /// Keeps a framed packet until its next hop is known; the oldest makes room.
    pub(crate) fn hold(
        &mut self,
        interface: InterfaceId,
        next_hop: IpAddr,
        parked: Parked<N::Buf>,
    ) {
        if let Some(dropped) = self.neighbors.hold(interface, next_hop, parked) {
            self.discard_parked(dropped);
        }
    }

    fn discard_parked(&mut self, parked: Parked<N::Buf>) {
        if let Some(train) = parked.train {
            self.fragments.release(train.id);
        }
        self.discard(parked.buf, Reason::Neighbor);
    }

    /// Another worker has learned something.
    pub(crate) fn hear_of_neighbor(&mut self, update: &Update, now_ms: u64) {
        self.neighbors.learn(now_ms, update);
    }

    /// Carries out what the neighbor cache wants done.
    pub(crate) fn neighbor_timers(&mut self, now_ms: u64) {
        if self.neighbors.poll_at() <= now_ms {
            self.carry_out_actions(now_ms);
        }
        if self.neighbor_generation != self.neighbors.generation() {
            self.neighbor_generation = self.neighbors.generation();
            self.forget_egress();
        }
    }

    fn carry_out_actions(&mut self, now_ms: u64) {
        for _ in 0..ACTIONS_PER_TURN {
            let Some(action) = self.neighbors.poll(now_ms) else {
                break;
            };
            self.act(action, now_ms);
        }
    }

    fn act(&mut self, action: Action<Parked<N::Buf>>, now_ms: u64) {
        match action {
            Action::Request { interface, ip } => {
                let question = Question {
                    interface,
                    ip,
                    to: None,
                };
                self.ask_workers(&question);
                self.ask(&question);
            }
            Action::Probe {
                interface,
                ip,
                link,
            } => self.ask(&Question {
                interface,
                ip,
                to: Some(link),
            }),
            Action::Release {
                interface,
                link,
                packets,
                ..
            } => {
                let egress = Egress::routed(interface, link);
                for parked in packets {
                    match parked.train {
                        None => self.send_framed(parked.buf, parked.af, parked.marks, egress),
                        Some(train) => self.send_train(parked.buf, train, parked.marks, egress),
                    }
                }
            }
            Action::Failed { packets, .. } => {
                for parked in packets {
                    self.give_up(parked, now_ms);
                }
            }
            Action::Share(update) => self.tell_others(update),
        }
    }

    /// Asks the other workers whether they know.
    fn ask_workers(&mut self, question: &Question) {
        for ring in self.ends.to_workers.iter_mut().flatten() {
            // A full ring: the question on the link remains.
            ring.push(Handoff::Wanted(*question)).ok();
        }
    }

    /// Another worker wants a neighbor: tell, if it is known here. It is not confirmed by that.
    pub(crate) fn tell_if_known(&mut self, question: &Question) {
        if let Some(link) = self.neighbors.known(question.interface, question.ip) {
            self.tell_others(Update {
                interface: question.interface,
                ip: question.ip,
                link,
                confirmed: false,
            });
        }
    }

    /// Asks, or has the worker ask that the answer will come to.
    fn ask(&mut self, question: &Question) {
        let other = self.hearer_of_answer(question).filter(|id| *id != self.id);
        let ring = other.and_then(|id| self.ends.to_workers.get_mut(usize::from(id))?.as_mut());
        // A full ring: our own question is better than none.
        if ring.is_none_or(|ring| ring.push(Handoff::Ask(*question)).is_err()) {
            self.ask_myself(question);
        }
    }

    /// An advertisement is steered like any packet, and needs the state that the solicitation made. ARP is below PF:
    /// whoever hears the answer tells the others.
    fn hearer_of_answer(&self, question: &Question) -> Option<u16> {
        let IpAddr::V6(target) = question.ip else {
            return None;
        };
        let own = self
            .config
            .interfaces
            .get(question.interface)?
            .source6(target)?;
        let answer = PacketDesc {
            src: target.to_bits(),
            dst: own.to_bits(),
            ..PacketDesc::default()
        };
        Some(owner::core_of(owner::hash(&answer), self.workers))
    }

    /// Asks who has an address.
    pub(crate) fn ask_myself(&mut self, question: &Question) {
        let config = self.config.clone();
        let Some(on) = config.interfaces.get(question.interface) else {
            return;
        };
        let (ip, to) = (question.ip, question.to);
        match ip {
            IpAddr::V4(_) => {
                self.send_frame(question.interface, |out| build_question(out, on, ip, to));
            }
            IpAddr::V6(a) => {
                let group = ether::Addr::multicast6(wire::ipv6::solicited_node(a));
                let egress = Egress::routed(question.interface, to.unwrap_or(group));
                self.generate_discovery(egress, |out| build_question(out, on, ip, to));
            }
        }
    }

    /// Sends a frame that is below PF but for its rules for frames.
    fn send_frame(
        &mut self,
        interface: InterfaceId,
        build: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        let Some(buf) = self.make(FRAME_LEN_MAX, build) else {
            return;
        };
        self.counters.generated.add(1);
        match self.ether_lets_out(buf.bytes(), interface, TagId::default()) {
            true => self.queue_on(buf, PRIORITY_DEFAULT, interface),
            false => self.discard(buf, Reason::Match),
        }
    }

    /// Sends a discovery packet by way of the rules.
    fn generate_discovery(
        &mut self,
        egress: Egress,
        build: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        if let Some(mut buf) = self.make(FRAME_LEN_MAX, build) {
            buf.advance(ETHERNET);
            self.generate(buf, Origin::Own, Hop::Known(egress));
        }
    }

    /// The next hop does not answer: tell the sender of what waited for it (RFC 1812 5.2.7.1, RFC 4443 3.1).
    fn give_up(&mut self, parked: Parked<N::Buf>, now_ms: u64) {
        let mut error = [0u8; ERROR_LEN_MAX];
        let built = parked.received_on.and_then(|interface| {
            let packet = parked.buf.bytes().get(ETHERNET..)?;
            let src = self
                .config
                .interfaces
                .get(interface)?
                .source(source_of(packet)?)?;
            icmp_error::build(&mut error, src, packet, ErrorKind::HostUnreachable)
        });
        if let Some(len) = built.filter(|_| self.error_rate.allow(now_ms)) {
            let rtable = parked.received_on.map_or(0, |id| self.rdomain_of(id));
            self.generate_bytes(&error[..len], Origin::Own, rtable);
        }
        self.discard_parked(parked);
    }

    fn tell_others(&mut self, update: neighbor::Update) {
        for ring in self.ends.to_workers.iter_mut().flatten() {
            // A full ring: the other worker asks for itself when it needs the neighbor.
            ring.push(Handoff::Neighbor(update)).ok();
        }
    }
}

/// Source address of an IP packet that was described before.
fn source_of(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(wire::ipv4::Packet::new_checked(packet).ok()?.src().into()),
        _ => Some(addr_of(
            Af::Inet6,
            wire::ipv6::Packet::new_checked(packet)
                .ok()?
                .src()
                .to_bits(),
        )),
    }
}
