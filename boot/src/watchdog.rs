//! Owns the watchdog: a timer in the chipset (or, failing that, in the kernel) that restarts the box when nobody kicks it.
//!
//! It may not know who kicks. Read first: the kernel's `Documentation/watchdog/watchdog-api.rst`. The kernel is built with
//! `WATCHDOG_NOWAYOUT`: once opened it runs until the restart, also if this program dies.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Duration;

const DEVICE: &str = "/dev/watchdog";
const DESCRIPTION: &str = "/sys/class/watchdog/watchdog0";
/// Assumed when the driver does not say; the shortest default of those built in.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// The opened device.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
    timeout: Duration,
}

impl Watchdog {
    /// Tells it that all is well. Call at least every [`Watchdog::interval`].
    pub fn kick(&mut self) {
        // Any byte but `V` will do. A failure means it will bite, which is what it is for.
        if let Err(error) = self.device.write_all(b"\n") {
            log::warn!("watchdog: {error}");
        }
    }

    /// How often to kick: a third of its patience.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.timeout / 3
    }
}

/// Opens and so starts the watchdog.
pub(crate) fn open() -> (Option<Watchdog>, String) {
    let device = match OpenOptions::new().write(true).open(DEVICE) {
        Ok(device) => device,
        Err(error) => return (None, format!("none: {DEVICE}: {error}")),
    };
    let describe =
        |name: &str| std::fs::read_to_string(format!("{DESCRIPTION}/{name}")).unwrap_or_default();
    let timeout = describe("timeout")
        .trim()
        .parse()
        .map_or(TIMEOUT_DEFAULT, Duration::from_secs);
    let remark = format!(
        "{}, restarts the box after {} s of silence",
        describe("identity").trim(),
        timeout.as_secs()
    );
    (Some(Watchdog { device, timeout }), remark)
}
