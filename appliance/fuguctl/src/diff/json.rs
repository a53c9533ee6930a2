//! A comparison for programs. The shape is described in `man/fuguctl.1` and kept.

use std::io;

use pfconf::diff::{Change, OptionChange, Place, RuleChange, Stated, TableChange};
use serde_json::{Value, json};

use super::{FileChange, Found};
use crate::Output;

pub(super) fn print(found: &Found, output: &mut Output<'_>) -> io::Result<()> {
    let difference = &found.rules;
    let files = found.files.iter().map(|(name, change)| {
        let word = match change {
            FileChange::Added => "added",
            FileChange::Removed => "removed",
            FileChange::Changed => "changed",
        };
        json!({"change": word, "name": name})
    });
    let value = json!({
        "result": if found.is_empty() { "same" } else { "different" },
        "files": files.collect::<Vec<_>>(),
        "options": list(&difference.options, option),
        "tables": list(&difference.tables, table),
        "definitions": list(&difference.definitions, change),
        "rules": list(&difference.rules, rule),
    });
    writeln!(output.out, "{value:#}")
}

fn list<T>(items: &[T], f: impl Fn(&T) -> Value) -> Vec<Value> {
    items.iter().map(f).collect()
}

fn place(place: &Place) -> Value {
    json!({"file": place.file, "line": place.line})
}

fn stated(stated: &Stated) -> Value {
    json!({"text": stated.text, "file": stated.place.file, "line": stated.place.line})
}

fn option(o: &OptionChange) -> Value {
    let side = |value: &String, at: &Option<Place>| {
        let mut side = json!({"value": value, "default": at.is_none()});
        if let Some(at) = at {
            side["file"] = json!(at.file);
            side["line"] = json!(at.line);
        }
        side
    };
    json!({
        "name": o.name,
        "before": side(&o.before, &o.set_before),
        "after": side(&o.after, &o.set_after),
    })
}

fn table(t: &TableChange) -> Value {
    let word = match (&t.before, &t.after) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    let flags = t.flags.as_ref();
    json!({
        "change": word,
        "name": t.name,
        "before": t.before.as_ref().map(place),
        "after": t.after.as_ref().map(place),
        "flags": flags.map(|(before, after)| json!({"before": before, "after": after})),
        "added": t.added,
        "removed": t.removed,
    })
}

fn change(c: &Change) -> Value {
    let (word, before, after, fields) = match c {
        Change::Added(after) => ("added", None, Some(after), None),
        Change::Removed(before) => ("removed", Some(before), None, None),
        Change::Moved { before, after } => ("moved", Some(before), Some(after), None),
        Change::Changed {
            before,
            after,
            fields,
        } => ("changed", Some(before), Some(after), Some(fields)),
    };
    json!({
        "change": word,
        "before": before.map(stated),
        "after": after.map(stated),
        "fields": fields.cloned().unwrap_or_default(),
    })
}

fn rule(r: &RuleChange) -> Value {
    let mut value = change(&r.change);
    value["anchor"] = json!(r.anchor);
    value
}
