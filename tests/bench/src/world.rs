//! What the box is connected to: clients on side 0, a gateway to everything else on side 1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use net::bridge::{Bridge, Member};
use net::link::SharedMasks;
use net::{
    IfAddr, Interface, InterfaceId, InterfaceTable, KifId, KifSet, Kind, Lagg, LaggProtocol,
    Prefix, RouteTable, StaticRoute, Target, Tpid, Vlan,
};
use pfconf::{EnvAddress, EnvInterface, Environment};
use sync::Masks;
use wire::ether;
use wire::icmp6::{self, NeighborSolicit, Repr};

use crate::frame::Link;

/// Station addresses of the box.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// Station addresses of the neighbors, by side.
const NEIGHBOR_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 2]];
const OURS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 129)];
const NEIGHBORS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 130)];
const OURS6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1),
];
const NEIGHBORS6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2),
];
/// VLANs of the two sides on the lagg.
const VIDS: [u16; 2] = [10, 20];
/// Longest of [`World::introduction`].
const INTRODUCTION: usize = 128;

/// How the two sides are connected to the box.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum World {
    /// A port each, routed.
    Routed,
    /// A port each, members of one bridge.
    Bridged,
    /// A VLAN each on one lagg of two ports, routed.
    LaggVlan,
}

impl World {
    /// Names of the interfaces of the two sides.
    pub(crate) fn names(self) -> [&'static str; 2] {
        match self {
            World::Routed | World::Bridged => ["sim0", "sim1"],
            World::LaggVlan => ["vlan10", "vlan20"],
        }
    }

    /// Ports by which frames of a side come in.
    pub(crate) fn ports(self, side: usize) -> &'static [usize] {
        match (self, side) {
            (World::LaggVlan, _) => &[0, 1],
            (_, 0) => &[0],
            _ => &[1],
        }
    }

    /// Ends of a frame that comes in from a side.
    pub(crate) fn link(self, side: usize) -> Link {
        let dst = match self {
            World::Routed => MACS[side],
            // A lagg has the address of its first port, and VLANs have that of the lagg.
            World::LaggVlan => MACS[0],
            World::Bridged => NEIGHBOR_MACS[1 - side],
        };
        Link {
            dst,
            src: NEIGHBOR_MACS[side],
            vid: (self == World::LaggVlan).then_some(VIDS[side]),
        }
    }

    /// Interfaces by number.
    pub(crate) fn interfaces(self) -> InterfaceTable {
        let card = |n: usize, side: Option<usize>| {
            let kind = Kind::Ethernet { port: n as u16 };
            interface(n, &format!("sim{n}"), kind, n, side)
        };
        let list = match self {
            World::Routed => vec![card(0, Some(0)), card(1, Some(1))],
            World::Bridged => {
                let members = [0, 1].map(|n| Member::new(InterfaceId(n)));
                let bridge = Bridge {
                    members: members.to_vec(),
                    ..Bridge::default()
                };
                let bridge = interface(2, "bridge0", Kind::Bridge(bridge), 0, None);
                vec![card(0, None), card(1, None), bridge]
            }
            World::LaggVlan => {
                let members = vec![InterfaceId(0), InterfaceId(1)];
                let lagg = Lagg {
                    masks: SharedMasks(Arc::new(Masks::new(3, 3))),
                    ..Lagg::new(LaggProtocol::LoadBalance, members)
                };
                let vlan = |side: usize| {
                    let vlan = Vlan {
                        parent: InterfaceId(2),
                        tpid: Tpid::Customer,
                        vid: VIDS[side],
                        prio: None,
                    };
                    interface(
                        3 + side,
                        self.names()[side],
                        Kind::Vlan(vlan),
                        0,
                        Some(side),
                    )
                };
                let lagg = interface(2, "lagg0", Kind::Lagg(lagg), 0, None);
                vec![card(0, None), card(1, None), lagg, vlan(0), vlan(1)]
            }
        };
        InterfaceTable::build(list).expect("good interfaces")
    }

    /// Clients are behind the neighbor of side 0, everything else behind that of side 1.
    pub(crate) fn routes(self, interfaces: &InterfaceTable) -> RouteTable {
        let prefix = |addr: IpAddr, len| Prefix::containing(addr, len);
        let to = |prefix, gateway| StaticRoute::new(prefix, Target::Gateway(gateway, None));
        let routes = [
            to(
                prefix(Ipv4Addr::new(10, 0, 0, 0).into(), 8),
                NEIGHBORS[0].into(),
            ),
            to(Prefix::DEFAULT4, NEIGHBORS[1].into()),
            to(
                prefix(Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0).into(), 48),
                NEIGHBORS6[0].into(),
            ),
            to(
                prefix(Ipv6Addr::UNSPECIFIED.into(), 0),
                NEIGHBORS6[1].into(),
            ),
        ];
        let wanted = match self {
            World::Bridged => &routes[..0],
            _ => &routes[..],
        };
        RouteTable::build(interfaces, wanted).expect("good routes")
    }

    /// What rules can name.
    pub(crate) fn environment(self) -> Environment {
        let interfaces = self.interfaces();
        let interface = |i: &Interface| EnvInterface {
            name: i.name.to_string(),
            kif: KifId(i.id.0),
            groups: Vec::new(),
            addresses: i
                .addrs
                .iter()
                .map(|a| EnvAddress::new(a.addr, a.prefix_len))
                .collect(),
            loopback: false,
        };
        Environment {
            interfaces: interfaces.iter().map(interface).collect(),
            ..Environment::minimal()
        }
    }

    /// Frames by which the neighbor of a side makes itself known: it asks who the box is.
    pub(crate) fn introduction(self, side: usize) -> [Vec<u8>; 2] {
        [self.arp_request(side), self.solicitation(side)]
    }

    fn arp_request(self, side: usize) -> Vec<u8> {
        let mut frame = vec![0; INTRODUCTION];
        let link = Link {
            dst: [0xff; 6],
            ..self.link(side)
        };
        let at = link.write(0x0806, &mut frame);
        let arp = &mut frame[at..];
        arp[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
        arp[8..14].copy_from_slice(&NEIGHBOR_MACS[side]);
        arp[14..18].copy_from_slice(&NEIGHBORS[side].octets());
        arp[24..28].copy_from_slice(&OURS[side].octets());
        frame.truncate((at + 28).max(60));
        frame
    }

    fn solicitation(self, side: usize) -> Vec<u8> {
        let mut frame = vec![0; INTRODUCTION];
        let at = self.link(side).write(0x86dd, &mut frame);
        let (src, dst) = (NEIGHBORS6[side], OURS6[side]);
        let repr = Repr::NeighborSolicit(NeighborSolicit {
            target: dst,
            source_link: Some(ether::Addr(NEIGHBOR_MACS[side])),
        });
        let len = repr.buffer_len();
        frame[at..at + 8].copy_from_slice(&[0x60, 0, 0, 0, 0, len as u8, 58, 255]);
        frame[at + 8..at + 24].copy_from_slice(&src.octets());
        frame[at + 24..at + 40].copy_from_slice(&dst.octets());
        let message = &mut frame[at + 40..at + 40 + len];
        message[0] = icmp6::kind::NEIGHBOR_SOLICIT;
        let mut packet = icmp6::Packet::new_checked(message).expect("long enough");
        repr.emit(&mut packet);
        packet.fill_checksum(src, dst);
        frame.truncate(at + 40 + len);
        frame
    }
}

/// Interface `n`; `mac` names its station address, `side` its addresses if it has any.
fn interface(n: usize, name: &str, kind: Kind, mac: usize, side: Option<usize>) -> Interface {
    let mut kifs = KifSet::EMPTY;
    kifs.insert(KifId(n as u16));
    let addr = |addr: IpAddr, prefix_len| IfAddr { addr, prefix_len };
    let addrs = side.map_or(Vec::new(), |side| {
        vec![addr(OURS[side].into(), 25), addr(OURS6[side].into(), 64)]
    });
    Interface {
        id: InterfaceId(n as u16),
        name: name.try_into().unwrap_or_default(),
        kind,
        mac: ether::Addr(MACS[mac]),
        mtu: 1500,
        up: true,
        rdomain: 0,
        kifs,
        addrs,
        groups: Vec::new(),
        description: String::new(),
    }
}
