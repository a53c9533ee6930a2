//! Takes packets from where they come, and describes them. Knows Ethernet and VLAN headers; everything above is
//! `filter::describe`'s.

use filter::{Kind, Reason};
use net::bridge::Place;
use net::link::{TAG_LEN, TAGS_MAX, priority_code};
use net::{InterfaceId, InterfaceTable, Tpid};
use nic::{BufferPool, Checksum, Nic, PacketBuf, RxQueue};
use ruleset::{Af, Direction, Sought};
use wire::ether::EtherType;

use crate::batch::{Hop, Item, NO_PORT, Origin};
use crate::bridge::{Heard, type_of};
use crate::mail::Lane;
use crate::turn::Worker;
use crate::verdict::{Consumer, Verdict};

/// Bytes of an Ethernet header.
const HEADER: usize = wire::ether::HEADER_LEN;
/// Ports of what a DHCP server says to a client.
pub(crate) const DHCP_PORTS: (u16, u16) = (67, 68);

/// Most packets of a card that go the long way together: so many that they wait for memory together, and so few that what
/// is known of the first is still in the first-level cache when its turn comes.
pub(crate) const LONG_WAY_MAX: usize = 16;

/// Where the network header of a frame begins, and what it is.
#[derive(Clone, Copy)]
pub(crate) enum L2 {
    Ip(Af, usize),
    Arp(usize),
    /// Something else, which goes on if it is bridged.
    Other,
    /// A bridged frame whose way is known already.
    Bridged,
    /// A frame of a protocol between neighbors on a link (IEEE 802.1Q table 8-1), or one with a length for a type.
    Reserved,
}

/// Where packets come from beside cards, in the order in which they are asked for.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// The worker made them itself.
    Generated,
    /// The local host.
    Host,
    /// Datagrams whose last piece the others before have brought.
    Whole,
    /// What all of these sent through tunnels, or took out of them.
    Tunnels,
}

impl<N: Nic> Worker<N> {
    /// Fills the batch from one source.
    #[inline(always)]
    pub(crate) fn receive(&mut self, source: Source) -> usize {
        debug_assert_eq!(self.batch.len(), 0);
        self.tunnels.begin_burst(0);
        match source {
            Source::Generated => self.receive_generated(),
            Source::Host => self.receive_host(),
            Source::Whole => self.receive_whole(),
            Source::Tunnels => self.receive_tunneled(),
        }
    }

    /// Fills the batch from the receive queue of a port.
    #[inline]
    pub(crate) fn receive_port(&mut self, port: usize) -> usize {
        debug_assert_eq!(self.batch.len(), 0);
        self.tunnels.begin_burst(0);
        let Some(rx) = self.ports[port].rx.as_mut() else {
            return 0;
        };
        let n = rx.receive_some(&mut self.batch.bufs, self.burst);
        if n != 0 {
            self.counters.received.add(n as u64);
        }
        n
    }

    /// What came from a card and was not served by flows is looked at as a whole from here on, some packets at a time. False
    /// if there are no more.
    pub(crate) fn unpack(&mut self, port: usize, rest: &mut impl Iterator<Item = N::Buf>) -> bool {
        let receiver = self.config.interfaces.receiver(port as u16);
        let interface = receiver.map(|r| (r.interface, r.rdomain));
        for buf in rest.take(LONG_WAY_MAX) {
            buf.prefetch();
            let (id, rdomain) = interface.unwrap_or_default();
            let mut item = Item::new(Origin::Wire(id)).within(rdomain, rdomain);
            item.port = port as u16;
            if interface.is_none() {
                item.drop_for(Reason::InterfaceDown);
            }
            let pushed = self.batch.push(buf, item);
            debug_assert!(pushed.is_ok(), "no more than a burst");
        }
        if self.batch.len() == 0 {
            return false;
        }
        if let Some((receiver, (lagg, place))) = receiver.and_then(|r| Some((r, r.lagg?))) {
            self.receive_by_lagg(&receiver, lagg, place);
        }
        true
    }

    fn receive_generated(&mut self) -> usize {
        let Some(first) = self.generated.front() else {
            return 0;
        };
        let nesting = first.nesting;
        self.tunnels.begin_burst(nesting);
        while !self.batch.is_full() {
            if self.generated.front().is_none_or(|p| p.nesting != nesting) {
                break;
            }
            let Some(packet) = self.generated.pop_front() else {
                break;
            };
            let mut item = self.item_in(packet.origin, packet.rtable);
            item.egress = packet.egress;
            item.pd.tag = packet.tag;
            // There is room: the batch is not full.
            self.batch.push(packet.buf, item).ok();
        }
        self.batch.len()
    }

    fn receive_host(&mut self) -> usize {
        while !self.batch.is_full() {
            let Some(packet) = self.ends.from_host.pop() else {
                break;
            };
            self.counters.from_host.add(1);
            if let Some(end) = packet.frame {
                self.send_control_frame(packet.buf, end);
                continue;
            }
            let (origin, egress) = match packet.lane {
                Lane::Routed => (Origin::Own, None),
                Lane::Link(egress) => (Origin::Own, Some(egress)),
                Lane::Below(egress) => (Origin::Answer, Some(egress)),
            };
            let mut item = self.item_in(origin, packet.rtable);
            item.egress = egress.map(Hop::Known);
            // There is room: the batch is not full.
            self.batch.push(packet.buf, item).ok();
        }
        self.batch.len()
    }

    /// A packet in a routing table.
    pub(crate) fn item_in(&self, origin: Origin, rtable: u8) -> Item {
        Item::new(origin).within(rtable, self.config.routes.rdomain_of(rtable))
    }

    /// The routing domain of an interface; its table has the same number.
    pub(crate) fn rdomain_of(&self, interface: InterfaceId) -> u8 {
        let interface = self.config.interfaces.get(interface);
        interface.map_or(0, |interface| interface.rdomain)
    }

    /// First loop over the burst: headers to descriptions, keys and hashes; asks the cache for the index lines. What comes
    /// from a card meets the rules for frames.
    pub(crate) fn describe(&mut self, from_card: bool, now_ms: u64) {
        let asks_ether = from_card && !self.config.ruleset.ether.is_empty();
        for n in 0..self.batch.len() {
            if !self.batch.items[n].is_open() {
                continue;
            }
            let described = match self.describe_one(n, now_ms) {
                Ok(l2) if asks_ether => self.ether_in(n, &l2).map(|()| l2),
                described => described,
            };
            match described {
                Err(reason) => self.refuse(n, reason),
                Ok(L2::Arp(at)) => {
                    self.hear_arp(n, at, now_ms);
                    self.batch.items[n]
                        .verdict
                        .get_or_insert(Verdict::Consumed(Consumer::Neighbor));
                }
                Ok(L2::Reserved) => self.hear_control_frame(n),
                Ok(L2::Bridged) => {}
                Ok(L2::Other) => self.refuse(n, Reason::Ethernet),
                Ok(L2::Ip(..)) if self.is_for_dhcp(n) => {
                    self.batch.items[n].verdict = Some(Verdict::Host);
                }
                Ok(L2::Ip(..)) => {
                    let item = &mut self.batch.items[n];
                    item.hash = self.states.hash(&item.pd.key_in);
                    self.states.prefetch_bucket(item.hash);
                }
            }
        }
    }

    /// What a DHCP server says to the client on this interface: below the rules, as bpf(4) has it for dhcpleased(8).
    #[inline]
    fn is_for_dhcp(&self, n: usize) -> bool {
        let item = &self.batch.items[n];
        let pd = &item.pd;
        let to_client = pd.ports == DHCP_PORTS && pd.kind == Kind::Udp && pd.af == Af::Inet;
        let listening = |on| self.config.interfaces.listening().for_dhcp(on);
        to_client && item.received_on().is_some_and(listening)
    }

    fn describe_one(&mut self, n: usize, now_ms: u64) -> Result<L2, Reason> {
        let beyond = self.beyond(&self.batch.items[n]);
        let l2 = match self.batch.items[n].origin {
            Origin::Wire(interface) => self.link_header(n, interface, now_ms)?,
            Origin::Own | Origin::Proxy | Origin::Answer | Origin::Bridged(_) => {
                match self.batch.bufs[n].bytes().first().map(|b| b >> 4) {
                    Some(4) => L2::Ip(Af::Inet, 0),
                    Some(6) => L2::Ip(Af::Inet6, 0),
                    _ => return Err(Reason::Short),
                }
            }
        };
        let item = &mut self.batch.items[n];
        let frame = self.batch.bufs[n].bytes();
        match l2 {
            L2::Ip(Af::Inet, at) => {
                // The header of a train's head was checked piece by piece, and is our own.
                let from_wire = matches!(item.origin, Origin::Wire(_)) && item.train.is_none();
                let verify =
                    from_wire && self.batch.bufs[n].rx_meta().ip_checksum != Checksum::Good;
                filter::describe::describe4(&mut item.pd, frame, at, verify, beyond)?;
            }
            L2::Ip(Af::Inet6, at) => filter::describe::describe6(&mut item.pd, frame, at, beyond)?,
            L2::Arp(_) | L2::Reserved | L2::Other | L2::Bridged => {}
        }
        if let (Origin::Wire(_), L2::Ip(_, at)) = (item.origin, &l2) {
            item.pd.priority = priority(frame, *at);
        }
        Ok(l2)
    }

    /// Walks the Ethernet header and tags: which interface the frame is for, or where its bridge sends it on.
    #[inline]
    fn link_header(&mut self, n: usize, interface: InterfaceId, now_ms: u64) -> Result<L2, Reason> {
        let frame = self.batch.bufs[n].bytes();
        let interfaces = &self.config.interfaces;
        let walked = network_header(frame, interfaces, interface);
        let on = walked.as_ref().map_or(interface, |(_, on)| *on);
        if let Some(place) = interfaces.bridges().place(on) {
            let l2 = match walked {
                Ok((l2, _)) => l2,
                // Of a VLAN that nobody here knows: it passes as it is.
                Err(Reason::Vlan) => L2::Other,
                Err(reason) => return Err(reason),
            };
            return self.bridge_header(n, on, place, l2, now_ms);
        }
        let (l2, on) = walked?;
        if matches!(l2, L2::Other) {
            return Err(Reason::Ethernet);
        }
        is_for_us(frame, interfaces, on)?;
        if on != interface {
            self.counters.link(on, Direction::In, frame.len());
            self.comes_in_by(n, on);
        }
        Ok(l2)
    }

    /// What the layers above see as the interface it came in by.
    fn comes_in_by(&mut self, n: usize, on: InterfaceId) {
        let rdomain = self.rdomain_of(on);
        let item = &mut self.batch.items[n];
        item.origin = Origin::Wire(on);
        *item = item.within(rdomain, rdomain);
    }

    /// The frame came in by an interface that is part of a bridge.
    fn bridge_header(
        &mut self,
        n: usize,
        on: InterfaceId,
        place: Place,
        l2: L2,
        now_ms: u64,
    ) -> Result<L2, Reason> {
        let l2 = self.strip_tags(n, on, l2);
        let (ethertype, behind) = type_of(self.batch.bufs[n].bytes());
        self.comes_in_by(n, on);
        match (self.bridge_in(n, on, place, ethertype, behind)?, l2) {
            (Heard::Ours(_), L2::Reserved | L2::Other) => Err(Reason::Ethernet),
            (Heard::Ours(owner), l2) => {
                self.comes_in_by(n, owner);
                Ok(l2)
            }
            (Heard::Control, _) => Ok(L2::Reserved),
            (Heard::Through(through, tag), L2::Ip(..)) => {
                let item = &mut self.batch.items[n];
                item.bridged = Some(through);
                item.pd.tag = tag;
                Ok(l2)
            }
            (Heard::Through(through, _), l2) => {
                let arp_at = match l2 {
                    L2::Arp(at) => Some(at),
                    _ => None,
                };
                self.bridge_frame(n, through, arp_at, now_ms);
                Ok(L2::Bridged)
            }
        }
    }

    /// Frames of a VLAN that is a member of a bridge leave without its tags, or with other ones.
    fn strip_tags(&mut self, n: usize, on: InterfaceId, l2: L2) -> L2 {
        let links = self.config.interfaces.links();
        let tags = self.config.interfaces.way(on).map_or(0, |w| w.tags().len());
        let len = tags * net::link::TAG_LEN;
        // A frame that another worker has handed over has none any more.
        if links.base(on) == on || self.batch.items[n].port == NO_PORT {
            return l2;
        }
        self.counters
            .link(on, Direction::In, self.batch.bufs[n].len());
        let buf = &mut self.batch.bufs[n];
        buf.bytes_mut().copy_within(..HEADER - 2, len);
        buf.advance(len);
        match l2 {
            L2::Ip(af, at) => L2::Ip(af, at.saturating_sub(len)),
            L2::Arp(at) => L2::Arp(at.saturating_sub(len)),
            other => other,
        }
    }

    /// Drops a packet that could not be described.
    fn refuse(&mut self, n: usize, reason: Reason) {
        self.batch.items[n].drop_for(reason);
    }

    /// Second and third loop: which state each packet probably has, then which it has; asks the cache for the lines
    /// that the next step needs.
    pub(crate) fn look_up(&mut self) {
        let states = &mut self.states;
        for item in self.batch.items.iter_mut().filter(|i| needs_state_in(i)) {
            item.state = states.guess(item.hash);
        }
        let mut searches = 0;
        for item in self.batch.items.iter_mut().filter(|i| needs_state_in(i)) {
            item.state = states.confirm(item.state, &item.pd.key_in, item.hash);
            searches += 1;
            if let Some(st) = item.state.and_then(|idx| states.get(idx)) {
                states.prefetch(st.pair);
            }
        }
        self.counters.filter.searches.add(searches);
        self.made_state = false;
        self.removals = self.states.removals();
        if !self.config.ruleset.large.is_empty() {
            self.foresee();
        }
    }

    /// Fourth loop, for packets that the rules will be asked about: what their look-ups in large tables will read.
    fn foresee(&self) {
        let ruleset = &self.config.ruleset;
        let items = self.batch.items.iter();
        let asked = items.filter(|i| needs_state_in(i) && i.state.is_none());
        ruleset.foresee(asked, |item, of_dst| {
            let pd = &item.pd;
            let addr = if of_dst { pd.dst } else { pd.src };
            match pd.af {
                Af::Inet => Sought::Inet(addr as u32),
                Af::Inet6 => Sought::Inet6(addr),
            }
        });
    }

    /// A fresh buffer with room for an Ethernet header in front, or none and a counted drop: the packet that was to be
    /// made ends here.
    pub(crate) fn fresh(&mut self) -> Option<N::Buf> {
        let buf = self.pool.allocate();
        if buf.is_none() {
            self.counters.generated.add(1);
            self.count_drop(Reason::NoBuffer);
        }
        buf
    }
}

/// Packets that come in are looked up by their own key; errors by what they quote, and own packets on the way out.
fn needs_state_in(item: &Item) -> bool {
    item.is_open() && matches!(item.origin, Origin::Wire(_)) && item.pd.may_have_state()
}

/// Walks the Ethernet header and tags, which say the interface that the frame is for.
fn network_header(
    frame: &[u8],
    interfaces: &InterfaceTable,
    on: InterfaceId,
) -> Result<(L2, InterfaceId), Reason> {
    let header: &[u8; HEADER] = frame.first_chunk().ok_or(Reason::Ethernet)?;
    let ethertype = EtherType(u16::from_be_bytes([header[12], header[13]]));
    let (l2, on) = match ethertype {
        EtherType::IPV4 => (L2::Ip(Af::Inet, HEADER), on),
        EtherType::IPV6 => (L2::Ip(Af::Inet6, HEADER), on),
        EtherType::ARP => (L2::Arp(HEADER), on),
        EtherType::VLAN | EtherType::QINQ => walk_tags(frame, ethertype, interfaces, on)?,
        _ if ethertype == EtherType::SLOW || ethertype.is_length() => (L2::Reserved, on),
        _ => (L2::Other, on),
    };
    Ok((l2, on))
}

/// Whether a frame is for a group or for this interface.
#[inline]
fn is_for_us(frame: &[u8], interfaces: &InterfaceTable, on: InterfaceId) -> Result<(), Reason> {
    let dst: &[u8; 6] = frame.first_chunk().ok_or(Reason::Ethernet)?;
    let is_group = dst[0] & 1 == 1;
    match is_group || interfaces.get(on).is_some_and(|i| i.mac.0 == *dst) {
        true => Ok(()),
        false => Err(Reason::OtherHost),
    }
}

/// Walks tags from the interface at the bottom on: a frame may come again, with what it was for the first time. A
/// priority tag (VLAN 0, IEEE 802.1Q 6.9.1) says nothing of the interface.
#[cold]
fn walk_tags(
    frame: &[u8],
    mut ethertype: EtherType,
    interfaces: &InterfaceTable,
    on: InterfaceId,
) -> Result<(L2, InterfaceId), Reason> {
    let links = interfaces.links();
    let mut on = links.base(on);
    let mut at = HEADER;
    for _ in 0..=TAGS_MAX {
        let Some(tpid) = Tpid::of(ethertype) else {
            break;
        };
        let tag: &[u8; 4] = frame
            .get(at..)
            .and_then(<[u8]>::first_chunk)
            .ok_or(Reason::Vlan)?;
        let vid = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
        if vid != 0 {
            on = links.child(on, tpid, vid).ok_or(Reason::Vlan)?;
            if !interfaces.get(on).is_some_and(|i| i.up) {
                return Err(Reason::InterfaceDown);
            }
        }
        ethertype = EtherType(u16::from_be_bytes([tag[2], tag[3]]));
        at += tag.len();
    }
    match ethertype {
        EtherType::IPV4 => Ok((L2::Ip(Af::Inet, at), on)),
        EtherType::IPV6 => Ok((L2::Ip(Af::Inet6, at), on)),
        EtherType::ARP => Ok((L2::Arp(at), on)),
        EtherType::VLAN | EtherType::QINQ => Err(Reason::Vlan),
        _ => Ok((L2::Other, on)),
    }
}

/// Priority of a frame whose IP header begins at `at`: that of its last tag.
#[inline]
fn priority(frame: &[u8], at: usize) -> u8 {
    if at == HEADER {
        return filter::scrub::PRIORITY_DEFAULT;
    }
    let code = frame.get(at - TAG_LEN).map(|tag| tag >> 5);
    code.map_or(filter::scrub::PRIORITY_DEFAULT, priority_code)
}

/// Interface number for packets of which only the interface is known.
pub(crate) fn interface_of(item: &Item) -> InterfaceId {
    item.received_on().unwrap_or_default()
}
