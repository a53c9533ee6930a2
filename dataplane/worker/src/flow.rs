//! The express: packets of established connections, served by flows ([`state::flow`]) in front of everything else. Whatever
//! is out of the ordinary goes the long way, which is the meaning of all this; a packet served here leaves as it would have
//! left there, and is counted the same.
//!
//! The burst moves in steps, so that no packet waits for memory alone: all headers, all lines of the index, all flows. What
//! asks for lines of tables does nothing else: see [`Worker::look_ahead`].
//!
//! Read first: ARCHITECTURE.md, "Flow 1".

use alloc::boxed::Box;

use filter::scrub::PRIORITY_DEFAULT;
use net::InterfaceId;
use net::lagg::Choice;
use net::link::{Links, Out, Ports, TAG_LEN};
use nic::{BURST_MAX, Burst, Checksum, Nic, PacketBuf, TxQueue};
use ruleset::{Af, Direction, RuleSlot};
use state::flow::Entry;
use state::track::tcp::{ACK, FIN, Plain, RST, SYN};
use state::{Ends, FlowRef, HashSeed, Way, WayFlags};
use wire::checksum;
use wire::ether::{ADDRESSES_LEN, HEADER_LEN as ETHERNET};

use crate::batch::NO_PORT;
use crate::counters::Counters;
use crate::exit::{Exit, Exits};
use crate::lane::{Door, Doors, Lane, Tags};
use crate::turn::Worker;

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
/// What the express of one worker needs.
pub(crate) struct Express {
    pub(crate) is_on: bool,
    pub(crate) exits: Exits,
    doors: Doors,
    /// Where the burst has come in; none if none of it is served.
    pub(crate) lane: Option<Lane>,
    seen: Box<[Seen; BURST_MAX]>,
    /// Flows that have refused a packet of this burst.
    refused: heapless::Vec<u32, BURST_MAX>,
    /// When there were too many exits last, second.
    pub(crate) forgotten_s: u64,
}

impl Express {
    pub(crate) fn new(is_on: bool) -> Self {
        Express {
            is_on,
            exits: Exits::new(),
            doors: Doors::new(),
            lane: None,
            seen: Box::new([Seen::NOTHING; BURST_MAX]),
            refused: heapless::Vec::new(),
            forgotten_s: 0,
        }
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
    /// Its tags, and the priority that they say.
    tags: u8,
    priority: u8,
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
        tags: 0,
        priority: PRIORITY_DEFAULT,
        is_plain: false,
    };
}

/// Packets and bytes that are counted when their number is known: of one interface and family, in a row.
#[derive(Clone, Copy)]
struct Sum {
    /// As of [`Ends::interface_and_family`].
    key: u32,
    /// It is no port: frames are counted, too.
    is_link: bool,
    /// It is, or is on, a lagg, which counts them too.
    lagg: Option<InterfaceId>,
    packets: u64,
    /// Of packets.
    bytes: u64,
    /// Bytes of frames beside what `header` says of each.
    frames: u64,
    /// Bytes of each frame in front of its packet, where a frame has nothing behind.
    header: u64,
}

impl<N: Nic> Worker<N> {
    /// Serves what flows know of a burst that has come in by a port. The rest stays in the burst.
    #[inline(never)]
    pub(crate) fn express(&mut self, port: usize, now_ms: u64) {
        self.express.lane = self.lane(port).filter(|_| self.express.is_on);
        let Some(lane) = self.express.lane else {
            return;
        };
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

    /// The first steps: headers, then lines of the index, then flows, each for the whole burst.
    ///
    /// Lines of tables are asked for in loops of their own, which in large tables halves what a packet costs
    /// (docs/performance.md). What fits: a prefetch is done when its page is known, which in a large table takes a walk
    /// through page tables, and nothing behind it retires before. A core has some hundred instructions under way: in a loop
    /// of a few, dozens of walks run side by side; with the work for each packet in between, three.
    #[inline]
    fn look_ahead(&mut self, lane: &Lane) {
        let bufs = &self.batch.bufs;
        let flows = self.states.flows();
        for buf in bufs {
            buf.prefetch();
        }
        let seed = flows.seed();
        let Express { seen, doors, .. } = &mut self.express;
        for (buf, seen) in bufs.iter().zip(seen.iter_mut()) {
            let verify = buf.rx_meta().ip_checksum != Checksum::Good;
            let door = |tags| doors.find(&self.config, lane.base, tags, self.flow_stamp);
            *seen = look(buf.bytes(), lane, door, verify, seed).unwrap_or(Seen::NOTHING);
        }
        let seen = &mut seen[..bufs.len()];
        for seen in &*seen {
            flows.prefetch_bucket(seen.hash);
        }
        for seen in &mut *seen {
            seen.flow = flows.guess(seen.hash);
        }
        for seen in seen {
            flows.prefetch_entry(seen.flow);
        }
    }

    /// The last step: what a flow lets pass is made ready to leave. Says how many that are.
    #[inline(never)]
    fn serve_burst(&mut self, lane: &Lane, now: u32) -> usize {
        let counters = &self.counters;
        let stamp = self.flow_stamp;
        let asked = [self.egress_stamp, lane.bridge_asked];
        let links = self.config.interfaces.links();
        let flows = self.states.flows();
        let Express {
            exits,
            seen,
            refused,
            ..
        } = &mut self.express;
        let mut came = Sum::NOTHING;
        let mut left = Sum::NOTHING;
        let mut served = 0;
        for (buf, seen) in self.batch.bufs.iter_mut().zip(seen.iter_mut()) {
            let Some(mut entry) = flows.confirm(seen.flow, &seen.ends, seen.hash) else {
                continue;
            };
            let exit = exits.get(entry.way.exit);
            let fits = seen.is_plain
                && entry.is_open(stamp)
                && exit.asked == asked[usize::from(exit.is_bridged)]
                && seen.bytes <= exit.mtu;
            let len = buf.len();
            let port = match fits {
                false => NO_PORT,
                true if seen.tags | exit.layers != 0 => {
                    serve_in_layers(buf, seen, &mut entry, exit, links, &mut self.round_robin)
                }
                true => serve_plain(buf, seen, &mut entry, exit),
            };
            if port == NO_PORT {
                // There is room for one of each packet.
                refused.push(entry.refuse()).ok();
                continue;
            }
            entry.count(seen.bytes, now);
            seen.port = port;
            let bytes = u64::from(seen.bytes);
            count_rules(&counters.filter, entry.way, bytes);
            let key = seen.ends.interface_and_family();
            if came.key != key {
                served += came.packets;
                came.count(counters, Direction::In);
                came = Sum::of_lane(lane, key);
            }
            came.packets += 1;
            came.bytes += bytes;
            came.frames += len as u64;
            let key = u32::from(exit.interface) << 8 | key & 0xff;
            if left.key != key {
                left.count(counters, Direction::Out);
                left = Sum::of_exit(links, exit, key);
            }
            left.packets += 1;
            left.bytes += bytes;
        }
        came.count(counters, Direction::In);
        left.count(counters, Direction::Out);
        (served + came.packets) as usize
    }

    /// Queues what was served, and closes the gaps.
    #[inline]
    fn send_served(&mut self, served: usize) {
        let all = served == self.batch.bufs.len();
        let of = |seen: &Seen| (seen.port, seen.priority);
        let first = of(&self.express.seen[0]);
        if all && self.express.seen[..served].iter().all(|s| of(s) == first) {
            self.send_burst(first.0);
        }
        let bufs: Burst<N::Buf> = core::mem::take(&mut self.batch.bufs);
        for (n, buf) in bufs.into_iter().enumerate() {
            match of(&self.express.seen[n % BURST_MAX]) {
                // There is room: it was there before.
                (NO_PORT, _) => drop(self.batch.bufs.push(buf)),
                (port, priority) => self.queue(buf, priority, port),
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
}

impl Sum {
    const NOTHING: Sum = Sum {
        key: u32::MAX,
        is_link: false,
        lagg: None,
        packets: 0,
        bytes: 0,
        frames: 0,
        header: 0,
    };

    /// Of packets that come in by an interface of a lane.
    #[inline(never)]
    fn of_lane(lane: &Lane, key: u32) -> Self {
        Sum {
            key,
            is_link: key >> 8 != u32::from(lane.base.0),
            lagg: lane.is_lagg.then_some(lane.base),
            ..Sum::NOTHING
        }
    }

    /// Of packets that leave, in frames that are as long as they must be.
    #[inline(never)]
    fn of_exit(links: &Links, exit: &Exit, key: u32) -> Self {
        let lagg = match exit.out {
            Out::Lagg(n) => links.lagg(n).map(|lagg| lagg.interface),
            _ => None,
        };
        Sum {
            key,
            is_link: exit.tags != 0,
            lagg,
            header: (ETHERNET + usize::from(exit.tags) * TAG_LEN) as u64,
            ..Sum::NOTHING
        }
    }

    #[inline(never)]
    fn count(&self, counters: &Counters, direction: Direction) {
        if self.packets == 0 {
            return;
        }
        let id = InterfaceId((self.key >> 8) as u16);
        let af = match self.key & 0xff {
            4 => Af::Inet,
            _ => Af::Inet6,
        };
        let filter = &counters.filter;
        filter.passed(id, af, direction, self.packets, self.bytes);
        let frames = match self.header {
            0 => self.frames,
            header => self.bytes + self.packets * header,
        };
        for link in [self.is_link.then_some(id), self.lagg]
            .into_iter()
            .flatten()
        {
            counters.frames(link, direction, self.packets, frames);
        }
    }
}

/// Serves a frame that has no tags and gets none, and leaves by a port. [`NO_PORT`] if its flow does not let it pass, and then
/// nothing has changed.
#[inline(always)]
fn serve_plain(buf: &mut impl PacketBuf, seen: &Seen, entry: &mut Entry<'_>, exit: &Exit) -> u16 {
    if !serve::<1>(buf.bytes_mut(), seen, entry, exit) {
        return NO_PORT;
    }
    buf.truncate(ETHERNET + usize::from(seen.bytes));
    exit.port
}

/// Serves any other.
#[inline(never)]
fn serve_in_layers(
    buf: &mut impl PacketBuf,
    seen: &Seen,
    entry: &mut Entry<'_>,
    exit: &Exit,
    links: &Links,
    round: &mut u32,
) -> u16 {
    let next = round.wrapping_add(1);
    let (port, after) = match exit.out {
        Out::Lagg(n) => (port_of(links.lagg(n), entry.way.lot, next), next),
        _ => (exit.port, *round),
    };
    if port == NO_PORT || !has_room(buf, seen.tags, exit) {
        return NO_PORT;
    }
    let frame = buf.bytes_mut();
    // A bridge keeps the stations of a frame, and knows what becomes of it by these.
    let is_served = match exit.is_bridged {
        true => {
            frame.get(..ADDRESSES_LEN) == Some(&exit.header[..ADDRESSES_LEN])
                && serve::<0>(frame, seen, entry, exit)
        }
        false => {
            let inside = frame.get_mut(usize::from(seen.tags) * TAG_LEN..);
            serve::<1>(inside.unwrap_or_default(), seen, entry, exit)
        }
    };
    if !is_served {
        return NO_PORT;
    }
    *round = after;
    reframe(buf, seen, exit);
    port
}

/// The port by which a lagg sends the next packet with this lot; [`NO_PORT`] if it is not one.
#[inline]
fn port_of(lagg: Option<&Ports>, lot: u8, round: u32) -> u16 {
    match lagg.map(|lagg| lagg.deal(|| lot, round)) {
        Some(Choice::Port(port)) => port,
        _ => NO_PORT,
    }
}

/// Whether there is room for the tags that the frame gets.
#[inline(always)]
fn has_room(buf: &impl PacketBuf, tags: u8, exit: &Exit) -> bool {
    exit.tags <= tags || buf.headroom() >= usize::from(exit.tags - tags) * TAG_LEN
}

/// Cuts a frame to its packet, and gives it the tags of its way out. The rest of its header is written, and there is room.
#[inline]
fn reframe(buf: &mut impl PacketBuf, seen: &Seen, exit: &Exit) {
    let (has, wants) = (
        usize::from(seen.tags) * TAG_LEN,
        usize::from(exit.tags) * TAG_LEN,
    );
    buf.truncate(has + ETHERNET + usize::from(seen.bytes));
    if has | wants == 0 {
        return;
    }
    match has.checked_sub(wants) {
        Some(less) => buf.advance(less),
        None => buf.prepend(wants - has).unwrap_or(()),
    }
    exit.write_tags(buf.bytes_mut(), seen.priority);
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

/// Reads the headers of a frame as far as a flow can be looked for. `door` says where tags lead.
#[inline(always)]
fn look(
    frame: &[u8],
    lane: &Lane,
    door: impl FnOnce(Tags) -> Door,
    verify: bool,
    seed: HashSeed,
) -> Option<Seen> {
    let head: &[u8; HEAD] = frame.first_chunk()?;
    match [head[12], head[13]] {
        [0x81, 0x00] | [0x88, 0xa8] => look_tagged(frame, door, verify, seed),
        _ => look_inside(word(head, 0), frame, &lane.plain, verify, seed),
    }
}

#[inline(never)]
fn look_tagged(
    frame: &[u8],
    door: impl FnOnce(Tags) -> Door,
    verify: bool,
    seed: HashSeed,
) -> Option<Seen> {
    let tags = Tags::of(frame)?;
    let first = word(frame.first_chunk()?, 0);
    let inside = frame.get(usize::from(tags.count) * TAG_LEN..)?;
    let seen = look_inside(first, inside, &door(tags), verify, seed)?;
    Some(Seen {
        tags: tags.count,
        priority: tags.priority,
        ..seen
    })
}

/// The word at a place of a header, first byte lowest.
#[inline(always)]
fn word(head: &[u8; HEAD], at: usize) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = head[at..] else {
        return 0;
    };
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// `first` is the first word of a frame, and `frame` what follows from the last fourteen bytes of its Ethernet header on.
#[inline(always)]
fn look_inside(
    first: u64,
    frame: &[u8],
    door: &Door,
    verify: bool,
    seed: HashSeed,
) -> Option<Seen> {
    let head: &[u8; HEAD] = frame.first_chunk()?;
    // Type, version and header length; the byte behind is the traffic class.
    let kind = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
    if kind & 0x00ff_ffff == 0x0045_0008 {
        return look4(
            head,
            frame.len(),
            door.lets_in(first),
            verify,
            door.interface,
            seed,
        );
    }
    if kind & 0x00f0_ffff == 0x0060_dd86 {
        let head = frame.first_chunk()?;
        return look6(head, frame.len(), door.lets_in(first), door.interface, seed);
    }
    None
}

#[inline(always)]
fn look4(
    head: &[u8; HEAD],
    len: usize,
    is_ours: bool,
    verify: bool,
    interface: u16,
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
    let ends = Ends::inet(addrs, ports, proto, interface);
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
    interface: u16,
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
    let ends = Ends::inet6(addrs, ports, proto, interface);
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

/// Lets a flow judge a packet whose IP header is plain, and rewrites it if it passes; `HOPS` is what that takes off its time to
/// live. If not nothing has changed.
#[inline(always)]
fn serve<const HOPS: u8>(
    frame: &mut [u8],
    seen: &Seen,
    entry: &mut Entry<'_>,
    exit: &Exit,
) -> bool {
    match (seen.ends.is_inet(), seen.ends.proto()) {
        (true, PROTO_UDP) => {
            let Some((head, l4)) = parts::<INET, UDP>(frame) else {
                return false;
            };
            let fits = is_datagram(l4, seen.bytes - INET as u16);
            if fits {
                rewrite::<UDP, UDP_SUM, HOPS>(head, l4, entry.way, exit);
            }
            fits
        }
        (true, _) => {
            let Some((head, l4)) = parts::<INET, TCP>(frame) else {
                return false;
            };
            let fits = follows(l4, seen.bytes - INET as u16, entry);
            if fits {
                rewrite::<TCP, TCP_SUM, HOPS>(head, l4, entry.way, exit);
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
                head[21] -= HOPS;
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
fn rewrite<const L4: usize, const SUM: usize, const HOPS: u8>(
    head: &mut [u8],
    l4: &mut [u8; L4],
    way: &Way,
    exit: &Exit,
) {
    let Some(head) = head.first_chunk_mut::<{ ETHERNET + INET }>() else {
        return;
    };
    head[..ETHERNET].copy_from_slice(&exit.header);
    head[22] -= HOPS;
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
