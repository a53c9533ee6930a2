//! Which rules a packet may match, without looking at all of them: one set of rules per field of the packet, and the
//! rules that are in all of these sets, in ascending order. Each such candidate is then tested in full, so a set may
//! hold too much and never too little: what a field cannot tell (tables, negated addresses, tags) is in all its sets.
//! The cost of a packet depends on the rules that it nearly matches, hardly on how many there are: summaries say which
//! blocks of 64 rules are worth a look, and rules that ask for the same fields stand together ([`places`]), without which
//! nearly all blocks would be. docs/classifiers.md compares this with other designs.
//!
//! Read first: Lakshman and Stiliadis, "High-speed policy-based packet forwarding using efficient multi-dimensional
//! range matching" (SIGCOMM 1998), for bit vectors; Baboescu and Varghese, "Scalable packet classification" (SIGCOMM
//! 2001), for summaries of them.

mod candidates;
mod places;
mod rest;
mod rows;
mod single;
mod ways;

use alloc::vec::Vec;

use net::{KifId, KifSet};

use crate::facts::{Af, Facts, Fragment};
use crate::ports::{PortOp, PortRange};
use crate::rule::{Action, AddrSpec, Endpoint, Rule};
pub(crate) use candidates::Candidates;
use candidates::{Field, Fields};
use places::Places;
pub(crate) use places::{Kind, kind};
use rest::rests;
pub(crate) use rest::{Rest, asks_more};
use rows::{BLOCK, Bits, Classes, Reader, Span};
use single::Single;
use ways::Ways;

/// Rulesets with fewer rules are walked one by one, and every rule on the way counts its evaluations. A rule that is tested
/// costs about 220 instructions, the index about as much in all: with more rules than this walking costs a flow too much.
pub const INDEX_MIN_RULES: usize = 10;

/// An interface as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct IndexedInterface {
    /// Its own name.
    pub kif: KifId,
    /// All names it answers to.
    pub names: KifSet,
    /// It is a loopback.
    pub loopback: bool,
    /// Its routing domain.
    pub rdomain: u8,
}

/// One of the two ends of a packet.
#[derive(Clone, Debug)]
struct EndField {
    /// Rules whose address is not asked of this field.
    wide: Bits,
    v4: Classes<u32>,
    v6: Classes<u128>,
    /// Rules without ports.
    wide_port: Bits,
    port: Classes<u16>,
}

/// The index of a ruleset, for the interfaces that there were when it was built.
#[derive(Clone, Debug)]
pub struct Index {
    places: Places,
    ways: Ways,
    /// By family and protocol: those that rules name, then the rest.
    protocols: [Vec<Bits>; 2],
    /// Row in `protocols` by protocol number.
    protocol_row: [u8; 256],
    src: EndField,
    dst: EndField,
    /// For each rule the innermost anchor that it stands in; `u32::MAX` for none. Empty if there is no anchor.
    parents: Vec<u32>,
    /// By rule: what is left to be asked of candidates.
    rests: Vec<Rest>,
    /// The same sets once more, if they are of one block.
    single: Option<Single>,
}

/// Sentinel of [`Index::parents`].
pub(crate) const NO_PARENT: u32 = u32::MAX;

impl Index {
    /// Builds the index. The slots of the rules have been given.
    pub fn build(rules: &[Rule], interfaces: &[IndexedInterface]) -> Self {
        let places = Places::of_rules(rules);
        let (protocol_row, protocols) = protocols(rules, &places);
        let mut rests = rests(rules);
        let src = EndField::build(rules, &places, |rule| &rule.src, |n| rests[n].ask_src());
        let dst = EndField::build(rules, &places, |rule| &rule.dst, |n| rests[n].ask_dst());
        let mut index = Index {
            ways: Ways::build(rules, interfaces, &places),
            protocols,
            protocol_row,
            src,
            dst,
            parents: parents(rules),
            places,
            rests,
            single: None,
        };
        index.single = (index.places.count() == BLOCK).then(|| Single::of(&index, interfaces));
        index
    }

    /// What the fields of a packet say, the interface that it passes and its direction among them.
    #[inline(always)]
    fn fields<'i>(&'i self, way: (&'i Bits, Reader<'i>), facts: &Facts) -> Fields<'i> {
        let row = self.protocol_row[usize::from(facts.proto)];
        let protocol = &self.protocols[facts.af.index()][usize::from(row)];
        let (src_port, dst_port) = if has_ports(facts) {
            (
                self.src.port.row(facts.src_port),
                self.dst.port.row(facts.dst_port),
            )
        } else {
            (Reader::default(), Reader::default())
        };
        let of = |wide, own| Field { wide, own };
        Fields([
            of(&self.dst.wide, self.dst.reader(facts.af, facts.dst)),
            of(&self.dst.wide_port, dst_port),
            of(&self.src.wide, self.src.reader(facts.af, facts.src)),
            of(protocol, Reader::default()),
            of(way.0, way.1),
            of(&self.src.wide_port, src_port),
        ])
    }

    /// The number of the rule that decides about a packet, none if no rule matches; `matches` asks of each candidate in turn
    /// whether it does. None if a candidate may do something else than to pass or to block: then all must be asked anew.
    #[inline]
    pub(crate) fn decision(
        &self,
        facts: &Facts,
        matches: impl FnMut(u32) -> bool,
    ) -> Option<Option<u32>> {
        match &self.single {
            Some(single) => single.decision(self, facts, matches),
            None => Candidates::default().decision(self, facts, matches),
        }
    }

    /// What is left to be asked of a rule that is a candidate.
    #[inline]
    pub(crate) fn rest(&self, rule: u32) -> Rest {
        self.rests.get(rule as usize).copied().unwrap_or_default()
    }

    /// The anchor that a rule stands in.
    #[inline]
    pub(crate) fn parent(&self, rule: u32) -> u32 {
        self.parents
            .get(rule as usize)
            .copied()
            .unwrap_or(NO_PARENT)
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        let dense = self.ways.rows.len() + self.protocols[0].len() + self.protocols[1].len() + 4;
        let row = self.places.count().div_ceil(BLOCK) * 8 * (BLOCK + 1) / BLOCK;
        dense * row
            + self.ways.bytes()
            + self.src.bytes()
            + self.dst.bytes()
            + self.parents.len() * 4
            + self.rests.len() * size_of::<Rest>()
            + self.places.bytes()
    }
}

impl EndField {
    /// `in_doubt` hears of every rule of which the field does not tell for sure whether it likes the packet's.
    fn build(
        rules: &[Rule],
        places: &Places,
        end: impl Fn(&Rule) -> &Endpoint,
        mut in_doubt: impl FnMut(usize),
    ) -> Self {
        let mut wide = Bits::new(places.count());
        let mut wide_port = Bits::new(places.count());
        let (mut v4, mut v6, mut ports) = (Vec::new(), Vec::new(), Vec::new());
        for (n, rule) in rules.iter().enumerate() {
            let (end, rule) = (end(rule), places.of(n));
            match interval(end) {
                Asked::Nothing => {
                    wide.insert(rule as usize);
                    if end.addr != AddrSpec::Any || end.negate {
                        in_doubt(n);
                    }
                }
                Asked::Never => {}
                Asked::Of(Af::Inet, low, high) => v4.push(Span {
                    low: low as u32,
                    high: high as u32,
                    rule,
                }),
                Asked::Of(Af::Inet6, low, high) => v6.push(Span { low, high, rule }),
            }
            match end.port {
                None => wide_port.insert(rule as usize),
                Some(range) => port_spans(range, rule, &mut ports),
            }
        }
        let (v4, too_wide4) = Classes::build(v4);
        let (v6, too_wide6) = Classes::build(v6);
        let (port, too_wide_ports) = Classes::build(ports);
        let mut widen = |wide: &mut Bits, place: u32| {
            wide.insert(place as usize);
            let block = place / BLOCK as u32;
            in_doubt(places.rule(block, place % BLOCK as u32) as usize);
        };
        for place in too_wide4.into_iter().chain(too_wide6) {
            widen(&mut wide, place);
        }
        for place in too_wide_ports {
            widen(&mut wide_port, place);
        }
        EndField {
            wide,
            v4,
            v6,
            wide_port,
            port,
        }
    }

    #[inline]
    fn reader(&self, af: Af, addr: u128) -> Reader<'_> {
        match af {
            Af::Inet => self.v4.row(addr as u32),
            Af::Inet6 => self.v6.row(addr),
        }
    }

    fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes() + self.port.bytes()
    }
}

/// What an end asks of the address.
pub(super) enum Asked {
    /// Nothing that an interval can tell.
    Nothing,
    /// What no address fulfils.
    Never,
    /// To lie between two addresses of a family, both included.
    Of(Af, u128, u128),
}

fn interval(end: &Endpoint) -> Asked {
    match end.addr {
        // The outside of an interval, tables and routes are left to the full test.
        _ if end.negate => Asked::Nothing,
        AddrSpec::Masked { af, addr, mask } => {
            let all = match af {
                Af::Inet => u128::from(u32::MAX),
                Af::Inet6 => u128::MAX,
            };
            let host = all & !mask;
            // Masks with holes are no intervals.
            if host & host.wrapping_add(1) == 0 {
                Asked::Of(af, addr, addr | host)
            } else {
                Asked::Nothing
            }
        }
        AddrSpec::Range { af, low, high } if low <= high => Asked::Of(af, low, high),
        AddrSpec::Range { .. } | AddrSpec::Never => Asked::Never,
        AddrSpec::Any
        | AddrSpec::Table(_)
        | AddrSpec::RouteLabel(_)
        | AddrSpec::NoRoute
        | AddrSpec::UrpfFailed => Asked::Nothing,
    }
}

fn port_spans(range: PortRange, rule: u32, spans: &mut Vec<Span<u16>>) {
    let (a, b) = (range.a, range.b);
    let below = |n: u16| n.checked_sub(1).map(|high| (0, high));
    let above = |n: u16| n.checked_add(1).map(|low| (low, u16::MAX));
    let parts = match range.op {
        PortOp::Eq => [Some((a, a)), None],
        PortOp::Ne => [below(a), above(a)],
        PortOp::Lt => [below(a), None],
        PortOp::Le => [Some((0, a)), None],
        PortOp::Gt => [above(a), None],
        PortOp::Ge => [Some((a, u16::MAX)), None],
        PortOp::Range => [Some((a, b)), None],
        PortOp::Inside => [a.checked_add(1).zip(b.checked_sub(1)), None],
        // The two sides would overlap, which the sweep over the values does not expect of one rule.
        PortOp::Outside if b < a => [Some((0, u16::MAX)), None],
        PortOp::Outside => [below(a), above(b)],
    };
    let parts = parts
        .into_iter()
        .flatten()
        .filter(|(low, high)| low <= high);
    spans.extend(parts.map(|(low, high)| Span { low, high, rule }));
}

/// Whether rules with ports can match.
#[inline]
fn has_ports(facts: &Facts) -> bool {
    matches!(facts.proto, 6 | 17) && facts.fragment == Fragment::No
}

/// Rows for the protocols that rules name, and one for all others.
fn protocols(rules: &[Rule], places: &Places) -> ([u8; 256], [Vec<Bits>; 2]) {
    let mut named: Vec<u8> = rules.iter().filter_map(|r| r.proto).collect();
    named.sort_unstable();
    named.dedup();
    // With all 256 protocols named there is no "other", and no place for its row.
    named.truncate(255);
    let mut row_of = [named.len() as u8; 256];
    for (n, proto) in named.iter().enumerate() {
        row_of[usize::from(*proto)] = n as u8;
    }
    let rows = |af: Af| {
        let mut rows = alloc::vec![Bits::new(places.count()); named.len() + 1];
        for (nr, rule) in rules.iter().enumerate() {
            if rule.af.is_some_and(|a| a != af) {
                continue;
            }
            let place = places.of(nr) as usize;
            match rule.proto {
                None => rows.iter_mut().for_each(|row| row.insert(place)),
                Some(proto) => rows[usize::from(row_of[usize::from(proto)])].insert(place),
            }
        }
        rows
    };
    (row_of, [rows(Af::Inet), rows(Af::Inet6)])
}

/// For each rule the innermost anchor that it stands in.
fn parents(rules: &[Rule]) -> Vec<u32> {
    let is_anchor = |rule: &Rule| matches!(rule.action, Action::Anchor { .. });
    if !rules.iter().any(is_anchor) {
        return Vec::new();
    }
    let mut open: Vec<(u32, u32)> = Vec::new();
    let mut parents = Vec::with_capacity(rules.len());
    for (n, rule) in rules.iter().enumerate() {
        let n = n as u32;
        open.retain(|(_, end)| *end > n);
        parents.push(open.last().map_or(NO_PARENT, |(anchor, _)| *anchor));
        if let Action::Anchor { end } = rule.action {
            open.push((n, end));
        }
    }
    parents
}
