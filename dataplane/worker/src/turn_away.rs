//! Packets that no flow and no state knows, and that a rule blocks without a word, end here, in front of the long way: what
//! comes of them is counted and nothing else, and that takes no more of a packet than its ends. Of a flood that is nearly all.
//! A packet about which anything is out of the ordinary goes the long way, which is the meaning; so does one that may belong
//! to a connection that a packet before it in the same burst is about to begin, since that has not been decided yet.
//!
//! Like the express the burst moves in steps: hashes and lines of the index, then gates, then tables, then rules. Who is asked in vain goes
//! the long way and is asked again, so where that happens often nobody is asked for a while ([`Patience`]).
//!
//! Read first: [`crate::flow`], `filter::test_rule::is_blocked`.

use filter::test_rule::{facts, is_blocked};
use filter::{PacketDesc, Reason, owner};
use net::InterfaceId;
use net::link::TAG_LEN;
use nic::{BURST_MAX, Nic, PacketBuf};
use ruleset::{Af, Direction, Facts, Sought, SynCookies};
use state::Ends;
use wire::ether::HEADER_LEN as ETHERNET;
use wire::{tcp, udp};

use crate::batch::NO_PORT;
use crate::config::Config;
use crate::counters::Counters;
use crate::flow::Seen;
use crate::gates::{AtGates, Places, places};
use crate::lane::Lane;
use crate::receive::DHCP_PORTS;
use crate::screen::passage;
use crate::turn::Worker;

/// In place of the port that a packet leaves by: it ends here, and is counted.
pub(crate) const BLOCKED: u16 = NO_PORT - 1;

/// Packets of a burst that are asked about while it does not pay.
const PROBE: usize = 4;
/// Most bursts of which none is asked about.
const PAUSE_MAX: u16 = 64;
const PROTO_TCP: u8 = 6;
const PROTO_ICMP: u8 = 1;
const PROTO_ICMP6: u8 = 58;

/// Whether it pays to ask about packets early.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    /// Bursts of which none is asked about.
    left: u16,
    /// How many these were last; 0 while it pays.
    pause: u16,
}

impl Patience {
    /// How many packets of the next burst are asked about.
    fn begin(&mut self) -> usize {
        match (self.left, self.pause) {
            (0, 0) => BURST_MAX,
            (0, _) => PROBE,
            _ => {
                self.left -= 1;
                0
            }
        }
    }

    /// Of so many packets that nothing else was known of, so many were blocked: with half of them it pays.
    fn learn(&mut self, looked_at: usize, blocked: usize) {
        self.pause = match 2 * blocked >= looked_at {
            true => 0,
            false => (2 * self.pause).clamp(1, PAUSE_MAX),
        };
        self.left = self.pause;
    }
}

/// Ends of packets of this burst that go the long way: a state with these ends may be there before a later one is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    set: [u64; 4],
    is_used: bool,
}

impl Before {
    #[inline]
    fn place(ends: &Ends) -> (usize, u32) {
        let place = (ends.mixed() >> 56) as u32;
        ((place >> 6) as usize, place & 63)
    }

    #[inline]
    pub(crate) fn may_have(&self, ends: &Ends) -> bool {
        if !self.is_used {
            return false;
        }
        let (word, bit) = Before::place(ends);
        self.set[word] >> bit & 1 == 1
    }

    #[inline]
    pub(crate) fn add(&mut self, ends: &Ends) {
        let (word, bit) = Before::place(ends);
        self.set[word] |= 1 << bit;
        self.is_used = true;
    }

    /// A packet that may begin anything.
    fn add_any(&mut self) {
        self.set = [u64::MAX; 4];
        self.is_used = true;
    }
}

impl<N: Nic> Worker<N> {
    /// Blocks what rules block of the packets that were not served. Says how many these are.
    #[inline]
    pub(crate) fn turn_away(&mut self, lane: &Lane, served: usize) -> usize {
        let early = &self.config.ruleset.early;
        if served == self.batch.bufs.len() || !early.may_ask || lane.plain.is_bridged {
            return 0;
        }
        match self.express.patience.begin() {
            0 => 0,
            most => self.turn_away_some(lane, most),
        }
    }

    /// The same of the first `most` of them.
    #[inline(never)]
    fn turn_away_some(&mut self, lane: &Lane, most: usize) -> usize {
        let has_cookies =
            self.config.ruleset.syncookies != SynCookies::Never || !self.cookies.is_idle();
        if has_cookies {
            return 0;
        }
        if self.workers > 1 {
            self.hear_aliases();
            // What comes may be of other workers' connections.
            if self.aliases.is_in_use() {
                return 0;
            }
        }
        let (to, looked_at, asked) = self.line_up(most);
        let asked = self.without_states(asked);
        let at_gates = AtGates::of(&self.config.ruleset, &self.express.seen, asked);
        self.foresee_tables(asked & !at_gates.ended);
        let blocked = self.ask_early(lane, to, asked, &at_gates);
        self.express.patience.learn(looked_at, blocked);
        if blocked > 0 {
            let (counters, n) = (&self.counters, blocked as u64);
            counters.turned_away.add(n);
            counters.dropped.add(n);
            counters.filter.searches.add(n);
            counters.filter.drops_for(Reason::Match, n);
        }
        blocked
    }

    /// First step: which of them are plain to the end of their headers, and their hashes; asks the cache for the lines of the
    /// index. Says where the next one would be, how many there are, and those that are plain.
    fn line_up(&mut self, most: usize) -> (usize, usize, Places) {
        let mut looked_at = 0;
        let mut asked = 0;
        let (states, workers, id) = (&self.states, self.workers, self.id);
        let bufs = &self.batch.bufs;
        // Of the interface.
        let mut rdomain = (u16::MAX, 0);
        for (n, (buf, seen)) in bufs.iter().zip(self.express.seen.iter_mut()).enumerate() {
            if seen.port != NO_PORT {
                continue;
            }
            if looked_at == most {
                return (n, looked_at, asked);
            }
            looked_at += 1;
            if !seen.is_plain || !is_whole(buf.bytes(), seen) {
                continue;
            }
            let on = seen.ends.interface();
            if rdomain.0 != on {
                let of = self.config.interfaces.get(InterfaceId(on));
                rdomain = (on, of.map_or(0, |on| on.rdomain));
            }
            if workers > 1
                && owner::core_of(owner::hash_key(&seen.ends.key(rdomain.1)), workers) != id
            {
                continue;
            }
            seen.hash = states.hash_within(seen.hash, rdomain.1);
            states.prefetch_bucket(seen.hash);
            asked |= 1 << n;
        }
        (bufs.len(), looked_at, asked)
    }

    /// Second step: those of them that can have no state.
    fn without_states(&self, asked: Places) -> Places {
        let seen = &self.express.seen;
        let known = places(asked).filter(|place| !self.states.has_none(seen[*place].hash));
        asked & !known.fold(0, |set, place| set | 1 << place)
    }

    /// Third step, of those that pass the gates: what look-ups in large tables will read.
    fn foresee_tables(&self, asked: Places) {
        if asked == 0 {
            return;
        }
        let ruleset = &self.config.ruleset;
        ruleset.foresee(places(asked), |place, of_dst| {
            let ends = &self.express.seen[place].ends;
            match ends.af() {
                Af::Inet => Sought::Inet(ends.inet_addr(of_dst)),
                Af::Inet6 => Sought::Inet6(ends.both()[usize::from(of_dst)].0),
            }
        });
    }

    /// Last step: the rules, in the order in which packets came.
    fn ask_early(&mut self, lane: &Lane, to: usize, asked: Places, at_gates: &AtGates) -> usize {
        let (config, counters) = (&*self.config, &self.counters);
        let ruleset = &config.ruleset;
        let reaches_others = ruleset.early.reaches_others;
        let mut before = Before::default();
        let mut about: Option<(u16, Facts)> = None;
        let mut turned_away: Places = 0;
        let bufs = &self.batch.bufs;
        let seen = &mut self.express.seen;
        for (n, (buf, seen)) in bufs.iter().zip(&mut seen[..to]).enumerate() {
            if seen.port != NO_PORT {
                continue;
            }
            if asked >> n & 1 == 1 && !before.may_have(&seen.ends) {
                let is_blocked = at_gates.ended >> n & 1 == 1
                    || is_blocked_by_rules(config, counters, &mut about, lane, (buf, seen));
                if is_blocked {
                    seen.port = BLOCKED;
                    turned_away |= 1 << n;
                    continue;
                }
            }
            match seen.ends == Ends::NONE {
                _ if reaches_others => before.add_any(),
                false => before.add(&seen.ends),
                true if begins_nothing(buf.bytes()) => {}
                true => before.add_any(),
            }
        }
        at_gates.count(ruleset, counters, lane, (bufs, seen), turned_away);
        turned_away.count_ones() as usize
    }
}

/// Asks the rules about a packet. If they block it without a word that is counted. `about` is what rules may ask of the packet
/// before.
#[inline]
fn is_blocked_by_rules(
    config: &Config,
    counters: &Counters,
    about: &mut Option<(u16, Facts)>,
    lane: &Lane,
    (buf, seen): (&impl PacketBuf, &Seen),
) -> bool {
    let on = seen.ends.interface();
    if about.as_ref().is_none_or(|(of, _)| *of != on) {
        *about = facts_on(config, on).map(|facts| (on, facts));
    }
    let Some((_, facts)) = about else {
        return false;
    };
    fill_in(facts, buf.bytes(), seen);
    let bytes = u64::from(seen.bytes);
    if !is_blocked(&config.ruleset, &counters.filter, facts, bytes) {
        return false;
    }
    let (on, way) = (InterfaceId(on), Direction::In);
    let traffic = counters.filter.traffic(on, facts.af, way, false);
    traffic.one(bytes);
    for link in lane.links(on).into_iter().flatten() {
        counters.link(link, way, buf.len());
    }
    true
}

/// What rules may ask of all packets that come in by an interface; none if it is not there.
fn facts_on(config: &Config, on: u16) -> Option<Facts> {
    let on = config.interfaces.get(InterfaceId(on)).filter(|on| on.up)?;
    let pd = PacketDesc {
        rdomain: on.rdomain,
        ..PacketDesc::default()
    };
    Some(facts(&pd, &passage(on, Direction::In, None), 0))
}

/// What they may ask of this one.
#[inline]
fn fill_in(facts: &mut Facts, frame: &[u8], seen: &Seen) {
    let [src, dst] = seen.ends.both();
    (facts.src, facts.src_port) = src;
    (facts.dst, facts.dst_port) = dst;
    (facts.af, facts.proto) = (seen.ends.af(), seen.ends.proto());
    facts.priority = seen.priority;
    let ip = frame.get(ip_at(seen)..).unwrap_or_default();
    let first = ip.first_chunk().copied().unwrap_or([0, 0]);
    facts.tos = match facts.af {
        Af::Inet => first[1],
        Af::Inet6 => (u16::from_be_bytes(first) >> 4) as u8,
    };
    facts.tcp_flags = match facts.proto {
        PROTO_TCP => ip.get(header_len(seen) + 13).copied().unwrap_or(0),
        _ => 0,
    };
}

#[inline]
fn ip_at(seen: &Seen) -> usize {
    ETHERNET + usize::from(seen.tags) * TAG_LEN
}

/// Bytes of the IP header, which is a plain one.
#[inline]
fn header_len(seen: &Seen) -> usize {
    match seen.ends.is_inet() {
        true => 20,
        false => 40,
    }
}

/// Whether the transport header of a packet whose IP header is plain is as it should be, as the long way sees it; and what
/// it carries is not for somebody who listens below the rules.
#[inline(always)]
pub(crate) fn is_whole(frame: &[u8], seen: &Seen) -> bool {
    let from = ip_at(seen);
    let Some(l4) = frame.get(from + header_len(seen)..from + usize::from(seen.bytes)) else {
        return false;
    };
    if seen.ends.proto() == PROTO_TCP {
        return tcp::Packet::new_checked(l4)
            .is_ok_and(|segment| tcp::check_flags(segment.flags()).is_ok());
    }
    seen.ends.ports() != DHCP_PORTS && udp::check_len(l4, l4.len()).is_ok()
}

/// A frame in which no ends were looked for: true if no state for TCP or UDP comes of it before this burst is done. Nobody
/// answers for pieces of datagrams: what they make up comes in a burst of its own.
fn begins_nothing(frame: &[u8]) -> bool {
    let byte = |at: usize| frame.get(at).copied().unwrap_or(0);
    match [byte(12), byte(13)] {
        [0x08, 0x06] => true,
        [0x08, 0x00] => byte(23) == PROTO_ICMP || (byte(20) & 0x3f, byte(21)) != (0, 0),
        [0x86, 0xdd] => byte(20) == PROTO_ICMP6,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_for_a_while_where_few_are_blocked() {
        let mut patience = Patience::default();
        let mut asked = 0;
        for _ in 0..10_000 {
            let most = patience.begin();
            asked += most;
            if most > 0 {
                patience.learn(most, most / 4);
            }
        }
        assert!(asked < 10_000 / 8, "{asked}");
        // The next one that pays brings all back.
        while patience.begin() == 0 {}
        patience.learn(PROBE, PROBE / 2);
        assert_eq!(patience.begin(), BURST_MAX);
    }

    #[test]
    fn ends_of_either_way_are_remembered() {
        let ends = |src: u32, dst: u32| {
            let addrs = u64::from(src) | u64::from(dst) << 32;
            Ends::inet(addrs, 0x0035_0400, 17, 1)
        };
        let mut before = Before::default();
        assert!(!before.may_have(&ends(1, 2)));
        before.add(&ends(1, 2));
        assert!(before.may_have(&ends(1, 2)));
        let back = Ends::inet(2 | 1 << 32, 0x0400_0035, 17, 9);
        assert!(before.may_have(&back));
        let others = (3..260).filter(|n| before.may_have(&ends(*n, 2)));
        assert!(others.count() < 20);
        before.add_any();
        assert!(before.may_have(&ends(77, 78)));
    }
}
