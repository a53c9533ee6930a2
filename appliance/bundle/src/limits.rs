//! How large a bundle may be. Every bound is checked before the memory it protects is spent.

/// Bounds on a bundle. The defaults fit a guest with 256 MiB of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of the upload, compressed, signature included.
    pub compressed: usize,
    /// Bytes of the archive once unpacked, tar headers and padding included.
    pub unpacked: u64,
    /// Entries of the archive: files and directories together.
    pub entries: usize,
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of one path, without `./` and `etc/`.
    pub path: usize,
    /// Components of one path: `pf.conf` has one, `tables/bad/hosts` three.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            compressed: 16 << 20,
            unpacked: 64 << 20,
            entries: 1024,
            file: 32 << 20,
            path: 255,
            depth: 8,
        }
    }
}
