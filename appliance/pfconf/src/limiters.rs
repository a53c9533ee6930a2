//! `state limiter …`, `source limiter …`.

use crate::ast::{SourceLimiter, StateLimiter, Text};
use crate::build::Builder;
use crate::resolve::Resolved;
use crate::source::Span;

/// A table by name, above and below how many states.
type NamedTable = (String, u32, Option<u32>);

/// Limiters by name.
#[derive(Debug, Default)]
pub(crate) struct Limiters {
    /// Name and id.
    pub(crate) state: Vec<(String, u32)>,
    /// Name and id.
    pub(crate) source: Vec<(String, u32)>,
    /// Where each was defined.
    pub(crate) spans: Vec<Span>,
    /// State limiters as they are enforced.
    pub(crate) states: Vec<ruleset::StateLimiter>,
    /// Source limiters as they are enforced, with the name of their table.
    pub(crate) sources: Vec<(ruleset::SourceLimiter, Option<NamedTable>)>,
}

impl Builder<'_> {
    pub(crate) fn state_limiter(&mut self, def: &StateLimiter, span: Span) -> Resolved<()> {
        self.output += &format!(
            "state limiter {} id {} limit {}{}\n",
            def.name.text,
            def.id,
            def.limit,
            rate_text(def.rate)
        );
        self.check_limiter(false, &def.name, def.id)?;
        let rate = self.limiter_rate(def.rate, span)?;
        self.limiters.spans.push(span);
        self.limiters.state.push((def.name.text.clone(), def.id));
        self.limiters.states.push(ruleset::StateLimiter {
            name: def.name.text.clone(),
            id: def.id as u8,
            limit: def.limit,
            rate,
        });
        Ok(())
    }

    pub(crate) fn source_limiter(&mut self, def: &SourceLimiter, span: Span) -> Resolved<()> {
        let mut text = format!(
            "source limiter {} id {} entries {} limit {}{}",
            def.name.text,
            def.id,
            def.entries,
            def.limit,
            rate_text(def.rate)
        );
        if let Some((table, above, below)) = &def.table {
            text += &format!(" table <{}> above {above}", table.text);
            if let Some(below) = below {
                text += &format!(" below {below}");
            }
            self.mention_table(&table.text, table.span);
        }
        if let Some(bits) = def.mask4 {
            text += &format!(" inet mask {bits}");
        }
        if let Some(bits) = def.mask6 {
            text += &format!(" inet6 mask {bits}");
        }
        self.output += &text;
        self.output.push('\n');
        self.check_limiter(true, &def.name, def.id)?;
        let rate = self.limiter_rate(def.rate, span)?;
        self.limiters.spans.push(span);
        self.limiters.source.push((def.name.text.clone(), def.id));
        let limiter = ruleset::SourceLimiter {
            name: def.name.text.clone(),
            id: def.id as u8,
            entries: def.entries,
            limit: def.limit,
            rate,
            mask4: def.mask4.unwrap_or(32),
            mask6: def.mask6.unwrap_or(128),
            table: None,
        };
        let table = def.table.as_ref();
        let table = table.map(|(name, above, below)| (name.text.clone(), *above, *below));
        self.limiters.sources.push((limiter, table));
        Ok(())
    }

    /// A name and an id each stand for one limiter.
    fn check_limiter(&mut self, source: bool, name: &Text, id: u32) -> Resolved<()> {
        let known = match source {
            true => &self.limiters.source,
            false => &self.limiters.state,
        };
        let text = if known.iter().any(|l| l.0 == name.text) {
            format!("limiter {} is already defined", name.text)
        } else if known.iter().any(|l| l.1 == id) {
            format!("limiter id {id} is already in use")
        } else {
            return Ok(());
        };
        Err(self.fail(name.span, "limiter", text))
    }

    fn limiter_rate(
        &mut self,
        rate: Option<(u32, u32)>,
        span: Span,
    ) -> Resolved<Option<ruleset::PerSeconds>> {
        match rate {
            None => Ok(None),
            Some((0, _) | (_, 0)) => Err(self.fail(span, "limiter", "limiter rate must be > 0")),
            Some((limit, seconds)) => Ok(Some(ruleset::PerSeconds { limit, seconds })),
        }
    }
}

fn rate_text(rate: Option<(u32, u32)>) -> String {
    rate.map(|(n, s)| format!(" rate {n}/{s}"))
        .unwrap_or_default()
}
