//! The link aggregation control protocol: which ports of a lagg may take frames and which may send them.
//!
//! Pure: links, PDUs and time come in, PDUs and two sets of ports come out. Knows no cards and no frames around the PDUs.
//! Read first: IEEE 802.1AX-2014 clause 6.4. One aggregator per lagg; the machines of a port are in `port`.
//!
//! Two things are decided here that the standard leaves open. *Selection*: ports that hear partners of different systems or
//! keys cannot work together; the aggregation stays with the partner it has as long as one of its ports is heard, else it
//! goes to the partner with the most ports. So a pull of one link never takes the others out, and the last link that comes
//! back is enough. *A port without a partner* sends and takes nothing: a switch that does not speak LACP would see one
//! station on several ports.

mod port;

use wire::ether::Addr;
use wire::slow::{Info, Lacpdu, PortState};

pub use port::{Mux, Port, Receive};

/// Most ports of an aggregation; as with switches.
pub const PORTS_MAX: usize = 8;
/// Steps after which the machines of a port have come to rest: a mux has five states.
const STEPS_MAX: usize = 5;
/// Default priority of systems and ports (802.1AX 6.3.2, 6.4.2).
pub const PRIORITY_DEFAULT: u16 = 0x8000;

/// Who begins to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// We do.
    #[default]
    Active,
    /// Only if the partner does.
    Passive,
}

/// How often we want to hear our partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rate {
    /// Every 30 seconds; silence is noticed after 90.
    #[default]
    Slow,
    /// Every second; silence is noticed after 3.
    Fast,
}

/// What an aggregation is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Priority of this system, lower is better.
    pub system_priority: u16,
    /// Address of this system: that of the lagg.
    pub system: Addr,
    /// Tells this lagg from others of the system; not 0.
    pub key: u16,
    /// Who begins.
    pub mode: Mode,
    /// How often to hear.
    pub rate: Rate,
    /// With fewer ports than this that could send, none does.
    pub min_links: u8,
}

/// Ports by number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ports {
    /// Whose frames are taken.
    pub collecting: u8,
    /// That frames may be sent by.
    pub distributing: u8,
}

/// One aggregation.
#[derive(Debug, Clone)]
pub struct Lacp {
    settings: Settings,
    ports: heapless::Vec<Port, PORTS_MAX>,
    /// The partner that the aggregation is with.
    with: Option<Partner>,
}

/// What the ports of one aggregation have in common on the other side (6.4.6).
type Partner = (u16, Addr, u16);

impl Lacp {
    /// An aggregation of `ports` ports, all without a link; at most [`PORTS_MAX`].
    pub fn new(settings: Settings, ports: usize) -> Lacp {
        let mut state = PortState::AGGREGATION;
        state.set(PortState::ACTIVITY, settings.mode == Mode::Active);
        state.set(PortState::SHORT_TIMEOUT, settings.rate == Rate::Fast);
        let port = |n: usize| {
            let actor = Info {
                system_priority: settings.system_priority,
                system: settings.system,
                key: settings.key,
                port_priority: PRIORITY_DEFAULT,
                port: n as u16 + 1,
                state,
            };
            Port::new(actor, settings.rate)
        };
        Lacp {
            settings,
            ports: (0..ports.min(PORTS_MAX)).map(port).collect(),
            with: None,
        }
    }

    /// The carrier of a port came or went. [`Lacp::tick`] comes next.
    pub fn on_link(&mut self, port: usize, up: bool, now_ms: u64) {
        if let Some(port) = self.ports.get_mut(port) {
            port.on_link(up, now_ms);
        }
    }

    /// A PDU came in. [`Lacp::tick`] comes next.
    pub fn on_pdu(&mut self, port: usize, pdu: &Lacpdu, now_ms: u64) {
        if let Some(port) = self.ports.get_mut(port) {
            port.on_pdu(pdu, now_ms);
        }
    }

    /// Lets time pass, at least every 100 ms and after each event; gives what is to be sent by which port.
    pub fn tick(&mut self, now_ms: u64, mut send: impl FnMut(usize, Lacpdu)) {
        for port in &mut self.ports {
            port.expire(now_ms);
        }
        self.select();
        for (n, port) in self.ports.iter_mut().enumerate() {
            for _ in 0..STEPS_MAX {
                if !port.step_mux(now_ms) {
                    break;
                }
            }
            if let Some(pdu) = port.transmit(now_ms) {
                send(n, pdu);
            }
        }
    }

    /// What the ports may do now.
    pub fn ports(&self) -> Ports {
        let set = |wanted: &[Mux]| {
            let has = |(n, port): (usize, &Port)| u8::from(wanted.contains(&port.mux)) << n;
            self.ports.iter().enumerate().map(has).fold(0, |a, b| a | b)
        };
        let distributing = set(&[Mux::Distributing]);
        let enough = distributing.count_ones() >= u32::from(self.settings.min_links);
        Ports {
            collecting: set(&[Mux::Collecting, Mux::Distributing]),
            distributing: if enough { distributing } else { 0 },
        }
    }

    /// Actor and partner of a port as the next PDU will tell them, and where its machines stand.
    pub fn port(&self, port: usize) -> Option<(Info, Info, Receive, Mux)> {
        let port = self.ports.get(port)?;
        Some((port.actor, port.partner, port.receive, port.mux))
    }

    /// Chooses the partner and the ports that belong to it (6.4.14).
    fn select(&mut self) {
        let heard = |with: &Partner| {
            let mut ports = self.ports.iter();
            ports.any(|p| p.receive == Receive::Current && self.partner_of(p) == Some(*with))
        };
        if !self.with.as_ref().is_some_and(heard) {
            self.with = self.largest().or(self.with);
        }
        let with = self.with;
        let chosen: heapless::Vec<bool, PORTS_MAX> = self
            .ports
            .iter()
            .map(|p| with.is_some() && self.partner_of(p) == with)
            .collect();
        for (port, chosen) in self.ports.iter_mut().zip(chosen) {
            port.selected = chosen;
        }
    }

    /// The partner that most ports hear; of several the one on the first port.
    fn largest(&self) -> Option<Partner> {
        let heard = |p: &&Port| p.receive == Receive::Current;
        let partners = || {
            self.ports
                .iter()
                .filter(heard)
                .filter_map(|p| self.partner_of(p))
        };
        let mut best: Option<(usize, Partner)> = None;
        for partner in partners() {
            let count = partners().filter(|other| *other == partner).count();
            if best.is_none_or(|(most, _)| count > most) {
                best = Some((count, partner));
            }
        }
        best.map(|(_, partner)| partner)
    }

    /// Who is at the other end, if it can be aggregated: somebody, willing, and not ourselves.
    fn partner_of(&self, port: &Port) -> Option<Partner> {
        let partner = port.partner;
        let known = matches!(port.receive, Receive::Current | Receive::Expired);
        let willing = partner.state.contains(PortState::AGGREGATION);
        let other = partner.system != self.settings.system;
        (known && willing && other && partner.system != Addr::ZERO).then_some((
            partner.system_priority,
            partner.system,
            partner.key,
        ))
    }
}

#[cfg(test)]
mod tests;
