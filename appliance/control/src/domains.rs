//! Which routing table packets of the local host go by. The host knows nothing of routing domains: it answers from the
//! address that was asked, and the answer belongs to the domain of that address.
//!
//! Read first: rdomain(4) of OpenBSD. There a socket listens in one domain; here the one server of the box listens in all,
//! and the rules say who reaches it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use net::{InterfaceId, InterfaceTable};

/// Conversations remembered about addresses that several domains have.
const HEARD_MAX: usize = 1024;

/// Domains of the box's addresses.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    /// The domain of each interface.
    of_interface: HashMap<InterfaceId, u8>,
    /// Those of each address; the smallest first.
    of: HashMap<IpAddr, Vec<u8>>,
    /// For addresses of several domains: in which one a host was heard last, by our address and its.
    heard: HashMap<(IpAddr, IpAddr), u8>,
}

impl Domains {
    /// Those of the interfaces.
    pub fn new(interfaces: &InterfaceTable) -> Self {
        let mut domains = Domains::default();
        for interface in interfaces {
            domains.of_interface.insert(interface.id, interface.rdomain);
            for a in &interface.addrs {
                let of = domains.of.entry(a.addr).or_default();
                if !of.contains(&interface.rdomain) {
                    of.push(interface.rdomain);
                    of.sort_unstable();
                }
            }
        }
        domains
    }

    /// Takes over what another one remembers of conversations.
    pub fn remembering(mut self, before: Domains) -> Self {
        self.heard = before.heard;
        self
    }

    /// A packet for the box came in.
    pub fn hear(&mut self, packet: &[u8], received_on: Option<InterfaceId>) {
        let Some((remote, local)) = ends(packet) else {
            return;
        };
        let rdomain = received_on.and_then(|id| self.of_interface.get(&id));
        let several = self.of.get(&local).is_some_and(|of| of.len() > 1);
        if let (true, Some(rdomain)) = (several, rdomain) {
            if self.heard.len() >= HEARD_MAX {
                self.heard.clear();
            }
            self.heard.insert((local, remote), *rdomain);
        }
    }

    /// The table that a packet of the box goes by.
    pub fn table(&self, packet: &[u8]) -> u8 {
        let Some((local, remote)) = ends(packet) else {
            return 0;
        };
        let of = self.of.get(&local).map_or(&[][..], Vec::as_slice);
        let heard = || self.heard.get(&(local, remote)).copied();
        let known = (of.len() > 1).then(heard).flatten();
        known
            .filter(|rdomain| of.contains(rdomain))
            .or(of.first().copied())
            .unwrap_or(0)
    }
}

/// Source and destination of an IP packet.
fn ends(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let v4 = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes).into())
    };
    let v6 = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(bytes).into())
    };
    match packet.first()? >> 4 {
        4 => Some((v4(12)?, v4(16)?)),
        6 => Some((v6(8)?, v6(24)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::tests::lay;

    fn packet(src: &str, dst: &str) -> Vec<u8> {
        match (src.parse().unwrap(), dst.parse().unwrap()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut bytes = vec![0x45; 20];
                bytes[12..16].copy_from_slice(&src.octets());
                bytes[16..20].copy_from_slice(&dst.octets());
                bytes
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mut bytes = vec![0x60; 40];
                bytes[8..24].copy_from_slice(&src.octets());
                bytes[24..40].copy_from_slice(&dst.octets());
                bytes
            }
            _ => panic!("two families"),
        }
    }

    #[test]
    fn answers_go_by_the_table_of_the_address_that_was_asked() {
        let (layout, _) = lay(&[
            ("hostname.em0", "inet 192.0.2.1/24\ninet 10.0.0.1/24\n"),
            (
                "hostname.em1",
                "rdomain 4\ninet 198.51.100.1/24\ninet6 2001:db8::1 64\ninet 10.0.0.1/24\n",
            ),
        ]);
        let interfaces = layout.unwrap().interfaces;
        let mut domains = Domains::new(&interfaces);
        for (src, dst, rtable) in [
            ("192.0.2.1", "192.0.2.9", 0),
            ("198.51.100.1", "203.0.113.9", 4),
            ("2001:db8::1", "2001:db8::9", 4),
            ("203.0.113.77", "192.0.2.9", 0),
            // Both domains have it, and nobody was heard.
            ("10.0.0.1", "10.0.0.9", 0),
        ] {
            assert_eq!(domains.table(&packet(src, dst)), rtable, "{src} > {dst}");
        }
        let on = |name| interfaces.by_name(name).map(|i| i.id);
        domains.hear(&packet("10.0.0.9", "10.0.0.1"), on("em1"));
        let answer = packet("10.0.0.1", "10.0.0.9");
        assert_eq!(domains.table(&answer), 4);
        assert_eq!(domains.table(&packet("10.0.0.1", "10.0.0.8")), 0);
        let mut domains = Domains::new(&interfaces).remembering(domains);
        assert_eq!(domains.table(&answer), 4);
        domains.hear(&packet("10.0.0.9", "10.0.0.1"), on("em0"));
        assert_eq!(domains.table(&answer), 0);
        for wrong in [&[][..], &[0x45; 19], &[0x60; 39], &[0x10; 60]] {
            domains.hear(wrong, None);
            assert_eq!(domains.table(wrong), 0);
        }
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let (layout, _) = lay(&[
            ("hostname.em0", "inet 10.0.0.1/24\n"),
            ("hostname.em1", "rdomain 4\ninet 10.0.0.1/24\n"),
        ]);
        let interfaces = layout.unwrap().interfaces;
        let mut domains = Domains::new(&interfaces);
        let em1 = interfaces.by_name("em1").map(|i| i.id);
        for n in 0..5000u32 {
            let from = Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
            domains.hear(&packet(&from, "10.0.0.1"), em1);
            assert!(domains.heard.len() <= HEARD_MAX);
        }
    }
}
