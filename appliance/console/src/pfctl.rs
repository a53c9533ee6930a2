//! `pfctl` as far as it shows things: options as pfctl takes them, output as OpenBSD prints it, so that whatever was
//! written about reading it is true here.
//!
//! Read first: pfctl(8).

use std::net::IpAddr;

use control::api::{
    Api, InterfaceView, LimiterView, PfInfo, Proof, Refused, RuleView, StateEnd, StateView,
    TableView,
};

use crate::anchors;
use crate::commands::Output;
use crate::dialog::{Dialog, Next};
use crate::json;
use crate::pfchange;
use crate::words::did_you_mean;

/// States fetched for one command: at 115200 baud more would take minutes to print.
pub(crate) const STATES_MAX: usize = 100_000;

/// What `-s` can show, with pfctl's names; unambiguous beginnings are enough, and case tells some apart.
const MODIFIERS: [(&str, Show, &str); 14] = [
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
        Some("-t") => named(api.tables().into_iter().map(|t| t.name).collect(), "table"),
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
        return run(words, api).map(Output::Text);
    }
    if matches!(options.anchor.as_str(), "" | "*") {
        return Err("pfctl: the main rules come with a bundle; see fuguctl push. With -a an anchor can be edited".into());
    }
    if flushes {
        return Ok(Output::Text(edit_anchor(&options.anchor, "", api)));
    }
    match options.file.as_deref() {
        None => run(words, api).map(Output::Text),
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

/// Gives an anchor its rules; says what pfctl would.
pub(crate) fn edit_anchor(path: &str, rules: &str, api: &mut dyn Api) -> String {
    match api.set_anchor(path, rules.as_bytes(), &Proof::Console) {
        Ok(applied) => {
            let warnings = applied.warnings.iter().map(|d| format!("{d}\n"));
            warnings.collect::<String>() + &format!("generation {}\n", applied.generation)
        }
        Err(Refused::Invalid(list)) => {
            let lines: String = list.iter().map(|d| format!("{d}\n")).collect();
            lines + "pfctl: pf rules not loaded\n"
        }
        Err(
            Refused::Unauthorized(text)
            | Refused::Replayed(text)
            | Refused::TooLarge(text)
            | Refused::Failed(text),
        ) => format!("pfctl: {text}\n"),
    }
}

/// Runs `pfctl WORDS`.
pub(crate) fn run(words: &[String], api: &mut dyn Api) -> Result<String, String> {
    let options = parse(words)?;
    if options.table.is_some() || options.table_command.is_some() {
        return table(&options, api);
    }
    if !options.words.is_empty() {
        return Err(format!("pfctl: '{}' is no option", options.words[0]));
    }
    if !options.kills.is_empty() {
        return pfchange::kill(&options.kills, api);
    }
    if !options.source_kills.is_empty() {
        return pfchange::kill_sources(&options.source_kills, api);
    }
    if let Some(word) = &options.flush {
        return pfchange::flush(word, options.interface.as_deref(), api);
    }
    if options.shows.is_empty() {
        return Err("pfctl: nothing to do; -s shows things, such as -sr, -ss, -si".into());
    }
    Ok(options
        .shows
        .iter()
        .map(|what| show(*what, &options, api))
        .collect())
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

fn table(options: &Options, api: &mut dyn Api) -> Result<String, String> {
    let name = options
        .table
        .as_deref()
        .ok_or("pfctl: -T: the table is missing; name it with -t")?;
    let own = match options.anchor.as_str() {
        "" => name.to_string(),
        anchor => format!("{name}@{anchor}"),
    };
    match options.table_command.as_deref() {
        Some("show") => {}
        Some(command) => {
            let how = (options.verbose, options.json);
            return pfchange::table(&own, command, &options.words, how, api);
        }
        None => return Err("pfctl: -t: what to do with it is missing; -T show".into()),
    }
    let tables = api.tables();
    let found = tables.iter().find(|t| t.name == own);
    let table = found.ok_or_else(|| {
        let hint = did_you_mean(name, tables.iter().map(|t| t.name.as_str()));
        format!("pfctl: '{name}': Table does not exist.{hint}")
    })?;
    if options.json {
        return Ok(json::text(table));
    }
    let lines = table.entries.iter().zip(&table.ages_s);
    let line = |(e, age): (&String, &u64)| match options.verbose {
        0 => entry(e),
        _ => format!("{}\tCleared:     {} ago\n", entry(e), clock(*age)),
    };
    Ok(lines.map(line).collect())
}

/// Addresses stand in the fourth column, so that a `!` before them fits.
fn entry(entry: &str) -> String {
    let pad = if entry.starts_with('!') { "  " } else { "   " };
    format!("{pad}{entry}\n")
}

fn show(what: Show, options: &Options, api: &mut dyn Api) -> String {
    let v = options.verbose;
    let wanted = |name: &str| options.interface.as_deref().is_none_or(|i| i == name);
    match what {
        Show::Rules => {
            let rules = api.rules();
            if options.json {
                json::text(&anchors::chosen(&rules, &options.anchor))
            } else {
                anchors::rules(&rules, &options.anchor, v)
            }
        }
        Show::States => {
            let mut states = api.states(STATES_MAX);
            states.retain(|s| wanted(&s.interface));
            if options.json {
                json::text(&states)
            } else {
                states.iter().map(|s| state(s, v)).collect()
            }
        }
        Show::Info => {
            let facts = api.pf_info();
            if options.json {
                json::text(&facts)
            } else {
                info(&facts, v)
            }
        }
        Show::Tables => {
            let tables = api.tables();
            if options.json {
                json::text(&tables)
            } else {
                let shown = tables
                    .iter()
                    .filter(|t| anchors::has_table(&options.anchor, &t.name));
                shown.map(|t| table_name(t, v)).collect()
            }
        }
        Show::Timeouts => {
            let list = api.timeouts();
            if options.json {
                json::map(&list)
            } else {
                list.iter().map(timeout).collect()
            }
        }
        Show::Memory => {
            let list = api.limits();
            if options.json {
                json::map(&list)
            } else {
                list.iter().map(limit).collect()
            }
        }
        Show::Labels => api.rules().iter().filter_map(label).collect(),
        Show::Interfaces => {
            let names = api
                .interfaces()
                .into_iter()
                .map(|i| i.name)
                .filter(|n| wanted(n));
            names.map(|n| n + "\n").collect()
        }
        Show::Anchors if options.json => json::text(&api.anchors()),
        Show::Anchors => anchors::list(&api.anchors(), &options.anchor, v),
        Show::All => all(options, api),
        Show::Sources if options.json => json::text(&api.sources()),
        Show::Sources => {
            let sources = api.sources();
            sources.iter().map(|s| pfchange::source(s, v)).collect()
        }
        Show::Limiters if options.json => json::text(&api.limiters()),
        Show::Limiters => api.limiters().iter().map(limiter).collect(),
        Show::Nothing => String::new(),
    }
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

/// What `-v` adds to a rule.
pub(crate) fn rule_counters(r: &RuleView, verbose: u8) -> String {
    let mut out = String::new();
    if verbose > 0 {
        out += &format!(
            "  [ Evaluations: {:<8}  Packets: {:<8}  Bytes: {:<10}  States: {:<6}]\n",
            r.evaluations,
            r.input.packets + r.output.packets,
            r.input.bytes + r.output.bytes,
            r.states
        );
        // The one process there is inserts every rule.
        out += &format!(
            "  [ Inserted: uid 0 pid 1 State Creations: {:<6}]\n",
            r.states_total
        );
    }
    if verbose > 1 {
        out += &format!("  [ From: {} ]\n", r.origin);
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

fn state(s: &StateView, verbose: u8) -> String {
    let incoming = s.direction == "in";
    // pfctl puts our side first: what an incoming connection was sent to, where an outgoing one comes from.
    let (far_src, far_dst) = (s.translated_src.as_ref(), s.translated_dst.as_ref());
    let changes_family = far_src.is_some_and(|e| e.addr.is_ipv4() != s.src.addr.is_ipv4());
    let (first, arrow, second) = if changes_family {
        (ends(&s.dst, far_dst), "->", ends(&s.src, far_src))
    } else if incoming {
        (
            ends(far_dst.unwrap_or(&s.dst), far_dst.map(|_| &s.dst)),
            "<-",
            ends(far_src.unwrap_or(&s.src), far_src.map(|_| &s.src)),
        )
    } else {
        (ends(&s.src, far_src), "->", ends(&s.dst, far_dst))
    };
    let (a, b) = if incoming {
        (&s.peers.1, &s.peers.0)
    } else {
        (&s.peers.0, &s.peers.1)
    };
    // While the box shakes hands for a side, that is all there is to say.
    let levels = match s.peers.0.starts_with("PROXY:") {
        true => s.peers.0.clone(),
        false => format!("{a}:{b}"),
    };
    let mut out = format!(
        "{} {} {} {arrow} {}       {levels}\n",
        s.interface,
        protocol(s.proto),
        first,
        second
    );
    if verbose > 0 {
        out += &state_details(s, incoming);
    }
    if verbose > 1 {
        out += &format!(
            "   id: {:016x} creatorid: 00000000 worker: {}\n",
            s.id, s.worker
        );
    }
    out
}

fn state_details(s: &StateView, incoming: bool) -> String {
    let mut out = String::new();
    if let Some(mut windows) = s.windows {
        if incoming {
            windows.reverse();
        }
        // Scaling counts only if both sides do it.
        let scaled = windows.iter().all(|(_, _, wscale)| *wscale > 0);
        let [a, b] = windows.map(|(lo, len, wscale)| {
            let scale = if scaled {
                format!(" wscale {wscale}")
            } else {
                String::new()
            };
            format!("[{lo} + {len}]{scale}")
        });
        out += &format!("   {a}  {b}\n");
    }
    let [there, back] = s.counts;
    out += &format!(
        "   age {}, expires in {}, {}:{} pkts, {}:{} bytes",
        clock(s.age_s),
        clock(s.expires_s),
        there.packets,
        back.packets,
        there.bytes,
        back.bytes
    );
    if let Some(anchor) = s.anchor.as_ref().filter(|a| !a.is_empty()) {
        out += &format!(", anchor {anchor}");
    }
    if let Some(rule) = s.rule {
        out += &format!(", rule {rule}");
    }
    // pfctl prints no word for no-sync.
    for flag in s.flags.iter().filter(|flag| **flag != "no-sync") {
        out += &format!(", {flag}");
    }
    out.push('\n');
    out
}

/// An end, and in parentheses what it is on the other side.
fn ends(e: &StateEnd, other: Option<&StateEnd>) -> String {
    match other {
        Some(other) => format!("{} ({})", end(e), end(other)),
        None => end(e),
    }
}

fn end(e: &StateEnd) -> String {
    match (e.addr, e.port) {
        (addr, 0) => addr.to_string(),
        (IpAddr::V4(a), port) => format!("{a}:{port}"),
        (IpAddr::V6(a), port) => format!("{a}[{port}]"),
    }
}

/// Names of /etc/protocols.
fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".into(),
        2 => "igmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        47 => "gre".into(),
        50 => "esp".into(),
        51 => "ah".into(),
        58 => "ipv6-icmp".into(),
        89 => "ospf".into(),
        112 => "carp".into(),
        132 => "sctp".into(),
        240 => "pfsync".into(),
        n => n.to_string(),
    }
}

pub(crate) fn clock(seconds: u64) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn info(i: &PfInfo, verbose: u8) -> String {
    let running = if i.enabled { "Enabled" } else { "Disabled" };
    let days = i.since_s / 86_400;
    let status = format!(
        "Status: {running} for {days} days {}",
        clock(i.since_s % 86_400)
    );
    let debug = format!("Debug: {}", i.debug);
    let mut out = format!("{status:<44}{debug:>15}\n\n");
    if let Some(interface) = &i.loginterface {
        out += &interface_stats(interface);
    }
    out += &format!("{:<27} {:>14} {:>16}\n", "State Table", "Total", "Rate");
    // Levels have no rate; OpenBSD pads the empty column.
    out += &format!("  {:<25} {:>14} {:>14}\n", "current entries", i.states, "");
    out += &format!("  {:<25} {:>14} {:>14}\n", "half-open tcp", i.half_open, "");
    for (name, n) in [
        ("searches", i.searches),
        ("inserts", i.inserts),
        ("removals", i.removals),
    ] {
        out += &rate_line(name, n, i.since_s);
    }
    out += "Counters\n";
    for (name, n) in &i.reasons {
        out += &rate_line(name, *n, i.since_s);
    }
    if verbose > 0 {
        out += "Limit Counters\n";
        for (name, n) in &i.limits {
            out += &rate_line(name, *n, i.since_s);
        }
    }
    out
}

fn rate_line(name: &str, n: u64, seconds: u64) -> String {
    if seconds == 0 {
        return format!("  {name:<25} {n:>14} {:>14}\n", "");
    }
    format!(
        "  {name:<25} {n:>14} {:>14.1}/s\n",
        n as f64 / seconds as f64
    )
}

fn interface_stats(i: &InterfaceView) -> String {
    let name = format!("Interface Stats for {}", i.name);
    let mut out = format!("{name:<27} {:>14} {:>16}\n", "IPv4", "IPv6");
    let [four, six] = i.pf;
    for (direction, at) in [("In", 0), ("Out", 1)] {
        let bytes = |side: [[control::api::Count; 2]; 2]| side[at][0].bytes + side[at][1].bytes;
        let title = format!("Bytes {direction}");
        out += &format!("  {title:<25} {:>14} {:>16}\n", bytes(four), bytes(six));
    }
    for (direction, at) in [("In", 0), ("Out", 1)] {
        out += &format!("  Packets {direction}\n");
        for (action, which) in [("Passed", 0), ("Blocked", 1)] {
            let (a, b) = (four[at][which].packets, six[at][which].packets);
            out += &format!("    {action:<23} {a:>14} {b:>16}\n");
        }
    }
    out.push('\n');
    out
}

fn table_name(t: &TableView, verbose: u8) -> String {
    match verbose {
        0 => format!("{}\n", t.name),
        1 => format!("{}\t{}\n", t.flags, t.name),
        _ => format!(
            "{}\t{}\n\tAddresses:   {}\n",
            t.flags,
            t.name,
            t.entries.len()
        ),
    }
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
    format!("{name:<13} hard limit {value:>8}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::api::Count;
    use control::fake::Fake;

    fn pfctl(line: &str) -> Result<String, String> {
        pfctl_on(&mut Fake::default(), line)
    }

    fn pfctl_on(api: &mut Fake, line: &str) -> Result<String, String> {
        run(&crate::words::split(line), api)
    }

    fn check(line: &str, expected: &str) {
        let out = pfctl(line).unwrap();
        assert_eq!(out, expected, "pfctl {line}:\n{out}");
    }

    #[test]
    fn rules_at_three_levels() {
        check(
            "-sr",
            "block return all\n\
             pass in on vio0 inet proto tcp from any to any port = 80 flags S/SA label \"web\"\n",
        );
        check(
            "-vsr",
            "block return all\n\
             \x20 [ Evaluations: 20        Packets: 15        Bytes: 1500        States: 0     ]\n\
             \x20 [ Inserted: uid 0 pid 1 State Creations: 0     ]\n\
             pass in on vio0 inet proto tcp from any to any port = 80 flags S/SA label \"web\"\n\
             \x20 [ Evaluations: 40        Packets: 30        Bytes: 3000        States: 1     ]\n\
             \x20 [ Inserted: uid 0 pid 1 State Creations: 3     ]\n",
        );
        let out = pfctl("-vvsr").unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(
            (lines[0], lines[3]),
            ("@0 block return all", "  [ From: pf.conf:1 ]")
        );
        assert_eq!(lines[7], "  [ From: pf.conf:2 ]");
    }

    #[test]
    fn states_at_three_levels() {
        check(
            "-ss",
            "all tcp 192.0.2.1:80 <- 198.51.100.7:51000       ESTABLISHED:ESTABLISHED\n\
             all udp 2001:db8::1[5353] -> 2001:db8::2[53]       SINGLE:MULTIPLE\n",
        );
        check(
            "-vvss",
            "all tcp 192.0.2.1:80 <- 198.51.100.7:51000       ESTABLISHED:ESTABLISHED\n\
             \x20  [2000 + 32768]  [1000 + 65535]\n\
             \x20  age 01:02:05, expires in 23:59:50, 10:8 pkts, 1000:800 bytes, rule 1\n\
             \x20  id: 000000005f000001 creatorid: 00000000 worker: 0\n\
             all udp 2001:db8::1[5353] -> 2001:db8::2[53]       SINGLE:MULTIPLE\n\
             \x20  age 01:02:05, expires in 23:59:50, 10:8 pkts, 1000:800 bytes, rule 1\n\
             \x20  id: 000000005f000001 creatorid: 00000000 worker: 0\n",
        );
    }

    #[test]
    fn a_proxied_state_and_options_of_states_are_shown_as_pfctl_does() {
        let mut api = Fake::default();
        api.states.truncate(1);
        api.states[0].peers = ("PROXY:SRC".into(), "CLOSED".into());
        api.states[0].flags = vec!["sloppy", "pflow", "no-sync"];
        let out = state(&api.states[0], 1);
        assert!(out.contains("51000       PROXY:SRC\n"), "{out}");
        assert!(out.ends_with(", rule 1, sloppy, pflow\n"), "{out}");
    }

    #[test]
    fn translations_stand_in_parentheses() {
        let mut api = Fake::default();
        let end = |addr: &str, port| StateEnd {
            addr: addr.parse().unwrap(),
            port,
        };
        api.states[0].translated_dst = Some(end("10.0.0.5", 8080));
        api.states[1].translated_src = Some(end("2001:db8:5::1", 5353));
        assert_eq!(
            pfctl_on(&mut api, "-ss").unwrap(),
            "all tcp 10.0.0.5:8080 (192.0.2.1:80) <- 198.51.100.7:51000       ESTABLISHED:ESTABLISHED\n\
             all udp 2001:db8::1[5353] (2001:db8:5::1[5353]) -> 2001:db8::2[53]       SINGLE:MULTIPLE\n"
        );
        api.states.truncate(1);
        api.states[0].translated_src = Some(end("2001:db8::9", 51000));
        api.states[0].translated_dst = Some(end("2001:db8::5", 80));
        assert_eq!(
            pfctl_on(&mut api, "-ss").unwrap(),
            "all tcp 192.0.2.1:80 (2001:db8::5[80]) -> 198.51.100.7:51000 (2001:db8::9[51000])       \
             ESTABLISHED:ESTABLISHED\n"
        );
    }

    #[test]
    fn the_originator_of_an_incoming_state_comes_last() {
        let mut api = Fake::default();
        api.states.truncate(1);
        api.states[0].peers = ("FIN_WAIT_2".into(), "ESTABLISHED".into());
        api.states[0].windows = Some([(1, 2, 3), (4, 5, 6)]);
        let out = pfctl_on(&mut api, "-vss").unwrap();
        let lines: Vec<&str> = out.lines().take(2).collect();
        assert_eq!(
            lines,
            [
                "all tcp 192.0.2.1:80 <- 198.51.100.7:51000       ESTABLISHED:FIN_WAIT_2",
                "   [4 + 5] wscale 6  [1 + 2] wscale 3"
            ]
        );
    }

    #[test]
    fn info_as_openbsd_lays_it_out() {
        check(
            "-si",
            concat!(
                "Status: Enabled for 0 days 00:01:02              Debug: err\n",
                "\n",
                "State Table                          Total             Rate\n",
                "  current entries                        2               \n",
                "  half-open tcp                          1               \n",
                "  searches                             620           10.0/s\n",
                "  inserts                               31            0.5/s\n",
                "  removals                              29            0.5/s\n",
                "Counters\n",
                "  match                                 62            1.0/s\n",
                "  bad-offset                             0            0.0/s\n",
                "  short                                  1            0.0/s\n",
            ),
        );
    }

    #[test]
    fn info_of_the_logged_interface() {
        let mut api = Fake::default();
        let mut interface = api.interfaces[0].clone();
        interface.pf[0][0][0] = Count {
            packets: 3,
            bytes: 300,
        };
        interface.pf[0][0][1] = Count {
            packets: 1,
            bytes: 60,
        };
        interface.pf[1][1][0] = Count {
            packets: 7,
            bytes: 700,
        };
        api.info.loginterface = Some(interface);
        let out = pfctl_on(&mut api, "-s info").unwrap();
        let block: Vec<&str> = out.lines().skip(2).take(10).collect();
        assert_eq!(
            block,
            [
                "Interface Stats for vio0              IPv4             IPv6",
                "  Bytes In                             360                0",
                "  Bytes Out                              0              700",
                "  Packets In",
                "    Passed                               3                0",
                "    Blocked                              1                0",
                "  Packets Out",
                "    Passed                               0                7",
                "    Blocked                              0                0",
                "",
            ]
        );
    }

    #[test]
    fn tables_limits_timeouts_labels_interfaces() {
        check("-sT", "bruteforce\n");
        check("-vsT", "-pa-r--\tbruteforce\n");
        check("-t bruteforce -T show", "   10.0.0.0/8\n  !10.1.0.0/16\n");
        check("-tbruteforce -Tshow", "   10.0.0.0/8\n  !10.1.0.0/16\n");
        check(
            "-sm",
            "states        hard limit   100000\nsrc-nodes     hard limit    10000\n",
        );
        check(
            "-st",
            "tcp.first                   120s\nadaptive.start            60000 states\n",
        );
        check("-sl", "web 40 30 3000 20 2000 10 1000 3\n");
        check("-sI", "vio0\nvio1\n");
        check("-sI -i vio1", "vio1\n");
        check("-sq", "");
    }

    #[test]
    fn options_combine_as_pfctl_takes_them() {
        let rules = pfctl("-sr").unwrap();
        for line in ["-s rules", "-srules", "-s r", "-nsr", "-N -q -sr"] {
            assert_eq!(pfctl(line).unwrap(), rules, "{line}");
        }
        assert_eq!(pfctl("-v -v -s r"), pfctl("-vvsr"));
        assert_eq!(pfctl("-sr -ss").unwrap(), rules + &pfctl("-ss").unwrap());
        assert_ne!(pfctl("-ss"), pfctl("-sS"), "case tells states from Sources");
    }

    #[test]
    fn all_has_titles_and_json_is_json() {
        let out = pfctl("-sa").unwrap();
        let titles: Vec<&str> = out.lines().filter(|l| l.ends_with(':')).collect();
        assert_eq!(
            titles,
            [
                "FILTER RULES:",
                "STATES:",
                "INFO:",
                "LABEL COUNTERS:",
                "TIMEOUTS:",
                "LIMITS:",
                "TABLES:"
            ]
        );
        for line in [
            "-sr",
            "-ss",
            "-si",
            "-sT",
            "-st",
            "-sm",
            "-t bruteforce -T show",
        ] {
            let out = pfctl(&format!("{line} --json")).unwrap();
            assert!(
                serde_json::from_str::<serde_json::Value>(&out).is_ok(),
                "{line}: {out}"
            );
        }
    }

    #[test]
    fn errors_name_the_word_that_is_wrong() {
        for (line, says) in [
            (
                "",
                "pfctl: nothing to do; -s shows things, such as -sr, -ss, -si",
            ),
            ("-s", "pfctl: -s: a word is missing after it"),
            (
                "-s rulez",
                "pfctl: -s: 'rulez' cannot be shown; did you mean 'rules'?",
            ),
            ("rules", "pfctl: 'rules' is no option"),
            ("-vxs r", "pfctl: '-x' in '-vxs' is no option"),
            ("-d", "pfctl: '-d' in '-d': the filter is always enabled"),
            (
                "-T show",
                "pfctl: -T: the table is missing; name it with -t",
            ),
            (
                "-t bruteforce",
                "pfctl: -t: what to do with it is missing; -T show",
            ),
            (
                "-t brutforce -T show",
                "pfctl: 'brutforce': Table does not exist.; did you mean 'bruteforce'?",
            ),
            (
                "-t bruteforce -T load",
                "pfctl: -T: 'load' is no command for a table",
            ),
        ] {
            assert_eq!(pfctl(line), Err(says.to_string()), "{line}");
        }
    }
}
