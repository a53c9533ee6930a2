//! What a rig's box is connected to: interfaces with addresses, hosts on their links, static routes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use net::bridge::{Bridge, Member, SharedPorts};
use net::gif::Tunnel;
use net::interface::IfAddr;
use net::link::SharedMasks;
use net::{
    Domain, Gif, Interface, InterfaceId, InterfaceTable, KifId, KifSet, Kind, Lagg, LaggProtocol,
    Listening, Prefix, RouteTable, RouteTables, StaticRoute, Target, Tpid, Vlan,
};
use sync::Masks;
use wire::ether;

/// What an interface is made of; others are named by their place in [`Topology::ports`].
#[derive(Clone, Debug)]
pub enum Made {
    /// A card, whose port has the number of the interface.
    Card,
    /// Frames of another interface with a tag.
    Vlan(Vlan),
    /// Several cards as one.
    Lagg(LaggProtocol, Vec<usize>, SharedMasks),
    /// Interfaces as ports of a switch.
    Bridge(Box<Bridge>),
    /// Packets within packets.
    Gif(Gif),
}

/// An interface to be.
#[derive(Clone, Debug)]
pub struct Port {
    /// What it is made of.
    pub made: Made,
    /// Name.
    pub name: String,
    /// Addresses with prefix lengths.
    pub addrs: Vec<IfAddr>,
    /// Groups beside `all`.
    pub groups: Vec<String>,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Configured up.
    pub up: bool,
    /// Routing domain.
    pub rdomain: u8,
}

/// A host on a link: it has addresses, and may be the way to networks behind it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Number of the port whose link it is on.
    pub port: usize,
    /// Its station address.
    pub mac: ether::Addr,
    /// Its addresses.
    pub addrs: Vec<IpAddr>,
    /// Networks behind it.
    pub behind: Vec<Prefix>,
    /// Answers ARP and neighbor solicitations.
    pub answers: bool,
}

/// A route of any table.
#[derive(Clone, Debug)]
pub struct TableRoute {
    /// Table.
    pub rtable: u8,
    /// Destination.
    pub prefix: Prefix,
    /// Gateway.
    pub gateway: IpAddr,
    /// Label; empty is none.
    pub label: String,
}

/// Everything around the box, and the part of its configuration that is not policy.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Interfaces by number. Each has a port of that number, which only cards use.
    pub ports: Vec<Port>,
    /// Hosts.
    pub hosts: Vec<Host>,
    /// Static routes: destination and gateway; no gateway is a reject route.
    pub routes: Vec<(Prefix, Option<IpAddr>)>,
    /// Routes of other tables, and with labels.
    pub more_routes: Vec<TableRoute>,
    /// Destinations dropped silently.
    pub blackholes: Vec<Prefix>,
    /// Default routes that share their prefix.
    pub ways: Vec<IpAddr>,
    /// What the control core wants to be told of.
    pub listening: Listening,
    /// Frames that a card takes before somebody must read them.
    pub tx_depth: usize,
    /// Packet buffers of the box.
    pub buffers: usize,
    /// Packets of established connections are served by flows.
    pub express: bool,
}

/// Parses `text`, or panics with it: rigs are written by hand.
fn parsed<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("cannot read {text:?}"))
}

fn address(text: &str) -> IfAddr {
    let (addr, len) = text.split_once('/').expect("address/bits");
    IfAddr {
        addr: parsed(addr),
        prefix_len: parsed(len),
    }
}

fn prefix(text: &str) -> Prefix {
    let a = address(text);
    Prefix::containing(a.addr, a.prefix_len)
}

impl Topology {
    /// Nothing.
    pub fn new() -> Self {
        Topology {
            tx_depth: 1024,
            express: true,
            buffers: 4096,
            ..Topology::default()
        }
    }

    /// A box with only so many packet buffers.
    pub fn buffers(mut self, buffers: usize) -> Self {
        self.buffers = buffers;
        self
    }

    /// A box in which every packet goes the long way.
    pub fn without_express(mut self) -> Self {
        self.express = false;
        self
    }

    /// Cards that take only `frames` until somebody reads them.
    pub fn cards_of(mut self, frames: usize) -> Self {
        self.tx_depth = frames;
        self
    }

    /// The usual one: `sim0` (group `inside`, 192.0.2.1/24, 2001:db8:1::1/64) with a host `.2` and `::2`, and `sim1`
    /// (group `outside`, 198.51.100.1/24, 2001:db8:2::1/64) with a host `.2` and `::2` and a router `.254` and `::fe`
    /// that the default routes name and behind which everything else lies.
    pub fn usual() -> Self {
        Topology::new()
            .interface("sim0", &["192.0.2.1/24", "2001:db8:1::1/64"])
            .group("inside")
            .host(&["192.0.2.2", "2001:db8:1::2"])
            .interface("sim1", &["198.51.100.1/24", "2001:db8:2::1/64"])
            .group("outside")
            .host(&["198.51.100.2", "2001:db8:2::2"])
            .host(&["198.51.100.254", "2001:db8:2::fe"])
            .behind(&["0.0.0.0/0", "::/0"])
            .route("0.0.0.0/0", "198.51.100.254")
            .route("::/0", "2001:db8:2::fe")
    }

    /// One more interface, on the next port.
    pub fn interface(self, name: &str, addrs: &[&str]) -> Self {
        self.made(Made::Card, name, addrs)
    }

    /// One more interface: frames of `parent` with an 802.1Q tag.
    pub fn vlan(self, name: &str, parent: &str, vid: u16, addrs: &[&str]) -> Self {
        self.tagged(name, parent, Tpid::Customer, vid, addrs)
    }

    /// One more interface: frames of `parent` with a tag of this type.
    pub fn tagged(self, name: &str, parent: &str, tpid: Tpid, vid: u16, addrs: &[&str]) -> Self {
        let vlan = Vlan {
            parent: InterfaceId(self.port_of(parent) as u16),
            tpid,
            vid,
            prio: None,
        };
        self.made(Made::Vlan(vlan), name, addrs)
    }

    /// One more interface: several cards as one. Frames leave by those that [`crate::Rig::masks`] says: at first the first
    /// one with failover, all with the other protocols.
    pub fn lagg(
        self,
        name: &str,
        protocol: LaggProtocol,
        members: &[&str],
        addrs: &[&str],
    ) -> Self {
        let members = members.iter().map(|m| self.port_of(m)).collect();
        let masks = SharedMasks::default();
        self.made(Made::Lagg(protocol, members, masks), name, addrs)
    }

    /// One more interface: a bridge of others. Each box has port states of its own.
    pub fn bridge(self, name: &str, members: &[&str], addrs: &[&str]) -> Self {
        let members = members
            .iter()
            .map(|m| Member::new(InterfaceId(self.port_of(m) as u16)));
        let bridge = Bridge {
            members: members.collect(),
            ..Bridge::default()
        };
        self.made(Made::Bridge(Box::new(bridge)), name, addrs)
    }

    /// One more interface: a tunnel between an address of the box and another's.
    pub fn gif(self, name: &str, local: &str, remote: &str, addrs: &[&str]) -> Self {
        let tunnel = Tunnel {
            local: local.parse().expect("an address"),
            remote: remote.parse().expect("an address"),
            ttl: Some(net::gif::TTL_DEFAULT),
            dont_fragment: false,
        };
        let mut with = self.made(Made::Gif(Gif { tunnel, rtable: 0 }), name, addrs);
        with.last().mtu = net::gif::MTU_DEFAULT;
        with
    }

    /// Nobody may cut the outer packets of the tunnel made last (`tunneldf`).
    pub fn tunneldf(mut self) -> Self {
        match &mut self.last().made {
            Made::Gif(gif) => gif.tunnel.dont_fragment = true,
            _ => panic!("a tunnel comes first"),
        }
        self
    }

    /// Changes the bridge made last.
    pub fn bridged(mut self, change: impl FnOnce(&mut Bridge)) -> Self {
        let bridges = self.ports.iter_mut().rev();
        let bridge = bridges.into_iter().find_map(|p| match &mut p.made {
            Made::Bridge(bridge) => Some(bridge),
            _ => None,
        });
        change(bridge.expect("a bridge comes first"));
        self
    }

    fn made(mut self, made: Made, name: &str, addrs: &[&str]) -> Self {
        self.ports.push(Port {
            made,
            name: name.into(),
            addrs: addrs.iter().map(|a| address(a)).collect(),
            groups: Vec::new(),
            mtu: 1500,
            up: true,
            rdomain: 0,
        });
        self
    }

    /// The interface made or found last.
    fn last(&mut self) -> &mut Port {
        self.ports.last_mut().expect("an interface comes first")
    }

    /// Puts the last interface into a group.
    pub fn group(mut self, name: &str) -> Self {
        self.last().groups.push(name.into());
        self
    }

    /// Sets the MTU of an interface.
    pub fn mtu(mut self, name: &str, mtu: u16) -> Self {
        self.port_mut(name).mtu = mtu;
        self
    }

    /// Configures an interface down.
    pub fn down(mut self, name: &str) -> Self {
        self.port_mut(name).up = false;
        self
    }

    fn port_mut(&mut self, name: &str) -> &mut Port {
        let port = self.ports.iter_mut().find(|p| p.name == name);
        port.unwrap_or_else(|| panic!("no interface {name}"))
    }

    /// One more host on the link of the last interface.
    pub fn host(mut self, addrs: &[&str]) -> Self {
        let n = self.hosts.len() as u8;
        self.hosts.push(Host {
            port: self.ports.len().checked_sub(1).expect("an interface"),
            mac: ether::Addr([0x02, 0xaa, 0, 0, 0, n + 1]),
            addrs: addrs.iter().map(|a| parsed(a)).collect(),
            behind: Vec::new(),
            answers: true,
        });
        self
    }

    /// Networks behind the last host.
    pub fn behind(mut self, networks: &[&str]) -> Self {
        let host = self.hosts.last_mut().expect("a host comes first");
        host.behind.extend(networks.iter().map(|n| prefix(n)));
        self
    }

    /// Whether an interface is a VLAN.
    pub fn is_vlan(&self, n: usize) -> bool {
        matches!(self.ports[n].made, Made::Vlan(_))
    }

    /// The last host does not answer ARP and neighbor solicitations.
    pub fn mute(mut self) -> Self {
        self.hosts.last_mut().expect("a host comes first").answers = false;
        self
    }

    /// A static route; `reject` and `blackhole` are gateways too.
    pub fn route(mut self, to: &str, gateway: &str) -> Self {
        match gateway {
            "reject" => self.routes.push((prefix(to), None)),
            "blackhole" => self.blackholes.push(prefix(to)),
            gateway => self.routes.push((prefix(to), Some(parsed(gateway)))),
        }
        self
    }

    /// One of several equally good default routes, in place of the one that there was.
    pub fn way(mut self, gateway: &str) -> Self {
        self.routes
            .retain(|(prefix, _)| *prefix != Prefix::DEFAULT4);
        self.ways.push(parsed(gateway));
        self
    }

    /// Tells the control core of what `listening` says.
    pub fn listening(mut self, listening: Listening) -> Self {
        self.listening = listening;
        self
    }

    /// Puts the last interface into a routing domain.
    pub fn rdomain(mut self, rdomain: u8) -> Self {
        self.last().rdomain = rdomain;
        self
    }

    /// A static route of a table.
    pub fn route_in(mut self, rtable: u8, to: &str, gateway: &str) -> Self {
        self.more_routes.push(TableRoute {
            rtable,
            prefix: prefix(to),
            gateway: parsed(gateway),
            label: String::new(),
        });
        self
    }

    /// A static route of the first table with a label.
    pub fn labeled(self, to: &str, gateway: &str, label: &str) -> Self {
        let mut all = self.route_in(0, to, gateway);
        let route = all.more_routes.last_mut();
        route.expect("the one just made").label = label.into();
        all
    }

    /// Gives laggs masks of their own, as they are at first.
    pub(crate) fn renew_masks(&mut self) {
        for port in &mut self.ports {
            if let Made::Lagg(protocol, members, masks) = &mut port.made {
                let all = (1 << members.len()) - 1;
                let first = match protocol {
                    LaggProtocol::Failover => 1,
                    _ => all,
                };
                *masks = SharedMasks(Arc::new(Masks::new(first, first)));
            }
            if let Made::Bridge(bridge) = &mut port.made {
                bridge.ports = SharedPorts::default();
            }
        }
    }

    /// The card at the bottom of an interface, and the tags that its frames have there, outermost first. Of a lagg it is the
    /// first port.
    pub(crate) fn bottom(&self, n: usize) -> (usize, Vec<(Tpid, u16)>) {
        match &self.ports[n].made {
            Made::Card | Made::Bridge(_) | Made::Gif(_) => (n, Vec::new()),
            Made::Lagg(_, members, _) => (members[0], Vec::new()),
            Made::Vlan(vlan) => {
                let (card, mut tags) = self.bottom(usize::from(vlan.parent.0));
                tags.push((vlan.tpid, vlan.vid));
                (card, tags)
            }
        }
    }

    /// The interface that a card's frames belong to: its lagg's, if it is in one.
    pub(crate) fn master(&self, card: usize) -> usize {
        let is_master = |p: &Port| match &p.made {
            Made::Lagg(_, members, _) => members.contains(&card),
            _ => false,
        };
        self.ports.iter().position(is_master).unwrap_or(card)
    }

    /// The interface with this tag on another.
    pub(crate) fn child(&self, parent: usize, tpid: Tpid, vid: u16) -> Option<usize> {
        self.ports.iter().position(|p| match &p.made {
            Made::Vlan(v) => usize::from(v.parent.0) == parent && v.tpid == tpid && v.vid == vid,
            _ => false,
        })
    }

    /// Number of the port of an interface.
    pub fn port_of(&self, name: &str) -> usize {
        let at = self.ports.iter().position(|p| p.name == name);
        at.unwrap_or_else(|| panic!("no interface {name}"))
    }

    /// The host on this link that has `addr`, or the way to it.
    pub fn station(&self, port: usize, addr: IpAddr) -> Option<&Host> {
        let on_link = || self.hosts.iter().filter(|h| h.port == port);
        on_link()
            .find(|h| h.addrs.contains(&addr))
            .or_else(|| on_link().find(|h| h.behind.iter().any(|p| p.contains(addr))))
    }

    /// Names of groups, in the order of their numbers.
    pub fn groups(&self) -> Vec<String> {
        let mut names = vec!["all".to_string()];
        for name in self.ports.iter().flat_map(|p| &p.groups) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Number of a group.
    pub fn group_kif(&self, name: &str) -> KifId {
        let n = self.groups().iter().position(|g| g == name);
        KifId::group(n.expect("a group of this topology") as u16)
    }

    /// Tables of interfaces and routes, with the station addresses `macs`.
    pub fn tables(&self, macs: &[[u8; 6]]) -> (InterfaceTable, RouteTables) {
        let interfaces = self
            .ports
            .iter()
            .enumerate()
            .map(|(n, port)| self.interface_of(n, port, macs[self.bottom(n).0]));
        let interfaces = InterfaceTable::build(interfaces.collect()).expect("good interfaces");
        let to = |(prefix, gateway): &(Prefix, Option<IpAddr>)| {
            StaticRoute::new(
                *prefix,
                gateway.map_or(Target::Reject, |g| Target::Gateway(g, None)),
            )
        };
        let blackhole = |prefix: &Prefix| StaticRoute::new(*prefix, Target::Blackhole);
        let way = |gateway: &IpAddr| StaticRoute {
            multipath: true,
            ..StaticRoute::new(Prefix::DEFAULT4, Target::Gateway(*gateway, None))
        };
        let statics: Vec<StaticRoute> = self
            .routes
            .iter()
            .map(to)
            .chain(self.blackholes.iter().map(blackhole))
            .chain(self.ways.iter().map(way))
            .collect();
        let interfaces = interfaces.listening_for(self.listening.clone());
        let routes = self.route_tables(&interfaces, &statics);
        (interfaces, routes)
    }

    fn route_tables(&self, interfaces: &InterfaceTable, main: &[StaticRoute]) -> RouteTables {
        let more = &self.more_routes;
        let mut labels: Vec<String> = more.iter().map(|r| r.label.clone()).collect();
        labels.sort();
        labels.dedup();
        labels.retain(|label| !label.is_empty());
        let to = |r: &TableRoute| StaticRoute {
            label: labels
                .iter()
                .position(|l| *l == r.label)
                .map_or(0, |n| n as u16 + 1),
            ..StaticRoute::new(r.prefix, Target::Gateway(r.gateway, None))
        };
        let domains: BTreeSet<u8> = self.ports.iter().map(|p| p.rdomain).collect();
        let tables = self.rtables().into_iter().map(|rtable| {
            let domain = Domain {
                rtable,
                rdomain: if domains.contains(&rtable) { rtable } else { 0 },
            };
            let mut statics = if rtable == 0 {
                main.to_vec()
            } else {
                Vec::new()
            };
            statics.extend(more.iter().filter(|r| r.rtable == rtable).map(to));
            let table = RouteTable::build_of(interfaces, domain, &statics);
            (domain, table.expect("good routes"))
        });
        RouteTables::new(tables.collect(), labels.clone())
    }

    /// Numbers of all routing tables.
    pub fn rtables(&self) -> Vec<u8> {
        let of_ports = self.ports.iter().map(|p| p.rdomain);
        let of_routes = self.more_routes.iter().map(|r| r.rtable);
        let all: BTreeSet<u8> = of_ports.chain(of_routes).chain([0]).collect();
        all.into_iter().collect()
    }

    fn interface_of(&self, n: usize, port: &Port, mac: [u8; 6]) -> Interface {
        let mut kifs = KifSet::EMPTY;
        kifs.insert(KifId(n as u16));
        kifs.insert(self.group_kif("all"));
        port.groups
            .iter()
            .for_each(|g| kifs.insert(self.group_kif(g)));
        Interface {
            id: InterfaceId(n as u16),
            name: net::Name::try_from(port.name.as_str()).expect("a short name"),
            kind: kind_of(n, &port.made),
            mac: ether::Addr(mac),
            mtu: port.mtu,
            up: port.up,
            rdomain: port.rdomain,
            kifs,
            addrs: port.addrs.clone(),
            groups: port.groups.clone(),
            description: String::new(),
        }
    }
}

fn kind_of(n: usize, made: &Made) -> Kind {
    let ids = |members: &[usize]| members.iter().map(|m| InterfaceId(*m as u16)).collect();
    match made {
        Made::Card => Kind::Ethernet { port: n as u16 },
        Made::Vlan(vlan) => Kind::Vlan(*vlan),
        Made::Lagg(protocol, members, masks) => Kind::Lagg(Lagg {
            masks: masks.clone(),
            ..Lagg::new(*protocol, ids(members))
        }),
        Made::Bridge(bridge) => Kind::Bridge((**bridge).clone()),
        Made::Gif(gif) => Kind::Gif(*gif),
    }
}
