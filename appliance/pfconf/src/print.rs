//! Rules as `pfctl -s rules` prints them. What is printed here is parsed again to the same rules.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use ruleset::{Af, Direction, PortOp, PortRange, Timeout};

use crate::ast::{
    ActionKind, AnchorKind, KeepKind, LimiterRef, LimiterUse, LogSpec, Mac, PoolKind, RouteKind,
    TranslationKind,
};
use crate::environment::Known;
use crate::names;
use crate::policy::{
    Addr, Divert, Dynamic, End, Ether, Host, IdRange, IfItemKind, Pool, Reply, Rule, RuleKind,
};
use crate::pools::{NAT_PORTS, PoolUse};
use crate::resolve::ID_UNKNOWN;

/// Appends; writing to a `String` cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{
        let _infallible = write!($out, $($arg)*);
    }};
}

/// What `pfctl -sr` is told by its switches.
pub(crate) struct Style<'a> {
    pub(crate) known: &'a Known<'a>,
    /// `-P`: ports by their names.
    pub(crate) port_names: bool,
    /// `-vv`: numbers of rules, and how many addresses there are behind a name.
    pub(crate) counts: Option<Counts>,
}

/// How many addresses there are behind a name. pfctl itself knows none before the rules are loaded.
#[derive(Default)]
pub(crate) struct Counts {
    /// Entries of tables.
    pub(crate) tables: HashMap<String, usize>,
    /// Addresses of interfaces are counted too.
    pub(crate) interfaces: bool,
}

impl<'a> Style<'a> {
    pub(crate) fn plain(known: &'a Known<'a>) -> Self {
        Style {
            known,
            port_names: false,
            counts: None,
        }
    }

    fn table_count(&self, name: &str) -> Option<usize> {
        let counts = self.counts.as_ref()?;
        Some(counts.tables.get(name).copied().unwrap_or(0))
    }

    fn interface_count(&self, name: &str, af: Option<Af>) -> Option<usize> {
        let counts = self.counts.as_ref()?;
        if !counts.interfaces {
            return Some(0);
        }
        let members = self.known.members(name).unwrap_or_default();
        let all = members.iter().flat_map(|i| &i.addresses);
        let ours = all.filter(|a| af.is_none_or(|af| (af == Af::Inet) == a.address.is_ipv4()));
        Some(ours.count())
    }
}

/// The rule without the body of an anchor.
pub(crate) fn print_rule(rule: &Rule, style: &Style<'_>) -> String {
    let mut out = String::new();
    if let RuleKind::Ether(ether) = &rule.kind {
        print_ether(&mut out, rule, ether, style);
        return out;
    }
    print_action(&mut out, rule);
    print_head(&mut out, rule, style);
    match &rule.kind {
        RuleKind::Translation { .. } => print_translation(&mut out, rule, style),
        RuleKind::Scrub { fragment, .. } => print_old_scrub(&mut out, rule, fragment),
        _ => print_options(&mut out, rule, style),
    }
    out
}

/// Rules one per line, bodies of anchors indented by two blanks. With numbers nothing is indented but braces.
pub(crate) fn print_rules(rules: &[Rule], style: &Style<'_>) -> String {
    let mut out = String::new();
    print_indented(&mut out, rules, style, 0);
    out
}

fn print_indented(out: &mut String, rules: &[Rule], style: &Style<'_>, depth: usize) {
    let indent = "  ".repeat(depth);
    let mut number = 0;
    for (n, rule) in rules.iter().enumerate() {
        // Each kind of rules has its own ruleset.
        let same = n > 0 && rules[n - 1].kind.group() == rule.kind.group();
        number = if same { number + 1 } else { 0 };
        match style.counts {
            Some(_) => put!(out, "@{number} "),
            None => *out += &indent,
        }
        *out += &print_rule(rule, style);
        if let Some(body) = rule.body.as_ref().filter(|body| !body.is_empty()) {
            *out += " {\n";
            print_indented(out, body, style, depth + 1);
            put!(out, "{indent}}}");
        }
        out.push('\n');
    }
}

fn print_action(out: &mut String, rule: &Rule) {
    match &rule.kind {
        RuleKind::Filter(ActionKind::Pass) => *out += "pass",
        RuleKind::Filter(ActionKind::Match) => *out += "match",
        RuleKind::Filter(ActionKind::Block) => {
            *out += "block";
            print_reply(out, rule);
        }
        RuleKind::Anchor { name, kind, .. } => {
            *out += match kind {
                AnchorKind::Filter => "anchor",
                AnchorKind::Nat => "nat-anchor",
                AnchorKind::Rdr => "rdr-anchor",
                AnchorKind::Binat => "binat-anchor",
                AnchorKind::Scrub => "scrub-anchor",
            };
            if let Some(name) = name {
                put!(out, " \"{name}\"");
            }
        }
        RuleKind::Translation { kind, no, pass } => {
            *out += if *no { "no " } else { "" };
            *out += match kind {
                TranslationKind::Nat => "nat",
                TranslationKind::Rdr => "rdr",
                TranslationKind::Binat => "binat",
            };
            *out += if *pass { " pass" } else { "" };
        }
        RuleKind::Ether(_) => {}
        RuleKind::Scrub { no, .. } => *out += if *no { "no scrub" } else { "scrub" },
    }
}

/// A rule for Ethernet frames.
fn print_ether(out: &mut String, rule: &Rule, ether: &Ether, style: &Style<'_>) {
    *out += match ether.action {
        ActionKind::Pass => "ether pass",
        ActionKind::Block => "ether block",
        ActionKind::Match => "ether match",
    };
    print_direction(out, rule);
    if rule.quick {
        *out += " quick";
    }
    print_on(out, rule);
    if let Some(interface) = &ether.bridge_to {
        put!(out, " bridge-to {interface}");
    }
    if let Some(proto) = ether.proto {
        put!(out, " proto 0x{proto:04x}");
    }
    for (word, mac) in [("from", ether.src), ("to", ether.dst)] {
        if let Some(mac) = mac {
            put!(out, " {word} {}", mac_text(mac));
        }
    }
    *out += " l3";
    print_from_to(out, rule, style);
    if let Some((queue, _)) = &rule.queue {
        put!(out, " queue {queue}");
    }
    print_tags(out, rule);
    if let Some(label) = &rule.label {
        put!(out, " label \"{label}\"");
    }
    if let Some(id) = rule.ridentifier {
        put!(out, " ridentifier {id}");
    }
}

fn mac_text(mac: Mac) -> String {
    let hex = |bytes: [u8; 6]| bytes.map(|b| format!("{b:02x}")).join(":");
    let not = if mac.not { "! " } else { "" };
    let mask = mac
        .mask
        .iter()
        .fold(0u64, |bits, b| bits << 8 | u64::from(*b));
    let ones = mask.count_ones();
    let mask = match mask.leading_zeros() == 16 && mask.trailing_zeros() == 48 - ones {
        _ if ones == 48 => String::new(),
        true => format!("/{ones}"),
        false => format!("&{}", hex(mac.mask)),
    };
    format!("{not}{}{mask}", hex(mac.bytes))
}

fn print_direction(out: &mut String, rule: &Rule) {
    match rule.direction {
        Some(Direction::In) => *out += " in",
        Some(Direction::Out) => *out += " out",
        None => {}
    }
}

fn print_on(out: &mut String, rule: &Rule) {
    if let Some((kind, not)) = &rule.on {
        put!(out, " on {}{}", if *not { "! " } else { "" }, if_text(kind));
    }
}

fn print_reply(out: &mut String, rule: &Rule) {
    match rule.reply {
        Reply::Drop => *out += " drop",
        Reply::Return => *out += " return",
        Reply::Rst { ttl: 0 } => *out += " return-rst",
        Reply::Rst { ttl } => put!(out, " return-rst(ttl {ttl})"),
        Reply::Icmp { v4, v6 } => {
            let (v4, v6) = (code_text(Af::Inet, v4), code_text(Af::Inet6, v6));
            match rule.af {
                Some(Af::Inet) => put!(out, " return-icmp({v4})"),
                Some(Af::Inet6) => put!(out, " return-icmp6({v6})"),
                None => put!(out, " return-icmp({v4}, {v6})"),
            }
        }
    }
}

fn code_text(af: Af, (icmp_type, code): (u8, u8)) -> String {
    match names::icmp_code_name(af, icmp_type, code) {
        Some(name) => name.into(),
        None => code.to_string(),
    }
}

/// Direction to addresses.
fn print_head(out: &mut String, rule: &Rule, style: &Style<'_>) {
    print_direction(out, rule);
    if let Some(log) = &rule.log {
        print_log(out, log);
    }
    if rule.quick {
        *out += " quick";
    }
    print_on(out, rule);
    if has_early_route(rule) {
        print_route(out, rule, style);
    }
    if let Some(af) = rule.af {
        put!(out, " {}", af_text(af));
    }
    if let Some(proto) = rule.proto {
        match style.known.protocol_name(proto) {
            Some(name) => put!(out, " proto {name}"),
            None => put!(out, " proto {proto}"),
        }
    }
    print_from_to(out, rule, style);
}

fn print_log(out: &mut String, log: &LogSpec) {
    *out += " log";
    let mut words: Vec<String> = Vec::new();
    for (set, word) in [
        (log.all, "all"),
        (log.matches, "matches"),
        (log.user, "user"),
    ] {
        words.extend(set.then(|| word.into()));
    }
    if log.to != 0 {
        words.push(format!("to pflog{}", log.to));
    }
    if !words.is_empty() {
        put!(out, " ({})", words.join(", "));
    }
}

fn if_text(kind: &IfItemKind) -> String {
    match kind {
        IfItemKind::Name(name) => name.clone(),
        IfItemKind::Any => "any".into(),
        IfItemKind::Rdomain(n) => format!("rdomain {n}"),
    }
}

pub(crate) fn af_text(af: Af) -> &'static str {
    match af {
        Af::Inet => "inet",
        Af::Inet6 => "inet6",
    }
}

fn print_from_to(out: &mut String, rule: &Rule, style: &Style<'_>) {
    let free = |end: &End| {
        end.addr == Addr::Any
            || matches!(
                end.addr,
                Addr::Masked {
                    addr: 0,
                    bits: 0,
                    ..
                }
            )
    };
    let open = |end: &End| free(end) && !end.not && end.port.is_none();
    if open(&rule.src) && open(&rule.dst) && rule.os.is_none() {
        *out += " all";
        return;
    }
    *out += " from ";
    print_end(out, &rule.src, rule, style);
    if let Some(os) = &rule.os {
        put!(out, " os \"{os}\"");
    }
    *out += " to ";
    print_end(out, &rule.dst, rule, style);
}

fn print_end(out: &mut String, end: &End, rule: &Rule, style: &Style<'_>) {
    if end.not {
        *out += "! ";
    }
    print_addr_counted(out, &end.addr, rule.af, style);
    if let Some(port) = end.port {
        put!(out, " port {}", port_text(port, rule.proto, style));
    }
}

/// An address, with the number of those behind a name if the style asks for it.
fn print_addr_counted(out: &mut String, addr: &Addr, af: Option<Af>, style: &Style<'_>) {
    match addr {
        Addr::Table(name) => match style.table_count(name) {
            Some(n) => put!(out, "<{name}:{n}>"),
            None => put!(out, "<{name}>"),
        },
        Addr::Dynamic(dynamic) => {
            let count = style.interface_count(&dynamic.name, af);
            print_dynamic(out, dynamic, af, count);
        }
        _ => print_addr(out, addr, af),
    }
}

/// An address; prefixes as long as the family's addresses are not shown.
pub(crate) fn print_addr(out: &mut String, addr: &Addr, rule_af: Option<Af>) {
    match addr {
        Addr::Any => *out += "any",
        Addr::Masked {
            addr: 0, bits: 0, ..
        } => *out += "any",
        Addr::Masked { af, addr, bits } => {
            *out += &ip_text(*af, *addr);
            if *bits < af.bits() {
                put!(out, "/{bits}");
            }
        }
        Addr::Range { af, low, high } => {
            put!(out, "{} - {}", ip_text(*af, *low), ip_text(*af, *high));
        }
        Addr::Dynamic(dynamic) => print_dynamic(out, dynamic, rule_af, None),
        Addr::Table(name) => put!(out, "<{name}>"),
        Addr::NoRoute => *out += "no-route",
        Addr::UrpfFailed => *out += "urpf-failed",
        Addr::RouteLabel(label) => put!(out, "route \"{label}\""),
    }
}

fn print_dynamic(out: &mut String, dynamic: &Dynamic, af: Option<Af>, count: Option<usize>) {
    put!(out, "({}", dynamic.name);
    let mods = dynamic.mods;
    for (set, word) in [
        (mods.network, ":network"),
        (mods.broadcast, ":broadcast"),
        (mods.peer, ":peer"),
        (mods.no_alias, ":0"),
    ] {
        *out += if set { word } else { "" };
    }
    if let Some(count) = count {
        put!(out, ":{count}");
    }
    *out += ")";
    if af.is_some_and(|af| dynamic.bits < af.bits()) {
        put!(out, "/{}", dynamic.bits);
    }
}

pub(crate) fn ip_text(af: Af, addr: u128) -> String {
    match af {
        Af::Inet => Ipv4Addr::from(addr as u32).to_string(),
        Af::Inet6 => Ipv6Addr::from(addr).to_string(),
    }
}

/// ` 10.0.0.1` or ` !10.0.0.1`, as table definitions are printed.
pub(crate) fn print_table_entry(host: &Host) -> String {
    let mut out = String::from(if host.not { " !" } else { " " });
    print_addr(&mut out, &host.addr, host.af());
    out
}

fn port_text(port: PortRange, proto: Option<u8>, style: &Style<'_>) -> String {
    let name = |port: u16| match style.known.service_name(port, proto) {
        Some(name) if style.port_names => name.to_string(),
        _ => port.to_string(),
    };
    let a = name(port.a);
    match port.op {
        PortOp::Eq => format!("= {a}"),
        PortOp::Ne => format!("!= {a}"),
        PortOp::Lt => format!("< {a}"),
        PortOp::Le => format!("<= {a}"),
        PortOp::Gt => format!("> {a}"),
        PortOp::Ge => format!(">= {a}"),
        // Ranges stay numbers.
        PortOp::Range => format!("{}:{}", port.a, port.b),
        PortOp::Inside => format!("{} >< {}", port.a, port.b),
        PortOp::Outside => format!("{} <> {}", port.a, port.b),
    }
}

fn print_options(out: &mut String, rule: &Rule, style: &Style<'_>) {
    if let Some((kind, not)) = &rule.received_on {
        let not = if *not { "! " } else { "" };
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
    print_set(out, rule);
    print_state(out, rule);
    if rule.fragment {
        *out += " fragment";
    }
    print_scrub(out, rule);
    if rule.allow_opts {
        *out += " allow-opts";
    }
    if let Some(label) = &rule.label {
        put!(out, " label \"{label}\"");
    }
    if let Some(id) = rule.ridentifier {
        put!(out, " ridentifier {id}");
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
    if !has_early_route(rule) {
        print_route(out, rule, style);
    }
}

fn print_tags(out: &mut String, rule: &Rule) {
    if let Some(tag) = &rule.tag {
        put!(out, " tag {tag}");
    }
    if let Some((tag, not)) = &rule.tagged {
        put!(out, "{} tagged {tag}", if *not { " !" } else { "" });
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

fn print_set(out: &mut String, rule: &Rule) {
    let mut items = Vec::new();
    match rule.set_prio {
        Some((a, b)) if a == b => items.push(format!("prio {a}")),
        Some((a, b)) => items.push(format!("prio({a}, {b})")),
        None => {}
    }
    match &rule.queue {
        Some((name, None)) => items.push(format!("queue {name}")),
        Some((name, Some(priority))) => items.push(format!("queue({name}, {priority})")),
        None => {}
    }
    items.extend(rule.set_tos.map(|tos| format!("tos 0x{tos:02x}")));
    items.extend(rule.delay.map(|delay| format!("delay {delay}")));
    if !items.is_empty() {
        put!(out, " set ({})", items.join(", "));
    }
}

fn print_state(out: &mut String, rule: &Rule) {
    let opts = state_opts_text(rule);
    match rule.keep {
        KeepKind::No if rule.action() == Some(ActionKind::Pass) => *out += " no state",
        KeepKind::Keep if !opts.is_empty() => *out += " keep state",
        KeepKind::Modulate => *out += " modulate state",
        KeepKind::Synproxy => *out += " synproxy state",
        _ => {}
    }
    if let Some(share) = rule.probability {
        put!(out, " probability {}%", percent_text(share));
    }
    if !opts.is_empty() {
        put!(out, " ({})", opts.join(", "));
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
    words.extend((scrub.max_mss != 0).then(|| format!("max-mss {}", scrub.max_mss)));
    words.extend(scrub.reassemble_tcp.then(|| "reassemble tcp".into()));
    if !words.is_empty() {
        put!(out, " scrub ({})", words.join(" "));
    }
}

/// `scrub` of the old dialect puts its options one after the other.
fn print_old_scrub(out: &mut String, rule: &Rule, fragment: &str) {
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
}

fn print_divert(out: &mut String, rule: &Rule) {
    match &rule.divert {
        Some(Divert::To { addr, af, port }) => {
            put!(out, " divert-to {} port {port}", ip_text(*af, *addr));
        }
        Some(Divert::Reply) => *out += " divert-reply",
        Some(Divert::Packet { port }) => put!(out, " divert-packet port {port}"),
        None => {}
    }
}

fn print_translations(out: &mut String, rule: &Rule, style: &Style<'_>) {
    let af = rule.naf.or(rule.af);
    if let (Some(naf), Some(nat)) = (rule.naf, &rule.nat) {
        put!(out, " af-to {} from ", af_text(naf));
        print_pool(out, nat, (af, PoolUse::Nat), style);
        if let Some(rdr) = &rule.rdr {
            *out += " to ";
            print_pool(out, rdr, (af, PoolUse::Rdr), style);
        }
        return;
    }
    if let Some(nat) = &rule.nat {
        *out += " nat-to ";
        print_pool(out, nat, (af, PoolUse::Nat), style);
    }
    if let Some(rdr) = &rule.rdr {
        *out += " rdr-to ";
        print_pool(out, rdr, (af, PoolUse::Rdr), style);
    }
}

/// The right side of `nat`, `rdr`, `binat` of the old dialect.
fn print_translation(out: &mut String, rule: &Rule, style: &Style<'_>) {
    print_tags(out, rule);
    if let Some(rtable) = rule.rtable {
        put!(out, " rtable {rtable}");
    }
    let pool = rule.nat.as_ref().map(|p| (p, PoolUse::Nat));
    if let Some((pool, usage)) = pool.or(rule.rdr.as_ref().map(|p| (p, PoolUse::Rdr))) {
        *out += " -> ";
        let binat = matches!(
            rule.kind,
            RuleKind::Translation {
                kind: TranslationKind::Binat,
                ..
            }
        );
        let usage = if binat { PoolUse::Route } else { usage };
        print_pool(out, pool, (rule.af, usage), style);
    }
}

/// True for `(if gw)`, which stands before the family.
fn has_early_route(rule: &Rule) -> bool {
    let pool = rule.route.as_ref().map(|(_, pool)| pool);
    pool.is_some_and(|p| p.hosts.iter().any(|h| h.via.is_some()))
}

fn print_route(out: &mut String, rule: &Rule, style: &Style<'_>) {
    let Some((kind, pool)) = &rule.route else {
        return;
    };
    *out += match kind {
        RouteKind::Route => " route-to ",
        RouteKind::Reply => " reply-to ",
        RouteKind::Dup => " dup-to ",
    };
    print_pool(out, pool, (rule.af, PoolUse::Route), style);
    if rule.prefer_ipv6_nexthop {
        *out += " prefer-ipv6-nexthop";
    }
}

fn print_pool(
    out: &mut String,
    pool: &Pool,
    (af, usage): (Option<Af>, PoolUse),
    style: &Style<'_>,
) {
    match (&pool.table, pool.hosts.as_slice()) {
        (Some(table), _) => print_addr_counted(out, &Addr::Table(table.clone()), af, style),
        (None, [one]) => print_target(out, one, af, style),
        (None, several) => {
            *out += "{ ";
            for (n, host) in several.iter().enumerate() {
                *out += if n > 0 { ", " } else { "" };
                print_target(out, host, af, style);
            }
            *out += " }";
        }
    }
    let (low, high) = pool.ports;
    match usage {
        PoolUse::Nat if pool.ports != NAT_PORTS && pool.ports != (0, 0) => match low == high {
            true => put!(out, " port {low}"),
            false => put!(out, " port {low}:{high}"),
        },
        PoolUse::Rdr if low != 0 => {
            put!(out, " port {low}");
            if high != 0 && high != low {
                put!(out, ":{high}");
            }
        }
        _ => {}
    }
    print_pool_opts(out, pool, usage);
}

fn print_target(out: &mut String, host: &Host, af: Option<Af>, style: &Style<'_>) {
    match &host.via {
        Some(interface) => {
            put!(out, "({interface}");
            if host.addr != Addr::Any {
                *out += " ";
                print_addr_counted(out, &host.addr, af, style);
            }
            *out += ")";
        }
        None => print_addr_counted(out, &host.addr, af, style),
    }
}

fn print_pool_opts(out: &mut String, pool: &Pool, usage: PoolUse) {
    match pool.kind {
        PoolKind::None => {}
        PoolKind::Bitmask => *out += " bitmask",
        PoolKind::Random => *out += " random",
        PoolKind::SourceHash => {
            let [a, b, c, d] = pool.key.unwrap_or_default();
            put!(out, " source-hash 0x{a:08x}{b:08x}{c:08x}{d:08x}");
        }
        PoolKind::RoundRobin => *out += " round-robin",
        PoolKind::LeastStates => *out += " least-states",
    }
    if pool.sticky {
        *out += " sticky-address";
    }
    if pool.endpoint_independent {
        *out += " endpoint-independent";
    }
    if usage == PoolUse::Nat && pool.ports == (0, 0) {
        *out += " static-port";
    }
    if let Some((offset, length, id)) = pool.map_e {
        put!(out, " map-e-portset {offset}/{length}/{id}");
    }
}

/// The macros of labels and tags with their values; `$nr` is known later.
pub(crate) fn label_macros(rule: &Rule, known: &Known<'_>) -> Vec<(&'static str, String)> {
    let interface = match &rule.on {
        Some((kind, _)) => if_text(kind),
        None => "any".into(),
    };
    let number = rule.proto.unwrap_or(0);
    let proto = match known.protocol_name(number) {
        Some(name) => name.to_string(),
        None => number.to_string(),
    };
    vec![
        ("$if", interface),
        ("$srcaddr", label_addr(&rule.src, rule.af)),
        ("$dstaddr", label_addr(&rule.dst, rule.af)),
        ("$srcport", label_port(rule.src.port)),
        ("$dstport", label_port(rule.dst.port)),
        ("$proto", proto),
    ]
}

fn label_addr(end: &End, af: Option<Af>) -> String {
    let mut out = String::from(if end.not { "! " } else { "" });
    match (&end.addr, af) {
        (Addr::Masked { .. }, None) => out += "any",
        (Addr::Range { .. } | Addr::RouteLabel(_), _) => out += "?",
        (Addr::Dynamic(dynamic), _) => put!(out, "({})", dynamic.name),
        (addr, af) => print_addr(&mut out, addr, af),
    }
    out
}

/// A range `a:b` gives nothing, as in PF.
fn label_port(port: Option<PortRange>) -> String {
    let Some(port) = port else {
        return String::new();
    };
    let (a, b) = (port.a, port.b);
    match port.op {
        PortOp::Eq => a.to_string(),
        PortOp::Ne => format!("!={a}"),
        PortOp::Lt => format!("<{a}"),
        PortOp::Le => format!("<={a}"),
        PortOp::Gt => format!(">{a}"),
        PortOp::Ge => format!(">={a}"),
        PortOp::Range => String::new(),
        PortOp::Inside => format!("{a}><{b}"),
        PortOp::Outside => format!("{a}<>{b}"),
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
