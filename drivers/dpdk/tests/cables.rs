//! Two ports connected by rings: what one sends, the other receives, queue by queue, and nobody hears himself.

use std::sync::OnceLock;

use dpdk::port::{self, PortConfig, Queues};
use dpdk::{Eal, EalConfig, Error, Mbuf, Pool, PoolConfig, Port, cable};
use nic::{BufferPool, Burst, PacketBuf, PortId, RxQueue, TxQueue};

fn eal() -> Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    *EAL.get_or_init(|| {
        Eal::start(&EalConfig {
            memory_mib: Some(64),
            no_pci: true,
            no_huge: true,
            log_level: log::LevelFilter::Warn,
            ..EalConfig::default()
        })
        .expect("DPDK starts without huge pages and without PCI")
    })
}

fn pool(name: &str) -> Pool {
    let config = PoolConfig {
        name: name.to_owned(),
        mbufs: 1023,
        cache: 32,
        ..PoolConfig::default()
    };
    Pool::new(eal(), &config).unwrap()
}

fn open(id: PortId, queues: u16, pool: &Pool) -> (Port, Queues) {
    let config = PortConfig {
        rx_queues: queues,
        tx_queues: queues,
        ..PortConfig::default()
    };
    Port::configure(eal(), id, &config, pool).unwrap()
}

fn burst(pool: &mut Pool, fills: std::ops::Range<u8>) -> Burst<Mbuf> {
    let frame = |fill| {
        let mut frame = pool.allocate().unwrap();
        frame.append(60).unwrap();
        frame.bytes_mut().fill(fill);
        frame
    };
    fills.map(frame).collect()
}

fn fills(burst: &Burst<Mbuf>) -> Vec<u8> {
    assert!(burst.iter().all(|frame| frame.len() == 60));
    burst.iter().map(|frame| frame.bytes()[59]).collect()
}

#[test]
fn what_one_end_sends_the_other_receives() {
    let mut pool = pool("both ways");
    let ids = cable::lay(eal(), "both", 2, 100).unwrap();
    let names: Vec<String> = port::list(eal())
        .iter()
        .filter(|info| ids.contains(&info.id))
        .map(|info| format!("{} {}", info.device, info.driver))
        .collect();
    assert_eq!(
        names,
        ["net_ring_botha net_ring", "net_ring_bothb net_ring"]
    );

    let [(_a, mut a), (_b, mut b)] = ids.map(|id| open(id, 2, &pool));
    let mut got = Burst::new();
    for queue in 0..2 {
        let first = 100 * queue as u8;
        let mut there = burst(&mut pool, first..first + 40);
        let mut back = burst(&mut pool, first + 50..first + 60);
        let place = there[0].bytes().as_ptr();
        assert_eq!(a.tx[queue].transmit(&mut there), 40);
        assert_eq!(b.tx[queue].transmit(&mut back), 10);

        assert_eq!(b.rx[1 - queue].receive(&mut got), 0, "another queue");
        assert_eq!(b.rx[queue].receive(&mut got), 40);
        assert_eq!(fills(&got), (first..first + 40).collect::<Vec<u8>>());
        assert_eq!(got[0].bytes().as_ptr(), place, "nothing is copied");
        got.clear();
        assert_eq!(a.rx[queue].receive(&mut got), 10);
        assert_eq!(fills(&got), (first + 50..first + 60).collect::<Vec<u8>>());
        got.clear();
        assert_eq!(a.rx[queue].receive(&mut got), 0, "its own");
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_cable_holds_as_many_packets_as_was_said() {
    let mut pool = pool("depth");
    let ids = cable::lay(eal(), "depth", 1, 100).unwrap();
    let [(_a, mut a), (_b, mut b)] = ids.map(|id| open(id, 1, &pool));
    let tx = &mut a.tx[0];
    assert_eq!(tx.transmit(&mut burst(&mut pool, 0..60)), 60);
    let mut rest = burst(&mut pool, 60..120);
    assert_eq!(tx.transmit(&mut rest), 40);
    assert_eq!(fills(&rest), (100..120).collect::<Vec<u8>>());
    drop(rest);
    let mut got = Burst::new();
    assert_eq!(b.rx[0].receive(&mut got), 64);
    got.clear();
    assert_eq!(b.rx[0].receive(&mut got), 36);
    assert_eq!(fills(&got), (64..100).collect::<Vec<u8>>());
}

#[test]
fn a_name_is_taken_once() {
    cable::lay(eal(), "twice", 1, 8).unwrap();
    let error = cable::lay(eal(), "twice", 1, 8).unwrap_err();
    assert_eq!(error.to_string(), "cable twice>0: File exists");
    let long = "a name that is much too long";
    assert!(matches!(
        cable::lay(eal(), long, 1, 8),
        Err(Error::Cable { .. })
    ));
}
