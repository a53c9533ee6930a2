//! What an interface is, in the words of its file: a card, or something made of other interfaces. Names of other interfaces are
//! kept as written; whether a card bears them is for the caller to say.
//!
//! Read first: ifconfig(8), vlan(4), trunk(4), aggr(4), lagg(4), bridge(4), gif(4).

use std::net::IpAddr;

use crate::Origin;

/// What an interface is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// A card, found by its name or by its station address.
    #[default]
    Ethernet,
    /// `lo0` and its like.
    Loopback,
    /// `vlan0`, `svlan0`, or `em0.22` as FreeBSD writes it.
    Vlan(Vlan),
    /// `trunk0`, `aggr0`, `lagg0`.
    Lagg(Lagg),
    /// `bridge0`.
    Bridge(Bridge),
    /// `gif0`.
    Gif(Gif),
}

impl Kind {
    /// The interfaces it is made of, in the order of the file: parent, ports, members, span ports.
    pub fn below(&self) -> Vec<&Named> {
        match self {
            Kind::Ethernet | Kind::Loopback | Kind::Gif(_) => Vec::new(),
            Kind::Vlan(vlan) => vlan.parent.iter().collect(),
            Kind::Lagg(lagg) => lagg.ports.iter().collect(),
            Kind::Bridge(bridge) => {
                let members = bridge.members.iter().map(|member| &member.port);
                members.chain(&bridge.spans).collect()
            }
        }
    }
}

/// The name of another interface, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Named {
    /// As written.
    pub name: String,
    /// Its line.
    pub origin: Origin,
}

/// EtherType of 802.1Q tags.
pub const TPID_VLAN: u16 = 0x8100;

/// EtherType of 802.1ad service tags.
pub const TPID_SVLAN: u16 = 0x88a8;

/// 802.1Q or 802.1ad on a parent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vlan {
    /// [`TPID_VLAN`] or [`TPID_SVLAN`].
    pub tpid: u16,
    /// `vnetid`, `vlan`: 1 to 4094; `None` only in a configuration with errors.
    pub vid: Option<u16>,
    /// `parent`, `vlandev`; `None` only in a configuration with errors.
    pub parent: Option<Named>,
    /// `txprio N`, 0 to 7; `None` for `packet`: the packet's own.
    pub prio: Option<u8>,
}

impl Default for Vlan {
    fn default() -> Self {
        Vlan {
            tpid: TPID_VLAN,
            vid: None,
            parent: None,
            prio: None,
        }
    }
}

/// How a lagg uses its ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LaggProtocol {
    /// The first port in the order of the file whose link is up. What FreeBSD does if nothing is said.
    #[default]
    Failover,
    /// By hash over all ports that are up.
    LoadBalance,
    /// One packet after the other. What OpenBSD's trunk does if nothing is said.
    RoundRobin,
    /// Every packet on every port.
    Broadcast,
    /// IEEE 802.1AX.
    Lacp,
    /// Passes nothing.
    Disabled,
}

/// Which headers choose the port of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaggHash {
    /// Station addresses and VLAN.
    pub l2: bool,
    /// Network addresses.
    pub l3: bool,
    /// Ports of the transport.
    pub l4: bool,
}

/// Settings of LACP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lacp {
    /// `lacpmode active`: speak first.
    pub active: bool,
    /// `lacptimeout fast`, `lacp_fast_timeout`: a partner is to speak every second, not every thirty.
    pub fast: bool,
    /// Priority of the system, lower is better.
    pub system_priority: u16,
}

/// Several ports as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lagg {
    /// `trunkproto`, `laggproto`.
    pub protocol: LaggProtocol,
    /// `trunkport`, `laggport`: the first is the master.
    pub ports: Vec<Named>,
    /// `lagghash`.
    pub hash: LaggHash,
    /// For LACP.
    pub lacp: Lacp,
    /// `IF receive all` in fugu.conf, or sysctl `net.link.lagg.failover_rx_all`: take frames from standby ports too.
    pub receive_all: bool,
    /// `IF min-links N` in fugu.conf: up only with as many ports.
    pub min_links: u16,
    /// `IF failback no` in fugu.conf clears it: stay on the standby when the master is back.
    pub failback: bool,
    /// `IF hold-time T` in fugu.conf: how long a link must have been up before it is used again, in milliseconds.
    pub hold_ms: u32,
    /// `IF probe ADDR …` in fugu.conf.
    pub probes: Vec<Probe>,
}

impl Default for Lagg {
    fn default() -> Self {
        Lagg {
            protocol: LaggProtocol::Failover,
            ports: Vec::new(),
            hash: LaggHash {
                l2: true,
                l3: true,
                l4: true,
            },
            lacp: Lacp {
                active: true,
                fast: false,
                system_priority: 0x8000,
            },
            receive_all: false,
            min_links: 1,
            failback: true,
            hold_ms: 0,
            probes: Vec::new(),
        }
    }
}

/// A neighbor that each port of a lagg must be able to reach, by ARP or neighbor solicitation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Who is asked.
    pub target: IpAddr,
    /// Milliseconds between questions.
    pub interval_ms: u32,
    /// Questions without an answer after which the port counts as dead.
    pub misses: u8,
    /// Its line.
    pub origin: Origin,
}

/// Spanning tree protocol of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StpProtocol {
    /// IEEE 802.1D-1998.
    Stp,
    /// IEEE 802.1D-2004. The default.
    #[default]
    Rstp,
}

/// Spanning tree of a bridge; members take part that say `stp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stp {
    /// `proto`.
    pub protocol: StpProtocol,
    /// `spanpriority`, `priority`: lower becomes root; a multiple of 4096.
    pub priority: u16,
    /// `hellotime`, seconds.
    pub hello: u8,
    /// `fwddelay`, seconds.
    pub forward_delay: u8,
    /// `maxage`, seconds.
    pub max_age: u8,
    /// `holdcnt`: BPDUs at once.
    pub hold_count: u8,
}

impl Default for Stp {
    fn default() -> Self {
        Stp {
            protocol: StpProtocol::Rstp,
            priority: 0x8000,
            hello: 2,
            forward_delay: 15,
            max_age: 20,
            hold_count: 6,
        }
    }
}

/// A transparent bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bridge {
    /// `add`, `addm`, in the order of the file.
    pub members: Vec<BridgeMember>,
    /// `addspan`, `span`: ports that get a copy of every frame.
    pub spans: Vec<Named>,
    /// `maxaddr`: most learned station addresses.
    pub max_addr: u32,
    /// `timeout`: seconds after which a learned address is forgotten; 0 never.
    pub timeout: u32,
    /// Spanning tree.
    pub stp: Stp,
    /// `static`: addresses that are not learned and not forgotten.
    pub statics: Vec<StaticStation>,
    /// `rule`, in the order of the file: the first that matches a member and a frame decides.
    pub rules: Vec<MacRule>,
    /// `link0`: frames that are no IP and go to many are not forwarded.
    pub link0: bool,
    /// `link1`: frames that are no IP are not forwarded.
    pub link1: bool,
}

impl Default for Bridge {
    fn default() -> Self {
        Bridge {
            members: Vec::new(),
            spans: Vec::new(),
            max_addr: 100,
            timeout: 240,
            stp: Stp::default(),
            statics: Vec::new(),
            rules: Vec::new(),
            link0: false,
            link1: false,
        }
    }
}

/// An interface in a bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgeMember {
    /// Which.
    pub port: Named,
    /// `learn`: remember who is behind it.
    pub learn: bool,
    /// `discover`: send frames for unknown addresses there.
    pub discover: bool,
    /// `blocknonip`: only IP, ARP and reverse ARP.
    pub block_non_ip: bool,
    /// `stp`: takes part in the spanning tree.
    pub stp: bool,
    /// `edge`: `Some` if said, else it is found out (`autoedge`).
    pub edge: Option<bool>,
    /// `ptp`: `Some` if said, else it is found out (`autoptp`).
    pub point_to_point: Option<bool>,
    /// `ifcost`, `ifpathcost`: path cost, else by the speed of the link.
    pub cost: Option<u32>,
    /// `ifpriority`: 0 to 240.
    pub priority: u8,
    /// `protected`: domains 1 to 31 as bits; members with one in common do not hear each other. FreeBSD's `private` is bit 0.
    pub protected: u32,
    /// `ifmaxaddr`: most addresses learned behind it.
    pub max_addr: Option<u32>,
    /// `sticky`: what is learned here stays.
    pub sticky: bool,
}

impl BridgeMember {
    /// A member as `add` makes it.
    pub fn new(port: Named) -> Self {
        BridgeMember {
            port,
            learn: true,
            discover: true,
            block_non_ip: false,
            stp: false,
            edge: None,
            point_to_point: None,
            cost: None,
            priority: 128,
            protected: 0,
            max_addr: None,
            sticky: false,
        }
    }
}

/// `static IF ADDR` of a bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticStation {
    /// The member behind which it is.
    pub port: Named,
    /// The station.
    pub station: [u8; 6],
}

/// A rule of a bridge for the frames of one member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MacRule {
    /// `block`, else `pass`.
    pub block: bool,
    /// `in`: frames that come from the member.
    pub inbound: bool,
    /// `out`: frames that go to the member.
    pub outbound: bool,
    /// The member.
    pub port: Named,
    /// Source address.
    pub src: Option<[u8; 6]>,
    /// Destination address.
    pub dst: Option<[u8; 6]>,
    /// Tag for the rules of pf.conf.
    pub tag: Option<String>,
    /// `arp`, `rarp` and what must stand in them.
    pub arp: Option<ArpMatch>,
}

/// What a rule of a bridge wants of ARP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ArpMatch {
    /// Reverse ARP.
    pub reverse: bool,
    /// `request` (true) or `reply` (false).
    pub request: Option<bool>,
    /// `sha`: sender's station.
    pub sha: Option<[u8; 6]>,
    /// `spa`: sender's address.
    pub spa: Option<std::net::Ipv4Addr>,
    /// `tha`: target's station.
    pub tha: Option<[u8; 6]>,
    /// `tpa`: target's address.
    pub tpa: Option<std::net::Ipv4Addr>,
}

/// IP in IP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gif {
    /// `tunnel SRC DST`, of one family; `None` only in a configuration with errors.
    pub tunnel: Option<Tunnel>,
    /// `tunnelttl`: TTL of outer packets; `None` takes the inner one (`copy`).
    pub ttl: Option<u8>,
    /// `tunneldf`: outer packets must not be fragmented.
    pub dont_fragment: bool,
    /// `tunneldomain`: table of routes for outer packets.
    pub domain: u16,
}

impl Default for Gif {
    /// As `ifconfig gif0 create` makes it.
    fn default() -> Self {
        const TTL: u8 = 64;
        Gif {
            tunnel: None,
            ttl: Some(TTL),
            dont_fragment: false,
            domain: 0,
        }
    }
}

/// The ends of a tunnel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// Ours.
    pub src: IpAddr,
    /// Theirs.
    pub dst: IpAddr,
    /// Its line.
    pub origin: Origin,
}
