//! Owns the machine's control connection: "QEMU Machine Protocol", one JSON object a line.
//!
//! Read first: "QEMU QMP Reference Manual".

use crate::{Context, Failure, Result};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// QEMU answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE)).context("QMP")?;
        let mut qmp = Self {
            stream: BufReader::new(stream),
        };
        qmp.line()?; // the greeting
        qmp.ask("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command; its "return" value.
    pub(crate) fn ask(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream.get_mut(), "{request}").context("QMP")?;
        loop {
            let mut answer = self.line()?;
            // Events come in between at any time; nobody here waits for one.
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                return Err(Failure(format!("QMP {command}: {error}")));
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).context("QMP")? == 0 {
            return Err(Failure("QEMU closed its control connection".into()));
        }
        serde_json::from_str(&line).context("QMP")
    }
}
