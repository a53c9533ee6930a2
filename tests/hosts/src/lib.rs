//! Real Linux hosts for tests of the whole product: network namespaces, the programs that run in them, servers on them.
//!
//! Owns what is made and its clean end: a value that goes away ends only the programs it started and deletes only the
//! namespaces it made, also when a test panics. Knows nothing of what stands between the hosts: a virtual machine
//! (`tests/vm`) or the plain program (`tests/net`).
//!
//! Read first: ip-netns(8).

#![forbid(unsafe_code)]

pub mod access;
pub mod lookup;
mod namespace;
pub mod scratch;
pub mod service;
pub mod stream;
mod tool;

pub use namespace::{Namespace, Output, Running, sweep};
pub use tool::{fuguctl, fuguctl_path};

use std::fmt;
use std::path::{Path, PathBuf};

/// What went wrong, for the person who reads the test's output.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Shorthand of the tests.
pub type Result<T> = std::result::Result<T, Failure>;

/// Adds "what was tried" to an error.
pub trait Context<T> {
    /// The error becomes `what: error`.
    ///
    /// # Errors
    /// The one it was called on.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The first of these programs that is not installed.
#[must_use]
pub fn missing_program<'a>(names: &[&'a str]) -> Option<&'a str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    names.iter().copied().find(|name| !there(name))
}

/// The last line that says something.
#[must_use]
pub fn last_line(text: &str) -> String {
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Several lines as one.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
