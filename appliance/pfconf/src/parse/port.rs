//! Ports, and the numbers of users and groups, which share the operators.

use ruleset::PortOp;

use super::{Parsed, Parser};
use crate::ast::{Id, NameOrNumber, Port, TargetPort};
use crate::lex::Tok;
use crate::source::Span;

impl Parser<'_> {
    pub(super) fn ports(&mut self) -> Parsed<Vec<Port>> {
        self.one_or_list(Self::port)
    }

    fn port(&mut self) -> Parsed<Port> {
        let start = self.tok.span;
        let unary = self.opt_unary();
        let first = self.word("a port")?;
        if let Some((low, high)) = split_range(&first.text) {
            if unary.is_some() {
                let text = "':' cannot be used with an other port operator";
                return Err(self.fail(first.span, "port-operator", text));
            }
            return Ok(Port {
                op: PortOp::Range,
                a: low,
                b: Some(high),
                span: first.span,
            });
        }
        let binary = match unary {
            None => self.opt_binary(),
            Some(_) => None,
        };
        let b = match binary {
            Some(_) => Some(self.second_port()?),
            None => None,
        };
        Ok(Port {
            op: binary.or(unary).unwrap_or(PortOp::Eq),
            a: first.text,
            b,
            span: start.to(self.last),
        })
    }

    fn second_port(&mut self) -> Parsed<String> {
        let second = self.word("a port")?;
        if split_range(&second.text).is_some() {
            let text = "':' cannot be used with an other port operator";
            return Err(self.fail(second.span, "port-operator", text));
        }
        Ok(second.text)
    }

    fn opt_unary(&mut self) -> Option<PortOp> {
        let op = match self.tok.tok {
            Tok::Char(b'=') => PortOp::Eq,
            Tok::Ne => PortOp::Ne,
            Tok::Le => PortOp::Le,
            Tok::Char(b'<') => PortOp::Lt,
            Tok::Ge => PortOp::Ge,
            Tok::Char(b'>') => PortOp::Gt,
            _ => return None,
        };
        self.advance();
        Some(op)
    }

    fn opt_binary(&mut self) -> Option<PortOp> {
        let op = match self.tok.tok {
            Tok::Inside => PortOp::Inside,
            Tok::Outside => PortOp::Outside,
            _ => return None,
        };
        self.advance();
        Some(op)
    }

    /// `port a`, `a:b` or `a:*` of a translation; the word `port` is already taken.
    pub(super) fn target_port(&mut self) -> Parsed<TargetPort> {
        let word = self.word("a port")?;
        let (low, high, star) = match split_range(&word.text) {
            Some((low, high)) if high == "*" => (low, None, true),
            Some((low, high)) => (low, Some(high), false),
            None => (word.text, None, false),
        };
        Ok(TargetPort {
            low,
            high,
            star,
            span: word.span,
        })
    }

    /// `user` or `group` items; `what` names them.
    pub(super) fn ids(&mut self, what: &'static str) -> Parsed<Vec<Id>> {
        self.one_or_list(|p| p.id(what))
    }

    fn id(&mut self, what: &'static str) -> Parsed<Id> {
        let start = self.tok.span;
        let unary = self.opt_unary();
        let a = self.id_value(what)?;
        let binary = match unary {
            None => self.opt_binary(),
            Some(_) => None,
        };
        let b = match binary {
            Some(_) => Some(self.id_value(what)?),
            None => None,
        };
        let op = binary.or(unary).unwrap_or(PortOp::Eq);
        let span = start.to(self.last);
        self.check_unknown_id(what, op, &a, b.as_ref(), span)?;
        Ok(Id { op, a, b, span })
    }

    fn id_value(&mut self, what: &'static str) -> Parsed<NameOrNumber> {
        let Tok::Number(n) = self.tok.tok else {
            let name = self.name(&format!("the name or number of a {what}"))?;
            return Ok(NameOrNumber::Name(name.text));
        };
        self.advance();
        if !(0..i64::from(u32::MAX)).contains(&n) {
            let text = format!("illegal {} value {n}", id_word(what));
            return Err(self.fail(self.last, "id", text));
        }
        Ok(NameOrNumber::Number(n))
    }

    /// `unknown` is no number: it can only be compared for equality.
    fn check_unknown_id(
        &mut self,
        what: &str,
        op: PortOp,
        a: &NameOrNumber,
        b: Option<&NameOrNumber>,
        span: Span,
    ) -> Parsed<()> {
        let is_unknown = |id: &NameOrNumber| matches!(id, NameOrNumber::Name(n) if n == "unknown");
        if b.is_some() && (is_unknown(a) || b.is_some_and(is_unknown)) {
            let text = format!("{what} unknown requires operator = or !=");
            return Err(self.fail(span, "id", text));
        }
        if is_unknown(a) && !matches!(op, PortOp::Eq | PortOp::Ne) {
            let text = format!("{what} unknown requires operator = or !=");
            return Err(self.fail(span, "id", text));
        }
        Ok(())
    }
}

/// `uid` for users, `gid` for groups.
pub(crate) fn id_word(what: &str) -> &'static str {
    match what {
        "user" => "uid",
        _ => "gid",
    }
}

fn split_range(text: &str) -> Option<(String, String)> {
    let (low, high) = text.split_once(':')?;
    Some((low.into(), high.into()))
}
