//! What `$if`, `$srcaddr` and so on stand for in labels and tags.

use ruleset::{Af, PortOp, PortRange};

use crate::environment::Known;
use crate::policy::{Addr, End, Rule};

use super::{if_text, print_addr, put};

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
        (Addr::Dynamic(dynamic), _) => put!(&mut out, "({})", dynamic.name),
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
