//! DPDK on 2 MiB pages and in memory only, as it runs in the appliance.

use dpdk::port::{self, PortConfig};
use dpdk::{Eal, EalConfig, Pool, PoolConfig, Port, lcore};
use nic::{Burst, RxQueue, TxQueue};

/// Pages of 2 MiB that the test needs.
const PAGES: u64 = 48;

fn free_pages() -> u64 {
    let file = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[test]
fn several_threads_share_a_pool_on_huge_pages() {
    if free_pages() < PAGES {
        println!("skipped: fewer than {PAGES} free huge pages of 2 MiB");
        return;
    }
    let eal = Eal::start(&EalConfig {
        vdevs: ["net_null0", "net_ring0"].map(String::from).to_vec(),
        no_pci: true,
        log_level: log::LevelFilter::Warn,
        ..EalConfig::default()
    })
    .unwrap();
    let config = PoolConfig {
        mbufs: 4095,
        ..PoolConfig::default()
    };
    let pool = Pool::new(eal, &config).unwrap();

    // One thread makes packets and sends them on the ring; the other receives and eats them.
    let open =
        |port: nic::PortInfo| Port::configure(eal, port.id, &PortConfig::default(), &pool).unwrap();
    let mut ports: Vec<_> = port::list(eal).into_iter().map(open).collect();
    let (_ring, mut ring) = ports.pop().unwrap();
    let (_null, mut null) = ports.pop().unwrap();
    let total = 200_000;
    let mut ring_rx = ring.rx.remove(0);
    let eater = std::thread::spawn(move || {
        let _registration = lcore::Registration::new(eal).unwrap();
        let (mut eaten, mut burst) = (0, Burst::new());
        while eaten < total {
            match ring_rx.receive(&mut burst) {
                0 => std::thread::yield_now(),
                count => eaten += count,
            }
            burst.clear();
        }
        eaten
    });
    let (mut sent, mut burst) = (0, Burst::new());
    while sent < total {
        null.rx[0].receive(&mut burst);
        let count = ring.tx[0].transmit(&mut burst);
        sent += count;
        if count == 0 {
            std::thread::yield_now();
        }
    }
    drop(burst);
    let eaten = eater.join().unwrap();
    assert_eq!(
        pool.in_use() as usize,
        sent - eaten,
        "what is left is in the ring"
    );
}
