//! A cable: two ports in memory, connected to each other by rings.
//!
//! What is sent on a queue of one port is received on the same queue of the other; buffers go through as they are, and
//! nothing is copied. For measurements and tests in one process: DPDK's own ports, queues and buffers around packet code,
//! with the other end in the hands of the test. A `net_ring` that comes from an argument has one ring for both
//! directions and so hears nothing but itself. Read first: DPDK's "Libpcap and Ring Based Poll Mode Drivers", and
//! `rte_eth_ring.h`.

use std::ffi::CString;

use nic::PortId;

use crate::eal::Eal;
use crate::error::{Errno, Error};

/// Most queues of a port (`RTE_PMD_RING_MAX_RX_RINGS`).
const QUEUES_MAX: u16 = 16;

type Ring = *mut dpdk_sys::rte_ring;

/// Makes both ends, each with so many receive and transmit queues, of which each holds `depth` packets on their way.
/// `name` is unique within the process, at most 15 bytes; the ports are called `net_ring_` with the name, `a` and `b`.
/// They stay until the process ends.
pub fn lay(_eal: Eal, name: &str, queues: u16, depth: u32) -> Result<[PortId; 2], Error> {
    let queues = queues.clamp(1, QUEUES_MAX);
    let rings = |way: &str| -> Result<Vec<Ring>, Error> {
        (0..queues)
            .map(|queue| ring(&format!("{name}{way}{queue}"), depth))
            .collect()
    };
    let (there, back) = (rings(">")?, rings("<")?);
    Ok([
        port(&format!("{name}a"), &back, &there)?,
        port(&format!("{name}b"), &there, &back)?,
    ])
}

fn failed(name: &str) -> Error {
    Error::Cable {
        name: name.to_owned(),
        errno: Errno::last(),
    }
}

fn zero_terminated(name: &str) -> Result<CString, Error> {
    CString::new(name).map_err(|_| Error::BadArgument(name.to_owned()))
}

/// A ring with one producer and one consumer: the queues of a port are one value each.
fn ring(name: &str, depth: u32) -> Result<Ring, Error> {
    let text = zero_terminated(name)?;
    let flags = dpdk_sys::RING_F_SP_ENQ | dpdk_sys::RING_F_SC_DEQ | dpdk_sys::RING_F_EXACT_SZ;
    // SAFETY: DPDK runs, and the name is a zero-terminated string that is copied.
    let ring = unsafe { dpdk_sys::rte_ring_create(text.as_ptr(), depth, node(), flags) };
    if ring.is_null() {
        return Err(failed(name));
    }
    Ok(ring)
}

fn port(name: &str, rx: &[Ring], tx: &[Ring]) -> Result<PortId, Error> {
    let text = zero_terminated(name)?;
    // SAFETY: DPDK runs; the name and both arrays are copied, each array has as many rings as is said, and rings are never
    // freed. Each ring is written by a queue of one port and read by one of the other, as their flags promise.
    let port = unsafe {
        dpdk_sys::rte_eth_from_rings(
            text.as_ptr(),
            rx.as_ptr(),
            rx.len() as u32,
            tx.as_ptr(),
            tx.len() as u32,
            node() as u32,
        )
    };
    u16::try_from(port).map(PortId).map_err(|_| failed(name))
}

/// The memory node of this thread.
fn node() -> i32 {
    // SAFETY: has no precondition.
    unsafe { dpdk_sys::rte_socket_id() as i32 }
}
