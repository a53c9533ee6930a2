//! Packets from worker to worker, on both sides of the ring. Where the card has received it, a plain packet that no flow knows
//! is handed to the owner of its connection right behind the flows, by no more than its ends; there flows serve it as if a card
//! had received it. All else goes the long way on both sides, which is the meaning ([`crate::steer`]); so leaving this out
//! changes nothing but time.
//!
//! Of one direction of a connection the order is kept: its packets come by one ring, and once one of them goes the long way on
//! the first side the others of its burst do, too. Of packets without ends (options, pieces of datagrams) flows know nothing
//! either. Packets that came in by different ports do not share a burst on the second side, as they did not on the first.
//!
//! Read first: ARCHITECTURE.md, "Flow 1"; [`crate::flow`].

use filter::{Reason, owner};
use net::{InterfaceId, InterfaceTable};
use nic::{BURST_MAX, Nic, PacketBuf};
use ruleset::Direction;
use state::{Ends, Key};

use crate::batch::{Item, Letter, NO_PORT, Origin};
use crate::config::Config;
use crate::counters::Counters;
use crate::flow::Seen;
use crate::lane::{Door, Lane};
use crate::mail::{Handoff, ToWorkers};
use crate::receive::LONG_WAY_MAX;
use crate::turn::Worker;
use crate::turn_away::{BLOCKED, Before, is_whole};

/// In place of the port that a packet leaves by: it is handed to the worker with this number, less this.
pub(crate) const TO_WORKERS: u16 = 0xff00;
/// Workers that have such a number.
const WORKERS_MAX: u16 = BLOCKED - TO_WORKERS;

impl Letter {
    /// Of a frame that a card has received on this interface.
    fn of_frame(on: InterfaceId, rtable: u8) -> Letter {
        Letter {
            origin: Origin::Wire(on),
            rtable,
            tag: Default::default(),
            train: None,
            is_frame: true,
        }
    }
}

impl<N: Nic> Worker<N> {
    /// Finds out which of the packets that flows have left belong to other workers' connections. Says how many they are.
    #[inline]
    pub(crate) fn hand_over(&mut self, lane: &Lane, served: usize) -> usize {
        let is_one = self.workers == 1 || self.workers > WORKERS_MAX;
        if is_one || served == self.batch.bufs.len() || lane.plain.is_bridged {
            return 0;
        }
        self.hand_over_some(lane)
    }

    /// Those whose hash names another worker, and that cannot be of a state here, are done; of the others the cache is asked for
    /// what says whose they are.
    #[inline(never)]
    fn hand_over_some(&mut self, lane: &Lane) -> usize {
        self.hear_aliases();
        let (id, workers) = (self.id, self.workers);
        let (may_be_here, may_be_elsewhere) = (self.strangers > 0, self.aliases.is_in_use());
        let mut asked = heapless::Vec::<(u8, u16), BURST_MAX>::new();
        // Whose connections have a packet that goes the long way: the next ones must not overtake it.
        let mut before = Before::default();
        let mut handed = 0;
        for n in 0..self.batch.bufs.len() {
            let seen = &self.express.seen[n];
            let buf = &self.batch.bufs[n];
            if seen.port != NO_PORT || seen.ends == Ends::NONE {
                continue;
            }
            let is_whole = seen.is_plain && is_whole(buf.bytes(), seen);
            if !is_whole || before.may_have(&seen.ends) {
                before.add(&seen.ends);
                continue;
            }
            let reached = owner::core_of(owner::hash_ends(&seen.ends), workers);
            match reached == id {
                true if !may_be_elsewhere => {}
                false if !may_be_here => handed += self.is_of(n, reached, lane),
                _ => {
                    self.prefetch_alias(&self.key_of(seen));
                    // A burst has no more.
                    asked.push((n as u8, reached)).ok();
                }
            }
        }
        for (n, reached) in asked {
            let n = usize::from(n);
            let key = self.key_of(&self.express.seen[n]);
            let worker = self.owner_of(reached, &key, Direction::In);
            if worker != id {
                handed += self.is_of(n, worker, lane);
            }
        }
        handed
    }

    /// The key of a packet that came in.
    fn key_of(&self, seen: &Seen) -> Key {
        let on = InterfaceId(seen.ends.interface());
        seen.ends.key(self.rdomain_of(on))
    }

    /// Packet `n` is another worker's: one more.
    #[inline]
    fn is_of(&mut self, n: usize, worker: u16, lane: &Lane) -> usize {
        let seen = &mut self.express.seen[n];
        seen.port = TO_WORKERS + worker;
        let on = InterfaceId(seen.ends.interface());
        for link in lane.links(on).into_iter().flatten() {
            let len = self.batch.bufs[n].len();
            self.counters.link(link, Direction::In, len);
        }
        1
    }

    /// What other workers have handed over, a burst in all. True if there was any.
    #[inline]
    pub(crate) fn take_handed(&mut self, now_ms: u64) -> bool {
        debug_assert_eq!(self.batch.len(), 0);
        self.tunnels.begin_burst(0);
        self.hear_kills();
        let mut letters = BURST_MAX * self.ends.from_workers.len();
        let mut left = BURST_MAX;
        while letters > 0 && left > 0 {
            self.receive_handed(&mut letters, left, now_ms);
            match self.batch.bufs.len() {
                0 => break,
                n => left -= n,
            }
            self.express_handed(now_ms);
            self.take_rest_of_handed(now_ms);
        }
        left < BURST_MAX
    }

    /// Reads the rings from other workers, up to so many letters and packets. What has come in by different ports stays apart,
    /// as it was there: the two ways of a connection do not overtake each other.
    #[inline(never)]
    fn receive_handed(&mut self, letters: &mut usize, most: usize, now_ms: u64) {
        for n in 0..self.ends.from_workers.len() {
            while *letters > 0 && self.batch.bufs.len() < most {
                let first = self.batch.letters.first().map(|letter| letter.origin);
                let interfaces = &self.config.interfaces;
                let fits = |letter: &Handoff<N::Buf>| match (first, origin_of(letter)) {
                    (Some(a), Some(b)) => a == b || is_apart_only_by_tags(interfaces, a, b),
                    _ => true,
                };
                if self.ends.from_workers[n].peek(fits) != Some(true) {
                    break;
                }
                *letters -= 1;
                self.read_letter(n, now_ms);
            }
        }
    }

    fn read_letter(&mut self, ring: usize, now_ms: u64) {
        match self.ends.from_workers[ring].pop() {
            None => {}
            Some(Handoff::Frame(buf, on)) => {
                self.counters.handed_in.add(1);
                let letter = Letter::of_frame(on, self.rdomain_of(on));
                self.put_down(buf, letter);
            }
            Some(Handoff::Neighbor(update)) => self.hear_of_neighbor(&update, now_ms),
            Some(Handoff::Ask(question)) => self.ask_myself(&question),
            Some(Handoff::Wanted(question)) => self.tell_if_known(&question),
            Some(Handoff::Piece(piece)) => self.hear_piece(ring, piece),
            Some(Handoff::Train(carried, train, pieces)) => {
                self.hear_train(ring, carried, train, pieces);
            }
            Some(Handoff::Station(bridge, station)) => self.hear_of_station(bridge, &station),
            Some(Handoff::Packet(carried, tag)) => {
                self.counters.handed_in.add(1);
                let letter = Letter {
                    origin: carried.received_on.map_or(Origin::Own, Origin::Wire),
                    rtable: carried.rtable,
                    tag,
                    train: None,
                    is_frame: false,
                };
                self.put_down(carried.buf, letter);
            }
        }
    }

    /// One more packet of the burst from other workers, which is not full.
    pub(crate) fn put_down(&mut self, buf: N::Buf, letter: Letter) {
        // Both have the same capacity and length.
        if self.batch.bufs.push(buf).is_ok() {
            self.batch.letters.push(letter).ok();
        }
    }

    /// Serves what flows know of a burst that has come in by one port of another worker's. The rest stays.
    fn express_handed(&mut self, now_ms: u64) {
        let first = self.batch.letters.first().map(|letter| letter.origin);
        let Some(Origin::Wire(on)) = first.filter(|_| self.express.is_on && self.may_express())
        else {
            return;
        };
        let lane = lane_on(&self.config, self.config.interfaces.links().base(on));
        self.express_by(&lane, now_ms);
    }

    /// Only frames as cards have received them are served.
    #[inline(never)]
    pub(crate) fn look_at_frames_alone(&mut self) {
        let letters = self.batch.letters.iter();
        for (letter, seen) in letters.zip(self.express.seen.iter_mut()) {
            let on = InterfaceId(seen.ends.interface());
            if !letter.is_frame || letter.origin != Origin::Wire(on) {
                *seen = Seen::NOTHING;
            }
        }
    }

    /// Of those packets of the burst that go the long way.
    #[inline(never)]
    pub(crate) fn keep_letters(&mut self) {
        let mut seen = self.express.seen.iter();
        let is_left = |seen: &Seen| seen.port == NO_PORT;
        self.batch
            .letters
            .retain(|_| seen.next().is_some_and(is_left));
    }

    /// What flows have left of it.
    fn take_rest_of_handed(&mut self, now_ms: u64) {
        if self.batch.bufs.is_empty() {
            return;
        }
        let letters = core::mem::take(&mut self.batch.letters);
        let mut rest = core::mem::take(&mut self.batch.bufs)
            .into_iter()
            .zip(letters);
        while self.unpack_handed(&mut rest) {
            self.go_the_long_way(false, now_ms);
        }
    }

    /// Looks at some of these packets as a whole. False if there are no more.
    fn unpack_handed(&mut self, rest: &mut impl Iterator<Item = (N::Buf, Letter)>) -> bool {
        for (buf, letter) in rest.take(LONG_WAY_MAX) {
            let mut item = self.item_in(letter.origin, letter.rtable);
            (item.pd.tag, item.train) = (letter.tag, letter.train);
            item.is_handed = letter.is_frame;
            let pushed = self.batch.push(buf, item);
            debug_assert!(pushed.is_ok(), "no more than a burst");
        }
        self.batch.len() > 0
    }

    /// Where a frame that another worker has handed over has come in, if its connection may have a flow.
    pub(crate) fn lane_of_handed(&self, item: &Item) -> Option<Lane> {
        let base = self.config.interfaces.links().base(item.received_on()?);
        let is_open = item.is_handed && item.bridged.is_none() && self.may_express();
        is_open.then(|| lane_on(&self.config, base))
    }
}

/// Where a packet has come from; none if the letter is no packet.
fn origin_of<B>(letter: &Handoff<B>) -> Option<Origin> {
    match letter {
        Handoff::Frame(_, on) => Some(Origin::Wire(*on)),
        Handoff::Packet(carried, _) | Handoff::Train(carried, ..) => {
            Some(carried.received_on.map_or(Origin::Own, Origin::Wire))
        }
        _ => None,
    }
}

/// Whether both have come in by one port or lagg.
#[cold]
fn is_apart_only_by_tags(interfaces: &InterfaceTable, a: Origin, b: Origin) -> bool {
    match (a, b) {
        (Origin::Wire(a), Origin::Wire(b)) => {
            let links = interfaces.links();
            links.base(a) == links.base(b)
        }
        _ => false,
    }
}

/// What is common to frames handed over that have come in by a port or lagg. It is closed where a bridge begins: what a bridge
/// learns of a frame is known where the card is.
fn lane_on(config: &Config, base: InterfaceId) -> Lane {
    let interfaces = &config.interfaces;
    let is_apart = interfaces.bridges().place(base).is_none();
    let on = interfaces.get(base).filter(|_| is_apart);
    Lane {
        base,
        is_lagg: false,
        is_handed: true,
        plain: on.map_or(Door::CLOSED, |on| Door::of(config, on)),
        bridge_asked: 0,
    }
}

/// Gives a frame to the worker that [`Seen::port`] names.
#[inline(never)]
pub(crate) fn push_frame<B: Send>(
    counters: &Counters,
    to_workers: &mut ToWorkers<B>,
    buf: B,
    seen: &Seen,
) {
    let frame = Handoff::Frame(buf, InterfaceId(seen.ends.interface()));
    let ring = to_workers.get_mut(usize::from(seen.port - TO_WORKERS));
    let refused = match ring.and_then(Option::as_mut) {
        Some(ring) => ring.push(frame).err(),
        None => Some(frame),
    };
    match refused {
        None => counters.handed_out.add(1),
        Some(_) => counters.drop_for(Reason::HandoffFull),
    }
}
