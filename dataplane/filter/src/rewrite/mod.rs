//! Gives a packet other ends: addresses, ports, ICMP identifiers, and the checksums that cover them, by difference
//! (RFC 1624), so that a wrong checksum stays wrong. The hot part takes everything from the state.
//!
//! Read first: RFC 1624, RFC 768 (the zero checksum), RFC 5508 (ICMP through NAT).

pub mod family;
mod quoted;

use core::net::{Ipv4Addr, Ipv6Addr};

use ruleset::{Af, Direction};
use state::{Key, State};
use wire::checksum;

use crate::describe::{Kind, PROTO_ICMP6, PacketDesc};

pub use quoted::error;

/// Gives a packet that passes an interface in `direction` the ends that it has beyond, as its state says. `frame` and
/// `pd` belong together and do so afterwards.
#[inline]
pub fn packet(frame: &mut [u8], pd: &mut PacketDesc, st: &State, direction: Direction) {
    let (key, addrs, ports) = st.beyond(direction);
    rewrite(frame, pd, key, Deltas { addrs, ports });
}

/// Gives a packet that [`packet`] has translated on its way out the ends back that it had before.
pub fn undo(frame: &mut [u8], pd: &mut PacketDesc, st: &State) {
    let deltas = Deltas {
        addrs: st.delta_addrs,
        ports: st.delta_ports,
    };
    rewrite(frame, pd, st.stack.mirrored(), deltas);
}

#[inline]
fn rewrite(frame: &mut [u8], pd: &mut PacketDesc, key: Key, deltas: Deltas) {
    let at = usize::from(pd.ip_at);
    if let Some(ip) = frame.get_mut(at..) {
        set_addresses(ip, pd.af, &key, deltas.addrs);
    }
    if let Some(l4) = frame.get_mut(usize::from(pd.l4_at)..) {
        set_ports(l4, pd, &key, deltas);
    }
    take_over(pd, key);
}

/// What a rewrite does to sums over addresses and over ports.
#[derive(Clone, Copy)]
struct Deltas {
    addrs: u16,
    ports: u16,
}

/// The description follows the packet.
#[inline]
pub fn take_over(pd: &mut PacketDesc, key: Key) {
    (pd.src, pd.dst) = (key.end(0).0, key.end(1).0);
    if matches!(pd.kind, Kind::Tcp | Kind::Udp) {
        pd.ports = (key.end(0).1, key.end(1).1);
    }
    pd.key_in = key;
    pd.rdomain = key.rdomain();
}

/// Writes source and destination of an IP header, end 0 and end 1 of `key`.
#[inline]
fn set_addresses(ip: &mut [u8], af: Af, key: &Key, delta: u16) {
    let (src, dst) = (key.end(0).0, key.end(1).0);
    match af {
        Af::Inet => {
            let Some(header) = ip.first_chunk_mut::<20>() else {
                return;
            };
            let sum = u16::from_be_bytes([header[10], header[11]]);
            header[10..12].copy_from_slice(&checksum::apply(sum, delta).to_be_bytes());
            header[12..16].copy_from_slice(&Ipv4Addr::from_bits(src as u32).octets());
            header[16..20].copy_from_slice(&Ipv4Addr::from_bits(dst as u32).octets());
        }
        Af::Inet6 => {
            let Some(header) = ip.first_chunk_mut::<40>() else {
                return;
            };
            header[8..24].copy_from_slice(&Ipv6Addr::from_bits(src).octets());
            header[24..40].copy_from_slice(&Ipv6Addr::from_bits(dst).octets());
        }
    }
}

/// Writes ports or identifier of the transport header, and its checksum as far as it is there.
#[inline]
fn set_ports(l4: &mut [u8], pd: &PacketDesc, key: &Key, deltas: Deltas) {
    let both = checksum::join(deltas.addrs, deltas.ports);
    match pd.kind {
        Kind::Tcp => {
            write_ports(l4, key);
            patch(l4, 16, |sum| checksum::apply(sum, both));
        }
        Kind::Udp => {
            write_ports(l4, key);
            patch(l4, 6, |sum| checksum::apply_udp(sum, both));
        }
        Kind::IcmpRequest | Kind::IcmpReply => {
            // The asking end has the identifier as its port.
            let asking = usize::from(pd.kind == Kind::IcmpReply);
            if pd.key_in.end(asking).1 != key.end(asking).1 {
                patch(l4, 4, |_| key.end(asking).1);
            }
            // Only ICMPv6 sums over the addresses (RFC 4443 2.3).
            let delta = match pd.proto {
                PROTO_ICMP6 => both,
                _ => deltas.ports,
            };
            patch(l4, 2, |sum| checksum::apply(sum, delta));
        }
        _ => {}
    }
}

#[inline]
fn write_ports(l4: &mut [u8], key: &Key) {
    if let Some(ports) = l4.first_chunk_mut::<4>() {
        ports[..2].copy_from_slice(&key.end(0).1.to_be_bytes());
        ports[2..].copy_from_slice(&key.end(1).1.to_be_bytes());
    }
}

/// Changes the 16-bit word at `at`, if the bytes reach that far.
#[inline]
fn patch(bytes: &mut [u8], at: usize, change: impl FnOnce(u16) -> u16) {
    if let Some([a, b]) = bytes.get_mut(at..at + 2) {
        let word = change(u16::from_be_bytes([*a, *b]));
        [*a, *b] = word.to_be_bytes();
    }
}
