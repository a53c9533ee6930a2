//! Targets of translation and routing, with their pool options.

use ruleset::Af;

use crate::ast::{PoolKind, RouteKind, TranslationKind};
use crate::policy::{Addr, Host, Pool, Rule, RuleKind};
use crate::pools::{NAT_PORTS, PoolUse};

use super::{Style, af_text, print_addr_counted, print_tags, put};

pub(super) fn print_translations(out: &mut String, rule: &Rule, style: &Style<'_>) {
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
pub(super) fn print_translation(out: &mut String, rule: &Rule, style: &Style<'_>) {
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

pub(super) fn print_route(out: &mut String, rule: &Rule, style: &Style<'_>) {
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
