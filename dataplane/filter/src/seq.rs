//! Rewrites the numbers of TCP segments whose connection is modulated or proxied: the sender's sequence number, what
//! it acknowledges, its selective acknowledgements, and the number in the quotation of an ICMP error. Checksums follow
//! by the difference.
//!
//! Read first: RFC 9293 3.1, RFC 2018 3, RFC 1624; pf.conf(5), `modulate state`.

use state::track::tcp::ACK;
use wire::checksum;

/// Option kinds of RFC 9293 3.1 and RFC 2018.
const END: u8 = 0;
const NOP: u8 = 1;
const SACK: u8 = 5;

const SEQ_AT: usize = 4;
const ACK_AT: usize = 8;
const OFFSET_AT: usize = 12;
const FLAGS_AT: usize = 13;
const CHECKSUM_AT: usize = 16;
const HEADER: usize = 20;

/// Where the checksum is, and which one it is to be.
pub(crate) struct Summed<'a> {
    bytes: &'a mut [u8],
    checksum_at: usize,
}

impl<'a> Summed<'a> {
    /// A TCP segment.
    pub(crate) fn tcp(bytes: &'a mut [u8]) -> Self {
        Summed {
            bytes,
            checksum_at: CHECKSUM_AT,
        }
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    }

    /// Replaces the four bytes at `at`, at an even or odd place.
    pub(crate) fn replace(&mut self, at: usize, new: u32) {
        let (Some(old), Some(sum)) = (self.word(at), self.word(self.checksum_at)) else {
            return;
        };
        let mut sum = (sum >> 16) as u16;
        let halves = |n: u32| [(n >> 16) as u16, n as u16];
        for (n, (old, new)) in halves(old).into_iter().zip(halves(new)).enumerate() {
            sum = checksum::adjust_at(sum, at + 2 * n, old, new);
        }
        self.bytes[at..at + 4].copy_from_slice(&new.to_be_bytes());
        self.bytes[self.checksum_at..self.checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    }

    fn add(&mut self, at: usize, diff: u32) {
        if let Some(old) = self.word(at).filter(|_| diff != 0) {
            self.replace(at, old.wrapping_add(diff));
        }
    }
}

/// Shifts a segment, which begins at `l4`: its sequence number by `src_diff` forward; what it acknowledges of the
/// other side by `dst_diff` back. The header has been checked.
pub fn shift(l4: &mut [u8], src_diff: u32, dst_diff: u32) {
    let Some(header_len) = l4.get(OFFSET_AT).map(|b| usize::from(b >> 4) * 4) else {
        return;
    };
    let is_ack = l4.get(FLAGS_AT).is_some_and(|flags| flags & ACK != 0);
    let mut segment = Summed::tcp(l4);
    segment.add(SEQ_AT, src_diff);
    if !is_ack || dst_diff == 0 {
        return;
    }
    let back = dst_diff.wrapping_neg();
    segment.add(ACK_AT, back);
    shift_sack(&mut segment, header_len, back);
}

/// Shifts the edges of selective acknowledgements.
fn shift_sack(segment: &mut Summed<'_>, header_len: usize, diff: u32) {
    let mut at = HEADER;
    while at + 1 < header_len.min(segment.bytes.len()) {
        let (kind, len) = (segment.bytes[at], usize::from(segment.bytes[at + 1]));
        match kind {
            END => return,
            NOP => at += 1,
            _ if len < 2 || at + len > header_len => return,
            kind => {
                // Whole edges only: what is left over in a broken option stays as it is.
                let edges = if kind == SACK { (len - 2) / 4 } else { 0 };
                for edge in 0..edges {
                    segment.add(at + 2 + 4 * edge, diff);
                }
                at += len;
            }
        }
    }
}

/// Shifts the sequence number of a segment quoted in an ICMP error: `message` begins with the ICMP header, the quoted
/// TCP header begins at `tcp_at` in it. The quoted checksum stays: most quotations are too short to have one.
pub fn shift_quoted(message: &mut [u8], tcp_at: usize, diff: u32) {
    let mut message = Summed {
        bytes: message,
        checksum_at: 2,
    };
    message.add(tcp_at + SEQ_AT, diff);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use wire::tcp;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// A segment with these option bytes (a multiple of four), and data of odd length.
    fn segment(flags: u8, options: &[u8]) -> Vec<u8> {
        let mut out = vec![0; HEADER + options.len() + 3];
        let mut packet = tcp::Packet::new_unchecked(&mut out[..]);
        packet.set_seq(0xffff_fff0);
        packet.set_ack(5);
        packet.set_flags(flags);
        packet.set_header_len(HEADER + options.len());
        packet.option_bytes_mut().copy_from_slice(options);
        packet.fill_checksum(A, B);
        out
    }

    fn sack(edges: &[u32]) -> Vec<u8> {
        let mut out = vec![SACK, 2 + 4 * edges.len() as u8];
        out.extend(edges.iter().flat_map(|e| e.to_be_bytes()));
        out
    }

    #[test]
    fn numbers_and_selective_acknowledgements_move_and_checksums_stay_right() {
        for padding in [&[NOP, NOP][..], &[NOP, NOP, NOP]] {
            let mut options = padding.to_vec();
            options.extend(sack(&[10, 20, 0xffff_ffff, 4]));
            options.resize(options.len().next_multiple_of(4), NOP);
            let mut bytes = segment(tcp::ACK, &options);
            shift(&mut bytes, 0x1234_5678, 7);
            let packet = tcp::Packet::new_checked(&bytes[..]).unwrap();
            assert!(packet.verify_checksum(A, B), "{padding:?}");
            assert_eq!(packet.seq(), 0xffff_fff0u32.wrapping_add(0x1234_5678));
            assert_eq!(packet.ack(), 0xffff_fffe);
            let mut expect = padding.to_vec();
            expect.extend(sack(&[3, 13, 0xffff_fff8, 0xffff_fffd]));
            assert_eq!(&packet.option_bytes()[..expect.len()], &expect[..]);
        }
    }

    #[test]
    fn a_segment_without_ack_keeps_its_acknowledgement_number() {
        let mut bytes = segment(tcp::SYN, &[]);
        shift(&mut bytes, 1, 7);
        let packet = tcp::Packet::new_checked(&bytes[..]).unwrap();
        assert!(packet.verify_checksum(A, B));
        assert_eq!((packet.seq(), packet.ack()), (0xffff_fff1, 5));
    }

    #[test]
    fn broken_options_change_nothing_beyond_the_numbers() {
        for options in [[SACK, 1, 0, 0], [SACK, 40, 1, 2], [NOP, NOP, NOP, SACK]] {
            let mut bytes = segment(tcp::ACK, &options);
            shift(&mut bytes, 1, 7);
            assert_eq!(&bytes[HEADER..HEADER + 4], &options);
        }
    }

    #[test]
    fn a_quoted_number_moves_under_the_checksum_of_the_message() {
        let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
        message.extend(segment(tcp::ACK, &[]));
        let sum = wire::checksum::data(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        shift_quoted(&mut message, 8, 99);
        assert_eq!(wire::checksum::data(&message), 0);
        assert_eq!(
            message[12..16],
            0xffff_fff0u32.wrapping_add(99).to_be_bytes()
        );
    }
}
