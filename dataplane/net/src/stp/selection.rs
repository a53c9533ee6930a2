//! The port role selection machine (17.28): which bridge is the root, which port leads there, and the part of each port.

use super::port::{InfoIs, PortRole};
use super::vector::{Priority, Times};
use super::{Settings, SpanningTree};

impl SpanningTree {
    /// Chooses again if a port asks for it.
    pub(super) fn step_selection(&mut self) -> bool {
        if !self.ports.iter().any(|p| p.reselect) {
            return false;
        }
        self.choose_root();
        for n in 0..self.ports.len() {
            self.choose_role(n);
        }
        for port in &mut self.ports {
            port.reselect = false;
            port.selected = true;
        }
        true
    }

    fn choose_root(&mut self) {
        let own = self.settings.id;
        let mut best = Priority::of_root(own);
        self.root_port = None;
        self.root_times = self.settings.times;
        for (n, port) in self.ports.iter().enumerate() {
            if port.info_is != InfoIs::Received || port.priority.bridge.addr == own.addr {
                continue;
            }
            let way = Priority {
                cost: port.priority.cost.saturating_add(port.cost),
                ..port.priority
            };
            if way < best {
                best = way;
                self.root_port = Some(n);
                self.root_times = Times {
                    message_age: port.times.message_age.saturating_add(1),
                    ..port.times
                };
            }
        }
        self.root = best;
    }

    fn choose_role(&mut self, n: usize) {
        let Settings { id, times, .. } = self.settings;
        let is_root_port = self.root_port == Some(n);
        let port = &mut self.ports[n];
        port.designated = Priority {
            bridge: id,
            designated_port: port.id,
            port: 0,
            ..self.root
        };
        port.designated_times = Times {
            hello: times.hello,
            ..self.root_times
        };
        let worse = port.designated < port.priority.on_link();
        let (role, update) = match port.info_is {
            InfoIs::Disabled => (PortRole::Disabled, false),
            InfoIs::Aged => (PortRole::Designated, true),
            InfoIs::Mine => (
                PortRole::Designated,
                port.priority != port.designated || port.times != port.designated_times,
            ),
            InfoIs::Received if is_root_port => (PortRole::Root, false),
            InfoIs::Received if worse => (PortRole::Designated, true),
            InfoIs::Received if port.priority.bridge.addr == id.addr => (PortRole::Backup, false),
            InfoIs::Received => (PortRole::Alternate, false),
        };
        port.selected_role = role;
        port.update_info = update;
    }
}
