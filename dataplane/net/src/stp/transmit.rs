//! The port transmit machine (17.26): when a message goes out, and what it says. It runs once all others are at rest, so
//! that what changed in one event is told in one message.

use wire::bpdu::{Bpdu, Flags, Message, PortRole as Sender};

use super::SpanningTree;
use super::port::{Port, PortRole};

impl SpanningTree {
    pub(super) fn step_transmit(&mut self, n: usize) {
        let hold_count = self.settings.hold_count;
        let port = &mut self.ports[n];
        if !port.enabled {
            port.news = true;
            port.sent = 0;
            port.outgoing = None;
            return;
        }
        if !port.is_settled() {
            return;
        }
        if port.timers.hello == 0 {
            port.timers.hello = port.designated_times.hello;
            let tells = port.role == PortRole::Root && port.timers.change != 0;
            port.news |= port.role == PortRole::Designated || tells;
        }
        if !port.news || port.sent >= hold_count {
            return;
        }
        let bpdu = match (port.send_rapid, port.role) {
            (true, _) => Bpdu::Rapid(port.say()),
            (false, PortRole::Root) if port.timers.change != 0 => Bpdu::Tcn,
            (false, PortRole::Designated) => Bpdu::Config(port.say()),
            // Others are silent in STP.
            (false, _) => {
                port.news = false;
                return;
            }
        };
        port.news = false;
        port.change_ack = false;
        port.sent += 1;
        port.outgoing = Some(bpdu);
    }
}

impl Port {
    fn say(&self) -> Message {
        let says = &self.designated;
        let times = &self.designated_times;
        let seconds = |s: u16| s.min(255) << 8;
        Message {
            flags: Flags {
                topology_change: self.timers.change != 0,
                proposal: self.proposing,
                role: match self.role {
                    PortRole::Root => Sender::Root,
                    PortRole::Designated => Sender::Designated,
                    PortRole::Alternate | PortRole::Backup => Sender::AlternateOrBackup,
                    PortRole::Disabled => Sender::Unknown,
                },
                learning: self.learning,
                forwarding: self.forwarding,
                agreement: self.agree,
                topology_change_ack: self.change_ack,
            },
            root: says.root,
            cost: says.cost,
            bridge: says.bridge,
            port: says.designated_port,
            message_age: seconds(times.message_age),
            max_age: seconds(times.max_age),
            hello: seconds(times.hello),
            forward_delay: seconds(times.forward_delay),
        }
    }
}
