//! The configuration partition as the control core's store.

use boot::slots::{BUNDLE_BYTES_MAX, Slots};
use boot::storage::Storage;
use control::store::Store;

/// See [`boot::slots`] for what it promises.
pub(crate) struct SlotStore<S>(pub(crate) Slots<S>);

impl<S: Storage + Send> Store for SlotStore<S> {
    fn bundle_bytes_max(&self) -> usize {
        BUNDLE_BYTES_MAX
    }
    fn load_bundle(&mut self) -> Option<Vec<u8>> {
        self.0.load_newest().map(|(_, bytes)| bytes)
    }
    fn store_bundle(&mut self, bundle: &[u8]) -> Result<(), String> {
        self.0
            .store(bundle)
            .map(drop)
            .map_err(|error| error.to_string())
    }
    fn load_settings(&mut self) -> Option<Vec<u8>> {
        self.0.load_settings().map(|(_, bytes)| bytes)
    }
    fn store_settings(&mut self, settings: &[u8]) -> Result<(), String> {
        self.0
            .store_settings(settings)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}
