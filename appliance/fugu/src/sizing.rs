//! How much of everything, from how much memory there is. Nothing is allocated by workers after start, so this decides.

/// Bytes of a buffer with its header, headroom and place in the pool.
const BUFFER_BYTES: u64 = 2048 + 128 + 128 + 64;
/// Bytes of a state: record, what it counts on, its places in index and list of free ones, its share of timestamps and of
/// the flow in front of it
/// (`tests/packets/tests/memory.rs` measures what they come to).
const STATE_BYTES: u64 = 456;
/// Buffers that are enough for a port: both rings full, a burst in hand, some on the way to the local host.
const BUFFERS_PER_PORT: u64 = 2560;
/// PF's default limit for states, below which a machine is not worth starting.
const STATES_MIN: u64 = 100_000;
/// More than this is a wish for another design.
const STATES_MAX: u64 = 16_000_000;

/// Counts of what is made at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sizes {
    /// Packet buffers.
    pub(crate) buffers: u32,
    /// Descriptors of each ring of a port.
    pub(crate) descriptors: u16,
    /// States, over all workers.
    pub(crate) states: u64,
}

/// Sizes for `ports` ports with `queues` queues each, `packet_mib` for buffers and rings, `memory` bytes in all.
pub(crate) fn sizes(ports: usize, queues: usize, packet_mib: u32, memory: u64) -> Sizes {
    // DPDK's own rings and tables take the rest.
    let room = u64::from(packet_mib) * (1 << 20) * 3 / 4 / BUFFER_BYTES;
    let wanted = (ports * queues) as u64 * BUFFERS_PER_PORT + 1024;
    // One less than a power of two wastes least.
    let power = |n: u64| (n + 1).next_power_of_two();
    let mut buffers = power(wanted).max(8192);
    while buffers > 2048 && buffers > room {
        buffers /= 2;
    }
    let per_ring = buffers / (2 * (ports * queues).max(1)) as u64;
    let descriptors = [1024, 512, 256, 128]
        .into_iter()
        .find(|d| *d <= per_ring)
        .unwrap_or(64);
    Sizes {
        buffers: u32::try_from(buffers - 1).unwrap_or(u32::MAX),
        descriptors: descriptors as u16,
        states: (memory / 8 / STATE_BYTES).clamp(STATES_MIN, STATES_MAX),
    }
}

/// States that one of `workers` workers has room for: its share, and some, since hashes are not fair.
pub(crate) fn states_of_worker(total: u64, workers: usize) -> usize {
    let share = total / workers.max(1) as u64;
    let spare = if workers > 1 { share / 4 } else { 0 };
    usize::try_from(share + spare).unwrap_or(usize::MAX)
}

/// Pieces of datagrams that one of `workers` workers may keep waiting: a quarter of all buffers for all of them, so that
/// a flood of pieces leaves enough to receive with.
pub(crate) fn fragments_of_worker(buffers: u32, workers: usize) -> usize {
    usize::try_from(buffers).unwrap_or(usize::MAX) / 4 / workers.max(1)
}

/// How large a bundle may be on a machine of `memory` bytes: unpacked an eighth, one file a sixteenth.
pub(crate) fn bundle_limits(memory: u64) -> bundle::Limits {
    let most = bundle::Limits::default();
    bundle::Limits {
        unpacked: (memory / 8).min(most.unpacked),
        file: (memory / 16).min(most.file),
        ..most
    }
}

/// What compiling `pf.conf` may grow to: as many rules as have counters, and addresses for a sixteenth of memory.
pub(crate) fn compile_bounds(memory: u64, rule_slots: usize) -> pfconf::Bounds {
    /// Bytes of an address while it is compiled: with its name, span and weight.
    const ADDRESS_BYTES: u64 = 192;
    let most = pfconf::Bounds::default();
    let addresses = usize::try_from(memory / 16 / ADDRESS_BYTES).unwrap_or(usize::MAX);
    pfconf::Bounds {
        rules: rule_slots.saturating_sub(1).min(most.rules),
        addresses: addresses.min(most.addresses),
    }
}

/// Memory of the machine in bytes; a cautious guess if it does not say.
pub(crate) fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(256 << 10) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_guest_gets_what_fits() {
        let s = sizes(3, 1, 96, 256 << 20);
        assert!(u64::from(s.buffers) * BUFFER_BYTES < 96 << 20, "{s:?}");
        assert_eq!((s.buffers, s.descriptors), (16_383, 1024));
        assert_eq!(s.states, STATES_MIN);
        let large = sizes(3, 1, 96, 32 << 30);
        assert_eq!(large.states, 9_418_787);
        let tiny = sizes(3, 1, 32, 256 << 20);
        assert_eq!((tiny.buffers, tiny.descriptors), (8191, 1024));
    }

    #[test]
    fn rings_never_hold_all_buffers() {
        for ports in 1..16 {
            for mib in [16, 32, 64, 256] {
                let s = sizes(ports, 2, mib, 1 << 30);
                let held = ports as u64 * 2 * u64::from(s.descriptors);
                assert!(
                    held < u64::from(s.buffers),
                    "{ports} ports, {mib} MiB: {s:?}"
                );
            }
        }
    }

    #[test]
    fn a_small_machine_takes_smaller_bundles() {
        let limits = bundle_limits(256 << 20);
        assert_eq!((limits.unpacked, limits.file), (32 << 20, 16 << 20));
        assert_eq!(bundle_limits(8 << 30), bundle::Limits::default());
        let bounds = compile_bounds(256 << 20, 16_384);
        assert_eq!((bounds.rules, bounds.addresses), (16_383, 87_381));
    }

    #[test]
    fn several_workers_have_room_to_spare() {
        assert_eq!(states_of_worker(100_000, 1), 100_000);
        assert_eq!(states_of_worker(100_000, 4), 31_250);
    }
}
