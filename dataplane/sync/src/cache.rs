//! Cache lines: alignment and the prefetch hint.

use core::ops::{Deref, DerefMut};

/// A value on cache lines of its own, so that writing it never takes a line from another core.
#[repr(align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheLine<T>(pub T);

impl<T> Deref for CacheLine<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for CacheLine<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Asks the cache for the line in which `value` begins. Changes nothing but time.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    prefetch_at(value, 0);
}

/// Asks the cache for the line `offset` bytes into `value`; an offset outside of it is ignored.
#[inline(always)]
pub fn prefetch_at<T>(value: &T, offset: usize) {
    if offset < size_of::<T>().max(1) {
        let line = core::ptr::from_ref(value).cast::<i8>().wrapping_add(offset);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: needed because safe Rust has no prefetch on stable. The instruction reads nothing
        // architecturally and cannot fault on any address; `line` lies inside a live reference anyway.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(line);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _unused = line;
    }
}
