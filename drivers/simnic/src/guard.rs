//! The simulated card's own memory. A worker may not allocate; tests that hold it to that must let the card do so,
//! whose real sister has its buffers in memory of its own.

/// Does work of the card, which may allocate even while the caller may not (feature `guard`).
#[cfg(feature = "guard")]
pub(crate) fn on_card<T>(work: impl FnOnce() -> T) -> T {
    assert_no_alloc::permit_alloc(work)
}

/// Does work of the card.
#[cfg(not(feature = "guard"))]
pub(crate) fn on_card<T>(work: impl FnOnce() -> T) -> T {
    work()
}
