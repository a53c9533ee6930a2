//! The seam between packet code and network cards: traits and plain types, nothing else.
//!
//! Two implementations exist: `dpdk` (real ports) and `simnic` (memory). The worker is generic over
//! [`Nic`] and compiled once for each, so the seam costs nothing at run time. This crate knows neither
//! packet formats nor DPDK.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

use core::fmt;

/// Most packets one receive or transmit call moves. 64 keeps a burst's descriptors in L1 and hides
/// memory latency fully (measured: 32 suffices, 64 is better).
pub const BURST_MAX: usize = 64;

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// Packets received or sent by one call. A fixed array: nothing is allocated per burst.
pub type Burst<B> = heapless::Vec<B, BURST_MAX>;

/// A physical port, numbered as DPDK numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortId(pub u16);

/// A hardware queue of a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueueId(pub u16);

/// What the driver says of the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LinkState {
    /// No carrier, or the driver has not said yet.
    #[default]
    Down,
    /// Carrier.
    Up {
        /// Megabits per second; 0 where the driver does not know (virtio without the feature).
        speed_mbps: u32,
        /// False for half duplex.
        full_duplex: bool,
    },
}

impl LinkState {
    /// True with carrier.
    pub fn is_up(self) -> bool {
        matches!(self, LinkState::Up { .. })
    }
}

/// What the card verified about a received packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// Not looked at: software must check if it matters.
    #[default]
    Unknown,
    /// Verified good.
    Good,
    /// Verified bad.
    Bad,
}

/// What the card tells about a received packet beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RxMeta {
    /// RSS hash (symmetric Toeplitz over addresses and ports), where the card computes one.
    pub rss_hash: Option<u32>,
    /// IPv4 header checksum.
    pub ip_checksum: Checksum,
    /// TCP or UDP checksum.
    pub l4_checksum: Checksum,
}

/// There is no room left in the buffer for what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room left in the packet buffer")
    }
}

/// One packet in one contiguous buffer, owned. Dropping it gives the buffer back to its pool.
/// Implementations are not `Clone`: two owners of one buffer would free it twice.
pub trait PacketBuf: Send + 'static {
    /// The frame, beginning with the Ethernet header.
    fn bytes(&self) -> &[u8];
    /// The frame, writable.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Length of the frame in bytes, without frame check sequence.
    fn len(&self) -> usize;
    /// True if the frame has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Free bytes in front of the frame.
    fn headroom(&self) -> usize;
    /// Free bytes behind the frame.
    fn tailroom(&self) -> usize;
    /// Grows the frame by `n` bytes at its front. Their content is unspecified.
    fn prepend(&mut self, n: usize) -> Result<(), NoRoom>;
    /// Removes `n` bytes from the front; at most all of them.
    fn advance(&mut self, n: usize);
    /// Grows the frame by `n` bytes at its end. Their content is unspecified.
    fn append(&mut self, n: usize) -> Result<(), NoRoom>;
    /// Shortens the frame to `len` bytes; does nothing if it is shorter already.
    fn truncate(&mut self, len: usize);
    /// What the card told at receive time.
    fn rx_meta(&self) -> RxMeta;
    /// Asks the cache for the headers: the first line, and the second if there is one, since the ports and numbers of TCP over
    /// IPv6 or behind tags lie there. Free where it is not needed.
    fn prefetch(&self) {}
}

/// Where a core takes fresh buffers for packets that it makes itself.
pub trait BufferPool: Send {
    /// The buffer type.
    type Buf: PacketBuf;
    /// An empty buffer (length 0, default headroom), or none if the pool ran dry.
    fn allocate(&mut self) -> Option<Self::Buf>;
}

/// A receive queue. Owned by one core.
pub trait RxQueue: Send {
    /// The buffer type.
    type Buf: PacketBuf;
    /// Appends received packets to `burst`, at most up to its capacity; says how many. Never blocks.
    #[inline]
    fn receive(&mut self, burst: &mut Burst<Self::Buf>) -> usize {
        self.receive_some(burst, BURST_MAX)
    }
    /// The same of at most `most` packets, which should be a power of two, eight or more: some drivers give none otherwise.
    fn receive_some(&mut self, burst: &mut Burst<Self::Buf>, most: usize) -> usize;
}

/// A transmit queue. Owned by one core.
pub trait TxQueue: Send {
    /// The buffer type.
    type Buf: PacketBuf;
    /// Sends packets from the front of `burst` in order and removes those that the card took; says how
    /// many. What stays in `burst` was not taken and still belongs to the caller. Never blocks.
    fn transmit(&mut self, burst: &mut Burst<Self::Buf>) -> usize;
}

/// A family of types that belong together.
pub trait Nic: 'static {
    /// Packet buffer.
    type Buf: PacketBuf;
    /// Buffer source.
    type Pool: BufferPool<Buf = Self::Buf>;
    /// Receive queue.
    type Rx: RxQueue<Buf = Self::Buf>;
    /// Transmit queue.
    type Tx: TxQueue<Buf = Self::Buf>;
}

/// What a driver can tell about a port before and after it is started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortInfo {
    /// DPDK's number.
    pub id: PortId,
    /// Device name: a PCI address (`0000:00:03.0`) or a vdev name (`net_af_packet0`).
    pub device: heapless::String<64>,
    /// Poll-mode driver name, e.g. `net_virtio`.
    pub driver: heapless::String<32>,
    /// Station address.
    pub mac: [u8; 6],
    /// Largest IP packet the port carries, in bytes.
    pub mtu: u16,
    /// Receive queues the device offers.
    pub rx_queues_max: u16,
    /// Transmit queues the device offers.
    pub tx_queues_max: u16,
}

/// BSD interface name prefix for a poll-mode driver (`net_virtio` → `vio`), so that a `pf.conf` written on
/// a BSD box runs unchanged. Unknown drivers are called `eth`.
pub fn bsd_name(driver: &str) -> &'static str {
    match driver.strip_prefix("net_").unwrap_or(driver) {
        "virtio" | "virtio_user" => "vio",
        "e1000_em" | "e1000_igb" | "e1000_igb_vf" | "e1000" => "em",
        "e1000_igc" | "igc" => "igc",
        "ixgbe" | "ixgbe_vf" => "ix",
        "i40e" => "ixl",
        "iavf" => "iavf",
        "ice" => "ice",
        "vmxnet3" => "vmx",
        "ena" => "ena",
        "af_packet" => "ap",
        "memif" => "memif",
        "ring" | "null" | "sim" => "sim",
        _ => "eth",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_have_bsd_names() {
        for (driver, name) in [
            ("net_virtio", "vio"),
            ("net_e1000_em", "em"),
            ("net_vmxnet3", "vmx"),
            ("net_af_packet", "ap"),
            ("net_never_heard_of", "eth"),
        ] {
            assert_eq!(bsd_name(driver), name, "{driver}");
        }
    }
}
