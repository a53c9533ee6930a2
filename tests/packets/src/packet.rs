//! A small builder of IP packets on the representations of `wire`. Fields have ordinary values until a test says
//! otherwise; checksums and lengths are right unless spoiled on purpose.

use std::net::IpAddr;

use wire::{ether, icmp, icmp6, ipv4, ipv6, proto, tcp as tcp_wire, udp as udp_wire};

/// TTL and hop limit of packets that hosts send.
pub const TTL: u8 = 64;

/// What is above the IP header.
#[derive(Clone, Debug)]
enum Above {
    Tcp(tcp_wire::Repr, Vec<u8>),
    Udp(u16, u16, Vec<u8>),
    /// Type, code, type-specific word, rest. ICMP or ICMPv6 as the addresses say.
    Icmp(u8, u8, [u8; 4], Vec<u8>),
    Raw(u8, Vec<u8>),
}

/// An IP packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    ttl: u8,
    tos: u8,
    ident: u16,
    dont_fragment: bool,
    more: bool,
    /// Fragment offset in bytes.
    offset: u16,
    /// IPv4 options.
    options: Vec<u8>,
    /// IPv6 extension headers: number and bytes, of which the first is filled in.
    extensions: Vec<(u8, Vec<u8>)>,
    above: Above,
    /// TCP options in place of those of the representation.
    raw_options: Vec<u8>,
}

/// `address:port`, with or without brackets around an IPv6 address; no port is port 0.
fn endpoint(text: &str) -> (IpAddr, u16) {
    if let Ok(addr) = text.parse() {
        return (addr, 0);
    }
    let socket: std::net::SocketAddr = text
        .parse()
        .unwrap_or_else(|_| panic!("no address and port: {text:?}"));
    (socket.ip(), socket.port())
}

fn packet(src: IpAddr, dst: IpAddr, above: Above) -> Packet {
    assert_eq!(src.is_ipv4(), dst.is_ipv4(), "{src} and {dst}");
    Packet {
        src,
        dst,
        ttl: TTL,
        tos: 0,
        ident: 0x1234,
        dont_fragment: false,
        more: false,
        offset: 0,
        options: Vec::new(),
        extensions: Vec::new(),
        above,
        raw_options: Vec::new(),
    }
}

/// A TCP segment; `flags` are letters of `FSRPAUEC`.
pub fn tcp(src: &str, dst: &str, flags: &str) -> Packet {
    let ((src, src_port), (dst, dst_port)) = (endpoint(src), endpoint(dst));
    let repr = tcp_wire::Repr {
        src_port,
        dst_port,
        seq: 1000,
        ack: 0,
        flags: flags.chars().map(flag).fold(0, |all, f| all | f),
        window: 65535,
        urgent: 0,
        mss: None,
        window_scale: None,
        sack_permitted: false,
        timestamps: None,
    };
    packet(src, dst, Above::Tcp(repr, Vec::new()))
}

fn flag(letter: char) -> u8 {
    match letter {
        'F' => tcp_wire::FIN,
        'S' => tcp_wire::SYN,
        'R' => tcp_wire::RST,
        'P' => tcp_wire::PSH,
        'A' => tcp_wire::ACK,
        'U' => tcp_wire::URG,
        'E' => tcp_wire::ECE,
        'C' => tcp_wire::CWR,
        other => panic!("no TCP flag {other}"),
    }
}

/// A UDP datagram.
pub fn udp(src: &str, dst: &str) -> Packet {
    let ((src, src_port), (dst, dst_port)) = (endpoint(src), endpoint(dst));
    packet(src, dst, Above::Udp(src_port, dst_port, b"hello".to_vec()))
}

/// An echo request.
pub fn echo(src: &str, dst: &str, ident: u16, seq: u16) -> Packet {
    let kind = if src.contains(':') { 128 } else { 8 };
    echo_of(kind, src, dst, ident, seq)
}

/// An echo reply.
pub fn echo_reply(src: &str, dst: &str, ident: u16, seq: u16) -> Packet {
    let kind = if src.contains(':') { 129 } else { 0 };
    echo_of(kind, src, dst, ident, seq)
}

fn echo_of(kind: u8, src: &str, dst: &str, ident: u16, seq: u16) -> Packet {
    let ([a, b], [c, d]) = (ident.to_be_bytes(), seq.to_be_bytes());
    icmp_message(src, dst, kind, 0, [a, b, c, d], b"ping")
}

/// Any ICMP or ICMPv6 message.
pub fn icmp_message(
    src: &str,
    dst: &str,
    kind: u8,
    code: u8,
    rest: [u8; 4],
    data: &[u8],
) -> Packet {
    let above = Above::Icmp(kind, code, rest, data.to_vec());
    packet(endpoint(src).0, endpoint(dst).0, above)
}

/// Any other protocol.
pub fn raw(src: &str, dst: &str, protocol: u8, payload: &[u8]) -> Packet {
    let above = Above::Raw(protocol, payload.to_vec());
    packet(endpoint(src).0, endpoint(dst).0, above)
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug)]
pub enum Error {
    /// Unreachable with this code (ICMP, ICMPv6).
    Unreachable(u8, u8),
    /// Fragmentation needed, or packet too big.
    TooBig(u16),
    /// TTL or hop limit ran out.
    TimeExceeded,
}

/// An ICMP error of `from` about `about`, to its source.
pub fn error(from: &str, about: &Packet, what: Error) -> Packet {
    let from = endpoint(from).0;
    let is4 = from.is_ipv4();
    let (kind, code, mtu) = match (what, is4) {
        (Error::Unreachable(code, _), true) => (3, code, 0),
        (Error::Unreachable(_, code), false) => (1, code, 0),
        (Error::TooBig(mtu), true) => (3, 4, mtu),
        (Error::TooBig(mtu), false) => (2, 0, mtu),
        (Error::TimeExceeded, true) => (11, 0, 0),
        (Error::TimeExceeded, false) => (3, 0, 0),
    };
    let [c, d] = mtu.to_be_bytes();
    let mut quote = about.bytes();
    // RFC 1812 4.3.2.3 and RFC 4443 2.4: 576 and 1280 bytes with all headers.
    quote.truncate(if is4 { 548 } else { 1232 });
    let above = Above::Icmp(kind, code, [0, 0, c, d], quote);
    packet(from, about.src, above)
}

impl Packet {
    /// As an error that the box makes: TTL 255, precedence "internetwork control" and identification of the packet
    /// that it is about (IPv4).
    pub fn as_box_error(mut self, about: &Packet) -> Packet {
        self.ttl = 255;
        if self.src.is_ipv4() {
            self.tos = 0xc0;
            self.ident = about.ident;
        }
        self
    }

    /// Sets TTL or hop limit.
    pub fn ttl(mut self, ttl: u8) -> Packet {
        self.ttl = ttl;
        self
    }

    /// As it is after one router.
    pub fn hop(&self) -> Packet {
        self.clone().ttl(self.ttl - 1)
    }

    /// Sets type of service or traffic class.
    pub fn tos(mut self, tos: u8) -> Packet {
        self.tos = tos;
        self
    }

    /// Sets the IPv4 identification.
    pub fn ident(mut self, ident: u16) -> Packet {
        self.ident = ident;
        self
    }

    /// Sets "don't fragment".
    pub fn df(mut self) -> Packet {
        self.dont_fragment = true;
        self
    }

    /// Other sender, same everything.
    pub fn from(mut self, src: &str) -> Packet {
        self.src = endpoint(src).0;
        self
    }

    /// Other receiver, same everything.
    pub fn to(mut self, dst: &str) -> Packet {
        self.dst = endpoint(dst).0;
        self
    }

    /// Other end as sender: address, and port or echo identifier.
    pub fn sent_from(mut self, src: &str) -> Packet {
        let (addr, port) = endpoint(src);
        self.src = addr;
        match &mut self.above {
            Above::Tcp(repr, _) => repr.src_port = port,
            Above::Udp(src_port, ..) => *src_port = port,
            Above::Icmp(_, _, rest, _) => rest[..2].copy_from_slice(&port.to_be_bytes()),
            Above::Raw(..) => {}
        }
        self
    }

    /// Other end as receiver: address, and port or echo identifier.
    pub fn sent_to(mut self, dst: &str) -> Packet {
        let (addr, port) = endpoint(dst);
        self.dst = addr;
        match &mut self.above {
            Above::Tcp(repr, _) => repr.dst_port = port,
            Above::Udp(_, dst_port, _) => *dst_port = port,
            Above::Icmp(_, _, rest, _) => rest[..2].copy_from_slice(&port.to_be_bytes()),
            Above::Raw(..) => {}
        }
        self
    }

    /// Adds IPv4 options; a multiple of four bytes.
    pub fn options(mut self, options: &[u8]) -> Packet {
        self.options = options.to_vec();
        self
    }

    /// Adds an IPv6 extension header behind those there are: its number, and its bytes from the length on.
    pub fn extension(mut self, number: u8, bytes: &[u8]) -> Packet {
        let mut all = vec![0];
        all.extend(bytes);
        self.extensions.push((number, all));
        self
    }

    fn tcp_mut(&mut self) -> &mut tcp_wire::Repr {
        match &mut self.above {
            Above::Tcp(repr, _) => repr,
            other => panic!("not TCP: {other:?}"),
        }
    }

    /// Sets the TCP flags, by letters as in [`tcp`].
    pub fn with_flags(mut self, flags: &str) -> Packet {
        self.tcp_mut().flags = flags.chars().map(flag).fold(0, |all, f| all | f);
        self
    }

    /// Sets the sequence number.
    pub fn seq(mut self, seq: u32) -> Packet {
        self.tcp_mut().seq = seq;
        self
    }

    /// Sets the acknowledgement number.
    pub fn ack(mut self, ack: u32) -> Packet {
        self.tcp_mut().ack = ack;
        self
    }

    /// Sets the window.
    pub fn window(mut self, window: u16) -> Packet {
        self.tcp_mut().window = window;
        self
    }

    /// Adds a window scale option.
    pub fn wscale(mut self, shift: u8) -> Packet {
        self.tcp_mut().window_scale = Some(shift);
        self
    }

    /// Adds an option for the largest segment.
    pub fn mss(mut self, mss: u16) -> Packet {
        self.tcp_mut().mss = Some(mss);
        self
    }

    /// Has exactly these TCP options, a multiple of four bytes.
    pub fn tcp_options(mut self, options: &[u8]) -> Packet {
        self.raw_options = options.to_vec();
        self
    }

    /// Adds timestamps: value and echo.
    pub fn timestamps(mut self, value: u32, echo: u32) -> Packet {
        self.tcp_mut().timestamps = Some((value, echo));
        self
    }

    /// Replaces the data by `len` bytes.
    pub fn data(mut self, len: usize) -> Packet {
        let pattern = (0..len).map(|n| n as u8).collect();
        match &mut self.above {
            Above::Tcp(_, data)
            | Above::Udp(_, _, data)
            | Above::Icmp(_, _, _, data)
            | Above::Raw(_, data) => *data = pattern,
        }
        self
    }

    /// Cuts the data behind the transport header to `len` bytes.
    pub fn data_cut(mut self, len: usize) -> Packet {
        match &mut self.above {
            Above::Tcp(_, data)
            | Above::Udp(_, _, data)
            | Above::Icmp(_, _, _, data)
            | Above::Raw(_, data) => data.truncate(len),
        }
        self
    }

    /// The answer: ends exchanged, echo replies for requests, TCP numbers exchanged. TTL as fresh.
    pub fn answer(&self) -> Packet {
        let mut back = self.clone().ttl(TTL);
        (back.src, back.dst) = (self.dst, self.src);
        match &mut back.above {
            Above::Tcp(repr, _) => {
                (repr.src_port, repr.dst_port) = (repr.dst_port, repr.src_port);
                (repr.seq, repr.ack) = (repr.ack, repr.seq);
            }
            Above::Udp(a, b, _) => (*a, *b) = (*b, *a),
            Above::Icmp(kind, ..) => {
                *kind = match *kind {
                    8 => 0,
                    128 => 129,
                    other => panic!("ICMP type {other} has no answer here"),
                }
            }
            Above::Raw(..) => {}
        }
        back
    }

    /// Length of the IP packet in bytes.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// True for no packet there is.
    pub fn is_empty(&self) -> bool {
        false
    }

    fn protocol(&self) -> u8 {
        match &self.above {
            Above::Tcp(..) => proto::TCP,
            Above::Udp(..) => proto::UDP,
            Above::Icmp(..) if self.src.is_ipv4() => proto::ICMP,
            Above::Icmp(..) => proto::ICMP6,
            Above::Raw(protocol, _) => *protocol,
        }
    }

    /// Transport header and data, with checksum.
    fn transport(&self) -> Vec<u8> {
        match &self.above {
            Above::Tcp(repr, data) => {
                let mut out = vec![0; repr.buffer_len()];
                repr.emit(&mut tcp_wire::Packet::new_unchecked(&mut out[..]));
                if !self.raw_options.is_empty() {
                    out.truncate(tcp_wire::HEADER_LEN);
                    out.extend(&self.raw_options);
                    let len = out.len();
                    tcp_wire::Packet::new_unchecked(&mut out[..]).set_header_len(len);
                }
                out.extend(data);
                tcp_wire::Packet::new_unchecked(&mut out[..]).fill_checksum(self.src, self.dst);
                out
            }
            Above::Udp(src_port, dst_port, data) => {
                let repr = udp_wire::Repr {
                    src_port: *src_port,
                    dst_port: *dst_port,
                    payload_len: data.len() as u16,
                };
                let mut out = vec![0; 8];
                out.extend(data);
                let mut packet = udp_wire::Packet::new_unchecked(&mut out[..]);
                repr.emit(&mut packet);
                packet.fill_checksum(self.src, self.dst);
                out
            }
            Above::Icmp(kind, code, rest, data) => {
                let mut out = vec![*kind, *code, 0, 0];
                out.extend(rest);
                out.extend(data);
                match (self.src, self.dst) {
                    (IpAddr::V6(src), IpAddr::V6(dst)) => {
                        icmp6::Packet::new_unchecked(&mut out[..]).fill_checksum(src, dst)
                    }
                    _ => icmp::Packet::new_unchecked(&mut out[..]).fill_checksum(),
                }
                out
            }
            Above::Raw(_, data) => data.clone(),
        }
    }

    /// The IP packet.
    pub fn bytes(&self) -> Vec<u8> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.bytes4(src, dst),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.bytes6(src, dst),
            _ => unreachable!("checked when it was made"),
        }
    }

    fn bytes4(&self, src: std::net::Ipv4Addr, dst: std::net::Ipv4Addr) -> Vec<u8> {
        let transport = self.transport();
        let repr = ipv4::Repr {
            src,
            dst,
            protocol: self.protocol(),
            ttl: self.ttl,
            tos: self.tos,
            ident: self.ident,
            dont_fragment: self.dont_fragment,
            more_fragments: self.more,
            fragment_offset: self.offset,
            payload_len: (self.options.len() + transport.len()) as u16,
        };
        let mut out = vec![0; 20];
        repr.emit(&mut ipv4::Packet::new_unchecked(&mut out[..]));
        out.extend(&self.options);
        let mut header = ipv4::Packet::new_unchecked(&mut out[..]);
        header.set_header_len(20 + self.options.len());
        header.fill_checksum();
        out.extend(transport);
        out
    }

    fn bytes6(&self, src: std::net::Ipv6Addr, dst: std::net::Ipv6Addr) -> Vec<u8> {
        let mut chain = Vec::new();
        for (n, (_, bytes)) in self.extensions.iter().enumerate() {
            let at = chain.len();
            chain.extend(bytes);
            let next = self.extensions.get(n + 1);
            chain[at] = next.map_or(self.protocol(), |(number, _)| *number);
        }
        chain.extend(self.transport());
        let first = self.extensions.first();
        let repr = ipv6::Repr {
            src,
            dst,
            next_header: first.map_or(self.protocol(), |(number, _)| *number),
            hop_limit: self.ttl,
            traffic_class: self.tos,
            flow_label: 0,
            payload_len: chain.len() as u16,
        };
        let mut out = vec![0; 40];
        repr.emit(&mut ipv6::Packet::new_unchecked(&mut out[..]));
        out.extend(chain);
        out
    }

    /// The packet cut so that each piece carries at most `step` bytes (a multiple of 8).
    pub fn pieces(&self, step: usize) -> Vec<Packet> {
        assert!(step.is_multiple_of(8) && step > 0);
        let whole = self.transport();
        let count = whole.len().div_ceil(step);
        let piece = |n: usize| {
            let end = (n * step + step).min(whole.len());
            self.piece(n * step, &whole[n * step..end], n + 1 < count)
        };
        (0..count).map(piece).collect()
    }

    /// One piece of it: `data` at `offset`. The identification says which packet it belongs to.
    pub fn piece(&self, offset: usize, data: &[u8], more: bool) -> Packet {
        let mut piece = self.clone();
        piece.above = Above::Raw(self.protocol(), data.to_vec());
        if self.src.is_ipv4() {
            (piece.offset, piece.more) = (offset as u16, more);
            return piece;
        }
        let [a, b] = (offset as u16 | u16::from(more)).to_be_bytes();
        let [c, d] = self.ident.to_be_bytes();
        piece.extension(44, &[0, a, b, 0, 0, c, d])
    }

    /// The packet in an Ethernet frame.
    pub fn frame(&self, src: ether::Addr, dst: ether::Addr) -> Vec<u8> {
        let ethertype = if self.src.is_ipv4() {
            ether::EtherType::IPV4
        } else {
            ether::EtherType::IPV6
        };
        frame(src, dst, ethertype, &self.bytes())
    }
}

/// An Ethernet frame.
pub fn frame(
    src: ether::Addr,
    dst: ether::Addr,
    ethertype: ether::EtherType,
    payload: &[u8],
) -> Vec<u8> {
    let mut out = vec![0; ether::HEADER_LEN];
    let repr = ether::Repr {
        dst,
        src,
        ethertype,
    };
    repr.emit(&mut ether::Frame::new_unchecked(&mut out[..]));
    out.extend(payload);
    out
}
