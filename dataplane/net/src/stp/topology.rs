//! The topology change machine (17.31): who must forget where stations are, and who is told.

use super::SpanningTree;
use super::port::{PortRole, Topology};

impl SpanningTree {
    pub(super) fn step_topology(&mut self, n: usize) -> bool {
        match self.ports[n].topology {
            Topology::Inactive => self.step_inactive(n),
            Topology::Learning => self.step_learning(n),
            Topology::Active => self.step_active(n),
        }
    }

    fn step_inactive(&mut self, n: usize) -> bool {
        let port = &mut self.ports[n];
        if !port.learn {
            return false;
        }
        port.topology = Topology::Learning;
        port.forget_news();
        true
    }

    fn step_learning(&mut self, n: usize) -> bool {
        let port = &mut self.ports[n];
        let serves = matches!(port.role, PortRole::Root | PortRole::Designated);
        if serves && port.forward && !port.is_edge {
            port.topology = Topology::Active;
            self.changes += 1;
            self.start_telling(n);
            self.tell_others(n);
            self.ports[n].news = true;
            return true;
        }
        if port.has_news() {
            port.forget_news();
            return true;
        }
        if !serves && !port.learn && !port.learning {
            port.topology = Topology::Inactive;
            port.forget_stations();
            port.timers.change = 0;
            port.change_ack = false;
            return true;
        }
        false
    }

    fn step_active(&mut self, n: usize) -> bool {
        let port = &mut self.ports[n];
        let serves = matches!(port.role, PortRole::Root | PortRole::Designated);
        if !serves || port.is_edge {
            port.topology = Topology::Learning;
            port.forget_news();
            return true;
        }
        if port.heard_notification || port.heard_change {
            let notified = port.heard_notification;
            port.heard_notification = false;
            port.heard_change = false;
            port.change_ack |= notified && port.role == PortRole::Designated;
            if notified {
                self.start_telling(n);
            }
            self.changes += 1;
            self.tell_others(n);
            return true;
        }
        if port.propagate_change {
            port.propagate_change = false;
            port.forget_stations();
            self.start_telling(n);
            return true;
        }
        if port.heard_change_ack {
            port.heard_change_ack = false;
            port.timers.change = 0;
            return true;
        }
        false
    }

    /// `newTcWhile` (17.21.7).
    fn start_telling(&mut self, n: usize) {
        let (max_age, forward_delay) = (self.root_times.max_age, self.root_times.forward_delay);
        let port = &mut self.ports[n];
        if port.timers.change != 0 {
            return;
        }
        if port.send_rapid {
            port.timers.change = port.designated_times.hello + 1;
            port.news = true;
        } else {
            port.timers.change = max_age + forward_delay;
        }
    }

    fn tell_others(&mut self, n: usize) {
        let ports = self.ports.iter_mut().enumerate();
        for (_, port) in ports.filter(|(other, _)| *other != n) {
            port.propagate_change = true;
        }
    }
}

impl super::port::Port {
    fn has_news(&self) -> bool {
        self.heard_change
            || self.heard_notification
            || self.heard_change_ack
            || self.propagate_change
    }

    fn forget_news(&mut self) {
        self.heard_change = false;
        self.heard_notification = false;
        self.heard_change_ack = false;
        self.propagate_change = false;
    }
}
