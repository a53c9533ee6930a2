//! An etc tree as a directory of a workstation. The only module of this crate that touches a file system; the appliance
//! has no use for it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::refused::{Refused, Why};
use crate::{Limits, pack, path};

/// Why a directory could not be made a bundle.
#[derive(Debug)]
pub enum TreeError {
    /// A file or directory could not be read.
    Io(PathBuf, io::Error),
    /// It could, but a bundle may not contain it.
    Refused(Refused),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TreeError::Io(path, error) => write!(f, "{}: {error}", path.display()),
            TreeError::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for TreeError {}

/// The bundle of a directory: the same bytes for the same files, whenever and wherever.
pub fn build(directory: &Path) -> Result<Vec<u8>, TreeError> {
    pack(&read(directory)?).map_err(TreeError::Refused)
}

/// The files of a directory by their path in the etc tree. `directory` is the tree or holds it as `etc`.
///
/// Names that begin with a dot are left out (`.git`, editors' files). Links are refused, as in a bundle.
pub fn read(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>, TreeError> {
    let mut walk = Walk {
        limits: Limits::default(),
        files: BTreeMap::new(),
        room: Limits::default().unpacked,
    };
    walk.directory(directory, "")?;
    Ok(walk.files)
}

struct Walk {
    limits: Limits,
    files: BTreeMap<String, Vec<u8>>,
    room: u64,
}

impl Walk {
    fn directory(&mut self, directory: &Path, prefix: &str) -> Result<(), TreeError> {
        let failed = |error| TreeError::Io(directory.to_path_buf(), error);
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let raw = name.to_string_lossy();
                return Err(refused(&raw, Why::NameNotUtf8));
            };
            if name.starts_with('.') {
                continue;
            }
            let inside = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                path::normalize(inside.as_bytes(), &self.limits)
                    .map_err(|why| refused(&inside, why))?;
                self.directory(&entry.path(), &format!("{inside}/"))?;
            } else if kind.is_file() {
                self.file(&entry.path(), &inside)?;
            } else {
                let what = if kind.is_symlink() {
                    "a symbolic link"
                } else {
                    "not a file"
                };
                return Err(refused(&inside, Why::Kind(what)));
            }
        }
        Ok(())
    }

    fn file(&mut self, on_disk: &Path, inside: &str) -> Result<(), TreeError> {
        let failed = |error| TreeError::Io(on_disk.to_path_buf(), error);
        let size = fs::metadata(on_disk).map_err(failed)?.len();
        let why = if size > self.limits.file {
            Some(Why::FileTooLarge {
                size,
                limit: self.limits.file,
            })
        } else if size > self.room {
            Some(Why::UnpackedTooLarge {
                limit: self.limits.unpacked,
            })
        } else if self.files.len() >= self.limits.entries {
            Some(Why::TooManyEntries {
                limit: self.limits.entries,
            })
        } else {
            None
        };
        if let Some(why) = why {
            return Err(refused(inside, why));
        }
        let name = path::normalize(inside.as_bytes(), &self.limits)
            .and_then(|name| name.ok_or(Why::OddName))
            .map_err(|why| refused(inside, why))?;
        self.room -= size;
        let contents = fs::read(on_disk).map_err(failed)?;
        match self.files.insert(name, contents) {
            Some(_) => Err(refused(inside, Why::Duplicate)),
            None => Ok(()),
        }
    }
}

fn refused(name: &str, why: Why) -> TreeError {
    TreeError::Refused(Refused::entry(name.as_bytes(), why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bundle;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("fugu-tree-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("etc/tables")).unwrap();
        path
    }

    #[test]
    fn a_directory_becomes_a_bundle_without_its_dot_files() {
        let dir = scratch("plain");
        fs::write(dir.join("etc/pf.conf"), "pass\n").unwrap();
        fs::write(dir.join("etc/tables/bad"), "192.0.2.1\n").unwrap();
        fs::write(dir.join("etc/.pf.conf.swp"), "junk").unwrap();
        let outer = build(&dir).unwrap();
        let inner = build(&dir.join("etc")).unwrap();
        assert_eq!(outer, inner);
        let bundle = Bundle::open(&outer, &Limits::default()).unwrap();
        assert_eq!(
            bundle.files.keys().collect::<Vec<_>>(),
            ["pf.conf", "tables/bad"]
        );
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_link_is_refused_by_name() {
        let dir = scratch("link");
        std::os::unix::fs::symlink("/etc/passwd", dir.join("etc/pf.conf")).unwrap();
        let error = build(&dir).unwrap_err().to_string();
        assert!(error.contains("etc/pf.conf: is a symbolic link"), "{error}");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = build(Path::new("/nonexistent/tree")).unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/tree: "));
    }
}
