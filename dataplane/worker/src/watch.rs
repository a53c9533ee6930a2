//! Watched packets: for those that match what somebody asked for, every step goes to the control core, where `why` and
//! `trace` put words to it. The steps are told by the code that takes them; nothing is judged a second time here.

use core::net::IpAddr;

use filter::{PacketDesc, Response, Step};
use net::InterfaceId;
use nic::Nic;
use ruleset::{Af, Direction, TagId};
use state::State;

use crate::batch::{Hop, Origin};
use crate::turn::Worker;
use crate::verdict::Verdict;

/// Which packets are watched. Fields of `None` match everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watched {
    /// So many more packets; 0 watches none.
    pub left: u32,
    /// Where they come in. Packets of the box itself come in nowhere.
    pub interface: Option<InterfaceId>,
    /// Address family.
    pub af: Option<Af>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Source: address and mask, host order, IPv4 in the low 32 bits.
    pub src: Option<(u128, u128)>,
    /// Destination likewise.
    pub dst: Option<(u128, u128)>,
    /// Source or destination likewise.
    pub host: Option<(u128, u128)>,
    /// Source port.
    pub src_port: Option<u16>,
    /// Destination port.
    pub dst_port: Option<u16>,
    /// Source or destination port.
    pub port: Option<u16>,
    /// Tag given to the packets; 0 leaves them theirs. For packets that are only tried out.
    pub tag: TagId,
}

/// A step and the packet that it is of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StepRecord {
    /// Number of the packet among those that this worker has watched; not 0.
    pub packet: u32,
    /// When, in milliseconds since start.
    pub now_ms: u64,
    /// Generation of the policy.
    pub generation: u32,
    /// What happened.
    pub what: Told,
}

/// What a worker tells of a packet.
#[allow(
    clippy::large_enum_variant,
    reason = "the first of each packet; the ring is there for it"
)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Told {
    /// It is there.
    Begins {
        /// Where it came in; none for packets of the box.
        interface: Option<InterfaceId>,
        /// Its headers.
        about: About,
    },
    /// It is screened on an interface.
    Screened(InterfaceId, Direction),
    /// The interface is not filtered (`set skip on`).
    Skipped,
    /// A step of the filter.
    Filter(Step),
    /// What its sender hears.
    Answered(Response),
    /// The way onwards.
    Way {
        /// By this interface.
        interface: InterfaceId,
        /// To this station; none if only the link-layer address is remembered.
        next_hop: Option<IpAddr>,
    },
    /// The end.
    Ends(Verdict),
}

/// What identifies a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct About {
    /// Family.
    pub af: Af,
    /// Protocol.
    pub proto: u8,
    /// Source and port.
    pub src: (u128, u16),
    /// Destination and port.
    pub dst: (u128, u16),
    /// ICMP type and code.
    pub icmp: (u8, u8),
    /// TCP flags.
    pub flags: u8,
    /// Bytes of the IP packet.
    pub len: u16,
}

impl About {
    fn of(pd: &PacketDesc) -> Self {
        About {
            af: pd.af,
            proto: pd.proto,
            src: (pd.src, pd.ports.0),
            dst: (pd.dst, pd.ports.1),
            icmp: pd.icmp,
            flags: pd.segment.flags,
            len: pd.ip_len,
        }
    }
}

impl Watched {
    fn matches(&self, interface: Option<InterfaceId>, pd: &PacketDesc) -> bool {
        fn is<T: PartialEq>(wanted: Option<T>, found: T) -> bool {
            wanted.is_none_or(|w| w == found)
        }
        let covers = |net: (u128, u128), addr: u128| addr & net.1 == net.0;
        let (from, to) = pd.ports;
        is(self.interface.map(Some), interface)
            && is(self.af, pd.af)
            && is(self.proto, pd.proto)
            && self.src.is_none_or(|net| covers(net, pd.src))
            && self.dst.is_none_or(|net| covers(net, pd.dst))
            && self
                .host
                .is_none_or(|net| covers(net, pd.src) || covers(net, pd.dst))
            && is(self.src_port, from)
            && is(self.dst_port, to)
            && self.port.is_none_or(|port| port == from || port == to)
    }
}

impl<N: Nic> Worker<N> {
    /// Chooses the packets of the burst that are watched from here on.
    #[cold]
    pub(crate) fn watch(&mut self, now_ms: u64) {
        for n in 0..self.batch.len() {
            let item = &self.batch.items[n];
            let interface = item.received_on();
            if !item.is_open()
                || item.origin == Origin::Answer
                || self.watched.left == 0
                || !self.watched.matches(interface, &item.pd)
            {
                continue;
            }
            self.watched.left -= 1;
            self.watched_so_far = self.watched_so_far.wrapping_add(1).max(1);
            self.batch.items[n].watched = self.watched_so_far;
            if self.watched.tag != TagId::default() {
                self.batch.items[n].pd.tag = self.watched.tag;
            }
            let about = About::of(&self.batch.items[n].pd);
            self.tell(n, Told::Begins { interface, about }, now_ms);
        }
    }

    /// Takes over a state of another worker, for a packet that is only tried out: what it counts on is on the shared
    /// counts already. False if there is no room for it, or one with its ends is there.
    pub fn take_over(&mut self, mut st: State) -> bool {
        st.pair = state::StateIdx::NONE;
        let ruleset = &self.config.ruleset;
        let timeout_s = filter::timeout_s(ruleset, &self.shared, &st);
        let hold = filter::limit::hold_of(&self.shared, ruleset, &st);
        let taken = self.states.insert(&st, timeout_s);
        if let Ok(idx) = taken {
            self.states.set_hold(idx, &hold);
        }
        taken.is_ok()
    }

    /// Tells a step of packet `n`, if that is watched.
    #[inline]
    pub(crate) fn tell(&mut self, n: usize, what: Told, now_ms: u64) {
        let packet = self.batch.items[n].watched;
        if packet != 0 {
            let record = StepRecord {
                packet,
                now_ms,
                generation: self.config.generation,
                what,
            };
            // Nobody listens fast enough: told in part.
            let _told = self.ends.steps.push(record);
        }
    }

    /// Tells which way packet `n` goes.
    #[cold]
    pub(crate) fn tell_way(&mut self, n: usize, now_ms: u64) {
        let Some(hop) = self.batch.items[n].egress else {
            return;
        };
        let pd = &self.batch.items[n].pd;
        let next_hop = match hop {
            Hop::Unresolved { next_hop, .. } => Some(next_hop),
            Hop::Known(_) => {
                let route = crate::forward::route(&self.config, pd.rtable, pd.af, pd.dst);
                route.and_then(|route| route.gateway)
            }
        };
        let interface = hop.interface();
        self.tell(
            n,
            Told::Way {
                interface,
                next_hop,
            },
            now_ms,
        );
    }

    /// Tells what the filter noted of packet `n`.
    #[cold]
    pub(crate) fn tell_steps(&mut self, n: usize, now_ms: u64) {
        let steps = core::mem::take(&mut self.notes.steps);
        for step in &steps {
            self.tell(n, Told::Filter(*step), now_ms);
        }
    }
}
