//! `anchor … { … }`, `load anchor`, and the anchors of the old dialect.

use super::statement::Scope;
use super::{Parsed, Parser};
use crate::ast::{AnchorKind, AnchorStmt, FilterOpts, Head, KeepKind, Node, Stmt, Text};
use crate::lex::Tok;

/// Longest path of an anchor.
pub(crate) const ANCHOR_PATH_MAX: usize = 1023;

/// Longest component of such a path.
const ANCHOR_NAME_MAX: usize = 63;

impl Parser<'_> {
    pub(super) fn anchor(&mut self) -> Parsed<Node> {
        self.expect("anchor")?;
        let name = self.opt_anchor_name()?;
        let mut head = Head {
            direction: self.opt_direction(),
            ..Head::default()
        };
        head.quick = self.take("quick");
        let head = self.head_after_quick(head)?;
        let opts = self.filter_opts(FilterOpts::default())?;
        let body = match self.at_char(b'{') {
            true => Some(self.anchor_body()?),
            false => None,
        };
        self.check_anchor(name.as_ref(), &opts, body.is_some())?;
        Ok(Node::Anchor(Box::new(AnchorStmt {
            name,
            head,
            opts,
            body,
            kind: AnchorKind::Filter,
        })))
    }

    pub(super) fn check_anchor(
        &mut self,
        name: Option<&Text>,
        opts: &FilterOpts,
        inline: bool,
    ) -> Parsed<()> {
        if name.is_none() && !inline {
            let text = "anchors without explicit rules must specify a name";
            return Err(self.fail(self.last, "anchor-name", text));
        }
        match name {
            Some(name) if inline && name.text.contains('/') => {
                let text = "anchor paths containing '/' cannot be used for inline anchors.";
                return Err(self.fail(name.span, "anchor-name", text));
            }
            Some(name) if name.text.ends_with('/') => {
                let text = format!("anchorrule: bad anchor name {}", name.text);
                return Err(self.fail(name.span, "anchor-name", text));
            }
            _ => {}
        }
        match &opts.keep {
            Some(keep) if keep.kind != KeepKind::No => {
                let text = "cannot specify state handling on anchors";
                Err(self.fail(keep.span, "anchor-option", text))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn opt_anchor_name(&mut self) -> Parsed<Option<Text>> {
        if self.tok.name().is_none() {
            return Ok(None);
        }
        let name = self.name("the name of an anchor")?;
        self.check_anchor_name(&name)?;
        Ok(Some(name))
    }

    fn check_anchor_name(&mut self, name: &Text) -> Parsed<()> {
        let text = if name.text.is_empty() {
            "anchor name must not be empty".into()
        } else if name.text.len() > ANCHOR_PATH_MAX {
            format!("anchor name is longer than {ANCHOR_PATH_MAX}")
        } else if name.text.starts_with('_') || name.text.contains("/_") {
            "anchor names beginning with '_' are reserved for internal use".into()
        } else if name
            .text
            .split('/')
            .any(|part| part.len() > ANCHOR_NAME_MAX)
        {
            "anchor name is too long".to_string()
        } else {
            return Ok(());
        };
        Err(self.fail(name.span, "anchor-name", text))
    }

    /// `{` line end, statements, `}`.
    pub(super) fn anchor_body(&mut self) -> Parsed<Vec<Stmt>> {
        if self.at_char(b'{') {
            self.advance();
        }
        let open = self.last;
        if self.tok.tok != Tok::Newline {
            return Err(self.unexpected("the rules of an anchor begin on the next line"));
        }
        self.nest()?;
        let files = self.include_depth();
        let body = self.anchor_statements(files);
        self.nesting -= 1;
        let Some(body) = body else {
            let hint = Some("the '{' of this anchor is never closed".into());
            return Err(self.fail_hint(open, "anchor-open", "syntax error", hint));
        };
        self.braces = 0;
        Ok(body)
    }

    /// Up to and with `}`; nothing if the file ends before.
    fn anchor_statements(&mut self, files: usize) -> Option<Vec<Stmt>> {
        let mut body = Vec::new();
        loop {
            match self.tok.tok {
                Tok::Newline => self.advance(),
                Tok::End if self.include_depth() > files => self.leave_file(),
                Tok::End => return None,
                Tok::Char(b'}') if self.include_depth() == files => {
                    self.advance();
                    return Some(body);
                }
                _ => body.extend(self.one(Scope::Anchor)),
            }
        }
    }

    /// `load anchor name from "file"`
    pub(super) fn load_anchor(&mut self) -> Parsed<Node> {
        self.expect("load")?;
        self.expect("anchor")?;
        let Some(name) = self.opt_anchor_name()? else {
            if !self.at("from") {
                return Err(self.unexpected("the name of an anchor"));
            }
            return Err(self.fail(self.tok.span, "anchor-name", "anchor name is missing"));
        };
        self.expect("from")?;
        let file = self.names("a file name in quotes")?;
        Ok(Node::LoadAnchor { name, file })
    }
}
