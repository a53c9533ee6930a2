//! The control core: what runs, what is kept, who may change it. Called by the program's loop; has no thread of its own.
//!
//! A change goes: prove (who?) → open → check (everything) → store (durable) → publish (cannot fail). Whatever fails
//! before the last step leaves the running configuration and the stored one as they were.
//!
//! Bundles that somebody brings are in `upload`, what is published in `publish`, settings that are kept in `stored`.

mod publish;
mod stored;
mod upload;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bundle::signature;
use filter::{LostEdit, Shared};
use nic::LinkState;
use pfconf::Bounds;
use ruleset::{RuleSlot, Ruleset};
use sync::OverlayEntry;

use crate::anchors::Texts;
use crate::api::Pinger;
use crate::carriers::Carriers;
use crate::changes::Demotions;
use crate::domains::Domains;
use crate::fleet::{Fleet, WorkerLink};
use crate::lagg::Laggs;
use crate::learning::{Learned, Learning, Wants};
use crate::log_ring::LogRing;
use crate::machine::{Clock, PortFacts, Ports};
use crate::numbers::{Kifs, TableSlots, Tags};
use crate::pflog::PfLog;
use crate::policy::RuleText;
use crate::settings::{Management, Settings};
use crate::slots::RuleSlots;
use crate::store::Store;
use crate::tables::Accounts;
use crate::token::Memo;
use crate::trace::Trace;
use crate::trees::Trees;

use self::stored::load_settings;
use self::upload::open;

pub(crate) use self::upload::digest_text;

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

fn random_key(clock: &dyn Clock) -> [u32; 4] {
    let mut bytes = [0; 16];
    clock.random(&mut bytes);
    [0, 4, 8, 12].map(|n| u32::from_le_bytes([bytes[n], bytes[n + 1], bytes[n + 2], bytes[n + 3]]))
}

/// Files that never were a bundle get a digest of what they would be packed as.
fn digest_of_files(files: &BTreeMap<String, Vec<u8>>) -> [u8; 32] {
    bundle::digest_of(&bundle::pack(files).unwrap_or_default())
}
