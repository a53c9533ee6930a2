//! Owns how `fuguctl` is run on a host.

use crate::{Context, Namespace, Output, Result, repository};
use std::path::PathBuf;
use std::process::Stdio;

/// Where it is: built by `ci/build`, or what `FUGUCTL` names.
#[must_use]
pub fn fuguctl_path() -> PathBuf {
    let named = std::env::var_os("FUGUCTL").map(PathBuf::from);
    named.unwrap_or_else(|| repository().join("target/release/fuguctl"))
}

/// Runs `fuguctl` on `host` to its end, with a token in its environment.
///
/// # Errors
/// When it cannot be started; a refusal is in the output.
pub fn fuguctl(host: &Namespace, words: &[&str], token: Option<&str>) -> Result<Output> {
    let mut command = host.command(&fuguctl_path().display().to_string());
    command.args(words).env_remove("FUGU_TOKEN");
    if let Some(token) = token {
        command.env("FUGU_TOKEN", token);
    }
    let output = command.stdin(Stdio::null()).output().context("fuguctl")?;
    let text = [output.stdout, output.stderr].concat();
    Ok(Output {
        text: String::from_utf8_lossy(&text).trim().to_owned(),
        status: output.status.code(),
    })
}
