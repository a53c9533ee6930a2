//! What becomes of a packet. Every packet leaves the turn with exactly one verdict.

use filter::Reason;
use net::InterfaceId;
use wire::ether;

/// The way out: an interface, and the station to address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Egress {
    /// Interface to leave by.
    pub interface: InterfaceId,
    /// Next hop's station address.
    pub lladdr: ether::Addr,
    /// Source station address, which a bridge keeps: such a frame leaves by this very interface. Others have that of the
    /// interface.
    pub src: Option<ether::Addr>,
}

impl Egress {
    /// The way of a packet that the box routes or sends.
    pub fn routed(interface: InterfaceId, lladdr: ether::Addr) -> Self {
        Egress {
            interface,
            lladdr,
            src: None,
        }
    }
}

/// Who uses a packet up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consumer {
    /// ARP and neighbor discovery.
    Neighbor,
    /// Cut to pieces, which go on in its place.
    Fragments,
    /// For many, on a bridge: the box was the only one.
    Bridge,
}

/// The end of a packet's way through this worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Send it.
    Pass(Egress),
    /// Send it when the next hop's station address is known.
    Wait {
        /// Interface to leave by.
        interface: InterfaceId,
        /// Next hop.
        next_hop: core::net::IpAddr,
    },
    /// A frame that is no IP packet: send it on as its bridge says.
    Bridge,
    /// Give it to the local host.
    Host,
    /// Outer packet of a tunnel: what is inside comes in by the tunnel's interface.
    Tunnel(InterfaceId),
    /// A frame of a link protocol: give it to the control core as it is.
    Control,
    /// Give it to the worker that owns its connection.
    Handoff {
        /// That worker.
        worker: u16,
    },
    /// A piece of a datagram: wait for the others.
    Gather,
    /// Used up.
    Consumed(Consumer),
    /// Dropped.
    Drop(Reason),
}
