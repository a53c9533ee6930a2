//! Owns HTTP as tests need it: one honest request, and sockets for dishonest ones.
//!
//! Read first: RFC 9112.

use crate::{Context, Failure, Namespace, PATIENCE, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// With a leading slash.
    pub path: &'a str,
    /// Bearer token.
    pub token: Option<&'a str>,
    /// More header lines, each with its line end.
    pub lines: &'a str,
    /// Body.
    pub body: &'a [u8],
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            method: "GET",
            path: "/v1/status",
            token: None,
            lines: "",
            body: &[],
        }
    }
}

/// An answer.
#[derive(Clone)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Status line and header lines.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.status, self.text())
    }
}

impl Reply {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let shown = || {
            Failure(format!(
                "no HTTP answer: {:?}",
                String::from_utf8_lossy(bytes)
            ))
        };
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .ok_or_else(shown)?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok(Self {
            status: status.ok_or_else(shown)?,
            head,
            body: bytes[end + 4..].to_vec(),
        })
    }
}

impl Request<'_> {
    fn bytes(&self) -> Vec<u8> {
        let token = self
            .token
            .map(|token| format!("Authorization: Bearer {token}\r\n"));
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: fugu\r\nConnection: close\r\n{}{}",
            self.method,
            self.path,
            token.unwrap_or_default(),
            self.lines
        );
        if self.method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), self.body].concat()
    }

    /// Sends it from a host and reads the answer to the end of the connection.
    ///
    /// # Errors
    /// When there is no answer. A server may answer before it has read everything and close: that counts.
    pub fn send(&self, from: &Namespace, to: SocketAddr) -> Result<Reply> {
        exchange(&mut connect(from, to)?, &self.bytes())
    }
}

/// Connects from a host.
///
/// # Errors
/// When the connection is refused or not answered.
pub fn connect(from: &Namespace, to: SocketAddr) -> Result<TcpStream> {
    let stream = from.inside(|| TcpStream::connect_timeout(&to, PATIENCE).context(to))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Writes bytes and reads the answer to the end of the connection.
///
/// # Errors
/// When there is no answer.
pub fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> Result<Reply> {
    // Reset while we still write: the answer may have come before.
    let written = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut piece = [0; 16384];
    let ended = loop {
        match stream.read(&mut piece) {
            Ok(0) => break Ok(()),
            Ok(n) => answer.extend_from_slice(&piece[..n]),
            Err(error) => break Err(error),
        }
    };
    if answer.is_empty() {
        return Err(Failure(format!("no answer: {written:?}, {ended:?}")));
    }
    Reply::parse(&answer)
}
