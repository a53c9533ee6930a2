//! `tests/BEHAVIOURS.md` is true: each case is there once, each test that it names exists, and its counts are right.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Cases of the list.
const CASES: usize = 209;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Number and last column of each row.
fn rows(text: &str) -> Vec<(usize, String)> {
    let cells = |line: &str| -> Option<(usize, String)> {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        let number = cells.next()?.parse().ok()?;
        assert!(cells.next()?.len() > 3, "{line}");
        Some((number, cells.next()?.to_string()))
    };
    text.lines().filter_map(cells).collect()
}

/// `file::function` of every test below a directory.
fn tests_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            tests_below(&path, found);
        }
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("fn ").filter(|_| is_test) {
                let name = name.split(['(', '<']).next().unwrap();
                found.insert(format!("{stem}::{name}"));
            }
            // Other attributes may stand between the two.
            is_test = line == "#[test]" || (is_test && line.starts_with("#["));
        }
    }
}

#[test]
fn every_case_is_listed_once_and_every_test_named_exists() {
    let text = fs::read_to_string(root().join("tests/BEHAVIOURS.md")).unwrap();
    let rows = rows(&text);
    let numbers: Vec<usize> = rows.iter().map(|r| r.0).collect();
    assert_eq!(numbers, (1..=CASES).collect::<Vec<_>>());
    let mut known = BTreeSet::new();
    for dir in ["tests", "dataplane", "appliance"] {
        tests_below(&root().join(dir), &mut known);
    }
    assert!(known.len() > 300, "{} tests found", known.len());
    let (mut shown, mut open, mut not) = (0, 0, 0);
    for (number, cell) in &rows {
        let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        let named: Vec<&&str> = named.iter().filter(|n| n.contains("::")).collect();
        for name in &named {
            assert!(known.contains(**name), "{number}: there is no test {name}");
        }
        match cell.split([':', '`']).next() {
            Some("open") => open += 1,
            Some("not applicable") => not += 1,
            _ if !named.is_empty() => shown += 1,
            _ => panic!("{number}: {cell}"),
        }
    }
    let counts = format!("{shown} are shown, {open} are open and {not} do not apply");
    assert!(text.replace('\n', " ").contains(&counts), "say: {counts}");
}

#[test]
fn the_list_has_as_many_cases_as_the_one_it_was_taken_from() {
    let shared = std::env::var_os("FUGU_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| root().join("../shared"));
    let Ok(list) = fs::read_to_string(shared.join("behaviours.md")) else {
        println!("skipped: no ../shared");
        return;
    };
    assert_eq!(list.lines().filter(|l| l.starts_with("- ")).count(), CASES);
}
