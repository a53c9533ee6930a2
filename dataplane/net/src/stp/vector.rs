//! Priority vectors and times: what bridges compare (IEEE 802.1D-2004 17.5, 17.6).

use wire::bpdu::{BridgeId, Message};

/// A priority vector. Compares field by field; the smaller one is the better one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Priority {
    /// The root.
    pub root: BridgeId,
    /// Cost of the way there.
    pub cost: u32,
    /// The bridge that says so.
    pub bridge: BridgeId,
    /// The port it said it by.
    pub designated_port: u16,
    /// The port it was heard on; 0 where that does not matter.
    pub port: u16,
}

impl Priority {
    /// That of a bridge that takes itself for the root.
    pub fn of_root(id: BridgeId) -> Priority {
        Priority {
            root: id,
            cost: 0,
            bridge: id,
            designated_port: 0,
            port: 0,
        }
    }

    /// What a message says.
    pub(super) fn of(message: &Message) -> Priority {
        Priority {
            root: message.root,
            cost: message.cost,
            bridge: message.bridge,
            designated_port: message.port,
            port: 0,
        }
    }

    /// Without the port that heard it: as two ends of a link compare.
    pub(super) fn on_link(self) -> Priority {
        Priority { port: 0, ..self }
    }

    /// Replaces `old` as what is known on a link: it is better, or comes from where `old` came from (17.6).
    pub(super) fn supersedes(&self, old: &Priority) -> bool {
        let same_sender = self.bridge.addr == old.bridge.addr
            && self.designated_port & 0x0fff == old.designated_port & 0x0fff;
        self.on_link() < old.on_link() || same_sender
    }
}

/// Times of a bridge or a message, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Age of what is known.
    pub message_age: u16,
    /// Age at which it is forgotten.
    pub max_age: u16,
    /// Time between two messages.
    pub hello: u16,
    /// Time in each state before forwarding, where nobody agrees to less.
    pub forward_delay: u16,
}

impl Default for Times {
    /// The standard's (table 17-1).
    fn default() -> Self {
        Times {
            message_age: 0,
            max_age: 20,
            hello: 2,
            forward_delay: 15,
        }
    }
}

impl Times {
    /// Those of a message, to whole seconds; none of the intervals is zero.
    pub(super) fn of(message: &Message) -> Times {
        let seconds = |t: u16| (t.saturating_add(128)) >> 8;
        Times {
            message_age: seconds(message.message_age),
            max_age: seconds(message.max_age).max(1),
            hello: seconds(message.hello).max(1),
            forward_delay: seconds(message.forward_delay).max(1),
        }
    }
}
