//! Safe wrapper over DPDK that implements the `nic` traits.
//!
//! Owns every `unsafe` call into DPDK: start of the environment layer ([`Eal`]), buffer pools ([`Pool`]),
//! packet buffers ([`Mbuf`]), ports and their queues ([`port`]), ports over rings ([`cable`]),
//! registration of threads ([`lcore`]). Knows nothing of packet formats, rules or interface names. Read first: DPDK's programmer's guide, chapters
//! "Environment Abstraction Layer", "Mempool", "Mbuf" and "Poll Mode Driver".
//!
//! # Why this is sound
//!
//! - Every constructor asks for an [`Eal`], which exists only after `rte_eal_init` returned well. The
//!   environment is never torn down, so what was built on it stays valid until the process ends.
//! - Pools are never freed, so no buffer can outlive its pool.
//! - An [`Mbuf`] is the only owner of its buffer; it is not `Clone` and never one of a chain.
//! - A hardware queue is one value, handed out once, and its methods take `&mut self`: two threads cannot
//!   poll the same queue. A port is stopped only when its last queue is gone.
//! - Control calls on a port (which DPDK does not serialize) go through a lock of that port.

pub mod cable;
pub mod eal;
mod error;
pub mod lcore;
mod mbuf;
mod mempool;
pub mod port;
mod queue;
mod quirks;

pub use eal::{Eal, EalConfig};
pub use error::Error;
pub use mbuf::Mbuf;
pub use mempool::{HEADROOM, Pool, PoolConfig};
pub use port::{Port, PortConfig, PortStats, Queues};
pub use queue::{RxQueue, TxQueue};

/// The types of this driver, for code that is generic over [`nic::Nic`].
#[derive(Clone, Copy, Debug)]
pub struct DpdkNic;

impl nic::Nic for DpdkNic {
    type Buf = Mbuf;
    type Pool = Pool;
    type Rx = RxQueue;
    type Tx = TxQueue;
}
