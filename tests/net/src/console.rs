//! Owns what a person does at the console of the program: a connection, one command, what it printed.
//!
//! While the connection lasts, the program's messages go there, and not into its log; so it is short.

use crate::{Context, Failure, PATIENCE, Result};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A word that is typed after the command: its echo comes when the command has printed everything.
const AFTER: &str = "that-was-all";
/// Between two looks.
const TURN: Duration = Duration::from_millis(200);

/// Types a command and gives the lines that it printed.
///
/// # Errors
/// When nobody is there, or it does not come to an end.
pub(crate) fn ask(socket: &Path, command: &str) -> Result<Vec<String>> {
    let mut line = UnixStream::connect(socket).context(socket.display())?;
    line.set_read_timeout(Some(TURN))?;
    for words in ["pager off", command, AFTER] {
        line.write_all(format!("{words}\r").as_bytes())?;
    }
    let (mut bytes, mut piece) = (Vec::new(), [0; 16384]);
    for _ in 0..PATIENCE.as_millis() / TURN.as_millis() {
        match line.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
            Err(_) => continue,
        }
        let text = plain(&bytes);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let of = |words: &str| lines.iter().position(|line| line.ends_with(words));
        if let Some((from, to)) = of(command).zip(of(AFTER)) {
            let printed = lines.get(from + 1..to).unwrap_or_default();
            return Ok(printed.iter().map(ToString::to_string).collect());
        }
    }
    Err(Failure(format!("{command}: {}", plain(&bytes))))
}

/// Without the sequences that move a terminal's cursor (ECMA-48 5.4).
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\x1b' if rest.next() == Some('[') => {
                rest.find(|c| ('@'..='~').contains(c));
            }
            '\x1b' => {}
            // Back to the beginning: what follows is painted over what was there.
            '\r' => {
                let begin = out.rfind('\n').map_or(0, |at| at + 1);
                if rest.as_str().starts_with('\n') {
                    continue;
                }
                out.truncate(begin);
            }
            letter => out.push(letter),
        }
    }
    out
}
