//! What is said to a person about a line of a file. Shared by every parser of configuration files, so that
//! all of them speak alike: `file:line:col: error: text`, the offending text underlined, and a hint.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The file cannot be used; nothing changes.
    Error,
    /// The file can be used, but probably does not do what was meant.
    Warning,
    /// Worth knowing.
    Notice,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        })
    }
}

/// One message about one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable short name for machines, kebab-case: `unknown-interface`.
    pub code: &'static str,
    /// File name as the user gave it, relative to the etc tree: `pf.conf`, `hostname.em0`.
    pub file: String,
    /// Line, from 1. 0 where the message is about the file as a whole.
    pub line: u32,
    /// Column in characters, from 1. 0 where the message is about the whole line.
    pub column: u32,
    /// Length of the offending text in characters; at least 1 when `column` is set.
    pub length: u32,
    /// The message, in the user's words, lower case, no full stop.
    pub text: String,
    /// What to try, if we know.
    pub hint: Option<String>,
    /// The source line, to be underlined; empty if there is none.
    pub source: String,
}

impl Diagnostic {
    /// An error about a file as a whole.
    pub fn whole_file(code: &'static str, file: &str, text: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            code,
            file: file.to_string(),
            line: 0,
            column: 0,
            length: 0,
            text: text.into(),
            hint: None,
            source: String::new(),
        }
    }

    /// The source line with the offending text underlined, and the hint; several lines, no line feed at the end.
    pub fn excerpt(&self) -> String {
        if self.source.is_empty() || self.column == 0 {
            return self.hint.clone().unwrap_or_default();
        }
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let lead: String = self
            .source
            .chars()
            .take(self.column as usize - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let marks = "^".repeat(self.length.max(1) as usize);
        let hint = self
            .hint
            .as_deref()
            .map(|h| format!(" {h}"))
            .unwrap_or_default();
        format!(
            " {number} | {}\n {gutter} | {lead}{marks}{hint}",
            self.source
        )
    }
}

/// `file:line:col: error: text`, the form that editors and scripts read.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        write!(f, ": {}: {}", self.severity, self.text)
    }
}

/// True if any message is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_line_column_and_underlines_the_text() {
        let d = Diagnostic {
            severity: Severity::Error,
            code: "unknown-interface",
            file: "pf.conf".into(),
            line: 31,
            column: 12,
            length: 4,
            text: "unknown interface or group 'wan9'".into(),
            hint: Some("known here: wan0 wan1".into()),
            source: "pass in on wan9 proto tcp".into(),
        };
        assert_eq!(
            d.to_string(),
            "pf.conf:31:12: error: unknown interface or group 'wan9'"
        );
        assert_eq!(
            d.excerpt(),
            " 31 | pass in on wan9 proto tcp\n    |            ^^^^ known here: wan0 wan1"
        );
    }
}
