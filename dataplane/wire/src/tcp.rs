//! TCP headers and options.
//!
//! Read first: RFC 9293 section 3.1 and 3.2, RFC 7323 (window scale, timestamps), RFC 2018
//! (selective acknowledgements). May not know about connections: sequence numbers are only numbers.

use core::net::IpAddr;

use crate::view::{be16, be32};
use crate::{Malformed, checksum, proto};

/// Length in bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Synchronize sequence numbers.
pub const SYN: u8 = 0x02;
/// Reset the connection.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgement number counts.
pub const ACK: u8 = 0x10;
/// The urgent pointer counts.
pub const URG: u8 = 0x20;
/// Explicit congestion notification echo (RFC 3168).
pub const ECE: u8 = 0x40;
/// Congestion window reduced (RFC 3168).
pub const CWR: u8 = 0x80;

mod field {
    use crate::view::Field;
    pub(super) const SRC_PORT: Field = 0..2;
    pub(super) const DST_PORT: Field = 2..4;
    pub(super) const SEQ: Field = 4..8;
    pub(super) const ACK: Field = 8..12;
    pub(super) const DATA_OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const WINDOW: Field = 14..16;
    pub(super) const CHECKSUM: Field = 16..18;
    pub(super) const URGENT: Field = 18..20;
}

fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < HEADER_LEN {
        return Err(Malformed::TcpShort);
    }
    let header_len = usize::from(bytes[field::DATA_OFFSET] >> 4) * 4;
    if header_len < HEADER_LEN || header_len > bytes.len() {
        return Err(Malformed::TcpDataOffset);
    }
    Ok(())
}

view! {
    /// A view of a TCP segment. It ends where the IP packet says; give it exactly those bytes.
    ///
    /// ```text
    ///  0          2          4     8     12              13      14       16         18       20
    /// | src port | dst port | seq | ack | offset/4 | 0  | flags | window | checksum | urgent | options, payload …
    /// ```
    Packet, check
}

/// What the first 8 bytes of a segment say: all that an ICMP error must quote (RFC 792).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
}

/// Reads the first 8 bytes of a segment of which only a part is here.
#[inline]
pub fn start(bytes: &[u8]) -> Result<Start, Malformed> {
    if bytes.len() < 8 {
        return Err(Malformed::TcpShort);
    }
    Ok(Start {
        src_port: be16(bytes, field::SRC_PORT),
        dst_port: be16(bytes, field::DST_PORT),
        seq: be32(bytes, field::SEQ),
    })
}

/// Refuses flags that no conversation uses and that scanners and evasions do: SYN with RST or FIN;
/// none of SYN, ACK and RST; FIN, PSH or URG without ACK.
#[inline]
pub const fn check_flags(flags: u8) -> Result<(), Malformed> {
    let syn_and_end = flags & SYN != 0 && flags & (RST | FIN) != 0;
    let nothing = flags & (SYN | ACK | RST) == 0;
    let needs_ack = flags & ACK == 0 && flags & (FIN | PSH | URG) != 0;
    if syn_and_end || nothing || needs_ack {
        return Err(Malformed::TcpFlags);
    }
    Ok(())
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Source port.
    #[inline]
    pub fn src_port(&self) -> u16 {
        be16(self.buffer.as_ref(), field::SRC_PORT)
    }

    /// Destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        be16(self.buffer.as_ref(), field::DST_PORT)
    }

    /// Sequence number of the first byte of payload, or of the SYN.
    #[inline]
    pub fn seq(&self) -> u32 {
        be32(self.buffer.as_ref(), field::SEQ)
    }

    /// Acknowledgement number; counts only with [`ACK`].
    #[inline]
    pub fn ack(&self) -> u32 {
        be32(self.buffer.as_ref(), field::ACK)
    }

    /// Length of header and options in bytes, 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.buffer.as_ref()[field::DATA_OFFSET] >> 4) * 4
    }

    /// The flags [`FIN`] to [`CWR`].
    #[inline]
    pub fn flags(&self) -> u8 {
        self.buffer.as_ref()[field::FLAGS]
    }

    /// Window as it is in the packet, not scaled.
    #[inline]
    pub fn window(&self) -> u16 {
        be16(self.buffer.as_ref(), field::WINDOW)
    }

    /// The checksum as it is in the packet.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// Urgent pointer; counts only with [`URG`].
    #[inline]
    pub fn urgent(&self) -> u16 {
        be16(self.buffer.as_ref(), field::URGENT)
    }

    /// The bytes of the options.
    #[inline]
    pub fn option_bytes(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..self.header_len()]
    }

    /// The options one by one.
    #[inline]
    pub fn options(&self) -> Options<'_> {
        Options::new(self.option_bytes())
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[self.header_len()..]
    }

    /// Sequence numbers the segment takes: payload, and one each for SYN and FIN.
    #[inline]
    pub fn seq_len(&self) -> u32 {
        let ends = u32::from(self.flags() & SYN != 0) + u32::from(self.flags() & FIN != 0);
        self.payload().len() as u32 + ends
    }

    /// Whether the checksum is right.
    pub fn verify_checksum(&self, src: IpAddr, dst: IpAddr) -> bool {
        self.sum(src, dst) == 0
    }

    fn sum(&self, src: IpAddr, dst: IpAddr) -> u16 {
        let bytes = self.buffer.as_ref();
        let pseudo = checksum::pseudo(src, dst, proto::TCP, bytes.len());
        !checksum::fold(pseudo + checksum::sum(bytes))
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets the source port. The checksum is left to the caller.
    #[inline]
    pub fn set_src_port(&mut self, port: u16) {
        self.buffer.as_mut()[field::SRC_PORT].copy_from_slice(&port.to_be_bytes());
    }

    /// Sets the destination port. The checksum is left to the caller.
    #[inline]
    pub fn set_dst_port(&mut self, port: u16) {
        self.buffer.as_mut()[field::DST_PORT].copy_from_slice(&port.to_be_bytes());
    }

    /// Sets the sequence number.
    #[inline]
    pub fn set_seq(&mut self, seq: u32) {
        self.buffer.as_mut()[field::SEQ].copy_from_slice(&seq.to_be_bytes());
    }

    /// Sets the acknowledgement number.
    #[inline]
    pub fn set_ack(&mut self, ack: u32) {
        self.buffer.as_mut()[field::ACK].copy_from_slice(&ack.to_be_bytes());
    }

    /// Sets the length of header and options in bytes, a multiple of 4 from 20 to 60. Voids the
    /// promise of `new_checked`.
    #[inline]
    pub fn set_header_len(&mut self, len: usize) {
        self.buffer.as_mut()[field::DATA_OFFSET] = ((len / 4) as u8) << 4;
    }

    /// Sets the flags.
    #[inline]
    pub fn set_flags(&mut self, flags: u8) {
        self.buffer.as_mut()[field::FLAGS] = flags;
    }

    /// Sets the window, not scaled.
    #[inline]
    pub fn set_window(&mut self, window: u16) {
        self.buffer.as_mut()[field::WINDOW].copy_from_slice(&window.to_be_bytes());
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, sum: u16) {
        self.buffer.as_mut()[field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }

    /// Sets the urgent pointer.
    #[inline]
    pub fn set_urgent(&mut self, urgent: u16) {
        self.buffer.as_mut()[field::URGENT].copy_from_slice(&urgent.to_be_bytes());
    }

    /// The bytes of the options, for writing.
    #[inline]
    pub fn option_bytes_mut(&mut self) -> &mut [u8] {
        let end = self.header_len();
        &mut self.buffer.as_mut()[HEADER_LEN..end]
    }

    /// The payload, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let start = self.header_len();
        &mut self.buffer.as_mut()[start..]
    }

    /// Computes the checksum over pseudo header, header and payload.
    pub fn fill_checksum(&mut self, src: IpAddr, dst: IpAddr) {
        self.set_checksum(0);
        let sum = self.sum(src, dst);
        self.set_checksum(sum);
    }

    /// Lowers the maximum segment size option to `mss` bytes where it is above, and updates the
    /// checksum. Returns whether anything changed.
    pub fn clamp_mss(&mut self, mss: u16) -> bool {
        let mut options = self.options();
        let found = loop {
            let at = HEADER_LEN + options.offset();
            match options.next() {
                Some(Ok(TcpOption::Mss(old))) => break Some((at + 2, old)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break None,
            }
        };
        let Some((at, old)) = found.filter(|&(_, old)| old > mss) else {
            return false;
        };
        self.buffer.as_mut()[at..at + 2].copy_from_slice(&mss.to_be_bytes());
        let sum = checksum::adjust_at(self.checksum(), at, old, mss);
        self.set_checksum(sum);
        true
    }
}

/// Kinds of TCP options.
pub mod option {
    /// End of the list.
    pub const END: u8 = 0;
    /// Padding of one byte.
    pub const NOP: u8 = 1;
    /// Maximum segment size (RFC 9293 3.7.1).
    pub const MSS: u8 = 2;
    /// Window scale (RFC 7323 2).
    pub const WINDOW_SCALE: u8 = 3;
    /// Selective acknowledgements permitted (RFC 2018 2).
    pub const SACK_PERMITTED: u8 = 4;
    /// Selective acknowledgements (RFC 2018 3).
    pub const SACK: u8 = 5;
    /// Timestamps (RFC 7323 3).
    pub const TIMESTAMPS: u8 = 8;
}

/// One TCP option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Padding of one byte.
    Nop,
    /// Maximum segment size in bytes.
    Mss(u16),
    /// Shift count of the window; RFC 7323 limits it to 14.
    WindowScale(u8),
    /// Selective acknowledgements are permitted.
    SackPermitted,
    /// Selective acknowledgements: pairs of 32-bit edges, 8 bytes each.
    Sack(&'a [u8]),
    /// Timestamps: the sender's value and the echo of the peer's.
    Timestamps {
        /// TSval.
        value: u32,
        /// TSecr.
        echo: u32,
    },
    /// Anything else.
    Other {
        /// Kind byte.
        kind: u8,
        /// Bytes after the kind and length bytes.
        data: &'a [u8],
    },
}

/// Iterates over options up to the end of the list; ends after the first broken one.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Options<'a> {
    /// Iterates over the bytes between header and payload.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Options<'a> {
        Options { bytes, at: 0 }
    }

    /// Offset in bytes of the next option from the first option byte.
    #[inline]
    pub const fn offset(&self) -> usize {
        self.at
    }

    fn fail(&mut self) -> Option<Result<TcpOption<'a>, Malformed>> {
        self.at = self.bytes.len();
        Some(Err(Malformed::TcpOption))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<TcpOption<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.at..];
        match *rest.first()? {
            option::END => {
                self.at = self.bytes.len();
                return None;
            }
            option::NOP => {
                self.at += 1;
                return Some(Ok(TcpOption::Nop));
            }
            _ => {}
        }
        let Some(this) = rest
            .get(1)
            .and_then(|&len| rest.get(..usize::from(len)))
            .filter(|this| this.len() >= 2)
        else {
            return self.fail();
        };
        self.at += this.len();
        match option_meaning(this[0], &this[2..]) {
            Some(option) => Some(Ok(option)),
            None => self.fail(),
        }
    }
}

/// `None` where the length is wrong for the kind.
fn option_meaning(kind: u8, data: &[u8]) -> Option<TcpOption<'_>> {
    Some(match (kind, data) {
        (option::MSS, &[a, b]) => TcpOption::Mss(u16::from_be_bytes([a, b])),
        (option::WINDOW_SCALE, &[shift]) => TcpOption::WindowScale(shift),
        (option::SACK_PERMITTED, &[]) => TcpOption::SackPermitted,
        (option::SACK, data) if !data.is_empty() && data.len().is_multiple_of(8) => {
            TcpOption::Sack(data)
        }
        (option::TIMESTAMPS, data) if data.len() == 8 => TcpOption::Timestamps {
            value: be32(data, 0..4),
            echo: be32(data, 4..8),
        },
        (option::MSS..=option::SACK | option::TIMESTAMPS, _) => return None,
        (kind, data) => TcpOption::Other { kind, data },
    })
}

/// The meaning of a TCP header. Of the options it keeps those of the handshake and timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repr {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags, [`FIN`] to [`CWR`].
    pub flags: u8,
    /// Window, not scaled.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Maximum segment size in bytes.
    pub mss: Option<u16>,
    /// Shift count of the window.
    pub window_scale: Option<u8>,
    /// Whether selective acknowledgements are permitted.
    pub sack_permitted: bool,
    /// Timestamp value and echo.
    pub timestamps: Option<(u32, u32)>,
}

impl Repr {
    /// Reads a header and its options. The checksum is not verified: the addresses are not known
    /// here.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Repr, Malformed> {
        packet.check()?;
        let mut repr = Repr {
            src_port: packet.src_port(),
            dst_port: packet.dst_port(),
            seq: packet.seq(),
            ack: packet.ack(),
            flags: packet.flags(),
            window: packet.window(),
            urgent: packet.urgent(),
            ..Repr::default()
        };
        for option in packet.options() {
            match option? {
                TcpOption::Mss(mss) => repr.mss = Some(mss),
                TcpOption::WindowScale(shift) => repr.window_scale = Some(shift),
                TcpOption::SackPermitted => repr.sack_permitted = true,
                TcpOption::Timestamps { value, echo } => repr.timestamps = Some((value, echo)),
                TcpOption::Nop | TcpOption::Sack(_) | TcpOption::Other { .. } => {}
            }
        }
        Ok(repr)
    }

    fn options_len(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let scale = if self.window_scale.is_some() { 3 } else { 0 };
        let sack = if self.sack_permitted { 2 } else { 0 };
        let timestamps = if self.timestamps.is_some() { 10 } else { 0 };
        mss + scale + sack + timestamps
    }

    /// Length of header and options in bytes, a multiple of 4; the payload comes after.
    pub fn buffer_len(&self) -> usize {
        HEADER_LEN + self.options_len().next_multiple_of(4)
    }

    /// Writes header and options without a checksum: write the payload, then call
    /// [`Packet::fill_checksum`].
    ///
    /// # Panics
    /// When the buffer is shorter than [`Repr::buffer_len`].
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        packet.set_src_port(self.src_port);
        packet.set_dst_port(self.dst_port);
        packet.set_seq(self.seq);
        packet.set_ack(self.ack);
        packet.set_header_len(self.buffer_len());
        packet.set_flags(self.flags);
        packet.set_window(self.window);
        packet.set_checksum(0);
        packet.set_urgent(self.urgent);
        self.emit_options(packet.option_bytes_mut());
    }

    fn emit_options(&self, bytes: &mut [u8]) {
        bytes.fill(option::NOP);
        let mut at = 0;
        let mut put = |option: &[u8]| {
            bytes[at..at + option.len()].copy_from_slice(option);
            at += option.len();
        };
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            put(&[option::MSS, 4, a, b]);
        }
        if let Some(shift) = self.window_scale {
            put(&[option::WINDOW_SCALE, 3, shift]);
        }
        if self.sack_permitted {
            put(&[option::SACK_PERMITTED, 2]);
        }
        if let Some((value, echo)) = self.timestamps {
            put(&[option::TIMESTAMPS, 10]);
            put(&value.to_be_bytes());
            put(&echo.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(options: &[u8], payload: &[u8]) -> Vec<u8> {
        let offset = ((HEADER_LEN + options.len()) / 4) as u8;
        let mut bytes = vec![0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2];
        bytes.extend([offset << 4, SYN | ACK, 0x10, 0, 0xab, 0xcd, 0, 9]);
        bytes.extend(options);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn reads_a_header() {
        let bytes = segment(&[2, 4, 5, 0xb4], &[1, 2, 3]);
        let packet = Packet::new_checked(&bytes[..]).unwrap();
        assert_eq!((packet.src_port(), packet.dst_port()), (12345, 80));
        assert_eq!((packet.seq(), packet.ack()), (1, 2));
        assert_eq!((packet.header_len(), packet.flags()), (24, SYN | ACK));
        assert_eq!((packet.window(), packet.checksum()), (4096, 0xabcd));
        assert_eq!((packet.urgent(), packet.seq_len()), (9, 4));
        assert_eq!(packet.payload(), [1, 2, 3]);
    }

    #[test]
    fn broken_rules_are_named() {
        let check = |bytes: &[u8]| Packet::new_checked(bytes).map(|_| ());
        let good = segment(&[1; 4], &[]);
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&good[..23]), Err(Malformed::TcpDataOffset));
        assert_eq!(check(&good[..19]), Err(Malformed::TcpShort));
        let mut low = good.clone();
        low[12] = 0x40;
        assert_eq!(check(&low), Err(Malformed::TcpDataOffset));
        assert_eq!(start(&good[..7]), Err(Malformed::TcpShort));
        let start = start(&good[..8]).unwrap();
        assert_eq!((start.src_port, start.dst_port, start.seq), (12345, 80, 1));
    }

    #[test]
    fn options_one_by_one() {
        let bytes = [
            2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 30, 3, 9, 0, 99,
        ];
        let options: Result<Vec<_>, _> = Options::new(&bytes).collect();
        let expected = vec![
            TcpOption::Mss(1460),
            TcpOption::Nop,
            TcpOption::WindowScale(7),
            TcpOption::SackPermitted,
            TcpOption::Timestamps { value: 1, echo: 2 },
            TcpOption::Other {
                kind: 30,
                data: &[9],
            },
        ];
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn broken_options_end_the_list() {
        for bytes in [
            &[2u8, 0, 5, 0xb4][..],
            &[2, 1],
            &[2, 3, 5],
            &[2, 4, 5],
            &[3, 2],
            &[5, 2],
            &[5, 9, 0, 0, 0, 0, 0, 0, 0],
            &[8, 9, 0, 0, 0, 0, 0, 0, 0],
            &[30],
            &[30, 200],
        ] {
            let mut options = Options::new(bytes);
            assert_eq!(options.next(), Some(Err(Malformed::TcpOption)), "{bytes:?}");
            assert_eq!(options.next(), None, "{bytes:?}");
        }
    }

    #[test]
    fn flags_that_no_conversation_uses() {
        for good in [
            SYN,
            SYN | ACK,
            ACK,
            RST,
            RST | ACK,
            FIN | ACK,
            SYN | ECE | CWR,
        ] {
            assert_eq!(check_flags(good), Ok(()), "{good:02x}");
        }
        for bad in [
            0,
            FIN,
            PSH,
            URG | ECE,
            SYN | FIN,
            SYN | RST | ACK,
            SYN | URG,
            0xff,
        ] {
            assert_eq!(check_flags(bad), Err(Malformed::TcpFlags), "{bad:02x}");
        }
    }

    #[test]
    fn mss_is_clamped_at_even_and_odd_offsets() {
        let (src, dst): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        for options in [&[2u8, 4, 0x05, 0xb4][..], &[1, 2, 4, 0x05, 0xb4, 1, 1, 1]] {
            let mut bytes = segment(options, &[7]);
            let mut packet = Packet::new_checked(&mut bytes[..]).unwrap();
            packet.fill_checksum(src, dst);
            assert!(!packet.clamp_mss(1460));
            assert!(packet.clamp_mss(1380));
            assert!(packet.verify_checksum(src, dst));
            assert!(packet.options().any(|o| o == Ok(TcpOption::Mss(1380))));
        }
        let mut none = segment(&[], &[]);
        assert!(!Packet::new_checked(&mut none[..]).unwrap().clamp_mss(1));
    }

    proptest! {
        #[test]
        fn emit_then_parse_is_identity(
            ports: (u16, u16), numbers: (u32, u32), flags: u8, window: u16, urgent: u16,
            mss: Option<u16>, window_scale: Option<u8>, sack_permitted: bool,
            timestamps: Option<(u32, u32)>, payload in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let repr = Repr {
                src_port: ports.0, dst_port: ports.1, seq: numbers.0, ack: numbers.1,
                flags, window, urgent, mss, window_scale, sack_permitted, timestamps,
            };
            let mut bytes = vec![0xaa; repr.buffer_len()];
            bytes.extend(&payload);
            let mut packet = Packet::new_unchecked(&mut bytes[..]);
            repr.emit(&mut packet);
            let (src, dst): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
            packet.fill_checksum(src, dst);
            let packet = Packet::new_checked(&bytes[..]).unwrap();
            prop_assert!(packet.verify_checksum(src, dst));
            prop_assert_eq!(packet.payload(), &payload[..]);
            prop_assert_eq!(Repr::parse(&packet), Ok(repr));
        }

        #[test]
        fn options_never_panic(bytes in proptest::collection::vec(0u8..12, 0..40)) {
            prop_assert!(Options::new(&bytes).count() <= bytes.len());
        }
    }
}
