//! A worker made for one packet: what it tells.

use std::sync::Arc;

use filter::Reason;
use nic::PacketBuf;
use ruleset::TagId;
use simnic::{SimNic, SimPool, SimPort, SimPortConfig};
use worker::{Carried, Lane, Mail, StepRecord, Watched, Worker, WorkerPort, WorkerSetup};

use crate::Box;

/// Turns after which nothing more is expected.
const TURNS: usize = 8;
/// Buffers: the packet, its answer, errors about them, questions for neighbors.
const BUFFERS: usize = 64;
/// Pieces of datagrams.
const FRAGMENTS: usize = 16;
/// Places for states beside twice as many as are given: a table that is nearly full may refuse one.
const STATES_MORE: usize = 1024;
/// Bytes of a buffer: the longest packet there is.
const BUFFER: usize = 1 << 16;

/// How a packet gets there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// As a frame on a port.
    Wire {
        /// The port.
        port: u16,
        /// The frame.
        frame: Vec<u8>,
    },
    /// From the box itself.
    Own {
        /// Begins with the IP header.
        packet: Vec<u8>,
    },
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Steps of the packet.
    pub steps: Vec<StepRecord>,
    /// Why packets were dropped, if any were: the only thing to know of one that was not even described.
    pub drops: Vec<Reason>,
}

/// Sends a packet through a worker that is configured as `on` is, and has copies of its states and counts. `tag` is what
/// it carries.
pub fn observe(on: &Box<'_>, arrival: &Arrival, tag: TagId) -> Result<Observed, String> {
    let (config, states, now_ms) = (on.config.clone(), on.states, on.now_ms);
    let ports = config
        .interfaces
        .iter()
        .filter_map(net::Interface::port)
        .max();
    let ports = ports.map_or(0, |port| port + 1);
    let slots = config.ruleset.rules.iter().map(|rule| rule.slot.0).max();
    let slots = slots.unwrap_or(0) as usize + 1;
    let pool = SimPool::with_buffer_len(BUFFERS, BUFFER);
    let ports: Vec<SimPort> = (0..ports).map(|n| port(n, &pool)).collect();
    let (mut ends, mut control) = worker::connect::<SimNic>(1, slots);
    let (Some(ends), Some(mut control)) = (ends.pop(), control.pop()) else {
        return Err("no worker could be made".into());
    };
    let queues = ports.iter().map(|port| {
        let queues = port.queues();
        let (rx, tx) = queues.map_or((None, None), |q| {
            (q.rx.into_iter().next(), q.tx.into_iter().next())
        });
        WorkerPort { rx, tx }
    });
    let mut worker = Worker::<SimNic>::new(WorkerSetup {
        id: 0,
        workers: 1,
        ends,
        ports: queues.collect(),
        pool: pool.clone(),
        states_capacity: states.len() * 2 + STATES_MORE,
        shared: Arc::new(on.shared.copied()),
        fragments_capacity: FRAGMENTS,
        hash_seed: 1,
        dice_seed: 1,
        secret: [1, 2],
        express: true,
        now_ms,
    });
    control.config.publish(config);
    worker.turn(now_ms);
    for st in states {
        worker.take_over(*st);
    }
    let watched = Watched {
        left: 1,
        tag,
        ..Watched::default()
    };
    let asked = control.mail.push(Mail::Watch(watched)).is_ok();
    let arrived = asked && arrive(arrival, &ports, &pool, &mut control);
    if !arrived {
        return Err("the packet is too long for any card".into());
    }
    for _ in 0..TURNS {
        worker.turn(now_ms);
    }
    let mut observed = Observed::default();
    while let Some(step) = control.steps.pop() {
        observed.steps.push(step);
    }
    let reasons = &control.counters.filter.reasons;
    let counted = Reason::ALL.iter().zip(reasons);
    let counted = counted.filter(|(_, n)| n.get() > 0);
    observed.drops = counted.map(|(reason, _)| *reason).collect();
    Ok(observed)
}

fn port(n: u16, pool: &SimPool) -> SimPort {
    let config = SimPortConfig {
        mtu: u16::MAX - 64,
        ..SimPortConfig::new(n)
    };
    SimPort::new(config, pool)
}

fn arrive(
    arrival: &Arrival,
    ports: &[SimPort],
    pool: &SimPool,
    control: &mut worker::ControlEnds<simnic::SimBuf>,
) -> bool {
    match arrival {
        Arrival::Wire { port, frame } => ports
            .get(usize::from(*port))
            .is_some_and(|port| port.inject(frame)),
        Arrival::Own { packet } => {
            let buf = nic::BufferPool::allocate(&mut pool.clone());
            let Some(mut buf) = buf else { return false };
            if buf.append(packet.len()).is_err() {
                return false;
            }
            buf.bytes_mut().copy_from_slice(packet);
            let carried = Carried {
                buf,
                received_on: None,
                rtable: 0,
                more: false,
                frame: None,
                lane: Lane::Routed,
            };
            control.from_host.push(carried).is_ok()
        }
    }
}
