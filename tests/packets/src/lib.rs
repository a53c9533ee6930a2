//! A rig for tests of the packet path: real workers on simulated ports, in one thread, with no clock. A test sends
//! frames into ports, says which frames must come out where, and which counters of the box must have changed; every
//! other counter must not have.
//!
//! Read first: [`Rig`], then `tests/cases`. Knows the dataplane through `worker`'s public face only.

#![forbid(unsafe_code)]

pub mod packet;
pub mod policy;
pub mod rig;
pub mod tally;
pub mod topology;

/// Ends the program if a worker allocates or frees memory during a turn. It writes memory that is to be zero, whoever may
/// use it, so what is resident is measured without.
#[cfg(all(debug_assertions, feature = "guard"))]
#[global_allocator]
static GUARD: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;

pub use packet::{Packet, echo, echo_reply, raw, tcp, udp};
pub use rig::{Rig, Spread, everywhere};
pub use topology::{Made, Topology};
