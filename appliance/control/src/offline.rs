//! A control core without a machine: an etc tree is compiled and laid out as the box would do it, on cards that are
//! made up from the tree, so that a workstation can ask `why` of rules that run nowhere yet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use filter::Shared;
use nic::LinkState;
use pfconf::Bounds;

use crate::api::{PingReply, Pinger};
use crate::log_ring::LogRing;
use crate::machine::{Clock, HwStats, PortFacts, Ports};
use crate::settings::Settings;
use crate::slots::RULE_SLOTS_DEFAULT;
use crate::store::MemoryStore;
use crate::{Control, Setup};

/// Largest packet of a card that nobody has seen.
const MTU_MAX: u16 = 9000;
/// States that a tree may ask for.
const STATES: u64 = 100_000_000;

/// Takes a tree as if it were the bundle of a box that has exactly its interfaces. None if it does not pass the checks;
/// `fuguctl check` says why.
pub fn control(files: &BTreeMap<String, Vec<u8>>) -> Option<Control> {
    let (conf, _said_by_check) = netconf::parse(files);
    let cards = conf.interfaces.iter();
    let cards = cards.filter(|i| i.kind == netconf::Kind::Ethernet);
    let ports = MadeUp(cards.map(|i| i.name.clone()).collect());
    let mut control = Control::new(Setup {
        version: String::new(),
        workers: Vec::new(),
        ports: Box::new(ports),
        store: Box::new(MemoryStore::default()),
        clock: Box::new(StillClock),
        pinger: Box::new(NoPinger),
        log: LogRing::default(),
        shared: Arc::new(Shared::default()),
        states_capacity: STATES,
        rule_slots: RULE_SLOTS_DEFAULT,
        bundle_limits: bundle::Limits::default(),
        compile_bounds: Bounds::default(),
        given: Settings::default(),
        api_port: 443,
        epitaph: None,
    });
    control.start_files(files, "offline").then_some(control)
}

/// Cards with the names that the tree uses.
struct MadeUp(Vec<String>);

impl Ports for MadeUp {
    fn list(&self) -> Vec<PortFacts> {
        let facts = |(n, name): (usize, &String)| PortFacts {
            name: name.clone(),
            mac: [0x02, 0, 0, 0, (n >> 8) as u8, n as u8],
            mtu: 1500,
            mtu_max: MTU_MAX,
            driver: "none".into(),
            device: name.clone(),
        };
        self.0.iter().enumerate().map(facts).collect()
    }
    fn link(&self, _port: u16) -> LinkState {
        LinkState::Up {
            speed_mbps: 0,
            full_duplex: true,
        }
    }
    fn stats(&self, _port: u16) -> HwStats {
        HwStats::default()
    }
    fn set_mtu(&self, _port: u16, _mtu: u16) -> Result<(), String> {
        Ok(())
    }
    fn set_mac(&self, _: u16, _: [u8; 6]) -> Result<(), String> {
        Ok(())
    }
    fn buffers(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// Nothing happens, so no time passes.
struct StillClock;

impl Clock for StillClock {
    fn now_ms(&self) -> u64 {
        0
    }
    fn pause(&self) {}
    fn random(&self, into: &mut [u8]) {
        into.fill(0x5a);
    }
}

struct NoPinger;

impl Pinger for NoPinger {
    fn start(&mut self, _to: IpAddr, _count: u16) -> Result<(), String> {
        Err("there is no network".into())
    }
    fn poll(&mut self) -> Option<Vec<PingReply>> {
        None
    }
    fn stop(&mut self) {}
}
