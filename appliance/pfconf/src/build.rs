//! Statements to policy, in the order of the file: options take effect on what stands below them, as in PF.

use std::collections::HashMap;

use crate::ast::{Node, StateOpt, Stmt};
use crate::dialect;
use crate::environment::Known;
use crate::message::Messages;
use crate::policy::{Rule, Table};
use crate::settings::Settings;
use crate::source::Span;
use crate::{Files, Options};

/// Most rules of a compilation, anchors included.
pub(crate) const RULES_MAX: usize = 500_000;

/// Most combinations of list items that a compilation tries.
pub(crate) const COMBINATIONS_MAX: usize = 8_000_000;

/// `load anchor path from "file"`
#[derive(Clone, Debug)]
pub(crate) struct AnchorLoad {
    /// Absolute, without a slash in front.
    pub(crate) path: String,
    pub(crate) file: crate::ast::Text,
    pub(crate) line: u32,
}

/// Everything that the statements have built so far.
pub(crate) struct Builder<'a> {
    pub(crate) known: Known<'a>,
    pub(crate) messages: &'a mut Messages,
    pub(crate) files: &'a dyn Files,
    /// Line at which pfctl places errors of meaning of the current statement.
    pub(crate) line: u32,
    pub(crate) settings: Settings,
    pub(crate) state_defaults: Option<Vec<StateOpt>>,
    pub(crate) tables: Vec<Table>,
    /// By anchor and name.
    table_index: HashMap<(String, String), usize>,
    /// Rules of the main ruleset, and of each anchor that is being built.
    pub(crate) rulesets: Vec<Vec<Rule>>,
    pub(crate) rules_count: usize,
    pub(crate) combinations: usize,
    pub(crate) automatic_tables: usize,
    /// An `altq` line has been refused: what names its queues is not wrong for that.
    pub(crate) altq: bool,
    pub(crate) queues: crate::queues::Queues,
    pub(crate) limiters: crate::limiters::Limiters,
    /// Loaded after the main ruleset.
    pub(crate) anchor_loads: Vec<AnchorLoad>,
    /// Rules of the files of `load anchor` and of [`crate::Options::anchors`], by path.
    pub(crate) loaded: Vec<(String, Vec<Rule>)>,
    /// Path of the anchor whose statements are being read; empty for the main ruleset.
    pub(crate) anchor_path: String,
    /// Anchors in braces so far: those without a name are called by this number.
    pub(crate) brace_anchors: u32,
    /// What `pfctl -v` prints while it reads: macros, options, tables.
    pub(crate) output: String,
    /// A bound of the compilation was passed, and that has been said.
    pub(crate) failed: bool,
    /// A rule of the old dialect is being built: its lists of targets stay lists.
    pub(crate) old_translation: bool,
    /// The tree is FreeBSD's, or a statement was that only FreeBSD has.
    pub(crate) freebsd: bool,
    /// Key of `source-hash` where the file gives none.
    pub(crate) random_key: [u32; 4],
    pub(crate) bounds: crate::Bounds,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(
        known: Known<'a>,
        messages: &'a mut Messages,
        files: &'a dyn Files,
        options: &Options,
    ) -> Self {
        Builder {
            freebsd: known.env.freebsd,
            known,
            messages,
            files,
            line: 0,
            settings: Settings::default(),
            state_defaults: None,
            tables: Vec::new(),
            table_index: HashMap::new(),
            rulesets: vec![Vec::new()],
            rules_count: 0,
            combinations: 0,
            automatic_tables: 0,
            altq: false,
            queues: crate::queues::Queues::default(),
            limiters: crate::limiters::Limiters::default(),
            anchor_loads: Vec::new(),
            loaded: Vec::new(),
            anchor_path: String::new(),
            brace_anchors: 0,
            output: String::new(),
            failed: false,
            old_translation: false,
            random_key: options.random_key,
            bounds: options.bounds,
        }
    }

    /// Takes in one statement. What is wrong has been said when this returns.
    pub(crate) fn statement(&mut self, stmt: &Stmt) {
        self.line = stmt.line;
        self.freebsd |= dialect::is_freebsd(&stmt.node);
        // The error has been said; the statement is left out.
        let _said: Result<(), crate::resolve::Reported> = match &stmt.node {
            Node::Macro { name, value } => {
                self.output += &format!("{} = {}\n", name.text, crate::print::quoted(value));
                Ok(())
            }
            Node::Set(option) => self.set(option, stmt.span),
            Node::Table(table) => self.table(table),
            Node::Rule(rule) => self.rule(rule, stmt.span),
            Node::Anchor(anchor) => self.anchor(anchor, stmt),
            Node::LoadAnchor { name, file } => {
                self.load_anchor(name, file);
                Ok(())
            }
            Node::Antispoof(antispoof) => self.antispoof(antispoof, stmt.span),
            Node::Queue(queue) => self.queue(queue, stmt.span),
            Node::StateLimiter(limiter) => self.state_limiter(limiter, stmt.span),
            Node::SourceLimiter(limiter) => self.source_limiter(limiter, stmt.span),
            Node::Translation(t) => self.translation(t, stmt.span),
            Node::Ether(ether) => self.ether_rule(ether, stmt),
            Node::Scrub(scrub) => self.scrub_rule(scrub, stmt.span),
            Node::Altq { on, bandwidth } => {
                self.refused_altq(on.as_deref(), bandwidth.as_deref(), stmt.span);
                Ok(())
            }
            // One cause, one message: its `altq` line has been refused.
            Node::AltqQueue => Ok(()),
        };
    }

    /// A path is relative to the anchor whose file names it.
    fn load_anchor(&mut self, name: &crate::ast::Text, file: &crate::ast::Text) {
        let path = self.anchor_named(&name.text);
        self.anchor_loads.push(AnchorLoad {
            path,
            file: file.clone(),
            line: self.line,
        });
    }

    /// Names the queues of today that do the same.
    fn refused_altq(&mut self, on: Option<&str>, bandwidth: Option<&str>, span: Span) {
        self.altq = true;
        let (on, bandwidth) = (on.unwrap_or("IF"), bandwidth.unwrap_or("N"));
        let text = format!(
            "altq is not supported: write 'queue root on {on} bandwidth {bandwidth}' and each of its queues as \
             'queue NAME parent root bandwidth N' (HFSC)"
        );
        self.fail(span, "unsupported", text);
    }

    /// Appends rules to the ruleset that is being built.
    pub(crate) fn append(&mut self, mut rules: Vec<Rule>) {
        self.rules_count += rules.len();
        for rule in &mut rules {
            rule.label.take_if(|label| label.is_empty());
            rule.more_labels.retain(|label| !label.is_empty());
        }
        match self.rulesets.last_mut() {
            // A single list can make all the rules there are: they stay where they are.
            Some(all) if all.is_empty() => *all = rules,
            Some(all) => all.append(&mut rules),
            None => {}
        }
    }

    pub(crate) fn table_named(&self, name: &str) -> Option<&Table> {
        let of = |anchor: &str| self.table_index.get(&(anchor.into(), name.into()));
        let n = of(&self.anchor_path).or_else(|| of(""))?;
        self.tables.get(*n)
    }

    /// Adds a table or replaces the one of the same anchor and name.
    pub(crate) fn put_table(&mut self, table: Table) {
        let key = (table.anchor.clone(), table.name.clone());
        match self.table_index.get(&key) {
            Some(n) => self.tables[*n] = table,
            None => {
                self.table_index.insert(key, self.tables.len());
                self.tables.push(table);
            }
        }
    }

    /// The tables of an anchor are taken back; those of anchors in it stay.
    pub(crate) fn forget_tables(&mut self, anchor: &str) {
        if anchor.is_empty() {
            return;
        }
        self.tables.retain(|table| table.anchor != anchor);
        let numbered = self.tables.iter().enumerate();
        self.table_index = numbered
            .map(|(n, table)| ((table.anchor.clone(), table.name.clone()), n))
            .collect();
    }

    /// Path of an anchor that is named in the present one. `..` is the anchor around.
    pub(crate) fn anchor_named(&self, name: &str) -> String {
        if let Some(absolute) = name.strip_prefix('/') {
            return absolute.trim_end_matches('/').into();
        }
        let mut path: Vec<&str> = self.anchor_path.split('/').collect();
        path.retain(|part| !part.is_empty());
        for part in name.split('/').filter(|part| !part.is_empty()) {
            match part {
                ".." => drop(path.pop()),
                part => path.push(part),
            }
        }
        path.join("/")
    }
}
