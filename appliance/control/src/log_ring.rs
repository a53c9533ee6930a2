//! The last log lines, for the console and `GET /v1/log`. Written by the program's logger from any thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Lines kept.
pub const LINES_MAX: usize = 500;
/// Characters of a line kept.
pub const LINE_CHARS_MAX: usize = 400;

/// A shared ring of lines. Clones are the same ring.
#[derive(Clone, Default, Debug)]
pub struct LogRing(Arc<Mutex<VecDeque<String>>>);

impl LogRing {
    /// Adds a line. Control characters become spaces: a line from outside must not move the cursor of a console.
    pub fn push(&self, line: &str) {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let line: String = line.chars().take(LINE_CHARS_MAX).map(clean).collect();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// All lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_make_room_and_control_characters_do_not_get_in() {
        let ring = LogRing::default();
        for n in 0..=LINES_MAX {
            ring.push(&format!("{n}\x1b[2J"));
        }
        let lines = ring.lines();
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!(
            (lines[0].as_str(), lines[LINES_MAX - 1].as_str()),
            ("1 [2J", "500 [2J")
        );
        ring.push(&"x".repeat(10_000));
        assert_eq!(ring.lines()[LINES_MAX - 1].len(), LINE_CHARS_MAX);
    }
}
