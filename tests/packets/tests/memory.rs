//! What states cost, and what happens at their limit. Resident memory is that of a whole process, so each count of states has
//! a process of its own: this program, started anew with [`PART`] set.
//!
//! By itself it measures a sixteenth and an eighth of ten million states. What states do not change cancels out in the
//! difference, and tables that have powers of two of something waste the same share as those of ten million. Whole, in a
//! build with optimization: `FUGU_STATES=10000000 cargo test --release -p packets --test memory -- --nocapture`.
//!
//! Beside the allocator that watches the workers all memory is resident that is asked for, used or not; then only the limit
//! is looked at. `cargo test -p packets --no-default-features --test memory` measures without it.

use std::net::Ipv4Addr;
use std::process::Command;

use filter::Kill;
use filter::kill::Side;
use packets::{Packet, Rig, Spread, Topology, udp};
use state::StateTable;

/// The promise: so many states ...
const TEN_MILLION: u64 = 10_000_000;
/// ... need less than this.
const BYTES_OF_TEN_MILLION: u64 = 6 << 30;
/// Bytes that a state may take, by workers: what is measured (416, 507, 507), and 2 % for noise. Several workers have room
/// for a quarter more states than there may be.
const BYTES_OF_ONE: [(u16, u64); 3] = [(1, 424), (2, 516), (4, 516)];
/// Below so many states the rest of a box counts for more than its states.
const MEASURED_FROM: u64 = 1_000_000;
/// States where only the limit is looked at.
const FEW: u64 = 60_000;
/// Resident memory says nothing: the allocator writes what is only asked for.
const IS_GUARDED: bool = cfg!(all(debug_assertions, feature = "guard"));
/// Packets to a burst of the rig.
const BURST: u64 = 64;
/// "STATES WORKERS": what this process is to measure.
const PART: &str = "FUGU_MEMORY_PART";
/// Before the bytes that such a process has measured.
const RESIDENT: &str = "resident: ";

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

/// Makes states up to the limit; tells what is resident then, and looks at what happens at the limit.
fn fill(wanted: u64, workers: u16) {
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
    send(&mut rig, 0, connections);
    assert_eq!(rig.shared().states.get(), connections * 2);
    println!("\n{RESIDENT}{}", resident());
    at_the_limit(&mut rig, connections);
    rig.finish();
}

/// [`fill`] in a process of its own: bytes resident.
fn bytes_of(states: u64, workers: u16) -> u64 {
    let me = std::env::current_exe().expect("this program has a path");
    let mut part = Command::new(me);
    let part = part
        .arg("--nocapture")
        .env(PART, format!("{states} {workers}"));
    let output = part.output().expect("this program starts once more");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let bytes = said.lines().find_map(|l| l.strip_prefix(RESIDENT));
    let bytes: u64 = bytes.and_then(|b| b.parse().ok()).expect("a figure");
    println!(
        "{states} states, {workers} workers: {} MiB resident, {} bytes to a state ({} in its table, all in use)",
        bytes >> 20,
        bytes / states,
        StateTable::bytes(states as usize) as u64 / states,
    );
    bytes
}

/// As many states as somebody wants, measured whole.
fn keeps_promise(wanted: u64, workers: u16) {
    let bytes = bytes_of(wanted, workers);
    let promised = BYTES_OF_TEN_MILLION / TEN_MILLION * wanted;
    let is_promised = IS_GUARDED || wanted < MEASURED_FROM || bytes < promised;
    assert!(is_promised, "{bytes} bytes for {wanted} states");
}

/// What ten million states would take, from what fewer do.
fn ten_million_by_fewer(workers: u16, most: u64) {
    let (few, many) = (TEN_MILLION / 16, TEN_MILLION / 8);
    let of_few = bytes_of(few, workers);
    let of_many = bytes_of(many, workers);
    let each = of_many.saturating_sub(of_few) / (many - few);
    println!("{workers} workers: {each} bytes to each more state");
    assert!(
        each <= most,
        "{each} bytes to a state with {workers} workers, {most} allowed"
    );
    let all = of_few + each * (TEN_MILLION - few);
    assert!(
        all < BYTES_OF_TEN_MILLION,
        "{all} bytes with {workers} workers"
    );
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
    if let Ok(part) = std::env::var(PART) {
        let (states, workers) = part.split_once(' ').expect("two numbers");
        return fill(states.parse().unwrap(), workers.parse().unwrap());
    }
    let wanted = std::env::var("FUGU_STATES").ok();
    let wanted = wanted.map(|n| n.parse::<u64>().expect("FUGU_STATES: a number"));
    for (workers, most) in BYTES_OF_ONE {
        match wanted {
            None if IS_GUARDED => fill(FEW, workers),
            None => ten_million_by_fewer(workers, most),
            Some(wanted) => keeps_promise(wanted, workers),
        }
    }
}
