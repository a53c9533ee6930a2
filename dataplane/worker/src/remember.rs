//! What the express learns from packets that have gone the long way: the next ones of their connections may be served by
//! flows, in which it writes down what has become of these.
//!
//! Read first: ARCHITECTURE.md, "Flow 1".

use filter::Kind;
use net::link::{Out, Way};
use net::{InterfaceId, LaggProtocol, lagg};
use nic::{Nic, PacketBuf};
use ruleset::{Af, Direction, RuleSlot, Timeout};
use state::flow::BESIDE_MAX;
use state::{Onwards, State, StateFlags, StateIdx};
use wire::ether::HEADER_LEN as ETHERNET;

use crate::batch::{Hop, Item, NO_PORT, Origin};
use crate::bridge::Bridged;
use crate::exit::{Exit, header_of};
use crate::forward::{addr_of, hop_to};
use crate::lane::Lane;
use crate::receive::DHCP_PORTS;
use crate::turn::Worker;
use crate::verdict::Egress;

/// Bytes of an IP packet that a lagg may look at: options and ports included.
const LOT_BYTES: usize = 64;

impl<N: Nic> Worker<N> {
    /// Connections of whose packets nothing was out of the ordinary are served by flows from now on.
    #[inline]
    pub(crate) fn remember(&mut self) {
        if !self.express.is_on {
            return;
        }
        for n in 0..self.batch.len() {
            let item = &self.batch.items[n];
            if let (Some(idx), Some(Hop::Known(egress))) = (item.state, item.egress)
                && (item.port != NO_PORT || item.is_handed)
                && is_ordinary(item)
            {
                self.remember_one(n, idx, &egress);
            }
        }
    }

    /// The way that packet `n` has taken, if all packets of its connection may take it unasked.
    fn remember_one(&mut self, n: usize, idx: StateIdx, egress: &Egress) -> Option<()> {
        let st = self.states.peek(idx).filter(|st| has_settled_down(st))?;
        let item = &self.batch.items[n];
        let lane = match item.is_handed {
            true => self.lane_of_handed(item)?,
            false => self.express.lane?,
        };
        let Origin::Wire(on) = item.origin else {
            return None;
        };
        let out = self.states.peek(st.pair)?;
        let may_pass = out.wire.mirrored() == item.pd.key_in
            && self.is_bound_to(st, on)
            && self.is_bound_to(out, egress.interface);
        if !may_pass {
            return None;
        }
        let exit = match item.bridged {
            Some(through) => self.exit_across(item, &lane, &through, egress)?,
            None => self.exit_to(item, &lane, st, egress)?,
        };
        let lot = self.lot(n, egress);
        let beside = self.beside(idx, st.pair)?;
        let Some(number) = self.express.exits.number(&exit) else {
            // Too many are in use: all that is known of them is forgotten, now and then.
            if self.express.forgotten_s != self.now_ms / 1000 {
                self.express.forgotten_s = self.now_ms / 1000;
                self.forget_flows();
            }
            return None;
        };
        let onwards = Onwards {
            interface: on.0,
            beside,
            exit: number,
            lot,
            is_bridged: exit.is_bridged,
            stamp: self.flow_stamp,
        };
        self.states.remember(idx, &onwards);
        Some(())
    }

    /// How a routed packet leaves.
    fn exit_to(&self, item: &Item, lane: &Lane, st: &State, egress: &Egress) -> Option<Exit> {
        let on = item.received_on()?;
        let is_cached = (st.egress.stamp, st.egress.interface, st.egress.lladdr)
            == (self.egress_stamp, egress.interface.0, egress.lladdr.0);
        let way = self.config.interfaces.way(egress.interface)?;
        if !is_cached || !self.is_behind(lane, on) || way.is_bridged || egress.src.is_some() {
            return None;
        }
        // Where it was bound for before it was translated on its way out.
        let (src, dst) = (st.stack.end(0).0, st.stack.end(1).0);
        let dst = addr_of(st.stack.af(), dst);
        let (_, next_hop) = hop_to(&self.config, item.pd.rtable, src, dst).ok()?;
        let exit = self.exit(egress, item.pd.af)?;
        Some(exit.to(next_hop, self.flow_stamp, self.egress_stamp))
    }

    /// How a bridged one does: its station is behind one member, and it came in by another, without tags.
    fn exit_across(
        &self,
        item: &Item,
        lane: &Lane,
        through: &Bridged,
        egress: &Egress,
    ) -> Option<Exit> {
        let is_through = through.to == Some(egress.interface)
            && (egress.src, egress.lladdr) == (Some(through.src), through.dst);
        let is_plain = item.received_on() == Some(lane.base)
            && lane.plain.is_open
            && lane.plain.is_bridged
            && self
                .config
                .interfaces
                .way(egress.interface)?
                .tags()
                .is_empty();
        let exit = self.exit(egress, item.pd.af)?;
        (is_through && is_plain).then(|| exit.across(lane.base, self.flow_stamp, lane.bridge_asked))
    }

    /// Rules beside those of the states that packets count on; none if there are more than a flow can keep.
    fn beside(
        &self,
        idx: StateIdx,
        out: StateIdx,
    ) -> Option<heapless::Vec<(Direction, RuleSlot), BESIDE_MAX>> {
        let mut beside = heapless::Vec::new();
        for (direction, idx) in [(Direction::In, idx), (Direction::Out, out)] {
            let flags = self.states.peek(idx)?.flags;
            let slots = self.beside.of(idx);
            for slot in slots.filter(|_| flags.contains(StateFlags::BESIDE)) {
                beside.push((direction, slot)).ok()?;
            }
        }
        Some(beside)
    }

    /// Whether packets on an interface may belong to a state.
    fn is_bound_to(&self, st: &State, on: InterfaceId) -> bool {
        let is_there = |on: &net::Interface| on.kifs.contains(st.kif);
        !st.flags.contains(StateFlags::IF_BOUND)
            || self.config.interfaces.get(on).is_some_and(is_there)
    }

    /// How packets leave that go this way, if no more is to be done than to write a header.
    fn exit(&self, egress: &Egress, af: Af) -> Option<Exit> {
        let (config, id) = (&*self.config, egress.interface);
        let out = config.interfaces.get(id).filter(|i| i.up)?;
        let way = config.interfaces.way(id)?;
        let is_one = match way.out {
            Out::Port(port) => self.ports.get(usize::from(port))?.tx.is_some(),
            Out::Lagg(n) => {
                let protocol = config.interfaces.links().lagg(n)?.protocol;
                !matches!(protocol, LaggProtocol::Broadcast | LaggProtocol::None)
            }
            Out::Nowhere | Out::Tunnel(_) => false,
        };
        (is_one && !config.skips(id)).then(|| Exit::by(id, way, out.mtu, egress, af))
    }

    /// The lot by which a lagg chooses the port for packet `n` and all of its connection.
    fn lot(&self, n: usize, egress: &Egress) -> u8 {
        let interfaces = &self.config.interfaces;
        let lagg_of = |way: &Way| match way.out {
            Out::Lagg(n) => interfaces.links().lagg(n),
            _ => None,
        };
        let way = interfaces.way(egress.interface);
        let Some((way, lagg)) = way.and_then(|way| Some((way, lagg_of(way)?))) else {
            return 0;
        };
        let item = &self.batch.items[n];
        // As the frame will begin.
        let mut frame = [0; ETHERNET + LOT_BYTES];
        let (header, packet) = frame.split_at_mut(ETHERNET);
        header.copy_from_slice(&header_of(way, egress, item.pd.af));
        let ip = self.batch.bufs[n].bytes().get(usize::from(item.pd.ip_at)..);
        let ip = ip.unwrap_or_default();
        let len = packet.len().min(ip.len());
        packet[..len].copy_from_slice(&ip[..len]);
        let vid = way.tags().first().map_or(0, |tag| tag.vid());
        lagg::lot(&frame[..ETHERNET + len], vid, lagg.hash)
    }
}

/// A connection of which more packets are to be expected than those that begin it.
fn has_settled_down(st: &State) -> bool {
    matches!(
        st.timeout,
        Timeout::TcpEstablished | Timeout::UdpSingle | Timeout::UdpMultiple
    )
}

/// A whole packet of a connection, on its way from one interface to another.
fn is_ordinary(item: &Item) -> bool {
    item.is_open()
        && matches!(item.pd.kind, Kind::Tcp | Kind::Udp)
        && item.train.is_none()
        && !item.changed_family
        && item.watched == 0
        // What the box may want to hear itself.
        && item.pd.ports != DHCP_PORTS
}
