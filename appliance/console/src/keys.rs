//! What a terminal sends, as keys. Understands the escape sequences of VT100 and its descendants and nothing else: what is
//! not understood is swallowed whole, so that a strange key never types garbage.
//!
//! Read first: ECMA-48 section 5.4 (control sequences).

/// Parameters of a control sequence longer than this are no key.
const SEQUENCE_MAX: usize = 16;

/// One key, or the terminal's answer to a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// A printable ASCII character.
    Char(u8),
    Enter,
    Backspace,
    Delete,
    Tab,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    /// Control and a letter, in lower case.
    Ctrl(u8),
    /// Where the cursor is: rows and columns, from 1.
    CursorAt(u16, u16),
}

/// Bytes to keys.
#[derive(Default)]
pub(crate) struct Decoder {
    state: State,
    after_cr: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Ground,
    Escape,
    /// After `ESC [`, with what came since.
    Sequence(Vec<u8>),
    /// After `ESC O`: one more byte.
    Single,
}

impl Decoder {
    /// The key that this byte completes, if any. CR, LF and CR LF are one Enter.
    pub(crate) fn key(&mut self, byte: u8) -> Option<Key> {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match std::mem::take(&mut self.state) {
            State::Ground => self.ground(byte, after_cr),
            State::Escape => {
                self.state = match byte {
                    b'[' => State::Sequence(Vec::new()),
                    b'O' => State::Single,
                    // A lone ESC, or Alt and a key: neither means anything here.
                    _ => State::Ground,
                };
                None
            }
            State::Single => single(byte),
            State::Sequence(mut seen) => match byte {
                0x40..=0x7e => sequence(&seen, byte),
                0x20..=0x3f if seen.len() < SEQUENCE_MAX => {
                    seen.push(byte);
                    self.state = State::Sequence(seen);
                    None
                }
                // ^C in the middle of a sequence still is ^C.
                _ => self.ground(byte, after_cr),
            },
        }
    }

    fn ground(&mut self, byte: u8, after_cr: bool) -> Option<Key> {
        match byte {
            b'\n' if after_cr => None,
            b'\r' | b'\n' => Some(Key::Enter),
            b'\t' => Some(Key::Tab),
            0x08 | 0x7f => Some(Key::Backspace),
            0x1b => {
                self.state = State::Escape;
                None
            }
            1..=26 => Some(Key::Ctrl(byte + b'a' - 1)),
            0x20..=0x7e => Some(Key::Char(byte)),
            _ => None,
        }
    }
}

fn single(byte: u8) -> Option<Key> {
    match byte {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' => Some(Key::Right),
        b'D' => Some(Key::Left),
        b'H' => Some(Key::Home),
        b'F' => Some(Key::End),
        _ => None,
    }
}

fn sequence(parameters: &[u8], last: u8) -> Option<Key> {
    match (parameters, last) {
        (b"1" | b"7", b'~') => Some(Key::Home),
        (b"4" | b"8", b'~') => Some(Key::End),
        (b"3", b'~') => Some(Key::Delete),
        (p, b'R') => {
            let (rows, columns) = std::str::from_utf8(p).ok()?.split_once(';')?;
            Some(Key::CursorAt(rows.parse().ok()?, columns.parse().ok()?))
        }
        (_, letter) => single(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|b| decoder.key(*b)).collect()
    }

    #[test]
    fn all_line_ends_are_one_enter() {
        use Key::{Char, Enter};
        let a = Char(b'a');
        assert_eq!(
            keys(b"a\ra\na\r\na\r\0a\r\r\n\n"),
            [
                a, Enter, a, Enter, a, Enter, a, Enter, a, Enter, Enter, Enter
            ]
        );
    }

    #[test]
    fn keys_of_several_kinds_of_terminal() {
        let cases: &[(&[u8], Key)] = &[
            (b"\x1b[A", Key::Up),
            (b"\x1bOA", Key::Up),
            (b"\x1b[B", Key::Down),
            (b"\x1b[1;5C", Key::Right),
            (b"\x1b[D", Key::Left),
            (b"\x1b[H", Key::Home),
            (b"\x1b[1~", Key::Home),
            (b"\x1b[7~", Key::Home),
            (b"\x1bOF", Key::End),
            (b"\x1b[4~", Key::End),
            (b"\x1b[3~", Key::Delete),
            (b"\x7f", Key::Backspace),
            (b"\x08", Key::Backspace),
            (b"\x01", Key::Ctrl(b'a')),
            (b"\x03", Key::Ctrl(b'c')),
            (b"\x1b[24;80R", Key::CursorAt(24, 80)),
        ];
        for (bytes, key) in cases {
            assert_eq!(keys(bytes), [*key], "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_swallowed_whole() {
        for bytes in [
            &b"\x1b[200~"[..],
            b"\x1b[?1;2c",
            b"\x1bx",
            b"\xc3\xa4",
            b"\0",
            b"\x1b[99R",
            b"\x1b[;R",
        ] {
            assert_eq!(keys(bytes), [], "{bytes:?}");
        }
        assert_eq!(keys(b"\x1b[12\x03"), [Key::Ctrl(b'c')]);
        let long = [b"\x1b[", &[b'1'; 100][..], b"A"].concat();
        assert!(keys(&long).iter().all(|k| matches!(k, Key::Char(_))));
    }
}
