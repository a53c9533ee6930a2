//! What `pfctl` prints where no kernel is needed: [`load`] for `-f`, [`show`] for `-s`. The same compiler, other
//! clothes. Knows no command line: that is fuguctl's. Read first: pfctl(8).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ruleset::Timeout;

use crate::environment::Known;
use crate::message::Messages;
use crate::policy::{Addr, Pool, Rule, RuleKind, Shared, Table};
use crate::print::{Counts, Style, print_rule, print_rules};
use crate::settings::Settings;
use crate::{Built, Environment, Files, Front, Options, Reach};

/// Output of a run of pfctl.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit status.
    pub status: i32,
}

/// Which parts of a file are taken, as `-O`, `-A`, `-N` and `-R` of FreeBSD's pfctl choose them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parts {
    /// `set` options (`-O`).
    pub options: bool,
    /// Queues (`-A`).
    pub queues: bool,
    /// `nat`, `rdr` and `binat` rules (`-N`).
    pub translation: bool,
    /// All other rules (`-R`).
    pub filter: bool,
}

impl Parts {
    /// The whole file.
    pub const ALL: Parts = Parts {
        options: true,
        queues: true,
        translation: true,
        filter: true,
    };

    fn takes(&self, rule: &Rule) -> bool {
        match is_translation(rule) {
            true => self.translation,
            false => self.filter,
        }
    }
}

/// The rulesets of `nat`, `rdr` and `binat`, anchors included.
fn is_translation(rule: &Rule) -> bool {
    (2..=4).contains(&rule.kind.group())
}

/// What the switches of `pfctl -f` say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Load {
    /// How many `-v`: 1 prints what is read, 2 numbers the rules.
    pub verbose: u8,
    /// `-a`: the anchor that the rules are for; empty is the main ruleset.
    pub anchor: String,
    /// `-O`, `-A`, `-N`, `-R`.
    pub parts: Parts,
    /// `-P`: ports by name.
    pub port_names: bool,
}

impl Default for Load {
    fn default() -> Self {
        Load {
            verbose: 0,
            anchor: String::new(),
            parts: Parts::ALL,
            port_names: false,
        }
    }
}

/// A ruleset and the name that messages call it by.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name of the file, or `stdin`.
    pub name: &'a str,
    /// Its contents.
    pub text: &'a [u8],
}

/// What a ruleset is compiled with.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Included files, table files and loaded anchors.
    pub files: &'a dyn Files,
    /// Interfaces and names.
    pub env: &'a Environment,
    /// Macros of the command line.
    pub options: &'a Options,
}

/// Most files that `load anchor` may load; they can load each other.
const ANCHOR_LOADS_MAX: usize = 512;

/// What `pfctl -o none -nv -f FILE` prints; `name` is FILE, or `stdin`.
pub fn pfctl_nv(
    name: &str,
    source: &[u8],
    files: &dyn Files,
    env: &Environment,
    options: &Options,
) -> Output {
    let around = Surroundings {
        files,
        env,
        options,
    };
    let how = Load {
        verbose: 1,
        ..Load::default()
    };
    load(Source { name, text: source }, around, &how)
}

/// What `pfctl -n -f FILE` does: reads, checks, and prints with `-v`.
pub fn load(source: Source<'_>, around: Surroundings<'_>, how: &Load) -> Output {
    let mut out = Output::default();
    // Anchors are printed as the file is that loads them.
    let mut freebsd = false;
    let mut pending = match load_one(source, around, how, &mut freebsd, &mut out) {
        Some(pending) => pending,
        None => return out,
    };
    let mut next = 0;
    while let Some((anchor, file)) = pending.get(next).cloned() {
        next += 1;
        if how.verbose > 0 {
            out.stderr += &format!("\nLoading anchor {anchor} from {file}\n");
        }
        let text = around.files.read(&file);
        if text.is_none() {
            out.stderr += &missing(&file);
        }
        let how = Load {
            anchor,
            ..how.clone()
        };
        let loaded = text.and_then(|text| {
            let source = Source {
                name: &file,
                text: &text,
            };
            load_one(source, around, &how, &mut freebsd, &mut out)
        });
        match loaded {
            Some(more) if pending.len() + more.len() <= ANCHOR_LOADS_MAX => pending.extend(more),
            _ => {
                out.stderr += "pfctl: load anchors\n";
                out.status = 1;
                return out;
            }
        }
    }
    out
}

/// What pfctl says of a ruleset that it cannot open.
pub fn missing(file: &str) -> String {
    let why = "No such file or directory";
    format!("pfctl: pushfile: {file}: {why}\npfctl: cannot open the main config file!: {why}\n")
}

/// One file; the `load anchor` lines in it, or nothing if it is wrong.
fn load_one(
    source: Source<'_>,
    around: Surroundings<'_>,
    how: &Load,
    freebsd: &mut bool,
    out: &mut Output,
) -> Option<Vec<(String, String)>> {
    let mut front = Front::of(source, around, Reach::Alone(&how.anchor));
    let loud = how.verbose > 0;
    if loud {
        out.stdout += &definitions(&front.built, how.parts);
    }
    out.stderr += &front.messages.pfctl(&front.sources);
    if how.verbose > 1 {
        out.stderr += &front.unused_macros;
    }
    out.status = i32::from(front.messages.has_errors());
    if out.status != 0 {
        return None;
    }
    if let Some((text, _)) = front.built.queues.contradiction() {
        out.stderr += &format!("pfctl: {text}\n");
        out.status = 1;
        return None;
    }
    if loud && how.parts.queues {
        out.stdout += &front.built.queues.text();
    }
    if loud {
        front.built.rules.retain(|rule| how.parts.takes(rule));
        let known = Known::new(around.env);
        *freebsd |= front.built.freebsd;
        let style = Style {
            known: &known,
            freebsd: *freebsd,
            // FreeBSD names ports unless told not to.
            port_names: how.port_names != *freebsd,
            counts: (how.verbose > 1).then(Counts::default),
        };
        out.stdout += &print_rules(&front.built.rules, &style);
    }
    let loads = front.built.anchor_loads.iter();
    Some(
        loads
            .map(|load| (load.path.clone(), load.file.text.clone()))
            .collect(),
    )
}

/// Macros, options, tables and limiters.
fn definitions(built: &Built, parts: Parts) -> String {
    if parts.options {
        return built.output.clone();
    }
    // No macro can be called `set`.
    let lines = built.output.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("set ")).collect()
}

/// The path of an anchor that is named inside another.
fn path_in(outer: &str, name: &str) -> String {
    match name.strip_prefix('/') {
        Some(absolute) => absolute.to_string(),
        None if outer.is_empty() => name.to_string(),
        None => format!("{outer}/{name}"),
    }
}

impl Front {
    fn of(source: Source<'_>, around: Surroundings<'_>, reach: Reach<'_>) -> Front {
        let Surroundings {
            files,
            env,
            options,
        } = around;
        Front::read(source.name, source.text, files, env, options, reach)
    }
}

/// What `pfctl -s` can show of a ruleset that is not loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// Filter rules, and scrub rules before them.
    Rules,
    /// `nat`, `rdr` and `binat` rules.
    Nat,
    /// Ethernet rules.
    Ether,
    /// Names of anchors.
    Anchors,
    /// Queues.
    Queue,
    /// Interfaces and groups.
    Interfaces,
    /// Labels with their counters.
    Labels,
    /// Timeouts.
    Timeouts,
    /// Limits.
    Memory,
    /// Tables.
    Tables,
    /// All of these under headings.
    All,
}

/// How `pfctl -s` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShowHow {
    /// How many `-v`.
    pub verbose: u8,
    /// `-P`: ports by name.
    pub port_names: bool,
    /// `-a '*'`: what is inside anchors too.
    pub recurse: bool,
    /// `-R`: only this rule.
    pub number: Option<usize>,
}

/// What `pfctl -s` would show after the ruleset was loaded; the messages of the compiler if it would not be.
pub fn show(source: Source<'_>, around: Surroundings<'_>, what: Show, how: ShowHow) -> Output {
    let front = Front::of(source, around, Reach::WithAnchors);
    if front.messages.has_errors() {
        return refused(&front.messages, &front);
    }
    if let Some((text, _)) = front.built.queues.contradiction() {
        return Output {
            stderr: format!("pfctl: {text}\n"),
            status: 1,
            ..Output::default()
        };
    }
    let shown = Shown {
        built: &front.built,
        known: Known::new(around.env),
        how,
    };
    Output {
        stdout: match what {
            Show::All => shown.all(),
            one => shown.text(one),
        },
        stderr: front.messages.pfctl(&front.sources),
        status: 0,
    }
}

fn refused(messages: &Messages, front: &Front) -> Output {
    let said = messages.pfctl(&front.sources);
    Output {
        stderr: format!("{said}pfctl: Syntax error in config file: pf rules not loaded\n"),
        status: 1,
        ..Output::default()
    }
}

/// A compiled ruleset that is looked at as if it were loaded: nothing has matched yet.
struct Shown<'a> {
    built: &'a Built,
    known: Known<'a>,
    how: ShowHow,
}

impl Shown<'_> {
    fn all(&self) -> String {
        let parts = [
            ("TRANSLATION RULES:", Show::Nat),
            ("FILTER RULES:", Show::Rules),
            ("QUEUES:", Show::Queue),
            ("LABEL COUNTERS:", Show::Labels),
            ("TIMEOUTS:", Show::Timeouts),
            ("LIMITS:", Show::Memory),
            ("TABLES:", Show::Tables),
        ];
        let texts = parts.map(|(title, what)| (title, self.text(what)));
        let found = texts.iter().filter(|(_, text)| !text.is_empty());
        let blocks: Vec<String> = found
            .map(|(title, text)| title.to_string() + "\n" + text)
            .collect();
        blocks.join("\n")
    }

    fn text(&self, what: Show) -> String {
        match what {
            Show::Rules => self.rules(|rule| matches!(rule.kind.group(), 1 | 5)),
            Show::Nat => self.rules(is_translation),
            Show::Ether => self.rules(|rule| rule.kind.group() == 0),
            Show::Anchors => self.anchors(),
            Show::Queue => self.built.queues.text(),
            Show::Interfaces => self.interfaces(),
            Show::Labels => self.labels(),
            Show::Timeouts => timeouts_text(&self.built.settings),
            Show::Memory => limits_text(&self.built.settings),
            Show::Tables => self.tables(),
            Show::All => String::new(),
        }
    }

    fn rules(&self, wanted: impl Fn(&Rule) -> bool) -> String {
        let sizes = self.built.tables.iter();
        let sizes: HashMap<String, usize> =
            sizes.map(|t| (t.name.clone(), t.entries.len())).collect();
        let counts = (self.how.verbose > 1).then_some(Counts {
            tables: sizes,
            interfaces: true,
        });
        let freebsd = self.built.freebsd;
        let style = Style {
            known: &self.known,
            freebsd,
            port_names: self.how.port_names != freebsd,
            counts,
        };
        let rules: Vec<&Rule> = self.built.rules.iter().filter(|r| wanted(r)).collect();
        let mut out = String::new();
        self.put_rules(&mut out, &rules, &style, 0);
        out
    }

    /// Unlike the print of a load, the rules of a named anchor are shown only where it is asked for.
    fn put_rules(&self, out: &mut String, rules: &[&Rule], style: &Style<'_>, depth: usize) {
        let indent = "  ".repeat(depth);
        let mut number = 0;
        for (n, rule) in rules.iter().enumerate() {
            let same = n > 0 && rules[n - 1].kind.group() == rule.kind.group();
            number = if same { number + 1 } else { 0 };
            if depth == 0 && self.how.number.is_some_and(|only| only != number) {
                continue;
            }
            let at = match style.counts {
                Some(_) => format!("@{number} "),
                None => indent.clone(),
            };
            let body = rule
                .body
                .as_deref()
                .filter(|body| !body.is_empty() && self.opens(rule));
            let brace = if body.is_some() { " {" } else { "" };
            *out += &format!("{at}{}{brace}\n", print_rule(rule, style));
            if self.how.verbose > 0 {
                *out += COUNTERS_OF_A_RULE;
            }
            if let Some(body) = body {
                let inner: Vec<&Rule> = body.iter().collect();
                self.put_rules(out, &inner, style, depth + 1);
                *out += &format!("{indent}}}\n");
            }
        }
    }

    fn opens(&self, rule: &Rule) -> bool {
        self.how.recurse || matches!(rule.kind, RuleKind::Anchor { name: None, .. })
    }

    fn labels(&self) -> String {
        let mut out = String::new();
        for_each_rule(&self.built.rules, &mut |rule| {
            if let Some(label) = &rule.label {
                out += &format!("{label} 0 0 0 0 0 0 0 0\n");
            }
        });
        out
    }

    fn anchors(&self) -> String {
        let mut paths = BTreeSet::new();
        collect_anchors(&self.built.rules, "", &mut paths);
        for load in &self.built.anchor_loads {
            add_path(&load.path, &mut paths);
        }
        paths.iter().map(|path| format!("  {path}\n")).collect()
    }

    fn interfaces(&self) -> String {
        let mut names: BTreeMap<&str, bool> = BTreeMap::new();
        names.insert("all", false);
        for name in self.known.interface_names() {
            names.insert(name, false);
        }
        for (name, _) in &self.built.settings.skip {
            names.insert(name, true);
        }
        let line = |(name, skipped): (&&str, &bool)| match skipped {
            true if self.how.verbose > 0 => format!("{name} (skip)\n"),
            _ => format!("{name}\n"),
        };
        names.iter().map(line).collect()
    }

    /// Tables that exist after the load: those that are to stay, and those that a rule asks.
    fn tables(&self) -> String {
        let mut referred = BTreeSet::new();
        for_each_rule(&self.built.rules, &mut |rule| {
            referred.extend(tables_of(rule));
        });
        let mut tables: Vec<&Table> = self.built.tables.iter().collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        let lines = tables.iter().filter_map(|table| {
            let used = referred.contains(&table.name);
            if !used && !table.persist {
                return None;
            }
            Some(match self.how.verbose {
                0 => format!("{}\n", table.name),
                _ => format!("{}\t{}\n", table_flags(table, used), table.name),
            })
        });
        lines.collect()
    }
}

/// What `-v` adds to a rule that nothing has matched yet.
const COUNTERS_OF_A_RULE: &str = concat!(
    "  [ Evaluations: 0         Packets: 0         Bytes: 0           States: 0     ]\n",
    "  [ Inserted: uid 0 pid 0 State Creations: 0     ]\n",
);

fn table_flags(table: &Table, used: bool) -> String {
    let flags = [
        (table.constant, 'c'),
        (table.persist, 'p'),
        (true, 'a'),
        (false, 'i'),
        (used, 'r'),
        (false, 'h'),
        (table.counters, 'C'),
    ];
    flags
        .map(|(set, letter)| if set { letter } else { '-' })
        .iter()
        .collect()
}

fn for_each_rule(rules: &[Rule], f: &mut dyn FnMut(&Rule)) {
    for rule in rules {
        f(rule);
        for_each_rule(rule.body.as_deref().unwrap_or_default(), f);
    }
}

/// Tables that a rule names.
fn tables_of(rule: &Rule) -> Vec<String> {
    let pools = [&rule.nat, &rule.rdr].into_iter().flatten();
    let pools: Vec<&Shared<Pool>> = pools.chain(rule.route.as_ref().map(|r| &r.1)).collect();
    let targets = pools.iter().flat_map(|pool| &pool.hosts).map(|h| &h.addr);
    let addresses = [&rule.src.addr, &rule.dst.addr].into_iter().chain(targets);
    let named = addresses.filter_map(|addr| match addr {
        Addr::Table(name) => Some(name),
        _ => None,
    });
    let automatic = pools.iter().filter_map(|pool| pool.table.as_ref());
    let overload = rule.state.overload.as_ref().map(|o| &o.0);
    named.chain(automatic).chain(overload).cloned().collect()
}

fn collect_anchors(rules: &[Rule], outer: &str, paths: &mut BTreeSet<String>) {
    for rule in rules {
        let RuleKind::Anchor {
            name: Some(name), ..
        } = &rule.kind
        else {
            collect_anchors(rule.body.as_deref().unwrap_or_default(), outer, paths);
            continue;
        };
        let name = name.strip_suffix("/*").unwrap_or(name);
        let path = path_in(outer, name);
        add_path(&path, paths);
        collect_anchors(rule.body.as_deref().unwrap_or_default(), &path, paths);
    }
}

/// Adds a path and those above it.
fn add_path(path: &str, paths: &mut BTreeSet<String>) {
    let ends = path.match_indices('/').map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        if end > 0 && &path[..end] != "*" {
            paths.insert(path[..end].to_string());
        }
    }
}

fn timeouts_text(settings: &Settings) -> String {
    let timeouts = settings.final_timeouts();
    let line = |class: Timeout| {
        let unit = match class {
            Timeout::AdaptiveStart | Timeout::AdaptiveEnd => " states",
            _ => "s",
        };
        format!("{:<20} {:>10}{unit}\n", class.name(), timeouts.get(class))
    };
    Timeout::ALL.into_iter().map(line).collect()
}

fn limits_text(settings: &Settings) -> String {
    let line = |(name, limit): (&str, u32)| match limit {
        u32::MAX => format!("{name:<13} unlimited\n"),
        _ => format!("{name:<13} hard limit {limit:>8}\n"),
    };
    settings.limits.named().into_iter().map(line).collect()
}
