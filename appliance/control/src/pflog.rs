//! Logged packets: taken from the workers, kept for a while in memory, written as a capture (DLT_PFLOG) or as lines in
//! tcpdump's style. Read first: pflog(4), [`filter::pflog`].

use std::collections::VecDeque;

use filter::pflog::{DLT_PFLOG, NO_RULE};
use serde::Serialize;
use worker::LogRecord;

use crate::control::Control;

/// Packets kept: about a megabyte. Older ones make room.
pub const RECORDS_MAX: usize = 4096;

/// The last logged packets.
#[derive(Default)]
pub(crate) struct PfLog {
    records: VecDeque<LoggedPacket>,
    next: u64,
}

/// A packet that a rule logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedPacket {
    /// Counts up from 0 without gaps.
    pub serial: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Number of the pflog interface.
    pub to: u8,
    /// Bytes of the IP packet.
    pub len: u16,
    /// See [`filter::pflog`].
    pub header: Vec<u8>,
    /// The first bytes of the IP packet, before translation.
    pub bytes: Vec<u8>,
}

/// The same in words, for JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LoggedView {
    /// See [`LoggedPacket::serial`].
    pub serial: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// `pflog0`
    pub log: String,
    /// `3`, `3.anchor.1` or `def`.
    pub rule: String,
    /// `match`, `ip-option` and so on.
    pub reason: &'static str,
    /// `pass`, `block` or `match`.
    pub action: &'static str,
    /// `in` or `out`.
    pub direction: &'static str,
    /// Interface.
    pub interface: String,
    /// The packet as tcpdump prints it.
    pub packet: String,
}

impl LoggedPacket {
    fn number(&self, at: usize) -> u32 {
        let bytes = self.header.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(NO_RULE, u32::from_be_bytes)
    }

    fn name(&self, at: usize) -> String {
        let bytes = self.header.iter().skip(at).take(16);
        bytes
            .take_while(|b| **b != 0)
            .map(|b| char::from(*b))
            .collect()
    }

    fn byte(&self, at: usize) -> u8 {
        self.header.get(at).copied().unwrap_or_default()
    }

    /// The number of the rule as tcpdump writes it.
    fn rule(&self) -> String {
        let number = |n: u32| match n {
            NO_RULE => "def".to_string(),
            n => n.to_string(),
        };
        let (nr, sub) = (self.number(36), self.number(40));
        match self.name(20).as_str() {
            "" => number(nr),
            anchor => format!("{}.{anchor}.{}", number(nr), number(sub)),
        }
    }

    /// In words.
    pub fn view(&self) -> LoggedView {
        let reason = filter::Reason::ALL.get(usize::from(self.byte(3)));
        LoggedView {
            serial: self.serial,
            time_ms: self.time_ms,
            log: format!("pflog{}", self.to),
            rule: self.rule(),
            reason: reason.map_or("unknown", |r| r.name()),
            action: match self.byte(2) {
                0 => "pass",
                12 => "match",
                _ => "block",
            },
            direction: if self.byte(60) == 1 { "in" } else { "out" },
            interface: self.name(4),
            packet: wire::print::Ip(&self.bytes).to_string(),
        }
    }
}

impl LoggedView {
    /// `rule 3/(match) block in on em0: `
    pub fn head(&self) -> String {
        format!(
            "rule {}/({}) {} {} on {}: ",
            self.rule, self.reason, self.action, self.direction, self.interface
        )
    }
}

/// A capture file, such as tcpdump and Wireshark read.
pub fn pcap<'a>(records: impl IntoIterator<Item = &'a LoggedPacket>) -> Vec<u8> {
    /// Times in microseconds.
    const MAGIC: u32 = 0xa1b2_c3d4;
    let mut out = Vec::new();
    let mut put = |values: &[u32]| out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    // Version 2.4.
    put(&[MAGIC, 4 << 16 | 2, 0, 0, u32::from(u16::MAX), DLT_PFLOG]);
    for record in records {
        let kept = record.header.len() + record.bytes.len();
        let whole = record.header.len() + usize::from(record.len);
        let seconds = (record.time_ms / 1000) as u32;
        let micros = (record.time_ms % 1000 * 1000) as u32;
        for value in [seconds, micros, kept as u32, whole as u32] {
            out.extend(value.to_le_bytes());
        }
        out.extend(&record.header);
        out.extend(&record.bytes);
    }
    out
}

impl Control {
    /// Takes what workers have logged.
    pub(crate) fn drain_log(&mut self) {
        let (now_ms, wall_ms) = (self.clock.now_ms(), self.clock.wall_ms());
        let log = &mut self.pflog;
        self.fleet
            .drain_log(|record| log.add(&record, wall_ms.saturating_sub(now_ms)));
    }

    pub(crate) fn logged_since(&mut self, since: u64) -> (Vec<LoggedPacket>, u64) {
        self.drain_log();
        let log = &self.pflog;
        let new = log.records.iter().filter(|r| r.serial >= since);
        (new.cloned().collect(), log.next)
    }
}

impl PfLog {
    fn add(&mut self, record: &LogRecord, epoch_ms: u64) {
        if self.records.len() == RECORDS_MAX {
            self.records.pop_front();
        }
        self.records.push_back(LoggedPacket {
            serial: self.next,
            time_ms: epoch_ms + record.now_ms,
            to: record.to,
            len: record.len,
            header: record.header.to_vec(),
            bytes: record.bytes[..usize::from(record.kept)].to_vec(),
        });
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_tcpdump_writes_it_and_old_ones_make_room() {
        let mut record = LogRecord {
            now_ms: 1500,
            to: 2,
            kept: 28,
            len: 400,
            header: [0; filter::pflog::PFLOG_HEADER],
            bytes: [0; worker::LOG_SNAPLEN],
        };
        record.header[0] = 100;
        record.header[2] = 1;
        record.header[4..7].copy_from_slice(b"em0");
        record.header[20..23].copy_from_slice(b"foo");
        record.header[39] = 3;
        record.header[43] = 1;
        record.header[60] = 1;
        let mut log = PfLog::default();
        for _ in 0..=RECORDS_MAX {
            log.add(&record, 1_000_000_000_000);
        }
        assert_eq!(log.records.len(), RECORDS_MAX);
        assert_eq!(log.records[0].serial, 1);
        let view = log.records[0].view();
        assert_eq!(view.head(), "rule 3.foo.1/(match) block in on em0: ");
        assert_eq!(
            (view.log.as_str(), view.time_ms),
            ("pflog2", 1_000_000_001_500)
        );
        let file = pcap(log.records.iter().take(1));
        assert_eq!(file.len(), 24 + 16 + 100 + 28);
        assert_eq!(file[20..24], [117, 0, 0, 0]);
        assert_eq!(file[36..40], 500u32.to_le_bytes());
    }
}
