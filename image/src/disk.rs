//! Owns the layout of the disk: which partition lies where, what it is called, what is in it when shipped.
//!
//! It may not know how a partition's content is made. `boot` finds the configuration partition by
//! [`CONFIG_LABEL`]; `tests/vm` and the upgrade path use the same constants.
//!
//! ```text
//! MiB  0      1           2              38         70         102            110    128
//!      | MBR  | BIOS boot | EFI system   | system A | system B | configuration | free | GPT
//!      | GPT  | core.img  | FAT32, GRUB  | cpio     | cpio     | raw, see boot |      | copy
//! ```
//!
//! A system slot is a bare cpio archive with `kernel`, `initrd` and `version` in it: GRUB reads that format, files
//! lie in one piece, and an upgrade is one sequential write with nothing to format, mount or check.

use crate::cpio::Archive;
use crate::gpt::{Guid, Partition};
use crate::{Context, Failure, Result, fat, gpt, grub};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// Label of the configuration partition.
pub const CONFIG_LABEL: &str = "fugu-config";
/// Arguments every boot gets. The last console is the one process 1 talks to.
pub const KERNEL_ARGUMENTS: &str = "console=tty0 console=ttyS0,115200n8 loglevel=4 panic=5";

const MIB: u64 = 2048; // in sectors
const BIOS_BOOT: Guid = Guid(0x21686148_6449_6E6F_744E_656564454649);
const EFI_SYSTEM: Guid = Guid(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B);
/// Ours: "FUGU" and what it is, in ASCII.
const FUGU_SYSTEM: Guid = Guid(0x46554755_5359_4D45_8001_66756775736C);
const FUGU_CONFIG: Guid = Guid(0x46554755_434F_4E46_8001_66756775636F);
const DISK: Guid = Guid(0x46554755_4449_534B_8001_000000000000);

/// One row of the layout: first MiB, size in MiB.
struct Place {
    kind: Guid,
    label: &'static str,
    first_mib: u64,
    mib: u64,
}

const LAYOUT: [Place; 5] = [
    Place {
        kind: BIOS_BOOT,
        label: "fugu-bios",
        first_mib: 1,
        mib: 1,
    },
    Place {
        kind: EFI_SYSTEM,
        label: "fugu-esp",
        first_mib: 2,
        mib: 36,
    },
    Place {
        kind: FUGU_SYSTEM,
        label: "fugu-a",
        first_mib: 38,
        mib: 32,
    },
    Place {
        kind: FUGU_SYSTEM,
        label: "fugu-b",
        first_mib: 70,
        mib: 32,
    },
    Place {
        kind: FUGU_CONFIG,
        label: CONFIG_LABEL,
        first_mib: 102,
        mib: 8,
    },
];
/// A power of two: emulated SD cards must be.
const DISK_MIB: u64 = 128;

/// What one system slot holds.
pub struct System<'a> {
    /// Version text, as in the file name.
    pub version: &'a str,
    /// The kernel (bzImage).
    pub kernel: &'a [u8],
    /// The initramfs, compressed.
    pub initrd: &'a [u8],
}

impl System<'_> {
    /// The slot's content: also the file an upgrade would carry.
    #[must_use]
    pub fn archive(&self) -> Vec<u8> {
        let mut archive = Archive::new();
        archive.file("version", 0o644, self.version.as_bytes());
        archive.file("kernel", 0o644, self.kernel);
        archive.file("initrd", 0o644, self.initrd);
        archive.finish()
    }
}

/// Builds the whole disk in memory: slot A filled, slot B and the configuration empty.
///
/// # Errors
/// When a part does not fit its partition, or GRUB's files are missing.
pub fn build(system: &System<'_>, scratch: &Path) -> Result<Vec<u8>> {
    let [bios_boot, esp, slot_a, _, _] = &LAYOUT;
    let mut disk = vec![0; (DISK_MIB * MIB) as usize * gpt::SECTOR];
    let bios = grub::bios(scratch, bios_boot.first_mib * MIB)?;
    disk[..bios.boot.len()].copy_from_slice(&bios.boot);
    put(&mut disk, bios_boot, &bios.core)?;
    put(&mut disk, esp, &efi_partition(esp, system, scratch)?)?;
    put(&mut disk, slot_a, &system.archive())?;
    gpt::write(&mut disk, DISK, &partitions());
    Ok(disk)
}

fn efi_partition(place: &Place, system: &System<'_>, scratch: &Path) -> Result<Vec<u8>> {
    let configuration = grub::configuration(system.version, KERNEL_ARGUMENTS);
    let volume = fat::Volume {
        label: "FUGU-ESP",
        serial: 0x4655_4755,
        sectors: (place.mib * MIB) as u32,
        first_sector: (place.first_mib * MIB) as u32,
    };
    let files = [
        ("EFI/BOOT/BOOTX64.EFI", grub::efi(scratch)?),
        ("GRUB/GRUB.CFG", configuration.into_bytes()),
        ("GRUB/GRUBENV", grub::environment()),
    ];
    fat::format(&volume, &files)
}

fn put(disk: &mut [u8], place: &Place, content: &[u8]) -> Result<()> {
    let room = (place.mib * MIB) as usize * gpt::SECTOR;
    if content.len() > room {
        return Err(Failure(format!(
            "{}: {} bytes do not fit {room}",
            place.label,
            content.len()
        )));
    }
    let start = (place.first_mib * MIB) as usize * gpt::SECTOR;
    disk[start..start + content.len()].copy_from_slice(content);
    Ok(())
}

fn partitions() -> Vec<Partition<'static>> {
    let partition = |(nr, place): (usize, &Place)| Partition {
        kind: place.kind,
        guid: Guid(DISK.0 + 1 + nr as u128),
        label: place.label,
        first: place.first_mib * MIB,
        sectors: place.mib * MIB,
    };
    LAYOUT.iter().enumerate().map(partition).collect()
}

/// Writes the disk as a sparse file: blocks of zeros become holes.
///
/// # Errors
/// Whatever the file system says.
pub fn write_sparse(path: &Path, disk: &[u8]) -> Result<()> {
    const BLOCK: usize = 64 * 1024;
    let fresh = path.with_extension("partial");
    let mut file = std::fs::File::create(&fresh).context(fresh.display())?;
    file.set_len(disk.len() as u64).context(fresh.display())?;
    for (nr, block) in disk.chunks(BLOCK).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start((nr * BLOCK) as u64))
                .context(fresh.display())?;
            file.write_all(block).context(fresh.display())?;
        }
    }
    std::fs::rename(&fresh, path).context(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_do_not_overlap_and_leave_room_for_the_table() {
        let mut end = 1;
        for place in &LAYOUT {
            assert!(place.first_mib >= end, "{}", place.label);
            end = place.first_mib + place.mib;
        }
        assert!(end < DISK_MIB);
    }

    #[test]
    fn a_part_that_does_not_fit_is_refused_by_name() {
        let mut disk = vec![0; (DISK_MIB * MIB) as usize * gpt::SECTOR];
        let exact = vec![1; 1 << 20];
        put(&mut disk, &LAYOUT[0], &exact).unwrap();
        let refused = put(&mut disk, &LAYOUT[0], &vec![1; (1 << 20) + 1]).unwrap_err();
        assert!(refused.to_string().contains("fugu-bios"), "{refused}");
    }

    #[test]
    fn the_same_system_gives_the_same_disk() {
        let scratch = std::env::temp_dir().join(format!("fugu-disk-{}", std::process::id()));
        std::fs::create_dir_all(&scratch).unwrap();
        let system = System {
            version: "0",
            kernel: &[1; 1000],
            initrd: &[2; 1000],
        };
        let (one, two) = (build(&system, &scratch), build(&system, &scratch));
        std::fs::remove_dir_all(&scratch).unwrap();
        match (one, two) {
            (Ok(one), Ok(two)) => assert!(one == two),
            (Err(error), _) | (_, Err(error)) => println!("skipped: {error}"),
        }
    }
}
