//! One line being edited, and the lines before it. Knows keys and text; not what a line means, not how it is shown.

use crate::keys::Key;

/// Characters of a line. The longest sensible command, a pasted key, has about 60.
pub(crate) const LINE_MAX: usize = 1024;
/// Lines remembered.
pub(crate) const HISTORY_MAX: usize = 200;

/// A line with a cursor.
#[derive(Default)]
pub(crate) struct Editor {
    text: Vec<u8>,
    cursor: usize,
    killed: Vec<u8>,
    history: Vec<Vec<u8>>,
    /// Which line of the history is shown, and what was typed before going there.
    recalled: Option<(usize, Vec<u8>)>,
    search: Option<Search>,
}

/// ^R: what is looked for, where it was found, and the line to go back to.
struct Search {
    pattern: Vec<u8>,
    found: Option<usize>,
    before: Vec<u8>,
}

/// What a key did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Edit {
    /// The line may have changed.
    Changed,
    /// Nothing could be done: ring the bell.
    Nothing,
    /// The line is complete.
    Enter,
    /// The key means nothing to a line: Tab, ^C, ^D on an empty line, ^L.
    NotMine,
}

impl Editor {
    pub(crate) fn text(&self) -> String {
        // Only printable ASCII gets in.
        String::from_utf8_lossy(&self.text).into_owned()
    }

    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What to show instead of the prompt while ^R searches.
    pub(crate) fn search_prompt(&self) -> Option<String> {
        let search = self.search.as_ref()?;
        let failed = if search.found.is_none() && !search.pattern.is_empty() {
            "failed "
        } else {
            ""
        };
        Some(format!(
            "({failed}search) {}: ",
            String::from_utf8_lossy(&search.pattern)
        ))
    }

    /// Empties the line and returns it; the next one begins.
    pub(crate) fn take(&mut self) -> String {
        let text = self.text();
        self.reset();
        text
    }

    /// Throws the line away.
    pub(crate) fn reset(&mut self) {
        self.text.clear();
        self.cursor = 0;
        self.recalled = None;
        self.search = None;
    }

    /// Remembers a line, unless it is empty or was the last one.
    pub(crate) fn remember(&mut self, line: &str) {
        let line = line.trim().as_bytes();
        if line.is_empty() || self.history.last().is_some_and(|last| last == line) {
            return;
        }
        if self.history.len() == HISTORY_MAX {
            self.history.remove(0);
        }
        self.history.push(line.to_vec());
    }

    /// Inserts at the cursor, as far as there is room.
    pub(crate) fn insert(&mut self, text: &[u8]) -> Edit {
        if self.text.len() + text.len() > LINE_MAX {
            return Edit::Nothing;
        }
        let tail = self.text.split_off(self.cursor);
        self.text.extend_from_slice(text);
        self.cursor = self.text.len();
        self.text.extend(tail);
        Edit::Changed
    }

    pub(crate) fn key(&mut self, key: Key) -> Edit {
        if self.search.is_some()
            && let Some(edit) = self.search_key(key)
        {
            return edit;
        }
        match key {
            Key::Char(c) => self.insert(&[c]),
            Key::Enter => Edit::Enter,
            Key::Backspace | Key::Ctrl(b'h') => self.remove(self.cursor.wrapping_sub(1)),
            Key::Delete => self.remove(self.cursor),
            Key::Ctrl(b'd') if !self.is_empty() => self.remove(self.cursor),
            Key::Left | Key::Ctrl(b'b') => self.go_to(self.cursor.checked_sub(1)),
            Key::Right | Key::Ctrl(b'f') => self.go_to(Some(self.cursor + 1)),
            Key::Home | Key::Ctrl(b'a') => self.go_to(Some(0)),
            Key::End | Key::Ctrl(b'e') => self.go_to(Some(self.text.len())),
            Key::Ctrl(b'k') => self.kill(self.cursor, self.text.len()),
            Key::Ctrl(b'u') => self.kill(0, self.cursor),
            Key::Ctrl(b'w') => self.kill(self.word_start(), self.cursor),
            Key::Ctrl(b'y') => self.insert(&self.killed.clone()),
            Key::Up | Key::Ctrl(b'p') => self.recall(true),
            Key::Down | Key::Ctrl(b'n') => self.recall(false),
            Key::Ctrl(b'r') => self.begin_search(),
            Key::Tab | Key::Ctrl(_) | Key::CursorAt(..) => Edit::NotMine,
        }
    }

    fn remove(&mut self, at: usize) -> Edit {
        if at >= self.text.len() {
            return Edit::Nothing;
        }
        self.text.remove(at);
        self.cursor = at;
        Edit::Changed
    }

    fn go_to(&mut self, at: Option<usize>) -> Edit {
        match at {
            Some(at) if at <= self.text.len() => {
                self.cursor = at;
                Edit::Changed
            }
            _ => Edit::Nothing,
        }
    }

    fn kill(&mut self, from: usize, to: usize) -> Edit {
        if from == to {
            return Edit::Nothing;
        }
        self.killed = self.text.drain(from..to).collect();
        self.cursor = from;
        Edit::Changed
    }

    /// Where the word before the cursor begins.
    fn word_start(&self) -> usize {
        let before = &self.text[..self.cursor];
        let end = before.iter().rposition(|b| *b != b' ').map_or(0, |i| i + 1);
        before[..end]
            .iter()
            .rposition(|b| *b == b' ')
            .map_or(0, |i| i + 1)
    }

    fn show(&mut self, line: Vec<u8>) -> Edit {
        self.cursor = line.len();
        self.text = line;
        Edit::Changed
    }

    fn recall(&mut self, older: bool) -> Edit {
        let newest = self.history.len();
        let at = self.recalled.as_ref().map_or(newest, |(at, _)| *at);
        let to = if older {
            at.checked_sub(1)
        } else {
            Some(at + 1).filter(|_| at < newest)
        };
        let Some(to) = to else {
            return Edit::Nothing;
        };
        let typed = match self.recalled.take() {
            Some((_, typed)) => typed,
            None => self.text.clone(),
        };
        if to == newest {
            return self.show(typed);
        }
        self.recalled = Some((to, typed));
        self.show(self.history[to].clone())
    }

    fn begin_search(&mut self) -> Edit {
        self.search = Some(Search {
            pattern: Vec::new(),
            found: None,
            before: self.text.clone(),
        });
        Edit::Changed
    }

    /// A key while searching. `None` ends the search and lets the key act on the line that was found.
    fn search_key(&mut self, key: Key) -> Option<Edit> {
        let search = self.search.as_mut()?;
        match key {
            Key::Char(c) if search.pattern.len() < LINE_MAX => search.pattern.push(c),
            Key::Backspace => {
                search.pattern.pop();
                search.found = None;
            }
            Key::Ctrl(b'r') => {}
            Key::Ctrl(b'g' | b'c') => {
                let before = std::mem::take(&mut search.before);
                self.search = None;
                return Some(self.show(before));
            }
            _ => {
                self.search = None;
                return None;
            }
        }
        Some(self.search_on(matches!(key, Key::Ctrl(b'r'))))
    }

    fn search_on(&mut self, older: bool) -> Edit {
        let Some(search) = self.search.as_mut() else {
            return Edit::Nothing;
        };
        let end = match search.found {
            Some(at) if older => at,
            Some(at) => at + 1,
            None => self.history.len(),
        };
        let contains = |line: &Vec<u8>| {
            let n = search.pattern.len();
            n > 0 && line.windows(n).any(|w| w == search.pattern)
        };
        match self.history[..end.min(self.history.len())]
            .iter()
            .rposition(contains)
        {
            Some(at) => {
                search.found = Some(at);
                self.show(self.history[at].clone())
            }
            None if search.pattern.is_empty() => Edit::Changed,
            None => {
                if !older {
                    search.found = None;
                }
                Edit::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Decoder;

    /// Types into a fresh editor with a little history; `|` in the result is the cursor.
    fn typed(bytes: &[u8]) -> String {
        let mut editor = Editor::default();
        for line in ["pfctl -sr", "ifconfig vio0", "pfctl -ss", "pfctl -ss", " "] {
            editor.remember(line);
        }
        let mut decoder = Decoder::default();
        for key in bytes.iter().filter_map(|b| decoder.key(*b)) {
            editor.key(key);
        }
        let mut text = editor.text();
        text.insert(editor.cursor(), '|');
        editor.search_prompt().unwrap_or_default() + &text
    }

    #[test]
    fn keys_edit_the_line() {
        for (keys, line) in [
            (&b"abc"[..], "abc|"),
            (b"abc\x1b[D\x1b[Dx", "ax|bc"),
            (b"abc\x7f\x7f", "a|"),
            (b"abc\x01x", "x|abc"),
            (b"abc\x01\x05x", "abcx|"),
            (b"abc\x01\x1b[3~", "|bc"),
            (b"abc\x01\x04", "|bc"),
            (b"one two  \x17", "one |"),
            (b"one two\x17\x17\x17", "|"),
            (b"one two\x1b[D\x1b[D\x0b", "one t|"),
            (b"one two\x1b[D\x1b[D\x15", "|wo"),
            (b"one two\x17\x01\x19 ", "two |one "),
            (b"\x7f\x1b[D\x1b[C\x1b[3~\x0b\x15\x17", "|"),
        ] {
            assert_eq!(typed(keys), line, "{:?}", String::from_utf8_lossy(keys));
        }
    }

    #[test]
    fn history_goes_back_and_forth_and_keeps_what_was_typed() {
        for (keys, line) in [
            (&b"x\x1b[A"[..], "pfctl -ss|"),
            (b"x\x1b[A\x1b[A", "ifconfig vio0|"),
            (b"x\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A", "pfctl -sr|"),
            (b"x\x1b[A\x1b[A\x1b[B", "pfctl -ss|"),
            (b"x\x1b[A\x1b[B", "x|"),
            (b"x\x1b[B", "x|"),
        ] {
            assert_eq!(typed(keys), line, "{:?}", String::from_utf8_lossy(keys));
        }
    }

    #[test]
    fn search_finds_older_and_older_lines() {
        for (keys, line) in [
            (&b"\x12"[..], "(search) : |"),
            (b"\x12pf", "(search) pf: pfctl -ss|"),
            (b"\x12pf\x12", "(search) pf: pfctl -sr|"),
            (b"\x12pf\x12\x12", "(search) pf: pfctl -sr|"),
            (b"\x12vio", "(search) vio: ifconfig vio0|"),
            (b"\x12nix", "(failed search) nix: ifconfig vio0|"),
            (b"abc\x12pf\x07", "abc|"),
            (b"\x12vio\x1b[D", "ifconfig vio|0"),
        ] {
            assert_eq!(typed(keys), line, "{:?}", String::from_utf8_lossy(keys));
        }
    }

    #[test]
    fn lines_and_history_are_bounded() {
        let mut editor = Editor::default();
        for _ in 0..LINE_MAX {
            assert_eq!(editor.key(Key::Char(b'a')), Edit::Changed);
        }
        assert_eq!(editor.key(Key::Char(b'a')), Edit::Nothing);
        for i in 0..HISTORY_MAX + 5 {
            editor.remember(&i.to_string());
        }
        assert_eq!(editor.history.len(), HISTORY_MAX);
        assert_eq!(editor.history[0], b"5");
    }
}
