//! One state, laid out in cache lines: what every packet touches comes first.

use bitflags::bitflags;
use ruleset::{Actions, Af, Direction, KifId, RouteKind, RuleSlot, TagId, Timeout};

use crate::flow::InFlow;
use crate::key::Key;

/// Place of a state in its table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StateIdx(pub u32);

impl StateIdx {
    /// No state.
    pub const NONE: StateIdx = StateIdx(u32::MAX);

    /// `None` for [`StateIdx::NONE`].
    pub fn some(self) -> Option<StateIdx> {
        (self != StateIdx::NONE).then_some(self)
    }
}

/// What is known of one side of a connection. 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Peer {
    /// Highest sequence number sent, plus one.
    pub seq_lo: u32,
    /// Highest sequence number the other side allows.
    pub seq_hi: u32,
    /// Largest window seen, unscaled.
    pub win_max: u16,
    /// Window scale shift in the low four bits; [`Peer::WSCALE_KNOWN`] if the side offered one, unless the other did not.
    pub wscale: u8,
    /// State of this side in its protocol: a `TcpState`, or `track::TRAFFIC_*`.
    pub state: u8,
    /// Reserved for sequence modulation.
    pub seq_diff: u32,
}

impl Peer {
    /// The side sent a window scale option.
    pub const WSCALE_KNOWN: u8 = 0x80;
    /// It did, and the other side did not: windows are plain.
    pub const WSCALE_WAIVED: u8 = 0x40;
    /// Bits of `wscale` that are the shift.
    pub const WSCALE_MASK: u8 = 0x0f;
}

bitflags! {
    /// What else a state is.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct StateFlags: u32 {
        /// Matches only on the interface that made it (`if-bound`).
        const IF_BOUND = 1;
        /// TCP windows are not checked.
        const SLOPPY = 2;
        /// Every packet is logged (`log (all)`).
        const LOG_ALL = 4;
        /// Packets with IP options pass (`allow-opts`).
        const ALLOW_OPTS = 8;
        /// The rule has timeouts of its own.
        const OWN_TIMEOUTS = 16;
        /// Not sent to the peer (`no-sync`).
        const NO_SYNC = 32;
        /// Its end is told to collectors (`pflow`).
        const PFLOW = 1 << 19;
        /// Its packets count on more rules than its own (`match` rules, an anchor).
        const BESIDE = 1 << 15;
        /// Its rule, or one beside it, names a table, which counts its packets.
        const ON_TABLES = 1 << 13;
        /// `wire` and `stack` differ: packets are rewritten.
        const TRANSLATED = 64;
        /// Other cores know of it, by a claim or an alias, and must hear of its end ([`StateTable::departed`]).
        ///
        /// [`StateTable::departed`]: crate::StateTable::departed
        const KNOWN_ELSEWHERE = 128;
        /// Counts for its address in a `least-states` pool.
        const LOADS_SOURCE = 256;
        /// The same of the destination.
        const LOADS_DESTINATION = 512;
        /// A rule chose the next hop of its packets: [`State::next_hop`].
        const ROUTED = 4096;
        /// Another worker has an alias for the key on the wire.
        const ALIASED_WIRE = 1024;
        /// The same of the key on the box's side.
        const ALIASED_STACK = 2048;
        /// It counts on something that cores share: see [`Hold`].
        const HOLDS = 1 << 16;
        /// Its rule counts packets (`max-pkt-rate`).
        const PKT_RATE = 1 << 17;
        /// Its actions concern packets; without this they need not be looked at.
        const SCRUBBED = 0x4000;
        /// A rule has chosen the routing table of its packets ([`Actions::table`]).
        const RTABLE = 1 << 20;
        /// `wire` and `stack` are of different families: packets of both come in, each with one of the keys (`af-to`).
        const CHANGES_FAMILY = 1 << 18;
        /// No other core may have a state with its key on the wire, and none has: the key is claimed.
        const CLAIMS_WIRE = 1 << 21;
        /// The same of the key on the box's side.
        const CLAIMS_STACK = 1 << 22;
    }
}

/// A tracked connection as one interface sees it. 256 bytes, four cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct State {
    // Line 0: what a look-up compares and every packet needs.
    /// Ends as seen on the wire.
    pub wire: Key,
    /// The state of the same connection on the other interface.
    pub pair: StateIdx,
    /// When the last packet was seen, in 10 ms ticks, wrapping.
    pub last_seen: u32,
    /// Counters of the rule that made it.
    pub rule: RuleSlot,
    /// Options.
    pub flags: StateFlags,
    /// Direction of the packet that made it.
    pub direction: Direction,
    /// Which timeout applies now.
    pub timeout: Timeout,
    /// Interface it is bound to, if bound; where it was made otherwise.
    pub kif: KifId,
    /// Tag that its packets carry.
    pub tag: TagId,
    /// In use. Every access asks, so it must lie in the first line.
    pub used: bool,
    /// Whether a flow knows better what line 1 says, and `last_seen`.
    pub flow: InFlow,
    // Line 1: what tracking and counting write.
    /// The side that began, then the other.
    pub peer: [Peer; 2],
    /// Packets in the state's own direction, and back.
    pub packets: [u64; 2],
    /// Bytes of IP packets likewise.
    pub bytes: [u64; 2],
    // Line 2: where packets go, valid while the stamp is that of the running configuration.
    /// Ends as the box's own side sees them; equal to `wire` unless translated.
    pub stack: Key,
    /// Cached egress of packets in the state's own direction.
    pub egress: EgressCache,
    /// What the change from `wire` to `stack` does to a sum over the addresses (RFC 1624); see [`State::set_deltas`].
    pub delta_addrs: u16,
    /// The same of the ports.
    pub delta_ports: u16,
    // Line 3: cold.
    /// Unique number.
    pub id: u64,
    /// Creation, 10 ms ticks.
    pub created: u32,
    /// Timer list.
    pub timer_next: StateIdx,
    /// Timer list.
    pub timer_prev: StateIdx,
    /// Generation of the policy that made it.
    pub generation: u32,
    /// List it hangs in; `wheel::NOWHERE` if in none.
    pub timer_slot: u16,
    /// What rules said is to be done to its packets.
    pub actions: Actions,
    /// Segment size that the side which began has offered, while its handshake is proxied.
    pub mss: u16,
    /// Place of its timestamps beside the table; [`State::NO_STAMPS`] if none are followed.
    pub stamps: u32,
    /// Where a rule sends its packets, if it is [`StateFlags::ROUTED`].
    pub next_hop: NextHop,
}

bitflags! {
    /// What else a state counts on.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct HoldFlags: u8 {
        /// The states of its rule (`max`, or adaptive timeouts of the rule's own).
        const MAX = 1;
        /// The connections of its source: its handshake is complete.
        const CONNECTED = 2;
    }
}

/// What a state counts on beyond its own core, to be given back when it goes. Few states have any, so it lies beside
/// them. 28 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Hold {
    /// Source nodes by kind, as words; 0 is none.
    pub nodes: [u32; 5],
    /// What else.
    pub flags: HoldFlags,
    /// Id of its state limiter; 0 is none.
    pub state_limiter: u8,
    /// Number of the mapping that it uses (`endpoint-independent`); 0 is none.
    pub mapping: u32,
}

impl Hold {
    /// True if there is nothing to give back.
    pub fn is_empty(&self) -> bool {
        *self == Hold::default()
    }
}

/// A state that is no longer in its table, with what it counted on.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The state.
    pub state: State,
    /// What it counted on.
    pub hold: Hold,
}

impl core::ops::Deref for Removed {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

/// Where the last packet of a state went; saves route and neighbor look-ups while nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct EgressCache {
    /// Stamp of configuration and neighbors for which it holds; 0 never does.
    pub stamp: u32,
    /// Interface to leave by.
    pub interface: u16,
    /// Station address of the next hop.
    pub lladdr: [u8; 6],
}

/// The next hop that a rule chose with `route-to`, `reply-to` or `dup-to`. 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct NextHop {
    /// Host order, IPv4 in the last word; in words so that it needs no alignment of its own.
    addr: [u32; 4],
    interface: u16,
    kind: RouteKind,
    af: Af,
}

impl NextHop {
    /// In place of an interface: the one that routing to the next hop finds.
    pub const BY_ROUTE: u16 = u16::MAX;

    /// A next hop, reached through `interface`.
    pub fn new(kind: RouteKind, af: Af, addr: u128, interface: u16) -> Self {
        let word = |n: u32| (addr >> (96 - 32 * n)) as u32;
        NextHop {
            addr: [word(0), word(1), word(2), word(3)],
            interface,
            kind,
            af,
        }
    }

    /// Family and address, host order.
    pub fn addr(&self) -> (Af, u128) {
        let addr = self.addr.iter().fold(0, |a, w| a << 32 | u128::from(*w));
        (self.af, addr)
    }

    /// Number of the interface that the rule named.
    pub fn interface(&self) -> Option<u16> {
        (self.interface != Self::BY_ROUTE).then_some(self.interface)
    }

    /// Which packets go there.
    pub fn kind(&self) -> RouteKind {
        self.kind
    }
}

impl Default for NextHop {
    fn default() -> Self {
        NextHop::new(RouteKind::RouteTo, Af::Inet, 0, Self::BY_ROUTE)
    }
}

const _: () = assert!(size_of::<State>() == 256);
const _: () = assert!(core::mem::offset_of!(State, used) < 64);
const _: () = assert!(core::mem::offset_of!(State, flow) < 64);
const _: () = assert!(core::mem::offset_of!(State, peer) == 64);
const _: () = assert!(core::mem::offset_of!(State, stack) == 128);
const _: () = assert!(core::mem::offset_of!(State, id) <= 192);

impl State {
    /// The routing table for packets in the state's own direction beyond this interface.
    pub fn rtable_onwards(&self) -> u8 {
        let far = match self.direction {
            Direction::In => &self.stack,
            Direction::Out => &self.wire,
        };
        self.actions.table().unwrap_or(far.rdomain())
    }

    /// The table for a packet that this state has given the routing domain `rdomain`, if it is another than before:
    /// onwards the one that the rule chose, back the one of the domain that the packet returns to.
    pub fn rtable_for(&self, forward: bool, rdomain: u8) -> Option<u8> {
        match forward {
            true => self.actions.table(),
            false if self.wire.rdomain() != self.stack.rdomain() => Some(rdomain),
            false => None,
        }
    }

    /// Whether a packet that passes an interface in `direction` goes the way of the one that made the state.
    #[inline]
    pub fn is_forward(&self, direction: Direction, af: Af) -> bool {
        if self.flags.contains(StateFlags::CHANGES_FAMILY) {
            return af == self.wire.af();
        }
        direction == self.direction
    }

    /// Computes what rewriting does to checksums, once for all packets. For packets that go out the complement holds.
    pub fn set_deltas(&mut self) {
        use wire::checksum::delta;
        let (wire, stack) = (self.wire.sums(), self.stack.sums());
        self.delta_addrs = delta(wire.0, stack.0);
        self.delta_ports = delta(wire.1, stack.1);
    }

    /// The key that a packet has on the far side of this interface, as if it came in there, and the deltas of addresses
    /// and ports.
    #[inline]
    pub fn beyond(&self, direction: Direction) -> (Key, u16, u16) {
        match direction {
            Direction::In => (self.stack, self.delta_addrs, self.delta_ports),
            Direction::Out => (self.wire.mirrored(), !self.delta_addrs, !self.delta_ports),
        }
    }
}

impl State {
    /// No timestamps are followed.
    pub const NO_STAMPS: u32 = u32::MAX;

    /// Asks for all of its lines.
    #[inline]
    pub(crate) fn prefetch_whole(&self) {
        for line in 0..size_of::<State>() / 64 {
            sync::cache::prefetch_at(self, line * 64);
        }
    }
}

impl Default for State {
    fn default() -> Self {
        State {
            wire: Key::default(),
            pair: StateIdx::NONE,
            last_seen: 0,
            rule: RuleSlot::DEFAULT_RULE,
            flags: StateFlags::empty(),
            direction: Direction::In,
            timeout: Timeout::OtherFirst,
            kif: KifId::default(),
            tag: TagId::default(),
            peer: [Peer::default(); 2],
            packets: [0; 2],
            bytes: [0; 2],
            stack: Key::default(),
            egress: EgressCache::default(),
            delta_addrs: 0,
            delta_ports: 0,
            id: 0,
            created: 0,
            generation: 0,
            timer_next: StateIdx::NONE,
            timer_prev: StateIdx::NONE,
            timer_slot: crate::wheel::NOWHERE,
            actions: Actions::default(),
            mss: 0,
            stamps: State::NO_STAMPS,
            next_hop: NextHop::default(),
            used: false,
            flow: InFlow::No,
        }
    }
}
