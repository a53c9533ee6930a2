//! `fuguctl push` and `status`: what is asked of an appliance, and what its answers mean. The API is in `docs/api.md`.

use std::path::Path;

use serde_json::Value;

use crate::http::{self, Answer, Request, Url};
use crate::print::{diagnostic_from_json, printable};
use crate::{Environment, Failure, Output, files, print};

/// Bytes of a token.
const TOKEN_LIMIT: usize = 512;

/// The bearer token from the file or the environment; `None` if neither is set.
pub(crate) fn token(
    file: Option<&Path>,
    environment: &Environment,
) -> Result<Option<String>, Failure> {
    let (text, from) = match file {
        Some(path) => {
            let bytes = files::read(path)?;
            let text = String::from_utf8_lossy(&bytes).trim().to_string();
            (text, path.display().to_string())
        }
        None => match &environment.token {
            Some(text) => (text.trim().to_string(), "$FUGU_TOKEN".to_string()),
            None => return Ok(None),
        },
    };
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    if text.is_empty() || text.len() > TOKEN_LIMIT || !plain {
        return Err(Failure::Trouble(format!("{from}: not a token")));
    }
    Ok(Some(text))
}

/// Sends a bundle.
pub(crate) fn push(
    url: &str,
    file: &Path,
    token: Option<&str>,
    as_json: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let url = Url::parse(url).map_err(Failure::Trouble)?;
    let body = files::bundle(file)?;
    let request = Request {
        method: "PUT",
        path: "/v1/bundle",
        token,
        body: &body,
    };
    let answer = http::exchange(&url, &request).map_err(Failure::Trouble)?;
    let value = parsed(&answer);
    if as_json && !value.is_null() {
        writeln!(output.out, "{value:#}")?;
    }
    match answer.status {
        200 => applied(&value, as_json, output),
        422 => {
            if !as_json {
                refused(&value, output)?;
            }
            Err(Failure::Refused)
        }
        401 | 403 => Err(Failure::Unauthorized(error_of(&url, &answer, &value))),
        // Replayed, or too large.
        409 | 413 => Err(Failure::RefusedFor(error_of(&url, &answer, &value))),
        _ => Err(Failure::Trouble(error_of(&url, &answer, &value))),
    }
}

fn applied(value: &Value, as_json: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    if as_json {
        return Ok(());
    }
    let warnings = list(value, "warnings");
    print::diagnostics(&warnings, output.err)?;
    let result = text(value, "result");
    let said = if result == "no-change" {
        "no change"
    } else {
        result
    };
    let generation = value.get("generation").and_then(Value::as_u64);
    let digest = printable(text(value, "digest"));
    writeln!(
        output.out,
        "{}: generation {}, {digest}",
        printable(said),
        generation.unwrap_or_default()
    )?;
    Ok(())
}

fn refused(value: &Value, output: &mut Output<'_>) -> Result<(), Failure> {
    let errors = list(value, "errors");
    print::diagnostics(&errors, output.err)?;
    let counts = print::summary(&errors);
    writeln!(output.err, "refused, nothing changed: {counts}")?;
    Ok(())
}

/// Asks how it is.
pub(crate) fn status(
    url: &str,
    token: Option<&str>,
    as_json: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let url = Url::parse(url).map_err(Failure::Trouble)?;
    let request = Request {
        method: "GET",
        path: "/v1/status",
        token,
        body: &[],
    };
    let answer = http::exchange(&url, &request).map_err(Failure::Trouble)?;
    let value = parsed(&answer);
    match answer.status {
        200 if value.is_object() && as_json => Ok(writeln!(output.out, "{value:#}")?),
        200 if value.is_object() => Ok(output.out.write_all(status_text(&value).as_bytes())?),
        401 | 403 => Err(Failure::Unauthorized(error_of(&url, &answer, &value))),
        _ => Err(Failure::Trouble(error_of(&url, &answer, &value))),
    }
}

/// One line per fact; whatever this version does not know is in `--json`.
fn status_text(value: &Value) -> String {
    let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
    let forwarding = value.get("forwarding").and_then(Value::as_bool) == Some(true);
    let digest = match text(value, "digest") {
        "" => "none",
        digest => digest,
    };
    let workers = value.get("workers").and_then(Value::as_array);
    let mut lines = vec![
        ("host", text(value, "hostname").to_string()),
        ("version", text(value, "version").to_string()),
        (
            "forwarding",
            if forwarding { "yes" } else { "NO" }.to_string(),
        ),
        ("generation", number("generation").to_string()),
        ("bundle", digest.to_string()),
        ("origin", text(value, "origin").to_string()),
        ("uptime", uptime(number("uptime_s"))),
        (
            "states",
            format!("{} of {}", number("states"), number("states_limit")),
        ),
        ("workers", workers.map_or(0, Vec::len).to_string()),
        (
            "buffers",
            format!(
                "{} of {} used",
                number("buffers_used"),
                number("buffers_total")
            ),
        ),
        ("refused", format!("{} uploads", number("uploads_refused"))),
    ];
    if !text(value, "epitaph").is_empty() {
        lines.push(("epitaph", text(value, "epitaph").to_string()));
    }
    lines
        .iter()
        .map(|(name, value)| format!("{name:<11} {}\n", printable(value)))
        .collect()
}

fn uptime(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match days {
        0 => format!("{hours}:{minutes:02}:{seconds:02}"),
        1 => format!("1 day {hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days} days {hours}:{minutes:02}:{seconds:02}"),
    }
}

fn parsed(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list(value: &Value, name: &str) -> Vec<netconf::Diagnostic> {
    let list = value.get(name).and_then(Value::as_array);
    list.map(|list| list.iter().map(diagnostic_from_json).collect())
        .unwrap_or_default()
}

/// The server's own words, or at least the status.
fn error_of(url: &Url, answer: &Answer, value: &Value) -> String {
    match text(value, "error") {
        "" => format!("{url}: unexpected answer, HTTP status {}", answer.status),
        error => format!("{url}: {}", printable(error)),
    }
}
