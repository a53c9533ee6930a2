//! Buffer pools.
//!
//! A pool is never freed: buffers may sit in a card's rings, in bursts and in caches of threads, and a
//! reference count per buffer would cost more than the few pools a process makes. Read first: DPDK
//! programmer's guide, "Mempool Library".

use core::fmt;
use core::ptr::NonNull;
use std::ffi::CString;

use crate::eal::Eal;
use crate::error::{Errno, Error};
use crate::mbuf::Mbuf;

/// Most buffers that a thread's cache may hold (`RTE_MEMPOOL_CACHE_MAX_SIZE`).
const CACHE_MAX: u32 = 512;

/// Free bytes in front of a received frame.
pub const HEADROOM: u16 = dpdk_sys::RTE_PKTMBUF_HEADROOM as u16;

/// What a pool is to be like.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Unique within the process, at most 25 bytes.
    pub name: String,
    /// Number of buffers. One less than a power of two wastes least memory.
    pub mbufs: u32,
    /// Buffers that each registered thread may keep for itself; made smaller if the pool is small.
    pub cache: u32,
    /// Bytes for a frame in each buffer, beside [`HEADROOM`].
    pub data_room: u16,
    /// Memory node, or any.
    pub socket: Option<u32>,
}

impl Default for PoolConfig {
    fn default() -> PoolConfig {
        PoolConfig {
            name: "mbufs".to_owned(),
            mbufs: 8191,
            cache: 256,
            data_room: 2048,
            socket: None,
        }
    }
}

/// A handle on a buffer pool; clones are the same pool.
///
/// Sharing is sound because a pool is thread-safe by itself: its buffers lie in a ring with many producers
/// and many consumers, and each cache is touched only by the thread that has its number.
#[derive(Clone)]
pub struct Pool {
    raw: NonNull<dpdk_sys::rte_mempool>,
    data_room: u16,
}

// SAFETY: see the type's documentation: `rte_mempool_get`, `_put` and the counts may be called by any
// thread at any time, and a pool lives until the process ends.
unsafe impl Send for Pool {}
// SAFETY: as above; no method needs more than a shared reference.
unsafe impl Sync for Pool {}

impl Pool {
    /// Makes a pool. It stays until the process ends.
    pub fn new(_eal: Eal, config: &PoolConfig) -> Result<Pool, Error> {
        let name = CString::new(config.name.as_str())
            .map_err(|_| Error::BadArgument(config.name.clone()))?;
        let too_large = || Error::Pool {
            name: config.name.clone(),
            errno: Errno(22),
        };
        let room = config
            .data_room
            .checked_add(HEADROOM)
            .ok_or_else(too_large)?;
        // DPDK refuses caches of more than two thirds of the pool.
        let cache = config.cache.min(CACHE_MAX).min(config.mbufs / 2);
        let socket = config.socket.map_or(-1, |node| node as i32);
        // SAFETY: DPDK runs, and `name` is a zero-terminated string that is copied.
        let raw = unsafe {
            dpdk_sys::rte_pktmbuf_pool_create(name.as_ptr(), config.mbufs, cache, 0, room, socket)
        };
        let raw = NonNull::new(raw).ok_or_else(|| Error::Pool {
            name: config.name.clone(),
            errno: Errno::last(),
        })?;
        Ok(Pool {
            raw,
            data_room: config.data_room,
        })
    }

    /// Bytes for a frame in each buffer, beside the headroom.
    pub fn data_room(&self) -> u16 {
        self.data_room
    }

    /// Buffers in all.
    pub fn size(&self) -> u32 {
        // SAFETY: the pool lives until the process ends; the field never changes.
        unsafe { dpdk_sys::fugu_mempool_size(self.raw.as_ptr()) }
    }

    /// Buffers that can be taken now, those in the caches of threads included. Exact when no thread
    /// takes or gives back meanwhile.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives until the process ends; reading counts is allowed at any time.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    /// Buffers out of the pool: in bursts, and in the rings of started ports.
    pub fn in_use(&self) -> u32 {
        // SAFETY: as in `available`.
        unsafe { dpdk_sys::rte_mempool_in_use_count(self.raw.as_ptr()) }
    }

    pub(crate) fn as_ptr(&self) -> *mut dpdk_sys::rte_mempool {
        self.raw.as_ptr()
    }
}

impl nic::BufferPool for Pool {
    type Buf = Mbuf;

    fn allocate(&mut self) -> Option<Mbuf> {
        // SAFETY: the pool is a pool of mbufs and lives until the process ends.
        let raw = unsafe { dpdk_sys::fugu_mbuf_alloc(self.raw.as_ptr()) };
        // SAFETY: DPDK gives an mbuf to one caller only, reset: one segment, length 0, default headroom.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} of {} in use)", self.in_use(), self.size())
    }
}
