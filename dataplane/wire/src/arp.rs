//! ARP for IPv4 over Ethernet.
//!
//! Read first: RFC 826, RFC 5227 (probes and announcements). Other hardware and protocols are
//! refused as [`Malformed::ArpFormat`]. Who answers is `net::neighbor`'s business.

use core::net::Ipv4Addr;

use crate::Malformed;
use crate::ether::Addr;
use crate::view::{array, be16};

/// Length of the packet in bytes.
pub const PACKET_LEN: usize = 28;

/// What an ARP packet asks or says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operation(pub u16);

impl Operation {
    /// "Who has the target address?"
    pub const REQUEST: Operation = Operation(1);
    /// "The sender address is at the sender's hardware address."
    pub const REPLY: Operation = Operation(2);
}

mod field {
    use crate::view::Field;
    pub(super) const HTYPE: Field = 0..2;
    pub(super) const PTYPE: Field = 2..4;
    pub(super) const HLEN: usize = 4;
    pub(super) const PLEN: usize = 5;
    pub(super) const OPERATION: Field = 6..8;
    pub(super) const SENDER_ETHER: Field = 8..14;
    pub(super) const SENDER_IP: Field = 14..18;
    pub(super) const TARGET_ETHER: Field = 18..24;
    pub(super) const TARGET_IP: Field = 24..28;
}

const HTYPE_ETHERNET: u16 = 1;
const PTYPE_IPV4: u16 = 0x0800;

fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < 8 {
        return Err(Malformed::ArpShort);
    }
    let format = (
        be16(bytes, field::HTYPE),
        be16(bytes, field::PTYPE),
        bytes[field::HLEN],
        bytes[field::PLEN],
    );
    if format != (HTYPE_ETHERNET, PTYPE_IPV4, 6, 4) {
        return Err(Malformed::ArpFormat);
    }
    if bytes.len() < PACKET_LEN {
        return Err(Malformed::ArpShort);
    }
    Ok(())
}

view! {
    /// A view of an ARP packet for IPv4 over Ethernet.
    ///
    /// ```text
    ///  0       2          4   5   6           8              14          18             24
    /// | hw 1  | ip 0x800 | 6 | 4 | operation | sender ether | sender ip | target ether | target ip |
    /// ```
    Packet, check
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// What the packet asks or says.
    #[inline]
    pub fn operation(&self) -> Operation {
        Operation(be16(self.buffer.as_ref(), field::OPERATION))
    }

    /// Hardware address of the sender.
    #[inline]
    pub fn sender_ether(&self) -> Addr {
        Addr(array(self.buffer.as_ref(), field::SENDER_ETHER))
    }

    /// Address of the sender; 0.0.0.0 in a probe (RFC 5227 1.1).
    #[inline]
    pub fn sender_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(array(self.buffer.as_ref(), field::SENDER_IP))
    }

    /// Hardware address of the target; meaningless in a request.
    #[inline]
    pub fn target_ether(&self) -> Addr {
        Addr(array(self.buffer.as_ref(), field::TARGET_ETHER))
    }

    /// Address that is asked for, or to whom the reply goes.
    #[inline]
    pub fn target_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(array(self.buffer.as_ref(), field::TARGET_IP))
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes hardware type, protocol type and their address lengths.
    #[inline]
    pub fn set_format(&mut self) {
        let bytes = self.buffer.as_mut();
        bytes[field::HTYPE].copy_from_slice(&HTYPE_ETHERNET.to_be_bytes());
        bytes[field::PTYPE].copy_from_slice(&PTYPE_IPV4.to_be_bytes());
        bytes[field::HLEN] = 6;
        bytes[field::PLEN] = 4;
    }

    /// Sets what the packet asks or says.
    #[inline]
    pub fn set_operation(&mut self, operation: Operation) {
        self.buffer.as_mut()[field::OPERATION].copy_from_slice(&operation.0.to_be_bytes());
    }

    /// Sets hardware and protocol address of the sender.
    #[inline]
    pub fn set_sender(&mut self, ether: Addr, ip: Ipv4Addr) {
        let bytes = self.buffer.as_mut();
        bytes[field::SENDER_ETHER].copy_from_slice(&ether.0);
        bytes[field::SENDER_IP].copy_from_slice(&ip.octets());
    }

    /// Sets hardware and protocol address of the target.
    #[inline]
    pub fn set_target(&mut self, ether: Addr, ip: Ipv4Addr) {
        let bytes = self.buffer.as_mut();
        bytes[field::TARGET_ETHER].copy_from_slice(&ether.0);
        bytes[field::TARGET_IP].copy_from_slice(&ip.octets());
    }
}

/// The meaning of an ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// What the packet asks or says.
    pub operation: Operation,
    /// Hardware address of the sender.
    pub sender_ether: Addr,
    /// Address of the sender.
    pub sender_ip: Ipv4Addr,
    /// Hardware address of the target.
    pub target_ether: Addr,
    /// Address of the target.
    pub target_ip: Ipv4Addr,
}

impl Repr {
    /// Reads a packet.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Repr, Malformed> {
        packet.check()?;
        Ok(Repr {
            operation: packet.operation(),
            sender_ether: packet.sender_ether(),
            sender_ip: packet.sender_ip(),
            target_ether: packet.target_ether(),
            target_ip: packet.target_ip(),
        })
    }

    /// Length of the packet in bytes.
    pub const fn buffer_len(&self) -> usize {
        PACKET_LEN
    }

    /// Writes the packet.
    ///
    /// # Panics
    /// When the buffer is shorter than [`Repr::buffer_len`].
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        packet.set_format();
        packet.set_operation(self.operation);
        packet.set_sender(self.sender_ether, self.sender_ip);
        packet.set_target(self.target_ether, self.target_ip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> [u8; PACKET_LEN] {
        [
            0, 1, 8, 0, 6, 4, 0, 1, // format, request
            0x52, 0x54, 0, 0, 0, 1, 192, 0, 2, 1, // sender
            0, 0, 0, 0, 0, 0, 192, 0, 2, 2, // target
        ]
    }

    #[test]
    fn reads_a_request() {
        let repr = Repr::parse(&Packet::new_checked(request()).unwrap()).unwrap();
        assert_eq!(
            repr,
            Repr {
                operation: Operation::REQUEST,
                sender_ether: Addr([0x52, 0x54, 0, 0, 0, 1]),
                sender_ip: Ipv4Addr::new(192, 0, 2, 1),
                target_ether: Addr::ZERO,
                target_ip: Ipv4Addr::new(192, 0, 2, 2),
            }
        );
    }

    #[test]
    fn broken_rules_are_named() {
        let cut = |len: usize| Packet::new_checked(request()[..len].to_vec()).map(|_| ());
        assert_eq!(cut(7), Err(Malformed::ArpShort));
        assert_eq!(cut(27), Err(Malformed::ArpShort));
        for at in [0, 1, 2, 3, 4, 5] {
            let mut bytes = request();
            bytes[at] ^= 0x10;
            assert_eq!(
                Packet::new_checked(bytes).map(|_| ()),
                Err(Malformed::ArpFormat),
                "byte {at}"
            );
        }
    }

    proptest! {
        #[test]
        fn emit_then_parse_is_identity(op: u16, a: [u8; 6], b: u32, c: [u8; 6], d: u32) {
            let repr = Repr {
                operation: Operation(op),
                sender_ether: Addr(a),
                sender_ip: b.into(),
                target_ether: Addr(c),
                target_ip: d.into(),
            };
            let mut bytes = [0u8; PACKET_LEN];
            repr.emit(&mut Packet::new_unchecked(&mut bytes[..]));
            prop_assert_eq!(Repr::parse(&Packet::new_checked(&bytes[..]).unwrap()), Ok(repr));
        }
    }
}
