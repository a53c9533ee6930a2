//! The express: packets of established connections, served by flows ([`state::flow`]) in front of everything else. Whatever
//! is out of the ordinary goes the long way, which is the meaning of all this; a packet served here leaves as it would have
//! left there, and is counted the same.
//!
//! The burst moves in steps, so that no packet waits for memory alone: all headers, all lines of the index, all flows. What
//! asks for lines of tables does nothing else: see [`Worker::look_ahead`].
//!
//! Read first: ARCHITECTURE.md, "Flow 1".

use alloc::boxed::Box;

use filter::Reason;
use filter::scrub::PRIORITY_DEFAULT;
use net::lagg::{Choice, Homes};
use net::link::{Links, Out, TAG_LEN};
use nic::{BURST_MAX, Burst, Checksum, Nic, PacketBuf, TxQueue};
use ruleset::{Direction, RuleSlot};
use state::flow::Entry;
use state::track::tcp::{ACK, FIN, Plain, RST, SYN};
use state::{Ends, FlowRef, HashSeed, Way, WayFlags};
use wire::checksum;
use wire::ether::{ADDRESSES_LEN, HEADER_LEN as ETHERNET};

use crate::batch::{Batch, NO_PORT};
use crate::counters::Counters;
use crate::exit::{Exit, Exits};
use crate::hand_over::{TO_WORKERS, push_frame};
use crate::lane::{Door, Doors, Lane, Row, Tags, begins_with_tag};
use crate::sum::Sum;
use crate::turn::Worker;
use crate::turn_away::{BLOCKED, Patience};

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
    pub(crate) seen: Box<[Seen; BURST_MAX]>,
    /// Whether packets are asked about that no flow knows.
    pub(crate) patience: Patience,
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
            patience: Patience::default(),
            refused: heapless::Vec::new(),
            forgotten_s: 0,
        }
    }
}

/// What the first look at a frame has found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) ends: Ends,
    /// Of the ends; later of the key that a state has.
    pub(crate) hash: u64,
    /// The flow it probably belongs to.
    flow: FlowRef,
    /// Bytes of the IP packet.
    pub(crate) bytes: u16,
    /// The port it leaves by; [`NO_PORT`] if it is not served, [`BLOCKED`] if it ends here.
    pub(crate) port: u16,
    /// Its tags, the priority that they say, and how a tag says it.
    pub(crate) tags: u8,
    pub(crate) priority: u8,
    code: u8,
    /// Nothing about its IP header and the one around it is out of the ordinary.
    pub(crate) is_plain: bool,
}

impl Seen {
    /// A frame in which no flow can be looked for.
    pub(crate) const NOTHING: Seen = Seen {
        ends: Ends::NONE,
        hash: 0,
        flow: FlowRef::NONE,
        bytes: 0,
        port: NO_PORT,
        tags: 0,
        priority: PRIORITY_DEFAULT,
        code: Tags::NONE.code,
        is_plain: false,
    };
}

impl<N: Nic> Worker<N> {
    /// Serves what flows know of a burst that has come in by a port. The rest stays in the burst.
    #[inline]
    pub(crate) fn express(&mut self, port: usize, now_ms: u64) {
        self.express.lane = self.lane(port).filter(|_| self.express.is_on);
        if let Some(lane) = self.express.lane {
            self.express_by(&lane, now_ms);
        }
    }

    /// The same of one that has come in by a lane.
    #[inline(never)]
    pub(crate) fn express_by(&mut self, lane: &Lane, now_ms: u64) {
        self.look_ahead(lane);
        if lane.is_handed {
            self.look_at_frames_alone();
        }
        let served = self.serve_burst(lane, state::ticks::ticks(now_ms));
        let handed = self.hand_over(lane, served);
        let blocked = self.turn_away(lane, served + handed);
        self.states.prefetch_states(&self.express.refused);
        // From now on their states have the say.
        while let Some(flow) = self.express.refused.pop() {
            self.states.put_to_sleep(flow);
        }
        if served > 0 {
            self.counters.served.add(served as u64);
            self.counters.filter.searches.add(served as u64);
        }
        if served + handed + blocked > 0 {
            if lane.is_handed {
                self.keep_letters();
            }
            self.send_served(served, blocked);
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
        let mut doors = doors.of(&self.config, lane.base, self.flow_stamp);
        for (buf, seen) in bufs.iter().zip(seen.iter_mut()) {
            let verify = buf.rx_meta().ip_checksum != Checksum::Good;
            if look(buf.bytes(), lane, &mut doors, verify, seed, seen).is_none() {
                *seen = Seen::NOTHING;
            }
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

    /// The last step: what flows let pass is made ready to leave. Says how many that are.
    #[inline(always)]
    fn serve_burst(&mut self, lane: &Lane, now: u32) -> usize {
        let (served, at) = match lane.is_lagg {
            true => (0, 0),
            false => self.serve_from::<false>(lane, now, 0),
        };
        match at < self.batch.bufs.len() {
            true => served + self.serve_from::<true>(lane, now, at).0,
            false => served,
        }
    }

    /// Serves packets from one of the burst on, up to the first that has tags, gets some or leaves by a lagg, unless these
    /// `LAYERS` are served as well. Two programs: what plain packets need fits the registers alone. Says how many it has served,
    /// and where it stopped.
    #[inline(never)]
    fn serve_from<const LAYERS: bool>(
        &mut self,
        lane: &Lane,
        now: u32,
        from: usize,
    ) -> (usize, usize) {
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
        let exits = &*exits;
        let mut sum = Sum::NOTHING;
        let mut homes = Homes::default();
        let mut served = 0;
        let mut at = self.batch.bufs.len();
        let mut bufs = self.batch.bufs.iter_mut();
        let mut seen = seen.iter_mut();
        if from > 0 {
            bufs.nth(from - 1);
            seen.nth(from - 1);
        }
        while let (Some(buf), Some(seen)) = (bufs.next(), seen.next()) {
            let Some(mut entry) = flows.confirm(seen.flow, &seen.ends, seen.hash) else {
                continue;
            };
            let exit = exits.get(entry.way.exit);
            let fits = seen.is_plain
                && entry.is_open(stamp)
                && exit.asked == asked[usize::from(exit.is_bridged)]
                && seen.bytes <= exit.mtu;
            if fits && !LAYERS && seen.tags | exit.layers != 0 {
                at -= bufs.len() + 1;
                break;
            }
            let came = seen.ends.interface_and_family();
            if fits && !sum.takes(came, exit) {
                served += sum.count(counters, lane, links);
                sum = Sum::of(came, exit);
                if LAYERS {
                    homes = exit.homes(links);
                }
            }
            let len = buf.len();
            let round = &mut self.round_robin;
            let is_served = fits
                && match LAYERS {
                    false => serve_plain(buf, seen, &mut entry, exit),
                    true => serve_in_layers(buf, seen, &mut entry, exit, &homes, links, round),
                };
            if !is_served {
                seen.port = NO_PORT;
                // There is room for one of each packet.
                refused.push(entry.refuse()).ok();
                continue;
            }
            entry.count(seen.bytes, now);
            count_rules(&counters.filter, entry.way, u64::from(seen.bytes));
            sum.add(seen.bytes, len);
        }
        served += sum.count(counters, lane, links);
        (served, at)
    }

    /// Queues what was served, frees what was blocked, and closes the gaps.
    #[inline]
    fn send_served(&mut self, mut served: usize, blocked: usize) {
        if blocked == self.batch.bufs.len() {
            self.batch.bufs.clear();
            return;
        }
        let all = served == self.batch.bufs.len();
        let of = |seen: &Seen| (seen.port, seen.priority);
        let first = of(&self.express.seen[0]);
        if all && self.express.seen[..served].iter().all(|s| of(s) == first) {
            served -= self.send_burst(first.0);
        }
        let Batch { bufs, rest, .. } = &mut self.batch;
        let counters = &*self.counters;
        let (mut sent, mut lost) = (0, 0);
        for (buf, seen) in bufs.drain(..).zip(self.express.seen.iter()) {
            let (to, priority) = of(seen);
            let port = self.ports.get_mut(usize::from(to));
            let Some((tx, queue)) = port.and_then(|p| Some((p.tx.as_mut()?, &mut p.queue))) else {
                match to {
                    NO_PORT => put_back(rest, buf),
                    BLOCKED => drop(buf),
                    TO_WORKERS.. => push_frame(counters, &mut self.ends.to_workers, buf, seen),
                    _ => lost += lose_served(counters, buf, Reason::InterfaceDown),
                }
                continue;
            };
            let (taken, refused) = queue.enqueue(buf, priority, tx);
            sent += taken;
            if let Some(refused) = refused {
                lost += lose_served(counters, refused, Reason::TxFull);
            }
        }
        counters.transmitted.add(sent as u64);
        counters.passed.add((served - lost) as u64);
        if !rest.is_empty() {
            core::mem::swap(bufs, rest);
        }
    }

    /// Gives the whole burst to a card, if nothing waits for that. What the card does not take stays; says how many it took.
    fn send_burst(&mut self, port: u16) -> usize {
        let Some(port) = self.ports.get_mut(usize::from(port)) else {
            return 0;
        };
        let Some(tx) = port.tx.as_mut().filter(|_| port.queue.is_empty()) else {
            return 0;
        };
        let sent = tx.transmit(&mut self.batch.bufs);
        self.counters.transmitted.add(sent as u64);
        self.counters.passed.add(sent as u64);
        sent
    }
}

/// A packet that was served ends here: one. Apart from the loop that sends the others, whose registers this would take.
#[cold]
#[inline(never)]
fn lose_served<B>(counters: &Counters, buf: B, reason: Reason) -> usize {
    drop(buf);
    counters.drop_for(reason);
    1
}

/// What is not served stays in the burst.
#[inline(never)]
fn put_back<B>(bufs: &mut Burst<B>, buf: B) {
    // There is room: it was there before.
    drop(bufs.push(buf));
}

/// Serves a frame that has no tags and gets none, and leaves by a port. False if its flow does not let it pass, and then nothing
/// of it has changed.
#[inline(always)]
fn serve_plain(
    buf: &mut impl PacketBuf,
    seen: &mut Seen,
    entry: &mut Entry<'_>,
    exit: &Exit,
) -> bool {
    let frame = buf.bytes_mut();
    if !is_of_stations(frame, exit) || !serve(frame, seen, entry, exit) {
        return false;
    }
    exit.write_plain(frame);
    buf.truncate(ETHERNET + usize::from(seen.bytes));
    seen.port = exit.port;
    true
}

/// A bridge keeps the stations of a frame, and knows what becomes of it by these.
#[inline(always)]
fn is_of_stations(frame: &[u8], exit: &Exit) -> bool {
    !exit.is_bridged || frame.get(..ADDRESSES_LEN) == Some(exit.stations())
}

/// Serves any other. `homes` are those of the interface that it leaves by.
#[inline(always)]
fn serve_in_layers(
    buf: &mut impl PacketBuf,
    seen: &mut Seen,
    entry: &mut Entry<'_>,
    exit: &Exit,
    homes: &Homes<'_>,
    links: &Links,
    round: &mut u32,
) -> bool {
    match homes.of(entry.way.lot) {
        Some(port) => serve_tagged(buf, seen, entry, exit, port),
        None => serve_dealt(buf, seen, entry, exit, links, round),
    }
}

/// Serves a frame that leaves by this port.
#[inline(always)]
fn serve_tagged(
    buf: &mut impl PacketBuf,
    seen: &mut Seen,
    entry: &mut Entry<'_>,
    exit: &Exit,
    port: u16,
) -> bool {
    seen.port = port;
    let has = tags_len(seen.tags);
    if seen.tags != exit.tags && buf.headroom() + has < tags_len(exit.tags) {
        return false;
    }
    let frame = buf.bytes_mut();
    if !is_of_stations(frame, exit) {
        return false;
    }
    let inside = frame.get_mut(has..).unwrap_or_default();
    if !serve(inside, seen, entry, exit) {
        return false;
    }
    match seen.tags == exit.tags {
        true => exit.write_tagged(frame, seen.code),
        false => reshape(buf, seen, exit),
    }
    buf.truncate(tags_len(exit.tags) + ETHERNET + usize::from(seen.bytes));
    true
}

/// Bytes of so many tags.
#[inline(always)]
fn tags_len(tags: u8) -> usize {
    usize::from(tags) * TAG_LEN
}

/// Makes a frame that has tags begin where it does with others, and writes its header. There is room. Said to be rare, so that
/// what frames need that keep their length stays in registers.
#[cold]
#[inline(never)]
fn reshape(buf: &mut impl PacketBuf, seen: &Seen, exit: &Exit) {
    let (has, wants) = (tags_len(seen.tags), tags_len(exit.tags));
    match has.checked_sub(wants) {
        Some(less) => buf.advance(less),
        None => buf.prepend(wants - has).unwrap_or(()),
    }
    exit.write_tagged(buf.bytes_mut(), seen.code);
}

/// Serves a frame whose port is a matter of its turn, or whose lot has lost its port.
#[cold]
#[inline(never)]
fn serve_dealt(
    buf: &mut impl PacketBuf,
    seen: &mut Seen,
    entry: &mut Entry<'_>,
    exit: &Exit,
    links: &Links,
    round: &mut u32,
) -> bool {
    let turn = round.wrapping_add(1);
    let lagg = match exit.out {
        Out::Lagg(n) => links.lagg(n),
        _ => None,
    };
    let Some(Choice::Port(port)) = lagg.map(|lagg| lagg.deal(|| entry.way.lot, turn)) else {
        return false;
    };
    let is_served = serve_tagged(buf, seen, entry, exit, port);
    if is_served {
        *round = turn;
    }
    is_served
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

/// Reads the headers of a frame as far as a flow can be looked for; none if that is not possible.
#[inline(always)]
fn look(
    frame: &[u8],
    lane: &Lane,
    doors: &mut Row<'_>,
    verify: bool,
    seed: HashSeed,
    seen: &mut Seen,
) -> Option<()> {
    let head: &[u8; HEAD] = frame.first_chunk()?;
    let (first, behind) = (word(head, 0), word(head, ADDRESSES_LEN));
    let mut inside = frame;
    let mut door = &lane.plain;
    (seen.port, seen.tags, seen.priority) = (NO_PORT, 0, PRIORITY_DEFAULT);
    seen.code = Tags::NONE.code;
    if begins_with_tag(behind) {
        let behind = doors.find(behind);
        inside = frame.get(behind.len..)?;
        door = &behind.door;
        let tags = &behind.tags;
        (seen.tags, seen.priority, seen.code) = (tags.count, tags.priority, tags.code);
    }
    look_inside(first, inside, door, verify, seed, seen)
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
    seen: &mut Seen,
) -> Option<()> {
    let head: &[u8; HEAD] = frame.first_chunk()?;
    let is_ours = door.lets_in(first);
    // Type, version and header length; the byte behind is the traffic class.
    let kind = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
    if kind & 0x00ff_ffff == 0x0045_0008 {
        seen.ends = ends4(head, door.interface)?;
        seen.bytes = u16::from_be_bytes([head[16], head[17]]);
        seen.is_plain = is_ours
            && head[22] > 1
            && usize::from(seen.bytes) >= INET + UDP
            && usize::from(seen.bytes) <= frame.len() - ETHERNET
            && (!verify || sums_up(head));
    } else if kind & 0x00f0_ffff == 0x0060_dd86 {
        let head: &[u8; HEAD6] = frame.first_chunk()?;
        seen.ends = ends6(head, door.interface)?;
        let bytes = INET6 + usize::from(u16::from_be_bytes([head[18], head[19]]));
        seen.bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        seen.is_plain =
            is_ours && head[21] > 1 && bytes >= INET6 + UDP && bytes <= frame.len() - ETHERNET;
    } else {
        return None;
    }
    seen.hash = seen.ends.hash(seed);
    Some(())
}

/// What an IPv4 packet is looked up by; none if it is none that flows serve.
#[inline(always)]
fn ends4(head: &[u8; HEAD], interface: u16) -> Option<Ends> {
    let fragment = u16::from_be_bytes([head[20], head[21]]) & 0x3fff;
    let proto = head[23];
    if fragment != 0 || !matches!(proto, PROTO_TCP | PROTO_UDP) {
        return None;
    }
    let addrs = u64::from_ne_bytes([
        head[26], head[27], head[28], head[29], head[30], head[31], head[32], head[33],
    ]);
    let ports = u32::from_ne_bytes([head[34], head[35], head[36], head[37]]);
    Some(Ends::inet(addrs, ports, proto, interface))
}

/// The same of IPv6.
#[inline(always)]
fn ends6(head: &[u8; HEAD6], interface: u16) -> Option<Ends> {
    let proto = head[20];
    if !matches!(proto, PROTO_TCP | PROTO_UDP) {
        return None;
    }
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
    Some(Ends::inet6(addrs, ports, proto, interface))
}

/// Whether the checksum of an IPv4 header is right.
#[inline(always)]
fn sums_up(head: &[u8; HEAD]) -> bool {
    checksum::fold(checksum::sum(&head[ETHERNET..ETHERNET + INET])) == 0xffff
}

/// Lets a flow judge a packet whose IP header is plain, and rewrites it if it passes. If not nothing has changed. `frame` begins
/// with the fourteen bytes in front of the packet, which stay.
#[inline(always)]
fn serve(frame: &mut [u8], seen: &Seen, entry: &mut Entry<'_>, exit: &Exit) -> bool {
    match (seen.ends.is_inet(), seen.ends.proto()) {
        (true, PROTO_UDP) => {
            let Some((head, l4)) = parts::<INET, UDP>(frame) else {
                return false;
            };
            let fits = is_datagram(l4, seen.bytes - INET as u16);
            if fits {
                rewrite::<UDP, UDP_SUM>(head, l4, entry.way, exit.hops);
            }
            fits
        }
        (true, _) => {
            let Some((head, l4)) = parts::<INET, TCP>(frame) else {
                return false;
            };
            let fits = follows(l4, seen.bytes - INET as u16, entry);
            if fits {
                rewrite::<TCP, TCP_SUM>(head, l4, entry.way, exit.hops);
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
                head[21] -= exit.hops;
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
    hops: u8,
) {
    let Some(head) = head.first_chunk_mut::<{ ETHERNET + INET }>() else {
        return;
    };
    head[22] -= hops;
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
