//! Trains leave: as pieces, each with the headers of the head; as one packet where that fits; or whole to the local
//! host or another core.
//!
//! IPv6 and IPv4 pieces are as large as they came, so that a path that carried them to us carries them on; IPv4 ones are
//! cut further where the next link is smaller, and a datagram that fits the next link and one buffer leaves whole. In
//! the books a train is one packet; the pieces beyond the first are generated.
//!
//! Read first: RFC 791 3.2, RFC 8200 4.5; pf_refragment6() of OpenBSD for what is meant.

use filter::Reason;
use filter::reassemble::{PIECES_PER_DATAGRAM_MAX, Piece};
use net::icmp_error::ErrorKind;
use nic::{Nic, PacketBuf};
use ruleset::Af;

use crate::batch::{Hop, Letter, Marks, Origin};
use crate::mail::{Carried, Handoff, Lane};
use crate::neighbors::Parked;
use crate::reassemble::{Train, set_length};
use crate::transmit::frame_ip;
use crate::turn::Worker;
use crate::verdict::{Egress, Verdict};

/// Bytes of an Ethernet header.
const ETHERNET: usize = wire::ether::HEADER_LEN;
/// Bytes of an IPv6 fragment header.
const FRAGMENT_HEADER: usize = wire::ipv6::FRAGMENT_HEADER_LEN;
/// Longest IPv4 header, bytes.
const IP4_HEADER_MAX: usize = 60;
/// Which way pieces leave.
#[derive(Clone, Copy)]
struct Way {
    marks: Marks,
    egress: Egress,
}

/// Pieces of one datagram as they leave.
type Pieces<B> = heapless::Vec<B, PIECES_PER_DATAGRAM_MAX>;

impl<N: Nic> Worker<N> {
    /// What [`Worker::carry_out`] does, for a head with its train.
    pub(crate) fn carry_out_train(
        &mut self,
        mut head: N::Buf,
        n: usize,
        train: Train,
        verdict: Verdict,
    ) {
        let pd = &self.batch.items[n].pd;
        let (received_on, rtable) = (self.batch.items[n].received_on(), pd.rtable);
        match verdict {
            Verdict::Pass(_) | Verdict::Wait { .. } => match frame_ip(&mut head, pd) {
                Ok(()) => self.send_or_park_train(head, n, train, verdict),
                Err(reason) => {
                    self.fragments.release(train.id);
                    self.discard(head, reason);
                }
            },
            Verdict::Host => {
                head.advance(usize::from(pd.ip_at));
                self.give_train_to_host(head, train, received_on, rtable);
            }
            Verdict::Tunnel(interface) => self.train_leaves_tunnel(head, n, train, interface),
            Verdict::Handoff { worker } => {
                self.hand_off_train(head, train, received_on, rtable, worker);
            }
            Verdict::Consumed(_) | Verdict::Gather | Verdict::Control | Verdict::Bridge => {
                self.fragments.release(train.id);
                self.counters.consumed.add(1);
            }
            Verdict::Drop(reason) => {
                self.fragments.release(train.id);
                self.discard(head, reason);
            }
        }
    }

    fn send_or_park_train(&mut self, head: N::Buf, n: usize, train: Train, verdict: Verdict) {
        match verdict {
            Verdict::Pass(egress) => {
                self.send_train(head, train, Marks::of(&self.batch.items[n].pd), egress)
            }
            Verdict::Wait {
                interface,
                next_hop,
            } => {
                let parked = Parked {
                    buf: head,
                    af: self.batch.items[n].pd.af,
                    marks: Marks::of(&self.batch.items[n].pd),
                    received_on: self.batch.items[n].received_on(),
                    train: Some(train),
                };
                self.hold(interface, next_hop, parked);
            }
            // Only these two come here.
            _ => self.fragments.release(train.id),
        }
    }

    /// IPv6: if a piece of the train is too large for the way out, its sender hears of it (RFC 8201). IPv4 pieces are
    /// cut further.
    pub(crate) fn check_train_size(&mut self, n: usize, train: Train, hop: Hop, now_ms: u64) {
        let item = &self.batch.items[n];
        let Some(out) = self.config.interfaces.get(hop.interface()) else {
            return;
        };
        let (mtu, ip_at) = (self.room_on(out, item.pd.af), usize::from(item.pd.ip_at));
        if item.pd.af == Af::Inet {
            return;
        }
        let (header_at, _) = header_of6(&train);
        let head = self.batch.bufs[n].len() - ip_at + FRAGMENT_HEADER;
        let others = header_at + FRAGMENT_HEADER + self.fragments.largest(train.id);
        if head.max(others) > usize::from(mtu) {
            if let Some(interface) = item.received_on() {
                self.send_error(n, interface, ErrorKind::FragmentationNeeded { mtu }, now_ms);
            }
            self.batch.items[n].drop_for(Reason::Mtu);
        }
    }

    /// Sends a train. The head has room for its Ethernet header in front of its IP header.
    pub(crate) fn send_train(
        &mut self,
        mut head: N::Buf,
        train: Train,
        marks: Marks,
        egress: Egress,
    ) {
        let way = Way { marks, egress };
        let af = family(head.bytes().get(ETHERNET..).unwrap_or_default());
        let out = self.config.interfaces.get(egress.interface);
        let mtu = out.map_or(0, |out| usize::from(self.room_on(out, af)));
        if af == Af::Inet && self.join(&mut head, train, mtu) {
            self.fragments.release(train.id);
            return self.send_framed(head, af, marks, egress);
        }
        let mut pieces = Pieces::new();
        let mut lost = None;
        while let Some(piece) = self.fragments.uncouple(train.id) {
            match piece_of(head.bytes(), piece, &train) {
                // There is room: a train has fewer pieces.
                Ok(buf) => drop(pieces.push(buf)),
                Err(reason) => lost = Some(reason),
            }
        }
        self.fragments.release(train.id);
        if let Err(reason) = fragment_head(&mut head, &train) {
            lost = Some(reason);
        }
        if let Some(reason) = lost {
            return self.discard(head, reason);
        }
        self.send_piece(head, af, way, mtu);
        for piece in pieces {
            self.counters.generated.add(1);
            self.send_piece(piece, af, way, mtu);
        }
    }

    /// Puts an IPv4 datagram together in the buffer of its head, if it fits there and the link.
    fn join(&mut self, head: &mut N::Buf, train: Train, mtu: usize) -> bool {
        let (_, beyond) = self.fragments.length(train.id);
        let end = head.len();
        if end - ETHERNET + beyond > mtu || head.append(beyond).is_err() {
            return false;
        }
        self.fill(head, end, train);
        set_length(&mut head.bytes_mut()[ETHERNET..], Af::Inet);
        true
    }

    /// Copies all pieces behind byte `end` of the head, which has been made long enough.
    fn fill(&mut self, head: &mut N::Buf, mut end: usize, train: Train) {
        while let Some(piece) = self.fragments.uncouple(train.id) {
            let (at, len) = (usize::from(piece.at), usize::from(piece.len));
            head.bytes_mut()[end..end + len].copy_from_slice(&piece.buf.bytes()[at..at + len]);
            end += len;
        }
    }

    /// Sends one piece, cut further if it is too large (IPv4; the size of IPv6 ones was looked at before).
    fn send_piece(&mut self, mut buf: N::Buf, af: Af, way: Way, mtu: usize) {
        if af == Af::Inet6 || buf.len() - ETHERNET <= mtu {
            return self.send_framed(buf, af, way.marks, way.egress);
        }
        let header_len = usize::from(buf.bytes()[ETHERNET] & 0x0f) * 4;
        let step = mtu.saturating_sub(header_len) / 8 * 8;
        if step == 0 {
            return self.discard(buf, Reason::Mtu);
        }
        let payload = ETHERNET + header_len;
        let (end, mut from) = (buf.len(), payload + step);
        let mut rest = Pieces::<N::Buf>::new();
        while from < end {
            let to = (from + step).min(end);
            let made = self.slice(&buf, from..to, to < end);
            let Some(Ok(())) = made.map(|piece| rest.push(piece)) else {
                break;
            };
            from = to;
        }
        // "More fragments" of the last slice is that of the piece: `fragment4` adds to what is there.
        buf.truncate(payload + step);
        fragment4(&mut buf.bytes_mut()[ETHERNET..], 0, true);
        self.send_framed(buf, af, way.marks, way.egress);
        for piece in rest {
            self.counters.generated.add(1);
            self.send_framed(piece, af, way.marks, way.egress);
        }
    }

    /// A later part of an IPv4 piece that is too large, in a buffer of its own.
    fn slice(
        &mut self,
        whole: &N::Buf,
        part: core::ops::Range<usize>,
        more: bool,
    ) -> Option<N::Buf> {
        let mut buf = self.fresh()?;
        let bytes = whole.bytes();
        let header_len = usize::from(bytes[ETHERNET] & 0x0f) * 4;
        let mut header = [0u8; IP4_HEADER_MAX];
        let len = copied_header(&bytes[ETHERNET..ETHERNET + header_len], &mut header);
        buf.append(ETHERNET + len + part.len()).ok()?;
        let out = buf.bytes_mut();
        out[ETHERNET..ETHERNET + len].copy_from_slice(&header[..len]);
        out[ETHERNET + len..].copy_from_slice(&bytes[part.clone()]);
        let offset = part.start - ETHERNET - header_len;
        fragment4(&mut out[ETHERNET..], offset, more);
        Some(buf)
    }

    /// The local host gets the datagram as one: the head, and then what follows it.
    fn give_train_to_host(
        &mut self,
        mut head: N::Buf,
        train: Train,
        received_on: Option<net::InterfaceId>,
        rtable: u8,
    ) {
        let (pieces, beyond) = self.fragments.length(train.id);
        if self.ends.to_host.room() <= pieces {
            self.fragments.release(train.id);
            return self.discard(head, Reason::HostFull);
        }
        say_length(head.bytes_mut(), beyond);
        let carried = |buf, more| Carried {
            buf,
            received_on,
            rtable,
            more,
            frame: None,
            lane: Lane::Routed,
        };
        // There is room.
        self.ends.to_host.push(carried(head, pieces > 0)).ok();
        for left in (0..pieces).rev() {
            let Some(mut piece) = self.fragments.uncouple(train.id) else {
                break;
            };
            piece.buf.advance(usize::from(piece.at));
            piece.buf.truncate(usize::from(piece.len));
            self.ends.to_host.push(carried(piece.buf, left > 0)).ok();
        }
        self.fragments.release(train.id);
        self.counters.to_host.add(1);
    }

    /// Another core owns the connection: the pieces go first, so that the train is there when its head comes.
    fn hand_off_train(
        &mut self,
        head: N::Buf,
        train: Train,
        received_on: Option<net::InterfaceId>,
        rtable: u8,
        worker: u16,
    ) {
        let (pieces, _) = self.fragments.length(train.id);
        let ring = self.ends.to_workers.get_mut(usize::from(worker));
        let Some(ring) = ring
            .and_then(Option::as_mut)
            .and_then(|ring| (ring.room() > pieces).then_some(ring))
        else {
            self.fragments.release(train.id);
            return self.discard(head, Reason::HandoffFull);
        };
        // There is room.
        while let Some(piece) = self.fragments.uncouple(train.id) {
            ring.push(Handoff::Piece(piece)).ok();
        }
        let carried = Carried {
            buf: head,
            received_on,
            rtable,
            more: false,
            frame: None,
            lane: Lane::Routed,
        };
        ring.push(Handoff::Train(carried, train, pieces as u16))
            .ok();
        self.fragments.release(train.id);
        self.counters.handed_out.add(1);
    }

    /// A piece comes from another worker, ahead of its head.
    pub(crate) fn hear_piece(&mut self, ring: usize, piece: Piece<N::Buf>) {
        let Some(coming) = self.coming.get_mut(ring) else {
            return;
        };
        if coming.is_none() {
            *coming = self.fragments.new_train();
        }
        // One that finds no place is missed when the head comes.
        if let Some(train) = *coming {
            drop(self.fragments.append(train, piece));
        }
    }

    /// The head comes, and finds its train.
    pub(crate) fn hear_train(
        &mut self,
        ring: usize,
        carried: Carried<N::Buf>,
        train: Train,
        pieces: u16,
    ) {
        self.counters.handed_in.add(1);
        let coming = self.coming.get_mut(ring).and_then(Option::take);
        let coming = coming.or_else(|| self.fragments.new_train());
        let complete = |id| self.fragments.length(id).0 == usize::from(pieces);
        match coming.filter(|id| complete(*id)) {
            Some(id) => {
                let origin = carried.received_on.map_or(Origin::Own, Origin::Wire);
                let letter = Letter {
                    origin,
                    rtable: carried.rtable,
                    tag: ruleset::TagId::default(),
                    train: Some(Train { id, ..train }),
                    is_frame: false,
                };
                self.put_down(carried.buf, letter);
            }
            None => {
                if let Some(id) = coming {
                    self.fragments.release(id);
                }
                self.discard(carried.buf, Reason::Memory);
            }
        }
    }
}

fn family(ip: &[u8]) -> Af {
    match ip.first().map(|b| b >> 4) {
        Some(6) => Af::Inet6,
        _ => Af::Inet,
    }
}

/// IPv6: where the fragment header stands, and the byte that names it. After a translation between the families there
/// are no extension headers.
fn header_of6(train: &Train) -> (usize, usize) {
    match train.af {
        Af::Inet6 => (train.header_at.into(), train.named_at.into()),
        Af::Inet => (wire::ipv6::HEADER_LEN, 6),
    }
}

/// Says in the header that `beyond` more bytes follow its buffer.
fn say_length(ip: &mut [u8], beyond: usize) {
    let len = ip.len() + beyond;
    match family(ip) {
        Af::Inet => {
            let mut packet = wire::ipv4::Packet::new_unchecked(ip);
            packet.set_total_len(len as u16);
            packet.fill_checksum();
        }
        Af::Inet6 => wire::ipv6::Packet::new_unchecked(ip)
            .set_payload_len((len - wire::ipv6::HEADER_LEN) as u16),
    }
}

/// Makes a head the first piece again. It has room for an Ethernet header in front.
fn fragment_head<B: PacketBuf>(head: &mut B, train: &Train) -> Result<(), Reason> {
    if family(&head.bytes()[ETHERNET..]) == Af::Inet {
        fragment4(&mut head.bytes_mut()[ETHERNET..], 0, true);
        return Ok(());
    }
    let (header_at, named_at) = header_of6(train);
    head.prepend(FRAGMENT_HEADER)
        .map_err(|_| Reason::NoBuffer)?;
    let ip = &mut head.bytes_mut()[ETHERNET..];
    ip.copy_within(FRAGMENT_HEADER..FRAGMENT_HEADER + header_at, 0);
    fragment6(ip, header_at, named_at, 0, true, train.ident);
    Ok(())
}

/// Gives a piece the headers of its head, which has room for an Ethernet header in front; so has the piece then.
fn piece_of<B: PacketBuf>(head: &[u8], piece: Piece<B>, train: &Train) -> Result<B, Reason> {
    let ip = &head[ETHERNET..];
    let mut buf = piece.buf;
    let (at, len, offset) = (
        usize::from(piece.at),
        usize::from(piece.len),
        usize::from(piece.offset),
    );
    let mut copied = [0u8; IP4_HEADER_MAX];
    let (header, extra) = match family(ip) {
        Af::Inet => {
            let header_len = usize::from(ip[0] & 0x0f) * 4;
            let len = copied_header(&ip[..header_len], &mut copied);
            (&copied[..len], 0)
        }
        Af::Inet6 => (&ip[..header_of6(train).0], FRAGMENT_HEADER),
    };
    buf.truncate(at + len);
    let front = ETHERNET + header.len() + extra;
    match at.checked_sub(front) {
        Some(n) => buf.advance(n),
        None => buf.prepend(front - at).map_err(|_| Reason::NoBuffer)?,
    }
    let out = &mut buf.bytes_mut()[ETHERNET..];
    out[..header.len()].copy_from_slice(header);
    match family(ip) {
        Af::Inet => fragment4(out, offset, piece.more),
        Af::Inet6 => {
            let (header_at, named_at) = header_of6(train);
            fragment6(out, header_at, named_at, offset, piece.more, train.ident);
        }
    }
    Ok(buf)
}

/// Moves an IPv4 packet `offset` bytes further into its datagram; others follow if `more` or if it says so itself. Its
/// length is that of the buffer.
fn fragment4(ip: &mut [u8], offset: usize, more: bool) {
    let len = ip.len();
    let mut packet = wire::ipv4::Packet::new_unchecked(ip);
    let offset = packet.fragment_offset() + offset as u16;
    let more = more || packet.more_fragments();
    packet.set_total_len(len as u16);
    packet.set_fragment(false, more, offset);
    packet.fill_checksum();
}

/// Writes a fragment header at `at`, which the byte at `named_at` names from now on.
fn fragment6(ip: &mut [u8], at: usize, named_at: usize, offset: usize, more: bool, ident: u32) {
    let len = (ip.len() - wire::ipv6::HEADER_LEN) as u16;
    wire::ipv6::Packet::new_unchecked(&mut *ip).set_payload_len(len);
    let next = core::mem::replace(&mut ip[named_at], wire::proto::FRAGMENT);
    let word = offset as u16 | u16::from(more);
    let header = &mut ip[at..at + FRAGMENT_HEADER];
    header[..2].copy_from_slice(&[next, 0]);
    header[2..4].copy_from_slice(&word.to_be_bytes());
    header[4..8].copy_from_slice(&ident.to_be_bytes());
}

/// The IPv4 header of later pieces: of the options only those that say so are copied (RFC 791 3.1). Its length, bytes;
/// offset and length are left to the caller.
fn copied_header(header: &[u8], out: &mut [u8; IP4_HEADER_MAX]) -> usize {
    const FIXED: usize = wire::ipv4::HEADER_LEN;
    /// First bit of an option's type.
    const COPIED: u8 = 0x80;
    out[..FIXED].copy_from_slice(&header[..FIXED]);
    let mut len = FIXED;
    for option in wire::ipv4::Packet::new_unchecked(header)
        .options()
        .flatten()
    {
        if option.kind & COPIED == 0 || len + 2 + option.data.len() > IP4_HEADER_MAX {
            continue;
        }
        out[len] = option.kind;
        out[len + 1] = option.data.len() as u8 + 2;
        out[len + 2..len + 2 + option.data.len()].copy_from_slice(option.data);
        len += 2 + option.data.len();
    }
    let end = len.next_multiple_of(4);
    out[len..end].fill(0);
    out[0] = 0x40 | (end / 4) as u8;
    end
}
