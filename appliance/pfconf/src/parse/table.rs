//! `table <name> const persist counters file "f" { … }`

use super::host::TABLE_NAME_MAX;
use super::{Parsed, Parser, Reported};
use crate::ast::{Host, Node, TableDef, TableSource, Text};

impl Parser<'_> {
    pub(super) fn table(&mut self) -> Parsed<Node> {
        self.expect("table")?;
        let (text, span) = self.bracketed()?;
        let mut table = TableDef {
            name: Text { text, span },
            constant: false,
            persist: false,
            counters: false,
            sources: Vec::new(),
        };
        while !self.at_end() {
            self.table_opt(&mut table)?;
        }
        if table.name.text.len() > TABLE_NAME_MAX {
            let text = format!("table name too long, max {TABLE_NAME_MAX} chars");
            return Err(self.fail(span, "table-name", text));
        }
        Ok(Node::Table(table))
    }

    fn table_opt(&mut self, table: &mut TableDef) -> Parsed<()> {
        if self.at_char(b'{') {
            let hosts = self.table_hosts()?;
            table.sources.push(TableSource::List(hosts));
        } else if self.take("const") {
            table.constant = true;
        } else if self.take("persist") {
            table.persist = true;
        } else if self.take("counters") {
            table.counters = true;
        } else if self.take("file") {
            let file = self.name("a file name in quotes")?;
            table.sources.push(TableSource::File(file));
        } else {
            return Err(self.bad_table_opt());
        }
        Ok(())
    }

    fn bad_table_opt(&mut self) -> Reported {
        let words = ["const", "persist", "counters", "file"];
        let Some(word) = self.tok.name() else {
            return self.unexpected_word(&words);
        };
        let near = crate::near::nearest(word, words).map(|w| format!("did you mean '{w}'?"));
        let text = format!("invalid table option '{word}'");
        self.advance();
        self.fail_hint(self.last, "table-option", text, near)
    }

    /// `{ }` may be empty, unlike other lists.
    fn table_hosts(&mut self) -> Parsed<Vec<Host>> {
        self.expect_char(b'{')?;
        let mut all = Vec::new();
        loop {
            while self.tok.tok == crate::lex::Tok::Newline || self.at_char(b',') {
                self.advance();
            }
            if self.take_char(b'}') {
                return Ok(all);
            }
            all.extend(self.table_item()?);
        }
    }

    /// A host with an optional weight, or a list in braces.
    fn table_item(&mut self) -> Parsed<Vec<Host>> {
        if self.at_char(b'{') {
            self.nest()?;
            let lists = self.list(b'{', b'}', Self::table_item);
            self.nesting -= 1;
            return Ok(lists?.into_iter().flatten().collect());
        }
        if self.at("any") {
            return Err(self.unexpected("'any' cannot be in a table"));
        }
        let mut host = self.host(true)?;
        host.weight = self.opt_weight()?;
        Ok(vec![host])
    }
}
