//! How messages look on a terminal and as JSON.

use std::io::{self, Write};

use netconf::{Diagnostic, Severity};
use serde_json::{Value, json};

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Text of somebody else, safe for a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// `file:line:col: error: text`, then the underlined line if it is known, or the hint.
pub(crate) fn diagnostics(list: &[Diagnostic], to: &mut dyn Write) -> io::Result<()> {
    for diagnostic in list {
        writeln!(to, "{}", printable(&diagnostic.to_string()))?;
        let excerpt = diagnostic.excerpt();
        for line in excerpt.lines() {
            let line = printable(line);
            if diagnostic.source.is_empty() || diagnostic.column == 0 {
                writeln!(to, "    {line}")?;
            } else {
                writeln!(to, "{line}")?;
            }
        }
    }
    Ok(())
}

/// `2 errors, 1 warning`; empty if there is nothing to count.
pub(crate) fn summary(list: &[Diagnostic]) -> String {
    let found = [Severity::Error, Severity::Warning, Severity::Notice].map(|severity| {
        let n = list.iter().filter(|d| d.severity == severity).count();
        (n, severity)
    });
    let parts: Vec<String> = found
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, severity)| counted(*n, &severity.to_string()))
        .collect();
    parts.join(", ")
}

/// `1 rule`, `2 rules`
pub(crate) fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The form the appliance answers with.
pub(crate) fn diagnostic_json(d: &Diagnostic) -> Value {
    json!({
        "severity": d.severity.to_string(),
        "code": d.code,
        "file": d.file,
        "line": d.line,
        "column": d.column,
        "length": d.length,
        "text": d.text,
        "hint": d.hint,
        "source": d.source,
    })
}

/// The same, read back. Fields that are missing are empty.
pub(crate) fn diagnostic_from_json(value: &Value) -> Diagnostic {
    let text = |name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_string()
    };
    // No excerpt wider than a person reads.
    let number = |name: &str, most: u64| {
        let number = value.get(name).and_then(Value::as_u64);
        number.unwrap_or_default().min(most) as u32
    };
    Diagnostic {
        severity: match text("severity").as_str() {
            "warning" => Severity::Warning,
            "notice" => Severity::Notice,
            _ => Severity::Error,
        },
        code: "remote",
        file: text("file"),
        line: number("line", u64::from(u32::MAX)),
        column: number("column", 10_000),
        length: number("length", 1_000).max(1),
        text: text("text"),
        hint: value
            .get("hint")
            .and_then(Value::as_str)
            .map(str::to_string),
        source: text("source"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code: "remote",
            file: "pf.conf".into(),
            line: 3,
            column: 6,
            length: 2,
            text: "unknown word 'on\u{1b}'".into(),
            hint: Some("did you mean 'in'?".into()),
            source: "pass on all".into(),
        }
    }

    #[test]
    fn diagnostics_survive_the_way_over_json() {
        assert_eq!(diagnostic_from_json(&diagnostic_json(&sample())), sample());
        let empty = diagnostic_from_json(&json!({"text": 5}));
        assert_eq!(empty.text, "");
    }

    #[test]
    fn messages_are_safe_for_a_terminal() {
        let mut text = Vec::new();
        diagnostics(&[sample()], &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains('\u{1b}'));
        assert!(
            text.starts_with("pf.conf:3:6: error: unknown word 'on"),
            "{text}"
        );
        assert!(text.ends_with("^^ did you mean 'in'?\n"), "{text}");
    }

    #[test]
    fn counts_are_in_words() {
        let warning = Diagnostic {
            severity: Severity::Warning,
            ..sample()
        };
        assert_eq!(
            summary(&[sample(), sample(), warning]),
            "2 errors, 1 warning"
        );
        assert_eq!(summary(&[]), "");
    }
}
