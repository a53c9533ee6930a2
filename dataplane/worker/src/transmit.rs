//! The end of a packet's way: gives it an Ethernet header and a place in the queue of a port, or to whom its verdict
//! says.

use filter::{PacketDesc, Reason};
use net::InterfaceId;
use net::icmp_error::ErrorKind;
use net::link::Way;
use nic::{Nic, PacketBuf};
use ruleset::Af;
use wire::ether::{self, EtherType};

use crate::batch::{Hop, Item, Marks};
use crate::mail::{Carried, Handoff, Lane};
use crate::path;
use crate::turn::Worker;
use crate::verdict::{Egress, Verdict};
use crate::watch::Told;

/// Bytes of an Ethernet header.
const ETHERNET: usize = wire::ether::HEADER_LEN;

impl<N: Nic> Worker<N> {
    /// Carries out the verdict of every packet of the burst. Afterwards the batch is empty.
    pub(crate) fn dispatch(&mut self, now_ms: u64) {
        for n in 0..self.batch.len() {
            self.check_size(n, now_ms);
        }
        // Handles are moved out (8 to 16 bytes each); what is known of the packets stays where it is.
        let bufs = core::mem::take(&mut self.batch.bufs);
        for (n, buf) in bufs.into_iter().enumerate() {
            let item = &self.batch.items[n];
            let verdict = item.verdict.unwrap_or_else(|| verdict_of(item));
            let train = item.train;
            self.tell(n, Told::Ends(verdict), now_ms);
            match train {
                None => self.carry_out(buf, n, verdict, now_ms),
                Some(train) => self.carry_out_train(buf, n, train, verdict),
            }
        }
        self.batch.items.clear();
    }

    /// Too large for the way out: say so, or cut it to pieces if its sender allows (RFC 1812 4.2.2.7, RFC 8201).
    fn check_size(&mut self, n: usize, now_ms: u64) {
        let item = &self.batch.items[n];
        let Some(hop) = item.egress.filter(|_| item.is_open()) else {
            return;
        };
        if let Some(train) = item.train {
            return self.check_train_size(n, train, hop, now_ms);
        }
        let (dont_fragment, received_on) = (item.pd.dont_fragment, item.received_on());
        let Some(out) = self.config.interfaces.get(hop.interface()) else {
            return;
        };
        let mtu = self.room_on(out, item.pd.af);
        if path::may_be_outer(item) {
            return self.check_outer_size(n, hop, mtu);
        }
        if item.pd.ip_len <= mtu {
            return;
        }
        if dont_fragment {
            if let Some(interface) = received_on {
                let longer = self.show_original(n);
                let mtu = (i32::from(mtu) - longer) as u16;
                self.send_error(n, interface, ErrorKind::FragmentationNeeded { mtu }, now_ms);
            }
        } else if self.cut_any(n, hop, mtu) {
            return self.is_cut(n);
        }
        self.batch.items[n].drop_for(Reason::Mtu);
    }

    /// The same of what may be a packet around one in a tunnel.
    fn check_outer_size(&mut self, n: usize, hop: Hop, mtu: u16) {
        let Some(mtu) = self.outer_too_large(n, mtu) else {
            return;
        };
        match self.cut_outer(n, hop, mtu) {
            true => self.is_cut(n),
            false => self.batch.items[n].drop_for(Reason::Mtu),
        }
    }

    fn is_cut(&mut self, n: usize) {
        let consumer = crate::verdict::Consumer::Fragments;
        self.batch.items[n].verdict = Some(Verdict::Consumed(consumer));
    }

    pub(crate) fn cut_any(&mut self, n: usize, hop: Hop, mtu: u16) -> bool {
        match self.batch.items[n].pd.af {
            Af::Inet => self.cut(n, hop, mtu),
            Af::Inet6 => self.cut6(n, hop, mtu),
        }
    }

    #[inline]
    fn carry_out(&mut self, buf: N::Buf, n: usize, verdict: Verdict, now_ms: u64) {
        match verdict {
            Verdict::Pass(egress) => self.send_ip(buf, n, egress),
            Verdict::Wait {
                interface,
                next_hop,
            } => self.park(buf, n, interface, next_hop),
            Verdict::Host => self.give_to_host(buf, n),
            Verdict::Tunnel(interface) => self.leave_tunnel(buf, n, interface),
            Verdict::Control => self.give_to_control(buf, n),
            Verdict::Bridge => self.carry_out_frame(buf, n),
            Verdict::Handoff { worker } => self.hand_off(buf, n, worker),
            Verdict::Gather => self.gather_piece(buf, n, now_ms),
            Verdict::Consumed(_) => {
                drop(buf);
                self.counters.consumed.add(1);
            }
            Verdict::Drop(reason) => self.discard(buf, reason),
        }
    }

    /// Frames an IP packet and queues it.
    #[inline]
    fn send_ip(&mut self, mut buf: N::Buf, n: usize, egress: Egress) {
        let pd = &self.batch.items[n].pd;
        let (af, marks) = (pd.af, Marks::of(pd));
        match frame_ip(&mut buf, pd) {
            Ok(()) => self.send_framed(buf, af, marks, egress),
            Err(reason) => self.discard(buf, reason),
        }
    }

    /// Queues an IP packet that has room for its Ethernet header in front.
    pub(crate) fn send_framed(&mut self, mut buf: N::Buf, af: Af, marks: Marks, egress: Egress) {
        let Some(way) = self.config.interfaces.way(egress.interface) else {
            return self.discard(buf, Reason::InterfaceDown);
        };
        let ethertype = match af {
            Af::Inet => EtherType::IPV4,
            Af::Inet6 => EtherType::IPV6,
        };
        let header = ether::Repr {
            dst: egress.lladdr,
            src: egress.src.unwrap_or(way.mac),
            ethertype,
        };
        let plain = way.plain_port();
        header.emit(&mut ether::Frame::new_unchecked(buf.bytes_mut()));
        let bridged = egress.src.is_some();
        if !bridged && !self.ether_lets_out(buf.bytes(), egress.interface, marks.tag) {
            return self.discard(buf, Reason::Match);
        }
        if marks.delay_ms != 0 {
            return self.delay(buf, marks, egress);
        }
        match plain {
            Some(port) => self.queue(buf, marks.priority, port),
            None => self.queue_by_egress(buf, marks.priority, egress),
        }
    }

    /// Queues a whole frame, still without tags, at an interface; a bridged one at this very member.
    #[inline]
    pub(crate) fn queue_by_egress(&mut self, buf: N::Buf, priority: u8, egress: Egress) {
        match egress.src {
            None => self.queue_on(buf, priority, egress.interface),
            Some(_) => self.queue_at_member(buf, priority, egress.interface),
        }
    }

    /// Queues a whole frame, still without tags, at an interface: the one place that frames leave by.
    #[inline]
    pub(crate) fn queue_on(&mut self, buf: N::Buf, priority: u8, interface: InterfaceId) {
        let way = self.config.interfaces.way(interface);
        self.queue_by(way.and_then(Way::plain_port), buf, priority, interface);
    }

    #[inline]
    fn queue_by(&mut self, plain: Option<u16>, buf: N::Buf, priority: u8, interface: InterfaceId) {
        match plain {
            Some(port) => self.queue(buf, priority, port),
            None => self.queue_in_layers(buf, priority, interface),
        }
    }

    /// Queues a whole frame at a port.
    pub(crate) fn queue(&mut self, buf: N::Buf, priority: u8, port: u16) {
        let Some(port) = self.ports.get_mut(usize::from(port)) else {
            return self.discard(buf, Reason::InterfaceDown);
        };
        let Some(tx) = port.tx.as_mut() else {
            return self.discard(buf, Reason::InterfaceDown);
        };
        let (sent, refused) = port.queue.enqueue(buf, priority, tx);
        self.counters.transmitted.add(sent as u64);
        match refused {
            None => self.counters.passed.add(1),
            // This one, or one that was counted as passed before and in whose place this one is now.
            Some(refused) => self.discard(refused, Reason::TxFull),
        }
    }

    /// The IP packet alone goes to the local host.
    fn give_to_host(&mut self, mut buf: N::Buf, n: usize) {
        let item = &self.batch.items[n];
        buf.advance(usize::from(item.pd.ip_at));
        buf.truncate(usize::from(item.pd.ip_len));
        let carried = Carried {
            buf,
            received_on: item.received_on(),
            rtable: item.pd.rtable,
            more: false,
            frame: None,
            lane: Lane::Routed,
        };
        match self.ends.to_host.push(carried) {
            Ok(()) => self.counters.to_host.add(1),
            Err(carried) => self.discard(carried.buf, Reason::HostFull),
        }
    }

    fn hand_off(&mut self, buf: N::Buf, n: usize, worker: u16) {
        let carried = Carried {
            buf,
            received_on: self.batch.items[n].received_on(),
            rtable: self.batch.items[n].pd.rtable,
            more: false,
            frame: None,
            lane: Lane::Routed,
        };
        let packet = Handoff::Packet(carried, self.batch.items[n].pd.tag);
        let ring = self
            .ends
            .to_workers
            .get_mut(usize::from(worker))
            .and_then(Option::as_mut);
        let refused = match ring {
            Some(ring) => ring.push(packet).err(),
            None => Some(packet),
        };
        match refused {
            None => self.counters.handed_out.add(1),
            Some(Handoff::Packet(carried, _)) => self.discard(carried.buf, Reason::HandoffFull),
            // Only packets are pushed here.
            Some(_) => {}
        }
    }

    /// Gives the cards what is queued. True if they took anything.
    pub(crate) fn transmit(&mut self) -> bool {
        let mut sent = 0;
        for port in &mut self.ports {
            if let Some(tx) = port.tx.as_mut() {
                sent += port.queue.dequeue(tx);
            }
        }
        self.counters.transmitted.add(sent as u64);
        sent > 0
    }
}

/// A packet that no stage stopped goes out the way that was chosen.
fn verdict_of(item: &Item) -> Verdict {
    match item.egress {
        Some(Hop::Known(egress)) => Verdict::Pass(egress),
        Some(Hop::Unresolved {
            interface,
            next_hop,
        }) => Verdict::Wait {
            interface,
            next_hop,
        },
        None => Verdict::Drop(Reason::Loop),
    }
}

/// Makes the buffer begin with room for an Ethernet header and end with the IP packet.
#[inline]
pub(crate) fn frame_ip<B: PacketBuf>(buf: &mut B, pd: &PacketDesc) -> Result<(), Reason> {
    let ip_at = usize::from(pd.ip_at);
    buf.truncate(ip_at + usize::from(pd.ip_len));
    match ip_at.checked_sub(ETHERNET) {
        Some(extra) => buf.advance(extra),
        None => buf
            .prepend(ETHERNET - ip_at)
            .map_err(|_| Reason::NoBuffer)?,
    }
    Ok(())
}
