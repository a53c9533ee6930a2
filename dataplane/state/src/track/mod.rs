//! What packets do to a state: one tracker per kind of protocol. Pure functions over the two peers.

pub mod stamps;
pub mod tcp;

use ruleset::Timeout;

use crate::record::Peer;

/// What a tracker needs to know of a TCP segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window as in the header.
    pub window: u16,
    /// Flags.
    pub flags: u8,
    /// Window scale option, only looked for on SYN segments.
    pub wscale: Option<u8>,
    /// Payload bytes.
    pub payload: u32,
}

/// What the TCP tracker says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpVerdict {
    /// In window: pass.
    Pass,
    /// In the looser window that applies before a handshake was seen and after both sides closed: pass, but the
    /// packet does not keep the state alive.
    PassLoose,
    /// Out of window: drop with reason state-mismatch.
    BadState,
    /// As `BadState`, during the handshake: also send a reset to the sender, so that it starts afresh.
    BadStateReset,
    /// A new SYN for a connection that has ended: forget this state and evaluate the rules.
    Reuse,
    /// A SYN for a connection that is established: drop it, and acknowledge in the name of the other side, so that
    /// an honest sender answers with a reset (RFC 5961 4.2).
    Challenge,
}

/// Nothing heard from this side.
pub const TRAFFIC_NONE: u8 = 0;
/// This side has sent.
pub const TRAFFIC_SINGLE: u8 = 1;
/// This side has sent after hearing the other.
pub const TRAFFIC_MULTIPLE: u8 = 2;

/// UDP and other protocols: who has sent, and which of the two timeouts applies.
pub fn traffic(src: &mut Peer, dst: &mut Peer, single: Timeout, multiple: Timeout) -> Timeout {
    if src.state < TRAFFIC_SINGLE {
        src.state = TRAFFIC_SINGLE;
    }
    if dst.state == TRAFFIC_SINGLE {
        dst.state = TRAFFIC_MULTIPLE;
    }
    if src.state == TRAFFIC_MULTIPLE && dst.state == TRAFFIC_MULTIPLE {
        multiple
    } else {
        single
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_udp_flow_is_multiple_once_each_side_has_sent_after_hearing_the_other() {
        let mut p = [
            Peer {
                state: TRAFFIC_SINGLE,
                ..Peer::default()
            },
            Peer::default(),
        ];
        // (sender, timeout afterwards)
        for (n, (from, timeout)) in [
            (0, Timeout::UdpSingle),
            (1, Timeout::UdpSingle),
            (0, Timeout::UdpMultiple),
            (1, Timeout::UdpMultiple),
        ]
        .into_iter()
        .enumerate()
        {
            let [a, b] = &mut p;
            let (src, dst) = if from == 0 { (a, b) } else { (b, a) };
            assert_eq!(
                traffic(src, dst, Timeout::UdpSingle, Timeout::UdpMultiple),
                timeout,
                "packet {n}"
            );
        }
    }
}
