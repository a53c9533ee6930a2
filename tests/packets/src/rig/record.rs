//! The record of a rig: the frames on its wires, and the report of a test that fails, with a capture for a person to open.

use std::path::PathBuf;

use super::frames::{ip_len, piece_offset, shown, without_tags};
use super::{RECORD_MAX, Rig};
use crate::tally;

/// A frame on a wire, as the record has it.
pub(super) struct Recorded {
    now_ms: u64,
    port: usize,
    leaving: bool,
    frame: Vec<u8>,
}

/// A range of lengths that has this one in it as well.
pub(super) fn widened((low, high): (usize, usize), len: usize) -> (usize, usize) {
    (low.min(len), high.max(len))
}

impl Rig {
    pub(super) fn note(&mut self, port: usize, leaving: bool, frame: &[u8]) {
        let plain = without_tags(frame);
        if let Some(len) = ip_len(&plain) {
            self.lens = widened(self.lens, len);
            // Counters count what pieces are joined to.
            self.lens.1 = self.lens.1.max(len + piece_offset(&plain));
        }
        if self.record.len() == RECORD_MAX {
            self.record.pop_front();
        }
        self.record.push_back(Recorded {
            now_ms: self.now_ms,
            port,
            leaving,
            frame: frame.to_vec(),
        });
    }

    /// Panics unless `ok`, after writing the record where a person can open it.
    #[track_caller]
    pub(super) fn check(&self, ok: bool, message: impl FnOnce() -> String) {
        if !ok {
            self.fail(&message());
        }
    }

    #[track_caller]
    pub(super) fn fail(&self, message: &str) -> ! {
        let place = match self.write_record() {
            Ok(path) => format!("frames: {}", path.display()),
            Err(error) => format!("frames could not be written: {error}"),
        };
        let last: String = self
            .record
            .iter()
            .rev()
            .take(6)
            .rev()
            .map(|r| {
                let way = if r.leaving { ">" } else { "<" };
                let name = &self.topology.ports[r.port].name;
                format!("  {:>6} ms {name} {way} {}\n", r.now_ms, shown(&r.frame))
            })
            .collect();
        let changes = tally::written(&self.changes());
        panic!(
            "{message}\nchanges: {changes}\nunder {:?}, {place}\nlast frames:\n{last}",
            self.spread
        );
    }

    /// Writes all frames of the rig into a capture under the temporary directory.
    fn write_record(&self) -> std::io::Result<PathBuf> {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("rig").replace("::", "-");
        let path = std::env::temp_dir().join(format!("fugu-packets-{name}.pcap"));
        let file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        let mut out = simnic::capture::Writer::new(file)?;
        for (n, recorded) in self.record.iter().enumerate() {
            // A microsecond apart, so that viewers keep the order.
            out.write(
                recorded.now_ms * 1_000_000 + n as u64 * 1000,
                &recorded.frame,
            )?;
        }
        out.into_inner().into_inner()?;
        Ok(path)
    }
}
