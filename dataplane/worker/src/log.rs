//! Logged packets on their way to the control core. A full ring costs a counted record, never a wait.

use filter::PacketDesc;
use filter::notes::Seen;
use filter::pflog::{self, PFLOG_HEADER, Place};
use net::InterfaceId;
use nic::Nic;
use ruleset::Direction;

use crate::turn::Worker;

/// Bytes of a logged packet that are kept, from its IP header on.
pub const LOG_SNAPLEN: usize = 160;

/// A packet as pflog shows it.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// When, in milliseconds since start.
    pub now_ms: u64,
    /// Number of the pflog interface.
    pub to: u8,
    /// Bytes of the packet that were kept.
    pub kept: u8,
    /// Bytes of the IP packet.
    pub len: u16,
    /// See [`filter::pflog`].
    pub header: [u8; PFLOG_HEADER],
    /// The first bytes of the packet, as it was before translation.
    pub bytes: [u8; LOG_SNAPLEN],
}

const _: () = assert!(LOG_SNAPLEN <= u8::MAX as usize);

/// A packet as it was before rules changed it.
pub(crate) struct Before {
    seen: Seen,
    kept: u8,
    bytes: [u8; LOG_SNAPLEN],
}

impl Before {
    pub(crate) fn new() -> Self {
        Before {
            seen: Seen::in_header(&PacketDesc::default()),
            kept: 0,
            bytes: [0; LOG_SNAPLEN],
        }
    }

    /// Keeps what a record would show.
    pub(crate) fn keep(&mut self, frame: &[u8], pd: &PacketDesc) {
        let packet = frame.get(usize::from(pd.ip_at)..).unwrap_or(&[]);
        let kept = packet.len().min(usize::from(pd.ip_len)).min(LOG_SNAPLEN);
        self.bytes[..kept].copy_from_slice(&packet[..kept]);
        self.bytes[kept..].fill(0);
        self.kept = kept as u8;
        self.seen = Seen::in_header(pd);
    }
}

impl<N: Nic> Worker<N> {
    /// Sends what rules logged of the packet that was just screened on `interface`.
    #[cold]
    pub(crate) fn send_log(
        &mut self,
        interface: InterfaceId,
        direction: Direction,
        len: u16,
        now_ms: u64,
    ) {
        let name = self.config.interfaces.get(interface);
        let place = Place {
            interface: name.map_or("", |i| &i.name),
            direction,
            before: self.before.seen,
        };
        let mut lost = u64::from(self.notes.unlogged);
        for logged in &self.notes.logged {
            let record = LogRecord {
                now_ms,
                to: logged.to,
                kept: self.before.kept,
                len,
                header: pflog::header(&self.config.ruleset, &place, logged),
                bytes: self.before.bytes,
            };
            lost += u64::from(self.ends.log.push(record).is_err());
        }
        let all = self.notes.logged.len() as u64 + u64::from(self.notes.unlogged);
        self.counters.logged.add(all - lost);
        self.counters.log_lost.add(lost);
    }
}
