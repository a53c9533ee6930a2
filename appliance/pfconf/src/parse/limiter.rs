//! `state limiter …`, `source limiter …`: definitions, and their use in rules.

use super::{Parsed, Parser};
use crate::ast::{FilterOpts, LimiterRef, LimiterUse, Node, SourceLimiter, StateLimiter, Text};

impl Parser<'_> {
    /// The words `state limiter` are already taken.
    pub(super) fn state_limiter(&mut self) -> Parsed<Node> {
        let name = self.name("the name of a limiter")?;
        let (mut id, mut limit, mut rate) = (None, None, None);
        while !self.at_end() {
            if self.take("id") {
                id = Some(self.limiter_id()?);
            } else if self.take("limit") {
                limit = Some(self.number_u32("a number of states")?);
            } else if self.take("rate") {
                rate = Some(self.rate()?);
            } else {
                return Err(self.unexpected_word(&["id", "limit", "rate"]));
            }
        }
        Ok(Node::StateLimiter(StateLimiter {
            id: self.required(id, "id", &name)?,
            limit: self.required(limit, "limit", &name)?,
            name,
            rate,
        }))
    }

    /// The words `source limiter` are already taken.
    pub(super) fn source_limiter(&mut self) -> Parsed<Node> {
        let name = self.name("the name of a limiter")?;
        let (mut id, mut entries, mut limit) = (None, None, None);
        let (mut rate, mut mask4, mut mask6, mut table) = (None, None, None, None);
        while !self.at_end() {
            if self.take("id") {
                id = Some(self.limiter_id()?);
            } else if self.take("entries") {
                entries = Some(self.number_u32("a number of sources")?);
            } else if self.take("limit") {
                limit = Some(self.number_u32("a number of states")?);
            } else if self.take("rate") {
                rate = Some(self.rate()?);
            } else if self.take("inet") {
                mask4 = Some(self.limiter_mask(32)?);
            } else if self.take("inet6") {
                mask6 = Some(self.limiter_mask(128)?);
            } else if self.take("table") {
                table = Some(self.limiter_table()?);
            } else {
                let words = ["id", "entries", "limit", "rate", "inet", "inet6", "table"];
                return Err(self.unexpected_word(&words));
            }
        }
        Ok(Node::SourceLimiter(SourceLimiter {
            id: self.required(id, "id", &name)?,
            entries: self.required(entries, "entries", &name)?,
            limit: self.required(limit, "limit", &name)?,
            name,
            rate,
            mask4,
            mask6,
            table,
        }))
    }

    fn required(&mut self, value: Option<u32>, option: &str, name: &Text) -> Parsed<u32> {
        value.ok_or_else(|| {
            let text = format!("limiter {} has no {option}", name.text);
            self.fail(name.span, "limiter", text)
        })
    }

    fn limiter_id(&mut self) -> Parsed<u32> {
        self.number_in("an id", 1..=255, "limiter id must be 1 - 255")
    }

    fn rate(&mut self) -> Parsed<(u32, u32)> {
        let limit = self.number_u32("a number")?;
        self.expect_char(b'/')?;
        Ok((limit, self.number_u32("a number of seconds")?))
    }

    fn limiter_mask(&mut self, max: i64) -> Parsed<u8> {
        self.expect("mask")?;
        self.number_in("a number of bits", 0..=max, "mask out of range")
    }

    /// `<t> above n below m`
    fn limiter_table(&mut self) -> Parsed<(Text, u32, Option<u32>)> {
        let (text, span) = self.table_name()?;
        self.expect("above")?;
        let above = self.number_u32("a number of states")?;
        let below = match self.take("below") {
            true => Some(self.number_u32("a number of states")?),
            false => None,
        };
        Ok((Text { text, span }, above, below))
    }

    /// In a rule: `state limiter "name" (no-match)`.
    pub(super) fn limiter_opt(&mut self, opts: &mut FilterOpts) -> Parsed<()> {
        let start = self.tok.span;
        let state = self.at("state");
        self.advance();
        self.expect("limiter")?;
        let name = match self.take("id") {
            true => LimiterRef::Id(self.limiter_id()?),
            false => LimiterRef::Name(self.name("the name of a limiter")?.text),
        };
        let no_match = match self.take_char(b'(') {
            true => Some(self.limiter_action()?),
            false => None,
        };
        let span = start.to(self.last);
        let used = LimiterUse {
            name,
            no_match,
            span,
        };
        let slot = match state {
            true => &mut opts.state_limiter,
            false => &mut opts.source_limiter,
        };
        if slot.replace(used).is_some() {
            let text = "limiter cannot be redefined";
            return Err(self.fail(span, "respecified", text));
        }
        Ok(())
    }

    fn limiter_action(&mut self) -> Parsed<bool> {
        let no_match = self.take("no-match");
        if !no_match && !self.take("block") {
            return Err(self.unexpected_word(&["block", "no-match"]));
        }
        self.expect_char(b')')?;
        Ok(no_match)
    }
}
