//! Slow protocols: the link aggregation control protocol and its marker protocol.
//!
//! Read first: IEEE 802.1AX-2014 6.4.2 (LACPDU), 6.5.3 (marker), annex A (slow protocols). What is read begins *after* the
//! Ethernet header. Knows the bytes; what they bring about is `net::lacp`'s.

use crate::Malformed;
use crate::ether::Addr;
use crate::view::{array, be16};

/// Group address that slow protocols are sent to; bridges do not forward it.
pub const GROUP: Addr = Addr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x02]);

/// Length in bytes of a LACPDU and of a marker, without the Ethernet header (type [`crate::ether::EtherType::SLOW`]).
pub const PDU_LEN: usize = 110;

const LACP: u8 = 1;
const MARKER: u8 = 2;
const MARKER_REQUEST: u8 = 1;
const MARKER_ANSWER: u8 = 2;
/// Bytes of a marker's information that matter: type, length, port, system, transaction.
const MARKER_LEN: u8 = 16;
const INFO_LEN: u8 = 20;
const COLLECTOR_LEN: u8 = 16;

bitflags::bitflags! {
    /// What a port says of its state (802.1AX 6.4.2.3).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct PortState: u8 {
        /// Speaks without being spoken to.
        const ACTIVITY = 0x01;
        /// Wants to hear every second rather than every 30.
        const SHORT_TIMEOUT = 0x02;
        /// May be aggregated with others.
        const AGGREGATION = 0x04;
        /// Is in the aggregation that it should be in.
        const SYNCHRONIZATION = 0x08;
        /// Takes frames.
        const COLLECTING = 0x10;
        /// Sends frames.
        const DISTRIBUTING = 0x20;
        /// What it believes of its partner was configured, not heard.
        const DEFAULTED = 0x40;
        /// Has not heard its partner in time.
        const EXPIRED = 0x80;
    }
}

/// One end of a link as a LACPDU describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Info {
    /// Priority of the system; lower is better.
    pub system_priority: u16,
    /// The system.
    pub system: Addr,
    /// Ports of a system with one key may be aggregated.
    pub key: u16,
    /// Priority of the port; lower is better.
    pub port_priority: u16,
    /// Number of the port within the system, not 0.
    pub port: u16,
    /// Its state.
    pub state: PortState,
}

/// A link aggregation control PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Lacpdu {
    /// Who speaks.
    pub actor: Info,
    /// Whom it believes to speak to.
    pub partner: Info,
    /// Longest time in units of 10 µs that the speaker keeps a frame it has received.
    pub collector_max_delay: u16,
}

/// What a slow-protocol frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    /// A LACPDU.
    Lacp(Lacpdu),
    /// A marker that wants its answer.
    Marker,
    /// The answer to a marker; we send none, so nobody waits for it.
    MarkerAnswer,
}

impl Slow {
    /// Reads what follows the Ethernet header.
    pub fn parse(bytes: &[u8]) -> Result<Slow, Malformed> {
        let pdu: &[u8; PDU_LEN] = bytes.first_chunk().ok_or(Malformed::SlowShort)?;
        match (pdu[0], pdu[2], pdu[3]) {
            // Later versions must be read as version 1 (6.4.2.3).
            (LACP, 1, INFO_LEN) if pdu[22..24] == [2, INFO_LEN] => Ok(Slow::Lacp(Lacpdu {
                actor: Info::read(&pdu[4..22]),
                partner: Info::read(&pdu[24..42]),
                collector_max_delay: be16(pdu, 44..46),
            })),
            (MARKER, MARKER_REQUEST, MARKER_LEN) => Ok(Slow::Marker),
            (MARKER, MARKER_ANSWER, MARKER_LEN) => Ok(Slow::MarkerAnswer),
            _ => Err(Malformed::SlowFormat),
        }
    }
}

impl Lacpdu {
    /// The bytes after the Ethernet header.
    pub fn bytes(&self) -> [u8; PDU_LEN] {
        let mut pdu = [0; PDU_LEN];
        pdu[..4].copy_from_slice(&[LACP, 1, 1, INFO_LEN]);
        self.actor.write(&mut pdu[4..22]);
        pdu[22..24].copy_from_slice(&[2, INFO_LEN]);
        self.partner.write(&mut pdu[24..42]);
        pdu[42..44].copy_from_slice(&[3, COLLECTOR_LEN]);
        pdu[44..46].copy_from_slice(&self.collector_max_delay.to_be_bytes());
        pdu
    }
}

/// Makes the answer to a marker of the marker itself (802.1AX 6.5.4.2): the type changes and nothing else.
pub fn answer_marker(pdu: &mut [u8]) {
    if let Some(kind) = pdu.get_mut(2) {
        *kind = MARKER_ANSWER;
    }
}

impl Info {
    fn read(bytes: &[u8]) -> Info {
        Info {
            system_priority: be16(bytes, 0..2),
            system: Addr(array(bytes, 2..8)),
            key: be16(bytes, 8..10),
            port_priority: be16(bytes, 10..12),
            port: be16(bytes, 12..14),
            state: PortState::from_bits_retain(bytes[14]),
        }
    }

    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.system_priority.to_be_bytes());
        bytes[2..8].copy_from_slice(&self.system.0);
        bytes[8..10].copy_from_slice(&self.key.to_be_bytes());
        bytes[10..12].copy_from_slice(&self.port_priority.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.port.to_be_bytes());
        bytes[14] = self.state.bits();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Lacpdu {
        let actor = Info {
            system_priority: 0x8000,
            system: Addr([2, 0, 0, 0, 0, 1]),
            key: 7,
            port_priority: 0x80,
            port: 3,
            state: PortState::ACTIVITY | PortState::AGGREGATION,
        };
        Lacpdu {
            actor,
            partner: Info { port: 9, ..actor },
            collector_max_delay: 5,
        }
    }

    #[test]
    fn a_pdu_is_laid_out_as_the_standard_says() {
        let pdu = sample().bytes();
        assert_eq!(
            pdu[..22],
            [
                1, 1, 1, 20, 0x80, 0, 2, 0, 0, 0, 0, 1, 0, 7, 0, 0x80, 0, 3, 5, 0, 0, 0
            ]
        );
        assert_eq!(pdu[22..24], [2, 20]);
        assert_eq!(pdu[36..39], [0, 9, 5]);
        assert_eq!(pdu[42..46], [3, 16, 0, 5]);
        assert!(pdu[46..].iter().all(|b| *b == 0));
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(Slow::parse(&sample().bytes()), Ok(Slow::Lacp(sample())));
    }

    #[test]
    fn a_later_version_is_read_like_the_first() {
        let mut pdu = sample().bytes();
        pdu[1] = 2;
        assert_eq!(Slow::parse(&pdu), Ok(Slow::Lacp(sample())));
    }

    #[test]
    fn broken_pdus_are_told_apart() {
        let good = sample().bytes();
        assert_eq!(Slow::parse(&good[..109]), Err(Malformed::SlowShort));
        for (at, byte) in [(0, 0), (0, 10), (2, 2), (3, 19), (22, 1), (23, 21)] {
            let mut bad = good;
            bad[at] = byte;
            assert_eq!(Slow::parse(&bad), Err(Malformed::SlowFormat), "byte {at}");
        }
    }

    #[test]
    fn a_marker_becomes_its_answer() {
        let mut marker = [0; PDU_LEN];
        marker[..4].copy_from_slice(&[2, 1, 1, 16]);
        assert_eq!(Slow::parse(&marker), Ok(Slow::Marker));
        answer_marker(&mut marker);
        assert_eq!(Slow::parse(&marker), Ok(Slow::MarkerAnswer));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..130)) {
            Slow::parse(&bytes).ok();
        }
    }
}
