//! `pfctl -si`. Read first: pfctl(8), -s info.

use control::api::{InterfaceView, PfInfo};

use crate::duration::clock;

pub(super) fn info(i: &PfInfo, verbose: u8) -> String {
    let running = if i.enabled { "Enabled" } else { "Disabled" };
    let days = i.since_s / 86_400;
    let status = format!(
        "Status: {running} for {days} days {}",
        clock(i.since_s % 86_400)
    );
    let debug = format!("Debug: {}", i.debug);
    let mut out = format!("{status:<44}{debug:>15}\n\n");
    if let Some(interface) = &i.loginterface {
        out += &interface_stats(interface);
    }
    out += &format!("{:<27} {:>14} {:>16}\n", "State Table", "Total", "Rate");
    // Levels have no rate; OpenBSD pads the empty column.
    out += &format!("  {:<25} {:>14} {:>14}\n", "current entries", i.states, "");
    out += &format!("  {:<25} {:>14} {:>14}\n", "half-open tcp", i.half_open, "");
    for (name, n) in [
        ("searches", i.searches),
        ("inserts", i.inserts),
        ("removals", i.removals),
    ] {
        out += &rate_line(name, n, i.since_s);
    }
    out += "Counters\n";
    for (name, n) in &i.reasons {
        out += &rate_line(name, *n, i.since_s);
    }
    if verbose > 0 {
        out += "Limit Counters\n";
        for (name, n) in &i.limits {
            out += &rate_line(name, *n, i.since_s);
        }
    }
    out
}

fn rate_line(name: &str, n: u64, seconds: u64) -> String {
    if seconds == 0 {
        return format!("  {name:<25} {n:>14} {:>14}\n", "");
    }
    format!(
        "  {name:<25} {n:>14} {:>14.1}/s\n",
        n as f64 / seconds as f64
    )
}

fn interface_stats(i: &InterfaceView) -> String {
    let name = format!("Interface Stats for {}", i.name);
    let mut out = format!("{name:<27} {:>14} {:>16}\n", "IPv4", "IPv6");
    let [four, six] = i.pf;
    for (direction, at) in [("In", 0), ("Out", 1)] {
        let bytes = |side: [[control::api::Count; 2]; 2]| side[at][0].bytes + side[at][1].bytes;
        let title = format!("Bytes {direction}");
        out += &format!("  {title:<25} {:>14} {:>16}\n", bytes(four), bytes(six));
    }
    for (direction, at) in [("In", 0), ("Out", 1)] {
        out += &format!("  Packets {direction}\n");
        for (action, which) in [("Passed", 0), ("Blocked", 1)] {
            let (a, b) = (four[at][which].packets, six[at][which].packets);
            out += &format!("    {action:<23} {a:>14} {b:>16}\n");
        }
    }
    out.push('\n');
    out
}
