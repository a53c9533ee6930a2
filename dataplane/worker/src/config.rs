//! What the control core publishes and a worker runs on: rules, tables, interfaces and routes change together.

use net::{InterfaceTable, RouteTable};
use ruleset::Ruleset;

/// One generation of everything that decides what happens to packets. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Number of this generation; 0 is what a worker starts with: no interface is up, nothing passes.
    pub generation: u32,
    /// The policy.
    pub ruleset: Ruleset,
    /// Interfaces with their addresses; number 0 to n.
    pub interfaces: InterfaceTable,
    /// Routes.
    pub routes: RouteTable,
    /// Some rule asks whether an address has a route (`no-route`, `urpf-failed`).
    pub asks_routes: bool,
}
