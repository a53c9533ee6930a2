//! Statements and the way from one to the next: dispatch on the first word, end of line, recovery, `include`.

use super::{INCLUDE_DEPTH_MAX, Parsed, Parser, Reported};
use crate::ast::{Node, Stmt, Text};
use crate::lex::{Lexer, Tok};

/// Where a statement stands: inside the braces of an anchor not all are allowed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Scope {
    Top,
    Anchor,
}

/// Words that begin a statement. A list that was never closed ends before one of them.
const FIRST_WORDS: &[&str] = &[
    "pass",
    "block",
    "match",
    "set",
    "table",
    "anchor",
    "antispoof",
    "include",
    "load",
    "queue",
    "nat",
    "rdr",
    "binat",
    "scrub",
    "altq",
    "nat-anchor",
    "rdr-anchor",
    "binat-anchor",
    "no",
    "ether",
    "state",
    "source",
];

/// yacc has acted on an option, a table or a macro before it meets what follows on the line; a rule waits for the
/// end of the line.
fn acts_at_once(node: &Node) -> bool {
    matches!(node, Node::Set(_) | Node::Table(_) | Node::Macro { .. })
}

impl Parser<'_> {
    /// The next statement of the main file and what it includes; none at the end.
    pub(crate) fn statement(&mut self) -> Option<Stmt> {
        loop {
            match self.tok.tok {
                Tok::Newline => self.advance(),
                Tok::End if self.including.is_empty() => return None,
                Tok::End => self.leave_file(),
                _ => {
                    if let Some(stmt) = self.one(Scope::Top) {
                        return Some(stmt);
                    }
                }
            }
        }
    }

    /// One statement up to its line end, which stays; nothing if it was wrong or an `include`.
    pub(super) fn one(&mut self, scope: Scope) -> Option<Stmt> {
        let start = self.tok.span;
        let anchor = self.at_any(&[
            "anchor",
            "nat-anchor",
            "rdr-anchor",
            "binat-anchor",
            "ether",
        ]);
        self.braces = 0;
        if self.at("include") {
            if self.include().is_err() {
                self.recover(false);
            }
            return None;
        }
        let node = self.node(scope);
        let whole = node.is_ok() && self.at_end();
        let line = self.tok.line;
        let span = start.to(self.last);
        if node.is_ok() && !whole {
            self.unexpected("");
        }
        if !whole {
            self.recover(anchor);
        }
        match node {
            Ok(node) if whole || acts_at_once(&node) => Some(Stmt { node, span, line }),
            _ => None,
        }
    }

    /// After an error: to the end of the line, or of the list that was open.
    fn recover(&mut self, anchor: bool) {
        let lexical = self.tok.tok == Tok::Invalid;
        let mut opened = false;
        loop {
            match self.tok.tok {
                Tok::End => return,
                Tok::Newline if self.braces == 0 || opened => break,
                Tok::Newline => {
                    self.fetch();
                    if FIRST_WORDS.iter().any(|w| self.tok.is(w)) {
                        return;
                    }
                    continue;
                }
                Tok::Char(b'{') => self.braces += 1,
                Tok::Char(b'}') => self.braces = self.braces.saturating_sub(1),
                _ => {}
            }
            opened = anchor && self.tok.tok == Tok::Char(b'{');
            self.fetch();
        }
        self.quiet = super::QUIET_TOKENS;
        if opened {
            // The head of the anchor was wrong; its rules may still be looked at.
            let _body: Parsed<_> = self.anchor_body();
            return;
        }
        if lexical {
            self.advance();
            self.messages.deaf = true;
        }
    }

    fn node(&mut self, scope: Scope) -> Parsed<Node> {
        if self.at_any(&["pass", "block", "match"]) {
            return self.rule();
        }
        if self.at("anchor") {
            return self.anchor();
        }
        if self.at("table") {
            return self.table();
        }
        if scope == Scope::Anchor {
            return self.old_statement_or(|p| {
                p.unexpected("only rules, tables, anchors and include may stand inside an anchor")
            });
        }
        match &self.tok.tok {
            Tok::Word(w) => match w.as_str() {
                "set" => self.set(),
                "antispoof" => self.antispoof(),
                "load" => self.load_anchor(),
                "queue" => self.queue(),
                _ => self.name_first(),
            },
            Tok::Quoted(_) => self.macro_definition(),
            _ => Err(self.unexpected("expected a statement")),
        }
    }

    /// Macro definitions, and the statements whose first word is not reserved.
    fn name_first(&mut self) -> Parsed<Node> {
        if self.tok.name().is_none() && !self.at_any(&["no", "scrub", "state"]) {
            let hint = match self.lexer.peek_is_equals() {
                true => "this word is reserved: a macro needs another name",
                false => "expected a statement",
            };
            return Err(self.unexpected_hint(hint.into()));
        }
        self.old_statement_or(Self::no_statement)
    }

    fn no_statement(&mut self) -> Reported {
        let near = match &self.tok.tok {
            Tok::Word(w) => self.messages.near(w, FIRST_WORDS.iter().copied()),
            _ => None,
        };
        let hint = near.map(|w| format!("did you mean '{w}'?"));
        self.unexpected_hint(hint.unwrap_or_else(|| "no statement begins like this".into()))
    }

    pub(super) fn macro_definition(&mut self) -> Parsed<Node> {
        let name = self.name("the name of a macro")?;
        self.macro_value(name)
    }

    /// `= value …`: words, numbers and quoted strings, joined by one blank.
    pub(super) fn macro_value(&mut self, name: Text) -> Parsed<Node> {
        self.expect_char(b'=')?;
        let mut value = self.word("a value")?.text;
        while self.tok.name().is_some() || matches!(self.tok.tok, Tok::Number(_)) {
            value.push(' ');
            value.push_str(&self.word("a value")?.text);
        }
        if name.text.contains(|c: char| c.is_ascii_whitespace()) {
            let text = "macro name cannot contain whitespace";
            return Err(self.fail(name.span, "macro-name", text));
        }
        if !self.at_end() {
            return Err(self.unexpected("a value with braces or operators must be quoted"));
        }
        self.macros.define(&name.text, &value);
        Ok(Node::Macro { name, value })
    }

    /// `include "file"`: reading goes on there.
    pub(super) fn include(&mut self) -> Parsed<()> {
        self.expect("include")?;
        let file = self.name("a file name in quotes")?;
        if !self.at_end() {
            return Err(self.unexpected(""));
        }
        if self.including.len() >= INCLUDE_DEPTH_MAX {
            let text = format!("files include each other more than {INCLUDE_DEPTH_MAX} deep");
            return Err(self.fail(file.span, "include-depth", text));
        }
        let Some(text) = self.files.read(&file.text) else {
            self.bare(format!(
                "pfctl: pushfile: {}: No such file or directory",
                file.text
            ));
            let text = format!("failed to include file {}", file.text);
            return Err(self.fail(file.span, "include-file", text));
        };
        if !self.sources.have_room_for(text.len()) {
            let text = format!("{}: too many or too large files", file.text);
            return Err(self.fail(file.span, "include-size", text));
        }
        let id = self.sources.open(&file.text, text);
        let lexer = Lexer::new(id, self.sources.text(id));
        let outer = std::mem::replace(&mut self.lexer, lexer);
        self.including.push((outer, self.tok.clone()));
        self.fetch();
        Ok(())
    }

    /// The included file is read to its end. False at the end of the main file.
    pub(super) fn leave_file(&mut self) {
        if let Some((lexer, tok)) = self.including.pop() {
            self.lexer = lexer;
            self.tok = tok;
        }
    }

    /// How deep in included files the parser is.
    pub(super) fn include_depth(&self) -> usize {
        self.including.len()
    }
}
