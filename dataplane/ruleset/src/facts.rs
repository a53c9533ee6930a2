//! What a rule can ask about a packet. A plain value: filled by `filter::describe`, or from words by `why`.

use net::{KifId, KifSet};

use crate::TagId;
use crate::os::SignatureNr;

/// Direction as rules see it: from the firewall's interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// Received by the interface.
    In,
    /// About to leave through the interface.
    Out,
}

impl Direction {
    /// The other one.
    pub fn opposite(self) -> Self {
        match self {
            Direction::In => Direction::Out,
            Direction::Out => Direction::In,
        }
    }

    /// 0 for in, 1 for out: the order of PF's paired counters.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Address family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Af {
    /// `inet`
    Inet,
    /// `inet6`
    Inet6,
}

impl Af {
    /// Bits of an address.
    pub fn bits(self) -> u8 {
        match self {
            Af::Inet => 32,
            Af::Inet6 => 128,
        }
    }

    /// 0 for inet, 1 for inet6.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Whether the packet is a piece of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Fragment {
    /// A whole datagram.
    #[default]
    No,
    /// A piece: only rules that do not look at ports, flags or ICMP types can match it.
    Yes,
}

/// Everything a rule can ask about a packet.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Direction of this evaluation.
    pub direction: Direction,
    /// Names that the interface of this evaluation answers to.
    pub on: KifSet,
    /// That interface's own name.
    pub kif: KifId,
    /// True if that interface is a loopback (`on any` does not match it).
    pub loopback: bool,
    /// That interface's routing domain (`on rdomain`).
    pub rdomain: u8,
    /// The routing table in which addresses are looked up now.
    pub rtable: u8,
    /// Names of the interface that a forwarded packet came in on; none for packets of the box itself.
    pub received_on: Option<KifSet>,
    /// Address family.
    pub af: Af,
    /// Source address; IPv4 in the low 32 bits. Host order.
    pub src: u128,
    /// Destination address, as `src`.
    pub dst: u128,
    /// IP protocol; for IPv6 the last header after the extension chain.
    pub proto: u8,
    /// Source port, TCP and UDP; 0 otherwise.
    pub src_port: u16,
    /// Destination port, TCP and UDP; 0 otherwise.
    pub dst_port: u16,
    /// Flags of a TCP segment (RFC 9293 3.1, ECE and CWR included); 0 otherwise.
    pub tcp_flags: u8,
    /// ICMP or ICMPv6 type; 0 otherwise.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code; 0 otherwise.
    pub icmp_code: u8,
    /// Traffic class byte with the ECN bits.
    pub tos: u8,
    /// Priority, 0 to 7.
    pub priority: u8,
    /// Whether the packet is a piece of a datagram.
    pub fragment: Fragment,
    /// An ICMP answer (echo reply and the like) for which there is no state: a rule that keeps state does not
    /// match it, so that only `no state` rules let it through.
    pub unsolicited_reply: bool,
    /// Tag that the packet carries; 0 for none.
    pub tag: TagId,
    /// The signature of the system that sent it, for a SYN that has one of the ruleset's.
    pub os: Option<SignatureNr>,
    /// A random number for `probability`, uniform over all of u32.
    pub dice: u32,
}

/// A whole IPv4 packet that comes in, and of which nothing else is known: for who cares about a few of its fields.
impl Default for Facts {
    fn default() -> Self {
        Facts {
            direction: Direction::In,
            on: KifSet::EMPTY,
            kif: KifId(0),
            loopback: false,
            rdomain: 0,
            rtable: 0,
            received_on: None,
            af: Af::Inet,
            src: 0,
            dst: 0,
            proto: 0,
            src_port: 0,
            dst_port: 0,
            tcp_flags: 0,
            icmp_type: 0,
            icmp_code: 0,
            tos: 0,
            priority: 3,
            fragment: Fragment::No,
            unsolicited_reply: false,
            tag: TagId::default(),
            os: None,
            dice: 0,
        }
    }
}
