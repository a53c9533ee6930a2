//! Conversations with a box, named by the behaviour they show. Each is run under several numbers of workers where
//! the order of packets does not depend on it. Addresses: see [`packets::Topology::usual`].

mod anchors;
mod behaviour_fragment;
mod behaviour_rules;
mod behaviour_ways;
mod bridge_crowds;
mod bridge_frames;
mod bridge_packets;
mod ether;
mod express;
mod express_links;
mod filter;
mod forward;
mod fragment;
mod fragment_behaviors;
mod fragment_join;
mod gif;
mod ip_options;
mod kills;
mod learning;
mod limits_limiters;
mod limits_sources;
mod link_lagg;
mod link_vlan;
mod link_vlans;
mod local;
mod marks;
mod multipath;
mod nat_af;
mod nat_cores;
mod nat_errors;
mod nat_mapping;
mod nat_old;
mod nat_pool;
mod nat_rdr;
mod nat_to;
mod neighbor;
mod neighbor_floods;
mod os;
mod overload;
mod pflog;
mod reload;
mod route_by_rule;
mod route_families;
mod routing_domains;
mod scrub;
mod state;
mod synproxy;
mod table_counters;
mod tcp;
mod timeout;
mod turn_away;
mod why;
mod workers;

use packets::{Rig, Topology, everywhere};

/// The host on the inside, `sim0`.
const A: &str = "192.0.2.2";
/// The same, IPv6.
const A6: &str = "2001:db8:1::2";
/// The host on the outside, `sim1`.
const B: &str = "198.51.100.2";
/// The same, IPv6.
const B6: &str = "2001:db8:2::2";
/// A host behind the outside router.
const FAR: &str = "203.0.113.9";
/// The same, IPv6.
const FAR6: &str = "2001:db8:ffff::9";

/// One family's cast.
#[derive(Clone, Copy)]
struct Family {
    /// Inside host.
    a: &'static str,
    /// Outside host.
    b: &'static str,
    /// Host behind the outside router.
    far: &'static str,
    /// The outside router.
    router: &'static str,
    /// The box on the inside.
    box0: &'static str,
    /// The box on the outside.
    box1: &'static str,
    /// As in counter names.
    digit: &'static str,
}

const INET: Family = Family {
    a: A,
    b: B,
    far: FAR,
    router: "198.51.100.254",
    box0: "192.0.2.1",
    box1: "198.51.100.1",
    digit: "4",
};

const INET6: Family = Family {
    a: A6,
    b: B6,
    far: FAR6,
    router: "2001:db8:2::fe",
    box0: "2001:db8:1::1",
    box1: "2001:db8:2::1",
    digit: "6",
};

impl Family {
    /// Counter names with `#` for the family.
    fn counted(&self, text: &str) -> String {
        text.replace('#', self.digit)
    }
}

/// An address with a port.
fn at(addr: &str, port: u16) -> String {
    if addr.contains(':') {
        format!("[{addr}]:{port}")
    } else {
        format!("{addr}:{port}")
    }
}

/// A conversation in both families under every spread.
fn both(policy: &str, topology: &Topology, conversation: impl Fn(&mut Rig, Family)) {
    for family in [INET, INET6] {
        everywhere(policy, topology, |rig| conversation(rig, family));
    }
}
