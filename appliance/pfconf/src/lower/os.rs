//! `os "name"`: the list of signatures is read when the first rule asks, and names become numbers.

use ruleset::os::{Fingerprints, OsMatch};

use crate::Files;
use crate::diag::Severity;
use crate::lower::Lowering;
use crate::message::Message;
use crate::osfp::{DEFAULT_FILE, Library};
use crate::policy::Rule;
use crate::source::Span;

/// Problems of a list that are told one by one.
const PROBLEMS_MAX: usize = 10;

/// Where signatures come from, and those that have been read.
pub(super) struct Signatures<'a> {
    files: &'a dyn Files,
    /// What `set fingerprints` says.
    file: Option<(String, Span)>,
    library: Option<Library>,
}

impl<'a> Signatures<'a> {
    pub(super) fn new(files: &'a dyn Files, file: Option<(String, Span)>) -> Self {
        Signatures {
            files,
            file,
            library: None,
        }
    }
}

impl Lowering<'_> {
    /// What a rule asks of the sender's operating system.
    pub(super) fn os(&mut self, rule: &Rule) -> Option<OsMatch> {
        let name = rule.os.as_ref()?;
        let span = rule.places.of("os", rule.span);
        if self.signatures.library.is_none() {
            self.read_signatures(span);
        }
        let found = self.signatures.library.as_ref()?.lookup(name);
        if found.is_none() {
            self.error(
                span,
                "unknown-os",
                format!("unknown '{name}' OS fingerprint"),
            );
        }
        found
    }

    /// The signatures, if a rule has asked for any.
    pub(super) fn fingerprints(&mut self) -> Fingerprints {
        let library = self.signatures.library.take();
        library.map(|l| l.fingerprints).unwrap_or_default()
    }

    fn read_signatures(&mut self, span: Span) {
        let given = self.signatures.file.clone();
        let (name, span) = given.clone().unwrap_or((DEFAULT_FILE.into(), span));
        let library = match self.signatures.files.read(&name) {
            Some(bytes) => Library::parse(&String::from_utf8_lossy(&bytes)),
            None if given.is_none() => Library::built_in(),
            None => {
                self.error(span, "no-file", format!("{name}: no such file"));
                Library::built_in()
            }
        };
        for (line, problem) in library.problems.iter().take(PROBLEMS_MAX) {
            let text = format!("{name}:{line}: {problem}; the line is left out");
            self.messages
                .add(Message::error("fingerprint", span, text).severity(Severity::Warning));
        }
        self.signatures.library = Some(library);
    }
}
