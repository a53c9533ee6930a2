//! Where the accepted bundle and the box's own settings are kept. The control core stores whole records and relies on
//! one promise: when a call returns well the record is durable, and when it fails, or the power does, the old one is
//! still there. `boot::slots` keeps that promise on the configuration partition, [`DirStore`] in a directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longest bundle that [`DirStore`] and [`MemoryStore`] keep, in bytes; the box's own partition keeps less.
pub const BUNDLE_BYTES_MAX: usize = 16 << 20;

/// Two records, each replaced as a whole.
pub trait Store: Send {
    /// Longest bundle that can be kept, in bytes.
    fn bundle_bytes_max(&self) -> usize;
    /// The bundle kept last.
    fn load_bundle(&mut self) -> Option<Vec<u8>>;
    /// Keeps a bundle for good. An error leaves the old one; the text is for the administrator.
    fn store_bundle(&mut self, bundle: &[u8]) -> Result<(), String>;
    /// The settings kept last.
    fn load_settings(&mut self) -> Option<Vec<u8>>;
    /// Keeps settings for good.
    fn store_settings(&mut self, settings: &[u8]) -> Result<(), String>;
}

/// Keeps everything until the process ends: a box without a configuration partition, and tests.
#[derive(Debug, Default)]
pub struct MemoryStore {
    bundle: Option<Vec<u8>>,
    settings: Option<Vec<u8>>,
}

impl Store for MemoryStore {
    fn bundle_bytes_max(&self) -> usize {
        BUNDLE_BYTES_MAX
    }
    fn load_bundle(&mut self) -> Option<Vec<u8>> {
        self.bundle.clone()
    }
    fn store_bundle(&mut self, bundle: &[u8]) -> Result<(), String> {
        self.bundle = Some(bundle.to_vec());
        Ok(())
    }
    fn load_settings(&mut self) -> Option<Vec<u8>> {
        self.settings.clone()
    }
    fn store_settings(&mut self, settings: &[u8]) -> Result<(), String> {
        self.settings = Some(settings.to_vec());
        Ok(())
    }
}

/// A directory on a workstation: `bundle.tgz` and `settings`. A new file is written beside the old one and renamed
/// over it, so that either is there.
#[derive(Debug)]
pub struct DirStore(PathBuf);

impl DirStore {
    /// Uses `directory`, making it if it is not there.
    pub fn open(directory: &Path) -> io::Result<DirStore> {
        fs::create_dir_all(directory)?;
        Ok(DirStore(directory.to_path_buf()))
    }

    fn load(&self, name: &str) -> Option<Vec<u8>> {
        match fs::read(self.0.join(name)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!("{}: {error}", self.0.join(name).display());
                None
            }
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let (new, old) = (self.0.join(format!("{name}.new")), self.0.join(name));
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &old)?;
            // The rename is durable when the directory is.
            File::open(&self.0)?.sync_all()
        };
        write().map_err(|error| format!("{}: {error}", old.display()))
    }
}

impl Store for DirStore {
    fn bundle_bytes_max(&self) -> usize {
        BUNDLE_BYTES_MAX
    }
    fn load_bundle(&mut self) -> Option<Vec<u8>> {
        self.load("bundle.tgz")
    }
    fn store_bundle(&mut self, bundle: &[u8]) -> Result<(), String> {
        self.replace("bundle.tgz", bundle)
    }
    fn load_settings(&mut self) -> Option<Vec<u8>> {
        self.load("settings")
    }
    fn store_settings(&mut self, settings: &[u8]) -> Result<(), String> {
        self.replace("settings", settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps_what_was_stored_last(store: &mut dyn Store) {
        assert_eq!(store.load_bundle(), None);
        assert_eq!(store.load_settings(), None);
        for text in ["one", "two"] {
            store.store_bundle(text.as_bytes()).unwrap();
            store.store_settings(&text.as_bytes()[..1]).unwrap();
            assert_eq!(store.load_bundle().unwrap(), text.as_bytes());
            assert_eq!(store.load_settings().unwrap(), &text.as_bytes()[..1]);
        }
    }

    #[test]
    fn both_stores_keep_what_was_stored_last() {
        keeps_what_was_stored_last(&mut MemoryStore::default());
        let place = std::env::temp_dir().join(format!("fugu-store-{}", std::process::id()));
        keeps_what_was_stored_last(&mut DirStore::open(&place).unwrap());
        fs::remove_dir_all(&place).unwrap();
        let error = DirStore(place).store_bundle(b"x").unwrap_err();
        assert!(error.contains("bundle.tgz"), "{error}");
    }
}
