//! Ports that need no hardware: `net_ring` hands back what is sent, `net_null` makes and eats packets.
//!
//! DPDK starts once per process, so all tests here share one start and each has its own port and pool.

use std::sync::OnceLock;

use dpdk::port::{self, PortConfig, Queues};
use dpdk::{Eal, EalConfig, Error, Mbuf, Pool, PoolConfig, Port, lcore};
use nic::{BufferPool, Burst, NoRoom, PacketBuf, PortId, RxQueue, TxQueue};

/// Headroom in front of a fresh buffer, and bytes behind it.
const HEADROOM: usize = 128;
const ROOM: usize = 2048;

fn eal() -> Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    *EAL.get_or_init(|| {
        Eal::start(&EalConfig {
            memory_mib: Some(128),
            vdevs: ["net_ring0", "net_ring1", "net_ring2", "net_null0,size=128"]
                .map(String::from)
                .to_vec(),
            no_pci: true,
            no_huge: true,
            log_level: log::LevelFilter::Warn,
            ..EalConfig::default()
        })
        .expect("DPDK starts without huge pages and without PCI")
    })
}

fn pool(name: &str, mbufs: u32) -> Pool {
    let config = PoolConfig {
        name: name.to_owned(),
        mbufs,
        cache: 32,
        ..PoolConfig::default()
    };
    Pool::new(eal(), &config).unwrap()
}

fn find(device: &str) -> PortId {
    let ports = port::list(eal());
    ports
        .iter()
        .find(|port| port.device == device)
        .unwrap_or_else(|| panic!("{ports:?}"))
        .id
}

fn open(device: &str, pool: &Pool) -> (Port, Queues) {
    Port::configure(eal(), find(device), &PortConfig::default(), pool).unwrap()
}

fn frame(pool: &mut Pool, len: usize, fill: u8) -> Mbuf {
    let mut packet = pool.allocate().unwrap();
    packet.append(len).unwrap();
    packet.bytes_mut().fill(fill);
    packet
}

#[test]
fn ports_are_listed_with_name_and_driver() {
    let ports = port::list(eal());
    let names: Vec<(&str, &str)> = ports
        .iter()
        .map(|port| (port.device.as_str(), port.driver.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("net_ring0", "net_ring"),
            ("net_ring1", "net_ring"),
            ("net_ring2", "net_ring"),
            ("net_null0", "net_null"),
        ]
    );
    assert!(
        ports
            .iter()
            .all(|port| port.rx_queues_max >= 1 && port.mtu == 1500)
    );
}

#[test]
fn dpdk_starts_once() {
    eal();
    assert_eq!(
        Eal::start(&EalConfig::default()).unwrap_err(),
        Error::AlreadyStarted
    );
}

#[test]
fn starting_leaves_the_cpu_mask_alone() {
    eal();
    let cpus = lcore::allowed().unwrap();
    let online = std::thread::available_parallelism().unwrap().get();
    assert_eq!(cpus.len(), online);
}

#[test]
fn buffers_come_back() {
    let mut pool = pool("accounting", 255);
    assert_eq!(
        (pool.size(), pool.available(), pool.in_use()),
        (255, 255, 0)
    );
    let held: Vec<Mbuf> = core::iter::from_fn(|| pool.allocate()).collect();
    assert_eq!(held.len(), 255);
    assert!(pool.allocate().is_none());
    assert_eq!((pool.available(), pool.in_use()), (0, 255));
    drop(held);
    assert_eq!((pool.available(), pool.in_use()), (255, 0));
}

#[test]
fn buffers_may_be_freed_by_another_thread() {
    let mut pool = pool("threads", 127);
    let held: Vec<Mbuf> = (0..50).map(|_| pool.allocate().unwrap()).collect();
    std::thread::spawn(move || {
        let registration = lcore::Registration::new(eal()).unwrap();
        assert!(registration.id() < 128);
        drop(held);
    })
    .join()
    .unwrap();
    assert_eq!(pool.available(), 127);
}

#[test]
fn a_pool_needs_a_unique_name() {
    let _first = pool("twice", 63);
    let config = PoolConfig {
        name: "twice".to_owned(),
        mbufs: 63,
        ..PoolConfig::default()
    };
    let error = Pool::new(eal(), &config).unwrap_err();
    assert_eq!(error.to_string(), "buffer pool twice: File exists");
}

#[test]
fn a_frame_grows_and_shrinks_within_its_buffer() {
    let mut pool = pool("bounds", 63);
    let mut packet = pool.allocate().unwrap();
    assert_eq!(
        (packet.len(), packet.headroom(), packet.tailroom()),
        (0, HEADROOM, ROOM)
    );
    assert!(packet.is_empty());

    assert_eq!(packet.append(ROOM + 1), Err(NoRoom));
    assert_eq!(packet.append(ROOM), Ok(()));
    assert_eq!(packet.append(1), Err(NoRoom));
    assert_eq!(packet.prepend(HEADROOM + 1), Err(NoRoom));
    assert_eq!(packet.prepend(HEADROOM), Ok(()));
    assert_eq!(packet.prepend(1), Err(NoRoom));
    assert_eq!(packet.prepend(usize::MAX), Err(NoRoom));
    assert_eq!(
        (packet.len(), packet.headroom(), packet.tailroom()),
        (HEADROOM + ROOM, 0, 0)
    );
    packet.bytes_mut().fill(0xa5);

    packet.truncate(HEADROOM + ROOM);
    assert_eq!(packet.len(), HEADROOM + ROOM);
    packet.truncate(100);
    packet.truncate(101);
    assert_eq!(
        (packet.len(), packet.tailroom()),
        (100, HEADROOM + ROOM - 100)
    );
    packet.advance(99);
    assert_eq!((packet.bytes(), packet.headroom()), (&[0xa5][..], 99));
    packet.advance(2);
    assert_eq!((packet.len(), packet.headroom()), (0, 100));
    packet.advance(usize::MAX);
    assert_eq!((packet.len(), packet.headroom()), (0, 100));
    packet.truncate(usize::MAX);
    assert_eq!(packet.len(), 0);
}

#[test]
fn a_ring_gives_back_what_was_sent_in_order() {
    let mut pool = pool("ring0", 2047);
    let (port, mut queues) = open("net_ring0", &pool);
    let (rx, tx) = (&mut queues.rx[0], &mut queues.tx[0]);

    let mut burst = Burst::new();
    for fill in 0..64 {
        burst
            .push(frame(&mut pool, 60 + usize::from(fill), fill))
            .unwrap();
    }
    assert_eq!(tx.transmit(&mut burst), 64);
    assert!(burst.is_empty());
    assert_eq!(pool.in_use(), 64);

    // A burst that has something already takes no more than it has room for.
    for fill in 200..210 {
        burst.push(frame(&mut pool, 60, fill)).unwrap();
    }
    assert_eq!(rx.receive(&mut burst), 54);
    assert_eq!(rx.receive(&mut burst), 0);
    for (at, packet) in burst.iter().enumerate() {
        let fill = if at < 10 { 200 + at } else { at - 10 };
        assert!(
            packet.bytes().iter().all(|&byte| usize::from(byte) == fill),
            "{at}"
        );
        assert_eq!(packet.len(), if at < 10 { 60 } else { 60 + fill });
        assert_eq!(packet.rx_meta(), nic::RxMeta::default());
    }
    burst.clear();
    assert_eq!(rx.receive(&mut burst), 10);
    burst.clear();
    assert_eq!(pool.available(), 2047);

    let stats = port.stats().unwrap();
    assert_eq!(
        (stats.tx_packets, stats.rx_packets, stats.rx_oversize),
        (64, 64, 0)
    );
    let xstats = port.xstats().unwrap();
    assert!(
        xstats.contains(&("rx_good_packets".to_owned(), 64)),
        "{xstats:?}"
    );
    port.reset_stats().unwrap();
    assert_eq!(port.stats().unwrap().rx_packets, 0);
}

#[test]
fn what_a_full_ring_does_not_take_stays_in_order() {
    let mut pool = pool("ring1", 4095);
    let (_port, mut queues) = open("net_ring1", &pool);
    let tx = &mut queues.tx[0];

    let mut sent = 0;
    let mut burst = Burst::new();
    while burst.is_empty() {
        // Bursts of 50 do not divide the ring, so that the last one is taken in part.
        for fill in 0..50 {
            burst.push(frame(&mut pool, 60, fill)).unwrap();
        }
        sent += tx.transmit(&mut burst);
        assert!(sent < 4095, "the ring has no end");
    }
    let left = burst.len();
    assert!(left < 50, "the last burst was to be taken in part");
    for (at, packet) in burst.iter().enumerate() {
        assert_eq!(usize::from(packet.bytes()[0]), 50 - left + at);
    }
    assert_eq!(tx.transmit(&mut burst), 0);
    assert_eq!(burst.len(), left);
    assert_eq!(pool.in_use() as usize, sent + left);

    burst.clear();
    let mut received = 0;
    loop {
        match queues.rx[0].receive(&mut burst) {
            0 => break,
            count => received += count,
        }
        burst.clear();
    }
    assert_eq!(received, sent);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_port_has_one_owner_and_can_be_configured_again() {
    let mut pool = pool("ring2", 511);
    let id = find("net_ring2");
    let (port, queues) = open("net_ring2", &pool);
    let source = pool.clone();
    let again = || Port::configure(eal(), id, &PortConfig::default(), &source).map(drop);
    assert_eq!(again(), Err(Error::InUse(id)));
    // A queue alone keeps the port running.
    drop(port);
    assert_eq!(again(), Err(Error::InUse(id)));
    drop(queues);
    assert_eq!(again(), Ok(()));

    let (port, mut queues) = open("net_ring2", &pool);
    assert!(port.link().is_up());
    let jumbo = Error::MtuTooLarge {
        port: id,
        mtu: 9000,
        limit: 2030,
    };
    assert_eq!(port.set_mtu(9000), Err(jumbo.clone()));
    drop(port);
    // Runts are padded, not sent as they are.
    let mut burst = Burst::new();
    for len in [0, 1, 16, 17] {
        burst.push(frame(&mut pool, len, 0xff)).unwrap();
    }
    assert_eq!(queues.tx[0].transmit(&mut burst), 4);
    queues.rx[0].receive(&mut burst);
    let lengths: Vec<usize> = burst.iter().map(PacketBuf::len).collect();
    assert_eq!(lengths, [60, 60, 60, 17]);
    assert_eq!(burst[2].bytes()[15..18], [0xff, 0, 0]);
    drop((burst, queues));

    let config = PortConfig {
        mtu: 9000,
        ..PortConfig::default()
    };
    assert_eq!(
        Port::configure(eal(), id, &config, &pool).map(drop),
        Err(jumbo)
    );
    assert_eq!(again(), Ok(()), "a failed set-up gives the port back");
}

#[test]
fn a_null_port_makes_and_eats_packets() {
    let pool = pool("null", 1023);
    let (port, mut queues) = open("net_null0", &pool);
    let mut burst = Burst::new();
    for round in 0..100 {
        assert_eq!(queues.rx[0].receive(&mut burst), 64, "round {round}");
        assert!(burst.iter().all(|packet| packet.len() == 128));
        assert_eq!(queues.tx[0].transmit(&mut burst), 64);
    }
    assert_eq!(pool.in_use(), 0);
    let info = port.info().unwrap();
    assert_eq!((info.driver.as_str(), info.mtu), ("net_null", 1500));
}

#[test]
fn unknown_ports_are_refused() {
    let pool = pool("unknown", 63);
    for id in [PortId(30), PortId(u16::MAX)] {
        let result = Port::configure(eal(), id, &PortConfig::default(), &pool).map(drop);
        assert_eq!(result, Err(Error::NoSuchPort(id)));
    }
}

#[test]
fn a_port_never_holds_more_buffers_than_foretold() {
    let config = PortConfig {
        rx_queues: 9,
        rx_desc: 512,
        tx_desc: 256,
        ..PortConfig::default()
    };
    let mut info = port::list(eal()).remove(0);
    (info.rx_queues_max, info.tx_queues_max) = (4, 4);
    assert_eq!(port::buffers(&info, &config), 4 * 512 + 256);
    info.driver = "net_vmxnet3".try_into().unwrap();
    assert_eq!(port::buffers(&info, &config), 4 * 2 * 512 + 256);
}
