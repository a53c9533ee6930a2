//! Owns finding things on disks: the configuration partition by its GPT label, the seed disk by its first bytes.
//!
//! Nothing is mounted and no file system is read. Read first: sysfs(5), `block` class, `uevent` files.

use crate::cmdline::CommandLine;
use crate::seed;
use crate::slots::Slots;
use crate::storage::Partition;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const BLOCK_CLASS: &str = "/sys/class/block";
/// GPT label of the configuration partition (the same in `image/src/disk.rs`).
const CONFIG_LABEL: &str = "fugu-config";
/// USB and NVMe disks appear some time after process 1 has started.
const DISK_WAIT: Duration = Duration::from_secs(10);
const DISK_POLL: Duration = Duration::from_millis(50);
/// Names the kernel gives to devices that are no disks of ours.
const NOT_DISKS: [&str; 3] = ["loop", "ram", "sr"];

/// The configuration partition. `from_disk`: the boot loader said it started us from our own disk, so wait for it.
pub(crate) fn configuration(from_disk: bool) -> (Option<Slots<Partition>>, String) {
    let started = Instant::now();
    let wait = if from_disk { DISK_WAIT } else { Duration::ZERO };
    loop {
        if let Some(device) = labelled(Path::new(BLOCK_CLASS), CONFIG_LABEL) {
            return open(&device);
        }
        if started.elapsed() >= wait {
            return (
                None,
                "none: nothing that is configured survives a restart".into(),
            );
        }
        std::thread::sleep(DISK_POLL);
    }
}

fn open(device: &Path) -> (Option<Slots<Partition>>, String) {
    match Partition::open(device) {
        Ok(partition) => (Some(Slots::new(partition)), device.display().to_string()),
        Err(error) => (None, format!("{}: {error}", device.display())),
    }
}

/// The seed disk's archive, if there is one; its arguments are added to the command line.
pub(crate) fn seed(cmdline: &mut CommandLine) -> (Option<Vec<u8>>, String) {
    for device in devices(Path::new(BLOCK_CLASS)) {
        // An empty card reader or CD drive cannot be opened or read: it is no seed disk.
        let Ok(mut disk) = File::open(&device) else {
            continue;
        };
        if let Ok(Some(archive)) = seed::read(&mut disk) {
            cmdline.add(&seed::arguments(&archive));
            return (Some(archive), device.display().to_string());
        }
    }
    (None, String::new())
}

/// The first partition (in name order) with that GPT label.
fn labelled(class: &Path, label: &str) -> Option<PathBuf> {
    let name = names(class).into_iter().find(|name| {
        let uevent = fs::read_to_string(class.join(name).join("uevent")).unwrap_or_default();
        uevent
            .lines()
            .any(|line| line.strip_prefix("PARTNAME=") == Some(label))
    })?;
    Some(Path::new("/dev").join(name))
}

/// Disks and partitions that may hold a seed.
fn devices(class: &Path) -> Vec<PathBuf> {
    let disk = |name: &String| !NOT_DISKS.iter().any(|not| name.starts_with(not));
    names(class)
        .into_iter()
        .filter(disk)
        .map(|name| Path::new("/dev").join(name))
        .collect()
}

fn names(class: &Path) -> Vec<String> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_is_found_by_its_label_and_only_by_it() {
        let class = std::env::temp_dir().join(format!("fugu-class-{}", std::process::id()));
        let device = |name: &str, uevent: &str| {
            fs::create_dir_all(class.join(name)).unwrap();
            fs::write(class.join(name).join("uevent"), uevent).unwrap();
        };
        device("vda", "MAJOR=254\nDEVNAME=vda\nDEVTYPE=disk\n");
        device(
            "vda4",
            "DEVTYPE=partition\nPARTN=4\nPARTNAME=fugu-config-not\n",
        );
        device("vda5", "DEVTYPE=partition\nPARTN=5\nPARTNAME=fugu-config\n");
        device("loop0", "DEVTYPE=disk\n");
        let found = (
            labelled(&class, CONFIG_LABEL),
            labelled(&class, "other"),
            devices(&class).len(),
        );
        fs::remove_dir_all(&class).unwrap();
        assert_eq!(found, (Some("/dev/vda5".into()), None, 3));
    }
}
