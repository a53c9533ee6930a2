//! Capture files: classic pcap and pcapng in, classic pcap out.
//!
//! A capture is outside input: whatever its bytes, reading it gives packets or an error with the place of
//! the first wrong byte, and never panics. Nothing is copied and nothing is allocated by lengths that the
//! file claims. Read first: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.

use core::fmt;
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::path::Path;

/// Most bytes that [`load`] unpacks from one compressed capture: a guard against archives made to explode.
const UNPACKED_MAX: u64 = 256 << 20;

/// Most interfaces of a pcapng section that are remembered.
const INTERFACES_MAX: usize = 4096;

/// Link type of Ethernet frames in capture files.
pub const LINKTYPE_ETHERNET: u16 = 1;

/// What is wrong with a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Does not begin as any capture does.
    NotACapture,
    /// Compressed with gzip: use [`load`].
    Compressed,
    /// Written by a version of the format that does not exist.
    Version(u16),
    /// Ends in the middle of this.
    Truncated(&'static str),
    /// The length of this cannot be.
    Length(&'static str, u32),
    /// A packet of an interface that was not described.
    Interface(u32),
    /// More interfaces than anybody has.
    TooManyInterfaces,
}

/// What is wrong with a capture, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CaptureError {
    /// Bytes from the beginning of the file.
    pub offset: usize,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.offset)?;
        match self.fault {
            Fault::NotACapture => f.write_str("not a pcap or pcapng capture"),
            Fault::Compressed => f.write_str("compressed with gzip"),
            Fault::Version(version) => write!(f, "unknown format version {version}"),
            Fault::Truncated(what) => write!(f, "the capture ends within {what}"),
            Fault::Length(what, length) => write!(f, "{what} cannot have a length of {length}"),
            Fault::Interface(number) => write!(f, "interface {number} was not described"),
            Fault::TooManyInterfaces => write!(f, "more than {INTERFACES_MAX} interfaces"),
        }
    }
}

impl std::error::Error for CaptureError {}

/// One captured packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// Nanoseconds since 1970, where the file has a time; as far as 64 bits reach.
    pub time_ns: Option<u64>,
    /// What the bytes begin with; see [`LINKTYPE_ETHERNET`].
    pub link_type: u16,
    /// Length on the wire in bytes; more than `data` has if the capture was cut.
    pub original_len: u32,
    /// The bytes captured.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet as an Ethernet frame. One without Ethernet header gets one with zero addresses; none
    /// if it carries no IP or has a link type unknown here.
    pub fn ethernet(&self) -> Option<Cow<'a, [u8]>> {
        /// Linux "cooked" captures: the protocol is the last two bytes of 16 (version 1).
        const SLL: u16 = 113;
        /// The same, version 2: the first two of 20.
        const SLL2: u16 = 276;
        match self.link_type {
            LINKTYPE_ETHERNET => Some(Cow::Borrowed(self.data)),
            // Raw IP (by two numbers), IPv4, IPv6.
            12 | 101 | 228 | 229 => with_header(ip_ethertype(self.data)?, self.data),
            // BSD loopback: an address family of four bytes, in either byte order.
            0 | 108 => with_header(ip_ethertype(self.data.get(4..)?)?, &self.data[4..]),
            SLL => with_header(self.data.get(14..16)?.try_into().ok()?, &self.data[16..]),
            SLL2 => with_header(self.data.get(..2)?.try_into().ok()?, self.data.get(20..)?),
            _ => None,
        }
    }
}

fn ip_ethertype(packet: &[u8]) -> Option<[u8; 2]> {
    match packet.first()? >> 4 {
        4 => Some([0x08, 0x00]),
        6 => Some([0x86, 0xdd]),
        _ => None,
    }
}

fn with_header<'a>(ethertype: [u8; 2], payload: &[u8]) -> Option<Cow<'a, [u8]>> {
    Some(Cow::Owned([&[0; 12][..], &ethertype, payload].concat()))
}

/// The bytes of a capture file, unpacked if it is compressed with gzip.
pub fn load(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = std::fs::read(path)?;
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..])
        .take(UNPACKED_MAX)
        .read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads a capture packet by packet. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    format: Format,
}

#[derive(Clone, Debug)]
enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
    /// After an error.
    Over,
}

impl<'a> Reader<'a> {
    /// Looks at the file header.
    pub fn new(bytes: &'a [u8]) -> Result<Reader<'a>, CaptureError> {
        let (format, at) = if bytes.starts_with(&GZIP_MAGIC) {
            return Err(CaptureError {
                offset: 0,
                fault: Fault::Compressed,
            });
        } else if bytes.starts_with(&PcapNg::SECTION.to_be_bytes()) {
            (Format::PcapNg(PcapNg::default()), 0)
        } else {
            (Format::Pcap(Pcap::new(bytes)?), Pcap::FILE_HEADER)
        };
        Ok(Reader { bytes, at, format })
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Packet<'a>, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = match &mut self.format {
            Format::Pcap(pcap) => pcap.step(self.bytes, &mut self.at),
            Format::PcapNg(pcapng) => pcapng.step(self.bytes, &mut self.at),
            Format::Over => return None,
        };
        if step.is_err() {
            self.format = Format::Over;
        }
        step.transpose()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Order {
    #[default]
    Little,
    Big,
}

/// A cursor-free view: integers at places, or the fault that they are not there.
#[derive(Clone, Copy)]
struct View<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begin in the file.
    offset: usize,
    order: Order,
    /// What this is a view of, for errors.
    what: &'static str,
}

impl<'a> View<'a> {
    fn error(&self, fault: Fault) -> CaptureError {
        CaptureError {
            offset: self.offset,
            fault,
        }
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], CaptureError> {
        let field = self
            .bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk::<N>());
        field
            .copied()
            .ok_or(self.error(Fault::Truncated(self.what)))
    }

    fn u16(&self, at: usize) -> Result<u16, CaptureError> {
        let field = self.array(at)?;
        Ok(match self.order {
            Order::Little => u16::from_le_bytes(field),
            Order::Big => u16::from_be_bytes(field),
        })
    }

    fn u32(&self, at: usize) -> Result<u32, CaptureError> {
        let field = self.array(at)?;
        Ok(match self.order {
            Order::Little => u32::from_le_bytes(field),
            Order::Big => u32::from_be_bytes(field),
        })
    }

    fn slice(&self, at: usize, len: u32) -> Result<&'a [u8], CaptureError> {
        let end = usize::try_from(len)
            .ok()
            .and_then(|len| at.checked_add(len));
        end.and_then(|end| self.bytes.get(at..end))
            .ok_or(self.error(Fault::Truncated(self.what)))
    }
}

/// Classic pcap: a file header, then records of header and bytes.
#[derive(Clone, Copy, Debug)]
struct Pcap {
    order: Order,
    /// Nanoseconds per unit of the fraction.
    fraction_ns: u64,
    record_header: usize,
    link_type: u16,
}

impl Pcap {
    const FILE_HEADER: usize = 24;

    fn new(bytes: &[u8]) -> Result<Pcap, CaptureError> {
        /// Microseconds, nanoseconds, and Kuznetsov's variant with a longer record header.
        const KINDS: [(u32, u64, usize); 3] = [
            (0xa1b2_c3d4, 1_000, 16),
            (0xa1b2_3c4d, 1, 16),
            (0xa1b2_cd34, 1_000, 24),
        ];
        let view = |order| View {
            bytes,
            offset: 0,
            order,
            what: "the file header",
        };
        for order in [Order::Little, Order::Big] {
            let Ok(magic) = view(order).u32(0) else { break };
            let kind = KINDS.iter().find(|kind| kind.0 == magic);
            let Some(&(_, fraction_ns, record_header)) = kind else {
                continue;
            };
            let version = view(order).u16(4)?;
            if version != 2 {
                return Err(view(order).error(Fault::Version(version)));
            }
            // The upper half of the link type may say how long the frame check sequence is.
            let link_type = (view(order).u32(20)? & 0xffff) as u16;
            return Ok(Pcap {
                order,
                fraction_ns,
                record_header,
                link_type,
            });
        }
        Err(view(Order::Little).error(Fault::NotACapture))
    }

    fn step<'a>(
        &self,
        bytes: &'a [u8],
        at: &mut usize,
    ) -> Result<Option<Packet<'a>>, CaptureError> {
        let rest = bytes.get(*at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let view = View {
            bytes: rest,
            offset: *at,
            order: self.order,
            what: "a packet record",
        };
        let (seconds, fraction) = (view.u32(0)?, view.u32(4)?);
        let (captured, original_len) = (view.u32(8)?, view.u32(12)?);
        let data = view.slice(self.record_header, captured)?;
        *at += self.record_header + data.len();
        let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.fraction_ns;
        Ok(Some(Packet {
            time_ns: Some(time_ns),
            link_type: self.link_type,
            original_len,
            data,
        }))
    }
}

/// pcapng: blocks in sections; a section has a byte order and interfaces.
#[derive(Clone, Debug, Default)]
struct PcapNg {
    order: Order,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: u16,
    /// Most bytes captured of a packet; 0 for no limit.
    snap_len: u32,
    /// As written: a negative power of ten, or of two with the highest bit set.
    resolution: u8,
    /// Seconds to add.
    offset_s: u64,
}

impl PcapNg {
    /// Reads the same in both byte orders.
    const SECTION: u32 = 0x0a0d_0d0a;
    const INTERFACE: u32 = 1;
    const PACKET_OLD: u32 = 2;
    const PACKET_SIMPLE: u32 = 3;
    const PACKET: u32 = 6;

    /// The next packet, skipping blocks that are none.
    fn step<'a>(
        &mut self,
        bytes: &'a [u8],
        at: &mut usize,
    ) -> Result<Option<Packet<'a>>, CaptureError> {
        while let Some(rest) = bytes.get(*at..).filter(|rest| !rest.is_empty()) {
            let (kind, body, length) = self.block(rest, *at)?;
            let packet = match kind {
                PcapNg::INTERFACE => self.interface(body).map(|()| None)?,
                PcapNg::PACKET => self.packet(body).map(Some)?,
                PcapNg::PACKET_SIMPLE => self.packet_simple(body).map(Some)?,
                PcapNg::PACKET_OLD => self.packet_old(body).map(Some)?,
                _ => None,
            };
            *at += length;
            if packet.is_some() {
                return Ok(packet);
            }
        }
        Ok(None)
    }

    /// Type, body and whole length of the block at `offset`. A section header sets the byte order first.
    fn block<'a>(
        &mut self,
        rest: &'a [u8],
        offset: usize,
    ) -> Result<(u32, View<'a>, usize), CaptureError> {
        let mut view = View {
            bytes: rest,
            offset,
            order: self.order,
            what: "a block",
        };
        let kind = view.u32(0)?;
        if kind == PcapNg::SECTION {
            self.order = byte_order(&view)?;
            view.order = self.order;
            self.interfaces.clear();
        }
        let length = view.u32(4)?;
        if length < 12 || length % 4 != 0 {
            return Err(view.error(Fault::Length("a block", length)));
        }
        view.bytes = view.slice(0, length)?;
        let body_end = view.bytes.len() - 4;
        let again = view.u32(body_end)?;
        if again != length {
            return Err(view.error(Fault::Length("a block", again)));
        }
        let length = view.bytes.len();
        let body = View {
            bytes: &view.bytes[8..body_end],
            offset: offset + 8,
            ..view
        };
        if kind == PcapNg::SECTION {
            let version = body.u16(4)?;
            if version != 1 {
                return Err(body.error(Fault::Version(version)));
            }
        }
        Ok((kind, body, length))
    }

    fn interface(&mut self, body: View<'_>) -> Result<(), CaptureError> {
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(body.error(Fault::TooManyInterfaces));
        }
        let mut interface = Interface {
            link_type: body.u16(0)?,
            snap_len: body.u32(4)?,
            resolution: 6,
            offset_s: 0,
        };
        interface.read_options(View {
            what: "options of an interface",
            ..body
        });
        self.interfaces.push(interface);
        Ok(())
    }

    fn find(&self, body: &View<'_>, number: u32) -> Result<Interface, CaptureError> {
        let found = usize::try_from(number)
            .ok()
            .and_then(|number| self.interfaces.get(number));
        found.copied().ok_or(body.error(Fault::Interface(number)))
    }

    fn packet<'a>(&self, body: View<'a>) -> Result<Packet<'a>, CaptureError> {
        let interface = self.find(&body, body.u32(0)?)?;
        timed_packet(body, interface)
    }

    /// The obsolete packet block: the interface has 16 bits, followed by a count of drops.
    fn packet_old<'a>(&self, body: View<'a>) -> Result<Packet<'a>, CaptureError> {
        let interface = self.find(&body, u32::from(body.u16(0)?))?;
        timed_packet(body, interface)
    }

    fn packet_simple<'a>(&self, body: View<'a>) -> Result<Packet<'a>, CaptureError> {
        let interface = self.find(&body, 0)?;
        let original_len = body.u32(0)?;
        let limit = if interface.snap_len == 0 {
            u32::MAX
        } else {
            interface.snap_len
        };
        let data = body.slice(4, original_len.min(limit))?;
        Ok(Packet {
            time_ns: None,
            link_type: interface.link_type,
            original_len,
            data,
        })
    }
}

fn byte_order(view: &View<'_>) -> Result<Order, CaptureError> {
    match view.array(8)? {
        [0x4d, 0x3c, 0x2b, 0x1a] => Ok(Order::Little),
        [0x1a, 0x2b, 0x3c, 0x4d] => Ok(Order::Big),
        _ => Err(view.error(Fault::NotACapture)),
    }
}

/// What both packet blocks with a time have in common.
fn timed_packet<'a>(body: View<'a>, interface: Interface) -> Result<Packet<'a>, CaptureError> {
    let time = u64::from(body.u32(4)?) << 32 | u64::from(body.u32(8)?);
    let (captured, original_len) = (body.u32(12)?, body.u32(16)?);
    let data = body.slice(20, captured)?;
    Ok(Packet {
        time_ns: Some(interface.time_ns(time)),
        link_type: interface.link_type,
        original_len,
        data,
    })
}

impl Interface {
    /// Takes resolution and offset from the options, as far as they make sense: a capture with broken
    /// options is still a capture.
    fn read_options(&mut self, body: View<'_>) {
        const END: u16 = 0;
        const RESOLUTION: u16 = 9;
        const OFFSET: u16 = 14;
        let mut at = 8;
        while let (Ok(code), Ok(length)) = (body.u16(at), body.u16(at + 2)) {
            let Ok(value) = body.slice(at + 4, u32::from(length)) else {
                return;
            };
            match (code, value) {
                (END, _) => return,
                (RESOLUTION, &[resolution]) => self.resolution = resolution,
                (OFFSET, _) => {
                    if let Ok(field) = <[u8; 8]>::try_from(value) {
                        self.offset_s = match body.order {
                            Order::Little => u64::from_le_bytes(field),
                            Order::Big => u64::from_be_bytes(field),
                        };
                    }
                }
                _ => (),
            }
            at += 4 + usize::from(length).next_multiple_of(4);
        }
    }

    fn time_ns(&self, units: u64) -> u64 {
        const NS: u128 = 1_000_000_000;
        let power = u32::from(self.resolution & 0x7f);
        let base: u128 = if self.resolution & 0x80 == 0 { 10 } else { 2 };
        // A resolution finer than 128 bits can say makes every time zero.
        let since = base
            .checked_pow(power)
            .map_or(0, |unit| u128::from(units) * NS / unit);
        let whole = since + u128::from(self.offset_s) * NS;
        u64::try_from(whole).unwrap_or(u64::MAX)
    }
}

/// Writes Ethernet frames as a classic pcap with microseconds, which everything reads.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Writes the file header.
    pub fn new(mut out: W) -> io::Result<Writer<W>> {
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        out.write_all(&2u16.to_le_bytes())?;
        out.write_all(&4u16.to_le_bytes())?;
        // Time zone and accuracy: always zero. Then the longest frame, and the link type.
        out.write_all(&[0; 8])?;
        out.write_all(&0x4_0000_u32.to_le_bytes())?;
        out.write_all(&u32::from(LINKTYPE_ETHERNET).to_le_bytes())?;
        Ok(Writer { out })
    }

    /// Writes one frame. The time is nanoseconds since 1970, of which the file keeps microseconds.
    pub fn write(&mut self, time_ns: u64, frame: &[u8]) -> io::Result<()> {
        let length = u32::try_from(frame.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "frame too long"))?;
        // 32 bits of seconds: wraps in 2106, as the format does.
        let seconds = (time_ns / 1_000_000_000) as u32;
        let micros = (time_ns / 1_000 % 1_000_000) as u32;
        for field in [seconds, micros, length, length] {
            self.out.write_all(&field.to_le_bytes())?;
        }
        self.out.write_all(frame)
    }

    /// Gives back what was written to.
    pub fn into_inner(self) -> W {
        self.out
    }
}

#[cfg(test)]
mod tests;
