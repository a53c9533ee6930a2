//! How packets of flows leave: next hops, or pairs of stations of a bridge, by number. An exit knows all that is to be
//! written in front of a packet, and when that was true last; which port of a lagg a packet leaves by is asked of the lagg,
//! each time.
//!
//! Read first: ARCHITECTURE.md, "Flow 1".

use alloc::boxed::Box;
use core::net::IpAddr;

use net::InterfaceId;
use net::lagg::Homes;
use net::link::{Links, Out, Ports, TAG_LEN, TAGS_MAX, Way};
use ruleset::Af;
use wire::ether::{self, ADDRESSES_LEN, EtherType, HEADER_LEN as ETHERNET};

use crate::batch::NO_PORT;
use crate::verdict::Egress;

/// Exits that flows may have at the same time: next hops in use, and pairs of stations.
const EXITS: usize = 4096;
/// How far from its place one may lie.
const EXIT_REACH: usize = 8;
/// Bytes of a header with all tags, with one, and without.
const HEADER_MAX: usize = ETHERNET + TAGS_MAX * TAG_LEN;
const HEADER_TAGGED: usize = ETHERNET + TAG_LEN;
/// Bits of a tag's byte that say its priority.
const CODE: u8 = 0xe0;

/// How a packet leaves.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C, align(64))]
pub(crate) struct Exit {
    /// For which configuration it stands for what it does; 0 never.
    stamp: u32,
    /// As of when what it says was found out. Once that has moved on a packet must go the long way first: it finds out whether
    /// the next hop is still there, and that it is in use.
    pub(crate) asked: u32,
    /// Largest IP packet, bytes.
    pub(crate) mtu: u16,
    /// The interface, and where its frames go.
    pub(crate) interface: u16,
    pub(crate) out: Out,
    /// The port, unless it is for a lagg to say.
    pub(crate) port: u16,
    /// Tags that are written.
    pub(crate) tags: u8,
    /// Not 0 if more is to be done than to write a header and queue the frame at the port.
    pub(crate) layers: u8,
    /// The station addresses are those that the frame comes with.
    pub(crate) is_bridged: bool,
    /// What it takes off the time to live: of a bridge nothing.
    pub(crate) hops: u8,
    /// By tag, outermost first: the bits that say the packet's own priority.
    codes: [u8; TAGS_MAX],
    /// Ends with the header of its frames, tags included.
    header: [u8; HEADER_MAX],
    /// The member of a bridge that its frames come in by.
    from: u16,
    /// The next hop, or the stations of a bridge.
    next_hop: u128,
}

const _: () = assert!(size_of::<Exit>() == 64);

impl Exit {
    /// A way out by an interface; what holds for it alone is still to be said.
    pub(crate) fn by(interface: InterfaceId, way: &Way, mtu: u16, egress: &Egress, af: Af) -> Exit {
        let mut exit = Exit {
            mtu,
            interface: interface.0,
            hops: 1,
            out: way.out,
            port: match way.out {
                Out::Port(port) => port,
                _ => NO_PORT,
            },
            tags: way.tags().len() as u8,
            layers: u8::from(!matches!((way.out, way.tags()), (Out::Port(_), []))),
            ..Exit::default()
        };
        let len = ETHERNET + way.tags().len() * TAG_LEN;
        let whole = &mut exit.header[HEADER_MAX - len..];
        whole[len - ETHERNET..].copy_from_slice(&header_of(way, egress, af));
        net::link::write_tags(whole, way.tags(), 0);
        for (n, tag) in way.tags().iter().enumerate() {
            if tag.prio().is_none() {
                whole[code_at(n)] &= !CODE;
                exit.codes[n] = CODE;
            }
        }
        exit
    }

    /// To a next hop, for whose station somebody asked when the stamp of egress caches was `asked`.
    pub(crate) fn to(self, next_hop: IpAddr, stamp: u32, asked: u32) -> Exit {
        let next_hop = match next_hop {
            IpAddr::V4(addr) => addr.to_bits().into(),
            IpAddr::V6(addr) => addr.to_bits(),
        };
        Exit {
            stamp,
            asked,
            next_hop,
            ..self
        }
    }

    /// Between two stations of a bridge, for frames that come in by `from`.
    pub(crate) fn across(self, from: InterfaceId, stamp: u32, asked: u32) -> Exit {
        let stations = self.stations().iter();
        Exit {
            stamp,
            asked,
            is_bridged: true,
            hops: 0,
            from: from.0,
            next_hop: stations.fold(0, |all, byte| all << 8 | u128::from(*byte)),
            ..self
        }
    }

    /// The same way out.
    fn is_same(&self, other: &Exit) -> bool {
        let of = |exit: &Exit| (exit.stamp, exit.next_hop, exit.interface, exit.header);
        of(self) == of(other) && (self.is_bridged, self.from) == (other.is_bridged, other.from)
    }

    /// Station addresses of a frame without tags.
    #[inline(always)]
    pub(crate) fn stations(&self) -> &[u8] {
        &self.header[HEADER_MAX - ETHERNET..][..ADDRESSES_LEN]
    }

    /// The ports that its packets leave by.
    pub(crate) fn homes<'l>(&'l self, links: &'l Links) -> Homes<'l> {
        match self.out {
            Out::Port(_) => Homes::one(&self.port),
            Out::Lagg(n) => links.lagg(n).map_or(Homes::default(), Ports::homes),
            Out::Nowhere | Out::Tunnel(_) => Homes::default(),
        }
    }

    /// Writes the header of a frame that gets no tags.
    #[inline(always)]
    pub(crate) fn write_plain(&self, frame: &mut [u8]) {
        self.write::<ETHERNET>(frame);
    }

    /// Writes the header of any frame, of a packet whose priority a tag says by `code`.
    #[inline(always)]
    pub(crate) fn write_tagged(&self, frame: &mut [u8], code: u8) {
        match self.tags {
            0 => self.write_plain(frame),
            1 => self.write_tags::<HEADER_TAGGED, 1>(frame, code),
            _ => self.write_tags::<HEADER_MAX, TAGS_MAX>(frame, code),
        }
    }

    #[inline(always)]
    fn write_tags<const LEN: usize, const TAGS: usize>(&self, frame: &mut [u8], code: u8) {
        let header = self.header.last_chunk::<LEN>();
        if let (Some(head), Some(header)) = (frame.first_chunk_mut::<LEN>(), header) {
            *head = *header;
            for n in 0..TAGS {
                head[code_at(n)] |= code & self.codes[n];
            }
        }
    }

    #[inline(always)]
    fn write<const LEN: usize>(&self, frame: &mut [u8]) {
        if let (Some(head), Some(header)) =
            (frame.first_chunk_mut(), self.header.last_chunk::<LEN>())
        {
            *head = *header;
        }
    }
}

/// The header of a frame without tags.
pub(crate) fn header_of(way: &Way, egress: &Egress, af: Af) -> [u8; ETHERNET] {
    let repr = ether::Repr {
        dst: egress.lladdr,
        src: egress.src.unwrap_or(way.mac),
        ethertype: match af {
            Af::Inet => EtherType::IPV4,
            Af::Inet6 => EtherType::IPV6,
        },
    };
    let mut header = [0; ETHERNET];
    repr.emit(&mut ether::Frame::new_unchecked(&mut header[..]));
    header
}

/// Where in a frame the byte of tag `n` lies that says its priority.
const fn code_at(n: usize) -> usize {
    ETHERNET + n * TAG_LEN
}

/// Exits by number. A number means the same as long as the stamp does.
pub(crate) struct Exits(Box<[Exit]>);

impl Exits {
    pub(crate) fn new() -> Exits {
        Exits(alloc::vec![Exit::default(); EXITS].into_boxed_slice())
    }

    #[inline(always)]
    pub(crate) fn get(&self, n: u16) -> &Exit {
        &self.0[usize::from(n) % EXITS]
    }

    /// The number of an exit that was found just now; none if too many are in use.
    pub(crate) fn number(&mut self, exit: &Exit) -> Option<u16> {
        let folded = exit.next_hop as u64 ^ (exit.next_hop >> 64) as u64;
        let mixed = (folded ^ u64::from(exit.interface) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for step in 0..EXIT_REACH {
            let n = ((mixed >> 48) as usize + step) % EXITS;
            let there = &mut self.0[n];
            if there.stamp != exit.stamp || there.is_same(exit) {
                *there = *exit;
                return Some(n as u16);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ether::Addr;

    fn exit(n: u32, stamp: u32) -> Exit {
        let egress = Egress::routed(InterfaceId(4), Addr([2, 0, 0, 0, 0, n as u8]));
        let exit = Exit::by(InterfaceId(4), &Way::default(), 1500, &egress, Af::Inet);
        exit.to(core::net::Ipv4Addr::from_bits(n).into(), stamp, 1)
    }

    #[test]
    fn a_number_stays_with_its_next_hop() {
        let mut exits = Exits::new();
        let first = exits.number(&exit(1, 7)).unwrap();
        let second = exits.number(&exit(2, 7)).unwrap();
        assert_ne!(first, second);
        assert_eq!(exits.number(&exit(1, 7)), Some(first));
        assert_eq!((exits.get(first).interface, exits.get(first).tags), (4, 0));
        // Bridged between the same stations it is another.
        let across = exit(1, 7).across(InterfaceId(1), 7, 1);
        assert_ne!(exits.number(&across), Some(first));
    }

    #[test]
    fn too_many_are_refused_until_the_stamp_moves_on() {
        let mut exits = Exits::new();
        let all = EXITS as u32 * 2;
        let refused = (0..all).filter(|n| exits.number(&exit(*n, 7)).is_none());
        assert!(refused.count() >= EXITS);
        assert!((0..100).all(|n| exits.number(&exit(n, 8)).is_some()));
    }
}
