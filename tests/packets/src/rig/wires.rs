//! The wires of a rig: frames that arrive, frames that leave and are expected, the tags of VLANs on the way, and the
//! hosts at the other ends, which answer who asks for their addresses.

use std::collections::VecDeque;
use std::net::IpAddr;

use net::Tpid;
use wire::arp;
use wire::ether::{self, EtherType};

use super::frames::{advert, arp_reply, shown, shown_ip, solicitation};
use super::{RECORD_MAX, Rig};
use crate::packet::Packet;
use crate::topology::Host;

impl Rig {
    /// Takes what left the box; hosts answer. True if they did.
    pub(super) fn collect(&mut self) -> bool {
        let mut answered = false;
        for port in 0..self.ports.len() {
            while let Some(frame) = self.ports[port].take() {
                self.note(port, true, &frame);
                if self.wires[port].len() == RECORD_MAX {
                    self.wires[port].clear();
                }
                self.wires[port].push(frame.clone());
                let (on, frame) = self.untagged(port, frame);
                match self.host_answer(on, &frame) {
                    Some(answer) => {
                        let answer = self.tagged(on, &answer).1;
                        self.note(port, false, &answer);
                        answered |= self.ports[port].inject(&answer);
                    }
                    None => self.left[on].push_back(frame),
                }
            }
        }
        self.collect_for_host();
        answered
    }

    /// The interface that a frame belongs to which left by a card, and the frame without tags.
    fn untagged(&self, card: usize, mut frame: Vec<u8>) -> (usize, Vec<u8>) {
        let mut on = self.topology.master(card);
        while let Some([t0, t1, c0, c1]) = frame.get(12..16).and_then(<[u8]>::first_chunk).copied()
        {
            let tpid = Tpid::of(EtherType(u16::from_be_bytes([t0, t1])));
            let vid = u16::from_be_bytes([c0, c1]) & 0x0fff;
            let Some(child) = tpid.and_then(|tpid| self.topology.child(on, tpid, vid)) else {
                break;
            };
            frame.drain(12..16);
            on = child;
        }
        (on, frame)
    }

    /// The card that a frame of an interface comes in by, and the frame with tags.
    fn tagged(&self, on: usize, frame: &[u8]) -> (usize, Vec<u8>) {
        let (card, tags) = self.topology.bottom(on);
        let mut frame = frame.to_vec();
        for (tpid, vid) in tags.into_iter().rev() {
            let [t0, t1] = tpid.ethertype().0.to_be_bytes();
            let [c0, c1] = vid.to_be_bytes();
            frame.splice(12..12, [t0, t1, c0, c1]);
        }
        (card, frame)
    }

    /// The frames that left by a card since the last call, as they were on the wire.
    pub fn wire(&mut self, port: &str) -> Vec<Vec<u8>> {
        let n = self.topology.port_of(port);
        std::mem::take(&mut self.wires[n])
    }

    /// What a host on the link answers to a question for one of its addresses.
    fn host_answer(&self, port: usize, frame: &[u8]) -> Option<Vec<u8>> {
        let view = ether::Frame::new_checked(frame).ok()?;
        match view.ethertype() {
            EtherType::ARP => {
                let packet = arp::Packet::new_checked(view.payload()).ok()?;
                let question = arp::Repr::parse(&packet).ok()?;
                let asked = question.operation == arp::Operation::REQUEST;
                let host = self.host_with(port, question.target_ip.into())?;
                asked.then(|| arp_reply(host.mac, question.target_ip, &question))
            }
            EtherType::IPV6 => {
                let (src, target) = solicitation(view.payload())?;
                let host = self.host_with(port, target.into())?;
                Some(advert(host.mac, target, view.src(), src))
            }
            _ => None,
        }
    }

    fn host_with(&self, port: usize, addr: IpAddr) -> Option<&Host> {
        let on_link = |h: &&Host| h.port == port && h.addrs.contains(&addr);
        self.topology
            .hosts
            .iter()
            .find(on_link)
            .filter(|h| h.answers)
    }

    /// A frame arrives; the box runs until it has nothing more to do.
    pub fn send_frame(&mut self, port: &str, frame: &[u8]) {
        let (n, frame) = self.tagged(self.topology.port_of(port), frame);
        self.note(n, false, &frame);
        let taken = self.ports[n].inject(&frame);
        self.check(taken, || format!("{port} refused a frame"));
        self.run();
    }

    /// A frame arrives that the card may refuse, for its length; says whether it took it. The box runs.
    pub fn offer_frame(&mut self, port: &str, frame: &[u8]) -> bool {
        let n = self.topology.port_of(port);
        self.note(n, false, frame);
        let taken = self.ports[n].inject(frame);
        self.run();
        taken
    }

    /// A packet arrives, addressed to the box, from the host that has or leads to its source; if there is none, from
    /// the first host of the link.
    pub fn send(&mut self, port: &str, packet: &Packet) {
        let frame = self.framed(port, packet);
        self.send_frame(port, &frame);
    }

    /// A packet as a host on the link of `port` frames it.
    fn framed(&self, port: &str, packet: &Packet) -> Vec<u8> {
        let n = self.topology.port_of(port);
        let first = || self.topology.hosts.iter().find(|h| h.port == n);
        let host = self.topology.station(n, packet.src).or_else(first);
        packet.frame(host.expect("a host on the link").mac, self.mac(port))
    }

    /// As many packets arrive at once, in one burst.
    pub fn send_burst(&mut self, port: &str, packets: &[Packet]) {
        for packet in packets {
            self.arrive(port, packet);
        }
        self.run();
    }

    /// A packet arrives, and nobody takes a turn yet.
    pub fn arrive(&mut self, port: &str, packet: &Packet) {
        let frame = self.framed(port, packet);
        let (n, frame) = self.tagged(self.topology.port_of(port), &frame);
        self.note(n, false, &frame);
        let taken = self.ports[n].inject(&frame);
        self.check(taken, || format!("{port} refused a frame"));
    }

    /// Exactly this frame leaves next by `port`.
    pub fn expect_frame(&mut self, port: &str, frame: &[u8]) {
        let n = self.topology.port_of(port);
        let got = self.left[n].pop_front();
        self.check(got.as_deref() == Some(frame), || {
            let text = got.as_deref().map(shown).unwrap_or("nothing".into());
            format!("{port}: expected\n  {}\ngot\n  {text}", shown(frame))
        });
    }

    /// Exactly this packet leaves next by `port`, to the host that has or leads to its destination.
    pub fn expect(&mut self, port: &str, packet: &Packet) {
        self.expect_via(port, packet.dst, packet);
    }

    /// Exactly this packet leaves next by `port`, to the station of `next_hop`.
    pub fn expect_via(&mut self, port: &str, next_hop: IpAddr, packet: &Packet) {
        let frame = packet.frame(self.mac(port), self.station(port, next_hop));
        self.expect_frame(port, &frame);
    }

    /// The next frame that left by `port`, whatever it is.
    pub fn take(&mut self, port: &str) -> Option<Vec<u8>> {
        let n = self.topology.port_of(port);
        self.left[n].pop_front()
    }

    /// Forgets what left and was not expected.
    pub fn ignore_rest(&mut self) {
        self.left.iter_mut().for_each(VecDeque::clear);
        self.wires.iter_mut().for_each(Vec::clear);
        self.to_host.clear();
    }

    /// Nothing left the box beyond what was expected.
    pub fn expect_nothing_more(&mut self) {
        let rest = self.left.iter().enumerate().find(|(_, q)| !q.is_empty());
        if let Some((port, frames)) = rest {
            let name = &self.topology.ports[port].name;
            self.fail(&format!("{name} also sent\n  {}", shown(&frames[0])));
        }
        if let Some(packet) = self.to_host.front() {
            self.fail(&format!("the local host also got\n  {}", shown_ip(packet)));
        }
    }

    /// One exchange: a packet arrives at `from`, `out` leaves and nothing else, and `counted` is what changes.
    pub fn exchange(&mut self, from: &str, packet: &Packet, out: &[(&str, Packet)], counted: &str) {
        self.send(from, packet);
        for (port, packet) in out {
            self.expect(port, packet);
        }
        self.counted(counted);
    }
}
