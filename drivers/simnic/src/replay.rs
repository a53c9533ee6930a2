//! A replay device for benches: hands out prepared frames at next to no cost.
//!
//! Stands for a fast card in measurements of the packet path. Frames lie in one slab larger than the
//! second-level cache, in random order, and are written before the measured time begins, in the order in
//! which they are received: when the header lines of all frames together are more than the second-level
//! cache, each has left it before its turn comes, and is as cold as one that a card has just written (in
//! the last-level cache, where cards write on servers, if it fits there; in memory if not). A buffer is a
//! 16-byte handle. Receiving moves handles out of a list, sending moves them back into another; nothing is
//! locked, copied or allocated. What a real driver has beside that, descriptors and the line of the mbuf
//! that it fills in, is not modelled.
//!
//! One thread only: the device is the thread's own, so that neither queues nor buffers need a lock to reach
//! it. Buffers dropped by another thread are lost to this one.
//!
//! A run is: [`Replay::new`] once; then, as often as wanted, [`Replay::load`] untimed and turns of the
//! packet code, timed, until [`Replay::pending`] is 0. For 2 MiB pages, as real pools have, run with
//! `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`.

use core::cell::RefCell;
use core::fmt;
use core::marker::PhantomData;

use nic::{Burst, Checksum, NoRoom, PacketBuf, RxMeta};

use crate::rng::Rng;

/// Free bytes in front of a frame, as in DPDK.
pub const HEADROOM: usize = 128;

/// Bytes for a frame.
pub const ROOM: usize = FRAME_LEN - HEADROOM;

/// 35 cache lines: an odd number, so that the headers of a burst spread over all sets of the first-level
/// cache. With 2048 bytes they would share two sets and evict each other, which real pools avoid as well.
const FRAME_LEN: usize = 35 * 64;

/// Ports of one device. A bench of several workers gives each receive queue of a port a number of its own.
pub const PORTS: usize = 8;

/// The types of this device, for code that is generic over [`nic::Nic`].
#[derive(Clone, Copy, Debug)]
pub struct ReplayNic;

impl nic::Nic for ReplayNic {
    type Buf = ReplayBuf;
    type Pool = ReplayPool;
    type Rx = ReplayRx;
    type Tx = ReplayTx;
}

#[derive(Clone)]
#[repr(align(64))]
struct Frame([u8; FRAME_LEN]);

/// What a thread's device consists of.
struct Device {
    /// Frames that nobody holds.
    home: Vec<&'static mut Frame>,
    /// Frames to be received, last one first.
    ready: [Vec<ReplayBuf>; PORTS],
    /// Of these, how many may be received now.
    arrived: [usize; PORTS],
    sent: [u64; PORTS],
}

thread_local! {
    static DEVICE: RefCell<Device> = const {
        RefCell::new(Device {
            home: Vec::new(),
            ready: [const { Vec::new() }; PORTS],
            arrived: [usize::MAX; PORTS],
            sent: [0; PORTS],
        })
    };
}

fn with_device<R>(action: impl FnOnce(&mut Device) -> R) -> R {
    // Never borrowed twice: no action calls out of this file, and none drops a buffer.
    DEVICE.with(|device| action(&mut device.borrow_mut()))
}

/// What a frame to be received is like beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// Length in bytes; cut to [`ROOM`].
    pub len: usize,
    /// Flow hash that the card is to report. 0 cannot be told from none and counts as none.
    pub rss_hash: Option<u32>,
}

/// The bench's hold on the device of its thread.
#[derive(Debug)]
pub struct Replay {
    size: usize,
    /// The device is the thread's.
    not_send: PhantomData<*const ()>,
}

impl Replay {
    /// Gives this thread a device of `frames` frames, each with `template` in it, in random order by `seed`.
    /// The memory is never given back. A thread makes one device; a second adds its frames to the first.
    pub fn new(frames: usize, template: &[u8], seed: u64) -> Replay {
        let mut blank = Frame([0; FRAME_LEN]);
        let template = &template[..template.len().min(ROOM)];
        blank.0[HEADROOM..HEADROOM + template.len()].copy_from_slice(template);
        let mut slab: Vec<&'static mut Frame> = vec![blank; frames].leak().iter_mut().collect();
        shuffle(&mut slab, &mut Rng::new(seed));
        with_device(|device| {
            device.home.extend(slab);
            // No list grows while time is taken.
            let all = device.home.len();
            device.ready.iter_mut().for_each(|ready| ready.reserve(all));
        });
        Replay {
            size: frames,
            not_send: PhantomData,
        }
    }

    /// Frames in all.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Frames that nobody holds; [`Replay::size`] when the packet code has let go of all.
    pub fn home(&self) -> usize {
        with_device(|device| device.home.len())
    }

    /// Makes up to `count` frames ready to be received from `port`, in order; says how many. `fill` gets
    /// the number of the frame and its [`ROOM`] bytes as they were left after its last use, and writes what
    /// differs. Does nothing while frames of an earlier load are pending.
    pub fn load(
        &mut self,
        port: usize,
        count: usize,
        mut fill: impl FnMut(usize, &mut [u8]) -> Loaded,
    ) -> usize {
        assert!(port < PORTS, "port {port} of {PORTS}");
        if self.pending(port) != 0 {
            return 0;
        }
        // Both lists are out of the device while `fill` runs, which may be anything.
        let (mut home, mut ready) = with_device(|device| {
            (
                core::mem::take(&mut device.home),
                core::mem::take(&mut device.ready[port]),
            )
        });
        let count = count.min(home.len());
        for (number, frame) in home.drain(home.len() - count..).enumerate() {
            let Loaded { len, rss_hash } = fill(number, &mut frame.0[HEADROOM..]);
            ready.push(ReplayBuf {
                frame: Some(frame),
                offset: HEADROOM as u16,
                len: len.min(ROOM) as u16,
                hash: rss_hash.unwrap_or(0),
            });
        }
        ready.reverse();
        with_device(|device| {
            // What came home meanwhile.
            home.append(&mut device.home);
            (device.home, device.ready[port]) = (home, ready);
        });
        count
    }

    /// Frames loaded for `port` and not received yet.
    pub fn pending(&self, port: usize) -> usize {
        with_device(|device| device.ready.get(port).map_or(0, Vec::len))
    }

    /// Of the frames loaded for `port`, lets only the next `frames` be received, until said otherwise: `usize::MAX`
    /// lets all.
    pub fn let_arrive(&mut self, port: usize, frames: usize) {
        assert!(port < PORTS, "port {port} of {PORTS}");
        with_device(|device| device.arrived[port] = frames);
    }

    /// Frames sent on `port` since the thread began.
    pub fn sent(&self, port: usize) -> u64 {
        with_device(|device| device.sent.get(port).copied().unwrap_or(0))
    }

    /// The queues of `port`. Any number may be made; those of one port share its frames.
    pub fn queues(&self, port: usize) -> (ReplayRx, ReplayTx) {
        assert!(port < PORTS, "port {port} of {PORTS}");
        (ReplayRx { port }, ReplayTx { port })
    }

    /// Takes buffers from the same frames, for packets that the packet code makes itself.
    pub fn pool(&self) -> ReplayPool {
        ReplayPool(())
    }
}

fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for at in (1..items.len()).rev() {
        items.swap(at, rng.below(at as u64 + 1) as usize);
    }
}

/// A handle on a frame. Dropping it brings the frame home.
pub struct ReplayBuf {
    /// None only while being dropped.
    frame: Option<&'static mut Frame>,
    offset: u16,
    len: u16,
    hash: u32,
}

const _: () = assert!(size_of::<ReplayBuf>() == 16);

impl PacketBuf for ReplayBuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        let start = usize::from(self.offset);
        self.frame
            .as_deref()
            .map_or(&[], |frame| &frame.0[start..start + usize::from(self.len)])
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let start = usize::from(self.offset);
        let end = start + usize::from(self.len);
        self.frame
            .as_deref_mut()
            .map_or(&mut [], |frame| &mut frame.0[start..end])
    }

    #[inline]
    fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline]
    fn headroom(&self) -> usize {
        usize::from(self.offset)
    }

    #[inline]
    fn tailroom(&self) -> usize {
        FRAME_LEN - usize::from(self.offset) - usize::from(self.len)
    }

    #[inline]
    fn prepend(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.headroom() {
            return Err(NoRoom);
        }
        self.offset -= n as u16;
        self.len += n as u16;
        Ok(())
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        let n = n.min(self.len()) as u16;
        self.offset += n;
        self.len -= n;
    }

    #[inline]
    fn append(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.tailroom() {
            return Err(NoRoom);
        }
        self.len += n as u16;
        Ok(())
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        self.len = len.min(self.len()) as u16;
    }

    /// Checksums are good: a card worth measuring verifies them.
    #[inline]
    fn rx_meta(&self) -> RxMeta {
        RxMeta {
            rss_hash: (self.hash != 0).then_some(self.hash),
            ip_checksum: Checksum::Good,
            l4_checksum: Checksum::Good,
        }
    }

    #[inline]
    fn prefetch(&self) {
        if let Some(frame) = self.frame.as_deref() {
            sync::cache::prefetch_at(frame, usize::from(self.offset));
            if usize::from(self.len) > nic::LINE {
                sync::cache::prefetch_at(frame, usize::from(self.offset) + nic::LINE);
            }
        }
    }
}

impl Drop for ReplayBuf {
    #[inline]
    fn drop(&mut self) {
        let Some(frame) = self.frame.take() else {
            return;
        };
        // When the thread ends, its device may be gone before its buffers: then the frame is just lost.
        DEVICE
            .try_with(|device| {
                if let Ok(mut device) = device.try_borrow_mut() {
                    device.home.push(frame);
                }
            })
            .ok();
    }
}

impl fmt::Debug for ReplayBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayBuf({} bytes)", self.len)
    }
}

/// Takes buffers from the frames that nobody holds.
#[derive(Debug)]
pub struct ReplayPool(());

impl nic::BufferPool for ReplayPool {
    type Buf = ReplayBuf;

    #[inline]
    fn allocate(&mut self) -> Option<ReplayBuf> {
        let frame = with_device(|device| device.home.pop())?;
        Some(ReplayBuf {
            frame: Some(frame),
            offset: HEADROOM as u16,
            len: 0,
            hash: 0,
        })
    }
}

/// Receives the frames that were loaded.
#[derive(Debug)]
pub struct ReplayRx {
    port: usize,
}

impl nic::RxQueue for ReplayRx {
    type Buf = ReplayBuf;

    #[inline]
    fn receive_some(&mut self, burst: &mut Burst<ReplayBuf>, most: usize) -> usize {
        with_device(|device| {
            let ready = &mut device.ready[self.port];
            // As a driver sees at its next descriptor.
            if ready.is_empty() {
                return 0;
            }
            let count = ready.len().min(burst.capacity() - burst.len()).min(most);
            let arrived = &mut device.arrived[self.port];
            let count = count.min(*arrived);
            if *arrived != usize::MAX {
                *arrived -= count;
            }
            burst.extend(ready.drain(ready.len() - count..).rev());
            count
        })
    }
}

/// Brings frames home and counts them.
#[derive(Debug)]
pub struct ReplayTx {
    port: usize,
}

impl nic::TxQueue for ReplayTx {
    type Buf = ReplayBuf;

    #[inline]
    fn transmit(&mut self, burst: &mut Burst<ReplayBuf>) -> usize {
        let count = burst.len();
        with_device(|device| {
            device
                .home
                .extend(burst.iter_mut().filter_map(|buf| buf.frame.take()));
            device.sent[self.port] += count as u64;
        });
        // Only empty handles are left.
        burst.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nic::{BufferPool, RxQueue, TxQueue};

    fn numbered(number: usize, room: &mut [u8]) -> Loaded {
        room[..2].copy_from_slice(&(number as u16).to_be_bytes());
        Loaded {
            len: 60,
            rss_hash: Some(number as u32),
        }
    }

    #[test]
    fn loaded_frames_arrive_in_order_and_come_home() {
        let mut replay = Replay::new(200, &[7; 60], 1);
        let (mut rx, _) = replay.queues(0);
        let (_, mut tx) = replay.queues(1);
        for round in 1..=3 {
            assert_eq!(replay.load(0, 150, numbered), 150);
            assert_eq!(
                replay.load(0, 150, numbered),
                0,
                "the first load is pending"
            );
            assert_eq!(
                (replay.pending(0), replay.pending(1), replay.home()),
                (150, 0, 50)
            );
            let mut expected = 0u16;
            let mut burst = Burst::new();
            while rx.receive(&mut burst) > 0 {
                for buf in &burst {
                    assert_eq!(buf.bytes()[..2], expected.to_be_bytes());
                    assert_eq!(buf.bytes()[2..], [7; 58], "the template is still there");
                    let hash = (expected != 0).then_some(u32::from(expected));
                    assert_eq!(buf.rx_meta().rss_hash, hash);
                    expected += 1;
                }
                // Some are blocked, the rest is sent.
                burst.truncate(50);
                tx.transmit(&mut burst);
            }
            assert_eq!((expected, replay.home()), (150, 200));
            assert_eq!(replay.sent(1), round * (50 + 50 + 22));
        }
    }

    #[test]
    fn a_load_takes_no_more_than_there_is() {
        let mut replay = Replay::new(10, &[], 2);
        let held = replay.pool().allocate().unwrap();
        assert_eq!(replay.load(2, usize::MAX, numbered), 9);
        assert!(replay.pool().allocate().is_none());
        drop(held);
        assert_eq!(replay.home(), 1);
    }

    #[test]
    fn frames_arrive_no_sooner_than_they_may() {
        let mut replay = Replay::new(100, &[], 5);
        replay.load(0, 100, numbered);
        let (mut rx, mut tx) = replay.queues(0);
        let mut burst = Burst::new();
        let mut receive = |replay: &mut Replay, frames| {
            replay.let_arrive(0, frames);
            let received = rx.receive(&mut burst);
            let more = received + rx.receive(&mut burst);
            tx.transmit(&mut burst);
            (received, more)
        };
        assert_eq!(receive(&mut replay, 0), (0, 0));
        assert_eq!(receive(&mut replay, 3), (3, 3));
        assert_eq!((replay.pending(0), replay.sent(0)), (97, 3));
        assert_eq!(receive(&mut replay, usize::MAX), (64, 64));
        assert_eq!(receive(&mut replay, usize::MAX), (33, 33));
    }

    #[test]
    fn frames_are_handed_out_in_random_order() {
        let mut replay = Replay::new(1000, &[], 3);
        let mut places = Vec::new();
        replay.load(0, 1000, |_, room| {
            places.push(room.as_ptr() as usize);
            Loaded {
                len: 60,
                rss_hash: None,
            }
        });
        let neighbors = places
            .windows(2)
            .filter(|pair| pair[0].abs_diff(pair[1]) == FRAME_LEN);
        assert!(neighbors.count() < 20);
        places.sort_unstable();
        assert!(
            places.windows(2).all(|pair| pair[1] - pair[0] == FRAME_LEN),
            "one slab"
        );
    }

    #[test]
    fn a_frame_grows_and_shrinks_within_its_buffer() {
        let replay = Replay::new(1, &[], 4);
        let mut buf = replay.pool().allocate().unwrap();
        assert_eq!(
            (buf.len(), buf.headroom(), buf.tailroom()),
            (0, HEADROOM, ROOM)
        );
        assert_eq!(buf.append(ROOM + 1), Err(NoRoom));
        assert_eq!(buf.append(ROOM), Ok(()));
        assert_eq!(buf.append(1), Err(NoRoom));
        assert_eq!(buf.prepend(usize::MAX), Err(NoRoom));
        assert_eq!(buf.prepend(HEADROOM + 1), Err(NoRoom));
        assert_eq!(buf.prepend(HEADROOM), Ok(()));
        assert_eq!(
            (buf.bytes().len(), buf.bytes_mut().len()),
            (FRAME_LEN, FRAME_LEN)
        );
        buf.truncate(10);
        buf.truncate(usize::MAX);
        buf.advance(9);
        assert_eq!((buf.len(), buf.headroom()), (1, 9));
        buf.advance(usize::MAX);
        assert_eq!((buf.len(), buf.headroom()), (0, 10));
    }
}
