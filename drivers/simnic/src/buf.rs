//! Packet buffers on the heap, counted.
//!
//! A pool has a limit, as a card's has, so that tests see exhaustion, and a count of buffers in use, so
//! that they see leaks.

use core::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nic::{BufferPool, NoRoom, PacketBuf, RxMeta};

use crate::guard::on_card;

/// Free bytes in front of a fresh frame, as in DPDK.
pub const HEADROOM: usize = 128;

/// Bytes of a buffer in an ordinary pool, headroom included.
pub const BUFFER_LEN: usize = 2304;

/// Longest buffer a pool can have, in bytes: lengths are 16 bits.
const BUFFER_LEN_MAX: usize = u16::MAX as usize;

/// A pool of buffers; clones are the same pool.
#[derive(Clone)]
pub struct SimPool(Arc<Inner>);

struct Inner {
    limit: usize,
    buffer_len: usize,
    in_use: AtomicUsize,
    /// Memory of buffers given back, to be used again as it is (with its old content, as in a card).
    free: Mutex<Vec<Box<[u8]>>>,
}

impl Inner {
    fn free(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        // A list of memory cannot be left half changed.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimPool {
    /// A pool of at most `limit` buffers of [`BUFFER_LEN`] bytes.
    pub fn new(limit: usize) -> SimPool {
        SimPool::with_buffer_len(limit, BUFFER_LEN)
    }

    /// A pool of at most `limit` buffers of `buffer_len` bytes (from [`HEADROOM`] to 65535).
    pub fn with_buffer_len(limit: usize, buffer_len: usize) -> SimPool {
        SimPool(Arc::new(Inner {
            limit,
            buffer_len: buffer_len.clamp(HEADROOM, BUFFER_LEN_MAX),
            in_use: AtomicUsize::new(0),
            free: Mutex::new(Vec::new()),
        }))
    }

    /// Buffers that exist outside the pool now. A test that ends with another count than it began with
    /// has found a leak.
    pub fn in_use(&self) -> usize {
        self.0.in_use.load(Ordering::Acquire)
    }

    /// Most buffers that can be out at once.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes that a frame may have in a fresh buffer.
    pub fn room(&self) -> usize {
        self.0.buffer_len - HEADROOM
    }

    /// A buffer with a copy of `frame` and what the card says of it; none if the pool is dry or the frame
    /// too long.
    pub fn filled(&mut self, frame: &[u8], meta: RxMeta) -> Option<SimBuf> {
        let mut buf = self.allocate()?;
        buf.append(frame.len()).ok()?;
        buf.bytes_mut().copy_from_slice(frame);
        buf.meta = meta;
        Some(buf)
    }

    /// Counts one more buffer as out, if the limit allows.
    fn reserve(&self) -> bool {
        let more = |in_use: usize| (in_use < self.0.limit).then_some(in_use + 1);
        self.0
            .in_use
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .is_ok()
    }
}

impl BufferPool for SimPool {
    type Buf = SimBuf;

    fn allocate(&mut self) -> Option<SimBuf> {
        if !self.reserve() {
            return None;
        }
        let memory = on_card(|| {
            let used_before = self.0.free().pop();
            used_before.unwrap_or_else(|| vec![0; self.0.buffer_len].into_boxed_slice())
        });
        Some(SimBuf {
            memory,
            offset: HEADROOM as u16,
            len: 0,
            meta: RxMeta::default(),
            pool: self.clone(),
        })
    }
}

impl fmt::Debug for SimPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimPool({} of {} in use)", self.in_use(), self.0.limit)
    }
}

/// A packet buffer. Dropping it gives it back to its pool.
pub struct SimBuf {
    memory: Box<[u8]>,
    offset: u16,
    len: u16,
    meta: RxMeta,
    pool: SimPool,
}

impl SimBuf {
    fn start(&self) -> usize {
        usize::from(self.offset)
    }

    fn end(&self) -> usize {
        self.start() + self.len()
    }
}

/// `n` as a 16-bit length, if it is at most `limit`.
fn within(n: usize, limit: usize) -> Result<u16, NoRoom> {
    match u16::try_from(n) {
        Ok(short) if n <= limit => Ok(short),
        _ => Err(NoRoom),
    }
}

impl PacketBuf for SimBuf {
    fn bytes(&self) -> &[u8] {
        &self.memory[self.start()..self.end()]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.start(), self.end());
        &mut self.memory[start..end]
    }

    fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn headroom(&self) -> usize {
        self.start()
    }

    fn tailroom(&self) -> usize {
        self.memory.len() - self.end()
    }

    fn prepend(&mut self, n: usize) -> Result<(), NoRoom> {
        let n = within(n, self.headroom())?;
        self.offset -= n;
        self.len += n;
        Ok(())
    }

    fn advance(&mut self, n: usize) {
        let n = u16::try_from(n).map_or(self.len, |n| n.min(self.len));
        self.offset += n;
        self.len -= n;
    }

    fn append(&mut self, n: usize) -> Result<(), NoRoom> {
        self.len += within(n, self.tailroom())?;
        Ok(())
    }

    fn truncate(&mut self, len: usize) {
        if let Ok(len) = u16::try_from(len) {
            self.len = self.len.min(len);
        }
    }

    fn rx_meta(&self) -> RxMeta {
        self.meta
    }
}

impl Drop for SimBuf {
    fn drop(&mut self) {
        let memory = core::mem::take(&mut self.memory);
        on_card(|| self.pool.0.free().push(memory));
        self.pool.0.in_use.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for SimBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimBuf({:02x?})", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = BUFFER_LEN - HEADROOM;

    #[test]
    fn a_pool_has_a_limit_and_gets_everything_back() {
        let mut pool = SimPool::new(3);
        let held: Vec<SimBuf> = core::iter::from_fn(|| pool.allocate()).collect();
        assert_eq!((held.len(), pool.in_use()), (3, 3));
        drop(held);
        assert_eq!(pool.in_use(), 0);
        assert!(pool.allocate().is_some());
    }

    #[test]
    fn a_frame_grows_and_shrinks_within_its_buffer() {
        let mut buf = SimPool::new(1).allocate().unwrap();
        assert_eq!(
            (buf.len(), buf.headroom(), buf.tailroom()),
            (0, HEADROOM, ROOM)
        );
        assert_eq!(buf.append(ROOM + 1), Err(NoRoom));
        assert_eq!(buf.append(ROOM), Ok(()));
        assert_eq!(buf.append(1), Err(NoRoom));
        assert_eq!(buf.prepend(HEADROOM + 1), Err(NoRoom));
        assert_eq!(buf.prepend(HEADROOM), Ok(()));
        assert_eq!(buf.prepend(usize::MAX), Err(NoRoom));
        assert_eq!(
            (buf.len(), buf.headroom(), buf.tailroom()),
            (BUFFER_LEN, 0, 0)
        );
        buf.truncate(10);
        buf.truncate(11);
        buf.truncate(usize::MAX);
        assert_eq!(buf.len(), 10);
        buf.advance(9);
        assert_eq!((buf.len(), buf.headroom()), (1, 9));
        buf.advance(usize::MAX);
        assert_eq!((buf.len(), buf.headroom()), (0, 10));
    }

    #[test]
    fn a_frame_too_long_for_the_pool_is_refused_without_a_leak() {
        let mut pool = SimPool::with_buffer_len(1, HEADROOM + 60);
        assert!(pool.filled(&[0; 61], RxMeta::default()).is_none());
        assert_eq!(pool.in_use(), 0);
        assert_eq!(
            pool.filled(&[7; 60], RxMeta::default()).unwrap().bytes(),
            [7; 60]
        );
    }
}
