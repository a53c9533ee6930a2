//! `/metrics`: the text format 0.0.4 of Prometheus, written here, and the families that follow from what the API shows
//! anyway. Names: our own begin with `fugu_` and use base units; beside them stand the names of `pf_exporter`, so that
//! dashboards made for it work. What [`control::api::Api::metrics`] adds is appended; a sample that is here already is
//! dropped, because a series that comes twice makes Prometheus refuse the whole page.
//!
//! Read first: the description of the text format in Prometheus' documentation, `docs/api.md`.

use std::collections::HashSet;

use control::api::{Api, Count, InterfaceView, PfInfo, RuleView, Sample, Status, TableView};

/// Rules with samples of their own; beyond that only `fugu_pf_rules_without_metrics` grows.
pub const RULES_MAX: usize = 2000;

/// Counter or gauge.
const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// The whole page: what the API tells, then `more` (the server's own counters).
pub fn page(api: &mut dyn Api, more: Vec<Sample>) -> String {
    let mut samples = of_status(&api.status());
    samples.extend(of_info(&api.pf_info()));
    samples.extend(of_interfaces(&api.interfaces()));
    samples.extend(of_rules(&api.rules()));
    let is_none = |value: &u64| *value == u64::from(u32::MAX);
    for (name, value) in api.limits().into_iter().filter(|(_, v)| !is_none(v)) {
        samples.push(
            gauge("fugu_pf_limit", "Hard limits of set limit.", value as f64).label("name", name),
        );
    }
    samples.extend(of_tables(&api.table_summaries()));
    samples.extend(more);
    samples.extend(api.metrics());
    encode(&samples)
}

/// Samples as text: those of one family together, each with HELP and TYPE, families in order of first appearance.
pub fn encode(samples: &[Sample]) -> String {
    let mut out = String::new();
    let mut series = HashSet::new();
    let mut families: Vec<&str> = Vec::new();
    let mut known = HashSet::new();
    for s in samples {
        if known.insert(s.name) {
            families.push(s.name);
        }
    }
    let mut by_name: std::collections::HashMap<&str, Vec<&Sample>> =
        std::collections::HashMap::new();
    for s in samples {
        by_name.entry(s.name).or_default().push(s);
    }
    for name in families {
        let family = by_name.remove(name).unwrap_or_default();
        if let Some(first) = family.first() {
            let help = escaped(first.help, false);
            out += &format!("# HELP {name} {help}\n# TYPE {name} {}\n", first.kind);
        }
        for sample in family {
            let line = series_name(sample);
            if series.insert(line.clone()) {
                out += &format!("{line} {}\n", number(sample.value));
            }
        }
    }
    out
}

fn series_name(sample: &Sample) -> String {
    let mut out = sample.name.to_string();
    for (i, (name, value)) in sample.labels.iter().enumerate() {
        let lead = if i == 0 { '{' } else { ',' };
        out += &format!("{lead}{name}=\"{}\"", escaped(value, true));
    }
    if !sample.labels.is_empty() {
        out.push('}');
    }
    out
}

fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 {
            "+Inf".into()
        } else {
            "-Inf".into()
        }
    } else {
        value.to_string()
    }
}

/// Building samples.
pub(crate) trait Labeled {
    /// The same sample with one more label.
    fn label(self, name: &'static str, value: impl Into<String>) -> Self;
}

impl Labeled for Sample {
    fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}

fn sample(name: &'static str, kind: &'static str, help: &'static str, value: f64) -> Sample {
    Sample {
        name,
        kind,
        help,
        labels: Vec::new(),
        value,
    }
}

pub(crate) fn counter(name: &'static str, help: &'static str, value: u64) -> Sample {
    sample(name, COUNTER, help, value as f64)
}

pub(crate) fn gauge(name: &'static str, help: &'static str, value: f64) -> Sample {
    sample(name, GAUGE, help, value)
}

fn of_status(s: &Status) -> Vec<Sample> {
    let mut out = vec![
        gauge("fugu_build_info", "Version of the program; always 1.", 1.0)
            .label("version", &s.version),
        gauge(
            "fugu_forwarding",
            "1 while packets are forwarded.",
            s.forwarding.into(),
        ),
        gauge(
            "fugu_config_generation",
            "Number of the running policy; 0 blocks everything but management.",
            s.generation.into(),
        ),
        gauge(
            "fugu_uptime_seconds",
            "Seconds since start.",
            s.uptime_s as f64,
        ),
        gauge(
            "fugu_pf_states",
            "Entries of the state table.",
            s.states as f64,
        ),
        counter(
            "fugu_uploads_refused_total",
            "Bundles that were not accepted.",
            s.uploads_refused,
        ),
        gauge(
            "fugu_mempool_used",
            "Packet buffers in use.",
            s.buffers_used as f64,
        ),
        gauge(
            "fugu_mempool_free",
            "Packet buffers not in use.",
            s.buffers_total.saturating_sub(s.buffers_used) as f64,
        ),
    ];
    for w in &s.workers {
        let core = w.id.to_string();
        let help = "Share of turns of a worker that found work.";
        out.push(gauge("fugu_core_busy_ratio", help, w.busy).label("core", &core));
        out.push(
            counter(
                "fugu_core_packets_total",
                "Packets a worker received.",
                w.packets,
            )
            .label("core", &core),
        );
        out.push(
            gauge(
                "fugu_core_idle",
                "1 while a worker sleeps because nothing arrives.",
                w.idle.into(),
            )
            .label("core", &core),
        );
        let help = "Generation of the policy a worker has adopted.";
        out.push(gauge("fugu_core_generation", help, w.generation.into()).label("core", core));
    }
    out
}

fn of_info(info: &PfInfo) -> Vec<Sample> {
    let mut out = vec![
        gauge(
            "fugu_pf_enabled",
            "1 while the filter is enabled.",
            info.enabled.into(),
        ),
        gauge(
            "fugu_pf_states_half_open",
            "TCP states whose handshake is not complete.",
            info.half_open as f64,
        ),
        gauge(
            "pf_state_total",
            "Number of entries in the state table.",
            info.states as f64,
        ),
        counter(
            "pf_state_searches_total",
            "State table look-ups.",
            info.searches,
        ),
        counter(
            "pf_state_inserts_total",
            "State table insertions.",
            info.inserts,
        ),
        counter(
            "pf_state_removals_total",
            "State table removals.",
            info.removals,
        ),
    ];
    for (reason, packets) in &info.reasons {
        let help = "Packets by PF's reason counters; match counts matches, the others drops.";
        out.push(counter("fugu_pf_reason_total", help, *packets).label("reason", reason));
    }
    if let Some(interface) = &info.loginterface {
        out.extend(of_loginterface(interface));
    }
    out
}

/// `pf_exporter` has these only for `set loginterface`.
fn of_loginterface(i: &InterfaceView) -> Vec<Sample> {
    const NAMES: [[[&str; 3]; 2]; 2] = [
        [
            [
                "pf_ipv4_bytes_in_total",
                "pf_ipv4_packets_in_passed_total",
                "pf_ipv4_packets_in_blocked_total",
            ],
            [
                "pf_ipv4_bytes_out_total",
                "pf_ipv4_packets_out_passed_total",
                "pf_ipv4_packets_out_blocked_total",
            ],
        ],
        [
            [
                "pf_ipv6_bytes_in_total",
                "pf_ipv6_packets_in_passed_total",
                "pf_ipv6_packets_in_blocked_total",
            ],
            [
                "pf_ipv6_bytes_out_total",
                "pf_ipv6_packets_out_passed_total",
                "pf_ipv6_packets_out_blocked_total",
            ],
        ],
    ];
    let mut out = Vec::new();
    for (names, pf) in NAMES.iter().flatten().zip(i.pf.iter().flatten()) {
        let [pass, block] = pf;
        out.push(counter(
            names[0],
            "Bytes on the logged interface.",
            pass.bytes + block.bytes,
        ));
        out.push(counter(
            names[1],
            "Packets passed on the logged interface.",
            pass.packets,
        ));
        out.push(counter(
            names[2],
            "Packets blocked on the logged interface.",
            block.packets,
        ));
    }
    out
}

fn of_interfaces(interfaces: &[InterfaceView]) -> Vec<Sample> {
    let mut out = Vec::new();
    for i in interfaces {
        let name = &i.name;
        let mut push = |sample: Sample| out.push(sample.label("interface", name));
        push(gauge(
            "fugu_interface_up",
            "1 if configured up and the link is up.",
            (i.up && i.link).into(),
        ));
        push(counter(
            "fugu_interface_receive_packets_total",
            "Frames the card received.",
            i.hw_in.packets,
        ));
        push(counter(
            "fugu_interface_receive_bytes_total",
            "Bytes the card received.",
            i.hw_in.bytes,
        ));
        push(counter(
            "fugu_interface_transmit_packets_total",
            "Frames the card sent.",
            i.hw_out.packets,
        ));
        push(counter(
            "fugu_interface_transmit_bytes_total",
            "Bytes the card sent.",
            i.hw_out.bytes,
        ));
        push(counter(
            "fugu_interface_receive_drops_total",
            "Frames the card dropped for want of room.",
            i.hw_missed,
        ));
        push(counter(
            "fugu_interface_receive_errors_total",
            "Frames with errors.",
            i.hw_errors,
        ));
    }
    for i in interfaces {
        out.extend(of_filter(i));
    }
    out
}

/// What PF passed and blocked, for every interface.
fn of_filter(i: &InterfaceView) -> Vec<Sample> {
    let mut out = Vec::new();
    for (af, by_direction) in ["inet", "inet6"].into_iter().zip(&i.pf) {
        for (direction, by_action) in ["in", "out"].into_iter().zip(by_direction) {
            for (action, count) in ["pass", "block"].into_iter().zip(by_action) {
                let labels = |s: Sample| {
                    s.label("interface", &i.name)
                        .label("af", af)
                        .label("direction", direction)
                        .label("action", action)
                };
                let Count { packets, bytes } = *count;
                out.push(labels(counter(
                    "fugu_pf_interface_packets_total",
                    "Packets PF decided about.",
                    packets,
                )));
                out.push(labels(counter(
                    "fugu_pf_interface_bytes_total",
                    "Bytes PF decided about.",
                    bytes,
                )));
            }
        }
    }
    out
}

/// What has counted nothing is left out: most tables are asked one way and by one kind of rule.
fn of_tables(tables: &[TableView]) -> Vec<Sample> {
    let mut out = Vec::new();
    for table in tables {
        let (name, stats) = (&table.name, &table.stats);
        let mut push = |s: Sample| out.push(s.label("table", name));
        let help = "Addresses and networks in a table.";
        push(gauge("fugu_pf_table_entries", help, stats.addresses as f64));
        let help = "Look-ups of rules in a table.";
        for (found, n) in [("no", stats.no_matches), ("yes", stats.matches)] {
            push(counter("fugu_pf_table_lookups_total", help, n).label("found", found));
        }
        for (direction, t) in [("in", &stats.input), ("out", &stats.output)] {
            let actions = [
                ("block", t.block),
                ("match", t.matched),
                ("pass", t.pass),
                ("xpass", t.xpass),
            ];
            for (action, count) in actions.into_iter().filter(|(_, c)| c.packets > 0) {
                let mut push = |s: Sample| {
                    push(s.label("direction", direction).label("action", action));
                };
                let help = "Packets of rules that name a table.";
                push(counter("fugu_pf_table_packets_total", help, count.packets));
                let help = "Bytes of rules that name a table.";
                push(counter("fugu_pf_table_bytes_total", help, count.bytes));
            }
        }
    }
    out
}

fn of_rules(rules: &[RuleView]) -> Vec<Sample> {
    let mut out = vec![gauge(
        "fugu_pf_rules_without_metrics",
        "Rules beyond the number that get samples of their own.",
        rules.len().saturating_sub(RULES_MAX) as f64,
    )];
    for r in rules.iter().take(RULES_MAX) {
        let mut push = |s: Sample| {
            let label = r.label.clone().unwrap_or_default();
            let s = s
                .label("nr", r.nr.to_string())
                .label("label", label)
                .label("origin", &r.origin);
            // Main rules keep the labels they always had.
            out.push(match r.anchor.as_str() {
                "" => s,
                anchor => s.label("anchor", anchor),
            });
        };
        push(counter(
            "pf_rule_evaluations_total",
            "Times a rule was evaluated.",
            r.evaluations,
        ));
        push(counter(
            "pf_rule_packets_in_total",
            "Packets in by rule.",
            r.input.packets,
        ));
        push(counter(
            "pf_rule_bytes_in_total",
            "Bytes in by rule.",
            r.input.bytes,
        ));
        push(counter(
            "pf_rule_packets_out_total",
            "Packets out by rule.",
            r.output.packets,
        ));
        push(counter(
            "pf_rule_bytes_out_total",
            "Bytes out by rule.",
            r.output.bytes,
        ));
        push(gauge(
            "pf_rule_states_current",
            "States a rule has now.",
            r.states as f64,
        ));
        push(counter(
            "pf_rule_states_total",
            "States a rule has made.",
            r.states_total,
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_stands_together_with_one_help_and_type_and_no_series_twice() {
        let drops = |reason: &str, n| {
            counter("fugu_pf_drops_total", "Drops\nby reason.", n).label("reason", reason)
        };
        let page = encode(&[
            drops("short", 2),
            gauge("up", "Up \\o/", 0.5),
            drops("a \"b\" \\c\n", 3),
            drops("short", 99),
        ]);
        assert_eq!(
            page,
            "# HELP fugu_pf_drops_total Drops\\nby reason.\n\
             # TYPE fugu_pf_drops_total counter\n\
             fugu_pf_drops_total{reason=\"short\"} 2\n\
             fugu_pf_drops_total{reason=\"a \\\"b\\\" \\\\c\\n\"} 3\n\
             # HELP up Up \\\\o/\n\
             # TYPE up gauge\n\
             up 0.5\n"
        );
    }

    #[test]
    fn large_counters_keep_their_digits() {
        assert_eq!(number(1e15), "1000000000000000");
        assert_eq!(number(f64::INFINITY), "+Inf");
        assert_eq!(number(f64::NAN), "NaN");
    }

    #[test]
    fn rules_beyond_the_limit_are_only_counted() {
        let rule = |nr| RuleView {
            nr,
            origin: "pf.conf:1".into(),
            ..RuleView::default()
        };
        let at = |n: usize| {
            let rules: Vec<RuleView> = (0..n as u32).map(rule).collect();
            let samples = of_rules(&rules);
            (samples[0].value, samples.len())
        };
        assert_eq!(at(RULES_MAX), (0.0, 1 + 7 * RULES_MAX));
        assert_eq!(at(RULES_MAX + 1), (1.0, 1 + 7 * RULES_MAX));
    }
}
