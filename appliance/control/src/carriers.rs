//! What hangs on links: which interfaces can carry frames, and what follows when that changes. Routes go by other ways where
//! there are any, and come back with the link; what is learned and announced on an interface is told.
//!
//! Read first: route(8) and rt_if_linkstate_change of OpenBSD, where a route is up only with the link of its interface.

use std::collections::BTreeSet;
use std::sync::Arc;

use net::{InterfaceId, InterfaceTable, Route, RouteTables};
use worker::Config;

use crate::control::Control;

/// What is known of links.
#[derive(Default)]
pub(crate) struct Carriers {
    /// Interfaces that cannot carry frames.
    dead: BTreeSet<InterfaceId>,
    /// The routes of the running configuration as if all links were there; none if links make no difference to them.
    built: Option<RouteTables>,
    /// Ports of a lagg may do something else than before: somebody should look.
    pub(crate) stale: bool,
}

impl Carriers {
    fn routes(&self) -> Option<RouteTables> {
        let built = self.built.as_ref()?;
        Some(built.with_links(|id| !self.dead.contains(&id)))
    }

    /// Whether packets by a route find a link, as far as it needs one.
    pub(crate) fn carry(&self, route: &Route) -> bool {
        !route.needs_link() || !self.dead.contains(&route.interface)
    }
}

impl Control {
    fn dead_in(&self, interfaces: &InterfaceTable) -> BTreeSet<InterfaceId> {
        let dead = interfaces
            .iter()
            .filter(|i| !i.is_loopback() && !self.carries_in(interfaces, i));
        dead.map(|i| i.id).collect()
    }

    /// A configuration that is about to be published, with the routes that the links allow. Its laggs are followed already.
    pub(crate) fn with_carriers(&mut self, config: Arc<Config>) -> Arc<Config> {
        self.carriers = Carriers {
            dead: self.dead_in(&config.interfaces),
            built: config.routes.has_choices().then(|| config.routes.clone()),
            stale: false,
        };
        match self.carriers.routes() {
            Some(routes) if !routes.leads_as(&config.routes) => {
                let mut config = (*config).clone();
                config.routes = routes;
                Arc::new(config)
            }
            _ => config,
        }
    }

    /// Looks which interfaces can carry frames now, and tells those whom it concerns if that has changed.
    pub(crate) fn follow_carriers(&mut self) {
        let current = self.fleet.current().clone();
        let dead = self.dead_in(&current.interfaces);
        self.carriers.stale = false;
        if dead == self.carriers.dead {
            return;
        }
        let changed = dead.symmetric_difference(&self.carriers.dead);
        let changed: Vec<(String, bool)> = changed
            .filter_map(|id| {
                let interface = current.interfaces.get(*id)?;
                Some((interface.name.to_string(), !dead.contains(id)))
            })
            .collect();
        self.carriers.dead = dead;
        for (name, up) in changed {
            if up {
                // It may never have been told that there was no link.
                self.learning_link(&name, false);
            }
            self.learning_link(&name, up);
        }
        let routes = self.carriers.routes();
        if let Some(routes) = routes.filter(|routes| !routes.leads_as(&current.routes)) {
            let mut config = (*self.fleet.current().clone()).clone();
            config.routes = routes;
            self.fleet.publish(Arc::new(config));
            log::info!("routes follow the links");
        }
    }
}
