//! Ways to find the last rule that matches a packet, to be compared: only what it takes to compare them, which is rules
//! without anything but protocol, addresses and ports. What the firewall uses is `ruleset::Index`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use ruleset::matches::matches;
use ruleset::{
    AddrSpec, Endpoint, EveryRoute, Facts, Index, IndexedInterface, KifId, KifSet, PortOp, Rule,
    Ruleset, Walk,
};

/// A design.
pub(crate) trait Design {
    /// The last rule that matches.
    fn decide(&self, facts: &Facts) -> Option<u32>;
    /// Bytes that it takes beside the rules.
    fn bytes(&self) -> usize;
}

/// Rule after rule, as PF without skip steps.
pub(crate) struct Linear(Ruleset);

impl Linear {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        Linear(Ruleset {
            rules: rules.to_vec(),
            ..Ruleset::default()
        })
    }
}

impl Design for Linear {
    fn decide(&self, facts: &Facts) -> Option<u32> {
        last(Walk::new(&self.0), facts)
    }
    fn bytes(&self) -> usize {
        0
    }
}

fn last(mut walk: Walk<'_>, facts: &Facts) -> Option<u32> {
    let mut found = None;
    while let Some((nr, _)) = walk.next(facts, &EveryRoute, |_| {}) {
        found = Some(nr.0);
    }
    found
}

/// The firewall's own.
pub(crate) struct Indexed {
    ruleset: Ruleset,
    to_decision: bool,
}

impl Indexed {
    /// With `to_decision` as the filter asks; else every rule that matches is found.
    pub(crate) fn new(rules: &[Rule], to_decision: bool) -> Self {
        let interface = IndexedInterface {
            kif: KifId(0),
            names: KifSet::EMPTY,
            loopback: false,
            rdomain: 0,
        };
        let ruleset = Ruleset {
            rules: rules.to_vec(),
            index: Some(Index::build(rules, &[interface])),
            ..Ruleset::default()
        };
        Indexed {
            ruleset,
            to_decision,
        }
    }
}

impl Design for Indexed {
    fn decide(&self, facts: &Facts) -> Option<u32> {
        last(
            Walk::new(&self.ruleset).to_decision(self.to_decision),
            facts,
        )
    }
    fn bytes(&self) -> usize {
        self.ruleset.index.as_ref().map_or(0, Index::bytes)
    }
}

/// Bit vectors without summaries (Lakshman and Stiliadis, SIGCOMM 1998): for each field and class of values one bit
/// per rule; the words of all fields are combined from the last to the first.
pub(crate) struct BitVectors {
    rules: Vec<Rule>,
    fields: [Field; 4],
    protocols: HashMap<u8, Vec<u64>>,
    other: Vec<u64>,
}

struct Field {
    starts: Vec<u32>,
    rows: Vec<Vec<u64>>,
}

impl Field {
    fn new(rules: &[Rule], interval: impl Fn(&Rule) -> (u32, u32)) -> Self {
        let mut starts = vec![0];
        for (low, high) in rules.iter().map(&interval) {
            starts.push(low);
            starts.extend(high.checked_add(1));
        }
        starts.sort_unstable();
        starts.dedup();
        let mut rows = vec![vec![0u64; rules.len().div_ceil(64)]; starts.len()];
        for (nr, (low, high)) in rules.iter().map(&interval).enumerate() {
            let from = starts.partition_point(|start| *start < low);
            let to = starts.partition_point(|start| *start <= high);
            for row in &mut rows[from..to] {
                row[nr / 64] |= 1 << (nr % 64);
            }
        }
        Field { starts, rows }
    }

    fn row(&self, value: u32) -> &[u64] {
        let at = self.starts.partition_point(|start| *start <= value);
        &self.rows[at - 1]
    }
}

impl BitVectors {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let with = |proto: Option<u8>| {
            let mut row = vec![0u64; rules.len().div_ceil(64)];
            for (nr, rule) in rules.iter().enumerate() {
                if rule.proto.is_none() || rule.proto == proto {
                    row[nr / 64] |= 1 << (nr % 64);
                }
            }
            row
        };
        BitVectors {
            fields: [
                Field::new(rules, |rule| addresses(&rule.src)),
                Field::new(rules, |rule| addresses(&rule.dst)),
                Field::new(rules, |rule| ports(&rule.src)),
                Field::new(rules, |rule| ports(&rule.dst)),
            ],
            protocols: [6, 17].map(|proto| (proto, with(Some(proto)))).into(),
            other: with(None),
            rules: rules.to_vec(),
        }
    }
}

fn addresses(end: &Endpoint) -> (u32, u32) {
    match end.addr {
        AddrSpec::Masked { addr, mask, .. } => (addr as u32, addr as u32 | !(mask as u32)),
        _ => (0, u32::MAX),
    }
}

fn ports(end: &Endpoint) -> (u32, u32) {
    match end.port {
        Some(range) if range.op == PortOp::Range => (range.a.into(), range.b.into()),
        Some(range) => (range.a.into(), range.a.into()),
        None => (0, u16::MAX.into()),
    }
}

impl Design for BitVectors {
    fn decide(&self, facts: &Facts) -> Option<u32> {
        let rows = [
            self.fields[0].row(facts.src as u32),
            self.fields[1].row(facts.dst as u32),
            self.fields[2].row(facts.src_port.into()),
            self.fields[3].row(facts.dst_port.into()),
            self.protocols.get(&facts.proto).unwrap_or(&self.other),
        ];
        for block in (0..self.rules.len().div_ceil(64)).rev() {
            let word = rows.iter().fold(u64::MAX, |word, row| word & row[block]);
            if word != 0 {
                return Some(block as u32 * 64 + 63 - word.leading_zeros());
            }
        }
        None
    }

    fn bytes(&self) -> usize {
        let rows: usize = self.fields.iter().map(|f| f.rows.len()).sum();
        rows * self.rules.len().div_ceil(64) * 8
    }
}

/// Tuple-space search (Srinivasan, Suri and Varghese, SIGCOMM 1999): rules that ask for the same bits of the same fields
/// share a hash table. Ranges of ports are not hashed but left to the full test. Tables whose last rule comes before the
/// best one so far are left out.
pub(crate) struct TupleSpace {
    ruleset: Ruleset,
    tuples: Vec<TupleTable>,
}

type Lists = HashMap<[u32; 4], Vec<u32>, BuildHasherDefault<Mix>>;

struct TupleTable {
    tuple: Tuple,
    last: u32,
    /// Rules, the last one first.
    lists: Lists,
}

/// Masks of addresses; whether protocol, source port, destination port count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Tuple {
    masks: [u32; 2],
    proto: bool,
    ports: [bool; 2],
}

impl Tuple {
    fn of(rule: &Rule) -> Self {
        let mask = |end: &Endpoint| match end.addr {
            AddrSpec::Masked { mask, .. } => mask as u32,
            _ => 0,
        };
        let exact = |end: &Endpoint| end.port.is_some_and(|range| range.op == PortOp::Eq);
        Tuple {
            masks: [mask(&rule.src), mask(&rule.dst)],
            proto: rule.proto.is_some(),
            ports: [exact(&rule.src), exact(&rule.dst)],
        }
    }

    fn key(&self, src: u32, dst: u32, proto: u8, ports: [u16; 2]) -> [u32; 4] {
        let port = |n: usize| {
            if self.ports[n] {
                u32::from(ports[n])
            } else {
                0
            }
        };
        let proto = if self.proto { u32::from(proto) } else { 0 };
        [
            src & self.masks[0],
            dst & self.masks[1],
            proto,
            port(0) << 16 | port(1),
        ]
    }
}

/// A quick hash: a multiplication for each word.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(23) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn write_usize(&mut self, _: usize) {}
}

impl TupleSpace {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut tuples: HashMap<Tuple, TupleTable> = HashMap::new();
        for (nr, rule) in rules.iter().enumerate().rev() {
            let tuple = Tuple::of(rule);
            let table = tuples.entry(tuple).or_insert_with(|| TupleTable {
                tuple,
                last: nr as u32,
                lists: Lists::default(),
            });
            let low = |end: &Endpoint| addresses(end).0;
            let port = |end: &Endpoint| end.port.map_or(0, |range| range.a);
            let key = tuple.key(
                low(&rule.src),
                low(&rule.dst),
                rule.proto.unwrap_or(0),
                [port(&rule.src), port(&rule.dst)],
            );
            table.lists.entry(key).or_default().push(nr as u32);
        }
        let mut tuples: Vec<TupleTable> = tuples.into_values().collect();
        tuples.sort_by_key(|table| std::cmp::Reverse(table.last));
        TupleSpace {
            ruleset: Ruleset {
                rules: rules.to_vec(),
                ..Ruleset::default()
            },
            tuples,
        }
    }
}

impl Design for TupleSpace {
    fn decide(&self, facts: &Facts) -> Option<u32> {
        let mut best = None;
        for table in &self.tuples {
            if best >= Some(table.last) {
                break;
            }
            let ports = [facts.src_port, facts.dst_port];
            let key = table
                .tuple
                .key(facts.src as u32, facts.dst as u32, facts.proto, ports);
            for nr in table.lists.get(&key).into_iter().flatten() {
                if best >= Some(*nr) {
                    break;
                }
                let rule = &self.ruleset.rules[*nr as usize];
                if matches(&self.ruleset, rule, facts, &EveryRoute) {
                    best = Some(*nr);
                    break;
                }
            }
        }
        best
    }

    fn bytes(&self) -> usize {
        let entries: usize = self.tuples.iter().map(|t| t.lists.capacity()).sum();
        entries * (size_of::<([u32; 4], Vec<u32>)>() + 1) + self.ruleset.rules.len() * 4
    }
}
