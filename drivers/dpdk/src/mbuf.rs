//! One packet buffer, owned.
//!
//! Keeps what everything else relies on: the owner is alone, the packet is in one piece, and data offset
//! and length stay inside the buffer. Read first: DPDK programmer's guide, "Mbuf Library".

use core::fmt;
use core::ptr::NonNull;

use dpdk_sys::rte_mbuf;
use nic::{Checksum, NoRoom, RxMeta};

/// A packet in one buffer. Dropping it gives the buffer back to its pool.
///
/// Invariants: this is the only owner (reference count 1, direct buffer); `nb_segs` is 1 and `next` null;
/// `data_off + data_len <= buf_len`; `pkt_len == data_len`; `buf_addr` is valid for `buf_len` bytes.
#[repr(transparent)]
pub struct Mbuf(NonNull<rte_mbuf>);

// A burst of these is passed to DPDK as an array of pointers.
const _: () = assert!(size_of::<Mbuf>() == size_of::<*mut rte_mbuf>());

// SAFETY: an mbuf has no ties to a thread: it may be freed by another one than took it (pools are
// thread-safe), and the only owner moves as a whole.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes ownership.
    ///
    /// # Safety
    ///
    /// `raw` keeps the invariants of the type, except that it may be one of a chain, in which case nothing
    /// but [`Mbuf::make_contiguous`] or drop may follow.
    pub(crate) unsafe fn from_raw(raw: NonNull<rte_mbuf>) -> Mbuf {
        Mbuf(raw)
    }

    fn header(&self) -> &rte_mbuf {
        // SAFETY: the pointer is valid as long as `self` lives, and nobody else writes (sole owner).
        unsafe { self.0.as_ref() }
    }

    fn header_mut(&mut self) -> &mut rte_mbuf {
        // SAFETY: as in `header`, and `&mut self` makes the access exclusive.
        unsafe { self.0.as_mut() }
    }

    /// Over how many buffers the packet is spread: some drivers deliver long ones in several.
    pub(crate) fn segments(&self) -> u16 {
        self.header().nb_segs
    }

    /// What the card reports, as DPDK's flags.
    pub(crate) fn flags(&self) -> u64 {
        self.header().ol_flags
    }

    /// Copies all pieces into the first buffer; false if it is too small.
    pub(crate) fn make_contiguous(&mut self) -> bool {
        // SAFETY: the mbuf is ours, a chain as a driver built it, and not shared.
        unsafe { dpdk_sys::fugu_mbuf_linearize(self.0.as_ptr()) == 0 }
    }

    /// Forgets the flow hash that the card reported.
    pub(crate) fn clear_hash(&mut self) {
        self.header_mut().ol_flags &= !dpdk_sys::FUGU_RX_RSS_HASH;
    }

    fn set_len(&mut self, len: u16) {
        let header = self.header_mut();
        header.data_len = len;
        header.pkt_len = u32::from(len);
    }

    fn data(&self) -> NonNull<u8> {
        let header = self.header();
        // SAFETY: `data_off <= buf_len` by invariant, so the result stays inside the buffer or one past
        // its end; `buf_addr` is not null.
        unsafe {
            NonNull::new_unchecked(
                header
                    .buf_addr
                    .cast::<u8>()
                    .add(usize::from(header.data_off)),
            )
        }
    }
}

/// `n` as a 16-bit length, if it is at most `limit`.
fn within(n: usize, limit: usize) -> Result<u16, NoRoom> {
    match u16::try_from(n) {
        Ok(short) if n <= limit => Ok(short),
        _ => Err(NoRoom),
    }
}

impl nic::PacketBuf for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: `data_len` bytes from the data offset lie inside the buffer (invariant), which is
        // initialized memory of the process and borrowed as long as `self` is.
        unsafe { core::slice::from_raw_parts(self.data().as_ptr(), self.len()) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes the access exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.data().as_ptr(), self.len()) }
    }

    #[inline]
    fn len(&self) -> usize {
        usize::from(self.header().data_len)
    }

    #[inline]
    fn headroom(&self) -> usize {
        usize::from(self.header().data_off)
    }

    #[inline]
    fn tailroom(&self) -> usize {
        let header = self.header();
        usize::from(header.buf_len) - usize::from(header.data_off) - usize::from(header.data_len)
    }

    #[inline]
    fn prepend(&mut self, n: usize) -> Result<(), NoRoom> {
        let n = within(n, self.headroom())?;
        let header = self.header_mut();
        header.data_off -= n;
        let len = header.data_len + n;
        self.set_len(len);
        Ok(())
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        let header = self.header_mut();
        let n = u16::try_from(n).map_or(header.data_len, |n| n.min(header.data_len));
        header.data_off += n;
        let len = header.data_len - n;
        self.set_len(len);
    }

    #[inline]
    fn append(&mut self, n: usize) -> Result<(), NoRoom> {
        let n = within(n, self.tailroom())?;
        let len = self.header().data_len + n;
        self.set_len(len);
        Ok(())
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        if let Ok(len) = u16::try_from(len)
            && len < self.header().data_len
        {
            self.set_len(len);
        }
    }

    #[inline]
    fn rx_meta(&self) -> RxMeta {
        let header = self.header();
        let flags = header.ol_flags;
        // SAFETY: the member is a u32, for which any bits are a value; whether it means anything the flag
        // says.
        let rss = unsafe { header.__bindgen_anon_2.hash.rss };
        let rss_hash = (flags & dpdk_sys::FUGU_RX_RSS_HASH != 0).then_some(rss);
        RxMeta {
            rss_hash,
            ip_checksum: checksum(
                flags & dpdk_sys::FUGU_RX_IP_CKSUM_MASK,
                dpdk_sys::FUGU_RX_IP_CKSUM_GOOD,
                dpdk_sys::FUGU_RX_IP_CKSUM_BAD,
            ),
            l4_checksum: checksum(
                flags & dpdk_sys::FUGU_RX_L4_CKSUM_MASK,
                dpdk_sys::FUGU_RX_L4_CKSUM_GOOD,
                dpdk_sys::FUGU_RX_L4_CKSUM_BAD,
            ),
        }
    }

    #[inline]
    fn prefetch(&self) {
        let ask = |line: *const u8| {
            // SAFETY: a prefetch reads nothing, at whatever address.
            unsafe {
                core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(
                    line.cast::<i8>(),
                );
            }
        };
        let first = self.data().as_ptr();
        ask(first);
        if self.len() > nic::LINE {
            ask(first.wrapping_add(nic::LINE));
        }
    }
}

/// The fourth value ("checksum absent, data known good") must not be taken for `Good`: the field in the
/// packet is wrong then, and the packet may leave by another card.
#[inline]
fn checksum(flags: u64, good: u64, bad: u64) -> Checksum {
    if flags == good {
        Checksum::Good
    } else if flags == bad {
        Checksum::Bad
    } else {
        Checksum::Unknown
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the only owner gives the buffer (and what may hang on it) back, once.
        unsafe { dpdk_sys::fugu_mbuf_free(self.0.as_ptr()) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mbuf({} bytes)", self.header().data_len)
    }
}
