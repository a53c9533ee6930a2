//! `set syncookies`: while it is on, every SYN that comes in is answered with a number that says all there is to
//! remember, and nothing is kept. A client that acknowledges such a number has shown that it is there: only then the
//! rules are asked, and the connection is proxied from there.
//!
//! The low eight bits of the number: which of two keys, whether selective acknowledgements are allowed (never), window
//! scale and segment size as indices; hidden behind its uppermost bits. The other 24 are a keyed hash.
//!
//! Read first: pf.conf(5), `set syncookies`; RFC 4987 3.6; D. J. Bernstein, "SYN cookies".

use ruleset::SynCookies;
use state::track::tcp::{self, ACK, RST, SYN};
use state::{Segment, State, StateIdx};

use crate::answer::{Answer, answer_to};
use crate::counters::LimitCounter;
use crate::describe::PacketDesc;
use crate::reason::Reason;
use crate::secret::{Key, Secrets, ends_of, siphash};
use crate::test_rule::RuleTest;
use crate::{Core, synproxy};

/// How long a key makes cookies, milliseconds; it takes them back for as long again.
const KEY_LIFE_MS: u64 = 15_000;
/// Segment sizes that a cookie can say; one in between is rounded down.
const MSS: [u16; 8] = [216, 536, 1200, 1360, 1400, 1440, 1452, 1460];
/// Window scales likewise; 0 also stands for none.
const WSCALE: [u8; 8] = [0, 0, 1, 2, 4, 6, 7, 8];
/// Smallest segment size that is answered with.
const MSS_LEAST: u16 = 512;

/// Cookies of one core. A connection's packets all come to one core, so others need not know its keys.
#[derive(Clone, Debug, Default)]
pub struct Cookies {
    active: bool,
    /// Which key makes cookies now.
    current: usize,
    keys: [Key; 2],
    /// Cookies made with each key and not come back.
    in_flight: [u64; 2],
    /// When the current key ends; 0 while there is none.
    rotates_ms: u64,
}

/// A cookie that came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Valid {
    /// The client's first number.
    pub seq: u32,
    /// The number that the box chose.
    pub cookie: u32,
    /// The client's segment size, rounded down.
    pub mss: u16,
    /// The client's window scale, rounded down.
    pub wscale: u8,
}

impl Cookies {
    /// True if a SYN that comes in now is to be answered with a cookie. `half_open` states have had no answer yet.
    /// Says true the second time if this is the beginning of a flood.
    pub fn watch(
        &mut self,
        mode: SynCookies,
        half_open: u64,
        now_ms: u64,
        secrets: &mut Secrets,
    ) -> (bool, bool) {
        let begins = match mode {
            SynCookies::Never => return (false, false),
            SynCookies::Always => !self.active,
            SynCookies::Adaptive { start, .. } => !self.active && half_open > start,
        };
        if begins {
            self.active = true;
            self.new_key(now_ms, secrets);
        }
        let flood = begins && matches!(mode, SynCookies::Adaptive { .. });
        (self.active, flood)
    }

    /// Lets time pass: keys end, and with them, perhaps, the flood.
    #[inline]
    pub fn tick(
        &mut self,
        mode: SynCookies,
        half_open: impl FnOnce() -> u64,
        now_ms: u64,
        secrets: &mut Secrets,
    ) {
        if self.rotates_ms != 0 && now_ms >= self.rotates_ms {
            self.rotate(mode, half_open(), now_ms, secrets);
        }
    }

    fn rotate(&mut self, mode: SynCookies, half_open: u64, now_ms: u64, secrets: &mut Secrets) {
        let in_flight = self.in_flight[0] + self.in_flight[1];
        self.active &= match mode {
            SynCookies::Never => false,
            SynCookies::Always => true,
            SynCookies::Adaptive { end, .. } => half_open + in_flight >= end,
        };
        if !self.active && in_flight == 0 {
            (self.keys, self.rotates_ms) = ([[0; 2]; 2], 0);
        } else {
            self.new_key(now_ms, secrets);
        }
    }

    fn new_key(&mut self, now_ms: u64, secrets: &mut Secrets) {
        self.current ^= 1;
        self.in_flight[self.current] = 0;
        self.keys[self.current] = secrets.key();
        self.rotates_ms = now_ms + KEY_LIFE_MS;
    }

    /// The answer to a SYN.
    pub fn answer(&mut self, pd: &PacketDesc, mss: Option<u16>) -> Answer {
        let mss = mss.unwrap_or(MSS_LEAST).max(MSS_LEAST);
        let wscale = pd.segment.wscale.unwrap_or(0);
        let bits = self.current as u8 | index_of(&WSCALE, wscale) << 2 | index_of(&MSS, mss) << 5;
        let hash = self.hash(pd, pd.segment.seq, bits);
        let cookie = hash & !0xff | u32::from(bits ^ (hash >> 24) as u8);
        self.in_flight[self.current] += 1;
        let mut answer = answer_to(pd, SYN | ACK, cookie, pd.segment.seq.wrapping_add(1));
        answer.segment.mss = mss;
        answer
    }

    /// Nothing was given out that could come back.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.in_flight == [0, 0]
    }

    /// A segment without a state that may bring a cookie back.
    #[inline]
    pub fn may_return(&self, pd: &PacketDesc) -> bool {
        pd.segment.flags & (SYN | ACK | RST) == ACK && !self.is_idle()
    }

    /// Takes a cookie back; none if it is not one of ours.
    pub fn take_back(&mut self, pd: &PacketDesc) -> Option<Valid> {
        let seq = pd.segment.seq.wrapping_sub(1);
        let cookie = pd.segment.ack.wrapping_sub(1);
        let bits = cookie as u8 ^ (cookie >> 24) as u8;
        let key = usize::from(bits & 1);
        if self.in_flight[key] == 0 || (self.hash(pd, seq, bits) ^ cookie) & !0xff != 0 {
            return None;
        }
        self.in_flight[key] -= 1;
        Some(Valid {
            seq,
            cookie,
            mss: MSS[usize::from(bits >> 5)],
            wscale: WSCALE[usize::from(bits >> 2 & 7)],
        })
    }

    fn hash(&self, pd: &PacketDesc, seq: u32, bits: u8) -> u32 {
        let [a, b, c, d, e] = ends_of(pd);
        let asked = u64::from(seq) << 8 | u64::from(bits);
        let hash = siphash(self.keys[usize::from(bits & 1)], &[a, b, c, d, e, asked]);
        (hash >> 32) as u32 ^ hash as u32
    }
}

/// A SYN that comes in while cookies are given out: it is answered, and ends here.
pub fn greet(core: &mut Core<'_>, frame: &mut [u8], pd: &PacketDesc) -> bool {
    if pd.segment.flags & (SYN | ACK) != SYN {
        return false;
    }
    let half_open = core.shared.half_open.get();
    let mode = core.ruleset.syncookies;
    let (gives_out, is_flood) = core
        .cookies
        .watch(mode, half_open, core.now_ms, core.secrets);
    core.counters
        .limit(LimitCounter::SynFloods, u64::from(is_flood));
    if gives_out {
        let mss = synproxy::mss_of(pd, frame);
        core.counters.limit(LimitCounter::SyncookiesSent, 1);
        core.answers.push(core.cookies.answer(pd, mss)).ok();
    }
    gives_out
}

/// A segment that brings a cookie back and has no state, or one that is over: `ask` asks the rules about the SYN that
/// it stands for. What they say of that is said of the segment; if they let it in, the server is asked.
pub fn welcome<'c>(
    core: &mut Core<'c>,
    pd: &PacketDesc,
    state: Option<StateIdx>,
    ask: impl FnOnce(&mut Core<'c>, &mut PacketDesc) -> RuleTest,
) -> Option<RuleTest> {
    let is_over = |st: &State| tcp::is_over(&st.peer);
    let is_free = state.is_none_or(|idx| core.states.get(idx).is_none_or(is_over));
    if !is_free || !core.cookies.may_return(pd) {
        return None;
    }
    let valid = core.cookies.take_back(pd)?;
    core.counters.limit(LimitCounter::SyncookiesValid, 1);
    let mut syn = *pd;
    syn.segment = Segment {
        seq: valid.seq,
        flags: SYN,
        wscale: Some(valid.wscale),
        ..Segment::default()
    };
    let tested = ask(core, &mut syn);
    // The client has its answer already.
    core.answers.clear();
    let (RuleTest::Pass {
        state: Some(idx), ..
    }
    | RuleTest::Plain(idx)
    | RuleTest::Proxied(idx)) = tested
    else {
        return Some(match tested {
            RuleTest::Pass { .. } => RuleTest::Drop(Reason::SynProxy),
            refused => refused,
        });
    };
    let st = core.states.get_mut(idx)?;
    if tcp::is_half_open(&st.peer[0]) {
        core.shared.half_open.give_back(1);
    }
    synproxy::begin_with_cookie(st, valid.seq, valid.cookie, valid.mss);
    synproxy::test(st, true, &pd.segment, core.secrets, core.answers);
    if synproxy::has_too_many(core, idx) {
        return Some(RuleTest::Drop(Reason::SrcLimit));
    }
    Some(RuleTest::Proxied(idx))
}

/// Place of the largest entry that is not above `value`; entries grow.
fn index_of<T: PartialOrd + Copy>(table: &[T; 8], value: T) -> u8 {
    (1..table.len())
        .rev()
        .find(|n| table[*n] <= value)
        .unwrap_or(0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruleset::Af;

    const ADAPTIVE: SynCookies = SynCookies::Adaptive { start: 25, end: 12 };

    fn syn(seq: u32, wscale: Option<u8>) -> PacketDesc {
        let mut pd = PacketDesc {
            src: 0x0a00_0001,
            dst: 0x0a00_0002,
            af: Af::Inet,
            ports: (4000, 80),
            ..PacketDesc::default()
        };
        pd.segment.seq = seq;
        pd.segment.flags = SYN;
        pd.segment.wscale = wscale;
        pd
    }

    fn ack(syn: &PacketDesc, answer: &Answer) -> PacketDesc {
        let mut pd = *syn;
        pd.segment.seq = syn.segment.seq.wrapping_add(1);
        pd.segment.ack = answer.segment.seq.wrapping_add(1);
        pd.segment.flags = ACK;
        pd
    }

    fn active() -> (Cookies, Secrets) {
        let (mut cookies, mut secrets) = (Cookies::default(), Secrets::new([7, 8]));
        assert_eq!(
            cookies.watch(SynCookies::Always, 0, 0, &mut secrets),
            (true, false)
        );
        (cookies, secrets)
    }

    #[test]
    fn a_cookie_brings_back_segment_size_and_window_scale_rounded_down() {
        let (mut cookies, _) = active();
        for (mss, wscale, expect) in [
            (Some(1460), Some(7), (1460, 7)),
            (Some(8960), Some(14), (1460, 8)),
            (Some(1459), Some(5), (1452, 4)),
            (Some(100), None, (216, 0)),
            (None, Some(0), (216, 0)),
            (Some(536), Some(3), (536, 2)),
        ] {
            let asked = syn(0xffff_ffff, wscale);
            let answer = cookies.answer(&asked, mss);
            let valid = cookies.take_back(&ack(&asked, &answer)).unwrap();
            assert_eq!((valid.mss, valid.wscale), expect, "{mss:?} {wscale:?}");
            assert_eq!((valid.seq, valid.cookie), (0xffff_ffff, answer.segment.seq));
        }
    }

    #[test]
    fn a_number_that_was_not_given_out_is_not_taken() {
        let (mut cookies, _) = active();
        let asked = syn(5, None);
        let answer = cookies.answer(&asked, None);
        let mut good = ack(&asked, &answer);
        for change in [
            (|pd: &mut PacketDesc| pd.segment.ack = pd.segment.ack.wrapping_add(1))
                as fn(&mut PacketDesc),
            |pd| pd.segment.ack ^= 0x8000_0000,
            |pd| pd.segment.seq ^= 2,
            |pd| pd.src ^= 1,
            |pd| pd.ports.0 ^= 1,
            |pd| pd.ports.1 ^= 1,
            |pd| pd.dst ^= 1 << 100,
        ] {
            let mut bad = good;
            change(&mut bad);
            assert_eq!(cookies.take_back(&bad), None, "{bad:?}");
        }
        assert!(cookies.may_return(&good));
        assert!(cookies.take_back(&good).is_some());
        // Each cookie in flight pays for one that comes back.
        assert!(!cookies.may_return(&good));
        assert_eq!(cookies.take_back(&good), None);
        good.segment.flags = RST | ACK;
        assert!(!cookies.may_return(&good));
    }

    #[test]
    fn a_key_takes_its_cookies_back_for_one_more_life() {
        let (mut cookies, mut secrets) = active();
        let asked = syn(5, None);
        let answers = [cookies.answer(&asked, None), cookies.answer(&asked, None)];
        cookies.tick(SynCookies::Always, || 0, KEY_LIFE_MS - 1, &mut secrets);
        cookies.tick(SynCookies::Always, || 0, KEY_LIFE_MS, &mut secrets);
        assert!(cookies.take_back(&ack(&asked, &answers[0])).is_some());
        cookies.tick(SynCookies::Always, || 0, 2 * KEY_LIFE_MS, &mut secrets);
        assert_eq!(cookies.take_back(&ack(&asked, &answers[1])), None);
    }

    #[test]
    fn adaptive_cookies_begin_above_start_and_end_below_end_when_a_key_ends() {
        let (mut cookies, mut secrets) = (Cookies::default(), Secrets::new([7, 8]));
        let s = &mut secrets;
        assert_eq!(cookies.watch(ADAPTIVE, 25, 0, s), (false, false));
        assert_eq!(cookies.watch(ADAPTIVE, 26, 0, s), (true, true));
        assert_eq!(cookies.watch(ADAPTIVE, 0, 0, s), (true, false));
        // As many half-open states as the end: not yet.
        cookies.tick(ADAPTIVE, || 12, KEY_LIFE_MS, s);
        assert_eq!(cookies.watch(ADAPTIVE, 0, 0, s), (true, false));
        // Cookies in flight count as well.
        let asked = syn(5, None);
        cookies.answer(&asked, None);
        cookies.tick(ADAPTIVE, || 11, 2 * KEY_LIFE_MS, s);
        assert_eq!(cookies.watch(ADAPTIVE, 0, 0, s), (true, false));
        cookies.tick(ADAPTIVE, || 10, 3 * KEY_LIFE_MS, s);
        assert_eq!(cookies.watch(ADAPTIVE, 0, 0, s), (false, false));
        // Nothing in flight any more: the keys are forgotten.
        cookies.tick(ADAPTIVE, || 10, 4 * KEY_LIFE_MS, s);
        cookies.tick(ADAPTIVE, || 10, 5 * KEY_LIFE_MS, s);
        assert_eq!((cookies.keys, cookies.rotates_ms), ([[0; 2]; 2], 0));
    }
}
