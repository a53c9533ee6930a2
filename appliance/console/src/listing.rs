//! Lists of what workers know: rows, and below them a line that says what is missing if that is not all. As JSON, too: then
//! the line makes sure that nobody takes it for the whole.

use control::api::Listed;
use serde::Serialize;

use crate::json;

/// Rows of entries, and what they lack; `command` says so.
pub(crate) fn text<T: Serialize>(
    command: &str,
    listed: &Listed<T>,
    as_json: bool,
    row: impl Fn(&T) -> String,
) -> String {
    let out = match as_json {
        true => json::text(&listed.entries),
        false => listed.entries.iter().map(row).collect(),
    };
    out + &note(command, listed)
}

/// The line below, if there is one.
pub(crate) fn note<T>(command: &str, listed: &Listed<T>) -> String {
    let line = |note| format!("{command}: {note}\n");
    listed.note().map(line).unwrap_or_default()
}
