//! `fuguctl check`: an etc tree or a bundle, by the code that checks it on the appliance.

use std::collections::BTreeMap;
use std::path::Path;

use netconf::{Diagnostic, has_errors};
use pfconf::Compiled;
use serde_json::json;

use crate::args::Shown;
use crate::{Failure, Output, bundles, files, policy, print};

/// What a check found out.
struct Checked {
    diagnostics: Vec<Diagnostic>,
    interfaces: usize,
    compiled: Option<Compiled>,
}

/// Checks and reports.
pub(crate) fn command(tree: &Path, how: Shown, output: &mut Output<'_>) -> Result<(), Failure> {
    let checked = check(&load(tree)?);
    let bad = has_errors(&checked.diagnostics);
    if how.json {
        print_json(&checked, bad, output)?;
    } else {
        print_text(tree, &checked, how, bad, output)?;
    }
    if bad { Err(Failure::Refused) } else { Ok(()) }
}

/// The files of a tree or a bundle.
pub(crate) fn load(tree: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    if tree.is_dir() {
        return bundle::tree::read(tree).map_err(|error| Failure::Trouble(error.to_string()));
    }
    Ok(bundles::open(&files::read(tree)?, tree)?.files)
}

/// Everything there is to say, by file and line.
fn check(files: &BTreeMap<String, Vec<u8>>) -> Checked {
    let (conf, mut diagnostics) = netconf::parse(files);
    let compiled = policy::compile(files, &conf, &mut diagnostics);
    diagnostics.sort_by(|a, b| {
        let place = |d: &Diagnostic| (d.line, d.column);
        (&a.file, place(a)).cmp(&(&b.file, place(b)))
    });
    Checked {
        diagnostics,
        interfaces: conf.interfaces.len(),
        compiled,
    }
}

fn print_json(checked: &Checked, bad: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    let list = checked.diagnostics.iter().map(print::diagnostic_json);
    let list: Vec<_> = list.collect();
    let rules = checked.compiled.iter().flat_map(|c| &c.rules);
    let rules: Vec<_> = rules
        .map(|rule| json!({"text": rule.text, "file": rule.file, "line": rule.line}))
        .collect();
    let result = if bad { "refused" } else { "ok" };
    let value = json!({"result": result, "diagnostics": list, "rules": rules});
    writeln!(output.out, "{value:#}")?;
    Ok(())
}

fn print_text(
    tree: &Path,
    checked: &Checked,
    how: Shown,
    bad: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    print::diagnostics(&checked.diagnostics, output.err)?;
    let counts = print::summary(&checked.diagnostics);
    if bad {
        writeln!(output.err, "{}: {counts}", tree.display())?;
        return Ok(());
    }
    let compiled = checked.compiled.as_ref();
    if let Some(compiled) = compiled.filter(|_| how.rules) {
        output.out.write_all(compiled.options_text.as_bytes())?;
        for rule in &compiled.rules {
            writeln!(output.out, "{}", print::printable(&rule.text))?;
        }
    }
    let mut verdict = format!(
        "ok, {}, {}",
        print::counted(checked.interfaces, "interface"),
        print::counted(compiled.map_or(0, |c| c.rules.len()), "rule")
    );
    if !counts.is_empty() {
        verdict.push_str(&format!(", {counts}"));
    }
    writeln!(output.out, "{}: {verdict}", tree.display())?;
    Ok(())
}
