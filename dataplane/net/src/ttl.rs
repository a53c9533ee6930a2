//! Time to live: what every router takes one from.
//!
//! Read first: RFC 1812 section 5.3.1, RFC 8200 section 3.

use wire::{checksum, ipv4, ipv6};

/// The packet has no hop left: it must not be forwarded, and its source is told (time exceeded).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired;

/// Takes one hop from an IPv4 packet and updates the header checksum. A packet with 0 or 1 left is
/// not changed: the error must quote it as it came.
#[inline]
pub fn decrement4<T: AsRef<[u8]> + AsMut<[u8]>>(
    packet: &mut ipv4::Packet<T>,
) -> Result<(), Expired> {
    let ttl = packet.ttl();
    if ttl <= 1 {
        return Err(Expired);
    }
    packet.set_ttl(ttl - 1);
    // TTL is the high byte of its word; the low byte does not change and cancels out.
    let sum = checksum::adjust(
        packet.checksum(),
        u16::from(ttl) << 8,
        u16::from(ttl - 1) << 8,
    );
    packet.set_checksum(sum);
    Ok(())
}

/// Takes one hop from an IPv6 packet. A packet with 0 or 1 left is not changed.
#[inline]
pub fn decrement6<T: AsRef<[u8]> + AsMut<[u8]>>(
    packet: &mut ipv6::Packet<T>,
) -> Result<(), Expired> {
    let hop_limit = packet.hop_limit();
    if hop_limit <= 1 {
        return Err(Expired);
    }
    packet.set_hop_limit(hop_limit - 1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ttl_keeps_the_checksum_right() {
        for ttl in 0..=255u8 {
            for ident in [0, 1, 0x1234, 0xffff] {
                let mut bytes = [0u8; 20];
                let repr = ipv4::Repr {
                    src: [192, 0, 2, 1].into(),
                    dst: [192, 0, 2, 2].into(),
                    protocol: 17,
                    ttl,
                    tos: 0,
                    ident,
                    dont_fragment: false,
                    more_fragments: false,
                    fragment_offset: 0,
                    payload_len: 0,
                };
                repr.emit(&mut ipv4::Packet::new_unchecked(&mut bytes[..]));
                let mut packet = ipv4::Packet::new_checked(&mut bytes[..]).unwrap();
                let left = decrement4(&mut packet).map(|()| packet.ttl());
                assert_eq!(left, if ttl <= 1 { Err(Expired) } else { Ok(ttl - 1) });
                // The same checksum as a full computation, not only one that verifies.
                let updated = packet.checksum();
                packet.fill_checksum();
                assert_eq!(packet.checksum(), updated, "ttl {ttl} ident {ident}");
            }
        }
    }

    #[test]
    fn hop_limit() {
        let mut bytes = [0u8; 40];
        bytes[0] = 0x60;
        let mut packet = ipv6::Packet::new_checked(&mut bytes[..]).unwrap();
        for (before, after) in [
            (0, Err(Expired)),
            (1, Err(Expired)),
            (2, Ok(1)),
            (255, Ok(254)),
        ] {
            packet.set_hop_limit(before);
            assert_eq!(decrement6(&mut packet).map(|()| packet.hop_limit()), after);
        }
    }
}
