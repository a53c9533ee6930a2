//! `fuguctl check`: an etc tree or a bundle, by the code that checks it on the appliance.

use std::collections::BTreeMap;
use std::path::Path;

use netconf::{Diagnostic, has_errors};
use serde_json::json;

use crate::{Failure, Output, bundles, files, print};

/// Checks and reports.
pub(crate) fn command(tree: &Path, as_json: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    let files = load(tree)?;
    let diagnostics = diagnose(&files);
    let bad = has_errors(&diagnostics);
    if as_json {
        let list: Vec<_> = diagnostics.iter().map(print::diagnostic_json).collect();
        let result = if bad { "refused" } else { "ok" };
        writeln!(
            output.out,
            "{:#}",
            json!({"result": result, "diagnostics": list})
        )?;
    } else {
        print::diagnostics(&diagnostics, output.err)?;
        let counts = print::summary(&diagnostics);
        let verdict = match (bad, counts.is_empty()) {
            (true, _) => counts,
            (false, true) => "ok".to_string(),
            (false, false) => format!("ok, {counts}"),
        };
        if bad {
            writeln!(output.err, "{}: {verdict}", tree.display())?;
        } else {
            writeln!(output.out, "{}: {verdict}", tree.display())?;
        }
    }
    if bad { Err(Failure::Refused) } else { Ok(()) }
}

fn load(tree: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    if tree.is_dir() {
        return bundle::tree::read(tree).map_err(|error| Failure::Trouble(error.to_string()));
    }
    Ok(bundles::open(&files::read(tree)?, tree)?.files)
}

/// Everything there is to say, by file and line.
fn diagnose(files: &BTreeMap<String, Vec<u8>>) -> Vec<Diagnostic> {
    let (_, mut diagnostics) = netconf::parse(files);
    diagnostics.sort_by(|a, b| {
        let place = |d: &Diagnostic| (d.line, d.column);
        (&a.file, place(a)).cmp(&(&b.file, place(b)))
    });
    diagnostics
}
