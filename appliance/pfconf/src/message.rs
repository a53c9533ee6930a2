//! Messages on their way out. Each is meant for a person (place, text, hint: a [`Diagnostic`]), for the reader of
//! `pfctl`'s standard error (`file:line: text`), or for both. pfctl says three things about one bad rule; a person
//! is told once.

use std::collections::HashSet;

use crate::diag::{Diagnostic, Severity};
use crate::near::nearest;
use crate::source::{Sources, Span};

/// Who hears a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Audience {
    Both,
    Person,
    Pfctl,
}

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) span: Span,
    /// Where pfctl places it: the line feed that ended the statement, or the token it stumbled over.
    pub(crate) pfctl_line: u32,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
    pub(crate) audience: Audience,
    /// pfctl prints the text without file and line.
    pub(crate) bare: bool,
}

impl Message {
    pub(crate) fn error(code: &'static str, span: Span, text: impl Into<String>) -> Self {
        Message {
            severity: Severity::Error,
            code,
            span,
            pfctl_line: 0,
            text: text.into(),
            hint: None,
            audience: Audience::Both,
            bare: false,
        }
    }

    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    pub(crate) fn to(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
    }

    pub(crate) fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    pub(crate) fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    pub(crate) fn pfctl_line(mut self, line: u32) -> Self {
        self.pfctl_line = line;
        self
    }
}

/// A moment in the life of [`Messages`].
pub(crate) struct Mark(usize, usize);

/// All messages of a compilation, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub(crate) list: Vec<Message>,
    errors: usize,
    /// pfctl has lost this line while it recovered from an error in the line before: only a person hears of it.
    pub(crate) deaf: bool,
}

impl Messages {
    /// Most messages kept; a file with more errors than this is not a configuration.
    const MAX: usize = 10_000;

    /// Most messages when a warning is still kept: an error always finds room.
    const MAX_FOR_WARNINGS: usize = 5_000;

    /// After so many messages nobody is served by a search for what each may have meant.
    const MAX_FOR_HINTS: usize = 500;

    pub(crate) fn add(&mut self, mut message: Message) {
        if self.deaf {
            match message.audience {
                Audience::Pfctl => return,
                _ => message.audience = Audience::Person,
            }
        }
        let error = message.severity == Severity::Error;
        self.errors += usize::from(error);
        let most = if error {
            Self::MAX
        } else {
            Self::MAX_FOR_WARNINGS
        };
        if self.list.len() < most {
            self.list.push(message);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Errors so far, those that were not kept among them.
    pub(crate) fn error_count(&self) -> usize {
        self.errors
    }

    /// This moment, to come back to.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.list.len(), self.errors)
    }

    /// Forgets what was said since `mark`.
    pub(crate) fn forget_since(&mut self, mark: Mark) {
        self.list.truncate(mark.0);
        self.errors = mark.1;
    }

    /// False once there are so many messages that looking for near misses only costs time.
    pub(crate) fn want_hints(&self) -> bool {
        self.list.len() < Self::MAX_FOR_HINTS
    }

    /// The candidate that was probably meant by `word`, for a hint.
    pub(crate) fn near<'a>(
        &self,
        word: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        self.want_hints().then(|| nearest(word, candidates))?
    }

    /// What a person reads.
    pub(crate) fn diagnostics(&self, sources: &Sources) -> Vec<Diagnostic> {
        let heard = self.list.iter().filter(|m| m.audience != Audience::Pfctl);
        let mut all: Vec<Diagnostic> = Vec::new();
        // A macro that is defined nowhere is one mistake, however often it is used; a misspelled one is a mistake each time.
        let mut missing: HashSet<&str> = HashSet::new();
        for m in heard {
            if m.code == "undefined-macro" && m.hint.is_none() && !missing.insert(&m.text) {
                continue;
            }
            let d = diagnostic(m, sources);
            // One list expands to many rules with the same mistake.
            if all.last() != Some(&d) {
                all.push(d);
            }
        }
        all
    }

    /// What pfctl writes to standard error.
    pub(crate) fn pfctl(&self, sources: &Sources) -> String {
        let heard = self.list.iter().filter(|m| m.audience != Audience::Person);
        heard.map(|m| pfctl_line(m, sources)).collect()
    }
}

fn pfctl_line(m: &Message, sources: &Sources) -> String {
    if m.bare {
        return format!("{}\n", m.text);
    }
    let line = match m.pfctl_line {
        0 => sources.line(m.span),
        line => line,
    };
    format!("{}:{}: {}\n", sources.name(m.span.file), line, m.text)
}

fn diagnostic(m: &Message, sources: &Sources) -> Diagnostic {
    let place = sources.position(m.span);
    Diagnostic {
        severity: m.severity,
        code: m.code,
        file: sources.name(m.span.file).to_string(),
        line: place.line,
        column: place.column,
        length: place.length,
        text: m.text.clone(),
        hint: crate::advice::of(&m.text, m.hint.as_deref()),
        source: sources.line_text(m.span),
    }
}
