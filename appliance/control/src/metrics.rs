//! Samples for `/metrics` beyond those that follow from what the API shows anyway: what each worker's books say, and
//! the control core itself.

use net::failover::State;
use sync::Counter;
use worker::Counters;

use crate::api::Sample;
use crate::control::Control;

/// A counter of a worker: metric name, explanation, where it is.
type Book = (&'static str, &'static str, fn(&Counters) -> &Counter);

/// In every turn: received + generated + from_host + handed_in = the sum of the others, waiting included.
const BOOKS: [Book; 12] = [
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
];

/// All of them.
pub(crate) fn samples(control: &Control) -> Vec<Sample> {
    let mut out = Vec::new();
    for (n, worker) in control.fleet.workers().iter().enumerate() {
        let labels = || vec![("worker", n.to_string())];
        for (name, help, of) in BOOKS {
            out.push(sample(
                name,
                "counter",
                help,
                labels(),
                of(&worker.counters).get(),
            ));
        }
        let waiting = worker.counters.waiting.get();
        let help = "Packets waiting for a neighbor.";
        out.push(sample(
            "fugu_worker_waiting_packets",
            "gauge",
            help,
            labels(),
            waiting,
        ));
        let help = "States in a worker's table.";
        out.push(sample(
            "fugu_worker_states",
            "gauge",
            help,
            labels(),
            worker.counters.states.get(),
        ));
    }
    for (reason, counted) in filter::Reason::ALL.iter().enumerate() {
        let value = control.fleet.sum(|c| &c.filter.reasons[reason]);
        let labels = vec![("reason", counted.name().to_string())];
        let help = "Packets dropped, by reason.";
        out.push(sample(
            "fugu_pf_drops_total",
            "counter",
            help,
            labels,
            value,
        ));
    }
    out.extend(of_laggs(control));
    let logged = control.fleet.sum(|c| &c.logged);
    let help = "Packets logged by rules, once for each rule.";
    out.push(sample(
        "fugu_pflog_records_total",
        "counter",
        help,
        Vec::new(),
        logged,
    ));
    let lost = control.fleet.sum(|c| &c.log_lost);
    let help = "Log records lost because they came faster than they were taken.";
    out.push(sample(
        "fugu_pflog_lost_total",
        "counter",
        help,
        Vec::new(),
        lost,
    ));
    let help = "Flushes of overloads that came faster than states are killed; the source's next connection asks again.";
    let value = control.fleet.sum(|c| &c.kills_lost);
    let name = "fugu_pf_flushes_lost_total";
    out.push(sample(name, "counter", help, Vec::new(), value));
    for (kind, reason) in filter::LostEdit::NAMES.iter().enumerate() {
        let value = control.fleet.sum(|c| &c.filter.lost_edits[kind]);
        let labels = vec![("reason", (*reason).to_string())];
        let help = "Addresses that rules could not put into a table.";
        let name = "fugu_pf_table_insertions_lost_total";
        out.push(sample(name, "counter", help, labels, value));
    }
    let workers = control.fleet.workers().iter();
    let missed = workers.map(|w| w.counters.filter.tables.prefixes.missed());
    let help = "Packets that counted on a table with counters, but not on their address, for want of room.";
    out.push(sample(
        "fugu_pf_table_uncounted_total",
        "counter",
        help,
        Vec::new(),
        missed.sum(),
    ));
    let help = "Anchors whose rules were edited at run time.";
    let edited = control.anchors.len() as u64;
    out.push(sample(
        "fugu_pf_anchors_edited",
        "gauge",
        help,
        Vec::new(),
        edited,
    ));
    out.push(sample(
        "fugu_uploads_accepted_total",
        "counter",
        "Bundles that were accepted.",
        Vec::new(),
        control.uploads_accepted,
    ));
    out.push(sample(
        "fugu_address_conflicts_total",
        "counter",
        "Addresses of ours that another station was heard to use.",
        Vec::new(),
        control.learning.conflicts,
    ));
    out.push(sample(
        "fugu_config_unburied",
        "gauge",
        "Earlier configurations that a worker still holds.",
        Vec::new(),
        control.fleet.unburied() as u64,
    ));
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
            let name = "fugu_lagg_port_ready";
            out.push(sample(name, "gauge", help, labels.clone(), ready));
            let help = "1 if frames leave by the port of a lagg.";
            let name = "fugu_lagg_port_sends";
            out.push(sample(name, "gauge", help, labels, sends.into()));
        }
        let help = "How often frames began to leave by another port.";
        let name = "fugu_lagg_switches_total";
        out.push(sample(name, "counter", help, vec![lagg()], run.switches));
    }
    out
}

fn sample(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    labels: Vec<(&'static str, String)>,
    value: u64,
) -> Sample {
    Sample {
        name,
        kind,
        help,
        labels,
        value: value as f64,
    }
}
