//! Owns how much memory becomes huge pages: packet buffers and DPDK's rings live there.
//!
//! It may not know what is put into them. Read first: the kernel's `admin-guide/mm/hugetlbpage.rst`.

use crate::Outcome;
use std::fs;

/// MiB of a huge page, as far as Fugu is concerned.
const PAGE_MIB: u64 = 2;
const PAGES: &str = "/proc/sys/vm/nr_hugepages";
/// Left to ordinary pages whatever happens: the program, its stacks, the kernel's own growth.
const ORDINARY_MIB: u64 = 80;
/// Less than this many huge pages and DPDK would not start.
const PAGES_MIN: u64 = 16;
/// Nobody needs more for packet buffers; the rest serves state tables, as transparent huge pages.
const HUGE_MIB_MAX: u64 = 2048;

/// What came of it.
pub(crate) struct Memory {
    pub(crate) bytes: u64,
    pub(crate) pages: u64,
}

/// Reserves huge pages: `wanted_mib`, or a share of what is free.
pub(crate) fn reserve(wanted_mib: Option<u64>) -> Outcome<Memory> {
    let text =
        fs::read_to_string("/proc/meminfo").map_err(|error| format!("/proc/meminfo: {error}"))?;
    let total = kilobytes(&text, "MemTotal:").ok_or("/proc/meminfo has no MemTotal")?;
    let free = kilobytes(&text, "MemAvailable:").ok_or("/proc/meminfo has no MemAvailable")?;
    let wanted = wanted_mib.unwrap_or_else(|| share_mib(free / 1024)) / PAGE_MIB;
    fs::write(PAGES, wanted.to_string()).map_err(|error| format!("{PAGES}: {error}"))?;
    let got = fs::read_to_string(PAGES)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    if got < PAGES_MIN {
        return Err(format!(
            "{got} huge pages of {wanted} wanted; {} MiB of memory are free",
            free / 1024
        ));
    }
    let shortfall = if got < wanted {
        format!(", {wanted} were wanted")
    } else {
        String::new()
    };
    let remark = format!("{got} of 2 MiB{shortfall}; memory {} MiB", total / 1024);
    Ok((
        Memory {
            bytes: total * 1024,
            pages: got,
        },
        remark,
    ))
}

/// Of what is free beyond [`ORDINARY_MIB`], five eighths.
fn share_mib(free_mib: u64) -> u64 {
    let share = free_mib.saturating_sub(ORDINARY_MIB) * 5 / 8;
    share.clamp(PAGES_MIN * PAGE_MIB, HUGE_MIB_MAX)
}

/// The number after `name` in /proc/meminfo.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_leaves_ordinary_memory_on_every_size() {
        // Free MiB, huge MiB: a 256 MiB guest, 512 MiB, 1 GiB, 8 GiB, 256 GiB, and next to nothing.
        for (free, huge) in [
            (200, 75),
            (450, 231),
            (950, 543),
            (8000, 2048),
            (256_000, 2048),
            (50, 32),
        ] {
            assert_eq!(share_mib(free), huge, "{free} MiB free");
        }
    }

    #[test]
    fn meminfo_is_read_by_name() {
        let text = "MemTotal:         221328 kB\nMemFree: 1 kB\nMemAvailable:     190000 kB\n";
        assert_eq!(kilobytes(text, "MemTotal:"), Some(221_328));
        assert_eq!(kilobytes(text, "MemAvailable:"), Some(190_000));
        assert_eq!(kilobytes(text, "Swap:"), None);
    }
}
