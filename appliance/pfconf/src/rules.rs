//! `pass`, `block`, `match`, `anchor`, `antispoof`: from statement to rules.

use ruleset::{Af, Direction, Timeout};

use crate::ast::{
    ActionKind, AnchorStmt, Antispoof, FilterOpts, Head, IfItem, IfKind, KeepKind, ReplySpec,
    RuleStmt, StateOpt, StateOptKind, Stmt,
};
use crate::build::Builder;
use crate::expand::{Lists, Target};
use crate::names::unreachable_default;
use crate::parse::LABEL_MAX;
use crate::policy::{
    Addr, AnchorCall, Dynamic, Host, IfItemKind, Modifiers, Places, Reply, Rule, RuleKind,
    StateOpts,
};
use crate::resolve::Resolved;
use crate::source::Span;

const PROTO_TCP: u8 = 6;

/// `S/SA`
const FLAGS_DEFAULT: (u8, u8) = (0x02, 0x12);

/// Where the options stand that the dataplane may refuse.
fn places(head: &Head, opts: &FilterOpts) -> Vec<(&'static str, Span)> {
    let ids = opts.user.iter().chain(&opts.group).map(|id| id.span).next();
    let rdomain = head
        .on
        .iter()
        .find(|i| matches!(i.kind, IfKind::Rdomain(_)));
    let label = |h: &&crate::ast::Host| matches!(h.kind, crate::ast::HostKind::RouteLabel(_));
    let route = head.route.as_ref().or(opts.route.as_ref()).map(|r| r.span);
    let keep = opts.keep.as_ref();
    let state_opt = |wanted: fn(&StateOptKind) -> bool| {
        let mut all = keep.into_iter().flat_map(|k| &k.opts);
        all.find(|o| wanted(&o.kind)).map(|o| o.span)
    };
    let tracks = |kind: &StateOptKind| {
        use StateOptKind::{MaxSrcConn, MaxSrcConnRate, MaxSrcNodes, MaxSrcStates, SourceTrack};
        matches!(
            kind,
            MaxSrcConn(_)
                | MaxSrcConnRate { .. }
                | MaxSrcNodes(_)
                | MaxSrcStates(_)
                | SourceTrack { .. }
        )
    };
    let hosts = head.from.hosts.iter().chain(&head.to.hosts);
    [
        ("os", head.os.first().map(|os| os.span)),
        ("user and group", ids),
        ("prio", opts.prio.map(|o| o.1)),
        ("max-pkt-rate", opts.max_pkt_rate.map(|o| o.2)),
        ("max-pkt-size", opts.max_pkt_size.map(|o| o.1)),
        ("dnpipe and dnqueue", opts.dummynet.map(|o| o.1)),
        ("set prio", opts.set_prio.map(|o| o.2)),
        ("set tos", opts.set_tos.map(|o| o.1)),
        ("set delay", opts.delay.map(|o| o.1)),
        ("queue", opts.queue.as_ref().map(|q| q.name.span)),
        ("once", opts.once),
        ("rtable", opts.rtable.map(|o| o.span)),
        ("divert", opts.divert.as_ref().map(|o| o.1)),
        ("af-to", opts.af_to.as_ref().map(|o| o.span)),
        (
            "nat-to",
            opts.nat.as_ref().or(opts.binat.as_ref()).map(|o| o.span),
        ),
        (
            "rdr-to",
            opts.rdr.as_ref().or(opts.binat.as_ref()).map(|o| o.span),
        ),
        ("route-to, reply-to and dup-to", route),
        ("scrub", opts.scrub.as_ref().map(|o| o.1)),
        ("modulate state", keep.map(|k| k.span)),
        ("synproxy state", keep.map(|k| k.span)),
        ("state limiter", opts.state_limiter.as_ref().map(|o| o.span)),
        (
            "source limiter",
            opts.source_limiter.as_ref().map(|o| o.span),
        ),
        ("source tracking", state_opt(tracks)),
        (
            "overload",
            state_opt(|kind| matches!(kind, StateOptKind::Overload { .. })),
        ),
        ("rdomain", rdomain.map(|i| i.span)),
        ("route label", hosts.clone().find(label).map(|h| h.span)),
    ]
    .into_iter()
    .filter_map(|(name, span)| Some((name, span?)))
    .collect()
}

impl Builder<'_> {
    pub(crate) fn rule(&mut self, stmt: &RuleStmt, span: Span) -> Resolved<()> {
        let mut base = Rule::new(RuleKind::Filter(stmt.action.kind), span);
        base.reply = self.reply(&stmt.action.reply);
        let mut lists = self.head(&mut base, &stmt.head)?;
        self.options(&mut base, &mut lists, &stmt.head, &stmt.opts)?;
        self.state_clause(&mut base, &stmt.opts)?;
        self.default_flags(&mut base, &stmt.opts);
        self.check_statement(&mut base, &stmt.head, &stmt.opts)?;
        self.choose_family(&mut base, &lists);
        self.divert(&mut base, &stmt.opts)?;
        lists.binat = stmt.opts.binat.as_ref().map(|b| b.span);
        let rules = self.expand(&base, &lists)?;
        self.append(rules);
        Ok(())
    }

    fn reply(&self, spec: &ReplySpec) -> Reply {
        let default = unreachable_default;
        match *spec {
            ReplySpec::Policy if self.settings.block_returns => Reply::Return,
            ReplySpec::Policy | ReplySpec::Drop => Reply::Drop,
            ReplySpec::Return => Reply::Return,
            ReplySpec::Rst { ttl } => Reply::Rst { ttl },
            ReplySpec::Icmp { v4, v6 } => Reply::Icmp {
                v4: v4.unwrap_or(default(Af::Inet)),
                // A code alone leaves the IPv4 default for IPv6, as in PF (T8 of the trap list).
                v6: match v4 {
                    Some(_) => v6.unwrap_or(default(Af::Inet)),
                    None => default(Af::Inet6),
                },
            },
            ReplySpec::Icmp6 { v6 } => Reply::Icmp {
                v4: default(Af::Inet),
                v6: v6.unwrap_or(default(Af::Inet6)),
            },
        }
    }

    /// Direction to addresses.
    pub(crate) fn head(&mut self, base: &mut Rule, head: &Head) -> Resolved<Lists> {
        base.direction = head.direction;
        base.log.clone_from(&head.log);
        base.quick = head.quick;
        base.af = head.af;
        for item in &head.on {
            if let IfKind::Name(name) = &item.kind {
                self.mention_interface(name, item.span);
            }
        }
        let mut lists = Lists {
            on: head.on.clone(),
            proto: self.protocols(&head.proto)?,
            src: self.rule_hosts(&head.from.hosts)?,
            dst: self.rule_hosts(&head.to.hosts)?,
            src_port: self.ports(&head.from.ports)?,
            dst_port: self.ports(&head.to.ports)?,
            os: head.os.iter().map(|os| os.text.clone()).collect(),
            ..Lists::default()
        };
        for host in lists.src.iter().chain(&lists.dst) {
            if let Addr::Table(name) = &host.addr {
                let (name, span) = (name.clone(), host.span);
                self.mention_table(&name, span);
            }
        }
        if let Some(route) = &head.route {
            let hosts = self.hosts(&route.hosts)?;
            lists.targets.route = Some(Target {
                spec: route.clone(),
                hosts,
            });
        }
        Ok(lists)
    }

    /// Everything after the addresses but the state clause.
    fn options(
        &mut self,
        base: &mut Rule,
        lists: &mut Lists,
        head: &Head,
        opts: &FilterOpts,
    ) -> Resolved<()> {
        lists.user = self.ids(&opts.user, true)?;
        lists.group = self.ids(&opts.group, false)?;
        lists.icmp.clone_from(&opts.icmp);
        lists.icmp_span = opts.icmp_span;
        base.flags = opts.flags.map(|f| (f.0, f.1)).filter(|f| *f != (0, 0));
        // 0 is what no test is.
        base.tos = opts.tos.map(|t| t.0).filter(|tos| *tos != 0);
        base.prio = opts.prio.map(|p| p.0);
        base.fragment = opts.fragment.is_some();
        base.allow_opts = opts.allow_opts.is_some();
        base.once = opts.once.is_some();
        base.tag = opts.tag.as_ref().map(|t| t.text.clone());
        base.tagged = opts.tagged.as_ref().map(|t| (t.0.text.clone(), t.1));
        base.probability = opts.probability;
        let rate = opts.max_pkt_rate.map(|r| (r.0, r.1));
        base.max_pkt_rate = rate.filter(|r| r.0 != 0);
        base.set_prio = opts.set_prio.map(|p| (p.0, p.1));
        base.set_tos = opts.set_tos.map(|t| t.0);
        base.delay = opts.delay.map(|d| d.0);
        base.scrub = opts.scrub.as_ref().map(|s| s.0.clone()).unwrap_or_default();
        base.state_limiter.clone_from(&opts.state_limiter);
        base.source_limiter.clone_from(&opts.source_limiter);
        base.dummynet = opts.dummynet.map(|d| d.0);
        base.max_pkt_size = opts.max_pkt_size.map(|s| s.0);
        base.prefer_ipv6_nexthop = head.prefer_ipv6_nexthop || opts.prefer_ipv6_nexthop.is_some();
        if let Some(received) = &opts.received_on {
            if let IfKind::Name(name) = &received.kind {
                self.mention_interface(name, received.span);
            }
            base.received_on = Some((IfItemKind::of(received), received.not));
        }
        base.places = Places(places(head, opts).into());
        self.labels(base, opts)?;
        self.rtable(base, opts)?;
        self.queue_of_rule(base, opts)?;
        self.check_tcp_only(head, opts, &lists.proto)?;
        lists.targets = self.targets(&lists.targets, opts)?;
        Ok(())
    }

    pub(crate) fn labels(&mut self, base: &mut Rule, opts: &FilterOpts) -> Resolved<()> {
        for label in opts.label.iter().chain(&opts.more_labels) {
            if label.text.len() > LABEL_MAX {
                let text = format!("rule label too long (max {LABEL_MAX} chars)");
                return Err(self.fail(label.span, "label", text));
            }
        }
        let text = |label: &crate::ast::Text| label.text.clone();
        base.label = opts.label.as_ref().map(text).filter(|t| !t.is_empty());
        base.more_labels = opts.more_labels.iter().map(text).collect();
        base.ridentifier = opts.ridentifier.map(|r| r.0);
        Ok(())
    }

    fn rtable(&mut self, base: &mut Rule, opts: &FilterOpts) -> Resolved<()> {
        let Some(rtable) = opts.rtable else {
            return Ok(());
        };
        if !(0..=255).contains(&rtable.n) {
            return Err(self.fail(rtable.span, "rtable", "invalid rtable id"));
        }
        base.rtable = Some(rtable.n as u32);
        Ok(())
    }

    fn queue_of_rule(&mut self, base: &mut Rule, opts: &FilterOpts) -> Resolved<()> {
        let Some(queue) = &opts.queue else {
            return Ok(());
        };
        for name in [Some(&queue.name), queue.priority.as_ref()]
            .into_iter()
            .flatten()
        {
            let known = self.queues.list.iter().any(|q| q.name == name.text);
            if !known && !self.altq {
                let names = self.queues.list.iter().map(|q| q.name.as_str());
                let near = self.messages.near(&name.text, names);
                let hint = match near {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => "queues must be defined above the rules that name them".into(),
                };
                let text = format!("queue {} is not defined", name.text);
                return Err(self.fail_hint(name.span, "undefined-queue", text, Some(hint)));
            }
        }
        base.queue = Some((
            queue.name.text.clone(),
            queue.priority.as_ref().map(|p| p.text.clone()),
        ));
        Ok(())
    }

    /// State is kept by `pass` unless the rule says otherwise; without a clause of its own it takes the defaults.
    fn state_clause(&mut self, base: &mut Rule, opts: &FilterOpts) -> Resolved<()> {
        let passes = base.action() == Some(ActionKind::Pass);
        match &opts.keep {
            Some(keep) => {
                base.keep = keep.kind;
                base.state = self.state_opts(&keep.opts)?.into();
            }
            None if passes => {
                base.keep = KeepKind::Keep;
                let defaults = self.state_defaults.clone().unwrap_or_default();
                base.state = self.state_opts(&defaults)?.into();
            }
            None => {}
        }
        let bound_given = opts
            .keep
            .iter()
            .flat_map(|k| &k.opts)
            .any(|o| matches!(o.kind, StateOptKind::IfBound | StateOptKind::Floating));
        if base.keeps_state() && !bound_given && !base.state.if_bound {
            base.state.if_bound = self.settings.if_bound;
        }
        Ok(())
    }

    fn default_flags(&self, base: &mut Rule, opts: &FilterOpts) {
        let passes = base.action() == Some(ActionKind::Pass);
        if passes && opts.flags.is_none() && !base.fragment && base.keeps_state() {
            base.flags = Some(FLAGS_DEFAULT);
        }
    }

    pub(crate) fn state_opts(&mut self, opts: &[StateOpt]) -> Resolved<StateOpts> {
        let mut state = StateOpts::default();
        let (mut global, mut track) = (false, false);
        let (mut bound, mut adaptive) = (false, false);
        for opt in opts {
            match &opt.kind {
                StateOptKind::SourceTrack { rule } => {
                    self.state_once("source-track", track, opt.span)?;
                    track = true;
                    global = !rule;
                    state.source_track = Some(*rule || state.source_track == Some(true));
                }
                StateOptKind::IfBound | StateOptKind::Floating => {
                    if bound {
                        let text = "state locking option: multiple definitions";
                        return Err(self.fail(opt.span, "respecified", text));
                    }
                    bound = true;
                    state.if_bound = matches!(opt.kind, StateOptKind::IfBound);
                }
                StateOptKind::Timeout(class, seconds) => {
                    adaptive |= matches!(class, Timeout::AdaptiveStart | Timeout::AdaptiveEnd);
                    let slot = &mut state.timeouts[*class as usize];
                    if *slot != 0 {
                        let text = format!("state timeout {} multiple definitions", class.name());
                        return Err(self.fail(opt.span, "respecified", text));
                    }
                    *slot = *seconds;
                }
                _ => self.state_opt(&mut state, opt)?,
            }
        }
        if state.max != 0 && !adaptive {
            state.timeouts[Timeout::AdaptiveStart as usize] = state.max / 10 * 6;
            state.timeouts[Timeout::AdaptiveEnd as usize] = (state.max / 10).saturating_mul(12);
        }
        self.check_source_track(&mut state, track && global, opts)?;
        Ok(state)
    }

    fn state_once(&mut self, option: &str, again: bool, span: Span) -> Resolved<()> {
        if !again {
            return Ok(());
        }
        let text = format!("state option '{option}' multiple definitions");
        Err(self.fail(span, "respecified", text))
    }

    fn state_opt(&mut self, state: &mut StateOpts, opt: &StateOpt) -> Resolved<()> {
        let span = opt.span;
        let per_rule = Some(true);
        match &opt.kind {
            StateOptKind::Max(n) => {
                self.state_once("max", state.max != 0, span)?;
                state.max = *n;
            }
            StateOptKind::NoSync => {
                self.state_once("sync", state.no_sync, span)?;
                state.no_sync = true;
            }
            StateOptKind::MaxSrcStates(n) => {
                self.state_once("max-src-states", state.max_src_states != 0, span)?;
                state.max_src_states = *n;
                state.source_track = state.source_track.or(Some(false));
            }
            StateOptKind::MaxSrcConn(n) => {
                self.state_once("max-src-conn", state.max_src_conn != 0, span)?;
                state.max_src_conn = *n;
                state.source_track = per_rule;
            }
            StateOptKind::MaxSrcConnRate { limit, seconds } => {
                let again = state.max_src_conn_rate.is_some();
                self.state_once("max-src-conn-rate", again, span)?;
                state.max_src_conn_rate = Some((*limit, *seconds));
                state.source_track = per_rule;
            }
            StateOptKind::MaxSrcNodes(n) => {
                self.state_once("max-src-nodes", state.max_src_nodes != 0, span)?;
                state.max_src_nodes = *n;
                state.source_track = per_rule;
            }
            StateOptKind::Overload {
                table,
                flush,
                global,
            } => {
                if state.overload.is_some() {
                    let text = "multiple 'overload' table definitions";
                    return Err(self.fail(span, "respecified", text));
                }
                state.overload = Some((table.text.clone(), *flush, *global));
                self.mention_table(&table.text, table.span);
            }
            StateOptKind::Sloppy => {
                let text = "state sloppy option: multiple definitions";
                if std::mem::replace(&mut state.sloppy, true) {
                    return Err(self.fail(span, "respecified", text));
                }
            }
            StateOptKind::Pflow => {
                let text = "state pflow option: multiple definitions";
                if std::mem::replace(&mut state.pflow, true) {
                    return Err(self.fail(span, "respecified", text));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `source-track global` excludes what is counted per rule; a rate needs nodes that live as long.
    fn check_source_track(
        &mut self,
        state: &mut StateOpts,
        global: bool,
        opts: &[StateOpt],
    ) -> Resolved<()> {
        for (given, option) in [
            (state.max_src_nodes != 0, "max-src-nodes"),
            (state.max_src_conn != 0, "max-src-conn"),
            (state.max_src_conn_rate.is_some(), "max-src-conn-rate"),
        ] {
            let Some(last) = opts.last().filter(|_| global && given) else {
                continue;
            };
            let text = format!("'{option}' is incompatible with 'source-track global'");
            return Err(self.fail(last.span, "source-track", text));
        }
        if let Some((_, seconds)) = state.max_src_conn_rate {
            let slot = &mut state.timeouts[Timeout::SrcTrack as usize];
            *slot = (*slot).max(seconds);
        }
        Ok(())
    }

    /// Without `inet` or `inet6` the addresses decide, if all of one side are of one family.
    pub(crate) fn choose_family(&self, base: &mut Rule, lists: &Lists) {
        let of = |hosts: &[Host]| {
            let first = hosts.first()?.af();
            first.filter(|_| hosts.iter().all(|h| h.af() == first))
        };
        base.af = base
            .af
            .or_else(|| of(&lists.src))
            .or_else(|| of(&lists.dst));
    }

    pub(crate) fn anchor(&mut self, stmt: &AnchorStmt, whole: &Stmt) -> Resolved<()> {
        let name = stmt.name.as_ref().map(|n| n.text.clone());
        let call = self.anchor_call(name.as_deref());
        let body = stmt.body.as_ref();
        let body = body.map(|body| self.anchor_body(&call.path, body));
        self.line = whole.line;
        let kind = RuleKind::Anchor {
            name,
            kind: stmt.kind,
            call,
        };
        let mut base = Rule::new(kind, whole.span);
        let mut lists = self.head(&mut base, &stmt.head)?;
        self.options(&mut base, &mut lists, &stmt.head, &stmt.opts)?;
        self.check_once(&base, &stmt.opts)?;
        self.check_anchor(&stmt.head, &stmt.opts, whole.span)?;
        self.choose_family(&mut base, &lists);
        base.body = body;
        let rules = self.expand(&base, &lists)?;
        self.append(rules);
        Ok(())
    }

    /// Braces without a name are called `_1`, `_2` and so on: no name in a text may begin like that.
    pub(crate) fn anchor_call(&mut self, name: Option<&str>) -> AnchorCall {
        let Some(name) = name else {
            self.brace_anchors += 1;
            return AnchorCall {
                path: self.anchor_named(&format!("_{}", self.brace_anchors)),
                children: false,
            };
        };
        let (path, children) = match name.strip_suffix('*') {
            Some(outer) if outer.is_empty() || outer.ends_with('/') => (outer, true),
            _ => (name, false),
        };
        AnchorCall {
            path: self.anchor_named(path),
            children,
        }
    }

    pub(crate) fn anchor_body(&mut self, path: &str, body: &[Stmt]) -> Vec<Rule> {
        let outer = std::mem::replace(&mut self.anchor_path, path.into());
        self.rulesets.push(Vec::new());
        for stmt in body {
            self.statement(stmt);
        }
        self.anchor_path = outer;
        self.rulesets.pop().unwrap_or_default()
    }

    pub(crate) fn antispoof(&mut self, stmt: &Antispoof, span: Span) -> Resolved<()> {
        let mut base = Rule::new(RuleKind::Filter(ActionKind::Block), span);
        base.direction = Some(Direction::In);
        base.log.clone_from(&stmt.log);
        base.quick = stmt.quick;
        base.af = stmt.af;
        let opts = FilterOpts {
            label: stmt.label.clone(),
            more_labels: stmt.more_labels.clone(),
            ridentifier: stmt.ridentifier,
            rtable: stmt.rtable,
            ..FilterOpts::default()
        };
        self.labels(&mut base, &opts)?;
        self.rtable(&mut base, &opts)?;
        for item in &stmt.interfaces {
            match &item.kind {
                IfKind::Dynamic(name) => self.antispoof_dynamic(&base, name, item)?,
                IfKind::Name(name) if self.learns(name) => {
                    self.antispoof_dynamic(&base, name, item)?;
                }
                IfKind::Name(name) => self.antispoof_static(&base, name, item)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Networks of the interface must not come in elsewhere; its own addresses must not come in at all, except on
    /// a loopback.
    fn antispoof_static(&mut self, base: &Rule, name: &str, item: &IfItem) -> Resolved<()> {
        self.mention_interface(name, item.span);
        let network = self.interface_hosts(&format!("{name}:network"), item.span);
        self.antispoof_rules(base, Some(name), network)?;
        let members = self.known.members(name).unwrap_or_default();
        if members.iter().all(|m| m.loopback) {
            return Ok(());
        }
        let own = self.interface_hosts(name, item.span);
        self.antispoof_rules(base, None, own)
    }

    /// An interface without addresses gives no rules.
    fn interface_hosts(&mut self, text: &str, span: Span) -> Vec<Host> {
        let before = self.messages.mark();
        let host = crate::ast::Host {
            kind: crate::ast::HostKind::Name {
                text: text.into(),
                bits: None,
            },
            not: false,
            weight: 0,
            span,
        };
        let found = self.host(&host).unwrap_or_default();
        self.messages.forget_since(before);
        found
    }

    fn antispoof_rules(&mut self, base: &Rule, on: Option<&str>, src: Vec<Host>) -> Resolved<()> {
        if src.is_empty() {
            return Ok(());
        }
        let on = on.map(|name| IfItem {
            kind: IfKind::Name(name.into()),
            not: true,
            span: base.span,
        });
        let wrong_family = |h: &Host| base.af.is_some() && h.af().is_some() && h.af() != base.af;
        if src.iter().all(wrong_family) {
            return Ok(());
        }
        let lists = Lists {
            on: on.into_iter().collect(),
            src,
            ..Lists::default()
        };
        let rules = self.expand(base, &lists)?;
        self.append(rules);
        Ok(())
    }

    fn antispoof_dynamic(&mut self, base: &Rule, name: &str, item: &IfItem) -> Resolved<()> {
        self.mention_interface(name, item.span);
        let host = |network| Host {
            addr: Addr::Dynamic(Dynamic {
                name: name.into(),
                mods: Modifiers {
                    network,
                    ..Modifiers::default()
                },
                bits: 128,
            }),
            span: item.span,
            ..Host::default()
        };
        self.antispoof_rules(base, Some(name), vec![host(true)])?;
        let loopback = self.known.interface(name).is_some_and(|i| i.loopback);
        if loopback {
            return Ok(());
        }
        self.antispoof_rules(base, None, vec![host(false)])
    }

    /// True if a protocol list leaves TCP out.
    pub(crate) fn without_tcp(protocols: &[u8]) -> bool {
        !protocols.is_empty() && !protocols.contains(&PROTO_TCP)
    }
}
