//! The program's logger: every line goes into the ring that the console and the API show, and to whoever prints it. Any
//! thread may log; the control thread alone writes to a console, so lines and prompts do not garble each other.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use control::log_ring::LogRing;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::clock::SystemClock;

/// Lines waiting to be printed; more are only kept in the ring.
const WAITING_MAX: usize = 256;

struct Logger {
    ring: LogRing,
    printer: SyncSender<String>,
    clock: SystemClock,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Installs it, once per process. The receiver gets every line to print.
pub(crate) fn install(clock: SystemClock) -> (LogRing, Receiver<String>) {
    let ring = LogRing::default();
    let (printer, lines) = sync_channel(WAITING_MAX);
    let logger = Logger {
        ring: ring.clone(),
        printer,
        clock,
    };
    if LOGGER.set(logger).is_ok()
        && let Some(logger) = LOGGER.get()
        && log::set_logger(logger).is_ok()
    {
        log::set_max_level(LevelFilter::Info);
    }
    (ring, lines)
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // DPDK tells its whole life at level info.
        let most = if metadata.target() == dpdk::eal::LOG_TARGET {
            Level::Warn
        } else {
            Level::Info
        };
        metadata.level() <= most
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let word = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            _ => "",
        };
        let at = self.clock.now();
        let (s, ms) = (at.as_secs(), at.subsec_millis());
        let line = format!("[{s:5}.{ms:03}] {word}{}", record.args());
        self.ring.push(&line);
        // Full: the console is slower than the log; the ring has the line.
        self.printer.try_send(line).ok();
    }

    fn flush(&self) {}
}
