//! Keeps one line of the terminal as it should be, with as few bytes as possible: at 9600 baud a character takes a
//! millisecond. Uses printable characters, backspace and carriage return only, so it works on any terminal there is.

/// What the terminal shows in its current line.
#[derive(Default)]
pub(crate) struct Painter {
    shown: Vec<u8>,
    column: usize,
}

impl Painter {
    /// Makes the line read `want` with the cursor at `column`; appends what must be sent to `out`.
    pub(crate) fn paint(&mut self, out: &mut Vec<u8>, want: &[u8], column: usize) {
        let same = self
            .shown
            .iter()
            .zip(want)
            .take_while(|(a, b)| a == b)
            .count();
        let is_same = self.shown.len() == want.len() && same == want.len();
        if !is_same {
            self.go_to(out, same);
            out.extend_from_slice(&want[same..]);
            let stale = self.shown.len().saturating_sub(want.len());
            out.extend(std::iter::repeat_n(b' ', stale));
            self.column = want.len() + stale;
            self.shown = want.to_vec();
            // Beyond the end only until the cursor moves back.
            self.shown.resize(self.column, b' ');
            self.go_to(out, column.min(want.len()));
            self.shown.truncate(want.len());
        }
        self.go_to(out, column.min(want.len()));
    }

    /// Takes the line away, to print something in its place.
    pub(crate) fn clear(&mut self, out: &mut Vec<u8>) {
        self.paint(out, b"", 0);
        self.forget();
    }

    /// The cursor is at the start of a fresh line.
    pub(crate) fn forget(&mut self) {
        self.shown.clear();
        self.column = 0;
    }

    fn go_to(&mut self, out: &mut Vec<u8>, column: usize) {
        if column < self.column {
            let back = self.column - column;
            if column < back {
                out.push(b'\r');
                out.extend_from_slice(&self.shown[..column]);
            } else {
                out.extend(std::iter::repeat_n(0x08, back));
            }
        } else {
            out.extend_from_slice(&self.shown[self.column..column]);
        }
        self.column = column;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal of one line.
    #[derive(Default)]
    struct Screen {
        line: Vec<u8>,
        column: usize,
    }

    impl Screen {
        fn show(&mut self, bytes: &[u8]) {
            for b in bytes {
                match b {
                    b'\r' => self.column = 0,
                    0x08 => self.column -= 1,
                    b => {
                        self.line.resize(self.line.len().max(self.column + 1), b' ');
                        self.line[self.column] = *b;
                        self.column += 1;
                    }
                }
            }
        }
    }

    #[test]
    fn any_line_becomes_any_other() {
        let lines: &[(&str, usize)] = &[
            ("fw> ", 4),
            ("fw> pfctl", 9),
            ("fw> pfctl", 4),
            ("fw> xpfctl", 5),
            ("fw> ctl", 4),
            ("", 0),
            ("fw> pfctl -sr", 13),
            ("fw> pfctl -ss", 0),
            ("fw> pfctl -ss", 13),
            ("a", 1),
            ("a", 0),
            ("bbbbbbbbbbbbbbbbbbbbbbbb", 3),
            ("bbb", 3),
        ];
        for (from, at) in lines {
            for (to, cursor) in lines {
                let (mut painter, mut screen, mut out) =
                    (Painter::default(), Screen::default(), Vec::new());
                painter.paint(&mut out, from.as_bytes(), *at);
                painter.paint(&mut out, to.as_bytes(), *cursor);
                screen.show(&out);
                let line = String::from_utf8(screen.line).unwrap();
                assert_eq!(
                    (line.trim_end(), screen.column),
                    (to.trim_end(), *cursor),
                    "{from:?} to {to:?}"
                );
            }
        }
    }

    #[test]
    fn typing_and_deleting_at_the_end_cost_next_to_nothing() {
        let mut painter = Painter::default();
        painter.paint(&mut Vec::new(), b"fw> pfct", 8);
        let mut out = Vec::new();
        painter.paint(&mut out, b"fw> pfctl", 9);
        assert_eq!(out, b"l");
        out.clear();
        painter.paint(&mut out, b"fw> pfct", 8);
        assert_eq!(out, b"\x08 \x08");
        out.clear();
        painter.paint(&mut out, b"fw> pfct", 8);
        assert_eq!(out, b"");
    }
}
