//! Ethernet II frames and addresses.
//!
//! Read first: IEEE 802.3 clause 3, RFC 894 and RFC 2464 (IPv4 and IPv6 over Ethernet). May not know
//! about interfaces or who owns an address. VLAN tags are [`crate::vlan`]'s.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::Malformed;
use crate::view::{array, be16};

/// Length of the header in bytes, without any VLAN tag.
pub const HEADER_LEN: usize = 14;
/// Length of its two addresses, behind which tags stand.
pub const ADDRESSES_LEN: usize = 12;

/// An Ethernet address, its bytes in the order of transmission.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Addr(pub [u8; 6]);

impl Addr {
    /// All ones: every station.
    pub const BROADCAST: Addr = Addr([0xff; 6]);
    /// All zeros: no station; "unknown" in an ARP request.
    pub const ZERO: Addr = Addr([0; 6]);

    /// Whether this is the broadcast address.
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether this names a group of stations (the broadcast address included).
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this can name one station: neither a group nor all zeros.
    pub fn is_unicast(self) -> bool {
        !self.is_multicast() && self != Self::ZERO
    }

    /// The group address that an IPv4 multicast address is sent to (RFC 1112 6.4).
    pub const fn multicast4(addr: Ipv4Addr) -> Addr {
        let [_, b, c, d] = addr.octets();
        Addr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
    }

    /// The group address that an IPv6 multicast address is sent to (RFC 2464 7).
    pub const fn multicast6(addr: Ipv6Addr) -> Addr {
        let o = addr.octets();
        Addr([0x33, 0x33, o[12], o[13], o[14], o[15]])
    }

    /// The link-local address `fe80::/64` with the modified EUI-64 identifier (RFC 4291 2.5.1,
    /// RFC 2464 5).
    pub const fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from_octets([
            0xfe,
            0x80,
            0,
            0,
            0,
            0,
            0,
            0,
            a ^ 2,
            b,
            c,
            0xff,
            0xfe,
            d,
            e,
            f,
        ])
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddrSyntax;

impl fmt::Display for AddrSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an Ethernet address of six hexadecimal bytes separated by colons")
    }
}

impl core::error::Error for AddrSyntax {}

impl FromStr for Addr {
    type Err = AddrSyntax;

    /// Six hexadecimal bytes of one or two digits, separated by colons.
    fn from_str(text: &str) -> Result<Addr, AddrSyntax> {
        let mut bytes = [0u8; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(AddrSyntax)?;
            let digits = part.bytes().all(|c| c.is_ascii_hexdigit());
            if !digits || part.len() > 2 {
                return Err(AddrSyntax);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| AddrSyntax)?;
        }
        match parts.next() {
            None => Ok(Addr(bytes)),
            Some(_) => Err(AddrSyntax),
        }
    }
}

/// What a frame carries, or in frames below 0x0600 its length (IEEE 802.3 3.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4 (RFC 894).
    pub const IPV4: EtherType = EtherType(0x0800);
    /// ARP (RFC 826).
    pub const ARP: EtherType = EtherType(0x0806);
    /// A VLAN tag follows (IEEE 802.1Q).
    pub const VLAN: EtherType = EtherType(0x8100);
    /// A service VLAN tag follows (IEEE 802.1ad, "QinQ").
    pub const QINQ: EtherType = EtherType(0x88a8);
    /// IPv6 (RFC 2464).
    pub const IPV6: EtherType = EtherType(0x86dd);
    /// Link aggregation control and other slow protocols (IEEE 802.3 57A).
    pub const SLOW: EtherType = EtherType(0x8809);
    /// Link layer discovery (IEEE 802.1AB).
    pub const LLDP: EtherType = EtherType(0x88cc);

    /// Whether the field is a length and an LLC header follows.
    pub const fn is_length(self) -> bool {
        self.0 < 0x0600
    }
}

mod field {
    use crate::view::Field;
    pub(super) const DST: Field = 0..6;
    pub(super) const SRC: Field = 6..12;
    pub(super) const TYPE: Field = 12..14;
}

fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < HEADER_LEN {
        return Err(Malformed::EtherShort);
    }
    Ok(())
}

view! {
    /// A view of an Ethernet II frame, without preamble and frame check sequence.
    ///
    /// ```text
    ///  0            6            12     14
    /// | destination | source     | type | payload …
    /// ```
    Frame, check
}

impl<T: AsRef<[u8]>> Frame<T> {
    /// Destination address.
    #[inline]
    pub fn dst(&self) -> Addr {
        Addr(array(self.buffer.as_ref(), field::DST))
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> Addr {
        Addr(array(self.buffer.as_ref(), field::SRC))
    }

    /// Type of the payload.
    #[inline]
    pub fn ethertype(&self) -> EtherType {
        EtherType(be16(self.buffer.as_ref(), field::TYPE))
    }

    /// What follows the header, padding included.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Frame<T> {
    /// Sets the destination address.
    #[inline]
    pub fn set_dst(&mut self, addr: Addr) {
        self.buffer.as_mut()[field::DST].copy_from_slice(&addr.0);
    }

    /// Sets the source address.
    #[inline]
    pub fn set_src(&mut self, addr: Addr) {
        self.buffer.as_mut()[field::SRC].copy_from_slice(&addr.0);
    }

    /// Sets the type of the payload.
    #[inline]
    pub fn set_ethertype(&mut self, ethertype: EtherType) {
        self.buffer.as_mut()[field::TYPE].copy_from_slice(&ethertype.0.to_be_bytes());
    }

    /// What follows the header, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN..]
    }
}

/// The meaning of an Ethernet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Destination address.
    pub dst: Addr,
    /// Source address.
    pub src: Addr,
    /// Type of the payload.
    pub ethertype: EtherType,
}

impl Repr {
    /// Reads a header.
    pub fn parse<T: AsRef<[u8]>>(frame: &Frame<T>) -> Result<Repr, Malformed> {
        frame.check()?;
        Ok(Repr {
            dst: frame.dst(),
            src: frame.src(),
            ethertype: frame.ethertype(),
        })
    }

    /// Length of the header in bytes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header.
    ///
    /// # Panics
    /// When the buffer is shorter than [`Repr::buffer_len`].
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, frame: &mut Frame<T>) {
        frame.set_dst(self.dst);
        frame.set_src(self.src);
        frame.set_ethertype(self.ethertype);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_frame() {
        let bytes = [
            0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 0x08, 0x06, 0xaa,
        ];
        let frame = Frame::new_checked(&bytes[..]).unwrap();
        assert_eq!(frame.dst().to_string(), "52:54:00:00:00:02");
        assert_eq!(frame.src(), Addr([0x52, 0x54, 0, 0, 0, 1]));
        assert_eq!(frame.ethertype(), EtherType::ARP);
        assert_eq!(frame.payload(), [0xaa]);
    }

    #[test]
    fn short_by_one_byte_is_refused() {
        assert_eq!(Frame::new_checked([0u8; 13]), Err(Malformed::EtherShort));
        assert!(Frame::new_checked([0u8; 14]).is_ok());
    }

    #[test]
    fn kinds_of_addresses() {
        assert!(Addr::BROADCAST.is_multicast() && Addr::BROADCAST.is_broadcast());
        assert!(!Addr::ZERO.is_unicast() && !Addr::ZERO.is_multicast());
        let group: Ipv4Addr = "239.129.2.3".parse().unwrap();
        assert_eq!(
            Addr::multicast4(group).to_string(),
            "01:00:5e:01:02:03" // 23 bits only: the top bit of the second byte is lost
        );
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        assert_eq!(Addr::multicast6(group).to_string(), "33:33:ff:12:34:56");
        let own: Addr = "52:54:00:12:34:56".parse().unwrap();
        assert_eq!(own.link_local().to_string(), "fe80::5054:ff:fe12:3456");
    }

    #[test]
    fn texts_that_are_no_addresses() {
        for text in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54:00:12:34:g6",
            "52:54:00:12:34:+6",
            "525:4:00:12:34:56",
            "52-54-00-12-34-56",
            "52:54::12:34:56",
        ] {
            assert_eq!(text.parse::<Addr>(), Err(AddrSyntax), "{text}");
        }
        assert_eq!("0:1:2:3:4:aF".parse(), Ok(Addr([0, 1, 2, 3, 4, 0xaf])));
    }

    proptest! {
        #[test]
        fn emit_then_parse_is_identity(dst: [u8; 6], src: [u8; 6], ethertype: u16) {
            let repr = Repr { dst: Addr(dst), src: Addr(src), ethertype: EtherType(ethertype) };
            let mut bytes = [0u8; HEADER_LEN];
            repr.emit(&mut Frame::new_unchecked(&mut bytes[..]));
            prop_assert_eq!(Repr::parse(&Frame::new_checked(&bytes[..]).unwrap()), Ok(repr));
            prop_assert_eq!(Addr(dst).to_string().parse(), Ok(Addr(dst)));
        }
    }
}
