//! Bridges in the turn: where a frame that came in by a member goes on, and frames of the box that leave by one.
//!
//! Read first: bridge(4) of OpenBSD. PF is asked on the member that a packet came in by, and again on each member that it
//! leaves by. Station addresses are kept, and so is the time to live. Frames that are no IP pass below PF.
//!
//! A packet for a station that nobody knows, or for many, leaves by several members: copies of it become packets of their
//! own, which go through the rules of their member in the next turn; the packet itself leaves by the last member.

use filter::Reason;
use net::bridge::{FrameHead, Place, Role, Ruling, Switch, is_ip};
use net::fdb::Station;
use net::interface::Destination;
use net::link::Tpid;
use net::{Interface, InterfaceId};
use nic::{Nic, PacketBuf};
use ruleset::TagId;
use wire::ether::{Addr, EtherType};
use wire::{bpdu, ether};

use crate::batch::{Hop, Item, NO_PORT, Origin};
use crate::forward::addr_of;
use crate::generate::Generated;
use crate::mail::{Carried, Handoff, Lane};
use crate::turn::Worker;
use crate::verdict::{Consumer, Egress, Verdict};

/// Priority of frames that say none.
const PRIORITY: u8 = filter::scrub::PRIORITY_DEFAULT;
/// Places of the table of stations looked at per millisecond in which there is a turn: all of them within seconds. They lie
/// in no cache that packets need.
const SWEEP_BUDGET: usize = 32;
/// Most copies of one frame in a turn, over all members and spans.
const COPIES_MAX: usize = 64;

/// Where a frame that came in by a member of a bridge goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bridged {
    /// The bridge.
    pub(crate) bridge: u8,
    /// Place of the member that it came in by.
    pub(crate) from: u8,
    /// Station addresses of the frame.
    pub(crate) dst: Addr,
    pub(crate) src: Addr,
    /// The member that its station is behind; none is all that want it.
    pub(crate) to: Option<InterfaceId>,
}

/// What a bridge makes of a frame.
pub(crate) enum Heard {
    /// It is for the box: as if it had come in by this interface.
    Ours(InterfaceId),
    /// It goes on.
    Through(Bridged, TagId),
    /// A frame of the spanning tree protocol.
    Control,
}

impl<N: Nic> Worker<N> {
    /// A frame came in by an interface that is part of a bridge: learns from it, and finds out where it goes. `behind` is
    /// where the payload begins.
    pub(crate) fn bridge_in(
        &mut self,
        n: usize,
        on: InterfaceId,
        place: Place,
        ethertype: EtherType,
        behind: usize,
    ) -> Result<Heard, Reason> {
        let now_s = self.now_s();
        let bridges = self.config.interfaces.bridges();
        let bridge = bridges.get(place.bridge).ok_or(Reason::InterfaceDown)?;
        let from = match place.role {
            Role::Member(from) => usize::from(from),
            // Others are heard there, nobody speaks.
            Role::Span => return Err(Reason::Span),
            // A handed frame that was found to be for the bridge's own address.
            Role::Itself => return Ok(Heard::Ours(on)),
        };
        let frame = self.batch.bufs[n].bytes();
        let head = FrameHead {
            dst: ether_addr(frame, 0),
            src: ether_addr(frame, 6),
            ethertype,
            payload: frame.get(behind..).unwrap_or_default(),
        };
        let is_ip = is_ip(ethertype);
        if bpdu::is_link_local_group(head.dst) {
            if head.dst == bpdu::GROUP && bridge.members[from].stp {
                return Ok(Heard::Control);
            }
            // The messages of other bridges pass one that has no tree of its own.
            if head.dst != bpdu::GROUP || bridge.speaks_stp {
                return Err(Reason::LinkLocal);
            }
        }
        if bridge.ports.learning() >> from & 1 == 0 {
            return Err(Reason::Discarding);
        }
        if bridge.own(head.src).is_some() {
            return Err(Reason::OwnStation);
        }
        if !is_ip && bridge.members[from].block_non_ip {
            return Err(Reason::NonIp);
        }
        let tag = match bridge.ruling(on, true, &head) {
            Ruling::Block => return Err(Reason::BridgeRule),
            Ruling::Pass(tag) => TagId(tag),
        };
        let (dst, src) = (head.dst, head.src);
        let mut news = None;
        // A frame that another worker has handed over was heard there, and may come as if by another member.
        let is_heard = self.batch.items[n].port != NO_PORT;
        if is_heard && bridge.members[from].learn && bridge.fixed(src).is_none() {
            let epoch = bridge.ports.epoch(from);
            let learned = self.stations.learn(&bridge.terms, src, on, epoch, now_s);
            let station = Station {
                addr: src,
                member: on,
                epoch,
                seen_s: now_s,
            };
            news = learned.is_news().then_some((bridge.terms.bridge, station));
        }
        let forwards = bridge.ports.forwarding() >> from & 1 == 1;
        let owner = bridge.own(dst);
        let is_spanned = is_heard && !bridge.spans.is_empty();
        let to = match owner {
            None => self.station(place.bridge, bridge, dst),
            Some(_) => None,
        };
        if let Some((bridge, station)) = news {
            self.tell_of_station(bridge, station);
        }
        if is_spanned {
            self.copy_to_spans(n, place.bridge);
        }
        match (owner, to) {
            _ if !forwards => Err(Reason::Discarding),
            (Some(owner), _) => Ok(Heard::Ours(owner)),
            (None, Some(to)) if to == on => Err(Reason::SameSide),
            (None, to) => {
                let through = Bridged {
                    bridge: place.bridge,
                    from: from as u8,
                    dst,
                    src,
                    to,
                };
                Ok(Heard::Through(through, tag))
            }
        }
    }

    /// The member that a station is behind.
    #[inline]
    fn station(&self, number: u8, bridge: &Switch, addr: Addr) -> Option<InterfaceId> {
        if addr.is_multicast() {
            return None;
        }
        let bridges = self.config.interfaces.bridges();
        bridge.fixed(addr).or_else(|| {
            let epoch = |member| match bridges.member(number, member) {
                Some(place) => bridge.ports.epoch(place),
                None => 0,
            };
            self.stations.find(&bridge.terms, addr, self.now_s(), epoch)
        })
    }

    /// Others who are not told send frames for it to everybody, until they hear it themselves.
    #[cold]
    fn tell_of_station(&mut self, bridge: InterfaceId, station: Station) {
        for ring in self.ends.to_workers.iter_mut().flatten() {
            if ring.push(Handoff::Station(bridge, station)).is_err() {
                self.counters.letters_lost.add(1);
            }
        }
    }

    /// Another worker has heard a station.
    pub(crate) fn hear_of_station(&mut self, id: InterfaceId, station: &Station) {
        let Some(bridge) = self.config.interfaces.bridges().of(id) else {
            return;
        };
        if bridge.place(station.member).is_some() && bridge.fixed(station.addr).is_none() {
            self.stations.hear(&bridge.terms, station);
        }
    }

    fn now_s(&self) -> u32 {
        (self.now_ms / 1000) as u32
    }

    /// Forgets stations that are silent, and those of members that are gone.
    pub(crate) fn sweep_stations(&mut self) {
        if self.stations.is_empty() {
            return;
        }
        let bridges = self.config.interfaces.bridges();
        let judge = |bridge, member| {
            let switch = bridges.of(bridge)?;
            let place = switch.place(member)?;
            Some((switch.terms.timeout_s, switch.ports.epoch(place)))
        };
        let now_s = (self.now_ms / 1000) as u32;
        self.stations.sweep(SWEEP_BUDGET, now_s, judge);
    }

    /// A bridged frame that is no IP packet: below PF. ARP that is meant for the box is heard too.
    pub(crate) fn bridge_frame(
        &mut self,
        n: usize,
        through: Bridged,
        arp_at: Option<usize>,
        now_ms: u64,
    ) {
        let item = &mut self.batch.items[n];
        item.bridged = Some(through);
        item.verdict = Some(Verdict::Bridge);
        if let Some(at) = arp_at {
            self.hear_bridged_arp(n, through, at, now_ms);
        }
    }

    /// The interface of the bridge that an ARP packet is for: the one that has the address asked for, that answers for
    /// it, or that is in the network of the sender.
    fn hear_bridged_arp(&mut self, n: usize, through: Bridged, at: usize, now_ms: u64) {
        let config = self.config.clone();
        let Some(bridge) = config.interfaces.bridges().get(through.bridge) else {
            return;
        };
        let frame = self.batch.bufs[n].bytes();
        let Ok(packet) = wire::arp::Packet::new_checked(frame.get(at..).unwrap_or_default()) else {
            return;
        };
        let (target, sender) = (packet.target_ip().into(), packet.sender_ip().into());
        let hosts = || {
            bridge
                .hosts
                .iter()
                .filter_map(|id| config.interfaces.get(*id))
        };
        let listening = config.interfaces.listening();
        let parts = bridge.members.iter().map(|m| m.id);
        let answers = parts
            .chain([bridge.terms.bridge])
            .find(|id| listening.publishes(*id, target).is_some());
        let on = hosts()
            .find(|i| i.owns(target))
            .or_else(|| config.interfaces.get(answers?))
            .or_else(|| hosts().find(|i| i.on_link(sender)));
        if let Some(on) = on {
            self.hear_arp_on(n, on.id, at, now_ms);
        }
    }

    /// A bridged packet was let in: the way out, or all of them.
    #[inline]
    pub(crate) fn bridge_forward(&mut self, n: usize, through: Bridged, now_ms: u64) {
        let Some(member) = through.to else {
            return self.bridge_to_many(n, through, now_ms);
        };
        let bridges = self.config.interfaces.bridges();
        let Some(bridge) = bridges.get(through.bridge) else {
            return self.batch.items[n].drop_for(Reason::InterfaceDown);
        };
        let from = usize::from(through.from);
        let to = bridges.member(through.bridge, member);
        if !to.is_some_and(|to| bridge.connects(Some(from), to, true)) {
            return self.batch.items[n].drop_for(Reason::NoMember);
        }
        let ruling = leaving(bridge, member, &through);
        self.send_through(n, member, &through, ruling);
    }

    /// For a group, or for a station that nobody knows.
    #[cold]
    fn bridge_to_many(&mut self, n: usize, through: Bridged, now_ms: u64) {
        let config = self.config.clone();
        let Some(bridge) = config.interfaces.bridges().get(through.bridge) else {
            return self.batch.items[n].drop_for(Reason::InterfaceDown);
        };
        let many = through.dst.is_multicast();
        let heard = many && self.hear_bridged(n, bridge, now_ms);
        let mut targets = bridge.targets(Some(usize::from(through.from)), many, true);
        if targets == 0 {
            return match heard {
                true => {
                    self.batch.items[n].verdict = Some(Verdict::Consumed(Consumer::Bridge));
                }
                false => self.batch.items[n].drop_for(Reason::NoMember),
            };
        }
        let last = bridge.members[take_last(&mut targets)].id;
        if targets != 0 && self.batch.items[n].train.is_some() {
            // Its pieces are in buffers of their own, and there is one of each.
            return self.batch.items[n].drop_for(Reason::NoMember);
        }
        while targets != 0 {
            let member = bridge.members[take_last(&mut targets)].id;
            let ruling = leaving(bridge, member, &through);
            self.send_bridged_copy(n, member, &through, ruling);
        }
        self.send_through(n, last, &through, leaving(bridge, last, &through));
    }

    /// The packet leaves by this member, if its rules and PF's let it.
    fn send_through(&mut self, n: usize, member: InterfaceId, through: &Bridged, ruling: Ruling) {
        let item = &mut self.batch.items[n];
        match ruling {
            Ruling::Block => item.drop_for(Reason::BridgeRule),
            Ruling::Pass(tag) => {
                if tag != 0 {
                    item.pd.tag = TagId(tag);
                }
                item.egress = Some(Hop::Known(through.egress(member)));
            }
        }
    }

    /// A copy of packet `n` becomes a packet of its own.
    fn send_bridged_copy(
        &mut self,
        n: usize,
        member: InterfaceId,
        through: &Bridged,
        ruling: Ruling,
    ) {
        let item = &self.batch.items[n];
        let Some(received_on) = item.received_on() else {
            return;
        };
        let tag = match ruling {
            Ruling::Block => return,
            Ruling::Pass(0) => item.pd.tag,
            Ruling::Pass(tag) => TagId(tag),
        };
        let pd = &self.batch.items[n].pd;
        let (at, len) = (usize::from(pd.ip_at), usize::from(pd.ip_len));
        let Some(mut copy) = self.make(len, |_| Some(len)) else {
            return;
        };
        let packet = self.batch.bufs[n].bytes().get(at..at + len);
        copy.bytes_mut().copy_from_slice(packet.unwrap_or_default());
        let hop = Hop::Known(through.egress(member));
        let rtable = self.batch.items[n].pd.rtable;
        self.queue_generated(Generated {
            nesting: self.tunnels.nesting(),
            buf: copy,
            origin: Origin::Bridged(received_on),
            egress: Some(hop),
            tag,
            rtable,
        });
    }

    /// A packet for many: the box may be one of them. True if it was.
    fn hear_bridged(&mut self, n: usize, bridge: &Switch, now_ms: u64) -> bool {
        let pd = &self.batch.items[n].pd;
        let dst = addr_of(pd.af, pd.dst);
        let meant = bridge.hosts.iter().find(|on| {
            matches!(
                self.config.interfaces.classify(pd.rdomain, **on, dst),
                Destination::Local | Destination::Broadcast | Destination::Joined
            )
        });
        let Some(&on) = meant else {
            return false;
        };
        if self.batch.items[n].pd.is_neighbor_discovery {
            self.hear_neighbor_discovery(n, on, now_ms);
        } else if self.batch.items[n].train.is_none() {
            self.give_copy_to_host(n, on);
        }
        true
    }

    fn give_copy_to_host(&mut self, n: usize, on: InterfaceId) {
        let pd = &self.batch.items[n].pd;
        let (at, len) = (usize::from(pd.ip_at), usize::from(pd.ip_len));
        let Some(mut copy) = self.make(len, |_| Some(len)) else {
            return;
        };
        let packet = self.batch.bufs[n].bytes().get(at..at + len);
        copy.bytes_mut().copy_from_slice(packet.unwrap_or_default());
        self.counters.generated.add(1);
        let carried = Carried {
            buf: copy,
            received_on: Some(on),
            more: false,
            frame: None,
            rtable: self.batch.items[n].pd.rtable,
            lane: Lane::Routed,
        };
        match self.ends.to_host.push(carried) {
            Ok(()) => self.counters.to_host.add(1),
            Err(carried) => self.discard(carried.buf, Reason::HostFull),
        }
    }

    /// A frame that is no IP packet leaves as it came, by one member or by several.
    pub(crate) fn carry_out_frame(&mut self, buf: N::Buf, n: usize) {
        let bridges = self.config.interfaces.bridges();
        let through = self.batch.items[n].bridged;
        let found = through.and_then(|t| Some((t, bridges.get(t.bridge)?)));
        let Some((through, bridge)) = found else {
            return self.discard(buf, Reason::InterfaceDown);
        };
        let from = Some(usize::from(through.from));
        let is_ip = frame_is_ip(buf.bytes());
        let targets = match through
            .to
            .map(|member| bridges.member(through.bridge, member))
        {
            None => bridge.targets(from, through.dst.is_multicast(), is_ip),
            Some(Some(to)) if bridge.connects(from, to, is_ip) => 1 << to,
            Some(_) => 0,
        };
        self.send_at_all(buf, PRIORITY, through.bridge, targets);
    }

    /// A frame of the box, or one that was routed, leaves by a bridge: by the member that its station is behind. PF was
    /// asked on the interface that the routes name.
    pub(crate) fn bridge_out(&mut self, buf: N::Buf, priority: u8, place: Place) {
        let bridges = self.config.interfaces.bridges();
        let Some(bridge) = bridges.get(place.bridge) else {
            return self.discard(buf, Reason::InterfaceDown);
        };
        let dst = ether_addr(buf.bytes(), 0);
        let station = self.station(place.bridge, bridge, dst);
        let targets = match station.map(|m| bridges.member(place.bridge, m)) {
            Some(Some(to)) if bridge.connects(None, to, true) => 1 << to,
            Some(_) => 0,
            None => bridge.targets(None, dst.is_multicast(), true),
        };
        self.send_at_all(buf, priority, place.bridge, targets);
    }

    /// The frame leaves by the last of these members, copies of it by the others.
    fn send_at_all(&mut self, buf: N::Buf, priority: u8, number: u8, targets: u64) {
        let Some(bridge) = self.config.interfaces.bridges().get(number) else {
            return self.discard(buf, Reason::InterfaceDown);
        };
        let allowed = allowed(bridge, buf.bytes(), targets);
        if allowed == 0 {
            let reason = match targets {
                0 => Reason::NoMember,
                _ => Reason::BridgeRule,
            };
            return self.discard(buf, reason);
        }
        let mut others = allowed;
        let last = bridge.members[take_last(&mut others)].id;
        while others != 0 {
            let place = take_last(&mut others);
            self.send_frame_copy(&buf, priority, number, place);
        }
        self.queue_at_member(buf, priority, last);
    }

    #[cold]
    fn send_frame_copy(&mut self, buf: &N::Buf, priority: u8, number: u8, place: usize) {
        let bridge = self.config.interfaces.bridges().get(number);
        let Some(member) = bridge.and_then(|b| b.members.get(place)).map(|m| m.id) else {
            return;
        };
        let bytes = buf.bytes();
        let copy = self.make(bytes.len(), |out| {
            out.copy_from_slice(bytes);
            Some(out.len())
        });
        if let Some(copy) = copy {
            self.counters.generated.add(1);
            self.queue_at_member(copy, priority, member);
        }
    }

    /// Every span hears what the bridge hears.
    #[cold]
    fn copy_to_spans(&mut self, n: usize, number: u8) {
        let config = self.config.clone();
        let Some(bridge) = config.interfaces.bridges().get(number) else {
            return;
        };
        for span in bridge.spans.iter().take(COPIES_MAX) {
            let bytes = self.batch.bufs[n].bytes();
            let len = bytes.len();
            let Some(mut copy) = self.make(len, |_| Some(len)) else {
                continue;
            };
            copy.bytes_mut().copy_from_slice(self.batch.bufs[n].bytes());
            self.counters.generated.add(1);
            self.queue_at_member(copy, PRIORITY, *span);
        }
    }

    /// What the box says about a bridged packet goes back the way that the packet came, and needs no route.
    pub(crate) fn way_back(&self, item: &Item) -> Option<Hop> {
        let through = item.bridged?;
        let bridge = self.config.interfaces.bridges().get(through.bridge)?;
        let member = bridge.members.get(usize::from(through.from))?.id;
        Some(Hop::Known(Egress {
            interface: member,
            lladdr: through.src,
            src: Some(through.dst),
        }))
    }

    /// The address that such a message is from: one of the bridge, or else the one that the packet was for.
    pub(crate) fn source_on_bridge(&self, item: &Item) -> Option<core::net::IpAddr> {
        let through = item.bridged?;
        let bridge = self.config.interfaces.bridges().get(through.bridge)?;
        let to = addr_of(item.pd.af, item.pd.src);
        let hosts = bridge.hosts.iter();
        let own = hosts
            .filter_map(|id| self.config.interfaces.get(*id))
            .find_map(|i: &Interface| i.source(to));
        Some(own.unwrap_or_else(|| addr_of(item.pd.af, item.pd.dst)))
    }
}

impl Bridged {
    fn egress(&self, member: InterfaceId) -> Egress {
        Egress {
            interface: member,
            lladdr: self.dst,
            src: Some(self.src),
        }
    }
}

/// What the rules of the bridge say of a packet on its way out.
fn leaving(bridge: &Switch, member: InterfaceId, through: &Bridged) -> Ruling {
    let head = FrameHead {
        dst: through.dst,
        src: through.src,
        // Only ARP is told from the rest, and that does not come here.
        ethertype: EtherType::IPV4,
        payload: &[],
    };
    bridge.ruling(member, false, &head)
}

/// Of these members those that the rules of the bridge let the frame leave by.
fn allowed(bridge: &Switch, frame: &[u8], targets: u64) -> u64 {
    let (ethertype, behind) = type_of(frame);
    let head = FrameHead {
        dst: ether_addr(frame, 0),
        src: ether_addr(frame, 6),
        ethertype,
        payload: frame.get(behind..).unwrap_or_default(),
    };
    let members = bridge.members.iter().enumerate();
    members
        .filter(|(place, member)| {
            targets >> place & 1 == 1 && bridge.ruling(member.id, false, &head) != Ruling::Block
        })
        .fold(0, |mask, (place, _)| mask | 1 << place)
}

/// Takes the highest bit out of a mask that has one.
fn take_last(mask: &mut u64) -> usize {
    let last = mask.ilog2();
    *mask &= !(1 << last);
    last as usize
}

/// A station address at byte `at` of a frame; zeros if it ends before.
#[inline]
fn ether_addr(frame: &[u8], at: usize) -> Addr {
    let bytes = frame.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(Addr::ZERO, |bytes| Addr(*bytes))
}

/// Type of a frame, behind its tags, and where its payload begins.
pub(crate) fn type_of(frame: &[u8]) -> (EtherType, usize) {
    let mut at = ether::HEADER_LEN;
    let two = |at: usize| frame.get(at..).and_then(<[u8]>::first_chunk::<2>);
    let read = |at: usize| EtherType(two(at - 2).map_or(0, |b| u16::from_be_bytes(*b)));
    while Tpid::of(read(at)).is_some() && at + 4 <= frame.len() {
        at += 4;
    }
    (read(at), at)
}

fn frame_is_ip(frame: &[u8]) -> bool {
    is_ip(type_of(frame).0)
}
