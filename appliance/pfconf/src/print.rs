//! Rules as `pfctl -s rules` prints them. What is printed here is parsed again to the same rules.

mod ether;
mod label;
mod options;
mod pool;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ruleset::{Af, Direction, PortOp, PortRange};

use crate::ast::{ActionKind, AnchorKind, LogSpec, TranslationKind};
use crate::environment::Known;
use crate::lex::is_bare_name;
use crate::policy::{Addr, Dynamic, End, Host, IfItemKind, Reply, Rule, RuleKind};

use ether::print_ether;
pub(crate) use label::label_macros;
use options::{print_labels, print_old_scrub, print_options, print_tags};
use pool::{print_route, print_translation};

/// A text in quotes. PF has an escape for the quote, and none is needed for anything else.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}

/// One or more names as they are; in quotes if they would not be read as names.
fn names(text: &str) -> String {
    match text.split(' ').all(is_bare_name) {
        true => text.to_string(),
        false => quoted(text),
    }
}

/// Appends; writing to a `String` cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{
        let _infallible = std::fmt::Write::write_fmt($out, format_args!($($arg)*));
    }};
}
use put;

/// What `pfctl -sr` is told by its switches.
pub(crate) struct Style<'a> {
    pub(crate) known: &'a Known<'a>,
    /// The rules are FreeBSD's: options stand in its order, and nothing that is the default is left out.
    pub(crate) freebsd: bool,
    /// Ports by their names.
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
    /// In the form of the tree's system.
    pub(crate) fn plain(known: &'a Known<'a>) -> Self {
        Style::of(known, known.env.freebsd)
    }

    /// As it is printed without switches: FreeBSD names ports, OpenBSD does not.
    pub(crate) fn of(known: &'a Known<'a>, freebsd: bool) -> Self {
        Style {
            known,
            freebsd,
            port_names: freebsd,
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
        // Braces without a name stay, even with nothing between them.
        let unnamed = matches!(rule.kind, RuleKind::Anchor { name: None, .. });
        if let Some(body) = rule.body.as_ref().filter(|b| unnamed || !b.is_empty()) {
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

/// True for `(if gw)`, which stands before the family; in FreeBSD every route does.
fn has_early_route(rule: &Rule, style: &Style<'_>) -> bool {
    let pool = rule.route.as_ref().map(|(_, pool)| pool);
    pool.is_some_and(|p| style.freebsd || p.hosts.iter().any(|h| h.via.is_some()))
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
    match crate::names::icmp_code_name(af, icmp_type, code) {
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
    if has_early_route(rule, style) {
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

/// Only a port that is compared for equality has a name.
fn port_text(port: PortRange, proto: Option<u8>, style: &Style<'_>) -> String {
    let named = style.port_names && matches!(port.op, PortOp::Eq | PortOp::Ne);
    let name = match named {
        true => style.known.service_name(port.a, proto),
        false => None,
    };
    let a = name.map_or_else(|| port.a.to_string(), String::from);
    match port.op {
        PortOp::Eq => format!("= {a}"),
        PortOp::Ne => format!("!= {a}"),
        PortOp::Lt => format!("< {a}"),
        PortOp::Le => format!("<= {a}"),
        PortOp::Gt => format!("> {a}"),
        PortOp::Ge => format!(">= {a}"),
        PortOp::Range => format!("{}:{}", port.a, port.b),
        PortOp::Inside => format!("{} >< {}", port.a, port.b),
        PortOp::Outside => format!("{} <> {}", port.a, port.b),
    }
}
