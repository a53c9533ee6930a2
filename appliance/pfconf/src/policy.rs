//! Rules after expansion: every list is gone, every address is known, and names are kept where the print needs
//! them. `expand` makes them, `check` judges them, `print` and `lower` read them.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

pub(crate) use ruleset::IdRange;
use ruleset::{Af, Direction, PortRange, Timeout};

use crate::ast::{
    ActionKind, AnchorKind, Dummynet, IfItem, KeepKind, LimiterUse, LogSpec, Mac, PoolKind,
    RouteKind, ScrubOpts, TranslationKind,
};
use crate::source::Span;

/// An address as a rule or a table holds it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Addr {
    #[default]
    Any,
    Masked {
        af: Af,
        addr: u128,
        /// May be more than the family has; `check` refuses that.
        bits: u8,
    },
    Range {
        af: Af,
        low: u128,
        high: u128,
    },
    Dynamic(Dynamic),
    Table(String),
    NoRoute,
    UrpfFailed,
    RouteLabel(String),
}

/// `(em0:network)/24`
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Dynamic {
    pub(crate) name: String,
    pub(crate) mods: Modifiers,
    /// 128 if none were given.
    pub(crate) bits: u8,
}

/// What stands after an interface's name: `:network`, `:broadcast`, `:peer`, `:0`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Modifiers {
    pub(crate) network: bool,
    pub(crate) broadcast: bool,
    pub(crate) peer: bool,
    pub(crate) no_alias: bool,
}

/// An address with what belongs to it.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Host {
    pub(crate) addr: Addr,
    pub(crate) not: bool,
    /// Interface that a link-local address is valid on.
    pub(crate) scope: Option<String>,
    pub(crate) weight: u16,
    /// Interface in front of it in the old `(if gw)`.
    pub(crate) via: Option<String>,
    pub(crate) span: Span,
}

impl Host {
    pub(crate) fn af(&self) -> Option<Af> {
        match self.addr {
            Addr::Masked { af, .. } | Addr::Range { af, .. } => Some(af),
            _ => None,
        }
    }
}

/// `from` or `to` of one rule.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct End {
    pub(crate) addr: Addr,
    pub(crate) not: bool,
    pub(crate) port: Option<PortRange>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Reply {
    Drop,
    Return,
    Rst { ttl: u8 },
    Icmp { v4: (u8, u8), v6: (u8, u8) },
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct StateOpts {
    pub(crate) max: u32,
    pub(crate) no_sync: bool,
    /// `source-track`; true for `rule`.
    pub(crate) source_track: Option<bool>,
    pub(crate) max_src_states: u32,
    pub(crate) max_src_conn: u32,
    pub(crate) max_src_conn_rate: Option<(u32, u32)>,
    pub(crate) max_src_nodes: u32,
    pub(crate) overload: Option<(String, bool, bool)>,
    pub(crate) if_bound: bool,
    pub(crate) sloppy: bool,
    pub(crate) pflow: bool,
    /// In the order of the classes; 0 is not set.
    pub(crate) timeouts: [u32; Timeout::ALL.len()],
}

/// Targets of a translation or of routing.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Pool {
    pub(crate) hosts: Vec<Host>,
    /// Name of the automatic table that stands for several targets.
    pub(crate) table: Option<String>,
    pub(crate) kind: PoolKind,
    pub(crate) key: Option<[u32; 4]>,
    pub(crate) sticky: bool,
    pub(crate) static_port: bool,
    pub(crate) ports: (u16, u16),
    pub(crate) map_e: Option<(u8, u8, u16)>,
    pub(crate) endpoint_independent: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Divert {
    To {
        addr: u128,
        af: Af,
        port: u16,
    },
    Reply,
    Packet {
        port: u16,
    },
    /// FreeBSD's `divert-to`: what `Packet` is, in its own words.
    Socket {
        port: u16,
    },
}

/// What an anchor rule calls.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct AnchorCall {
    /// Path from the main ruleset, without a slash in front.
    pub(crate) path: String,
    /// `path/*`: the anchors directly below it, in the order of their names.
    pub(crate) children: bool,
}

/// What few rules have, and what all rules of one list have in common: one copy until one of them changes it.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Shared<T>(Rc<T>);

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Shared(Rc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Rc::make_mut(&mut self.0)
    }
}

/// What kind of rule it is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum RuleKind {
    Filter(ActionKind),
    Anchor {
        name: Option<String>,
        kind: AnchorKind,
        call: AnchorCall,
    },
    Translation {
        kind: TranslationKind,
        no: bool,
        pass: bool,
    },
    Scrub {
        no: bool,
        fragment: &'static str,
    },
    Ether(Ether),
}

impl RuleKind {
    /// What an anchor of any kind calls.
    pub(crate) fn call(&self) -> Option<&AnchorCall> {
        match self {
            RuleKind::Anchor { call, .. } => Some(call),
            RuleKind::Ether(ether) => ether.call.as_ref(),
            _ => None,
        }
    }

    /// Place of the ruleset that the rule belongs to: Ethernet, scrub, nat, rdr, binat, filter.
    pub(crate) fn group(&self) -> u8 {
        match self {
            RuleKind::Ether(_) => 0,
            RuleKind::Scrub { .. } => 1,
            RuleKind::Translation { kind, .. } => match kind {
                TranslationKind::Nat => 2,
                TranslationKind::Rdr => 3,
                TranslationKind::Binat => 4,
            },
            RuleKind::Anchor { kind, .. } => match kind {
                AnchorKind::Scrub => 1,
                AnchorKind::Nat => 2,
                AnchorKind::Rdr => 3,
                AnchorKind::Binat => 4,
                AnchorKind::Filter => 5,
            },
            RuleKind::Filter(_) => 5,
        }
    }
}

/// The layer-2 half of a rule for Ethernet frames.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Ether {
    pub(crate) action: ActionKind,
    /// It is an anchor, with this name or none.
    pub(crate) anchor: Option<Option<String>>,
    /// What that calls.
    pub(crate) call: Option<AnchorCall>,
    pub(crate) bridge_to: Option<String>,
    pub(crate) proto: Option<u16>,
    pub(crate) src: Option<Mac>,
    pub(crate) dst: Option<Mac>,
}

/// One rule.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Rule {
    pub(crate) kind: RuleKind,
    pub(crate) span: Span,
    pub(crate) reply: Reply,
    pub(crate) direction: Option<Direction>,
    pub(crate) log: Option<LogSpec>,
    pub(crate) quick: bool,
    pub(crate) on: Option<(IfItemKind, bool)>,
    pub(crate) af: Option<Af>,
    pub(crate) proto: Option<u8>,
    pub(crate) src: End,
    pub(crate) dst: End,
    pub(crate) os: Option<String>,
    pub(crate) received_on: Option<(IfItemKind, bool)>,
    pub(crate) user: Option<IdRange>,
    pub(crate) group: Option<IdRange>,
    /// Set and mask; none is no test of flags.
    pub(crate) flags: Option<(u8, u8)>,
    /// Type, code, and true for `icmp6-type`.
    pub(crate) icmp: Option<(u8, Option<u8>, bool)>,
    pub(crate) tos: Option<u8>,
    pub(crate) prio: Option<u8>,
    pub(crate) max_pkt_rate: Option<(u32, u32)>,
    /// Longest packet in bytes, IP header included (FreeBSD).
    pub(crate) max_pkt_size: Option<u16>,
    pub(crate) set_prio: Option<(u8, u8)>,
    pub(crate) set_tos: Option<u8>,
    pub(crate) delay: Option<u16>,
    pub(crate) queue: Option<(String, Option<String>)>,
    pub(crate) keep: KeepKind,
    pub(crate) state: Shared<StateOpts>,
    pub(crate) probability: Option<u32>,
    pub(crate) fragment: bool,
    pub(crate) scrub: ScrubOpts,
    pub(crate) allow_opts: bool,
    pub(crate) label: Option<String>,
    /// FreeBSD allows more than one.
    pub(crate) more_labels: Vec<String>,
    pub(crate) dummynet: Option<Dummynet>,
    pub(crate) once: bool,
    pub(crate) tag: Option<String>,
    pub(crate) tagged: Option<(String, bool)>,
    pub(crate) rtable: Option<u32>,
    pub(crate) divert: Option<Divert>,
    /// Family after `af-to`.
    pub(crate) naf: Option<Af>,
    pub(crate) nat: Option<Shared<Pool>>,
    pub(crate) rdr: Option<Shared<Pool>>,
    pub(crate) route: Option<(RouteKind, Shared<Pool>)>,
    pub(crate) state_limiter: Option<LimiterUse>,
    pub(crate) source_limiter: Option<LimiterUse>,
    pub(crate) ridentifier: Option<u32>,
    pub(crate) prefer_ipv6_nexthop: bool,
    /// Rules inside the braces of an anchor.
    pub(crate) body: Option<Vec<Rule>>,
    /// Where the options stand that some message may have to point at.
    pub(crate) places: Places,
}

/// Places of options by the name that messages give them. Rules are equal wherever their options stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(pub(crate) Rc<Vec<(&'static str, Span)>>);

impl PartialEq for Places {
    fn eq(&self, _: &Places) -> bool {
        true
    }
}

impl Places {
    /// The place of an option, or that of the whole rule.
    pub(crate) fn of(&self, option: &str, rule: Span) -> Span {
        let found = self.0.iter().find(|p| p.0 == option);
        found.map_or(rule, |p| p.1)
    }
}

/// Name after `on`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum IfItemKind {
    Name(String),
    Any,
    Rdomain(u32),
}

impl IfItemKind {
    pub(crate) fn of(item: &IfItem) -> Self {
        match &item.kind {
            crate::ast::IfKind::Name(n) | crate::ast::IfKind::Dynamic(n) => {
                IfItemKind::Name(n.clone())
            }
            crate::ast::IfKind::Any => IfItemKind::Any,
            crate::ast::IfKind::Rdomain(n) => IfItemKind::Rdomain(*n),
        }
    }
}

impl Rule {
    /// A rule that matches everything.
    pub(crate) fn new(kind: RuleKind, span: Span) -> Self {
        Rule {
            kind,
            span,
            reply: Reply::Drop,
            direction: None,
            log: None,
            quick: false,
            on: None,
            af: None,
            proto: None,
            src: End::default(),
            dst: End::default(),
            os: None,
            received_on: None,
            user: None,
            group: None,
            flags: None,
            icmp: None,
            tos: None,
            prio: None,
            max_pkt_rate: None,
            max_pkt_size: None,
            set_prio: None,
            set_tos: None,
            delay: None,
            queue: None,
            keep: KeepKind::No,
            state: Shared::default(),
            probability: None,
            fragment: false,
            scrub: ScrubOpts::default(),
            allow_opts: false,
            label: None,
            more_labels: Vec::new(),
            dummynet: None,
            once: false,
            tag: None,
            tagged: None,
            rtable: None,
            divert: None,
            naf: None,
            nat: None,
            rdr: None,
            route: None,
            state_limiter: None,
            source_limiter: None,
            ridentifier: None,
            prefer_ipv6_nexthop: false,
            body: None,
            places: Places::default(),
        }
    }

    pub(crate) fn action(&self) -> Option<ActionKind> {
        match self.kind {
            RuleKind::Filter(action) => Some(action),
            _ => None,
        }
    }

    pub(crate) fn keeps_state(&self) -> bool {
        self.keep != KeepKind::No
    }
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// Path of the anchor that it belongs to; empty for the main ruleset.
    pub(crate) anchor: String,
    pub(crate) constant: bool,
    pub(crate) persist: bool,
    pub(crate) counters: bool,
    /// Addresses from braces and files; empty for a table that only rules name.
    pub(crate) entries: Vec<Host>,
    /// Keeps its contents over a reload: neither braces nor a file were given.
    pub(crate) keeps_contents: bool,
    pub(crate) span: Span,
}
