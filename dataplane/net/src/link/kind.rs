//! What an interface is made of, as configuration says it: ports, VLANs, laggs, bridges, tunnels. Knows nothing of what that is
//! compiled to. Read first: vlan(4), lagg(4), bridge(4), gif(4).

use alloc::sync::Arc;
use alloc::vec::Vec;

use sync::Masks;
use wire::ether::EtherType;

use crate::bridge::Bridge;
use crate::gif::Tunnel;
use crate::kif::InterfaceId;
use crate::probe::Target;
use crate::{failover, lacp};

/// What an interface is made of. Other interfaces are named by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A port of a card.
    Ethernet {
        /// The port's number.
        port: u16,
    },
    /// `lo0` and its like.
    Loopback,
    /// Frames of another interface with a tag.
    Vlan(Vlan),
    /// Several ports as one.
    Lagg(Lagg),
    /// Interfaces as ports of a switch.
    Bridge(Bridge),
    /// Packets within packets.
    Gif(Gif),
}

/// A tunnel and the routing table of its outer packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gif {
    /// Ends and outer headers.
    pub tunnel: Tunnel,
    /// Routing table of outer packets, which come in in its domain.
    pub rtable: u8,
}

/// Frames with a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// The interface that carries them: Ethernet, a lagg, or another VLAN.
    pub parent: InterfaceId,
    /// Type of the tag.
    pub tpid: Tpid,
    /// VLAN identifier, 1 to 4094.
    pub vid: u16,
    /// Priority (0 to 7, as PF counts) of all frames; none takes that of the packet.
    pub prio: Option<u8>,
}

/// Type of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Tpid {
    /// 802.1Q, 0x8100.
    #[default]
    Customer,
    /// 802.1ad, 0x88a8.
    Service,
}

impl Tpid {
    /// As the frame says it.
    pub const fn ethertype(self) -> EtherType {
        match self {
            Tpid::Customer => EtherType::VLAN,
            Tpid::Service => EtherType::QINQ,
        }
    }

    /// What the frame says, if it is a tag.
    #[inline]
    pub const fn of(ethertype: EtherType) -> Option<Tpid> {
        match ethertype {
            EtherType::VLAN => Some(Tpid::Customer),
            EtherType::QINQ => Some(Tpid::Service),
            _ => None,
        }
    }
}

/// Several ports as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lagg {
    /// How ports are chosen.
    pub rules: failover::Rules,
    /// For LACP.
    pub lacp: LacpRules,
    /// Neighbors that are asked whether a port whose link is up is alive. Their answers go to the control core too.
    pub targets: Vec<Target>,
    /// Its ports in order; the first is the primary. All are Ethernet.
    pub members: Vec<InterfaceId>,
    /// What is hashed to keep a flow on its port.
    pub hash: HashFields,
    /// Which members may send and which are heard: bit n is `members[n]`.
    pub masks: SharedMasks,
}

impl Lagg {
    /// A lagg of these ports as it is if nothing else is said.
    pub fn new(protocol: LaggProtocol, members: Vec<InterfaceId>) -> Self {
        Lagg {
            rules: failover::Rules {
                protocol,
                ..failover::Rules::default()
            },
            lacp: LacpRules::default(),
            targets: Vec::new(),
            members,
            hash: HashFields::default(),
            masks: SharedMasks::default(),
        }
    }
}

/// How a lagg speaks LACP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LacpRules {
    /// Who begins.
    pub mode: lacp::Mode,
    /// How often the partner is to speak.
    pub rate: lacp::Rate,
    /// Priority of this system, lower is better.
    pub system_priority: u16,
}

impl Default for LacpRules {
    fn default() -> Self {
        LacpRules {
            mode: lacp::Mode::Active,
            rate: lacp::Rate::Slow,
            system_priority: lacp::PRIORITY_DEFAULT,
        }
    }
}

/// How a lagg chooses the port of a frame (trunk(4)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LaggProtocol {
    /// The first one that may send.
    #[default]
    Failover,
    /// By the hash of the flow.
    LoadBalance,
    /// One after the other.
    RoundRobin,
    /// All of them.
    Broadcast,
    /// By the hash of the flow, among those that the other side has agreed to (IEEE 802.1AX).
    Lacp,
    /// None: nothing is sent and nothing is heard.
    None,
}

impl LaggProtocol {
    /// As ifconfig(8) names it.
    pub fn name(self) -> &'static str {
        match self {
            LaggProtocol::Failover => "failover",
            LaggProtocol::LoadBalance => "loadbalance",
            LaggProtocol::RoundRobin => "roundrobin",
            LaggProtocol::Broadcast => "broadcast",
            LaggProtocol::Lacp => "lacp",
            LaggProtocol::None => "none",
        }
    }
}

/// Fields of a frame that a lagg hashes (lagg(4), `lagghash`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashFields {
    /// Station addresses and tags.
    pub l2: bool,
    /// IP addresses.
    pub l3: bool,
    /// Ports of TCP and UDP.
    pub l4: bool,
}

impl Default for HashFields {
    fn default() -> Self {
        HashFields {
            l2: true,
            l3: true,
            l4: true,
        }
    }
}

/// Masks that the control core writes and workers read. Equal if they are the same ones.
#[derive(Debug, Clone, Default)]
pub struct SharedMasks(pub Arc<Masks>);

impl PartialEq for SharedMasks {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedMasks {}
