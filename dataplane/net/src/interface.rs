//! Interfaces, their addresses, and which addresses are ours.
//!
//! Read first: RFC 1122 section 3.2.1.3 (special IPv4 addresses), RFC 2644 (directed broadcasts are
//! not forwarded), RFC 4291 sections 2.5 to 2.8 (what an IPv6 node and router must answer to).
//!
//! The table is built whole on the control core, is immutable, and is published with the routes made
//! from it. Knows no packets.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::{ether, ipv6};

use crate::bridge::Bridges;
pub use crate::kif::{GROUPS_MAX, InterfaceId, KifId, KifSet, NAMES_MAX};
use crate::link::{Kind, Links, Receiver, Way};
use crate::listen::Listening;
use crate::prefix::Prefix;

/// Most interfaces of a box: each has a name that rules can use, and there are [`NAMES_MAX`] of those.
pub const INTERFACES_MAX: usize = NAMES_MAX;

/// Highest NIC port number + 1.
pub const PORTS_MAX: u16 = 256;

/// Least MTU in bytes: what every IPv4 link must carry (RFC 791 3.2).
pub const MTU_MIN: u16 = 68;

/// Least MTU in bytes of a link with IPv6 (RFC 8200 5).
pub const MTU_MIN_INET6: u16 = 1280;

/// An interface name. BSD limits it to 15 characters and a zero.
pub type Name = heapless::String<16>;

/// An address of an interface and the length of its network prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IfAddr {
    /// The address.
    pub addr: IpAddr,
    /// Bits of the network prefix, up to 32 or 128.
    pub prefix_len: u8,
}

impl IfAddr {
    /// The network on the link.
    pub fn network(&self) -> Prefix {
        Prefix::containing(self.addr, self.prefix_len)
    }

    /// Whether `addr` is on the same link.
    pub fn on_link(&self, addr: IpAddr) -> bool {
        self.network().contains(addr)
    }

    /// The directed broadcast address: host bits all one. Networks of one or two addresses have none
    /// (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.addr {
            IpAddr::V4(addr) if self.prefix_len < 31 => Some(Ipv4Addr::from_bits(
                addr.to_bits() | u32::MAX >> self.prefix_len,
            )),
            _ => None,
        }
    }
}

/// An interface: what rules name and routes point at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its number, the position in the table.
    pub id: InterfaceId,
    /// Its name, such as `em0`.
    pub name: Name,
    /// What it is made of.
    pub kind: Kind,
    /// Its Ethernet address.
    pub mac: ether::Addr,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Whether it is configured up. The link's state is another matter.
    pub up: bool,
    /// Its routing domain: packets that come in by it are routed, and addresses are ours, in this domain.
    pub rdomain: u8,
    /// Its own name and its groups, as rules number them.
    pub kifs: KifSet,
    /// Its addresses, in the order configured.
    pub addrs: Vec<IfAddr>,
    /// Names of its groups.
    pub groups: Vec<String>,
    /// Free text of the administrator.
    pub description: String,
}

impl Interface {
    /// Number of the NIC port, if it is one.
    pub fn port(&self) -> Option<u16> {
        match self.kind {
            Kind::Ethernet { port } => Some(port),
            _ => None,
        }
    }

    /// Whether it is `lo0` or its like.
    #[inline]
    pub fn is_loopback(&self) -> bool {
        matches!(self.kind, Kind::Loopback)
    }

    /// Addresses of one family, in the order configured.
    fn addrs4(&self) -> impl Iterator<Item = (Ipv4Addr, &IfAddr)> {
        self.addrs.iter().filter_map(|a| match a.addr {
            IpAddr::V4(addr) => Some((addr, a)),
            IpAddr::V6(_) => None,
        })
    }

    fn addrs6(&self) -> impl Iterator<Item = (Ipv6Addr, &IfAddr)> {
        self.addrs.iter().filter_map(|a| match a.addr {
            IpAddr::V6(addr) => Some((addr, a)),
            IpAddr::V4(_) => None,
        })
    }

    /// Whether it speaks IPv6: it has any IPv6 address.
    pub fn inet6(&self) -> bool {
        self.addrs6().next().is_some()
    }

    /// Its link-local IPv6 address.
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.addrs6()
            .map(|(addr, _)| addr)
            .find(|addr| addr.is_unicast_link_local())
    }

    /// Whether `addr` is one of its own addresses.
    pub fn owns(&self, addr: IpAddr) -> bool {
        self.addrs.iter().any(|a| a.addr == addr)
    }

    /// Whether `addr` is in a network on its link.
    pub fn on_link(&self, addr: IpAddr) -> bool {
        self.addrs.iter().any(|a| a.on_link(addr))
    }

    /// The source address for something we send to `dst` over it: the address in the same network,
    /// else the first one.
    pub fn source4(&self, dst: Ipv4Addr) -> Option<Ipv4Addr> {
        self.addrs4()
            .find(|(_, a)| a.on_link(dst.into()))
            .or_else(|| self.addrs4().next())
            .map(|(addr, _)| addr)
    }

    /// The source address for something we send to `dst` over it: of the same scope and network if
    /// possible (the first rules of RFC 6724 5).
    pub fn source6(&self, dst: Ipv6Addr) -> Option<Ipv6Addr> {
        let local = link_scope(dst);
        let scope = |addr: Ipv6Addr| addr.is_unicast_link_local() == local;
        self.addrs6()
            .find(|&(addr, a)| scope(addr) && a.on_link(dst.into()))
            .or_else(|| self.addrs6().find(|&(addr, _)| scope(addr)))
            .or_else(|| self.addrs6().next())
            .map(|(addr, _)| addr)
    }

    /// The source address of either family.
    pub fn source(&self, dst: IpAddr) -> Option<IpAddr> {
        match dst {
            IpAddr::V4(dst) => self.source4(dst).map(IpAddr::V4),
            IpAddr::V6(dst) => self.source6(dst).map(IpAddr::V6),
        }
    }

    /// Whether it listens to a multicast group: all hosts; all nodes and routers; the solicited-node
    /// groups of its addresses (RFC 4291 2.8).
    pub fn joined(&self, group: IpAddr) -> bool {
        match group {
            IpAddr::V4(group) => group == Ipv4Addr::new(224, 0, 0, 1) && !self.addrs.is_empty(),
            IpAddr::V6(group) => self.inet6() && self.joined6(group),
        }
    }

    fn joined6(&self, group: Ipv6Addr) -> bool {
        // Interface-local scope (ff01) means the same groups within the node.
        group == ipv6::ALL_NODES
            || group == ipv6::ALL_ROUTERS
            || group == Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1)
            || group == Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 2)
            || self
                .addrs6()
                .any(|(addr, _)| ipv6::solicited_node(addr) == group)
    }
}

/// Link-local unicast, and multicast groups that do not leave the link.
fn link_scope(addr: Ipv6Addr) -> bool {
    let octets = addr.octets();
    addr.is_unicast_link_local() || (octets[0] == 0xff && octets[1] & 0x0f <= 2)
}

/// What a destination address is to this box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// An address of ours: for the local host.
    Local,
    /// Every host on a link of ours, or "this network": for the local host too, never forwarded.
    Broadcast,
    /// A group that the interface listens to: for the local host too.
    Joined,
    /// A group nobody here listens to. There is no multicast forwarding.
    Multicast,
    /// Only valid on the link it came from, and not ours: never forwarded.
    LinkScope,
    /// Never valid on a wire as a destination: unspecified, loopback, reserved.
    Invalid,
    /// Somewhere else: for the route table.
    Remote,
}

/// Why a set of interfaces cannot be a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceError {
    /// More than [`INTERFACES_MAX`].
    TooMany,
    /// The id of the named interface is another's, or too large.
    WrongId(Name),
    /// Two interfaces have this name.
    DuplicateName(Name),
    /// The named interface uses a port that another has, or that is [`PORTS_MAX`] or more.
    Port(Name, u16),
    /// The address is on two interfaces, or twice on the named one.
    DuplicateAddr(Name, IpAddr),
    /// The address of the named interface is not one host's, or its prefix is too long.
    Addr(Name, IfAddr),
    /// The MTU of the named interface is below what its address families need.
    Mtu(Name, u16),
    /// The named interface cannot stand on those that it names.
    Link(Name, &'static str),
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "more than {INTERFACES_MAX} interfaces"),
            Self::WrongId(name) => write!(f, "{name}: its number is taken or out of range"),
            Self::DuplicateName(name) => write!(f, "{name}: interface exists already"),
            Self::Port(name, port) => write!(f, "{name}: port {port} is taken or out of range"),
            Self::DuplicateAddr(name, addr) => write!(f, "{name}: {addr} is configured twice"),
            Self::Addr(name, a) => {
                let (addr, len) = (a.addr, a.prefix_len);
                write!(
                    f,
                    "{name}: {addr}/{len} cannot be the address of an interface"
                )
            }
            Self::Mtu(name, mtu) => write!(
                f,
                "{name}: mtu {mtu} is below {MTU_MIN} (or {MTU_MIN_INET6} with inet6)"
            ),
            Self::Link(name, what) => write!(f, "{name} {what}"),
        }
    }
}

impl core::error::Error for InterfaceError {}

/// What an IPv4 address in the sorted list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind4 {
    Own,
    Broadcast,
}

/// All interfaces, and fast answers to "is this address ours?".
#[derive(Debug, Clone, Default)]
pub struct InterfaceTable {
    /// By number. A number stays with a name: those of names without an interface are not in use.
    interfaces: Vec<Option<Interface>>,
    links: Links,
    bridges: Bridges,
    /// Own and broadcast addresses of interfaces that are up, behind the number of the routing domain, sorted. A
    /// binary search over a few addresses stays in one or two cache lines; hashing would not be faster.
    addrs4: Vec<(u64, Kind4, InterfaceId)>,
    /// Own addresses by routing domain, sorted; link-local ones may be there once per interface.
    addrs6: Vec<(u8, u128, InterfaceId)>,
    listening: Listening,
}

impl InterfaceTable {
    /// The same table, telling the control core of what `listening` says.
    pub fn listening_for(mut self, listening: Listening) -> InterfaceTable {
        self.listening = listening;
        self
    }

    /// What the control core wants to be told of.
    #[inline]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Checks the interfaces and builds the table. An interface that is up, is no loopback and has
    /// any IPv6 address gets its link-local address (EUI-64) unless one was configured.
    pub fn build(mut interfaces: Vec<Interface>) -> Result<InterfaceTable, InterfaceError> {
        interfaces.iter_mut().for_each(add_link_local);
        check_all(&interfaces)?;
        let by_id = by_number(interfaces)?;
        let mut table = InterfaceTable {
            links: Links::build(&by_id)?,
            bridges: Bridges::build(&by_id)?,
            ..InterfaceTable::default()
        };
        for interface in by_id.iter().flatten().filter(|i| i.up) {
            table.add_addrs(interface);
        }
        table.addrs4.sort_unstable();
        table.addrs6.sort_unstable();
        table.interfaces = by_id;
        Ok(table)
    }

    fn add_addrs(&mut self, interface: &Interface) {
        for a in &interface.addrs {
            match a.addr {
                IpAddr::V4(addr) => {
                    let entry = (in_domain(interface.rdomain, addr), Kind4::Own, interface.id);
                    self.addrs4.push(entry);
                }
                IpAddr::V6(addr) => {
                    let entry = (interface.rdomain, addr.to_bits(), interface.id);
                    self.addrs6.push(entry);
                }
            }
            if let Some(broadcast) = a.broadcast() {
                let key = in_domain(interface.rdomain, broadcast);
                let entry = (key, Kind4::Broadcast, interface.id);
                self.addrs4.push(entry);
            }
        }
    }

    /// The interface with this number.
    #[inline]
    pub fn get(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(usize::from(id.0))?.as_ref()
    }

    /// The interface that frames of this NIC port belong to: its own, or its lagg.
    pub fn by_port(&self, port: u16) -> Option<&Interface> {
        self.get(self.links.receiver(port)?.interface)
    }

    /// The layers of links.
    #[inline]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The bridges.
    #[inline]
    pub fn bridges(&self) -> &Bridges {
        &self.bridges
    }

    /// Whose frames come in by a port; none if it has no interface or that is down.
    #[inline]
    pub fn receiver(&self, port: u16) -> Option<Receiver> {
        self.links.receiver(port)
    }

    /// How frames leave by an interface.
    #[inline]
    pub fn way(&self, id: InterfaceId) -> Option<&Way> {
        self.links.way(id)
    }

    /// The interface with this name.
    pub fn by_name(&self, name: &str) -> Option<&Interface> {
        self.iter().find(|i| i.name == name)
    }

    /// All interfaces in the order of their numbers.
    pub fn iter(&self) -> Iter<'_> {
        self.interfaces.iter().flatten()
    }

    /// The interface of a routing domain that is up and has this address. Link-local addresses are not looked for:
    /// they mean something only together with an interface.
    #[inline]
    pub fn local(&self, rdomain: u8, addr: IpAddr) -> Option<InterfaceId> {
        match addr {
            IpAddr::V4(addr) => match self.find4(rdomain, addr)? {
                (Kind4::Own, id) => Some(id),
                (Kind4::Broadcast, _) => None,
            },
            IpAddr::V6(addr) if addr.is_unicast_link_local() => None,
            IpAddr::V6(addr) => self.find6(rdomain, addr).map(|at| self.addrs6[at].2),
        }
    }

    /// An own address comes before a broadcast address of the same value.
    #[inline]
    fn find4(&self, rdomain: u8, addr: Ipv4Addr) -> Option<(Kind4, InterfaceId)> {
        let bits = in_domain(rdomain, addr);
        let at = self.addrs4.partition_point(|&(other, ..)| other < bits);
        let &(found, kind, id) = self.addrs4.get(at)?;
        (found == bits).then_some((kind, id))
    }

    #[inline]
    fn find6(&self, rdomain: u8, addr: Ipv6Addr) -> Option<usize> {
        let wanted = (rdomain, addr.to_bits());
        let key = |entry: &(u8, u128, InterfaceId)| (entry.0, entry.1);
        let at = self.addrs6.partition_point(|entry| key(entry) < wanted);
        (key(self.addrs6.get(at)?) == wanted).then_some(at)
    }

    /// What a destination address is to this box, for a packet that arrived on `interface` and is routed in `rdomain`.
    #[inline]
    pub fn classify(&self, rdomain: u8, interface: InterfaceId, dst: IpAddr) -> Destination {
        match dst {
            IpAddr::V4(dst) => self.classify4(rdomain, interface, dst),
            IpAddr::V6(dst) => self.classify6(rdomain, interface, dst),
        }
    }

    fn classify4(&self, rdomain: u8, interface: InterfaceId, dst: Ipv4Addr) -> Destination {
        match self.find4(rdomain, dst) {
            Some((Kind4::Own, _)) => return Destination::Local,
            Some((Kind4::Broadcast, _)) => return Destination::Broadcast,
            None => {}
        }
        match dst.octets()[0] {
            255 if dst.is_broadcast() => Destination::Broadcast,
            0 | 127 | 240..=255 => Destination::Invalid,
            224..=239 => self.classify_group(interface, dst.into()),
            169 if dst.is_link_local() => Destination::LinkScope,
            _ => Destination::Remote,
        }
    }

    fn classify6(&self, rdomain: u8, interface: InterfaceId, dst: Ipv6Addr) -> Destination {
        if dst.is_multicast() {
            return self.classify_group(interface, dst.into());
        }
        if dst.is_unicast_link_local() {
            let own = self
                .get(interface)
                .is_some_and(|i| i.up && i.owns(dst.into()));
            return if own {
                Destination::Local
            } else {
                Destination::LinkScope
            };
        }
        if self.find6(rdomain, dst).is_some() {
            return Destination::Local;
        }
        // Unspecified, loopback, and the IPv4-mapped and -compatible ranges (RFC 4291 2.5).
        if dst.to_ipv4().is_some() {
            return Destination::Invalid;
        }
        Destination::Remote
    }

    fn classify_group(&self, interface: InterfaceId, group: IpAddr) -> Destination {
        let joined = self.get(interface).is_some_and(|i| i.joined(group));
        let claimed = |group| self.listening.claims_group(interface, group);
        match group {
            _ if joined => Destination::Joined,
            IpAddr::V6(group) if claimed(group) => Destination::Joined,
            _ => Destination::Multicast,
        }
    }
}

/// Interfaces in the order of their numbers.
pub type Iter<'a> = core::iter::Flatten<core::slice::Iter<'a, Option<Interface>>>;

impl<'a> IntoIterator for &'a InterfaceTable {
    type Item = &'a Interface;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// An IPv4 address behind the number of its routing domain.
#[inline]
fn in_domain(rdomain: u8, addr: Ipv4Addr) -> u64 {
    u64::from(rdomain) << 32 | u64::from(addr.to_bits())
}

fn add_link_local(interface: &mut Interface) {
    let wanted = interface.up && !interface.is_loopback() && interface.inet6();
    if wanted && interface.link_local().is_none() {
        interface.addrs.push(IfAddr {
            addr: interface.mac.link_local().into(),
            prefix_len: 64,
        });
    }
}

fn check_all(interfaces: &[Interface]) -> Result<(), InterfaceError> {
    let (mut names, mut ports) = (BTreeSet::new(), BTreeSet::new());
    let mut addrs = BTreeSet::new();
    for interface in interfaces {
        let name = || interface.name.clone();
        if !names.insert(&interface.name) {
            return Err(InterfaceError::DuplicateName(name()));
        }
        if let Some(port) = interface.port()
            && (port >= PORTS_MAX || !ports.insert(port))
        {
            return Err(InterfaceError::Port(name(), port));
        }
        check(interface)?;
        for a in &interface.addrs {
            // Link-local addresses mean something only together with an interface.
            let scoped = matches!(a.addr, IpAddr::V6(a) if a.is_unicast_link_local());
            let scope = match scoped {
                true => (true, interface.id.0),
                false => (false, interface.rdomain.into()),
            };
            if !addrs.insert((a.addr, scope)) {
                return Err(InterfaceError::DuplicateAddr(name(), a.addr));
            }
        }
    }
    Ok(())
}

fn check(interface: &Interface) -> Result<(), InterfaceError> {
    let mtu_min = if interface.inet6() {
        MTU_MIN_INET6
    } else {
        MTU_MIN
    };
    if interface.mtu < mtu_min {
        return Err(InterfaceError::Mtu(interface.name.clone(), interface.mtu));
    }
    interface
        .addrs
        .iter()
        .try_for_each(|a| check_addr(interface, a))
}

/// Puts each interface at its number.
fn by_number(interfaces: Vec<Interface>) -> Result<Vec<Option<Interface>>, InterfaceError> {
    if interfaces.len() > INTERFACES_MAX {
        return Err(InterfaceError::TooMany);
    }
    let mut by_id: Vec<Option<Interface>> = Vec::new();
    for interface in interfaces {
        let at = usize::from(interface.id.0);
        if at >= INTERFACES_MAX || by_id.get(at).is_some_and(Option::is_some) {
            return Err(InterfaceError::WrongId(interface.name));
        }
        if by_id.len() <= at {
            by_id.resize(at + 1, None);
        }
        by_id[at] = Some(interface);
    }
    Ok(by_id)
}

/// One host's address, a prefix no longer than it, and loopback addresses on `lo0` only.
fn check_addr(interface: &Interface, a: &IfAddr) -> Result<(), InterfaceError> {
    let (bits, broadcast) = match a.addr {
        IpAddr::V4(addr) => (32, addr.is_broadcast() || Some(addr) == a.broadcast()),
        IpAddr::V6(_) => (128, false),
    };
    let one_host = !broadcast && !a.addr.is_multicast() && !a.addr.is_unspecified();
    let in_place = interface.is_loopback() || !a.addr.is_loopback();
    if one_host && in_place && a.prefix_len <= bits {
        return Ok(());
    }
    Err(InterfaceError::Addr(interface.name.clone(), *a))
}

#[cfg(test)]
pub(crate) mod tests;
