//! Macros: names for pieces of text. The text is lexed anew at each use, so it can hold any tokens, a `#` that
//! comments out the rest of the line included; a `$` inside it is not expanded again (pf.conf(5), MACROS).

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::message::Messages;
use crate::near::nearest;

/// What the names stand for at this point of the file; the last definition above a use counts.
#[derive(Debug, Default)]
pub(crate) struct Macros {
    values: HashMap<String, Macro>,
    definitions: usize,
}

#[derive(Debug)]
struct Macro {
    text: Rc<str>,
    /// Given on the command line (`-D`): the file cannot change it.
    fixed: bool,
    /// Its definition is the so-manieth.
    number: usize,
    used: Cell<bool>,
}

impl Macros {
    pub(crate) fn define(&mut self, name: &str, text: &str) {
        match self.values.get(name) {
            Some(old) if old.fixed => {}
            _ => self.insert(name, text, false),
        }
    }

    pub(crate) fn fix(&mut self, name: &str, text: &str) {
        self.insert(name, text, true);
    }

    fn insert(&mut self, name: &str, text: &str, fixed: bool) {
        self.definitions += 1;
        let value = Macro {
            text: text.into(),
            fixed,
            number: self.definitions,
            used: Cell::new(false),
        };
        self.values.insert(name.into(), value);
    }

    /// The text of a macro, which is used by that.
    pub(crate) fn value(&self, name: &str) -> Option<Rc<str>> {
        let found = self.values.get(name)?;
        found.used.set(true);
        Some(found.text.clone())
    }

    /// What `pfctl -vv` says at the end of a file.
    pub(crate) fn unused(&self) -> String {
        let all = self.values.iter().filter(|(_, m)| !m.used.get());
        let mut unused: Vec<(usize, &str)> =
            all.map(|(name, m)| (m.number, name.as_str())).collect();
        unused.sort_unstable();
        let line = |(_, name): &(usize, &str)| format!("warning: macro '{name}' not used\n");
        unused.iter().map(line).collect()
    }

    /// A hint for a name that nobody defined.
    pub(crate) fn near(&self, name: &str, messages: &Messages) -> Option<String> {
        if !messages.want_hints() {
            return None;
        }
        let mut names: Vec<&str> = self.values.keys().map(String::as_str).collect();
        names.sort_unstable();
        nearest(name, names).map(|n| format!("did you mean '${n}'?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_macros_are_named_in_the_order_of_their_definitions() {
        let mut m = Macros::default();
        for name in ["b", "a", "c"] {
            m.define(name, "1");
        }
        m.define("b", "2");
        assert_eq!(m.value("c").as_deref(), Some("1"));
        let want = "warning: macro 'a' not used\nwarning: macro 'b' not used\n";
        assert_eq!(m.unused(), want);
    }

    #[test]
    fn the_last_definition_counts_unless_the_command_line_gave_one() {
        let mut m = Macros::default();
        m.define("a", "1");
        m.define("a", "2");
        assert_eq!(m.value("a").as_deref(), Some("2"));
        m.fix("a", "3");
        m.define("a", "4");
        assert_eq!(m.value("a").as_deref(), Some("3"));
    }
}
