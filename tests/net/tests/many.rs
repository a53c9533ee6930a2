//! Very many connections at the same time through translation.

use net_tests::{Context, Load, NAT_RULES, OUTSIDE, Plan, Port, Result, Share, Site, skip};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

const CONNECTIONS: usize = 50_000;
/// Processes on each side, and ports of the server: one address of the box has 15,535 ports for each of them (`nat-to` in
/// pf.conf(5)), and many systems let a process open 20,000 files.
const PROCESSES: usize = 5;
/// Addresses of the inside host for each process.
const SOURCES: usize = 2;
/// Memory that the program may take for it: 100,000 states are less than 30 MiB.
const GROWTH_KIB: u64 = 128 << 10;

fn plan(workers: usize) -> Plan {
    let rules = format!("set limit states 150000\n{NAT_RULES}");
    let plan = Plan::with_rules(&rules);
    match workers {
        1 => plan,
        _ => plan.with_two_workers(),
    }
}

fn shares() -> Result<Vec<Share>> {
    let server: IpAddr = OUTSIDE.parse().context(OUTSIDE)?;
    let share = |n: usize| Share {
        count: CONNECTIONS / PROCESSES,
        from: (0..SOURCES)
            .map(|k| format!("10.0.1.{}", 10 + n * SOURCES + k))
            .collect(),
        to: SocketAddr::new(server, 7000 + n as u16),
    };
    Ok((0..PROCESSES).map(share).collect())
}

fn fifty_thousand(workers: usize) -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::open(&plan(workers))?;
    let (inside, outside) = (site.host(Port::Inside), site.host(Port::Outside));
    let shares = shares()?;
    for from in shares.iter().flat_map(|share| &share.from) {
        inside.address(&format!("{from}/24"))?;
    }
    site.warm_up()?;
    let memory = site.program.resident_kib()?;
    let started = Instant::now();
    let mut load = Load::open(env!("CARGO_BIN_EXE_net-load"), inside, outside, &shares)?;
    let states = site.states()?;
    println!(
        "{CONNECTIONS} connections after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(states >= 2 * CONNECTIONS as u64, "{states}");
    // Each moves data while all the others are there.
    for _ in 0..2 {
        load.talk()?;
    }
    let grown = site.program.resident_kib()?.saturating_sub(memory);
    println!(
        "{states} states, {workers} workers, {grown} KiB more, all talked twice after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(grown < GROWTH_KIB, "{grown} KiB");
    for reason in ["state-limit", "memory", "translate", "state-mismatch"] {
        assert_eq!(site.reason(reason)?, 0, "{reason}");
    }
    Ok(())
}

#[test]
fn fifty_thousand_connections_share_one_address() -> Result<()> {
    fifty_thousand(1)
}

#[test]
fn fifty_thousand_connections_share_one_address_and_two_workers() -> Result<()> {
    fifty_thousand(2)
}
