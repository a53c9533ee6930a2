//! Owns the writer of the one FAT32 file system on the disk: the EFI system partition.
//!
//! It may not know what the files are for. Names are 8.3 and upper case, clusters are one sector, every
//! file is contiguous, every date is 1980-01-01 (the format's zero). FAT32 because that is what the
//! UEFI specification (13.3) asks of a fixed disk; smaller FATs work with most firmware, not with all.
//! Read first: Microsoft's "FAT32 File System Specification" (fatgen103).

use crate::{Failure, Result};
use std::collections::BTreeMap;

/// Bytes of a sector, and of a cluster.
const SECTOR: usize = 512;
/// Sectors before the first FAT: boot sector, FSInfo, their copies at 6, spare.
const RESERVED: usize = 32;
/// Fewer clusters than this is FAT16 by definition, whatever the boot sector says.
const FEWEST_CLUSTERS: usize = 65_525;
/// End-of-chain mark.
const END: u32 = 0x0fff_ffff;
/// 1980-01-01 in the directory's date format.
const DATE: u16 = 0x0021;
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;

/// What the volume is called and where it lies.
pub struct Volume<'a> {
    /// Volume label, at most 11 upper-case characters.
    pub label: &'a str,
    /// Volume serial number.
    pub serial: u32,
    /// Size in sectors of 512 bytes.
    pub sectors: u32,
    /// First sector on the disk ("hidden sectors").
    pub first_sector: u32,
}

enum Node {
    File(Vec<u8>),
    Directory(BTreeMap<String, Node>),
}

/// Formats a volume with `files` (path with slashes, content) in it.
///
/// # Errors
/// A name that is not 8.3, a volume too small for FAT32, or files that do not fit.
pub fn format(volume: &Volume<'_>, files: &[(&str, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut root = BTreeMap::new();
    for (path, content) in files {
        insert(&mut root, path, content)?;
    }
    let mut writer = Writer::new(volume)?;
    let entries = 1 + root.len();
    let cluster = writer.allocate(entries * 32)?;
    let label = entry(short_label(volume.label), ATTRIBUTE_LABEL, 0, 0);
    writer.directory(cluster, label.to_vec(), &root)?;
    writer.finish(volume);
    Ok(writer.bytes)
}

fn insert(directory: &mut BTreeMap<String, Node>, path: &str, content: &[u8]) -> Result<()> {
    let (first, rest) = path
        .split_once('/')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    short_name(first)?;
    let Some(rest) = rest else {
        directory.insert(first.to_owned(), Node::File(content.to_vec()));
        return Ok(());
    };
    let child = directory
        .entry(first.to_owned())
        .or_insert_with(|| Node::Directory(BTreeMap::new()));
    match child {
        Node::Directory(entries) => insert(entries, rest, content),
        Node::File(_) => Err(Failure(format!("{first} is a file and a directory"))),
    }
}

/// `BOOTX64.EFI` as the eleven bytes of a directory entry.
fn short_name(name: &str) -> Result<[u8; 11]> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let good = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
    };
    if base.is_empty() || base.len() > 8 || extension.len() > 3 || !good(base) || !good(extension) {
        return Err(Failure(format!("{name} is not an upper-case 8.3 name")));
    }
    let mut out = [b' '; 11];
    out[..base.len()].copy_from_slice(base.as_bytes());
    out[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    Ok(out)
}

fn short_label(label: &str) -> [u8; 11] {
    let mut out = [b' '; 11];
    for (place, byte) in out.iter_mut().zip(label.bytes()) {
        *place = byte;
    }
    out
}

/// One directory entry.
fn entry(name: [u8; 11], attribute: u8, cluster: u32, size: u32) -> [u8; 32] {
    let mut out = [0; 32];
    out[..11].copy_from_slice(&name);
    out[11] = attribute;
    out[16..18].copy_from_slice(&DATE.to_le_bytes());
    out[18..20].copy_from_slice(&DATE.to_le_bytes());
    out[24..26].copy_from_slice(&DATE.to_le_bytes());
    let cluster = cluster.to_le_bytes();
    out[20..22].copy_from_slice(&cluster[2..]);
    out[26..28].copy_from_slice(&cluster[..2]);
    out[28..].copy_from_slice(&size.to_le_bytes());
    out
}

struct Writer {
    bytes: Vec<u8>,
    fat: Vec<u32>,
    fat_sectors: usize,
    clusters: usize,
}

impl Writer {
    fn new(volume: &Volume<'_>) -> Result<Self> {
        let sectors = volume.sectors as usize;
        // Each FAT sector names 128 clusters; two FATs are kept.
        let fat_sectors = (sectors - RESERVED + 2).div_ceil(SECTOR / 4 + 2);
        let clusters = sectors - RESERVED - 2 * fat_sectors;
        if clusters < FEWEST_CLUSTERS {
            return Err(Failure(format!("{sectors} sectors are too few for FAT32")));
        }
        let fat = vec![0x0fff_fff8, END];
        Ok(Self {
            bytes: vec![0; sectors * SECTOR],
            fat,
            fat_sectors,
            clusters,
        })
    }

    /// A chain of contiguous clusters for `size` bytes; its first cluster.
    fn allocate(&mut self, size: usize) -> Result<u32> {
        let count = size.div_ceil(SECTOR).max(1);
        if self.fat.len() - 2 + count > self.clusters {
            return Err(Failure(
                "the files do not fit the EFI system partition".into(),
            ));
        }
        let first = self.fat.len();
        self.fat
            .extend((first + 1..first + count).map(|next| next as u32));
        self.fat.push(END);
        Ok(first as u32)
    }

    fn store(&mut self, cluster: u32, content: &[u8]) {
        let start = (RESERVED + 2 * self.fat_sectors + cluster as usize - 2) * SECTOR;
        self.bytes[start..start + content.len()].copy_from_slice(content);
    }

    /// Writes the entries of one directory after `head` (label, or `.` and `..`), and all below it.
    fn directory(
        &mut self,
        cluster: u32,
        head: Vec<u8>,
        entries: &BTreeMap<String, Node>,
    ) -> Result<()> {
        let is_root = head.len() == 32;
        let mut content = head;
        for (name, node) in entries {
            let name = short_name(name)?;
            match node {
                Node::File(bytes) => {
                    let first = if bytes.is_empty() {
                        0
                    } else {
                        self.allocate(bytes.len())?
                    };
                    if first != 0 {
                        self.store(first, bytes);
                    }
                    content.extend(entry(name, ATTRIBUTE_ARCHIVE, first, bytes.len() as u32));
                }
                Node::Directory(children) => {
                    let first = self.allocate((2 + children.len()) * 32)?;
                    content.extend(entry(name, ATTRIBUTE_DIRECTORY, first, 0));
                    // The root directory is called cluster 0 by its children.
                    let parent = if is_root { 0 } else { cluster };
                    let mut head = entry(*b".          ", ATTRIBUTE_DIRECTORY, first, 0).to_vec();
                    head.extend(entry(*b"..         ", ATTRIBUTE_DIRECTORY, parent, 0));
                    self.directory(first, head, children)?;
                }
            }
        }
        self.store(cluster, &content);
        Ok(())
    }

    /// Boot sector, FSInfo, their copies, and both FATs.
    fn finish(&mut self, volume: &Volume<'_>) {
        let boot = self.boot_sector(volume);
        let info = self.info_sector();
        for (sector, content) in [(0, &boot), (1, &info), (6, &boot), (7, &info)] {
            self.bytes[sector * SECTOR..(sector + 1) * SECTOR].copy_from_slice(content);
        }
        let fat: Vec<u8> = self
            .fat
            .iter()
            .flat_map(|next| next.to_le_bytes())
            .collect();
        for copy in 0..2 {
            let start = (RESERVED + copy * self.fat_sectors) * SECTOR;
            self.bytes[start..start + fat.len()].copy_from_slice(&fat);
        }
    }

    fn boot_sector(&self, volume: &Volume<'_>) -> [u8; SECTOR] {
        let mut out = [0; SECTOR];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0xeb, 0x58, 0x90]); // jump over the parameter block; nothing boots from here
        put(3, b"FUGU    ");
        put(11, &(SECTOR as u16).to_le_bytes());
        put(13, &[1]); // sectors per cluster
        put(14, &(RESERVED as u16).to_le_bytes());
        put(16, &[2]); // FATs
        put(21, &[0xf8]); // fixed disk
        put(24, &63u16.to_le_bytes()); // sectors per track
        put(26, &255u16.to_le_bytes()); // heads
        put(28, &volume.first_sector.to_le_bytes());
        put(32, &volume.sectors.to_le_bytes());
        put(36, &(self.fat_sectors as u32).to_le_bytes());
        put(44, &2u32.to_le_bytes()); // root directory
        put(48, &1u16.to_le_bytes()); // FSInfo
        put(50, &6u16.to_le_bytes()); // copy of the boot sector
        put(64, &[0x80, 0, 0x29]); // drive, reserved, "the three fields below are valid"
        put(67, &volume.serial.to_le_bytes());
        put(71, &short_label(volume.label));
        put(82, b"FAT32   ");
        put(510, &[0x55, 0xaa]);
        out
    }

    fn info_sector(&self) -> [u8; SECTOR] {
        let mut out = [0; SECTOR];
        out[..4].copy_from_slice(b"RRaA");
        out[484..488].copy_from_slice(b"rrAa");
        let used = self.fat.len() - 2;
        out[488..492].copy_from_slice(&((self.clusters - used) as u32).to_le_bytes());
        out[492..496].copy_from_slice(&(self.fat.len() as u32).to_le_bytes());
        out[510..].copy_from_slice(&[0x55, 0xaa]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const VOLUME: Volume<'static> = Volume {
        label: "FUGU-ESP",
        serial: 0x0f06_0000,
        sectors: 36 * 2048,
        first_sector: 4096,
    };

    #[test]
    fn names_are_8_3_and_upper_case() {
        assert_eq!(&short_name("BOOTX64.EFI").unwrap(), b"BOOTX64 EFI");
        assert_eq!(&short_name("EFI").unwrap(), b"EFI        ");
        for bad in ["", "grub.cfg", "NINECHARS.X", "A.LONG", ".X", "A B"] {
            assert!(short_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn too_small_and_too_full_are_refused() {
        let small = Volume {
            sectors: 65_000,
            ..VOLUME
        };
        assert!(format(&small, &[]).is_err());
        assert!(format(&VOLUME, &[("BIG", vec![1; 36 << 20])]).is_err());
    }

    #[test]
    fn fsck_and_mtools_agree_with_it() {
        let files = [
            ("EFI/BOOT/BOOTX64.EFI", vec![0x5a; 70_001]),
            ("GRUB/GRUB.CFG", b"hello\n".to_vec()),
            ("EMPTY", vec![]),
        ];
        let bytes = format(&VOLUME, &files).unwrap();
        let path = std::env::temp_dir().join(format!("fugu-fat-{}.img", std::process::id()));
        std::fs::write(&path, &bytes).unwrap();
        let fsck = Command::new("/sbin/fsck.fat")
            .args(["-n", "-v"])
            .arg(&path)
            .output();
        let copied = Command::new("mcopy")
            .arg("-i")
            .arg(&path)
            .args(["::/EFI/BOOT/BOOTX64.EFI", "-"])
            .output();
        std::fs::remove_file(&path).unwrap();
        let (Ok(fsck), Ok(copied)) = (fsck, copied) else {
            println!("skipped: no fsck.fat or no mtools");
            return;
        };
        let said = String::from_utf8_lossy(&fsck.stdout);
        assert!(fsck.status.success(), "{said}");
        assert!(said.contains("7 files, 142/72562 clusters"), "{said}");
        assert_eq!(
            copied.stdout,
            files[0].1,
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
    }
}
