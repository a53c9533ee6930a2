//! A comparison as a person reads it: a sign, the place on both sides, the rule; words that differ underlined; counts at the
//! end.

use std::io::{self, Write};
use std::path::Path;

use pfconf::diff::{Change, OptionChange, Place, RuleChange, Stated, TableChange};

use super::{FileChange, Found};
use crate::Output;
use crate::print::{counted, printable};

/// Addresses shown of one table; the rest is counted.
const ADDRESSES_MAX: usize = 20;

pub(super) fn print(
    found: &Found,
    first: &Path,
    second: &Path,
    output: &mut Output<'_>,
) -> io::Result<()> {
    let out = &mut *output.out;
    if found.is_empty() {
        return writeln!(
            out,
            "{} and {} mean the same",
            first.display(),
            second.display()
        );
    }
    writeln!(out, "--- {}\n+++ {}", first.display(), second.display())?;
    for (name, change) in &found.files {
        let sign = match change {
            FileChange::Added => '+',
            FileChange::Removed => '-',
            FileChange::Changed => '~',
        };
        writeln!(out, "{sign} file {}", printable(name))?;
    }
    for option in &found.rules.options {
        print_option(option, out)?;
    }
    for table in &found.rules.tables {
        print_table(table, out)?;
    }
    for change in &found.rules.definitions {
        print_change(change, out)?;
    }
    let mut anchor = "";
    for RuleChange {
        anchor: path,
        change,
    } in &found.rules.rules
    {
        if path != anchor {
            anchor = path;
            let name = if path.is_empty() {
                "main ruleset"
            } else {
                path
            };
            writeln!(out, "@@ {} @@", printable(name))?;
        }
        print_change(change, out)?;
    }
    writeln!(out, "{}", summary(found))
}

fn print_option(option: &OptionChange, out: &mut dyn Write) -> io::Result<()> {
    let (name, before, after) = (&option.name, &option.before, &option.after);
    let place = both(
        option.set_before.as_ref(),
        option.set_after.as_ref(),
        "default",
    );
    writeln!(out, "~ {place}: set {name}: {before} -> {after}")
}

/// `pf.conf:3 -> pf.conf:4`; a word where one side has no place.
fn both(before: Option<&Place>, after: Option<&Place>, without: &str) -> String {
    let text = |place: Option<&Place>| match place {
        Some(place) => format!("{}:{}", printable(&place.file), place.line),
        None => without.to_string(),
    };
    format!("{} -> {}", text(before), text(after))
}

fn at(place: &Place) -> String {
    format!("{}:{}", printable(&place.file), place.line)
}

fn print_table(table: &TableChange, out: &mut dyn Write) -> io::Result<()> {
    let name = printable(&table.name);
    match (&table.before, &table.after) {
        (None, Some(place)) => writeln!(out, "+ {}: table <{name}>", at(place))?,
        (Some(place), None) => writeln!(out, "- {}: table <{name}>", at(place))?,
        (before, after) => {
            let place = both(before.as_ref(), after.as_ref(), "");
            writeln!(out, "~ {place}: table <{name}>")?;
        }
    }
    if let Some((before, after)) = &table.flags {
        let words = |flags: &str| match flags {
            "" => "none".to_string(),
            flags => flags.to_string(),
        };
        writeln!(out, "    flags: {} -> {}", words(before), words(after))?;
    }
    for (sign, list) in [('+', &table.added), ('-', &table.removed)] {
        for address in list.iter().take(ADDRESSES_MAX) {
            writeln!(out, "    {sign} {address}")?;
        }
        if let Some(more) = list.len().checked_sub(ADDRESSES_MAX).filter(|n| *n > 0) {
            writeln!(out, "    {sign} and {more} more; --json lists all")?;
        }
    }
    Ok(())
}

fn print_change(change: &Change, out: &mut dyn Write) -> io::Result<()> {
    let line = |out: &mut dyn Write, sign: char, stated: &Stated| {
        writeln!(
            out,
            "{sign} {}: {}",
            at(&stated.place),
            printable(&stated.text)
        )
    };
    match change {
        Change::Added(stated) => line(out, '+', stated),
        Change::Removed(stated) => line(out, '-', stated),
        Change::Moved { before, after } => {
            let place = both(Some(&before.place), Some(&after.place), "");
            writeln!(out, "> {place}: moved\n    {}", printable(&after.text))
        }
        Change::Changed {
            before,
            after,
            fields,
        } => {
            let place = both(Some(&before.place), Some(&after.place), "");
            writeln!(out, "~ {place}: {}", fields.join(", "))?;
            let (old, new) = (printable(&before.text), printable(&after.text));
            let (old_marks, new_marks) = marks(&old, &new);
            for (sign, text, marks) in [('-', old, old_marks), ('+', new, new_marks)] {
                writeln!(out, "  {sign} {text}")?;
                if !marks.is_empty() {
                    writeln!(out, "    {marks}")?;
                }
            }
            Ok(())
        }
    }
}

/// Lines of `^` under the words that the other text has not.
fn marks(a: &str, b: &str) -> (String, String) {
    let (x, y): (Vec<&str>, Vec<&str>) = (a.split(' ').collect(), b.split(' ').collect());
    // Longest common run of words from each pair of places on.
    let mut longest = vec![vec![0u16; y.len() + 1]; x.len() + 1];
    for i in (0..x.len()).rev() {
        for j in (0..y.len()).rev() {
            longest[i][j] = match x[i] == y[j] {
                true => longest[i + 1][j + 1].saturating_add(1),
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut same_x, mut same_y) = (vec![false; x.len()], vec![false; y.len()]);
    let (mut i, mut j) = (0, 0);
    while i < x.len() && j < y.len() {
        if x[i] == y[j] {
            (same_x[i], same_y[j]) = (true, true);
            (i, j) = (i + 1, j + 1);
        } else if longest[i + 1][j] >= longest[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    (underlined(&x, &same_x), underlined(&y, &same_y))
}

fn underlined(words: &[&str], same: &[bool]) -> String {
    let mut line = String::new();
    for (n, (word, same)) in words.iter().zip(same).enumerate() {
        let mark = if *same { ' ' } else { '^' };
        if n > 0 {
            // The blank between two words that both differ is part of what differs.
            line.push(if !same && !same_before(n, words, &line) {
                '^'
            } else {
                ' '
            });
        }
        line.extend(word.chars().map(|_| mark));
    }
    line.trim_end().to_string()
}

fn same_before(n: usize, words: &[&str], line: &str) -> bool {
    n == 0 || words[n - 1].is_empty() || line.ends_with(' ')
}

fn summary(found: &Found) -> String {
    let mut counts = [0usize; 4];
    for change in &found.rules.rules {
        counts[match change.change {
            Change::Added(_) => 0,
            Change::Removed(_) => 1,
            Change::Changed { .. } => 2,
            Change::Moved { .. } => 3,
        }] += 1;
    }
    let words = ["added", "removed", "changed", "moved"];
    let parts = counts.iter().zip(words).filter(|(n, _)| **n > 0);
    let parts: Vec<String> = parts.map(|(n, word)| format!("{n} {word}")).collect();
    let mut all = Vec::new();
    if !parts.is_empty() {
        all.push(format!("rules: {}", parts.join(", ")));
    }
    let difference = &found.rules;
    for (n, what) in [
        (difference.tables.len(), "table"),
        (difference.options.len(), "option"),
        (difference.definitions.len(), "queue or limiter"),
        (found.files.len(), "file"),
    ] {
        if n > 0 {
            all.push(format!(
                "{} differ{}",
                counted_as(n, what),
                if n == 1 { "s" } else { "" }
            ));
        }
    }
    all.join("; ")
}

fn counted_as(n: usize, what: &str) -> String {
    match (n, what) {
        (1, _) => counted(n, what),
        (_, "queue or limiter") => format!("{n} queues or limiters"),
        _ => counted(n, what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_are_underlined() {
        for (a, b, want_a, want_b) in [
            (
                "pass in on em0",
                "pass in on em1",
                "           ^^^",
                "           ^^^",
            ),
            ("pass all", "pass in all", "", "     ^^"),
            ("a b c d", "a x y d", "  ^^^", "  ^^^"),
        ] {
            assert_eq!(
                marks(a, b),
                (want_a.to_string(), want_b.to_string()),
                "{a} | {b}"
            );
        }
    }
}
