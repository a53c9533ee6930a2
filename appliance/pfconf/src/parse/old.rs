//! The old dialect (OpenBSD up to 4.6, FreeBSD, macOS): `nat`, `rdr`, `binat`, their anchors, `scrub`; and macro
//! definitions, since none of these words is reserved today: `nat = "em0"` defines a macro.

use super::{Parsed, Parser, Reported};
use crate::ast::{
    AnchorKind, AnchorStmt, FilterOpts, Head, Node, ScrubOpts, ScrubStmt, Text, Translation,
    TranslationKind,
};
use crate::lex::Tok;

impl Parser<'_> {
    /// A macro definition or a statement of the old dialect, `otherwise` reports.
    pub(super) fn old_statement_or(
        &mut self,
        otherwise: impl FnOnce(&mut Self) -> Reported,
    ) -> Parsed<Node> {
        let Tok::Word(word) = self.tok.tok.clone() else {
            return Err(otherwise(self));
        };
        let first = self.tok.clone();
        match word.as_str() {
            "scrub" => {
                self.advance();
                return self.scrub(false);
            }
            "no" => {
                self.advance();
                return self.no_old();
            }
            "state" => {
                self.advance();
                self.expect("limiter")?;
                return self.state_limiter();
            }
            _ => {}
        }
        let known = [
            "nat",
            "rdr",
            "binat",
            "nat-anchor",
            "rdr-anchor",
            "binat-anchor",
            "scrub-anchor",
            "altq",
            "ether",
            "source",
        ];
        if self.tok.name().is_none() {
            return Err(otherwise(self));
        }
        if !known.contains(&word.as_str()) && !self.macro_follows() {
            return Err(otherwise(self));
        }
        self.advance();
        if self.at_char(b'=') {
            let (text, span) = (word, first.span);
            return self.macro_value(Text { text, span });
        }
        self.old_statement(&word)
    }

    /// True if the word that comes next is followed by `=`: then it is a macro, whatever it is.
    fn macro_follows(&mut self) -> bool {
        self.lexer.peek_is_equals()
    }

    fn old_statement(&mut self, word: &str) -> Parsed<Node> {
        match word {
            "nat" => self.translation(TranslationKind::Nat, false),
            "ether" => self.ether(),
            "rdr" => self.translation(TranslationKind::Rdr, false),
            "binat" => self.translation(TranslationKind::Binat, false),
            "nat-anchor" => self.old_anchor(AnchorKind::Nat),
            "rdr-anchor" => self.old_anchor(AnchorKind::Rdr),
            "binat-anchor" => self.old_anchor(AnchorKind::Binat),
            "scrub-anchor" => self.old_anchor(AnchorKind::Scrub),
            "source" => {
                self.expect("limiter")?;
                self.source_limiter()
            }
            _ => Ok(self.altq_line()),
        }
    }

    /// After `altq`: what its equivalent is made of; the rest is read over.
    fn altq_line(&mut self) -> Node {
        self.altq = true;
        let (mut on, mut bandwidth) = (None, None);
        while !self.at_end() {
            if self.take("on") {
                on = self.tok.name().map(String::from);
            } else if self.take("bandwidth") {
                bandwidth = match self.tok.tok {
                    Tok::Number(n) => Some(n.to_string()),
                    _ => self.tok.name().map(String::from),
                };
            } else {
                self.skip_token();
            }
        }
        Node::Altq { on, bandwidth }
    }

    /// To the end of the line, over lists in braces.
    pub(super) fn skip_line(&mut self) {
        while !self.at_end() {
            self.skip_token();
        }
    }

    /// One token; with `{` everything to its `}`.
    fn skip_token(&mut self) {
        let before = self.braces;
        self.advance();
        while self.braces > before && self.tok.tok != Tok::End {
            self.advance();
        }
    }

    /// After `no`.
    fn no_old(&mut self) -> Parsed<Node> {
        for (word, kind) in [
            ("nat", TranslationKind::Nat),
            ("rdr", TranslationKind::Rdr),
            ("binat", TranslationKind::Binat),
        ] {
            if self.take(word) {
                return self.translation(kind, true);
            }
        }
        if self.take("scrub") {
            return self.scrub(true);
        }
        Err(self.unexpected_word(&["nat", "rdr", "binat", "scrub"]))
    }

    fn translation(&mut self, kind: TranslationKind, no: bool) -> Parsed<Node> {
        let pass = self.take("pass");
        if no && pass {
            let text = "\"pass\" not valid with \"no\"";
            return Err(self.fail(self.last, "translation", text));
        }
        // `log` without `pass` is FreeBSD's, after `no` too.
        let log = match self.at("log") {
            true => Some(self.log()?),
            false => None,
        };
        let head = Head {
            log,
            ..Head::default()
        };
        let head = self.head_after_quick(head)?;
        let (mut tag, mut tagged, mut rtable) = (None, None, None);
        loop {
            if self.take("tag") {
                tag = Some(self.tag()?);
            } else if self.take("tagged") {
                tagged = Some((self.tag()?, false));
            } else if self.take_char(b'!') {
                self.expect("tagged")?;
                tagged = Some((self.tag()?, true));
            } else if self.take("rtable") {
                rtable = Some(self.rtable()?);
            } else {
                break;
            }
        }
        let target = match self.tok.tok {
            Tok::Arrow => {
                self.advance();
                Some(self.redirect(self.last)?)
            }
            _ => None,
        };
        Ok(Node::Translation(Box::new(Translation {
            kind,
            no,
            pass,
            head,
            tag,
            tagged,
            rtable,
            target,
        })))
    }

    fn old_anchor(&mut self, kind: AnchorKind) -> Parsed<Node> {
        let name = self.name("the name of an anchor")?;
        let head = self.head()?;
        let opts = self.filter_opts(FilterOpts::default())?;
        Ok(Node::Anchor(Box::new(AnchorStmt {
            name: Some(name),
            head,
            opts,
            body: None,
            kind,
        })))
    }

    /// After `scrub` or `no scrub`.
    fn scrub(&mut self, no: bool) -> Parsed<Node> {
        let head = self.head()?;
        let mut stmt = ScrubStmt {
            no,
            head,
            opts: ScrubOpts::default(),
            set_tos: None,
            rtable: None,
            fragment: None,
            tag: None,
            tagged: None,
        };
        while !self.at_end() {
            self.old_scrub_opt(&mut stmt)?;
            self.take_char(b',');
        }
        if stmt.head.quick {
            let text = "scrub rules do not support 'quick'";
            return Err(self.fail(self.last, "scrub", text));
        }
        if stmt.opts.reassemble_tcp && stmt.head.direction.is_some() {
            let text = "reassemble tcp rules can not specify direction";
            return Err(self.fail(self.last, "scrub", text));
        }
        Ok(Node::Scrub(Box::new(stmt)))
    }

    fn old_scrub_opt(&mut self, stmt: &mut ScrubStmt) -> Parsed<()> {
        if self.take("set-tos") {
            let again = stmt.set_tos.is_some();
            stmt.set_tos = Some(self.tos()?);
            self.again("set-tos", again, self.last)?;
        } else if self.take("fragment") {
            stmt.fragment = Some(self.fragment_kind()?);
        } else if self.take("tag") {
            stmt.tag = Some(self.tag()?);
        } else if self.take("tagged") {
            stmt.tagged = Some((self.tag()?, false));
        } else if self.take_char(b'!') {
            self.expect("tagged")?;
            stmt.tagged = Some((self.tag()?, true));
        } else if self.take("rtable") {
            stmt.rtable = Some(self.rtable()?);
        } else {
            self.scrub_opt(&mut stmt.opts)?;
        }
        Ok(())
    }

    fn fragment_kind(&mut self) -> Parsed<&'static str> {
        for word in ["reassemble", "crop", "drop-ovl"] {
            if self.take(word) {
                return Ok(word);
            }
        }
        if self.take("no") {
            self.expect("reassemble")?;
            return Ok("no reassemble");
        }
        Err(self.unexpected_word(&["reassemble", "crop", "drop-ovl", "no"]))
    }
}
