//! "The local host" behind the dataplane: smoltcp in IP mode. Packets to an address of the box come in by
//! [`LocalHost::deliver`], what the host sends is fetched with [`LocalHost::next_packet`] and enters the dataplane
//! as locally originated, so PF decides about both (DESIGN D7). Answers pings, refuses closed ports as a host does,
//! listens on one TCP port, and sends the echo requests of `ping`.
//!
//! May not know what is said over its connections. Owner: the control core.
//!
//! A listening smoltcp socket becomes the connection, so there is a pool of them, and whoever can occupy the pool
//! locks everybody out. Three rules keep it open: half-open and half-closed connections end after a few seconds;
//! connections that arrive when most of the pool is half-open get a SYN cookie and no memory (see [`crate::syn`]);
//! and when no listener is left, the least deserving connection makes room (see [`LocalHost::set_rank`]).
//!
//! Read first: RFC 9293 section 3.3.2 (states), RFC 4987 (SYN floods), RFC 1122 section 3.2.2.6 (echo).

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{
    HardwareAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, IpRepr,
    Ipv4Packet, Ipv6Packet,
};

use crate::device::{Queues, RX_QUEUE_MAX};
use crate::peek::{Peek, may_be_source, peek};
use crate::ping::{PingHandle, Reply, Request};
use crate::syn::{self, Cookies, Ends, Move};

/// Local addresses remembered. `hostname.IF` files with more aliases than this are not seen in practice.
pub const ADDRESSES_MAX: usize = 4096;
/// Packets given to smoltcp in one poll, so that a flood does not keep the control core from its other work.
const INGRESS_PER_POLL_MAX: usize = 256;
/// Rounds of smoltcp's egress in one poll; each lets every socket send one segment.
const EGRESS_ROUNDS_MAX: usize = 64;
/// A peer that does not acknowledge is given up after this.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
/// Data in an echo request, as OpenBSD's ping sends.
const PING_DATA_LEN: usize = 56;

/// What can be set about the local host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostConfig {
    /// TCP port of the management API.
    pub port: u16,
    /// Largest IP packet in bytes.
    pub mtu: usize,
    /// Connections at once, half-open ones included.
    pub connections: usize,
    /// Receive buffer of a connection in bytes: the largest window.
    pub receive_buffer: usize,
    /// Send buffer of a connection in bytes.
    pub send_buffer: usize,
    /// A connection must be established after this.
    pub half_open: Duration,
    /// A connection that we have closed must be closed by the peer after this.
    pub closing: Duration,
}

impl Default for HostConfig {
    /// Port 80; 24 connections of 64 + 64 KiB, 3 MiB in all.
    fn default() -> Self {
        HostConfig {
            port: 80,
            mtu: 1500,
            connections: 24,
            receive_buffer: 64 * 1024,
            send_buffer: 64 * 1024,
            half_open: Duration::from_secs(5),
            closing: Duration::from_secs(5),
        }
    }
}

/// What happened to packets and connections, since start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HostCounters {
    /// Packets delivered by the dataplane.
    pub packets_in: u64,
    /// Packets handed to the dataplane.
    pub packets_out: u64,
    /// Delivered, but the queue was full.
    pub dropped_queue_full: u64,
    /// Delivered, but no sound IP packet or from an address that must not be a source.
    pub dropped_malformed: u64,
    /// Delivered, but to an address that is not ours.
    pub dropped_not_local: u64,
    /// SYNs answered with a cookie.
    pub cookies_sent: u64,
    /// Connections that began with a cookie.
    pub cookies_valid: u64,
    /// Connections established.
    pub accepted: u64,
    /// Half-open connections ended because they took too long or another needed the room.
    pub half_open_ended: u64,
    /// Established connections ended because another needed the room.
    pub evicted: u64,
}

/// How much a connection deserves to stay when another needs the room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rank {
    /// Has not said anything useful yet, or idles between requests.
    Expendable,
    /// Proven to belong to somebody with a right to be here, or in the middle of an answer.
    Keep,
}

/// Where a connection of the pool is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Waits for a peer.
    Listening,
    /// SYN seen, handshake not complete.
    HalfOpen,
    /// Data may flow at least one way.
    Open,
    /// We have closed our side.
    Closing,
}

/// One place in the pool.
struct Slot {
    handle: SocketHandle,
    phase: Phase,
    since: Duration,
    /// Changes each time the place is taken by another connection.
    serial: u64,
    rank: Rank,
    /// For a connection that began with a cookie: what to add to smoltcp's sequence numbers.
    offset: Option<u32>,
}

/// The host. Time is given as a duration since any fixed moment, such as the start of the program.
pub struct LocalHost {
    config: HostConfig,
    queues: Queues,
    iface: Interface,
    sockets: SocketSet<'static>,
    slots: Vec<Slot>,
    addresses: Vec<(IpAddr, u8)>,
    is_local: HashSet<IpAddr>,
    ping: PingHandle,
    cookies: Cookies,
    /// Packets at the head of the way out whose sequence numbers were seen to.
    renumbered: usize,
    now: Duration,
    counters: HostCounters,
}

impl LocalHost {
    /// A host without addresses. `seed` makes initial sequence numbers unpredictable: take it from the machine's
    /// random source.
    pub fn new(config: HostConfig, seed: u64) -> Self {
        let mut queues = Queues::new(config.mtu);
        let mut iface_config = Config::new(HardwareAddress::Ip);
        iface_config.random_seed = seed;
        let mut iface = Interface::new(iface_config, &mut queues, Instant::ZERO);
        // Which addresses are ours is checked in `deliver`, for any number of them.
        iface.set_any_ip(true);
        let mut host = LocalHost {
            queues,
            iface,
            sockets: SocketSet::new(Vec::new()),
            slots: Vec::new(),
            addresses: Vec::new(),
            is_local: HashSet::new(),
            ping: PingHandle::new(seed as u16 ^ (seed >> 32) as u16),
            cookies: Cookies::new(seed.rotate_left(17) ^ 0x9e37_79b9_7f4a_7c15),
            renumbered: 0,
            now: Duration::ZERO,
            counters: HostCounters::default(),
            config,
        };
        for i in 0..config.connections {
            let handle = host.sockets.add(host.new_socket());
            host.slots.push(Slot {
                handle,
                phase: Phase::Listening,
                since: Duration::ZERO,
                serial: i as u64,
                rank: Rank::Expendable,
                offset: None,
            });
            host.listen(i);
        }
        host
    }

    fn new_socket(&self) -> tcp::Socket<'static> {
        let mut socket = tcp::Socket::new(
            tcp::SocketBuffer::new(vec![0; self.config.receive_buffer]),
            tcp::SocketBuffer::new(vec![0; self.config.send_buffer]),
        );
        socket.set_timeout(Some(UNACKNOWLEDGED_MAX.into()));
        socket.set_congestion_control(tcp::CongestionControl::Reno);
        // Answers are written whole; waiting for more would only delay their last segment.
        socket.set_nagle_enabled(false);
        socket
    }

    /// Sets the addresses of the box, with prefix lengths. Connections to an address that is gone end without a word.
    /// Addresses beyond [`ADDRESSES_MAX`] are ignored and logged.
    pub fn set_addresses(&mut self, addresses: &[(IpAddr, u8)]) {
        if addresses.len() > ADDRESSES_MAX {
            log::warn!(
                "management: {} local addresses, only the first {ADDRESSES_MAX} are served",
                addresses.len()
            );
        }
        self.addresses = addresses.iter().take(ADDRESSES_MAX).copied().collect();
        self.is_local = self.addresses.iter().map(|(addr, _)| *addr).collect();
        let has = |v4| self.is_local.iter().any(|a| a.is_ipv4() == v4);
        self.ping.set_families(has(true), has(false));
        for i in 0..self.slots.len() {
            let local = self
                .socket(i)
                .local_endpoint()
                .map(|e| IpAddr::from(e.addr));
            if local.is_some_and(|addr| !self.is_local.contains(&addr)) {
                self.listen(i);
            }
        }
    }

    /// The addresses set last.
    pub fn addresses(&self) -> &[(IpAddr, u8)] {
        &self.addresses
    }

    /// Sets the port of the API. Connections that exist go on.
    pub fn set_port(&mut self, port: u16) {
        self.config.port = port;
        for i in 0..self.slots.len() {
            if self.slots[i].phase == Phase::Listening {
                self.listen(i);
            }
        }
    }

    /// Takes one IP packet that the dataplane found to be for this box. It is looked at in the next [`LocalHost::poll`].
    pub fn deliver(&mut self, packet: &[u8]) {
        self.counters.packets_in += 1;
        let Some(seen) = peek(packet) else {
            self.counters.dropped_malformed += 1;
            return;
        };
        if !may_be_source(seen.src) || packet.len() > usize::from(u16::MAX) {
            self.counters.dropped_malformed += 1;
        } else if !self.is_local.contains(&seen.dst) {
            self.counters.dropped_not_local += 1;
        } else if self.queues.rx.len() >= RX_QUEUE_MAX {
            self.counters.dropped_queue_full += 1;
        } else {
            self.queues.rx.push_back(packet.to_vec());
        }
    }

    /// The next packet for the dataplane.
    pub fn next_packet(&mut self) -> Option<Vec<u8>> {
        let packet = self.queues.tx.pop_front()?;
        self.renumbered = self.renumbered.saturating_sub(1);
        self.counters.packets_out += 1;
        Some(packet)
    }

    /// Does what is to be done: takes delivered packets in, lets timers fire, produces packets. Bounded work.
    pub fn poll(&mut self, now: Duration) {
        self.now = now;
        self.iface.poll_maintenance(instant(now));
        for _ in 0..INGRESS_PER_POLL_MAX {
            if !self.take_one_in() {
                break;
            }
        }
        self.send_pings();
        self.send_segments();
        self.tend_slots();
    }

    /// When [`LocalHost::poll`] should be called again if no packet is delivered before.
    pub fn poll_at(&mut self, now: Duration) -> Option<Duration> {
        if !self.queues.rx.is_empty() {
            return Some(now);
        }
        let stack = self.iface.poll_at(instant(now), &self.sockets);
        let stack = stack.map(|at| Duration::from_micros(at.total_micros().max(0) as u64));
        let slots = self
            .slots
            .iter()
            .filter_map(|s| Some(s.since + self.phase_limit(s.phase)?));
        slots.chain(stack).chain(self.ping.poll_at()).min()
    }

    /// What happened so far.
    pub fn counters(&self) -> HostCounters {
        self.counters
    }

    /// For the control core's `ping`.
    pub fn pinger(&self) -> PingHandle {
        self.ping.clone()
    }
}

/// What is done with a packet before smoltcp sees it.
enum Step {
    /// Smoltcp shall have it.
    Give,
    /// It was seen to, or is not wanted.
    Done,
}

/// Packets in and out.
impl LocalHost {
    /// Takes one delivered packet; false if there is none or no room for answers.
    fn take_one_in(&mut self) -> bool {
        if self.queues.is_full() {
            return false;
        }
        let Some(packet) = self.queues.rx.pop_front() else {
            return false;
        };
        // Delivered packets were sound when they were queued.
        let Some(seen) = peek(&packet) else {
            return true;
        };
        let step = match syn::ends_of(&seen) {
            Some(ends) if ends.local.1 == self.config.port => self.on_segment(&seen, ends),
            _ => self.on_other(&seen),
        };
        if let Step::Give = step {
            self.give(packet);
        }
        true
    }

    /// Everything but TCP to our port: answers to our pings are kept, the rest is smoltcp's.
    fn on_other(&mut self, seen: &Peek<'_>) -> Step {
        match echo_reply(seen) {
            Some(reply) if self.ping.answered(reply, self.now) => Step::Done,
            _ => Step::Give,
        }
    }

    fn on_segment(&mut self, seen: &Peek<'_>, ends: Ends) -> Step {
        let place = self.place_of(&ends);
        match (place, opens_connection(seen)) {
            // A second SYN: smoltcp repeats its answer by its own clock. Given to it, another listener would take it.
            (Some(i), true) if self.slots[i].phase != Phase::Closing => Step::Done,
            (Some(i), true) => {
                self.listen(i);
                self.on_syn(seen)
            }
            (None, true) => self.on_syn(seen),
            (Some(_), false) => Step::Give,
            (None, false) => {
                self.on_stray(seen, ends);
                Step::Give
            }
        }
    }

    /// A new connection: a place while there are plenty, a cookie while most of them are half-open.
    fn on_syn(&mut self, seen: &Peek<'_>) -> Step {
        let half_open = self
            .slots
            .iter()
            .filter(|s| s.phase == Phase::HalfOpen)
            .count();
        if half_open < self.slots.len() / 2 {
            self.ensure_listener();
            return Step::Give;
        }
        if let Some(opening) = syn::opening_of(seen) {
            let cookie = self.cookies.make(&opening, self.now);
            let window = self.config.receive_buffer.min(usize::from(u16::MAX)) as u16;
            let answer = syn::syn_ack(&opening, cookie, window, self.config.mtu);
            self.counters.cookies_sent += u64::from(self.queues.push_tx(answer));
        }
        Step::Done
    }

    /// A segment of no connection we know. If it proves that its SYN got a cookie, smoltcp is shown that SYN, and the
    /// segment then belongs to a connection.
    fn on_stray(&mut self, seen: &Peek<'_>, ends: Ends) {
        let Some((seq, ack)) = syn::proof_of(seen) else {
            return;
        };
        let Some(opening) = self.cookies.check(ends, seq, ack, self.now) else {
            return;
        };
        self.ensure_listener();
        self.give(syn::syn(&opening));
        let first_new = self.queues.tx.len();
        self.egress();
        let Some(i) = self.place_of(&ends) else {
            return;
        };
        if let Some(isn) = self.take_syn_ack(first_new, &ends) {
            let cookie = ack.wrapping_sub(1);
            self.slots[i].offset = Some(cookie.wrapping_sub(isn));
            self.counters.cookies_valid += 1;
        } else {
            // No room for smoltcp's answer just now: the peer will repeat itself.
            self.listen(i);
        }
    }

    /// Takes smoltcp's SYN and ACK out of the way out, because the peer has had its answer, and tells its number.
    fn take_syn_ack(&mut self, from: usize, ends: &Ends) -> Option<u32> {
        let is_it = |packet: &Vec<u8>| -> Option<u32> {
            let seen = peek(packet)?;
            let tcp = seen.tcp()?;
            let matches = tcp.syn() && (seen.dst, tcp.dst_port()) == ends.remote;
            matches.then(|| tcp.seq_number().0 as u32)
        };
        let new = self.queues.tx.iter().enumerate().skip(from);
        let (at, isn) = new.filter_map(|(at, p)| Some((at, is_it(p)?))).next()?;
        self.queues.tx.remove(at);
        self.renumbered = self.renumbered.saturating_sub(1);
        Some(isn)
    }

    /// Gives smoltcp one packet.
    fn give(&mut self, mut packet: Vec<u8>) {
        if let Some((ends, offset)) = self.offset_of(&packet) {
            renumber_in(&mut packet, ends, offset);
        }
        self.queues.rx.push_front(packet);
        self.iface
            .poll_ingress_single(instant(self.now), &mut self.queues, &mut self.sockets);
        self.renumber_out();
        self.note_phases();
    }

    fn egress(&mut self) -> bool {
        let result = self
            .iface
            .poll_egress(instant(self.now), &mut self.queues, &mut self.sockets);
        self.renumber_out();
        result != smoltcp::iface::PollResult::None
    }

    fn send_segments(&mut self) {
        for _ in 0..EGRESS_ROUNDS_MAX {
            if !self.egress() {
                break;
            }
        }
    }

    /// The offset of the connection a packet for smoltcp belongs to.
    fn offset_of(&mut self, packet: &[u8]) -> Option<(Ends, u32)> {
        if self.slots.iter().all(|s| s.offset.is_none()) {
            return None;
        }
        let ends = syn::ends_of(&peek(packet)?)?;
        let i = self.place_of(&ends)?;
        Some((ends, self.slots[i].offset?))
    }

    /// Sees to the sequence numbers of what smoltcp has sent since the last time.
    fn renumber_out(&mut self) {
        if self.slots.iter().any(|s| s.offset.is_some()) {
            for at in self.renumbered..self.queues.tx.len() {
                self.renumber_out_at(at);
            }
        }
        self.renumbered = self.queues.tx.len();
    }

    fn renumber_out_at(&mut self, at: usize) {
        let Some(ends) = self.queues.tx.get(at).and_then(|p| {
            let sent = syn::ends_of(&peek(p)?)?;
            Some(Ends {
                remote: sent.local,
                local: sent.remote,
            })
        }) else {
            return;
        };
        let offset = self.place_of(&ends).and_then(|i| self.slots[i].offset);
        if let (Some(offset), Some(packet)) = (offset, self.queues.tx.get_mut(at)) {
            syn::renumber(packet, (ends.local.0, ends.remote.0), Move::Seq, offset);
        }
    }

    fn send_pings(&mut self) {
        let Some(request) = self.ping.due(self.now) else {
            return;
        };
        // No address of the family: nothing is sent and the request times out.
        if let Some(source) = self.source_for(request.to)
            && let Some(packet) = echo_request(source, request)
        {
            self.queues.push_tx(packet);
        }
    }

    /// Our address to talk to `to` from: the one whose network holds it (longest prefix first), else the first of the
    /// family that is not link-local.
    fn source_for(&self, to: IpAddr) -> Option<IpAddr> {
        let family = || {
            self.addresses
                .iter()
                .filter(|(a, _)| a.is_ipv4() == to.is_ipv4())
        };
        let near = family()
            .filter(|(a, len)| in_network(to, *a, *len))
            .max_by_key(|(_, len)| *len);
        let far =
            || family().find(|(a, _)| !matches!(a, IpAddr::V6(a) if a.is_unicast_link_local()));
        near.or_else(far).map(|(a, _)| *a)
    }
}

/// The pool.
impl LocalHost {
    fn socket(&mut self, i: usize) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.slots[i].handle)
    }

    /// The place of the connection between `ends`.
    fn place_of(&mut self, ends: &Ends) -> Option<usize> {
        (0..self.slots.len()).find(|i| {
            let socket = self.socket(*i);
            let is = |end: Option<smoltcp::wire::IpEndpoint>, (addr, port): (IpAddr, u16)| {
                end.is_some_and(|e| IpAddr::from(e.addr) == addr && e.port == port)
            };
            is(socket.remote_endpoint(), ends.remote) && is(socket.local_endpoint(), ends.local)
        })
    }

    fn ensure_listener(&mut self) {
        if !self.slots.iter().any(|s| s.phase == Phase::Listening) {
            self.make_room();
        }
    }

    /// Makes a place wait for the next peer; what was there is forgotten, without a packet.
    fn listen(&mut self, i: usize) {
        let port = self.config.port;
        let socket = self.socket(i);
        socket.abort();
        // Fails for port 0 only, and then nobody can connect, which is what port 0 means.
        if socket.listen(port).is_err() {
            log::debug!("management: port {port} cannot be listened on");
        }
        let now = self.now;
        let slot = &mut self.slots[i];
        slot.serial += self.config.connections as u64;
        slot.rank = Rank::Expendable;
        slot.offset = None;
        slot.phase = Phase::Listening;
        slot.since = now;
    }

    /// Follows the sockets' states.
    fn note_phases(&mut self) {
        for i in 0..self.slots.len() {
            let phase = match self.socket(i).state() {
                tcp::State::Listen => Phase::Listening,
                tcp::State::SynReceived | tcp::State::SynSent => Phase::HalfOpen,
                tcp::State::Established | tcp::State::CloseWait => Phase::Open,
                _ => Phase::Closing,
            };
            let slot = &mut self.slots[i];
            if slot.phase != phase {
                self.counters.accepted += u64::from(phase == Phase::Open);
                slot.phase = phase;
                slot.since = self.now;
            }
        }
    }

    /// Ends what took too long and reuses what is over.
    fn tend_slots(&mut self) {
        self.note_phases();
        for i in 0..self.slots.len() {
            let late = self
                .phase_limit(self.slots[i].phase)
                .is_some_and(|limit| self.now >= self.slots[i].since + limit);
            let over = {
                let socket = self.socket(i);
                socket.state() == tcp::State::Closed && socket.remote_endpoint().is_none()
            };
            if late && self.slots[i].phase == Phase::HalfOpen {
                self.counters.half_open_ended += 1;
            }
            if late || over {
                self.listen(i);
            }
        }
    }

    fn phase_limit(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::HalfOpen => Some(self.config.half_open),
            Phase::Closing => Some(self.config.closing),
            Phase::Listening | Phase::Open => None,
        }
    }

    /// Ends the least deserving connection: one that is closing, else the oldest half-open, else the oldest expendable
    /// one of the peer that holds the most. If all the rest are to be kept, the newcomer is refused.
    fn make_room(&mut self) {
        let oldest = |phase| {
            let slots = self.slots.iter().enumerate();
            slots
                .filter(|(_, s)| s.phase == phase)
                .min_by_key(|(_, s)| s.since)
                .map(|(i, _)| i)
        };
        if let Some(i) = oldest(Phase::Closing) {
            self.listen(i);
        } else if let Some(i) = oldest(Phase::HalfOpen) {
            self.counters.half_open_ended += 1;
            self.listen(i);
        } else if let Some(i) = self.most_expendable() {
            self.counters.evicted += 1;
            self.socket(i).abort();
            // Sends the reset, so that the peer knows.
            self.egress();
            self.listen(i);
        }
    }

    fn most_expendable(&mut self) -> Option<usize> {
        let peers: Vec<Option<IpAddr>> = (0..self.slots.len())
            .map(|i| self.remote(i).map(|r| r.0))
            .collect();
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for peer in peers.iter().flatten() {
            *held.entry(*peer).or_default() += 1;
        }
        let holds = |i: usize| {
            peers[i]
                .and_then(|peer| held.get(&peer).copied())
                .unwrap_or(0)
        };
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, s)| s.phase == Phase::Open && s.rank == Rank::Expendable)
            .max_by_key(|(i, s)| (holds(*i), std::cmp::Reverse(s.since)))
            .map(|(i, _)| i)
    }
}

/// What the server does with the places of the pool, by index below [`LocalHost::places`].
impl LocalHost {
    /// Number of places.
    pub fn places(&self) -> usize {
        self.slots.len()
    }

    /// Where the connection at place `i` is in its life.
    pub fn phase(&self, i: usize) -> Phase {
        self.slots[i].phase
    }

    /// Tells one connection at place `i` from the next.
    pub fn serial(&self, i: usize) -> u64 {
        self.slots[i].serial
    }

    /// The peer's address and port.
    pub fn remote(&mut self, i: usize) -> Option<(IpAddr, u16)> {
        let end = self.socket(i).remote_endpoint()?;
        Some((end.addr.into(), end.port))
    }

    /// How much the connection deserves to stay.
    pub fn set_rank(&mut self, i: usize, rank: Rank) {
        self.slots[i].rank = rank;
    }

    /// Offers received bytes to `take`, which says how many it took. False if there were none.
    pub fn receive(&mut self, i: usize, take: impl FnOnce(&[u8]) -> usize) -> bool {
        let socket = self.socket(i);
        if !socket.can_recv() {
            return false;
        }
        // Cannot fail after `can_recv`.
        socket
            .recv(|bytes| {
                let n = take(bytes).min(bytes.len());
                (n, n > 0)
            })
            .unwrap_or(false)
    }

    /// Sends what fits and returns its length.
    pub fn send(&mut self, i: usize, bytes: &[u8]) -> usize {
        self.socket(i).send_slice(bytes).unwrap_or(0)
    }

    /// True if the peer will send nothing more and everything it sent was taken.
    pub fn peer_is_done(&mut self, i: usize) -> bool {
        let socket = self.socket(i);
        !socket.may_recv()
    }

    /// True while bytes wait to be sent or acknowledged.
    pub fn has_unsent(&mut self, i: usize) -> bool {
        self.socket(i).send_queue() > 0
    }

    /// Ends our side after what was sent.
    pub fn close(&mut self, i: usize) {
        self.socket(i).close();
        self.note_phases();
    }

    /// Ends the connection with a reset.
    pub fn abort(&mut self, i: usize) {
        self.socket(i).abort();
        self.note_phases();
    }
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// True if the packet asks for a new connection.
fn opens_connection(seen: &Peek<'_>) -> bool {
    seen.tcp().is_some_and(|t| t.syn() && !t.ack() && !t.rst())
}

fn renumber_in(packet: &mut [u8], ends: Ends, offset: u32) {
    let addrs = (ends.remote.0, ends.local.0);
    syn::renumber(packet, addrs, Move::Ack, offset.wrapping_neg());
}

fn in_network(addr: IpAddr, network: IpAddr, prefix_len: u8) -> bool {
    let len = u32::from(prefix_len);
    match (addr, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            (a.to_bits() ^ n.to_bits()).leading_zeros() >= len.min(32)
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            (a.to_bits() ^ n.to_bits()).leading_zeros() >= len.min(128)
        }
        _ => false,
    }
}

/// An echo request as a whole IP packet; `None` if the families differ.
fn echo_request(source: IpAddr, request: Request) -> Option<Vec<u8>> {
    let data: Vec<u8> = (0..PING_DATA_LEN as u8).collect();
    let caps = ChecksumCapabilities::default();
    let (ident, seq_no, data) = (request.ident, request.seq, &data[..]);
    match (source, request.to) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let icmp = Icmpv4Repr::EchoRequest {
                ident,
                seq_no,
                data,
            };
            let ip = IpRepr::new(
                src.into(),
                dst.into(),
                IpProtocol::Icmp,
                icmp.buffer_len(),
                255,
            );
            let mut packet = vec![0; ip.buffer_len()];
            ip.emit(&mut packet, &caps);
            let header = Ipv4Packet::new_unchecked(&packet[..]).header_len();
            icmp.emit(
                &mut Icmpv4Packet::new_unchecked(&mut packet[usize::from(header)..]),
                &caps,
            );
            Some(packet)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let icmp = Icmpv6Repr::EchoRequest {
                ident,
                seq_no,
                data,
            };
            let ip = IpRepr::new(
                src.into(),
                dst.into(),
                IpProtocol::Icmpv6,
                icmp.buffer_len(),
                255,
            );
            let mut packet = vec![0; ip.buffer_len()];
            ip.emit(&mut packet, &caps);
            let header = Ipv6Packet::new_unchecked(&packet[..]).header_len();
            let mut body = Icmpv6Packet::new_unchecked(&mut packet[header..]);
            icmp.emit(&src, &dst, &mut body, &caps);
            Some(packet)
        }
        _ => None,
    }
}

/// The echo reply in a packet, if it is one with a right checksum.
fn echo_reply(seen: &Peek<'_>) -> Option<Reply> {
    let caps = ChecksumCapabilities::default();
    let (ident, seq) = match (seen.protocol, seen.src, seen.dst) {
        (IpProtocol::Icmp, ..) if !seen.fragment => {
            let packet = Icmpv4Packet::new_checked(seen.payload).ok()?;
            match Icmpv4Repr::parse(&packet, &caps).ok()? {
                Icmpv4Repr::EchoReply { ident, seq_no, .. } => (ident, seq_no),
                _ => return None,
            }
        }
        (IpProtocol::Icmpv6, IpAddr::V6(src), IpAddr::V6(dst)) => {
            let packet = Icmpv6Packet::new_checked(seen.payload).ok()?;
            match Icmpv6Repr::parse(&src, &dst, &packet, &caps).ok()? {
                Icmpv6Repr::EchoReply { ident, seq_no, .. } => (ident, seq_no),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Reply {
        from: seen.src,
        ident,
        seq,
        bytes: seen.payload.len(),
        ttl: seen.ttl,
    })
}
