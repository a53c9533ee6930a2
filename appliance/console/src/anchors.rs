//! Rules and anchors as `pfctl -sr`, `-a path -sr` and `-sA` print them. Read first: pfctl(8), `-a`.

use control::api::{AnchorView, Api, Proof, Refused, RuleView};

/// Anchors shown inside each other at most; as deep as rules are evaluated.
const DEPTH_MAX: usize = 64;

/// Which rules are shown, and how much of each.
struct Shown<'r> {
    rules: &'r [RuleView],
    verbose: u8,
    /// With `path/*`: what is inside of named anchors, too.
    recurse: bool,
}

/// The rules of an anchor; the main ruleset's for an empty path. With `/*` those of the anchors in it as well.
pub(crate) fn rules(rules: &[RuleView], anchor: &str, verbose: u8) -> String {
    let (anchor, recurse) = split(anchor);
    let shown = Shown {
        rules,
        verbose,
        recurse,
    };
    let mut out = String::new();
    shown.put(&mut out, anchor, 0);
    out
}

/// The rules that `-a` chooses, for `--json`.
pub(crate) fn chosen<'r>(rules: &'r [RuleView], anchor: &str) -> Vec<&'r RuleView> {
    let (anchor, recurse) = split(anchor);
    let inside = |path: &str| recurse && (anchor.is_empty() || is_below(anchor, path));
    rules
        .iter()
        .filter(|r| r.anchor == anchor || inside(&r.anchor))
        .collect()
}

/// `pfctl -sA`: the anchors directly in `anchor`; with `-v` all in it.
pub(crate) fn list(anchors: &[AnchorView], anchor: &str, verbose: u8) -> String {
    let (anchor, _) = split(anchor);
    let depth = |path: &str| path.matches('/').count() + 1;
    let level = if anchor.is_empty() { 0 } else { depth(anchor) };
    let is_shown = |a: &&AnchorView| {
        (anchor.is_empty() || is_below(anchor, &a.path))
            && (verbose > 0 || depth(&a.path) == level + 1)
            && !is_nameless(&a.path)
    };
    anchors
        .iter()
        .filter(is_shown)
        .map(|a| format!("  {}\n", a.path))
        .collect()
}

/// True if `-sT` shows a table under this `-a`.
pub(crate) fn has_table(anchor: &str, table: &str) -> bool {
    let of = table.split_once('@').map_or("", |(_, anchor)| anchor);
    let (anchor, recurse) = split(anchor);
    of == anchor || recurse && (anchor.is_empty() || is_below(anchor, of))
}

/// Gives an anchor its rules; says what pfctl would.
pub(crate) fn edit(path: &str, rules: &str, api: &mut dyn Api) -> String {
    match api.set_anchor(path, rules.as_bytes(), &Proof::Console) {
        Ok(applied) => {
            let warnings = applied.warnings.iter().map(|d| format!("{d}\n"));
            warnings.collect::<String>() + &format!("generation {}\n", applied.generation)
        }
        Err(Refused::Invalid(list)) => {
            let lines: String = list.iter().map(|d| format!("{d}\n")).collect();
            lines + "pfctl: pf rules not loaded\n"
        }
        Err(
            Refused::Unauthorized(text)
            | Refused::Replayed(text)
            | Refused::TooLarge(text)
            | Refused::Failed(text),
        ) => format!("pfctl: {text}\n"),
    }
}

/// What `-v` adds to a rule.
pub(crate) fn rule_counters(r: &RuleView, verbose: u8) -> String {
    let mut out = String::new();
    if verbose > 0 {
        out += &format!(
            "  [ Evaluations: {:<8}  Packets: {:<8}  Bytes: {:<10}  States: {:<6}]\n",
            r.evaluations,
            r.input.packets + r.output.packets,
            r.input.bytes + r.output.bytes,
            r.states
        );
        // The one process there is inserts every rule.
        out += &format!(
            "  [ Inserted: uid 0 pid 1 State Creations: {:<6}]\n",
            r.states_total
        );
    }
    if verbose > 1 {
        out += &format!("  [ From: {} ]\n", r.origin);
    }
    out
}

fn split(anchor: &str) -> (&str, bool) {
    match anchor.strip_suffix('*') {
        Some(outer) => (outer.trim_end_matches('/'), true),
        None => (anchor, false),
    }
}

fn is_below(outer: &str, path: &str) -> bool {
    path.strip_prefix(outer)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Braces without a name have one that begins with `_`.
fn is_nameless(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|n| n.starts_with('_'))
}

impl Shown<'_> {
    fn put(&self, out: &mut String, anchor: &str, depth: usize) {
        for rule in self.rules.iter().filter(|r| r.anchor == anchor) {
            let body = rule
                .calls
                .as_deref()
                .filter(|path| depth < DEPTH_MAX && self.opens(path));
            let indent = "  ".repeat(depth);
            match self.verbose {
                0 | 1 => *out += &indent,
                _ => *out += &format!("{indent}@{} ", rule.nr),
            }
            *out += &rule.text;
            *out += if body.is_some() { " {\n" } else { "\n" };
            *out += &rule_counters(rule, self.verbose);
            if let Some(path) = body {
                self.put(out, path, depth + 1);
                *out += &format!("{indent}}}\n");
            }
        }
    }

    fn opens(&self, path: &str) -> bool {
        (self.recurse || is_nameless(path)) && self.rules.iter().any(|r| r.anchor == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(anchor: &str, nr: u32, text: &str, calls: Option<&str>) -> RuleView {
        RuleView {
            anchor: anchor.into(),
            nr,
            text: text.into(),
            calls: calls.map(Into::into),
            ..RuleView::default()
        }
    }

    fn some() -> Vec<RuleView> {
        vec![
            rule("", 0, "block drop all", None),
            rule("", 1, "anchor \"out\" all", Some("out")),
            rule("", 2, "anchor in all", Some("_2")),
            rule("_2", 0, "pass in all", None),
            rule("out", 0, "anchor \"deep\" all", Some("out/deep")),
            rule("out/deep", 0, "pass out all", None),
        ]
    }

    #[test]
    fn a_listing_opens_braces_without_a_name_and_with_a_star_all_anchors() {
        let main = "block drop all\nanchor \"out\" all\nanchor in all {\n  pass in all\n}\n";
        assert_eq!(rules(&some(), "", 0), main);
        assert_eq!(rules(&some(), "out", 0), "anchor \"deep\" all\n");
        let deep = "anchor \"deep\" all {\n  pass out all\n}\n";
        assert_eq!(rules(&some(), "out/*", 0), deep);
        assert_eq!(chosen(&some(), "out").len(), 1);
        assert_eq!(chosen(&some(), "*").len(), 6);
    }

    #[test]
    fn anchors_are_listed_by_level() {
        let anchors = ["_2", "out", "out/deep", "outer"].map(|path| AnchorView {
            path: path.into(),
            ..AnchorView::default()
        });
        assert_eq!(list(&anchors, "", 0), "  out\n  outer\n");
        assert_eq!(list(&anchors, "", 1), "  out\n  out/deep\n  outer\n");
        assert_eq!(list(&anchors, "out", 0), "  out/deep\n");
        for (anchor, table, shown) in [
            ("", "bad", true),
            ("", "bad@out", false),
            ("out", "bad@out", true),
            ("out", "bad", false),
            ("*", "bad@out/deep", true),
            ("out/*", "bad@outer", false),
        ] {
            assert_eq!(has_table(anchor, table), shown, "{anchor} {table}");
        }
    }
}
