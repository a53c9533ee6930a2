//! The spanning tree of one bridge: RSTP, and STP where a neighbor speaks only that.
//!
//! Read first: IEEE 802.1D-2004 clause 17; the names of its variables are kept, in our spelling. Owns the port states;
//! knows no cards, no clock and no frames: time comes in as an argument, messages go out by
//! [`SpanningTree::poll_transmit`]. Lives on the control core, which publishes the states to the workers.
//!
//! Each of the standard's machines is one function in a file of its own, which makes at most one transition and says
//! whether it did; [`SpanningTree::settle`] runs them until nothing moves any more.

mod info;
mod port;
mod receive;
mod roles;
mod selection;
#[cfg(test)]
mod sim;
mod topology;
mod transmit;
mod vector;

use alloc::vec::Vec;

use wire::bpdu::{Bpdu, BridgeId};

use port::Port;
pub use port::{PortRole, PortSettings, PortState};
pub use vector::{Priority, Times};

/// Most members of a bridge: the states of all are published as bits of one word.
pub const MEMBERS_MAX: usize = 64;
/// Bridges and ports begin with this priority, in their own units (IEEE 802.1D-2004 table 17-2).
pub const BRIDGE_PRIORITY: u16 = 0x8000;
/// Priority of a port: the top four bits of its identifier.
pub const PORT_PRIORITY: u8 = 0x80;
/// Seconds after which a port is taken to have another kind of neighbor (17.13.9).
pub(crate) const MIGRATE_TIME_S: u16 = 3;
/// Most seconds caught up with when time has jumped: longer than any timer here.
const CATCH_UP_S: u64 = 64;
/// More rounds than any bridge of [`MEMBERS_MAX`] ports needs to come to rest.
const ROUNDS_MAX: usize = 1000;

/// What protocol a bridge speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// STP, with its timers.
    Stp,
    /// RSTP, and STP on ports that hear it.
    #[default]
    Rstp,
}

/// Settings of a bridge (IEEE 802.1D-2004 table 17-1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Priority and address of the bridge.
    pub id: BridgeId,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its times, in seconds.
    pub times: Times,
    /// Messages that one port sends in a second at most.
    pub hold_count: u8,
}

impl Settings {
    /// The standard's values for a bridge.
    pub fn new(id: BridgeId) -> Settings {
        Settings {
            id,
            protocol: Protocol::Rstp,
            times: Times::default(),
            hold_count: 6,
        }
    }
}

/// What happens to a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A message came.
    Heard(Bpdu),
    /// The link is there.
    LinkUp {
        /// Cost of a way over it.
        cost: u32,
        /// Two bridges at most are on it: full duplex.
        point_to_point: bool,
    },
    /// The link is gone.
    LinkDown,
}

/// Cost of a link of so many Mbit/s (IEEE 802.1D-2004 table 17-3); an unknown speed is taken for 1 Gbit/s.
pub fn path_cost(mbit_per_s: u32) -> u32 {
    match mbit_per_s {
        0 => 20_000,
        speed => (20_000_000 / speed).clamp(1, 200_000_000),
    }
}

/// The spanning tree protocol of one bridge.
pub struct SpanningTree {
    settings: Settings,
    ports: Vec<Port>,
    /// The best way to the root that is known, and where it leads out; none if the root is here.
    root: Priority,
    root_times: Times,
    root_port: Option<usize>,
    next_tick_ms: u64,
    /// Topology changes seen.
    changes: u64,
}

impl SpanningTree {
    /// A bridge whose ports have no link yet. Members beyond [`MEMBERS_MAX`] are left out.
    pub fn new(settings: Settings, ports: &[PortSettings], now_ms: u64) -> Self {
        let ports = ports.iter().take(MEMBERS_MAX).enumerate();
        let mut tree = SpanningTree {
            ports: ports.map(|(n, p)| Port::new(n, *p, &settings)).collect(),
            root: Priority::of_root(settings.id),
            root_times: settings.times,
            root_port: None,
            next_tick_ms: now_ms + 1000,
            changes: 0,
            settings,
        };
        tree.settle();
        tree
    }

    /// Something happened to port `n`. What is to be sent is then there for [`Self::poll_transmit`].
    pub fn handle(&mut self, now_ms: u64, n: usize, event: Event) {
        self.poll(now_ms);
        let Some(port) = self.ports.get_mut(n) else {
            return;
        };
        match event {
            Event::Heard(bpdu) => port.heard = Some(bpdu),
            Event::LinkUp {
                cost,
                point_to_point,
            } => {
                port.enabled = true;
                port.cost = port.settings.cost.unwrap_or(cost);
                port.point_to_point = port.settings.point_to_point.unwrap_or(point_to_point);
                port.reselect = true;
            }
            Event::LinkDown => port.enabled = false,
        }
        self.settle();
    }

    /// Lets time pass.
    pub fn poll(&mut self, now_ms: u64) {
        let late = now_ms.saturating_sub(self.next_tick_ms) / 1000;
        self.next_tick_ms += late.saturating_sub(CATCH_UP_S) * 1000;
        while self.next_tick_ms <= now_ms {
            self.next_tick_ms += 1000;
            self.ports.iter_mut().for_each(Port::tick);
            self.settle();
        }
    }

    /// When [`Self::poll`] has something to do next, in milliseconds.
    pub fn poll_at_ms(&self) -> u64 {
        self.next_tick_ms
    }

    /// A message to be sent by a port; at most one each for every event and every second that passed.
    pub fn poll_transmit(&mut self) -> Option<(usize, Bpdu)> {
        let ports = self.ports.iter_mut().enumerate();
        ports
            .filter_map(|(n, p)| Some((n, p.outgoing.take()?)))
            .next()
    }

    /// What port `n` may do with frames.
    pub fn state(&self, n: usize) -> PortState {
        self.ports.get(n).map_or(PortState::Discarding, Port::state)
    }

    /// The part that port `n` plays.
    pub fn role(&self, n: usize) -> PortRole {
        self.ports.get(n).map_or(PortRole::Disabled, |p| p.role)
    }

    /// Moves on whenever what was learned behind port `n` is to be forgotten.
    pub fn epoch(&self, n: usize) -> u16 {
        self.ports.get(n).map_or(0, |p| p.epoch)
    }

    /// The root as this bridge sees it.
    pub fn root(&self) -> BridgeId {
        self.root.root
    }

    /// Cost of the way to the root.
    pub fn root_cost(&self) -> u32 {
        self.root.cost
    }

    /// The port towards the root; none if this bridge is it.
    pub fn root_port(&self) -> Option<usize> {
        self.root_port
    }

    /// Topology changes that this bridge has seen.
    pub fn topology_changes(&self) -> u64 {
        self.changes
    }

    /// Whether port `n` speaks RSTP, or STP because its neighbor does.
    pub fn speaks_rapid(&self, n: usize) -> bool {
        self.ports.get(n).is_some_and(|p| p.send_rapid)
    }

    /// Cost of a way over port `n`; 0 before it had a link.
    pub fn cost(&self, n: usize) -> u32 {
        self.ports.get(n).map_or(0, |p| p.cost)
    }

    /// Whether at most one other bridge is taken to be behind port `n`.
    pub fn is_point_to_point(&self, n: usize) -> bool {
        self.ports.get(n).is_some_and(|p| p.point_to_point)
    }

    /// Whether port `n` is taken to lead to hosts only.
    pub fn is_edge(&self, n: usize) -> bool {
        self.ports.get(n).is_some_and(|p| p.is_edge)
    }

    /// Runs all machines until none moves.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for n in 0..self.ports.len() {
                moved |= self.step_receive(n);
                moved |= self.step_migration(n);
                moved |= self.step_edge(n);
                moved |= self.step_info(n);
            }
            moved |= self.step_selection();
            for n in 0..self.ports.len() {
                moved |= self.step_role(n);
                moved |= self.step_state(n);
                moved |= self.step_topology(n);
            }
            if !moved {
                break;
            }
        }
        for n in 0..self.ports.len() {
            self.step_transmit(n);
        }
    }

    fn is_rapid(&self) -> bool {
        self.settings.protocol == Protocol::Rstp
    }
}
