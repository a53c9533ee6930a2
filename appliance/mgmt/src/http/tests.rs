//! Conversations with a [`Connection`]: what the peer sends, cut at every possible place, and what comes back.

use super::*;

use proptest::prelude::*;

const T0: Duration = Duration::from_secs(100);

fn connection() -> Connection {
    let limits = Limits {
        body: 100,
        ..Limits::default()
    };
    Connection::new(limits, T0)
}

/// A server that says `METHOD PATH BODY-LENGTH` to everything; returns all it sent, with `|` between answers.
fn serve(connection: &mut Connection, pieces: &[&[u8]]) -> String {
    let mut out = String::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let taken = connection.feed(rest, T0);
            rest = &rest[taken..];
            let mut moved = taken > 0;
            while let Some(event) = connection.event() {
                moved = true;
                answer(connection, event);
            }
            let n = connection.output().len();
            if n > 0 {
                moved = true;
                out += &String::from_utf8_lossy(connection.output());
                out.push('|');
                connection.sent(n, T0);
            }
            if !moved {
                break;
            }
        }
    }
    out
}

fn answer(connection: &mut Connection, event: Event) {
    let (head, body) = match event {
        Event::Head(head) if head.body != BodyLength::None => {
            connection.accept_body(T0);
            return;
        }
        Event::Head(head) => (head, Vec::new()),
        Event::Body(head, body) => (head, body),
    };
    let text = format!("{} {} {}", head.method, head.path, body.len());
    connection.respond(&Response::new(200, "text/plain", text), T0);
}

fn statuses(output: &str) -> Vec<&str> {
    let heads = output
        .split('|')
        .filter_map(|a| a.strip_prefix("HTTP/1.1 "));
    heads.map(|a| &a[..3]).collect()
}

fn bodies(output: &str) -> Vec<&str> {
    output
        .split('|')
        .filter_map(|a| Some(a.split_once("\r\n\r\n")?.1))
        .collect()
}

#[test]
fn a_request_cut_anywhere_is_the_same_request() {
    let request = b"PUT /v1/bundle HTTP/1.1\r\nHost: fw\r\nContent-Length: 5\r\n\r\nhelloGET /x?y=1 HTTP/1.1\r\nHost: fw\r\n\r\n";
    for cut in 0..request.len() {
        let mut c = connection();
        let out = serve(&mut c, &[&request[..cut], &request[cut..]]);
        assert_eq!(
            bodies(&out),
            ["PUT /v1/bundle 5", "GET /x 0"],
            "cut at {cut}"
        );
        assert!(!c.wants_close());
    }
    let mut c = connection();
    let single: Vec<&[u8]> = request.chunks(1).collect();
    assert_eq!(
        bodies(&serve(&mut c, &single)),
        ["PUT /v1/bundle 5", "GET /x 0"]
    );
}

#[test]
fn chunks_cut_anywhere_are_the_same_body() {
    let request = b"PUT /b HTTP/1.1\r\nHost: fw\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: t\r\n\r\n";
    for cut in 0..request.len() {
        let out = serve(&mut connection(), &[&request[..cut], &request[cut..]]);
        assert_eq!(bodies(&out), ["PUT /b 15"], "cut at {cut}");
    }
}

#[test]
fn what_is_malformed_is_refused_with_a_reason_and_the_connection_ends() {
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(64 * 1024));
    let many = format!(
        "GET / HTTP/1.1\r\n{}\r\n",
        "X: y\r\n".repeat(HEADERS_MAX + 1)
    );
    let endless = format!("GET /{}", "a".repeat(HEAD_MAX));
    let cases: &[(&str, &str, &str)] = &[
        ("\x16\x03\x01\x02\x00", "400", "plain HTTP, not TLS"),
        ("get / HTTP/1.1\r\n\r\n", "400", "no HTTP request"),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505", "HTTP/1.1"),
        ("GET / HTTP/1.1\r\n\r\n", "400", "no Host"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "400",
            "twice",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
            "400",
            "malformed",
        ),
        (
            "GET example HTTP/1.1\r\nHost: a\r\n\r\n",
            "400",
            "not a path",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            "400",
            "not a number",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            "400",
            "not a number",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "400",
            "not a number",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "400",
            "two different",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
            "both",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "501",
            "chunked",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n",
            "417",
            "100-continue",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n",
            "413",
            "larger",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n",
            "413",
            "larger",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFF\r\n",
            "400",
            "no valid length",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
            "400",
            "no valid length",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            "400",
            "longer than it said",
        ),
        (&long, "431", "longer than 16384"),
        (&many, "431", "more than 64"),
        (&endless, "431", "longer than 16384"),
    ];
    for (request, status, says) in cases {
        let mut c = connection();
        let out = serve(&mut c, &[request.as_bytes()]);
        let shown = &request[..request.len().min(80)];
        assert_eq!(statuses(&out), [*status], "{shown:?}: {out}");
        assert!(out.contains(says), "{shown:?}: {out}");
        assert!(out.contains("Connection: close"));
        assert!(c.wants_close(), "{shown:?}");
    }
}

#[test]
fn limits_are_exact() {
    let head = |len: usize| {
        let fixed = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "a".repeat(len - fixed)
        )
    };
    let lines = |n: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(n - 1)
        )
    };
    let body = |n: usize| {
        format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n{}",
            "b".repeat(n)
        )
    };
    for (at, over, status) in [
        (head(HEAD_MAX), head(HEAD_MAX + 1), "431"),
        (lines(HEADERS_MAX), lines(HEADERS_MAX + 1), "431"),
        (body(100), body(101), "413"),
    ] {
        assert_eq!(
            statuses(&serve(&mut connection(), &[at.as_bytes()])),
            ["200"]
        );
        assert_eq!(
            statuses(&serve(&mut connection(), &[over.as_bytes()])),
            [status]
        );
    }
}

#[test]
fn a_client_that_waits_is_told_to_continue_and_one_that_does_not_is_not() {
    let head = b"PUT /b HTTP/1.1\r\nHost: fw\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut c = connection();
    assert_eq!(serve(&mut c, &[head]), "HTTP/1.1 100 Continue\r\n\r\n|");
    assert_eq!(bodies(&serve(&mut c, &[b"ab"])), ["PUT /b 2"]);
    let all = [&head[..], b"ab"].concat();
    assert_eq!(statuses(&serve(&mut connection(), &[&all])), ["200"]);
}

#[test]
fn a_body_nobody_asked_for_ends_the_connection_unread() {
    let mut c = connection();
    assert!(
        c.feed(
            b"PUT /b HTTP/1.1\r\nHost: fw\r\nContent-Length: 50\r\n\r\nabc",
            T0
        ) > 0
    );
    assert!(matches!(c.event(), Some(Event::Head(_))));
    c.respond(&Response::error(401, "no"), T0);
    let out = String::from_utf8_lossy(c.output()).into_owned();
    assert!(out.contains("Connection: close"), "{out}");
    c.sent(out.len(), T0);
    assert!(c.wants_close() && !c.is_over());
    assert_eq!(c.feed(b"the rest is thrown away", T0), 23);
    c.expire(T0 + Limits::default().linger_time);
    assert!(c.is_over());
}

#[test]
fn head_has_the_length_but_not_the_body() {
    let out = serve(&mut connection(), &[b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert!(out.contains("Content-Length: 9\r\n"), "{out}");
    assert_eq!(bodies(&out), [""]);
}

#[test]
fn old_clients_are_served_once_unless_they_ask() {
    for (request, close) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], true),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            true,
        ),
        (
            b"\r\n\r\nGET http://fw/x HTTP/1.1\r\nHost: a\r\n\r\n",
            false,
        ),
    ] {
        let mut c = connection();
        assert_eq!(statuses(&serve(&mut c, &[request])), ["200"]);
        assert_eq!(
            c.wants_close(),
            close,
            "{:?}",
            String::from_utf8_lossy(request)
        );
    }
}

#[test]
fn every_wait_has_its_end() {
    let l = Limits::default();
    // What was sent, when the deadline is after that, and the status the peer is told.
    let cases: &[(&[u8], Duration, Option<&str>)] = &[
        (b"", l.head_time, None),
        (b"GET / HT", l.head_time, Some("408")),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", l.idle_time, None),
        (
            b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
            l.body_stall,
            Some("408"),
        ),
    ];
    for (bytes, wait, status) in cases {
        let mut c = connection();
        serve(&mut c, &[bytes]);
        let at = T0 + *wait;
        assert_eq!(
            c.deadline(),
            Some(at),
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
        c.expire(at - Duration::from_millis(1));
        assert!(c.output().is_empty() && !c.is_over());
        c.expire(at);
        let out = String::from_utf8_lossy(c.output()).into_owned();
        assert_eq!(statuses(&out).first().copied(), *status);
        assert_eq!(c.is_over(), status.is_none());
    }
}

#[test]
fn a_head_a_byte_at_a_time_does_not_move_its_deadline() {
    let mut c = connection();
    let later = T0 + Duration::from_secs(9);
    c.feed(b"G", T0);
    c.feed(b"E", later);
    assert_eq!(c.deadline(), Some(T0 + Limits::default().head_time));
}

#[test]
fn a_body_a_byte_at_a_time_has_a_last_moment() {
    let mut c = connection();
    serve(
        &mut c,
        &[b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\n"],
    );
    let l = Limits::default();
    let mut now = T0;
    while c.output().is_empty() {
        now += l.body_stall - Duration::from_secs(1);
        c.expire(now);
        c.feed(b"x", now);
    }
    assert!(now <= T0 + l.body_time + l.body_stall, "{now:?}");
}

#[test]
fn a_value_with_a_line_end_stays_one_header() {
    let mut c = connection();
    c.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", T0);
    c.event();
    c.respond(
        &Response::error(400, "x").with("X-Test", "a\r\nSet-Cookie: b"),
        T0,
    );
    assert!(String::from_utf8_lossy(c.output()).contains("X-Test: aSet-Cookie: b\r\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_never_panic_and_memory_stays_bounded(
        pieces in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::sample::select(vec![
                &b"GET / HTTP/1.1\r\n"[..], b"PUT /v1/bundle HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n", b"Content-Length: 7\r\n",
                b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"5\r\nhello\r\n", b"0\r\n", b"Connection: close\r\n",
                b"ffffffff\r\n", b": \r\n", b"GET", b" ",
            ]).prop_map(<[u8]>::to_vec),
        ], 0..30),
        waits in prop::collection::vec(0u64..20_000, 30),
    ) {
        let mut c = connection();
        let mut now = T0;
        for (piece, wait) in pieces.iter().zip(waits) {
            serve(&mut c, &[piece]);
            prop_assert!(c.input.bytes().len() <= FEED_MAX);
            prop_assert!(c.body.len() <= 100);
            now += Duration::from_millis(wait);
            c.expire(now);
            if c.is_over() {
                prop_assert_eq!(c.feed(b"GET", now), 0);
            }
        }
    }

    #[test]
    fn any_path_and_query_come_through(path in "/[a-zA-Z0-9/._~-]{0,60}", query in "[a-z=&0-9]{0,30}") {
        let mut c = connection();
        c.feed(format!("GET {path}?{query} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), T0);
        match c.event() {
            Some(Event::Head(head)) => {
                prop_assert_eq!(head.path, path);
                prop_assert_eq!(head.query, query);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
