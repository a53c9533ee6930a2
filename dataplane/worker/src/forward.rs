//! Where a packet goes: to the local host, to the neighbor machinery, or out by an interface to a next hop.
//!
//! Read first: RFC 1812 4.2.2.9, 5.2.4, 5.3.1; RFC 8200 3; RFC 4861 7.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter::Reason;
use net::icmp_error::ErrorKind;
use net::interface::Destination;
use net::neighbor::Resolution;
use net::route::{Route, RouteKind};
use net::{InterfaceId, ttl};
use nic::{Nic, PacketBuf};
use ruleset::Af;
use state::record::EgressCache;
use wire::ether;

use crate::batch::{Hop, Item, Origin};
use crate::config::Config;
use crate::path;
use crate::turn::Worker;
use crate::verdict::{Consumer, Egress, Verdict};

/// Next hops that are remembered.
const HOPS: usize = 64;

/// The stations of the next hops that were asked for last, as long as nothing has changed: new connections have no way of
/// their own yet, and most of them go to a few routers.
pub(crate) struct Hops([(Asked, InterfaceId, IpAddr, ether::Addr); HOPS]);

/// Stamp of egress caches and generation of the neighbors. The stamp is never 0.
type Asked = (u32, u32);

impl Default for Hops {
    fn default() -> Self {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Hops([((0, 0), InterfaceId(0), nobody, ether::Addr::ZERO); HOPS])
    }
}

impl Hops {
    #[inline]
    fn place(next_hop: IpAddr) -> usize {
        let bits = match next_hop {
            IpAddr::V4(addr) => addr.to_bits(),
            IpAddr::V6(addr) => addr.to_bits() as u32,
        };
        bits as usize % HOPS
    }

    #[inline]
    fn get(&self, asked: Asked, interface: InterfaceId, next_hop: IpAddr) -> Option<ether::Addr> {
        let (when, on, of, station) = self.0[Self::place(next_hop)];
        ((when, on, of) == (asked, interface, next_hop)).then_some(station)
    }

    fn set(&mut self, asked: Asked, interface: InterfaceId, next_hop: IpAddr, to: ether::Addr) {
        self.0[Self::place(next_hop)] = (asked, interface, next_hop, to);
    }
}

impl<N: Nic> Worker<N> {
    /// Chooses the way of every packet that was let in, and of the box's own.
    pub(crate) fn forward(&mut self, now_ms: u64) {
        for n in 0..self.batch.len() {
            let item = &self.batch.items[n];
            if !item.is_open() || item.egress.is_some() {
                continue;
            }
            match (item.origin, item.bridged) {
                (Origin::Wire(_), Some(through)) => self.bridge_forward(n, through, now_ms),
                (Origin::Wire(interface), None) => self.forward_one(n, interface, now_ms),
                // Their way is known.
                (Origin::Bridged(_), _) => self.batch.items[n].drop_for(Reason::Loop),
                (Origin::Own | Origin::Proxy | Origin::Answer, _) => self.forward_own(n, now_ms),
            }
            if self.batch.items[n].watched != 0 {
                self.tell_way(n, now_ms);
            }
        }
    }

    #[inline]
    fn forward_one(&mut self, n: usize, interface: InterfaceId, now_ms: u64) {
        let item = &self.batch.items[n];
        match self.cached_egress(item) {
            Some(egress) => self.go_on(n, interface, Hop::Known(egress), now_ms),
            None => self.find_way(n, interface, now_ms),
        }
    }

    fn find_way(&mut self, n: usize, interface: InterfaceId, now_ms: u64) {
        let pd = &self.batch.items[n].pd;
        let (src, dst) = (addr_of(pd.af, pd.src), addr_of(pd.af, pd.dst));
        let rdomain = pd.rdomain;
        let interfaces = &self.config.interfaces;
        let is_ours = interfaces.local(rdomain, src).is_some() && !self.has_given_source(n);
        if is_martian(src) || is_ours {
            return self.batch.items[n].drop_for(Reason::Martian);
        }
        match interfaces.classify(rdomain, interface, dst) {
            Destination::Remote if self.asks_for_published(n, interface, dst) => {
                self.deliver(n, interface, now_ms);
            }
            Destination::Remote => self.route_one(n, interface, src, dst, now_ms),
            Destination::Local | Destination::Broadcast | Destination::Joined => {
                self.deliver(n, interface, now_ms);
            }
            Destination::Multicast => self.batch.items[n].drop_for(Reason::Multicast),
            Destination::LinkScope => self.batch.items[n].drop_for(Reason::NoRoute),
            Destination::Invalid => self.batch.items[n].drop_for(Reason::Martian),
        }
    }

    /// Whether somebody who knows the station of an address that we answer for asks whether it is still there.
    fn asks_for_published(&self, n: usize, interface: InterfaceId, dst: IpAddr) -> bool {
        let listening = self.config.interfaces.listening();
        self.batch.items[n].pd.is_neighbor_discovery
            && listening.publishes(interface, dst).is_some()
    }

    /// Neighbor discovery is the dataplane's own, unless the control core wants to know, and so are tunnels; everything
    /// else for us is the local host's.
    fn deliver(&mut self, n: usize, interface: InterfaceId, now_ms: u64) {
        let mut otherwise = Verdict::Host;
        if self.batch.items[n].pd.is_neighbor_discovery {
            self.hear_neighbor_discovery(n, interface, now_ms);
            otherwise = Verdict::Consumed(Consumer::Neighbor);
        } else if let Some(tunnel) = self.tunnel_of(n) {
            otherwise = Verdict::Tunnel(tunnel);
        } else if path::is_error(&self.batch.items[n].pd) {
            self.hear_of_path(n);
        }
        self.batch.items[n].verdict.get_or_insert(otherwise);
    }

    fn route_one(
        &mut self,
        n: usize,
        interface: InterfaceId,
        src: IpAddr,
        dst: IpAddr,
        now_ms: u64,
    ) {
        // A source that is only valid on its link must not leave it (RFC 4291 2.5.6, RFC 3927 2.7).
        if is_link_local(src) {
            return self.batch.items[n].drop_for(Reason::Martian);
        }
        let pd = &self.batch.items[n].pd;
        match hop_to(&self.config, pd.rtable, pd.src, dst) {
            Ok((out, next_hop)) => {
                let hop = self.resolve(out, next_hop, now_ms);
                self.remember_egress(n, hop);
                self.go_on(n, interface, hop, now_ms);
            }
            Err(refusal) => {
                if refusal != RouteKind::Blackhole {
                    self.show_family(n);
                    self.send_error(n, interface, ErrorKind::HostUnreachable, now_ms);
                }
                self.batch.items[n].drop_for(Reason::NoRoute);
            }
        }
    }

    /// The way is known; what is left is the time to live.
    #[inline]
    pub(crate) fn go_on(&mut self, n: usize, interface: InterfaceId, hop: Hop, now_ms: u64) {
        if self.batch.items[n].pd.ttl <= 1 {
            self.send_error(n, interface, ErrorKind::TimeExceeded, now_ms);
            return self.batch.items[n].drop_for(Reason::Ttl);
        }
        let pd = &self.batch.items[n].pd;
        let ip = &mut self.batch.bufs[n].bytes_mut()[usize::from(pd.ip_at)..];
        decrement_ttl(pd.af, ip);
        self.batch.items[n].egress = Some(hop);
    }

    /// A packet of the box itself.
    fn forward_own(&mut self, n: usize, now_ms: u64) {
        let pd = &self.batch.items[n].pd;
        let dst = addr_of(pd.af, pd.dst);
        if self.config.interfaces.local(pd.rdomain, dst).is_some() {
            self.batch.items[n].verdict = Some(Verdict::Host);
            return;
        }
        match hop_to(&self.config, pd.rtable, pd.src, dst) {
            Ok((out, next_hop)) => {
                self.batch.items[n].egress = Some(self.resolve(out, next_hop, now_ms))
            }
            Err(_) => self.batch.items[n].drop_for(Reason::NoRoute),
        }
    }

    /// The way to a packet's destination, if there is one.
    pub(crate) fn way_to(&mut self, n: usize, now_ms: u64) -> Option<Hop> {
        let pd = &self.batch.items[n].pd;
        let dst = addr_of(pd.af, pd.dst);
        let (out, next_hop) = hop_to(&self.config, pd.rtable, pd.src, dst).ok()?;
        Some(self.resolve(out, next_hop, now_ms))
    }

    #[inline]
    pub(crate) fn resolve(&mut self, interface: InterfaceId, next_hop: IpAddr, now_ms: u64) -> Hop {
        let asked = (self.egress_stamp, self.neighbors.generation());
        match self.hops.get(asked, interface, next_hop) {
            Some(lladdr) => Hop::Known(Egress::routed(interface, lladdr)),
            None => self.ask_for_station(interface, next_hop, now_ms),
        }
    }

    #[inline(never)]
    fn ask_for_station(&mut self, interface: InterfaceId, next_hop: IpAddr, now_ms: u64) -> Hop {
        if let Some(lladdr) = group_station(next_hop) {
            return Hop::Known(Egress::routed(interface, lladdr));
        }
        if self.config.interfaces.links().is_tunnel(interface) {
            // Only one station is at the other end.
            return Hop::Known(Egress::routed(interface, ether::Addr::ZERO));
        }
        if let Some(link) = self
            .config
            .interfaces
            .listening()
            .fixed(interface, next_hop)
        {
            return Hop::Known(Egress::routed(interface, link));
        }
        match self.neighbors.resolve(now_ms, interface, next_hop) {
            Resolution::Known(lladdr) => {
                let asked = (self.egress_stamp, self.neighbors.generation());
                self.hops.set(asked, interface, next_hop, lladdr);
                Hop::Known(Egress::routed(interface, lladdr))
            }
            // Full: parking will fail and be counted.
            Resolution::Pending | Resolution::Full => Hop::Unresolved {
                interface,
                next_hop,
            },
        }
    }

    /// Where the last packet of this state went, if nothing has changed since.
    #[inline]
    fn cached_egress(&self, item: &Item) -> Option<Egress> {
        if item.changed_family {
            // Both ways of the connection have this one state.
            return None;
        }
        let cache = self.states.get(item.state?)?.egress;
        (cache.stamp == self.egress_stamp).then_some(Egress::routed(
            InterfaceId(cache.interface),
            ether::Addr(cache.lladdr),
        ))
    }

    fn remember_egress(&mut self, n: usize, hop: Hop) {
        let stamp = self.egress_stamp;
        if let (Hop::Known(egress), Some(idx)) = (hop, self.batch.items[n].state)
            && !self.batch.items[n].changed_family
            && let Some(st) = self.states.get_mut(idx)
        {
            st.egress = EgressCache {
                stamp,
                interface: egress.interface.0,
                lladdr: egress.lladdr.0,
            };
        }
    }
}

/// Takes one off the time to live. `describe` has checked the header, and the time to live is above 1.
#[inline]
pub(crate) fn decrement_ttl(af: Af, ip: &mut [u8]) {
    let decremented = match af {
        Af::Inet => ttl::decrement4(&mut wire::ipv4::Packet::new_unchecked(ip)),
        Af::Inet6 => ttl::decrement6(&mut wire::ipv6::Packet::new_unchecked(ip)),
    };
    debug_assert!(decremented.is_ok());
}

/// Interface and next hop for a destination, by a routing table. Of several equally good ways the one for this pair of
/// addresses, as on OpenBSD: fragments and all connections of two hosts keep together.
pub(crate) fn hop_to(
    config: &Config,
    rtable: u8,
    src: u128,
    dst: IpAddr,
) -> Result<(InterfaceId, IpAddr), RouteKind> {
    let table = config.routes.get(rtable).ok_or(RouteKind::Reject)?;
    let route = table.lookup(dst).ok_or(RouteKind::Reject)?;
    let route = table.way(route, || flow_of(src, dst));
    match route.kind {
        RouteKind::Blackhole | RouteKind::Reject => Err(route.kind),
        _ => Ok((route.interface, route.gateway.unwrap_or(dst))),
    }
}

/// A number for the packets between two addresses.
fn flow_of(src: u128, dst: IpAddr) -> u32 {
    let folded = |n: u128| (n ^ n >> 32 ^ n >> 64 ^ n >> 96) as u32;
    let dst = match dst {
        IpAddr::V4(addr) => addr.to_bits(),
        IpAddr::V6(addr) => folded(addr.to_bits()),
    };
    folded(src).rotate_left(7).wrapping_mul(0x9e37_79b1) ^ dst
}

/// The route to an address in a routing table.
pub(crate) fn route(config: &Config, rtable: u8, af: Af, bits: u128) -> Option<&Route> {
    config.routes.lookup(rtable, addr_of(af, bits))
}

/// An address of a description as a value of the standard library.
pub(crate) fn addr_of(af: Af, bits: u128) -> IpAddr {
    match af {
        Af::Inet => Ipv4Addr::from_bits(bits as u32).into(),
        Af::Inet6 => Ipv6Addr::from_bits(bits).into(),
    }
}

/// Sources that cannot be on a wire (RFC 1812 5.3.7; RFC 4291 2.5.2, 2.5.3, 2.5.5, 2.7): loopback is among those that hold
/// an IPv4 address. The unspecified address is for
/// neighbor discovery and DHCP, which are not forwarded.
fn is_martian(src: IpAddr) -> bool {
    match src {
        IpAddr::V4(a) => {
            a.is_loopback() || a.is_multicast() || a.octets()[0] == 0 || a.octets()[0] >= 240
        }
        IpAddr::V6(a) => {
            let holds_inet = a.to_ipv4().is_some() && !a.is_unspecified();
            a.is_multicast() || holds_inet
        }
    }
}

fn is_link_local(src: IpAddr) -> bool {
    match src {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local() || a.is_unspecified(),
    }
}

/// Groups have station addresses of their own (RFC 1112 6.4, RFC 2464 7).
fn group_station(addr: IpAddr) -> Option<ether::Addr> {
    match addr {
        IpAddr::V4(a) if a.is_multicast() => Some(ether::Addr::multicast4(a)),
        IpAddr::V4(a) if a.is_broadcast() => Some(ether::Addr::BROADCAST),
        IpAddr::V6(a) if a.is_multicast() => Some(ether::Addr::multicast6(a)),
        _ => None,
    }
}
