//! Laggs that speak LACP: `net::lacp` gets the box's links, PDUs and clock, workers get the masks that come of it. Frames come
//! up from the port that they arrived by, and go out by the port that they are for, whether it is in use or not.

use std::sync::Arc;

use net::lacp::{Lacp, Ports, Settings};
use net::{Interface, InterfaceId, InterfaceTable, Kind, Lagg, LaggProtocol};
use sync::Masks;
use wire::ether::{self, EtherType};
use wire::slow::{self, Info, Lacpdu, Slow};
use worker::FrameEnd;

use crate::api::{LacpSystemView, LacpView};
use crate::control::Control;
use crate::deputy::Ward;

/// Between two looks at the machines; their shortest time is a second.
const TICK_MS: u64 = 100;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// A lagg that speaks LACP.
pub(crate) struct LacpRun {
    name: String,
    pub(crate) interface: InterfaceId,
    mac: ether::Addr,
    /// Port numbers by place, and whether the port is configured up.
    pub(crate) ports: Vec<(u16, bool)>,
    lagg: Lagg,
    machine: Lacp,
    masks: Arc<Masks>,
    said: Ports,
    pub(crate) due_ms: u64,
}

impl LacpRun {
    /// What its ports may do.
    pub(crate) fn may(&self) -> Ports {
        self.machine.ports()
    }

    pub(crate) fn publish(&self) {
        let may = self.may();
        self.masks
            .set(may.distributing.into(), may.collecting.into());
    }

    /// What the deputy has to know.
    pub(crate) fn ward(&self) -> Ward {
        Ward {
            ports: self.ports.iter().map(|(port, _)| *port).collect(),
            usable: self.may().distributing.into(),
            protocol: LaggProtocol::Lacp,
            receive_all: true,
            min_links: self.lagg.rules.min_links,
            masks: self.masks.clone(),
        }
    }

    fn view(&self) -> LacpView {
        let system = |info: &Info| LacpSystemView {
            priority: info.system_priority,
            lladdr: info.system.to_string(),
            key: info.key,
        };
        // The port that sends says most; without one any that has heard somebody.
        let may = self.may();
        let ports = (0..self.ports.len()).filter_map(|n| Some((n, self.machine.port(n)?)));
        let best = ports.max_by_key(|(n, (_, partner, ..))| {
            let sends = may.distributing >> n & 1 == 1;
            (sends, partner.system != ether::Addr::ZERO, usize::MAX - n)
        });
        best.map_or_else(LacpView::default, |(_, (actor, partner, ..))| LacpView {
            actor: system(&actor),
            partner: system(&partner),
        })
    }

    fn place(&self, port: u16) -> Option<usize> {
        self.ports.iter().position(|(n, _)| *n == port)
    }
}

impl Control {
    /// Follows the interfaces of a configuration that is about to be published. Conversations of laggs that have not changed
    /// go on.
    pub(crate) fn follow_lacp(&mut self, interfaces: &InterfaceTable) {
        let mut before = std::mem::take(&mut self.laggs.lacp);
        for interface in interfaces {
            if let Kind::Lagg(lagg) = &interface.kind
                && lagg.rules.protocol == LaggProtocol::Lacp
            {
                let same = before.iter().position(|run| interface.name == *run.name);
                let old = same.map(|at| before.swap_remove(at));
                let run = self.lacp_of(interfaces, interface, lagg, old);
                run.publish();
                self.laggs.lacp.push(run);
            }
        }
    }

    fn lacp_of(
        &self,
        interfaces: &InterfaceTable,
        interface: &Interface,
        lagg: &Lagg,
        old: Option<LacpRun>,
    ) -> LacpRun {
        let members = lagg.members.iter().filter_map(|id| interfaces.get(*id));
        let ports: Vec<(u16, bool)> = members.filter_map(|m| Some((m.port()?, m.up))).collect();
        let masks = lagg.masks.0.clone();
        let goes_on = |old: &LacpRun| {
            (&old.ports, old.mac, old.lagg.rules, old.lagg.lacp)
                == (&ports, interface.mac, lagg.rules, lagg.lacp)
        };
        if let Some(old) = old.filter(goes_on) {
            return LacpRun {
                interface: interface.id,
                lagg: lagg.clone(),
                masks,
                ..old
            };
        }
        let settings = Settings {
            system_priority: lagg.lacp.system_priority,
            system: interface.mac,
            key: interface.id.0 + 1,
            mode: lagg.lacp.mode,
            rate: lagg.lacp.rate,
            min_links: lagg.rules.min_links.try_into().unwrap_or(u8::MAX),
        };
        let now_ms = self.clock.now_ms();
        let mut machine = Lacp::new(settings, ports.len());
        for (place, (port, up)) in ports.iter().enumerate() {
            if *up && self.ports.link(*port).is_up() {
                machine.on_link(place, true, now_ms);
            }
        }
        LacpRun {
            name: interface.name.to_string(),
            interface: interface.id,
            mac: interface.mac,
            said: Ports::default(),
            due_ms: now_ms,
            lagg: lagg.clone(),
            ports,
            machine,
            masks,
        }
    }

    /// Both sides of a lagg, if it speaks LACP.
    pub(crate) fn lacp_view(&self, id: InterfaceId) -> Option<LacpView> {
        let run = self.laggs.lacp.iter().find(|run| run.interface == id);
        run.map(LacpRun::view)
    }

    /// A port's link came or went.
    pub(crate) fn lacp_link(&mut self, port: u16, up: bool) {
        let now_ms = self.clock.now_ms();
        for at in 0..self.laggs.lacp.len() {
            let run = &mut self.laggs.lacp[at];
            if let Some(place) = run.place(port) {
                let up = up && run.ports[place].1;
                run.machine.on_link(place, up, now_ms);
                self.turn_lacp(at, now_ms);
            }
        }
    }

    /// A whole frame came by a port: a PDU, or a marker that is answered (802.1AX 6.5).
    pub(crate) fn hear_slow(&mut self, port: u16, frame: &[u8]) {
        let is_slow = frame.get(12..ETHERNET) == Some(&EtherType::SLOW.0.to_be_bytes());
        let found = self
            .laggs
            .lacp
            .iter()
            .enumerate()
            .find_map(|(at, run)| Some((at, run.place(port)?)));
        let (true, Some((at, place))) = (is_slow, found) else {
            return;
        };
        let now_ms = self.clock.now_ms();
        match Slow::parse(&frame[ETHERNET..]) {
            Ok(Slow::Lacp(pdu)) => {
                self.laggs.lacp[at].machine.on_pdu(place, &pdu, now_ms);
                self.turn_lacp(at, now_ms);
            }
            Ok(Slow::Marker) => {
                let mut pdu = [0; slow::PDU_LEN];
                pdu.copy_from_slice(&frame[ETHERNET..][..slow::PDU_LEN]);
                slow::answer_marker(&mut pdu);
                self.send_slow(port, &pdu);
            }
            Ok(Slow::MarkerAnswer) => {}
            Err(malformed) => log::debug!("port {port}: {}", malformed.text()),
        }
    }

    /// Time has passed.
    pub(crate) fn tend_lacp(&mut self, now_ms: u64) {
        for at in 0..self.laggs.lacp.len() {
            if self.laggs.lacp[at].due_ms <= now_ms {
                self.turn_lacp(at, now_ms);
            }
        }
    }

    /// Lets the machines of a lagg run: workers hear of what its ports may do, partners of what we are.
    fn turn_lacp(&mut self, at: usize, now_ms: u64) {
        let run = &mut self.laggs.lacp[at];
        run.due_ms = now_ms + TICK_MS;
        let mut out: Vec<(u16, Lacpdu)> = Vec::new();
        let ports = &run.ports;
        run.machine
            .tick(now_ms, |place, pdu| out.push((ports[place].0, pdu)));
        let (may, said) = (run.may(), run.said);
        run.publish();
        run.said = may;
        if may != said {
            self.laggs.brief_deputy();
        }
        for (port, pdu) in out {
            self.send_slow(port, &pdu.bytes());
        }
        self.carriers.stale |= said != may;
        self.say_lacp(at, said, may);
    }

    fn say_lacp(&self, at: usize, before: Ports, now: Ports) {
        let run = &self.laggs.lacp[at];
        for (place, (port, _)) in run.ports.iter().enumerate() {
            let name = self.port_name(*port);
            let sends = |ports: Ports| ports.distributing >> place & 1 == 1;
            match (sends(before), sends(now)) {
                (false, true) => log::info!("{}: {name} carries frames", run.name),
                (true, false) => log::warn!("{}: {name} carries no frames any more", run.name),
                _ => {}
            }
        }
        if before.distributing != 0 && now.distributing == 0 {
            log::error!("{}: no port can be used", run.name);
        }
    }

    /// A PDU leaves by a port, from the port's own address.
    fn send_slow(&mut self, port: u16, pdu: &[u8; slow::PDU_LEN]) {
        let Some(facts) = self.facts.get(usize::from(port)) else {
            return;
        };
        let header = ether::Repr {
            dst: slow::GROUP,
            src: ether::Addr(facts.mac),
            ethertype: EtherType::SLOW,
        };
        let mut frame = vec![0; ETHERNET + pdu.len()];
        header.emit(&mut ether::Frame::new_unchecked(&mut frame[..]));
        frame[ETHERNET..].copy_from_slice(pdu);
        self.send_frame(FrameEnd::Port(port), frame);
    }
}
