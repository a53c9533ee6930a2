//! The control thread's loop: management packets, console, links, watchdog; and sleep until one of them needs it.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use boot::watchdog::Watchdog;
use control::machine::Ports;
use control::{Control, Event, Wish};
use worker::Counters;

use crate::clock::{SystemClock, since_power_on};
use crate::host::Host;
use crate::lines::Lines;
use crate::nics::Nics;
use crate::work::Orders;

/// Between two looks at the links of ports that stand by for each other: a switchover is to take less than 10 ms.
const LINK_TICK: Duration = Duration::from_millis(2);
/// Between two looks at links and old configurations.
const TICK: Duration = Duration::from_millis(100);
/// Between two proofs to the watchdog that packets are being looked after.
const KICK: Duration = Duration::from_secs(2);

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Somebody asked for it with a signal.
    Signal,
    /// `reboot`.
    Reboot,
    /// `halt`.
    Halt,
}

/// Everything the control thread owns.
pub(crate) struct Core {
    /// Decides.
    pub(crate) control: Control,
    /// The local host and HTTP.
    pub(crate) host: Host,
    /// Consoles.
    pub(crate) lines: Lines,
    /// For links.
    pub(crate) nics: Nics,
    /// Time.
    pub(crate) clock: SystemClock,
    /// To the workers.
    pub(crate) orders: Arc<Orders>,
    /// Their threads, and the deputy's.
    pub(crate) workers: Vec<JoinHandle<()>>,
    /// Their counters, for the watchdog.
    pub(crate) counters: Vec<Arc<Counters>>,
    /// Lines to print.
    pub(crate) log: Receiver<String>,
    /// Signals that end the program.
    pub(crate) signals: Receiver<()>,
    /// Kicked while workers turn.
    pub(crate) watchdog: Option<Watchdog>,
    /// Loop state.
    pub(crate) progress: Progress,
}

/// What the loop remembers.
#[derive(Default)]
pub(crate) struct Progress {
    next_tick: Duration,
    next_link: Duration,
    next_kick: Duration,
    turns: Vec<u64>,
    /// Generation whose idle settings the workers have.
    generation: Option<u32>,
    said: Option<Said>,
}

/// What was said last about the state of the box.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Waiting,
    Forwarding,
}

impl Core {
    /// Works until somebody ends it.
    pub(crate) fn run(mut self) -> End {
        let end = loop {
            let moved = self.turn();
            if let Some(end) = self.end() {
                break end;
            }
            if !moved {
                self.sleep();
            }
        };
        self.close();
        end
    }

    fn turn(&mut self) -> bool {
        let now = self.clock.now();
        let mut moved = self.host.poll(now, &mut self.control);
        moved |= self.lines.poll(now, &mut self.control);
        if now >= self.progress.next_tick {
            self.progress.next_tick = now + TICK;
            self.tick();
        }
        moved |= self.tend_laggs(now);
        self.give_orders();
        self.announce();
        self.print_log();
        self.kick(now);
        moved
    }

    fn tick(&mut self) {
        self.control.on_event(Event::Tick);
        for port in 0..self.nics.list().len() as u16 {
            let state = self.nics.link(port);
            self.control.on_event(Event::Link { port, state });
        }
    }

    /// Looks at the links of laggs, and lets them ask their neighbors. True if frames went out.
    fn tend_laggs(&mut self, now: Duration) -> bool {
        if now < self.progress.next_link {
            return false;
        }
        let ports = self.control.urgent_ports();
        self.progress.next_link = now + if ports.is_empty() { TICK } else { LINK_TICK };
        for port in ports {
            let state = self.nics.link(port);
            if state != self.control.link(port) {
                self.control.on_event(Event::Link { port, state });
            }
        }
        self.control.tend_laggs();
        self.host.give_out(&mut self.control)
    }

    fn give_orders(&mut self) {
        let generation = Some(self.control.generation());
        if self.progress.generation != generation {
            self.progress.generation = generation;
            let (after_ms, backoff_us) = self.control.idle();
            self.orders.set_idle(after_ms, backoff_us);
        }
    }

    /// Says once that packets flow, or what is missing.
    fn announce(&mut self) {
        let said = if self.control.is_forwarding() {
            Said::Forwarding
        } else {
            Said::Waiting
        };
        if self.progress.said == Some(said) || !self.control.is_adopted() {
            return;
        }
        let first = self.progress.said.is_none();
        self.progress.said = Some(said);
        let text = match said {
            Said::Forwarding => format!(
                "forwarding: {} ports, generation {}, {:.3} s after power-on",
                self.nics.list().len(),
                self.control.generation(),
                since_power_on(&self.clock).as_secs_f64()
            ),
            Said::Waiting => waiting(&self.control),
        };
        self.say(&text);
        if first {
            self.lines.begin_consoles(&mut self.control);
        }
    }

    fn print_log(&mut self) {
        while let Ok(line) = self.log.try_recv() {
            self.say(&line);
        }
    }

    /// To the consoles, or to standard error where there is none.
    fn say(&mut self, line: &str) {
        if self.lines.has_writer() {
            self.lines.print(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// Only a box whose workers turn is worth keeping alive.
    fn kick(&mut self, now: Duration) {
        let Some(watchdog) = &mut self.watchdog else {
            return;
        };
        if now < self.progress.next_kick {
            return;
        }
        self.progress.next_kick = now + KICK.min(watchdog.interval());
        let turns: Vec<u64> = self.counters.iter().map(|c| c.turns.get()).collect();
        let before = std::mem::replace(&mut self.progress.turns, turns);
        let all_turn = self
            .progress
            .turns
            .iter()
            .zip(&before)
            .all(|(now, before)| now != before);
        if all_turn || before.is_empty() {
            watchdog.kick();
        }
    }

    fn end(&mut self) -> Option<End> {
        if self.signals.try_recv().is_ok() {
            return Some(End::Signal);
        }
        self.control.take_wish().map(|wish| match wish {
            Wish::Reboot => End::Reboot,
            Wish::Halt => End::Halt,
        })
    }

    /// Until the next thing is due, or somebody wakes us: a worker with a packet for the box, a key on a console, a signal.
    fn sleep(&mut self) {
        let now = self.clock.now();
        let due = [
            self.host.poll_at(now),
            self.lines.poll_at(now),
            Some(self.progress.next_tick),
            Some(self.progress.next_link),
        ];
        let until = due.into_iter().flatten().min().unwrap_or(now);
        if until > now {
            std::thread::park_timeout(until - now);
        }
    }

    /// Ends workers before ports: a port stops when its last queue is gone.
    fn close(mut self) {
        self.print_log();
        let now = self.clock.now();
        self.host.poll(now, &mut self.control);
        self.lines.poll(now, &mut self.control);
        self.orders.stop.set(1);
        for worker in self.workers {
            // A worker that panicked has ended the program itself.
            worker.join().ok();
        }
        self.lines.close();
    }
}

fn waiting(control: &Control) -> String {
    let port = match control.api_port() {
        80 => String::new(),
        port => format!(":{port}"),
    };
    let url = |addr: &std::net::IpAddr| match addr {
        std::net::IpAddr::V4(a) => format!("http://{a}{port}/"),
        std::net::IpAddr::V6(a) => format!("http://[{a}]{port}/"),
    };
    let urls: Vec<String> = control.management().iter().map(|m| url(&m.addr)).collect();
    if urls.is_empty() {
        "waiting for configuration: no management address yet, forwarding nothing".into()
    } else {
        format!(
            "waiting for configuration: management {}, forwarding nothing",
            urls.join(" ")
        )
    }
}
