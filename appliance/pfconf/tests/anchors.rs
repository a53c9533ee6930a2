//! Anchors put in place: order, numbers, tables, and texts that come from elsewhere.

use pfconf::{AnchorText, Bounds, Compiled, Environment, Files, Options, compile};
use ruleset::{Action, AddrSpec, BlockReply};

struct Given(&'static [(&'static str, &'static str)]);

impl Files for Given {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let found = self.0.iter().find(|(n, _)| *n == name);
        found.map(|(_, text)| text.as_bytes().to_vec())
    }
}

fn compiled(text: &str, files: Given, options: &Options) -> Compiled {
    let env = Environment::minimal();
    compile("pf.conf", text.as_bytes(), &files, &env, options)
}

fn with_anchors(text: &str, anchors: &[(&str, &str)]) -> Compiled {
    let given = |(path, text): &(&str, &str)| AnchorText {
        path: path.to_string(),
        name: format!("anchor {path}"),
        text: text.as_bytes().to_vec(),
    };
    let options = Options {
        anchors: anchors.iter().map(given).collect(),
        ..Options::default()
    };
    compiled(text, Given(&[]), &options)
}

/// Each rule as `anchor.nr text`, in the order of evaluation.
fn flat(c: &Compiled) -> Vec<String> {
    assert!(c.ruleset.is_some(), "{:#?}", c.diagnostics);
    let line = |n: &u32| {
        let rule = &c.rules[*n as usize];
        let anchor = &c.anchors[usize::from(rule.anchor)];
        format!("{anchor}.{} {}", rule.nr, rule.text)
    };
    c.numbers.iter().map(line).collect()
}

fn errors(c: &Compiled) -> Vec<String> {
    c.diagnostics.iter().map(|d| d.to_string()).collect()
}

#[test]
fn rules_of_anchors_stand_where_they_are_called() {
    let c = compiled(
        "block\nanchor one in\nanchor {\n pass out\n}\nanchor one out\npass\nload anchor one from \"/etc/one\"",
        Given(&[("/etc/one", "match\nanchor two {\n block in\n}\n")]),
        &Options::default(),
    );
    let expected = [
        ".0 block drop all",
        ".1 anchor \"one\" in all",
        "one.0 match all",
        "one.1 anchor \"two\" all",
        "one/two.0 block drop in all",
        ".2 anchor all",
        "_1.0 pass out all flags S/SA",
        ".3 anchor \"one\" out all",
        "one.0 match all",
        "one.1 anchor \"two\" all",
        "one/two.0 block drop in all",
        ".4 pass all flags S/SA",
    ];
    assert_eq!(flat(&c), expected);
    assert_eq!(c.anchors, ["", "_1", "one", "one/two"]);
    assert_eq!(c.rules.len(), 9, "each rule once");
    let ruleset = c.ruleset.unwrap();
    let ends: Vec<u32> = ruleset
        .rules
        .iter()
        .filter_map(|r| match r.action {
            Action::Anchor { end } => Some(end),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [5, 5, 7, 11, 11]);
    assert_eq!(ruleset.anchors, c.anchors);
}

/// behaviours: fbsd anchor.sh nested_anchor
#[test]
fn nested_anchors_that_are_loaded_one_by_one_are_found_again() {
    let c = with_anchors(
        "anchor foo",
        &[("foo", "anchor bar\npass"), ("foo/bar", "block")],
    );
    let expected = [
        ".0 anchor \"foo\" all",
        "foo.0 anchor \"bar\" all",
        "foo/bar.0 block drop all",
        "foo.1 pass all flags S/SA",
    ];
    assert_eq!(flat(&c), expected);
}

/// behaviours: fbsd anchor.sh wildcard
#[test]
fn a_wildcard_finds_anchors_that_come_later_and_ways_to_others() {
    let c = with_anchors(
        "anchor \"foo/*\"",
        &[
            ("foo/b", "pass"),
            ("foo/a", "block"),
            ("foo/c/d", "match"),
            ("food", "match"),
        ],
    );
    let expected = [
        ".0 anchor \"foo/*\" all",
        "foo/a.0 block drop all",
        "foo/b.0 pass all flags S/SA",
    ];
    assert_eq!(flat(&c), expected);
    assert_eq!(
        c.anchors,
        ["", "foo", "foo/a", "foo/b", "foo/c", "foo/c/d", "food"]
    );
    assert_eq!(c.rules.len(), 5, "what nobody calls is there, too");
    let c = with_anchors("anchor \"*\"", &[("b", "pass"), ("a", "block")]);
    assert_eq!(flat(&c)[1], "a.0 block drop all");
}

#[test]
fn what_is_given_takes_the_place_of_what_was_loaded_with_its_tables() {
    let text = "anchor a {\n table <t> { 10.0.0.1 }\n pass from <t>\n}";
    let c = with_anchors(text, &[("a", "block from <t>")]);
    assert_eq!(
        flat(&c),
        [".0 anchor \"a\" all", "a.0 block drop from <t> to any"]
    );
    let names: Vec<&str> = c.tables.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(
        names,
        ["t"],
        "the anchor's own is gone, the main one is meant"
    );
    assert_eq!(c.passed_over, ["a"]);
    let c = with_anchors(text, &[("b", "table <t> { 10.0.0.2 }")]);
    let names: Vec<&str> = c.tables.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["t@a", "t@b"]);
    let ruleset = c.ruleset.unwrap();
    assert_eq!(ruleset.tables[0].name, "t@a");
    assert_eq!(
        ruleset.rules[1].src.addr,
        AddrSpec::Table(ruleset::TableId(0))
    );
}

#[test]
fn options_of_a_loaded_anchor_concern_nobody() {
    let c = with_anchors(
        "anchor a",
        &[("a", "set limit states 5\nset skip on lo0\npass")],
    );
    let ruleset = c.ruleset.expect("fine");
    assert_eq!(ruleset.limits, ruleset::Limits::default());
    assert!(ruleset.skip.is_empty());
}

#[test]
fn circles_end_in_a_block_as_deep_as_anchors_go() {
    let c = compiled(
        "anchor a in {\n anchor \"/a\" proto tcp\n}",
        Given(&[]),
        &Options::default(),
    );
    let ruleset = c.ruleset.expect("fine");
    assert_eq!(ruleset.rules.len(), ruleset::ANCHOR_DEPTH_MAX + 1);
    let last = ruleset.rules.last().unwrap();
    assert_eq!(last.action, Action::Block(BlockReply::Drop));
    assert!(last.quick);
    assert_eq!(last.proto, Some(6));
}

#[test]
fn anchors_that_grow_without_bound_are_refused() {
    let options = Options {
        bounds: Bounds {
            rules: 5000,
            ..Bounds::default()
        },
        ..Options::default()
    };
    let text = "anchor a {\n anchor \"/a\"\n anchor \"/a\"\n}";
    let c = compiled(text, Given(&[]), &options);
    assert!(c.ruleset.is_none());
    let all = errors(&c);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("more than 5000 rules together"), "{all:?}");
}

#[test]
fn the_same_name_in_braces_twice_is_a_mistake() {
    let c = compiled(
        "anchor a {\n pass\n}\nanchor a {\n block\n}",
        Given(&[]),
        &Options::default(),
    );
    let all = errors(&c);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(
        all[0].starts_with("pf.conf:4:1: error: inline anchor 'a' already exists"),
        "{all:?}"
    );
}

#[test]
fn errors_in_a_given_anchor_name_it_with_line_and_column() {
    let c = with_anchors("anchor a", &[("a", "pass\nblock qick")]);
    let all = errors(&c);
    assert!(
        all[0].starts_with("anchor a:2:7: error: syntax error at 'qick'"),
        "{all:?}"
    );
}
