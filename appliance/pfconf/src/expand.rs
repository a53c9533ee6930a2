//! Lists to single rules. The order of the loops decides the numbers of the rules, so it is PF's: interface,
//! protocol, ICMP type, source host, destination host, source port, destination port, os, user, group; in FreeBSD, and
//! for rules of the old dialect, everything of the source before everything of the destination.
//! Combinations of different families are left out silently.

use ruleset::{Af, Direction, PortRange};

use crate::ast::{ActionKind, Icmp, IfItem, KeepKind, Redirect, RouteSpec};
use crate::build::{Builder, COMBINATIONS_MAX};
use crate::message::{Audience, Message};
use crate::policy::{Addr, End, Host, IdRange, IfItemKind, Rule, RuleKind};
use crate::resolve::Resolved;
use crate::source::Span;

/// The lists of one statement; an empty list stands for "whatever".
#[derive(Default)]
pub(crate) struct Lists {
    pub(crate) on: Vec<IfItem>,
    pub(crate) proto: Vec<u8>,
    pub(crate) icmp: Vec<Icmp>,
    pub(crate) icmp_span: Option<Span>,
    pub(crate) src: Vec<Host>,
    pub(crate) dst: Vec<Host>,
    pub(crate) src_port: Vec<PortRange>,
    pub(crate) dst_port: Vec<PortRange>,
    pub(crate) os: Vec<String>,
    pub(crate) user: Vec<IdRange>,
    pub(crate) group: Vec<IdRange>,
    pub(crate) targets: Targets,
    /// The targets are those of a `binat-to`, which stands here.
    pub(crate) binat: Option<Span>,
}

/// Places of the lists in a combination.
const ON: usize = 0;
const PROTO: usize = 1;
const ICMP: usize = 2;
const SRC: usize = 3;
const DST: usize = 4;
const SRC_PORT: usize = 5;
const DST_PORT: usize = 6;
const OS: usize = 7;
const USER: usize = 8;
const GROUP: usize = 9;

/// Which item of each list a combination takes.
pub(crate) type Places = [usize; 10];

/// The loops from the outermost to the innermost.
const LOOPS: Places = [
    ON, PROTO, ICMP, SRC, DST, SRC_PORT, DST_PORT, OS, USER, GROUP,
];

/// The loops of FreeBSD.
const LOOPS_FREEBSD: Places = [
    ON, PROTO, ICMP, SRC, SRC_PORT, OS, DST, DST_PORT, USER, GROUP,
];

/// The next combination; false after the last.
fn advance(at: &mut Places, lengths: &Places, loops: &Places) -> bool {
    for list in loops.iter().rev() {
        at[*list] += 1;
        if at[*list] < lengths[*list] {
            return true;
        }
        at[*list] = 0;
    }
    false
}

impl Lists {
    /// How many turns each loop has.
    fn lengths(&self) -> Places {
        [
            self.on.len(),
            self.proto.len(),
            self.icmp.len(),
            self.src.len(),
            self.dst.len(),
            self.src_port.len(),
            self.dst_port.len(),
            self.os.len(),
            self.user.len(),
            self.group.len(),
        ]
        .map(|n| n.max(1))
    }

    fn choice(&self, at: &Places) -> Choice<'_> {
        Choice {
            on: self.on.get(at[ON]),
            proto: self.proto.get(at[PROTO]).copied(),
            icmp: self.icmp.get(at[ICMP]),
            src: self.src.get(at[SRC]),
            dst: self.dst.get(at[DST]),
            src_port: self.src_port.get(at[SRC_PORT]).copied(),
            dst_port: self.dst_port.get(at[DST_PORT]).copied(),
            os: self.os.get(at[OS]),
            user: self.user.get(at[USER]).copied(),
            group: self.group.get(at[GROUP]).copied(),
        }
    }

    /// The lists of the rule inward that belongs to a rule outward of `binat-to`: source and destination change
    /// places. pfctl goes on from where the loops are, and so do we: its rules have the same numbers.
    pub(crate) fn turned(&self, at: &Places, src: Host, dst: Host, rdr: Redirect) -> Lists {
        fn rest<T: Clone>(items: &[T], at: usize) -> Vec<T> {
            items.get(at..).unwrap_or_default().to_vec()
        }
        Lists {
            on: rest(&self.on, at[ON]),
            proto: rest(&self.proto, at[PROTO]),
            icmp: rest(&self.icmp, at[ICMP]),
            icmp_span: self.icmp_span,
            src: match self.dst.get(at[DST]) {
                Some(host) if matches!(host.addr, Addr::Dynamic(_)) => vec![host.clone()],
                _ => rest(&self.dst, at[DST]),
            },
            dst: vec![dst],
            src_port: rest(&self.dst_port, at[DST_PORT]),
            dst_port: rest(&self.src_port, at[SRC_PORT]),
            os: rest(&self.os, at[OS]),
            user: rest(&self.user, at[USER]),
            group: rest(&self.group, at[GROUP]),
            targets: Targets {
                rdr: Some(Target {
                    spec: rdr,
                    hosts: vec![src],
                }),
                ..Targets::default()
            },
            binat: None,
        }
    }
}

/// Targets of translation and routing, and those whose family each rule chooses.
#[derive(Clone, Default)]
pub(crate) struct Targets {
    pub(crate) nat: Option<Target<Redirect>>,
    pub(crate) rdr: Option<Target<Redirect>>,
    pub(crate) route: Option<Target<RouteSpec>>,
}

impl Targets {
    fn is_empty(&self) -> bool {
        self.nat.is_none() && self.rdr.is_none() && self.route.is_none()
    }
}

/// The rules that a statement has come to so far.
#[derive(Default)]
struct Expansion {
    made: Vec<Rule>,
    /// An address or a target was wrong: pfctl skips every combination from there on.
    broken: bool,
}

/// A target as written, with its hosts resolved.
#[derive(Clone)]
pub(crate) struct Target<T> {
    pub(crate) spec: T,
    pub(crate) hosts: Vec<Host>,
}

/// One item of each list.
#[derive(Clone, Copy, Default)]
struct Choice<'l> {
    on: Option<&'l IfItem>,
    proto: Option<u8>,
    icmp: Option<&'l Icmp>,
    src: Option<&'l Host>,
    dst: Option<&'l Host>,
    src_port: Option<PortRange>,
    dst_port: Option<PortRange>,
    os: Option<&'l String>,
    user: Option<IdRange>,
    group: Option<IdRange>,
}

/// Each item, or nothing once if there is none.
pub(crate) fn each<T>(items: &[T]) -> impl Iterator<Item = Option<&T>> + Clone {
    let nothing = items.is_empty().then_some(None);
    nothing.into_iter().chain(items.iter().map(Some))
}

impl Builder<'_> {
    /// Makes the rules of a statement; says so if there are none.
    pub(crate) fn expand(&mut self, base: &Rule, lists: &Lists) -> Resolved<Vec<Rule>> {
        let mut expansion = Expansion::default();
        let errors = self.messages.error_count();
        let old = matches!(
            base.kind,
            RuleKind::Translation { .. } | RuleKind::Scrub { .. }
        );
        let loops = match old || self.known.env.freebsd {
            true => &LOOPS_FREEBSD,
            false => &LOOPS,
        };
        let lengths = lists.lengths();
        let mut at = Places::default();
        loop {
            self.spend(1, base.span)?;
            self.combination(base, lists, &at, &mut expansion)?;
            if !advance(&mut at, &lengths, loops) {
                break;
            }
        }
        if expansion.made.is_empty() {
            self.no_combination(base.span, errors);
        }
        Ok(expansion.made)
    }

    /// Nothing is left of a statement. A person has been told why if there were errors.
    fn no_combination(&mut self, span: Span, errors: usize) {
        let text = "rule expands to no valid combination";
        let message = Message::error("no-combination", span, text);
        let audience = match self.messages.error_count() == errors {
            true => Audience::Both,
            false => Audience::Pfctl,
        };
        let hint = "the addresses are of different families, or of another than the rule";
        let message = message.hint(Some(hint.into())).to(audience);
        self.messages.add(message.pfctl_line(self.line));
    }

    pub(crate) fn check_rule_limit(&mut self, made: usize, span: Span) -> Resolved<()> {
        let most = self.bounds.rules;
        if self.rules_count + made <= most {
            return Ok(());
        }
        if std::mem::replace(&mut self.failed, true) {
            return Err(crate::resolve::Reported);
        }
        let text = format!("more than {most} rules");
        Err(self.fail(span, "rule-limit", text))
    }

    /// Counts a combination.
    fn spend(&mut self, n: usize, span: Span) -> Resolved<()> {
        self.combinations += n;
        if self.combinations <= COMBINATIONS_MAX {
            return Ok(());
        }
        if std::mem::replace(&mut self.failed, true) {
            return Err(crate::resolve::Reported);
        }
        let text = format!("lists expand to more than {COMBINATIONS_MAX} combinations");
        Err(self.fail(span, "expansion-limit", text))
    }

    /// False for a combination that PF leaves out silently.
    fn fits(&self, af: Option<Af>, choice: &Choice<'_>) -> bool {
        let src_af = choice.src.and_then(Host::af);
        let dst_af = choice.dst.and_then(Host::af);
        let differ = |a: Option<Af>, b: Option<Af>| a.is_some() && b.is_some() && a != b;
        if differ(af, src_af) || differ(af, dst_af) || differ(src_af, dst_af) {
            return false;
        }
        let src_scope = choice.src.and_then(|h| h.scope.as_deref());
        let dst_scope = choice.dst.and_then(|h| h.scope.as_deref());
        let on = choice.on.and_then(|item| match &item.kind {
            crate::ast::IfKind::Name(name) => Some(name.as_str()),
            _ => None,
        });
        let apart = |a: Option<&str>, b: Option<&str>| a.is_some() && b.is_some() && a != b;
        !apart(src_scope, dst_scope) && !apart(src_scope, on) && !apart(dst_scope, on)
    }

    /// Adds the rule of a combination, two for `binat-to`, or nothing if it contradicts itself.
    fn combination(
        &mut self,
        base: &Rule,
        lists: &Lists,
        at: &Places,
        expansion: &mut Expansion,
    ) -> Resolved<()> {
        let choice = lists.choice(at);
        if lists.targets.is_empty() && !self.fits(base.af, &choice) {
            return Ok(());
        }
        let mut rule = base.clone();
        let errors = self.messages.error_count();
        let mut targets = self.choose_targets(&mut rule, &lists.targets);
        expansion.broken |= self.messages.error_count() != errors;
        if !self.fits(rule.af, &choice) {
            return Ok(());
        }
        self.fill(&mut rule, &choice);
        fit_to_protocol(&mut rule);
        self.expand_texts(&mut rule);
        let errors = self.messages.error_count();
        self.check_combination(&rule, choice.src, choice.dst, lists.icmp_span);
        if let Some(span) = lists.binat {
            self.check_binat(&rule, targets.nat.as_ref(), span);
            rule.direction = Some(Direction::Out);
        }
        self.finish_targets(&mut rule, &lists.targets, &mut targets);
        expansion.broken |= self.messages.error_count() != errors;
        let errors = self.messages.error_count();
        self.check_consistent(&rule, lists.icmp_span);
        if expansion.broken || self.messages.error_count() != errors {
            let text = "skipping rule due to errors";
            let echo = Message::error("skipped", rule.span, text).to(Audience::Pfctl);
            self.messages.add(echo.pfctl_line(self.line));
        } else {
            self.check_rule_limit(expansion.made.len() + 1, base.span)?;
            expansion.made.push(rule.clone());
        }
        match lists.binat {
            Some(_) if !expansion.broken => self.binat_inward(rule, lists, at, expansion),
            _ => Ok(()),
        }
    }

    /// The second rule of `binat-to`, which translates what comes back.
    fn binat_inward(
        &mut self,
        mut rule: Rule,
        lists: &Lists,
        at: &Places,
        expansion: &mut Expansion,
    ) -> Resolved<()> {
        let nat = rule.nat.take().and_then(|pool| pool.hosts.first().cloned());
        let (Some(nat), Some(target)) = (nat, &lists.targets.nat) else {
            return Ok(());
        };
        let src = lists.src.get(at[SRC]).cloned().unwrap_or_default();
        let mut spec = target.spec.clone();
        spec.pool.static_port = false;
        rule.direction = Some(Direction::In);
        let dst = Host { not: false, ..nat };
        let lists = lists.turned(at, src, dst, spec);
        let rules = self.expand(&rule, &lists)?;
        self.check_rule_limit(expansion.made.len() + rules.len(), rule.span)?;
        expansion.made.extend(rules);
        Ok(())
    }

    /// What the lists say of one rule.
    fn fill(&self, rule: &mut Rule, choice: &Choice<'_>) {
        rule.af = rule
            .af
            .or(choice.src.and_then(Host::af))
            .or(choice.dst.and_then(Host::af));
        self.choose_interface(rule, choice);
        rule.proto = choice.proto;
        // The second rule of a `binat-to` has been filled before.
        rule.src = End::default();
        rule.dst = End::default();
        if let Some(src) = choice.src {
            rule.src.addr = src.addr.clone();
            rule.src.not = src.not;
        }
        if let Some(dst) = choice.dst {
            rule.dst.addr = dst.addr.clone();
            rule.dst.not = dst.not;
        }
        rule.src.port = choice.src_port;
        rule.dst.port = choice.dst_port;
        rule.os = choice.os.cloned();
        rule.user = choice.user;
        rule.group = choice.group;
        rule.icmp = choice.icmp.map(|i| (i.icmp_type, i.code, i.icmp6));
    }

    /// `on`, or the interface that a link-local address belongs to.
    fn choose_interface(&self, rule: &mut Rule, choice: &Choice<'_>) {
        if let Some(item) = choice.on {
            rule.on = Some((IfItemKind::of(item), item.not));
            return;
        }
        let scope = |h: Option<&Host>| h.and_then(|h| h.scope.clone());
        let scope = scope(choice.src).or_else(|| scope(choice.dst));
        rule.on = scope.map(|name| (IfItemKind::Name(name), false));
    }

    /// Label and tags may hold `$if`, `$srcaddr` and so on.
    fn expand_texts(&self, rule: &mut Rule) {
        if !has_dollar(rule) {
            return;
        }
        let pairs = crate::print::label_macros(rule, &self.known);
        let expand = |text: &mut String| {
            for (name, value) in &pairs {
                if text.contains(name) {
                    *text = text.replace(name, value);
                }
            }
        };
        rule.label.iter_mut().for_each(expand);
        rule.more_labels.iter_mut().for_each(expand);
        rule.tag.iter_mut().for_each(expand);
        if let Some((tagged, _)) = &mut rule.tagged {
            expand(tagged);
        }
    }
}

fn has_dollar(rule: &Rule) -> bool {
    let tagged = rule.tagged.as_ref().map(|t| &t.0);
    [rule.label.as_ref(), rule.tag.as_ref(), tagged]
        .into_iter()
        .flatten()
        .chain(&rule.more_labels)
        .any(|text| text.contains('$'))
}

const PROTO_TCP: u8 = 6;

/// What only makes sense for TCP leaves a rule for another protocol.
fn fit_to_protocol(rule: &mut Rule) {
    if rule.proto.is_none_or(|p| p == PROTO_TCP) {
        return;
    }
    rule.flags = None;
    if matches!(rule.keep, KeepKind::Modulate | KeepKind::Synproxy)
        && rule.action() == Some(ActionKind::Pass)
    {
        rule.keep = KeepKind::Keep;
    }
}
