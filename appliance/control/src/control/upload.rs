//! A bundle that somebody brings: who, opened, checked, stored, published. What fails before the last step changes nothing.
//! Knows what is proof and nothing of how it came.

use bundle::replay::{self, Admission};
use bundle::signature::{self, SignatureError, Verified};
use bundle::{Bundle, Date};
use pfconf::diag::Diagnostic;

use super::{Control, Running};
use crate::api::{Applied, Proof, Refused};
use crate::token::hex;

impl Control {
    pub(crate) fn apply(&mut self, bytes: &[u8], proof: &Proof) -> Result<Applied, Refused> {
        let outcome = self.try_apply(bytes, proof);
        match &outcome {
            Ok(_) => self.uploads_accepted += 1,
            Err(_) => self.uploads_refused += 1,
        }
        outcome
    }

    fn try_apply(&mut self, bytes: &[u8], proof: &Proof) -> Result<Applied, Refused> {
        let max = self.bundle_bytes_max();
        if bytes.len() > max {
            let text = format!(
                "{} bytes, but a bundle may have at most {max} on this box",
                bytes.len()
            );
            return Err(Refused::TooLarge(text));
        }
        let verified = self.authenticate(bytes, proof)?;
        let digest = bundle::digest_of(bytes);
        let same = self.running.as_ref().is_some_and(|r| r.digest == digest);
        if same && self.changes.is_empty() {
            return Ok(self.applied(digest, false, Vec::new()));
        }
        if let Some(verified) = verified.as_ref().filter(|_| *proof == Proof::Signature) {
            self.admit(verified, &digest)?;
        }
        let opened = open(bytes, &self.bundle_limits)?;
        self.fold_tables();
        // What was typed since goes, but only if the bundle is good.
        let typed = std::mem::take(&mut self.changes);
        let checked = self.check_with_anchors(&opened.files);
        if checked.is_err() {
            self.changes.clone_from(&typed);
        }
        let (candidate, anchors) = checked.map_err(Refused::Invalid)?;
        if let Err(text) = self.store.store_bundle(bytes) {
            self.changes = typed;
            let text = format!("the bundle cannot be stored: {text}");
            return Err(Refused::Failed(text));
        }
        let warnings = candidate.warnings.clone();
        self.publish(candidate);
        self.anchors = anchors;
        let origin = origin(proof, verified.as_ref());
        // What comes over the network is logged there, with the address it came from.
        if *proof == Proof::Console {
            log::info!("generation {}: {}", self.generation(), digest_text(&digest));
        }
        self.running = Some(Running {
            digest,
            origin,
            files: opened.files,
        });
        self.raise_floor(verified.map(|v| v.date));
        Ok(self.applied(digest, true, warnings))
    }

    pub(crate) fn applied(
        &self,
        digest: [u8; 32],
        changed: bool,
        warnings: Vec<Diagnostic>,
    ) -> Applied {
        Applied {
            generation: self.generation(),
            digest: digest_text(&digest),
            changed,
            warnings,
        }
    }

    /// Who sent it? A valid signature is noted even where something else is the proof.
    fn authenticate(&mut self, bytes: &[u8], proof: &Proof) -> Result<Option<Verified>, Refused> {
        let verified = signature::verify(bytes, &self.trusted());
        match proof {
            Proof::Console => Ok(verified.ok()),
            Proof::Bearer(token) if self.token_is_valid(token) => Ok(verified.ok()),
            Proof::Bearer(_) => Err(Refused::Unauthorized("the token is not valid".into())),
            Proof::Signature => verified.map(Some).map_err(|error| {
                let text = match error {
                    SignatureError::Unsigned => "neither a token nor a signature".to_string(),
                    other => other.to_string(),
                };
                Refused::Unauthorized(text)
            }),
        }
    }

    fn admit(&self, verified: &Verified, digest: &[u8; 32]) -> Result<(), Refused> {
        let running = self.running.as_ref().map(|r| &r.digest);
        match replay::admit(verified.date, digest, self.stored.floor, running) {
            Ok(Admission::New | Admission::NoChange) => Ok(()),
            Err(replay) => Err(Refused::Replayed(replay.to_string())),
        }
    }

    fn raise_floor(&mut self, date: Option<Date>) {
        if date <= self.stored.floor {
            return;
        }
        self.stored.floor = date;
        self.stored.forgiven = None;
        // Should this fail, the next start derives the floor from the stored bundle.
        if let Err(error) = self.keep_settings() {
            log::warn!("{error}");
        }
    }

    pub(crate) fn token_is_valid(&mut self, token: &str) -> bool {
        let hashes = self.stored.token.iter().chain(&self.given.token);
        self.memo.matches(token, hashes)
    }

    pub(crate) fn trusted(&self) -> Vec<signature::PublicKey> {
        let mut keys = self.stored.keys.clone();
        keys.extend(
            self.given
                .keys
                .iter()
                .filter(|k| !self.stored.keys.contains(k))
                .cloned(),
        );
        keys
    }
}

pub(super) fn open(bytes: &[u8], limits: &bundle::Limits) -> Result<Bundle, Refused> {
    Bundle::open(bytes, limits).map_err(|refused| {
        if refused.why.code() == "bundle-too-large" {
            return Refused::TooLarge(refused.to_string());
        }
        let file = refused.entry.as_deref().unwrap_or("bundle");
        Refused::Invalid(vec![Diagnostic::whole_file(
            refused.why.code(),
            file,
            refused.why.to_string(),
        )])
    })
}

pub(crate) fn digest_text(digest: &[u8; 32]) -> String {
    format!("sha256:{}", hex(digest))
}

fn origin(proof: &Proof, verified: Option<&Verified>) -> String {
    match (proof, verified) {
        (Proof::Signature, Some(verified)) => format!("signify:{}", verified.key_id),
        (Proof::Console, _) => "console".into(),
        _ => "token".into(),
    }
}
