//! `set` options, queues and limiters of two rulesets. An option that one text sets and the other leaves to its default is the
//! same if the values are.

use std::collections::{BTreeMap, BTreeSet};

use ruleset::Timeout;

use super::{Change, OptionChange, Place, Read, Stated};
use crate::settings::Settings;

/// Options whose value is text, with PF's default.
const WORDS: [(&str, &str); 9] = [
    ("block-policy", "drop"),
    ("fail-policy", "drop"),
    ("state-policy", "floating"),
    ("debug", "err"),
    ("reassemble", "yes"),
    ("loginterface", "none"),
    ("hostid", "random"),
    ("fingerprints", "\"/etc/pf.os\""),
    ("syncookies", "never"),
];

pub(super) fn compare(a: &Read<'_>, b: &Read<'_>) -> Vec<OptionChange> {
    let (before, after) = (values(a), values(b));
    let place = |read: &Read<'_>, name: &str| -> Option<Place> {
        let places = &read.front.built.settings.places;
        let found = places.iter().rev().find(|(set, _)| set == name)?;
        Some(read.place(found.1))
    };
    let mut out = Vec::new();
    for ((name, old), (_, new)) in before.iter().zip(&after) {
        if old != new {
            out.push(OptionChange {
                name: name.clone(),
                before: old.clone(),
                after: new.clone(),
                set_before: place(a, name),
                set_after: place(b, name),
            });
        }
    }
    out
}

/// Every option with its value, in the same order for every ruleset.
fn values(read: &Read<'_>) -> Vec<(String, String)> {
    let settings = &read.front.built.settings;
    let printed = printed(&read.front.built.output);
    let mut out: Vec<(String, String)> = Vec::new();
    for (name, default) in WORDS {
        let value = printed.get(name).copied().unwrap_or(default);
        out.push((name.into(), value.trim().into()));
    }
    let skip: BTreeSet<&str> = settings
        .skip
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let skip: Vec<&str> = skip.into_iter().collect();
    let none = || "none".to_string();
    let skip = Some(skip.join(" ")).filter(|s| !s.is_empty());
    out.push(("skip on".into(), skip.unwrap_or_else(none)));
    let keeps = printed.contains_key("keepcounters");
    out.push((
        "keepcounters".into(),
        ["no", "yes"][usize::from(keeps)].into(),
    ));
    limits(settings, &mut out);
    let timeouts = settings.final_timeouts();
    for class in Timeout::ALL {
        let adaptive = matches!(class, Timeout::AdaptiveStart | Timeout::AdaptiveEnd);
        let value = match adaptive && settings.adaptive_follows_limit() {
            true => "by the limit of states".to_string(),
            false => timeouts.get(class).to_string(),
        };
        out.push((format!("timeout {}", class.name()), value));
    }
    out
}

/// What `pfctl -nv` prints of an option, the last one of each name.
fn printed(output: &str) -> BTreeMap<&str, &str> {
    let lines = output.lines().filter_map(|l| l.strip_prefix("set "));
    lines
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .collect()
}

fn limits(settings: &Settings, out: &mut Vec<(String, String)>) {
    for (name, value) in settings.limits.named() {
        let value = match value {
            u32::MAX => "unlimited".to_string(),
            n => n.to_string(),
        };
        out.push((format!("limit {name}"), value));
    }
}

/// Queues and limiters: one line each, known by what stands before the first value.
pub(super) fn definitions(a: &Read<'_>, b: &Read<'_>) -> Vec<Change> {
    let (first, second) = (defined(a), defined(b));
    let mut out = Vec::new();
    for (key, after) in &second {
        match first.iter().find(|(k, _)| k == key) {
            None => out.push(Change::Added(after.clone())),
            Some((_, before)) if before.text != after.text => out.push(Change::Changed {
                before: before.clone(),
                after: after.clone(),
                fields: vec!["definition"],
            }),
            Some(_) => {}
        }
    }
    let gone = first
        .iter()
        .filter(|(key, _)| !second.iter().any(|(k, _)| k == key));
    out.extend(gone.map(|(_, before)| Change::Removed(before.clone())));
    out
}

fn defined(read: &Read<'_>) -> Vec<(String, Stated)> {
    let built = &read.front.built;
    let queues = built.queues.list.iter().map(|queue| {
        let on = queue.interface.as_deref().unwrap_or_default();
        let key = format!("queue {} {on}", queue.name);
        (key, crate::queues::queue_text(queue), queue.span)
    });
    let lines = built
        .output
        .lines()
        .filter(|line| line.starts_with("state limiter ") || line.starts_with("source limiter "));
    let limiters = lines.zip(&built.limiters.spans).map(|(line, span)| {
        let key: Vec<&str> = line.split(' ').take(3).collect();
        (key.join(" "), line.to_string(), *span)
    });
    let all = queues.chain(limiters);
    all.map(|(key, text, span)| {
        let place = read.place(span);
        (key, Stated { text, place })
    })
    .collect()
}
