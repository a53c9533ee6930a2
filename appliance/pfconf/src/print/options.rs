//! What stands after the addresses of a rule: `flags` to `divert-to`.

use ruleset::{Af, PortOp, Timeout};

use crate::ast::{ActionKind, KeepKind, LimiterRef, LimiterUse};
use crate::names;
use crate::policy::{Divert, IdRange, Rule, RuleKind};
use crate::resolve::ID_UNKNOWN;

use super::pool::{print_route, print_translations};
use super::{Style, code_text, has_early_route, if_text, ip_text, put, quoted};

pub(super) fn print_options(out: &mut String, rule: &Rule, style: &Style<'_>) {
    if let Some((kind, not)) = &rule.received_on {
        let not = if *not { "!" } else { "" };
        put!(out, " {not}received-on {}", if_text(kind));
    }
    print_id(out, "user", rule.user);
    print_id(out, "group", rule.group);
    print_flags(out, rule);
    print_icmp(out, rule);
    if let Some(tos) = rule.tos {
        put!(out, " tos 0x{tos:02x}");
    }
    if let Some(prio) = rule.prio {
        put!(out, " prio {prio}");
    }
    if let Some((limit, seconds)) = rule.max_pkt_rate {
        put!(out, " max-pkt-rate {limit}/{seconds}");
    }
    if let Some(bytes) = rule.max_pkt_size {
        put!(out, " max-pkt-size {bytes}");
    }
    print_set(out, rule, style);
    print_state(out, rule, style);
    if style.freebsd && rule.allow_opts {
        *out += " allow-opts";
    }
    if rule.fragment {
        *out += " fragment";
    }
    print_scrub(out, rule);
    if !style.freebsd && rule.allow_opts {
        *out += " allow-opts";
    }
    print_labels(out, rule);
    if let Some(dummynet) = rule.dummynet {
        match (dummynet.forward, dummynet.backward) {
            (to, 0) => put!(out, " {} {to}", dummynet.word()),
            (to, back) => put!(out, " {}({to}, {back})", dummynet.word()),
        }
    }
    if style.freebsd {
        print_queue(out, rule);
    }
    if rule.once {
        *out += " once";
    }
    print_tags(out, rule);
    if let Some(rtable) = rule.rtable {
        put!(out, " rtable {rtable}");
    }
    print_divert(out, rule);
    print_translations(out, rule, style);
    if !has_early_route(rule, style) {
        print_route(out, rule, style);
    }
}

/// Labels and the number of FreeBSD's `ridentifier`.
pub(super) fn print_labels(out: &mut String, rule: &Rule) {
    for label in rule.label.iter().chain(&rule.more_labels) {
        put!(out, " label {}", quoted(label));
    }
    if let Some(id) = rule.ridentifier {
        put!(out, " ridentifier {id}");
    }
}

/// Where FreeBSD has the queue; OpenBSD's stands in `set (…)`.
fn print_queue(out: &mut String, rule: &Rule) {
    match &rule.queue {
        Some((name, None)) => put!(out, " queue {name}"),
        Some((name, Some(priority))) => put!(out, " queue({name}, {priority})"),
        None => {}
    }
}

pub(super) fn print_tags(out: &mut String, rule: &Rule) {
    if let Some(tag) = &rule.tag {
        put!(out, " tag {}", super::names(tag));
    }
    if let Some((tag, not)) = &rule.tagged {
        let not = if *not { " !" } else { "" };
        put!(out, "{not} tagged {}", super::names(tag));
    }
}

fn print_id(out: &mut String, word: &str, id: Option<IdRange>) {
    let Some(id) = id else {
        return;
    };
    let number = |n: u32| match n {
        ID_UNKNOWN => "unknown".to_string(),
        n => n.to_string(),
    };
    let (a, b) = (number(id.a), number(id.b));
    match id.op {
        PortOp::Eq => put!(out, " {word} = {a}"),
        PortOp::Ne => put!(out, " {word} != {a}"),
        PortOp::Lt => put!(out, " {word} < {a}"),
        PortOp::Le => put!(out, " {word} <= {a}"),
        PortOp::Gt => put!(out, " {word} > {a}"),
        PortOp::Ge => put!(out, " {word} >= {a}"),
        PortOp::Range => put!(out, " {word} {a}:{b}"),
        PortOp::Inside => put!(out, " {word} {a} >< {b}"),
        PortOp::Outside => put!(out, " {word} {a} <> {b}"),
    }
}

/// A stateful rule that could match TCP and looks at no flags says so.
fn print_flags(out: &mut String, rule: &Rule) {
    match rule.flags {
        Some((set, mask)) => {
            let (set, mask) = (names::tcp_flags_text(set), names::tcp_flags_text(mask));
            put!(out, " flags {set}/{mask}");
        }
        None if rule.proto.is_none_or(|p| p == 6) && !rule.fragment && rule.keeps_state() => {
            *out += " flags any";
        }
        None => {}
    }
}

fn print_icmp(out: &mut String, rule: &Rule) {
    let Some((icmp_type, code, _)) = rule.icmp else {
        return;
    };
    let (af, word) = match rule.af {
        Some(Af::Inet6) => (Af::Inet6, "icmp6-type"),
        _ => (Af::Inet, "icmp-type"),
    };
    match names::icmp_type_name(af, icmp_type) {
        Some(name) => put!(out, " {word} {name}"),
        None => put!(out, " {word} {icmp_type}"),
    }
    if let Some(code) = code {
        put!(out, " code {}", code_text(af, (icmp_type, code)));
    }
}

fn print_set(out: &mut String, rule: &Rule, style: &Style<'_>) {
    let mut items = Vec::new();
    match rule.set_prio {
        Some((a, b)) if a == b => items.push(format!("prio {a}")),
        Some((a, b)) => items.push(format!("prio({a}, {b})")),
        None => {}
    }
    match &rule.queue {
        _ if style.freebsd => {}
        Some((name, None)) => items.push(format!("queue {name}")),
        Some((name, Some(priority))) => items.push(format!("queue({name}, {priority})")),
        None => {}
    }
    items.extend(rule.set_tos.map(|tos| format!("tos 0x{tos:02x}")));
    items.extend(rule.delay.map(|delay| format!("delay {delay}")));
    if !items.is_empty() && style.freebsd {
        put!(out, " set ( {} )", items.join(", "));
    } else if !items.is_empty() {
        put!(out, " set ({})", items.join(", "));
    }
}

fn print_state(out: &mut String, rule: &Rule, style: &Style<'_>) {
    let opts = state_opts_text(rule);
    match rule.keep {
        KeepKind::No if rule.action() == Some(ActionKind::Pass) => *out += " no state",
        KeepKind::Keep if style.freebsd || !opts.is_empty() => *out += " keep state",
        KeepKind::Modulate => *out += " modulate state",
        KeepKind::Synproxy => *out += " synproxy state",
        _ => {}
    }
    // pfctl prints the options behind the probability, where it does not read them.
    if !opts.is_empty() {
        put!(out, " ({})", opts.join(", "));
    }
    if let Some(share) = rule.probability {
        put!(out, " probability {}%", percent_text(share));
    }
    for (word, used) in [
        ("state", &rule.state_limiter),
        ("source", &rule.source_limiter),
    ] {
        if let Some(used) = used {
            print_limiter(out, word, used);
        }
    }
}

fn print_limiter(out: &mut String, word: &str, used: &LimiterUse) {
    let LimiterRef::Id(id) = used.name else {
        return;
    };
    let action = match used.no_match {
        Some(false) => "block",
        _ => "no-match",
    };
    put!(out, " {word} limiter id {id} ({action})");
}

/// Six decimals without trailing zeros.
fn percent_text(share: u32) -> String {
    let text = format!("{:.6}", f64::from(share) * 100.0 / 4_294_967_296.0);
    let text = text.trim_end_matches('0');
    text.strip_suffix('.').unwrap_or(text).to_string()
}

fn state_opts_text(rule: &Rule) -> Vec<String> {
    let state = &rule.state;
    let mut opts = Vec::new();
    let mut number = |word: &str, n: u32| opts.extend((n != 0).then(|| format!("{word} {n}")));
    number("max", state.max);
    opts.extend(state.no_sync.then(|| "no-sync".into()));
    if let Some(rule) = state.source_track {
        opts.push(format!(
            "source-track {}",
            if rule { "rule" } else { "global" }
        ));
    }
    let mut number = |word: &str, n: u32| opts.extend((n != 0).then(|| format!("{word} {n}")));
    number("max-src-states", state.max_src_states);
    number("max-src-conn", state.max_src_conn);
    if let Some((limit, seconds)) = state.max_src_conn_rate {
        opts.push(format!("max-src-conn-rate {limit}/{seconds}"));
    }
    let mut number = |word: &str, n: u32| opts.extend((n != 0).then(|| format!("{word} {n}")));
    number("max-src-nodes", state.max_src_nodes);
    if let Some((table, flush, global)) = &state.overload {
        let flush = if *flush { " flush" } else { "" };
        let global = if *global { " global" } else { "" };
        opts.push(format!("overload <{table}>{flush}{global}"));
    }
    for (set, word) in [
        (state.if_bound, "if-bound"),
        (state.sloppy, "sloppy"),
        (state.pflow, "pflow"),
    ] {
        opts.extend(set.then(|| word.into()));
    }
    for class in Timeout::ALL {
        let n = state.timeouts[class as usize];
        opts.extend((n != 0).then(|| format!("{} {n}", class.name())));
    }
    opts
}

fn print_scrub(out: &mut String, rule: &Rule) {
    let scrub = &rule.scrub;
    let mut words: Vec<String> = Vec::new();
    words.extend(scrub.no_df.then(|| "no-df".into()));
    words.extend(scrub.random_id.then(|| "random-id".into()));
    words.extend((scrub.min_ttl != 0).then(|| format!("min-ttl {}", scrub.min_ttl)));
    words.extend(scrub.reassemble_tcp.then(|| "reassemble tcp".into()));
    words.extend((scrub.max_mss != 0).then(|| format!("max-mss {}", scrub.max_mss)));
    if !words.is_empty() {
        put!(out, " scrub ({})", words.join(" "));
    }
}

/// `scrub` of the old dialect puts its options one after the other.
pub(super) fn print_old_scrub(out: &mut String, rule: &Rule, fragment: &str) {
    let scrub = &rule.scrub;
    if scrub.no_df {
        *out += " no-df";
    }
    if scrub.random_id {
        *out += " random-id";
    }
    if scrub.min_ttl != 0 {
        put!(out, " min-ttl {}", scrub.min_ttl);
    }
    if scrub.max_mss != 0 {
        put!(out, " max-mss {}", scrub.max_mss);
    }
    if let Some(tos) = rule.set_tos {
        put!(out, " set-tos 0x{tos:02x}");
    }
    if scrub.reassemble_tcp {
        *out += " reassemble tcp";
    }
    if !matches!(rule.kind, RuleKind::Scrub { no: true, .. }) {
        *out += match fragment {
            "no reassemble" => " fragment no reassemble",
            _ => " fragment reassemble",
        };
    }
    print_tags(out, rule);
    if let Some(rtable) = rule.rtable {
        put!(out, " rtable {rtable}");
    }
}

/// FreeBSD's `divert-to` leads to a socket of divert(4), whatever its address; OpenBSD calls that `divert-packet`.
fn print_divert(out: &mut String, rule: &Rule) {
    match &rule.divert {
        Some(Divert::Socket { port }) => put!(out, " divert-to {port}"),
        Some(Divert::To { addr, af, port }) => {
            put!(out, " divert-to {} port {port}", ip_text(*af, *addr));
        }
        Some(Divert::Reply) => *out += " divert-reply",
        Some(Divert::Packet { port }) => put!(out, " divert-packet port {port}"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_lose_their_trailing_zeros() {
        assert_eq!(percent_text((0.2 * f64::from(u32::MAX) + 0.5) as u32), "20");
        assert_eq!(percent_text(u32::MAX / 8), "12.5");
    }
}
