//! Targets of translation and routing with their pool options.

use super::{FOREIGN_WORDS, Parsed, Parser};
use crate::ast::{
    AfTo, Host, PoolKind, PoolOpts, Redirect, RouteKind, RouteSpec, TargetPort, Text,
};
use crate::lex::Tok;
use crate::source::Span;

impl Parser<'_> {
    /// After `nat-to`, `rdr-to`, `binat-to` or `->`; `start` is that word.
    pub(super) fn redirect(&mut self, start: Span) -> Parsed<Redirect> {
        let hosts = self.pool_hosts()?;
        let port = self.opt_target_port()?;
        let pool = self.pool_opts()?;
        let span = start.to(self.last);
        Ok(Redirect {
            hosts,
            port,
            pool,
            span,
        })
    }

    fn opt_target_port(&mut self) -> Parsed<Option<TargetPort>> {
        match self.take("port") {
            true => self.target_port().map(Some),
            false => Ok(None),
        }
    }

    /// One host or a list, each with an optional weight.
    fn pool_hosts(&mut self) -> Parsed<Vec<Host>> {
        if !self.at_char(b'{') {
            return Ok(vec![self.pool_host()?]);
        }
        self.nest()?;
        let lists = self.list(b'{', b'}', Self::pool_hosts);
        self.nesting -= 1;
        Ok(lists?.into_iter().flatten().collect())
    }

    fn pool_host(&mut self) -> Parsed<Host> {
        if self.at_char(b'!') {
            return Err(self.unexpected("a target cannot be negated"));
        }
        let mut host = match self.at("any") {
            true => return Err(self.unexpected("'any' is no target")),
            false => self.host(false)?,
        };
        host.weight = self.opt_weight()?;
        Ok(host)
    }

    /// `weight n`; 0 without.
    pub(super) fn opt_weight(&mut self) -> Parsed<u16> {
        match self.take("weight") {
            true => self.number_in("a weight", 1..=65535, "weight out of range"),
            false => Ok(0),
        }
    }

    pub(super) fn pool_opts(&mut self) -> Parsed<PoolOpts> {
        let mut pool = PoolOpts::default();
        while self.opt_pool_opt(&mut pool)? {}
        Ok(pool)
    }

    fn opt_pool_opt(&mut self, pool: &mut PoolOpts) -> Parsed<bool> {
        let kinds = [
            ("bitmask", PoolKind::Bitmask),
            ("random", PoolKind::Random),
            ("source-hash", PoolKind::SourceHash),
            ("round-robin", PoolKind::RoundRobin),
            ("least-states", PoolKind::LeastStates),
        ];
        for (word, kind) in kinds {
            if self.take(word) {
                return self.pool_kind(pool, kind);
            }
        }
        if self.take("static-port") {
            if std::mem::replace(&mut pool.static_port, true) {
                return Err(self.fail(self.last, "respecified", "static-port cannot be redefined"));
            }
            return Ok(true);
        }
        if self.take("sticky-address") {
            if std::mem::replace(&mut pool.sticky, true) {
                let text = "sticky-address cannot be redefined";
                return Err(self.fail(self.last, "respecified", text));
            }
            return Ok(true);
        }
        if self.take("endpoint-independent") {
            pool.endpoint_independent = true;
            return Ok(true);
        }
        if self.take("map-e-portset") {
            pool.map_e = Some(self.map_e()?);
            return Ok(true);
        }
        Ok(false)
    }

    fn pool_kind(&mut self, pool: &mut PoolOpts, kind: PoolKind) -> Parsed<bool> {
        if pool.kind != PoolKind::None {
            return Err(self.fail(self.last, "respecified", "pool type cannot be redefined"));
        }
        pool.kind = kind;
        if kind == PoolKind::SourceHash {
            pool.key = self.opt_hash_key()?;
        }
        Ok(true)
    }

    fn opt_hash_key(&mut self) -> Parsed<Option<Text>> {
        let foreign = [
            "map-e-portset",
            "endpoint-independent",
            "l3",
            "prefer-ipv6-nexthop",
        ];
        if self.tok.name().is_none() || self.at_any(&foreign) || self.at_any(FOREIGN_WORDS) {
            return Ok(None);
        }
        let key = self.name("a key")?;
        if let Some(hex) = key.text.strip_prefix("0x") {
            if hex.len() != 32 {
                let text = "hex key must be 128 bits (32 hex digits) long";
                return Err(self.fail(key.span, "hash-key", text));
            }
            if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(self.fail(key.span, "hash-key", "invalid hex key"));
            }
        }
        Ok(Some(key))
    }

    /// `offset/length/id` of FreeBSD's MAP-E.
    fn map_e(&mut self) -> Parsed<(u8, u8, u16)> {
        let offset = self.number_in("an offset", 1..=15, "MAP-E offset must be 1-15")?;
        self.expect_char(b'/')?;
        let length: u8 = self.number_in("a length", 1..=15, "MAP-E PSID length must be 1-15")?;
        self.expect_char(b'/')?;
        let id = self.word("a port set id")?;
        let number = match id.text.strip_prefix("0x") {
            Some(hex) => u16::from_str_radix(hex, 16).ok(),
            None => id.text.parse().ok(),
        };
        match number {
            Some(n) => Ok((offset, length, n)),
            None => Err(self.fail(id.span, "map-e", "Invalid MAP-E PSID")),
        }
    }

    /// After `af-to`.
    pub(super) fn af_to(&mut self, start: Span) -> Parsed<AfTo> {
        let Some(af) = self.opt_af() else {
            return Err(self.unexpected_word(&["inet", "inet6"]));
        };
        self.expect("from")?;
        let from = self.redirect(self.last)?;
        let to = match self.take("to") {
            true => Some(self.redirect(self.last)?),
            false => None,
        };
        let span = start.to(self.last);
        Ok(AfTo { af, from, to, span })
    }

    /// `route-to`, `reply-to`, `dup-to` with targets; the word is next.
    pub(super) fn route(&mut self) -> Parsed<RouteSpec> {
        let start = self.tok.span;
        let kind = if self.take("route-to") {
            RouteKind::Route
        } else if self.take("reply-to") {
            RouteKind::Reply
        } else {
            self.expect("dup-to")?;
            RouteKind::Dup
        };
        let hosts = self.pool_hosts()?;
        let pool = self.pool_opts()?;
        let span = start.to(self.last);
        Ok(RouteSpec {
            kind,
            hosts,
            pool,
            span,
        })
    }

    /// `route-to (if gw)` between `on` and the family: the old place.
    pub(super) fn opt_route_before_family(&mut self) -> Parsed<Option<RouteSpec>> {
        if !self.at_any(&["route-to", "reply-to", "dup-to"]) {
            return Ok(None);
        }
        self.route().map(Some)
    }

    /// A host name or address for `divert-to`.
    pub(super) fn divert_host(&mut self) -> Parsed<Text> {
        match self.tok.tok {
            Tok::Number(_) => Err(self.unexpected("a number alone is no address")),
            _ => self.name("an address"),
        }
    }
}
