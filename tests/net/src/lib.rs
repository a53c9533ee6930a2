//! The real program between real Linux hosts: `fugu` on DPDK `net_af_packet` in a network namespace of its own, and a
//! host behind each of its three ports.
//!
//! ```text
//!   outside 192.0.2.2      --- ap0 [ fugu ] ap1 --- inside 10.0.1.2
//!           2001:db8:1::2                           2001:db8:2::2
//!                               ap2 --- management 172.16.0.2
//! ```
//!
//! Owns the program while a test runs ([`Site`]), and what the tests do to it: real clients, a crowd of connections
//! ([`Crowd`]), and HTTP in every bad form ([`http`]). Waiting is always for a condition, with a deadline. A value that
//! goes away ends what it started; the last lines the program wrote are printed in the end.
//!
//! Read first: "AF_PACKET Poll Mode Driver" in the DPDK documentation, ip-netns(8), the crate `hosts`.

#![forbid(unsafe_code)]

mod capture;
pub mod clients;
mod console;
mod crowd;
mod etc;
pub mod http;
mod load;
mod mirror;
mod program;
mod site;
mod tagged;
mod wait;

pub use capture::Capture;
pub use clients::noise;
pub use crowd::{Crowd, UdpEcho, serve_echo};
pub use etc::{BASE_RULES, Etc, NAT_RULES};
pub use hosts::{Context, Failure, Namespace, Output, Result};
pub use load::{Load, Share};
pub use mirror::Mirror;
pub use program::Program;
pub use site::{
    API, Cable, INSIDE, INSIDE6, OUTSIDE, OUTSIDE6, OUTSIDE64, Plan, Port, ROUTER_INSIDE,
    ROUTER_INSIDE6, ROUTER_OUTSIDE, ROUTER_OUTSIDE6, Site, TOKEN,
};
pub use tagged::tagged_bridge;
pub use wait::{PATIENCE, until, until_within};

use std::path::Path;

/// Why the program cannot be tested here, as a sentence; None: it can.
#[must_use]
pub fn missing() -> Option<String> {
    let program = program::path();
    if !program.exists() || !hosts::fuguctl_path().exists() {
        return Some(format!(
            "no {} or no fuguctl: run ci/build",
            program.display()
        ));
    }
    let programs = [
        "ip",
        "ethtool",
        "ping",
        "traceroute",
        "curl",
        "tcpdump",
        "nginx",
        "ss",
        "iperf3",
        "dnsmasq",
        "dig",
        "hping3",
    ];
    if let Some(name) = hosts::missing_program(&programs) {
        return Some(format!("no {name}: run ci/setup"));
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("no /dev/net/tun: this system has no virtual networks".into());
    }
    if let Err(failure) = Namespace::new("probe") {
        return Some(format!(
            "network namespaces cannot be made (not root?): {failure}"
        ));
    }
    None
}

/// Prints why a test is skipped and tells the caller to return.
#[must_use]
pub fn skip() -> bool {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return true;
    }
    false
}
