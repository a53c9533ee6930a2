//! Random packets that are likely to meet the rules of a ruleset, and what the ruleset says of them. Shared by the
//! fuzz target `pfconf_compile` and the property test of the optimizer.

use net::{KifId, KifSet};
use pfconf::Compiled;
use ruleset::{
    AddrSpec, Af, Direction, Endpoint, Facts, Fragment, IfMatch, Routes, Rule, Ruleset, TagId,
    evaluate,
};

/// xorshift64: the sequence of a seed is the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A packet that one rule was the model of, with some of its features changed.
pub(crate) fn packet(random: &mut Random, ruleset: &Ruleset) -> Facts {
    let mut facts = plain(random);
    if ruleset.rules.is_empty() {
        return facts;
    }
    let rule = &ruleset.rules[random.below(ruleset.rules.len())];
    imitate(random, ruleset, rule, &mut facts);
    facts
}

fn plain(random: &mut Random) -> Facts {
    let v6 = random.one_in(4);
    let address = |r: &mut Random| match v6 {
        true => 0x2001_0db8 << 96 | r.below(3) as u128,
        false => 0x0a00_0000 + r.below(9) as u128,
    };
    let (src, dst) = (address(random), address(random));
    let received = random.one_in(2).then(|| name(random));
    Facts {
        direction: random.pick(&[Direction::In, Direction::Out]),
        on: name(random),
        kif: KifId(0),
        loopback: false,
        rdomain: 0,
        rtable: 0,
        received_on: received,
        af: if v6 { Af::Inet6 } else { Af::Inet },
        src,
        dst,
        proto: random.pick(&[6, 6, 17, 1, 58, 47]),
        src_port: random.pick(&[22, 80, 90, 91, 1024]),
        dst_port: random.pick(&[22, 80, 90, 91, 1024]),
        tcp_flags: random.pick(&[0x02, 0x12, 0x10, 0x01]),
        icmp_type: random.pick(&[0, 3, 8, 128]),
        icmp_code: random.below(3) as u8,
        tos: random.pick(&[0, 0x10, 0xb8]),
        priority: 3,
        fragment: random.pick(&[Fragment::No, Fragment::No, Fragment::No, Fragment::Yes]),
        tag: TagId(random.below(3) as u16),
        os: None,
        dice: 0,
        unsolicited_reply: false,
    }
}

fn name(random: &mut Random) -> KifSet {
    let mut names = KifSet::EMPTY;
    names.insert(KifId(random.below(3) as u16));
    names
}

/// Takes over each criterion of the rule with a good chance.
fn imitate(random: &mut Random, ruleset: &Ruleset, rule: &Rule, facts: &mut Facts) {
    const MISS: usize = 10;
    if !random.one_in(MISS) {
        facts.direction = rule.direction.unwrap_or(facts.direction);
    }
    if let Some(IfMatch::Kif { kif, .. }) = rule.on {
        facts.on = KifSet::EMPTY;
        facts.on.insert(kif);
    }
    if let Some(IfMatch::Kif { kif, .. }) = rule.received_on {
        facts.received_on.get_or_insert_default().insert(kif);
    }
    if !random.one_in(MISS) {
        facts.proto = rule.proto.unwrap_or(facts.proto);
    }
    if let Some(icmp) = rule.icmp {
        facts.icmp_type = icmp.icmp_type;
        facts.icmp_code = icmp.code.unwrap_or(facts.icmp_code);
    }
    if rule.flags.mask != 0 && !random.one_in(MISS) {
        facts.tcp_flags = rule.flags.set | facts.tcp_flags & !rule.flags.mask;
    }
    facts.tos = rule.tos.unwrap_or(facts.tos);
    facts.priority = rule.prio.unwrap_or(facts.priority);
    if let Some(tagged) = rule.tagged {
        facts.tag = tagged.tag;
    }
    let family = rule
        .af
        .or(family(ruleset, &rule.src))
        .or(family(ruleset, &rule.dst));
    if let Some(af) = family.filter(|af| *af != facts.af) {
        (facts.af, facts.src, facts.dst) = (af, 1, 2);
    }
    facts.src = address(random, ruleset, &rule.src, facts.af, facts.src);
    facts.dst = address(random, ruleset, &rule.dst, facts.af, facts.dst);
    facts.src_port = port(random, &rule.src, facts.src_port);
    facts.dst_port = port(random, &rule.dst, facts.dst_port);
}

fn family(ruleset: &Ruleset, end: &Endpoint) -> Option<Af> {
    match end.addr {
        AddrSpec::Masked { af, .. } | AddrSpec::Range { af, .. } => Some(af),
        AddrSpec::Table(id) => Some(ruleset.table(id)?.entries().first()?.af),
        _ => None,
    }
}

/// An address inside, at the edge, or just outside of what the rule asks for.
fn address(random: &mut Random, ruleset: &Ruleset, end: &Endpoint, af: Af, other: u128) -> u128 {
    let all = ruleset::table::prefix_mask(af, af.bits());
    let (low, high) = match end.addr {
        AddrSpec::Masked {
            af: wanted,
            addr,
            mask,
        } if wanted == af => (addr, addr | all & !mask),
        AddrSpec::Range {
            af: wanted,
            low,
            high,
        } if wanted == af => (low, high),
        AddrSpec::Table(id) => {
            let entries = ruleset.table(id).map_or(&[][..], |t| t.entries());
            let of_family = entries.iter().filter(|e| e.af == af).collect::<Vec<_>>();
            if of_family.is_empty() {
                return other;
            }
            let entry = random.pick(&of_family);
            let mask = ruleset::table::prefix_mask(af, entry.prefix_len);
            (entry.addr, entry.addr | all & !mask)
        }
        _ => return other,
    };
    let near = match random.below(8) {
        0 => low.wrapping_sub(1),
        1 => high.wrapping_add(1),
        2..4 => high,
        _ => low,
    };
    near & all
}

fn port(random: &mut Random, end: &Endpoint, other: u16) -> u16 {
    let Some(range) = end.port else {
        return other;
    };
    let edge = random.pick(&[range.a, range.a, range.b]);
    edge.wrapping_add(random.pick(&[0, 0, 0, 1, u16::MAX]))
}

/// The same packet for another ruleset: tags and interfaces have the numbers there that their names have here. A name
/// that nothing over there asks for gets a number that nothing has.
pub(crate) fn translated(facts: &Facts, from: &Compiled, to: &Compiled) -> Facts {
    let tags = |c: &Compiled| c.ruleset.as_ref().map_or(Vec::new(), |r| r.tags.clone());
    let mut facts = *facts;
    if let Some(at) = usize::from(facts.tag.0).checked_sub(1) {
        let name = tags(from).get(at).cloned();
        let there = name.and_then(|name| tags(to).iter().position(|t| *t == name));
        facts.tag = TagId(there.map_or(u16::MAX, |n| n as u16 + 1));
    }
    facts.on = same_names(&facts.on, from, to);
    facts.received_on = facts.received_on.map(|set| same_names(&set, from, to));
    facts
}

/// The numbers of the same names over there.
fn same_names(set: &KifSet, from: &Compiled, to: &Compiled) -> KifSet {
    let mut found = KifSet::EMPTY;
    for (name, kif) in &from.kif_names {
        if set.contains(*kif)
            && let Some((_, kif)) = to.kif_names.iter().find(|(k, _)| k == name)
        {
            found.insert(*kif);
        }
    }
    found
}

/// A routing table in which odd addresses have no route, and addresses with the second bit set the wrong one.
pub(crate) struct OddRoutes;

impl Routes for OddRoutes {
    fn has_route(&self, _: u8, _: Af, addr: u128) -> bool {
        addr & 1 == 0
    }
    fn reverse_path_ok(&self, _: u8, _: Af, src: u128) -> bool {
        src & 2 == 0
    }
}

/// What becomes of the packet: the deciding rule's action and state, the tag, what all rules together do to it, and
/// whether one translates or routes it.
pub(crate) fn verdict(ruleset: &Ruleset, facts: &Facts) -> String {
    let found = evaluate(ruleset, facts, &OddRoutes, |_| {});
    let rule = found.rule.map(|nr| &ruleset.rules[nr.0 as usize]);
    let tag = match found.tag {
        TagId(0) => "",
        TagId(n) => ruleset
            .tags
            .get(usize::from(n) - 1)
            .map_or("?", String::as_str),
    };
    let decided = rule.map(|r| (r.action, r.keep_state, r.allow_opts));
    // pfctl's optimizer, which is the model, takes rules that differ only in these for the same.
    let mut actions = found.actions;
    (actions.max_mss, actions.min_ttl, actions.tos) = (0, 0, 0);
    actions.flags.remove(ruleset::ActionFlags::SET_TOS);
    // Pools of `match` rules are not compared: the list of those that matched is cut.
    let pools = rule.map(|r| [r.nat.is_some(), r.rdr.is_some(), r.route.is_some()]);
    format!("{decided:?} tag {tag:?} {actions:?} nat, rdr, route {pools:?}")
}
