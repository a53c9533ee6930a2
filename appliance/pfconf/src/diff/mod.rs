//! Two rulesets compared by what they mean. A ruleset that was written differently (macros, lists, comments, blanks, the order
//! of statements that have no order) is the same; what is left are rules, tables, options, queues and limiters that do
//! something else than before.
//!
//! [`compare`] compiles both texts without optimizing them, then compares the expanded rules of each anchor. Printing is for the caller.

mod align;
mod options;
mod rules;
mod tables;

use crate::environment::Known;
use crate::source::{Sources, Span};
use crate::{Diagnostic, Environment, Files, Front, Options, Reach};

/// One of the two rulesets.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// How messages and places call the text.
    pub name: &'a str,
    /// The text.
    pub text: &'a [u8],
    /// Files that the text names.
    pub files: &'a dyn Files,
    /// The machine that it is for.
    pub env: &'a Environment,
}

/// A place in one of the texts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// File, as messages name it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
}

/// A rule or definition as `pfctl` prints it, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stated {
    /// One line.
    pub text: String,
    /// Where.
    pub place: Place,
}

/// What became of a rule, a queue or a limiter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Only the second ruleset has it.
    Added(Stated),
    /// Only the first ruleset has it.
    Removed(Stated),
    /// Both have it, and it says something else in these fields.
    Changed {
        /// As it was.
        before: Stated,
        /// As it is.
        after: Stated,
        /// What differs, in words of the manual: `to port`, `label`.
        fields: Vec<&'static str>,
    },
    /// Both have it, before or behind rules that make this a difference.
    Moved {
        /// Where it was.
        before: Stated,
        /// Where it is.
        after: Stated,
    },
}

/// A difference between rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleChange {
    /// Path of the anchor; empty for the main ruleset.
    pub anchor: String,
    /// What became of it.
    pub change: Change,
}

/// A difference between tables of one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableChange {
    /// Name without the angle brackets.
    pub name: String,
    /// Where the first ruleset defines it; none if it does not.
    pub before: Option<Place>,
    /// Where the second ruleset defines it; none if it does not.
    pub after: Option<Place>,
    /// Words before the addresses, as `const persist`, if they differ: before, after.
    pub flags: Option<(String, String)>,
    /// Addresses that only the second table has, as prefixes.
    pub added: Vec<String>,
    /// Addresses that only the first table has, as prefixes.
    pub removed: Vec<String>,
}

/// A difference between `set` options. What a text does not set has PF's default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionChange {
    /// As in `limit states`.
    pub name: String,
    /// Value in the first ruleset.
    pub before: String,
    /// Value in the second ruleset.
    pub after: String,
    /// Where the first ruleset sets it; none for the default.
    pub set_before: Option<Place>,
    /// Where the second ruleset sets it; none for the default.
    pub set_after: Option<Place>,
}

/// Everything that differs, each list in the order of the second text, or of the first for what is gone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// `set` options.
    pub options: Vec<OptionChange>,
    /// Tables.
    pub tables: Vec<TableChange>,
    /// Queues and limiters.
    pub definitions: Vec<Change>,
    /// Rules of all kinds, anchors among them.
    pub rules: Vec<RuleChange>,
}

impl Difference {
    /// True if the two mean the same.
    pub fn is_empty(&self) -> bool {
        self == &Difference::default()
    }
}

/// The messages of a ruleset that is wrong, so that there is nothing to compare.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// The first ruleset.
    First(Vec<Diagnostic>),
    /// The second ruleset.
    Second(Vec<Diagnostic>),
}

/// One ruleset, read.
struct Read<'a> {
    front: Front,
    known: Known<'a>,
}

impl Read<'_> {
    fn place(&self, span: Span) -> Place {
        place(&self.front.sources, span)
    }
}

fn place(sources: &Sources, span: Span) -> Place {
    Place {
        file: sources.name(span.file).to_string(),
        line: sources.line(span),
    }
}

/// Compares two rulesets.
pub fn compare(first: Side<'_>, second: Side<'_>) -> Result<Difference, Unreadable> {
    let a = read(first).map_err(Unreadable::First)?;
    let b = read(second).map_err(Unreadable::Second)?;
    Ok(Difference {
        options: options::compare(&a, &b),
        tables: compare_tables(&a, &b),
        definitions: options::definitions(&a, &b),
        rules: rules::compare(&a, &b),
    })
}

fn read(side: Side<'_>) -> Result<Read<'_>, Vec<Diagnostic>> {
    // No key of source-hash is random, or each comparison would find another one.
    let options = Options::default();
    let front = Front::read(
        side.name,
        side.text,
        side.files,
        side.env,
        &options,
        Reach::WithAnchors,
    );
    if front.messages.has_errors() {
        return Err(front.messages.diagnostics(&front.sources));
    }
    let known = Known::new(side.env);
    Ok(Read { front, known })
}

/// Names of tables that the compiler makes begin like this; what is in them is part of their rules.
const AUTOMATIC: &str = "__automatic_";

fn compare_tables(a: &Read<'_>, b: &Read<'_>) -> Vec<TableChange> {
    let of = |read: &Read<'_>| -> Vec<crate::policy::Table> {
        let all = read.front.built.tables.iter();
        all.filter(|t| !t.name.starts_with(AUTOMATIC))
            .cloned()
            .collect()
    };
    let (first, second) = (of(a), of(b));
    let mut out = Vec::new();
    for table in &second {
        let old = first.iter().find(|t| t.name == table.name);
        let nothing = Vec::new();
        let entries = old.map_or(&nothing, |t| &t.entries);
        let (added, removed) = tables::compare(entries, &table.entries);
        let words = |t: &crate::policy::Table| crate::tables::flags_text(t).trim().to_string();
        let flags = old
            .map(|t| (words(t), words(table)))
            .filter(|(before, after)| before != after);
        if old.is_none() || flags.is_some() || !added.is_empty() || !removed.is_empty() {
            out.push(TableChange {
                name: table.name.clone(),
                before: old.map(|t| a.place(t.span)),
                after: Some(b.place(table.span)),
                flags,
                added,
                removed,
            });
        }
    }
    for table in first {
        if !second.iter().any(|t| t.name == table.name) {
            let (added, removed) = tables::compare(&table.entries, &[]);
            out.push(TableChange {
                before: Some(a.place(table.span)),
                name: table.name,
                after: None,
                flags: None,
                added,
                removed,
            });
        }
    }
    out
}
