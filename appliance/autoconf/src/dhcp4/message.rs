//! DHCP messages on the wire: what a client hears and says. RFC 2131 section 2, RFC 2132, RFC 3396 (long options),
//! RFC 3442 (classless routes).
//!
//! Considered: the format of smoltcp, which the management host uses. It reads one router only, does not join long
//! options, and would bring Ethernet into a host that must not have it.

use std::net::Ipv4Addr;

use net::Prefix;
use wire::{ether, ipv4, proto, udp};

use crate::{Outgoing, Way};

/// Port of clients.
pub const CLIENT_PORT: u16 = 68;
/// Port of servers.
pub const SERVER_PORT: u16 = 67;

/// Fixed part, up to the options.
const FIXED: usize = 240;
/// Between the fixed part and the options (RFC 2131 3).
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Shortest message: relays of old drop shorter ones (RFC 1542 2.1).
const MESSAGE_MIN: usize = 300;
/// Longest that we say we take.
const MESSAGE_MAX: u16 = 1500;
/// Most bytes of one option, its parts joined.
const OPTION_MAX: usize = 1024;
/// Most routers and name servers that are kept.
const ADDRESSES_MAX: usize = 4;
/// Most routes that are kept.
const ROUTES_MAX: usize = 32;
/// Time to live of what we send.
const TTL: u8 = 64;
/// TOS of what we send: low delay, as OpenBSD's client has it.
const TOS: u8 = 0x10;

mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTERS: u8 = 3;
    pub(super) const NAMESERVERS: u8 = 6;
    pub(super) const HOSTNAME: u8 = 12;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const REQUESTED: u8 = 50;
    pub(super) const LEASE: u8 = 51;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const PARAMETERS: u8 = 55;
    pub(super) const SIZE: u8 = 57;
    pub(super) const RENEW: u8 = 58;
    pub(super) const REBIND: u8 = 59;
    pub(super) const CLIENT: u8 = 61;
    pub(super) const ROUTES: u8 = 121;
    pub(super) const END: u8 = 255;
}

/// What a message is (option 53).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who has addresses?
    Discover,
    /// I have.
    Offer,
    /// This one, please.
    Request,
    /// Somebody uses that one.
    Decline,
    /// It is yours.
    Ack,
    /// It is not yours.
    Nak,
}

const KINDS: [(Kind, u8); 6] = [
    (Kind::Discover, 1),
    (Kind::Offer, 2),
    (Kind::Request, 3),
    (Kind::Decline, 4),
    (Kind::Ack, 5),
    (Kind::Nak, 6),
];

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The conversation.
    pub xid: u32,
    /// The client's station address.
    pub client: ether::Addr,
    /// The client's address, offered or given.
    pub your: Ipv4Addr,
    /// Who says it.
    pub server: Option<Ipv4Addr>,
    /// Netmask.
    pub mask: Option<Ipv4Addr>,
    /// Default routers, best first.
    pub routers: Vec<Ipv4Addr>,
    /// Classless routes; the gateway `0.0.0.0` means that the network is on the link.
    pub routes: Vec<(Prefix, Ipv4Addr)>,
    /// Name servers, best first.
    pub nameservers: Vec<Ipv4Addr>,
    /// Length of the lease in seconds.
    pub lease_s: Option<u32>,
    /// Seconds until it is to be renewed.
    pub renew_s: Option<u32>,
    /// Seconds until any server is to be asked.
    pub rebind_s: Option<u32>,
}

/// What a client says.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    pub(super) kind: Kind,
    pub(super) xid: u32,
    pub(super) secs: u16,
    pub(super) mac: ether::Addr,
    /// Our address if it is in use.
    pub(super) client: Ipv4Addr,
    pub(super) requested: Option<Ipv4Addr>,
    pub(super) server: Option<Ipv4Addr>,
    pub(super) hostname: &'a str,
    /// The server alone; none for everybody on the link.
    pub(super) to: Option<Ipv4Addr>,
}

/// The message in an IPv4 packet, if it is one from a server to a client and is sound.
pub fn parse(packet: &[u8]) -> Option<Message> {
    let ip = ipv4::Packet::new_checked(packet).ok()?;
    if ip.protocol() != proto::UDP || ip.is_fragment() {
        return None;
    }
    let datagram = udp::Packet::new_checked(ip.payload()).ok()?;
    let to_client = (datagram.src_port(), datagram.dst_port()) == (SERVER_PORT, CLIENT_PORT);
    if !to_client || !datagram.verify_checksum(ip.src().into(), ip.dst().into()) {
        return None;
    }
    parse_message(datagram.payload())
}

fn parse_message(bytes: &[u8]) -> Option<Message> {
    let fixed: &[u8; FIXED] = bytes.first_chunk()?;
    // A reply, over Ethernet, with addresses of six bytes.
    if fixed[..3] != [2, 1, 6] || fixed[236..240] != COOKIE {
        return None;
    }
    let options = Options(&bytes[FIXED..]);
    let number = options.joined(option::KIND);
    let &(kind, _) = KINDS.iter().find(|(_, n)| number == [*n])?;
    Some(Message {
        kind,
        xid: u32::from_be_bytes(fixed[4..8].try_into().ok()?),
        client: ether::Addr(fixed[28..34].try_into().ok()?),
        your: addr(&fixed[16..20])?,
        server: addr(&options.joined(option::SERVER)),
        mask: addr(&options.joined(option::MASK)),
        routers: addrs(&options.joined(option::ROUTERS)),
        routes: routes(&options.joined(option::ROUTES)),
        nameservers: addrs(&options.joined(option::NAMESERVERS)),
        lease_s: seconds(&options.joined(option::LEASE)),
        renew_s: seconds(&options.joined(option::RENEW)),
        rebind_s: seconds(&options.joined(option::REBIND)),
    })
}

/// Options, one after the other; what follows a broken one is not read.
#[derive(Clone, Copy)]
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&kind, rest) = self.0.split_first()?;
            match kind {
                option::PAD => self.0 = rest,
                option::END => return None,
                _ => {
                    let (&len, rest) = rest.split_first()?;
                    let (data, rest) = rest.split_at_checked(usize::from(len))?;
                    self.0 = rest;
                    return Some((kind, data));
                }
            }
        }
    }
}

impl Options<'_> {
    /// All parts of an option in their order (RFC 3396 7).
    fn joined(self, kind: u8) -> Vec<u8> {
        let mut all = Vec::new();
        for (_, data) in self.filter(|(k, _)| *k == kind) {
            if all.len() + data.len() > OPTION_MAX {
                break;
            }
            all.extend_from_slice(data);
        }
        all
    }
}

fn addr(bytes: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.try_into().ok()?;
    Some(Ipv4Addr::from_octets(octets))
}

fn addrs(bytes: &[u8]) -> Vec<Ipv4Addr> {
    let all = bytes.chunks_exact(4).filter_map(addr);
    all.take(ADDRESSES_MAX).collect()
}

fn seconds(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Length of the prefix, as many bytes of it as there are bits in it, and a gateway (RFC 3442).
fn routes(mut bytes: &[u8]) -> Vec<(Prefix, Ipv4Addr)> {
    let mut found = Vec::new();
    while let Some((&len, rest)) = bytes.split_first() {
        let significant = usize::from(len).div_ceil(8);
        if len > 32 || rest.len() < significant + 4 || found.len() == ROUTES_MAX {
            break;
        }
        let mut octets = [0; 4];
        octets[..significant].copy_from_slice(&rest[..significant]);
        let gateway = addr(&rest[significant..significant + 4]);
        let prefix = Prefix::containing(Ipv4Addr::from_octets(octets).into(), len);
        found.extend(gateway.map(|gateway| (prefix, gateway)));
        bytes = &rest[significant + 4..];
    }
    found
}

/// The packet of a request, and its way.
pub(super) fn build(request: &Request<'_>) -> Outgoing {
    let message = message_bytes(request);
    let (dst, way) = match request.to {
        Some(server) => (server, Way::Routed),
        None => (Ipv4Addr::BROADCAST, Way::Below(ether::Addr::BROADCAST)),
    };
    let udp_len = udp::HEADER_LEN + message.len();
    let header = ipv4::Repr {
        src: request.client,
        dst,
        protocol: proto::UDP,
        ttl: TTL,
        tos: TOS,
        ident: request.xid as u16,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: udp_len as u16,
    };
    let mut bytes = vec![0; header.buffer_len() + udp_len];
    header.emit(&mut ipv4::Packet::new_unchecked(&mut bytes[..]));
    let mut datagram = udp::Packet::new_unchecked(&mut bytes[header.buffer_len()..]);
    let repr = udp::Repr {
        src_port: CLIENT_PORT,
        dst_port: SERVER_PORT,
        payload_len: message.len() as u16,
    };
    repr.emit(&mut datagram);
    datagram.payload_mut().copy_from_slice(&message);
    datagram.fill_checksum(request.client.into(), dst.into());
    Outgoing { way, bytes }
}

fn message_bytes(request: &Request<'_>) -> Vec<u8> {
    let mut out = vec![0; FIXED];
    out[..3].copy_from_slice(&[1, 1, 6]);
    out[4..8].copy_from_slice(&request.xid.to_be_bytes());
    out[8..10].copy_from_slice(&request.secs.to_be_bytes());
    out[12..16].copy_from_slice(&request.client.octets());
    out[28..34].copy_from_slice(&request.mac.0);
    out[236..240].copy_from_slice(&COOKIE);
    let mut add = |kind: u8, data: &[u8]| {
        if !data.is_empty() && data.len() < 256 {
            out.extend_from_slice(&[kind, data.len() as u8]);
            out.extend_from_slice(data);
        }
    };
    let number = KINDS.iter().find(|(kind, _)| *kind == request.kind);
    add(option::KIND, &[number.map_or(0, |(_, n)| *n)]);
    let [a, b, c, d, e, f] = request.mac.0;
    add(option::CLIENT, &[1, a, b, c, d, e, f]);
    if let Some(addr) = request.requested {
        add(option::REQUESTED, &addr.octets());
    }
    if let Some(addr) = request.server {
        add(option::SERVER, &addr.octets());
    }
    if request.kind != Kind::Decline {
        add(option::SIZE, &MESSAGE_MAX.to_be_bytes());
        add(option::HOSTNAME, request.hostname.as_bytes());
        let wanted = [
            option::MASK,
            option::ROUTES,
            option::ROUTERS,
            option::NAMESERVERS,
            option::DOMAIN,
            option::LEASE,
            option::RENEW,
            option::REBIND,
        ];
        add(option::PARAMETERS, &wanted);
    }
    out.push(option::END);
    out.resize(out.len().max(MESSAGE_MIN), 0);
    out
}
