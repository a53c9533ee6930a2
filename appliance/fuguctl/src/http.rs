//! As much of an HTTP/1.1 client as `push` and `status` need (RFC 9112): one request per connection, every wait and every
//! length limited. A body waits for `100 Continue`, so that an appliance can refuse it before it is sent.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For one whole exchange: the appliance compiles a ruleset in between.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server that does not know `Expect` is waited for (RFC 9110 section 10.1.1).
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of an answer's head.
const HEAD_LIMIT: usize = 64 << 10;

/// Bytes of an answer's body.
const BODY_LIMIT: usize = 16 << 20;

/// Bodies up to this size go along with the head.
const SMALL_BODY: usize = 1024;

/// `http://HOST[:PORT]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Url {
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

impl Url {
    /// Reads a URL; the error is a sentence.
    pub(crate) fn parse(text: &str) -> Result<Url, String> {
        if text.starts_with("https://") {
            return Err(format!("{text}: https is not supported yet"));
        }
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(|| format!("{text}: a URL begins with http://"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c);
        if authority.contains(odd) {
            return Err(format!("{text}: only http://HOST[:PORT] is understood"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| {
            format!(
                "{text}: only http://HOST[:PORT] is understood; an IPv6 address stands in brackets"
            )
        })?;
        let port = match port {
            None => Some(80),
            Some(digits) => digits.parse().ok().filter(|port| *port != 0),
        };
        match port {
            Some(port) if !host.is_empty() => Ok(Url {
                host: host.to_string(),
                port,
            }),
            Some(_) => Err(format!("{text}: the host is missing")),
            None => Err(format!("{text}: not a port")),
        }
    }
}

/// Host and the digits of the port. `None` for an IPv6 address without brackets, and other nonsense.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    match rest.strip_prefix(':') {
        Some(port) if !port.contains(':') => Some((host, Some(port))),
        None if rest.is_empty() => Some((host, None)),
        _ => None,
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "http://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "http://{}:{}", self.host, self.port)
        }
    }
}

/// What to ask.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// One request and its answer; the error is a sentence.
pub(crate) fn exchange(url: &Url, request: &Request<'_>) -> Result<Answer, String> {
    let stream = connect(url)?;
    let mut connection = Connection {
        stream,
        deadline: Instant::now() + EXCHANGE_TIMEOUT,
        input: Vec::new(),
    };
    connection
        .exchange(url, request)
        .map_err(|error| format!("{url}: {}", said(&error)))
}

fn connect(url: &Url) -> Result<TcpStream, String> {
    let addresses = (url.host.as_str(), url.port)
        .to_socket_addrs()
        .map_err(|error| format!("{url}: {error}"))?;
    let mut last = "no address".to_string();
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = said(&error),
        }
    }
    Err(format!("{url}: {last}"))
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_string(),
        ErrorKind::UnexpectedEof => "the connection was closed before the answer".to_string(),
        _ => error.to_string(),
    }
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        format!("not an HTTP answer: {text}"),
    )
}

/// A connection with a deadline, and what has been read beyond what was used.
struct Connection {
    stream: TcpStream,
    deadline: Instant,
    input: Vec<u8>,
}

impl Connection {
    fn exchange(&mut self, url: &Url, request: &Request<'_>) -> io::Result<Answer> {
        self.stream.set_nodelay(true)?;
        self.stream.set_write_timeout(Some(EXCHANGE_TIMEOUT))?;
        let asks_first = request.body.len() > SMALL_BODY;
        self.stream
            .write_all(head(url, request, asks_first).as_bytes())?;
        if asks_first && let Some(answer) = self.permission()? {
            return Ok(answer);
        }
        let sent = self.stream.write_all(request.body);
        // A server that refuses midway closes; its answer says more than our broken pipe.
        match (self.answer(), sent) {
            (Err(_), Err(error)) => Err(error),
            (answer, _) => answer,
        }
    }

    /// Waits for `100 Continue`; anything else final is the answer. A server that says nothing gets the body anyway.
    fn permission(&mut self) -> io::Result<Option<Answer>> {
        let deadline = self.deadline;
        self.deadline = Instant::now() + CONTINUE_TIMEOUT;
        let head = self.head();
        self.deadline = deadline;
        match head {
            Ok(head) if head.status == 100 => Ok(None),
            Ok(head) => self.body(head).map(Some),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn answer(&mut self) -> io::Result<Answer> {
        loop {
            let head = self.head()?;
            // A late 100 Continue, or another interim answer.
            if !(100..200).contains(&head.status) {
                return self.body(head);
            }
        }
    }

    /// Reads more; `false` at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut buffer = [0; 16 << 10];
        let n = self.stream.read(&mut buffer)?;
        self.input.extend_from_slice(&buffer[..n]);
        Ok(n > 0)
    }

    fn head(&mut self) -> io::Result<Head> {
        loop {
            let end = self.input.windows(4).position(|w| w == b"\r\n\r\n");
            if let Some(end) = end {
                let rest = self.input.split_off(end + 4);
                let head = std::mem::replace(&mut self.input, rest);
                return Head::parse(&head[..end]);
            }
            if self.input.len() > HEAD_LIMIT {
                return Err(malformed("the head is too long"));
            }
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn body(&mut self, head: Head) -> io::Result<Answer> {
        let body = match head.length {
            Length::Known(length) if length > BODY_LIMIT => return Err(malformed("too long")),
            Length::Known(length) => self.take(length)?,
            Length::Chunked => self.chunks()?,
            Length::UntilClosed => self.until_closed()?,
        };
        Ok(Answer {
            status: head.status,
            body,
        })
    }

    /// Exactly `length` bytes.
    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.input.len() < length {
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.input.split_off(length);
        Ok(std::mem::replace(&mut self.input, rest))
    }

    fn until_closed(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {
            if self.input.len() > BODY_LIMIT {
                return Err(malformed("too long"));
            }
        }
        Ok(std::mem::take(&mut self.input))
    }

    /// RFC 9112 section 7.1; what follows the last chunk is of no interest, the connection ends.
    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| malformed("a bad chunk"))?;
            if size == 0 {
                return Ok(body);
            }
            if size > BODY_LIMIT - body.len() {
                return Err(malformed("too long"));
            }
            body.extend(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err(malformed("a bad chunk"));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        const LINE_LIMIT: usize = 1024;
        loop {
            if let Some(end) = self.input.windows(2).position(|w| w == b"\r\n") {
                let line = self.take(end + 2)?;
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.input.len() > LINE_LIMIT {
                return Err(malformed("a bad chunk"));
            }
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn head(url: &Url, request: &Request<'_>, asks_first: bool) -> String {
    let host = url.to_string();
    let host = host.trim_start_matches("http://");
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fuguctl/{}\r\nConnection: close\r\n",
        request.method,
        request.path,
        env!("CARGO_PKG_VERSION")
    );
    if let Some(token) = request.token {
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    if request.method == "PUT" {
        let length = request.body.len();
        head.push_str(&format!(
            "Content-Type: application/gzip\r\nContent-Length: {length}\r\n"
        ));
    }
    if asks_first {
        head.push_str("Expect: 100-continue\r\n");
    }
    head.push_str("\r\n");
    head
}

/// How the end of a body is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Length {
    Known(usize),
    Chunked,
    UntilClosed,
}

/// What of an answer's head matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    status: u16,
    length: Length,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Head> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1."))
            .and_then(|rest| rest.get(2..5))
            .and_then(|digits| digits.parse().ok())
            .filter(|status| (100..600).contains(status))
            .ok_or_else(|| malformed("no status line"))?;
        let mut length = match status {
            100..200 | 204 | 304 => Length::Known(0),
            _ => Length::UntilClosed,
        };
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed("a bad header"))?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let known = value.parse().map_err(|_| malformed("a bad length"))?;
                length = Length::Known(known);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::Chunked;
                break;
            }
        }
        Ok(Head { status, length })
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
