//! Segments that the filter wants made: the worker makes and sends them after the packet at hand.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use net::segment::Segment;
use ruleset::{Af, TagId};

use crate::describe::PacketDesc;

/// Most segments that one packet brings about: proxying a handshake acknowledges both ways at once.
pub const ANSWERS_MAX: usize = 2;

/// Segments to make.
pub type Answers = heapless::Vec<Answer, ANSWERS_MAX>;

/// One segment to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What it says. A segment size in it is the most that is wanted; the links on the way may take less.
    pub segment: Segment,
    /// It leaves like a packet of the box: the rules are asked on the way out. Otherwise it passes unasked.
    pub is_asked: bool,
    /// The tag that it carries.
    pub tag: TagId,
    /// Table in which its way is looked up.
    pub rtable: u8,
}

/// An address as the standard library has it.
pub fn ip_addr(af: Af, addr: u128) -> IpAddr {
    match af {
        Af::Inet => Ipv4Addr::from_bits(addr as u32).into(),
        Af::Inet6 => Ipv6Addr::from_bits(addr).into(),
    }
}

/// A segment without data from the destination of `pd` to its source, which passes unasked.
pub fn answer_to(pd: &PacketDesc, flags: u8, seq: u32, ack: u32) -> Answer {
    Answer {
        segment: Segment {
            src: (ip_addr(pd.af, pd.dst), pd.ports.1),
            dst: (ip_addr(pd.af, pd.src), pd.ports.0),
            seq,
            ack,
            flags,
            window: 0,
            mss: 0,
            ttl: 0,
        },
        is_asked: false,
        tag: pd.tag,
        rtable: pd.rdomain,
    }
}
