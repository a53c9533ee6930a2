//! Owns the watchdogs: timers in the chipset and in the kernel that restart the box when nobody kicks them.
//!
//! It may not know who kicks. All of them are used, because some only look as if they worked (QEMU before 8.0 emulates
//! Intel's with the wire to the reset cut), and the kernel's own always works while the kernel does. Read first: the
//! kernel's `Documentation/watchdog/watchdog-api.rst`. The kernel is built with `WATCHDOG_NOWAYOUT`: once opened
//! they run until the restart, also if this program dies.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// More than any machine has.
const DEVICES_MAX: u32 = 4;
/// Assumed when the driver does not say; the shortest default of those built in.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// The opened devices.
#[derive(Debug)]
pub struct Watchdog {
    devices: Vec<File>,
    timeout: Duration,
}

impl Watchdog {
    /// Tells them that all is well. Call at least every [`Watchdog::interval`].
    pub fn kick(&mut self) {
        for device in &mut self.devices {
            // Any byte but `V` will do. A failure means it will bite, which is what it is for.
            if let Err(error) = device.write_all(b"\n") {
                log::warn!("watchdog: {error}");
            }
        }
    }

    /// How often to kick: a third of the least patient one's patience.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.timeout / 3
    }
}

/// Opens and so starts the watchdogs.
pub(crate) fn open() -> (Option<Watchdog>, String) {
    let mut watchdog = Watchdog {
        devices: Vec::new(),
        timeout: Duration::MAX,
    };
    let mut remarks = Vec::new();
    for nr in 0..DEVICES_MAX {
        let device = format!("/dev/watchdog{nr}");
        if !Path::new(&device).exists() {
            continue;
        }
        match OpenOptions::new().write(true).open(&device) {
            Ok(file) => {
                let (name, timeout) = describe(nr);
                watchdog.devices.push(file);
                watchdog.timeout = watchdog.timeout.min(timeout);
                remarks.push(format!(
                    "{name}, restarts the box after {} s of silence",
                    timeout.as_secs()
                ));
            }
            Err(error) => remarks.push(format!("{device}: {error}")),
        }
    }
    if watchdog.devices.is_empty() {
        remarks.push("none".into());
        return (None, remarks.join("\n"));
    }
    (Some(watchdog), remarks.join("\n"))
}

/// What the driver calls itself, and its patience.
fn describe(nr: u32) -> (String, Duration) {
    let path = format!("/sys/class/watchdog/watchdog{nr}");
    let read = |name: &str| std::fs::read_to_string(format!("{path}/{name}")).unwrap_or_default();
    let timeout = read("timeout")
        .trim()
        .parse()
        .map_or(TIMEOUT_DEFAULT, Duration::from_secs);
    (read("identity").trim().to_owned(), timeout)
}
