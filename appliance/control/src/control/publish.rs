//! What is in force: files are checked, and what they give is published, which cannot fail. The same files are published again
//! when something was learned, or when workers are to listen for something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use pfconf::diag::Diagnostic;

use super::{Control, Shown};
use crate::anchors::Texts;
use crate::builtin;
use crate::layout::lay_out;
use crate::policy::RuleText;
use crate::transaction::{Candidate, Context, check};

impl Control {
    pub(crate) fn check(
        &self,
        files: &BTreeMap<String, Vec<u8>>,
        anchors: &Texts,
        check_lockout: bool,
    ) -> Result<Candidate, Vec<Diagnostic>> {
        let cx = Context {
            anchors,
            changes: &self.changes,
            ports: &self.facts,
            kifs: &self.kifs,
            tags: &self.tags,
            table_slots: &self.table_slots,
            shared: &self.shared,
            slots: &self.slots,
            fleet: &self.fleet,
            states_capacity: self.states_capacity,
            settings: self.effective(),
            api_port: self.default_api_port,
            generation: self.generation() + 1,
            random_key: self.random_key,
            bounds: self.compile_bounds,
            learned: &self.learned,
            check_lockout,
        };
        check(files, &cx)
    }

    /// Cannot fail.
    pub(crate) fn publish(&mut self, candidate: Candidate) {
        let fleet = &self.fleet;
        let generation = candidate.config.generation;
        self.slots.commit(
            &candidate.plan,
            &candidate.rule_timeouts,
            generation,
            |slot| fleet.totals(slot),
        );
        self.kifs = candidate.kifs;
        self.tags = candidate.tags;
        self.table_slots = candidate.table_slots;
        for (port, mtu) in candidate.mtus {
            let known = self
                .facts
                .get_mut(usize::from(port))
                .filter(|f| f.mtu != mtu);
            let Some(facts) = known else { continue };
            match self.ports.set_mtu(port, mtu) {
                Ok(()) => facts.mtu = mtu,
                // The policy holds all the same; packets that the card does not take are counted.
                Err(error) => log::warn!("{}: mtu {mtu}: {error}", facts.name),
            }
        }
        self.account_for_tables(&candidate.config.ruleset);
        (self.wants, self.nameservers) = (candidate.wants, candidate.nameservers);
        let at = self.moment();
        let interfaces = &candidate.config.interfaces;
        self.learning.follow(interfaces, &self.wants, at);
        let listening = self.learning.listening(interfaces, &self.wants);
        let config = listening_for(&candidate.config, listening);
        let now_ms = self.clock.now_ms();
        self.trees
            .follow(&candidate.trees, interfaces, &self.links, now_ms);
        self.follow_laggs(&config.interfaces);
        let config = self.with_carriers(config);
        self.fleet.publish(config);
        self.shown = Shown {
            rules: candidate.rules,
            numbers: candidate.numbers,
            slots: candidate.plan.slots,
            hostname: candidate.hostname,
            api_port: candidate.api_port,
            idle: candidate.idle,
            loginterface: candidate.loginterface,
            debug: candidate.debug,
        };
        self.fleet.allow_naps(self.shown.idle.1.unwrap_or(0));
    }

    /// Publishes the running files with what was learned since. Rules with addresses in parentheses follow; if they
    /// cannot be compiled with what is left of the addresses, those in force stay, as on OpenBSD, and only interfaces
    /// and routes change.
    pub(crate) fn publish_learned(&mut self) {
        if self.names_addresses() {
            self.fold_tables();
            match self.check_running(&self.anchors) {
                Ok(candidate) => return self.publish(candidate),
                Err(diagnostics) => diagnostics.iter().for_each(|d| log::warn!("{d}")),
            }
        }
        let files = self.running_files();
        let (conf, _said_before) = netconf::parse_changed(&files, &self.changes);
        let mut kifs = self.kifs.clone();
        let mut diagnostics = Vec::new();
        let layout = lay_out(
            &conf,
            &self.facts,
            &self.learned,
            &mut kifs,
            &mut self.tags.clone(),
            &mut diagnostics,
        );
        diagnostics.iter().for_each(|d| log::warn!("{d}"));
        let Some(layout) = layout else { return };
        self.kifs = kifs;
        let at = self.moment();
        self.learning.follow(&layout.interfaces, &layout.wants, at);
        let listening = self.learning.listening(&layout.interfaces, &layout.wants);
        let interfaces = layout.interfaces.listening_for(listening);
        let now_ms = self.clock.now_ms();
        self.trees
            .follow(&layout.trees, &interfaces, &self.links, now_ms);
        let generation = self.generation() + 1;
        let ruleset = self.ruleset().clone();
        let config = worker::Config::new(generation, ruleset, interfaces, layout.routes);
        self.follow_laggs(&config.interfaces);
        let config = self.with_carriers(Arc::new(config));
        self.fleet.publish(config);
    }

    /// Whether a rule says the address of an interface: `(em0)`.
    fn names_addresses(&self) -> bool {
        let says = |rule: &RuleText| rule.text.contains('(');
        self.shown.rules.iter().any(says)
    }

    /// Publishes what the workers are to listen for; nothing else changes.
    pub(crate) fn publish_listening(&mut self) {
        let current = self.fleet.current().clone();
        let listening = self.learning.listening(&current.interfaces, &self.wants);
        let config = listening_for(&current, listening);
        self.fleet.publish(config);
    }

    /// The files that are in force.
    pub(crate) fn running_files(&self) -> BTreeMap<String, Vec<u8>> {
        match &self.running {
            Some(running) => running.files.clone(),
            None => builtin::tree(self.effective(), self.default_api_port),
        }
    }

    pub(super) fn publish_builtin(&mut self) {
        let files = builtin::tree(self.effective(), self.default_api_port);
        match self.check(&files, &self.anchors, false) {
            Ok(candidate) => self.publish(candidate),
            // Its warnings say what it lacks, which is the point of it. Workers then stay on generation 0, which passes nothing at all.
            Err(diagnostics) => {
                diagnostics
                    .iter()
                    .for_each(|d| log::error!("{}: {d}", builtin::ORIGIN));
            }
        }
    }
}

/// The same configuration, listening for what is said.
fn listening_for(config: &Arc<worker::Config>, listening: net::Listening) -> Arc<worker::Config> {
    if *config.interfaces.listening() == listening {
        return config.clone();
    }
    let mut config = (**config).clone();
    config.interfaces = config.interfaces.listening_for(listening);
    Arc::new(config)
}
