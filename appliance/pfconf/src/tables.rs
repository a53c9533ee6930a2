//! `table <name> …`, and the files that fill tables. Read first: pf.conf(5), TABLES.

use crate::ast::{self, HostKind, TableDef, TableSource, Text};
use crate::build::Builder;
use crate::policy::{Host, Table};
use crate::print::print_table_entry;
use crate::resolve::{Reported, Resolved};
use crate::source::Span;

/// Most bytes of a table file.
const FILE_BYTES_MAX: usize = 256 << 20;

impl Builder<'_> {
    pub(crate) fn table(&mut self, def: &TableDef) -> Resolved<()> {
        let mut table = Table {
            name: def.name.text.clone(),
            anchor: self.anchor_path.clone(),
            constant: def.constant,
            persist: def.persist,
            counters: def.counters,
            entries: Vec::new(),
            keeps_contents: def.sources.is_empty(),
            span: def.name.span,
        };
        let mut text = String::new();
        // Lists next to each other are one list; an empty one shows only if there is nothing else.
        let mut open = false;
        for source in &def.sources {
            match source {
                TableSource::File(file) => {
                    table.entries.extend(self.table_file(file)?);
                    text += if std::mem::take(&mut open) { " }" } else { "" };
                    text += &format!(" file \"{}\"", file.text);
                }
                TableSource::List(hosts) if hosts.is_empty() => {}
                TableSource::List(hosts) => {
                    self.check_table_hosts(hosts)?;
                    let hosts = self.hosts(hosts)?;
                    text += if std::mem::replace(&mut open, true) {
                        ""
                    } else {
                        " {"
                    };
                    text.extend(hosts.iter().map(print_table_entry));
                    table.entries.extend(hosts);
                }
            }
        }
        text += if open { " }" } else { "" };
        if text.is_empty() && !def.sources.is_empty() {
            text += " { }";
        }
        self.output += &format!("table <{}>{}{text}\n", table.name, flags_text(&table));
        self.put_table(table);
        Ok(())
    }

    /// Only what is an address now can be in a table.
    fn check_table_hosts(&mut self, hosts: &[ast::Host]) -> Resolved<()> {
        for host in hosts {
            let text = match host.kind {
                HostKind::Name { .. } => continue,
                HostKind::Range { .. } => "address ranges are not permitted inside tables",
                HostKind::Dynamic { .. } | HostKind::Via { .. } => {
                    "dynamic addresses are not permitted inside tables"
                }
                HostKind::Table(_) => "tables cannot contain tables",
                HostKind::NoRoute => "\"no-route\" is not permitted inside tables",
                HostKind::UrpfFailed => "\"urpf-failed\" is not permitted inside tables",
                HostKind::RouteLabel(_) => "route labels are not permitted inside tables",
            };
            return Err(self.fail(host.span, "table-entry", text));
        }
        Ok(())
    }

    /// One entry per word; `#` comments; `!` before an entry negates.
    fn table_file(&mut self, file: &Text) -> Resolved<Vec<Host>> {
        let Some(bytes) = self.files.read(&file.text) else {
            let text = format!("cannot load \"{}\": No such file or directory", file.text);
            return Err(self.fail(file.span, "table-file", text));
        };
        if bytes.len() > FILE_BYTES_MAX {
            let text = format!("cannot load \"{}\": File too large", file.text);
            return Err(self.fail(file.span, "table-file", text));
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut entries = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or(line);
            let mut not = false;
            for word in line.split_ascii_whitespace() {
                let bare = word.trim_start_matches('!');
                not |= bare.len() != word.len();
                if bare.is_empty() {
                    continue;
                }
                match self.table_word(bare, file.span) {
                    Some(hosts) => entries.extend(hosts.into_iter().map(|h| Host { not, ..h })),
                    None => return Err(self.bad_table_file(file, n + 1, bare)),
                }
                not = false;
            }
        }
        Ok(entries)
    }

    fn table_word(&mut self, word: &str, span: Span) -> Option<Vec<Host>> {
        let (text, bits) = match word.split_once('/') {
            Some((text, bits)) => (text, Some(bits.parse::<u8>().ok()?)),
            None => (word, None),
        };
        if let Some(found) = crate::resolve::literal(text, bits) {
            return Some(vec![found]);
        }
        // Interfaces and host names; what goes wrong is said by the caller.
        let before = self.messages.mark();
        let host = ast::Host {
            kind: HostKind::Name {
                text: text.into(),
                bits: bits.map(i64::from),
            },
            not: false,
            weight: 0,
            span,
        };
        let found = self.host(&host).ok();
        if found.is_none() {
            self.messages.forget_since(before);
        }
        found
    }

    fn bad_table_file(&mut self, file: &Text, line: usize, word: &str) -> Reported {
        let text = format!("file \"{}\" contains bad data", file.text);
        let hint = format!("line {line}: '{word}' is no address, interface or known host");
        self.fail_hint(file.span, "table-file", text, Some(hint))
    }

    /// A rule names a table: it exists from now on, empty if nobody declared it. What an anchor names and does not
    /// declare is the main ruleset's.
    pub(crate) fn mention_table(&mut self, name: &str, span: Span) {
        if self.table_named(name).is_some() {
            return;
        }
        self.put_table(Table {
            name: name.into(),
            anchor: String::new(),
            constant: false,
            persist: false,
            counters: false,
            entries: Vec::new(),
            keeps_contents: true,
            span,
        });
    }
}

/// ` const persist counters`, as far as they are set.
pub(crate) fn flags_text(table: &Table) -> String {
    let mut text = String::new();
    for (set, word) in [
        (table.constant, " const"),
        (table.persist, " persist"),
        (table.counters, " counters"),
    ] {
        if set {
            text += word;
        }
    }
    text
}

/// ` { 10.0.0.1 !10.0.0.2 }`
pub(crate) fn list_text(hosts: &[Host]) -> String {
    let entries: String = hosts.iter().map(print_table_entry).collect();
    format!(" {{{entries} }}")
}
