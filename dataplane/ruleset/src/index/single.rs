//! The index of a ruleset of one block: a class has no row but the word itself, what rules do not ask for included, so that
//! the candidates are the conjunction of six words.

use alloc::vec::Vec;

use net::KifId;

use super::rows::{BLOCK, Classes, Value};
use super::{EndField, Index, IndexedInterface, has_ports};
use crate::facts::{Af, Direction, Facts};

/// Words of a field by its values.
#[derive(Clone, Debug)]
struct Words<V> {
    /// First value of each class but the first.
    starts: Vec<V>,
    /// One more than there are starts.
    words: Vec<u64>,
}

impl<V: Value> Words<V> {
    fn of(classes: &Classes<V>, wide: u64) -> Self {
        let starts = classes.words().skip(1).map(|(start, _)| start);
        let words = classes.words().map(|(_, word)| word | wide);
        Words {
            starts: starts.collect(),
            words: words.collect(),
        }
    }

    #[inline]
    fn word(&self, value: V) -> u64 {
        let class = self.starts.partition_point(|start| *start <= value);
        self.words.get(class).copied().unwrap_or(0)
    }
}

/// Words of one end of a packet.
#[derive(Clone, Debug)]
struct End {
    v4: Words<u32>,
    v6: Words<u128>,
    port: Words<u16>,
    /// Rules without ports.
    no_port: u64,
}

impl End {
    fn of(field: &EndField) -> Self {
        let (wide, no_port) = (field.wide.word(0), field.wide_port.word(0));
        End {
            v4: Words::of(&field.v4, wide),
            v6: Words::of(&field.v6, wide),
            port: Words::of(&field.port, no_port),
            no_port,
        }
    }

    #[inline]
    fn addr(&self, af: Af, addr: u128) -> u64 {
        match af {
            Af::Inet => self.v4.word(addr as u32),
            Af::Inet6 => self.v6.word(addr),
        }
    }
}

/// Words of all fields.
#[derive(Clone, Debug)]
pub(super) struct Single {
    /// By number of the interface's name, then by direction; none for one that is unknown.
    ways: Vec<Option<[u64; 2]>>,
    /// By family and row.
    protocols: [Vec<u64>; 2],
    src: End,
    dst: End,
    /// Rules that ask neither address for an interval nor for ports.
    free: u64,
}

impl Single {
    pub(super) fn of(index: &Index, interfaces: &[IndexedInterface]) -> Self {
        let word = |kif: KifId, direction| {
            let (row, own) = index.ways.of(kif, direction)?;
            Some(row.word(0) | own.word_in(&own.part(0), 0))
        };
        let last = interfaces.iter().map(|interface| interface.kif.0).max();
        let way = |n| {
            let kif = KifId(n);
            Some([word(kif, Direction::In)?, word(kif, Direction::Out)?])
        };
        let protocols = [0, 1].map(|af: usize| {
            let rows = index.protocols[af].iter();
            rows.map(|row| row.word(0)).collect()
        });
        let free = |end: &EndField| end.wide.word(0) & end.wide_port.word(0);
        Single {
            ways: (0..=last.unwrap_or(0)).map(way).collect(),
            protocols,
            src: End::of(&index.src),
            dst: End::of(&index.dst),
            free: free(&index.src) & free(&index.dst),
        }
    }

    /// See [`Index::decision`].
    #[inline]
    pub(super) fn decision(
        &self,
        index: &Index,
        facts: &Facts,
        mut matches: impl FnMut(u32) -> bool,
    ) -> Option<Option<u32>> {
        let kinds = index.places.kinds(0);
        let wide = self.wide(&index.protocol_row, facts)?;
        // What comes first may decide whatever the ends are: often a large table is asked for first of all.
        let stops = wide & (kinds.lasting | kinds.quick);
        let first = stops & stops.wrapping_neg() & kinds.quick & self.free;
        if first != 0 {
            let rule = index.places.rule(0, first.trailing_zeros());
            if matches(rule) {
                return Some(Some(rule));
            }
        }
        let word = wide & self.narrow(facts);
        if word & kinds.lasting != 0 {
            return None;
        }
        let mut quick = word & kinds.quick & !first;
        while quick != 0 {
            let rule = index.places.rule(0, quick.trailing_zeros());
            if matches(rule) {
                return Some(Some(rule));
            }
            quick &= quick - 1;
        }
        let mut plain = word & kinds.plain;
        while plain != 0 {
            let bit = BLOCK as u32 - 1 - plain.leading_zeros();
            let rule = index.places.rule(0, bit);
            if matches(rule) {
                return Some(Some(rule));
            }
            plain &= !(1 << bit);
        }
        Some(None)
    }

    /// The candidates; none if the packet passes an interface that the index does not know.
    #[inline(always)]
    pub(super) fn word(&self, protocol_row: &[u8; 256], facts: &Facts) -> Option<u64> {
        Some(self.wide(protocol_row, facts)? & self.narrow(facts))
    }

    /// The same whatever the ends of the packet are.
    #[inline(always)]
    fn wide(&self, protocol_row: &[u8; 256], facts: &Facts) -> Option<u64> {
        let way = (*self.ways.get(usize::from(facts.kif.0))?)?[facts.direction.index()];
        let row = protocol_row[usize::from(facts.proto)];
        let protocols = &self.protocols[facts.af.index()];
        Some(way & protocols.get(usize::from(row)).copied().unwrap_or(0))
    }

    /// Rules that like the ends of a packet.
    #[inline(always)]
    fn narrow(&self, facts: &Facts) -> u64 {
        let ports = if has_ports(facts) {
            self.src.port.word(facts.src_port) & self.dst.port.word(facts.dst_port)
        } else {
            self.src.no_port & self.dst.no_port
        };
        let src = self.src.addr(facts.af, facts.src);
        let dst = self.dst.addr(facts.af, facts.dst);
        ports & src & dst
    }
}
