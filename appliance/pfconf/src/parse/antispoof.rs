//! `antispoof log quick for { em0, (em1) } inet label "x"`

use super::{Parsed, Parser};
use crate::ast::{Antispoof, IfItem, IfKind, Node};

impl Parser<'_> {
    pub(super) fn antispoof(&mut self) -> Parsed<Node> {
        self.expect("antispoof")?;
        let (log, quick) = self.log_quick()?;
        self.expect("for")?;
        let interfaces = self.one_or_list(Self::antispoof_interface)?;
        let af = self.opt_af();
        let (mut label, mut more_labels) = (None, Vec::new());
        let (mut rtable, mut ridentifier) = (None, None);
        while !self.at_end() {
            if self.take("label") {
                self.label_opt(&mut label, &mut more_labels)?;
            } else if self.take("ridentifier") {
                let start = self.last;
                let n = self.number_u32("a rule identifier")?;
                ridentifier = Some((n, start.to(self.last)));
            } else if self.take("rtable") {
                rtable = Some(self.rtable()?);
            } else {
                return Err(self.unexpected_word(&["label", "rtable"]));
            }
        }
        Ok(Node::Antispoof(Antispoof {
            log,
            quick,
            interfaces,
            af,
            label,
            more_labels,
            ridentifier,
            rtable,
        }))
    }

    fn antispoof_interface(&mut self) -> Parsed<IfItem> {
        let start = self.tok.span;
        if self.at_char(b'!') {
            return Err(self.unexpected("'antispoof for' cannot be negated"));
        }
        let kind = if self.take_char(b'(') {
            let name = self.interface_name()?;
            self.expect_char(b')')?;
            IfKind::Dynamic(name)
        } else {
            IfKind::Name(self.interface_name()?)
        };
        Ok(IfItem {
            kind,
            not: false,
            span: start.to(self.last),
        })
    }
}
