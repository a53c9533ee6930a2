//! What rules do to the headers of packets that they let through: `scrub (no-df, min-ttl, max-mss, random-id)`, `set
//! tos`, `set prio`; and the `scrub` rules of the old dialect, of which the first match counts. Knows one packet and one
//! sum of actions; whose they are, a rule's or a state's, is the caller's.
//!
//! Read first: pf.conf(5), "scrub", "set tos"; pf_scrub() and pf_normalize_mss() of OpenBSD; RFC 6864 for what a random
//! identification costs.

use ruleset::matches::matches;
use ruleset::{ActionFlags, Actions, Af, EveryRoute, Rule, Ruleset, ScrubRule};

use crate::Passage;
use crate::describe::{Kind, PacketDesc};
use crate::test_rule::facts;

/// Priority of packets that nobody has given one, 0 to 7.
pub const PRIORITY_DEFAULT: u8 = 3;
/// `lowdelay` of RFC 1349: such packets use the second of two priorities.
const LOW_DELAY: u8 = 0x10;
/// Bits for explicit congestion notification (RFC 3168), which belong to the ends.
const ECN: u8 = 3;
const ACK: u8 = 0x10;

/// Does to a packet what rules want done. Description, header and checksums agree afterwards. `dice` is a random number.
pub fn scrub(frame: &mut [u8], pd: &mut PacketDesc, actions: &Actions, dice: u32) {
    if actions.flags.contains(ActionFlags::SET_PRIO) {
        pd.priority = actions.prio[usize::from(is_urgent(pd))];
    }
    if actions.max_mss != 0 && pd.kind == Kind::Tcp {
        lower_mss(frame, pd, actions.max_mss);
    }
    let Some(ip) = frame.get_mut(usize::from(pd.ip_at)..) else {
        return;
    };
    match pd.af {
        Af::Inet => scrub4(ip, pd, actions, dice),
        Af::Inet6 => scrub6(ip, pd, actions),
    }
}

/// Acknowledgements without data, and what asks for low delay.
fn is_urgent(pd: &PacketDesc) -> bool {
    let bare_ack = pd.kind == Kind::Tcp && pd.segment.flags & ACK != 0 && pd.segment.payload == 0;
    bare_ack || pd.tos & LOW_DELAY != 0
}

fn lower_mss(frame: &mut [u8], pd: &PacketDesc, mss: u16) {
    let end = frame
        .len()
        .min(usize::from(pd.ip_at) + usize::from(pd.ip_len));
    if let Some(l4) = frame.get_mut(usize::from(pd.l4_at)..end)
        && let Ok(mut tcp) = wire::tcp::Packet::new_checked(l4)
    {
        tcp.clamp_mss(mss);
    }
}

fn scrub4(ip: &mut [u8], pd: &mut PacketDesc, actions: &Actions, dice: u32) {
    let Ok(mut packet) = wire::ipv4::Packet::new_checked(ip) else {
        return;
    };
    if actions.flags.contains(ActionFlags::NO_DF) && packet.dont_fragment() {
        packet.clear_dont_fragment();
        pd.dont_fragment = false;
    }
    if packet.ttl() < actions.min_ttl {
        pd.ttl = actions.min_ttl;
        packet.replace_ttl(pd.ttl);
    }
    if actions.flags.contains(ActionFlags::SET_TOS) {
        pd.tos = actions.tos | packet.tos() & ECN;
        packet.replace_tos(pd.tos);
    }
    // Pieces need the identification that they have in common.
    if actions.flags.contains(ActionFlags::RANDOM_ID) && !packet.is_fragment() {
        packet.replace_ident(dice as u16);
    }
}

fn scrub6(ip: &mut [u8], pd: &mut PacketDesc, actions: &Actions) {
    let Ok(mut packet) = wire::ipv6::Packet::new_checked(ip) else {
        return;
    };
    if packet.hop_limit() < actions.min_ttl {
        pd.ttl = actions.min_ttl;
        packet.set_hop_limit(pd.ttl);
    }
    if actions.flags.contains(ActionFlags::SET_TOS) {
        pd.tos = actions.tos | packet.traffic_class() & ECN;
        packet.set_class_and_label(pd.tos, packet.flow_label());
    }
}

/// The `scrub` rule of the old dialect that a packet matches: the first, if that is not `no scrub`. Rules of a
/// `scrub-anchor` are asked where it stands, if it matches. `evaluated` hears of every rule that was looked at.
pub fn old_rule<'r>(
    ruleset: &'r Ruleset,
    pd: &PacketDesc,
    passage: &Passage<'_>,
    mut evaluated: impl FnMut(&Rule),
) -> Option<&'r ScrubRule> {
    // These rules have no `probability`.
    let facts = facts(pd, passage, 0);
    let mut at = 0;
    while let Some(scrub) = ruleset.scrub.get(at) {
        at += 1;
        evaluated(&scrub.rule);
        match (
            matches(ruleset, &scrub.rule, &facts, &EveryRoute),
            scrub.anchor_end,
        ) {
            (true, None) => return (!scrub.no).then_some(scrub),
            (false, Some(end)) => at = end as usize,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet4(tos: u8, ttl: u8, dont_fragment: bool) -> Vec<u8> {
        let repr = wire::ipv4::Repr {
            src: [192, 0, 2, 1].into(),
            dst: [192, 0, 2, 2].into(),
            protocol: 17,
            ttl,
            tos,
            ident: 7,
            dont_fragment,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: 8,
        };
        let mut out = vec![0; 28];
        repr.emit(&mut wire::ipv4::Packet::new_unchecked(&mut out[..]));
        out[25] = 8;
        out
    }

    #[test]
    fn each_option_changes_its_field_and_keeps_the_checksum_right() {
        let with = |flags, f: fn(&mut Actions)| {
            let mut actions = Actions {
                flags,
                ..Actions::default()
            };
            f(&mut actions);
            actions
        };
        // Name, actions; ttl, tos, ident, "don't fragment" of a packet with 9, 0x03, 7, true.
        let none = ActionFlags::empty();
        for (name, actions, expected) in [
            ("nothing", Actions::default(), (9, 3, 7, true)),
            ("no-df", with(ActionFlags::NO_DF, |_| {}), (9, 3, 7, false)),
            ("min-ttl", with(none, |a| a.min_ttl = 30), (30, 3, 7, true)),
            (
                "lower min-ttl",
                with(none, |a| a.min_ttl = 3),
                (9, 3, 7, true),
            ),
            (
                "set tos keeps ECN",
                with(ActionFlags::SET_TOS, |a| a.tos = 0xb8),
                (9, 0xbb, 7, true),
            ),
            (
                "random-id",
                with(ActionFlags::RANDOM_ID, |_| {}),
                (9, 3, 0x1234, true),
            ),
        ] {
            let mut frame = packet4(3, 9, true);
            let mut pd = PacketDesc::default();
            crate::describe::describe4(&mut pd, &frame, 0, true, 0).unwrap();
            scrub(&mut frame, &mut pd, &actions, 0x1234);
            let packet = wire::ipv4::Packet::new_checked(&frame[..]).unwrap();
            assert!(packet.verify_checksum(), "{name}");
            let got = (
                packet.ttl(),
                packet.tos(),
                packet.ident(),
                packet.dont_fragment(),
            );
            assert_eq!(got, expected, "{name}");
            assert_eq!(
                (pd.ttl, pd.tos, pd.dont_fragment),
                (got.0, got.1, got.3),
                "{name}"
            );
        }
    }

    #[test]
    fn the_second_priority_is_for_bare_acknowledgements_and_low_delay() {
        let actions = Actions {
            prio: [2, 6],
            flags: ActionFlags::SET_PRIO,
            ..Actions::default()
        };
        let tcp = |flags, payload| {
            let mut pd = PacketDesc {
                kind: Kind::Tcp,
                ..PacketDesc::default()
            };
            pd.segment.flags = flags;
            pd.segment.payload = payload;
            pd
        };
        let low_delay = PacketDesc {
            tos: LOW_DELAY,
            ..PacketDesc::default()
        };
        for (name, mut pd, expected) in [
            ("ack", tcp(ACK, 0), 6),
            ("ack with data", tcp(ACK, 9), 2),
            ("syn", tcp(2, 0), 2),
            ("low delay", low_delay, 6),
            ("other", PacketDesc::default(), 2),
        ] {
            assert_eq!(pd.priority, PRIORITY_DEFAULT);
            scrub(&mut [], &mut pd, &actions, 0);
            assert_eq!(pd.priority, expected, "{name}");
        }
    }
}
