//! What states cost, and what happens at their limit, with as many states as memory has room for: 60,000 here, or what
//! `FUGU_STATES` says, in a build with optimization: `FUGU_STATES=10000000 cargo test --release -p packets --test memory
//! -- --nocapture`. A program of its own with one test, because its memory is that of the whole process.

use std::net::Ipv4Addr;
use std::time::Instant;

use filter::Kill;
use filter::kill::Side;
use packets::{Packet, Rig, Spread, Topology, udp};
use state::StateTable;

/// The promise: ten million states need less than this.
const BYTES_OF_TEN_MILLION: u64 = 6 << 30;
/// Below so many states the rest of a box counts for more than its states.
const MEASURED_FROM: u64 = 1_000_000;
/// Packets to a burst of the rig.
const BURST: u64 = 64;

/// Resident memory of this process, in bytes, as the system counts it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a system with /proc");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().split(' ').next()?.parse::<u64>().ok());
    kib.expect("a figure in kB") * 1024
}

/// Addresses and ports of connection `n`: many hosts and ports, so that hashes spread.
fn ends(n: u64) -> (Ipv4Addr, u16, u16) {
    let host = n >> 14;
    let last = (2 + host % 250) as u8;
    let src = Ipv4Addr::new(192, 0, 2, last);
    (src, 1024 + (n & 0x3fff) as u16, (1 + host / 250) as u16)
}

fn packet(n: u64) -> Packet {
    let (src, src_port, dst_port) = ends(n);
    udp(
        &format!("{src}:{src_port}"),
        &format!("198.51.100.2:{dst_port}"),
    )
}

fn send(rig: &mut Rig, from: u64, to: u64) {
    for first in (from..to).step_by(BURST as usize) {
        let burst: Vec<Packet> = (first..to.min(first + BURST)).map(packet).collect();
        rig.send_burst("sim0", &burst);
        rig.ignore_rest();
    }
}

fn states_cost(wanted: u64, workers: u16) {
    let spread = Spread {
        workers,
        rss: true,
        order: 0,
    };
    // Each connection has a state on the way in and one on the way out.
    let connections = wanted / 2;
    let policy = format!(
        "set limit states {wanted}\nset timeout {{ udp.first 86400 adaptive.start 0 adaptive.end 0 }}
         pass quick proto icmp no state\npass"
    );
    // As the program sizes it: hashes are not fair.
    let share = wanted as usize / usize::from(workers);
    let room = if workers > 1 {
        share + share / 4
    } else {
        share
    };
    let mut rig = Rig::sized(&policy, &Topology::usual(), spread, room);
    rig.mark();
    let started = Instant::now();
    send(&mut rig, 0, connections);
    let states = rig.shared().states.get();
    assert_eq!(states, connections * 2);
    let (bytes, took) = (resident(), started.elapsed());
    println!(
        "{states} states, {workers} workers: {} MiB resident, {} bytes to a state ({} in its table), {:.1} s",
        bytes >> 20,
        bytes / states,
        StateTable::bytes(wanted as usize) as u64 / wanted,
        took.as_secs_f64()
    );
    if wanted >= MEASURED_FROM {
        let promised = BYTES_OF_TEN_MILLION / 10_000_000 * wanted;
        assert!(bytes < promised, "{bytes} bytes for {wanted} states");
    }
    at_the_limit(&mut rig, connections);
    rig.finish();
}

/// The limit is full: new connections are refused with their reason, and nothing else suffers.
fn at_the_limit(rig: &mut Rig, connections: u64) {
    rig.mark();
    let refused = 100;
    for n in connections..connections + refused {
        rig.send("sim0", &packet(n));
    }
    rig.expect_nothing_more();
    let changes = rig.changes();
    assert_eq!(
        changes.get("drop:memory"),
        Some(&(refused as i64)),
        "{changes:?}"
    );
    assert_eq!(changes.get("r1.made"), None);
    // Connections that are there go on, both ways; what needs no state passes.
    for n in [0, connections / 2, connections - 1] {
        let there = packet(n);
        rig.send("sim0", &there);
        rig.expect("sim1", &there.hop());
        let ping = packets::echo("192.0.2.2", "198.51.100.2", 7, n as u16);
        rig.send("sim0", &ping);
        rig.expect("sim1", &ping.hop());
    }
    let changes = rig.changes();
    assert_eq!(changes.get("drop:memory"), Some(&(refused as i64)));
    // As soon as one connection goes another may come.
    let (src, src_port, dst_port) = ends(connections - 1);
    let side = |addr: Ipv4Addr, port| {
        Some(Side {
            af: Some(ruleset::Af::Inet),
            addr: addr.to_bits().into(),
            mask: u128::from(u32::MAX),
            port: Some(port),
        })
    };
    let one = Kill {
        src: side(src, src_port),
        dst: side(Ipv4Addr::new(198, 51, 100, 2), dst_port),
        ..Kill::default()
    };
    assert_eq!(rig.kill(one), 2, "in and out");
    let new = packet(connections + refused);
    rig.send("sim0", &new);
    rig.expect("sim1", &new.hop());
}

#[test]
fn ten_million_states_need_less_than_six_gibibytes_and_the_limit_hurts_nobody_else() {
    let wanted = std::env::var("FUGU_STATES").ok();
    let wanted = wanted.map_or(60_000, |n| n.parse().expect("FUGU_STATES: a number"));
    for workers in [1, 2, 4] {
        states_cost(wanted, workers);
    }
}
