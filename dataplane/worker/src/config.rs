//! What the control core publishes and a worker runs on: rules, tables, interfaces and routes change together.

use alloc::vec::Vec;

use net::{InterfaceTable, RouteTable};
use ruleset::{IndexedInterface, KifId, Ruleset};

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
    /// Some rule asks for routes or sockets (`no-route`, `urpf-failed`, `user`, `group`).
    pub(crate) asks_routes: bool,
}

impl Config {
    /// A generation, with what can be known of its rules beforehand. The slots of the rules have been given.
    pub fn new(
        generation: u32,
        mut ruleset: Ruleset,
        interfaces: InterfaceTable,
        routes: RouteTable,
    ) -> Self {
        ruleset.build_index(&indexed(&interfaces));
        Config {
            generation,
            asks_routes: filter::test_rule::needs_routes(&ruleset.rules),
            ruleset,
            interfaces,
            routes,
        }
    }
}

/// Interfaces as the index of a ruleset wants them.
fn indexed(interfaces: &InterfaceTable) -> Vec<IndexedInterface> {
    let indexed = interfaces.iter().map(|interface| IndexedInterface {
        kif: KifId(interface.id.0),
        names: interface.kifs,
        loopback: interface.loopback,
    });
    indexed.collect()
}
