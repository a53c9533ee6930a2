//! `fuguctl bundle ...`: build, sign, verify, show.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bundle::signature::{self, SignatureError};
use bundle::{Bundle, Date, Limits, digest_of};
use serde_json::json;

use crate::print::{hex, printable};
use crate::{Failure, Output, files, keys};

/// Packs a directory.
pub(crate) fn build(tree: &Path, file: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let bytes = bundle::build(tree).map_err(|error| Failure::Trouble(error.to_string()))?;
    // What cannot be opened should not be handed out.
    let bundle = open(&bytes, tree)?;
    files::replace(file, &bytes)?;
    writeln!(
        output.out,
        "{}: {} files, {} bytes, sha256:{}",
        file.display(),
        bundle.files.len(),
        bytes.len(),
        hex(&bundle.digest)
    )?;
    Ok(())
}

/// Signs; `to` may be `file` itself.
pub(crate) fn sign(
    key: &Path,
    file: &Path,
    to: &Path,
    now: SystemTime,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let bytes = files::read(file)?;
    open(&bytes, file)?;
    let secret = keys::secret(key)?;
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let date = Date(seconds);
    // Only the name: directories of the workstation are nobody's business.
    let name = key.file_name().unwrap_or_default().to_string_lossy();
    let signed =
        signature::sign(&bytes, &secret, &name, date).map_err(|error| refused(file, &error))?;
    files::replace(to, &signed)?;
    writeln!(
        output.out,
        "{}: signed {date} by key {}, sha256:{}",
        to.display(),
        secret.id(),
        hex(&digest_of(&signed))
    )?;
    Ok(())
}

/// Checks the signature, then that the bundle opens.
pub(crate) fn verify(
    trusted: &[PathBuf],
    file: &Path,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let trusted = trusted
        .iter()
        .map(|path| keys::public(path))
        .collect::<Result<Vec<_>, _>>()?;
    let bytes = files::read(file)?;
    let verified = signature::verify(&bytes, &trusted).map_err(|error| refused(file, &error))?;
    let bundle = open(&bytes, file)?;
    writeln!(
        output.out,
        "{}: signed {} by key {} ({}), {} files",
        file.display(),
        verified.date,
        verified.key_id,
        printable(&verified.key_name),
        bundle.files.len()
    )?;
    Ok(())
}

/// Lists the files, and the signature as far as it can be told without a key.
pub(crate) fn show(file: &Path, json: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    let bytes = files::read(file)?;
    let bundle = open(&bytes, file)?;
    let digest = hex(&bundle.digest);
    let signer = match signature::verify(&bytes, &[]) {
        Err(SignatureError::UnknownKey(id)) => Some(id.to_string()),
        _ => None,
    };
    if json {
        let files: Vec<_> = bundle
            .files
            .iter()
            .map(|(name, contents)| json!({"name": name, "bytes": contents.len()}))
            .collect();
        let digest = format!("sha256:{digest}");
        let value = json!({"digest": digest, "bytes": bytes.len(), "key": signer, "files": files});
        writeln!(output.out, "{value:#}")?;
        return Ok(());
    }
    writeln!(output.out, "{} bytes, sha256:{digest}", bytes.len())?;
    match signer {
        Some(id) => writeln!(
            output.out,
            "says to be signed by key {id}; see bundle verify"
        )?,
        None => writeln!(output.out, "not signed")?,
    }
    for (name, contents) in &bundle.files {
        writeln!(output.out, "{:>9}  {name}", contents.len())?;
    }
    Ok(())
}

/// Opens with the appliance's own limits.
pub(crate) fn open(bytes: &[u8], path: &Path) -> Result<Bundle, Failure> {
    Bundle::open(bytes, &Limits::default()).map_err(|error| refused(path, &error))
}

fn refused(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::RefusedFor(format!("{}: {error}", path.display()))
}
