//! ICMP messages.
//!
//! Read first: RFC 792; RFC 1191 section 4 (next-hop MTU); RFC 1812 section 5.2.7 (codes). When an
//! error may be sent is `net::icmp_error`'s business.

use core::net::Ipv4Addr;

use crate::view::{array, be16};
use crate::{Malformed, checksum};

/// Length of the header in bytes, the type-specific word included.
pub const HEADER_LEN: usize = 8;

/// Message types (IANA "ICMP Parameters").
pub mod kind {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench (RFC 6633: obsolete).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Router advertisement.
    pub const ROUTER_ADVERT: u8 = 9;
    /// Router solicitation.
    pub const ROUTER_SOLICIT: u8 = 10;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAM_PROBLEM: u8 = 12;
    /// Timestamp request.
    pub const TIMESTAMP: u8 = 13;
    /// Timestamp reply.
    pub const TIMESTAMP_REPLY: u8 = 14;
    /// Information request (RFC 6918: obsolete).
    pub const INFO_REQUEST: u8 = 15;
    /// Information reply (RFC 6918: obsolete).
    pub const INFO_REPLY: u8 = 16;
    /// Address mask request (RFC 950).
    pub const MASK_REQUEST: u8 = 17;
    /// Address mask reply (RFC 950).
    pub const MASK_REPLY: u8 = 18;
}

/// Codes of destination unreachable and time exceeded.
pub mod code {
    /// Unreachable: no route to the network.
    pub const NET_UNREACHABLE: u8 = 0;
    /// Unreachable: the host does not answer on its link.
    pub const HOST_UNREACHABLE: u8 = 1;
    /// Unreachable: the host does not speak the protocol.
    pub const PROTO_UNREACHABLE: u8 = 2;
    /// Unreachable: nobody listens on the port.
    pub const PORT_UNREACHABLE: u8 = 3;
    /// Unreachable: fragmentation needed but DF set.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Unreachable: source route failed.
    pub const SOURCE_ROUTE_FAILED: u8 = 5;
    /// Unreachable: network administratively prohibited.
    pub const NET_PROHIBITED: u8 = 9;
    /// Unreachable: host administratively prohibited.
    pub const HOST_PROHIBITED: u8 = 10;
    /// Unreachable: communication administratively prohibited.
    pub const ADMIN_PROHIBITED: u8 = 13;
    /// Time exceeded: TTL ran out in transit.
    pub const TTL_EXCEEDED: u8 = 0;
    /// Time exceeded: reassembly timed out.
    pub const REASSEMBLY_TIMEOUT: u8 = 1;
}

mod field {
    use crate::view::Field;
    pub(super) const TYPE: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: Field = 2..4;
    pub(super) const REST: Field = 4..8;
    pub(super) const ECHO_IDENT: Field = 4..6;
    pub(super) const ECHO_SEQ: Field = 6..8;
    pub(super) const MTU: Field = 6..8;
    pub(super) const POINTER: usize = 4;
}

fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < HEADER_LEN {
        return Err(Malformed::IcmpShort);
    }
    Ok(())
}

view! {
    /// A view of an ICMP message. It ends where the IP packet says; give it exactly those bytes.
    ///
    /// ```text
    ///  0      1      2          4                                               8
    /// | type | code | checksum | echo: ident, seq · 3/4: 0, MTU · 12: pointer  | data or quoted packet …
    /// ```
    Packet, check
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Message type, see [`kind`].
    #[inline]
    pub fn kind(&self) -> u8 {
        self.buffer.as_ref()[field::TYPE]
    }

    /// Code within the type, see [`code`].
    #[inline]
    pub fn code(&self) -> u8 {
        self.buffer.as_ref()[field::CODE]
    }

    /// The checksum as it is in the packet.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.buffer.as_ref(), field::CHECKSUM)
    }

    /// The type-specific word.
    #[inline]
    pub fn rest(&self) -> [u8; 4] {
        array(self.buffer.as_ref(), field::REST)
    }

    /// Identifier; meaningful in echo, timestamp, information and mask messages.
    #[inline]
    pub fn echo_ident(&self) -> u16 {
        be16(self.buffer.as_ref(), field::ECHO_IDENT)
    }

    /// Sequence number; meaningful in echo, timestamp, information and mask messages.
    #[inline]
    pub fn echo_seq(&self) -> u16 {
        be16(self.buffer.as_ref(), field::ECHO_SEQ)
    }

    /// MTU of the next hop in bytes; meaningful in fragmentation needed.
    #[inline]
    pub fn mtu(&self) -> u16 {
        be16(self.buffer.as_ref(), field::MTU)
    }

    /// Offset of the byte in error; meaningful in parameter problem.
    #[inline]
    pub fn pointer(&self) -> u8 {
        self.buffer.as_ref()[field::POINTER]
    }

    /// Whether the message is an error and [`Packet::payload`] therefore a quoted packet.
    #[inline]
    pub fn is_error(&self) -> bool {
        is_error(self.kind())
    }

    /// What follows the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.buffer.as_ref()[HEADER_LEN..]
    }

    /// Whether the checksum is right.
    pub fn verify_checksum(&self) -> bool {
        checksum::data(self.buffer.as_ref()) == 0
    }
}

/// Whether a message type is an error, which quotes a packet and is never answered by an error
/// (RFC 1122 3.2.2).
#[inline]
pub const fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        kind::UNREACHABLE
            | kind::SOURCE_QUENCH
            | kind::REDIRECT
            | kind::TIME_EXCEEDED
            | kind::PARAM_PROBLEM
    )
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets type and code.
    #[inline]
    pub fn set_kind(&mut self, kind: u8, code: u8) {
        let bytes = self.buffer.as_mut();
        bytes[field::TYPE] = kind;
        bytes[field::CODE] = code;
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, sum: u16) {
        self.buffer.as_mut()[field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }

    /// Sets the type-specific word.
    #[inline]
    pub fn set_rest(&mut self, rest: [u8; 4]) {
        self.buffer.as_mut()[field::REST].copy_from_slice(&rest);
    }

    /// Sets the identifier. The checksum is left to the caller.
    #[inline]
    pub fn set_echo_ident(&mut self, ident: u16) {
        self.buffer.as_mut()[field::ECHO_IDENT].copy_from_slice(&ident.to_be_bytes());
    }

    /// What follows the header, for writing.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[HEADER_LEN..]
    }

    /// Computes the checksum over header and payload.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let sum = checksum::data(self.buffer.as_ref());
        self.set_checksum(sum);
    }
}

/// The meaning of an ICMP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repr<'a> {
    /// Echo request.
    EchoRequest {
        /// Identifier.
        ident: u16,
        /// Sequence number.
        seq: u16,
        /// Data to be echoed.
        data: &'a [u8],
    },
    /// Echo reply.
    EchoReply {
        /// Identifier.
        ident: u16,
        /// Sequence number.
        seq: u16,
        /// Data echoed.
        data: &'a [u8],
    },
    /// Destination unreachable.
    Unreachable {
        /// Which kind, see [`code`].
        code: u8,
        /// MTU of the next hop in bytes for fragmentation needed, else 0.
        mtu: u16,
        /// The packet that did not get through, or its beginning.
        quote: &'a [u8],
    },
    /// Redirect.
    Redirect {
        /// For a network (0) or a host (1).
        code: u8,
        /// The better gateway.
        gateway: Ipv4Addr,
        /// The packet that took the detour, or its beginning.
        quote: &'a [u8],
    },
    /// Time exceeded.
    TimeExceeded {
        /// In transit (0) or in reassembly (1).
        code: u8,
        /// The packet that ran out of time, or its beginning.
        quote: &'a [u8],
    },
    /// Parameter problem.
    ParamProblem {
        /// Which kind.
        code: u8,
        /// Offset of the byte in error.
        pointer: u8,
        /// The packet in error, or its beginning.
        quote: &'a [u8],
    },
    /// Anything else, kept as it is.
    Other {
        /// Message type.
        kind: u8,
        /// Code within the type.
        code: u8,
        /// The type-specific word.
        rest: [u8; 4],
        /// What follows the header.
        data: &'a [u8],
    },
}

impl<'a> Repr<'a> {
    /// Reads a message and verifies its checksum.
    pub fn parse<T: AsRef<[u8]> + ?Sized>(packet: &'a Packet<&'a T>) -> Result<Self, Malformed> {
        packet.check()?;
        if !packet.verify_checksum() {
            return Err(Malformed::IcmpChecksum);
        }
        let (code, data) = (packet.code(), packet.payload());
        let (ident, seq) = (packet.echo_ident(), packet.echo_seq());
        Ok(match packet.kind() {
            kind::ECHO_REQUEST if code == 0 => Repr::EchoRequest { ident, seq, data },
            kind::ECHO_REPLY if code == 0 => Repr::EchoReply { ident, seq, data },
            kind::UNREACHABLE => Repr::Unreachable {
                code,
                mtu: packet.mtu(),
                quote: data,
            },
            kind::REDIRECT => Repr::Redirect {
                code,
                gateway: Ipv4Addr::from_octets(packet.rest()),
                quote: data,
            },
            kind::TIME_EXCEEDED => Repr::TimeExceeded { code, quote: data },
            kind::PARAM_PROBLEM => Repr::ParamProblem {
                code,
                pointer: packet.pointer(),
                quote: data,
            },
            kind => Repr::Other {
                kind,
                code,
                rest: packet.rest(),
                data,
            },
        })
    }

    /// Type, code, type-specific word and what follows.
    fn parts(&self) -> (u8, u8, [u8; 4], &'a [u8]) {
        let pair = |a: u16, b: u16| {
            let ([a, b], [c, d]) = (a.to_be_bytes(), b.to_be_bytes());
            [a, b, c, d]
        };
        match *self {
            Repr::EchoRequest { ident, seq, data } => {
                (kind::ECHO_REQUEST, 0, pair(ident, seq), data)
            }
            Repr::EchoReply { ident, seq, data } => (kind::ECHO_REPLY, 0, pair(ident, seq), data),
            Repr::Unreachable { code, mtu, quote } => {
                (kind::UNREACHABLE, code, pair(0, mtu), quote)
            }
            Repr::Redirect {
                code,
                gateway,
                quote,
            } => (kind::REDIRECT, code, gateway.octets(), quote),
            Repr::TimeExceeded { code, quote } => (kind::TIME_EXCEEDED, code, [0; 4], quote),
            Repr::ParamProblem {
                code,
                pointer,
                quote,
            } => (kind::PARAM_PROBLEM, code, [pointer, 0, 0, 0], quote),
            Repr::Other {
                kind,
                code,
                rest,
                data,
            } => (kind, code, rest, data),
        }
    }

    /// Length of the whole message in bytes.
    pub fn buffer_len(&self) -> usize {
        HEADER_LEN + self.parts().3.len()
    }

    /// Writes the whole message with its checksum. The buffer must be exactly
    /// [`Repr::buffer_len`] long: the checksum covers all of it.
    ///
    /// # Panics
    /// When the buffer is shorter than [`Repr::buffer_len`].
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        let (kind, code, rest, data) = self.parts();
        packet.set_kind(kind, code);
        packet.set_rest(rest);
        packet.payload_mut()[..data.len()].copy_from_slice(data);
        packet.fill_checksum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn emitted(repr: &Repr) -> Vec<u8> {
        let mut bytes = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut Packet::new_unchecked(&mut bytes[..]));
        bytes
    }

    #[test]
    fn reads_an_echo_request() {
        let bytes = [8, 0, 0x95, 0xa5, 0x12, 0x34, 0, 1, 0x50, 0x25];
        let packet = Packet::new_checked(&bytes[..]).unwrap();
        let repr = Repr::EchoRequest {
            ident: 0x1234,
            seq: 1,
            data: &[0x50, 0x25],
        };
        assert_eq!(Repr::parse(&packet), Ok(repr));
        assert_eq!(emitted(&repr), bytes);
        assert!(!packet.is_error());
    }

    #[test]
    fn broken_rules_are_named() {
        assert_eq!(Packet::new_checked([0u8; 7]), Err(Malformed::IcmpShort));
        let packet = Packet::new_checked(&[8u8, 0, 0, 0, 0, 0, 0, 0][..]).unwrap();
        assert_eq!(Repr::parse(&packet), Err(Malformed::IcmpChecksum));
    }

    proptest! {
        #[test]
        fn parse_then_emit_is_identity(
            // All types up to the mask reply, codes mostly valid.
            kind in 0u8..20, code in 0u8..3, rest: [u8; 4],
            data in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let bytes = emitted(&Repr::Other { kind, code, rest, data: &data });
            let packet = Packet::new_checked(&bytes[..]).unwrap();
            let repr = Repr::parse(&packet).unwrap();
            prop_assert_eq!(repr.buffer_len(), bytes.len());
            let again = emitted(&repr);
            // Reserved bytes are not kept; all else is.
            let packet = Packet::new_checked(&again[..]).unwrap();
            prop_assert_eq!(Repr::parse(&packet), Ok(repr));
            if matches!(repr, Repr::Other { .. } | Repr::EchoRequest { .. } | Repr::Redirect { .. }) {
                prop_assert_eq!(bytes, again.clone());
            }
        }
    }
}
