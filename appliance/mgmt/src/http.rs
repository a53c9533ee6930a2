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

use std::time::Duration;

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

/// Bytes in order of arrival; taking some from the front costs nothing until the next bytes come, so a body of many
/// tiny chunks is read in linear time.
#[derive(Default)]
struct Input {
    buffer: Vec<u8>,
    start: usize,
}

impl Input {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start == self.buffer.len() {
            *self = Input::default();
        }
    }

    /// Moves up to `max` bytes to `to`.
    fn move_to(&mut self, to: &mut Vec<u8>, max: usize) -> usize {
        let n = self.bytes().len().min(max);
        to.extend_from_slice(&self.bytes()[..n]);
        self.consume(n);
        n
    }

    /// Takes a line without its end; `None` until it is complete.
    fn take_line(&mut self, max: usize) -> Result<Option<Vec<u8>>, (u16, &'static str)> {
        let bytes = self.bytes();
        let Some(end) = bytes.iter().take(max + 2).position(|b| *b == b'\n') else {
            let too_long = bytes.len() >= max + 2;
            return if too_long {
                Err((400, "a line of the body is too long"))
            } else {
                Ok(None)
            };
        };
        let line = &bytes[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.consume(end + 1);
        Ok(Some(line))
    }
}

/// The length in hexadecimal, before any extension. At most 8 digits: more is beyond every limit.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|b| *b == b';').next()?.trim_ascii_end();
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

type Malformed = (u16, String);

fn parse(bytes: &[u8]) -> Result<Head, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err((400, "the request is incomplete".into())),
        Err(httparse::Error::TooManyHeaders) => {
            return Err((431, format!("more than {HEADERS_MAX} header lines")));
        }
        Err(httparse::Error::Version) => {
            return Err((505, "only HTTP/1.0 and HTTP/1.1 are spoken here".into()));
        }
        Err(e) => return Err((400, format!("malformed request: {e}"))),
    }
    let version = request.version.unwrap_or(0);
    let mut head = head_of(request.method.unwrap_or(""), request.path.unwrap_or(""))?;
    head.keep_alive = version == 1;
    let mut seen = Seen::default();
    for header in request.headers.iter() {
        seen.take(header, &mut head)?;
    }
    seen.finish(version, &head)?;
    Ok(head)
}

fn head_of(method: &str, target: &str) -> Result<Head, Malformed> {
    // The absolute form (RFC 9112 section 3.2.2): the host was ours already, or the bytes would not be here.
    let origin_form = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |i| &rest[i..]),
        None => target,
    };
    if !origin_form.starts_with('/') {
        return Err((400, "the request target is not a path".into()));
    }
    let (path, query) = origin_form.split_once('?').unwrap_or((origin_form, ""));
    Ok(Head {
        method: method.to_string(),
        path: path.to_string(),
        query: query.to_string(),
        authorization: None,
        body: BodyLength::None,
        expects_continue: false,
        keep_alive: true,
    })
}

/// Header fields of which there must be only one.
#[derive(Default)]
struct Seen {
    host: bool,
    length: Option<u64>,
    chunked: bool,
}

impl Seen {
    fn take(&mut self, header: &httparse::Header<'_>, head: &mut Head) -> Result<(), Malformed> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let bad = |text: &str| Err((400, format!("header {}: {text}", header.name)));
        let Ok(value) = std::str::from_utf8(header.value) else {
            // Only fields that mean something here need to be readable.
            let means_something = [
                "host",
                "content-length",
                "transfer-encoding",
                "expect",
                "authorization",
                "connection",
            ]
            .iter()
            .any(|name| is(name));
            return if means_something {
                bad("not text")
            } else {
                Ok(())
            };
        };
        let value = value.trim();
        if is("host") {
            if std::mem::replace(&mut self.host, true) {
                return bad("given twice");
            }
        } else if is("content-length") {
            let Some(n) = content_length(value) else {
                return bad("not a number");
            };
            if self.length.is_some_and(|before| before != n) {
                return bad("two different values");
            }
            self.length = Some(n);
            head.body = BodyLength::Known(n);
        } else if is("transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case("chunked") {
                return Err((501, "the only transfer coding understood is chunked".into()));
            }
            self.chunked = true;
            head.body = BodyLength::Chunked;
        } else if is("expect") {
            if !value.eq_ignore_ascii_case("100-continue") {
                return Err((
                    417,
                    "the only expectation understood is 100-continue".into(),
                ));
            }
            head.expects_continue = true;
        } else if is("authorization") {
            if head.authorization.is_some() {
                return bad("given twice");
            }
            head.authorization = Some(value.to_string());
        } else if is("connection") {
            for option in value.split(',').map(str::trim) {
                if option.eq_ignore_ascii_case("close") {
                    head.keep_alive = false;
                } else if option.eq_ignore_ascii_case("keep-alive") {
                    head.keep_alive = true;
                }
            }
        }
        Ok(())
    }

    fn finish(&self, version: u8, head: &Head) -> Result<(), Malformed> {
        if self.chunked && (self.length.is_some() || version == 0) {
            return Err((
                400,
                "both Content-Length and Transfer-Encoding, or chunks in HTTP/1.0".into(),
            ));
        }
        if version == 1 && !self.host {
            return Err((400, "no Host header".into()));
        }
        debug_assert!(head.path.starts_with('/'));
        Ok(())
    }
}

/// Digits only: no sign, no list, no blanks inside (RFC 9110 section 8.6).
fn content_length(value: &str) -> Option<u64> {
    (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())).then(|| value.parse().ok())?
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
