//! The part of a rule up to the addresses: `in log quick on em0 inet proto tcp from … to …`.

use ruleset::{Af, Direction};

use super::{Parsed, Parser};
use crate::ast::{Head, HostKind, IfItem, IfKind, LogSpec, NameOrNumber, Proto};
use crate::lex::Tok;

impl Parser<'_> {
    pub(super) fn head(&mut self) -> Parsed<Head> {
        let mut head = Head {
            direction: self.opt_direction(),
            ..Head::default()
        };
        (head.log, head.quick) = self.log_quick()?;
        self.head_after_quick(head)
    }

    /// From `on` to the addresses.
    pub(super) fn head_after_quick(&mut self, mut head: Head) -> Parsed<Head> {
        head.on = self.opt_on()?;
        head.route = self.opt_route_before_family()?;
        head.prefer_ipv6_nexthop = head.route.is_some() && self.take("prefer-ipv6-nexthop");
        head.af = self.opt_af();
        head.proto = self.opt_proto()?;
        self.addresses(&mut head)?;
        Ok(head)
    }

    pub(super) fn opt_direction(&mut self) -> Option<Direction> {
        if self.take("in") {
            return Some(Direction::In);
        }
        self.take("out").then_some(Direction::Out)
    }

    /// `log` and `quick`, in either order.
    pub(super) fn log_quick(&mut self) -> Parsed<(Option<LogSpec>, bool)> {
        let (mut log, mut quick) = (None, false);
        loop {
            if self.at("log") && log.is_none() {
                log = Some(self.log()?);
            } else if self.at("quick") && !quick {
                self.advance();
                quick = true;
            } else {
                return Ok((log, quick));
            }
        }
    }

    pub(super) fn log(&mut self) -> Parsed<LogSpec> {
        self.expect("log")?;
        let mut log = LogSpec::default();
        if !self.at_char(b'(') {
            return Ok(log);
        }
        let items = self.list(b'(', b')', Self::log_item)?;
        for item in items {
            match item {
                LogItem::All => log.all = true,
                LogItem::Matches => log.matches = true,
                LogItem::User => log.user = true,
                LogItem::To(n) => log.to = n,
            }
        }
        Ok(log)
    }

    fn log_item(&mut self) -> Parsed<LogItem> {
        if self.take("all") {
            return Ok(LogItem::All);
        }
        if self.take("matches") {
            return Ok(LogItem::Matches);
        }
        if self.take("user") || self.take("group") {
            return Ok(LogItem::User);
        }
        if !self.take("to") {
            return Err(self.unexpected_word(&["all", "matches", "user", "to"]));
        }
        let name = self.name("the name of a log interface")?;
        let Some(number) = name.text.strip_prefix("pflog") else {
            let text = format!("{}: should be a pflog interface", name.text);
            return Err(self.fail(name.span, "log-interface", text));
        };
        match number.parse() {
            Ok(n) => Ok(LogItem::To(n)),
            Err(_) => {
                let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                let why = if digits { "too large" } else { "invalid" };
                let text = format!("{}: {why}", name.text);
                let hint = Some("pflog0 to pflog255 are possible".into());
                Err(self.fail_hint(name.span, "log-interface", text, hint))
            }
        }
    }

    /// `on …`; empty without.
    pub(super) fn opt_on(&mut self) -> Parsed<Vec<IfItem>> {
        match self.take("on") {
            true => self.interfaces(),
            false => Ok(Vec::new()),
        }
    }

    pub(super) fn interfaces(&mut self) -> Parsed<Vec<IfItem>> {
        self.one_or_list(Self::interface)
    }

    fn interface(&mut self) -> Parsed<IfItem> {
        let start = self.tok.span;
        let not = self.take_char(b'!');
        let kind = if self.take("any") {
            IfKind::Any
        } else if self.take("rdomain") {
            let number = self.number("a routing domain")?;
            let id = u32::try_from(number.n).ok().filter(|id| *id <= 255);
            let Some(id) = id else {
                let text = format!("rdomain {} outside range", number.n);
                return Err(self.fail(number.span, "rdomain", text));
            };
            IfKind::Rdomain(id)
        } else {
            IfKind::Name(self.interface_name()?)
        };
        let span = start.to(self.last);
        Ok(IfItem { kind, not, span })
    }

    /// A name of at most 15 bytes.
    pub(super) fn interface_name(&mut self) -> Parsed<String> {
        let name = self.name("the name of an interface or group")?;
        if name.text.is_empty() || name.text.len() > 15 {
            return Err(self.fail(name.span, "interface-name", "interface name too long"));
        }
        Ok(name.text)
    }

    pub(super) fn opt_af(&mut self) -> Option<Af> {
        if self.take("inet") {
            return Some(Af::Inet);
        }
        self.take("inet6").then_some(Af::Inet6)
    }

    pub(super) fn opt_proto(&mut self) -> Parsed<Vec<Proto>> {
        match self.take("proto") {
            true => self.one_or_list(Self::proto),
            false => Ok(Vec::new()),
        }
    }

    fn proto(&mut self) -> Parsed<Proto> {
        let value = match self.tok.tok {
            Tok::Number(n) => {
                self.advance();
                NameOrNumber::Number(n)
            }
            _ => NameOrNumber::Name(self.name("a protocol")?.text),
        };
        let span = self.last;
        match value {
            NameOrNumber::Number(0) => Err(self.fail(span, "proto", "proto 0 cannot be used")),
            NameOrNumber::Number(n) if !(0..=255).contains(&n) => {
                Err(self.fail(span, "proto", "protocol outside range"))
            }
            value => Ok(Proto { value, span }),
        }
    }

    /// `all`, or `from … os … to …` with either part left out; nothing is `all`.
    pub(super) fn addresses(&mut self, head: &mut Head) -> Parsed<()> {
        if self.take("all") {
            return Ok(());
        }
        if self.take("from") {
            head.from = self.side()?;
        }
        if self.take("os") {
            head.os = self.one_or_list(|p| p.name("the name of an operating system"))?;
        }
        if self.take("to") {
            head.to = self.side()?;
            let mut hosts = head.to.hosts.iter();
            if let Some(host) = hosts.find(|h| h.kind == HostKind::UrpfFailed) {
                let text = "\"urpf-failed\" is not permitted in a destination address";
                return Err(self.fail(host.span, "urpf-failed", text));
            }
        }
        Ok(())
    }
}

enum LogItem {
    All,
    Matches,
    User,
    To(u8),
}
