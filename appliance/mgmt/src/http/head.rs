//! The head of a request, from bytes: request line and the header fields that mean something here. Whatever two readers could
//! understand differently is refused. Read first: RFC 9112 sections 3 and 6.

use super::{BodyLength, HEADERS_MAX, Head};

type Malformed = (u16, String);

/// Reads a head: all bytes to the empty line. What is wrong comes with the status to answer.
pub(super) fn parse(bytes: &[u8]) -> Result<Head, Malformed> {
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
