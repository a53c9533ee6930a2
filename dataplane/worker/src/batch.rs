//! The burst that moves through the stages as a whole, with what each stage has found out about each packet.

use filter::PacketDesc;
use net::InterfaceId;
use nic::{BURST_MAX, Burst};
use ruleset::TagId;
use state::StateIdx;

use crate::bridge::Bridged;
use crate::reassemble::Train;
use crate::verdict::{Egress, Verdict};

/// How a packet came into this worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// From a card, on this interface; the buffer is an Ethernet frame.
    Wire(InterfaceId),
    /// Made by the box; the buffer begins with the IP header. The rules are asked on the way out.
    Own,
    /// Made by the filter in the name of a host: goes on like `Own`, but stays on the core that made it, which owns
    /// the connection.
    Proxy,
    /// A copy of a packet that was let in by this member of a bridge, on its way out by another; the buffer begins with
    /// the IP header.
    Bridged(InterfaceId),
    /// Made by the filter in answer to a packet it blocked: the rules are not asked (pf.conf(5), "block").
    Answer,
}

/// What is known about one packet of the burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    /// Where it came from.
    pub(crate) origin: Origin,
    /// Its headers, once described.
    pub(crate) pd: PacketDesc,
    /// Hash of its key for the way in.
    pub(crate) hash: u64,
    /// That of its key for the way out, if it is known; 0 is not.
    pub(crate) hash_out: u64,
    /// A source port that it may get.
    pub(crate) drawn: Option<u16>,
    /// What hangs on it, if it is the head of a datagram that came in pieces.
    pub(crate) train: Option<Train>,
    /// The state it has on the way in: first a guess, then the truth.
    pub(crate) state: Option<StateIdx>,
    /// The way out, once chosen.
    pub(crate) egress: Option<Hop>,
    /// The end, once reached.
    pub(crate) verdict: Option<Verdict>,
    /// Its family is another one than that in which it came: it leaves unasked.
    pub(crate) changed_family: bool,
    /// Number among the watched packets; 0 is not watched.
    pub(crate) watched: u32,
    /// The port it came in by, unless it came another way.
    pub(crate) port: u16,
    /// It came in by a member of a bridge, and is not for the box.
    pub(crate) bridged: Option<Bridged>,
    /// Another worker has handed it over as a card had received it.
    pub(crate) is_handed: bool,
}

/// In place of a port's number.
pub(crate) const NO_PORT: u16 = u16::MAX;

/// A way out for which the station address may still be unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hop {
    /// Known.
    Known(Egress),
    /// The next hop must be asked for.
    Unresolved {
        /// Interface to leave by.
        interface: InterfaceId,
        /// Next hop.
        next_hop: core::net::IpAddr,
    },
}

/// What rules say of the way that a packet leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marks {
    /// Priority, 0 to 7.
    pub(crate) priority: u8,
    /// Milliseconds that it waits before it leaves.
    pub(crate) delay_ms: u16,
    /// Tag, which rules for frames may ask for.
    pub(crate) tag: TagId,
}

impl Marks {
    pub(crate) fn of(pd: &PacketDesc) -> Self {
        Marks {
            priority: pd.priority,
            delay_ms: pd.delay_ms,
            tag: pd.tag,
        }
    }
}

impl Hop {
    pub(crate) fn interface(self) -> InterfaceId {
        match self {
            Hop::Known(egress) => egress.interface,
            Hop::Unresolved { interface, .. } => interface,
        }
    }
}

impl Item {
    pub(crate) fn new(origin: Origin) -> Self {
        Item {
            origin,
            pd: PacketDesc::default(),
            hash: 0,
            hash_out: 0,
            drawn: None,
            train: None,
            state: None,
            egress: None,
            verdict: None,
            changed_family: false,
            watched: 0,
            port: NO_PORT,
            bridged: None,
            is_handed: false,
        }
    }

    /// In this routing table, of this domain.
    pub(crate) fn within(mut self, rtable: u8, rdomain: u8) -> Self {
        (self.pd.rtable, self.pd.rdomain) = (rtable, rdomain);
        self
    }

    /// Interface it came in on, if it came from a card.
    pub(crate) fn received_on(&self) -> Option<InterfaceId> {
        match self.origin {
            Origin::Wire(interface) | Origin::Bridged(interface) => Some(interface),
            Origin::Own | Origin::Proxy | Origin::Answer => None,
        }
    }

    /// Still on its way.
    pub(crate) fn is_open(&self) -> bool {
        self.verdict.is_none()
    }

    pub(crate) fn drop_for(&mut self, reason: filter::Reason) {
        self.verdict = Some(Verdict::Drop(reason));
    }
}

/// A burst and its items, side by side.
pub(crate) struct Batch<B> {
    pub(crate) bufs: Burst<B>,
    pub(crate) items: heapless::Vec<Item, BURST_MAX>,
    /// Room for what flows leave of the burst; else empty.
    pub(crate) rest: Burst<B>,
    /// Of buffers that other workers have handed over, before they become items: what came with each.
    pub(crate) letters: heapless::Vec<Letter, BURST_MAX>,
}

/// What is known of a packet that another worker has handed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter {
    pub(crate) origin: Origin,
    pub(crate) rtable: u8,
    pub(crate) tag: TagId,
    pub(crate) train: Option<Train>,
    /// It is a frame as a card has received it.
    pub(crate) is_frame: bool,
}

impl<B> Batch<B> {
    pub(crate) fn new() -> Self {
        Batch {
            bufs: Burst::new(),
            items: heapless::Vec::new(),
            rest: Burst::new(),
            letters: heapless::Vec::new(),
        }
    }

    /// Adds a packet; gives it back if the burst is full.
    pub(crate) fn push(&mut self, buf: B, item: Item) -> Result<(), B> {
        self.bufs.push(buf)?;
        // Both have the same capacity and length, so there is room.
        self.items.push(item).map_err(|_| ()).ok();
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bufs.is_full()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}
