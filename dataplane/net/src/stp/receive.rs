//! The machines about the link: port receive (17.23), port protocol migration (17.24), bridge detection (17.25).

use wire::bpdu::Bpdu;

use super::port::Migration;
use super::{MIGRATE_TIME_S, SpanningTree};

impl SpanningTree {
    /// Takes the message that was heard, one at a time.
    pub(super) fn step_receive(&mut self, n: usize) -> bool {
        let port = &mut self.ports[n];
        if !port.enabled {
            let idle = port.heard.is_none() && port.timers.edge_delay == MIGRATE_TIME_S;
            port.heard = None;
            port.message = None;
            port.heard_rapid = false;
            port.heard_stp = false;
            port.timers.edge_delay = MIGRATE_TIME_S;
            return !idle;
        }
        if port.message.is_some() {
            return false;
        }
        let Some(bpdu) = port.heard.take() else {
            return false;
        };
        match bpdu {
            Bpdu::Rapid(_) => port.heard_rapid = true,
            Bpdu::Config(_) | Bpdu::Tcn => port.heard_stp = true,
        }
        port.is_edge = false;
        port.message = Some(bpdu);
        port.timers.edge_delay = MIGRATE_TIME_S;
        true
    }

    /// Finds out which protocol the neighbor speaks.
    pub(super) fn step_migration(&mut self, n: usize) -> bool {
        let is_rapid = self.is_rapid();
        let port = &mut self.ports[n];
        let next = match port.migration {
            Migration::CheckingRapid if port.timers.migrate == 0 => Migration::Sensing,
            Migration::CheckingRapid if port.timers.migrate != MIGRATE_TIME_S && !port.enabled => {
                Migration::CheckingRapid
            }
            Migration::SelectingStp if port.timers.migrate == 0 || !port.enabled => {
                Migration::Sensing
            }
            Migration::Sensing
                if !port.enabled || (is_rapid && !port.send_rapid && port.heard_rapid) =>
            {
                Migration::CheckingRapid
            }
            Migration::Sensing if port.send_rapid && port.heard_stp => Migration::SelectingStp,
            _ => return false,
        };
        port.migration = next;
        match next {
            Migration::CheckingRapid => {
                port.send_rapid = is_rapid;
                port.timers.migrate = MIGRATE_TIME_S;
            }
            Migration::SelectingStp => {
                port.send_rapid = false;
                port.timers.migrate = MIGRATE_TIME_S;
            }
            Migration::Sensing => {
                port.heard_rapid = false;
                port.heard_stp = false;
            }
        }
        true
    }

    /// A port that proposes and hears nobody leads to hosts only.
    pub(super) fn step_edge(&mut self, n: usize) -> bool {
        let port = &mut self.ports[n];
        let silent = port.timers.edge_delay == 0 && port.settings.auto_edge;
        let becomes = match port.is_edge {
            true => port.enabled || port.settings.edge,
            false => {
                (!port.enabled && port.settings.edge)
                    || (silent && port.send_rapid && port.proposing)
            }
        };
        let moved = becomes != port.is_edge;
        port.is_edge = becomes;
        moved
    }
}
