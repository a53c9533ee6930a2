//! Tokens to statements: one grammar function per production, in files by area. The parser cannot fail: an error
//! ends its statement, is said once, and the next statement is read.
//!
//! A function `foo` produces something or reports; `opt_foo` may produce nothing.

mod anchor;
mod antispoof;
mod ether;
mod filter_opts;
mod head;
mod host;
mod icmp;
mod limiter;
mod old;
mod option;
mod pool;
mod port;
mod queue;
mod rule;
mod scrub;
mod state;
mod statement;
mod table;

pub(crate) use filter_opts::LABEL_MAX;
pub(crate) use option::c_number;

use crate::Files;
use crate::ast::{Num, Text};
use crate::lex::{Lexer, Tok, Token, echo_of_lexical_error};
use crate::macros::Macros;
use crate::message::{Audience, Message, Messages};
use crate::source::{Sources, Span};
use crate::words::RESERVED;

/// Most files that may include each other.
pub(crate) const INCLUDE_DEPTH_MAX: usize = 16;

/// Most braces in braces of one list, and anchors in anchors.
pub(crate) const NESTING_MAX: usize = 64;

/// Words that begin an option and are not reserved; a tag of several words ends before them.
const FOREIGN_WORDS: &[&str] = &[
    "ridentifier",
    "source",
    "set-tos",
    "dnpipe",
    "dnqueue",
    "max-pkt-size",
];

/// Tokens after an error that yacc must accept before it speaks of the next syntax error.
const QUIET_TOKENS: u8 = 3;

/// The error has been said; give up this statement.
#[derive(Debug)]
pub(crate) struct Reported;

pub(crate) type Parsed<T> = Result<T, Reported>;

pub(crate) struct Parser<'a> {
    pub(crate) sources: &'a mut Sources,
    pub(crate) messages: &'a mut Messages,
    pub(crate) macros: &'a mut Macros,
    files: &'a dyn Files,
    lexer: Lexer,
    /// The token that comes next.
    tok: Token,
    /// The token taken last.
    last: Span,
    last_line: u32,
    /// Where reading goes on when the included file ends.
    including: Vec<(Lexer, Token)>,
    /// Braces that the current statement has opened.
    braces: usize,
    nesting: usize,
    quiet: u8,
    /// An `altq` line was there: `queue` lines are altq's, too.
    altq: bool,
    /// The tree is FreeBSD's: a rule may have several labels.
    freebsd: bool,
}

impl<'a> Parser<'a> {
    /// A parser at the beginning of `file`, which `sources` holds.
    pub(crate) fn new(
        sources: &'a mut Sources,
        messages: &'a mut Messages,
        macros: &'a mut Macros,
        files: &'a dyn Files,
        lexer: Lexer,
        freebsd: bool,
    ) -> Self {
        let mut parser = Parser {
            sources,
            messages,
            macros,
            files,
            lexer,
            tok: Token {
                tok: Tok::Newline,
                span: Span::default(),
                line: 1,
            },
            last: Span::default(),
            last_line: 1,
            including: Vec::new(),
            braces: 0,
            nesting: 0,
            quiet: 0,
            altq: false,
            freebsd,
        };
        parser.fetch();
        parser
    }

    fn fetch(&mut self) {
        self.tok = self.lexer.token(self.macros, self.messages);
    }

    /// Takes the next token.
    fn advance(&mut self) {
        match self.tok.tok {
            Tok::Char(b'{') => self.braces += 1,
            Tok::Char(b'}') => self.braces = self.braces.saturating_sub(1),
            Tok::Newline => self.messages.deaf = false,
            _ => {}
        }
        self.last = self.tok.span;
        self.last_line = self.tok.line;
        self.quiet = self.quiet.saturating_sub(1);
        self.fetch();
    }

    fn at(&self, word: &str) -> bool {
        self.tok.is(word)
    }

    fn at_any(&self, words: &[&str]) -> bool {
        words.iter().any(|w| self.tok.is(w))
    }

    fn at_char(&self, b: u8) -> bool {
        self.tok.tok == Tok::Char(b)
    }

    fn at_end(&self) -> bool {
        matches!(self.tok.tok, Tok::Newline | Tok::End)
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.at(word);
        if there {
            self.advance();
        }
        there
    }

    fn take_char(&mut self, b: u8) -> bool {
        let there = self.at_char(b);
        if there {
            self.advance();
        }
        there
    }

    fn expect(&mut self, word: &str) -> Parsed<()> {
        match self.take(word) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("expected '{word}'"))),
        }
    }

    fn expect_char(&mut self, b: u8) -> Parsed<()> {
        match self.take_char(b) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("expected '{}'", char::from(b)))),
        }
    }

    /// `name`, quoted or not reserved. `what` completes "expected …".
    fn name(&mut self, what: &str) -> Parsed<Text> {
        let Some(text) = self.tok.name() else {
            return Err(self.unexpected(&format!("expected {what}")));
        };
        let text = text.to_string();
        self.advance();
        let span = self.last;
        Ok(Text { text, span })
    }

    /// One or more names, joined by blanks, up to an option whose word is not reserved.
    fn names(&mut self, what: &str) -> Parsed<Text> {
        let mut all = self.name(what)?;
        while self.tok.name().is_some() && !self.at_any(FOREIGN_WORDS) {
            let next = self.name(what)?;
            all.text.push(' ');
            all.text.push_str(&next.text);
            all.span = all.span.to(next.span);
        }
        Ok(all)
    }

    /// A name or a number, as text.
    fn word(&mut self, what: &str) -> Parsed<Text> {
        let Tok::Number(n) = self.tok.tok else {
            return self.name(what);
        };
        self.advance();
        let (text, span) = (n.to_string(), self.last);
        Ok(Text { text, span })
    }

    fn number(&mut self, what: &str) -> Parsed<Num> {
        let Tok::Number(n) = self.tok.tok else {
            return Err(self.unexpected(&format!("expected {what}")));
        };
        self.advance();
        Ok(Num { n, span: self.last })
    }

    /// A number within `range`; `text` is what pfctl says of others.
    fn number_in<T: TryFrom<i64>>(
        &mut self,
        what: &str,
        range: std::ops::RangeInclusive<i64>,
        text: &str,
    ) -> Parsed<T> {
        let number = self.number(what)?;
        match T::try_from(number.n) {
            Ok(n) if range.contains(&number.n) => Ok(n),
            _ => {
                let hint = format!("{} to {} are possible", range.start(), range.end());
                Err(self.fail_hint(number.span, "number-range", text, Some(hint)))
            }
        }
    }

    /// A number of 32 bits.
    fn number_u32(&mut self, what: &str) -> Parsed<u32> {
        let text = "number out of range";
        self.number_in(what, 0..=i64::from(u32::MAX), text)
    }

    /// One item, or several in braces, separated by blanks, commas or line ends.
    fn one_or_list<T>(&mut self, item: impl Fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        if !self.at_char(b'{') {
            return Ok(vec![item(self)?]);
        }
        self.list(b'{', b'}', item)
    }

    fn list<T>(
        &mut self,
        open: u8,
        close: u8,
        item: impl Fn(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.expect_char(open)?;
        let newlines = open == b'{';
        let mut items = Vec::new();
        loop {
            while newlines && self.tok.tok == Tok::Newline {
                self.advance();
            }
            if !items.is_empty() && self.take_char(close) {
                return Ok(items);
            }
            if !items.is_empty() && self.take_char(b',') {
                while newlines && self.tok.tok == Tok::Newline {
                    self.advance();
                }
            }
            items.push(item(self)?);
        }
    }

    /// The statement cannot go on with the next token.
    fn unexpected(&mut self, expected: &str) -> Reported {
        if self.tok.tok == Tok::Invalid {
            if self.quiet == 0 {
                self.messages.add(echo_of_lexical_error(&self.tok));
            }
            return Reported;
        }
        let text = format!("syntax error at {}", self.tok.shown());
        let hint = match &self.tok.tok {
            Tok::Word(w) if self.tok.name().is_some() => near_keyword(w, self.messages),
            Tok::Char(0xe2) => Some("typographic quotes are no quotes: use \"".into()),
            Tok::Char(b'\r') => Some("the file has DOS line ends".into()),
            _ => None,
        };
        let hint = hint.or_else(|| (!expected.is_empty()).then(|| expected.to_string()));
        let message = Message::error("syntax", self.tok.span, text).hint(hint);
        self.messages.add(message.to(Audience::Person));
        if self.quiet == 0 {
            self.messages.add(echo_of_lexical_error(&self.tok));
        }
        Reported
    }

    /// The next token is a word where one of `words` must stand.
    fn unexpected_word(&mut self, words: &[&str]) -> Reported {
        let near = match &self.tok.tok {
            Tok::Word(w) => self.messages.near(w, words.iter().copied()),
            _ => None,
        };
        match near {
            Some(word) => self.unexpected_hint(format!("did you mean '{word}'?")),
            None => self.unexpected(&format!("expected one of: {}", words.join(" "))),
        }
    }

    fn unexpected_hint(&mut self, hint: String) -> Reported {
        let text = format!("syntax error at {}", self.tok.shown());
        let message = Message::error("syntax", self.tok.span, text).hint(Some(hint));
        self.messages.add(message.to(Audience::Person));
        if self.quiet == 0 {
            self.messages.add(echo_of_lexical_error(&self.tok));
        }
        Reported
    }

    /// What was read is wrong in itself; `text` is pfctl's message.
    fn fail(&mut self, span: Span, code: &'static str, text: impl Into<String>) -> Reported {
        self.fail_hint(span, code, text, None)
    }

    fn fail_hint(
        &mut self,
        span: Span,
        code: &'static str,
        text: impl Into<String>,
        hint: Option<String>,
    ) -> Reported {
        let message = Message::error(code, span, text).hint(hint);
        self.messages.add(message.pfctl_line(self.last_line));
        Reported
    }

    /// What pfctl says first, without a place; the message with the place follows.
    fn bare(&mut self, text: String) {
        let message = Message::error("detail", self.last, text).bare();
        self.messages.add(message.to(Audience::Pfctl));
    }

    /// Enters a brace in a brace; the caller decrements.
    fn nest(&mut self) -> Parsed<()> {
        if self.nesting == NESTING_MAX {
            let text = format!("more than {NESTING_MAX} levels of braces");
            return Err(self.fail(self.tok.span, "nesting", text));
        }
        self.nesting += 1;
        Ok(())
    }
}

/// A hint that names the nearest reserved word.
fn near_keyword(word: &str, messages: &Messages) -> Option<String> {
    messages
        .near(word, RESERVED.iter().copied())
        .map(|k| format!("did you mean '{k}'?"))
}
