//! `icmp-type`, `icmp6-type`, `flags`, `tos`: words with fixed names.

use ruleset::Af;

use super::{Parsed, Parser};
use crate::ast::Icmp;
use crate::lex::Tok;
use crate::names;

impl Parser<'_> {
    /// After `icmp-type` or `icmp6-type`.
    pub(super) fn icmp_items(&mut self, af: Af) -> Parsed<Vec<Icmp>> {
        self.one_or_list(|p| p.icmp_item(af))
    }

    fn icmp_item(&mut self, af: Af) -> Parsed<Icmp> {
        let icmp_type = self.icmp_type(af)?;
        let code = match self.take("code") {
            true => Some(self.icmp_code(af, icmp_type)?),
            false => None,
        };
        Ok(Icmp {
            icmp6: af == Af::Inet6,
            icmp_type,
            code,
        })
    }

    fn icmp_type(&mut self, af: Af) -> Parsed<u8> {
        let word = self.icmp_word("an ICMP type")?;
        let (number, text) = match word.text.parse::<i64>() {
            Ok(n) => (
                u8::try_from(n).ok(),
                format!("illegal icmp{}-type {n}", six(af)),
            ),
            Err(_) => (
                names::icmp_type(af, &word.text),
                format!("unknown icmp{}-type {}", six(af), word.text),
            ),
        };
        let hint = names::near_icmp_type(af, &word.text);
        number.ok_or_else(|| self.fail_hint(word.span, "icmp-type", text, hint))
    }

    fn icmp_code(&mut self, af: Af, icmp_type: u8) -> Parsed<u8> {
        let word = self.icmp_word("an ICMP code")?;
        let (number, text) = match word.text.parse::<i64>() {
            Ok(n) => (u8::try_from(n).ok(), format!("illegal icmp-code {n}")),
            Err(_) => (
                names::icmp_code(af, icmp_type, &word.text),
                format!("unknown icmp{}-code {}", six(af), word.text),
            ),
        };
        let hint = names::near_icmp_code(af, &word.text);
        number.ok_or_else(|| self.fail_hint(word.span, "icmp-code", text, hint))
    }

    /// A word, a number, or the type `skip`, which is also a reserved word.
    fn icmp_word(&mut self, what: &str) -> Parsed<crate::ast::Text> {
        if self.take("skip") {
            let (text, span) = ("skip".into(), self.last);
            return Ok(crate::ast::Text { text, span });
        }
        self.word(what)
    }

    /// After `flags`: `a/b`, `/b` or `any`, as set and mask.
    pub(super) fn flags(&mut self) -> Parsed<(u8, u8)> {
        if self.take("any") {
            return Ok((0, 0));
        }
        let start = self.tok.span;
        let set = match self.at_char(b'/') {
            true => 0,
            false => self.flag_letters()?,
        };
        if !self.take_char(b'/') {
            return Err(self.unexpected("flags are written 'set/mask', as in S/SA"));
        }
        let mask = self.flag_letters()?;
        if set & mask != set {
            let hint = Some("every flag that must be set must also be in the mask".into());
            let span = start.to(self.last);
            return Err(self.fail_hint(span, "flags", "flags always false", hint));
        }
        Ok((set, mask))
    }

    fn flag_letters(&mut self) -> Parsed<u8> {
        let word = self.name("letters of TCP flags")?;
        match names::tcp_flags(&word.text) {
            Some(bits) => Ok(bits),
            None => {
                let text = format!("bad flags {}", word.text);
                let hint = Some("the letters are F S R P A U E W".into());
                Err(self.fail_hint(word.span, "flags", text, hint))
            }
        }
    }

    /// A name, `0xNN`, or a number.
    pub(super) fn tos(&mut self) -> Parsed<u8> {
        let number = match self.tok.tok {
            Tok::Number(n) => Some(n),
            _ => None,
        };
        let word = self.word("a type of service")?;
        let value = match number {
            Some(n) => u8::try_from(n).ok(),
            None => match word.text.strip_prefix("0x") {
                Some(hex) => u8::from_str_radix(hex, 16).ok(),
                None => names::tos(&word.text),
            },
        };
        if let Some(tos) = value {
            return Ok(tos);
        }
        let text = format!("illegal tos value {}", word.text);
        let hint = names::near_tos(&word.text);
        Err(self.fail_hint(word.span, "tos", text, hint))
    }
}

fn six(af: Af) -> &'static str {
    match af {
        Af::Inet => "",
        Af::Inet6 => "6",
    }
}
