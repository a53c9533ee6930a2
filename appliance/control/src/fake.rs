//! A control core of canned answers, for the tests of console and HTTP: every answer is a public field, every change is
//! noted. Compiled with the feature `fake` only.

use std::net::IpAddr;
use std::time::Duration;

use crate::api::{
    AnchorView, Api, Applied, Count, Explanation, InterfaceView, KillView, Killing, LimiterView,
    Listed, LoggedPacket, NeighborView, NotKilled, PfInfo, PingReply, Proof, Question, Refused,
    RouteView, RuleView, Sample, SourceView, StateEnd, StateView, StationView, Status, TableEdit,
    TableEdited, TableStats, TableView, WorkerStatus,
};

/// The fake. Begins as a box with two interfaces, two rules and two states.
pub struct Fake {
    /// Answer to `status`.
    pub status: Status,
    /// Answer to `apply_bundle`, if the proof is good.
    pub apply: Result<Applied, Refused>,
    /// The one token that is good.
    pub token: String,
    /// True if a key is trusted, so that uploads without a token may be tried.
    pub accepts_signatures: bool,
    /// Answer to `rules`.
    pub rules: Vec<RuleView>,
    /// Anchors that were given other rules, and which.
    pub anchors_set: Vec<(String, String)>,
    /// Answer to `pflog`.
    pub logged: Vec<LoggedPacket>,
    /// Packets that a trace will still see.
    pub traces: u32,
    /// What lists of workers lack.
    pub lack: Option<String>,
    /// Answer to `states`, before its limit.
    pub states: Vec<StateView>,
    /// Answer to `pf_info`.
    pub info: PfInfo,
    /// Answer to `tables`.
    pub tables: Vec<TableView>,
    /// How far a kill is each time somebody asks; done and with three states killed if there is nothing.
    pub kills: Vec<KillView>,
    /// Answer to `sources`.
    pub sources: Vec<SourceView>,
    /// Answer to `limiters`.
    pub limiters: Vec<LimiterView>,
    /// Answer to `edit_table`.
    pub edited: TableEdited,
    /// Answer to `limits`.
    pub limits: Vec<(String, u64)>,
    /// Answer to `timeouts`.
    pub timeouts: Vec<(String, u64)>,
    /// Answer to `interfaces`.
    pub interfaces: Vec<InterfaceView>,
    /// Answer to `routes`.
    pub routes: Vec<RouteView>,
    /// Answer to `neighbors`.
    pub neighbors: Vec<NeighborView>,
    /// Answer to `stations`; `forget_stations` takes out what is not static.
    pub stations: Vec<StationView>,
    /// Answer to `metrics`.
    pub samples: Vec<Sample>,
    /// Answer to `ping_start`.
    pub ping: Result<(), String>,
    /// Answers to `ping_poll`, in order.
    pub pings: Vec<Vec<PingReply>>,
    /// Answer to `set_management`, `set_token`, `trust_key`, `distrust_key` if it is an error.
    pub refuse_change: Option<String>,
    /// Answer to `replay_floor`.
    pub floor: Option<String>,
    /// Answer to `needs_wizard`; ends with the first `set_management`.
    pub wizard: bool,
    /// Answer to `trusted_keys`.
    pub keys: Vec<(String, String)>,
    /// Answer to `log_lines`.
    pub log: Vec<String>,
    /// Demotion of every group.
    pub demotion: u16,
    /// What was asked to be changed, in order, in words.
    pub done: Vec<String>,
    /// Lengths of the bundles that came.
    pub uploads: Vec<usize>,
}

fn ip(text: &str) -> IpAddr {
    match text.parse() {
        Ok(ip) => ip,
        Err(_) => panic!("{text} in the fake is no address"),
    }
}

/// A kill of all states that has come so far.
pub fn kill(killed: u64, done: bool, percent: u8) -> KillView {
    KillView {
        kill: 1,
        what: "-F states".into(),
        killed,
        done,
        percent,
        seconds: u64::from(percent) / 10,
        stalled: Vec::new(),
    }
}

fn rule(nr: u32, text: &str, label: Option<&str>, packets: u64) -> RuleView {
    RuleView {
        nr,
        anchor: String::new(),
        calls: None,
        text: text.into(),
        label: label.map(Into::into),
        origin: format!("pf.conf:{}", nr + 1),
        evaluations: packets * 2,
        input: Count {
            packets,
            bytes: packets * 100,
        },
        output: Count {
            packets: packets / 2,
            bytes: packets * 50,
        },
        states: u64::from(nr),
        states_total: u64::from(nr) * 3,
    }
}

fn state(
    direction: &'static str,
    proto: u8,
    src: (&str, u16),
    dst: (&str, u16),
    peers: (&str, &str),
) -> StateView {
    StateView {
        interface: "all".into(),
        proto,
        direction,
        src: StateEnd {
            addr: ip(src.0),
            port: src.1,
            rdomain: 0,
        },
        dst: StateEnd {
            addr: ip(dst.0),
            port: dst.1,
            rdomain: 0,
        },
        translated_src: None,
        translated_dst: None,
        peers: (peers.0.into(), peers.1.into()),
        windows: (proto == 6).then_some([(1000, 65535, 7), (2000, 32768, 0)]),
        age_s: 3725,
        expires_s: 86390,
        counts: [
            Count {
                packets: 10,
                bytes: 1000,
            },
            Count {
                packets: 8,
                bytes: 800,
            },
        ],
        rule: Some(1),
        anchor: Some(String::new()),
        flags: Vec::new(),
        id: 0x5f00_0001,
        worker: 0,
    }
}

fn interface(
    name: &str,
    index: u16,
    mac: &str,
    addresses: &[(&str, u8)],
    groups: &[&str],
) -> InterfaceView {
    InterfaceView {
        name: name.into(),
        index,
        up: true,
        link: true,
        speed_mbps: 1000,
        lladdr: mac.into(),
        mtu: 1500,
        groups: groups.iter().map(|g| (*g).to_string()).collect(),
        addresses: addresses.iter().map(|(a, l)| (ip(a), *l)).collect(),
        driver: "net_virtio".into(),
        device: format!("0000:00:0{}.0", index + 2),
        hw_in: Count {
            packets: 100,
            bytes: 10_000,
        },
        hw_out: Count {
            packets: 50,
            bytes: 5_000,
        },
        ..InterfaceView::default()
    }
}

impl Default for Fake {
    fn default() -> Self {
        Fake {
            anchors_set: Vec::new(),
            demotion: 0,
            logged: Vec::new(),
            traces: 0,
            status: Status {
                version: "0.1.0".into(),
                hostname: "fw1".into(),
                forwarding: true,
                generation: 3,
                digest: Some("sha256:00ff".into()),
                anchors_edited: Vec::new(),
                network_changes: Vec::new(),
                origin: "token".into(),
                uptime_s: 93_784,
                states: 2,
                states_limit: 100_000,
                workers: vec![WorkerStatus {
                    id: 0,
                    cpu: 1,
                    packets: 150,
                    busy: 0.25,
                    idle: false,
                    stalled: false,
                    generation: 3,
                }],
                buffers_total: 8192,
                buffers_used: 512,
                uploads_refused: 0,
                epitaph: None,
                nameservers: Vec::new(),
                leases: Vec::new(),
            },
            apply: Ok(Applied {
                generation: 4,
                digest: "sha256:abcd".into(),
                changed: true,
                warnings: Vec::new(),
            }),
            token: "secret".into(),
            accepts_signatures: false,
            rules: vec![
                rule(0, "block return all", None, 10),
                rule(
                    1,
                    "pass in on vio0 inet proto tcp from any to any port = 80 flags S/SA label \"web\"",
                    Some("web"),
                    20,
                ),
            ],
            states: vec![
                state(
                    "in",
                    6,
                    ("198.51.100.7", 51000),
                    ("192.0.2.1", 80),
                    ("ESTABLISHED", "ESTABLISHED"),
                ),
                state(
                    "out",
                    17,
                    ("2001:db8::1", 5353),
                    ("2001:db8::2", 53),
                    ("SINGLE", "MULTIPLE"),
                ),
            ],
            info: PfInfo {
                enabled: true,
                since_s: 62,
                debug: "err".into(),
                states: 2,
                half_open: 1,
                searches: 620,
                inserts: 31,
                removals: 29,
                reasons: vec![
                    ("match".into(), 62),
                    ("bad-offset".into(), 0),
                    ("short".into(), 1),
                ],
                limits: vec![("max-src-conn".into(), 2)],
                loginterface: None,
            },
            kills: Vec::new(),
            lack: None,
            sources: vec![source()],
            limiters: Vec::new(),
            edited: TableEdited::default(),
            tables: vec![TableView {
                flags: "-pa-r--".into(),
                ages_s: vec![60; 2],
                counts: vec![None; 2],
                stats: TableStats {
                    addresses: 2,
                    rules: 1,
                    age_s: 3661,
                    no_matches: 4,
                    matches: 6,
                    ..TableStats::default()
                },
                name: "bruteforce".into(),
                entries: vec!["10.0.0.0/8".into(), "!10.1.0.0/16".into()],
            }],
            limits: vec![("states".into(), 100_000), ("src-nodes".into(), 10_000)],
            timeouts: vec![("tcp.first".into(), 120), ("adaptive.start".into(), 60_000)],
            interfaces: vec![
                interface(
                    "vio0",
                    1,
                    "52:54:00:00:00:01",
                    &[("192.0.2.1", 24), ("2001:db8::1", 64)],
                    &["egress"],
                ),
                interface("vio1", 2, "52:54:00:00:00:02", &[], &[]),
            ],
            routes: vec![
                RouteView {
                    dest: ip("0.0.0.0"),
                    prefix_len: 0,
                    gateway: Some(ip("192.0.2.254")),
                    interface: "vio0".into(),
                    flags: "UGS".into(),
                    active: true,
                    link: true,
                    priority: 8,
                    rtable: 0,
                    label: None,
                },
                RouteView {
                    dest: ip("192.0.2.0"),
                    prefix_len: 24,
                    gateway: None,
                    interface: "vio0".into(),
                    flags: "UCn".into(),
                    active: true,
                    link: true,
                    priority: 4,
                    rtable: 0,
                    label: None,
                },
                RouteView {
                    dest: ip("2001:db8::"),
                    prefix_len: 64,
                    gateway: None,
                    interface: "vio0".into(),
                    flags: "UCn".into(),
                    active: true,
                    link: true,
                    priority: 4,
                    rtable: 0,
                    label: None,
                },
            ],
            stations: Vec::new(),
            neighbors: vec![
                NeighborView {
                    addr: ip("192.0.2.254"),
                    lladdr: Some("52:54:00:00:00:fe".into()),
                    interface: "vio0".into(),
                    expires_s: Some(1170),
                    state: "reachable".into(),
                    published: false,
                },
                NeighborView {
                    addr: ip("192.0.2.9"),
                    lladdr: None,
                    interface: "vio0".into(),
                    expires_s: Some(2),
                    state: "incomplete".into(),
                    published: false,
                },
                NeighborView {
                    addr: ip("2001:db8::1"),
                    lladdr: Some("52:54:00:00:00:01".into()),
                    interface: "vio0".into(),
                    expires_s: None,
                    state: "permanent".into(),
                    published: false,
                },
            ],
            samples: Vec::new(),
            ping: Ok(()),
            pings: vec![
                vec![PingReply::Answer {
                    bytes: 64,
                    seq: 0,
                    ttl: 255,
                    rtt: Duration::from_micros(1234),
                }],
                vec![],
                vec![PingReply::Timeout { seq: 1 }],
            ],
            refuse_change: None,
            floor: Some("2026-11-21T22:15:16Z".into()),
            wizard: false,
            keys: Vec::new(),
            log: vec!["forwarding".into(), "vio1: link down".into()],
            done: Vec::new(),
            uploads: Vec::new(),
        }
    }
}

impl Fake {
    fn listed<T>(&self, entries: Vec<T>) -> Listed<T> {
        Listed {
            entries,
            lack: self.lack.clone(),
        }
    }

    fn change(&mut self, what: String) -> Result<(), String> {
        match &self.refuse_change {
            Some(text) => Err(text.clone()),
            None => {
                self.done.push(what);
                Ok(())
            }
        }
    }
}

fn source() -> SourceView {
    SourceView {
        addr: IpAddr::from([10, 0, 0, 9]),
        kind: "",
        redirect: None,
        limiter: None,
        states: 3,
        connections: 2,
        rate: 0.4,
        rate_seconds: 5,
        age_s: 61,
        expires_s: 0,
        packets: 10,
        bytes: 840,
        rule: Some(1),
    }
}

impl Api for Fake {
    fn status(&mut self) -> Status {
        self.status.clone()
    }

    fn apply_bundle(&mut self, bundle: &[u8], proof: &Proof) -> Result<Applied, Refused> {
        if !self.may_upload(proof) {
            return Err(Refused::Unauthorized("the proof is not valid".into()));
        }
        self.uploads.push(bundle.len());
        self.apply.clone()
    }

    fn may_upload(&mut self, proof: &Proof) -> bool {
        self.may_read(proof) || (*proof == Proof::Signature && self.accepts_signatures)
    }

    fn may_read(&mut self, proof: &Proof) -> bool {
        match proof {
            Proof::Console => true,
            Proof::Bearer(token) => *token == self.token,
            Proof::Signature => false,
        }
    }

    fn rules(&mut self) -> Vec<RuleView> {
        self.rules.clone()
    }

    fn anchors(&mut self) -> Vec<AnchorView> {
        let mut paths: Vec<&str> = self.rules.iter().map(|r| r.anchor.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        let view = |path: &str| AnchorView {
            path: path.into(),
            rules: self.rules.iter().filter(|r| r.anchor == path).count() as u32,
            edited: false,
        };
        paths
            .into_iter()
            .filter(|p| !p.is_empty())
            .map(view)
            .collect()
    }

    fn states(&mut self, limit: usize) -> Listed<StateView> {
        self.listed(self.states.iter().take(limit).cloned().collect())
    }

    fn set_anchor(&mut self, path: &str, rules: &[u8], proof: &Proof) -> Result<Applied, Refused> {
        if !self.may_read(proof) {
            return Err(Refused::Unauthorized("the token is not valid".into()));
        }
        let text = String::from_utf8_lossy(rules).into_owned();
        self.anchors_set.push((path.into(), text));
        self.apply.clone()
    }

    fn change_network(&mut self, command: &str, proof: &Proof) -> Result<Applied, Refused> {
        if !self.may_read(proof) {
            return Err(Refused::Unauthorized("the token is not valid".into()));
        }
        let outcome = self.apply.clone()?;
        match command {
            "" => self.status.network_changes.clear(),
            command => self.status.network_changes.push(command.into()),
        }
        Ok(outcome)
    }

    fn demote_group(&mut self, group: &str, by: i16) -> Result<u16, String> {
        let known = |i: &InterfaceView| i.groups.iter().any(|g| g == group);
        if !self.interfaces.iter().any(known) {
            return Err(format!("no interface is in the group '{group}'"));
        }
        self.demotion = self.demotion.saturating_add_signed(by).min(255);
        Ok(self.demotion)
    }

    fn reset_anchor(&mut self, path: &str, proof: &Proof) -> Result<Applied, Refused> {
        if !self.may_read(proof) {
            return Err(Refused::Unauthorized("the token is not valid".into()));
        }
        self.anchors_set.retain(|(p, _)| p != path);
        self.apply.clone()
    }

    fn pflog(&mut self, since: u64) -> (Vec<LoggedPacket>, u64) {
        let new = self.logged.iter().filter(|r| r.serial >= since);
        (new.cloned().collect(), self.logged.len() as u64)
    }

    fn why(&mut self, question: &Question) -> Result<Explanation, String> {
        let Question::Words(text) = question else {
            return Err("the fake reads words only".into());
        };
        let described = explain::words::parse(text)?;
        Ok(Explanation {
            packet: format!("{} > {}", described.src.0, described.dst.0),
            steps: Vec::new(),
            decisions: Vec::new(),
            verdict: "pass",
            reason: None,
            answer: None,
            out: None,
            note: None,
        })
    }

    fn trace_start(&mut self, _filter: &str, count: u32, _seconds: u32) -> Result<(), String> {
        self.traces = count;
        Ok(())
    }

    fn trace_poll(&mut self) -> Option<Vec<Explanation>> {
        self.traces = self.traces.checked_sub(1)?;
        let question = Question::Words("out udp 10.0.0.1:1 > 10.0.0.2:53".into());
        Some(self.why(&question).into_iter().collect())
    }

    fn trace_stop(&mut self) {
        self.traces = 0;
    }

    fn pf_info(&mut self) -> PfInfo {
        self.info.clone()
    }

    fn tables(&mut self) -> Vec<TableView> {
        self.tables.clone()
    }

    fn table(&mut self, name: &str) -> Option<TableView> {
        self.tables.iter().find(|t| t.name == name).cloned()
    }

    fn table_summaries(&mut self) -> Vec<TableView> {
        let mut tables = self.tables.clone();
        tables.iter_mut().for_each(|t| t.entries.clear());
        tables
    }

    fn kill_states(&mut self, which: &Killing, on: Option<&str>) -> Result<KillView, NotKilled> {
        let on = on.map_or(String::new(), |on| format!(" on {on}"));
        self.change(format!("kill {which:?}{on}"))?;
        if self.kills.is_empty() {
            return Ok(kill(3, true, 100));
        }
        Ok(self.kills.remove(0))
    }

    fn kill_progress(&mut self, _kill: u32) -> Option<KillView> {
        (!self.kills.is_empty()).then(|| self.kills.remove(0))
    }

    fn kills(&mut self) -> Vec<KillView> {
        self.kills.clone()
    }

    fn kill_sources(&mut self, from: Option<&str>, to: Option<&str>) -> Result<u64, String> {
        self.change(format!("kill sources {from:?} {to:?}"))?;
        Ok(2)
    }

    fn sources(&mut self) -> Vec<SourceView> {
        self.sources.clone()
    }

    fn limiters(&mut self) -> Vec<LimiterView> {
        self.limiters.clone()
    }

    fn edit_table(&mut self, name: &str, edit: &TableEdit) -> Result<TableEdited, String> {
        self.change(format!("table {name} {edit:?}"))?;
        Ok(self.edited.clone())
    }

    fn limits(&mut self) -> Vec<(String, u64)> {
        self.limits.clone()
    }

    fn timeouts(&mut self) -> Vec<(String, u64)> {
        self.timeouts.clone()
    }

    fn interfaces(&mut self) -> Vec<InterfaceView> {
        self.interfaces.clone()
    }

    fn routes(&mut self) -> Vec<RouteView> {
        self.routes.clone()
    }

    fn forget_neighbor(&mut self, addr: IpAddr) -> Result<u64, String> {
        if let Some(lack) = &self.lack {
            return Err(lack.clone());
        }
        let before = self.neighbors.len();
        self.neighbors.retain(|n| n.addr != addr);
        Ok((before - self.neighbors.len()) as u64)
    }

    fn neighbors(&mut self) -> Listed<NeighborView> {
        self.listed(self.neighbors.clone())
    }

    fn stations(&mut self) -> Listed<StationView> {
        self.listed(self.stations.clone())
    }

    fn forget_stations(&mut self, bridge: &str, station: Option<&str>) -> Result<bool, String> {
        let before = self.stations.len();
        let goes = |s: &StationView| {
            s.bridge == bridge && !s.fixed && station.is_none_or(|addr| addr == s.lladdr)
        };
        self.stations.retain(|s| !goes(s));
        Ok(self.stations.len() < before || station.is_none())
    }

    fn metrics(&mut self) -> Vec<Sample> {
        self.samples.clone()
    }

    fn ping_start(&mut self, to: IpAddr, count: u16) -> Result<(), String> {
        self.ping.clone()?;
        self.done.push(format!("ping {to} {count}"));
        Ok(())
    }

    fn ping_poll(&mut self) -> Option<Vec<PingReply>> {
        (!self.pings.is_empty()).then(|| self.pings.remove(0))
    }

    fn ping_stop(&mut self) {
        self.done.push("ping stop".into());
        self.pings.clear();
    }

    fn set_management(
        &mut self,
        interface: &str,
        addr: IpAddr,
        prefix_len: u8,
        gateway: Option<IpAddr>,
    ) -> Result<(), String> {
        let gateway = gateway.map_or("none".to_string(), |g| g.to_string());
        self.change(format!(
            "management {interface} {addr}/{prefix_len} {gateway}"
        ))?;
        self.wizard = false;
        Ok(())
    }

    fn set_token(&mut self, token: &str) -> Result<(), String> {
        self.change(format!("token {token:?}"))
    }

    fn trust_key(&mut self, public: &str) -> Result<String, String> {
        self.change(format!("trust {public:?}"))?;
        self.keys
            .push(("0123456789abcdef".into(), "test key".into()));
        Ok("0123456789abcdef".into())
    }

    fn trusted_keys(&mut self) -> Vec<(String, String)> {
        self.keys.clone()
    }

    fn distrust_key(&mut self, key_id: &str) -> Result<(), String> {
        self.change(format!("distrust {key_id}"))
    }

    fn replay_floor(&mut self) -> Option<String> {
        self.floor.clone()
    }

    fn reset_replay_floor(&mut self) -> Result<(), String> {
        self.change("reset replay floor".into())?;
        self.floor = None;
        Ok(())
    }

    fn needs_wizard(&mut self) -> bool {
        self.wizard
    }

    fn log_lines(&mut self) -> Vec<String> {
        self.log.clone()
    }

    fn reboot(&mut self) {
        self.done.push("reboot".into());
    }

    fn halt(&mut self) {
        self.done.push("halt".into());
    }
}
