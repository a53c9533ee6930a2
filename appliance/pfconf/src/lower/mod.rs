//! Policy to what the dataplane evaluates: names become numbers. What the dataplane cannot do yet is refused here,
//! never left out in silence.

mod actions;
mod anchor;
mod ether;
mod limits;
mod os;
mod pool;
mod route;
mod scrub;
mod translation;

use std::collections::{HashMap, HashSet};

use net::{GROUPS_MAX, KifId, NAMES_MAX};
use ruleset::{
    Action, AddrSpec, Af, BlockReply, Endpoint, Fragment, IcmpMatch, IfMatch, KeepState, Ruleset,
    StateOptions, TableEntry, TableFlags, TableId, TagId, TagMatch, TcpFlagsMatch, Timeout,
};

use crate::ast::{ActionKind, KeepKind};
use crate::environment::Known;
use crate::limiters::Limiters;
use crate::message::{Message, Messages};
use crate::policy::{
    Addr, Divert, Dynamic, End, Host, IfItemKind, Reply, Rule, RuleKind, StateOpts, Table,
};
use crate::settings::Settings;
use crate::source::{Sources, Span};
use crate::{Files, NoFiles};

pub(crate) use anchor::{Anchors, PlacedRule};

/// What stands beside the rules.
#[derive(Clone, Copy)]
pub(crate) struct Definitions<'a> {
    pub(crate) tables: &'a [Table],
    pub(crate) settings: &'a Settings,
    pub(crate) limiters: &'a Limiters,
}

/// Numbers of everything that a ruleset names.
pub(crate) struct Lowering<'a> {
    known: &'a Known<'a>,
    messages: &'a mut Messages,
    sources: &'a Sources,
    kifs: HashMap<String, KifId>,
    /// In the order in which they got their numbers.
    pub(crate) kif_names: Vec<(String, KifId)>,
    /// First numbers that are free: of interfaces, of groups.
    free: [usize; 2],
    /// By name, `name@path` for tables of anchors.
    table_ids: HashMap<String, TableId>,
    /// Path of the anchor whose rules are being lowered.
    anchor: String,
    tables: Vec<ruleset::Table>,
    tags: Vec<String>,
    /// Labels of routes that rules ask for.
    route_labels: Vec<String>,
    tag_ids: HashMap<String, TagId>,
    /// Places of what has been refused.
    refused: HashSet<(u32, u32, &'static str)>,
    signatures: os::Signatures<'a>,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(
        known: &'a Known<'a>,
        messages: &'a mut Messages,
        sources: &'a Sources,
    ) -> Self {
        let mut lowering = Lowering {
            known,
            messages,
            sources,
            kifs: HashMap::new(),
            kif_names: Vec::new(),
            free: [0; 2],
            table_ids: HashMap::new(),
            anchor: String::new(),
            tables: Vec::new(),
            tags: Vec::new(),
            route_labels: Vec::new(),
            tag_ids: HashMap::new(),
            refused: HashSet::new(),
            signatures: os::Signatures::new(&NoFiles, None),
        };
        for interface in &known.env.interfaces {
            lowering.number_kif(&interface.name, interface.kif);
        }
        for (name, kif) in &known.env.kifs {
            lowering.number_kif(name, *kif);
        }
        lowering
    }

    /// Where the list of operating systems comes from.
    pub(crate) fn with_signatures(
        mut self,
        files: &'a dyn Files,
        file: Option<(String, Span)>,
    ) -> Self {
        self.signatures = os::Signatures::new(files, file);
        self
    }

    fn number_kif(&mut self, name: &str, kif: KifId) {
        let (is_group, n, max) = match kif.group_number() {
            None => (0, usize::from(kif.0), NAMES_MAX),
            Some(n) => (1, usize::from(n), GROUPS_MAX),
        };
        if n >= max || self.kifs.contains_key(name) {
            return;
        }
        self.free[is_group] = self.free[is_group].max(n + 1);
        self.kif_names.push((name.into(), kif));
        self.kifs.insert(name.into(), kif);
    }

    /// The number of a name; a new name gets the next free one.
    fn kif(&mut self, name: &str, span: Span) -> KifId {
        if let Some(kif) = self.kifs.get(name) {
            return *kif;
        }
        let is_group = KifId::is_group_name(name);
        let n = self.free[usize::from(is_group)];
        let (max, what) = match is_group {
            true => (GROUPS_MAX, "groups"),
            false => (NAMES_MAX, "interfaces"),
        };
        if n >= max {
            let text = format!("more than {max} names of {what}");
            self.error(span, "interface-limit", text);
            return KifId::NONE;
        }
        let kif = match is_group {
            true => KifId::group(n as u16),
            false => KifId(n as u16),
        };
        self.number_kif(name, kif);
        kif
    }

    fn error(&mut self, span: Span, code: &'static str, text: impl Into<String>) {
        let message = Message::error(code, span, text);
        self.messages
            .add(message.to(crate::message::Audience::Person));
    }

    /// Once per place: a list gives many rules.
    fn unsupported(&mut self, span: Span, what: &'static str) {
        if !self.refused.insert((span.file.0, span.start, what)) {
            return;
        }
        self.error(span, "unsupported", format!("{what} is not supported yet"));
    }

    pub(crate) fn ruleset(
        &mut self,
        anchors: &Anchors<'_>,
        definitions: &Definitions<'_>,
        bounds: crate::Bounds,
    ) -> (Ruleset, Vec<u32>) {
        let Definitions {
            tables,
            settings,
            limiters,
        } = *definitions;
        for table in tables {
            self.table(table);
        }
        let anchor::Flattened {
            rules,
            numbers,
            scrub,
            ether,
        } = anchors.flatten(self, bounds.rules);
        let skipped = settings.skip.iter();
        let skip = skipped.map(|(name, span)| self.kif(name, *span)).collect();
        let ruleset = Ruleset {
            rules,
            // Built for the interfaces there are, when the ruleset is published.
            index: None,
            large: Vec::new(),
            // Known when the slots have been given.
            logs: false,
            early: ruleset::Early::default(),
            gates: ruleset::Gates::default(),
            plain: Vec::new(),
            targets: ruleset::Targets::default(),
            anchors: anchors.paths(),
            tables: std::mem::take(&mut self.tables),
            tags: std::mem::take(&mut self.tags),
            route_labels: std::mem::take(&mut self.route_labels),
            skip,
            timeouts: settings.final_timeouts(),
            // Slots are given by the control core, which knows what the rules before these had.
            rule_timeouts: Vec::new(),
            limits: settings.limits,
            fingerprints: self.fingerprints(),
            syncookies: settings.final_syncookies(),
            state_limiters: limiters.states.clone(),
            source_limiters: self.source_limiters(limiters),
            by_slot: Vec::new(),
            reassemble: settings.reassemble,
            reassemble_no_df: settings.reassemble_no_df,
            scrub,
            ether,
        };
        (ruleset, numbers)
    }

    fn table(&mut self, table: &Table) {
        let entries = table.entries.iter().filter_map(table_entry);
        let name = table_name(&table.anchor, &table.name);
        let mut lowered = ruleset::Table::new(&name, entries);
        lowered.flags = table_flags(table);
        let id = self.add_table(lowered, table.span);
        self.table_ids.insert(name, id);
    }

    /// The table that a rule names: that of its anchor, or the main ruleset's; none in between (pf.conf(5), ANCHORS).
    fn table_id(&self, name: &str) -> Option<TableId> {
        let own = self.table_ids.get(&table_name(&self.anchor, name));
        own.or_else(|| self.table_ids.get(name)).copied()
    }

    fn add_table(&mut self, table: ruleset::Table, span: Span) -> TableId {
        let Ok(n) = u16::try_from(self.tables.len()) else {
            self.error(span, "table-limit", "more than 65536 tables");
            return TableId(u16::MAX);
        };
        self.tables.push(table);
        TableId(n)
    }

    fn rule(&mut self, rule: &Rule) -> ruleset::Rule {
        self.refuse_unsupported(rule);
        let action = match rule.kind {
            RuleKind::Filter(ActionKind::Pass) => Action::Pass,
            RuleKind::Filter(ActionKind::Block) => Action::Block(reply(rule.reply)),
            // The end is known when its rules have been placed.
            RuleKind::Anchor { .. } => Action::Anchor { end: 0 },
            // The end is known when all of them have been placed.
            RuleKind::Translation { pass, .. } => Action::Translate { end: 0, pass },
            RuleKind::Ether(ref ether) => match ether.action {
                ActionKind::Pass => Action::Pass,
                ActionKind::Block => Action::Block(BlockReply::Drop),
                ActionKind::Match => Action::Match,
            },
            // The other kinds have been refused.
            _ => Action::Match,
        };
        let mut lowered = ruleset::Rule::new(action);
        lowered.line = self.sources.line(rule.span);
        lowered.quick = rule.quick;
        lowered.direction = rule.direction;
        lowered.on = self.interface(rule.on.as_ref(), rule.span);
        lowered.received_on = self.interface(rule.received_on.as_ref(), rule.span);
        lowered.af = rule.af;
        lowered.proto = rule.proto;
        lowered.src = self.endpoint(&rule.src, rule);
        lowered.dst = self.endpoint(&rule.dst, rule);
        lowered.os = self.os(rule);
        if let Some((set, mask)) = rule.flags {
            lowered.flags = TcpFlagsMatch { set, mask };
        }
        lowered.icmp = rule
            .icmp
            .map(|(icmp_type, code, _)| IcmpMatch { icmp_type, code });
        let ids: Vec<ruleset::IdRange> = rule.user.into_iter().chain(rule.group).collect();
        lowered.owner = ruleset::Owner::of(&ids);
        lowered.tos = rule.tos;
        lowered.prio = rule.prio;
        lowered.fragment = if rule.fragment {
            Fragment::Yes
        } else {
            Fragment::No
        };
        lowered.probability = rule.probability;
        lowered.tagged = rule.tagged.as_ref().map(|(name, not)| TagMatch {
            tag: self.tag(name, rule.span),
            negate: *not,
        });
        if let Some(name) = &rule.tag {
            lowered.tag = self.tag(name, rule.span);
        }
        lowered.actions = actions::actions(rule);
        lowered.log_to = rule.log.as_ref().map_or(0, |log| log.to);
        lowered.new_family = rule.naf;
        let af = rule.naf.or(rule.af);
        lowered.nat = rule.nat.as_ref().map(|p| self.pool(p, af).into());
        lowered.rdr = rule.rdr.as_ref().map(|p| self.pool(p, af).into());
        lowered.route = self.route(rule);
        lowered.allow_opts = rule.allow_opts;
        lowered.keep_state = match rule.keep {
            KeepKind::No => KeepState::No,
            KeepKind::Keep => KeepState::Keep,
            KeepKind::Modulate => KeepState::Modulate,
            KeepKind::Synproxy => KeepState::Synproxy,
        };
        lowered.state = state_options(&rule.state);
        lowered.state.source = self.source_track(&rule.state);
        lowered.limits = limits::rule_limits(rule);
        if let RuleKind::Translation { kind, .. } = rule.kind {
            self.old_translation(rule, kind, &mut lowered);
        }
        lowered
    }

    /// Everything that the dataplane would not do as asked.
    fn refuse_unsupported(&mut self, rule: &Rule) {
        self.refuse_bridge_to(rule);
        if matches!(rule.kind, RuleKind::Ether(_)) && rule.queue.is_some() {
            self.unsupported(rule.places.of("queue", rule.span), "queue");
        }
        self.refuse_missing_table(rule);
        if let Some(divert) = &rule.divert {
            self.refuse_divert(divert, rule.places.of("divert", rule.span));
        }
    }

    /// A table that no route was added to, of no domain that an interface is in (OpenBSD: DIOCXCOMMIT fails with EBUSY).
    fn refuse_missing_table(&mut self, rule: &Rule) {
        let (Some(rtable), Some(known)) = (rule.rtable, &self.known.env.rtables) else {
            return;
        };
        let span = rule.places.of("rtable", rule.span);
        if known.contains(&(rtable as u8))
            || !self.refused.insert((span.file.0, span.start, "rtable"))
        {
            return;
        }
        let text = format!("rtable {rtable} does not exist");
        let hint = format!(
            "put an interface into rdomain {rtable}, or add a route: !route -T {rtable} add ..."
        );
        let message = Message::error("rtable", span, text).hint(Some(hint));
        self.messages
            .add(message.to(crate::message::Audience::Person));
    }

    /// The number of a label of routes; a new one gets the next.
    fn route_label(&mut self, label: &str) -> u16 {
        let known = self.route_labels.iter().position(|l| l == label);
        let place = known.unwrap_or_else(|| {
            self.route_labels.push(label.into());
            self.route_labels.len() - 1
        });
        // There are fewer rules than would be needed for more; one too many matches nothing.
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    /// Diverting needs somebody on the box who takes what is diverted.
    fn refuse_divert(&mut self, divert: &Divert, span: Span) {
        if !self.refused.insert((span.file.0, span.start, "divert")) {
            return;
        }
        let (what, needs) = match divert {
            Divert::To { port, .. } => (
                format!(
                    "divert-to port {port}: no service of the firewall takes connections there"
                ),
                "send them to a host that runs the service: rdr-to ADDRESS port PORT",
            ),
            Divert::Reply => (
                "divert-reply: no service of the firewall opens connections in the name of others"
                    .into(),
                "leave it out: answers find their state without it",
            ),
            Divert::Packet { port } | Divert::Socket { port, .. } => (
                format!(
                    "divert-packet port {port}: no program runs on the firewall that could read the packets"
                ),
                "send a copy to a host that reads them: dup-to ADDRESS",
            ),
        };
        let message = Message::error("divert", span, what).hint(Some(needs.into()));
        self.messages
            .add(message.to(crate::message::Audience::Person));
    }

    fn interface(&mut self, on: Option<&(IfItemKind, bool)>, span: Span) -> Option<IfMatch> {
        let (kind, negate) = on?;
        match kind {
            IfItemKind::Any => Some(IfMatch::Any),
            IfItemKind::Name(name) => Some(IfMatch::Kif {
                kif: self.kif(name, span),
                negate: *negate,
            }),
            // The parser has refused larger numbers.
            IfItemKind::Rdomain(n) => Some(IfMatch::Rdomain {
                rdomain: *n as u8,
                negate: *negate,
            }),
        }
    }

    fn endpoint(&mut self, end: &End, rule: &Rule) -> Endpoint {
        let addr = match &end.addr {
            Addr::Any => AddrSpec::Any,
            Addr::RouteLabel(label) => AddrSpec::RouteLabel(self.route_label(label)),
            Addr::Masked { af, addr, bits } => AddrSpec::Masked {
                af: *af,
                addr: *addr,
                mask: ruleset::table::prefix_mask(*af, *bits),
            },
            Addr::Range { af, low, high } => AddrSpec::Range {
                af: *af,
                low: *low,
                high: *high,
            },
            Addr::Table(name) => match self.table_id(name) {
                Some(id) => AddrSpec::Table(id),
                None => AddrSpec::Never,
            },
            Addr::NoRoute => AddrSpec::NoRoute,
            Addr::UrpfFailed => AddrSpec::UrpfFailed,
            Addr::Dynamic(dynamic) => self.dynamic(dynamic, rule.af, rule.span),
        };
        Endpoint {
            addr,
            negate: end.not,
            port: end.port,
        }
    }

    /// `(em0)` stands for the addresses of this moment; the control core compiles again when they change.
    fn dynamic(&mut self, dynamic: &Dynamic, af: Option<Af>, span: Span) -> AddrSpec {
        let entries = crate::resolve::dynamic_entries(dynamic, self.known, af);
        match entries.as_slice() {
            [] => AddrSpec::Never,
            [one] => AddrSpec::Masked {
                af: one.af,
                addr: one.addr,
                mask: ruleset::table::prefix_mask(one.af, one.prefix_len),
            },
            _ => {
                let name = format!("__dynamic_{}_{}", dynamic.name, self.tables.len());
                let mut table = ruleset::Table::new(&name, entries);
                table.flags = TableFlags::CONST | TableFlags::INTERNAL;
                AddrSpec::Table(self.add_table(table, span))
            }
        }
    }

    fn tag(&mut self, name: &str, span: Span) -> TagId {
        if let Some(id) = self.tag_ids.get(name) {
            return *id;
        }
        let Ok(n) = u16::try_from(self.tags.len() + 1) else {
            self.error(span, "tag-limit", "more than 65535 tags");
            return TagId(u16::MAX);
        };
        let id = TagId(n);
        self.tags.push(name.into());
        self.tag_ids.insert(name.into(), id);
        id
    }
}

/// Name of a table as pfctl shows it: `name@anchor`.
pub(crate) fn table_name(anchor: &str, name: &str) -> String {
    match anchor {
        "" => name.into(),
        anchor => format!("{name}@{anchor}"),
    }
}

fn table_flags(table: &Table) -> TableFlags {
    let flags = [
        (table.constant, TableFlags::CONST),
        (table.persist, TableFlags::PERSIST),
        (table.counters, TableFlags::COUNTERS),
        (table.keeps_contents, TableFlags::KEEPS),
    ];
    let set = flags.into_iter().filter(|(given, _)| *given);
    set.fold(TableFlags::empty(), |all, (_, flag)| all | flag)
}

fn table_entry(host: &Host) -> Option<TableEntry> {
    match host.addr {
        Addr::Masked { af, addr, bits } => Some(TableEntry::new(af, addr, bits, host.not)),
        _ => None,
    }
}

fn reply(reply: Reply) -> BlockReply {
    match reply {
        Reply::Drop => BlockReply::Drop,
        Reply::Return => BlockReply::Return,
        Reply::Rst { ttl } => BlockReply::ReturnRst { ttl },
        Reply::Icmp { v4, v6 } => BlockReply::ReturnIcmp { v4, v6 },
    }
}

fn state_options(state: &StateOpts) -> StateOptions {
    let set = |class: &Timeout| state.timeouts[*class as usize] != 0;
    let classes = Timeout::ALL.into_iter().filter(set);
    StateOptions {
        if_bound: state.if_bound,
        sloppy: state.sloppy,
        no_sync: state.no_sync,
        pflow: state.pflow,
        max: state.max,
        source: None,
        timeouts: classes.map(|c| (c, state.timeouts[c as usize])).collect(),
    }
}
