//! [`Api`] for the control core: what is published, what workers count, in the shapes of `api.rs`.

use std::collections::HashMap;
use std::net::IpAddr;

use explain::Explanation;
use filter::Reason;
use net::neighbor;
use net::{Interface, Route, RouteKind};
use nic::LinkState;
use ruleset::{Af, Direction, RuleSlot, TableEntry, Timeout};
use state::{Key, State, StateFlags};

use crate::api::{
    AnchorView, Api, Applied, Count, InterfaceView, KillView, Killing, LimiterView, Listed,
    LoggedPacket, NeighborView, NotKilled, PfInfo, PingReply, Proof, Question, Refused, RouteView,
    RuleView, Sample, SourceView, StateEnd, StateView, StationView, Status, TableEdit, TableEdited,
    TableView, WorkerStatus,
};
use crate::control::{Control, Wish, digest_text};
use crate::numbers::Kifs;
use crate::policy::RuleText;

const PROTO_ICMP: u8 = 1;
const PROTO_TCP: u8 = 6;
const PROTO_ICMP6: u8 = 58;

impl Control {
    fn rule_view(&self, text: &RuleText, slot: RuleSlot) -> RuleView {
        let totals = self.fleet.totals(slot).since(&self.slots.base(slot));
        RuleView {
            nr: text.nr,
            anchor: text.anchor.clone(),
            calls: text.calls.clone(),
            text: text.text.clone(),
            label: text.label.clone(),
            origin: text.origin.clone(),
            evaluations: totals.evaluations,
            input: totals.traffic[0],
            output: totals.traffic[1],
            states: self.fleet.states_on(slot),
            states_total: totals.states_total,
        }
    }

    fn interface_view(&self, interface: &Interface) -> InterfaceView {
        let port = interface.port().map(usize::from);
        let facts = port.and_then(|n| self.facts.get(n));
        let link = match port {
            Some(n) => self.links.get(n).copied().unwrap_or_default(),
            None if self.carries(interface) => LinkState::Up {
                speed_mbps: 0,
                full_duplex: true,
            },
            None => LinkState::Down,
        };
        let hw = interface
            .port()
            .map(|n| self.ports.stats(n))
            .unwrap_or_default();
        // Cards count their own; workers count those of everything else.
        let [frames_in, frames_out] = self.fleet.link(interface.id.0);
        InterfaceView {
            name: interface.name.to_string(),
            description: interface.description.clone(),
            index: interface.id.0,
            up: interface.up,
            link: link.is_up(),
            speed_mbps: match link {
                LinkState::Up { speed_mbps, .. } => speed_mbps,
                LinkState::Down => 0,
            },
            lladdr: interface.mac.to_string(),
            rdomain: interface.rdomain,
            mtu: interface.mtu,
            groups: interface.groups.clone(),
            addresses: interface
                .addrs
                .iter()
                .map(|a| (a.addr, a.prefix_len))
                .collect(),
            driver: facts.map(|f| f.driver.clone()).unwrap_or_default(),
            device: facts.map(|f| f.device.clone()).unwrap_or_default(),
            pf: self.fleet.interface(interface.id.0),
            hw_in: Count {
                packets: hw.rx_packets + frames_in.packets,
                bytes: hw.rx_bytes + frames_in.bytes,
            },
            hw_out: Count {
                packets: hw.tx_packets + frames_out.packets,
                bytes: hw.tx_bytes + frames_out.bytes,
            },
            hw_missed: hw.missed,
            hw_errors: hw.errors,
            made: self.made_of(interface),
        }
    }

    fn interface_name(&self, id: net::InterfaceId) -> String {
        let found = self.fleet.current().interfaces.get(id);
        found.map(|i| i.name.to_string()).unwrap_or_default()
    }

    /// Neighbors as workers know them, our own, and those that are set.
    fn neighbor_views(&self, heard: &[net::neighbor::Neighbor]) -> Vec<NeighborView> {
        // Several workers may know the same neighbor: the one that has an answer counts.
        let mut found: HashMap<(u16, IpAddr), NeighborView> = HashMap::new();
        let now_ms = self.clock.now_ms();
        for entry in heard {
            let view = neighbor_view(entry, self.interface_name(entry.interface), now_ms);
            let place = found
                .entry((entry.interface.0, entry.ip))
                .or_insert_with(|| view.clone());
            if place.lladdr.is_none() && view.lladdr.is_some() {
                *place = view;
            }
        }
        let mut all: Vec<NeighborView> = found.into_values().collect();
        let interfaces = self
            .fleet
            .current()
            .interfaces
            .iter()
            .filter(|i| i.up && !i.is_loopback());
        all.extend(interfaces.flat_map(own_neighbors));
        all.extend(self.set_neighbors());
        all.sort_by(|a, b| (&a.interface, a.addr).cmp(&(&b.interface, b.addr)));
        all
    }

    /// Neighbors that are set, and those that we answer for.
    fn set_neighbors(&self) -> Vec<NeighborView> {
        let interfaces = &self.fleet.current().interfaces;
        let view =
            |interface: net::InterfaceId, addr, link: Option<wire::ether::Addr>, published| {
                let own = || interfaces.get(interface).map(|i| i.mac);
                NeighborView {
                    addr,
                    lladdr: link.or_else(own).map(|mac| mac.to_string()),
                    interface: self.interface_name(interface),
                    expires_s: None,
                    state: "static".into(),
                    published,
                }
            };
        let listening = interfaces.listening();
        let fixed = listening.all_fixed().iter();
        let fixed = fixed.map(|f| view(f.interface, f.addr, Some(f.link), false));
        let published = listening.all_published().iter();
        let published = published.map(|p| view(p.interface, p.addr, p.link, true));
        fixed.chain(published).collect()
    }

    fn worker_statuses(&mut self) -> Vec<WorkerStatus> {
        let load = self.fleet.load();
        let stalled = self.fleet.stalled(self.clock.now_ms());
        let workers = self.fleet.workers().iter().zip(load).enumerate();
        let status =
            |(n, (worker, busy)): (usize, (&crate::fleet::WorkerLink, f64))| WorkerStatus {
                id: n as u16,
                cpu: worker.cpu,
                packets: worker.counters.received.get(),
                busy,
                idle: worker.counters.idle.get() != 0,
                stalled: stalled.contains(&(n as u16)),
                generation: worker.counters.generation.get() as u32,
            };
        workers.map(status).collect()
    }

    fn since_start_s(&self) -> u64 {
        self.clock.now_ms().saturating_sub(self.started_ms) / 1000
    }
}

/// What the views need to know to show a state.
struct StateContext<'a> {
    kifs: &'a Kifs,
    rules: HashMap<RuleSlot, &'a RuleText>,
    now: u32,
}

/// Options of a state in the words of pf.conf.
fn state_flags(flags: StateFlags) -> Vec<&'static str> {
    let words = [
        (StateFlags::SLOPPY, "sloppy"),
        (StateFlags::PFLOW, "pflow"),
        (StateFlags::NO_SYNC, "no-sync"),
    ];
    let set = |(flag, word): (StateFlags, _)| flags.contains(flag).then_some(word);
    words.into_iter().filter_map(set).collect()
}

impl StateContext<'_> {
    fn view(&self, worker: u16, st: &State, timeout_s: u32) -> StateView {
        let from = match st.direction {
            Direction::In => 0,
            Direction::Out => 1,
        };
        let (src, dst) = (end(&st.wire, from), end(&st.wire, 1 - from));
        let translated = translated_ends(st, from);
        let ticks = u64::from(state::ticks::TICKS_PER_S);
        let idle_s = u64::from(self.now.wrapping_sub(st.last_seen)) / ticks;
        let bound = st.flags.contains(StateFlags::IF_BOUND);
        StateView {
            interface: self
                .kifs
                .name(st.kif)
                .filter(|_| bound)
                .unwrap_or("all")
                .to_string(),
            proto: st.wire.proto(),
            direction: match st.direction {
                Direction::In => "in",
                Direction::Out => "out",
            },
            translated_src: Some(translated.0).filter(|e| *e != src),
            translated_dst: Some(translated.1).filter(|e| *e != dst),
            src,
            dst,
            peers: (
                peer_word(st.wire.proto(), st.peer[0].state),
                peer_word(st.wire.proto(), st.peer[1].state),
            ),
            windows: (st.wire.proto() == PROTO_TCP).then(|| st.peer.map(window)),
            age_s: u64::from(self.now.wrapping_sub(st.created)) / ticks,
            expires_s: u64::from(timeout_s).saturating_sub(idle_s),
            counts: [0, 1].map(|n| Count {
                packets: st.packets[n],
                bytes: st.bytes[n],
            }),
            rule: self.rules.get(&st.rule).map(|rule| rule.nr),
            anchor: self.rules.get(&st.rule).map(|rule| rule.anchor.clone()),
            flags: state_flags(st.flags),
            id: st.id,
            worker,
        }
    }
}

/// Both ends on the far side. Where the family changes, answers come in as well, so that the far key is turned round.
fn translated_ends(st: &State, from: usize) -> (StateEnd, StateEnd) {
    let from = match st.wire.af() == st.stack.af() {
        true => from,
        false => 1 - from,
    };
    (end(&st.stack, from), end(&st.stack, 1 - from))
}

fn end(key: &Key, n: usize) -> StateEnd {
    let (addr, port) = key.end(n);
    StateEnd {
        addr: ip(key.af(), addr),
        port,
        rdomain: key.rdomain(),
    }
}

pub(crate) fn ip(af: Af, addr: u128) -> IpAddr {
    match af {
        Af::Inet => std::net::Ipv4Addr::from_bits(addr as u32).into(),
        Af::Inet6 => std::net::Ipv6Addr::from_bits(addr).into(),
    }
}

/// pfctl's words.
fn peer_word(proto: u8, state: u8) -> String {
    match proto {
        PROTO_TCP => state::track::tcp::state_name(state).into(),
        PROTO_ICMP | PROTO_ICMP6 => state.to_string(),
        _ => match state {
            state::track::TRAFFIC_NONE => "NO_TRAFFIC".into(),
            state::track::TRAFFIC_SINGLE => "SINGLE".into(),
            state::track::TRAFFIC_MULTIPLE => "MULTIPLE".into(),
            other => other.to_string(),
        },
    }
}

fn window(peer: state::Peer) -> (u32, u32, u8) {
    let known = peer.wscale & state::Peer::WSCALE_KNOWN != 0;
    let wscale = if known {
        peer.wscale & state::Peer::WSCALE_MASK
    } else {
        0
    };
    (peer.seq_lo, peer.seq_hi.wrapping_sub(peer.seq_lo), wscale)
}

fn route_view(route: &Route, link: bool, interface: String) -> RouteView {
    let up = if route.active && link { "U" } else { "" };
    let rest = match route.kind {
        RouteKind::Connected => "Cn",
        RouteKind::Static if route.prefix.is_host() => "GHS",
        RouteKind::Static => "GS",
        RouteKind::Local => "Hl",
        RouteKind::Blackhole => "BS",
        RouteKind::Reject => "RS",
    };
    RouteView {
        dest: route.prefix.addr(),
        prefix_len: route.prefix.prefix_len(),
        gateway: route.gateway,
        interface,
        flags: format!("{up}{rest}"),
        active: route.active,
        link,
        priority: route.priority,
        rtable: 0,
        label: None,
    }
}

pub(crate) fn table_entry(entry: &TableEntry) -> String {
    let not = if entry.negate { "!" } else { "" };
    let addr = ip(entry.af, entry.addr);
    if entry.prefix_len == entry.af.bits() {
        format!("{not}{addr}")
    } else {
        format!("{not}{addr}/{}", entry.prefix_len)
    }
}

impl Api for Control {
    fn status(&mut self) -> Status {
        let (buffers_total, buffers_used) = self.ports.buffers();
        Status {
            version: self.version.clone(),
            hostname: self.shown.hostname.clone(),
            forwarding: self.is_forwarding(),
            generation: self.generation(),
            digest: self.running.as_ref().map(|r| digest_text(&r.digest)),
            origin: self
                .running
                .as_ref()
                .map_or(crate::builtin::ORIGIN, |r| &r.origin)
                .into(),
            anchors_edited: self.anchors.keys().cloned().collect(),
            network_changes: self.changes.clone(),
            uptime_s: self.since_start_s(),
            states: self.shared.states.get(),
            states_limit: self.ruleset().limits.states.into(),
            workers: self.worker_statuses(),
            buffers_total,
            buffers_used,
            uploads_refused: self.uploads_refused,
            epitaph: self.epitaph.clone(),
            nameservers: self.learned.nameservers(&self.nameservers),
            leases: self.learning.leases(self.clock.now_ms()),
        }
    }

    fn apply_bundle(&mut self, bundle: &[u8], proof: &Proof) -> Result<Applied, Refused> {
        self.apply(bundle, proof)
    }

    fn may_upload(&mut self, proof: &Proof) -> bool {
        match proof {
            Proof::Signature => !self.trusted().is_empty(),
            other => self.may_read(other),
        }
    }

    fn may_read(&mut self, proof: &Proof) -> bool {
        match proof {
            Proof::Console => true,
            Proof::Bearer(token) => self.token_is_valid(token),
            Proof::Signature => false,
        }
    }

    fn rules(&mut self) -> Vec<RuleView> {
        let rules = self.shown.rules.iter().zip(&self.shown.slots);
        rules
            .map(|(text, slot)| self.rule_view(text, *slot))
            .collect()
    }

    fn anchors(&mut self) -> Vec<AnchorView> {
        let paths = self
            .ruleset()
            .anchors
            .iter()
            .filter(|path| !path.is_empty());
        let view = |path: &String| AnchorView {
            path: path.clone(),
            edited: self.anchors.contains_key(path),
            rules: self
                .shown
                .rules
                .iter()
                .filter(|r| r.anchor == *path)
                .count() as u32,
        };
        paths.map(view).collect()
    }

    fn states(&mut self, limit: usize) -> Listed<StateView> {
        let found = self.fleet.states(limit, self.clock.as_ref());
        let config = self.fleet.current().clone();
        let slots = self.shown.slots.iter().copied();
        let cx = StateContext {
            kifs: &self.kifs,
            rules: slots.zip(&self.shown.rules).collect(),
            now: state::ticks::ticks(self.clock.now_ms()),
        };
        let total = self.shared.states.get();
        let view = |(worker, st): &(u16, State)| {
            let of_rule = || self.fleet.states_on(st.rule);
            let life = filter::lifetime::lifetime_s(&config.ruleset, st, total, of_rule);
            cx.view(*worker, st, life)
        };
        found.with(|found| found.iter().map(view).collect())
    }

    fn set_anchor(&mut self, path: &str, rules: &[u8], proof: &Proof) -> Result<Applied, Refused> {
        self.change_anchor(path, Some(rules), proof)
    }

    fn change_network(&mut self, command: &str, proof: &Proof) -> Result<Applied, Refused> {
        self.change(command, proof)
    }

    fn demote_group(&mut self, group: &str, by: i16) -> Result<u16, String> {
        Control::demote_group(self, group, by)
    }

    fn reset_anchor(&mut self, path: &str, proof: &Proof) -> Result<Applied, Refused> {
        self.change_anchor(path, None, proof)
    }

    fn pflog(&mut self, since: u64) -> (Vec<LoggedPacket>, u64) {
        self.logged_since(since)
    }

    fn why(&mut self, question: &Question) -> Result<Explanation, String> {
        self.explain(question)
    }

    fn trace_start(&mut self, filter: &str, count: u32, seconds: u32) -> Result<(), String> {
        self.begin_trace(filter, count, seconds)
    }

    fn trace_poll(&mut self) -> Option<Vec<Explanation>> {
        self.traced()
    }

    fn trace_stop(&mut self) {
        self.end_trace();
    }

    fn pf_info(&mut self) -> PfInfo {
        let reasons = Reason::ALL.iter().enumerate();
        let reasons = reasons.map(|(n, r)| {
            (
                r.name().to_string(),
                self.fleet.sum(|c| &c.filter.reasons[n]),
            )
        });
        let limits = filter::LimitCounter::NAMES.iter().enumerate();
        let limits = limits.map(|(n, name)| {
            let counted = self.fleet.sum(|c| &c.filter.limits[n]);
            ((*name).to_string(), counted)
        });
        let logged = self.shown.loginterface.as_ref();
        let config = self.fleet.current().clone();
        let logged = logged.and_then(|name| config.interfaces.by_name(name));
        PfInfo {
            enabled: true,
            since_s: self.since_start_s(),
            debug: self.shown.debug.clone(),
            states: self.shared.states.get(),
            half_open: self.shared.half_open.get(),
            searches: self.fleet.sum(|c| &c.filter.searches),
            inserts: self.fleet.sum(|c| &c.filter.inserts),
            removals: self.fleet.sum(|c| &c.filter.removals),
            reasons: reasons.collect(),
            limits: limits.collect(),
            loginterface: logged.map(|i| self.interface_view(i)),
        }
    }

    fn tables(&mut self) -> Vec<TableView> {
        self.table_views()
    }

    fn table(&mut self, name: &str) -> Option<TableView> {
        self.table_view(name)
    }

    fn table_summaries(&mut self) -> Vec<TableView> {
        self.summaries()
    }

    fn kill_states(&mut self, which: &Killing, on: Option<&str>) -> Result<KillView, NotKilled> {
        self.kill(which, on)
    }

    fn kill_progress(&mut self, kill: u32) -> Option<KillView> {
        self.tend_kills();
        self.fleet.follow_kill(kill, self.clock.now_ms())
    }

    fn kills(&mut self) -> Vec<KillView> {
        self.tend_kills();
        self.fleet.kills(self.clock.now_ms())
    }

    fn kill_sources(&mut self, from: Option<&str>, to: Option<&str>) -> Result<u64, String> {
        self.kill_nodes(from, to)
    }

    fn sources(&mut self) -> Vec<SourceView> {
        self.source_views()
    }

    fn limiters(&mut self) -> Vec<LimiterView> {
        self.limiter_views()
    }

    fn edit_table(&mut self, name: &str, edit: &TableEdit) -> Result<TableEdited, String> {
        self.change_table(name, edit)
    }

    fn limits(&mut self) -> Vec<(String, u64)> {
        let all = self.ruleset().limits.named();
        all.map(|(name, value)| (name.to_string(), u64::from(value)))
            .to_vec()
    }

    fn timeouts(&mut self) -> Vec<(String, u64)> {
        let timeouts = self.ruleset().timeouts;
        let all = Timeout::ALL.iter();
        all.map(|class| (class.name().to_string(), timeouts.get(*class).into()))
            .collect()
    }

    fn interfaces(&mut self) -> Vec<InterfaceView> {
        let config = self.fleet.current().clone();
        config
            .interfaces
            .iter()
            .map(|i| self.interface_view(i))
            .collect()
    }

    fn routes(&mut self) -> Vec<RouteView> {
        let tables = &self.fleet.current().routes;
        let routes = tables
            .iter()
            .flat_map(|(domain, table)| table.iter().map(move |route| (domain.rtable, route)));
        routes
            .map(|(rtable, route)| RouteView {
                rtable,
                label: tables.label(route.label).map(str::to_string),
                ..route_view(
                    route,
                    self.carriers.carry(route),
                    self.interface_name(route.interface),
                )
            })
            .collect()
    }

    fn forget_neighbor(&mut self, addr: IpAddr) -> Result<u64, String> {
        self.forget(addr)
    }

    fn neighbors(&mut self) -> Listed<NeighborView> {
        let heard = self.fleet.neighbors(self.clock.as_ref());
        heard.with(|heard| self.neighbor_views(&heard))
    }

    fn stations(&mut self) -> Listed<StationView> {
        self.station_views()
    }

    fn forget_stations(&mut self, bridge: &str, station: Option<&str>) -> Result<bool, String> {
        self.forget_stations_of(bridge, station)
    }

    fn metrics(&mut self) -> Vec<Sample> {
        crate::metrics::samples(self)
    }

    fn ping_start(&mut self, to: IpAddr, count: u16) -> Result<(), String> {
        self.pinger.start(to, count)
    }

    fn ping_poll(&mut self) -> Option<Vec<PingReply>> {
        self.pinger.poll()
    }

    fn ping_stop(&mut self) {
        self.pinger.stop();
    }

    fn set_management(
        &mut self,
        interface: &str,
        addr: IpAddr,
        prefix_len: u8,
        gateway: Option<IpAddr>,
    ) -> Result<(), String> {
        self.change_management(interface, addr, prefix_len, gateway)
    }

    fn set_token(&mut self, token: &str) -> Result<(), String> {
        self.change_token(token)
    }

    fn trust_key(&mut self, public: &str) -> Result<String, String> {
        self.add_key(public)
    }

    fn trusted_keys(&mut self) -> Vec<(String, String)> {
        let keys = self.trusted();
        keys.into_iter()
            .map(|key| (key.id.to_string(), key.comment))
            .collect()
    }

    fn distrust_key(&mut self, key_id: &str) -> Result<(), String> {
        self.remove_key(key_id)
    }

    fn replay_floor(&mut self) -> Option<String> {
        self.floor().map(|date| date.to_string())
    }

    fn reset_replay_floor(&mut self) -> Result<(), String> {
        self.reset_floor()
    }

    fn needs_wizard(&mut self) -> bool {
        self.is_untouched()
    }

    fn log_lines(&mut self) -> Vec<String> {
        self.log.lines()
    }

    fn reboot(&mut self) {
        self.wish(Wish::Reboot);
    }

    fn halt(&mut self) {
        self.wish(Wish::Halt);
    }
}

fn neighbor_view(entry: &neighbor::Neighbor, interface: String, now_ms: u64) -> NeighborView {
    NeighborView {
        addr: entry.ip,
        lladdr: entry.link.map(|mac| mac.to_string()),
        interface,
        expires_s: Some(entry.due_ms.saturating_sub(now_ms) / 1000),
        state: format!("{:?}", entry.state).to_lowercase(),
        published: false,
    }
}

fn own_neighbors(interface: &Interface) -> impl Iterator<Item = NeighborView> + '_ {
    interface.addrs.iter().map(|a| NeighborView {
        addr: a.addr,
        lladdr: Some(interface.mac.to_string()),
        interface: interface.name.to_string(),
        expires_s: None,
        state: "permanent".into(),
        published: false,
    })
}
