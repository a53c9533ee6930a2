//! The express: packets of established connections, served by flows ([`state::flow`]) in front of everything else. Whatever
//! is out of the ordinary goes the long way, which is the meaning of all this; a packet served here leaves as it would have
//! left there, and is counted the same.
//!
//! The burst moves in steps, so that no packet waits for memory alone: all headers, all lines of the index, all flows.
//!
//! Read first: ARCHITECTURE.md, "Flow 1".

use alloc::boxed::Box;
use core::net::IpAddr;

use filter::Kind;
use net::InterfaceId;
use nic::{BURST_MAX, Burst, Checksum, Nic, PacketBuf, TxQueue};
use ruleset::{Af, Direction, RuleSlot, Timeout};
use state::flow::{BESIDE_MAX, Entry};
use state::track::tcp::{ACK, FIN, Plain, RST, SYN};
use state::{Ends, FlowRef, HashSeed, Onwards, State, StateFlags, StateIdx, Way, WayFlags};
use wire::checksum;
use wire::ether::EtherType;

use crate::batch::{Hop, Item, NO_PORT, Origin};
use crate::forward::{addr_of, hop_to};
use crate::receive::DHCP_PORTS;
use crate::turn::Worker;
use crate::verdict::Egress;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of an IPv4 header without options, and of an IPv6 header.
const INET: usize = 20;
const INET6: usize = 40;
/// Bytes of a UDP header, and of a TCP header without options.
const UDP: usize = 8;
const TCP: usize = 20;
/// Bytes of a frame that every IPv4 packet of a flow has, and every IPv6 packet: up to the end of a UDP header.
const HEAD: usize = ETHERNET + INET + UDP;
const HEAD6: usize = ETHERNET + INET6 + UDP;
/// Where in the transport header the checksum of UDP lies, and that of TCP.
const UDP_SUM: usize = 6;
const TCP_SUM: usize = 16;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
/// Ways out that flows may have at the same time: next hops in use.
const EXITS: usize = 1024;
/// How far from its place such a way may lie.
const EXIT_REACH: usize = 8;

/// What the express of one worker needs.
pub(crate) struct Express {
    is_on: bool,
    exits: Exits,
    seen: Box<[Seen; BURST_MAX]>,
    /// Flows that have refused a packet of this burst.
    refused: heapless::Vec<u32, BURST_MAX>,
}

impl Express {
    pub(crate) fn new(is_on: bool) -> Self {
        Express {
            is_on,
            exits: Exits(Box::new([Exit::default(); EXITS])),
            seen: Box::new([Seen::NOTHING; BURST_MAX]),
            refused: heapless::Vec::new(),
        }
    }
}

/// How a packet leaves: a next hop on an interface that is a port.
#[derive(Clone, Copy, Default, Debug)]
struct Exit {
    /// For which configuration it stands for its next hop; 0 never.
    stamp: u32,
    /// Stamp of egress caches at which the neighbor was asked for last. Once that has moved on a packet must go the long
    /// way first: it finds out whether the neighbor is still there, and that it is in use.
    asked: u32,
    next_hop: u128,
    interface: u16,
    port: u16,
    /// Largest IP packet, bytes.
    mtu: u16,
    header: [u8; ETHERNET],
}

impl Exit {
    /// The same next hop, reached in the same way.
    fn is_same(&self, other: &Exit) -> bool {
        let of = |exit: &Exit| (exit.stamp, exit.next_hop, exit.interface, exit.header);
        of(self) == of(other)
    }
}

/// Next hops by number. A number means the same as long as the stamp does.
struct Exits(Box<[Exit; EXITS]>);

impl Exits {
    #[inline(always)]
    fn get(&self, n: u16) -> &Exit {
        &self.0[usize::from(n) % EXITS]
    }

    /// The number of a next hop that was asked for just now; none if too many are in use.
    fn number(&mut self, exit: &Exit) -> Option<u16> {
        let folded = exit.next_hop as u64 ^ (exit.next_hop >> 64) as u64;
        let mixed = (folded ^ u64::from(exit.interface) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for step in 0..EXIT_REACH {
            let n = ((mixed >> 48) as usize + step) % EXITS;
            let there = &mut self.0[n];
            if there.stamp != exit.stamp || there.is_same(exit) {
                *there = *exit;
                return Some(n as u16);
            }
        }
        None
    }
}

/// What the first look at a frame has found.
#[derive(Clone, Copy, Debug)]
struct Seen {
    ends: Ends,
    hash: u64,
    /// The flow it probably belongs to.
    flow: FlowRef,
    /// Bytes of the IP packet.
    bytes: u16,
    /// The port it leaves by; [`NO_PORT`] if it is not served.
    port: u16,
    /// Nothing about its IP header and the one around it is out of the ordinary.
    is_plain: bool,
}

impl Seen {
    /// A frame in which no flow can be looked for.
    const NOTHING: Seen = Seen {
        ends: Ends::NONE,
        hash: 0,
        flow: FlowRef::NONE,
        bytes: 0,
        port: NO_PORT,
        is_plain: false,
    };
}

/// Where a burst has come in.
#[derive(Clone, Copy)]
struct Lane {
    interface: InterfaceId,
    /// Its station address, first byte lowest.
    mac: u64,
}

/// Packets and bytes that are counted when their number is known.
#[derive(Clone, Copy)]
struct Sum {
    interface: InterfaceId,
    af: Af,
    packets: u64,
    bytes: u64,
}

impl<N: Nic> Worker<N> {
    /// Serves what flows know of a burst that has come in by a port. The rest stays in the burst.
    #[inline(never)]
    pub(crate) fn express(&mut self, port: usize, now_ms: u64) {
        let Some(lane) = self.lane(port) else { return };
        self.look_ahead(&lane);
        let served = self.serve_burst(&lane, state::table::ticks(now_ms));
        self.states.prefetch_states(&self.express.refused);
        // From now on their states have the say.
        while let Some(flow) = self.express.refused.pop() {
            self.states.put_to_sleep(flow);
        }
        if served > 0 {
            self.counters.served.add(served as u64);
            self.counters.filter.searches.add(served as u64);
            self.send_served(served);
        }
    }

    /// Whether packets may take the express that come in by a port, and what all of them have in common.
    fn lane(&self, port: usize) -> Option<Lane> {
        let config = &*self.config;
        let is_open = self.express.is_on
            && self.watched.left == 0
            && self.kill_jobs.is_empty()
            && config.ruleset.ether.is_empty()
            && config.ruleset.scrub.is_empty();
        let receiver = config.interfaces.receiver(port as u16);
        let receiver = receiver.filter(|r| is_open && r.lagg.is_none())?;
        let on = config
            .interfaces
            .get(receiver.interface)
            .filter(|i| i.up && !config.skips(i.id))?;
        let [a, b, c, d, e, f] = on.mac.0;
        config
            .interfaces
            .bridges()
            .place(on.id)
            .is_none()
            .then_some(Lane {
                interface: on.id,
                mac: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
            })
    }

    /// The first steps: headers, then lines of the index, each for the whole burst.
    #[inline]
    fn look_ahead(&mut self, lane: &Lane) {
        let bufs = &self.batch.bufs;
        let flows = self.states.flows();
        for buf in bufs {
            buf.prefetch();
        }
        let seed = flows.seed();
        for (buf, seen) in bufs.iter().zip(self.express.seen.iter_mut()) {
            let verify = buf.rx_meta().ip_checksum != Checksum::Good;
            *seen = look(buf.bytes(), lane, verify, seed).unwrap_or(Seen::NOTHING);
            flows.prefetch_bucket(seen.hash);
        }
        for seen in self.express.seen.iter_mut().take(bufs.len()) {
            seen.flow = flows.guess(seen.hash);
        }
    }

    /// The last step: what a flow lets pass is made ready to leave. Says how many that are.
    #[inline(never)]
    fn serve_burst(&mut self, lane: &Lane, now: u32) -> usize {
        let counters = &self.counters.filter;
        let (stamp, asked) = (self.flow_stamp, self.egress_stamp);
        let flows = self.states.flows();
        let Express {
            exits,
            seen,
            refused,
            ..
        } = &mut self.express;
        let mut came = [Af::Inet, Af::Inet6].map(|af| Sum::new(lane.interface, af));
        let mut left = Sum::new(lane.interface, Af::Inet);
        for (buf, seen) in self.batch.bufs.iter_mut().zip(seen.iter_mut()) {
            let Some(mut entry) = flows.confirm(seen.flow, &seen.ends, seen.hash) else {
                continue;
            };
            let exit = exits.get(entry.way.exit);
            let fits = seen.is_plain
                && entry.is_open(stamp)
                && exit.asked == asked
                && seen.bytes <= exit.mtu;
            if !fits || !serve(buf.bytes_mut(), seen, &mut entry, exit) {
                // There is room for one of each packet.
                refused.push(entry.refuse()).ok();
                continue;
            }
            entry.count(seen.bytes, now);
            buf.truncate(ETHERNET + usize::from(seen.bytes));
            seen.port = exit.port;
            let bytes = u64::from(seen.bytes);
            count_rules(counters, entry.way, bytes);
            let af = if seen.ends.is_inet() {
                Af::Inet
            } else {
                Af::Inet6
            };
            came[af.index()].add(bytes);
            if (left.interface.0, left.af) != (exit.interface, af) {
                left.count(counters, Direction::Out);
                left = Sum::new(InterfaceId(exit.interface), af);
            }
            left.add(bytes);
        }
        left.count(counters, Direction::Out);
        let served = came[0].packets + came[1].packets;
        for sum in came {
            sum.count(counters, Direction::In);
        }
        served as usize
    }

    /// Queues what was served, and closes the gaps.
    #[inline]
    fn send_served(&mut self, served: usize) {
        let all = served == self.batch.bufs.len();
        let port = self.express.seen[0].port;
        if all && self.express.seen[..served].iter().all(|s| s.port == port) {
            self.send_burst(port);
        }
        let bufs: Burst<N::Buf> = core::mem::take(&mut self.batch.bufs);
        for (n, buf) in bufs.into_iter().enumerate() {
            match self.express.seen[n % BURST_MAX].port {
                // There is room: it was there before.
                NO_PORT => drop(self.batch.bufs.push(buf)),
                port => self.queue(buf, filter::scrub::PRIORITY_DEFAULT, port),
            }
        }
    }

    /// Gives the whole burst to a card, if nothing waits for that. What the card does not take stays.
    fn send_burst(&mut self, port: u16) {
        let Some(port) = self.ports.get_mut(usize::from(port)) else {
            return;
        };
        if let Some(tx) = port.tx.as_mut().filter(|_| port.queue.is_empty()) {
            let sent = tx.transmit(&mut self.batch.bufs) as u64;
            self.counters.transmitted.add(sent);
            self.counters.passed.add(sent);
        }
    }

    /// Connections of whose packets nothing was out of the ordinary are served by flows from now on.
    #[inline]
    pub(crate) fn remember(&mut self) {
        if !self.express.is_on {
            return;
        }
        for n in 0..self.batch.len() {
            let item = &self.batch.items[n];
            if let (Some(idx), Some(Hop::Known(egress))) = (item.state, item.egress)
                && item.port != NO_PORT
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
        let lane = self.lane(usize::from(item.port))?;
        let out = self.states.peek(st.pair)?;
        let is_cached = (st.egress.stamp, st.egress.interface, st.egress.lladdr)
            == (self.egress_stamp, egress.interface.0, egress.lladdr.0);
        let may_pass = is_cached
            && item.origin == Origin::Wire(lane.interface)
            && out.wire.mirrored() == item.pd.key_in
            && self.is_bound_to(st, lane.interface)
            && self.is_bound_to(out, egress.interface);
        if !may_pass {
            return None;
        }
        // Where it was bound for before it was translated on its way out.
        let (src, dst) = (st.stack.end(0).0, st.stack.end(1).0);
        let dst = addr_of(st.stack.af(), dst);
        let (_, next_hop) = hop_to(&self.config, item.pd.rtable, src, dst).ok()?;
        let exit = self.exit(egress, item.pd.af, next_hop)?;
        let beside = self.beside(idx, st.pair)?;
        let Some(number) = self.express.exits.number(&exit) else {
            // Too many next hops: all that is known of them is forgotten.
            self.forget_flows();
            return None;
        };
        let onwards = Onwards {
            interface: lane.interface.0,
            beside,
            exit: number,
            stamp: self.flow_stamp,
        };
        self.states.remember(idx, &onwards);
        Some(())
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
    fn exit(&self, egress: &Egress, af: Af, next_hop: IpAddr) -> Option<Exit> {
        let (config, id) = (&*self.config, egress.interface);
        let out = config.interfaces.get(id).filter(|i| i.up)?;
        let way = config.interfaces.way(id)?;
        let port = way.plain_port()?;
        let has_queue = self.ports.get(usize::from(port))?.tx.is_some();
        if !has_queue || config.skips(id) || egress.src.is_some() {
            return None;
        }
        let mut header = [0; ETHERNET];
        let repr = wire::ether::Repr {
            dst: egress.lladdr,
            src: way.mac,
            ethertype: match af {
                Af::Inet => EtherType::IPV4,
                Af::Inet6 => EtherType::IPV6,
            },
        };
        repr.emit(&mut wire::ether::Frame::new_unchecked(&mut header[..]));
        Some(Exit {
            stamp: self.flow_stamp,
            asked: self.egress_stamp,
            next_hop: match next_hop {
                IpAddr::V4(addr) => addr.to_bits().into(),
                IpAddr::V6(addr) => addr.to_bits(),
            },
            interface: id.0,
            port,
            mtu: out.mtu,
            header,
        })
    }
}

impl Sum {
    fn new(interface: InterfaceId, af: Af) -> Self {
        Sum {
            interface,
            af,
            packets: 0,
            bytes: 0,
        }
    }

    #[inline(always)]
    fn add(&mut self, bytes: u64) {
        self.packets += 1;
        self.bytes += bytes;
    }

    #[inline(always)]
    fn count(self, counters: &filter::Counters, direction: Direction) {
        if self.packets != 0 {
            counters.passed(self.interface, self.af, direction, self.packets, self.bytes);
        }
    }
}

/// A packet counts on the rules of its states, and on those beside.
#[inline(always)]
fn count_rules(counters: &filter::Counters, way: &Way, bytes: u64) {
    let [came, left] = way.rules;
    let one = |direction: Direction, slot| {
        counters.rule(slot).traffic[direction.index()].one(bytes);
    };
    one(Direction::In, came);
    one(Direction::Out, left);
    if way.flags.contains(WayFlags::BESIDE) {
        let outs = [WayFlags::FIRST_OUT, WayFlags::SECOND_OUT];
        for (slot, out) in way.beside.into_iter().zip(outs) {
            match way.flags.contains(out) {
                _ if slot == RuleSlot::DEFAULT_RULE => {}
                true => one(Direction::Out, slot),
                false => one(Direction::In, slot),
            }
        }
    }
}

/// A connection of which more packets are to be expected than those that begin it.
fn has_settled_down(st: &State) -> bool {
    matches!(
        st.timeout,
        Timeout::TcpEstablished | Timeout::UdpSingle | Timeout::UdpMultiple
    )
}

/// A whole packet of a connection, on its way from one port to another.
fn is_ordinary(item: &Item) -> bool {
    item.is_open()
        && matches!(item.pd.kind, Kind::Tcp | Kind::Udp)
        && item.train.is_none()
        && item.bridged.is_none()
        && !item.changed_family
        && item.watched == 0
        // What the box may want to hear itself.
        && item.pd.ports != DHCP_PORTS
}

/// Reads the headers of a frame as far as a flow can be looked for.
#[inline(always)]
fn look(frame: &[u8], lane: &Lane, verify: bool, seed: HashSeed) -> Option<Seen> {
    let head: &[u8; HEAD] = frame.first_chunk()?;
    // Type, version and header length; the byte behind is the traffic class.
    let kind = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
    let mac = u64::from_le_bytes([
        head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7],
    ]);
    let is_ours = mac & 0xffff_ffff_ffff == lane.mac;
    if kind & 0x00ff_ffff == 0x0045_0008 {
        return look4(head, frame.len(), is_ours, verify, lane, seed);
    }
    if kind & 0x00f0_ffff == 0x0060_dd86 {
        return look6(frame.first_chunk()?, frame.len(), is_ours, lane, seed);
    }
    None
}

#[inline(always)]
fn look4(
    head: &[u8; HEAD],
    len: usize,
    is_ours: bool,
    verify: bool,
    lane: &Lane,
    seed: HashSeed,
) -> Option<Seen> {
    let fragment = u16::from_be_bytes([head[20], head[21]]) & 0x3fff;
    let proto = head[23];
    if fragment != 0 || !matches!(proto, PROTO_TCP | PROTO_UDP) {
        return None;
    }
    let bytes = u16::from_be_bytes([head[16], head[17]]);
    let is_plain = is_ours
        && head[22] > 1
        && usize::from(bytes) >= INET + UDP
        && usize::from(bytes) <= len - ETHERNET
        && (!verify || sums_up(head));
    let addrs = u64::from_ne_bytes([
        head[26], head[27], head[28], head[29], head[30], head[31], head[32], head[33],
    ]);
    let ports = u32::from_ne_bytes([head[34], head[35], head[36], head[37]]);
    let ends = Ends::inet(addrs, ports, proto, lane.interface.0);
    Some(Seen {
        ends,
        hash: ends.hash(seed),
        bytes,
        is_plain,
        ..Seen::NOTHING
    })
}

#[inline(always)]
fn look6(
    head: &[u8; HEAD6],
    len: usize,
    is_ours: bool,
    lane: &Lane,
    seed: HashSeed,
) -> Option<Seen> {
    let proto = head[20];
    if !matches!(proto, PROTO_TCP | PROTO_UDP) {
        return None;
    }
    let bytes = INET6 + usize::from(u16::from_be_bytes([head[18], head[19]]));
    let is_plain = is_ours && head[21] > 1 && bytes >= INET6 + UDP && bytes <= len - ETHERNET;
    let word = |n: usize| {
        let at = 22 + 8 * n;
        u64::from_ne_bytes([
            head[at],
            head[at + 1],
            head[at + 2],
            head[at + 3],
            head[at + 4],
            head[at + 5],
            head[at + 6],
            head[at + 7],
        ])
    };
    let ports = u32::from_ne_bytes([head[54], head[55], head[56], head[57]]);
    let addrs = [word(0), word(1), word(2), word(3)];
    let ends = Ends::inet6(addrs, ports, proto, lane.interface.0);
    Some(Seen {
        ends,
        hash: ends.hash(seed),
        bytes: u16::try_from(bytes).unwrap_or(u16::MAX),
        is_plain,
        ..Seen::NOTHING
    })
}

/// Whether the checksum of an IPv4 header is right.
#[inline(always)]
fn sums_up(head: &[u8; HEAD]) -> bool {
    checksum::fold(checksum::sum(&head[ETHERNET..ETHERNET + INET])) == 0xffff
}

/// Lets a flow judge a packet whose IP header is plain, and rewrites it if it passes. If not nothing has changed.
#[inline(always)]
fn serve(frame: &mut [u8], seen: &Seen, entry: &mut Entry<'_>, exit: &Exit) -> bool {
    match (seen.ends.is_inet(), seen.ends.proto()) {
        (true, PROTO_UDP) => {
            let Some((head, l4)) = parts::<INET, UDP>(frame) else {
                return false;
            };
            let fits = is_datagram(l4, seen.bytes - INET as u16);
            if fits {
                rewrite::<UDP, UDP_SUM>(head, l4, entry.way, exit);
            }
            fits
        }
        (true, _) => {
            let Some((head, l4)) = parts::<INET, TCP>(frame) else {
                return false;
            };
            let fits = follows(l4, seen.bytes - INET as u16, entry);
            if fits {
                rewrite::<TCP, TCP_SUM>(head, l4, entry.way, exit);
            }
            fits
        }
        (false, proto) => {
            let len = seen.bytes - INET6 as u16;
            let fits = match proto {
                PROTO_UDP => parts::<INET6, UDP>(frame).is_some_and(|(_, l4)| is_datagram(l4, len)),
                _ => parts::<INET6, TCP>(frame).is_some_and(|(_, l4)| follows(l4, len, entry)),
            };
            if let (true, Some(head)) = (fits, frame.first_chunk_mut::<HEAD6>()) {
                head[..ETHERNET].copy_from_slice(&exit.header);
                head[21] -= 1;
            }
            fits
        }
    }
}

/// The headers up to the end of an IP header of `IP` bytes, and the first `L4` bytes behind.
#[inline(always)]
fn parts<const IP: usize, const L4: usize>(frame: &mut [u8]) -> Option<(&mut [u8], &mut [u8; L4])> {
    let (head, rest) = frame.split_at_mut_checked(ETHERNET + IP)?;
    Some((head, rest.first_chunk_mut()?))
}

/// A datagram within the packet that carries it, of whose payload there are `len` bytes.
#[inline(always)]
fn is_datagram(l4: &[u8; UDP], len: u16) -> bool {
    let said = u16::from_be_bytes([l4[4], l4[5]]);
    usize::from(said) >= UDP && said <= len
}

/// A segment that neither begins nor ends anything, and that the flow lets pass.
#[inline(always)]
fn follows(l4: &[u8; TCP], len: u16, entry: &mut Entry<'_>) -> bool {
    let word = |at: usize| u32::from_be_bytes([l4[at], l4[at + 1], l4[at + 2], l4[at + 3]]);
    let (header, len) = (u32::from(l4[12] >> 4) * 4, u32::from(len));
    let is_plain = l4[13] & (SYN | FIN | RST | ACK) == ACK;
    if !is_plain || header < TCP as u32 || header > len {
        return false;
    }
    entry.track(&Plain {
        seq: word(4),
        ack: word(8),
        window: u16::from_be_bytes([l4[14], l4[15]]),
        payload: len - header,
    })
}

/// Makes the headers of an IPv4 packet what they are to be beyond. `SUM` is where the checksum of the transport header lies.
#[inline(always)]
fn rewrite<const L4: usize, const SUM: usize>(
    head: &mut [u8],
    l4: &mut [u8; L4],
    way: &Way,
    exit: &Exit,
) {
    let Some(head) = head.first_chunk_mut::<{ ETHERNET + INET }>() else {
        return;
    };
    head[..ETHERNET].copy_from_slice(&exit.header);
    head[22] -= 1;
    let sum = u16::from_be_bytes([head[24], head[25]]);
    head[24..26].copy_from_slice(&checksum::apply(sum, way.delta_ip()).to_be_bytes());
    if way.flags.contains(WayFlags::TRANSLATED) {
        head[26..34].copy_from_slice(&way.addrs().to_ne_bytes());
        l4[..4].copy_from_slice(&way.ports().to_ne_bytes());
        let sum = u16::from_be_bytes([l4[SUM], l4[SUM + 1]]);
        let sum = match SUM {
            UDP_SUM => checksum::apply_udp(sum, way.delta_l4()),
            _ => checksum::apply(sum, way.delta_l4()),
        };
        l4[SUM..SUM + 2].copy_from_slice(&sum.to_be_bytes());
    }
}
