//! Owns what the kernel unpacks into its memory: the one program, and the few names it needs to start.
//!
//! It may not know what the program does.

use crate::cpio::Archive;
use crate::{Context, Failure, Result};
use std::io::Write;
use std::process::{Command, Stdio};

/// Mount points `boot` uses. They exist here so that a read of this list shows the whole file system.
const DIRECTORIES: &[&str] = &["dev", "proc", "sys", "tmp", "run", "var", "var/run"];

/// The initramfs with `program` as `/init`, compressed.
///
/// # Errors
/// When `program` is not a static ELF file for this machine, or `zstd` cannot be run.
pub fn build(program: &[u8]) -> Result<Vec<u8>> {
    check_static(program)?;
    let mut archive = Archive::new();
    for name in DIRECTORIES {
        archive.directory(name);
    }
    // The kernel opens these for process 1 before anything is mounted.
    archive.character_device("dev/console", 5, 1);
    archive.character_device("dev/null", 1, 3);
    archive.file("init", 0o755, program);
    compress(&archive.finish())
}

/// A dynamically linked program would start with "No such file or directory" on the appliance; say it here.
fn check_static(program: &[u8]) -> Result<()> {
    const INTERPRETER: u32 = 3;
    if program.get(..5) != Some(b"\x7fELF\x02") {
        return Err(Failure("the program is not a 64-bit ELF file".into()));
    }
    let number = |at: usize, bytes: usize| -> u64 {
        let mut value = [0; 8];
        if let Some(field) = program.get(at..at + bytes) {
            value[..bytes].copy_from_slice(field);
        }
        u64::from_le_bytes(value)
    };
    let (table, size, count) = (
        number(32, 8) as usize,
        number(54, 2) as usize,
        number(56, 2) as usize,
    );
    if (0..count).any(|nr| number(table + nr * size, 4) as u32 == INTERPRETER) {
        return Err(Failure(
            "the program is not statically linked (it names an interpreter)".into(),
        ));
    }
    Ok(())
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut zstd = Command::new("zstd")
        .args(["-19", "-T1", "-q", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run zstd")?;
    let mut input = zstd
        .stdin
        .take()
        .ok_or_else(|| Failure("zstd has no input".into()))?;
    std::thread::scope(|scope| {
        let feeding = scope.spawn(move || input.write_all(bytes));
        let output = zstd.wait_with_output().context("zstd")?;
        feeding
            .join()
            .map_err(|_| Failure("zstd stopped reading".into()))?
            .context("zstd")?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(Failure(format!("zstd: {}", output.status)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_static_elf_is_accepted() {
        let test_program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let refused = build(&test_program).unwrap_err().to_string();
        assert!(refused.contains("not statically linked"), "{refused}");
        assert!(
            build(b"#!/bin/sh\n")
                .unwrap_err()
                .to_string()
                .contains("ELF")
        );
        assert!(build(b"").is_err());
    }
}
