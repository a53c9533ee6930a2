//! Threads and CPUs. Workers are ordinary threads of ours; DPDK only has to know them.
//!
//! Owns CPU masks and the registration of threads. A registered thread has a cache of its own in every
//! buffer pool, which makes taking and giving back a buffer some twenty cycles instead of a
//! compare-and-swap on a shared ring. An unregistered thread works as well, more slowly.
//! Read first: DPDK programmer's guide, "EAL pthread and lcore affinity".

use core::marker::PhantomData;

use rustix::thread::CpuSet;

use crate::eal::Eal;
use crate::error::{Errno, Error};

/// What DPDK calls the number of a thread that it does not know.
const UNKNOWN: u32 = u32::MAX;

/// The CPUs that this thread may run on, ascending.
pub fn allowed() -> Result<Vec<usize>, Error> {
    let mask = affinity()?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&cpu| mask.is_set(cpu))
        .collect())
}

/// Binds this thread to one CPU. To be called before [`Registration::new`], which notes the memory node.
pub fn pin(cpu: usize) -> Result<(), Error> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(Error::Thread {
            what: "pinning to a CPU",
            errno: Errno(22),
        });
    }
    let mut mask = CpuSet::new();
    mask.set(cpu);
    set_affinity(&mask)
}

pub(crate) fn affinity() -> Result<CpuSet, Error> {
    rustix::thread::sched_getaffinity(None)
        .map_err(|errno| thread_error("reading the CPU mask", errno))
}

pub(crate) fn set_affinity(mask: &CpuSet) -> Result<(), Error> {
    rustix::thread::sched_setaffinity(None, mask)
        .map_err(|errno| thread_error("pinning to a CPU", errno))
}

pub(crate) fn first(mask: &CpuSet) -> usize {
    (0..CpuSet::MAX_CPU)
        .find(|&cpu| mask.is_set(cpu))
        .unwrap_or(0)
}

fn thread_error(what: &'static str, errno: rustix::io::Errno) -> Error {
    Error::Thread {
        what,
        errno: Errno(errno.raw_os_error()),
    }
}

/// As long as it lives, the thread that made it is known to DPDK.
#[derive(Debug)]
pub struct Registration {
    /// False on the thread that started DPDK, which is known anyway.
    ours: bool,
    /// Belongs to its thread.
    not_send: PhantomData<*const ()>,
}

impl Registration {
    /// Registers the calling thread. At most 128 threads can be known at once.
    pub fn new(_eal: Eal) -> Result<Registration, Error> {
        let known = lcore_id() != UNKNOWN;
        if !known {
            // SAFETY: DPDK runs (the `Eal` shows it) and this thread is not registered.
            let result = unsafe { dpdk_sys::rte_thread_register() };
            Errno::check(result).map_err(|_| Error::Thread {
                what: "registering a thread",
                errno: Errno::last(),
            })?;
        }
        Ok(Registration {
            ours: !known,
            not_send: PhantomData,
        })
    }

    /// DPDK's number of this thread.
    pub fn id(&self) -> u32 {
        lcore_id()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.ours {
            // SAFETY: this is the thread that registered (the type is not `Send`), and it did so.
            // Buffers in its caches stay there for the next thread that gets its number.
            unsafe { dpdk_sys::rte_thread_unregister() };
        }
    }
}

fn lcore_id() -> u32 {
    // SAFETY: reads a thread-local integer; has no precondition.
    unsafe { dpdk_sys::fugu_lcore_id() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_pinned_to_an_allowed_cpu_only() {
        std::thread::spawn(|| {
            let cpus = allowed().unwrap();
            let last = *cpus.last().unwrap();
            pin(last).unwrap();
            assert_eq!(allowed().unwrap(), [last]);
            assert!(pin(CpuSet::MAX_CPU).is_err());
            assert!(pin(CpuSet::MAX_CPU - 1).is_err());
        })
        .join()
        .unwrap();
    }
}
