//! What tunnels learn of the paths of their outer packets, and what follows for the packets inside: their senders hear of it,
//! and what must go although it is too large goes in pieces of the outer packet.
//!
//! Read first: RFC 2473 7, RFC 4213 3.2.2, RFC 8201; `net::gif` for the numbers.

use filter::{Kind, PacketDesc};
use net::gif::PATH_LIFE_MS;
use net::link::{self, Underlay};
use net::{Interface, gif::Tunnel};
use nic::{Nic, PacketBuf};
use ruleset::Af;
use wire::proto;

use crate::batch::{Hop, Item, Origin};
use crate::forward::addr_of;
use crate::turn::Worker;

/// ICMP "fragmentation needed" and ICMPv6 "packet too big": type and code.
const TOO_BIG: [(Af, [u8; 2]); 2] = [(Af::Inet, [3, 4]), (Af::Inet6, [2, 0])];

impl<N: Nic> Worker<N> {
    /// The largest packet of a family that may leave by an interface.
    #[inline]
    pub(crate) fn room_on(&self, out: &Interface, af: Af) -> u16 {
        match out.kind {
            link::Kind::Gif(gif) => self.room_in(out, &gif.tunnel, af),
            _ => out.mtu,
        }
    }

    /// The same of a tunnel.
    #[cold]
    fn room_in(&self, out: &Interface, tunnel: &Tunnel, af: Af) -> u16 {
        let links = self.config.interfaces.links();
        let known = match links.way(out.id).map(|way| way.out) {
            Some(link::Out::Tunnel(n)) => links.path(n).and_then(|path| path.get(self.now_ms)),
            _ => None,
        };
        let room = known.map_or(u16::MAX, |path| tunnel.room(path, af == Af::Inet6));
        room.min(out.mtu)
    }

    /// An ICMP error has come for the box: if it says that a tunnel's outer packet is too large for its path, that is
    /// remembered.
    #[cold]
    pub(crate) fn hear_of_path(&self, n: usize) {
        let pd = &self.batch.items[n].pd;
        let frame = self.batch.bufs[n].bytes();
        let message = frame.get(usize::from(pd.l4_at)..).unwrap_or_default();
        let &[kind, code, _, _, high, low, c, d, ..] = message else {
            return;
        };
        if !TOO_BIG.contains(&(pd.af, [kind, code])) {
            return;
        }
        // 32 bits in ICMPv6; more than 16 is no link of ours.
        let said = match (pd.af, high, low) {
            (Af::Inet6, 1.., _) | (Af::Inet6, _, 1..) => u16::MAX,
            _ => u16::from_be_bytes([c, d]),
        };
        let Ok(quoted) = filter::describe::describe_quoted(frame, pd) else {
            return;
        };
        if let Some(way) = self.tunnel_around(&quoted.pd) {
            self.learn_path(way, said);
        }
    }

    /// The tunnel whose outer packet this is, on its way out.
    pub(crate) fn tunnel_around(&self, pd: &PacketDesc) -> Option<&Underlay> {
        if !is_outer(pd) {
            return None;
        }
        let (src, dst) = (addr_of(pd.af, pd.src), addr_of(pd.af, pd.dst));
        let way = self.config.interfaces.links().tunnel_between(src, dst)?;
        (self.config.routes.rdomain_of(way.rtable) == pd.rdomain).then_some(way)
    }

    fn learn_path(&self, way: &Underlay, said: u16) {
        if let Some(path) = self.config.interfaces.links().path(way.number) {
            let mtu = way.tunnel.believed(said);
            path.learn(mtu, self.now_ms, self.now_ms + PATH_LIFE_MS);
        }
    }

    /// What the path of a tunnel carries, if that is known.
    pub(crate) fn path_of(&self, number: u16) -> Option<u16> {
        let path = self.config.interfaces.links().path(number)?;
        path.get(self.now_ms)
    }

    /// Whether an outer packet is too large for a link of `mtu` bytes or the path beyond it: how large its pieces may be.
    #[cold]
    pub(crate) fn outer_too_large(&self, n: usize, mtu: u16) -> Option<u16> {
        let pd = &self.batch.items[n].pd;
        let way = self.tunnel_around(pd);
        let path = way.and_then(|way| self.path_of(way.number));
        let mtu = mtu.min(path.unwrap_or(u16::MAX));
        (pd.ip_len > mtu).then_some(mtu)
    }

    /// Cuts an outer packet: we are its sender. One of IPv4 that must not be cut teaches what there is room for, so that the
    /// next ones are answered, or may be cut.
    #[cold]
    pub(crate) fn cut_outer(&mut self, n: usize, hop: Hop, mtu: u16) -> bool {
        let pd = &self.batch.items[n].pd;
        let Some(way) = self.tunnel_around(pd) else {
            return false;
        };
        if pd.af == Af::Inet && pd.dont_fragment {
            self.learn_path(way, mtu);
            return false;
        }
        self.cut_any(n, hop, mtu)
    }
}

/// Whether an error about a packet has come that may be one of a tunnel.
#[inline]
pub(crate) fn is_error(pd: &PacketDesc) -> bool {
    pd.kind == Kind::IcmpError
}

/// Whether a packet of the box may be one of a tunnel.
#[inline]
pub(crate) fn may_be_outer(item: &Item) -> bool {
    item.origin == Origin::Own && is_outer(&item.pd)
}

#[inline]
fn is_outer(pd: &PacketDesc) -> bool {
    matches!(pd.proto, proto::IPIP | proto::IPV6)
}
