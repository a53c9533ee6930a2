//! Packets change their address family on the way in (`af-to`), and leave unasked, as in OpenBSD: makes room for the
//! other header, and sends errors about such packets to who sent them, in the family in which they came.
//!
//! Read first: RFC 7915; `filter::rewrite::family`.

use filter::Reason;
use filter::rewrite::family::{self, Fields};
use filter::test_state::About;
use net::icmp_error::ErrorKind;
use nic::{Nic, PacketBuf};
use ruleset::{Af, Direction};
use state::{Key, StateFlags, StateIdx};

use crate::batch::{Hop, Origin};
use crate::turn::Worker;

/// Bytes of an IPv6 header and of a fragment header.
const HEADER6: usize = 40;
const FRAGMENT_HEADER: usize = 8;

impl<N: Nic> Worker<N> {
    /// Changes the family of packet `n` as its state says. What cannot be translated ends here.
    pub(crate) fn change_family(&mut self, n: usize, idx: StateIdx, now_ms: u64) {
        let Some(st) = self.states.get(idx) else {
            return;
        };
        let item = &self.batch.items[n];
        let key = match item.pd.af == st.wire.af() {
            true => st.stack.mirrored(),
            false => st.wire.mirrored(),
        };
        let (ttl, received_on) = (item.pd.ttl, item.received_on());
        if let (0 | 1, Some(interface)) = (ttl, received_on) {
            // The sender hears of the packet that it sent.
            self.send_error(n, interface, ErrorKind::TimeExceeded, now_ms);
            return self.batch.items[n].drop_for(Reason::Ttl);
        }
        match self.give_family(n, key) {
            Ok(()) => self.batch.items[n].changed_family = true,
            Err(reason) => self.batch.items[n].drop_for(reason),
        }
    }

    /// Gives packet `n` a header of the family of `key`, from end 0 to end 1.
    fn give_family(&mut self, n: usize, key: Key) -> Result<(), Reason> {
        let item = &mut self.batch.items[n];
        let pd = &mut item.pd;
        let len = usize::from(pd.ip_len) - usize::from(pd.l4_at - pd.ip_at);
        let buf = &mut self.batch.bufs[n];
        let end = match item.train {
            None => usize::from(pd.ip_at) + usize::from(pd.ip_len),
            Some(_) => buf.len(),
        };
        buf.truncate(end);
        let l4 = buf.bytes_mut().get_mut(usize::from(pd.l4_at)..);
        let l4 = l4.ok_or(Reason::Short)?;
        let here = l4.len();
        family::transport(l4, pd.kind, &pd.key_in, &key, len)?;
        let fields = Fields {
            tos: pd.tos,
            ttl: pd.ttl,
            proto: key.proto(),
            payload: here,
            ident: match (item.train, key.af()) {
                (Some(train), Af::Inet) => Some(train.ident as u16),
                _ => None,
            },
        };
        let header = family::header_len(key.af());
        if let Some(missing) = header.checked_sub(usize::from(pd.l4_at)) {
            buf.prepend(missing).map_err(|_| Reason::NoBuffer)?;
            pd.l4_at += missing as u16;
        }
        let at = usize::from(pd.l4_at) - header;
        family::write_header(&mut buf.bytes_mut()[at..], &key, &fields);
        // Without "don't fragment" in IPv4 the IPv6 packet may be cut here (RFC 7915 4).
        pd.ip_at = at as u16;
        pd.ip_len = (len + header) as u16;
        pd.af = key.af();
        pd.proto = key.proto();
        if key.af() == Af::Inet {
            pd.dont_fragment = fields.ident.is_none();
        }
        filter::rewrite::take_over(pd, key);
        Ok(())
    }

    /// Changes the family of an ICMP error and of what it quotes.
    pub(crate) fn change_error_family(&mut self, n: usize, about: &About) {
        let Some(st) = self.states.get(about.state) else {
            return;
        };
        let quote = match about.quoted.af == st.stack.af() {
            true => st.wire,
            false => st.stack,
        };
        let item = &mut self.batch.items[n];
        let pd = &mut item.pd;
        // From IPv4 whoever speaks shows in the low bits, so that paths can be traced (pf_test_state_icmp()).
        let src = match pd.af {
            Af::Inet => quote.end(1).0 & !0xffff_ffff | pd.src,
            Af::Inet6 => quote.end(1).0,
        };
        let (af, proto) = (quote.af(), family::other_proto(pd.proto));
        let outer = Key::new(Direction::In, af, proto, (src, 0), (quote.end(0).0, 0));
        let outer = outer.within(quote.rdomain());
        let mut out = [0; family::ERROR_LEN_MAX];
        let buf = &mut self.batch.bufs[n];
        let made = family::error_packet(&mut out, buf.bytes(), pd, &about.quoted, &outer, &quote);
        let Some(len) = made else {
            return item.drop_for(Reason::Translate);
        };
        let at = usize::from(pd.ip_at);
        buf.truncate(at);
        if buf.append(len).is_err() {
            return item.drop_for(Reason::NoBuffer);
        }
        buf.bytes_mut()[at..].copy_from_slice(&out[..len]);
        pd.l4_at = pd.ip_at + family::header_len(af) as u16;
        pd.ip_len = len as u16;
        (pd.af, pd.proto) = (af, proto);
        filter::rewrite::take_over(pd, outer);
        item.changed_family = true;
    }

    /// Gives packet `n` back the family in which it came; says what the change has made it longer by.
    pub(crate) fn show_family(&mut self, n: usize) -> i32 {
        let item = &self.batch.items[n];
        if !item.changed_family || !item.pd.may_have_state() {
            return 0;
        }
        let Some(st) = item.state.and_then(|idx| self.states.get(idx)) else {
            return 0;
        };
        if !st.flags.contains(StateFlags::CHANGES_FAMILY) {
            return 0;
        }
        let key = match item.pd.af == st.stack.af() {
            true => st.wire,
            false => st.stack,
        };
        let before = i32::from(item.pd.ip_len);
        match self.give_family(n, key) {
            Ok(()) => before - i32::from(self.batch.items[n].pd.ip_len),
            Err(_) => 0,
        }
    }

    /// Cuts an IPv6 packet that was an IPv4 one, which allowed it, into fragments of at most `mtu` bytes. False if it
    /// cannot be done; nothing was sent then.
    pub(crate) fn cut6(&mut self, n: usize, hop: Hop, mtu: u16) -> bool {
        let item = self.batch.items[n];
        let at = usize::from(item.pd.ip_at);
        let whole = at..at + usize::from(item.pd.ip_len);
        let step = usize::from(mtu).saturating_sub(HEADER6 + FRAGMENT_HEADER) / 8 * 8;
        let payload = whole.len().saturating_sub(HEADER6);
        let pieces = payload.div_ceil(step.max(8));
        let room = self.generated.capacity() - self.generated.len();
        if step == 0 || pieces > room {
            return false;
        }
        let ident = self.secrets.nonzero();
        for piece in 0..pieces {
            let (from, to) = (piece * step, ((piece + 1) * step).min(payload));
            let len = HEADER6 + FRAGMENT_HEADER + to - from;
            let Some(mut buf) = self.make(len, |_| Some(len)) else {
                continue;
            };
            let packet = &self.batch.bufs[n].bytes()[whole.clone()];
            let out = buf.bytes_mut();
            out[..HEADER6].copy_from_slice(&packet[..HEADER6]);
            out[4..6].copy_from_slice(&((len - HEADER6) as u16).to_be_bytes());
            out[6] = FRAGMENT;
            let more = u16::from(to < payload);
            let word = from as u16 | more;
            out[HEADER6..HEADER6 + 2].copy_from_slice(&[item.pd.proto, 0]);
            out[HEADER6 + 2..HEADER6 + 4].copy_from_slice(&word.to_be_bytes());
            out[HEADER6 + 4..HEADER6 + 8].copy_from_slice(&ident.to_be_bytes());
            out[HEADER6 + FRAGMENT_HEADER..].copy_from_slice(&packet[HEADER6 + from..HEADER6 + to]);
            self.generate(buf, Origin::Answer, hop);
        }
        true
    }
}

/// Next header number of a fragment header.
const FRAGMENT: u8 = 44;
