//! Ports of DPDK over rings as a device: real buffers, `rte_eth_rx_burst` and `rte_eth_tx_burst`, and our driver around them.
//!
//! Each port of the box is one end of a cable (`dpdk::cable`), whose other end the generator holds. It has a slab of
//! buffers in random order, writes the frames and sends them before the clock starts, and takes back what the box has sent
//! after it has stopped; what the box has freed it takes from the pool anew. So a packet costs the box what it does with
//! `net_ring` and nothing of the generator. As on the replay device the headers have left the second-level cache when their
//! turn comes, and so have the lines of the buffers' descriptions, which a card's driver would just have written.

use std::sync::OnceLock;

use dpdk::{
    DpdkNic, Eal, EalConfig, HEADROOM, Mbuf, Pool, PoolConfig, Port, PortConfig, Queues, cable,
};
use nic::{BufferPool, Burst, PacketBuf, PortId, RxQueue, TxQueue};
use simnic::replay::Loaded;
use simnic::rng::Rng;
use worker::WorkerPort;

use crate::device::{Device, PORTS, WORKERS_MAX, swap};

/// Queues of a port: the worker's and the mirror's.
const QUEUES: usize = 2;
/// Buffers beside the generator's slab: what the box makes itself, and what it holds on to.
const SPARE: usize = 8191;
/// Bytes of a huge page, and of a buffer with all that belongs to it.
const PAGE: usize = 2 << 20;
const BUFFER: usize = 2432;

/// What is made once in a process.
struct Made {
    eal: Eal,
    pool: Pool,
    /// The box's end, the generator's end.
    cables: Vec<[PortId; 2]>,
    frames: usize,
}

static MADE: OnceLock<Made> = OnceLock::new();

/// Starts DPDK for devices of at most so many frames, on huge pages if there are enough of them and they are wanted. Once in
/// a process.
pub(crate) fn start(frames: usize, huge: bool) -> Result<(), String> {
    let made = make(frames, huge).map_err(|e| e.to_string())?;
    MADE.set(made).map_err(|_| "DPDK runs already".to_string())
}

fn make(frames: usize, huge: bool) -> Result<Made, dpdk::Error> {
    let rings = PORTS * QUEUES * 2 * (4 * frames).next_power_of_two() * size_of::<usize>();
    let bytes = (frames + SPARE) * BUFFER + rings + 8 * PAGE;
    let huge = huge && free_pages() > bytes / PAGE;
    if !huge {
        eprintln!("bench: DPDK's memory is in ordinary pages");
    }
    let eal = Eal::start(&EalConfig {
        // A limit here, of which only what is used is taken; large pieces do not fit well into it.
        memory_mib: (!huge).then_some(2 * bytes.div_ceil(1 << 20) as u32),
        no_pci: true,
        no_huge: !huge,
        log_level: log::LevelFilter::Warn,
        ..EalConfig::default()
    })?;
    let pool = PoolConfig {
        mbufs: (frames + SPARE) as u32,
        ..PoolConfig::default()
    };
    // A slab, and what is left of another one.
    let lay = |n: usize| cable::lay(eal, &format!("bench{n}"), QUEUES as u16, 2 * frames as u32);
    Ok(Made {
        eal,
        pool: Pool::new(eal, &pool)?,
        cables: (0..PORTS).map(lay).collect::<Result<_, _>>()?,
        frames,
    })
}

/// Huge pages of 2 MiB that nobody has.
fn free_pages() -> usize {
    let file = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// A cable with both of its ends.
struct Cable {
    /// What the worker gets of its end, once.
    worker: Option<WorkerPort<DpdkNic>>,
    /// The mirror's queues of the same end.
    rx: dpdk::RxQueue,
    tx: dpdk::TxQueue,
    /// The generator's end.
    far: Queues,
    _ports: [Port; 2],
}

impl Cable {
    fn open(made: &Made, ids: [PortId; 2]) -> Result<Cable, dpdk::Error> {
        let config = PortConfig {
            rx_queues: QUEUES as u16,
            tx_queues: QUEUES as u16,
            ..PortConfig::default()
        };
        let open = |id| Port::configure(made.eal, id, &config, &made.pool);
        let ((port, near), (other, far)) = (open(ids[0])?, open(ids[1])?);
        let (mut rx, mut tx) = (near.rx.into_iter(), near.tx.into_iter());
        let worker = WorkerPort {
            rx: rx.next(),
            tx: tx.next(),
        };
        let missing = dpdk::Error::NoSuchPort(ids[0]);
        let mirror = rx.next().zip(tx.next()).ok_or(missing)?;
        Ok(Cable {
            worker: Some(worker),
            rx: mirror.0,
            tx: mirror.1,
            far,
            _ports: [port, other],
        })
    }
}

/// The device.
pub(crate) struct Rings {
    pool: Pool,
    cables: Vec<Cable>,
    /// Buffers that the generator has at hand.
    home: Vec<Mbuf>,
    /// Buffers that it works with.
    frames: usize,
    /// Frames that came back to it.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "a worker's counters tell as well")
    )]
    pub(crate) came_back: usize,
}

impl Rings {
    /// Takes back what the box has sent, for what it has freed as many others, and keeps no more than before if the box has
    /// made some itself.
    fn bring_home(&mut self) {
        let mut burst = Burst::new();
        for rx in self.cables.iter_mut().flat_map(|cable| &mut cable.far.rx) {
            while rx.receive(&mut burst) > 0 {
                self.came_back += burst.len();
                self.home.extend(std::mem::take(&mut burst));
            }
        }
        let (in_use, pool) = (self.pool.in_use() as usize, &mut self.pool);
        let fresh = (in_use..self.frames).map_while(|_| pool.allocate());
        self.home.extend(fresh);
        let surplus = in_use.saturating_sub(self.frames);
        self.home.truncate(self.home.len().saturating_sub(surplus));
    }
}

/// Writes a frame where a card would: whatever was done to the buffer, it begins behind the usual room.
fn write(buf: &mut Mbuf, fill: impl FnOnce(&mut [u8]) -> Loaded) {
    buf.truncate(0);
    let (begins, headroom) = (usize::from(HEADROOM), buf.headroom());
    let room = match headroom > begins {
        true => buf.prepend(headroom - begins),
        false => buf.append(begins - headroom),
    };
    assert_eq!(room, Ok(()), "room in front of a frame");
    if headroom < begins {
        buf.advance(begins - headroom);
    }
    buf.truncate(0);
    assert_eq!(buf.append(buf.tailroom()), Ok(()));
    let loaded = fill(buf.bytes_mut());
    buf.truncate(loaded.len);
}

impl Device for Rings {
    type Nic = DpdkNic;
    const MIRROR: usize = 1;

    fn with_frames(frames: usize) -> Self {
        let made = MADE.get().expect("DPDK was started");
        assert!(frames <= made.frames, "{frames} of {} frames", made.frames);
        let open = |ids: &[PortId; 2]| Cable::open(made, *ids).expect("ports over rings open");
        let mut rings = Rings {
            pool: made.pool.clone(),
            cables: made.cables.iter().map(open).collect(),
            home: Vec::new(),
            frames,
            came_back: 0,
        };
        rings.bring_home();
        rings.came_back = 0;
        let mut rng = Rng::new(1);
        for at in (1..rings.home.len()).rev() {
            rings.home.swap(at, rng.below(at as u64 + 1) as usize);
        }
        rings
    }

    fn worker_port(&mut self, port: usize, _queue: usize) -> WorkerPort<DpdkNic> {
        self.cables[port].worker.take().expect("one worker")
    }

    fn pool(&self) -> Pool {
        self.pool.clone()
    }

    fn load(
        &mut self,
        lane: usize,
        count: usize,
        mut fill: impl FnMut(usize, &mut [u8]) -> Loaded,
    ) -> usize {
        self.bring_home();
        let (port, queue) = (lane / WORKERS_MAX, lane % WORKERS_MAX);
        let tx = &mut self.cables[port].far.tx[queue];
        let count = count.min(self.home.len());
        let first = self.home.len() - count;
        let mut burst = Burst::new();
        for (number, mut buf) in self.home.drain(first..).enumerate() {
            write(&mut buf, |room| fill(number, room));
            assert!(burst.push(buf).is_ok(), "a burst has room");
            if burst.is_full() || number + 1 == count {
                tx.transmit(&mut burst);
                assert!(burst.is_empty(), "a cable holds more than a slab");
            }
        }
        count
    }

    /// Nobody asks a ring: a worker has had everything when it finds no more work.
    fn pending(&self, _lane: usize) -> usize {
        0
    }

    fn home(&self) -> usize {
        self.home.len()
    }

    fn reflect(&mut self) {
        let (first, rest) = self.cables.split_at_mut(PORTS - 1);
        let last = &mut rest[0];
        for cable in first {
            swap(&mut cable.rx, &mut last.tx);
        }
        swap(&mut last.rx, &mut last.tx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Link, Packet};
    use crate::rig::RigOn;
    use crate::scenario::{self, Scenario, packet};

    const FRAMES: usize = 500;
    /// Of Ethernet, IPv4 and UDP. What is behind them is left from whoever had the buffer before.
    const HEADERS: usize = 14 + 20 + 8;

    fn scenario(name: &str) -> Scenario {
        let mut all = scenario::all(true).into_iter();
        let mut scenario = all.find(|s| s.name == name).expect(name);
        scenario.flows = 100;
        scenario.policy.entries = scenario.policy.entries.min(1000);
        scenario
    }

    /// What came back on a port since the last load, with the place it lies at.
    fn take(rings: &mut Rings, port: usize, queue: usize) -> Vec<(Vec<u8>, *const u8)> {
        let (mut taken, mut burst) = (Vec::new(), Burst::new());
        while rings.cables[port].far.rx[queue].receive(&mut burst) > 0 {
            taken.extend(
                burst
                    .iter()
                    .map(|b| (b.bytes().to_vec(), b.bytes().as_ptr())),
            );
            rings.home.extend(std::mem::take(&mut burst));
        }
        taken
    }

    fn frame(packet: &Packet, link: &Link) -> Vec<u8> {
        let mut room = [0; 128];
        let len = packet.write(link, &mut room);
        room[..len].to_vec()
    }

    /// A frame as the box passes it on: other stations, one hop less.
    fn forwarded(packet: &Packet, rig: &RigOn<Rings>) -> Vec<u8> {
        let out = rig.plan.world.link(1);
        let link = Link {
            dst: out.src,
            src: out.dst,
            vid: None,
        };
        let mut frame = frame(packet, &link);
        frame[22] -= 1;
        frame[24..26].fill(0);
        let sum = wire::checksum::data(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn the_box_forwards_each_frame_in_its_own_buffer() {
        let mut prepared = scenario("filter, udp").prepare_on::<Rings>(FRAMES);
        let rig = &mut prepared.rig;
        for port in 0..PORTS {
            take(&mut rig.device, port, 0);
        }
        let flow = |n: usize| packet(false, n as u32 % 100, None);
        assert_eq!(rig.load(0, FRAMES, flow), FRAMES);
        assert_eq!(rig.device.home(), 0);
        rig.drain();
        let passed = take(&mut rig.device, 1, 0);
        assert_eq!(passed.len(), FRAMES);
        for (n, (got, _)) in passed.iter().enumerate() {
            assert_eq!(got[..HEADERS], forwarded(&flow(n), rig)[..HEADERS], "{n}");
        }
        let mut places: Vec<*const u8> = passed.iter().map(|p| p.1).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), FRAMES, "each in a buffer of its own");
        assert!(take(&mut rig.device, 0, 0).is_empty(), "nothing goes back");
        assert_eq!(rig.device.home(), FRAMES);
    }

    fn the_mirror_exchanges_stations() {
        let mut prepared = scenario("device only").prepare_on::<Rings>(FRAMES);
        let rig = &mut prepared.rig;
        let link = rig.plan.world.link(0);
        let flow = |n: usize| packet(false, n as u32, None);
        assert_eq!(rig.load_mirror(FRAMES, flow), FRAMES);
        rig.reflect();
        let back = Link {
            dst: link.src,
            src: link.dst,
            vid: None,
        };
        let got = take(&mut rig.device, 1, 1);
        assert_eq!(got.len(), FRAMES);
        for (n, (got, _)) in got.iter().enumerate() {
            assert_eq!(got[..HEADERS], frame(&flow(n), &back)[..HEADERS], "{n}");
        }
    }

    /// Whatever becomes of frames, the generator has all of them again, and each run finds as many.
    fn no_frame_is_lost() {
        for name in [
            "filter, udp",
            "filter, tcp both ways",
            "nat, tcp",
            "bridge with filter, udp",
            "lagg and vlan, udp",
            "new flow, udp",
            "blocked by table",
        ] {
            let mut prepared = scenario(name).prepare_on::<Rings>(FRAMES);
            let first = prepared.sample();
            let before = books(&mut prepared.rig);
            let second = prepared.sample();
            let after = books(&mut prepared.rig);
            assert_eq!(prepared.rig.device.home(), FRAMES, "{name}");
            assert_eq!(first.packets, second.packets, "{name}");
            let [back, made, dropped] = [0, 1, 2].map(|n| after[n] - before[n]);
            // Each slab of the worker's has one of the mirror's.
            assert_eq!(2 * second.packets + made, back + dropped, "{name}");
            let blocked = if name == "blocked by table" {
                second.packets
            } else {
                0
            };
            assert_eq!(dropped, blocked, "{name}");
        }
    }

    /// Frames that came back so far, that the box has made, and that it has dropped.
    fn books(rig: &mut RigOn<Rings>) -> [u64; 3] {
        rig.device.bring_home();
        let counters = &rig.control[0].counters;
        let back = rig.device.came_back as u64;
        [back, counters.generated.get(), counters.dropped.get()]
    }

    #[test]
    fn the_rings_are_a_device() {
        // DPDK starts once in a process, and its ports have one owner.
        start(FRAMES, false).unwrap();
        the_box_forwards_each_frame_in_its_own_buffer();
        the_mirror_exchanges_stations();
        no_frame_is_lost();
    }
}
