//! Owns the "newc" cpio format: the initramfs, and the system slots that GRUB reads.
//!
//! It may not know what is inside the files. Read first: the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`. Every entry belongs to root and carries
//! the time zero, so that the same files give the same archive.

/// Directory bit and permissions `rwxr-xr-x`.
const MODE_DIRECTORY: u32 = 0o040_755;
/// Character device bit and permissions `rw-------`.
const MODE_CHARACTER_DEVICE: u32 = 0o020_600;
/// Regular file bit.
const MODE_FILE: u32 = 0o100_000;

/// Builds one archive in memory.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    next_inode: u32,
}

impl Archive {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory. `name` has no leading slash; parents must have been added before.
    pub fn directory(&mut self, name: &str) {
        self.entry(name, MODE_DIRECTORY, (0, 0), &[]);
    }

    /// Adds a character device node, such as `dev/console` with (5, 1).
    pub fn character_device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, MODE_CHARACTER_DEVICE, (major, minor), &[]);
    }

    /// Adds a regular file with the permission bits `mode`.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, MODE_FILE | mode, (0, 0), content);
    }

    /// Ends the archive and gives its bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.next_inode = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        // A link count of two for directories is what every unpacker expects; nothing checks more.
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        let size = u32::try_from(content.len()).expect("a file of 4 GiB does not fit the format");
        let name_size = u32::try_from(name.len() + 1).expect("a short name");
        let fields = [
            self.next_inode,
            mode,
            0,
            0,
            links,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name_size,
            0,
        ];
        self.next_inode += 1;
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Header with name, and content, each end on a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_header_name_and_padded_content() {
        let mut archive = Archive::new();
        archive.file("init", 0o755, b"abcde");
        let bytes = archive.finish();
        assert_eq!(&bytes[..14], b"07070100000000");
        assert_eq!(&bytes[14..22], b"000081ed", "mode 100755");
        assert_eq!(&bytes[54..62], b"00000005", "file size");
        assert_eq!(&bytes[94..102], b"00000005", "name size with its NUL");
        assert_eq!(
            &bytes[110..116],
            b"init\0\0",
            "header and name end on a multiple of 4"
        );
        assert_eq!(&bytes[116..124], b"abcde\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn the_system_cpio_reads_it_back() {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let mut archive = Archive::new();
        archive.directory("dev");
        archive.character_device("dev/console", 5, 1);
        archive.file("init", 0o755, &[7; 1001]);
        let started = Command::new("cpio")
            .args(["-itv", "--quiet", "--numeric-uid-gid"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            println!("skipped: no cpio");
            return;
        };
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&archive.finish())
            .unwrap();
        let listing = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let lines: Vec<&str> = listing.lines().collect();
        assert_eq!(lines.len(), 3, "{listing}");
        assert!(lines[0].starts_with("drwxr-xr-x") && lines[0].ends_with(" dev"));
        assert!(lines[1].starts_with("crw-------") && lines[1].contains("5,   1"));
        assert!(lines[2].starts_with("-rwxr-xr-x") && lines[2].contains("1001"));
    }
}
