//! Owns what passes an interface of a host, as tcpdump prints it.

use crate::{Failure, Namespace, PATIENCE, Result, until};
use hosts::Running;
use std::time::Duration;

/// A packet that has not been printed after this will not come.
const QUIET: Duration = Duration::from_millis(500);

/// A running tcpdump; ends with the value.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Running,
}

impl Capture {
    /// Begins to look at what matches `filter` (pcap-filter(7)), link header and all.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn start(host: &Namespace, interface: &str, filter: &str) -> Result<Self> {
        let sockets =
            || -> Result<usize> { Ok(host.must("cat /proc/net/packet")?.lines().count()) };
        let before = sockets()?;
        let usual = "tcpdump --immediate-mode -lneqi";
        let words: Vec<&str> = usual.split(' ').chain([interface, filter]).collect();
        let tcpdump = host.spawn(&words)?;
        until("the socket of tcpdump", || {
            Ok((sockets()? > before).then_some(()))
        })?;
        Ok(Self { tcpdump })
    }

    /// The next packet.
    ///
    /// # Errors
    /// When none comes.
    pub fn wait(&mut self) -> Result<String> {
        self.tcpdump.read_line(PATIENCE)
    }

    /// All that have come and not been read.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.tcpdump.read_line(QUIET).ok()).collect()
    }

    /// The next packet whose line has `text` in it.
    ///
    /// # Errors
    /// When none comes.
    pub fn next_with(&mut self, text: &str) -> Result<String> {
        loop {
            let line = self.wait();
            let line =
                line.map_err(|failure| Failure(format!("a packet with {text}: {failure}")))?;
            if line.contains(text) {
                return Ok(line);
            }
        }
    }
}
