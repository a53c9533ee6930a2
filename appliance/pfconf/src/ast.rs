//! What was written, statement by statement, with its places. Names are still names, lists still lists.
//! `parse` builds it, `expand` takes it apart.

use ruleset::{Af, Direction, PortOp};

use crate::source::Span;

/// A piece of text with its place.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// A number with its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Num {
    pub(crate) n: i64,
    pub(crate) span: Span,
}

/// A statement and its place.
#[derive(Debug)]
pub(crate) struct Stmt {
    pub(crate) node: Node,
    pub(crate) span: Span,
    /// Line of the line feed that ended it, where pfctl places errors of meaning.
    pub(crate) line: u32,
}

#[derive(Debug)]
pub(crate) enum Node {
    Macro {
        name: Text,
        value: String,
    },
    Set(SetOption),
    Table(TableDef),
    Rule(Box<RuleStmt>),
    Anchor(Box<AnchorStmt>),
    LoadAnchor {
        name: Text,
        file: Text,
    },
    Antispoof(Antispoof),
    Queue(Box<QueueDef>),
    StateLimiter(StateLimiter),
    SourceLimiter(SourceLimiter),
    /// `nat`, `rdr`, `binat` of the old dialect, and their `no` forms.
    Translation(Box<Translation>),
    /// `scrub` of the old dialect.
    Scrub(Box<ScrubStmt>),
    Ether(Box<EtherStmt>),
    /// `altq on em0 … bandwidth 10Mb …`, recognized only to be refused well.
    Altq {
        on: Option<String>,
        bandwidth: Option<String>,
    },
    /// A `queue` below an `altq`.
    AltqQueue,
}

// ---- options ----------------------------------------------------------------------------------------------

#[derive(Debug)]
pub(crate) enum SetOption {
    BlockPolicy {
        returns: bool,
    },
    Debug(Text),
    Fingerprints(Text),
    HostId(u32),
    Limits(Vec<(Text, Num)>),
    LogInterface(Text),
    Optimization(Text),
    Reassemble {
        on: bool,
        no_df: bool,
    },
    /// FreeBSD: the order of statements; there is none here.
    RequireOrder {
        on: bool,
    },
    RulesetOptimization(Text),
    SkipOn(Vec<IfItem>),
    StateDefaults(Vec<StateOpt>),
    StatePolicy {
        if_bound: bool,
    },
    Syncookies {
        mode: Text,
        /// Percent of the limit of states at which they begin and end.
        watermarks: Option<(u8, u8)>,
    },
    Timeouts(Vec<(Text, Num)>),
    /// FreeBSD only; printed as given, without effect here.
    FailPolicy {
        returns: bool,
    },
    KeepCounters,
}

// ---- tables -----------------------------------------------------------------------------------------------

#[derive(Debug)]
pub(crate) struct TableDef {
    pub(crate) name: Text,
    pub(crate) constant: bool,
    pub(crate) persist: bool,
    pub(crate) counters: bool,
    pub(crate) sources: Vec<TableSource>,
}

#[derive(Debug)]
pub(crate) enum TableSource {
    File(Text),
    List(Vec<Host>),
}

// ---- rules ------------------------------------------------------------------------------------------------

#[derive(Debug)]
pub(crate) struct RuleStmt {
    pub(crate) action: ActionSpec,
    pub(crate) head: Head,
    pub(crate) opts: FilterOpts,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum ActionKind {
    Pass,
    Block,
    Match,
}

#[derive(Clone, Debug)]
pub(crate) struct ActionSpec {
    pub(crate) kind: ActionKind,
    pub(crate) reply: ReplySpec,
}

/// What stands after `block`.
#[derive(Clone, Debug)]
pub(crate) enum ReplySpec {
    /// Nothing: `set block-policy` decides.
    Policy,
    Drop,
    Return,
    Rst {
        ttl: u8,
    },
    /// Types and codes; a family without one keeps port-unreachable.
    Icmp {
        v4: Option<(u8, u8)>,
        v6: Option<(u8, u8)>,
    },
    /// `return-icmp6`
    Icmp6 {
        v6: Option<(u8, u8)>,
    },
}

/// The part of a rule up to the addresses: fixed order.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) direction: Option<Direction>,
    pub(crate) log: Option<LogSpec>,
    pub(crate) quick: bool,
    pub(crate) on: Vec<IfItem>,
    /// `route-to (if gw)` of the old dialect, before the family.
    pub(crate) route: Option<RouteSpec>,
    /// FreeBSD: an IPv6 next hop for IPv4 packets.
    pub(crate) prefer_ipv6_nexthop: bool,
    pub(crate) af: Option<Af>,
    pub(crate) proto: Vec<Proto>,
    pub(crate) from: Side,
    pub(crate) os: Vec<Text>,
    pub(crate) to: Side,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogSpec {
    pub(crate) all: bool,
    pub(crate) matches: bool,
    pub(crate) user: bool,
    /// `to pflogN`
    pub(crate) to: u8,
}

/// One item after `on`.
#[derive(Clone, Debug)]
pub(crate) struct IfItem {
    pub(crate) kind: IfKind,
    pub(crate) not: bool,
    pub(crate) span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum IfKind {
    Name(String),
    Any,
    Rdomain(u32),
    /// `(em0)`, antispoof only
    Dynamic(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Proto {
    pub(crate) value: NameOrNumber,
    pub(crate) span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum NameOrNumber {
    Name(String),
    Number(i64),
}

/// `from` or `to`: no hosts means any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    pub(crate) hosts: Vec<Host>,
    pub(crate) ports: Vec<Port>,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Host {
    pub(crate) kind: HostKind,
    pub(crate) not: bool,
    /// `weight n` in a pool.
    pub(crate) weight: u16,
    pub(crate) span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum HostKind {
    /// Address, interface with modifiers, `self` or host name, and the number after `/`.
    Name {
        text: String,
        bits: Option<i64>,
    },
    Range {
        from: String,
        to: String,
    },
    /// `(if)`
    Dynamic {
        text: String,
        bits: Option<i64>,
    },
    Table(String),
    NoRoute,
    UrpfFailed,
    RouteLabel(String),
    /// `(if gw)` of the old dialect.
    Via {
        interface: String,
        gateway: Option<Box<Host>>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) op: PortOp,
    pub(crate) a: String,
    pub(crate) b: Option<String>,
    pub(crate) span: Span,
}

/// `user` and `group` items.
#[derive(Clone, Debug)]
pub(crate) struct Id {
    pub(crate) op: PortOp,
    pub(crate) a: NameOrNumber,
    pub(crate) b: Option<NameOrNumber>,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Icmp {
    pub(crate) icmp6: bool,
    pub(crate) icmp_type: u8,
    pub(crate) code: Option<u8>,
}

/// The part of a rule after the addresses: any order, mostly once each.
#[derive(Debug, Default)]
pub(crate) struct FilterOpts {
    pub(crate) user: Vec<Id>,
    pub(crate) group: Vec<Id>,
    /// Set and mask; `flags any` is (0, 0).
    pub(crate) flags: Option<(u8, u8, Span)>,
    pub(crate) icmp: Vec<Icmp>,
    pub(crate) icmp_span: Option<Span>,
    pub(crate) tos: Option<(u8, Span)>,
    pub(crate) prio: Option<(u8, Span)>,
    pub(crate) keep: Option<Keep>,
    pub(crate) fragment: Option<Span>,
    pub(crate) allow_opts: Option<Span>,
    pub(crate) label: Option<Text>,
    /// FreeBSD allows more than one.
    pub(crate) more_labels: Vec<Text>,
    pub(crate) dummynet: Option<(Dummynet, Span)>,
    pub(crate) max_pkt_size: Option<(u16, Span)>,
    pub(crate) queue: Option<QueueNames>,
    pub(crate) tag: Option<Text>,
    pub(crate) tagged: Option<(Text, bool)>,
    pub(crate) probability: Option<u32>,
    pub(crate) rtable: Option<Num>,
    pub(crate) divert: Option<(Divert, Span)>,
    pub(crate) scrub: Option<(ScrubOpts, Span)>,
    pub(crate) nat: Option<Redirect>,
    pub(crate) rdr: Option<Redirect>,
    pub(crate) binat: Option<Redirect>,
    pub(crate) af_to: Option<AfTo>,
    pub(crate) route: Option<RouteSpec>,
    pub(crate) received_on: Option<IfItem>,
    pub(crate) once: Option<Span>,
    pub(crate) max_pkt_rate: Option<(u32, u32, Span)>,
    pub(crate) set_prio: Option<(u8, u8, Span)>,
    pub(crate) set_tos: Option<(u8, Span)>,
    pub(crate) delay: Option<(u16, Span)>,
    pub(crate) state_limiter: Option<LimiterUse>,
    pub(crate) source_limiter: Option<LimiterUse>,
    /// Options of FreeBSD that are printed in its way.
    pub(crate) ridentifier: Option<(u32, Span)>,
    pub(crate) prefer_ipv6_nexthop: Option<Span>,
}

#[derive(Clone, Debug)]
pub(crate) struct QueueNames {
    pub(crate) name: Text,
    pub(crate) priority: Option<Text>,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Divert {
    To {
        host: Text,
        port: String,
    },
    /// `divert-to port` of FreeBSD's print.
    Socket {
        port: String,
    },
    Reply,
    Packet {
        port: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ScrubOpts {
    pub(crate) no_df: bool,
    pub(crate) random_id: bool,
    pub(crate) min_ttl: u8,
    pub(crate) max_mss: u16,
    pub(crate) reassemble_tcp: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum KeepKind {
    No,
    Keep,
    Modulate,
    Synproxy,
}

#[derive(Clone, Debug)]
pub(crate) struct Keep {
    pub(crate) kind: KeepKind,
    pub(crate) opts: Vec<StateOpt>,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct StateOpt {
    pub(crate) kind: StateOptKind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum StateOptKind {
    Max(u32),
    NoSync,
    SourceTrack {
        rule: bool,
    },
    MaxSrcStates(u32),
    MaxSrcConn(u32),
    MaxSrcConnRate {
        limit: u32,
        seconds: u32,
    },
    MaxSrcNodes(u32),
    Overload {
        table: Text,
        flush: bool,
        global: bool,
    },
    IfBound,
    Floating,
    Sloppy,
    Pflow,
    Timeout(ruleset::Timeout, u32),
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) enum PoolKind {
    #[default]
    None,
    Bitmask,
    Random,
    SourceHash,
    RoundRobin,
    LeastStates,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PoolOpts {
    pub(crate) kind: PoolKind,
    /// `source-hash` key as written.
    pub(crate) key: Option<Text>,
    pub(crate) sticky: bool,
    pub(crate) static_port: bool,
    /// FreeBSD's `map-e-portset`: offset, length, id.
    pub(crate) map_e: Option<(u8, u8, u16)>,
    pub(crate) endpoint_independent: bool,
}

/// `nat-to`, `rdr-to`, `binat-to` and the right side of `->`.
#[derive(Clone, Debug)]
pub(crate) struct Redirect {
    pub(crate) hosts: Vec<Host>,
    pub(crate) port: Option<TargetPort>,
    pub(crate) pool: PoolOpts,
    pub(crate) span: Span,
}

/// `port a`, `port a:b`, `port a:*`
#[derive(Clone, Debug)]
pub(crate) struct TargetPort {
    pub(crate) low: String,
    pub(crate) high: Option<String>,
    pub(crate) star: bool,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct AfTo {
    pub(crate) af: Af,
    pub(crate) from: Redirect,
    pub(crate) to: Option<Redirect>,
    pub(crate) span: Span,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum RouteKind {
    Route,
    Reply,
    Dup,
}

#[derive(Clone, Debug)]
pub(crate) struct RouteSpec {
    pub(crate) kind: RouteKind,
    pub(crate) hosts: Vec<Host>,
    pub(crate) pool: PoolOpts,
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LimiterUse {
    pub(crate) name: LimiterRef,
    /// `block` or `no-match` in parentheses.
    pub(crate) no_match: Option<bool>,
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LimiterRef {
    Name(String),
    Id(u32),
}

// ---- anchors, antispoof, queues, limiters -----------------------------------------------------------------

#[derive(Debug)]
pub(crate) struct AnchorStmt {
    pub(crate) name: Option<Text>,
    pub(crate) head: Head,
    pub(crate) opts: FilterOpts,
    pub(crate) body: Option<Vec<Stmt>>,
    /// Which rules of the anchor run: `nat-anchor`, `rdr-anchor` … of the old dialect.
    pub(crate) kind: AnchorKind,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum AnchorKind {
    Filter,
    Nat,
    Rdr,
    Binat,
    Scrub,
}

#[derive(Debug)]
pub(crate) struct Antispoof {
    pub(crate) log: Option<LogSpec>,
    pub(crate) quick: bool,
    pub(crate) interfaces: Vec<IfItem>,
    pub(crate) af: Option<Af>,
    pub(crate) label: Option<Text>,
    pub(crate) more_labels: Vec<Text>,
    pub(crate) ridentifier: Option<(u32, Span)>,
    pub(crate) rtable: Option<Num>,
}

#[derive(Debug)]
pub(crate) struct QueueDef {
    pub(crate) name: Text,
    pub(crate) interfaces: Vec<IfItem>,
    pub(crate) parent: Option<Text>,
    pub(crate) bandwidth: Option<Curve>,
    pub(crate) min: Option<Curve>,
    pub(crate) max: Option<Curve>,
    pub(crate) flows: Option<u32>,
    pub(crate) quantum: Option<u32>,
    pub(crate) default: bool,
    pub(crate) qlimit: Option<u32>,
}

/// A bandwidth with an optional burst: bits per second, milliseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Curve {
    pub(crate) rate: u64,
    pub(crate) burst: Option<(u64, u32)>,
}

#[derive(Debug)]
pub(crate) struct StateLimiter {
    pub(crate) name: Text,
    pub(crate) id: u32,
    pub(crate) limit: u32,
    pub(crate) rate: Option<(u32, u32)>,
}

#[derive(Debug)]
pub(crate) struct SourceLimiter {
    pub(crate) name: Text,
    pub(crate) id: u32,
    pub(crate) entries: u32,
    pub(crate) limit: u32,
    pub(crate) rate: Option<(u32, u32)>,
    pub(crate) mask4: Option<u8>,
    pub(crate) mask6: Option<u8>,
    pub(crate) table: Option<(Text, u32, Option<u32>)>,
}

// ---- the old dialect --------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum TranslationKind {
    Nat,
    Rdr,
    Binat,
}

#[derive(Debug)]
pub(crate) struct Translation {
    pub(crate) kind: TranslationKind,
    pub(crate) no: bool,
    pub(crate) pass: bool,
    pub(crate) head: Head,
    pub(crate) tag: Option<Text>,
    pub(crate) tagged: Option<(Text, bool)>,
    pub(crate) rtable: Option<Num>,
    pub(crate) target: Option<Redirect>,
}

#[derive(Debug)]
pub(crate) struct ScrubStmt {
    pub(crate) no: bool,
    pub(crate) head: Head,
    pub(crate) opts: ScrubOpts,
    pub(crate) set_tos: Option<u8>,
    pub(crate) rtable: Option<Num>,
    /// Printed words after `fragment`: `reassemble`, `crop`, `drop-ovl`, `no reassemble`.
    pub(crate) fragment: Option<&'static str>,
    pub(crate) tag: Option<Text>,
    pub(crate) tagged: Option<(Text, bool)>,
}

// ---- Ethernet rules of FreeBSD ----------------------------------------------------------------------------

#[derive(Debug)]
pub(crate) struct EtherStmt {
    pub(crate) action: ActionKind,
    /// `ether anchor`, with its name and its rules.
    pub(crate) anchor: Option<EtherAnchor>,
    pub(crate) head: Head,
    pub(crate) bridge_to: Option<String>,
    pub(crate) protocols: Vec<u16>,
    pub(crate) from: Vec<Mac>,
    pub(crate) to: Vec<Mac>,
    pub(crate) opts: FilterOpts,
}

#[derive(Debug)]
pub(crate) struct EtherAnchor {
    pub(crate) name: Option<Text>,
    pub(crate) body: Option<Vec<Stmt>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Mac {
    pub(crate) bytes: [u8; 6],
    pub(crate) mask: [u8; 6],
    pub(crate) not: bool,
}

/// FreeBSD's `dnpipe` and `dnqueue`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Dummynet {
    /// A pipe; otherwise a queue.
    pub(crate) pipe: bool,
    /// Number for packets in the direction of the rule.
    pub(crate) forward: u16,
    /// Number for their answers; 0 is none.
    pub(crate) backward: u16,
}

impl Dummynet {
    pub(crate) fn word(self) -> &'static str {
        if self.pipe { "dnpipe" } else { "dnqueue" }
    }
}
