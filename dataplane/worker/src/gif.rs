//! Tunnels in the turn: a packet that leaves by one gets its outer header and goes round again as a packet of the box, and
//! one that comes out of one goes round again as if it had come in by the tunnel's interface. So the rules are asked on
//! both interfaces, the tunnel's for what is inside and the other for what is around it.
//!
//! In the books the packet that goes in, or comes out, is used up, and the one that goes round is made here. Read first: gif(4), RFC 2003, RFC 4213, RFC 2473; `net::gif` for the headers.

use filter::Reason;
use filter::reassemble::TrainId;
use net::{InterfaceId, gif};
use nic::{BURST_MAX, Nic, PacketBuf};
use ruleset::Direction;
use wire::ether::{self, EtherType};
use wire::proto;

use crate::batch::Origin;
use crate::reassemble::Train;
use crate::turn::Worker;

/// Bursts of packets of tunnels in one turn.
pub(crate) const TUNNEL_ROUNDS: usize = 8;
/// Most packets that wait to go round.
const TUNNELED_MAX: usize = TUNNEL_ROUNDS * BURST_MAX;
/// How often one packet may go round: tunnels within tunnels, and tunnels that lead into each other.
const NESTING_MAX: u8 = 4;
/// Bytes of an Ethernet header.
const ETHERNET: usize = wire::ether::HEADER_LEN;

/// A packet between two rounds.
struct Tunneled<B> {
    buf: B,
    origin: Origin,
    rtable: u8,
    /// How often it has gone round.
    nesting: u8,
}

/// Packets between two rounds.
pub(crate) struct Tunnels<B> {
    waiting: heapless::Deque<Tunneled<B>, TUNNELED_MAX>,
    /// How often the packets of this burst have gone round.
    nesting: u8,
    /// Identification of the last outer IPv4 header.
    ident: u16,
}

impl<B> Tunnels<B> {
    /// None wait. The first identification is for the caller to choose.
    pub(crate) fn new(ident: u16) -> Self {
        Tunnels {
            waiting: heapless::Deque::new(),
            nesting: 0,
            ident,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A burst begins of packets that have gone round so often.
    #[inline]
    pub(crate) fn begin_burst(&mut self, nesting: u8) {
        self.nesting = nesting;
    }

    /// How often the packets of this burst have gone round; what is made of them inherits it.
    #[inline]
    pub(crate) fn nesting(&self) -> u8 {
        self.nesting
    }
}

impl<N: Nic> Worker<N> {
    /// Packets that go round, all of them for the same time.
    pub(crate) fn receive_tunneled(&mut self) -> usize {
        let Some(first) = self.tunnels.waiting.front() else {
            return 0;
        };
        let nesting = first.nesting;
        self.tunnels.begin_burst(nesting);
        while !self.batch.is_full() {
            let next = self.tunnels.waiting.front();
            if next.is_none_or(|packet| packet.nesting != nesting) {
                break;
            }
            let Some(packet) = self.tunnels.waiting.pop_front() else {
                break;
            };
            let item = self.item_in(packet.origin, packet.rtable);
            // There is room: the batch is not full.
            self.batch.push(packet.buf, item).ok();
        }
        self.batch.len()
    }

    /// A frame leaves by a tunnel: its Ethernet header goes, the outer header comes.
    #[cold]
    pub(crate) fn enter_tunnel(&mut self, mut buf: N::Buf, number: u16) {
        let Some(way) = self.config.interfaces.links().tunnel(number).copied() else {
            return self.discard(buf, Reason::InterfaceDown);
        };
        buf.advance(ETHERNET);
        self.tunnels.ident = self.tunnels.ident.wrapping_add(1);
        let mut tunnel = way.tunnel;
        // What is too large for the path and comes nevertheless is small enough for its sender: it may be cut.
        let fits = |path: u16| buf.len() + tunnel.overhead() <= usize::from(path);
        tunnel.dont_fragment &= self.path_of(number).is_none_or(fits);
        let Some(outer) = tunnel.outer(buf.bytes(), self.tunnels.ident) else {
            return self.discard(buf, Reason::Mtu);
        };
        if buf.prepend(outer.len()).is_err() {
            return self.discard(buf, Reason::NoBuffer);
        }
        buf.bytes_mut()[..outer.len()].copy_from_slice(&outer);
        self.counters.link(way.interface, Direction::Out, buf.len());
        self.counters.consumed.add(1);
        self.go_round(buf, Origin::Own, way.rtable);
    }

    /// The tunnel that a packet for the box has come through, if it is one's outer packet.
    pub(crate) fn tunnel_of(&self, n: usize) -> Option<InterfaceId> {
        let pd = &self.batch.items[n].pd;
        if !matches!(pd.proto, proto::IPIP | proto::IPV6) {
            return None;
        }
        let (src, dst) = (
            crate::forward::addr_of(pd.af, pd.src),
            crate::forward::addr_of(pd.af, pd.dst),
        );
        let links = self.config.interfaces.links();
        let way = links.tunnel_between(dst, src)?;
        (self.config.routes.rdomain_of(way.rtable) == pd.rdomain).then_some(way.interface)
    }

    /// An outer packet has come in and was let in: what is inside goes on as if it had come in by the tunnel.
    #[cold]
    pub(crate) fn leave_tunnel(&mut self, mut buf: N::Buf, n: usize, interface: InterfaceId) {
        let pd = &self.batch.items[n].pd;
        let (protocol, class) = (pd.proto, pd.tos);
        buf.truncate(usize::from(pd.ip_at) + usize::from(pd.ip_len));
        buf.advance(usize::from(pd.l4_at));
        if !gif::is_inner(protocol, buf.bytes()) {
            return self.discard(buf, Reason::Short);
        }
        if gif::carry_mark(class, buf.bytes_mut()).is_err() {
            return self.discard(buf, Reason::Congestion);
        }
        let mac = self.config.interfaces.way(interface).map(|way| way.mac);
        if buf.prepend(ETHERNET).is_err() {
            return self.discard(buf, Reason::NoBuffer);
        }
        // The layers above read frames.
        let header = ether::Repr {
            dst: mac.unwrap_or_default(),
            src: ether::Addr::ZERO,
            ethertype: match protocol {
                proto::IPIP => EtherType::IPV4,
                _ => EtherType::IPV6,
            },
        };
        header.emit(&mut ether::Frame::new_unchecked(buf.bytes_mut()));
        self.counters.link(interface, Direction::In, buf.len());
        self.counters.consumed.add(1);
        let rdomain = self.rdomain_of(interface);
        self.go_round(buf, Origin::Wire(interface), rdomain);
    }

    /// The same of an outer packet that came in pieces, if one buffer holds all of it.
    #[cold]
    pub(crate) fn train_leaves_tunnel(
        &mut self,
        mut head: N::Buf,
        n: usize,
        train: Train,
        interface: InterfaceId,
    ) {
        match self.pull_whole(&mut head, n, train.id) {
            true => self.leave_tunnel(head, n, interface),
            false => self.discard(head, Reason::Oversize),
        }
    }

    /// Brings all bytes of a datagram into its head; false if they have no room there. The pieces are gone then.
    fn pull_whole(&mut self, head: &mut N::Buf, n: usize, train: TrainId) -> bool {
        let pd = &self.batch.items[n].pd;
        let whole = usize::from(pd.ip_at) + usize::from(pd.ip_len);
        while head.len() < whole && self.pull_up(head, whole - head.len(), train) > 0 {}
        self.fragments.release(train);
        head.len() >= whole
    }

    fn go_round(&mut self, buf: N::Buf, origin: Origin, rtable: u8) {
        self.counters.generated.add(1);
        let nesting = self.tunnels.nesting + 1;
        if nesting > NESTING_MAX {
            return self.discard(buf, Reason::Loop);
        }
        let packet = Tunneled {
            buf,
            origin,
            rtable,
            nesting,
        };
        if let Err(packet) = self.tunnels.waiting.push_back(packet) {
            self.discard(packet.buf, Reason::Congestion);
        }
    }
}
