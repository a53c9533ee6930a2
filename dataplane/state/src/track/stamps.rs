//! TCP timestamps of a connection (`scrub (reassemble tcp)`): the two ends' clocks are followed, and segments with
//! stamps from beyond them are refused. Who wants to get into a connection blindly must guess these, too.
//!
//! Read first: RFC 7323 5 (PAWS); pf.conf(5), `reassemble tcp`.

use bitflags::bitflags;

use crate::ticks::TICKS_PER_S;

/// Fastest clock there is, in ticks of a host per tick of ours: 1 kHz (RFC 7323 5.4), and ten percent too fast.
const CLOCK_MAX: u32 = 1100 / TICKS_PER_S;
/// A side that was silent for so long may have turned its clock half way round, seconds.
const SILENT_MAX_S: u32 = 24 * 24 * 60 * 60;
/// After so long the first stamp says nothing any more, seconds.
const AGE_MAX_S: u32 = 12 * 24 * 60 * 60;

bitflags! {
    /// What is known of a side.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct StampFlags: u8 {
        /// It was heard.
        const HEARD = 1;
        /// Its SYN had a timestamp.
        const STAMPS = 2;
        /// One of its stamps was echoed by it: checks are on.
        const PAWS = 4;
        /// It was silent for too long: checks are off for good.
        const IDLED = 8;
        /// Its first data had a timestamp, and so must all that follows.
        const DATA_STAMPED = 16;
        /// Its first data had none.
        const DATA_PLAIN = 32;
    }
}

/// One side. 24 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamps {
    /// Added to its stamps on their way to the other side.
    pub shift: u32,
    /// First stamp: the lowest there can be.
    first: u32,
    /// Highest stamp.
    highest: u32,
    /// Highest stamp of the other side that it has echoed.
    echoed: u32,
    /// When its last stamp came, ticks.
    last: u32,
    /// What is known.
    pub flags: StampFlags,
    /// Highest time to live of its packets; none goes on with less.
    pub ttl: u8,
}

/// A segment, as far as stamps go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamped {
    /// Its stamp, and the echo in the numbers of the side that is echoed; none without the option.
    pub stamp: Option<(u32, u32)>,
    /// It has data.
    pub has_data: bool,
    /// SYN.
    pub is_syn: bool,
    /// RST.
    pub is_reset: bool,
}

/// The connection, as far as stamps go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Around {
    /// Now, ticks.
    pub now: u32,
    /// When the connection began, ticks.
    pub created: u32,
    /// Seconds by which clocks may be off (`tcp.tsdiff`).
    pub leeway_s: u32,
    /// Both sides are established, or further.
    pub established: bool,
}

/// A stamp that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadStamp;

fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Stamps {
    /// A side's first packet. Its stamps are followed only from a SYN on.
    pub fn begin(&mut self, segment: &Stamped, ttl: u8, now: u32, shift: u32) {
        *self = Stamps {
            ttl,
            flags: StampFlags::HEARD,
            ..Stamps::default()
        };
        if let (true, Some((stamp, echo))) = (segment.is_syn, segment.stamp) {
            self.flags |= StampFlags::STAMPS;
            self.shift = shift;
            (self.first, self.highest, self.echoed, self.last) = (stamp, stamp, echo, now);
        }
    }

    fn is(&self, flags: StampFlags) -> bool {
        self.flags.contains(flags)
    }

    fn tire(&mut self, now: u32, too_old: bool) {
        let silent = now.wrapping_sub(self.last) / TICKS_PER_S > SILENT_MAX_S;
        if self.is(StampFlags::PAWS) && (silent || too_old) {
            self.flags.remove(StampFlags::PAWS);
            self.flags.insert(StampFlags::IDLED);
        }
    }
}

/// Judges a segment of `src`, and learns from it if it is good.
pub fn track(
    src: &mut Stamps,
    dst: &mut Stamps,
    segment: &Stamped,
    around: &Around,
) -> Result<(), BadStamp> {
    let age_s = around.now.wrapping_sub(around.created) / TICKS_PER_S;
    src.tire(around.now, age_s > AGE_MAX_S);
    dst.tire(around.now, false);
    if src.is(StampFlags::PAWS) && dst.is(StampFlags::PAWS) {
        judge(src, dst, segment, around)?;
    }
    learn(src, segment, around.now);
    Ok(())
}

fn judge(src: &Stamps, dst: &Stamps, segment: &Stamped, around: &Around) -> Result<(), BadStamp> {
    let Some((stamp, echo)) = segment.stamp else {
        // Some send no stamp with an empty segment; who began to stamp data goes on to.
        let bare = segment.has_data && !segment.is_reset && src.is(StampFlags::DATA_STAMPED);
        return if bare { Err(BadStamp) } else { Ok(()) };
    };
    if !around.established {
        return Ok(());
    }
    let elapsed = around.now.wrapping_sub(src.last);
    let leeway = around.leeway_s.wrapping_mul(TICKS_PER_S);
    let furthest = src
        .highest
        .wrapping_add(elapsed.wrapping_add(leeway).wrapping_mul(CLOCK_MAX));
    let bad = before(stamp, dst.echoed)
        || before(furthest, stamp)
        || (echo != 0 && (before(dst.highest, echo) || before(echo, dst.first)));
    if bad { Err(BadStamp) } else { Ok(()) }
}

fn learn(src: &mut Stamps, segment: &Stamped, now: u32) {
    let undecided = StampFlags::STAMPS | StampFlags::DATA_STAMPED | StampFlags::DATA_PLAIN;
    if segment.has_data && src.flags & undecided == StampFlags::STAMPS {
        src.flags |= if segment.stamp.is_some() {
            StampFlags::DATA_STAMPED
        } else {
            StampFlags::DATA_PLAIN
        };
    }
    let Some((stamp, echo)) = segment.stamp else {
        return;
    };
    if !src.is(StampFlags::STAMPS) || src.is(StampFlags::IDLED) {
        return;
    }
    let known = src.is(StampFlags::PAWS);
    src.last = now;
    if !known || !before(stamp, src.highest) {
        src.highest = stamp;
    }
    if echo == 0 {
        return;
    }
    if !known || !before(echo, src.echoed) {
        src.echoed = echo;
    }
    // Some begin with a zero, and with their true clock behind the handshake.
    if !known && (src.first == 0 || before(stamp, src.first)) {
        src.first = stamp;
    }
    src.flags |= StampFlags::PAWS;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(stamp: u32, echo: u32) -> Stamped {
        Stamped {
            stamp: Some((stamp, echo)),
            has_data: true,
            ..Stamped::default()
        }
    }

    fn at(now: u32) -> Around {
        Around {
            now,
            created: 0,
            leeway_s: 30,
            established: true,
        }
    }

    /// Both sides known, at tick 0: the first at stamp 1000, the second at 5000.
    fn pair() -> [Stamps; 2] {
        let mut pair = [Stamps::default(); 2];
        let [a, b] = &mut pair;
        let syn = Stamped {
            is_syn: true,
            has_data: false,
            ..stamped(1000, 0)
        };
        a.begin(&syn, 64, 0, 7);
        track(a, b, &syn, &at(0)).unwrap();
        let answer = Stamped {
            stamp: Some((5000, 1000)),
            ..syn
        };
        b.begin(&answer, 60, 0, 8);
        track(b, a, &answer, &at(0)).unwrap();
        track(a, b, &stamped(1000, 5000), &at(0)).unwrap();
        pair
    }

    #[test]
    fn stamps_lie_between_what_was_echoed_and_what_the_clock_allows() {
        for (now, stamp, echo, good) in [
            (0, 1000, 5000, true),
            (0, 1000, 0, true),
            // Older than what the other side has echoed.
            (0, 999, 5000, false),
            // 30 seconds of the fastest clock ahead, and one more.
            (0, 1000 + 33_000, 5000, true),
            (0, 1000 + 33_001, 5000, false),
            (100, 1000 + 34_100, 5000, true),
            (100, 1000 + 34_101, 5000, false),
            // An echo of what was never sent, or of what is older than the first.
            (0, 1000, 5001, false),
            (0, 1000, 4999, false),
        ] {
            let [mut a, mut b] = pair();
            let kept = (a, b);
            let got = track(&mut a, &mut b, &stamped(stamp, echo), &at(now));
            assert_eq!(got.is_ok(), good, "{now} {stamp} {echo}");
            assert!(good || (a, b) == kept, "what is refused teaches nothing");
        }
    }

    #[test]
    fn before_the_handshake_is_over_stamps_are_not_judged() {
        let [mut a, mut b] = pair();
        let around = Around {
            established: false,
            ..at(0)
        };
        assert_eq!(track(&mut a, &mut b, &stamped(1, 1), &around), Ok(()));
    }

    #[test]
    fn who_stamps_data_once_must_go_on() {
        let [mut a, mut b] = pair();
        let plain = Stamped {
            has_data: true,
            ..Stamped::default()
        };
        // The pair's first data was stamped on one side only.
        assert_eq!(track(&mut a, &mut b, &plain, &at(0)), Err(BadStamp));
        for harmless in [
            Stamped::default(),
            Stamped {
                is_reset: true,
                ..plain
            },
        ] {
            assert_eq!(track(&mut a, &mut b, &harmless, &at(0)), Ok(()));
        }
        assert_eq!(track(&mut b, &mut a, &plain, &at(0)), Ok(()));
        assert!(b.flags.contains(StampFlags::DATA_PLAIN));
    }

    #[test]
    fn without_stamps_on_both_sides_nothing_is_asked() {
        let mut a = Stamps::default();
        let mut b = Stamps::default();
        let syn = Stamped {
            is_syn: true,
            ..Stamped::default()
        };
        a.begin(&syn, 64, 0, 7);
        b.begin(&syn, 64, 0, 7);
        assert_eq!(track(&mut a, &mut b, &stamped(1, 99), &at(0)), Ok(()));
        assert_eq!(a.shift, 0);
    }

    #[test]
    fn a_long_silence_switches_checks_off() {
        let [mut a, mut b] = pair();
        let later = (SILENT_MAX_S + 1) * TICKS_PER_S;
        let around = Around {
            created: later,
            ..at(later)
        };
        assert_eq!(track(&mut a, &mut b, &stamped(999, 5), &around), Ok(()));
        assert!(a.flags.contains(StampFlags::IDLED));
    }
}
