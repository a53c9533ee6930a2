//! Samples for `/metrics` beyond those that follow from what the API shows anyway: what each worker's books say, and
//! the control core itself. What is called `_total` counts, everything else is a gauge.

use net::failover::State;
use sync::Counter;
use worker::Counters;

use crate::api::Sample;
use crate::control::Control;

/// A counter of a worker: metric name, explanation, where it is.
type Book = (&'static str, &'static str, fn(&Counters) -> &Counter);

/// In every turn: received + generated + from_host + handed_in = the sum of the others, waiting included.
const BOOKS: [Book; 14] = [
    (
        "fugu_worker_received_packets_total",
        "Frames taken from the cards.",
        |c| &c.received,
    ),
    (
        "fugu_worker_generated_packets_total",
        "Packets the worker made: ICMP errors, resets, ARP.",
        |c| &c.generated,
    ),
    (
        "fugu_worker_from_host_packets_total",
        "Packets of the local host.",
        |c| &c.from_host,
    ),
    (
        "fugu_worker_handed_in_packets_total",
        "Packets from other workers.",
        |c| &c.handed_in,
    ),
    (
        "fugu_worker_passed_packets_total",
        "Frames given to the cards, or queued for them.",
        |c| &c.passed,
    ),
    (
        "fugu_worker_to_host_packets_total",
        "Packets given to the local host.",
        |c| &c.to_host,
    ),
    (
        "fugu_worker_consumed_packets_total",
        "Packets used up: ARP, neighbor discovery.",
        |c| &c.consumed,
    ),
    (
        "fugu_worker_handed_out_packets_total",
        "Packets given to other workers.",
        |c| &c.handed_out,
    ),
    (
        "fugu_worker_dropped_packets_total",
        "Packets dropped.",
        |c| &c.dropped,
    ),
    (
        "fugu_worker_transmitted_packets_total",
        "Frames that the cards took.",
        |c| &c.transmitted,
    ),
    ("fugu_worker_turns_total", "Turns.", |c| &c.turns),
    (
        "fugu_worker_busy_turns_total",
        "Turns that found work.",
        |c| &c.busy_turns,
    ),
    (
        "fugu_worker_waiting_packets",
        "Packets waiting for a neighbor.",
        |c| &c.waiting,
    ),
    ("fugu_worker_states", "States in a worker's table.", |c| {
        &c.states
    }),
];

/// A metric with one value: its name, explanation, where it is.
type Single = (&'static str, &'static str, fn(&Control) -> u64);

const SINGLES: [Single; 8] = [
    (
        "fugu_pflog_records_total",
        "Packets logged by rules, once for each rule.",
        |control| control.fleet.sum(|c| &c.logged),
    ),
    (
        "fugu_pflog_lost_total",
        "Log records lost because they came faster than they were taken.",
        |control| control.fleet.sum(|c| &c.log_lost),
    ),
    (
        "fugu_pf_flushes_lost_total",
        "Flushes of overloads that came faster than states are killed; the source's next connection asks again.",
        |control| control.fleet.sum(|c| &c.kills_lost),
    ),
    (
        "fugu_pf_table_uncounted_total",
        "Packets that counted on a table with counters, but not on their address, for want of room.",
        |control| {
            let workers = control.fleet.workers().iter();
            let missed = workers.map(|w| w.counters.filter.tables.prefixes.missed());
            missed.sum()
        },
    ),
    (
        "fugu_pf_anchors_edited",
        "Anchors whose rules were edited at run time.",
        |control| control.anchors.len() as u64,
    ),
    (
        "fugu_uploads_accepted_total",
        "Bundles that were accepted.",
        |control| control.uploads_accepted,
    ),
    (
        "fugu_address_conflicts_total",
        "Addresses of ours that another station was heard to use.",
        |control| control.learning.conflicts,
    ),
    (
        "fugu_config_unburied",
        "Earlier configurations that a worker still holds.",
        |control| control.fleet.unburied() as u64,
    ),
];

/// All of them.
pub(crate) fn samples(control: &Control) -> Vec<Sample> {
    let mut out = of_workers(control);
    out.extend(of_filter(control));
    out.extend(of_laggs(control));
    out.extend(SINGLES.map(|(name, help, of)| sample(name, help, Vec::new(), of(control))));
    out
}

fn of_workers(control: &Control) -> Vec<Sample> {
    let mut out = Vec::new();
    let standing = control.fleet.stalled(control.clock.now_ms());
    for (n, worker) in control.fleet.workers().iter().enumerate() {
        for (name, help, of) in BOOKS {
            let labels = vec![("worker", n.to_string())];
            out.push(sample(name, help, labels, of(&worker.counters).get()));
        }
        let stalled = standing.contains(&(n as u16));
        let help = "1 if a worker has not turned for seconds.";
        let labels = vec![("worker", n.to_string())];
        out.push(sample("fugu_worker_stalled", help, labels, stalled.into()));
    }
    out
}

/// What was dropped, and what rules could not do.
fn of_filter(control: &Control) -> Vec<Sample> {
    let mut out = Vec::new();
    for (reason, counted) in filter::Reason::ALL.iter().enumerate() {
        let value = control.fleet.sum(|c| &c.filter.reasons[reason]);
        let labels = vec![("reason", counted.name().to_string())];
        let help = "Packets dropped, by reason.";
        out.push(sample("fugu_pf_drops_total", help, labels, value));
    }
    for (kind, reason) in filter::LostEdit::NAMES.iter().enumerate() {
        let value = control.fleet.sum(|c| &c.filter.lost_edits[kind]);
        let labels = vec![("reason", (*reason).to_string())];
        let help = "Addresses that rules could not put into a table.";
        let name = "fugu_pf_table_insertions_lost_total";
        out.push(sample(name, help, labels, value));
    }
    out
}

/// What a person watches of laggs: a standby that is dead, before it is needed.
fn of_laggs(control: &Control) -> Vec<Sample> {
    let mut out = Vec::new();
    for run in &control.laggs.runs {
        let lagg = || ("lagg", run.name.clone());
        for (port, state, sends) in run.ports() {
            let name = control.port_name(port).to_string();
            let labels = vec![lagg(), ("port", name)];
            let help = "1 if the port of a lagg can be used.";
            let ready = u64::from(state == State::Up);
            out.push(sample("fugu_lagg_port_ready", help, labels.clone(), ready));
            let help = "1 if frames leave by the port of a lagg.";
            out.push(sample("fugu_lagg_port_sends", help, labels, sends.into()));
        }
        let help = "How often frames began to leave by another port.";
        let name = "fugu_lagg_switches_total";
        out.push(sample(name, help, vec![lagg()], run.switches));
    }
    out
}

fn sample(
    name: &'static str,
    help: &'static str,
    labels: Vec<(&'static str, String)>,
    value: u64,
) -> Sample {
    let kind = match name.ends_with("_total") {
        true => "counter",
        false => "gauge",
    };
    Sample {
        name,
        kind,
        help,
        labels,
        value: value as f64,
    }
}
