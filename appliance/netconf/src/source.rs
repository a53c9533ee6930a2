//! Lines and words of a small file with their places, and the one way to complain about them.

use std::ops::RangeInclusive;

use pfconf::diag::{Diagnostic, Severity};

use crate::Origin;
use crate::feature::{self, Feature};

/// Bytes of one small file. A `services` file has 15 KiB.
const FILE_LIMIT: usize = 1 << 20;

/// Messages kept of one run; a file that is no text at all gives one per line.
const DIAGNOSTICS_LIMIT: usize = 200;

/// Characters of a source line, or of a word, that are shown in a message.
const SHOWN_LIMIT: usize = 200;

/// A message about where something was configured.
pub(crate) fn at(
    origin: &Origin,
    severity: Severity,
    code: &'static str,
    text: String,
) -> Diagnostic {
    Diagnostic {
        severity,
        line: origin.line,
        ..Diagnostic::whole_file(code, &origin.file, text)
    }
}

/// A number in plain digits.
pub(crate) fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// Collects messages.
#[derive(Default)]
pub(crate) struct Reporter {
    diagnostics: Vec<Diagnostic>,
    left_out: usize,
    /// What is read but not refused, although it does not work yet: for tests of the grammar.
    lenient: bool,
}

impl Reporter {
    /// One that takes what Fugu cannot do yet.
    #[cfg(test)]
    pub(crate) fn lenient() -> Self {
        Reporter {
            lenient: true,
            ..Reporter::default()
        }
    }

    /// The message for a feature, if it is to be refused.
    pub(crate) fn refusal(&self, feature: Feature) -> Option<String> {
        let words = feature::lacking(feature).filter(|_| !self.lenient)?;
        Some(format!("not supported yet: {words}"))
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < DIAGNOSTICS_LIMIT {
            self.diagnostics.push(diagnostic);
        } else {
            self.left_out += 1;
        }
    }

    /// True if anything said so far is an error.
    pub(crate) fn has_errors(&self) -> bool {
        pfconf::diag::has_errors(&self.diagnostics)
    }

    /// True if anything said so far about this file is an error.
    pub(crate) fn has_errors_in(&self, file: &str) -> bool {
        let wrong = |d: &&Diagnostic| d.severity == Severity::Error && d.file == file;
        self.diagnostics.iter().any(|d| wrong(&d))
    }

    pub(crate) fn whole_file(
        &mut self,
        severity: Severity,
        code: &'static str,
        file: &str,
        text: String,
    ) -> &mut Diagnostic {
        let file = printable(file);
        self.push(Diagnostic {
            severity,
            ..Diagnostic::whole_file(code, &file, text)
        });
        self.last()
    }

    /// The message just pushed, to add a hint. Past the limit that is the last one kept; one hint too many does no harm.
    fn last(&mut self) -> &mut Diagnostic {
        let end = self.diagnostics.len() - 1;
        &mut self.diagnostics[end]
    }

    pub(crate) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        if self.left_out > 0 {
            let text = format!("{} more messages left out", self.left_out);
            let mut more = Diagnostic::whole_file("too-many-messages", "etc", text);
            more.severity = Severity::Notice;
            // An error among those left out must not turn the outcome around.
            if !pfconf::diag::has_errors(&self.diagnostics) {
                more.severity = Severity::Error;
            }
            self.diagnostics.push(more);
        }
        self.diagnostics
    }
}

/// A word of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word<'a> {
    /// Without its quotes.
    pub(crate) text: &'a str,
    /// In characters, from 1, quotes included.
    pub(crate) column: u32,
    /// In characters, quotes included.
    pub(crate) length: u32,
    /// Lines below the first of its [`Line`], which is of more than one only in `rc.conf`.
    pub(crate) row: u32,
}

impl<'a> Word<'a> {
    /// A part of the word, `bytes` into it. Only for words without quotes.
    pub(crate) fn part(&self, from: usize, to: usize) -> Word<'a> {
        let text = self.text.get(from..to).unwrap_or(self.text);
        let before = self.text.get(..from).unwrap_or("");
        Word {
            text,
            column: self.column + before.chars().count() as u32,
            length: text.chars().count().max(1) as u32,
            row: self.row,
        }
    }
}

/// A file as lines.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    text: &'a str,
}

impl<'a> Source<'a> {
    /// `None`, and a message, if the bytes are no text or too many.
    pub(crate) fn new(file: &'a str, bytes: &'a [u8], reporter: &mut Reporter) -> Option<Self> {
        if bytes.len() > FILE_LIMIT {
            let text = format!("larger than {FILE_LIMIT} bytes");
            reporter.whole_file(Severity::Error, "file-too-large", file, text);
            return None;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Some(Source { file, text }),
            Err(error) => {
                let before = &bytes[..error.valid_up_to()];
                let line = 1 + before.iter().filter(|b| **b == b'\n').count();
                let text = "not text in UTF-8".to_string();
                reporter
                    .whole_file(Severity::Error, "not-utf8", file, text)
                    .line = line as u32;
                None
            }
        }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// A file known to be good, from this program.
    pub(crate) fn built_in(file: &'a str, text: &'a str) -> Self {
        Source { file, text }
    }

    /// Lines that have words, comments gone. A line with an open quote is reported and left out.
    pub(crate) fn lines(&self, reporter: &mut Reporter) -> Vec<Line<'a>> {
        let mut lines = Vec::new();
        for (index, text) in self.text.lines().enumerate() {
            let mut line = Line {
                file: self.file,
                number: index as u32 + 1,
                text: text.trim_end(),
                words: Vec::new(),
            };
            match split(line.text) {
                Ok(words) if words.is_empty() => {}
                Ok(words) => {
                    line.words = words;
                    lines.push(line);
                }
                Err(open) => {
                    line.error(reporter, open, "open-quote", "this quote is not closed");
                }
            }
        }
        lines
    }
}

/// Words of a line: split at white space, quotes hold together, `#` at the beginning of a word ends the line.
fn split(line: &str) -> Result<Vec<Word<'_>>, Word<'_>> {
    let mut words = Vec::new();
    let mut chars = line.char_indices().zip(1u32..).peekable();
    while let Some(((start, first), column)) = chars.next() {
        if first.is_whitespace() {
            continue;
        }
        if first == '#' {
            break;
        }
        let quote = matches!(first, '"' | '\'').then_some(first);
        let (mut end, mut last) = (start + first.len_utf8(), column);
        let mut closed = false;
        while let Some(&((at, c), position)) = chars.peek() {
            if quote.is_none() && c.is_whitespace() || closed {
                break;
            }
            chars.next();
            (end, last) = (at + c.len_utf8(), position);
            closed = quote == Some(c);
        }
        let inner = match quote {
            Some(_) if closed => start + 1..end - 1,
            Some(_) => {
                return Err(Word {
                    text: "",
                    column,
                    length: 1,
                    row: 0,
                });
            }
            None => start..end,
        };
        words.push(Word {
            text: &line[inner],
            column,
            length: last - column + 1,
            row: 0,
        });
    }
    Ok(words)
}

/// A line with words in it, or the lines of one variable.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) file: &'a str,
    pub(crate) number: u32,
    pub(crate) text: &'a str,
    /// Never empty.
    pub(crate) words: Vec<Word<'a>>,
}

impl<'a> Line<'a> {
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            file: self.file.to_string(),
            line: self.number,
        }
    }

    /// The file and line of a word.
    pub(crate) fn origin_of(&self, word: Word<'_>) -> Origin {
        Origin {
            file: self.file.to_string(),
            line: self.number + word.row,
        }
    }

    /// The place after the last word, for what is missing.
    pub(crate) fn end(&self) -> Word<'a> {
        let last = self.words.last();
        Word {
            text: "",
            column: last.map_or(1, |w| w.column + w.length),
            length: 1,
            row: last.map_or(0, |w| w.row),
        }
    }

    /// The number that a word has to be.
    pub(crate) fn number_of(
        &self,
        word: Word<'_>,
        range: RangeInclusive<u32>,
        reporter: &mut Reporter,
    ) -> Option<u32> {
        let found = number(word.text).filter(|n| range.contains(n));
        if found.is_none() {
            let (word_shown, low, high) = (printable(word.text), range.start(), range.end());
            let text = format!("'{word_shown}' is not a number from {low} to {high}");
            self.error(reporter, word, "bad-number", text);
        }
        found
    }

    /// The whole line as one word.
    pub(crate) fn whole(&self) -> Word<'a> {
        let first = self.words.first().map_or(1, |w| w.column);
        Word {
            text: self.text,
            column: first,
            length: self.end().column.saturating_sub(first),
            row: 0,
        }
    }

    pub(crate) fn error<'r>(
        &self,
        reporter: &'r mut Reporter,
        word: Word<'_>,
        code: &'static str,
        text: impl Into<String>,
    ) -> &'r mut Diagnostic {
        self.message(reporter, Severity::Error, word, code, text.into())
    }

    pub(crate) fn warning<'r>(
        &self,
        reporter: &'r mut Reporter,
        word: Word<'_>,
        code: &'static str,
        text: impl Into<String>,
    ) -> &'r mut Diagnostic {
        self.message(reporter, Severity::Warning, word, code, text.into())
    }

    pub(crate) fn notice<'r>(
        &self,
        reporter: &'r mut Reporter,
        word: Word<'_>,
        code: &'static str,
        text: impl Into<String>,
    ) -> &'r mut Diagnostic {
        self.message(reporter, Severity::Notice, word, code, text.into())
    }

    /// Something that has no name in the list of features. Never silently left out.
    pub(crate) fn not_yet<'r>(
        &self,
        reporter: &'r mut Reporter,
        word: Word<'_>,
    ) -> &'r mut Diagnostic {
        let text = format!("'{}' is not supported yet", printable(word.text));
        self.error(reporter, word, "not-supported-yet", text)
    }

    /// Refuses what needs a feature that Fugu has not got yet.
    pub(crate) fn needs(&self, reporter: &mut Reporter, word: Word<'_>, feature: Feature) {
        if let Some(text) = reporter.refusal(feature) {
            self.error(reporter, word, "not-supported-yet", text);
        }
    }

    fn message<'r>(
        &self,
        reporter: &'r mut Reporter,
        severity: Severity,
        word: Word<'_>,
        code: &'static str,
        text: String,
    ) -> &'r mut Diagnostic {
        reporter.push(Diagnostic {
            severity,
            code,
            file: printable(self.file),
            line: self.number + word.row,
            column: word.column,
            length: word.length.max(1),
            text,
            hint: None,
            source: shown_source(self.text.lines().nth(word.row as usize).unwrap_or("")),
        });
        reporter.last()
    }
}

/// A word as it may stand in a message that somebody's terminal will show.
pub(crate) fn printable(text: &str) -> String {
    shortened(text, |c| c.is_control())
}

/// Tabs stay, so that the marks below stand right.
fn shown_source(text: &str) -> String {
    shortened(text, |c| c.is_control() && c != '\t')
}

fn shortened(text: &str, bad: impl Fn(char) -> bool) -> String {
    text.chars()
        .take(SHOWN_LIMIT)
        .map(|c| {
            if bad(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<&str> {
        split(line).unwrap().iter().map(|w| w.text).collect()
    }

    #[test]
    fn words_quotes_and_comments_are_told_apart() {
        assert_eq!(
            texts("  inet\t10.0.0.1 24 # lan"),
            ["inet", "10.0.0.1", "24"]
        );
        assert_eq!(
            texts(r#"description "to the office" up"#),
            ["description", "to the office", "up"]
        );
        assert_eq!(texts("a#b '#'"), ["a#b", "#"]);
        assert_eq!(texts("# all"), [""; 0]);
    }

    #[test]
    fn columns_count_characters() {
        let words = split("é \"ö ö\" x").unwrap();
        let places: Vec<_> = words.iter().map(|w| (w.column, w.length)).collect();
        assert_eq!(places, [(1, 1), (3, 5), (9, 1)]);
    }

    #[test]
    fn an_open_quote_is_placed_where_it_opens() {
        assert_eq!(split("a \"b c").unwrap_err().column, 3);
    }

    #[test]
    fn messages_beyond_the_limit_are_counted_and_errors_stay_errors() {
        let mut reporter = Reporter::default();
        for _ in 0..DIAGNOSTICS_LIMIT {
            reporter.whole_file(Severity::Notice, "x", "f", String::new());
        }
        reporter.whole_file(Severity::Error, "x", "f", String::new());
        let diagnostics = reporter.into_diagnostics();
        assert_eq!(diagnostics.len(), DIAGNOSTICS_LIMIT + 1);
        assert!(pfconf::diag::has_errors(&diagnostics));
    }
}
