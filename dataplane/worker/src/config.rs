//! What the control core publishes and a worker runs on: rules, tables, interfaces and routes change together.

use alloc::vec::Vec;

use net::{InterfaceId, InterfaceTable, RouteTables};
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
    /// By interface number: it is not filtered at all. Empty if that is true of none.
    skipped: Vec<bool>,
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
            skipped: skipped(&ruleset, &interfaces),
            asks_routes: filter::test_rule::needs_routes(&ruleset.rules),
            ruleset,
            interfaces,
            routes,
            route_labels,
        }
    }

    /// Whether an interface is not filtered at all (`set skip on`).
    #[inline]
    pub(crate) fn skips(&self, interface: InterfaceId) -> bool {
        let at = usize::from(interface.0);
        self.skipped.get(at).copied().unwrap_or(false)
    }
}

fn skipped(ruleset: &Ruleset, interfaces: &InterfaceTable) -> Vec<bool> {
    let mut skipped = Vec::new();
    for interface in interfaces.iter().filter(|i| ruleset.skips(&i.kifs)) {
        skipped.resize(usize::from(interface.id.0), false);
        skipped.push(true);
    }
    skipped
}

/// Interfaces as the index of a ruleset wants them.
fn indexed(interfaces: &InterfaceTable) -> Vec<IndexedInterface> {
    let indexed = interfaces.iter().map(|interface| IndexedInterface {
        kif: KifId(interface.id.0),
        names: interface.kifs,
        loopback: interface.is_loopback(),
        rdomain: interface.rdomain,
    });
    indexed.collect()
}
