//! The index finds exactly the rules that the walk without it finds, in the same order: random rulesets with anchors,
//! tables, negation, ranges, ports, tags, `quick` and `match`, and packets near the rules' edges.
//!
//! `FUGU_INDEX_PAIRS=10000000` asks for that many pairs of ruleset and packet; the default is short. `FUGU_SEED=n`
//! repeats a run.

use net::{KifId, KifSet};
use ruleset::{
    Action, AddrSpec, Af, BlockReply, Direction, Endpoint, Facts, Fragment, IfMatch,
    IndexedInterface, KeepState, Log, Pool, PortOp, PortRange, Routes, Rule, RuleMatch, Ruleset,
    Table, TableEntry, TableId, TagId, TagMatch, TcpFlagsMatch, Walk,
};

/// xorshift; the seed is printed when a case fails.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }
    /// True once in `n`.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Addresses that lie close together, so that prefixes nest and packets hit edges.
fn addr(dice: &mut Dice, af: Af) -> u128 {
    let any = dice.below(1 << 16);
    let low = u128::from(dice.pick(&[0, 1, 127, 128, 255, 256, 0x1000, 0xffff, any]));
    match af {
        Af::Inet => {
            0x0a00_0000 | low | u128::from(dice.below(4)) << 16 | u128::from(dice.below(2)) << 30
        }
        Af::Inet6 => 0x2001_0db8u128 << 96 | u128::from(dice.below(3)) << 64 | low,
    }
}

fn port(dice: &mut Dice) -> u16 {
    dice.pick(&[0, 1, 22, 53, 79, 80, 81, 443, 1023, 1024, 65534, 65535])
}

fn endpoint(dice: &mut Dice, af: Af, ports: bool) -> Endpoint {
    let addr = match dice.below(10) {
        0..=2 => AddrSpec::Any,
        3..=5 => {
            let bits = match af {
                Af::Inet => dice.pick(&[0u8, 1, 8, 15, 16, 17, 24, 31, 32]),
                Af::Inet6 => dice.pick(&[0u8, 32, 48, 63, 64, 65, 127, 128]),
            };
            let mask = ruleset::table::prefix_mask(af, bits);
            AddrSpec::Masked {
                af,
                addr: addr(dice, af) & mask,
                mask,
            }
        }
        6 => {
            let (a, b) = (addr(dice, af), addr(dice, af));
            // Once in a while the wrong way round, which no address satisfies.
            let (low, high) = if dice.one_in(20) {
                (a.max(b), a.min(b))
            } else {
                (a.min(b), a.max(b))
            };
            AddrSpec::Range { af, low, high }
        }
        7 => AddrSpec::Table(TableId(dice.below(3) as u16)),
        8 => dice.pick(&[
            AddrSpec::NoRoute,
            AddrSpec::UrpfFailed,
            AddrSpec::Never,
            AddrSpec::Any,
        ]),
        // A mask with a hole.
        _ => AddrSpec::Masked {
            af,
            addr: addr(dice, af) & !0xff00,
            mask: ruleset::table::prefix_mask(af, af.bits()) & !0xff00,
        },
    };
    let op = dice.pick(&[
        PortOp::Eq,
        PortOp::Ne,
        PortOp::Lt,
        PortOp::Le,
        PortOp::Gt,
        PortOp::Ge,
        PortOp::Range,
        PortOp::Inside,
        PortOp::Outside,
    ]);
    Endpoint {
        addr,
        negate: dice.one_in(6),
        port: (ports && dice.one_in(2)).then(|| PortRange {
            op,
            a: port(dice),
            b: port(dice),
        }),
    }
}

fn on(dice: &mut Dice) -> Option<IfMatch> {
    match dice.below(4) {
        0 => Some(IfMatch::Any),
        1 => Some(IfMatch::Kif {
            kif: match dice.below(6) as u16 {
                own @ 0..3 => KifId(own),
                group => KifId::group(group - 3),
            },
            negate: dice.one_in(3),
        }),
        _ => None,
    }
}

fn rule(dice: &mut Dice) -> Rule {
    let action = match dice.below(8) {
        0..=2 => Action::Pass,
        3..=5 => Action::Block(BlockReply::Drop),
        _ => Action::Match,
    };
    let af = dice.pick(&[Af::Inet, Af::Inet, Af::Inet6]);
    let proto = dice.pick(&[None, Some(6), Some(17), Some(1), Some(58), Some(47)]);
    let ports = matches!(proto, Some(6 | 17));
    let mut rule = Rule::new(action);
    rule.direction = dice.pick(&[None, Some(Direction::In), Some(Direction::Out)]);
    rule.quick = dice.one_in(12);
    rule.on = on(dice);
    rule.received_on = on(dice).filter(|_| dice.one_in(4));
    rule.af = dice.pick(&[None, Some(af)]);
    rule.proto = proto;
    rule.src = endpoint(dice, af, ports);
    rule.dst = endpoint(dice, af, ports);
    rule.fragment = if dice.one_in(15) {
        Fragment::Yes
    } else {
        Fragment::No
    };
    if dice.one_in(6) {
        rule.tag = TagId(1 + dice.below(3) as u16);
    }
    if dice.one_in(6) {
        rule.tagged = Some(TagMatch {
            tag: TagId(1 + dice.below(3) as u16),
            negate: dice.one_in(2),
        });
    }
    if dice.one_in(3) {
        rule.flags = TcpFlagsMatch {
            set: 2,
            mask: dice.pick(&[0x12, 0x13]),
        };
        rule.keep_state = KeepState::Keep;
    }
    if dice.one_in(15) {
        rule.actions.log = dice.pick(&[Log::ON, Log::MATCHES]);
    }
    if dice.one_in(15) {
        rule.limits.once = 1;
    }
    if dice.one_in(15) {
        rule.probability = Some(dice.roll() as u32);
    }
    rule
}

/// Appends rules until there are `until`, opening anchors as it goes.
fn fill(dice: &mut Dice, rules: &mut Vec<Rule>, until: usize, depth: usize) {
    while rules.len() < until {
        if depth < 4 && dice.one_in(10) {
            let at = rules.len();
            rules.push(rule(dice));
            let end = (at + 1 + dice.below(12) as usize).min(until);
            fill(dice, rules, end, depth + 1);
            let end = rules.len() as u32;
            rules[at].action = Action::Anchor { end };
        } else {
            rules.push(rule(dice));
        }
    }
}

fn interfaces() -> Vec<IndexedInterface> {
    // Interface n has its own name, one group of its own parity, and all are in group 5.
    (0..3u16)
        .map(|n| {
            let mut names = KifSet::EMPTY;
            names.insert(KifId(n));
            for group in [n % 2, 2] {
                names.insert(KifId::group(group));
            }
            IndexedInterface {
                kif: KifId(n),
                names,
                loopback: n == 2,
                rdomain: u8::from(n == 1),
            }
        })
        .collect()
}

/// A rule that decides and does nothing else.
fn simple(dice: &mut Dice) -> Rule {
    let mut rule = rule(dice);
    if rule.action == Action::Match {
        rule.action = Action::Pass;
    }
    for end in [&mut rule.src, &mut rule.dst] {
        if matches!(end.addr, AddrSpec::Table(_)) {
            end.addr = AddrSpec::Any;
        }
    }
    rule.tag = TagId::default();
    rule.actions.log -= Log::MATCHES;
    rule.limits.once = 0;
    rule.quick &= dice.one_in(20);
    rule
}

/// What rules a ruleset has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mix {
    /// All kinds, many of each.
    All,
    /// Those that only decide.
    Simple,
    /// The same with a few of the others, among them anchors.
    Few,
}

/// This `match` rule translates the destination, as [`walk`] and [`decide`] do instead of the filter.
fn translates(nr: usize, rule: &Rule) -> bool {
    rule.action == Action::Match && nr.is_multiple_of(4)
}

fn rules(dice: &mut Dice, count: usize, mix: Mix) -> Vec<Rule> {
    let mut rules = Vec::new();
    if mix == Mix::All {
        fill(dice, &mut rules, count, 0);
    }
    while rules.len() < count {
        if mix == Mix::Few && dice.one_in(12) {
            let until = count.min(rules.len() + 1 + dice.below(4) as usize);
            fill(dice, &mut rules, until, 3);
        } else {
            rules.push(simple(dice));
        }
    }
    for (nr, rule) in rules.iter_mut().enumerate() {
        if translates(nr, rule) {
            rule.rdr = Some(Box::new(Pool::default()));
        }
    }
    rules
}

fn ruleset(dice: &mut Dice, count: usize, mix: Mix) -> Ruleset {
    let rules = rules(dice, count, mix);
    let table = |dice: &mut Dice, n: usize| {
        let entries: Vec<TableEntry> = (0..20)
            .map(|_| {
                let af = dice.pick(&[Af::Inet, Af::Inet6]);
                let bits = af.bits() - dice.pick(&[0, 1, 8, 16]);
                TableEntry::new(af, addr(dice, af), bits, dice.one_in(4))
            })
            .collect();
        Table::new(&format!("t{n}"), entries)
    };
    Ruleset {
        rules,
        tables: (0..3).map(|n| table(dice, n)).collect(),
        ..Ruleset::default()
    }
}

fn facts(dice: &mut Dice, interfaces: &[IndexedInterface]) -> Facts {
    let af = dice.pick(&[Af::Inet, Af::Inet, Af::Inet6]);
    let interface = dice.pick(interfaces);
    let proto = dice.pick(&[6, 6, 17, 1, 58, 47, 2]);
    let fragment = if dice.one_in(10) {
        Fragment::Yes
    } else {
        Fragment::No
    };
    let ports = matches!(proto, 6 | 17) && fragment == Fragment::No;
    Facts {
        direction: dice.pick(&[Direction::In, Direction::Out]),
        on: interface.names,
        // Sometimes an interface that the index was not built for.
        kif: if dice.one_in(50) {
            KifId(40)
        } else {
            interface.kif
        },
        loopback: interface.loopback,
        rdomain: interface.rdomain,
        rtable: interface.rdomain,
        received_on: dice.pick(&[None, Some(interfaces[0].names)]),
        af,
        src: addr(dice, af),
        dst: addr(dice, af),
        proto,
        src_port: if ports { port(dice) } else { 0 },
        dst_port: if ports { port(dice) } else { 0 },
        tcp_flags: if proto == 6 {
            dice.pick(&[2, 0x12, 3])
        } else {
            0
        },
        icmp_type: 8,
        icmp_code: 0,
        tos: 0,
        priority: 3,
        fragment,
        unsolicited_reply: dice.one_in(20),
        tag: TagId(dice.below(3) as u16),
        os: None,
        dice: dice.roll() as u32,
    }
}

/// Even addresses have a route.
struct SomeRoutes;

impl Routes for SomeRoutes {
    fn has_route(&self, _: u8, _: Af, addr: u128) -> bool {
        addr & 1 == 0
    }
    fn reverse_path_ok(&self, _: u8, _: Af, src: u128) -> bool {
        src & 3 != 0
    }
}

/// Every rule that matches, in order. Tags take effect; one `match` rule in four translates the destination, as the
/// filter would.
fn walk(ruleset: &Ruleset, facts: &Facts, tested: &mut u64) -> Vec<u32> {
    let mut facts = *facts;
    let mut walk = Walk::new(ruleset);
    let mut seen = Vec::new();
    while let Some((nr, rule)) = walk.next(&facts, &SomeRoutes, |_| *tested += 1) {
        seen.push(nr.0);
        if rule.tag != TagId::default() {
            facts.tag = rule.tag;
        }
        if translates(nr.0 as usize, rule) {
            facts.dst ^= 0x81;
            facts.dst_port = facts.dst_port.wrapping_add(u16::from(facts.dst_port != 0));
        }
    }
    seen
}

/// What decides, and what happens on the way: the tag, the `match` rules, and how often tables were asked.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    rule: Option<u32>,
    matched: Vec<u32>,
    anchor: Option<u32>,
    tag: TagId,
    lookups: u64,
    /// What matched after a rule with `log (matches)`.
    traced: Vec<u32>,
}

/// Walks as the filter does.
fn decide(ruleset: &Ruleset, facts: &Facts, walk: Walk<'_>) -> Outcome {
    let (mut facts, mut walk) = (*facts, walk);
    let routes = CountedLookups::default();
    let mut result = RuleMatch::new(facts.tag);
    let mut traced = Vec::new();
    while let Some((nr, rule)) = walk.next(&facts, &routes, |_| {}) {
        if result.log_matches {
            traced.push(nr.0);
        }
        result.add(nr, rule, &walk);
        facts.tag = result.tag;
        if translates(nr.0 as usize, rule) {
            facts.dst ^= 0x81;
        }
    }
    result.settle(ruleset);
    Outcome {
        rule: result.rule.map(|nr| nr.0),
        matched: result.matched.iter().map(|nr| nr.0).collect(),
        anchor: result.anchor.map(|nr| nr.0),
        tag: result.tag,
        lookups: routes.0.get(),
        traced,
    }
}

/// Like [`SomeRoutes`], and counts what tables are asked.
#[derive(Default)]
struct CountedLookups(std::cell::Cell<u64>);

impl Routes for CountedLookups {
    fn has_route(&self, rtable: u8, af: Af, addr: u128) -> bool {
        SomeRoutes.has_route(rtable, af, addr)
    }
    fn reverse_path_ok(&self, rtable: u8, af: Af, src: u128) -> bool {
        SomeRoutes.reverse_path_ok(rtable, af, src)
    }
    fn looked_up(&self, _: TableId, _: bool) {
        self.0.set(self.0.get() + 1);
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

#[test]
fn the_index_finds_the_rules_that_the_walk_finds() {
    let pairs = number("FUGU_INDEX_PAIRS", 60_000);
    let seed = number("FUGU_SEED", 0x1d_e705);
    println!("FUGU_SEED={seed} FUGU_INDEX_PAIRS={pairs}");
    let mut dice = Dice(seed.max(1));
    let interfaces = interfaces();
    let (mut done, mut by_walk, mut by_index, mut matched) = (0, 0, 0, 0);
    while done < pairs {
        // Small rulesets find edges, large ones blocks and summaries.
        let rules = dice.pick(&[1, 20, 64, 65, 200, 1000, 10_000]);
        // Of rules that do nothing else, the deciding one is found without the others.
        let mix = dice.pick(&[Mix::All, Mix::Simple, Mix::Few]);
        let plain = ruleset(&mut dice, rules, mix);
        let mut indexed = plain.clone();
        indexed.index = Some(ruleset::Index::build(&plain.rules, &interfaces));
        for _ in 0..500 {
            let facts = facts(&mut dice, &interfaces);
            let expected = walk(&plain, &facts, &mut by_walk);
            let found = walk(&indexed, &facts, &mut by_index);
            assert_eq!(found, expected, "FUGU_SEED={seed}, pair {done}: {facts:?}");
            let straight = decide(&indexed, &facts, Walk::new(&indexed).to_decision(true));
            let meant = decide(&indexed, &facts, Walk::new(&indexed));
            assert_eq!(straight, meant, "FUGU_SEED={seed}, pair {done}: {facts:?}");
            matched += found.len();
            done += 1;
        }
    }
    println!("{done} pairs, {matched} matches, tests by walk {by_walk}, by index {by_index}");
    assert!(
        matched > 0 && by_index < by_walk,
        "an index that saves nothing is none"
    );
}

#[test]
fn rules_too_wide_for_the_index_are_found_all_the_same() {
    // Every prefix covers all classes below it: far more pairs than the index keeps.
    let mut dice = Dice(77);
    let interfaces = interfaces();
    let mut plain = Ruleset::default();
    for n in 0..3000u32 {
        let mut rule = Rule::new(Action::Block(BlockReply::Drop));
        rule.src.addr = AddrSpec::Range {
            af: Af::Inet,
            low: u128::from(n),
            high: u128::from(0x0a00_ffff - n),
        };
        plain.rules.push(rule);
    }
    let mut indexed = plain.clone();
    indexed.index = Some(ruleset::Index::build(&plain.rules, &interfaces));
    let bytes = indexed.index.as_ref().map_or(0, ruleset::Index::bytes);
    assert!(bytes < 64 << 20, "{bytes} bytes");
    for _ in 0..50 {
        let facts = facts(&mut dice, &interfaces);
        let mut tested = 0;
        assert_eq!(
            walk(&indexed, &facts, &mut tested),
            walk(&plain, &facts, &mut tested)
        );
    }
}
