//! The control core with a machine, a store and workers of the tests' own.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bundle::signature::SecretKey;
use filter::Shared;
use net::InterfaceId;
use net::fdb::Station;
use nic::LinkState;
use pfconf::diag::Severity;
use state::State;
use sync::{Consumer, Producer, Subscriber, published, ring};
use worker::{Config, Counters, KillReport, Mail, Report};

use crate::api::{Api, PingReply, Pinger, Proof, Refused};
use crate::log_ring::LogRing;
use crate::machine::{Clock, HwStats, PortFacts, Ports};
use crate::settings::{Management, Settings};
use crate::slots::RULE_SLOTS_DEFAULT;
use crate::store::{MemoryStore, Store};
use crate::{Control, Setup, WorkerLink};

const TOKEN: &str = "0123456789abcdef";

mod bridges;
mod carriers;
mod changes;
mod kills;
mod laggs;
mod learning;
mod lists;
mod neighbors;
mod tables;
mod trees;

/// The other ends of a worker's rings.
struct FakeWorker {
    config: Subscriber<Config>,
    mail: Consumer<Mail>,
    reports: Producer<Report>,
    counters: Arc<Counters>,
    held: Arc<Config>,
    states: Vec<State>,
    stations: Vec<(InterfaceId, Station)>,
    /// Takes long to kill, and what that has left.
    slow: bool,
    /// Does nothing.
    dead: bool,
    unfinished: Vec<(filter::Kill, KillReport)>,
}

impl FakeWorker {
    /// A slow one kills the first state and stops half way.
    fn kill(&mut self, kill: filter::Kill, order: u64) {
        let before = self.states.len();
        if self.slow {
            self.states.remove(0);
        } else {
            self.states.retain(|st| !kill.covers(st));
        }
        let report = KillReport {
            order,
            killed: (before - self.states.len()) as u64,
            left: if self.slow { 500 } else { 0 },
            places: 1000,
        };
        self.reports.push(Report::Killed(report)).unwrap();
        if self.slow {
            self.unfinished.push((kill, report));
        }
    }

    fn finish(&mut self) {
        for (kill, report) in std::mem::take(&mut self.unfinished) {
            let before = self.states.len();
            self.states.retain(|st| !kill.covers(st));
            let report = KillReport {
                killed: report.killed + (before - self.states.len()) as u64,
                left: 0,
                ..report
            };
            self.reports.push(Report::Killed(report)).unwrap();
        }
    }

    fn turn(&mut self) {
        if self.dead {
            return;
        }
        self.counters.turns.add(1);
        if !self.slow {
            self.finish();
        }
        if let Some(config) = self.config.take() {
            self.counters.generation.set(config.generation.into());
            self.held = config;
        }
        while let Some(mail) = self.mail.pop() {
            if let Mail::Kill(kill, order) = mail {
                self.kill(kill, order);
                continue;
            }
            match mail {
                Mail::ListStations => {
                    for (bridge, station) in &self.stations {
                        let report = Report::Station(*bridge, *station);
                        self.reports.push(report).unwrap();
                    }
                    self.reports.push(Report::StationsEnd).unwrap();
                    continue;
                }
                Mail::FlushStations(of) => {
                    self.stations.retain(|(bridge, _)| *bridge != of);
                    continue;
                }
                Mail::ForgetStation(of, addr) => {
                    let stations = &mut self.stations;
                    stations.retain(|(bridge, s)| (*bridge, s.addr) != (of, addr));
                    continue;
                }
                _ => {}
            }
            let Mail::ListStates { from, count } = mail else {
                self.reports.push(Report::NeighborsEnd).unwrap();
                continue;
            };
            let (from, end) = (from as usize, (from + count) as usize);
            for st in self.states.iter().take(end).skip(from) {
                self.reports.push(Report::State(*st)).unwrap();
            }
            let next = (end < self.states.len()).then_some(end as u32);
            self.reports.push(Report::StatesEnd { next }).unwrap();
        }
    }
}

type Workers = Arc<Mutex<Vec<FakeWorker>>>;

/// Time passes when somebody waits; then the workers turn.
struct FakeClock {
    workers: Workers,
    now_ms: Cell<u64>,
    answers: bool,
}

impl Clock for FakeClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }
    fn pause(&self) {
        self.now_ms.set(self.now_ms.get() + 1);
        if self.answers {
            self.workers
                .lock()
                .unwrap()
                .iter_mut()
                .for_each(FakeWorker::turn);
        }
    }
    fn random(&self, into: &mut [u8]) {
        into.fill(7);
    }
}

struct FakePorts;

impl Ports for FakePorts {
    fn list(&self) -> Vec<PortFacts> {
        let port = |n: u8| PortFacts {
            name: format!("em{n}"),
            mac: [2, 0, 0, 0, 0, n],
            mtu: 1500,
            mtu_max: 1500,
            driver: "net_sim".into(),
            device: format!("sim{n}"),
        };
        vec![port(0), port(1)]
    }
    fn link(&self, _: u16) -> LinkState {
        LinkState::Down
    }
    fn stats(&self, _: u16) -> HwStats {
        HwStats::default()
    }
    fn set_mtu(&self, _: u16, _: u16) -> Result<(), String> {
        Ok(())
    }
    fn set_mac(&self, _: u16, _: [u8; 6]) -> Result<(), String> {
        Ok(())
    }
    fn buffers(&self) -> (u64, u64) {
        (8191, 12)
    }
}

struct NoPing;

impl Pinger for NoPing {
    fn start(&mut self, _: IpAddr, _: u16) -> Result<(), String> {
        Err("no ping here".into())
    }
    fn poll(&mut self) -> Option<Vec<PingReply>> {
        None
    }
    fn stop(&mut self) {}
}

/// A store that outlives the control core, and can be made to fail.
#[derive(Clone, Default)]
struct SharedStore(Arc<Mutex<(MemoryStore, bool)>>);

impl SharedStore {
    fn fail(&self, fail: bool) {
        self.0.lock().unwrap().1 = fail;
    }
    fn bundle(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().0.load_bundle()
    }
}

impl Store for SharedStore {
    fn bundle_bytes_max(&self) -> usize {
        1 << 20
    }
    fn load_bundle(&mut self) -> Option<Vec<u8>> {
        self.bundle()
    }
    fn store_bundle(&mut self, bundle: &[u8]) -> Result<(), String> {
        let mut inner = self.0.lock().unwrap();
        if inner.1 {
            Err("the disk is gone".into())
        } else {
            inner.0.store_bundle(bundle)
        }
    }
    fn load_settings(&mut self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().0.load_settings()
    }
    fn store_settings(&mut self, settings: &[u8]) -> Result<(), String> {
        let mut inner = self.0.lock().unwrap();
        if inner.1 {
            Err("the disk is gone".into())
        } else {
            inner.0.store_settings(settings)
        }
    }
}

struct Rig {
    control: Control,
    workers: Workers,
    store: SharedStore,
}

impl Rig {
    fn new() -> Self {
        Self::with(SharedStore::default(), Settings::default())
    }

    fn with(store: SharedStore, given: Settings) -> Self {
        let (mut links, mut fakes) = (Vec::new(), Vec::new());
        for cpu in 0..2 {
            let (publisher, subscriber) = published();
            let (mail_tx, mail_rx) = ring(64);
            let (report_tx, report_rx) = ring(1024);
            let counters = Arc::new(Counters::new(RULE_SLOTS_DEFAULT));
            links.push(WorkerLink {
                config: publisher,
                mail: mail_tx,
                reports: report_rx,
                log: ring(2).1,
                steps: ring(2).1,
                counters: counters.clone(),
                cpu,
            });
            fakes.push(FakeWorker {
                config: subscriber,
                mail: mail_rx,
                reports: report_tx,
                counters,
                held: Arc::default(),
                states: Vec::new(),
                stations: Vec::new(),
                slow: false,
                dead: false,
                unfinished: Vec::new(),
            });
        }
        let workers: Workers = Arc::new(Mutex::new(fakes));
        let clock = FakeClock {
            workers: workers.clone(),
            now_ms: Cell::new(5000),
            answers: true,
        };
        let control = Control::new(Setup {
            version: "test".into(),
            workers: links,
            ports: Box::new(FakePorts),
            store: Box::new(store.clone()),
            clock: Box::new(clock),
            pinger: Box::new(NoPing),
            log: LogRing::default(),
            shared: Arc::new(Shared::default()),
            states_capacity: 50_000,
            rule_slots: RULE_SLOTS_DEFAULT,
            bundle_limits: bundle::Limits::default(),
            compile_bounds: pfconf::Bounds {
                rules: 1000,
                ..pfconf::Bounds::default()
            },
            given,
            api_port: 80,
            epitaph: None,
        });
        Rig {
            control,
            workers,
            store,
        }
    }

    fn turn(&self) {
        self.workers
            .lock()
            .unwrap()
            .iter_mut()
            .for_each(FakeWorker::turn);
    }

    fn held(&self, worker: usize) -> Arc<Config> {
        self.workers.lock().unwrap()[worker].held.clone()
    }

    fn push(&mut self, files: &[(&str, &str)]) -> Result<crate::api::Applied, Refused> {
        self.control.apply_bundle(&packed(files), &Proof::Console)
    }

    fn texts(&mut self) -> Vec<String> {
        self.control.rules().into_iter().map(|r| r.text).collect()
    }
}

fn packed(files: &[(&str, &str)]) -> Vec<u8> {
    let files: BTreeMap<String, Vec<u8>> = files
        .iter()
        .map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()))
        .collect();
    bundle::pack(&files).unwrap()
}

const EM0: (&str, &str) = ("hostname.em0", "inet 192.0.2.1/24\n");
const PASS: [(&str, &str); 2] = [EM0, ("pf.conf", "block\npass in on em0\n")];

fn management() -> Settings {
    let mut settings = Settings::default();
    let addr = "192.0.2.10".parse().unwrap();
    settings.set_management(
        Management {
            interface: "em1".into(),
            addr,
            prefix_len: 24,
        },
        None,
    );
    settings
}

#[test]
fn without_a_bundle_everything_is_blocked_but_management() {
    let mut b = Rig::with(SharedStore::default(), management());
    b.turn();
    let held = b.held(1);
    assert_eq!(held.generation, 1);
    assert!(
        held.interfaces.by_name("em1").unwrap().up && !held.interfaces.by_name("em0").unwrap().up
    );
    assert_eq!(
        b.texts(),
        [
            "block drop all",
            "pass in on em1 inet proto tcp from any to 192.0.2.10 port = 80 flags S/SA",
            "pass in on em1 inet proto icmp from any to 192.0.2.10 icmp-type echoreq",
            "pass out on em1 inet proto icmp from 192.0.2.10 to any icmp-type echoreq",
        ]
    );
    let status = b.control.status();
    assert!(!status.forwarding && status.digest.is_none());
    assert!(b.control.is_adopted());
    assert_eq!(
        b.control.local_addresses(),
        [("192.0.2.10".parse().unwrap(), 24)]
    );
}

#[test]
fn an_accepted_bundle_is_stored_and_reaches_every_worker() {
    let mut b = Rig::new();
    let applied = b.push(&PASS).unwrap();
    assert!(applied.changed && applied.generation == 2);
    assert_eq!(b.store.bundle().unwrap(), packed(&PASS));
    b.turn();
    assert_eq!((b.held(0).generation, b.held(1).generation), (2, 2));
    assert_eq!(
        b.texts(),
        ["block drop all", "pass in on em0 all flags S/SA"]
    );
    let again = b.push(&PASS).unwrap();
    assert!(!again.changed && again.generation == 2 && again.digest == applied.digest);
}

#[test]
fn old_configurations_are_freed_when_the_last_worker_lets_go() {
    let mut b = Rig::new();
    b.turn();
    let old = Arc::downgrade(&b.held(0));
    b.push(&PASS).unwrap();
    b.control.on_event(crate::Event::Tick);
    assert!(old.upgrade().is_some(), "workers still run on it");
    b.turn();
    b.control.on_event(crate::Event::Tick);
    assert!(old.upgrade().is_none());
}

fn messages(outcome: Result<crate::api::Applied, Refused>) -> Vec<String> {
    match outcome {
        Err(Refused::Invalid(list)) => list.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_wrong_in_all_files_is_told_at_once_and_nothing_changes() {
    let mut b = Rig::new();
    b.push(&PASS).unwrap();
    let said = messages(b.push(&[
        ("hostname.em0", "inet 192.0.2.1/24\nfrobnicate\n"),
        (
            "pf.conf",
            "pass in on em0\npass in proto nonsense\npass out to <missing\n",
        ),
    ]));
    assert!(
        said.iter()
            .any(|m| m.starts_with("hostname.em0:2:1: error:")),
        "{said:?}"
    );
    assert!(said.iter().any(|m| m.starts_with("pf.conf:2:")), "{said:?}");
    assert!(said.iter().any(|m| m.starts_with("pf.conf:3:")), "{said:?}");
    assert_eq!(b.control.generation(), 2);
    assert_eq!(b.store.bundle().unwrap(), packed(&PASS));
    assert_eq!(b.control.status().uploads_refused, 1);
    let said = messages(b.push(&[EM0]));
    assert_eq!(said, ["pf.conf: error: there is no pf.conf in the bundle"]);
}

#[test]
fn what_is_no_bundle_is_refused() {
    let mut b = Rig::new();
    let junk = b.control.apply_bundle(b"junk", &Proof::Console);
    assert!(matches!(junk, Err(Refused::Invalid(_))), "{junk:?}");
    let large = b
        .control
        .apply_bundle(&vec![0; (1 << 20) + 1], &Proof::Console);
    assert!(matches!(large, Err(Refused::TooLarge(_))), "{large:?}");
}

#[test]
fn a_store_that_fails_changes_nothing() {
    let mut b = Rig::new();
    b.store.fail(true);
    let outcome = b.push(&PASS);
    assert!(
        matches!(&outcome, Err(Refused::Failed(text)) if text.contains("the disk is gone")),
        "{outcome:?}"
    );
    assert_eq!(b.control.generation(), 1);
    assert!(b.control.set_token(TOKEN).is_err());
    b.store.fail(false);
    assert!(
        !b.control.may_read(&Proof::Bearer(TOKEN.into())),
        "the token was not kept, so it is none"
    );
    assert!(b.push(&PASS).is_ok());
}

#[test]
fn only_the_right_token_opens() {
    let mut b = Rig::new();
    let proof = |token: &str| Proof::Bearer(token.into());
    assert!(!b.control.may_upload(&proof(TOKEN)) && !b.control.may_upload(&Proof::Signature));
    b.control.set_token(TOKEN).unwrap();
    assert!(b.control.may_upload(&proof(TOKEN)) && b.control.may_read(&proof(TOKEN)));
    for wrong in ["", "0123456789abcdeF", "x"] {
        let outcome = b.control.apply_bundle(&packed(&PASS), &proof(wrong));
        assert!(
            matches!(outcome, Err(Refused::Unauthorized(_))),
            "{outcome:?}"
        );
    }
    assert!(
        b.control
            .apply_bundle(&packed(&PASS), &proof(TOKEN))
            .is_ok()
    );
    b.control.set_token("").unwrap();
    assert!(!b.control.may_read(&proof(TOKEN)));
}

fn signed(key: &SecretKey, files: &[(&str, &str)], seconds: u64) -> Vec<u8> {
    bundle::signature::sign(&packed(files), key, "office.sec", bundle::Date(seconds)).unwrap()
}

#[test]
fn a_signature_counts_if_its_key_is_trusted_and_it_is_newer() {
    let (key, stranger) = (
        SecretKey::generate([1; 32], [1; 8]),
        SecretKey::generate([2; 32], [2; 8]),
    );
    let mut b = Rig::new();
    let other = [EM0, ("pf.conf", "pass\n")];
    let id = b
        .control
        .trust_key(&key.public("office").to_file())
        .unwrap();
    assert!(b.control.may_upload(&Proof::Signature) && !b.control.may_read(&Proof::Signature));
    let mut push = |bytes: Vec<u8>| b.control.apply_bundle(&bytes, &Proof::Signature);
    assert!(matches!(push(packed(&PASS)), Err(Refused::Unauthorized(_))));
    assert!(matches!(
        push(signed(&stranger, &PASS, 1000)),
        Err(Refused::Unauthorized(_))
    ));
    assert!(push(signed(&key, &PASS, 1000)).unwrap().changed);
    assert!(
        !push(signed(&key, &PASS, 1000)).unwrap().changed,
        "the running bytes are no replay"
    );
    assert!(matches!(
        push(signed(&key, &other, 1000)),
        Err(Refused::Replayed(_))
    ));
    assert!(push(signed(&key, &other, 1001)).unwrap().changed);
    assert!(matches!(
        push(signed(&key, &PASS, 1000)),
        Err(Refused::Replayed(_))
    ));
    assert_eq!(b.control.status().origin, format!("signify:{id}"));
    // The floor and the key survive a restart.
    let mut b = Rig::with(b.store.clone(), Settings::default());
    assert!(b.control.start_stored());
    let replay = b
        .control
        .apply_bundle(&signed(&key, &PASS, 1000), &Proof::Signature);
    assert!(matches!(replay, Err(Refused::Replayed(_))), "{replay:?}");
    b.control.distrust_key(&id).unwrap();
    let outcome = b
        .control
        .apply_bundle(&signed(&key, &PASS, 1002), &Proof::Signature);
    assert!(
        matches!(outcome, Err(Refused::Unauthorized(_))),
        "{outcome:?}"
    );
}

#[test]
fn the_floor_is_found_again_if_the_power_went_before_it_was_kept() {
    let key = SecretKey::generate([1; 32], [1; 8]);
    let mut b = Rig::new();
    b.control
        .trust_key(&key.public("office").to_file())
        .unwrap();
    b.store
        .clone()
        .store_bundle(&signed(&key, &PASS, 1000))
        .unwrap();
    let mut b = Rig::with(b.store.clone(), Settings::default());
    assert!(b.control.start_stored());
    let replay = b.control.apply_bundle(
        &signed(&key, &[EM0, ("pf.conf", "pass\n")], 999),
        &Proof::Signature,
    );
    assert!(matches!(replay, Err(Refused::Replayed(_))), "{replay:?}");
}

#[test]
fn a_reset_floor_stays_reset_over_a_restart_until_a_newer_bundle_comes() {
    let key = SecretKey::generate([1; 32], [1; 8]);
    let other = [EM0, ("pf.conf", "pass\n")];
    let mut b = Rig::new();
    b.control
        .trust_key(&key.public("office").to_file())
        .unwrap();
    let future = signed(&key, &PASS, 4_000_000_000);
    b.control.apply_bundle(&future, &Proof::Signature).unwrap();
    assert_eq!(
        b.control.replay_floor().as_deref(),
        Some("2096-10-02T07:06:40Z")
    );
    b.control.reset_replay_floor().unwrap();
    let mut b = Rig::with(b.store.clone(), Settings::default());
    assert!(b.control.start_stored());
    assert_eq!(b.control.replay_floor(), None);
    b.control
        .apply_bundle(&signed(&key, &other, 1000), &Proof::Signature)
        .unwrap();
    let replay = b
        .control
        .apply_bundle(&signed(&key, &PASS, 999), &Proof::Signature);
    assert!(matches!(replay, Err(Refused::Replayed(_))), "{replay:?}");
    assert_eq!(
        b.control.replay_floor().as_deref(),
        Some("1970-01-01T00:16:40Z")
    );
}

#[test]
fn rules_that_grow_beyond_the_machine_are_refused() {
    let mut b = Rig::new();
    let list: Vec<String> = (1..=40).map(|n| n.to_string()).collect();
    let list = list.join(" ");
    let rules = format!("pass proto tcp from port {{ {list} }} to port {{ {list} }}\n");
    let said = messages(b.push(&[EM0, ("pf.conf", &rules)]));
    assert!(
        said.iter().any(|m| m.contains("more than 1000 rules")),
        "{said:?}"
    );
}

#[test]
fn a_stored_bundle_comes_back_and_a_broken_one_leaves_the_built_in_policy() {
    let mut b = Rig::new();
    b.push(&PASS).unwrap();
    let mut again = Rig::with(b.store.clone(), Settings::default());
    assert!(!again.control.status().forwarding);
    assert!(again.control.start_stored());
    let status = again.control.status();
    assert_eq!((status.forwarding, status.origin.as_str()), (true, "boot"));
    b.store
        .clone()
        .store_bundle(&packed(&[("pf.conf", "nonsense\n")]))
        .unwrap();
    let mut broken = Rig::with(b.store.clone(), management());
    assert!(!broken.control.start_stored());
    assert!(!broken.control.status().forwarding && broken.texts().len() == 4);
}

#[test]
fn counters_follow_a_rule_through_reloads_and_a_new_rule_begins_at_zero() {
    let mut b = Rig::new();
    b.push(&PASS).unwrap();
    let count = |b: &Rig, nr: usize, n: u64| {
        let slot = b.control.fleet.current().ruleset.rules[nr].slot;
        for worker in b.workers.lock().unwrap().iter() {
            worker.counters.filter.rule(slot).evaluations.add(n);
        }
    };
    count(&b, 1, 5);
    b.push(&[EM0, ("pf.conf", "pass in on em0\nblock out\nblock\n")])
        .unwrap();
    let seen: Vec<u64> = b.control.rules().iter().map(|r| r.evaluations).collect();
    assert_eq!(seen, [10, 0, 0]);
    let origins: Vec<String> = b.control.rules().into_iter().map(|r| r.origin).collect();
    assert_eq!(origins, ["pf.conf:1", "pf.conf:2", "pf.conf:3"]);
}

#[test]
fn names_and_tags_keep_their_numbers() {
    let mut b = Rig::new();
    b.push(&[
        EM0,
        (
            "pf.conf",
            "pass in on em0 tag A\npass out on em1 tagged A\n",
        ),
    ])
    .unwrap();
    let first = b.control.fleet.current().clone();
    b.push(&[
        EM0,
        ("pf.conf", "pass on em1 tag B\npass out on em0 tag A\n"),
    ])
    .unwrap();
    let second = b.control.fleet.current().clone();
    assert_eq!(first.ruleset.rules[0].tag, second.ruleset.rules[1].tag);
    assert_eq!(first.ruleset.rules[0].on, second.ruleset.rules[1].on);
}

#[test]
fn a_bundle_that_locks_management_out_is_warned_about() {
    let mut b = Rig::new();
    let said = |b: &mut Rig, rules: &str| -> Vec<&'static str> {
        let applied = b.push(&[EM0, ("pf.conf", rules)]).unwrap();
        let warnings = applied
            .warnings
            .iter()
            .filter(|d| d.severity == Severity::Warning);
        warnings.map(|d| d.code).collect()
    };
    for (rules, locked) in [
        ("block\n", true),
        ("block\npass in on em0 proto tcp to port 80\n", false),
        (
            "block\npass in on em0 proto tcp from 203.0.113.0/24 to em0 port 80\n",
            false,
        ),
        ("block\npass in on em0 proto tcp to port 443\n", true),
        ("pass\n", false),
    ] {
        assert_eq!(said(&mut b, rules).contains(&"lockout"), locked, "{rules}");
    }
}

#[test]
fn management_that_was_chosen_by_the_driver_s_name_follows_the_name_that_the_files_give() {
    let mut b = Rig::with(SharedStore::default(), management());
    let file = ("hostname.em1", "name adm0\ninet 192.0.2.10/24\n");
    for (rules, locked) in [
        ("block\npass in on adm0 proto tcp to port 80\n", false),
        ("block\npass in on em1 proto tcp to port 80\n", true),
    ] {
        let applied = b.push(&[EM0, file, ("pf.conf", rules)]).unwrap();
        let mut codes = applied.warnings.iter().map(|d| d.code);
        assert_eq!(codes.any(|code| code == "lockout"), locked, "{rules}");
    }
}

#[test]
fn states_of_all_workers_are_listed_up_to_the_limit() {
    let mut b = Rig::new();
    for (n, worker) in b.workers.lock().unwrap().iter_mut().enumerate() {
        worker.states = (0..700)
            .map(|id| State {
                id: (n * 1000 + id) as u64,
                ..State::default()
            })
            .collect();
    }
    let all = b.control.states(10_000);
    let all = all.all().unwrap();
    assert_eq!(all.len(), 1400);
    assert_eq!(all.iter().filter(|s| s.worker == 1).count(), 700);
    assert_eq!(b.control.states(300).all().map(|list| list.len()), Ok(300));
    assert_eq!(b.control.neighbors(), crate::api::Listed::whole(vec![]));
}

#[test]
fn a_worker_that_does_not_answer_costs_a_fifth_of_a_second_at_most_and_late_answers_are_not_mixed_up()
 {
    let (publisher, _subscriber) = published();
    let (mail_tx, mut mail_rx) = ring(64);
    let (mut report_tx, report_rx) = ring(1024);
    let link = WorkerLink {
        config: publisher,
        mail: mail_tx,
        reports: report_rx,
        log: ring(2).1,
        steps: ring(2).1,
        counters: Arc::new(Counters::new(1)),
        cpu: 0,
    };
    let clock = FakeClock {
        workers: Workers::default(),
        now_ms: Cell::new(0),
        answers: false,
    };
    let mut fleet = crate::fleet::Fleet::new(vec![link]);
    let listed = fleet.states(10, &clock);
    let lack = Some("worker 0 does not answer".to_string());
    assert!(listed.entries.is_empty() && listed.lack == lack);
    assert_eq!(clock.now_ms.get(), crate::fleet::ASK_MS_MAX);
    // The answer comes late, and after it the one to the next question.
    assert_eq!(std::iter::from_fn(|| mail_rx.pop()).count(), 1);
    for id in [1, 2] {
        let st = State {
            id,
            ..State::default()
        };
        report_tx.push(Report::State(st)).unwrap();
        report_tx.push(Report::StatesEnd { next: None }).unwrap();
    }
    let heard: Vec<u64> = fleet
        .states(10, &clock)
        .all()
        .unwrap()
        .iter()
        .map(|(_, st)| st.id)
        .collect();
    assert_eq!(heard, [2]);
}

#[test]
fn the_wizard_sets_the_management_address_for_good() {
    let mut b = Rig::new();
    assert!(b.control.needs_wizard());
    let addr: IpAddr = "192.0.2.10".parse().unwrap();
    let gateway: IpAddr = "192.0.2.1".parse().unwrap();
    for (interface, addr, len, gateway) in [
        ("em9", addr, 24, None),
        ("em0", addr, 33, None),
        ("em0", "224.0.0.1".parse().unwrap(), 24, None),
        ("em0", addr, 24, Some("198.51.100.1".parse().unwrap())),
        ("em0", addr, 24, Some(addr)),
    ] {
        assert!(
            b.control
                .set_management(interface, addr, len, gateway)
                .is_err()
        );
    }
    b.control
        .set_management("em0", addr, 24, Some(gateway))
        .unwrap();
    assert!(!b.control.needs_wizard());
    assert_eq!(b.control.local_addresses(), [(addr, 24)]);
    let mut again = Rig::with(b.store.clone(), Settings::default());
    assert!(!again.control.needs_wizard());
    let state = LinkState::Up {
        speed_mbps: 1000,
        full_duplex: true,
    };
    let event = crate::Event::Link { port: 0, state };
    again.control.on_event(event);
    let routes = again.control.routes();
    assert!(
        routes
            .iter()
            .any(|r| r.gateway == Some(gateway) && r.flags == "UGS"),
        "{routes:?}"
    );
}

#[test]
fn more_states_than_the_machine_has_room_for_are_cut_with_a_notice() {
    let mut b = Rig::new();
    let applied = b
        .push(&[EM0, ("pf.conf", "set limit states 1000000\npass\n")])
        .unwrap();
    assert!(
        applied.warnings.iter().any(|d| d.code == "states-limit"),
        "{:?}",
        applied.warnings
    );
    assert_eq!(b.control.status().states_limit, 50_000);
}

#[test]
fn without_a_limit_of_states_a_flood_begins_where_the_machine_fills_up() {
    let mut b = Rig::new();
    let text = "set limit states 0\nset syncookies adaptive\npass\n";
    b.push(&[EM0, ("pf.conf", text)]).unwrap();
    let marks = b.control.ruleset().syncookies;
    assert_eq!(marks, ruleset::SynCookies::adaptive(50_000, 25, 12));
}

#[test]
fn an_interface_that_is_not_there_is_a_warning() {
    let mut b = Rig::new();
    let applied = b
        .push(&[
            EM0,
            ("hostname.em7", "inet 198.51.100.1/24\n"),
            ("pf.conf", "pass on em7\npass on em0\n"),
        ])
        .unwrap();
    assert!(
        applied
            .warnings
            .iter()
            .any(|d| d.code == "missing-interface"),
        "{:?}",
        applied.warnings
    );
    assert_eq!(b.texts().len(), 2);
}

/// Anchors edited at run time.
mod anchors {
    use super::*;

    const ANCHORS: [(&str, &str); 2] = [
        EM0,
        (
            "pf.conf",
            "block\npass in on em0\nanchor a\nanchor b {\n pass out on em1\n}\n",
        ),
    ];

    fn edited(b: &mut Rig) -> Vec<String> {
        b.control.status().anchors_edited
    }

    fn set(b: &mut Rig, path: &str, rules: &str) -> Result<crate::api::Applied, Refused> {
        b.control
            .set_anchor(path, rules.as_bytes(), &Proof::Console)
    }

    fn of(b: &mut Rig, path: &str) -> Vec<String> {
        let rules = b.control.rules().into_iter();
        rules.filter(|r| r.anchor == path).map(|r| r.text).collect()
    }

    #[test]
    fn an_edit_is_a_generation_and_leaves_other_rules_their_counters() {
        let mut b = Rig::new();
        b.push(&ANCHORS).unwrap();
        let slot = |b: &Rig, nr: usize| b.control.fleet.current().ruleset.rules[nr].slot;
        let (before, generation) = (slot(&b, 1), b.control.generation());
        let applied = set(&mut b, "a", "table <t> { 10.0.0.1 }\nblock from <t>\n").unwrap();
        assert!(applied.changed);
        assert_eq!(applied.generation, generation + 1);
        assert_eq!(slot(&b, 1), before);
        assert_eq!(of(&mut b, "a"), ["block drop from <t> to any"]);
        assert_eq!(edited(&mut b), ["a"]);
        let tables: Vec<String> = b.control.tables().into_iter().map(|t| t.name).collect();
        assert_eq!(tables, ["t@a"]);
        // The same again changes nothing.
        let again = set(&mut b, "a", "table <t> { 10.0.0.1 }\nblock from <t>\n").unwrap();
        assert!(!again.changed);
        assert_eq!(b.control.generation(), generation + 1);
        // Flushed: as if it had never been.
        set(&mut b, "a", "").unwrap();
        assert_eq!(edited(&mut b), [""; 0]);
        assert_eq!(of(&mut b, "a"), [""; 0]);
    }

    #[test]
    fn wildcards_ask_anchors_that_come_later_for_rules_of_every_kind() {
        let mut b = Rig::new();
        let calls = "scrub-anchor \"foo/*\"\nnat-anchor \"foo/*\"\nblock\nanchor \"foo/*\"\n";
        b.push(&[EM0, ("pf.conf", calls)]).unwrap();
        let paths = |b: &Rig| {
            let ruleset = &b.control.fleet.current().ruleset;
            let of = |r: &ruleset::Rule| ruleset.anchor_path(r.anchor).to_string();
            let scrub: Vec<String> = ruleset.scrub.iter().map(|s| of(&s.rule)).collect();
            let rules: Vec<String> = ruleset.rules.iter().map(of).collect();
            (scrub.join(" "), rules.join(" "))
        };
        assert_eq!(paths(&b), ("".into(), "  ".into()));
        let body = "scrub in min-ttl 9\nnat on em0 inet from any to any -> 10.0.0.9\npass in\n";
        set(&mut b, "foo/b", body).unwrap();
        assert_eq!(paths(&b), (" foo/b".into(), " foo/b   foo/b".into()));
        // Each is asked in the order of the names, and what is deeper is not.
        set(&mut b, "foo/a", "pass out\n").unwrap();
        set(&mut b, "foo/a/deep", "pass out\n").unwrap();
        assert_eq!(paths(&b), (" foo/b".into(), " foo/b   foo/a foo/b".into()));
        set(&mut b, "foo/b", "").unwrap();
        assert_eq!(paths(&b), ("".into(), "   foo/a".into()));
    }

    #[test]
    fn an_error_names_line_and_column_and_changes_nothing() {
        let mut b = Rig::new();
        b.push(&ANCHORS).unwrap();
        let generation = b.control.generation();
        let Err(Refused::Invalid(list)) = set(&mut b, "a", "pass\nblock qick\n") else {
            panic!("refused");
        };
        let first = list.iter().find(|d| d.file == "anchor a").unwrap();
        assert_eq!((first.line, first.column), (2, 7));
        for path in ["", "_x", "a//b", "a/*", "a@b", "../x"] {
            assert!(set(&mut b, path, "pass").is_err(), "{path}");
        }
        let stranger = Proof::Bearer("wrong".into());
        assert!(b.control.set_anchor("a", b"pass", &stranger).is_err());
        assert_eq!(b.control.generation(), generation);
        assert_eq!(edited(&mut b), [""; 0]);
    }

    #[test]
    fn the_next_bundle_leaves_edits_alone_unless_it_has_rules_for_the_anchor() {
        let mut b = Rig::new();
        b.push(&ANCHORS).unwrap();
        set(&mut b, "a", "pass in on em1\n").unwrap();
        set(&mut b, "b", "block out on em1\n").unwrap();
        set(&mut b, "lonely", "pass\n").unwrap();
        assert_eq!(of(&mut b, "b"), ["block drop out on em1 all"]);
        assert_eq!(edited(&mut b), ["a", "b", "lonely"]);
        b.push(&[
            EM0,
            ("pf.conf", "block\nanchor a\nanchor b {\n pass out\n}\n"),
        ])
        .unwrap();
        assert_eq!(of(&mut b, "a"), ["pass in on em1 all flags S/SA"]);
        assert_eq!(of(&mut b, "b"), ["pass out all flags S/SA"]);
        assert_eq!(edited(&mut b), ["a", "lonely"]);
        // The bundle's own again.
        set(&mut b, "b", "").unwrap();
        assert_eq!(of(&mut b, "b"), [""; 0]);
        assert_eq!(edited(&mut b), ["a", "b", "lonely"]);
        b.control.reset_anchor("b", &Proof::Console).unwrap();
        assert_eq!(of(&mut b, "b"), ["pass out all flags S/SA"]);
        // What does not go with a bundle does not keep it out.
        let many = "pass\n".repeat(3);
        set(&mut b, "a", &format!("{many}pass from <t>\n")).unwrap();
        b.push(&[EM0, ("pf.conf", "set limit anchors 1\nblock\nanchor a\n")])
            .unwrap_err();
        assert_eq!(edited(&mut b), ["a", "lonely"]);
    }

    #[test]
    fn a_restart_forgets_edits() {
        let mut b = Rig::new();
        b.push(&ANCHORS).unwrap();
        set(&mut b, "a", "pass\n").unwrap();
        let mut next = Rig::with(b.store.clone(), Settings::default());
        assert!(next.control.start_stored());
        assert_eq!(edited(&mut next), [""; 0]);
        assert_eq!(of(&mut next, "a"), [""; 0]);
    }
}
