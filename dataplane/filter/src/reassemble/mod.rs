//! Joins the pieces of datagrams before the rules are asked, as `set reassemble yes` wants it: which pieces belong
//! together, what is done about overlaps, limits and time. Knows offsets and lengths; what is in the buffers is the
//! caller's, but for the question whether two pieces are the same.
//!
//! The pieces of a datagram are not copied together. They wait, each in its buffer, until all are there; then they are
//! a *train*: the first one, the *head*, goes through the firewall alone, with the header of the whole, and the others
//! hang on it. Everything is of fixed size: a flood of pieces costs the oldest datagrams, never memory.
//!
//! Read first: RFC 791 3.2, RFC 8200 4.5, RFC 5722 (overlaps in IPv6), RFC 4963 (identifications that come again),
//! pf.conf(5) `set reassemble`, `set limit frags`, `set timeout frag`.

mod slab;
#[cfg(test)]
mod tests;

use alloc::vec;
use alloc::vec::Vec;

use net::InterfaceId;
use ruleset::Af;
use state::{HashSeed, Key};
use sync::Gauge;

use crate::reason::Reason;
use slab::{List, NIL, Slab};

pub use slab::Piece;

/// Most pieces of one datagram. A datagram of 65535 bytes has 46 on Ethernet and 53 at the least MTU of IPv6; more
/// are sent by nobody but an attacker.
pub const PIECES_PER_DATAGRAM_MAX: usize = 64;
/// Datagrams of one pair of ends and protocol that may begin within a second before older ones are no longer trusted:
/// IPv4 identifications come again after 65536 (RFC 4963). Times the timeout, as in OpenBSD.
const BEGINNINGS_PER_S: u32 = 200;
/// Counts of beginnings, by hash of ends and protocol. Two that share one are only suspected earlier.
const GENERATIONS: usize = 256;

/// What a piece says of itself. Made by [`crate::describe::fragment`].
#[derive(Clone, Copy, Debug)]
pub struct FragmentInfo {
    /// Ends and protocol, with the identification in place of the ports. In IPv6 the protocol does not count (RFC 8200
    /// 4.5).
    pub key: Key,
    /// Identification.
    pub ident: u32,
    /// Where the IP header begins, from the first byte of the frame.
    pub ip_at: u16,
    /// Where the piece's part of the datagram begins, from the first byte of the frame.
    pub at: u16,
    /// Where that part belongs in the datagram, bytes.
    pub offset: u16,
    /// Bytes of that part.
    pub len: u16,
    /// Others follow.
    pub more: bool,
    /// End of the headers that every piece has, from the first byte of the IP header: where the fragment header
    /// stands in IPv6.
    pub header_len: u16,
    /// IPv6: the byte that names the fragment header, from the first byte of the IP header.
    pub named_at: u16,
    /// IPv6: what the fragment header names.
    pub next_header: u8,
}

/// What hangs on a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrainId(u16);

/// What decides how long and how many pieces wait.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Milliseconds since start.
    pub now_ms: u64,
    /// `set timeout frag`, seconds.
    pub timeout_s: u32,
    /// `set limit frags`, over all cores.
    pub limit: u32,
    /// Pieces that wait on all cores.
    pub total: &'a Gauge,
}

impl Terms<'_> {
    fn timeout_ms(&self) -> u64 {
        u64::from(self.timeout_s) * 1000
    }
}

/// What became of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It waits for others.
    Waits,
    /// It was not taken; whoever hears of lost pieces has it.
    Refused,
    /// It was the missing one. The train stands in the line of whole ones now, see [`Reassembler::next_whole`]; so
    /// many pieces it has.
    Completed(usize),
}

/// Where a train is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Free,
    /// Pieces are missing.
    Gathering,
    /// Complete, or on its way here from another core.
    Whole,
}

/// The pieces of one datagram.
#[derive(Clone, Copy, Debug)]
struct Train {
    key: Key,
    born_ms: u64,
    /// Count of beginnings when it began.
    generation: u32,
    stage: Stage,
    /// Where its last piece came in; none for one of the box itself.
    received_on: Option<InterfaceId>,
    pieces: List,
    /// Next train of its bucket; of the free ones; of the line of whole ones.
    chain: u16,
    /// Neighbors in the order of age.
    older: u16,
    newer: u16,
}

/// A queue of trains linked by `chain`.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: u16,
    last: u16,
    count: usize,
}

/// Bytes of a buffer, to see whether two pieces are the same.
pub type Bytes<B> = fn(&B) -> &[u8];

/// Why the pieces of one datagram cannot go on.
enum Refusal {
    /// This piece is wrong; the others wait on.
    Piece,
    /// All of them are lost (RFC 5722).
    Datagram,
}

/// All datagrams of one core of which pieces are missing, and the trains of those that are whole.
pub struct Reassembler<B> {
    slab: Slab<B>,
    trains: Vec<Train>,
    buckets: Vec<u16>,
    free: u16,
    oldest: u16,
    newest: u16,
    whole: Line,
    /// Pieces that wait for others.
    gathering: usize,
    generations: [u32; GENERATIONS],
    seed: HashSeed,
    bytes: Bytes<B>,
}

impl<B> Reassembler<B> {
    /// Room for `pieces` pieces, and as many datagrams. `seed` is a secret.
    pub fn new(pieces: usize, seed: u64, bytes: Bytes<B>) -> Self {
        let slab = Slab::new(pieces);
        let count = slab.capacity();
        let train = |n: usize| Train {
            key: Key::default(),
            born_ms: 0,
            generation: 0,
            stage: Stage::Free,
            received_on: None,
            pieces: List::EMPTY,
            chain: if n + 1 < count { n as u16 + 1 } else { NIL },
            older: NIL,
            newer: NIL,
        };
        Reassembler {
            trains: (0..count).map(train).collect(),
            buckets: vec![NIL; (2 * count).next_power_of_two()],
            slab,
            free: 0,
            oldest: NIL,
            newest: NIL,
            whole: Line {
                first: NIL,
                last: NIL,
                count: 0,
            },
            gathering: 0,
            generations: [0; GENERATIONS],
            seed: HashSeed(seed),
            bytes,
        }
    }

    /// Packets that wait here: pieces of what is not whole, and whole datagrams that nobody has taken.
    pub fn waiting(&self) -> usize {
        self.gathering + self.whole.count
    }

    /// Places in use, by pieces that wait and by trains.
    pub fn used(&self) -> usize {
        self.slab.used()
    }

    /// A piece arrives. What is lost by it, itself included, goes to `lost`.
    pub fn insert(
        &mut self,
        buf: B,
        info: &FragmentInfo,
        received_on: Option<InterfaceId>,
        terms: &Terms<'_>,
        lost: &mut dyn FnMut(B, Reason),
    ) -> Arrival {
        // An empty piece says nothing (RFC 8200 4.5 has none).
        if info.len == 0 {
            lost(buf, Reason::Fragment);
            return Arrival::Refused;
        }
        if !self.reserve(terms, lost) {
            lost(buf, Reason::Memory);
            return Arrival::Refused;
        }
        let piece = Piece {
            buf,
            ip_at: info.ip_at,
            at: info.at,
            offset: info.offset,
            len: info.len,
            more: info.more,
        };
        let (bucket, generation) = self.hash(&info.key);
        let train = self.find(info, bucket, generation, terms, lost);
        let n = match train.or_else(|| self.begin(info, bucket, generation, terms.now_ms)) {
            Some(n) => n,
            None => {
                terms.total.give_back(1);
                lost(piece.buf, Reason::Memory);
                return Arrival::Refused;
            }
        };
        match self.fit(n, piece, terms.total, lost) {
            Ok(arrival) => {
                self.trains[usize::from(n)].received_on = received_on;
                arrival
            }
            Err((buf, refusal)) => {
                terms.total.give_back(1);
                lost(buf, Reason::Fragment);
                if matches!(refusal, Refusal::Datagram) {
                    self.free_train(n, terms.total, Reason::Fragment, lost);
                }
                Arrival::Refused
            }
        }
    }

    /// Room for one more piece, if need be that of the oldest datagrams: a tenth of all pieces goes at once, so that a
    /// flood does not make every piece pay (pf_flush_fragments() of OpenBSD).
    fn reserve(&mut self, terms: &Terms<'_>, lost: &mut dyn FnMut(B, Reason)) -> bool {
        let take =
            |slab: &Slab<B>| !slab.is_full() && terms.total.try_take(1, u64::from(terms.limit));
        if take(&self.slab) {
            return true;
        }
        let goal = self.gathering * 9 / 10;
        while self.gathering > goal {
            self.free_train(self.oldest, terms.total, Reason::Memory, lost);
        }
        take(&self.slab)
    }

    fn hash(&self, key: &Key) -> (usize, usize) {
        let hash = key.hash(self.seed) as usize;
        let ends = Key::new(
            ruleset::Direction::In,
            key.af(),
            key.proto(),
            (key.end(0).0, 0),
            (key.end(1).0, 0),
        );
        let ends = ends.hash(self.seed) as usize;
        (hash & (self.buckets.len() - 1), ends % GENERATIONS)
    }

    /// The datagram that a piece belongs to. One that is too old is not trusted, and goes.
    fn find(
        &mut self,
        info: &FragmentInfo,
        bucket: usize,
        generation: usize,
        terms: &Terms<'_>,
        lost: &mut dyn FnMut(B, Reason),
    ) -> Option<u16> {
        let mut n = self.buckets[bucket];
        while let Some(train) = self.trains.get(usize::from(n)) {
            if train.key == info.key {
                break;
            }
            n = train.chain;
        }
        let train = self.trains.get(usize::from(n))?;
        let stale = terms.timeout_s.saturating_mul(BEGINNINGS_PER_S);
        let age = self.generations[generation].wrapping_sub(train.generation);
        if age >= stale.max(1) || train.born_ms + terms.timeout_ms() <= terms.now_ms {
            self.free_train(n, terms.total, Reason::Fragment, lost);
            return None;
        }
        Some(n)
    }

    fn begin(
        &mut self,
        info: &FragmentInfo,
        bucket: usize,
        generation: usize,
        now_ms: u64,
    ) -> Option<u16> {
        let n = self.take_free()?;
        self.generations[generation] = self.generations[generation].wrapping_add(1);
        let (older, first) = (self.newest, self.buckets[bucket]);
        self.trains[usize::from(n)] = Train {
            key: info.key,
            born_ms: now_ms,
            generation: self.generations[generation],
            stage: Stage::Gathering,
            received_on: None,
            pieces: List::EMPTY,
            chain: first,
            older,
            newer: NIL,
        };
        self.buckets[bucket] = n;
        match self.trains.get_mut(usize::from(older)) {
            Some(train) => train.newer = n,
            None => self.oldest = n,
        }
        self.newest = n;
        Some(n)
    }

    fn take_free(&mut self) -> Option<u16> {
        let n = self.free;
        self.free = self.trains.get(usize::from(n))?.chain;
        Some(n)
    }

    /// Gives a piece its place among those that came before it.
    ///
    /// IPv4 as in OpenBSD: what a piece has in common with one that begins before it, or where it begins, is cut off
    /// the new piece; what it has in common with those that begin after it is cut off these. IPv6: any overlap, and any
    /// contradiction about the end, costs the whole datagram (RFC 5722). A piece that came twice is not an overlap
    /// (RFC 8200 4.5).
    fn fit(
        &mut self,
        n: u16,
        mut new: Piece<B>,
        total: &Gauge,
        lost: &mut dyn FnMut(B, Reason),
    ) -> Result<Arrival, (B, Refusal)> {
        let (slab, train) = (&mut self.slab, &mut self.trains[usize::from(n)]);
        let list = &mut train.pieces;
        let strict = train.key.af() == Af::Inet6;
        let refusal = |strict| match strict {
            true => Refusal::Datagram,
            false => Refusal::Piece,
        };
        if strict && is_repeated(slab, list, &new, self.bytes) {
            return Err((new.buf, Refusal::Piece));
        }
        if contradicts_end(slab, list, &new) {
            return Err((new.buf, refusal(strict)));
        }
        let prev = last_not_after(slab, list, new.offset);
        if let Some(before) = slab.get(prev)
            && before.end() > u32::from(new.offset)
        {
            // Both ends are below 65536.
            let cut = (before.end() - u32::from(new.offset)) as u16;
            if strict || cut >= new.len {
                return Err((new.buf, refusal(strict)));
            }
            new.cut_front(cut);
        }
        loop {
            let after = slab.after(list, prev);
            let Some((offset, len)) = slab.get(after).map(|p| (p.offset, p.len)) else {
                break;
            };
            if new.end() <= u32::from(offset) {
                break;
            }
            if strict {
                return Err((new.buf, Refusal::Datagram));
            }
            let cut = new.end() - u32::from(offset);
            if cut < u32::from(len) {
                slab.cut_front(list, after, cut as u16);
                break;
            }
            if let Some(covered) = slab.remove(list, prev) {
                self.gathering -= 1;
                total.give_back(1);
                lost(covered.buf, Reason::Fragment);
            }
        }
        if usize::from(list.count) >= PIECES_PER_DATAGRAM_MAX {
            return Err((new.buf, Refusal::Datagram));
        }
        if let Err(new) = slab.insert(list, prev, new) {
            return Err((new.buf, Refusal::Piece));
        }
        self.gathering += 1;
        Ok(self.settle(n, total))
    }

    /// Complete if the pieces begin at 0, the last one is the end, and none is missing: pieces do not overlap here.
    fn settle(&mut self, n: u16, total: &Gauge) -> Arrival {
        let list = self.trains[usize::from(n)].pieces;
        let begins = self.slab.get(list.first).is_some_and(|p| p.offset == 0);
        let last = self.slab.get(list.last);
        let ends = last.is_some_and(|p| !p.more && p.end() == list.bytes);
        if !begins || !ends {
            return Arrival::Waits;
        }
        let count = usize::from(list.count);
        self.unlink(n);
        self.gathering -= count;
        total.give_back(count as u64);
        self.trains[usize::from(n)].stage = Stage::Whole;
        self.stand_in_line(n);
        Arrival::Completed(count)
    }

    fn stand_in_line(&mut self, n: u16) {
        self.trains[usize::from(n)].chain = NIL;
        match self.trains.get_mut(usize::from(self.whole.last)) {
            Some(last) => last.chain = n,
            None => self.whole.first = n,
        }
        self.whole.last = n;
        self.whole.count += 1;
    }

    /// Takes a gathering train out of its bucket and out of the order of age.
    fn unlink(&mut self, n: u16) {
        let Train {
            key,
            chain,
            older,
            newer,
            ..
        } = self.trains[usize::from(n)];
        let (bucket, _) = self.hash(&key);
        let mut at = self.buckets[bucket];
        if at == n {
            self.buckets[bucket] = chain;
        } else {
            while let Some(train) = self.trains.get_mut(usize::from(at)) {
                if train.chain == n {
                    train.chain = chain;
                    break;
                }
                at = train.chain;
            }
        }
        match self.trains.get_mut(usize::from(older)) {
            Some(train) => train.newer = newer,
            None => self.oldest = newer,
        }
        match self.trains.get_mut(usize::from(newer)) {
            Some(train) => train.older = older,
            None => self.newest = older,
        }
    }

    /// Ends a gathering train; its pieces are lost.
    fn free_train(
        &mut self,
        n: u16,
        total: &Gauge,
        reason: Reason,
        lost: &mut dyn FnMut(B, Reason),
    ) {
        self.unlink(n);
        let train = &mut self.trains[usize::from(n)];
        while let Some(piece) = self.slab.remove(&mut train.pieces, NIL) {
            self.gathering -= 1;
            total.give_back(1);
            lost(piece.buf, reason);
        }
        self.give_back(n);
    }

    fn give_back(&mut self, n: u16) {
        let train = &mut self.trains[usize::from(n)];
        train.stage = Stage::Free;
        train.chain = self.free;
        self.free = n;
    }

    /// Ends datagrams whose time is up, at most `budget`.
    pub fn expire(&mut self, terms: &Terms<'_>, budget: usize, lost: &mut dyn FnMut(B, Reason)) {
        for _ in 0..budget {
            let oldest = self.trains.get(usize::from(self.oldest));
            if oldest.is_none_or(|t| t.born_ms + terms.timeout_ms() > terms.now_ms) {
                return;
            }
            self.free_train(self.oldest, terms.total, Reason::Fragment, lost);
        }
    }

    /// The head of the next whole datagram, what hangs on it, and where its last piece came in.
    pub fn next_whole(&mut self) -> Option<(Piece<B>, TrainId, Option<InterfaceId>)> {
        let n = self.whole.first;
        let train = self.trains.get(usize::from(n))?;
        let received_on = train.received_on;
        self.whole.first = train.chain;
        if self.whole.first == NIL {
            self.whole.last = NIL;
        }
        self.whole.count -= 1;
        let head = self.uncouple(TrainId(n))?;
        Some((head, TrainId(n), received_on))
    }

    /// Whole datagrams that nobody has taken.
    pub fn whole(&self) -> usize {
        self.whole.count
    }

    /// An empty train, to be filled with [`Reassembler::append`].
    pub fn new_train(&mut self) -> Option<TrainId> {
        let n = self.take_free()?;
        let train = &mut self.trains[usize::from(n)];
        train.stage = Stage::Whole;
        train.pieces = List::EMPTY;
        Some(TrainId(n))
    }

    fn list(&self, train: TrainId) -> Option<&List> {
        let train = self.trains.get(usize::from(train.0))?;
        (train.stage == Stage::Whole).then_some(&train.pieces)
    }

    /// Hangs a piece on the end of a train; gives it back if there is no room.
    pub fn append(&mut self, train: TrainId, piece: Piece<B>) -> Result<(), Piece<B>> {
        let Some(at) = self.list(train).map(|list| list.last) else {
            return Err(piece);
        };
        let list = &mut self.trains[usize::from(train.0)].pieces;
        if usize::from(list.count) >= PIECES_PER_DATAGRAM_MAX {
            return Err(piece);
        }
        self.slab.insert(list, at, piece)
    }

    /// Pieces that hang on a head, and their bytes.
    pub fn length(&self, train: TrainId) -> (usize, usize) {
        self.list(train).map_or((0, 0), |list| {
            (usize::from(list.count), list.bytes as usize)
        })
    }

    /// Bytes of the largest piece of a train.
    pub fn largest(&self, train: TrainId) -> usize {
        let Some(list) = self.list(train) else {
            return 0;
        };
        let (mut n, mut largest) = (list.first, 0);
        while let Some(piece) = self.slab.get(n) {
            largest = largest.max(usize::from(piece.len));
            n = self.slab.after(list, n);
        }
        largest
    }

    /// The first piece of a train.
    pub fn first_mut(&mut self, train: TrainId) -> Option<&mut Piece<B>> {
        let first = self.list(train)?.first;
        self.slab.get_mut(first)
    }

    /// Takes `n` bytes, fewer than it has, off the front of the first piece of a train.
    pub fn cut_front(&mut self, train: TrainId, n: u16) {
        let list = &mut self.trains[usize::from(train.0)].pieces;
        self.slab.cut_front(list, list.first, n);
    }

    /// Takes the first piece off a train.
    pub fn uncouple(&mut self, train: TrainId) -> Option<Piece<B>> {
        self.list(train)?;
        let list = &mut self.trains[usize::from(train.0)].pieces;
        self.slab.remove(list, NIL)
    }

    /// Ends a train; what still hangs on it is freed.
    pub fn release(&mut self, train: TrainId) {
        if self.list(train).is_none() {
            return;
        }
        while self.uncouple(train).is_some() {}
        self.give_back(train.0);
    }
}

/// The last piece that begins at `offset` or before.
fn last_not_after<B>(slab: &Slab<B>, list: &List, offset: u16) -> u16 {
    let mut prev = NIL;
    loop {
        let next = slab.after(list, prev);
        match slab.get(next) {
            Some(piece) if piece.offset <= offset => prev = next,
            _ => return prev,
        }
    }
}

/// The piece is here already, byte for byte.
fn is_repeated<B>(slab: &Slab<B>, list: &List, new: &Piece<B>, bytes: Bytes<B>) -> bool {
    let Some(old) = slab.get(last_not_after(slab, list, new.offset)) else {
        return false;
    };
    let part = |p: &Piece<B>| {
        let at = usize::from(p.at);
        at..at + usize::from(p.len)
    };
    (old.offset, old.len, old.more) == (new.offset, new.len, new.more)
        && bytes(&old.buf).get(part(old)) == bytes(&new.buf).get(part(new))
}

/// A piece that says of the datagram's end what others have denied.
fn contradicts_end<B>(slab: &Slab<B>, list: &List, new: &Piece<B>) -> bool {
    let Some(last) = slab.get(list.last) else {
        return false;
    };
    let (known, end) = (last.end(), new.end());
    // The end is not where something is known to follow.
    (end < known && !new.more)
        || if last.more {
            end == known && !new.more
        } else {
            end > known || (end == known && new.more)
        }
}
