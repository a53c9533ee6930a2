//! Layers of links, compiled flat: from a port and the tags of a frame to an interface, and from an interface to the
//! tags, the station address and the port or lagg that its frames leave by. Workers look up; the layers are known here only.
//!
//! Read first: IEEE 802.1Q clause 9 (tags), vlan(4), trunk(4), lagg(4). Knows no packets beyond a frame's first bytes.

mod children;
mod kind;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use sync::{Masks, PathMtu};
use wire::ether::{self, ADDRESSES_LEN};

use self::children::Children;
use crate::gif::Tunnel;
use crate::interface::{Interface, InterfaceError, PORTS_MAX};
use crate::kif::InterfaceId;

pub use self::kind::{
    Gif, HashFields, Kind, LacpRules, Lagg, LaggProtocol, SharedMasks, Tpid, Vlan,
};

/// Most tags of a frame: a customer's within a provider's (IEEE 802.1ad).
pub const TAGS_MAX: usize = 2;
/// Most ports of a lagg.
pub const LAGG_PORTS_MAX: usize = 32;
/// Bytes of one tag.
pub const TAG_LEN: usize = 4;

/// Whose frames come in by a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver {
    /// The interface: the port's own, or the lagg that it is a member of.
    pub interface: InterfaceId,
    /// Its routing domain.
    pub rdomain: u8,
    /// The lagg and the port's place in it.
    pub lagg: Option<(u16, u8)>,
    /// Frames of link protocols (IEEE 802.1Q table 8-1) are for the control core.
    pub wants_control: bool,
}

/// A priority as PF counts, as a tag says it, and the other way round: 0 and 1 are exchanged (IEEE 802.1Q table I-2: background
/// is below best effort).
#[inline(always)]
pub const fn priority_code(priority: u8) -> u8 {
    let priority = priority & 7;
    priority ^ (priority < 2) as u8
}

/// A tag to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tag {
    tpid: Tpid,
    vid: u16,
    prio: Option<u8>,
}

impl Tag {
    /// VLAN identifier.
    pub fn vid(&self) -> u16 {
        self.vid
    }

    /// Priority of all frames, as PF counts; none takes that of the packet.
    pub fn prio(&self) -> Option<u8> {
        self.prio
    }

    /// Its four bytes for a packet of this priority, in network byte order.
    pub fn bytes(&self, priority: u8) -> [u8; TAG_LEN] {
        let code = priority_code(self.prio.unwrap_or(priority));
        let [t0, t1] = self.tpid.ethertype().0.to_be_bytes();
        let [c0, c1] = (self.vid | u16::from(code) << 13).to_be_bytes();
        [t0, t1, c0, c1]
    }
}

/// Where the frames of an interface go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Out {
    /// Nowhere: it is down, or no frames leave by it.
    #[default]
    Nowhere,
    /// To this port.
    Port(u16),
    /// To the lagg with this number; see [`Links::lagg`].
    Lagg(u16),
    /// Into the tunnel with this number; see [`Links::tunnel`].
    Tunnel(u16),
}

/// How frames leave by an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// Source station address.
    pub mac: ether::Addr,
    /// How many of `tags` are written.
    count: u8,
    /// Outermost first.
    tags: [Tag; TAGS_MAX],
    /// Port or lagg.
    pub out: Out,
    /// Part of a bridge: which member a frame leaves by is the bridge's choice.
    pub is_bridged: bool,
}

impl Way {
    /// Tags to be written, outermost first.
    #[inline]
    pub fn tags(&self) -> &[Tag] {
        &self.tags[..usize::from(self.count)]
    }

    /// The port, if frames go there as they are.
    #[inline]
    pub fn plain_port(&self) -> Option<u16> {
        self.own_port().filter(|_| !self.is_bridged)
    }

    /// The port, if frames that leave by this very interface go there as they are.
    #[inline]
    pub fn own_port(&self) -> Option<u16> {
        match self.out {
            Out::Port(port) if self.count == 0 => Some(port),
            _ => None,
        }
    }
}

/// A lagg as workers use it.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Number of the interface.
    pub interface: InterfaceId,
    /// How a port is chosen.
    pub protocol: LaggProtocol,
    /// What is hashed.
    pub hash: HashFields,
    /// Port numbers of the members in order.
    pub ports: Vec<u16>,
    /// Who may send and who is heard, by place in `ports`.
    pub masks: Arc<Masks>,
    /// Answers of neighbors go to the control core too.
    pub is_probed: bool,
}

/// All layers, flat.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// By port number.
    receivers: Vec<Option<Receiver>>,
    /// By interface number.
    ways: Vec<Way>,
    /// By interface number: what carries it at the bottom.
    bases: Vec<InterfaceId>,
    children: Children,
    laggs: Vec<Ports>,
    tunnels: Vec<Underlay>,
    /// What the paths of the outer packets carry, as far as is known; by number of tunnel. New with each configuration.
    paths: Vec<Arc<PathMtu>>,
    /// Ends of tunnels, ours first, and their numbers; sorted.
    by_ends: Vec<(IpAddr, IpAddr, u16)>,
}

/// A tunnel as workers use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Underlay {
    /// Number of the interface.
    pub interface: InterfaceId,
    /// Ends and outer headers.
    pub tunnel: Tunnel,
    /// Routing table of outer packets.
    pub rtable: u8,
    /// Its number, that of [`Out::Tunnel`].
    pub number: u16,
}

impl Links {
    /// Whose frames come in by a port; none if it has no interface or that is down.
    #[inline]
    pub fn receiver(&self, port: u16) -> Option<Receiver> {
        *self.receivers.get(usize::from(port))?
    }

    /// How frames leave by an interface.
    #[inline]
    pub fn way(&self, id: InterfaceId) -> Option<&Way> {
        self.ways.get(usize::from(id.0))
    }

    /// The interface without tags that carries this one: the port's own, or a lagg.
    #[inline]
    pub fn base(&self, id: InterfaceId) -> InterfaceId {
        self.bases.get(usize::from(id.0)).copied().unwrap_or(id)
    }

    /// The interface of frames with this tag on another interface.
    #[inline]
    pub fn child(&self, parent: InterfaceId, tpid: Tpid, vid: u16) -> Option<InterfaceId> {
        self.children.find(parent, tpid, vid)
    }

    /// A lagg by its number.
    #[inline]
    pub fn lagg(&self, n: u16) -> Option<&Ports> {
        self.laggs.get(usize::from(n))
    }

    /// A tunnel by its number.
    #[inline]
    pub fn tunnel(&self, n: u16) -> Option<&Underlay> {
        self.tunnels.get(usize::from(n))
    }

    /// What is known of the path of a tunnel's outer packets.
    #[inline]
    pub fn path(&self, n: u16) -> Option<&PathMtu> {
        self.paths.get(usize::from(n)).map(|path| &**path)
    }

    /// The tunnel that is up between an address of ours and another's.
    pub fn tunnel_between(&self, local: IpAddr, remote: IpAddr) -> Option<&Underlay> {
        let ends = |entry: &(IpAddr, IpAddr, u16)| (entry.0, entry.1);
        let found = self.by_ends.binary_search_by_key(&(local, remote), ends);
        self.tunnel(self.by_ends.get(found.ok()?)?.2)
    }

    /// Whether an interface is a tunnel.
    #[inline]
    pub fn is_tunnel(&self, id: InterfaceId) -> bool {
        self.way(id)
            .is_some_and(|way| matches!(way.out, Out::Tunnel(_)))
    }

    /// A port by which frames of an interface come in, and the tags that they have.
    pub fn arrival(&self, id: InterfaceId) -> Option<(u16, &[Tag])> {
        let way = self.way(id)?;
        let port = match way.out {
            Out::Nowhere | Out::Tunnel(_) => return None,
            Out::Port(port) => port,
            Out::Lagg(n) => {
                let lagg = self.lagg(n)?;
                let heard = lagg.masks.receive().trailing_zeros();
                *lagg.ports.get(heard as usize).or(lagg.ports.first())?
            }
        };
        Some((port, way.tags()))
    }

    /// All laggs.
    pub fn laggs(&self) -> &[Ports] {
        &self.laggs
    }

    /// Checks the layers and lays them flat. `by_id` has each interface at its number.
    pub(crate) fn build(by_id: &[Option<Interface>]) -> Result<Links, InterfaceError> {
        let layers = Layers::new(by_id);
        let mut links = Links {
            children: Children::with_room(by_id.iter().flatten().filter(|i| is_vlan(i)).count()),
            ..Links::default()
        };
        links.bases = (0..by_id.len() as u16).map(InterfaceId).collect();
        links.ways = alloc::vec![Way::default(); by_id.len()];
        for interface in by_id.iter().flatten() {
            links.add_ports(interface, &layers)?;
        }
        for interface in by_id.iter().flatten() {
            if let Kind::Vlan(vlan) = &interface.kind {
                links.add_vlan(interface, vlan, &layers)?;
            }
        }
        links.by_ends.sort_unstable();
        let same =
            |pair: &[(IpAddr, IpAddr, u16)]| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1);
        if let Some(pair) = links.by_ends.windows(2).find(|pair| same(pair)) {
            let second = links.tunnels[usize::from(pair[1].2)].interface;
            let name = layers.get(second).map(|i| i.name.clone());
            let text = "has the same ends as another tunnel";
            return Err(InterfaceError::Link(name.unwrap_or_default(), text));
        }
        for id in &layers.bridged {
            if let Some(way) = links.ways.get_mut(usize::from(id.0)) {
                way.is_bridged = true;
            }
        }
        Ok(links)
    }

    fn add_ports(
        &mut self,
        interface: &Interface,
        layers: &Layers<'_>,
    ) -> Result<(), InterfaceError> {
        let at = usize::from(interface.id.0);
        let out = match &interface.kind {
            Kind::Ethernet { port } => {
                // The lagg may have taken it already.
                if !layers.is_member(interface.id) {
                    let receiver = Receiver {
                        interface: interface.id,
                        rdomain: interface.rdomain,
                        lagg: None,
                        wants_control: layers.is_bridged(interface.id),
                    };
                    self.receive_by(interface, *port, interface.up.then_some(receiver))?;
                }
                Out::Port(*port)
            }
            Kind::Lagg(lagg) => self.add_lagg(interface, lagg, layers)?,
            Kind::Gif(gif) => self.add_tunnel(interface, gif)?,
            Kind::Loopback | Kind::Vlan(_) | Kind::Bridge(_) => Out::Nowhere,
        };
        self.ways[at] = Way {
            mac: interface.mac,
            out: if interface.up { out } else { Out::Nowhere },
            ..Way::default()
        };
        Ok(())
    }

    fn add_tunnel(&mut self, interface: &Interface, gif: &Gif) -> Result<Out, InterfaceError> {
        let bad = |text| InterfaceError::Link(interface.name.clone(), text);
        let Tunnel { local, remote, .. } = gif.tunnel;
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(bad("has tunnel ends of two address families"));
        }
        let number = self.tunnels.len() as u16;
        self.tunnels.push(Underlay {
            interface: interface.id,
            tunnel: gif.tunnel,
            rtable: gif.rtable,
            number,
        });
        self.paths.push(Arc::default());
        if interface.up {
            self.by_ends.push((local, remote, number));
        }
        Ok(Out::Tunnel(number))
    }

    fn receive_by(
        &mut self,
        interface: &Interface,
        port: u16,
        receiver: Option<Receiver>,
    ) -> Result<(), InterfaceError> {
        let at = usize::from(port);
        if port >= PORTS_MAX {
            return Err(InterfaceError::Port(interface.name.clone(), port));
        }
        if self.receivers.len() <= at {
            self.receivers.resize(at + 1, None);
        }
        self.receivers[at] = receiver;
        Ok(())
    }

    fn add_lagg(
        &mut self,
        interface: &Interface,
        lagg: &Lagg,
        layers: &Layers<'_>,
    ) -> Result<Out, InterfaceError> {
        let bad = |text| InterfaceError::Link(interface.name.clone(), text);
        if lagg.members.len() > LAGG_PORTS_MAX {
            return Err(bad("has more than 32 ports"));
        }
        let number = self.laggs.len() as u16;
        let mut ports = Vec::with_capacity(lagg.members.len());
        for (n, id) in lagg.members.iter().enumerate() {
            let member = layers
                .get(*id)
                .ok_or_else(|| bad("has a port that does not exist"))?;
            let Kind::Ethernet { port } = member.kind else {
                return Err(bad("has a port that is not Ethernet"));
            };
            if layers.is_member_twice(*id) {
                return Err(bad("has a port that another has, or twice"));
            }
            let receiver = Receiver {
                interface: interface.id,
                rdomain: interface.rdomain,
                lagg: Some((number, n as u8)),
                wants_control: lagg.rules.protocol == LaggProtocol::Lacp
                    || layers.is_bridged(interface.id),
            };
            self.receive_by(
                member,
                port,
                (interface.up && member.up).then_some(receiver),
            )?;
            ports.push(port);
        }
        self.laggs.push(Ports {
            interface: interface.id,
            protocol: lagg.rules.protocol,
            hash: lagg.hash,
            ports,
            masks: lagg.masks.0.clone(),
            is_probed: !lagg.targets.is_empty(),
        });
        Ok(Out::Lagg(number))
    }

    fn add_vlan(
        &mut self,
        interface: &Interface,
        vlan: &Vlan,
        layers: &Layers<'_>,
    ) -> Result<(), InterfaceError> {
        let bad = |text| InterfaceError::Link(interface.name.clone(), text);
        if vlan.vid == 0 || vlan.vid > 4094 {
            return Err(bad("needs a vnetid from 1 to 4094"));
        }
        let mut way = Way {
            mac: interface.mac,
            ..Way::default()
        };
        let mut stack: heapless::Vec<Tag, TAGS_MAX> = heapless::Vec::new();
        let (mut at, mut up) = (interface, interface.up);
        while let Kind::Vlan(layer) = &at.kind {
            let tag = Tag {
                tpid: layer.tpid,
                vid: layer.vid,
                prio: layer.prio,
            };
            stack
                .push(tag)
                .map_err(|_| bad("would have more than two tags"))?;
            at = layers
                .get(layer.parent)
                .ok_or_else(|| bad("has a parent that does not exist"))?;
            up &= at.up;
        }
        match &at.kind {
            Kind::Ethernet { .. } if layers.is_member(at.id) => {
                return Err(bad("has a port of a lagg as its parent: take the lagg"));
            }
            Kind::Ethernet { .. } | Kind::Lagg(_) => {}
            _ => return Err(bad("has a parent that carries no tags")),
        }
        if interface.mtu > layers.get(vlan.parent).map_or(0, |p| p.mtu) {
            return Err(bad("has a larger mtu than its parent"));
        }
        for (to, tag) in way.tags.iter_mut().zip(stack.iter().rev()) {
            *to = *tag;
        }
        way.count = stack.len() as u8;
        way.out = if up {
            self.ways[usize::from(at.id.0)].out
        } else {
            Out::Nowhere
        };
        self.ways[usize::from(interface.id.0)] = way;
        self.bases[usize::from(interface.id.0)] = at.id;
        match self
            .children
            .insert(vlan.parent, vlan.tpid, vlan.vid, interface.id)
        {
            true => Ok(()),
            false => Err(bad("has the vnetid of another on the same parent")),
        }
    }
}

fn is_vlan(interface: &Interface) -> bool {
    matches!(interface.kind, Kind::Vlan(_))
}

/// The interfaces as they stand upon each other.
struct Layers<'a> {
    by_id: &'a [Option<Interface>],
    /// Ports of laggs and of bridges, sorted.
    members: Vec<InterfaceId>,
    bridged: Vec<InterfaceId>,
}

impl<'a> Layers<'a> {
    fn new(by_id: &'a [Option<Interface>]) -> Self {
        let (mut members, mut bridged) = (Vec::new(), Vec::new());
        for interface in by_id.iter().flatten() {
            match &interface.kind {
                Kind::Lagg(lagg) => members.extend_from_slice(&lagg.members),
                Kind::Bridge(bridge) => {
                    bridged.extend(bridge.members.iter().map(|m| m.id));
                    bridged.push(interface.id);
                }
                _ => {}
            }
        }
        members.sort_unstable();
        bridged.sort_unstable();
        Layers {
            by_id,
            members,
            bridged,
        }
    }

    fn get(&self, id: InterfaceId) -> Option<&'a Interface> {
        self.by_id.get(usize::from(id.0))?.as_ref()
    }

    fn is_member(&self, id: InterfaceId) -> bool {
        self.members.binary_search(&id).is_ok()
    }

    fn is_member_twice(&self, id: InterfaceId) -> bool {
        let from = self.members.partition_point(|m| *m < id);
        self.members.get(from + 1) == Some(&id)
    }

    fn is_bridged(&self, id: InterfaceId) -> bool {
        self.bridged.binary_search(&id).is_ok()
    }
}

/// Puts tags behind the two addresses of a frame whose first `4 * tags` bytes are free.
#[inline]
pub fn write_tags(frame: &mut [u8], tags: &[Tag], priority: u8) {
    let len = tags.len() * TAG_LEN;
    if frame.len() < len + ADDRESSES_LEN {
        return;
    }
    frame.copy_within(len..len + ADDRESSES_LEN, 0);
    for (place, tag) in frame[ADDRESSES_LEN..].chunks_exact_mut(TAG_LEN).zip(tags) {
        place.copy_from_slice(&tag.bytes(priority));
    }
}

#[cfg(test)]
mod tests;
