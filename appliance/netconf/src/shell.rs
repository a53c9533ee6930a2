//! `NAME=value` lines of `rc.conf` as sh(1) reads them: quotes, backslashes, variables named before, values over several
//! lines. Nothing is run: a file with a command in it says something that only a shell understands, and that is an error.

use std::collections::{BTreeMap, BTreeSet};

use pfconf::diag::Severity;

use crate::source::{Line, Reporter, Source, Word, printable};

/// Characters of a value once variables in it are put in.
const VALUE_LIMIT: usize = 64 << 10;

/// Characters of all values of a file.
const TOTAL_LIMIT: usize = 4 << 20;

/// Variables of a file.
const VARIABLES_LIMIT: usize = 20_000;

/// Quotes that word processors make of `"`.
const CURLED: [char; 8] = ['“', '”', '„', '‟', '″', '〝', '〞', '＂'];

/// Quotes that word processors make of `'`.
const CURLED_SINGLE: [char; 5] = ['‘', '’', '‚', '‛', '′'];

/// A variable and where it was set.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// The whole value.
    pub(crate) value: String,
    /// The value in words, each with its place.
    pieces: Vec<Piece>,
    file: String,
    /// Line of the name.
    pub(crate) number: u32,
    /// The lines from the name to the end of the value.
    source: String,
    column: u32,
}

/// A word of a value.
#[derive(Clone, Debug)]
struct Piece {
    text: String,
    row: u32,
    column: u32,
    length: u32,
}

impl Variable {
    /// The words of the value, as a line that messages can point into; `None` without any.
    pub(crate) fn line(&self) -> Option<Line<'_>> {
        (!self.pieces.is_empty()).then(|| self.empty_line())
    }

    fn empty_line(&self) -> Line<'_> {
        let word = |piece: &'_ Piece| Word {
            text: "",
            column: piece.column,
            length: piece.length,
            row: piece.row,
        };
        let words = self.pieces.iter().map(|piece| Word {
            text: piece.text.as_str(),
            ..word(piece)
        });
        Line {
            file: &self.file,
            number: self.number,
            text: &self.source,
            words: words.collect(),
        }
    }

    /// The name, as a word of its line.
    pub(crate) fn named(&self) -> (Line<'_>, Word<'_>) {
        let word = Word {
            text: &self.name,
            column: self.column,
            length: self.name.chars().count() as u32,
            row: 0,
        };
        (self.empty_line(), word)
    }
}

/// Reads a file. `before` is what files before it have set, for `$name`.
pub(crate) fn variables(
    source: &Source<'_>,
    before: &BTreeMap<String, String>,
    mine: impl Fn(&str) -> bool,
    reporter: &mut Reporter,
) -> Vec<Variable> {
    let mut reader = Reader {
        file: source.file,
        lines: source
            .text()
            .lines()
            .map(|line| line.chars().collect())
            .collect(),
        known: before.clone(),
        row: 0,
        at: 0,
        reporter,
        warned: false,
    };
    let mut found: Vec<Variable> = Vec::new();
    let mut total = 0;
    while reader.row < reader.lines.len() {
        if let Some(variable) = reader.variable(&mine) {
            total += variable.value.len() + 1;
            if found.len() >= VARIABLES_LIMIT || total > TOTAL_LIMIT {
                let text = "too many variables, or too large ones".to_string();
                let place = reader.place();
                reader.say(Severity::Error, place, "file-too-large", text);
                break;
            }
            reader
                .known
                .insert(variable.name.clone(), variable.value.clone());
            found.push(variable);
        }
    }
    found
}

/// A place in the file.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    /// In characters, from 0.
    at: usize,
}

/// A quote that is open: plain ones close plain ones, typographic ones typographic ones.
#[derive(Clone, Copy)]
struct Quote {
    mark: char,
    curled: bool,
    open: Place,
}

impl Quote {
    fn is_closed_by(&self, mark: char, c: char) -> bool {
        self.mark == mark && self.curled == (mark != c)
    }
}

/// A character of a value and where it stands.
struct Char {
    c: char,
    place: Place,
}

struct Reader<'a, 'r> {
    file: &'a str,
    lines: Vec<Vec<char>>,
    known: BTreeMap<String, String>,
    row: usize,
    /// In characters.
    at: usize,
    reporter: &'r mut Reporter,
    /// Typographic quotes were mentioned.
    warned: bool,
}

impl Reader<'_, '_> {
    fn peek(&self) -> Option<char> {
        self.lines.get(self.row)?.get(self.at).copied()
    }

    /// Some of the lines, as they stand.
    fn text(&self, first: usize, last: usize) -> String {
        let lines = self.lines.iter().take(last + 1).skip(first);
        let lines: Vec<String> = lines.map(|line| line.iter().collect()).collect();
        lines.join("\n")
    }

    fn next_line(&mut self) {
        self.row += 1;
        self.at = 0;
    }

    fn place(&self) -> Place {
        Place {
            row: self.row,
            at: self.at,
        }
    }

    fn say(&mut self, severity: Severity, place: Place, code: &'static str, text: String) {
        let source = self.text(place.row, place.row);
        let line = Line {
            file: self.file,
            number: place.row as u32 + 1,
            text: &source,
            words: Vec::new(),
        };
        let word = Word {
            text: "",
            column: place.at as u32 + 1,
            length: 1,
            row: 0,
        };
        match severity {
            Severity::Error => line.error(self.reporter, word, code, text),
            _ => line.warning(self.reporter, word, code, text),
        };
    }

    /// The next variable. Goes on by at least one line, or to the next command of this one.
    fn variable(&mut self, mine: &impl Fn(&str) -> bool) -> Option<Variable> {
        while self.peek().is_some_and(|c| c.is_whitespace() || c == ';') {
            self.at += 1;
        }
        if matches!(self.peek(), None | Some('#')) {
            self.next_line();
            return None;
        }
        let start = self.place();
        let rest = self.lines[self.row].get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .take_while(|c| c.is_ascii_alphanumeric() || **c == '_')
            .count();
        let name: String = rest[..length].iter().collect();
        let export = matches!(name.as_str(), "export" | "readonly");
        if export && rest.get(length).is_some_and(|c| c.is_whitespace()) {
            self.at += length;
            return None;
        }
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !plain || rest.get(length) != Some(&'=') {
            self.not_a_variable(start);
            return None;
        }
        self.at += length + 1;
        let value = self.value(&name, mine)?;
        Some(self.made(name, start, &value))
    }

    fn not_a_variable(&mut self, start: Place) {
        let text = "not of the form NAME=\"value\": there is no shell to run it".to_string();
        self.say(Severity::Error, start, "not-a-setting", text);
        self.next_line();
    }

    /// The characters of a value, quotes gone. `None`, and a message, if it is not understood.
    fn value(&mut self, name: &str, mine: &impl Fn(&str) -> bool) -> Option<Vec<Char>> {
        let start = self.place();
        match self.characters() {
            Ok(value) => Some(value),
            // Not ours: spamd_flags="-n "a b" -w" is good enough for rc(8), and nothing here reads it.
            Err(_) if !mine(name) => {
                self.row = start.row;
                self.next_line();
                None
            }
            Err((place, text)) => {
                self.say(Severity::Error, place, "bad-value", text);
                self.next_line();
                None
            }
        }
    }

    fn characters(&mut self) -> Result<Vec<Char>, (Place, String)> {
        let mut value = Vec::new();
        let mut quote: Option<Quote> = None;
        loop {
            let place = self.place();
            let Some(c) = self.peek() else {
                let Some(Quote { open, .. }) = quote else {
                    self.next_line();
                    return Ok(value);
                };
                self.next_line();
                if self.row >= self.lines.len() {
                    return Err((open, "this quote is not closed".to_string()));
                }
                value.push(Char { c: '\n', place });
                continue;
            };
            self.at += 1;
            match (straight(c), quote) {
                (mark @ ('"' | '\''), Some(at)) if at.is_closed_by(mark, c) => quote = None,
                (mark @ ('"' | '\''), None) => {
                    if mark != c {
                        self.curled(place);
                    }
                    quote = Some(Quote {
                        mark,
                        curled: mark != c,
                        open: place,
                    });
                }
                (mark, at) if at.is_none_or(|at| at.mark == '"') && "\\$`".contains(mark) => {
                    self.escape(mark, at.is_some(), place, &mut value)?;
                }
                (_, Some(_)) => value.push(Char { c, place }),
                (_, None) if c.is_whitespace() || c == ';' => return self.rest(value),
                ('#', None) if value.is_empty() => {
                    self.next_line();
                    return Ok(value);
                }
                (_, None) => value.push(Char { c, place }),
            }
            if value.len() > VALUE_LIMIT {
                let text = format!("a value has at most {VALUE_LIMIT} characters");
                return Err((place, text));
            }
        }
    }

    /// Characters that mean something in double quotes too.
    fn escape(
        &mut self,
        mark: char,
        quoted: bool,
        place: Place,
        value: &mut Vec<Char>,
    ) -> Result<(), (Place, String)> {
        match mark {
            '\\' => self.backslash(quoted, value),
            '$' => return self.expand(place, value),
            _ => return Err((place, "commands in a value are not run".to_string())),
        }
        Ok(())
    }

    /// After an unquoted blank: a comment, or another variable; not a command.
    fn rest(&mut self, value: Vec<Char>) -> Result<Vec<Char>, (Place, String)> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        let line = &self.lines[self.row];
        let rest = line.get(self.at..).unwrap_or_default();
        let ended = self.at > 0 && line.get(self.at - 1) == Some(&';');
        let named = rest
            .iter()
            .take_while(|c| c.is_ascii_alphanumeric() || **c == '_');
        let assignment = rest.get(named.count()) == Some(&'=');
        if matches!(rest.first(), None | Some('#' | ';')) || ended || assignment {
            return Ok(value);
        }
        let text = "this is not part of the value: it is not in quotes".to_string();
        Err((self.place(), text))
    }

    fn backslash(&mut self, quoted: bool, value: &mut Vec<Char>) {
        let place = self.place();
        match self.peek() {
            // At the end of a line: the value goes on in the next.
            None => self.next_line(),
            Some(c) => {
                self.at += 1;
                // In quotes a backslash before anything else is itself (sh(1)).
                if quoted && !matches!(c, '"' | '\\' | '$' | '`') {
                    value.push(Char { c: '\\', place });
                }
                value.push(Char { c, place });
            }
        }
    }

    /// `$name` or `${name}`: what was set before, or nothing.
    fn expand(&mut self, place: Place, value: &mut Vec<Char>) -> Result<(), (Place, String)> {
        let braces = self.peek() == Some('{');
        self.at += usize::from(braces);
        let mut name = String::new();
        while let Some(c) = self.peek()
            && (c.is_ascii_alphanumeric() || c == '_')
        {
            name.push(c);
            self.at += 1;
        }
        if braces && self.peek() != Some('}') || name.is_empty() {
            let text = "only $NAME and ${NAME} are understood after '$'".to_string();
            return Err((place, text));
        }
        self.at += usize::from(braces);
        if let Some(known) = self.known.get(&name) {
            if value.len() + known.len() > VALUE_LIMIT {
                let text = format!("a value has at most {VALUE_LIMIT} characters");
                return Err((place, text));
            }
            value.extend(known.chars().map(|c| Char { c, place }));
        }
        Ok(())
    }

    fn curled(&mut self, place: Place) {
        if !std::mem::replace(&mut self.warned, true) {
            let text = "typographic quotes, taken as plain ones".to_string();
            self.say(Severity::Warning, place, "curled-quotes", text);
        }
    }

    fn made(&self, name: String, start: Place, value: &[Char]) -> Variable {
        let end = value.last().map_or(start.row, |last| last.place.row);
        Variable {
            name,
            value: value.iter().map(|c| c.c).collect(),
            pieces: pieces(value, start.row),
            file: self.file.to_string(),
            number: start.row as u32 + 1,
            source: self.text(start.row, end),
            column: start.at as u32 + 1,
        }
    }
}

/// A quote as the shell knows it.
fn straight(c: char) -> char {
    if CURLED.contains(&c) {
        '"'
    } else if CURLED_SINGLE.contains(&c) {
        '\''
    } else {
        c
    }
}

/// The words of a value. Quotes that are part of the value hold words together, as where rc(8) evaluates it.
fn pieces(value: &[Char], first_row: usize) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open: Option<Piece> = None;
    let mut quote = None;
    for one in value {
        if quote.is_none() && one.c.is_whitespace() {
            pieces.extend(open.take());
            continue;
        }
        let row = one.place.row.saturating_sub(first_row) as u32;
        let column = one.place.at as u32 + 1;
        let piece = open.get_or_insert(Piece {
            text: String::new(),
            row,
            column,
            length: 0,
        });
        if piece.row == row {
            piece.length = column.saturating_sub(piece.column) + 1;
        }
        match one.c {
            c if quote == Some(c) => quote = None,
            c @ ('"' | '\'') if quote.is_none() => quote = Some(c),
            c => piece.text.push(c),
        }
    }
    pieces.extend(open);
    pieces
}

/// Names that some value takes in with `$`.
pub(crate) fn used(variables: &[Variable]) -> BTreeSet<&str> {
    let sources = variables.iter().flat_map(|v| v.source.split('$').skip(1));
    sources
        .map(|text| {
            let text = text.strip_prefix('{').unwrap_or(text);
            let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            &text[..end.unwrap_or(text.len())]
        })
        .collect()
}

/// Some names as a message may show them.
pub(crate) fn shown(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    let first: Vec<String> = names.iter().take(SHOWN).map(|n| printable(n)).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("{}{more}", first.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(String, String)>, Vec<String>) {
        let mut reporter = Reporter::default();
        let source = Source::built_in("rc.conf", text);
        let mine = |name: &str| !name.ends_with("_flags");
        let found = variables(&source, &BTreeMap::new(), mine, &mut reporter);
        let said = reporter.into_diagnostics();
        (
            found.into_iter().map(|v| (v.name, v.value)).collect(),
            said.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn values_are_read_as_a_shell_reads_them() {
        for (text, want) in [
            ("a=\"b c\"", "b c"),
            ("a='b $c'", "b $c"),
            ("a=b # c", "b"),
            ("a=b\\ c", "b c"),
            ("a=\"b\\\"c\"", "b\"c"),
            ("a=\"b \\\n c\"", "b  c"),
            ("a=\"b\nc\"", "b\nc"),
            ("a=b\"c\"'d'", "bcd"),
            ("a=", ""),
            ("a=\"\"", ""),
            ("a=“b”", "b"),
            ("  a=b;", "b"),
            ("export a=b", "b"),
            ("b=x\na=\"${b}y$b\"", "xyx"),
            ("a=\"$none\"", ""),
        ] {
            let (found, _) = read(text);
            let (name, value) = found.last().unwrap();
            assert_eq!((name.as_str(), value.as_str()), ("a", want), "{text}");
        }
    }

    #[test]
    fn what_only_a_shell_could_run_is_refused() {
        for (text, want) in [
            ("a=\"b", "rc.conf:1:3: error: this quote is not closed"),
            (
                "a=`b`",
                "rc.conf:1:3: error: commands in a value are not run",
            ),
            (
                "a=$(b)",
                "rc.conf:1:3: error: only $NAME and ${NAME} are understood after '$'",
            ),
            (
                "a=b c",
                "rc.conf:1:5: error: this is not part of the value: it is not in quotes",
            ),
            (
                "\nif true; then",
                "rc.conf:2:1: error: not of the form NAME=\"value\": there is no shell to run it",
            ),
        ] {
            assert_eq!(read(text), (vec![], vec![want.to_string()]), "{text}");
        }
        let (found, said) = read("spamd_flags=\"-n \"mail walla\" -w 1\"\na=b\n");
        assert_eq!((found.len(), said), (1, vec![]));
    }

    #[test]
    fn values_that_double_themselves_come_to_an_end() {
        let mut text = "a=xxxxxxxxxxxxxxxx\n".to_string();
        for _ in 0..40 {
            text += "a=$a$a\n";
        }
        let (found, said) = read(&text);
        assert!(found.iter().all(|(_, value)| value.len() <= VALUE_LIMIT));
        assert!(!said.is_empty());
    }
}
