//! What a rig's packets come from and go to: the replay device, or ports of DPDK over rings (`bench-ring`).

use nic::{Nic, PacketBuf, RxQueue, TxQueue};
use simnic::replay::{Loaded, Replay, ReplayNic};
use worker::WorkerPort;

/// Most workers.
pub(crate) const WORKERS_MAX: usize = 4;
/// Ports of a device.
pub(crate) const PORTS: usize = 2;

/// Buffers of a device.
pub(crate) type BufOf<D> = <<D as Device>::Nic as Nic>::Buf;

/// Number of a receive queue among those of the device.
pub(crate) fn lane(port: usize, worker: usize) -> usize {
    port * WORKERS_MAX + worker
}

/// Frames in memory, in random order, that ports receive and send; on one thread.
pub(crate) trait Device: Sized {
    /// Its buffers and queues.
    type Nic: Nic;
    /// The queue of each port from which [`Device::reflect`] receives.
    const MIRROR: usize;
    /// A device with at least so many frames.
    fn with_frames(frames: usize) -> Self;
    /// What a worker has of a port that receives from this queue of it. Asked for once for each.
    fn worker_port(&mut self, port: usize, queue: usize) -> WorkerPort<Self::Nic>;
    /// Where workers take buffers for packets of their own.
    fn pool(&self) -> <Self::Nic as Nic>::Pool;
    /// Makes up to `count` frames ready to be received on a lane, in order; says how many. `fill` gets the number of the
    /// frame and its room, as it was left after its last use, and writes what differs.
    fn load(
        &mut self,
        lane: usize,
        count: usize,
        fill: impl FnMut(usize, &mut [u8]) -> Loaded,
    ) -> usize;
    /// Frames loaded for a lane and not received yet; 0 if the device does not know.
    fn pending(&self, lane: usize) -> usize;
    /// Frames that nobody holds.
    fn home(&self) -> usize;
    /// The device alone, as testpmd's `macswap` uses one: every frame that waits in a mirror's queue is received, its
    /// station addresses are exchanged, and it is sent by the second port.
    fn reflect(&mut self);
}

/// Receives everything, exchanges the station addresses, and sends it.
#[inline]
pub(crate) fn swap<R: RxQueue, T: TxQueue<Buf = R::Buf>>(rx: &mut R, tx: &mut T) {
    let mut burst = nic::Burst::new();
    while rx.receive(&mut burst) > 0 {
        for buf in &burst {
            buf.prefetch();
        }
        for buf in &mut burst {
            if let Some(macs) = buf.bytes_mut().first_chunk_mut::<12>() {
                let (dst, src) = macs.split_at_mut(6);
                dst.swap_with_slice(src);
            }
        }
        while tx.transmit(&mut burst) > 0 {}
    }
}

impl Device for Replay {
    type Nic = ReplayNic;
    // Queues can be made as often as wanted.
    const MIRROR: usize = 0;

    fn with_frames(frames: usize) -> Self {
        // A thread has one device; a second rig on it goes on with the frames of the first.
        let device = Replay::new(0, &[], 1);
        match device.home() {
            enough if enough >= frames => device,
            home => Replay::new(frames - home, &[0; 64], 1),
        }
    }

    fn worker_port(&mut self, port: usize, queue: usize) -> WorkerPort<ReplayNic> {
        WorkerPort {
            rx: Some(self.queues(lane(port, queue)).0),
            tx: Some(self.queues(port).1),
        }
    }

    fn pool(&self) -> simnic::replay::ReplayPool {
        Replay::pool(self)
    }

    fn load(
        &mut self,
        lane: usize,
        count: usize,
        fill: impl FnMut(usize, &mut [u8]) -> Loaded,
    ) -> usize {
        Replay::load(self, lane, count, fill)
    }

    fn pending(&self, lane: usize) -> usize {
        Replay::pending(self, lane)
    }

    fn home(&self) -> usize {
        Replay::home(self)
    }

    fn reflect(&mut self) {
        for port in 0..PORTS {
            let (mut rx, mut tx) = (self.queues(lane(port, Self::MIRROR)).0, self.queues(1).1);
            swap(&mut rx, &mut tx);
        }
    }
}
