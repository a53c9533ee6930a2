//! Neighbors: which Ethernet address an IP address on the link has, for IPv4 (ARP) and IPv6 (ND) alike.
//!
//! Read first: RFC 826; RFC 4861 sections 7.2 and 7.3, appendix C (the machine); RFC 5227 (ARP
//! conflicts); RFC 6583 (what a scan does to a neighbor cache). ARP is run on the machine of RFC 4861: it
//! has the same questions and answers, and one machine is tested instead of two.
//!
//! | module | owns |
//! |---|---|
//! | `machine` | states, events, and the one function between them |
//! | `cache` | the entries of one worker, limits |
//! | `held` | the packets that wait for them |
//! | `answer` | answers to others' questions, validity of discovery messages |
//! | `frame` | questions and answers as Ethernet frames |
//!
//! Everything is sans-io: frames come in as parsed messages, time as milliseconds, and what is to be
//! sent goes out through [`NeighborCache::poll`].

mod answer;
mod cache;
mod frame;
mod held;
mod index;
mod machine;
#[cfg(test)]
mod sim;

pub use answer::{
    Advert, Discovery, DiscoveryMessage, Refused, answer_arp, answer_ns, receive_discovery,
};
pub use cache::{
    Action, HELD_PER_NEIGHBOR_MAX, Heard, Held, Limits, Neighbor, NeighborCache, Resolution, Update,
};
pub use frame::{
    FRAME_LEN_MAX, PROBE_PREFIX, build_arp, build_arp_probe, build_arp_request,
    build_gratuitous_arp, build_na, build_ns, build_ns_from, build_ns_probe, build_question,
    build_unsolicited_na,
};
pub use machine::{ASK_INTERVAL_MS, ASK_MAX, DELAY_MS, REACHABLE_MS, STALE_MS, State};
