//! Pieces of datagrams come in, whole datagrams go on: gives pieces to `filter::reassemble`, and makes the first piece
//! of a complete train its *head*, a packet with the header of the whole datagram that goes through the turn like any
//! other.
//!
//! In the books pieces wait. When the last one arrives the others are consumed, and one packet goes on.
//!
//! How a train is rewritten: **only the head**. It has the transport header, and its IP header is that of the whole
//! but for the length, which is that of its own buffer (`PacketDesc::ip_len` is the length of the whole). When the
//! train leaves, [`crate::refragment`] gives every other piece the head's IP header as it is then. So whoever changes
//! addresses, ports, time to live or even the address family changes the head and its checksum by the difference, and
//! has changed all.

use filter::reassemble::{Arrival, FragmentInfo, Piece, Terms, TrainId};
use filter::{Reason, describe, scrub};
use net::InterfaceId;
use nic::{Nic, PacketBuf};
use ruleset::{ActionFlags, Af, Direction, Timeout};

use crate::batch::{Item, Origin};
use crate::counters::Counters;
use crate::screen::passage;
use crate::turn::Worker;
use crate::verdict::Verdict;

/// Datagrams looked at per millisecond whose time may be up.
const EXPIRE_BUDGET: usize = 64;
/// Bytes behind the IP header that a head has at least, if the datagram has them: every transport header, and of an
/// ICMP error the headers it quotes.
const HEAD_LEN: usize = 128;
/// As many, where the headers of IPv6 reach beyond that. Longer chains are sent by nobody.
const HEAD_LEN_MAX: usize = 1024;

/// A whole datagram on its way through the turn: what hangs on its head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Train {
    /// The other pieces.
    pub(crate) id: TrainId,
    /// Identification that the pieces had.
    pub(crate) ident: u32,
    /// IPv6: where the fragment header stood, from the first byte of the IP header. Not of use once the family has
    /// changed.
    pub(crate) header_at: u16,
    /// IPv6: the byte that named it, likewise.
    pub(crate) named_at: u16,
    /// Family in which it came.
    pub(crate) af: Af,
}

impl<N: Nic> Worker<N> {
    /// Pieces of datagrams do not go on alone where the policy has them joined.
    pub(crate) fn gather(&mut self) {
        for n in 0..self.batch.len() {
            let item = &self.batch.items[n];
            if item.is_open() && item.pd.kind == filter::Kind::Fragment && item.egress.is_none() {
                self.gather_one(n);
            }
        }
    }

    fn gather_one(&mut self, n: usize) {
        let item = &self.batch.items[n];
        let (reassemble, no_df) = match item.origin {
            // The box's own packets are whole for the rules always: they are cut behind them.
            Origin::Own => (true, true),
            Origin::Wire(interface) => match self.fragment_policy(n, interface) {
                Some(policy) => policy,
                None => return,
            },
            _ => return,
        };
        let item = &self.batch.items[n];
        if item.pd.dont_fragment && item.pd.af == Af::Inet {
            // Refused even where nothing is joined (pf_normalize_ip() of OpenBSD).
            if !no_df {
                return self.batch.items[n].drop_for(Reason::Fragment);
            }
            self.allow_fragments(n);
        }
        if reassemble {
            self.batch.items[n].verdict = Some(Verdict::Gather);
        }
    }

    /// Whether pieces that come in on an interface are joined, and whether "don't fragment" is cleared; none leaves them
    /// as they are. `set reassemble` says so, or the first matching `scrub` rule where there are any.
    fn fragment_policy(&self, n: usize, interface: InterfaceId) -> Option<(bool, bool)> {
        let config = &*self.config;
        let on = config.interfaces.get(interface)?;
        let ruleset = &config.ruleset;
        if config.skips(interface) {
            return None;
        }
        if ruleset.scrub.is_empty() {
            return Some((ruleset.reassemble, ruleset.reassemble_no_df));
        }
        let passage = passage(on, Direction::In, None);
        let found = scrub::old_rule(ruleset, &self.batch.items[n].pd, &passage, |_| {})?;
        let no_df = found.rule.actions.flags.contains(ActionFlags::NO_DF);
        Some((found.reassemble, no_df))
    }

    /// Clears "don't fragment".
    fn allow_fragments(&mut self, n: usize) {
        let item = &mut self.batch.items[n];
        item.pd.dont_fragment = false;
        let ip_at = usize::from(item.pd.ip_at);
        if let Some(ip) = self.batch.bufs[n].bytes_mut().get_mut(ip_at..)
            && let Ok(mut packet) = wire::ipv4::Packet::new_checked(ip)
        {
            packet.clear_dont_fragment();
        }
    }

    /// A piece finds its datagram.
    pub(crate) fn gather_piece(&mut self, mut buf: N::Buf, n: usize, now_ms: u64) {
        let item = &self.batch.items[n];
        let Some(info) = describe::fragment(buf.bytes(), &item.pd) else {
            return self.discard(buf, Reason::Fragment);
        };
        buf.truncate(usize::from(item.pd.ip_at) + usize::from(item.pd.ip_len));
        let received_on = item.received_on();
        let counters = &self.counters;
        let terms = terms(&self.config, &self.shared.fragments, now_ms);
        let mut lost = |buf, reason| lose(counters, buf, reason);
        let arrival = self
            .fragments
            .insert(buf, &info, received_on, &terms, &mut lost);
        if let Arrival::Completed(pieces) = arrival {
            counters.consumed.add(pieces as u64 - 1);
        }
    }

    /// Whole datagrams go on: the first piece of each becomes its head.
    pub(crate) fn receive_whole(&mut self) -> usize {
        while !self.batch.is_full() {
            let Some((piece, id, received_on)) = self.fragments.next_whole() else {
                break;
            };
            let origin = received_on.map_or(Origin::Own, Origin::Wire);
            let rtable = received_on.map_or(0, |interface| self.rdomain_of(interface));
            let mut item = self.item_in(origin, rtable);
            match self.make_head(piece, id) {
                Ok((buf, train)) => {
                    item.train = Some(train);
                    // There is room: the batch is not full.
                    self.batch.push(buf, item).ok();
                }
                Err((buf, reason)) => {
                    self.fragments.release(id);
                    self.discard(buf, reason);
                }
            }
        }
        self.batch.len()
    }

    fn make_head(
        &mut self,
        piece: Piece<N::Buf>,
        id: TrainId,
    ) -> Result<(N::Buf, Train), (N::Buf, Reason)> {
        let (mut buf, ip_at) = (piece.buf, usize::from(piece.ip_at));
        let Some(info) = info_of(buf.bytes(), ip_at) else {
            return Err((buf, Reason::Fragment));
        };
        let total = usize::from(piece.len) + self.fragments.length(id).1;
        // 65535 bytes behind the header are too many for IPv4, whose length counts the header.
        let counted = match info.key.af() {
            Af::Inet => usize::from(info.header_len),
            Af::Inet6 => usize::from(info.header_len) - wire::ipv6::HEADER_LEN,
        };
        if counted + total > usize::from(u16::MAX) {
            return Err((buf, Reason::Short));
        }
        unfragment(&mut buf, ip_at, &info);
        let train = Train {
            id,
            ident: info.ident,
            header_at: info.header_len,
            named_at: info.named_at,
            af: info.key.af(),
        };
        self.gather_headers(&mut buf, ip_at, &train);
        Ok((buf, train))
    }

    /// Sees to it that the headers are in the head, wherever the datagram was cut.
    fn gather_headers(&mut self, buf: &mut N::Buf, ip_at: usize, train: &Train) {
        let payload_at = ip_at + usize::from(train.header_at);
        loop {
            let have = buf.len() - payload_at;
            let chain_is_short = train.af == Af::Inet6
                && wire::ipv6::walk(&buf.bytes()[ip_at..]) == Err(wire::Malformed::Ip6ExtShort);
            let wanted = if chain_is_short {
                HEAD_LEN_MAX
            } else {
                HEAD_LEN
            };
            if have >= wanted || self.pull_up(buf, wanted - have, train.id) == 0 {
                return;
            }
            set_length(&mut buf.bytes_mut()[ip_at..], train.af);
        }
    }

    /// Moves up to `wanted` bytes (in steps of 8) from the next piece of a train to the end of its head; says how many.
    pub(crate) fn pull_up(&mut self, head: &mut N::Buf, wanted: usize, id: TrainId) -> usize {
        let room = head.tailroom();
        let Some(next) = self.fragments.first_mut(id) else {
            return 0;
        };
        let (at, len) = (usize::from(next.at), usize::from(next.len));
        let n = len.min(wanted.next_multiple_of(8));
        let n = if n <= room { n } else { room / 8 * 8 };
        let end = head.len();
        if n == 0 || head.append(n).is_err() {
            return 0;
        }
        head.bytes_mut()[end..].copy_from_slice(&next.buf.bytes()[at..at + n]);
        if n == len {
            self.fragments.uncouple(id);
        } else {
            self.fragments.cut_front(id, n as u16);
        }
        n
    }

    /// Bytes of a packet that lie in other buffers.
    pub(crate) fn beyond(&self, item: &Item) -> usize {
        item.train.map_or(0, |t| self.fragments.length(t.id).1)
    }

    /// Ends datagrams whose pieces have waited too long.
    pub(crate) fn expire_fragments(&mut self, now_ms: u64) {
        let counters = &self.counters;
        let terms = terms(&self.config, &self.shared.fragments, now_ms);
        let mut lost = |buf, reason| lose(counters, buf, reason);
        self.fragments.expire(&terms, EXPIRE_BUDGET, &mut lost);
    }
}

/// A piece ends here.
fn lose<B>(counters: &Counters, buf: B, reason: Reason) {
    drop(buf);
    counters.filter.drop_for(reason);
    counters.dropped.add(1);
}

fn terms<'a>(config: &crate::Config, total: &'a sync::Gauge, now_ms: u64) -> Terms<'a> {
    Terms {
        now_ms,
        timeout_s: config.ruleset.timeouts.get(Timeout::Frag),
        limit: config.ruleset.limits.frags,
        total,
    }
}

/// What the buffer of a first piece says: it was described when it arrived, and ends with the packet.
fn info_of(frame: &[u8], ip_at: usize) -> Option<FragmentInfo> {
    let mut pd = filter::PacketDesc::default();
    match frame.get(ip_at)? >> 4 {
        4 => describe::describe4(&mut pd, frame, ip_at, false, 0).ok()?,
        _ => describe::describe6(&mut pd, frame, ip_at, 0).ok()?,
    }
    describe::fragment(frame, &pd)
}

/// Makes the header of a first piece that of a whole packet, as long as the piece is.
fn unfragment<B: PacketBuf>(buf: &mut B, ip_at: usize, info: &FragmentInfo) {
    let af = info.key.af();
    if af == Af::Inet6 {
        const HEADER: usize = wire::ipv6::FRAGMENT_HEADER_LEN;
        let bytes = buf.bytes_mut();
        bytes[ip_at + usize::from(info.named_at)] = info.next_header;
        // Everything in front of the fragment header moves over it.
        bytes.copy_within(..ip_at + usize::from(info.header_len), HEADER);
        buf.advance(HEADER);
    }
    set_length(&mut buf.bytes_mut()[ip_at..], af);
}

/// Says in the header that the packet ends with the buffer, and is no fragment.
pub(crate) fn set_length(ip: &mut [u8], af: Af) {
    let len = ip.len();
    match af {
        Af::Inet => {
            let mut packet = wire::ipv4::Packet::new_unchecked(ip);
            let dont_fragment = packet.dont_fragment();
            packet.set_total_len(len as u16);
            packet.set_fragment(dont_fragment, false, 0);
            packet.fill_checksum();
        }
        Af::Inet6 => {
            let len = (len - wire::ipv6::HEADER_LEN) as u16;
            wire::ipv6::Packet::new_unchecked(ip).set_payload_len(len);
        }
    }
}
