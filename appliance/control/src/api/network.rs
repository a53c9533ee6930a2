//! The network as `Api` shows it: interfaces and what they are made of, routes, neighbors. Plain values.

use std::net::IpAddr;

use serde::Serialize;

use super::Count;

/// An interface.
#[derive(Clone, PartialEq, Debug, Serialize, Default)]
pub struct InterfaceView {
    /// Name.
    pub name: String,
    /// `description`
    pub description: String,
    /// Number.
    pub index: u16,
    /// Configured up.
    pub up: bool,
    /// Carrier.
    pub link: bool,
    /// Megabits per second; 0 where unknown.
    pub speed_mbps: u32,
    /// Station address, `00:11:22:33:44:55`.
    pub lladdr: String,
    /// Routing domain.
    pub rdomain: u8,
    /// Largest IP packet.
    pub mtu: u16,
    /// Groups.
    pub groups: Vec<String>,
    /// Addresses with prefix length.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Poll-mode driver and device.
    pub driver: String,
    /// `0000:00:03.0`
    pub device: String,
    /// \[inet, inet6\] × \[in, out\] × \[pass, block\]
    pub pf: [[[Count; 2]; 2]; 2],
    /// Frames the card received and sent.
    pub hw_in: Count,
    /// Sent.
    pub hw_out: Count,
    /// Frames the card dropped for want of room or buffers.
    pub hw_missed: u64,
    /// Frames with errors.
    pub hw_errors: u64,
    /// What it stands on.
    pub made: MadeOf,
}

/// What an interface stands on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MadeOf {
    /// A card.
    #[default]
    Card,
    /// Nothing: `lo0`.
    Loopback,
    /// Frames of another interface with a tag.
    Vlan {
        /// That interface.
        parent: String,
        /// VLAN identifier.
        vid: u16,
        /// The tag is one of 802.1ad.
        service: bool,
        /// Priority in the tags of all frames; none takes that of the packet.
        prio: Option<u8>,
    },
    /// Several cards as one.
    Lagg {
        /// `failover`, `loadbalance`, `roundrobin`, `broadcast`, `lacp`, `none`.
        protocol: String,
        /// In order, the master first.
        ports: Vec<LaggPortView>,
        /// What chooses the port of a flow, where a hash does: `l2,l3,l4`.
        hash: Option<String>,
        /// Who has agreed to it, if it speaks LACP.
        lacp: Option<LacpView>,
    },
    /// Packets within packets.
    Gif {
        /// Our end.
        local: IpAddr,
        /// The other end.
        remote: IpAddr,
    },
    /// Interfaces as ports of a switch.
    Bridge(BridgeView),
}

/// Both systems of a lagg that speaks LACP.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LacpView {
    /// This box.
    pub actor: LacpSystemView,
    /// What the other side says it is; zeros before it has said anything.
    pub partner: LacpSystemView,
}

/// One system of two that speak LACP.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LacpSystemView {
    /// Priority, lower is better.
    pub priority: u16,
    /// Its address.
    pub lladdr: String,
    /// Tells this lagg from others of the same system.
    pub key: u16,
}

/// A bridge.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct BridgeView {
    /// Names of its members.
    pub members: Vec<String>,
    /// The members again, with what is set and what is so.
    pub ports: Vec<BridgePortView>,
    /// Interfaces that hear a copy of every frame.
    pub spans: Vec<String>,
    /// Most stations that are remembered.
    pub max_addr: u32,
    /// Seconds after which a silent station is forgotten; 0 is never.
    pub timeout_s: u32,
    /// Spanning tree.
    pub stp: StpView,
}

/// The spanning tree of a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct StpView {
    /// `stp` or `rstp`.
    pub protocol: &'static str,
    /// Priority of this bridge, lower becomes root.
    pub priority: u16,
    /// Address that this bridge has in the tree.
    pub lladdr: String,
    /// Seconds between messages.
    pub hello_s: u16,
    /// Seconds until the next state, where nobody agrees.
    pub forward_delay_s: u16,
    /// Seconds that what was heard counts.
    pub max_age_s: u16,
    /// Messages in a second at most.
    pub hold_count: u8,
    /// The root of the tree; none if no member takes part in one.
    pub root: Option<StpRootView>,
    /// Topology changes seen.
    pub topology_changes: u64,
}

/// The root of a spanning tree as a bridge sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct StpRootView {
    /// Its priority.
    pub priority: u16,
    /// Its address.
    pub lladdr: String,
    /// Cost of the way to it; 0 if it is this bridge.
    pub cost: u32,
    /// The member towards it; none if it is this bridge.
    pub port: Option<String>,
}

/// A member of a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct BridgePortView {
    /// Name.
    pub name: String,
    /// Number in messages of the spanning tree.
    pub number: u16,
    /// Words in capitals as ifconfig(8) has them: `LEARNING`, `DISCOVER`, `BLOCKNONIP`, `STP`, `EDGE`, ...
    pub flags: Vec<&'static str>,
    /// Protected domains, 1 to 31.
    pub protected: Vec<u8>,
    /// In the spanning tree: its priority.
    pub priority: u8,
    /// In the spanning tree: cost of a way over it.
    pub cost: u32,
    /// In the spanning tree: `root`, `designated`, `alternate`, `backup`, `disabled`.
    pub role: Option<&'static str>,
    /// In the spanning tree: `discarding`, `learning`, `forwarding`.
    pub state: Option<&'static str>,
}

/// Where a station is behind a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct StationView {
    /// The bridge.
    pub bridge: String,
    /// The station.
    pub lladdr: String,
    /// The member that it is behind.
    pub member: String,
    /// Seconds since it was last heard, as far as the bridge keeps count.
    pub age_s: u32,
    /// It is configured and never moves.
    #[serde(rename = "static")]
    pub fixed: bool,
}

/// A port of a lagg.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LaggPortView {
    /// Name.
    pub name: String,
    /// Its link is up, it has proved itself, and somebody answers behind it if anybody was asked.
    pub ready: bool,
    /// Frames leave by it (`ACTIVE`).
    pub sends: bool,
    /// Its frames are taken.
    pub heard: bool,
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteView {
    /// Destination.
    pub dest: IpAddr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// Gateway; none for a connected network.
    pub gateway: Option<IpAddr>,
    /// Interface name.
    pub interface: String,
    /// BSD flags: `UGS`, `UCn`, … Without `U` the interface is down or has no link, or another route is better.
    pub flags: String,
    /// It takes part in look-ups. So does a route without a link if no other leads to the same destinations.
    pub active: bool,
    /// The link of its interface is there.
    pub link: bool,
    /// Lower is better: 1 for our own addresses, 4 for networks of interfaces, 8 for static routes.
    pub priority: u8,
    /// Number of its table.
    pub rtable: u8,
    /// Its label.
    pub label: Option<String>,
}

/// A neighbor (`arp -a`, `ndp -a`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NeighborView {
    /// Address.
    pub addr: IpAddr,
    /// Station address; none while it is asked for.
    pub lladdr: Option<String>,
    /// Interface name.
    pub interface: String,
    /// Seconds until it is asked for again; none for our own, permanent ones.
    pub expires_s: Option<u64>,
    /// `reachable`, `stale`, `incomplete`, …; `permanent` for our own addresses, `static` for neighbors that are set.
    pub state: String,
    /// We answer for it (`arp -s ... pub`).
    pub published: bool,
}
