//! Bytes to [`PacketDesc`]: the one place where headers of forwarded packets are checked. After it nobody indexes
//! raw bytes without a proof from here.
//!
//! Read first: RFC 791, 8200, 9293, 768, 792, 4443, 4861; pf.conf(5) "STATEFUL FILTERING" for how ICMP is keyed.

use ruleset::{Af, Direction, Fragment, TagId};
use state::{Key, Segment};
use wire::Malformed;

use crate::reason::Reason;
use crate::reassemble::FragmentInfo;

/// ICMP.
pub const PROTO_ICMP: u8 = 1;
/// IGMP.
pub const PROTO_IGMP: u8 = 2;
/// TCP.
pub const PROTO_TCP: u8 = 6;
/// UDP.
pub const PROTO_UDP: u8 = 17;
/// ICMPv6.
pub const PROTO_ICMP6: u8 = 58;

/// All hosts on the link (RFC 1112 4).
const ALL_HOSTS: core::net::Ipv4Addr = core::net::Ipv4Addr::new(224, 0, 0, 1);
/// Largest window scale shift (RFC 7323 2.3); larger ones count as this.
const WSCALE_MAX: u8 = 14;

/// What kind of conversation a packet belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// A TCP segment.
    Tcp,
    /// A UDP datagram.
    Udp,
    /// An ICMP request, which may make a state.
    IcmpRequest,
    /// An ICMP answer, which may only match one.
    IcmpReply,
    /// A neighbor advertisement: matches the state of its solicitation, makes none.
    NeighborAdvert,
    /// An ICMP error, which belongs to the state of the packet it quotes.
    IcmpError,
    /// A piece of a datagram.
    Fragment,
    /// Any other protocol.
    #[default]
    Other,
}

/// Everything known about one packet after parsing. Offsets count from the first byte of the frame.
#[derive(Clone, Copy, Debug)]
pub struct PacketDesc {
    /// Source address, host order, IPv4 in the low 32 bits.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Address family.
    pub af: Af,
    /// Kind of conversation.
    pub kind: Kind,
    /// Protocol of the transport header, or of the fragmented datagram.
    pub proto: u8,
    /// Traffic class byte.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Has options that only `allow-opts` lets through.
    pub options: bool,
    /// IPv4 "don't fragment"; true for IPv6.
    pub dont_fragment: bool,
    /// TTL-exempt neighbor discovery: hop limit 255 seen.
    pub is_neighbor_discovery: bool,
    /// Where the IP header begins.
    pub ip_at: u16,
    /// Where the transport header begins.
    pub l4_at: u16,
    /// Bytes of the IP packet, header included.
    pub ip_len: u16,
    /// Ports of TCP and UDP; 0 otherwise.
    pub ports: (u16, u16),
    /// Key of its state if it comes in. Ports of ICMP are identifier and type; in neighbor discovery the target
    /// stands for the answering end.
    pub key_in: Key,
    /// ICMP type and code.
    pub icmp: (u8, u8),
    /// TCP.
    pub segment: Segment,
    /// Tag.
    pub tag: TagId,
    /// Table in which the way onwards is looked up.
    pub rtable: u8,
    /// Routing domain of its addresses; also in the key.
    pub rdomain: u8,
    /// Priority, 0 to 7 (`prio`, `set prio`).
    pub priority: u8,
    /// Milliseconds that it waits before it leaves (`set delay`).
    pub delay_ms: u16,
}

impl PacketDesc {
    /// Key of the packet's state for an interface that it passes in `direction`.
    #[inline]
    pub fn key(&self, direction: Direction) -> Key {
        match direction {
            Direction::In => self.key_in,
            Direction::Out => self.key_in.mirrored(),
        }
    }

    /// Gives the packet its key: addresses of the header, these ports.
    #[inline]
    fn set_key(&mut self, ports: (u16, u16)) {
        self.key_in = Key::new(
            Direction::In,
            self.af,
            self.proto,
            (self.src, ports.0),
            (self.dst, ports.1),
        )
        .within(self.rdomain);
    }

    /// Its transport header and what comes behind, to the end of the packet.
    #[inline]
    pub fn l4<'f>(&self, frame: &'f mut [u8]) -> &'f mut [u8] {
        let end = usize::from(self.ip_at) + usize::from(self.ip_len);
        frame
            .get_mut(usize::from(self.l4_at)..end)
            .unwrap_or_default()
    }

    /// Whether its own key can name a state: not that of an error, which belongs to what it quotes, nor of a piece.
    #[inline]
    pub fn may_have_state(&self) -> bool {
        !matches!(self.kind, Kind::IcmpError | Kind::Fragment)
    }

    /// Whether it is a piece of a datagram.
    pub fn fragment(&self) -> Fragment {
        if self.kind == Kind::Fragment {
            Fragment::Yes
        } else {
            Fragment::No
        }
    }
}

impl Default for PacketDesc {
    fn default() -> Self {
        PacketDesc {
            src: 0,
            dst: 0,
            af: Af::Inet,
            kind: Kind::Other,
            proto: 0,
            tos: 0,
            ttl: 0,
            options: false,
            dont_fragment: false,
            is_neighbor_discovery: false,
            ip_at: 0,
            l4_at: 0,
            ip_len: 0,
            ports: (0, 0),
            key_in: Key::default(),
            icmp: (0, 0),
            segment: Segment::default(),
            tag: TagId::default(),
            rtable: 0,
            rdomain: 0,
            priority: crate::scrub::PRIORITY_DEFAULT,
            delay_ms: 0,
        }
    }
}

/// The reason under which a malformed packet is counted.
pub fn reason_of(malformed: Malformed) -> Reason {
    use Malformed as M;
    match malformed {
        M::EtherShort | M::SlowShort | M::SlowFormat => Reason::Ethernet,
        M::VlanShort => Reason::Vlan,
        M::ArpShort | M::ArpFormat => Reason::Arp,
        M::Ip4Short | M::Ip6Short | M::Ip6ExtShort | M::Ip4ExtShort => Reason::Short,
        M::TcpShort | M::UdpShort | M::IcmpShort | M::Icmp6Short => Reason::Short,
        M::Ip4Option | M::Ip6Option | M::Ip6RoutingType0 | M::Ip6Jumbo => Reason::IpOption,
        // As pf_walk_header() and pf_walk_header6() of OpenBSD count them.
        M::Ip6ExtRepeated | M::Ip6ExtOrder | M::Ip6ExtChain | M::Ip4HeaderChain => Reason::IpOption,
        M::Ip4Fragment | M::Ip6Fragment => Reason::Fragment,
        M::Ip4Checksum | M::IcmpChecksum | M::Icmp6Checksum => Reason::ProtoCksum,
        M::TcpChecksum | M::UdpChecksum => Reason::ProtoCksum,
        _ => Reason::Normalize,
    }
}

/// Describes the IPv4 packet that begins at `ip_at` of `frame`. `verify` asks for the header checksum to be checked:
/// not needed where the card has done it or the box made the packet. `beyond` bytes of the packet follow in other
/// buffers: those of a head's train.
#[inline]
pub fn describe4(
    pd: &mut PacketDesc,
    frame: &[u8],
    ip_at: usize,
    verify: bool,
    beyond: usize,
) -> Result<(), Reason> {
    let ip = frame.get(ip_at..).ok_or(Reason::Short)?;
    let walk = wire::ipv4::walk(ip).map_err(reason_of)?;
    // `walk` has checked it.
    let packet = wire::ipv4::Packet::new_unchecked(ip);
    if verify && !packet.verify_checksum() {
        return Err(Reason::ProtoCksum);
    }
    let (src, dst) = (
        u128::from(packet.src().to_bits()),
        u128::from(packet.dst().to_bits()),
    );
    *pd = PacketDesc {
        src,
        dst,
        af: Af::Inet,
        proto: walk.protocol,
        tos: packet.tos(),
        ttl: packet.ttl(),
        options: walk.has_options
            && !(walk.protocol == PROTO_IGMP && walk.router_alert && !walk.has_other_options),
        dont_fragment: packet.dont_fragment(),
        ip_at: ip_at as u16,
        l4_at: (ip_at + walk.offset) as u16,
        ip_len: length(walk.end + beyond),
        tag: pd.tag,
        rtable: pd.rtable,
        rdomain: pd.rdomain,
        ..PacketDesc::default()
    };
    if walk.is_fragment {
        pd.kind = Kind::Fragment;
        return Ok(());
    }
    let l4 = ip.get(walk.offset..walk.end).ok_or(Reason::Short)?;
    match pd.proto {
        PROTO_TCP => describe_tcp(pd, l4, beyond)?,
        PROTO_UDP => describe_udp(pd, l4, beyond)?,
        PROTO_ICMP => describe_icmp(pd, l4)?,
        // ICMPv6 cannot travel in IPv4.
        PROTO_ICMP6 => return Err(Reason::Normalize),
        // RFC 1112 appendix I: never from beyond the link.
        PROTO_IGMP if pd.ttl != 1 && packet.dst() == ALL_HOSTS => return Err(Reason::IpOption),
        _ => {
            pd.kind = Kind::Other;
            pd.set_key((0, 0));
        }
    }
    Ok(())
}

/// A length that fits; only that of an IPv6 packet with its header may be longer.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// Describes the IPv6 packet that begins at `ip_at` of `frame`; `beyond` as for [`describe4`].
#[inline]
pub fn describe6(
    pd: &mut PacketDesc,
    frame: &[u8],
    ip_at: usize,
    beyond: usize,
) -> Result<(), Reason> {
    let ip = frame.get(ip_at..).ok_or(Reason::Short)?;
    let walk = wire::ipv6::walk(ip).map_err(reason_of)?;
    let packet = wire::ipv6::Packet::new_checked(ip).map_err(reason_of)?;
    let (src, dst) = (packet.src().to_bits(), packet.dst().to_bits());
    *pd = PacketDesc {
        src,
        dst,
        af: Af::Inet6,
        proto: walk.next_header,
        tos: packet.traffic_class(),
        ttl: packet.hop_limit(),
        options: walk.has_options() || walk.router_alert,
        dont_fragment: true,
        ip_at: ip_at as u16,
        l4_at: (ip_at + walk.offset) as u16,
        ip_len: length(walk.end + beyond),
        tag: pd.tag,
        rtable: pd.rtable,
        rdomain: pd.rdomain,
        ..PacketDesc::default()
    };
    if let Some(fragment) = walk.fragment.filter(|_| walk.is_fragment()) {
        pd.kind = Kind::Fragment;
        pd.proto = fragment.next_header;
        return Ok(());
    }
    let l4 = ip.get(walk.offset..walk.end).ok_or(Reason::Short)?;
    match pd.proto {
        PROTO_TCP => describe_tcp(pd, l4, beyond)?,
        PROTO_UDP => describe_udp(pd, l4, beyond)?,
        PROTO_ICMP6 => {
            describe_icmp6(pd, l4)?;
            if is_listener_discovery(pd.icmp.0) {
                check_listener_discovery(pd, packet.src())?;
                pd.options = walk.has_options();
            }
        }
        // ICMP cannot travel in IPv6.
        PROTO_ICMP => return Err(Reason::Normalize),
        _ => {
            pd.kind = Kind::Other;
            pd.set_key((0, 0));
        }
    }
    Ok(())
}

/// Multicast listener discovery (RFC 2710 3, RFC 3810 5).
fn is_listener_discovery(icmp_type: u8) -> bool {
    matches!(icmp_type, 130..=132 | 143)
}

/// Listener discovery needs no `allow-opts` for its router alert, and must come from the link (RFC 3810 5).
fn check_listener_discovery(pd: &PacketDesc, src: core::net::Ipv6Addr) -> Result<(), Reason> {
    if pd.ttl == 1 && (src.is_unicast_link_local() || src.is_unspecified()) {
        Ok(())
    } else {
        Err(Reason::IpOption)
    }
}

#[inline]
fn describe_tcp(pd: &mut PacketDesc, l4: &[u8], beyond: usize) -> Result<(), Reason> {
    let tcp = wire::tcp::Packet::new_checked(l4).map_err(reason_of)?;
    let flags = tcp.flags();
    wire::tcp::check_flags(flags).map_err(reason_of)?;
    pd.kind = Kind::Tcp;
    pd.ports = (tcp.src_port(), tcp.dst_port());
    pd.set_key(pd.ports);
    pd.segment = Segment {
        seq: tcp.seq(),
        ack: tcp.ack(),
        window: tcp.window(),
        flags,
        wscale: if flags & state::track::tcp::SYN != 0 {
            window_scale(&tcp)
        } else {
            None
        },
        payload: (l4.len() - tcp.header_len() + beyond) as u32,
    };
    Ok(())
}

fn window_scale(tcp: &wire::tcp::Packet<&[u8]>) -> Option<u8> {
    tcp.options().flatten().find_map(|option| match option {
        wire::tcp::TcpOption::WindowScale(shift) => Some(shift.min(WSCALE_MAX)),
        _ => None,
    })
}

#[inline]
fn describe_udp(pd: &mut PacketDesc, l4: &[u8], beyond: usize) -> Result<(), Reason> {
    pd.kind = Kind::Udp;
    pd.ports = wire::udp::ports(l4).map_err(reason_of)?;
    wire::udp::check_len(l4, l4.len() + beyond).map_err(reason_of)?;
    pd.set_key(pd.ports);
    Ok(())
}

/// Request and answer types that share a state, IPv4 (RFC 792, 950, 1256).
fn query4(icmp_type: u8) -> Option<(u8, Kind)> {
    Some(match icmp_type {
        8 | 13 | 15 | 17 => (icmp_type, Kind::IcmpRequest),
        0 => (8, Kind::IcmpReply),
        14 | 16 | 18 => (icmp_type - 1, Kind::IcmpReply),
        _ => return None,
    })
}

fn describe_icmp(pd: &mut PacketDesc, l4: &[u8]) -> Result<(), Reason> {
    let icmp = wire::icmp::Packet::new_checked(l4).map_err(reason_of)?;
    pd.icmp = (icmp.kind(), icmp.code());
    if wire::icmp::is_error(icmp.kind()) {
        pd.kind = Kind::IcmpError;
        return Ok(());
    }
    match query4(icmp.kind()) {
        Some((request, kind)) => key_icmp(pd, kind, icmp.echo_ident(), request),
        // Router solicitations and the like: a one-way conversation keyed by its type.
        None => key_icmp(pd, Kind::IcmpRequest, 0, icmp.kind()),
    }
    Ok(())
}

/// The asking end has the identifier as its port, the answering end the type of the request.
fn key_icmp(pd: &mut PacketDesc, kind: Kind, ident: u16, request: u8) {
    pd.kind = kind;
    pd.set_key(match kind {
        Kind::IcmpReply | Kind::NeighborAdvert => (u16::from(request), ident),
        _ => (ident, u16::from(request)),
    });
}

/// In neighbor discovery the target stands for the answering end: a solicitation goes to a group.
fn key_neighbor(pd: &mut PacketDesc, kind: Kind, src: (u128, u8), dst: (u128, u8)) {
    pd.kind = kind;
    let end = |(addr, port): (u128, u8)| (addr, u16::from(port));
    pd.key_in = Key::new(Direction::In, pd.af, pd.proto, end(src), end(dst)).within(pd.rdomain);
}

fn describe_icmp6(pd: &mut PacketDesc, l4: &[u8]) -> Result<(), Reason> {
    const NEIGHBOR_SOLICIT: u8 = 135;
    let icmp = wire::icmp6::Packet::new_checked(l4).map_err(reason_of)?;
    pd.icmp = (icmp.kind(), icmp.code());
    pd.is_neighbor_discovery = (133..=137).contains(&icmp.kind());
    if pd.is_neighbor_discovery && pd.ttl != 255 {
        // RFC 4861 6.1, 7.1: came from beyond the link.
        return Err(Reason::Normalize);
    }
    match icmp.kind() {
        kind if wire::icmp6::is_error(kind) => pd.kind = Kind::IcmpError,
        128 | 139 => key_icmp(pd, Kind::IcmpRequest, icmp.echo_ident(), icmp.kind()),
        129 | 140 => key_icmp(pd, Kind::IcmpReply, icmp.echo_ident(), icmp.kind() - 1),
        NEIGHBOR_SOLICIT => {
            let (src, target) = (pd.src, icmp.target().ok_or(Reason::Short)?.to_bits());
            key_neighbor(pd, Kind::IcmpRequest, (src, 0), (target, NEIGHBOR_SOLICIT));
        }
        136 => {
            let (target, dst) = (icmp.target().ok_or(Reason::Short)?.to_bits(), pd.dst);
            key_neighbor(
                pd,
                Kind::NeighborAdvert,
                (target, NEIGHBOR_SOLICIT),
                (dst, 0),
            );
        }
        kind => key_icmp(pd, Kind::IcmpRequest, 0, kind),
    }
    Ok(())
}

/// What a piece of a datagram says of itself; `frame` and `pd` as described before. None for whole packets.
pub fn fragment(frame: &[u8], pd: &PacketDesc) -> Option<FragmentInfo> {
    let ip = frame.get(usize::from(pd.ip_at)..)?;
    let piece = match pd.af {
        Af::Inet => fragment4(ip, pd)?,
        Af::Inet6 => fragment6(ip, pd)?,
    };
    let ident = piece.ident;
    Some(FragmentInfo {
        key: Key::new(
            Direction::In,
            pd.af,
            if pd.af == Af::Inet { pd.proto } else { 0 },
            (pd.src, (ident >> 16) as u16),
            (pd.dst, ident as u16),
        )
        .within(pd.rdomain),
        ip_at: pd.ip_at,
        at: piece.at + pd.ip_at,
        ..piece
    })
}

fn fragment4(ip: &[u8], pd: &PacketDesc) -> Option<FragmentInfo> {
    let packet = wire::ipv4::Packet::new_checked(ip).ok()?;
    let header_len = packet.header_len() as u16;
    packet.is_fragment().then(|| FragmentInfo {
        key: Key::default(),
        ident: packet.ident().into(),
        ip_at: 0,
        at: header_len,
        offset: packet.fragment_offset(),
        len: packet.total_len() - header_len,
        more: packet.more_fragments(),
        header_len,
        named_at: 0,
        next_header: pd.proto,
    })
}

fn fragment6(ip: &[u8], pd: &PacketDesc) -> Option<FragmentInfo> {
    let walk = wire::ipv6::walk(ip).ok()?;
    let fragment = walk.fragment.filter(|f| !f.is_atomic())?;
    let at = (fragment.header_offset + wire::ipv6::FRAGMENT_HEADER_LEN) as u16;
    Some(FragmentInfo {
        key: Key::default(),
        ident: fragment.ident,
        ip_at: 0,
        at,
        offset: fragment.offset,
        // The walk has found the fragment header before the end of the packet.
        len: pd.ip_len - at,
        more: fragment.more,
        header_len: fragment.header_offset as u16,
        named_at: fragment.named_at as u16,
        next_header: fragment.next_header,
    })
}

/// What an ICMP error quotes: enough to find the state of the packet that caused it.
#[derive(Clone, Copy, Debug)]
pub struct Quoted {
    /// The quoted packet, with the fields that its key needs.
    pub pd: PacketDesc,
}

/// Describes the packet that an ICMP error quotes, of which only the first bytes need to be there (RFC 792: eight
/// bytes beyond the IP header).
pub fn describe_quoted(frame: &[u8], outer: &PacketDesc) -> Result<Quoted, Reason> {
    /// ICMP and ICMPv6 errors have eight bytes before the quotation.
    const ERROR_HEADER: usize = 8;
    let at = usize::from(outer.l4_at) + ERROR_HEADER;
    let end = usize::from(outer.ip_at) + usize::from(outer.ip_len);
    // The end may lie in another buffer; a quotation may be cut anywhere.
    let quoted = frame.get(at..end.min(frame.len())).ok_or(Reason::Short)?;
    let mut pd = match outer.af {
        Af::Inet => quoted4(quoted)?,
        Af::Inet6 => quoted6(quoted)?,
    };
    (pd.rtable, pd.rdomain) = (outer.rtable, outer.rdomain);
    let l4 = quoted.get(usize::from(pd.l4_at)..).ok_or(Reason::Short)?;
    let [a, b, c, d, e, f, ..] = *l4 else {
        return Err(Reason::Short);
    };
    match pd.proto {
        PROTO_TCP | PROTO_UDP => {
            pd.kind = if pd.proto == PROTO_TCP {
                Kind::Tcp
            } else {
                Kind::Udp
            };
            pd.ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            pd.set_key(pd.ports);
            if pd.proto == PROTO_TCP {
                pd.segment.seq = wire::tcp::start(l4).map_err(reason_of)?.seq;
            }
        }
        PROTO_ICMP if pd.af == Af::Inet => {
            let (request, kind) = query4(a).ok_or(Reason::Normalize)?;
            key_icmp(&mut pd, kind, u16::from_be_bytes([e, f]), request);
        }
        PROTO_ICMP6 if pd.af == Af::Inet6 => match a {
            128 => key_icmp(&mut pd, Kind::IcmpRequest, u16::from_be_bytes([e, f]), 128),
            129 => key_icmp(&mut pd, Kind::IcmpReply, u16::from_be_bytes([e, f]), 128),
            _ => return Err(Reason::Normalize),
        },
        _ => {
            pd.kind = Kind::Other;
            pd.set_key((0, 0));
        }
    }
    Ok(Quoted { pd })
}

/// A quoted IPv4 header: its lengths describe the packet that was sent, not what is quoted of it.
fn quoted4(quoted: &[u8]) -> Result<PacketDesc, Reason> {
    let header = quoted.get(..20).ok_or(Reason::Short)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    if header[0] >> 4 != 4 || header_len < 20 || offset != 0 {
        return Err(Reason::Normalize);
    }
    let addr = |at: usize| {
        u128::from(u32::from_be_bytes([
            header[at],
            header[at + 1],
            header[at + 2],
            header[at + 3],
        ]))
    };
    let (src, dst) = (addr(12), addr(16));
    Ok(PacketDesc {
        src,
        dst,
        af: Af::Inet,
        proto: header[9],
        l4_at: header_len as u16,
        ..PacketDesc::default()
    })
}

/// A quoted IPv6 packet; the quotation is cut at any place, so its payload length is replaced by what is there.
fn quoted6(quoted: &[u8]) -> Result<PacketDesc, Reason> {
    /// Header and as much of an extension chain as anybody sends.
    const COPY: usize = 256;
    let mut copy = [0u8; COPY];
    let len = quoted.len().min(COPY);
    copy[..len].copy_from_slice(&quoted[..len]);
    let payload = len.checked_sub(40).ok_or(Reason::Short)? as u16;
    copy[4..6].copy_from_slice(&payload.to_be_bytes());
    let walk = wire::ipv6::walk(&copy[..len]).map_err(reason_of)?;
    if walk.is_later_fragment() {
        return Err(Reason::Fragment);
    }
    let packet = wire::ipv6::Packet::new_checked(&copy[..len]).map_err(reason_of)?;
    let (src, dst) = (packet.src().to_bits(), packet.dst().to_bits());
    Ok(PacketDesc {
        src,
        dst,
        af: Af::Inet6,
        proto: walk.next_header,
        l4_at: walk.offset as u16,
        ..PacketDesc::default()
    })
}
