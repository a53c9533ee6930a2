//! `pfctl` as far as it shows things: options as pfctl takes them, output as OpenBSD prints it, so that whatever was
//! written about reading it is true here.
//!
//! Read first: pfctl(8).

mod info;
mod states;
mod tables;

use control::api::{Api, LimiterView, RuleView, TableView};

use crate::anchors;
use crate::dialog::{Dialog, Next};
use crate::json;
use crate::killing;
use crate::output::Output;
use crate::pfchange;
use crate::words::did_you_mean;

/// States fetched for one command: at 115200 baud more would take minutes to print.
pub(crate) const STATES_MAX: usize = 100_000;

/// What `-s` can show, with pfctl's names; unambiguous beginnings are enough, and case tells some apart.
const MODIFIERS: [(&str, Show, &str); 15] = [
    ("rules", Show::Rules, "the loaded rules"),
    ("states", Show::States, "the state table"),
    ("info", Show::Info, "filter statistics and counters"),
    ("Tables", Show::Tables, "the tables"),
    ("timeouts", Show::Timeouts, "timeouts"),
    ("memory", Show::Memory, "hard limits"),
    ("labels", Show::Labels, "counters of labelled rules"),
    ("Interfaces", Show::Interfaces, "interfaces PF knows"),
    ("all", Show::All, "all of it"),
    ("queue", Show::Nothing, "queues"),
    ("Anchors", Show::Anchors, "anchors"),
    ("Sources", Show::Sources, "source tracking"),
    (
        "Limiters",
        Show::Limiters,
        "state limiters and source limiters",
    ),
    (
        "kills",
        Show::Kills,
        "kills of states under way, and the last ones",
    ),
    ("osfp", Show::Nothing, "fingerprints"),
];

/// What is to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Show {
    Rules,
    States,
    Info,
    Tables,
    Timeouts,
    Memory,
    Labels,
    Interfaces,
    Anchors,
    Sources,
    Limiters,
    Kills,
    All,
    /// Known to pfctl, and always empty here so far.
    Nothing,
}

/// The options of one command.
#[derive(Default, PartialEq, Eq, Debug)]
struct Options {
    verbose: u8,
    shows: Vec<Show>,
    table: Option<String>,
    table_command: Option<String>,
    interface: Option<String>,
    /// `-k`, in order.
    kills: Vec<String>,
    /// `-K`, in order.
    source_kills: Vec<String>,
    /// `-F`
    flush: Option<String>,
    /// Words that are no options: addresses for `-T`.
    words: Vec<String>,
    /// `-a`: the anchor that is meant; empty is the main ruleset, `*` is everything.
    anchor: String,
    /// `-f`
    file: Option<String>,
    json: bool,
}

/// Words that can stand after `pfctl`, for completion and `?`.
pub(crate) fn completions(before: &[String], api: &mut dyn Api) -> Vec<(String, &'static str)> {
    let named = |list: Vec<String>, what| list.into_iter().map(|n| (n, what)).collect();
    match before.last().map(String::as_str) {
        Some("-s") => MODIFIERS
            .iter()
            .map(|(n, _, help)| ((*n).to_string(), *help))
            .collect(),
        Some("-t") => named(
            api.table_summaries().into_iter().map(|t| t.name).collect(),
            "table",
        ),
        Some("-a") => named(
            api.anchors().into_iter().map(|a| a.path).collect(),
            "anchor",
        ),
        Some("-T") => pfchange::TABLE_COMMANDS
            .map(|(n, help)| (n.to_string(), help))
            .to_vec(),
        Some("-i") => named(
            api.interfaces().into_iter().map(|i| i.name).collect(),
            "interface",
        ),
        _ => [
            ("-sr", "the loaded rules"),
            ("-ss", "the state table"),
            ("-si", "filter statistics and counters"),
            ("-vsr", "rules with counters"),
            ("-vvsr", "rules with numbers and counters"),
            ("-vss", "states with counters"),
            ("-vvss", "states with ids and counters"),
            ("-sT", "the tables"),
            ("-st", "timeouts"),
            ("-sm", "hard limits"),
            ("-sl", "counters of labelled rules"),
            ("-sI", "interfaces PF knows"),
            ("-sA", "the anchors"),
            ("-sa", "all of it"),
            ("-a", "an anchor, with -s, -f or -F; '*' for all"),
            ("-f", "- takes rules for the anchor of -a"),
            ("-s", "show, by its long name"),
            ("-t", "a table, with -T show"),
            ("-T", "what to do with the table of -t"),
            ("-sS", "source tracking"),
            ("-sL", "limiters"),
            ("-k", "kill states of a source, or: label, id, key"),
            ("-K", "kill source nodes"),
            ("-F", "clear states, Sources or Tables"),
            ("-sk", "kills under way, and the last ones"),
            ("-i", "only this interface"),
            ("-v", "more"),
            ("--json", "as JSON"),
        ]
        .map(|(n, help)| (n.to_string(), help))
        .to_vec(),
    }
}

/// `pfctl WORDS`: shows something, or edits an anchor.
pub(crate) fn command(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let options = parse(words)?;
    let flushes_rules = |what: &str| ["rules", "all"].iter().any(|known| known.starts_with(what));
    let flushes = options.flush.as_deref().is_some_and(flushes_rules);
    let in_anchor = !matches!(options.anchor.as_str(), "" | "*");
    if options.file.is_none() && !(flushes && in_anchor) {
        return run(words, api);
    }
    if matches!(options.anchor.as_str(), "" | "*") {
        return Err("pfctl: the main rules come with a bundle; see fuguctl push. With -a an anchor can be edited".into());
    }
    if flushes {
        return Ok(Output::Text(anchors::edit(&options.anchor, "", api)));
    }
    match options.file.as_deref() {
        None => run(words, api),
        Some("-") => Ok(Output::Ask(Next {
            text: "Rules, and a line with a dot to end them.\n".into(),
            dialog: Some(Dialog::Anchor {
                path: options.anchor,
                text: String::new(),
            }),
        })),
        Some(file) => Err(format!(
            "pfctl: -f: '{file}': only - is possible here: the rules are typed or pasted"
        )),
    }
}

/// Runs `pfctl WORDS`.
pub(crate) fn run(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let options = parse(words)?;
    if options.table.is_some() || options.table_command.is_some() {
        return tables::command(&options, api).map(Output::Text);
    }
    if !options.words.is_empty() {
        return Err(format!("pfctl: '{}' is no option", options.words[0]));
    }
    let wanted = [
        !options.kills.is_empty(),
        !options.source_kills.is_empty(),
        options.flush.is_some(),
        !options.shows.is_empty(),
    ];
    if wanted.iter().filter(|w| **w).count() > 1 {
        return Err("pfctl: only one of -k, -K, -F and -s at a time; nothing was done".into());
    }
    let how = pfchange::How {
        on: options.interface.as_deref(),
        json: options.json,
    };
    if !options.kills.is_empty() {
        return pfchange::kill(&options.kills, how, api);
    }
    if !options.source_kills.is_empty() {
        let killed = pfchange::kill_sources(&options.source_kills, options.json, api);
        return killed.map(Output::Text);
    }
    if let Some(word) = &options.flush {
        return pfchange::flush(word, how, api);
    }
    if options.shows.is_empty() {
        return Err("pfctl: nothing to do; -s shows things, such as -sr, -ss, -si".into());
    }
    let shown = options.shows.iter();
    let shown = shown.map(|what| show(*what, &options, api)).collect();
    Ok(Output::Text(shown))
}

/// Letters that take a word after them.
const WITH_VALUE: &str = "stTiakKFf";
/// Letters that only change how things are shown: resolving names is not done here at all.
const QUIETLY_TAKEN: &str = "nNrPqg";

fn parse(words: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--json" {
            options.json = true;
            continue;
        }
        let Some(letters) = word.strip_prefix('-').filter(|l| !l.is_empty()) else {
            options.words.push(word.clone());
            continue;
        };
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            if letter == 'v' {
                options.verbose = options.verbose.saturating_add(1);
            } else if WITH_VALUE.contains(letter) {
                let value = match rest {
                    "" => words.next().map(String::as_str),
                    rest => Some(rest),
                };
                let value =
                    value.ok_or_else(|| format!("pfctl: -{letter}: a word is missing after it"))?;
                options.take(letter, value)?;
                break;
            } else if !QUIETLY_TAKEN.contains(letter) {
                return Err(unsupported(letter, word));
            }
        }
    }
    Ok(options)
}

fn unsupported(letter: char, word: &str) -> String {
    match letter {
        'e' | 'd' => format!("pfctl: '-{letter}' in '{word}': the filter is always enabled"),
        'z' => format!("pfctl: '-z' in '{word}': counters run on; take the difference of two"),
        _ => format!("pfctl: '-{letter}' in '{word}' is no option"),
    }
}

impl Options {
    fn take(&mut self, letter: char, value: &str) -> Result<(), String> {
        match letter {
            's' => self.shows.push(modifier(value)?),
            't' => self.table = Some(value.to_string()),
            'T' => self.table_command = Some(value.to_string()),
            'k' => self.kills.push(value.to_string()),
            'K' => self.source_kills.push(value.to_string()),
            'f' => self.file = Some(value.to_string()),
            'F' => self.flush = Some(value.to_string()),
            'a' => self.anchor = value.trim_start_matches('/').to_string(),
            _ => self.interface = Some(value.to_string()),
        }
        Ok(())
    }
}

fn modifier(word: &str) -> Result<Show, String> {
    let found = MODIFIERS.iter().find(|(name, ..)| name.starts_with(word));
    match found {
        Some((_, show, _)) => Ok(*show),
        None => {
            let names = MODIFIERS.iter().map(|(name, ..)| *name);
            Err(format!(
                "pfctl: -s: '{word}' cannot be shown{}",
                did_you_mean(word, names)
            ))
        }
    }
}

fn show(what: Show, options: &Options, api: &mut dyn Api) -> String {
    let json = options.json.then(|| show_json(what, options, api));
    json.flatten()
        .unwrap_or_else(|| show_text(what, options, api))
}

/// As JSON; none if there is no JSON of it.
fn show_json(what: Show, options: &Options, api: &mut dyn Api) -> Option<String> {
    Some(match what {
        Show::Rules => json::text(&anchors::chosen(&api.rules(), &options.anchor)),
        Show::States => states::list(options, api),
        Show::Info => json::text(&api.pf_info()),
        Show::Tables => json::text(&api.tables()),
        Show::Timeouts => json::map(&api.timeouts()),
        Show::Memory => json::map(&api.limits()),
        Show::Anchors => json::text(&api.anchors()),
        Show::Sources => json::text(&api.sources()),
        Show::Limiters => json::text(&api.limiters()),
        Show::Kills => killing::list(api, true),
        Show::Labels | Show::Interfaces | Show::All | Show::Nothing => return None,
    })
}

fn show_text(what: Show, options: &Options, api: &mut dyn Api) -> String {
    let v = options.verbose;
    match what {
        Show::Rules => anchors::rules(&api.rules(), &options.anchor, v),
        Show::States => states::list(options, api),
        Show::Info => info::info(&api.pf_info(), v),
        Show::Tables => {
            let tables = api.table_summaries();
            let of_anchor = |t: &&TableView| anchors::has_table(&options.anchor, &t.name);
            let shown = tables.iter().filter(of_anchor);
            shown.map(|t| tables::summary(t, v)).collect()
        }
        Show::Timeouts => api.timeouts().iter().map(timeout).collect(),
        Show::Memory => api.limits().iter().map(limit).collect(),
        Show::Labels => api.rules().iter().filter_map(label).collect(),
        Show::Interfaces => {
            let names = api.interfaces().into_iter().map(|i| i.name);
            let names = names.filter(|name| is_wanted(options, name));
            names.map(|name| name + "\n").collect()
        }
        Show::Anchors => anchors::list(&api.anchors(), &options.anchor, v),
        Show::All => all(options, api),
        Show::Sources => {
            let sources = api.sources();
            sources.iter().map(|s| pfchange::source(s, v)).collect()
        }
        Show::Limiters => api.limiters().iter().map(limiter).collect(),
        Show::Kills => killing::list(api, false),
        Show::Nothing => String::new(),
    }
}

/// Whether an interface was asked for: `-i`, or all of them.
fn is_wanted(options: &Options, name: &str) -> bool {
    options.interface.as_deref().is_none_or(|i| i == name)
}

fn limiter(l: &LimiterView) -> String {
    format!(
        "{} limiter {} id {} limit {}\n  [ In use: {}  Sources: {}  Admitted: {}  Hard limited: {}  \
         Rate limited: {}  Address limited: {} ]\n",
        l.kind,
        l.name,
        l.id,
        l.limit,
        l.in_use,
        l.sources,
        l.admitted,
        l.hard_limited,
        l.rate_limited,
        l.address_limited
    )
}

fn all(options: &Options, api: &mut dyn Api) -> String {
    let parts = [
        ("FILTER RULES:", Show::Rules),
        ("STATES:", Show::States),
        ("INFO:", Show::Info),
        ("LABEL COUNTERS:", Show::Labels),
        ("TIMEOUTS:", Show::Timeouts),
        ("LIMITS:", Show::Memory),
        ("TABLES:", Show::Tables),
    ];
    let mut out = String::new();
    for (i, (title, what)) in parts.into_iter().enumerate() {
        let gap = if i == 0 { "" } else { "\n" };
        out += &format!("{gap}{title}\n{}", show(what, options, api));
    }
    out
}

fn label(r: &RuleView) -> Option<String> {
    let (i, o) = (r.input, r.output);
    Some(format!(
        "{} {} {} {} {} {} {} {} {}\n",
        r.label.as_ref()?,
        r.evaluations,
        i.packets + o.packets,
        i.bytes + o.bytes,
        i.packets,
        i.bytes,
        o.packets,
        o.bytes,
        r.states_total
    ))
}

fn timeout((name, value): &(String, u64)) -> String {
    let unit = if name.starts_with("adaptive.") {
        " states"
    } else {
        "s"
    };
    format!("{name:<20} {value:>10}{unit}\n")
}

fn limit((name, value): &(String, u64)) -> String {
    if *value == u64::from(u32::MAX) {
        return format!("{name:<13} unlimited\n");
    }
    format!("{name:<13} hard limit {value:>8}\n")
}

#[cfg(test)]
mod tests;
