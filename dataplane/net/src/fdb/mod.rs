//! Where stations are behind the members of bridges: the forwarding database of one worker.
//!
//! Read first: IEEE 802.1D-2004 7.8 and 7.9, bridge(4) of OpenBSD. The memory is taken once; each bridge has a limit of
//! its own, which holds over all workers ([`Roll`]). It knows addresses only, no VLANs. Each worker learns from the frames that it receives and tells the others;
//! what is told twice or never does no harm, for a frame to an unknown station goes to everybody.
//!
//! Members have an *epoch*: when the spanning tree wants what was learned on a member to be forgotten, the epoch moves on,
//! and what was learned before does not count any more. So a topology change costs one store and no search.

mod roll;
mod slots;

use alloc::sync::Arc;

use wire::ether::Addr;

pub use roll::Roll;
use slots::Slots;

use crate::kif::InterfaceId;

/// Stations that the box can know, over all bridges.
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

/// One worker's stations of all bridges.
pub struct Fdb {
    slots: Slots,
    roll: Arc<Roll>,
    /// Bridges whose limit was met, and in which second: until the next, or until a place is free, strangers are not even
    /// asked for on the roll.
    full: heapless::Vec<(InterfaceId, u32), BRIDGES_MAX>,
    swept: usize,
    moves: u32,
}

impl Fdb {
    /// Room for `capacity` stations, rounded up to a power of two. `seed` keeps strangers from choosing addresses that
    /// collide. `roll` is shared by all workers.
    pub fn new(capacity: usize, seed: u64, roll: Arc<Roll>) -> Fdb {
        Fdb {
            slots: Slots::new(capacity, seed),
            roll,
            full: heapless::Vec::new(),
            swept: 0,
            moves: 0,
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
        let station = Station {
            addr,
            member,
            epoch,
            seen_s: now_s,
        };
        self.enter(terms, &station, |fdb, key| {
            !fdb.is_full(terms.bridge, now_s) && {
                let held = fdb.roll.hold(terms, key);
                if !held {
                    fdb.note_full(terms.bridge, now_s);
                }
                held
            }
        })
    }

    /// Another worker has seen a station; if it still knows it, there is a place for it on the roll.
    pub fn hear(&mut self, terms: &Terms, station: &Station) -> Learned {
        self.enter(terms, station, |fdb, key| fdb.roll.hold(terms, key))
    }

    /// `hold` takes a place on the roll for a station that is new to this worker.
    #[inline]
    fn enter(
        &mut self,
        terms: &Terms,
        station: &Station,
        hold: impl FnOnce(&mut Self, u64) -> bool,
    ) -> Learned {
        if !station.addr.is_unicast() {
            return Learned::Refused;
        }
        let key = key(terms.bridge, station.addr);
        match self.slots.position(key) {
            Ok(at) => {
                let old = self.station_at(at, station.addr);
                if (old.member, old.epoch) == (station.member, station.epoch) {
                    return self.refresh(at, old, station.seen_s, terms);
                }
                self.slots.set(at, pack(station));
                self.moves = self.moves.wrapping_add(1);
                Learned::New
            }
            Err(_) if self.slots.is_full() => Learned::Refused,
            Err(at) => match hold(self, key) {
                true => {
                    self.slots.insert(at, key, pack(station));
                    Learned::New
                }
                false => Learned::Refused,
            },
        }
    }

    fn station_at(&self, at: usize, addr: Addr) -> Station {
        let value = self.slots.at(at).map_or(0, |(_, value)| value);
        unpack(addr, value)
    }

    fn is_full(&self, bridge: InterfaceId, now_s: u32) -> bool {
        self.full.contains(&(bridge, now_s))
    }

    fn note_full(&mut self, bridge: InterfaceId, now_s: u32) {
        self.full.retain(|(id, _)| *id != bridge);
        // Bridges that are gone make room; the roll is asked once too often.
        if self.full.push((bridge, now_s)).is_err() {
            self.full.clear();
        }
    }

    /// What others know is renewed a few times in the life of an entry, so that it does not end for them.
    #[inline]
    fn refresh(&mut self, at: usize, old: Station, now_s: u32, terms: &Terms) -> Learned {
        let quiet_s = now_s.saturating_sub(old.seen_s);
        if quiet_s <= terms.timeout_s / 8 {
            return Learned::Known;
        }
        let renewed = Station {
            seen_s: now_s,
            ..old
        };
        self.slots.set(at, pack(&renewed));
        Learned::Refreshed
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
        let at = self.slots.position(key(terms.bridge, addr)).ok()?;
        let station = self.station_at(at, addr);
        let old = is_over(&station, terms.timeout_s, now_s);
        (!old && epoch_of(station.member) == station.epoch).then_some(station.member)
    }

    /// Forgets one station. True if it was known.
    pub fn forget(&mut self, bridge: InterfaceId, addr: Addr) -> bool {
        match self.slots.position(key(bridge, addr)) {
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
        for _ in 0..budget.min(self.slots.places()) {
            if self.slots.len() == 0 {
                return;
            }
            let at = self.swept;
            let goes = self.slots.at(at).is_some_and(|(key, value)| {
                let station = unpack(addr_of(key), value);
                match judge(bridge_of(key), station.member) {
                    Some((timeout_s, epoch)) => {
                        is_over(&station, timeout_s, now_s) || station.epoch != epoch
                    }
                    None => true,
                }
            });
            match goes {
                // Another one may have moved here.
                true => self.remove(at),
                false => self.swept = self.slots.after(at),
            }
        }
    }

    /// Moves on whenever a station that was known is no longer where it was. Within a second, what is known of a station
    /// holds while this stays.
    #[inline]
    pub fn moves(&self) -> u32 {
        self.moves
    }

    /// Stations known, over all bridges.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    /// Places of the table, empty ones included.
    pub fn places(&self) -> usize {
        self.slots.places()
    }

    /// The stations in `count` places from `from` on, with their bridges, and the place of each.
    pub fn iter_in(
        &self,
        from: usize,
        count: usize,
    ) -> impl Iterator<Item = (usize, InterfaceId, Station)> {
        let some = self.slots.iter_in(from, count);
        some.map(|(at, key, value)| (at, bridge_of(key), unpack(addr_of(key), value)))
    }

    /// Forgets the stations of a bridge in `budget` places from `from` on. The place to go on at; none at the end.
    ///
    /// What moves up when a place becomes empty moves to this place or a later one, so that nothing is left out.
    pub fn flush(&mut self, bridge: InterfaceId, from: usize, budget: usize) -> Option<usize> {
        let mut at = from;
        for _ in 0..budget {
            if at >= self.places() {
                return None;
            }
            let its = self.slots.at(at).map(|(key, _)| bridge_of(key));
            if its == Some(bridge) {
                self.remove(at);
            } else {
                at += 1;
            }
        }
        (at < self.places()).then_some(at)
    }

    fn remove(&mut self, at: usize) {
        if let Some((key, _)) = self.slots.at(at) {
            self.moves = self.moves.wrapping_add(1);
            self.slots.remove(at);
            self.roll.release(key);
            self.full.retain(|(id, _)| *id != bridge_of(key));
        }
    }
}

impl Drop for Fdb {
    /// A worker of a packet that is only tried out goes before the others.
    fn drop(&mut self) {
        for (_, key, _) in self.slots.iter_in(0, self.slots.places()) {
            self.roll.release(key);
        }
    }
}

/// Never 0: no station has the address of zeros.
#[inline]
fn key(bridge: InterfaceId, addr: Addr) -> u64 {
    let [a, b, c, d, e, f] = addr.0;
    u64::from(bridge.0) << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[inline]
fn pack(station: &Station) -> u64 {
    u64::from(station.member.0) << 48 | u64::from(station.epoch) << 32 | u64::from(station.seen_s)
}

#[inline]
fn unpack(addr: Addr, value: u64) -> Station {
    Station {
        addr,
        member: InterfaceId((value >> 48) as u16),
        epoch: (value >> 32) as u16,
        seen_s: value as u32,
    }
}

#[inline]
fn addr_of(key: u64) -> Addr {
    let [_, _, a, b, c, d, e, f] = key.to_be_bytes();
    Addr([a, b, c, d, e, f])
}

#[inline]
fn bridge_of(key: u64) -> InterfaceId {
    InterfaceId((key >> 48) as u16)
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

    /// The only worker's.
    fn alone(capacity: usize, seed: u64) -> Fdb {
        Fdb::new(capacity, seed, Arc::new(Roll::new(capacity, seed)))
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
        let mut fdb = alone(8, 1);
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
        let mut fdb = alone(8, 1);
        for addr in [Addr::BROADCAST, Addr::ZERO, wire::bpdu::GROUP] {
            assert_eq!(fdb.learn(&terms(100), addr, EM0, 0, 0), Learned::Refused);
        }
        assert!(fdb.is_empty());
    }

    #[test]
    fn bridges_do_not_share_stations_or_limits() {
        let mut fdb = alone(8, 1);
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
        assert_eq!(
            (fdb.roll.count(BRIDGE), fdb.roll.count(other.bridge)),
            (2, 1)
        );
        assert_eq!(fdb.iter_in(0, fdb.places()).count(), 3);
        // A station that is known may move although the bridge is full.
        assert_eq!(fdb.learn(&terms(2), addr(2), EM1, 0, 0), Learned::New);
        assert!(fdb.forget(BRIDGE, addr(1)) && fdb.forget(BRIDGE, addr(2)));
        assert_eq!((fdb.roll.count(BRIDGE), fdb.len()), (0, 1));
    }

    #[test]
    fn the_whole_table_has_a_limit() {
        let mut fdb = alone(8, 1);
        let learned = (1..=100)
            .filter(|n| fdb.learn(&terms(1000), addr(*n), EM0, 0, 0) == Learned::New)
            .count();
        assert_eq!((learned, fdb.len(), fdb.roll.count(BRIDGE)), (8, 8, 8));
    }

    #[test]
    fn a_flush_takes_one_bridge_and_all_of_it() {
        for seed in 0..50 {
            let mut fdb = alone(64, seed);
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
            assert_eq!(
                (fdb.roll.count(BRIDGE), fdb.roll.count(other.bridge)),
                (0, 30)
            );
            for n in 1..=30 {
                assert_eq!(find(&fdb, n, 0), None, "seed {seed}");
                assert_eq!(fdb.find(&other, addr(n), 0, |_| 0), Some(EM1));
            }
        }
    }

    #[test]
    fn an_epoch_forgets_what_was_learned_on_its_member() {
        let mut fdb = alone(8, 1);
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
        let mut fdb = alone(64, 3);
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
        let mut fdb = alone(64, seed);
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
        let mut fdb = alone(STATIONS_MAX, 5);
        let mut learned = 0;
        for n in 1..=1_000_000 {
            let became = fdb.learn(&terms(MAX_ADDR_DEFAULT), addr(n), EM0, 0, 0);
            learned += u32::from(became == Learned::New);
        }
        assert_eq!((learned, fdb.roll.count(BRIDGE)), (100, 100));
    }

    #[test]
    fn the_limit_holds_over_all_workers_and_a_station_counts_once() {
        let roll = Arc::new(Roll::new(16, 9));
        let mut workers = [(); 3].map(|()| Fdb::new(16, 9, roll.clone()));
        let heard = |n| Station {
            addr: addr(n),
            member: EM0,
            epoch: 0,
            seen_s: 0,
        };
        let [one, two, three] = &mut workers;
        assert_eq!(one.learn(&terms(3), addr(1), EM0, 0, 0), Learned::New);
        assert_eq!(two.learn(&terms(3), addr(1), EM0, 0, 0), Learned::New);
        assert_eq!(two.learn(&terms(3), addr(2), EM0, 0, 0), Learned::New);
        assert_eq!(three.learn(&terms(3), addr(3), EM0, 0, 0), Learned::New);
        assert_eq!(roll.count(BRIDGE), 3);
        assert_eq!(one.learn(&terms(3), addr(4), EM0, 0, 0), Learned::Refused);
        // What another worker knows there is room for, also in the second in which the bridge was full.
        assert_eq!(one.hear(&terms(3), &heard(3)), Learned::New);
        assert_eq!(one.hear(&terms(3), &heard(4)), Learned::Refused);
        assert!(two.forget(BRIDGE, addr(1)));
        assert_eq!(roll.count(BRIDGE), 3, "the first knows it still");
        assert!(two.forget(BRIDGE, addr(2)));
        assert_eq!(roll.count(BRIDGE), 2);
        // The first has not heard that there is room; a second later it looks again.
        assert_eq!(one.learn(&terms(3), addr(4), EM0, 0, 0), Learned::Refused);
        assert_eq!(one.learn(&terms(3), addr(4), EM0, 0, 1), Learned::New);
        assert_eq!(two.learn(&terms(3), addr(5), EM0, 0, 1), Learned::Refused);
        drop(workers);
        assert_eq!(roll.count(BRIDGE), 0);
    }

    #[test]
    fn workers_that_race_for_the_last_places_do_not_take_too_many() {
        let roll = Arc::new(Roll::new(1024, 4));
        let race = |n: u64| {
            let mut fdb = Fdb::new(1024, n, roll.clone());
            let all = 0..10_000;
            let learned = all.filter(|i| {
                fdb.learn(&terms(100), addr(1 + (i * 7 + n) % 500), EM0, 0, *i as u32)
                    == Learned::New
            });
            (learned.count(), fdb)
        };
        let race = &race;
        let ends = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || race(n))).collect();
            let joined = threads.into_iter().map(|t| t.join().unwrap());
            joined.collect::<Vec<_>>()
        });
        let known: std::collections::HashSet<_> = ends
            .iter()
            .flat_map(|(_, fdb)| {
                fdb.iter_in(0, fdb.places())
                    .map(|(_, _, station)| station.addr.0)
            })
            .collect();
        assert_eq!((known.len(), roll.count(BRIDGE)), (100, 100));
        for (learned, fdb) in &ends {
            assert_eq!(*learned, fdb.len());
        }
    }
}
