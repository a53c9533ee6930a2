//! What workers tell the control core of: messages of configuration protocols, and who answers for addresses that are in
//! question. And the neighbors that the administrator has set. Published with the interfaces.

use alloc::vec::Vec;
use core::net::IpAddr;

use wire::ether;

use crate::kif::InterfaceId;

/// An address for which we answer although it is not ours (`arp -s ... pub`, `ndp -s ... proxy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// Where it is asked for.
    pub interface: InterfaceId,
    /// The address.
    pub addr: IpAddr,
    /// The station address to tell; none for the interface's own.
    pub link: Option<ether::Addr>,
}

/// A neighbor whose station address is set, and never asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fixed {
    /// Where it is.
    pub interface: InterfaceId,
    /// Its address.
    pub addr: IpAddr,
    /// Its station.
    pub link: ether::Addr,
}

/// What is listened for. Sorted lists, looked at for rare packets only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    dhcp: Vec<InterfaceId>,
    routers: Vec<InterfaceId>,
    claims: Vec<(InterfaceId, IpAddr)>,
    published: Vec<Published>,
    fixed: Vec<Fixed>,
}

impl Listening {
    /// Listens for answers of DHCP servers on these interfaces, for router discovery on those, and for whoever has one of
    /// the claimed addresses.
    pub fn new(
        mut dhcp: Vec<InterfaceId>,
        mut routers: Vec<InterfaceId>,
        mut claims: Vec<(InterfaceId, IpAddr)>,
    ) -> Listening {
        dhcp.sort_unstable();
        routers.sort_unstable();
        claims.sort_unstable();
        Listening {
            dhcp,
            routers,
            claims,
            published: Vec::new(),
            fixed: Vec::new(),
        }
    }

    /// The same, answering for others.
    pub fn publishing(mut self, mut published: Vec<Published>) -> Listening {
        published.sort_unstable();
        self.published = published;
        self
    }

    /// The same, with neighbors that are set. Of two with one address on an interface the first in order counts.
    pub fn knowing(mut self, mut fixed: Vec<Fixed>) -> Listening {
        fixed.sort_unstable();
        fixed.dedup_by_key(|f| (f.interface, f.addr));
        self.fixed = fixed;
        self
    }

    /// Whether a DHCP client runs on the interface: what servers say to it is below the rules, as bpf(4) has it for
    /// dhcpleased(8).
    pub fn for_dhcp(&self, interface: InterfaceId) -> bool {
        self.dhcp.binary_search(&interface).is_ok()
    }

    /// Whether somebody wants router solicitations and advertisements of the interface.
    pub fn for_routers(&self, interface: InterfaceId) -> bool {
        self.routers.binary_search(&interface).is_ok()
    }

    /// Whether we want to know who else has this address: it is about to be ours.
    pub fn claims(&self, interface: InterfaceId, addr: IpAddr) -> bool {
        self.claims.binary_search(&(interface, addr)).is_ok()
    }

    /// Whether the group is that of an address that is about to be ours (RFC 4862 5.4.2), or that we answer for (RFC 4861
    /// 7.2.8).
    pub fn claims_group(&self, interface: InterfaceId, group: core::net::Ipv6Addr) -> bool {
        let is_of = |on: InterfaceId, addr: IpAddr| match addr {
            IpAddr::V6(addr) => on == interface && wire::ipv6::solicited_node(addr) == group,
            IpAddr::V4(_) => false,
        };
        let mut claims = self.claims.iter();
        let mut published = self.published.iter();
        claims.any(|(on, addr)| is_of(*on, *addr)) || published.any(|p| is_of(p.interface, p.addr))
    }

    /// For whom else we answer on the interface; the station address to tell, if it is not the interface's own.
    pub fn publishes(&self, interface: InterfaceId, addr: IpAddr) -> Option<Option<ether::Addr>> {
        let key = |p: &Published| (p.interface, p.addr);
        let at = self
            .published
            .binary_search_by_key(&(interface, addr), key)
            .ok()?;
        Some(self.published[at].link)
    }

    /// The station of a neighbor that is set.
    #[inline]
    pub fn fixed(&self, interface: InterfaceId, addr: IpAddr) -> Option<ether::Addr> {
        let key = |f: &Fixed| (f.interface, f.addr);
        let at = self.fixed.binary_search_by_key(&(interface, addr), key);
        Some(self.fixed[at.ok()?].link)
    }

    /// All neighbors that are set.
    pub fn all_fixed(&self) -> &[Fixed] {
        &self.fixed
    }

    /// All that we answer for.
    pub fn all_published(&self) -> &[Published] {
        &self.published
    }
}
