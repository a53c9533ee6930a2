//! Which interfaces the frames of a burst come in by, as far as flows may serve them: a port or a lagg, a VLAN on it, a
//! member of a bridge. What is said here holds for a whole burst, and for a tag as long as the configuration does.
//!
//! Read first: ARCHITECTURE.md, "Flow 1" and "Flow 4".

use alloc::boxed::Box;

use filter::scrub::PRIORITY_DEFAULT;
use net::bridge::Role;
use net::link::{TAG_LEN, Tpid, priority_code};
use net::{Interface, InterfaceId};
use nic::Nic;
use wire::ether::EtherType;

use crate::config::Config;
use crate::turn::Worker;

/// Tags whose interfaces are kept in mind.
const DOORS: usize = 256;
/// Of a tag as a word: its type and its VLAN, without its priority.
const TAG_MASK: u32 = 0xffff_0fff;

/// Where a burst has come in.
#[derive(Clone, Copy)]
pub(crate) struct Lane {
    /// The port's own interface, or its lagg.
    pub(crate) base: InterfaceId,
    /// It is a lagg, whose frames are counted.
    pub(crate) is_lagg: bool,
    /// Another worker's card has received the frames, and there they were counted.
    pub(crate) is_handed: bool,
    /// For frames without tags.
    pub(crate) plain: Door,
    /// As of when what is found out about the bridge behind is true; of no meaning without one.
    pub(crate) bridge_asked: u32,
}

impl Lane {
    /// Those that count frames which come in by this interface: itself if it is no port, and the lagg that it is on.
    pub(crate) fn links(&self, by: InterfaceId) -> [Option<InterfaceId>; 2] {
        let is_link = by != self.base && !self.is_handed;
        [is_link.then_some(by), self.is_lagg.then_some(self.base)]
    }
}

/// The interface that frames with certain tags come in by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Door {
    /// Tags, outermost in the lower half, and what carries them.
    tags: u64,
    base: u16,
    /// The interface.
    pub(crate) interface: u16,
    /// For which configuration this holds; 0 never.
    stamp: u32,
    /// Flows may serve what comes in here.
    pub(crate) is_open: bool,
    /// It is a member of a bridge, and what comes in is for other stations.
    pub(crate) is_bridged: bool,
    /// Its station address, first byte lowest, and what of the first word of a frame is held against it.
    mac: u64,
    mask: u64,
}

/// The tags of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tags {
    /// Without their priorities; 0 if there are none.
    word: u64,
    /// How many.
    pub(crate) count: u8,
    /// Priority that they say, as PF counts.
    pub(crate) priority: u8,
    /// The same as the first byte behind a tag's type has it.
    pub(crate) code: u8,
}

impl Tags {
    /// Of a frame without.
    pub(crate) const NONE: Tags = Tags {
        word: 0,
        count: 0,
        priority: PRIORITY_DEFAULT,
        code: priority_code(PRIORITY_DEFAULT) << 5,
    };

    /// Those of a frame by the bytes behind its station addresses, first byte lowest; more than two are not seen.
    fn of(bytes: u64) -> Tags {
        let both = bytes.swap_bytes();
        let (first, second) = ((both >> 32) as u32, both as u32);
        if !is_tag(first) {
            return Tags::NONE;
        }
        let outer = u64::from(first & TAG_MASK);
        let (word, count, last) = match is_tag(second) {
            false => (outer, 1, first),
            true => (outer | u64::from(second & TAG_MASK) << 32, 2, second),
        };
        let code = (last >> 13 & 7) as u8;
        Tags {
            word,
            count,
            priority: priority_code(code),
            code: code << 5,
        }
    }
}

/// Whether a frame has tags that has these bytes behind its station addresses, first byte lowest.
#[inline(always)]
pub(crate) fn begins_with_tag(bytes: u64) -> bool {
    const TYPES: [u16; 2] = [0x8100u16.swap_bytes(), 0x88a8u16.swap_bytes()];
    TYPES.contains(&(bytes as u16))
}

#[inline(always)]
fn is_tag(word: u32) -> bool {
    matches!(word >> 16, 0x8100 | 0x88a8)
}

/// Doors of tags, which are asked for again and again.
pub(crate) struct Doors {
    all: Box<[Door; DOORS]>,
    last: Behind,
}

/// What is behind the station addresses of a frame with tags.
pub(crate) struct Behind {
    /// The bytes in which the tags were; 0 of none.
    bytes: u64,
    pub(crate) tags: Tags,
    /// Their length.
    pub(crate) len: usize,
    pub(crate) door: Door,
}

impl Doors {
    pub(crate) fn new() -> Doors {
        Doors {
            all: Box::new([Door::default(); DOORS]),
            last: Behind {
                bytes: 0,
                tags: Tags::NONE,
                len: 0,
                door: Door::default().or_closed(),
            },
        }
    }

    /// Those of frames that come in by an interface. `stamp` names the configuration.
    pub(crate) fn of<'d>(&'d mut self, config: &'d Config, on: InterfaceId, stamp: u32) -> Row<'d> {
        let door = &self.last.door;
        if (door.base, door.stamp) != (on.0, stamp) {
            self.last.bytes = 0;
        }
        Row {
            doors: self,
            config,
            on,
            stamp,
        }
    }

    /// The door of frames with these tags on an interface that carries them.
    fn find(&mut self, config: &Config, on: InterfaceId, tags: u64, stamp: u32) -> Door {
        let mixed = (tags ^ u64::from(on.0) << 16).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let door = &mut self.all[(mixed >> 56) as usize % DOORS];
        if (door.tags, door.base, door.stamp) != (tags, on.0, stamp) {
            *door = Door {
                tags,
                base: on.0,
                stamp,
                ..behind(config, on, tags)
            };
        }
        *door
    }
}

/// Doors of a burst, in which most frames have the tags of the one before.
pub(crate) struct Row<'d> {
    doors: &'d mut Doors,
    config: &'d Config,
    on: InterfaceId,
    stamp: u32,
}

impl Row<'_> {
    /// What is behind the station addresses of a frame that has a tag there, by these bytes, first byte lowest.
    #[inline(always)]
    pub(crate) fn find(&mut self, bytes: u64) -> &Behind {
        if self.doors.last.bytes != bytes {
            self.turn_to(bytes);
        }
        &self.doors.last
    }

    #[inline(never)]
    fn turn_to(&mut self, bytes: u64) {
        let tags = Tags::of(bytes);
        let door = self.doors.find(self.config, self.on, tags.word, self.stamp);
        self.doors.last = Behind {
            bytes,
            tags,
            len: usize::from(tags.count) * TAG_LEN,
            door,
        };
    }
}

/// Where tags lead.
#[cold]
#[inline(never)]
fn behind(config: &Config, base: InterfaceId, tags: u64) -> Door {
    let interfaces = &config.interfaces;
    let mut on = base;
    for tag in [tags as u32, (tags >> 32) as u32] {
        let Some(tpid) = Tpid::of(EtherType((tag >> 16) as u16)) else {
            break;
        };
        let vid = tag as u16 & 0x0fff;
        // VLAN 0 says nothing of the interface (IEEE 802.1Q 6.9.1).
        if vid == 0 {
            continue;
        }
        match interfaces.links().child(on, tpid, vid) {
            Some(child) if interfaces.get(child).is_some_and(|i| i.up) => on = child,
            _ => return Door::default().or_closed(),
        }
    }
    // Bridges change tags, or leave them as they are.
    let is_apart = interfaces.bridges().place(on).is_none();
    match interfaces.get(on).filter(|_| is_apart) {
        Some(on) => Door::of(config, on),
        None => Door::default().or_closed(),
    }
}

impl Door {
    /// Nothing comes in here.
    pub(crate) const CLOSED: Door = Door {
        tags: 0,
        base: 0,
        interface: 0,
        stamp: 0,
        is_open: false,
        is_bridged: false,
        mac: 1,
        mask: 0,
    };

    /// That of an interface whose frames are for the box.
    pub(crate) fn of(config: &Config, on: &Interface) -> Door {
        let [a, b, c, d, e, f] = on.mac.0;
        Door {
            interface: on.id.0,
            is_open: on.up && !config.skips(on.id),
            mac: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
            mask: 0xffff_ffff_ffff,
            ..Door::default()
        }
        .or_closed()
    }

    /// That of a member of a bridge, for the frames of others.
    fn bridged(self, is_open: bool) -> Door {
        Door {
            is_open: self.is_open && is_open,
            is_bridged: true,
            mac: 0,
            mask: 0,
            ..self
        }
        .or_closed()
    }

    /// A closed door lets nothing in, whatever the frame.
    fn or_closed(self) -> Door {
        match self.is_open {
            true => self,
            false => Door {
                mac: 1,
                mask: 0,
                ..self
            },
        }
    }

    /// Whether a frame that begins with this word is for those who are behind.
    #[inline(always)]
    pub(crate) fn lets_in(&self, first: u64) -> bool {
        first & self.mask == self.mac
    }
}

impl<N: Nic> Worker<N> {
    /// Whether packets may take the express at all.
    #[inline]
    pub(crate) fn may_express(&self) -> bool {
        let ruleset = &self.config.ruleset;
        self.watched.left == 0
            && self.kill_jobs.is_empty()
            && ruleset.ether.is_empty()
            && ruleset.scrub.is_empty()
    }

    /// Whether packets may take the express that come in by a port, and what all of them have in common.
    pub(crate) fn lane(&self, port: usize) -> Option<Lane> {
        let config = &*self.config;
        let receiver = config.interfaces.receiver(port as u16);
        let receiver = receiver.filter(|_| self.may_express())?;
        if let Some((lagg, place)) = receiver.lagg {
            let lagg = config.interfaces.links().lagg(lagg)?;
            if lagg.masks.receive() >> place & 1 == 0 {
                return None;
            }
        }
        let base = receiver.interface;
        let mut plain = Door::of(config, config.interfaces.get(base)?);
        let mut bridge_asked = 0;
        if let Some(place) = config.interfaces.bridges().place(base) {
            let asked = match place.role {
                Role::Member(from) => self.bridge_asked(place.bridge, from),
                Role::Span | Role::Itself => None,
            };
            plain = plain.bridged(asked.is_some());
            bridge_asked = asked.unwrap_or(0);
        }
        Some(Lane {
            base,
            is_lagg: receiver.lagg.is_some(),
            is_handed: false,
            plain,
            bridge_asked,
        })
    }

    /// A number that moves on when frames that come in at a place of a bridge may go elsewhere: with every change of what the
    /// spanning tree allows, with every station that moves, and every second, in which stations in use are noticed and others
    /// forgotten. None if frames from there are more than forwarded.
    fn bridge_asked(&self, bridge: u8, from: u8) -> Option<u32> {
        let bridge = self.config.interfaces.bridges().get(bridge)?;
        // Before anything is read that it speaks for.
        let changes = bridge.ports.changes() as u32;
        let ports = bridge.ports.learning() & bridge.ports.forwarding();
        let may_pass = bridge.is_plain() && ports >> from & 1 == 1;
        // A sum of numbers that only grow.
        let seconds = (self.now_ms / 1000) as u32;
        let sum = seconds.wrapping_add(self.stations.moves());
        may_pass.then_some(sum.wrapping_add(changes))
    }

    /// Whether packets that came in by this interface came by a door of the lane, and are for the box.
    pub(crate) fn is_behind(&self, lane: &Lane, on: InterfaceId) -> bool {
        let interfaces = &self.config.interfaces;
        interfaces.links().base(on) == lane.base
            && interfaces.bridges().place(on).is_none()
            && !self.config.skips(on)
            && interfaces.get(on).is_some_and(|on| on.up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with these bytes behind its addresses.
    fn tags(bytes: [u8; 8]) -> (u64, u8, u8) {
        let bytes = u64::from_le_bytes(bytes);
        let tags = Tags::of(bytes);
        assert_eq!(begins_with_tag(bytes), tags.count > 0);
        assert_eq!(tags.code, priority_code(tags.priority) << 5);
        (tags.word, tags.count, tags.priority)
    }

    #[test]
    fn tags_are_read_without_their_priority_and_that_by_itself() {
        assert_eq!(tags([8, 0, 0x45, 0, 0, 0, 0, 0]), (0, 0, 3));
        // One tag of priority 0 on the wire, then IPv4: 1, as PF counts.
        let one = tags([0x81, 0, 0, 10, 8, 0, 0x45, 0]);
        assert_eq!(one, (0x8100_000a, 1, 1));
        // DEI and priority 7 are no part of what is looked up.
        let same = tags([0x81, 0, 0xf0, 10, 8, 0, 0x45, 0]);
        assert_eq!(same, (0x8100_000a, 1, 7));
        // Of two the inner one says the priority.
        let two = tags([0x88, 0xa8, 0xe0, 5, 0x81, 0, 0x20, 6]);
        assert_eq!(two, (0x8100_0006_88a8_0005, 2, 0));
        assert_eq!(tags([0; 8]), (0, 0, 3));
    }
}
