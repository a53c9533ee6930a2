//! The client against servers that answer from a script, sound and unsound.

use super::*;
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

/// A server for one connection: reads until the request contains each `wait`, then sends the bytes beside it. Returns what
/// it was sent.
fn server(script: Vec<(&'static str, Vec<u8>)>) -> (Url, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut got = Vec::new();
        for (wait, bytes) in script {
            let mut buffer = [0; 4096];
            while !String::from_utf8_lossy(&got).contains(wait) {
                let n = stream.read(&mut buffer).unwrap();
                assert!(n > 0, "the client closed early");
                got.extend_from_slice(&buffer[..n]);
            }
            stream.write_all(&bytes).unwrap();
        }
        String::from_utf8_lossy(&got).into_owned()
    });
    let url = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    (url, handle)
}

fn get(answer: &[u8]) -> Result<Answer, String> {
    let (url, handle) = server(vec![("\r\n\r\n", answer.to_vec())]);
    let request = Request {
        method: "GET",
        path: "/v1/status",
        token: Some("secret"),
        body: &[],
    };
    let answer = exchange(&url, &request);
    let asked = handle.join().unwrap();
    assert!(
        asked.starts_with("GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:"),
        "{asked}"
    );
    assert!(
        asked.contains("\r\nAuthorization: Bearer secret\r\n"),
        "{asked}"
    );
    answer
}

#[test]
fn urls_are_read_or_refused_with_a_reason() {
    for (text, host, port) in [
        ("http://fw", "fw", 80),
        ("http://fw:8080/", "fw", 8080),
        ("http://[2001:db8::1]", "2001:db8::1", 80),
        ("http://[::1]:81/", "::1", 81),
    ] {
        let want = Url {
            host: host.into(),
            port,
        };
        assert_eq!(Url::parse(text), Ok(want), "{text}");
    }
    assert_eq!(
        Url::parse("http://[::1]:81").unwrap().to_string(),
        "http://[::1]:81"
    );
    for text in [
        "fw",
        "https://fw",
        "ftp://fw",
        "http://",
        "http://:80",
        "http://fw:0",
        "http://fw:65536",
        "http://fw:80:80",
        "http://fw/v1/status",
        "http://user@fw",
        "http://::1",
        "http://[::1",
        "http://[::1]80",
        "http://f w",
    ] {
        let error = Url::parse(text).unwrap_err();
        assert!(error.starts_with(&format!("{text}: ")), "{error}");
    }
}

#[test]
fn answers_of_each_length_are_read() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more"[..],
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let want = Answer {
            status: 200,
            body: b"hello".to_vec(),
        };
        assert_eq!(get(answer), Ok(want), "{}", String::from_utf8_lossy(answer));
    }
}

#[test]
fn broken_answers_are_errors_in_words() {
    for (answer, want) in [
        (&b""[..], "the connection was closed before the answer"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "the connection was closed before the answer",
        ),
        (
            b"SSH-2.0-OpenSSH\r\n\r\n",
            "not an HTTP answer: no status line",
        ),
        (
            b"HTTP/1.1 999 Odd\r\n\r\n",
            "not an HTTP answer: no status line",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "not an HTTP answer: a bad length",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
            "not an HTTP answer: too long",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "not an HTTP answer: a bad chunk",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
            "not an HTTP answer: too long",
        ),
        (
            b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n",
            "not an HTTP answer: a bad header",
        ),
    ] {
        let error = get(answer).unwrap_err();
        assert!(error.ends_with(want), "{error}");
    }
    let mut endless = b"HTTP/1.1 200 OK\r\n".to_vec();
    endless.resize(HEAD_LIMIT + 20_000, b'x');
    assert!(get(&endless).unwrap_err().ends_with("the head is too long"));
}

#[test]
fn a_large_body_waits_for_permission() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (url, handle) = server(vec![
        (
            "Expect: 100-continue\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
        ),
        ("END", answer),
    ]);
    let mut body = vec![b'x'; 100_000];
    body.extend_from_slice(b"END");
    let request = Request {
        method: "PUT",
        path: "/v1/bundle",
        token: None,
        body: &body,
    };
    assert_eq!(exchange(&url, &request).unwrap().status, 200);
    let asked = handle.join().unwrap();
    assert!(asked.contains("\r\nContent-Length: 100003\r\n"));
    assert!(!asked.contains("Authorization"));
    assert!(asked.ends_with("END"));
}

#[test]
fn a_body_that_is_not_wanted_is_not_sent() {
    let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}".to_vec();
    let (url, handle) = server(vec![("\r\n\r\n", answer)]);
    let body = vec![b'x'; 100_000];
    let request = Request {
        method: "PUT",
        path: "/v1/bundle",
        token: None,
        body: &body,
    };
    assert_eq!(exchange(&url, &request).unwrap().status, 401);
    assert!(handle.join().unwrap().ends_with("\r\n\r\n"));
}

#[test]
fn nobody_there_is_an_error_with_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let request = Request {
        method: "GET",
        path: "/",
        token: None,
        body: &[],
    };
    let error = exchange(&Url::parse(&url).unwrap(), &request).unwrap_err();
    assert!(error.starts_with(&url), "{error}");
}
