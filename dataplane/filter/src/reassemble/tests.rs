//! Overlaps against a byte-by-byte model, limits, time.

use super::*;
use ruleset::Direction;
use std::collections::BTreeMap;

type Rig = Reassembler<Vec<u8>>;

const LIMIT: u32 = 1000;

fn rig(pieces: usize) -> Rig {
    Reassembler::new(pieces, 0x5eed, |b| b)
}

fn info(af: Af, ident: u32, offset: u16, len: u16, more: bool) -> FragmentInfo {
    FragmentInfo {
        key: Key::new(
            Direction::In,
            af,
            17,
            (1, (ident >> 16) as u16),
            (2, ident as u16),
        ),
        ident,
        ip_at: 0,
        at: 0,
        offset,
        len,
        more,
        header_len: 20,
        named_at: 0,
        next_header: 17,
    }
}

struct Bench {
    rig: Rig,
    total: Gauge,
    now_ms: u64,
    limit: u32,
    lost: BTreeMap<&'static str, usize>,
}

impl Bench {
    fn new(pieces: usize) -> Self {
        Bench {
            rig: rig(pieces),
            total: Gauge::default(),
            now_ms: 0,
            limit: LIMIT,
            lost: BTreeMap::new(),
        }
    }

    fn terms<'a>(total: &'a Gauge, now_ms: u64, limit: u32) -> Terms<'a> {
        Terms {
            now_ms,
            timeout_s: 60,
            limit,
            total,
        }
    }

    /// A piece filled with `fill`.
    fn add(&mut self, af: Af, ident: u32, at: u16, len: u16, more: bool, fill: u8) -> Arrival {
        let info = info(af, ident, at, len, more);
        let terms = Self::terms(&self.total, self.now_ms, self.limit);
        let lost = &mut self.lost;
        let arrival = self.rig.insert(
            vec![fill; usize::from(len)],
            &info,
            None,
            &terms,
            &mut |_, reason| {
                *lost.entry(reason.name()).or_default() += 1;
            },
        );
        assert_eq!(self.total.get(), self.rig.gathering as u64);
        arrival
    }

    /// The bytes of the next whole datagram.
    fn whole(&mut self) -> Option<Vec<u8>> {
        let (head, id, _) = self.rig.next_whole()?;
        let part =
            |p: &Piece<Vec<u8>>| p.buf[usize::from(p.at)..usize::from(p.at + p.len)].to_vec();
        let mut bytes = part(&head);
        while let Some(piece) = self.rig.uncouple(id) {
            assert_eq!(usize::from(piece.offset), bytes.len());
            bytes.extend(part(&piece));
        }
        self.rig.release(id);
        Some(bytes)
    }
}

#[test]
fn pieces_in_any_order_are_joined() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        for af in [Af::Inet, Af::Inet6] {
            let mut b = Bench::new(8);
            let mut arrivals = Vec::new();
            for n in order {
                let (at, len) = (n * 16, if n == 2 { 5 } else { 16 });
                arrivals.push(b.add(af, 7, at, len, n != 2, n as u8));
            }
            assert_eq!(
                arrivals,
                [Arrival::Waits, Arrival::Waits, Arrival::Completed(3)]
            );
            let expected: Vec<u8> = [[0; 16], [1; 16], [2; 16]].concat()[..37].to_vec();
            assert_eq!(b.whole(), Some(expected), "{order:?}");
            assert_eq!((b.rig.waiting(), b.rig.used()), (0, 0));
            assert!(b.lost.is_empty());
        }
    }
}

/// Offset, length, more, fill; what is joined in IPv4.
type Case = (
    &'static str,
    &'static [(u16, u16, bool, u8)],
    Option<&'static str>,
);

#[test]
fn overlaps_are_cut_in_ipv4_and_cost_the_datagram_in_ipv6() {
    let cases: &[Case] = &[
        (
            "head over the first",
            &[(0, 16, true, 1), (8, 16, false, 2)],
            Some("1*16 2*8"),
        ),
        (
            "head over the second",
            &[(8, 16, false, 2), (0, 16, true, 1)],
            Some("1*16 2*8"),
        ),
        (
            "wholly over the first",
            &[(0, 16, true, 1), (8, 8, true, 2), (16, 8, false, 3)],
            Some("1*16 3*8"),
        ),
        (
            "same start, longer",
            &[(0, 8, true, 1), (0, 16, true, 2), (16, 8, false, 3)],
            Some("1*8 2*8 3*8"),
        ),
        (
            "covers the second",
            &[(8, 8, true, 2), (0, 24, true, 1), (24, 8, false, 3)],
            Some("1*24 3*8"),
        ),
        (
            "tail over the last",
            &[(16, 8, false, 3), (8, 16, true, 2), (0, 8, true, 1)],
            None,
        ),
        (
            "second end reaches further",
            &[(8, 8, false, 2), (8, 16, false, 9), (0, 8, true, 1)],
            Some("1*8 2*8"),
        ),
        (
            "second end is shorter",
            &[
                (0, 8, true, 1),
                (16, 8, true, 2),
                (8, 8, false, 9),
                (8, 8, true, 3),
                (24, 8, false, 4),
            ],
            Some("1*8 3*8 2*8 4*8"),
        ),
        (
            "more beyond the end",
            &[(8, 8, false, 2), (16, 8, true, 9), (0, 8, true, 1)],
            Some("1*8 2*8"),
        ),
    ];
    for (name, pieces, joined) in cases {
        for af in [Af::Inet, Af::Inet6] {
            let mut b = Bench::new(16);
            for (at, len, more, fill) in *pieces {
                b.add(af, 1, *at, *len, *more, *fill);
            }
            let expected = joined.filter(|_| af == Af::Inet).map(|text| {
                let run = |w: &str| {
                    let (fill, n) = w.split_once('*').unwrap();
                    vec![fill.parse().unwrap(); n.parse().unwrap()]
                };
                text.split(' ').flat_map(run).collect::<Vec<u8>>()
            });
            assert_eq!(b.whole(), expected, "{name} {af:?}");
            assert!(af == Af::Inet || b.lost["fragment"] > 1, "{name}");
        }
    }
}

#[test]
fn a_repeated_piece_does_no_harm() {
    for af in [Af::Inet, Af::Inet6] {
        let mut b = Bench::new(8);
        b.add(af, 1, 0, 16, true, 1);
        b.add(af, 1, 0, 16, true, 1);
        b.add(af, 1, 16, 16, false, 2);
        assert_eq!(b.whole().map(|w| w.len()), Some(32), "{af:?}");
        assert_eq!(b.lost["fragment"], 1);
    }
    // In IPv6 other bytes in the same place are an attack.
    let mut b = Bench::new(8);
    b.add(Af::Inet6, 1, 0, 16, true, 1);
    b.add(Af::Inet6, 1, 0, 16, true, 9);
    b.add(Af::Inet6, 1, 16, 16, false, 2);
    assert_eq!((b.whole(), b.lost["fragment"]), (None, 2));
}

#[test]
fn a_datagram_has_at_most_64_pieces() {
    let mut b = Bench::new(200);
    for n in 0..64 {
        b.add(Af::Inet, 1, n * 8, 8, n != 63, 1);
    }
    assert_eq!(b.whole().map(|w| w.len()), Some(512));
    for n in 0..65 {
        b.add(Af::Inet, 2, n * 8, 8, n != 64, 1);
    }
    assert_eq!((b.whole(), b.lost["fragment"]), (None, 65));
    assert_eq!(b.rig.used(), 0);
}

#[test]
fn datagrams_end_when_their_time_is_up() {
    let mut b = Bench::new(8);
    b.add(Af::Inet, 1, 0, 8, true, 1);
    b.now_ms = 59_999;
    let expire = |b: &mut Bench| {
        let terms = Bench::terms(&b.total, b.now_ms, LIMIT);
        let mut n = 0;
        b.rig.expire(&terms, 10, &mut |_, _| n += 1);
        n
    };
    assert_eq!(expire(&mut b), 0);
    b.now_ms = 60_000;
    assert_eq!((expire(&mut b), b.rig.waiting(), b.total.get()), (1, 0, 0));
    // And a late piece does not meet those that nobody has swept yet.
    b.add(Af::Inet, 2, 0, 8, true, 1);
    b.now_ms = 130_000;
    assert_eq!(b.add(Af::Inet, 2, 8, 8, false, 2), Arrival::Waits);
    assert_eq!((b.lost["fragment"], b.rig.waiting()), (1, 1));
}

#[test]
fn the_oldest_make_room() {
    let mut b = Bench::new(100);
    b.limit = 20;
    for ident in 0..20 {
        b.add(Af::Inet, ident, 0, 8, true, 1);
    }
    assert!(b.lost.is_empty());
    assert_eq!(b.add(Af::Inet, 99, 0, 8, true, 1), Arrival::Waits);
    // A tenth went.
    assert_eq!((b.lost["memory"], b.rig.waiting()), (2, 19));
    b.limit = LIMIT;
    assert_eq!(b.add(Af::Inet, 1, 8, 8, false, 1), Arrival::Waits);
    assert_eq!(b.add(Af::Inet, 2, 8, 8, false, 1), Arrival::Completed(2));
    // Others hold all that is allowed: nothing of ours can help.
    let mut c = Bench::new(100);
    c.total.try_take(1000, 1000);
    let info = info(Af::Inet, 1, 0, 8, true);
    let terms = Bench::terms(&c.total, 0, LIMIT);
    let mut reasons = Vec::new();
    let arrival = c
        .rig
        .insert(vec![0; 8], &info, None, &terms, &mut |_, r| reasons.push(r));
    assert_eq!((arrival, reasons), (Arrival::Refused, vec![Reason::Memory]));
}

#[test]
fn identifications_that_come_again_too_soon_are_not_trusted() {
    let mut b = Bench::new(60_000);
    b.limit = u32::MAX;
    b.add(Af::Inet, 1, 0, 8, true, 1);
    for ident in 0..12_000u32 {
        b.add(Af::Inet, 0x10000 + ident, 0, 8, true, 1);
    }
    assert_eq!(b.add(Af::Inet, 1, 8, 8, false, 1), Arrival::Waits);
}

/// Random pieces of random datagrams; what is joined must be what a map of bytes says that has the same rules.
#[test]
fn random_pieces_are_joined_as_a_model_of_bytes_joins_them() {
    const SEED: u64 = 0x0f1a_66ed;
    let mut x = SEED;
    let mut next = move |n: u64| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x % n
    };
    for round in 0..3000 {
        let mut b = Bench::new(64);
        // Piece by piece in the order of offsets: what each keeps of itself.
        let mut known: Vec<(u16, Vec<u8>, bool)> = Vec::new();
        let mut joined = None;
        for fill in 1..=30u8 {
            let at = next(8) as u16 * 8;
            let more = next(4) != 0;
            let len = next(4) as u16 * 8 + if more { 8 } else { 1 + next(7) as u16 };
            let arrival = b.add(Af::Inet, 1, at, len, more, fill);
            let model = model_add(&mut known, at, vec![fill; usize::from(len)], more);
            let whole = model_whole(&known).filter(|_| model);
            assert_eq!(
                matches!(arrival, Arrival::Completed(_)),
                whole.is_some(),
                "seed {SEED:#x} round {round}"
            );
            if whole.is_some() {
                joined = whole;
                break;
            }
        }
        assert_eq!(b.whole(), joined, "seed {SEED:#x} round {round}");
    }
}

/// False if the piece is refused.
fn model_add(known: &mut Vec<(u16, Vec<u8>, bool)>, at: u16, bytes: Vec<u8>, more: bool) -> bool {
    let end = |k: &(u16, Vec<u8>, bool)| usize::from(k.0) + k.1.len();
    let new_end = usize::from(at) + bytes.len();
    if let Some(last) = known.last() {
        let total = end(last);
        let refused = match last.2 {
            true => new_end <= total && !more,
            false => new_end > total || (new_end == total) == more,
        };
        if refused {
            return false;
        }
    }
    let mut new: BTreeMap<usize, u8> = (usize::from(at)..).zip(bytes).collect();
    // What begins before it, or with it, stays.
    for old in known.iter().filter(|k| k.0 <= at) {
        new.retain(|place, _| !(usize::from(old.0)..end(old)).contains(place));
    }
    let Some(&begin) = new.keys().next() else {
        return false;
    };
    // What begins after it is cut.
    for old in known.iter_mut().filter(|k| k.0 > at) {
        let cut = new_end.saturating_sub(usize::from(old.0)).min(old.1.len());
        old.1.drain(..cut);
        old.0 += cut as u16;
    }
    known.retain(|k| !k.1.is_empty());
    known.push((begin as u16, new.into_values().collect(), more));
    known.sort_by_key(|k| k.0);
    true
}

fn model_whole(known: &[(u16, Vec<u8>, bool)]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for (at, data, _) in known {
        if usize::from(*at) != bytes.len() {
            return None;
        }
        bytes.extend(data);
    }
    known.last().filter(|k| !k.2).map(|_| bytes)
}
