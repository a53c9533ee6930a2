//! Text to tokens. Read first: pf.conf(5), "GRAMMAR" and MACROS.
//!
//! The language has no fixed tokens: whether `10.0.0.1` is a number or a word is decided by the character after
//! the digits, and a macro's text is put back into the input and read as if it had been typed there, so that
//! `$if:network` is one word. Line joins (a backslash at the end of a line) work everywhere.

use std::rc::Rc;

use crate::macros::Macros;
use crate::message::{Audience, Message, Messages};
use crate::source::{FileId, Span};
use crate::words::is_reserved;

/// Longest token in bytes; PF's own limit.
pub(crate) const TOKEN_BYTES_MAX: usize = 8096;

/// Most bytes that all macro uses of a compilation may expand to.
pub(crate) const EXPANSION_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Tok {
    /// A bare word; reserved or not.
    Word(String),
    /// A word in quotes; never reserved.
    Quoted(String),
    Number(i64),
    /// A character that stands for itself.
    Char(u8),
    /// `!=`
    Ne,
    /// `<=`
    Le,
    /// `>=`
    Ge,
    /// `><`
    Inside,
    /// `<>`
    Outside,
    /// `->`
    Arrow,
    /// End of a line, and of most statements.
    Newline,
    /// End of the text.
    End,
    /// Something was wrong and has been said; the rest of the line is gone.
    Invalid,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) span: Span,
    /// Line it begins in, from 1.
    pub(crate) line: u32,
}

/// One character of the input and where it came from.
#[derive(Clone, Copy)]
struct Char {
    byte: u8,
    start: u32,
    end: u32,
    /// Out of a macro: `$` is just a character, and the place is that of the macro's use.
    expanded: bool,
}

pub(crate) struct Lexer {
    file: FileId,
    text: Rc<[u8]>,
    at: usize,
    /// Characters to read before `text`, last first.
    put_back: Vec<Char>,
    line: u32,
    /// A missing line feed at the end of the text has been made up.
    final_newline: bool,
    expanded_bytes: usize,
}

impl Lexer {
    pub(crate) fn new(file: FileId, text: Rc<[u8]>) -> Self {
        Lexer {
            file,
            text,
            at: 0,
            put_back: Vec::new(),
            line: 1,
            final_newline: false,
            expanded_bytes: 0,
        }
    }

    /// The next token. Says what is wrong with the text; the caller hears only [`Tok::Invalid`].
    pub(crate) fn token(&mut self, macros: &Macros, messages: &mut Messages) -> Token {
        loop {
            self.skip_blanks();
            let line = self.line;
            let Some(c) = self.next() else {
                return self.end_of_text(line);
            };
            if c.byte == b'$' && !c.expanded {
                match self.expand(c, macros, messages) {
                    Ok(()) => continue,
                    Err(span) => return self.invalid(span, line),
                }
            }
            return self.token_from(c, line, messages);
        }
    }

    /// True if the next character that is no blank is `=`. Reads ahead at most over blanks.
    pub(crate) fn peek_is_equals(&mut self) -> bool {
        let mut read = Vec::new();
        let mut found = false;
        while let Some(c) = self.raw() {
            read.push(c);
            if c.byte != b' ' && c.byte != b'\t' {
                found = c.byte == b'=';
                break;
            }
        }
        self.put_back.extend(read.into_iter().rev());
        found
    }

    fn end_of_text(&mut self, line: u32) -> Token {
        let at = self.text.len() as u32;
        let tok = if self.final_newline {
            Tok::End
        } else {
            Tok::Newline
        };
        self.final_newline = true;
        Token {
            tok,
            span: self.span(at, at),
            line,
        }
    }

    fn span(&self, start: u32, end: u32) -> Span {
        let file = self.file;
        Span { file, start, end }
    }

    /// One raw character, line joins included.
    fn raw(&mut self) -> Option<Char> {
        if let Some(c) = self.put_back.pop() {
            return Some(c);
        }
        let byte = *self.text.get(self.at)?;
        let start = self.at as u32;
        self.at += 1;
        Some(Char {
            byte,
            start,
            end: start + 1,
            expanded: false,
        })
    }

    /// One character outside quotes: joins lines, and drops a backslash before any other character as PF does.
    fn next(&mut self) -> Option<Char> {
        loop {
            let c = self.raw()?;
            if c.byte != b'\\' {
                return Some(c);
            }
            match self.raw() {
                Some(next) if next.byte == b'\n' => self.line += 1,
                other => return other,
            }
        }
    }

    fn unget(&mut self, c: Option<Char>) {
        self.put_back.extend(c);
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.next() {
                Some(c) if c.byte == b' ' || c.byte == b'\t' => {}
                Some(c) if c.byte == b'#' => return self.skip_comment(),
                other => return self.unget(other),
            }
        }
    }

    /// To the end of the line, which stays. A joined line belongs to the comment.
    fn skip_comment(&mut self) {
        while let Some(c) = self.next() {
            if c.byte == b'\n' {
                return self.unget(Some(c));
            }
        }
    }

    /// `$name`: puts the text of the macro before the rest of the input. The error is the place of the use.
    fn expand(
        &mut self,
        dollar: Char,
        macros: &Macros,
        messages: &mut Messages,
    ) -> Result<(), Span> {
        let mut name = Vec::new();
        let mut end = dollar.end;
        loop {
            match self.next() {
                Some(c) if c.byte.is_ascii_alphanumeric() || c.byte == b'_' => {
                    end = c.end;
                    name.push(c.byte);
                }
                other => {
                    self.unget(other);
                    break;
                }
            }
            if name.len() > TOKEN_BYTES_MAX {
                let span = self.span(dollar.start, end);
                messages.add(Message::error("token-too-long", span, "string too long"));
                return Err(span);
            }
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        let span = self.span(dollar.start, end);
        let Some(text) = macros.value(&name) else {
            let text = format!("macro '{name}' not defined");
            let message =
                Message::error("undefined-macro", span, text).hint(macros.near(&name, messages));
            messages.add(message.pfctl_line(self.line));
            return Err(span);
        };
        self.expanded_bytes += text.len();
        if self.expanded_bytes > EXPANSION_BYTES_MAX {
            let text = format!("macros expand to more than {EXPANSION_BYTES_MAX} bytes");
            messages.add(Message::error("expansion-limit", span, text));
            return Err(span);
        }
        self.put_back.extend(text.bytes().rev().map(|byte| Char {
            byte,
            start: span.start,
            end: span.end,
            expanded: true,
        }));
        Ok(())
    }

    fn token_from(&mut self, c: Char, line: u32, messages: &mut Messages) -> Token {
        let one = |tok, end| Token {
            tok,
            span: Span {
                file: self.file,
                start: c.start,
                end,
            },
            line,
        };
        match c.byte {
            b'\n' => {
                self.line += u32::from(!c.expanded);
                one(Tok::Newline, c.end)
            }
            b'"' | b'\'' => self.quoted(c, line, messages),
            b'!' => self.pair(c, line, &[(b'=', Tok::Ne)]),
            b'<' => self.pair(c, line, &[(b'>', Tok::Outside), (b'=', Tok::Le)]),
            b'>' => self.pair(c, line, &[(b'<', Tok::Inside), (b'=', Tok::Ge)]),
            b'-' | b'0'..=b'9' => self.number_or_word(c, line, messages),
            b if b.is_ascii_alphabetic() || b == b':' || b == b'_' => {
                self.word(c, Vec::new(), c.start, line, messages)
            }
            b => one(Tok::Char(b), c.end),
        }
    }

    fn pair(&mut self, first: Char, line: u32, pairs: &[(u8, Tok)]) -> Token {
        let second = self.next();
        let found = pairs
            .iter()
            .find(|(b, _)| second.is_some_and(|c| c.byte == *b));
        let (tok, end) = match (found, second) {
            (Some((_, tok)), Some(c)) => (tok.clone(), c.end),
            _ => {
                self.unget(second);
                (Tok::Char(first.byte), first.end)
            }
        };
        let span = self.span(first.start, end);
        Token { tok, span, line }
    }

    fn quoted(&mut self, quote: Char, line: u32, messages: &mut Messages) -> Token {
        let mut text = Vec::new();
        let mut end = quote.end;
        loop {
            let Some(c) = self.raw() else {
                let span = self.span(quote.start, end);
                let what = "reached end of file while parsing quoted string";
                messages.add(Message::error("open-quote", span, what).pfctl_line(line));
                return self.invalid(span, line);
            };
            end = c.end;
            match c.byte {
                b'\n' => self.line += u32::from(!c.expanded),
                b'\\' => self.escape(quote.byte, &mut text),
                b if b == quote.byte => break,
                0 => {
                    let span = self.span(quote.start, end);
                    let message = Message::error("nul-byte", span, "syntax error");
                    messages.add(message.hint(Some("NUL byte in a quoted string".into())));
                    return self.invalid(span, line);
                }
                b => text.push(b),
            }
            if text.len() >= TOKEN_BYTES_MAX {
                return self.too_long(quote.start, end, line, messages);
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        Token {
            tok: Tok::Quoted(text),
            span: self.span(quote.start, end),
            line,
        }
    }

    /// After a backslash in quotes: the quote, a blank or a joined line; anything else keeps the backslash.
    fn escape(&mut self, quote: u8, text: &mut Vec<u8>) {
        match self.raw() {
            Some(c) if c.byte == quote || c.byte == b' ' || c.byte == b'\t' => text.push(c.byte),
            Some(c) if c.byte == b'\n' => self.line += 1,
            other => {
                text.push(b'\\');
                self.unget(other);
            }
        }
    }

    fn too_long(&mut self, start: u32, end: u32, line: u32, messages: &mut Messages) -> Token {
        let span = self.span(start, end);
        let hint = format!("a token has at most {TOKEN_BYTES_MAX} bytes");
        let message = Message::error("token-too-long", span, "string too long");
        messages.add(message.hint(Some(hint)).pfctl_line(line));
        self.invalid(span, line)
    }

    /// Skips the rest of the line, its end excluded.
    fn invalid(&mut self, span: Span, line: u32) -> Token {
        while let Some(c) = self.raw() {
            if c.byte == b'\n' && !c.expanded {
                self.unget(Some(c));
                break;
            }
        }
        let tok = Tok::Invalid;
        Token { tok, span, line }
    }

    /// Digits are a number only if a blank or a closing character follows; `10.0.0.1` and `80:90` are words.
    fn number_or_word(&mut self, first: Char, line: u32, messages: &mut Messages) -> Token {
        let mut digits = vec![first];
        let after = loop {
            match self.next() {
                Some(c) if c.byte.is_ascii_digit() && digits.len() < TOKEN_BYTES_MAX => {
                    digits.push(c);
                }
                other => break other,
            }
        };
        self.unget(after);
        let bare_minus = first.byte == b'-' && digits.len() == 1;
        if !bare_minus && after.is_none_or(|c| ends_number(c.byte)) {
            return self.number(&digits, line, messages);
        }
        if first.byte == b'-' {
            self.put_back.extend(digits.drain(1..).rev());
            return self.pair(first, line, &[(b'>', Tok::Arrow)]);
        }
        let text = digits.iter().map(|c| c.byte).collect::<Vec<u8>>();
        let last = digits[digits.len() - 1];
        let head = text[..text.len() - 1].to_vec();
        self.word(last, head, first.start, line, messages)
    }

    fn number(&mut self, digits: &[Char], line: u32, messages: &mut Messages) -> Token {
        let text: String = digits.iter().map(|c| char::from(c.byte)).collect();
        let span = self.span(digits[0].start, digits[digits.len() - 1].end);
        match text.parse() {
            Ok(n) => Token {
                tok: Tok::Number(n),
                span,
                line,
            },
            Err(_) => {
                let bound = if digits[0].byte == b'-' {
                    "small"
                } else {
                    "large"
                };
                let text = format!("\"{text}\" invalid number: too {bound}");
                messages.add(Message::error("number", span, text).pfctl_line(line));
                self.invalid(span, line)
            }
        }
    }

    /// The rest of a word whose first bytes are `head` and `c`.
    fn word(
        &mut self,
        c: Char,
        head: Vec<u8>,
        start: u32,
        line: u32,
        messages: &mut Messages,
    ) -> Token {
        let mut text = head;
        text.push(c.byte);
        let mut end = c.end;
        loop {
            match self.next() {
                Some(c) if in_word(c.byte) => {
                    end = c.end;
                    text.push(c.byte);
                }
                other => {
                    self.unget(other);
                    break;
                }
            }
            if text.len() >= TOKEN_BYTES_MAX {
                return self.too_long(start, end, line, messages);
            }
        }
        Token {
            tok: Tok::Word(String::from_utf8_lossy(&text).into_owned()),
            span: self.span(start, end),
            line,
        }
    }
}

fn ends_number(b: u8) -> bool {
    b.is_ascii_whitespace() || b == 0x0b || matches!(b, b')' | b',' | b'/' | b'}' | b'=')
}

/// True for a text that is read as one name without quotes.
pub(crate) fn is_bare_name(text: &str) -> bool {
    let first = text.bytes().next();
    let starts = first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b':' || b == b'_');
    let number = text.bytes().all(|b| b.is_ascii_digit());
    starts && !number && text.bytes().all(in_word) && !is_reserved(text)
}

fn in_word(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || (b.is_ascii_punctuation()
            && !matches!(
                b,
                b'(' | b')' | b'{' | b'}' | b'<' | b'>' | b'!' | b'=' | b'/' | b'#' | b','
            ))
}

impl Token {
    /// The bare word `word`.
    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(&self.tok, Tok::Word(w) if w == word)
    }

    /// The text of a name: quoted, or a bare word that is not reserved.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.tok {
            Tok::Quoted(text) => Some(text),
            Tok::Word(text) if !is_reserved(text) => Some(text),
            _ => None,
        }
    }

    /// How a message quotes it.
    pub(crate) fn shown(&self) -> String {
        match &self.tok {
            Tok::Word(text) | Tok::Quoted(text) => format!("'{text}'"),
            Tok::Number(n) => format!("'{n}'"),
            Tok::Char(b) if b.is_ascii_graphic() => format!("'{}'", char::from(*b)),
            Tok::Char(b'\r') => "a carriage return".into(),
            Tok::Char(b) => format!("byte {b:#04x}"),
            Tok::Ne => "'!='".into(),
            Tok::Le => "'<='".into(),
            Tok::Ge => "'>='".into(),
            Tok::Inside => "'><'".into(),
            Tok::Outside => "'<>'".into(),
            Tok::Arrow => "'->'".into(),
            Tok::Newline => "the end of the line".into(),
            Tok::End => "the end of the file".into(),
            Tok::Invalid => "this".into(),
        }
    }
}

/// For tests of other files too: all tokens of a text without macros.
#[cfg(test)]
pub(crate) fn tokens_of(text: &str) -> (Vec<Tok>, Vec<String>) {
    let mut messages = Messages::default();
    let mut lexer = Lexer::new(FileId(0), text.as_bytes().into());
    let mut all = Vec::new();
    loop {
        let token = lexer.token(&Macros::default(), &mut messages);
        match token.tok {
            Tok::End => break,
            tok => all.push(tok),
        }
    }
    let said = messages.list.into_iter().map(|m| m.text).collect();
    (all, said)
}

/// Marks the second message that pfctl gives after a lexical error.
pub(crate) fn echo_of_lexical_error(token: &Token) -> Message {
    Message::error("syntax", token.span, "syntax error")
        .to(Audience::Pfctl)
        .pfctl_line(token.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn w(s: &str) -> Tok {
        Tok::Word(s.into())
    }

    #[test]
    fn digits_are_a_number_only_where_the_next_character_ends_one() {
        let (tokens, _) = tokens_of("80 80:90 10.0.0.1/24 -5 1-2 5K {22}");
        let ch = Tok::Char;
        let expect = [
            Tok::Number(80),
            w("80:90"),
            w("10.0.0.1"),
            ch(b'/'),
            Tok::Number(24),
            Tok::Number(-5),
            w("1-2"),
            w("5K"),
            ch(b'{'),
            Tok::Number(22),
            ch(b'}'),
            Tok::Newline,
        ];
        assert_eq!(tokens, expect);
    }

    #[test]
    fn operators_need_no_blanks() {
        let (tokens, _) = tokens_of("a!=b c<>d e><f g<=1 !h <t> - -> x=y");
        let ch = Tok::Char;
        assert_eq!(
            tokens,
            [
                w("a"),
                Tok::Ne,
                w("b"),
                w("c"),
                Tok::Outside,
                w("d"),
                w("e"),
                Tok::Inside,
                w("f"),
                w("g"),
                Tok::Le,
                Tok::Number(1),
                ch(b'!'),
                w("h"),
                ch(b'<'),
                w("t"),
                ch(b'>'),
                ch(b'-'),
                Tok::Arrow,
                w("x"),
                ch(b'='),
                w("y"),
                Tok::Newline,
            ]
        );
    }

    #[test]
    fn joined_lines_and_comments_follow_pf() {
        let (tokens, _) = tokens_of("a \\\n b # c \\\n d\ne\\ f");
        assert_eq!(
            tokens,
            [w("a"), w("b"), Tok::Newline, w("e"), w("f"), Tok::Newline]
        );
    }

    #[test]
    fn quotes_keep_blanks_drop_line_feeds_and_hide_reserved_words() {
        let (tokens, _) = tokens_of("\"a b\" 'it\\'s' \"x\ny\" \"\\n\"");
        let q = |s: &str| Tok::Quoted(s.into());
        assert_eq!(
            tokens,
            [q("a b"), q("it's"), q("xy"), q("\\n"), Tok::Newline]
        );
    }

    #[test]
    fn what_is_wrong_is_said_and_the_rest_of_the_line_is_skipped() {
        let long = format!("a {}\nb", "x".repeat(TOKEN_BYTES_MAX));
        for (text, said, after) in [
            (
                "\"abc",
                "reached end of file while parsing quoted string",
                0,
            ),
            (
                "99999999999999999999 x\nb",
                "\"99999999999999999999\" invalid number: too large",
                1,
            ),
            (long.as_str(), "string too long", 1),
            ("$x y\nb", "macro 'x' not defined", 1),
        ] {
            let (tokens, messages) = tokens_of(text);
            assert_eq!(messages, [said]);
            assert_eq!(tokens.iter().filter(|t| **t == w("b")).count(), after);
            assert!(!tokens.contains(&w("y")));
        }
    }

    #[test]
    fn a_macro_is_read_as_if_typed_and_joins_what_follows() {
        let mut macros = Macros::default();
        macros.define("if", "em0");
        macros.define("off", "#");
        macros.define("list", "{ 1, $x }");
        let mut messages = Messages::default();
        let mut lexer = Lexer::new(FileId(0), b"$if:network $off $if x\n$list"[..].into());
        let mut got = Vec::new();
        loop {
            match lexer.token(&macros, &mut messages).tok {
                Tok::End => break,
                tok => got.push(tok),
            }
        }
        let ch = Tok::Char;
        assert_eq!(
            got,
            [
                w("em0:network"),
                Tok::Newline,
                ch(b'{'),
                Tok::Number(1),
                ch(b','),
                ch(b'$'),
                w("x"),
                ch(b'}'),
                Tok::Newline,
            ]
        );
        assert!(messages.list.is_empty());
    }
}
