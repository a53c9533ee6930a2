//! Frames of interfaces that are no ports: tags, laggs, and the frames of link protocols, which the control core speaks.
//! What stands on what is `net::link`'s.

use filter::Reason;
use net::InterfaceId;
use net::lagg::{Choice, probe_answer};
use net::link::{Out, Receiver, TAG_LEN, Way, write_tags};
use nic::{Nic, PacketBuf};
use ruleset::Direction;
use wire::ether::EtherType;

use crate::mail::{Carried, FrameEnd, Lane};
use crate::turn::Worker;
use crate::verdict::Verdict;

/// Priority of link protocols: before everything else.
const CONTROL_PRIORITY: u8 = 7;

impl<N: Nic> Worker<N> {
    /// A burst came by a port of a lagg: frames of a port that is not heard end here, but for those that decide about it.
    pub(crate) fn receive_by_lagg(&mut self, receiver: &Receiver, lagg: u16, place: u8) {
        let Some(lagg) = self.config.interfaces.links().lagg(lagg) else {
            return;
        };
        let is_heard = lagg.masks.receive() >> place & 1 == 1;
        for (buf, item) in self.batch.bufs.iter().zip(self.batch.items.iter_mut()) {
            self.counters
                .link(receiver.interface, Direction::In, buf.len());
            if lagg.is_probed && probe_answer(buf.bytes()).is_some() {
                item.verdict = Some(Verdict::Control);
            } else if !is_heard && !is_link_protocol(buf.bytes()) {
                item.drop_for(Reason::Standby);
            }
        }
    }

    /// A frame of a protocol between neighbors on a link: for the control core, if it speaks one on this port.
    pub(crate) fn hear_control_frame(&mut self, n: usize) {
        let item = &mut self.batch.items[n];
        let interfaces = &self.config.interfaces;
        // A member may be a VLAN, whose port is no member.
        let is_member = |on| interfaces.bridges().place(on).is_some();
        let receiver = interfaces.receiver(item.port);
        let wanted =
            receiver.is_some_and(|r| r.wants_control) || item.received_on().is_some_and(is_member);
        match wanted && is_reserved(self.batch.bufs[n].bytes()) {
            true => item.verdict = Some(Verdict::Control),
            false => item.drop_for(Reason::Ethernet),
        }
    }

    /// The whole frame goes to the control core.
    pub(crate) fn give_to_control(&mut self, buf: N::Buf, n: usize) {
        let item = &self.batch.items[n];
        let carried = Carried {
            buf,
            received_on: item.received_on(),
            rtable: item.pd.rtable,
            more: false,
            frame: Some(FrameEnd::Port(item.port)),
            lane: Lane::Routed,
        };
        match self.ends.to_host.push(carried) {
            Ok(()) => self.counters.to_host.add(1),
            Err(carried) => self.discard(carried.buf, Reason::HostFull),
        }
    }

    /// A frame of the control core leaves as it is.
    pub(crate) fn send_control_frame(&mut self, buf: N::Buf, end: FrameEnd) {
        match end {
            FrameEnd::Port(port) => self.queue(buf, CONTROL_PRIORITY, port),
            // What is of a link leaves by that very link, also where it is part of a bridge.
            FrameEnd::Interface(interface) if is_reserved(buf.bytes()) => {
                self.queue_at_member(buf, CONTROL_PRIORITY, interface);
            }
            FrameEnd::Interface(interface) => self.queue_on(buf, CONTROL_PRIORITY, interface),
        }
    }

    /// Queues a frame at an interface that is more than a port.
    #[cold]
    pub(crate) fn queue_in_layers(&mut self, buf: N::Buf, priority: u8, interface: InterfaceId) {
        let Some(way) = self.config.interfaces.way(interface).copied() else {
            return self.discard(buf, Reason::InterfaceDown);
        };
        if way.is_bridged
            && let Some(place) = self.config.interfaces.bridges().place(interface)
        {
            return self.bridge_out(buf, priority, place);
        }
        self.queue_at_layers(buf, priority, interface, way);
    }

    /// Queues a frame at a member of a bridge, which is its way out and no other.
    #[inline]
    pub(crate) fn queue_at_member(&mut self, buf: N::Buf, priority: u8, interface: InterfaceId) {
        let Some(way) = self.config.interfaces.way(interface).copied() else {
            return self.discard(buf, Reason::InterfaceDown);
        };
        match way.own_port() {
            Some(port) => self.queue(buf, priority, port),
            None => self.queue_at_layers(buf, priority, interface, way),
        }
    }

    fn queue_at_layers(&mut self, mut buf: N::Buf, priority: u8, interface: InterfaceId, way: Way) {
        if let Out::Tunnel(number) = way.out {
            return self.enter_tunnel(buf, number);
        }
        let choice = self.choose_port(&way, buf.bytes());
        if !way.tags().is_empty() {
            if buf.prepend(way.tags().len() * TAG_LEN).is_err() {
                return self.discard(buf, Reason::NoBuffer);
            }
            write_tags(buf.bytes_mut(), way.tags(), priority);
            self.counters.link(interface, Direction::Out, buf.len());
        }
        if let Out::Lagg(n) = way.out
            && let Some(lagg) = self.config.interfaces.links().lagg(n)
        {
            let id = lagg.interface;
            self.counters.link(id, Direction::Out, buf.len());
        }
        match choice {
            Choice::Nowhere => self.discard(buf, Reason::InterfaceDown),
            Choice::Port(port) => self.queue(buf, priority, port),
            Choice::All(mask) => self.queue_at_all(buf, priority, &way, mask),
        }
    }

    fn choose_port(&mut self, way: &Way, frame: &[u8]) -> Choice {
        match way.out {
            Out::Nowhere | Out::Tunnel(_) => Choice::Nowhere,
            Out::Port(port) => Choice::Port(port),
            Out::Lagg(n) => {
                self.round_robin = self.round_robin.wrapping_add(1);
                let vid = way.tags().first().map_or(0, |tag| tag.vid());
                let lagg = self.config.interfaces.links().lagg(n);
                lagg.map_or(Choice::Nowhere, |l| l.choose(frame, vid, self.round_robin))
            }
        }
    }

    /// The frame leaves by the last of these ports, copies of it by the others.
    fn queue_at_all(&mut self, buf: N::Buf, priority: u8, way: &Way, mask: u32) {
        let Out::Lagg(n) = way.out else {
            return self.discard(buf, Reason::InterfaceDown);
        };
        let port = |config: &crate::config::Config, place: u32| {
            let lagg = config.interfaces.links().lagg(n)?;
            lagg.ports.get(place as usize).copied()
        };
        let last = mask.ilog2();
        for place in (0..last).filter(|p| mask >> p & 1 == 1) {
            let Some(port) = port(&self.config, place) else {
                continue;
            };
            let bytes = buf.bytes();
            let copy = self.make(bytes.len(), |out| {
                out.copy_from_slice(bytes);
                Some(out.len())
            });
            if let Some(copy) = copy {
                self.counters.generated.add(1);
                self.queue(copy, priority, port);
            }
        }
        match port(&self.config, last) {
            Some(port) => self.queue(buf, priority, port),
            None => self.discard(buf, Reason::InterfaceDown),
        }
    }
}

/// A frame between neighbors on a link, which no bridge may forward (IEEE 802.1Q table 8-1).
fn is_reserved(frame: &[u8]) -> bool {
    matches!(frame, [0x01, 0x80, 0xc2, 0, 0, 0..=0x0f, ..])
}

/// A frame of LACP or the like: to its group, with its type (IEEE 802.3 annex 57B).
fn is_link_protocol(frame: &[u8]) -> bool {
    is_reserved(frame) && frame.get(12..14) == Some(&EtherType::SLOW.0.to_be_bytes()[..])
}
