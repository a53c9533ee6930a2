//! Laggs in use: which ports they send by and hear. Links and answers come in, masks for the workers and frames go out. A
//! switchover changes two masks and announces the addresses; no configuration changes.
//!
//! The machines are `net::failover` and `net::probe`; this file gives them the box's ports, its log and its frames.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use net::failover::{Event, Failover, Notice, Notices, State};
use net::link::{TAG_LEN, write_tags};
use net::neighbor::{
    FRAME_LEN_MAX, PROBE_PREFIX, build_arp_probe, build_gratuitous_arp, build_ns_from,
    build_unsolicited_na,
};
use net::probe::{Action, Prober};
use net::{Interface, InterfaceId, InterfaceTable, Kind, Lagg, LaggProtocol, Tpid};
use sync::Masks;
use wire::ether;
use worker::FrameEnd;

use crate::api::{LaggPortView, MadeOf};
use crate::control::Control;
use crate::deputy::{Deputy, Ward};
use crate::lacp::LacpRun;

/// Frames of the control core that wait for a worker. A switchover announces every address of thousands of VLANs.
const FRAMES_MAX: usize = 16_384;
/// Priority of questions by ports.
const PROBE_PRIORITY: u8 = 7;

/// A lagg in use.
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) interface: InterfaceId,
    /// Port numbers by place, and whether the port is configured up.
    ports: Vec<(u16, bool)>,
    /// As configured.
    pub(crate) lagg: Lagg,
    pub(crate) machine: Failover,
    prober: Option<Prober>,
    masks: Arc<Masks>,
    /// How often frames began to leave by another port.
    pub(crate) switches: u64,
}

/// All laggs.
#[derive(Default)]
pub(crate) struct Laggs {
    /// Those that do not speak LACP.
    pub(crate) runs: Vec<Run>,
    /// Those that do.
    pub(crate) lacp: Vec<LacpRun>,
    out: VecDeque<(FrameEnd, Vec<u8>)>,
    deputy: Deputy,
    /// How often the deputy had acted when it was asked last.
    acted: u64,
}

impl Run {
    fn place(&self, port: u16) -> Option<u8> {
        let at = self.ports.iter().position(|(n, _)| *n == port)?;
        Some(at as u8)
    }

    fn publish(&self) {
        let choice = self.machine.choice();
        self.masks.set(choice.send, choice.receive);
    }

    /// What the deputy has to know.
    fn ward(&self) -> Ward {
        Ward {
            ports: self.ports.iter().map(|(port, _)| *port).collect(),
            usable: self.machine.usable(),
            protocol: self.lagg.rules.protocol,
            receive_all: self.lagg.rules.receive_all,
            min_links: self.lagg.rules.min_links,
            masks: self.masks.clone(),
        }
    }

    /// States of its ports: number, state, and whether it sends.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (u16, State, bool)> {
        let send = self.machine.choice().send;
        let states = self.ports.iter().zip(self.machine.ports());
        states
            .enumerate()
            .map(move |(n, ((port, _), state))| (*port, *state, send >> n & 1 == 1))
    }

    fn due_ms(&self) -> Option<u64> {
        let prober = self.prober.as_ref().and_then(Prober::due_ms);
        self.machine.due_ms().into_iter().chain(prober).min()
    }
}

impl Laggs {
    /// To be called whenever ports may be used that could not be before, or the other way round.
    pub(crate) fn brief_deputy(&self) {
        let wards = self.runs.iter().map(Run::ward);
        let lacp = self.lacp.iter().map(LacpRun::ward);
        self.deputy.hand_over(wards.chain(lacp).collect());
    }

    /// This core is back, and has heard of all links: what it knows counts.
    fn relieve_deputy(&mut self, now_ms: u64) {
        let acted = self.deputy.report(now_ms);
        if std::mem::replace(&mut self.acted, acted) != acted {
            self.runs.iter().for_each(Run::publish);
            self.lacp.iter().for_each(LacpRun::publish);
        }
    }
}

impl Control {
    /// Follows the interfaces of a configuration that is about to be published. What has not changed goes on.
    pub(crate) fn follow_laggs(&mut self, interfaces: &InterfaceTable) {
        let mut before = std::mem::take(&mut self.laggs.runs);
        for interface in interfaces {
            if let Kind::Lagg(lagg) = &interface.kind
                && lagg.rules.protocol != LaggProtocol::Lacp
            {
                let same = before
                    .iter()
                    .position(|run| interface.name == run.name.as_str());
                let old = same.map(|at| before.swap_remove(at));
                let run = self.run_of(interfaces, interface, lagg, old);
                run.publish();
                self.laggs.runs.push(run);
            }
        }
        self.follow_lacp(interfaces);
        self.laggs.brief_deputy();
        self.set_addresses(interfaces);
    }

    /// Who looks after laggs while this core is busy.
    pub fn deputy(&self) -> Deputy {
        self.laggs.deputy.clone()
    }

    fn run_of(
        &self,
        interfaces: &InterfaceTable,
        interface: &Interface,
        lagg: &Lagg,
        old: Option<Run>,
    ) -> Run {
        let members = lagg.members.iter().filter_map(|id| interfaces.get(*id));
        let ports: Vec<(u16, bool)> = members.filter_map(|m| Some((m.port()?, m.up))).collect();
        let masks = lagg.masks.0.clone();
        let goes_on = |old: &Run| {
            (&old.ports, old.lagg.rules, &old.lagg.targets) == (&ports, lagg.rules, &lagg.targets)
        };
        if let Some(old) = old.filter(goes_on) {
            return Run {
                interface: interface.id,
                lagg: lagg.clone(),
                masks,
                ..old
            };
        }
        let has_link = |(port, up): &(u16, bool)| *up && self.ports.link(*port).is_up();
        let links: Vec<bool> = ports.iter().map(has_link).collect();
        let now_ms = self.clock.now_ms();
        let targets = lagg.targets.clone();
        Run {
            name: interface.name.to_string(),
            interface: interface.id,
            machine: Failover::new(lagg.rules, &links),
            prober: (!targets.is_empty()).then(|| Prober::new(targets, ports.len(), now_ms)),
            lagg: lagg.clone(),
            ports,
            masks,
            switches: 0,
        }
    }

    /// Ports answer to the addresses that their interfaces have now.
    fn set_addresses(&mut self, interfaces: &InterfaceTable) {
        self.macs
            .resize_with(self.facts.len(), || ether::Addr::ZERO);
        for interface in interfaces {
            let Some(port) = interface.port() else {
                continue;
            };
            let n = usize::from(port);
            let (Some(facts), Some(known)) = (self.facts.get(n), self.macs.get_mut(n)) else {
                continue;
            };
            if *known == ether::Addr::ZERO {
                *known = ether::Addr(facts.mac);
            }
            if *known != interface.mac {
                *known = interface.mac;
                if let Err(error) = self.ports.set_mac(port, interface.mac.0) {
                    // It listens to all addresses, as every port does.
                    log::info!("{}: address {}: {error}", facts.name, interface.mac);
                }
            }
        }
    }

    /// Ports whose links must be looked at often, because others stand by for them.
    pub fn urgent_ports(&self) -> Vec<u16> {
        let ports = self.laggs.runs.iter().flat_map(|run| &run.ports);
        let lacp = self.laggs.lacp.iter().flat_map(|run| &run.ports);
        ports.chain(lacp).map(|(port, _)| *port).collect()
    }

    /// When [`Control::tend_laggs`] has something to do next, milliseconds since start.
    pub fn laggs_due_ms(&self) -> Option<u64> {
        let lacp = self.laggs.lacp.iter().map(|run| run.due_ms);
        let runs = self.laggs.runs.iter().filter_map(Run::due_ms);
        runs.chain(lacp).min()
    }

    /// A port's link came or went.
    pub(crate) fn lagg_link(&mut self, port: u16, up: bool) {
        self.lacp_link(port, up);
        let now_ms = self.clock.now_ms();
        for at in 0..self.laggs.runs.len() {
            let run = &mut self.laggs.runs[at];
            let Some(place) = run.place(port) else {
                continue;
            };
            let up = up && run.ports[usize::from(place)].1;
            if let Some(prober) = &mut run.prober {
                prober.on_link(place, now_ms);
            }
            self.tell_lagg(at, Event::Link { port: place, up }, now_ms);
        }
    }

    /// Time has passed: holds end, neighbors are asked.
    pub fn tend_laggs(&mut self) {
        let now_ms = self.clock.now_ms();
        self.laggs.relieve_deputy(now_ms);
        self.tend_lacp(now_ms);
        for at in 0..self.laggs.runs.len() {
            if self.laggs.runs[at].due_ms().is_none_or(|due| due > now_ms) {
                continue;
            }
            self.tell_lagg(at, Event::Tick, now_ms);
            let poll = |run: &mut Run| run.prober.as_mut()?.poll(now_ms);
            while let Some(action) = poll(&mut self.laggs.runs[at]) {
                self.carry_out(at, action, now_ms);
            }
        }
    }

    fn carry_out(&mut self, at: usize, action: Action, now_ms: u64) {
        match action {
            Action::Ask { port, target } => self.ask_by_port(at, port, target),
            Action::Life { port, answers } => {
                self.tell_lagg(at, Event::Life { port, answers }, now_ms);
            }
        }
    }

    fn tell_lagg(&mut self, at: usize, event: Event, now_ms: u64) {
        let run = &mut self.laggs.runs[at];
        let notices = run.machine.on(now_ms, event);
        // First the workers, then everybody else.
        run.publish();
        self.carriers.stale |= !notices.is_empty();
        self.laggs.brief_deputy();
        self.say_notices(at, &notices, event);
    }

    fn say_notices(&mut self, at: usize, notices: &Notices, event: Event) {
        for notice in notices {
            let run = &self.laggs.runs[at];
            let name = |place: u8| {
                let port = run.ports.get(usize::from(place));
                port.map_or("a port", |(n, _)| self.port_name(*n))
            };
            let lagg = &run.name;
            match notice {
                Notice::Ready(place) => log::info!("{lagg}: {} is ready", name(*place)),
                Notice::Lost(place) => {
                    let why = match event {
                        Event::Life { .. } => "nobody answers behind it",
                        _ => "its link is down",
                    };
                    log::warn!("{lagg}: {} is not to be used: {why}", name(*place));
                }
                Notice::Switched(_, Some(to)) => {
                    log::warn!("{lagg}: frames leave by {} now", name(*to));
                    self.laggs.runs[at].switches += 1;
                    self.announce(at);
                }
                Notice::Switched(_, None) => log::error!("{lagg}: no port can be used"),
            }
        }
    }

    /// Tells switches and hosts that the addresses of a lagg and of what stands on it are behind another port now.
    fn announce(&mut self, at: usize) {
        let lagg = self.laggs.runs[at].interface;
        let config = self.fleet.current().clone();
        let links = config.interfaces.links();
        let above = config
            .interfaces
            .iter()
            .filter(|i| i.up && links.base(i.id) == lagg);
        for interface in above {
            for a in &interface.addrs {
                let mut frame = [0; FRAME_LEN_MAX];
                let built = match a.addr {
                    IpAddr::V4(addr) => build_gratuitous_arp(&mut frame, interface.mac, addr),
                    IpAddr::V6(addr) => build_unsolicited_na(&mut frame, interface.mac, addr),
                };
                if let Some(len) = built {
                    self.send_frame(FrameEnd::Interface(interface.id), frame[..len].to_vec());
                }
            }
        }
    }

    /// Asks a neighbor by one port, with the address of that port alone.
    fn ask_by_port(&mut self, at: usize, place: u8, target: IpAddr) {
        let run = &self.laggs.runs[at];
        let config = self.fleet.current();
        let links = config.interfaces.links();
        let on_link = |i: &&Interface| links.base(i.id) == run.interface && i.on_link(target);
        let Some(way) = config
            .interfaces
            .iter()
            .find(on_link)
            .and_then(|i| links.way(i.id))
        else {
            return;
        };
        let Some((port, _)) = run.ports.get(usize::from(place)).copied() else {
            return;
        };
        let Some(facts) = self.facts.get(usize::from(port)) else {
            return;
        };
        let mac = ether::Addr(facts.mac);
        let room = way.tags().len() * TAG_LEN;
        let mut frame = vec![0; room + FRAME_LEN_MAX];
        let built = match target {
            IpAddr::V4(target) => build_arp_probe(&mut frame[room..], mac, target),
            IpAddr::V6(target) => {
                build_ns_from(&mut frame[room..], (mac, probe_addr(port)), target)
            }
        };
        if let Some(len) = built {
            frame.truncate(room + len);
            write_tags(&mut frame, way.tags(), PROBE_PRIORITY);
            self.send_frame(FrameEnd::Port(port), frame);
        }
    }

    /// A whole frame came by a port: perhaps the answer to a question.
    pub(crate) fn hear_answer(&mut self, port: u16, frame: &[u8]) {
        let Some(from) = who_answers(frame) else {
            return;
        };
        let now_ms = self.clock.now_ms();
        for at in 0..self.laggs.runs.len() {
            let run = &mut self.laggs.runs[at];
            let place = run.place(port);
            let answer = |prober: &mut Prober| prober.on_answer(place?, from);
            if let Some(action) = run.prober.as_mut().and_then(answer) {
                self.carry_out(at, action, now_ms);
            }
        }
    }

    /// Has a worker send a whole frame. With too many waiting it is lost, as on a full wire.
    pub(crate) fn send_frame(&mut self, end: FrameEnd, frame: Vec<u8>) {
        if self.laggs.out.len() < FRAMES_MAX {
            self.laggs.out.push_back((end, frame));
        }
    }

    /// The next frame that a worker is to send.
    pub(crate) fn next_frame(&mut self) -> Option<(FrameEnd, Vec<u8>)> {
        self.laggs.out.pop_front()
    }

    /// Whether an interface that is no port can carry frames.
    pub(crate) fn carries(&self, interface: &Interface) -> bool {
        self.carries_in(&self.fleet.current().interfaces, interface)
    }

    /// The same for an interface of a configuration whose laggs are followed already.
    pub(crate) fn carries_in(&self, interfaces: &InterfaceTable, interface: &Interface) -> bool {
        let base = interfaces.links().base(interface.id);
        if let Some(run) = self.laggs.lacp.iter().find(|run| run.interface == base) {
            return run.may().distributing != 0;
        }
        match self.laggs.runs.iter().find(|run| run.interface == base) {
            Some(run) => run.machine.choice().send != 0,
            None => {
                let base = interfaces.get(base);
                let port = base.and_then(Interface::port).map(usize::from);
                port.is_none_or(|n| self.links.get(n).is_some_and(|l| l.is_up()))
            }
        }
    }
}

/// What a person sees.
impl Control {
    pub(crate) fn made_of(&self, interface: &Interface) -> MadeOf {
        let name = |id: &InterfaceId| {
            let found = self.fleet.current().interfaces.get(*id);
            found.map(|i| i.name.to_string()).unwrap_or_default()
        };
        match &interface.kind {
            Kind::Ethernet { .. } => MadeOf::Card,
            Kind::Loopback => MadeOf::Loopback,
            Kind::Gif(gif) => MadeOf::Gif {
                local: gif.tunnel.local,
                remote: gif.tunnel.remote,
            },
            Kind::Vlan(vlan) => MadeOf::Vlan {
                parent: name(&vlan.parent),
                vid: vlan.vid,
                service: vlan.tpid == Tpid::Service,
                prio: vlan.prio,
            },
            Kind::Lagg(lagg) => {
                let (send, receive) = (lagg.masks.0.send(), lagg.masks.0.receive());
                let mut runs = self.laggs.runs.iter();
                let run = runs.find(|run| run.interface == interface.id);
                let is_ready = |n: usize| match run {
                    Some(run) => run.machine.ports().get(n) == Some(&State::Up),
                    None => send >> n & 1 == 1,
                };
                let port = |(n, id): (usize, &InterfaceId)| LaggPortView {
                    name: name(id),
                    ready: is_ready(n),
                    sends: send >> n & 1 == 1,
                    heard: receive >> n & 1 == 1,
                };
                MadeOf::Lagg {
                    protocol: lagg.rules.protocol.name().into(),
                    ports: lagg.members.iter().enumerate().map(port).collect(),
                    hash: hash_words(lagg),
                    lacp: self.lacp_view(interface.id),
                }
            }
            Kind::Bridge(bridge) => MadeOf::Bridge(self.bridge_view(interface, bridge)),
        }
    }
}

/// What is hashed, if anything is.
fn hash_words(lagg: &Lagg) -> Option<String> {
    let hashed = matches!(
        lagg.rules.protocol,
        LaggProtocol::LoadBalance | LaggProtocol::Lacp
    );
    let fields = [
        (lagg.hash.l2, "l2"),
        (lagg.hash.l3, "l3"),
        (lagg.hash.l4, "l4"),
    ];
    let words = fields.iter().filter_map(|(on, word)| on.then_some(*word));
    hashed.then(|| words.collect::<Vec<_>>().join(","))
}

/// The address that questions by a port come from. Nobody else has it.
fn probe_addr(port: u16) -> Ipv6Addr {
    let [a, b, c, d, e, f] = PROBE_PREFIX;
    Ipv6Addr::new(a, b, c, d, e, f, 0, port)
}

/// Who answers a question of [`Control::ask_by_port`].
fn who_answers(frame: &[u8]) -> Option<IpAddr> {
    let at = net::lagg::probe_answer(frame)?;
    let body = frame.get(at..)?;
    match frame.get(at - 2..at)? {
        [0x08, 0x06] => {
            let bytes: [u8; 4] = body.get(14..18)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes).into())
        }
        _ => {
            let bytes: [u8; 16] = body.get(48..64)?.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
    }
}
