//! Lists to single rules. The order of the loops decides the numbers of the rules, so it is PF's: interface,
//! protocol, ICMP type, source host, destination host, source port, destination port, os, user, group.
//! Combinations of different families are left out silently.

use ruleset::{Af, PortRange};

use crate::ast::{ActionKind, Icmp, IfItem, KeepKind, Redirect, RouteSpec};
use crate::build::{Builder, COMBINATIONS_MAX};
use crate::message::{Audience, Message};
use crate::policy::{Host, IdRange, IfItemKind, Rule};
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
}

impl Lists {
    /// The same lists without targets.
    pub(crate) fn items(&self) -> Lists {
        Lists {
            on: self.on.clone(),
            proto: self.proto.clone(),
            icmp: self.icmp.clone(),
            icmp_span: self.icmp_span,
            src: self.src.clone(),
            dst: self.dst.clone(),
            src_port: self.src_port.clone(),
            dst_port: self.dst_port.clone(),
            os: self.os.clone(),
            user: self.user.clone(),
            group: self.group.clone(),
            targets: Targets::default(),
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
        let mut made = Vec::new();
        let errors = self.messages.error_count();
        for on in each(&lists.on) {
            for proto in each(&lists.proto) {
                for icmp in each(&lists.icmp) {
                    for src in each(&lists.src) {
                        for dst in each(&lists.dst) {
                            let choice = Choice {
                                on,
                                proto: proto.copied(),
                                icmp,
                                src,
                                dst,
                                ..Choice::default()
                            };
                            self.spend(1, base.span)?;
                            if self.fits(base.af, &choice) {
                                self.expand_ports(base, lists, choice, &mut made)?;
                            }
                        }
                    }
                }
            }
        }
        if made.is_empty() {
            let text = "rule expands to no valid combination";
            let message = Message::error("no-combination", base.span, text);
            let alone = self.messages.error_count() == errors;
            let audience = if alone {
                Audience::Both
            } else {
                Audience::Pfctl
            };
            let hint = "the addresses are of different families, or of another than the rule";
            let message = message.hint(Some(hint.into())).to(audience);
            self.messages.add(message.pfctl_line(self.line));
        }
        Ok(made)
    }

    fn expand_ports(
        &mut self,
        base: &Rule,
        lists: &Lists,
        choice: Choice<'_>,
        made: &mut Vec<Rule>,
    ) -> Resolved<()> {
        for src_port in each(&lists.src_port) {
            for dst_port in each(&lists.dst_port) {
                for os in each(&lists.os) {
                    for user in each(&lists.user) {
                        for group in each(&lists.group) {
                            let choice = Choice {
                                src_port: src_port.copied(),
                                dst_port: dst_port.copied(),
                                os,
                                user: user.copied(),
                                group: group.copied(),
                                ..choice
                            };
                            self.spend(1, base.span)?;
                            made.extend(self.combine(base, lists, &choice));
                            self.check_rule_limit(made.len(), base.span)?;
                        }
                    }
                }
            }
        }
        Ok(())
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

    /// One rule of a combination, or nothing if it contradicts itself.
    fn combine(&mut self, base: &Rule, lists: &Lists, choice: &Choice<'_>) -> Option<Rule> {
        let errors = self.messages.error_count();
        let mut rule = base.clone();
        rule.af = base
            .af
            .or(choice.src.and_then(Host::af))
            .or(choice.dst.and_then(Host::af));
        self.choose_interface(&mut rule, choice);
        rule.proto = choice.proto;
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
        fit_to_protocol(&mut rule);
        self.expand_texts(&mut rule);
        self.check_combination(&rule, choice.src, choice.dst, lists.icmp_span);
        self.apply_targets(&mut rule, &lists.targets);
        if self.messages.error_count() == errors {
            self.check_consistent(&rule, lists.icmp_span);
        }
        if self.messages.error_count() == errors {
            return Some(rule);
        }
        let text = "skipping rule due to errors";
        let echo = Message::error("skipped", rule.span, text).to(Audience::Pfctl);
        self.messages.add(echo.pfctl_line(self.line));
        None
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
