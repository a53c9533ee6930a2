//! SYN cookies: while most of the pool is half-open, a SYN is answered from nothing but a keyed hash, and a connection
//! takes a place only when its third segment proves that the peer is where it says. smoltcp knows nothing of it: when a
//! proof comes, it is shown a SYN made up from the proof, and from then on the sequence numbers of the two sides differ
//! by a constant that is added and taken off here, as PF's `synproxy state` does.
//!
//! A cookie, in the initial sequence number: 5 bits of time (64 s each), 3 bits of segment size, 24 bits of hash.
//! Window scaling and selective acknowledgments are lost, which costs speed under attack and nothing else.
//!
//! Read first: RFC 4987 section 3.6.

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, IpRepr, Ipv4Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

use crate::peek::Peek;

/// A cookie is good in the period it was made in and in the next one.
const PERIOD: Duration = Duration::from_secs(64);
/// Segment sizes a cookie can remember; the largest not above the peer's is used.
const SEGMENT_SIZES: [u16; 8] = [216, 536, 1024, 1220, 1360, 1400, 1440, 1460];

/// Both ends of a connection, ours last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Ends {
    pub(crate) remote: (IpAddr, u16),
    pub(crate) local: (IpAddr, u16),
}

/// What a SYN or a proof says, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Opening {
    pub(crate) ends: Ends,
    /// The peer's initial sequence number.
    pub(crate) peer_isn: u32,
    pub(crate) segment_size: u16,
}

/// Makes and checks cookies.
pub(crate) struct Cookies {
    secret: u64,
    /// When the last one was made: before the first and long after the last, no hash is computed for stray segments.
    last_made: Option<Duration>,
}

impl Cookies {
    pub(crate) fn new(secret: u64) -> Self {
        Cookies {
            secret,
            last_made: None,
        }
    }

    /// Our initial sequence number for a SYN.
    pub(crate) fn make(&mut self, opening: &Opening, now: Duration) -> u32 {
        self.last_made = Some(now);
        let size = SEGMENT_SIZES
            .iter()
            .rposition(|s| *s <= opening.segment_size)
            .unwrap_or(0);
        self.cookie(&opening.ends, opening.peer_isn, period(now), size as u32)
    }

    /// What the SYN must have said, if `ack` minus one is a cookie of ours for this peer and not too old.
    pub(crate) fn check(&self, ends: Ends, seq: u32, ack: u32, now: Duration) -> Option<Opening> {
        let made = self.last_made?;
        if now.saturating_sub(made) > 2 * PERIOD {
            return None;
        }
        let (cookie, peer_isn) = (ack.wrapping_sub(1), seq.wrapping_sub(1));
        let size = cookie >> 24 & 7;
        let current = period(now);
        let fresh = [current, current.wrapping_sub(1)];
        let good = fresh
            .iter()
            .any(|p| self.cookie(&ends, peer_isn, *p, size) == cookie);
        good.then_some(Opening {
            ends,
            peer_isn,
            segment_size: SEGMENT_SIZES[size as usize],
        })
    }

    fn cookie(&self, ends: &Ends, peer_isn: u32, period: u32, size: u32) -> u32 {
        let mut hash = Sha256::new();
        hash.update(self.secret.to_be_bytes());
        for (addr, port) in [ends.remote, ends.local] {
            match addr {
                IpAddr::V4(a) => hash.update(a.octets()),
                IpAddr::V6(a) => hash.update(a.octets()),
            }
            hash.update(port.to_be_bytes());
        }
        hash.update(peer_isn.to_be_bytes());
        hash.update(period.to_be_bytes());
        hash.update([size as u8]);
        let digest = hash.finalize();
        let low = u32::from_be_bytes([0, digest[0], digest[1], digest[2]]);
        (period & 31) << 27 | size << 24 | low
    }
}

fn period(now: Duration) -> u32 {
    (now.as_secs() / PERIOD.as_secs()) as u32
}

/// The ends of a TCP packet that comes in.
pub(crate) fn ends_of(seen: &Peek<'_>) -> Option<Ends> {
    let tcp = seen.tcp()?;
    Some(Ends {
        remote: (seen.src, tcp.src_port()),
        local: (seen.dst, tcp.dst_port()),
    })
}

/// What a SYN says; `None` if its checksum or options are wrong.
pub(crate) fn opening_of(seen: &Peek<'_>) -> Option<Opening> {
    let repr = parse(seen)?;
    Some(Opening {
        ends: ends_of(seen)?,
        peer_isn: repr.seq_number.0 as u32,
        // RFC 9293 section 3.7.1: 536 for a peer that names none.
        segment_size: repr.max_seg_size.unwrap_or(536),
    })
}

/// Sequence and acknowledgment number of a segment that may be a proof.
pub(crate) fn proof_of(seen: &Peek<'_>) -> Option<(u32, u32)> {
    let repr = parse(seen)?;
    if matches!(repr.control, TcpControl::Syn | TcpControl::Rst) {
        return None;
    }
    Some((repr.seq_number.0 as u32, repr.ack_number?.0 as u32))
}

fn parse<'a>(seen: &Peek<'a>) -> Option<TcpRepr<'a>> {
    let tcp = TcpPacket::new_checked(seen.payload).ok()?;
    let caps = ChecksumCapabilities::default();
    TcpRepr::parse(&tcp, &seen.src.into(), &seen.dst.into(), &caps).ok()
}

/// The answer to a SYN, from us.
pub(crate) fn syn_ack(opening: &Opening, cookie: u32, window: u16, mtu: usize) -> Vec<u8> {
    let Ends { remote, local } = opening.ends;
    let headers = if local.0.is_ipv4() { 40 } else { 60 };
    let repr = TcpRepr {
        ack_number: Some(TcpSeqNumber(opening.peer_isn.wrapping_add(1) as i32)),
        window_len: window,
        max_seg_size: Some(mtu.saturating_sub(headers).min(usize::from(u16::MAX)) as u16),
        ..bare(local.1, remote.1, cookie)
    };
    emit(local.0, remote.0, &repr)
}

/// The SYN the peer must have sent, for smoltcp.
pub(crate) fn syn(opening: &Opening) -> Vec<u8> {
    let Ends { remote, local } = opening.ends;
    let repr = TcpRepr {
        window_len: opening.segment_size,
        max_seg_size: Some(opening.segment_size),
        ..bare(remote.1, local.1, opening.peer_isn)
    };
    emit(remote.0, local.0, &repr)
}

fn bare(src_port: u16, dst_port: u16, seq: u32) -> TcpRepr<'static> {
    TcpRepr {
        src_port,
        dst_port,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(seq as i32),
        ack_number: None,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: b"",
    }
}

fn emit(src: IpAddr, dst: IpAddr, repr: &TcpRepr<'_>) -> Vec<u8> {
    let caps = ChecksumCapabilities::default();
    let (src, dst): (IpAddress, IpAddress) = (src.into(), dst.into());
    let ip = IpRepr::new(src, dst, IpProtocol::Tcp, repr.buffer_len(), 64);
    let mut packet = vec![0; ip.buffer_len()];
    ip.emit(&mut packet[..], &caps);
    repr.emit(
        &mut TcpPacket::new_unchecked(&mut packet[ip.header_len()..]),
        &src,
        &dst,
        &caps,
    );
    packet
}

/// Which number of a segment is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Move {
    /// The acknowledgment of a segment that comes in.
    Ack,
    /// The sequence number of a segment that goes out.
    Seq,
}

/// Adds `by` to a sequence or acknowledgment number of a whole IP packet and corrects the checksum.
pub(crate) fn renumber(packet: &mut [u8], ends: (IpAddr, IpAddr), which: Move, by: u32) {
    let header = match ends.0 {
        IpAddr::V4(_) => usize::from(Ipv4Packet::new_unchecked(&packet[..]).header_len()),
        IpAddr::V6(_) => 40,
    };
    let Ok(mut tcp) = TcpPacket::new_checked(&mut packet[header..]) else {
        return;
    };
    let by = by as i32;
    match which {
        Move::Ack if tcp.ack() => {
            let n = tcp.ack_number().0.wrapping_add(by);
            tcp.set_ack_number(TcpSeqNumber(n));
        }
        Move::Seq => {
            let n = tcp.seq_number().0.wrapping_add(by);
            tcp.set_seq_number(TcpSeqNumber(n));
        }
        Move::Ack => return,
    }
    tcp.fill_checksum(&ends.0.into(), &ends.1.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peek::peek;

    fn opening(last: u8) -> Opening {
        Opening {
            ends: Ends {
                remote: (IpAddr::from([192, 0, 2, last]), 40_000),
                local: (IpAddr::from([192, 0, 2, 1]), 80),
            },
            peer_isn: 0xffff_ffff,
            segment_size: 1460,
        }
    }

    #[test]
    fn a_cookie_is_good_for_its_peer_and_for_one_or_two_minutes() {
        let mut cookies = Cookies::new(42);
        let now = PERIOD * 100;
        let o = opening(7);
        let ack = cookies.make(&o, now).wrapping_add(1);
        let check = |c: &Cookies, ends, seq, ack, at| c.check(ends, seq, ack, at);
        assert_eq!(check(&cookies, o.ends, 0, ack, now), Some(o));
        assert_eq!(check(&cookies, o.ends, 0, ack, now + PERIOD), Some(o));
        assert_eq!(
            check(&cookies, o.ends, 0, ack, now + 2 * PERIOD),
            None,
            "old"
        );
        assert_eq!(
            check(&cookies, opening(8).ends, 0, ack, now),
            None,
            "another peer"
        );
        assert_eq!(check(&cookies, o.ends, 1, ack, now), None, "another SYN");
        assert_eq!(
            check(&cookies, o.ends, 0, ack.wrapping_add(1), now),
            None,
            "another cookie"
        );
        assert_eq!(
            check(&Cookies::new(43), o.ends, 0, ack, now),
            None,
            "another secret"
        );
    }

    #[test]
    fn the_segment_size_is_remembered_rounded_down() {
        let mut cookies = Cookies::new(1);
        for (says, kept) in [
            (0, 216),
            (536, 536),
            (1459, 1440),
            (1460, 1460),
            (9000, 1460),
        ] {
            let o = Opening {
                segment_size: says,
                ..opening(1)
            };
            let ack = cookies.make(&o, PERIOD).wrapping_add(1);
            let back = cookies
                .check(o.ends, 0, ack, PERIOD)
                .map(|o| o.segment_size);
            assert_eq!(back, Some(kept), "{says}");
        }
    }

    #[test]
    fn packets_made_here_are_sound_and_say_what_they_should() {
        let o = opening(9);
        let packet = syn(&o);
        let seen = peek(&packet).expect("a packet");
        assert_eq!(opening_of(&seen), Some(o));
        let answer = syn_ack(&o, 5, 1000, 1500);
        let seen = peek(&answer).expect("a packet");
        let repr = parse(&seen).expect("a good checksum");
        assert_eq!(
            (
                repr.seq_number.0,
                repr.ack_number.map(|n| n.0),
                repr.max_seg_size
            ),
            (5, Some(0), Some(1460))
        );
    }

    #[test]
    fn renumbering_keeps_the_checksum_right() {
        let o = opening(9);
        let mut packet = syn_ack(&o, u32::MAX, 1000, 1500);
        let ends = (o.ends.local.0, o.ends.remote.0);
        renumber(&mut packet, ends, Move::Seq, 3);
        renumber(&mut packet, ends, Move::Ack, 10);
        let repr = parse(&peek(&packet).expect("a packet")).expect("a good checksum");
        assert_eq!(
            (repr.seq_number.0, repr.ack_number.map(|n| n.0)),
            (2, Some(10))
        );
    }
}
