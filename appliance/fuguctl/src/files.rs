//! Files of the workstation: read with a limit, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::Failure;

/// More than any bundle may have.
const READ_LIMIT: u64 = 256 << 20;

fn trouble(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::Trouble(format!("{}: {error}", path.display()))
}

/// The contents of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|error| trouble(path, error))?;
    let mut bytes = Vec::new();
    file.take(READ_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| trouble(path, error))?;
    if bytes.len() as u64 > READ_LIMIT {
        return Err(trouble(path, "the file is too large"));
    }
    Ok(bytes)
}

/// The bytes of a bundle: a file, or a directory packed on the way.
pub(crate) fn bundle(path: &Path) -> Result<Vec<u8>, Failure> {
    if path.is_dir() {
        return bundle::build(path).map_err(|error| Failure::Trouble(error.to_string()));
    }
    read(path)
}

/// Puts a file in place of another in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let beside: PathBuf = path.with_file_name(name);
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // It may not even exist; what went wrong first is what counts.
        fs::remove_file(&beside).unwrap_or_default();
        trouble(path, error)
    })
}

/// Writes a file that must not be there yet.
pub(crate) fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Failure> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| trouble(path, error))
}
