//! Macros: names for pieces of text. The text is lexed anew at each use, so it can hold any tokens, a `#` that
//! comments out the rest of the line included; a `$` inside it is not expanded again (pf.conf(5), MACROS).

use std::collections::HashMap;
use std::rc::Rc;

use crate::words::nearest;

/// What the names stand for at this point of the file; the last definition above a use counts.
#[derive(Debug, Default)]
pub(crate) struct Macros {
    values: HashMap<String, Macro>,
}

#[derive(Debug)]
struct Macro {
    text: Rc<str>,
    /// Given on the command line (`-D`): the file cannot change it.
    fixed: bool,
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
        let text = text.into();
        self.values.insert(name.into(), Macro { text, fixed });
    }

    pub(crate) fn value(&self, name: &str) -> Option<Rc<str>> {
        self.values.get(name).map(|m| m.text.clone())
    }

    /// A hint for a name that nobody defined.
    pub(crate) fn near(&self, name: &str) -> Option<String> {
        let mut names: Vec<&str> = self.values.keys().map(String::as_str).collect();
        names.sort_unstable();
        nearest(name, names).map(|n| format!("did you mean '${n}'?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
