//! `table <name> const persist counters file "f" { … }`

use super::host::Hosts;
use super::{Parsed, Parser};
use crate::ast::{Host, Node, TableDef, TableSource, Text};

impl Parser<'_> {
    pub(super) fn table(&mut self) -> Parsed<Node> {
        self.expect("table")?;
        let (text, span) = self.table_name()?;
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
            let words = ["const", "persist", "counters", "file"];
            return Err(self.unexpected_word(&words));
        }
        Ok(())
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
            if let Hosts::Some(hosts) = self.hosts()? {
                all.extend(hosts);
            }
        }
    }
}
