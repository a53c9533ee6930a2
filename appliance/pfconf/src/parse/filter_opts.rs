//! The part of a rule after the addresses: options in any order.

use ruleset::Af;

use super::{Parsed, Parser};
use crate::ast::{Divert, Dummynet, FilterOpts, IfItem, IfKind, Num, QueueNames, Text};
use crate::lex::Tok;
use crate::source::Span;

/// Most labels of a rule of FreeBSD.
const LABELS_MAX: usize = 5;

/// Longest label and longest tag.
pub(crate) const LABEL_MAX: usize = 63;

/// Words that begin an option, for near misses.
const OPTION_WORDS: &[&str] = &[
    "user",
    "group",
    "flags",
    "icmp-type",
    "icmp6-type",
    "tos",
    "prio",
    "keep",
    "modulate",
    "synproxy",
    "no",
    "fragment",
    "allow-opts",
    "label",
    "queue",
    "dnpipe",
    "dnqueue",
    "max-pkt-size",
    "ridentifier",
    "tag",
    "tagged",
    "probability",
    "rtable",
    "divert-to",
    "divert-reply",
    "divert-packet",
    "scrub",
    "nat-to",
    "rdr-to",
    "binat-to",
    "af-to",
    "route-to",
    "reply-to",
    "dup-to",
    "received-on",
    "once",
    "max-pkt-rate",
    "set",
    "port",
    "from",
    "to",
    "proto",
    "on",
];

/// Words of the part of a rule that has a fixed order.
const HEAD_WORDS: &[&str] = &[
    "in", "out", "log", "quick", "on", "inet", "inet6", "proto", "all", "from", "to", "os",
];

const HEAD_ORDER: &str = "in|out log quick on IF inet|inet6 proto P from X to Y";

impl Parser<'_> {
    pub(super) fn filter_opts(&mut self, mut opts: FilterOpts) -> Parsed<FilterOpts> {
        while !self.at_end() && !self.at_char(b'{') {
            self.filter_opt(&mut opts)?;
        }
        Ok(opts)
    }

    fn filter_opt(&mut self, opts: &mut FilterOpts) -> Parsed<()> {
        let start = self.tok.span;
        let word = match &self.tok.tok {
            Tok::Word(w) => w.clone(),
            Tok::Char(b'!') => return self.negated_opt(opts),
            _ => return Err(self.unexpected("")),
        };
        match word.as_str() {
            "keep" | "modulate" | "synproxy" | "no" => {
                let keep = self.keep()?;
                self.first("modulate or keep", opts.keep.is_some(), keep.span)?;
                opts.keep = Some(keep);
            }
            "nat-to" | "rdr-to" | "binat-to" | "af-to" => self.translation_opt(opts, &word)?,
            "route-to" | "reply-to" | "dup-to" => self.route_opt(opts)?,
            "divert-to" | "divert-reply" | "divert-packet" => self.divert_opt(opts)?,
            "set" => self.set_opts(opts)?,
            "state" | "source" => self.limiter_opt(opts)?,
            _ => {
                self.advance();
                self.word_opt(opts, &word, start)?;
            }
        }
        Ok(())
    }

    /// Options that are recognized by their first word alone; it is already taken.
    fn word_opt(&mut self, opts: &mut FilterOpts, word: &str, start: Span) -> Parsed<()> {
        match word {
            // Later items come first, as in PF.
            "user" => {
                let items = self.ids("user")?;
                opts.user.splice(0..0, items);
            }
            "group" => {
                let items = self.ids("group")?;
                opts.group.splice(0..0, items);
            }
            "flags" => {
                let (set, mask) = self.flags()?;
                self.first("flags", opts.flags.is_some(), start)?;
                opts.flags = Some((set, mask, start.to(self.last)));
            }
            "icmp-type" | "icmp6-type" => {
                let af = match word {
                    "icmp-type" => Af::Inet,
                    _ => Af::Inet6,
                };
                self.first("icmp-type", opts.icmp_span.is_some(), start)?;
                opts.icmp = self.icmp_items(af)?;
                opts.icmp_span = Some(start.to(self.last));
            }
            "prio" => {
                self.first("prio", opts.prio.is_some(), start)?;
                let prio = self.number_in("a priority", 0..=7, "prio must be 0 - 7")?;
                opts.prio = Some((prio, start.to(self.last)));
            }
            "tos" => {
                self.first("tos", opts.tos.is_some(), start)?;
                opts.tos = Some((self.tos()?, start.to(self.last)));
            }
            "fragment" => opts.fragment = Some(start),
            "allow-opts" => opts.allow_opts = Some(start),
            "once" => opts.once = Some(start),
            "label" => self.label_opt(&mut opts.label, &mut opts.more_labels)?,
            "dnpipe" | "dnqueue" => {
                let dummynet = self.dummynet(word == "dnpipe")?;
                opts.dummynet = Some((dummynet, start.to(self.last)));
            }
            "max-pkt-size" => {
                let text = "invalid max-pkt-size value";
                let bytes = self.number_in("a number of bytes", 0..=65535, text)?;
                opts.max_pkt_size = Some((bytes, start.to(self.last)));
            }
            "queue" => {
                self.first("queue", opts.queue.is_some(), start)?;
                opts.queue = Some(self.queue_names()?);
            }
            "tag" => opts.tag = Some(self.tag()?),
            "tagged" => opts.tagged = Some((self.tag()?, false)),
            "probability" => opts.probability = Some(self.probability()?),
            "rtable" => opts.rtable = Some(self.rtable()?),
            "received-on" => self.received_on(opts, false, start)?,
            "max-pkt-rate" => self.max_pkt_rate(opts, start)?,
            "scrub" => {
                // A second list takes the place of the first, all but the reassembly.
                let mut scrub = self.scrub_list()?;
                let before = opts.scrub.as_ref();
                scrub.reassemble_tcp |= before.is_some_and(|(s, _)| s.reassemble_tcp);
                opts.scrub = Some((scrub, start.to(self.last)));
            }
            "ridentifier" => {
                let n = self.number_u32("a rule identifier")?;
                opts.ridentifier = Some((n, start.to(self.last)));
            }
            _ => return Err(self.unknown_opt(word, start)),
        }
        Ok(())
    }

    /// The word is already taken, so the message must point back at it.
    fn unknown_opt(&mut self, word: &str, start: Span) -> crate::parse::Reported {
        let near = self.messages.near(word, OPTION_WORDS.iter().copied());
        let hint = match HEAD_WORDS.contains(&word) {
            true => Some(format!("'{word}' stands before the options: {HEAD_ORDER}")),
            false => near.map(|w| format!("did you mean '{w}'?")),
        };
        let token = crate::lex::Token {
            tok: Tok::Word(word.into()),
            span: start,
            line: self.last_line,
        };
        let ahead = std::mem::replace(&mut self.tok, token);
        let reported = match hint {
            Some(hint) => self.unexpected_hint(hint),
            None => self.unexpected("no option of a rule begins like this"),
        };
        self.tok = ahead;
        reported
    }

    /// Reports an option that stands twice.
    fn first(&mut self, option: &str, again: bool, span: Span) -> Parsed<()> {
        if !again {
            return Ok(());
        }
        let text = format!("{option} cannot be redefined");
        Err(self.fail(span, "respecified", text))
    }

    fn negated_opt(&mut self, opts: &mut FilterOpts) -> Parsed<()> {
        let start = self.tok.span;
        self.expect_char(b'!')?;
        if self.take("tagged") {
            opts.tagged = Some((self.tag()?, true));
            return Ok(());
        }
        if self.take("received-on") {
            return self.received_on(opts, true, start);
        }
        Err(self.unexpected_word(&["tagged", "received-on"]))
    }

    /// After `label`: the first goes to one place, what FreeBSD allows beyond it to another.
    pub(super) fn label_opt(
        &mut self,
        first: &mut Option<Text>,
        more: &mut Vec<Text>,
    ) -> Parsed<()> {
        let label = self.name("a label")?;
        if first.is_none() {
            *first = Some(label);
            return Ok(());
        }
        if !self.freebsd {
            return self.first("label", true, label.span);
        }
        if more.len() + 1 >= LABELS_MAX {
            let text = format!("label can only be used {LABELS_MAX} times");
            return Err(self.fail(label.span, "respecified", text));
        }
        more.push(label);
        Ok(())
    }

    /// `1`, `(1)` or `(1, 2)` after `dnpipe` and `dnqueue`.
    fn dummynet(&mut self, pipe: bool) -> Parsed<Dummynet> {
        let number = |p: &mut Self| {
            let text = "number out of range";
            p.number_in("the number of a pipe", 0..=65535, text)
        };
        let numbers: Vec<u16> = match self.at_char(b'(') {
            true => self.list(b'(', b')', number)?,
            false => vec![number(self)?],
        };
        if numbers.len() > 2 {
            let text = "a rule has at most two pipes";
            return Err(self.fail(self.last, "dummynet", text));
        }
        Ok(Dummynet {
            pipe,
            forward: numbers[0],
            backward: numbers.get(1).copied().unwrap_or(0),
        })
    }

    pub(super) fn tag(&mut self) -> Parsed<Text> {
        let tag = self.names("a tag")?;
        if tag.text.len() > LABEL_MAX {
            let text = format!("tag too long, max {LABEL_MAX} chars");
            return Err(self.fail(tag.span, "tag", text));
        }
        Ok(tag)
    }

    /// The number of a routing table.
    pub(super) fn rtable(&mut self) -> Parsed<Num> {
        let number = self.number("a routing table")?;
        match (0..=255).contains(&number.n) {
            true => Ok(number),
            false => Err(self.fail(number.span, "rtable", "invalid rtable id")),
        }
    }

    fn received_on(&mut self, opts: &mut FilterOpts, not: bool, start: Span) -> Parsed<()> {
        let kind = match self.take("any") {
            true => IfKind::Any,
            false => IfKind::Name(self.interface_name()?),
        };
        if opts.received_on.is_some() {
            return Err(self.fail(start, "respecified", "cannot respecify received-on"));
        }
        let span = start.to(self.last);
        opts.received_on = Some(IfItem { kind, not, span });
        Ok(())
    }

    fn max_pkt_rate(&mut self, opts: &mut FilterOpts, start: Span) -> Parsed<()> {
        let text = "only positive values permitted";
        let limit = self.number_in("a number of packets", 0..=i64::from(u32::MAX), text)?;
        self.expect_char(b'/')?;
        let seconds = self.number_in("a number of seconds", 0..=i64::from(u32::MAX), text)?;
        if opts.max_pkt_rate.is_some_and(|r| r.0 != 0) {
            return Err(self.fail(start, "respecified", "cannot respecify max-pkt-rate"));
        }
        opts.max_pkt_rate = Some((limit, seconds, start.to(self.last)));
        Ok(())
    }

    /// A fraction, or a percentage with `%`; as a fraction of `u32::MAX`, at least 1.
    fn probability(&mut self) -> Parsed<u32> {
        let word = self.word("a probability")?;
        let (digits, factor) = match word.text.strip_suffix('%') {
            Some(digits) => (digits, 0.01),
            None => (word.text.as_str(), 1.0),
        };
        let value: f64 = match digits.parse() {
            Ok(value) => value,
            Err(_) => {
                let text = format!("invalid probability: {}", word.text);
                return Err(self.fail(word.span, "probability", text));
            }
        };
        let share = (value * factor * f64::from(u32::MAX) + 0.5).floor();
        if !(0.0..=f64::from(u32::MAX)).contains(&share) {
            let text = format!("invalid probability: {}%", value * factor * 100.0);
            let hint = Some("a number without % is a factor: 1 is always".into());
            return Err(self.fail_hint(word.span, "probability", text, hint));
        }
        Ok((share as u32).max(1))
    }

    /// `q`, `(q, pq)`
    pub(super) fn queue_names(&mut self) -> Parsed<QueueNames> {
        let mut names = match self.at_char(b'(') {
            true => self.list(b'(', b')', |p| p.name("the name of a queue"))?,
            false => vec![self.name("the name of a queue")?],
        };
        if names.len() > 2 {
            let span = names[2].span;
            return Err(self.fail(span, "queue", "a rule has at most two queues"));
        }
        let priority = (names.len() == 2).then(|| names.remove(1));
        let name = names.remove(0);
        Ok(QueueNames { name, priority })
    }

    fn translation_opt(&mut self, opts: &mut FilterOpts, word: &str) -> Parsed<()> {
        let start = self.tok.span;
        self.advance();
        let again = match word {
            "rdr-to" => opts.rdr.is_some() || opts.af_to.is_some(),
            _ => opts.nat.is_some() || opts.binat.is_some() || opts.af_to.is_some(),
        };
        if word == "af-to" {
            let af_to = self.af_to(start)?;
            if opts.nat.is_some() || opts.binat.is_some() || opts.af_to.is_some() {
                return Err(self.fail(start, "respecified", "cannot respecify af-to"));
            }
            opts.af_to = Some(af_to);
            return Ok(());
        }
        let redirect = self.redirect(start)?;
        if again {
            let text = match word {
                "rdr-to" => "cannot respecify rdr-to",
                _ => "cannot respecify nat-to/binat-to",
            };
            return Err(self.fail(start, "respecified", text));
        }
        match word {
            "nat-to" => opts.nat = Some(redirect),
            "rdr-to" => opts.rdr = Some(redirect),
            _ => opts.binat = Some(redirect),
        }
        Ok(())
    }

    fn route_opt(&mut self, opts: &mut FilterOpts) -> Parsed<()> {
        let route = self.route()?;
        if opts.route.is_some() {
            let text = "cannot respecify route-to/reply-to/dup-to";
            return Err(self.fail(route.span, "respecified", text));
        }
        opts.route = Some(route);
        if self.at("prefer-ipv6-nexthop") {
            self.advance();
            opts.prefer_ipv6_nexthop = Some(self.last);
        }
        Ok(())
    }

    fn divert_opt(&mut self, opts: &mut FilterOpts) -> Parsed<()> {
        let start = self.tok.span;
        let divert = if self.take("divert-reply") {
            Divert::Reply
        } else if self.take("divert-packet") {
            self.expect("port")?;
            let port = self.word("a port")?.text;
            Divert::Packet { port }
        } else {
            self.expect("divert-to")?;
            match self.tok.tok {
                Tok::Number(_) => Divert::Socket {
                    port: self.word("a port")?.text,
                },
                _ => {
                    let host = self.divert_host()?;
                    self.expect("port")?;
                    let port = self.word("a port")?.text;
                    Divert::To { host, port }
                }
            }
        };
        if opts.divert.is_some() {
            return Err(self.fail(start, "respecified", "more than one divert option"));
        }
        opts.divert = Some((divert, start.to(self.last)));
        Ok(())
    }

    /// `set prio 3`, `set (prio 3, tos ef)`.
    fn set_opts(&mut self, opts: &mut FilterOpts) -> Parsed<()> {
        self.expect("set")?;
        if !self.take_char(b'(') {
            return self.set_opt(opts);
        }
        self.set_opt(opts)?;
        while !self.take_char(b')') {
            self.take_char(b',');
            self.set_opt(opts)?;
        }
        Ok(())
    }

    fn set_opt(&mut self, opts: &mut FilterOpts) -> Parsed<()> {
        let start = self.tok.span;
        if self.take("prio") {
            let (a, b) = self.prio_pair()?;
            self.first("prio", opts.set_prio.is_some(), start)?;
            opts.set_prio = Some((a, b, start.to(self.last)));
        } else if self.take("queue") {
            self.first("queue", opts.queue.is_some(), start)?;
            opts.queue = Some(self.queue_names()?);
        } else if self.take("tos") {
            let tos = self.tos()?;
            self.again("tos", opts.set_tos.is_some(), start)?;
            opts.set_tos = Some((tos, start.to(self.last)));
        } else if self.take("delay") {
            let number = self.number("a delay in milliseconds")?;
            self.again("delay", opts.delay.is_some_and(|d| d.0 != 0), start)?;
            let Ok(delay) = u16::try_from(number.n) else {
                let text = format!("illegal delay value {} (0-65535)", number.n);
                return Err(self.fail(number.span, "delay", text));
            };
            opts.delay = Some((delay, start.to(self.last)));
        } else {
            return Err(self.unexpected_word(&["prio", "queue", "tos", "delay"]));
        }
        Ok(())
    }

    /// `n` or `(n, m)`; the second is for packets that hurry.
    fn prio_pair(&mut self) -> Parsed<(u8, u8)> {
        let text = "prio must be 0 - 7";
        if !self.take_char(b'(') {
            let n = self.number_in("a priority from 0 to 7", 0..=7, text)?;
            return Ok((n, n));
        }
        let a = self.number_in("a priority from 0 to 7", 0..=7, text)?;
        self.take_char(b',');
        let b = self.number_in("a priority from 0 to 7", 0..=7, text)?;
        self.expect_char(b')')?;
        Ok((a, b))
    }
}
