//! What the control core publishes and a worker runs on: rules, tables, interfaces and routes change together.

use alloc::vec::Vec;

use net::{InterfaceTable, RouteTables};
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
    pub routes: RouteTables,
    /// For each label that rules ask for its number among the labels of routes.
    pub(crate) route_labels: Vec<Option<u16>>,
    /// Some rule asks for routes or sockets (`no-route`, `urpf-failed`, `user`, `group`).
    pub(crate) asks_routes: bool,
}

impl Config {
    /// A generation, with what can be known of its rules beforehand. The slots of the rules have been given.
    pub fn new(
        generation: u32,
        mut ruleset: Ruleset,
        interfaces: InterfaceTable,
        routes: impl Into<RouteTables>,
    ) -> Self {
        let routes = routes.into();
        let labels = ruleset.route_labels.iter();
        let route_labels = labels.map(|label| routes.label_number(label)).collect();
        ruleset.build_index(&indexed(&interfaces));
        Config {
            generation,
            asks_routes: filter::test_rule::needs_routes(&ruleset.rules),
            ruleset,
            interfaces,
            routes,
            route_labels,
        }
    }
}

/// Interfaces as the index of a ruleset wants them.
fn indexed(interfaces: &InterfaceTable) -> Vec<IndexedInterface> {
    let indexed = interfaces.iter().map(|interface| IndexedInterface {
        kif: KifId(interface.id.0),
        names: interface.kifs,
        loopback: interface.loopback,
        rdomain: interface.rdomain,
    });
    indexed.collect()
}
