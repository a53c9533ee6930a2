//! "The local host" behind the dataplane: smoltcp in IP mode. Packets to an address of the box come in by
//! [`LocalHost::deliver`], what the host sends is fetched with [`LocalHost::next_packet`] and enters the dataplane
//! as locally originated, so PF decides about both (DESIGN D7). Answers pings, refuses closed ports as a host does,
//! listens on one TCP port, and sends the echo requests of `ping`.
//!
//! May not know what is said over its connections. Owner: the control core.
//!
//! A listening smoltcp socket becomes the connection, so there is a pool of them, and whoever can occupy the pool
//! locks everybody out. Three rules keep it open: half-open and half-closed connections end after a few seconds;
//! connections that arrive when most of the pool is half-open get a SYN cookie and no memory (see `syn.rs`);
//! and when no listener is left, the least deserving connection makes room (see [`LocalHost::set_rank`]).
//!
//! Read first: RFC 9293 section 3.3.2 (states), RFC 4987 (SYN floods), RFC 1122 section 3.2.2.6 (echo).

mod echo;
mod pool;
mod traffic;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::HardwareAddress;

use crate::device::{Queues, RX_QUEUE_MAX};
use crate::peek::{may_be_source, peek};
use crate::ping::PingHandle;
use crate::syn::Cookies;

/// Local addresses remembered. `hostname.IF` files with more aliases than this are not seen in practice.
pub const ADDRESSES_MAX: usize = 4096;
/// Packets given to smoltcp in one poll, so that a flood does not keep the control core from its other work.
const INGRESS_PER_POLL_MAX: usize = 256;
/// A peer that does not acknowledge is given up after this.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

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
    /// In the middle of an upload, or of an answer to somebody who has proven a right to be here.
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

fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}
