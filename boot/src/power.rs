//! Owns the end: restart, power off, and the power button.
//!
//! Read first: reboot(2), the kernel's `Documentation/input/input.rst`. Nothing is synced: what must be on the disk was
//! flushed when it was written.

use rustix::system::{RebootCommand, reboot as reboot_call};
use std::fs::File;
use std::io::Read;

/// Restarts the machine. As a plain process, exits.
pub fn reboot() -> ! {
    end(RebootCommand::Restart)
}

/// Switches the machine off. As a plain process, exits.
pub fn halt() -> ! {
    end(RebootCommand::PowerOff)
}

fn end(command: RebootCommand) -> ! {
    if std::process::id() == 1 {
        if let Err(error) = reboot_call(command) {
            eprintln!("fugu: the kernel refuses: {error}\r");
        }
        // Process 1 must not return while the kernel goes down; if it refused, the watchdog has the last word.
        loop {
            std::thread::park();
        }
    }
    std::process::exit(0)
}

/// The ACPI power button (also what a hypervisor presses for "shut down").
#[derive(Debug)]
pub struct Button {
    events: File,
}

/// `struct input_event`: two words of time, type, code, value.
const EVENT_BYTES: usize = 24;
const EVENT_KEY: u16 = 1;
const KEY_POWER: u16 = 116;

impl Button {
    /// Finds and opens it. None: this machine has none.
    #[must_use]
    pub fn open() -> Option<Self> {
        let inputs = std::fs::read_dir("/sys/class/input").ok()?;
        for input in inputs.flatten() {
            let name =
                std::fs::read_to_string(input.path().join("device/name")).unwrap_or_default();
            let file = input.file_name();
            if name.trim() == "Power Button" && file.to_string_lossy().starts_with("event") {
                let events = File::open(std::path::Path::new("/dev/input").join(file)).ok()?;
                return Some(Self { events });
            }
        }
        None
    }

    /// Waits until it is pressed. False: it is gone and will not be pressed any more.
    pub fn wait(&mut self) -> bool {
        let mut event = [0; EVENT_BYTES];
        while self.events.read_exact(&mut event).is_ok() {
            if is_press(&event) {
                return true;
            }
        }
        false
    }
}

fn is_press(event: &[u8; EVENT_BYTES]) -> bool {
    let half = |at: usize| u16::from_le_bytes([event[at], event[at + 1]]);
    half(16) == EVENT_KEY && half(18) == KEY_POWER && event[20] == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pressing_the_power_key_counts() {
        let event = |kind: u16, code: u16, value: u8| {
            let mut bytes = [0; EVENT_BYTES];
            bytes[16..18].copy_from_slice(&kind.to_le_bytes());
            bytes[18..20].copy_from_slice(&code.to_le_bytes());
            bytes[20] = value;
            is_press(&bytes)
        };
        assert!(event(1, 116, 1));
        assert!(!event(1, 116, 0), "released");
        assert!(!event(1, 30, 1), "another key");
        assert!(!event(0, 0, 0), "end of a report");
    }
}
