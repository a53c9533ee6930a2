//! HTTP/1.1, the server's side of one connection, over any stream of bytes: bytes and time in, requests and bytes out.
//! Strict: whatever is ambiguous (two lengths, a length and chunks, a folded header line) is refused, because a proxy in
//! front might read it differently. Every length has a limit and every wait a deadline.
//!
//! May not know routes, tokens or sockets. One request at a time: while one is being answered, [`Connection::feed`] takes
//! no bytes, so a client that pipelines is served in order and pays with its own send window.
//!
//! The states, and what moves them:
//!
//! ```text
//!   Head ──head complete──▶ Decide ──accept_body──▶ Body ──body complete──▶ Serve
//!    ▲  │                     │ respond               │ too large, bad chunk    │ respond
//!    │  └──malformed, late──┐ │                       ▼                         │
//!    └──answer sent, keep── Answer ◀─────────────────────────────────────────────┘
//!                             │ answer sent, close
//!                             ▼
//!                           Linger ──peer closed or late──▶ Closed
//! ```
//!
//! Read first: RFC 9112 (messages), RFC 9110 sections 10.1.1 (Expect) and 15 (status codes).

mod head;
mod input;

use std::time::Duration;

use self::head::parse;
use self::input::{Input, chunk_size};

/// Request line and header lines together, in bytes.
pub const HEAD_MAX: usize = 16 * 1024;
/// Header lines.
pub const HEADERS_MAX: usize = 64;
/// A line that gives the length of a chunk, extensions included.
const CHUNK_LINE_MAX: usize = 256;
/// Trailer lines after the last chunk.
const TRAILERS_MAX: usize = 4 * 1024;
/// Empty lines before a request line that are overlooked (RFC 9112 section 2.2).
const EMPTY_LINES_MAX: usize = 4;
/// Bytes that [`Connection::feed`] takes at once while a body comes in.
const FEED_MAX: usize = 64 * 1024;

/// Sizes and times one connection is held to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Body of a request in bytes.
    pub body: usize,
    /// From the first byte of a head, or from the start of the connection, to its last.
    pub head_time: Duration,
    /// Between two requests.
    pub idle_time: Duration,
    /// Without any byte of the body.
    pub body_stall: Duration,
    /// For a whole body.
    pub body_time: Duration,
    /// Without the peer taking any byte of an answer.
    pub answer_stall: Duration,
    /// After the last byte of the last answer, for the peer to close.
    pub linger_time: Duration,
}

impl Default for Limits {
    /// 16 MiB; 10 s for a head, 15 s idle, 10 s without a byte of a body, 5 minutes for all of it, 15 s without taking an answer.
    fn default() -> Self {
        Limits {
            body: 16 * 1024 * 1024,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(15),
            body_stall: Duration::from_secs(10),
            body_time: Duration::from_secs(300),
            answer_stall: Duration::from_secs(15),
            linger_time: Duration::from_secs(2),
        }
    }
}

/// How long the body of a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyLength {
    /// Neither a length nor chunks: no body.
    None,
    /// `Content-Length`.
    Known(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A request without its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// `GET`, `PUT`, …
    pub method: String,
    /// `/v1/states`, without the query.
    pub path: String,
    /// What follows `?`, or nothing.
    pub query: String,
    /// Value of `Authorization`.
    pub authorization: Option<String>,
    /// Length of the body to come.
    pub body: BodyLength,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The client wants the connection to stay.
    pub keep_alive: bool,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// More header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body; not sent for HEAD, but its length is.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer with a body.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Response {
            status,
            content_type,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// `{"error": text}`
    pub fn error(status: u16, text: &str) -> Self {
        let body = serde_json::json!({ "error": text }).to_string() + "\n";
        Response::new(status, "application/json", body)
    }

    /// The same with one more header field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What the caller has to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A head is complete: call [`Connection::accept_body`] or [`Connection::respond`].
    Head(Head),
    /// A body that was accepted is complete: call [`Connection::respond`].
    Body(Head, Vec<u8>),
}

enum State {
    Head,
    /// The head was reported (or is about to be); the caller decides.
    Decide(Head),
    Body(Head, Intake),
    Serve(Head),
    Answer {
        keep: bool,
    },
    Linger,
    Closed,
}

/// Where the next byte of a body belongs.
enum Intake {
    /// Bytes to come.
    Known(usize),
    ChunkSize,
    ChunkData(usize),
    /// The line end after a chunk.
    ChunkEnd,
    /// Trailer bytes seen so far.
    Trailers(usize),
}

/// One connection. See the file's documentation for its states.
pub struct Connection {
    limits: Limits,
    state: State,
    /// Bytes taken and not understood yet; at most [`HEAD_MAX`] + 1 in `Head`, otherwise [`FEED_MAX`].
    input: Input,
    /// Bytes of `input` that were searched for the end of a head.
    searched: usize,
    body: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    /// Set when a state begins whose event the caller has not seen.
    event_due: bool,
    /// False until the first byte of a request came.
    begun: bool,
    first: bool,
    since: Duration,
    progress: Duration,
}

/// Feeding and fetching.
impl Connection {
    /// A fresh connection.
    pub fn new(limits: Limits, now: Duration) -> Self {
        Connection {
            limits,
            state: State::Head,
            input: Input::default(),
            searched: 0,
            body: Vec::new(),
            output: Vec::new(),
            sent: 0,
            event_due: false,
            begun: false,
            first: true,
            since: now,
            progress: now,
        }
    }

    /// Takes bytes from the peer and says how many; the rest must be offered again later.
    pub fn feed(&mut self, bytes: &[u8], now: Duration) -> usize {
        let room = match self.state {
            // One more than is accepted, so that "too long" can be told from "just long enough".
            State::Head => HEAD_MAX + 1,
            State::Body(..) => FEED_MAX,
            State::Linger => return bytes.len(),
            State::Decide(_) | State::Serve(_) | State::Answer { .. } | State::Closed => 0,
        };
        let take = room
            .saturating_sub(self.input.bytes().len())
            .min(bytes.len());
        if take > 0 {
            self.input.extend(&bytes[..take]);
            self.progress = now;
            self.advance(now);
        }
        take
    }

    /// What has happened that the caller must decide, each once.
    pub fn event(&mut self) -> Option<Event> {
        if !std::mem::take(&mut self.event_due) {
            return None;
        }
        match &self.state {
            State::Decide(head) => Some(Event::Head(head.clone())),
            State::Serve(head) => Some(Event::Body(head.clone(), std::mem::take(&mut self.body))),
            _ => None,
        }
    }

    /// Bytes for the peer.
    pub fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// The peer was sent `n` bytes of [`Connection::output`].
    pub fn sent(&mut self, n: usize, now: Duration) {
        self.sent += n.min(self.output.len() - self.sent);
        if n > 0 {
            self.progress = now;
        }
        if self.sent < self.output.len() {
            return;
        }
        self.output = Vec::new();
        self.sent = 0;
        if let State::Answer { keep } = self.state {
            self.enter(if keep { State::Head } else { State::Linger }, now);
            self.advance(now);
        }
    }

    /// The peer will send no more. What is being answered is still answered.
    pub fn peer_closed(&mut self, now: Duration) {
        match &mut self.state {
            State::Answer { keep } => *keep = false,
            // A client that sends a request and closes its half wants the answer.
            State::Decide(_) | State::Serve(_) => {}
            State::Head | State::Body(..) | State::Linger | State::Closed => {
                self.enter(State::Closed, now);
            }
        }
    }

    /// True once nothing more is to be sent; the peer may still be sending what nobody will read.
    pub fn wants_close(&self) -> bool {
        matches!(self.state, State::Linger | State::Closed)
    }

    /// True once the connection can be forgotten.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// True while a request is being received beyond its head or answered.
    pub fn is_busy(&self) -> bool {
        matches!(self.state, State::Body(..) | State::Serve(_)) || !self.output.is_empty()
    }

    /// True while an accepted body comes in.
    pub fn receives_body(&self) -> bool {
        matches!(self.state, State::Body(..))
    }
}

/// Decisions of the caller.
impl Connection {
    /// The body may come. Only valid after [`Event::Head`]; otherwise ignored.
    pub fn accept_body(&mut self, now: Duration) {
        let head = match std::mem::replace(&mut self.state, State::Closed) {
            State::Decide(head) => head,
            other => {
                self.state = other;
                return;
            }
        };
        let intake = match head.body {
            BodyLength::None => Intake::Known(0),
            BodyLength::Known(n) => Intake::Known(usize::try_from(n).unwrap_or(usize::MAX)),
            BodyLength::Chunked => Intake::ChunkSize,
        };
        if let Intake::Known(n) = intake
            && n > self.limits.body
        {
            self.refuse(413, "the body is larger than the limit", now);
            return;
        }
        // Bytes of the body that came along with the head show that the client does not wait.
        if head.expects_continue && self.input.bytes().is_empty() {
            self.output
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.body = Vec::new();
        self.enter(State::Body(head, intake), now);
        self.advance(now);
    }

    /// Answers the request. Only valid after [`Event::Head`] or [`Event::Body`]; otherwise ignored.
    pub fn respond(&mut self, response: &Response, now: Duration) {
        let (head, body_unread) = match std::mem::replace(&mut self.state, State::Closed) {
            State::Decide(head) => {
                let unread = head.body != BodyLength::None && head.body != BodyLength::Known(0);
                (head, unread)
            }
            State::Serve(head) => (head, false),
            other => {
                self.state = other;
                return;
            }
        };
        // After an unread body nobody knows where the next request begins.
        let keep = head.keep_alive && !body_unread;
        self.write(response, keep, head.method != "HEAD");
        self.enter(State::Answer { keep }, now);
    }

    /// Answers something that is no request and ends.
    fn refuse(&mut self, status: u16, text: &str, now: Duration) {
        self.write(&Response::error(status, text), false, true);
        self.input = Input::default();
        self.body = Vec::new();
        self.enter(State::Answer { keep: false }, now);
    }

    fn write(&mut self, response: &Response, keep: bool, with_body: bool) {
        let status = response.status;
        let mut head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
            reason(status),
            response.content_type,
            response.body.len()
        );
        head += "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";
        for (name, value) in &response.headers {
            // Values hold no line ends; should one ever, it must not become a header of its own.
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            head += &format!("{name}: {value}\r\n");
        }
        head += if keep {
            "Connection: keep-alive\r\n\r\n"
        } else {
            "Connection: close\r\n\r\n"
        };
        self.output.extend_from_slice(head.as_bytes());
        if with_body {
            self.output.extend_from_slice(&response.body);
        }
    }
}

/// Time.
impl Connection {
    /// When [`Connection::expire`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        let l = &self.limits;
        match self.state {
            State::Head if self.begun || self.first => Some(self.since + l.head_time),
            State::Head => Some(self.since + l.idle_time),
            State::Body(..) => Some((self.progress + l.body_stall).min(self.since + l.body_time)),
            State::Answer { .. } => Some(self.progress + l.answer_stall),
            State::Linger => Some(self.since + l.linger_time),
            State::Decide(_) | State::Serve(_) | State::Closed => None,
        }
    }

    /// Ends what takes too long.
    pub fn expire(&mut self, now: Duration) {
        if self.deadline().is_none_or(|at| now < at) {
            return;
        }
        match self.state {
            State::Head if self.begun => self.refuse(408, "the request took too long", now),
            State::Body(..) => self.refuse(408, "the body took too long", now),
            _ => {
                self.output = Vec::new();
                self.sent = 0;
                self.enter(State::Closed, now);
            }
        }
    }
}

/// Reading.
impl Connection {
    fn enter(&mut self, state: State, now: Duration) {
        self.event_due = matches!(state, State::Decide(_) | State::Serve(_));
        if matches!(state, State::Head) {
            self.begun = false;
            self.first = false;
            self.searched = 0;
        }
        self.state = state;
        self.since = now;
        self.progress = now;
    }

    fn advance(&mut self, now: Duration) {
        match self.state {
            State::Head => self.read_head(now),
            State::Body(..) => self.read_body(now),
            _ => {}
        }
    }

    fn read_head(&mut self, now: Duration) {
        if !self.begun {
            self.skip_empty_lines();
            let Some(first) = self.input.bytes().first() else {
                return;
            };
            if !first.is_ascii_uppercase() {
                let text = match first {
                    0x16 => "this port speaks plain HTTP, not TLS",
                    _ => "this is no HTTP request",
                };
                self.refuse(400, text, now);
                return;
            }
            self.begun = true;
            self.since = now;
        }
        match self.head_length() {
            Some(len) if len <= HEAD_MAX => self.parse_head(len, now),
            None if self.input.bytes().len() <= HEAD_MAX => {}
            _ => {
                let text = format!("request line and headers are longer than {HEAD_MAX} bytes");
                self.refuse(431, &text, now);
            }
        }
    }

    fn skip_empty_lines(&mut self) {
        for _ in 0..EMPTY_LINES_MAX {
            if self.input.bytes().starts_with(b"\r\n") {
                self.input.consume(2);
            } else if self.input.bytes().starts_with(b"\n") {
                self.input.consume(1);
            }
        }
    }

    /// Length of the head with its empty line, if that has come. Looks at each byte once.
    fn head_length(&mut self) -> Option<usize> {
        let from = self.searched.saturating_sub(3);
        self.searched = self.input.bytes().len();
        let rest = &self.input.bytes()[from..];
        let end = rest.iter().enumerate().find_map(|(i, b)| {
            let after = &rest[i + 1..];
            match b {
                b'\n' if after.starts_with(b"\r\n") => Some(i + 3),
                b'\n' if after.starts_with(b"\n") => Some(i + 2),
                _ => None,
            }
        })?;
        Some(from + end)
    }

    fn parse_head(&mut self, len: usize, now: Duration) {
        let parsed = parse(&self.input.bytes()[..len]);
        self.input.consume(len);
        match parsed {
            Ok(head) => self.enter(State::Decide(head), now),
            Err((status, text)) => self.refuse(status, &text, now),
        }
    }

    fn read_body(&mut self, now: Duration) {
        loop {
            match self.read_some_body() {
                Ok(Flow::Again) => {}
                Ok(Flow::NeedBytes) => return,
                Ok(Flow::Done) => break,
                Err((status, text)) => {
                    self.refuse(status, text, now);
                    return;
                }
            }
        }
        if let State::Body(head, _) = std::mem::replace(&mut self.state, State::Closed) {
            self.enter(State::Serve(head), now);
        }
    }

    /// One step through a body.
    fn read_some_body(&mut self) -> Result<Flow, (u16, &'static str)> {
        let limit = self.limits.body;
        let State::Body(_, intake) = &mut self.state else {
            return Ok(Flow::Done);
        };
        match intake {
            Intake::Known(0) => Ok(Flow::Done),
            Intake::Known(left) => {
                *left -= self.input.move_to(&mut self.body, *left);
                Ok(if *left == 0 {
                    Flow::Done
                } else {
                    Flow::NeedBytes
                })
            }
            Intake::ChunkSize => {
                let Some(line) = self.input.take_line(CHUNK_LINE_MAX)? else {
                    return Ok(Flow::NeedBytes);
                };
                let size = chunk_size(&line).ok_or((400, "a chunk has no valid length"))?;
                if size > limit - self.body.len() {
                    return Err((413, "the body is larger than the limit"));
                }
                *intake = if size == 0 {
                    Intake::Trailers(0)
                } else {
                    Intake::ChunkData(size)
                };
                Ok(Flow::Again)
            }
            Intake::ChunkData(left) => {
                *left -= self.input.move_to(&mut self.body, *left);
                if *left > 0 {
                    return Ok(Flow::NeedBytes);
                }
                *intake = Intake::ChunkEnd;
                Ok(Flow::Again)
            }
            Intake::ChunkEnd => match self.input.take_line(2)? {
                None => Ok(Flow::NeedBytes),
                Some(line) if line.is_empty() => {
                    *intake = Intake::ChunkSize;
                    Ok(Flow::Again)
                }
                Some(_) => Err((400, "a chunk is longer than it said")),
            },
            Intake::Trailers(seen) => match self.input.take_line(TRAILERS_MAX)? {
                None => Ok(Flow::NeedBytes),
                Some(line) if line.is_empty() => Ok(Flow::Done),
                Some(line) => {
                    *seen += line.len();
                    if *seen > TRAILERS_MAX {
                        return Err((431, "the trailers are too long"));
                    }
                    Ok(Flow::Again)
                }
            },
        }
    }
}

enum Flow {
    Again,
    NeedBytes,
    Done,
}

/// The phrase after a status code, for people who read traces.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests;
