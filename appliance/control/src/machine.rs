//! What the control core must be told about the machine: its ports, the time, chance. Traits, because tests have
//! machines of their own.

use nic::LinkState;

/// One port, as found at start. Its number is its place in the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortFacts {
    /// Interface name: `vio0`.
    pub name: String,
    /// Station address.
    pub mac: [u8; 6],
    /// Largest IP packet it can carry at present, in bytes.
    pub mtu: u16,
    /// Largest IP packet it can be set to.
    pub mtu_max: u16,
    /// Poll-mode driver.
    pub driver: String,
    /// PCI address or name of the virtual device.
    pub device: String,
}

/// What a card has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HwStats {
    /// Frames and bytes received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost for want of room or buffers.
    pub missed: u64,
    /// Broken frames, and frames that could not be sent.
    pub errors: u64,
}

/// The ports of the machine.
pub trait Ports: Send {
    /// What was found at start, by port number.
    fn list(&self) -> Vec<PortFacts>;
    /// The link of a port now.
    fn link(&self, port: u16) -> LinkState;
    /// Counters of a port.
    fn stats(&self, port: u16) -> HwStats;
    /// Sets the largest IP packet of a port.
    fn set_mtu(&self, port: u16, mtu: u16) -> Result<(), String>;
    /// Changes the station address of a port.
    fn set_mac(&self, port: u16, mac: [u8; 6]) -> Result<(), String>;
    /// Packet buffers in all, and in use.
    fn buffers(&self) -> (u64, u64);
}

/// Time and chance.
pub trait Clock: Send {
    /// Milliseconds since the program began, as the workers count them.
    fn now_ms(&self) -> u64;
    /// Milliseconds since 1970; a machine without a clock counts from its start.
    fn wall_ms(&self) -> u64 {
        self.now_ms()
    }
    /// Lets others work for a fraction of a millisecond.
    fn pause(&self);
    /// Fills with unpredictable bytes.
    fn random(&self, into: &mut [u8]);
}
