//! 802.1Q VLAN tags.
//!
//! Read first: IEEE 802.1Q clause 9. The view begins *after* the type field of the Ethernet header
//! that announced the tag. May not know which interfaces exist.

use crate::Malformed;
use crate::ether::EtherType;
use crate::view::be16;

/// Length in bytes of what a tag adds to the frame.
pub const HEADER_LEN: usize = 4;

mod field {
    use crate::view::Field;
    pub(super) const TCI: Field = 0..2;
    pub(super) const TYPE: Field = 2..4;
}

fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < HEADER_LEN {
        return Err(Malformed::VlanShort);
    }
    Ok(())
}

view! {
    /// A view of tag control information, inner type, and payload.
    ///
    /// ```text
    ///  0                      2             4
    /// | PCP 3 | DEI 1 | VID 12 | inner type | payload …
    /// ```
    Packet, check
}

impl<T: AsRef<[u8]>> Packet<T> {
    fn tci(&self) -> u16 {
        be16(self.buffer.as_ref(), field::TCI)
    }

    /// VLAN identifier, 0 to 4095; 0 means "priority only".
    #[inline]
    pub fn vlan_id(&self) -> u16 {
        self.tci() & 0x0fff
    }

    /// Priority code point, 0 to 7.
    #[inline]
    pub fn priority(&self) -> u8 {
        (self.tci() >> 13) as u8
    }

    /// Drop eligible indicator.
    #[inline]
    pub fn drop_eligible(&self) -> bool {
        self.tci() & 0x1000 != 0
    }

    /// Type of what the tag carries.
    #[inline]
    pub fn ethertype(&self) -> EtherType {
        EtherType(be16(self.buffer.as_ref(), field::TYPE))
    }

    /// What follows the tag.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets identifier (0 to 4095), priority (0 to 7) and drop eligibility; higher bits are cut.
    #[inline]
    pub fn set_tag(&mut self, vlan_id: u16, priority: u8, drop_eligible: bool) {
        let tci = vlan_id & 0x0fff | u16::from(drop_eligible) << 12 | u16::from(priority) << 13;
        self.buffer.as_mut()[field::TCI].copy_from_slice(&tci.to_be_bytes());
    }

    /// Sets the type of what the tag carries.
    #[inline]
    pub fn set_ethertype(&mut self, ethertype: EtherType) {
        self.buffer.as_mut()[field::TYPE].copy_from_slice(&ethertype.0.to_be_bytes());
    }

    /// What follows the tag, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN..]
    }
}

/// The meaning of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// VLAN identifier, 0 to 4095.
    pub vlan_id: u16,
    /// Priority code point, 0 to 7.
    pub priority: u8,
    /// Drop eligible indicator.
    pub drop_eligible: bool,
    /// Type of what the tag carries.
    pub ethertype: EtherType,
}

impl Repr {
    /// Reads a tag.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Repr, Malformed> {
        packet.check()?;
        Ok(Repr {
            vlan_id: packet.vlan_id(),
            priority: packet.priority(),
            drop_eligible: packet.drop_eligible(),
            ethertype: packet.ethertype(),
        })
    }

    /// Length of the tag in bytes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the tag.
    ///
    /// # Panics
    /// When the buffer is shorter than [`Repr::buffer_len`].
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        packet.set_tag(self.vlan_id, self.priority, self.drop_eligible);
        packet.set_ethertype(self.ethertype);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_tag() {
        let packet = Packet::new_checked([0xb0, 0x2a, 0x08, 0x00, 0x45]).unwrap();
        assert_eq!(packet.vlan_id(), 42);
        assert_eq!(packet.priority(), 5);
        assert!(packet.drop_eligible());
        assert_eq!(packet.ethertype(), EtherType::IPV4);
        assert_eq!(packet.payload(), [0x45]);
        assert_eq!(Packet::new_checked([0u8; 3]), Err(Malformed::VlanShort));
    }

    proptest! {
        #[test]
        fn emit_then_parse_is_identity(
            vlan_id in 0u16..4096, priority in 0u8..8, drop_eligible: bool, ethertype: u16,
        ) {
            let repr = Repr { vlan_id, priority, drop_eligible, ethertype: EtherType(ethertype) };
            let mut bytes = [0u8; HEADER_LEN];
            repr.emit(&mut Packet::new_unchecked(&mut bytes[..]));
            prop_assert_eq!(Repr::parse(&Packet::new_checked(&bytes[..]).unwrap()), Ok(repr));
        }
    }
}
