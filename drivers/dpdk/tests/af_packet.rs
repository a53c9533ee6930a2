//! Two ports on the ends of a veth pair, in a network namespace that ends with this process.
//!
//! The test starts itself again under `unshare --net`, because packet sockets belong to the namespace in
//! which DPDK was started. Needs root and iproute2; says so and passes where they are missing.

use std::process::Command;

use dpdk::port::{self, PortConfig, Queues};
use dpdk::{Eal, EalConfig, Mbuf, Pool, PoolConfig, Port};
use nic::{BufferPool, Burst, PacketBuf, RxQueue, TxQueue};

/// Set in the process inside the namespace.
const INSIDE: &str = "FUGU_TEST_INSIDE_NAMESPACE";

/// Local experimental ethertype (IEEE 802, 9.2.3): sets our frames apart from what the kernel sends.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// Receive calls without a packet before one counts as lost. The sockets are polled without sleeping.
const PATIENCE: u32 = 2_000_000;

#[test]
fn frames_cross_a_veth_pair() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root for a network namespace");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--net".as_ref(), program.as_os_str()])
        .args(["--exact", "frames_cross_a_veth_pair", "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return println!("skipped: unshare(1): {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap();
    assert!(status.success(), "ip {arguments}");
}

struct Bench {
    pool: Pool,
    ports: Vec<(Port, Queues)>,
}

fn bench() -> Bench {
    // No address, no neighbor discovery: only our frames are on the wire.
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    ip("link add va type veth peer name vb");
    ip("link set va up");
    ip("link set vb up");
    let vdevs = [
        "net_af_packet0,iface=va",
        "net_af_packet1,iface=vb,qpairs=2",
    ];
    let eal = Eal::start(&EalConfig {
        memory_mib: Some(128),
        vdevs: vdevs.map(String::from).to_vec(),
        no_pci: true,
        no_huge: true,
        log_level: log::LevelFilter::Warn,
        ..EalConfig::default()
    })
    .unwrap();
    let pool = Pool::new(eal, &PoolConfig::default()).unwrap();
    let config = PortConfig {
        rx_queues: 4,
        tx_queues: 4,
        ..PortConfig::default()
    };
    let open = |info: nic::PortInfo| Port::configure(eal, info.id, &config, &pool).unwrap();
    let ports = port::list(eal).into_iter().map(open).collect();
    Bench { pool, ports }
}

impl Bench {
    fn frame(&mut self, len: usize, number: u16) -> Mbuf {
        let mut frame = self.pool.allocate().unwrap();
        frame.append(len).unwrap();
        let bytes = frame.bytes_mut();
        bytes.fill(number as u8);
        bytes[..6].fill(0xff);
        bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        bytes[12..14].copy_from_slice(&ETHERTYPE);
        bytes[14..16].copy_from_slice(&number.to_be_bytes());
        frame
    }

    fn send(&mut self, from: usize, burst: &mut Burst<Mbuf>) {
        let queue = self.ports[from].1.tx.last_mut().unwrap();
        let mut tries = 0;
        while !burst.is_empty() {
            queue.transmit(burst);
            tries += 1;
            assert!(tries < PATIENCE, "nothing is sent any more");
        }
    }

    /// `count` frames of ours, from whatever queue they arrive on.
    fn receive(&mut self, at: usize, count: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut burst = Burst::new();
        for _ in 0..PATIENCE {
            for queue in &mut self.ports[at].1.rx {
                queue.receive(&mut burst);
            }
            let ours = burst
                .iter()
                .filter(|frame| frame.bytes()[12..14] == ETHERTYPE);
            frames.extend(ours.map(|frame| frame.bytes().to_vec()));
            burst.clear();
            if frames.len() >= count {
                break;
            }
        }
        frames
    }
}

fn inside() {
    let mut bench = bench();
    let queues: Vec<(usize, usize)> = bench
        .ports
        .iter()
        .map(|(_, queues)| (queues.rx.len(), queues.tx.len()))
        .collect();
    assert_eq!(queues, [(1, 1), (2, 2)], "as many as the device has");
    for (port, name) in [(0, "net_af_packet0"), (1, "net_af_packet1")] {
        let port = &bench.ports[port].0;
        let info = port.info().unwrap();
        assert_eq!(
            (info.device.as_str(), nic::bsd_name(&info.driver)),
            (name, "ap")
        );
        assert!(port.link().is_up());
        assert!(!port.reports_hash());
    }

    let idle = bench.pool.in_use();
    let lengths = [60, 61, 128, 999, 1500, 1514];
    for (from, to) in [(0, 1), (1, 0)] {
        let mut burst = Burst::new();
        for (number, len) in lengths.into_iter().enumerate() {
            burst.push(bench.frame(len, number as u16)).unwrap();
        }
        let sent: Vec<Vec<u8>> = burst.iter().map(|frame| frame.bytes().to_vec()).collect();
        bench.send(from, &mut burst);
        let mut received = bench.receive(to, sent.len());
        // Two queues are two orders.
        received.sort_by_key(|frame| (frame[14], frame[15]));
        assert_eq!(received, sent, "{from} to {to}");
    }
    assert_eq!(bench.pool.in_use(), idle);

    let mut total = 0;
    for round in 0..50 {
        let mut burst = Burst::new();
        for number in 0..64 {
            burst.push(bench.frame(60, round * 64 + number)).unwrap();
        }
        bench.send(0, &mut burst);
        total += bench.receive(1, 64).len();
    }
    assert_eq!(total, 50 * 64);
    assert_eq!(bench.pool.in_use(), idle);
    let stats = bench.ports[0].0.stats().unwrap();
    assert_eq!((stats.tx_packets, stats.tx_errors), (6 + 50 * 64, 0));
}
