//! A simulated port: queues for the packet code on one side, a plug for a test or a wire on the other.
//!
//! Behaves as a card does where it matters: bounded queues, loss when they are full, when the pool is dry,
//! when the frame is too long and when the link is down, each with its counter.

use core::fmt;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nic::{Burst, LinkState, PortId, PortInfo, RxMeta};

use crate::buf::{SimBuf, SimPool};
use crate::guard::on_card;
use crate::toeplitz;

/// Ethernet header and one 802.1Q tag: what a frame carries beside the IP packet, in bytes.
const FRAME_OVERHEAD: usize = 14 + 4;

/// Entries of the table by which cards map a hash to a queue.
const REDIRECTION_TABLE: u32 = 128;

/// A flow hash over a frame; none for frames without one.
pub type HashFunction = dyn Fn(&[u8]) -> Option<u32> + Send + Sync;

/// How arriving frames get a flow hash and a queue.
#[derive(Clone)]
pub enum Steering {
    /// As a card without RSS: no hash, everything to queue 0.
    None,
    /// As a card with the symmetric Toeplitz key: see [`toeplitz::hash_frame`].
    Toeplitz,
    /// By a function of the frame; no hash means queue 0.
    Custom(Arc<HashFunction>),
}

impl Steering {
    fn hash(&self, frame: &[u8]) -> Option<u32> {
        match self {
            Steering::None => None,
            Steering::Toeplitz => toeplitz::hash_frame(frame),
            Steering::Custom(function) => function(frame),
        }
    }
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Steering::None => "None",
            Steering::Toeplitz => "Toeplitz",
            Steering::Custom(_) => "Custom",
        })
    }
}

/// What a simulated port is to be like.
#[derive(Clone, Debug)]
pub struct SimPortConfig {
    /// The port's number.
    pub id: PortId,
    /// Station address.
    pub mac: [u8; 6],
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Receive queues, at least one.
    pub rx_queues: u16,
    /// Transmit queues, at least one.
    pub tx_queues: u16,
    /// Frames that a receive queue holds.
    pub rx_depth: usize,
    /// Frames that all transmit queues together hold until they are taken.
    pub tx_depth: usize,
    /// How arriving frames are spread.
    pub steering: Steering,
}

impl SimPortConfig {
    /// An ordinary port: one queue each way, 1024 frames deep, MTU 1500, locally administered address
    /// made from the number.
    pub fn new(id: u16) -> SimPortConfig {
        let [high, low] = id.to_be_bytes();
        SimPortConfig {
            id: PortId(id),
            mac: [0x02, 0x51, 0x4d, 0x00, high, low],
            mtu: 1500,
            rx_queues: 1,
            tx_queues: 1,
            rx_depth: 1024,
            tx_depth: 1024,
            steering: Steering::Toeplitz,
        }
    }
}

/// What a port counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SimStats {
    /// Frames handed to the packet code.
    pub rx_packets: u64,
    /// Frames lost because a receive queue was full.
    pub rx_missed: u64,
    /// Frames lost because the pool was dry.
    pub rx_no_buffer: u64,
    /// Frames lost because they were longer than the MTU allows or than a buffer.
    pub rx_oversize: u64,
    /// Frames lost on arrival because the link was down.
    pub rx_link_down: u64,
    /// Frames taken from the packet code.
    pub tx_packets: u64,
    /// Of these, frames lost because the link was down.
    pub tx_link_down: u64,
}

impl SimStats {
    /// Frames that arrived and were lost, for whatever reason.
    pub fn rx_lost(&self) -> u64 {
        self.rx_missed + self.rx_no_buffer + self.rx_oversize + self.rx_link_down
    }
}

/// The queues of a port, each once.
#[derive(Debug)]
pub struct SimQueues {
    /// Receive queues, by number.
    pub rx: Vec<SimRx>,
    /// Transmit queues, by number.
    pub tx: Vec<SimTx>,
}

/// The outside of a port: what a cable or a test does with it. Clones are the same port.
#[derive(Clone)]
pub struct SimPort(Arc<Shared>);

struct Shared {
    config: SimPortConfig,
    pool: SimPool,
    inside: Mutex<Inside>,
}

struct Inside {
    link: LinkState,
    arrived: Vec<VecDeque<Arrival>>,
    leaving: VecDeque<Vec<u8>>,
    stats: SimStats,
    mtu: u16,
    handed_out: bool,
}

/// A frame in a receive queue. It takes a buffer only when it is received, so that the pool's count shows
/// what the packet code holds.
struct Arrival {
    frame: Vec<u8>,
    meta: RxMeta,
}

impl Shared {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Each method leaves the queues whole at every step, so a panic elsewhere spoils nothing.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Link speed that simulated ports report.
const LINK_UP: LinkState = LinkState::Up {
    speed_mbps: 10_000,
    full_duplex: true,
};

impl SimPort {
    /// A port with its link up. Received frames take buffers from `pool`.
    pub fn new(config: SimPortConfig, pool: &SimPool) -> SimPort {
        let arrived = (0..config.rx_queues.max(1))
            .map(|_| VecDeque::new())
            .collect();
        let inside = Inside {
            link: LINK_UP,
            arrived,
            leaving: VecDeque::new(),
            stats: SimStats::default(),
            mtu: config.mtu,
            handed_out: false,
        };
        SimPort(Arc::new(Shared {
            config,
            pool: pool.clone(),
            inside: Mutex::new(inside),
        }))
    }

    /// The queues, the first time; none after.
    pub fn queues(&self) -> Option<SimQueues> {
        let queues = {
            let mut inside = self.0.inside();
            if core::mem::replace(&mut inside.handed_out, true) {
                return None;
            }
            inside.arrived.len()
        };
        let rx = (0..queues).map(|queue| SimRx {
            shared: Arc::clone(&self.0),
            queue,
            pool: self.0.pool.clone(),
        });
        let tx = (0..self.0.config.tx_queues.max(1)).map(|_| SimTx {
            shared: Arc::clone(&self.0),
        });
        Some(SimQueues {
            rx: rx.collect(),
            tx: tx.collect(),
        })
    }

    /// A frame arrives. True if a receive queue took it; else the reason is counted.
    pub fn inject(&self, frame: &[u8]) -> bool {
        self.inject_with(
            frame,
            RxMeta {
                rss_hash: self.0.config.steering.hash(frame),
                ..RxMeta::default()
            },
        )
    }

    /// As [`SimPort::inject`], with what the card is to say of the frame; the hash picks the queue.
    pub fn inject_with(&self, frame: &[u8], meta: RxMeta) -> bool {
        let inside = &mut *self.0.inside();
        let stats = &mut inside.stats;
        if !inside.link.is_up() {
            stats.rx_link_down += 1;
            return false;
        }
        let longest = (usize::from(inside.mtu) + FRAME_OVERHEAD).min(self.0.pool.room());
        if frame.len() > longest {
            stats.rx_oversize += 1;
            return false;
        }
        let entry = (meta.rss_hash.unwrap_or(0) % REDIRECTION_TABLE) as usize;
        let queues = inside.arrived.len();
        let queue = &mut inside.arrived[entry % queues];
        if queue.len() >= self.0.config.rx_depth {
            stats.rx_missed += 1;
            return false;
        }
        queue.push_back(Arrival {
            frame: frame.to_vec(),
            meta,
        });
        true
    }

    /// The next frame that the packet code sent.
    pub fn take(&self) -> Option<Vec<u8>> {
        self.0.inside().leaving.pop_front()
    }

    /// Plugs or pulls the cable. Pulling loses what was in the transmit queue.
    pub fn set_link(&self, up: bool) {
        let mut inside = self.0.inside();
        inside.link = if up { LINK_UP } else { LinkState::Down };
        if !up {
            inside.stats.tx_link_down += inside.leaving.len() as u64;
            inside.leaving.clear();
        }
    }

    /// The link as the driver would report it.
    pub fn link(&self) -> LinkState {
        self.0.inside().link
    }

    /// Changes the largest IP packet, in bytes.
    pub fn set_mtu(&self, mtu: u16) {
        self.0.inside().mtu = mtu;
    }

    /// What the port counted so far.
    pub fn stats(&self) -> SimStats {
        self.0.inside().stats
    }

    /// Frames that arrived and were not received yet.
    pub fn pending(&self) -> usize {
        self.0.inside().arrived.iter().map(VecDeque::len).sum()
    }

    /// What a driver would tell about the port.
    pub fn info(&self) -> PortInfo {
        let config = &self.0.config;
        let mut device = heapless::String::new();
        // "net_sim" and at most five digits always fit.
        let named = fmt::write(&mut device, format_args!("net_sim{}", config.id.0));
        debug_assert!(named.is_ok());
        PortInfo {
            id: config.id,
            device,
            driver: heapless::String::try_from("net_sim").unwrap_or_default(),
            mac: config.mac,
            mtu: self.0.inside().mtu,
            rx_queues_max: config.rx_queues.max(1),
            tx_queues_max: config.tx_queues.max(1),
        }
    }
}

impl fmt::Debug for SimPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimPort({}, {:?})", self.0.config.id.0, self.stats())
    }
}

/// A receive queue of a simulated port.
pub struct SimRx {
    shared: Arc<Shared>,
    queue: usize,
    pool: SimPool,
}

impl nic::RxQueue for SimRx {
    type Buf = SimBuf;

    fn receive_some(&mut self, burst: &mut Burst<SimBuf>, most: usize) -> usize {
        on_card(|| self.receive_on_card(burst, most))
    }
}

impl SimRx {
    fn receive_on_card(&mut self, burst: &mut Burst<SimBuf>, most: usize) -> usize {
        let before = burst.len();
        let inside = &mut *self.shared.inside();
        let queue = &mut inside.arrived[self.queue];
        while !burst.is_full()
            && burst.len() - before < most
            && let Some(Arrival { frame, meta }) = queue.pop_front()
        {
            // Its length was checked on arrival: only an empty pool can stand in the way.
            match self.pool.filled(&frame, meta) {
                // Room was checked by the loop.
                Some(buf) => drop(burst.push(buf)),
                None => inside.stats.rx_no_buffer += 1,
            }
        }
        let received = burst.len() - before;
        inside.stats.rx_packets += received as u64;
        received
    }
}

impl fmt::Debug for SimRx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimRx({}.{})", self.shared.config.id.0, self.queue)
    }
}

/// A transmit queue of a simulated port.
pub struct SimTx {
    shared: Arc<Shared>,
}

impl nic::TxQueue for SimTx {
    type Buf = SimBuf;

    fn transmit(&mut self, burst: &mut Burst<SimBuf>) -> usize {
        on_card(|| self.transmit_on_card(burst))
    }
}

impl SimTx {
    fn transmit_on_card(&mut self, burst: &mut Burst<SimBuf>) -> usize {
        use nic::PacketBuf as _;
        let inside = &mut *self.shared.inside();
        let room = self
            .shared
            .config
            .tx_depth
            .saturating_sub(inside.leaving.len());
        let count = room.min(burst.len());
        let up = inside.link.is_up();
        for buf in burst.drain(..count) {
            if up {
                inside.leaving.push_back(buf.bytes().to_vec());
            } else {
                inside.stats.tx_link_down += 1;
            }
        }
        inside.stats.tx_packets += count as u64;
        count
    }
}

impl fmt::Debug for SimTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimTx({})", self.shared.config.id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nic::{BufferPool, PacketBuf, RxQueue, TxQueue};

    fn port(change: impl FnOnce(&mut SimPortConfig)) -> (SimPort, SimQueues, SimPool) {
        let mut config = SimPortConfig::new(3);
        change(&mut config);
        let pool = SimPool::new(200);
        let port = SimPort::new(config, &pool);
        let queues = port.queues().unwrap();
        (port, queues, pool)
    }

    #[test]
    fn queues_are_handed_out_once() {
        let (port, queues, _pool) = port(|config| (config.rx_queues, config.tx_queues) = (3, 2));
        assert_eq!((queues.rx.len(), queues.tx.len()), (3, 2));
        assert!(port.queues().is_none());
        let info = port.info();
        assert_eq!(
            (info.device.as_str(), nic::bsd_name(&info.driver)),
            ("net_sim3", "sim")
        );
    }

    #[test]
    fn frames_go_through_in_order() {
        let (port, mut queues, pool) = port(|_| ());
        for fill in 0..100u8 {
            assert!(port.inject(&[fill; 60]));
        }
        let mut burst = Burst::new();
        assert_eq!(queues.rx[0].receive(&mut burst), 64);
        assert_eq!(queues.rx[0].receive(&mut burst), 0);
        assert_eq!((pool.in_use(), port.pending()), (64, 36));
        assert_eq!(queues.tx[0].transmit(&mut burst), 64);
        assert_eq!(queues.rx[0].receive(&mut burst), 36);
        assert_eq!(queues.tx[0].transmit(&mut burst), 36);
        for fill in 0..100 {
            assert_eq!(port.take().unwrap(), [fill; 60]);
        }
        assert_eq!((port.take(), pool.in_use()), (None, 0));
        let stats = port.stats();
        assert_eq!(
            (stats.rx_packets, stats.tx_packets, stats.rx_lost()),
            (100, 100, 0)
        );
    }

    #[test]
    fn what_does_not_fit_stays_with_the_sender() {
        let (port, mut queues, mut pool) = port(|config| config.tx_depth = 5);
        let mut burst = Burst::new();
        for fill in 0..8u8 {
            burst
                .push(pool.filled(&[fill], RxMeta::default()).unwrap())
                .unwrap();
        }
        assert_eq!(queues.tx[0].transmit(&mut burst), 5);
        let left: Vec<u8> = burst.iter().map(|buf| buf.bytes()[0]).collect();
        assert_eq!(left, [5, 6, 7]);
        assert_eq!(port.take().unwrap(), [0]);
        assert_eq!(queues.tx[0].transmit(&mut burst), 1);
    }

    #[test]
    fn every_lost_frame_has_a_counter() {
        let (port, mut queues, mut pool) = port(|config| config.rx_depth = 4);
        assert!(!port.inject(&[0; 1519]));
        assert!(port.inject(&[0; 1518]));
        for taken in [true, true, true, false] {
            assert_eq!(port.inject(&[0; 60]), taken);
        }
        let held: Vec<SimBuf> = (0..198).map(|_| pool.allocate().unwrap()).collect();
        let mut burst = Burst::new();
        assert_eq!(queues.rx[0].receive(&mut burst), 2);
        drop(held);
        port.set_link(false);
        assert!(!port.link().is_up());
        assert!(!port.inject(&[0; 60]));
        assert_eq!(queues.tx[0].transmit(&mut burst), 2);
        assert_eq!(port.take(), None);
        let expected = SimStats {
            rx_packets: 2,
            rx_missed: 1,
            rx_no_buffer: 2,
            rx_oversize: 1,
            rx_link_down: 1,
            tx_packets: 2,
            tx_link_down: 2,
        };
        assert_eq!(port.stats(), expected);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn the_hash_picks_the_queue_and_is_reported() {
        let by_first_byte = |frame: &[u8]| frame.first().map(|&byte| u32::from(byte));
        let (port, mut queues, _pool) = port(|config| {
            config.rx_queues = 3;
            config.steering = Steering::Custom(Arc::new(by_first_byte));
        });
        for byte in 0..6 {
            port.inject(&[byte; 60]);
        }
        for (queue, rx) in queues.rx.iter_mut().enumerate() {
            let mut burst = Burst::new();
            rx.receive(&mut burst);
            let hashes: Vec<u32> = burst
                .iter()
                .map(|buf| buf.rx_meta().rss_hash.unwrap())
                .collect();
            assert_eq!(hashes, [queue as u32, queue as u32 + 3]);
        }
    }
}
