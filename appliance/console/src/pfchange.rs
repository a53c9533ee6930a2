//! What `pfctl` changes: states and source nodes are killed, counters of tables cleared, tables edited. What it would
//! change of the rules comes with a bundle, and a sentence says so.
//!
//! Read first: pfctl(8).

use control::api::{Api, Killing, SourceView, TableEdit, TableEdited};

use crate::duration::clock;
use crate::follow::Follow;
use crate::json;
use crate::killing::{self, Begun, Words};
use crate::output::Output;

/// What `-F` takes, with pfctl's names; unambiguous beginnings are enough, and case tells some apart.
const FLUSHES: [&str; 9] = [
    "rules", "states", "Sources", "info", "Tables", "osfp", "Reset", "queue", "all",
];

/// What `-T` takes.
pub(crate) const TABLE_COMMANDS: [(&str, &str); 9] = [
    ("show", "addresses of the table"),
    ("add", "add addresses"),
    ("delete", "take addresses out"),
    ("replace", "these addresses and no others"),
    ("flush", "no addresses"),
    ("test", "are these addresses in it?"),
    ("zero", "clear counters and times"),
    ("expire", "take out what is older than so many seconds"),
    ("kill", "no table, or no addresses where rules name it"),
];

/// What a kill is narrowed down to, and how it is answered.
#[derive(Clone, Copy)]
pub(crate) struct How<'a> {
    /// `-i`
    pub(crate) on: Option<&'a str>,
    /// `--json`
    pub(crate) json: bool,
}

/// `-k X [-k Y]`
pub(crate) fn kill(words: &[String], how: How<'_>, api: &mut dyn Api) -> Result<Output, String> {
    let (which, said) = match words {
        [kind] if matches!(kind.as_str(), "label" | "id" | "key") => {
            return Err(format!(
                "pfctl: -k {kind}: a second -k must say which {kind}: -k {kind} -k {}",
                match kind.as_str() {
                    "label" => "web",
                    "id" => "4823e84500000018",
                    _ => "'tcp 10.0.0.1:80 <- 192.0.2.9:51000'",
                }
            ));
        }
        [kind, value] if kind == "label" => (Killing::Label(value.clone()), Words::Killed),
        [kind, value] if kind == "id" => (Killing::Id(state_id(value)?), Words::Killed),
        [kind, value] if kind == "key" => (Killing::Key(value.clone()), Words::Killed),
        [from, to @ ..] if to.len() < 2 => (
            Killing::Hosts {
                from: from.clone(),
                to: to.first().cloned(),
            },
            Words::Hosts(to.len()),
        ),
        _ => return Err("pfctl: -k: there can be one or two of them, not more".into()),
    };
    let view = killing::begin(&which, how.on, api)?;
    Ok(match how.json {
        true => Output::Text(json::text(&view)),
        false => kill_output(killing::begun(&view, said, "", "")),
    })
}

/// Hexadecimal as `-vvss` prints it, with or without the creator.
fn state_id(text: &str) -> Result<u64, String> {
    let id = text.split('/').next().unwrap_or(text);
    let digits = id.strip_prefix("0x").unwrap_or(id);
    u64::from_str_radix(digits, 16).map_err(|_| {
        format!("pfctl: -k id: '{text}' is no id of a state; pfctl -vvss shows them, as 'id: '")
    })
}

/// `-K X [-K Y]`
pub(crate) fn kill_sources(
    words: &[String],
    as_json: bool,
    api: &mut dyn Api,
) -> Result<String, String> {
    let (from, to) = match words {
        [from] => (from, None),
        [from, to] => (from, Some(to.as_str())),
        _ => return Err("pfctl: -K: there can be one or two of them, not more".into()),
    };
    let killed = api
        .kill_sources(Some(from), to)
        .map_err(|e| format!("pfctl: {e}"))?;
    if as_json {
        return Ok(json::map(&[("killed".into(), killed)]));
    }
    let to = words.len() - 1;
    Ok(format!(
        "killed {killed} src nodes from 1 sources and {to} destinations\n"
    ))
}

/// `-F X`
pub(crate) fn flush(word: &str, how: How<'_>, api: &mut dyn Api) -> Result<Output, String> {
    let found = FLUSHES.iter().find(|name| name.starts_with(word));
    let name = found.ok_or_else(|| {
        let known = "states, Sources, Tables and all (of these) can";
        format!("pfctl: -F: '{word}' cannot be cleared; {known}")
    })?;
    let number = |name: &str, n: u64, text: String| match how.json {
        true => Output::Text(json::map(&[(name.into(), n)])),
        false => Output::Text(text),
    };
    match *name {
        "states" => {
            let view = killing::begin(&Killing::All, how.on, api)?;
            Ok(match how.json {
                true => Output::Text(json::text(&view)),
                false => kill_output(killing::begun(&view, Words::Cleared, "", "")),
            })
        }
        "Sources" => Ok(number("killed", flush_sources(api)?, SOURCES.into())),
        "Tables" => {
            let flushed = flush_tables(api)?;
            Ok(number("deleted", flushed, tables_said(flushed)))
        }
        "all" => flush_all(how, api),
        "info" => Err(
            "pfctl: -F info: counters run from the start of the box; take the difference of two"
                .into(),
        ),
        other => Err(format!(
            "pfctl: -F {other}: rules, queues and options come with a bundle; see fuguctl push"
        )),
    }
}

/// What pfctl says of `-F Sources`.
const SOURCES: &str = "source tracking entries cleared\n";

fn tables_said(flushed: u64) -> String {
    format!("{flushed} tables deleted.\n")
}

/// The states first: if they cannot be killed, nothing is done.
fn flush_all(how: How<'_>, api: &mut dyn Api) -> Result<Output, String> {
    let view = killing::begin(&Killing::All, how.on, api)?;
    let tables = flush_tables(api)?;
    let sources = flush_sources(api)?;
    if how.json {
        let all = serde_json::json!({
            "tables": { "deleted": tables },
            "states": view,
            "sources": { "killed": sources },
        });
        return Ok(Output::Text(json::text(&all)));
    }
    let after = "rules and options stay: they come with a bundle; see fuguctl push\n";
    let after = format!("{SOURCES}{after}");
    let before = tables_said(tables);
    Ok(kill_output(killing::begun(
        &view,
        Words::Cleared,
        &before,
        &after,
    )))
}

/// What a kill leaves to the console.
fn kill_output(begun: Begun) -> Output {
    match begun {
        Begun::Done(text) => Output::Text(text),
        Begun::Waits(waiting) => Output::Follow(Follow::Kill(waiting)),
    }
}

fn flush_sources(api: &mut dyn Api) -> Result<u64, String> {
    let killed = api.kill_sources(None, None);
    killed.map_err(|e| format!("pfctl: {e}"))
}

/// Tables that rules name stay, empty.
fn flush_tables(api: &mut dyn Api) -> Result<u64, String> {
    let mut flushed = 0;
    for table in api
        .table_summaries()
        .iter()
        .filter(|t| !t.flags.starts_with('c'))
    {
        api.edit_table(&table.name, &TableEdit::Kill)
            .map_err(|e| format!("pfctl: {e}"))?;
        flushed += 1;
    }
    Ok(flushed)
}

/// `-t TABLE -T COMMAND [ADDRESS …]`, but for show.
pub(crate) fn table(
    name: &str,
    command: &str,
    words: &[String],
    (verbose, as_json): (u8, bool),
    api: &mut dyn Api,
) -> Result<String, String> {
    let list = words.to_vec();
    let edit = match command {
        "add" => TableEdit::Add(list),
        "delete" => TableEdit::Delete(list),
        "replace" => TableEdit::Replace(list),
        "test" => TableEdit::Test(list),
        "flush" => TableEdit::Flush,
        "kill" => TableEdit::Kill,
        "zero" => TableEdit::Zero(list),
        "expire" => TableEdit::Expire(seconds(words)?),
        other => return Err(format!("pfctl: -T: '{other}' is no command for a table")),
    };
    let edited = api
        .edit_table(name, &edit)
        .map_err(|e| format!("pfctl: {e}"))?;
    if as_json {
        return Ok(json::text(&edited));
    }
    let created = if edited.created {
        "1 table created.\n"
    } else {
        ""
    };
    Ok(format!("{created}{}", said(&edit, &edited, words, verbose)))
}

fn seconds(words: &[String]) -> Result<u64, String> {
    let number = words.first().and_then(|w| w.parse().ok());
    number.ok_or_else(|| "pfctl: -T expire: how many seconds?".into())
}

fn said(edit: &TableEdit, edited: &TableEdited, words: &[String], verbose: u8) -> String {
    let TableEdited {
        asked,
        added,
        deleted,
        changed,
        ..
    } = edited;
    match edit {
        TableEdit::Add(_) => format!("{added}/{asked} addresses added.\n"),
        TableEdit::Delete(_) => format!("{deleted}/{asked} addresses deleted.\n"),
        TableEdit::Expire(_) => format!("{deleted}/{asked} addresses expired.\n"),
        TableEdit::Flush => format!("{deleted} addresses deleted.\n"),
        TableEdit::Kill => "1 table deleted.\n".into(),
        TableEdit::Zero(list) if list.is_empty() => "1 table/stats cleared.\n".into(),
        TableEdit::Zero(_) => format!("{asked}/{asked} addresses cleared.\n"),
        TableEdit::Replace(_) => {
            let parts = [(added, "added"), (deleted, "deleted"), (changed, "changed")];
            let said = parts.iter().filter(|(n, _)| **n > 0);
            let text: String = said
                .map(|(n, what)| format!("{n} addresses {what}.\n"))
                .collect();
            if text.is_empty() {
                "no changes.\n".into()
            } else {
                text
            }
        }
        TableEdit::Test(_) => tested(edited, words, verbose),
    }
}

fn tested(edited: &TableEdited, words: &[String], verbose: u8) -> String {
    let matched = edited.matches.iter().flatten().count();
    let mut out = format!("{matched}/{} addresses match.\n", edited.asked);
    for (word, found) in words.iter().zip(&edited.matches).filter(|_| verbose > 0) {
        match (found, verbose) {
            (Some(_), 1) => out += &format!("M  {word}\n"),
            (Some(entry), _) => out += &format!("M  {word}\t {entry}\n"),
            (None, 1) => {}
            (None, _) => out += &format!("   {word}\t nomatch\n"),
        }
    }
    out
}

/// A line of `-sS`, and what `-v` adds.
pub(crate) fn source(s: &SourceView, verbose: u8) -> String {
    let mut out = s.addr.to_string();
    if let Some(to) = s.redirect {
        out += &format!(" [{} {to}]", s.kind);
    }
    if let Some(id) = s.limiter {
        out += &format!(" [limiter {id}]");
    }
    out += &format!(
        " ( states {}, connections {}, rate {:.1}/{}s )\n",
        s.states, s.connections, s.rate, s.rate_seconds
    );
    if verbose > 0 {
        out += &format!(
            "   age {}, expires in {}, {} pkts, {} bytes",
            clock(s.age_s.into()),
            clock(s.expires_s.into()),
            s.packets,
            s.bytes
        );
        if let Some(rule) = s.rule {
            out += &format!(", rule {rule}");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::api::KillView;
    use control::fake::{Fake, kill};

    fn pfctl(line: &str, api: &mut Fake) -> Result<String, String> {
        let words: Vec<String> = line.split('|').map(String::from).collect();
        match crate::pfctl::run(&words, api)? {
            Output::Text(text) => Ok(text),
            Output::Follow(mut follow) => Ok(std::iter::from_fn(|| follow.poll(api)).collect()),
            _ => Err("neither text nor something to follow".into()),
        }
    }

    #[test]
    fn states_are_killed_in_all_the_ways_of_pfctl() {
        let mut api = Fake::default();
        for (line, said, done) in [
            (
                "-k|10.0.0.1",
                "killed 3 states from 1 sources and 0 destinations\n",
                "kill Hosts { from: \"10.0.0.1\", to: None }",
            ),
            (
                "-k|0.0.0.0/0|-k|10.0.0.0/8",
                "killed 3 states from 1 sources and 1 destinations\n",
                "kill Hosts { from: \"0.0.0.0/0\", to: Some(\"10.0.0.0/8\") }",
            ),
            (
                "-k|label|-k|web",
                "killed 3 states\n",
                "kill Label(\"web\")",
            ),
            (
                "-k|id|-k|4823e84500000018/2d5b",
                "killed 3 states\n",
                "kill Id(5198253777966071832)",
            ),
            (
                "-k|key|-k|tcp 10.0.0.1:80 <- 10.0.0.2:9",
                "killed 3 states\n",
                "kill Key(\"tcp 10.0.0.1:80 <- 10.0.0.2:9\")",
            ),
            ("-Fs", "3 states cleared\n", "kill All"),
            (
                "-i|vio0|-F|states",
                "3 states cleared\n",
                "kill All on vio0",
            ),
            (
                "-i|all|-k|10.0.0.1",
                "killed 3 states from 1 sources and 0 destinations\n",
                "kill Hosts { from: \"10.0.0.1\", to: None } on all",
            ),
            (
                "-K|10.0.0.1",
                "killed 2 src nodes from 1 sources and 0 destinations\n",
                "kill sources Some(\"10.0.0.1\") None",
            ),
            (
                "-FS",
                "source tracking entries cleared\n",
                "kill sources None None",
            ),
        ] {
            assert_eq!(pfctl(line, &mut api).as_deref(), Ok(said), "{line}");
            assert_eq!(api.done.last().map(String::as_str), Some(done), "{line}");
        }
        for (line, word) in [
            ("-k|label", "second"),
            ("-k|id|-k|xyz", "xyz"),
            ("-k|label|-k|a|-k|b", "one or two"),
            ("-k|a|-F|states", "one of"),
            ("-K|a|-F|states", "one of"),
            ("-ss|-F|states", "one of"),
            ("-Fr", "bundle"),
            ("-Fx", "'x'"),
        ] {
            let error = pfctl(line, &mut api).unwrap_err();
            assert!(
                error.starts_with("pfctl: ") && error.contains(word),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn a_kill_that_takes_long_is_followed_a_line_each_second() {
        let so_far = [(0, 0), (5, 10), (5, 10), (6, 20), (7, 100)];
        let mut api = Fake {
            kills: so_far
                .map(|(n, percent)| kill(n, percent == 100, percent))
                .to_vec(),
            ..Fake::default()
        };
        let said = "killed 5 states so far, 10% of the table looked at\n\
                    killed 6 states so far, 20% of the table looked at\n\
                    7 states cleared\n";
        assert_eq!(pfctl("-Fs", &mut api).as_deref(), Ok(said));

        // Who does not answer is named, and the prompt comes back.
        let stalled = KillView {
            stalled: vec![1, 3],
            ..kill(5, false, 50)
        };
        api.kills = vec![kill(0, false, 0), stalled.clone()];
        let said = "pfctl: killed 5 states so far, 50% of the table looked at, workers 1 and 3 stand still: \
                    their states live until they go on; pfctl -s kills shows how it ends\n";
        assert_eq!(pfctl("-k|id|-k|5", &mut api).as_deref(), Ok(said));

        api.kills = vec![kill(0, false, 0), kill(12, true, 100)];
        let said = "0 tables deleted.\n12 states cleared\nsource tracking entries cleared\n\
                    rules and options stay: they come with a bundle; see fuguctl push\n";
        api.tables.clear();
        assert_eq!(pfctl("-Fall", &mut api).as_deref(), Ok(said));

        // Forgotten: others have ended since.
        api.kills = vec![kill(0, false, 0)];
        let said = "pfctl: kill 1 is over, and what it came to is forgotten\n";
        assert_eq!(pfctl("-Fs", &mut api).as_deref(), Ok(said));
    }

    #[test]
    fn kills_are_listed_and_written_as_json() {
        let mut api = Fake::default();
        assert_eq!(pfctl("-s|kills", &mut api).as_deref(), Ok(""));
        api.kills = vec![kill(7, true, 100), kill(6, false, 20)];
        let said = "kill 1: -F states: killed 7 states in 10 s\n\
                    kill 1: -F states: killed 6 states so far, 20% of the table looked at, for 2 s\n";
        assert_eq!(pfctl("-s|kills", &mut api).as_deref(), Ok(said));
        let value = |line: &str, api: &mut Fake| -> serde_json::Value {
            serde_json::from_str(&pfctl(line, api).unwrap()).unwrap()
        };
        let all = value("-s|kills|--json", &mut api);
        assert_eq!(
            (all[0]["done"].as_bool(), all[1]["killed"].as_u64()),
            (Some(true), Some(6))
        );
        api.kills = vec![kill(6, false, 20)];
        let one = value("-Fs|--json", &mut api);
        assert_eq!(
            (one["done"].as_bool(), one["percent"].as_u64()),
            (Some(false), Some(20))
        );
        for (line, place, want) in [
            ("-k|10.0.0.1|--json", "/killed", 3),
            ("-K|10.0.0.1|--json", "/killed", 2),
            ("-FS|--json", "/killed", 2),
            ("-FT|--json", "/deleted", 1),
            ("-Fall|--json", "/states/killed", 3),
            ("-Fall|--json", "/sources/killed", 2),
        ] {
            let found = value(line, &mut api);
            let found = found.pointer(place).and_then(serde_json::Value::as_u64);
            assert_eq!(found, Some(want), "{line}");
        }
    }

    #[test]
    fn tables_are_edited_and_say_what_pfctl_says() {
        let edited = TableEdited {
            asked: 3,
            added: 2,
            deleted: 1,
            ..TableEdited::default()
        };
        let mut api = Fake {
            edited,
            ..Fake::default()
        };
        for (line, said) in [
            (
                "-t|bad|-T|add|10.0.0.1|10.0.0.2|10.0.0.3",
                "2/3 addresses added.\n",
            ),
            ("-t|bad|-Tdelete|10.0.0.1", "1/3 addresses deleted.\n"),
            (
                "-t|bad|-T|replace|10.0.0.1",
                "2 addresses added.\n1 addresses deleted.\n",
            ),
            ("-t|bad|-T|expire|3600", "1/3 addresses expired.\n"),
            ("-t|bad|-T|flush", "1 addresses deleted.\n"),
            ("-t|bad|-T|kill", "1 table deleted.\n"),
            ("-t|bad|-T|zero", "1 table/stats cleared.\n"),
            ("-t|bad|-T|zero|10.0.0.1", "3/3 addresses cleared.\n"),
        ] {
            assert_eq!(pfctl(line, &mut api).as_deref(), Ok(said), "{line}");
        }
        assert_eq!(
            api.done[0],
            "table bad Add([\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"])"
        );
        api.edited = TableEdited {
            asked: 2,
            matches: vec![Some("10.0.0.0/8".into()), None],
            ..TableEdited::default()
        };
        let line = "-t|bad|-T|test|-vv|10.1.2.3|11.1.1.1";
        let said = "1/2 addresses match.\nM  10.1.2.3\t 10.0.0.0/8\n   11.1.1.1\t nomatch\n";
        assert_eq!(pfctl(line, &mut api).as_deref(), Ok(said));
        assert!(pfctl("-t|bad|-T|expire|soon", &mut api).is_err());
    }

    #[test]
    fn sources_are_shown_as_pfctl_shows_them() {
        let mut api = Fake::default();
        let line = "10.0.0.9 ( states 3, connections 2, rate 0.4/5s )\n";
        assert_eq!(pfctl("-sS", &mut api).as_deref(), Ok(line));
        let more = "   age 00:01:01, expires in 00:00:00, 10 pkts, 840 bytes, rule 1\n";
        assert_eq!(pfctl("-vsS", &mut api), Ok(format!("{line}{more}")));
    }
}
