//! Packets that the worker makes itself: ICMP errors, answers to blocked packets, fragments. They queue in a short
//! ring and go through the turn like any others.

use filter::{Answer, Reason, Response};
use net::icmp_error::{self, ERROR_LEN_MAX, ErrorKind};
use net::segment::{self, SEGMENT_LEN_MAX, Segment};
use net::{InterfaceId, reset};
use nic::{Nic, PacketBuf};
use ruleset::{Af, TagId};

use crate::batch::{Hop, Origin};
use crate::forward::addr_of;
use crate::turn::Worker;

/// Bytes of an IPv4 header without options.
const IP4_HEADER: usize = 20;

/// A packet on its way from this worker to itself.
pub(crate) struct Generated<B> {
    pub(crate) buf: B,
    pub(crate) origin: Origin,
    /// The way out, where it is given (neighbor discovery, fragments).
    pub(crate) egress: Option<Hop>,
    pub(crate) tag: TagId,
    /// How often it has gone through tunnels of this box.
    pub(crate) nesting: u8,
    /// Table in which its way is looked up.
    pub(crate) rtable: u8,
}

impl<N: Nic> Worker<N> {
    /// Queues a packet made here whose way is known; a full queue drops and counts it.
    pub(crate) fn generate(&mut self, buf: N::Buf, origin: Origin, hop: Hop) {
        let rtable = self.rdomain_of(hop.interface());
        self.queue_generated(Generated {
            nesting: self.tunnels.nesting(),
            buf,
            origin,
            egress: Some(hop),
            tag: TagId::default(),
            rtable,
        });
    }

    pub(crate) fn queue_generated(&mut self, packet: Generated<N::Buf>) {
        self.counters.generated.add(1);
        if let Err(packet) = self.generated.push_back(packet) {
            self.discard(packet.buf, Reason::Congestion);
        }
    }

    /// A fresh buffer filled by `fill`, which says how many bytes of the `len` it wrote.
    pub(crate) fn make(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<N::Buf> {
        let mut buf = self.fresh()?;
        buf.append(len).ok()?;
        let written = fill(buf.bytes_mut())?;
        buf.truncate(written);
        Some(buf)
    }

    /// Sends an ICMP error about packet `n` of the burst, which came in on `interface`. It goes out like any packet of
    /// the box: the rules are asked, and the state of the packet it quotes lets it pass.
    pub(crate) fn send_error(
        &mut self,
        n: usize,
        interface: InterfaceId,
        kind: ErrorKind,
        now_ms: u64,
    ) {
        self.send_icmp(n, interface, kind, Origin::Own, now_ms);
    }

    /// Answers a blocked packet as its rule says. The answer passes unasked.
    pub(crate) fn answer(
        &mut self,
        n: usize,
        response: Response,
        interface: InterfaceId,
        now_ms: u64,
    ) {
        match response {
            Response::None => {}
            Response::Reset { ttl } => self.send_reset(n, ttl, now_ms),
            Response::Icmp { icmp_type, code } => {
                let kind = ErrorKind::Raw {
                    kind: icmp_type,
                    code,
                };
                let interface = self.batch.items[n].received_on().unwrap_or(interface);
                self.send_icmp(n, interface, kind, Origin::Answer, now_ms);
            }
        }
    }

    fn send_icmp(
        &mut self,
        n: usize,
        interface: InterfaceId,
        kind: ErrorKind,
        origin: Origin,
        now_ms: u64,
    ) {
        let item = self.batch.items[n];
        let src = match item.bridged {
            Some(_) => self.source_on_bridge(&item),
            None => self.source_for(interface, &item.pd),
        };
        let Some(src) = src.filter(|_| !is_bridged_copy(&item)) else {
            return;
        };
        if is_group_frame(self.batch.bufs[n].bytes(), &item) || !self.error_rate.allow(now_ms) {
            return;
        }
        // The quotation must be read while the fresh buffer is written: both are on this worker's hands.
        let mut error = [0u8; ERROR_LEN_MAX];
        let frame = self.batch.bufs[n].bytes();
        let Some(offending) = frame.get(usize::from(item.pd.ip_at)..) else {
            return;
        };
        let Some(len) = icmp_error::build(&mut error, src, offending, kind) else {
            return;
        };
        // Its sender is where the packet came from, whatever rules have made of it.
        let rtable = self.rdomain_of(item.received_on().unwrap_or(interface));
        self.generate_back(&error[..len], origin, rtable, self.way_back(&item));
    }

    fn send_reset(&mut self, n: usize, ttl: u8, now_ms: u64) {
        let item = self.batch.items[n];
        if is_bridged_copy(&item) || !self.error_rate.allow(now_ms) {
            return;
        }
        let frame = self.batch.bufs[n].bytes();
        let Some(offending) = frame.get(usize::from(item.pd.ip_at)..) else {
            return;
        };
        let mut out = [0u8; reset::RESET_LEN_MAX];
        let ttl = if ttl == 0 { reset::TTL_DEFAULT } else { ttl };
        let len = match item.pd.af {
            Af::Inet => reset::build4(&mut out, offending, ttl),
            Af::Inet6 => reset::build6(&mut out, offending, ttl),
        };
        if let Some(len) = len {
            let from = item.received_on();
            let rtable = from.map_or(item.pd.rtable, |interface| self.rdomain_of(interface));
            self.generate_back(&out[..len], Origin::Answer, rtable, self.way_back(&item));
        }
    }

    /// Makes and sends what the packet at hand brought about.
    #[inline]
    pub(crate) fn send_answers(&mut self) {
        if !self.answers.is_empty() {
            for answer in core::mem::take(&mut self.answers) {
                self.send_segment(&answer);
            }
        }
    }

    pub(crate) fn send_segment(&mut self, answer: &Answer) {
        let mut segment = answer.segment;
        if segment.mss != 0 {
            segment.mss = self.mss_between(&segment, answer.rtable);
        }
        let mut out = [0u8; SEGMENT_LEN_MAX];
        let Some(len) = segment::build(&mut out, &segment) else {
            return;
        };
        let origin = if answer.is_asked {
            Origin::Proxy
        } else {
            Origin::Answer
        };
        let made = self.make(len, |buf| {
            buf.get_mut(..len)?.copy_from_slice(&out[..len]);
            Some(len)
        });
        if let Some(buf) = made {
            self.queue_generated(Generated {
                nesting: self.tunnels.nesting(),
                buf,
                origin,
                egress: None,
                tag: answer.tag,
                rtable: answer.rtable,
            });
        }
    }

    /// The segment size that fits the links towards both ends.
    fn mss_between(&self, segment: &Segment, rtable: u8) -> u16 {
        let mut mss = segment.mss;
        for (addr, _) in [segment.src, segment.dst] {
            let route = self.config.routes.lookup(rtable, addr);
            let link = route.and_then(|route| self.config.interfaces.get(route.interface));
            let mtu = link.map_or(u16::MAX, |interface| interface.mtu);
            mss = segment::mss_for(mss, mtu, addr.is_ipv6());
        }
        mss
    }

    pub(crate) fn generate_bytes(&mut self, packet: &[u8], origin: Origin, rtable: u8) {
        self.generate_back(packet, origin, rtable, None);
    }

    /// The same, by a way that may be given.
    fn generate_back(&mut self, packet: &[u8], origin: Origin, rtable: u8, egress: Option<Hop>) {
        let made = self.make(packet.len(), |out| {
            out.get_mut(..packet.len())?.copy_from_slice(packet);
            Some(packet.len())
        });
        if let Some(buf) = made {
            self.queue_generated(Generated {
                nesting: self.tunnels.nesting(),
                buf,
                origin,
                egress,
                tag: TagId::default(),
                rtable,
            });
        }
    }

    /// An address of ours to send errors from: of the interface that the packet came in on.
    fn source_for(
        &self,
        interface: InterfaceId,
        pd: &filter::PacketDesc,
    ) -> Option<core::net::IpAddr> {
        let to = addr_of(pd.af, pd.src);
        let interface = self.config.interfaces.get(interface)?;
        interface.source(to)
    }

    /// Cuts an IPv4 packet that allows it into fragments of at most `mtu` bytes, which go out in its place. False if
    /// it cannot be done; nothing was sent then. A piece for which there is no buffer is counted and missing.
    pub(crate) fn cut(&mut self, n: usize, hop: Hop, mtu: u16) -> bool {
        let item = self.batch.items[n];
        let at = usize::from(item.pd.ip_at);
        let whole = at..at + usize::from(item.pd.ip_len);
        let Some(&first) = self.batch.bufs[n].bytes().get(at) else {
            return false;
        };
        let header_len = usize::from(first & 0x0f) * 4;
        let Some(step) = usize::from(mtu)
            .checked_sub(header_len)
            .map(|room| room / 8 * 8)
        else {
            return false;
        };
        // Options that must not be copied into later fragments (RFC 791 3.1) would need a second header: refuse.
        let pieces = (usize::from(item.pd.ip_len) - header_len).div_ceil(step.max(8));
        let room = self.generated.capacity() - self.generated.len();
        if header_len != IP4_HEADER || step == 0 || pieces > room {
            return false;
        }
        for piece in 0..pieces {
            let packet = &self.batch.bufs[n].bytes()[whole.clone()];
            let mut header = [0u8; IP4_HEADER];
            header.copy_from_slice(&packet[..IP4_HEADER]);
            let from = header_len + piece * step;
            let to = (from + step).min(packet.len());
            set_fragment(&mut header, piece * step, to < packet.len(), to - from);
            let len = IP4_HEADER + to - from;
            let Some(mut buf) = self.make(len, |_| Some(len)) else {
                continue;
            };
            let packet = &self.batch.bufs[n].bytes()[whole.clone()];
            buf.bytes_mut()[..IP4_HEADER].copy_from_slice(&header);
            buf.bytes_mut()[IP4_HEADER..].copy_from_slice(&packet[from..to]);
            self.generate(buf, Origin::Answer, hop);
        }
        true
    }
}

/// Rewrites offset (bytes, a multiple of 8), "more fragments", length and checksum. Keeps an offset that the packet
/// had, being a fragment itself.
fn set_fragment(header: &mut [u8; IP4_HEADER], offset: usize, more: bool, payload: usize) {
    let mut packet = wire::ipv4::Packet::new_unchecked(&mut header[..]);
    let base = packet.fragment_offset();
    let more = more || packet.more_fragments();
    packet.set_total_len((IP4_HEADER + payload) as u16);
    packet.set_fragment(false, more, base + offset as u16);
    packet.fill_checksum();
}

/// A copy for one of several members of a bridge: each of them would say the same.
fn is_bridged_copy(item: &crate::batch::Item) -> bool {
    matches!(item.origin, Origin::Bridged(_))
}

/// The frame was addressed to many: never answered (RFC 1122 3.2.2).
fn is_group_frame(frame: &[u8], item: &crate::batch::Item) -> bool {
    item.pd.ip_at > 0 && frame.first().is_some_and(|b| b & 1 == 1)
}
