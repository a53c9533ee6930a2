//! What the box learns from its links and tells them: runs the machines of `autoconf` for all interfaces, by name, so that
//! what was learned outlives a new configuration.
//!
//! Packets come from the local host's ring ([`Learning::hear`]) and leave by it ([`Control::next_to_send`]). What was
//! learned is laid on top of what the files say (`learning::learned`), and published like any other change.

mod learned;
mod wants;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use autoconf::advertise::{self, Advertiser};
use autoconf::claim::{self, Claim};
use autoconf::router::RouterMessage;
use autoconf::{Outgoing, Way, dhcp4, router, slaac};
use net::neighbor::{DiscoveryMessage, receive_discovery};
use net::{Interface, InterfaceId, InterfaceTable, Kind, Listening};
use wire::{arp, ether, proto};
use worker::{Egress, FrameEnd, Lane};

use crate::api::LeaseView;
use crate::control::Control;

pub(crate) use learned::{Learned, Source};
pub(crate) use wants::Wants;

/// Packets that wait to be sent; more are dropped, and the machines ask again.
const OUTBOX_MAX: usize = 256;
/// Addresses that are claimed at most: every interface announces its own.
const CLAIMS_MAX: usize = 4096;

/// Least time between two generations because of what was learned: whoever is on a link must not keep the box compiling.
const PUBLISH_MS: u64 = 1000;

/// All machines.
#[derive(Default)]
pub(crate) struct Learning {
    dhcp: BTreeMap<String, dhcp4::Client>,
    slaac: BTreeMap<String, slaac::Client>,
    adverts: BTreeMap<String, Advertiser>,
    claims: BTreeMap<(String, IpAddr), Claim>,
    /// Interfaces whose link is down.
    down: Vec<String>,
    outbox: VecDeque<(String, Outgoing)>,
    /// When something learned was published last.
    published_ms: Option<u64>,
    /// Addresses that somebody else was heard to use.
    pub(crate) conflicts: u64,
}

/// A packet of the control core on its way to a worker.
#[derive(Debug)]
pub struct ToSend {
    /// An IP packet, or a whole frame.
    pub bytes: Vec<u8>,
    /// Which way a packet is to go.
    pub lane: Lane,
    /// Which way a frame is to go; none if it is a packet.
    pub frame: Option<FrameEnd>,
}

/// Time and chance of one step.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now_ms: u64,
    pub(crate) random: u32,
}

/// A message is the control core's, not the local host's: an ARP message, router and neighbor discovery, DHCP for a
/// client. Workers hand these over only where they are listened for.
pub(crate) fn is_for_learning(packet: &[u8]) -> bool {
    match packet.first().map(|b| b >> 4) {
        Some(0) => true,
        Some(4) => dhcp4::parse(packet).is_some(),
        Some(6) => wire::ipv6::walk(packet).is_ok_and(|walk| {
            walk.next_header == proto::ICMP6
                && packet
                    .get(walk.offset)
                    .is_some_and(|t| (133..=137).contains(t))
        }),
        _ => false,
    }
}

impl Learning {
    /// Takes over a new configuration: begins and ends machines.
    pub(crate) fn follow(&mut self, interfaces: &InterfaceTable, wants: &Wants, at: Moment) {
        let wanted = |names: &[String], name: &String| names.contains(name);
        self.dhcp.retain(|name, _| wanted(&wants.dhcp, name));
        self.slaac.retain(|name, _| wanted(&wants.slaac, name));
        for interface in interfaces.iter().filter(|i| i.up && !i.is_loopback()) {
            let name = interface.name.as_str();
            if wants.dhcp.iter().any(|n| n == name) && !self.dhcp.contains_key(name) {
                let client = dhcp4::Client::new(interface.mac, &wants.hostname);
                self.dhcp.insert(name.into(), client);
                self.begin(name, at);
            }
            if let Some(src) = interface.link_local()
                && wants.slaac.iter().any(|n| n == name)
                && !self.slaac.contains_key(name)
            {
                self.slaac
                    .insert(name.into(), slaac::Client::new(interface.mac, src));
                self.begin(name, at);
            }
        }
        self.follow_adverts(interfaces, wants, at);
        self.follow_claims(interfaces, at);
    }

    /// Machines that are new on an interface whose link is up.
    fn begin(&mut self, name: &str, at: Moment) {
        if self.down.iter().any(|n| n == name) {
            return;
        }
        let is_new = |client: &&mut dhcp4::Client| *client.state() == dhcp4::State::Stopped;
        if let Some(client) = self.dhcp.get_mut(name).filter(is_new) {
            let actions = client.on(at.now_ms, at.random, &dhcp4::Event::Up);
            self.act_dhcp(name, actions, at);
        }
        let is_new = |client: &&mut slaac::Client| client.state() == slaac::State::Stopped;
        if let Some(client) = self.slaac.get_mut(name).filter(is_new) {
            let actions = client.on(at.now_ms, at.random, &slaac::Event::Up);
            self.act_slaac(name, actions, at);
        }
    }

    fn follow_adverts(&mut self, interfaces: &InterfaceTable, wants: &Wants, at: Moment) {
        let mut old = std::mem::take(&mut self.adverts);
        for interface in interfaces.iter().filter(|i| i.up && !i.is_loopback()) {
            let name = interface.name.to_string();
            let (Some(said), Some(src)) = (wants.said_on(interface), interface.link_local()) else {
                continue;
            };
            let same = |a: &Advertiser| *a.said() == said;
            let kept = old.remove(&name).filter(same);
            let is_new = kept.is_none();
            let new = || Advertiser::new(src, said.clone(), wants::INTERVAL_S);
            let mut advertiser = kept.unwrap_or_else(new);
            if is_new && !self.down.contains(&name) {
                advertiser.on(at.now_ms, at.random, advertise::Event::Up);
            }
            self.adverts.insert(name, advertiser);
        }
        for (name, mut ended) in old {
            let farewell = ended.on(at.now_ms, at.random, advertise::Event::Cease);
            if let Some(out) = farewell {
                self.post(&name, out);
            }
        }
    }

    /// Every address of an interface is claimed once; what is tentative is not an address yet.
    fn follow_claims(&mut self, interfaces: &InterfaceTable, at: Moment) {
        let owned = |name: &str, addr: IpAddr| {
            let found = interfaces.by_name(name);
            found.is_some_and(|i| i.up && i.owns(addr))
        };
        self.claims
            .retain(|(name, addr), claim| claim.is_tentative() || owned(name, *addr));
        // Nobody else is on a tunnel.
        let is_link = |i: &&Interface| !i.is_loopback() && !matches!(i.kind, Kind::Gif(_));
        for interface in interfaces.iter().filter(|i| i.up).filter(is_link) {
            for a in &interface.addrs {
                let key = (interface.name.to_string(), a.addr);
                if self.claims.len() < CLAIMS_MAX && !self.claims.contains_key(&key) {
                    let claim = Claim::new(a.addr, interface.mac, false, at.now_ms);
                    self.claims.insert(key, claim);
                }
            }
        }
    }

    /// What the workers are to listen for.
    pub(crate) fn listening(&self, interfaces: &InterfaceTable, wants: &Wants) -> Listening {
        let ids = |names: &mut dyn Iterator<Item = &String>| -> Vec<InterfaceId> {
            names
                .filter_map(|n| Some(interfaces.by_name(n)?.id))
                .collect()
        };
        let dhcp = ids(&mut wants.dhcp.iter());
        let advertising = interfaces.iter().filter(|i| wants.said_on(i).is_some());
        let mut routers = ids(&mut wants.slaac.iter());
        routers.extend(advertising.map(|i| i.id));
        let tentative = self.claims.iter().filter(|(_, claim)| claim.is_tentative());
        let claims =
            tentative.filter_map(|((name, addr), _)| Some((interfaces.by_name(name)?.id, *addr)));
        let (fixed, published) = wants.fixed(interfaces);
        Listening::new(dhcp, routers, claims.collect())
            .publishing(published)
            .knowing(fixed)
    }

    /// A link came up or went down.
    pub(crate) fn on_link(&mut self, name: &str, up: bool, at: Moment) {
        let known_down = self.down.iter().position(|n| n == name);
        match (up, known_down) {
            (true, Some(n)) => {
                self.down.swap_remove(n);
            }
            (false, None) => self.down.push(name.into()),
            _ => return,
        }
        if let Some(client) = self.dhcp.get_mut(name) {
            let event = if up {
                dhcp4::Event::Up
            } else {
                dhcp4::Event::Down
            };
            let actions = client.on(at.now_ms, at.random, &event);
            self.act_dhcp(name, actions, at);
        }
        if let Some(client) = self.slaac.get_mut(name) {
            let event = if up {
                slaac::Event::Up
            } else {
                slaac::Event::Down
            };
            let actions = client.on(at.now_ms, at.random, &event);
            self.act_slaac(name, actions, at);
        }
        if let Some(advertiser) = self.adverts.get_mut(name) {
            let event = if up {
                advertise::Event::Up
            } else {
                advertise::Event::Down
            };
            advertiser.on(at.now_ms, at.random, event);
        }
        if up {
            for ((on, _), claim) in &mut self.claims {
                if on == name {
                    claim.on(at.now_ms, at.random, claim::Event::LinkUp);
                }
            }
        }
    }

    /// Some time has passed.
    pub(crate) fn tick(&mut self, at: Moment) {
        let due = |due_ms: u64| due_ms <= at.now_ms;
        let names: Vec<String> = self.dhcp.keys().cloned().collect();
        for name in names {
            if let Some(client) = self.dhcp.get_mut(&name).filter(|c| due(c.due_ms())) {
                let actions = client.on(at.now_ms, at.random, &dhcp4::Event::Timer);
                self.act_dhcp(&name, actions, at);
            }
        }
        let names: Vec<String> = self.slaac.keys().cloned().collect();
        for name in names {
            if let Some(client) = self.slaac.get_mut(&name).filter(|c| due(c.due_ms())) {
                let actions = client.on(at.now_ms, at.random, &slaac::Event::Timer);
                self.act_slaac(&name, actions, at);
            }
        }
        let names: Vec<String> = self.adverts.keys().cloned().collect();
        for name in names {
            let advertiser = self.adverts.get_mut(&name).filter(|a| due(a.due_ms()));
            let out = advertiser.and_then(|a| a.on(at.now_ms, at.random, advertise::Event::Timer));
            if let Some(out) = out {
                self.post(&name, out);
            }
        }
        let is_due = |((name, _), claim): &(&(String, IpAddr), &Claim)| {
            due(claim.due_ms()) && !self.down.contains(name)
        };
        let keys = self
            .claims
            .iter()
            .filter(is_due)
            .map(|(key, _)| key.clone());
        for key in keys.collect::<Vec<_>>() {
            self.step_claim(&key, claim::Event::Timer, at);
        }
    }

    /// A message that came in on an interface.
    pub(crate) fn hear(&mut self, on: &Interface, packet: &[u8], at: Moment) {
        let name = on.name.as_str();
        match packet.first().map(|b| b >> 4) {
            Some(0) => self.hear_arp(on, packet, at),
            Some(4) => {
                let Some(message) = dhcp4::parse(packet) else {
                    return;
                };
                if let Some(client) = self.dhcp.get_mut(name) {
                    let event = dhcp4::Event::Heard(&message);
                    let actions = client.on(at.now_ms, at.random, &event);
                    self.act_dhcp(name, actions, at);
                }
            }
            _ => match router::parse(packet) {
                Some(heard) => self.hear_router(name, heard.src, &heard.message, at),
                None => self.hear_neighbor(on, packet, at),
            },
        }
    }

    fn hear_router(&mut self, name: &str, src: Ipv6Addr, message: &RouterMessage, at: Moment) {
        match message {
            RouterMessage::Solicit(_) => {
                if let Some(advertiser) = self.adverts.get_mut(name) {
                    advertiser.on(at.now_ms, at.random, advertise::Event::Asked);
                }
            }
            RouterMessage::Advertise(said) => {
                if let Some(client) = self.slaac.get_mut(name) {
                    let event = slaac::Event::Heard(src, said);
                    let actions = client.on(at.now_ms, at.random, &event);
                    self.act_slaac(name, actions, at);
                }
            }
        }
    }

    fn hear_arp(&mut self, on: &Interface, packet: &[u8], at: Moment) {
        let parsed = arp::Packet::new_checked(packet).and_then(|p| arp::Repr::parse(&p));
        let Ok(message) = parsed else { return };
        if message.sender_ether == on.mac {
            return;
        }
        // A probe is a conflict only with an address that is not in use yet (RFC 5227 2.1.1).
        let is_probe = message.sender_ip.is_unspecified();
        let addr = if is_probe {
            message.target_ip
        } else {
            message.sender_ip
        };
        self.conflict(on, addr.into(), message.sender_ether, is_probe, at);
    }

    fn hear_neighbor(&mut self, on: &Interface, packet: &[u8], at: Moment) {
        let Ok(heard) = receive_discovery(packet) else {
            return;
        };
        match heard.message {
            DiscoveryMessage::Solicit(asked) if heard.src.is_unspecified() => {
                self.conflict(on, asked.target.into(), ether::Addr::ZERO, true, at);
            }
            DiscoveryMessage::Solicit(asked) => {
                let link = asked.source_link.unwrap_or(ether::Addr::ZERO);
                self.conflict(on, heard.src.into(), link, false, at);
            }
            DiscoveryMessage::Advert(told) => {
                let link = told.target_link.unwrap_or(ether::Addr::ZERO);
                if link != on.mac {
                    self.conflict(on, told.target.into(), link, false, at);
                }
            }
            DiscoveryMessage::Other => {}
        }
    }

    fn conflict(
        &mut self,
        on: &Interface,
        addr: IpAddr,
        link: ether::Addr,
        is_probe: bool,
        at: Moment,
    ) {
        let key = (on.name.to_string(), addr);
        let counts = |claim: &Claim| claim.is_tentative() || !is_probe;
        if self.claims.get(&key).is_some_and(counts) {
            self.step_claim(&key, claim::Event::Conflict(link), at);
        }
    }

    fn step_claim(&mut self, key: &(String, IpAddr), event: claim::Event, at: Moment) {
        let Some(claim) = self.claims.get_mut(key) else {
            return;
        };
        let (name, addr) = key;
        for action in claim.on(at.now_ms, at.random, event) {
            match action {
                claim::Action::Send(out) => self.post(name, out),
                claim::Action::Unique => self.settle(name, *addr, true, at),
                claim::Action::Lost(link) => {
                    self.conflicts += 1;
                    log::warn!("{name}: {addr} is not used: {link} has it already");
                    self.claims.remove(key);
                    self.settle(name, *addr, false, at);
                }
                claim::Action::Quarrel(link) => {
                    self.conflicts += 1;
                    log::warn!("{name}: duplicate address: {addr} is used by {link} too");
                }
            }
        }
    }

    /// Tells whoever wanted to know whether an address is free.
    fn settle(&mut self, name: &str, addr: IpAddr, is_free: bool, at: Moment) {
        match addr {
            IpAddr::V4(_) => {
                let event = match is_free {
                    true => dhcp4::Event::Unique,
                    false => dhcp4::Event::Conflict,
                };
                if let Some(client) = self.dhcp.get_mut(name) {
                    let actions = client.on(at.now_ms, at.random, &event);
                    self.act_dhcp(name, actions, at);
                }
            }
            IpAddr::V6(addr) => {
                let event = match is_free {
                    true => slaac::Event::Unique(addr),
                    false => slaac::Event::Conflict(addr),
                };
                if let Some(client) = self.slaac.get_mut(name) {
                    let actions = client.on(at.now_ms, at.random, &event);
                    self.act_slaac(name, actions, at);
                }
            }
        }
    }

    fn act_dhcp(&mut self, name: &str, actions: Vec<dhcp4::Action>, at: Moment) {
        for action in actions {
            match action {
                dhcp4::Action::Send(out) => self.post(name, out),
                dhcp4::Action::Check(addr) => self.check(name, addr.into(), at),
            }
        }
    }

    fn act_slaac(&mut self, name: &str, actions: Vec<slaac::Action>, at: Moment) {
        for action in actions {
            match action {
                slaac::Action::Send(out) => self.post(name, out),
                slaac::Action::Check(addr) => self.check(name, addr.into(), at),
            }
        }
    }

    /// Begins a tentative claim, or says at once that the address is ours already.
    fn check(&mut self, name: &str, addr: IpAddr, at: Moment) {
        let key = (name.to_string(), addr);
        match self.claims.get(&key) {
            Some(claim) if !claim.is_tentative() => self.settle(name, addr, true, at),
            Some(_) => {}
            None => {
                let mac = self.mac_of(name);
                let claim = Claim::new(addr, mac, true, at.now_ms);
                self.claims.insert(key, claim);
            }
        }
    }

    fn mac_of(&self, name: &str) -> ether::Addr {
        let dhcp = self.dhcp.get(name).map(dhcp4::Client::mac);
        let slaac = || self.slaac.get(name).map(slaac::Client::mac);
        dhcp.or_else(slaac).unwrap_or(ether::Addr::ZERO)
    }

    fn post(&mut self, name: &str, out: Outgoing) {
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push_back((name.into(), out));
        }
    }

    /// What was learned and may be used.
    pub(crate) fn learned(&self) -> Learned {
        let mut learned = Learned::default();
        for (name, client) in &self.dhcp {
            if let Some(lease) = client.lease() {
                learned.add(name, Source::of_lease(lease));
            }
        }
        for (name, client) in &self.slaac {
            learned.add(name, Source::of_routers(&client.learned()));
        }
        learned
    }

    /// The DHCP clients, for people.
    pub(crate) fn leases(&self, now_ms: u64) -> Vec<LeaseView> {
        let view = |(name, client): (&String, &dhcp4::Client)| {
            let lease = client.lease();
            let end = lease.and_then(|l| l.expires_ms);
            LeaseView {
                interface: name.clone(),
                state: client.state().name(),
                addr: lease.map(|l| (l.addr.into(), l.prefix_len)),
                server: lease.map(|l| l.server.into()),
                expires_s: end.map(|end| end.saturating_sub(now_ms) / 1000),
            }
        };
        self.dhcp.iter().map(view).collect()
    }
}

/// Learning as a part of the control core.
impl Control {
    pub(crate) fn moment(&self) -> Moment {
        let mut bytes = [0; 4];
        self.clock.random(&mut bytes);
        Moment {
            now_ms: self.clock.now_ms(),
            random: u32::from_le_bytes(bytes),
        }
    }

    /// A packet for the box came in on `interface`. True if it was for the control core itself, not for the local host.
    pub fn hear(&mut self, interface: InterfaceId, packet: &[u8]) -> bool {
        if !is_for_learning(packet) {
            return false;
        }
        let at = self.moment();
        let config = self.fleet.current().clone();
        if let Some(on) = config.interfaces.get(interface) {
            self.learning.hear(on, packet, at);
            self.relearn();
        }
        true
    }

    /// The next packet of the control core itself, and which way it is to go.
    pub fn next_to_send(&mut self) -> Option<ToSend> {
        let frame = self.trees.next_frame();
        if let Some((end, bytes)) = frame.or_else(|| self.next_frame()) {
            return Some(ToSend {
                bytes,
                lane: Lane::Routed,
                frame: Some(end),
            });
        }
        loop {
            let (name, out) = self.learning.outbox.pop_front()?;
            let interface = self.fleet.current().interfaces.by_name(&name);
            // An interface that has gone meanwhile has nobody to talk to.
            let Some(interface) = interface.map(|i| i.id) else {
                continue;
            };
            let to = |lladdr| Egress::routed(interface, lladdr);
            let (lane, frame) = match out.way {
                Way::Below(link) => (Lane::Below(to(link)), None),
                Way::Link(link) => (Lane::Link(to(link)), None),
                Way::Routed => (Lane::Routed, None),
                Way::Frame => (Lane::Routed, Some(FrameEnd::Interface(interface))),
            };
            return Some(ToSend {
                bytes: out.bytes,
                lane,
                frame,
            });
        }
    }

    pub(crate) fn learning_tick(&mut self) {
        let at = self.moment();
        self.learning.tick(at);
        self.relearn();
    }

    pub(crate) fn learning_link(&mut self, name: &str, up: bool) {
        let at = self.moment();
        self.learning.on_link(name, up, at);
    }

    /// Publishes what was learned, if it is not what is in force: addresses, routes, and what workers listen for.
    fn relearn(&mut self) {
        let learned = self.learning.learned();
        let now_ms = self.clock.now_ms();
        if learned != self.learned {
            let last = self.learning.published_ms;
            if last.is_some_and(|last| now_ms < last + PUBLISH_MS) {
                return; // the next tick will do
            }
            self.learning.published_ms = Some(now_ms);
            log_change(&self.learned, &learned);
            self.learned = learned;
            self.publish_learned();
        } else if self.has_new_claims() {
            self.publish_listening();
        }
    }

    fn has_new_claims(&self) -> bool {
        let interfaces = &self.fleet.current().interfaces;
        self.learning.listening(interfaces, &self.wants) != *interfaces.listening()
    }
}

fn log_change(before: &Learned, after: &Learned) {
    for (name, source) in after.not_in(before) {
        log::info!("{name}: {source}");
    }
    for (name, source) in before.not_in(after) {
        log::info!("{name}: no more {source}");
    }
}
