//! `| match PATTERN` and `| count` after a command.

use crate::words;

/// What is behind the pipes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Filter {
    patterns: Vec<String>,
    counts: bool,
    counted: usize,
}

impl Filter {
    /// Reads what stands between the pipes after the command.
    pub(crate) fn parse(parts: &[String]) -> Result<Self, String> {
        let mut filter = Filter::default();
        for part in parts {
            if filter.counts {
                return Err(format!("'{}': nothing can follow count", part.trim()));
            }
            let words = words::split(part);
            match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["match", pattern] => filter.patterns.push(pattern.to_string()),
                ["match"] => return Err("match: a pattern is missing".into()),
                ["match", _, extra, ..] => {
                    return Err(format!(
                        "match: '{extra}' is too much; put a pattern with blanks in quotes"
                    ));
                }
                ["count"] => filter.counts = true,
                ["count", extra, ..] => return Err(format!("count: '{extra}' is too much")),
                [] => return Err("nothing after '|': match PATTERN or count".into()),
                [word, ..] => {
                    let hint = words::did_you_mean(word, ["match", "count"]);
                    return Err(format!(
                        "'{word}' is no filter{hint}; there are match PATTERN and count"
                    ));
                }
            }
        }
        Ok(filter)
    }

    /// True if the line is to be shown.
    pub(crate) fn passes(&mut self, line: &str) -> bool {
        let matches = self.patterns.iter().all(|p| is_match(p, line));
        self.counted += usize::from(matches);
        matches && !self.counts
    }

    /// The last line, for `count`.
    pub(crate) fn finish(&self) -> Option<String> {
        self.counts.then(|| self.counted.to_string())
    }
}

/// True if `text` contains `pattern`, in which `^` and `$` are the ends of the line, `.` is any character and `*` repeats
/// the one before it; a backslash takes the meaning away. Upper and lower case are the same.
fn is_match(pattern: &str, text: &str) -> bool {
    let items = compile(pattern.strip_prefix('^').unwrap_or(pattern));
    let text: Vec<char> = text.to_lowercase().chars().collect();
    if pattern.starts_with('^') {
        return matches_here(&items, &text);
    }
    (0..=text.len()).any(|at| matches_here(&items, &text[at..]))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item {
    One(char),
    Any,
    ManyOf(char),
    ManyAny,
    End,
}

fn compile(pattern: &str) -> Vec<Item> {
    let lower = pattern.to_lowercase();
    let mut chars = lower.chars().peekable();
    let mut items = Vec::new();
    while let Some(c) = chars.next() {
        let item = match (c, chars.peek()) {
            ('$', None) => Item::End,
            ('.', _) => Item::Any,
            ('\\', Some(_)) => Item::One(chars.next().unwrap_or('\\')),
            ('*', _) => match items.pop() {
                Some(Item::One(c) | Item::ManyOf(c)) => Item::ManyOf(c),
                Some(Item::Any | Item::ManyAny) => Item::ManyAny,
                Some(Item::End) | None => Item::One('*'),
            },
            (c, _) => Item::One(c),
        };
        items.push(item);
    }
    items
}

/// The set of places in the text that the items so far can have reached: linear in both, whatever the pattern.
fn matches_here(items: &[Item], text: &[char]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for item in items {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            let before = at.checked_sub(1);
            next[at] = match item {
                Item::One(c) => before.is_some_and(|b| reached[b] && text[b] == *c),
                Item::Any => before.is_some_and(|b| reached[b]),
                Item::ManyOf(c) => reached[at] || before.is_some_and(|b| next[b] && text[b] == *c),
                Item::ManyAny => reached[at] || before.is_some_and(|b| next[b]),
                Item::End => reached[at] && at == text.len(),
            };
        }
        reached = next;
    }
    reached.contains(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, matches) in [
            ("web", "label WEB x", true),
            ("^all tcp", "all tcp 1", true),
            ("^tcp", "all tcp 1", false),
            ("1$", "all tcp 1", true),
            ("^a.*1$", "all tcp 1", true),
            ("a.c", "abc", true),
            ("a\\.c", "abc", false),
            ("10\\.0\\.0\\.1", "10.0.0.1", true),
            ("ab*c", "ac abbbc", true),
            ("*", "2*2", true),
            ("", "anything", true),
            ("$", "anything", true),
            (
                "x*x*x*x*x*x*x*x*x*x*y",
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                false,
            ),
        ] {
            assert_eq!(is_match(pattern, text), matches, "{pattern:?} in {text:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let parse = |line: &str| Filter::parse(&words::pipe(line));
        for (line, says) in [
            (
                "mach x",
                "'mach' is no filter; did you mean 'match'?; there are match PATTERN and count",
            ),
            ("match", "match: a pattern is missing"),
            (
                "match a b",
                "match: 'b' is too much; put a pattern with blanks in quotes",
            ),
            ("count | match x", "'match x': nothing can follow count"),
            (" ", "nothing after '|': match PATTERN or count"),
        ] {
            assert_eq!(parse(line), Err(says.to_string()), "{line}");
        }
    }

    #[test]
    fn matches_narrow_and_count_counts() {
        let mut filter = Filter::parse(&words::pipe("match a | match b | count")).unwrap();
        let shown: Vec<bool> = ["ab", "a", "b", "bxa"]
            .iter()
            .map(|l| filter.passes(l))
            .collect();
        assert_eq!(shown, [false; 4]);
        assert_eq!(filter.finish(), Some("2".into()));
    }
}
