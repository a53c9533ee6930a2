//! Owns the mount table of the appliance: the kernel's own file systems, and nothing from a disk.
//!
//! Read first: mount(2), proc(5), sysfs(5).

use crate::Outcome;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use std::fs::create_dir_all;

/// Type, place, flags, options.
const MOUNTS: [(&str, &str, MountFlags, &str); 5] = [
    ("proc", "/proc", HARD, ""),
    ("sysfs", "/sys", HARD, ""),
    ("devtmpfs", "/dev", MountFlags::NOSUID, "mode=0755"),
    ("tmpfs", "/tmp", HARD, "mode=1777,size=8m"),
    ("hugetlbfs", "/dev/hugepages", HARD, "pagesize=2M"),
];
const HARD: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Mounts everything. Something already mounted (devtmpfs, by a kernel that does it itself) is fine.
pub(crate) fn mount_all() -> Outcome<()> {
    for (kind, place, flags, options) in MOUNTS {
        create_dir_all(place).map_err(|error| format!("{place}: {error}"))?;
        let options = std::ffi::CString::new(options).map_err(|error| error.to_string())?;
        match mount(kind, place, kind, flags, &*options) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => return Err(format!("cannot mount {kind} on {place}: {error}")),
        }
    }
    // Kernel messages below "critical" stay in the log (dmesg); they would run through the console's line editor.
    let quiet = std::fs::write("/proc/sys/kernel/printk", "3");
    Ok((
        (),
        quiet
            .err()
            .map(|error| format!("kernel messages stay on the console: {error}"))
            .unwrap_or_default(),
    ))
}
