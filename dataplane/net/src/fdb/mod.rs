//! Where stations are behind the members of bridges: the forwarding database of one worker.
//!
//! Read first: IEEE 802.1D-2004 7.8 and 7.9, bridge(4) of OpenBSD. The memory is taken once; each bridge has a limit of
//! its own. It knows addresses only, no VLANs. Each worker learns from the frames that it receives and tells the others;
//! what is told twice or never does no harm, for a frame to an unknown station goes to everybody.
//!
//! Members have an *epoch*: when the spanning tree wants what was learned on a member to be forgotten, the epoch moves on,
//! and what was learned before does not count any more. So a topology change costs one store and no search.

use alloc::vec::Vec;

use wire::ether::Addr;

use crate::kif::InterfaceId;

/// Stations that one worker can know, over all bridges.
pub const STATIONS_MAX: usize = 1 << 15;
/// Most bridges with stations at once.
pub const BRIDGES_MAX: usize = 64;
/// Stations that a bridge knows at most, unless it is told otherwise (`maxaddr`).
pub const MAX_ADDR_DEFAULT: u32 = 100;
/// Seconds after which a silent station is forgotten (`timeout`).
pub const TIMEOUT_S_DEFAULT: u32 = 240;

/// What a bridge allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The bridge.
    pub bridge: InterfaceId,
    /// Most stations of it.
    pub max_addr: u32,
    /// Seconds after which a station that says nothing is forgotten; 0 is never.
    pub timeout_s: u32,
}

/// A station and the member it is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Station {
    /// Its address.
    pub addr: Addr,
    /// The member.
    pub member: InterfaceId,
    /// The member's epoch at that time.
    pub epoch: u16,
    /// When it last said something, in seconds.
    pub seen_s: u32,
}

/// What became of a sighting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    /// It was known to be there.
    Known,
    /// It was known to be there, but has not been told to others for a while: they would forget it.
    Refreshed,
    /// It is new, or it has moved.
    New,
    /// There is no room, or this is no address of one station.
    Refused,
}

impl Learned {
    /// Whether the other workers should hear of it.
    pub fn is_news(self) -> bool {
        matches!(self, Learned::New | Learned::Refreshed)
    }
}

/// Key in the upper half, member, epoch and time in the lower; 0 is empty.
type Slot = u128;

/// One worker's stations of all bridges. Open addressing with linear probing; half of the slots stay empty.
pub struct Fdb {
    slots: Vec<Slot>,
    mask: usize,
    len: usize,
    seed: u64,
    counts: heapless::Vec<(InterfaceId, u32), BRIDGES_MAX>,
    swept: usize,
}

impl Fdb {
    /// Room for `capacity` stations, rounded up to a power of two. `seed` keeps strangers from choosing addresses that
    /// collide.
    pub fn new(capacity: usize, seed: u64) -> Fdb {
        let size = (capacity.max(1) * 2).next_power_of_two();
        Fdb {
            slots: alloc::vec![0; size],
            mask: size - 1,
            len: 0,
            seed,
            counts: heapless::Vec::new(),
            swept: 0,
        }
    }

    /// A station was seen on a member whose epoch is `epoch`.
    #[inline]
    pub fn learn(
        &mut self,
        terms: &Terms,
        addr: Addr,
        member: InterfaceId,
        epoch: u16,
        now_s: u32,
    ) -> Learned {
        if !addr.is_unicast() {
            return Learned::Refused;
        }
        let key = key(terms.bridge, addr);
        let station = Station {
            addr,
            member,
            epoch,
            seen_s: now_s,
        };
        match self.position(key) {
            Ok(at) => {
                let old = unpack(self.slots[at]);
                if (old.member, old.epoch) == (member, epoch) {
                    return self.refresh(at, key, old, now_s, terms);
                }
                self.slots[at] = pack(key, &station);
                Learned::New
            }
            Err(at) => self.insert(terms, at, pack(key, &station)),
        }
    }

    /// What others know is renewed a few times in the life of an entry, so that it does not end for them.
    #[inline]
    fn refresh(&mut self, at: usize, key: u64, old: Station, now_s: u32, terms: &Terms) -> Learned {
        let quiet_s = now_s.saturating_sub(old.seen_s);
        if quiet_s <= terms.timeout_s / 8 {
            return Learned::Known;
        }
        self.slots[at] = pack(
            key,
            &Station {
                seen_s: now_s,
                ..old
            },
        );
        Learned::Refreshed
    }

    fn insert(&mut self, terms: &Terms, at: usize, slot: Slot) -> Learned {
        if self.len >= self.slots.len() / 2 {
            return Learned::Refused;
        }
        let count = match self.counts.iter().position(|(id, _)| *id == terms.bridge) {
            Some(n) => n,
            None if self.counts.push((terms.bridge, 0)).is_ok() => self.counts.len() - 1,
            None => return Learned::Refused,
        };
        if self.counts[count].1 >= terms.max_addr {
            return Learned::Refused;
        }
        self.counts[count].1 += 1;
        self.len += 1;
        self.slots[at] = slot;
        Learned::New
    }

    /// The member a station is behind, if that is known and still true. `epoch_of` gives a member's epoch.
    #[inline]
    pub fn find(
        &self,
        terms: &Terms,
        addr: Addr,
        now_s: u32,
        epoch_of: impl FnOnce(InterfaceId) -> u16,
    ) -> Option<InterfaceId> {
        let at = self.position(key(terms.bridge, addr)).ok()?;
        let station = unpack(self.slots[at]);
        let old = is_over(&station, terms.timeout_s, now_s);
        (!old && epoch_of(station.member) == station.epoch).then_some(station.member)
    }

    /// Forgets one station. True if it was known.
    pub fn forget(&mut self, bridge: InterfaceId, addr: Addr) -> bool {
        match self.position(key(bridge, addr)) {
            Ok(at) => {
                self.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// Looks at `budget` places and forgets what is no longer true. `judge` gives the time that stations of a bridge
    /// live and the epoch of a member, or none if that is no member of that bridge any more.
    pub fn sweep(
        &mut self,
        budget: usize,
        now_s: u32,
        judge: impl Fn(InterfaceId, InterfaceId) -> Option<(u32, u16)>,
    ) {
        for _ in 0..budget.min(self.slots.len()) {
            if self.len == 0 {
                return;
            }
            let at = self.swept;
            let slot = self.slots[at];
            let goes = slot != 0 && {
                let station = unpack(slot);
                match judge(bridge_of(slot), station.member) {
                    Some((timeout_s, epoch)) => {
                        is_over(&station, timeout_s, now_s) || station.epoch != epoch
                    }
                    None => true,
                }
            };
            match goes {
                // Another one may have moved here.
                true => self.remove(at),
                false => self.swept = (at + 1) & self.mask,
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.fill(0);
        self.counts.clear();
        self.len = 0;
    }

    /// Stations known, over all bridges.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stations of one bridge.
    pub fn count(&self, bridge: InterfaceId) -> u32 {
        let mut counts = self.counts.iter();
        counts.find(|(id, _)| *id == bridge).map_or(0, |(_, n)| *n)
    }

    /// Places of the table, empty ones included.
    pub fn places(&self) -> usize {
        self.slots.len()
    }

    /// The stations in `count` places from `from` on, with their bridges, and the place of each.
    pub fn iter_in(
        &self,
        from: usize,
        count: usize,
    ) -> impl Iterator<Item = (usize, InterfaceId, Station)> {
        let some = self.slots.iter().enumerate().skip(from).take(count);
        some.filter(|(_, slot)| **slot != 0)
            .map(|(at, slot)| (at, bridge_of(*slot), unpack(*slot)))
    }

    /// Forgets the stations of a bridge in `budget` places from `from` on. The place to go on at; none at the end.
    ///
    /// What moves up when a place becomes empty moves to this place or a later one, so that nothing is left out.
    pub fn flush(&mut self, bridge: InterfaceId, from: usize, budget: usize) -> Option<usize> {
        let mut at = from;
        for _ in 0..budget {
            if at >= self.slots.len() {
                return None;
            }
            if self.slots[at] != 0 && bridge_of(self.slots[at]) == bridge {
                self.remove(at);
            } else {
                at += 1;
            }
        }
        (at < self.slots.len()).then_some(at)
    }

    /// Where a key is, or the empty place where it would go.
    #[inline]
    fn position(&self, key: u64) -> Result<usize, usize> {
        let mut at = self.home(key);
        loop {
            match (self.slots[at] >> 64) as u64 {
                found if found == key => return Ok(at),
                0 => return Err(at),
                _ => at = (at + 1) & self.mask,
            }
        }
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        // The two halves of a product depend on all bits of both factors.
        let product = u128::from(key ^ self.seed) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        ((product >> 64) as u64 ^ product as u64) as usize & self.mask
    }

    /// Empties a place; those after it that would not be found any more move up.
    fn remove(&mut self, at: usize) {
        let bridge = bridge_of(self.slots[at]);
        if let Some((_, n)) = self.counts.iter_mut().find(|(id, _)| *id == bridge) {
            *n -= 1;
        }
        self.counts.retain(|(_, n)| *n > 0);
        self.len -= 1;
        let mut hole = at;
        let mut next = at;
        loop {
            next = (next + 1) & self.mask;
            let slot = self.slots[next];
            if slot == 0 {
                break;
            }
            let home = self.home((slot >> 64) as u64);
            // It stays if its home lies behind the hole.
            let from_home = next.wrapping_sub(home) & self.mask;
            let from_hole = next.wrapping_sub(hole) & self.mask;
            if from_home >= from_hole {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = 0;
    }
}

/// Never 0: no station has the address of zeros.
#[inline]
fn key(bridge: InterfaceId, addr: Addr) -> u64 {
    let [a, b, c, d, e, f] = addr.0;
    u64::from(bridge.0) << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[inline]
fn pack(key: u64, station: &Station) -> Slot {
    u128::from(key) << 64
        | u128::from(station.member.0) << 48
        | u128::from(station.epoch) << 32
        | u128::from(station.seen_s)
}

#[inline]
fn unpack(slot: Slot) -> Station {
    let [.., a, b, c, d, e, f] = ((slot >> 64) as u64).to_be_bytes();
    Station {
        addr: Addr([a, b, c, d, e, f]),
        member: InterfaceId((slot >> 48) as u16),
        epoch: (slot >> 32) as u16,
        seen_s: slot as u32,
    }
}

#[inline]
fn bridge_of(slot: Slot) -> InterfaceId {
    InterfaceId((slot >> 112) as u16)
}

#[inline]
fn is_over(station: &Station, timeout_s: u32, now_s: u32) -> bool {
    timeout_s != 0 && now_s.saturating_sub(station.seen_s) >= timeout_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const BRIDGE: InterfaceId = InterfaceId(7);
    const EM0: InterfaceId = InterfaceId(1);
    const EM1: InterfaceId = InterfaceId(2);

    fn terms(max_addr: u32) -> Terms {
        Terms {
            bridge: BRIDGE,
            max_addr,
            timeout_s: TIMEOUT_S_DEFAULT,
        }
    }

    fn addr(n: u64) -> Addr {
        let [.., a, b, c, d] = n.to_be_bytes();
        Addr([2, 0, a, b, c, d])
    }

    fn find(fdb: &Fdb, n: u64, now_s: u32) -> Option<InterfaceId> {
        fdb.find(&terms(100), addr(n), now_s, |_| 0)
    }

    #[test]
    fn a_station_is_learned_moves_and_is_forgotten() {
        let mut fdb = Fdb::new(8, 1);
        assert_eq!(find(&fdb, 1, 0), None);
        assert_eq!(fdb.learn(&terms(100), addr(1), EM0, 0, 0), Learned::New);
        assert_eq!(fdb.learn(&terms(100), addr(1), EM0, 0, 1), Learned::Known);
        assert_eq!(find(&fdb, 1, 1), Some(EM0));
        assert_eq!(fdb.learn(&terms(100), addr(1), EM1, 0, 2), Learned::New);
        assert_eq!(find(&fdb, 1, 2), Some(EM1));
        assert_eq!(find(&fdb, 1, 241), Some(EM1));
        assert_eq!(find(&fdb, 1, 242), None, "240 s after it was seen");
        assert_eq!(
            fdb.learn(&terms(100), addr(1), EM1, 0, 33),
            Learned::Refreshed
        );
        assert_eq!(find(&fdb, 1, 242), Some(EM1));
        assert!(fdb.forget(BRIDGE, addr(1)) && !fdb.forget(BRIDGE, addr(1)));
        assert_eq!((find(&fdb, 1, 33), fdb.len()), (None, 0));
    }

    #[test]
    fn groups_and_nobody_are_not_learned() {
        let mut fdb = Fdb::new(8, 1);
        for addr in [Addr::BROADCAST, Addr::ZERO, wire::bpdu::GROUP] {
            assert_eq!(fdb.learn(&terms(100), addr, EM0, 0, 0), Learned::Refused);
        }
        assert!(fdb.is_empty());
    }

    #[test]
    fn bridges_do_not_share_stations_or_limits() {
        let mut fdb = Fdb::new(8, 1);
        let other = Terms {
            bridge: InterfaceId(8),
            ..terms(1)
        };
        assert_eq!(fdb.learn(&terms(2), addr(1), EM0, 0, 0), Learned::New);
        assert_eq!(fdb.learn(&terms(2), addr(2), EM0, 0, 0), Learned::New);
        assert_eq!(fdb.learn(&terms(2), addr(3), EM0, 0, 0), Learned::Refused);
        assert_eq!(fdb.find(&other, addr(1), 0, |_| 0), None);
        assert_eq!(fdb.learn(&other, addr(1), EM1, 0, 0), Learned::New);
        assert_eq!(fdb.learn(&other, addr(2), EM1, 0, 0), Learned::Refused);
        assert_eq!((fdb.count(BRIDGE), fdb.count(other.bridge)), (2, 1));
        assert_eq!(fdb.iter_in(0, fdb.places()).count(), 3);
        // A station that is known may move although the bridge is full.
        assert_eq!(fdb.learn(&terms(2), addr(2), EM1, 0, 0), Learned::New);
        fdb.clear();
        assert_eq!((fdb.count(BRIDGE), fdb.len()), (0, 0));
    }

    #[test]
    fn the_whole_table_has_a_limit() {
        let mut fdb = Fdb::new(8, 1);
        let learned = (1..=100)
            .filter(|n| fdb.learn(&terms(1000), addr(*n), EM0, 0, 0) == Learned::New)
            .count();
        assert_eq!((learned, fdb.len(), fdb.count(BRIDGE)), (8, 8, 8));
    }

    #[test]
    fn a_flush_takes_one_bridge_and_all_of_it() {
        for seed in 0..50 {
            let mut fdb = Fdb::new(64, seed);
            let other = Terms {
                bridge: InterfaceId(8),
                ..terms(100)
            };
            for n in 1..=30 {
                fdb.learn(&terms(100), addr(n), EM0, 0, 0);
                fdb.learn(&other, addr(n), EM1, 0, 0);
            }
            let mut next = Some(0);
            let mut rounds = 0;
            while let Some(from) = next {
                next = fdb.flush(BRIDGE, from, 7);
                rounds += 1;
            }
            assert!(rounds <= (fdb.places() + 30).div_ceil(7), "{rounds}");
            assert_eq!((fdb.count(BRIDGE), fdb.count(other.bridge)), (0, 30));
            for n in 1..=30 {
                assert_eq!(find(&fdb, n, 0), None, "seed {seed}");
                assert_eq!(fdb.find(&other, addr(n), 0, |_| 0), Some(EM1));
            }
        }
    }

    #[test]
    fn an_epoch_forgets_what_was_learned_on_its_member() {
        let mut fdb = Fdb::new(8, 1);
        fdb.learn(&terms(100), addr(1), EM0, 4, 0);
        fdb.learn(&terms(100), addr(2), EM1, 9, 0);
        let epoch = |id| if id == EM0 { 5 } else { 9 };
        assert_eq!(fdb.find(&terms(100), addr(1), 0, epoch), None);
        assert_eq!(fdb.find(&terms(100), addr(2), 0, epoch), Some(EM1));
        fdb.sweep(100, 0, |_, member| Some((240, epoch(member))));
        assert_eq!(fdb.len(), 1);
        // A member that left the bridge takes its stations along.
        fdb.sweep(100, 0, |_, _| None);
        assert_eq!(fdb.len(), 0);
    }

    #[test]
    fn the_sweep_forgets_what_is_old_and_keeps_within_its_budget() {
        let mut fdb = Fdb::new(64, 3);
        for n in 1..=60 {
            fdb.learn(&terms(100), addr(n), EM0, 0, n as u32);
        }
        fdb.sweep(2, 300, |_, _| Some((240, 0)));
        assert!(fdb.len() >= 58);
        for _ in 0..2 {
            fdb.sweep(200, 300, |_, _| Some((240, 0)));
        }
        assert_eq!(fdb.len(), 0, "the last was seen at 60");
        for n in 1..=60 {
            fdb.learn(&terms(100), addr(n), EM0, 0, 0);
        }
        fdb.sweep(200, u32::MAX, |_, _| Some((0, 0)));
        assert_eq!(fdb.len(), 60, "a timeout of 0 is never");
    }

    #[test]
    fn it_is_a_map_whatever_happens() {
        let seed = 0x1234_5678_9abc_def1u64;
        println!("seed {seed:x}");
        let mut dice = seed;
        let mut random = |below: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice >> 16) % below
        };
        let mut fdb = Fdb::new(64, seed);
        let mut model: HashMap<u64, u16> = HashMap::new();
        for _ in 0..200_000 {
            let n = 1 + random(120);
            match random(3) {
                0 => assert_eq!(
                    fdb.forget(BRIDGE, addr(n)),
                    model.remove(&n).is_some(),
                    "{n}"
                ),
                _ => {
                    let member = random(3) as u16;
                    let learned = fdb.learn(&terms(1000), addr(n), InterfaceId(member), 0, 0);
                    let full = model.len() == 64 && !model.contains_key(&n);
                    assert_eq!(learned == Learned::Refused, full);
                    if !full {
                        model.insert(n, member);
                    }
                }
            }
            let n = 1 + random(120);
            let found = find(&fdb, n, 0).map(|id| id.0);
            assert_eq!(found, model.get(&n).copied());
            assert_eq!(fdb.len(), model.len());
        }
    }

    #[test]
    fn a_million_addresses_are_refused_quickly() {
        let mut fdb = Fdb::new(STATIONS_MAX, 5);
        let mut learned = 0;
        for n in 1..=1_000_000 {
            let became = fdb.learn(&terms(MAX_ADDR_DEFAULT), addr(n), EM0, 0, 0);
            learned += u32::from(became == Learned::New);
        }
        assert_eq!((learned, fdb.count(BRIDGE)), (100, 100));
    }
}
