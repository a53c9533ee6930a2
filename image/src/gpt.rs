//! Owns the partition table: protective MBR, GPT header and entries, and their copies at the end.
//!
//! It may not know what is in the partitions. Read first: UEFI specification 2.10, 5.2 and 5.3.

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// Sectors at either end that belong to the table: header and 128 entries (and the MBR in front).
pub const TABLE_SECTORS: u64 = 33;
const ENTRIES: usize = 128;
const ENTRY_BYTES: usize = 128;

/// A GUID in the order it is printed: `C12A7328-F81F-11D2-BA4B-00A0C93EC93B`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guid(pub u128);

impl Guid {
    /// As on disk: the first three groups little-endian, the rest as printed (UEFI appendix A).
    fn bytes(self) -> [u8; 16] {
        let mut out = self.0.to_be_bytes();
        out[..4].reverse();
        out[4..6].reverse();
        out[6..8].reverse();
        out
    }
}

/// One partition.
pub struct Partition<'a> {
    /// What it is for.
    pub kind: Guid,
    /// Its own identity.
    pub guid: Guid,
    /// Label, at most 36 characters; Linux shows it as `PARTNAME`.
    pub label: &'a str,
    /// First sector.
    pub first: u64,
    /// Number of sectors.
    pub sectors: u64,
}

/// Writes both copies of the table and the protective MBR entry into `disk`, whose length is the size of the disk.
///
/// Boot code in the first 440 bytes is left alone.
///
/// # Panics
/// If a partition overlaps the table: the layout is a constant of this crate, not input.
pub fn write(disk: &mut [u8], guid: Guid, partitions: &[Partition<'_>]) {
    let sectors = (disk.len() / SECTOR) as u64;
    let last_usable = sectors - TABLE_SECTORS - 1;
    for partition in partitions {
        let last = partition.first + partition.sectors - 1;
        assert!(
            partition.first > TABLE_SECTORS && last <= last_usable,
            "{}",
            partition.label
        );
    }
    let entries = entries(partitions);
    protective_mbr(disk, sectors);
    let primary = header(guid, &entries, (1, sectors - 1), 2, last_usable);
    let backup = header(
        guid,
        &entries,
        (sectors - 1, 1),
        sectors - TABLE_SECTORS,
        last_usable,
    );
    put(disk, 1, &primary);
    put(disk, 2, &entries);
    put(disk, sectors - TABLE_SECTORS, &entries);
    put(disk, sectors - 1, &backup);
}

fn put(disk: &mut [u8], sector: u64, bytes: &[u8]) {
    let start = sector as usize * SECTOR;
    disk[start..start + bytes.len()].copy_from_slice(bytes);
}

fn protective_mbr(disk: &mut [u8], sectors: u64) {
    let length = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    let entry = &mut disk[446..462];
    entry[..8].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&1u32.to_le_bytes());
    entry[12..].copy_from_slice(&length.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
}

fn entries(partitions: &[Partition<'_>]) -> Vec<u8> {
    let mut out = vec![0; ENTRIES * ENTRY_BYTES];
    for (partition, entry) in partitions.iter().zip(out.chunks_exact_mut(ENTRY_BYTES)) {
        entry[..16].copy_from_slice(&partition.kind.bytes());
        entry[16..32].copy_from_slice(&partition.guid.bytes());
        entry[32..40].copy_from_slice(&partition.first.to_le_bytes());
        entry[40..48].copy_from_slice(&(partition.first + partition.sectors - 1).to_le_bytes());
        for (unit, place) in partition
            .label
            .encode_utf16()
            .zip(entry[56..].chunks_exact_mut(2))
        {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
    out
}

/// `place` is where this header lies and where its twin does.
fn header(
    guid: Guid,
    entries: &[u8],
    place: (u64, u64),
    entries_at: u64,
    last_usable: u64,
) -> [u8; 92] {
    let mut out = [0; 92];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"EFI PART");
    put(8, &0x0001_0000u32.to_le_bytes());
    put(12, &92u32.to_le_bytes());
    put(24, &place.0.to_le_bytes());
    put(32, &place.1.to_le_bytes());
    put(40, &(TABLE_SECTORS + 1).to_le_bytes());
    put(48, &last_usable.to_le_bytes());
    put(56, &guid.bytes());
    put(72, &entries_at.to_le_bytes());
    put(80, &(ENTRIES as u32).to_le_bytes());
    put(84, &(ENTRY_BYTES as u32).to_le_bytes());
    put(88, &crc32fast::hash(entries).to_le_bytes());
    let crc = crc32fast::hash(&out);
    out[16..20].copy_from_slice(&crc.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const ESP: Guid = Guid(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B);

    #[test]
    fn guid_bytes_are_mixed_endian() {
        assert_eq!(
            ESP.bytes()[..8],
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]
        );
        assert_eq!(
            ESP.bytes()[8..],
            [0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]
        );
    }

    #[test]
    fn sgdisk_finds_no_problem() {
        let mut disk = vec![0; 8 << 20];
        let one = Partition {
            kind: ESP,
            guid: Guid(1),
            label: "first",
            first: 2048,
            sectors: 2048,
        };
        let two = Partition {
            kind: ESP,
            guid: Guid(2),
            label: "second",
            first: 4096,
            sectors: 4096,
        };
        write(
            &mut disk,
            Guid(0x11223344_5566_7788_99AA_BBCCDDEEFF00),
            &[one, two],
        );
        let path = std::env::temp_dir().join(format!("fugu-gpt-{}.img", std::process::id()));
        std::fs::write(&path, &disk).unwrap();
        let output = Command::new("/sbin/sgdisk")
            .args(["--verify", "--print"])
            .arg(&path)
            .output();
        std::fs::remove_file(&path).unwrap();
        let Ok(output) = output else {
            println!("skipped: no sgdisk");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("No problems found"), "{said}");
        assert!(
            said.contains("11223344-5566-7788-99AA-BBCCDDEEFF00"),
            "{said}"
        );
        assert!(said.contains("second"), "{said}");
    }
}
