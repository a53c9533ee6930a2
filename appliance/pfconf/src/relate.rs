//! What two rules have to do with each other: whether one matches everything the other does, whether no packet matches both,
//! whether their order makes a difference. All answers err on the safe side: `false` may also mean "cannot tell". Knows rules,
//! not their text. Read first: `matches` in the evaluator of the crate `ruleset`, which is what is reasoned about.

use ruleset::{Af, PortOp, PortRange};

use crate::ast::ActionKind;
use crate::environment::Known;
use crate::policy::{Addr, End, IfItemKind, Pool, Reply, Rule, RuleKind};
use crate::source::Span;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMP6: u8 = 58;

/// True if `wide` matches every packet that `sub` matches, both asked at the same moment.
pub(crate) fn covers(wide: &Rule, sub: &Rule, known: &Known<'_>) -> bool {
    wide.direction.is_none_or(|d| sub.direction == Some(d))
        && interface_covers(wide, sub, known)
        && open_or_same(&wide.received_on, &sub.received_on)
        && open_or_same(&wide.af, &sub.af)
        && open_or_same(&wide.proto, &sub.proto)
        && end_covers(&wide.src, &sub.src)
        && end_covers(&wide.dst, &sub.dst)
        && flags_cover(wide, sub)
        && icmp_covers(wide, sub)
        && answers_cover(wide, sub)
        && open_or_same(&wide.os, &sub.os)
        && open_or_same(&wide.user, &sub.user)
        && open_or_same(&wide.group, &sub.group)
        && open_or_same(&wide.tos, &sub.tos)
        && open_or_same(&wide.prio, &sub.prio)
        && open_or_same(&wide.max_pkt_size, &sub.max_pkt_size)
        && (!wide.fragment || sub.fragment)
        && open_or_same(&wide.tagged, &sub.tagged)
}

/// True if the rule is for some packets only by chance, by count or by what happened before.
pub(crate) fn is_fickle(rule: &Rule) -> bool {
    rule.probability.is_some()
        || rule.max_pkt_rate.is_some()
        || rule.once
        || rule.tagged.is_some()
        || rule.state_limiter.is_some()
        || rule.source_limiter.is_some()
}

fn open_or_same<T: PartialEq>(wide: &Option<T>, sub: &Option<T>) -> bool {
    wide.is_none() || wide == sub
}

fn interface_covers(wide: &Rule, sub: &Rule, known: &Known<'_>) -> bool {
    let Some((wide_kind, wide_not)) = &wide.on else {
        return true;
    };
    if wide.on == sub.on {
        return true;
    }
    let (IfItemKind::Name(group), Some((IfItemKind::Name(one), false))) = (wide_kind, &sub.on)
    else {
        return false;
    };
    // A card is in a group or not; both names are known here, or nothing is said.
    match (known.interface(one), known.members(group)) {
        (Some(one), Some(members)) => members.iter().any(|m| m.name == one.name) != *wide_not,
        _ => false,
    }
}

/// `flags` is asked of TCP only, and no fragment of TCP has any.
fn flags_cover(wide: &Rule, sub: &Rule) -> bool {
    let Some((set, mask)) = wide.flags else {
        return true;
    };
    if sub.proto.is_some_and(|p| p != TCP) {
        return true;
    }
    sub.flags
        .is_some_and(|(sub_set, sub_mask)| sub_mask & mask == mask && sub_set & mask == set)
}

fn icmp_covers(wide: &Rule, sub: &Rule) -> bool {
    let Some((wide_type, wide_code, wide_six)) = wide.icmp else {
        return true;
    };
    sub.icmp.is_some_and(|(icmp_type, code, six)| {
        (icmp_type, six) == (wide_type, wide_six) && (wide_code.is_none() || code == wide_code)
    })
}

/// A rule that keeps state does not match ICMP answers that nobody asked for.
fn answers_cover(wide: &Rule, sub: &Rule) -> bool {
    !wide.keeps_state() || sub.keeps_state() || sub.proto.is_some_and(|p| p != ICMP && p != ICMP6)
}

fn end_covers(wide: &End, sub: &End) -> bool {
    ports_cover(wide.port, sub.port) && addresses_cover(wide, sub)
}

fn addresses_cover(wide: &End, sub: &End) -> bool {
    if is_any(&wide.addr) {
        return !wide.not;
    }
    if wide.addr == sub.addr {
        return wide.not == sub.not;
    }
    let (Some(w), Some(s)) = (interval(&wide.addr), interval(&sub.addr)) else {
        return false;
    };
    match (wide.not, sub.not) {
        (false, false) => holds(w, s),
        (true, false) => apart(w, s),
        (true, true) => holds(s, w),
        (false, true) => false,
    }
}

/// Any address of the rule's family, or of both.
fn is_any(addr: &Addr) -> bool {
    matches!(addr, Addr::Any | Addr::Masked { bits: 0, .. })
}

/// Family, first and last address.
type Interval = (Af, u128, u128);

fn interval(addr: &Addr) -> Option<Interval> {
    match addr {
        Addr::Masked { af, addr, bits } => {
            let mask = ruleset::table::prefix_mask(*af, *bits);
            let all = ruleset::table::prefix_mask(*af, af.bits());
            Some((*af, addr & mask, (addr & mask) | (all & !mask)))
        }
        Addr::Range { af, low, high } => Some((*af, *low, *high)),
        _ => None,
    }
}

fn holds(wide: Interval, sub: Interval) -> bool {
    wide.0 == sub.0 && wide.1 <= sub.1 && sub.2 <= wide.2
}

fn apart(a: Interval, b: Interval) -> bool {
    a.0 != b.0 || a.2 < b.1 || b.2 < a.1
}

/// At most two runs of ports, first and last; empty runs have their ends the wrong way round.
fn runs(port: PortRange) -> [(u32, u32); 2] {
    const NONE: (u32, u32) = (1, 0);
    const LAST: u32 = u16::MAX as u32;
    let (a, b) = (u32::from(port.a), u32::from(port.b));
    let below = |n: u32| n.checked_sub(1).map_or(NONE, |n| (0, n));
    match port.op {
        PortOp::Eq => [(a, a), NONE],
        PortOp::Ne => [below(a), (a + 1, LAST)],
        PortOp::Lt => [below(a), NONE],
        PortOp::Le => [(0, a), NONE],
        PortOp::Gt => [(a + 1, LAST), NONE],
        PortOp::Ge => [(a, LAST), NONE],
        PortOp::Range => [(a, b), NONE],
        PortOp::Inside => b.checked_sub(1).map_or([NONE; 2], |b| [(a + 1, b), NONE]),
        PortOp::Outside => [below(a), (b + 1, LAST)],
    }
}

fn is_run(run: &(u32, u32)) -> bool {
    run.0 <= run.1
}

/// A rule with ports matches no fragment, so an open rule is wider than any.
fn ports_cover(wide: Option<PortRange>, sub: Option<PortRange>) -> bool {
    let Some(wide) = wide else {
        return true;
    };
    let Some(sub) = sub else {
        return false;
    };
    let wide = runs(wide);
    let mut all = runs(sub).into_iter().filter(is_run);
    all.all(|s| wide.iter().any(|w| w.0 <= s.0 && s.1 <= w.1))
}

fn ports_apart(a: Option<PortRange>, b: Option<PortRange>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return false;
    };
    let (a, b) = (runs(a), runs(b));
    let pairs = a
        .iter()
        .filter(|r| is_run(r))
        .flat_map(|x| b.iter().filter(|r| is_run(r)).map(move |y| (x, y)));
    pairs.into_iter().all(|(x, y)| x.1 < y.0 || y.1 < x.0)
}

fn differ<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.is_some() && b.is_some() && a != b
}

/// True if no packet can match both, both asked at the same moment.
pub(crate) fn disjoint(a: &Rule, b: &Rule, known: &Known<'_>) -> bool {
    differ(&a.direction, &b.direction)
        || interfaces_differ(a, b, known)
        || differ(&a.af, &b.af)
        || differ(&a.proto, &b.proto)
        || differ(&a.tos, &b.tos)
        || differ(&a.prio, &b.prio)
        || ends_apart(&a.src, &b.src)
        || ends_apart(&a.dst, &b.dst)
        || icmp_differs(a, b)
        || flags_differ(a, b)
}

fn interfaces_differ(a: &Rule, b: &Rule, known: &Known<'_>) -> bool {
    let (Some((IfItemKind::Name(one), false)), Some((IfItemKind::Name(two), false))) =
        (&a.on, &b.on)
    else {
        return false;
    };
    match (known.members(one), known.members(two)) {
        (Some(x), Some(y)) => !x.iter().any(|i| y.iter().any(|j| i.name == j.name)),
        _ => false,
    }
}

fn ends_apart(a: &End, b: &End) -> bool {
    if ports_apart(a.port, b.port) {
        return true;
    }
    let (Some(x), Some(y)) = (interval(&a.addr), interval(&b.addr)) else {
        return false;
    };
    match (a.not, b.not) {
        (false, false) => apart(x, y),
        (false, true) => holds(y, x),
        (true, false) => holds(x, y),
        (true, true) => false,
    }
}

fn icmp_differs(a: &Rule, b: &Rule) -> bool {
    let (Some(x), Some(y)) = (a.icmp, b.icmp) else {
        return false;
    };
    (x.0, x.2) != (y.0, y.2) || differ(&x.1, &y.1)
}

fn flags_differ(a: &Rule, b: &Rule) -> bool {
    let (Some(x), Some(y)) = (a.flags, b.flags) else {
        return false;
    };
    let both = x.1 & y.1;
    a.proto == Some(TCP) && b.proto == Some(TCP) && x.0 & both != y.0 & both
}

/// True if it makes no difference which of the two stands first.
pub(crate) fn commute(a: &Rule, b: &Rule, known: &Known<'_>) -> bool {
    // What a rule writes into the packet, rules below it see.
    let writes = |r: &Rule| r.nat.is_some() || r.rdr.is_some() || r.naf.is_some();
    let marks = |r: &Rule| r.tag.is_some() || r.tagged.is_some();
    if writes(a) || writes(b) || (marks(a) && marks(b) && !same_consequences(a, b)) {
        let never_meet = differ(&a.direction, &b.direction)
            || interfaces_differ(a, b, known)
            || a.kind.group() != b.kind.group();
        return never_meet && !(marks(a) && marks(b));
    }
    disjoint(a, b, known) || (!is_counted(a) && !is_counted(b) && same_consequences(a, b))
}

/// A rule that something is counted for: which of two such rules a packet meets makes a difference.
fn is_counted(rule: &Rule) -> bool {
    let state = &rule.state;
    rule.probability.is_some()
        || rule.max_pkt_rate.is_some()
        || rule.once
        || matches!(rule.kind, RuleKind::Anchor { .. })
        || state.max != 0
        || state.max_src_nodes != 0
        || state.max_src_states != 0
        || state.max_src_conn != 0
        || state.max_src_conn_rate.is_some()
        || state.source_track.is_some()
}

/// True if the rules do the same with the packets that they match.
fn same_consequences(a: &Rule, b: &Rule) -> bool {
    consequences(a) == consequences(b)
}

/// The rule without everything that a packet is compared with.
fn consequences(rule: &Rule) -> Rule {
    let mut rule = canonical(rule);
    blank_questions(&mut rule);
    rule.received_on = None;
    rule.prio = None;
    rule.fragment = false;
    if matches!(rule.kind, RuleKind::Filter(ActionKind::Match)) {
        // Means nothing for a rule that passes and blocks nothing.
        rule.reply = Reply::Drop;
    }
    rule
}

/// Blanks what a rule asks of a packet's way, ends, headers and socket, and its tag. What else it asks, comparisons see
/// differently.
pub(crate) fn blank_questions(rule: &mut Rule) {
    rule.direction = None;
    rule.on = None;
    rule.af = None;
    rule.proto = None;
    rule.src = End::default();
    rule.dst = End::default();
    rule.os = None;
    rule.user = None;
    rule.group = None;
    rule.flags = None;
    rule.icmp = None;
    rule.tos = None;
    rule.tagged = None;
}

/// The rule without its place in the text, and with the addresses of its pools instead of the made-up names of their tables.
/// Two rules that mean the same are equal in this form. The body of an anchor is left out.
pub(crate) fn canonical(rule: &Rule) -> Rule {
    let mut rule = Rule {
        body: None,
        ..rule.clone()
    };
    rule.span = Span::default();
    let route = rule.route.as_mut().map(|(_, pool)| pool);
    for pool in [rule.nat.as_mut(), rule.rdr.as_mut(), route]
        .into_iter()
        .flatten()
    {
        canonical_pool(pool);
    }
    for used in [&mut rule.state_limiter, &mut rule.source_limiter]
        .into_iter()
        .flatten()
    {
        used.span = Span::default();
    }
    rule
}

fn canonical_pool(pool: &mut Pool) {
    for host in &mut pool.hosts {
        host.span = Span::default();
    }
    if pool.table.take().is_some() {
        // A table has no order.
        pool.hosts
            .sort_by_key(|h| interval(&h.addr).map(|(af, low, high)| (af as u8, low, high)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, NoFiles, Options};

    fn rules(text: &str) -> Vec<Rule> {
        let mut env = Environment::minimal();
        for (n, name) in ["em0", "em1"].into_iter().enumerate() {
            env.interfaces.push(crate::EnvInterface {
                name: name.into(),
                kif: net::KifId(n as u16),
                groups: vec![["wan", "lan"][n].into()],
                addresses: Vec::new(),
                loopback: false,
            });
        }
        let front = crate::Front::read(
            "t",
            text.as_bytes(),
            &NoFiles,
            &env,
            &Options::default(),
            crate::Reach::Alone(""),
        );
        assert!(!front.messages.has_errors(), "{text}");
        front.built.rules
    }

    fn with_known<T>(f: impl FnOnce(&Known<'_>) -> T) -> T {
        let mut env = Environment::minimal();
        for (n, name) in ["em0", "em1"].into_iter().enumerate() {
            env.interfaces.push(crate::EnvInterface {
                name: name.into(),
                kif: net::KifId(n as u16),
                groups: vec![["wan", "lan"][n].into()],
                addresses: Vec::new(),
                loopback: false,
            });
        }
        f(&Known::new(&env))
    }

    #[test]
    fn a_rule_covers_what_it_matches_at_least() {
        for (wide, sub, want) in [
            ("pass", "pass in on em0 proto tcp to port 80", true),
            ("pass in", "pass out", false),
            ("block", "pass in on em0 proto tcp to port 80", true),
            ("pass", "block in proto tcp", false),
            ("pass", "block in proto udp", true),
            ("pass", "block in proto icmp", false),
            ("pass no state", "block in proto icmp", true),
            ("pass on wan", "pass on em0", true),
            ("pass on wan", "pass on em1", false),
            ("pass on ! wan", "pass on em1", true),
            ("pass from 10/8", "pass from 10.1/16", true),
            ("pass from 10.1/16", "pass from 10/8", false),
            ("pass from ! 10/8", "pass from 11/8", true),
            ("pass from ! 10/8", "pass from ! 10/7", true),
            ("pass from ! 10/7", "pass from ! 10/8", false),
            (
                "pass from 10.0.0.1 - 10.0.0.9",
                "pass from 10.0.0.8/31",
                true,
            ),
            ("pass inet", "pass from 10/8", true),
            ("pass inet6", "pass from 10/8", false),
            (
                "pass proto tcp to port 1:100",
                "pass proto tcp to port 80",
                true,
            ),
            (
                "pass proto tcp to port != 25",
                "pass proto tcp to port 80",
                true,
            ),
            (
                "pass proto tcp to port != 25",
                "pass proto tcp to port 1:100",
                false,
            ),
            ("pass proto tcp to port 80", "pass proto tcp", false),
            ("pass proto tcp flags any", "pass proto tcp", true),
            (
                "pass proto tcp flags S/S",
                "pass proto tcp flags S/SA",
                true,
            ),
            (
                "pass proto tcp flags S/SA",
                "pass proto tcp flags S/S",
                false,
            ),
            ("pass from <a>", "pass from <a> to 10/8", true),
            ("pass from <a>", "pass from <b>", false),
            ("pass tagged x", "pass", false),
            ("pass fragment", "pass", false),
            ("pass tos 4", "pass", false),
            (
                "pass inet proto icmp icmp-type echoreq",
                "pass inet proto icmp icmp-type echoreq code 0",
                true,
            ),
            (
                "pass inet proto icmp icmp-type echoreq",
                "pass inet proto icmp icmp-type unreach",
                false,
            ),
        ] {
            let (w, s) = (rules(wide), rules(sub));
            let found = with_known(|known| covers(&w[0], &s[0], known));
            assert_eq!(found, want, "{wide} covers {sub}");
        }
    }

    #[test]
    fn rules_are_disjoint_if_one_thing_keeps_them_apart() {
        for (a, b, want) in [
            ("pass in", "block out", true),
            ("pass", "block out", false),
            ("pass on em0", "pass on em1", true),
            ("pass on wan", "pass on em0", false),
            ("pass on wan", "pass on lan", true),
            ("pass proto tcp", "pass proto udp", true),
            ("pass inet", "pass inet6", true),
            ("pass from 10/8", "pass from 11/8", true),
            ("pass from 10/8", "pass from 10.1/16", false),
            ("pass from ! 10/8", "pass from 10.1/16", true),
            ("pass from <a>", "pass from ! <a>", false),
            (
                "pass proto tcp to port 80",
                "pass proto tcp to port 81",
                true,
            ),
            (
                "pass proto tcp to port 80",
                "pass proto tcp to port 80:81",
                false,
            ),
            (
                "pass proto tcp to port 80",
                "pass proto tcp from port 81",
                false,
            ),
            (
                "pass proto tcp flags S/SA",
                "block proto tcp flags A/A",
                true,
            ),
        ] {
            let (x, y) = (rules(a), rules(b));
            with_known(|known| {
                assert_eq!(disjoint(&x[0], &y[0], known), want, "{a} | {b}");
                assert_eq!(disjoint(&y[0], &x[0], known), want, "{b} | {a}");
            });
        }
    }

    #[test]
    fn order_matters_only_where_a_packet_could_tell() {
        for (a, b, want) in [
            ("pass in proto tcp", "pass in from 10/8", true),
            ("pass in proto tcp", "block in from 10/8", false),
            ("pass in quick proto tcp", "pass in from 10/8", false),
            ("pass in on em0", "block in on em1", true),
            ("pass in label a", "pass in proto tcp label b", false),
            (
                "pass in keep state (max 3)",
                "pass in proto tcp keep state (max 3)",
                false,
            ),
            ("match in tag x", "pass in tagged x", false),
            (
                "match in on em0 from 10/8 nat-to 1.2.3.4",
                "pass in on em0 from 11/8",
                false,
            ),
            ("match out on em0 nat-to 1.2.3.4", "pass in on em0", true),
            ("anchor a", "pass in", false),
            ("anchor a in on em0", "pass in on em1", true),
        ] {
            let (x, y) = (rules(a), rules(b));
            with_known(|known| {
                assert_eq!(commute(&x[0], &y[0], known), want, "{a} | {b}");
                assert_eq!(commute(&y[0], &x[0], known), want, "{b} | {a}");
            });
        }
    }
}
