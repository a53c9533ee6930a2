//! Owns a directory for sockets, disks and logs of one test, and its removal.

use crate::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Distinguishes several of one process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Names what belongs to this process, short enough for a network device (15 characters).
#[must_use]
pub fn unique(prefix: &str) -> String {
    format!(
        "{prefix}{:x}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A directory that goes away with this value.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one under the system's temporary directory.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(unique("fugu-vm-"));
        std::fs::create_dir_all(&path).context(path.display())?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A name in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the temporary directory; a test's verdict does not depend on it.
        drop(std::fs::remove_dir_all(&self.path));
    }
}
