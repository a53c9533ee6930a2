//! `--json`: the same values as the text, for machines. Every show command has it, so nobody needs to scrape columns.

use serde::Serialize;

/// Words without `--json`, and whether it was there.
pub(crate) fn without_json(words: &[String]) -> (Vec<&str>, bool) {
    let rest: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|w| *w != "--json")
        .collect();
    let json = rest.len() < words.len();
    (rest, json)
}

/// A value, indented, with a line feed at the end.
pub(crate) fn text<T: Serialize + ?Sized>(value: &T) -> String {
    // Views hold numbers, strings and lists only, which always can be written.
    serde_json::to_string_pretty(value).unwrap_or_else(|e| format!("\"{e}\"")) + "\n"
}

/// Named numbers as one object, in their order.
pub(crate) fn map(list: &[(String, u64)]) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in list.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        out += &format!(
            "{comma}\n  {}: {value}",
            serde_json::Value::from(name.as_str())
        );
    }
    out + "\n}\n"
}
