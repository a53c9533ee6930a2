//! What is known of one port: the variables of IEEE 802.1D-2004 17.19, and its timers of 17.17.

use wire::bpdu::{Bpdu, Message};

use super::vector::{Priority, Times};
use super::{MIGRATE_TIME_S, Protocol, Settings};

/// Settings of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortSettings {
    /// Priority: the top four bits of its identifier.
    pub priority: u8,
    /// Cost of a way over it; none is by the speed of the link.
    pub cost: Option<u32>,
    /// Hosts only are there: it need not wait.
    pub edge: bool,
    /// It is taken for an edge if nobody answers.
    pub auto_edge: bool,
    /// Whether at most one other bridge is on the link; none is by its duplex mode.
    pub point_to_point: Option<bool>,
}

impl Default for PortSettings {
    fn default() -> Self {
        PortSettings {
            priority: super::PORT_PRIORITY,
            cost: None,
            edge: false,
            auto_edge: true,
            point_to_point: None,
        }
    }
}

/// What a port may do with frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PortState {
    /// Nothing but to hear and send messages of the protocol.
    Discarding,
    /// Learns where stations are.
    Learning,
    /// Learns and forwards.
    Forwarding,
}

/// The part of a port in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PortRole {
    /// No link.
    Disabled,
    /// Towards the root.
    Root,
    /// Serves its link.
    Designated,
    /// Another way to the root, in reserve.
    Alternate,
    /// A second port on a link that this bridge serves.
    Backup,
}

/// Where what the port knows is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InfoIs {
    Disabled,
    Aged,
    Mine,
    Received,
}

/// Which protocol the neighbor speaks: the port protocol migration machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Migration {
    CheckingRapid,
    Sensing,
    SelectingStp,
}

/// The topology change machine, without its states that are left at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Topology {
    Inactive,
    Learning,
    Active,
}

/// Timers, in seconds left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Timers {
    /// Until a silent port is taken for an edge.
    pub(super) edge_delay: u16,
    /// Until the next state, where nobody agrees.
    pub(super) forward: u16,
    /// Until the next regular message.
    pub(super) hello: u16,
    /// Until the protocol of the neighbor is judged.
    pub(super) migrate: u16,
    /// The port was a backup until so long ago.
    pub(super) recent_backup: u16,
    /// Until what was received is too old.
    pub(super) received: u16,
    /// The port was the root port until so long ago.
    pub(super) recent_root: u16,
    /// Topology changes are told for so long.
    pub(super) change: u16,
}

impl Timers {
    fn tick(&mut self) {
        let all = [
            &mut self.edge_delay,
            &mut self.forward,
            &mut self.hello,
            &mut self.migrate,
            &mut self.recent_backup,
            &mut self.received,
            &mut self.recent_root,
            &mut self.change,
        ];
        for timer in all {
            *timer = timer.saturating_sub(1);
        }
    }
}

/// One port.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) settings: PortSettings,
    pub(super) id: u16,
    pub(super) enabled: bool,
    pub(super) cost: u32,
    pub(super) point_to_point: bool,
    pub(super) is_edge: bool,

    pub(super) heard: Option<Bpdu>,
    /// The message at hand.
    pub(super) message: Option<Bpdu>,
    pub(super) outgoing: Option<Bpdu>,

    pub(super) migration: Migration,
    pub(super) send_rapid: bool,
    pub(super) heard_rapid: bool,
    pub(super) heard_stp: bool,

    pub(super) info_is: InfoIs,
    pub(super) priority: Priority,
    pub(super) times: Times,
    pub(super) designated: Priority,
    pub(super) designated_times: Times,
    pub(super) reselect: bool,
    pub(super) selected: bool,
    pub(super) update_info: bool,

    pub(super) role: PortRole,
    pub(super) selected_role: PortRole,
    pub(super) learn: bool,
    pub(super) learning: bool,
    pub(super) forward: bool,
    pub(super) forwarding: bool,

    pub(super) proposed: bool,
    pub(super) proposing: bool,
    pub(super) agree: bool,
    pub(super) agreed: bool,
    pub(super) disputed: bool,
    pub(super) sync: bool,
    pub(super) synced: bool,
    pub(super) reroot: bool,

    pub(super) topology: Topology,
    pub(super) heard_change: bool,
    pub(super) heard_notification: bool,
    pub(super) heard_change_ack: bool,
    pub(super) change_ack: bool,
    pub(super) propagate_change: bool,
    pub(super) epoch: u16,

    pub(super) news: bool,
    pub(super) sent: u8,
    pub(super) timers: Timers,
}

impl Port {
    pub(super) fn new(n: usize, settings: PortSettings, bridge: &Settings) -> Port {
        let priority = Priority::of_root(bridge.id);
        Port {
            settings,
            // Numbers begin with 1 (9.2.7).
            id: u16::from(settings.priority & 0xf0) << 8 | (n as u16 + 1),
            enabled: false,
            cost: settings.cost.unwrap_or(super::path_cost(0)),
            point_to_point: settings.point_to_point.unwrap_or(true),
            is_edge: settings.edge,
            heard: None,
            message: None,
            outgoing: None,
            migration: Migration::CheckingRapid,
            send_rapid: bridge.protocol == Protocol::Rstp,
            heard_rapid: false,
            heard_stp: false,
            info_is: InfoIs::Disabled,
            priority,
            times: bridge.times,
            designated: priority,
            designated_times: bridge.times,
            reselect: true,
            selected: false,
            update_info: false,
            role: PortRole::Disabled,
            selected_role: PortRole::Disabled,
            learn: false,
            learning: false,
            forward: false,
            forwarding: false,
            proposed: false,
            proposing: false,
            agree: false,
            agreed: false,
            disputed: false,
            sync: true,
            synced: false,
            reroot: true,
            topology: Topology::Inactive,
            heard_change: false,
            heard_notification: false,
            heard_change_ack: false,
            change_ack: false,
            propagate_change: false,
            epoch: 0,
            news: true,
            sent: 0,
            timers: Timers {
                edge_delay: MIGRATE_TIME_S,
                migrate: MIGRATE_TIME_S,
                ..Timers::default()
            },
        }
    }

    pub(super) fn tick(&mut self) {
        self.timers.tick();
        self.sent = self.sent.saturating_sub(1);
    }

    pub(super) fn state(&self) -> PortState {
        match (self.learning, self.forwarding) {
            (true, true) => PortState::Forwarding,
            (true, false) => PortState::Learning,
            (false, _) => PortState::Discarding,
        }
    }

    /// The roles are chosen and nothing is waiting to be told: the condition of most transitions.
    pub(super) fn is_settled(&self) -> bool {
        self.selected && !self.update_info
    }

    /// `forwardDelay` of 17.20.5: a port with a neighbor that speaks RSTP waits a hello time only.
    pub(super) fn next_state_s(&self) -> u16 {
        match self.send_rapid {
            true => self.designated_times.hello,
            false => self.designated_times.forward_delay,
        }
    }

    /// The configuration message at hand, if it is one.
    pub(super) fn config(&self) -> Option<&Message> {
        match &self.message {
            Some(Bpdu::Config(message) | Bpdu::Rapid(message)) => Some(message),
            Some(Bpdu::Tcn) | None => None,
        }
    }

    pub(super) fn forget_stations(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }
}
