//! `man/fuguctl.1` says what the program does: the same commands, options and places as the parsers, examples that are understood,
//! every exit status, and every field of the JSON documents.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::args::{self, FORMS};
use crate::pfctl_args::{self, USAGE};
use crate::{Failure, print};

fn manual() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join("man/fuguctl.1")).unwrap()
}

/// The lines of a section.
fn section<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let mut lines = text.lines();
    let found = lines.any(|l| l == heading);
    assert!(found, "no {heading}");
    lines.take_while(|l| !l.starts_with(".Sh ")).collect()
}

/// What the synopsis says of one command: its words, the options with and without a value, and how many places.
#[derive(Debug, Default, PartialEq)]
struct Said {
    command: String,
    switches: BTreeSet<String>,
    options: BTreeSet<String>,
    places: usize,
}

/// `-v`, or `--json` where the macro was given `-json`.
fn flag(word: &str) -> String {
    format!("-{word}")
}

fn synopsis(text: &str) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    for line in section(text, ".Sh SYNOPSIS") {
        if line == ".Nm" {
            all.push(Said::default());
            continue;
        }
        let said = all.last_mut().expect("begins with .Nm");
        let words: Vec<&str> = line.trim_start_matches('.').split(' ').collect();
        let words = match words[0] {
            "Op" => &words[1..],
            _ => &words[..],
        };
        match words {
            ["Cm", rest @ ..] => said.command = rest.join(" "),
            ["Ar", rest @ ..] => said.places += rest.len(),
            ["Fl", name] => {
                said.switches.insert(flag(name));
            }
            ["Fl", name, "Ar", ..] => {
                said.options.insert(flag(name));
            }
            ["Fl", "h", "|", ..] => said.command = "-h".into(),
            _ => panic!("{line}"),
        }
    }
    all
}

#[test]
fn the_synopsis_is_what_the_parser_takes() {
    let text = manual();
    let mut said = synopsis(&text);
    said.retain(|s| s.command != "pfctl" && s.command != "-h");
    let set = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
    let want = FORMS.iter().map(|form| Said {
        command: form.command.to_string(),
        switches: set(form.switches),
        options: set(form.options),
        places: form.places.len(),
    });
    assert_eq!(said, want.collect::<Vec<_>>());
}

#[test]
fn every_command_and_option_is_explained() {
    let text = manual();
    let items: Vec<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix(".It Cm "))
        .collect();
    for form in FORMS {
        assert!(items.contains(&form.command), "{}", form.command);
        // Options with a meaning of their own; the others are named by what they take.
        for switch in form.switches.iter().chain(form.options) {
            let name = &switch[1..];
            assert!(
                text.lines()
                    .any(|l| l.contains("Fl ") && l.split(' ').any(|w| w == name)),
                "{switch}"
            );
        }
        assert!(args::HELP.contains(form.command), "{}", form.command);
    }
    assert!(items.contains(&"pfctl"));
}

/// The letters of `[-AghNnOPqRrv]` and of each `[-x argument]`.
fn letters(usage: &str) -> BTreeSet<char> {
    let mut all = BTreeSet::new();
    for part in usage.split(['[', ']']).filter_map(|p| p.strip_prefix('-')) {
        let (group, argument) = part.split_once(' ').unwrap_or((part, ""));
        if !group.starts_with('-') && (argument.is_empty() || group.len() == 1) {
            all.extend(group.chars());
        }
    }
    all
}

#[test]
fn the_letters_of_pfctl_are_those_of_its_parser() {
    let text = manual();
    let mut said: BTreeSet<char> = BTreeSet::new();
    let lines = section(&text, ".Sh SYNOPSIS").join("\n");
    let pfctl = lines
        .split(".Nm")
        .find(|part| part.contains("Cm pfctl"))
        .unwrap();
    for word in pfctl.lines().filter_map(|l| l.strip_prefix(".Op Fl ")) {
        let name = word.split(' ').next().unwrap();
        if !name.starts_with('-') {
            said.extend(name.chars());
        }
    }
    assert_eq!(said, letters(USAGE));
    let mut explained = BTreeSet::new();
    for item in section(&text, ".Sh PFCTL")
        .iter()
        .filter_map(|l| l.strip_prefix(".It Fl "))
    {
        let flags = item
            .split(" Ar ")
            .next()
            .unwrap()
            .split(" Cm ")
            .next()
            .unwrap();
        let names = flags.split(" , ").filter(|name| name.len() == 1);
        explained.extend(names.flat_map(str::chars));
    }
    assert_eq!(explained, said);
    // And the parser knows each of them, alone or with an argument.
    for letter in said.into_iter().filter(|l| *l != 'h') {
        let value = match letter {
            'D' => "a=b",
            'o' => "basic",
            's' => "rules",
            'a' | 'f' => "x",
            _ => "",
        };
        let mut words = vec![
            OsString::from(format!("-{letter}")),
            "-nf".into(),
            "x".into(),
        ];
        if !value.is_empty() {
            words.insert(1, value.into());
        }
        assert!(pfctl_args::parse(&words).is_ok(), "{letter}");
    }
}

#[test]
fn every_example_is_understood() {
    let text = manual();
    let lines = section(&text, ".Sh EXAMPLES");
    let examples: Vec<&&str> = lines.iter().filter(|l| l.starts_with("fuguctl ")).collect();
    assert!(examples.len() >= 8, "{examples:?}");
    for line in examples {
        let words: Vec<OsString> = line.split(' ').skip(1).map(OsString::from).collect();
        assert!(args::parse(&words).is_ok(), "{line}");
        if words[0] == "pfctl" {
            assert!(pfctl_args::parse(&words[1..]).is_ok(), "{line}");
        }
    }
}

#[test]
fn every_exit_status_is_listed() {
    let text = manual();
    let lines = section(&text, ".Sh EXIT STATUS");
    let listed: Vec<&str> = lines
        .iter()
        .filter_map(|l| l.strip_prefix(".It "))
        .collect();
    let of = |failure: Failure| failure.exit_code().to_string();
    let failures = [
        of(Failure::Refused),
        of(Failure::Trouble(String::new())),
        of(Failure::Unauthorized(String::new())),
    ];
    assert_eq!(listed[0], "0");
    assert_eq!(listed[1..], failures);
}

/// Names of all fields, at any depth.
fn names(value: &serde_json::Value, out: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, inner) in fields {
                out.insert(name.clone());
                names(inner, out);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, out)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_json_documents_is_named() {
    let text = manual();
    let said: BTreeSet<&str> = section(&text, ".Sh JSON")
        .iter()
        .filter_map(|l| l.strip_prefix(".Li "))
        .map(|l| l.split(' ').next().unwrap())
        .collect();
    let mut found = BTreeSet::new();
    names(
        &print::diagnostic_json(&netconf::Diagnostic::whole_file("a", "b", "c")),
        &mut found,
    );
    let (dir, lines) = (std::env::temp_dir(), ["old", "new"]);
    let dir = dir.join(format!("fuguctl-json-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let rules = [
        "table <t> { 10.0.0.1 }\npass in label a\npass out\n",
        "table <t> persist { 10.0.0.2 }\nset limit states 5\nblock in label a\n",
    ];
    for (name, text) in lines.iter().zip(rules) {
        let tree = dir.join(name);
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("pf.conf"), text).unwrap();
        fs::write(tree.join("myname"), name).unwrap();
    }
    let path = |name: &str| dir.join(name).into_os_string();
    for words in [
        vec!["diff".into(), "--json".into(), path("old"), path("new")],
        vec!["check".into(), "--json".into(), path("old")],
    ] {
        let environment = crate::Environment {
            token: None,
            now: std::time::UNIX_EPOCH,
        };
        let mut out = Vec::new();
        crate::run(&words, &environment, &mut out, &mut Vec::new());
        names(&serde_json::from_slice(&out).unwrap(), &mut found);
    }
    fs::remove_dir_all(&dir).unwrap();
    let unnamed: Vec<&String> = found
        .iter()
        .filter(|n| !said.contains(n.as_str()))
        .collect();
    assert_eq!(unnamed, Vec::<&String>::new());
}
