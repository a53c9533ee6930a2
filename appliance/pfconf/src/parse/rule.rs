//! `pass`, `block`, `match`.

use super::{Parsed, Parser, c_number};
use crate::ast::{ActionKind, ActionSpec, FilterOpts, Node, ReplySpec, RuleStmt};
use crate::names;
use ruleset::Af;

impl Parser<'_> {
    pub(super) fn rule(&mut self) -> Parsed<Node> {
        let action = self.action()?;
        let head = self.head()?;
        let opts = self.filter_opts(FilterOpts::default())?;
        Ok(Node::Rule(Box::new(RuleStmt { action, head, opts })))
    }

    fn action(&mut self) -> Parsed<ActionSpec> {
        let kind = if self.take("pass") {
            ActionKind::Pass
        } else if self.take("match") {
            ActionKind::Match
        } else {
            self.expect("block")?;
            ActionKind::Block
        };
        let reply = match kind {
            ActionKind::Block => self.opt_reply()?,
            _ => ReplySpec::Policy,
        };
        Ok(ActionSpec { kind, reply })
    }

    fn opt_reply(&mut self) -> Parsed<ReplySpec> {
        if self.take("drop") {
            return Ok(ReplySpec::Drop);
        }
        if self.take("return") {
            return Ok(ReplySpec::Return);
        }
        if self.take("return-rst") {
            return self.return_rst();
        }
        if self.take("return-icmp") {
            return self.return_icmp();
        }
        if self.take("return-icmp6") {
            let v6 = self.opt_unreachable_code(Af::Inet6)?;
            return Ok(ReplySpec::Icmp6 { v6 });
        }
        Ok(ReplySpec::Policy)
    }

    fn return_rst(&mut self) -> Parsed<ReplySpec> {
        let mut ttl = 0;
        if self.take_char(b'(') {
            self.expect("ttl")?;
            let number = self.number("a TTL")?;
            self.expect_char(b')')?;
            ttl = u8::try_from(number.n).map_err(|_| {
                let text = format!("illegal ttl value {}", number.n);
                self.fail(number.span, "ttl", text)
            })?;
        }
        Ok(ReplySpec::Rst { ttl })
    }

    /// `(code)` or `(code, code6)`.
    fn return_icmp(&mut self) -> Parsed<ReplySpec> {
        let (mut v4, mut v6) = (None, None);
        if self.take_char(b'(') {
            v4 = Some(self.unreachable_code(Af::Inet)?);
            if self.take_char(b',') || !self.at_char(b')') {
                v6 = Some(self.unreachable_code(Af::Inet6)?);
            }
            self.expect_char(b')')?;
        }
        Ok(ReplySpec::Icmp { v4, v6 })
    }

    fn opt_unreachable_code(&mut self, af: Af) -> Parsed<Option<(u8, u8)>> {
        if !self.take_char(b'(') {
            return Ok(None);
        }
        let code = self.unreachable_code(af)?;
        self.expect_char(b')')?;
        Ok(Some(code))
    }

    /// A code of the unreachable message, by name or number.
    fn unreachable_code(&mut self, af: Af) -> Parsed<(u8, u8)> {
        let unreachable = names::unreachable_type(af);
        let word = self.word("an ICMP code")?;
        if let Some(n) = c_number(&word.text) {
            return match u8::try_from(n) {
                Ok(code) => Ok((unreachable, code)),
                Err(_) => {
                    let text = format!("invalid icmp code {n}");
                    Err(self.fail(word.span, "icmp-code", text))
                }
            };
        }
        match names::icmp_code(af, unreachable, &word.text) {
            Some(code) => Ok((unreachable, code)),
            None => {
                let text = format!("unknown icmp code {}", word.text);
                let hint = names::near_icmp_code(af, &word.text);
                Err(self.fail_hint(word.span, "icmp-code", text, hint))
            }
        }
    }
}
