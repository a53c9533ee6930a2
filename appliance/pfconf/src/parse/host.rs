//! Hosts: `any`, addresses, ranges, interfaces, tables, with `!` and in lists.

use super::{Parsed, Parser};
use crate::ast::{Host, HostKind, Side};
use crate::lex::Tok;
use crate::source::Span;

/// Longest name of a table.
pub(crate) const TABLE_NAME_MAX: usize = 31;

/// What a list or a single item stands for.
pub(super) enum Hosts {
    Any,
    Some(Vec<Host>),
}

impl Parser<'_> {
    /// What stands after `from` or `to`.
    pub(super) fn side(&mut self) -> Parsed<Side> {
        let mut side = Side::default();
        if !self.at("port") {
            side.hosts = match self.hosts()? {
                Hosts::Any => Vec::new(),
                Hosts::Some(hosts) => hosts,
            };
        }
        if self.take("port") {
            side.ports = self.ports()?;
        }
        Ok(side)
    }

    /// `any`, one host, or a list; `any` in a list swallows the list.
    pub(super) fn hosts(&mut self) -> Parsed<Hosts> {
        if self.take("any") {
            return Ok(Hosts::Any);
        }
        if !self.at_char(b'{') {
            return Ok(Hosts::Some(vec![self.host(true)?]));
        }
        self.nest()?;
        let items = self.list(b'{', b'}', Self::hosts);
        self.nesting -= 1;
        let mut all = Vec::new();
        for item in items? {
            match item {
                Hosts::Any => return Ok(Hosts::Any),
                Hosts::Some(hosts) => all.extend(hosts),
            }
        }
        Ok(Hosts::Some(all))
    }

    /// One host. `routes`: the kinds that ask the routing table are allowed.
    pub(super) fn host(&mut self, routes: bool) -> Parsed<Host> {
        let start = self.tok.span;
        let not = self.take_char(b'!');
        let kind = self.host_kind(routes)?;
        Ok(Host {
            kind,
            not,
            weight: 0,
            span: start.to(self.last),
        })
    }

    fn host_kind(&mut self, routes: bool) -> Parsed<HostKind> {
        if routes && self.take("no-route") {
            return Ok(HostKind::NoRoute);
        }
        if routes && self.take("urpf-failed") {
            return Ok(HostKind::UrpfFailed);
        }
        if self.take("route") {
            let label = self.name("a route label in quotes")?;
            if label.text.len() > 31 {
                let text = "route label too long, max 31 chars";
                return Err(self.fail(label.span, "route-label", text));
            }
            return Ok(HostKind::RouteLabel(label.text));
        }
        if self.at_char(b'<') {
            return self.table_name().map(|t| HostKind::Table(t.0));
        }
        if self.at_char(b'(') {
            return self.dynamic();
        }
        self.address()
    }

    /// `<name>`
    pub(super) fn table_name(&mut self) -> Parsed<(String, Span)> {
        let (name, span) = self.bracketed()?;
        if name.len() > TABLE_NAME_MAX {
            let text = format!("table name '{name}' too long");
            let hint = Some(format!("at most {TABLE_NAME_MAX} characters"));
            return Err(self.fail_hint(span, "table-name", text, hint));
        }
        Ok((name, span))
    }

    /// `<name>` of any length.
    pub(super) fn bracketed(&mut self) -> Parsed<(String, Span)> {
        let start = self.tok.span;
        self.expect_char(b'<')?;
        let name = self.word("the name of a table")?;
        self.expect_char(b'>')?;
        Ok((name.text, start.to(self.last)))
    }

    /// `(if)`, `(if:network)/24`, and `(if gateway)` of the old dialect.
    fn dynamic(&mut self) -> Parsed<HostKind> {
        self.expect_char(b'(')?;
        let text = self.name("the name of an interface")?.text;
        if !self.at_char(b')') {
            let gateway = Box::new(self.host(false)?);
            self.expect_char(b')')?;
            return Ok(HostKind::Via {
                interface: text,
                gateway: Some(gateway),
            });
        }
        self.expect_char(b')')?;
        let bits = self.opt_bits()?;
        if bits.is_some_and(|bits| !(0..=128).contains(&bits)) {
            return Err(self.fail(self.last, "prefix", "bit number too big"));
        }
        Ok(HostKind::Dynamic { text, bits })
    }

    fn opt_bits(&mut self) -> Parsed<Option<i64>> {
        match self.take_char(b'/') {
            true => Ok(Some(self.number("a number of bits")?.n)),
            false => Ok(None),
        }
    }

    /// Address, name, interface, `10/8`, or `low - high`.
    fn address(&mut self) -> Parsed<HostKind> {
        if let Tok::Number(n) = self.tok.tok {
            self.advance();
            let text = n.to_string();
            if !self.at_char(b'/') {
                return Err(self.unexpected("a number alone is no address"));
            }
            let bits = self.opt_bits()?;
            return Ok(HostKind::Name { text, bits });
        }
        let text = self.name("an address")?.text;
        if self.take_char(b'-') {
            let to = self.name("the last address of the range")?.text;
            return Ok(HostKind::Range { from: text, to });
        }
        let bits = self.opt_bits()?;
        Ok(HostKind::Name { text, bits })
    }
}
