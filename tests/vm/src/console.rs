//! Owns the serial line: what the machine printed, what a person would wait for, and typing.
//!
//! It may not know what is on the other end. Escape sequences and carriage returns are removed from what is
//! compared, since a person sees text; the raw bytes go to the log file.

use crate::{Context, Failure, Result};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of output shown with a failed expectation.
const SHOWN_LINES: usize = 25;

/// What a full page ends with.
const PAGER: &str = "--More--";

/// Everything printed so far, filled by a thread of its own.
#[derive(Default, Debug)]
struct Screen {
    text: Mutex<Text>,
    news: Condvar,
    /// Copy everything to our own standard output, as it is.
    mirrored: AtomicBool,
}

#[derive(Default, Debug)]
struct Text {
    seen: String,
    closed: bool,
}

/// One serial line.
#[derive(Debug)]
pub struct Console {
    line: UnixStream,
    screen: Arc<Screen>,
    /// Up to here [`Console::expect`] has read.
    read: usize,
}

impl Console {
    pub(crate) fn new(line: UnixStream, log: &Path) -> Result<Self> {
        let screen = Arc::new(Screen::default());
        let input = line.try_clone().context("console")?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .context(log.display())?;
        let filled = Arc::clone(&screen);
        std::thread::spawn(move || fill(&filled, input, log));
        Ok(Self {
            line,
            screen,
            read: 0,
        })
    }

    /// Waits until `wanted` is printed after what was expected before; gives the text up to its end.
    ///
    /// # Errors
    /// After `patience`, or when the machine has gone; with the last lines it printed.
    pub fn expect(&mut self, wanted: &str, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        let screen = Arc::clone(&self.screen);
        let mut text = screen.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(at) = text.seen[self.read..].find(wanted) {
                let end = self.read + at + wanted.len();
                let passed = text.seen[self.read..end].to_owned();
                self.read = end;
                return Ok(passed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || text.closed {
                let why = if text.closed {
                    "the machine has gone"
                } else {
                    "nothing like it"
                };
                let last = last_lines(&text.seen);
                return Err(Failure(format!(
                    "expected \"{wanted}\" within {patience:?}: {why}; last lines:\n{last}"
                )));
            }
            text = screen
                .news
                .wait_timeout(text, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Types `text` and the return key.
    ///
    /// # Errors
    /// When the machine has gone.
    pub fn type_line(&mut self, text: &str) -> Result<()> {
        self.type_text(&format!("{text}\r"))
    }

    /// Types `text` as it is.
    ///
    /// # Errors
    /// When the machine has gone.
    pub fn type_text(&mut self, text: &str) -> Result<()> {
        self.line.write_all(text.as_bytes()).context("console")
    }

    /// All that was printed so far.
    #[must_use]
    pub fn seen(&self) -> String {
        self.screen
            .text
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .seen
            .clone()
    }

    /// Forgets what was printed before: the next expectation looks only at what comes now.
    pub fn forget(&mut self) {
        self.read = self
            .screen
            .text
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .seen
            .len();
    }

    /// Types `command` and gives what is printed until nothing more comes for half a second. A pager gets its space bar.
    ///
    /// # Errors
    /// When nothing at all is printed within `patience`, or the machine has gone.
    pub fn ask(&mut self, command: &str, patience: Duration) -> Result<String> {
        const QUIET: Duration = Duration::from_millis(500);
        self.forget();
        let from = self.read;
        self.type_line(command)?;
        // The echo ends with a new line; without one nobody is listening.
        self.expect(
            "
", patience,
        )?;
        let mut length = 0;
        while self.seen().len() > length {
            length = self.seen().len();
            std::thread::sleep(QUIET);
            if self.seen().trim_end().ends_with(PAGER) {
                self.type_text(" ")?;
                std::thread::sleep(QUIET);
            }
        }
        self.forget();
        Ok(self.seen()[from..].replace(PAGER, "").to_owned())
    }

    /// Connects a person's terminal: prints everything as it comes, and types what is read from `input` until it
    /// ends or gives `escape`.
    ///
    /// # Errors
    /// When the machine has gone.
    pub fn attach(&mut self, input: &mut dyn Read, escape: u8) -> Result<()> {
        self.screen.mirrored.store(true, Ordering::Relaxed);
        let mut byte = [0];
        while matches!(input.read(&mut byte), Ok(1)) && byte[0] != escape {
            self.line.write_all(&byte).context("console")?;
        }
        self.screen.mirrored.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Ends the reading thread; the other end may be gone already.
        self.line.shutdown(std::net::Shutdown::Both).ok();
    }
}

fn fill(screen: &Screen, mut input: UnixStream, mut log: std::fs::File) {
    let mut clean = Cleaner::default();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = input.read(&mut bytes) {
        // Neither the log nor a terminal that is gone may stop a test.
        log.write_all(&bytes[..count]).ok();
        if screen.mirrored.load(Ordering::Relaxed) {
            let mut out = std::io::stdout().lock();
            out.write_all(&bytes[..count])
                .and_then(|()| out.flush())
                .ok();
        }
        let mut text = screen.text.lock().unwrap_or_else(PoisonError::into_inner);
        bytes[..count]
            .iter()
            .filter_map(|byte| clean.step(*byte))
            .for_each(|letter| text.seen.push(letter));
        screen.news.notify_all();
    }
    screen
        .text
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .closed = true;
    screen.news.notify_all();
}

/// Removes carriage returns and escape sequences (ECMA-48: ESC, and ESC [ … final byte).
#[derive(Default)]
enum Cleaner {
    #[default]
    Text,
    Escape,
    Sequence,
}

impl Cleaner {
    fn step(&mut self, byte: u8) -> Option<char> {
        match (&self, byte) {
            (Self::Text, 0x1b) => *self = Self::Escape,
            (Self::Text, b'\n' | b'\t' | 0x20..=0x7e) => return Some(byte as char),
            (Self::Text, 0x80..) => return Some('?'),
            (Self::Text, _) => {}
            (Self::Escape, b'[') => *self = Self::Sequence,
            (Self::Escape, _) | (Self::Sequence, 0x40..=0x7e) => *self = Self::Text,
            (Self::Sequence, _) => {}
        }
        None
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    lines[from..]
        .iter()
        .map(|line| format!("  | {}\n", line.trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(bytes: &[u8]) -> String {
        let mut cleaner = Cleaner::default();
        bytes
            .iter()
            .filter_map(|byte| cleaner.step(*byte))
            .collect()
    }

    #[test]
    fn a_person_sees_text_without_escapes() {
        assert_eq!(
            clean(b"\x1b[2J\x1b[01;01Hforw\x1b[0marding\r\n\x1bcx\x07"),
            "forwarding\nx"
        );
    }

    #[test]
    fn expectations_are_met_in_order_and_time_out_with_the_last_lines() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let log = std::env::temp_dir().join(crate::scratch::unique("fugu-console-"));
        let mut console = Console::new(near, &log).unwrap();
        far.write_all(b"one two\r\nthree\r\n").unwrap();
        assert_eq!(
            console.expect("two", Duration::from_secs(5)).unwrap(),
            "one two"
        );
        let refused = console
            .expect("one", Duration::from_millis(50))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("three"), "{refused}");
        console.expect("three", Duration::from_secs(5)).unwrap();
        console.type_line("help").unwrap();
        let mut typed = [0; 5];
        far.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"help\r");
        drop(far);
        let gone = console
            .expect("four", Duration::from_secs(60))
            .unwrap_err()
            .to_string();
        assert!(gone.contains("has gone"), "{gone}");
        std::fs::remove_file(log).unwrap();
    }
}
