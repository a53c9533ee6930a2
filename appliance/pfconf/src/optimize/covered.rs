//! Rules that another rule of their block covers: they are dropped.
//!
//! Which rules may cover a given one is not searched among all. Wide rules have few *shapes*: which criteria they leave
//! open, and how many bits of an address they look at. A rule is made as wide as each shape in turn, and whatever
//! hashes to the same is compared with it in full.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

use ruleset::{Af, table::prefix_mask};

use super::{Ignore, comparable};
use crate::policy::{Addr, End, Rule};

pub(super) fn without_covered(block: Vec<Rule>) -> Vec<Rule> {
    let plain: Vec<Rule> = block
        .iter()
        .map(|rule| comparable(rule, Ignore::Nothing))
        .collect();
    let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
    for (n, rule) in plain.iter().enumerate() {
        by_hash
            .entry(Wide::itself(rule).hash())
            .or_default()
            .push(n);
    }
    let shapes: HashSet<Shape> = plain.iter().map(Shape::of).collect();
    let covered = |n: usize| {
        let hashes = shapes
            .iter()
            .filter_map(|s| s.widen(&plain[n]))
            .map(|w| w.hash());
        let mut candidates = hashes.filter_map(|h| by_hash.get(&h)).flatten();
        candidates.any(|m| *m != n && replaces(&plain, *m, n))
    };
    let kept: Vec<bool> = (0..plain.len()).map(|n| !covered(n)).collect();
    let all = block.into_iter().zip(kept);
    all.filter_map(|(rule, kept)| kept.then_some(rule))
        .collect()
}

/// True if rule `wide` makes rule `sub` superfluous. Of rules that cover each other the first stays.
fn replaces(rules: &[Rule], wide: usize, sub: usize) -> bool {
    let (w, s) = (&rules[wide], &rules[sub]);
    covers(w, s) && (wide < sub || !covers(s, w))
}

/// True if every packet that `sub` matches is matched by `wide`, with the same consequences.
fn covers(wide: &Rule, sub: &Rule) -> bool {
    widened(wide, sub.clone()) == *wide
}

/// How much of an address a rule looks at.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum AddrShape {
    Any,
    Prefix(Af, u8),
    /// Whatever it is, only the same is inside.
    Exact,
}

impl AddrShape {
    fn of(end: &End) -> Self {
        match &end.addr {
            _ if end.not => AddrShape::Exact,
            Addr::Any => AddrShape::Any,
            Addr::Masked { af, bits, .. } => AddrShape::Prefix(*af, *bits),
            _ => AddrShape::Exact,
        }
    }

    /// The address of this shape that holds that of `end`, if there is one.
    fn widen(self, end: &End) -> Option<Addr> {
        match (self, &end.addr) {
            (AddrShape::Exact, addr) => Some(addr.clone()),
            _ if end.not => None,
            (AddrShape::Any, _) => Some(Addr::Any),
            // A network of no bits takes in everything, as in pfctl.
            (AddrShape::Prefix(af, 0), _) => Some(Addr::Masked {
                af,
                addr: 0,
                bits: 0,
            }),
            (
                AddrShape::Prefix(af, bits),
                Addr::Masked {
                    af: of,
                    addr,
                    bits: longer,
                },
            ) if af == *of && bits <= *longer => {
                let addr = addr & prefix_mask(af, bits);
                Some(Addr::Masked { af, addr, bits })
            }
            _ => None,
        }
    }
}

/// What a rule leaves open.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    on: bool,
    direction: bool,
    af: bool,
    proto: bool,
    flags: bool,
    src_port: bool,
    dst_port: bool,
    src: AddrShape,
    dst: AddrShape,
}

impl Shape {
    fn of(rule: &Rule) -> Self {
        Shape {
            on: rule.on.is_none(),
            direction: rule.direction.is_none(),
            af: rule.af.is_none(),
            proto: rule.proto.is_none(),
            flags: rule.flags.is_none(),
            src_port: rule.src.port.is_none(),
            dst_port: rule.dst.port.is_none(),
            src: AddrShape::of(&rule.src),
            dst: AddrShape::of(&rule.dst),
        }
    }

    /// What a rule of this shape must say to cover `sub`.
    fn widen<'r>(&self, sub: &'r Rule) -> Option<Wide<'r>> {
        let mut wide = Wide::itself(sub);
        wide.src_addr = self.src.widen(&sub.src)?;
        wide.dst_addr = self.dst.widen(&sub.dst)?;
        wide.open = *self;
        Some(wide)
    }
}

/// The criteria of a rule, some of them left open.
struct Wide<'r> {
    rule: &'r Rule,
    src_addr: Addr,
    dst_addr: Addr,
    open: Shape,
}

impl<'r> Wide<'r> {
    fn itself(rule: &'r Rule) -> Self {
        Wide {
            rule,
            src_addr: rule.src.addr.clone(),
            dst_addr: rule.dst.addr.clone(),
            open: Shape::of(rule),
        }
    }

    fn hash(&self) -> u64 {
        let (rule, open) = (self.rule, &self.open);
        let mut hasher = DefaultHasher::new();
        let h = &mut hasher;
        rule.on.as_ref().filter(|_| !open.on).hash(h);
        rule.direction.filter(|_| !open.direction).hash(h);
        rule.af.filter(|_| !open.af).hash(h);
        rule.proto.filter(|_| !open.proto).hash(h);
        rule.flags.filter(|_| !open.flags).hash(h);
        rule.src.port.filter(|_| !open.src_port).hash(h);
        rule.dst.port.filter(|_| !open.dst_port).hash(h);
        (&self.src_addr, rule.src.not).hash(h);
        (&self.dst_addr, rule.dst.not).hash(h);
        (rule.icmp, rule.tos, &rule.tagged, &rule.os).hash(h);
        hasher.finish()
    }
}

/// `sub` with everything taken over from `wide` that is only narrower in `sub`.
fn widened(wide: &Rule, mut sub: Rule) -> Rule {
    if wide.on.is_none() && sub.on.as_ref().is_some_and(|(_, not)| !not) {
        sub.on = None;
    }
    if wide.direction.is_none() {
        sub.direction = None;
    }
    let same_proto = wide.proto.is_none() || wide.proto == sub.proto;
    if same_proto && wide.flags.is_none() && wide.kind == sub.kind {
        sub.flags = None;
    }
    if wide.proto.is_none() {
        sub.proto = None;
    }
    widen_end(&wide.src, &mut sub.src, wide.af == sub.af);
    widen_end(&wide.dst, &mut sub.dst, wide.af == sub.af);
    if wide.af.is_none() {
        sub.af = None;
    }
    sub
}

fn widen_end(wide: &End, sub: &mut End, same_family: bool) {
    if wide.port.is_none() {
        sub.port = None;
    }
    let all = is_any(&wide.addr) && !wide.not && !sub.not;
    // The larger the network behind a `!`, the fewer packets match: there pfctl has it the wrong way around. The
    // right way around is not worth a search.
    let wider = same_family && !wide.not && !sub.not && holds(&wide.addr, &sub.addr);
    if all || wider {
        sub.addr = wide.addr.clone();
    }
}

fn is_any(addr: &Addr) -> bool {
    matches!(addr, Addr::Any | Addr::Masked { bits: 0, .. })
}

/// True if the second is a smaller network inside the first.
fn holds(wide: &Addr, sub: &Addr) -> bool {
    let (
        Addr::Masked { af, addr, bits },
        Addr::Masked {
            af: af2,
            addr: addr2,
            bits: bits2,
        },
    ) = (wide, sub)
    else {
        return false;
    };
    af == af2 && bits < bits2 && *addr == addr2 & ruleset::table::prefix_mask(*af, *bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::ActionKind;
    use crate::policy::{IfItemKind, RuleKind};
    use crate::source::Span;
    use ruleset::{Direction, PortOp, PortRange};

    /// As pfctl does it: every rule with every other.
    fn slowly(block: &[Rule]) -> Vec<Rule> {
        let mut kept = vec![true; block.len()];
        for first in 0..block.len() {
            for second in first + 1..block.len() {
                if !kept[first] || !kept[second] {
                    continue;
                }
                if covers(&block[first], &block[second]) {
                    kept[second] = false;
                } else if covers(&block[second], &block[first]) {
                    kept[first] = false;
                }
            }
        }
        let all = block.iter().zip(kept).filter(|(_, kept)| *kept);
        all.map(|(rule, _)| rule.clone()).collect()
    }

    fn end(below: &mut impl FnMut(usize) -> usize) -> End {
        let bits = [0, 8, 16, 32][below(4)];
        let addr = (0x0a00_0000 + below(3) as u128 * 0x1_0001) & prefix_mask(Af::Inet, bits);
        let masked = Addr::Masked {
            af: Af::Inet,
            addr,
            bits,
        };
        let port = PortRange {
            op: PortOp::Eq,
            a: 1 + below(2) as u16,
            b: 0,
        };
        End {
            addr: [Addr::Any, masked.clone(), masked, Addr::Table("t".into())][below(4)].clone(),
            not: below(5) == 0,
            port: Some(port).filter(|_| below(2) == 0),
        }
    }

    fn rule(below: &mut impl FnMut(usize) -> usize) -> Rule {
        let mut rule = Rule::new(RuleKind::Filter(ActionKind::Pass), Span::default());
        rule.direction = [None, None, Some(Direction::In), Some(Direction::Out)][below(4)];
        let on = (IfItemKind::Name("em0".into()), below(3) == 0);
        rule.on = Some(on).filter(|_| below(2) == 0);
        rule.af = Some(Af::Inet).filter(|_| below(2) == 0);
        rule.proto = [None, Some(6), Some(17)][below(3)];
        rule.flags = Some((2, 18)).filter(|_| below(2) == 0);
        rule.tos = Some(16).filter(|_| below(8) == 0);
        (rule.src, rule.dst) = (end(below), end(below));
        rule
    }

    #[test]
    fn the_same_rules_go_as_with_a_look_at_every_pair() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut below = move |n: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 11) as usize % n
        };
        let mut gone = 0;
        for round in 0..1000 {
            let block: Vec<Rule> = (0..2 + below(40)).map(|_| rule(&mut below)).collect();
            let kept = without_covered(block.clone());
            gone += block.len() - kept.len();
            assert_eq!(kept, slowly(&block), "round {round}: {block:#?}");
        }
        assert!(gone > 1000, "only {gone} rules went");
    }
}
