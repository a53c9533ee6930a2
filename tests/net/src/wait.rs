//! Owns how tests wait: for a condition, with a deadline.

use crate::{Failure, Result};
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long anything may take that takes a moment: two cores may be shared with a compiler.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Asks until there is an answer.
///
/// # Errors
/// When there is none after [`PATIENCE`], or the question fails.
pub fn until<T>(what: impl Display, ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(PATIENCE, what, ask)
}

/// As [`until`], for what takes longer.
///
/// # Errors
/// When there is no answer after `patience`, or the question fails.
pub fn until_within<T>(
    patience: Duration,
    what: impl Display,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if started.elapsed() > patience {
            return Err(Failure(format!("not within {patience:?}: {what}")));
        }
        std::thread::sleep(LOOK);
    }
}
