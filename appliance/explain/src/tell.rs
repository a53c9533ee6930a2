//! Steps in words.

use std::net::IpAddr;

use filter::notes::Seen;
use filter::{Reason, Response, Step};
use net::InterfaceId;
use ruleset::{Af, Direction, RuleNr, RuleSlot};
use serde::Serialize;
use worker::verdict::{Consumer, Verdict};
use worker::{About, Told};

use crate::observe::Observed;
use crate::{Box, RuleName};

/// One line of the answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// What kind of step: `screen`, `state`, `match`, `decides`, `route` and so on.
    pub step: &'static str,
    /// In words.
    pub text: String,
    /// The rule's line: `pf.conf:12`.
    pub origin: Option<String>,
}

/// What the rules or a state said on one interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Decision {
    /// Interface.
    pub interface: String,
    /// `in` or `out`.
    pub direction: &'static str,
    /// Place of the rule in the order of evaluation; none for PF's default rule, and where a state decided.
    pub rule: Option<u32>,
    /// True if a state let it through or refused it.
    pub by_state: bool,
    /// Canonical text of the rule.
    pub text: String,
    /// `pf.conf:12`
    pub origin: String,
}

/// Why a packet passes or does not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    /// The packet.
    pub packet: String,
    /// All steps.
    pub steps: Vec<Line>,
    /// What the interfaces' screenings said, the way in first.
    pub decisions: Vec<Decision>,
    /// `pass`, `block`, `local`, `hand over`, `gather` or `consumed`.
    pub verdict: &'static str,
    /// Reason of a drop.
    pub reason: Option<&'static str>,
    /// What the sender hears.
    pub answer: Option<String>,
    /// Where it leaves: interface.
    pub out: Option<String>,
    /// What could not be taken into account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

struct Teller<'a> {
    on: &'a Box<'a>,
    told: Explanation,
}

/// Puts words to what was observed.
pub fn tell(observed: &Observed, on: &Box<'_>) -> Explanation {
    let mut teller = Teller {
        on,
        told: Explanation {
            packet: String::new(),
            steps: Vec::new(),
            decisions: Vec::new(),
            verdict: "block",
            reason: None,
            answer: None,
            out: None,
            note: None,
        },
    };
    for record in &observed.steps {
        teller.step(&record.what);
    }
    if observed.steps.is_empty() {
        teller.unseen(&observed.drops);
    }
    teller.told
}

impl Teller<'_> {
    fn line(&mut self, step: &'static str, text: impl Into<String>) {
        self.told.steps.push(Line {
            step,
            text: text.into(),
            origin: None,
        });
    }

    fn rule_line(&mut self, step: &'static str, nr: RuleNr) -> RuleName {
        let name = (self.on.rule)(nr);
        let ruleset = &self.on.config.ruleset;
        let rule = ruleset.rules.get(nr.0 as usize);
        let place = rule.map_or(String::new(), |rule| {
            match ruleset.anchor_path(rule.anchor) {
                "" => format!("@{} ", rule.nr),
                path => format!("@{} in anchor {path}: ", rule.nr),
            }
        });
        self.told.steps.push(Line {
            step,
            text: format!("{place}{}", name.text),
            origin: Some(name.origin.clone()),
        });
        name
    }

    fn name(&self, interface: InterfaceId) -> String {
        let found = self.on.config.interfaces.get(interface);
        found.map_or_else(
            || format!("interface {}", interface.0),
            |i| i.name.to_string(),
        )
    }

    fn unseen(&mut self, drops: &[Reason]) {
        self.told.packet = "a packet that was not understood".into();
        let reason = drops.first().copied().unwrap_or(Reason::InterfaceDown);
        self.refused(reason);
    }

    fn refused(&mut self, reason: Reason) {
        self.told.verdict = "block";
        self.told.reason = Some(reason.name());
        self.line("drop", format!("{}: {}", reason.name(), reason.help()));
    }

    fn step(&mut self, what: &Told) {
        match what {
            Told::Begins { interface, about } => {
                self.told.packet = packet(about);
                match interface {
                    Some(id) => self.line("arrives", format!("on {}", self.name(*id))),
                    None => self.line("arrives", "from the box itself"),
                }
            }
            Told::Screened(interface, direction) => self.screened(*interface, *direction),
            Told::Skipped => self.line("skip", "this interface is not filtered (set skip on)"),
            Told::Filter(step) => self.filter(step),
            Told::Answered(response) => self.answered(*response),
            Told::Way {
                interface,
                next_hop,
            } => self.way(*interface, *next_hop),
            Told::Ends(verdict) => self.ends(*verdict),
        }
    }

    fn screened(&mut self, interface: InterfaceId, direction: Direction) {
        let way = ["in", "out"][direction.index()];
        let name = self.name(interface);
        self.line("screen", format!("{way} on {name}"));
        self.told.decisions.push(Decision {
            interface: name,
            direction: way,
            rule: None,
            by_state: false,
            text: String::new(),
            origin: String::new(),
        });
    }

    fn filter(&mut self, step: &Step) {
        match step {
            Step::StateFound { slot } => self.state_found(*slot),
            Step::StatePasses => {
                self.line("state", "it belongs to that connection: no rule is asked")
            }
            Step::StateRefuses(reason) => {
                let text = format!("it does not fit that connection: {}", reason.help());
                self.line("state", text);
            }
            Step::AsksRules => {
                if let Some(decision) = self.told.decisions.last_mut() {
                    decision.by_state = false;
                }
                self.line("state", "none: the rules are asked");
            }
            Step::Matched(nr) => drop(self.rule_line("match", *nr)),
            Step::Translated(seen) => self.line("rewrite", ends(seen)),
            Step::Decided(rule) => self.decided(*rule),
            Step::MadeState => self.line("state", "made: the packets that follow pass by it"),
        }
    }

    fn state_found(&mut self, slot: RuleSlot) {
        let nr = self.on.config.ruleset.rule_in(slot);
        match nr {
            Some(nr) => drop(self.rule_line("state", nr)),
            None => self.line("state", "found; the rule that made it is gone"),
        }
        if let Some(decision) = self.told.decisions.last_mut() {
            decision.by_state = true;
        }
    }

    fn decided(&mut self, rule: Option<RuleNr>) {
        let name = match rule {
            Some(nr) => self.rule_line("decides", nr),
            None => {
                self.line("decides", "no rule matched: PF passes it, without a state");
                RuleName {
                    text: "the default rule".into(),
                    origin: String::new(),
                }
            }
        };
        if let Some(decision) = self.told.decisions.last_mut() {
            decision.rule = rule.map(|nr| nr.0);
            (decision.text, decision.origin) = (name.text, name.origin);
        }
    }

    fn answered(&mut self, response: Response) {
        let text = match response {
            Response::None => return,
            Response::Reset { .. } => "a TCP reset".to_string(),
            Response::Icmp { icmp_type, code } => {
                format!("an ICMP message, type {icmp_type} code {code}")
            }
        };
        self.line("answer", format!("the sender hears {text}"));
        self.told.answer = Some(text);
    }

    fn way(&mut self, interface: InterfaceId, next_hop: Option<IpAddr>) {
        let name = self.name(interface);
        let text = match next_hop {
            Some(hop) => format!("out by {name}, next hop {hop}"),
            None => format!("out by {name}"),
        };
        self.line("route", text);
        self.told.out = Some(name);
    }

    fn ends(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Drop(reason) => self.refused(reason),
            Verdict::Pass(egress) => self.passes(egress.interface, ""),
            Verdict::Wait { interface, .. } => {
                self.passes(
                    interface,
                    ", as soon as the next hop has told its station address",
                );
            }
            Verdict::Host => self.is("local", "it is for the box itself"),
            Verdict::Bridge => self.is("pass", "its bridge sends it on"),
            Verdict::Tunnel(interface) => {
                let name = self.name(interface);
                self.is("local", &format!("what is inside comes in by {name}"));
            }
            Verdict::Control => self.is("local", "it is a frame of a link protocol"),
            Verdict::Handoff { worker } => {
                self.is(
                    "hand over",
                    &format!("worker {worker} owns this connection"),
                );
            }
            Verdict::Gather => self.is("gather", "a piece: the others are waited for"),
            Verdict::Consumed(Consumer::Neighbor) => self.is("consumed", "neighbor discovery"),
            Verdict::Consumed(Consumer::Bridge) => {
                self.is("local", "nobody else on the bridge wants it")
            }
            Verdict::Consumed(Consumer::Fragments) => {
                self.is("pass", "it leaves in pieces");
            }
        }
    }

    fn passes(&mut self, interface: InterfaceId, more: &str) {
        let name = self.name(interface);
        self.is("pass", &format!("it leaves by {name}{more}"));
        self.told.out = Some(name);
    }

    fn is(&mut self, verdict: &'static str, text: &str) {
        self.told.verdict = verdict;
        self.line("ends", text);
    }
}

fn ip(af: Af, addr: u128) -> IpAddr {
    match af {
        Af::Inet => std::net::Ipv4Addr::from_bits(addr as u32).into(),
        Af::Inet6 => std::net::Ipv6Addr::from_bits(addr).into(),
    }
}

fn ends(seen: &Seen) -> String {
    let (src, dst) = (end(seen.af, seen.src), end(seen.af, seen.dst));
    format!("the rules see {src} > {dst} from here on")
}

fn end(af: Af, (addr, port): (u128, u16)) -> String {
    match port {
        0 => ip(af, addr).to_string(),
        port => std::net::SocketAddr::new(ip(af, addr), port).to_string(),
    }
}

fn packet(about: &About) -> String {
    let (src, dst) = (end(about.af, about.src), end(about.af, about.dst));
    let proto = match about.proto {
        1 => format!("icmp type {} code {}", about.icmp.0, about.icmp.1),
        6 => format!("tcp flags {}", flags(about.flags)),
        17 => "udp".into(),
        58 => format!("icmp6 type {} code {}", about.icmp.0, about.icmp.1),
        n => format!("protocol {n}"),
    };
    format!("{src} > {dst} {proto}, {} bytes", about.len)
}

fn flags(flags: u8) -> String {
    let letters = "FSRPAUEW".chars().enumerate();
    let set = letters.filter(|(n, _)| flags & 1 << n != 0).map(|(_, l)| l);
    set.collect()
}

impl Explanation {
    /// For people: the steps, and what comes of them.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.packet);
        for line in &self.steps {
            let indent = if line.step == "screen" { "" } else { "  " };
            let origin = line.origin.as_deref().unwrap_or_default();
            let gap = if origin.is_empty() { "" } else { "  " };
            out += &format!("{indent}{:<8} {}{gap}{origin}\n", line.step, line.text);
        }
        out += &self.sentence();
        if let Some(note) = &self.note {
            out += &format!("{note}\n");
        }
        out
    }

    /// The verdict and the line it comes from.
    fn sentence(&self) -> String {
        let by = self.decisions.last().map(|d| match (d.by_state, d.rule) {
            (true, _) => " by its state".to_string(),
            (_, None) => String::new(),
            (_, Some(_)) => format!(" by {}: {}", d.origin, d.text),
        });
        let reason = self.reason.filter(|r| *r != "match");
        let reason = reason.map_or(String::new(), |r| format!(", reason {r}"));
        format!(
            "{}{}{reason}\n",
            self.verdict.to_uppercase(),
            by.unwrap_or_default()
        )
    }
}
