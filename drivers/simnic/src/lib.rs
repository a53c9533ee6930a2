//! In-memory network card with seeded loss, reorder and link flaps, and capture files in and out.
//!
//! Owns simulated ports ([`SimPort`]), the wires between them ([`SimNet`]), their buffers ([`SimPool`]) and
//! the reading and writing of captures ([`capture`]). Everything is deterministic: time is an argument
//! and chance comes from a seed. Knows of packet formats only what a card's flow hash needs. Read first:
//! the `nic` crate, which this implements.

#![forbid(unsafe_code)]

pub mod buf;
pub mod capture;
mod guard;
pub mod net;
pub mod port;
pub mod replay;
pub mod rng;
pub mod toeplitz;

pub use buf::{SimBuf, SimPool};
pub use net::{Flap, SimNet, Wire, WireConfig};
pub use port::{HashFunction, SimPort, SimPortConfig, SimQueues, SimRx, SimStats, SimTx, Steering};

/// The types of this driver, for code that is generic over [`nic::Nic`].
#[derive(Clone, Copy, Debug)]
pub struct SimNic;

impl nic::Nic for SimNic {
    type Buf = SimBuf;
    type Pool = SimPool;
    type Rx = SimRx;
    type Tx = SimTx;
}
