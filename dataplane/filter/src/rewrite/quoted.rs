//! ICMP errors about translated packets: the packet that they quote, its checksums as far as they are quoted, and the
//! error's own ends (RFC 5508 4.2; RFC 7915 4.2 has the same for two families).

use ruleset::Direction;
use state::{Key, State};
use wire::checksum;

use super::{Deltas, patch, set_addresses, set_ports};
use crate::describe::{PROTO_ICMP6, PacketDesc};

/// Bytes before the quotation (RFC 792, RFC 4443).
const ERROR_HEADER: usize = 8;

/// Translates an error that passes an interface in `direction`. `quoted` is the packet that it quotes, as described
/// from the quotation, and `st` that packet's state.
pub fn error(
    frame: &mut [u8],
    pd: &mut PacketDesc,
    quoted: &PacketDesc,
    st: &State,
    direction: Direction,
) {
    // The quoted packet went the other way. Where the error comes in it is undone what was done when that went out.
    let (key, addrs, ports) = match direction {
        Direction::In => (st.stack.mirrored(), st.delta_addrs, st.delta_ports),
        Direction::Out => (st.wire, !st.delta_addrs, !st.delta_ports),
    };
    let end = (usize::from(pd.ip_at) + usize::from(pd.ip_len)).min(frame.len());
    let l4_at = usize::from(pd.l4_at);
    let Some(l4) = frame.get_mut(l4_at..end) else {
        return;
    };
    let Some(quotation) = l4.get_mut(ERROR_HEADER..) else {
        return;
    };
    let before = checksum::sum(quotation);
    set_addresses(quotation, quoted.af, &key, addrs);
    if let Some(inner) = quotation.get_mut(usize::from(quoted.l4_at)..) {
        set_ports(inner, quoted, &key, Deltas { addrs, ports });
    }
    let mut delta = checksum::delta(before, checksum::sum(quotation));
    let outer = outer_ends(pd, quoted, &key);
    let outer_delta = checksum::delta(pd_sum(pd), outer.sums().0);
    if pd.proto == PROTO_ICMP6 {
        delta = checksum::join(delta, outer_delta);
    }
    patch(l4, 2, |sum| checksum::apply(sum, delta));
    if let Some(ip) = frame.get_mut(usize::from(pd.ip_at)..) {
        set_addresses(ip, pd.af, &outer, outer_delta);
    }
    (pd.src, pd.dst) = (outer.end(0).0, outer.end(1).0);
}

/// An error goes to the sender of what it quotes. It comes from somewhere on the way: if the quoted destination is
/// hidden, so is that, as in pf_translate_icmp().
fn outer_ends(pd: &PacketDesc, quoted: &PacketDesc, key: &Key) -> Key {
    let changed = |n: usize| key.end(n) != quoted.key_in.end(n);
    let dst = if changed(0) { key.end(0).0 } else { pd.dst };
    let src = if changed(1) { key.end(1).0 } else { pd.src };
    Key::new(Direction::In, pd.af, pd.proto, (src, 0), (dst, 0))
}

fn pd_sum(pd: &PacketDesc) -> u32 {
    let key = Key::new(Direction::In, pd.af, pd.proto, (pd.src, 0), (pd.dst, 0));
    key.sums().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::Kind;
    use ruleset::Af;

    #[test]
    fn only_what_is_hidden_is_hidden() {
        let key = |src, dst| Key::new(Direction::In, Af::Inet, 17, (src, 1), (dst, 2));
        let quoted = PacketDesc {
            kind: Kind::Udp,
            key_in: key(10, 20),
            ..PacketDesc::default()
        };
        let pd = PacketDesc {
            src: 99,
            dst: 10,
            ..PacketDesc::default()
        };
        for (becomes, ends) in [
            (key(10, 20), (99, 10)),
            (key(11, 20), (99, 11)),
            (key(10, 21), (21, 10)),
        ] {
            let outer = outer_ends(&pd, &quoted, &becomes);
            assert_eq!((outer.end(0).0, outer.end(1).0), ends);
        }
    }
}
