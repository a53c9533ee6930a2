//! The port information machine (17.27): what a port knows of the tree beyond its link, and how it comes to know.

use wire::bpdu::{Bpdu, PortRole as Sender};

use super::SpanningTree;
use super::port::{InfoIs, Port};
use super::vector::{Priority, Times};

/// What a message is to a port (17.21.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    SuperiorDesignated,
    RepeatedDesignated,
    InferiorDesignated,
    InferiorRootAlternate,
    Other,
}

impl SpanningTree {
    pub(super) fn step_info(&mut self, n: usize) -> bool {
        let is_rapid = self.is_rapid();
        let port = &mut self.ports[n];
        if !port.enabled {
            return port.lose_link();
        }
        if port.info_is == InfoIs::Disabled {
            port.grow_old();
            return true;
        }
        if port.selected && port.update_info {
            port.take_own();
            return true;
        }
        if port.update_info || port.info_is == InfoIs::Aged {
            return false;
        }
        if port.message.is_some() {
            port.hear(is_rapid);
            return true;
        }
        if port.info_is == InfoIs::Received && port.timers.received == 0 {
            port.grow_old();
            return true;
        }
        false
    }
}

impl Port {
    /// DISABLED.
    fn lose_link(&mut self) -> bool {
        let moved = self.info_is != InfoIs::Disabled || self.message.is_some();
        if moved {
            self.message = None;
            self.proposing = false;
            self.proposed = false;
            self.agree = false;
            self.agreed = false;
            self.timers.received = 0;
            self.info_is = InfoIs::Disabled;
            self.reselect = true;
            self.selected = false;
        }
        moved
    }

    /// AGED.
    fn grow_old(&mut self) {
        self.info_is = InfoIs::Aged;
        self.reselect = true;
        self.selected = false;
    }

    /// UPDATE: what the bridge itself says is what holds on this link.
    fn take_own(&mut self) {
        self.proposing = false;
        self.proposed = false;
        self.agreed = self.agreed && self.is_better_or_same(InfoIs::Mine, &self.designated);
        self.synced = self.synced && self.agreed;
        self.priority = self.designated;
        self.times = self.designated_times;
        self.update_info = false;
        self.info_is = InfoIs::Mine;
        self.news = true;
    }

    /// `betterorsameinfo` (17.21.1).
    fn is_better_or_same(&self, new_info_is: InfoIs, new: &Priority) -> bool {
        self.info_is == new_info_is && new.on_link() <= self.priority.on_link()
    }

    /// RECEIVE and what follows.
    fn hear(&mut self, is_rapid: bool) {
        match self.judge() {
            Heard::SuperiorDesignated => self.hear_superior(is_rapid),
            Heard::RepeatedDesignated => {
                self.record_proposal();
                self.record_topology_flags();
                self.record_agreement(is_rapid);
                self.keep_fresh();
            }
            Heard::InferiorDesignated => self.record_dispute(),
            Heard::InferiorRootAlternate => {
                self.record_agreement(is_rapid);
                self.record_topology_flags();
            }
            Heard::Other => {}
        }
        self.message = None;
    }

    fn judge(&mut self) -> Heard {
        let Some(message) = self.config() else {
            self.heard_notification = true;
            return Heard::Other;
        };
        let (heard, times) = (Priority::of(message), Times::of(message));
        // Only RSTP says which part its sender plays; a configuration message is that of a designated port.
        let serves = !matches!(
            (self.message, message.flags.role),
            (
                Some(Bpdu::Rapid(_)),
                Sender::Root | Sender::AlternateOrBackup
            )
        );
        if !serves {
            return match heard >= self.priority.on_link() {
                true => Heard::InferiorRootAlternate,
                false => Heard::Other,
            };
        }
        if heard == self.priority.on_link() && times == self.times {
            Heard::RepeatedDesignated
        } else if heard == self.priority.on_link() || heard.supersedes(&self.priority) {
            Heard::SuperiorDesignated
        } else {
            Heard::InferiorDesignated
        }
    }

    fn hear_superior(&mut self, is_rapid: bool) {
        let Some(message) = self.config().copied() else {
            return;
        };
        let heard = Priority {
            port: self.id,
            ..Priority::of(&message)
        };
        self.agreed = false;
        self.proposing = false;
        self.record_proposal();
        self.record_topology_flags();
        self.agree = self.agree && self.is_better_or_same(InfoIs::Received, &heard);
        self.record_agreement(is_rapid);
        self.synced = self.synced && self.agreed;
        self.priority = heard;
        self.times = Times::of(&message);
        self.keep_fresh();
        self.info_is = InfoIs::Received;
        self.reselect = true;
        self.selected = false;
    }

    fn record_proposal(&mut self) {
        let proposes = self.config().is_some_and(|m| m.flags.proposal);
        if proposes && matches!(self.message, Some(Bpdu::Rapid(_))) {
            self.proposed = true;
        }
    }

    fn record_agreement(&mut self, is_rapid: bool) {
        let agrees = self.config().is_some_and(|m| m.flags.agreement)
            && matches!(self.message, Some(Bpdu::Rapid(_)));
        self.agreed = is_rapid && self.point_to_point && agrees;
        if self.agreed {
            self.proposing = false;
        }
    }

    /// Somebody with worse information forwards: it does not hear us, so nothing may pass here.
    fn record_dispute(&mut self) {
        if let Some(Bpdu::Rapid(message)) = self.message
            && message.flags.learning
        {
            self.disputed = true;
            self.agreed = false;
        }
    }

    fn record_topology_flags(&mut self) {
        let flags = self.config().map(|m| m.flags).unwrap_or_default();
        self.heard_change |= flags.topology_change;
        self.heard_change_ack |= flags.topology_change_ack;
    }

    /// `updtRcvdInfoWhile`: what is heard holds for three hello times, if it is not too old already.
    fn keep_fresh(&mut self) {
        let times = self.config().map(Times::of).unwrap_or(self.times);
        self.timers.received = match times.message_age < times.max_age {
            true => 3 * times.hello,
            false => 0,
        };
    }
}
