//! The header in front of a logged packet, as OpenBSD writes it (DLT_PFLOG, 117): tcpdump and Wireshark read it.
//!
//! Read first: pflog(4). Numbers of rules are in network order; user and process ids, which a firewall without users
//! has none of, would be in host order.

use ruleset::{Action, Af, AnchorId, Direction, Rule, RuleNr, Ruleset};

use crate::notes::{Logged, Seen};

/// Bytes of the header.
pub const PFLOG_HEADER: usize = 100;
/// The link type of captures.
pub const DLT_PFLOG: u32 = 117;
/// Number of a rule that there is none of.
pub const NO_RULE: u32 = u32::MAX;

/// Bytes of a name, zero at the end included.
const NAME: usize = 16;
/// "Nobody" (`UID_MAX`, `NO_PID` of OpenBSD).
const NO_ID: u32 = u32::MAX;
/// User of all sockets of the box.
const ROOT: u32 = 0;
/// PF_PASS, PF_DROP, PF_MATCH.
const ACTIONS: [u8; 3] = [0, 1, 12];
/// AF_INET and AF_INET6 of OpenBSD.
const FAMILIES: [u8; 2] = [2, 24];

/// What is known where the packet was logged.
pub struct Place<'a> {
    /// Name of the interface.
    pub interface: &'a str,
    /// Direction on it.
    pub direction: Direction,
    /// The packet as it was before any translation.
    pub before: Seen,
}

/// Numbers of a rule as pflog tells them: the rule in the main ruleset, and the rule in the anchor that it calls.
pub fn rule_numbers(ruleset: &Ruleset, rule: Option<RuleNr>) -> (u32, u32) {
    let at = |nr: RuleNr| ruleset.rules.get(nr.0 as usize);
    match rule.and_then(at) {
        None => (NO_RULE, NO_RULE),
        Some(rule) if rule.anchor == AnchorId::MAIN => (rule.nr, NO_RULE),
        Some(rule) => (rule.caller.and_then(at).map_or(NO_RULE, |r| r.nr), rule.nr),
    }
}

/// Writes the header for a packet that was logged.
pub fn header(ruleset: &Ruleset, place: &Place<'_>, logged: &Logged) -> [u8; PFLOG_HEADER] {
    let rule = logged.rule.and_then(|nr| ruleset.rules.get(nr.0 as usize));
    let anchor = rule.map_or("", |rule| ruleset.anchor_path(rule.anchor));
    let name = anchor.rsplit('/').next().unwrap_or(anchor);
    let (nr, sub) = rule_numbers(ruleset, logged.rule);
    let mut out = [0; PFLOG_HEADER];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(
        0,
        &[
            PFLOG_HEADER as u8,
            FAMILIES[place.before.af.index()],
            action(rule, logged),
            logged.reason as u8,
        ],
    );
    put(4, cut(place.interface));
    put(20, cut(name));
    put(36, &nr.to_be_bytes());
    put(40, &sub.to_be_bytes());
    // User and process of the socket, user and process that loaded the rules.
    for at in [44, 48, 52, 56] {
        put(at, &NO_ID.to_ne_bytes());
    }
    if logged.own {
        put(44, &ROOT.to_ne_bytes());
    }
    let rewritten = logged.seen != place.before;
    let direction = [1, 2][place.direction.index()];
    let naf = FAMILIES[logged.seen.af.index()];
    put(60, &[direction, u8::from(rewritten), naf, 0]);
    put_address(&mut put, 64, logged.seen.af, logged.seen.src.0);
    put_address(&mut put, 80, logged.seen.af, logged.seen.dst.0);
    put(96, &logged.seen.src.1.to_be_bytes());
    put(98, &logged.seen.dst.1.to_be_bytes());
    out
}

/// A packet that is dropped though its rule passes shows as blocked.
fn action(rule: Option<&Rule>, logged: &Logged) -> u8 {
    match rule.map(|rule| rule.action) {
        _ if logged.reason as u8 != 0 => ACTIONS[1],
        Some(Action::Block(_)) => ACTIONS[1],
        Some(Action::Match | Action::Translate { .. }) => ACTIONS[2],
        _ => ACTIONS[0],
    }
}

/// As much of a name as fits.
fn cut(name: &str) -> &[u8] {
    let bytes = name.as_bytes();
    &bytes[..bytes.len().min(NAME - 1)]
}

/// Four or sixteen bytes, in network order, from the start of the field.
fn put_address(put: &mut impl FnMut(usize, &[u8]), at: usize, af: Af, addr: u128) {
    match af {
        Af::Inet => put(at, &(addr as u32).to_be_bytes()),
        Af::Inet6 => put(at, &addr.to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn seen(src: u128) -> Seen {
        Seen {
            af: Af::Inet,
            src: (src, 1000),
            dst: (0xcb00_7105, 53),
        }
    }

    #[test]
    fn a_rule_in_an_anchor_is_told_by_both_numbers_and_the_anchor_by_its_last_name() {
        let mut inner = Rule::new(Action::Match);
        (inner.anchor, inner.nr, inner.caller) = (AnchorId(1), 7, Some(RuleNr(0)));
        let mut outer = Rule::new(Action::Anchor { end: 2 });
        outer.nr = 3;
        let ruleset = Ruleset {
            rules: [outer, inner].into(),
            anchors: ["".into(), "a/b".into()].into(),
            ..Ruleset::default()
        };
        let place = Place {
            interface: "em0",
            direction: Direction::Out,
            before: seen(0x0a00_0001),
        };
        let logged = Logged {
            rule: Some(RuleNr(1)),
            reason: Reason::Match,
            to: 0,
            seen: seen(0xc633_6401),
            own: false,
        };
        let h = header(&ruleset, &place, &logged);
        assert_eq!(h[..4], [100, 2, 12, 0]);
        assert_eq!(&h[4..8], b"em0\0");
        assert_eq!(&h[20..22], b"b\0");
        assert_eq!(h[36..44], [0, 0, 0, 3, 0, 0, 0, 7]);
        assert_eq!(h[60..64], [2, 1, 2, 0], "out, rewritten");
        assert_eq!(h[64..68], [0xc6, 0x33, 0x64, 0x01]);
        assert_eq!(h[96..100], [3, 232, 0, 53]);
        assert_eq!(h[44..60], [255; 16]);
        let own = Logged {
            own: true,
            ..logged
        };
        assert_eq!(
            header(&ruleset, &place, &own)[44..52],
            [0, 0, 0, 0, 255, 255, 255, 255]
        );
        let gone = Logged {
            rule: None,
            reason: Reason::IpOption,
            ..logged
        };
        let h = header(&ruleset, &place, &gone);
        assert_eq!(h[..4], [100, 2, 1, 8], "blocked, for its options");
        assert_eq!(h[36..44], [255; 8]);
    }
}
