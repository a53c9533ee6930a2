//! Rules for Ethernet frames as FreeBSD's pfctl prints them.

use crate::ast::{ActionKind, Mac};
use crate::policy::{Ether, Rule};

use super::{Style, print_direction, print_from_to, print_labels, print_on, print_tags, put};

pub(super) fn print_ether(out: &mut String, rule: &Rule, ether: &Ether, style: &Style<'_>) {
    *out += "ether ";
    match (&ether.anchor, ether.action) {
        (Some(Some(name)), _) => put!(out, "anchor \"{name}\""),
        (Some(None), _) => *out += "anchor",
        (None, ActionKind::Pass) => *out += "pass",
        (None, ActionKind::Block) => *out += "block",
        (None, ActionKind::Match) => *out += "match",
    }
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
    print_labels(out, rule);
    if let Some((queue, _)) = &rule.queue {
        put!(out, " queue {queue}");
    }
    print_tags(out, rule);
    if let Some(dummynet) = rule.dummynet {
        put!(out, " {} {}", dummynet.word(), dummynet.forward);
    }
}

/// An address, with `/bits` or `&mask` if the mask is not the whole.
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
