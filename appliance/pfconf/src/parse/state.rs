//! `no state`, `keep state`, `modulate state`, `synproxy state` and what stands in their parentheses.

use ruleset::Timeout;

use super::{Parsed, Parser};
use crate::ast::{Keep, KeepKind, StateOpt, StateOptKind, Text};
use crate::near::nearest;

/// Most connections in `max-src-conn-rate`: PF counts in thousandths.
const CONN_RATE_MAX: u32 = u32::MAX / 1000;

impl Parser<'_> {
    /// The first word is one of the four.
    pub(super) fn keep(&mut self) -> Parsed<Keep> {
        let start = self.tok.span;
        let kind = if self.take("no") {
            KeepKind::No
        } else if self.take("keep") {
            KeepKind::Keep
        } else if self.take("modulate") {
            KeepKind::Modulate
        } else {
            self.expect("synproxy")?;
            KeepKind::Synproxy
        };
        self.expect("state")?;
        let span = start.to(self.last);
        let opts = match kind != KeepKind::No && self.at_char(b'(') {
            true => self.list(b'(', b')', Self::state_opt)?,
            false => Vec::new(),
        };
        Ok(Keep { kind, opts, span })
    }

    /// `set state-defaults opt, …`: the same options without parentheses.
    pub(super) fn state_defaults(&mut self) -> Parsed<Vec<StateOpt>> {
        let mut opts = vec![self.state_opt()?];
        while !self.at_end() {
            self.take_char(b',');
            opts.push(self.state_opt()?);
        }
        Ok(opts)
    }

    fn state_opt(&mut self) -> Parsed<StateOpt> {
        let start = self.tok.span;
        let kind = self.state_opt_kind()?;
        let span = start.to(self.last);
        Ok(StateOpt { kind, span })
    }

    fn state_opt_kind(&mut self) -> Parsed<StateOptKind> {
        let simple = [
            ("no-sync", StateOptKind::NoSync),
            ("if-bound", StateOptKind::IfBound),
            ("floating", StateOptKind::Floating),
            ("sloppy", StateOptKind::Sloppy),
            ("pflow", StateOptKind::Pflow),
        ];
        for (word, kind) in simple {
            if self.take(word) {
                return Ok(kind);
            }
        }
        if self.take("max") {
            return self.positive("a number of states").map(StateOptKind::Max);
        }
        if self.take("max-src-states") {
            return self
                .above_zero("max-src-states")
                .map(StateOptKind::MaxSrcStates);
        }
        if self.take("max-src-conn") {
            return self
                .above_zero("max-src-conn")
                .map(StateOptKind::MaxSrcConn);
        }
        if self.take("max-src-nodes") {
            return self
                .above_zero("max-src-nodes")
                .map(StateOptKind::MaxSrcNodes);
        }
        if self.take("max-src-conn-rate") {
            return self.conn_rate();
        }
        if self.take("source-track") {
            return Ok(self.source_track());
        }
        if self.take("overload") {
            return self.overload();
        }
        self.state_timeout()
    }

    /// Up to 32 bits; pfctl says the same of all others.
    fn positive(&mut self, what: &str) -> Parsed<u32> {
        let text = "only positive values permitted";
        self.number_in(what, 0..=i64::from(u32::MAX), text)
    }

    fn above_zero(&mut self, option: &str) -> Parsed<u32> {
        let n = self.positive("a number")?;
        if n == 0 {
            let text = format!("'{option}' must be > 0");
            return Err(self.fail(self.last, "state-option", text));
        }
        Ok(n)
    }

    fn conn_rate(&mut self) -> Parsed<StateOptKind> {
        let limit = self.positive("a number of connections")?;
        if !self.take_char(b'/') {
            return Err(self.unexpected("a rate is written 'connections/seconds'"));
        }
        let seconds = self.positive("a number of seconds")?;
        if limit == 0 || seconds == 0 {
            let text = "'max-src-conn-rate' values must be > 0";
            return Err(self.fail(self.last, "state-option", text));
        }
        if limit > CONN_RATE_MAX {
            let text = format!("'max-src-conn-rate' maximum rate must be < {CONN_RATE_MAX}");
            return Err(self.fail(self.last, "state-option", text));
        }
        Ok(StateOptKind::MaxSrcConnRate { limit, seconds })
    }

    fn source_track(&mut self) -> StateOptKind {
        let rule = self.take("rule");
        if !rule {
            // `global` is what no word means, too.
            self.take("global");
        }
        StateOptKind::SourceTrack { rule }
    }

    fn overload(&mut self) -> Parsed<StateOptKind> {
        let (text, span) = self.table_name()?;
        let flush = self.take("flush");
        let global = flush && self.take("global");
        Ok(StateOptKind::Overload {
            table: Text { text, span },
            flush,
            global,
        })
    }

    fn state_timeout(&mut self) -> Parsed<StateOptKind> {
        let name = self.name("an option of the state")?;
        let n = self.positive("a number of seconds")?;
        let Some(class) = timeout_named(&name.text) else {
            let text = format!("illegal timeout name {}", name.text);
            let hint = near_timeout(&name.text);
            return Err(self.fail_hint(name.span, "timeout", text, hint));
        };
        if matches!(class, Timeout::Frag | Timeout::Interval) {
            let text = format!("illegal state timeout {}", name.text);
            let hint = Some("this timeout can only be set for all".into());
            return Err(self.fail_hint(name.span, "timeout", text, hint));
        }
        Ok(StateOptKind::Timeout(class, n))
    }
}

pub(crate) fn timeout_named(name: &str) -> Option<Timeout> {
    Timeout::ALL.into_iter().find(|t| t.name() == name)
}

pub(crate) fn near_timeout(name: &str) -> Option<String> {
    let names = Timeout::ALL.into_iter().map(Timeout::name);
    nearest(name, names).map(|t| format!("did you mean '{t}'?"))
}
