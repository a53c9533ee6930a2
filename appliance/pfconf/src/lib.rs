//! The pf.conf compiler: lex, parse, expand, resolve, check, lower, print. No side effects: interface names
//! and files it needs come in as arguments.
//!
//! Read first: pf.conf(5) of OpenBSD. The way of a text: [`compile`] reads it statement by statement. `lex` makes
//! tokens, `parse` a statement with its places, `build` takes the statement in: `resolve` turns its names into
//! numbers, `expand` its lists into single rules, `check` looks for contradictions. At the end `print` writes the
//! rules as `pfctl -sr` does, and `lower` makes the [`Ruleset`] of the dataplane. An error ends a statement, never
//! the compilation: all errors of a text are found in one run.

#![forbid(unsafe_code)]

mod advice;
mod ast;
mod build;
mod check;
pub mod diag;
mod dialect;
pub mod diff;
pub mod environment;
mod expand;
mod lex;
mod limiters;
mod lint;
pub mod lockout;
mod lower;
mod macros;
mod md5;
mod message;
mod names;
mod near;
mod optimize;
mod osfp;
mod parse;
pub mod pfctl;
mod policy;
mod pools;
mod print;
mod queues;
mod relate;
mod resolve;
mod rules;
mod services;
mod settings;
mod source;
mod tables;
mod translation;
mod words;

use ruleset::Ruleset;

pub use diag::Diagnostic;
pub use environment::{EnvAddress, EnvInterface, EnvRoute, Environment};

use build::Builder;
use environment::Known;
use lex::Lexer;
use lower::{Anchors, Lowering};
use macros::Macros;
use message::{Message, Messages};
use parse::Parser;
use source::{Sources, Span};

/// Where included files, table files and anchors come from. Names are as the ruleset has them: `/etc/x`.
pub trait Files {
    /// The contents of a file; none if there is no such file.
    fn read(&self, name: &str) -> Option<Vec<u8>>;
}

/// No files at all.
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _name: &str) -> Option<Vec<u8>> {
        None
    }
}

/// `pfctl -o`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Optimization {
    /// Rules as written.
    #[default]
    None,
    /// `basic`: no duplicates, tables from lists, an order that helps skip steps.
    Basic,
    /// `profile`: the same, since there are no counters to look at.
    Profile,
    /// What `set ruleset-optimization` of the text says; `basic` without it.
    AsTheTextSays,
}

/// What a compilation may grow to. The defaults are for a workstation; a small machine compiles with less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Most rules.
    pub rules: usize,
    /// Most addresses of one statement, such as a table.
    pub addresses: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            rules: build::RULES_MAX,
            addresses: resolve::HOSTS_MAX,
        }
    }
}

/// What the caller chooses.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the compilation may grow to.
    pub bounds: Bounds,
    /// Macros that the text cannot change (`pfctl -D name=value`).
    pub macros: Vec<(String, String)>,
    /// Whether rules are dropped, merged and reordered where that changes no verdict. The dataplane needs none of it.
    pub optimization: Optimization,
    /// Warnings about rules that are right but hardly meant: shadowed ones, labels used twice and so on.
    pub lint: bool,
    /// Key of `source-hash` where the text gives none; random, from the caller.
    pub random_key: [u32; 4],
    /// Rules of anchors that come from elsewhere (`pfctl -a path -f -`): they take the place of what the text and the
    /// files that it loads have there.
    pub anchors: Vec<AnchorText>,
}

/// Rules of an anchor that do not stand in the text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AnchorText {
    /// Path of the anchor, without a slash in front.
    pub path: String,
    /// How messages call the text.
    pub name: String,
    /// Rules and tables, in the language of pf.conf.
    pub text: Vec<u8>,
}

/// A rule as `pfctl -sr` prints it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrintedRule {
    /// The text without a line feed.
    pub text: String,
    /// The label, its macros expanded.
    pub label: Option<String>,
    /// Number in [`Compiled::anchors`] of the anchor that it is a rule of; 0 is the main ruleset.
    pub anchor: u16,
    /// Number among the rules of its anchor.
    pub nr: u32,
    /// Path of the anchor that it calls, with `/*` if it calls those below.
    pub calls: Option<String>,
    /// File that the rule stands in.
    pub file: String,
    /// Line of that file, from 1.
    pub line: u32,
}

/// What a table is besides its addresses, in the order of [`Ruleset::tables`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableInfo {
    /// Name without the angle brackets.
    pub name: String,
    /// `const`: only a new ruleset changes it.
    pub constant: bool,
    /// `persist`: exists without a rule that names it.
    pub persist: bool,
    /// `counters`: counts per address.
    pub counters: bool,
    /// Neither braces nor a file were given: a reload keeps what the table holds.
    pub keeps_contents: bool,
}

/// Options that concern the control core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlOptions {
    /// `set loginterface`
    pub log_interface: Option<String>,
    /// `set debug`
    pub debug: String,
    /// `set hostid`; none is random.
    pub host_id: Option<u32>,
    /// `set reassemble yes no-df`
    pub reassemble_no_df: bool,
}

/// What a compilation found out.
#[derive(Debug)]
pub struct Compiled {
    /// The policy; none if there is any error.
    pub ruleset: Option<Ruleset>,
    /// All messages in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// The rules of the main ruleset, then those of each anchor, called or not.
    pub rules: Vec<PrintedRule>,
    /// For each of [`Ruleset::rules`] its place in `rules`. A rule of an anchor that is called twice is there twice.
    pub numbers: Vec<u32>,
    /// Paths of all anchors, as [`Ruleset::anchors`].
    pub anchors: Vec<String>,
    /// Those of [`Options::anchors`] for which the text has rules, too, which were passed over.
    pub passed_over: Vec<String>,
    /// Names of interfaces and groups with their numbers.
    pub kif_names: Vec<(String, net::KifId)>,
    /// Tables in the order of [`Ruleset::tables`], those that lowering added excluded.
    pub tables: Vec<TableInfo>,
    /// Options that concern the control core.
    pub control: ControlOptions,
    /// Macros, options and tables as `pfctl -nv` prints them, one line each.
    pub options_text: String,
}

/// The reserved words of pf.conf in their order: a bare one is never taken as a name.
pub fn reserved_words() -> &'static [&'static str] {
    words::RESERVED
}

/// Longest text that is compiled, in bytes.
pub const SOURCE_BYTES_MAX: usize = 256 << 20;

/// Compiles a ruleset. `name` is how messages call the text.
pub fn compile(
    name: &str,
    source: &[u8],
    files: &dyn Files,
    env: &Environment,
    options: &Options,
) -> Compiled {
    let mut front = Front::read(name, source, files, env, options, Reach::WithAnchors);
    let known = Known::new(env);
    let built = &front.built;
    if options.lint && !front.messages.has_errors() {
        let (rules, tables) = (&built.rules, &built.tables);
        lint::lint(rules, tables, &known, &front.sources, &mut front.messages);
    }
    let signatures = built.settings.fingerprints.clone();
    let mut lowering = Lowering::new(&known, &mut front.messages, &front.sources)
        .with_signatures(files, signatures);
    let anchors = Anchors::gather(built, &mut lowering);
    let definitions = lower::Definitions {
        tables: &built.tables,
        settings: &built.settings,
        limiters: &built.limiters,
    };
    let (ruleset, numbers) = lowering.ruleset(&anchors, &definitions, options.bounds);
    let kif_names = std::mem::take(&mut lowering.kif_names);
    refuse_what_has_no_rule(built, &mut front.messages);
    let style = print::Style::of(&known, built.freebsd);
    let printed = |rule: lower::PlacedRule<'_>| PrintedRule {
        text: print::print_rule(rule.rule, &style),
        label: rule.rule.label.clone(),
        anchor: rule.anchor,
        nr: rule.nr,
        calls: calls(rule.rule),
        file: front.sources.name(rule.rule.span.file).to_string(),
        line: front.sources.line(rule.rule.span),
    };
    let settings = &built.settings;
    Compiled {
        ruleset: (!front.messages.has_errors()).then_some(ruleset),
        diagnostics: front.messages.diagnostics(&front.sources),
        rules: anchors.rules().map(printed).collect(),
        numbers,
        anchors: anchors.paths(),
        passed_over: passed_over(built, options),
        kif_names,
        tables: built.tables.iter().map(table_info).collect(),
        control: ControlOptions {
            log_interface: settings.log_interface.clone(),
            debug: settings.debug.clone(),
            host_id: settings.host_id,
            reassemble_no_df: settings.reassemble_no_df,
        },
        options_text: built.output.clone(),
    }
}

/// Options and definitions that the dataplane does not know yet.
fn refuse_what_has_no_rule(built: &Built, messages: &mut Messages) {
    if let Some(queue) = built.queues.list.first() {
        let text = "queue is not supported yet";
        messages.add(Message::error("unsupported", queue.span, text));
    }
    refuse_dummynet(&built.rules, messages);
    for (_, rules) in &built.loaded {
        refuse_dummynet(rules, messages);
    }
}

/// The last text for a path counts; those that the caller gave come last.
fn passed_over(built: &Built, options: &Options) -> Vec<String> {
    let is_there = |path: &str| {
        let texts = built.loaded.iter().filter(|(p, _)| p == path).count();
        texts > 1 || has_braces(&built.rules, path)
    };
    let paths = options.anchors.iter().map(|given| given.path.clone());
    paths.filter(|path| is_there(path)).collect()
}

fn has_braces(rules: &[policy::Rule], path: &str) -> bool {
    rules
        .iter()
        .any(|rule| match (rule.kind.call(), &rule.body) {
            (Some(call), Some(body)) => call.path == path || has_braces(body, path),
            _ => false,
        })
}

fn calls(rule: &policy::Rule) -> Option<String> {
    let call = rule.kind.call()?;
    Some(match (call.children, call.path.as_str()) {
        (true, "") => "*".into(),
        (true, path) => format!("{path}/*"),
        (false, path) => path.into(),
    })
}

/// FreeBSD's rules that send packets through pipes which another program makes.
fn refuse_dummynet(rules: &[policy::Rule], messages: &mut Messages) {
    for rule in rules {
        if let Some(dummynet) = rule.dummynet {
            let text = format!(
                "{} {}: no program runs on the firewall that could make pipes of dummynet",
                dummynet.word(),
                dummynet.forward
            );
            let hint = "bandwidth is shared by 'queue' and 'set queue NAME', packets are delayed by 'set delay MILLISECONDS'";
            let span = rule.places.of("dnpipe and dnqueue", rule.span);
            messages.add(Message::error("dummynet", span, text).hint(Some(hint.into())));
        }
        refuse_dummynet(rule.body.as_deref().unwrap_or_default(), messages);
    }
}

fn table_info(table: &policy::Table) -> TableInfo {
    TableInfo {
        name: lower::table_name(&table.anchor, &table.name),
        constant: table.constant,
        persist: table.persist,
        counters: table.counters,
        keeps_contents: table.keeps_contents,
    }
}

/// What the statements of a text came to.
struct Built {
    rules: Vec<policy::Rule>,
    tables: Vec<policy::Table>,
    settings: settings::Settings,
    queues: queues::Queues,
    limiters: limiters::Limiters,
    anchor_loads: Vec<build::AnchorLoad>,
    loaded: Vec<(String, Vec<policy::Rule>)>,
    output: String,
    /// Printed in FreeBSD's form.
    freebsd: bool,
}

/// The half of the compiler that looks at text.
struct Front {
    sources: Sources,
    messages: Messages,
    built: Built,
    /// What `pfctl -vv` says of macros that nothing used.
    unused_macros: String,
}

/// Most files that `load anchor` reads: PF's default limit of anchors.
const ANCHOR_LOADS_MAX: usize = 512;

/// What reading a text needs besides the text.
struct Reading<'a> {
    sources: &'a mut Sources,
    messages: &'a mut Messages,
    files: &'a dyn Files,
}

impl Reading<'_> {
    /// Reads a text to its end, statement by statement.
    fn file(&mut self, file: source::FileId, macros: &mut Macros, builder: &mut Builder<'_>) {
        let lexer = Lexer::new(file, self.sources.text(file));
        let freebsd = builder.known.env.freebsd;
        let mut parser = Parser::new(
            self.sources,
            self.messages,
            macros,
            self.files,
            lexer,
            freebsd,
        );
        while let Some(stmt) = parser.statement() {
            // One list of messages, in the order of the text.
            std::mem::swap(parser.messages, builder.messages);
            builder.statement(&stmt);
            std::mem::swap(parser.messages, builder.messages);
        }
    }

    /// Files of `load anchor`, in the order of the statements; they may name others.
    fn anchors(&mut self, options: &Options, builder: &mut Builder<'_>) {
        let mut next = 0;
        while let Some(load) = builder.anchor_loads.get(next).cloned() {
            next += 1;
            if builder.failed {
                // A bound was passed: nothing more will come of it.
                return;
            }
            let read = match next <= ANCHOR_LOADS_MAX {
                true => self.files.read(&load.file.text),
                false => None,
            };
            let Some(text) = read.filter(|t| self.sources.have_room_for(t.len())) else {
                let text = format!("cannot load anchor from {}", load.file.text);
                let message = Message::error("anchor-file", load.file.span, text);
                self.messages.add(message.pfctl_line(load.line));
                continue;
            };
            let body = self.anchor(&load.path, &load.file.text, text, options, builder);
            builder.loaded.push((load.path.clone(), body.clone()));
            let most = builder.bounds.rules;
            let mut left = most.saturating_sub(builder.rules_count);
            if let Some(rules) = builder.rulesets.last_mut() {
                attach(rules, &load.path, &body, &mut left);
            }
            builder.rules_count = most - left;
        }
    }

    /// Anchors whose rules the caller gives.
    fn given_anchors(&mut self, options: &Options, builder: &mut Builder<'_>) {
        for given in &options.anchors {
            let text = match given.text.len() {
                0..=SOURCE_BYTES_MAX => given.text.clone(),
                _ => {
                    let text = format!("{} is longer than {SOURCE_BYTES_MAX} bytes", given.name);
                    let message = Message::error("source-size", Span::default(), text);
                    self.messages.add(message);
                    continue;
                }
            };
            // What the anchor had before is gone, its tables too.
            builder.forget_tables(&given.path);
            let body = self.anchor(&given.path, &given.name, text, options, builder);
            builder.loaded.push((given.path.clone(), body));
        }
    }

    /// Reads the rules of an anchor. Its options concern nobody (pfctl(8), `-a`), and macros of the main text end with it.
    fn anchor(
        &mut self,
        path: &str,
        name: &str,
        text: Vec<u8>,
        options: &Options,
        builder: &mut Builder<'_>,
    ) -> Vec<policy::Rule> {
        let mut macros = macros_of(options);
        let file = self.sources.open(name, text);
        let settings = builder.settings.clone();
        let outer = std::mem::replace(&mut builder.anchor_path, path.into());
        builder.rulesets.push(Vec::new());
        self.file(file, &mut macros, builder);
        builder.anchor_path = outer;
        builder.settings = settings;
        builder.rulesets.pop().unwrap_or_default()
    }
}

/// Puts the rules of a loaded anchor where its anchor rules stand.
fn attach(rules: &mut [policy::Rule], path: &str, body: &[policy::Rule], left: &mut usize) {
    for rule in rules {
        let policy::RuleKind::Anchor {
            name: Some(name), ..
        } = &rule.kind
        else {
            continue;
        };
        let rest = path.strip_prefix(name.trim_start_matches('/'));
        match (rest, &mut rule.body) {
            (Some(""), None) if body.len() <= *left => {
                *left -= body.len();
                rule.body = Some(body.to_vec());
            }
            (Some(rest), Some(inner)) if rest.starts_with('/') => {
                attach(inner, &rest[1..], body, left);
            }
            _ => {}
        }
    }
}

fn macros_of(options: &Options) -> Macros {
    let mut macros = Macros::default();
    for (name, value) in &options.macros {
        macros.fix(name, value);
    }
    macros
}

/// How far a text is followed.
#[derive(Clone, Copy)]
enum Reach<'a> {
    /// The files of `load anchor` are read as well.
    WithAnchors,
    /// The text alone, which is that of this anchor; an empty path is the main ruleset.
    Alone(&'a str),
}

impl Front {
    fn read(
        name: &str,
        source: &[u8],
        files: &dyn Files,
        env: &Environment,
        options: &Options,
        reach: Reach<'_>,
    ) -> Front {
        let mut sources = Sources::default();
        let mut messages = Messages::default();
        let mut macros = macros_of(options);
        let too_long = source.len() > SOURCE_BYTES_MAX;
        let text = if too_long { &[][..] } else { source };
        let file = sources.open(name, text.to_vec());
        if too_long {
            let text = format!("{name} is longer than {SOURCE_BYTES_MAX} bytes");
            messages.add(Message::error("source-size", Span::default(), text));
        }
        let mut heard = Messages::default();
        let mut builder = Builder::new(Known::new(env), &mut heard, files, options);
        let mut reading = Reading {
            sources: &mut sources,
            messages: &mut messages,
            files,
        };
        if let Reach::Alone(path) = reach {
            builder.anchor_path = path.to_string();
        }
        reading.file(file, &mut macros, &mut builder);
        if let Reach::WithAnchors = reach {
            reading.anchors(options, &mut builder);
            reading.given_anchors(options, &mut builder);
        }
        let built = builder.finish(options);
        Front {
            sources,
            messages,
            built,
            unused_macros: macros.unused(),
        }
    }
}

impl Builder<'_> {
    fn finish(mut self, options: &Options) -> Built {
        let mut rules = self.rulesets.pop().unwrap_or_default();
        // The old dialect keeps a ruleset for each kind; they are loaded and shown one after the other.
        rules.sort_by_key(|rule| rule.kind.group());
        let said = self.settings.ruleset_optimization.as_deref();
        let wanted = match options.optimization {
            Optimization::None => false,
            Optimization::Basic | Optimization::Profile => true,
            Optimization::AsTheTextSays => !matches!(said, Some("none" | "no")),
        };
        if wanted {
            self.optimize(&mut rules);
        }
        number(&mut rules);
        for (_, body) in &mut self.loaded {
            number(body);
        }
        Built {
            rules,
            tables: self.tables,
            settings: self.settings,
            queues: self.queues,
            limiters: self.limiters,
            anchor_loads: self.anchor_loads,
            loaded: self.loaded,
            output: self.output,
            freebsd: self.freebsd,
        }
    }
}

impl Builder<'_> {
    fn optimize(&mut self, rules: &mut Vec<policy::Rule>) {
        let written = std::mem::take(rules);
        let next = &mut self.automatic_tables;
        let (better, text) = optimize::optimize(written, &mut self.tables, next);
        self.output += &text;
        *rules = better;
        for body in rules.iter_mut().filter_map(|rule| rule.body.as_mut()) {
            self.optimize(body);
        }
    }
}

/// `$nr` in labels and tags is the final number of the rule in its ruleset.
fn number(rules: &mut [policy::Rule]) {
    for (n, rule) in rules.iter_mut().enumerate() {
        for text in [&mut rule.label, &mut rule.tag].into_iter().flatten() {
            if text.contains("$nr") {
                *text = text.replace("$nr", &n.to_string());
            }
        }
        if let Some(body) = &mut rule.body {
            number(body);
        }
    }
}
