//! The control core: what runs, what is kept, who may change it. Called by the program's loop; has no thread of its own.
//!
//! A change goes: prove (who?) → open → check (everything) → store (durable) → publish (cannot fail). Whatever fails
//! before the last step leaves the running configuration and the stored one as they were.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bundle::replay::{self, Admission};
use bundle::signature::{self, SignatureError, Verified};
use bundle::{Bundle, Date};
use filter::{LostEdit, Shared};
use nic::LinkState;
use pfconf::Bounds;
use pfconf::diag::Diagnostic;
use ruleset::{RuleSlot, Ruleset};
use sync::OverlayEntry;

use crate::anchors::Texts;
use crate::api::{Applied, Pinger, Proof, Refused};
use crate::builtin;
use crate::carriers::Carriers;
use crate::changes::Demotions;
use crate::domains::Domains;
use crate::fleet::{Fleet, WorkerLink};
use crate::lagg::Laggs;
use crate::layout::lay_out;
use crate::learning::{Learned, Learning, Wants};
use crate::log_ring::LogRing;
use crate::machine::{Clock, PortFacts, Ports};
use crate::numbers::{Kifs, TableSlots, Tags};
use crate::pflog::PfLog;
use crate::policy::RuleText;
use crate::settings::{self, Management, Settings};
use crate::slots::RuleSlots;
use crate::store::Store;
use crate::tables::Accounts;
use crate::token::{Memo, TokenHash, hex};
use crate::trace::Trace;
use crate::transaction::{Candidate, Context, check};
use crate::trees::Trees;

/// What the control core is made from.
pub struct Setup {
    /// Version of the program.
    pub version: String,
    /// Workers, by number.
    pub workers: Vec<WorkerLink>,
    /// Ports.
    pub ports: Box<dyn Ports>,
    /// Where bundle and settings are kept.
    pub store: Box<dyn Store>,
    /// Time and chance.
    pub clock: Box<dyn Clock>,
    /// The local host's ping.
    pub pinger: Box<dyn Pinger>,
    /// The last log lines.
    pub log: LogRing,
    /// States of all workers.
    pub shared: Arc<Shared>,
    /// States that all workers together have room for.
    pub states_capacity: u64,
    /// Places for rule counters that each worker has.
    pub rule_slots: usize,
    /// How large a bundle may be; the store may allow less.
    pub bundle_limits: bundle::Limits,
    /// What compiling one may grow to.
    pub compile_bounds: Bounds,
    /// Given for this run by kernel arguments or a seed disk; wins over what is stored and is not stored.
    pub given: Settings,
    /// Port of the API where no `fugu.conf` names one.
    pub api_port: u16,
    /// Why the previous run died.
    pub epitaph: Option<String>,
}

/// What somebody asked the program to do with itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Restart the box, or end the process.
    Reboot,
    /// Switch the box off, or end the process.
    Halt,
}

/// What happens to the box from outside of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The link of a port, asked now and then.
    Link {
        /// Port number.
        port: u16,
        /// What the driver says.
        state: LinkState,
    },
    /// Some time has passed: old configurations may be free.
    Tick,
}

/// The bundle that runs.
pub(crate) struct Running {
    pub(crate) digest: [u8; 32],
    pub(crate) origin: String,
    /// Its files, for anchors that are edited at run time.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// What is published, in a person's terms.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) rules: Vec<RuleText>,
    /// For each rule of the ruleset its place in `rules`.
    pub(crate) numbers: Vec<u32>,
    /// Where each of `rules` counts.
    pub(crate) slots: Vec<RuleSlot>,
    pub(crate) hostname: String,
    pub(crate) api_port: u16,
    pub(crate) idle: (Option<u32>, Option<u32>),
    pub(crate) loginterface: Option<String>,
    pub(crate) debug: String,
}

/// The control core.
pub struct Control {
    pub(crate) version: String,
    pub(crate) fleet: Fleet,
    pub(crate) ports: Box<dyn Ports>,
    pub(crate) facts: Vec<PortFacts>,
    pub(crate) links: Vec<LinkState>,
    pub(crate) laggs: Laggs,
    pub(crate) carriers: Carriers,
    /// Station addresses that the ports have been given.
    pub(crate) macs: Vec<wire::ether::Addr>,
    store: Box<dyn Store>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) pinger: Box<dyn Pinger>,
    pub(crate) log: LogRing,
    pub(crate) shared: Arc<Shared>,
    pub(crate) states_capacity: u64,
    stored: Settings,
    given: Settings,
    memo: Memo,
    pub(crate) default_api_port: u16,
    bundle_limits: bundle::Limits,
    compile_bounds: Bounds,
    pub(crate) slots: RuleSlots,
    pub(crate) kifs: Kifs,
    tags: Tags,
    pub(crate) table_slots: TableSlots,
    /// Edits of tables that are part of the contents by now, and that some worker may not know yet.
    pub(crate) folded: Vec<OverlayEntry>,
    /// When addresses came into tables, and what they had counted before.
    pub(crate) accounts: Accounts,
    /// Reasons for which edits were lost that the log knows of.
    pub(crate) lost_edits_told: [bool; LostEdit::NAMES.len()],
    random_key: [u32; 4],
    pub(crate) running: Option<Running>,
    pub(crate) shown: Shown,
    pub(crate) trace: Option<Trace>,
    /// Anchors edited at run time, by path.
    pub(crate) anchors: Texts,
    /// Commands that changed the network at run time, in their order.
    pub(crate) changes: Vec<String>,
    /// What groups were demoted by.
    pub(crate) demotions: Demotions,
    pub(crate) pflog: PfLog,
    pub(crate) learning: Learning,
    /// What was learned and is in force.
    pub(crate) learned: Learned,
    pub(crate) wants: Wants,
    pub(crate) nameservers: Vec<IpAddr>,
    /// Spanning trees of bridges.
    pub(crate) trees: Trees,
    pub(crate) started_ms: u64,
    pub(crate) uploads_refused: u64,
    pub(crate) uploads_accepted: u64,
    pub(crate) epitaph: Option<String>,
    wish: Option<Wish>,
}

impl Control {
    /// Takes over the box: settings are read and the built-in policy is published. [`Control::start_stored`] comes next.
    pub fn new(setup: Setup) -> Control {
        let mut store = setup.store;
        let stored = load_settings(store.as_mut());
        let mut memo_key = [0; 32];
        setup.clock.random(&mut memo_key);
        let facts = setup.ports.list();
        let mut control = Control {
            version: setup.version,
            fleet: Fleet::new(setup.workers),
            links: vec![LinkState::Down; facts.len()],
            laggs: Laggs::default(),
            carriers: Carriers::default(),
            macs: Vec::new(),
            facts,
            ports: setup.ports,
            store,
            started_ms: setup.clock.now_ms(),
            pinger: setup.pinger,
            log: setup.log,
            shared: setup.shared,
            states_capacity: setup.states_capacity,
            stored,
            given: setup.given,
            memo: Memo::new(memo_key),
            default_api_port: setup.api_port,
            bundle_limits: setup.bundle_limits,
            compile_bounds: setup.compile_bounds,
            slots: RuleSlots::new(setup.rule_slots),
            kifs: Kifs::default(),
            tags: Tags::default(),
            table_slots: TableSlots::default(),
            folded: Vec::new(),
            accounts: Accounts::default(),
            lost_edits_told: [false; LostEdit::NAMES.len()],
            random_key: random_key(setup.clock.as_ref()),
            clock: setup.clock,
            running: None,
            shown: Shown::default(),
            trace: None,
            anchors: Texts::new(),
            changes: Vec::new(),
            demotions: Demotions::new(),
            pflog: PfLog::default(),
            learning: Learning::default(),
            learned: Learned::default(),
            wants: Wants::default(),
            nameservers: Vec::new(),
            trees: Trees::default(),
            uploads_refused: 0,
            uploads_accepted: 0,
            epitaph: setup.epitaph,
            wish: None,
        };
        control.publish_builtin();
        control
    }

    /// Puts the stored bundle in force, by the same way as an upload. False if there is none, or it does not fit any more:
    /// the reasons are in the log, and the built-in policy stays.
    pub fn start_stored(&mut self) -> bool {
        let Some(bytes) = self.store.load_bundle() else {
            return false;
        };
        // The floor may have been lost with the power just after this bundle was accepted.
        let forgiven = self.stored.forgiven == Some(bundle::digest_of(&bytes));
        if let Ok(verified) = signature::verify(&bytes, &self.trusted())
            && !forgiven
        {
            self.stored.floor = self.stored.floor.max(Some(verified.date));
        }
        match open(&bytes, &self.bundle_limits) {
            Ok(bundle) => self.begin(&bundle.files, bundle.digest, "boot", "the stored bundle"),
            Err(why) => {
                log::error!("the stored bundle is not used: {why:?}");
                false
            }
        }
    }

    /// Puts files from the command line or a seed disk in force. Not stored: they come again with every start.
    pub fn start_files(&mut self, files: &BTreeMap<String, Vec<u8>>, origin: &str) -> bool {
        let digest = digest_of_files(files);
        self.begin(files, digest, origin, "the given files")
    }

    fn begin(
        &mut self,
        files: &BTreeMap<String, Vec<u8>>,
        digest: [u8; 32],
        origin: &str,
        what: &str,
    ) -> bool {
        match self.check(files, &Texts::new(), true) {
            Ok(candidate) => {
                candidate.warnings.iter().for_each(|d| log::warn!("{d}"));
                self.publish(candidate);
                self.running = Some(Running {
                    digest,
                    origin: origin.into(),
                    files: files.clone(),
                });
                true
            }
            Err(diagnostics) => {
                diagnostics.iter().for_each(|d| log::error!("{d}"));
                log::error!("{what} is not used: it does not pass the check");
                false
            }
        }
    }

    /// Something happened.
    pub fn on_event(&mut self, event: Event) {
        match event {
            Event::Tick => {
                if self.carriers.stale {
                    self.follow_carriers();
                }
                self.fleet.feel_pulses(self.clock.now_ms());
                self.tend_kills();
                self.tend_tables();
                self.fleet.bury();
                self.drain_log();
                self.learning_tick();
                if !self.trees.is_empty() {
                    let interfaces = &self.fleet.current().interfaces;
                    self.trees.poll(interfaces, self.clock.now_ms());
                }
            }
            Event::Link { port, state } => self.on_link(port, state),
        }
    }

    fn on_link(&mut self, port: u16, state: LinkState) {
        let Some(old) = self.links.get_mut(usize::from(port)) else {
            return;
        };
        let was = std::mem::replace(old, state);
        if was.is_up() != state.is_up() {
            self.lagg_link(port, state.is_up());
        }
        let name = self.port_name(port).to_string();
        if was != state {
            let interfaces = &self.fleet.current().interfaces;
            let now_ms = self.clock.now_ms();
            self.trees.on_links(interfaces, &self.links, now_ms);
        }
        match state {
            _ if was.is_up() == state.is_up() => {}
            LinkState::Down => log::warn!("{name}: link down"),
            LinkState::Up { speed_mbps: 0, .. } => log::info!("{name}: link up"),
            LinkState::Up { speed_mbps, .. } => {
                log::info!("{name}: link up, {speed_mbps} Mbit/s")
            }
        }
        self.learning_link(&name, state.is_up());
        if was.is_up() != state.is_up() {
            self.follow_carriers();
        }
    }

    /// What a port is called: as the files say, or its driver.
    pub(crate) fn port_name(&self, port: u16) -> &str {
        let mut interfaces = self.fleet.current().interfaces.iter();
        let named = interfaces.find(|i| i.port() == Some(port));
        let driver = || self.facts.get(usize::from(port)).map(|f| f.name.as_str());
        let name = named.map(|i| i.name.as_str()).or_else(driver);
        name.unwrap_or("a port")
    }

    /// A frame of a link protocol came in by a port, for the interface `on`: the port's own if nothing is said, or what
    /// stands on it. Tags of a VLAN that is a member of a bridge are taken already.
    pub fn hear_frame(&mut self, port: u16, on: Option<net::InterfaceId>, frame: &[u8]) {
        let interfaces = &self.fleet.current().interfaces;
        let now_ms = self.clock.now_ms();
        let on = on.or_else(|| interfaces.by_port(port).map(|i| i.id));
        if let Some(on) = on {
            self.trees.hear(interfaces, on, frame, now_ms);
        }
        self.hear_answer(port, frame);
        self.hear_slow(port, frame);
    }

    /// The link of a port, as it was told last.
    pub fn link(&self, port: u16) -> LinkState {
        self.links
            .get(usize::from(port))
            .copied()
            .unwrap_or_default()
    }

    /// Longest upload that can be accepted, in bytes.
    pub fn bundle_bytes_max(&self) -> usize {
        self.store
            .bundle_bytes_max()
            .min(self.bundle_limits.compressed)
    }

    /// Number of the published configuration. Whoever copies from it looks again when this has changed.
    pub fn generation(&self) -> u32 {
        self.fleet.current().generation
    }

    /// True once a bundle's policy is in force, not the built-in one.
    pub fn is_forwarding(&self) -> bool {
        self.running.is_some()
    }

    /// Every address of the box, for the local host.
    pub fn local_addresses(&self) -> Vec<(IpAddr, u8)> {
        let interfaces = self.fleet.current().interfaces.iter().filter(|i| i.up);
        interfaces
            .flat_map(|i| &i.addrs)
            .filter(|a| !a.addr.is_loopback())
            .map(|a| (a.addr, a.prefix_len))
            .collect()
    }

    /// Which routing tables the local host's packets go by.
    pub fn domains(&self) -> Domains {
        Domains::new(&self.fleet.current().interfaces)
    }

    /// Port of the API.
    pub fn api_port(&self) -> u16 {
        self.shown.api_port
    }

    /// Idle behavior that the bundle asks for: (after ms, backoff µs).
    pub fn idle(&self) -> (Option<u32>, Option<u32>) {
        self.shown.idle
    }

    /// Management addresses in use while no bundle runs.
    pub fn management(&self) -> &[Management] {
        &self.effective().management
    }

    /// What somebody asked for, once.
    pub fn take_wish(&mut self) -> Option<Wish> {
        self.wish.take()
    }

    pub(crate) fn wish(&mut self, wish: Wish) {
        self.wish = Some(wish);
    }

    /// The local host was made anew: so is its ping.
    pub fn set_pinger(&mut self, pinger: Box<dyn Pinger>) {
        self.pinger = pinger;
    }

    /// The workers have the configuration of `Control::generation`.
    pub fn is_adopted(&self) -> bool {
        self.fleet.adopted() == self.generation()
    }

    pub(crate) fn ruleset(&self) -> &Ruleset {
        &self.fleet.current().ruleset
    }
}

/// Changes.
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

    fn publish_builtin(&mut self) {
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

    pub(crate) fn apply(&mut self, bytes: &[u8], proof: &Proof) -> Result<Applied, Refused> {
        let outcome = self.try_apply(bytes, proof);
        match &outcome {
            Ok(_) => self.uploads_accepted += 1,
            Err(_) => self.uploads_refused += 1,
        }
        outcome
    }

    fn try_apply(&mut self, bytes: &[u8], proof: &Proof) -> Result<Applied, Refused> {
        let max = self.bundle_bytes_max();
        if bytes.len() > max {
            let text = format!(
                "{} bytes, but a bundle may have at most {max} on this box",
                bytes.len()
            );
            return Err(Refused::TooLarge(text));
        }
        let verified = self.authenticate(bytes, proof)?;
        let digest = bundle::digest_of(bytes);
        let same = self.running.as_ref().is_some_and(|r| r.digest == digest);
        if same && self.changes.is_empty() {
            return Ok(self.applied(digest, false, Vec::new()));
        }
        if let Some(verified) = verified.as_ref().filter(|_| *proof == Proof::Signature) {
            self.admit(verified, &digest)?;
        }
        let opened = open(bytes, &self.bundle_limits)?;
        self.fold_tables();
        // What was typed since goes, but only if the bundle is good.
        let typed = std::mem::take(&mut self.changes);
        let checked = self.check_with_anchors(&opened.files);
        if checked.is_err() {
            self.changes.clone_from(&typed);
        }
        let (candidate, anchors) = checked.map_err(Refused::Invalid)?;
        if let Err(text) = self.store.store_bundle(bytes) {
            self.changes = typed;
            let text = format!("the bundle cannot be stored: {text}");
            return Err(Refused::Failed(text));
        }
        let warnings = candidate.warnings.clone();
        self.publish(candidate);
        self.anchors = anchors;
        let origin = origin(proof, verified.as_ref());
        // What comes over the network is logged there, with the address it came from.
        if *proof == Proof::Console {
            log::info!("generation {}: {}", self.generation(), digest_text(&digest));
        }
        self.running = Some(Running {
            digest,
            origin,
            files: opened.files,
        });
        self.raise_floor(verified.map(|v| v.date));
        Ok(self.applied(digest, true, warnings))
    }

    pub(crate) fn applied(
        &self,
        digest: [u8; 32],
        changed: bool,
        warnings: Vec<Diagnostic>,
    ) -> Applied {
        Applied {
            generation: self.generation(),
            digest: digest_text(&digest),
            changed,
            warnings,
        }
    }

    /// Who sent it? A valid signature is noted even where something else is the proof.
    fn authenticate(&mut self, bytes: &[u8], proof: &Proof) -> Result<Option<Verified>, Refused> {
        let verified = signature::verify(bytes, &self.trusted());
        match proof {
            Proof::Console => Ok(verified.ok()),
            Proof::Bearer(token) if self.token_is_valid(token) => Ok(verified.ok()),
            Proof::Bearer(_) => Err(Refused::Unauthorized("the token is not valid".into())),
            Proof::Signature => verified.map(Some).map_err(|error| {
                let text = match error {
                    SignatureError::Unsigned => "neither a token nor a signature".to_string(),
                    other => other.to_string(),
                };
                Refused::Unauthorized(text)
            }),
        }
    }

    fn admit(&self, verified: &Verified, digest: &[u8; 32]) -> Result<(), Refused> {
        let running = self.running.as_ref().map(|r| &r.digest);
        match replay::admit(verified.date, digest, self.stored.floor, running) {
            Ok(Admission::New | Admission::NoChange) => Ok(()),
            Err(replay) => Err(Refused::Replayed(replay.to_string())),
        }
    }

    fn raise_floor(&mut self, date: Option<Date>) {
        if date <= self.stored.floor {
            return;
        }
        self.stored.floor = date;
        self.stored.forgiven = None;
        // Should this fail, the next start derives the floor from the stored bundle.
        if let Err(error) = self.keep_settings() {
            log::warn!("{error}");
        }
    }

    pub(crate) fn token_is_valid(&mut self, token: &str) -> bool {
        let hashes = self.stored.token.iter().chain(&self.given.token);
        self.memo.matches(token, hashes)
    }

    pub(crate) fn trusted(&self) -> Vec<signature::PublicKey> {
        let mut keys = self.stored.keys.clone();
        keys.extend(
            self.given
                .keys
                .iter()
                .filter(|k| !self.stored.keys.contains(k))
                .cloned(),
        );
        keys
    }

    /// Addresses given for this run win over stored ones.
    pub(crate) fn effective(&self) -> &Settings {
        if self.given.management.is_empty() {
            &self.stored
        } else {
            &self.given
        }
    }

    fn keep_settings(&mut self) -> Result<(), String> {
        let text = self.stored.to_text();
        let kept = self.store.store_settings(text.as_bytes());
        kept.map_err(|error| format!("the settings cannot be stored: {error}"))
    }

    /// Changes stored settings; if they cannot be kept, nothing has changed.
    fn change_settings(&mut self, new: Settings) -> Result<(), String> {
        let old = std::mem::replace(&mut self.stored, new);
        self.keep_settings().inspect_err(|_| self.stored = old)?;
        self.memo.forget();
        Ok(())
    }
}

/// Settings.
impl Control {
    pub(crate) fn change_management(
        &mut self,
        interface: &str,
        addr: IpAddr,
        prefix_len: u8,
        gateway: Option<IpAddr>,
    ) -> Result<(), String> {
        if !self.facts.iter().any(|f| f.name == interface) {
            let names: Vec<&str> = self.facts.iter().map(|f| f.name.as_str()).collect();
            return Err(format!(
                "there is no interface '{interface}'; there are: {}",
                names.join(" ")
            ));
        }
        let bits = if addr.is_ipv4() { 32 } else { 128 };
        let network = net::IfAddr { addr, prefix_len };
        if addr.is_unspecified() || addr.is_multicast() || addr.is_loopback() || prefix_len > bits {
            return Err(format!(
                "{addr}/{prefix_len} cannot be the address of an interface"
            ));
        }
        if let Some(gateway) = gateway.filter(|g| !network.on_link(*g) || *g == addr) {
            return Err(format!(
                "the gateway {gateway} is not a neighbor in {}",
                network.network()
            ));
        }
        let mut new = self.stored.clone();
        let interface = interface.to_string();
        new.set_management(
            Management {
                interface,
                addr,
                prefix_len,
            },
            gateway,
        );
        self.change_settings(new)?;
        if self.running.is_none() {
            self.publish_builtin();
        }
        Ok(())
    }

    pub(crate) fn change_token(&mut self, token: &str) -> Result<(), String> {
        let mut new = self.stored.clone();
        new.token = if token.is_empty() {
            None
        } else {
            let mut salt = [0; 16];
            self.clock.random(&mut salt);
            Some(TokenHash::new(token, salt)?)
        };
        self.change_settings(new)
    }

    pub(crate) fn add_key(&mut self, text: &str) -> Result<String, String> {
        let key = settings::key(text)?;
        let id = key.id.to_string();
        let mut new = self.stored.clone();
        new.trust(key)?;
        self.change_settings(new)?;
        Ok(id)
    }

    pub(crate) fn remove_key(&mut self, id: &str) -> Result<(), String> {
        let mut new = self.stored.clone();
        new.keys.retain(|key| key.id.to_string() != id);
        if new.keys.len() == self.stored.keys.len() {
            return Err(format!("no stored key has the id {id}"));
        }
        self.change_settings(new)
    }

    /// The date that signed bundles must be later than.
    pub(crate) fn floor(&self) -> Option<Date> {
        self.stored.floor
    }

    /// Forgets it. The running bundle's date does not bring it back at the next start.
    pub(crate) fn reset_floor(&mut self) -> Result<(), String> {
        let mut new = self.stored.clone();
        new.floor = None;
        new.forgiven = self.running.as_ref().map(|r| r.digest);
        self.change_settings(new)
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.running.is_none() && self.effective().management.is_empty()
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

fn random_key(clock: &dyn Clock) -> [u32; 4] {
    let mut bytes = [0; 16];
    clock.random(&mut bytes);
    [0, 4, 8, 12].map(|n| u32::from_le_bytes([bytes[n], bytes[n + 1], bytes[n + 2], bytes[n + 3]]))
}

fn load_settings(store: &mut dyn Store) -> Settings {
    let Some(bytes) = store.load_settings() else {
        return Settings::default();
    };
    let (settings, problems) = Settings::parse(&bytes);
    problems
        .iter()
        .for_each(|p| log::warn!("stored settings: {p}"));
    settings
}

fn open(bytes: &[u8], limits: &bundle::Limits) -> Result<Bundle, Refused> {
    Bundle::open(bytes, limits).map_err(|refused| {
        if refused.why.code() == "bundle-too-large" {
            return Refused::TooLarge(refused.to_string());
        }
        let file = refused.entry.as_deref().unwrap_or("bundle");
        Refused::Invalid(vec![Diagnostic::whole_file(
            refused.why.code(),
            file,
            refused.why.to_string(),
        )])
    })
}

/// Files that never were a bundle get a digest of what they would be packed as.
fn digest_of_files(files: &BTreeMap<String, Vec<u8>>) -> [u8; 32] {
    bundle::digest_of(&bundle::pack(files).unwrap_or_default())
}

pub(crate) fn digest_text(digest: &[u8; 32]) -> String {
    format!("sha256:{}", hex(digest))
}

fn origin(proof: &Proof, verified: Option<&Verified>) -> String {
    match (proof, verified) {
        (Proof::Signature, Some(verified)) => format!("signify:{}", verified.key_id),
        (Proof::Console, _) => "console".into(),
        _ => "token".into(),
    }
}
