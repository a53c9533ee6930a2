//! What flows count of a burst: packets that came in and leave by the same interfaces, in a row, are added to the counters of
//! these together.
//!
//! Read first: ARCHITECTURE.md, "Flow 1".

use net::InterfaceId;
use net::link::{Links, Out, TAG_LEN};
use ruleset::{Af, Direction};
use wire::ether::HEADER_LEN as ETHERNET;

use crate::counters::Counters;
use crate::exit::Exit;
use crate::lane::Lane;

/// Packets in a row, of one family, a burst of them at most.
#[derive(Clone, Copy)]
pub(crate) struct Sum<'x> {
    /// Where they came in, as of `Ends::interface_and_family`; nothing before there are any.
    came: u32,
    /// How the first of them leaves, and the others by the same interface.
    exit: Option<&'x Exit>,
    interface: u16,
    packets: u32,
    bytes: u64,
    /// Bytes of the frames that they came in.
    frames: u32,
}

impl<'x> Sum<'x> {
    /// No packets.
    pub(crate) const NOTHING: Sum<'static> = Sum {
        came: u32::MAX,
        exit: None,
        interface: 0,
        packets: 0,
        bytes: 0,
        frames: 0,
    };

    /// Of packets that come in so, and leave so.
    #[inline(always)]
    pub(crate) fn of(came: u32, exit: &'x Exit) -> Self {
        Sum {
            came,
            exit: Some(exit),
            interface: exit.interface,
            ..Sum::NOTHING
        }
    }

    /// Whether such a packet belongs here.
    #[inline(always)]
    pub(crate) fn takes(&self, came: u32, exit: &Exit) -> bool {
        self.came == came && self.interface == exit.interface
    }

    /// One packet of `bytes`, in a frame of `frame` bytes.
    #[inline(always)]
    pub(crate) fn add(&mut self, bytes: u16, frame: usize) {
        self.packets += 1;
        self.bytes += u64::from(bytes);
        self.frames += frame as u32;
    }

    /// Adds them to the counters; says how many they were.
    #[inline(always)]
    pub(crate) fn count(self, counters: &Counters, lane: &Lane, links: &Links) -> usize {
        // A copy has an address, so that the sum needs none and lives in registers.
        let copy = self;
        copy.count_at_once(counters, lane, links);
        self.packets as usize
    }

    #[inline(never)]
    fn count_at_once(&self, counters: &Counters, lane: &Lane, links: &Links) {
        let Some(exit) = self.exit.filter(|_| self.packets > 0) else {
            return;
        };
        let ids = [(self.came >> 8) as u16, self.interface].map(InterfaceId);
        let af = match self.came & 0xff {
            4 => Af::Inet,
            _ => Af::Inet6,
        };
        let packets = u64::from(self.packets);
        // What leaves has nothing behind its packet.
        let header = ETHERNET + usize::from(exit.tags) * TAG_LEN;
        let left = self.bytes + packets * header as u64;
        let links = [lane.links(ids[0]), links_of(exit, links)];
        for (n, direction) in [Direction::In, Direction::Out].into_iter().enumerate() {
            let frames = [self.frames.into(), left][n];
            let traffic = counters.filter.traffic(ids[n], af, direction, true);
            traffic.some(packets, self.bytes);
            for link in links[n].into_iter().flatten() {
                counters.frames(link, direction, packets, frames);
            }
        }
    }
}

/// Those that count frames which leave so: the interface if it is no port, and the lagg that it is on.
fn links_of(exit: &Exit, links: &Links) -> [Option<InterfaceId>; 2] {
    let lagg = match exit.out {
        Out::Lagg(n) => links.lagg(n).map(|lagg| lagg.interface),
        _ => None,
    };
    [
        (exit.tags != 0).then_some(InterfaceId(exit.interface)),
        lagg,
    ]
}
