//! Router solicitations and advertisements on the wire.
//!
//! Read first: RFC 4861 sections 4.1, 4.2, 4.6, 6.1; RFC 4191 2.2 (preference); RFC 8106 5 (name servers).

use std::net::Ipv6Addr;

use wire::{ether, icmp6, ipv6, proto};

use crate::{Outgoing, Way};

/// Every discovery message is sent with this hop limit, so that receivers can tell it came over no router.
const HOP_LIMIT: u8 = 255;
/// Most prefixes of an advertisement that are read.
const PREFIXES_MAX: usize = 16;
/// Most name servers of an advertisement that are read.
const NAMESERVERS_MAX: usize = 8;
/// A lifetime without end.
pub const INFINITE: u32 = u32::MAX;

mod option {
    pub(super) const NAMESERVERS: u8 = 25;
    pub(super) const SEARCH: u8 = 31;
}

/// How much a router wants to be the default router (RFC 4191 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Preference {
    /// Only if there is no other.
    Low,
    /// As if nothing were said.
    #[default]
    Medium,
    /// Rather than others.
    High,
}

impl Preference {
    fn of(flags: u8) -> Preference {
        match flags >> 3 & 3 {
            0b01 => Preference::High,
            0b11 => Preference::Low,
            // The reserved value counts as medium.
            _ => Preference::Medium,
        }
    }

    fn bits(self) -> u8 {
        let two: u8 = match self {
            Preference::High => 0b01,
            Preference::Medium => 0b00,
            Preference::Low => 0b11,
        };
        two << 3
    }
}

/// A prefix information option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixInfo {
    /// Network, host bits zero.
    pub prefix: Ipv6Addr,
    /// Bits of it.
    pub len: u8,
    /// Its hosts are on this link.
    pub on_link: bool,
    /// Hosts may make addresses in it.
    pub autonomous: bool,
    /// Seconds that the prefix is valid; [`INFINITE`] without end.
    pub valid_s: u32,
    /// Seconds that addresses in it are to be preferred.
    pub preferred_s: u32,
}

/// A router advertisement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertisement {
    /// Hop limit for hosts; 0 says nothing.
    pub hop_limit: u8,
    /// Addresses are to be had by DHCPv6.
    pub managed: bool,
    /// Other things are to be had by DHCPv6.
    pub other: bool,
    /// How much it wants to be the default router.
    pub preference: Preference,
    /// Seconds that it is a default router; 0 if it is none.
    pub lifetime_s: u16,
    /// Milliseconds that a neighbor counts as reachable; 0 says nothing.
    pub reachable_ms: u32,
    /// Milliseconds between solicitations; 0 says nothing.
    pub retransmit_ms: u32,
    /// The router's station address.
    pub source_link: Option<ether::Addr>,
    /// Largest packet of the link.
    pub mtu: Option<u32>,
    /// Prefixes.
    pub prefixes: Vec<PrefixInfo>,
    /// Name servers, and the seconds that they may be used.
    pub nameservers: Vec<(Ipv6Addr, u32)>,
    /// Domains to search, and the seconds that they may be.
    pub search: Vec<String>,
    /// Seconds that the domains may be searched.
    pub search_s: u32,
}

/// What a router, or somebody who looks for one, says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouterMessage {
    /// Who is a router here? With the sender's station address, if it has an address already.
    Solicit(Option<ether::Addr>),
    /// I am.
    Advertise(Box<Advertisement>),
}

/// A valid message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Source of the packet.
    pub src: Ipv6Addr,
    /// What it says.
    pub message: RouterMessage,
}

/// The message in an IPv6 packet, if it is valid (RFC 4861 6.1.1, 6.1.2).
pub fn parse(packet: &[u8]) -> Option<Heard> {
    let walk = ipv6::walk(packet).ok()?;
    let header = ipv6::Packet::new_checked(packet).ok()?;
    let is_whole = walk.next_header == proto::ICMP6 && walk.fragment.is_none();
    if !is_whole || header.hop_limit() != HOP_LIMIT {
        return None;
    }
    let message = icmp6::Packet::new_checked(packet.get(walk.offset..walk.end)?).ok()?;
    let (src, dst) = (header.src(), header.dst());
    if message.code() != 0 || !message.verify_checksum(src, dst) {
        return None;
    }
    let mut options = Vec::new();
    for option in message.nd_options() {
        // One broken option makes the whole message invalid.
        options.push(option.ok()?);
    }
    let link = options
        .iter()
        .find(|o| o.kind == icmp6::option::SOURCE_LINK);
    let link = link.and_then(|o| o.link()).filter(|l| l.is_unicast());
    let message = match message.kind() {
        icmp6::kind::ROUTER_SOLICIT if src.is_unspecified() && link.is_some() => return None,
        icmp6::kind::ROUTER_SOLICIT => RouterMessage::Solicit(link),
        icmp6::kind::ROUTER_ADVERT if src.is_unicast_link_local() => {
            RouterMessage::Advertise(Box::new(advertisement(&message, &options, link)?))
        }
        _ => return None,
    };
    Some(Heard { src, message })
}

fn advertisement(
    message: &icmp6::Packet<&[u8]>,
    options: &[icmp6::NdOption<'_>],
    source_link: Option<ether::Addr>,
) -> Option<Advertisement> {
    let [hop_limit, flags, a, b] = message.rest();
    let timers = message.payload();
    let mut found = Advertisement {
        hop_limit,
        managed: flags & 0x80 != 0,
        other: flags & 0x40 != 0,
        preference: Preference::of(flags),
        lifetime_s: u16::from_be_bytes([a, b]),
        reachable_ms: be32(timers.get(..4)?)?,
        retransmit_ms: be32(timers.get(4..8)?)?,
        source_link,
        ..Advertisement::default()
    };
    for option in options {
        match option.kind {
            icmp6::option::MTU => found.mtu = option.data.get(2..6).and_then(be32),
            icmp6::option::PREFIX if found.prefixes.len() < PREFIXES_MAX => {
                found.prefixes.extend(prefix_info(option.data));
            }
            option::NAMESERVERS => nameservers(option.data, &mut found.nameservers),
            _ => {}
        }
    }
    Some(found)
}

fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn be128(bytes: &[u8]) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.try_into().ok()?;
    Some(Ipv6Addr::from_octets(octets))
}

/// The data of a prefix information option, after type and length.
fn prefix_info(data: &[u8]) -> Option<PrefixInfo> {
    let data: &[u8; 30] = data.try_into().ok()?;
    let len = data[0];
    let prefix = be128(&data[14..])?;
    let network = net::Prefix::containing(prefix.into(), len).addr();
    let std::net::IpAddr::V6(prefix) = network else {
        return None;
    };
    (len <= 128).then_some(PrefixInfo {
        prefix,
        len,
        on_link: data[1] & 0x80 != 0,
        autonomous: data[1] & 0x40 != 0,
        valid_s: be32(&data[2..6])?,
        preferred_s: be32(&data[6..10])?,
    })
}

fn nameservers(data: &[u8], found: &mut Vec<(Ipv6Addr, u32)>) {
    let Some(lifetime) = data.get(2..6).and_then(be32) else {
        return;
    };
    for addr in data[6..].chunks_exact(16).filter_map(be128) {
        let is_usable = !(addr.is_unspecified() || addr.is_multicast() || addr.is_loopback());
        if is_usable && found.len() < NAMESERVERS_MAX {
            found.push((addr, lifetime));
        }
    }
}

/// The question who is a router here, from a link-local address to all routers.
pub fn build_solicit(mac: ether::Addr, src: Ipv6Addr) -> Outgoing {
    let mut body = vec![icmp6::kind::ROUTER_SOLICIT, 0, 0, 0, 0, 0, 0, 0];
    add_link(&mut body, mac);
    packet(src, ipv6::ALL_ROUTERS, body)
}

/// An advertisement from a link-local address.
pub fn build_advertisement(src: Ipv6Addr, dst: Ipv6Addr, said: &Advertisement) -> Outgoing {
    let flags = u8::from(said.managed) << 7 | u8::from(said.other) << 6;
    let [a, b] = said.lifetime_s.to_be_bytes();
    let mut body = vec![icmp6::kind::ROUTER_ADVERT, 0, 0, 0];
    // Who is no default router says nothing of its preference (RFC 4191 2.2).
    let preference = if said.lifetime_s == 0 {
        0
    } else {
        said.preference.bits()
    };
    body.extend_from_slice(&[said.hop_limit, flags | preference, a, b]);
    body.extend_from_slice(&said.reachable_ms.to_be_bytes());
    body.extend_from_slice(&said.retransmit_ms.to_be_bytes());
    if let Some(link) = said.source_link {
        add_link(&mut body, link);
    }
    if let Some(mtu) = said.mtu {
        body.extend_from_slice(&[icmp6::option::MTU, 1, 0, 0]);
        body.extend_from_slice(&mtu.to_be_bytes());
    }
    for p in &said.prefixes {
        let flags = u8::from(p.on_link) << 7 | u8::from(p.autonomous) << 6;
        body.extend_from_slice(&[icmp6::option::PREFIX, 4, p.len, flags]);
        body.extend_from_slice(&p.valid_s.to_be_bytes());
        body.extend_from_slice(&p.preferred_s.to_be_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&p.prefix.octets());
    }
    if let Some((_, lifetime)) = said.nameservers.first() {
        let len = 1 + 2 * said.nameservers.len();
        body.extend_from_slice(&[option::NAMESERVERS, len as u8, 0, 0]);
        body.extend_from_slice(&lifetime.to_be_bytes());
        for (addr, _) in &said.nameservers {
            body.extend_from_slice(&addr.octets());
        }
    }
    add_search(&mut body, said);
    packet(src, dst, body)
}

/// Domains as DNS writes them, padded to units of eight bytes (RFC 8106 5.2).
fn add_search(body: &mut Vec<u8>, said: &Advertisement) {
    let mut names = Vec::new();
    for domain in &said.search {
        for label in domain.split('.').filter(|l| !l.is_empty() && l.len() < 64) {
            names.push(label.len() as u8);
            names.extend_from_slice(label.as_bytes());
        }
        names.push(0);
    }
    let units = 1 + names.len().div_ceil(8);
    let Ok(len) = u8::try_from(units) else { return };
    if said.search.is_empty() {
        return;
    }
    names.resize((units - 1) * 8, 0);
    body.extend_from_slice(&[option::SEARCH, len, 0, 0]);
    body.extend_from_slice(&said.search_s.to_be_bytes());
    body.extend_from_slice(&names);
}

fn add_link(body: &mut Vec<u8>, link: ether::Addr) {
    body.extend_from_slice(&[icmp6::option::SOURCE_LINK, 1]);
    body.extend_from_slice(&link.0);
}

fn packet(src: Ipv6Addr, dst: Ipv6Addr, body: Vec<u8>) -> Outgoing {
    let header = ipv6::Repr {
        src,
        dst,
        next_header: proto::ICMP6,
        hop_limit: HOP_LIMIT,
        traffic_class: 0,
        flow_label: 0,
        payload_len: body.len() as u16,
    };
    let mut bytes = vec![0; header.buffer_len() + body.len()];
    header.emit(&mut ipv6::Packet::new_unchecked(&mut bytes[..]));
    bytes[header.buffer_len()..].copy_from_slice(&body);
    let mut message = icmp6::Packet::new_unchecked(&mut bytes[header.buffer_len()..]);
    message.fill_checksum(src, dst);
    Outgoing {
        way: Way::Link(ether::Addr::multicast6(dst)),
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: ether::Addr = ether::Addr([2, 0, 0, 0, 0, 9]);

    fn said() -> Advertisement {
        Advertisement {
            hop_limit: 64,
            other: true,
            preference: Preference::High,
            lifetime_s: 1800,
            reachable_ms: 30_000,
            retransmit_ms: 1000,
            source_link: Some(MAC),
            mtu: Some(1480),
            prefixes: vec![PrefixInfo {
                prefix: "2001:db8:7::".parse().unwrap(),
                len: 64,
                on_link: true,
                autonomous: true,
                valid_s: 600,
                preferred_s: 300,
            }],
            nameservers: vec![("2001:db8::53".parse().unwrap(), 600)],
            ..Advertisement::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let src = MAC.link_local();
        let sent = build_advertisement(src, ipv6::ALL_NODES, &said());
        assert_eq!(sent.way, Way::Link(ether::Addr([0x33, 0x33, 0, 0, 0, 1])));
        let message = RouterMessage::Advertise(Box::new(said()));
        assert_eq!(parse(&sent.bytes), Some(Heard { src, message }));
        let asked = build_solicit(MAC, src);
        let message = RouterMessage::Solicit(Some(MAC));
        assert_eq!(parse(&asked.bytes), Some(Heard { src, message }));
        // Domains are told, not read: they only make the packet longer.
        let searching = Advertisement {
            search: vec!["example.org".into()],
            search_s: 600,
            ..said()
        };
        let long = build_advertisement(src, ipv6::ALL_NODES, &searching);
        assert_eq!(long.bytes.len(), sent.bytes.len() + 24);
        let message = RouterMessage::Advertise(Box::new(said()));
        assert_eq!(parse(&long.bytes), Some(Heard { src, message }));
    }

    #[test]
    fn invalid_messages_are_not_read() {
        let src = MAC.link_local();
        let good = build_advertisement(src, ipv6::ALL_NODES, &said()).bytes;
        let mut routed = good.clone();
        routed[7] = 254; // hop limit
        assert_eq!(parse(&routed), None);
        let mut coded = good.clone();
        coded[41] = 1;
        assert_eq!(parse(&coded), None);
        let mut broken = good.clone();
        broken[60] ^= 1;
        assert_eq!(parse(&broken), None, "checksum");
        let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(
            parse(&build_advertisement(global, ipv6::ALL_NODES, &said()).bytes),
            None
        );
        let nameless = build_solicit(MAC, Ipv6Addr::UNSPECIFIED);
        assert_eq!(
            parse(&nameless.bytes),
            None,
            "an address option without an address"
        );
    }

    #[test]
    fn no_bytes_panic() {
        let mut seed = 0x5eed_0007_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let good = build_advertisement(MAC.link_local(), ipv6::ALL_NODES, &said()).bytes;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..1 + next() % 4 {
                let at = 40 + next() as usize % (bytes.len() - 40);
                bytes[at] = next() as u8;
            }
            bytes.truncate(40 + next() as usize % (bytes.len() - 39));
            let len = (bytes.len() - 40) as u16;
            bytes[4..6].copy_from_slice(&len.to_be_bytes());
            if bytes.len() >= 48 {
                let (src, dst) = (MAC.link_local(), ipv6::ALL_NODES);
                icmp6::Packet::new_unchecked(&mut bytes[40..]).fill_checksum(src, dst);
            }
            if let Some(Heard {
                message: RouterMessage::Advertise(found),
                ..
            }) = parse(&bytes)
            {
                assert!(found.prefixes.len() <= PREFIXES_MAX);
                assert!(found.nameservers.len() <= NAMESERVERS_MAX);
            }
        }
    }
}
