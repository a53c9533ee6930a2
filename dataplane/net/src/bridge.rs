//! Bridges, compiled flat: from an interface to its place in a bridge, and from a member to those that its frames may go
//! to. Workers look up; what a bridge is made of is known here only.
//!
//! Read first: bridge(4) of OpenBSD, IEEE 802.1D-2004 7.7. Which member a station is behind is [`crate::fdb`]'s, which
//! member may forward is [`crate::stp`]'s.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use sync::BridgePorts;
use wire::arp;
use wire::ether::{Addr, EtherType};

use crate::fdb::{self, Terms};
use crate::interface::{Interface, InterfaceError};
use crate::kif::InterfaceId;
use crate::link::Kind;
use crate::stp::MEMBERS_MAX;

/// Most rules for the frames of one bridge.
pub const RULES_MAX: usize = 1024;

/// What a bridge is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its ports, in order.
    pub members: Vec<Member>,
    /// Interfaces that get a copy of every frame that the bridge hears; what they hear is dropped.
    pub spans: Vec<InterfaceId>,
    /// Most stations that it remembers.
    pub max_addr: u32,
    /// Seconds after which a silent station is forgotten; 0 is never.
    pub timeout_s: u32,
    /// Stations that do not move: address and member.
    pub statics: Vec<(Addr, InterfaceId)>,
    /// Rules for frames, in order: the first that matches decides.
    pub rules: Vec<MacRule>,
    /// Frames that are no IP and for many are not forwarded (`link0`).
    pub block_many_non_ip: bool,
    /// What the spanning tree allows the members.
    pub ports: SharedPorts,
}

impl Default for Bridge {
    fn default() -> Self {
        Bridge {
            members: Vec::new(),
            spans: Vec::new(),
            max_addr: fdb::MAX_ADDR_DEFAULT,
            timeout_s: fdb::TIMEOUT_S_DEFAULT,
            statics: Vec::new(),
            rules: Vec::new(),
            block_many_non_ip: false,
            ports: SharedPorts::default(),
        }
    }
}

/// A port of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The interface.
    pub id: InterfaceId,
    /// Remember who is behind it.
    pub learn: bool,
    /// Send it frames for stations that nobody knows.
    pub discover: bool,
    /// Only IP, ARP and reverse ARP.
    pub block_non_ip: bool,
    /// Takes part in the spanning tree.
    pub stp: bool,
    /// Domains as bits: members with one in common do not hear each other.
    pub protected: u32,
}

impl Member {
    /// A member as `add` makes it.
    pub fn new(id: InterfaceId) -> Self {
        Member {
            id,
            learn: true,
            discover: true,
            block_non_ip: false,
            stp: false,
            protected: 0,
        }
    }
}

/// States of ports that the control core writes and workers read. Equal if they are the same ones.
#[derive(Debug, Clone)]
pub struct SharedPorts(pub Arc<BridgePorts>);

impl Default for SharedPorts {
    /// All may forward.
    fn default() -> Self {
        SharedPorts(Arc::new(BridgePorts::new(u64::MAX)))
    }
}

impl PartialEq for SharedPorts {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedPorts {}

/// A rule for the frames of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacRule {
    /// Such frames are dropped.
    pub block: bool,
    /// Frames that come from the member.
    pub inbound: bool,
    /// Frames that go to the member.
    pub outbound: bool,
    /// The member.
    pub member: InterfaceId,
    /// Source address.
    pub src: Option<Addr>,
    /// Destination address.
    pub dst: Option<Addr>,
    /// Number of a tag for PF's rules; 0 is none.
    pub tag: u16,
    /// Only ARP, with this in it.
    pub arp: Option<ArpRule>,
}

/// What a rule wants of an ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArpRule {
    /// Reverse ARP.
    pub reverse: bool,
    /// Request or reply.
    pub request: Option<bool>,
    /// Sender's station.
    pub sender_ether: Option<Addr>,
    /// Sender's address.
    pub sender_ip: Option<Ipv4Addr>,
    /// Target's station.
    pub target_ether: Option<Addr>,
    /// Target's address.
    pub target_ip: Option<Ipv4Addr>,
}

/// Reverse ARP (RFC 903).
const RARP: EtherType = EtherType(0x8035);

/// Whether frames of this type may pass a member with `blocknonip`.
pub const fn is_ip(ethertype: EtherType) -> bool {
    matches!(
        ethertype,
        EtherType::IPV4 | EtherType::IPV6 | EtherType::ARP | RARP
    )
}

impl ArpRule {
    /// Whether a frame of this type with this payload is meant.
    fn matches(&self, ethertype: EtherType, payload: &[u8]) -> bool {
        let wanted = if self.reverse { RARP } else { EtherType::ARP };
        let Ok(packet) = arp::Packet::new_checked(payload) else {
            return false;
        };
        // The operations of reverse ARP are 3 and 4.
        let request = packet.operation().0 & 1 == 1;
        ethertype == wanted
            && self.request.is_none_or(|r| r == request)
            && self.sender_ether.is_none_or(|a| a == packet.sender_ether())
            && self.sender_ip.is_none_or(|a| a == packet.sender_ip())
            && self.target_ether.is_none_or(|a| a == packet.target_ether())
            && self.target_ip.is_none_or(|a| a == packet.target_ip())
    }
}

/// Where a frame is from, where to, and what it is, for the rules of a bridge.
#[derive(Debug, Clone, Copy)]
pub struct FrameHead<'a> {
    /// Destination.
    pub dst: Addr,
    /// Source.
    pub src: Addr,
    /// Type, behind tags if there are any.
    pub ethertype: EtherType,
    /// What follows the type.
    pub payload: &'a [u8],
}

/// What an interface is to a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A member, at this place.
    Member(u8),
    /// Hears copies.
    Span,
    /// The bridge's own interface.
    Itself,
}

/// The place of an interface in a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The bridge; see [`Bridges::get`].
    pub bridge: u8,
    /// What it is there.
    pub role: Role,
}

/// A bridge as workers use it.
#[derive(Debug, Clone)]
pub struct Switch {
    /// Its interface, and the limits of what is learned.
    pub terms: Terms,
    /// Its members, in order; places are positions here.
    pub members: Vec<Member>,
    /// Interfaces for copies of every frame.
    pub spans: Vec<InterfaceId>,
    /// Which of the bridge's own addresses a station address is, sorted by it.
    own: Vec<(Addr, InterfaceId)>,
    /// Interfaces of the bridge that have addresses: the members and the bridge itself.
    pub hosts: Vec<InterfaceId>,
    statics: Vec<(Addr, InterfaceId)>,
    rules: Vec<MacRule>,
    /// By place: the members that frames of this one may go to.
    reach: Vec<u64>,
    up: u64,
    discover: u64,
    ip_only: u64,
    block_many_non_ip: bool,
    /// Some member takes part in the spanning tree.
    pub speaks_stp: bool,
    /// What the spanning tree allows.
    pub ports: Arc<BridgePorts>,
}

/// What becomes of a frame by the rules of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It passes, with this tag; 0 is none.
    Pass(u16),
    /// It is dropped.
    Block,
}

impl Switch {
    /// The interface of the box that has a station address.
    #[inline]
    pub fn own(&self, addr: Addr) -> Option<InterfaceId> {
        let at = self.own.binary_search_by_key(&addr, |(a, _)| *a).ok()?;
        Some(self.own[at].1)
    }

    /// The member that a station never leaves.
    #[inline]
    pub fn fixed(&self, addr: Addr) -> Option<InterfaceId> {
        let at = self.statics.binary_search_by_key(&addr, |(a, _)| *a).ok()?;
        Some(self.statics[at].1)
    }

    /// The place of a member.
    pub fn place(&self, id: InterfaceId) -> Option<usize> {
        self.members.iter().position(|m| m.id == id)
    }

    /// Members that a frame may go to that came in at `from` (none: that the box sends), as bits by place. `many` is
    /// whether it is for a group, and not for one station that nobody knows; `is_ip` as of [`is_ip()`].
    #[inline]
    pub fn targets(&self, from: Option<usize>, many: bool, is_ip: bool) -> u64 {
        let reach = from.map_or(self.up, |place| self.reach[place]);
        let wanted = match many {
            true if self.block_many_non_ip && !is_ip => 0,
            true => u64::MAX,
            false => self.discover,
        };
        let passed = if is_ip { u64::MAX } else { !self.ip_only };
        reach & wanted & passed & self.ports.forwarding()
    }

    /// Whether a frame may go from one place to another.
    #[inline]
    pub fn connects(&self, from: Option<usize>, to: usize, is_ip: bool) -> bool {
        let reach = from.map_or(self.up, |place| self.reach[place]);
        let passed = if is_ip { u64::MAX } else { !self.ip_only };
        (reach & passed & self.ports.forwarding()) >> to & 1 == 1
    }

    /// Whether its frames go where stations and port states say, and nothing else is done with them: it has no rules of its
    /// own, and nobody listens.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.rules.is_empty() && self.spans.is_empty()
    }

    /// The rules of the bridge about a frame at a member.
    #[inline]
    pub fn ruling(&self, member: InterfaceId, inbound: bool, head: &FrameHead<'_>) -> Ruling {
        if self.rules.is_empty() {
            return Ruling::Pass(0);
        }
        let matches = |rule: &&MacRule| {
            rule.member == member
                && (if inbound { rule.inbound } else { rule.outbound })
                && rule.src.is_none_or(|a| a == head.src)
                && rule.dst.is_none_or(|a| a == head.dst)
                && rule
                    .arp
                    .is_none_or(|a| a.matches(head.ethertype, head.payload))
        };
        match self.rules.iter().find(matches) {
            Some(rule) if rule.block => Ruling::Block,
            Some(rule) => Ruling::Pass(rule.tag),
            None => Ruling::Pass(0),
        }
    }
}

/// All bridges, flat.
#[derive(Debug, Clone, Default)]
pub struct Bridges {
    /// By interface number; empty without bridges.
    places: Vec<Option<Place>>,
    bridges: Vec<Switch>,
}

impl Bridges {
    /// The place of an interface in a bridge, if it is part of one.
    #[inline]
    pub fn place(&self, id: InterfaceId) -> Option<Place> {
        *self.places.get(usize::from(id.0))?
    }

    /// A bridge by its number.
    #[inline]
    pub fn get(&self, n: u8) -> Option<&Switch> {
        self.bridges.get(usize::from(n))
    }

    /// The bridge that an interface is part of.
    #[inline]
    pub fn of(&self, id: InterfaceId) -> Option<&Switch> {
        self.get(self.place(id)?.bridge)
    }

    /// The place of a member of this very bridge.
    #[inline]
    pub fn member(&self, bridge: u8, id: InterfaceId) -> Option<usize> {
        match self.place(id)? {
            Place {
                bridge: its,
                role: Role::Member(place),
            } if its == bridge => Some(usize::from(place)),
            _ => None,
        }
    }

    /// All bridges.
    pub fn iter(&self) -> core::slice::Iter<'_, Switch> {
        self.bridges.iter()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bridges.is_empty()
    }

    /// Checks the bridges and lays them flat. `by_id` has each interface at its number.
    pub(crate) fn build(by_id: &[Option<Interface>]) -> Result<Bridges, InterfaceError> {
        let mut all = Bridges::default();
        for interface in by_id.iter().flatten() {
            let Kind::Bridge(bridge) = &interface.kind else {
                continue;
            };
            if all.bridges.len() == fdb::BRIDGES_MAX {
                return Err(InterfaceError::Link(
                    interface.name.clone(),
                    "is one bridge too many",
                ));
            }
            if all.places.is_empty() {
                all.places = alloc::vec![None; by_id.len()];
            }
            all.add(by_id, interface, bridge)?;
        }
        Ok(all)
    }

    fn add(
        &mut self,
        by_id: &[Option<Interface>],
        interface: &Interface,
        bridge: &Bridge,
    ) -> Result<(), InterfaceError> {
        let bad = |text| InterfaceError::Link(interface.name.clone(), text);
        if bridge.members.len() > MEMBERS_MAX {
            return Err(bad("has more than 64 members"));
        }
        if bridge.rules.len() > RULES_MAX {
            return Err(bad("has more than 1024 rules"));
        }
        let number = self.bridges.len() as u8;
        let members = (0..).zip(&bridge.members);
        let roles = members
            .map(|(n, m)| (m.id, Role::Member(n)))
            .chain(bridge.spans.iter().map(|id| (*id, Role::Span)))
            .chain([(interface.id, Role::Itself)]);
        for (id, role) in roles {
            let place = Place {
                bridge: number,
                role,
            };
            let slot = self.places.get_mut(usize::from(id.0));
            match slot.map(|slot| slot.replace(place)) {
                Some(None) => {}
                _ => return Err(bad("has a member that another has, or twice")),
            }
        }
        self.bridges.push(flatten(by_id, interface, bridge));
        Ok(())
    }
}

fn flatten(by_id: &[Option<Interface>], interface: &Interface, bridge: &Bridge) -> Switch {
    let get = |id: InterfaceId| by_id.get(usize::from(id.0)).and_then(Option::as_ref);
    let parts = || {
        let members = bridge.members.iter().filter_map(|m| get(m.id));
        members.chain([interface]).filter(|i| i.up)
    };
    let mask = |wanted: &dyn Fn(&Member) -> bool| -> u64 {
        let members = bridge.members.iter().enumerate();
        members
            .filter(|(_, m)| wanted(m))
            .fold(0, |mask, (n, _)| mask | 1 << n)
    };
    let up = match interface.up {
        true => mask(&|m| get(m.id).is_some_and(|i| i.up)),
        false => 0,
    };
    let reach = bridge
        .members
        .iter()
        .map(|from| up & mask(&|to| to.id != from.id && to.protected & from.protected == 0));
    // Of two that share an address, the one that has addresses of its own answers.
    let mut own: Vec<(Addr, InterfaceId)> = parts()
        .map(|i| (i.mac, i.addrs.is_empty(), i.id))
        .collect::<alloc::collections::BTreeSet<_>>()
        .into_iter()
        .map(|(mac, _, id)| (mac, id))
        .collect();
    own.dedup_by_key(|(mac, _)| *mac);
    let mut statics = bridge.statics.clone();
    statics.sort_unstable();
    statics.dedup_by_key(|(mac, _)| *mac);
    Switch {
        terms: Terms {
            bridge: interface.id,
            max_addr: bridge.max_addr,
            timeout_s: bridge.timeout_s,
        },
        spans: bridge.spans.clone(),
        hosts: parts()
            .filter(|i| !i.addrs.is_empty())
            .map(|i| i.id)
            .collect(),
        reach: reach.collect(),
        own,
        statics,
        rules: bridge.rules.clone(),
        up,
        discover: mask(&|m| m.discover),
        ip_only: mask(&|m| m.block_non_ip),
        block_many_non_ip: bridge.block_many_non_ip,
        speaks_stp: bridge.members.iter().any(|m| m.stp),
        members: bridge.members.clone(),
        ports: bridge.ports.0.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::InterfaceTable;
    use crate::interface::tests::interface;

    fn id(n: u16) -> InterfaceId {
        InterfaceId(n)
    }

    /// em0, em1, em2 and bridge0; em0 has an address.
    fn table(change: impl FnOnce(&mut Bridge)) -> Result<InterfaceTable, InterfaceError> {
        let mut bridge = Bridge {
            members: [0, 1, 2].map(|n| Member::new(id(n))).to_vec(),
            ..Bridge::default()
        };
        change(&mut bridge);
        let mut all = vec![
            interface(0, "em0", &["10.0.0.1/8"]),
            interface(1, "em1", &[]),
            interface(2, "em2", &[]),
            interface(3, "bridge0", &[]),
            interface(4, "em4", &[]),
        ];
        all[3].kind = Kind::Bridge(bridge);
        InterfaceTable::build(all)
    }

    fn head(dst: Addr) -> FrameHead<'static> {
        FrameHead {
            dst,
            src: Addr([2, 0, 0, 0, 9, 9]),
            ethertype: EtherType::IPV4,
            payload: &[],
        }
    }

    #[test]
    fn every_interface_knows_its_place() {
        let table = table(|b| b.spans.push(id(4))).unwrap();
        let bridges = table.bridges();
        let place = |n| bridges.place(id(n)).map(|p| p.role);
        assert_eq!(place(0), Some(Role::Member(0)));
        assert_eq!(place(2), Some(Role::Member(2)));
        assert_eq!(place(3), Some(Role::Itself));
        assert_eq!(place(4), Some(Role::Span));
        assert_eq!(place(5), None);
        let bridge = bridges.of(id(1)).unwrap();
        assert_eq!(bridge.hosts, [id(0)]);
        let mac = table.get(id(1)).unwrap().mac;
        assert_eq!(bridge.own(mac), Some(id(1)));
        assert_eq!(bridge.own(Addr::BROADCAST), None);
    }

    #[test]
    fn frames_go_to_all_others_that_may_have_them() {
        let bits = |change: fn(&mut Bridge), from, many, is_ip| {
            let table = table(change).unwrap();
            let bridge = table.bridges().get(0).unwrap().clone();
            bridge.targets(from, many, is_ip)
        };
        assert_eq!(bits(|_| {}, Some(0), true, true), 0b110);
        assert_eq!(bits(|_| {}, None, true, true), 0b111);
        assert_eq!(
            bits(|b| b.members[1].discover = false, Some(0), false, true),
            0b100
        );
        assert_eq!(
            bits(|b| b.members[1].discover = false, Some(0), true, true),
            0b110
        );
        assert_eq!(
            bits(|b| b.members[1].block_non_ip = true, Some(0), true, false),
            0b100
        );
        assert_eq!(
            bits(|b| b.members[1].block_non_ip = true, Some(0), true, true),
            0b110
        );
        let protect = |b: &mut Bridge| {
            b.members[0].protected = 0b11;
            b.members[1].protected = 0b10;
        };
        assert_eq!(bits(protect, Some(0), true, true), 0b100);
        assert_eq!(bits(protect, Some(2), true, true), 0b011);
        assert_eq!(
            bits(|b| b.block_many_non_ip = true, Some(0), true, false),
            0
        );
        assert_eq!(
            bits(|b| b.block_many_non_ip = true, Some(0), false, false),
            0b110
        );
        let discards = |b: &mut Bridge| b.ports.0.set(0b111, 0b101);
        assert_eq!(bits(discards, Some(0), true, true), 0b100);
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let evil = Addr([2, 0, 0, 0, 9, 9]);
        let rule = MacRule {
            block: false,
            inbound: true,
            outbound: false,
            member: id(0),
            src: Some(evil),
            dst: None,
            tag: 7,
            arp: None,
        };
        let arp = MacRule {
            block: true,
            outbound: true,
            arp: Some(ArpRule {
                request: Some(true),
                ..ArpRule::default()
            }),
            ..rule
        };
        let table = table(|b| {
            b.rules = vec![
                arp,
                MacRule {
                    dst: Some(Addr::BROADCAST),
                    ..rule
                },
                MacRule {
                    block: true,
                    ..rule
                },
            ];
        })
        .unwrap();
        let bridge = table.bridges().get(0).unwrap();
        assert_eq!(
            bridge.ruling(id(0), true, &head(Addr::BROADCAST)),
            Ruling::Pass(7)
        );
        assert_eq!(bridge.ruling(id(0), true, &head(evil)), Ruling::Block);
        assert_eq!(bridge.ruling(id(0), false, &head(evil)), Ruling::Pass(0));
        assert_eq!(bridge.ruling(id(1), true, &head(evil)), Ruling::Pass(0));
        let question = [
            0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
        ];
        let question = FrameHead {
            ethertype: EtherType::ARP,
            payload: &question,
            ..head(evil)
        };
        assert_eq!(bridge.ruling(id(0), false, &question), Ruling::Block);
        assert_eq!(
            bridge.ruling(
                id(0),
                false,
                &FrameHead {
                    payload: &[],
                    ..question
                }
            ),
            Ruling::Pass(0)
        );
    }

    #[test]
    fn what_cannot_be_a_bridge_is_refused() {
        let twice = table(|b| b.members.push(Member::new(id(1))));
        assert!(matches!(twice, Err(InterfaceError::Link(..))));
        let unknown = table(|b| b.members.push(Member::new(id(77))));
        assert!(matches!(unknown, Err(InterfaceError::Link(..))));
        let many = table(|b| b.members = (0..65).map(|n| Member::new(id(n))).collect());
        assert!(matches!(many, Err(InterfaceError::Link(..))));
    }
}
