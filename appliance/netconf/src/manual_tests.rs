//! `man/hostname.if.5` says what is: its examples are understood, and it names every word that the parser knows.

use super::*;
use crate::tests::understood;

fn manual() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/hostname.if.5");
    std::fs::read_to_string(path).unwrap()
}

/// Displays, as trees: `# FILE` begins a file.
fn examples(manual: &str) -> Vec<Vec<(String, String)>> {
    let mut all = Vec::new();
    let displays = manual.split(".Bd -literal -offset indent\n").skip(1);
    for display in displays {
        let body = display.split(".Ed\n").next().unwrap_or_default();
        let mut files: Vec<(String, String)> = Vec::new();
        for line in body.lines() {
            match (line.strip_prefix("# "), files.last_mut()) {
                (Some(name), _) => files.push((name.to_string(), String::new())),
                (None, Some((_, text))) => *text += &format!("{line}\n"),
                (None, None) => panic!("no file before '{line}'"),
            }
        }
        all.push(files);
    }
    all
}

#[test]
fn every_example_is_understood() {
    let manual = manual();
    let examples = examples(&manual);
    assert!(examples.len() >= 6, "{} examples", examples.len());
    for files in examples {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let (_, said) = understood(&files);
        assert!(said.is_empty(), "{files:?}: {said:#?}");
    }
}

#[test]
fn every_word_is_named() {
    let manual = manual();
    let named: Vec<&str> = manual
        .lines()
        .filter(|line| line.starts_with('.'))
        .flat_map(str::split_whitespace)
        .collect();
    // Words with a minus undo what the word without it does; some have two names.
    let others = [
        "flush",
        "flushall",
        "giftunnel",
        "deletetunnel",
        "delspan",
        "protocol",
    ];
    let known = interface::all_words();
    assert!(known.len() > 100);
    for word in known {
        let plain = word.trim_start_matches('-');
        assert!(
            named.contains(&plain) || others.contains(&plain),
            "'{word}' is not in man/hostname.if.5"
        );
    }
}
