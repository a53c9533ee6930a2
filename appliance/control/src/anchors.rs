//! Anchors edited at run time, without touching the main ruleset: `pfctl -a path -f -`, `PUT /v1/anchors/path`. The new
//! text is compiled together with the running files and published as a generation like any other, so counters and states
//! stay where they are; on an error nothing changes.
//!
//! What was edited is not stored: after a restart the box is what its bundle says. The next bundle leaves edited anchors
//! alone, as PF leaves named anchors alone when the main ruleset is loaded, unless the bundle has rules for them itself.

use std::collections::BTreeMap;

use pfconf::AnchorText;
use pfconf::diag::Diagnostic;

use crate::api::{Applied, Proof, Refused};
use crate::control::Control;
use crate::transaction::Candidate;

/// Texts by path.
pub(crate) type Texts = BTreeMap<String, Vec<u8>>;

/// Longest text of one anchor, in bytes.
const ANCHOR_BYTES_MAX: usize = 1 << 20;
/// Longest path, in characters (OpenBSD: MAXPATHLEN - 1).
const PATH_MAX: usize = 1023;
/// Longest name in it (PF_ANCHOR_NAME_SIZE - 1).
const NAME_MAX: usize = 63;

/// How messages call the text of an anchor.
fn name_of(path: &str) -> String {
    format!("anchor {path}")
}

/// A text for the compiler.
pub(crate) fn given((path, text): (&String, &Vec<u8>)) -> AnchorText {
    AnchorText {
        path: path.clone(),
        name: name_of(path),
        text: text.clone(),
    }
}

fn check_path(path: &str) -> Result<(), String> {
    let wrong = |part: &str| {
        part.is_empty()
            || part.len() > NAME_MAX
            || part.starts_with('_')
            || part == ".."
            || part.contains(|c: char| matches!(c, '*' | '@' | '"') || c.is_control())
    };
    if path.len() > PATH_MAX || path.split('/').any(wrong) {
        return Err(format!(
            "'{path}' is no path of an anchor that can be edited"
        ));
    }
    Ok(())
}

impl Control {
    /// Gives an anchor other rules; with none it gets those of the bundle back.
    pub(crate) fn change_anchor(
        &mut self,
        path: &str,
        text: Option<&[u8]>,
        proof: &Proof,
    ) -> Result<Applied, Refused> {
        if !self.may_edit(proof) {
            return Err(Refused::Unauthorized("the token is not valid".into()));
        }
        let refused = |text| {
            let file = name_of(path);
            Refused::Invalid(vec![Diagnostic::whole_file("anchor-name", &file, text)])
        };
        check_path(path).map_err(refused)?;
        if text.is_some_and(|text| text.len() > ANCHOR_BYTES_MAX) {
            let text = format!("an anchor may have {ANCHOR_BYTES_MAX} bytes of rules");
            return Err(Refused::TooLarge(text));
        }
        let mut anchors = self.anchors.clone();
        match text {
            Some(text) => anchors.insert(path.into(), text.to_vec()),
            None => anchors.remove(path),
        };
        let digest = self.running.as_ref().map(|r| r.digest);
        let digest = digest.unwrap_or_default();
        if anchors == self.anchors {
            return Ok(self.applied(digest, false, Vec::new()));
        }
        self.fold_tables();
        let candidate = self.check_running(&anchors).map_err(Refused::Invalid)?;
        if text == Some(&[]) && !candidate.passed_over.iter().any(|p| p == path) {
            // Empty, and nothing that it takes the place of: as if it had never been edited.
            anchors.remove(path);
        }
        let is_about = |d: &&Diagnostic| d.file == name_of(path);
        let warnings = candidate.warnings.iter().filter(is_about);
        let warnings = warnings.cloned().collect();
        self.publish(candidate);
        self.anchors = anchors;
        log::info!("anchor {path} edited: generation {}", self.generation());
        Ok(self.applied(digest, true, warnings))
    }

    pub(crate) fn may_edit(&mut self, proof: &Proof) -> bool {
        match proof {
            Proof::Console => true,
            Proof::Bearer(token) => self.token_is_valid(token),
            Proof::Signature => false,
        }
    }

    /// The running files with these anchors.
    pub(crate) fn check_running(&self, anchors: &Texts) -> Result<Candidate, Vec<Diagnostic>> {
        self.check(&self.running_files(), anchors, self.running.is_some())
    }

    /// Checks a new bundle together with the anchors that were edited. Those that it has rules for are its own from now
    /// on; those that do not go with it are dropped: what was typed at a console must not keep a bundle out.
    pub(crate) fn check_with_anchors(
        &self,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(Candidate, Texts), Vec<Diagnostic>> {
        let mut anchors = self.anchors.clone();
        loop {
            let before = anchors.len();
            let checked = self.check(files, &anchors, true);
            match &checked {
                Ok(candidate) => anchors.retain(|path, _| !candidate.passed_over.contains(path)),
                Err(diagnostics) => anchors.retain(|path, _| {
                    let file = name_of(path);
                    let is_wrong = diagnostics.iter().any(|d| d.file == file);
                    if is_wrong {
                        log::warn!("{file}: does not go with the new bundle, and is dropped");
                    }
                    !is_wrong
                }),
            }
            if anchors.len() == before {
                return checked.map(|candidate| (candidate, anchors));
            }
        }
    }
}
