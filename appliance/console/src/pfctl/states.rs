//! Lines of `pfctl -ss`. Read first: pfctl(8), -s states.

use std::net::IpAddr;

use control::api::{Api, StateEnd, StateView};

use super::{Options, STATES_MAX};
use crate::duration::clock;
use crate::listing;

/// `-ss`
pub(super) fn list(options: &Options, api: &mut dyn Api) -> String {
    let mut listed = api.states(STATES_MAX);
    if listed.lack.is_none() && listed.entries.len() >= STATES_MAX {
        let total = api.pf_info().states;
        let more = total > STATES_MAX as u64;
        listed.lack = more.then(|| format!("these are {STATES_MAX} of {total} states"));
    }
    if let Some(interface) = &options.interface {
        listed.entries.retain(|s| s.interface == *interface);
    }
    listing::text("pfctl", &listed, options.json, |s| {
        state(s, options.verbose)
    })
}

pub(super) fn state(s: &StateView, verbose: u8) -> String {
    let incoming = s.direction == "in";
    // pfctl puts our side first: what an incoming connection was sent to, where an outgoing one comes from.
    let (far_src, far_dst) = (s.translated_src.as_ref(), s.translated_dst.as_ref());
    let changes_family = far_src.is_some_and(|e| e.addr.is_ipv4() != s.src.addr.is_ipv4());
    let (first, arrow, second) = if changes_family {
        (ends(&s.dst, far_dst), "->", ends(&s.src, far_src))
    } else if incoming {
        (
            ends(far_dst.unwrap_or(&s.dst), far_dst.map(|_| &s.dst)),
            "<-",
            ends(far_src.unwrap_or(&s.src), far_src.map(|_| &s.src)),
        )
    } else {
        (ends(&s.src, far_src), "->", ends(&s.dst, far_dst))
    };
    let (a, b) = if incoming {
        (&s.peers.1, &s.peers.0)
    } else {
        (&s.peers.0, &s.peers.1)
    };
    // While the box shakes hands for a side, that is all there is to say.
    let levels = match s.peers.0.starts_with("PROXY:") {
        true => s.peers.0.clone(),
        false => format!("{a}:{b}"),
    };
    let mut out = format!(
        "{} {} {} {arrow} {}       {levels}\n",
        s.interface,
        protocol(s.proto),
        first,
        second
    );
    if verbose > 0 {
        out += &state_details(s, incoming);
    }
    if verbose > 1 {
        out += &format!(
            "   id: {:016x} creatorid: 00000000 worker: {}\n",
            s.id, s.worker
        );
    }
    out
}

fn state_details(s: &StateView, incoming: bool) -> String {
    let mut out = String::new();
    if let Some(mut windows) = s.windows {
        if incoming {
            windows.reverse();
        }
        // Scaling counts only if both sides do it.
        let scaled = windows.iter().all(|(_, _, wscale)| *wscale > 0);
        let [a, b] = windows.map(|(lo, len, wscale)| {
            let scale = if scaled {
                format!(" wscale {wscale}")
            } else {
                String::new()
            };
            format!("[{lo} + {len}]{scale}")
        });
        out += &format!("   {a}  {b}\n");
    }
    let [there, back] = s.counts;
    out += &format!(
        "   age {}, expires in {}, {}:{} pkts, {}:{} bytes",
        clock(s.age_s),
        clock(s.expires_s),
        there.packets,
        back.packets,
        there.bytes,
        back.bytes
    );
    if let Some(anchor) = s.anchor.as_ref().filter(|a| !a.is_empty()) {
        out += &format!(", anchor {anchor}");
    }
    if let Some(rule) = s.rule {
        out += &format!(", rule {rule}");
    }
    // pfctl prints no word for no-sync.
    for flag in s.flags.iter().filter(|flag| **flag != "no-sync") {
        out += &format!(", {flag}");
    }
    out.push('\n');
    out
}

/// An end, and in parentheses what it is on the other side.
fn ends(e: &StateEnd, other: Option<&StateEnd>) -> String {
    match other {
        Some(other) => format!("{} ({})", end(e), end(other)),
        None => end(e),
    }
}

fn end(e: &StateEnd) -> String {
    let end = match (e.addr, e.port) {
        (addr, 0) => addr.to_string(),
        (IpAddr::V4(a), port) => format!("{a}:{port}"),
        (IpAddr::V6(a), port) => format!("{a}[{port}]"),
    };
    match e.rdomain {
        0 => end,
        rdomain => format!("({rdomain}) {end}"),
    }
}

/// Names of /etc/protocols.
fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".into(),
        2 => "igmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        47 => "gre".into(),
        50 => "esp".into(),
        51 => "ah".into(),
        58 => "ipv6-icmp".into(),
        89 => "ospf".into(),
        112 => "carp".into(),
        132 => "sctp".into(),
        240 => "pfsync".into(),
        n => n.to_string(),
    }
}
