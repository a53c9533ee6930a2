//! Bridge protocol data units: what bridges say to each other so that no loop remains.
//!
//! Read first: IEEE 802.1D-2004 clause 9 (encoding) and 9.3.4 (validation). They travel in IEEE 802.3 frames with an
//! LLC header. May not know what a bridge does about them.

use crate::Malformed;
use crate::ether::Addr;
use crate::view::{array, be16, be32};

/// The group address that bridges of all kinds listen to (IEEE 802.1D-2004 7.12.3).
pub const GROUP: Addr = Addr([0x01, 0x80, 0xc2, 0, 0, 0]);

/// Length of the LLC header in front: both service access points 0x42, unnumbered information.
pub const LLC_LEN: usize = 3;
/// Longest frame that [`Bpdu::emit_frame`] writes: Ethernet header, LLC header, rapid BPDU.
pub const FRAME_MAX: usize = crate::ether::HEADER_LEN + LLC_LEN + RAPID_LEN;

const LLC: [u8; LLC_LEN] = [0x42, 0x42, 0x03];
const TCN_LEN: usize = 4;
const CONFIG_LEN: usize = 35;
const RAPID_LEN: usize = 36;

const TYPE_CONFIG: u8 = 0x00;
const TYPE_RAPID: u8 = 0x02;
const TYPE_TCN: u8 = 0x80;
const VERSION_STP: u8 = 0;
const VERSION_RSTP: u8 = 2;

/// Whether a frame to this address stays on its link: no bridge forwards it (IEEE 802.1D-2004 table 7-10).
#[inline]
pub fn is_link_local_group(addr: Addr) -> bool {
    addr.0[..5] == GROUP.0[..5] && addr.0[5] < 0x10
}

/// A bridge: its priority and an address of its own. The smaller one is the better one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BridgeId {
    /// Priority, a multiple of 4096 by custom.
    pub priority: u16,
    /// Its address.
    pub addr: Addr,
}

/// The part that the sending port plays (IEEE 802.1D-2004 9.2.9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PortRole {
    /// Not said; taken for designated, as configuration BPDUs are.
    #[default]
    Unknown,
    /// Alternate or backup: discards.
    AlternateOrBackup,
    /// Towards the root.
    Root,
    /// Serves the link.
    Designated,
}

/// The flags of a configuration message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flags {
    /// The tree has changed: forget what was learned.
    pub topology_change: bool,
    /// "I would like to forward on this link."
    pub proposal: bool,
    /// The part of the sending port.
    pub role: PortRole,
    /// The sending port learns.
    pub learning: bool,
    /// The sending port forwards.
    pub forwarding: bool,
    /// "You may."
    pub agreement: bool,
    /// A topology change notification was heard.
    pub topology_change_ack: bool,
}

impl Flags {
    fn parse(byte: u8) -> Flags {
        Flags {
            topology_change: byte & 0x01 != 0,
            proposal: byte & 0x02 != 0,
            role: match byte >> 2 & 3 {
                0 => PortRole::Unknown,
                1 => PortRole::AlternateOrBackup,
                2 => PortRole::Root,
                _ => PortRole::Designated,
            },
            learning: byte & 0x10 != 0,
            forwarding: byte & 0x20 != 0,
            agreement: byte & 0x40 != 0,
            topology_change_ack: byte & 0x80 != 0,
        }
    }

    fn byte(self) -> u8 {
        let role = match self.role {
            PortRole::Unknown => 0,
            PortRole::AlternateOrBackup => 1,
            PortRole::Root => 2,
            PortRole::Designated => 3u8,
        };
        u8::from(self.topology_change)
            | u8::from(self.proposal) << 1
            | role << 2
            | u8::from(self.learning) << 4
            | u8::from(self.forwarding) << 5
            | u8::from(self.agreement) << 6
            | u8::from(self.topology_change_ack) << 7
    }
}

/// What a bridge says of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Message {
    /// Flags; a configuration BPDU has only those of topology changes.
    pub flags: Flags,
    /// The bridge it takes for the root.
    pub root: BridgeId,
    /// Cost of its way there.
    pub cost: u32,
    /// Itself.
    pub bridge: BridgeId,
    /// The port this was sent by: priority in the top 4 bits, number below.
    pub port: u16,
    /// Age of what it knows, in 1/256 s, like all times here.
    pub message_age: u16,
    /// Age at which that is no longer true.
    pub max_age: u16,
    /// Time between two messages.
    pub hello: u16,
    /// Time in each of the states before forwarding.
    pub forward_delay: u16,
}

/// A bridge protocol data unit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bpdu {
    /// Topology change notification of STP.
    Tcn,
    /// Configuration message of STP.
    Config(Message),
    /// Message of RSTP (and of what understands it, MSTP).
    Rapid(Message),
}

mod field {
    use crate::view::Field;
    pub(super) const PROTOCOL: Field = 0..2;
    pub(super) const VERSION: usize = 2;
    pub(super) const TYPE: usize = 3;
    pub(super) const FLAGS: usize = 4;
    pub(super) const ROOT: usize = 5;
    pub(super) const COST: Field = 13..17;
    pub(super) const BRIDGE: usize = 17;
    pub(super) const PORT: Field = 25..27;
    pub(super) const MESSAGE_AGE: Field = 27..29;
    pub(super) const MAX_AGE: Field = 29..31;
    pub(super) const HELLO: Field = 31..33;
    pub(super) const FORWARD_DELAY: Field = 33..35;
    pub(super) const VERSION_1_LENGTH: usize = 35;
}

fn bridge_id(bytes: &[u8], at: usize) -> BridgeId {
    BridgeId {
        priority: be16(bytes, at..at + 2),
        addr: Addr(array(bytes, at + 2..at + 8)),
    }
}

fn put_bridge_id(bytes: &mut [u8], at: usize, id: BridgeId) {
    bytes[at..at + 2].copy_from_slice(&id.priority.to_be_bytes());
    bytes[at + 2..at + 8].copy_from_slice(&id.addr.0);
}

impl Message {
    fn parse(bytes: &[u8]) -> Message {
        Message {
            flags: Flags::parse(bytes[field::FLAGS]),
            root: bridge_id(bytes, field::ROOT),
            cost: be32(bytes, field::COST),
            bridge: bridge_id(bytes, field::BRIDGE),
            port: be16(bytes, field::PORT),
            message_age: be16(bytes, field::MESSAGE_AGE),
            max_age: be16(bytes, field::MAX_AGE),
            hello: be16(bytes, field::HELLO),
            forward_delay: be16(bytes, field::FORWARD_DELAY),
        }
    }

    fn emit(&self, bytes: &mut [u8], flags: u8) {
        bytes[field::FLAGS] = flags;
        put_bridge_id(bytes, field::ROOT, self.root);
        bytes[field::COST].copy_from_slice(&self.cost.to_be_bytes());
        put_bridge_id(bytes, field::BRIDGE, self.bridge);
        bytes[field::PORT].copy_from_slice(&self.port.to_be_bytes());
        bytes[field::MESSAGE_AGE].copy_from_slice(&self.message_age.to_be_bytes());
        bytes[field::MAX_AGE].copy_from_slice(&self.max_age.to_be_bytes());
        bytes[field::HELLO].copy_from_slice(&self.hello.to_be_bytes());
        bytes[field::FORWARD_DELAY].copy_from_slice(&self.forward_delay.to_be_bytes());
    }
}

impl Bpdu {
    /// Reads what follows the LLC header. A message that is as old as it may get is refused too (802.1D-2004 9.3.4).
    pub fn parse(bytes: &[u8]) -> Result<Bpdu, Malformed> {
        if bytes.len() < TCN_LEN {
            return Err(Malformed::BpduShort);
        }
        if be16(bytes, field::PROTOCOL) != 0 {
            return Err(Malformed::BpduFormat);
        }
        let need = |len: usize| match bytes.len() < len {
            true => Err(Malformed::BpduShort),
            false => Ok(Message::parse(bytes)),
        };
        match (bytes[field::TYPE], bytes[field::VERSION]) {
            (TYPE_TCN, _) => Ok(Bpdu::Tcn),
            (TYPE_CONFIG, _) => {
                let message = need(CONFIG_LEN)?;
                match message.message_age >= message.max_age {
                    true => Err(Malformed::BpduAge),
                    false => Ok(Bpdu::Config(message)),
                }
            }
            (TYPE_RAPID, VERSION_RSTP..) => Ok(Bpdu::Rapid(need(RAPID_LEN)?)),
            _ => Err(Malformed::BpduFormat),
        }
    }

    /// Reads the payload of an IEEE 802.3 frame: LLC header and BPDU.
    pub fn parse_llc(payload: &[u8]) -> Result<Bpdu, Malformed> {
        match payload.strip_prefix(&LLC) {
            Some(rest) => Bpdu::parse(rest),
            None => Err(Malformed::BpduFormat),
        }
    }

    /// Length in bytes, without LLC header.
    pub const fn buffer_len(&self) -> usize {
        match self {
            Bpdu::Tcn => TCN_LEN,
            Bpdu::Config(_) => CONFIG_LEN,
            Bpdu::Rapid(_) => RAPID_LEN,
        }
    }

    /// Writes it, without LLC header.
    ///
    /// # Panics
    /// When the buffer is shorter than [`Bpdu::buffer_len`].
    pub fn emit(&self, bytes: &mut [u8]) {
        bytes[..self.buffer_len()].fill(0);
        match self {
            Bpdu::Tcn => {
                bytes[field::VERSION] = VERSION_STP;
                bytes[field::TYPE] = TYPE_TCN;
            }
            Bpdu::Config(message) => {
                bytes[field::TYPE] = TYPE_CONFIG;
                // The other bits are RSTP's.
                message.emit(bytes, message.flags.byte() & 0x81);
            }
            Bpdu::Rapid(message) => {
                bytes[field::VERSION] = VERSION_RSTP;
                bytes[field::TYPE] = TYPE_RAPID;
                // Acknowledging is done by configuration BPDUs alone (802.1D-2004 9.3.3).
                message.emit(bytes, message.flags.byte() & 0x7f);
                bytes[field::VERSION_1_LENGTH] = 0;
            }
        }
    }

    /// Writes a whole frame from `src` and says how long it is.
    ///
    /// # Panics
    /// When the buffer is shorter than [`FRAME_MAX`].
    pub fn emit_frame(&self, src: Addr, frame: &mut [u8]) -> usize {
        let len = LLC_LEN + self.buffer_len();
        frame[0..6].copy_from_slice(&GROUP.0);
        frame[6..12].copy_from_slice(&src.0);
        frame[12..14].copy_from_slice(&(len as u16).to_be_bytes());
        frame[14..17].copy_from_slice(&LLC);
        self.emit(&mut frame[17..14 + len]);
        14 + len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> Message {
        let id = |priority, n| BridgeId {
            priority,
            addr: Addr([2, 0, 0, 0, 0, n]),
        };
        Message {
            flags: Flags {
                role: PortRole::Designated,
                proposal: true,
                ..Flags::default()
            },
            root: id(0x8000, 1),
            cost: 20_000,
            bridge: id(0x9000, 2),
            port: 0x8003,
            message_age: 0x100,
            max_age: 20 << 8,
            hello: 2 << 8,
            forward_delay: 15 << 8,
        }
    }

    #[test]
    fn a_rapid_bpdu_on_the_wire() {
        let mut frame = [0xff; FRAME_MAX];
        let len = Bpdu::Rapid(message()).emit_frame(Addr([2, 0, 0, 0, 0, 9]), &mut frame);
        assert_eq!(len, 53);
        #[rustfmt::skip]
        assert_eq!(frame, [
            1, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 39, 0x42, 0x42, 3,
            0, 0, 2, 2, 0x0e, 0x80, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0x4e, 0x20, 0x90, 0, 2, 0, 0, 0, 0, 2,
            0x80, 3, 1, 0, 20, 0, 2, 0, 15, 0, 0,
        ]);
        assert_eq!(Bpdu::parse_llc(&frame[14..]), Ok(Bpdu::Rapid(message())));
    }

    #[test]
    fn broken_rules_are_named() {
        let mut bytes = [0; RAPID_LEN];
        Bpdu::Rapid(message()).emit(&mut bytes);
        assert_eq!(Bpdu::parse(&bytes[..3]), Err(Malformed::BpduShort));
        assert_eq!(Bpdu::parse(&bytes[..35]), Err(Malformed::BpduShort));
        assert_eq!(Bpdu::parse_llc(&bytes), Err(Malformed::BpduFormat));
        bytes[1] = 1;
        assert_eq!(Bpdu::parse(&bytes), Err(Malformed::BpduFormat));
        bytes[1] = 0;
        bytes[2] = 1;
        assert_eq!(Bpdu::parse(&bytes), Err(Malformed::BpduFormat));
        let old = Message {
            message_age: 20 << 8,
            ..message()
        };
        Bpdu::Config(old).emit(&mut bytes);
        assert_eq!(Bpdu::parse(&bytes), Err(Malformed::BpduAge));
        assert_eq!(Bpdu::parse(&bytes[..34]), Err(Malformed::BpduShort));
        assert_eq!(Bpdu::parse(&[0, 0, 0, 0x80]), Ok(Bpdu::Tcn));
    }

    #[test]
    fn sixteen_groups_stay_on_their_link() {
        for last in 0..=255 {
            let mut addr = GROUP;
            addr.0[5] = last;
            assert_eq!(is_link_local_group(addr), last < 16, "{last}");
        }
        assert!(!is_link_local_group(Addr([1, 0x80, 0xc2, 0, 1, 0])));
        assert!(!is_link_local_group(Addr::BROADCAST));
    }

    proptest! {
        #[test]
        fn emit_then_parse_is_identity(flags: u8, prio: u16, a: [u8; 6], b: [u8; 6], cost: u32, port: u16, t: [u16; 3]) {
            let message = Message {
                flags: Flags::parse(flags & 0x7f),
                root: BridgeId { priority: prio, addr: Addr(a) },
                cost,
                bridge: BridgeId { priority: !prio, addr: Addr(b) },
                port,
                message_age: t[0] >> 1,
                max_age: (t[0] >> 1) + 1,
                hello: t[1],
                forward_delay: t[2],
            };
            let mut bytes = [0u8; RAPID_LEN];
            Bpdu::Rapid(message).emit(&mut bytes);
            prop_assert_eq!(Bpdu::parse(&bytes), Ok(Bpdu::Rapid(message)));
            let message = Message { flags: Flags::parse(flags & 0x81), ..message };
            Bpdu::Config(message).emit(&mut bytes);
            prop_assert_eq!(Bpdu::parse(&bytes), Ok(Bpdu::Config(message)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(bpdu) = Bpdu::parse(&bytes) {
                prop_assert!(bytes.len() >= bpdu.buffer_len());
            }
            prop_assert!(Bpdu::parse_llc(&bytes).is_err() || bytes.starts_with(&LLC));
        }
    }
}
