//! `scrub (…)` of a rule.

use super::{Parsed, Parser};
use crate::ast::{Num, ScrubOpts};
use crate::source::Span;

impl Parser<'_> {
    /// After the word `scrub`.
    pub(super) fn scrub_list(&mut self) -> Parsed<ScrubOpts> {
        self.expect_char(b'(')?;
        let mut opts = ScrubOpts::default();
        self.scrub_opt(&mut opts)?;
        while !self.take_char(b')') {
            self.take_char(b',');
            self.scrub_opt(&mut opts)?;
        }
        Ok(opts)
    }

    /// One of the options that `scrub (…)` and the old `scrub` share.
    pub(super) fn scrub_opt(&mut self, opts: &mut ScrubOpts) -> Parsed<()> {
        if self.take("no-df") {
            return self.once(&mut opts.no_df, "no-df");
        }
        if self.take("random-id") {
            return self.once(&mut opts.random_id, "random-id");
        }
        if self.take("min-ttl") {
            let number = self.number("a TTL")?;
            self.again("min-ttl", opts.min_ttl != 0, number.span)?;
            let value = u8::try_from(number.n).ok();
            opts.min_ttl = self.in_range("min-ttl", value, number)?;
            return Ok(());
        }
        if self.take("max-mss") {
            let number = self.number("a segment size")?;
            self.again("max-mss", opts.max_mss != 0, number.span)?;
            let value = u16::try_from(number.n).ok();
            opts.max_mss = self.in_range("max-mss", value, number)?;
            return Ok(());
        }
        if self.take("reassemble") {
            let word = self.name("tcp")?;
            if !word.text.eq_ignore_ascii_case("tcp") {
                let text = format!("scrub reassemble supports only tcp, not '{}'", word.text);
                return Err(self.fail(word.span, "scrub", text));
            }
            return self.once(&mut opts.reassemble_tcp, "reassemble tcp");
        }
        let words = ["no-df", "min-ttl", "max-mss", "random-id", "reassemble"];
        Err(self.unexpected_word(&words))
    }

    fn once(&mut self, there: &mut bool, option: &str) -> Parsed<()> {
        let again = std::mem::replace(there, true);
        self.again(option, again, self.last)
    }

    /// Reports an option that stands twice, in the words that pfctl has for options of scrub and `set`.
    pub(super) fn again(&mut self, option: &str, again: bool, span: Span) -> Parsed<()> {
        if !again {
            return Ok(());
        }
        let text = format!("{option} cannot be respecified");
        Err(self.fail(span, "respecified", text))
    }

    fn in_range<T>(&mut self, option: &str, value: Option<T>, number: Num) -> Parsed<T> {
        value.ok_or_else(|| {
            let text = format!("illegal {option} value {}", number.n);
            self.fail(number.span, "number-range", text)
        })
    }
}
