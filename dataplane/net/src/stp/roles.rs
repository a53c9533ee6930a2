//! The port role transition machine (17.29) and the port state transition machine (17.30): how a port comes to play its
//! part without a loop in between.

use super::port::{Port, PortRole};
use super::{MIGRATE_TIME_S, SpanningTree};

impl SpanningTree {
    pub(super) fn step_role(&mut self, n: usize) -> bool {
        if !self.ports[n].is_settled() {
            return false;
        }
        let port = &mut self.ports[n];
        if port.role != port.selected_role {
            port.take_role();
            return true;
        }
        match port.role {
            PortRole::Disabled => port.rest_disabled(),
            PortRole::Root => self.step_root(n),
            PortRole::Designated => self.step_designated(n),
            PortRole::Alternate | PortRole::Backup => self.step_alternate(n),
        }
    }

    /// Everything else on this bridge has come to terms with the tree.
    fn all_synced(&self) -> bool {
        self.ports.iter().all(|p| {
            p.is_settled() && p.role == p.selected_role && (p.role == PortRole::Root || p.synced)
        })
    }

    /// No other port was the root port lately.
    fn is_rerooted(&self, n: usize) -> bool {
        let mut others = self
            .ports
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != n);
        others.all(|(_, p)| p.timers.recent_root == 0)
    }

    /// Answers a proposal, or asks the other ports first. True if it did something.
    fn agree_or_sync(&mut self, n: usize, all_synced: bool) -> bool {
        let port = &mut self.ports[n];
        if (all_synced && !port.agree) || (port.proposed && port.agree) {
            port.proposed = false;
            port.sync = false;
            port.agree = true;
            port.news = true;
            true
        } else if port.proposed && !port.agree {
            port.proposed = false;
            self.ports.iter_mut().for_each(|p| p.sync = true);
            true
        } else {
            false
        }
    }

    fn step_root(&mut self, n: usize) -> bool {
        let all_synced = self.all_synced();
        if self.agree_or_sync(n, all_synced) {
            return true;
        }
        let rerooted = self.is_rerooted(n);
        let is_rapid = self.is_rapid();
        let port = &mut self.ports[n];
        if !port.forward && !port.reroot {
            self.ports.iter_mut().for_each(|p| p.reroot = true);
            return true;
        }
        if port.reroot && port.forward {
            port.reroot = false;
            return true;
        }
        let may =
            port.timers.forward == 0 || (rerooted && port.timers.recent_backup == 0 && is_rapid);
        if may && port.advance() {
            return true;
        }
        // Not worth another round: the timer only has to stand there.
        port.timers.recent_root = port.designated_times.forward_delay;
        false
    }

    fn step_designated(&mut self, n: usize) -> bool {
        let port = &mut self.ports[n];
        if !port.forward && !port.agreed && !port.proposing && !port.is_edge {
            port.proposing = true;
            port.timers.edge_delay = match port.point_to_point {
                true => MIGRATE_TIME_S,
                false => port.designated_times.max_age,
            };
            port.news = true;
            return true;
        }
        let stands_still = !port.learning && !port.forwarding;
        let terms = stands_still || port.agreed || port.is_edge;
        if (terms && !port.synced) || (port.sync && port.synced) {
            port.timers.recent_root = 0;
            port.synced = true;
            port.sync = false;
            return true;
        }
        if port.timers.recent_root == 0 && port.reroot {
            port.reroot = false;
            return true;
        }
        let must_stop = (port.sync && !port.synced)
            || (port.reroot && port.timers.recent_root != 0)
            || port.disputed;
        if must_stop && !port.is_edge && (port.learn || port.forward) {
            port.learn = false;
            port.forward = false;
            port.disputed = false;
            port.timers.forward = port.next_state_s();
            return true;
        }
        let may = port.timers.forward == 0 || port.agreed || port.is_edge;
        may && !port.reroot && !port.sync && port.advance_designated()
    }

    fn step_alternate(&mut self, n: usize) -> bool {
        let all_synced = self.all_synced();
        let port = &mut self.ports[n];
        if port.learning || port.forwarding {
            return false;
        }
        let hello = port.designated_times.hello;
        if port.role == PortRole::Backup && port.timers.recent_backup != 2 * hello {
            port.timers.recent_backup = 2 * hello;
        }
        let wait = port.next_state_s();
        let rests = port.timers.forward == wait && !port.sync && !port.reroot && port.synced;
        if !rests {
            port.timers.forward = wait;
            port.synced = true;
            port.timers.recent_root = 0;
            port.sync = false;
            port.reroot = false;
            return true;
        }
        self.agree_or_sync(n, all_synced)
    }

    /// Does what the role says: learning first, forwarding after.
    pub(super) fn step_state(&mut self, n: usize) -> bool {
        let port = &mut self.ports[n];
        let (learning, forwarding) = (port.learn, port.learn && port.forward);
        let moved = (port.learning, port.forwarding) != (learning, forwarding);
        port.learning = learning;
        port.forwarding = forwarding;
        moved
    }
}

impl Port {
    /// The entry to another part.
    fn take_role(&mut self) {
        self.role = self.selected_role;
        match self.role {
            PortRole::Disabled | PortRole::Alternate | PortRole::Backup => {
                self.learn = false;
                self.forward = false;
            }
            PortRole::Root => self.timers.recent_root = self.designated_times.forward_delay,
            PortRole::Designated => {}
        }
    }

    /// DISABLED_PORT.
    fn rest_disabled(&mut self) -> bool {
        let max_age = self.designated_times.max_age;
        let rests = self.timers.forward == max_age && !self.sync && !self.reroot && self.synced;
        if self.learning || self.forwarding || rests {
            return false;
        }
        self.timers.forward = max_age;
        self.synced = true;
        self.timers.recent_root = 0;
        self.sync = false;
        self.reroot = false;
        true
    }

    /// One state further.
    fn advance(&mut self) -> bool {
        if !self.learn {
            self.learn = true;
            self.timers.forward = self.next_state_s();
        } else if !self.forward {
            self.timers.forward = 0;
            self.forward = true;
        } else {
            return false;
        }
        true
    }

    fn advance_designated(&mut self) -> bool {
        let forwarded = self.forward;
        let moved = self.advance();
        if self.forward && !forwarded {
            self.agreed = self.send_rapid;
        }
        moved
    }
}
