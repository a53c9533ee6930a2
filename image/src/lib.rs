//! Builds the kernel, the initramfs and the disk image, rootless and reproducible.
//!
//! Owns: what is on the disk and where ([`disk::Layout`]), how the kernel is configured and cached
//! ([`kernel`]), and what the boot loader says ([`grub`]). It may not know what the program inside does;
//! the program finds its partition by the label in [`disk::CONFIG_LABEL`] alone.
//!
//! Everything is written by this crate itself byte by byte (cpio, FAT, GPT), so that no root, no loop
//! device and no clock is involved: same input, same bytes. Only GRUB's own `grub-mkimage`, `zstd` and the
//! kernel's `make` are run.
//!
//! Read first: UEFI specification chapter 5 (GPT), the kernel's `Documentation/driver-api/early-userspace/
//! buffer-format.rst` (cpio), Microsoft's FAT specification (fatgen103), GRUB's manual chapter 4.

#![forbid(unsafe_code)]

pub mod cpio;
pub mod disk;
pub mod fat;
pub mod gpt;
pub mod grub;
pub mod initramfs;
pub mod kernel;

use std::fmt;
use std::path::Path;
use std::process::Command;

/// Why no image came out, in words for the person at the keyboard.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Shorthand of this crate.
pub type Result<T> = std::result::Result<T, Failure>;

/// Adds "what was tried" to a system error.
trait Context<T> {
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

/// Reads a whole file.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).context(path.display())
}

/// Writes a whole file by way of a temporary name, so that a killed build leaves no half file behind.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = path.with_extension("partial");
    std::fs::write(&fresh, bytes).context(fresh.display())?;
    std::fs::rename(&fresh, path).context(path.display())
}

/// Runs a program to its end; its standard output on success, its standard error in the failure.
fn run(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().context(format!("cannot run {name}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!(
        "{name}: {}: {}",
        output.status,
        said.trim()
    )))
}
