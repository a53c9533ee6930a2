//! `scrub (…)` of a rule.

use super::{Parsed, Parser};
use crate::ast::ScrubOpts;

impl Parser<'_> {
    /// After the word `scrub`.
    pub(super) fn scrub_list(&mut self) -> Parsed<ScrubOpts> {
        self.expect_char(b'(')?;
        let mut opts = ScrubOpts::default();
        while !self.at_char(b')') {
            self.scrub_opt(&mut opts)?;
            self.take_char(b',');
        }
        self.expect_char(b')')?;
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
            if opts.min_ttl != 0 {
                return Err(self.fail(self.last, "respecified", "cannot respecify min-ttl"));
            }
            opts.min_ttl = self.number_in("a TTL", 0..=255, "illegal min-ttl value")?;
            return Ok(());
        }
        if self.take("max-mss") {
            if opts.max_mss != 0 {
                return Err(self.fail(self.last, "respecified", "cannot respecify max-mss"));
            }
            opts.max_mss = self.number_in("a segment size", 0..=65535, "illegal max-mss value")?;
            return Ok(());
        }
        if self.take("reassemble") {
            if !self.take("tcp") {
                return Err(self.unexpected_word(&["tcp"]));
            }
            return self.once(&mut opts.reassemble_tcp, "reassemble tcp");
        }
        let words = ["no-df", "min-ttl", "max-mss", "random-id", "reassemble"];
        Err(self.unexpected_word(&words))
    }

    fn once(&mut self, there: &mut bool, option: &str) -> Parsed<()> {
        if std::mem::replace(there, true) {
            let text = format!("cannot respecify {option}");
            return Err(self.fail(self.last, "respecified", text));
        }
        Ok(())
    }
}
