//! The machines of one port: receive, periodic, mux, transmit (802.1AX 6.4.12 to 6.4.16). Each is an enum of states and a
//! function; what the machines of one port must know of the others (selection) is told to them by the parent.

use wire::slow::{Info, Lacpdu, PortState};

use super::Rate;

/// Between two PDUs for a partner that wants them often.
const FAST_PERIODIC_MS: u64 = 1_000;
/// Between two PDUs for any other partner.
const SLOW_PERIODIC_MS: u64 = 30_000;
/// Lifetime of what a partner said, if we want to hear it often.
const SHORT_TIMEOUT_MS: u64 = 3_000;
/// Lifetime of what a partner said otherwise.
const LONG_TIMEOUT_MS: u64 = 90_000;
/// How long ports wait for others to be attached together.
const AGGREGATE_WAIT_MS: u64 = 2_000;
/// Most PDUs in one [`FAST_PERIODIC_MS`] (6.4.16).
const TX_PER_PERIOD: u8 = 3;

/// What is believed of the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receive {
    /// No carrier.
    PortDisabled,
    /// What the partner said is too old, or the link came up: it has [`SHORT_TIMEOUT_MS`] to speak.
    Expired,
    /// It did not speak.
    Defaulted,
    /// It speaks.
    Current,
}

/// What happens to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReceiveEvent {
    LinkUp,
    LinkDown,
    Heard,
    Silence,
}

impl Receive {
    fn next(self, event: ReceiveEvent) -> Receive {
        match (self, event) {
            (_, ReceiveEvent::LinkDown) => Receive::PortDisabled,
            (Receive::PortDisabled, ReceiveEvent::LinkUp) => Receive::Expired,
            (Receive::PortDisabled, _) => Receive::PortDisabled,
            (_, ReceiveEvent::Heard) => Receive::Current,
            (Receive::Current, ReceiveEvent::Silence) => Receive::Expired,
            (Receive::Expired, ReceiveEvent::Silence) => Receive::Defaulted,
            (same, ReceiveEvent::LinkUp | ReceiveEvent::Silence) => same,
        }
    }
}

/// What a port does with frames: the independent control of 6.4.15.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mux {
    /// In no aggregation.
    Detached,
    /// Chosen; waits for others that may come up too.
    Waiting,
    /// Attached; says so, and neither takes nor sends frames.
    Attached,
    /// Takes frames.
    Collecting,
    /// Takes and sends frames.
    Distributing,
}

/// What the mux goes by.
#[derive(Debug, Clone, Copy)]
struct MuxInput {
    selected: bool,
    waited: bool,
    partner: PortState,
}

impl Mux {
    fn next(self, input: MuxInput) -> Mux {
        let in_sync = input.partner.contains(PortState::SYNCHRONIZATION);
        let collects = input.partner.contains(PortState::COLLECTING);
        match self {
            _ if !input.selected => Mux::Detached,
            Mux::Detached => Mux::Waiting,
            Mux::Waiting if input.waited => Mux::Attached,
            Mux::Attached if in_sync => Mux::Collecting,
            Mux::Collecting | Mux::Distributing if !in_sync => Mux::Attached,
            Mux::Collecting if collects => Mux::Distributing,
            Mux::Distributing if !collects => Mux::Collecting,
            same => same,
        }
    }
}

/// A port of an aggregation and all it knows.
#[derive(Debug, Clone)]
pub struct Port {
    pub(super) actor: Info,
    pub(super) partner: Info,
    pub(super) receive: Receive,
    pub(super) mux: Mux,
    pub(super) selected: bool,
    rate: Rate,
    /// The partner must be told something.
    need_to_transmit: bool,
    /// When what the partner said is too old.
    current_until_ms: u64,
    waited_at_ms: u64,
    periodic_at_ms: u64,
    window_ms: u64,
    sent_in_window: u8,
}

impl Port {
    pub(super) fn new(actor: Info, rate: Rate) -> Port {
        Port {
            actor,
            partner: Info::default(),
            receive: Receive::PortDisabled,
            mux: Mux::Detached,
            selected: false,
            rate,
            need_to_transmit: false,
            current_until_ms: 0,
            waited_at_ms: 0,
            periodic_at_ms: 0,
            window_ms: 0,
            sent_in_window: 0,
        }
    }

    pub(super) fn on_link(&mut self, up: bool, now_ms: u64) {
        let event = match up {
            true => ReceiveEvent::LinkUp,
            false => ReceiveEvent::LinkDown,
        };
        self.received(event, now_ms);
    }

    /// A PDU came in by this port.
    pub(super) fn on_pdu(&mut self, pdu: &Lacpdu, now_ms: u64) {
        if self.receive == Receive::PortDisabled {
            return;
        }
        // Whether the partner knows us must be compared before our own state changes (6.4.12).
        let differs = !self.is_me(&pdu.partner)
            || (pdu.partner.state ^ self.actor.state).intersects(
                PortState::ACTIVITY
                    | PortState::SHORT_TIMEOUT
                    | PortState::SYNCHRONIZATION
                    | PortState::AGGREGATION,
            );
        self.need_to_transmit |= differs;
        self.record(pdu);
        self.received(ReceiveEvent::Heard, now_ms);
    }

    /// Is this what a partner must say of us in order to be in one aggregation with us?
    fn is_me(&self, info: &Info) -> bool {
        let state = |info: &Info| info.state & PortState::AGGREGATION;
        Info {
            state: PortState::empty(),
            ..*info
        } == Info {
            state: PortState::empty(),
            ..self.actor
        } && state(info) == state(&self.actor)
    }

    fn record(&mut self, pdu: &Lacpdu) {
        let active = PortState::ACTIVITY;
        let speaks = pdu.actor.state.contains(active)
            || (self.actor.state.contains(active) && pdu.partner.state.contains(active));
        let knows_us =
            self.is_me(&pdu.partner) || !pdu.actor.state.contains(PortState::AGGREGATION);
        let said = pdu.actor.state.contains(PortState::SYNCHRONIZATION);
        self.partner = pdu.actor;
        self.partner
            .state
            .set(PortState::SYNCHRONIZATION, said && knows_us && speaks);
    }

    fn received(&mut self, event: ReceiveEvent, now_ms: u64) {
        let before = self.receive;
        self.receive = before.next(event);
        let changed = self.receive != before;
        match self.receive {
            Receive::PortDisabled => self.partner.state.remove(PortState::SYNCHRONIZATION),
            Receive::Expired if changed => {
                self.partner.state.remove(PortState::SYNCHRONIZATION);
                self.partner.state.insert(PortState::SHORT_TIMEOUT);
                self.current_until_ms = now_ms + SHORT_TIMEOUT_MS;
                self.periodic_at_ms = now_ms;
            }
            Receive::Defaulted if changed => self.partner = Info::default(),
            Receive::Current => {
                self.current_until_ms = now_ms
                    + match self.rate {
                        Rate::Fast => SHORT_TIMEOUT_MS,
                        Rate::Slow => LONG_TIMEOUT_MS,
                    }
            }
            Receive::Expired | Receive::Defaulted => {}
        }
        let (expired, defaulted) = (Receive::Expired, Receive::Defaulted);
        self.say(PortState::EXPIRED, self.receive == expired);
        self.say(PortState::DEFAULTED, self.receive == defaulted);
    }

    /// Changes what we say of ourselves.
    fn say(&mut self, bit: PortState, value: bool) {
        self.actor.state.set(bit, value);
    }

    /// What the partner said has become too old.
    pub(super) fn expire(&mut self, now_ms: u64) {
        let waits = matches!(self.receive, Receive::Expired | Receive::Current);
        if waits && now_ms >= self.current_until_ms {
            self.received(ReceiveEvent::Silence, now_ms);
        }
    }

    /// Moves the mux one step; true if it moved.
    pub(super) fn step_mux(&mut self, now_ms: u64) -> bool {
        let before = self.mux;
        self.mux = before.next(MuxInput {
            selected: self.selected && self.receive != Receive::PortDisabled,
            waited: now_ms >= self.waited_at_ms,
            partner: self.partner.state,
        });
        if self.mux == before {
            return false;
        }
        if self.mux == Mux::Waiting {
            self.waited_at_ms = now_ms + AGGREGATE_WAIT_MS;
        }
        let at_least = |states: &[Mux]| states.contains(&self.mux);
        let synced = at_least(&[Mux::Attached, Mux::Collecting, Mux::Distributing]);
        let collecting = at_least(&[Mux::Collecting, Mux::Distributing]);
        let distributing = self.mux == Mux::Distributing;
        self.say(PortState::SYNCHRONIZATION, synced);
        self.say(PortState::COLLECTING, collecting);
        self.say(PortState::DISTRIBUTING, distributing);
        self.need_to_transmit = true;
        true
    }

    /// What is to be sent now, if anything.
    pub(super) fn transmit(&mut self, now_ms: u64) -> Option<Lacpdu> {
        if !self.speaks() {
            self.need_to_transmit = false;
            return None;
        }
        let period = self.period_ms();
        // The partner may have asked for a shorter period than the one that runs.
        self.periodic_at_ms = self.periodic_at_ms.min(now_ms + period);
        if now_ms >= self.periodic_at_ms {
            self.periodic_at_ms = now_ms + period;
            self.need_to_transmit = true;
        }
        if now_ms >= self.window_ms + FAST_PERIODIC_MS {
            (self.window_ms, self.sent_in_window) = (now_ms, 0);
        }
        if !self.need_to_transmit || self.sent_in_window >= TX_PER_PERIOD {
            return None;
        }
        self.need_to_transmit = false;
        self.sent_in_window += 1;
        Some(Lacpdu {
            actor: self.actor,
            partner: self.partner,
            collector_max_delay: 0,
        })
    }

    /// One of the two must begin; two passive ends stay silent.
    fn speaks(&self) -> bool {
        let either = self.actor.state | self.partner.state;
        self.receive != Receive::PortDisabled && either.contains(PortState::ACTIVITY)
    }

    fn period_ms(&self) -> u64 {
        match self.partner.state.contains(PortState::SHORT_TIMEOUT) {
            true => FAST_PERIODIC_MS,
            false => SLOW_PERIODIC_MS,
        }
    }
}
