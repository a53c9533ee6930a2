//! The index of a ruleset of one block: a class has no row but the word itself, what rules do not ask for included, so that
//! the candidates are the conjunction of six words.

use alloc::vec::Vec;

use net::KifId;

use super::rows::{Classes, Value};
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
        Single {
            ways: (0..=last.unwrap_or(0)).map(way).collect(),
            protocols,
            src: End::of(&index.src),
            dst: End::of(&index.dst),
        }
    }

    /// The candidates; none if the packet passes an interface that the index does not know.
    #[inline]
    pub(super) fn word(&self, protocol_row: &[u8; 256], facts: &Facts) -> Option<u64> {
        let way = (*self.ways.get(usize::from(facts.kif.0))?)?[facts.direction.index()];
        let row = protocol_row[usize::from(facts.proto)];
        let protocols = &self.protocols[facts.af.index()];
        let protocol = protocols.get(usize::from(row)).copied().unwrap_or(0);
        let ports = if has_ports(facts) {
            self.src.port.word(facts.src_port) & self.dst.port.word(facts.dst_port)
        } else {
            self.src.no_port & self.dst.no_port
        };
        let src = self.src.addr(facts.af, facts.src);
        let dst = self.dst.addr(facts.af, facts.dst);
        Some(way & protocol & ports & src & dst)
    }
}
