//! `af-to`: ends in the other family. The state has one key for each family; packets of both come in.
//!
//! Read first: pf.conf(5), `af-to`; RFC 6052 2.2 (IPv4 addresses in IPv6 ones); pf_get_transaddr_af() of OpenBSD.

use ruleset::{AddrSpec, Af, Direction, Pool, Rule};
use state::Key;

use super::ports;
use super::{Ends, PoolUse, address};
use crate::Core;
use crate::describe::{Kind, PROTO_ICMP, PROTO_ICMP6, PacketDesc};
use crate::reason::Reason;
use crate::rewrite::family::other_proto;

/// Length of the well-known prefix, and the longest that leaves room for an IPv4 address.
const PREFIX_DEFAULT: u32 = 96;

/// Ends after `af-to`.
pub(super) fn ends(
    core: &mut Core<'_>,
    pd: &PacketDesc,
    rule: &Rule,
    naf: Af,
    old: &Ends,
) -> Result<Ends, Reason> {
    let pool = rule.nat.as_deref().ok_or(Reason::Translate)?;
    let mut new = Ends {
        af: naf,
        proto: other_proto(old.proto),
        ..*old
    };
    if matches!(old.proto, PROTO_ICMP | PROTO_ICMP6) {
        if pd.kind != Kind::IcmpRequest {
            return Err(Reason::Translate);
        }
        new.dst.1 = match (naf, old.dst.1) {
            (Af::Inet6, 8) => 128,
            (Af::Inet, 128) => 8,
            _ => return Err(Reason::Translate),
        };
    }
    new.dst.0 = destination(core, rule, pool, old, &new)?;
    if let Some((port, _)) = rule.rdr.as_ref().map(|p| p.ports).filter(|p| p.0 != 0) {
        new.dst.1 = port;
    }
    // Answers come in with this key: the source is looked for as if the packet went out.
    ports::source(core, Direction::Out, rule, pool, &mut new)?;
    Ok(new)
}

fn destination(
    core: &mut Core<'_>,
    rule: &Rule,
    from: &Pool,
    old: &Ends,
    new: &Ends,
) -> Result<u128, Reason> {
    let prefix = match (&rule.rdr, new.af) {
        (Some(to), _) => {
            let base = address(core, rule, PoolUse::Rdr, to, new, 0)?;
            Some((base, length(to, new.af)))
        }
        // The prefix of the new sources is that of the destinations as well.
        (None, Af::Inet6) => {
            let base = address(core, rule, PoolUse::Nat, from, new, 0)?;
            Some((base, length(from, new.af)))
        }
        (None, Af::Inet) => None,
    };
    Ok(match (prefix, new.af) {
        (Some((base, bits)), Af::Inet6) => embed(base, bits.min(PREFIX_DEFAULT), old.dst.0 as u32),
        (Some((base, bits)), Af::Inet) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            u128::from(base as u32 & !host | old.dst.0 as u32 & host)
        }
        (None, _) => u128::from(extract(old.dst.0, destination_prefix(rule))),
    })
}

/// Prefix length of the first block of a pool.
fn length(pool: &Pool, af: Af) -> u32 {
    let spread = pool.blocks.first().map_or(0, |b| b.low ^ b.high);
    u32::from(af.bits()) - (128 - spread.leading_zeros())
}

/// The prefix of which the rule's destination is made; the well-known length if it says nothing useful.
fn destination_prefix(rule: &Rule) -> u32 {
    match rule.dst.addr {
        AddrSpec::Masked { mask, .. } if mask.leading_ones() >= 32 => {
            mask.leading_ones().min(PREFIX_DEFAULT)
        }
        _ => PREFIX_DEFAULT,
    }
}

/// Shift of the IPv4 address in an IPv6 address with a prefix of `bits`: bits 64 to 71 are left out (RFC 6052 2.2).
/// Gives what lies above and below that octet.
fn split(bits: u32) -> (u32, u32) {
    let above = 64u32.saturating_sub(bits).min(32);
    (above, 32 - above)
}

/// An IPv4 address in an IPv6 one.
fn embed(prefix: u128, bits: u32, addr: u32) -> u128 {
    if bits >= PREFIX_DEFAULT {
        return prefix & !0xffff_ffff | u128::from(addr);
    }
    let (above, below) = split(bits);
    let network = prefix & (u128::MAX << (128 - bits.max(1)));
    let addr = u128::from(addr);
    let high = (addr >> below) << (128 - bits - above);
    let low_at = 56 - below;
    let low = (addr & ((1u128 << below) - 1)) << if bits > 64 { 128 - bits - 32 } else { low_at };
    network | high | low
}

/// The IPv4 address in an IPv6 one.
fn extract(addr: u128, bits: u32) -> u32 {
    if bits >= PREFIX_DEFAULT {
        return addr as u32;
    }
    let (above, below) = split(bits);
    let high = (addr >> (128 - bits - above)) & ((1u128 << above) - 1);
    let low_at = if bits > 64 {
        128 - bits - 32
    } else {
        56 - below
    };
    let low = (addr >> low_at) & ((1u128 << below) - 1);
    (high << below | low) as u32
}

/// Keys of a state that changes the family of packets with the ends `old` to `new`: what comes in from either side.
pub(super) fn keys(old: &Key, new: &Ends) -> (Key, Key) {
    (*old, new.key(Direction::Out))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 6052 2.4.
    #[test]
    fn addresses_lie_where_the_rfc_puts_them() {
        let v6 = |text: &str| text.parse::<core::net::Ipv6Addr>().unwrap().to_bits();
        let v4 = 0xc000_0221;
        for (prefix, bits, expect) in [
            ("2001:db8::", 32, "2001:db8:c000:221::"),
            ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
            ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
        ] {
            assert_eq!(embed(v6(prefix), bits, v4), v6(expect), "/{bits}");
            assert_eq!(extract(v6(expect), bits), v4, "/{bits}");
        }
    }
}
