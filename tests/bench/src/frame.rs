//! The frames of the generator: IPv4 and IPv6, UDP and TCP, of the smallest size, with or without a tag.

use std::net::{Ipv4Addr, Ipv6Addr};

/// TCP flags.
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

/// Smallest Ethernet frame, without frame check sequence.
const FRAME_MIN: usize = 60;
/// Payload of a UDP packet over IPv4 that fills the smallest frame.
const UDP_PAYLOAD: usize = 18;
const UDP: u8 = 17;
const TCP: u8 = 6;

/// Who sends a frame to whom on the link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) dst: [u8; 6],
    pub(crate) src: [u8; 6],
    /// VLAN, if there is a tag.
    pub(crate) vid: Option<u16>,
}

impl Link {
    /// Writes the Ethernet header; says how long it is.
    pub(crate) fn write(&self, ethertype: u16, room: &mut [u8]) -> usize {
        room[..6].copy_from_slice(&self.dst);
        room[6..12].copy_from_slice(&self.src);
        let mut at = 12;
        if let Some(vid) = self.vid {
            room[12..16].copy_from_slice(&[0x81, 0, (vid >> 8) as u8, vid as u8]);
            at = 16;
        }
        room[at..at + 2].copy_from_slice(&ethertype.to_be_bytes());
        at + 2
    }
}

/// Flags, sequence and acknowledgement of a TCP segment without data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment(pub(crate) u8, pub(crate) u32, pub(crate) u32);

/// An IP packet of the smallest size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) v6: bool,
    /// In the low 32 bits for IPv4.
    pub(crate) src: u128,
    pub(crate) dst: u128,
    pub(crate) ports: (u16, u16),
    /// None for UDP.
    pub(crate) tcp: Option<Segment>,
}

impl Packet {
    /// An answer from the other end.
    pub(crate) fn reversed(self) -> Packet {
        Packet {
            src: self.dst,
            dst: self.src,
            ports: (self.ports.1, self.ports.0),
            ..self
        }
    }

    /// Writes the whole frame; says how long it is.
    pub(crate) fn write(&self, link: &Link, room: &mut [u8]) -> usize {
        let ethertype = if self.v6 { 0x86dd } else { 0x0800 };
        let at = link.write(ethertype, room);
        let tcp = self.tcp.is_some();
        let payload = match (tcp, self.v6) {
            (true, _) => 20,
            (false, true) => 8,
            (false, false) => 8 + UDP_PAYLOAD,
        };
        let protocol = if tcp { TCP } else { UDP };
        let header = match self.v6 {
            true => self.write_ipv6(protocol, payload, &mut room[at..]),
            false => self.write_ipv4(protocol, payload, &mut room[at..]),
        };
        self.write_transport(payload, &mut room[at + header..]);
        (at + header + payload).max(FRAME_MIN)
    }

    fn write_ipv4(&self, protocol: u8, payload: usize, room: &mut [u8]) -> usize {
        let len = (20 + payload) as u16;
        room[..4].copy_from_slice(&[0x45, 0, (len >> 8) as u8, len as u8]);
        room[4..12].copy_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
        let octets = |addr: u128| Ipv4Addr::from_bits(addr as u32).octets();
        room[12..16].copy_from_slice(&octets(self.src));
        room[16..20].copy_from_slice(&octets(self.dst));
        let sum = wire::checksum::data(&room[..20]);
        room[10..12].copy_from_slice(&sum.to_be_bytes());
        20
    }

    fn write_ipv6(&self, protocol: u8, payload: usize, room: &mut [u8]) -> usize {
        room[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, payload as u8, protocol, 64]);
        room[8..24].copy_from_slice(&Ipv6Addr::from_bits(self.src).octets());
        room[24..40].copy_from_slice(&Ipv6Addr::from_bits(self.dst).octets());
        40
    }

    /// The card has found the checksum good, and nobody here looks whether it is.
    fn write_transport(&self, len: usize, room: &mut [u8]) {
        room[..2].copy_from_slice(&self.ports.0.to_be_bytes());
        room[2..4].copy_from_slice(&self.ports.1.to_be_bytes());
        match self.tcp {
            None => room[4..8].copy_from_slice(&[0, len as u8, 0x12, 0x34]),
            Some(Segment(flags, seq, ack)) => {
                room[4..8].copy_from_slice(&seq.to_be_bytes());
                room[8..12].copy_from_slice(&ack.to_be_bytes());
                room[12..20].copy_from_slice(&[0x50, flags, 0xff, 0xff, 0x12, 0x34, 0, 0]);
            }
        }
    }
}
