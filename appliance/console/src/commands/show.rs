//! What the box says of itself: `show`, `version`, `uptime`.

use control::api::{Api, LeaseView, Status};
use serde_json::json;

use crate::json::{self, without_json};
use crate::output::Output;
use crate::words::did_you_mean;

pub(super) fn show(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let (words, json) = without_json(words);
    let text = match words[..] {
        ["status"] if json => json::text(&api.status()),
        ["status"] => status(&api.status()),
        ["log"] if json => json::text(&api.log_lines()),
        ["log"] => api.log_lines().iter().map(|l| format!("{l}\n")).collect(),
        ["drops"] => drops(&api.pf_info().reasons, json),
        [] => return Err("show: a word is missing; status, log or drops".into()),
        [_, extra] | [_, extra, ..] => return Err(format!("show: '{extra}' is too much")),
        [word] => {
            let hint = did_you_mean(word, ["status", "log", "drops"]);
            return Err(format!("show: '{word}' cannot be shown{hint}"));
        }
    };
    Ok(Output::Text(text))
}

/// `192.0.2.7/24 from 192.0.2.1, bound, 3600 s left`
fn lease_words(lease: &LeaseView) -> String {
    let mut words = match (lease.addr, lease.server) {
        (Some((addr, bits)), Some(server)) => format!("{addr}/{bits} from {server}, "),
        _ => String::new(),
    };
    words.push_str(lease.state);
    if let Some(seconds) = lease.expires_s {
        words.push_str(&format!(", {seconds} s left"));
    }
    words
}

fn status(s: &Status) -> String {
    let mut out = format!(
        "Fugu {} on {}, up {}\n",
        s.version,
        s.hostname,
        up(s.uptime_s)
    );
    let mut line = |name: &str, text: String| out += &format!("{name:<12} {text}\n");
    line(
        "forwarding",
        if s.forwarding {
            "yes".into()
        } else {
            "no".into()
        },
    );
    let policy = match (&s.digest, s.generation) {
        (_, 0) => "none: everything but management is blocked".to_string(),
        (Some(digest), n) => format!("generation {n}, from {}, {digest}", s.origin),
        (None, n) => format!("generation {n}, from {}", s.origin),
    };
    line("policy", policy);
    if !s.anchors_edited.is_empty() {
        let text = format!("edited at run time: {}", s.anchors_edited.join(" "));
        line("anchors", text);
    }
    for change in &s.network_changes {
        line("typed", change.clone());
    }
    line("states", format!("{} of {}", s.states, s.states_limit));
    line(
        "buffers",
        format!("{} of {} in use", s.buffers_used, s.buffers_total),
    );
    for w in &s.workers {
        let busy = if w.stalled {
            "STANDS STILL".to_string()
        } else if w.idle {
            "asleep".to_string()
        } else {
            format!("{:.0}% busy", w.busy * 100.0)
        };
        let text = format!(
            "cpu {}, {busy}, {} packets, generation {}",
            w.cpu, w.packets, w.generation
        );
        line(&format!("worker {}", w.id), text);
    }
    for lease in &s.leases {
        line(&format!("dhcp {}", lease.interface), lease_words(lease));
    }
    if !s.nameservers.is_empty() {
        let all: Vec<String> = s.nameservers.iter().map(ToString::to_string).collect();
        line("resolver", all.join(" "));
    }
    line("uploads", format!("{} refused", s.uploads_refused));
    if let Some(epitaph) = &s.epitaph {
        line("last run", format!("died: {epitaph}"));
    }
    out
}

/// Every reason that has dropped something. `match` counts matches, not drops.
fn drops(reasons: &[(String, u64)], json: bool) -> String {
    let drops: Vec<(String, u64)> = reasons
        .iter()
        .filter(|(name, _)| name != "match")
        .cloned()
        .collect();
    if json {
        return json::map(&drops);
    }
    let lines: String = drops
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(name, n)| format!("{name:<25} {n:>14}\n"))
        .collect();
    if lines.is_empty() {
        "Nothing was dropped for any of PF's reasons.\n".into()
    } else {
        lines
    }
}

/// `1 day, 02:03:04`
fn up(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        n => format!("{n} days, {clock}"),
    }
}

pub(super) fn version(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let (words, json) = without_json(words);
    if let Some(word) = words.first() {
        return Err(format!("version: '{word}' is too much"));
    }
    let version = api.status().version;
    let text = if json {
        json::text(&json!({ "version": version }))
    } else {
        format!("Fugu {version}\n")
    };
    Ok(Output::Text(text))
}

pub(super) fn uptime(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let (words, json) = without_json(words);
    if let Some(word) = words.first() {
        return Err(format!("uptime: '{word}' is too much"));
    }
    let seconds = api.status().uptime_s;
    let text = if json {
        json::text(&json!({ "uptime_s": seconds }))
    } else {
        format!("up {}\n", up(seconds))
    };
    Ok(Output::Text(text))
}
