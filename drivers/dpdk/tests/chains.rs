//! Packets that a driver delivers in several buffers: dropped and counted, never shown.
//!
//! Shared memory interfaces (`net_memif`) chain buffers when a packet is longer than one; two of them in
//! one process, connected to each other, need neither privileges nor hardware.

use std::time::{Duration, Instant};

use dpdk::port::{self, PortConfig, Queues};
use dpdk::{Eal, EalConfig, Pool, PoolConfig, Port};
use nic::{BufferPool, Burst, PacketBuf, RxQueue, TxQueue};

/// How long the two ends may take to find each other.
const CONNECT: Duration = Duration::from_secs(20);

/// Bytes for a frame in the receiver's buffers.
const SMALL: u16 = 256;

fn start() -> Eal {
    let socket = format!("fugu-chains-{}", std::process::id());
    let vdev = |number, role| {
        format!("net_memif{number},id=7,role={role},socket-abstract=yes,socket={socket}")
    };
    Eal::start(&EalConfig {
        memory_mib: Some(128),
        vdevs: vec![vdev(0, "server"), vdev(1, "client")],
        no_pci: true,
        no_huge: true,
        log_level: log::LevelFilter::Warn,
        ..EalConfig::default()
    })
    .unwrap()
}

fn open(eal: Eal, name: &str, data_room: u16) -> (Pool, Port, Queues) {
    let config = PoolConfig {
        name: name.to_owned(),
        data_room,
        ..PoolConfig::default()
    };
    let pool = Pool::new(eal, &config).unwrap();
    let id = port::list(eal)
        .into_iter()
        .find(|port| port.device == name)
        .unwrap()
        .id;
    let config = PortConfig {
        mtu: data_room - 18,
        ..PortConfig::default()
    };
    let (port, queues) = Port::configure(eal, id, &config, &pool).unwrap();
    (pool, port, queues)
}

#[test]
fn a_packet_in_several_buffers_is_dropped_and_counted() {
    let eal = start();
    let (small, receiver, mut to) = open(eal, "net_memif0", SMALL);
    let (mut large, sender, mut from) = open(eal, "net_memif1", 2048);
    let begin = Instant::now();
    while !(receiver.link().is_up() && sender.link().is_up()) {
        assert!(begin.elapsed() < CONNECT, "the two ends do not connect");
        std::thread::sleep(Duration::from_millis(10));
    }
    let idle = small.in_use();

    let lengths = [60, 256, 257, 100, 700, 2000, 61];
    let mut burst = Burst::new();
    for (number, len) in lengths.into_iter().enumerate() {
        let mut frame = large.allocate().unwrap();
        frame.append(len).unwrap();
        frame.bytes_mut().fill(number as u8);
        burst.push(frame).unwrap();
    }
    assert_eq!(from.tx[0].transmit(&mut burst), lengths.len());

    let mut received = Vec::new();
    let begin = Instant::now();
    while received.len() < 4 && begin.elapsed() < CONNECT {
        to.rx[0].receive(&mut burst);
        received.extend(burst.iter().map(|frame| (frame.bytes()[0], frame.len())));
        burst.clear();
    }
    assert_eq!(received, [(0, 60), (1, 256), (3, 100), (6, 61)]);
    assert_eq!(receiver.stats().unwrap().rx_oversize, 3);
    assert_eq!((small.in_use(), large.in_use()), (idle, 0));
}
