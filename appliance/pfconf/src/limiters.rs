//! `state limiter …`, `source limiter …`.

use crate::ast::{SourceLimiter, StateLimiter};
use crate::build::Builder;
use crate::resolve::Resolved;
use crate::source::Span;

/// Limiters by name.
#[derive(Debug, Default)]
pub(crate) struct Limiters {
    /// Name and id.
    pub(crate) state: Vec<(String, u32)>,
    /// Name and id.
    pub(crate) source: Vec<(String, u32)>,
    /// Where each was defined.
    pub(crate) spans: Vec<Span>,
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
        self.limiters.state.push((def.name.text.clone(), def.id));
        self.limiters.spans.push(span);
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
        self.limiters.source.push((def.name.text.clone(), def.id));
        self.limiters.spans.push(span);
        Ok(())
    }
}

fn rate_text(rate: Option<(u32, u32)>) -> String {
    rate.map(|(n, s)| format!(" rate {n}/{s}"))
        .unwrap_or_default()
}
