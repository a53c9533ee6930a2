//! UDP headers.
//!
//! Read first: RFC 768; RFC 8200 section 8.1 for the checksum over IPv6.

use core::net::IpAddr;

use crate::view::be16;
use crate::{Malformed, checksum, proto};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

mod field {
    use crate::view::Field;
    pub(super) const SRC_PORT: Field = 0..2;
    pub(super) const DST_PORT: Field = 2..4;
    pub(super) const LEN: Field = 4..6;
    pub(super) const CHECKSUM: Field = 6..8;
}

fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < HEADER_LEN {
        return Err(Malformed::UdpShort);
    }
    check_len(bytes, bytes.len())
}

/// Whether a datagram whose header is here and which has `available` bytes in all says a length that it can have.
#[inline]
pub fn check_len(bytes: &[u8], available: usize) -> Result<(), Malformed> {
    let header = bytes.get(..HEADER_LEN).ok_or(Malformed::UdpShort)?;
    let len = usize::from(be16(header, field::LEN));
    if len < HEADER_LEN || len > available {
        return Err(Malformed::UdpLength);
    }
    Ok(())
}

view! {
    /// A view of a UDP datagram. In a first IP fragment the length reaches beyond the bytes; there
    /// [`ports`] is the way in.
    ///
    /// ```text
    ///  0             2                  4        6          8
    /// | source port | destination port | length | checksum | payload …
    /// ```
    Packet, check
}

/// Source and destination port of a datagram of which only a part is here (a first fragment, or the
/// quotation in an ICMP error). Needs 8 bytes.
#[inline]
pub fn ports(bytes: &[u8]) -> Result<(u16, u16), Malformed> {
    if bytes.len() < HEADER_LEN {
        return Err(Malformed::UdpShort);
    }
    Ok((be16(bytes, field::SRC_PORT), be16(bytes, field::DST_PORT)))
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

    /// Length of header and payload in bytes.
    #[inline]
    pub fn len(&self) -> u16 {
        be16(self.buffer.as_ref(), field::LEN)
    }

    /// Whether the payload is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        usize::from(self.len()) == HEADER_LEN
    }

    /// The checksum as it is in the packet; 0 means none.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..usize::from(self.len())]
    }

    /// Whether the checksum is right. Over IPv4 a datagram without one is right; over IPv6 it is not.
    pub fn verify_checksum(&self, src: IpAddr, dst: IpAddr) -> bool {
        if self.checksum() == 0 {
            return src.is_ipv4();
        }
        self.sum(src, dst) == 0
    }

    fn sum(&self, src: IpAddr, dst: IpAddr) -> u16 {
        let len = usize::from(self.len());
        let pseudo = checksum::pseudo(src, dst, proto::UDP, len);
        !checksum::fold(pseudo + checksum::sum(&self.buffer.as_ref()[..len]))
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

    /// Sets the length of header and payload. Voids the promise of `new_checked`.
    #[inline]
    pub fn set_len(&mut self, len: u16) {
        self.buffer.as_mut()[field::LEN].copy_from_slice(&len.to_be_bytes());
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, sum: u16) {
        self.buffer.as_mut()[field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }

    /// Computes the checksum over pseudo header, header and payload.
    pub fn fill_checksum(&mut self, src: IpAddr, dst: IpAddr) {
        self.set_checksum(0);
        let sum = checksum::udp_zero(self.sum(src, dst));
        self.set_checksum(sum);
    }

    /// The payload, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let end = usize::from(self.len());
        &mut self.buffer.as_mut()[HEADER_LEN..end]
    }
}

/// The meaning of a UDP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Length of the payload in bytes, at most 65527.
    pub payload_len: u16,
}

impl Repr {
    /// Reads a header. The checksum is not verified: the addresses are not known here.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Repr, Malformed> {
        packet.check()?;
        Ok(Repr {
            src_port: packet.src_port(),
            dst_port: packet.dst_port(),
            payload_len: packet.len() - HEADER_LEN as u16,
        })
    }

    /// Length of the header in bytes; the payload comes after.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header without a checksum: write the payload, then call
    /// [`Packet::fill_checksum`].
    ///
    /// # Panics
    /// When the buffer is shorter than [`Repr::buffer_len`].
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        packet.set_src_port(self.src_port);
        packet.set_dst_port(self.dst_port);
        packet.set_len(self.payload_len.saturating_add(HEADER_LEN as u16));
        packet.set_checksum(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn broken_rules_are_named() {
        let check = |bytes: &[u8]| Packet::new_checked(bytes).map(|_| ());
        let good = [0, 53, 0x12, 0x34, 0, 9, 0, 0, 7, 0xee];
        assert_eq!(check(&good), Ok(()));
        assert_eq!(Packet::new_checked(&good[..]).unwrap().payload(), [7]);
        assert_eq!(check(&good[..8]), Err(Malformed::UdpLength));
        assert_eq!(check(&good[..7]), Err(Malformed::UdpShort));
        assert_eq!(
            check(&[0, 53, 0, 53, 0, 7, 0, 0]),
            Err(Malformed::UdpLength)
        );
        assert_eq!(ports(&good[..8]), Ok((53, 0x1234)));
        assert_eq!(ports(&good[..7]), Err(Malformed::UdpShort));
    }

    #[test]
    fn no_checksum_is_right_over_ipv4_only() {
        let packet = Packet::new_checked([0, 53, 0, 53, 0, 8, 0, 0]).unwrap();
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        assert!(packet.verify_checksum(v4, v4));
        assert!(!packet.verify_checksum(v6, v6));
    }

    proptest! {
        #[test]
        fn emit_then_parse_is_identity(
            src_port: u16, dst_port: u16, src: u128, dst: u128,
            payload in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let repr = Repr { src_port, dst_port, payload_len: payload.len() as u16 };
            let mut bytes = vec![0; repr.buffer_len() + payload.len()];
            let mut packet = Packet::new_unchecked(&mut bytes[..]);
            repr.emit(&mut packet);
            packet.payload_mut().copy_from_slice(&payload);
            let (src, dst) = (IpAddr::V6(src.into()), IpAddr::V6(dst.into()));
            packet.fill_checksum(src, dst);
            let packet = Packet::new_checked(&bytes[..]).unwrap();
            prop_assert!(packet.verify_checksum(src, dst) && packet.checksum() != 0);
            prop_assert_eq!(Repr::parse(&packet), Ok(repr));
        }
    }
}
