//! Contradictions. Two kinds: those of a statement as written (its parts exclude each other), and those of one
//! rule after expansion (`icmp` with `inet6`). One function per rule of pf.conf(5), pfctl's message for each.

use ruleset::{Af, Direction, PortOp};

use crate::ast::{ActionKind, FilterOpts, Head, KeepKind, RouteKind, TranslationKind};
use crate::build::Builder;
use crate::diag::Severity;
use crate::message::Message;
use crate::policy::{Addr, Host, Reply, Rule, RuleKind};
use crate::resolve::Resolved;
use crate::source::Span;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const SCTP: u8 = 132;

/// A contradiction of one rule: none, or a message with its stable name.
type Contradiction = Option<(&'static str, String)>;

/// All contradictions that a rule can have, in the order in which pfctl looks for them.
const CONTRADICTIONS: &[fn(&Rule) -> Contradiction] = &[
    os_without_tcp,
    port_without_tcp_udp,
    user_without_tcp_udp,
    group_without_tcp_udp,
    icmp_type_without_icmp,
    icmp_type_without_family,
    af_to_same_family,
    overload_without_connections,
    protocol_of_other_family,
    allow_opts_without_pass,
    fragment_with_upper_layer,
    reset_without_tcp,
    nodes_without_rule_tracking,
    state_without_pass,
    route_without_state,
    sloppy_with_proxy,
    translation_without_state,
    translation_without_direction,
    scrub_of_other_family,
    divert_on_match,
    route_without_pass,
    af_to_on_match,
    rdr_port_without_tcp_udp,
    rdr_port_operator,
];

fn said(code: &'static str, text: &str) -> Contradiction {
    Some((code, text.into()))
}

fn with_ports(rule: &Rule) -> bool {
    rule.src.port.is_some() || rule.dst.port.is_some()
}

fn os_without_tcp(rule: &Rule) -> Contradiction {
    let wrong = rule.os.is_some() && rule.proto != Some(TCP);
    wrong.then(|| said("os-tcp", "os only applies to tcp"))?
}

/// Protocols with ports; SCTP is one of them in FreeBSD, and we read both.
fn has_ports(rule: &Rule) -> bool {
    matches!(rule.proto, Some(TCP | UDP | SCTP))
}

fn port_without_tcp_udp(rule: &Rule) -> Contradiction {
    let old = matches!(rule.kind, RuleKind::Translation { .. });
    let wrong = with_ports(rule) && !old && !has_ports(rule);
    wrong.then(|| said("port-protocol", "port only applies to tcp/udp"))?
}

fn user_without_tcp_udp(rule: &Rule) -> Contradiction {
    let wrong = rule.user.is_some() && !matches!(rule.proto, Some(TCP | UDP));
    wrong.then(|| said("user-protocol", "user only applies to tcp/udp"))?
}

fn group_without_tcp_udp(rule: &Rule) -> Contradiction {
    let wrong = rule.group.is_some() && !matches!(rule.proto, Some(TCP | UDP));
    wrong.then(|| said("user-protocol", "group only applies to tcp/udp"))?
}

fn is_rdr(rule: &Rule) -> bool {
    let rdr = TranslationKind::Rdr;
    matches!(rule.kind, RuleKind::Translation { kind, .. } if kind == rdr)
}

fn rdr_port_without_tcp_udp(rule: &Rule) -> Contradiction {
    if !is_rdr(rule) || has_ports(rule) {
        return None;
    }
    let target = rule.rdr.as_ref().is_some_and(|pool| pool.ports.0 != 0);
    for (given, which) in [
        (rule.src.port.is_some(), "src"),
        (rule.dst.port.is_some(), "dst"),
        (target, "rpool"),
    ] {
        if given {
            let text = format!("{which} port only applies to tcp/udp/sctp");
            return Some(("port-protocol", text));
        }
    }
    None
}

fn rdr_port_operator(rule: &Rule) -> Contradiction {
    let op = rule.dst.port.map(|port| port.op);
    let wrong = is_rdr(rule) && !matches!(op, None | Some(PortOp::Eq | PortOp::Range));
    let text = "invalid port operator for rdr destination port";
    wrong.then(|| said("port-operator", text))?
}

fn icmp_type_without_icmp(rule: &Rule) -> Contradiction {
    let wrong = rule.icmp.is_some() && !matches!(rule.proto, Some(ICMP | ICMP6));
    wrong.then(|| said("icmp-protocol", "icmp-type/code only applies to icmp"))?
}

fn icmp_type_without_family(rule: &Rule) -> Contradiction {
    let text = "must indicate address family with icmp-type/code";
    let wrong = rule.icmp.is_some() && rule.af.is_none();
    wrong.then(|| said("icmp-family", text))?
}

fn overload_without_connections(rule: &Rule) -> Contradiction {
    let state = &rule.state;
    let counted = state.max_src_conn != 0 || state.max_src_conn_rate.is_some();
    let text = "'overload' requires 'max-src-conn' or 'max-src-conn-rate'";
    (state.overload.is_some() && !counted).then(|| said("overload", text))?
}

fn protocol_of_other_family(rule: &Rule) -> Contradiction {
    let (proto, family) = match (rule.proto, rule.af) {
        (Some(ICMP), Some(Af::Inet6)) => ("icmp", "inet6"),
        (Some(ICMP6), Some(Af::Inet)) => ("icmp6", "inet"),
        _ => return None,
    };
    let text = format!("proto {proto} doesn't match address family {family}");
    Some(("icmp-family", text))
}

fn allow_opts_without_pass(rule: &Rule) -> Contradiction {
    let passes = !matches!(rule.action(), Some(ActionKind::Block | ActionKind::Match));
    let wrong = rule.allow_opts && !passes;
    wrong.then(|| {
        said(
            "allow-opts",
            "allow-opts can only be specified for pass rules",
        )
    })?
}

fn fragment_with_upper_layer(rule: &Rule) -> Contradiction {
    let upper = with_ports(rule) || rule.flags.is_some() || rule.icmp.is_some();
    let text = "fragments can be filtered only on IP header fields";
    (rule.fragment && upper).then(|| said("fragment", text))?
}

fn reset_without_tcp(rule: &Rule) -> Contradiction {
    let reset = matches!(rule.reply, Reply::Rst { .. });
    let text = "return-rst can only be applied to TCP rules";
    (reset && rule.proto != Some(TCP)).then(|| said("return-rst", text))?
}

fn nodes_without_rule_tracking(rule: &Rule) -> Contradiction {
    let wrong = rule.state.max_src_nodes != 0 && rule.state.source_track != Some(true);
    wrong.then(|| said("source-track", "max-src-nodes requires 'source-track rule'"))?
}

fn state_without_pass(rule: &Rule) -> Contradiction {
    let filter = rule.action();
    let wrong = rule.keeps_state() && filter.is_some() && filter != Some(ActionKind::Pass);
    wrong.then(|| said("state", "keep state is great, but only for pass rules"))?
}

fn translates(rule: &Rule) -> bool {
    (rule.nat.is_some() || rule.rdr.is_some()) && rule.action().is_some()
}

fn translation_without_state(rule: &Rule) -> Contradiction {
    let stateless = rule.action() != Some(ActionKind::Match) && !rule.keeps_state();
    let text = "nat-to and rdr-to require keep state";
    (translates(rule) && stateless).then(|| said("nat-state", text))?
}

fn translation_without_direction(rule: &Rule) -> Contradiction {
    let wrong = translates(rule) && rule.direction.is_none();
    wrong.then(|| said("nat-direction", "nat-to and rdr-to require a direction"))?
}

fn route_without_pass(rule: &Rule) -> Contradiction {
    rule.route.as_ref()?;
    match rule.action() {
        Some(ActionKind::Block) => said(
            "route",
            "route-to, reply-to and dup-to are not supported on block rules",
        ),
        Some(ActionKind::Match) => said(
            "route",
            "route-to, reply-to and dup-to are not supported on match rules",
        ),
        _ => None,
    }
}

fn route_without_state(rule: &Rule) -> Contradiction {
    let text = "route-to, reply-to and dup-to require keep state";
    (rule.route.is_some() && !rule.keeps_state()).then(|| said("route", text))?
}

fn divert_on_match(rule: &Rule) -> Contradiction {
    let wrong = rule.divert.is_some() && rule.action() == Some(ActionKind::Match);
    wrong.then(|| said("divert", "divert is not supported on match rules"))?
}

fn af_to_on_match(rule: &Rule) -> Contradiction {
    let wrong = rule.naf.is_some() && rule.action() == Some(ActionKind::Match);
    wrong.then(|| said("af-to", "af-to is not supported on match rules"))?
}

fn sloppy_with_proxy(rule: &Rule) -> Contradiction {
    let proxied = matches!(rule.keep, KeepKind::Modulate | KeepKind::Synproxy);
    let text = "sloppy state matching cannot be used with synproxy state or modulate state";
    (rule.state.sloppy && proxied).then(|| said("sloppy", text))?
}

fn scrub_of_other_family(rule: &Rule) -> Contradiction {
    let v4_only = rule.scrub.no_df || rule.scrub.random_id;
    let filter = rule.action().is_some();
    let text = "address family inet6 does not support scrub options no-df, random-id";
    (filter && v4_only && rule.af == Some(Af::Inet6)).then(|| said("scrub-family", text))?
}

fn af_to_same_family(rule: &Rule) -> Contradiction {
    let text = "must indicate different address family with af-to";
    (rule.naf.is_some() && rule.naf == rule.af).then(|| said("af-to", text))?
}

impl Builder<'_> {
    /// Says every contradiction of an expanded rule.
    pub(crate) fn check_consistent(&mut self, rule: &Rule, _icmp: Option<Span>) {
        for contradiction in CONTRADICTIONS {
            if let Some((code, text)) = contradiction(rule) {
                self.fail(rule.span, code, text);
            }
        }
        let outbound = rule.keep == KeepKind::Synproxy && rule.direction != Some(Direction::In);
        if outbound {
            let text = "warning: synproxy used for inbound rules only, ignored for outbound";
            let message = Message::error("synproxy", rule.span, text);
            let message = message.severity(Severity::Warning).pfctl_line(self.line);
            self.messages.add(message);
        }
    }

    /// What is wrong with a combination of list items.
    pub(crate) fn check_combination(
        &mut self,
        rule: &Rule,
        src: Option<&Host>,
        dst: Option<&Host>,
        icmp_span: Option<Span>,
    ) {
        for host in [src, dst].into_iter().flatten() {
            self.check_prefix(rule, host);
        }
        let Some((_, _, icmp6)) = rule.icmp else {
            return;
        };
        let wanted = if icmp6 { ICMP6 } else { ICMP };
        if rule.proto != Some(wanted) {
            let span = icmp_span.unwrap_or(rule.span);
            self.fail(span, "icmp-protocol", "icmp-type mismatch");
        }
    }

    fn check_prefix(&mut self, rule: &Rule, host: &Host) {
        let too_long = match &host.addr {
            Addr::Masked { af, bits, .. } => *bits > af.bits(),
            _ => false,
        };
        if !too_long {
            return;
        }
        if let Addr::Masked { bits, .. } = host.addr {
            let text = format!("netmask {bits} invalid for IPv4 address");
            let span = if host.span == Span::default() {
                rule.span
            } else {
                host.span
            };
            self.messages
                .add(Message::error("prefix", span, text).bare());
        }
    }

    /// `flags` and `os` need TCP among the protocols, if any are given.
    pub(crate) fn check_tcp_only(
        &mut self,
        head: &Head,
        opts: &FilterOpts,
        protocols: &[u8],
    ) -> Resolved<()> {
        if !Self::without_tcp(protocols) {
            return Ok(());
        }
        let mut failed = None;
        if let Some((_, _, span)) = opts.flags.filter(|f| (f.0 | f.1) != 0) {
            failed = Some(self.fail(span, "flags-tcp", "flags only apply to tcp"));
        }
        if let Some(os) = head.os.first() {
            let text = "OS fingerprinting only apply to tcp";
            failed = Some(self.fail(os.span, "os-tcp", text));
        }
        failed.map_or(Ok(()), Err)
    }

    /// What a statement may not hold at once.
    pub(crate) fn check_statement(
        &mut self,
        base: &mut Rule,
        head: &Head,
        opts: &FilterOpts,
    ) -> Resolved<()> {
        self.check_once(base, opts)?;
        self.check_af_to(base, opts)?;
        self.check_route_direction(base, head, opts)?;
        self.check_limiters(base)
    }

    pub(crate) fn check_once(&mut self, base: &Rule, opts: &FilterOpts) -> Resolved<()> {
        let decides = matches!(base.action(), Some(ActionKind::Pass | ActionKind::Block));
        match opts.once {
            Some(span) if !decides => {
                let text = "'once' only applies to pass/block rules";
                Err(self.fail(span, "once", text))
            }
            _ => Ok(()),
        }
    }

    fn check_route_direction(
        &mut self,
        base: &Rule,
        head: &Head,
        opts: &FilterOpts,
    ) -> Resolved<()> {
        match head.route.as_ref().or(opts.route.as_ref()) {
            Some(route) if base.direction.is_none() && route.kind != RouteKind::Dup => {
                let text = "direction must be explicit with rules that specify routing";
                Err(self.fail(route.span, "route-direction", text))
            }
            _ => Ok(()),
        }
    }

    fn check_af_to(&mut self, base: &mut Rule, opts: &FilterOpts) -> Resolved<()> {
        let Some(af_to) = &opts.af_to else {
            return Ok(());
        };
        if base.direction != Some(Direction::In) {
            let text = "af-to can only be used with direction in";
            return Err(self.fail(af_to.span, "af-to", text));
        }
        // The old position of route-to is FreeBSD's, which allows both.
        if opts.route.is_some() && !self.known.env.freebsd {
            let text = "af-to cannot be used together with route-to, reply-to, dup-to";
            return Err(self.fail(af_to.span, "af-to", text));
        }
        base.naf = Some(af_to.af);
        Ok(())
    }

    /// Names of limiters to their ids.
    fn check_limiters(&mut self, base: &mut Rule) -> Resolved<()> {
        use crate::ast::LimiterRef;
        for (slot, known, what) in [
            (&mut base.state_limiter, &self.limiters.state, "state"),
            (&mut base.source_limiter, &self.limiters.source, "source"),
        ] {
            let Some(used) = slot else {
                continue;
            };
            let LimiterRef::Name(name) = &used.name else {
                continue;
            };
            match known.iter().find(|l| l.0 == *name) {
                Some((_, id)) => used.name = LimiterRef::Id(*id),
                None => {
                    let text = format!("{what} limiter {name} is not defined");
                    let message = Message::error("undefined-limiter", used.span, text);
                    self.messages.add(message.pfctl_line(self.line));
                    return Err(crate::resolve::Reported);
                }
            }
        }
        Ok(())
    }

    /// What an anchor may not have.
    pub(crate) fn check_anchor(
        &mut self,
        head: &Head,
        opts: &FilterOpts,
        span: Span,
    ) -> Resolved<()> {
        let wrong = [
            (
                opts.route.is_some() || head.route.is_some(),
                "cannot specify route handling on anchors",
            ),
            (
                opts.nat.is_some()
                    || opts.rdr.is_some()
                    || opts.binat.is_some()
                    || opts.af_to.is_some(),
                "cannot specify translation on anchors",
            ),
            (opts.divert.is_some(), "cannot specify divert on anchors"),
        ];
        for (wrong, text) in wrong {
            if wrong {
                return Err(self.fail(span, "anchor-option", text));
            }
        }
        Ok(())
    }
}
