//! Wires between simulated ports: delay, loss, reordering, duplication, link flaps.
//!
//! A wire moves frames when told the time, and never otherwise. Time is microseconds since whatever the
//! caller likes. The same seed, configuration and calls give the same outcome.

use std::collections::BTreeMap;

use crate::buf::SimPool;
use crate::port::{SimPort, SimPortConfig};
use crate::rng::Rng;

/// The cable of a wire is plugged or pulled at both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flap {
    /// When, in microseconds.
    pub at_us: u64,
    /// Plugged, or pulled.
    pub up: bool,
}

/// What a wire does to frames, in each direction alike. The default is a perfect wire.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct WireConfig {
    /// Probability that a frame is lost.
    pub loss: f64,
    /// Probability that a frame is held back by `reorder_us`, so that later ones overtake it.
    pub reorder: f64,
    /// Probability that a frame arrives twice.
    pub duplicate: f64,
    /// How long each frame travels, in microseconds.
    pub latency_us: u64,
    /// How much longer a frame travels that is held back, in microseconds.
    pub reorder_us: u64,
    /// Seed of chance.
    pub seed: u64,
    /// When the link goes down and up, in order of time.
    pub flaps: Vec<Flap>,
}

/// What a wire did to frames so far, both directions together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WireStats {
    /// Frames handed to the port at the other end (which may still have lost them).
    pub delivered: u64,
    /// Frames lost by chance.
    pub lost: u64,
    /// Extra copies made.
    pub duplicated: u64,
    /// Frames held back.
    pub held_back: u64,
    /// Frames that were on their way when the link went down.
    pub cut_off: u64,
}

/// A cable between two ports.
#[derive(Debug)]
pub struct Wire {
    config: WireConfig,
    lanes: [Lane; 2],
    next_flap: usize,
    stats: WireStats,
}

impl Wire {
    /// Connects two ports.
    pub fn new(a: &SimPort, b: &SimPort, config: WireConfig) -> Wire {
        let lane = |from: &SimPort, to: &SimPort, salt| Lane {
            from: from.clone(),
            to: to.clone(),
            rng: Rng::new(config.seed ^ salt),
            under_way: BTreeMap::new(),
            number: 0,
        };
        let lanes = [lane(a, b, 0), lane(b, a, 1 << 63)];
        Wire {
            config,
            lanes,
            next_flap: 0,
            stats: WireStats::default(),
        }
    }

    /// Takes what both ends sent, and delivers what is due at `now_us`; says how many were delivered.
    pub fn carry(&mut self, now_us: u64) -> usize {
        self.flap(now_us);
        let mut delivered = 0;
        for lane in &mut self.lanes {
            lane.accept(now_us, &self.config, &mut self.stats);
            delivered += lane.deliver(now_us);
        }
        self.stats.delivered += delivered as u64;
        delivered
    }

    /// When something is due next without anybody sending, in microseconds.
    pub fn next_due(&self) -> Option<u64> {
        let flap = self.config.flaps.get(self.next_flap).map(|flap| flap.at_us);
        self.lanes
            .iter()
            .filter_map(Lane::next_due)
            .chain(flap)
            .min()
    }

    /// What the wire did so far.
    pub fn stats(&self) -> WireStats {
        self.stats
    }

    fn flap(&mut self, now_us: u64) {
        while let Some(flap) = self.config.flaps.get(self.next_flap)
            && flap.at_us <= now_us
        {
            self.next_flap += 1;
            for lane in &mut self.lanes {
                lane.from.set_link(flap.up);
                if !flap.up {
                    self.stats.cut_off += lane.under_way.len() as u64;
                    lane.under_way.clear();
                }
            }
        }
    }
}

/// One direction.
#[derive(Debug)]
struct Lane {
    from: SimPort,
    to: SimPort,
    rng: Rng,
    /// By arrival time and order of sending.
    under_way: BTreeMap<(u64, u64), Vec<u8>>,
    number: u64,
}

impl Lane {
    fn accept(&mut self, now_us: u64, config: &WireConfig, stats: &mut WireStats) {
        while let Some(frame) = self.from.take() {
            if self.rng.chance(config.loss) {
                stats.lost += 1;
                continue;
            }
            if self.rng.chance(config.duplicate) {
                stats.duplicated += 1;
                self.send(now_us, frame.clone(), config, stats);
            }
            self.send(now_us, frame, config, stats);
        }
    }

    fn send(&mut self, now_us: u64, frame: Vec<u8>, config: &WireConfig, stats: &mut WireStats) {
        let mut due = now_us.saturating_add(config.latency_us);
        if self.rng.chance(config.reorder) {
            stats.held_back += 1;
            due = due.saturating_add(config.reorder_us);
        }
        self.number += 1;
        self.under_way.insert((due, self.number), frame);
    }

    fn deliver(&mut self, now_us: u64) -> usize {
        let mut delivered = 0;
        while let Some(entry) = self.under_way.first_entry()
            && entry.key().0 <= now_us
        {
            // Whether the port has room is the port's to count.
            self.to.inject(&entry.remove());
            delivered += 1;
        }
        delivered
    }

    fn next_due(&self) -> Option<u64> {
        self.under_way.keys().next().map(|&(due, _)| due)
    }
}

/// Ports that share a pool, and wires between them.
#[derive(Debug)]
pub struct SimNet {
    pool: SimPool,
    wires: Vec<Wire>,
    ports: u16,
}

impl SimNet {
    /// A network without ports, with at most `buffers` packet buffers.
    pub fn new(buffers: usize) -> SimNet {
        SimNet {
            pool: SimPool::new(buffers),
            wires: Vec::new(),
            ports: 0,
        }
    }

    /// The pool that all ports take their buffers from.
    pub fn pool(&self) -> SimPool {
        self.pool.clone()
    }

    /// One more port with `rx_queues` receive queues, numbered in order.
    pub fn port(&mut self, rx_queues: u16) -> SimPort {
        let config = SimPortConfig {
            rx_queues,
            ..SimPortConfig::new(self.ports)
        };
        self.ports += 1;
        SimPort::new(config, &self.pool)
    }

    /// Connects two ports.
    pub fn wire(&mut self, a: &SimPort, b: &SimPort, config: WireConfig) {
        self.wires.push(Wire::new(a, b, config));
    }

    /// Lets all wires carry what is due at `now_us`; says how many frames were delivered.
    pub fn carry(&mut self, now_us: u64) -> usize {
        self.wires.iter_mut().map(|wire| wire.carry(now_us)).sum()
    }

    /// When something is due next without anybody sending, in microseconds.
    pub fn next_due(&self) -> Option<u64> {
        self.wires.iter().filter_map(Wire::next_due).min()
    }

    /// The wires, in the order they were made.
    pub fn wires(&self) -> &[Wire] {
        &self.wires
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::SimQueues;
    use nic::{Burst, PacketBuf, RxMeta, RxQueue, TxQueue};

    struct Bench {
        net: SimNet,
        ports: [SimPort; 2],
        queues: [SimQueues; 2],
    }

    fn bench(config: WireConfig) -> Bench {
        let mut net = SimNet::new(5000);
        let ports = [net.port(1), net.port(1)];
        net.wire(&ports[0], &ports[1], config);
        let queues = ports.each_ref().map(|port| port.queues().unwrap());
        Bench { net, ports, queues }
    }

    impl Bench {
        fn send(&mut self, from: usize, number: u32) {
            let mut burst = Burst::new();
            let frame = self
                .net
                .pool()
                .filled(&number.to_be_bytes(), RxMeta::default())
                .unwrap();
            burst.push(frame).unwrap();
            assert_eq!(self.queues[from].tx[0].transmit(&mut burst), 1);
        }

        fn receive(&mut self, at: usize) -> Vec<u32> {
            let mut numbers = Vec::new();
            let mut burst = Burst::new();
            while self.queues[at].rx[0].receive(&mut burst) > 0 {
                let number = |buf: &crate::SimBuf| buf.bytes().first_chunk::<4>().copied();
                numbers.extend(burst.iter().filter_map(number).map(u32::from_be_bytes));
                burst.clear();
            }
            numbers
        }
    }

    #[test]
    fn a_perfect_wire_delivers_everything_both_ways_when_it_is_due() {
        let mut bench = bench(WireConfig {
            latency_us: 100,
            ..WireConfig::default()
        });
        bench.send(0, 1);
        bench.send(1, 2);
        assert_eq!(bench.net.carry(1_000), 0);
        bench.send(0, 3);
        assert_eq!(bench.net.carry(1_050), 0);
        assert_eq!(bench.net.next_due(), Some(1_100));
        assert_eq!(bench.net.carry(1_100), 2);
        assert_eq!((bench.receive(1), bench.receive(0)), (vec![1], vec![2]));
        assert_eq!(bench.net.carry(1_150), 1);
        assert_eq!(bench.receive(1), [3]);
        assert_eq!(bench.net.next_due(), None);
    }

    fn disturbed(seed: u64) -> (Vec<u32>, WireStats) {
        let mut bench = bench(WireConfig {
            loss: 0.1,
            reorder: 0.1,
            duplicate: 0.1,
            reorder_us: 35,
            seed,
            ..WireConfig::default()
        });
        let mut received = Vec::new();
        for number in 0..1000 {
            bench.send(0, number);
            bench.net.carry(u64::from(number) * 10);
            received.extend(bench.receive(1));
        }
        bench.net.carry(u64::MAX);
        received.extend(bench.receive(1));
        (received, bench.net.wires()[0].stats())
    }

    #[test]
    fn chance_is_seeded_and_counted() {
        let (received, stats) = disturbed(5);
        assert_eq!(received.len() as u64, 1000 - stats.lost + stats.duplicated);
        assert_eq!(received.len() as u64, stats.delivered);
        for count in [stats.lost, stats.duplicated, stats.held_back] {
            assert!((60..150).contains(&count), "{stats:?}");
        }
        let overtaken = received.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(overtaken > 50, "{overtaken}");
        assert_eq!(disturbed(5), (received.clone(), stats));
        assert_ne!(disturbed(6).0, received);
    }

    #[test]
    fn a_flap_cuts_off_what_is_under_way() {
        let flaps = vec![
            Flap {
                at_us: 50,
                up: false,
            },
            Flap {
                at_us: 200,
                up: true,
            },
        ];
        let mut bench = bench(WireConfig {
            latency_us: 30,
            flaps,
            ..WireConfig::default()
        });
        bench.send(0, 1);
        bench.net.carry(10);
        bench.send(0, 2);
        assert_eq!(bench.net.carry(40), 1);
        assert_eq!(bench.net.next_due(), Some(50));
        bench.net.carry(60);
        assert!(bench.ports.iter().all(|port| !port.link().is_up()));
        bench.send(0, 3);
        bench.net.carry(199);
        bench.net.carry(200);
        assert!(bench.ports.iter().all(|port| port.link().is_up()));
        bench.send(0, 4);
        bench.net.carry(200);
        bench.net.carry(230);
        assert_eq!(bench.receive(1), [1, 4]);
        assert_eq!(bench.net.wires()[0].stats().cut_off, 1);
        assert_eq!(bench.ports[0].stats().tx_link_down, 1);
    }
}
